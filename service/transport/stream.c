/* Streams.
 *
 * The close is asked for alone and first, so that a stream always learns of its
 * end. Then there is at most one receive, one send and one wake under way; the
 * next message is read when the owner asks, and a send's tag comes back when
 * flow control has taken it. So a client that does not read stops its own
 * stream, and what the server holds for it stays at one message each way.
 *
 *   armed ─▶ open ─▶ message* half_close? writable* wake* ─▶ closed ─▶ release
 *
 * Memory: `refs` has one for the queue's thread, which it gives back when the
 * stream is closed and no tag is out any more, one for each wake under way and
 * one for each hold. Whoever gives the last one back makes the queue's thread
 * free the stream (by an empty batch, when it is another thread), so release and
 * all other calls to the owner come from one thread. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "transport/core.h"

struct transport_stream {
  tag arrived;
  tag closed;
  tag received;
  tag sent;
  tag finished;
  tag woken;
  tag dropped;
  call_head head;
  grpc_byte_buffer *incoming;
  grpc_byte_buffer *outgoing;
  grpc_slice outgoing_bytes; /* reserved and not sent yet */
  bool reserved;
  bool reading;
  bool sending;
  bool headers_sent;
  bool finishing; /* the status is on its way */
  bool over;      /* closed was called */
  bool refused;   /* by admission: the owner never hears of it */
  bool drained;   /* the owner knows that the server drains */
  transport_stream *previous, *next; /* of the queue's open streams, under its lock */
  int cancelled;
  int pending;       /* tags out, but those of wakes */
  atomic_int refs;   /* any thread */
  atomic_bool gone;  /* any thread */
  atomic_bool awake; /* any thread: a wake is on its way */
  void *state;
};

static const transport_stream_ops *ops_of(const transport_stream *s) {
  return s->head.registered->method->stream;
}

/* --- Memory and slots ---------------------------------------------------- */

static void stream_arrived(tag *g, bool ok);
static void stream_closed(tag *g, bool ok);
static void stream_received(tag *g, bool ok);
static void stream_sent(tag *g, bool ok);
static void stream_finished(tag *g, bool ok);
static void stream_woken(tag *g, bool ok);
static void stream_dropped(tag *g, bool ok);

bool stream_arm(queue *q, const registered *r) {
  transport_stream *s = calloc(1, sizeof *s);
  if (s == NULL)
    return false;
  s->arrived.done = stream_arrived;
  s->closed.done = stream_closed;
  s->received.done = stream_received;
  s->sent.done = stream_sent;
  s->finished.done = stream_finished;
  s->woken.done = stream_woken;
  s->dropped.done = stream_dropped;
  s->head.queue = q;
  s->head.registered = r;
  grpc_metadata_array_init(&s->head.headers);
  TAG_PUBLISH(&s->arrived);
  grpc_call_error error = grpc_server_request_registered_call(
      q->transport->server, r->handle, &s->head.core, &s->head.deadline, &s->head.headers, NULL,
      q->core, q->core, &s->arrived);
  if (error == GRPC_CALL_OK)
    return true;
  free(s);
  return false;
}

/* On the queue's thread, when nothing refers to the stream any more. */
static void stream_free(transport_stream *s) {
  queue *q = s->head.queue;
  const registered *r = s->head.registered;
  bool slot_owed = s->head.slot_owed;
  if (!s->refused && ops_of(s)->release != NULL)
    ops_of(s)->release(s);
  if (s->reserved)
    grpc_slice_unref(s->outgoing_bytes);
  grpc_call_unref(s->head.core);
  grpc_metadata_array_destroy(&s->head.headers);
  if (!s->refused)
    atomic_fetch_sub_explicit(&q->streams, 1, memory_order_relaxed);
  call_leave(&s->head);
  free(s);
  if (slot_owed)
    stream_arm(q, r);
}

static void unref_here(transport_stream *s) {
  if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
    stream_free(s);
}

/* After each tag: gives the queue's own reference back when it was the last. */
static void stream_settle(transport_stream *s) {
  if (s->over && s->pending == 0)
    unref_here(s);
}

void transport_stream_hold(transport_stream *s) {
  atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void transport_stream_unhold(transport_stream *s) {
  if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
    wake_start(s->head.core, &s->dropped);
}

static void stream_dropped(tag *g, bool ok) {
  (void)ok;
  stream_free(container_of(g, transport_stream, dropped));
}

/* --- The open streams of a queue ------------------------------------------
 * A stream is listed from its arrival until it is over, so whoever finds it there
 * may wake it: the queue's own reference is not given back before. */

static void stream_list(transport_stream *s) {
  queue *q = s->head.queue;
  pthread_mutex_lock(&q->streams_lock);
  s->next = q->open_streams;
  if (s->next != NULL)
    s->next->previous = s;
  q->open_streams = s;
  pthread_mutex_unlock(&q->streams_lock);
  /* Admitted just before a drain that did not find it in the list. */
  if (ops_of(s)->drain != NULL && atomic_load(&q->transport->turning_away))
    transport_stream_wake(s);
}

static void stream_unlist(transport_stream *s) {
  queue *q = s->head.queue;
  pthread_mutex_lock(&q->streams_lock);
  if (s->next != NULL)
    s->next->previous = s->previous;
  if (s->previous != NULL)
    s->previous->next = s->next;
  else
    q->open_streams = s->next;
  pthread_mutex_unlock(&q->streams_lock);
}

void streams_drain(queue *q) {
  pthread_mutex_lock(&q->streams_lock);
  for (transport_stream *s = q->open_streams; s != NULL; s = s->next)
    if (ops_of(s)->drain != NULL)
      transport_stream_wake(s);
  pthread_mutex_unlock(&q->streams_lock);
}

/* --- Arrival and end ----------------------------------------------------- */

static void stream_refuse(transport_stream *s, admission how) {
  s->refused = true;
  s->finishing = true;
  s->pending = 1;
  answer a;
  answer_init(&a);
  answer_headers(&a);
  answer_status(&a, refusal_status(s->head.queue->transport, how), refusal_retry_ms(how));
  answer_close(&a, &s->cancelled);
  answer_start(&a, s->head.core, &s->closed);
}

static void stream_arrived(tag *g, bool ok) {
  transport_stream *s = container_of(g, transport_stream, arrived);
  queue *q = s->head.queue;
  if (!ok) {
    grpc_metadata_array_destroy(&s->head.headers);
    free(s);
    return;
  }
  s->head.slot_owed = !stream_arm(q, s->head.registered);
  atomic_init(&s->refs, 1);
  admission how = call_enter(&s->head);
  if (how != ADMITTED) {
    stream_refuse(s, how);
    return;
  }
  atomic_fetch_add_explicit(&q->streams, 1, memory_order_relaxed);
  answer a;
  answer_init(&a);
  answer_close(&a, &s->cancelled);
  s->pending++;
  answer_start(&a, s->head.core, &s->closed);
  if (ops_of(s)->open != NULL)
    ops_of(s)->open(s, s->head.registered->method->ctx);
  stream_list(s);
}

static void stream_closed(tag *g, bool ok) {
  (void)ok;
  transport_stream *s = container_of(g, transport_stream, closed);
  s->pending--;
  s->over = true;
  if (!s->refused)
    stream_unlist(s);
  atomic_store_explicit(&s->gone, true, memory_order_relaxed);
  if (!s->refused && ops_of(s)->closed != NULL)
    ops_of(s)->closed(s);
  stream_settle(s);
}

void transport_stream_finish(transport_stream *s, const transport_status *status) {
  if (s->over || s->finishing || s->sending)
    return;
  s->finishing = true;
  s->pending++;
  answer a;
  answer_init(&a);
  if (!s->headers_sent)
    answer_headers(&a);
  s->headers_sent = true;
  answer_status(&a, status, -1);
  answer_start(&a, s->head.core, &s->finished);
}

static void stream_finished(tag *g, bool ok) {
  (void)ok;
  transport_stream *s = container_of(g, transport_stream, finished);
  s->pending--;
  stream_settle(s);
}

/* --- Receiving ----------------------------------------------------------- */

void transport_stream_read(transport_stream *s) {
  if (s->reading || s->over || s->finishing)
    return;
  s->reading = true;
  s->pending++;
  s->incoming = NULL;
  grpc_op op;
  memset(&op, 0, sizeof op);
  op.op = GRPC_OP_RECV_MESSAGE;
  op.data.recv_message.recv_message = &s->incoming;
  batch_start(s->head.core, &op, 1, &s->received);
}

static const transport_status NO_MEMORY =
    STATUS_TEXT(GRPC_STATUS_RESOURCE_EXHAUSTED,
                "The server has no memory for this message.");

static void message_deliver(transport_stream *s, grpc_byte_buffer *message) {
  const uint8_t *data;
  size_t size;
  if (message_view(message, &data, &size)) {
    ops_of(s)->message(s, data, size);
    return;
  }
  size = grpc_byte_buffer_length(message);
  uint8_t *copy = malloc(size);
  if (copy == NULL) {
    if (s->sending) /* no status can go now */
      grpc_call_cancel(s->head.core, NULL);
    else
      transport_stream_finish(s, &NO_MEMORY);
    return;
  }
  message_copy(message, copy);
  ops_of(s)->message(s, copy, size);
  free(copy);
}

static void stream_received(tag *g, bool ok) {
  transport_stream *s = container_of(g, transport_stream, received);
  /* Taken out first: the owner may ask for the next one from within. */
  grpc_byte_buffer *message = s->incoming;
  s->incoming = NULL;
  s->pending--;
  s->reading = false;
  if (!s->over && !s->finishing) {
    if (message != NULL) {
      if (ops_of(s)->message != NULL)
        message_deliver(s, message);
    } else if (ok && ops_of(s)->half_close != NULL) {
      ops_of(s)->half_close(s);
    }
  }
  if (message != NULL)
    grpc_byte_buffer_destroy(message);
  stream_settle(s);
}

/* --- Sending ------------------------------------------------------------- */

bool transport_stream_can_send(const transport_stream *s) {
  return !s->over && !s->finishing && !s->sending;
}

uint8_t *transport_stream_reserve(transport_stream *s, size_t size) {
  if (!transport_stream_can_send(s) || s->reserved || !reply_slice(size, &s->outgoing_bytes))
    return NULL;
  s->reserved = true;
  return GRPC_SLICE_START_PTR(s->outgoing_bytes);
}

void transport_stream_send(transport_stream *s) {
  if (!s->reserved)
    return;
  s->reserved = false;
  s->outgoing = grpc_raw_byte_buffer_create(&s->outgoing_bytes, 1);
  grpc_slice_unref(s->outgoing_bytes);
  s->sending = true;
  s->pending++;
  answer a;
  answer_init(&a);
  if (!s->headers_sent)
    answer_headers(&a);
  s->headers_sent = true;
  answer_body(&a, s->outgoing);
  answer_start(&a, s->head.core, &s->sent);
}

static void stream_sent(tag *g, bool ok) {
  transport_stream *s = container_of(g, transport_stream, sent);
  s->pending--;
  s->sending = false;
  grpc_byte_buffer_destroy(s->outgoing);
  s->outgoing = NULL;
  /* Not ok: the stream is broken, and closed is about to come. */
  if (ok && !s->over && ops_of(s)->writable != NULL)
    ops_of(s)->writable(s);
  stream_settle(s);
}

/* --- Waking -------------------------------------------------------------- */

void transport_stream_wake(transport_stream *s) {
  /* seq_cst on awake, here and in stream_woken: what the waker wrote before is
   * seen by the wake that it relies on, be it its own or one under way. */
  if (atomic_load_explicit(&s->gone, memory_order_relaxed) || atomic_exchange(&s->awake, true))
    return;
  transport_stream_hold(s);
  wake_start(s->head.core, &s->woken);
}

static void stream_woken(tag *g, bool ok) {
  (void)ok;
  transport_stream *s = container_of(g, transport_stream, woken);
  atomic_exchange(&s->awake, false);
  if (!s->over && !s->drained && ops_of(s)->drain != NULL &&
      atomic_load(&s->head.queue->transport->turning_away)) {
    s->drained = true;
    ops_of(s)->drain(s);
  }
  if (!s->over && ops_of(s)->wake != NULL)
    ops_of(s)->wake(s);
  unref_here(s);
}

/* --- What owners use ----------------------------------------------------- */

void transport_stream_set_state(transport_stream *s, void *state) { s->state = state; }

void *transport_stream_state(const transport_stream *s) { return s->state; }

int64_t transport_stream_deadline_us(const transport_stream *s) {
  return s->head.deadline_us;
}

bool transport_stream_gone(const transport_stream *s) {
  return atomic_load_explicit(&s->gone, memory_order_relaxed) ||
         clock_mono_us() >= s->head.deadline_us;
}

const char *transport_stream_header(const transport_stream *s, const char *key, size_t *ret_size) {
  return header_find(&s->head.headers, key, ret_size);
}
