#include "rpc/calls.h"

#include <string.h>

#include "rpc/methods.h"

#define SERVICE_PATH "/mneme.v1.MemoryBackend/"

#define RETRY_DRAINING_US 250000 /* until then a client has seen the GOAWAY */

typedef struct method {
  const char *path;
  transport_kind kind;
  op_method run; /* NULL = not served yet */
} method;

/* In the order of the contract. LONG where a call may examine very many records
 * and so should see that its caller has left. */
static const method table[] = {
    {SERVICE_PATH "CreateSession", TRANSPORT_UNARY, rpc_create_session},
    {SERVICE_PATH "GetSession", TRANSPORT_UNARY, rpc_get_session},
    {SERVICE_PATH "ListSessions", TRANSPORT_UNARY_LONG, rpc_list_sessions},
    {SERVICE_PATH "UpdateSession", TRANSPORT_UNARY, rpc_update_session},
    {SERVICE_PATH "ClearSession", TRANSPORT_UNARY, rpc_clear_session},
    {SERVICE_PATH "DeleteSession", TRANSPORT_UNARY, rpc_delete_session},
    {SERVICE_PATH "DeleteSessions", TRANSPORT_UNARY_LONG, rpc_delete_sessions},
    {SERVICE_PATH "AppendMemories", TRANSPORT_UNARY, rpc_append_memories},
    {SERVICE_PATH "GetMemories", TRANSPORT_UNARY, rpc_get_memories},
    {SERVICE_PATH "ListMemories", TRANSPORT_UNARY, rpc_list_memories},
    {SERVICE_PATH "UpdateMemory", TRANSPORT_UNARY, rpc_update_memory},
    {SERVICE_PATH "DeleteMemories", TRANSPORT_UNARY, rpc_delete_memories},
    {SERVICE_PATH "ReplaceMemories", TRANSPORT_UNARY, rpc_replace_memories},
    {SERVICE_PATH "PopMemories", TRANSPORT_UNARY, rpc_pop_memories},
    {SERVICE_PATH "SearchMemories", TRANSPORT_UNARY, NULL},
    {SERVICE_PATH "BuildContext", TRANSPORT_UNARY, NULL},
    {SERVICE_PATH "EmbedTexts", TRANSPORT_UNARY, NULL},
    {SERVICE_PATH "LinkMemories", TRANSPORT_UNARY, NULL},
    {SERVICE_PATH "UnlinkMemories", TRANSPORT_UNARY, NULL},
    {SERVICE_PATH "ListRelatedMemories", TRANSPORT_UNARY, NULL},
    {SERVICE_PATH "CleanUpMemories", TRANSPORT_UNARY_LONG, rpc_clean_up_memories},
    {SERVICE_PATH "GetStats", TRANSPORT_UNARY_LONG, rpc_get_stats},
    {SERVICE_PATH "ListBackends", TRANSPORT_UNARY, rpc_list_backends},
};
#define METHODS (sizeof table / sizeof *table)

/* What a handler needs to know of its method: one per entry, set at start. */
typedef struct binding {
  const method *method;
  service *service;
} binding;

transport_status calls_status(arena *a, const error *e) {
  arena_extend(a, ARENA_BLOCK_BYTES);
  mneme_bytes details = wire_status(a, e);
  return (transport_status){.code = e->code,
                            .message = e->message,
                            .message_size = strlen(e->message),
                            .details = (const uint8_t *)details.data,
                            .details_size = details.size};
}

transport_status calls_draining(arena *a, const char *text) {
  error e = {0};
  error_set(&e, a, CODE_UNAVAILABLE, "SHUTTING_DOWN", NULL, "%s", text);
  e.retry_us = RETRY_DRAINING_US;
  return calls_status(a, &e);
}

/* --- Unary --------------------------------------------------------------- */

static bool unary_gone(const op *o) {
  return transport_call_gone(o->owner);
}

static void unary_finish(op *o) {
  transport_call *call = o->owner;
  uint8_t *out = NULL;
  if (o->reply != NULL) {
    out = transport_reply_reserve(call, wire_size(o->reply));
    if (out != NULL) {
      wire_pack(o->reply, out);
      transport_reply_send(call);
      return;
    }
    error_no_memory(&o->error);
  }
  transport_status status = calls_status(o->arena, &o->error);
  transport_call_fail(call, &status);
}

static void on_call(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  const binding *b = ctx;
  arena *a = transport_call_arena(call);
  op *o = arena_alloc(a, sizeof *o); /* the first of the arena: there is room */
  op_init(o, b->service, a);
  o->gone = unary_gone;
  o->finish = unary_finish;
  o->owner = call;
  b->method->run(o, data, size);
}

static void on_unserved(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  const binding *b = ctx;
  arena *a = transport_call_arena(call);
  error e = {0};
  (void)data;
  (void)size;
  error_set(&e, a, CODE_UNIMPLEMENTED, "METHOD_NOT_SERVED", NULL,
            "%s is part of the contract and is not served yet by this version",
            b->method->path + strlen(SERVICE_PATH));
  transport_status status = calls_status(a, &e);
  transport_call_fail(call, &status);
}

void calls_unknown(const char *path, size_t size, arena *a, transport_status *ret_status) {
  error e = {0};
  int shown = size < 256 ? (int)size : 256;
  error_set(&e, a, CODE_UNIMPLEMENTED, "UNKNOWN_METHOD", NULL,
            "this server has no method \"%.*s\": its services are listed by reflection", shown,
            path);
  *ret_status = calls_status(a, &e);
}

size_t calls_methods(service *s, transport_method *methods) {
  static binding bindings[METHODS];
  _Static_assert(METHODS + 1 <= CALLS_METHODS_MAX, "room for all methods");
  for (size_t i = 0; i < METHODS; i++) {
    bindings[i] = (binding){&table[i], s};
    methods[i] = (transport_method){.path = table[i].path,
                                    .kind = table[i].kind,
                                    .unary = table[i].run != NULL ? on_call : on_unserved,
                                    .ctx = &bindings[i]};
  }
  methods[METHODS] = (transport_method){.path = SERVICE_PATH "IngestMemories",
                                        .kind = TRANSPORT_STREAM,
                                        .stream = &ingest_ops,
                                        .ctx = s};
  return METHODS + 1;
}
