/* Stored bodies and metadata read where they lie. The bytes are made by hand. */
#include <stdbool.h>

#include "cmocka_test.h"
#include "wire/stored.h"
#include "wire_bytes.h"

static bytes value_null(void) {
  bytes b = {0};
  put_int(&b, 1, 0);
  return b;
}

static bytes value_number(double d) {
  bytes b = {0};
  put_double(&b, 2, d);
  return b;
}

static bytes value_text(const char *text) {
  bytes b = {0};
  put_text(&b, 3, text);
  return b;
}

static bytes value_bool(bool is) {
  bytes b = {0};
  put_int(&b, 4, is);
  return b;
}

static bytes value_in(uint32_t number, bytes inner) {
  bytes b = {0};
  put_bytes(&b, number, inner);
  return b;
}

/* An empty key is not on the wire. */
static void put_entry(bytes *object, const char *key, bytes value) {
  bytes entry = {0};
  if (*key != '\0')
    put_text(&entry, 1, key);
  put_bytes(&entry, 2, value);
  put_bytes(object, 1, entry);
}

/* {"":null,"a":{"b":true,"c\"":"é"},"l":[1.5,[],{},"x",null,false],"n":-0} */
static bytes sample(void) {
  bytes object = {0}, inner = {0}, list = {0};
  put_entry(&inner, "b", value_bool(true));
  put_entry(&inner, "c\"", value_text("é"));
  put_bytes(&list, 1, value_number(1.5));
  put_bytes(&list, 1, value_in(6, (bytes){0}));
  put_bytes(&list, 1, value_in(5, (bytes){0}));
  put_bytes(&list, 1, value_text("x"));
  put_bytes(&list, 1, value_null());
  put_bytes(&list, 1, value_bool(false));
  put_entry(&object, "", value_null());
  put_entry(&object, "a", value_in(5, inner));
  put_entry(&object, "l", value_in(6, list));
  put_entry(&object, "n", value_number(-0.0));
  return object;
}

static mneme_bytes as(bytes b) {
  return mneme_bytes_of((const char *)b.data, b.size);
}

static stored_value find(bytes object, size_t count, const char *const *keys) {
  mneme_bytes path[4];
  for (size_t i = 0; i < count; i++)
    path[i] = mneme_bytes_of(keys[i], strlen(keys[i]));
  return stored_find(as(object), path, count);
}
#define FIND(object, ...)                                                                        \
  find(object, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                           \
       (const char *[]){__VA_ARGS__})

#define IS(value, expected)                                                                      \
  do {                                                                                           \
    assert_int_equal((value).text.size, strlen(expected));                                       \
    assert_memory_equal((value).text.data, expected, strlen(expected));                          \
  } while (0)

static void values_are_found(void **state) {
  (void)state;
  bytes object = sample();
  assert_int_equal(FIND(object, "").kind, STORED_NULL);
  assert_int_equal(FIND(object, "a").kind, STORED_OBJECT);
  assert_int_equal(FIND(object, "a", "b").kind, STORED_BOOL);
  assert_true(FIND(object, "a", "b").boolean);
  assert_int_equal(FIND(object, "a", "c\"").kind, STORED_STRING);
  IS(FIND(object, "a", "c\""), "é");
  assert_int_equal(FIND(object, "n").kind, STORED_NUMBER);
  assert_true(FIND(object, "n").number == 0);
  assert_int_equal(FIND(object, "l").kind, STORED_LIST);
  assert_int_equal(FIND(object, "x").kind, STORED_NONE);
  assert_int_equal(FIND(object, "a", "").kind, STORED_NONE);
  assert_int_equal(FIND(object, "a", "b", "c").kind, STORED_NONE);
  assert_int_equal(FIND(object, "l", "0").kind, STORED_NONE);
  assert_int_equal(FIND(object, "aa").kind, STORED_NONE);
  assert_int_equal(FIND((bytes){0}, "a").kind, STORED_NONE);
  bytes_free(&object);
}

static void a_list_is_walked(void **state) {
  (void)state;
  static const stored_kind kinds[] = {STORED_NUMBER, STORED_LIST, STORED_OBJECT,
                                      STORED_STRING, STORED_NULL, STORED_BOOL};
  bytes object = sample();
  mneme_bytes rest = FIND(object, "l").text;
  stored_value v;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    assert_true(stored_next(&rest, &v));
    assert_int_equal(v.kind, kinds[i]);
  }
  assert_false(v.boolean);
  assert_false(stored_next(&rest, &v));
  bytes_free(&object);
}

static void json_is_canonical(void **state) {
  (void)state;
  static const char expected[] = "{\"\":null,\"a\":{\"b\":true,\"c\\\"\":\"é\"},\"l\":[1.5,[],{},"
                                 "\"x\",null,false],\"n\":0}";
  arena a;
  bytes object = sample();
  mneme_bytes json;
  arena_init(&a, 1024 * 1024);
  assert_true(stored_json(as(object), &a, &json));
  assert_int_equal(json.size, strlen(expected));
  assert_string_equal(json.data, expected);
  assert_true(stored_json(mneme_bytes_of("", 0), &a, &json));
  assert_string_equal(json.data, "{}");
  stored_value list = FIND(object, "l"), inner = FIND(object, "a");
  static const char in_list[] = "[1.5,[],{},\"x\",null,false]";
  static const char in_object[] = "{\"b\":true,\"c\\\"\":\"é\"}";
  assert_true(stored_is_json(&list, mneme_bytes_of(in_list, strlen(in_list))));
  assert_false(stored_is_json(&list, mneme_bytes_of(in_list, strlen(in_list) - 1)));
  assert_false(stored_is_json(&list, mneme_bytes_of("[]", 2)));
  assert_true(stored_is_json(&inner, mneme_bytes_of(in_object, strlen(in_object))));
  assert_false(stored_is_json(&inner, mneme_bytes_of(in_list, strlen(in_list))));
  arena_clear(&a);
  bytes_free(&object);
}

static void a_body_has_content_and_metadata(void **state) {
  (void)state;
  bytes body = {0}, part = {0};
  mneme_bytes metadata;
  put_text(&body, 9, "text");
  put_text(&part, 1, "a/b");
  put_letters(&part, 2, 300);
  put_bytes(&body, 10, part);
  size_t before = body.size;
  put_bytes(&body, 11, sample());
  mneme_bytes content = stored_content(as(body));
  assert_int_equal(content.size, 4);
  assert_memory_equal(content.data, "text", 4);
  assert_true(stored_metadata(as(body), &metadata));
  assert_int_equal(metadata.size, body.size - before - 2);
  /* Without either. */
  assert_false(stored_metadata(mneme_bytes_of((char *)body.data, before), &metadata));
  bytes only = {0};
  put_bytes(&only, 11, (bytes){0});
  assert_int_equal(stored_content(as(only)).size, 0);
  assert_true(stored_metadata(as(only), &metadata));
  assert_int_equal(metadata.size, 0);
  assert_int_equal(stored_content(mneme_bytes_of(NULL, 0)).size, 0);
  assert_false(stored_metadata(mneme_bytes_of(NULL, 0), &metadata));
  bytes_free(&body);
  bytes_free(&only);
}

/* Damaged bytes end the walk and nothing else: the sanitizers look on. */
static void damaged_bytes_end_the_walk(void **state) {
  (void)state;
  bytes object = sample();
  uint8_t *copy = malloc(object.size);
  for (size_t size = 0; size <= object.size; size++) {
    uint8_t *cut = malloc(size > 0 ? size : 1); /* so that a byte too far is seen */
    memcpy(cut, object.data, size);
    mneme_bytes b = mneme_bytes_of((char *)cut, size), metadata, json;
    static const mneme_bytes path[] = {{"a", 1}, {"c\"", 2}};
    arena a;
    arena_init(&a, 1024 * 1024);
    stored_content(b);
    stored_metadata(b, &metadata);
    stored_find(b, path, 2);
    assert_true(stored_json(b, &a, &json));
    arena_clear(&a);
    free(cut);
  }
  for (size_t i = 0; i < object.size * 255; i++) {
    memcpy(copy, object.data, object.size);
    copy[i / 255] ^= (uint8_t)(i % 255 + 1);
    mneme_bytes b = mneme_bytes_of((char *)copy, object.size), json;
    arena a;
    arena_init(&a, 1024 * 1024);
    assert_true(stored_json(b, &a, &json));
    arena_clear(&a);
  }
  free(copy);
  bytes_free(&object);
}

/* Deeper than metadata may be: the writer stops, whatever the bytes say. */
static void depth_has_an_end(void **state) {
  (void)state;
  bytes list = {0};
  for (int i = 0; i < 3000; i++) {
    bytes outer = {0};
    put_bytes(&outer, 1, value_in(6, list));
    list = outer;
  }
  bytes object = {0};
  put_entry(&object, "l", value_in(6, list));
  arena a;
  mneme_bytes json;
  arena_init(&a, 1024 * 1024);
  assert_false(stored_json(as(object), &a, &json));
  arena_clear(&a);
  bytes_free(&object);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_found),
      cmocka_unit_test(a_list_is_walked),
      cmocka_unit_test(json_is_canonical),
      cmocka_unit_test(a_body_has_content_and_metadata),
      cmocka_unit_test(damaged_bytes_end_the_walk),
      cmocka_unit_test(depth_has_an_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
