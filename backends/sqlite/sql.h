/* A connection, its statements, and a statement's run in a few words:
 *
 *   sq_sql q = sq_sql_begin(conn, SQ_MEMORY_BY_ID);
 *   sq_sql_int(&q, shelf);
 *   sq_sql_text(&q, id);
 *   while (sq_sql_next(&q)) row = sq_col_int(&q);
 *   status = sq_sql_end(&q);
 *
 * Parameters and columns are taken in their order. The first error stays in q,
 * and everything after it does nothing, so it is looked at once, in the end.
 *
 * Ownership: what is bound must live until sq_sql_end; what a column points to
 * lives until the next sq_sql_next or sq_sql_end. Threads: one at a time. */
#ifndef SQLITE_SQL_H
#define SQLITE_SQL_H

#include "mneme/backend.h"

#include <sqlite3.h>

/* Every statement of the room: SQ(name, text). A read with a filter has the same with
 * one more condition. */
#include "statements.h"

typedef enum sq_id {
#define SQ(name, text) SQ_##name,
  SQ_STATEMENTS
#undef SQ
      SQ_COUNT
} sq_id;

typedef struct sq_conn {
  sqlite3 *db;
  const mneme_call *call; /* whose deadline a read has; NULL = none */
  int64_t lock_wait_us;   /* how long a lock of somebody else is waited for */
  bool timed_out;         /* the call expired while a statement ran */
  sqlite3_stmt *stmts[SQ_COUNT];
} sq_conn;

typedef struct sq_sql {
  sqlite3_stmt *stmt;
  int rc;     /* SQLITE_OK, SQLITE_ROW, SQLITE_DONE, or what went wrong */
  int at;     /* the last parameter that was bound, or column that was read */
  bool owned; /* finalized in the end */
  sq_conn *conn;
} sq_sql;

/* Opens the file, which must exist, without a look at its contents. On failure
 * *ret_conn is as empty as before, and text says what SQLite did. */
mneme_status sq_conn_open(sq_conn *ret_conn, const char *path, bool read_only, char *text,
                          size_t size);
void sq_conn_close(sq_conn *conn); /* also of one that is not open */
/* Runs statements that return nothing. */
mneme_status sq_conn_exec(sq_conn *conn, const char *text);

sq_sql sq_sql_begin(sq_conn *conn, sq_id id);
/* Prepares a text of its own. */
sq_sql sq_sql_compose(sq_conn *conn, const char *text);
/* A statement of a read with one more condition, whose parameters follow those of the
 * statement. *stmt is NULL at first, and keeps what was prepared for the next run; the
 * caller finalizes it. */
sq_sql sq_sql_with(sq_conn *conn, sq_id id, const char *condition, sqlite3_stmt **stmt);
void sq_sql_int(sq_sql *q, int64_t value);
void sq_sql_int_or_null(sq_sql *q, int64_t value, bool null);
void sq_sql_real_or_null(sq_sql *q, double value, bool null);
void sq_sql_text(sq_sql *q, mneme_bytes text);
void sq_sql_text_or_null(sq_sql *q, mneme_bytes text); /* NULL when empty */
void sq_sql_blob(sq_sql *q, mneme_bytes bytes);
/* true = a row is there. */
bool sq_sql_next(sq_sql *q);
mneme_status sq_sql_end(sq_sql *q);
/* Runs what returns no rows, and ends it. */
mneme_status sq_sql_run(sq_sql *q);

int64_t sq_col_int(sq_sql *q);
bool sq_col_is_null(sq_sql *q); /* of the next one, which it does not take */
double sq_col_real(sq_sql *q);
mneme_bytes sq_col_bytes(sq_sql *q); /* text or blob; empty when NULL */

/* What a result code of SQLite means to a caller whose operation has changed
 * nothing. COMMIT has its own rules: see writer.c. */
mneme_status sq_status(int rc);

#endif
