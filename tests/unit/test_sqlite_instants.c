/* What sqlite does at one instant inside of SQLite, which no test could meet by
 * chance: the default VFS is replaced by one that calls back there. */
#include "engine.h"

#include "sqlite.h"

#include <sched.h>
#include <semaphore.h>

/* --- The VFS ------------------------------------------------------------------- */

#define WAL_WRITE_LOCK 0 /* SQLite's: offset of the lock that a writer has */

typedef void (*hook)(void *ctx);

/* Called, once, by the writer when COMMIT has made its transaction visible and before
 * it returns. */
static _Atomic hook on_visible;
static void *on_visible_ctx;

/* Called, once, when a database is about to be opened. */
static _Atomic hook on_open;
static void *on_open_ctx;

static sqlite3_vfs hooked_vfs;
static const sqlite3_vfs *real_vfs;
static const sqlite3_io_methods *real_methods;
static sqlite3_io_methods hooked_methods;

static int hooked_lock(sqlite3_file *file, int offset, int count, int flags) {
  int rc = real_methods->xShmLock(file, offset, count, flags);
  hook call = on_visible;
  if (call == NULL || offset != WAL_WRITE_LOCK || (flags & SQLITE_SHM_UNLOCK) == 0) return rc;
  on_visible = NULL;
  call(on_visible_ctx);
  return rc;
}

/* Databases; all of them have the same methods. */
static int hooked_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
                       int *ret_flags) {
  hook call = (flags & SQLITE_OPEN_MAIN_DB) != 0 ? on_open : NULL;
  if (call != NULL) {
    on_open = NULL;
    call(on_open_ctx);
  }
  int rc = real_vfs->xOpen(vfs, name, file, flags, ret_flags);
  if (rc != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0) return rc;
  real_methods = file->pMethods;
  hooked_methods = *real_methods;
  hooked_methods.xShmLock = hooked_lock;
  file->pMethods = &hooked_methods;
  return rc;
}

static int install(void **state) {
  (void)state;
  real_vfs = sqlite3_vfs_find(NULL);
  hooked_vfs = *real_vfs;
  hooked_vfs.zName = "hooked";
  hooked_vfs.xOpen = hooked_open;
  return sqlite3_vfs_register(&hooked_vfs, 1);
}

/* --- Who has seen a commit --------------------------------------------------------- */

/* What somebody saw in the database, and what a read showed to him then. */
typedef struct witness {
  engine *e;
  void (*look)(struct witness *w);
  const mneme_write *repeat; /* of request_get */
  mneme_uid uid;
  char saw[64], read[64]; /* shortened */
} witness;

static const char *read_newest(engine *e, listing *l) {
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  read.descending = true;
  read.limit = 10;
  return engine_read(e, &read, l);
}

/* The caller has no request of his own under way, so all is inline, as on a thread of
 * his own. */
static void look_then_read(void *ctx) {
  witness *w = ctx;
  listing *l = calloc(1, sizeof *l);
  w->look(w);
  snprintf(w->read, sizeof w->read, "%.60s", read_newest(w->e, l));
  free(l);
}

static void keep_header(witness *w, const listing *l) {
  snprintf(w->saw, sizeof w->saw, "%.40s %lld", l->text, (long long)l->header.last_sequence);
}

static void cursor_done(mneme_status status, mneme_bytes next, void *ctx) {
  (void)next;
  listing_done(status, ctx);
}

static void look_at_changes(witness *w) {
  listing *l = calloc(1, sizeof *l);
  engine_call call = engine_now(w->e);
  w->e->type->changes(w->e->store, &call.call, text("ns"), (mneme_bytes){0}, listing_header,
                      cursor_done, l);
  keep_header(w, l);
  free(l);
}

static void look_at_the_list(witness *w) {
  listing *l = calloc(1, sizeof *l);
  engine_call call = engine_now(w->e);
  mneme_session_list list = {.ns = text("ns"), .order = MNEME_SESSIONS_BY_ID, .limit = 10};
  w->e->type->session_list(w->e->store, &call.call, &list, listing_header, listing_done, l);
  keep_header(w, l);
  free(l);
}

static void stats_done(mneme_status status, const mneme_stats *stats, void *ctx) {
  witness *w = ctx;
  assert_int_equal(status, MNEME_OK);
  snprintf(w->saw, sizeof w->saw, "%lld %lld", (long long)stats->session_count,
           (long long)stats->memory_count);
}

static void look_at_stats(witness *w) {
  engine_call call = engine_now(w->e);
  w->e->type->stats(w->e->store, &call.call, text("ns"), (mneme_bytes){0}, stats_done, w);
}

static void look_at_stats_of_one(witness *w) {
  engine_call call = engine_now(w->e);
  w->e->type->stats(w->e->store, &call.call, text("ns"), text("s"), stats_done, w);
}

static void look_at_the_request(witness *w) {
  outcome *o = calloc(1, sizeof *o);
  engine_call call = engine_now(w->e);
  w->e->type->request_get(w->e->store, &call.call, w->repeat, engine_written, o);
  snprintf(w->saw, sizeof w->saw, "%s %d", o->status == MNEME_OK ? "ok" : "none",
           (int)o->written.removed_count);
  free(o);
}

static void look_at_the_log(witness *w) {
  listing *l = calloc(1, sizeof *l);
  snprintf(w->saw, sizeof w->saw, "%.60s", engine_log(w->e, &w->uid, 0, l));
  free(l);
}

static void look_at_keys(witness *w) { /* which tails do not answer */
  listing *l = calloc(1, sizeof *l);
  mneme_read read = a_read(MNEME_SELECT_KEYS);
  snprintf(w->saw, sizeof w->saw, "[%.60s]", engine_read(w->e, &read, l));
  free(l);
}

/* One commit, and what a witness sees at the instant at which it becomes visible. */
static void expect_seen(void (*look)(witness *w), const mneme_step *step, const char *saw,
                        const char *read) {
  engine e;
  outcome *o = calloc(1, sizeof *o);
  engine_open(&e);
  mneme_record a = a_record("a");
  a.key = text("a");
  assert_int_equal(engine_append(&e, &a, NULL, o), MNEME_OK);
  mneme_write w = a_write(&e, step, 1);
  w.request_id = text("r");
  witness seen = {.e = &e, .look = look, .repeat = &w, .uid = o->written.header.uid};
  on_visible_ctx = &seen;
  on_visible = look_then_read;
  assert_int_equal(engine_commit(&e, &w, o), MNEME_OK);
  assert_null(on_visible);
  assert_string_equal(seen.saw, saw);
  assert_string_equal(seen.read, read);
  /* The memory answers again. */
  listing *l = calloc(1, sizeof *l);
  assert_string_equal(read_newest(&e, l), read);
  free(l);
  engine_close(&e);
  free(o);
}

static mneme_record newcomer;
static const mneme_on_conflict fails = MNEME_CONFLICT_FAIL;

static mneme_step an_append(void) {
  newcomer = a_record("b");
  return (mneme_step){.op = MNEME_STEP_APPEND, .records = &newcomer, .on_conflict = &fails,
                      .record_count = 1};
}

static void who_sees_an_append_reads_it(void **state) {
  (void)state;
  mneme_step step = an_append();
  expect_seen(look_at_keys, &step, "[a]", "b,a");
  expect_seen(look_at_changes, &step, "s 2", "b,a");
  expect_seen(look_at_the_list, &step, "s 2", "b,a");
  expect_seen(look_at_stats, &step, "1 2", "b,a");
  expect_seen(look_at_stats_of_one, &step, "1 2", "b,a");
  expect_seen(look_at_the_request, &step, "ok 0", "b,a");
}

static void who_sees_a_removal_reads_no_more(void **state) {
  mneme_bytes name = text("a");
  mneme_step step = {.op = MNEME_STEP_REMOVE_IDS, .names = &name, .name_count = 1};
  (void)state;
  expect_seen(look_at_the_log, &step, "1@2 deleted 1-1", "");
  expect_seen(look_at_the_request, &step, "ok 1", "");
}

static void who_sees_a_drop_reads_no_more(void **state) {
  mneme_step step = {.op = MNEME_STEP_DROP};
  (void)state;
  expect_seen(look_at_keys, &step, "[]", "");
  expect_seen(look_at_changes, &step, "-s 0", "");
  expect_seen(look_at_stats_of_one, &step, "0 0", "");
  expect_seen(look_at_the_request, &step, "ok 1", "");
  expect_seen(look_at_the_log, &step, "", "");
}

/* --- Batches ---------------------------------------------------------------------------- */

typedef struct neighbours {
  engine *e;
  engine_call call;
  mneme_write small, large;
  outcome done_small, done_large;
  int64_t seen; /* memories of the large write, when the small one is answered */
} neighbours;

static void count_memories(mneme_status status, const mneme_stats *stats, void *ctx) {
  neighbours *n = ctx;
  assert_int_equal(status, MNEME_OK);
  n->seen = stats->memory_count;
}

static void small_done(mneme_status status, const mneme_written *written, void *ctx) {
  neighbours *n = ctx;
  engine *e = n->e;
  e->type->stats(e->store, &n->call.call, text("ns"), text("large"), count_memories, n);
  engine_written(status, written, &n->done_small);
}

/* The writer is busy, so both are taken at once. */
static void send_both(void *ctx) {
  neighbours *n = ctx;
  engine *e = n->e;
  e->type->commit(e->store, &n->call.call, &n->small, small_done, n);
  e->type->commit(e->store, &n->call.call, &n->large, engine_written, &n->done_large);
}

static void a_small_write_does_not_wait_for_a_large_one(void **state) {
  enum { COUNT = 3000 };
  engine e;
  neighbours *n = calloc(1, sizeof *n);
  mneme_record *records = calloc(COUNT, sizeof *records), one = a_record("a");
  mneme_on_conflict *on_conflict = calloc(COUNT, sizeof *on_conflict);
  char(*ids)[16] = calloc(COUNT, sizeof *ids);
  (void)state;
  engine_open(&e);
  for (int i = 0; i < COUNT; i++) {
    snprintf(ids[i], sizeof ids[i], "m%d", i);
    records[i] = a_record(ids[i]);
    on_conflict[i] = MNEME_CONFLICT_FAIL;
  }
  mneme_step small = {.op = MNEME_STEP_APPEND, .records = &one, .on_conflict = &fails,
                      .record_count = 1};
  mneme_step large = {.op = MNEME_STEP_APPEND, .records = records, .on_conflict = on_conflict,
                      .record_count = COUNT};
  n->e = &e;
  n->call = engine_now(&e);
  n->small = a_write(&e, &small, 1);
  n->large = a_write(&e, &large, 1);
  n->large.session = text("large");
  mneme_record first = a_record("first");
  on_visible_ctx = n;
  on_visible = send_both;
  assert_int_equal(engine_append(&e, &first, NULL, NULL), MNEME_OK);
  engine_wait(&n->done_small.done);
  engine_wait(&n->done_large.done);
  assert_int_equal(n->done_small.status, MNEME_OK);
  assert_int_equal(n->done_large.status, MNEME_OK);
  assert_int_equal(n->seen, 0);
  engine_close(&e);
  free(n);
  free(records);
  free(on_conflict);
  free(ids);
}

/* --- Closing -------------------------------------------------------------------------- */

typedef struct closing {
  mneme_backend *store;
  sem_t entered;
} closing;

/* The writer stands here, opening the file again, until close is waiting for it. */
static void wait_for_close(void *ctx) {
  closing *c = ctx;
  bool closed = false;
  sem_post(&c->entered);
  while (!closed) {
    sched_yield();
    pthread_mutex_lock(&c->store->ring.lock);
    closed = c->store->ring.closed;
    pthread_mutex_unlock(&c->store->ring.lock);
  }
}

/* What the writer needs for that is not taken away from under it. */
static void a_store_that_is_down_can_be_closed(void **state) {
  engine e;
  sqlite3 *db;
  closing c;
  (void)state;
  engine_open(&e);
  e.type->close(e.store);
  assert_int_equal(sqlite3_open(e.path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE", NULL,
                                NULL, NULL),
                   SQLITE_OK);
  engine_reopen(&e); /* DOWN: the writer tries again by and by */
  sem_init(&c.entered, 0, 0);
  c.store = e.store;
  on_open_ctx = &c;
  on_open = wait_for_close;
  sem_wait(&c.entered);
  e.type->close(e.store);
  sqlite3_close(db);
  engine_reopen(&e);
  mneme_record a = a_record("a");
  assert_int_equal(engine_append(&e, &a, NULL, NULL), MNEME_OK);
  engine_close(&e);
  sem_destroy(&c.entered);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_sees_an_append_reads_it),
      cmocka_unit_test(who_sees_a_removal_reads_no_more),
      cmocka_unit_test(who_sees_a_drop_reads_no_more),
      cmocka_unit_test(a_small_write_does_not_wait_for_a_large_one),
      cmocka_unit_test(a_store_that_is_down_can_be_closed),
  };
  return cmocka_run_group_tests(tests, install, NULL);
}
