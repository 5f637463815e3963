/* PopMemories: removes the newest memories and returns them. With a request_id
 * the backend remembers their bodies too: they are nowhere else. */
#include "base/log.h"
#include "record/record.h"
#include "rpc/commit.h"
#include "rpc/methods.h"

/* What a memory takes in a reply beyond the bytes that a backend counts
 * and the name of its session. */
#define REPLY_OVERHEAD 256

static const wire_message *answer(commit *c, const mneme_written *w) {
  arena *a = c->op->arena;
  mneme_written truncated = *w;
  wire_memories memories;
  if (!wire_memories_init(&memories, a, w->removed_count_listed) ||
      !wire_memories_of(&memories, a, c->write.session))
    return NULL;
  for (size_t i = 0; i < w->removed_count_listed; i++) {
    mneme_record r = w->removed[i];
    /* They are gone from the store: one that is damaged must not take the others
     * with it. truncated tells that fewer came than were asked for. */
    if (record_open(&w->removed[i], &r.body) != MNEME_OK) {
      log_event(LOG_ERROR, "a memory that was popped does not match its checksum",
                log_text("backend", op_backend(c->op)), log_string("id", r.id.data, r.id.size),
                log_end());
      truncated.truncated = true;
      continue;
    }
    if (wire_memories_add(&memories, a, &r, 0) != WIRE_ADDED)
      return NULL;
  }
  return wire_pop_reply(a, &truncated, &memories, c->write.session);
}

static bool refused(commit *c, mneme_status status, const mneme_written *w) {
  (void)w;
  if (status != MNEME_NOT_FOUND)
    return false;
  error_set(&c->op->error, c->op->arena, CODE_NOT_FOUND, "SESSION_NOT_FOUND", NULL,
            "session \"%.*s\" does not exist", (int)c->write.session.size,
            c->write.session.data);
  op_fail(c->op);
  return true;
}

void rpc_pop_memories(op *o, const uint8_t *data, size_t size) {
  wire_pop q;
  if (!wire_read_pop(data, size, o->arena, &q, &o->error)) {
    op_fail(o);
    return;
  }
  op_route(o, q.scope.ns, q.scope.session);
  fingerprint f = fingerprint_begin("PopMemories");
  fingerprint_number(&f, q.count);
  fingerprint_number(&f, q.scope.expected_revision);
  commit *c = commit_new(o, &q.scope, &f);
  if (c == NULL)
    return;
  c->answer = answer;
  c->refused = refused;
  c->write.existence = MNEME_MUST_EXIST;
  c->write.want_removed = true;
  mneme_step *step = commit_step(c, MNEME_STEP_REMOVE_NEWEST);
  step->count = q.count;
  step->byte_limit = WIRE_REPLY_MAX - (q.count + 16) * (int64_t)(REPLY_OVERHEAD + q.scope.session.size);
  commit_start(c);
}
