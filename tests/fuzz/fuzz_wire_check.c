/* The wire check against any bytes. What it lets through must unpack with
 * protobuf-c, and the reader of that request must take it or refuse it with a
 * reason. The first byte of the input selects the request. */
#include <stdlib.h>
#include <string.h>

#include "record/record.h"
#include "wire/check.h"
#include "wire/internal.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_MAX (256 * 1024 * 1024)

typedef bool (*reader)(const uint8_t *data, size_t size, arena *a, error *e);

#define READER(name, type)                                                                       \
  static bool read_##name(const uint8_t *data, size_t size, arena *a, error *e) {                \
    type request;                                                                                \
    return wire_read_##name(data, size, a, &request, e);                                         \
  }
READER(create_session, wire_create_session)
READER(get_session, wire_scope)
READER(list_sessions, wire_list_sessions)
READER(update_session, wire_update_session)
READER(clear_session, wire_scope)
READER(delete_session, wire_scope)
READER(delete_sessions, wire_delete_sessions)
READER(clean_up, wire_clean_up)
READER(append, wire_append)
READER(ingest, wire_append)
READER(get, wire_get)
READER(list, wire_list)
READER(delete, wire_delete)
READER(replace, wire_replace)
READER(pop, wire_pop)
READER(get_stats, wire_get_stats)

/* An update that is taken is laid over what an append could have stored. */
static bool read_update(const uint8_t *data, size_t size, arena *a, error *e) {
  static const char body[] = "\1\0\x4A\3old";
  wire_update request;
  if (!wire_read_update(data, size, a, &request, e))
    return false;
  mneme_record old = {.id = {"i", 1}, .body = {body, sizeof body - 1}}, merged;
  record_seal(&old);
  return wire_merge_memory(&old, &request, 1, a, &merged, e);
}

static const struct {
  const ProtobufCMessageDescriptor *descriptor;
  reader read;
} requests[] = {
    {&mneme__v1__create_session_request__descriptor, read_create_session},
    {&mneme__v1__get_session_request__descriptor, read_get_session},
    {&mneme__v1__list_sessions_request__descriptor, read_list_sessions},
    {&mneme__v1__update_session_request__descriptor, read_update_session},
    {&mneme__v1__clear_session_request__descriptor, read_clear_session},
    {&mneme__v1__delete_session_request__descriptor, read_delete_session},
    {&mneme__v1__append_memories_request__descriptor, read_append},
    {&mneme__v1__ingest_memories_request__descriptor, read_ingest},
    {&mneme__v1__get_memories_request__descriptor, read_get},
    {&mneme__v1__list_memories_request__descriptor, read_list},
    {&mneme__v1__update_memory_request__descriptor, read_update},
    {&mneme__v1__delete_memories_request__descriptor, read_delete},
    {&mneme__v1__replace_memories_request__descriptor, read_replace},
    {&mneme__v1__pop_memories_request__descriptor, read_pop},
    {&mneme__v1__get_stats_request__descriptor, read_get_stats},
    {&mneme__v1__list_backends_request__descriptor, wire_read_list_backends},
    {&mneme__v1__delete_sessions_request__descriptor, read_delete_sessions},
    {&mneme__v1__clean_up_memories_request__descriptor, read_clean_up},
};
#define REQUESTS (sizeof requests / sizeof *requests)

/* A refusal says why, in strings that can be read. */
static void look_at(const error *e) {
  if ((e->code != CODE_INVALID_ARGUMENT && e->code != CODE_UNIMPLEMENTED) || e->reason == NULL ||
      strlen(e->reason) == 0 || e->message == NULL || strlen(e->message) == 0)
    abort();
  if (e->field != NULL && strncmp(e->message, e->field, strlen(e->field)) != 0)
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  wire_init();
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static arena a;
  if (size == 0)
    return 0;
  size_t which = data[0] % REQUESTS;
  const ProtobufCMessageDescriptor *d = requests[which].descriptor;
  data++;
  size--;
  arena_init(&a, ARENA_MAX);
  error e = {0}, again = {0};
  bool passed = check_message(d, data, size, &a, &e);
  if (passed) {
    ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, size, data);
    if (m == NULL || e.code != CODE_OK)
      abort();
    protobuf_c_message_free_unpacked(m, NULL);
  } else {
    look_at(&e);
  }
  if (!requests[which].read(data, size, &a, &again))
    look_at(&again);
  else if (!passed || again.code != CODE_OK)
    abort();
  arena_clear(&a);
  return 0;
}
