/* What a writer's connection is given: a round of transactions, and the next round when all of
 * them have ended. What comes meanwhile waits, and so makes the next round's batch: a busy
 * store commits hundreds with one sync of the server's log, an idle one is not kept waiting.
 *
 *   round: [append_plain of many appends] [commit_write, commit_write, ..] [meta_put] ..
 *           one statement                  one by one, up to PE_GROUP_MAX    by itself
 *
 * Each pair of brackets is a transaction of its own, and a failure takes back one of them. Then
 * each of its commits is tried again: on the slow lane when a name was taken, alone when it is
 * not known which of them was to blame, after a pause when others were in the way. A refusal
 * is no failure: commit_write answers it, having undone its own work only.
 *
 * An append whose session needs more than a row (an eviction, somebody to forget) comes back
 * undone, and takes the slow lane. A small table remembers such sessions, so that the next
 * ones go there at once; now and then one tries again.
 *
 * Lost connections. A write that was sent may have happened. With a request_id it can be
 * repeated: if it did, the answer is the first one. Without, it ends as UNCERTAIN. */
#include "postgres.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SLOW_SLOTS 4096   /* sessions that the table tells apart, about */
#define SLOW_TRIES 32     /* appends of one that go one by one before one tries again */
#define PAUSE_FIRST_MS 1  /* after others were in the way; doubled each time */
#define PAUSE_MAX_MS 64

/* --- Sessions on the slow lane ------------------------------------------------------- */

struct pe_slow {
  uint64_t hash;
  int left;
};

bool pe_slow_open(mneme_backend *store) {
  store->slow = calloc(SLOW_SLOTS, sizeof *store->slow);
  return store->slow != NULL &&
         getrandom(&store->random, sizeof store->random, 0) == (ssize_t)sizeof store->random;
}

static bool is_slow(const mneme_backend *store, uint64_t hash) {
  struct pe_slow *slow = &store->slow[hash % SLOW_SLOTS];
  return slow->hash == hash && slow->left > 0 && slow->left-- > 0;
}

void pe_slow_note(mneme_backend *store, uint64_t hash, bool slow) {
  store->slow[hash % SLOW_SLOTS] = (struct pe_slow){hash, slow ? SLOW_TRIES : 0};
}

/* --- Failures ------------------------------------------------------------------------------ */

static uint64_t random_below(mneme_backend *store, uint64_t below) { /* xorshift64 */
  store->random ^= store->random << 13;
  store->random ^= store->random >> 7;
  store->random ^= store->random << 17;
  return (store->random >> 33) % below;
}

static void pause_writer(pe_conn *c, int tries) {
  uint64_t pause_ms = PAUSE_FIRST_MS;
  while (--tries > 0 && pause_ms < PAUSE_MAX_MS) pause_ms *= 2;
  uint64_t until_ms = pe_now_ms(c->store) + 1 + random_below(c->store, pause_ms);
  if (until_ms > c->paused_until_ms) c->paused_until_ms = until_ms;
}

static void lost(pe_commit *k) {
  pe_job *job = &k->job;
  mneme_backend *store = job->store;
  bool repeatable = k->write->request_id.size != 0 && k->write->window_us > 0;
  if (!repeatable || store->stopping || pe_job_expired(job) || job->tries++ >= PE_RETRIES_MAX) {
    pe_job_done(job, MNEME_UNCERTAIN);
    return;
  }
  if (!job->sent) job->lost_ms = pe_now_ms(store);
  job->sent = true;
  store->counters.retries++;
  pe_job_requeue(job);
}

/* How a commit ends whose transaction did not happen. One that was sent before, on a connection
 * that was lost, may have happened then: no status that denies it will do. */
static void refuse(pe_commit *k, mneme_status status) {
  pe_job_done(&k->job, k->job.sent ? MNEME_UNCERTAIN : status);
}

static void failed(pe_commit *k, pe_conn *c, const char *state, bool was_alone) {
  pe_job *job = &k->job;
  mneme_backend *store = job->store;
  switch (pe_fault_of(state)) {
    case PE_FAULT_RACE:
      if (job->tries++ >= PE_RETRIES_MAX) {
        refuse(k, pe_status_of(state));
        return;
      }
      pause_writer(c, job->tries);
      break;
    case PE_FAULT_TAKEN:
      if (k->lane == PE_LANE_ANY)
        k->lane = PE_LANE_SLOW;
      else if (job->tries++ >= PE_RETRIES_MAX) {
        refuse(k, pe_status_of(state));
        return;
      }
      break;
    case PE_FAULT_STORE:
    case PE_FAULT_STOPPED:
      refuse(k, pe_status_of(state));
      return;
    default:
      if (was_alone) {
        refuse(k, pe_status_of(state));
        return;
      }
      k->lane = PE_LANE_ALONE;
      break;
  }
  store->counters.retries++;
  pe_job_requeue(job);
}

void pe_commit_failed(pe_commit *k, pe_conn *c, pe_end_how how, const char *state,
                      bool was_alone) {
  PQclear(k->result);
  k->result = NULL;
  if (how == PE_END_LOST)
    lost(k);
  else
    failed(k, c, state, was_alone);
}

/* --- The slow lane --------------------------------------------------------------------------- */

typedef struct group {
  pe_unit unit; /* first */
  size_t count, at; /* at: the next that a result is of */
  pe_commit *commits[];
} group;

static void take_one(pe_unit *unit, PGresult *result) {
  group *g = (group *)unit;
  if (g->at < g->count)
    g->commits[g->at++]->result = result;
  else
    PQclear(result);
}

static void end_group(pe_unit *unit, pe_conn *c, pe_end_how how) {
  group *g = (group *)unit;
  bool done = how == PE_END_DONE && g->at == g->count;
  if (done) c->store->counters.commits += (int64_t)g->count;
  for (size_t i = g->count; i-- > 0;) { /* so that requeued ones stand in their order */
    if (done)
      pe_commit_answer(g->commits[g->count - 1 - i]);
    else
      pe_commit_failed(g->commits[i], c, how, unit->state, g->count == 1);
  }
  free(g);
}

static void requeue(pe_commit **commits, size_t count) {
  while (count-- > 0) pe_job_requeue(&commits[count]->job);
}

static void send_group(pe_conn *c, pe_commit **commits, size_t count) {
  group *g = calloc(1, sizeof *g + count * sizeof *commits);
  if (g == NULL) {
    for (size_t i = 0; i < count; i++) refuse(commits[i], MNEME_NO_MEMORY);
    return;
  }
  g->unit.take = take_one;
  g->unit.end = end_group;
  for (size_t i = 0; i < count; i++) {
    pe_commit_params(commits[i], &c->link, &c->store->params);
    if (c->store->params.failed) {
      refuse(commits[i], MNEME_NO_MEMORY);
      continue;
    }
    if (!pe_conn_send(c, (pe_query){.id = PE_COMMIT_WRITE}, &c->store->params)) {
      requeue(commits + i, count - i); /* nothing of this group was synced, so none was done */
      requeue(g->commits, g->count);
      free(g);
      return;
    }
    g->commits[g->count++] = commits[i];
  }
  if (g->count == 0) {
    free(g);
    return;
  }
  c->store->counters.batches++;
  pe_conn_end(c, &g->unit);
}

static int compare_commits(const void *a, const void *b) {
  const pe_commit *x = *(pe_commit *const *)a, *y = *(pe_commit *const *)b;
  int order = mneme_bytes_compare(x->write->ns, y->write->ns);
  if (order == 0) order = mneme_bytes_compare(x->write->session, y->write->session);
  return order != 0 ? order : x->order < y->order ? -1 : x->order > y->order;
}

/* Sessions are locked in the order of their names, by all servers. */
static void sort(pe_commit **commits, size_t count) {
  for (size_t i = 0; i < count; i++) commits[i]->order = i;
  if (count > 1) qsort(commits, count, sizeof *commits, compare_commits);
}

static void send_groups(pe_conn *c, pe_commit **commits, size_t count) {
  sort(commits, count);
  while (count != 0) {
    size_t some = count < PE_GROUP_MAX ? count : PE_GROUP_MAX;
    if (!pe_conn_is_up(c)) {
      requeue(commits, count);
      return;
    }
    send_group(c, commits, some);
    commits += some;
    count -= some;
  }
}

/* --- A round ------------------------------------------------------------------------------------ */

typedef struct round {
  size_t fast_count, slow_count;
  size_t records;
  int64_t bytes;
  pe_commit *fast[PE_BATCH_MAX];
  pe_commit *slow[PE_BATCH_MAX];
} round_of_jobs;

static void take_commit(pe_conn *c, pe_commit *k, round_of_jobs *r) {
  r->records += k->records;
  r->bytes += k->bytes;
  if (k->lane == PE_LANE_ALONE) {
    if (pe_conn_is_up(c))
      send_group(c, &k, 1);
    else
      pe_job_requeue(&k->job);
  } else if (k->lane == PE_LANE_ANY && pe_append_fits(k) && !is_slow(c->store, k->job.hash)) {
    r->fast[r->fast_count++] = k;
  } else {
    r->slow[r->slow_count++] = k;
  }
}

/* The queue's first jobs; those that are no commits are sent at once. */
static void take_jobs(pe_conn *c, round_of_jobs *r) {
  size_t max = c->store->settings.batch;
  while (!TAILQ_EMPTY(&c->queue) && r->fast_count + r->slow_count < max &&
         r->records < PE_BATCH_RECORDS && r->bytes < PE_BATCH_BYTES && pe_conn_is_up(c)) {
    pe_job *job = TAILQ_FIRST(&c->queue);
    TAILQ_REMOVE(&c->queue, job, entry);
    if (pe_job_expired(job))
      pe_job_done(job, job->sent ? MNEME_UNCERTAIN : MNEME_TIMEOUT);
    else if (job->kind->commits)
      take_commit(c, (pe_commit *)job, r);
    else
      pe_job_send(job, c);
  }
}

void pe_writer_go(pe_conn *c) {
  round_of_jobs r;
  if (c->unit_count != 0 || TAILQ_EMPTY(&c->queue) ||
      pe_now_ms(c->store) < c->paused_until_ms)
    return;
  r.fast_count = r.slow_count = r.records = 0;
  r.bytes = 0;
  take_jobs(c, &r);
  if (r.fast_count != 0) {
    sort(r.fast, r.fast_count);
    if (pe_conn_is_up(c))
      pe_append_send(c, r.fast, r.fast_count);
    else
      requeue(r.fast, r.fast_count);
  }
  send_groups(c, r.slow, r.slow_count);
}
