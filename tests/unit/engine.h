/* A small language for unit tests of an engine: one store, one namespace, and
 * writes in a line each. Compiled against one engine: ENGINE_ENTRY names its
 * entry. Every call waits for done, which may come from a thread of the engine, and
 * checks that it came exactly once. */
#ifndef TESTS_UNIT_ENGINE_H
#define TESTS_UNIT_ENGINE_H

#include "cmocka_test.h"
#include "mneme/backend.h"

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENGINE_OPTIONS_MAX 16

const mneme_backend_type *ENGINE_ENTRY(void);

typedef struct engine {
  const mneme_backend_type *type;
  mneme_backend *store;
  int64_t now_us;
  uint8_t next_uid;
  bool expired; /* what mneme_call_expired says */
  mneme_option_value values[ENGINE_OPTIONS_MAX];
  char folder[64]; /* of an engine with a `path`; "" = none */
  char path[80];
} engine;

typedef struct engine_call {
  mneme_call call;
  const engine *engine;
} engine_call;

/* What the last commit answered. */
typedef struct outcome {
  int done;
  mneme_status status;
  mneme_written written;
  mneme_ref refs[64];
  char ref_ids[64][MNEME_ID_MAX + 1];
  char removed[4096]; /* bodies, joined by "," */
} outcome;

static inline mneme_bytes text(const char *s) { return mneme_bytes_of(s, strlen(s)); }

static inline bool engine_expired(const mneme_call *call) {
  return ((const engine_call *)call)->engine->expired;
}

static inline engine_call engine_now(const engine *e) {
  return (engine_call){{e->now_us, engine_expired}, e};
}

/* --- Waiting for done ------------------------------------------------------ */

/* Any done of any test: they are few, so one condition is enough. */
static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t engine_changed = PTHREAD_COND_INITIALIZER;

static inline void engine_count(int *done) {
  pthread_mutex_lock(&engine_lock);
  (*done)++;
  pthread_cond_broadcast(&engine_changed);
  pthread_mutex_unlock(&engine_lock);
}

/* Waits until done has been called, which must have been once. */
static inline void engine_wait(const int *done) {
  pthread_mutex_lock(&engine_lock);
  while (*done == 0) pthread_cond_wait(&engine_changed, &engine_lock);
  int times = *done;
  pthread_mutex_unlock(&engine_lock);
  assert_int_equal(times, 1);
}

/* --- Open and close -------------------------------------------------------- */

/* A number as the option tables write it. */
static inline int64_t engine_number(const char *value) {
  static const struct {
    const char *name;
    int64_t factor;
  } units[] = {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"ms", 1000}, {"s", 1000000}};
  char *end;
  int64_t number = strtoll(value, &end, 10);
  if (strcmp(value, "true") == 0) return 1;
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (strcmp(end, units[i].name) == 0) return number * units[i].factor;
  return number;
}

static inline void engine_folder(engine *e) {
  struct stat info;
  bool memory = stat("/dev/shm", &info) == 0 && S_ISDIR(info.st_mode);
  snprintf(e->folder, sizeof e->folder, "%s/mneme-unit-XXXXXX", memory ? "/dev/shm" : "/tmp");
  assert_non_null(mkdtemp(e->folder));
  snprintf(e->path, sizeof e->path, "%s/mneme.db", e->folder);
}

static inline mneme_status engine_try(engine *e, char *error, size_t size) {
  return e->type->open(NULL, e->values, &e->store, error, size);
}

static inline void engine_reopen(engine *e) {
  char error[512] = "";
  mneme_status status = engine_try(e, error, sizeof error);
  if (status != MNEME_OK) print_error("%s\n", error);
  assert_int_equal(status, MNEME_OK);
}

/* Prepares a store of this type with its default options, but for this one (NULL =
 * none). An engine with files gets a folder of its own, in memory where there is
 * such a file system, and need not be durable. */
static inline void engine_init(engine *e, const mneme_backend_type *type, const char *option,
                               int64_t value) {
  *e = (engine){.type = type, .now_us = 1000000, .next_uid = 1};
  for (int i = 0; type->options != NULL && type->options[i].name != NULL; i++) {
    const mneme_option *o = &type->options[i];
    assert_true(i < ENGINE_OPTIONS_MAX);
    if (strcmp(o->name, "path") == 0) engine_folder(e);
    e->values[i].string = o->default_value;
    if (o->default_value != NULL) e->values[i].integer = engine_number(o->default_value);
    if (strcmp(o->name, "durability") == 0) e->values[i].string = "normal";
    if (option != NULL && strcmp(o->name, option) == 0) e->values[i].integer = value;
  }
}

/* Also after a copy of the engine: the path is the engine's own. */
static inline void engine_set_path(engine *e, const char *path) {
  for (int i = 0; e->type->options != NULL && e->type->options[i].name != NULL; i++)
    if (strcmp(e->type->options[i].name, "path") == 0) e->values[i].string = path;
}

static inline void engine_open_type(engine *e, const mneme_backend_type *type,
                                    const char *option, int64_t value) {
  engine_init(e, type, option, value);
  engine_set_path(e, e->path);
  engine_reopen(e);
}

static inline void engine_open_with(engine *e, const char *option, int64_t value) {
  engine_open_type(e, ENGINE_ENTRY(), option, value);
}

static inline void engine_open(engine *e) { engine_open_with(e, NULL, 0); }

static inline int engine_unlink(const char *path, const struct stat *info, int flag,
                                struct FTW *at) {
  (void)info;
  (void)flag;
  (void)at;
  return remove(path);
}

static inline void engine_remove(engine *e) {
  if (e->folder[0] != 0) nftw(e->folder, engine_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void engine_close(engine *e) {
  e->type->close(e->store);
  engine_remove(e);
}

/* A write of the given steps, that expects nothing. */
static inline mneme_write a_write(engine *e, const mneme_step *steps, size_t count) {
  mneme_write w = {.ns = text("ns"),
                   .session = text("s"),
                   .window_us = 3600000000,
                   .expected_revision = -1,
                   .expected_settings_revision = -1,
                   .steps = steps,
                   .step_count = count};
  w.new_uid.bytes[0] = e->next_uid++;
  w.plan.strategy = MNEME_EVICT_FIFO;
  return w;
}

static inline void engine_keep(outcome *o, const mneme_written *written) {
  o->written = *written;
  for (size_t i = 0; i < written->ref_count && i < 64; i++) {
    o->refs[i] = written->refs[i];
    memcpy(o->ref_ids[i], written->refs[i].id.data, written->refs[i].id.size);
    o->ref_ids[i][written->refs[i].id.size] = 0;
  }
  for (size_t i = 0; i < written->removed_count_listed; i++)
    snprintf(o->removed + strlen(o->removed), sizeof o->removed - strlen(o->removed), "%s%.*s",
             i ? "," : "", (int)written->removed[i].body.size, written->removed[i].body.data);
}

static inline void engine_written(mneme_status status, const mneme_written *written, void *ctx) {
  outcome *o = ctx;
  o->status = status;
  o->removed[0] = 0;
  if (status == MNEME_OK || status == MNEME_CONFLICT || status == MNEME_STALE_PLAN ||
      status == MNEME_EXISTS)
    engine_keep(o, written);
  engine_count(&o->done);
}

static inline mneme_status engine_commit(engine *e, const mneme_write *write, outcome *o) {
  engine_call call = engine_now(e);
  outcome *mine = o != NULL ? o : calloc(1, sizeof *o);
  memset(mine, 0, sizeof *mine);
  e->type->commit(e->store, &call.call, write, engine_written, mine);
  engine_wait(&mine->done);
  mneme_status status = mine->status;
  if (o == NULL) free(mine);
  return status;
}

static inline mneme_record a_record(const char *id) {
  return (mneme_record){.id = text(id), .body = text(id), .token_count = 1};
}

/* One record, FAIL, under this plan (NULL = no limits). */
static inline mneme_status engine_append(engine *e, const mneme_record *record,
                                         const mneme_plan *plan, outcome *o) {
  mneme_on_conflict on_conflict = MNEME_CONFLICT_FAIL;
  mneme_step step = {.op = MNEME_STEP_APPEND,
                     .records = record,
                     .on_conflict = &on_conflict,
                     .record_count = 1};
  mneme_write w = a_write(e, &step, 1);
  if (plan != NULL) w.plan = *plan;
  return engine_commit(e, &w, o);
}

/* --- Reading -------------------------------------------------------------- */

typedef struct listing {
  int done;
  mneme_status status;
  int count, stop_after; /* 0 = never */
  size_t size;
  char text[200000];
  mneme_record last; /* without its strings */
  mneme_header header;
} listing;

static inline int listing_add(listing *l, const char *data, size_t size) {
  if (l->count > 0 && l->size < sizeof l->text) l->text[l->size++] = ',';
  if (l->size + size < sizeof l->text) {
    memcpy(l->text + l->size, data, size);
    l->size += size;
  }
  l->text[l->size] = 0;
  l->count++;
  return l->stop_after != 0 && l->count == l->stop_after;
}

static inline int listing_record(const mneme_record *r, void *ctx) {
  listing *l = ctx;
  assert_int_equal(l->done, 0);
  l->last = *r;
  return listing_add(l, r->id.data, r->id.size);
}

static inline int listing_header(const mneme_header *h, void *ctx) {
  listing *l = ctx;
  char buffer[MNEME_SESSION_MAX + 2];
  assert_int_equal(l->done, 0);
  l->header = *h;
  int n = snprintf(buffer, sizeof buffer, "%s%.*s", h->deleted ? "-" : "", (int)h->session.size,
                   h->session.data);
  return listing_add(l, buffer, (size_t)n);
}

static inline int listing_log(const mneme_log_entry *entry, void *ctx) {
  static const char *const ops[] = {"?", "updated", "deleted", "evicted", "expired"};
  char buffer[128];
  int n = snprintf(buffer, sizeof buffer, "%lld@%lld %s %lld-%lld", (long long)entry->number,
                   (long long)entry->revision, ops[entry->op], (long long)entry->first,
                   (long long)entry->last);
  return listing_add(ctx, buffer, (size_t)n);
}

static inline void listing_done(mneme_status status, void *ctx) {
  listing *l = ctx;
  l->status = status;
  engine_count(&l->done);
}

static inline mneme_read a_read(mneme_select select) {
  return (mneme_read){.ns = text("ns"),
                      .session = text("s"),
                      .select = select,
                      .last = INT64_MAX,
                      .projection = MNEME_READ_BODY};
}

/* The ids that the read emits, joined by ",". */
static inline const char *engine_read(engine *e, const mneme_read *read, listing *l) {
  engine_call call = engine_now(e);
  int stop_after = l->stop_after;
  memset(l, 0, sizeof *l);
  l->stop_after = stop_after;
  e->type->read(e->store, &call.call, read, listing_record, listing_done, l);
  engine_wait(&l->done);
  return l->text;
}

static inline void expect_ids(engine *e, const char *ids) {
  static listing l;
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  assert_string_equal(engine_read(e, &read, &l), ids);
  assert_int_equal(l.status, MNEME_OK);
}

static inline const char *engine_log(engine *e, const mneme_uid *uid, int64_t after, listing *l) {
  engine_call call = engine_now(e);
  memset(l, 0, sizeof *l);
  e->type->log(e->store, &call.call, text("ns"), text("s"), uid, after, listing_log, listing_done,
               l);
  engine_wait(&l->done);
  return l->text;
}

typedef struct got {
  int done;
  mneme_status status;
  mneme_header header;
  char settings[64];
} got;

static inline void got_session(mneme_status status, const mneme_header *header, void *ctx) {
  got *g = ctx;
  g->status = status;
  if (status == MNEME_OK) {
    g->header = *header;
    snprintf(g->settings, sizeof g->settings, "%.*s", (int)header->settings.size,
             header->settings.data);
  }
  engine_count(&g->done);
}

static inline got engine_get(engine *e, const char *session) {
  engine_call call = engine_now(e);
  got g = {0};
  e->type->session_get(e->store, &call.call, text("ns"), text(session), got_session, &g);
  engine_wait(&g.done);
  return g;
}

#endif
