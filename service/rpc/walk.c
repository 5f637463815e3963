#include "rpc/walk.h"

#include <string.h>

_Static_assert(REGISTRY_BACKENDS_MAX <= 64, "a bit for each backend");

/* --- Listing -------------------------------------------------------------- */

static int take(const mneme_header *h, void *ctx) {
  walk *w = ctx;
  w->given++;
  w->listed_size = h->session.size;
  memcpy(w->listed, h->session.data, h->session.size);
  if (w->only.size > 0 && h->session.size != w->only.size)
    return 0; /* of ids that begin with a session's, its own comes first */
  if (h->create_us > w->now_us || (w->wants != NULL && !w->wants(w, h)))
    return w->op->error.code != CODE_OK; /* wants may fail */
  char *name = w->names + w->count * MNEME_SESSION_MAX;
  memcpy(name, h->session.data, h->session.size);
  w->batch[w->count++] = (walk_session){.name = mneme_bytes_of(name, h->session.size),
                                        .uid = h->uid,
                                        .revision = h->revision,
                                        .settings_revision = h->settings_revision,
                                        .last_sequence = h->last_sequence,
                                        .memory_count = h->memory_count,
                                        .keep_system = h->keep_system};
  return 0;
}

static void pass(walk *w, const char *name, size_t size) {
  memmove(w->last, name, size);
  w->after = mneme_bytes_of(w->last, size);
}

static void go(walk *w, int outcome) {
  w->outcome = outcome;
  if (outcome == WALK_GOES_ON)
    loop_next(&w->loop);
  else
    loop_end(&w->loop);
}

static void listed(mneme_status status, void *ctx) {
  walk *w = ctx;
  if (w->op->error.code != CODE_OK) {
    go(w, WALK_REFUSED);
  } else if (status != MNEME_OK) {
    walk_fail(w, status);
  } else {
    w->sessions_max -= w->given;
    w->exhausted = w->given < w->ask.limit || w->only.size > 0;
    go(w, WALK_GOES_ON);
  }
}

static void list(walk *w) {
  registry_backend *b = w->op->route.backend;
  w->count = w->next = 0;
  w->given = 0;
  w->ask = (mneme_session_list){
      .ns = w->ns,
      .prefix = w->only.size > 0 ? w->only : w->prefix,
      .order = MNEME_SESSIONS_BY_ID,
      .after_session = w->after,
      .limit = w->only.size > 0                 ? 1
               : w->sessions_max < WALK_BATCH ? w->sessions_max
                                                : WALK_BATCH};
  b->type->session_list(b->instance, &w->op->call, &w->ask, take, listed, w);
}

/* --- Stepping ------------------------------------------------------------- */

static void step(void *ctx) {
  walk *w = ctx;
  if (w->next == w->count && w->exhausted) { /* also when it is enough: this may be the end */
    go(w, WALK_BACKEND_DONE);
  } else if (w->enough) {
    go(w, WALK_STOPPED);
  } else if (w->next < w->count) {
    w->visit(w, &w->batch[w->next]);
  } else {
    if (w->given > 0) /* what was not wanted is not looked at again */
      pass(w, w->listed, w->listed_size);
    w->given = 0;
    if (w->sessions_max == 0)
      go(w, WALK_STOPPED);
    else
      list(w);
  }
}

static void fail(walk *w, mneme_status status) {
  op *o = w->op;
  if (status == MNEME_UNCERTAIN) {
    error_set(&o->error, o->arena, CODE_UNAVAILABLE, "OUTCOME_UNKNOWN", NULL,
              "backend %s did not say whether the last removal happened: repeat the request, "
              "which is harmless",
              op_backend(o));
    o->error.retry_us = ERROR_RETRY_BUSY_US;
  }
  op_fail_status(o, status, true);
}

/* The step that is over was the last of this backend, or of this call. */
static void ended(void *ctx) {
  walk *w = ctx;
  if (w->loop.stopped != MNEME_OK) {
    w->outcome = w->loop.stopped == MNEME_BUSY && w->progress ? WALK_STOPPED : WALK_FAILED;
    w->failed = w->loop.stopped;
  }
  switch (w->outcome) {
  case WALK_BACKEND_DONE:
    spread_next(&w->spread, w->failed);
    break;
  case WALK_STOPPED:
    w->more = true;
    w->backend = (uint8_t)w->spread.at;
    w->end(w);
    break;
  case WALK_REFUSED:
    op_fail(w->op);
    break;
  default:
    fail(w, w->failed);
    break;
  }
}

/* --- Backend after backend ------------------------------------------------ */

static void ask(spread *s) {
  walk *w = s->state;
  if (s->at != w->backend) { /* not the one that is resumed */
    w->backend = (uint8_t)s->at;
    w->after = mneme_bytes_of(NULL, 0);
  }
  w->failed = MNEME_OK;
  w->exhausted = false;
  w->count = w->next = 0;
  w->given = 0;
  w->loop = (loop){.op = w->op, .step = step, .end = ended, .ctx = w};
  loop_start(&w->loop);
}

static void all_done(spread *s) {
  walk *w = s->state;
  w->more = false;
  w->end(w);
}

void walk_fingerprint(const op *o, fingerprint *f) {
  for (size_t i = 0; i < registry_count(o->service->registry); i++) {
    const char *name = registry_at(o->service->registry, i)->name;
    fingerprint_bytes(f, mneme_bytes_of(name, strlen(name)));
  }
}

void walk_note_down(walk *w, const registry_backend *b) {
  uint64_t bit = UINT64_C(1) << b->index;
  if ((w->down & bit) == 0)
    w->spread.down[w->spread.down_count++] = b->name;
  w->down |= bit;
}

void walk_start(walk *w) {
  op *o = w->op;
  w->batch = arena_alloc(o->arena, WALK_BATCH * sizeof *w->batch);
  w->names = arena_alloc(o->arena, WALK_BATCH * MNEME_SESSION_MAX);
  w->last = arena_alloc(o->arena, MNEME_SESSION_MAX);
  w->listed = arena_alloc(o->arena, MNEME_SESSION_MAX);
  if (w->batch == NULL || w->names == NULL || w->last == NULL || w->listed == NULL) {
    op_fail_no_memory(o);
    return;
  }
  size_t home = registry_route(o->service->registry, w->ns, w->only).backend->index;
  if (w->only.size > 0)
    w->backend = (uint8_t)home;
  w->spread = (spread){.op = o,
                       .allow_partial = w->allow_partial,
                       .probe_first = w->changes,
                       .at = w->backend,
                       .until = w->only.size > 0 ? home + 1 : 0,
                       .ask = ask,
                       .end = all_done,
                       .state = w};
  for (size_t i = 0; i < registry_count(o->service->registry); i++)
    if ((w->down & UINT64_C(1) << i) != 0)
      w->spread.down[w->spread.down_count++] = registry_at(o->service->registry, i)->name;
  spread_start(&w->spread);
}

void walk_next(walk *w) {
  const walk_session *s = &w->batch[w->next++];
  pass(w, s->name.data, s->name.size);
  go(w, WALK_GOES_ON);
}

void walk_again(walk *w) {
  go(w, WALK_GOES_ON);
}

void walk_stop(walk *w) {
  go(w, WALK_STOPPED);
}

void walk_refuse(walk *w) {
  go(w, WALK_REFUSED);
}

void walk_fail(walk *w, mneme_status status) {
  w->failed = status;
  if (status == MNEME_DOWN && w->allow_partial)
    w->down |= UINT64_C(1) << w->spread.at;
  else if (w->progress && (status == MNEME_DOWN || status == MNEME_BUSY)) {
    go(w, WALK_STOPPED);
    return;
  }
  go(w, status == MNEME_DOWN ? WALK_BACKEND_DONE : WALK_FAILED);
}
