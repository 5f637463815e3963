/* After the steps: some of what has expired goes, then eviction by the plan.
 *
 * A write removes few of those that have expired, and the sweeper the others, since
 * very many may expire at one instant. Only where a limit is passed they all go first,
 * so that the counts of all are those of the live.
 *
 * FIFO walks the index by sequence from loose_from. LEAST_IMPORTANT needs the
 * memories in order of importance: `rank` is their importance, and NULL for those
 * that are protected, so that the index memories_by_rank holds just the candidates.
 * It costs writes, so it is kept for sessions that use it only: the first such
 * eviction ranks all memories of the session, and from then on each is ranked as it
 * is written, until the strategy or keep_system changes. */
#include "writer.h"

#include "rules.h"

#define EXPIRE_STEP 64 /* expired memories that a write removes beside */

mneme_status sq_work_expire(sq_work *k, int64_t max) {
  while (max-- > 0) {
    sq_brief b;
    mneme_status status = sq_brief_expired(&k->w->conn, &k->w->arena, k->s, k->now_us, &b);
    if (status == MNEME_NOT_FOUND) return MNEME_OK;
    if (status == MNEME_OK) status = sq_work_take(k, &b, MNEME_LOG_EXPIRED);
    if (status != MNEME_OK) return status;
    k->written.expired_count++;
  }
  return MNEME_OK;
}

static mneme_status rank_all(sq_work *k) {
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_RANK_ALL);
  sq_sql_int(&q, k->s->shelf);
  sq_sql_int(&q, k->s->keep_system);
  mneme_status status = sq_sql_run(&q);
  if (status == MNEME_OK) k->s->ranked = true;
  k->w->wrote = true;
  return status;
}

/* The next victim below `newest`: OK or NOT_FOUND. */
static mneme_status find_victim(sq_work *k, int64_t newest, sq_brief *ret_brief) {
  sq_conn *conn = &k->w->conn;
  sq_arena *arena = &k->w->arena;
  if (k->write->plan.strategy == MNEME_EVICT_LEAST_IMPORTANT)
    return sq_brief_of(conn, arena, SQ_BRIEF_RANK, k->s->shelf, newest, ret_brief);
  mneme_status status = sq_brief_loose(conn, arena, k->s, ret_brief);
  return status == MNEME_OK && ret_brief->sequence >= newest ? MNEME_NOT_FOUND : status;
}

mneme_status sq_work_evict_until(sq_work *k, int64_t memories, int64_t tokens, int64_t newest) {
  sq_state *s = k->s;
  bool by_rank = k->write->plan.strategy == MNEME_EVICT_LEAST_IMPORTANT;
  mneme_status status = MNEME_OK;
  if (!by_rank) s->ranked = false;
  if (s->all.memories <= memories && s->all.tokens <= tokens) return MNEME_OK;
  if (by_rank && !s->ranked) status = rank_all(k);
  while (status == MNEME_OK && (s->all.memories > memories || s->all.tokens > tokens)) {
    sq_brief b;
    status = find_victim(k, newest, &b);
    if (status == MNEME_NOT_FOUND) return MNEME_OK;
    if (status == MNEME_OK) status = sq_work_take(k, &b, MNEME_LOG_EVICTED);
    if (status != MNEME_OK) return status;
    k->written.evicted_count++;
    k->changed = true;
  }
  return status;
}

static mneme_status is_above(sq_work *k, bool *ret_above) {
  const mneme_plan *plan = &k->write->plan;
  sq_count live;
  mneme_status status = sq_state_live(&k->w->conn, k->s, k->now_us, &live);
  if (status != MNEME_OK) return status;
  *ret_above = (plan->evict_above > 0 && live.memories > plan->evict_above) ||
               (plan->evict_above_tokens > 0 && live.tokens > plan->evict_above_tokens);
  return MNEME_OK;
}

/* Whether there is room is known before the first victim falls. */
mneme_status sq_work_evict(sq_work *k) {
  sq_state *s = k->s;
  const mneme_plan *plan = &k->write->plan;
  sq_brief newest;
  bool above;
  mneme_status status = is_above(k, &above);
  if (status == MNEME_OK) status = sq_work_expire(k, above ? INT64_MAX : EXPIRE_STEP);
  if (status != MNEME_OK) return status;
  if (!above) {
    if (plan->strategy != MNEME_EVICT_LEAST_IMPORTANT) s->ranked = false;
    return MNEME_OK;
  }
  status = sq_brief_of(&k->w->conn, &k->w->arena, SQ_BRIEF_BACK, s->shelf,
                                    INT64_MAX, &newest);
  if (status == MNEME_NOT_FOUND) return MNEME_OK;
  if (status != MNEME_OK) return status;
  mneme_load load = {
      .memory_count = s->all.memories,
      .token_count = s->all.tokens,
      .protected_count = s->pinned.memories + (plan->keep_system ? s->system.memories : 0),
      .protected_tokens = s->pinned.tokens + (plan->keep_system ? s->system.tokens : 0),
      .newest_is_protected = sq_state_protects(s, newest.pinned, newest.system),
      .newest_tokens = newest.token_count,
  };
  mneme_target target;
  status = mneme_rule_room(plan, &load, &target);
  if (status != MNEME_OK) return status;
  return sq_work_evict_until(k, target.memory_count, target.token_count, newest.sequence);
}
