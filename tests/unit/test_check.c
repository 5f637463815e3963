/* The wire check, with bytes made by hand: what it refuses, with which reason and
 * which path, and that protobuf-c can unpack whatever it lets through.
 *
 * The limits come from limits.def itself: a new row is tested at n and n + 1
 * without a line here. */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include "cmocka_test.h"
#include "wire/check.h"
#include "wire/internal.h"
#include "wire_bytes.h"

typedef const ProtobufCMessageDescriptor *type;

#define APPEND (&mneme__v1__append_memories_request__descriptor)
#define INGEST (&mneme__v1__ingest_memories_request__descriptor)
#define CREATE (&mneme__v1__create_session_request__descriptor)
#define UPDATE_SESSION (&mneme__v1__update_session_request__descriptor)
#define GET (&mneme__v1__get_memories_request__descriptor)
#define POP (&mneme__v1__pop_memories_request__descriptor)
#define MEMORY (&mneme__v1__memory__descriptor)
#define STRUCT (&google__protobuf__struct__descriptor)
#define LIST (&google__protobuf__list_value__descriptor)

static const type roots[] = {
    CREATE,
    &mneme__v1__get_session_request__descriptor,
    &mneme__v1__list_sessions_request__descriptor,
    UPDATE_SESSION,
    &mneme__v1__clear_session_request__descriptor,
    &mneme__v1__delete_session_request__descriptor,
    &mneme__v1__delete_sessions_request__descriptor,
    &mneme__v1__clean_up_memories_request__descriptor,
    APPEND,
    INGEST,
    GET,
    &mneme__v1__list_memories_request__descriptor,
    &mneme__v1__update_memory_request__descriptor,
    &mneme__v1__delete_memories_request__descriptor,
    &mneme__v1__replace_memories_request__descriptor,
    POP,
    &mneme__v1__get_stats_request__descriptor,
    &mneme__v1__list_backends_request__descriptor,
};
#define ROOTS (sizeof roots / sizeof *roots)

/* --- The rows of limits.def ---------------------------------------------- */

typedef enum row_kind { BYTES, COUNT, KEYS, DEPTH, ROW_UNSERVED, ROW_OUTPUT } row_kind;

typedef struct row {
  const char *message;
  const char *field;
  row_kind kind;
  uint32_t number;
} row;

#define LIMIT(message, field, kind, number) {message, field, kind, number},
#define UNSERVED(message, field) {message, field, ROW_UNSERVED, 0},
#define OUTPUT_ONLY(message, field) {message, field, ROW_OUTPUT, 0},
static const row rows[] = {
#include "wire/limits.def"
};
#define ROWS (sizeof rows / sizeof *rows)

static bool has_row(type d, const char *field, row_kind kind) {
  for (size_t i = 0; i < ROWS; i++)
    if (rows[i].kind == kind && strcmp(rows[i].message, d->name) == 0 &&
        strcmp(rows[i].field, field) == 0)
      return true;
  return false;
}

static bool is_refused_when_set(type d, const char *field) {
  return has_row(d, field, ROW_UNSERVED) || has_row(d, field, ROW_OUTPUT);
}

/* Every type that a request can hold. */
static type types[128];
static size_t type_count;

static void find_types(type d) {
  for (size_t i = 0; i < type_count; i++)
    if (types[i] == d)
      return;
  assert_true(type_count < 128);
  types[type_count++] = d;
  for (unsigned i = 0; i < d->n_fields; i++)
    if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
      find_types(d->fields[i].descriptor);
}

static type type_named(const char *name) {
  for (size_t i = 0; i < type_count; i++)
    if (strcmp(types[i]->name, name) == 0)
      return types[i];
  fail_msg("no type is called %s", name);
  return NULL;
}

static const ProtobufCFieldDescriptor *field_named(type d, const char *name) {
  const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, name);
  assert_non_null(f);
  return f;
}

/* --- Asking -------------------------------------------------------------- */

static arena shared; /* holds the strings of the last answer */
static error last;

static bool check_raw(type d, const uint8_t *data, size_t size) {
  arena_clear(&shared);
  last = (error){0};
  uint8_t *exact = malloc(size + 1); /* the sanitizer sees a read beyond the end */
  assert_non_null(exact);
  uint8_t *at = exact + 1;
  if (size > 0)
    memcpy(at, data, size);
  bool ok = check_message(d, at, size, &shared, &last);
  if (ok) {
    ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, size, at);
    assert_non_null(m);
    protobuf_c_message_free_unpacked(m, NULL);
    assert_int_equal(last.code, CODE_OK);
  } else {
    assert_true(last.code == CODE_INVALID_ARGUMENT || last.code == CODE_UNIMPLEMENTED);
    assert_non_null(last.reason);
    assert_non_null(last.message);
    if (last.field != NULL)
      assert_int_equal(strncmp(last.message, last.field, strlen(last.field)), 0);
  }
  free(exact);
  return ok;
}

/* Both use the bytes up. */
static void accepted(type d, bytes b) {
  if (!check_raw(d, b.data, b.size))
    fail_msg("%s: %s: %s", d->name, last.reason, last.message);
  bytes_free(&b);
}

static void refused(type d, bytes b, const char *reason, const char *field) {
  if (check_raw(d, b.data, b.size))
    fail_msg("%s: passed, should be %s at %s", d->name, reason, field != NULL ? field : "none");
  bool unimplemented = strcmp(reason, "NOT_SERVED") == 0 || strcmp(reason, "UNKNOWN_FIELD") == 0;
  assert_string_equal(last.reason, reason);
  assert_int_equal(last.code, unimplemented ? CODE_UNIMPLEMENTED : CODE_INVALID_ARGUMENT);
  if (field == NULL)
    assert_null(last.field);
  else if (last.field == NULL)
    fail_msg("no field, should be %s", field);
  else
    assert_string_equal(last.field, field);
  bytes_free(&b);
}

static int begin(void **state) {
  (void)state;
  arena_init(&shared, 1024 * 1024);
  wire_init();
  wire_init(); /* twice is once */
  for (size_t i = 0; i < ROOTS; i++)
    find_types(roots[i]);
  return 0;
}

static int end(void **state) {
  (void)state;
  arena_clear(&shared);
  return 0;
}

/* --- Samples ------------------------------------------------------------- */

static int right_wire_type(const ProtobufCFieldDescriptor *f) {
  switch (f->type) {
  case PROTOBUF_C_TYPE_DOUBLE: return FIXED64;
  case PROTOBUF_C_TYPE_FLOAT: return FIXED32;
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE: return CHUNK;
  default: return VARINT;
  }
}

static bytes sample(type d, int depth, size_t *ends, size_t *end_count);

static void put_sample_field(bytes *b, const ProtobufCFieldDescriptor *f, int depth) {
  switch (f->type) {
  case PROTOBUF_C_TYPE_DOUBLE: put_double(b, f->id, 0.5); break;
  case PROTOBUF_C_TYPE_FLOAT:
    put_tag(b, f->id, FIXED32);
    put_raw(b, "\0\0\0\0", 4);
    break;
  case PROTOBUF_C_TYPE_STRING: put_text(b, f->id, "t\xC3\xA4xt"); break;
  case PROTOBUF_C_TYPE_BYTES: put_chunk(b, f->id, "\0\xFF", 2); break;
  case PROTOBUF_C_TYPE_MESSAGE:
    if (depth > 0)
      put_bytes(b, f->id, sample(f->descriptor, depth - 1, NULL, NULL));
    else
      put_chunk(b, f->id, "", 0);
    break;
  default: put_int(b, f->id, 1); break;
  }
}

/* A message with all that may be set, repeated fields twice. ends = where a field
 * of the outermost message ends. */
static bytes sample(type d, int depth, size_t *ends, size_t *end_count) {
  bytes b = {NULL, 0, 0};
  for (unsigned i = 0; i < d->n_fields; i++) {
    const ProtobufCFieldDescriptor *f = &d->fields[i];
    if (is_refused_when_set(d, f->name))
      continue;
    for (int times = f->label == PROTOBUF_C_LABEL_REPEATED ? 2 : 1; times > 0; times--) {
      put_sample_field(&b, f, depth);
      if (ends != NULL)
        ends[(*end_count)++] = b.size;
    }
  }
  return b;
}

static void empty_messages_pass(void **state) {
  (void)state;
  for (size_t i = 0; i < type_count; i++)
    accepted(types[i], (bytes){NULL, 0, 0});
  error e = {0};
  assert_true(check_message(APPEND, NULL, 0, &shared, &e));
}

static void messages_with_everything_pass(void **state) {
  (void)state;
  for (size_t i = 0; i < type_count; i++)
    for (int depth = 0; depth < 7; depth++)
      accepted(types[i], sample(types[i], depth, NULL, NULL));
}

static void every_prefix_is_whole_fields_or_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < ROOTS; i++) {
    size_t ends[64] = {0}, end_count = 0, next = 0;
    bytes b = sample(roots[i], 6, ends, &end_count);
    for (size_t size = 1; size < b.size; size++) {
      while (ends[next] < size)
        next++;
      bool ok = check_raw(roots[i], b.data, size);
      assert_int_equal(ok, size == ends[next]);
      if (!ok) {
        assert_string_equal(last.reason, "MALFORMED");
        assert_null(last.field);
      }
    }
    bytes_free(&b);
  }
}

/* The same one level down: the outer length is right, the inner bytes are cut. */
static void every_prefix_of_an_inner_message_is_told(void **state) {
  (void)state;
  size_t ends[64] = {0}, end_count = 0, next = 0;
  bytes memory = sample(MEMORY, 4, ends, &end_count);
  for (size_t size = 1; size < memory.size; size++) {
    while (ends[next] < size)
      next++;
    bytes b = {NULL, 0, 0};
    put_chunk(&b, 3, memory.data, size);
    put_int(&b, 7, 1);
    if (size == ends[next])
      accepted(APPEND, b);
    else
      refused(APPEND, b, "MALFORMED", NULL);
  }
  bytes_free(&memory);
}

/* check_raw unpacks what passes. */
static void every_altered_bit_is_refused_or_unpacks(void **state) {
  (void)state;
  size_t passed = 0, tried = 0;
  for (size_t i = 0; i < ROOTS; i++) {
    bytes b = sample(roots[i], 3, NULL, NULL);
    for (size_t bit = 0; bit < b.size * 8; bit++) {
      b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
      passed += check_raw(roots[i], b.data, b.size);
      tried++;
      b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    bytes_free(&b);
  }
  assert_true(passed > 0 && passed < tried); /* a letter may become another one */
}

/* --- Bytes that are no message ------------------------------------------- */

static void wrong_wire_types_are_refused(void **state) {
  (void)state;
  static const uint8_t zeroes[16];
  for (size_t i = 0; i < type_count; i++)
    for (unsigned j = 0; j < types[i]->n_fields; j++) {
      const ProtobufCFieldDescriptor *f = &types[i]->fields[j];
      if (is_refused_when_set(types[i], f->name))
        continue;
      for (int wire_type = 0; wire_type < 8; wire_type++) {
        if (wire_type == right_wire_type(f))
          continue;
        bytes b = {NULL, 0, 0};
        put_tag(&b, f->id, wire_type);
        put_raw(&b, zeroes, wire_type == CHUNK ? 1 : sizeof zeroes);
        refused(types[i], b, "MALFORMED", NULL);
        bytes bare = {NULL, 0, 0};
        put_tag(&bare, f->id, wire_type);
        refused(types[i], bare, "MALFORMED", NULL);
      }
    }
}

static void unknown_fields_are_refused(void **state) {
  (void)state;
  static const uint64_t far[] = {31, 32, 33, 1000, 19000, 65536, (1 << 29) - 1};
  for (size_t i = 0; i < type_count; i++)
    for (uint64_t n = 1; n < 40 + sizeof far / sizeof *far; n++) {
      uint64_t number = n < 40 ? n : far[n - 40];
      if (protobuf_c_message_descriptor_get_field(types[i], (unsigned)number) != NULL)
        continue;
      for (int wire_type = 0; wire_type < 8; wire_type++) {
        bytes b = {NULL, 0, 0};
        put_tag(&b, number, wire_type);
        put_raw(&b, "\0\0\0\0\0\0\0\0", 8);
        refused(types[i], b, "UNKNOWN_FIELD", NULL);
      }
    }
}

static void unknown_fields_deep_inside_are_named_by_their_message(void **state) {
  (void)state;
  bytes value = {NULL, 0, 0}, entry = {NULL, 0, 0}, s = {NULL, 0, 0}, memory = {NULL, 0, 0},
        b = {NULL, 0, 0};
  put_int(&value, 7, 1);
  put_bytes(&entry, 2, value);
  put_bytes(&s, 1, entry);
  put_bytes(&memory, 11, s);
  put_bytes(&b, 3, memory);
  refused(APPEND, b, "UNKNOWN_FIELD", NULL);
  assert_non_null(strstr(last.message, "field 7 of google.protobuf.Value"));
}

static void field_number_zero_is_refused(void **state) {
  (void)state;
  for (int wire_type = 0; wire_type < 8; wire_type++)
    for (size_t least = 1; least <= 10; least++) {
      bytes b = {NULL, 0, 0};
      put_varint_long(&b, (uint64_t)wire_type, least);
      put_raw(&b, "\0\0\0\0\0\0\0\0", 8);
      refused(POP, b, "MALFORMED", NULL);
    }
}

/* A reader that keeps 32 bits would take these for field 3. */
static void tags_of_more_than_32_bits_are_refused(void **state) {
  (void)state;
  for (int shift = 32; shift < 64; shift++) {
    bytes b = {NULL, 0, 0};
    put_varint(&b, (UINT64_C(1) << shift) | 3 << 3 | VARINT);
    put_varint(&b, 1);
    refused(POP, b, "MALFORMED", NULL);
  }
}

static void groups_are_refused(void **state) {
  (void)state;
  bytes known = {NULL, 0, 0}, unknown = {NULL, 0, 0}, over = {NULL, 0, 0};
  put_tag(&known, 3, GROUP); /* memories */
  put_tag(&known, 3, GROUP_END);
  refused(APPEND, known, "MALFORMED", NULL);
  put_tag(&unknown, 20, GROUP);
  put_tag(&unknown, 20, GROUP_END);
  refused(APPEND, unknown, "UNKNOWN_FIELD", NULL);
  put_tag(&over, 3, GROUP_END);
  refused(APPEND, over, "MALFORMED", NULL);
}

static void varints_have_ten_bytes_at_most(void **state) {
  (void)state;
  for (size_t least = 1; least <= 10; least++) {
    bytes b = {NULL, 0, 0};
    put_tag(&b, 3, VARINT); /* count */
    put_varint_long(&b, 1, least);
    accepted(POP, b);
  }
  bytes most = {NULL, 0, 0}, eleven = {NULL, 0, 0}, endless = {NULL, 0, 0};
  put_int(&most, 3, -1); /* ten bytes, the last one 1 */
  accepted(POP, most);
  put_tag(&eleven, 3, VARINT);
  put_varint_long(&eleven, 1, 11);
  refused(POP, eleven, "MALFORMED", NULL);
  put_tag(&endless, 3, VARINT);
  for (int i = 0; i < 1000; i++)
    put_byte(&endless, 0xFF);
  refused(POP, endless, "MALFORMED", NULL);
}

/* protobuf-c reads five bytes of a tag and of a length; so do we. */
static void tags_and_lengths_have_five_bytes_at_most(void **state) {
  (void)state;
  for (size_t least = 1; least <= 11; least++) {
    bytes tag = {NULL, 0, 0}, length = {NULL, 0, 0};
    put_varint_long(&tag, 3 << 3 | VARINT, least);
    put_varint(&tag, 1);
    put_tag(&length, 1, CHUNK);
    put_varint_long(&length, 2, least);
    put_raw(&length, "ns", 2);
    if (least <= 5) {
      accepted(POP, tag);
      accepted(POP, length);
    } else {
      refused(POP, tag, "MALFORMED", NULL);
      refused(POP, length, "MALFORMED", NULL);
    }
  }
}

static void lengths_that_lie_are_refused(void **state) {
  (void)state;
  static const uint64_t lengths[] = {3,           127,         128,       UINT32_C(1) << 31,
                                     UINT32_MAX,  INT64_MAX,   UINT64_MAX, UINT64_MAX - 1,
                                     UINT64_C(1) << 32, (UINT64_C(1) << 32) + 2, 65536};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    bytes b = {NULL, 0, 0};
    put_tag(&b, 1, CHUNK);
    put_varint(&b, lengths[i]);
    put_raw(&b, "ns", 2);
    refused(POP, b, "MALFORMED", NULL);
  }
}

static void singular_fields_stand_once(void **state) {
  (void)state;
  for (size_t i = 0; i < type_count; i++)
    for (unsigned j = 0; j < types[i]->n_fields; j++) {
      const ProtobufCFieldDescriptor *f = &types[i]->fields[j];
      if (is_refused_when_set(types[i], f->name) || f->label == PROTOBUF_C_LABEL_REPEATED)
        continue;
      bytes b = {NULL, 0, 0};
      put_sample_field(&b, f, 1);
      put_sample_field(&b, f, 1);
      refused(types[i], b, "MALFORMED", f->name);
    }
  bytes first = {NULL, 0, 0}, second = {NULL, 0, 0}, b = {NULL, 0, 0};
  put_text(&first, 5, "user");
  put_text(&second, 5, "user");
  put_text(&second, 9, "between");
  put_text(&second, 5, "user");
  put_bytes(&b, 3, first);
  put_bytes(&b, 3, second);
  refused(APPEND, b, "MALFORMED", "memories[1].role");
}

/* --- Strings ------------------------------------------------------------- */

static const struct {
  const char *text;
  size_t size;
  bool valid;
} texts[] = {
    {"\xC2\x80", 2, true},          /* U+0080, the least of two bytes */
    {"\xDF\xBF", 2, true},          /* U+07FF */
    {"\xE0\xA0\x80", 3, true},      /* U+0800, the least of three */
    {"\xED\x9F\xBF", 3, true},      /* U+D7FF, below the surrogates */
    {"\xEE\x80\x80", 3, true},      /* U+E000, above them */
    {"\xEF\xBB\xBF", 3, true},      /* the byte order mark is a character */
    {"\xEF\xBF\xBF", 3, true},      /* U+FFFF: no character, but valid */
    {"\xF0\x90\x80\x80", 4, true},  /* U+10000, the least of four */
    {"\xF4\x8F\xBF\xBF", 4, true},  /* U+10FFFF */
    {"\x7F", 1, true},
    {"\x01", 1, true},
    {"\0", 1, false},
    {"\x80", 1, false},             /* a continuation alone */
    {"\xBF", 1, false},
    {"\xC0\x80", 2, false},         /* NUL, overlong */
    {"\xC1\xBF", 2, false},
    {"\xC2", 1, false},             /* cut */
    {"\xC2\xC2", 2, false},
    {"\xE0\x80\x80", 3, false},     /* overlong */
    {"\xE0\x9F\xBF", 3, false},
    {"\xE2\x82", 2, false},         /* cut */
    {"\xE2\x28\xA1", 3, false},
    {"\xED\xA0\x80", 3, false},     /* U+D800, a surrogate */
    {"\xED\xBF\xBF", 3, false},     /* U+DFFF */
    {"\xED\xA0\xBD\xED\xB8\x80", 6, false}, /* a pair of them */
    {"\xF0\x80\x80\x80", 4, false}, /* overlong */
    {"\xF0\x8F\xBF\xBF", 4, false},
    {"\xF0\x9F\x98", 3, false},     /* cut */
    {"\xF4\x90\x80\x80", 4, false}, /* U+110000 */
    {"\xF5\x80\x80\x80", 4, false},
    {"\xF8\x88\x80\x80\x80", 5, false},
    {"\xFE", 1, false},
    {"\xFF", 1, false},
};

/* At each place in words of eight bytes, with ASCII before and after. */
static void strings_are_valid_utf8_without_nul(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    for (size_t before = 0; before < 18; before++)
      for (size_t after = 0; after < 18; after += 3) {
        char text[64];
        memset(text, 'a', sizeof text);
        memcpy(text + before, texts[i].text, texts[i].size);
        bytes memory = {NULL, 0, 0}, b = {NULL, 0, 0};
        put_chunk(&memory, 9, text, before + texts[i].size + after);
        put_bytes(&b, 3, memory);
        if (texts[i].valid)
          accepted(APPEND, b);
        else
          refused(APPEND, b, "INVALID_UTF8", "memories[0].content");
      }
}

static void every_string_is_looked_at(void **state) {
  (void)state;
  for (size_t i = 0; i < type_count; i++)
    for (unsigned j = 0; j < types[i]->n_fields; j++) {
      const ProtobufCFieldDescriptor *f = &types[i]->fields[j];
      bytes b = {NULL, 0, 0};
      if (is_refused_when_set(types[i], f->name))
        continue;
      if (f->type == PROTOBUF_C_TYPE_BYTES) {
        put_chunk(&b, f->id, "\xFF\0\xC0", 3);
        accepted(types[i], b);
        continue;
      }
      if (f->type != PROTOBUF_C_TYPE_STRING)
        continue;
      char path[64];
      bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
      snprintf(path, sizeof path, repeated ? "%s[1]" : "%s", f->name);
      if (repeated)
        put_text(&b, f->id, "fine");
      put_chunk(&b, f->id, "a\0b", 3);
      refused(types[i], b, "INVALID_UTF8", path);
    }
}

static void paths_of_strings_deep_inside(void **state) {
  (void)state;
  bytes entry = {NULL, 0, 0}, s = {NULL, 0, 0}, update = {NULL, 0, 0};
  put_text(&entry, 1, "k\xFF");
  put_bytes(&s, 1, entry);
  put_bytes(&update, 7, s);
  refused(UPDATE_SESSION, update, "INVALID_UTF8", "metadata_patch.fields[0].key");

  bytes mask = {NULL, 0, 0}, masked = {NULL, 0, 0};
  put_text(&mask, 1, "policy");
  put_text(&mask, 1, "\xFF");
  put_bytes(&masked, 6, mask);
  refused(UPDATE_SESSION, masked, "INVALID_UTF8", "update_mask.paths[1]");

  bytes label = {NULL, 0, 0}, labelled = {NULL, 0, 0};
  put_text(&label, 1, "k");
  put_text(&label, 2, "\x80");
  put_bytes(&labelled, 5, label);
  refused(CREATE, labelled, "INVALID_UTF8", "labels[0].value");

  bytes part = {NULL, 0, 0}, memory = {NULL, 0, 0}, append = {NULL, 0, 0}, ingest = {NULL, 0, 0};
  put_chunk(&part, 2, "\xFF", 1); /* data: any bytes */
  put_text(&part, 5, "\xFF");
  put_bytes(&memory, 10, part);
  put_bytes(&append, 3, memory);
  put_bytes(&ingest, 1, append);
  refused(INGEST, ingest, "INVALID_UTF8", "append.memories[0].parts[0].caption");
}

/* --- Numbers ------------------------------------------------------------- */

static bytes memory_of_importance(double value) {
  bytes memory = {NULL, 0, 0}, b = {NULL, 0, 0};
  put_double(&memory, 12, value);
  put_bytes(&b, 3, memory);
  return b;
}

/* metadata {"": [true, value]} */
static bytes memory_of_number(double value) {
  bytes yes = {NULL, 0, 0}, number = {NULL, 0, 0}, list = {NULL, 0, 0}, of_list = {NULL, 0, 0},
        entry = {NULL, 0, 0}, s = {NULL, 0, 0}, memory = {NULL, 0, 0}, b = {NULL, 0, 0};
  put_int(&yes, 4, 1);
  put_double(&number, 2, value);
  put_bytes(&list, 1, yes);
  put_bytes(&list, 1, number);
  put_bytes(&of_list, 6, list);
  put_bytes(&entry, 2, of_list);
  put_bytes(&s, 1, entry);
  put_bytes(&memory, 11, s);
  put_bytes(&b, 3, memory);
  return b;
}

static void numbers_are_finite(void **state) {
  (void)state;
  static const uint64_t patterns[] = {UINT64_C(0x7FF0000000000000), UINT64_C(0xFFF0000000000000),
                                      UINT64_C(0x7FF8000000000000), UINT64_C(0x7FF0000000000001),
                                      UINT64_C(0xFFFFFFFFFFFFFFFF)};
  for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    double value;
    memcpy(&value, &patterns[i], sizeof value);
    refused(APPEND, memory_of_importance(value), "NOT_FINITE", "memories[0].importance");
    refused(APPEND, memory_of_number(value), "NOT_FINITE",
            "memories[0].metadata.fields[0].value.list_value.values[1].number_value");
  }
  static const double finite[] = {0.0, -0.0, 1.0, DBL_MAX, -DBL_MAX, DBL_MIN, 5e-324, 1e300};
  for (size_t i = 0; i < sizeof finite / sizeof *finite; i++) {
    accepted(APPEND, memory_of_importance(finite[i]));
    accepted(APPEND, memory_of_number(finite[i]));
  }
}

/* --- Limits -------------------------------------------------------------- */

/* {"k": "aaa..."} of exactly that many bytes. */
static bytes struct_of_bytes(size_t size) {
  for (size_t letters = size - 32;; letters++) {
    bytes value = {NULL, 0, 0}, entry = {NULL, 0, 0}, s = {NULL, 0, 0};
    put_letters(&value, 3, letters);
    put_text(&entry, 1, "k");
    put_bytes(&entry, 2, value);
    put_bytes(&s, 1, entry);
    if (s.size == size)
      return s;
    assert_true(s.size < size);
    bytes_free(&s);
  }
}

/* Content at its own limit, and a part that fills the rest. */
static bytes memory_of_bytes(size_t size) {
  for (size_t rest = size - 1048576 - 32;; rest++) {
    bytes part = {NULL, 0, 0}, memory = {NULL, 0, 0};
    put_letters(&part, 2, rest);
    put_letters(&memory, 9, 1048576);
    put_bytes(&memory, 10, part);
    if (memory.size == size)
      return memory;
    assert_true(memory.size < size);
    bytes_free(&memory);
  }
}

static void put_entry(bytes *s, bytes value) {
  bytes entry = {NULL, 0, 0};
  put_bytes(&entry, 2, value);
  put_bytes(s, 1, entry);
}

static bytes struct_of_keys(size_t count) {
  bytes s = {NULL, 0, 0};
  for (size_t i = 0; i < count; i++)
    put_chunk(&s, 1, "", 0);
  return s;
}

/* A hundred keys, the last of which holds the others. */
static bytes struct_of_keys_in_two(size_t count) {
  bytes s = struct_of_keys(99), value = {NULL, 0, 0};
  put_bytes(&value, 5, struct_of_keys(count - 100));
  put_entry(&s, value);
  return s;
}

static bytes struct_of_levels(size_t levels) {
  bytes s = {NULL, 0, 0};
  for (; levels > 1; levels--) {
    bytes value = {NULL, 0, 0}, outer = {NULL, 0, 0};
    put_bytes(&value, 5, s);
    put_entry(&outer, value);
    s = outer;
  }
  return s;
}

static bytes struct_of_list(bytes list) {
  bytes value = {NULL, 0, 0}, s = {NULL, 0, 0};
  put_bytes(&value, 6, list);
  put_entry(&s, value);
  return s;
}

/* A Struct whose levels below the first are lists. */
static bytes struct_of_list_levels(size_t levels) {
  bytes list = {NULL, 0, 0};
  for (; levels > 2; levels--) {
    bytes inner = {NULL, 0, 0}, outer = {NULL, 0, 0};
    put_bytes(&inner, 6, list);
    put_bytes(&outer, 1, inner);
    list = outer;
  }
  return struct_of_list(list);
}

/* A message that has so much of the row's field. */
static bytes message_with(const row *r, const ProtobufCFieldDescriptor *f, size_t n) {
  bytes b = {NULL, 0, 0};
  switch (r->kind) {
  case BYTES:
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
      put_letters(&b, f->id, n);
    else
      put_bytes(&b, f->id, f->descriptor == MEMORY ? memory_of_bytes(n) : struct_of_bytes(n));
    break;
  case COUNT:
    for (size_t i = 0; i < n; i++) {
      put_tag(&b, f->id, right_wire_type(f));
      put_raw(&b, "\0\0\0\0", right_wire_type(f) == FIXED32 ? 4 : 1);
    }
    break;
  case KEYS: put_bytes(&b, f->id, struct_of_keys_in_two(n)); break;
  case DEPTH: put_bytes(&b, f->id, struct_of_levels(n)); break;
  default: break;
  }
  return b;
}

static void path_beyond(const row *r, const ProtobufCFieldDescriptor *f, char path[1024]) {
  size_t size = (size_t)snprintf(path, 1024, "%s", r->field);
  if (r->kind == BYTES && f->label == PROTOBUF_C_LABEL_REPEATED)
    snprintf(path + size, 1024 - size, "[0]");
  else if (r->kind == KEYS)
    snprintf(path + size, 1024 - size, ".fields[99].value.struct_value.fields[%u]",
             r->number - 100);
  for (uint32_t level = 1; r->kind == DEPTH && level <= r->number; level++)
    size += (size_t)snprintf(path + size, 1024 - size, ".fields[0].value.struct_value");
}

/* Floats come packed, and the only field that has some is not served. */
static void each_limit_holds_at_n_and_not_beyond(void **state) {
  (void)state;
  size_t tested = 0;
  for (size_t i = 0; i < ROWS; i++) {
    const row *r = &rows[i];
    type d = type_named(r->message);
    const ProtobufCFieldDescriptor *f = field_named(d, r->field);
    if (r->kind >= ROW_UNSERVED || is_refused_when_set(d, r->field) ||
        f->type == PROTOBUF_C_TYPE_FLOAT)
      continue;
    char path[1024], number[16];
    path_beyond(r, f, path);
    snprintf(number, sizeof number, "%u", r->number);
    accepted(d, message_with(r, f, r->number));
    refused(d, message_with(r, f, r->number + 1), "TOO_LARGE", path);
    assert_non_null(strstr(last.message, number));
    tested++;
  }
  assert_true(tested > 90);
}

static void what_is_not_served_or_ours_is_refused_when_set(void **state) {
  (void)state;
  for (size_t i = 0; i < ROWS; i++) {
    if (rows[i].kind < ROW_UNSERVED)
      continue;
    type d = type_named(rows[i].message);
    const ProtobufCFieldDescriptor *f = field_named(d, rows[i].field);
    char path[64];
    snprintf(path, sizeof path, f->label == PROTOBUF_C_LABEL_REPEATED ? "%s[0]" : "%s", f->name);
    const char *reason = rows[i].kind == ROW_UNSERVED ? "NOT_SERVED" : "OUTPUT_ONLY";
    bytes set = {NULL, 0, 0}, zero = {NULL, 0, 0}, wrong = {NULL, 0, 0};
    put_sample_field(&set, f, 0);
    refused(d, set, reason, path);
    put_tag(&zero, f->id, right_wire_type(f)); /* set to its zero is set */
    put_raw(&zero, "\0\0\0\0\0\0\0\0", right_wire_type(f) == FIXED32 ? 4 : 1);
    refused(d, zero, reason, path);
    put_tag(&wrong, f->id, GROUP);
    refused(d, wrong, reason, path);
  }
}

static void limits_in_their_place_have_the_whole_path(void **state) {
  (void)state;
  bytes fine = {NULL, 0, 0}, long_key = {NULL, 0, 0}, append = {NULL, 0, 0};
  put_text(&fine, 9, "fine");
  put_letters(&long_key, 3, 513);
  put_bytes(&append, 3, fine);
  put_bytes(&append, 3, long_key);
  bytes ingest = {NULL, 0, 0};
  put_bytes(&ingest, 1, append);
  refused(INGEST, ingest, "TOO_LARGE", "append.memories[1].key");
  assert_string_equal(last.message, "append.memories[1].key: more than 512 bytes");

  bytes get = {NULL, 0, 0};
  for (int i = 0; i < 12; i++)
    put_text(&get, 3, "id");
  put_letters(&get, 3, 129);
  refused(GET, get, "TOO_LARGE", "ids[12]");

  bytes memory = {NULL, 0, 0}, b = {NULL, 0, 0};
  for (int i = 0; i < 17; i++)
    put_chunk(&memory, 10, "", 0);
  put_bytes(&b, 3, memory);
  refused(APPEND, b, "TOO_LARGE", "memories[0].parts");

  bytes output = {NULL, 0, 0}, o = {NULL, 0, 0};
  put_int(&output, 2, 7);
  put_bytes(&o, 3, output);
  refused(APPEND, o, "OUTPUT_ONLY", "memories[0].sequence");
}

/* --- The budget of metadata ---------------------------------------------- */

static bytes append_of(bytes metadata) {
  bytes memory = {NULL, 0, 0}, b = {NULL, 0, 0};
  put_bytes(&memory, 11, metadata);
  put_bytes(&b, 3, memory);
  return b;
}

static void lists_count_as_levels(void **state) {
  (void)state;
  accepted(APPEND, append_of(struct_of_list_levels(16)));
  char path[1024];
  size_t size = (size_t)snprintf(path, sizeof path,
                                 "memories[0].metadata.fields[0].value.list_value");
  for (int level = 3; level <= 17; level++)
    size += (size_t)snprintf(path + size, sizeof path - size, ".values[0].list_value");
  refused(APPEND, append_of(struct_of_list_levels(17)), "TOO_LARGE", path);
}

/* Levels are closed again: many neighbours are not deep. */
static void neighbours_do_not_add_up_to_levels(void **state) {
  (void)state;
  bytes s = {NULL, 0, 0};
  for (int i = 0; i < 15; i++) {
    bytes value = {NULL, 0, 0};
    put_bytes(&value, 5, struct_of_levels(15));
    put_entry(&s, value);
  }
  accepted(APPEND, append_of(s)); /* 15 + 15 * 14 keys, 16 levels */
}

/* All keys are the same here: the wire is what is bounded. */
static void each_metadata_has_its_own_budget(void **state) {
  (void)state;
  bytes b = {NULL, 0, 0};
  for (int i = 0; i < 3; i++) {
    bytes memory = {NULL, 0, 0};
    put_bytes(&memory, 11, struct_of_keys_in_two(256));
    put_bytes(&b, 3, memory);
  }
  put_bytes(&b, 9, struct_of_levels(16));
  accepted(APPEND, b);
}

static void empty_lists_and_values_are_cheap_and_bounded(void **state) {
  (void)state;
  bytes list = {NULL, 0, 0};
  for (int i = 0; i < 32000; i++)
    put_chunk(&list, 1, "", 0);
  accepted(APPEND, append_of(struct_of_list(list)));
}

/* --- Depth --------------------------------------------------------------- */

/* So many levels around nothing, written from the end: tags = those that make one
 * level, from the inside out. */
static bytes nest(size_t levels, const uint8_t *tags, size_t tag_count) {
  size_t room = levels * tag_count * 6, at = room, size = 0;
  uint8_t *data = malloc(room + 1);
  assert_non_null(data);
  for (size_t i = 0; i < levels * tag_count; i++) {
    bytes head = {NULL, 0, 0};
    put_byte(&head, tags[i % tag_count]);
    put_varint(&head, size);
    at -= head.size;
    memcpy(data + at, head.data, head.size);
    size = room - at;
    bytes_free(&head);
  }
  memmove(data, data + at, size);
  return (bytes){data, size, room};
}

static const uint8_t list_tags[] = {6 << 3 | CHUNK, 1 << 3 | CHUNK};
static const uint8_t struct_tags[] = {5 << 3 | CHUNK, 2 << 3 | CHUNK, 1 << 3 | CHUNK};

typedef struct deep {
  type type;
  bytes bytes;
  bool ok;
} deep;

static void *run_deep(void *ctx) {
  deep *d = ctx;
  arena_clear(&shared);
  last = (error){0};
  d->ok = check_message(d->type, d->bytes.data, d->bytes.size, &shared, &last);
  return NULL;
}

/* In a thread whose stack is smaller than 10,000 frames could be. */
static void deep_nesting_takes_no_stack(void **state) {
  (void)state;
  static const size_t levels[] = {33, 100, 1000, 10000, 100000};
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
    deep rows_of[] = {
        {LIST, nest(levels[i], list_tags, 2), true},
        {STRUCT, nest(levels[i], struct_tags, 3), true},
        {APPEND, append_of(struct_of_list(nest(levels[i], list_tags, 2))), true},
        {APPEND, append_of(nest(levels[i], struct_tags, 3)), true},
    };
    for (size_t j = 0; j < sizeof rows_of / sizeof *rows_of; j++) {
      pthread_attr_t attr;
      pthread_t thread;
      pthread_attr_init(&attr);
      assert_int_equal(pthread_attr_setstacksize(&attr, 256 * 1024), 0);
      assert_int_equal(pthread_create(&thread, &attr, run_deep, &rows_of[j]), 0);
      pthread_join(thread, NULL);
      pthread_attr_destroy(&attr);
      assert_false(rows_of[j].ok);
      assert_int_equal(last.code, CODE_INVALID_ARGUMENT);
      assert_non_null(last.reason);
      bytes_free(&rows_of[j].bytes);
    }
  }
}

static void depth_has_its_own_limit_without_metadata(void **state) {
  (void)state;
  accepted(LIST, nest(32, list_tags, 2)); /* 64 messages below the list */
  bytes deeper = nest(33, list_tags, 2);
  assert_false(check_raw(LIST, deeper.data, deeper.size));
  assert_string_equal(last.reason, "TOO_LARGE");
  assert_non_null(strstr(last.message, "more than 64 messages deep"));
  bytes_free(&deeper);
}

/* --- No memory ----------------------------------------------------------- */

static void a_refusal_needs_no_memory(void **state) {
  (void)state;
  static arena small;
  arena_init(&small, 0);
  arena_alloc(&small, ARENA_FIRST_BYTES);
  bytes b = {NULL, 0, 0};
  put_letters(&b, 1, 129);
  error e = {0};
  assert_false(check_message(POP, b.data, b.size, &small, &e));
  assert_int_equal(e.code, CODE_INVALID_ARGUMENT);
  assert_string_equal(e.reason, "TOO_LARGE");
  assert_non_null(e.message);
  bytes_free(&b);
  arena_clear(&small);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(empty_messages_pass),
      cmocka_unit_test(messages_with_everything_pass),
      cmocka_unit_test(every_prefix_is_whole_fields_or_refused),
      cmocka_unit_test(every_prefix_of_an_inner_message_is_told),
      cmocka_unit_test(every_altered_bit_is_refused_or_unpacks),
      cmocka_unit_test(wrong_wire_types_are_refused),
      cmocka_unit_test(unknown_fields_are_refused),
      cmocka_unit_test(unknown_fields_deep_inside_are_named_by_their_message),
      cmocka_unit_test(field_number_zero_is_refused),
      cmocka_unit_test(tags_of_more_than_32_bits_are_refused),
      cmocka_unit_test(groups_are_refused),
      cmocka_unit_test(varints_have_ten_bytes_at_most),
      cmocka_unit_test(tags_and_lengths_have_five_bytes_at_most),
      cmocka_unit_test(lengths_that_lie_are_refused),
      cmocka_unit_test(singular_fields_stand_once),
      cmocka_unit_test(strings_are_valid_utf8_without_nul),
      cmocka_unit_test(every_string_is_looked_at),
      cmocka_unit_test(paths_of_strings_deep_inside),
      cmocka_unit_test(numbers_are_finite),
      cmocka_unit_test(each_limit_holds_at_n_and_not_beyond),
      cmocka_unit_test(what_is_not_served_or_ours_is_refused_when_set),
      cmocka_unit_test(limits_in_their_place_have_the_whole_path),
      cmocka_unit_test(lists_count_as_levels),
      cmocka_unit_test(neighbours_do_not_add_up_to_levels),
      cmocka_unit_test(each_metadata_has_its_own_budget),
      cmocka_unit_test(empty_lists_and_values_are_cheap_and_bounded),
      cmocka_unit_test(deep_nesting_takes_no_stack),
      cmocka_unit_test(depth_has_its_own_limit_without_metadata),
      cmocka_unit_test(a_refusal_needs_no_memory),
  };
  return cmocka_run_group_tests_name("check", tests, begin, end);
}
