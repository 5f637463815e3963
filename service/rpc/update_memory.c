/* UpdateMemory: reads the memory, lays the request over it, and puts it back
 * guarded by the memory's revision and the session's uid. When somebody else was
 * faster it goes round again, unless the client named the revision it expected.
 *
 *   header (uid) ─▶ memory ─▶ merge ─▶ PUT ─┬─ OK ─▶ answer
 *     ▲                                     └─ CONFLICT ─┐
 *     └──────────────────────────────────────────────────┘ */
#include <string.h>

#include "record/record.h"
#include "rpc/commit.h"
#include "rpc/filtered.h"
#include "rpc/methods.h"

typedef struct update {
  op *op;
  wire_update request;
  commit *commit;
  mneme_uid uid;
  mneme_read read;
  bool found;
  mneme_record old; /* copied into the arena */
  mneme_record put;
  int rounds;
} update;

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_update_reply(c->op->arena, w, c->write.session);
}

static void ask_session(op *o);

static void go_round(update *u) {
  if (++u->rounds == COMMIT_ATTEMPTS_MAX) {
    op_fail_status(u->op, MNEME_STALE_PLAN, true);
    return;
  }
  u->op->state = u;
  op_run(u->op, OP_READ_SHORT, ask_session);
}

static bool refused(commit *c, mneme_status status, const mneme_written *w) {
  (void)w;
  /* Gone or changed since it was read: reading again tells which. */
  if (status != MNEME_CONFLICT && status != MNEME_NOT_FOUND)
    return false;
  go_round((update *)c->request);
  return true;
}

static void seal(commit *c) {
  update *u = (update *)c->request;
  if (u->put.kind.size == 0)
    u->put.kind = policy_default_kind(&c->effective);
  if (u->put.ttl_us > 0)
    u->put.expire_us = c->op->call.now_us + u->put.ttl_us;
  record_seal(&u->put);
}

static void not_found(update *u) {
  op *o = u->op;
  mneme_bytes name = u->request.id.size > 0 ? u->request.id : u->request.key;
  error_set(&o->error, o->arena, CODE_NOT_FOUND, "MEMORY_NOT_FOUND", NULL,
            "session \"%.*s\" has no memory with the %s \"%.*s\"",
            (int)u->request.scope.session.size, u->request.scope.session.data,
            u->request.id.size > 0 ? "id" : "key", (int)name.size, name.data);
  commit_refuse(u->commit);
}

static void put(update *u) {
  op *o = u->op;
  const wire_update *q = &u->request;
  const mneme_record *n = &q->memory.record;
  if (q->scope.expected_revision >= 0 && q->scope.expected_revision != u->old.revision) {
    commit_mismatch(o, u->old.revision, "memory");
    commit_refuse(u->commit);
    return;
  }
  if (n->ttl_us == 0 && n->expire_us != 0 && n->expire_us <= o->call.now_us) {
    error_invalid(&o->error, o->arena, "INVALID_VALUE", "memory.expire_time",
                  "memory.expire_time: is in the past");
    commit_refuse(u->commit);
    return;
  }
  if (!wire_merge_memory(&u->old, q, o->call.now_us, o->arena, &u->put, &o->error) ||
      !filtered_store(o, &u->put)) {
    commit_refuse(u->commit);
    return;
  }
  mneme_step *step = &u->commit->steps[0];
  step->records = &u->put;
  step->record_count = 1;
  step->expected_revision = u->old.revision;
  u->commit->write.uid = &u->uid;
  commit_start(u->commit);
}

/* --- Reading ------------------------------------------------------------- */

static bool keep(arena *a, mneme_bytes *b) {
  const char *copy = arena_copy(a, b->data, b->size);
  b->data = copy;
  return copy != NULL;
}

static int take_memory(const mneme_record *r, void *ctx) {
  update *u = ctx;
  arena *a = u->op->arena;
  u->old = *r;
  mneme_bytes *strings[] = {&u->old.id,     &u->old.key,    &u->old.kind, &u->old.role,
                            &u->old.author, &u->old.source, &u->old.body};
  u->found = true;
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    if (!keep(a, strings[i]))
      error_no_memory(&u->op->error);
  return 1;
}

static void memory_read(mneme_status status, void *ctx) {
  update *u = ctx;
  op *o = u->op;
  if (status == MNEME_CONFLICT)
    go_round(u); /* another incarnation by now */
  else if (status != MNEME_OK)
    op_fail_status(o, status, true);
  else if (o->error.code != CODE_OK)
    op_fail(o);
  else if (!u->found)
    not_found(u);
  else
    put(u);
}

static void session_read(mneme_status status, const mneme_header *h, void *ctx) {
  update *u = ctx;
  op *o = u->op;
  if (status == MNEME_NOT_FOUND) {
    not_found(u);
    return;
  }
  if (status != MNEME_OK) {
    op_fail_status(o, status, true);
    return;
  }
  const wire_update *q = &u->request;
  bool by_id = q->id.size > 0;
  u->uid = h->uid;
  u->found = false;
  u->read = (mneme_read){.ns = q->scope.ns,
                         .session = q->scope.session,
                         .uid = &u->uid,
                         .select = by_id ? MNEME_SELECT_IDS : MNEME_SELECT_NAMED_KEYS,
                         .names = by_id ? &q->id : &q->key,
                         .name_count = 1,
                         .limit = 1,
                         .projection = MNEME_READ_BODY};
  registry_backend *b = o->route.backend;
  b->type->read(b->instance, &o->call, &u->read, take_memory, memory_read, u);
}

static void ask_session(op *o) {
  update *u = o->state;
  registry_backend *b = o->route.backend;
  b->type->session_get(b->instance, &o->call, u->request.scope.ns, u->request.scope.session,
                       session_read, u);
}

static fingerprint fingerprint_of(const wire_update *q) {
  fingerprint f = fingerprint_begin("UpdateMemory");
  if (q->scope.request_id.size == 0)
    return f;
  fingerprint_bytes(&f, q->id);
  fingerprint_bytes(&f, q->key);
  fingerprint_memories(&f, &q->memory, 1);
  fingerprint_number(&f, q->fields);
  fingerprint_number(&f, q->has_patch);
  fingerprint_bytes(&f, q->patch);
  fingerprint_number(&f, q->scope.expected_revision);
  return f;
}

void rpc_update_memory(op *o, const uint8_t *data, size_t size) {
  update *u = arena_alloc(o->arena, sizeof *u);
  if (u == NULL || !wire_read_update(data, size, o->arena, &u->request, &o->error)) {
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
  c->prepare = seal;
  c->request = u;
  /* The revision that the client expects is the memory's, not the session's. */
  c->write.expected_revision = -1;
  commit_step(c, MNEME_STEP_PUT);
  o->state = u;
  op_run(o, OP_READ_SHORT, ask_session);
}
