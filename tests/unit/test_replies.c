/* Replies on their way out: packed, and parsed again with protobuf-c as a client
 * would. Bodies are hung on messages as unknown fields; a client must see them as
 * the fields that they are, byte for byte. */
#include <stdbool.h>
#include <stdlib.h>

#include "cmocka_test.h"
#include "mneme/v1/error_reason.pb-c.h"
#include "wire/internal.h"

static arena shared;

static int begin(void **state) {
  (void)state;
  arena_init(&shared, 64 * 1024 * 1024);
  wire_init();
  return 0;
}

static int end(void **state) {
  (void)state;
  arena_clear(&shared);
  return 0;
}

#define TEXT(s) ((mneme_bytes){(s), sizeof(s) - 1})
static const mneme_bytes none = {NULL, 0};

/* Packs the reply into memory of exactly its size, as the transport does. */
static void *parse(const ProtobufCMessageDescriptor *d, const wire_message *m) {
  assert_non_null(m);
  size_t size = wire_size(m);
  uint8_t *out = malloc(size + 1); /* not the arena: the sanitizer sees a byte too many */
  assert_non_null(out);
  wire_pack(m, out + 1);
  ProtobufCAllocator allocator = wire_allocator(&shared);
  ProtobufCMessage *back = protobuf_c_message_unpack(d, &allocator, size, out + 1);
  free(out);
  assert_non_null(back);
  assert_int_equal(back->n_unknown_fields, 0);
  return back;
}

/* --- Records ------------------------------------------------------------- */

/* content, a part and metadata, as an append packs them. */
static mneme_bytes body_of(const char *content, bool with_more) {
  pb_memory m = MNEME__V1__MEMORY__INIT;
  Mneme__V1__Part part = MNEME__V1__PART__INIT, *parts = &part;
  pb_struct s = GOOGLE__PROTOBUF__STRUCT__INIT;
  pb_entry entry = GOOGLE__PROTOBUF__STRUCT__FIELDS_ENTRY__INIT, *entries = &entry;
  pb_value value = GOOGLE__PROTOBUF__VALUE__INIT;
  m.content = (char *)content;
  if (with_more) {
    part.mime_type = (char *)"application/json";
    part.value_case = MNEME__V1__PART__VALUE_JSON;
    part.json = (char *)"{\"exact\": 9007199254740993}";
    m.parts = &parts;
    m.n_parts = 1;
    value.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
    value.bool_value = 1;
    entry.key = (char *)"k";
    entry.value = &value;
    s.fields = &entries;
    s.n_fields = 1;
    m.metadata = &s;
  }
  mneme_bytes b;
  assert_true(wire_pack_bytes(&shared, &m.base, &b));
  return b;
}

static mneme_record record_of(mneme_bytes body) {
  return (mneme_record){
      .sequence = 3,
      .revision = 5,
      .create_us = INT64_C(1700000000123456),
      .update_us = INT64_C(1700000001000000),
      .access_us = INT64_C(1700000002000001),
      .access_count = 4,
      .id = TEXT("id-1"),
      .key = TEXT("key-1"),
      .kind = TEXT("fact"),
      .role = TEXT("user"),
      .author = TEXT("Bob"),
      .source = TEXT("chat"),
      .tier = 2,
      .pinned = true,
      .has_importance = true,
      .importance = 0, /* set to zero, which is not unset */
      .token_count = 0,
      .ttl_us = 1500000,
      .event_us = -1,
      .expire_us = INT64_C(1700000003000000),
      .body = body,
  };
}

static void is_time(const Google__Protobuf__Timestamp *t, int64_t seconds, int32_t nanos) {
  assert_non_null(t);
  assert_int_equal(t->seconds, seconds);
  assert_int_equal(t->nanos, nanos);
}

/* What the body of a parsed memory is, packed anew. */
static mneme_bytes body_again(const pb_memory *m) {
  pb_memory only = MNEME__V1__MEMORY__INIT;
  only.content = m->content;
  only.parts = m->parts;
  only.n_parts = m->n_parts;
  only.metadata = m->metadata;
  mneme_bytes b;
  assert_true(wire_pack_bytes(&shared, &only.base, &b));
  return b;
}

static void bodies_come_back_byte_for_byte(void **state) {
  (void)state;
  mneme_bytes bodies[] = {body_of("My name is Bob", false), body_of("", false),
                          body_of("text", true), body_of("", true)};
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    /* Borrowed while it is added, as from a backend's emit. */
    char *borrowed = malloc(bodies[i].size + 1);
    memcpy(borrowed, bodies[i].data, bodies[i].size);
    mneme_record r = record_of((mneme_bytes){borrowed, bodies[i].size});
    wire_memories list;
    assert_true(wire_memories_init(&list, &shared, 1));
    assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
    memset(borrowed, 'x', bodies[i].size);
    free(borrowed);
    Mneme__V1__ListMemoriesResponse *back =
        parse(&mneme__v1__list_memories_response__descriptor, wire_list_reply(&shared, &list, "", NULL, 0));
    assert_int_equal(back->n_memories, 1);
    mneme_bytes again = body_again(back->memories[0]);
    assert_int_equal(again.size, bodies[i].size);
    if (again.size > 0)
      assert_memory_equal(again.data, bodies[i].data, again.size);
  }
}

static void a_memory_shows_all_of_its_record(void **state) {
  (void)state;
  mneme_record r = record_of(body_of("text", true));
  wire_memories list;
  assert_true(wire_memories_init(&list, &shared, 1));
  assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
  Mneme__V1__ListMemoriesResponse *back =
      parse(&mneme__v1__list_memories_response__descriptor, wire_list_reply(&shared, &list, "t", NULL, 0));
  assert_string_equal(back->next_page_token, "t");
  const pb_memory *m = back->memories[0];
  assert_string_equal(m->id, "id-1");
  assert_int_equal(m->sequence, 3);
  assert_string_equal(m->key, "key-1");
  assert_string_equal(m->kind, "fact");
  assert_string_equal(m->role, "user");
  assert_string_equal(m->author, "Bob");
  assert_string_equal(m->source, "chat");
  assert_int_equal(m->tier, 2);
  assert_string_equal(m->content, "text");
  assert_string_equal(m->parts[0]->json, "{\"exact\": 9007199254740993}");
  assert_true(m->metadata->fields[0]->value->bool_value);
  assert_int_equal(m->_importance_case, 12);
  assert_true(m->importance == 0);
  assert_true(m->pinned);
  assert_int_equal(m->ttl->seconds, 1);
  assert_int_equal(m->ttl->nanos, 500000000);
  assert_int_equal(m->_token_count_case, 17);
  assert_int_equal(m->token_count, 0);
  is_time(m->event_time, -1, 999999000);
  is_time(m->create_time, 1700000000, 123456000);
  is_time(m->update_time, 1700000001, 0);
  is_time(m->last_access_time, 1700000002, 1000);
  is_time(m->expire_time, 1700000003, 0);
  assert_int_equal(m->access_count, 4);
  assert_int_equal(m->revision, 5);
}

static void what_a_record_has_not_is_not_shown(void **state) {
  (void)state;
  mneme_record r = {.sequence = 1, .id = TEXT("i"), .event_us = MNEME_NO_EVENT};
  wire_memories list;
  assert_true(wire_memories_init(&list, &shared, 1));
  assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
  Mneme__V1__ListMemoriesResponse *back =
      parse(&mneme__v1__list_memories_response__descriptor, wire_list_reply(&shared, &list, "", NULL, 0));
  const pb_memory *m = back->memories[0];
  assert_int_equal(m->_importance_case, 0);
  assert_null(m->ttl);
  assert_null(m->event_time);
  assert_null(m->last_access_time);
  assert_null(m->expire_time);
  assert_null(m->metadata);
  assert_string_equal(m->content, "");
  r.event_us = 0; /* a day that a memory may tell of */
  assert_true(wire_memories_init(&list, &shared, 1));
  assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
  back =
      parse(&mneme__v1__list_memories_response__descriptor, wire_list_reply(&shared, &list, "", NULL, 0));
  is_time(back->memories[0]->event_time, 0, 0);
}

static void a_reply_ends_before_its_limit(void **state) {
  (void)state;
  mneme_record r = record_of(body_of("0123456789", false));
  wire_memories list;
  assert_true(wire_memories_init(&list, &shared, 100));
  assert_int_equal(wire_memories_add(&list, &shared, &r, 1), WIRE_ADDED); /* one fits always */
  size_t one = list.bytes;
  assert_int_equal(wire_memories_add(&list, &shared, &r, 2 * one - 1), WIRE_FULL);
  assert_int_equal(list.count, 1);
  assert_int_equal(list.bytes, one);
  assert_int_equal(wire_memories_add(&list, &shared, &r, 2 * one), WIRE_ADDED);
  for (int i = 2; i < 100; i++)
    assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
  assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_FULL); /* max */
  assert_int_equal(list.count, 100);
  assert_true(wire_size(wire_list_reply(&shared, &list, "", NULL, 0)) <= list.bytes);
  static arena small;
  arena_init(&small, 0);
  arena_alloc(&small, ARENA_FIRST_BYTES);
  list.count = 0;
  assert_int_equal(wire_memories_add(&list, &small, &r, 0), WIRE_NO_MEMORY);
  arena_clear(&small);
}

static void pages_are_turned_round(void **state) {
  (void)state;
  for (int count = 0; count < 6; count++) {
    wire_memories list;
    assert_true(wire_memories_init(&list, &shared, 6));
    for (int i = 0; i < count; i++) {
      mneme_record r = record_of(none);
      r.sequence = i;
      assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
    }
    wire_memories_reverse(&list);
    Mneme__V1__ListMemoriesResponse *back = parse(
        &mneme__v1__list_memories_response__descriptor, wire_list_reply(&shared, &list, "", NULL, 0));
    for (int i = 0; i < count; i++)
      assert_int_equal(back->memories[i]->sequence, count - 1 - i);
  }
}

static void get_says_what_is_missing(void **state) {
  (void)state;
  wire_memories list;
  assert_true(wire_memories_init(&list, &shared, 1));
  mneme_record r = record_of(body_of("x", false));
  assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
  const mneme_bytes ids[] = {TEXT("a"), TEXT("b")}, keys[] = {TEXT("k")}, more[] = {TEXT("m")};
  Mneme__V1__GetMemoriesResponse *back =
      parse(&mneme__v1__get_memories_response__descriptor,
            wire_get_reply(&shared, &list, ids, 2, keys, 1, more, 1));
  assert_int_equal(back->n_memories, 1);
  assert_int_equal(back->n_missing_ids, 2);
  assert_string_equal(back->missing_ids[1], "b");
  assert_string_equal(back->missing_keys[0], "k");
  assert_string_equal(back->not_returned[0], "m");
  back = parse(&mneme__v1__get_memories_response__descriptor,
               wire_get_reply(&shared, &list, NULL, 0, NULL, 0, NULL, 0));
  assert_int_equal(back->n_missing_ids + back->n_missing_keys + back->n_not_returned, 0);
}

/* --- Writes -------------------------------------------------------------- */

static mneme_header header_of(void) {
  mneme_header h = {.ns = TEXT("tenant"),
                    .session = TEXT("a/b"),
                    .revision = 11,
                    .settings_revision = 2,
                    .last_sequence = 30,
                    .memory_count = 20,
                    .token_count = 400,
                    .create_us = 1000000,
                    .update_us = 2000000};
  for (int i = 0; i < 16; i++)
    h.uid.bytes[i] = (uint8_t)(i * 17);
  return h;
}
#define UID "00112233-4455-6677-8899-aabbccddeeff"

static void is_session(const Mneme__V1__SessionRef *s) {
  assert_non_null(s);
  assert_string_equal(s->session, "a/b");
  assert_string_equal(s->uid, UID);
  assert_int_equal(s->revision, 11);
  assert_int_equal(s->settings_revision, 2);
  assert_int_equal(s->last_sequence, 30);
  assert_int_equal(s->memory_count, 20);
}

static const mneme_ref refs[] = {{TEXT("one"), 29, 11, true}, {TEXT("two"), 30, 10, false}};

static mneme_written written(void) {
  return (mneme_written){.header = header_of(),
                         .deduplicated = true,
                         .existed = true,
                         .truncated = true,
                         .refs = refs,
                         .ref_count = 2,
                         .removed_count = 6,
                         .evicted_count = 7};
}

static void is_refs(Mneme__V1__MemoryRef *const *m, size_t count) {
  assert_int_equal(count, 2);
  assert_string_equal(m[0]->id, "one");
  assert_int_equal(m[0]->sequence, 29);
  assert_int_equal(m[0]->revision, 11);
  assert_true(m[0]->created);
  assert_string_equal(m[1]->id, "two");
  assert_false(m[1]->created);
}

static void writes_answer_references_and_the_session(void **state) {
  (void)state;
  mneme_written w = written();
  mneme_bytes session = TEXT("a/b");
  Mneme__V1__AppendMemoriesResponse *append =
      parse(&mneme__v1__append_memories_response__descriptor,
            wire_append_reply(&shared, &w, session));
  is_refs(append->memories, append->n_memories);
  is_session(append->session);
  assert_int_equal(append->evicted_count, 7);
  assert_int_equal(append->deleted_count, 6);
  assert_true(append->deduplicated);

  Mneme__V1__ReplaceMemoriesResponse *replace =
      parse(&mneme__v1__replace_memories_response__descriptor,
            wire_replace_reply(&shared, &w, session));
  is_refs(replace->memories, replace->n_memories);
  is_session(replace->session);
  assert_int_equal(replace->deleted_count, 6);
  assert_int_equal(replace->evicted_count, 7);
  assert_true(replace->deduplicated);

  const mneme_bytes ids[] = {TEXT("one")};
  Mneme__V1__DeleteMemoriesResponse *deleted =
      parse(&mneme__v1__delete_memories_response__descriptor,
            wire_delete_reply(&shared, &w, session, ids, 1, "t"));
  assert_int_equal(deleted->deleted_count, 6);
  assert_string_equal(deleted->ids[0], "one");
  assert_string_equal(deleted->resume_token, "t");
  is_session(deleted->session);
  assert_true(deleted->deduplicated);

  wire_memories list;
  assert_true(wire_memories_init(&list, &shared, 1));
  mneme_record r = record_of(body_of("popped", false));
  assert_int_equal(wire_memories_add(&list, &shared, &r, 0), WIRE_ADDED);
  Mneme__V1__PopMemoriesResponse *popped =
      parse(&mneme__v1__pop_memories_response__descriptor,
            wire_pop_reply(&shared, &w, &list, session));
  assert_string_equal(popped->memories[0]->content, "popped");
  is_session(popped->session);
  assert_true(popped->truncated && popped->deduplicated);

  w.ref_count = 1;
  Mneme__V1__UpdateMemoryResponse *update =
      parse(&mneme__v1__update_memory_response__descriptor,
            wire_update_reply(&shared, &w, session));
  assert_string_equal(update->memory->id, "one");
  is_session(update->session);
  assert_true(update->deduplicated);
}

static void writes_of_sessions_answer_the_session(void **state) {
  (void)state;
  mneme_written w = written();
  mneme_bytes session = TEXT("a/b");
  Mneme__V1__CreateSessionResponse *create =
      parse(&mneme__v1__create_session_response__descriptor,
            wire_create_session_reply(&shared, &w, session));
  is_session(create->session);
  assert_true(create->deduplicated);
  Mneme__V1__UpdateSessionResponse *update =
      parse(&mneme__v1__update_session_response__descriptor,
            wire_update_session_reply(&shared, &w, session));
  is_session(update->session);
  assert_true(update->deduplicated);
  Mneme__V1__ClearSessionResponse *clear =
      parse(&mneme__v1__clear_session_response__descriptor,
            wire_clear_session_reply(&shared, &w, session));
  is_session(clear->session);
  assert_int_equal(clear->deleted_count, 6);
  assert_true(clear->deduplicated);
  Mneme__V1__DeleteSessionResponse *deleted =
      parse(&mneme__v1__delete_session_response__descriptor,
            wire_delete_session_reply(&shared, &w));
  assert_true(deleted->existed && deleted->deduplicated);
  assert_int_equal(deleted->deleted_count, 6);
}

static void a_session_that_is_not_there_is_an_empty_reference(void **state) {
  (void)state;
  mneme_written w = {.removed_count = 0};
  Mneme__V1__DeleteMemoriesResponse *back =
      parse(&mneme__v1__delete_memories_response__descriptor,
            wire_delete_reply(&shared, &w, TEXT("a/b"), NULL, 0, ""));
  assert_non_null(back->session);
  assert_string_equal(back->session->session, "");
  assert_string_equal(back->session->uid, "");
}

/* --- Ingest and errors --------------------------------------------------- */

static error sample_error(void) {
  error e = {0};
  error_set(&e, &shared, CODE_ABORTED, "REVISION_MISMATCH", "expected_revision", "read %s",
            "again");
  e.retry_us = 1500000;
  error_add(&e, "current_revision", "7");
  error_add(&e, "session", "a/b");
  return e;
}

static void ingest_answers_an_append_or_an_error(void **state) {
  (void)state;
  mneme_written w = written();
  Mneme__V1__IngestMemoriesResponse *back =
      parse(&mneme__v1__ingest_memories_response__descriptor,
            wire_ingest_reply(&shared, 5, wire_append_reply(&shared, &w, TEXT("a/b")), NULL));
  assert_int_equal(back->index, 5);
  assert_int_equal(back->result_case, MNEME__V1__INGEST_MEMORIES_RESPONSE__RESULT_APPEND);
  is_refs(back->append->memories, back->append->n_memories);

  error e = sample_error();
  back = parse(&mneme__v1__ingest_memories_response__descriptor,
               wire_ingest_reply(&shared, 6, NULL, &e));
  assert_int_equal(back->index, 6);
  assert_int_equal(back->result_case, MNEME__V1__INGEST_MEMORIES_RESPONSE__RESULT_ERROR);
  assert_int_equal(back->error->code, CODE_ABORTED);
  assert_string_equal(back->error->message, "read again");
  assert_string_equal(back->error->reason, "REVISION_MISMATCH");
  assert_string_equal(back->error->field, "expected_revision");
  assert_int_equal(back->error->retry_delay->seconds, 1);
  assert_int_equal(back->error->retry_delay->nanos, 500000000);
  assert_int_equal(back->error->n_metadata, 2);
  assert_string_equal(back->error->metadata[1]->key, "session");
  assert_string_equal(back->error->metadata[1]->value, "a/b");

  error bare = {.code = CODE_INTERNAL, .reason = "INTERNAL", .message = "m"};
  back = parse(&mneme__v1__ingest_memories_response__descriptor,
               wire_ingest_reply(&shared, 7, NULL, &bare));
  assert_string_equal(back->error->field, "");
  assert_null(back->error->retry_delay);
}

static void *unpack_any(const Google__Protobuf__Any *any, const char *type,
                        const ProtobufCMessageDescriptor *d) {
  assert_string_equal(any->type_url, type);
  ProtobufCAllocator allocator = wire_allocator(&shared);
  void *m = protobuf_c_message_unpack(d, &allocator, any->value.len, any->value.data);
  assert_non_null(m);
  return m;
}

static Google__Rpc__Status *status_of(const error *e) {
  mneme_bytes b = wire_status(&shared, e);
  assert_true(b.size > 0);
  ProtobufCAllocator allocator = wire_allocator(&shared);
  Google__Rpc__Status *s =
      google__rpc__status__unpack(&allocator, b.size, (const uint8_t *)b.data);
  assert_non_null(s);
  assert_int_equal(s->code, e->code);
  assert_string_equal(s->message, e->message);
  return s;
}

static void a_status_has_its_details(void **state) {
  (void)state;
  error e = sample_error();
  Google__Rpc__Status *s = status_of(&e);
  assert_int_equal(s->n_details, 3);
  Google__Rpc__ErrorInfo *info = unpack_any(
      s->details[0], "type.googleapis.com/google.rpc.ErrorInfo", &google__rpc__error_info__descriptor);
  assert_string_equal(info->reason, "REVISION_MISMATCH");
  assert_string_equal(info->domain, "mneme");
  assert_int_equal(info->n_metadata, 2);
  assert_string_equal(info->metadata[0]->key, "current_revision");
  assert_string_equal(info->metadata[0]->value, "7");
  Google__Rpc__BadRequest *bad =
      unpack_any(s->details[1], "type.googleapis.com/google.rpc.BadRequest",
                 &google__rpc__bad_request__descriptor);
  assert_string_equal(bad->field_violations[0]->field, "expected_revision");
  assert_string_equal(bad->field_violations[0]->description, "read again");
  Google__Rpc__RetryInfo *retry = unpack_any(
      s->details[2], "type.googleapis.com/google.rpc.RetryInfo", &google__rpc__retry_info__descriptor);
  assert_int_equal(retry->retry_delay->seconds, 1);
  error bare = {.code = CODE_NOT_FOUND, .reason = "SESSION_NOT_FOUND", .message = "m"};
  assert_int_equal(status_of(&bare)->n_details, 1);
}

static void every_status_of_a_backend_has_a_documented_reason(void **state) {
  (void)state;
  for (int status = MNEME_OK + 1; status < MNEME_STATUS_COUNT + 2; status++)
    for (int repeatable = 0; repeatable < 2; repeatable++) {
      error e = {0};
      error_from_status(&e, &shared, (mneme_status)status, repeatable, "store");
      assert_true(e.code > CODE_OK && e.code <= CODE_DATA_LOSS);
      char *name = arena_printf(&shared, "ERROR_REASON_%s", e.reason);
      assert_non_null(
          protobuf_c_enum_descriptor_get_value_by_name(&mneme__v1__error_reason__descriptor, name));
      assert_null(strchr(e.message, '%'));
      status_of(&e);
      if (status == MNEME_UNCERTAIN) {
        assert_int_equal(e.code, repeatable ? CODE_UNAVAILABLE : CODE_UNKNOWN);
        assert_int_equal(e.retry_us > 0, repeatable);
      }
    }
  error e = {0};
  error_from_status(&e, &shared, MNEME_OK, true, "store");
  assert_int_equal(e.code, CODE_OK);
}

/* The first error stays; a fifth value is left out; a long text is cut. */
static void an_error_keeps_what_came_first(void **state) {
  (void)state;
  error e = {0};
  assert_false(error_invalid(&e, &shared, "REQUIRED", "a", "%02000d", 1));
  assert_in_range(strlen(e.message), 512, 1999);
  assert_false(error_set(&e, &shared, CODE_INTERNAL, "INTERNAL", NULL, "later"));
  error_no_memory(&e);
  error_from_status(&e, &shared, MNEME_DOWN, true, "store");
  assert_string_equal(e.reason, "REQUIRED");
  assert_string_equal(e.field, "a");
  static const char *const keys[] = {"1", "2", "3", "4", "5"};
  error_add(&e, "0", NULL); /* nothing to say */
  for (int i = 0; i < 5; i++)
    error_add(&e, keys[i], "v");
  assert_int_equal(e.metadata_count, ERROR_METADATA_MAX);
}

/* All that are down are named, and a list that is too long says that it is cut. */
static void backends_that_are_down_are_named(void **state) {
  (void)state;
  char names[64][65];
  const char *list[64];
  error e = {0};
  for (int i = 0; i < 64; i++) {
    memset(names[i], 'a' + i % 26, 64);
    names[i][64] = '\0';
    list[i] = names[i];
  }
  error_backends_down(&e, &shared, (const char *[]){"one", "two"}, 2);
  assert_int_equal(e.code, CODE_UNAVAILABLE);
  assert_string_equal(e.reason, "BACKEND_DOWN");
  assert_non_null(strstr(e.message, "backends one,two cannot be reached"));
  assert_string_equal(e.metadata[0].value, "one,two");
  assert_true(e.retry_us > 0);
  for (size_t count = 1; count <= 64; count++) {
    e = (error){0};
    error_backends_down(&e, &shared, list, count);
    size_t size = strlen(e.metadata[0].value), whole = count * 65 - 1;
    if (whole + sizeof ",..." <= ERROR_NAMES_MAX) {
      assert_int_equal(size, whole);
    } else {
      assert_true(size < ERROR_NAMES_MAX);
      assert_string_equal(e.metadata[0].value + size - 4, ",...");
      assert_int_equal((size - 4) % 65, 64); /* no name is cut */
    }
  }
}

/* --- Sessions and upkeep ------------------------------------------------- */

static mneme_bytes settings_of(void) {
  static const wire_label labels[] = {{TEXT("env"), TEXT("prod")}};
  wire_settings s = {.has_policy = true,
                     .policy = {.set = 1u << POLICY_MAX_MEMORIES, .max_memories = 9},
                     .labels = labels,
                     .label_count = 1};
  error e = {0};
  mneme_bytes b;
  assert_true(wire_pack_settings(&s, &shared, &b, &e));
  return b;
}

static const policy rule = {.set = 1u << POLICY_EVICT_ABOVE | 1u << POLICY_TTL,
                            .evict_above = 500,
                            .ttl_us = 60000000};

static void is_whole_session(const Mneme__V1__Session *s) {
  assert_string_equal(s->namespace_, "tenant");
  assert_string_equal(s->id, "a/b");
  assert_string_equal(s->uid, UID);
  assert_string_equal(s->backend, "store");
  assert_int_equal(s->policy->max_memories, 9);
  assert_null(s->policy->ttl);
  assert_int_equal(s->n_labels, 1);
  assert_string_equal(s->labels[0]->value, "prod");
  assert_null(s->metadata);
  /* The override replaces the rule's limit and leaves its ttl. */
  assert_int_equal(s->effective_policy->max_memories, 9);
  assert_int_equal(s->effective_policy->_evict_above_case, 0);
  assert_int_equal(s->effective_policy->ttl->seconds, 60);
  assert_int_equal(s->memory_count, 20);
  assert_int_equal(s->token_count, 400);
  assert_int_equal(s->last_sequence, 30);
  assert_int_equal(s->revision, 11);
  assert_int_equal(s->settings_revision, 2);
  is_time(s->create_time, 1, 0);
  is_time(s->update_time, 2, 0);
}

static void sessions_show_their_settings(void **state) {
  (void)state;
  error e = {0};
  mneme_header h = header_of();
  h.settings = settings_of();
  Mneme__V1__GetSessionResponse *get =
      parse(&mneme__v1__get_session_response__descriptor,
            wire_get_session_reply(&shared, &h, "store", &rule, &e));
  is_whole_session(get->session);
  assert_null(get->session->expire_time);
  h.expire_us = 3000000;
  wire_session_list *list = wire_session_list_new(&shared, 2);
  size_t size = wire_session_list_add(list, &shared, &h, "store", &rule, &e);
  size += wire_session_list_add(list, &shared, &h, "store", &rule, &e);
  static const char *const down[] = {"cache"};
  const wire_message *reply = wire_list_sessions_reply(list, &shared, "next", down, 1);
  assert_true(wire_size(reply) <= size + 2 + strlen("next") + 2 + strlen("cache"));
  Mneme__V1__ListSessionsResponse *back =
      parse(&mneme__v1__list_sessions_response__descriptor, reply);
  assert_int_equal(back->n_sessions, 2);
  is_whole_session(back->sessions[1]);
  is_time(back->sessions[0]->expire_time, 3, 0);
  assert_string_equal(back->next_page_token, "next");
  assert_string_equal(back->unavailable_backends[0], "cache");
}

static void a_session_without_settings_has_the_rules_policy(void **state) {
  (void)state;
  error e = {0};
  mneme_header h = header_of();
  Mneme__V1__GetSessionResponse *get =
      parse(&mneme__v1__get_session_response__descriptor,
            wire_get_session_reply(&shared, &h, "store", &rule, &e));
  assert_null(get->session->policy);
  assert_int_equal(get->session->effective_policy->evict_above, 500);
}

/* Damage is no want of memory: nothing that the caller could send less of. */
static void damaged_settings_are_data_loss(void **state) {
  (void)state;
  mneme_header h = header_of();
  mneme_bytes whole = settings_of();
  char *bytes = arena_copy(&shared, whole.data, whole.size);
  wire_session_list *list = wire_session_list_new(&shared, 1);
  for (size_t i = 0; i < whole.size; i++) {
    error e = {0}, listed = {0};
    bytes[i] ^= 4;
    h.settings = mneme_bytes_of(bytes, whole.size);
    assert_null(wire_get_session_reply(&shared, &h, "store", &rule, &e));
    assert_int_equal(wire_session_list_add(list, &shared, &h, "store", &rule, &listed), 0);
    bytes[i] ^= 4;
    const error *both[] = {&e, &listed};
    for (int k = 0; k < 2; k++) {
      assert_int_equal(both[k]->code, CODE_DATA_LOSS);
      assert_string_equal(both[k]->reason, "CORRUPT");
      assert_non_null(strstr(both[k]->message, "\"a/b\" on backend store"));
    }
  }
  error e = {0};
  assert_non_null(wire_get_session_reply(&shared, &h, "store", &rule, &e));
}

static void stats_and_backends(void **state) {
  (void)state;
  mneme_stats s = {1, 2, 3, INT64_MAX};
  static const char *const down[] = {"a", "b"};
  Mneme__V1__GetStatsResponse *stats =
      parse(&mneme__v1__get_stats_response__descriptor, wire_get_stats_reply(&shared, &s, down, 2));
  assert_int_equal(stats->session_count, 1);
  assert_int_equal(stats->memory_count, 2);
  assert_int_equal(stats->token_count, 3);
  assert_true(stats->byte_count == INT64_MAX);
  assert_int_equal(stats->n_unavailable_backends, 2);

  const wire_backend backends[] = {
      {"local", "dict", "In memory.", MNEME_CAP_NB_COMMIT | MNEME_CAP_NB_READ,
       MNEME_DURABILITY_NONE, true, NULL},
      {"disk", "other", "", MNEME_CAP_DURABLE | MNEME_CAP_SHARED, MNEME_DURABILITY_FULL, false,
       "connection refused"},
  };
  Mneme__V1__ListBackendsResponse *list = parse(&mneme__v1__list_backends_response__descriptor,
                                                wire_list_backends_reply(&shared, backends, 2));
  assert_int_equal(list->n_backends, 2);
  const Mneme__V1__Backend *one = list->backends[0], *two = list->backends[1];
  assert_string_equal(one->name, "local");
  assert_string_equal(one->type, "dict");
  assert_int_equal(one->durability, MNEME__V1__DURABILITY__DURABILITY_NONE);
  assert_int_equal(one->n_capabilities, 2);
  assert_string_equal(one->capabilities[0], "NB_COMMIT");
  assert_int_equal(one->health, MNEME__V1__BACKEND_HEALTH__BACKEND_HEALTH_SERVING);
  assert_string_equal(one->health_message, "");
  assert_int_equal(two->durability, MNEME__V1__DURABILITY__DURABILITY_FULL);
  assert_string_equal(two->capabilities[1], "SHARED");
  assert_int_equal(two->health, MNEME__V1__BACKEND_HEALTH__BACKEND_HEALTH_NOT_SERVING);
  assert_string_equal(two->health_message, "connection refused");
}

/* --- No memory ----------------------------------------------------------- */

static void no_memory_is_null_and_nothing_worse(void **state) {
  (void)state;
  mneme_header h = header_of();
  h.settings = settings_of();
  mneme_written w = written();
  error e = sample_error();
  error refusal = {0};
  static arena small;
  for (size_t left = 0; left < 2048; left += 16) {
    const wire_message *replies[4];
    for (int i = 0; i < 4; i++) {
      arena_init(&small, 0);
      arena_alloc(&small, ARENA_FIRST_BYTES - left);
      replies[0] = i == 0 ? wire_append_reply(&small, &w, TEXT("a/b")) : NULL;
      replies[1] = i == 1 ? wire_get_session_reply(&small, &h, "store", &rule, &refusal) : NULL;
      replies[2] = i == 2 ? wire_ingest_reply(&small, 1, NULL, &e) : NULL;
      mneme_bytes status = i == 3 ? wire_status(&small, &e) : none;
      assert_true(status.size == 0 || status.size == wire_status(&shared, &e).size);
      for (int j = 0; j < 3; j++)
        if (replies[j] != NULL)
          assert_true(wire_size(replies[j]) > 0);
      arena_clear(&small);
    }
  }
  assert_string_equal(refusal.reason, "NO_MEMORY");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(bodies_come_back_byte_for_byte),
      TEST(a_memory_shows_all_of_its_record),
      TEST(what_a_record_has_not_is_not_shown),
      TEST(a_reply_ends_before_its_limit),
      TEST(pages_are_turned_round),
      TEST(get_says_what_is_missing),
      TEST(writes_answer_references_and_the_session),
      TEST(writes_of_sessions_answer_the_session),
      TEST(a_session_that_is_not_there_is_an_empty_reference),
      TEST(ingest_answers_an_append_or_an_error),
      TEST(a_status_has_its_details),
      TEST(every_status_of_a_backend_has_a_documented_reason),
      TEST(an_error_keeps_what_came_first),
      TEST(backends_that_are_down_are_named),
      TEST(sessions_show_their_settings),
      TEST(damaged_settings_are_data_loss),
      TEST(a_session_without_settings_has_the_rules_policy),
      TEST(stats_and_backends),
      TEST(no_memory_is_null_and_nothing_worse),
  };
  return cmocka_run_group_tests_name("replies", tests, NULL, NULL);
}
