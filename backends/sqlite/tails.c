/* The newest memories of the sessions in use, and their headers, in memory: the read
 * that a conversation makes at each turn. Without them it would fall to a fifth of
 * its speed while writes run, since each commit takes pages out of readers' caches.
 *
 *   stripe (a lock) -> buckets -> tail [from 40] -> [41][43][44]..[104]
 *                      newest <-> .. <-> oldest
 *
 * A tail has every memory of its session with a sequence >= from (1 = all of them),
 * in order, TAIL_RECORDS at most, and the header. The writer makes it, and brings
 * it up to date after COMMIT, before it tells anybody: each change that a commit has
 * noted, if the tail is of the version before it. Where that is not so, or memory
 * runs out, the tail is dropped, and the database is asked.
 *
 * Between COMMIT and that moment a reader may see in the database what the tail does
 * not have yet. Whatever reads a session's row says so (sq_tails_saw, sq_tails_gone)
 * before its caller knows, and the tail is passed over until it has caught up: nobody
 * who has seen a write, be it in a list or from changes(), then misses it. */
#include "tails.h"
#include "writer.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define STRIPES 16
#define BUCKETS 1024 /* of a stripe */
#define TAIL_RECORDS 64
#define TAIL_SHARE 8 /* a tail has at most this part of its stripe's memory */

typedef struct record {
  size_t cost;
  mneme_record view; /* its strings follow */
} record;

typedef struct tail {
  struct tail *chain;
  struct tail *newer, *older;
  uint64_t hash;
  sq_state s;
  sq_settings *settings;
  int64_t from;
  int64_t behind; /* the version that a reader has seen elsewhere */
  size_t cost;    /* of its records */
  size_t count;
  record *records[TAIL_RECORDS + 1];
  uint16_t ns_size, session_size;
  char names[];
} tail;

typedef struct stripe {
  pthread_mutex_t lock;
  tail *buckets[BUCKETS];
  tail *newest, *oldest;
  size_t cost;
} stripe;

struct sq_tails {
  size_t cost_max; /* of a stripe; 0 = keep none */
  stripe stripes[STRIPES];
};

/* --- The map ------------------------------------------------------------------- */

sq_tails *sq_tails_new(int64_t bytes_max) {
  sq_tails *tails = calloc(1, sizeof *tails);
  if (tails == NULL) return NULL;
  tails->cost_max = (size_t)bytes_max / STRIPES;
  for (int i = 0; i < STRIPES; i++) pthread_mutex_init(&tails->stripes[i].lock, NULL);
  return tails;
}

static uint64_t hash_of(mneme_bytes ns, mneme_bytes session) {
  return XXH3_64bits_withSeed(session.data, session.size, XXH3_64bits(ns.data, ns.size));
}

static stripe *stripe_of(sq_tails *tails, uint64_t hash) {
  return &tails->stripes[hash >> 60 & (STRIPES - 1)];
}

static tail *find(stripe *at, uint64_t hash, mneme_bytes ns, mneme_bytes session) {
  tail *t = at->buckets[hash % BUCKETS];
  while (t != NULL &&
         !(t->hash == hash && mneme_bytes_equal(mneme_bytes_of(t->names, t->ns_size), ns) &&
           mneme_bytes_equal(mneme_bytes_of(t->names + t->ns_size, t->session_size), session)))
    t = t->chain;
  return t;
}

static void leave_order(stripe *at, tail *t) {
  *(t->newer != NULL ? &t->newer->older : &at->newest) = t->older;
  *(t->older != NULL ? &t->older->newer : &at->oldest) = t->newer;
}

static void enter_order(stripe *at, tail *t) {
  t->newer = NULL;
  t->older = at->newest;
  *(at->newest != NULL ? &at->newest->newer : &at->oldest) = t;
  at->newest = t;
}

static size_t own_cost(const tail *t) {
  return sizeof *t + t->ns_size + t->session_size +
         (t->settings != NULL ? sizeof *t->settings + t->settings->size : 0);
}

static void drop(stripe *at, tail *t) {
  tail **place = &at->buckets[t->hash % BUCKETS];
  while (*place != t) place = &(*place)->chain;
  *place = t->chain;
  leave_order(at, t);
  at->cost -= own_cost(t) + t->cost;
  for (size_t i = 0; i < t->count; i++) free(t->records[i]);
  sq_settings_unref(t->settings);
  free(t);
}

static tail *add(stripe *at, uint64_t hash, mneme_bytes ns, mneme_bytes session) {
  tail *t = calloc(1, sizeof *t + ns.size + session.size);
  if (t == NULL) return NULL;
  char *names = t->names;
  t->ns_size = (uint16_t)mneme_bytes_put(&names, ns).size;
  t->session_size = (uint16_t)mneme_bytes_put(&names, session).size;
  t->hash = hash;
  t->chain = at->buckets[hash % BUCKETS];
  at->buckets[hash % BUCKETS] = t;
  enter_order(at, t);
  at->cost += own_cost(t);
  return t;
}

static void forget_all(sq_tails *tails) {
  for (int i = 0; i < STRIPES; i++) {
    stripe *at = &tails->stripes[i];
    pthread_mutex_lock(&at->lock);
    while (at->newest != NULL) drop(at, at->newest);
    pthread_mutex_unlock(&at->lock);
  }
}

void sq_tails_forget(sq_tails *tails) { forget_all(tails); }

void sq_tails_free(sq_tails *tails) {
  if (tails == NULL) return;
  forget_all(tails);
  for (int i = 0; i < STRIPES; i++) pthread_mutex_destroy(&tails->stripes[i].lock);
  free(tails);
}

/* --- Changes, by the writer -------------------------------------------------------- */

static record *copy_record(const mneme_record *r) {
  size_t cost = sizeof(record) + (size_t)mneme_rule_bytes(r) + r->metadata_json.size;
  record *copy = malloc(cost);
  if (copy == NULL) return NULL;
  char *at = (char *)(copy + 1);
  copy->cost = cost;
  copy->view = *r;
  mneme_bytes *strings[] = {&copy->view.id,     &copy->view.key,    &copy->view.kind,
                            &copy->view.role,   &copy->view.author, &copy->view.source,
                            &copy->view.body,   &copy->view.metadata_json};
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    *strings[i] = mneme_bytes_put(&at, *strings[i]);
  return copy;
}

/* The place of the first record with at least this sequence. */
static size_t place_of(const tail *t, int64_t sequence) {
  size_t low = 0, high = t->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (t->records[middle]->view.sequence < sequence)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void take_out(stripe *at, tail *t, size_t place) {
  record *r = t->records[place];
  t->cost -= r->cost;
  at->cost -= r->cost;
  free(r);
  memmove(t->records + place, t->records + place + 1, (--t->count - place) * sizeof r);
}

static bool put_in(stripe *at, tail *t, const mneme_record *input) {
  record *r = copy_record(input);
  if (r == NULL) return false;
  size_t place = place_of(t, input->sequence);
  memmove(t->records + place + 1, t->records + place, (t->count++ - place) * sizeof r);
  t->records[place] = r;
  t->cost += r->cost;
  at->cost += r->cost;
  return true;
}

static void forget_front(stripe *at, tail *t) {
  t->from = t->records[0]->view.sequence + 1;
  take_out(at, t, 0);
}

static bool follow_note(stripe *at, tail *t, const sq_note *note, size_t share) {
  size_t place;
  if (note->kind == SQ_CLEAR) {
    while (t->count > 0) take_out(at, t, t->count - 1);
    t->from = 1;
    return true;
  }
  if (note->sequence < t->from) return true;
  if (note->kind == SQ_PUT) {
    if (!put_in(at, t, note->as.record)) return false;
    while (t->count > TAIL_RECORDS || (t->count > 0 && t->cost > share)) forget_front(at, t);
    return true;
  }
  place = place_of(t, note->sequence);
  if (place == t->count || t->records[place]->view.sequence != note->sequence) return true;
  mneme_record *r = &t->records[place]->view;
  if (note->kind == SQ_TAKE) {
    take_out(at, t, place);
  } else {
    r->access_us = note->as.touch.access_us;
    r->access_count = note->as.touch.access_count;
    r->expire_us = note->as.touch.expire_us;
  }
  return true;
}

/* false = the tail is no longer right. */
static bool follow(stripe *at, tail *t, const sq_result *r, size_t share) {
  for (size_t i = 0; i < r->note_count; i++)
    if (!follow_note(at, t, &r->notes[i], share)) return false;
  at->cost -= own_cost(t);
  sq_settings_unref(t->settings);
  t->settings = sq_settings_ref(r->settings);
  at->cost += own_cost(t);
  t->s = r->after;
  if (t->behind < r->newest->version) t->behind = r->newest->version;
  if (t->s.all.memories == (int64_t)t->count) t->from = 1;
  return true;
}

static void apply(sq_tails *tails, mneme_bytes ns, mneme_bytes session, const sq_result *r) {
  uint64_t hash = hash_of(ns, session);
  stripe *at = stripe_of(tails, hash);
  size_t share = tails->cost_max / TAIL_SHARE;
  pthread_mutex_lock(&at->lock);
  tail *t = find(at, hash, ns, session);
  if (t != NULL && (r->reborn || t->s.version != r->version_before)) {
    drop(at, t);
    t = NULL;
  }
  if (t == NULL && r->after.live) {
    t = add(at, hash, ns, session);
    if (t != NULL) t->from = r->reborn ? 1 : r->last_before + 1;
  }
  if (t != NULL) {
    if (!follow(at, t, r, share)) {
      drop(at, t);
    } else {
      leave_order(at, t);
      enter_order(at, t);
    }
  }
  while (at->cost > tails->cost_max && at->oldest != NULL) drop(at, at->oldest);
  pthread_mutex_unlock(&at->lock);
}

void sq_tails_apply(sq_tails *tails, const sq_job *jobs, const sq_result *results, size_t count) {
  if (tails->cost_max == 0) return;
  for (size_t i = 0; i < count; i++)
    if (jobs[i].kind == SQ_JOB_COMMIT && results[i].changed)
      apply(tails, jobs[i].as.commit.write->ns, jobs[i].as.commit.write->session, &results[i]);
}

/* --- Reads --------------------------------------------------------------------------- */

/* With the stripe's lock held when there is one: else NULL and no lock. */
static tail *lock_tail(sq_tails *tails, mneme_bytes ns, mneme_bytes session,
                       stripe **ret_stripe) {
  if (tails->cost_max == 0) return NULL;
  uint64_t hash = hash_of(ns, session);
  stripe *at = stripe_of(tails, hash);
  pthread_mutex_lock(&at->lock);
  tail *t = find(at, hash, ns, session);
  if (t != NULL && t->behind <= t->s.version) {
    leave_order(at, t);
    enter_order(at, t);
    *ret_stripe = at;
    return t;
  }
  pthread_mutex_unlock(&at->lock);
  return NULL;
}

static bool lives(const tail *t, const mneme_record *r, int64_t now_us) {
  bool protects = sq_state_protects(&t->s, r->pinned, mneme_rule_is_system(r->role));
  return !mneme_rule_expired(r->expire_us, now_us) &&
         (protects || !mneme_rule_aged(r->create_us, t->s.max_age_us, now_us));
}

/* The records that a read shows, as places in the tail. */
typedef struct picks {
  size_t count;
  uint16_t places[TAIL_RECORDS];
} picks;

/* Whether the tail has all that the read asks for. */
static bool pick(const tail *t, const mneme_read *read, int64_t now_us, picks *p) {
  int64_t left = read->limit > 0 ? read->limit : INT64_MAX;
  int64_t bytes_left = read->byte_limit > 0 ? read->byte_limit : INT64_MAX;
  bool covered = t->from <= 1 || t->from <= read->first;
  p->count = 0;
  if (!read->descending && !covered) return false;
  size_t low = place_of(t, read->first);
  size_t high = read->last == INT64_MAX ? t->count : place_of(t, read->last + 1);
  for (size_t i = 0; low + i < high; i++) {
    size_t place = read->descending ? high - 1 - i : low + i;
    const mneme_record *r = &t->records[place]->view;
    if (!lives(t, r, now_us)) continue;
    int64_t size = mneme_rule_bytes(r);
    if (p->count > 0 && size > bytes_left) return true;
    bytes_left -= size;
    p->places[p->count++] = (uint16_t)place;
    if (--left == 0) return true;
  }
  return covered;
}

bool sq_tails_read(sq_tails *tails, const mneme_call *call, const mneme_read *read,
                   mneme_record_fn emit, void *ctx, mneme_status *ret_status) {
  stripe *at;
  picks p;
  if (read->select != MNEME_SELECT_SEQUENCES || read->filter != NULL) return false;
  tail *t = lock_tail(tails, read->ns, read->session, &at);
  if (t == NULL) return false;
  bool lapsed = sq_state_lapsed(&t->s, call->now_us), has = true;
  *ret_status = MNEME_OK;
  if (!lapsed && read->uid != NULL && !mneme_uid_equal(read->uid, &t->s.uid))
    *ret_status = MNEME_CONFLICT;
  else if (!lapsed && (has = pick(t, read, call->now_us, &p)))
    for (size_t i = 0; i < p.count; i++)
      if (emit(&t->records[p.places[i]]->view, ctx) != 0) break;
  pthread_mutex_unlock(&at->lock);
  return has;
}

bool sq_tails_header(sq_tails *tails, const mneme_call *call, mneme_bytes ns,
                     mneme_bytes session, mneme_header *ret_header, sq_settings **ret_settings,
                     mneme_status *ret_status) {
  stripe *at;
  tail *t = lock_tail(tails, ns, session, &at);
  if (t == NULL) return false;
  bool lapsed = sq_state_lapsed(&t->s, call->now_us);
  bool has = lapsed || t->s.due_us > call->now_us; /* else it would have to be counted */
  if (has && !lapsed) {
    sq_settings *settings = sq_settings_ref(t->settings);
    mneme_bytes bytes = {0};
    if (settings != NULL) bytes = mneme_bytes_of(settings->data, settings->size);
    sq_state_header(&t->s, ns, session, bytes, ret_header);
    ret_header->memory_count = t->s.all.memories;
    ret_header->token_count = t->s.all.tokens;
    ret_header->byte_count = t->s.all.bytes;
    *ret_settings = settings;
  }
  *ret_status = lapsed ? MNEME_NOT_FOUND : MNEME_OK;
  pthread_mutex_unlock(&at->lock);
  return has;
}

static void pass_over(tail *t, int64_t version) {
  if (t->behind < version) t->behind = version;
}

void sq_tails_saw(sq_tails *tails, mneme_bytes ns, mneme_bytes session, int64_t version) {
  if (tails->cost_max == 0) return;
  uint64_t hash = hash_of(ns, session);
  stripe *at = stripe_of(tails, hash);
  pthread_mutex_lock(&at->lock);
  tail *t = find(at, hash, ns, session);
  if (t != NULL) pass_over(t, version);
  pthread_mutex_unlock(&at->lock);
}

/* The writer is about to drop the tail. Should it be the reader who is late, and the
 * session be a new one, its next commit brings the tail back. */
void sq_tails_gone(sq_tails *tails, mneme_bytes ns, mneme_bytes session, const mneme_uid *uid) {
  if (tails->cost_max == 0) return;
  uint64_t hash = hash_of(ns, session);
  stripe *at = stripe_of(tails, hash);
  pthread_mutex_lock(&at->lock);
  tail *t = find(at, hash, ns, session);
  if (t != NULL && (uid == NULL || mneme_uid_equal(uid, &t->s.uid))) pass_over(t, t->s.version + 1);
  pthread_mutex_unlock(&at->lock);
}
