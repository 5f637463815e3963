-- What a store needs beside commits: meta values, trims, and due_us that are too
-- early. A lock that somebody holds is passed over: another trim will come.

CREATE FUNCTION meta_put(p_key bytea, expected bytea, p_value bytea,
  OUT stored boolean, OUT current bytea) LANGUAGE plpgsql AS $$
BEGIN
  LOOP
    SELECT value INTO current FROM meta WHERE key = p_key FOR UPDATE;
    stored := coalesce(current, '') = expected;
    IF NOT stored THEN RETURN; END IF;
    IF p_value = '' THEN
      DELETE FROM meta WHERE key = p_key;
      EXIT;
    ELSIF current IS NOT NULL THEN
      UPDATE meta SET value = p_value WHERE key = p_key;
      EXIT;
    END IF;
    INSERT INTO meta VALUES (p_key, p_value) ON CONFLICT DO NOTHING;
    EXIT WHEN FOUND; -- else somebody was first: look again
  END LOOP;
  current := p_value;
END
$$;

-- request_ids that have lapsed. A commit may have renewed one meanwhile, so each is
-- looked at again under its session's lock.
CREATE FUNCTION trim_requests(p_now_us bigint, p_rows bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  lapsed record;
  s sessions;
  gone integer;
  total bigint := 0;
BEGIN
  FOR lapsed IN
    SELECT slot, array_agg(request_id) AS ids
    FROM (SELECT slot, request_id FROM request_ids WHERE expire_us <= p_now_us
          ORDER BY expire_us LIMIT p_rows) oldest
    GROUP BY slot
  LOOP
    SELECT * INTO s FROM sessions WHERE slot = lapsed.slot FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    DELETE FROM request_ids q
    WHERE q.slot = lapsed.slot AND q.request_id = ANY (lapsed.ids) AND q.expire_us <= p_now_us;
    GET DIAGNOSTICS gone = ROW_COUNT;
    s.request_count := s.request_count - gone;
    PERFORM store_session(s);
    total := total + gone;
  END LOOP;
  RETURN total;
END
$$;

-- Rows of what is buried.
CREATE FUNCTION trim_graves(p_rows bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  grave graves;
  gone bigint;
  total bigint := 0;
BEGIN
  WHILE total < p_rows LOOP
    SELECT * INTO grave FROM graves ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED;
    EXIT WHEN NOT FOUND;
    DELETE FROM memories m WHERE m.shelf = grave.number AND m.sequence IN (
      SELECT f.sequence FROM memories f WHERE f.shelf = grave.number
      ORDER BY f.sequence LIMIT p_rows - total);
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    EXIT WHEN total >= p_rows;
    IF grave.with_log THEN
      DELETE FROM log l WHERE l.life = grave.number AND l.number IN (
        SELECT f.number FROM log f WHERE f.life = grave.number
        ORDER BY f.number LIMIT p_rows - total);
      GET DIAGNOSTICS gone = ROW_COUNT;
      total := total + gone;
      EXIT WHEN total >= p_rows;
    END IF;
    DELETE FROM graves WHERE number = grave.number;
    total := total + 1;
  END LOOP;
  RETURN total;
END
$$;

-- Changes of transactions that are further back than `kept`: who has not read them
-- yet reads everything again.
CREATE FUNCTION trim_journal(kept bigint, p_rows bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  bound bigint := txid_snapshot_xmin(txid_current_snapshot()) - kept;
  up_to bigint;
  gone bigint;
  total bigint;
BEGIN
  SELECT max(xid) INTO up_to
  FROM (SELECT xid FROM journal WHERE xid < bound ORDER BY xid LIMIT p_rows) oldest;
  IF up_to IS NULL THEN RETURN 0; END IF;
  UPDATE store SET compacted = greatest(compacted, up_to);
  DELETE FROM journal WHERE xid <= up_to;
  GET DIAGNOSTICS total = ROW_COUNT;
  DELETE FROM tombstones WHERE xid <= up_to;
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN total + gone;
END
$$;

-- One of several servers at a time. Answers whether there may be more.
CREATE FUNCTION trim_store(p_now_us bigint, p_rows bigint, kept bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  total bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' trim', 0)) THEN
    RETURN false;
  END IF;
  total := trim_requests(p_now_us, p_rows);
  IF total < p_rows THEN total := total + trim_graves(p_rows - total); END IF;
  IF total < p_rows THEN total := total + trim_journal(kept, p_rows - total); END IF;
  RETURN total >= p_rows;
END
$$;

-- Sessions that are due by their row, though nothing in them is.
CREATE FUNCTION correct_due(slots bigint[], p_now_us bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  s sessions;
BEGIN
  FOR s IN SELECT * FROM sessions WHERE slot = ANY (slots) FOR UPDATE SKIP LOCKED LOOP
    IF s.shelf IS NULL THEN
      UPDATE sessions SET due_us = NULL WHERE slot = s.slot;
    ELSIF s.due_us <= p_now_us THEN
      UPDATE sessions SET due_us = find_due(s.shelf, s.loose_from, s.max_age_us, s.keep_system,
        s.expire_us)
      WHERE slot = s.slot;
    END IF;
  END LOOP;
END
$$;
