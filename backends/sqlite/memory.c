/* Rows of memories: what a step must know of one (a brief), the whole of one (a
 * record), and the sums over what has expired and was not removed yet.
 *
 * What has expired still stands in the table and its indexes; it is hidden by
 * asking whether it lives. A session knows an instant before which nothing in it
 * expires (due_us), so mostly nobody has to look. */
#include "sqlite.h"

#include "rules.h"

#include <string.h>

/* --- Briefs -------------------------------------------------------------------- */

static mneme_status read_brief(sq_sql *q, sq_arena *arena, sq_brief *ret_brief) {
  sq_brief b;
  b.row = sq_col_int(q);
  b.sequence = sq_col_int(q);
  b.revision = sq_col_int(q);
  b.create_us = sq_col_int(q);
  b.update_us = sq_col_int(q);
  b.access_us = sq_col_int(q);
  b.access_count = sq_col_int(q);
  b.token_count = sq_col_int(q);
  b.ttl_us = sq_col_int(q);
  b.expire_us = sq_col_int(q); /* NULL reads as 0 */
  b.size = sq_col_int(q);
  b.pinned = sq_col_int(q) != 0;
  b.system = sq_col_int(q) != 0;
  b.id = sq_col_bytes(q);
  b.key = sq_col_bytes(q);
  if (!sq_arena_copy(arena, &b.id) || !sq_arena_copy(arena, &b.key)) return MNEME_NO_MEMORY;
  *ret_brief = b;
  return MNEME_OK;
}

mneme_status sq_brief_end(sq_sql *q, sq_arena *arena, sq_brief *ret_brief) {
  mneme_status read = MNEME_NOT_FOUND;
  if (sq_sql_next(q)) read = read_brief(q, arena, ret_brief);
  mneme_status status = sq_sql_end(q);
  return status != MNEME_OK ? status : read;
}

mneme_status sq_brief_of(sq_conn *conn, sq_arena *arena, sq_id id, int64_t shelf, int64_t number,
                         sq_brief *ret_brief) {
  sq_sql q = sq_sql_begin(conn, id);
  sq_sql_int(&q, shelf);
  sq_sql_int(&q, number);
  return sq_brief_end(&q, arena, ret_brief);
}

mneme_status sq_brief_named(sq_conn *conn, sq_arena *arena, sq_id id, int64_t shelf,
                            mneme_bytes name, sq_brief *ret_brief) {
  if (name.size == 0) return MNEME_NOT_FOUND;
  sq_sql q = sq_sql_begin(conn, id);
  sq_sql_int(&q, shelf);
  sq_sql_text(&q, name);
  return sq_brief_end(&q, arena, ret_brief);
}

static bool aged(const sq_state *s, const sq_brief *b, int64_t now_us) {
  return !sq_state_protects(s, b->pinned, b->system) &&
         mneme_rule_aged(b->create_us, s->max_age_us, now_us);
}

bool sq_brief_lives(const sq_state *s, const sq_brief *b, int64_t now_us) {
  return !mneme_rule_expired(b->expire_us, now_us) && !aged(s, b, now_us);
}

/* Protected ones at the front (a system prompt) are passed over once, not at every
 * eviction: loose_from remembers how far they reach. */
mneme_status sq_brief_loose(sq_conn *conn, sq_arena *arena, sq_state *s, sq_brief *ret_brief) {
  sq_sql q = sq_sql_begin(conn, SQ_BRIEF_LOOSE);
  sq_sql_int(&q, s->shelf);
  sq_sql_int(&q, s->loose_from);
  sq_sql_int(&q, s->keep_system);
  mneme_status status = sq_brief_end(&q, arena, ret_brief);
  if (status == MNEME_OK) s->loose_from = ret_brief->sequence;
  if (status == MNEME_NOT_FOUND) s->loose_from = s->last_sequence + 1;
  return status;
}

static mneme_status first_to_expire(sq_conn *conn, sq_arena *arena, const sq_state *s,
                                    sq_brief *ret_brief) {
  sq_sql q = sq_sql_begin(conn, SQ_BRIEF_EXPIRY);
  sq_sql_int(&q, s->shelf);
  return sq_brief_end(&q, arena, ret_brief);
}

mneme_status sq_brief_expired(sq_conn *conn, sq_arena *arena, sq_state *s, int64_t now_us,
                              sq_brief *ret_brief) {
  if (s->due_us > now_us) return MNEME_NOT_FOUND;
  mneme_status status = first_to_expire(conn, arena, s, ret_brief);
  if (status == MNEME_OK && mneme_rule_expired(ret_brief->expire_us, now_us)) return MNEME_OK;
  if (status != MNEME_OK && status != MNEME_NOT_FOUND) return status;
  if (s->max_age_us <= 0) return MNEME_NOT_FOUND;
  status = sq_brief_loose(conn, arena, s, ret_brief);
  if (status == MNEME_OK && !aged(s, ret_brief, now_us)) status = MNEME_NOT_FOUND;
  return status;
}

mneme_status sq_state_due(sq_conn *conn, sq_arena *arena, sq_state *s, int64_t *ret_due_us) {
  sq_brief b;
  int64_t due_us = s->expire_us != 0 ? s->expire_us : INT64_MAX;
  mneme_status status = first_to_expire(conn, arena, s, &b);
  if (status == MNEME_OK && b.expire_us < due_us) due_us = b.expire_us;
  if (status == MNEME_NOT_FOUND) status = MNEME_OK;
  if (status == MNEME_OK && s->max_age_us > 0) {
    status = sq_brief_loose(conn, arena, s, &b);
    int64_t aged_us = mneme_rule_add(b.create_us, s->max_age_us);
    if (status == MNEME_OK && aged_us < due_us) due_us = aged_us;
    if (status == MNEME_NOT_FOUND) status = MNEME_OK;
  }
  if (status == MNEME_OK) *ret_due_us = due_us;
  return status;
}

/* --- Counts --------------------------------------------------------------------- */

static void add(sq_count *sum, int sign, int64_t memories, int64_t tokens, int64_t bytes) {
  sum->memories += sign * memories;
  sum->tokens += sign * tokens;
  sum->bytes += sign * bytes;
}

void sq_state_count_dead(sq_state *s, int sign, const sq_brief *b) {
  if (!s->dead.known) return;
  bool comes_loose = sign > 0 && !sq_state_protects(s, b->pinned, b->system);
  if (comes_loose && b->sequence < s->dead.aged_from) s->dead.aged_from = b->sequence;
  if (!sq_brief_lives(s, b, s->dead.at_us))
    add(&s->dead.sum, sign, 1, b->token_count, b->size);
}

/* Those whose expire_us has come since then, unless max_age had taken them by then. */
static mneme_status add_expired(sq_conn *conn, const sq_state *s, int64_t now_us, sq_dead *dead) {
  bool first = !dead->known;
  sq_sql q = sq_sql_begin(conn, SQ_EXPIRED_SUM);
  sq_sql_int(&q, s->shelf);
  sq_sql_int(&q, first ? INT64_MIN : dead->at_us);
  sq_sql_int(&q, now_us);
  sq_sql_int(&q, !first && s->max_age_us > 0);
  sq_sql_int(&q, first ? 0 : dead->at_us - s->max_age_us);
  sq_sql_int(&q, s->keep_system);
  if (sq_sql_next(&q)) {
    int64_t memories = sq_col_int(&q), tokens = sq_col_int(&q);
    add(&dead->sum, +1, memories, tokens, sq_col_int(&q));
  }
  return sq_sql_end(&q);
}

/* Those that max_age has taken since then, unless their expire_us has come by now.
 * create_us never falls along the sequence, so they stand one after the other. */
static mneme_status add_aged(sq_conn *conn, const sq_state *s, int64_t now_us, sq_dead *dead) {
  int64_t from = s->last_sequence + 1;
  sq_sql q = sq_sql_begin(conn, SQ_AGED);
  sq_sql_int(&q, s->shelf);
  sq_sql_int(&q, dead->aged_from);
  sq_sql_int(&q, s->keep_system);
  while (sq_sql_next(&q)) {
    int64_t sequence = sq_col_int(&q), create_us = sq_col_int(&q);
    int64_t tokens = sq_col_int(&q), bytes = sq_col_int(&q), expire_us = sq_col_int(&q);
    if (!mneme_rule_aged(create_us, s->max_age_us, now_us)) {
      from = sequence;
      break;
    }
    bool before = dead->known && mneme_rule_aged(create_us, s->max_age_us, dead->at_us);
    bool loose = sq_col_int(&q) != 0;
    if (loose && !before && !mneme_rule_expired(expire_us, now_us))
      add(&dead->sum, +1, 1, tokens, bytes);
  }
  dead->aged_from = from;
  return sq_sql_end(&q);
}

/* Very many may expire at one instant, and leave by and by: the commits of that time
 * must not each go over all that are left. So their sum is kept with the instant up to
 * which it goes; what comes and goes is added to it, and as time goes on those that
 * have expired meanwhile. When time goes back it is made anew. */
mneme_status sq_state_live(sq_conn *conn, sq_state *s, int64_t now_us, sq_count *ret_count) {
  sq_dead dead = s->dead;
  *ret_count = s->all;
  if (s->due_us > now_us) return MNEME_OK;
  if (!dead.known || now_us < dead.at_us) dead = (sq_dead){.aged_from = s->loose_from};
  if (!dead.known || now_us > dead.at_us) {
    mneme_status status = add_expired(conn, s, now_us, &dead);
    if (status == MNEME_OK && s->max_age_us > 0) status = add_aged(conn, s, now_us, &dead);
    if (status != MNEME_OK) return status;
    dead.known = true;
    dead.at_us = now_us;
    s->dead = dead;
  }
  add(ret_count, -1, dead.sum.memories, dead.sum.tokens, dead.sum.bytes);
  return MNEME_OK;
}

mneme_status sq_state_count(sq_conn *conn, const sq_state *s, int64_t now_us,
                            sq_count *ret_count) {
  sq_state copy = *s;
  copy.dead.known = false;
  return sq_state_live(conn, &copy, now_us, ret_count);
}

/* --- Records --------------------------------------------------------------------- */

void sq_record_read(sq_sql *q, mneme_record *r, int64_t *ret_size) {
  memset(r, 0, sizeof *r);
  r->sequence = sq_col_int(q);
  r->revision = sq_col_int(q);
  r->create_us = sq_col_int(q);
  r->update_us = sq_col_int(q);
  r->access_us = sq_col_int(q);
  r->access_count = sq_col_int(q);
  r->token_count = sq_col_int(q);
  r->ttl_us = sq_col_int(q);
  bool no_event = sq_col_is_null(q);
  r->event_us = sq_col_int(q);
  if (no_event) r->event_us = MNEME_NO_EVENT;
  r->expire_us = sq_col_int(q);
  r->crc = (uint32_t)sq_col_int(q);
  r->tier = (int32_t)sq_col_int(q);
  r->pinned = sq_col_int(q) != 0;
  r->has_importance = !sq_col_is_null(q);
  r->importance = sq_col_real(q);
  *ret_size = sq_col_int(q);
  r->id = sq_col_bytes(q);
  r->key = sq_col_bytes(q);
  r->kind = sq_col_bytes(q);
  r->role = sq_col_bytes(q);
  r->author = sq_col_bytes(q);
  r->source = sq_col_bytes(q);
  r->metadata_json = sq_col_bytes(q);
  r->body = sq_col_bytes(q);
}

bool sq_record_fits(const mneme_record *r) {
  return r->id.size <= MNEME_ID_MAX && r->key.size <= MNEME_KEY_MAX &&
         r->kind.size <= MNEME_ID_MAX && r->role.size <= MNEME_ID_MAX &&
         r->author.size <= MNEME_ID_MAX && r->source.size <= MNEME_ID_MAX &&
         r->body.size <= MNEME_BODY_MAX;
}

static void bind_rank(sq_sql *q, const sq_state *s, const mneme_record *r) {
  bool out = !s->ranked || sq_state_protects(s, r->pinned, mneme_rule_is_system(r->role));
  sq_sql_real_or_null(q, mneme_rule_importance(r->has_importance, r->importance), out);
}

/* NaN would be stored as NULL, and so come back as none: the host lets none pass. */
static void bind_importance(sq_sql *q, const mneme_record *r) {
  sq_sql_real_or_null(q, r->importance, !r->has_importance);
}

static void bind_rest(sq_sql *q, const mneme_record *r) {
  sq_sql_text(q, r->kind);
  sq_sql_text(q, r->role);
  sq_sql_text(q, r->author);
  sq_sql_text(q, r->source);
  sq_sql_text_or_null(q, r->metadata_json);
  sq_sql_blob(q, r->body);
}

mneme_status sq_memory_insert(sq_conn *conn, const sq_state *s, const mneme_record *r,
                              bool *ret_inserted) {
  sq_sql q = sq_sql_begin(conn, SQ_MEMORY_INSERT);
  sq_sql_int(&q, s->shelf);
  sq_sql_int(&q, r->sequence);
  sq_sql_int(&q, r->revision);
  sq_sql_int(&q, r->create_us);
  sq_sql_int(&q, r->update_us);
  sq_sql_int(&q, r->access_us);
  sq_sql_int(&q, r->access_count);
  sq_sql_int(&q, r->token_count);
  sq_sql_int(&q, r->ttl_us);
  sq_sql_int_or_null(&q, r->event_us, r->event_us == MNEME_NO_EVENT);
  sq_sql_int_or_null(&q, r->expire_us, r->expire_us == 0);
  sq_sql_int(&q, r->crc);
  sq_sql_int(&q, r->tier);
  sq_sql_int(&q, r->pinned);
  bind_importance(&q, r);
  bind_rank(&q, s, r);
  sq_sql_int(&q, mneme_rule_bytes(r));
  sq_sql_text(&q, r->id);
  sq_sql_text_or_null(&q, r->key);
  bind_rest(&q, r);
  mneme_status status = sq_sql_run(&q);
  if (status == MNEME_OK) *ret_inserted = sqlite3_changes64(conn->db) == 1;
  return status;
}

mneme_status sq_memory_replace(sq_conn *conn, const sq_state *s, int64_t row,
                               const mneme_record *r) {
  sq_sql q = sq_sql_begin(conn, SQ_MEMORY_UPDATE);
  sq_sql_int(&q, row);
  sq_sql_int(&q, r->revision);
  sq_sql_int(&q, r->update_us);
  sq_sql_int(&q, r->token_count);
  sq_sql_int(&q, r->ttl_us);
  sq_sql_int_or_null(&q, r->event_us, r->event_us == MNEME_NO_EVENT);
  sq_sql_int_or_null(&q, r->expire_us, r->expire_us == 0);
  sq_sql_int(&q, r->crc);
  sq_sql_int(&q, r->tier);
  sq_sql_int(&q, r->pinned);
  bind_importance(&q, r);
  bind_rank(&q, s, r);
  sq_sql_int(&q, mneme_rule_bytes(r));
  sq_sql_text_or_null(&q, r->key);
  bind_rest(&q, r);
  return sq_sql_run(&q);
}
