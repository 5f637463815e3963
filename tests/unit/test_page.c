/* Page tokens: what is made is read, and nothing else is. */
#include <stdbool.h>
#include <string.h>

#include "cmocka_test.h"
#include "page/token.h"

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

static const page_key key = {.bytes = {"0123456789abcdef0123456789abcdef"}};

static page_position sample(const char *name, size_t name_size) {
  page_position p = {.kind = PAGE_MEMORIES,
                     .arguments = "sixteen bytes..",
                     .number = -1234567890123,
                     .budget = INT64_MAX,
                     .to_skip = 10000,
                     .now_us = 1700000000000001,
                     .last = INT64_MAX,
                     .down = UINT64_C(1) << 63 | 5,
                     .backend = 63,
                     .name = {name, name_size}};
  for (int i = 0; i < 16; i++)
    p.uid.bytes[i] = (uint8_t)(0xF0 + i);
  return p;
}

static bool reads_with(const page_key *k, mneme_bytes token, page_kind kind,
                       const uint8_t arguments[16], page_position *ret) {
  error e = {0};
  bool ok = page_token_read(&shared, k, token, kind, arguments, ret, &e);
  if (!ok) {
    assert_int_equal(e.code, CODE_INVALID_ARGUMENT);
    assert_string_equal(e.reason, "PAGE_TOKEN_INVALID");
    assert_string_equal(e.field, page_is_bulk(kind) ? "resume_token" : "page_token");
  }
  return ok;
}

static bool reads(const char *text, size_t size) {
  page_position p = sample("", 0), back;
  return reads_with(&key, mneme_bytes_of(text, size), PAGE_MEMORIES, p.arguments, &back);
}

/* A resume token carries more, a page token does not. */
static void bulk_positions_go_round(void **state) {
  (void)state;
  static const page_kind kinds[] = {PAGE_MEMORIES,        PAGE_SESSIONS,        PAGE_MEMORIES_OF_MANY,
                                    PAGE_DELETE_MEMORIES, PAGE_DELETE_SESSIONS, PAGE_CLEAN_UP};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    page_position p = sample("a/session", 9), back;
    p.kind = kinds[i];
    const char *text = page_token_make(&shared, &key, &p);
    mneme_bytes token = mneme_bytes_of(text, strlen(text));
    bool bulk = page_is_bulk(p.kind);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
      assert_int_equal(reads_with(&key, token, kinds[k], p.arguments, &back), k == i);
    assert_true(reads_with(&key, token, p.kind, p.arguments, &back));
    assert_memory_equal(back.name.data, "a/session", 9);
    assert_int_equal(back.name.size, 9);
    assert_int_equal(back.to_skip, p.to_skip);
    assert_int_equal(back.now_us, bulk ? p.now_us : 0);
    assert_int_equal(back.last, bulk ? p.last : 0);
    assert_true(back.down == (bulk ? p.down : 0));
    assert_int_equal(back.backend, bulk ? p.backend : 0);
  }
}

static void a_position_goes_round_with_names_of_every_length(void **state) {
  (void)state;
  char name[MNEME_SESSION_MAX];
  for (size_t i = 0; i < sizeof name; i++)
    name[i] = (char)(i * 7); /* NUL and bytes above 127 among them */
  for (size_t size = 0; size <= MNEME_SESSION_MAX; size++) {
    page_position p = sample(name, size), back;
    const char *token = page_token_make(&shared, &key, &p);
    assert_non_null(token);
    assert_true(strlen(token) < PAGE_TOKEN_MAX);
    assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789-_"),
                     strlen(token));
    assert_true(reads_with(&key, mneme_bytes_of(token, strlen(token)), PAGE_MEMORIES, p.arguments,
                           &back));
    assert_int_equal(back.kind, p.kind);
    assert_memory_equal(back.arguments, p.arguments, 16);
    assert_memory_equal(back.uid.bytes, p.uid.bytes, 16);
    assert_true(back.number == p.number);
    assert_true(back.budget == p.budget);
    assert_int_equal(back.name.size, size);
    assert_memory_equal(back.name.data, name, size);
  }
}

static void a_name_that_is_too_long_makes_no_token(void **state) {
  (void)state;
  char name[MNEME_SESSION_MAX + 1] = "";
  page_position p = sample(name, sizeof name);
  assert_null(page_token_make(&shared, &key, &p));
}

static void both_ends_of_the_numbers_go_round(void **state) {
  (void)state;
  static const int64_t numbers[] = {INT64_MIN, -1, 0, 1, 255, 256, INT64_MAX};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    page_position p = sample("s", 1), back;
    p.kind = PAGE_SESSIONS;
    p.number = numbers[i];
    p.budget = numbers[i] / 3;
    const char *token = page_token_make(&shared, &key, &p);
    assert_true(reads_with(&key, mneme_bytes_of(token, strlen(token)), PAGE_SESSIONS, p.arguments,
                           &back));
    assert_true(back.number == p.number && back.budget == p.budget);
  }
}

static void every_altered_bit_and_character_is_refused(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 2, 3}; /* each number of spare bits at the end */
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    page_position p = sample("abc", sizes[k]);
    char *token = (char *)page_token_make(&shared, &key, &p);
    size_t size = strlen(token);
    for (size_t i = 0; i < size; i++) {
      char was = token[i];
      for (int c = 0; c < 256; c++) {
        token[i] = (char)c;
        assert_int_equal(reads(token, size), (char)c == was);
      }
      token[i] = was;
    }
    assert_true(reads(token, size));
  }
}

static void cut_and_longer_tokens_are_refused(void **state) {
  (void)state;
  page_position p = sample("session/one", 11);
  const char *token = page_token_make(&shared, &key, &p);
  size_t size = strlen(token);
  for (size_t i = 0; i < size; i++) {
    assert_false(reads(token, i));
    assert_false(reads(token + i + 1, size - i - 1));
  }
  static const char *const tails[] = {"A", "AA", "AAA", "AAAA", "=", "==", " ", "\n"};
  for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
    const char *longer = arena_printf(&shared, "%s%s", token, tails[i]);
    assert_false(reads(longer, strlen(longer)));
    const char *before = arena_printf(&shared, "%s%s", tails[i], token);
    assert_false(reads(before, strlen(before)));
  }
  assert_false(reads(token, size + 1)); /* its NUL */
}

static void texts_of_every_length_are_refused(void **state) {
  (void)state;
  static const char letters[] = {'A', '_', '=', ' ', '\0', '\x80', '+', '/'};
  for (size_t k = 0; k < sizeof letters; k++)
    for (size_t size = 0; size <= PAGE_TOKEN_MAX + 4; size++) {
      char *text = arena_alloc(&shared, size); /* exact, for the sanitizer */
      memset(text, letters[k], size);
      assert_false(reads(text, size));
    }
  assert_false(reads(NULL, 0));
}

static void other_arguments_kinds_and_keys_are_refused(void **state) {
  (void)state;
  page_position p = sample("x", 1), back = {.number = 5};
  const char *text = page_token_make(&shared, &key, &p);
  mneme_bytes token = mneme_bytes_of(text, strlen(text));
  for (size_t bit = 0; bit < 128; bit++) {
    uint8_t other[16];
    memcpy(other, p.arguments, 16);
    other[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_false(reads_with(&key, token, PAGE_MEMORIES, other, &back));
  }
  assert_false(reads_with(&key, token, PAGE_SESSIONS, p.arguments, &back));
  for (size_t bit = 0; bit < PAGE_KEY_BYTES * 8; bit++) {
    page_key other = key;
    other.bytes[0][bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_false(reads_with(&other, token, PAGE_MEMORIES, p.arguments, &back));
  }
  assert_int_equal(back.number, 5); /* untouched by refusals */
  assert_true(reads_with(&key, token, PAGE_MEMORIES, p.arguments, &back));
}

/* Made by tests/fuzz/make_corpus.py, which knows the format from its description:
 * a change of it would make the tokens of clients worthless. */
static void a_token_made_elsewhere_is_read(void **state) {
  (void)state;
  static const char token[] =
      "AQFzaXh0ZWVuIGJ5dGVzLi4AAAECAwQFBgcICQoLDA0ODwwAAAAAAAAAoA8AAAAAAAAAAAAAAAAA"
      "AGtleS0xPZCHA8Y0d77KxOGvbzTtJQ";
  page_position p = sample("", 0), back;
  assert_true(reads_with(&key, mneme_bytes_of(token, sizeof token - 1), PAGE_MEMORIES, p.arguments,
                         &back));
  assert_int_equal(back.number, 12);
  assert_int_equal(back.budget, 4000);
  assert_int_equal(back.name.size, 5);
  assert_memory_equal(back.name.data, "key-1", 5);
  for (int i = 0; i < 16; i++)
    assert_int_equal(back.uid.bytes[i], i);
  assert_string_equal(page_token_make(&shared, &key, &back), token);
}

/* A token is the same on every replica, and does not depend on what lay in memory. */
static void equal_positions_make_equal_tokens(void **state) {
  (void)state;
  page_position p = sample("name", 4);
  const char *one = page_token_make(&shared, &key, &p);
  const char *two = page_token_make(&shared, &key, &p);
  assert_string_equal(one, two);
}

static void no_memory_is_told(void **state) {
  (void)state;
  page_position p = sample("name", 4), back;
  const char *text = page_token_make(&shared, &key, &p);
  static arena small;
  arena_init(&small, 0);
  arena_alloc(&small, ARENA_FIRST_BYTES);
  assert_null(page_token_make(&small, &key, &p));
  error e = {0};
  assert_false(page_token_read(&small, &key, mneme_bytes_of(text, strlen(text)), PAGE_MEMORIES,
                               p.arguments, &back, &e));
  assert_string_equal(e.reason, "NO_MEMORY");
  arena_clear(&small);
}

/* A store that answers late: what was signed before is refused, what the store's
 * key signed elsewhere is read. */
static void a_learned_key_takes_the_place_of_the_own_one(void **state) {
  (void)state;
  page_key mine = key;
  page_key elsewhere = {.bytes = {"fedcba9876543210fedcba9876543210"}};
  page_position p = sample("", 0), back;
  const char *before = page_token_make(&shared, &mine, &p);
  const char *foreign = page_token_make(&shared, &elsewhere, &p);
  mneme_bytes old_token = mneme_bytes_of(before, strlen(before));
  mneme_bytes new_token = mneme_bytes_of(foreign, strlen(foreign));
  assert_false(page_key_is_learned(&mine));
  assert_false(reads_with(&mine, new_token, PAGE_MEMORIES, p.arguments, &back));
  page_key_learn(&mine, elsewhere.bytes[0]);
  assert_true(page_key_is_learned(&mine));
  assert_true(reads_with(&mine, new_token, PAGE_MEMORIES, p.arguments, &back));
  assert_false(reads_with(&mine, old_token, PAGE_MEMORIES, p.arguments, &back));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_position_goes_round_with_names_of_every_length, begin, end),
      cmocka_unit_test_setup_teardown(bulk_positions_go_round, begin, end),
      cmocka_unit_test_setup_teardown(a_name_that_is_too_long_makes_no_token, begin, end),
      cmocka_unit_test_setup_teardown(both_ends_of_the_numbers_go_round, begin, end),
      cmocka_unit_test_setup_teardown(every_altered_bit_and_character_is_refused, begin, end),
      cmocka_unit_test_setup_teardown(cut_and_longer_tokens_are_refused, begin, end),
      cmocka_unit_test_setup_teardown(texts_of_every_length_are_refused, begin, end),
      cmocka_unit_test_setup_teardown(other_arguments_kinds_and_keys_are_refused, begin, end),
      cmocka_unit_test_setup_teardown(a_token_made_elsewhere_is_read, begin, end),
      cmocka_unit_test_setup_teardown(equal_positions_make_equal_tokens, begin, end),
      cmocka_unit_test_setup_teardown(a_learned_key_takes_the_place_of_the_own_one, begin, end),
      cmocka_unit_test_setup_teardown(no_memory_is_told, begin, end),
  };
  return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
