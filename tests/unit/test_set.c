/* The set: what is added is found, what stands twice is told, up to its maximum. */
#include <string.h>

#include "base/set.h"
#include "cmocka_test.h"

static arena shared;

static int begin(void **state) {
  (void)state;
  arena_init(&shared, 16 * 1024 * 1024);
  return 0;
}

static int end(void **state) {
  (void)state;
  arena_clear(&shared);
  return 0;
}

static void the_first_of_two_equal_strings_is_told(void **state) {
  (void)state;
  set s;
  assert_true(set_init(&s, &shared, 4));
  assert_int_equal(set_find(&s, "a", 1), -1);
  assert_int_equal(set_add(&s, "a", 1, 10), -1);
  assert_int_equal(set_add(&s, "b", 1, 11), -1);
  char other[] = "a"; /* equal, at another address */
  assert_int_equal(set_add(&s, other, 1, 12), 10);
  assert_int_equal(set_find(&s, "a", 1), 10);
  assert_int_equal(set_find(&s, "b", 1), 11);
  assert_int_equal(set_find(&s, "c", 1), -1);
}

static void strings_are_told_apart_by_every_byte(void **state) {
  (void)state;
  set s;
  assert_true(set_init(&s, &shared, 8));
  assert_int_equal(set_add(&s, "", 0, 1), -1);
  assert_int_equal(set_add(&s, "\0", 1, 2), -1);
  assert_int_equal(set_add(&s, "\0\0", 2, 3), -1);
  assert_int_equal(set_add(&s, "ab", 1, 4), -1);
  assert_int_equal(set_add(&s, "ab", 2, 5), -1);
  assert_int_equal(set_add(&s, "a\xC3\xA4", 3, 6), -1);
  assert_int_equal(set_find(&s, "", 0), 1);
  assert_int_equal(set_find(&s, "\0", 1), 2);
  assert_int_equal(set_find(&s, "\0\0", 2), 3);
  assert_int_equal(set_find(&s, "a", 1), 4);
  assert_int_equal(set_find(&s, "abc", 2), 5);
  assert_int_equal(set_find(&s, "a\xC3", 2), -1);
}

static void its_maximum_fits(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 3, 4, 5, 8, 9, 1000, 10000};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    set s;
    assert_true(set_init(&s, &shared, sizes[k]));
    assert_true(s.mask + 1 >= 2 * sizes[k]); /* so that a search ends, and soon */
    int32_t *names = arena_calloc(&shared, sizes[k] + 1, sizeof *names);
    for (size_t i = 0; i < sizes[k]; i++) {
      names[i] = (int32_t)i;
      assert_int_equal(set_add(&s, (const char *)&names[i], 4, (int64_t)i), -1);
    }
    for (int32_t i = 0; i < (int32_t)sizes[k]; i++)
      assert_int_equal(set_find(&s, (const char *)&i, 4), i);
    int32_t other = -1;
    assert_int_equal(set_find(&s, (const char *)&other, 4), -1);
  }
}

static void no_memory_is_told(void **state) {
  (void)state;
  static arena small;
  arena_init(&small, 0);
  set s;
  assert_false(set_init(&s, &small, 10000));
  arena_clear(&small);
}

static void the_seed_stays_for_the_process(void **state) {
  (void)state;
  assert_true(set_seed() == set_seed());
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(the_first_of_two_equal_strings_is_told, begin, end),
      cmocka_unit_test_setup_teardown(strings_are_told_apart_by_every_byte, begin, end),
      cmocka_unit_test_setup_teardown(its_maximum_fits, begin, end),
      cmocka_unit_test(no_memory_is_told),
      cmocka_unit_test(the_seed_stays_for_the_process),
  };
  return cmocka_run_group_tests_name("set", tests, NULL, NULL);
}
