/* sqlite with an allocation that fails, at each place of one workload in turn: ours,
 * by the linker's --wrap, and SQLite's own, by SQLITE_CONFIG_MALLOC. dict beside it
 * does the same without a fault.
 *
 * Whatever an operation answers then, its promise holds: an error that says that
 * nothing was done is repeated, and so is one that does not know (UNCERTAIN), with the
 * same request_id; in the end each write has taken effect once, and both stores show
 * the same, before and after a restart. */
#include "engine.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <time.h>

const mneme_backend_type *mneme_plugin_dict(void);

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static atomic_long allocated; /* since the workload began */
static atomic_long fails_at = -1;

static _Thread_local bool exempt; /* the model's allocations, and the test's own */

static bool fails_now(void) {
  return !exempt && atomic_fetch_add(&allocated, 1) == atomic_load(&fails_at);
}

void *__wrap_malloc(size_t size) { return fails_now() ? NULL : __real_malloc(size); }

void *__wrap_calloc(size_t count, size_t size) {
  return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
  return fails_now() ? NULL : __real_realloc(block, size);
}

static sqlite3_mem_methods theirs;

static void *their_malloc(int size) { return fails_now() ? NULL : theirs.xMalloc(size); }

static void *their_realloc(void *block, int size) {
  return fails_now() ? NULL : theirs.xRealloc(block, size);
}

static void wrap_sqlite(void) {
  sqlite3_mem_methods mine;
  assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &theirs), SQLITE_OK);
  mine = theirs;
  mine.xMalloc = their_malloc;
  mine.xRealloc = their_realloc;
  assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &mine), SQLITE_OK);
}

/* --- The two stores ---------------------------------------------------------------- */

static engine faulty, model;
static int faults; /* operations that said that something was wrong */

static bool is_fault(mneme_status status) {
  return status == MNEME_NO_MEMORY || status == MNEME_UNCERTAIN || status == MNEME_DOWN;
}

static int64_t clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int request_number;

/* Commits on both, on the faulty one until it is done. */
static void commit(mneme_write *w) {
  static outcome a, b;
  char request[16];
  int64_t start_ms = clock_ms();
  snprintf(request, sizeof request, "r%d", request_number++);
  w->request_id = text(request);
  exempt = true;
  mneme_status expected = engine_commit(&model, w, &b);
  exempt = false;
  mneme_status status;
  bool was_fault = false;
  while (is_fault(status = engine_commit(&faulty, w, &a))) {
    was_fault = true;
    faults++;
    assert_true(clock_ms() - start_ms < 20000);
  }
  assert_int_equal(status, expected);
  if (status != MNEME_OK) return;
  assert_true(was_fault || !a.written.deduplicated);
  assert_int_equal(a.written.header.revision, b.written.header.revision);
  assert_int_equal(a.written.header.memory_count, b.written.header.memory_count);
  assert_int_equal(a.written.ref_count, b.written.ref_count);
  for (size_t i = 0; i < a.written.ref_count && i < 64; i++)
    assert_int_equal(a.refs[i].sequence, b.refs[i].sequence);
  assert_int_equal(a.written.removed_count, b.written.removed_count);
  assert_int_equal(a.written.evicted_count, b.written.evicted_count);
  assert_string_equal(a.removed, b.removed);
}

static void do_steps(const char *session, const mneme_plan *plan, const mneme_step *steps,
                     size_t count) {
  mneme_write w = a_write(&model, steps, count);
  w.session = text(session);
  w.want_removed = true;
  if (plan != NULL) w.plan = *plan;
  commit(&w);
}

static void append(const char *session, const mneme_plan *plan, const char *prefix, int from,
                   int count, mneme_on_conflict policy) {
  static mneme_record records[400];
  static mneme_on_conflict policies[400];
  static char ids[400][16];
  for (int i = 0; i < count; i++) {
    snprintf(ids[i], sizeof ids[i], "%s%d", prefix, from + i);
    records[i] = a_record(ids[i]);
    records[i].has_importance = true;
    records[i].importance = (from + i) % 7 / 7.0;
    if (i % 2 == 0) records[i].key = text(ids[i]);
    if (i % 3 == 0) records[i].expire_us = model.now_us + (records[i].ttl_us = 1000 + i);
    policies[i] = policy;
  }
  mneme_step step = {.op = MNEME_STEP_APPEND, .records = records, .on_conflict = policies,
                     .record_count = (size_t)count};
  do_steps(session, plan, &step, 1);
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
      d->text + d->size, sizeof d->text - d->size, "%.*s/%.*s %.*s %lld %lld %lld %lld %.2f\n",
      (int)r->id.size, r->id.data, (int)r->key.size, r->key.data, (int)r->body.size, r->body.data,
      (long long)r->sequence, (long long)r->revision, (long long)r->access_count,
      (long long)r->expire_us, r->importance);
  return 0;
}

static void dump_done(mneme_status status, void *ctx) {
  dump *d = ctx;
  d->status = status;
  engine_count(&d->done);
}

static void read_one(engine *e, const mneme_read *read, dump *d) {
  engine_call call = engine_now(e);
  d->size = 0;
  d->done = 0;
  d->text[0] = 0;
  e->type->read(e->store, &call.call, read, dump_record, dump_done, d);
  engine_wait(&d->done);
}

static void read_both(const mneme_read *read) {
  static dump a, b;
  exempt = true;
  read_one(&model, read, &b);
  exempt = false;
  int64_t start_ms = clock_ms();
  while (read_one(&faulty, read, &a), is_fault(a.status)) {
    faults++;
    assert_true(clock_ms() - start_ms < 20000);
  }
  assert_int_equal(a.status, b.status);
  assert_string_equal(a.text, b.text);
}

static void same(const char *session) {
  exempt = true;
  got a, b = engine_get(&model, session);
  exempt = false;
  while (a = engine_get(&faulty, session), is_fault(a.status)) faults++;
  assert_int_equal(a.status, b.status);
  assert_string_equal(a.settings, b.settings);
  if (a.status == MNEME_OK) assert_int_equal(a.header.byte_count, b.header.byte_count);
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  read.session = text(session);
  read_both(&read);
  read.descending = true;
  read.limit = 5;
  read_both(&read);
  read.select = MNEME_SELECT_KEYS;
  read_both(&read);
}

/* The operations that only look, and trim. */
static void look_around(void) {
  static listing room;
  listing *l = &room;
  memset(l, 0, sizeof *l);
  mneme_session_list list = {.ns = text("ns"), .order = MNEME_SESSIONS_BY_UPDATE, .limit = 10};
  engine_call call = engine_now(&faulty);
  bool more;
  faulty.type->session_list(faulty.store, &call.call, &list, listing_header, listing_done, l);
  assert_true(l->status == MNEME_OK || is_fault(l->status));
  memset(l, 0, sizeof *l);
  faulty.type->due(faulty.store, &call.call, 10, listing_header, listing_done, l);
  memset(l, 0, sizeof *l);
  faulty.type->trim(faulty.store, &call.call, 10, &more, listing_done, l);
  engine_wait(&l->done);
  assert_true(l->status == MNEME_OK || is_fault(l->status));
}

/* --- The workload ------------------------------------------------------------------- */

static void open_faulty(void) {
  char error[512];
  mneme_status status;
  while ((status = engine_try(&faulty, error, sizeof error)) != MNEME_OK) {
    assert_true(is_fault(status));
    faults++;
  }
}

static void work_much(void) {
  const mneme_step clear = {.op = MNEME_STEP_REMOVE_FROM, .from_sequence = 1};
  append("t", NULL, "e", 0, 300, MNEME_CONFLICT_FAIL);
  mneme_write w = a_write(&model, &clear, 1); /* without want_removed: buried */
  w.session = text("t");
  commit(&w);
  append("t", NULL, "e", 0, 2, MNEME_CONFLICT_FAIL);
  look_around();
  same("t");
}

static void work(void) {
  mneme_plan fifo = {.strategy = MNEME_EVICT_FIFO, .evict_above = 6, .evict_to = 4};
  mneme_plan least = {.strategy = MNEME_EVICT_LEAST_IMPORTANT, .evict_above = 6, .evict_to = 5};
  mneme_bytes names[] = {text("a1"), text("a2"), text("nobody")};
  int64_t sequences[] = {1, 3, 5};
  mneme_record change = a_record("changed");
  change.sequence = 4;
  append("s", NULL, "a", 0, 1, MNEME_CONFLICT_FAIL);
  append("s", NULL, "a", 1, 5, MNEME_CONFLICT_FAIL);
  append("s", NULL, "a", 4, 4, MNEME_CONFLICT_REPLACE);
  append("s", NULL, "a", 4, 1, MNEME_CONFLICT_FAIL); /* EXISTS */
  same("s");
  const mneme_step some[] = {
      {.op = MNEME_STEP_REMOVE_IDS, .names = names, .name_count = 3},
      {.op = MNEME_STEP_TOUCH, .sequences = sequences, .sequence_count = 3, .slide_ttl = true},
      {.op = MNEME_STEP_PUT, .records = &change, .record_count = 1, .expected_revision = -1},
      {.op = MNEME_STEP_SET_SETTINGS, .settings = text("settings")}};
  do_steps("s", NULL, some, 4);
  same("s");
  fifo.settings_revision = least.settings_revision =
      engine_get(&model, "s").header.settings_revision;
  append("s", &fifo, "b", 0, 1, MNEME_CONFLICT_FAIL);
  append("s", &least, "c", 0, 3, MNEME_CONFLICT_FAIL);
  append("s", &least, "d", 0, 1, MNEME_CONFLICT_FAIL);
  same("s");
  model.now_us = faulty.now_us += 1001;
  look_around();
  const mneme_step expire = {.op = MNEME_STEP_EXPIRE, .count = 10};
  do_steps("s", &fifo, &expire, 1);
  const mneme_step drop = {.op = MNEME_STEP_DROP};
  do_steps("s", &fifo, &drop, 1);
  append("s", NULL, "f", 0, 1, MNEME_CONFLICT_FAIL);
  look_around();
  same("s");
}

/* From open to close, with the n-th allocation failing; returns how many there were. */
static long run(void (*workload)(void), long n) {
  engine_init(&faulty, ENGINE_ENTRY(), "checkpoint", 65536);
  engine_set_path(&faulty, faulty.path);
  faulty.values[7].integer = 1; /* readers: more open only more statements */
  engine_open_type(&model, mneme_plugin_dict(), NULL, 0);
  request_number = 0;
  atomic_store(&allocated, 0);
  atomic_store(&fails_at, n);
  open_faulty();
  workload();
  faulty.type->close(faulty.store);
  long count = atomic_load(&allocated);
  atomic_store(&fails_at, -1);
  open_faulty();
  same("s");
  same("t");
  engine_close(&faulty);
  engine_close(&model);
  return count;
}

static void fail_at_each(void (*workload)(void), long stride) {
  int64_t start_ms = clock_ms();
  long total = run(workload, -1);
  faults = 0;
  for (long n = 0; n < total; n += stride) run(workload, n);
  print_message("%ld allocations, every %ld: %d faults, %lld ms\n", total, stride, faults,
                (long long)(clock_ms() - start_ms));
  assert_true(faults > 0);
}

static void any_allocation_may_fail(void **state) {
  (void)state;
  fail_at_each(work, STRIDE);
}

/* Three hundred memories ask for the same again and again. */
static void any_allocation_of_a_large_commit_may_fail(void **state) {
  (void)state;
  fail_at_each(work_much, 29 * STRIDE);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_may_fail),
                                    cmocka_unit_test(any_allocation_of_a_large_commit_may_fail)};
  wrap_sqlite();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
