/* One incarnation of a session: its records in all their structures.
 *
 * link and unlink are the ways in and out for one record, empty and refill for all
 * at once; they keep spine, id and key indexes, heaps and counts in step, and only
 * empty can fail, with nothing done. That is what makes a commit undoable: it
 * links and unlinks as its steps say, notes what it did, and when a guard refuses,
 * does the opposite backwards (steps.c).
 *
 * What has expired but was not removed yet still stands in all structures; it is
 * hidden by asking dict_session_shows. Counts of what is live are the sums of
 * everything minus those of what has died, which the calendar keeps: each record
 * stands in it once, at the first of expire_us and, unless it is protected, create_us
 * + max_age. So it is the calendar of one policy, and made anew for another. Time may
 * stand still or go back between two calls. */
#include "dict.h"

#include "bytes.h"
#include "rules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool before_by_due(const void *a, const void *b) {
  return ((const dict_session *)a)->due_us < ((const dict_session *)b)->due_us;
}

const dict_heap_kind dict_by_due = {offsetof(dict_session, due_place), before_by_due};

dict_settings *dict_settings_new(mneme_bytes bytes) {
  dict_settings *settings = malloc(sizeof *settings + bytes.size);
  if (settings == NULL) return NULL;
  atomic_init(&settings->refs, 1);
  settings->size = bytes.size;
  if (bytes.size != 0) memcpy(settings->data, bytes.data, bytes.size);
  return settings;
}

dict_settings *dict_settings_ref(dict_settings *settings) {
  if (settings != NULL) atomic_fetch_add_explicit(&settings->refs, 1, memory_order_relaxed);
  return settings;
}

void dict_settings_unref(dict_settings *settings) {
  if (settings != NULL && atomic_fetch_sub(&settings->refs, 1) == 1) free(settings);
}

dict_session *dict_session_new(dict_shell *shell, const mneme_uid *uid, int64_t now_us) {
  dict_session *session = calloc(1, sizeof *session);
  if (session == NULL) return NULL;
  session->change.kind = DICT_LIVE;
  session->shell = shell;
  session->uid = *uid;
  session->create_us = now_us;
  session->loose_from = 1;
  session->due_us = INT64_MAX;
  return session;
}

void dict_session_free(dict_session *session) {
  if (session == NULL) return;
  for (uint32_t i = session->spine.first; i < session->spine.end; i++)
    for (int k = 0; k < DICT_CHUNK; k++) free(session->spine.chunks[i]->slots[k]);
  dict_spine_free(&session->spine);
  dict_table_free(&session->ids);
  dict_table_free(&session->keys);
  dict_order_free(&session->key_order);
  dict_calendar_free(session->deaths);
  dict_heap_free(&session->rank);
  dict_log_free(&session->log);
  dict_settings_unref(session->head.settings);
  free(session);
}

/* --- In and out ----------------------------------------------------------- */

bool dict_session_reserve(dict_session *s, const dict_record *r) {
  if (!dict_spine_reserve(&s->spine, r->sequence) || !dict_table_reserve(&s->ids, 1)) return false;
  if (r->key_size != 0 &&
      (!dict_table_reserve(&s->keys, 1) || !dict_order_reserve(&s->key_order)))
    return false;
  int64_t death_us = dict_session_death(s, r);
  if (death_us != INT64_MAX && !dict_calendar_reserve(&s->deaths, death_us, r->sequence))
    return false;
  return !s->ranked || dict_heap_reserve(&s->rank, 1);
}

static void count(dict_count *sum, const dict_record *r, int sign) {
  dict_count size = dict_record_count(r);
  sum->memories += sign * size.memories;
  sum->tokens += sign * size.tokens;
  sum->bytes += sign * size.bytes;
}

static void count_everywhere(dict_session *s, const dict_record *r, int sign) {
  count(&s->all, r, sign);
  if (r->flags & DICT_PINNED)
    count(&s->pinned, r, sign);
  else if (r->flags & DICT_SYSTEM)
    count(&s->system, r, sign);
  s->cost += sign * dict_record_cost(r);
}

void dict_session_mark(dict_session *s, dict_record *r) {
  int64_t death_us = dict_session_death(s, r);
  dict_count size = dict_record_count(r);
  if (death_us != INT64_MAX) dict_calendar_add(s->deaths, death_us, r, r->sequence, &size);
}

void dict_session_unmark(dict_session *s, const dict_record *r) {
  int64_t death_us = dict_session_death(s, r);
  dict_count size = dict_record_count(r);
  if (death_us != INT64_MAX) dict_calendar_remove(s->deaths, death_us, r->sequence, &size);
}

void dict_session_link(dict_session *s, dict_record *r) {
  dict_spine_set(&s->spine, r);
  dict_table_insert(&s->ids, r->id_hash, r);
  if (r->key_size != 0) {
    dict_table_insert(&s->keys, r->key_hash, r);
    dict_order_insert(&s->key_order, dict_record_node_name, dict_record_node(r));
  }
  dict_session_mark(s, r);
  count_everywhere(s, r, +1);
  if (!dict_session_protects(s, r)) {
    if (s->ranked) dict_heap_push(&s->rank, &dict_by_rank, r);
    if (r->sequence < s->loose_from) s->loose_from = r->sequence;
  }
}

void dict_session_unlink(dict_session *s, dict_record *r) {
  dict_spine_clear(&s->spine, r->sequence);
  dict_table_remove(&s->ids, r->id_hash, r);
  if (r->key_size != 0) {
    dict_table_remove(&s->keys, r->key_hash, r);
    dict_order_remove(&s->key_order, dict_record_node_name, dict_record_node(r));
  }
  dict_session_unmark(s, r);
  dict_heap_remove(&s->rank, &dict_by_rank, r);
  count_everywhere(s, r, -1);
}

static void move_contents(dict_session *to, const dict_session *from) {
  to->spine = from->spine;
  to->ids = from->ids;
  to->keys = from->keys;
  to->key_order = from->key_order;
  to->deaths = from->deaths;
  to->rank = from->rank;
  to->ranked = from->ranked;
  to->all = from->all;
  to->pinned = from->pinned;
  to->system = from->system;
  to->cost = from->cost;
  to->loose_from = from->loose_from;
}

dict_session *dict_session_empty(dict_session *s) {
  const dict_session nothing = {.loose_from = 1};
  dict_session *contents = calloc(1, sizeof *contents);
  if (contents == NULL) return NULL;
  move_contents(contents, s);
  move_contents(s, &nothing);
  return contents;
}

void dict_session_refill(dict_session *s, dict_session *contents) {
  assert(s->all.memories == 0);
  dict_spine_free(&s->spine);
  dict_table_free(&s->ids);
  dict_table_free(&s->keys);
  dict_order_free(&s->key_order);
  dict_calendar_free(s->deaths);
  dict_heap_free(&s->rank);
  move_contents(s, contents);
  free(contents);
}

void dict_session_tidy(dict_session *s) {
  dict_spine_sweep(&s->spine);
  dict_table_shrink(&s->ids);
  dict_table_shrink(&s->keys);
  dict_calendar_tidy(&s->deaths);
  if (s->all.memories == 0) {
    dict_session_unrank(s);
    dict_order_free(&s->key_order);
  }
}

/* --- Eviction ------------------------------------------------------------- */

bool dict_session_protects(const dict_session *s, const dict_record *r) {
  return (r->flags & DICT_PINNED) != 0 || (s->head.keep_system && (r->flags & DICT_SYSTEM) != 0);
}

/* Protected ones at the front (a system prompt) are passed over once, not at
 * every eviction: loose_from remembers how far they reach. */
dict_record *dict_session_oldest_loose(dict_session *s) {
  dict_record *r = dict_spine_next(&s->spine, s->loose_from);
  while (r != NULL && dict_session_protects(s, r)) r = dict_spine_next(&s->spine, r->sequence + 1);
  s->loose_from = r != NULL ? r->sequence : s->head.last_sequence + 1;
  return r;
}

bool dict_session_rank(dict_session *s) {
  if (s->ranked) return true;
  if (!dict_heap_reserve(&s->rank, (size_t)s->all.memories + 1)) return false;
  s->ranked = true;
  for (dict_record *r = dict_session_oldest_loose(s); r != NULL;
       r = dict_spine_next(&s->spine, r->sequence + 1))
    if (!dict_session_protects(s, r)) dict_heap_push(&s->rank, &dict_by_rank, r);
  return true;
}

void dict_session_unrank(dict_session *s) {
  dict_heap_clear(&s->rank, &dict_by_rank);
  s->ranked = false;
}

/* --- Policy --------------------------------------------------------------- */

int64_t dict_session_death(const dict_session *s, const dict_record *r) {
  int64_t death_us = r->expire_us != 0 ? r->expire_us : INT64_MAX;
  if (s->head.max_age_us <= 0 || dict_session_protects(s, r)) return death_us;
  int64_t aged_us = mneme_rule_add(r->create_us, s->head.max_age_us);
  return aged_us < death_us ? aged_us : death_us;
}

static void change_policy(dict_session *s, int64_t max_age_us, bool keep_system) {
  s->head.max_age_us = max_age_us;
  if (s->head.keep_system == keep_system) return;
  s->head.keep_system = keep_system;
  s->loose_from = 1;
  dict_session_unrank(s); /* it was built for other protected ones */
}

static bool mark_all(dict_session *s) {
  for (dict_record *r = dict_spine_next(&s->spine, 0); r != NULL;
       r = dict_spine_next(&s->spine, r->sequence + 1)) {
    int64_t death_us = dict_session_death(s, r);
    if (death_us == INT64_MAX) continue;
    if (!dict_calendar_reserve(&s->deaths, death_us, r->sequence)) return false;
    dict_session_mark(s, r);
  }
  return true;
}

bool dict_session_set_policy(dict_session *s, int64_t max_age_us, bool keep_system,
                             dict_old_policy *ret_old) {
  dict_old_policy old = {.max_age_us = s->head.max_age_us,
                         .keep_system = s->head.keep_system,
                         .remade = s->head.max_age_us > 0 || max_age_us > 0};
  change_policy(s, max_age_us, keep_system);
  if (old.remade) {
    old.deaths = s->deaths;
    s->deaths = NULL;
    if (!mark_all(s)) {
      dict_session_put_policy(s, &old);
      return false;
    }
  }
  *ret_old = old;
  return true;
}

void dict_session_put_policy(dict_session *s, const dict_old_policy *old) {
  change_policy(s, old->max_age_us, old->keep_system);
  if (!old->remade) return;
  dict_calendar_free(s->deaths);
  s->deaths = old->deaths;
}

/* --- Time ----------------------------------------------------------------- */

bool dict_session_lapsed(const dict_session *s, int64_t now_us) {
  return mneme_rule_expired(s->head.expire_us, now_us);
}

static bool aged(const dict_session *s, const dict_record *r, int64_t now_us) {
  return mneme_rule_aged(r->create_us, s->head.max_age_us, now_us) &&
         !dict_session_protects(s, r);
}

bool dict_session_shows(const dict_session *s, const dict_record *r, int64_t now_us) {
  return !mneme_rule_expired(r->expire_us, now_us) && !aged(s, r, now_us);
}

dict_record *dict_session_expired(dict_session *s, int64_t now_us) {
  int64_t death_us;
  dict_record *r = dict_calendar_first(s->deaths, &death_us);
  return r != NULL && death_us <= now_us ? r : NULL;
}

int64_t dict_session_due(dict_session *s) {
  int64_t due_us = INT64_MAX;
  dict_calendar_first(s->deaths, &due_us);
  if (s->head.expire_us != 0 && s->head.expire_us < due_us) due_us = s->head.expire_us;
  return due_us;
}

dict_count dict_session_count(dict_session *s, int64_t now_us) {
  dict_count live = s->all, dead = dict_calendar_passed(s->deaths, now_us);
  live.memories -= dead.memories;
  live.tokens -= dead.tokens;
  live.bytes -= dead.bytes;
  return live;
}

/* --- Finding -------------------------------------------------------------- */

dict_record *dict_session_by_id(const dict_session *s, mneme_bytes id, uint64_t seed) {
  return dict_table_find(&s->ids, dict_record_id_hash(id, seed), dict_record_has_id, &id);
}

dict_record *dict_session_by_key(const dict_session *s, mneme_bytes key, uint64_t seed) {
  if (key.size == 0 || s->keys.count == 0) return NULL;
  uint32_t hash = (uint32_t)XXH3_64bits_withSeed(key.data, key.size, seed);
  return dict_table_find(&s->keys, hash, dict_record_has_key, &key);
}

void dict_session_header(dict_session *s, int64_t now_us, mneme_header *ret_header) {
  const dict_settings *settings = s->head.settings;
  dict_count live = dict_session_count(s, now_us);
  *ret_header = (mneme_header){
      .ns = dict_name_ns(s->shell->name),
      .session = dict_name_session(s->shell->name, s->shell->name_size),
      .uid = s->uid,
      .revision = s->head.revision,
      .settings_revision = s->head.settings_revision,
      .last_sequence = s->head.last_sequence,
      .mutations = s->log.last.number,
      .memory_count = live.memories,
      .token_count = live.tokens,
      .byte_count = live.bytes,
      .create_us = s->create_us,
      .update_us = s->head.update_us,
      .append_us = s->head.append_us,
      .expire_us = s->head.expire_us,
      .max_age_us = s->head.max_age_us,
      .keep_system = s->head.keep_system,
      .settings = settings != NULL ? mneme_bytes_of(settings->data, settings->size)
                                   : (mneme_bytes){0},
  };
}

int64_t dict_session_cost(const dict_session *s) {
  return (int64_t)sizeof *s + 512 + s->cost +
         (s->head.settings != NULL ? (int64_t)s->head.settings->size : 0);
}
