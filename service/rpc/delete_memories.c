/* DeleteMemories. By ids and keys it is one commit, and a dry run one read of each.
 * By a filter it is a purge (purge.h), as long as its budgets last; a resume token
 * then holds where it was, with the now and the last sequence of the start. */
#include <string.h>

#include "base/set.h"
#include "rpc/commit.h"
#include "rpc/loop.h"
#include "rpc/methods.h"
#include "rpc/purge.h"

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
  op_finish(o, wire_delete_reply(o->arena, &d->found, d->request->scope.session, d->ids, ids,
                                 ""));
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

/* --- By filter ----------------------------------------------------------- */

typedef struct filtered_delete {
  purge purge;
  loop loop;
  mneme_status failed;
  const wire_delete *request;
  uint8_t arguments[16];
  int64_t now_us; /* of the start */
} filtered_delete;

static const page_key *key_of(const op *o) {
  return &o->service->page_keys[o->route.backend->index];
}

static const char *resume_token(const filtered_delete *d) {
  const purge *p = &d->purge;
  if (!p->more)
    return "";
  page_position at = {.kind = PAGE_DELETE_MEMORIES,
                      .uid = p->uid,
                      .number = p->after,
                      .last = p->last,
                      .now_us = d->now_us};
  memcpy(at.arguments, d->arguments, sizeof at.arguments);
  return page_token_make(p->op->arena, key_of(p->op), &at);
}

static void delete_end(void *ctx) {
  filtered_delete *d = ctx;
  purge *p = &d->purge;
  op *o = p->op;
  if (o->error.code != CODE_OK) {
    op_fail(o);
    return;
  }
  mneme_status status = d->loop.stopped != MNEME_OK ? d->loop.stopped : d->failed;
  if (status != MNEME_OK) {
    op_fail_status(o, status, true);
    return;
  }
  mneme_written w = {.header = p->header, .removed_count = p->removed};
  const char *token = resume_token(d);
  op_finish(o, token == NULL ? NULL
                             : wire_delete_reply(o->arena, &w, p->scope.session, p->ids,
                                                 p->id_count, token));
}

static void delete_next(purge *p) {
  loop_next(&((filtered_delete *)p->ctx)->loop);
}

static void delete_done(purge *p, mneme_status status) {
  filtered_delete *d = p->ctx;
  d->failed = status;
  loop_end(&d->loop);
}

static void delete_step(void *ctx) {
  purge_step(&((filtered_delete *)ctx)->purge);
}

static void delete_begin(op *o) {
  filtered_delete *d = o->state;
  loop_start(&d->loop);
}

static bool resume(filtered_delete *d) {
  op *o = d->purge.op;
  const wire_delete *q = d->request;
  page_position at;
  fingerprint f = fingerprint_begin("DeleteMemories filter");
  fingerprint_bytes(&f, q->scope.ns);
  fingerprint_bytes(&f, q->scope.session);
  fingerprint_bytes(&f, q->filter);
  fingerprint_end(&f, d->arguments);
  d->now_us = o->call.now_us;
  if (q->resume_token.size == 0)
    return true;
  if (!page_token_read(o->arena, key_of(o), q->resume_token, PAGE_DELETE_MEMORIES, d->arguments,
                       &at, &o->error))
    return false;
  d->now_us = at.now_us;
  d->purge.uid = at.uid;
  d->purge.after = at.number;
  d->purge.last = at.last;
  return true;
}

static bool parse(filtered_delete *d) {
  purge *p = &d->purge;
  op *o = p->op;
  return filtered_parse(o, d->request->filter, d->now_us, &p->filter) &&
         (p->filter.whole != NULL ||
          error_invalid(&o->error, o->arena, "REQUIRED", "filter",
                        "filter: is blank, which is every memory: clear the session instead "
                        "(ClearSession)"));
}

static void delete_filtered(op *o, const wire_delete *q) {
  filtered_delete *d = arena_calloc(o->arena, 1, sizeof *d);
  if (d == NULL) {
    op_fail_no_memory(o);
    return;
  }
  d->request = q;
  d->loop = (loop){.op = o, .step = delete_step, .end = delete_end, .ctx = d};
  d->purge = (purge){.op = o,
                     .scope = q->scope,
                     .dry_run = q->dry_run,
                     .next = delete_next,
                     .done = delete_done,
                     .ctx = d,
                     .removals = PURGE_CALL_MAX,
                     .examined = PURGE_EXAMINED_MAX};
  if (!resume(d) || !parse(d)) {
    op_fail(o);
    return;
  }
  o->state = d;
  op_run(o, OP_UNBOUND, delete_begin);
}

/* --- By ids and keys ----------------------------------------------------- */

static const wire_message *answer(commit *c, const mneme_written *w) {
  return wire_delete_reply(c->op->arena, w, c->write.session, NULL, 0, "");
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
  if (q->filter.size > 0) {
    delete_filtered(o, q);
    return;
  }
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
