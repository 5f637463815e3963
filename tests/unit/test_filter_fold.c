/* Simple case folding, all of it, and the search that ignores case.
 *
 * fold_simple.txt has every character whose simple case folding is another one, of
 * Unicode 14, as perl's Unicode::UCD knows it ("Simple_Case_Folding"): a source of
 * its own beside the library that fold.c asks. */
#include <stdio.h>
#include <string.h>

#include "cmocka_test.h"
#include "filter/internal.h"

static arena shared;

static int begin(void **state) {
  (void)state;
  arena_init(&shared, 64 * 1024 * 1024);
  return 0;
}

static int end(void **state) {
  (void)state;
  arena_clear(&shared);
  return 0;
}

static void every_character_folds_as_unicode_says(void **state) {
  (void)state;
  unsigned from = 0, to = 0, next = 0, count = 0;
  FILE *file = fopen("fold_simple.txt", "r");
  assert_non_null(file);
  while (fscanf(file, "%x %x", &from, &to) == 2) {
    for (; next < from; next++)
      if (fold_char(next) != next)
        fail_msg("U+%04X folds to U+%04X", next, fold_char(next));
    if (fold_char(from) != to)
      fail_msg("U+%04X folds to U+%04X, not to U+%04X", from, fold_char(from), to);
    next = from + 1;
    count++;
  }
  fclose(file);
  assert_true(count > 1400);
  for (; next < 0x110000; next++)
    assert_int_equal(fold_char(next), next);
}

static bool finds(const char *wanted, const char *text) {
  const needle *n = needle_new(&shared, mneme_bytes_of(wanted, strlen(wanted)));
  assert_non_null(n);
  return needle_in(n, mneme_bytes_of(text, strlen(text)));
}

static void a_needle_is_found_whatever_its_case(void **state) {
  (void)state;
  assert_true(finds("", ""));
  assert_true(finds("", "x"));
  assert_false(finds("x", ""));
  assert_true(finds("BOB", "my name is bob"));
  assert_true(finds("bob", "BoB"));
  assert_false(finds("bob", "bo"));
  assert_false(finds("bob", "bo b"));
  assert_true(finds("ÄÖ", "xäöx"));
  assert_true(finds("k", "\xe2\x84\xaa"));       /* the sign of kelvin */
  assert_true(finds("\xe2\x84\xaa", "K"));
  assert_true(finds("s", "\xc5\xbf"));           /* long s */
  assert_true(finds("ẞ", "straße"));             /* two bytes for three */
  assert_true(finds("ß", "STRAẞE"));
  assert_false(finds("ss", "straße"));           /* simple, not full */
  assert_true(finds("\xc8\xba", "\xe2\xb1\xa5")); /* three bytes for two */
  assert_true(finds("\xe2\xb1\xa5", "\xc8\xba"));
  assert_false(finds("i", "İ"));
  assert_false(finds("İ", "i"));
  assert_true(finds("\xf0\x90\x90\x80", "\xf0\x90\x90\xa8")); /* beyond the BMP */
  assert_false(finds("e\xcc\x81", "é")); /* composed and decomposed are two texts */
  /* What has begun to fit may be the beginning of what fits. */
  assert_true(finds("aab", "aaab"));
  assert_true(finds("ababac", "abababac"));
  assert_true(finds("ÄÄb", "äÄäB"));
  assert_false(finds("\xa4", "ä"));
}

/* The same by trying every place. */
static bool finds_slowly(const uint32_t *wanted, size_t n, const uint32_t *text, size_t size) {
  for (size_t at = 0; at + n <= size; at++) {
    size_t same = 0;
    while (same < n && fold_char(wanted[same]) == fold_char(text[at + same]))
      same++;
    if (same == n)
      return true;
  }
  return false;
}

static uint32_t below(uint32_t n) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 33) % n;
}

static size_t encode(const uint32_t *from, size_t count, char *out) {
  size_t size = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t c = from[i];
    if (c < 0x80) {
      out[size++] = (char)c;
    } else if (c < 0x800) {
      out[size++] = (char)(0xC0 | c >> 6);
      out[size++] = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
      out[size++] = (char)(0xE0 | c >> 12);
      out[size++] = (char)(0x80 | (c >> 6 & 63));
      out[size++] = (char)(0x80 | (c & 63));
    } else {
      out[size++] = (char)(0xF0 | c >> 18);
      out[size++] = (char)(0x80 | (c >> 12 & 63));
      out[size++] = (char)(0x80 | (c >> 6 & 63));
      out[size++] = (char)(0x80 | (c & 63));
    }
  }
  return size;
}

static void it_finds_what_trying_every_place_finds(void **state) {
  (void)state;
  static const uint32_t letters[] = {'a',    'A',    'b',    'k',    0x212A,  0x17F, 's',
                                     0xDF,   0x1E9E, 0x23A,  0x2C65, 0x10400, 0x10428};
  static const size_t kinds[] = {2, 4, 13};
  size_t found = 0, tries = 200000;
  for (size_t t = 0; t < tries; t++) {
    uint32_t wanted[6], text[24];
    char wanted_bytes[32], text_bytes[100];
    size_t n = 1 + below(5), size = below(24), kind = kinds[below(3)];
    for (size_t i = 0; i < n; i++)
      wanted[i] = letters[below((uint32_t)kind)];
    for (size_t i = 0; i < size; i++)
      text[i] = letters[below((uint32_t)kind)];
    arena a;
    arena_init(&a, 1024 * 1024);
    const needle *made =
        needle_new(&a, mneme_bytes_of(wanted_bytes, encode(wanted, n, wanted_bytes)));
    bool is_there = needle_in(made, mneme_bytes_of(text_bytes, encode(text, size, text_bytes)));
    arena_clear(&a);
    assert_int_equal(is_there, finds_slowly(wanted, n, text, size));
    found += is_there;
  }
  assert_true(found > tries / 10 && found < tries - tries / 10);
}

/* A mebibyte of "aaa..", looked through for 4,000 times "a" and a "b": by trying every
 * place that is four thousand million comparisons. Under a sanitizer too it is done
 * in a moment. */
static void a_needle_like_its_haystack_takes_no_longer(void **state) {
  (void)state;
  size_t size = 1 << 20;
  char *hay = arena_alloc(&shared, size + 1), *wanted = arena_alloc(&shared, 4002);
  memset(hay, 'a', size);
  memset(wanted, 'A', 4000);
  strcpy(wanted + 4000, "b");
  hay[size] = '\0';
  for (int i = 0; i < 20; i++)
    assert_false(finds(wanted, hay));
  hay[size - 1] = 'B';
  assert_true(finds(wanted, hay));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_character_folds_as_unicode_says),
      cmocka_unit_test(a_needle_is_found_whatever_its_case),
      cmocka_unit_test(it_finds_what_trying_every_place_finds),
      cmocka_unit_test(a_needle_like_its_haystack_takes_no_longer),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
