/* AppendMemories: delete_keys, append and the patch of the session's metadata are
 * steps of one commit.
 *
 * The patch needs the settings that are there: they are read first, and the
 * commit is guarded by their revision; when somebody else was faster it goes
 * round again. */
#include "rpc/commit.h"
#include "rpc/methods.h"

typedef struct append {
  commit *commit;
  const wire_append *request;
  mneme_uid uid; /* of the incarnation whose settings were read */
  int rounds;
} append;

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_append_reply(c->op->arena, w, c->write.session);
}

static fingerprint fingerprint_of(const wire_append *q) {
  fingerprint f = fingerprint_begin("AppendMemories");
  if (q->scope.request_id.size == 0)
    return f;
  fingerprint_memories(&f, q->memories, q->memory_count);
  fingerprint_names(&f, q->delete_keys, q->delete_key_count);
  fingerprint_number(&f, q->on_conflict);
  fingerprint_number(&f, q->scope.expected_revision);
  fingerprint_number(&f, q->session_must_exist);
  fingerprint_number(&f, q->has_patch);
  fingerprint_bytes(&f, q->patch);
  return f;
}

/* --- With a patch of the session's metadata ------------------------------ */

static void patch_round(op *o);

/* Whether the client's own guard failed, and not ours on the settings. */
static bool clients_guard_failed(const append *p, const mneme_written *w) {
  int64_t expected = p->request->scope.expected_revision;
  return expected >= 0 && expected != w->header.revision;
}

static bool patch_refused(commit *c, mneme_status status, const mneme_written *w) {
  append *p = (append *)c->request;
  if (status != MNEME_CONFLICT)
    return false;
  if (clients_guard_failed(p, w)) {
    commit_mismatch(c->op, w->header.revision, "session");
    op_fail(c->op);
  } else if (++p->rounds == COMMIT_ATTEMPTS_MAX) {
    op_fail_status(c->op, MNEME_STALE_PLAN, true);
  } else {
    c->op->state = p;
    op_run(c->op, OP_READ_SHORT, patch_round);
  }
  return true;
}

static void patch_with(mneme_status status, const mneme_header *h, void *ctx) {
  append *p = ctx;
  commit *c = p->commit;
  op *o = c->op;
  wire_settings settings = {0};
  mneme_bytes bytes = {NULL, 0};
  if (status != MNEME_OK && status != MNEME_NOT_FOUND) {
    op_fail_status(o, status, true);
    return;
  }
  if (status == MNEME_OK && h->settings.size > 0) {
    bytes.data = arena_copy(o->arena, h->settings.data, h->settings.size);
    bytes.size = h->settings.size;
    if (bytes.data == NULL) {
      op_fail_no_memory(o);
      return;
    }
    if (!wire_read_settings(bytes, o->arena, &settings)) {
      op_fail_status(o, MNEME_CORRUPT, true);
      return;
    }
  }
  mneme_step *step = &c->steps[c->write.step_count - 1];
  settings.has_metadata = true;
  if (!wire_merge_patch(settings.metadata, p->request->patch, "session_metadata_patch", o->arena,
                        &settings.metadata, &o->error) ||
      !wire_pack_settings(&settings, o->arena, &step->settings, &o->error)) {
    commit_refuse(c);
    return;
  }
  /* Absent: it must be absent still (0). */
  c->write.uid = NULL;
  c->write.expected_settings_revision = 0;
  if (status == MNEME_OK) {
    p->uid = h->uid;
    c->write.uid = &p->uid;
    c->write.expected_settings_revision = h->settings_revision;
  }
  commit_start(c);
}

static void patch_round(op *o) {
  append *p = o->state;
  registry_backend *b = o->route.backend;
  b->type->session_get(b->instance, &o->call, p->commit->write.ns, p->commit->write.session,
                       patch_with, p);
}

static void run_with_patch(commit *c, const wire_append *q) {
  op *o = c->op;
  append *p = arena_alloc(o->arena, sizeof *p);
  if (p == NULL) {
    op_fail_no_memory(o);
    return;
  }
  *p = (append){.commit = c, .request = q};
  commit_step(c, MNEME_STEP_SET_SETTINGS);
  c->request = p;
  c->refused = patch_refused;
  o->state = p;
  op_run(o, OP_READ_SHORT, patch_round);
}

/* ------------------------------------------------------------------------- */

static void add_steps(commit *c, const wire_append *q) {
  if (q->delete_key_count > 0) {
    mneme_step *step = commit_step(c, MNEME_STEP_REMOVE_KEYS);
    step->names = q->delete_keys;
    step->name_count = q->delete_key_count;
  }
}

void append_run(op *o, const wire_append *q) {
  fingerprint f = fingerprint_of(q);
  commit *c = commit_new(o, &q->scope, &f);
  if (c == NULL)
    return;
  c->answer = answer;
  c->write.existence = q->session_must_exist ? MNEME_MUST_EXIST : MNEME_ANY;
  add_steps(c, q);
  if (q->memory_count > 0 && !commit_append(c, q->memories, q->memory_count, q->on_conflict)) {
    op_fail(o);
    return;
  }
  if (commit_has_lapsed(c, q->memories, q->memory_count))
    commit_refuse(c);
  else if (q->has_patch)
    run_with_patch(c, q);
  else
    commit_start(c);
}

void rpc_append_memories(op *o, const uint8_t *data, size_t size) {
  wire_append *q = arena_alloc(o->arena, sizeof *q);
  if (q == NULL) {
    op_fail_no_memory(o);
    return;
  }
  if (!wire_read_append(data, size, o->arena, q, &o->error)) {
    op_fail(o);
    return;
  }
  op_route(o, q->scope.ns, q->scope.session);
  append_run(o, q);
}
