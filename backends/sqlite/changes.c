/* changes and due.
 *
 * changes. Each commit that changes a header gives its session the next stamp; a
 * dropped incarnation leaves a tombstone with one. The writer alone hands them out,
 * and COMMIT makes them visible in order, so in one snapshot the highest stamp covers
 * every commit before it: that is the next cursor, with the store's id in front. The
 * two tables are read side by side, in order of stamp; so who stops early can go on
 * behind the last one that it was told.
 *
 * due. Each session's row has an instant before which nothing in it expires, in an
 * index of its own, so nothing due costs nothing. The instant may be too early (the
 * memory that it was of has gone): such sessions are not told, and the writer gets
 * their names to set them right. */
#include "reads.h"
#include "tails.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

typedef struct cursor {
  int64_t store_id;
  int64_t stamp;
} cursor;

_Static_assert(sizeof(cursor) <= MNEME_CURSOR_MAX, "a cursor fits");

/* --- changes ------------------------------------------------------------------- */

typedef struct telling {
  sq_reader reader;
  mneme_bytes ns;
  mneme_header_fn emit;
  void *ctx;
  bool enough;
  cursor next;
} telling;

/* The newest stamp of this snapshot, and whether the cursor is one of ours that has
 * not been forgotten. */
static mneme_status check_cursor(telling *t, mneme_bytes from, int64_t *ret_after) {
  cursor old = {0};
  int64_t compacted = 0;
  sq_sql q = sq_sql_begin(t->reader.conn, SQ_CURSOR);
  bool found = sq_sql_next(&q);
  if (found) {
    t->next.store_id = sq_col_int(&q);
    compacted = sq_col_int(&q);
    t->next.stamp = sq_col_int(&q);
  }
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK) return status;
  if (!found) return MNEME_CORRUPT;
  if (from.size != 0) {
    if (from.size != sizeof old) return MNEME_COMPACTED;
    memcpy(&old, from.data, sizeof old);
    if (old.store_id != t->next.store_id || old.stamp > t->next.stamp || old.stamp < compacted)
      return MNEME_COMPACTED;
  }
  *ret_after = old.stamp;
  return MNEME_OK;
}

static mneme_status tell_tombstone(telling *t, sq_sql *q, int64_t stamp) {
  mneme_header header = {.ns = t->ns, .deleted = true};
  header.session = sq_col_bytes(q);
  mneme_bytes uid = sq_col_bytes(q);
  if (uid.size != sizeof header.uid.bytes) return MNEME_CORRUPT;
  memcpy(header.uid.bytes, uid.data, uid.size);
  sq_tails_gone(t->reader.store->tails, t->ns, header.session, &header.uid);
  t->enough = t->emit(&header, t->ctx) != 0;
  if (t->enough) t->next.stamp = stamp;
  return MNEME_OK;
}

static mneme_status tell_session(telling *t, sq_sql *q, const sq_state *s) {
  mneme_bytes ns = sq_col_bytes(q), session = sq_col_bytes(q);
  bool lapsed = sq_state_lapsed(s, t->reader.call->now_us);
  mneme_status status =
      sq_reader_emit(&t->reader, s, ns, session, lapsed, t->emit, t->ctx, &t->enough);
  if (t->enough) t->next.stamp = s->stamp;
  return status;
}

static mneme_status tell_all(telling *t, int64_t after) {
  sq_state s;
  mneme_status status = MNEME_OK;
  sq_sql gone = sq_sql_begin(t->reader.conn, SQ_CHANGED_TOMBSTONES);
  sq_sql_int(&gone, after);
  sq_sql_text(&gone, t->ns);
  sq_sql live = sq_sql_begin(t->reader.conn, SQ_CHANGED_SESSIONS);
  sq_sql_int(&live, after);
  sq_sql_text(&live, t->ns);
  bool has_gone = sq_sql_next(&gone), has_live = sq_sql_next(&live);
  int64_t gone_stamp = has_gone ? sq_col_int(&gone) : INT64_MAX;
  if (has_live) sq_state_read(&live, &s);
  while ((has_gone || has_live) && !t->enough && status == MNEME_OK) {
    if (has_gone && (!has_live || gone_stamp < s.stamp)) {
      status = tell_tombstone(t, &gone, gone_stamp);
      has_gone = sq_sql_next(&gone);
      gone_stamp = has_gone ? sq_col_int(&gone) : INT64_MAX;
    } else {
      status = tell_session(t, &live, &s);
      has_live = sq_sql_next(&live);
      if (has_live) sq_state_read(&live, &s);
    }
    if (status == MNEME_OK) status = sq_reader_look(&t->reader);
  }
  mneme_status ended = sq_sql_end(&gone);
  if (status == MNEME_OK) status = ended;
  ended = sq_sql_end(&live);
  return status == MNEME_OK ? ended : status;
}

void sq_changes(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes from,
                mneme_header_fn emit, mneme_cursor_fn done, void *ctx) {
  telling t = {.ns = ns, .emit = emit, .ctx = ctx};
  int64_t after = 0;
  mneme_status status = sq_reader_begin(&t.reader, store, call);
  if (status == MNEME_OK) {
    status = check_cursor(&t, from, &after);
    if (status == MNEME_OK) status = tell_all(&t, after);
    status = sq_reader_end(&t.reader, status);
  }
  mneme_bytes next = mneme_bytes_of((const char *)&t.next, sizeof t.next);
  done(status, status == MNEME_OK ? next : (mneme_bytes){0}, ctx);
}

/* --- due ------------------------------------------------------------------------- */

/* Whether something in it has expired: OK or NOT_FOUND. */
static mneme_status is_due(sq_reader *r, sq_state *s) {
  sq_brief first;
  if (sq_state_lapsed(s, r->call->now_us)) return MNEME_OK;
  mneme_status status = sq_brief_expired(r->conn, &r->arena, s, r->call->now_us, &first);
  sq_arena_clear(&r->arena);
  return status;
}

static void note_early(sq_due_list **list, mneme_bytes ns, mneme_bytes session) {
  if (*list == NULL) *list = calloc(1, sizeof **list);
  sq_due_list *l = *list;
  if (l == NULL || l->count == SQ_DUE_MAX) return;
  char *at = l->sessions[l->count].names;
  l->sessions[l->count].ns_size = (uint16_t)mneme_bytes_put(&at, ns).size;
  l->sessions[l->count++].session_size = (uint16_t)mneme_bytes_put(&at, session).size;
}

static mneme_status tell_due(sq_reader *r, int64_t left, mneme_header_fn emit, void *ctx,
                             sq_due_list **ret_early) {
  mneme_status status = MNEME_OK;
  bool enough = false;
  sq_sql q = sq_sql_begin(r->conn, SQ_DUE);
  sq_sql_int(&q, r->call->now_us);
  while (left > 0 && !enough && status == MNEME_OK && sq_sql_next(&q)) {
    sq_state s;
    sq_state_read(&q, &s);
    mneme_bytes ns = sq_col_bytes(&q), session = sq_col_bytes(&q);
    bool fits = ns.size <= MNEME_NAMESPACE_MAX && session.size <= MNEME_SESSION_MAX;
    status = fits ? is_due(r, &s) : MNEME_CORRUPT;
    if (status == MNEME_NOT_FOUND) {
      note_early(ret_early, ns, session);
      status = sq_reader_look(r);
    } else if (status == MNEME_OK) {
      status = sq_reader_emit(r, &s, ns, session, false, emit, ctx, &enough);
      left--;
      if (status == MNEME_OK) status = sq_reader_look(r);
    }
  }
  mneme_status ended = sq_sql_end(&q);
  return status != MNEME_OK ? status : ended;
}

void sq_due(mneme_backend *store, const mneme_call *call, int64_t limit, mneme_header_fn emit,
            mneme_done_fn done, void *ctx) {
  sq_reader r;
  sq_due_list *early = NULL;
  mneme_status status = sq_reader_begin(&r, store, call);
  if (status == MNEME_OK)
    status = sq_reader_end(&r, tell_due(&r, limit, emit, ctx, &early));
  if (early != NULL) {
    sq_job job = {.kind = SQ_JOB_DUE, .as.due.list = early};
    if (!sq_ring_push(&store->ring, &job)) free(early); /* next time */
  }
  done(status, ctx);
}
