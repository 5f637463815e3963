#include "rpc/spread.h"

static void probed(mneme_status status, void *ctx) {
  /* What else a ping may say is for the operation itself to find out. */
  spread_next(ctx, status == MNEME_DOWN ? MNEME_DOWN : MNEME_OK);
}

static void ask(op *o) {
  spread *s = o->state;
  registry_backend *b = o->route.backend;
  bool in_vain = s->down_count > 0 && !s->allow_partial;
  if (s->probing || in_vain)
    b->type->ping(b->instance, &o->call, probed, s);
  else
    s->ask(s);
}

void spread_fail_down(spread *s) {
  error_backends_down(&s->op->error, s->op->arena, s->down, s->down_count);
  op_fail(s->op);
}

static void advance(spread *s) {
  op *o = s->op;
  if (s->at < s->until) {
    o->route.backend = registry_at(o->service->registry, s->at);
    o->state = s;
    op_run(o, OP_UNBOUND, ask);
  } else if (s->down_count > 0 && !s->allow_partial) {
    spread_fail_down(s);
  } else if (s->probing) {
    s->probing = false;
    s->at = s->first;
    advance(s);
  } else {
    s->end(s);
  }
}

void spread_start(spread *s) {
  s->first = s->at;
  if (s->until == 0)
    s->until = registry_count(s->op->service->registry);
  s->probing = s->probe_first && !s->allow_partial;
  advance(s);
}

void spread_next(spread *s, mneme_status status) {
  if (status == MNEME_DOWN) {
    s->down[s->down_count++] = op_backend(s->op);
  } else if (status != MNEME_OK) {
    op_fail_status(s->op, status, false);
    return;
  }
  s->at++;
  advance(s);
}
