/* Filters over one session: how much of the speed of a bare scan is left.
 *
 *   filter_bench FOLDER MEMORIES ROUNDS
 *
 * Memories are as agents write them: 200 to 1,000 bytes of text, 85 bytes of
 * metadata. Nothing that is asked for is found, so that a filter sees all of them.
 *
 *   here   dict emits every memory, and the evaluator judges it; bare = emits it
 *   sql    SQLite decides; bare = the engine's own statement without the filter, on a
 *          connection of its own, over the same columns without the body
 *   both   SQLite emits with bodies, and the evaluator judges; bare = the same
 *          statement with bodies
 *
 * Each pair runs in turns; what counts is the median of the ratios of the rounds. */
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/wire_bytes.h"
#include "filter/filter.h"
#include "record/record.h"
#include "sql.h"
#include "wire/messages.h"
#include "wire/stored.h"

#define BATCH 500
#define ROUNDS_MAX 25
#define NOW INT64_C(1767225600000000)

const mneme_backend_type *mneme_plugin_dict(void);
const mneme_backend_type *mneme_plugin_sqlite(void);

static void die(const char *what) {
  fprintf(stderr, "filter_bench: %s\n", what);
  exit(1);
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- Memories ------------------------------------------------------------ */

static uint32_t pick(uint32_t below) { /* xorshift64 */
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 33) % below;
}

static void put_meta(bytes *object, const char *key, uint32_t number, const char *word, double n) {
  bytes entry = {0}, value = {0};
  put_text(&entry, 1, key);
  if (number == 3)
    put_text(&value, 3, word);
  else
    put_double(&value, 2, n);
  put_bytes(&entry, 2, value);
  put_bytes(object, 1, entry);
}

/* A Memory: words of five letters or so, and three keys of metadata. */
static bytes a_memory(int n) {
  static const char *const roles[] = {"user", "assistant", "tool"};
  char text[1024], id[32];
  size_t size = 0, wanted = 200 + pick(800);
  while (size < wanted) {
    for (uint32_t length = 2 + pick(8); length > 0 && size < wanted; length--)
      text[size++] = (char)('a' + pick(26));
    text[size++] = ' ';
  }
  bytes m = {0}, metadata = {0};
  snprintf(id, sizeof id, "memory-%07d", n);
  put_text(&m, 1, id);
  put_text(&m, 4, pick(4) == 0 ? "fact" : "message");
  put_text(&m, 5, roles[pick(3)]);
  put_chunk(&m, 9, text, size);
  put_meta(&metadata, "channel", 3, pick(2) == 0 ? "telegram" : "web-widget", 0);
  put_meta(&metadata, "score", 2, NULL, pick(1000) / 1000.0);
  put_meta(&metadata, "topic", 3, "travel and expenses of the team", 0);
  put_bytes(&m, 11, metadata);
  put_double(&m, 12, pick(100) / 100.0);
  return m;
}

typedef struct waiter {
  mneme_call call;
  sem_t done;
  mneme_status status;
} waiter;

static void written(mneme_status status, const mneme_written *w, void *ctx) {
  (void)w;
  ((waiter *)ctx)->status = status;
  sem_post(&((waiter *)ctx)->done);
}

static void done(mneme_status status, void *ctx) {
  written(status, NULL, ctx);
}

static void wait_for(waiter *w) {
  while (sem_wait(&w->done) != 0)
    continue;
  if (w->status == MNEME_OK)
    return;
  fprintf(stderr, "filter_bench: an operation answered %d\n", (int)w->status);
  exit(1);
}

static void append(const mneme_backend_type *type, mneme_backend *store, mneme_record *records,
                   size_t count) {
  mneme_on_conflict conflicts[BATCH];
  mneme_step step = {.op = MNEME_STEP_APPEND,
                     .records = records,
                     .on_conflict = conflicts,
                     .record_count = count};
  mneme_write write = {.ns = {"ns", 2},
                       .session = {"s", 1},
                       .expected_revision = -1,
                       .expected_settings_revision = -1,
                       .plan.strategy = MNEME_EVICT_FIFO,
                       .new_uid = {{1}},
                       .steps = &step,
                       .step_count = 1};
  waiter w = {.call.now_us = NOW};
  for (size_t i = 0; i < count; i++)
    conflicts[i] = MNEME_CONFLICT_FAIL;
  sem_init(&w.done, 0, 0);
  type->commit(store, &w.call, &write, written, &w);
  wait_for(&w);
}

/* The records of a request, as the service makes them. */
static void fill(mneme_backend *dict, mneme_backend *sqlite, int memories) {
  for (int at = 0; at < memories; at += BATCH) {
    int count = memories - at < BATCH ? memories - at : BATCH;
    bytes request = {0};
    mneme_record records[BATCH];
    wire_append q;
    arena a;
    error e = {0};
    for (int i = 0; i < count; i++)
      put_bytes(&request, 3, a_memory(at + i));
    arena_init(&a, 256 << 20);
    if (!wire_read_append(request.data, request.size, &a, &q, &e))
      die(e.message);
    for (int i = 0; i < count; i++) {
      mneme_record *r = &records[i];
      mneme_bytes body, metadata;
      *r = q.memories[i].record;
      record_seal(r);
      if (record_open(r, &body) != MNEME_OK || !stored_metadata(body, &metadata) ||
          !stored_json(metadata, &a, &r->metadata_json))
        die("a record without metadata");
    }
    append(mneme_plugin_dict(), dict, records, (size_t)count);
    append(mneme_plugin_sqlite(), sqlite, records, (size_t)count);
    arena_clear(&a);
    bytes_free(&request);
  }
}

static mneme_backend *open_store(const mneme_backend_type *type, const char *path) {
  mneme_option_value values[32] = {{0}};
  char problem[256] = "";
  mneme_backend *store;
  for (int i = 0; type->options != NULL && type->options[i].name != NULL; i++) {
    const mneme_option *o = &type->options[i];
    values[i].string = strcmp(o->name, "path") == 0 ? path : o->default_value;
    values[i].integer = o->type == MNEME_OPTION_INT    ? strtoll(o->default_value, NULL, 10)
                        : o->type == MNEME_OPTION_SIZE ? path == NULL ? 1 << 30 : 64 << 20
                                                       : o->min;
  }
  if (type->open(NULL, values, &store, problem, sizeof problem) != MNEME_OK)
    die(problem);
  return store;
}

/* --- Scans --------------------------------------------------------------- */

typedef struct scan {
  const mneme_filter *judge; /* NULL = nobody judges */
  int64_t seen, found;
} scan;

static int look(const mneme_record *r, void *ctx) {
  scan *s = ctx;
  bool match = true;
  s->seen++;
  if (s->judge != NULL && filter_match(s->judge, r, &match) != MNEME_OK)
    die("a record is damaged");
  s->found += match;
  return 0;
}

typedef struct both {
  waiter waiter;
  scan scan;
} both;

static int look_both(const mneme_record *r, void *ctx) {
  return look(r, &((both *)ctx)->scan);
}

static double by_engine(const mneme_backend_type *type, mneme_backend *store,
                        const mneme_filter *pushed, const mneme_filter *judge, uint32_t projection,
                        scan *ret_scan) {
  both b = {.waiter.call.now_us = NOW, .scan.judge = judge};
  mneme_read read = {.ns = {"ns", 2},
                     .session = {"s", 1},
                     .select = MNEME_SELECT_SEQUENCES,
                     .last = INT64_MAX,
                     .projection = projection,
                     .filter = pushed};
  sem_init(&b.waiter.done, 0, 0);
  double begin = now_s();
  type->read(store, &b.waiter.call, &read, look_both, done, &b);
  wait_for(&b.waiter);
  double took = now_s() - begin;
  *ret_scan = b.scan;
  return took;
}

#define SQ(name, text) [SQ_##name] = text,
static const char *const statements[SQ_COUNT] = {SQ_STATEMENTS};
#undef SQ

static double by_hand(sqlite3 *db, uint32_t projection, int64_t memories) {
  sqlite3_stmt *stmt;
  int64_t seen = 0;
  volatile size_t bytes_seen = 0;
  if (sqlite3_prepare_v2(db, statements[SQ_READ_UP], -1, &stmt, NULL) != SQLITE_OK)
    die(sqlite3_errmsg(db));
  sqlite3_bind_int64(stmt, 1, projection);
  sqlite3_bind_int64(stmt, 2, 1);
  sqlite3_bind_int64(stmt, 3, 0);
  sqlite3_bind_int64(stmt, 4, INT64_MAX);
  int columns = sqlite3_column_count(stmt);
  double begin = now_s();
  for (; sqlite3_step(stmt) == SQLITE_ROW; seen++)
    for (int c = 0; c < columns; c++)
      if (sqlite3_column_type(stmt, c) == SQLITE_INTEGER)
        bytes_seen += (size_t)sqlite3_column_int64(stmt, c) & 1;
      else if (sqlite3_column_blob(stmt, c) != NULL)
        bytes_seen += (size_t)sqlite3_column_bytes(stmt, c);
  double took = now_s() - begin;
  sqlite3_finalize(stmt);
  if (seen != memories)
    die("the bare scan missed some");
  return took;
}

/* --- Rounds -------------------------------------------------------------- */

typedef struct bench {
  mneme_backend *dict, *sqlite;
  sqlite3 *db;
  int64_t memories;
  int rounds;
  arena arena;
} bench;

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print(const bench *b, const char *path, const char *text, double *bare, double *ours) {
  double ratios[ROUNDS_MAX];
  for (int i = 0; i < b->rounds; i++)
    ratios[i] = bare[i] / ours[i];
  qsort(ratios, (size_t)b->rounds, sizeof *ratios, by_size);
  qsort(bare, (size_t)b->rounds, sizeof *bare, by_size);
  qsort(ours, (size_t)b->rounds, sizeof *ours, by_size);
  double each = 1e9 / (double)b->memories;
  printf("%-5s bare %6.0f ns  filtered %6.0f ns  share %.2f  %.60s\n", path,
         bare[b->rounds / 2] * each, ours[b->rounds / 2] * each, ratios[b->rounds / 2], text);
}

static void run(bench *b, const char *text) {
  const mneme_filter *f, *pushed, *rest;
  double bare[ROUNDS_MAX], ours[ROUNDS_MAX];
  error e = {0};
  scan s;
  if (!filter_parse(&b->arena, mneme_bytes_of(text, strlen(text)), &filter_of_memories, NOW, &f,
                    &e))
    die(e.message);
  if (!filter_split(&b->arena, f, &pushed, &rest))
    die("no memory");
  for (int i = 0; i < b->rounds; i++) {
    bare[i] = by_engine(mneme_plugin_dict(), b->dict, NULL, NULL, MNEME_READ_BODY, &s);
    ours[i] = by_engine(mneme_plugin_dict(), b->dict, NULL, f, MNEME_READ_BODY, &s);
    if (s.seen != b->memories || s.found != 0)
      die("the evaluator did not see all, or found some");
  }
  print(b, "here", text, bare, ours);
  uint32_t projection = rest != NULL ? MNEME_READ_BODY : 0;
  for (int i = 0; i < b->rounds; i++) {
    bare[i] = by_hand(b->db, projection, b->memories);
    ours[i] = by_engine(mneme_plugin_sqlite(), b->sqlite, pushed, rest, projection, &s);
    if (s.found != 0 || (pushed == NULL && s.seen != b->memories))
      die("SQLite found some, or did not emit all");
  }
  print(b, rest != NULL ? "both" : "sql", text, bare, ours);
}

/* role IN of as many as there may be. */
static char *long_in(arena *a) {
  char *text = arena_alloc(a, 16 * 1024), *at = text + sprintf(text, "id IN (\"x\"");
  for (int i = 1; i < FILTER_IN_MAX; i++)
    at += sprintf(at, ",\"x%d\"", i);
  strcpy(at, ")");
  return text;
}

int main(int argc, char **argv) {
  static const char *const filters[] = {
      "role = \"nobody\"",
      "importance > 2 AND kind = \"fact\"",
      "age(create_time) > 30d OR access_count > 5",
      "metadata.score > 1",
      "metadata.channel = \"nothing\" OR metadata.score < 0",
      "metadata.topic : \"income\"",
      "metadata.\"no\\\"ne\":*",
      "content : \"nowhere in it\"",
      "content ~ \"NOWHERE IN IT\"",
      "kind = \"fact\" AND content ~ \"NOWHERE IN IT\"",
  };
  if (argc != 4 || atoi(argv[2]) < 1 || atoi(argv[3]) < 1 || atoi(argv[3]) > ROUNDS_MAX) {
    fprintf(stderr, "usage: filter_bench FOLDER MEMORIES ROUNDS\n");
    return 2;
  }
  char path[512];
  snprintf(path, sizeof path, "%s/filter.db", argv[1]);
  bench b = {.memories = atoi(argv[2]), .rounds = atoi(argv[3])};
  wire_init();
  arena_init(&b.arena, 64 << 20);
  b.dict = open_store(mneme_plugin_dict(), NULL);
  b.sqlite = open_store(mneme_plugin_sqlite(), path);
  fill(b.dict, b.sqlite, (int)b.memories);
  if (sqlite3_open_v2(path, &b.db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
    die("the bare connection does not open");
  sqlite3_exec(b.db, "PRAGMA cache_size = -65536", NULL, NULL, NULL);
  for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
    run(&b, filters[i]);
  char *in = long_in(&b.arena);
  run(&b, in);
  sqlite3_close(b.db);
  mneme_plugin_sqlite()->close(b.sqlite);
  mneme_plugin_dict()->close(b.dict);
  arena_clear(&b.arena);
  return 0;
}
