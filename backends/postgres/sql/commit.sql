-- One commit, whatever it does: commit_write. It is called in a transaction of few
-- such calls, ascending by (ns, session), each of which begins by locking its
-- session's row: so servers that share the store wait for each other in one order.
--
--   request_id remembered? -----------> its answer
--   guards 2..5 ----------------------> refuse
--   steps, expired ones out, evict ---> refuse: MN001 takes back what was done
--   log, request_id, grave, tombstone, journal, session
--
-- What the steps do is collected in a value of the type work, which each function
-- takes and gives back. Numbers of steps, of what the log says and of what is
-- answered are those of backend.h and status.h:
--   0 OK, 1 NOT_FOUND, 2 EXISTS, 3 CONFLICT, 4 STALE_PLAN, 5 REUSED,
--   8 UNSUPPORTED, 9 SESSION_FULL.

CREATE TYPE work AS (
  s sessions,        -- as the next step finds it; without a shelf: no session
  new_uid uuid,
  now_us bigint,
  evict_above bigint,
  evict_to bigint,
  evict_above_tokens bigint,
  evict_to_tokens bigint,
  max_age_us bigint,
  ttl_us bigint,
  strategy integer,
  keep_system boolean,
  want_removed boolean,
  revision bigint,   -- of what this commit changes
  stored_life bigint,  -- of the incarnation that was there; NULL = none
  stored_shelf bigint,
  incarnation integer, -- dropped and created ones count
  changed boolean,   -- something that a reader can see
  wrote boolean,     -- a memory was created or replaced
  is_set boolean,    -- the settings were set, or the session was created
  truncated boolean,
  removed_count bigint,
  evicted_count bigint,
  expired_count bigint,
  note_ops integer[], -- what was done to memories, in its order: for the log
  note_sequences bigint[],
  ref_ids bytea[],
  ref_sequences bigint[],
  ref_revisions bigint[],
  ref_created boolean[],
  removed memories[]
);

CREATE TYPE answer AS (
  status integer,
  conflict_revision bigint,
  deduplicated boolean,
  existed boolean,
  truncated boolean,
  removed_count bigint,
  evicted_count bigint,
  expired_count bigint,
  ref_ids bytea[],
  ref_sequences bigint[],
  ref_revisions bigint[],
  ref_created boolean[],
  removed memories[],
  -- The header, in the order of all that show one.
  uid uuid,
  revision bigint,
  settings_revision bigint,
  last_sequence bigint,
  mutations bigint,
  memory_count bigint,
  token_count bigint,
  byte_count bigint,
  create_us bigint,
  update_us bigint,
  append_us bigint,
  expire_us bigint,
  max_age_us bigint,
  keep_system boolean,
  settings bytea
);

-- a + b for b >= 0, at most what a bigint holds.
CREATE FUNCTION add_us(a bigint, b bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN a > 9223372036854775807 - b THEN 9223372036854775807 ELSE a + b END
$$;

-- Whether eviction and max_age spare a memory.
CREATE FUNCTION is_kept(pinned boolean, role bytea, keep_system boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT pinned OR (keep_system AND coalesce(role = 'system'::bytea, false))
$$;

-- Whether a memory is gone at now. now - max_age can't overflow, now + could.
CREATE FUNCTION is_gone(expire_us bigint, create_us bigint, pinned boolean, role bytea,
  now_us bigint, max_age_us bigint, keep_system boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(expire_us <= now_us, false)
    OR (max_age_us > 0 AND create_us <= now_us - max_age_us
        AND NOT (pinned OR (keep_system AND coalesce(role = 'system'::bytea, false))))
$$;

-- How much of what is in has gone. Looked up by the index of expire_us, and for
-- max_age from the front, where the oldest stand: create_us never falls along the
-- sequence.
CREATE FUNCTION count_gone(p_shelf bigint, p_loose_from bigint, p_max_age_us bigint,
  p_keep_system boolean, p_now_us bigint, OUT memories bigint, OUT tokens bigint, OUT bytes bigint)
LANGUAGE sql STABLE AS $$
  SELECT count(*), coalesce(sum(token_count), 0)::bigint, coalesce(sum(size), 0)::bigint
  FROM (
    SELECT m.token_count, m.size FROM memories m
    WHERE m.shelf = p_shelf AND m.expire_us <= p_now_us
    UNION ALL
    SELECT m.token_count, m.size FROM memories m
    WHERE p_max_age_us > 0 AND m.shelf = p_shelf AND m.sequence >= p_loose_from
      AND m.sequence < coalesce((
        SELECT young.sequence FROM memories young
        WHERE young.shelf = p_shelf AND young.sequence >= p_loose_from
          AND young.create_us > p_now_us - p_max_age_us
        ORDER BY young.sequence LIMIT 1), 9223372036854775807)
      AND NOT is_kept(m.pinned, m.role, p_keep_system)
      AND (m.expire_us IS NULL OR m.expire_us > p_now_us)
  ) gone
$$;

-- The first instant at which the session, or a memory in it, expires.
CREATE FUNCTION find_due(p_shelf bigint, p_loose_from bigint, p_max_age_us bigint,
  p_keep_system boolean, p_expire_us bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT least(p_expire_us,
    (SELECT m.expire_us FROM memories m WHERE m.shelf = p_shelf AND m.expire_us IS NOT NULL
     ORDER BY m.expire_us LIMIT 1),
    (SELECT add_us(m.create_us, p_max_age_us) FROM memories m
     WHERE p_max_age_us > 0 AND m.shelf = p_shelf AND m.sequence >= p_loose_from
       AND NOT is_kept(m.pinned, m.role, p_keep_system)
     ORDER BY m.sequence LIMIT 1))
$$;

CREATE FUNCTION refuse(status integer, conflict_revision bigint DEFAULT 0) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'MN001', MESSAGE = status, DETAIL = conflict_revision;
END
$$;

-- --- Sessions -----------------------------------------------------------------

-- The row of a name, locked; made when it is not there. A row may go between our
-- looks, when a trim takes an empty one: then we look again.
CREATE FUNCTION lock_session(p_ns bytea, p_session bytea, makes boolean) RETURNS sessions
LANGUAGE plpgsql AS $$
DECLARE
  s sessions;
BEGIN
  LOOP
    SELECT * INTO s FROM sessions WHERE ns = p_ns AND session = p_session FOR UPDATE;
    IF FOUND OR NOT makes THEN RETURN s; END IF;
    INSERT INTO sessions (slot, ns, session) VALUES (nextval('numbers'), p_ns, p_session)
    ON CONFLICT DO NOTHING RETURNING * INTO s;
    IF FOUND THEN RETURN s; END IF;
  END LOOP;
END
$$;

-- A row as it is without a session; what outlives one stays.
CREATE FUNCTION clear_session(s sessions) RETURNS sessions LANGUAGE plpgsql AS $$
DECLARE
  empty sessions;
BEGIN
  empty.slot := s.slot;
  empty.ns := s.ns;
  empty.session := s.session;
  empty.request_count := s.request_count;
  empty.crowded := s.crowded;
  SELECT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
  INTO empty.revision, empty.settings_revision, empty.last_sequence, empty.last_create_us,
    empty.mutations, empty.log_from, empty.memory_count, empty.token_count, empty.byte_count,
    empty.pinned_count, empty.pinned_tokens, empty.system_count, empty.system_tokens;
  SELECT 0, 0, 0, 0, 1, false, false
  INTO empty.create_us, empty.update_us, empty.append_us, empty.max_age_us, empty.loose_from,
    empty.keep_system, empty.ranked;
  RETURN empty;
END
$$;

CREATE FUNCTION begin_session(w work) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := clear_session(w.s);
BEGIN
  s.shelf := nextval('numbers');
  s.life := s.shelf;
  s.uid := w.new_uid;
  s.create_us := w.now_us;
  s.settings_revision := 1;
  s.max_age_us := w.max_age_us;
  s.keep_system := w.keep_system;
  w.s := s;
  w.incarnation := w.incarnation + 1;
  w.revision := 1;
  w.changed := true;
  w.is_set := true;
  RETURN w;
END
$$;

-- The following steps find no session. What was there at the start is buried in the
-- end; a shelf that this commit made, at once.
CREATE FUNCTION leave_session(w work) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
BEGIN
  IF s.shelf IS DISTINCT FROM w.stored_shelf THEN
    INSERT INTO graves VALUES (s.shelf, false) ON CONFLICT DO NOTHING;
  END IF;
  w.s := clear_session(s);
  w.incarnation := w.incarnation + 1;
  w.wrote := false;
  w.is_set := false;
  w.note_ops := '{}';
  w.note_sequences := '{}';
  RETURN w;
END
$$;

-- --- Memories -----------------------------------------------------------------

-- Takes memories out; op says what the log will.
CREATE FUNCTION take_out(w work, p_op integer, victims bigint[]) RETURNS work
LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  t record;
BEGIN
  IF victims IS NULL OR cardinality(victims) = 0 THEN RETURN w; END IF;
  IF p_op = 2 AND w.want_removed THEN
    w.removed := w.removed || (SELECT array_agg(m) FROM memories m
      WHERE m.shelf = s.shelf AND m.sequence = ANY (victims));
  END IF;
  WITH gone AS (
    DELETE FROM memories m WHERE m.shelf = s.shelf AND m.sequence = ANY (victims)
    RETURNING m.token_count AS tokens, m.size, m.pinned,
      NOT m.pinned AND coalesce(m.role = 'system'::bytea, false) AS system)
  SELECT count(*) AS memories, coalesce(sum(tokens), 0) AS tokens, coalesce(sum(size), 0) AS bytes,
    count(*) FILTER (WHERE pinned) AS pinned,
    coalesce(sum(tokens) FILTER (WHERE pinned), 0) AS pinned_tokens,
    count(*) FILTER (WHERE system) AS system,
    coalesce(sum(tokens) FILTER (WHERE system), 0) AS system_tokens
  INTO t FROM gone;
  s.memory_count := s.memory_count - t.memories;
  s.token_count := s.token_count - t.tokens;
  s.byte_count := s.byte_count - t.bytes;
  s.pinned_count := s.pinned_count - t.pinned;
  s.pinned_tokens := s.pinned_tokens - t.pinned_tokens;
  s.system_count := s.system_count - t.system;
  s.system_tokens := s.system_tokens - t.system_tokens;
  w.s := s;
  w.note_ops := w.note_ops || array_fill(p_op, ARRAY[cardinality(victims)]);
  w.note_sequences := w.note_sequences || victims;
  CASE p_op
    WHEN 2 THEN
      w.removed_count := w.removed_count + t.memories;
      w.changed := true;
    WHEN 3 THEN
      w.evicted_count := w.evicted_count + t.memories;
      w.changed := true;
    WHEN 4 THEN
      w.expired_count := w.expired_count + t.memories;
  END CASE;
  RETURN w;
END
$$;

-- Puts records behind the last, none of which meets another.
CREATE FUNCTION insert_records(w work, records memories[]) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  t record;
  at_us bigint := greatest(w.now_us, s.last_create_us);
BEGIN
  WITH added AS (
    INSERT INTO memories (shelf, sequence, revision, create_us, update_us, token_count, ttl_us,
      event_us, expire_us, importance, rank, crc, size, tier, pinned, id, key, kind, role, author,
      source, metadata, body)
    SELECT s.shelf, s.last_sequence + r.ordinality, w.revision, at_us, w.now_us, r.token_count,
      r.ttl_us, r.event_us, r.expire_us, r.importance,
      CASE WHEN s.ranked AND NOT is_kept(r.pinned, r.role, s.keep_system)
        THEN coalesce(r.importance, 0.5) END,
      r.crc, r.size, r.tier, r.pinned, r.id, r.key, r.kind, r.role, r.author, r.source,
      r.metadata, r.body
    FROM unnest(records) WITH ORDINALITY AS r
    RETURNING id, sequence, token_count AS tokens, memories.size, memories.pinned, expire_us,
      NOT memories.pinned AND coalesce(role = 'system'::bytea, false) AS system,
      is_kept(memories.pinned, role, s.keep_system) AS kept)
  SELECT count(*) AS memories, sum(tokens) AS tokens, sum(size) AS bytes,
    count(*) FILTER (WHERE pinned) AS pinned,
    coalesce(sum(tokens) FILTER (WHERE pinned), 0) AS pinned_tokens,
    count(*) FILTER (WHERE system) AS system,
    coalesce(sum(tokens) FILTER (WHERE system), 0) AS system_tokens,
    min(expire_us) AS expire_us, bool_and(kept) AS kept,
    array_agg(id ORDER BY sequence) AS ids, array_agg(sequence ORDER BY sequence) AS sequences
  INTO t FROM added;
  s.last_sequence := s.last_sequence + t.memories;
  s.last_create_us := at_us;
  s.memory_count := s.memory_count + t.memories;
  s.token_count := s.token_count + t.tokens;
  s.byte_count := s.byte_count + t.bytes;
  s.pinned_count := s.pinned_count + t.pinned;
  s.pinned_tokens := s.pinned_tokens + t.pinned_tokens;
  s.system_count := s.system_count + t.system;
  s.system_tokens := s.system_tokens + t.system_tokens;
  s.due_us := least(s.due_us, t.expire_us,
    CASE WHEN s.max_age_us > 0 AND NOT t.kept THEN add_us(at_us, s.max_age_us) END);
  w.s := s;
  w.ref_ids := w.ref_ids || t.ids;
  w.ref_sequences := w.ref_sequences || t.sequences;
  w.ref_revisions := w.ref_revisions || array_fill(w.revision, ARRAY[t.memories::integer]);
  w.ref_created := w.ref_created || array_fill(true, ARRAY[t.memories::integer]);
  w.changed := true;
  w.wrote := true;
  RETURN w;
END
$$;

-- r takes the place of the memory at that sequence.
CREATE FUNCTION replace_record(w work, p_sequence bigint, r memories) RETURNS work
LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  old record;
  kept boolean := is_kept(r.pinned, r.role, s.keep_system);
  system boolean := NOT r.pinned AND coalesce(r.role = 'system'::bytea, false);
BEGIN
  SELECT m.id, m.create_us, m.token_count AS tokens, m.size, m.pinned,
    NOT m.pinned AND coalesce(m.role = 'system'::bytea, false) AS system
  INTO old FROM memories m WHERE m.shelf = s.shelf AND m.sequence = p_sequence;
  UPDATE memories m SET
    revision = w.revision, update_us = greatest(w.now_us, m.update_us + 1),
    token_count = r.token_count, ttl_us = r.ttl_us, event_us = r.event_us,
    expire_us = r.expire_us, importance = r.importance,
    rank = CASE WHEN s.ranked AND NOT kept THEN coalesce(r.importance, 0.5) END,
    crc = r.crc, size = r.size + length(old.id) - length(r.id), tier = r.tier, pinned = r.pinned,
    key = r.key, kind = r.kind, role = r.role, author = r.author, source = r.source,
    metadata = r.metadata, body = r.body
  WHERE m.shelf = s.shelf AND m.sequence = p_sequence;
  s.token_count := s.token_count - old.tokens + r.token_count;
  s.byte_count := s.byte_count - old.size + r.size + length(old.id) - length(r.id);
  s.pinned_count := s.pinned_count - old.pinned::integer + r.pinned::integer;
  s.pinned_tokens := s.pinned_tokens - CASE WHEN old.pinned THEN old.tokens ELSE 0 END
    + CASE WHEN r.pinned THEN r.token_count ELSE 0 END;
  s.system_count := s.system_count - old.system::integer + system::integer;
  s.system_tokens := s.system_tokens - CASE WHEN old.system THEN old.tokens ELSE 0 END
    + CASE WHEN system THEN r.token_count ELSE 0 END;
  s.due_us := least(s.due_us, r.expire_us,
    CASE WHEN s.max_age_us > 0 AND NOT kept THEN add_us(old.create_us, s.max_age_us) END);
  IF NOT kept THEN s.loose_from := least(s.loose_from, p_sequence); END IF;
  w.s := s;
  w.note_ops := w.note_ops || 1;
  w.note_sequences := w.note_sequences || p_sequence;
  w.ref_ids := w.ref_ids || old.id;
  w.ref_sequences := w.ref_sequences || p_sequence;
  w.ref_revisions := w.ref_revisions || w.revision;
  w.ref_created := w.ref_created || false;
  w.changed := true;
  w.wrote := true;
  RETURN w;
END
$$;

-- A record whose id or key may be another's. The indexes hold one memory of a name:
-- an expired one that still stands there goes before another takes the name.
CREATE FUNCTION append_beside(w work, policy integer, r memories) RETURNS work
LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  by_id record;
  by_key record;
  owner record; -- the one that counts
  has_id boolean;
  has_key boolean;
  has_owner boolean;
BEGIN
  SELECT m.id, m.sequence, m.revision, is_gone(m.expire_us, m.create_us, m.pinned, m.role,
    w.now_us, s.max_age_us, s.keep_system) AS gone
  INTO by_id FROM memories m WHERE m.shelf = s.shelf AND m.id = r.id;
  has_id := FOUND;
  SELECT m.id, m.sequence, m.revision, is_gone(m.expire_us, m.create_us, m.pinned, m.role,
    w.now_us, s.max_age_us, s.keep_system) AS gone
  INTO by_key FROM memories m WHERE m.shelf = s.shelf AND m.key = r.key;
  has_key := FOUND;
  has_owner := has_id AND NOT by_id.gone;
  IF has_owner THEN
    IF has_key AND NOT by_key.gone AND by_key.sequence <> by_id.sequence THEN
      PERFORM refuse(2);
    END IF;
    owner := by_id;
  ELSIF has_key AND NOT by_key.gone THEN
    has_owner := true;
    owner := by_key;
  END IF;
  IF has_owner AND policy = 2 THEN
    w.ref_ids := w.ref_ids || owner.id;
    w.ref_sequences := w.ref_sequences || owner.sequence;
    w.ref_revisions := w.ref_revisions || owner.revision;
    w.ref_created := w.ref_created || false;
    RETURN w;
  END IF;
  IF has_owner AND policy <> 3 THEN PERFORM refuse(2); END IF;
  IF has_key AND by_key.gone THEN w := take_out(w, 4, ARRAY[by_key.sequence]); END IF;
  IF has_owner THEN RETURN replace_record(w, owner.sequence, r); END IF;
  IF has_id AND NOT (has_key AND by_key.sequence = by_id.sequence) THEN
    w := take_out(w, 4, ARRAY[by_id.sequence]);
  END IF;
  RETURN insert_records(w, ARRAY[r]);
END
$$;

-- --- Steps --------------------------------------------------------------------

CREATE FUNCTION append_step(w work, policies integer[], records memories[]) RETURNS work
LANGUAGE plpgsql AS $$
DECLARE
  p_shelf bigint;
BEGIN
  -- Mostly none of them meets another; then they go in at once.
  IF (w.s).shelf IS NULL THEN w := begin_session(w); END IF;
  IF cardinality(records) = 0 THEN RETURN w; END IF;
  p_shelf := (w.s).shelf;
  IF (cardinality(records) = 1
      OR (SELECT count(DISTINCT r.id) = count(*) AND count(DISTINCT r.key) = count(r.key)
          FROM unnest(records) r))
     AND NOT EXISTS (SELECT FROM unnest(records) r
                     JOIN memories m ON m.shelf = p_shelf AND m.id = r.id)
     AND NOT EXISTS (SELECT FROM unnest(records) r
                     JOIN memories m ON m.shelf = p_shelf AND m.key = r.key) THEN
    RETURN insert_records(w, records);
  END IF;
  FOR i IN 1 .. cardinality(records) LOOP
    w := append_beside(w, policies[i], records[i]);
  END LOOP;
  RETURN w;
END
$$;

CREATE FUNCTION put_step(w work, expected bigint, r memories) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  old record;
  owner record;
BEGIN
  IF s.shelf IS NULL THEN PERFORM refuse(1); END IF;
  SELECT m.revision, is_gone(m.expire_us, m.create_us, m.pinned, m.role, w.now_us, s.max_age_us,
    s.keep_system) AS gone
  INTO old FROM memories m WHERE m.shelf = s.shelf AND m.sequence = r.sequence;
  IF NOT FOUND OR old.gone THEN PERFORM refuse(1); END IF;
  IF expected >= 0 AND expected <> old.revision THEN PERFORM refuse(3, old.revision); END IF;
  IF r.key IS NOT NULL THEN
    SELECT m.sequence, is_gone(m.expire_us, m.create_us, m.pinned, m.role, w.now_us,
      s.max_age_us, s.keep_system) AS gone
    INTO owner FROM memories m
    WHERE m.shelf = s.shelf AND m.key = r.key AND m.sequence <> r.sequence;
    IF FOUND AND NOT owner.gone THEN PERFORM refuse(2); END IF;
    IF FOUND THEN w := take_out(w, 4, ARRAY[owner.sequence]); END IF;
  END IF;
  RETURN replace_record(w, r.sequence, r);
END
$$;

CREATE FUNCTION remove_newest_step(w work, p_count bigint, byte_limit bigint) RETURNS work
LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  t record;
BEGIN
  SELECT array_agg(sequence ORDER BY sequence) FILTER (WHERE fits) AS victims,
    bool_or(NOT fits) AS truncated
  INTO t FROM (
    SELECT sequence, byte_limit = 0 OR row_number() OVER newest = 1
      OR sum(size) OVER newest <= byte_limit AS fits
    FROM (SELECT m.sequence, m.size FROM memories m
          WHERE m.shelf = s.shelf AND NOT is_gone(m.expire_us, m.create_us, m.pinned, m.role,
            w.now_us, s.max_age_us, s.keep_system)
          ORDER BY m.sequence DESC LIMIT p_count) candidates
    WINDOW newest AS (ORDER BY sequence DESC)) judged;
  IF t.truncated THEN w.truncated := true; END IF;
  RETURN take_out(w, 2, t.victims);
END
$$;

-- All of many memories: the session gets a new shelf, and the old one is emptied
-- later. What has expired would stay until it is swept, and is not counted: then
-- they go one by one, as those do that are asked for.
CREATE FUNCTION remove_from_step(w work, p_from bigint) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  victims bigint[];
  nothing_due boolean := s.due_us IS NULL OR s.due_us > w.now_us;
BEGIN
  SELECT array_agg(m.sequence ORDER BY m.sequence) INTO victims FROM memories m
  WHERE m.shelf = s.shelf AND m.sequence >= p_from AND (nothing_due OR NOT is_gone(m.expire_us,
    m.create_us, m.pinned, m.role, w.now_us, s.max_age_us, s.keep_system));
  IF w.want_removed OR s.memory_count < 256
     OR s.memory_count > coalesce(cardinality(victims), 0) THEN
    RETURN take_out(w, 2, victims);
  END IF;
  INSERT INTO graves VALUES (s.shelf, false) ON CONFLICT DO NOTHING;
  w.removed_count := w.removed_count + s.memory_count;
  w.note_ops := w.note_ops || array_fill(2, ARRAY[cardinality(victims)]);
  w.note_sequences := w.note_sequences || victims;
  w.changed := true;
  s.shelf := nextval('numbers');
  s.memory_count := 0;
  s.token_count := 0;
  s.byte_count := 0;
  s.pinned_count := 0;
  s.pinned_tokens := 0;
  s.system_count := 0;
  s.system_tokens := 0;
  s.loose_from := s.last_sequence + 1;
  w.s := s;
  RETURN w;
END
$$;

CREATE FUNCTION touch_step(w work, p_sequences bigint[], slides boolean) RETURNS work
LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  first_us bigint;
BEGIN
  WITH touched AS (
    UPDATE memories m SET access_us = w.now_us, access_count = coalesce(m.access_count, 0) + 1,
      expire_us = CASE WHEN slides AND m.ttl_us > 0 THEN add_us(w.now_us, m.ttl_us)
        ELSE m.expire_us END
    WHERE m.shelf = s.shelf AND m.sequence = ANY (p_sequences)
      AND NOT is_gone(m.expire_us, m.create_us, m.pinned, m.role, w.now_us, s.max_age_us,
        s.keep_system)
    RETURNING m.expire_us)
  SELECT min(expire_us) INTO first_us FROM touched;
  s.due_us := least(s.due_us, first_us);
  w.s := s;
  RETURN w;
END
$$;

-- Removes what has expired, up to p_max.
CREATE FUNCTION expire_memories(w work, p_max bigint) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  victims bigint[];
BEGIN
  IF s.due_us IS NULL OR s.due_us > w.now_us THEN RETURN w; END IF;
  SELECT array_agg(sequence) INTO victims FROM (
    SELECT m.sequence FROM memories m WHERE m.shelf = s.shelf AND m.expire_us <= w.now_us
    ORDER BY m.expire_us LIMIT p_max) due;
  w := take_out(w, 4, victims);
  p_max := p_max - coalesce(cardinality(victims), 0);
  IF s.max_age_us <= 0 OR p_max <= 0 THEN RETURN w; END IF;
  SELECT array_agg(sequence ORDER BY sequence) INTO victims FROM (
    SELECT m.sequence FROM memories m
    WHERE m.shelf = s.shelf AND m.sequence >= s.loose_from
      AND m.sequence < coalesce((
        SELECT young.sequence FROM memories young
        WHERE young.shelf = s.shelf AND young.sequence >= s.loose_from
          AND young.create_us > w.now_us - s.max_age_us
        ORDER BY young.sequence LIMIT 1), 9223372036854775807)
      AND NOT is_kept(m.pinned, m.role, s.keep_system)
    ORDER BY m.sequence LIMIT p_max) aged;
  w := take_out(w, 4, victims);
  IF cardinality(victims) > 0 THEN
    s := w.s;
    s.loose_from := victims[cardinality(victims)] + 1;
    w.s := s;
  END IF;
  RETURN w;
END
$$;

CREATE FUNCTION expire_step(w work, p_max bigint) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
BEGIN
  IF s.expire_us IS NULL OR s.expire_us > w.now_us THEN RETURN expire_memories(w, p_max); END IF;
  w.expired_count := s.memory_count;
  RETURN leave_session(w);
END
$$;

CREATE FUNCTION drop_step(w work) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  live bigint := s.memory_count;
BEGIN
  IF s.due_us <= w.now_us THEN
    SELECT live - gone.memories INTO live
    FROM count_gone(s.shelf, s.loose_from, s.max_age_us, s.keep_system, w.now_us) gone;
  END IF;
  w.removed_count := w.removed_count + live;
  w.expired_count := 0; -- whatever had expired went with the rest
  RETURN leave_session(w);
END
$$;

CREATE FUNCTION settings_step(w work, p_settings bytea) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions;
BEGIN
  IF (w.s).shelf IS NULL THEN w := begin_session(w); END IF;
  s := w.s;
  s.settings := p_settings;
  s.settings_revision := w.revision;
  w.s := s;
  w.changed := true;
  w.is_set := true;
  RETURN w;
END
$$;

-- Those of the names or sequences that are there and live.
CREATE FUNCTION remove_step(w work, p_op integer, p_names bytea[], p_sequences bigint[],
  p_revisions bigint[]) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  victims bigint[];
BEGIN
  IF p_op = 3 THEN
    SELECT array_agg(m.sequence) INTO victims FROM unnest(p_names) AS n (name)
    JOIN memories m ON m.shelf = s.shelf AND m.id = n.name
    WHERE NOT is_gone(m.expire_us, m.create_us, m.pinned, m.role, w.now_us, s.max_age_us,
      s.keep_system);
  ELSIF p_op = 4 THEN
    SELECT array_agg(m.sequence) INTO victims FROM unnest(p_names) AS n (name)
    JOIN memories m ON m.shelf = s.shelf AND m.key = n.name
    WHERE NOT is_gone(m.expire_us, m.create_us, m.pinned, m.role, w.now_us, s.max_age_us,
      s.keep_system);
  ELSE
    SELECT array_agg(m.sequence) INTO victims
    FROM unnest(p_sequences, p_revisions) AS n (sequence, revision)
    JOIN memories m ON m.shelf = s.shelf AND m.sequence = n.sequence
    WHERE (n.revision IS NULL OR n.revision = m.revision)
      AND NOT is_gone(m.expire_us, m.create_us, m.pinned, m.role, w.now_us, s.max_age_us,
        s.keep_system);
  END IF;
  RETURN take_out(w, 2, victims);
END
$$;

-- The steps in their order. sizes[i] is how many of the records, names or sequences
-- are of step i.
CREATE FUNCTION run_steps(w work, ops integer[], counts bigint[], byte_limits bigint[],
  expected bigint[], settings bytea[], slides boolean[], sizes integer[], policies integer[],
  records memories[], names bytea[], sequences bigint[], revisions bigint[]) RETURNS work
LANGUAGE plpgsql AS $$
DECLARE
  r integer := 0; -- how many of each were taken
  n integer := 0;
  q integer := 0;
  size integer;
BEGIN
  FOR i IN 1 .. cardinality(ops) LOOP
    size := sizes[i];
    IF ops[i] = 1 THEN
      w := append_step(w, policies[r + 1 : r + size], records[r + 1 : r + size]);
      r := r + size;
    ELSIF ops[i] = 2 THEN
      w := put_step(w, expected[i], records[r + 1]);
      r := r + 1;
    ELSIF ops[i] = 8 THEN
      w := settings_step(w, settings[i]);
    ELSIF ops[i] IN (3, 4) THEN
      IF (w.s).shelf IS NOT NULL THEN
        w := remove_step(w, ops[i], names[n + 1 : n + size], NULL, NULL);
      END IF;
      n := n + size;
    ELSIF ops[i] IN (5, 9) THEN
      IF (w.s).shelf IS NULL THEN
        NULL; -- it finds nothing, and that is fine
      ELSIF ops[i] = 5 THEN
        w := remove_step(w, 5, NULL, sequences[q + 1 : q + size], revisions[q + 1 : q + size]);
      ELSE
        w := touch_step(w, sequences[q + 1 : q + size], slides[i]);
      END IF;
      q := q + size;
    ELSIF ops[i] NOT IN (6, 7, 10, 11) THEN
      PERFORM refuse(8);
    ELSIF (w.s).shelf IS NULL THEN
      NULL;
    ELSIF ops[i] = 6 THEN
      w := remove_newest_step(w, counts[i], byte_limits[i]);
    ELSIF ops[i] = 7 THEN
      w := remove_from_step(w, counts[i]);
    ELSIF ops[i] = 10 THEN
      w := drop_step(w);
    ELSE
      w := expire_step(w, counts[i]);
    END IF;
  END LOOP;
  IF w.wrote THEN
    w := expire_memories(w, 9223372036854775807);
    w := make_room(w);
  END IF;
  RETURN w;
END
$$;

-- --- Policy -------------------------------------------------------------------

-- One limit, as mneme_rule_room has it: its target, NULL where there is room; or
-- SESSION_FULL. kept: what eviction can't take, the newest with it.
CREATE FUNCTION room_target(strategy integer, above bigint, target bigint, live bigint,
  kept bigint, newest bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  IF above <= 0 OR live <= above THEN RETURN NULL; END IF;
  IF strategy = 3 THEN PERFORM refuse(9); END IF;
  IF target <= 0 OR target > above THEN target := above; END IF;
  IF kept > target AND newest <= target THEN PERFORM refuse(9); END IF;
  RETURN target;
END
$$;

-- Everything expired is out by now, so the counts of all are those of the live.
CREATE FUNCTION make_room(w work) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  newest record;
  memories_target bigint;
  tokens_target bigint;
  kept_count bigint := s.pinned_count + CASE WHEN w.keep_system THEN s.system_count ELSE 0 END;
  kept_tokens bigint := s.pinned_tokens + CASE WHEN w.keep_system THEN s.system_tokens ELSE 0 END;
BEGIN
  IF (w.evict_above <= 0 OR s.memory_count <= w.evict_above)
     AND (w.evict_above_tokens <= 0 OR s.token_count <= w.evict_above_tokens) THEN
    IF w.strategy <> 2 THEN
      s.ranked := false;
      w.s := s;
    END IF;
    RETURN w;
  END IF;
  SELECT m.sequence, m.token_count AS tokens, is_kept(m.pinned, m.role, s.keep_system) AS kept
  INTO newest FROM memories m WHERE m.shelf = s.shelf ORDER BY m.sequence DESC LIMIT 1;
  IF NOT FOUND THEN RETURN w; END IF;
  IF NOT newest.kept THEN
    kept_count := kept_count + 1;
    kept_tokens := kept_tokens + newest.tokens;
  END IF;
  memories_target := room_target(w.strategy, w.evict_above, w.evict_to, s.memory_count,
    kept_count, 1);
  tokens_target := room_target(w.strategy, w.evict_above_tokens, w.evict_to_tokens,
    s.token_count, kept_tokens, newest.tokens);
  RETURN evict_until(w, newest.sequence, coalesce(memories_target, 9223372036854775807),
    coalesce(tokens_target, 9223372036854775807));
END
$$;

-- FIFO walks the index by sequence from loose_from. LEAST_IMPORTANT needs an order
-- by importance: rank is that, and NULL for memories that are kept, so that the
-- index by rank holds the candidates only. It costs writes, so it is there for
-- sessions that use it: their first such eviction ranks all.
CREATE FUNCTION evict_until(w work, newest bigint, to_memories bigint, to_tokens bigint)
RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  by_rank boolean := w.strategy = 2;
  victims bigint[];
BEGIN
  IF by_rank AND NOT s.ranked THEN
    UPDATE memories m SET rank = coalesce(m.importance, 0.5)
    WHERE m.shelf = s.shelf AND NOT is_kept(m.pinned, m.role, s.keep_system);
    UPDATE memories m SET rank = NULL
    WHERE m.shelf = s.shelf AND m.rank IS NOT NULL AND is_kept(m.pinned, m.role, s.keep_system);
  END IF;
  s.ranked := by_rank;
  w.s := s;
  WHILE s.memory_count > to_memories OR s.token_count > to_tokens LOOP
    IF by_rank THEN
      SELECT array_agg(sequence) INTO victims FROM (
        SELECT sequence, tokens, row_number() OVER worst - 1 AS memories_before,
          sum(tokens) OVER worst - tokens AS tokens_before
        FROM (SELECT m.sequence, m.rank, m.token_count AS tokens FROM memories m
              WHERE m.shelf = s.shelf AND m.rank IS NOT NULL AND m.sequence < newest
              ORDER BY m.rank, m.sequence
              LIMIT greatest(s.memory_count - to_memories, 100)) candidates
        WINDOW worst AS (ORDER BY rank, sequence)) judged
      WHERE s.memory_count - memories_before > to_memories
        OR s.token_count - tokens_before > to_tokens;
    ELSE
      SELECT array_agg(sequence ORDER BY sequence) INTO victims FROM (
        SELECT sequence, tokens, row_number() OVER worst - 1 AS memories_before,
          sum(tokens) OVER worst - tokens AS tokens_before
        FROM (SELECT m.sequence, m.token_count AS tokens FROM memories m
              WHERE m.shelf = s.shelf AND m.sequence >= s.loose_from AND m.sequence < newest
                AND NOT is_kept(m.pinned, m.role, s.keep_system)
              ORDER BY m.sequence
              LIMIT greatest(s.memory_count - to_memories, 100)) candidates
        WINDOW worst AS (ORDER BY sequence)) judged
      WHERE s.memory_count - memories_before > to_memories
        OR s.token_count - tokens_before > to_tokens;
    END IF;
    EXIT WHEN victims IS NULL;
    w := take_out(w, 3, victims);
    s := w.s;
    IF NOT by_rank THEN
      s.loose_from := victims[cardinality(victims)] + 1;
      w.s := s;
    END IF;
  END LOOP;
  RETURN w;
END
$$;

-- --- After the steps ----------------------------------------------------------

-- What happened alike to neighbours becomes one entry, as mneme_rule_merge_log has
-- it: within a run of the same op, by sequence. An entry more than must be kept
-- stays for a while, so that not every commit trims.
CREATE FUNCTION write_log(w work) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  entries bigint;
BEGIN
  INSERT INTO log (life, number, revision, first, last, op)
  SELECT s.life, s.mutations + row_number() OVER (ORDER BY run, first), s.revision, first, last, op
  FROM (
    SELECT run, op, min(sequence) AS first, max(sequence) AS last
    FROM (
      SELECT run, op, sequence,
        sequence - dense_rank() OVER (PARTITION BY run ORDER BY sequence) AS island
      FROM (
        SELECT sequence, op, sum(turns) OVER (ORDER BY i) AS run
        FROM (
          SELECT sequence, op, i,
            (op IS DISTINCT FROM lag(op) OVER (ORDER BY i))::integer AS turns
          FROM unnest(w.note_ops, w.note_sequences) WITH ORDINALITY AS note (op, sequence, i)
        ) notes) runs) islands
    GROUP BY run, op, island) ranges;
  GET DIAGNOSTICS entries = ROW_COUNT;
  s.mutations := s.mutations + entries;
  IF s.mutations - s.log_from > 4096 + 512 THEN
    s.log_from := s.mutations - 4096;
    DELETE FROM log l WHERE l.life = s.life AND l.number <= s.log_from;
  END IF;
  w.s := s;
  RETURN w;
END
$$;

-- Beside as many request_ids as a session may have, the one that would lapse first
-- is forgotten. A session that gets there is crowded from then on: an index of its
-- own tells which one that is.
CREATE FUNCTION forget_first(s sessions) RETURNS sessions LANGUAGE plpgsql AS $$
BEGIN
  IF NOT s.crowded THEN
    UPDATE request_ids SET lapse_us = expire_us WHERE slot = s.slot;
    s.crowded := true;
  END IF;
  DELETE FROM request_ids q WHERE q.slot = s.slot AND q.request_id = (
    SELECT f.request_id FROM request_ids f WHERE f.slot = s.slot AND f.lapse_us IS NOT NULL
    ORDER BY f.lapse_us LIMIT 1);
  s.request_count := s.request_count - 1;
  RETURN s;
END
$$;

CREATE FUNCTION remember(w work, p_request_id bytea, p_fingerprint uuid, window_us bigint,
  p_existed boolean, p_memory_count bigint) RETURNS work LANGUAGE plpgsql AS $$
DECLARE
  s sessions := w.s;
  until_us bigint := add_us(w.now_us, window_us);
BEGIN
  IF s.request_count >= 65536 THEN s := forget_first(s); END IF;
  INSERT INTO request_ids (slot, request_id, fingerprint, expire_us, lapse_us, uid, revision,
    settings_revision, last_sequence, memory_count, existed, truncated, removed_count,
    evicted_count, expired_count, ref_ids, ref_sequences, ref_revisions, ref_created, removed)
  VALUES (s.slot, p_request_id, p_fingerprint, until_us, CASE WHEN s.crowded THEN until_us END,
    s.uid, s.revision, s.settings_revision, s.last_sequence, p_memory_count, p_existed,
    w.truncated, w.removed_count, w.evicted_count, w.expired_count, w.ref_ids, w.ref_sequences,
    w.ref_revisions, w.ref_created, nullif(w.removed, '{}'));
  s.request_count := s.request_count + 1;
  w.s := s;
  RETURN w;
END
$$;

-- An incarnation has ended: its rows are left to the trim, and changes will tell.
CREATE FUNCTION bury(s sessions) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO graves VALUES (s.shelf, s.shelf = s.life)
  ON CONFLICT (number) DO UPDATE SET with_log = graves.with_log OR excluded.with_log;
  IF s.shelf <> s.life THEN
    INSERT INTO graves VALUES (s.life, true) ON CONFLICT (number) DO UPDATE SET with_log = true;
  END IF;
  INSERT INTO tombstones VALUES (txid_current(), s.life, s.ns, s.session, s.uid);
END
$$;

CREATE FUNCTION store_session(s sessions) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF s.shelf IS NULL AND s.request_count = 0 THEN
    DELETE FROM sessions WHERE slot = s.slot;
    RETURN;
  END IF;
  UPDATE sessions SET shelf = s.shelf, life = s.life, revision = s.revision,
    settings_revision = s.settings_revision, last_sequence = s.last_sequence,
    last_create_us = s.last_create_us, mutations = s.mutations, log_from = s.log_from,
    memory_count = s.memory_count, token_count = s.token_count, byte_count = s.byte_count,
    pinned_count = s.pinned_count, pinned_tokens = s.pinned_tokens,
    system_count = s.system_count, system_tokens = s.system_tokens, create_us = s.create_us,
    update_us = s.update_us, append_us = s.append_us, expire_us = s.expire_us,
    max_age_us = s.max_age_us, due_us = s.due_us, loose_from = s.loose_from,
    request_count = s.request_count, keep_system = s.keep_system, ranked = s.ranked,
    crowded = s.crowded, uid = s.uid, settings = s.settings
  WHERE slot = s.slot;
END
$$;

-- --- The commit ---------------------------------------------------------------

CREATE FUNCTION show_header(a answer, s sessions, now_us bigint) RETURNS answer
LANGUAGE plpgsql AS $$
DECLARE
  gone record;
BEGIN
  a.uid := s.uid;
  a.revision := s.revision;
  a.settings_revision := s.settings_revision;
  a.last_sequence := s.last_sequence;
  a.mutations := s.mutations;
  a.memory_count := s.memory_count;
  a.token_count := s.token_count;
  a.byte_count := s.byte_count;
  a.create_us := s.create_us;
  a.update_us := s.update_us;
  a.append_us := s.append_us;
  a.expire_us := s.expire_us;
  a.max_age_us := s.max_age_us;
  a.keep_system := s.keep_system;
  a.settings := s.settings;
  IF s.due_us <= now_us THEN
    SELECT * INTO gone
    FROM count_gone(s.shelf, s.loose_from, s.max_age_us, s.keep_system, now_us);
    a.memory_count := s.memory_count - gone.memories;
    a.token_count := s.token_count - gone.tokens;
    a.byte_count := s.byte_count - gone.bytes;
  END IF;
  RETURN a;
END
$$;

-- Guards 2 to 5, as mneme_rule_guard has them: the status, and the revision that
-- did not match. s is NULL where no session counts as there.
CREATE FUNCTION check_guards(s sessions, is_expire boolean, plan_settings bigint, p_uid uuid,
  existence integer, expected bigint, expected_settings bigint,
  OUT status integer, OUT conflict_revision bigint) LANGUAGE plpgsql AS $$
DECLARE
  there boolean := s.shelf IS NOT NULL;
  revision bigint := coalesce(s.revision, 0);
  settings_revision bigint := coalesce(s.settings_revision, 0);
BEGIN
  status := 0;
  conflict_revision := 0;
  IF NOT (is_expire OR (there AND plan_settings = settings_revision)
          OR (plan_settings = 0 AND s.settings IS NULL)) THEN
    status := 4;
    conflict_revision := settings_revision;
  ELSIF p_uid IS NOT NULL AND (NOT there OR p_uid <> s.uid) THEN
    status := 3;
    conflict_revision := revision;
  ELSIF existence = 1 AND NOT there THEN
    status := 1;
  ELSIF existence = 2 AND there THEN
    status := 2;
    conflict_revision := revision;
  ELSIF expected >= 0 AND expected <> revision THEN
    status := 3;
    conflict_revision := revision;
  ELSIF expected_settings >= 0 AND expected_settings <> settings_revision THEN
    status := 3;
    conflict_revision := settings_revision;
  END IF;
END
$$;

-- What a request_id that is remembered is answered.
CREATE FUNCTION repeat_answer(q request_ids, p_fingerprint uuid) RETURNS answer
LANGUAGE plpgsql AS $$
DECLARE
  a answer;
BEGIN
  IF q.fingerprint <> p_fingerprint THEN
    a.status := 5;
    RETURN a;
  END IF;
  a.status := 0;
  a.deduplicated := true;
  a.existed := q.existed;
  a.truncated := q.truncated;
  a.removed_count := q.removed_count;
  a.evicted_count := q.evicted_count;
  a.expired_count := q.expired_count;
  a.ref_ids := q.ref_ids;
  a.ref_sequences := q.ref_sequences;
  a.ref_revisions := q.ref_revisions;
  a.ref_created := q.ref_created;
  a.removed := q.removed;
  a.uid := q.uid;
  a.revision := q.revision;
  a.settings_revision := q.settings_revision;
  a.last_sequence := q.last_sequence;
  a.memory_count := q.memory_count;
  RETURN a;
END
$$;

CREATE FUNCTION commit_write(p_ns bytea, p_session bytea, p_request_id bytea,
  p_fingerprint uuid, window_us bigint, p_now_us bigint, p_uid uuid, existence integer,
  expected bigint, expected_settings bigint, p_new_uid uuid, plan_settings bigint,
  p_evict_above bigint, p_evict_to bigint, p_evict_above_tokens bigint,
  p_evict_to_tokens bigint, p_max_age_us bigint, p_ttl_us bigint, p_strategy integer,
  p_keep_system boolean, p_want_removed boolean, ops integer[], counts bigint[],
  byte_limits bigint[], expected_revisions bigint[], settings bytea[], slides boolean[],
  sizes integer[], policies integer[], records memories[], names bytea[], sequences bigint[],
  revisions bigint[]) RETURNS answer LANGUAGE plpgsql AS $$
DECLARE
  a answer;
  w work;
  s sessions;     -- as it was
  after sessions;
  q request_ids;
  had boolean := false; -- its request_id is remembered, and has lapsed
  is_expire boolean := ops = '{11}';
  creates boolean := ops && '{1,8}' OR ops = '{}';
  remembers boolean := p_request_id IS NOT NULL AND window_us > 0;
  lapsed boolean;
  header_moved boolean := false;
  text_status text;
  text_revision text;
BEGIN
  s := lock_session(p_ns, p_session, false);
  IF s.slot IS NULL AND (creates OR remembers) THEN
    -- A refusal leaves no row.
    SELECT * INTO a.status, a.conflict_revision FROM check_guards(s, is_expire, plan_settings,
      p_uid, existence, expected, expected_settings);
    IF a.status <> 0 THEN RETURN a; END IF;
    IF ops && '{2}' AND NOT creates THEN
      a.status := 1; -- there is nothing to put
      RETURN a;
    END IF;
    s := lock_session(p_ns, p_session, true);
  END IF;

  IF p_request_id IS NOT NULL AND s.request_count > 0 THEN
    SELECT * INTO q FROM request_ids WHERE slot = s.slot AND request_id = p_request_id;
    had := FOUND;
    IF had AND q.expire_us > p_now_us THEN RETURN repeat_answer(q, p_fingerprint); END IF;
  END IF;

  lapsed := s.shelf IS NOT NULL AND coalesce(s.expire_us <= p_now_us, false);
  w.s := s;
  IF lapsed AND NOT is_expire THEN w.s := clear_session(s); END IF;
  SELECT * INTO a.status, a.conflict_revision FROM check_guards(w.s, is_expire, plan_settings,
    p_uid, existence, expected, expected_settings);
  IF a.status <> 0 THEN
    IF (w.s).shelf IS NOT NULL THEN a := show_header(a, s, p_now_us); END IF;
    RETURN a;
  END IF;

  w.new_uid := p_new_uid;
  w.now_us := p_now_us;
  w.evict_above := p_evict_above;
  w.evict_to := p_evict_to;
  w.evict_above_tokens := p_evict_above_tokens;
  w.evict_to_tokens := p_evict_to_tokens;
  w.max_age_us := p_max_age_us;
  w.ttl_us := p_ttl_us;
  w.strategy := p_strategy;
  w.keep_system := p_keep_system;
  w.want_removed := p_want_removed;
  w.revision := (w.s).revision + 1;
  w.stored_life := (w.s).life;
  w.stored_shelf := (w.s).shelf;
  w.incarnation := 0;
  w.changed := false;
  w.wrote := false;
  w.is_set := false;
  w.truncated := false;
  w.removed_count := 0;
  w.evicted_count := 0;
  w.expired_count := 0;
  w.note_ops := '{}';
  w.note_sequences := '{}';
  w.ref_ids := '{}';
  w.ref_sequences := '{}';
  w.ref_revisions := '{}';
  w.ref_created := '{}';
  w.removed := '{}';
  -- The plan's view of what is live holds from the first step on.
  IF (w.s).shelf IS NOT NULL AND NOT is_expire
     AND (s.max_age_us <> p_max_age_us OR s.keep_system <> p_keep_system) THEN
    header_moved := true;
    after := w.s;
    IF s.keep_system <> p_keep_system THEN
      after.loose_from := 1;
      after.ranked := false; -- it was made for other kept ones
    END IF;
    after.max_age_us := p_max_age_us;
    after.keep_system := p_keep_system;
    after.due_us := 0;
    w.s := after;
  END IF;

  IF cardinality(ops) <> 1 OR NOT ops <@ '{3,4,5,6,7,9,10,11}' THEN -- it may refuse
    BEGIN
      IF ops = '{}' AND (w.s).shelf IS NULL THEN w := begin_session(w); END IF;
      w := run_steps(w, ops, counts, byte_limits, expected_revisions, settings, slides, sizes,
        policies, records, names, sequences, revisions);
    EXCEPTION WHEN SQLSTATE 'MN001' THEN
      GET STACKED DIAGNOSTICS text_status = MESSAGE_TEXT, text_revision = PG_EXCEPTION_DETAIL;
      a.status := text_status;
      a.conflict_revision := text_revision;
    END;
    IF a.status <> 0 THEN
      IF s.shelf IS NOT NULL AND NOT lapsed THEN
        a := show_header(a, s, p_now_us);
      ELSIF s.shelf IS NULL AND s.request_count = 0 THEN
        PERFORM store_session(s); -- takes away a row that nothing needs
      END IF;
      RETURN a;
    END IF;
  ELSE
    w := run_steps(w, ops, counts, byte_limits, expected_revisions, settings, slides, sizes,
      policies, records, names, sequences, revisions);
  END IF;
  RETURN finish_commit(a, w, s, lapsed, header_moved, had, p_request_id, p_fingerprint,
    CASE WHEN remembers THEN window_us ELSE 0 END);
END
$$;

-- Nothing refuses any more. s is the session as it was.
CREATE FUNCTION finish_commit(a answer, w work, s sessions, lapsed boolean,
  header_moved boolean, had boolean, p_request_id bytea, p_fingerprint uuid, window_us bigint)
RETURNS answer LANGUAGE plpgsql AS $$
DECLARE
  after sessions := w.s;
  logs boolean := cardinality(w.note_ops) > 0;
BEGIN
  IF after.shelf IS NOT NULL THEN
    IF w.changed THEN
      after.revision := w.revision;
      after.update_us := w.now_us;
    END IF;
    IF w.wrote THEN after.append_us := w.now_us; END IF;
    IF w.wrote OR w.is_set THEN
      after.expire_us := CASE WHEN w.ttl_us > 0 THEN add_us(
        CASE WHEN after.append_us <> 0 THEN after.append_us ELSE after.create_us END, w.ttl_us) END;
      after.due_us := least(after.due_us, after.expire_us);
    END IF;
    w.s := after;
    IF logs THEN
      w := write_log(w);
      after := w.s;
    END IF;
    IF after.due_us <= w.now_us THEN
      after.due_us := find_due(after.shelf, after.loose_from, after.max_age_us, after.keep_system,
        after.expire_us);
    END IF;
  END IF;
  IF s.shelf IS NOT NULL AND after.life IS DISTINCT FROM s.life
     AND NOT (lapsed AND after.shelf IS NULL AND w.stored_life IS NULL) THEN
    PERFORM bury(s);
  END IF;

  a.deduplicated := false;
  a.existed := s.shelf IS NOT NULL AND NOT lapsed;
  a.truncated := w.truncated;
  a.removed_count := w.removed_count;
  a.evicted_count := w.evicted_count;
  a.expired_count := w.expired_count;
  a.ref_ids := w.ref_ids;
  a.ref_sequences := w.ref_sequences;
  a.ref_revisions := w.ref_revisions;
  a.ref_created := w.ref_created;
  IF cardinality(w.removed) > 0 THEN
    SELECT array_agg(m ORDER BY m.sequence) INTO w.removed FROM unnest(w.removed) m;
    a.removed := w.removed;
  END IF;
  IF after.shelf IS NOT NULL THEN a := show_header(a, after, w.now_us); END IF;
  IF s.slot IS NULL THEN RETURN a; END IF; -- it found nothing, and remembers nothing

  w.s := after;
  IF had THEN
    DELETE FROM request_ids WHERE slot = s.slot AND request_id = p_request_id;
    after.request_count := after.request_count - 1;
    w.s := after;
  END IF;
  IF window_us > 0 THEN
    w := remember(w, p_request_id, p_fingerprint, window_us, a.existed, coalesce(a.memory_count, 0));
    after := w.s;
  END IF;
  IF lapsed AND after.shelf IS NULL AND w.stored_life IS NULL THEN
    -- It stays as it is, until somebody sweeps.
    s.request_count := after.request_count;
    s.crowded := after.crowded;
    after := s;
  ELSIF w.incarnation > 0 OR w.changed OR logs OR header_moved THEN
    INSERT INTO journal VALUES (txid_current(), ARRAY[s.slot]);
  END IF;
  IF after IS DISTINCT FROM s OR (after.shelf IS NULL AND after.request_count = 0) THEN
    PERFORM store_session(after);
  END IF;
  RETURN a;
END
$$;
