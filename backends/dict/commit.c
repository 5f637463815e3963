/* commit: one atomic change of one session, under its shard's lock from guard to
 * end.
 *
 *   lock
 *     request_id remembered? ------------------> answer it again
 *     guards 2..5 -----------------------------> refuse
 *     steps (steps.c), a few expired ones out,
 *     room?, evict ----------------------------> undo, refuse
 *     reserve all memory that the end needs ---> undo, refuse
 *     --- nothing fails below this line ---
 *     drop, link, log, remember, stamp
 *   unlock
 *   done, then free what was taken out
 *
 * Freeing and done stand outside the lock: dropping a session of a million
 * memories takes no longer than unlinking it. */
#include "steps.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define LOG_FEW 8
#define EXPIRE_STEP 64 /* expired memories that a write removes beside: the sweeper does the rest */
#define TRIM_STEP 2 /* lapsed request_ids that a commit clears away for the one it adds */

/* What the end of a commit needs, allocated while it may still be refused. */
typedef struct ending {
  dict_tombstone *tombstone;
  dict_session *gone; /* before or lapsed: leaves the shard */
  dict_answer *answer;
  dict_record **removed;      /* with want_removed: the records, ascending */
  mneme_record *removed_view; /* and as the answer shows them */
  size_t removed_count;
  mneme_log_entry *log;
  size_t log_count;
  bool shell_is_new;
  int64_t charge;
  mneme_log_entry log_few[LOG_FEW];
} ending;

/* --- Log entries ---------------------------------------------------------- */

static bool prepare_log(dict_work *w, ending *e) {
  size_t count = 0;
  for (size_t i = 0; i < w->note_count; i++) {
    const dict_note *n = &w->notes[i];
    if (n->session != w->current) continue;
    if (n->kind == DICT_TAKE) count++;
    if (n->kind == DICT_EMPTY) count += dict_spine_runs(&n->contents->spine, NULL, NULL);
  }
  e->log = e->log_few;
  e->log_count = 0;
  if (count == 0) return true;
  if (count > LOG_FEW) {
    e->log = malloc(count * sizeof *e->log);
    if (e->log == NULL) return false;
  }
  for (size_t i = 0; i < w->note_count; i++) {
    const dict_note *n = &w->notes[i];
    if (n->session != w->current) continue;
    mneme_log_entry entry = {.revision = w->current->head.revision, .op = n->log_op};
    if (n->kind == DICT_EMPTY)
      e->log_count += dict_spine_runs(&n->contents->spine, &entry, e->log + e->log_count);
    if (n->kind != DICT_TAKE) continue;
    entry.first = entry.last = n->record->sequence;
    e->log[e->log_count++] = entry;
  }
  e->log_count = mneme_rule_merge_log(e->log, e->log_count);
  return dict_log_reserve(&w->current->log, e->log, e->log_count);
}

/* --- Removed records ------------------------------------------------------ */

static int compare_sequence(const void *a, const void *b) {
  int64_t x = (*(dict_record *const *)a)->sequence, y = (*(dict_record *const *)b)->sequence;
  return x < y ? -1 : x > y;
}

static bool prepare_removed(const dict_work *w, ending *e) {
  size_t count = 0;
  if (!w->write->want_removed) return true;
  for (size_t i = 0; i < w->note_count; i++)
    if (w->notes[i].kind == DICT_TAKE && w->notes[i].log_op == MNEME_LOG_DELETED) count++;
  if (count == 0) return true;
  e->removed = malloc(count * sizeof *e->removed);
  e->removed_view = malloc(count * sizeof *e->removed_view);
  if (e->removed == NULL || e->removed_view == NULL) return false;
  for (size_t i = 0; i < w->note_count; i++)
    if (w->notes[i].kind == DICT_TAKE && w->notes[i].log_op == MNEME_LOG_DELETED)
      e->removed[e->removed_count++] = w->notes[i].record;
  qsort(e->removed, count, sizeof *e->removed, compare_sequence);
  for (size_t i = 0; i < count; i++) dict_record_view(e->removed[i], &e->removed_view[i]);
  return true;
}

/* --- The end -------------------------------------------------------------- */

/* The header as it will be, but for the log's count. Undone with the rest. */
static void settle_head(dict_work *w) {
  dict_session *s = w->current;
  if (s == NULL) return;
  if (w->changed) {
    s->head.revision = w->revision;
    s->head.update_us = w->now_us;
  }
  if (w->wrote) s->head.append_us = w->now_us;
  if (w->wrote || w->set)
    s->head.expire_us =
        mneme_rule_session_expiry(&w->write->plan, s->create_us, s->head.append_us);
}

static uint32_t request_hash(const mneme_backend *store, mneme_bytes request_id) {
  return (uint32_t)XXH3_64bits_withSeed(request_id.data, request_id.size, store->seed);
}

static mneme_status prepare_end(dict_work *w, ending *e, const dict_name *name,
                                int64_t cost_before) {
  mneme_written *written = &w->written;
  bool remember = w->write->request_id.size != 0 && w->write->window_us > 0;

  if (w->shell == NULL && (w->current != NULL || remember)) {
    w->shell = dict_shell_new(name);
    if (w->shell == NULL) return MNEME_NO_MEMORY;
    e->shell_is_new = true;
    e->charge += dict_shell_cost(w->shell);
    if (!dict_shard_reserve(w->shard)) return MNEME_NO_MEMORY;
  }
  written->refs = w->refs;
  written->existed = w->before != NULL && !mneme_rule_expired(w->saved.expire_us, w->now_us);
  settle_head(w);
  if (w->current != NULL) {
    w->current->shell = w->shell;
    dict_session_header(w->current, w->now_us, &written->header);
    written->header.ns = w->write->ns; /* outlive the lock */
    written->header.session = w->write->session;
  }
  if (w->before != NULL && w->current != w->before)
    e->gone = w->before;
  else if (w->lapsed != NULL && w->current != NULL)
    e->gone = w->lapsed;
  if (e->gone != NULL) {
    e->tombstone = dict_tombstone_new(w->shell, &e->gone->uid);
    if (e->tombstone == NULL) return MNEME_NO_MEMORY;
  }
  if (w->current != NULL && !prepare_log(w, e)) return MNEME_NO_MEMORY;
  written->header.mutations += (int64_t)e->log_count;
  if (!prepare_removed(w, e)) return MNEME_NO_MEMORY;

  if (remember) {
    e->answer = dict_answer_new(w->write, w->request_hash, w->now_us, written);
    if (e->answer == NULL || !dict_table_reserve(&w->shell->answers, 1) ||
        !dict_queue_reserve(&w->shell->expiry, e->answer))
      return MNEME_NO_MEMORY;
    for (size_t i = 0; i < e->removed_count; i++) e->charge += dict_record_cost(e->removed[i]);
    e->charge += dict_answer_cost(e->answer);
  }
  if (w->store->bytes_max == 0) return MNEME_OK;
  e->charge -= cost_before;
  if (e->gone != NULL && e->gone != w->before) e->charge -= dict_session_cost(e->gone);
  if (w->current != NULL) e->charge += dict_session_cost(w->current);
  return dict_store_charge(w->store, e->charge) ? MNEME_OK : MNEME_STORE_FULL;
}

static void forget_end(dict_work *w, ending *e) {
  free(e->tombstone);
  dict_answer_unref(e->answer);
  free(e->removed);
  free(e->removed_view);
  if (e->log != e->log_few) free(e->log);
  if (e->shell_is_new) {
    dict_shell_free(w->shell);
    w->shell = NULL;
  }
}

/* From now on the session is the shard's, not this commit's. */
static void keep_made(dict_work *w, dict_session *session) {
  for (dict_session **at = &w->made; *at != NULL; at = &(*at)->next) {
    if (*at != session) continue;
    *at = session->next;
    session->next = NULL;
    return;
  }
}

/* Makes the commit visible. Nothing here can fail. */
static void finish(dict_work *w, ending *e) {
  dict_session *s = w->current;
  dict_shell *shell = w->shell;

  if (e->gone != NULL) dict_shard_detach(w->store, w->shard, e->gone, e->tombstone);
  if (e->shell_is_new) dict_shard_link(w->shard, shell);
  if (w->before != NULL && w->before->head.settings != w->saved.settings)
    dict_settings_unref(w->saved.settings);
  for (size_t i = 0; i < e->log_count; i++) dict_log_add(&s->log, &e->log[i]);

  if (e->answer != NULL) {
    e->answer->removed = e->removed;
    e->answer->removed_listed = (uint32_t)e->removed_count;
    dict_shell_remember(w->store, w->shard, shell, dict_answer_ref_get(e->answer));
  }
  if (s != NULL) {
    shell->session = s;
    keep_made(w, s);
    dict_settings_ref(s->head.settings);
    if (s != w->before || w->changed || e->log_count != 0 || w->header_moved)
      dict_shard_stamp(w->store, w->shard, s);
    dict_shard_schedule(w->shard, s);
    dict_session_tidy(s);
  } else if (shell != NULL) {
    dict_shard_drop_empty(w->store, w->shard, shell);
  }
  w->written.removed = e->removed_view;
  w->written.removed_count_listed = e->removed_count;
}

/* After done: frees what left the session. */
static void clean_up(dict_work *w, ending *e, dict_settings *settings) {
  bool kept = e->answer != NULL;
  bool listed = e->removed_count != 0;
  for (size_t i = 0; i < w->note_count; i++) {
    const dict_note *n = &w->notes[i];
    if (n->kind == DICT_EMPTY) dict_session_free(n->contents);
    if (n->kind != DICT_TAKE) continue;
    if (kept && listed && n->log_op == MNEME_LOG_DELETED) continue; /* the answer's */
    free(n->record);
  }
  dict_session_free(e->gone);
  dict_calendar_free(w->old_policy.deaths);
  while (w->made != NULL) { /* made and dropped again */
    dict_session *next = w->made->next;
    dict_session_free(w->made);
    w->made = next;
  }
  dict_settings_unref(settings);
  dict_answer_unref(e->answer);
  if (!kept) free(e->removed);
  free(e->removed_view);
  if (e->log != e->log_few) free(e->log);
}

/* --- Guards --------------------------------------------------------------- */

static size_t count_refs(const mneme_write *write) {
  size_t count = 0;
  for (size_t i = 0; i < write->step_count; i++)
    if (write->steps[i].op == MNEME_STEP_APPEND || write->steps[i].op == MNEME_STEP_PUT)
      count += write->steps[i].record_count;
  return count;
}

/* The plan's view of what is live holds from the first step on. */
static mneme_status take_plan(dict_work *w) {
  dict_head *head = &w->before->head;
  const mneme_plan *plan = &w->write->plan;
  if (head->max_age_us == plan->max_age_us && head->keep_system == plan->keep_system)
    return MNEME_OK;
  w->header_moved = dict_session_set_policy(w->before, plan->max_age_us, plan->keep_system,
                                            &w->old_policy);
  return w->header_moved ? MNEME_OK : MNEME_NO_MEMORY;
}

/* Guards 2 to 5. The sweeper's write meets a lapsed session as if it lived. */
static mneme_status check_guards(dict_work *w) {
  mneme_header header;
  dict_session *s = w->shell != NULL ? w->shell->session : NULL;
  if (s != NULL && dict_session_lapsed(s, w->now_us) && !mneme_rule_is_expire(w->write)) {
    w->lapsed = s;
    s = NULL;
  }
  w->before = w->current = s;
  if (s == NULL) return mneme_rule_guard(w->write, NULL, &w->conflict_revision);
  w->saved = s->head;
  w->revision = s->head.revision + 1;
  header = (mneme_header){.uid = s->uid,
                          .revision = s->head.revision,
                          .settings_revision = s->head.settings_revision};
  if (s->head.settings != NULL) header.settings.size = s->head.settings->size;
  return mneme_rule_guard(w->write, &header, &w->conflict_revision);
}

static mneme_status do_work(dict_work *w) {
  mneme_status status = MNEME_OK;
  if (w->before != NULL && !mneme_rule_is_expire(w->write)) status = take_plan(w);
  if (status == MNEME_OK) status = dict_work_steps(w);
  if (status == MNEME_OK && w->wrote) status = dict_work_expire(w, EXPIRE_STEP);
  if (status == MNEME_OK && w->wrote) status = dict_work_evict(w);
  return status;
}

/* Whether the write's request_id is remembered: NOT_FOUND (with ret_lapsed: no
 * longer), REUSED, or OK and a reference in ret_answer. */
static mneme_status recall(const dict_shell *shell, const mneme_write *write, uint32_t hash,
                           int64_t now_us, dict_answer **ret_answer, bool *ret_lapsed) {
  dict_answer *answer =
      dict_table_find(&shell->answers, hash, dict_answer_is, &write->request_id);
  *ret_lapsed = answer != NULL && answer->expire_us <= now_us;
  if (answer == NULL || *ret_lapsed) return MNEME_NOT_FOUND;
  if (memcmp(answer->fingerprint, write->fingerprint, sizeof answer->fingerprint) != 0)
    return MNEME_REUSED;
  *ret_answer = dict_answer_ref_get(answer);
  return MNEME_OK;
}

/* Guard 1. A lapsed answer of the same request_id must not stand beside the new
 * one: it goes with all that lapsed in this shell. */
static mneme_status check_request(dict_work *w, dict_answer **ret_answer) {
  if (w->shell == NULL || w->shell->answers.count == 0) return MNEME_NOT_FOUND;
  bool lapsed = false;
  mneme_status status = recall(w->shell, w->write, w->request_hash, w->now_us, ret_answer, &lapsed);
  if (lapsed)
    dict_shell_trim(w->store, w->shell, w->now_us, INT64_MAX);
  return status;
}

/* --- The operation -------------------------------------------------------- */

static void refuse(dict_work *w, mneme_status status, mneme_written_fn done, void *ctx) {
  dict_settings *settings = NULL;
  mneme_written written = {.conflict_revision = w->conflict_revision};
  if (w->before != NULL && !dict_session_lapsed(w->before, w->now_us)) {
    dict_session_header(w->before, w->now_us, &written.header);
    written.header.ns = w->write->ns;
    written.header.session = w->write->session;
    settings = dict_settings_ref(w->before->head.settings);
  }
  dict_unlock(w->shard);
  done(status, &written, ctx);
  dict_settings_unref(settings);
}

/* With the shard locked, which it unlocks. */
static void commit_locked(dict_work *w, const dict_name *name, mneme_written_fn done,
                          void *ctx) {
  ending e;
  int64_t cost_before = 0;
  mneme_status status = check_guards(w);
  if (status != MNEME_OK) {
    refuse(w, status, done, ctx);
    return;
  }
  memset(&e, 0, offsetof(ending, log_few));
  e.log = e.log_few;
  if (w->store->bytes_max != 0 && w->before != NULL) cost_before = dict_session_cost(w->before);
  status = do_work(w);
  if (status == MNEME_OK) status = prepare_end(w, &e, name, cost_before);
  if (status != MNEME_OK) {
    dict_work_undo(w);
    forget_end(w, &e);
    refuse(w, status, done, ctx);
    return;
  }
  finish(w, &e);
  dict_settings *settings = w->current != NULL ? w->current->head.settings : NULL;
  dict_unlock(w->shard);
  done(MNEME_OK, &w->written, ctx);
  clean_up(w, &e, settings);
}

/* A plain append looks at a few places that no cache holds; it waits for all of
 * them at once when they are asked for early. */
static void prefetch(const dict_work *w) {
  if (w->shell == NULL || w->shell->session == NULL || w->write->step_count == 0) return;
  dict_table_prefetch(&w->shell->answers, w->request_hash);
  const mneme_step *step = &w->write->steps[w->write->step_count - 1];
  if (step->op != MNEME_STEP_APPEND || step->record_count != 1) return;
  dict_spine_prefetch(&w->shell->session->spine, w->shell->session->head.last_sequence + 1);
  dict_table_prefetch(&w->shell->session->ids,
                      dict_record_id_hash(step->records->id, w->store->seed));
}

void dict_commit(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                 mneme_written_fn done, void *ctx) {
  dict_name name;
  dict_work w;
  if (!dict_name_make(&name, write->ns, write->session, store->seed) ||
      write->request_id.size > MNEME_ID_MAX) {
    done(MNEME_TOO_BIG, NULL, ctx);
    return;
  }
  memset(&w, 0, offsetof(dict_work, refs_few));
  w.store = store;
  w.shard = dict_shard_of(store, &name);
  w.write = write;
  w.now_us = call->now_us;
  w.refs = w.refs_few;
  w.notes = w.notes_few;
  w.notes_room = DICT_NOTES_FEW;
  size_t ref_count = count_refs(write);
  if (ref_count > DICT_REFS_FEW && (w.refs = malloc(ref_count * sizeof *w.refs)) == NULL) {
    done(MNEME_NO_MEMORY, NULL, ctx);
    return;
  }

  dict_answer *answer = NULL;
  mneme_status status = MNEME_NOT_FOUND;
  dict_lock(w.shard);
  if (write->request_id.size != 0) {
    dict_shard_trim(store, w.shard, w.now_us, TRIM_STEP);
    w.shell = dict_shard_find(w.shard, &name);
    w.request_hash = request_hash(store, write->request_id);
    prefetch(&w);
    status = check_request(&w, &answer);
  } else {
    w.shell = dict_shard_find(w.shard, &name);
  }
  if (status == MNEME_NOT_FOUND) {
    commit_locked(&w, &name, done, ctx);
  } else {
    dict_unlock(w.shard);
    if (status == MNEME_OK)
      dict_answer_send(answer, write->ns, write->session, done, ctx);
    else
      done(status, NULL, ctx);
    dict_answer_unref(answer);
  }
  if (w.refs != w.refs_few) free(w.refs);
  if (w.notes != w.notes_few) free(w.notes);
  while (w.kept != NULL) {
    dict_kept *next = w.kept->next;
    free(w.kept);
    w.kept = next;
  }
}

void dict_request_get(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                      mneme_written_fn done, void *ctx) {
  dict_name name;
  dict_answer *answer = NULL;
  bool lapsed;
  mneme_status status = MNEME_NOT_FOUND;
  if (dict_name_make(&name, write->ns, write->session, store->seed)) {
    dict_shard *shard = dict_shard_of(store, &name);
    dict_lock(shard);
    const dict_shell *shell = dict_shard_find(shard, &name);
    if (shell != NULL)
      status = recall(shell, write, request_hash(store, write->request_id), call->now_us,
                      &answer, &lapsed);
    dict_unlock(shard);
  }
  if (status == MNEME_OK)
    dict_answer_send(answer, write->ns, write->session, done, ctx);
  else
    done(status, NULL, ctx);
  dict_answer_unref(answer);
}
