/* The steps of a commit, as statements on the session's shelf. They change the
 * tables at once, since a later step must see what an earlier one did; commit.c
 * holds a savepoint where a later step may still refuse. Each change is noted: the
 * log, the answer and the tails are made from the notes.
 *
 * A memory is appended by INSERT OR IGNORE: mostly nothing stands in its way, and
 * the indexes that would tell are touched anyway. Only when it was ignored are the
 * owners of its id and key looked up. */
#include "writer.h"

#include "bytes.h"
#include "rules.h"

#include <string.h>

#define CLEAR_MIN 256 /* memories from which a shelf is buried instead of emptied */

sq_note *sq_work_note(sq_work *k, sq_note_kind kind, int64_t sequence) {
  void *notes = k->notes;
  if (!sq_arena_grow(&k->w->arena, &notes, k->note_count, &k->note_room, sizeof *k->notes))
    return NULL;
  k->notes = notes;
  sq_note *note = &k->notes[k->note_count++];
  *note = (sq_note){.kind = kind, .incarnation = k->incarnation, .sequence = sequence};
  return note;
}

static void count(sq_state *s, int sign, const sq_brief *b) {
  sq_count *part = b->pinned ? &s->pinned : b->system ? &s->system : NULL;
  s->all.memories += sign;
  s->all.tokens += sign * b->token_count;
  s->all.bytes += sign * b->size;
  sq_state_count_dead(s, sign, b);
  if (part == NULL) return;
  part->memories += sign;
  part->tokens += sign * b->token_count;
}

/* Something in the session now expires at `at_us` (0 = never). */
static void expires_at(sq_state *s, int64_t at_us) {
  if (at_us != 0 && at_us < s->due_us) s->due_us = at_us;
}

/* What is to be listed in the answer is read before it goes. */
static mneme_status keep_removed(sq_work *k, const sq_brief *brief) {
  sq_arena *arena = &k->w->arena;
  mneme_record record;
  int64_t size;
  void *removed = k->removed;
  bool copied = sq_arena_grow(arena, &removed, k->removed_count, &k->removed_room,
                              sizeof *k->removed);
  k->removed = removed;
  if (!copied) return MNEME_NO_MEMORY;
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_MEMORY_ALL);
  sq_sql_int(&q, brief->row);
  if (sq_sql_next(&q)) {
    sq_record_read(&q, &record, &size);
    mneme_bytes *strings[] = {&record.id,     &record.key,    &record.kind, &record.role,
                              &record.author, &record.source, &record.body, &record.metadata_json};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
      copied = copied && sq_arena_copy(arena, strings[i]);
  }
  mneme_status status = sq_sql_end(&q);
  if (status == MNEME_OK && !copied) status = MNEME_NO_MEMORY;
  if (status == MNEME_OK) k->removed[k->removed_count++] = record;
  return status;
}

mneme_status sq_work_take(sq_work *k, const sq_brief *brief, mneme_log_op op) {
  mneme_status status = MNEME_OK;
  if (op == MNEME_LOG_DELETED && k->write->want_removed) status = keep_removed(k, brief);
  if (status != MNEME_OK) return status;
  sq_note *note = sq_work_note(k, SQ_TAKE, brief->sequence);
  if (note == NULL) return MNEME_NO_MEMORY;
  note->log_op = op;
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_MEMORY_DELETE);
  sq_sql_int(&q, brief->row);
  status = sq_sql_run(&q);
  if (status != MNEME_OK) return status;
  count(k->s, -1, brief);
  k->w->wrote = true;
  return MNEME_OK;
}

/* Notes a memory that is in, and what it means for the session. */
static mneme_status note_put(sq_work *k, const mneme_record *r) {
  sq_state *s = k->s;
  bool system = mneme_rule_is_system(r->role);
  sq_note *note = sq_work_note(k, SQ_PUT, r->sequence);
  mneme_record *copy = sq_arena_take(&k->w->arena, sizeof *copy);
  if (note == NULL || copy == NULL) return MNEME_NO_MEMORY;
  *copy = *r;
  note->as.record = copy;
  const sq_brief brief = {.sequence = r->sequence,
                          .create_us = r->create_us,
                          .token_count = r->token_count,
                          .expire_us = r->expire_us,
                          .size = mneme_rule_bytes(r),
                          .pinned = r->pinned,
                          .system = system};
  count(s, +1, &brief);
  expires_at(s, r->expire_us);
  if (!sq_state_protects(s, r->pinned, system)) {
    if (s->max_age_us > 0) expires_at(s, mneme_rule_add(r->create_us, s->max_age_us));
    if (r->sequence < s->loose_from) s->loose_from = r->sequence;
  }
  k->changed = k->wrote = true;
  k->w->wrote = true;
  return MNEME_OK;
}

/* An absent session begins: its settings are empty, and count as set. */
static void create_session(sq_work *k) {
  sq_state *s = k->s;
  sq_writer *w = k->w;
  sq_state_clear(s);
  if (s->slot == 0) s->slot = ++w->last_slot;
  s->live = true;
  s->shelf = s->life = ++w->last_shelf;
  s->uid = k->write->new_uid;
  s->create_us = k->now_us;
  s->settings_revision = 1;
  s->max_age_us = k->write->plan.max_age_us;
  s->keep_system = k->write->plan.keep_system;
  s->loose_from = 1;
  k->incarnation++;
  k->revision = 1;
  k->changed = k->set = true;
}

/* --- APPEND and PUT ------------------------------------------------------- */

static void add_ref(sq_work *k, mneme_bytes id, int64_t sequence, int64_t revision,
                    bool created) {
  k->refs[k->written.ref_count++] = (mneme_ref){id, sequence, revision, created};
}

static mneme_status create_record(sq_work *k, const mneme_record *input, bool *ret_created) {
  sq_state *s = k->s;
  mneme_record r = *input;
  r.sequence = s->last_sequence + 1;
  r.revision = k->revision;
  r.create_us = k->now_us > s->last_create_us ? k->now_us : s->last_create_us;
  r.update_us = k->now_us;
  r.access_us = r.access_count = 0;
  mneme_status status = sq_memory_insert(&k->w->conn, s, &r, ret_created);
  if (status != MNEME_OK || !*ret_created) return status;
  s->last_sequence = r.sequence;
  s->last_create_us = r.create_us;
  add_ref(k, r.id, r.sequence, r.revision, true);
  return note_put(k, &r);
}

static mneme_status replace_record(sq_work *k, const sq_brief *old, const mneme_record *input) {
  mneme_record r = *input;
  r.id = old->id;
  r.sequence = old->sequence;
  r.revision = k->revision;
  r.create_us = old->create_us;
  r.update_us = k->now_us > old->update_us ? k->now_us : old->update_us + 1;
  r.access_us = old->access_us;
  r.access_count = old->access_count;
  sq_note *note = sq_work_note(k, SQ_TAKE, old->sequence);
  if (note == NULL) return MNEME_NO_MEMORY;
  note->log_op = MNEME_LOG_UPDATED;
  mneme_status status = sq_memory_replace(&k->w->conn, k->s, old->row, &r);
  if (status != MNEME_OK) return status;
  count(k->s, -1, old);
  add_ref(k, r.id, r.sequence, r.revision, false);
  return note_put(k, &r);
}

/* The memory that owns a name, expired or not, and whether it is live. */
typedef struct owner {
  bool found, visible;
  sq_brief brief;
} owner;

static mneme_status find_owner(sq_work *k, sq_id by, mneme_bytes name, owner *ret_owner) {
  mneme_status status = sq_brief_named(&k->w->conn, &k->w->arena, by, k->s->shelf, name,
                                       &ret_owner->brief);
  if (status != MNEME_OK && status != MNEME_NOT_FOUND) return status;
  ret_owner->found = status == MNEME_OK;
  ret_owner->visible = ret_owner->found && sq_brief_lives(k->s, &ret_owner->brief, k->now_us);
  return MNEME_OK;
}

/* The indexes hold one memory of a name. An expired one that still stands there
 * goes before another takes the name. */
static mneme_status free_name(sq_work *k, const owner *o) {
  if (!o->found || o->visible) return MNEME_OK;
  mneme_status status = sq_work_take(k, &o->brief, MNEME_LOG_EXPIRED);
  if (status == MNEME_OK) k->written.expired_count++;
  return status;
}

/* Its id or its key is taken: by whom, and what then. */
static mneme_status append_beside(sq_work *k, const mneme_record *input,
                                  mneme_on_conflict on_conflict) {
  owner id = {0}, key = {0};
  mneme_status status = find_owner(k, SQ_BRIEF_ID, input->id, &id);
  if (status == MNEME_OK) status = find_owner(k, SQ_BRIEF_KEY, input->key, &key);
  if (status != MNEME_OK) return status;
  bool one = id.found && key.found && id.brief.row == key.brief.row;
  const owner *found = id.visible ? &id : key.visible ? &key : NULL;
  if (id.visible && key.visible && !one) return MNEME_EXISTS;
  if (found != NULL && on_conflict == MNEME_CONFLICT_SKIP) {
    add_ref(k, found->brief.id, found->brief.sequence, found->brief.revision, false);
    return MNEME_OK;
  }
  if (found != NULL && on_conflict != MNEME_CONFLICT_REPLACE) return MNEME_EXISTS;

  bool created;
  status = free_name(k, &key);
  if (status == MNEME_OK && found == NULL && !one) status = free_name(k, &id);
  if (status != MNEME_OK) return status;
  if (found != NULL) return replace_record(k, &found->brief, input);
  status = create_record(k, input, &created);
  return status == MNEME_OK && !created ? MNEME_CORRUPT : status; /* an index lies */
}

static mneme_status append_one(sq_work *k, const mneme_record *input,
                               mneme_on_conflict on_conflict) {
  bool created = false;
  if (!sq_record_fits(input)) return MNEME_TOO_BIG;
  mneme_status status = create_record(k, input, &created);
  if (status != MNEME_OK || created) return status;
  return append_beside(k, input, on_conflict);
}

static mneme_status append(sq_work *k, const mneme_step *step) {
  mneme_status status = MNEME_OK;
  if (!k->s->live) create_session(k);
  for (size_t i = 0; i < step->record_count && status == MNEME_OK; i++)
    status = append_one(k, &step->records[i], step->on_conflict[i]);
  return status;
}

static mneme_status put_step(sq_work *k, const mneme_step *step) {
  const mneme_record *input = step->records;
  owner old = {0}, key = {0};
  if (!sq_record_fits(input)) return MNEME_TOO_BIG;
  if (!k->s->live) return MNEME_NOT_FOUND;
  mneme_status status = sq_brief_of(&k->w->conn, &k->w->arena, SQ_BRIEF_AT, k->s->shelf,
                                    input->sequence, &old.brief);
  if (status != MNEME_OK) return status;
  if (!sq_brief_lives(k->s, &old.brief, k->now_us)) return MNEME_NOT_FOUND;
  if (step->expected_revision >= 0 && step->expected_revision != old.brief.revision) {
    k->conflict_revision = old.brief.revision;
    return MNEME_CONFLICT;
  }
  status = find_owner(k, SQ_BRIEF_KEY, input->key, &key);
  if (status != MNEME_OK) return status;
  if (key.visible && key.brief.row != old.brief.row) return MNEME_EXISTS;
  status = free_name(k, &key);
  return status == MNEME_OK ? replace_record(k, &old.brief, input) : status;
}

/* One memory for a session where nothing can have expired: whether there is room is
 * known from the counts, and whether its names are free from the INSERT itself. */
mneme_status sq_work_append_plainly(sq_work *k, bool *ret_done) {
  const mneme_write *write = k->write;
  const mneme_plan *plan = &write->plan;
  sq_state *s = k->s;
  *ret_done = false;
  if (write->step_count != 1 || write->steps->op != MNEME_STEP_APPEND ||
      write->steps->record_count != 1 || !sq_record_fits(write->steps->records) ||
      (s->live && s->due_us <= k->now_us))
    return MNEME_OK;
  const mneme_record *input = write->steps->records;
  bool system = mneme_rule_is_system(input->role);
  bool protected = input->pinned || (plan->keep_system && system);
  mneme_load load = {
      .memory_count = s->all.memories + 1,
      .token_count = s->all.tokens + input->token_count,
      .protected_count = s->pinned.memories + (plan->keep_system ? s->system.memories : 0) +
                         (protected ? 1 : 0),
      .protected_tokens = s->pinned.tokens + (plan->keep_system ? s->system.tokens : 0) +
                          (protected ? input->token_count : 0),
      .newest_is_protected = protected,
      .newest_tokens = input->token_count,
  };
  mneme_target target;
  if (mneme_rule_room(plan, &load, &target) != MNEME_OK) return MNEME_OK;
  if (!s->live) create_session(k);
  mneme_status status = create_record(k, input, ret_done);
  if (status != MNEME_OK || !*ret_done) return status;
  return sq_work_evict_until(k, target.memory_count, target.token_count, s->last_sequence);
}

/* --- The REMOVE steps ----------------------------------------------------- */

/* Removes it, when it is there and live. */
static mneme_status remove_found(sq_work *k, mneme_status found, const sq_brief *brief) {
  if (found == MNEME_NOT_FOUND) return MNEME_OK;
  if (found != MNEME_OK || !sq_brief_lives(k->s, brief, k->now_us)) return found;
  mneme_status status = sq_work_take(k, brief, MNEME_LOG_DELETED);
  if (status != MNEME_OK) return status;
  k->written.removed_count++;
  k->changed = true;
  return MNEME_OK;
}

static mneme_status remove_names(sq_work *k, const mneme_step *step) {
  sq_id by = step->op == MNEME_STEP_REMOVE_IDS ? SQ_BRIEF_ID : SQ_BRIEF_KEY;
  mneme_status status = MNEME_OK;
  for (size_t i = 0; i < step->name_count && status == MNEME_OK; i++) {
    sq_brief b;
    status = sq_brief_named(&k->w->conn, &k->w->arena, by, k->s->shelf, step->names[i], &b);
    status = remove_found(k, status, &b);
  }
  return status;
}

static mneme_status remove_sequences(sq_work *k, const mneme_step *step) {
  mneme_status status = MNEME_OK;
  for (size_t i = 0; i < step->sequence_count && status == MNEME_OK; i++) {
    sq_brief b;
    status = sq_brief_of(&k->w->conn, &k->w->arena, SQ_BRIEF_AT, k->s->shelf, step->sequences[i],
                         &b);
    if (status == MNEME_OK && step->revisions != NULL && step->revisions[i] != b.revision)
      continue;
    status = remove_found(k, status, &b);
  }
  return status;
}

static mneme_status remove_newest(sq_work *k, const mneme_step *step) {
  int64_t left = step->count, bytes = 0, from = INT64_MAX;
  sq_count live;
  mneme_status status = sq_state_live(&k->w->conn, k->s, k->now_us, &live);
  if (status != MNEME_OK || live.memories == 0) return status;
  while (left > 0) {
    sq_brief b;
    status = sq_brief_of(&k->w->conn, &k->w->arena, SQ_BRIEF_BACK, k->s->shelf, from, &b);
    if (status == MNEME_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) return status;
    from = b.sequence - 1;
    if (!sq_brief_lives(k->s, &b, k->now_us)) continue;
    bytes += b.size;
    if (step->byte_limit > 0 && bytes > step->byte_limit && left < step->count) {
      k->written.truncated = true;
      return MNEME_OK;
    }
    status = remove_found(k, MNEME_OK, &b);
    if (status != MNEME_OK) return status;
    left--;
  }
  return MNEME_OK;
}

/* The runs of sequences without a hole, as entries with first and last set. */
static mneme_status find_runs(sq_work *k, sq_note *note) {
  mneme_log_entry *runs = NULL;
  size_t run_count = 0, room = 0;
  bool copied = true;
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_SEQUENCES);
  sq_sql_int(&q, k->s->shelf);
  while (copied && sq_sql_next(&q)) {
    int64_t sequence = sq_col_int(&q);
    void *grown = runs;
    if (run_count != 0 && runs[run_count - 1].last + 1 == sequence) {
      runs[run_count - 1].last = sequence;
      continue;
    }
    copied = sq_arena_grow(&k->w->arena, &grown, run_count, &room, sizeof *runs);
    runs = grown;
    if (copied) runs[run_count++] = (mneme_log_entry){.first = sequence, .last = sequence};
  }
  mneme_status status = sq_sql_end(&q);
  note->as.clear.runs = runs;
  note->as.clear.run_count = run_count;
  return status != MNEME_OK ? status : copied ? MNEME_OK : MNEME_NO_MEMORY;
}

/* All memories, at the cost of a look at their sequences: the session gets a new
 * shelf, and the old one is removed bit by bit. */
static mneme_status remove_all(sq_work *k) {
  sq_state *s = k->s;
  sq_note *note = sq_work_note(k, SQ_CLEAR, 0);
  if (note == NULL) return MNEME_NO_MEMORY;
  note->log_op = MNEME_LOG_DELETED;
  mneme_status status = find_runs(k, note);
  if (status == MNEME_OK) status = sq_writer_bury(k->w, s->shelf, false);
  if (status != MNEME_OK) return status;
  s->shelf = ++k->w->last_shelf;
  k->written.removed_count += s->all.memories;
  s->all = s->pinned = s->system = (sq_count){0};
  s->dead.known = false;
  s->loose_from = s->last_sequence + 1;
  k->changed = true;
  return MNEME_OK;
}

/* Whether nothing would stay: what has expired does, until it is swept, and is not
 * in removed_count. Memories that are asked for are taken out one by one. */
static bool removes_all(const sq_work *k, const sq_brief *first, const mneme_step *step) {
  return k->s->all.memories >= CLEAR_MIN && step->from_sequence <= first->sequence &&
         !k->write->want_removed && k->s->due_us > k->now_us;
}

static mneme_status remove_from(sq_work *k, const mneme_step *step) {
  int64_t from = step->from_sequence;
  for (bool first = true;; first = false) {
    sq_brief b;
    mneme_status status =
        sq_brief_of(&k->w->conn, &k->w->arena, SQ_BRIEF_NEXT, k->s->shelf, from, &b);
    if (status == MNEME_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) return status;
    if (first && removes_all(k, &b, step)) return remove_all(k);
    status = remove_found(k, MNEME_OK, &b);
    if (status != MNEME_OK) return status;
    from = b.sequence + 1;
  }
}

/* --- The others ----------------------------------------------------------- */

static mneme_status set_settings(sq_work *k, const mneme_step *step) {
  sq_settings *settings = NULL;
  if (step->settings.size > MNEME_SETTINGS_MAX) return MNEME_TOO_BIG;
  if (step->settings.size != 0) {
    settings = sq_settings_new(step->settings);
    if (settings == NULL) return MNEME_NO_MEMORY;
  }
  if (!k->s->live) create_session(k);
  sq_writer_retire(k->w, k->head->settings);
  k->head->settings = settings;
  k->head->new_settings = true;
  k->s->settings_size = (int64_t)step->settings.size;
  k->s->settings_revision = k->revision;
  k->changed = k->set = true;
  return MNEME_OK;
}

static mneme_status touch_one(sq_work *k, const mneme_step *step, const sq_brief *b) {
  sq_conn *conn = &k->w->conn;
  bool slides = step->slide_ttl && b->ttl_us > 0;
  sq_note *note = sq_work_note(k, SQ_TOUCH, b->sequence);
  if (note == NULL) return MNEME_NO_MEMORY;
  note->as.touch.access_us = k->now_us;
  note->as.touch.access_count = b->access_count + 1;
  note->as.touch.expire_us = slides ? mneme_rule_add(k->now_us, b->ttl_us) : b->expire_us;
  sq_sql q = sq_sql_begin(conn, SQ_MEMORY_TOUCH);
  sq_sql_int(&q, b->row);
  sq_sql_int(&q, k->now_us);
  mneme_status status = sq_sql_run(&q);
  k->w->wrote = true;
  if (status != MNEME_OK || !slides) return status;
  expires_at(k->s, note->as.touch.expire_us);
  sq_brief slid = *b;
  slid.expire_us = note->as.touch.expire_us;
  sq_state_count_dead(k->s, -1, b);
  sq_state_count_dead(k->s, +1, &slid);
  q = sq_sql_begin(conn, SQ_MEMORY_SLIDE);
  sq_sql_int(&q, b->row);
  sq_sql_int(&q, note->as.touch.expire_us);
  return sq_sql_run(&q);
}

static mneme_status touch(sq_work *k, const mneme_step *step) {
  for (size_t i = 0; i < step->sequence_count; i++) {
    sq_brief b;
    mneme_status status = sq_brief_of(&k->w->conn, &k->w->arena, SQ_BRIEF_AT, k->s->shelf,
                                      step->sequences[i], &b);
    if (status == MNEME_NOT_FOUND) continue;
    if (status == MNEME_OK && sq_brief_lives(k->s, &b, k->now_us))
      status = touch_one(k, step, &b);
    if (status != MNEME_OK) return status;
  }
  return MNEME_OK;
}

/* The following steps find no session. What was there at the start is buried in the
 * end (commit.c); a shelf that this commit made goes at once. */
static mneme_status leave(sq_work *k) {
  mneme_status status = MNEME_OK;
  if (!k->stored || k->s->shelf != k->saved.shelf)
    status = sq_writer_bury(k->w, k->s->shelf, false);
  if (status != MNEME_OK) return status;
  sq_writer_retire(k->w, k->head->settings);
  k->head->settings = NULL;
  k->head->new_settings = true;
  sq_state_clear(k->s);
  k->incarnation++;
  k->wrote = k->set = false;
  return MNEME_OK;
}

static mneme_status drop(sq_work *k) {
  sq_count live;
  mneme_status status = sq_state_live(&k->w->conn, k->s, k->now_us, &live);
  if (status != MNEME_OK) return status;
  k->written.removed_count += live.memories;
  k->written.expired_count = 0; /* whatever had expired went with the rest */
  return leave(k);
}

static mneme_status expire(sq_work *k, const mneme_step *step) {
  if (!sq_state_lapsed(k->s, k->now_us)) return sq_work_expire(k, step->count);
  k->written.expired_count = k->s->all.memories;
  return leave(k);
}

static mneme_status run(sq_work *k, const mneme_step *step) {
  switch (step->op) {
    case MNEME_STEP_APPEND:
      return append(k, step);
    case MNEME_STEP_PUT:
      return put_step(k, step);
    case MNEME_STEP_SET_SETTINGS:
      return set_settings(k, step);
    case MNEME_STEP_SET_VECTOR:
    case MNEME_STEP_RESTORE:
      return MNEME_UNSUPPORTED;
    default:
      break;
  }
  if (!k->s->live) return MNEME_OK; /* the rest finds nothing, and that is fine */
  switch (step->op) {
    case MNEME_STEP_REMOVE_IDS:
    case MNEME_STEP_REMOVE_KEYS:
      return remove_names(k, step);
    case MNEME_STEP_REMOVE_SEQUENCES:
      return remove_sequences(k, step);
    case MNEME_STEP_REMOVE_NEWEST:
      return remove_newest(k, step);
    case MNEME_STEP_REMOVE_FROM:
      return remove_from(k, step);
    case MNEME_STEP_TOUCH:
      return touch(k, step);
    case MNEME_STEP_DROP:
      return drop(k);
    case MNEME_STEP_EXPIRE:
      return expire(k, step);
    default:
      return MNEME_UNSUPPORTED;
  }
}

mneme_status sq_work_steps(sq_work *k) {
  mneme_status status = MNEME_OK;
  if (k->write->step_count == 0 && !k->s->live) create_session(k);
  for (size_t i = 0; i < k->write->step_count && status == MNEME_OK; i++)
    status = run(k, &k->write->steps[i]);
  return status;
}
