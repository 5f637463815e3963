/* What sqlite does that no other engine does: files and locks, the bounded queue,
 * graves, tails, and files that are damaged. The contract itself is the conformance
 * suite's, and what happens when calls of the system fail is tests/fault's. */
#include "engine.h"

#include "tails.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/wait.h>

static void run_sql(const char *path, const char *sql) {
  sqlite3 *db;
  char *error = NULL;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) print_error("%s: %s\n", sql, error);
  assert_null(error);
  sqlite3_close(db);
}

static int64_t ask_sql(const char *path, const char *sql) {
  sqlite3 *db;
  sqlite3_stmt *stmt;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
  int64_t value = sqlite3_column_int64(stmt, 0);
  sqlite3_finalize(stmt);
  sqlite3_close(db);
  return value;
}

static mneme_status append(engine *e, const char *id) {
  mneme_record r = a_record(id);
  return engine_append(e, &r, NULL, NULL);
}

static mneme_status ping(engine *e) {
  listing *l = calloc(1, sizeof *l);
  engine_call call = engine_now(e);
  e->type->ping(e->store, &call.call, listing_done, l);
  engine_wait(&l->done);
  mneme_status status = l->status;
  free(l);
  return status;
}

static void fill_in(engine *e, const char *session, int count) {
  mneme_record *records = calloc((size_t)count, sizeof *records);
  mneme_on_conflict *fail = calloc((size_t)count, sizeof *fail);
  char(*ids)[16] = calloc((size_t)count, sizeof *ids);
  for (int i = 0; i < count; i++) {
    snprintf(ids[i], sizeof ids[i], "m%d", i);
    records[i] = a_record(ids[i]);
    fail[i] = MNEME_CONFLICT_FAIL;
  }
  mneme_step step = {.op = MNEME_STEP_APPEND, .records = records, .on_conflict = fail,
                     .record_count = (size_t)count};
  mneme_write w = a_write(e, &step, 1);
  w.session = text(session);
  assert_int_equal(engine_commit(e, &w, NULL), MNEME_OK);
  free(records);
  free(fail);
  free(ids);
}

static void fill(engine *e, int count) { fill_in(e, "s", count); }

/* The record's id is what a_record puts into its body. */
static void expect_newest(engine *e, int64_t limit, const char *ids) {
  static listing l;
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  read.descending = true;
  read.limit = limit;
  assert_string_equal(engine_read(e, &read, &l), ids);
  assert_int_equal(l.status, MNEME_OK);
}

static int option_at(const engine *e, const char *name) {
  int i = 0;
  while (strcmp(e->type->options[i].name, name) != 0) i++;
  return i;
}

/* --- Files --------------------------------------------------------------------- */

static int mode_of(const char *path) {
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  return info.st_mode & 0777;
}

static void files_are_the_owners_only(void **state) {
  engine e;
  char path[160], folder[120];
  (void)state;
  engine_init(&e, ENGINE_ENTRY(), NULL, 0);
  snprintf(folder, sizeof folder, "%s/a/b", e.folder);
  snprintf(path, sizeof path, "%s/file:name", folder);
  engine_set_path(&e, path);
  engine_reopen(&e);
  assert_int_equal(append(&e, "a"), MNEME_OK);
  assert_int_equal(mode_of(folder), 0700);
  assert_int_equal(mode_of(path), 0600);
  char wal[180];
  snprintf(wal, sizeof wal, "%s-wal", path);
  assert_int_equal(mode_of(wal), 0600);
  snprintf(wal, sizeof wal, "%s.lock", path);
  assert_int_equal(mode_of(wal), 0600);
  engine_close(&e);
}

static void one_server_per_file(void **state) {
  engine e, other;
  char error[512] = "", pid[32];
  (void)state;
  engine_open(&e);
  other = e;
  assert_int_equal(engine_try(&other, error, sizeof error), MNEME_DOWN);
  snprintf(pid, sizeof pid, "process %ld", (long)getpid());
  assert_non_null(strstr(error, pid));
  assert_non_null(strstr(error, "stop that server"));
  assert_int_equal(append(&e, "a"), MNEME_OK);
  e.type->close(e.store);
  engine_reopen(&e); /* the lock went with the store, though its file is there */
  expect_ids(&e, "a");
  engine_close(&e);
}

/* kill -9 leaves the lock's file, but no lock. */
static void a_killed_server_leaves_no_lock(void **state) {
  engine e;
  (void)state;
  engine_init(&e, ENGINE_ENTRY(), NULL, 0);
  engine_set_path(&e, e.path);
  pid_t pid = fork();
  if (pid == 0) {
    engine_reopen(&e);
    _exit(append(&e, "a") == MNEME_OK ? 0 : 1); /* without close */
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  engine_reopen(&e);
  expect_ids(&e, "a");
  engine_close(&e);
}

static void expect_refused(engine *e, const char *sql, const char *text) {
  char error[512] = "";
  run_sql(e->path, sql);
  assert_int_equal(engine_try(e, error, sizeof error), MNEME_INVALID);
  if (strstr(error, text) == NULL) fail_msg("%s", error);
}

static void foreign_and_newer_files_are_refused(void **state) {
  engine e;
  (void)state;
  engine_open(&e);
  assert_int_equal(append(&e, "a"), MNEME_OK);
  e.type->close(e.store);
  int64_t version = ask_sql(e.path, "PRAGMA user_version");
  expect_refused(&e, "PRAGMA user_version = 999", "start a newer server");
  expect_refused(&e, "PRAGMA application_id = 1", "another program");
  expect_refused(&e, "PRAGMA application_id = 0", "another program");
  char text[64];
  snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d", 0x4d6e656d,
           (int)version);
  run_sql(e.path, text);
  engine_reopen(&e);
  expect_ids(&e, "a");
  engine_close(&e);
}

/* It stays as it was: what its journal is, too, is its program's matter. */
static void a_foreign_file_is_not_touched(void **state) {
  engine e;
  struct stat before, after;
  (void)state;
  engine_init(&e, ENGINE_ENTRY(), NULL, 0);
  engine_set_path(&e, e.path);
  run_sql(e.path, "CREATE TABLE theirs (x)");
  assert_int_equal(stat(e.path, &before), 0);
  expect_refused(&e, "", "another program");
  assert_int_equal(stat(e.path, &after), 0);
  assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
  assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  assert_int_equal(
      ask_sql(e.path, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
  engine_remove(&e);
}

static void options_are_checked(void **state) {
  engine e;
  char error[512] = "";
  (void)state;
  engine_init(&e, ENGINE_ENTRY(), NULL, 0);
  engine_set_path(&e, e.path);
  e.values[option_at(&e, "durability")].string = "very";
  assert_int_equal(engine_try(&e, error, sizeof error), MNEME_INVALID);
  assert_non_null(strstr(error, "durability"));
  e.values[option_at(&e, "durability")].string = "full";
  engine_set_path(&e, "/dev/shm/");
  assert_int_equal(engine_try(&e, error, sizeof error), MNEME_INVALID);
  engine_set_path(&e, "/proc/nowhere/mneme.db");
  assert_int_equal(engine_try(&e, error, sizeof error), MNEME_DOWN);
  assert_non_null(strstr(error, "/proc/nowhere"));
  engine_remove(&e);
}

/* --- Somebody else's lock -------------------------------------------------------- */

static int64_t clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* While another program writes, writes are refused in time and reads go on; when it
 * is through, the writer goes on by itself. */
static void a_foreign_lock_is_not_waited_for(void **state) {
  engine e;
  sqlite3 *db;
  (void)state;
  engine_open_with(&e, "lock_wait", 20000);
  assert_int_equal(append(&e, "a"), MNEME_OK);
  assert_int_equal(sqlite3_open(e.path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  int64_t start_ms = clock_ms();
  assert_int_equal(append(&e, "b"), MNEME_DOWN);
  assert_int_equal(append(&e, "b"), MNEME_DOWN); /* known by now: at once */
  assert_true(clock_ms() - start_ms < 5000);
  assert_int_equal(ping(&e), MNEME_DOWN);
  expect_ids(&e, "a");
  assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  while (ping(&e) != MNEME_OK) /* it looks every 100 ms, without a write */
    assert_true(clock_ms() - start_ms < 20000);
  assert_int_equal(append(&e, "b"), MNEME_OK);
  expect_ids(&e, "a,b");
  engine_close(&e);
}

/* --- The queue ---------------------------------------------------------------------- */

typedef struct gate {
  sem_t entered, open;
} gate;

static void block(mneme_status status, const mneme_written *written, void *ctx) {
  gate *g = ctx;
  (void)written;
  assert_int_equal(status, MNEME_OK);
  sem_post(&g->entered);
  sem_wait(&g->open);
}

/* The writer stands in a done while these wait for it. */
static void a_full_queue_is_busy(void **state) {
  engine e;
  gate g;
  outcome *o = calloc(5, sizeof *o);
  mneme_step drop = {.op = MNEME_STEP_DROP};
  (void)state;
  sem_init(&g.entered, 0, 0);
  sem_init(&g.open, 0, 0);
  engine_open_with(&e, "queue", 3);
  mneme_write w = a_write(&e, &drop, 1);
  engine_call call = engine_now(&e);
  e.type->commit(e.store, &call.call, &w, block, &g);
  sem_wait(&g.entered);
  engine_call calls[4] = {call, call, call, call};
  engine gone = e;
  gone.expired = true;
  calls[1].engine = &gone; /* its caller leaves while it waits */
  for (int i = 0; i < 4; i++) e.type->commit(e.store, &calls[i].call, &w, engine_written, &o[i]);
  engine_wait(&o[3].done);
  assert_int_equal(o[3].status, MNEME_BUSY);
  sem_post(&g.open);
  for (int i = 0; i < 3; i++) engine_wait(&o[i].done);
  assert_int_equal(o[0].status, MNEME_OK);
  assert_int_equal(o[1].status, MNEME_TIMEOUT);
  assert_int_equal(o[2].status, MNEME_OK);
  engine_close(&e);
  sem_destroy(&g.entered);
  sem_destroy(&g.open);
  free(o);
}

/* A refusal beside neighbours of the same transaction: they stand. */
static void a_refusal_costs_no_neighbour(void **state) {
  engine e;
  gate g;
  enum { COUNT = 40 };
  outcome *o = calloc(COUNT, sizeof *o);
  mneme_record records[COUNT][2];
  mneme_step steps[COUNT][2];
  mneme_write writes[COUNT];
  char ids[COUNT][16];
  mneme_on_conflict fail[] = {MNEME_CONFLICT_FAIL, MNEME_CONFLICT_FAIL};
  mneme_step drop = {.op = MNEME_STEP_DROP};
  (void)state;
  sem_init(&g.entered, 0, 0);
  sem_init(&g.open, 0, 0);
  engine_open(&e);
  assert_int_equal(append(&e, "there"), MNEME_OK);
  mneme_write first = a_write(&e, &drop, 1);
  first.session = text("other");
  engine_call call = engine_now(&e);
  e.type->commit(e.store, &call.call, &first, block, &g);
  sem_wait(&g.entered);
  for (int i = 0; i < COUNT; i++) { /* every third: two records, the second is taken */
    snprintf(ids[i], sizeof ids[i], "m%d", i);
    records[i][0] = a_record(ids[i]);
    records[i][1] = a_record("there");
    mneme_step append_step = {.op = MNEME_STEP_APPEND, .records = records[i],
                              .on_conflict = fail, .record_count = i % 3 == 0 ? 2 : 1};
    steps[i][0] = append_step;
    writes[i] = a_write(&e, steps[i], 1);
    e.type->commit(e.store, &call.call, &writes[i], engine_written, &o[i]);
  }
  sem_post(&g.open);
  int64_t sequence = 1;
  for (int i = 0; i < COUNT; i++) {
    engine_wait(&o[i].done);
    assert_int_equal(o[i].status, i % 3 == 0 ? MNEME_EXISTS : MNEME_OK);
    if (i % 3 != 0) assert_int_equal(o[i].refs[0].sequence, ++sequence);
  }
  assert_int_equal(engine_get(&e, "s").header.memory_count, sequence);
  engine_close(&e);
  sem_destroy(&g.entered);
  sem_destroy(&g.open);
  free(o);
}

/* --- Readers ------------------------------------------------------------------------------ */

typedef struct scanner {
  engine *e;
  int seen;
  bool waits_in_the_end; /* the other one, still */
  pthread_t other;
} scanner;

static void *look(void *ctx) {
  scanner *s = ctx;
  engine_get(s->e, "s");
  return NULL;
}

static bool somebody_waits(mneme_backend *store) {
  sched_yield();
  return sq_pool_is_wanted(&store->pool);
}

/* Somebody else comes while the scan has the only connection. */
static int scan_record(const mneme_record *record, void *ctx) {
  scanner *s = ctx;
  (void)record;
  if (s->seen++ == 0) {
    assert_int_equal(pthread_create(&s->other, NULL, look, s), 0);
    while (!somebody_waits(s->e->store)) continue;
  }
  if (s->seen == 2500) s->waits_in_the_end = sq_pool_is_wanted(&s->e->store->pool);
  return 0;
}

static void scan_done(mneme_status status, void *ctx) {
  (void)ctx;
  assert_int_equal(status, MNEME_OK);
}

static void a_long_scan_lets_others_read(void **state) {
  engine e;
  (void)state;
  engine_open_with(&e, "readers", 1);
  fill(&e, 2500);
  e.type->close(e.store);
  engine_reopen(&e); /* without tails */
  scanner s = {.e = &e};
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  engine_call call = engine_now(&e);
  e.type->read(e.store, &call.call, &read, scan_record, scan_done, &s);
  pthread_join(s.other, NULL);
  assert_int_equal(s.seen, 2500);
  assert_false(s.waits_in_the_end);
  engine_close(&e);
}

typedef struct scans {
  engine *e;
  atomic_bool over;
} scans;

static int pass_record(const mneme_record *record, void *ctx) {
  (void)record;
  (void)ctx;
  return 0;
}

static void *scan_on(void *ctx) {
  scans *s = ctx;
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  engine_call call = engine_now(s->e);
  read.session = text("large");
  while (!atomic_load(&s->over))
    s->e->type->read(s->e->store, &call.call, &read, pass_record, scan_done, NULL);
  return NULL;
}

/* Some scan is always under way; the WAL begins anew all the same. */
static void scans_do_not_let_the_log_grow(void **state) {
  engine e;
  char wal[120], id[16];
  pthread_t threads[3];
  struct stat info;
  const int64_t checkpoint = 64 * 1024;
  (void)state;
  engine_open_with(&e, "checkpoint", checkpoint);
  snprintf(wal, sizeof wal, "%s-wal", e.path);
  fill_in(&e, "large", 100000);
  e.type->close(e.store);
  engine_reopen(&e);
  scans s = {.e = &e};
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, scan_on, &s), 0);
  for (int i = 0; i < 1500; i++) {
    snprintf(id, sizeof id, "m%d", i);
    assert_int_equal(append(&e, id), MNEME_OK);
  }
  atomic_store(&s.over, true);
  for (size_t i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  assert_int_equal(stat(wal, &info), 0);
  assert_in_range(info.st_size, 0, 16 * checkpoint); /* without a pause up to 120 */
  engine_close(&e);
}

/* --- Graves --------------------------------------------------------------------------- */

static void trim_all(engine *e) {
  listing *l = calloc(1, sizeof *l);
  bool more = true;
  while (more) {
    engine_call call = engine_now(e);
    memset(l, 0, sizeof *l);
    e->type->trim(e->store, &call.call, 100000, &more, listing_done, l);
    engine_wait(&l->done);
    assert_int_equal(l->status, MNEME_OK);
  }
  free(l);
}

/* What was dropped or emptied is gone at once, its rows bit by bit; a restart does
 * not forget them. */
static void graves_are_emptied(void **state) {
  engine e;
  static listing l;
  mneme_step drop = {.op = MNEME_STEP_DROP};
  mneme_step clear = {.op = MNEME_STEP_REMOVE_FROM, .from_sequence = 1};
  (void)state;
  engine_open(&e);
  fill(&e, 2000);
  mneme_write w = a_write(&e, &clear, 1);
  outcome *o = calloc(1, sizeof *o);
  assert_int_equal(engine_commit(&e, &w, o), MNEME_OK);
  assert_int_equal(o->written.removed_count, 2000);
  mneme_header h = engine_get(&e, "s").header;
  assert_int_equal(h.memory_count, 0);
  assert_int_equal(h.last_sequence, 2000);
  assert_string_equal(engine_log(&e, &h.uid, 0, &l), "1@2 deleted 1-2000");
  expect_ids(&e, "");
  fill(&e, 300); /* the same ids again, beside those in the grave */
  e.type->close(e.store);
  engine_reopen(&e);
  expect_newest(&e, 1, "m299");
  w = a_write(&e, &drop, 1);
  assert_int_equal(engine_commit(&e, &w, o), MNEME_OK);
  assert_int_equal(o->written.removed_count, 300);
  trim_all(&e);
  assert_int_equal(append(&e, "new"), MNEME_OK);
  expect_ids(&e, "new");
  e.type->close(e.store);
  assert_int_equal(ask_sql(e.path, "SELECT count(*) FROM memories"), 1);
  assert_int_equal(ask_sql(e.path, "SELECT count(*) FROM log"), 0);
  assert_int_equal(ask_sql(e.path, "SELECT count(*) FROM graves"), 0);
  engine_remove(&e);
  free(o);
}

/* Emptied, written to again and dropped, all in one commit: what stood on the second
 * shelf is buried too. */
static void every_shelf_of_a_commit_is_buried(void **state) {
  engine e;
  mneme_record late = a_record("late");
  mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
  mneme_step steps[] = {
      {.op = MNEME_STEP_REMOVE_FROM, .from_sequence = 1},
      {.op = MNEME_STEP_APPEND, .records = &late, .on_conflict = &fail, .record_count = 1},
      {.op = MNEME_STEP_DROP}};
  (void)state;
  engine_open(&e);
  fill(&e, 300);
  mneme_write w = a_write(&e, steps, 3);
  assert_int_equal(engine_commit(&e, &w, NULL), MNEME_OK);
  trim_all(&e);
  e.type->close(e.store);
  assert_int_equal(ask_sql(e.path, "SELECT count(*) FROM memories"), 0);
  engine_remove(&e);
}

/* --- Tails ------------------------------------------------------------------------------ */

static int count_record(const mneme_record *record, void *ctx) {
  (void)record;
  ++*(int *)ctx;
  return 0;
}

/* Whether a read of the newest `limit` needs no database; then how many it has. */
static bool in_memory(engine *e, int64_t limit, int *ret_count) {
  mneme_status status;
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  engine_call call = engine_now(e);
  read.descending = true;
  read.limit = limit;
  *ret_count = 0;
  bool has = sq_tails_read(e->store->tails, &call.call, &read, count_record, ret_count, &status);
  if (has) assert_int_equal(status, MNEME_OK);
  return has;
}

static void the_newest_are_in_memory(void **state) {
  engine e;
  int count;
  char id[16];
  (void)state;
  engine_open(&e);
  for (int i = 1; i <= 60; i++) {
    snprintf(id, sizeof id, "m%d", i);
    assert_int_equal(append(&e, id), MNEME_OK);
  }
  assert_true(in_memory(&e, 50, &count));
  assert_int_equal(count, 50);
  assert_true(in_memory(&e, 1000, &count)); /* all of it is there */
  assert_int_equal(count, 60);
  for (int i = 61; i <= 300; i++) {
    snprintf(id, sizeof id, "m%d", i);
    assert_int_equal(append(&e, id), MNEME_OK);
  }
  assert_true(in_memory(&e, 50, &count));
  assert_false(in_memory(&e, 200, &count)); /* not that many */
  e.type->close(e.store);
  engine_reopen(&e);
  assert_false(in_memory(&e, 1, &count)); /* nothing was written yet */
  expect_newest(&e, 2, "m300,m299");
  assert_int_equal(append(&e, "m301"), MNEME_OK);
  assert_true(in_memory(&e, 1, &count));
  assert_false(in_memory(&e, 2, &count));
  expect_newest(&e, 3, "m301,m300,m299");
  engine_close(&e);
}

/* A reader that has seen a version in the database is not shown an older one. */
static void a_tail_that_is_behind_is_passed_over(void **state) {
  engine e;
  int count;
  (void)state;
  engine_open(&e);
  assert_int_equal(append(&e, "a"), MNEME_OK);
  assert_true(in_memory(&e, 1, &count));
  sq_tails_saw(e.store->tails, text("ns"), text("s"), 2);
  assert_false(in_memory(&e, 1, &count));
  assert_int_equal(append(&e, "b"), MNEME_OK); /* version 2 */
  assert_true(in_memory(&e, 1, &count));
  expect_newest(&e, 5, "b,a");
  engine_close(&e);
}

/* Bodies larger than a tail may be, and a budget for a few sessions only. */
static void tails_have_a_budget(void **state) {
  engine e;
  int count, kept = 0;
  size_t size = 300000;
  char *body = malloc(size), session[16];
  (void)state;
  memset(body, 'x', size);
  engine_open_with(&e, "tails", 1 << 20);
  for (int i = 0; i < 200; i++) {
    snprintf(session, sizeof session, "s%d", i);
    mneme_record r = a_record("small");
    mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
    mneme_step step = {
        .op = MNEME_STEP_APPEND, .records = &r, .on_conflict = &fail, .record_count = 1};
    r.body = mneme_bytes_of(body, 4000);
    mneme_write w = a_write(&e, &step, 1);
    w.session = text(session);
    assert_int_equal(engine_commit(&e, &w, NULL), MNEME_OK);
  }
  for (int i = 0; i < 200; i++) {
    mneme_status status;
    snprintf(session, sizeof session, "s%d", i);
    mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
    engine_call call = engine_now(&e);
    read.session = text(session);
    count = 0;
    kept += sq_tails_read(e.store->tails, &call.call, &read, count_record, &count, &status);
  }
  assert_true(kept > 50 && kept < 200);
  mneme_record large = a_record("large");
  large.body = mneme_bytes_of(body, size);
  assert_int_equal(engine_append(&e, &large, NULL, NULL), MNEME_OK);
  assert_false(in_memory(&e, 1, &count));
  assert_int_equal(append(&e, "after"), MNEME_OK);
  expect_newest(&e, 2, "after,large");
  engine_close(&e);
  free(body);
}

/* A write that finds a session lapsed, and leaves nothing in its place, leaves it as it
 * is: for who lives a little earlier, in memory as in the database. */
static void a_lapsed_session_that_stays_is_the_same_in_memory(void **state) {
  engine e;
  mneme_record again = a_record("again"), a = a_record("a");
  mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
  mneme_step steps[] = {
      {.op = MNEME_STEP_APPEND, .records = &again, .on_conflict = &fail, .record_count = 1},
      {.op = MNEME_STEP_DROP}};
  mneme_plan plan = {.ttl_us = 100, .strategy = MNEME_EVICT_FIFO};
  (void)state;
  engine_open(&e);
  assert_int_equal(engine_append(&e, &a, &plan, NULL), MNEME_OK);
  e.now_us += 100;
  mneme_write w = a_write(&e, steps, 2);
  assert_int_equal(engine_commit(&e, &w, NULL), MNEME_OK);
  expect_ids(&e, "");
  e.now_us -= 1;
  expect_ids(&e, "a");
  e.type->close(e.store);
  engine_reopen(&e);
  expect_ids(&e, "a");
  engine_close(&e);
}

/* --- Damage ------------------------------------------------------------------------------- */

static void overwrite(const char *path, long at, size_t size) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, at, SEEK_SET), 0);
  for (size_t i = 0; i < size; i++) fputc('\xa5', file);
  fclose(file);
}

/* The engine opens, says so, and refuses; the server goes on with the others. */
static void expect_damaged(engine *e) {
  static listing l;
  engine_reopen(e);
  assert_int_equal(ping(e), MNEME_CORRUPT);
  assert_int_equal(append(e, "x"), MNEME_CORRUPT);
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  engine_read(e, &read, &l);
  assert_int_equal(l.status, MNEME_CORRUPT);
  e->type->close(e->store);
}

static void damage_is_found_when_opening(void **state) {
  engine e;
  (void)state;
  engine_open(&e);
  fill(&e, 3000);
  e.type->close(e.store);
  assert_true(ask_sql(e.path, "PRAGMA page_count") > 50);
  overwrite(e.path, 40 * 4096, 4096); /* a page of a tree */
  expect_damaged(&e);
  overwrite(e.path, 0, 100); /* no database any more */
  expect_damaged(&e);
  assert_int_equal(truncate(e.path, 5000), 0);
  expect_damaged(&e);
  engine_remove(&e);
}

/* Without the check at open it is found where it is met. */
static void damage_is_found_when_reading(void **state) {
  engine e;
  static listing l;
  (void)state;
  engine_open_with(&e, "quick_check", 0);
  fill(&e, 3000);
  e.type->close(e.store);
  int64_t leaf = ask_sql(e.path, "SELECT pageno FROM dbstat WHERE name = 'memories' AND "
                                 "pagetype = 'leaf' ORDER BY pageno DESC LIMIT 1 OFFSET 3");
  overwrite(e.path, (long)(leaf - 1) * 4096, 4096);
  engine_reopen(&e);
  assert_int_equal(ping(&e), MNEME_OK);
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  read.limit = 10;
  engine_read(&e, &read, &l);
  assert_int_equal(l.count, 10);
  read.limit = 0;
  engine_read(&e, &read, &l);
  assert_int_equal(l.status, MNEME_CORRUPT);
  assert_int_equal(ping(&e), MNEME_CORRUPT);
  assert_int_equal(append(&e, "x"), MNEME_CORRUPT);
  read.limit = 10;
  engine_read(&e, &read, &l);
  assert_int_equal(l.status, MNEME_CORRUPT); /* what else is wrong with it? */
  engine_close(&e);
}

/* Names longer than any that was written: whoever copies one finds that out. */
static void names_are_not_believed(void **state) {
  engine e;
  static listing l;
  mneme_plan plan = {.ttl_us = 100, .strategy = MNEME_EVICT_FIFO};
  mneme_record a = a_record("a");
  a.key = text("k");
  (void)state;
  engine_open(&e);
  assert_int_equal(engine_append(&e, &a, &plan, NULL), MNEME_OK);
  e.type->close(e.store);
  run_sql(e.path, "UPDATE memories SET key = printf('%.*c', 9000, 'k');"
                  "UPDATE sessions SET due_us = 1;"
                  "INSERT INTO sessions SELECT slot + 1, shelf + 1, life + 1, ns, "
                  "printf('%.*c', 90000, 's'), uid, revision, settings_revision, last_sequence, "
                  "last_create_us, mutations, log_from, memory_count, token_count, byte_count, "
                  "pinned_count, pinned_tokens, system_count, system_tokens, create_us, update_us, "
                  "append_us, 0, max_age_us, keep_system, ranked, due_us, stamp, version, "
                  "request_count, settings_size FROM sessions");
  engine_reopen(&e);
  engine_call call = engine_now(&e);
  memset(&l, 0, sizeof l);
  e.type->due(e.store, &call.call, 10, listing_header, listing_done, &l);
  assert_int_equal(l.status, MNEME_CORRUPT);
  e.type->close(e.store);
  engine_reopen(&e);
  mneme_read read = a_read(MNEME_SELECT_KEYS);
  engine_read(&e, &read, &l);
  assert_int_equal(l.status, MNEME_CORRUPT);
  assert_int_equal(ping(&e), MNEME_CORRUPT);
  engine_close(&e);
}

/* --- Statements ------------------------------------------------------------------------------- */

static const struct {
  const char *name, *text;
} statements[] = {
#define SQ(name, text) {#name, text},
    SQ_STATEMENTS
#undef SQ
};

/* Tables that hold little, or that are gone over by their row number. */
static bool may_be_scanned(const char *plan) {
  static const char *const tables[] = {" store", " graves", " tombstones"};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    if (strncmp(plan + strcspn(plan, " "), tables[i], strlen(tables[i])) == 0) return true;
  return strncmp(plan, "SCAN", 4) != 0 && strncmp(plan, "SEARCH", 6) != 0;
}

/* None walks over a table of sessions or memories; only opening may. */
static void every_statement_has_its_index(void **state) {
  engine e;
  sqlite3 *db;
  char text[4096];
  (void)state;
  engine_open(&e);
  assert_int_equal(sqlite3_open(e.path, &db), SQLITE_OK);
  for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
    sqlite3_stmt *stmt;
    if (strcmp(statements[i].name, "COUNTERS") == 0) continue;
    snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", statements[i].text);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
      const char *plan = (const char *)sqlite3_column_text(stmt, 3);
      if (strstr(plan, " USING ") == NULL && !may_be_scanned(plan))
        fail_msg("%s: %s", statements[i].name, plan);
    }
    sqlite3_finalize(stmt);
  }
  sqlite3_close(db);
  engine_close(&e);
}

/* --- Restart ---------------------------------------------------------------------------------- */

/* The WAL is moved to the file as it grows, and gone after an orderly end. */
static void the_log_is_moved_to_the_file(void **state) {
  engine e;
  char wal[120], id[16];
  struct stat info;
  (void)state;
  engine_open_with(&e, "checkpoint", 256 * 1024);
  snprintf(wal, sizeof wal, "%s-wal", e.path);
  int64_t largest = 0;
  for (int i = 0; i < 2000; i++) {
    snprintf(id, sizeof id, "m%d", i);
    assert_int_equal(append(&e, id), MNEME_OK);
    if (stat(wal, &info) == 0 && info.st_size > largest) largest = info.st_size;
  }
  assert_true(largest > 256 * 1024 && largest < 1024 * 1024);
  e.type->close(e.store);
  assert_true(stat(wal, &info) != 0 || info.st_size == 0);
  assert_int_equal(ask_sql(e.path, "SELECT count(*) FROM memories"), 2000);
  engine_remove(&e);
}

typedef struct endless_reader {
  engine *e;
  atomic_bool stop;
  atomic_long reads;
} endless_reader;

static void *read_for_ever(void *ctx) {
  endless_reader *r = ctx;
  listing *l = calloc(1, sizeof *l);
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  while (!atomic_load(&r->stop)) {
    engine_read(r->e, &read, l);
    atomic_fetch_add(&r->reads, 1);
  }
  free(l);
  return NULL;
}

/* Three readers are always at it, so the WAL is never without one. */
static void readers_do_not_make_the_log_grow(void **state) {
  engine e;
  endless_reader reader = {.e = &e};
  pthread_t threads[3];
  char wal[120], id[16], *body = malloc(20000);
  struct stat info;
  (void)state;
  memset(body, 'x', 20000);
  engine_open_with(&e, "checkpoint", 256 * 1024);
  fill(&e, 200); /* more than a tail has */
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, read_for_ever, &reader), 0);
  snprintf(wal, sizeof wal, "%s-wal", e.path);
  int64_t largest = 0;
  mneme_plan plan = {.strategy = MNEME_EVICT_FIFO, .evict_above = 300, .evict_to = 300};
  for (int i = 0; i < 1500 || atomic_load(&reader.reads) < 100; i++) { /* 30 MB at least */
    snprintf(id, sizeof id, "w%d", i);
    mneme_record r = a_record(id);
    r.body = mneme_bytes_of(body, 20000);
    assert_int_equal(engine_append(&e, &r, &plan, NULL), MNEME_OK);
    if (stat(wal, &info) == 0 && info.st_size > largest) largest = info.st_size;
  }
  atomic_store(&reader.stop, true);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  if (largest > 8 << 20) fail_msg("the log has grown to %lld", (long long)largest);
  engine_close(&e);
  free(body);
}

/* Settings are remembered up to a limit only; beyond it they are read again. */
static void settings_of_many_sessions(void **state) {
  engine e;
  char session[16], *settings = malloc(MNEME_SETTINGS_MAX);
  (void)state;
  memset(settings, 's', MNEME_SETTINGS_MAX);
  engine_open(&e);
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < 300; i++) { /* 47 MiB */
      mneme_step step = {.op = MNEME_STEP_SET_SETTINGS,
                         .settings = mneme_bytes_of(settings, MNEME_SETTINGS_MAX)};
      snprintf(session, sizeof session, "s%d", i);
      mneme_write w = a_write(&e, &step, 1);
      w.session = text(session);
      w.plan.settings_revision = round;
      assert_int_equal(engine_commit(&e, &w, NULL), MNEME_OK);
      assert_int_equal(engine_get(&e, session).header.settings.size, MNEME_SETTINGS_MAX);
    }
  engine_close(&e);
  free(settings);
}

/* Ranks, request_ids and tombstones are as before. */
static void what_a_restart_keeps(void **state) {
  engine e;
  outcome *o = calloc(1, sizeof *o);
  (void)state;
  engine_open(&e);
  mneme_plan plan = {.strategy = MNEME_EVICT_LEAST_IMPORTANT, .evict_above = 3, .evict_to = 3};
  const double importances[] = {0.9, 0.1, 0.8, 0.7};
  for (int i = 0; i < 4; i++) {
    char id[16];
    snprintf(id, sizeof id, "m%d", i);
    mneme_record r = a_record(id);
    r.has_importance = true;
    r.importance = importances[i];
    assert_int_equal(engine_append(&e, &r, &plan, o), MNEME_OK);
  }
  expect_ids(&e, "m0,m2,m3");
  e.type->close(e.store);
  engine_reopen(&e);
  mneme_record r = a_record("m4");
  assert_int_equal(engine_append(&e, &r, &plan, o), MNEME_OK);
  assert_int_equal(o->written.evicted_count, 1);
  expect_ids(&e, "m0,m2,m4"); /* m3 was next, and the newest stays */
  mneme_step drop = {.op = MNEME_STEP_DROP};
  mneme_write w = a_write(&e, &drop, 1);
  w.request_id = text("r");
  assert_int_equal(engine_commit(&e, &w, o), MNEME_OK);
  e.type->close(e.store);
  engine_reopen(&e);
  assert_int_equal(engine_commit(&e, &w, o), MNEME_OK);
  assert_true(o->written.deduplicated);
  assert_int_equal(o->written.removed_count, 3);
  engine_close(&e);
  free(o);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_are_the_owners_only),
      cmocka_unit_test(one_server_per_file),
      cmocka_unit_test(a_killed_server_leaves_no_lock),
      cmocka_unit_test(foreign_and_newer_files_are_refused),
      cmocka_unit_test(a_foreign_file_is_not_touched),
      cmocka_unit_test(options_are_checked),
      cmocka_unit_test(a_foreign_lock_is_not_waited_for),
      cmocka_unit_test(a_full_queue_is_busy),
      cmocka_unit_test(a_refusal_costs_no_neighbour),
      cmocka_unit_test(a_long_scan_lets_others_read),
      cmocka_unit_test(scans_do_not_let_the_log_grow),
      cmocka_unit_test(graves_are_emptied),
      cmocka_unit_test(every_shelf_of_a_commit_is_buried),
      cmocka_unit_test(the_newest_are_in_memory),
      cmocka_unit_test(a_tail_that_is_behind_is_passed_over),
      cmocka_unit_test(tails_have_a_budget),
      cmocka_unit_test(a_lapsed_session_that_stays_is_the_same_in_memory),
      cmocka_unit_test(damage_is_found_when_opening),
      cmocka_unit_test(damage_is_found_when_reading),
      cmocka_unit_test(names_are_not_believed),
      cmocka_unit_test(every_statement_has_its_index),
      cmocka_unit_test(the_log_is_moved_to_the_file),
      cmocka_unit_test(readers_do_not_make_the_log_grow),
      cmocka_unit_test(settings_of_many_sessions),
      cmocka_unit_test(what_a_restart_keeps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
