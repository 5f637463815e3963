/* The simplest correct backend: one mutex, arrays and linked lists, every lookup
 * a walk. Copy this folder, replace what is kept and how it is found, and keep
 * what the comments marked DUTY say; README.md has the steps.
 *
 *   store -> sessions -> items (ascending by sequence), log
 *         -> answers (what request_ids remember)   -> tombstones   -> metas
 *
 * A commit works on a draft: a copy of the session that shares its items. Guards
 * and steps see the draft only; a refusal throws it away, an OK puts it in the
 * place of the session. So nothing has to be undone, at the price of copying an
 * array of pointers. A database gives you the same with a transaction.
 *
 * Everything is under the lock but the calls of done, which get copies. This file
 * is commit; reads.c has the reads, upkeep and the table of operations. */
#include "template.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>

/* --- Sessions ------------------------------------------------------------- */

bool is_protected(const session *s, const mneme_record *r) {
  return r->pinned || (s->header->keep_system && mneme_rule_is_system(r->role));
}

/* DUTY [C-35]: what has expired is nowhere to be seen, removed or not. */
bool is_live(const session *s, const mneme_record *r, int64_t now_us) {
  return !mneme_rule_expired(r->expire_us, now_us) &&
         (is_protected(s, r) || !mneme_rule_aged(r->create_us, s->header->max_age_us, now_us));
}

bool has_lapsed(const session *s, int64_t now_us) {
  return mneme_rule_expired(s->header->expire_us, now_us);
}

/* Where the session hangs, or would hang. Do a lookup in your engine here. */
static session **find_place(mneme_backend *store, mneme_bytes ns, mneme_bytes name) {
  session **at = &store->sessions;
  while (*at != NULL && !(mneme_bytes_equal((*at)->header->ns, ns) &&
                          mneme_bytes_equal((*at)->header->session, name)))
    at = &(*at)->next;
  return at;
}

/* DUTY [C-13]: a session that has lapsed counts as absent. */
session *find_live(mneme_backend *store, mneme_bytes ns, mneme_bytes name, int64_t now_us) {
  session *s = *find_place(store, ns, name);
  return s != NULL && !has_lapsed(s, now_us) ? s : NULL;
}

/* Counts are of what is live at now. Valid under the lock. */
mneme_header header_at(const session *s, int64_t now_us) {
  mneme_header h = *s->header;
  for (size_t i = 0; i < s->count; i++) {
    const mneme_record *r = &s->items[i]->record;
    if (!is_live(s, r, now_us)) continue;
    h.memory_count++;
    h.token_count += r->token_count;
    h.byte_count += mneme_rule_bytes(r);
  }
  return h;
}

/* The index of the live memory with this id or key; s->count = none. */
size_t find_name(const session *s, field by, mneme_bytes name, int64_t now_us) {
  size_t i = 0;
  for (; i < s->count; i++) {
    const mneme_record *r = &s->items[i]->record;
    mneme_bytes own = by == BY_ID ? r->id : r->key;
    if (own.size != 0 && mneme_bytes_equal(own, name) && is_live(s, r, now_us)) break;
  }
  return i;
}

void session_free(session *s) {
  if (s == NULL) return;
  for (size_t i = 0; i < s->count; i++) item_unref(s->items[i]);
  free(s->items);
  free(s->log);
  free(s->header);
  free(s);
}

/* A session of this header and of from's items and log (NULL = none), with room
 * for `more` items. */
static session *session_new(const mneme_header *header, const session *from, size_t more) {
  session *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL;
  size_t count = from != NULL ? from->count : 0;
  s->header = header_copy(header);
  s->items = malloc((count + more + 1) * sizeof *s->items);
  s->log_room = from != NULL ? from->log_count + 1 : 1;
  s->log = malloc(s->log_room * sizeof *s->log);
  if (s->header == NULL || s->items == NULL || s->log == NULL) {
    session_free(s);
    return NULL;
  }
  if (from == NULL) return s;
  for (; s->count < count; s->count++) s->items[s->count] = item_ref(from->items[s->count]);
  s->log_count = s->log_from = from->log_count;
  if (s->log_count != 0) memcpy(s->log, from->log, s->log_count * sizeof *s->log);
  s->last_create_us = from->last_create_us;
  return s;
}

/* --- The draft of a commit ------------------------------------------------ */

typedef struct draft {
  mneme_backend *store;
  const mneme_write *write;
  int64_t now_us;
  session *before;  /* in the store; NULL = absent */
  session *current; /* ours, what the steps change; NULL = absent */
  item **taken;     /* out of current, in order; those up to removed by REMOVE */
  size_t taken_count, taken_room;
  item **removed;
  size_t removed_count, removed_room;
  mneme_ref *refs;
  size_t record_count; /* of all APPEND and PUT steps */
  bool changed;        /* something that a reader can see */
  bool wrote;          /* a record was created or replaced */
  bool set;            /* the session was created, or its settings were set */
  bool moved;          /* its header changed, though nothing that a reader sees */
  mneme_written written;
} draft;

static bool list_add(item ***list, size_t *count, size_t *room, item *one) {
  if (*count == *room) {
    size_t grown = *room != 0 ? *room * 2 : 16;
    item **bigger = realloc(*list, grown * sizeof *bigger);
    if (bigger == NULL) return false;
    *list = bigger;
    *room = grown;
  }
  (*list)[(*count)++] = one;
  return true;
}

/* DUTY: whatever happens to a memory stands in the log. Neighbours that met the
 * same fate in the same commit may share an entry. Revisions follow at the end. */
static bool log_add(session *s, int64_t sequence, mneme_log_op op) {
  if (s->log_count > s->log_from) {
    mneme_log_entry *last = &s->log[s->log_count - 1];
    if (last->op == op && (last->last + 1 == sequence || last->first - 1 == sequence)) {
      *(last->last < sequence ? &last->last : &last->first) = sequence;
      return true;
    }
  }
  if (s->log_count == s->log_room) {
    mneme_log_entry *log = realloc(s->log, (s->log_room + 16) * 2 * sizeof *log);
    if (log == NULL) return false;
    s->log = log;
    s->log_room = (s->log_room + 16) * 2;
  }
  s->log[s->log_count++] = (mneme_log_entry){
      .number = ++s->header->mutations, .first = sequence, .last = sequence, .op = op};
  return true;
}

/* Takes the i-th item out of the draft. It stays allocated until the end, since
 * the answer may name it. */
static mneme_status take(draft *d, size_t i, mneme_log_op op) {
  session *s = d->current;
  item *one = s->items[i];
  if (!list_add(&d->taken, &d->taken_count, &d->taken_room, one)) return MNEME_NO_MEMORY;
  memmove(s->items + i, s->items + i + 1, (--s->count - i) * sizeof *s->items);
  if (!log_add(s, one->record.sequence, op)) return MNEME_NO_MEMORY;
  if (op == MNEME_LOG_EXPIRED) d->written.expired_count++;
  if (op == MNEME_LOG_EVICTED) d->written.evicted_count++;
  if (op != MNEME_LOG_EXPIRED) d->changed = true; /* nobody saw the expired ones */
  if (op != MNEME_LOG_DELETED) return MNEME_OK;
  d->written.removed_count++;
  return list_add(&d->removed, &d->removed_count, &d->removed_room, one) ? MNEME_OK
                                                                         : MNEME_NO_MEMORY;
}

/* Puts a record in as the i-th item and adds its reference. */
static mneme_status put_in(draft *d, size_t i, const mneme_record *record, bool created) {
  session *s = d->current;
  item *one = item_new(record);
  if (one == NULL) return MNEME_NO_MEMORY;
  memmove(s->items + i + 1, s->items + i, (s->count++ - i) * sizeof *s->items);
  s->items[i] = one;
  d->changed = d->wrote = true;
  d->refs[d->written.ref_count++] =
      (mneme_ref){one->record.id, record->sequence, record->revision, created};
  return MNEME_OK;
}

/* DUTY [C-39]: an absent session begins with revision 1 and sequence 1. */
static mneme_status create_session(draft *d) {
  mneme_header header = {.ns = d->write->ns,
                         .session = d->write->session,
                         .uid = d->write->new_uid,
                         .settings_revision = 1,
                         .create_us = d->now_us,
                         .max_age_us = d->write->plan.max_age_us,
                         .keep_system = d->write->plan.keep_system};
  d->current = session_new(&header, NULL, d->record_count);
  d->changed = d->set = true;
  return d->current != NULL ? MNEME_OK : MNEME_NO_MEMORY;
}

/* --- Steps ---------------------------------------------------------------- */

/* The revision of what this commit changes. */
static int64_t new_revision(const draft *d) { return d->current->header->revision + 1; }

/* DUTY [C-40]: create_us never falls along the sequence. */
static mneme_status create_record(draft *d, const mneme_record *input) {
  session *s = d->current;
  mneme_record r = *input;
  if (s->last_create_us < d->now_us) s->last_create_us = d->now_us;
  r.sequence = ++s->header->last_sequence;
  r.revision = new_revision(d);
  r.create_us = s->last_create_us;
  r.update_us = d->now_us;
  r.access_us = r.access_count = 0;
  return put_in(d, s->count, &r, true);
}

/* DUTY [C-30]: id, sequence, create_us and access fields stay; update_us rises. */
static mneme_status replace_record(draft *d, size_t i, const mneme_record *input) {
  const mneme_record *old = &d->current->items[i]->record;
  mneme_record r = *input;
  r.id = old->id;
  r.sequence = old->sequence;
  r.revision = new_revision(d);
  r.create_us = old->create_us;
  r.update_us = d->now_us > old->update_us ? d->now_us : old->update_us + 1;
  r.access_us = old->access_us;
  r.access_count = old->access_count;
  mneme_status status = take(d, i, MNEME_LOG_UPDATED);
  return status == MNEME_OK ? put_in(d, i, &r, false) : status;
}

/* DUTY [C-29]: each record meets what the ones before it left. */
static mneme_status append_one(draft *d, const mneme_record *input, mneme_on_conflict policy) {
  session *s = d->current;
  size_t by_id = find_name(s, BY_ID, input->id, d->now_us);
  size_t by_key = find_name(s, BY_KEY, input->key, d->now_us);
  size_t found = by_id < s->count ? by_id : by_key;
  if (found == s->count) return create_record(d, input);
  if (by_id < s->count && by_key < s->count && by_id != by_key) return MNEME_EXISTS;
  if (policy == MNEME_CONFLICT_REPLACE) return replace_record(d, found, input);
  if (policy != MNEME_CONFLICT_SKIP) return MNEME_EXISTS;
  const mneme_record *r = &s->items[found]->record;
  d->refs[d->written.ref_count++] = (mneme_ref){r->id, r->sequence, r->revision, false};
  return MNEME_OK;
}

static mneme_status run_append(draft *d, const mneme_step *step) {
  mneme_status status = d->current == NULL ? create_session(d) : MNEME_OK;
  for (size_t i = 0; i < step->record_count && status == MNEME_OK; i++)
    status = append_one(d, &step->records[i], step->on_conflict[i]);
  return status;
}

static mneme_status run_put(draft *d, const mneme_step *step) {
  const mneme_record *input = step->records;
  session *s = d->current;
  size_t i = 0;
  if (s == NULL) return MNEME_NOT_FOUND;
  while (i < s->count && s->items[i]->record.sequence != input->sequence) i++;
  if (i == s->count || !is_live(s, &s->items[i]->record, d->now_us)) return MNEME_NOT_FOUND;
  if (step->expected_revision >= 0 &&
      step->expected_revision != s->items[i]->record.revision) {
    d->written.conflict_revision = s->items[i]->record.revision;
    return MNEME_CONFLICT;
  }
  size_t by_key = find_name(s, BY_KEY, input->key, d->now_us);
  if (by_key < s->count && by_key != i) return MNEME_EXISTS;
  return replace_record(d, i, input);
}

/* Whether this step's names or numbers mean the record. */
static bool is_named(const mneme_step *step, const mneme_record *r) {
  switch (step->op) {
  case MNEME_STEP_REMOVE_FROM: return r->sequence >= step->from_sequence;
  case MNEME_STEP_REMOVE_IDS:
  case MNEME_STEP_REMOVE_KEYS:
    for (size_t i = 0; i < step->name_count; i++)
      if (mneme_bytes_equal(step->op == MNEME_STEP_REMOVE_IDS ? r->id : r->key, step->names[i]))
        return step->names[i].size != 0;
    return false;
  default: /* REMOVE_SEQUENCES, TOUCH. DUTY [C-49]: what has changed since stays. */
    for (size_t i = 0; i < step->sequence_count; i++)
      if (r->sequence == step->sequences[i])
        return step->revisions == NULL || r->revision == step->revisions[i];
    return false;
  }
}

static mneme_status run_remove(draft *d, const mneme_step *step) {
  session *s = d->current;
  for (size_t i = 0; i < s->count;) {
    const mneme_record *r = &s->items[i]->record;
    if (!is_live(s, r, d->now_us) || !is_named(step, r)) {
      i++;
      continue;
    }
    mneme_status status = take(d, i, MNEME_LOG_DELETED);
    if (status != MNEME_OK) return status;
  }
  return MNEME_OK;
}

static mneme_status run_remove_newest(draft *d, const mneme_step *step) {
  session *s = d->current;
  int64_t left = step->count, bytes = 0;
  for (size_t i = s->count; i-- > 0 && left > 0;) {
    const mneme_record *r = &s->items[i]->record;
    if (!is_live(s, r, d->now_us)) continue;
    bytes += mneme_rule_bytes(r);
    if (step->byte_limit > 0 && bytes > step->byte_limit && left < step->count) {
      d->written.truncated = true;
      break;
    }
    mneme_status status = take(d, i, MNEME_LOG_DELETED);
    if (status != MNEME_OK) return status;
    left--;
  }
  return MNEME_OK;
}

static mneme_status run_settings(draft *d, const mneme_step *step) {
  mneme_status status = d->current == NULL ? create_session(d) : MNEME_OK;
  if (status != MNEME_OK) return status;
  mneme_header header = *d->current->header;
  header.settings = step->settings;
  header.settings_revision = new_revision(d);
  mneme_header *copy = header_copy(&header);
  if (copy == NULL) return MNEME_NO_MEMORY;
  free(d->current->header);
  d->current->header = copy;
  d->changed = d->set = true;
  return MNEME_OK;
}

/* DUTY [C-07]: no revision, no log. Items are shared, so a touched one is a copy. */
static mneme_status run_touch(draft *d, const mneme_step *step) {
  session *s = d->current;
  for (size_t i = 0; i < s->count; i++) {
    mneme_record r = s->items[i]->record;
    if (!is_live(s, &r, d->now_us) || !is_named(step, &r)) continue;
    r.access_count++;
    r.access_us = d->now_us;
    if (step->slide_ttl && r.ttl_us > 0) r.expire_us = mneme_rule_add(d->now_us, r.ttl_us);
    item *touched = item_new(&r);
    if (touched == NULL || !list_add(&d->taken, &d->taken_count, &d->taken_room, s->items[i])) {
      item_unref(touched);
      return MNEME_NO_MEMORY;
    }
    s->items[i] = touched;
  }
  return MNEME_OK;
}

/* DUTY [C-33]: the session goes, its request_ids stay. */
static mneme_status run_drop(draft *d) {
  d->written.removed_count += header_at(d->current, d->now_us).memory_count;
  for (size_t i = 0; i < d->current->count; i++) /* refs may name them */
    if (!list_add(&d->taken, &d->taken_count, &d->taken_room, d->current->items[i])) {
      d->taken_count -= i;
      return MNEME_NO_MEMORY;
    }
  d->current->count = 0;
  session_free(d->current);
  d->current = NULL;
  d->wrote = d->set = false;
  return MNEME_OK;
}

static mneme_status remove_expired(draft *d, int64_t max) {
  session *s = d->current;
  for (size_t i = 0; i < s->count && max > 0;) {
    if (is_live(s, &s->items[i]->record, d->now_us)) {
      i++;
      continue;
    }
    mneme_status status = take(d, i, MNEME_LOG_EXPIRED);
    if (status != MNEME_OK) return status;
    max--;
  }
  return MNEME_OK;
}

/* DUTY [C-34]: the sweeper's step. */
static mneme_status run_expire(draft *d, const mneme_step *step) {
  if (!has_lapsed(d->current, d->now_us)) return remove_expired(d, step->count);
  d->written.expired_count = (int64_t)d->current->count;
  session_free(d->current);
  d->current = NULL;
  return MNEME_OK;
}

static mneme_status run_step(draft *d, const mneme_step *step) {
  switch (step->op) {
  case MNEME_STEP_APPEND: return run_append(d, step);
  case MNEME_STEP_PUT: return run_put(d, step);
  case MNEME_STEP_SET_SETTINGS: return run_settings(d, step);
  case MNEME_STEP_SET_VECTOR:
  case MNEME_STEP_RESTORE: return MNEME_UNSUPPORTED;
  default: break;
  }
  if (d->current == NULL) return MNEME_OK; /* DUTY [C-38]: the others find nothing */
  switch (step->op) {
  case MNEME_STEP_REMOVE_IDS:
  case MNEME_STEP_REMOVE_KEYS:
  case MNEME_STEP_REMOVE_SEQUENCES:
  case MNEME_STEP_REMOVE_FROM: return run_remove(d, step);
  case MNEME_STEP_REMOVE_NEWEST: return run_remove_newest(d, step);
  case MNEME_STEP_TOUCH: return run_touch(d, step);
  case MNEME_STEP_DROP: return run_drop(d);
  case MNEME_STEP_EXPIRE: return run_expire(d, step);
  default: return MNEME_UNSUPPORTED;
  }
}

/* --- Policy --------------------------------------------------------------- */

static bool goes_before(const mneme_record *a, const mneme_record *b, mneme_evict strategy) {
  if (strategy != MNEME_EVICT_LEAST_IMPORTANT) return false; /* the lower sequence came first */
  return mneme_rule_importance(a->has_importance, a->importance) <
         mneme_rule_importance(b->has_importance, b->importance);
}

/* The next to evict; s->count = only protected ones and the newest are left. */
static size_t find_victim(const session *s, mneme_evict strategy) {
  size_t victim = s->count;
  for (size_t i = 0; i + 1 < s->count; i++) { /* DUTY [C-15]: the newest stays */
    const mneme_record *r = &s->items[i]->record;
    if (is_protected(s, r)) continue;
    if (victim == s->count || goes_before(r, &s->items[victim]->record, strategy)) victim = i;
  }
  return victim;
}

/* DUTY [C-12], [C-14]: whether there is room is known before anything goes. All
 * expired ones are out by now. */
static mneme_status evict(draft *d) {
  session *s = d->current;
  const mneme_plan *plan = &d->write->plan;
  mneme_load load = {0};
  mneme_target target;
  for (size_t i = 0; i < s->count; i++) {
    const mneme_record *r = &s->items[i]->record;
    bool keeps = is_protected(s, r);
    load.memory_count++;
    load.token_count += r->token_count;
    load.protected_count += keeps;
    load.protected_tokens += keeps ? r->token_count : 0;
    load.newest_is_protected = keeps;
    load.newest_tokens = r->token_count;
  }
  mneme_status status = mneme_rule_room(plan, &load, &target);
  while (status == MNEME_OK &&
         (load.memory_count > target.memory_count || load.token_count > target.token_count)) {
    size_t victim = find_victim(s, plan->strategy);
    if (victim == s->count) break;
    load.memory_count--;
    load.token_count -= s->items[victim]->record.token_count;
    status = take(d, victim, MNEME_LOG_EVICTED);
  }
  return status;
}

/* --- Request ids ---------------------------------------------------------- */

static answer **bucket_of(mneme_backend *store, const mneme_write *w) {
  mneme_bytes parts[] = {w->ns, w->session, w->request_id};
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (int k = 0; k < 3; k++)
    for (size_t i = 0; i < parts[k].size; i++)
      hash = (hash ^ (unsigned char)parts[k].data[i]) * 16777619u;
  return &store->answers[hash % ANSWER_BUCKETS];
}

static bool is_of_session(const answer *a, const mneme_write *w) {
  return mneme_bytes_equal(a->ns, w->ns) && mneme_bytes_equal(a->session, w->session);
}

/* DUTY [C-09], [C-10]: asked before every other guard. NOT_FOUND, REUSED, or OK. */
mneme_status find_answer(mneme_backend *store, const mneme_write *w, int64_t now_us,
                         const answer **ret_answer) {
  if (w->request_id.size == 0) return MNEME_NOT_FOUND;
  for (const answer *a = *bucket_of(store, w); a != NULL; a = a->next) {
    if (!is_of_session(a, w) || !mneme_bytes_equal(a->request_id, w->request_id)) continue;
    if (a->expire_us <= now_us) continue; /* DUTY: as if it had never been */
    if (memcmp(a->fingerprint, w->fingerprint, sizeof a->fingerprint) != 0) return MNEME_REUSED;
    *ret_answer = a;
    return MNEME_OK;
  }
  return MNEME_NOT_FOUND;
}

/* DUTY [C-37]. Counting walks all answers, so only where there may be too many. */
static void forget_one(mneme_backend *store, const mneme_write *w) {
  size_t count = 0;
  answer **first = NULL;
  if (store->answer_count < MNEME_REQUEST_IDS_MAX) return;
  for (int i = 0; i < ANSWER_BUCKETS; i++)
    for (answer **at = &store->answers[i]; *at != NULL; at = &(*at)->next) {
      if (!is_of_session(*at, w)) continue;
      count++;
      if (first == NULL || (*at)->expire_us < (*first)->expire_us) first = at;
    }
  if (count < MNEME_REQUEST_IDS_MAX) return;
  answer *gone = *first;
  *first = gone->next;
  store->answer_count--;
  answer_free(gone);
}

/* DUTY [C-43]: of the header, only what a retry may rely on is remembered. */
static answer *answer_new(const mneme_write *w, const mneme_written *written, int64_t now_us) {
  mneme_written kept = *written;
  kept.deduplicated = true;
  kept.header = (mneme_header){.uid = written->header.uid,
                               .revision = written->header.revision,
                               .settings_revision = written->header.settings_revision,
                               .last_sequence = written->header.last_sequence,
                               .memory_count = written->header.memory_count};
  answer *a = malloc(sizeof *a + w->ns.size + w->session.size + w->request_id.size);
  if (a == NULL) return NULL;
  a->written = written_copy(&kept);
  if (a->written == NULL) {
    free(a);
    return NULL;
  }
  char *at = a->strings;
  a->ns = mneme_bytes_put(&at, w->ns);
  a->session = mneme_bytes_put(&at, w->session);
  a->request_id = mneme_bytes_put(&at, w->request_id);
  a->expire_us = mneme_rule_add(now_us, w->window_us);
  memcpy(a->fingerprint, w->fingerprint, sizeof a->fingerprint);
  return a;
}

/* --- Commit --------------------------------------------------------------- */

static mneme_status begin_draft(draft *d) {
  const mneme_write *w = d->write;
  session *s = *find_place(d->store, w->ns, w->session);
  for (size_t i = 0; i < w->step_count; i++)
    if (w->steps[i].op == MNEME_STEP_APPEND || w->steps[i].op == MNEME_STEP_PUT)
      d->record_count += w->steps[i].record_count;
  if (s != NULL && has_lapsed(s, d->now_us) && !mneme_rule_is_expire(w)) s = NULL;
  d->before = s;

  /* DUTY [C-36]: uid, existence and revisions, in this order. */
  mneme_status status =
      mneme_rule_guard(w, s != NULL ? s->header : NULL, &d->written.conflict_revision);
  if (status != MNEME_OK) return status;
  d->refs = malloc((d->record_count + 1) * sizeof *d->refs);
  if (d->refs == NULL) return MNEME_NO_MEMORY;
  if (s == NULL) return MNEME_OK;
  d->current = session_new(s->header, s, d->record_count);
  if (d->current == NULL) return MNEME_NO_MEMORY;
  if (mneme_rule_is_expire(w)) return MNEME_OK;
  mneme_header *h = d->current->header;
  d->moved = h->max_age_us != w->plan.max_age_us || h->keep_system != w->plan.keep_system;
  h->max_age_us = w->plan.max_age_us;
  h->keep_system = w->plan.keep_system;
  return MNEME_OK;
}

static mneme_status run_draft(draft *d) {
  const mneme_write *w = d->write;
  mneme_status status = begin_draft(d);
  if (status == MNEME_OK && w->step_count == 0 && d->current == NULL) status = create_session(d);
  for (size_t i = 0; i < w->step_count && status == MNEME_OK; i++)
    status = run_step(d, &w->steps[i]);
  if (status == MNEME_OK && d->wrote) status = remove_expired(d, INT64_MAX);
  if (status == MNEME_OK && d->wrote) status = evict(d);
  return status;
}

/* DUTY [C-16], [C-39]: one revision per commit that changes what a reader sees. */
static void settle_header(draft *d) {
  session *s = d->current;
  if (s == NULL) return;
  mneme_header *h = s->header;
  if (d->changed) {
    h->revision++;
    h->update_us = d->now_us;
  }
  if (d->wrote) h->append_us = d->now_us;
  if (d->wrote || d->set)
    h->expire_us = mneme_rule_session_expiry(&d->write->plan, h->create_us, h->append_us);
  for (size_t i = s->log_from; i < s->log_count; i++) s->log[i].revision = h->revision;
  if (s->log_count > s->log_from) d->moved = true;
  if (s->log_count > 2 * MNEME_LOG_MAX) { /* the newest MNEME_LOG_MAX are kept */
    memmove(s->log, s->log + s->log_count - MNEME_LOG_MAX, MNEME_LOG_MAX * sizeof *s->log);
    s->log_count = MNEME_LOG_MAX;
  }
}

static int compare_sequence(const void *a, const void *b) {
  int64_t x = ((const mneme_record *)a)->sequence, y = ((const mneme_record *)b)->sequence;
  return x < y ? -1 : x > y;
}

/* What the commit needs to be published and answered: all memory that it takes. */
typedef struct ending {
  mneme_written *reply;
  answer *answer;
  tombstone *tombstone;
} ending;

static mneme_status prepare_end(draft *d, session *old, ending *e) {
  mneme_written *written = &d->written;
  mneme_record *removed = NULL;
  settle_header(d);
  if (d->current != NULL) written->header = header_at(d->current, d->now_us);
  written->existed = d->before != NULL && !has_lapsed(d->before, d->now_us);
  written->refs = d->refs;
  if (d->write->want_removed && d->removed_count != 0) { /* DUTY [C-41] */
    removed = malloc(d->removed_count * sizeof *removed);
    if (removed == NULL) return MNEME_NO_MEMORY;
    for (size_t i = 0; i < d->removed_count; i++) removed[i] = d->removed[i]->record;
    qsort(removed, d->removed_count, sizeof *removed, compare_sequence);
    written->removed = removed;
    written->removed_count_listed = d->removed_count;
  }
  e->reply = written_copy(written);
  if (d->write->request_id.size != 0) e->answer = answer_new(d->write, written, d->now_us);
  free(removed);
  if (e->reply == NULL || (d->write->request_id.size != 0 && e->answer == NULL))
    return MNEME_NO_MEMORY;

  bool gone = d->current == NULL ? d->before != NULL
                                 : old != NULL && !mneme_uid_equal(&old->header->uid,
                                                                   &d->current->header->uid);
  if (!gone) return MNEME_OK;
  e->tombstone = calloc(1, sizeof *e->tombstone);
  if (e->tombstone == NULL) return MNEME_NO_MEMORY;
  mneme_header header = {.ns = d->write->ns,
                         .session = d->write->session,
                         .uid = old->header->uid,
                         .deleted = true};
  e->tombstone->header = header_copy(&header);
  return e->tombstone->header != NULL ? MNEME_OK : MNEME_NO_MEMORY;
}

static void tombstone_free(tombstone *t) {
  if (t == NULL) return;
  free(t->header);
  free(t);
}

static void add_tombstone(mneme_backend *store, tombstone *t) {
  t->stamp = ++store->stamp;
  *(store->newest != NULL ? &store->newest->next : &store->oldest) = t;
  store->newest = t;
  if (++store->tombstone_count <= TOMBSTONES_MAX) return;
  tombstone *oldest = store->oldest;
  store->compacted = oldest->stamp;
  store->oldest = oldest->next;
  store->tombstone_count--;
  tombstone_free(oldest);
}

/* DUTY [C-44]: all or nothing; nothing here can fail. In a database: COMMIT. */
static void publish(draft *d, session **place, ending *e) {
  mneme_backend *store = d->store;
  session *old = *place, *s = d->current;
  if (e->tombstone != NULL) add_tombstone(store, e->tombstone);
  if (s != NULL) {
    bool tell = d->changed || d->moved; /* DUTY [C-23] */
    s->stamp = tell ? ++store->stamp : old->stamp;
    s->next = old != NULL ? old->next : NULL;
    *place = s;
    session_free(old);
  } else if (d->before != NULL) {
    *place = old->next;
    session_free(old);
  }
  if (e->answer == NULL) return;
  forget_one(store, d->write);
  answer **bucket = bucket_of(store, d->write);
  e->answer->next = *bucket; /* in front of a lapsed one of the same request_id */
  *bucket = e->answer;
  store->answer_count++;
}

static void free_draft(draft *d) {
  for (size_t i = 0; i < d->taken_count; i++) item_unref(d->taken[i]);
  free(d->taken);
  free(d->removed);
  free(d->refs);
}

/* What a refusal shows: the session as it is. NULL without memory. */
static mneme_written *refusal_new(const draft *d) {
  mneme_written written = {.conflict_revision = d->written.conflict_revision};
  if (d->before != NULL && !has_lapsed(d->before, d->now_us))
    written.header = header_at(d->before, d->now_us);
  return written_copy(&written);
}

void template_commit(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                     mneme_written_fn done, void *ctx) {
  draft d = {.store = store, .write = write, .now_us = call->now_us};
  ending e = {0};
  const answer *remembered;

  pthread_mutex_lock(&store->lock);
  mneme_status status = find_answer(store, write, call->now_us, &remembered);
  if (status == MNEME_OK) {
    e.reply = written_copy(remembered->written);
    if (e.reply == NULL) status = MNEME_NO_MEMORY;
  } else if (status == MNEME_NOT_FOUND) {
    session **place = find_place(store, write->ns, write->session);
    status = run_draft(&d);
    if (status == MNEME_OK) status = prepare_end(&d, *place, &e);
    if (status == MNEME_OK) {
      publish(&d, place, &e);
    } else { /* DUTY [C-08]: a refusal leaves no trace */
      session_free(d.current);
      tombstone_free(e.tombstone);
      answer_free(e.answer);
      free(e.reply);
      e.reply = refusal_new(&d);
      if (e.reply == NULL) status = MNEME_NO_MEMORY;
    }
  }
  free_draft(&d);
  pthread_mutex_unlock(&store->lock);
  done(status, e.reply, ctx); /* DUTY [C-01]: once, and never under a lock */
  free(e.reply);
}

void answer_free(answer *a) {
  if (a == NULL) return;
  free(a->written);
  free(a);
}
