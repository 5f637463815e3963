/* Terms: what is the same to search and what is not; what a query looks for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "search/analyse.h"

static analyser *shared;
static query q;

static int begin(void **state) {
  (void)state;
  shared = analyser_new();
  return shared == NULL;
}

static int end(void **state) {
  (void)state;
  analyser_free(shared);
  return 0;
}

static mneme_bytes bytes(const char *text) { return mneme_bytes_of(text, strlen(text)); }

static const language *named(const char *name) {
  const language *l = language_find(bytes(name));
  assert_non_null(l);
  return l;
}

static term_list terms_of(const char *name, const char *text) {
  term_list list = {0};
  assert_true(analyse_text(shared, named(name), bytes(text), &list));
  return list;
}

static bool same(const char *name, const char *a, const char *b) {
  term_list x = terms_of(name, a), y = terms_of(name, b);
  bool equal = x.count == y.count &&
               (x.count == 0 || memcmp(x.items, y.items, x.count * sizeof *x.items) == 0);
  free(x.items);
  free(y.items);
  return equal;
}

static size_t count(const char *name, const char *text) {
  term_list x = terms_of(name, text);
  free(x.items);
  return x.count;
}

static void ask(const char *name, const char *text) {
  const language *l = named(name);
  query_clear(&q);
  assert_true(analyse_query(shared, &l, 1, bytes(text), &q));
}

static int clear(void **state) {
  (void)state;
  query_clear(&q);
  return 0;
}

static int by_number(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* --- Languages ----------------------------------------------------------- */

static void languages_have_names_and_codes(void **state) {
  (void)state;
  assert_ptr_equal(named("english"), named("en"));
  assert_ptr_equal(named("german"), named("de"));
  assert_null(language_find(bytes("")));
  assert_null(language_find(bytes("klingon")));
  assert_null(language_find(bytes("porter")));
  assert_non_null(strstr(language_names(), "english, none, arabic"));
  for (size_t i = 0; i < LANGUAGES_MAX && language_at(i) != NULL; i++) {
    assert_int_equal(language_number(language_at(i)), i);
    assert_int_equal(count(language_at(i)->name, "xyzzy"), 1); /* its stemmer is there */
  }
}

static void one_language_never_meets_another(void **state) {
  (void)state;
  term_list x = terms_of("english", "xyzzy"), y = terms_of("none", "xyzzy");
  assert_int_not_equal(x.items[0], y.items[0]);
  free(x.items);
  free(y.items);
}

/* Words that are near each other, in languages that are: each pair has a term of its
 * own. */
static void short_words_of_all_languages_are_told_apart(void **state) {
  (void)state;
  static uint64_t all[LANGUAGES_MAX * 1000];
  size_t n = 0;
  for (size_t i = 0; language_at(i) != NULL; i++)
    for (int k = 0; k < 1000; k++) {
      char text[16];
      snprintf(text, sizeof text, "%03d", k);
      term_list x = terms_of(language_at(i)->name, text);
      assert_int_equal(x.count, 1);
      all[n++] = x.items[0];
      free(x.items);
    }
  qsort(all, n, sizeof *all, by_number);
  for (size_t i = 1; i < n; i++)
    assert_true(all[i] != all[i - 1]);
}

/* --- Terms --------------------------------------------------------------- */

static void stems_are_the_same(void **state) {
  (void)state;
  assert_true(same("english", "painting", "Painted"));
  assert_true(same("english", "cities", "city"));
  assert_false(same("english", "cat", "dog"));
  assert_true(same("german", "H\u00E4user", "HAUSES"));
  assert_true(same("russian", "\u043A\u043D\u0438\u0433\u0430", "\u043A\u043D\u0438\u0433\u0438"));
  assert_false(same("none", "painting", "painted"));
}

static void irregular_forms_are_the_same(void **state) {
  (void)state;
  assert_true(same("english", "went", "go"));
  assert_true(same("english", "children", "child"));
  assert_true(same("english", "mice", "mouse"));
  assert_true(same("english", "colour", "colors"));
  assert_false(same("none", "went", "go"));
}

static void stop_words_are_no_terms(void **state) {
  (void)state;
  assert_int_equal(count("english", "what is the one that you have"), 0);
  assert_int_equal(count("none", "what is the"), 3);
  assert_int_equal(count("german", "was ist das Haus"), 1);
  assert_int_equal(count("french", "je ne sais pas"), 1);
}

static void contractions_lose_their_end(void **state) {
  (void)state;
  assert_int_equal(count("english", "don't it's I'm she'll won't they've"), 0);
  assert_true(same("english", "Anna's book", "Anna book"));
  assert_true(same("english", "Anna\u2019s", "anna"));
}

static void elisions_separate(void **state) {
  (void)state;
  assert_true(same("french", "l'homme", "homme"));
  assert_true(same("italian", "dell'acqua", "acqua"));
  assert_int_equal(count("none", "dell'acqua"), 2);
}

static void remembering_changes_nothing(void **state) {
  (void)state;
  term_list first = terms_of("english", "walking ducks"), other, again;
  for (int i = 0; i < 40000; i++) { /* more words than are remembered */
    char text[16];
    snprintf(text, sizeof text, "w%dx", i);
    other = terms_of("english", text);
    assert_int_equal(other.count, 1);
    free(other.items);
  }
  again = terms_of("english", "walking ducks");
  assert_int_equal(again.count, 2);
  assert_memory_equal(first.items, again.items, 2 * sizeof *again.items);
  free(first.items);
  free(again.items);
}

static void questions_end_in_a_mark(void **state) {
  (void)state;
  assert_true(analyse_asks(bytes("really? \n")));
  assert_true(analyse_asks(bytes("\u672C\u5F53\uFF1F")));
  assert_true(analyse_asks(bytes("\u061F")));
  assert_false(analyse_asks(bytes("is it? yes")));
  assert_false(analyse_asks(bytes("")));
  assert_false(analyse_asks(bytes("  ")));
}

/* --- Queries ------------------------------------------------------------- */

static void a_query_has_each_term_and_pair_once(void **state) {
  (void)state;
  ask("english", "red car, red cars and blue car");
  assert_int_equal(q.term_count, 3); /* red car blue */
  assert_int_equal(q.pair_count, 4); /* red car, car red, car blue, blue car */
  assert_false(q.pairs[0].signs);
  assert_true(q.terms[0].alone);
  assert_int_equal(q.terms[1].begin, 4);
  assert_int_equal(q.terms[1].end, 7);
}

static void signs_are_looked_for_in_pairs(void **state) {
  (void)state;
  ask("none", "\u6771\u4EAC\u5927 x");
  assert_int_equal(q.term_count, 4);
  assert_int_equal(q.pair_count, 3);
  assert_true(q.pairs[0].signs && q.pairs[1].signs && !q.pairs[2].signs);
  for (size_t i = 0; i < 3; i++)
    assert_false(q.terms[i].alone);
  ask("none", "\u732B");
  assert_int_equal(q.term_count, 1);
  assert_true(q.terms[0].alone);
  ask("none", "\u732B \u72AC");
  assert_true(q.terms[0].alone && q.terms[1].alone && !q.pairs[0].signs);
}

static void a_query_of_nothing_looks_for_nothing(void **state) {
  (void)state;
  static const char *const nothing[] = {"", "   ", "?!...", "what is the", "\xFF\xFE"};
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
    ask("english", nothing[i]);
    assert_int_equal(q.term_count, 0);
    assert_int_equal(q.pair_count, 0);
  }
}

static void a_query_is_read_in_each_language(void **state) {
  (void)state;
  const language *both[] = {named("english"), named("german")};
  query_clear(&q);
  assert_true(analyse_query(shared, both, 2, bytes("house garden"), &q));
  assert_int_equal(q.term_count, 4);
  assert_int_equal(q.pair_count, 2);
  query_clear(&q);
  assert_true(analyse_query(shared, both, 0, bytes("house garden"), &q));
  assert_int_equal(q.term_count, 0);
}

static void terms_beyond_the_limit_are_not_looked_for(void **state) {
  (void)state;
  char *text = malloc(100000), *at = text;
  assert_non_null(text);
  for (int i = 0; i < 10000; i++)
    at += sprintf(at, "w%dx ", i);
  ask("english", text);
  assert_int_equal(q.term_count, QUERY_TERMS_MAX);
  assert_int_equal(q.pair_count, QUERY_TERMS_MAX - 1);
  assert_int_equal(q.name_count, QUERY_NAMES_MAX);
  assert_int_equal(q.terms[QUERY_TERMS_MAX - 1].begin, strstr(text, "w1023x") - text);
  free(text);
}

static void the_first_person_is_noticed(void **state) {
  (void)state;
  static const char *const yes[] = {"What did I say", "remind me", "My dog", "I've lost it",
                                    "mine"};
  static const char *const no[] = {"what did he say", "", "mice", "AI in mined ice"};
  for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
    ask("english", yes[i]);
    assert_true(q.first_person);
  }
  for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
    ask("english", no[i]);
    assert_false(q.first_person);
  }
  ask("german", "Wo habe ich es hin");
  assert_true(q.first_person);
  ask("none", "what did I say");
  assert_false(q.first_person);
}

static bool names(const char *text, const char *author) {
  term_list list = {0};
  bool found = false;
  ask("english", text);
  assert_true(analyse_name(bytes(author), &list));
  for (size_t i = 0; i < list.count; i++)
    for (size_t k = 0; k < q.name_count; k++)
      found = found || list.items[i] == q.names[k];
  free(list.items);
  return found;
}

static void authors_are_named_by_any_word_of_theirs(void **state) {
  (void)state;
  assert_true(names("where was anna", "Anna"));
  assert_true(names("where was Anna's dog", "Anna Lee"));
  assert_true(names("where was LEE", "Anna Lee"));
  assert_false(names("where was ann", "Anna"));
  assert_false(names("where", ""));
  /* names that are words of the language */
  assert_true(names("what did Will do", "Will"));
  assert_false(names("what will he do", "Will"));
  assert_false(names("Will he do it", "Will"));
}

/* --- Dates --------------------------------------------------------------- */

static void expect_date(const char *text, int year, int month, int day) {
  date d[DATES_MAX];
  assert_int_equal(dates_read(bytes(text), d), 1);
  assert_int_equal(d[0].year, year);
  assert_int_equal(d[0].month, month);
  assert_int_equal(d[0].day, day);
}

static void expect_no_date(const char *text) {
  date d[DATES_MAX];
  assert_int_equal(dates_read(bytes(text), d), 0);
}

static void dates_are_read(void **state) {
  (void)state;
  expect_date("on May 8th, 2023", 2023, 5, 8);
  expect_date("8 May 2023", 2023, 5, 8);
  expect_date("the 3rd of june?", 0, 6, 3);
  expect_date("June 3", 0, 6, 3);
  expect_date("in March", 0, 3, 0);
  expect_date("last may", 0, 5, 0);
  expect_date("July 2022", 2022, 7, 0);
  expect_date("12 Dec", 0, 12, 12);
  expect_date("Sept 2021", 2021, 9, 0);
  expect_date("2023-05-08", 2023, 5, 8);
  expect_date("until 2023-05", 2023, 5, 0);
  expect_date("what happened in 2021", 2021, 0, 0);
  expect_date("2021-13-01", 2021, 0, 0);
  expect_date("May 8 in 2021", 0, 5, 8); /* the year is not beside it */
}

static void what_is_no_date_is_not(void **state) {
  (void)state;
  expect_no_date("");
  expect_no_date("I may march");
  expect_no_date("mar the jan");
  expect_no_date("12345 and 20230");
  expect_no_date("the 42nd");
}

static void no_more_dates_than_the_limit(void **state) {
  (void)state;
  date d[DATES_MAX];
  static const char text[] = "1 june 2 june 3 june 4 june 5 june 6 june 7 june 8 june 9 june";
  assert_int_equal(dates_read(bytes(text), d), DATES_MAX);
  static const char years[] = "1991 1992 1993 1994 1995 1996 1997 1998 1999";
  assert_int_equal(dates_read(bytes(years), d), DATES_MAX);
}

#define DAY INT64_C(86400000000)

static void times_match_dates(void **state) {
  (void)state;
  static const struct {
    date date;
    int64_t days; /* since 1970 */
    double match;
  } rows[] = {
      {{2023, 5, 8}, 19485, 1.0},    {{2023, 5, 8}, 19487, 1.0},   {{2023, 5, 8}, 19488, 0.6},
      {{2023, 5, 8}, 19475, 0.6},    {{2023, 5, 8}, 19474, 0},     {{0, 5, 8}, 19485 - 365, 1.0},
      {{0, 1, 1}, 19357 - 1, 1.0},   /* 2022-12-31 */
      {{0, 12, 31}, 19358, 1.0},     /* 2023-01-01 is 19358 */
      {{2023, 5, 0}, 19478, 1.0},    {{2023, 5, 0}, 19508, 1.0},   {{2023, 5, 0}, 19509, 0},
      {{2022, 5, 0}, 19485, 0},      {{0, 5, 0}, 19485 - 365, 1.0}, {{2023, 0, 0}, 19485, 0.3},
      {{2024, 0, 0}, 19485, 0},      {{1969, 12, 31}, -1, 1.0},    {{1970, 1, 0}, 0, 1.0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    double got = dates_match(&rows[i].date, 1, rows[i].days * DAY + DAY / 2);
    if (got != rows[i].match)
      fail_msg("row %zu: %g, not %g", i, got, rows[i].match);
  }
  date two[] = {{2022, 1, 1}, {2023, 5, 0}};
  assert_true(dates_match(two, 2, 19485 * DAY) == 1.0);
  assert_true(dates_match(two, 0, 19485 * DAY) == 0);
  assert_true(dates_match(two, 2, INT64_MAX) == 0);
  assert_true(dates_match(two, 2, INT64_MIN + 1) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(languages_have_names_and_codes),
      cmocka_unit_test(one_language_never_meets_another),
      cmocka_unit_test(short_words_of_all_languages_are_told_apart),
      cmocka_unit_test(stems_are_the_same),
      cmocka_unit_test(irregular_forms_are_the_same),
      cmocka_unit_test(stop_words_are_no_terms),
      cmocka_unit_test(contractions_lose_their_end),
      cmocka_unit_test(elisions_separate),
      cmocka_unit_test(remembering_changes_nothing),
      cmocka_unit_test(questions_end_in_a_mark),
      cmocka_unit_test_teardown(a_query_has_each_term_and_pair_once, clear),
      cmocka_unit_test_teardown(signs_are_looked_for_in_pairs, clear),
      cmocka_unit_test_teardown(a_query_of_nothing_looks_for_nothing, clear),
      cmocka_unit_test_teardown(a_query_is_read_in_each_language, clear),
      cmocka_unit_test_teardown(terms_beyond_the_limit_are_not_looked_for, clear),
      cmocka_unit_test_teardown(the_first_person_is_noticed, clear),
      cmocka_unit_test_teardown(authors_are_named_by_any_word_of_theirs, clear),
      cmocka_unit_test(dates_are_read),
      cmocka_unit_test(what_is_no_date_is_not),
      cmocka_unit_test(no_more_dates_than_the_limit),
      cmocka_unit_test(times_match_dates),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
