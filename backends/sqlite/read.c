/* Reads of one session. Each runs in a snapshot of a reader's connection, which is
 * given back before done is called. A scan begins a new snapshot after
 * MNEME_SCAN_CHECK rows, so that it never keeps the WAL from being emptied for long,
 * and goes on from the sequence, key or name where it was. A memory keeps its
 * sequence, and its key while it lives with it, so none that lives throughout is
 * missed or seen twice.
 *
 * A filter is one more condition of the statement, so that what does not match never
 * leaves SQLite. Rows can't be counted then, and a scan by sequence begins a new
 * snapshot after WINDOW sequences. */
#include "filter.h"
#include "reads.h"
#include "tails.h"

#include "bytes.h"
#include "rules.h"

#include <string.h>

/* --- Snapshots -------------------------------------------------------------- */

static mneme_status run(sq_conn *conn, sq_id id) {
  sq_sql q = sq_sql_begin(conn, id);
  return sq_sql_run(&q);
}

mneme_status sq_reader_begin(sq_reader *r, mneme_backend *store, const mneme_call *call) {
  *r = (sq_reader){.store = store, .call = call};
  mneme_status status = sq_pool_take(store, call, &r->conn);
  if (status != MNEME_OK) return status;
  status = run(r->conn, SQ_READ_BEGIN);
  return status == MNEME_OK ? MNEME_OK : sq_reader_end(r, status);
}

mneme_status sq_reader_end(sq_reader *r, mneme_status status) {
  if (r->conn != NULL) sq_pool_give(r->store, r->conn, status);
  sq_arena_free(&r->arena);
  return status;
}

mneme_status sq_reader_renew(sq_reader *r, bool yields) {
  mneme_status status = run(r->conn, SQ_READ_END);
  if (status == MNEME_OK && yields) {
    sq_pool_give(r->store, r->conn, MNEME_OK);
    r->conn = NULL;
    status = sq_pool_take(r->store, r->call, &r->conn);
  }
  return status == MNEME_OK ? run(r->conn, SQ_READ_BEGIN) : status;
}

mneme_status sq_reader_look(sq_reader *r) {
  return ++r->looked % MNEME_SCAN_CHECK == 0 && mneme_call_expired(r->call) ? MNEME_TIMEOUT
                                                                            : MNEME_OK;
}

mneme_status sq_reader_find(sq_reader *r, mneme_bytes ns, mneme_bytes session,
                            sq_state *ret_state) {
  sq_sql q = sq_sql_begin(r->conn, SQ_STATE_FIND);
  sq_sql_text(&q, ns);
  sq_sql_text(&q, session);
  bool found = sq_sql_next(&q);
  if (found) sq_state_read(&q, ret_state);
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK) return status;
  if (found)
    sq_tails_saw(r->store->tails, ns, session, ret_state->version);
  else
    sq_tails_gone(r->store->tails, ns, session, NULL);
  return found && ret_state->live ? MNEME_OK : MNEME_NOT_FOUND;
}

static mneme_status find_live(sq_reader *r, mneme_bytes ns, mneme_bytes session,
                              sq_state *ret_state) {
  mneme_status status = sq_reader_find(r, ns, session, ret_state);
  return status == MNEME_OK && sq_state_lapsed(ret_state, r->call->now_us) ? MNEME_NOT_FOUND
                                                                           : status;
}

/* Without settings. */
static mneme_status make_header(sq_reader *r, const sq_state *s, mneme_bytes ns,
                                mneme_bytes session, mneme_header *ret_header) {
  sq_count live;
  mneme_status status = sq_state_count(r->conn, s, r->call->now_us, &live);
  if (status != MNEME_OK) return status;
  sq_state_header(s, ns, session, (mneme_bytes){0}, ret_header);
  ret_header->memory_count = live.memories;
  ret_header->token_count = live.tokens;
  ret_header->byte_count = live.bytes;
  return MNEME_OK;
}

mneme_status sq_reader_emit(sq_reader *r, const sq_state *s, mneme_bytes ns, mneme_bytes session,
                            bool deleted, mneme_header_fn emit, void *ctx, bool *ret_enough) {
  mneme_header header;
  mneme_status status = make_header(r, s, ns, session, &header);
  if (status != MNEME_OK) return status;
  sq_tails_saw(r->store->tails, ns, session, s->version);
  header.deleted = deleted;
  if (s->settings_size == 0) {
    *ret_enough = emit(&header, ctx) != 0;
    return MNEME_OK;
  }
  sq_sql q = sq_sql_begin(r->conn, SQ_SETTINGS_GET);
  sq_sql_int(&q, s->slot);
  bool found = sq_sql_next(&q);
  if (found) header.settings = sq_col_bytes(&q);
  if (found) *ret_enough = emit(&header, ctx) != 0;
  status = sq_sql_end(&q);
  return status == MNEME_OK && !found ? MNEME_CORRUPT : status;
}

static bool is_name(mneme_bytes ns, mneme_bytes session) {
  return ns.size <= MNEME_NAMESPACE_MAX && session.size <= MNEME_SESSION_MAX;
}

bool sq_end_of_prefix(mneme_bytes prefix, char *out, mneme_bytes *ret_end) {
  size_t size = prefix.size;
  while (size > 0 && (unsigned char)prefix.data[size - 1] == 0xff) size--;
  if (size == 0) return false;
  memcpy(out, prefix.data, size);
  out[size - 1]++;
  *ret_end = mneme_bytes_of(out, size);
  return true;
}

/* --- read ------------------------------------------------------------------- */

#define WINDOW 8192 /* sequences of a filtered scan in one snapshot: some milliseconds */

/* Where a scan is, and what it may still emit. */
typedef struct scan {
  sq_reader reader;
  const mneme_read *read;
  mneme_record_fn emit;
  void *ctx;
  sq_state state;     /* of the session, in this snapshot */
  int64_t left;       /* records to emit */
  int64_t bytes_left; /* of the read's byte_limit */
  bool emitted;       /* one at least */
  bool over;          /* all is emitted, or enough */
  int64_t hold;       /* rows to look at before a new snapshot */
  int64_t at;         /* SEQUENCES: the next; IDS, NAMED_KEYS: index of the next */
  sq_filter filter;    /* when the read has one */
  sqlite3_stmt *stmt;  /* with the filter in it; NULL = not yet */
  sq_id stmt_id;       /* which of them it is */
  size_t key_size;    /* KEYS: of the last one looked at; 0 = none yet */
  char key[MNEME_KEY_MAX];
} scan;

static bool lives(const sq_state *s, const mneme_record *r, int64_t now_us) {
  bool protects = sq_state_protects(s, r->pinned, mneme_rule_is_system(r->role));
  return !mneme_rule_expired(r->expire_us, now_us) &&
         (protects || !mneme_rule_aged(r->create_us, s->max_age_us, now_us));
}

/* Emits the row, when it is live and fits. */
static void show(scan *c, const mneme_record *r, int64_t size) {
  if (!lives(&c->state, r, c->reader.call->now_us)) return;
  if (c->emitted && size > c->bytes_left) {
    c->over = true;
    return;
  }
  c->emitted = true;
  c->bytes_left -= size;
  if (c->emit(r, c->ctx) != 0 || --c->left == 0) c->over = true;
}

static bool may_go_on(const scan *c) { return !c->over && c->hold > 0; }

static sq_sql begin_filtered(scan *c, sq_id id) {
  if (c->stmt_id != id) {
    sqlite3_finalize(c->stmt);
    c->stmt = NULL;
    c->stmt_id = id;
  }
  return sq_sql_with(c->reader.conn, id, c->filter.text, &c->stmt);
}

static sq_sql begin_rows(scan *c, sq_id id) {
  sq_sql q = c->read->filter != NULL ? begin_filtered(c, id) : sq_sql_begin(c->reader.conn, id);
  sq_sql_int(&q, c->read->projection);
  sq_sql_int(&q, c->state.shelf);
  return q;
}

/* When all parameters of the statement itself are bound. */
static void bind_filter(scan *c, sq_sql *q) {
  if (c->read->filter != NULL) sq_filter_bind(q, &c->filter);
}

/* The next row, if there is one: then it has been looked at. */
static bool next_row(scan *c, sq_sql *q, mneme_record *ret_record, int64_t *ret_size) {
  if (!sq_sql_next(q)) return false;
  sq_record_read(q, ret_record, ret_size);
  c->hold--;
  return true;
}

/* The sequences that one statement goes over: all that are left, or with a filter as
 * many as one snapshot may take. */
typedef struct range {
  int64_t first, last;
  bool rest; /* nothing is left behind it */
} range;

static range next_range(const scan *c) {
  const mneme_read *read = c->read;
  bool down = read->descending;
  range r = {.first = down ? read->first : c->at, .last = down ? c->at : read->last, .rest = true};
  if (read->filter == NULL) return r;
  if (r.first < 1) r.first = 1;
  if (r.last > c->state.last_sequence) r.last = c->state.last_sequence;
  r.rest = r.last < r.first || r.last - r.first < WINDOW;
  if (!r.rest && down) r.first = r.last - WINDOW + 1;
  if (!r.rest && !down) r.last = r.first + WINDOW - 1;
  return r;
}

static mneme_status scan_sequences(scan *c) {
  const mneme_read *read = c->read;
  const range in = next_range(c);
  mneme_record r;
  int64_t size;
  sq_sql q = begin_rows(c, read->descending ? SQ_READ_DOWN : SQ_READ_UP);
  sq_sql_int(&q, in.first);
  sq_sql_int(&q, in.last);
  bind_filter(c, &q);
  while (may_go_on(c)) {
    if (!next_row(c, &q, &r, &size)) {
      c->over = in.rest;
      c->hold = 0;
      if (!in.rest) c->at = read->descending ? in.first - 1 : in.last + 1;
      break;
    }
    c->at = read->descending ? r.sequence - 1 : r.sequence + 1;
    show(c, &r, size);
  }
  return sq_sql_end(&q);
}

/* after_key may lie before all keys with the prefix, beyond them, or among them; a
 * scan that goes on is strictly beyond the last key. */
static sq_sql begin_keys(scan *c, char *room, bool *ret_none) {
  const mneme_read *read = c->read;
  mneme_bytes prefix = read->key_prefix, after = read->after_key, end;
  if (c->key_size != 0) after = mneme_bytes_of(c->key, c->key_size);
  bool among = after.size != 0 && mneme_bytes_begins(after, prefix);
  if (after.size != 0 && !among)
    *ret_none = (mneme_bytes_compare(after, prefix) < 0) == read->descending;
  sq_sql q;
  if (among || !read->descending) {
    q = begin_rows(c, among ? (read->descending ? SQ_READ_KEYS_DOWN : SQ_READ_KEYS_UP)
                            : SQ_READ_KEYS_FROM);
    sq_sql_text(&q, among ? after : prefix);
  } else if (sq_end_of_prefix(prefix, room, &end)) {
    q = begin_rows(c, SQ_READ_KEYS_DOWN);
    sq_sql_text(&q, end);
  } else {
    q = begin_rows(c, SQ_READ_KEYS_BACK);
  }
  return q;
}

/* A row beyond the prefix ends a scan, but a filter hides it: so both ends of the
 * prefix become conditions beside the filter. */
static mneme_status bound_keys(scan *c) {
  mneme_bytes prefix = c->read->key_prefix, end;
  if (prefix.size == 0 || prefix.size > MNEME_KEY_MAX) return MNEME_OK;
  size_t size = strlen(c->filter.text);
  char *text = sq_arena_take(&c->reader.arena, size + 40);
  char *room = sq_arena_take(&c->reader.arena, prefix.size);
  sq_bind *binds = sq_arena_take(&c->reader.arena, (c->filter.count + 2) * sizeof *binds);
  if (text == NULL || room == NULL || binds == NULL) return MNEME_NO_MEMORY;
  bool ends = sq_end_of_prefix(prefix, room, &end);
  memcpy(text, c->filter.text, size);
  strcpy(text + size, ends ? " AND key >= ? AND key < ?" : " AND key >= ?");
  if (c->filter.count != 0) memcpy(binds, c->filter.binds, c->filter.count * sizeof *binds);
  binds[c->filter.count++] = (sq_bind){.kind = SQ_BIND_TEXT, .text = prefix};
  if (ends) binds[c->filter.count++] = (sq_bind){.kind = SQ_BIND_TEXT, .text = end};
  c->filter.text = text;
  c->filter.binds = binds;
  return MNEME_OK;
}

static mneme_status scan_keys(scan *c) {
  char room[MNEME_KEY_MAX];
  mneme_record r;
  int64_t size;
  bool none = c->read->key_prefix.size > MNEME_KEY_MAX;
  if (none) {
    c->over = true;
    return MNEME_OK;
  }
  sq_sql q = begin_keys(c, room, &none);
  bind_filter(c, &q);
  c->over = none;
  while (may_go_on(c)) {
    if (!next_row(c, &q, &r, &size) || !mneme_bytes_begins(r.key, c->read->key_prefix)) {
      c->over = true;
      break;
    }
    if (r.key.size > sizeof c->key) { /* nobody has written that */
      sq_sql_end(&q);
      return MNEME_CORRUPT;
    }
    c->key_size = r.key.size;
    memcpy(c->key, r.key.data, r.key.size);
    show(c, &r, size);
  }
  return sq_sql_end(&q);
}

static mneme_status scan_names(scan *c) {
  const mneme_read *read = c->read;
  mneme_status status = MNEME_OK;
  while (may_go_on(c) && status == MNEME_OK) {
    if ((size_t)c->at == read->name_count) {
      c->over = true;
      break;
    }
    mneme_record r;
    int64_t size;
    mneme_bytes name = read->names[c->at++];
    if (name.size == 0 || name.size > MNEME_KEY_MAX) continue;
    sq_sql q = begin_rows(c, read->select == MNEME_SELECT_IDS ? SQ_READ_ID : SQ_READ_KEY);
    sq_sql_text(&q, name);
    bind_filter(c, &q);
    if (next_row(c, &q, &r, &size))
      show(c, &r, size);
    else
      c->hold--;
    status = sq_sql_end(&q);
  }
  return status;
}

static mneme_status scan_some(scan *c) {
  c->hold = MNEME_SCAN_CHECK;
  switch (c->read->select) {
    case MNEME_SELECT_SEQUENCES:
      return scan_sequences(c);
    case MNEME_SELECT_KEYS:
      return scan_keys(c);
    case MNEME_SELECT_IDS:
    case MNEME_SELECT_NAMED_KEYS:
      return scan_names(c);
    default:
      return MNEME_INVALID;
  }
}

/* The session in this snapshot. What we were reading may have gone in between: then
 * there is no more of it. */
static mneme_status find_session(scan *c, const mneme_uid *resumed) {
  const mneme_read *read = c->read;
  mneme_status status = find_live(&c->reader, read->ns, read->session, &c->state);
  if (status == MNEME_NOT_FOUND) {
    c->over = true;
    return MNEME_OK;
  }
  if (status != MNEME_OK) return status;
  if (read->uid != NULL && !mneme_uid_equal(read->uid, &c->state.uid)) return MNEME_CONFLICT;
  if (resumed != NULL && !mneme_uid_equal(resumed, &c->state.uid)) c->over = true;
  return MNEME_OK;
}

static mneme_status compile_filter(scan *c) {
  if (c->read->filter == NULL) return MNEME_OK;
  mneme_status status = sq_filter_compile(&c->reader.arena, c->read->filter, &c->filter);
  if (status == MNEME_OK && c->read->select == MNEME_SELECT_KEYS) status = bound_keys(c);
  return status;
}

/* The statement is the connection's, so it goes with it. */
static mneme_status renew(scan *c, const mneme_uid *uid) {
  bool yields = sq_pool_is_wanted(&c->reader.store->pool);
  if (yields) {
    sqlite3_finalize(c->stmt);
    c->stmt = NULL;
  }
  mneme_status status = sq_reader_renew(&c->reader, yields);
  return status == MNEME_OK ? find_session(c, uid) : status;
}

static mneme_status run_scan(scan *c) {
  mneme_status status = find_session(c, NULL);
  if (status == MNEME_OK) status = compile_filter(c);
  mneme_uid uid = c->state.uid;
  while (status == MNEME_OK && !c->over) {
    status = scan_some(c);
    if (status != MNEME_OK || c->over) break;
    if (mneme_call_expired(c->reader.call)) return MNEME_TIMEOUT;
    status = renew(c, &uid);
  }
  return status;
}

/* Whether a row's metadata is no JSON any more. Which rows match is not known then,
 * but it is that row that is damaged, and not the store. */
static bool met_damaged_metadata(const scan *c, mneme_status status) {
  return status == MNEME_INTERNAL && c->read->filter != NULL && c->reader.conn != NULL &&
         strstr(sqlite3_errmsg(c->reader.conn->db), "malformed JSON") != NULL;
}

void sq_read(mneme_backend *store, const mneme_call *call, const mneme_read *read,
             mneme_record_fn emit, mneme_done_fn done, void *ctx) {
  scan c;
  if (!is_name(read->ns, read->session)) {
    done(MNEME_OK, ctx); /* nobody has such a name */
    return;
  }
  mneme_status status;
  if (sq_tails_read(store->tails, call, read, emit, ctx, &status)) {
    done(status, ctx);
    return;
  }
  memset(&c, 0, offsetof(scan, key));
  c.read = read;
  c.emit = emit;
  c.ctx = ctx;
  c.left = read->limit > 0 ? read->limit : INT64_MAX;
  c.bytes_left = read->byte_limit > 0 ? read->byte_limit : INT64_MAX;
  if (read->select == MNEME_SELECT_SEQUENCES) c.at = read->descending ? read->last : read->first;
  status = sq_reader_begin(&c.reader, store, call);
  if (status == MNEME_OK) {
    status = run_scan(&c);
    bool damaged = met_damaged_metadata(&c, status);
    sqlite3_finalize(c.stmt);
    status = sq_reader_end(&c.reader, status);
    if (damaged) status = MNEME_CORRUPT;
  }
  done(status, ctx);
}

/* --- session_get -------------------------------------------------------------- */

typedef struct kept_header {
  mneme_header header;
  sq_settings *settings;
} kept_header;

static int keep_header(const mneme_header *header, void *ctx) {
  kept_header *kept = ctx;
  kept->header = *header;
  if (header->settings.size == 0) return 0;
  kept->settings = sq_settings_new(header->settings);
  if (kept->settings == NULL) return 1;
  kept->header.settings.data = kept->settings->data;
  return 0;
}

void sq_session_get(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                    mneme_bytes session, mneme_session_fn done, void *ctx) {
  sq_reader r;
  sq_state s;
  kept_header kept = {.settings = NULL};
  bool failed = false;
  if (!is_name(ns, session)) {
    done(MNEME_NOT_FOUND, NULL, ctx);
    return;
  }
  mneme_status status;
  if (sq_tails_header(store->tails, call, ns, session, &kept.header, &kept.settings, &status)) {
    done(status, status == MNEME_OK ? &kept.header : NULL, ctx);
    sq_settings_unref(kept.settings);
    return;
  }
  status = sq_reader_begin(&r, store, call);
  if (status == MNEME_OK) {
    status = find_live(&r, ns, session, &s);
    if (status == MNEME_OK)
      status = sq_reader_emit(&r, &s, ns, session, false, keep_header, &kept, &failed);
    if (status == MNEME_OK && failed) status = MNEME_NO_MEMORY;
    status = sq_reader_end(&r, status);
  }
  done(status, status == MNEME_OK ? &kept.header : NULL, ctx);
  sq_settings_unref(kept.settings);
}

/* --- request_get ---------------------------------------------------------------- */

static mneme_status find_answer(sq_reader *r, const mneme_write *write, sq_arena *arena,
                                mneme_written *ret_written) {
  mneme_bytes answer = {0};
  sq_state s;
  mneme_status found = sq_reader_find(r, write->ns, write->session, &s); /* for the tails */
  if (found != MNEME_OK && found != MNEME_NOT_FOUND) return found;
  found = MNEME_NOT_FOUND;
  sq_sql q = sq_sql_begin(r->conn, SQ_REQUEST_GET);
  sq_sql_text(&q, write->ns);
  sq_sql_text(&q, write->session);
  sq_sql_text(&q, write->request_id);
  if (sq_sql_next(&q)) {
    mneme_bytes fingerprint = sq_col_bytes(&q);
    bool lapsed = sq_col_int(&q) <= r->call->now_us;
    answer = sq_col_bytes(&q);
    bool same = mneme_bytes_equal(
        fingerprint, mneme_bytes_of((const char *)write->fingerprint, sizeof write->fingerprint));
    if (!lapsed) found = same ? MNEME_OK : MNEME_REUSED;
    if (found == MNEME_OK && !sq_arena_copy(arena, &answer)) found = MNEME_NO_MEMORY;
  }
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK || found != MNEME_OK) return status != MNEME_OK ? status : found;
  return sq_answer_read(arena, answer, ret_written);
}

void sq_request_get(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                    mneme_written_fn done, void *ctx) {
  sq_reader r;
  sq_arena arena = {0};
  mneme_written written;
  if (!is_name(write->ns, write->session) || write->request_id.size > MNEME_ID_MAX) {
    done(MNEME_NOT_FOUND, NULL, ctx);
    return;
  }
  mneme_status status = sq_reader_begin(&r, store, call);
  if (status == MNEME_OK) status = sq_reader_end(&r, find_answer(&r, write, &arena, &written));
  if (status == MNEME_OK) {
    written.header.ns = write->ns;
    written.header.session = write->session;
  }
  done(status, status == MNEME_OK ? &written : NULL, ctx);
  sq_arena_free(&arena);
}

/* --- log ---------------------------------------------------------------------- */

static mneme_status emit_log(sq_reader *r, int64_t life, int64_t after, mneme_log_fn emit,
                             void *ctx) {
  mneme_status wanted = MNEME_OK;
  bool enough = false;
  sq_sql q = sq_sql_begin(r->conn, SQ_LOG_READ);
  sq_sql_int(&q, life);
  sq_sql_int(&q, after);
  while (!enough && wanted == MNEME_OK && sq_sql_next(&q)) {
    mneme_log_entry entry;
    entry.number = sq_col_int(&q);
    entry.revision = sq_col_int(&q);
    entry.first = sq_col_int(&q);
    entry.last = sq_col_int(&q);
    entry.op = (mneme_log_op)sq_col_int(&q);
    enough = emit(&entry, ctx) != 0;
    wanted = sq_reader_look(r);
  }
  mneme_status status = sq_sql_end(&q);
  return status != MNEME_OK ? status : wanted;
}

void sq_log_read(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                 mneme_bytes session, const mneme_uid *uid, int64_t after, mneme_log_fn emit,
                 mneme_done_fn done, void *ctx) {
  sq_reader r;
  sq_state s;
  if (!is_name(ns, session)) {
    done(MNEME_CONFLICT, ctx);
    return;
  }
  mneme_status status = sq_reader_begin(&r, store, call);
  if (status == MNEME_OK) {
    status = find_live(&r, ns, session, &s);
    if (status == MNEME_NOT_FOUND || (status == MNEME_OK && !mneme_uid_equal(uid, &s.uid)))
      status = MNEME_CONFLICT;
    else if (status == MNEME_OK && after < s.log_from)
      status = MNEME_COMPACTED;
    if (status == MNEME_OK) status = emit_log(&r, s.life, after, emit, ctx);
    status = sq_reader_end(&r, status);
  }
  done(status, ctx);
}
