/* What is not a commit: meta values, ping, trim, and the purge of what is buried. */
#include "reads.h"
#include "writer.h"

#include "bytes.h"

#include <string.h>

/* --- Ping ------------------------------------------------------------------------ */

static mneme_status ask(mneme_backend *store, const mneme_call *call) {
  static const mneme_status answers[] = {MNEME_OK, MNEME_DOWN, MNEME_DOWN, MNEME_CORRUPT};
  mneme_status status = answers[atomic_load(&store->health)];
  sq_conn *conn = NULL;
  if (status == MNEME_OK) status = sq_pool_take(store, call, &conn);
  if (status != MNEME_OK) return status;
  sq_sql q = sq_sql_begin(conn, SQ_PING);
  status = sq_sql_run(&q);
  sq_pool_give(store, conn, status);
  return status;
}

void sq_ping(mneme_backend *store, const mneme_call *call, mneme_done_fn done, void *ctx) {
  done(ask(store, call), ctx);
}

/* --- Meta ------------------------------------------------------------------------- */

static mneme_status find_meta(sq_conn *conn, sq_arena *arena, mneme_bytes key,
                              mneme_bytes *ret_value) {
  mneme_bytes value = {0};
  bool copied = true;
  sq_sql q = sq_sql_begin(conn, SQ_META_GET);
  sq_sql_text(&q, key);
  if (sq_sql_next(&q)) {
    value = sq_col_bytes(&q);
    copied = sq_arena_copy(arena, &value);
  }
  mneme_status status = sq_sql_end(&q);
  if (status == MNEME_OK && !copied) status = MNEME_NO_MEMORY;
  if (status == MNEME_OK) *ret_value = value;
  return status;
}

void sq_meta_get(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                 mneme_meta_fn done, void *ctx) {
  sq_conn *conn;
  sq_arena arena = {0};
  mneme_bytes value = {0};
  mneme_status status = sq_pool_take(store, call, &conn);
  if (status == MNEME_OK) {
    status = find_meta(conn, &arena, key, &value);
    sq_pool_give(store, conn, status);
  }
  done(status, value, ctx);
  sq_arena_free(&arena);
}

void sq_meta_put(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                 mneme_bytes expected, mneme_bytes value, mneme_meta_fn done, void *ctx) {
  if (key.size == 0 || key.size > MNEME_META_KEY_MAX || value.size > MNEME_META_VALUE_MAX) {
    done(MNEME_INVALID, (mneme_bytes){0}, ctx);
    return;
  }
  const sq_job job = {.kind = SQ_JOB_META,
                      .call = call,
                      .ctx = ctx,
                      .as.meta = {.key = key, .expected = expected, .value = value, .done = done}};
  if (!sq_ring_push(&store->ring, &job)) done(MNEME_BUSY, (mneme_bytes){0}, ctx);
}

static mneme_status put_meta(sq_writer *w, mneme_bytes key, mneme_bytes value) {
  sq_sql q = sq_sql_begin(&w->conn, value.size != 0 ? SQ_META_PUT : SQ_META_DELETE);
  sq_sql_text(&q, key);
  if (value.size != 0) sq_sql_blob(&q, value);
  w->wrote = true;
  return sq_sql_run(&q);
}

/* An empty value is an absent one. */
void sq_meta_run(sq_writer *w, const sq_job *job, sq_result *r) {
  mneme_bytes key = job->as.meta.key, value = job->as.meta.value;
  *r = (sq_result){.status = MNEME_OK};
  r->status = find_meta(&w->conn, &w->arena, key, &r->meta);
  if (r->status != MNEME_OK) return;
  if (!mneme_bytes_equal(r->meta, job->as.meta.expected)) {
    r->status = MNEME_CONFLICT;
    return;
  }
  r->status = put_meta(w, key, value);
  r->meta = value;
}

/* --- due_us that was too early ------------------------------------------------------- */

void sq_due_run(sq_writer *w, const sq_job *job, sq_result *r) {
  const sq_due_list *list = job->as.due.list;
  *r = (sq_result){.status = MNEME_OK};
  for (size_t i = 0; i < list->count && r->status == MNEME_OK; i++) {
    const char *names = list->sessions[i].names;
    sq_head *head;
    int64_t due_us = INT64_MAX;
    r->status = sq_head_find(
        w, mneme_bytes_of(names, list->sessions[i].ns_size),
        mneme_bytes_of(names + list->sessions[i].ns_size, list->sessions[i].session_size), &head);
    if (r->status != MNEME_OK || !head->s.live) continue;
    r->status = sq_state_due(&w->conn, &w->arena, &head->s, &due_us);
    if (r->status != MNEME_OK || due_us == head->row_due_us) continue;
    head->s.due_us = due_us;
    sq_head_touch(w, head);
  }
}

/* --- The purge --------------------------------------------------------------------------- */

static mneme_status purge_rows(sq_writer *w, sq_id id, int64_t shelf, int64_t *left) {
  sq_sql q = sq_sql_begin(&w->conn, id);
  sq_sql_int(&q, shelf);
  sq_sql_int(&q, *left);
  mneme_status status = sq_sql_run(&q);
  if (status == MNEME_OK) *left -= sqlite3_changes64(w->conn.db);
  return status;
}

mneme_status sq_purge_some(sq_writer *w) {
  int64_t left = SQ_PURGE_ROWS;
  mneme_status status = MNEME_OK;
  w->wrote = true;
  while (left > 0 && status == MNEME_OK) {
    int64_t shelf = 0;
    bool with_log = false;
    sq_sql q = sq_sql_begin(&w->conn, SQ_GRAVE_FIRST);
    bool found = sq_sql_next(&q);
    if (found) {
      shelf = sq_col_int(&q);
      with_log = sq_col_int(&q) != 0;
    }
    status = sq_sql_end(&q);
    if (!found) {
      w->graves = false;
      break;
    }
    if (status == MNEME_OK) status = purge_rows(w, SQ_GRAVE_MEMORIES, shelf, &left);
    if (status == MNEME_OK && with_log && left > 0)
      status = purge_rows(w, SQ_GRAVE_LOG, shelf, &left);
    if (status != MNEME_OK || left <= 0) break; /* there may be more of it */
    q = sq_sql_begin(&w->conn, SQ_GRAVE_DELETE);
    sq_sql_int(&q, shelf);
    status = sq_sql_run(&q);
    left--;
  }
  return status;
}

/* --- Trim ---------------------------------------------------------------------------- */

void sq_trim(mneme_backend *store, const mneme_call *call, int64_t rows, bool *ret_more,
             mneme_done_fn done, void *ctx) {
  const sq_job job = {.kind = SQ_JOB_TRIM,
                      .call = call,
                      .ctx = ctx,
                      .as.trim = {.rows = rows, .ret_more = ret_more, .done = done}};
  if (!sq_ring_push(&store->ring, &job)) done(MNEME_BUSY, ctx);
}

/* The session of a slot loses one of its request_ids. */
static mneme_status forget_request(sq_writer *w, int64_t slot, int64_t row) {
  sq_head *head = NULL;
  mneme_bytes ns = {0}, session = {0};
  sq_sql q = sq_sql_begin(&w->conn, SQ_NAME_OF_SLOT);
  sq_sql_int(&q, slot);
  bool found = sq_sql_next(&q), copied = true;
  if (found) {
    ns = sq_col_bytes(&q);
    session = sq_col_bytes(&q);
    copied = sq_arena_copy(&w->arena, &ns) && sq_arena_copy(&w->arena, &session);
  }
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK || !copied) return status != MNEME_OK ? status : MNEME_NO_MEMORY;
  if (!found) return MNEME_CORRUPT;
  status = sq_head_find(w, ns, session, &head);
  if (status != MNEME_OK) return status;
  q = sq_sql_begin(&w->conn, SQ_REQUEST_DELETE);
  sq_sql_int(&q, row);
  status = sq_sql_run(&q);
  if (status != MNEME_OK) return status;
  head->s.request_count--;
  sq_head_forget_lapses(head);
  sq_head_touch(w, head);
  return MNEME_OK;
}

typedef struct lapsed {
  int64_t row, slot;
} lapsed;

/* Up to max of them: they are deleted when none is being read. */
static mneme_status find_lapsed(sq_writer *w, int64_t now_us, lapsed *ret_list, int64_t max,
                                int64_t *ret_count) {
  int64_t count = 0;
  sq_sql q = sq_sql_begin(&w->conn, SQ_REQUEST_LAPSED);
  sq_sql_int(&q, now_us);
  sq_sql_int(&q, max);
  while (count < max && sq_sql_next(&q)) {
    ret_list[count].row = sq_col_int(&q);
    ret_list[count++].slot = sq_col_int(&q);
  }
  *ret_count = count;
  return sq_sql_end(&q);
}

/* Old log entries go with the commit that makes them too many, so what is left are
 * request_ids and graves. At most SQ_TRIM_ROWS at a time: appends wait behind it. */
void sq_trim_run(sq_writer *w, const sq_job *job, sq_result *r) {
  int64_t max = job->as.trim.rows < SQ_TRIM_ROWS ? job->as.trim.rows : SQ_TRIM_ROWS, count = 0;
  lapsed *list = sq_arena_take(&w->arena, SQ_TRIM_ROWS * sizeof *list);
  *r = (sq_result){.status = list != NULL ? sq_heads_flush(w) : MNEME_NO_MEMORY};
  if (r->status == MNEME_OK && max > 0)
    r->status = find_lapsed(w, job->call->now_us, list, max, &count);
  for (int64_t i = 0; i < count && r->status == MNEME_OK; i++)
    r->status = forget_request(w, list[i].slot, list[i].row);
  if (r->status == MNEME_OK && count < max && w->graves) r->status = sq_purge_some(w);
  r->more = count == max || w->graves;
}
