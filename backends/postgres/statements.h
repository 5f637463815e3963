/* The room's statements, prepared on every connection when it is made. Functions are
 * in sql/; what is here is what reads need.
 *
 * Ranges of names are always closed below and open above: beyond a name x begins
 * with x and a zero byte, and after all names stands PE_NAMES_END (read.c). */
#ifndef POSTGRES_STATEMENTS_H
#define POSTGRES_STATEMENTS_H

/* A header, of sessions s, for pe_col_header. now is its parameter. What has gone is
 * counted only where something may have: OFFSET 0 keeps the condition in front of
 * the call. */
#define PE_GONE(now)                                                                       \
  " LEFT JOIN LATERAL (SELECT * FROM count_gone(s.shelf, s.loose_from, s.max_age_us, "     \
  "s.keep_system, " now ") WHERE s.due_us <= " now " OFFSET 0) g ON true"
#define PE_HEADER                                                                          \
  "s.uid, s.revision, s.settings_revision, s.last_sequence, s.mutations, "                 \
  "s.memory_count - coalesce(g.memories, 0), s.token_count - coalesce(g.tokens, 0), "      \
  "s.byte_count - coalesce(g.bytes, 0), s.create_us, s.update_us, s.append_us, "           \
  "s.expire_us, s.max_age_us, s.keep_system, s.settings"
#define PE_LIVE(now) "s.shelf IS NOT NULL AND (s.expire_us IS NULL OR s.expire_us > " now ")"

/* A record, for pe_col_record. */
#define PE_RECORD                                                                          \
  "sequence, revision, create_us, update_us, token_count, access_us, access_count, ttl_us, " \
  "event_us, expire_us, importance, crc, size, tier, pinned, id, key, kind, role, author, " \
  "source, metadata, body"
#define PE_RECORD_SHOWN                                                                    \
  "m.sequence, m.revision, m.create_us, m.update_us, m.token_count, m.access_us, "         \
  "m.access_count, m.ttl_us, m.event_us, m.expire_us, m.importance, m.crc, m.size, m.tier, " \
  "m.pinned, m.id, m.key, m.kind, m.role, m.author, m.source, "                            \
  "CASE WHEN $4 & 2 <> 0 THEN m.metadata END, CASE WHEN $4 & 1 <> 0 THEN m.body END"

/* Records of one session, all with the same first parameters: ns, session, now,
 * projection, uid or NULL, how many at most, and a number of bytes: the last record is
 * the one that reaches it. There is a row when the session is there: whether it has that
 * uid, its own, how many rows there are, and the sum of the bytes up to this row.
 *
 * The sum is of the few that LIMIT lets through; bodies are fetched only after it. */
#define PE_READ(from, where, order, place)                                                 \
  "SELECT $5::uuid IS NULL OR s.uid = $5, s.uid, m.total, " place ", " PE_RECORD_SHOWN     \
  " FROM sessions s LEFT JOIN LATERAL (SELECT * FROM ("                                    \
  "SELECT *, sum(size) OVER (ORDER BY " order " ROWS UNBOUNDED PRECEDING)::bigint AS total " \
  "FROM (SELECT m.*" from " WHERE m.shelf = s.shelf AND " where                            \
  " AND NOT is_gone(m.expire_us, m.create_us, m.pinned, m.role, $3, s.max_age_us, "        \
  "s.keep_system) ORDER BY " order " LIMIT $6) found) summed "                             \
  "WHERE total - size < $7) m ON $5::uuid IS NULL OR s.uid = $5 "                          \
  "WHERE s.ns = $1 AND s.session = $2 AND " PE_LIVE("$3") " ORDER BY m." order

#define PE_STATEMENTS                                                                      \
  PE(COMMIT_WRITE,                                                                         \
     "SELECT * FROM commit_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, " \
     "$14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, "    \
     "$30, $31, $32, $33)")                                                                \
  PE(APPEND_PLAIN, NULL) /* sql/append.sql */                                              \
  PE(META_PUT, "SELECT * FROM meta_put($1, $2, $3)")                                       \
  PE(TRIM, "SELECT trim_store($1, $2, $3)")                                                \
  PE(CORRECT_DUE, "SELECT correct_due($1, $2)")                                            \
  PE(META_GET, "SELECT value FROM meta WHERE key = $1")                                    \
  PE(PING, "SELECT current_setting('synchronous_commit'), current_setting('fsync'), "      \
     "pg_is_in_recovery()")                                                                \
  PE(SESSION_GET,                                                                          \
     "SELECT " PE_HEADER " FROM sessions s" PE_GONE("$3")                                  \
     " WHERE s.ns = $1 AND s.session = $2 AND " PE_LIVE("$3"))                             \
  PE(LIST_BY_ID,                                                                           \
     "SELECT s.session, " PE_HEADER " FROM (SELECT * FROM sessions s WHERE s.ns = $1 AND " \
     "s.session >= $2 AND s.session < $3 AND " PE_LIVE("$4")                               \
     " ORDER BY s.session LIMIT $5) s" PE_GONE("$4") " ORDER BY s.session")                \
  PE(LIST_BY_UPDATE,                                                                       \
     "SELECT s.session, " PE_HEADER " FROM (SELECT * FROM sessions s WHERE s.ns = $1 AND " \
     "s.session >= $2 AND s.session < $3 AND " PE_LIVE("$4")                               \
     " AND (NOT $6 OR s.update_us < $7 OR (s.update_us = $7 AND s.session > $8)) "         \
     "ORDER BY s.update_us DESC, s.session LIMIT $5) s" PE_GONE("$4")                      \
     " ORDER BY s.update_us DESC, s.session")                                              \
  PE(REQUEST_GET,                                                                          \
     "SELECT (a).* FROM (SELECT repeat_answer(q, $4) AS a FROM sessions s "                \
     "JOIN request_ids q ON q.slot = s.slot "                                              \
     "WHERE s.ns = $1 AND s.session = $2 AND q.request_id = $3 AND q.expire_us > $5 "      \
     "OFFSET 0) found")                                                                    \
  PE(READ_UP,                                                                              \
     PE_READ(" FROM memories m", "m.sequence >= $8 AND m.sequence <= $9", "sequence", "0")) \
  PE(READ_DOWN, PE_READ(" FROM memories m", "m.sequence >= $8 AND m.sequence <= $9",       \
                        "sequence DESC", "0"))                                             \
  PE(READ_KEYS_UP, PE_READ(" FROM memories m", "m.key >= $8 AND m.key < $9", "key", "0"))  \
  PE(READ_KEYS_DOWN,                                                                       \
     PE_READ(" FROM memories m", "m.key >= $8 AND m.key < $9", "key DESC", "0"))           \
  PE(READ_IDS, PE_READ(", n.place FROM unnest($8::bytea[]) WITH ORDINALITY AS n (name, "   \
                       "place) JOIN memories m ON m.id = n.name",                          \
                       "true", "place", "m.place"))                                        \
  PE(READ_NAMED_KEYS,                                                                      \
     PE_READ(", n.place FROM unnest($8::bytea[]) WITH ORDINALITY AS n (name, place) "      \
             "JOIN memories m ON m.key = n.name",                                          \
             "true", "place", "m.place"))                                                  \
  PE(LOG_READ,                                                                             \
     "SELECT s.uid = $3, s.log_from, l.number, l.revision, l.first, l.last, l.op "         \
     "FROM sessions s LEFT JOIN LATERAL (SELECT * FROM log l WHERE l.life = s.life AND "   \
     "l.number > $4 ORDER BY l.number LIMIT $6) l ON s.uid = $3 "                          \
     "WHERE s.ns = $1 AND s.session = $2 AND " PE_LIVE("$5") " ORDER BY l.number")         \
  PE(DUE,                                                                                  \
     "SELECT s.slot, s.due_us, least(s.expire_us, find_due(s.shelf, s.loose_from, "        \
     "s.max_age_us, s.keep_system, s.expire_us)) <= $1, s.ns, s.session, " PE_HEADER       \
     " FROM (SELECT * FROM sessions WHERE due_us <= $1 AND (due_us > $2 OR (due_us = $2 "  \
     "AND slot > $3)) ORDER BY due_us, slot LIMIT $4) s" PE_GONE("$1")                     \
     " WHERE s.shelf IS NOT NULL ORDER BY s.due_us, s.slot")                               \
  PE(STATS,                                                                                \
     "SELECT count(*), coalesce(sum(s.memory_count - coalesce(g.memories, 0)), 0)::bigint, " \
     "coalesce(sum(s.token_count - coalesce(g.tokens, 0)), 0)::bigint, "                   \
     "coalesce(sum(s.byte_count - coalesce(g.bytes, 0)), 0)::bigint "                      \
     "FROM sessions s" PE_GONE("$2") " WHERE s.ns = $1 AND " PE_LIVE("$2"))                \
  PE(STATS_OF_ONE,                                                                         \
     "SELECT count(*), coalesce(sum(s.memory_count - coalesce(g.memories, 0)), 0)::bigint, " \
     "coalesce(sum(s.token_count - coalesce(g.tokens, 0)), 0)::bigint, "                   \
     "coalesce(sum(s.byte_count - coalesce(g.bytes, 0)), 0)::bigint "                      \
     "FROM sessions s" PE_GONE("$2") " WHERE s.ns = $1 AND s.session = $3 AND "            \
     PE_LIVE("$2"))                                                                        \
  PE(CHANGES_BEGIN,                                                                        \
     "SELECT txid_snapshot_xmin(txid_current_snapshot()), "                                \
     "txid_snapshot_xmax(txid_current_snapshot()), compacted FROM store")                  \
  PE(CHANGES_ALL,                                                                          \
     "SELECT (SELECT compacted FROM store), s.slot, s.session, s.expire_us <= $3, " PE_HEADER \
     " FROM (SELECT * FROM sessions WHERE ns = $1 AND slot > $2 AND shelf IS NOT NULL "    \
     "ORDER BY slot LIMIT $4) s" PE_GONE("$3") " ORDER BY s.slot")                         \
  PE(CHANGES_SINCE,                                                                        \
     "WITH j AS (SELECT xid, slots FROM journal WHERE xid >= $2 ORDER BY xid "             \
     "FETCH FIRST 64 ROWS WITH TIES), "                                                    \
     "c AS (SELECT slot, max(xid) AS xid FROM j, unnest(slots) slot GROUP BY slot) "       \
     "SELECT (SELECT compacted FROM store), upto.xid, told.* "                             \
     "FROM (SELECT max(xid) AS xid FROM j) upto LEFT JOIN ("                               \
     "SELECT c.xid AS at, false AS gone, s.session, s.expire_us <= $3, " PE_HEADER         \
     " FROM c JOIN sessions s ON s.slot = c.slot" PE_GONE("$3")                            \
     " WHERE s.ns = $1 AND s.shelf IS NOT NULL UNION ALL "                                 \
     "SELECT t.xid, true, t.session, true, t.uid, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, " \
     "false, NULL FROM tombstones t "                                                      \
     "WHERE t.ns = $1 AND t.xid >= $2 AND t.xid <= (SELECT max(xid) FROM j)"               \
     ") told ON true ORDER BY told.at, told.gone DESC")

#endif
