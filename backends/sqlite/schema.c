/* The schema, as an ordered list of migrations: the n-th brings a file from
 * user_version n to n + 1, in one transaction. A file that is newer than the list
 * is refused, and so is one that is somebody else's (application_id).
 *
 * sessions has a row (a slot) for each (ns, session) that lives or has request_ids
 * remembered; a row without a shelf has no session. The memories of a session
 * stand on its shelf, its log under its life:
 *
 *   sessions [slot 7 | shelf 12, life 9] --> memories (shelf 12, sequence 1, 2, 3..)
 *                                        --> log (life 9, number 1, 2..)
 *   request_ids (slot 7, ..)                 settings (slot 7)
 *   graves [shelf 9] --> memories (shelf 9, ..)   gone already, removed bit by bit
 *
 * Dropping or emptying a session takes its shelf away and buries it: O(1), however
 * many memories there are. The rows are removed in small transactions afterwards.
 *
 * Writes are what the layout is for: memories grows at its end, whatever session a
 * memory is of, and only the indexes are touched in the middle; those by key, by
 * expiry and by rank have entries only for memories that need them. A session's row
 * is small, since its settings stand apart. outbox is for archives that are written
 * before a memory is evicted; nobody uses it yet. */
#include "sqlite.h"

#include <stdio.h>

#define APPLICATION_ID 0x4d6e656d /* "Mnem" */

static const char *const migrations[] = {
    "CREATE TABLE store ("
    "  one INTEGER PRIMARY KEY CHECK (one = 1),"
    "  id INTEGER NOT NULL,"        /* in every cursor */
    "  compacted INTEGER NOT NULL"  /* stamp of the last tombstone that was forgotten */
    ") STRICT;"
    "CREATE TABLE meta ("
    "  key TEXT PRIMARY KEY, value BLOB NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE sessions ("
    "  slot INTEGER PRIMARY KEY,"
    "  shelf INTEGER,"  /* NULL = no session */
    "  life INTEGER,"
    "  ns TEXT NOT NULL,"
    "  session TEXT NOT NULL,"
    "  uid BLOB,"
    "  revision INTEGER NOT NULL, settings_revision INTEGER NOT NULL,"
    "  last_sequence INTEGER NOT NULL, last_create_us INTEGER NOT NULL,"
    "  mutations INTEGER NOT NULL, log_from INTEGER NOT NULL," /* first number kept - 1 */
    "  memory_count INTEGER NOT NULL, token_count INTEGER NOT NULL,"
    "  byte_count INTEGER NOT NULL,"
    "  pinned_count INTEGER NOT NULL, pinned_tokens INTEGER NOT NULL,"
    "  system_count INTEGER NOT NULL, system_tokens INTEGER NOT NULL," /* not pinned */
    "  create_us INTEGER NOT NULL, update_us INTEGER NOT NULL,"
    "  append_us INTEGER NOT NULL, expire_us INTEGER NOT NULL," /* 0 = never */
    "  max_age_us INTEGER NOT NULL, keep_system INTEGER NOT NULL,"
    "  ranked INTEGER NOT NULL," /* memories.rank is kept */
    "  due_us INTEGER,"          /* nothing expires before; NULL = nothing ever does */
    "  stamp INTEGER,"           /* of the last change that changes() tells */
    "  version INTEGER NOT NULL,"
    "  request_count INTEGER NOT NULL,"
    "  settings_size INTEGER NOT NULL,"
    "  UNIQUE (ns, session)"
    ") STRICT;"
    "CREATE INDEX sessions_by_stamp ON sessions (stamp, ns) WHERE stamp IS NOT NULL;"
    "CREATE INDEX sessions_by_due ON sessions (due_us) WHERE due_us IS NOT NULL;"
    "CREATE TABLE settings ("
    "  slot INTEGER PRIMARY KEY, bytes BLOB NOT NULL"
    ") STRICT;"

    "CREATE TABLE memories ("
    "  row INTEGER PRIMARY KEY,"
    "  shelf INTEGER NOT NULL,"
    "  sequence INTEGER NOT NULL,"
    "  revision INTEGER NOT NULL,"
    "  create_us INTEGER NOT NULL, update_us INTEGER NOT NULL,"
    "  access_us INTEGER NOT NULL, access_count INTEGER NOT NULL," /* 0 = never */
    "  token_count INTEGER NOT NULL,"
    "  ttl_us INTEGER NOT NULL,"
    "  event_us INTEGER,"
    "  expire_us INTEGER,"
    "  crc INTEGER NOT NULL,"
    "  tier INTEGER NOT NULL, pinned INTEGER NOT NULL,"
    "  importance REAL,"
    "  rank REAL,"             /* importance as eviction weighs it, where needed */
    "  size INTEGER NOT NULL," /* of body, id, key, kind, role, author and source */
    "  id TEXT NOT NULL,"
    "  key TEXT,"
    "  kind TEXT NOT NULL, role TEXT NOT NULL," /* '' = none, as author and source */
    "  author TEXT NOT NULL, source TEXT NOT NULL,"
    "  metadata_json TEXT,"
    "  body BLOB NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX memories_by_sequence ON memories (shelf, sequence);"
    "CREATE UNIQUE INDEX memories_by_id ON memories (shelf, id);"
    "CREATE UNIQUE INDEX memories_by_key ON memories (shelf, key) WHERE key IS NOT NULL;"
    "CREATE INDEX memories_by_expiry ON memories (shelf, expire_us)"
    "  WHERE expire_us IS NOT NULL;"
    "CREATE INDEX memories_by_rank ON memories (shelf, rank, sequence)"
    "  WHERE rank IS NOT NULL;"
    "CREATE TABLE graves ("
    "  shelf INTEGER PRIMARY KEY, with_log INTEGER NOT NULL"
    ") STRICT;"

    "CREATE TABLE log ("
    "  life INTEGER NOT NULL, number INTEGER NOT NULL, revision INTEGER NOT NULL,"
    "  first INTEGER NOT NULL, last INTEGER NOT NULL, op INTEGER NOT NULL,"
    "  PRIMARY KEY (life, number)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE request_ids ("
    "  row INTEGER PRIMARY KEY,"
    "  slot INTEGER NOT NULL, request_id TEXT NOT NULL,"
    "  fingerprint BLOB NOT NULL, expire_us INTEGER NOT NULL, answer BLOB NOT NULL"
    ") STRICT;"
    "CREATE INDEX request_ids_by_name ON request_ids (slot, request_id, expire_us);"
    "CREATE INDEX request_ids_by_expiry ON request_ids (expire_us);"
    "CREATE TABLE tombstones ("
    "  stamp INTEGER PRIMARY KEY,"
    "  ns TEXT NOT NULL, session TEXT NOT NULL, uid BLOB NOT NULL"
    ") STRICT;"

    "CREATE TABLE outbox ("
    "  number INTEGER PRIMARY KEY,"
    "  ns TEXT NOT NULL, session TEXT NOT NULL, uid BLOB NOT NULL,"
    "  reason INTEGER NOT NULL," /* mneme_log_op */
    "  at_us INTEGER NOT NULL,"
    "  record BLOB NOT NULL" /* as answer.c writes one */
    ") STRICT;",
};

#define VERSION ((int64_t)(sizeof migrations / sizeof *migrations))

static mneme_status pragma(sq_conn *conn, const char *text, int64_t *ret_value) {
  sq_sql q = sq_sql_compose(conn, text);
  int64_t value = 0;
  if (sq_sql_next(&q)) value = sq_col_int(&q);
  mneme_status status = sq_sql_end(&q);
  if (status == MNEME_OK) *ret_value = value;
  return status;
}

static mneme_status migrate(sq_conn *conn, int64_t from, uint64_t id) {
  char text[256];
  mneme_status status = sq_conn_exec(conn, "BEGIN IMMEDIATE");
  for (int64_t n = from; n < VERSION && status == MNEME_OK; n++)
    status = sq_conn_exec(conn, migrations[n]);
  if (status == MNEME_OK && from == 0) {
    snprintf(text, sizeof text, "INSERT INTO store VALUES (1, %lld, 0); PRAGMA application_id = %d",
             (long long)(id >> 1), APPLICATION_ID);
    status = sq_conn_exec(conn, text);
  }
  if (status == MNEME_OK) {
    snprintf(text, sizeof text, "PRAGMA user_version = %lld; COMMIT", (long long)VERSION);
    status = sq_conn_exec(conn, text);
  }
  if (status != MNEME_OK && !sqlite3_get_autocommit(conn->db)) sq_conn_exec(conn, "ROLLBACK");
  return status;
}

mneme_status sq_schema_check(sq_conn *conn, int64_t *ret_version, char *error, size_t size) {
  int64_t application = 0, version = 0, objects = 0;
  mneme_status status = pragma(conn, "PRAGMA application_id", &application);
  if (status == MNEME_OK) status = pragma(conn, "PRAGMA user_version", &version);
  if (status == MNEME_OK) status = pragma(conn, "SELECT count(*) FROM sqlite_schema", &objects);
  if (status != MNEME_OK) return status;
  bool empty = application == 0 && version == 0 && objects == 0;
  if (!empty && application != APPLICATION_ID) {
    snprintf(error, size, "it is a database of another program: name another path");
    return MNEME_INVALID;
  }
  if (version > VERSION) {
    snprintf(error, size,
             "its schema is of version %lld, and this server knows %lld at most: start a newer "
             "server, or name another path",
             (long long)version, (long long)VERSION);
    return MNEME_INVALID;
  }
  *ret_version = version;
  return MNEME_OK;
}

mneme_status sq_schema_bring(sq_conn *conn, int64_t version, uint64_t id) {
  return version < VERSION ? migrate(conn, version, id) : MNEME_OK;
}
