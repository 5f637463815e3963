/* See rules.h. The order of the guards is the contract's (mneme_write in
 * backend.h); an engine checks request_id before, and the steps' own guards
 * between mneme_rule_guard and mneme_rule_room. */
#include "rules.h"

#include "bytes.h"

#include <stdlib.h>

int64_t mneme_rule_session_expiry(const mneme_plan *plan, int64_t create_us, int64_t append_us) {
  if (plan->ttl_us <= 0) return 0;
  return mneme_rule_add(append_us != 0 ? append_us : create_us, plan->ttl_us);
}

bool mneme_rule_is_expire(const mneme_write *write) {
  return write->step_count == 1 && write->steps[0].op == MNEME_STEP_EXPIRE;
}

/* A plan made from no settings also fits a session whose settings are empty, so
 * that the first append needs no read before it. EXPIRE uses no plan. */
static bool plan_fits(const mneme_write *write, const mneme_header *current) {
  int64_t from = write->plan.settings_revision;
  if (mneme_rule_is_expire(write)) return true;
  if (current == NULL) return from == 0;
  return from == current->settings_revision || (from == 0 && current->settings.size == 0);
}

/* -1 = any, 0 = the session must not exist. */
static bool revision_fits(int64_t expected, int64_t current) {
  return expected < 0 || expected == current;
}

mneme_status mneme_rule_guard(const mneme_write *write, const mneme_header *current,
                              int64_t *ret_conflict_revision) {
  int64_t revision = current != NULL ? current->revision : 0;
  int64_t settings_revision = current != NULL ? current->settings_revision : 0;

  if (!plan_fits(write, current)) {
    *ret_conflict_revision = settings_revision;
    return MNEME_STALE_PLAN;
  }
  if (write->uid != NULL && (current == NULL || !mneme_uid_equal(write->uid, &current->uid))) {
    *ret_conflict_revision = revision;
    return MNEME_CONFLICT;
  }
  if (write->existence == MNEME_MUST_EXIST && current == NULL) return MNEME_NOT_FOUND;
  if (write->existence == MNEME_MUST_NOT_EXIST && current != NULL) {
    *ret_conflict_revision = revision;
    return MNEME_EXISTS;
  }
  if (!revision_fits(write->expected_revision, revision)) {
    *ret_conflict_revision = revision;
    return MNEME_CONFLICT;
  }
  if (!revision_fits(write->expected_settings_revision, settings_revision)) {
    *ret_conflict_revision = settings_revision;
    return MNEME_CONFLICT;
  }
  return MNEME_OK;
}

/* One of the two limits. kept is what eviction can't take: the protected ones
 * and the newest. The newest by itself may stand above its target; beside
 * protected ones it would have met it, and then they are to blame. A target that
 * is missing, or beyond its trigger, is the trigger. */
static mneme_status room_of(const mneme_plan *plan, int64_t above, int64_t to, int64_t live,
                            int64_t kept, int64_t newest, int64_t *ret_target) {
  if (above <= 0 || live <= above) return MNEME_OK;
  if (plan->strategy == MNEME_EVICT_REJECT) return MNEME_SESSION_FULL;
  int64_t target = to > 0 && to < above ? to : above;
  if (kept > target && newest <= target) return MNEME_SESSION_FULL;
  *ret_target = target;
  return MNEME_OK;
}

mneme_status mneme_rule_room(const mneme_plan *plan, const mneme_load *load,
                             mneme_target *ret_target) {
  mneme_target target = {INT64_MAX, INT64_MAX};
  bool loose = !load->newest_is_protected;

  mneme_status status =
      room_of(plan, plan->evict_above, plan->evict_to, load->memory_count,
              load->protected_count + (loose ? 1 : 0), 1, &target.memory_count);
  if (status != MNEME_OK) return status;
  status = room_of(plan, plan->evict_above_tokens, plan->evict_to_tokens, load->token_count,
                   load->protected_tokens + (loose ? load->newest_tokens : 0),
                   load->newest_tokens, &target.token_count);
  if (status != MNEME_OK) return status;
  *ret_target = target;
  return MNEME_OK;
}

static int compare_first(const void *a, const void *b) {
  int64_t x = ((const mneme_log_entry *)a)->first, y = ((const mneme_log_entry *)b)->first;
  return x < y ? -1 : x > y;
}

size_t mneme_rule_merge_log(mneme_log_entry *entries, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count;) {
    size_t end = i;
    bool sorted = true;
    for (; end < count && entries[end].op == entries[i].op; end++)
      if (end > i && entries[end].first < entries[end - 1].first) sorted = false;
    if (!sorted) qsort(entries + i, end - i, sizeof *entries, compare_first);
    mneme_log_entry *range = &entries[kept];
    *range = entries[i++];
    for (; i < end; i++) {
      if (entries[i].first <= range->last + 1) {
        if (entries[i].last > range->last) range->last = entries[i].last;
      } else {
        *++range = entries[i];
      }
    }
    kept = (size_t)(range - entries) + 1;
  }
  return kept;
}
