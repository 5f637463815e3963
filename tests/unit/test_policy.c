/* Policies: what is refused, how an override lies over a rule, and the plan. */
#include <stdbool.h>
#include <string.h>

#include "cmocka_test.h"
#include "policy/policy.h"

#define SET(field) (1u << (field))

static void names_are_those_of_the_contract(void **state) {
  (void)state;
  assert_string_equal(policy_field_name(POLICY_MAX_MEMORIES), "max_memories");
  assert_string_equal(policy_field_name(POLICY_KEEP_SYSTEM), "keep_system");
  assert_string_equal(policy_field_name(POLICY_MAX_AGE), "max_age");
  assert_string_equal(policy_field_name(POLICY_DEFAULT_KIND), "default_kind");
  assert_string_equal(policy_field_name((policy_field)9), "");
}

/* Sets one field to a number; its unit is the field's. */
static policy with(policy p, policy_field field, int64_t n) {
  p.set |= SET(field);
  switch (field) {
  case POLICY_MAX_MEMORIES: p.max_memories = n; break;
  case POLICY_MAX_TOKENS: p.max_tokens = n; break;
  case POLICY_EVICT_ABOVE: p.evict_above = n; break;
  case POLICY_EVICT_TO: p.evict_to = n; break;
  case POLICY_EVICT_ABOVE_TOKENS: p.evict_above_tokens = n; break;
  case POLICY_EVICT_TO_TOKENS: p.evict_to_tokens = n; break;
  case POLICY_EVICTION: p.eviction = (mneme_evict)n; break;
  case POLICY_KEEP_SYSTEM: p.keep_system = n != 0; break;
  case POLICY_MAX_AGE: p.max_age_us = n; break;
  case POLICY_TTL: p.ttl_us = n; break;
  case POLICY_IDEMPOTENCY_WINDOW: p.window_us = n; break;
  case POLICY_CLEANUP_INTERVAL: p.cleanup_us = n; break;
  case POLICY_DEFAULT_KIND: p.default_kind = mneme_bytes_of("", (size_t)n); break;
  }
  return p;
}

static const policy empty;

static void ranges_hold_at_n_and_not_beyond(void **state) {
  (void)state;
  static const struct {
    policy_field field;
    int64_t min, max;
  } ranges[] = {
    {POLICY_MAX_MEMORIES, 1, POLICY_COUNT_MAX},
    {POLICY_MAX_TOKENS, 1, POLICY_COUNT_MAX},
    {POLICY_EVICT_ABOVE, 1, POLICY_COUNT_MAX},
    {POLICY_EVICT_ABOVE_TOKENS, 1, POLICY_COUNT_MAX},
    {POLICY_EVICTION, 1, 3},
    {POLICY_MAX_AGE, 1, POLICY_DURATION_MAX_US},
    {POLICY_TTL, 1, POLICY_DURATION_MAX_US},
    {POLICY_IDEMPOTENCY_WINDOW, POLICY_WINDOW_MIN_US, POLICY_WINDOW_MAX_US},
    {POLICY_CLEANUP_INTERVAL, POLICY_CLEANUP_MIN_US, POLICY_CLEANUP_MAX_US},
  };
  policy_problem problem;
  assert_true(policy_check(&empty, &problem));
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
    policy low = with(empty, ranges[i].field, ranges[i].min);
    policy high = with(empty, ranges[i].field, ranges[i].max);
    policy below = with(empty, ranges[i].field, ranges[i].min - 1);
    policy above = with(empty, ranges[i].field, ranges[i].max + 1);
    assert_true(policy_check(&low, &problem));
    assert_true(policy_check(&high, &problem));
    assert_false(policy_check(&below, &problem));
    assert_int_equal(problem.field, ranges[i].field);
    assert_false(problem.conflict);
    assert_false(policy_check(&above, &problem));
    assert_int_equal(problem.field, ranges[i].field);
  }
  policy kind = with(empty, POLICY_DEFAULT_KIND, 128);
  assert_true(policy_check(&kind, &problem));
  kind = with(empty, POLICY_DEFAULT_KIND, 129);
  assert_false(policy_check(&kind, &problem));
}

static void one_spelling_of_a_limit_at_a_time(void **state) {
  (void)state;
  static const struct {
    policy_field a;
    int64_t a_value;
    policy_field b;
    int64_t b_value;
    policy_field blamed; /* 0 = fine */
  } pairs[] = {
    {POLICY_MAX_MEMORIES, 5, POLICY_EVICT_ABOVE, 5, POLICY_MAX_MEMORIES},
    {POLICY_MAX_MEMORIES, 5, POLICY_EVICT_TO, 5, POLICY_MAX_MEMORIES},
    {POLICY_MAX_TOKENS, 5, POLICY_EVICT_ABOVE_TOKENS, 5, POLICY_MAX_TOKENS},
    {POLICY_MAX_TOKENS, 5, POLICY_EVICT_TO_TOKENS, 5, POLICY_MAX_TOKENS},
    {POLICY_EVICT_TO, 5, POLICY_EVICT_ABOVE_TOKENS, 5, POLICY_EVICT_TO},
    {POLICY_EVICT_ABOVE, 5, POLICY_EVICT_TO, 6, POLICY_EVICT_TO},
    {POLICY_EVICT_ABOVE_TOKENS, 5, POLICY_EVICT_TO_TOKENS, 6, POLICY_EVICT_TO_TOKENS},
    {POLICY_EVICT_ABOVE, 5, POLICY_EVICT_TO, 5, 0},
    {POLICY_MAX_MEMORIES, 5, POLICY_MAX_TOKENS, 5, 0},
    {POLICY_MAX_MEMORIES, 5, POLICY_EVICT_ABOVE_TOKENS, 5, 0},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    policy p = with(with(empty, pairs[i].a, pairs[i].a_value), pairs[i].b, pairs[i].b_value);
    policy_problem problem;
    assert_int_equal(policy_check(&p, &problem), pairs[i].blamed == 0);
    if (pairs[i].blamed != 0) {
      assert_int_equal(problem.field, pairs[i].blamed);
      assert_true(problem.conflict);
      assert_non_null(problem.text);
    }
  }
}

static void an_override_replaces_a_limit_as_a_whole(void **state) {
  (void)state;
  policy rule = with(with(empty, POLICY_EVICT_ABOVE, 500), POLICY_EVICT_TO, 400);
  rule = with(with(rule, POLICY_MAX_TOKENS, 9000), POLICY_TTL, 77);
  policy override = with(empty, POLICY_MAX_MEMORIES, 10);
  policy merged = policy_merge(&rule, &override);
  policy_problem problem;
  assert_true(policy_check(&merged, &problem));
  mneme_plan plan = policy_plan(&merged);
  assert_int_equal(plan.evict_above, 10);
  assert_int_equal(plan.evict_to, 10);
  assert_int_equal(plan.evict_above_tokens, 9000);
  assert_int_equal(plan.ttl_us, 77);

  rule = with(empty, POLICY_MAX_MEMORIES, 10);
  override = with(empty, POLICY_EVICT_ABOVE, 500);
  merged = policy_merge(&rule, &override);
  assert_true(policy_check(&merged, &problem));
  plan = policy_plan(&merged);
  assert_int_equal(plan.evict_above, 500);
  assert_int_equal(plan.evict_to, 500);
}

static void an_override_keeps_what_it_does_not_name(void **state) {
  (void)state;
  policy rule = empty;
  for (int field = POLICY_MAX_AGE; field <= POLICY_IDEMPOTENCY_WINDOW; field++)
    rule = with(rule, (policy_field)field, 5000000 + field);
  rule = with(with(rule, POLICY_EVICTION, MNEME_EVICT_REJECT), POLICY_KEEP_SYSTEM, 1);
  rule.default_kind = mneme_bytes_of("episodic", 8);
  rule.set |= SET(POLICY_DEFAULT_KIND);
  policy merged = policy_merge(&rule, &empty);
  assert_int_equal(merged.set, rule.set);
  assert_int_equal(policy_plan(&merged).strategy, MNEME_EVICT_REJECT);
  assert_true(policy_plan(&merged).keep_system);

  policy override = with(with(empty, POLICY_KEEP_SYSTEM, 0), POLICY_EVICTION, MNEME_EVICT_FIFO);
  override = with(override, POLICY_IDEMPOTENCY_WINDOW, 1000000);
  merged = policy_merge(&rule, &override);
  mneme_plan plan = policy_plan(&merged);
  assert_false(plan.keep_system); /* false that was set beats true */
  assert_int_equal(plan.strategy, MNEME_EVICT_FIFO);
  assert_int_equal(plan.max_age_us, rule.max_age_us);
  assert_int_equal(policy_window_us(&merged), 1000000);
  assert_int_equal(policy_default_kind(&merged).size, 8);
}

static void nothing_set_means_the_defaults(void **state) {
  (void)state;
  mneme_plan plan = policy_plan(&empty);
  assert_int_equal(plan.strategy, MNEME_EVICT_FIFO);
  assert_int_equal(plan.evict_above | plan.evict_to, 0);
  assert_int_equal(plan.evict_above_tokens | plan.evict_to_tokens, 0);
  assert_int_equal(plan.max_age_us | plan.ttl_us | plan.settings_revision, 0);
  assert_false(plan.keep_system);
  assert_int_equal(policy_window_us(&empty), POLICY_WINDOW_DEFAULT_US);
  mneme_bytes kind = policy_default_kind(&empty);
  assert_memory_equal(kind.data, "message", kind.size);
  policy blank = with(empty, POLICY_DEFAULT_KIND, 0);
  assert_int_equal(policy_default_kind(&blank).size, 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_are_those_of_the_contract),
    cmocka_unit_test(ranges_hold_at_n_and_not_beyond),
    cmocka_unit_test(one_spelling_of_a_limit_at_a_time),
    cmocka_unit_test(an_override_replaces_a_limit_as_a_whole),
    cmocka_unit_test(an_override_keeps_what_it_does_not_name),
    cmocka_unit_test(nothing_set_means_the_defaults),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
