/* The arena: alignment, the first block, large blocks, the maximum, reuse. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "cmocka_test.h"

#define MIB (1024 * 1024)

static void every_piece_is_aligned_and_apart(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, MIB);
  char *pieces[200];
  for (size_t i = 0; i < 200; i++) {
    pieces[i] = arena_alloc(&a, i);
    assert_non_null(pieces[i]);
    assert_int_equal((uintptr_t)pieces[i] % 16, 0);
    memset(pieces[i], (int)i, i);
  }
  for (size_t i = 0; i < 200; i++)
    for (size_t j = 0; j < i; j++)
      assert_int_equal((unsigned char)pieces[i][j], i);
  arena_clear(&a);
}

static void small_requests_take_no_block(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, 0); /* nothing beyond the first */
  for (size_t i = 0; i < ARENA_FIRST_BYTES / 16; i++)
    assert_non_null(arena_alloc(&a, 16));
  assert_null(arena_alloc(&a, 1));
  assert_null(a.blocks);
  arena_clear(&a);
  assert_non_null(arena_alloc(&a, ARENA_FIRST_BYTES));
  arena_clear(&a);
}

static void a_large_piece_leaves_the_current_block_alone(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, 4 * MIB);
  char *before = arena_alloc(&a, 16);
  char *large = arena_alloc(&a, MIB);
  char *after = arena_alloc(&a, 16);
  assert_non_null(large);
  assert_ptr_equal(after, before + 16);
  memset(large, 1, MIB);
  arena_clear(&a);
}

static void the_maximum_holds_at_n_and_not_beyond(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, MIB);
  assert_null(arena_alloc(&a, MIB + 16));
  assert_non_null(arena_alloc(&a, MIB));
  assert_null(arena_alloc(&a, MIB));
  assert_int_equal(a.used, MIB);
  arena_clear(&a); /* and all of it is there again */
  assert_int_equal(a.used, 0);
  assert_non_null(arena_alloc(&a, MIB));
  arena_clear(&a);
  for (size_t i = 0; i < MIB / ARENA_BLOCK_BYTES; i++) {
    assert_non_null(arena_alloc(&a, ARENA_BLOCK_BYTES / 2));
    assert_non_null(arena_alloc(&a, ARENA_BLOCK_BYTES / 2));
  }
  assert_null(arena_alloc(&a, ARENA_BLOCK_BYTES / 2));
  arena_clear(&a);
}

static void sizes_that_overflow_are_refused(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, SIZE_MAX);
  assert_null(arena_alloc(&a, SIZE_MAX));
  assert_null(arena_alloc(&a, SIZE_MAX - 14));
  assert_null(arena_alloc(&a, SIZE_MAX / 2 + 1));
  assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
  assert_null(arena_calloc(&a, 3, SIZE_MAX / 2));
  assert_null(arena_calloc(&a, SIZE_MAX / 16 + 2, 16));
  arena_clear(&a);
}

static void calloc_gives_zeroes_where_something_was(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, MIB);
  memset(arena_alloc(&a, ARENA_FIRST_BYTES), 0xFF, ARENA_FIRST_BYTES);
  arena_clear(&a);
  const char *zeroes = arena_calloc(&a, 100, 30);
  for (size_t i = 0; i < 3000; i++)
    assert_int_equal(zeroes[i], 0);
  assert_non_null(arena_calloc(&a, 0, 8));
  assert_non_null(arena_calloc(&a, 8, 0));
  arena_clear(&a);
}

static void copies_end_in_nul(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, MIB);
  memset(arena_alloc(&a, ARENA_FIRST_BYTES), 'x', ARENA_FIRST_BYTES);
  arena_clear(&a);
  assert_string_equal(arena_copy(&a, "abcdef", 3), "abc");
  assert_string_equal(arena_copy(&a, NULL, 0), "");
  assert_memory_equal(arena_copy(&a, "a\0b", 3), "a\0b", 4);
  assert_null(arena_copy(&a, "a", SIZE_MAX / 2));
  arena_clear(&a);
}

static void text_of_any_length_is_printed(void **state) {
  (void)state;
  static arena a;
  arena_init(&a, MIB);
  assert_string_equal(arena_printf(&a, "memories[%d].%s", 7, "key"), "memories[7].key");
  assert_string_equal(arena_printf(&a, "%s", ""), "");
  const char *wide = arena_printf(&a, "%0100000d", 1);
  assert_int_equal(strlen(wide), 100000);
  assert_null(arena_printf(&a, "%02000000d", 1));
  arena_clear(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_piece_is_aligned_and_apart),
      cmocka_unit_test(small_requests_take_no_block),
      cmocka_unit_test(a_large_piece_leaves_the_current_block_alone),
      cmocka_unit_test(the_maximum_holds_at_n_and_not_beyond),
      cmocka_unit_test(sizes_that_overflow_are_refused),
      cmocka_unit_test(calloc_gives_zeroes_where_something_was),
      cmocka_unit_test(copies_end_in_nul),
      cmocka_unit_test(text_of_any_length_is_printed),
  };
  return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
