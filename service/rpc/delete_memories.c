/* DeleteMemories by ids and keys; a dry run only reads. */
#include "base/set.h"
#include "rpc/commit.h"
#include "rpc/methods.h"

#define DRY_RUN_IDS_MAX 100

/* --- Dry run ------------------------------------------------------------- */

typedef struct dry_run {
  op *op;
  const wire_delete *request;
  mneme_read read;
  set seen;
  mneme_bytes ids[DRY_RUN_IDS_MAX];
  mneme_written found; /* as the commit would have answered */
  bool keys_read;
} dry_run;

static int count_memory(const mneme_record *r, void *ctx) {
  dry_run *d = ctx;
  char *id = arena_copy(d->op->arena, r->id.data, r->id.size);
  if (id == NULL) {
    error_no_memory(&d->op->error);
    return 1;
  }
  if (set_add(&d->seen, id, r->id.size, 1) >= 0)
    return 0; /* named by its id and by its key */
  if (d->found.removed_count < DRY_RUN_IDS_MAX)
    d->ids[d->found.removed_count] = mneme_bytes_of(id, r->id.size);
  d->found.removed_count++;
  return 0;
}

static void dry_session(mneme_status status, const mneme_header *h, void *ctx) {
  dry_run *d = ctx;
  op *o = d->op;
  int64_t expected = d->request->scope.expected_revision;
  if (status != MNEME_OK && status != MNEME_NOT_FOUND) {
    op_fail_status(o, status, false);
    return;
  }
  if (status == MNEME_OK)
    d->found.header = *h;
  if (expected >= 0 && expected != d->found.header.revision) {
    commit_mismatch(o, d->found.header.revision, "session");
    op_fail(o);
    return;
  }
  size_t ids = d->found.removed_count < DRY_RUN_IDS_MAX ? (size_t)d->found.removed_count
                                                        : DRY_RUN_IDS_MAX;
  op_finish(o, wire_delete_reply(o->arena, &d->found, d->request->scope.session, d->ids, ids));
}

static void dry_read(mneme_status status, void *ctx) {
  dry_run *d = ctx;
  op *o = d->op;
  const wire_delete *q = d->request;
  registry_backend *b = o->route.backend;
  if (status != MNEME_OK) {
    op_fail_status(o, status, false);
  } else if (o->error.code != CODE_OK) {
    op_fail(o);
  } else if (!d->keys_read) {
    d->keys_read = true;
    d->read.select = MNEME_SELECT_NAMED_KEYS;
    d->read.names = q->keys;
    d->read.name_count = q->key_count;
    b->type->read(b->instance, &o->call, &d->read, count_memory, dry_read, d);
  } else {
    b->type->session_get(b->instance, &o->call, q->scope.ns, q->scope.session, dry_session, d);
  }
}

static void dry_ask(op *o) {
  dry_run *d = o->state;
  registry_backend *b = o->route.backend;
  b->type->read(b->instance, &o->call, &d->read, count_memory, dry_read, d);
}

static void run_dry(op *o, const wire_delete *q) {
  dry_run *d = arena_calloc(o->arena, 1, sizeof *d);
  if (d == NULL || !set_init(&d->seen, o->arena, q->id_count + q->key_count)) {
    op_fail_no_memory(o);
    return;
  }
  d->op = o;
  d->request = q;
  d->read = (mneme_read){.ns = q->scope.ns,
                         .session = q->scope.session,
                         .select = MNEME_SELECT_IDS,
                         .names = q->ids,
                         .name_count = q->id_count};
  o->state = d;
  op_run(o, OP_READ_SHORT, dry_ask);
}

/* ------------------------------------------------------------------------- */

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_delete_reply(c->op->arena, w, c->write.session, NULL, 0);
}

static void add_names(commit *c, mneme_step_op kind, const mneme_bytes *names, size_t count) {
  if (count == 0)
    return;
  mneme_step *step = commit_step(c, kind);
  step->names = names;
  step->name_count = count;
}

void rpc_delete_memories(op *o, const uint8_t *data, size_t size) {
  wire_delete *q = arena_alloc(o->arena, sizeof *q);
  if (q == NULL || !wire_read_delete(data, size, o->arena, q, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  op_route(o, q->scope.ns, q->scope.session);
  if (q->dry_run) {
    run_dry(o, q);
    return;
  }
  fingerprint f = fingerprint_begin("DeleteMemories");
  fingerprint_names(&f, q->ids, q->id_count);
  fingerprint_names(&f, q->keys, q->key_count);
  fingerprint_number(&f, q->scope.expected_revision);
  commit *c = commit_new(o, &q->scope, &f);
  if (c == NULL)
    return;
  c->answer = answer;
  add_names(c, MNEME_STEP_REMOVE_IDS, q->ids, q->id_count);
  add_names(c, MNEME_STEP_REMOVE_KEYS, q->keys, q->key_count);
  commit_start(c);
}
