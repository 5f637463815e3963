/* The sqlite engine against a bare driver that runs its very statements.
 *
 *   sqlite_bench commit FOLDER OUTSTANDING COMMITS ROUNDS
 *   sqlite_bench last   FOLDER READS ROUNDS
 *
 * commit: the linker puts our sqlite3_bind, step and reset before SQLite's
 * (--wrap), so that one run of the engine is written down: which statement, with
 * which values, in which order. The bare driver plays that tape on a file that is
 * as the engine found it: one thread, one connection, prepared statements, one
 * transaction for as many commits as are outstanding; a checkpoint where the
 * engine would do one. Engine and driver run in turns; what counts is the median
 * of the ratios of the rounds.
 *
 * last: the newest 50 of 100 memories of 250 bytes in one of 1,000 sessions, by
 * the engine and by its own statement on a bare connection, with and without
 * somebody who commits meanwhile (64 outstanding; the tape, for the bare one).
 *
 * Prints one line for each comparison; exits with 1 when something fails. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mneme/backend.h"
#include "sql.h"

#define SESSIONS 1000
#define PRELOADED 100 /* memories in each, for reads */
#define BODY 250
#define OUTSTANDING_MAX 256
#define ROUNDS_MAX 25
#define NEWEST 50
#define CHECKPOINT_FRAMES 4096 /* 16 MiB, the engine's default */

const mneme_backend_type *mneme_plugin_sqlite(void);

static void die(const char *what) {
  fprintf(stderr, "sqlite_bench: %s\n", what);
  exit(1);
}

static void *need(void *p) {
  if (p == NULL) die("no memory");
  return p;
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int64_t wall_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint64_t random_state = 88172645463325252u;

static uint32_t pick(uint32_t below) { /* xorshift64 */
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 33) % below;
}

/* --- The tape --------------------------------------------------------------------- */

typedef enum op { INT, REAL, NONE, TEXT, BLOB, STEP, RESET } op;

typedef struct note {
  uint8_t op;
  uint16_t stmt; /* place in sqls */
  uint16_t at;   /* parameter */
  uint32_t size;
  union {
    int64_t integer;
    double real;
    char *data;
  } as;
} note;

#define SQLS_MAX 128
static struct {
  atomic_bool on;
  sqlite3_stmt *stmts[SQLS_MAX];
  char *sqls[SQLS_MAX];
  int sql_count;
  note *notes;
  size_t count, room;
} tape;

static int stmt_place(sqlite3_stmt *stmt) {
  for (int i = 0; i < tape.sql_count; i++)
    if (tape.stmts[i] == stmt) return i;
  if (tape.sql_count == SQLS_MAX) die("too many statements");
  tape.stmts[tape.sql_count] = stmt;
  tape.sqls[tape.sql_count] = need(strdup(sqlite3_sql(stmt)));
  return tape.sql_count++;
}

static note *write_down(sqlite3_stmt *stmt, op what, int at) {
  if (tape.count == tape.room) {
    tape.room = tape.room != 0 ? tape.room * 2 : 1 << 16;
    tape.notes = need(realloc(tape.notes, tape.room * sizeof *tape.notes));
  }
  note *n = &tape.notes[tape.count++];
  *n = (note){.op = (uint8_t)what, .stmt = (uint16_t)stmt_place(stmt), .at = (uint16_t)at};
  return n;
}

static void write_bytes(sqlite3_stmt *stmt, op what, int at, const void *data, size_t size) {
  note *n = write_down(stmt, what, at);
  n->size = (uint32_t)size;
  n->as.data = need(malloc(size + 1));
  if (size != 0) memcpy(n->as.data, data, size);
}

/* Only the writer's statements are taped: nobody reads while the tape is on. */
int __real_sqlite3_bind_int64(sqlite3_stmt *stmt, int at, sqlite3_int64 value);
int __real_sqlite3_bind_double(sqlite3_stmt *stmt, int at, double value);
int __real_sqlite3_bind_null(sqlite3_stmt *stmt, int at);
int __real_sqlite3_bind_text64(sqlite3_stmt *stmt, int at, const char *data, sqlite3_uint64 size,
                               void (*gone)(void *), unsigned char encoding);
int __real_sqlite3_bind_blob64(sqlite3_stmt *stmt, int at, const void *data, sqlite3_uint64 size,
                               void (*gone)(void *));
int __real_sqlite3_step(sqlite3_stmt *stmt);
int __real_sqlite3_reset(sqlite3_stmt *stmt);
int __wrap_sqlite3_bind_int64(sqlite3_stmt *stmt, int at, sqlite3_int64 value);
int __wrap_sqlite3_bind_double(sqlite3_stmt *stmt, int at, double value);
int __wrap_sqlite3_bind_null(sqlite3_stmt *stmt, int at);
int __wrap_sqlite3_bind_text64(sqlite3_stmt *stmt, int at, const char *data, sqlite3_uint64 size,
                               void (*gone)(void *), unsigned char encoding);
int __wrap_sqlite3_bind_blob64(sqlite3_stmt *stmt, int at, const void *data, sqlite3_uint64 size,
                               void (*gone)(void *));
int __wrap_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_reset(sqlite3_stmt *stmt);

static bool taping(void) { return atomic_load_explicit(&tape.on, memory_order_relaxed); }

int __wrap_sqlite3_bind_int64(sqlite3_stmt *stmt, int at, sqlite3_int64 value) {
  if (taping()) write_down(stmt, INT, at)->as.integer = value;
  return __real_sqlite3_bind_int64(stmt, at, value);
}

int __wrap_sqlite3_bind_double(sqlite3_stmt *stmt, int at, double value) {
  if (taping()) write_down(stmt, REAL, at)->as.real = value;
  return __real_sqlite3_bind_double(stmt, at, value);
}

int __wrap_sqlite3_bind_null(sqlite3_stmt *stmt, int at) {
  if (taping()) write_down(stmt, NONE, at);
  return __real_sqlite3_bind_null(stmt, at);
}

int __wrap_sqlite3_bind_text64(sqlite3_stmt *stmt, int at, const char *data, sqlite3_uint64 size,
                               void (*gone)(void *), unsigned char encoding) {
  if (taping()) write_bytes(stmt, TEXT, at, data, (size_t)size);
  return __real_sqlite3_bind_text64(stmt, at, data, size, gone, encoding);
}

int __wrap_sqlite3_bind_blob64(sqlite3_stmt *stmt, int at, const void *data, sqlite3_uint64 size,
                               void (*gone)(void *)) {
  if (taping()) write_bytes(stmt, BLOB, at, data, (size_t)size);
  return __real_sqlite3_bind_blob64(stmt, at, data, size, gone);
}

int __wrap_sqlite3_step(sqlite3_stmt *stmt) {
  if (taping()) write_down(stmt, STEP, 0);
  return __real_sqlite3_step(stmt);
}

int __wrap_sqlite3_reset(sqlite3_stmt *stmt) {
  if (taping()) write_down(stmt, RESET, 0);
  return __real_sqlite3_reset(stmt);
}

/* --- The engine -------------------------------------------------------------------- */

typedef struct slot {
  mneme_record record;
  mneme_on_conflict on_conflict;
  mneme_step step;
  mneme_write write;
  mneme_call call;
  char id[40], request_id[32], session[16], body[BODY];
  struct load *load;
} slot;

/* A closed loop: as many commits under way as there are slots. */
typedef struct load {
  mneme_backend *store;
  const mneme_backend_type *type;
  slot slots[OUTSTANDING_MAX];
  pthread_mutex_t lock;
  pthread_cond_t changed;
  slot *finished[OUTSTANDING_MAX];
  size_t finished_count;
  uint64_t number;
  atomic_bool stop;
} load;

static void committed(mneme_status status, const mneme_written *written, void *ctx) {
  slot *s = ctx;
  load *l = s->load;
  (void)written;
  if (status != MNEME_OK) die("a commit failed");
  pthread_mutex_lock(&l->lock);
  l->finished[l->finished_count++] = s;
  pthread_cond_signal(&l->changed);
  pthread_mutex_unlock(&l->lock);
}

static void commit_begin(load *l, slot *s, uint32_t session) {
  int64_t now_us = wall_us();
  l->number++;
  snprintf(s->id, sizeof s->id, "%012llx-7000-%016llx", (unsigned long long)now_us / 1000,
           (unsigned long long)l->number);
  snprintf(s->request_id, sizeof s->request_id, "request-%llu", (unsigned long long)l->number);
  snprintf(s->session, sizeof s->session, "session-%u", session);
  memset(s->body, 'a' + (int)(l->number % 26), sizeof s->body);
  s->load = l;
  s->on_conflict = MNEME_CONFLICT_FAIL;
  s->record = (mneme_record){.id = mneme_bytes_of(s->id, strlen(s->id)),
                             .kind = mneme_bytes_of("message", 7),
                             .role = mneme_bytes_of("user", 4),
                             .token_count = 60,
                             .event_us = MNEME_NO_EVENT,
                             .body = mneme_bytes_of(s->body, sizeof s->body),
                             .crc = 123456789};
  s->step = (mneme_step){.op = MNEME_STEP_APPEND,
                         .records = &s->record,
                         .on_conflict = &s->on_conflict,
                         .record_count = 1};
  s->write = (mneme_write){.ns = mneme_bytes_of("bench", 5),
                           .session = mneme_bytes_of(s->session, strlen(s->session)),
                           .request_id = mneme_bytes_of(s->request_id, strlen(s->request_id)),
                           .window_us = 3600000000,
                           .expected_revision = -1,
                           .expected_settings_revision = -1,
                           .steps = &s->step,
                           .step_count = 1};
  s->write.plan.strategy = MNEME_EVICT_FIFO;
  memcpy(s->write.new_uid.bytes, &l->number, sizeof l->number);
  s->write.new_uid.bytes[15] = 1;
  memcpy(s->write.fingerprint, &l->number, sizeof l->number);
  s->call = (mneme_call){.now_us = now_us};
  l->type->commit(l->store, &s->call, &s->write, committed, s);
}

static void load_init(load *l, mneme_backend *store) {
  memset(l, 0, sizeof *l);
  l->store = store;
  l->type = mneme_plugin_sqlite();
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->changed, NULL);
}

/* Waits for what has finished; how many, in out. */
static size_t take_finished(load *l, slot **out) {
  pthread_mutex_lock(&l->lock);
  while (l->finished_count == 0) pthread_cond_wait(&l->changed, &l->lock);
  size_t count = l->finished_count;
  memcpy(out, l->finished, count * sizeof *out);
  l->finished_count = 0;
  pthread_mutex_unlock(&l->lock);
  return count;
}

/* Commits until `commits` are through (0 = until stop); the sessions in turn, or
 * at random. */
static void load_run(load *l, size_t outstanding, size_t commits, bool in_turn) {
  slot *finished[OUTSTANDING_MAX];
  size_t begun = 0, done = 0;
  for (; begun < outstanding && (commits == 0 || begun < commits); begun++)
    commit_begin(l, &l->slots[begun], in_turn ? (uint32_t)(begun % SESSIONS) : pick(SESSIONS));
  while (done < begun) {
    size_t count = take_finished(l, finished);
    done += count;
    for (size_t i = 0; i < count; i++) {
      if (commits != 0 ? begun >= commits : atomic_load(&l->stop)) continue;
      commit_begin(l, finished[i], in_turn ? (uint32_t)(begun % SESSIONS) : pick(SESSIONS));
      begun++;
    }
  }
}

static mneme_backend *engine_open(const char *path) {
  const mneme_backend_type *type = mneme_plugin_sqlite();
  mneme_option_value values[32] = {{0}};
  mneme_backend *store = NULL;
  char error[512] = "";
  for (size_t i = 0; type->options[i].name != NULL; i++) {
    const mneme_option *o = &type->options[i];
    char *end;
    values[i].string = o->default_value;
    values[i].integer = strtoll(o->default_value, &end, 10);
    if (strcmp(end, "KiB") == 0) values[i].integer <<= 10;
    if (strcmp(end, "MiB") == 0) values[i].integer <<= 20;
    if (strcmp(end, "ms") == 0) values[i].integer *= 1000;
    if (strcmp(o->default_value, "true") == 0) values[i].integer = 1;
    if (strcmp(o->name, "path") == 0) values[i].string = path;
  }
  if (type->open(NULL, values, &store, error, sizeof error) != MNEME_OK) die(error);
  return store;
}

static void engine_close(mneme_backend *store) { mneme_plugin_sqlite()->close(store); }

/* --- Files -------------------------------------------------------------------------- */

static void path_of(char out[512], const char *folder, const char *name) {
  snprintf(out, 512, "%s/%s", folder, name);
}

static void remove_store(const char *path) {
  static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
  char name[600];
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    snprintf(name, sizeof name, "%s%s", path, ends[i]);
    unlink(name);
  }
}

static void copy_store(const char *from, const char *to) {
  char buffer[1 << 16];
  remove_store(to);
  FILE *in = need(fopen(from, "rb")), *out = need(fopen(to, "wb"));
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
    if (fwrite(buffer, 1, n, out) != n) die("cannot copy");
  fclose(in);
  fflush(out);
  fsync(fileno(out));
  fclose(out);
}

/* --- The bare driver ---------------------------------------------------------------- */

typedef struct bare {
  sqlite3 *db;
  sqlite3_stmt *stmts[SQLS_MAX];
  sqlite3_stmt *begin, *commit;
  int frames, copied;
} bare;

static void check(sqlite3 *db, int rc) {
  if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) die(sqlite3_errmsg(db));
}

static int on_commit(void *ctx, sqlite3 *db, const char *name, int frames) {
  bare *b = ctx;
  (void)db, (void)name;
  if (frames < b->frames) b->copied = 0;
  b->frames = frames;
  return SQLITE_OK;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *text) {
  sqlite3_stmt *stmt = NULL;
  check(db, sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL));
  return stmt;
}

static void bare_open(bare *b, const char *path) {
  memset(b, 0, sizeof *b);
  check(NULL, sqlite3_open_v2(path, &b->db, SQLITE_OPEN_READWRITE, NULL));
  sqlite3_busy_timeout(b->db, 5000); /* a reader that opens the file recovers its WAL */
  check(b->db, sqlite3_exec(b->db,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                            "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -32768; "
                            "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST",
                            NULL, NULL, NULL));
  sqlite3_wal_hook(b->db, on_commit, b);
  b->begin = prepare(b->db, "BEGIN IMMEDIATE");
  b->commit = prepare(b->db, "COMMIT");
}

static void bare_close(bare *b) {
  for (int i = 0; i < SQLS_MAX; i++) sqlite3_finalize(b->stmts[i]);
  sqlite3_finalize(b->begin);
  sqlite3_finalize(b->commit);
  sqlite3_close(b->db);
}

static void run_once(bare *b, sqlite3_stmt *stmt) {
  check(b->db, __real_sqlite3_step(stmt));
  __real_sqlite3_reset(stmt);
}

static bool is(const note *n, const char *text) { return strcmp(tape.sqls[n->stmt], text) == 0; }

static void play(bare *b, const note *n) {
  sqlite3_stmt *stmt = b->stmts[n->stmt];
  switch ((op)n->op) {
    case INT: __real_sqlite3_bind_int64(stmt, n->at, n->as.integer); break;
    case REAL: __real_sqlite3_bind_double(stmt, n->at, n->as.real); break;
    case NONE: __real_sqlite3_bind_null(stmt, n->at); break;
    case TEXT:
      __real_sqlite3_bind_text64(stmt, n->at, n->as.data, n->size, SQLITE_STATIC, SQLITE_UTF8);
      break;
    case BLOB: __real_sqlite3_bind_blob64(stmt, n->at, n->as.data, n->size, SQLITE_STATIC); break;
    case STEP: check(b->db, __real_sqlite3_step(stmt)); break;
    case RESET: __real_sqlite3_reset(stmt); break;
  }
}

static void checkpoint(bare *b) {
  int log = 0, copied = 0;
  if (b->frames - b->copied < CHECKPOINT_FRAMES) return;
  sqlite3_wal_checkpoint_v2(b->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &copied);
  b->copied = copied;
}

/* Plays the tape once, `group` commits to a transaction; stop = end early. */
static size_t bare_play(bare *b, size_t group, const atomic_bool *stop) {
  size_t commits = 0, in_group = 0;
  for (int i = 0; i < tape.sql_count; i++) b->stmts[i] = prepare(b->db, tape.sqls[i]);
  for (size_t i = 0; i < tape.count; i++) {
    const note *n = &tape.notes[i];
    if (is(n, "BEGIN IMMEDIATE") || is(n, "COMMIT") || is(n, "ROLLBACK")) continue;
    if (in_group == 0) {
      if (stop != NULL && atomic_load(stop)) break;
      run_once(b, b->begin);
      in_group = 1;
    }
    play(b, n);
    if (n->op != STEP || strncmp(tape.sqls[n->stmt], "INSERT OR IGNORE INTO memories", 30) != 0)
      continue;
    commits++;
    /* The rest of this commit, and the rows of sessions, belong to it too. */
    if (commits % group != 0) continue;
    for (; i + 1 < tape.count; i++) {
      const note *next = &tape.notes[i + 1];
      if (next->op == STEP && is(next, "BEGIN IMMEDIATE")) break;
      if (next->op == STEP &&
          strncmp(tape.sqls[next->stmt], "INSERT OR IGNORE INTO memories", 30) == 0)
        break;
      if (!is(next, "COMMIT") && !is(next, "BEGIN IMMEDIATE")) play(b, next);
    }
    run_once(b, b->commit);
    checkpoint(b);
    in_group = 0;
  }
  if (in_group != 0) run_once(b, b->commit);
  return commits;
}

/* --- Figures ------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(double *values, size_t count) {
  qsort(values, count, sizeof *values, by_size);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void print_rounds(const char *name, double *bare_rates, double *engine_rates,
                         size_t rounds) {
  double ratios[ROUNDS_MAX];
  for (size_t i = 0; i < rounds; i++) ratios[i] = engine_rates[i] / bare_rates[i];
  printf("%-34s bare %8.0f/s  engine %8.0f/s  ratio %.3f\n", name, median(bare_rates, rounds),
         median(engine_rates, rounds), median(ratios, rounds));
  fflush(stdout);
}

/* --- commit ------------------------------------------------------------------------- */

static load shared_load;

static void make_seed(const char *path, size_t memories) {
  remove_store(path);
  mneme_backend *store = engine_open(path);
  load_init(&shared_load, store);
  load_run(&shared_load, OUTSTANDING_MAX, memories, true);
  engine_close(store);
}

/* number: so that ids and request_ids are new. */
static double engine_commits(const char *path, size_t outstanding, size_t commits,
                             uint64_t number) {
  mneme_backend *store = engine_open(path);
  load_init(&shared_load, store);
  shared_load.number = number;
  load_run(&shared_load, outstanding, outstanding * 4, false); /* sessions into memory */
  double begin = now_s();
  load_run(&shared_load, outstanding, commits, false);
  double took = now_s() - begin;
  engine_close(store);
  return (double)commits / took;
}

static void record(const char *path, size_t outstanding, size_t commits, uint64_t number) {
  mneme_backend *store = engine_open(path);
  load_init(&shared_load, store);
  shared_load.number = number;
  atomic_store(&tape.on, true);
  load_run(&shared_load, outstanding, commits, false);
  atomic_store(&tape.on, false);
  engine_close(store);
}

static double bare_commits(const char *path, size_t outstanding) {
  bare b;
  bare_open(&b, path);
  double begin = now_s();
  size_t commits = bare_play(&b, outstanding, NULL);
  double took = now_s() - begin;
  bare_close(&b);
  return (double)commits / took;
}

static void bench_commit(const char *folder, size_t outstanding, size_t commits, size_t rounds) {
  char seed[512], work[512], name[64];
  double bare_rates[ROUNDS_MAX], engine_rates[ROUNDS_MAX];
  path_of(seed, folder, "seed.db");
  path_of(work, folder, "work.db");
  make_seed(seed, SESSIONS);
  copy_store(seed, work);
  record(work, outstanding, commits, 1000000);
  for (size_t i = 0; i < rounds; i++)
    for (int turn = 0; turn < 2; turn++) {
      copy_store(seed, work);
      if ((turn == 0) == (i % 2 == 0))
        engine_rates[i] = engine_commits(work, outstanding, commits, 1000000);
      else
        bare_rates[i] = bare_commits(work, outstanding);
    }
  snprintf(name, sizeof name, "commit, %zu outstanding", outstanding);
  print_rounds(name, bare_rates, engine_rates, rounds);
}

/* --- last ---------------------------------------------------------------------------- */

static size_t seen, seen_bytes;

static int see(const mneme_record *r, void *ctx) {
  (void)ctx;
  seen++;
  seen_bytes += r->body.size;
  return 0;
}

static void read_done(mneme_status status, void *ctx) {
  (void)ctx;
  if (status != MNEME_OK) die("a read failed");
}

static double engine_reads(mneme_backend *store, size_t reads) {
  const mneme_backend_type *type = mneme_plugin_sqlite();
  mneme_call call = {.now_us = wall_us()};
  char session[32];
  seen = 0;
  double begin = now_s();
  for (size_t i = 0; i < reads; i++) {
    int n = snprintf(session, sizeof session, "session-%u", pick(SESSIONS));
    mneme_read read = {.ns = mneme_bytes_of("bench", 5),
                       .session = mneme_bytes_of(session, (size_t)n),
                       .select = MNEME_SELECT_SEQUENCES,
                       .last = INT64_MAX,
                       .descending = true,
                       .limit = NEWEST,
                       .projection = MNEME_READ_BODY};
    type->read(store, &call, &read, see, read_done, NULL);
  }
  double took = now_s() - begin;
  if (seen != reads * NEWEST) die("a read did not find 50");
  return (double)reads / took;
}

/* The engine's own statements: the session's row, then its newest. */
static double bare_reads(const char *path, size_t reads) {
  static const char *const texts[] = {
#define SQ(name, text) [SQ_##name] = text,
      SQ_STATEMENTS
#undef SQ
  };
  sqlite3 *db = NULL;
  check(NULL, sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL));
  sqlite3_exec(db, "PRAGMA cache_size = -32768", NULL, NULL, NULL);
  sqlite3_busy_timeout(db, 5000);
  sqlite3_stmt *find = prepare(db, texts[SQ_STATE_FIND]), *down = prepare(db, texts[SQ_READ_DOWN]);
  char session[32];
  seen = 0;
  double begin = now_s();
  for (size_t i = 0; i < reads; i++) {
    int n = snprintf(session, sizeof session, "session-%u", pick(SESSIONS));
    check(db, sqlite3_bind_text(find, 1, "bench", 5, SQLITE_STATIC));
    check(db, sqlite3_bind_text(find, 2, session, n, SQLITE_STATIC));
    if (sqlite3_step(find) != SQLITE_ROW) die("no such session");
    int64_t shelf = sqlite3_column_int64(find, 1);
    sqlite3_reset(find);
    sqlite3_bind_int64(down, 1, 1);
    sqlite3_bind_int64(down, 2, shelf);
    sqlite3_bind_int64(down, 3, 0);
    sqlite3_bind_int64(down, 4, INT64_MAX);
    int columns = sqlite3_column_count(down);
    for (int k = 0; k < NEWEST && sqlite3_step(down) == SQLITE_ROW; k++) {
      seen++;
      for (int c = 0; c < columns; c++)
        if (sqlite3_column_type(down, c) == SQLITE_INTEGER)
          seen_bytes += (size_t)sqlite3_column_int64(down, c) & 1;
        else
          seen_bytes += sqlite3_column_blob(down, c) != NULL ? (size_t)sqlite3_column_bytes(down, c) : 0;
    }
    sqlite3_reset(down);
  }
  double took = now_s() - begin;
  if (seen != reads * NEWEST) die("a read did not find 50");
  sqlite3_finalize(find);
  sqlite3_finalize(down);
  sqlite3_close(db);
  return (double)reads / took;
}

static void *write_on(void *ctx) {
  load *l = ctx;
  load_run(l, 64, 0, false);
  return NULL;
}

typedef struct bare_writer {
  const char *path;
  atomic_bool stop;
} bare_writer;

static void *bare_write_on(void *ctx) {
  bare_writer *w = ctx;
  bare b;
  bare_open(&b, w->path);
  bare_play(&b, 64, &w->stop);
  bare_close(&b);
  return NULL;
}

static double one_last(const char *path, size_t reads, bool by_engine, bool writing) {
  pthread_t thread;
  double rate;
  if (by_engine) {
    mneme_backend *store = engine_open(path);
    load_init(&shared_load, store);
    shared_load.number = 1000000;
    engine_reads(store, SESSIONS * 8); /* warm, as the bare connection's cache is */
    if (writing && pthread_create(&thread, NULL, write_on, &shared_load) != 0) die("no thread");
    rate = engine_reads(store, reads);
    atomic_store(&shared_load.stop, true);
    if (writing) pthread_join(thread, NULL);
    engine_close(store);
  } else {
    bare_writer w = {.path = path};
    bare_reads(path, SESSIONS * 8);
    if (writing && pthread_create(&thread, NULL, bare_write_on, &w) != 0) die("no thread");
    rate = bare_reads(path, reads);
    atomic_store(&w.stop, true);
    if (writing) pthread_join(thread, NULL);
  }
  return rate;
}

static void bench_last(const char *folder, size_t reads, size_t rounds) {
  char seed[512], work[512];
  double bare_rates[ROUNDS_MAX], engine_rates[ROUNDS_MAX];
  path_of(seed, folder, "seed.db");
  path_of(work, folder, "work.db");
  make_seed(seed, (size_t)SESSIONS * PRELOADED);
  copy_store(seed, work);
  record(work, 64, 200000 < reads * 16 ? 200000 : reads * 16, 1000000);
  for (int writing = 0; writing < 2; writing++) {
    for (size_t i = 0; i < rounds; i++)
      for (int turn = 0; turn < 2; turn++) {
        copy_store(seed, work);
        bool by_engine = (turn == 0) == (i % 2 == 0);
        double rate = one_last(work, reads, by_engine, writing);
        *(by_engine ? &engine_rates[i] : &bare_rates[i]) = rate;
      }
    print_rounds(writing ? "last 50, while writes run" : "last 50, alone", bare_rates,
                 engine_rates, rounds);
  }
}

int main(int argc, char **argv) {
  bool commits = argc == 6 && strcmp(argv[1], "commit") == 0;
  bool last = argc == 5 && strcmp(argv[1], "last") == 0;
  size_t rounds = argc > 3 ? (size_t)atol(argv[argc - 1]) : 0;
  if ((!commits && !last) || rounds == 0 || rounds > ROUNDS_MAX) {
    fprintf(stderr, "usage: sqlite_bench commit FOLDER OUTSTANDING COMMITS ROUNDS\n"
                    "       sqlite_bench last FOLDER READS ROUNDS\n");
    return 2;
  }
  if (last) {
    bench_last(argv[2], (size_t)atol(argv[3]), rounds);
    return 0;
  }
  size_t outstanding = (size_t)atol(argv[3]);
  if (outstanding == 0 || outstanding > OUTSTANDING_MAX) die("1 to 256 outstanding");
  bench_commit(argv[2], outstanding, (size_t)atol(argv[4]), rounds);
  return 0;
}
