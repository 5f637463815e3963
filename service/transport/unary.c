/* Unary calls.
 *
 *   slot armed ─▶ call_arrived ─▶ slot re-armed, admission, handler
 *                                    │ (any thread, later)
 *                                    ▼
 *                 reply_send / call_fail: the final batch
 *                                    │
 *                 call_finished ◀────┘        UNARY_LONG: call_closed
 *                      └──── pending == 0 ────────┘
 *                              call_release ─▶ kept for reuse
 *
 * A short call has one batch, {headers, body, status, close}, hence two events
 * in all; splitting the close off costs 10 %, reading the request by an
 * operation of its own another 6 %. The price: such a call cannot see that its
 * client has left, only that its deadline has passed.
 *
 * The final batch may be started from any thread. Once it is started the queue's
 * thread may release the call at any moment, so `pending` is complete before the
 * handler runs and nothing touches the call after the batch. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "transport/core.h"

struct transport_call {
  tag arrived;
  tag finished;
  tag closed;
  call_head head;
  grpc_byte_buffer *request;
  grpc_byte_buffer *reply;
  grpc_slice reply_bytes; /* reserved and not sent yet */
  bool reserved;
  bool close_posted;
  int cancelled;    /* written by the core before a close's tag comes back */
  int pending;      /* tags still to come back */
  atomic_bool gone; /* any thread */
  transport_call *next;
  arena arena;
};

static const transport_status NO_REQUEST =
    STATUS_TEXT(GRPC_STATUS_INVALID_ARGUMENT,
                "The call carries no request message.");
static const transport_status NO_MEMORY =
    STATUS_TEXT(GRPC_STATUS_RESOURCE_EXHAUSTED,
                "The request does not fit into the memory a call may take.");

static void call_arrived(tag *g, bool ok);
static void call_finished(tag *g, bool ok);
static void call_closed(tag *g, bool ok);

/* --- Memory and slots ---------------------------------------------------- */

static void call_free(transport_call *call) {
  grpc_metadata_array_destroy(&call->head.headers);
  arena_clear(&call->arena);
  free(call);
}

static transport_call *call_take(queue *q) {
  transport_call *call = q->idle;
  if (call != NULL) {
    q->idle = call->next;
    q->idle_count--;
    return call;
  }
  call = malloc(sizeof *call);
  if (call == NULL)
    return NULL;
  memset(call, 0, offsetof(transport_call, arena));
  call->arrived.done = call_arrived;
  call->finished.done = call_finished;
  call->closed.done = call_closed;
  call->head.queue = q;
  grpc_metadata_array_init(&call->head.headers);
  arena_init(&call->arena, q->transport->options->arena_max);
  return call;
}

static void call_keep(transport_call *call) {
  queue *q = call->head.queue;
  if (q->idle_count >= IDLE_CALLS_MAX) {
    call_free(call);
    return;
  }
  call->next = q->idle;
  q->idle = call;
  q->idle_count++;
}

void unary_free_idle(queue *q) {
  while (q->idle != NULL) {
    transport_call *call = q->idle;
    q->idle = call->next;
    call_free(call);
  }
  q->idle_count = 0;
}

static bool slot_arm(transport_call *call, const registered *r) {
  queue *q = call->head.queue;
  call->head.registered = r;
  call->head.core = NULL;
  call->head.slot_owed = false;
  call->request = NULL;
  call->reply = NULL;
  call->reserved = false;
  call->close_posted = false;
  call->cancelled = 0;
  atomic_store_explicit(&call->gone, false, memory_order_relaxed);
  TAG_PUBLISH(&call->arrived);
  grpc_call_error error = grpc_server_request_registered_call(
      q->transport->server, r->handle, &call->head.core, &call->head.deadline,
      &call->head.headers, &call->request, q->core, q->core, &call->arrived);
  if (error == GRPC_CALL_OK)
    return true;
  call_keep(call);
  return false;
}

bool unary_arm(queue *q, const registered *r) {
  transport_call *call = call_take(q);
  return call != NULL && slot_arm(call, r);
}

/* --- The way out --------------------------------------------------------- */

static void call_release(transport_call *call) {
  if (call->reserved)
    grpc_slice_unref(call->reply_bytes);
  if (call->reply != NULL)
    grpc_byte_buffer_destroy(call->reply);
  if (call->request != NULL)
    grpc_byte_buffer_destroy(call->request);
  grpc_call_unref(call->head.core);
  arena_clear(&call->arena);
  bool slot_owed = call->head.slot_owed;
  const registered *r = call->head.registered;
  call_leave(&call->head);
  if (slot_owed)
    slot_arm(call, r);
  else
    call_keep(call);
}

static void call_finished(tag *g, bool ok) {
  (void)ok; /* false: the client did not get the answer, nobody to tell */
  transport_call *call = container_of(g, transport_call, finished);
  if (--call->pending == 0)
    call_release(call);
}

static void call_closed(tag *g, bool ok) {
  (void)ok;
  transport_call *call = container_of(g, transport_call, closed);
  if (call->cancelled)
    atomic_store_explicit(&call->gone, true, memory_order_relaxed);
  if (--call->pending == 0)
    call_release(call);
}

/* status NULL = OK, with the reply's bytes. */
static void call_answer(transport_call *call, const transport_status *status,
                        int retry_after_ms) {
  answer a;
  answer_init(&a);
  answer_headers(&a);
  if (status == NULL) {
    if (!call->reserved)
      call->reply_bytes = grpc_empty_slice();
    call->reply = grpc_raw_byte_buffer_create(&call->reply_bytes, 1);
    grpc_slice_unref(call->reply_bytes);
    call->reserved = false;
    answer_body(&a, call->reply);
  }
  answer_status(&a, status, retry_after_ms);
  if (!call->close_posted)
    answer_close(&a, &call->cancelled);
  answer_start(&a, call->head.core, &call->finished);
}

/* --- The way in ---------------------------------------------------------- */

static void close_post(transport_call *call) {
  answer a;
  answer_init(&a);
  answer_close(&a, &call->cancelled);
  call->close_posted = true;
  call->pending = 2;
  answer_start(&a, call->head.core, &call->closed);
}

static void call_arrived(tag *g, bool ok) {
  transport_call *call = container_of(g, transport_call, arrived);
  if (!ok) { /* the server shuts down: nothing came and nothing is armed */
    call_free(call);
    return;
  }
  const transport_method *method = call->head.registered->method;
  call->head.slot_owed = !unary_arm(call->head.queue, call->head.registered);
  call->pending = 1;
  admission how = call_enter(&call->head);
  if (how != ADMITTED) {
    call_answer(call, refusal_status(call->head.queue->transport, how), refusal_retry_ms(how));
    return;
  }
  /* Headers without data; or too large a message, whose RESOURCE_EXHAUSTED the
   * core has sent already, so that this one reaches nobody. */
  if (call->request == NULL) {
    call_answer(call, &NO_REQUEST, -1);
    return;
  }
  if (method->kind == TRANSPORT_UNARY_LONG)
    close_post(call);
  const uint8_t *data;
  size_t size;
  if (!message_view(call->request, &data, &size)) {
    size = grpc_byte_buffer_length(call->request);
    uint8_t *copy = arena_alloc(&call->arena, size);
    if (copy == NULL) {
      call_answer(call, &NO_MEMORY, -1);
      return;
    }
    message_copy(call->request, copy);
    data = copy;
  }
  method->unary(call, data, size, method->ctx);
}

/* --- What handlers use --------------------------------------------------- */

arena *transport_call_arena(transport_call *call) { return &call->arena; }

int64_t transport_call_deadline_us(const transport_call *call) {
  return call->head.deadline_us;
}

bool transport_call_gone(const transport_call *call) {
  return atomic_load_explicit(&call->gone, memory_order_relaxed) ||
         clock_mono_us() >= call->head.deadline_us;
}

const char *transport_call_header(const transport_call *call, const char *key, size_t *ret_size) {
  return header_find(&call->head.headers, key, ret_size);
}

uint8_t *transport_reply_reserve(transport_call *call, size_t size) {
  if (call->reserved || !reply_slice(size, &call->reply_bytes))
    return NULL;
  call->reserved = true;
  return GRPC_SLICE_START_PTR(call->reply_bytes);
}

void transport_reply_send(transport_call *call) { call_answer(call, NULL, -1); }

void transport_call_fail(transport_call *call, const transport_status *status) {
  call_answer(call, status, -1);
}
