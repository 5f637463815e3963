/* Words: where they begin and end, how they are folded, and that any bytes at all
 * can be read. */
#include <stdio.h>
#include <string.h>

#include "cmocka_test.h"
#include "search/words.h"

/* The words of a text, each followed by its kind where it is not plain ("s", and
 * "j" when joined, "p"), separated by spaces. */
static const char *read_all(const char *text, size_t size) {
  static char out[4096];
  size_t used = 0;
  words reader;
  word w;
  out[0] = '\0';
  words_begin(&reader, mneme_bytes_of(text, size));
  while (words_next(&reader, &w)) {
    assert_true(w.size >= 1 && w.size <= WORD_MAX);
    assert_true(w.begin < w.end && w.end <= size);
    const char *mark = w.kind == WORD_PICTURE ? ":p"
                       : w.kind == WORD_PLAIN ? ""
                       : w.joined             ? ":sj"
                                              : ":s";
    used += (size_t)snprintf(out + used, sizeof out - used, "%s%.*s%s", used > 0 ? " " : "",
                             (int)w.size, w.text, mark);
    assert_true(used < sizeof out);
  }
  return out;
}

static void expect(const char *text, const char *words_of_it) {
  assert_string_equal(read_all(text, strlen(text)), words_of_it);
}

static void letters_and_digits_are_words(void **state) {
  (void)state;
  expect("", "");
  expect("  \t\n?!", "");
  expect("Hello, World", "hello world");
  expect("3.5 C++ snake_case kebab-case a/b", "3 5 c snake case kebab case a b");
  expect("B2B 2nd x1", "b2b 2nd x1");
}

static void apostrophes_join_letters(void **state) {
  (void)state;
  expect("don't", "don't");
  expect("don\u2019t", "don't");
  expect("rock 'n' roll", "rock n roll");
  expect("O'Neill's", "o'neill's");
  expect("dogs' tails", "dogs tails");
  expect("5'4", "5 4");
}

static void case_and_compatibility_are_folded(void **state) {
  (void)state;
  expect("STRASSE Stra\u00DFe", "strasse strasse");
  expect("\u00C9COLE \u00E9cole e\u0301cole", "\u00E9cole \u00E9cole \u00E9cole");
  expect("\uFB01n \uFF21\uFF22", "fin ab");
  expect("\u039F\u0394\u039F\u03A3 \u03BF\u03B4\u03BF\u03C2",
         "\u03BF\u03B4\u03BF\u03C3 \u03BF\u03B4\u03BF\u03C3");
  expect("\u041F\u0420\u0418\u0412\u0415\u0422", "\u043F\u0440\u0438\u0432\u0435\u0442");
}

static void invisible_characters_vanish(void **state) {
  (void)state;
  expect("soft\u00ADhyphen", "softhyphen");
  expect("\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645",
         "\u0645\u06CC\u062E\u0648\u0627\u0647\u0645");
  expect("a\u200Bb", "ab");
  expect("\u202Eabc\u202C", "abc");
}

static void scripts_written_right_to_left_are_words_too(void **state) {
  (void)state;
  expect("\u05E9\u05DC\u05D5\u05DD \u05E2\u05D5\u05DC\u05DD",
         "\u05E9\u05DC\u05D5\u05DD \u05E2\u05D5\u05DC\u05DD");
  expect("\u0645\u0631\u062D\u0628\u0627\u060C x", "\u0645\u0631\u062D\u0628\u0627 x");
}

static void signs_are_words_of_one_character(void **state) {
  (void)state;
  expect("\u6771\u4EAC\u3001\u5927", "\u6771:s \u4EAC:sj \u5927:s");
  expect("iPhone\u624B\u673A7", "iphone \u624B:s \u673A:sj 7");
  expect("\uD55C\uAD6D", "\uD55C:s \uAD6D:sj");
  /* in pieces, and halfwidth */
  expect("\u1112\u1161\u11AB", "\uD55C:s");
  expect("\u304B\u3099 \uFF76\uFF9E", "\u304C:s \u30AC:s");
  expect("\u0E01\u0E47", "\u0E01\u0E47:s");
}

static void pictures_are_words(void **state) {
  (void)state;
  expect("hi\U0001F389!", "hi \U0001F389:p");
  expect("\U0001F44D\U0001F3FD \u2764\uFE0F", "\U0001F44D:p \u2764:p");
  expect("\U0001F1E9\U0001F1EA\U0001F1EB\U0001F1F7",
         "\U0001F1E9\U0001F1EA:p \U0001F1EB\U0001F1F7:p");
  expect("\U0001F468\u200D\U0001F469", "\U0001F468:p \U0001F469:p");
  expect("1 # *", "1");
}

static void long_words_are_cut_at_a_character(void **state) {
  (void)state;
  char text[3000], *at = text;
  memset(text, 'x', 1000);
  assert_int_equal(strlen(read_all(text, 1000)), WORD_MAX);
  for (int i = 0; i < 1000; i++)
    at += sprintf(at, "%s", i == 0 ? "x" : "\u00E9");
  const char *out = read_all(text, (size_t)(at - text));
  assert_int_equal(strlen(out), WORD_MAX - 1);
  assert_memory_equal(out + WORD_MAX - 3, "\u00E9", 2);
}

static void what_grows_when_it_is_folded_is_cut(void **state) {
  (void)state;
  char text[400], *at = text;
  for (int i = 0; i < 80; i++)
    at += sprintf(at, "\uFDFA"); /* eighteen characters each */
  assert_true(strlen(read_all(text, (size_t)(at - text))) <= WORD_MAX);
}

static void what_is_no_text_separates(void **state) {
  (void)state;
  static const char bytes[] = "a\xFF\x62\xC3(c\xE2\x82\x64\xF0\x9F\x8E";
  assert_string_equal(read_all(bytes, sizeof bytes - 1), "a b c d");
  static const char zero[] = "a\0b";
  assert_string_equal(read_all(zero, 3), "a b");
}

static void capitals_are_told(void **state) {
  (void)state;
  static const char text[] = "Will will \u00C9a 9A";
  static const bool expected[] = {true, false, true, false};
  words reader;
  word w;
  words_begin(&reader, mneme_bytes_of(text, strlen(text)));
  for (size_t i = 0; words_next(&reader, &w); i++)
    assert_int_equal(w.capital, expected[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(letters_and_digits_are_words),
      cmocka_unit_test(apostrophes_join_letters),
      cmocka_unit_test(case_and_compatibility_are_folded),
      cmocka_unit_test(invisible_characters_vanish),
      cmocka_unit_test(scripts_written_right_to_left_are_words_too),
      cmocka_unit_test(signs_are_words_of_one_character),
      cmocka_unit_test(pictures_are_words),
      cmocka_unit_test(long_words_are_cut_at_a_character),
      cmocka_unit_test(what_grows_when_it_is_folded_is_cut),
      cmocka_unit_test(what_is_no_text_separates),
      cmocka_unit_test(capitals_are_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
