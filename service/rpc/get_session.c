/* GetSession. */
#include "rpc/methods.h"

static void answer(mneme_status status, const mneme_header *h, void *ctx) {
  op *o = ctx;
  const wire_scope *q = o->state;
  if (status == MNEME_NOT_FOUND) {
    error_set(&o->error, o->arena, CODE_NOT_FOUND, "SESSION_NOT_FOUND", NULL,
              "session \"%.*s\" does not exist", (int)q->session.size, q->session.data);
    op_fail(o);
  } else if (status != MNEME_OK) {
    op_fail_status(o, status, false);
  } else {
    op_finish(o, wire_get_session_reply(o->arena, h, op_backend(o), o->route.rule, &o->error));
  }
}

static void ask(op *o) {
  const wire_scope *q = o->state;
  registry_backend *b = o->route.backend;
  b->type->session_get(b->instance, &o->call, q->ns, q->session, answer, o);
}

void rpc_get_session(op *o, const uint8_t *data, size_t size) {
  wire_scope *q = arena_alloc(o->arena, sizeof *q);
  if (q == NULL || !wire_read_get_session(data, size, o->arena, q, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  op_route(o, q->ns, q->session);
  o->state = q;
  op_run(o, OP_READ_SHORT, ask);
}
