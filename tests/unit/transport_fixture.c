#include "transport_fixture.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* --- Unary --------------------------------------------------------------- */

static void reply(transport_call *call, const void *data, size_t size) {
  uint8_t *out = transport_reply_reserve(call, size);
  assert_non_null(out);
  if (size > 0)
    memcpy(out, data, size);
  transport_reply_send(call);
}

void fixture_reply(transport_call *call, const char *text) { reply(call, text, strlen(text)); }

static void on_echo(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  fixture *f = ctx;
  f->handled++;
  reply(call, data, size);
}

typedef struct later {
  transport_call *call;
  const uint8_t *data;
  size_t size;
} later;

static void *later_run(void *argument) {
  later *l = argument;
  reply(l->call, l->data, l->size);
  free(l);
  return NULL;
}

static void on_later(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  fixture *f = ctx;
  f->handled++;
  later *l = malloc(sizeof *l);
  *l = (later){call, data, size};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, later_run, l), 0);
  pthread_detach(thread);
}

static void on_hold(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  (void)data;
  (void)size;
  fixture *f = ctx;
  f->handled++;
  pthread_mutex_lock(&f->lock);
  f->held[f->held_count++] = call;
  pthread_cond_broadcast(&f->changed);
  pthread_mutex_unlock(&f->lock);
}

static void on_fail(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  (void)ctx;
  char *text = arena_alloc(transport_call_arena(call), size + 8);
  memcpy(text, "failed: ", 8);
  memcpy(text + 8, data, size);
  transport_status status = {GRPC_STATUS_INVALID_ARGUMENT, text, size + 8, data, size};
  transport_call_fail(call, &status);
}

static void on_arena(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  (void)data;
  (void)size;
  (void)ctx;
  arena *a = transport_call_arena(call);
  char text[32];
  snprintf(text, sizeof text, "%zu", a->used);
  memset(arena_alloc(a, 200000), 'x', 200000);
  fixture_reply(call, text);
}

static void on_about(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  (void)data;
  (void)size;
  (void)ctx;
  size_t value_size = 0;
  const char *value = transport_call_header(call, "x-test", &value_size);
  char text[256];
  snprintf(text, sizeof text, "%.*s", (int)value_size, value != NULL ? value : "");
  fixture_reply(call, text);
}

/* --- Streams ------------------------------------------------------------- */

static void counted(fixture *f, int *counter) {
  pthread_mutex_lock(&f->lock);
  ++*counter;
  pthread_cond_broadcast(&f->changed);
  pthread_mutex_unlock(&f->lock);
}

static void on_open(transport_stream *s, void *ctx) {
  fixture *f = ctx;
  transport_stream_set_state(s, f);
  transport_stream_read(s);
  transport_stream_hold(s);
  pthread_mutex_lock(&f->lock);
  f->stream = s;
  pthread_mutex_unlock(&f->lock);
  counted(f, &f->opened);
}

static void on_closed(transport_stream *s) {
  fixture *f = transport_stream_state(s);
  counted(f, &f->closed);
}

static void on_release(transport_stream *s) {
  fixture *f = transport_stream_state(s);
  counted(f, &f->released);
}

static void stream_reply(transport_stream *s, const void *data, size_t size) {
  uint8_t *out = transport_stream_reserve(s, size);
  assert_non_null(out);
  memcpy(out, data, size);
  transport_stream_send(s);
}

static void chat_message(transport_stream *s, const uint8_t *data, size_t size) {
  stream_reply(s, data, size);
}

static void chat_writable(transport_stream *s) { transport_stream_read(s); }

static void chat_half_close(transport_stream *s) { transport_stream_finish(s, NULL); }

/* Asks for the next message while it still needs this one. */
static void gather_message(transport_stream *s, const uint8_t *data, size_t size) {
  fixture *f = transport_stream_state(s);
  transport_stream_read(s);
  for (size_t i = 0; i < size; i++)
    f->sum += data[i];
}

static void gather_half_close(transport_stream *s) {
  fixture *f = transport_stream_state(s);
  stream_reply(s, &f->sum, sizeof f->sum);
}

static void gather_writable(transport_stream *s) { transport_stream_finish(s, NULL); }

static void flood_next(transport_stream *s) {
  fixture *f = transport_stream_state(s);
  if (f->flooded == FLOOD_MESSAGES) {
    transport_stream_finish(s, NULL);
    return;
  }
  f->flooded++;
  uint8_t *out = transport_stream_reserve(s, FLOOD_BYTES);
  assert_non_null(out);
  assert_null(transport_stream_reserve(s, 1)); /* one at a time */
  memset(out, 'f', FLOOD_BYTES);
  transport_stream_send(s);
  assert_null(transport_stream_reserve(s, 1));
}

static void flood_message(transport_stream *s, const uint8_t *data, size_t size) {
  (void)data;
  (void)size;
  flood_next(s);
}

/* Sends the number, unless the client has had it. */
static void listen_send(transport_stream *s) {
  fixture *f = transport_stream_state(s);
  int number = f->number;
  if (number == f->last_sent || !transport_stream_can_send(s))
    return; /* when the send under way is taken, this is called again */
  f->last_sent = number;
  char text[32];
  int size = snprintf(text, sizeof text, "%d", number);
  stream_reply(s, text, (size_t)size);
}

static const transport_stream_ops CHAT = {
    .open = on_open,
    .message = chat_message,
    .half_close = chat_half_close,
    .writable = chat_writable,
    .closed = on_closed,
    .release = on_release,
};
static const transport_stream_ops GATHER = {
    .open = on_open,
    .message = gather_message,
    .half_close = gather_half_close,
    .writable = gather_writable,
    .closed = on_closed,
    .release = on_release,
};
static const transport_stream_ops FLOOD = {
    .open = on_open,
    .message = flood_message,
    .writable = flood_next,
    .closed = on_closed,
    .release = on_release,
};
static const transport_stream_ops LISTEN = {
    .open = on_open,
    .wake = listen_send,
    .writable = listen_send,
    .closed = on_closed,
    .release = on_release,
};

/* --- The server ---------------------------------------------------------- */

static void on_unknown(const char *path, size_t size, arena *a, transport_status *ret_status) {
  ret_status->code = GRPC_STATUS_UNIMPLEMENTED;
  ret_status->message = arena_printf(a, "no method %.*s", (int)size, path);
  ret_status->message_size = strlen(ret_status->message);
}

void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  pthread_mutex_init(&f->lock, NULL);
  pthread_cond_init(&f->changed, NULL);
  f->options = (transport_options){
      .listen = {"127.0.0.1:0"},
      .listen_count = 1,
      .queues = 2,
      .slots = 4,
      .receive_max = 4 << 20,
      .metadata_max = 16384,
      .memory_quota = 256 << 20,
      .streams_per_connection_max = 100,
      .calls_max = 1000,
      .arena_max = 8 << 20,
      .keepalive_ms = 30000,
      .keepalive_timeout_ms = 10000,
      .drain_ms = 5000,
      .busy = {.code = GRPC_STATUS_RESOURCE_EXHAUSTED, .message = "busy", .message_size = 4},
      .unknown = on_unknown,
  };
}

void fixture_start(fixture *f) {
  static const transport_method methods[] = {
      {.path = PATH_ECHO, .kind = TRANSPORT_UNARY, .unary = on_echo},
      {.path = PATH_LATER, .kind = TRANSPORT_UNARY, .unary = on_later},
      {.path = PATH_HOLD, .kind = TRANSPORT_UNARY, .unary = on_hold},
      {.path = PATH_SCAN, .kind = TRANSPORT_UNARY_LONG, .unary = on_hold},
      {.path = PATH_FAIL, .kind = TRANSPORT_UNARY, .unary = on_fail},
      {.path = PATH_ARENA, .kind = TRANSPORT_UNARY, .unary = on_arena},
      {.path = PATH_ABOUT, .kind = TRANSPORT_UNARY, .unary = on_about},
      {.path = PATH_FREE, .kind = TRANSPORT_UNARY, .unary = on_echo, .unmetered = true},
      {.path = PATH_CHAT, .kind = TRANSPORT_STREAM, .stream = &CHAT},
      {.path = PATH_GATHER, .kind = TRANSPORT_STREAM, .stream = &GATHER},
      {.path = PATH_FLOOD, .kind = TRANSPORT_STREAM, .stream = &FLOOD},
      {.path = PATH_LISTEN, .kind = TRANSPORT_STREAM, .stream = &LISTEN, .long_lived = true},
  };
  enum { COUNT = sizeof methods / sizeof methods[0] };
  transport_method *mine = malloc(sizeof methods);
  memcpy(mine, methods, sizeof methods);
  for (int i = 0; i < COUNT; i++)
    mine[i].ctx = f;
  f->methods = mine;
  char error[256];
  f->server = transport_open(&f->options, mine, COUNT, error, sizeof error);
  if (f->server == NULL)
    fail_msg("%s", error);
  f->channel = channel_open(transport_port(f->server, 0));
}

void fixture_stop(fixture *f) {
  grpc_channel_destroy(f->channel);
  transport_drain(f->server);
  transport_figures figures;
  transport_get_figures(f->server, &figures);
  assert_int_equal(figures.calls_active, 0);
  assert_int_equal(figures.streams_active, 0);
  transport_close(f->server);
  free(f->methods);
  pthread_mutex_destroy(&f->lock);
  pthread_cond_destroy(&f->changed);
}

static void wait_locked(fixture *f) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += RPC_WAIT_MS / 1000;
  if (pthread_cond_timedwait(&f->changed, &f->lock, &until) != 0) {
    fprintf(stderr, "the server did not get there within %d ms\n", RPC_WAIT_MS);
    abort();
  }
}

void fixture_await(fixture *f, const int *counter, int n) {
  pthread_mutex_lock(&f->lock);
  while (*counter < n)
    wait_locked(f);
  assert_int_equal(*counter, n);
  pthread_mutex_unlock(&f->lock);
}

transport_stream *fixture_stream(fixture *f, int n) {
  fixture_await(f, &f->opened, n);
  return f->stream; /* and no other opens before the test lets it */
}

transport_call *fixture_take(fixture *f) {
  pthread_mutex_lock(&f->lock);
  while (f->held_count == 0)
    wait_locked(f);
  transport_call *call = f->held[--f->held_count];
  pthread_mutex_unlock(&f->lock);
  return call;
}

int fixture_settled(const atomic_int *counter) {
  int last = -1;
  for (int i = 0; i < 100 && *counter != last; i++) {
    last = *counter;
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  }
  return last;
}
