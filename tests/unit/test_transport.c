/* Unary calls and the server's life, through a client on the same core. Streams
 * are in test_transport_stream.c. */
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport_fixture.h"

static int setup(void **state) {
  fixture *f = malloc(sizeof *f);
  fixture_init(f);
  fixture_start(f);
  *state = f;
  return 0;
}

/* For tests that start the server themselves, with options of their own. */
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

static void expect(fixture *f, const char *path, const void *data, size_t size,
                   grpc_status_code status) {
  rpc r;
  if (rpc_unary(&r, f->channel, path, 10000, data, size) != status)
    fail_msg("%s: status %d instead of %d: %s", path, (int)r.status, (int)status, r.text);
  if (status == GRPC_STATUS_OK) {
    assert_int_equal(r.size, size);
    assert_memory_equal(r.data, data, size);
  }
  rpc_free(&r);
}

/* --- Messages ------------------------------------------------------------ */

static void echoes_of_every_size(void **state) {
  fixture *f = *state;
  static const size_t sizes[] = {0, 1, 15, 24, 200, 4096, 16384, 100000, 1000000, 4 << 20};
  char *data = malloc(4 << 20);
  for (size_t i = 0; i < 4 << 20; i++)
    data[i] = (char)(i * 31 >> 3);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    expect(f, PATH_ECHO, data, sizes[i], GRPC_STATUS_OK);
    expect(f, PATH_LATER, data, sizes[i], GRPC_STATUS_OK);
  }
  free(data);
}

static void message_one_byte_too_large(void **state) {
  fixture *f = *state;
  char *data = calloc(1, (4 << 20) + 1);
  expect(f, PATH_ECHO, data, (4 << 20) + 1, GRPC_STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(f->handled, 0);
  free(data);
}

static void message_larger_than_the_arena(void **state) {
  fixture *f = *state;
  f->options.arena_max = 100000;
  fixture_start(f);
  char *data = calloc(1, 1 << 20);
  expect(f, PATH_ECHO, data, 1 << 20, GRPC_STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(f->handled, 0);
  expect(f, PATH_ECHO, data, 1000, GRPC_STATUS_OK);
  free(data);
}

static void headers_without_a_message(void **state) {
  fixture *f = *state;
  rpc r;
  assert_int_equal(rpc_unary(&r, f->channel, PATH_ECHO, 10000, NULL, 0),
                   GRPC_STATUS_INVALID_ARGUMENT);
  rpc_free(&r);
  assert_int_equal(f->handled, 0);
}

static void headers_too_large(void **state) {
  fixture *f = *state;
  char *value = malloc(40001);
  memset(value, 'v', 40000);
  value[40000] = '\0';
  rpc r;
  rpc_begin(&r, f->channel, PATH_ECHO, 10000);
  rpc_unary_send(&r, "x", 1, "x-test", value);
  assert_int_equal(rpc_unary_wait(&r), GRPC_STATUS_RESOURCE_EXHAUSTED);
  rpc_free(&r);
  free(value);
  assert_int_equal(f->handled, 0);
  /* The core may close that connection. Others go on. */
  grpc_channel *other = channel_open(transport_port(f->server, 0));
  assert_int_equal(rpc_unary(&r, other, PATH_ECHO, 10000, "x", 1), GRPC_STATUS_OK);
  rpc_free(&r);
  grpc_channel_destroy(other);
}

static void header_of_a_call(void **state) {
  static const char value[] = "a value longer than a slice that is held inline";
  fixture *f = *state;
  rpc r;
  rpc_begin(&r, f->channel, PATH_ABOUT, 10000);
  rpc_unary_send(&r, "x", 1, "x-test", value);
  assert_int_equal(rpc_unary_wait(&r), GRPC_STATUS_OK);
  assert_int_equal(r.size, sizeof value - 1);
  assert_memory_equal(r.data, value, sizeof value - 1);
  rpc_free(&r);
}

static void arena_is_empty_on_reuse(void **state) {
  fixture *f = *state;
  for (int i = 0; i < 50; i++) {
    rpc r;
    assert_int_equal(rpc_unary(&r, f->channel, PATH_ARENA, 10000, "x", 1), GRPC_STATUS_OK);
    assert_int_equal(r.size, 1);
    assert_memory_equal(r.data, "0", 1);
    rpc_free(&r);
  }
}

/* --- Statuses ------------------------------------------------------------ */

static void status_with_details(void **state) {
  fixture *f = *state;
  rpc r;
  assert_int_equal(rpc_unary(&r, f->channel, PATH_FAIL, 10000, "\x08\x03\x00why", 6),
                   GRPC_STATUS_INVALID_ARGUMENT);
  assert_memory_equal(r.text, "failed: \x08\x03\x00why", 14);
  assert_int_equal(r.details_size, 6);
  assert_memory_equal(r.details, "\x08\x03\x00why", 6);
  rpc_free(&r);
}

static void status_is_cut(void **state) {
  fixture *f = *state;
  char data[TRANSPORT_DETAILS_MAX + 2];
  for (int odd = 0; odd < 2; odd++) {
    data[0] = 'x';
    for (size_t i = 0; i < sizeof data - 1; i++)
      data[i + (size_t)odd] = i % 2 == 0 ? '\xC3' : '\xA9';
    size_t size = TRANSPORT_DETAILS_MAX + (size_t)odd;
    rpc r;
    assert_int_equal(rpc_unary(&r, f->channel, PATH_FAIL, 10000, data, size),
                     GRPC_STATUS_INVALID_ARGUMENT);
    /* "failed: " as it is, then two-byte characters that take six each. */
    size_t plain = 8 + (size_t)odd;
    size_t characters = (TRANSPORT_MESSAGE_MAX - plain) / 6;
    assert_int_equal(strlen(r.text), plain + characters * 2);
    /* Details are sent whole or not at all. */
    assert_int_equal(r.details_size, odd ? 0 : TRANSPORT_DETAILS_MAX);
    rpc_free(&r);
  }
}

static void unknown_method(void **state) {
  fixture *f = *state;
  for (int i = 0; i < 10; i++) {
    rpc r;
    assert_int_equal(rpc_unary(&r, f->channel, PATH_NOWHERE, 10000, "x", 1),
                     GRPC_STATUS_UNIMPLEMENTED);
    assert_string_equal(r.text, "no method " PATH_NOWHERE);
    rpc_free(&r);
  }
}

/* --- Deadlines and cancels ----------------------------------------------- */

static void long_call_sees_a_cancel(void **state) {
  fixture *f = *state;
  rpc r;
  rpc_begin(&r, f->channel, PATH_SCAN, -1);
  rpc_unary_send(&r, "x", 1, NULL, NULL);
  transport_call *call = fixture_take(f);
  assert_true(transport_call_deadline_us(call) == INT64_MAX);
  assert_false(transport_call_gone(call));
  rpc_cancel(&r);
  assert_int_equal(rpc_unary_wait(&r), GRPC_STATUS_CANCELLED);
  for (int64_t end = clock_mono_us() + 10000000; !transport_call_gone(call);)
    assert_true(clock_mono_us() < end);
  fixture_reply(call, "nobody reads this");
  rpc_free(&r);
}

static void deadline_is_seen(void **state, const char *path) {
  fixture *f = *state;
  rpc r;
  int64_t start = clock_mono_us();
  rpc_begin(&r, f->channel, path, 300);
  rpc_unary_send(&r, "x", 1, NULL, NULL);
  transport_call *call = fixture_take(f);
  int64_t deadline = transport_call_deadline_us(call);
  assert_true(deadline > start + 200000);
  assert_true(deadline < start + 1000000);
  assert_int_equal(rpc_unary_wait(&r), GRPC_STATUS_DEADLINE_EXCEEDED);
  for (int64_t end = clock_mono_us() + 10000000; !transport_call_gone(call);)
    assert_true(clock_mono_us() < end);
  fixture_reply(call, "too late");
  rpc_free(&r);
}

static void long_call_sees_its_deadline(void **state) { deadline_is_seen(state, PATH_SCAN); }

static void short_call_sees_its_deadline(void **state) { deadline_is_seen(state, PATH_HOLD); }

/* --- Admission ----------------------------------------------------------- */

static void busy_above_calls_max(void **state) {
  fixture *f = *state;
  f->options.calls_max = 2;
  fixture_start(f);
  rpc held[2];
  transport_call *calls[2];
  for (int i = 0; i < 2; i++) {
    rpc_begin(&held[i], f->channel, i == 0 ? PATH_HOLD : PATH_SCAN, -1);
    rpc_unary_send(&held[i], "x", 1, NULL, NULL);
    calls[i] = fixture_take(f);
  }
  rpc r;
  assert_int_equal(rpc_unary(&r, f->channel, PATH_ECHO, 10000, "x", 1),
                   GRPC_STATUS_RESOURCE_EXHAUSTED);
  assert_string_equal(r.text, "busy");
  rpc_free(&r);
  rpc_begin(&r, f->channel, PATH_CHAT, 10000);
  rpc_open(&r);
  assert_false(rpc_receive(&r));
  assert_int_equal(rpc_end(&r), GRPC_STATUS_RESOURCE_EXHAUSTED);
  rpc_free(&r);
  expect(f, PATH_FREE, "x", 1, GRPC_STATUS_OK);
  transport_figures figures;
  transport_get_figures(f->server, &figures);
  assert_int_equal(figures.calls_refused, 2);
  assert_int_equal(figures.calls_started, 3);
  assert_int_equal(f->opened, 0);
  for (int i = 0; i < 2; i++) {
    fixture_reply(calls[i], "x");
    assert_int_equal(rpc_unary_wait(&held[i]), GRPC_STATUS_OK);
    rpc_free(&held[i]);
  }
  /* The client's reply may be here before the server has counted its end. */
  for (int64_t end = clock_mono_us() + 10000000; clock_mono_us() < end;) {
    transport_get_figures(f->server, &figures);
    if (figures.calls_active == 0)
      break;
  }
  expect(f, PATH_ECHO, "x", 1, GRPC_STATUS_OK);
}

/* --- Many at once -------------------------------------------------------- */

#define LOAD_THREADS 4
#define LOAD_CALLS 300

typedef struct load {
  fixture *f;
  pthread_t thread;
  bool until_refused; /* goes on until a call fails */
  int served;
  int failed;
  grpc_status_code last;
} load;

static void *load_run(void *argument) {
  load *l = argument;
  grpc_channel *channel = channel_open(transport_port(l->f->server, 0));
  for (int i = 0; l->until_refused || i < LOAD_CALLS; i++) {
    rpc r;
    l->last = rpc_unary(&r, channel, i % 2 ? PATH_ECHO : PATH_LATER, 20000, &i, sizeof i);
    bool same = r.size == sizeof i && memcmp(r.data, &i, sizeof i) == 0;
    rpc_free(&r);
    if (l->last == GRPC_STATUS_OK && same)
      l->served++;
    else
      l->failed++;
    if (l->failed > 0)
      break;
  }
  grpc_channel_destroy(channel);
  return NULL;
}

static void load_begin(load *loads, fixture *f, bool until_refused) {
  for (int i = 0; i < LOAD_THREADS; i++) {
    loads[i] = (load){.f = f, .until_refused = until_refused};
    assert_int_equal(pthread_create(&loads[i].thread, NULL, load_run, &loads[i]), 0);
  }
}

static void many_callers(void **state) {
  fixture *f = *state;
  load loads[LOAD_THREADS];
  load_begin(loads, f, false);
  for (int i = 0; i < LOAD_THREADS; i++) {
    pthread_join(loads[i].thread, NULL);
    assert_int_equal(loads[i].failed, 0);
  }
  assert_int_equal(f->handled, LOAD_THREADS * LOAD_CALLS);
}

/* --- The end ------------------------------------------------------------- */

static void *drain_run(void *argument) {
  transport_drain(argument);
  return NULL;
}

static void drain_lets_calls_finish(void **state) {
  fixture *f = *state;
  rpc r;
  rpc_begin(&r, f->channel, PATH_HOLD, -1);
  rpc_unary_send(&r, "x", 1, NULL, NULL);
  transport_call *call = fixture_take(f);
  pthread_t drainer;
  pthread_create(&drainer, NULL, drain_run, f->server);
  /* Drained servers refuse: that is how the test knows that it has begun. */
  for (grpc_status_code status = GRPC_STATUS_OK; status == GRPC_STATUS_OK;) {
    rpc probe;
    status = rpc_unary(&probe, f->channel, PATH_ECHO, 10000, "x", 1);
    rpc_free(&probe);
    assert_true(status == GRPC_STATUS_OK || status == GRPC_STATUS_UNAVAILABLE);
  }
  fixture_reply(call, "in time");
  assert_int_equal(rpc_unary_wait(&r), GRPC_STATUS_OK);
  assert_memory_equal(r.data, "in time", 7);
  rpc_free(&r);
  pthread_join(drainer, NULL);
}

static void drain_waits_for_slow_handlers(void **state) {
  fixture *f = *state;
  f->options.drain_ms = 50;
  fixture_start(f);
  rpc r;
  rpc_begin(&r, f->channel, PATH_HOLD, -1);
  rpc_unary_send(&r, "x", 1, NULL, NULL);
  transport_call *call = fixture_take(f);
  pthread_t drainer;
  pthread_create(&drainer, NULL, drain_run, f->server);
  /* Past its grace the drain cancels what is left, and the client hears of it. */
  assert_int_not_equal(rpc_unary_wait(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  assert_int_equal(arena_alloc(transport_call_arena(call), 10) == NULL, 0);
  transport_figures figures;
  transport_get_figures(f->server, &figures);
  assert_int_equal(figures.calls_active, 1);
  fixture_reply(call, "late");
  pthread_join(drainer, NULL);
}

static void hurry_ends_the_grace(void **state) {
  fixture *f = *state;
  f->options.drain_ms = 10 * RPC_WAIT_MS;
  fixture_start(f);
  rpc r;
  rpc_begin(&r, f->channel, PATH_HOLD, -1);
  rpc_unary_send(&r, "x", 1, NULL, NULL);
  transport_call *call = fixture_take(f);
  pthread_t drainer;
  pthread_create(&drainer, NULL, drain_run, f->server);
  transport_hurry(f->server);
  assert_int_not_equal(rpc_unary_wait(&r), GRPC_STATUS_OK);
  rpc_free(&r);
  fixture_reply(call, "late");
  pthread_join(drainer, NULL);
}

/* Every call that a handler saw was answered, and the others know that nothing
 * was done: UNAVAILABLE, never CANCELLED. */
static void drain_under_load(void **state) {
  fixture *f = *state;
  load loads[LOAD_THREADS];
  load_begin(loads, f, true);
  while (f->handled < 500)
    sched_yield();
  transport_drain(f->server);
  int served = 0;
  for (int i = 0; i < LOAD_THREADS; i++) {
    pthread_join(loads[i].thread, NULL);
    served += loads[i].served;
    assert_int_equal(loads[i].last, GRPC_STATUS_UNAVAILABLE);
  }
  assert_int_equal(f->handled, served);
}

/* --- Opening ------------------------------------------------------------- */

static void second_server_on_the_port(void **state) {
  fixture *f = *state;
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%d", transport_port(f->server, 0));
  transport_options options = f->options;
  options.listen[0] = address;
  char error[256];
  assert_null(transport_open(&options, f->methods, 1, error, sizeof error));
  assert_non_null(strstr(error, address));
  /* One address free and one taken. */
  options.listen[0] = "127.0.0.1:0";
  options.listen[1] = address;
  options.listen_count = 2;
  assert_null(transport_open(&options, f->methods, 1, error, sizeof error));
  assert_non_null(strstr(error, address));
  expect(f, PATH_ECHO, "x", 1, GRPC_STATUS_OK);
}

static void two_servers_in_one_process(void **state) {
  fixture *f = *state;
  fixture *g = malloc(sizeof *g);
  fixture_init(g);
  fixture_start(g);
  expect(f, PATH_ECHO, "f", 1, GRPC_STATUS_OK);
  expect(g, PATH_ECHO, "g", 1, GRPC_STATUS_OK);
  fixture_stop(g);
  free(g);
  expect(f, PATH_ECHO, "f", 1, GRPC_STATUS_OK);
}

static void unix_socket(void **state) {
  fixture *f = *state;
  char address[64];
  snprintf(address, sizeof address, "unix:/tmp/mneme-test-%d.sock", (int)getpid());
  f->options.listen[1] = address;
  f->options.listen_count = 2;
  fixture_start(f);
  grpc_channel *channel = channel_open_target(address);
  rpc r;
  assert_int_equal(rpc_unary(&r, channel, PATH_ECHO, 10000, "x", 1), GRPC_STATUS_OK);
  rpc_free(&r);
  grpc_channel_destroy(channel);
}

static void options_out_of_range(void **state) {
  fixture *f = *state;
  char error[256];
  transport_options options = f->options;
  options.queues = 65;
  assert_null(transport_open(&options, f->methods, 1, error, sizeof error));
  assert_string_equal(error, "queues is 65 and must be between 1 and 64");
  options.queues = 1;
  options.slots = 0;
  assert_null(transport_open(&options, f->methods, 1, error, sizeof error));
  options = f->options;
  options.listen[0] = "no such address";
  assert_null(transport_open(&options, f->methods, 1, error, sizeof error));
  assert_non_null(strstr(error, "no such address"));
  options = f->options;
  transport_method twice[2] = {f->methods[0], f->methods[0]};
  assert_null(transport_open(&options, twice, 2, error, sizeof error));
  assert_non_null(strstr(error, "registered twice"));
  assert_null(transport_open(&options, f->methods, 0, error, sizeof error));
}

#define STARTED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define UNSTARTED(name) cmocka_unit_test_setup_teardown(name, setup_unstarted, teardown)

int main(void) {
  grpc_init();
  const struct CMUnitTest tests[] = {
      STARTED(echoes_of_every_size),
      STARTED(message_one_byte_too_large),
      UNSTARTED(message_larger_than_the_arena),
      STARTED(headers_without_a_message),
      STARTED(headers_too_large),
      STARTED(header_of_a_call),
      STARTED(arena_is_empty_on_reuse),
      STARTED(status_with_details),
      STARTED(status_is_cut),
      STARTED(unknown_method),
      STARTED(long_call_sees_a_cancel),
      STARTED(long_call_sees_its_deadline),
      STARTED(short_call_sees_its_deadline),
      UNSTARTED(busy_above_calls_max),
      STARTED(many_callers),
      STARTED(drain_lets_calls_finish),
      UNSTARTED(drain_waits_for_slow_handlers),
      UNSTARTED(hurry_ends_the_grace),
      STARTED(drain_under_load),
      STARTED(second_server_on_the_port),
      STARTED(two_servers_in_one_process),
      UNSTARTED(unix_socket),
      STARTED(options_out_of_range),
  };
  int failed = cmocka_run_group_tests_name("transport", tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
