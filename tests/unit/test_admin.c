/* Health and reflection: the index by itself, the rest through a client. */
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "admin/files.h"
#include "cmocka_test.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc_client.h"
#include "mneme_descriptor_set.h"

#define CHECK "/grpc.health.v1.Health/Check"
#define LIST "/grpc.health.v1.Health/List"
#define WATCH "/grpc.health.v1.Health/Watch"
#define INFO "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define INFO_ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

static mneme_bytes text(const char *s) { return (mneme_bytes){s, strlen(s)}; }

/* --- The index ----------------------------------------------------------- */

static void files_are_found(void **state) {
  (void)state;
  files *f = files_new(mneme_descriptor_set, mneme_descriptor_set_size);
  assert_non_null(f);
  int types = files_by_name(f, text("mneme/v1/types.proto"));
  int service = files_by_name(f, text("mneme/v1/memory_backend.proto"));
  assert_true(types >= 0 && service >= 0 && types != service);
  static const char *const in_types[] = {"mneme.v1.Memory", "mneme.v1.Memory.content",
                                         "mneme.v1.Part"};
  for (size_t i = 0; i < sizeof in_types / sizeof in_types[0]; i++)
    assert_int_equal(files_by_symbol(f, text(in_types[i])), types);
  assert_int_equal(files_by_symbol(f, text("mneme.v1.MemoryBackend")), service);
  assert_int_equal(files_by_symbol(f, text("mneme.v1.MemoryBackend.AppendMemories")), service);
  int value = files_by_symbol(f, text("google.protobuf.NULL_VALUE"));
  assert_int_equal(value, files_by_name(f, text("google/protobuf/struct.proto")));
  assert_int_equal(files_by_symbol(f, text("mneme.v1.Nothing")), -1);
  assert_int_equal(files_by_symbol(f, text("")), -1);
  assert_int_equal(files_by_name(f, text("mneme/v1/types.prot")), -1);
  files_free(f);
}

static void closure_sends_each_file_once(void **state) {
  (void)state;
  files *f = files_new(mneme_descriptor_set, mneme_descriptor_set_size);
  mneme_bytes out[FILES_MAX];
  files_set sent = 0;
  int service = files_by_name(f, text("mneme/v1/memory_backend.proto"));
  size_t all = files_closure(f, service, &sent, out);
  assert_true(all > 3);
  /* Again: the file itself, and none of its imports. */
  assert_int_equal(files_closure(f, service, &sent, out), 1);
  sent = 0;
  assert_int_equal(files_closure(f, files_by_name(f, text("google/protobuf/struct.proto")), &sent,
                                 out), 1);
  assert_int_equal(files_closure(f, service, &sent, out), all - 1);
  files_free(f);
}

/* Under the address sanitizer: no cut and no flipped byte makes it read beyond. */
static void damaged_sets_are_refused(void **state) {
  (void)state;
  size_t size = mneme_descriptor_set_size;
  for (size_t cut = 1; cut < size; cut += cut < 600 ? 1 : 997) {
    uint8_t *copy = malloc(size - cut);
    memcpy(copy, mneme_descriptor_set, size - cut);
    files_free(files_new(copy, size - cut));
    free(copy);
  }
  uint8_t *copy = malloc(size);
  memcpy(copy, mneme_descriptor_set, size);
  for (size_t i = 0; i < size; i += i < 2000 ? 1 : 97) {
    copy[i] ^= 0x5A;
    files_free(files_new(copy, size));
    copy[i] = 0xFF;
    files_free(files_new(copy, size));
    copy[i] = mneme_descriptor_set[i];
  }
  free(copy);
}

/* --- A server ------------------------------------------------------------ */

typedef struct world {
  admin *admin;
  transport_method methods[ADMIN_METHODS];
  transport_options options;
  transport *server;
  grpc_channel *channel;
} world;

static int setup(void **state) {
  world *w = calloc(1, sizeof *w);
  w->admin = admin_new();
  assert_non_null(w->admin);
  w->options = (transport_options){
      .listen = {"127.0.0.1:0"},
      .listen_count = 1,
      .queues = 2,
      .slots = 4,
      .receive_max = 4 << 20,
      .metadata_max = 16384,
      .streams_per_connection_max = 2000,
      .calls_max = 1,
      .arena_max = 1 << 20,
      .keepalive_ms = 30000,
      .keepalive_timeout_ms = 10000,
      .drain_ms = 20000,
  };
  size_t count = admin_methods(w->admin, w->methods);
  char error[256];
  w->server = transport_open(&w->options, w->methods, count, error, sizeof error);
  assert_non_null(w->server);
  w->channel = channel_open(transport_port(w->server, 0));
  assert_true(admin_set_health(w->admin, "", true));
  assert_true(admin_set_health(w->admin, "backend/local", false));
  *state = w;
  return 0;
}

static int teardown(void **state) {
  world *w = *state;
  grpc_channel_destroy(w->channel);
  admin_shut_down(w->admin);
  transport_drain(w->server);
  transport_close(w->server);
  admin_free(w->admin);
  free(w);
  return 0;
}

static size_t health_request(const char *service, uint8_t *out) {
  Grpc__Health__V1__HealthCheckRequest m = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  m.service = (char *)service;
  return grpc__health__v1__health_check_request__pack(&m, out);
}

static int health_status(const rpc *r) {
  Grpc__Health__V1__HealthCheckResponse *m =
      grpc__health__v1__health_check_response__unpack(NULL, r->size, r->data);
  assert_non_null(m);
  int status = (int)m->status;
  grpc__health__v1__health_check_response__free_unpacked(m, NULL);
  return status;
}

/* --- Health -------------------------------------------------------------- */

static void check(world *w, const char *service, grpc_status_code code, int status) {
  uint8_t request[8192];
  rpc r;
  size_t size = health_request(service, request);
  assert_int_equal(rpc_unary(&r, w->channel, CHECK, 10000, request, size), code);
  if (code == GRPC_STATUS_OK)
    assert_int_equal(health_status(&r), status);
  rpc_free(&r);
}

static void check_answers(void **state) {
  world *w = *state;
  check(w, "", GRPC_STATUS_OK, 1);
  check(w, "backend/local", GRPC_STATUS_OK, 2);
  check(w, "nobody", GRPC_STATUS_NOT_FOUND, 0);
  check(w, "invalid \xC3(", GRPC_STATUS_INVALID_ARGUMENT, 0);
  char name[5000];
  memset(name, 'n', sizeof name);
  name[256] = '\0';
  check(w, name, GRPC_STATUS_NOT_FOUND, 0);
  name[256] = 'n';
  name[257] = '\0';
  check(w, name, GRPC_STATUS_INVALID_ARGUMENT, 0);
  name[257] = 'n';
  name[4999] = '\0';
  check(w, name, GRPC_STATUS_INVALID_ARGUMENT, 0);
  rpc r;
  assert_int_equal(rpc_unary(&r, w->channel, CHECK, 10000, "\x0A\x7F", 2),
                   GRPC_STATUS_INVALID_ARGUMENT);
  rpc_free(&r);
  admin_set_health(w->admin, "backend/local", true);
  check(w, "backend/local", GRPC_STATUS_OK, 1);
}

static void list_answers(void **state) {
  world *w = *state;
  rpc r;
  assert_int_equal(rpc_unary(&r, w->channel, LIST, 10000, "", 0), GRPC_STATUS_OK);
  Grpc__Health__V1__HealthListResponse *m =
      grpc__health__v1__health_list_response__unpack(NULL, r.size, r.data);
  assert_non_null(m);
  assert_int_equal(m->n_statuses, 2);
  assert_string_equal(m->statuses[0]->key, "");
  assert_int_equal(m->statuses[0]->value->status, 1);
  assert_string_equal(m->statuses[1]->key, "backend/local");
  assert_int_equal(m->statuses[1]->value->status, 2);
  grpc__health__v1__health_list_response__free_unpacked(m, NULL);
  rpc_free(&r);
}

static void names_are_limited(void **state) {
  world *w = *state;
  char name[300];
  int set = 0;
  for (int i = 0; i < ADMIN_NAMES_MAX; i++) {
    snprintf(name, sizeof name, "backend/%d", i);
    set += admin_set_health(w->admin, name, true);
  }
  assert_int_equal(set, ADMIN_NAMES_MAX - 2);
  assert_true(admin_set_health(w->admin, "backend/0", false));
  rpc r;
  assert_int_equal(rpc_unary(&r, w->channel, LIST, 10000, "", 0), GRPC_STATUS_OK);
  rpc_free(&r);
}

static void watch_begin(rpc *r, world *w, const char *service) {
  uint8_t request[512];
  rpc_begin(r, w->channel, WATCH, 60000);
  rpc_open(r);
  assert_true(rpc_send(r, request, health_request(service, request)));
}

static void watch_tells_changes(void **state) {
  world *w = *state;
  rpc r;
  watch_begin(&r, w, "backend/local");
  assert_true(rpc_receive(&r));
  assert_int_equal(health_status(&r), 2);
  admin_set_health(w->admin, "backend/other", true); /* none of its business */
  admin_set_health(w->admin, "backend/local", true);
  assert_true(rpc_receive(&r));
  assert_int_equal(health_status(&r), 1);
  admin_set_health(w->admin, "backend/local", false);
  assert_true(rpc_receive(&r));
  assert_int_equal(health_status(&r), 2);
  rpc_cancel(&r);
  rpc_end(&r);
  rpc_free(&r);
}

static void watch_of_an_unknown_name_goes_on(void **state) {
  world *w = *state;
  rpc r;
  watch_begin(&r, w, "later");
  assert_true(rpc_receive(&r));
  assert_int_equal(health_status(&r), 3);
  admin_set_health(w->admin, "later", true);
  assert_true(rpc_receive(&r));
  assert_int_equal(health_status(&r), 1);
  rpc_half_close(&r);
  rpc_cancel(&r);
  rpc_end(&r);
  rpc_free(&r);
}

static void watch_without_a_request(void **state) {
  world *w = *state;
  rpc r;
  rpc_begin(&r, w->channel, WATCH, 60000);
  rpc_open(&r);
  rpc_half_close(&r);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_INVALID_ARGUMENT);
  rpc_free(&r);
}

static void watch_ends_at_shutdown(void **state) {
  world *w = *state;
  rpc r;
  watch_begin(&r, w, "");
  assert_true(rpc_receive(&r));
  assert_int_equal(health_status(&r), 1);
  admin_shut_down(w->admin);
  admin_set_health(w->admin, "", true); /* too late */
  assert_true(rpc_receive(&r));
  assert_int_equal(health_status(&r), 2);
  assert_false(rpc_receive(&r));
  assert_int_equal(rpc_end(&r), GRPC_STATUS_UNAVAILABLE);
  rpc_free(&r);
}

static void *flicker_run(void *argument) {
  world *w = argument;
  for (int i = 0; i < 2000; i++)
    admin_set_health(w->admin, "flicker", i % 2 == 0);
  admin_set_health(w->admin, "flicker", true);
  admin_set_health(w->admin, "flicker", false);
  admin_set_health(w->admin, "done", true);
  return NULL;
}

/* Watchers come and go while two threads set statuses. */
static void watchers_under_change(void **state) {
  world *w = *state;
  pthread_t threads[2];
  for (int i = 0; i < 2; i++)
    pthread_create(&threads[i], NULL, flicker_run, w);
  for (int i = 0; i < 30; i++) {
    rpc r;
    watch_begin(&r, w, "flicker");
    assert_true(rpc_receive(&r));
    rpc_cancel(&r);
    rpc_end(&r);
    rpc_free(&r);
  }
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  check(w, "flicker", GRPC_STATUS_OK, 2);
}

static void watchers_are_limited(void **state) {
  world *w = *state;
  rpc *all = calloc(ADMIN_WATCHERS_MAX, sizeof *all);
  for (int i = 0; i < ADMIN_WATCHERS_MAX; i++) {
    watch_begin(&all[i], w, "");
    assert_true(rpc_receive(&all[i]));
  }
  rpc r;
  watch_begin(&r, w, "");
  assert_false(rpc_receive(&r));
  assert_int_equal(rpc_end(&r), GRPC_STATUS_RESOURCE_EXHAUSTED);
  rpc_free(&r);
  check(w, "", GRPC_STATUS_OK, 1);
  for (int i = 0; i < ADMIN_WATCHERS_MAX; i++) {
    rpc_cancel(&all[i]);
    rpc_end(&all[i]);
    rpc_free(&all[i]);
  }
  free(all);
}

/* --- Reflection ---------------------------------------------------------- */

typedef Grpc__Reflection__V1__ServerReflectionRequest request;
typedef Grpc__Reflection__V1__ServerReflectionResponse response;

#define ASK(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##member
#define GOT(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##member

static response *ask(rpc *r, const request *m) {
  uint8_t bytes[1024];
  size_t size = grpc__reflection__v1__server_reflection_request__pack(m, bytes);
  assert_true(rpc_send(r, bytes, size));
  assert_true(rpc_receive(r));
  response *answer =
      grpc__reflection__v1__server_reflection_response__unpack(NULL, r->size, r->data);
  assert_non_null(answer);
  assert_string_equal(answer->valid_host, "here");
  assert_int_equal(answer->original_request->message_request_case, m->message_request_case);
  return answer;
}

static void done(response *answer) {
  grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
}

static void expect_files(rpc *r, request *m, int count_min, int count_max) {
  response *answer = ask(r, m);
  assert_int_equal(answer->message_response_case, GOT(FILE_DESCRIPTOR_RESPONSE));
  int count = (int)answer->file_descriptor_response->n_file_descriptor_proto;
  assert_true(count >= count_min && count <= count_max);
  done(answer);
}

static void expect_error(rpc *r, request *m, int code) {
  response *answer = ask(r, m);
  assert_int_equal(answer->message_response_case, GOT(ERROR_RESPONSE));
  assert_int_equal(answer->error_response->error_code, code);
  done(answer);
}

static void reflection_answers(world *w, const char *path) {
  rpc r;
  rpc_begin(&r, w->channel, path, 60000);
  rpc_open(&r);
  request m = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
  m.host = (char *)"here";
  m.message_request_case = ASK(LIST_SERVICES);
  m.list_services = (char *)"*";
  response *answer = ask(&r, &m);
  assert_int_equal(answer->message_response_case, GOT(LIST_SERVICES_RESPONSE));
  assert_int_equal(answer->list_services_response->n_service, 4);
  assert_string_equal(answer->list_services_response->service[3]->name, "mneme.v1.MemoryBackend");
  done(answer);
  m.message_request_case = ASK(FILE_CONTAINING_SYMBOL);
  m.file_containing_symbol = (char *)"mneme.v1.MemoryBackend";
  expect_files(&r, &m, 4, FILES_MAX);
  expect_files(&r, &m, 1, 1);
  m.file_containing_symbol = (char *)"mneme.v1.Nothing";
  expect_error(&r, &m, GRPC_STATUS_NOT_FOUND);
  m.message_request_case = ASK(FILE_BY_FILENAME);
  m.file_by_filename = (char *)"grpc/health/v1/health.proto";
  expect_files(&r, &m, 1, 1);
  m.message_request_case = ASK(ALL_EXTENSION_NUMBERS_OF_TYPE);
  m.all_extension_numbers_of_type = (char *)"mneme.v1.Memory";
  expect_error(&r, &m, GRPC_STATUS_NOT_FOUND);
  Grpc__Reflection__V1__ExtensionRequest extension =
      GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
  extension.containing_type = (char *)"mneme.v1.Memory";
  extension.extension_number = 1;
  m.message_request_case = ASK(FILE_CONTAINING_EXTENSION);
  m.file_containing_extension = &extension;
  expect_error(&r, &m, GRPC_STATUS_NOT_FOUND);
  m.message_request_case = ASK(_NOT_SET);
  expect_error(&r, &m, GRPC_STATUS_INVALID_ARGUMENT);
  rpc_half_close(&r);
  assert_false(rpc_receive(&r));
  assert_int_equal(rpc_end(&r), GRPC_STATUS_OK);
  rpc_free(&r);
}

static void both_reflections_answer(void **state) {
  reflection_answers(*state, INFO);
  reflection_answers(*state, INFO_ALPHA);
}

static void malformed_reflection_request(void **state) {
  world *w = *state;
  rpc r;
  rpc_begin(&r, w->channel, INFO, 60000);
  rpc_open(&r);
  assert_true(rpc_send(&r, "\x22\x02\xC3\x28", 4));
  assert_int_equal(rpc_end(&r), GRPC_STATUS_INVALID_ARGUMENT);
  rpc_free(&r);
}

static void reflections_are_limited(void **state) {
  world *w = *state;
  rpc *all = calloc(ADMIN_REFLECTIONS_MAX, sizeof *all);
  request m = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
  m.host = (char *)"here";
  m.message_request_case = ASK(LIST_SERVICES);
  m.list_services = (char *)"";
  for (int i = 0; i < ADMIN_REFLECTIONS_MAX; i++) {
    rpc_begin(&all[i], w->channel, i % 2 ? INFO : INFO_ALPHA, 60000);
    rpc_open(&all[i]);
    done(ask(&all[i], &m));
  }
  rpc r;
  rpc_begin(&r, w->channel, INFO, 60000);
  rpc_open(&r);
  assert_int_equal(rpc_end(&r), GRPC_STATUS_RESOURCE_EXHAUSTED);
  rpc_free(&r);
  for (int i = 0; i < ADMIN_REFLECTIONS_MAX; i++) {
    rpc_cancel(&all[i]);
    rpc_end(&all[i]);
    rpc_free(&all[i]);
  }
  free(all);
}

#define SERVED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  grpc_init();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_are_found),
      cmocka_unit_test(closure_sends_each_file_once),
      cmocka_unit_test(damaged_sets_are_refused),
      SERVED(check_answers),
      SERVED(list_answers),
      SERVED(names_are_limited),
      SERVED(watch_tells_changes),
      SERVED(watch_of_an_unknown_name_goes_on),
      SERVED(watch_without_a_request),
      SERVED(watch_ends_at_shutdown),
      SERVED(watchers_under_change),
      SERVED(watchers_are_limited),
      SERVED(both_reflections_answer),
      SERVED(malformed_reflection_request),
      SERVED(reflections_are_limited),
  };
  int failed = cmocka_run_group_tests_name("admin", tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
