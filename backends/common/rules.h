/* The meanings that must be the same on every engine, as plain arithmetic: when a
 * memory is gone, whether a write's guards hold, how far a session must shrink.
 * Nothing here allocates, locks or keeps anything; an engine brings the numbers. */
#ifndef MNEME_COMMON_RULES_H
#define MNEME_COMMON_RULES_H

#include "mneme/backend.h"

/* a + b for b >= 0, at most INT64_MAX: a lifetime of "for ever" is no bug. */
static inline int64_t mneme_rule_add(int64_t a, int64_t b) {
  return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* Whether something with this expire_us, a memory or a session, is gone. */
static inline bool mneme_rule_expired(int64_t expire_us, int64_t now_us) {
  return expire_us != 0 && expire_us <= now_us;
}

/* Whether max_age takes a memory; never asked of a protected one. */
static inline bool mneme_rule_aged(int64_t create_us, int64_t max_age_us, int64_t now_us) {
  return max_age_us > 0 && mneme_rule_add(create_us, max_age_us) <= now_us;
}

/* Importance as eviction weighs it. */
static inline double mneme_rule_importance(bool has_importance, double importance) {
  return has_importance ? importance : 0.5;
}

/* What keep_system protects. */
static inline bool mneme_rule_is_system(mneme_bytes role) {
  return role.size == 6 && role.data[0] == 's' && role.data[1] == 'y' && role.data[2] == 's' &&
         role.data[3] == 't' && role.data[4] == 'e' && role.data[5] == 'm';
}

/* The bytes of a record that byte_count, and every byte_limit, counts. */
static inline int64_t mneme_rule_bytes(const mneme_record *r) {
  return (int64_t)(r->body.size + r->id.size + r->key.size + r->kind.size + r->role.size +
                   r->author.size + r->source.size);
}

/* When the session lapses: its ttl runs from the last append, or from its
 * creation while nothing was appended. */
int64_t mneme_rule_session_expiry(const mneme_plan *plan, int64_t create_us, int64_t append_us);

/* Whether this is the sweeper's write: EXPIRE, which stands alone. */
bool mneme_rule_is_expire(const mneme_write *write);

/* Guards 2 to 5 of a write, in their order. current is the live session's header
 * or NULL. Answers OK, or the refusal and in ret_conflict_revision the revision
 * that did not match. */
mneme_status mneme_rule_guard(const mneme_write *write, const mneme_header *current,
                              int64_t *ret_conflict_revision);

/* Merges what happened alike to neighbours into ranges, in place; returns how many
 * entries are left. Only op, first and last are looked at; the rest comes from the
 * first of each range. */
size_t mneme_rule_merge_log(mneme_log_entry *entries, size_t count);

/* What eviction starts from: the live memories after the steps, and of them the
 * protected ones (pinned, or system with keep_system). newest is the one with
 * the highest sequence, which always stays. */
typedef struct mneme_load {
  int64_t memory_count, token_count;
  int64_t protected_count, protected_tokens;
  bool newest_is_protected;
  int64_t newest_tokens;
} mneme_load;

/* How far to shrink: evict while there are more memories than count, then while
 * there are more tokens than tokens. INT64_MAX = no need. */
typedef struct mneme_target {
  int64_t memory_count;
  int64_t token_count;
} mneme_target;

/* Decides guard 7, room: OK with the target, or SESSION_FULL. */
mneme_status mneme_rule_room(const mneme_plan *plan, const mneme_load *load,
                             mneme_target *ret_target);

#endif
