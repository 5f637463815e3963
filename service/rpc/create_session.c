/* CreateSession: a commit whose only step sets the settings. */
#include <string.h>

#include "base/uuid.h"
#include "rpc/commit.h"
#include "rpc/methods.h"

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_create_session_reply(c->op->arena, w, c->write.session);
}

static bool refused(commit *c, mneme_status status, const mneme_written *w) {
  (void)w;
  if (status != MNEME_EXISTS)
    return false;
  error_set(&c->op->error, c->op->arena, CODE_ALREADY_EXISTS, "SESSION_EXISTS", NULL,
            "session \"%.*s\" exists: use it, or choose another id", (int)c->write.session.size,
            c->write.session.data);
  op_fail(c->op);
  return true;
}

/* An id for a session without one. A repeat with the same request_id must find
 * the session that the first call made, so then the id comes from the request_id:
 * a UUID of version 8 (RFC 9562, 5.8: whatever the application likes). */
static bool give_id(op *o, wire_create_session *q) {
  uint8_t uuid[16];
  char *text = arena_alloc(o->arena, UUID_TEXT_SIZE);
  if (text == NULL)
    return error_no_memory(&o->error);
  if (q->scope.request_id.size == 0) {
    uuid_v7(uuid, o->call.now_us);
  } else {
    fingerprint f = fingerprint_begin("CreateSession.id");
    fingerprint_bytes(&f, q->scope.ns);
    fingerprint_bytes(&f, q->scope.request_id);
    fingerprint_end(&f, uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0F) | 0x80);
    uuid[8] = (uint8_t)((uuid[8] & 0x3F) | 0x80);
  }
  uuid_format(uuid, text);
  q->scope.session = mneme_bytes_of(text, UUID_TEXT_SIZE - 1);
  return true;
}

void rpc_create_session(op *o, const uint8_t *data, size_t size) {
  wire_create_session *q = arena_alloc(o->arena, sizeof *q);
  mneme_bytes settings;
  if (q == NULL || !wire_read_create_session(data, size, o->arena, q, &o->error) ||
      (!q->session_given && !give_id(o, q)) ||
      !wire_pack_settings(&q->settings, o->arena, &settings, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  op_route(o, q->scope.ns, q->scope.session);
  fingerprint f = fingerprint_begin("CreateSession");
  fingerprint_settings(&f, &q->settings);
  commit *c = commit_new(o, &q->scope, &f);
  if (c == NULL)
    return;
  c->answer = answer;
  c->refused = refused;
  c->new_policy = &q->settings.policy;
  c->write.existence = MNEME_MUST_NOT_EXIST;
  commit_step(c, MNEME_STEP_SET_SETTINGS)->settings = settings;
  commit_start(c);
}
