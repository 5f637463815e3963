/* Pure functions over plain numbers: nothing here allocates, waits or knows
 * where a policy came from.
 *
 * A limit (in memories, or in tokens) is one thing with two spellings:
 *
 *   short:  max_memories = n                  ==  evict_above = evict_to = n
 *   long:   evict_above = n [, evict_to = m]      evict_to defaults to n
 *
 * policy_check lets only one spelling through, policy_merge replaces a limit as
 * a whole, so that an override "max_memories: 10" over a rule "evict_above: 500,
 * evict_to: 400" means 10 and not a contradiction, and policy_plan spells it out. */
#include "policy/policy.h"

#include <string.h>

#define BIT(field) (1u << (field))
#define MEMORY_LIMIT (BIT(POLICY_MAX_MEMORIES) | BIT(POLICY_EVICT_ABOVE) | BIT(POLICY_EVICT_TO))
#define TOKEN_LIMIT \
  (BIT(POLICY_MAX_TOKENS) | BIT(POLICY_EVICT_ABOVE_TOKENS) | BIT(POLICY_EVICT_TO_TOKENS))

const char *policy_field_name(policy_field field) {
  switch (field) {
  case POLICY_MAX_MEMORIES: return "max_memories";
  case POLICY_MAX_TOKENS: return "max_tokens";
  case POLICY_EVICT_ABOVE: return "evict_above";
  case POLICY_EVICT_TO: return "evict_to";
  case POLICY_EVICT_ABOVE_TOKENS: return "evict_above_tokens";
  case POLICY_EVICT_TO_TOKENS: return "evict_to_tokens";
  case POLICY_EVICTION: return "eviction";
  case POLICY_KEEP_SYSTEM: return "keep_system";
  case POLICY_MAX_AGE: return "max_age";
  case POLICY_TTL: return "ttl";
  case POLICY_IDEMPOTENCY_WINDOW: return "idempotency_window";
  case POLICY_DEFAULT_KIND: return "default_kind";
  case POLICY_CLEANUP_INTERVAL: return "cleanup_interval";
  }
  return "";
}

/* --- Checks -------------------------------------------------------------- */

static bool problem(policy_problem *ret_problem, policy_field field, bool conflict,
                    const char *text) {
  *ret_problem = (policy_problem){.field = field, .text = text, .conflict = conflict};
  return false;
}

static bool check_ranges(const policy *p, policy_problem *ret_problem) {
  static const char count_text[] = "must be between 1 and 2147483647";
  const struct {
    policy_field field;
    int64_t value;
    int64_t min, max;
    const char *text;
  } ranges[] = {
    {POLICY_MAX_MEMORIES, p->max_memories, 1, POLICY_COUNT_MAX, count_text},
    {POLICY_MAX_TOKENS, p->max_tokens, 1, POLICY_COUNT_MAX, count_text},
    {POLICY_EVICT_ABOVE, p->evict_above, 1, POLICY_COUNT_MAX, count_text},
    {POLICY_EVICT_TO, p->evict_to, 1, POLICY_COUNT_MAX, count_text},
    {POLICY_EVICT_ABOVE_TOKENS, p->evict_above_tokens, 1, POLICY_COUNT_MAX, count_text},
    {POLICY_EVICT_TO_TOKENS, p->evict_to_tokens, 1, POLICY_COUNT_MAX, count_text},
    {POLICY_EVICTION, p->eviction, MNEME_EVICT_FIFO, MNEME_EVICT_REJECT,
     "must be fifo, least_important or reject"},
    {POLICY_MAX_AGE, p->max_age_us, 1, POLICY_DURATION_MAX_US,
     "must be more than 0 and at most 100 years"},
    {POLICY_TTL, p->ttl_us, 1, POLICY_DURATION_MAX_US,
     "must be more than 0 and at most 100 years"},
    {POLICY_IDEMPOTENCY_WINDOW, p->window_us, POLICY_WINDOW_MIN_US, POLICY_WINDOW_MAX_US,
     "must be between 1 second and 7 days"},
    {POLICY_CLEANUP_INTERVAL, p->cleanup_us, POLICY_CLEANUP_MIN_US, POLICY_CLEANUP_MAX_US,
     "must be between 1 second and 7 days"},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
    if (policy_has(p, ranges[i].field) &&
        (ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max))
      return problem(ret_problem, ranges[i].field, false, ranges[i].text);
  }
  if (policy_has(p, POLICY_DEFAULT_KIND) && p->default_kind.size > MNEME_ID_MAX)
    return problem(ret_problem, POLICY_DEFAULT_KIND, false, "must be at most 128 bytes");
  return true;
}

/* One limit: its short form, trigger and target. */
typedef struct limit {
  policy_field brief, above, to;
  const char *both, *alone, *order;
} limit;

static const limit memory_limit = {
  POLICY_MAX_MEMORIES, POLICY_EVICT_ABOVE, POLICY_EVICT_TO,
  "is short for evict_above = evict_to: set it or those, not both",
  "needs evict_above beside it",
  "must be at most evict_above",
};
static const limit token_limit = {
  POLICY_MAX_TOKENS, POLICY_EVICT_ABOVE_TOKENS, POLICY_EVICT_TO_TOKENS,
  "is short for evict_above_tokens = evict_to_tokens: set it or those, not both",
  "needs evict_above_tokens beside it",
  "must be at most evict_above_tokens",
};

static bool check_limit(const policy *p, const limit *l, int64_t above, int64_t to,
                        policy_problem *ret_problem) {
  if (policy_has(p, l->brief) && (policy_has(p, l->above) || policy_has(p, l->to)))
    return problem(ret_problem, l->brief, true, l->both);
  if (policy_has(p, l->to) && !policy_has(p, l->above))
    return problem(ret_problem, l->to, true, l->alone);
  if (policy_has(p, l->to) && to > above)
    return problem(ret_problem, l->to, true, l->order);
  return true;
}

bool policy_check(const policy *p, policy_problem *ret_problem) {
  return check_ranges(p, ret_problem) &&
         check_limit(p, &memory_limit, p->evict_above, p->evict_to, ret_problem) &&
         check_limit(p, &token_limit, p->evict_above_tokens, p->evict_to_tokens, ret_problem);
}

/* --- Merging and planning ------------------------------------------------ */

policy policy_merge(const policy *rule, const policy *override) {
  policy merged = *rule;
  uint32_t taken = override->set;
  uint32_t dropped = 0; /* of the rule's */
  if (taken & MEMORY_LIMIT)
    dropped |= MEMORY_LIMIT;
  if (taken & TOKEN_LIMIT)
    dropped |= TOKEN_LIMIT;
  merged.set = (rule->set & ~dropped) | taken;

  if (taken & MEMORY_LIMIT) {
    merged.max_memories = override->max_memories;
    merged.evict_above = override->evict_above;
    merged.evict_to = override->evict_to;
  }
  if (taken & TOKEN_LIMIT) {
    merged.max_tokens = override->max_tokens;
    merged.evict_above_tokens = override->evict_above_tokens;
    merged.evict_to_tokens = override->evict_to_tokens;
  }
  if (policy_has(override, POLICY_EVICTION))
    merged.eviction = override->eviction;
  if (policy_has(override, POLICY_KEEP_SYSTEM))
    merged.keep_system = override->keep_system;
  if (policy_has(override, POLICY_MAX_AGE))
    merged.max_age_us = override->max_age_us;
  if (policy_has(override, POLICY_TTL))
    merged.ttl_us = override->ttl_us;
  if (policy_has(override, POLICY_IDEMPOTENCY_WINDOW))
    merged.window_us = override->window_us;
  if (policy_has(override, POLICY_DEFAULT_KIND))
    merged.default_kind = override->default_kind;
  if (policy_has(override, POLICY_CLEANUP_INTERVAL))
    merged.cleanup_us = override->cleanup_us;
  return merged;
}

static void plan_limit(const policy *p, const limit *l, int64_t brief, int64_t above, int64_t to,
                       int64_t *ret_above, int64_t *ret_to) {
  if (policy_has(p, l->brief)) {
    *ret_above = brief;
    *ret_to = brief;
  } else if (policy_has(p, l->above)) {
    *ret_above = above;
    *ret_to = policy_has(p, l->to) ? to : above;
  }
}

mneme_plan policy_plan(const policy *effective) {
  const policy *p = effective;
  mneme_plan plan = {.strategy = MNEME_EVICT_FIFO};
  plan_limit(p, &memory_limit, p->max_memories, p->evict_above, p->evict_to, &plan.evict_above,
             &plan.evict_to);
  plan_limit(p, &token_limit, p->max_tokens, p->evict_above_tokens, p->evict_to_tokens,
             &plan.evict_above_tokens, &plan.evict_to_tokens);
  if (policy_has(p, POLICY_EVICTION))
    plan.strategy = p->eviction;
  if (policy_has(p, POLICY_KEEP_SYSTEM))
    plan.keep_system = p->keep_system;
  if (policy_has(p, POLICY_MAX_AGE))
    plan.max_age_us = p->max_age_us;
  if (policy_has(p, POLICY_TTL))
    plan.ttl_us = p->ttl_us;
  return plan;
}

int64_t policy_window_us(const policy *effective) {
  return policy_has(effective, POLICY_IDEMPOTENCY_WINDOW) ? effective->window_us
                                                          : POLICY_WINDOW_DEFAULT_US;
}

/* An empty kind is no kind, so it means the default rather than a mistake. */
mneme_bytes policy_default_kind(const policy *effective) {
  if (policy_has(effective, POLICY_DEFAULT_KIND) && effective->default_kind.size > 0)
    return effective->default_kind;
  return mneme_bytes_of(POLICY_KIND_DEFAULT, sizeof POLICY_KIND_DEFAULT - 1);
}

int64_t policy_cleanup_us(const policy *effective) {
  return policy_has(effective, POLICY_CLEANUP_INTERVAL) ? effective->cleanup_us : 0;
}
