/* Canonical JSON: the text of strings and numbers, gathered and compared. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cmocka_test.h"

static void numbers(void **state) {
  (void)state;
  static const struct {
    double number;
    const char *text;
  } rows[] = {
      {0, "0"},
      {-0.0, "0"},
      {1, "1"},
      {-1, "-1"},
      {1.5, "1.5"},
      {0.1, "0.1"},
      {0.30000000000000004, "0.30000000000000004"},
      {1.0 / 3, "0.3333333333333333"},
      {100, "100"},
      {1e15, "1000000000000000"},
      {-1e15, "-1000000000000000"},
      {9007199254740991.0, "9007199254740991"},
      {9007199254740992.0, "9007199254740992"},
      {9007199254740994.0, "9007199254740994"},
      {1e16, "1e+16"},
      {123456789012345680000.0, "1.2345678901234568e+20"},
      {1e22, "1e+22"},
      {1e23, "1e+23"},
      {1e300, "1e+300"},
      {1e-7, "1e-07"},
      {DBL_MAX, "1.7976931348623157e+308"},
      {DBL_MIN, "2.2250738585072014e-308"},
      {5e-324, "4.94065645841247e-324"},
      {-2.5e-10, "-2.5e-10"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[JSON_NUMBER_MAX];
    assert_int_equal(json_format(rows[i].number, text), strlen(rows[i].text));
    assert_string_equal(text, rows[i].text);
  }
}

/* Any double reads back, in the fewest digits of 15, 16 and 17. */
static void numbers_read_back(void **state) {
  (void)state;
  uint64_t bits = 88172645463325252u;
  for (int i = 0; i < 200000; i++) {
    double number;
    char text[JSON_NUMBER_MAX], shorter[64];
    bits ^= bits << 13;
    bits ^= bits >> 7;
    bits ^= bits << 17;
    memcpy(&number, &bits, sizeof number);
    if (number - number != 0)
      continue;
    assert_true(json_format(number, text) < JSON_NUMBER_MAX);
    assert_true(strtod(text, NULL) == number);
    int fewest = 15;
    while (fewest < 17 && (snprintf(shorter, sizeof shorter, "%.*g", fewest, number),
                           strtod(shorter, NULL) != number))
      fewest++;
    snprintf(shorter, sizeof shorter, "%.*g", fewest, number);
    if (number > 1e16 || number < -1e16 || (number < 1 && number > -1))
      assert_string_equal(text, shorter);
  }
}

static void check_string(const char *text, size_t size, const char *expected) {
  arena a;
  arena_init(&a, 1024 * 1024);
  json_sink s = json_gather(&a, 0); /* grows from nothing */
  size_t got_size;
  json_string(&s, text, size);
  const char *got = json_text(&s, &got_size);
  assert_string_equal(got, expected);
  assert_int_equal(got_size, strlen(expected));
  json_sink same = json_compare(expected, strlen(expected));
  json_string(&same, text, size);
  assert_true(json_same(&same));
  for (size_t i = 0; i < strlen(expected); i++) { /* another byte, or the end */
    char *other = arena_copy(&a, expected, strlen(expected));
    other[i] ^= 1;
    json_sink differs = json_compare(other, strlen(expected));
    json_string(&differs, text, size);
    assert_false(json_same(&differs));
    json_sink shorter = json_compare(expected, i);
    json_string(&shorter, text, size);
    assert_false(json_same(&shorter));
  }
  json_sink longer = json_compare(expected, strlen(expected) + 1);
  json_string(&longer, text, size);
  assert_false(json_same(&longer));
  arena_clear(&a);
}

static void strings(void **state) {
  (void)state;
  check_string("", 0, "\"\"");
  check_string("plain", 5, "\"plain\"");
  check_string("\"", 1, "\"\\\"\"");
  check_string("\\", 1, "\"\\\\\"");
  check_string("/", 1, "\"/\"");
  check_string("a\nb\tc", 5, "\"a\\u000ab\\u0009c\"");
  check_string("\x01\x1f\x7f", 3, "\"\\u0001\\u001f\x7f\"");
  check_string("é日\xf0\x9f\x98\x80", 9, "\"é日\xf0\x9f\x98\x80\"");
  check_string("\"\"", 2, "\"\\\"\\\"\"");
}

static void a_sink_without_memory_says_so(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 8192);
  json_sink s = json_gather(&a, 16);
  size_t size;
  for (int i = 0; i < 10000; i++)
    json_string(&s, "0123456789", 10);
  assert_null(json_text(&s, &size));
  arena_clear(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers),
      cmocka_unit_test(numbers_read_back),
      cmocka_unit_test(strings),
      cmocka_unit_test(a_sink_without_memory_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
