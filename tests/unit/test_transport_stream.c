/* Streams, through a client on the same core. */
#include <grpc/grpc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "transport_fixture.h"

static int setup(void **state) {
  fixture *f = malloc(sizeof *f);
  fixture_init(f);
  fixture_start(f);
  *state = f;
  return 0;
}

static int setup_unstarted(void **state) {
  fixture *f = malloc(sizeof *f);
  fixture_init(f);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture_stop(*state);
  free(*state);
  return 0;
}

/* Waits for the end of the n-th stream, and gives back the fixture's hold. */
static void let_go_of(fixture *f, int n) {
  transport_stream *s = fixture_stream(f, n);
  fixture_await(f, &f->closed, n);
  transport_stream_unhold(s);
  fixture_await(f, &f->released, n);
}

static void let_go(fixture *f) { let_go_of(f, 1); }

static void stream_begin(rpc *r, fixture *f, const char *path, int deadline_ms) {
  rpc_begin(r, f->channel, path, deadline_ms);
  rpc_open(r);
}

static void echoes_until_half_close(void **state) {
  fixture *f = *state;
  char *data = malloc(300000);
  memset(data, 'd', 300000);
  rpc r;
  stream_begin(&r, f, PATH_CHAT, 20000);
  static const size_t sizes[] = {1, 0, 40, 5000, 300000, 7};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    assert_true(rpc_send(&r, data, sizes[i]));
    assert_true(rpc_receive(&r));
    assert_int_equal(r.size, sizes[i]);
    assert_memory_equal(r.data, data, sizes[i]);
  }
  rpc_half_close(&r);
  assert_false(rpc_receive(&r));
  assert_int_equal(rpc_end(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  free(data);
  let_go(f);
}

static void owner_reads_ahead(void **state) {
  fixture *f = *state;
  uint8_t *data = malloc(100000);
  uint64_t expected = 0;
  rpc r;
  stream_begin(&r, f, PATH_GATHER, 20000);
  for (int i = 0; i < 200; i++) {
    size_t size = i % 5 == 0 ? 100000 : (size_t)i * 7; /* in several pieces, or in one */
    memset(data, i, 100000);
    expected += (uint64_t)(uint8_t)i * size;
    assert_true(rpc_send(&r, data, size));
  }
  rpc_half_close(&r);
  assert_true(rpc_receive(&r));
  assert_int_equal(r.size, sizeof expected);
  assert_memory_equal(r.data, &expected, sizeof expected);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  free(data);
  let_go(f);
}

/* A stream that ends at once: the status goes out with the headers. */
static void half_close_without_a_message(void **state) {
  fixture *f = *state;
  rpc r;
  stream_begin(&r, f, PATH_CHAT, 20000);
  rpc_half_close(&r);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  let_go(f);
}

static void cancel_closes(void **state) {
  fixture *f = *state;
  rpc r;
  stream_begin(&r, f, PATH_CHAT, -1);
  assert_true(rpc_send(&r, "x", 1));
  assert_true(rpc_receive(&r));
  transport_stream *s = fixture_stream(f, 1);
  assert_true(transport_stream_deadline_us(s) == INT64_MAX);
  assert_false(transport_stream_gone(s));
  rpc_cancel(&r);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_CANCELLED);
  rpc_free(&r);
  fixture_await(f, &f->closed, 1);
  assert_true(transport_stream_gone(s));
  let_go(f);
}

static void deadline_closes(void **state) {
  fixture *f = *state;
  rpc r;
  stream_begin(&r, f, PATH_CHAT, 200);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_DEADLINE_EXCEEDED);
  rpc_free(&r);
  let_go(f);
}

static void message_too_large(void **state) {
  fixture *f = *state;
  char *data = calloc(1, (4 << 20) + 1);
  rpc r;
  stream_begin(&r, f, PATH_CHAT, 20000);
  rpc_send(&r, data, (4 << 20) + 1);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_RESOURCE_EXHAUSTED);
  rpc_free(&r);
  free(data);
  let_go(f);
}

/* A client that does not read: the server's sends stop, and it holds no more
 * than what flow control has let out. When the client reads, all arrives. */
static void slow_reader_stops_the_sender(void **state) {
  fixture *f = *state;
  rpc r;
  stream_begin(&r, f, PATH_FLOOD, 60000);
  assert_true(rpc_send(&r, "go", 2));
  fixture_await(f, &f->opened, 1);
  while (f->flooded == 0)
    sched_yield();
  int sent = fixture_settled(&f->flooded);
  /* 1,000 messages are 64 MB. What the windows of HTTP/2 let out grows with the
   * bandwidth that the core measures, so the bound is generous. */
  assert_in_range(sent, 1, 200);
  int received = 0;
  while (rpc_receive(&r)) {
    assert_int_equal(r.size, FLOOD_BYTES);
    received++;
  }
  assert_int_equal(received, FLOOD_MESSAGES);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  let_go(f);
}

/* The other direction: the server reads when its own reply is through, so a
 * client that only sends is stopped as well. */
static void fast_sender_is_stopped(void **state) {
  fixture *f = *state;
  char *data = calloc(1, FLOOD_BYTES);
  rpc r;
  stream_begin(&r, f, PATH_CHAT, 60000);
  int sent = 0;
  while (sent < FLOOD_MESSAGES && rpc_try_send(&r, data, FLOOD_BYTES, 1000))
    sent++;
  assert_in_range(sent, 1, 400);
  int received = 0;
  while (received < sent + 1) { /* the one under way is taken on the way */
    assert_true(rpc_receive(&r));
    received++;
  }
  assert_true(rpc_try_send(&r, data, FLOOD_BYTES, RPC_WAIT_MS));
  rpc_half_close(&r);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  free(data);
  let_go(f);
}

/* --- Wakes and holds ----------------------------------------------------- */

#define WAKERS 4
#define WAKES 2000

static void *wake_run(void *argument) {
  fixture *f = argument;
  for (int i = 0; i < WAKES; i++) {
    f->number++;
    transport_stream_wake(f->stream);
  }
  return NULL;
}

/* Several wakes may come as one, but none is lost: the last number arrives. */
static void wakes_from_many_threads(void **state) {
  fixture *f = *state;
  rpc r;
  stream_begin(&r, f, PATH_LISTEN, 60000);
  fixture_await(f, &f->opened, 1);
  pthread_t threads[WAKERS];
  for (int i = 0; i < WAKERS; i++)
    pthread_create(&threads[i], NULL, wake_run, f);
  int last = 0;
  while (last < WAKERS * WAKES) {
    assert_true(rpc_receive(&r));
    char text[32] = "";
    memcpy(text, r.data, r.size < 31 ? r.size : 31);
    assert_true(atoi(text) > last);
    last = atoi(text);
  }
  assert_int_equal(last, WAKERS * WAKES);
  for (int i = 0; i < WAKERS; i++)
    pthread_join(threads[i], NULL);
  rpc_cancel(&r);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_CANCELLED);
  rpc_free(&r);
  let_go(f);
}

static void wakes_while_the_client_leaves(void **state) {
  fixture *f = *state;
  for (int round = 1; round <= 20; round++) {
    rpc r;
    stream_begin(&r, f, PATH_LISTEN, 60000);
    fixture_await(f, &f->opened, round);
    pthread_t thread;
    pthread_create(&thread, NULL, wake_run, f);
    assert_true(rpc_receive(&r));
    rpc_cancel(&r);
    rpc_end(&r);
    rpc_free(&r);
    pthread_join(thread, NULL);
    let_go_of(f, round);
  }
}

/* A stream that is held stays, and a drain waits for it. */
static void hold_outlives_the_stream(void **state) {
  fixture *f = *state;
  rpc r;
  stream_begin(&r, f, PATH_CHAT, -1);
  transport_stream *s = fixture_stream(f, 1);
  transport_stream_hold(s);
  rpc_cancel(&r);
  rpc_end(&r);
  rpc_free(&r);
  fixture_await(f, &f->closed, 1);
  transport_stream_wake(s); /* of no effect, and no harm */
  transport_stream_unhold(s);
  fixture_await(f, &f->released, 0);
  transport_figures figures;
  transport_get_figures(f->server, &figures);
  assert_int_equal(figures.streams_active, 1);
  let_go(f);
}

static void *drain_run(void *argument) {
  transport_drain(argument);
  return NULL;
}

static void drain_cancels_streams(void **state) {
  fixture *f = *state;
  f->options.drain_ms = 100;
  fixture_start(f);
  rpc r;
  stream_begin(&r, f, PATH_LISTEN, -1);
  fixture_await(f, &f->opened, 1);
  pthread_t drainer;
  pthread_create(&drainer, NULL, drain_run, f->server);
  assert_int_not_equal(rpc_end(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  let_go(f);
  pthread_join(drainer, NULL);
}

#define STARTED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define UNSTARTED(name) cmocka_unit_test_setup_teardown(name, setup_unstarted, teardown)

int main(void) {
  grpc_init();
  const struct CMUnitTest tests[] = {
      STARTED(echoes_until_half_close),
      STARTED(owner_reads_ahead),
      STARTED(half_close_without_a_message),
      STARTED(cancel_closes),
      STARTED(deadline_closes),
      STARTED(message_too_large),
      STARTED(slow_reader_stops_the_sender),
      STARTED(fast_sender_is_stopped),
      STARTED(wakes_from_many_threads),
      STARTED(wakes_while_the_client_leaves),
      STARTED(hold_outlives_the_stream),
      UNSTARTED(drain_cancels_streams),
  };
  int failed = cmocka_run_group_tests_name("transport_stream", tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
