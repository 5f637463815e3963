/* GetStats: of one session from its backend, of a namespace from all of them, of
 * a prefix by the headers of its sessions. */
#include <string.h>

#include "rpc/methods.h"
#include "rpc/spread.h"

#define SESSIONS_PAGE 1000

typedef struct stats {
  op *op;
  spread spread;
  wire_get_stats request;
  mneme_stats sum;
  mneme_session_list ask; /* of a prefix: one page of a backend's sessions */
  int64_t given;
  char last[MNEME_SESSION_MAX]; /* the session it ended at */
  size_t last_size;
} stats;

static void answer(spread *p) {
  stats *s = p->state;
  op_finish(s->op, wire_get_stats_reply(s->op->arena, &s->sum, p->down, p->down_count));
}

static void add(stats *s, const mneme_stats *counts) {
  s->sum.session_count += counts->session_count;
  s->sum.memory_count += counts->memory_count;
  s->sum.token_count += counts->token_count;
  s->sum.byte_count += counts->byte_count;
}

/* --- By the backend's own count ------------------------------------------- */

static void counted(mneme_status status, const mneme_stats *counts, void *ctx) {
  stats *s = ctx;
  if (status == MNEME_OK)
    add(s, counts);
  spread_next(&s->spread, status);
}

static void ask_backend(spread *p) {
  stats *s = p->state;
  registry_backend *b = p->op->route.backend;
  b->type->stats(b->instance, &p->op->call, s->request.ns, s->request.session, counted, s);
}

static void one_counted(mneme_status status, const mneme_stats *counts, void *ctx) {
  stats *s = ctx;
  spread *p = &s->spread;
  if (status == MNEME_DOWN)
    p->down[p->down_count++] = op_backend(s->op);
  if (status == MNEME_OK)
    add(s, counts);
  if (status == MNEME_OK || (status == MNEME_DOWN && p->allow_partial))
    answer(p);
  else
    op_fail_status(s->op, status, false);
}

static void ask_one(op *o) {
  stats *s = o->state;
  registry_backend *b = o->route.backend;
  b->type->stats(b->instance, &o->call, s->request.ns, s->request.session, one_counted, s);
}

/* --- By prefix ------------------------------------------------------------ */

static int add_header(const mneme_header *h, void *ctx) {
  stats *s = ctx;
  add(s, &(mneme_stats){.session_count = 1,
                        .memory_count = h->memory_count,
                        .token_count = h->token_count,
                        .byte_count = h->byte_count});
  s->given++;
  s->last_size = h->session.size;
  memcpy(s->last, h->session.data, h->session.size);
  return 0;
}

static void ask_page(op *o);

/* A backend is asked for a page at a time, so that none of its statements is as
 * long as the namespace. */
static void page_done(mneme_status status, void *ctx) {
  stats *s = ctx;
  if (status == MNEME_OK && s->given == SESSIONS_PAGE) {
    s->op->state = s;
    op_run(s->op, OP_UNBOUND, ask_page);
  } else {
    spread_next(&s->spread, status);
  }
}

static void ask_page(op *o) {
  stats *s = o->state;
  registry_backend *b = o->route.backend;
  s->given = 0;
  s->ask = (mneme_session_list){.ns = s->request.ns,
                                .prefix = s->request.prefix,
                                .order = MNEME_SESSIONS_BY_ID,
                                .after_session = mneme_bytes_of(s->last, s->last_size),
                                .limit = SESSIONS_PAGE};
  b->type->session_list(b->instance, &o->call, &s->ask, add_header, page_done, s);
}

static void ask_prefix(spread *p) {
  stats *s = p->state;
  s->last_size = 0;
  s->op->state = s;
  ask_page(s->op);
}

/* ------------------------------------------------------------------------- */

void rpc_get_stats(op *o, const uint8_t *data, size_t size) {
  stats *s = arena_calloc(o->arena, 1, sizeof *s);
  if (s == NULL || !wire_read_get_stats(data, size, o->arena, &s->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  s->op = o;
  s->spread = (spread){.op = o,
                       .allow_partial = s->request.allow_partial,
                       .ask = s->request.prefix.size > 0 ? ask_prefix : ask_backend,
                       .end = answer,
                       .state = s};
  if (s->request.session.size > 0) {
    op_route(o, s->request.ns, s->request.session);
    o->state = s;
    op_run(o, OP_READ_SHORT, ask_one);
  } else {
    spread_start(&s->spread);
  }
}
