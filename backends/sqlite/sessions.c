/* Lists and sums over the sessions of a namespace, each in one snapshot.
 *
 *   BY_ID      walks the index (ns, session) from the cursor on;
 *   BY_UPDATE  looks at all of the namespace that match, since no index keeps them in
 *              that order: each append would have to move its session in it. */
#include "reads.h"
#include "tails.h"

#include "bytes.h"

#include <string.h>

/* The columns behind the state. */
static mneme_bytes read_names(sq_sql *q, mneme_bytes *ret_ns) {
  *ret_ns = sq_col_bytes(q);
  return sq_col_bytes(q);
}

/* --- session_list ------------------------------------------------------------ */

static mneme_bytes start_of(const mneme_session_list *list) {
  bool later = mneme_bytes_compare(list->after_session, list->prefix) > 0;
  return later ? list->after_session : list->prefix;
}

static mneme_status list_by_id(sq_reader *r, const mneme_session_list *list,
                               mneme_header_fn emit, void *ctx) {
  mneme_status status = MNEME_OK;
  bool enough = false;
  int64_t left = list->limit;
  sq_sql q = sq_sql_begin(r->conn, SQ_LIST_BY_ID);
  sq_sql_text(&q, list->ns);
  sq_sql_text(&q, start_of(list));
  while (left > 0 && !enough && status == MNEME_OK && sq_sql_next(&q)) {
    sq_state s;
    mneme_bytes ns;
    status = sq_reader_look(r);
    if (status != MNEME_OK) break;
    sq_state_read(&q, &s);
    mneme_bytes session = read_names(&q, &ns);
    if (!mneme_bytes_begins(session, list->prefix)) break;
    if (list->after_session.size != 0 && mneme_bytes_equal(session, list->after_session)) continue;
    if (!s.live || sq_state_lapsed(&s, r->call->now_us)) continue;
    status = sq_reader_emit(r, &s, ns, session, false, emit, ctx, &enough);
    left--;
  }
  mneme_status ended = sq_sql_end(&q);
  return status != MNEME_OK ? status : ended;
}

static mneme_status list_by_update(sq_reader *r, const mneme_session_list *list,
                                   mneme_header_fn emit, void *ctx) {
  mneme_status status = MNEME_OK;
  bool enough = false;
  char room[MNEME_SESSION_MAX];
  mneme_bytes end = {0};
  sq_end_of_prefix(list->prefix, room, &end);
  sq_sql q = sq_sql_begin(r->conn, SQ_LIST_BY_UPDATE);
  sq_sql_text(&q, list->ns);
  sq_sql_text(&q, list->prefix);
  sq_sql_text_or_null(&q, end);
  sq_sql_int(&q, r->call->now_us);
  sq_sql_int(&q, list->after_session.size != 0);
  sq_sql_int(&q, list->after_update_us);
  sq_sql_text(&q, list->after_session);
  sq_sql_int(&q, list->limit);
  while (!enough && status == MNEME_OK && sq_sql_next(&q)) {
    sq_state s;
    mneme_bytes ns;
    status = sq_reader_look(r);
    if (status != MNEME_OK) break;
    sq_state_read(&q, &s);
    mneme_bytes session = read_names(&q, &ns);
    status = sq_reader_emit(r, &s, ns, session, false, emit, ctx, &enough);
  }
  mneme_status ended = sq_sql_end(&q);
  return status != MNEME_OK ? status : ended;
}

void sq_session_list(mneme_backend *store, const mneme_call *call,
                     const mneme_session_list *list, mneme_header_fn emit, mneme_done_fn done,
                     void *ctx) {
  sq_reader r;
  if (list->after_session.size > MNEME_SESSION_MAX) {
    done(MNEME_INVALID, ctx);
    return;
  }
  if (list->ns.size > MNEME_NAMESPACE_MAX || list->prefix.size > MNEME_SESSION_MAX) {
    done(MNEME_OK, ctx); /* nobody has such a name */
    return;
  }
  mneme_status status = sq_reader_begin(&r, store, call);
  if (status == MNEME_OK) {
    status = list->order == MNEME_SESSIONS_BY_UPDATE ? list_by_update(&r, list, emit, ctx)
                                                     : list_by_id(&r, list, emit, ctx);
    status = sq_reader_end(&r, status);
  }
  done(status, ctx);
}

/* --- stats --------------------------------------------------------------------- */

static mneme_status add_session(sq_reader *r, const sq_state *s, mneme_stats *sum) {
  sq_count live;
  if (!s->live || sq_state_lapsed(s, r->call->now_us)) return MNEME_OK;
  mneme_status status = sq_state_count(r->conn, s, r->call->now_us, &live);
  if (status != MNEME_OK) return status;
  sum->session_count++;
  sum->memory_count += live.memories;
  sum->token_count += live.tokens;
  sum->byte_count += live.bytes;
  return MNEME_OK;
}

static mneme_status add_namespace(sq_reader *r, mneme_bytes ns, mneme_stats *sum) {
  mneme_status status = MNEME_OK;
  sq_sql q = sq_sql_begin(r->conn, SQ_LIST_BY_ID);
  sq_sql_text(&q, ns);
  sq_sql_text(&q, (mneme_bytes){0});
  while (status == MNEME_OK && sq_sql_next(&q)) {
    sq_state s;
    status = sq_reader_look(r);
    if (status != MNEME_OK) break;
    sq_state_read(&q, &s);
    mneme_bytes session = read_names(&q, &ns);
    sq_tails_saw(r->store->tails, ns, session, s.version);
    status = add_session(r, &s, sum);
  }
  mneme_status ended = sq_sql_end(&q);
  return status != MNEME_OK ? status : ended;
}

void sq_stats(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes session,
              mneme_stats_fn done, void *ctx) {
  sq_reader r;
  sq_state s;
  mneme_stats sum = {0};
  if (ns.size > MNEME_NAMESPACE_MAX || session.size > MNEME_SESSION_MAX) {
    done(MNEME_OK, &sum, ctx);
    return;
  }
  mneme_status status = sq_reader_begin(&r, store, call);
  if (status == MNEME_OK) {
    if (session.size == 0) {
      status = add_namespace(&r, ns, &sum);
    } else {
      status = sq_reader_find(&r, ns, session, &s);
      if (status == MNEME_OK) status = add_session(&r, &s, &sum);
      if (status == MNEME_NOT_FOUND) status = MNEME_OK;
    }
    status = sq_reader_end(&r, status);
  }
  done(status, status == MNEME_OK ? &sum : NULL, ctx);
}
