/* See sql.h. Statements are prepared at their first use and kept: a connection
 * has each once, since nothing here runs the same one twice at a time. */
#include "sql.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_STEPS 1000 /* instructions of SQLite's machine between two looks */

static const char *const texts[SQ_COUNT] = {
#define SQ(name, text) [SQ_##name] = text,
    SQ_STATEMENTS
#undef SQ
};

mneme_status sq_status(int rc) {
  switch (rc) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
      return MNEME_OK;
    case SQLITE_IOERR_NOMEM:
      return MNEME_NO_MEMORY;
    case SQLITE_IOERR_CORRUPTFS:
      return MNEME_CORRUPT;
    default:
      break;
  }
  switch (rc & 0xff) {
    case SQLITE_NOMEM:
      return MNEME_NO_MEMORY;
    case SQLITE_FULL:
      return MNEME_STORE_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return MNEME_CORRUPT;
    case SQLITE_INTERRUPT:
      return MNEME_TIMEOUT;
    case SQLITE_TOOBIG:
      return MNEME_TOO_BIG;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_PROTOCOL:
      return MNEME_DOWN;
    default:
      return MNEME_INTERNAL;
  }
}

/* --- Connections ---------------------------------------------------------- */

static int ask_deadline(void *ctx) {
  sq_conn *conn = ctx;
  if (conn->call == NULL || !mneme_call_expired(conn->call)) return 0;
  conn->timed_out = true;
  return 1;
}

/* Somebody else has the lock that we need: a millisecond, then two, four, ten. */
static int wait_for_lock(void *ctx, int tries) {
  static const int waits_ms[] = {1, 2, 4, 10};
  const sq_conn *conn = ctx;
  int64_t waited_ms = tries < 3 ? (1 << tries) - 1 : 7 + (int64_t)(tries - 3) * 10;
  if (waited_ms * 1000 >= conn->lock_wait_us) return 0;
  if (conn->call != NULL && mneme_call_expired(conn->call)) return 0;
  usleep((useconds_t)waits_ms[tries < 3 ? tries : 3] * 1000);
  return 1;
}

mneme_status sq_conn_open(sq_conn *ret_conn, const char *path, bool read_only, char *text,
                          size_t size) {
  sqlite3 *db = NULL;
  int flags = SQLITE_OPEN_NOMUTEX | (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
  int rc = sqlite3_open_v2(path, &db, flags, NULL);
  if (rc != SQLITE_OK) {
    snprintf(text, size, "%s", db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    sqlite3_close(db);
    return sq_status(rc);
  }
  sqlite3_extended_result_codes(db, 1);
  /* A reader that is the last to close would checkpoint, and only the writer may. */
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  ret_conn->db = db;
  sqlite3_busy_handler(db, wait_for_lock, ret_conn);
  if (read_only) sqlite3_progress_handler(db, DEADLINE_STEPS, ask_deadline, ret_conn);
  return MNEME_OK;
}

void sq_conn_close(sq_conn *conn) {
  for (int i = 0; i < SQ_COUNT; i++) sqlite3_finalize(conn->stmts[i]);
  memset(conn->stmts, 0, sizeof conn->stmts);
  sqlite3_close_v2(conn->db);
  conn->db = NULL;
}

mneme_status sq_conn_exec(sq_conn *conn, const char *text) {
  return sq_status(sqlite3_exec(conn->db, text, NULL, NULL, NULL));
}

/* --- Statements ----------------------------------------------------------- */

sq_sql sq_sql_begin(sq_conn *conn, sq_id id) {
  sq_sql q = {.conn = conn, .stmt = conn->stmts[id]};
  if (q.stmt != NULL) return q;
  q.rc = sqlite3_prepare_v3(conn->db, texts[id], -1, SQLITE_PREPARE_PERSISTENT, &q.stmt, NULL);
  /* Our own text on our own version of the schema: it is the schema that is wrong. */
  if ((q.rc & 0xff) == SQLITE_ERROR) q.rc = SQLITE_CORRUPT;
  if (q.rc == SQLITE_OK) conn->stmts[id] = q.stmt;
  return q;
}

sq_sql sq_sql_compose(sq_conn *conn, const char *text) {
  sq_sql q = {.conn = conn, .owned = true};
  q.rc = sqlite3_prepare_v3(conn->db, text, -1, 0, &q.stmt, NULL);
  return q;
}

sq_sql sq_sql_with(sq_conn *conn, sq_id id, const char *condition, sqlite3_stmt **stmt) {
  static const char order[] = " ORDER BY ";
  sq_sql q = {.conn = conn, .stmt = *stmt};
  if (q.stmt != NULL) return q;
  const char *text = texts[id], *behind = strstr(text, order);
  if (behind == NULL) behind = text + strlen(text);
  char *whole = sqlite3_mprintf("%.*s AND %s%s", (int)(behind - text), text, condition, behind);
  q.rc = whole != NULL ? sqlite3_prepare_v3(conn->db, whole, -1, 0, &q.stmt, NULL) : SQLITE_NOMEM;
  sqlite3_free(whole);
  *stmt = q.stmt;
  return q;
}

static void bound(sq_sql *q, int rc) {
  if (rc != SQLITE_OK) q->rc = rc;
}

void sq_sql_int(sq_sql *q, int64_t value) {
  if (q->rc == SQLITE_OK) bound(q, sqlite3_bind_int64(q->stmt, ++q->at, value));
}

static void bind_null(sq_sql *q) {
  if (q->rc == SQLITE_OK) bound(q, sqlite3_bind_null(q->stmt, ++q->at));
}

void sq_sql_int_or_null(sq_sql *q, int64_t value, bool null) {
  if (null)
    bind_null(q);
  else
    sq_sql_int(q, value);
}

void sq_sql_real_or_null(sq_sql *q, double value, bool null) {
  if (null)
    bind_null(q);
  else if (q->rc == SQLITE_OK)
    bound(q, sqlite3_bind_double(q->stmt, ++q->at, value));
}

void sq_sql_text(sq_sql *q, mneme_bytes text) {
  if (q->rc != SQLITE_OK) return;
  const char *data = text.size != 0 ? text.data : "";
  bound(q, sqlite3_bind_text64(q->stmt, ++q->at, data, text.size, SQLITE_STATIC, SQLITE_UTF8));
}

void sq_sql_text_or_null(sq_sql *q, mneme_bytes text) {
  if (text.size == 0)
    bind_null(q);
  else
    sq_sql_text(q, text);
}

void sq_sql_blob(sq_sql *q, mneme_bytes bytes) {
  if (q->rc != SQLITE_OK) return;
  const char *data = bytes.size != 0 ? bytes.data : "";
  bound(q, sqlite3_bind_blob64(q->stmt, ++q->at, data, bytes.size, SQLITE_STATIC));
}

bool sq_sql_next(sq_sql *q) {
  if (q->rc != SQLITE_OK && q->rc != SQLITE_ROW) return false;
  q->rc = sqlite3_step(q->stmt);
  q->at = -1;
  return q->rc == SQLITE_ROW;
}

mneme_status sq_sql_end(sq_sql *q) {
  if (q->owned)
    sqlite3_finalize(q->stmt);
  else if (q->stmt != NULL)
    sqlite3_reset(q->stmt);
  q->stmt = NULL;
  return sq_status(q->rc);
}

mneme_status sq_sql_run(sq_sql *q) {
  while (sq_sql_next(q)) continue;
  return sq_sql_end(q);
}

int64_t sq_col_int(sq_sql *q) { return sqlite3_column_int64(q->stmt, ++q->at); }

bool sq_col_is_null(sq_sql *q) {
  return sqlite3_column_type(q->stmt, q->at + 1) == SQLITE_NULL;
}

double sq_col_real(sq_sql *q) { return sqlite3_column_double(q->stmt, ++q->at); }

/* As a blob, text too: that is never converted, so it can't run out of memory. */
mneme_bytes sq_col_bytes(sq_sql *q) {
  int at = ++q->at;
  const char *data = sqlite3_column_blob(q->stmt, at);
  return mneme_bytes_of(data, data != NULL ? (size_t)sqlite3_column_bytes(q->stmt, at) : 0);
}
