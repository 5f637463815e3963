/* GetStats: of one session from its backend, of a namespace from all of them. */
#include "rpc/methods.h"

typedef struct stats {
  op *op;
  wire_get_stats request;
  mneme_stats sum;
  size_t backend; /* the one being asked */
  const char *unavailable[REGISTRY_BACKENDS_MAX];
  size_t unavailable_count;
} stats;

static void ask_next(stats *s);

static void answer(stats *s) {
  op_finish(s->op, wire_get_stats_reply(s->op->arena, &s->sum, s->unavailable,
                                        s->unavailable_count));
}

static void counted(mneme_status status, const mneme_stats *counts, void *ctx) {
  stats *s = ctx;
  op *o = s->op;
  if (status == MNEME_DOWN && s->request.allow_partial) {
    s->unavailable[s->unavailable_count++] = op_backend(o);
  } else if (status != MNEME_OK) {
    op_fail_status(o, status, false);
    return;
  } else {
    s->sum.session_count += counts->session_count;
    s->sum.memory_count += counts->memory_count;
    s->sum.token_count += counts->token_count;
    s->sum.byte_count += counts->byte_count;
  }
  s->backend++;
  if (s->request.session.size > 0)
    answer(s);
  else
    ask_next(s);
}

static void ask_backend(op *o) {
  stats *s = o->state;
  registry_backend *b = o->route.backend;
  b->type->stats(b->instance, &o->call, s->request.ns, s->request.session, counted, s);
}

static void ask_next(stats *s) {
  op *o = s->op;
  if (s->backend == registry_count(o->service->registry)) {
    answer(s);
    return;
  }
  o->route.backend = registry_at(o->service->registry, s->backend);
  op_run(o, OP_UNBOUND, ask_backend);
}

void rpc_get_stats(op *o, const uint8_t *data, size_t size) {
  stats *s = arena_calloc(o->arena, 1, sizeof *s);
  if (s == NULL || !wire_read_get_stats(data, size, o->arena, &s->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  s->op = o;
  o->state = s;
  if (s->request.session.size > 0) {
    op_route(o, s->request.ns, s->request.session);
    op_run(o, OP_READ_SHORT, ask_backend);
  } else {
    ask_next(s);
  }
}
