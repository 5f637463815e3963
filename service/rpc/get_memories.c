/* GetMemories: by ids, then by keys. The session's header is read first: its uid
 * ties the reads (and the touch) to one incarnation. */
#include "base/set.h"
#include "record/record.h"
#include "rpc/methods.h"
#include "rpc/touch.h"

typedef struct get {
  op *op;
  wire_get request;
  mneme_uid uid;
  mneme_read read;
  set returned;   /* ids emitted so far */
  set asked_keys; /* keys emitted so far */
  wire_memories memories;
  int64_t *sequences;
  mneme_bytes *not_returned;
  size_t not_returned_count;
  bool full;
} get;

static bool keep(get *g, mneme_bytes b, set *s, bool *ret_new) {
  char *copy = arena_copy(g->op->arena, b.data, b.size);
  if (copy == NULL)
    return error_no_memory(&g->op->error);
  *ret_new = set_add(s, copy, b.size, 1) < 0;
  return true;
}

static bool note_missing_room(get *g, mneme_bytes id) {
  char *copy = arena_copy(g->op->arena, id.data, id.size);
  if (copy == NULL)
    return error_no_memory(&g->op->error);
  g->not_returned[g->not_returned_count++] = mneme_bytes_of(copy, id.size);
  return true;
}

static bool add(get *g, const mneme_record *r) {
  op *o = g->op;
  mneme_record plain = *r;
  if (record_open(r, &plain.body) != MNEME_OK) {
    error_set(&o->error, o->arena, CODE_DATA_LOSS, "CORRUPT", NULL,
              "memory \"%.*s\" does not match its checksum: delete it, or restore the store",
              (int)r->id.size, r->id.data);
    return false;
  }
  wire_added added = g->full ? WIRE_FULL
                             : wire_memories_add(&g->memories, o->arena, &plain, WIRE_REPLY_MAX -
                                                                                     512 * 1024);
  if (added == WIRE_NO_MEMORY)
    return error_no_memory(&o->error);
  if (added == WIRE_FULL) {
    g->full = true;
    return note_missing_room(g, r->id);
  }
  g->sequences[g->memories.count - 1] = r->sequence;
  return true;
}

static int take(const mneme_record *r, void *ctx) {
  get *g = ctx;
  bool fresh = false, fresh_key;
  if (!keep(g, r->id, &g->returned, &fresh))
    return 1;
  if (r->key.size > 0 && !keep(g, r->key, &g->asked_keys, &fresh_key))
    return 1;
  return fresh && !add(g, r);
}

static size_t missing(const mneme_bytes *names, size_t count, const set *found, mneme_bytes *ret) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++)
    if (set_find(found, names[i].data, names[i].size) < 0)
      ret[n++] = names[i];
  return n;
}

static void answer(get *g) {
  op *o = g->op;
  const wire_get *q = &g->request;
  mneme_bytes *ids = arena_calloc(o->arena, q->id_count + 1, sizeof *ids);
  mneme_bytes *keys = arena_calloc(o->arena, q->key_count + 1, sizeof *keys);
  if (ids == NULL || keys == NULL) {
    op_fail_no_memory(o);
    return;
  }
  size_t id_count = missing(q->ids, q->id_count, &g->returned, ids);
  size_t key_count = missing(q->keys, q->key_count, &g->asked_keys, keys);
  touch t = {.kind = q->touch,
             .uid = &g->uid,
             .sequences = g->sequences,
             .count = g->memories.count,
             .reply = wire_get_reply(o->arena, &g->memories, ids, id_count, keys, key_count,
                                     g->not_returned, g->not_returned_count)};
  touch_and_finish(o, &q->scope, &t);
}

static void keys_read(mneme_status status, void *ctx) {
  get *g = ctx;
  if (status != MNEME_OK && status != MNEME_CONFLICT)
    op_fail_status(g->op, status, false);
  else if (g->op->error.code != CODE_OK)
    op_fail(g->op);
  else
    answer(g);
}

static void ids_read(mneme_status status, void *ctx) {
  get *g = ctx;
  op *o = g->op;
  const wire_get *q = &g->request;
  if (status != MNEME_OK || o->error.code != CODE_OK || q->key_count == 0) {
    keys_read(status, g);
    return;
  }
  g->read.select = MNEME_SELECT_NAMED_KEYS;
  g->read.names = q->keys;
  g->read.name_count = q->key_count;
  registry_backend *b = o->route.backend;
  b->type->read(b->instance, &o->call, &g->read, take, keys_read, g);
}

static void session_read(mneme_status status, const mneme_header *h, void *ctx) {
  get *g = ctx;
  op *o = g->op;
  if (status == MNEME_NOT_FOUND) {
    answer(g); /* everything is missing */
    return;
  }
  if (status != MNEME_OK) {
    op_fail_status(o, status, false);
    return;
  }
  g->uid = h->uid;
  g->read = (mneme_read){.ns = g->request.scope.ns,
                         .session = g->request.scope.session,
                         .uid = &g->uid,
                         .select = MNEME_SELECT_IDS,
                         .names = g->request.ids,
                         .name_count = g->request.id_count,
                         .projection = MNEME_READ_BODY};
  registry_backend *b = o->route.backend;
  b->type->read(b->instance, &o->call, &g->read, take, ids_read, g);
}

static void ask(op *o) {
  get *g = o->state;
  registry_backend *b = o->route.backend;
  b->type->session_get(b->instance, &o->call, g->request.scope.ns, g->request.scope.session,
                       session_read, g);
}

void rpc_get_memories(op *o, const uint8_t *data, size_t size) {
  get *g = arena_calloc(o->arena, 1, sizeof *g);
  if (g == NULL || !wire_read_get(data, size, o->arena, &g->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  size_t max = g->request.id_count + g->request.key_count;
  g->op = o;
  g->sequences = arena_calloc(o->arena, max + 1, sizeof *g->sequences);
  g->not_returned = arena_calloc(o->arena, max + 1, sizeof *g->not_returned);
  /* Each memory found adds its id and its key. */
  if (g->sequences == NULL || g->not_returned == NULL ||
      !wire_memories_init(&g->memories, o->arena, max) ||
      !wire_memories_of(&g->memories, o->arena, g->request.scope.session) ||
      !set_init(&g->returned, o->arena, max) || !set_init(&g->asked_keys, o->arena, max)) {
    op_fail_no_memory(o);
    return;
  }
  op_route(o, g->request.scope.ns, g->request.scope.session);
  o->state = g;
  op_run(o, OP_READ_SHORT, ask);
}
