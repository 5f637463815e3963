/* A small language for unit tests of an engine: one store, one namespace, and
 * writes in a line each. Compiled against one engine: ENGINE_ENTRY names its
 * entry. Every call checks that done came exactly once. */
#ifndef TESTS_UNIT_ENGINE_H
#define TESTS_UNIT_ENGINE_H

#include "cmocka_test.h"
#include "mneme/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const mneme_backend_type *ENGINE_ENTRY(void);

typedef struct engine {
  const mneme_backend_type *type;
  mneme_backend *store;
  int64_t now_us;
  uint8_t next_uid;
  bool expired; /* what mneme_call_expired says */
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

/* Opens a store with its default options, but for this one (NULL = none). */
static inline void engine_open_with(engine *e, const char *option, int64_t value) {
  char error[256] = "";
  mneme_option_value values[8] = {{0}};
  *e = (engine){.type = ENGINE_ENTRY(), .now_us = 1000000, .next_uid = 1};
  for (int i = 0; e->type->options[i].name != NULL; i++) {
    values[i].integer = strtoll(e->type->options[i].default_value, NULL, 10);
    if (option != NULL && strcmp(e->type->options[i].name, option) == 0) values[i].integer = value;
  }
  assert_int_equal(e->type->open(NULL, values, &e->store, error, sizeof error), MNEME_OK);
}

static inline void engine_open(engine *e) { engine_open_with(e, NULL, 0); }

static inline void engine_close(engine *e) { e->type->close(e->store); }

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

static inline void engine_written(mneme_status status, const mneme_written *written, void *ctx) {
  outcome *o = ctx;
  o->done++;
  o->status = status;
  o->removed[0] = 0;
  if (status != MNEME_OK && status != MNEME_CONFLICT && status != MNEME_STALE_PLAN &&
      status != MNEME_EXISTS)
    return;
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

static inline mneme_status engine_commit(engine *e, const mneme_write *write, outcome *o) {
  engine_call call = engine_now(e);
  outcome *mine = o != NULL ? o : calloc(1, sizeof *o);
  memset(mine, 0, sizeof *mine);
  e->type->commit(e->store, &call.call, write, engine_written, mine);
  assert_int_equal(mine->done, 1);
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
  l->done++;
  l->status = status;
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
  assert_int_equal(l->done, 1);
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
  assert_int_equal(l->done, 1);
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
  g->done++;
  g->status = status;
  if (status != MNEME_OK) return;
  g->header = *header;
  snprintf(g->settings, sizeof g->settings, "%.*s", (int)header->settings.size,
           header->settings.data);
}

static inline got engine_get(engine *e, const char *session) {
  engine_call call = engine_now(e);
  got g = {0};
  e->type->session_get(e->store, &call.call, text("ns"), text(session), got_session, &g);
  assert_int_equal(g.done, 1);
  return g;
}

#endif
