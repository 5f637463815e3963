-- Appends of many sessions at once: those that need nothing but a row more. A session
-- that does is left as it is, and not in what comes back: its commits are then made
-- one by one (commit.sql).
--
-- i: a session each, ascending by (ns, session), which is the order in which their
-- rows get locked: the plan is a loop over i, since these connections neither hash nor
-- merge what an index can find. Several commits of one session are summed up in it.
-- r: the records; q: the request_ids. ilo to ihi, klo to khi and rlo to rhi are the group's
-- part of the lists of ids, keys and request_ids that may be taken already.
WITH i AS (
  SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[],
    $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
    $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::integer[],
    $18::boolean[], $19::bigint[], $20::boolean[], $21::integer[], $22::integer[], $23::integer[],
    $24::integer[], $25::integer[], $26::integer[])
  WITH ORDINALITY AS i (ns, session, records, commits, tokens, bytes, pinned, pinned_tokens,
    system, system_tokens, now_us, plan_settings, evict_above, evict_above_tokens, max_age_us,
    ttl_us, strategy, keep_system, first_expire_us, has_loose, ilo, ihi, klo, khi, rlo, rhi, k)
), u AS (
  UPDATE sessions s SET
    revision = s.revision + i.commits,
    last_sequence = s.last_sequence + i.records,
    before_us = s.last_create_us,
    last_create_us = greatest(s.last_create_us, i.now_us),
    memory_count = s.memory_count + i.records,
    token_count = s.token_count + i.tokens,
    byte_count = s.byte_count + i.bytes,
    pinned_count = s.pinned_count + i.pinned,
    pinned_tokens = s.pinned_tokens + i.pinned_tokens,
    system_count = s.system_count + i.system,
    system_tokens = s.system_tokens + i.system_tokens,
    update_us = i.now_us,
    append_us = i.now_us,
    expire_us = CASE WHEN i.ttl_us > 0 THEN add_us(i.now_us, i.ttl_us) END,
    due_us = least(s.due_us, i.first_expire_us,
      CASE WHEN i.ttl_us > 0 THEN add_us(i.now_us, i.ttl_us) END,
      CASE WHEN i.max_age_us > 0 AND i.has_loose
        THEN add_us(greatest(s.last_create_us, i.now_us), i.max_age_us) END),
    request_count = s.request_count + i.rhi - i.rlo + 1
  FROM i
  WHERE s.ns = i.ns AND s.session = i.session AND s.shelf IS NOT NULL
    AND (s.expire_us IS NULL OR s.expire_us > i.now_us)
    AND (s.due_us IS NULL OR s.due_us > i.now_us)
    AND s.max_age_us = i.max_age_us AND s.keep_system = i.keep_system
    AND (i.plan_settings = s.settings_revision
         OR (i.plan_settings = 0 AND s.settings IS NULL))
    AND (i.strategy = 2 OR NOT s.ranked)
    AND (i.evict_above <= 0 OR s.memory_count + i.records <= i.evict_above)
    AND (i.evict_above_tokens <= 0 OR s.token_count + i.tokens <= i.evict_above_tokens)
    AND (i.rhi < i.rlo OR (NOT s.crowded AND s.request_count + i.rhi - i.rlo < 65536
      AND NOT EXISTS (SELECT FROM request_ids q WHERE q.slot = s.slot
                      AND q.request_id = ANY (($51::bytea[])[i.rlo:i.rhi]))))
    AND (i.ihi < i.ilo OR NOT EXISTS (SELECT FROM memories m WHERE m.shelf = s.shelf
                                      AND m.id = ANY (($27::bytea[])[i.ilo:i.ihi])))
    AND (i.khi < i.klo OR NOT EXISTS (SELECT FROM memories m WHERE m.shelf = s.shelf
                                      AND m.key = ANY (($28::bytea[])[i.klo:i.khi])))
  RETURNING i.k, s.slot, s.shelf, s.uid, s.revision, s.settings_revision, s.last_sequence,
    s.mutations, s.memory_count, s.token_count, s.byte_count, s.create_us, s.settings,
    s.before_us, s.ranked, s.keep_system, i.records, i.commits
), m AS (
  INSERT INTO memories (shelf, sequence, revision, create_us, update_us, token_count, ttl_us,
    event_us, expire_us, importance, rank, crc, size, tier, pinned, id, key, kind, role, author,
    source, metadata, body)
  SELECT u.shelf, u.last_sequence - u.records + r.place, u.revision - u.commits + r.turn,
    greatest(r.latest_us, u.before_us), r.now_us, r.token_count, r.ttl_us, r.event_us,
    r.expire_us, r.importance,
    CASE WHEN u.ranked AND NOT is_kept(r.pinned, r.role, u.keep_system)
      THEN coalesce(r.importance, 0.5) END,
    r.crc, r.size, r.tier, r.pinned, r.id, r.key, r.kind, r.role, r.author, r.source,
    r.metadata, r.body
  FROM unnest($29::bigint[], $30::bigint[], $31::bigint[], $32::bigint[], $33::bigint[],
    $34::bigint[], $35::bigint[], $36::bigint[], $37::bigint[], $38::double precision[],
    $39::integer[], $40::integer[], $41::integer[], $42::boolean[], $43::bytea[], $44::bytea[],
    $45::bytea[], $46::bytea[], $47::bytea[], $48::bytea[], $49::bytea[], $50::bytea[])
    AS r (k, place, turn, now_us, latest_us, token_count, ttl_us, event_us, expire_us,
      importance, crc, size, tier, pinned, id, key, kind, role, author, source, metadata, body)
  JOIN u ON u.k = r.k
), a AS (
  INSERT INTO request_ids (slot, request_id, fingerprint, expire_us, uid, revision,
    settings_revision, last_sequence, memory_count, existed, truncated, removed_count,
    evicted_count, expired_count, ref_ids)
  SELECT u.slot, q.request_id, q.fingerprint, q.expire_us, u.uid,
    u.revision - u.commits + q.turn, u.settings_revision,
    u.last_sequence - u.records + q.place, u.memory_count - u.records + q.place, true, false, 0,
    0, 0, ($43::bytea[])[q.first:q.last]
  FROM unnest($51::bytea[], $52::bigint[], $53::uuid[], $54::bigint[], $55::bigint[],
    $56::bigint[], $57::integer[], $58::integer[])
    AS q (request_id, k, fingerprint, expire_us, turn, place, first, last)
  JOIN u ON u.k = q.k
), j AS (
  INSERT INTO journal SELECT txid_current(), array_agg(slot) FROM u HAVING count(*) > 0
)
SELECT k, uid, revision, settings_revision, last_sequence, mutations, memory_count, token_count,
  byte_count, create_us, settings
FROM u
