/* ClearSession: removes every memory; the session goes on. */
#include "rpc/commit.h"
#include "rpc/methods.h"

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_clear_session_reply(c->op->arena, w, c->write.session);
}

void rpc_clear_session(op *o, const uint8_t *data, size_t size) {
  wire_scope q;
  if (!wire_read_clear_session(data, size, o->arena, &q, &o->error)) {
    op_fail(o);
    return;
  }
  op_route(o, q.ns, q.session);
  fingerprint f = fingerprint_begin("ClearSession");
  fingerprint_number(&f, q.expected_revision);
  commit *c = commit_new(o, &q, &f);
  if (c == NULL)
    return;
  c->answer = answer;
  commit_step(c, MNEME_STEP_REMOVE_FROM)->from_sequence = 1;
  commit_start(c);
}
