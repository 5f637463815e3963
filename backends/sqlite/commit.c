/* One commit inside the writer's transaction, with many neighbours.
 *
 *   request_id remembered? ------------------> answer it again
 *   guards 2..5 (from the head) -------------> refuse
 *   one plain append? the counts say whether there is room, the INSERT whether its
 *     names are free ------------------------> done, or nothing written yet
 *   else steps (steps.c), some that have
 *     expired out, room?, evict -------------> ROLLBACK TO, refuse
 *   log, request_id, tombstone, header
 *
 * A savepoint is taken only where a step may refuse after another has written: for
 * writes that append or put, or that have several steps. A refusal leaves the
 * transaction to its neighbours. A failure of the store or of memory does not: then
 * the batch is rolled back, and the writer runs its commits one by one. */
#include "writer.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>

bool sq_is_refusal(mneme_status status) {
  switch (status) {
    case MNEME_NOT_FOUND:
    case MNEME_EXISTS:
    case MNEME_CONFLICT:
    case MNEME_STALE_PLAN:
    case MNEME_REUSED:
    case MNEME_INVALID:
    case MNEME_TOO_BIG:
    case MNEME_UNSUPPORTED:
    case MNEME_SESSION_FULL:
      return true;
    default:
      return false;
  }
}

void sq_writer_retire(sq_writer *w, sq_settings *settings) {
  if (settings == NULL) return;
  settings->next = w->retired;
  w->retired = settings;
}

mneme_status sq_writer_bury(sq_writer *w, int64_t shelf, bool with_log) {
  sq_sql q = sq_sql_begin(&w->conn, SQ_GRAVE_PUT);
  sq_sql_int(&q, shelf);
  sq_sql_int(&q, with_log);
  w->graves = w->wrote = true;
  return sq_sql_run(&q);
}

static mneme_bytes settings_bytes(const sq_settings *settings) {
  return settings != NULL ? mneme_bytes_of(settings->data, settings->size) : (mneme_bytes){0};
}

/* --- Guards --------------------------------------------------------------- */

/* Guard 1: NOT_FOUND, REUSED, or OK with the answer. */
static mneme_status check_request(sq_work *k) {
  const mneme_write *write = k->write;
  if (write->request_id.size == 0 || k->s->request_count == 0) return MNEME_NOT_FOUND;
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_REQUEST_FIND);
  sq_sql_int(&q, k->s->slot);
  sq_sql_text(&q, write->request_id);
  mneme_status found = MNEME_NOT_FOUND;
  mneme_bytes answer = {0};
  if (sq_sql_next(&q)) {
    int64_t row = sq_col_int(&q);
    mneme_bytes fingerprint = sq_col_bytes(&q);
    if (sq_col_int(&q) <= k->now_us) k->lapsed_request = row;
    mneme_bytes expected = mneme_bytes_of((const char *)write->fingerprint, 16);
    if (k->lapsed_request == 0)
      found = mneme_bytes_equal(fingerprint, expected) ? MNEME_OK : MNEME_REUSED;
    answer = sq_col_bytes(&q);
    if (found == MNEME_OK && !sq_arena_copy(&k->w->arena, &answer)) found = MNEME_NO_MEMORY;
  }
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK || found != MNEME_OK) return status != MNEME_OK ? status : found;
  status = sq_answer_read(&k->w->arena, answer, &k->written);
  k->written.header.ns = write->ns;
  k->written.header.session = write->session;
  return status;
}

/* Guards 2 to 5. The sweeper's write meets a lapsed session as if it lived. */
static mneme_status check_guards(sq_work *k) {
  mneme_header header;
  sq_state *s = k->s;
  if (s->live && sq_state_lapsed(s, k->now_us) && !mneme_rule_is_expire(k->write)) {
    k->lapsed = true;
    sq_writer_retire(k->w, k->head->settings);
    k->head->settings = NULL;
    k->head->new_settings = true;
    sq_state_clear(s);
  }
  k->stored = s->live;
  if (!s->live) return mneme_rule_guard(k->write, NULL, &k->conflict_revision);
  k->revision = s->revision + 1;
  sq_state_header(s, k->write->ns, k->write->session, settings_bytes(k->head->settings), &header);
  return mneme_rule_guard(k->write, &header, &k->conflict_revision);
}

/* The plan's view of what is live holds from the first step on. */
static void take_plan(sq_work *k) {
  sq_state *s = k->s;
  const mneme_plan *plan = &k->write->plan;
  k->header_moved = s->max_age_us != plan->max_age_us || s->keep_system != plan->keep_system;
  if (!k->header_moved) return;
  if (s->keep_system != plan->keep_system) {
    s->loose_from = 1;
    s->ranked = false; /* it was made for other protected ones */
  }
  s->max_age_us = plan->max_age_us;
  s->keep_system = plan->keep_system;
  s->dead.known = false;
  s->due_us = 0;
}

static bool may_refuse(const mneme_write *write) {
  return write->step_count > 1 ||
         (write->step_count == 1 && (write->steps->op == MNEME_STEP_APPEND ||
                                     write->steps->op == MNEME_STEP_PUT));
}

static mneme_status run_plain(sq_conn *conn, sq_id id) {
  sq_sql q = sq_sql_begin(conn, id);
  return sq_sql_run(&q);
}

static mneme_status run_steps(sq_work *k) {
  bool saves = may_refuse(k->write);
  mneme_status status = saves ? run_plain(&k->w->conn, SQ_SAVE) : MNEME_OK;
  if (status != MNEME_OK) return status;
  status = sq_work_steps(k);
  if (status == MNEME_OK && k->wrote) status = sq_work_evict(k);
  if (!saves || (status != MNEME_OK && !sq_is_refusal(status))) return status;
  if (status != MNEME_OK) {
    mneme_status restored = run_plain(&k->w->conn, SQ_RESTORE);
    if (restored != MNEME_OK) return restored;
  }
  mneme_status released = run_plain(&k->w->conn, SQ_RELEASE);
  return released != MNEME_OK ? released : status;
}

/* --- The log --------------------------------------------------------------- */

static size_t entries_of(const sq_work *k, const sq_note *note) {
  if (note->incarnation != k->incarnation) return 0;
  return note->kind == SQ_TAKE ? 1 : note->kind == SQ_CLEAR ? note->as.clear.run_count : 0;
}

static mneme_status insert_entry(sq_work *k, const mneme_log_entry *entry) {
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_LOG_INSERT);
  sq_sql_int(&q, k->s->life);
  sq_sql_int(&q, ++k->s->mutations);
  sq_sql_int(&q, k->s->revision);
  sq_sql_int(&q, entry->first);
  sq_sql_int(&q, entry->last);
  sq_sql_int(&q, entry->op);
  return sq_sql_run(&q);
}

/* A commit that finds many more entries than must be kept takes the old ones out. */
static mneme_status trim_log(sq_work *k) {
  sq_state *s = k->s;
  if (s->mutations - s->log_from <= MNEME_LOG_MAX + SQ_LOG_SLACK) return MNEME_OK;
  s->log_from = s->mutations - MNEME_LOG_MAX;
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_LOG_TRIM);
  sq_sql_int(&q, s->life);
  sq_sql_int(&q, s->log_from);
  return sq_sql_run(&q);
}

static mneme_status write_log(sq_work *k, bool *ret_wrote) {
  size_t count = 0;
  for (size_t i = 0; i < k->note_count; i++) count += entries_of(k, &k->notes[i]);
  if (count == 0) return MNEME_OK;
  mneme_log_entry *entries = sq_arena_take(&k->w->arena, count * sizeof *entries);
  if (entries == NULL) return MNEME_NO_MEMORY;
  count = 0;
  for (size_t i = 0; i < k->note_count; i++) {
    const sq_note *note = &k->notes[i];
    size_t more = entries_of(k, note);
    for (size_t j = 0; j < more; j++) {
      mneme_log_entry one = {.first = note->sequence, .last = note->sequence};
      if (note->kind == SQ_CLEAR) one = note->as.clear.runs[j];
      one.op = note->log_op;
      entries[count++] = one;
    }
  }
  count = mneme_rule_merge_log(entries, count);
  mneme_status status = MNEME_OK;
  for (size_t i = 0; i < count && status == MNEME_OK; i++) status = insert_entry(k, &entries[i]);
  *ret_wrote = true;
  return status == MNEME_OK ? trim_log(k) : status;
}

/* --- request_ids -------------------------------------------------------------- */

static mneme_status delete_request(sq_work *k, int64_t row) {
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_REQUEST_DELETE);
  sq_sql_int(&q, row);
  mneme_status status = sq_sql_run(&q);
  if (status == MNEME_OK) k->s->request_count -= sqlite3_changes64(k->w->conn.db);
  return status;
}

/* Reads which of a full session's request_ids lapse first, some at a time: sorting
 * them all for each that is forgotten would take milliseconds. */
static mneme_status find_lapses(sq_work *k) {
  sq_head *head = k->head;
  sq_head_forget_lapses(head);
  head->lapses = malloc(SQ_FORGET_FIRST * sizeof *head->lapses);
  if (head->lapses == NULL) return MNEME_NO_MEMORY;
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_REQUEST_FIRST);
  sq_sql_int(&q, k->s->slot);
  sq_sql_int(&q, SQ_FORGET_FIRST);
  while (head->lapse_count < SQ_FORGET_FIRST && sq_sql_next(&q)) {
    sq_lapse *lapse = &head->lapses[head->lapse_count++];
    lapse->expire_us = sq_col_int(&q);
    lapse->row = sq_col_int(&q);
  }
  return sq_sql_end(&q);
}

static mneme_status forget_first(sq_work *k) {
  sq_head *head = k->head;
  mneme_status status = MNEME_OK;
  if (head->lapse_at == head->lapse_count) status = find_lapses(k);
  if (status != MNEME_OK || head->lapse_count == 0) return status;
  return delete_request(k, head->lapses[head->lapse_at++].row);
}

static mneme_status remember(sq_work *k) {
  const mneme_write *write = k->write;
  sq_head *head = k->head;
  mneme_bytes answer;
  mneme_status status = MNEME_OK;
  if (k->lapsed_request != 0) {
    status = delete_request(k, k->lapsed_request);
    sq_head_forget_lapses(head);
  }
  if (status == MNEME_OK && k->s->request_count >= MNEME_REQUEST_IDS_MAX)
    status = forget_first(k);
  if (status == MNEME_OK) status = sq_answer_write(&k->w->arena, &k->written, &answer);
  if (status != MNEME_OK) return status;
  if (k->s->slot == 0) k->s->slot = ++k->w->last_slot;
  int64_t expire_us = mneme_rule_add(k->now_us, write->window_us);
  sq_sql q = sq_sql_begin(&k->w->conn, SQ_REQUEST_PUT);
  sq_sql_int(&q, k->s->slot);
  sq_sql_text(&q, write->request_id);
  sq_sql_blob(&q, mneme_bytes_of((const char *)write->fingerprint, sizeof write->fingerprint));
  sq_sql_int(&q, expire_us);
  sq_sql_blob(&q, answer);
  status = sq_sql_run(&q);
  k->s->request_count++;
  /* It would stand among those that were read. */
  if (head->lapse_count != 0 && expire_us < head->lapses[head->lapse_count - 1].expire_us)
    sq_head_forget_lapses(head);
  return status;
}

/* --- What has gone -------------------------------------------------------------- */

static mneme_status compact_tombstones(sq_writer *w) {
  int64_t stamp = 0;
  sq_sql q = sq_sql_begin(&w->conn, SQ_TOMBSTONE_FIRST);
  if (sq_sql_next(&q)) stamp = sq_col_int(&q);
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK) return status;
  q = sq_sql_begin(&w->conn, SQ_TOMBSTONE_DELETE);
  sq_sql_int(&q, stamp);
  status = sq_sql_run(&q);
  if (status != MNEME_OK) return status;
  w->tombstones--;
  q = sq_sql_begin(&w->conn, SQ_COMPACT);
  sq_sql_int(&q, stamp);
  return sq_sql_run(&q);
}

/* The incarnation that was there before: its memories and its log are buried, and
 * changes() will tell. */
static mneme_status bury_saved(sq_work *k) {
  sq_writer *w = k->w;
  mneme_status status = sq_writer_bury(w, k->saved.shelf, false);
  if (status == MNEME_OK) status = sq_writer_bury(w, k->saved.life, true);
  if (status != MNEME_OK) return status;
  sq_sql q = sq_sql_begin(&w->conn, SQ_TOMBSTONE_PUT);
  sq_sql_int(&q, ++w->stamp);
  sq_sql_text(&q, k->write->ns);
  sq_sql_text(&q, k->write->session);
  sq_sql_blob(&q, mneme_bytes_of((const char *)k->saved.uid.bytes, sizeof k->saved.uid.bytes));
  status = sq_sql_run(&q);
  if (status != MNEME_OK) return status;
  w->tombstones++;
  return w->tombstones > SQ_TOMBSTONES_MAX ? compact_tombstones(w) : MNEME_OK;
}

/* --- The end --------------------------------------------------------------------- */

/* Everything as it was, in memory. The savepoint has seen to the tables, or the
 * whole transaction is about to go. */
static void restore(sq_work *k) {
  sq_writer *w = k->w;
  sq_head *head = k->head;
  if (head->settings != k->saved_settings) sq_settings_unref(head->settings);
  while (w->retired != k->saved_retired) {
    sq_settings *retired = w->retired;
    w->retired = retired->next;
    if (retired != k->saved_settings) sq_settings_unref(retired);
  }
  head->settings = k->saved_settings;
  head->new_settings = k->saved_new_settings;
  head->s = k->saved;
}

/* The header as it will be, but for the log's count. */
static void settle_head(sq_work *k) {
  sq_state *s = k->s;
  if (!s->live) return;
  if (k->changed) {
    s->revision = k->revision;
    s->update_us = k->now_us;
  }
  if (k->wrote) s->append_us = k->now_us;
  if (!k->wrote && !k->set) return;
  s->expire_us = mneme_rule_session_expiry(&k->write->plan, s->create_us, s->append_us);
  if (s->expire_us != 0 && s->expire_us < s->due_us) s->due_us = s->expire_us;
}

static int compare_sequence(const void *a, const void *b) {
  int64_t x = ((const mneme_record *)a)->sequence, y = ((const mneme_record *)b)->sequence;
  return x < y ? -1 : x > y;
}

static mneme_status settle_header(sq_work *k) {
  sq_state *s = k->s;
  sq_count live;
  mneme_status status = MNEME_OK;
  if (!s->live) return MNEME_OK;
  if (s->due_us <= k->now_us) {
    status = sq_state_due(&k->w->conn, &k->w->arena, s, &s->due_us);
    if (status != MNEME_OK) return status;
  }
  status = sq_state_live(&k->w->conn, s, k->now_us, &live);
  if (status != MNEME_OK) return status;
  mneme_header *h = &k->written.header;
  sq_state_header(s, k->write->ns, k->write->session, settings_bytes(k->head->settings), h);
  h->memory_count = live.memories;
  h->token_count = live.tokens;
  h->byte_count = live.bytes;
  return MNEME_OK;
}

/* After the steps: nothing refuses any more, though the store may fail. */
static mneme_status finish(sq_work *k) {
  sq_state *s = k->s;
  mneme_written *written = &k->written;
  bool remembers = k->write->request_id.size != 0 && k->write->window_us > 0;
  bool logged = false;
  mneme_status status = MNEME_OK;

  settle_head(k);
  if (k->stored && (!s->live || s->life != k->saved.life)) status = bury_saved(k);
  if (k->lapsed && s->live) status = bury_saved(k);
  if (status == MNEME_OK && s->live) status = write_log(k, &logged);
  if (status == MNEME_OK) status = settle_header(k);
  if (status != MNEME_OK) return status;

  written->existed = k->stored && !mneme_rule_expired(k->saved.expire_us, k->now_us);
  written->refs = k->refs;
  if (k->removed_count != 0) {
    qsort(k->removed, k->removed_count, sizeof *k->removed, compare_sequence);
    written->removed = k->removed;
    written->removed_count_listed = k->removed_count;
  }
  if (k->lapsed && !s->live) { /* it stays as it is, until somebody sweeps */
    int64_t slot = s->slot;
    restore(k);
    s->slot = slot;
    k->incarnation = 0; /* whatever was between has come and gone */
    k->changed = k->header_moved = false;
    k->note_count = 0;
  }
  if (remembers) status = remember(k);
  bool moved = k->incarnation != 0 || k->changed || logged || k->header_moved;
  if (s->live && moved) s->stamp = ++k->w->stamp;
  if (moved || k->note_count != 0) s->version++;
  if (moved || k->note_count != 0 || remembers) sq_head_touch(k->w, k->head);
  return status;
}

/* --- The operation ------------------------------------------------------------------ */

static size_t count_refs(const mneme_write *write) {
  size_t count = 0;
  for (size_t i = 0; i < write->step_count; i++)
    if (write->steps[i].op == MNEME_STEP_APPEND || write->steps[i].op == MNEME_STEP_PUT)
      count += write->steps[i].record_count;
  return count;
}

static mneme_status do_work(sq_work *k) {
  bool done = false;
  mneme_status status = check_guards(k);
  if (status != MNEME_OK) return status;
  if (k->stored && !mneme_rule_is_expire(k->write)) take_plan(k);
  status = sq_work_append_plainly(k, &done);
  if (status == MNEME_OK && !done) status = run_steps(k);
  return status == MNEME_OK ? finish(k) : status;
}

/* What a refusal shows: the session as it is. */
static mneme_status show_current(sq_work *k, sq_result *r) {
  sq_state *s = k->s;
  sq_count live;
  r->written = (mneme_written){.conflict_revision = k->conflict_revision};
  if (!s->live || sq_state_lapsed(s, k->now_us)) return MNEME_OK;
  mneme_status status = sq_state_live(&k->w->conn, s, k->now_us, &live);
  if (status != MNEME_OK) return status;
  mneme_header *h = &r->written.header;
  sq_state_header(s, k->write->ns, k->write->session, settings_bytes(k->head->settings), h);
  h->memory_count = live.memories;
  h->token_count = live.tokens;
  h->byte_count = live.bytes;
  return MNEME_OK;
}

/* What the tails need to know of a commit that changed something. */
static void note_change(sq_work *k, sq_result *r) {
  size_t from = k->note_count;
  if (k->s->version == k->saved.version) return;
  while (from > 0 && k->notes[from - 1].incarnation == k->incarnation) from--;
  r->changed = true;
  r->reborn = k->incarnation != 0;
  r->after = *k->s;
  r->newest = k->s;
  r->version_before = k->saved.version;
  r->last_before = k->saved.last_sequence;
  r->settings = k->head->settings;
  r->notes = k->notes + from;
  r->note_count = k->note_count - from;
}

static mneme_status begin(sq_work *k, const mneme_write *write) {
  if (write->ns.size > MNEME_NAMESPACE_MAX || write->session.size > MNEME_SESSION_MAX ||
      write->request_id.size > MNEME_ID_MAX)
    return MNEME_TOO_BIG;
  mneme_status status = sq_head_find(k->w, write->ns, write->session, &k->head);
  if (status != MNEME_OK) return status;
  k->refs = sq_arena_take(&k->w->arena, count_refs(write) * sizeof *k->refs);
  if (k->refs == NULL) return MNEME_NO_MEMORY;
  k->s = &k->head->s;
  k->saved = k->head->s;
  k->saved_settings = k->head->settings;
  k->saved_new_settings = k->head->new_settings;
  k->saved_retired = k->w->retired;
  return MNEME_OK;
}

void sq_commit_run(sq_writer *w, const mneme_call *call, const mneme_write *write,
                   sq_result *r) {
  sq_work k = {.w = w, .write = write, .now_us = call->now_us};
  *r = (sq_result){.status = begin(&k, write)};
  if (r->status != MNEME_OK) return;
  r->status = check_request(&k);
  if (r->status == MNEME_OK) {
    r->written = k.written;
    r->has_written = true;
  }
  if (r->status != MNEME_NOT_FOUND) return;
  r->status = do_work(&k);
  r->has_written = true;
  if (r->status == MNEME_OK) {
    r->written = k.written;
    note_change(&k, r);
    return;
  }
  restore(&k);
  if (!sq_is_refusal(r->status)) return;
  mneme_status shown = show_current(&k, r);
  if (shown != MNEME_OK) r->status = shown;
}
