/* ReplaceMemories: remove from a sequence on and append, in one commit. */
#include "rpc/commit.h"
#include "rpc/methods.h"

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_replace_reply(c->op->arena, w, c->write.session);
}

static fingerprint fingerprint_of(const wire_replace *q) {
  fingerprint f = fingerprint_begin("ReplaceMemories");
  if (q->scope.request_id.size == 0)
    return f;
  fingerprint_memories(&f, q->memories, q->memory_count);
  fingerprint_number(&f, q->from_sequence);
  fingerprint_number(&f, q->scope.expected_revision);
  return f;
}

void rpc_replace_memories(op *o, const uint8_t *data, size_t size) {
  wire_replace *q = arena_alloc(o->arena, sizeof *q);
  if (q == NULL || !wire_read_replace(data, size, o->arena, q, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  op_route(o, q->scope.ns, q->scope.session);
  fingerprint f = fingerprint_of(q);
  commit *c = commit_new(o, &q->scope, &f);
  if (c == NULL)
    return;
  c->answer = answer;
  commit_step(c, MNEME_STEP_REMOVE_FROM)->from_sequence = q->from_sequence > 0
                                                               ? q->from_sequence
                                                               : 1;
  /* The append stands there even when it adds nothing: the session is created. */
  if (!commit_append(c, q->memories, q->memory_count, MNEME_CONFLICT_FAIL))
    op_fail(o);
  else if (commit_has_lapsed(c, q->memories, q->memory_count))
    commit_refuse(c);
  else
    commit_start(c);
}
