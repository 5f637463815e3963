/* Every fixed statement, in order of who runs it. Parameters are bound in order,
 * and columns are read in order, so both stand beside the function named.
 *
 * INDEXED BY is an assertion: where the planner can't use that index any more,
 * the statement fails to prepare instead of becoming a scan. */
#ifndef SQLITE_STATEMENTS_H
#define SQLITE_STATEMENTS_H

/* sq_state_read (head.c) */
#define SQ_STATE_COLUMNS                                                              \
  "slot, shelf, life, uid, revision, settings_revision, last_sequence, "              \
  "last_create_us, mutations, log_from, memory_count, token_count, byte_count, "      \
  "pinned_count, pinned_tokens, system_count, system_tokens, create_us, update_us, "  \
  "append_us, expire_us, max_age_us, keep_system, ranked, due_us, stamp, version, "   \
  "request_count, settings_size"

/* sq_brief_read (memory.c): what a step must know of a memory */
#define SQ_BRIEF_COLUMNS                                                            \
  "row, sequence, revision, create_us, update_us, access_us, access_count, "        \
  "token_count, ttl_us, expire_us, size, pinned, role = 'system', id, key"

/* sq_record_read (memory.c): all of it, body and metadata as asked for */
#define SQ_RECORD_COLUMNS(body, metadata)                                               \
  "sequence, revision, create_us, update_us, access_us, access_count, token_count, "    \
  "ttl_us, event_us, expire_us, crc, tier, pinned, importance, size, id, key, kind, "   \
  "role, author, source, " metadata ", " body

#define SQ_RECORD_ALL SQ_RECORD_COLUMNS("body", "metadata_json")
/* Its first parameter is the projection. */
#define SQ_RECORD_PROJECTED                     \
  SQ_RECORD_COLUMNS("CASE WHEN ?1 & 1 THEN body END", \
                    "CASE WHEN ?1 & 2 THEN metadata_json END")

/* What update_row (head.c) sets. Columns that an index has are set only when they
 * change: SQLite takes the entry out and puts it in again without a look at it. */
#define SQ_STATE_SET                                                                    \
  "shelf = ?2, life = ?3, uid = ?4, revision = ?5, settings_revision = ?6, "            \
  "last_sequence = ?7, last_create_us = ?8, mutations = ?9, log_from = ?10, "           \
  "memory_count = ?11, token_count = ?12, byte_count = ?13, pinned_count = ?14, "       \
  "pinned_tokens = ?15, system_count = ?16, system_tokens = ?17, create_us = ?18, "     \
  "update_us = ?19, append_us = ?20, expire_us = ?21, max_age_us = ?22, "               \
  "keep_system = ?23, ranked = ?24, version = ?25, request_count = ?26, "               \
  "settings_size = ?27"

#define SQ_BRIEF "SELECT " SQ_BRIEF_COLUMNS " FROM memories INDEXED BY "
#define SQ_STATE "SELECT " SQ_STATE_COLUMNS

#define SQ_STATEMENTS                                                                          \
  /* --- The writer: transactions (writer.c, commit.c) */                                      \
  SQ(BEGIN, "BEGIN IMMEDIATE")                                                                 \
  SQ(COMMIT, "COMMIT")                                                                         \
  SQ(ROLLBACK, "ROLLBACK")                                                                     \
  SQ(SAVE, "SAVEPOINT one")                                                                    \
  SQ(RESTORE, "ROLLBACK TO one")                                                               \
  SQ(RELEASE, "RELEASE one")                                                                   \
  /* --- Sessions (head.c) */                                                                  \
  SQ(STATE_FIND, SQ_STATE " FROM sessions WHERE ns = ?1 AND session = ?2")                     \
  SQ(STATE_INSERT, "INSERT INTO sessions (ns, session, " SQ_STATE_COLUMNS ") VALUES "          \
     "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "   \
     "?, ?, ?)")                                                                               \
  SQ(STATE_UPDATE, "UPDATE sessions SET " SQ_STATE_SET ", stamp = ?28 WHERE slot = ?1")         \
  SQ(STATE_UPDATE_QUIETLY, "UPDATE sessions SET " SQ_STATE_SET " WHERE slot = ?1")             \
  SQ(STATE_DUE, "UPDATE sessions SET due_us = ?2 WHERE slot = ?1")                             \
  SQ(STATE_DELETE, "DELETE FROM sessions WHERE slot = ?1")                                     \
  SQ(NAME_OF_SLOT, "SELECT ns, session FROM sessions WHERE slot = ?1")                         \
  SQ(SETTINGS_GET, "SELECT bytes FROM settings WHERE slot = ?1")                               \
  SQ(SETTINGS_PUT, "INSERT OR REPLACE INTO settings (slot, bytes) VALUES (?1, ?2)")            \
  SQ(SETTINGS_DELETE, "DELETE FROM settings WHERE slot = ?1")                                  \
  /* --- Memories (memory.c) */                                                                \
  SQ(MEMORY_INSERT,                                                                            \
     "INSERT OR IGNORE INTO memories (shelf, sequence, revision, create_us, update_us, "       \
     "access_us, access_count, token_count, ttl_us, event_us, expire_us, crc, tier, pinned, "  \
     "importance, rank, size, id, key, kind, role, author, source, metadata_json, body) "      \
     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")     \
  SQ(MEMORY_UPDATE,                                                                            \
     "UPDATE memories SET revision = ?2, update_us = ?3, token_count = ?4, ttl_us = ?5, "      \
     "event_us = ?6, expire_us = ?7, crc = ?8, tier = ?9, pinned = ?10, importance = ?11, "    \
     "rank = ?12, size = ?13, key = ?14, kind = ?15, role = ?16, author = ?17, source = ?18, " \
     "metadata_json = ?19, body = ?20 WHERE row = ?1")                                         \
  SQ(MEMORY_TOUCH,                                                                             \
     "UPDATE memories SET access_us = ?2, access_count = access_count + 1 WHERE row = ?1")     \
  SQ(MEMORY_SLIDE, "UPDATE memories SET expire_us = ?2 WHERE row = ?1")                        \
  SQ(MEMORY_DELETE, "DELETE FROM memories WHERE row = ?1")                                     \
  SQ(MEMORY_ALL, "SELECT " SQ_RECORD_ALL " FROM memories WHERE row = ?1")                      \
  SQ(BRIEF_AT, SQ_BRIEF "memories_by_sequence WHERE shelf = ?1 AND sequence = ?2")             \
  SQ(BRIEF_NEXT, SQ_BRIEF "memories_by_sequence WHERE shelf = ?1 AND sequence >= ?2 "          \
     "ORDER BY sequence LIMIT 1")                                                              \
  SQ(BRIEF_BACK, SQ_BRIEF "memories_by_sequence WHERE shelf = ?1 AND sequence <= ?2 "          \
     "ORDER BY sequence DESC LIMIT 1")                                                         \
  SQ(BRIEF_ID, SQ_BRIEF "memories_by_id WHERE shelf = ?1 AND id = ?2")                         \
  SQ(BRIEF_KEY, SQ_BRIEF "memories_by_key WHERE shelf = ?1 AND key = ?2")                      \
  SQ(BRIEF_LOOSE, SQ_BRIEF "memories_by_sequence WHERE shelf = ?1 AND sequence >= ?2 "         \
     "AND pinned = 0 AND (?3 = 0 OR role <> 'system') ORDER BY sequence LIMIT 1")              \
  SQ(BRIEF_EXPIRY, SQ_BRIEF "memories_by_expiry WHERE shelf = ?1 AND expire_us NOTNULL "           \
     "ORDER BY expire_us LIMIT 1")                                                             \
  SQ(BRIEF_RANK, SQ_BRIEF "memories_by_rank WHERE shelf = ?1 AND rank IS NOT NULL "            \
     "AND sequence < ?2 ORDER BY rank, sequence LIMIT 1")                                      \
  SQ(RANK_ALL, "UPDATE memories SET rank = CASE WHEN pinned = 0 AND (?2 = 0 OR role <> "       \
     "'system') THEN ifnull(importance, 0.5) END WHERE shelf = ?1")                            \
  SQ(SEQUENCES, "SELECT sequence FROM memories INDEXED BY memories_by_sequence "               \
     "WHERE shelf = ?1 ORDER BY sequence")                                                     \
  /* --- What has expired and is still in (memory.c) */                                        \
  SQ(EXPIRED_SUM, "SELECT count(*), ifnull(sum(token_count), 0), ifnull(sum(size), 0) "        \
     "FROM memories INDEXED BY memories_by_expiry "                                            \
     "WHERE shelf = ?1 AND expire_us > ?2 AND expire_us <= ?3 AND NOT "                        \
     "(?4 AND pinned = 0 AND (?6 = 0 OR role <> 'system') AND create_us <= ?5)")               \
  SQ(AGED, "SELECT sequence, create_us, token_count, size, expire_us, "                        \
     "pinned = 0 AND (?3 = 0 OR role <> 'system') "                                            \
     "FROM memories INDEXED BY memories_by_sequence WHERE shelf = ?1 AND sequence >= ?2 "      \
     "ORDER BY sequence")                                                                      \
  /* --- Logs, request_ids, what has gone (commit.c) */                                        \
  SQ(LOG_INSERT, "INSERT INTO log (life, number, revision, first, last, op) "                  \
     "VALUES (?, ?, ?, ?, ?, ?)")                                                              \
  SQ(LOG_TRIM, "DELETE FROM log WHERE life = ?1 AND number <= ?2")                             \
  SQ(REQUEST_FIND, "SELECT row, fingerprint, expire_us, answer FROM request_ids INDEXED BY "   \
     "request_ids_by_name WHERE slot = ?1 AND request_id = ?2")                                \
  SQ(REQUEST_PUT, "INSERT INTO request_ids (slot, request_id, fingerprint, expire_us, answer)" \
     " VALUES (?1, ?2, ?3, ?4, ?5)")                                                           \
  SQ(REQUEST_DELETE, "DELETE FROM request_ids WHERE row = ?1")                                 \
  SQ(REQUEST_FIRST, "SELECT expire_us, row FROM request_ids INDEXED BY request_ids_by_name "   \
     "WHERE slot = ?1 ORDER BY expire_us LIMIT ?2")                                            \
  SQ(REQUEST_LAPSED, "SELECT row, slot FROM request_ids INDEXED BY "                           \
     "request_ids_by_expiry WHERE expire_us <= ?1 ORDER BY expire_us LIMIT ?2")                \
  SQ(TOMBSTONE_PUT, "INSERT INTO tombstones (stamp, ns, session, uid) VALUES (?, ?, ?, ?)")    \
  SQ(TOMBSTONE_FIRST, "SELECT min(stamp) FROM tombstones")                                     \
  SQ(TOMBSTONE_DELETE, "DELETE FROM tombstones WHERE stamp = ?1")                              \
  SQ(COMPACT, "UPDATE store SET compacted = ?1")                                               \
  SQ(GRAVE_PUT, "INSERT INTO graves (shelf, with_log) VALUES (?1, ?2) "                        \
     "ON CONFLICT (shelf) DO UPDATE SET with_log = max(with_log, excluded.with_log)")          \
  SQ(GRAVE_FIRST, "SELECT shelf, with_log FROM graves LIMIT 1")                                \
  SQ(GRAVE_DELETE, "DELETE FROM graves WHERE shelf = ?1")                                      \
  SQ(GRAVE_MEMORIES, "DELETE FROM memories WHERE row IN (SELECT row FROM memories INDEXED BY " \
     "memories_by_sequence WHERE shelf = ?1 LIMIT ?2)")                                        \
  SQ(GRAVE_LOG, "DELETE FROM log WHERE life = ?1 AND number IN "                               \
     "(SELECT number FROM log WHERE life = ?1 LIMIT ?2)")                                      \
  /* --- At open (sqlite.c) */                                                                 \
  SQ(COUNTERS,                                                                                 \
     "SELECT (SELECT ifnull(max(slot), 0) FROM sessions), max("                                \
     "(SELECT ifnull(max(shelf), 0) FROM sessions), (SELECT ifnull(max(shelf), 0) FROM "       \
     "graves)), max((SELECT ifnull(max(stamp), 0) FROM sessions), (SELECT ifnull(max(stamp), " \
     "0) FROM tombstones), compacted), (SELECT count(*) FROM tombstones), "                    \
     "(SELECT count(*) FROM graves) FROM store")                                               \
  /* --- Meta (upkeep.c) */                                                                    \
  SQ(META_GET, "SELECT value FROM meta WHERE key = ?1")                                        \
  SQ(META_PUT, "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")                     \
  SQ(META_DELETE, "DELETE FROM meta WHERE key = ?1")                                           \
  /* --- Readers (read.c, sessions.c, changes.c) */                                            \
  SQ(READ_BEGIN, "BEGIN")                                                                      \
  SQ(READ_END, "COMMIT")                                                                       \
  SQ(PING, "SELECT id FROM store")                                                             \
  SQ(READ_UP, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_sequence "  \
     "WHERE shelf = ?2 AND sequence >= ?3 AND sequence <= ?4 ORDER BY sequence")               \
  SQ(READ_DOWN, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_sequence" \
     " WHERE shelf = ?2 AND sequence >= ?3 AND sequence <= ?4 ORDER BY sequence DESC")         \
  SQ(READ_KEYS_UP, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_key "  \
     "WHERE shelf = ?2 AND key > ?3 ORDER BY key")                                             \
  SQ(READ_KEYS_FROM, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_key" \
     " WHERE shelf = ?2 AND key >= ?3 ORDER BY key")                                           \
  SQ(READ_KEYS_DOWN, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_key" \
     " WHERE shelf = ?2 AND key < ?3 ORDER BY key DESC")                                       \
  SQ(READ_KEYS_BACK, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_key" \
     " WHERE shelf = ?2 AND key IS NOT NULL ORDER BY key DESC")                                \
  SQ(READ_ID, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_id "        \
     "WHERE shelf = ?2 AND id = ?3")                                                           \
  SQ(READ_KEY, "SELECT " SQ_RECORD_PROJECTED " FROM memories INDEXED BY memories_by_key "      \
     "WHERE shelf = ?2 AND key = ?3")                                                          \
  SQ(REQUEST_GET, "SELECT fingerprint, expire_us, answer FROM request_ids "                    \
     "INDEXED BY request_ids_by_name WHERE slot = "                                            \
     "(SELECT slot FROM sessions WHERE ns = ?1 AND session = ?2) AND request_id = ?3")         \
  SQ(LOG_READ, "SELECT number, revision, first, last, op FROM log "                            \
     "WHERE life = ?1 AND number > ?2 ORDER BY number")                                        \
  SQ(LIST_BY_ID, SQ_STATE ", ns, session FROM sessions "                                       \
     "WHERE ns = ?1 AND session >= ?2 ORDER BY session")                                       \
  SQ(LIST_BY_UPDATE, SQ_STATE ", ns, session FROM sessions WHERE ns = ?1 AND session >= ?2 "   \
     "AND (session < ?3 OR ?3 IS NULL) AND shelf IS NOT NULL "                                 \
     "AND (expire_us = 0 OR expire_us > ?4) "                                                  \
     "AND (?5 = 0 OR update_us < ?6 OR (update_us = ?6 AND session > ?7)) "                    \
     "ORDER BY update_us DESC, session LIMIT ?8")                                              \
  /* max(stamp) would walk over all sessions: it can't use a partial index */                  \
  SQ(CURSOR, "SELECT id, compacted, max(ifnull((SELECT stamp FROM sessions INDEXED BY "        \
     "sessions_by_stamp WHERE stamp > 0 ORDER BY stamp DESC LIMIT 1), 0), "                    \
     "(SELECT ifnull(max(stamp), 0) FROM tombstones), compacted) FROM store")                  \
  SQ(CHANGED_SESSIONS, SQ_STATE ", ns, session FROM sessions INDEXED BY sessions_by_stamp "    \
     "WHERE stamp > ?1 AND ns = ?2 ORDER BY stamp")                                            \
  SQ(CHANGED_TOMBSTONES, "SELECT stamp, session, uid FROM tombstones "                         \
     "WHERE stamp > ?1 AND ns = ?2 ORDER BY stamp")                                            \
  SQ(DUE, SQ_STATE ", ns, session FROM sessions INDEXED BY sessions_by_due "                   \
     "WHERE due_us <= ?1 ORDER BY due_us")

#endif
