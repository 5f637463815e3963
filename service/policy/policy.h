/* A session's policy: the rule of the config with the session's own override
 * laid over it, turned into the plain numbers that a commit takes.
 *
 * Ownership: default_kind borrows from whoever filled the policy. */
#ifndef MNEME_POLICY_POLICY_H
#define MNEME_POLICY_POLICY_H

#include "mneme/backend.h"

/* Which fields are set; the order is that of SessionPolicy's field numbers. */
typedef enum policy_field {
  POLICY_MAX_MEMORIES = 1,
  POLICY_MAX_TOKENS,
  POLICY_EVICT_ABOVE,
  POLICY_EVICT_TO,
  POLICY_EVICT_ABOVE_TOKENS,
  POLICY_EVICT_TO_TOKENS,
  POLICY_EVICTION,
  POLICY_KEEP_SYSTEM,
  POLICY_MAX_AGE = 11,
  POLICY_TTL,
  POLICY_IDEMPOTENCY_WINDOW,
  POLICY_DEFAULT_KIND,
  POLICY_CLEANUP_INTERVAL
} policy_field;

#define POLICY_COUNT_MAX INT32_MAX
#define POLICY_DURATION_MAX_US (INT64_C(100) * 365 * 86400 * 1000000)
#define POLICY_WINDOW_MIN_US (INT64_C(1000000))
#define POLICY_WINDOW_MAX_US (INT64_C(7) * 86400 * 1000000)
#define POLICY_WINDOW_DEFAULT_US (INT64_C(3600) * 1000000)
#define POLICY_CLEANUP_MIN_US (INT64_C(1000000))
#define POLICY_CLEANUP_MAX_US (INT64_C(7) * 86400 * 1000000)
#define POLICY_KIND_DEFAULT "message"

typedef struct policy {
  uint32_t set; /* bit per policy_field */
  int64_t max_memories;
  int64_t max_tokens;
  int64_t evict_above;
  int64_t evict_to;
  int64_t evict_above_tokens;
  int64_t evict_to_tokens;
  mneme_evict eviction;
  bool keep_system;
  int64_t max_age_us;
  int64_t ttl_us;
  int64_t window_us;
  mneme_bytes default_kind;
  int64_t cleanup_us;
} policy;

static inline bool policy_has(const policy *p, policy_field field) {
  return (p->set & (1u << field)) != 0;
}

/* What is wrong with a policy: the field, and a text that says what to do. NULL
 * = nothing is. */
typedef struct policy_problem {
  policy_field field;
  const char *text;
  bool conflict; /* two fields exclude each other, or one needs another */
} policy_problem;

/* Name of a field as in the .proto file and the config. */
const char *policy_field_name(policy_field field);

/* Checks ranges, and short forms beside long ones; false = see ret_problem. */
bool policy_check(const policy *p, policy_problem *ret_problem);

/* rule with override laid over it. A limit counts as one thing: an override
 * that sets any of max_memories, evict_above, evict_to replaces all three of the
 * rule's, and likewise for tokens. */
policy policy_merge(const policy *rule, const policy *override);

/* The plan of a commit; settings_revision is left 0. */
mneme_plan policy_plan(const policy *effective);

/* With defaults where nothing is set. */
int64_t policy_window_us(const policy *effective);
mneme_bytes policy_default_kind(const policy *effective);
int64_t policy_cleanup_us(const policy *effective); /* 0 = as often as the sweeper looks */

#endif
