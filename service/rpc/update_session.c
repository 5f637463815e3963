/* UpdateSession: reads the settings, lays the request over them, and commits with
 * the settings' revision as a guard; when somebody else was faster it goes round
 * again, unless the client named the revision it expected. */
#include "rpc/commit.h"
#include "rpc/methods.h"

typedef struct update {
  op *op;
  wire_update_session request;
  commit *commit;
  mneme_uid uid; /* of the incarnation that was read */
  policy policy; /* the override as it will be */
  int rounds;
} update;

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_update_session_reply(c->op->arena, w, c->write.session);
}

static void ask(op *o);

static void not_found(update *u) {
  op *o = u->op;
  error_set(&o->error, o->arena, CODE_NOT_FOUND, "SESSION_NOT_FOUND", NULL,
            "session \"%.*s\" does not exist: create it, or append to it",
            (int)u->request.scope.session.size, u->request.scope.session.data);
  commit_refuse(u->commit);
}

static bool refused(commit *c, mneme_status status, const mneme_written *w) {
  update *u = (update *)c->request;
  if (status != MNEME_CONFLICT && status != MNEME_NOT_FOUND)
    return false;
  if (status == MNEME_NOT_FOUND) {
    not_found(u);
  } else if (u->request.expected_settings_revision >= 0) {
    commit_mismatch(c->op, w->header.settings_revision, "session's settings");
    op_fail(c->op);
  } else if (++u->rounds == COMMIT_ATTEMPTS_MAX) {
    op_fail_status(c->op, MNEME_STALE_PLAN, true);
  } else {
    c->op->state = u;
    op_run(c->op, OP_READ_SHORT, ask);
  }
  return true;
}

static void lay_over(wire_settings *to, const wire_update_session *q) {
  if (q->set_policy) {
    to->has_policy = q->settings.has_policy;
    to->policy = q->settings.policy;
  }
  if (q->set_labels) {
    to->labels = q->settings.labels;
    to->label_count = q->settings.label_count;
  }
  if (q->set_metadata) {
    to->has_metadata = q->settings.has_metadata;
    to->metadata = q->settings.metadata;
  }
}

static bool merge(update *u, const mneme_header *h) {
  op *o = u->op;
  const wire_update_session *q = &u->request;
  wire_settings settings;
  mneme_bytes bytes = h->settings;
  bytes.data = arena_copy(o->arena, bytes.data, bytes.size);
  if (bytes.data == NULL)
    return error_no_memory(&o->error);
  if (!wire_read_settings(bytes, o->arena, &settings)) {
    error_from_status(&o->error, o->arena, MNEME_CORRUPT, false, op_backend(o));
    return false;
  }
  lay_over(&settings, q);
  if (q->has_patch) {
    settings.has_metadata = true;
    if (!wire_merge_patch(settings.metadata, q->patch, "metadata_patch", o->arena,
                          &settings.metadata, &o->error))
      return false;
  }
  u->policy = settings.policy;
  u->commit->new_policy = &u->policy;
  return wire_pack_settings(&settings, o->arena, &u->commit->steps[0].settings, &o->error);
}

static void update_with(mneme_status status, const mneme_header *h, void *ctx) {
  update *u = ctx;
  op *o = u->op;
  int64_t expected = u->request.expected_settings_revision;
  if (status == MNEME_NOT_FOUND) {
    not_found(u);
  } else if (status != MNEME_OK) {
    op_fail_status(o, status, true);
  } else if (expected >= 0 && expected != h->settings_revision) {
    commit_mismatch(o, h->settings_revision, "session's settings");
    commit_refuse(u->commit);
  } else if (!merge(u, h)) {
    commit_refuse(u->commit);
  } else {
    u->uid = h->uid;
    u->commit->write.uid = &u->uid;
    u->commit->write.expected_settings_revision = h->settings_revision;
    commit_start(u->commit);
  }
}

static void ask(op *o) {
  update *u = o->state;
  registry_backend *b = o->route.backend;
  b->type->session_get(b->instance, &o->call, u->request.scope.ns, u->request.scope.session,
                       update_with, u);
}

static fingerprint fingerprint_of(const wire_update_session *q) {
  fingerprint f = fingerprint_begin("UpdateSession");
  fingerprint_settings(&f, &q->settings);
  fingerprint_number(&f, q->set_policy | q->set_labels << 1 | q->set_metadata << 2 |
                             q->has_patch << 3);
  fingerprint_bytes(&f, q->patch);
  fingerprint_number(&f, q->expected_settings_revision);
  return f;
}

void rpc_update_session(op *o, const uint8_t *data, size_t size) {
  update *u = arena_alloc(o->arena, sizeof *u);
  if (u == NULL || !wire_read_update_session(data, size, o->arena, &u->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  u->op = o;
  u->rounds = 0;
  op_route(o, u->request.scope.ns, u->request.scope.session);
  fingerprint f = fingerprint_of(&u->request);
  commit *c = commit_new(o, &u->request.scope, &f);
  if (c == NULL)
    return;
  u->commit = c;
  c->answer = answer;
  c->refused = refused;
  c->request = u;
  c->write.existence = MNEME_MUST_EXIST;
  commit_step(c, MNEME_STEP_SET_SETTINGS);
  o->state = u;
  op_run(o, OP_READ_SHORT, ask);
}
