/* The fast lane: the appends of many sessions as one statement (sql/append.sql). Everything that
 * can be summed up is summed up here, so that the server joins a few short columns:
 *
 *   commits, sorted     s1: A   s1: B   s2: C          groups   s1 (2 commits, 3 records), s2
 *   records             A1 A2   B1      C1             place    1 2   3    1   in the group
 *                                                      turn     1 1   2    1   of the commit
 *
 * The server answers with one row for each group that it has appended to: the header after
 * all of the group's commits. What stood in it after each one follows from the sums.
 *
 * Only commits go together that have the same plan and take different names; a later one that
 * does not fit waits for the next round. Whether names are free must be looked up, unless they
 * look like the ids that the host makes (UUIDv7), which nobody has twice by accident: should
 * somebody have, the unique index refuses the transaction, and all go one by one. */
#include "postgres.h"

#include "rules.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define COLUMNS 11 /* of an answer's row */

typedef struct total {
  int64_t records, tokens, bytes, pinned, pinned_tokens, system, system_tokens;
} total;

typedef struct part { /* a commit in the batch */
  pe_commit *commit;
  total after;       /* of its group, up to and with it */
  int64_t turn;      /* from 1 */
  int64_t latest_us; /* the highest time up to it */
} part;

typedef struct group {
  size_t from, count; /* parts */
  total sum;
  int64_t first_expire_us; /* 0 = none */
  size_t requests;
  bool has_loose;
  int64_t now_us; /* the highest */
} group;

typedef struct batch {
  pe_unit unit; /* first */
  PGresult *result;
  size_t part_count, group_count, record_count;
  part parts[PE_BATCH_MAX];
  group groups[PE_BATCH_MAX];
} batch;

/* --- What fits -------------------------------------------------------------------------- */

bool pe_append_fits(const pe_commit *k) {
  const mneme_write *w = k->write;
  return w->step_count == 1 && w->steps[0].op == MNEME_STEP_APPEND &&
         w->steps[0].record_count != 0 && w->steps[0].record_count <= PE_APPEND_RECORDS &&
         w->uid == NULL && w->existence != MNEME_MUST_NOT_EXIST && w->expected_revision < 0 &&
         w->expected_settings_revision < 0 && (w->request_id.size == 0 || w->window_us > 0);
}

static bool same_session(const mneme_write *a, const mneme_write *b) {
  return mneme_bytes_equal(a->ns, b->ns) && mneme_bytes_equal(a->session, b->session);
}

static bool same_plan(const mneme_plan *a, const mneme_plan *b) {
  return a->settings_revision == b->settings_revision && a->evict_above == b->evict_above &&
         a->evict_above_tokens == b->evict_above_tokens && a->max_age_us == b->max_age_us &&
         a->ttl_us == b->ttl_us && a->strategy == b->strategy && a->keep_system == b->keep_system;
}

static bool is_kept(const mneme_plan *plan, const mneme_record *r) {
  return r->pinned || (plan->keep_system && mneme_rule_is_system(r->role));
}

static bool remembers(const mneme_write *w) {
  return w->request_id.size != 0 && w->window_us > 0;
}

/* As the host makes them: 8-4-7xxx-4-12. */
static bool is_host_id(mneme_bytes id) {
  return id.size == 36 && id.data[8] == '-' && id.data[13] == '-' && id.data[14] == '7' &&
         id.data[18] == '-' && id.data[23] == '-';
}

/* Names that a group takes: hashes, in a table for the whole batch. Two names with one hash only
 * mean that a commit waits for the next round. */
typedef struct taken {
  size_t room; /* of slots: twice as many as there are names, at least */
  uint64_t slots[];
} taken;

enum { NAME_ID = 1, NAME_KEY = 2, NAME_REQUEST = 3 };

/* false = it is there. */
static bool take_name(taken *t, size_t group_at, int kind, mneme_bytes name) {
  uint64_t hash = XXH3_64bits_withSeed(name.data, name.size, group_at * 4 + (uint64_t)kind) | 1;
  size_t at = hash % t->room;
  for (; t->slots[at] != 0; at = (at + 1) % t->room)
    if (t->slots[at] == hash) return false;
  t->slots[at] = hash;
  return true;
}

static taken *taken_new(pe_commit *const *commits, size_t count) {
  size_t names = count;
  for (size_t i = 0; i < count; i++) names += 2 * commits[i]->records;
  taken *t = calloc(1, sizeof *t + 2 * names * sizeof *t->slots);
  if (t != NULL) t->room = 2 * names;
  return t;
}

static bool take_names(taken *t, size_t group_at, const mneme_write *w) {
  bool all_free = true;
  for (size_t i = 0; i < w->steps[0].record_count; i++) {
    const mneme_record *r = &w->steps[0].records[i];
    all_free = take_name(t, group_at, NAME_ID, r->id) && all_free;
    if (r->key.size != 0) all_free = take_name(t, group_at, NAME_KEY, r->key) && all_free;
  }
  if (w->request_id.size != 0)
    all_free = take_name(t, group_at, NAME_REQUEST, w->request_id) && all_free;
  return all_free;
}

/* --- Groups ------------------------------------------------------------------------------ */

static void add_record(const mneme_plan *plan, const mneme_record *r, total *sum, group *g) {
  bool system = !r->pinned && mneme_rule_is_system(r->role);
  sum->records++;
  sum->tokens += r->token_count;
  sum->bytes += mneme_rule_bytes(r);
  sum->pinned += r->pinned;
  sum->pinned_tokens += r->pinned ? r->token_count : 0;
  sum->system += system;
  sum->system_tokens += system ? r->token_count : 0;
  if (!is_kept(plan, r)) g->has_loose = true;
  if (r->expire_us != 0 && (g->first_expire_us == 0 || r->expire_us < g->first_expire_us))
    g->first_expire_us = r->expire_us;
}

static void add_commit(batch *b, group *g, pe_commit *k) {
  const mneme_write *w = k->write;
  part *p = &b->parts[b->part_count++];
  int64_t now_us = k->job.call->now_us;
  g->count++;
  if (g->count == 1 || now_us > g->now_us) g->now_us = now_us;
  for (size_t i = 0; i < w->steps[0].record_count; i++)
    add_record(&w->plan, &w->steps[0].records[i], &g->sum, g);
  if (remembers(w)) g->requests++;
  b->record_count += w->steps[0].record_count;
  *p = (part){.commit = k, .after = g->sum, .turn = (int64_t)g->count, .latest_us = g->now_us};
}

/* Commits that do not fit wait for the next round; those of one session keep their order. */
static size_t fill(batch *b, taken *t, pe_commit **commits, size_t count) {
  size_t left = 0;
  const mneme_write *last = NULL;
  group *g = NULL;     /* of the session */
  bool closed = false; /* one of this session waits: so do those behind it */
  for (size_t i = 0; i < count; i++) {
    const mneme_write *w = commits[i]->write;
    if (last == NULL || !same_session(last, w)) {
      g = NULL;
      closed = false;
    }
    last = w;
    bool fits = !closed && take_names(t, b->group_count + (g == NULL), w) &&
                (g == NULL || same_plan(&b->parts[g->from].commit->write->plan, &w->plan));
    if (fits && g == NULL) {
      g = &b->groups[b->group_count++];
      *g = (group){.from = b->part_count};
    }
    if (fits) {
      add_commit(b, g, commits[i]);
      continue;
    }
    if (g == NULL && !closed) commits[i]->lane = PE_LANE_SLOW; /* it meets itself */
    closed = true;
    commits[left++] = commits[i];
  }
  return left;
}

/* --- Columns -------------------------------------------------------------------------------- */

static const mneme_write *write_of(const batch *b, const group *g) {
  return b->parts[g->from].commit->write;
}

#define EACH_GROUP(put)                                                 \
  for (size_t i_ = 0; i_ < b->group_count; i_++) {                      \
    const group *g = &b->groups[i_];                                    \
    const mneme_write *w = write_of(b, g);                              \
    (void)w;                                                            \
    put;                                                                \
  }                                                                     \
  pe_end(p)

#define EACH_RECORD(put)                                                \
  for (size_t g_ = 0; g_ < b->group_count; g_++) {                      \
    const group *g = &b->groups[g_];                                    \
    int64_t place = 0;                                                  \
    for (size_t i_ = 0; i_ < g->count; i_++) {                          \
      const part *c = &b->parts[g->from + i_];                          \
      const mneme_step *s = &c->commit->write->steps[0];                \
      for (size_t r_ = 0; r_ < s->record_count; r_++) {                 \
        const mneme_record *r = &s->records[r_];                        \
        place++;                                                        \
        (void)r, (void)c, (void)place;                                  \
        put;                                                            \
      }                                                                 \
    }                                                                   \
  }                                                                     \
  pe_end(p)

#define EACH_REQUEST(put)                                               \
  for (size_t g_ = 0; g_ < b->group_count; g_++) {                      \
    const group *g = &b->groups[g_];                                    \
    for (size_t i_ = 0; i_ < g->count; i_++) {                          \
      const part *c = &b->parts[g->from + i_];                          \
      const mneme_write *w = c->commit->write;                          \
      if (remembers(w)) put;                                            \
    }                                                                   \
  }                                                                     \
  pe_end(p)

#define GROUPS(type, put)                 \
  pe_array(p, type, b->group_count);      \
  EACH_GROUP(put)
#define RECORDS(type, put)                \
  pe_array(p, type, b->record_count);     \
  EACH_RECORD(put)
#define REQUESTS(type, put)               \
  pe_array(p, type, request_count);       \
  EACH_REQUEST(put)

static void put_groups(const batch *b, pe_params *p) {
  GROUPS(PE_BYTEA, pe_item_bytes(p, w->ns));
  GROUPS(PE_BYTEA, pe_item_bytes(p, w->session));
  GROUPS(PE_INT8, pe_item_int(p, g->sum.records));
  GROUPS(PE_INT8, pe_item_int(p, (int64_t)g->count));
  GROUPS(PE_INT8, pe_item_int(p, g->sum.tokens));
  GROUPS(PE_INT8, pe_item_int(p, g->sum.bytes));
  GROUPS(PE_INT8, pe_item_int(p, g->sum.pinned));
  GROUPS(PE_INT8, pe_item_int(p, g->sum.pinned_tokens));
  GROUPS(PE_INT8, pe_item_int(p, g->sum.system));
  GROUPS(PE_INT8, pe_item_int(p, g->sum.system_tokens));
  GROUPS(PE_INT8, pe_item_int(p, g->now_us));
  GROUPS(PE_INT8, pe_item_int(p, w->plan.settings_revision));
  GROUPS(PE_INT8, pe_item_int(p, w->plan.evict_above));
  GROUPS(PE_INT8, pe_item_int(p, w->plan.evict_above_tokens));
  GROUPS(PE_INT8, pe_item_int(p, w->plan.max_age_us));
  GROUPS(PE_INT8, pe_item_int(p, w->plan.ttl_us));
  GROUPS(PE_INT4, pe_item_int4(p, (int32_t)w->plan.strategy));
  GROUPS(PE_BOOL, pe_item_bool(p, w->plan.keep_system));
  GROUPS(PE_INT8, pe_item_int_or_null(p, g->first_expire_us, 0));
  GROUPS(PE_BOOL, pe_item_bool(p, g->has_loose));
}

/* How many of the group's ids, keys or request_ids are to be looked up. */
static int32_t count_names(const batch *b, const group *g, int kind) {
  int32_t count = 0;
  if (kind == NAME_REQUEST) return (int32_t)g->requests;
  for (size_t i = 0; i < g->count; i++) {
    const mneme_step *s = &b->parts[g->from + i].commit->write->steps[0];
    for (size_t r = 0; r < s->record_count; r++)
      count += kind == NAME_ID ? !is_host_id(s->records[r].id) : s->records[r].key.size != 0;
  }
  return count;
}

/* Where a group's names begin and end in the list of all. Returns how many there are. */
static size_t put_range(const batch *b, pe_params *p, int kind) {
  int32_t low = 1, high = 0;
  GROUPS(PE_INT4, {
    pe_item_int4(p, low);
    low += count_names(b, g, kind);
  });
  GROUPS(PE_INT4, {
    high += count_names(b, g, kind);
    pe_item_int4(p, high);
  });
  return (size_t)high;
}

static void put_numbers(const batch *b, pe_params *p) {
  RECORDS(PE_INT8, pe_item_int(p, (int64_t)g_ + 1));
  RECORDS(PE_INT8, pe_item_int(p, place));
  RECORDS(PE_INT8, pe_item_int(p, c->turn));
  RECORDS(PE_INT8, pe_item_int(p, c->commit->job.call->now_us));
  RECORDS(PE_INT8, pe_item_int(p, c->latest_us));
  RECORDS(PE_INT8, pe_item_int(p, r->token_count));
  RECORDS(PE_INT8, pe_item_int_or_null(p, r->ttl_us, 0));
  RECORDS(PE_INT8, pe_item_int_or_null(p, r->event_us, MNEME_NO_EVENT));
  RECORDS(PE_INT8, pe_item_int_or_null(p, r->expire_us, 0));
  RECORDS(PE_FLOAT8, pe_item_real_or_null(p, r->importance, !r->has_importance));
  RECORDS(PE_INT4, pe_item_int4(p, (int32_t)r->crc));
  RECORDS(PE_INT4, pe_item_int4(p, (int32_t)mneme_rule_bytes(r)));
  RECORDS(PE_INT4, if (r->tier != 0) pe_item_int4(p, r->tier); else pe_item_null(p));
  RECORDS(PE_BOOL, pe_item_bool(p, r->pinned));
}

static void put_strings(const batch *b, pe_params *p) {
  RECORDS(PE_BYTEA, pe_item_bytes(p, r->id));
  RECORDS(PE_BYTEA, pe_item_bytes_or_null(p, r->key));
  RECORDS(PE_BYTEA, pe_item_bytes_or_null(p, r->kind));
  RECORDS(PE_BYTEA, pe_item_bytes_or_null(p, r->role));
  RECORDS(PE_BYTEA, pe_item_bytes_or_null(p, r->author));
  RECORDS(PE_BYTEA, pe_item_bytes_or_null(p, r->source));
  RECORDS(PE_BYTEA, pe_item_bytes_or_null(p, r->metadata_json));
  RECORDS(PE_BYTEA, pe_item_bytes(p, r->body));
}

static void put_requests(const batch *b, pe_params *p, size_t request_count) {
  REQUESTS(PE_BYTEA, pe_item_bytes(p, w->request_id));
  REQUESTS(PE_INT8, pe_item_int(p, (int64_t)g_ + 1));
  REQUESTS(PE_UUID, pe_item_uuid(p, w->fingerprint));
  REQUESTS(PE_INT8, pe_item_int(p, mneme_rule_add(c->commit->job.call->now_us, w->window_us)));
  REQUESTS(PE_INT8, pe_item_int(p, c->turn));
  REQUESTS(PE_INT8, pe_item_int(p, c->after.records));
  /* Where its ids stand among all ids. */
  int32_t before = 0;
  pe_array(p, PE_INT4, request_count);
  for (size_t i = 0; i < b->part_count; i++) {
    const mneme_write *w = b->parts[i].commit->write;
    if (remembers(w)) pe_item_int4(p, before + 1);
    before += (int32_t)w->steps[0].record_count;
  }
  pe_end(p);
  before = 0;
  pe_array(p, PE_INT4, request_count);
  for (size_t i = 0; i < b->part_count; i++) {
    const mneme_write *w = b->parts[i].commit->write;
    before += (int32_t)w->steps[0].record_count;
    if (remembers(w)) pe_item_int4(p, before);
  }
  pe_end(p);
}

static void put_params(const batch *b, pe_params *p) {
  pe_params_clear(p);
  put_groups(b, p);
  size_t id_count = put_range(b, p, NAME_ID);
  size_t key_count = put_range(b, p, NAME_KEY);
  size_t request_count = put_range(b, p, NAME_REQUEST);
  pe_array(p, PE_BYTEA, id_count);
  EACH_RECORD(if (!is_host_id(r->id)) pe_item_bytes(p, r->id));
  pe_array(p, PE_BYTEA, key_count);
  EACH_RECORD(if (r->key.size != 0) pe_item_bytes(p, r->key));
  put_numbers(b, p);
  put_strings(b, p);
  put_requests(b, p, request_count);
}

/* --- Answers ------------------------------------------------------------------------------- */

/* base: the header after all of the group, without update and expiry. */
static void answer(const group *g, const part *c, const mneme_header *base, mneme_ref *refs) {
  pe_commit *k = c->commit;
  const mneme_write *w = k->write;
  const mneme_step *step = &w->steps[0];
  int64_t now_us = k->job.call->now_us, later = g->sum.records - c->after.records;
  mneme_written written = {.header = *base, .existed = true, .refs = refs};
  mneme_header *h = &written.header;
  h->ns = w->ns;
  h->session = w->session;
  h->revision = base->revision - (int64_t)g->count + c->turn;
  h->last_sequence = base->last_sequence - later;
  h->memory_count = base->memory_count - later;
  h->token_count = base->token_count - (g->sum.tokens - c->after.tokens);
  h->byte_count = base->byte_count - (g->sum.bytes - c->after.bytes);
  h->update_us = h->append_us = now_us;
  h->expire_us = mneme_rule_session_expiry(&w->plan, h->create_us, now_us);
  h->max_age_us = w->plan.max_age_us;
  h->keep_system = w->plan.keep_system;
  for (size_t i = 0; i < step->record_count; i++) {
    int64_t back = (int64_t)(step->record_count - 1 - i);
    refs[written.ref_count++] = (mneme_ref){.id = step->records[i].id,
                                            .sequence = h->last_sequence - back,
                                            .revision = h->revision,
                                            .created = true};
  }
  k->done(MNEME_OK, &written, k->ctx);
}

static void answer_group(batch *b, const group *g, pe_columns *row) {
  mneme_ref refs[PE_APPEND_RECORDS];
  mneme_header base = {0};
  pe_col_uid(row, &base.uid);
  base.revision = pe_col_int(row);
  base.settings_revision = pe_col_int(row);
  base.last_sequence = pe_col_int(row);
  base.mutations = pe_col_int(row);
  base.memory_count = pe_col_int(row);
  base.token_count = pe_col_int(row);
  base.byte_count = pe_col_int(row);
  base.create_us = pe_col_int(row);
  base.settings = pe_col_bytes(row);
  for (size_t i = 0; i < g->count; i++) {
    part *c = &b->parts[g->from + i];
    answer(g, c, &base, refs);
    c->commit->answered = true;
    pe_job_done(&c->commit->job, MNEME_OK);
    c->commit = NULL;
  }
}

static void take_batch(pe_unit *unit, PGresult *result) {
  batch *b = (batch *)unit;
  PQclear(b->result);
  b->result = result;
}

/* Groups that are in no row have been left as they were. */
static void end_batch(pe_unit *unit, pe_conn *c, pe_end_how how) {
  batch *b = (batch *)unit;
  mneme_backend *store = c->store;
  bool done = how == PE_END_DONE && b->result != NULL && PQnfields(b->result) == COLUMNS;
  for (int i = 0; done && i < PQntuples(b->result); i++) {
    pe_columns row = {.result = b->result, .row = i};
    int64_t k = pe_col_int(&row);
    if (k < 1 || (size_t)k > b->group_count) continue;
    store->counters.commits += (int64_t)b->groups[k - 1].count;
    answer_group(b, &b->groups[k - 1], &row);
  }
  PQclear(b->result);
  for (size_t i = b->part_count; i-- > 0;) {
    pe_commit *commit = b->parts[i].commit;
    if (commit == NULL) continue;
    if (done) {
      commit->lane = PE_LANE_SLOW;
      pe_slow_note(store, commit->job.hash, true);
      pe_job_requeue(&commit->job);
    } else {
      pe_commit_failed(commit, c, how, unit->state, b->part_count == 1);
    }
  }
  free(b);
}

/* --- Sending ---------------------------------------------------------------------------------- */

static void put_back(pe_commit **commits, size_t count) {
  while (count-- > 0) pe_job_requeue(&commits[count]->job);
}

static batch *make(pe_commit **commits, size_t count, size_t *ret_left) {
  batch *b = malloc(sizeof *b);
  taken *t = taken_new(commits, count);
  if (b != NULL) {
    b->part_count = b->group_count = b->record_count = 0;
    b->result = NULL;
    b->unit = (pe_unit){.take = take_batch, .end = end_batch};
  }
  if (b != NULL && t != NULL) *ret_left = fill(b, t, commits, count);
  free(t);
  if (t != NULL) return b;
  free(b);
  return NULL;
}

void pe_append_send(pe_conn *c, pe_commit **commits, size_t count) {
  mneme_backend *store = c->store;
  size_t left = count;
  batch *b = make(commits, count, &left);
  put_back(commits, left);
  if (b == NULL) return; /* without memory they wait, until their deadlines */
  put_params(b, &store->params);
  if (store->params.failed) {
    for (size_t i = 0; i < b->part_count; i++)
      pe_job_done(&b->parts[i].commit->job,
                  b->parts[i].commit->job.sent ? MNEME_UNCERTAIN : MNEME_NO_MEMORY);
    free(b);
    return;
  }
  if (!pe_conn_send(c, (pe_query){.id = PE_APPEND_PLAIN}, &store->params)) {
    for (size_t i = b->part_count; i-- > 0;) pe_job_requeue(&b->parts[i].commit->job);
    free(b);
    return;
  }
  store->counters.batches++;
  pe_conn_end(c, &b->unit);
}
