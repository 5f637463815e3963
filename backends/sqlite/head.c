/* Sessions as the writer's transaction has them. The writer alone writes, so a row
 * that it has read once it need not read again; and a session that gets ten commits
 * in one transaction is written once, before COMMIT (flush).
 *
 *   buckets (hash of ns, session) -> head -> head
 *   newest <-> .. <-> oldest      beyond the limits the oldest are forgotten
 *   dirty -> head -> head         to be written; on ROLLBACK forgotten
 *
 * Answers point to a head's settings, so heads are forgotten between batches only,
 * and settings that a commit replaces are retired until the batch is over. */
#include "writer.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* --- Settings --------------------------------------------------------------- */

sq_settings *sq_settings_new(mneme_bytes bytes) {
  sq_settings *settings = malloc(sizeof *settings + bytes.size);
  if (settings == NULL) return NULL;
  atomic_init(&settings->refs, 1);
  settings->next = NULL;
  settings->size = bytes.size;
  if (bytes.size != 0) memcpy(settings->data, bytes.data, bytes.size);
  return settings;
}

sq_settings *sq_settings_ref(sq_settings *settings) {
  if (settings != NULL) atomic_fetch_add_explicit(&settings->refs, 1, memory_order_relaxed);
  return settings;
}

void sq_settings_unref(sq_settings *settings) {
  if (settings != NULL && atomic_fetch_sub(&settings->refs, 1) == 1) free(settings);
}

/* --- States ------------------------------------------------------------------ */

void sq_state_read(sq_sql *q, sq_state *s) {
  memset(s, 0, sizeof *s);
  s->slot = sq_col_int(q);
  s->live = !sq_col_is_null(q);
  s->shelf = sq_col_int(q);
  s->life = sq_col_int(q);
  mneme_bytes uid = sq_col_bytes(q);
  if (uid.size == sizeof s->uid.bytes) memcpy(s->uid.bytes, uid.data, uid.size);
  s->revision = sq_col_int(q);
  s->settings_revision = sq_col_int(q);
  s->last_sequence = sq_col_int(q);
  s->last_create_us = sq_col_int(q);
  s->mutations = sq_col_int(q);
  s->log_from = sq_col_int(q);
  s->all = (sq_count){sq_col_int(q), 0, 0};
  s->all.tokens = sq_col_int(q);
  s->all.bytes = sq_col_int(q);
  s->pinned.memories = sq_col_int(q);
  s->pinned.tokens = sq_col_int(q);
  s->system.memories = sq_col_int(q);
  s->system.tokens = sq_col_int(q);
  s->create_us = sq_col_int(q);
  s->update_us = sq_col_int(q);
  s->append_us = sq_col_int(q);
  s->expire_us = sq_col_int(q);
  s->max_age_us = sq_col_int(q);
  s->keep_system = sq_col_int(q) != 0;
  s->ranked = sq_col_int(q) != 0;
  bool never = sq_col_is_null(q);
  s->due_us = sq_col_int(q);
  if (never) s->due_us = INT64_MAX;
  s->stamp = sq_col_int(q);
  s->version = sq_col_int(q);
  s->request_count = sq_col_int(q);
  s->settings_size = sq_col_int(q);
}

/* The first columns of SQ_STATE_COLUMNS, up to where the indexed ones begin. */
static void bind_state(sq_sql *q, const sq_head *head) {
  const sq_state *s = &head->s;
  sq_sql_int(q, s->slot);
  sq_sql_int_or_null(q, s->shelf, !s->live);
  sq_sql_int_or_null(q, s->life, !s->live);
  sq_sql_blob(q, mneme_bytes_of((const char *)s->uid.bytes, sizeof s->uid.bytes));
  sq_sql_int(q, s->revision);
  sq_sql_int(q, s->settings_revision);
  sq_sql_int(q, s->last_sequence);
  sq_sql_int(q, s->last_create_us);
  sq_sql_int(q, s->mutations);
  sq_sql_int(q, s->log_from);
  sq_sql_int(q, s->all.memories);
  sq_sql_int(q, s->all.tokens);
  sq_sql_int(q, s->all.bytes);
  sq_sql_int(q, s->pinned.memories);
  sq_sql_int(q, s->pinned.tokens);
  sq_sql_int(q, s->system.memories);
  sq_sql_int(q, s->system.tokens);
  sq_sql_int(q, s->create_us);
  sq_sql_int(q, s->update_us);
  sq_sql_int(q, s->append_us);
  sq_sql_int(q, s->expire_us);
  sq_sql_int(q, s->max_age_us);
  sq_sql_int(q, s->keep_system);
  sq_sql_int(q, s->ranked);
}

static void bind_rest(sq_sql *q, const sq_head *head) {
  sq_sql_int(q, head->s.version);
  sq_sql_int(q, head->s.request_count);
  sq_sql_int(q, head->s.settings_size);
}

void sq_state_header(const sq_state *s, mneme_bytes ns, mneme_bytes session,
                     mneme_bytes settings, mneme_header *ret_header) {
  *ret_header = (mneme_header){
      .ns = ns,
      .session = session,
      .uid = s->uid,
      .revision = s->revision,
      .settings_revision = s->settings_revision,
      .last_sequence = s->last_sequence,
      .mutations = s->mutations,
      .create_us = s->create_us,
      .update_us = s->update_us,
      .append_us = s->append_us,
      .expire_us = s->expire_us,
      .max_age_us = s->max_age_us,
      .keep_system = s->keep_system,
      .settings = settings,
  };
}

void sq_state_clear(sq_state *s) {
  *s = (sq_state){.slot = s->slot,
                  .stamp = s->stamp,
                  .version = s->version,
                  .request_count = s->request_count,
                  .due_us = INT64_MAX};
}

/* --- The map ----------------------------------------------------------------- */

bool sq_heads_init(sq_heads *heads) {
  *heads = (sq_heads){.buckets = calloc(SQ_HEADS_MAX, sizeof *heads->buckets)};
  return heads->buckets != NULL;
}

void sq_head_forget_lapses(sq_head *head) {
  free(head->lapses);
  head->lapses = NULL;
  head->lapse_at = head->lapse_count = 0;
}

static void count_cost(sq_heads *heads, sq_head *head) {
  heads->cost -= head->cost;
  head->cost = (head->settings != NULL ? head->settings->size : 0) +
               (head->lapses != NULL ? SQ_FORGET_FIRST * sizeof *head->lapses : 0);
  heads->cost += head->cost;
}

static void forget(sq_heads *heads, sq_head *head) {
  sq_head **at = &heads->buckets[head->hash % SQ_HEADS_MAX];
  while (*at != head) at = &(*at)->chain;
  *at = head->chain;
  *(head->newer != NULL ? &head->newer->older : &heads->newest) = head->older;
  *(head->older != NULL ? &head->older->newer : &heads->oldest) = head->newer;
  heads->count--;
  heads->cost -= head->cost;
  sq_head_forget_lapses(head);
  sq_settings_unref(head->settings);
  free(head);
}

void sq_heads_forget(sq_writer *w) {
  while (w->heads.newest != NULL) forget(&w->heads, w->heads.newest);
  w->heads.dirty = NULL;
}

void sq_heads_free(sq_heads *heads) {
  while (heads->newest != NULL) forget(heads, heads->newest);
  free(heads->buckets);
  heads->buckets = NULL;
}

void sq_heads_trim(sq_writer *w) {
  while (w->heads.count > SQ_HEADS_MAX || w->heads.cost > SQ_HEADS_BYTES)
    forget(&w->heads, w->heads.oldest);
}

static uint64_t hash_of(mneme_bytes ns, mneme_bytes session) {
  return XXH3_64bits_withSeed(session.data, session.size, XXH3_64bits(ns.data, ns.size));
}

static void link_newest(sq_heads *heads, sq_head *head) {
  head->older = heads->newest;
  head->newer = NULL;
  *(heads->newest != NULL ? &heads->newest->newer : &heads->oldest) = head;
  heads->newest = head;
}

static void use(sq_heads *heads, sq_head *head) {
  if (heads->newest == head) return;
  head->newer->older = head->older;
  *(head->older != NULL ? &head->older->newer : &heads->oldest) = head->newer;
  link_newest(heads, head);
}

static mneme_status load_settings(sq_conn *conn, sq_head *head) {
  if (head->s.settings_size == 0) return MNEME_OK;
  sq_sql q = sq_sql_begin(conn, SQ_SETTINGS_GET);
  sq_sql_int(&q, head->s.slot);
  bool found = sq_sql_next(&q);
  if (found) head->settings = sq_settings_new(sq_col_bytes(&q));
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK) return status;
  if (!found) return MNEME_CORRUPT;
  return head->settings != NULL ? MNEME_OK : MNEME_NO_MEMORY;
}

static mneme_status load(sq_conn *conn, sq_head *head) {
  sq_sql q = sq_sql_begin(conn, SQ_STATE_FIND);
  sq_sql_text(&q, sq_head_ns(head));
  sq_sql_text(&q, sq_head_session(head));
  if (sq_sql_next(&q)) sq_state_read(&q, &head->s);
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK) return status;
  if (head->s.slot == 0) head->s.due_us = INT64_MAX;
  head->row_slot = head->s.slot;
  head->row_stamp = head->s.stamp;
  head->row_due_us = head->s.due_us;
  head->s.loose_from = 1;
  return load_settings(conn, head);
}

mneme_status sq_head_find(sq_writer *w, mneme_bytes ns, mneme_bytes session, sq_head **ret_head) {
  sq_heads *heads = &w->heads;
  uint64_t hash = hash_of(ns, session);
  sq_head **bucket = &heads->buckets[hash % SQ_HEADS_MAX];
  for (sq_head *head = *bucket; head != NULL; head = head->chain) {
    if (head->hash != hash || !mneme_bytes_equal(sq_head_ns(head), ns) ||
        !mneme_bytes_equal(sq_head_session(head), session))
      continue;
    use(heads, head);
    *ret_head = head;
    return MNEME_OK;
  }
  sq_head *head = calloc(1, sizeof *head + ns.size + session.size);
  if (head == NULL) return MNEME_NO_MEMORY;
  char *at = head->names;
  mneme_bytes_put(&at, ns);
  mneme_bytes_put(&at, session);
  head->hash = hash;
  head->ns_size = (uint16_t)ns.size;
  head->session_size = (uint16_t)session.size;
  mneme_status status = load(&w->conn, head);
  if (status != MNEME_OK) {
    sq_settings_unref(head->settings);
    free(head);
    return status;
  }
  head->chain = *bucket;
  *bucket = head;
  link_newest(heads, head);
  heads->count++;
  count_cost(heads, head);
  *ret_head = head;
  return MNEME_OK;
}

/* --- Writing rows ------------------------------------------------------------- */

void sq_head_touch(sq_writer *w, sq_head *head) {
  w->wrote = true;
  if (head->dirty) return;
  head->dirty = true;
  head->next_dirty = w->heads.dirty;
  w->heads.dirty = head;
}

static mneme_status run_on_slot(sq_conn *conn, sq_id id, int64_t slot) {
  sq_sql q = sq_sql_begin(conn, id);
  sq_sql_int(&q, slot);
  return sq_sql_run(&q);
}

static mneme_status insert_row(sq_conn *conn, const sq_head *head) {
  sq_sql q = sq_sql_begin(conn, SQ_STATE_INSERT);
  sq_sql_text(&q, sq_head_ns(head));
  sq_sql_text(&q, sq_head_session(head));
  bind_state(&q, head);
  sq_sql_int_or_null(&q, head->s.due_us, head->s.due_us == INT64_MAX);
  sq_sql_int_or_null(&q, head->s.stamp, head->s.stamp == 0 || !head->s.live);
  bind_rest(&q, head);
  return sq_sql_run(&q);
}

static mneme_status update_row(sq_conn *conn, const sq_head *head) {
  const sq_state *s = &head->s;
  int64_t stamp = s->live ? s->stamp : 0;
  bool quiet = stamp == head->row_stamp;
  sq_sql q = sq_sql_begin(conn, quiet ? SQ_STATE_UPDATE_QUIETLY : SQ_STATE_UPDATE);
  bind_state(&q, head);
  bind_rest(&q, head);
  if (!quiet) sq_sql_int_or_null(&q, stamp, stamp == 0);
  mneme_status status = sq_sql_run(&q);
  if (status != MNEME_OK || s->due_us == head->row_due_us) return status;
  q = sq_sql_begin(conn, SQ_STATE_DUE);
  sq_sql_int(&q, s->slot);
  sq_sql_int_or_null(&q, s->due_us, s->due_us == INT64_MAX);
  return sq_sql_run(&q);
}

static mneme_status write_settings(sq_conn *conn, const sq_head *head) {
  if (head->settings == NULL)
    return head->row_slot == 0 ? MNEME_OK : run_on_slot(conn, SQ_SETTINGS_DELETE, head->s.slot);
  sq_sql q = sq_sql_begin(conn, SQ_SETTINGS_PUT);
  sq_sql_int(&q, head->s.slot);
  sq_sql_blob(&q, mneme_bytes_of(head->settings->data, head->settings->size));
  return sq_sql_run(&q);
}

static mneme_status flush(sq_conn *conn, sq_head *head) {
  sq_state *s = &head->s;
  mneme_status status = MNEME_OK;
  bool kept = s->live || s->request_count > 0;
  if (s->slot == 0 || (head->row_slot == 0 && !kept)) return MNEME_OK;
  if (head->new_settings) status = write_settings(conn, head);
  if (status != MNEME_OK) return status;
  head->new_settings = false;
  if (!kept) {
    status = run_on_slot(conn, SQ_STATE_DELETE, s->slot);
    if (status == MNEME_OK) s->slot = head->row_slot = 0;
  } else if (head->row_slot == 0) {
    status = insert_row(conn, head);
    if (status == MNEME_OK) head->row_slot = s->slot;
  } else {
    status = update_row(conn, head);
  }
  head->row_stamp = s->live ? s->stamp : 0;
  head->row_due_us = s->due_us;
  return status;
}

mneme_status sq_heads_flush(sq_writer *w) {
  mneme_status status = MNEME_OK;
  for (sq_head *head = w->heads.dirty; head != NULL && status == MNEME_OK; head = head->next_dirty)
    status = flush(&w->conn, head);
  return status;
}

void sq_heads_committed(sq_writer *w) {
  for (sq_head *head = w->heads.dirty, *next; head != NULL; head = next) {
    next = head->next_dirty;
    head->dirty = false;
    head->next_dirty = NULL;
    count_cost(&w->heads, head);
  }
  w->heads.dirty = NULL;
}

void sq_heads_rolled_back(sq_writer *w) {
  for (sq_head *head = w->heads.dirty, *next; head != NULL; head = next) {
    next = head->next_dirty;
    forget(&w->heads, head);
  }
  w->heads.dirty = NULL;
}
