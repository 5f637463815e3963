/* One engine against another: the same random commits on both must have the same
 * outcome and leave the same memories. Compiled twice: dict against template, which
 * is slow and simple, so where they differ dict is mostly wrong; and sqlite against
 * dict. What an engine may choose is left out: how log entries are merged, and so
 * their count.
 *
 * On dict some commits are first tried with an allocation that fails, somewhere on
 * their way: they must answer NO_MEMORY and leave everything as it was. The linker
 * puts our malloc, calloc and realloc before the true ones (--wrap). sqlite works in
 * other threads, and has a test of its own for that (test_sqlite_memory.c). */
#include "engine.h"

const mneme_backend_type *OTHER_ENTRY(void);

#ifndef ROUNDS
#define ROUNDS 300
#endif
#define COMMITS 300
#define STEPS_MAX 4
#define RECORDS_MAX 6

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

#ifndef WITHOUT_MEMORY
#define WITHOUT_MEMORY true
#endif

static int allocations_left = -1; /* until one fails; -1 = all succeed */

static bool fails_now(void) { return allocations_left >= 0 && allocations_left-- == 0; }

void *__wrap_malloc(size_t size) { return fails_now() ? NULL : __real_malloc(size); }

void *__wrap_calloc(size_t count, size_t size) {
  return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
  return fails_now() ? NULL : __real_realloc(block, size);
}

static uint64_t random_state;

static uint32_t pick(uint32_t below) { /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (uint32_t)((random_state * 2685821657736338717u) >> 33) % below;
}

static bool chance(uint32_t one_in) { return pick(one_in) == 0; }

static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
static const char *const keys[] = {"k", "k/1", "k/2", "l", "m"};
static const char *const bodies[] = {"", "x", "yy", "a longer body", "z"};
static const char *const sessions[] = {"s", "t"};
static const char *const requests[] = {"r1", "r2", "r3"};

/* A write and all that it points to. */
typedef struct random_write {
  mneme_write write;
  mneme_step steps[STEPS_MAX];
  mneme_record records[STEPS_MAX][RECORDS_MAX];
  mneme_on_conflict policies[STEPS_MAX][RECORDS_MAX];
  mneme_bytes names[STEPS_MAX][3];
  int64_t sequences[STEPS_MAX][3];
  mneme_uid uid;
} random_write;

static mneme_record random_record(const engine *e, const char *id, const char *key) {
  mneme_record r = {.id = text(id), .token_count = pick(20), .tier = (int32_t)pick(3)};
  if (key != NULL) r.key = text(key);
  r.body = text(bodies[pick(5)]);
  if (chance(5)) r.role = text("system");
  r.pinned = chance(8);
  r.has_importance = chance(2);
  if (r.has_importance) r.importance = pick(4) / 4.0;
  if (chance(4)) {
    r.ttl_us = 1 + pick(60);
    r.expire_us = e->now_us + r.ttl_us;
  }
  return r;
}

static void random_append(const engine *e, random_write *w, int i) {
  uint32_t count = 1 + pick(RECORDS_MAX), first = pick(10), key = pick(5);
  for (uint32_t k = 0; k < count; k++) { /* no id and no key twice */
    const char *name = chance(3) && key + k < 5 ? keys[key + k] : NULL;
    w->records[i][k] = random_record(e, ids[(first + k) % 10], name);
    w->policies[i][k] = chance(6) ? MNEME_CONFLICT_FAIL
                        : chance(3) ? MNEME_CONFLICT_SKIP
                                    : MNEME_CONFLICT_REPLACE;
  }
  w->steps[i] = (mneme_step){.op = MNEME_STEP_APPEND,
                             .records = w->records[i],
                             .on_conflict = w->policies[i],
                             .record_count = count};
}

static void random_step(const engine *e, random_write *w, int i, const mneme_header *now) {
  mneme_step *step = &w->steps[i];
  int64_t last = now->last_sequence + 1;
  uint32_t kind = pick(20);
  if (kind < 9) {
    random_append(e, w, i);
    return;
  }
  memset(step, 0, sizeof *step);
  step->names = w->names[i];
  step->name_count = 1 + pick(3);
  step->sequences = w->sequences[i];
  step->sequence_count = 3;
  for (int k = 0; k < 3; k++)
    w->sequences[i][k] = (k > 0 ? w->sequences[i][k - 1] : last - 12) + 1 + pick(4);
  step->count = 1 + pick(3);
  step->byte_limit = chance(2) ? 0 : pick(20);
  step->from_sequence = last - pick(8);
  step->slide_ttl = chance(2);
  step->settings = text(bodies[pick(5)]);
  for (int k = 0; k < 3; k++) w->names[i][k] = text(ids[pick(10)]);
  switch (kind) {
    case 9:
    case 10:
      step->op = MNEME_STEP_PUT;
      w->records[i][0] = random_record(e, "ignored", chance(2) ? keys[pick(5)] : NULL);
      w->records[i][0].sequence = last - pick(10);
      step->records = w->records[i];
      step->record_count = 1;
      step->expected_revision = chance(4) ? now->revision : -1;
      break;
    case 11:
      step->op = MNEME_STEP_REMOVE_IDS;
      break;
    case 12:
      step->op = MNEME_STEP_REMOVE_KEYS;
      for (int k = 0; k < 3; k++) w->names[i][k] = text(keys[pick(5)]);
      break;
    case 13:
      step->op = MNEME_STEP_REMOVE_SEQUENCES;
      break;
    case 14:
      step->op = MNEME_STEP_REMOVE_NEWEST;
      break;
    case 15:
      step->op = MNEME_STEP_REMOVE_FROM;
      break;
    case 16:
      step->op = MNEME_STEP_SET_SETTINGS;
      break;
    case 17:
      step->op = chance(4) ? MNEME_STEP_DROP : MNEME_STEP_TOUCH;
      break;
    default:
      step->op = MNEME_STEP_TOUCH;
  }
}

static void random_plan(mneme_plan *plan, const mneme_header *now) {
  plan->strategy = 1 + pick(3);
  if (chance(2)) plan->evict_above = 2 + pick(8);
  if (chance(2)) plan->evict_to = 1 + pick(6);
  if (chance(3)) plan->evict_above_tokens = 10 + pick(60);
  if (chance(2)) plan->evict_to_tokens = 1 + pick(60);
  if (chance(3)) plan->max_age_us = 1 + pick(80);
  if (chance(6)) plan->ttl_us = 1 + pick(60);
  plan->keep_system = chance(3);
  if (!chance(20)) plan->settings_revision = now->settings_revision;
}

static void make_write(engine *e, random_write *w, uint32_t round) {
  const char *session = sessions[pick(2)];
  got now = engine_get(e, session);
  if (now.status != MNEME_OK) memset(&now.header, 0, sizeof now.header);
  size_t count = pick(STEPS_MAX + 1);
  w->write = a_write(e, w->steps, count);
  w->write.session = text(session);
  w->write.new_uid.bytes[1] = (uint8_t)round;
  w->write.new_uid.bytes[2] = (uint8_t)pick(256);
  if (chance(12)) {
    w->steps[0] = (mneme_step){.op = MNEME_STEP_EXPIRE, .count = 100};
    w->write.step_count = 1;
    return;
  }
  for (size_t i = 0; i < count; i++) random_step(e, w, (int)i, &now.header);
  random_plan(&w->write.plan, &now.header);
  w->write.want_removed = chance(2);
  if (chance(4)) {
    w->write.request_id = text(requests[pick(3)]);
    w->write.fingerprint[0] = (uint8_t)pick(2);
    w->write.window_us = round % 2 == 0 ? 1 + pick(100) : 1000000;
  }
  if (chance(10)) w->write.existence = 1 + pick(2);
  if (chance(10)) w->write.expected_revision = now.header.revision - pick(2);
  if (chance(10)) w->write.expected_settings_revision = now.header.settings_revision;
  if (chance(10)) {
    w->uid = now.header.uid;
    if (chance(4)) w->uid.bytes[5] ^= 1;
    w->write.uid = &w->uid;
  }
}

/* --- Comparing ------------------------------------------------------------ */

#define SAME(field) assert_int_equal(a->field, b->field)

static void same_header(const mneme_header *a, const mneme_header *b) {
  assert_memory_equal(&a->uid, &b->uid, sizeof a->uid);
  SAME(revision);
  SAME(settings_revision);
  SAME(last_sequence);
  SAME(memory_count);
  SAME(token_count);
  SAME(byte_count);
  SAME(create_us);
  SAME(update_us);
  SAME(append_us);
  SAME(expire_us);
  SAME(max_age_us);
  SAME(keep_system);
  SAME(deleted);
}

static void same_outcome(const outcome *a, const outcome *b) {
  SAME(status);
  if (a->status != MNEME_OK && a->status != MNEME_CONFLICT && a->status != MNEME_EXISTS &&
      a->status != MNEME_STALE_PLAN)
    return;
  same_header(&a->written.header, &b->written.header);
  SAME(written.conflict_revision);
  if (a->status != MNEME_OK) return;
  SAME(written.deduplicated);
  SAME(written.existed);
  SAME(written.truncated);
  SAME(written.ref_count);
  SAME(written.removed_count);
  SAME(written.evicted_count);
  SAME(written.expired_count);
  SAME(written.removed_count_listed);
  assert_string_equal(a->removed, b->removed);
  for (size_t i = 0; i < a->written.ref_count; i++) {
    assert_string_equal(a->ref_ids[i], b->ref_ids[i]);
    SAME(refs[i].sequence);
    SAME(refs[i].revision);
    SAME(refs[i].created);
  }
}

typedef struct dump {
  int done;
  mneme_status status;
  size_t size;
  char text[65536];
} dump;

static int dump_record(const mneme_record *r, void *ctx) {
  dump *d = ctx;
  d->size += (size_t)snprintf(
      d->text + d->size, sizeof d->text - d->size,
      "%.*s/%.*s/%.*s/%.*s seq %lld rev %lld create %lld update %lld access %lld %lld tier %d "
      "pin %d imp %d %.2f tokens %lld ttl %lld expire %lld\n",
      (int)r->id.size, r->id.data, (int)r->key.size, r->key.data, (int)r->role.size, r->role.data,
      (int)r->body.size, r->body.data, (long long)r->sequence, (long long)r->revision,
      (long long)r->create_us, (long long)r->update_us, (long long)r->access_us,
      (long long)r->access_count, r->tier, r->pinned, r->has_importance, r->importance,
      (long long)r->token_count, (long long)r->ttl_us, (long long)r->expire_us);
  return 0;
}

/* One line per sequence, so that merged entries look like single ones; sorted. */
typedef struct event {
  long long revision, sequence;
  int op;
} event;

typedef struct history {
  int done;
  mneme_status status;
  size_t count;
  event events[20000];
} history;

static int add_events(const mneme_log_entry *entry, void *ctx) {
  history *h = ctx;
  for (int64_t s = entry->first; s <= entry->last; s++)
    h->events[h->count++] = (event){entry->revision, s, entry->op};
  return 0;
}

static int compare_events(const void *a, const void *b) {
  const event *x = a, *y = b;
  if (x->revision != y->revision) return x->revision < y->revision ? -1 : 1;
  if (x->sequence != y->sequence) return x->sequence < y->sequence ? -1 : 1;
  return x->op - y->op;
}

static void history_done(mneme_status status, void *ctx) {
  history *h = ctx;
  h->done++;
  h->status = status;
  qsort(h->events, h->count, sizeof *h->events, compare_events);
  size_t kept = 0; /* replaced twice in one commit is told once or twice */
  for (size_t i = 0; i < h->count; i++)
    if (kept == 0 || compare_events(&h->events[kept - 1], &h->events[i]) != 0)
      h->events[kept++] = h->events[i];
  h->count = kept;
}

static void dump_done(mneme_status status, void *ctx) {
  dump *d = ctx;
  d->done++;
  d->status = status;
}

static void read_both(engine *x, engine *y, const mneme_read *read) {
  static dump a, b;
  engine_call call = engine_now(x);
  a.size = b.size = 0;
  a.text[0] = b.text[0] = 0;
  x->type->read(x->store, &call.call, read, dump_record, dump_done, &a);
  y->type->read(y->store, &call.call, read, dump_record, dump_done, &b);
  assert_int_equal(a.status, b.status);
  assert_string_equal(a.text, b.text);
}

static void same_session(engine *x, engine *y, const char *session) {
  static history h, i;
  got a = engine_get(x, session), b = engine_get(y, session);
  assert_int_equal(a.status, b.status);
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  read.session = text(session);
  read.descending = chance(2);
  read.limit = pick(4);
  read.byte_limit = pick(3) * 10;
  read_both(x, y, &read);
  read.select = MNEME_SELECT_KEYS;
  if (chance(2)) read.key_prefix = text("k");
  if (chance(2)) read.after_key = text(keys[pick(5)]);
  read_both(x, y, &read);
  if (a.status != MNEME_OK) return;
  same_header(&a.header, &b.header);
  assert_string_equal(a.settings, b.settings);
  engine_call call = engine_now(x);
  h.count = i.count = 0;
  x->type->log(x->store, &call.call, text("ns"), text(session), &a.header.uid, 0, add_events,
               history_done, &h);
  y->type->log(y->store, &call.call, text("ns"), text(session), &a.header.uid, 0, add_events,
               history_done, &i);
  assert_int_equal(h.status, i.status);
  assert_int_equal(h.count, i.count);
  assert_memory_equal(h.events, i.events, h.count * sizeof(event));
}

/* Whether the same sessions are due, in any order. */
static void same_due(engine *x, engine *y) {
  static listing a, b;
  engine_call call = engine_now(x);
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  x->type->due(x->store, &call.call, 10, listing_header, listing_done, &a);
  y->type->due(y->store, &call.call, 10, listing_header, listing_done, &b);
  assert_int_equal(a.count, b.count);
  assert_int_equal(a.size, b.size);
}

static void stats_done(mneme_status status, const mneme_stats *stats, void *ctx) {
  assert_int_equal(status, MNEME_OK);
  *(mneme_stats *)ctx = *stats;
}

/* Lists in both orders, from a random place on, and the sums. */
static void same_lists(engine *x, engine *y) {
  static listing a, b;
  engine_call call = engine_now(x);
  mneme_session_list list = {.ns = text("ns"), .limit = 1 + pick(2)};
  list.order = 1 + pick(2);
  if (chance(3)) list.prefix = text("s");
  if (chance(3)) {
    list.after_session = text("s");
    list.after_update_us = x->now_us - pick(10);
  }
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  x->type->session_list(x->store, &call.call, &list, listing_header, listing_done, &a);
  y->type->session_list(y->store, &call.call, &list, listing_header, listing_done, &b);
  assert_string_equal(a.text, b.text);
  mneme_stats m = {0}, n = {0};
  mneme_bytes session = chance(2) ? text("s") : (mneme_bytes){0};
  x->type->stats(x->store, &call.call, text("ns"), session, stats_done, &m);
  y->type->stats(y->store, &call.call, text("ns"), session, stats_done, &n);
  assert_memory_equal(&m, &n, sizeof m);
}

/* What a retry would get, now or after it was forgotten. */
static void same_request(engine *x, engine *y, const mneme_write *write) {
  outcome a = {0}, b = {0};
  engine_call call = engine_now(x);
  x->type->request_get(x->store, &call.call, write, engine_written, &a);
  y->type->request_get(y->store, &call.call, write, engine_written, &b);
  same_outcome(&a, &b);
}

static int out_of_memory, succeeded;

/* Tries the commit with an allocation that fails; true when one was reached. */
static bool try_without_memory(engine *e, const mneme_write *write) {
  outcome o = {0};
  engine_call call = engine_now(e);
  allocations_left = (int)pick(12);
  e->type->commit(e->store, &call.call, write, engine_written, &o);
  bool reached = allocations_left < 0;
  allocations_left = -1;
  assert_int_equal(o.done, 1);
  if (!reached || o.status != MNEME_NO_MEMORY) return false; /* or it could do without */
  out_of_memory++;
  return true;
}

static void agree(void **state) {
  static random_write w;
  outcome a, b;
  (void)state;
  for (uint32_t round = 0; round < ROUNDS; round++) {
    engine x, y;
    engine_open(&x);
    engine_open_type(&y, OTHER_ENTRY(), NULL, 0);
    random_state = 88172645463325252u + round * 7919u;
    for (int i = 0; i < COMMITS; i++) {
      /* The clock goes back in odd rounds. There no window ends, since an engine
       * may or may not have forgotten what had lapsed before. */
      bool back = round % 2 == 1 && chance(30);
      y.now_us = x.now_us += back ? -(int64_t)pick(20) : (int64_t)pick(8);
      make_write(&x, &w, round);
      if (WITHOUT_MEMORY && chance(3)) {
        if (!try_without_memory(&x, &w.write)) {
          engine_commit(&y, &w.write, NULL);
          continue;
        }
        same_session(&x, &y, "s");
        same_session(&x, &y, "t");
      }
      engine_commit(&x, &w.write, &a);
      engine_commit(&y, &w.write, &b);
      if (a.status == MNEME_OK) succeeded++;
      if (a.status != b.status) print_error("round %u, commit %d\n", round, i);
      same_outcome(&a, &b);
      same_session(&x, &y, "s");
      same_session(&x, &y, "t");
      same_due(&x, &y);
      same_lists(&x, &y);
      if (w.write.request_id.size != 0) same_request(&x, &y, &w.write);
    }
    engine_close(&x);
    engine_close(&y);
  }
  /* The cases that this test is about did happen. */
  print_message("%d commits done, %d without memory\n", succeeded, out_of_memory);
  assert_true(succeeded > ROUNDS * COMMITS / 4);
  assert_true(!WITHOUT_MEMORY || out_of_memory > ROUNDS * COMMITS / 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(agree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
