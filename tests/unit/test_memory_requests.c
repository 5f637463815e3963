/* Requests of memories on their way in: from bytes to plain structs and records,
 * with their defaults, and each reason to refuse one with its field. test_check has
 * the bytes that no client sends. */
#include "requests.h"

/* --- Memories on their way in -------------------------------------------- */

/* memories: room for as many as a test needs. */
static void append_with(Mneme__V1__AppendMemoriesRequest *m, pb_memory *one) {
  mneme__v1__append_memories_request__init(m);
  m->memories = arena_alloc(&shared, sizeof *m->memories);
  m->memories[0] = one;
  m->n_memories = 1;
}

/* What the body of a record holds, unpacked again. */
static pb_memory *body_of(const mneme_record *r) {
  assert_true(r->body.size >= 2);
  assert_memory_equal(r->body.data, "\1\0", 2);
  ProtobufCAllocator allocator = wire_allocator(&shared);
  pb_memory *m = mneme__v1__memory__unpack(&allocator, r->body.size - 2,
                                           (const uint8_t *)r->body.data + 2);
  assert_non_null(m);
  return m;
}

static void append_by_default(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  wire_append ret;
  append_with(&m, memory_new("My name is Bob"));
  ACCEPTED(append, &m, &ret);
  is_default_scope(&ret.scope, "default");
  assert_int_equal(ret.memory_count, 1);
  assert_int_equal(ret.on_conflict, 0);
  assert_false(ret.session_must_exist || ret.has_patch);
  assert_int_equal(ret.delete_key_count, 0);
  const wire_memory *w = &ret.memories[0];
  const mneme_record *r = &w->record;
  IS(r->id, "");
  IS(r->key, "");
  IS(r->kind, "");
  IS(r->role, "");
  assert_int_equal(r->tier, 0);
  assert_false(r->pinned || r->has_importance || w->token_count_given);
  assert_int_equal(r->token_count, 6); /* (13 * 4 + 9) / 10 */
  assert_int_equal(r->ttl_us, 0);
  assert_int_equal(r->expire_us, 0);
  assert_true(r->event_us == MNEME_NO_EVENT);
  assert_int_equal(w->carried, 1 << 9);
  pb_memory *body = body_of(r);
  assert_string_equal(body->content, "My name is Bob");
  assert_int_equal(body->n_parts, 0);
  assert_null(body->metadata);
}

static pb_memory *full_memory(void) {
  pb_memory *one = memory_new("text");
  one->id = (char *)"id-1";
  one->key = (char *)"key-1";
  one->kind = (char *)"fact";
  one->role = (char *)"user";
  one->author = (char *)"Bob";
  one->source = (char *)"chat";
  one->tier = MNEME__V1__TIER__TIER_LONG_TERM;
  one->parts = arena_alloc(&shared, 2 * sizeof *one->parts);
  one->parts[0] = part_new("image/png");
  one->parts[0]->value_case = MNEME__V1__PART__VALUE_DATA;
  one->parts[0]->data = (ProtobufCBinaryData){3, (uint8_t *)"\0\xFF\1"};
  one->parts[0]->caption = (char *)"a cat";
  one->parts[1] = part_new("application/json");
  one->parts[1]->value_case = MNEME__V1__PART__VALUE_JSON;
  one->parts[1]->json = (char *)"{\"n\": 12345678901234567890}";
  one->n_parts = 2;
  one->metadata = metadata("k", "v");
  OPTIONAL(one, importance, 0.25);
  one->pinned = 1;
  one->ttl = lasting(3600, 500000);
  OPTIONAL(one, token_count, 99);
  one->event_time = at(-1, 999999999);
  return one;
}

static void append_with_everything(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  wire_append ret;
  append_with(&m, full_memory());
  SCOPE(&m);
  OPTIONAL(&m, expected_revision, 4);
  m.on_conflict = MNEME__V1__ON_CONFLICT__ON_CONFLICT_REPLACE;
  m.session_must_exist = 1;
  char *keys[] = {"gone", "gone too"};
  m.delete_keys = keys;
  m.n_delete_keys = 2;
  m.session_metadata_patch = metadata("p", NULL);
  ACCEPTED(append, &m, &ret);
  is_full_scope(&ret.scope, 4);
  assert_int_equal(ret.on_conflict, MNEME_CONFLICT_REPLACE);
  assert_true(ret.session_must_exist && ret.has_patch);
  assert_int_equal(ret.delete_key_count, 2);
  IS(ret.delete_keys[1], "gone too");
  assert_int_equal(ret.patch.size, packed(m.session_metadata_patch).size);
  const mneme_record *r = &ret.memories[0].record;
  IS(r->id, "id-1");
  IS(r->key, "key-1");
  IS(r->kind, "fact");
  IS(r->role, "user");
  IS(r->author, "Bob");
  IS(r->source, "chat");
  assert_int_equal(r->tier, 3);
  assert_true(r->pinned && r->has_importance);
  assert_true(r->importance == 0.25);
  assert_int_equal(r->ttl_us, 3600000500);
  assert_int_equal(r->token_count, 99);
  assert_true(ret.memories[0].token_count_given);
  assert_int_equal(r->event_us, -1); /* truncated to microseconds, downwards */
  pb_memory *body = body_of(r);
  assert_string_equal(body->content, "text");
  assert_int_equal(body->n_parts, 2);
  assert_int_equal(body->parts[0]->data.len, 3);
  assert_memory_equal(body->parts[0]->data.data, "\0\xFF\1", 3);
  assert_string_equal(body->parts[1]->json, "{\"n\": 12345678901234567890}");
  assert_non_null(body->metadata);
  /* Nothing but the three: the rest is in typed fields. */
  assert_string_equal(body->id, "");
  assert_string_equal(body->role, "");
  assert_int_equal(body->_importance_case, 0);
  assert_null(body->ttl);
}

static void explicit_values_that_are_zero_count(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  wire_append ret;
  pb_memory *one = memory_new("two words");
  OPTIONAL(one, importance, 0);
  OPTIONAL(one, token_count, 0);
  one->event_time = at(0, 0);
  append_with(&m, one);
  ACCEPTED(append, &m, &ret);
  const mneme_record *r = &ret.memories[0].record;
  assert_true(r->has_importance && r->importance == 0);
  assert_int_equal(r->token_count, 0);
  assert_true(ret.memories[0].token_count_given);
  assert_int_equal(r->event_us, 0);
}

static void a_memory_needs_content_a_part_or_a_key(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  wire_append ret;
  append_with(&m, memory_new(""));
  REFUSED(append, &m, &ret, "REQUIRED", "memories[0].content");
  pb_memory *keyed = memory_new("");
  keyed->key = (char *)"k";
  append_with(&m, keyed);
  ACCEPTED(append, &m, &ret);
  assert_int_equal(ret.memories[0].record.body.size, 2); /* nothing at all in the body */
  pb_memory *parted = memory_new("");
  Mneme__V1__Part *part = part_new("a/b");
  parted->parts = &part;
  parted->n_parts = 1;
  append_with(&m, parted);
  ACCEPTED(append, &m, &ret);
}

static void equal_metadata_makes_equal_bodies(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  wire_append one, two;
  pb_memory *sorted = memory_new("x"), *shuffled = memory_new("x");
  pb_struct *a = metadata("a", "1"), *b = metadata("b", "2"), *old = metadata("a", "old");
  pb_entry *in_order[] = {a->fields[0], b->fields[0]};
  pb_entry *out_of_order[] = {old->fields[0], b->fields[0], a->fields[0]};
  sorted->metadata = metadata("", "");
  sorted->metadata->fields = in_order;
  sorted->metadata->n_fields = 2;
  shuffled->metadata = metadata("", "");
  shuffled->metadata->fields = out_of_order;
  shuffled->metadata->n_fields = 3;
  append_with(&m, sorted);
  ACCEPTED(append, &m, &one);
  append_with(&m, shuffled);
  ACCEPTED(append, &m, &two);
  mneme_bytes x = one.memories[0].record.body, y = two.memories[0].record.body;
  assert_int_equal(x.size, y.size);
  assert_memory_equal(x.data, y.data, x.size);
}

static void append_refuses_memories(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  wire_append ret;
#define MEMORY(change, why, where)                                                               \
  do {                                                                                           \
    pb_memory *one = memory_new("text");                                                         \
    change;                                                                                      \
    mneme__v1__append_memories_request__init(&m);                                                \
    pb_memory *both[] = {memory_new("fine"), one};                                               \
    m.memories = both;                                                                           \
    m.n_memories = 2;                                                                            \
    REFUSED(append, &m, &ret, why, where);                                                       \
  } while (0)
  MEMORY(OPTIONAL(one, importance, -0.001), "INVALID_VALUE", "memories[1].importance");
  MEMORY(OPTIONAL(one, importance, 1.001), "INVALID_VALUE", "memories[1].importance");
  MEMORY(OPTIONAL(one, token_count, -1), "INVALID_VALUE", "memories[1].token_count");
  MEMORY(OPTIONAL(one, token_count, INT64_C(1) << 31), "INVALID_VALUE",
         "memories[1].token_count");
  MEMORY(one->tier = (Mneme__V1__Tier)4, "INVALID_VALUE", "memories[1].tier");
  MEMORY(one->tier = (Mneme__V1__Tier)-1, "INVALID_VALUE", "memories[1].tier");
  MEMORY(one->ttl = lasting(0, 0), "INVALID_VALUE", "memories[1].ttl");
  MEMORY(one->ttl = lasting(INT64_C(100) * 365 * 86400 + 1, 0), "INVALID_VALUE",
         "memories[1].ttl");
  MEMORY(one->event_time = at(INT64_C(253402300800), 0), "INVALID_VALUE",
         "memories[1].event_time");
  MEMORY(one->event_time = at(INT64_C(-62135596801), 0), "INVALID_VALUE",
         "memories[1].event_time");
  MEMORY(one->event_time = at(INT64_MIN, 0), "INVALID_VALUE", "memories[1].event_time");
  MEMORY(one->event_time = at(0, -1), "INVALID_VALUE", "memories[1].event_time");
  MEMORY(one->event_time = at(0, 1000000000), "INVALID_VALUE", "memories[1].event_time");
  MEMORY(one->expire_time = at(0, 0), "INVALID_VALUE", "memories[1].expire_time");
  MEMORY(one->expire_time = at(-1, 0), "INVALID_VALUE", "memories[1].expire_time");
  MEMORY((one->ttl = lasting(1, 0), one->expire_time = at(1, 0)), "CONFLICTING_FIELDS",
         "memories[1].expire_time");
  MEMORY(one->content = (char *)"", "REQUIRED", "memories[1].content");
  Mneme__V1__Part *parts[] = {part_new("a/b"), part_new("")};
  MEMORY((one->parts = parts, one->n_parts = 2), "REQUIRED", "memories[1].parts[1].mime_type");
#undef MEMORY
}

static void both_ends_of_the_ranges_are_taken(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  wire_append ret;
  pb_memory *one = memory_new("text");
  append_with(&m, one);
  OPTIONAL(one, importance, 1);
  OPTIONAL(one, token_count, INT32_MAX);
  one->event_time = at(INT64_C(253402300799), 999999999);
  one->ttl = lasting(INT64_C(100) * 365 * 86400, 999);
  ACCEPTED(append, &m, &ret);
  assert_true(ret.memories[0].record.event_us == INT64_C(253402300799999999));
  assert_true(ret.memories[0].record.ttl_us == INT64_C(100) * 365 * 86400 * 1000000);
  one->event_time = at(INT64_C(-62135596800), 0);
  one->ttl = NULL;
  one->expire_time = at(0, 1000);
  ACCEPTED(append, &m, &ret);
  assert_true(ret.memories[0].record.event_us == INT64_C(-62135596800000000));
  assert_int_equal(ret.memories[0].record.expire_us, 1);
}

static void append_refuses(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m = MNEME__V1__APPEND_MEMORIES_REQUEST__INIT;
  wire_append ret;
  REFUSED(append, &m, &ret, "REQUIRED", "memories");
  char *keys[] = {"a", ""};
  m.delete_keys = keys;
  m.n_delete_keys = 2;
  REFUSED(append, &m, &ret, "INVALID_VALUE", "delete_keys");
  m.n_delete_keys = 1; /* is enough to do */
  ACCEPTED(append, &m, &ret);
  m.n_delete_keys = 0;
  m.session_metadata_patch = metadata("k", "v"); /* and so is this */
  ACCEPTED(append, &m, &ret);
  m.on_conflict = (Mneme__V1__OnConflict)4;
  REFUSED(append, &m, &ret, "INVALID_VALUE", "on_conflict");
  m.on_conflict = (Mneme__V1__OnConflict)-1;
  REFUSED(append, &m, &ret, "INVALID_VALUE", "on_conflict");
  m.on_conflict = 0;
  OPTIONAL(&m, expected_revision, INT64_MIN);
  REFUSED(append, &m, &ret, "INVALID_VALUE", "expected_revision");
  m.namespace_ = (char *)"a/b";
  REFUSED(append, &m, &ret, "INVALID_VALUE", "namespace");
}

static void what_the_check_refuses_is_passed_on(void **state) {
  (void)state;
  wire_append ret;
  last = (error){0};
  assert_false(wire_read_append((const uint8_t *)"\xFF", 1, &shared, &ret, &last));
  assert_string_equal(last.reason, "MALFORMED");
  assert_null(last.field);
}

static void ingest_is_an_append_in_a_wrapper(void **state) {
  (void)state;
  Mneme__V1__IngestMemoriesRequest m = MNEME__V1__INGEST_MEMORIES_REQUEST__INIT;
  Mneme__V1__AppendMemoriesRequest append;
  wire_append ret;
  REFUSED(ingest, &m, &ret, "REQUIRED", "append");
  append_with(&append, full_memory());
  SCOPE(&append);
  m.append = &append;
  ACCEPTED(ingest, &m, &ret);
  is_full_scope(&ret.scope, -1);
  assert_int_equal(ret.memory_count, 1);
  IS(ret.memories[0].record.id, "id-1");
}

/* --- Reads of memories --------------------------------------------------- */

static char *three[] = {"x", "y", "z"};
static char *holed[] = {"x", ""};

static void get_memories(void **state) {
  (void)state;
  Mneme__V1__GetMemoriesRequest m = MNEME__V1__GET_MEMORIES_REQUEST__INIT;
  wire_get ret;
  REFUSED(get, &m, &ret, "REQUIRED", "ids");
  m.ids = three;
  m.n_ids = 3;
  ACCEPTED(get, &m, &ret);
  is_default_scope(&ret.scope, "default");
  assert_int_equal(ret.id_count, 3);
  assert_int_equal(ret.key_count, 0);
  IS(ret.ids[2], "z");
  assert_int_equal(ret.touch, WIRE_TOUCH_NONE);
  m.namespace_ = (char *)"tenant";
  m.session = (char *)"a/b";
  m.keys = three;
  m.n_keys = 2;
  m.touch = MNEME__V1__TOUCH__TOUCH_TTL;
  ACCEPTED(get, &m, &ret);
  IS(ret.scope.ns, "tenant");
  IS(ret.scope.session, "a/b");
  IS(ret.keys[1], "y");
  assert_int_equal(ret.key_count, 2);
  assert_int_equal(ret.touch, WIRE_TOUCH_TTL);
  m.touch = MNEME__V1__TOUCH__TOUCH_ACCESS;
  ACCEPTED(get, &m, &ret);
  assert_int_equal(ret.touch, WIRE_TOUCH_ACCESS);
  m.touch = MNEME__V1__TOUCH__TOUCH_NONE;
  ACCEPTED(get, &m, &ret);
  assert_int_equal(ret.touch, WIRE_TOUCH_NONE);

  m.touch = (Mneme__V1__Touch)4;
  REFUSED(get, &m, &ret, "INVALID_VALUE", "touch");
  m.keys = holed;
  REFUSED(get, &m, &ret, "INVALID_VALUE", "keys");
  m.ids = holed;
  m.n_ids = 2;
  REFUSED(get, &m, &ret, "INVALID_VALUE", "ids");
  m.namespace_ = (char *)"//";
  REFUSED(get, &m, &ret, "INVALID_VALUE", "namespace");
}

static void ids_and_keys_are_a_thousand_together(void **state) {
  (void)state;
  Mneme__V1__GetMemoriesRequest m = MNEME__V1__GET_MEMORIES_REQUEST__INIT;
  Mneme__V1__DeleteMemoriesRequest d = MNEME__V1__DELETE_MEMORIES_REQUEST__INIT;
  wire_get ret;
  wire_delete deleted;
  char *many[1000];
  for (int i = 0; i < 1000; i++)
    many[i] = (char *)"same";
  m.ids = m.keys = d.ids = d.keys = many;
  m.n_ids = d.n_ids = 400;
  m.n_keys = d.n_keys = 600;
  ACCEPTED(get, &m, &ret);
  ACCEPTED(delete, &d, &deleted);
  m.n_keys = d.n_keys = 601;
  REFUSED(get, &m, &ret, "TOO_LARGE", "ids");
  REFUSED(delete, &d, &deleted, "TOO_LARGE", "ids");
}

static void list_memories(void **state) {
  (void)state;
  Mneme__V1__ListMemoriesRequest m = MNEME__V1__LIST_MEMORIES_REQUEST__INIT;
  wire_list ret;
  ACCEPTED(list, &m, &ret);
  is_default_scope(&ret.scope, "default");
  assert_false(ret.oldest_first || ret.by_key);
  assert_int_equal(ret.role_count, 0);
  assert_int_equal(ret.kind_count, 0);
  assert_int_equal(ret.max_tokens, 0);
  assert_int_equal(ret.offset, 0);
  assert_int_equal(ret.page_size, 50);
  IS(ret.key_prefix, "");
  IS(ret.page_token, "");
  IS(ret.filter, "");
  assert_int_equal(ret.touch, WIRE_TOUCH_NONE);

  m.namespace_ = (char *)"tenant";
  m.session = (char *)"a/b";
  m.anchor = MNEME__V1__ANCHOR__ANCHOR_OLDEST;
  m.order_by = MNEME__V1__MEMORY_ORDER__MEMORY_ORDER_KEY;
  m.roles = holed; /* those of role x, and those without one */
  m.n_roles = 2;
  m.kinds = three;
  m.n_kinds = 3;
  OPTIONAL(&m, max_tokens, INT32_MAX);
  m.key_prefix = (char *)"p/";
  m.filter = (char *)"no language here";
  m.offset = 10000;
  m.page_size = 1001;
  m.touch = MNEME__V1__TOUCH__TOUCH_ACCESS;
  ACCEPTED(list, &m, &ret);
  assert_true(ret.oldest_first && ret.by_key);
  assert_int_equal(ret.role_count, 2);
  IS(ret.roles[1], "");
  assert_int_equal(ret.kind_count, 3);
  IS(ret.kinds[0], "x");
  assert_int_equal(ret.max_tokens, INT32_MAX);
  assert_int_equal(ret.offset, 10000);
  assert_int_equal(ret.page_size, 1000);
  IS(ret.key_prefix, "p/");
  IS(ret.filter, "no language here");
  assert_int_equal(ret.touch, WIRE_TOUCH_ACCESS);
}

static void list_refuses(void **state) {
  (void)state;
  wire_list ret;
#define LISTING(change, why, where)                                                              \
  do {                                                                                           \
    Mneme__V1__ListMemoriesRequest m = MNEME__V1__LIST_MEMORIES_REQUEST__INIT;                   \
    change;                                                                                      \
    REFUSED(list, &m, &ret, why, where);                                                         \
  } while (0)
  LISTING(OPTIONAL(&m, max_tokens, 0), "INVALID_VALUE", "max_tokens");
  LISTING(OPTIONAL(&m, max_tokens, -1), "INVALID_VALUE", "max_tokens");
  LISTING(OPTIONAL(&m, max_tokens, INT64_C(1) << 31), "INVALID_VALUE", "max_tokens");
  LISTING(m.offset = -1, "INVALID_VALUE", "offset");
  LISTING(m.offset = 10001, "INVALID_VALUE", "offset");
  LISTING((m.offset = 1, m.page_token = (char *)"t"), "CONFLICTING_FIELDS", "offset");
  LISTING(m.page_size = -1, "INVALID_VALUE", "page_size");
  LISTING(m.page_size = INT32_MIN, "INVALID_VALUE", "page_size");
  LISTING(m.anchor = (Mneme__V1__Anchor)3, "INVALID_VALUE", "anchor");
  LISTING(m.anchor = (Mneme__V1__Anchor)-1, "INVALID_VALUE", "anchor");
  LISTING(m.order_by = (Mneme__V1__MemoryOrder)3, "INVALID_VALUE", "order_by");
  LISTING(m.order_by = (Mneme__V1__MemoryOrder)-1, "INVALID_VALUE", "order_by");
  LISTING(m.touch = (Mneme__V1__Touch)4, "INVALID_VALUE", "touch");
  LISTING(m.touch = (Mneme__V1__Touch)-1, "INVALID_VALUE", "touch");
  LISTING(m.namespace_ = (char *)"a/b", "INVALID_VALUE", "namespace");
#undef LISTING
}

/* --- UpdateMemory -------------------------------------------------------- */

static void update_sets_what_is_carried(void **state) {
  (void)state;
  Mneme__V1__UpdateMemoryRequest m = MNEME__V1__UPDATE_MEMORY_REQUEST__INIT;
  wire_update ret;
  SCOPE(&m);
  m.id = (char *)"id-1";
  m.memory = memory_new("new");
  m.memory->pinned = 1;
  OPTIONAL(m.memory, importance, 0);
  OPTIONAL(&m, expected_revision, 7);
  ACCEPTED(update, &m, &ret);
  is_full_scope(&ret.scope, 7);
  IS(ret.id, "id-1");
  IS(ret.key, "");
  assert_int_equal(ret.fields, 1 << 9 | 1 << 12 | 1 << 13);
  assert_false(ret.has_patch);

  m.memory = full_memory();
  m.memory->id = (char *)"";
  ACCEPTED(update, &m, &ret);
  assert_int_equal(ret.fields, 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 |
                                   1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 16 | 1 << 17 |
                                   1 << 18);
  m.memory = NULL;
  m.id = (char *)"";
  m.key = (char *)"k";
  m.metadata_patch = metadata("a", NULL);
  ACCEPTED(update, &m, &ret);
  IS(ret.key, "k");
  assert_int_equal(ret.fields, 0);
  assert_true(ret.has_patch);
}

static void update_sets_what_the_mask_names(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int number;
  } fields[] = {{"key", 3},         {"kind", 4},        {"role", 5},        {"author", 6},
                {"source", 7},      {"tier", 8},        {"content", 9},     {"parts", 10},
                {"metadata", 11},   {"importance", 12}, {"pinned", 13},     {"ttl", 16},
                {"token_count", 17}, {"event_time", 18}, {"expire_time", 22}};
  Mneme__V1__UpdateMemoryRequest m = MNEME__V1__UPDATE_MEMORY_REQUEST__INIT;
  wire_update ret;
  m.id = (char *)"id";
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    assert_int_equal(
        protobuf_c_message_descriptor_get_field_by_name(&mneme__v1__memory__descriptor,
                                                        fields[i].name)->id, fields[i].number);
    m.update_mask = mask(1, fields[i].name);
    m.memory = NULL; /* named and not carried: taken away */
    ACCEPTED(update, &m, &ret);
    assert_int_equal(ret.fields, 1 << fields[i].number);
    m.memory = full_memory(); /* carries more than the mask names */
    m.memory->id = (char *)"";
    REFUSED(update, &m, &ret, "CONFLICTING_FIELDS", "update_mask");
  }
  m.memory = memory_new("new");
  m.update_mask = mask(3, "content", "ttl", "content");
  ACCEPTED(update, &m, &ret);
  assert_int_equal(ret.fields, 1 << 9 | 1 << 16);
}

static void update_refuses(void **state) {
  (void)state;
  Mneme__V1__UpdateMemoryRequest m = MNEME__V1__UPDATE_MEMORY_REQUEST__INIT;
  wire_update ret;
  m.memory = memory_new("new");
  REFUSED(update, &m, &ret, "REQUIRED", "id");
  m.id = (char *)"i";
  m.key = (char *)"k";
  REFUSED(update, &m, &ret, "CONFLICTING_FIELDS", "id");
  m.key = (char *)"";
  m.memory = NULL;
  REFUSED(update, &m, &ret, "REQUIRED", "memory");
  m.memory = memory_new("");
  REFUSED(update, &m, &ret, "REQUIRED", "memory");
  m.update_mask = mask(0);
  REFUSED(update, &m, &ret, "REQUIRED", "memory");
  static const char *const wrong[] = {"",           "id",          "sequence",   "create_time",
                                      "embeddings", "metadata.a",  "Content",    "*",
                                      "revision",   "access_count"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    m.update_mask = mask(1, wrong[i]);
    REFUSED(update, &m, &ret, "INVALID_VALUE", "update_mask");
  }
  m.update_mask = NULL;
  m.memory = memory_new("new");
  m.memory->id = (char *)"another";
  REFUSED(update, &m, &ret, "CONFLICTING_FIELDS", "memory.id");
  m.memory->id = (char *)"";
  m.memory->metadata = metadata("a", "b");
  m.metadata_patch = metadata("a", "b");
  REFUSED(update, &m, &ret, "CONFLICTING_FIELDS", "metadata_patch");
  m.memory->metadata = NULL;
  m.update_mask = mask(2, "content", "metadata");
  REFUSED(update, &m, &ret, "CONFLICTING_FIELDS", "metadata_patch");
  m.update_mask = NULL;
  OPTIONAL(m.memory, importance, 2);
  REFUSED(update, &m, &ret, "INVALID_VALUE", "memory.importance");
  Mneme__V1__Part *part = part_new("");
  m.memory = memory_new("");
  m.memory->parts = &part;
  m.memory->n_parts = 1;
  REFUSED(update, &m, &ret, "REQUIRED", "memory.parts[0].mime_type");
  OPTIONAL(&m, expected_revision, -5);
  REFUSED(update, &m, &ret, "INVALID_VALUE", "expected_revision");
  m.namespace_ = (char *)"a/b";
  REFUSED(update, &m, &ret, "INVALID_VALUE", "namespace");
}

/* --- Delete, Replace, Pop ------------------------------------------------ */

static void delete_memories(void **state) {
  (void)state;
  Mneme__V1__DeleteMemoriesRequest m = MNEME__V1__DELETE_MEMORIES_REQUEST__INIT;
  wire_delete ret;
  REFUSED(delete, &m, &ret, "REQUIRED", "ids"); /* never all of them by mistake */
  m.ids = three;
  m.n_ids = 3;
  ACCEPTED(delete, &m, &ret);
  is_default_scope(&ret.scope, "default");
  assert_false(ret.dry_run);
  assert_int_equal(ret.id_count, 3);
  SCOPE(&m);
  OPTIONAL(&m, expected_revision, 0);
  m.keys = three;
  m.n_keys = 1;
  ACCEPTED(delete, &m, &ret);
  is_full_scope(&ret.scope, 0);
  assert_int_equal(ret.key_count, 1);
  m.dry_run = 1;
  REFUSED(delete, &m, &ret, "CONFLICTING_FIELDS", "request_id");
  m.request_id = (char *)"";
  ACCEPTED(delete, &m, &ret);
  assert_true(ret.dry_run);
  m.ids = holed;
  m.n_ids = 2;
  REFUSED(delete, &m, &ret, "INVALID_VALUE", "ids");
  m.n_ids = 1;
  m.keys = holed;
  m.n_keys = 2;
  REFUSED(delete, &m, &ret, "INVALID_VALUE", "keys");
  OPTIONAL(&m, expected_revision, -1);
  REFUSED(delete, &m, &ret, "INVALID_VALUE", "expected_revision");
}

static void delete_by_filter(void **state) {
  (void)state;
  Mneme__V1__DeleteMemoriesRequest m = MNEME__V1__DELETE_MEMORIES_REQUEST__INIT;
  wire_delete ret;
  m.filter = (char *)"role:*";
  OPTIONAL(&m, expected_revision, 7);
  ACCEPTED(delete, &m, &ret);
  IS(ret.filter, "role:*");
  IS(ret.resume_token, "");
  assert_int_equal(ret.scope.expected_revision, 7);
  assert_int_equal(ret.id_count + ret.key_count, 0);
  m.dry_run = 1;
  ACCEPTED(delete, &m, &ret);
  m.resume_token = (char *)"t";
  REFUSED(delete, &m, &ret, "CONFLICTING_FIELDS", "resume_token");
  m.dry_run = 0;
  ACCEPTED(delete, &m, &ret);
  IS(ret.resume_token, "t");
  m.request_id = (char *)"r";
  REFUSED(delete, &m, &ret, "CONFLICTING_FIELDS", "request_id");
  m.request_id = (char *)"";
  m.keys = three;
  m.n_keys = 1;
  REFUSED(delete, &m, &ret, "CONFLICTING_FIELDS", "filter");
  m.n_keys = 0;
  m.ids = three;
  m.n_ids = 1;
  REFUSED(delete, &m, &ret, "CONFLICTING_FIELDS", "filter");
  m.filter = (char *)"";
  REFUSED(delete, &m, &ret, "CONFLICTING_FIELDS", "resume_token");
}

static void replace_memories(void **state) {
  (void)state;
  Mneme__V1__ReplaceMemoriesRequest m = MNEME__V1__REPLACE_MEMORIES_REQUEST__INIT;
  wire_replace ret;
  REFUSED(replace, &m, &ret, "REQUIRED", "session");
  SCOPE(&m);
  ACCEPTED(replace, &m, &ret); /* by nothing */
  is_full_scope(&ret.scope, -1);
  assert_int_equal(ret.memory_count, 0);
  assert_int_equal(ret.from_sequence, 0);
  pb_memory *both[] = {memory_new("one"), memory_new("two")};
  m.memories = both;
  m.n_memories = 2;
  OPTIONAL(&m, from_sequence, INT64_MAX);
  OPTIONAL(&m, expected_revision, 1);
  ACCEPTED(replace, &m, &ret);
  is_full_scope(&ret.scope, 1);
  assert_int_equal(ret.memory_count, 2);
  assert_true(ret.from_sequence == INT64_MAX);
  assert_string_equal(body_of(&ret.memories[1].record)->content, "two");
  OPTIONAL(&m, from_sequence, 0);
  REFUSED(replace, &m, &ret, "INVALID_VALUE", "from_sequence");
  OPTIONAL(&m, from_sequence, -1);
  REFUSED(replace, &m, &ret, "INVALID_VALUE", "from_sequence");
  both[1] = memory_new("");
  REFUSED(replace, &m, &ret, "REQUIRED", "memories[1].content");
  OPTIONAL(&m, expected_revision, -1);
  REFUSED(replace, &m, &ret, "INVALID_VALUE", "expected_revision");
}

static void pop_memories(void **state) {
  (void)state;
  Mneme__V1__PopMemoriesRequest m = MNEME__V1__POP_MEMORIES_REQUEST__INIT;
  wire_pop ret;
  ACCEPTED(pop, &m, &ret);
  is_default_scope(&ret.scope, "default");
  assert_int_equal(ret.count, 1);
  SCOPE(&m);
  m.count = 1000;
  OPTIONAL(&m, expected_revision, 2);
  ACCEPTED(pop, &m, &ret);
  is_full_scope(&ret.scope, 2);
  assert_int_equal(ret.count, 1000);
  m.count = 1001;
  REFUSED(pop, &m, &ret, "INVALID_VALUE", "count");
  m.count = -1;
  REFUSED(pop, &m, &ret, "INVALID_VALUE", "count");
  OPTIONAL(&m, expected_revision, -1);
  REFUSED(pop, &m, &ret, "INVALID_VALUE", "expected_revision");
}

/* --- No memory ----------------------------------------------------------- */

static void no_memory_is_told(void **state) {
  (void)state;
  Mneme__V1__AppendMemoriesRequest m;
  append_with(&m, full_memory());
  SCOPE(&m);
  m.session_metadata_patch = metadata("p", "q");
  mneme_bytes b = packed(&m);
  static arena small;
  size_t taken = 0;
  for (size_t left = 0; left <= ARENA_FIRST_BYTES; left += 16) {
    arena_init(&small, 0);
    arena_alloc(&small, ARENA_FIRST_BYTES - left);
    error e = {0};
    wire_append ret;
    if (wire_read_append((const uint8_t *)b.data, b.size, &small, &ret, &e)) {
      taken++;
      IS(ret.memories[0].record.source, "chat");
      assert_true(ret.has_patch && ret.patch.size > 0);
    } else {
      assert_int_equal(e.code, CODE_RESOURCE_EXHAUSTED);
      assert_string_equal(e.reason, "NO_MEMORY");
    }
    arena_clear(&small);
  }
  assert_true(taken > 0); /* a small append needs no block */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(append_by_default),
      TEST(append_with_everything),
      TEST(explicit_values_that_are_zero_count),
      TEST(a_memory_needs_content_a_part_or_a_key),
      TEST(equal_metadata_makes_equal_bodies),
      TEST(append_refuses_memories),
      TEST(both_ends_of_the_ranges_are_taken),
      TEST(append_refuses),
      TEST(what_the_check_refuses_is_passed_on),
      TEST(ingest_is_an_append_in_a_wrapper),
      TEST(get_memories),
      TEST(ids_and_keys_are_a_thousand_together),
      TEST(list_memories),
      TEST(list_refuses),
      TEST(update_sets_what_is_carried),
      TEST(update_sets_what_the_mask_names),
      TEST(update_refuses),
      TEST(delete_memories),
      TEST(delete_by_filter),
      TEST(replace_memories),
      TEST(pop_memories),
      TEST(no_memory_is_told),
  };
  return cmocka_run_group_tests_name("requests of memories", tests, NULL, NULL);
}
