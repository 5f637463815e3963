/* DeleteSession: the session with all that is in it; its request_ids stay, so
 * that a late retry cannot bring it back. */
#include "rpc/commit.h"
#include "rpc/methods.h"

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_delete_session_reply(c->op->arena, w);
}

void rpc_delete_session(op *o, const uint8_t *data, size_t size) {
  wire_scope q;
  if (!wire_read_delete_session(data, size, o->arena, &q, &o->error)) {
    op_fail(o);
    return;
  }
  op_route(o, q.ns, q.session);
  fingerprint f = fingerprint_begin("DeleteSession");
  fingerprint_number(&f, q.expected_revision);
  commit *c = commit_new(o, &q, &f);
  if (c == NULL)
    return;
  c->answer = answer;
  commit_step(c, MNEME_STEP_DROP);
  commit_start(c);
}
