/* IngestMemories: a stream of appends.
 *
 *   ring of items, in stream order, at most INGEST_WINDOW:
 *
 *     head                                     next
 *      │ done │ done │ running │ waiting │ ... │
 *      └ replies go out from here, in order
 *
 * An item runs when no earlier unfinished item is of the same session, so items of
 * one session are committed in stream order, and sessions go on side by side. A
 * backend that is busy is waited for. An item that fails for good has its error
 * as its reply; one that may be repeated ends the stream, because a later item of
 * its session would overtake it.
 *
 * Back-pressure: a message is asked for only while the ring has room, and a reply
 * leaves the ring only when the transport has taken it.
 *
 * Threads: everything happens on the stream's queue thread but the end of an item
 * (item_finish), which sets `done`, wakes the stream, and is through. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "rpc/calls.h"
#include "rpc/methods.h"

#define INGEST_WINDOW 64
#define ITEM_ARENA_MAX (256 * 1024 * 1024)
#define BUSY_FIRST_US 5000 /* then doubled */
#define BUSY_MAX_US 1000000

typedef enum item_state { ITEM_WAITING, ITEM_RUNNING } item_state;

typedef struct ingest ingest;

typedef struct item {
  op op;
  ingest *stream;
  struct item *next_free;
  int64_t index;
  item_state state;
  atomic_bool done; /* op.reply or op.error is the answer */
  int64_t busy_us;  /* how long it waited for a full queue last */
  wire_append request;
  arena request_arena; /* what the request lies in */
  arena arena;         /* of one attempt */
} item;

struct ingest {
  transport_stream *transport;
  service *service;
  item *ring[INGEST_WINDOW];
  size_t head;
  size_t count;
  item *free;
  int64_t next_index;
  bool half_closed;
  bool draining; /* reads no more, and ends when the ring is empty */
  bool over;   /* finished or closed */
};

/* The stream whose queue thread is at work here: an item that ends meanwhile need
 * not wake it. */
static _Thread_local ingest *pumping;

static item *at(const ingest *in, size_t i) {
  return in->ring[(in->head + i) % INGEST_WINDOW];
}

static bool is_done(const item *it) {
  return atomic_load_explicit(&it->done, memory_order_acquire);
}

/* --- Items --------------------------------------------------------------- */

static bool item_gone(const op *o) {
  return transport_stream_gone(((const item *)o->owner)->stream->transport);
}

static void item_end(item *it) {
  ingest *in = it->stream;
  transport_stream *s = in->transport;
  bool here = pumping == in;
  atomic_store_explicit(&it->done, true, memory_order_release);
  /* From here on the item belongs to the queue thread; the hold keeps the stream. */
  if (!here)
    transport_stream_wake(s);
  transport_stream_unhold(s);
}

static void item_run(item *it);

static void item_again(void *ctx) {
  item *it = ctx;
  arena_clear(&it->arena); /* a wait may be long and attempts many */
  item_run(it);
}

/* A full queue is waited for as long as the caller does. */
static bool item_waits(item *it) {
  if (it->op.reply != NULL || strcmp(it->op.error.reason, "BUSY") != 0 || item_gone(&it->op))
    return false;
  it->busy_us = it->busy_us == 0 ? BUSY_FIRST_US : 2 * it->busy_us;
  if (it->busy_us > BUSY_MAX_US)
    it->busy_us = BUSY_MAX_US;
  return pool_submit_after(it->op.service->pool, &it->op.task, item_again, it, it->busy_us);
}

static void item_finish(op *o) {
  item *it = o->owner;
  if (!item_waits(it))
    item_end(it);
}

static void item_run(item *it) {
  op_init(&it->op, it->stream->service, &it->arena);
  it->op.gone = item_gone;
  it->op.finish = item_finish;
  it->op.owner = it;
  op_route(&it->op, it->request.scope.ns, it->request.scope.session);
  append_run(&it->op, &it->request);
}

static item *item_new(ingest *in) {
  item *it = in->free;
  if (it != NULL) {
    in->free = it->next_free;
  } else {
    it = malloc(sizeof *it);
    if (it == NULL)
      return NULL;
    arena_init(&it->request_arena, ITEM_ARENA_MAX);
    arena_init(&it->arena, ITEM_ARENA_MAX);
  }
  memset(&it->op, 0, sizeof it->op);
  it->stream = in;
  it->index = in->next_index++;
  it->state = ITEM_WAITING;
  it->busy_us = 0;
  atomic_init(&it->done, false);
  return it;
}

static void item_free(ingest *in, item *it) {
  arena_clear(&it->request_arena);
  arena_clear(&it->arena);
  it->next_free = in->free;
  in->free = it;
}

/* Whether the failure of an item ends the stream: what the client may repeat, and
 * what nobody knows. */
static bool ends_stream(const error *e) {
  switch (e->code) {
  case CODE_CANCELLED:
  case CODE_UNKNOWN:
  case CODE_DEADLINE_EXCEEDED:
  case CODE_INTERNAL:
  case CODE_UNAVAILABLE:
  case CODE_DATA_LOSS: return true;
  case CODE_ABORTED: return strcmp(e->reason, "CONTENTION") == 0;
  case CODE_RESOURCE_EXHAUSTED:
    return e->retry_us > 0 || strcmp(e->reason, "NO_MEMORY") == 0;
  default: return false;
  }
}

/* --- The ring ------------------------------------------------------------ */

static bool same_session(const item *a, const item *b) {
  const wire_scope *x = &a->request.scope, *y = &b->request.scope;
  return bytes_equal(x->ns.data, x->ns.size, y->ns.data, y->ns.size) &&
         bytes_equal(x->session.data, x->session.size, y->session.data, y->session.size);
}

static bool may_run(const ingest *in, size_t i) {
  for (size_t j = 0; j < i; j++)
    if (!is_done(at(in, j)) && same_session(at(in, j), at(in, i)))
      return false;
  return true;
}

/* How many items stand before the first that ends the stream. They still run and
 * are answered; those behind it would overtake it. */
static size_t count_before_end(const ingest *in) {
  size_t i = 0;
  while (i < in->count && !(is_done(at(in, i)) && at(in, i)->op.reply == NULL &&
                            ends_stream(&at(in, i)->op.error)))
    i++;
  return i;
}

static void start_items(ingest *in) {
  for (size_t i = 0; i < count_before_end(in) && !in->over; i++) {
    item *it = at(in, i);
    if (it->state == ITEM_WAITING && !is_done(it) && may_run(in, i)) {
      it->state = ITEM_RUNNING;
      transport_stream_hold(in->transport);
      item_run(it);
    }
  }
}

static void finish(ingest *in, const error *e, arena *a) {
  transport_status status = {0};
  if (e != NULL)
    status = calls_status(a, e);
  in->over = true;
  transport_stream_finish(in->transport, &status);
}

/* Sends the reply at the head. false = it cannot go now. */
static bool send_head(ingest *in) {
  item *it = at(in, 0);
  if (!transport_stream_can_send(in->transport))
    return false;
  if (it->op.reply == NULL && ends_stream(&it->op.error)) {
    finish(in, &it->op.error, &it->arena);
    return false;
  }
  const wire_message *reply =
      wire_ingest_reply(&it->arena, it->index, it->op.reply, &it->op.error);
  uint8_t *out =
      reply != NULL ? transport_stream_reserve(in->transport, wire_size(reply)) : NULL;
  if (out == NULL) {
    error e = {0};
    error_no_memory(&e);
    finish(in, &e, &it->arena);
    return false;
  }
  wire_pack(reply, out);
  transport_stream_send(in->transport);
  item_free(in, it);
  in->head = (in->head + 1) % INGEST_WINDOW;
  in->count--;
  return true;
}

static void finish_draining(ingest *in) {
  arena a;
  arena_init(&a, ARENA_BLOCK_BYTES);
  transport_status status =
      calls_draining(&a, "the server is shutting down: open the stream again elsewhere and "
                         "repeat what has no reply yet");
  in->over = true;
  transport_stream_finish(in->transport, &status);
  arena_clear(&a);
}

static void pump(ingest *in) {
  ingest *outer = pumping;
  pumping = in;
  start_items(in);
  while (!in->over && in->count > 0 && is_done(at(in, 0)) && send_head(in))
    start_items(in);
  pumping = outer;
  if (in->over)
    return;
  if (in->half_closed && in->count == 0 && transport_stream_can_send(in->transport))
    finish(in, NULL, NULL);
  else if (in->draining && in->count == 0 && transport_stream_can_send(in->transport))
    finish_draining(in);
  else if (!in->draining && !in->half_closed && in->count < INGEST_WINDOW &&
           count_before_end(in) == in->count)
    transport_stream_read(in->transport);
}

/* --- What the transport tells --------------------------------------------- */

static void on_open(transport_stream *s, void *ctx) {
  ingest *in = calloc(1, sizeof *in);
  transport_stream_set_state(s, in);
  if (in == NULL) {
    transport_status status = {.code = CODE_RESOURCE_EXHAUSTED};
    transport_stream_finish(s, &status);
    return;
  }
  in->transport = s;
  in->service = ctx;
  transport_stream_read(s);
}

static void on_message(transport_stream *s, const uint8_t *data, size_t size) {
  ingest *in = transport_stream_state(s);
  if (in->over)
    return;
  item *it = item_new(in);
  if (it == NULL) {
    transport_status status = {.code = CODE_RESOURCE_EXHAUSTED};
    in->over = true;
    transport_stream_finish(s, &status);
    return;
  }
  in->ring[(in->head + in->count++) % INGEST_WINDOW] = it;
  if (!wire_read_ingest(data, size, &it->request_arena, &it->request, &it->op.error))
    atomic_store_explicit(&it->done, true, memory_order_release);
  pump(in);
}

static void on_half_close(transport_stream *s) {
  ingest *in = transport_stream_state(s);
  in->half_closed = true;
  pump(in);
}

static void on_writable(transport_stream *s) {
  ingest *in = transport_stream_state(s);
  if (in != NULL && !in->over)
    pump(in);
}

static void on_drain(transport_stream *s) {
  ingest *in = transport_stream_state(s);
  if (in == NULL || in->over)
    return;
  in->draining = true;
  pump(in);
}

static void on_closed(transport_stream *s) {
  ingest *in = transport_stream_state(s);
  if (in != NULL)
    in->over = true;
}

static void on_release(transport_stream *s) {
  ingest *in = transport_stream_state(s);
  if (in == NULL)
    return;
  for (size_t i = 0; i < in->count; i++)
    item_free(in, at(in, i));
  while (in->free != NULL) {
    item *it = in->free;
    in->free = it->next_free;
    free(it);
  }
  free(in);
}

const transport_stream_ops ingest_ops = {
    .open = on_open,
    .message = on_message,
    .half_close = on_half_close,
    .writable = on_writable,
    .wake = on_writable,
    .drain = on_drain,
    .closed = on_closed,
    .release = on_release,
};
