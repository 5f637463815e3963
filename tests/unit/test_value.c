/* Metadata: its canonical form, merging by RFC 7396, and the limits of what comes
 * out. Structs are written as JSON here; a small parser and printer of the
 * subset that the tests need stand at the top. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "cmocka_test.h"
#include "wire/check.h"
#include "wire/internal.h"
#include "wire_bytes.h"

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

/* --- JSON in ------------------------------------------------------------- */

/* Of strings no escapes; "?" is a Value in which nothing is set, "!" an entry
 * without a value. */
static bytes value_in(const char **p);

static void blank(const char **p) {
  while (**p == ' ')
    ++*p;
}

static bytes text_in(const char **p) {
  bytes b = {NULL, 0, 0};
  assert_int_equal(**p, '"');
  const char *from = ++*p;
  while (**p != '"')
    ++*p;
  put_raw(&b, from, (size_t)(*p - from));
  ++*p;
  return b;
}

static bytes struct_in(const char **p) {
  bytes s = {NULL, 0, 0};
  assert_int_equal(**p, '{');
  ++*p;
  for (blank(p); **p != '}'; blank(p)) {
    bytes entry = {NULL, 0, 0};
    put_bytes(&entry, 1, text_in(p));
    assert_int_equal(**p, ':');
    ++*p;
    blank(p);
    if (**p == '!')
      ++*p;
    else
      put_bytes(&entry, 2, value_in(p));
    put_bytes(&s, 1, entry);
    if (**p == ',')
      ++*p;
  }
  ++*p;
  return s;
}

static bytes list_in(const char **p) {
  bytes list = {NULL, 0, 0};
  ++*p;
  for (blank(p); **p != ']'; blank(p)) {
    put_bytes(&list, 1, value_in(p));
    if (**p == ',')
      ++*p;
  }
  ++*p;
  return list;
}

static bytes value_in(const char **p) {
  bytes v = {NULL, 0, 0};
  if (**p == '{') {
    put_bytes(&v, 5, struct_in(p));
  } else if (**p == '[') {
    put_bytes(&v, 6, list_in(p));
  } else if (**p == '"') {
    put_bytes(&v, 3, text_in(p));
  } else if (strncmp(*p, "null", 4) == 0) {
    put_int(&v, 1, 0);
    *p += 4;
  } else if (strncmp(*p, "true", 4) == 0) {
    put_int(&v, 4, 1);
    *p += 4;
  } else if (strncmp(*p, "false", 5) == 0) {
    put_int(&v, 4, 0);
    *p += 5;
  } else if (**p == '?') {
    ++*p;
  } else {
    char *after;
    put_double(&v, 2, strtod(*p, &after));
    assert_true(after != *p);
    *p = after;
  }
  blank(p);
  return v;
}

static pb_struct *struct_of(const char *json) {
  bytes b = struct_in(&json);
  assert_int_equal(*json, '\0');
  ProtobufCAllocator allocator = wire_allocator(&shared);
  static const uint8_t none[1];
  pb_struct *s =
      google__protobuf__struct__unpack(&allocator, b.size, b.data != NULL ? b.data : none);
  assert_non_null(s);
  bytes_free(&b);
  return s;
}

static pb_struct *canonical_of(const char *json) {
  pb_struct *s = struct_of(json);
  wire_canonical(s);
  return s;
}

/* --- JSON out ------------------------------------------------------------ */

static const char *print_struct(const pb_struct *s);

static const char *print_value(const pb_value *v) {
  assert_non_null(v);
  switch ((int)v->kind_case) {
  case GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE:
    return v->null_value == 0 ? "null" : "null that is not 0";
  case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
    return arena_printf(&shared, "%.17g", v->number_value);
  case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
    return arena_printf(&shared, "\"%s\"", v->string_value);
  case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE: return v->bool_value ? "true" : "false";
  case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE: return print_struct(v->struct_value);
  case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE: {
    const char *text = "[";
    for (size_t i = 0; i < v->list_value->n_values; i++)
      text = arena_printf(&shared, "%s%s%s", text, i > 0 ? "," : "",
                          print_value(v->list_value->values[i]));
    return arena_printf(&shared, "%s]", text);
  }
  default: return "a value without a kind";
  }
}

static const char *print_struct(const pb_struct *s) {
  const char *text = "{";
  for (size_t i = 0; i < s->n_fields; i++)
    text = arena_printf(&shared, "%s%s\"%s\":%s", text, i > 0 ? "," : "", s->fields[i]->key,
                        print_value(s->fields[i]->value));
  return arena_printf(&shared, "%s}", text);
}

static mneme_bytes packed(const pb_struct *s) {
  mneme_bytes b;
  assert_true(wire_pack_bytes(&shared, &s->base, &b));
  return b;
}

static const char *print_bytes(mneme_bytes b) {
  ProtobufCAllocator allocator = wire_allocator(&shared);
  pb_struct *s =
      google__protobuf__struct__unpack(&allocator, b.size, (const uint8_t *)b.data);
  assert_non_null(s);
  return print_struct(s);
}

/* --- Canonical form ------------------------------------------------------ */

static const struct {
  const char *in, *out;
} canonical[] = {
    {"{}", "{}"},
    {"{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}"},
    {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
    {"{\"a\":1,\"b\":5,\"a\":2,\"b\":6,\"a\":3}", "{\"a\":3,\"b\":6}"},
    {"{\"\":1,\"a\":2,\"\":3}", "{\"\":3,\"a\":2}"},
    /* By bytes: capitals first, letters beyond ASCII last, a prefix before. */
    {"{\"\xC3\xA4\":1,\"b\":2,\"B\":3,\"bb\":4}", "{\"B\":3,\"b\":2,\"bb\":4,\"\xC3\xA4\":1}"},
    {"{\"\xEF\xBF\xBF\":1,\"\xF0\x90\x80\x80\":2}", "{\"\xEF\xBF\xBF\":1,\"\xF0\x90\x80\x80\":2}"},
    /* The last of equal keys counts as a whole: objects are not merged. */
    {"{\"a\":{\"x\":1},\"a\":{\"y\":2}}", "{\"a\":{\"y\":2}}"},
    {"{\"a\":{\"x\":1},\"a\":null}", "{\"a\":null}"},
    {"{\"a\":1,\"a\":!}", "{\"a\":null}"},
    /* Missing values, at every level. */
    {"{\"a\":!}", "{\"a\":null}"},
    {"{\"a\":?}", "{\"a\":null}"},
    {"{\"a\":{\"b\":?,\"c\":!}}", "{\"a\":{\"b\":null,\"c\":null}}"},
    {"{\"a\":[?,1,?]}", "{\"a\":[null,1,null]}"},
    /* Sorted inside objects and lists; lists keep their order. */
    {"{\"z\":{\"b\":1,\"a\":{\"d\":1,\"c\":2}},\"a\":[3,{\"y\":1,\"x\":2,\"y\":5},1]}",
     "{\"a\":[3,{\"x\":2,\"y\":5},1],\"z\":{\"a\":{\"c\":2,\"d\":1},\"b\":1}}"},
    {"{\"a\":[[[{\"b\":1,\"a\":2}]]]}", "{\"a\":[[[{\"a\":2,\"b\":1}]]]}"},
    {"{\"t\":true,\"f\":false,\"s\":\"\",\"n\":0}", "{\"f\":false,\"n\":0,\"s\":\"\",\"t\":true}"},
};

static void the_canonical_form_is_sorted_unique_and_whole(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof canonical / sizeof *canonical; i++) {
    pb_struct *s = canonical_of(canonical[i].in);
    assert_string_equal(print_struct(s), canonical[i].out);
    mneme_bytes once = packed(s);
    /* What is written is read back the same, and is canonical already. */
    assert_string_equal(print_bytes(once), canonical[i].out);
    wire_canonical(s);
    mneme_bytes twice = packed(s);
    assert_int_equal(once.size, twice.size);
    assert_memory_equal(once.data, twice.data, once.size);
    /* It passes the check that its like passed on the way in. */
    error e = {0};
    assert_true(check_message(&google__protobuf__struct__descriptor, (const uint8_t *)once.data,
                              once.size, &shared, &e));
  }
}

static void equal_metadata_has_equal_bytes(void **state) {
  (void)state;
  static const char *const same[] = {
      "{\"a\":null,\"b\":[1,null],\"c\":{\"d\":true}}",
      "{\"c\":{\"d\":true},\"b\":[1,?],\"a\":!}",
      "{\"a\":?,\"c\":{\"d\":false,\"d\":true},\"b\":[1,null]}",
      "{\"b\":7,\"a\":1,\"c\":[],\"b\":[1,null],\"c\":{\"d\":true},\"a\":null}",
  };
  mneme_bytes first = packed(canonical_of(same[0]));
  for (size_t i = 1; i < sizeof same / sizeof *same; i++) {
    mneme_bytes other = packed(canonical_of(same[i]));
    assert_int_equal(first.size, other.size);
    assert_memory_equal(first.data, other.data, first.size);
  }
}

/* An enum is open on the wire: null may come as any number. */
static void null_has_one_form(void **state) {
  (void)state;
  pb_struct *s = struct_of("{\"a\":null,\"b\":[null]}");
  s->fields[0]->value->null_value = (Google__Protobuf__NullValue)5;
  s->fields[1]->value->list_value->values[0]->null_value = (Google__Protobuf__NullValue)-1;
  wire_canonical(s);
  mneme_bytes odd = packed(s), plain = packed(canonical_of("{\"a\":null,\"b\":[null]}"));
  assert_int_equal(odd.size, plain.size);
  assert_memory_equal(odd.data, plain.data, odd.size);
}

static void many_keys_are_sorted(void **state) {
  (void)state;
  pb_struct *s = struct_of("{}");
  pb_entry entries[256];
  pb_entry *pointers[256];
  char names[256][8];
  for (int i = 0; i < 256; i++) {
    google__protobuf__struct__fields_entry__init(&entries[i]);
    snprintf(names[i], sizeof names[i], "%d", i * 37 % 128); /* each name twice */
    entries[i].key = names[i];
    pointers[i] = &entries[i];
  }
  s->fields = pointers;
  s->n_fields = 256;
  wire_canonical(s);
  assert_int_equal(s->n_fields, 128);
  for (int i = 0; i < 128; i++) {
    assert_true(i == 0 || strcmp(s->fields[i - 1]->key, s->fields[i]->key) < 0);
    assert_true(s->fields[i] >= &entries[128]); /* the later ones */
  }
}

/* --- RFC 7396 ------------------------------------------------------------ */

static const char *merge(const char *target, const char *patch) {
  pb_struct *s = wire_patch(canonical_of(target), canonical_of(patch), &shared);
  assert_non_null(s);
  return print_struct(s);
}

static const struct {
  const char *target, *patch, *result;
} examples[] = {
    /* Appendix A, in its order. Left out: those whose target, patch or result is
     * no object, which a Struct is always. */
    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
    {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    /* The examples of sections 1 and 3. */
    {"{\"a\":\"b\",\"c\":{\"d\":\"e\",\"f\":\"g\"}}", "{\"a\":\"z\",\"c\":{\"f\":null}}",
     "{\"a\":\"z\",\"c\":{\"d\":\"e\"}}"},
    {"{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\",\"familyName\":\"Doe\"},"
     "\"tags\":[\"example\",\"sample\"],\"content\":\"This will be unchanged\"}",
     "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\","
     "\"author\":{\"familyName\":null},\"tags\":[\"example\"]}",
     "{\"author\":{\"givenName\":\"John\"},\"content\":\"This will be unchanged\","
     "\"phoneNumber\":\"+01-123-456-7890\",\"tags\":[\"example\"],\"title\":\"Hello!\"}"},
    /* What the RFC says in words only. */
    {"{}", "{}", "{}"},
    {"{\"a\":1}", "{}", "{\"a\":1}"},
    {"{}", "{\"a\":null}", "{}"},
    {"{\"a\":1}", "{\"a\":{}}", "{\"a\":{}}"},
    {"{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":1}}"},
    {"{\"a\":{\"b\":1}}", "{\"a\":2}", "{\"a\":2}"},
    {"{\"a\":[1,2]}", "{\"a\":{\"b\":1,\"c\":null}}", "{\"a\":{\"b\":1}}"},
    {"{}", "{\"a\":[null,{\"b\":null}]}", "{\"a\":[null,{\"b\":null}]}"},
    {"{\"a\":{\"n\":null}}", "{\"a\":{\"m\":1}}", "{\"a\":{\"m\":1,\"n\":null}}"},
    {"{\"b\":1,\"d\":2}", "{\"a\":1,\"c\":2,\"e\":3}",
     "{\"a\":1,\"b\":1,\"c\":2,\"d\":2,\"e\":3}"},
    {"{\"b\":1}", "{\"b\":!}", "{}"},
};

static void merging_is_that_of_rfc_7396(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
    assert_string_equal(merge(examples[i].target, examples[i].patch), examples[i].result);
}

static void merging_over_nothing_begins_from_an_empty_object(void **state) {
  (void)state;
  pb_struct *s = wire_patch(NULL, canonical_of("{\"a\":1,\"b\":null}"), &shared);
  assert_string_equal(print_struct(s), "{\"a\":1}");
}

static void merged_bytes_are_canonical(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    error e = {0};
    mneme_bytes merged;
    assert_true(wire_merge_patch(packed(canonical_of(examples[i].target)),
                                 packed(canonical_of(examples[i].patch)), "metadata_patch",
                                 &shared, &merged, &e));
    mneme_bytes expected = packed(canonical_of(examples[i].result));
    assert_int_equal(merged.size, expected.size);
    assert_memory_equal(merged.data, expected.data, merged.size);
  }
}

static void a_session_without_metadata_takes_a_patch(void **state) {
  (void)state;
  error e = {0};
  mneme_bytes none = {NULL, 0}, merged;
  assert_true(wire_merge_patch(none, packed(canonical_of("{\"a\":1}")), "metadata_patch", &shared,
                               &merged, &e));
  assert_string_equal(print_bytes(merged), "{\"a\":1}");
  assert_true(wire_merge_patch(none, none, "metadata_patch", &shared, &merged, &e));
  assert_int_equal(merged.size, 0);
}

/* --- Limits after a merge ------------------------------------------------ */

static pb_struct *struct_of_keys(int from, int count) {
  const char *json = "{";
  for (int i = from; i < from + count; i++)
    json = arena_printf(&shared, "%s%s\"k%04d\":%d", json, i > from ? "," : "", i, i);
  return canonical_of(arena_printf(&shared, "%s}", json));
}

/* The merge of the two passes, or is refused as too large; its message then. */
static const char *merge_error(const pb_struct *target, const pb_struct *patch) {
  error e = {0};
  mneme_bytes merged;
  if (wire_merge_patch(packed(target), packed(patch), "session_metadata_patch", &shared, &merged,
                       &e))
    return "";
  assert_int_equal(e.code, CODE_INVALID_ARGUMENT);
  assert_string_equal(e.reason, "TOO_LARGE");
  assert_string_equal(e.field, "session_metadata_patch");
  return e.message;
}

static void keys_are_counted_after_the_merge(void **state) {
  (void)state;
  assert_string_equal(merge_error(struct_of_keys(0, 200), struct_of_keys(200, 56)), "");
  assert_non_null(strstr(merge_error(struct_of_keys(0, 200), struct_of_keys(200, 57)), "256 keys"));
  /* Keys that replace others add none. */
  assert_string_equal(merge_error(struct_of_keys(0, 256), struct_of_keys(0, 256)), "");
  /* Keys of inner objects count, in lists too. */
  pb_struct *inner = canonical_of("{\"a\":{\"b\":1,\"c\":[{\"d\":1},{\"e\":2}]}}");
  assert_string_equal(merge_error(struct_of_keys(0, 251), inner), "");
  assert_non_null(strstr(merge_error(struct_of_keys(0, 252), inner), "256 keys"));
  /* A patch that takes away makes room. */
  assert_string_equal(merge_error(struct_of_keys(0, 256), canonical_of("{\"k0000\":null,\"z\":1}")),
                      "");
}

static pb_struct *struct_of_levels(int levels, const char *leaf) {
  const char *json = leaf;
  for (int i = 0; i < levels; i++)
    json = arena_printf(&shared, "{\"a\":%s}", json);
  return canonical_of(json);
}

static void levels_are_counted_after_the_merge(void **state) {
  (void)state;
  assert_string_equal(merge_error(struct_of_levels(16, "1"), struct_of_levels(16, "2")), "");
  error e = {0};
  assert_true(wire_check_metadata(struct_of_levels(16, "1"), "f", &shared, &e));
  assert_true(wire_check_metadata(struct_of_levels(15, "[1]"), "f", &shared, &e));
  assert_false(wire_check_metadata(struct_of_levels(17, "1"), "f", &shared, &e));
  assert_non_null(strstr(e.message, "16 levels"));
  e = (error){0};
  assert_false(wire_check_metadata(struct_of_levels(16, "[1]"), "f", &shared, &e));
  assert_non_null(strstr(e.message, "16 levels"));
}

/* {"a": "xxx..."} of that many bytes in all. */
static pb_struct *struct_of_bytes(const char *key, size_t size) {
  for (size_t letters = size - 32;; letters++) {
    pb_struct *s = struct_of(arena_printf(&shared, "{\"%s\":\"\"}", key));
    char *text = arena_alloc(&shared, letters + 1);
    memset(text, 'x', letters);
    text[letters] = '\0';
    s->fields[0]->value->string_value = text;
    if (protobuf_c_message_get_packed_size(&s->base) == size)
      return s;
    assert_true(protobuf_c_message_get_packed_size(&s->base) < size);
  }
}

static void bytes_are_counted_after_the_merge(void **state) {
  (void)state;
  pb_struct *half = struct_of_bytes("a", 32768);
  assert_string_equal(merge_error(half, struct_of_bytes("b", 32768)), "");
  assert_non_null(strstr(merge_error(half, struct_of_bytes("b", 32769)), "65536 bytes"));
  assert_string_equal(merge_error(half, struct_of_bytes("a", 65536)), "");
}

/* --- No memory ----------------------------------------------------------- */

static void no_memory_is_told(void **state) {
  (void)state;
  mneme_bytes a = packed(canonical_of("{\"a\":{\"b\":1}}"));
  mneme_bytes b = packed(canonical_of("{\"a\":{\"c\":1}}"));
  static arena small;
  for (size_t left = 0; left < ARENA_FIRST_BYTES; left += 16) {
    arena_init(&small, 0);
    arena_alloc(&small, ARENA_FIRST_BYTES - left);
    error e = {0};
    mneme_bytes merged = {NULL, 7};
    if (wire_merge_patch(a, b, "metadata_patch", &small, &merged, &e)) {
      assert_true(left > 256);
      assert_string_equal(print_bytes(merged), "{\"a\":{\"b\":1,\"c\":1}}");
    } else {
      assert_string_equal(e.reason, "NO_MEMORY");
      assert_int_equal(merged.size, 7);
    }
    arena_clear(&small);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(the_canonical_form_is_sorted_unique_and_whole, begin, end),
      cmocka_unit_test_setup_teardown(equal_metadata_has_equal_bytes, begin, end),
      cmocka_unit_test_setup_teardown(null_has_one_form, begin, end),
      cmocka_unit_test_setup_teardown(many_keys_are_sorted, begin, end),
      cmocka_unit_test_setup_teardown(merging_is_that_of_rfc_7396, begin, end),
      cmocka_unit_test_setup_teardown(merging_over_nothing_begins_from_an_empty_object, begin, end),
      cmocka_unit_test_setup_teardown(merged_bytes_are_canonical, begin, end),
      cmocka_unit_test_setup_teardown(a_session_without_metadata_takes_a_patch, begin, end),
      cmocka_unit_test_setup_teardown(keys_are_counted_after_the_merge, begin, end),
      cmocka_unit_test_setup_teardown(levels_are_counted_after_the_merge, begin, end),
      cmocka_unit_test_setup_teardown(bytes_are_counted_after_the_merge, begin, end),
      cmocka_unit_test_setup_teardown(no_memory_is_told, begin, end),
  };
  return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
