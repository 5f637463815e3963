/* The record codec against a second, slow reading of its header: CRC-32C bit by
 * bit over the layout that record.c describes. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "record/record.h"

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

/* --- A second CRC-32C ---------------------------------------------------- */

static uint32_t slow_add(uint32_t crc, const void *data, size_t size) {
  const uint8_t *p = data;
  for (size_t i = 0; i < size; i++) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
  }
  return crc;
}

static uint32_t slow_number(uint32_t crc, uint64_t n) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++)
    bytes[i] = (uint8_t)(n >> (8 * i));
  return slow_add(crc, bytes, 8);
}

static uint32_t slow_crc(const mneme_record *r) {
  const mneme_bytes strings[] = {r->key, r->kind, r->role, r->author, r->source};
  uint64_t importance = 0;
  memcpy(&importance, &r->importance, 8);
  uint32_t crc = slow_number(UINT32_MAX, (uint64_t)r->tier);
  crc = slow_number(crc, (uint64_t)(r->pinned + 2 * r->has_importance));
  crc = slow_number(crc, r->has_importance ? importance : 0);
  crc = slow_number(crc, (uint64_t)r->token_count);
  crc = slow_number(crc, (uint64_t)r->ttl_us);
  crc = slow_number(crc, (uint64_t)r->event_us);
  for (int i = 0; i < 5; i++)
    crc = slow_number(crc, strings[i].size);
  for (int i = 0; i < 5; i++)
    crc = slow_add(crc, strings[i].data, strings[i].size);
  return ~slow_add(crc, r->body.data, r->body.size);
}

/* --- Records ------------------------------------------------------------- */

#define TEXT(s) ((mneme_bytes){(s), sizeof(s) - 1})

static mneme_record sample(const void *payload, size_t size) {
  mneme_record r = {
      .sequence = 7,
      .revision = 8,
      .create_us = 9,
      .id = TEXT("id-1"),
      .key = TEXT("key-1"),
      .kind = TEXT("message"),
      .role = TEXT("user"),
      .author = TEXT("Bob"),
      .source = TEXT("chat"),
      .tier = 2,
      .pinned = true,
      .has_importance = true,
      .importance = 0.75,
      .token_count = 42,
      .ttl_us = 1000000,
      .event_us = -5,
      .expire_us = 77,
  };
  uint8_t *body = record_body_new(&shared, size);
  assert_non_null(body);
  if (size > 0)
    memcpy(body + RECORD_PREFIX, payload, size);
  r.body = mneme_bytes_of((const char *)body, RECORD_PREFIX + size);
  return r;
}

static bool opens(const mneme_record *r) {
  mneme_bytes payload = {"untouched", 9};
  mneme_status status = record_open(r, &payload);
  if (status == MNEME_OK)
    return true;
  assert_int_equal(status, MNEME_CORRUPT);
  assert_string_equal(payload.data, "untouched");
  return false;
}

static void the_slow_crc_is_castagnolis(void **state) {
  (void)state;
  assert_true(~slow_add(UINT32_MAX, "123456789", 9) == 0xE3069283u);
  uint8_t zeroes[32] = {0}; /* RFC 3720, B.4 */
  assert_true(~slow_add(UINT32_MAX, zeroes, 32) == 0x8A9136AAu);
}

static void the_fast_crc_is_the_slow_one(void **state) {
  (void)state;
  assert_true(record_crc32c("123456789", 9) == 0xE3069283u);
  assert_true(record_crc32c(NULL, 0) == 0);
  uint8_t bytes[300];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * i);
  for (size_t from = 0; from < 9; from++)
    for (size_t size = 0; size + from <= sizeof bytes; size++)
      assert_true(record_crc32c(bytes + from, size) == ~slow_add(UINT32_MAX, bytes + from, size));
}

static void a_record_goes_round(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 63, 64, 65, 1000, 1572864};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char *payload = arena_alloc(&shared, sizes[i]);
    for (size_t j = 0; j < sizes[i]; j++)
      payload[j] = (char)(j * 31 + i);
    mneme_record r = sample(payload, sizes[i]);
    record_seal(&r);
    mneme_bytes back;
    assert_int_equal(record_open(&r, &back), MNEME_OK);
    assert_int_equal(back.size, sizes[i]);
    assert_memory_equal(back.data, payload, sizes[i]);
  }
}

static void the_checksum_is_that_of_the_layout(void **state) {
  (void)state;
  mneme_record r = sample("123456789", 9);
  record_seal(&r);
  assert_true(r.crc == slow_crc(&r));
  mneme_record plain = sample("", 0);
  plain.has_importance = false;
  plain.pinned = false;
  plain.key = plain.author = (mneme_bytes){NULL, 0};
  plain.event_us = MNEME_NO_EVENT;
  record_seal(&plain);
  assert_true(plain.crc == slow_crc(&plain));
}

#define CHANGED(change)                                                                          \
  do {                                                                                           \
    mneme_record r = sealed;                                                                     \
    change;                                                                                      \
    assert_false(opens(&r));                                                                     \
    record_seal(&r);                                                                             \
    assert_true(opens(&r));                                                                      \
    assert_true(r.crc != sealed.crc);                                                            \
  } while (0)

static void each_covered_field_changes_the_checksum(void **state) {
  (void)state;
  mneme_record sealed = sample("payload", 7);
  record_seal(&sealed);
  assert_true(opens(&sealed));
  CHANGED(r.key = TEXT("key-2"));
  CHANGED(r.key = TEXT(""));
  CHANGED(r.kind = TEXT("fact"));
  CHANGED(r.role = TEXT("system"));
  CHANGED(r.author = TEXT("Eve"));
  CHANGED(r.source = TEXT("chaT"));
  CHANGED(r.tier = 3);
  CHANGED(r.tier = -2);
  CHANGED(r.pinned = false);
  CHANGED(r.has_importance = false);
  CHANGED(r.importance = 0.5);
  CHANGED(r.token_count = 43);
  CHANGED(r.token_count += INT64_C(1) << 32);
  CHANGED(r.ttl_us = 0);
  CHANGED(r.event_us = MNEME_NO_EVENT);
  /* A letter that moves from one field to the next. */
  CHANGED((r.role = TEXT("use"), r.author = TEXT("rBob")));
  CHANGED((r.kind = r.role, r.role = sealed.kind));
}

static void what_a_commit_assigns_lies_outside(void **state) {
  (void)state;
  mneme_record r = sample("payload", 7);
  record_seal(&r);
  r.sequence = r.revision = r.create_us = r.update_us = r.access_us = r.access_count = 99;
  r.expire_us = 1;
  r.id = TEXT("another");
  assert_true(opens(&r));
}

static void an_importance_that_is_not_there_does_not_count(void **state) {
  (void)state;
  mneme_record r = sample("payload", 7);
  r.has_importance = false;
  record_seal(&r);
  r.importance = 0.1; /* a backend may keep anything in a field that is not set */
  assert_true(opens(&r));
}

static void every_altered_bit_of_the_body_is_found(void **state) {
  (void)state;
  mneme_record r = sample("some payload of a few bytes", 27);
  record_seal(&r);
  uint8_t *body = (uint8_t *)r.body.data;
  for (size_t bit = 0; bit < r.body.size * 8; bit++) {
    body[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_false(opens(&r));
    body[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  for (int bit = 0; bit < 32; bit++) {
    r.crc ^= UINT32_C(1) << bit;
    assert_false(opens(&r));
    r.crc ^= UINT32_C(1) << bit;
  }
  assert_true(opens(&r));
}

static void a_cut_or_longer_body_is_found(void **state) {
  (void)state;
  mneme_record r = sample("12345678", 8);
  record_seal(&r);
  size_t whole = r.body.size;
  for (r.body.size = 0; r.body.size < whole; r.body.size++)
    assert_false(opens(&r));
  mneme_record longer = r;
  longer.body.data = arena_copy(&shared, r.body.data, whole); /* a NUL more */
  longer.body.size = whole + 1;
  assert_false(opens(&longer));
  mneme_record none = {.body = {NULL, 0}};
  record_seal(&none);
  assert_false(opens(&none));
}

static void unknown_versions_and_flags_are_refused(void **state) {
  (void)state;
  for (int byte = 0; byte < 256; byte++) {
    mneme_record r = sample("x", 1);
    ((uint8_t *)r.body.data)[0] = (uint8_t)byte;
    record_seal(&r); /* so that only the version can be wrong */
    assert_int_equal(opens(&r), byte == RECORD_VERSION);
    r = sample("x", 1);
    ((uint8_t *)r.body.data)[1] = (uint8_t)byte;
    record_seal(&r);
    assert_int_equal(opens(&r), byte == 0);
  }
}

static void no_memory_is_told(void **state) {
  (void)state;
  static arena small;
  arena_init(&small, 0);
  assert_null(record_body_new(&small, 1024 * 1024));
  arena_clear(&small);
}

static void tokens_are_counted_by_words(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t words;
  } rows[] = {
      {"", 0},
      {" ", 0},
      {" \t\n\v\f\r ", 0},
      {"a", 1},
      {"  a  ", 1},
      {"My name is Bob", 4},
      {"one\ttwo\nthree\vfour\ffive\rsix", 6},
      {"a,b", 1},
      {"a\xC2\xA0"
       "b",
       1},                                  /* a no-break space is no ASCII space */
      {"\xE6\x97\xA5\xE6\x9C\xAC", 1},      /* no spaces at all */
      {"1 2 3 4 5 6 7 8 9 10", 10},
      {"\x0E \x08", 2}, /* beside the range of white space */
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    assert_int_equal(record_count_tokens(rows[i].text, strlen(rows[i].text)),
                     (13 * rows[i].words + 9) / 10);
  assert_int_equal(record_count_tokens("a", 1), 2);
  assert_int_equal(record_count_tokens("a b c d e f g h i j", 19), 13);
  assert_int_equal(record_count_tokens("ab cd", 3), 2); /* the size counts, not a NUL */
  assert_int_equal(record_count_tokens(NULL, 0), 0);
}

static bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static int64_t slow_tokens(const char *text, size_t size) {
  int64_t words = 0;
  for (size_t i = 0; i < size; i++)
    words += !is_space(text[i]) && (i == 0 || is_space(text[i - 1]));
  return (13 * words + 9) / 10;
}

/* Every byte beside every kind of neighbour, at every place in words of eight. */
static void tokens_are_counted_alike_wherever_they_stand(void **state) {
  (void)state;
  static const char kinds[] = {' ', 'a', '\t', '\r', '\x08', '\x0E', '\x80', '\xA0', '\xFF', '\0'};
  enum { KINDS = sizeof kinds };
  for (int byte = 0; byte < 256; byte++)
    for (int pair = 0; pair < KINDS * KINDS; pair++)
      for (size_t size = 1; size <= 18; size++) {
        char *text = malloc(size); /* exact, for the sanitizer */
        for (size_t i = 0; i < size; i++)
          text[i] = i % 3 == 0 ? (char)byte : kinds[(i % 3 == 1 ? pair : pair / KINDS) % KINDS];
        int64_t fast = record_count_tokens(text, size), slow = slow_tokens(text, size);
        free(text);
        assert_int_equal(fast, slow);
      }
}

/* Lanes count to 255: longer than that many blocks, and words everywhere. */
static void tokens_of_long_texts_are_counted(void **state) {
  (void)state;
  enum { LONG = 20000 };
  char *text = malloc(LONG);
  for (size_t every = 2; every < 7; every++) {
    for (size_t i = 0; i < LONG; i++)
      text[i] = i % every == 0 ? ' ' : 'x';
    for (size_t size = LONG - 40; size < LONG; size++)
      assert_int_equal(record_count_tokens(text, size), slow_tokens(text, size));
  }
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_slow_crc_is_castagnolis),
      cmocka_unit_test(the_fast_crc_is_the_slow_one),
      cmocka_unit_test(tokens_of_long_texts_are_counted),
      cmocka_unit_test_setup_teardown(a_record_goes_round, begin, end),
      cmocka_unit_test_setup_teardown(the_checksum_is_that_of_the_layout, begin, end),
      cmocka_unit_test_setup_teardown(each_covered_field_changes_the_checksum, begin, end),
      cmocka_unit_test_setup_teardown(what_a_commit_assigns_lies_outside, begin, end),
      cmocka_unit_test_setup_teardown(an_importance_that_is_not_there_does_not_count, begin, end),
      cmocka_unit_test_setup_teardown(every_altered_bit_of_the_body_is_found, begin, end),
      cmocka_unit_test_setup_teardown(a_cut_or_longer_body_is_found, begin, end),
      cmocka_unit_test_setup_teardown(unknown_versions_and_flags_are_refused, begin, end),
      cmocka_unit_test(no_memory_is_told),
      cmocka_unit_test(tokens_are_counted_by_words),
      cmocka_unit_test(tokens_are_counted_alike_wherever_they_stand),
  };
  return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
