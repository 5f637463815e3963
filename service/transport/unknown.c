/* Calls of methods that nobody registered.
 *
 * Without slots of their own such calls would hang until their deadline. They
 * are answered at once, outside of admission: an answer costs next to nothing,
 * and a full server should still say that a method does not exist. */
#include <stdlib.h>
#include <string.h>

#include "transport/core.h"

typedef struct unknown_call {
  tag arrived;
  tag finished;
  call_head head;
  grpc_call_details details;
  int cancelled;
  arena arena;
} unknown_call;

static const transport_status UNKNOWN_METHOD =
    STATUS_TEXT(GRPC_STATUS_UNIMPLEMENTED,
                "The server has no such method.");

static void unknown_free(unknown_call *u) {
  grpc_call_details_destroy(&u->details);
  grpc_metadata_array_destroy(&u->head.headers);
  arena_clear(&u->arena);
  free(u);
}

static void unknown_finished(tag *g, bool ok) {
  (void)ok;
  unknown_call *u = container_of(g, unknown_call, finished);
  queue *q = u->head.queue;
  bool slot_owed = u->head.slot_owed;
  grpc_call_unref(u->head.core);
  call_leave(&u->head);
  unknown_free(u);
  if (slot_owed)
    unknown_arm(q);
}

static void unknown_arrived(tag *g, bool ok) {
  unknown_call *u = container_of(g, unknown_call, arrived);
  if (!ok) {
    unknown_free(u);
    return;
  }
  queue *q = u->head.queue;
  const transport_options *o = q->transport->options;
  u->head.slot_owed = !unknown_arm(q);
  call_enter(&u->head);
  transport_status status = UNKNOWN_METHOD;
  if (o->unknown != NULL)
    o->unknown((const char *)GRPC_SLICE_START_PTR(u->details.method),
               GRPC_SLICE_LENGTH(u->details.method), &u->arena, &status);
  answer a;
  answer_init(&a);
  answer_headers(&a);
  answer_status(&a, &status, -1);
  answer_close(&a, &u->cancelled);
  answer_start(&a, u->head.core, &u->finished);
}

bool unknown_arm(queue *q) {
  unknown_call *u = malloc(sizeof *u);
  if (u == NULL)
    return false;
  memset(u, 0, offsetof(unknown_call, arena));
  u->arrived.done = unknown_arrived;
  u->finished.done = unknown_finished;
  u->head.queue = q;
  grpc_call_details_init(&u->details);
  grpc_metadata_array_init(&u->head.headers);
  arena_init(&u->arena, q->transport->options->arena_max);
  TAG_PUBLISH(&u->arrived);
  grpc_call_error error =
      grpc_server_request_call(q->transport->server, &u->head.core, &u->details, &u->head.headers,
                               q->core, q->core, &u->arrived);
  if (error == GRPC_CALL_OK)
    return true;
  unknown_free(u);
  return false;
}
