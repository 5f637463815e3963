/* What the tests of requests share: requests are made with protobuf-c, as a client
 * would, and read; ACCEPTED and REFUSED say what should come of it. */
#ifndef TESTS_UNIT_REQUESTS_H
#define TESTS_UNIT_REQUESTS_H

#include <stdbool.h>

#include "cmocka_test.h"
#include "wire/internal.h"

static arena shared;

static inline int begin(void **state) {
  (void)state;
  arena_init(&shared, 64 * 1024 * 1024);
  wire_init();
  return 0;
}

static inline int end(void **state) {
  (void)state;
  arena_clear(&shared);
  return 0;
}

/* --- Asking -------------------------------------------------------------- */

static inline mneme_bytes packed(const void *m) {
  mneme_bytes b;
  assert_true(wire_pack_bytes(&shared, m, &b));
  return b;
}

static error last;

/* READ(pop, &m, &ret): whether wire_read_pop takes the message. */
#define READ(name, m, ret)                                                                       \
  (last = (error){0}, memset(ret, 0xA5, sizeof *(ret)),                                          \
   wire_read_##name((const uint8_t *)packed(m).data, packed(m).size, &shared, ret, &last))

#define ACCEPTED(name, m, ret)                                                                   \
  do {                                                                                           \
    if (!READ(name, m, ret))                                                                     \
      fail_msg("%s: %s: %s", #name, last.reason, last.message);                                  \
    assert_int_equal(last.code, CODE_OK);                                                        \
  } while (0)

#define REFUSED(name, m, ret, why, where)                                                        \
  do {                                                                                           \
    if (READ(name, m, ret))                                                                      \
      fail_msg("%s: passed, should be %s at %s", #name, why, where);                             \
    assert_int_equal(last.code, CODE_INVALID_ARGUMENT);                                          \
    assert_string_equal(last.reason, why);                                                       \
    assert_string_equal(last.field, where);                                                      \
    assert_int_equal(strncmp(last.message, where ":", sizeof(where)), 0);                        \
  } while (0)

#define IS(bytes, text) is_text(bytes, text)
static inline void is_text(mneme_bytes b, const char *text) {
  assert_int_equal(b.size, strlen(text));
  assert_memory_equal(b.data, text, b.size);
}

/* A scope in which the client said nothing. */
static inline void is_default_scope(const wire_scope *s, const char *session) {
  IS(s->ns, "default");
  IS(s->session, session);
  IS(s->request_id, "");
  assert_int_equal(s->expected_revision, -1);
}

static inline void is_full_scope(const wire_scope *s, int64_t expected) {
  IS(s->ns, "tenant");
  IS(s->session, "a/b");
  IS(s->request_id, "r-1");
  assert_int_equal(s->expected_revision, expected);
}

#define SCOPE(m)                                                                                 \
  do {                                                                                           \
    (m)->namespace_ = (char *)"tenant";                                                          \
    (m)->session = (char *)"a/b";                                                                \
    (m)->request_id = (char *)"r-1";                                                             \
  } while (0)

/* Sets a field that stands in a oneof of its own, as optional ones do. */
#define OPTIONAL(m, field, to)                                                                   \
  ((m)->_##field##_case = field_number(&(m)->base, #field), (m)->field = (to))
static inline int field_number(const ProtobufCMessage *m, const char *name) {
  const ProtobufCFieldDescriptor *f =
      protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
  assert_non_null(f);
  return (int)f->id;
}

/* --- Pieces of requests -------------------------------------------------- */

/* {"key": text}, or {"key": null} without a text. */
static inline pb_struct *metadata(const char *key, const char *text) {
  pb_struct *s = arena_alloc(&shared, sizeof *s);
  pb_entry *entry = arena_alloc(&shared, sizeof *entry);
  pb_value *v = arena_alloc(&shared, sizeof *v);
  google__protobuf__struct__init(s);
  google__protobuf__struct__fields_entry__init(entry);
  google__protobuf__value__init(v);
  v->kind_case = text != NULL ? GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE
                              : GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
  if (text != NULL)
    v->string_value = (char *)text;
  entry->key = (char *)key;
  entry->value = v;
  s->fields = arena_alloc(&shared, sizeof *s->fields);
  s->fields[0] = entry;
  s->n_fields = 1;
  return s;
}

static inline Google__Protobuf__FieldMask *mask(size_t count, ...) {
  Google__Protobuf__FieldMask *m = arena_alloc(&shared, sizeof *m);
  google__protobuf__field_mask__init(m);
  m->paths = arena_alloc(&shared, (count + 1) * sizeof *m->paths);
  va_list args;
  va_start(args, count);
  for (size_t i = 0; i < count; i++)
    m->paths[i] = va_arg(args, char *);
  va_end(args);
  m->n_paths = count;
  return m;
}

static inline Google__Protobuf__Timestamp *at(int64_t seconds, int32_t nanos) {
  Google__Protobuf__Timestamp *t = arena_alloc(&shared, sizeof *t);
  google__protobuf__timestamp__init(t);
  t->seconds = seconds;
  t->nanos = nanos;
  return t;
}

static inline Google__Protobuf__Duration *lasting(int64_t seconds, int32_t nanos) {
  Google__Protobuf__Duration *d = arena_alloc(&shared, sizeof *d);
  google__protobuf__duration__init(d);
  d->seconds = seconds;
  d->nanos = nanos;
  return d;
}

static inline pb_memory *memory_new(const char *content) {
  pb_memory *m = arena_alloc(&shared, sizeof *m);
  mneme__v1__memory__init(m);
  m->content = (char *)content;
  return m;
}

static inline pb_policy *policy_new(void) {
  pb_policy *p = arena_alloc(&shared, sizeof *p);
  mneme__v1__session_policy__init(p);
  return p;
}

static inline Mneme__V1__Part *part_new(const char *mime_type) {
  Mneme__V1__Part *p = arena_alloc(&shared, sizeof *p);
  mneme__v1__part__init(p);
  p->mime_type = (char *)mime_type;
  return p;
}

/* Labels of any request: their entries have one layout. */
#define LABEL(m, Type, k, v)                                                                     \
  do {                                                                                           \
    Type *entry_ = arena_alloc(&shared, sizeof *entry_);                                         \
    *entry_ = (Type){PROTOBUF_C_MESSAGE_INIT(                                                    \
                         protobuf_c_message_descriptor_get_field_by_name((m)->base.descriptor,   \
                                                                         "labels")->descriptor), \
                     (char *)(k), (char *)(v)};                                                  \
    Type **entries_ = arena_calloc(&shared, (m)->n_labels + 1, sizeof *entries_);                \
    for (size_t i_ = 0; i_ < (m)->n_labels; i_++)                                                \
      entries_[i_] = (m)->labels[i_];                                                            \
    entries_[(m)->n_labels++] = entry_;                                                          \
    (m)->labels = entries_;                                                                      \
  } while (0)
#define CREATE_LABEL Mneme__V1__CreateSessionRequest__LabelsEntry
#define UPDATE_LABEL Mneme__V1__UpdateSessionRequest__LabelsEntry
#define LIST_LABEL Mneme__V1__ListSessionsRequest__LabelsEntry

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
