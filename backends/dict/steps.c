/* The steps of a commit, and its policy.
 *
 * Steps change the session at once: a later step must see what an earlier one
 * did, and an overlay that pretends would be a second implementation of every
 * structure. Each link, unlink and touch is noted. When a guard refuses, or
 * memory runs out, dict_work_undo walks the notes backwards and does the
 * opposite; nobody has seen anything, since the shard's lock is held from guard
 * to end. link and unlink can't fail, and nothing shrinks within a commit, so
 * undoing needs no memory.
 *
 *   APPEND a(replaces), REMOVE_KEYS b:
 *   notes: [TAKE old a, UPDATED] [PUT new a] [TAKE b, DELETED]
 *   undo:            link old a <- unlink a <- link b
 *
 * The same notes become the log entries and the removed records of the answer. */
#include "steps.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>

static bool reserve_note(dict_work *w) {
  if (w->note_count < w->notes_room) return true;
  size_t room = w->notes_room * 2;
  bool few = w->notes == w->notes_few;
  dict_note *notes = realloc(few ? NULL : w->notes, room * sizeof *notes);
  if (notes == NULL) return false;
  if (few) memcpy(notes, w->notes_few, w->note_count * sizeof *notes);
  w->notes = notes;
  w->notes_room = room;
  return true;
}

static mneme_status note(dict_work *w, dict_note_kind kind, mneme_log_op log_op,
                         dict_record *record) {
  if (!reserve_note(w)) return MNEME_NO_MEMORY;
  w->notes[w->note_count++] = (dict_note){.kind = kind,
                                          .log_op = log_op,
                                          .session = w->current,
                                          .record = record,
                                          .access_us = record->access_us,
                                          .access_count = record->access_count,
                                          .expire_us = record->expire_us};
  return MNEME_OK;
}

static mneme_status take(dict_work *w, dict_record *record, mneme_log_op log_op) {
  mneme_status status = note(w, DICT_TAKE, log_op, record);
  if (status == MNEME_OK) dict_session_unlink(w->current, record);
  return status;
}

/* Owns the record from now on. */
static mneme_status put(dict_work *w, dict_record *record) {
  mneme_status status = MNEME_NO_MEMORY;
  if (dict_session_reserve(w->current, record))
    status = note(w, DICT_PUT, 0, record);
  if (status != MNEME_OK) {
    free(record);
    return status;
  }
  dict_session_link(w->current, record);
  w->changed = w->wrote = true;
  return MNEME_OK;
}

/* An absent session begins: its settings are empty, and count as set. */
static mneme_status create_session(dict_work *w) {
  dict_session *s = dict_session_new(w->shell, &w->write->new_uid, w->now_us);
  if (s == NULL) return MNEME_NO_MEMORY;
  s->head.settings_revision = 1;
  s->head.max_age_us = w->write->plan.max_age_us;
  s->head.keep_system = w->write->plan.keep_system;
  s->next = w->made;
  w->made = w->current = s;
  w->revision = 1;
  w->changed = w->set = true;
  return MNEME_OK;
}

/* --- APPEND and PUT ------------------------------------------------------- */

/* Adds a reference; its id is the input's own bytes, or a copy when the record
 * that was found has another. */
static mneme_status add_ref(dict_work *w, const dict_record *r, const mneme_record *input,
                            bool created) {
  mneme_bytes id = dict_record_id(r);
  if (mneme_bytes_equal(id, input->id)) {
    id = input->id;
  } else {
    dict_kept *kept = malloc(sizeof *kept + id.size);
    if (kept == NULL) return MNEME_NO_MEMORY;
    kept->next = w->kept;
    w->kept = kept;
    memcpy(kept->data, id.data, id.size);
    id.data = kept->data;
  }
  w->refs[w->written.ref_count++] = (mneme_ref){id, r->sequence, r->revision, created};
  return MNEME_OK;
}

/* The record when it is live, else NULL. */
static dict_record *visible(const dict_work *w, dict_record *record) {
  return record != NULL && dict_session_shows(w->current, record, w->now_us) ? record : NULL;
}

/* The indexes hold one record of a name. An expired one that still stands there
 * goes before another takes the name. */
static mneme_status free_name(dict_work *w, dict_record *record) {
  if (record == NULL || visible(w, record) != NULL) return MNEME_OK;
  mneme_status status = take(w, record, MNEME_LOG_EXPIRED);
  if (status == MNEME_OK) w->written.expired_count++;
  return status;
}

static mneme_status create_record(dict_work *w, const mneme_record *input) {
  dict_head *head = &w->current->head;
  dict_record *r = dict_record_new(input, input->id, w->store->seed);
  if (r == NULL) return MNEME_NO_MEMORY;
  r->sequence = head->last_sequence + 1;
  r->revision = w->revision;
  r->create_us = w->now_us > head->last_create_us ? w->now_us : head->last_create_us;
  r->update_us = w->now_us;
  mneme_status status = put(w, r);
  if (status != MNEME_OK) return status;
  head->last_sequence = r->sequence;
  head->last_create_us = r->create_us;
  return add_ref(w, r, input, true);
}

static mneme_status replace_record(dict_work *w, dict_record *old, const mneme_record *input) {
  dict_record *r = dict_record_new(input, dict_record_id(old), w->store->seed);
  if (r == NULL) return MNEME_NO_MEMORY;
  r->sequence = old->sequence;
  r->revision = w->revision;
  r->create_us = old->create_us;
  r->update_us = w->now_us > old->update_us ? w->now_us : old->update_us + 1;
  r->access_us = old->access_us;
  r->access_count = old->access_count;
  mneme_status status = take(w, old, MNEME_LOG_UPDATED);
  if (status != MNEME_OK) {
    free(r);
    return status;
  }
  status = put(w, r);
  return status == MNEME_OK ? add_ref(w, r, input, false) : status;
}

static mneme_status append_one(dict_work *w, const mneme_record *input,
                               mneme_on_conflict on_conflict) {
  if (!dict_record_fits(input)) return MNEME_TOO_BIG;
  dict_record *id_owner = dict_session_by_id(w->current, input->id, w->store->seed);
  dict_record *key_owner = dict_session_by_key(w->current, input->key, w->store->seed);
  dict_record *by_id = visible(w, id_owner), *by_key = visible(w, key_owner);
  dict_record *found = by_id != NULL ? by_id : by_key;
  if (by_key != NULL && by_key != found) return MNEME_EXISTS;
  if (found != NULL && on_conflict == MNEME_CONFLICT_SKIP) return add_ref(w, found, input, false);
  if (found != NULL && on_conflict != MNEME_CONFLICT_REPLACE) return MNEME_EXISTS;

  mneme_status status = free_name(w, key_owner);
  if (status == MNEME_OK && found == NULL && id_owner != key_owner)
    status = free_name(w, id_owner); /* a replaced record keeps its own id */
  if (status != MNEME_OK) return status;
  return found != NULL ? replace_record(w, found, input) : create_record(w, input);
}

static mneme_status append(dict_work *w, const mneme_step *step) {
  mneme_status status = w->current == NULL ? create_session(w) : MNEME_OK;
  for (size_t i = 0; i < step->record_count && status == MNEME_OK; i++)
    status = append_one(w, &step->records[i], step->on_conflict[i]);
  return status;
}

static mneme_status put_step(dict_work *w, const mneme_step *step) {
  const mneme_record *input = step->records;
  if (!dict_record_fits(input)) return MNEME_TOO_BIG;
  if (w->current == NULL) return MNEME_NOT_FOUND;
  dict_record *old = dict_spine_get(&w->current->spine, input->sequence);
  if (visible(w, old) == NULL) return MNEME_NOT_FOUND;
  if (step->expected_revision >= 0 && step->expected_revision != old->revision) {
    w->conflict_revision = old->revision;
    return MNEME_CONFLICT;
  }
  dict_record *by_key = dict_session_by_key(w->current, input->key, w->store->seed);
  if (visible(w, by_key) != NULL && by_key != old) return MNEME_EXISTS;
  mneme_status status = free_name(w, by_key);
  return status == MNEME_OK ? replace_record(w, old, input) : status;
}

/* --- The REMOVE steps ----------------------------------------------------- */

/* Removes it, when it is there and live. */
static mneme_status remove_one(dict_work *w, dict_record *record) {
  if (visible(w, record) == NULL) return MNEME_OK;
  mneme_status status = take(w, record, MNEME_LOG_DELETED);
  if (status != MNEME_OK) return status;
  w->written.removed_count++;
  w->changed = true;
  return MNEME_OK;
}

static mneme_status remove_names(dict_work *w, const mneme_step *step) {
  mneme_status status = MNEME_OK;
  for (size_t i = 0; i < step->name_count && status == MNEME_OK; i++)
    status = remove_one(w, step->op == MNEME_STEP_REMOVE_IDS
                               ? dict_session_by_id(w->current, step->names[i], w->store->seed)
                               : dict_session_by_key(w->current, step->names[i], w->store->seed));
  return status;
}

static mneme_status remove_sequences(dict_work *w, const mneme_step *step) {
  mneme_status status = MNEME_OK;
  for (size_t i = 0; i < step->sequence_count && status == MNEME_OK; i++) {
    dict_record *record = dict_spine_get(&w->current->spine, step->sequences[i]);
    if (record == NULL || (step->revisions != NULL && record->revision != step->revisions[i]))
      continue; /* gone, or another than was judged */
    status = remove_one(w, record);
  }
  return status;
}

static mneme_status remove_newest(dict_work *w, const mneme_step *step) {
  int64_t left = step->count, bytes = 0;
  if (dict_session_count(w->current, w->now_us).memories == 0) return MNEME_OK;
  dict_record *r = dict_spine_back(&w->current->spine, INT64_MAX);
  while (r != NULL && left > 0) {
    dict_record *older = dict_spine_back(&w->current->spine, r->sequence - 1);
    if (dict_session_shows(w->current, r, w->now_us)) {
      bytes += dict_record_bytes(r);
      if (step->byte_limit > 0 && bytes > step->byte_limit && left < step->count) {
        w->written.truncated = true;
        break;
      }
      mneme_status status = remove_one(w, r);
      if (status != MNEME_OK) return status;
      left--;
    }
    r = older;
  }
  return MNEME_OK;
}

/* All records, at the cost of one: a session of 400,000 would hold its shard's
 * lock for a tenth of a second if each were unlinked. clean_up frees them when the
 * lock is gone. */
static mneme_status remove_all(dict_work *w) {
  if (!reserve_note(w)) return MNEME_NO_MEMORY;
  int64_t count = w->current->all.memories;
  dict_session *contents = dict_session_empty(w->current);
  if (contents == NULL) return MNEME_NO_MEMORY;
  w->notes[w->note_count++] = (dict_note){.kind = DICT_EMPTY,
                                          .log_op = MNEME_LOG_DELETED,
                                          .session = w->current,
                                          .contents = contents};
  w->written.removed_count += count;
  w->changed = true;
  return MNEME_OK;
}

/* Whether nothing would stay: what has expired does, until it is swept, and is
 * not in removed_count. Records that are asked for are noted one by one. */
static bool removes_all(const dict_work *w, const mneme_step *step) {
  const dict_record *first = dict_spine_next(&w->current->spine, 0);
  return first != NULL && step->from_sequence <= first->sequence && !w->write->want_removed &&
         dict_session_expired(w->current, w->now_us) == NULL;
}

static mneme_status remove_from(dict_work *w, const mneme_step *step) {
  if (removes_all(w, step)) return remove_all(w);
  mneme_status status = MNEME_OK;
  dict_record *r = dict_spine_next(&w->current->spine, step->from_sequence);
  while (r != NULL && status == MNEME_OK) {
    int64_t sequence = r->sequence;
    status = remove_one(w, r);
    r = dict_spine_next(&w->current->spine, sequence + 1);
  }
  return status;
}

/* --- The others ----------------------------------------------------------- */

static mneme_status set_settings(dict_work *w, const mneme_step *step) {
  if (step->settings.size > MNEME_SETTINGS_MAX) return MNEME_TOO_BIG;
  mneme_status status = w->current == NULL ? create_session(w) : MNEME_OK;
  if (status != MNEME_OK) return status;
  dict_head *head = &w->current->head;
  dict_settings *settings = NULL;
  if (step->settings.size != 0) {
    settings = dict_settings_new(step->settings);
    if (settings == NULL) return MNEME_NO_MEMORY;
  }
  if (w->current != w->before || head->settings != w->saved.settings)
    dict_settings_unref(head->settings); /* set twice: only the first may come back */
  head->settings = settings;
  head->settings_revision = w->revision;
  w->changed = w->set = true;
  return MNEME_OK;
}

/* Room in the calendar for what the record will be. */
static bool reserve_slide(dict_work *w, const dict_record *r) {
  dict_record slid = *r;
  slid.expire_us = mneme_rule_add(w->now_us, r->ttl_us);
  int64_t death_us = dict_session_death(w->current, &slid);
  return death_us == INT64_MAX ||
         dict_calendar_reserve(&w->current->deaths, death_us, r->sequence);
}

static mneme_status touch(dict_work *w, const mneme_step *step) {
  dict_session *s = w->current;
  for (size_t i = 0; i < step->sequence_count; i++) {
    dict_record *r = dict_spine_get(&s->spine, step->sequences[i]);
    if (r == NULL || !dict_session_shows(s, r, w->now_us)) continue;
    bool slides = step->slide_ttl && r->ttl_us > 0;
    if (slides && !reserve_slide(w, r)) return MNEME_NO_MEMORY;
    mneme_status status = note(w, DICT_TOUCH, 0, r);
    if (status != MNEME_OK) return status;
    r->access_count++;
    r->access_us = w->now_us;
    if (!slides) continue;
    dict_session_unmark(s, r);
    r->expire_us = mneme_rule_add(w->now_us, r->ttl_us);
    dict_session_mark(s, r);
  }
  return MNEME_OK;
}

/* The session itself is taken out at the end (commit.c); the following steps find
 * none. One that this commit made is simply forgotten. */
static mneme_status drop(dict_work *w) {
  w->written.removed_count += dict_session_count(w->current, w->now_us).memories;
  w->written.expired_count = 0; /* whatever had expired went with the rest */
  w->current = NULL;
  w->wrote = w->set = false;
  return MNEME_OK;
}

mneme_status dict_work_expire(dict_work *w, int64_t max) {
  dict_record *r;
  while (max-- > 0 && (r = dict_session_expired(w->current, w->now_us)) != NULL) {
    mneme_status status = take(w, r, MNEME_LOG_EXPIRED);
    if (status != MNEME_OK) return status;
    w->written.expired_count++;
  }
  return MNEME_OK;
}

static mneme_status expire(dict_work *w, const mneme_step *step) {
  if (!dict_session_lapsed(w->current, w->now_us)) return dict_work_expire(w, step->count);
  w->written.expired_count = w->current->all.memories;
  w->current = NULL;
  return MNEME_OK;
}

static mneme_status run(dict_work *w, const mneme_step *step) {
  switch (step->op) {
    case MNEME_STEP_APPEND:
      return append(w, step);
    case MNEME_STEP_PUT:
      return put_step(w, step);
    case MNEME_STEP_SET_SETTINGS:
      return set_settings(w, step);
    case MNEME_STEP_SET_VECTOR:
    case MNEME_STEP_RESTORE:
      return MNEME_UNSUPPORTED;
    default:
      break;
  }
  if (w->current == NULL) return MNEME_OK; /* the rest finds nothing, and that is fine */
  switch (step->op) {
    case MNEME_STEP_REMOVE_IDS:
    case MNEME_STEP_REMOVE_KEYS:
      return remove_names(w, step);
    case MNEME_STEP_REMOVE_SEQUENCES:
      return remove_sequences(w, step);
    case MNEME_STEP_REMOVE_NEWEST:
      return remove_newest(w, step);
    case MNEME_STEP_REMOVE_FROM:
      return remove_from(w, step);
    case MNEME_STEP_TOUCH:
      return touch(w, step);
    case MNEME_STEP_DROP:
      return drop(w);
    case MNEME_STEP_EXPIRE:
      return expire(w, step);
    default:
      return MNEME_UNSUPPORTED;
  }
}

mneme_status dict_work_steps(dict_work *w) {
  mneme_status status = MNEME_OK;
  if (w->write->step_count == 0 && w->current == NULL) status = create_session(w);
  for (size_t i = 0; i < w->write->step_count && status == MNEME_OK; i++)
    status = run(w, &w->write->steps[i]);
  return status;
}

/* --- Policy --------------------------------------------------------------- */

static mneme_status evict_until(dict_work *w, const mneme_target *target,
                                const dict_record *newest) {
  dict_session *s = w->current;
  bool by_rank = w->write->plan.strategy == MNEME_EVICT_LEAST_IMPORTANT;
  while (s->all.memories > target->memory_count || s->all.tokens > target->token_count) {
    dict_record *r = by_rank ? dict_heap_first(&s->rank) : dict_session_oldest_loose(s);
    if (r == NULL || r == newest) break;
    mneme_status status = take(w, r, MNEME_LOG_EVICTED);
    if (status != MNEME_OK) return status;
    w->written.evicted_count++;
    w->changed = true;
  }
  return MNEME_OK;
}

static bool is_above(const dict_work *w) {
  const mneme_plan *plan = &w->write->plan;
  if (plan->evict_above <= 0 && plan->evict_above_tokens <= 0) return false; /* mostly */
  dict_count live = dict_session_count(w->current, w->now_us);
  return (plan->evict_above > 0 && live.memories > plan->evict_above) ||
         (plan->evict_above_tokens > 0 && live.tokens > plan->evict_above_tokens);
}

/* Where there is no room, everything expired goes first, so that the counts of all
 * are those of the live; whether there is room is known before the first victim
 * falls. Very many have expired and are still there only where a limit was lowered
 * far below what the session held: each write, and the sweeper, has taken some. */
mneme_status dict_work_evict(dict_work *w) {
  dict_session *s = w->current;
  const mneme_plan *plan = &w->write->plan;
  if (!is_above(w)) {
    if (plan->strategy != MNEME_EVICT_LEAST_IMPORTANT && s->ranked) dict_session_unrank(s);
    return MNEME_OK;
  }
  mneme_status status = dict_work_expire(w, INT64_MAX);
  if (status != MNEME_OK) return status;
  dict_record *newest = dict_spine_back(&s->spine, INT64_MAX);
  if (newest == NULL) return MNEME_OK;
  mneme_load load = {
      .memory_count = s->all.memories,
      .token_count = s->all.tokens,
      .protected_count = s->pinned.memories + (plan->keep_system ? s->system.memories : 0),
      .protected_tokens = s->pinned.tokens + (plan->keep_system ? s->system.tokens : 0),
      .newest_is_protected = dict_session_protects(s, newest),
      .newest_tokens = newest->token_count,
  };
  mneme_target target;
  status = mneme_rule_room(plan, &load, &target);
  if (status != MNEME_OK) return status;
  if (plan->strategy != MNEME_EVICT_LEAST_IMPORTANT && s->ranked) dict_session_unrank(s);
  if (load.memory_count <= target.memory_count && load.token_count <= target.token_count)
    return MNEME_OK;
  if (plan->strategy != MNEME_EVICT_LEAST_IMPORTANT) return evict_until(w, &target, newest);

  /* The heap serves the session's later evictions too; the newest stands aside. */
  if (!s->ranked) w->ranked_here = true;
  if (!dict_session_rank(s)) return MNEME_NO_MEMORY;
  dict_heap_remove(&s->rank, &dict_by_rank, newest);
  status = evict_until(w, &target, newest);
  if (!load.newest_is_protected) dict_heap_push(&s->rank, &dict_by_rank, newest);
  return status;
}

/* --- Back ----------------------------------------------------------------- */

static void undo_one(const dict_note *n) {
  dict_session *s = n->session;
  switch (n->kind) {
    case DICT_PUT:
      dict_session_unlink(s, n->record);
      free(n->record);
      break;
    case DICT_TAKE:
      dict_session_link(s, n->record);
      break;
    case DICT_TOUCH:
      dict_session_unmark(s, n->record);
      n->record->access_us = n->access_us;
      n->record->access_count = n->access_count;
      n->record->expire_us = n->expire_us;
      dict_session_mark(s, n->record);
      break;
    case DICT_EMPTY:
      dict_session_refill(s, n->contents);
      break;
  }
}

void dict_work_undo(dict_work *w) {
  dict_session *s = w->before;
  if (w->ranked_here && s != NULL) dict_session_unrank(s); /* made for fewer than come back */
  for (size_t i = w->note_count; i-- > 0;) {
    const dict_note *n = &w->notes[i];
    if (n->session == s)
      undo_one(n);
    else if (n->kind == DICT_TAKE)
      free(n->record); /* of a session that goes as a whole */
    else if (n->kind == DICT_EMPTY)
      dict_session_free(n->contents);
  }
  if (s != NULL) {
    if (s->head.settings != w->saved.settings) dict_settings_unref(s->head.settings);
    if (w->header_moved) dict_session_put_policy(s, &w->old_policy);
    s->head = w->saved;
    dict_session_tidy(s);
  }
  while (w->made != NULL) {
    dict_session *next = w->made->next;
    dict_session_free(w->made);
    w->made = next;
  }
  w->current = s;
}
