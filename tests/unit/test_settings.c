/* A session's settings as a backend keeps them: they come back as they were, and
 * damaged bytes do not come back at all. */
#include <stdbool.h>
#include <stdio.h>

#include "cmocka_test.h"
#include "record/record.h"
#include "wire/settings.h"
#include "wire_bytes.h"

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
#define SET(field) (1u << (field))

/* Every field with a value of its own, in the long spelling of both limits. */
static policy long_policy(void) {
  return (policy){
      .set = SET(POLICY_EVICT_ABOVE) | SET(POLICY_EVICT_TO) | SET(POLICY_EVICT_ABOVE_TOKENS) |
             SET(POLICY_EVICT_TO_TOKENS) | SET(POLICY_EVICTION) | SET(POLICY_KEEP_SYSTEM) |
             SET(POLICY_MAX_AGE) | SET(POLICY_TTL) | SET(POLICY_IDEMPOTENCY_WINDOW) |
             SET(POLICY_DEFAULT_KIND) | SET(POLICY_CLEANUP_INTERVAL),
      .cleanup_us = 90000000,
      .evict_above = 100,
      .evict_to = 80,
      .evict_above_tokens = POLICY_COUNT_MAX,
      .evict_to_tokens = 1,
      .eviction = MNEME_EVICT_REJECT,
      .keep_system = true,
      .max_age_us = POLICY_DURATION_MAX_US,
      .ttl_us = 1,
      .window_us = 1500000,
      .default_kind = TEXT("episodic"),
  };
}

static policy short_policy(void) {
  return (policy){
      .set = SET(POLICY_MAX_MEMORIES) | SET(POLICY_MAX_TOKENS) | SET(POLICY_KEEP_SYSTEM) |
             SET(POLICY_DEFAULT_KIND),
      .max_memories = 1,
      .max_tokens = POLICY_COUNT_MAX,
      .keep_system = false, /* set to false, which is not unset */
      .default_kind = {"", 0},
  };
}

static mneme_bytes metadata_of(const char *key, double number) {
  bytes value = {NULL, 0, 0}, entry = {NULL, 0, 0}, s = {NULL, 0, 0};
  put_double(&value, 2, number);
  put_text(&entry, 1, key);
  put_bytes(&entry, 2, value);
  put_bytes(&s, 1, entry);
  const char *copy = arena_copy(&shared, s.data, s.size);
  mneme_bytes b = {copy, s.size};
  bytes_free(&s);
  return b;
}

static const wire_label labels[] = {
    {TEXT("env"), TEXT("prod")}, {TEXT("team"), TEXT("")}, {TEXT("z\xC3\xA4"), TEXT("1")}};

static wire_settings everything(policy p) {
  return (wire_settings){.has_policy = true,
                         .policy = p,
                         .labels = labels,
                         .label_count = 3,
                         .has_metadata = true,
                         .metadata = metadata_of("a", 0.5)};
}

static mneme_bytes pack(const wire_settings *s) {
  error e = {0};
  mneme_bytes b = {"untouched", 9};
  assert_true(wire_pack_settings(s, &shared, &b, &e));
  return b;
}

static void assert_bytes_equal(mneme_bytes a, mneme_bytes b) {
  assert_int_equal(a.size, b.size);
  if (a.size > 0)
    assert_memory_equal(a.data, b.data, a.size);
}

static void assert_policy_equal(const policy *a, const policy *b) {
  assert_int_equal(a->set, b->set);
  assert_int_equal(a->max_memories, b->max_memories);
  assert_int_equal(a->max_tokens, b->max_tokens);
  assert_int_equal(a->evict_above, b->evict_above);
  assert_int_equal(a->evict_to, b->evict_to);
  assert_int_equal(a->evict_above_tokens, b->evict_above_tokens);
  assert_int_equal(a->evict_to_tokens, b->evict_to_tokens);
  assert_int_equal(a->eviction, b->eviction);
  assert_int_equal(a->keep_system, b->keep_system);
  assert_true(a->max_age_us == b->max_age_us);
  assert_true(a->ttl_us == b->ttl_us);
  assert_true(a->window_us == b->window_us);
  assert_true(a->cleanup_us == b->cleanup_us);
  assert_bytes_equal(a->default_kind, b->default_kind);
}

static void assert_settings_equal(const wire_settings *a, const wire_settings *b) {
  assert_int_equal(a->has_policy, b->has_policy);
  if (a->has_policy)
    assert_policy_equal(&a->policy, &b->policy);
  assert_int_equal(a->label_count, b->label_count);
  for (size_t i = 0; i < a->label_count; i++) {
    assert_bytes_equal(a->labels[i].key, b->labels[i].key);
    assert_bytes_equal(a->labels[i].value, b->labels[i].value);
  }
  assert_int_equal(a->has_metadata, b->has_metadata);
  if (a->has_metadata)
    assert_bytes_equal(a->metadata, b->metadata);
}

static void goes_round(const wire_settings *s) {
  mneme_bytes b = pack(s);
  wire_settings back;
  memset(&back, 0xA5, sizeof back);
  assert_true(wire_read_settings(b, &shared, &back));
  assert_settings_equal(s, &back);
  assert_bytes_equal(pack(&back), b); /* and the bytes are the same again */
  assert_true(b.size <= MNEME_SETTINGS_MAX);
}

/* --- Round trips --------------------------------------------------------- */

static void all_that_can_be_set_goes_round(void **state) {
  (void)state;
  wire_settings s = everything(long_policy());
  goes_round(&s);
  s = everything(short_policy());
  goes_round(&s);
}

static void each_field_of_a_policy_goes_round_alone(void **state) {
  (void)state;
  for (int field = POLICY_MAX_MEMORIES; field <= POLICY_DEFAULT_KIND; field++) {
    if (*policy_field_name((policy_field)field) == '\0')
      continue;
    policy p = {.set = SET(field)};
    switch (field) {
    case POLICY_MAX_MEMORIES: p.max_memories = 11; break;
    case POLICY_MAX_TOKENS: p.max_tokens = 12; break;
    case POLICY_EVICT_TO: /* needs its trigger */
      p.set |= SET(POLICY_EVICT_ABOVE);
      p.evict_to = p.evict_above = 13;
      break;
    case POLICY_EVICT_ABOVE: p.evict_above = 14; break;
    case POLICY_EVICT_TO_TOKENS:
      p.set |= SET(POLICY_EVICT_ABOVE_TOKENS);
      p.evict_to_tokens = p.evict_above_tokens = 15;
      break;
    case POLICY_EVICT_ABOVE_TOKENS: p.evict_above_tokens = 16; break;
    case POLICY_EVICTION: p.eviction = MNEME_EVICT_LEAST_IMPORTANT; break;
    case POLICY_KEEP_SYSTEM: p.keep_system = true; break;
    case POLICY_MAX_AGE: p.max_age_us = 999999; break;
    case POLICY_TTL: p.ttl_us = 1000000; break;
    case POLICY_IDEMPOTENCY_WINDOW: p.window_us = POLICY_WINDOW_MAX_US; break;
    case POLICY_DEFAULT_KIND: p.default_kind = TEXT("k"); break;
    case POLICY_CLEANUP_INTERVAL: p.cleanup_us = POLICY_CLEANUP_MIN_US; break;
    default: fail_msg("a new field of a policy: %d", field);
    }
    wire_settings s = {.has_policy = true, .policy = p};
    goes_round(&s);
  }
}

static void each_kind_of_setting_goes_round_alone(void **state) {
  (void)state;
  wire_settings with_labels = {.labels = labels, .label_count = 3};
  goes_round(&with_labels);
  wire_settings with_metadata = {.has_metadata = true, .metadata = metadata_of("k", -1e300)};
  goes_round(&with_metadata);
  wire_settings empty_metadata = {.has_metadata = true}; /* {}, which is not none */
  goes_round(&empty_metadata);
  wire_settings empty_policy = {.has_policy = true};
  goes_round(&empty_policy);
}

static void the_largest_settings_fit_their_limit(void **state) {
  (void)state;
  wire_label many[64];
  for (int i = 0; i < 64; i++) {
    many[i].key = (mneme_bytes){arena_printf(&shared, "%0128d", i), 128};
    many[i].value = many[i].key;
  }
  char *key = arena_printf(&shared, "%065000d", 0);
  policy p = long_policy();
  p.default_kind = many[0].key;
  wire_settings s = {.has_policy = true,
                     .policy = p,
                     .labels = many,
                     .label_count = 64,
                     .has_metadata = true,
                     .metadata = metadata_of(key, 1)};
  goes_round(&s);
}

static void empty_settings_are_no_bytes(void **state) {
  (void)state;
  wire_settings none = {0}, back;
  mneme_bytes b = pack(&none);
  assert_int_equal(b.size, 0);
  memset(&back, 0xA5, sizeof back);
  assert_true(wire_read_settings(b, &shared, &back));
  assert_settings_equal(&none, &back);
  assert_true(wire_read_settings((mneme_bytes){NULL, 0}, &shared, &back));
  bool damaged = true;
  assert_non_null(wire_open_settings(b, &shared, &damaged));
  assert_false(damaged);
}

/* --- Labels -------------------------------------------------------------- */

static void labels_are_sorted_and_unique(void **state) {
  (void)state;
  char *keys[] = {"b", "a", "\xC3\xA4", "b", "B", "ab", "b"};
  char *values[] = {"1", "2", "3", "4", "5", "6", "7"};
  const wire_label *sorted = NULL;
  size_t count = 0;
  error e = {0};
  assert_true(wire_labels_in(keys, values, 7, &shared, &sorted, &count, &e));
  static const char *const expected[] = {"B=5", "a=2", "ab=6", "b=7", "\xC3\xA4=3"};
  assert_int_equal(count, 5);
  for (size_t i = 0; i < count; i++)
    assert_string_equal(
        arena_printf(&shared, "%s=%s", sorted[i].key.data, sorted[i].value.data), expected[i]);
  wire_settings s = {.labels = sorted, .label_count = count};
  goes_round(&s);
  assert_true(wire_labels_in(NULL, NULL, 0, &shared, &sorted, &count, &e));
  assert_int_equal(count, 0);
}

static void a_label_needs_a_key(void **state) {
  (void)state;
  char *keys[] = {"a", ""}, *values[] = {"1", "2"};
  const wire_label *sorted = NULL;
  size_t count = 7;
  error e = {0};
  assert_false(wire_labels_in(keys, values, 2, &shared, &sorted, &count, &e));
  assert_string_equal(e.reason, "REQUIRED");
  assert_string_equal(e.field, "labels");
  assert_int_equal(count, 7);
}

/* --- Damage -------------------------------------------------------------- */

static bool reads(mneme_bytes b) {
  wire_settings back;
  char *exact = malloc(b.size + 1); /* the sanitizer sees a read beyond the end */
  memcpy(exact + 1, b.data, b.size);
  bool damaged;
  bool opened =
      wire_open_settings((mneme_bytes){exact + 1, b.size}, &shared, &damaged) != NULL;
  assert_int_equal(damaged, !opened);
  bool read = wire_read_settings((mneme_bytes){exact + 1, b.size}, &shared, &back);
  free(exact);
  assert_int_equal(opened, read);
  arena_clear(&shared);
  return read;
}

/* Outside the arena, which reads() clears. */
static mneme_bytes packed_apart(char room[1024]) {
  wire_settings s = everything(long_policy());
  mneme_bytes b = pack(&s);
  assert_true(b.size < 1024);
  memcpy(room, b.data, b.size);
  return (mneme_bytes){room, b.size};
}

static void every_truncation_is_refused(void **state) {
  (void)state;
  char room[1024];
  mneme_bytes b = packed_apart(room);
  assert_true(reads(b));
  for (size_t size = 1; size < b.size; size++) /* 0 bytes are empty settings */
    assert_false(reads((mneme_bytes){b.data, size}));
  room[b.size] = '\0';
  assert_false(reads((mneme_bytes){b.data, b.size + 1}));
}

static void every_altered_bit_is_refused(void **state) {
  (void)state;
  char room[1024];
  mneme_bytes b = packed_apart(room);
  for (size_t bit = 0; bit < b.size * 8; bit++) {
    room[bit / 8] = (char)(room[bit / 8] ^ 1 << bit % 8);
    assert_false(reads(b));
    room[bit / 8] = (char)(room[bit / 8] ^ 1 << bit % 8);
  }
  assert_true(reads(b));
}

static void other_versions_are_refused(void **state) {
  (void)state;
  char room[1024];
  mneme_bytes b = packed_apart(room);
  for (int version = 0; version < 256; version++) {
    char was = room[0];
    room[0] = (char)version;
    assert_int_equal(reads(b), room[0] == was);
    room[0] = was;
  }
}

static void no_memory_is_told(void **state) {
  (void)state;
  wire_settings s = everything(long_policy());
  mneme_bytes whole = pack(&s);
  static arena small;
  for (size_t left = 0; left <= ARENA_FIRST_BYTES; left += 16) {
    arena_init(&small, 0);
    arena_alloc(&small, ARENA_FIRST_BYTES - left);
    error e = {0};
    mneme_bytes b = {NULL, 7};
    if (wire_pack_settings(&s, &small, &b, &e))
      assert_bytes_equal(b, whole); /* all of it, or nothing */
    else
      assert_string_equal(e.reason, "NO_MEMORY");
    assert_true(left < ARENA_FIRST_BYTES || e.code == CODE_OK);
    arena_clear(&small);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(all_that_can_be_set_goes_round, begin, end),
      cmocka_unit_test_setup_teardown(each_field_of_a_policy_goes_round_alone, begin, end),
      cmocka_unit_test_setup_teardown(each_kind_of_setting_goes_round_alone, begin, end),
      cmocka_unit_test_setup_teardown(the_largest_settings_fit_their_limit, begin, end),
      cmocka_unit_test_setup_teardown(empty_settings_are_no_bytes, begin, end),
      cmocka_unit_test_setup_teardown(labels_are_sorted_and_unique, begin, end),
      cmocka_unit_test_setup_teardown(a_label_needs_a_key, begin, end),
      cmocka_unit_test_setup_teardown(every_truncation_is_refused, begin, end),
      cmocka_unit_test_setup_teardown(every_altered_bit_is_refused, begin, end),
      cmocka_unit_test_setup_teardown(other_versions_are_refused, begin, end),
      cmocka_unit_test_setup_teardown(no_memory_is_told, begin, end),
  };
  return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
