-- Migration 0 to 1. Everything stands in one schema, which the connection's
-- search_path names; backends/postgres/schema.c runs this.
--
-- sessions has a row (a slot) for each (ns, session) that lives or has
-- request_ids remembered; a row without a shelf has no session. The memories of a
-- session stand on its shelf, its log under its life:
--
--   sessions [slot 7 | shelf 12, life 9] --> memories (shelf 12, sequence 1, 2..)
--                                        --> log (life 9, number 1, 2..)
--   request_ids (slot 7, ..)
--   graves [9] --> memories (shelf 9, ..)    gone already, removed bit by bit
--
-- Names and bodies are bytea: they may hold any byte, and sort by bytes whatever
-- the database's collation is. NULL is what the contract calls "none" (an empty
-- key, a time of 0), and costs one bit.
--
-- A commit updates its session's row. No index has a column that changes there,
-- but due_us, which seldom does: so the update stays on its page (HOT), for which
-- fillfactor leaves room. What changed is told by journal instead, one row for
-- each transaction.

CREATE TABLE store (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  version integer NOT NULL,                   -- of this schema
  id uuid NOT NULL DEFAULT gen_random_uuid(), -- in every cursor
  compacted bigint NOT NULL DEFAULT 0         -- xid of the last change that was forgotten
);

CREATE TABLE meta (key bytea PRIMARY KEY, value bytea NOT NULL);

-- Slots, shelves and lives, all from one row of numbers.
CREATE SEQUENCE numbers;

CREATE TABLE sessions (
  slot bigint PRIMARY KEY,
  shelf bigint, -- NULL = no session
  life bigint,
  revision bigint NOT NULL DEFAULT 0,
  settings_revision bigint NOT NULL DEFAULT 0,
  last_sequence bigint NOT NULL DEFAULT 0,
  last_create_us bigint NOT NULL DEFAULT 0,
  before_us bigint NOT NULL DEFAULT 0, -- last_create_us before the last batch (append.sql)
  mutations bigint NOT NULL DEFAULT 0,
  log_from bigint NOT NULL DEFAULT 0, -- first number kept - 1
  memory_count bigint NOT NULL DEFAULT 0, -- of all that is in, expired or not
  token_count bigint NOT NULL DEFAULT 0,
  byte_count bigint NOT NULL DEFAULT 0,
  pinned_count bigint NOT NULL DEFAULT 0,
  pinned_tokens bigint NOT NULL DEFAULT 0,
  system_count bigint NOT NULL DEFAULT 0, -- role "system" and not pinned
  system_tokens bigint NOT NULL DEFAULT 0,
  create_us bigint NOT NULL DEFAULT 0,
  update_us bigint NOT NULL DEFAULT 0,
  append_us bigint NOT NULL DEFAULT 0,
  expire_us bigint, -- the session lapses
  max_age_us bigint NOT NULL DEFAULT 0,
  due_us bigint, -- nothing in it expires before; 0 = to be found out; NULL = never
  loose_from bigint NOT NULL DEFAULT 1, -- no unprotected memory has a lower sequence
  request_count integer NOT NULL DEFAULT 0,
  keep_system boolean NOT NULL DEFAULT false,
  ranked boolean NOT NULL DEFAULT false,  -- memories.rank is kept
  crowded boolean NOT NULL DEFAULT false, -- request_ids.lapse_us is kept
  uid uuid,
  ns bytea NOT NULL,
  session bytea NOT NULL,
  settings bytea, -- NULL = empty
  UNIQUE (ns, session)
) WITH (fillfactor = 50);
CREATE INDEX sessions_by_slot ON sessions (ns, slot);
CREATE INDEX sessions_by_due ON sessions (due_us) WHERE due_us IS NOT NULL;

CREATE TABLE memories (
  shelf bigint NOT NULL,
  sequence bigint NOT NULL,
  revision bigint NOT NULL,
  create_us bigint NOT NULL,
  update_us bigint NOT NULL,
  token_count bigint NOT NULL,
  access_us bigint,
  access_count bigint,
  ttl_us bigint,
  event_us bigint,
  expire_us bigint,
  importance double precision,
  rank double precision, -- importance as eviction weighs it, where that is needed
  crc integer NOT NULL,
  size integer NOT NULL, -- of body, id, key, kind, role, author and source
  tier integer,
  pinned boolean NOT NULL,
  id bytea NOT NULL,
  key bytea,
  kind bytea,
  role bytea,
  author bytea,
  source bytea,
  metadata bytea, -- canonical JSON
  body bytea NOT NULL,
  PRIMARY KEY (shelf, sequence)
);
CREATE UNIQUE INDEX memories_by_id ON memories (shelf, id);
CREATE UNIQUE INDEX memories_by_key ON memories (shelf, key) WHERE key IS NOT NULL;
CREATE INDEX memories_by_expiry ON memories (shelf, expire_us) WHERE expire_us IS NOT NULL;
CREATE INDEX memories_by_rank ON memories (shelf, rank, sequence) WHERE rank IS NOT NULL;

-- Shelves (with_log: lives too) whose rows nobody can see any more.
CREATE TABLE graves (number bigint PRIMARY KEY, with_log boolean NOT NULL);

CREATE TABLE log (
  life bigint NOT NULL,
  number bigint NOT NULL,
  revision bigint NOT NULL,
  first bigint NOT NULL,
  last bigint NOT NULL,
  op integer NOT NULL,
  PRIMARY KEY (life, number)
);

-- What a request_id was answered. ref_sequences is NULL where the records were all
-- created, the last of them as last_sequence.
CREATE TABLE request_ids (
  slot bigint NOT NULL,
  expire_us bigint NOT NULL,
  lapse_us bigint, -- expire_us, in crowded sessions
  revision bigint NOT NULL,
  settings_revision bigint NOT NULL,
  last_sequence bigint NOT NULL,
  memory_count bigint NOT NULL,
  removed_count bigint NOT NULL,
  evicted_count bigint NOT NULL,
  expired_count bigint NOT NULL,
  fingerprint uuid NOT NULL,
  uid uuid,
  existed boolean NOT NULL,
  truncated boolean NOT NULL,
  request_id bytea NOT NULL,
  ref_ids bytea[],
  ref_sequences bigint[],
  ref_revisions bigint[],
  ref_created boolean[],
  removed memories[],
  PRIMARY KEY (slot, request_id)
);
CREATE INDEX request_ids_by_expiry ON request_ids (expire_us);
CREATE INDEX request_ids_by_lapse ON request_ids (slot, lapse_us) WHERE lapse_us IS NOT NULL;

-- The sessions that a transaction changed, and the incarnations that it ended.
CREATE TABLE journal (xid bigint NOT NULL, slots bigint[] NOT NULL);
CREATE INDEX journal_by_xid ON journal (xid);
CREATE TABLE tombstones (
  xid bigint NOT NULL,
  number bigint NOT NULL, -- its life: orders those of one transaction
  ns bytea NOT NULL,
  session bytea NOT NULL,
  uid uuid NOT NULL
);
CREATE INDEX tombstones_by_xid ON tombstones (xid);
