/* UpdateMemory laid over a stored record: which fields change, what becomes of
 * ttl and token count, and what the result may not be. */
#include <stdbool.h>
#include <stdlib.h>

#include "cmocka_test.h"
#include "record/record.h"
#include "wire/internal.h"
#include "wire_bytes.h"

#define NOW INT64_C(1700000000000000)

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

#define TEXT(s) ((mneme_bytes){(s), sizeof(s) - 1})

/* --- Before and after ---------------------------------------------------- */

static bytes empty_bytes(void) {
  return (bytes){NULL, 0, 0};
}

/* {"key": "text"}; without a text {"key": null}. */
static bytes metadata(const char *key, const char *text) {
  bytes value = empty_bytes(), entry = empty_bytes(), s = empty_bytes();
  if (text != NULL)
    put_text(&value, 3, text);
  else
    put_int(&value, 1, 0);
  put_text(&entry, 1, key);
  put_bytes(&entry, 2, value);
  put_bytes(&s, 1, entry);
  return s;
}

/* What an append of everything has stored: "two words", a part, {"k": "v"}. */
static mneme_record stored(void) {
  bytes part = empty_bytes(), body = empty_bytes();
  put_raw(&body, "\1\0", 2);
  put_text(&body, 9, "two words");
  put_text(&part, 1, "a/b");
  put_bytes(&body, 10, part);
  put_bytes(&body, 11, metadata("k", "v"));
  mneme_record r = {.sequence = 4,
                    .id = TEXT("id"),
                    .key = TEXT("key"),
                    .kind = TEXT("kind"),
                    .role = TEXT("role"),
                    .author = TEXT("author"),
                    .source = TEXT("source"),
                    .tier = 1,
                    .pinned = true,
                    .has_importance = true,
                    .importance = 0.5,
                    .token_count = 77,
                    .ttl_us = 1000000,
                    .event_us = 5,
                    .expire_us = NOW - 1};
  r.body = mneme_bytes_of(arena_copy(&shared, body.data, body.size), body.size);
  bytes_free(&body);
  record_seal(&r);
  return r;
}

/* An update of "id" with that memory, mask (names, ended by NULL; or NULL) and
 * patch; uses them up. */
static bool merge(const mneme_record *old, bytes memory, const char *const *mask, bytes patch,
                  mneme_record *ret, error *e) {
  bytes m = empty_bytes(), paths = empty_bytes();
  put_text(&m, 3, "id");
  put_bytes(&m, 5, memory);
  if (mask != NULL) {
    for (; *mask != NULL; mask++)
      put_text(&paths, 1, *mask);
    put_bytes(&m, 6, paths);
  }
  if (patch.size > 0)
    put_bytes(&m, 7, patch);
  const char *kept = arena_copy(&shared, m.data, m.size);
  wire_update *u = arena_alloc(&shared, sizeof *u);
  error refusal = {0};
  if (!wire_read_update((const uint8_t *)kept, m.size, &shared, u, &refusal))
    fail_msg("%s: %s", refusal.reason, refusal.message);
  bytes_free(&m);
  *e = (error){0};
  memset(ret, 0xA5, sizeof *ret);
  return wire_merge_memory(old, u, NOW, &shared, ret, e);
}

static mneme_record merged(bytes memory, const char *const *mask) {
  mneme_record old = stored(), r;
  error e;
  if (!merge(&old, memory, mask, empty_bytes(), &r, &e))
    fail_msg("%s: %s", e.reason, e.message);
  record_seal(&r);
  mneme_bytes payload;
  assert_int_equal(record_open(&r, &payload), MNEME_OK);
  return r;
}

static pb_memory *body_of(const mneme_record *r) {
  ProtobufCAllocator allocator = wire_allocator(&shared);
  pb_memory *m = mneme__v1__memory__unpack(&allocator, r->body.size - RECORD_PREFIX,
                                           (const uint8_t *)r->body.data + RECORD_PREFIX);
  assert_non_null(m);
  return m;
}

static bool is(mneme_bytes b, const char *text) {
  return b.size == strlen(text) && memcmp(b.data, text, b.size) == 0;
}

#define MASK(...) ((const char *const[]){__VA_ARGS__, NULL})

/* --- Typed fields -------------------------------------------------------- */

static void what_is_carried_changes_and_the_rest_stays(void **state) {
  (void)state;
  bytes m = empty_bytes();
  put_text(&m, 5, "new role");
  mneme_record r = merged(m, NULL), old = stored();
  assert_true(is(r.role, "new role"));
  assert_true(is(r.id, "id") && is(r.key, "key") && is(r.kind, "kind") && is(r.author, "author") &&
              is(r.source, "source"));
  assert_int_equal(r.tier, 1);
  assert_true(r.pinned && r.has_importance && r.importance == 0.5);
  assert_int_equal(r.token_count, 77); /* the content is the same */
  assert_int_equal(r.event_us, 5);
  assert_int_equal(r.body.size, old.body.size);
  assert_memory_equal(r.body.data, old.body.data, r.body.size);
}

static void each_typed_field_is_set(void **state) {
  (void)state;
  bytes m = empty_bytes(), time = empty_bytes();
  put_text(&m, 3, "K");
  put_text(&m, 4, "kind 2");
  put_text(&m, 6, "author 2");
  put_text(&m, 7, "source 2");
  put_int(&m, 8, 3);
  put_double(&m, 12, 0);
  put_int(&time, 1, 9);
  put_bytes(&m, 18, time);
  mneme_record r = merged(m, NULL);
  assert_true(is(r.key, "K") && is(r.kind, "kind 2") && is(r.author, "author 2") &&
              is(r.source, "source 2"));
  assert_int_equal(r.tier, 3);
  assert_true(r.has_importance && r.importance == 0);
  assert_int_equal(r.event_us, 9000000);
}

static void what_the_mask_names_and_nobody_carries_is_taken_away(void **state) {
  (void)state;
  mneme_record r = merged(empty_bytes(), MASK("key", "kind", "role", "author", "source", "tier",
                                              "importance", "pinned", "event_time", "parts",
                                              "metadata", "ttl"));
  assert_int_equal(r.key.size + r.kind.size + r.role.size + r.author.size + r.source.size, 0);
  assert_int_equal(r.tier, 0);
  assert_false(r.pinned || r.has_importance);
  assert_true(r.event_us == MNEME_NO_EVENT);
  assert_int_equal(r.ttl_us, 0);
  assert_int_equal(r.expire_us, 0);
  pb_memory *m = body_of(&r);
  assert_string_equal(m->content, "two words");
  assert_int_equal(m->n_parts, 0);
  assert_null(m->metadata);
}

/* --- Content and tokens -------------------------------------------------- */

static void new_content_is_counted_unless_told(void **state) {
  (void)state;
  bytes m = empty_bytes(), told = empty_bytes(), only_told = empty_bytes();
  put_text(&m, 9, "now three words");
  mneme_record r = merged(m, NULL);
  assert_string_equal(body_of(&r)->content, "now three words");
  assert_int_equal(body_of(&r)->n_parts, 1);
  assert_int_equal(r.token_count, record_count_tokens("now three words", 15));
  put_text(&told, 9, "now three words");
  put_int(&told, 17, 5);
  r = merged(told, NULL);
  assert_int_equal(r.token_count, 5);
  put_int(&only_told, 17, 0);
  r = merged(only_told, NULL);
  assert_int_equal(r.token_count, 0);
  r = merged(empty_bytes(), MASK("token_count")); /* count it again */
  assert_int_equal(r.token_count, record_count_tokens("two words", 9));
}

static void nothing_is_not_a_memory(void **state) {
  (void)state;
  mneme_record old = stored(), r;
  error e;
  assert_false(merge(&old, empty_bytes(), MASK("content", "parts", "key"), empty_bytes(), &r, &e));
  assert_string_equal(e.reason, "REQUIRED");
  assert_string_equal(e.field, "memory.content");
  r = merged(empty_bytes(), MASK("content", "parts"));
  r = merged(empty_bytes(), MASK("content", "key"));
  r = merged(empty_bytes(), MASK("parts", "key"));
}

/* --- ttl and expire_time ------------------------------------------------- */

static bytes with_seconds(uint32_t field, int64_t n) {
  bytes time = empty_bytes(), m = empty_bytes();
  put_int(&time, 1, n);
  put_bytes(&m, field, time);
  return m;
}

static void a_ttl_counts_from_the_last_write(void **state) {
  (void)state;
  bytes m = empty_bytes();
  put_text(&m, 5, "r");
  mneme_record r = merged(m, NULL);
  assert_true(r.ttl_us == 1000000 && r.expire_us == NOW + 1000000);
  r = merged(with_seconds(16, 60), NULL);
  assert_true(r.ttl_us == 60000000 && r.expire_us == NOW + 60000000);
  r = merged(with_seconds(16, 60), MASK("ttl", "expire_time"));
  assert_true(r.ttl_us == 60000000 && r.expire_us == NOW + 60000000);
}

static void an_expire_time_takes_the_place_of_a_ttl(void **state) {
  (void)state;
  mneme_record r = merged(with_seconds(22, 1800000000), NULL);
  assert_true(r.ttl_us == 0 && r.expire_us == INT64_C(1800000000000000));
  r = merged(with_seconds(22, 1800000000), MASK("ttl", "expire_time"));
  assert_true(r.ttl_us == 0 && r.expire_us == INT64_C(1800000000000000));
  r = merged(empty_bytes(), MASK("ttl", "expire_time"));
  assert_true(r.ttl_us == 0 && r.expire_us == 0);
}

/* --- Metadata ------------------------------------------------------------ */

static void metadata_is_replaced_or_patched(void **state) {
  (void)state;
  bytes m = empty_bytes();
  put_bytes(&m, 11, metadata("x", "y"));
  mneme_record r = merged(m, NULL);
  assert_int_equal(body_of(&r)->metadata->n_fields, 1);
  assert_string_equal(body_of(&r)->metadata->fields[0]->key, "x");

  mneme_record old = stored();
  error e;
  assert_true(merge(&old, empty_bytes(), NULL, metadata("a", "b"), &r, &e));
  assert_int_equal(body_of(&r)->metadata->n_fields, 2);
  assert_string_equal(body_of(&r)->metadata->fields[0]->key, "a");
  assert_string_equal(body_of(&r)->metadata->fields[1]->key, "k");
  assert_string_equal(body_of(&r)->content, "two words");
  assert_true(merge(&old, empty_bytes(), NULL, metadata("k", NULL), &r, &e));
  assert_int_equal(body_of(&r)->metadata->n_fields, 0);
}

static bytes letters(uint32_t field, size_t size) {
  bytes m = empty_bytes();
  put_letters(&m, field, size);
  return m;
}

static void limits_hold_after_the_merge(void **state) {
  (void)state;
  mneme_record old = stored(), r;
  error e;
  char *long_text = arena_alloc(&shared, 65000);
  memset(long_text, 'x', 64999);
  long_text[64999] = '\0';
  assert_true(merge(&old, empty_bytes(), NULL, metadata("a", long_text), &r, &e));
  record_seal(&r);
  assert_false(merge(&r, empty_bytes(), NULL, metadata("b", long_text), &old, &e));
  assert_string_equal(e.reason, "TOO_LARGE");
  assert_string_equal(e.field, "metadata_patch");

  /* A part of 1 MiB is stored; content of 1 MiB comes: together more than 1.5. */
  bytes part = letters(2, 1000000), body = empty_bytes();
  put_raw(&body, "\1\0", 2);
  put_bytes(&body, 10, part);
  mneme_record large = stored();
  large.body = mneme_bytes_of(arena_copy(&shared, body.data, body.size), body.size);
  bytes_free(&body);
  record_seal(&large);
  assert_true(merge(&large, letters(9, 500000), NULL, empty_bytes(), &r, &e));
  assert_false(merge(&large, letters(9, 1000000), NULL, empty_bytes(), &r, &e));
  assert_string_equal(e.reason, "TOO_LARGE");
  assert_string_equal(e.field, "memory");
}

/* --- Damage and memory --------------------------------------------------- */

static void a_damaged_record_is_not_written_again(void **state) {
  (void)state;
  mneme_record old = stored(), r;
  error e;
  old.crc ^= 1;
  assert_false(merge(&old, letters(9, 3), NULL, empty_bytes(), &r, &e));
  assert_int_equal(e.code, CODE_DATA_LOSS);
  assert_string_equal(e.reason, "CORRUPT");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_is_carried_changes_and_the_rest_stays, begin, end),
      cmocka_unit_test_setup_teardown(each_typed_field_is_set, begin, end),
      cmocka_unit_test_setup_teardown(what_the_mask_names_and_nobody_carries_is_taken_away, begin,
                                      end),
      cmocka_unit_test_setup_teardown(new_content_is_counted_unless_told, begin, end),
      cmocka_unit_test_setup_teardown(nothing_is_not_a_memory, begin, end),
      cmocka_unit_test_setup_teardown(a_ttl_counts_from_the_last_write, begin, end),
      cmocka_unit_test_setup_teardown(an_expire_time_takes_the_place_of_a_ttl, begin, end),
      cmocka_unit_test_setup_teardown(metadata_is_replaced_or_patched, begin, end),
      cmocka_unit_test_setup_teardown(limits_hold_after_the_merge, begin, end),
      cmocka_unit_test_setup_teardown(a_damaged_record_is_not_written_again, begin, end),
  };
  return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
