/* The table of operations that every storage engine implements, and the only
 * door by which one enters: in-tree and out-of-tree backends alike include this
 * header and nothing of the service.
 *
 * A backend is a type (mneme_backend_type, a constant table) and its instances
 * (mneme_backend, one for each entry under `backends:` in the config).
 *
 * Duties. What the text below demands of a backend is tagged [C-nn]; each tag
 * has a conformance test of the same name (tests/conform), and `mneme-conform
 * --plugin X.so --config F` runs them all. A backend that passes them is one.
 *
 * Threads. Every operation may be called from any number of threads at once.
 * [C-01] done is called exactly once for each call, inline or later, from any
 * thread; after it neither emit nor done is called again [C-02]. An operation
 * with the matching NB_ capability never waits for I/O on the calling thread.
 * close is called once, after all calls are done.
 *
 * Memory. Inputs, and mneme_call itself, stay valid until done has returned,
 * even when the caller of the RPC has long left. What a backend passes to emit
 * and done is valid only during that call.
 *
 * Time and identity come from the host: a backend reads no clock [C-03] and
 * makes no ids. `call->now_us` is the time of every operation.
 *
 * Versions. abi is (major << 16 | minor), struct_size is sizeof the table the
 * backend was compiled with. The host copies the smaller size and treats what
 * is missing as NULL, so a plugin built against an older minor loads. Fields
 * are only ever added at the end. */
#ifndef MNEME_BACKEND_H
#define MNEME_BACKEND_H

#include "mneme/filter.h"
#include "mneme/status.h"
#include "mneme/types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MNEME_ABI_MAJOR 1
#define MNEME_ABI_MINOR 0
#define MNEME_ABI ((MNEME_ABI_MAJOR << 16) | MNEME_ABI_MINOR)

/* Capabilities: positive promises. A bit and its pointer must agree [C-04]. */
#define MNEME_CAP_DURABLE (1u << 0)   /* acknowledged commits survive a crash [C-45] */
#define MNEME_CAP_SHARED (1u << 1)    /* many servers may open one store */
#define MNEME_CAP_NB_COMMIT (1u << 2) /* commit never waits for I/O on the caller */
#define MNEME_CAP_NB_READ (1u << 3)   /* nor do the reads */
#define MNEME_CAP_FILTER (1u << 4)    /* decides mneme_read.filter */
#define MNEME_CAP_VECTORS (1u << 5)   /* set_vector and vector search (reserved) */
#define MNEME_CAP_LINKS (1u << 6)     /* links (reserved) */
#define MNEME_CAP_RESTORE (1u << 7)   /* the restore step (reserved) */

/* What an acknowledged commit survives. */
typedef enum mneme_durability {
  MNEME_DURABILITY_NONE = 1,     /* nothing: the store is the process's memory */
  MNEME_DURABILITY_PROCESS = 2,  /* a crash of the process or of the store's server */
  MNEME_DURABILITY_INTERVAL = 3, /* loss of power, but for a last interval */
  MNEME_DURABILITY_FULL = 4      /* loss of power */
} mneme_durability;

typedef struct mneme_backend mneme_backend;
typedef struct mneme_host mneme_host;
typedef struct mneme_call mneme_call;

/* --- Host ---------------------------------------------------------------- */

typedef enum mneme_log_level {
  MNEME_LOG_DEBUG = 0,
  MNEME_LOG_INFO = 1,
  MNEME_LOG_WARN = 2,
  MNEME_LOG_ERROR = 3
} mneme_log_level;

/* What the host offers to an instance; valid until close has returned. */
struct mneme_host {
  uint32_t abi;
  size_t struct_size;
  /* Writes one log line; text is UTF-8 without a newline. Never log payloads. */
  void (*log)(const mneme_host *host, mneme_log_level level, const char *text);
};

/* --- Calls --------------------------------------------------------------- */

/* One call of one operation. */
struct mneme_call {
  /* The time of this operation: for create times, expiry, request_id windows. */
  int64_t now_us;
  /* Whether the caller's deadline has passed or it has left; cheap. A read that
   * may examine many records asks at least every MNEME_SCAN_CHECK of them and
   * ends with MNEME_TIMEOUT [C-05]. A commit asks when it is taken from a queue
   * and never after it has begun. */
  bool (*expired)(const mneme_call *call);
};

static inline bool mneme_call_expired(const mneme_call *call) {
  return call->expired != NULL && call->expired(call);
}

/* --- Options ------------------------------------------------------------- */

typedef enum mneme_option_type {
  MNEME_OPTION_STRING = 1,
  MNEME_OPTION_INT = 2,      /* int64 within [min, max] */
  MNEME_OPTION_BOOL = 3,
  MNEME_OPTION_DURATION = 4, /* "500ms", "30s", "1h"; int64 microseconds in [min, max] */
  MNEME_OPTION_SIZE = 5,     /* "64KiB", "1MiB"; int64 bytes in [min, max] */
  MNEME_OPTION_PATH = 6      /* a file or folder, as a string; a default that does not
                                begin with "/" is meant in the server's data directory,
                                and comes to open as the path in there */
} mneme_option_type;

/* One option of a backend's config entry. The host parses it, checks its range,
 * reports errors with file, line and column, and prints the documentation. */
typedef struct mneme_option {
  const char *name;          /* NULL ends the table */
  mneme_option_type type;
  const char *default_value; /* as written in a config; NULL = required */
  int64_t min, max;          /* for INT, DURATION, SIZE; both 0 = any */
  const char *doc;           /* one sentence */
} mneme_option;

/* The value of the option at the same place in the table. */
typedef struct mneme_option_value {
  const char *string; /* STRING, PATH; ends in NUL */
  int64_t integer;    /* INT, DURATION, SIZE; BOOL: 0 or 1 */
  bool is_default;
} mneme_option_value;

/* A scheme of URLs by which a store of this type can be named in the
 * environment (MEMORY_DB_URL), when the config names no backends. */
typedef struct mneme_scheme {
  const char *scheme; /* "sqlite" of sqlite:///PATH; NULL ends the table */
  const char *option; /* which option takes what the URL says */
  bool is_path;       /* it takes the part behind scheme:/// only: a path, relative
                         to the working directory unless that begins with "/"
                         too; else it takes the URL as it is */
} mneme_scheme;

/* --- Commit -------------------------------------------------------------- */

/* Limits and times as plain numbers: the session's rule with its override laid
 * over it, resolved by the service. 0 = no such limit. */
typedef enum mneme_evict {
  MNEME_EVICT_FIFO = 1,            /* lowest sequence first */
  MNEME_EVICT_LEAST_IMPORTANT = 2, /* lowest importance, then lowest sequence */
  MNEME_EVICT_REJECT = 3           /* refuse with SESSION_FULL */
} mneme_evict;

typedef struct mneme_plan {
  /* Settings that the plan was resolved from: the header's settings_revision,
   * or 0 for "none": right only when the session is absent or its settings are
   * empty. Otherwise MNEME_STALE_PLAN with the current header [C-06]. */
  int64_t settings_revision;
  int64_t evict_above; /* memories */
  int64_t evict_to;
  int64_t evict_above_tokens;
  int64_t evict_to_tokens;
  int64_t max_age_us;
  int64_t ttl_us; /* the session's */
  mneme_evict strategy;
  bool keep_system; /* role "system" counts as pinned */
} mneme_plan;

typedef enum mneme_existence {
  MNEME_ANY = 0,
  MNEME_MUST_EXIST = 1,
  MNEME_MUST_NOT_EXIST = 2
} mneme_existence;

typedef enum mneme_on_conflict {
  MNEME_CONFLICT_FAIL = 1,
  MNEME_CONFLICT_SKIP = 2,
  MNEME_CONFLICT_REPLACE = 3
} mneme_on_conflict;

typedef enum mneme_step_op {
  MNEME_STEP_APPEND = 1,
  MNEME_STEP_PUT = 2,
  MNEME_STEP_REMOVE_IDS = 3,
  MNEME_STEP_REMOVE_KEYS = 4,
  MNEME_STEP_REMOVE_SEQUENCES = 5,
  MNEME_STEP_REMOVE_NEWEST = 6,
  MNEME_STEP_REMOVE_FROM = 7,
  MNEME_STEP_SET_SETTINGS = 8,
  MNEME_STEP_TOUCH = 9,
  MNEME_STEP_DROP = 10,
  MNEME_STEP_EXPIRE = 11,
  MNEME_STEP_SET_VECTOR = 12, /* reserved: MNEME_CAP_VECTORS */
  MNEME_STEP_RESTORE = 13     /* reserved: MNEME_CAP_RESTORE */
} mneme_step_op;

/* One step of a commit. Steps take effect in their order, all or none [C-44]. A
 * reserved step without its capability = UNSUPPORTED. */
typedef struct mneme_step {
  mneme_step_op op;

  /* APPEND: records to add, each with its policy in on_conflict[i]. A record is
   * matched to a live one by id, and by key when it has one; id and key that
   * name two memories = EXISTS. FAIL: EXISTS. SKIP: nothing, its reference is
   * returned with created = false. REPLACE: the record takes the place of the
   * one found: id, sequence, create_us and access fields stay. No id and no key
   * stands twice in one step (the service checks). At most MNEME_BATCH_MAX.
   * Records are taken in their order, each against what the ones before left
   * [C-29].
   * PUT: exactly one record, which replaces the one at its `sequence` (set on
   * entry) when that is live and has `revision` expected_revision (else
   * CONFLICT, or NOT_FOUND when it is not there, the session included); id,
   * create_us and access fields stay; a key that another memory has = EXISTS
   * [C-30]. */
  const mneme_record *records;
  const mneme_on_conflict *on_conflict;
  size_t record_count;
  int64_t expected_revision;

  /* REMOVE_IDS, REMOVE_KEYS: the names; absent ones are no error. */
  const mneme_bytes *names;
  size_t name_count;

  /* REMOVE_SEQUENCES, TOUCH: the sequences, ascending; absent ones are no error.
   * REMOVE_SEQUENCES with revisions (NULL = any): a memory whose revision is no
   * longer revisions[i] stays, and that is no error either: it has changed since
   * the caller judged it [C-49]. */
  const int64_t *sequences;
  const int64_t *revisions;
  size_t sequence_count;

  /* REMOVE_NEWEST: how many live memories, from the highest sequence down, but
   * no more than fit into byte_limit bytes of body, id, key, kind, role, author
   * and source (0 = no limit), at least one.
   * EXPIRE: how many expired memories to remove at most. */
  int64_t count;
  int64_t byte_limit;

  /* REMOVE_FROM: every memory with at least this sequence. The REMOVE steps log
   * what they remove as DELETED [C-31]. */
  int64_t from_sequence;

  /* SET_SETTINGS: the new settings, as a whole; settings_revision becomes the
   * revision of this commit, also when the same bytes are set again [C-32]. */
  mneme_bytes settings;

  /* TOUCH: access_count + 1, access_us = now; with slide_ttl also expire_us =
   * now + ttl_us where ttl_us > 0. Raises no revision and writes no log [C-07]. */
  bool slide_ttl;

  /* DROP: the session with all that is in it, its log too; its request_ids stay
   * [C-33].
   * EXPIRE: what a sweeper does. A session that has lapsed is dropped; else up
   * to `count` memories that have expired (expire_us, or max_age) are removed
   * and logged as EXPIRED; readers could not see them any more, so revision and
   * update_us stay, and it creates nothing. Stands alone in its write, goes by
   * the header's max_age_us and keep_system, and reads nothing of the plan, not
   * even its settings_revision [C-34]. */
} mneme_step;

/* One atomic change of ONE session: guards, steps, policy.
 *
 * Live. A memory is live while now < expire_us (or that is 0) and, unless it is
 * pinned or with keep_system has role "system", now < create_us + max_age_us (or
 * that is 0): by the header's max_age_us and keep_system in a read, by the
 * plan's in a commit. A session has lapsed when expire_us is set and now >=
 * expire_us. What is not live is nowhere to be seen: not in reads, counts and
 * lists, not as the owner of an id or key, not for any step but EXPIRE [C-35].
 *
 * Guards are checked in this order [C-36], and before anything is written; a
 * refusal changes nothing and burns no sequence [C-08]:
 *   1. request_id: when it is remembered for (ns, session) and its window has
 *      not passed (now < first now + window_us), the first answer is given again
 *      with deduplicated = true, whatever the state is now, even when the session
 *      was dropped [C-09]; another fingerprint = REUSED [C-10]. Every OK is
 *      remembered, no refusal is. Of one session at most MNEME_REQUEST_IDS_MAX
 *      are: beside as many, the one that would lapse first is forgotten [C-37];
 *   2. plan.settings_revision: STALE_PLAN [C-06];
 *   3. uid, when not NULL: CONFLICT (also when the session is absent);
 *   4. existence: NOT_FOUND, EXISTS;
 *   5. expected_revision, expected_settings_revision: CONFLICT. 0 = the session
 *      must not exist [C-11];
 *   6. the steps' own: PUT's revision, APPEND's conflicts;
 *   7. room: with MNEME_EVICT_REJECT, or when only pinned memories are left to
 *      evict, an append above a trigger = SESSION_FULL [C-12].
 * A session that has lapsed counts as absent [C-13]: a commit that
 * appends or sets starts a new incarnation with new_uid, sequence 1, revision 1.
 *
 * Creation. APPEND, SET_SETTINGS and a REMOVE_FROM beside an APPEND create an
 * absent session (uid = new_uid). Any other write on an absent session is OK
 * (but PUT: NOT_FOUND), creates nothing and answers a zero header. A commit
 * without a step creates the session too (settings empty) [C-38].
 *
 * After the steps, when an APPEND or PUT created or replaced a record: memories
 * that have expired may be removed (logged EXPIRED); then, when live memories
 * are more than evict_above, unpinned ones go by strategy until at most evict_to
 * are left; the same for tokens, with both triggers judged by what is live after
 * the steps, before any goes; they are logged as EVICTED [C-14]. The
 * memory with the highest sequence always stays [C-15]; pinned ones stay, and
 * with keep_system those of role "system". Where a trigger is passed and its
 * target can't be reached for pinned memories alone (the newest by itself would
 * meet it): SESSION_FULL, before anything is written.
 *
 * Revision. It rises by exactly 1 per commit that changes anything a reader can
 * see [C-16]: not for a commit that found nothing to remove, skipped every
 * record, or only touched or expired. last_sequence: consecutive at assignment,
 * never reused in a uid [C-17]. header.append_us = now when a record was created
 * or replaced (by PUT too), and header.expire_us = append_us + plan.ttl_us then
 * (0 without a ttl); creation and a change of settings compute expire_us from
 * append_us too (create_us when nothing was appended) [C-39]. header.max_age_us
 * and keep_system are taken from the plan of every commit but EXPIRE. A memory's
 * create_us = max(now, the session's last create_us), its update_us = max(now,
 * old update_us + 1) [C-40]. */
typedef struct mneme_write {
  mneme_bytes ns;
  mneme_bytes session;
  mneme_bytes request_id;  /* empty = none */
  uint8_t fingerprint[16]; /* of the canonical request */
  int64_t window_us;       /* how long request_id is remembered from now on */
  const mneme_uid *uid;    /* NULL = any */
  mneme_existence existence;
  int64_t expected_revision;          /* -1 = any */
  int64_t expected_settings_revision; /* -1 = any */
  mneme_uid new_uid;                  /* for the session, should it be created */
  mneme_plan plan;
  const mneme_step *steps;
  size_t step_count; /* at most MNEME_STEPS_MAX */
  bool want_removed; /* answer with the records that the REMOVE steps removed, and
                        remember them with the request_id [C-41] */
} mneme_write;

/* The answer to a commit. On OK everything is set. On CONFLICT, STALE_PLAN and
 * EXISTS, header is the current one (zero when the session is absent); on
 * CONFLICT, conflict_revision is the current value of the revision that did not
 * match (0: no such session; of no meaning where the uid did not match) [C-42].
 * On every other status the receiver reads nothing, and the pointer may be NULL. */
typedef struct mneme_written {
  mneme_header header; /* right after the commit; zero when there is no session */
  bool deduplicated;
  bool existed;   /* the session existed before */
  bool truncated; /* REMOVE_NEWEST stopped at its byte_limit */
  const mneme_ref *refs; /* one per record of the APPEND and PUT steps, in order */
  size_t ref_count;
  int64_t removed_count; /* by REMOVE steps; by DROP: the live memories that went */
  int64_t evicted_count;
  int64_t expired_count;
  const mneme_record *removed; /* with want_removed: ascending by sequence */
  size_t removed_count_listed;
  int64_t conflict_revision;
} mneme_written;

/* A deduplicated answer repeats refs, counts, truncated, existed, removed and of
 * the header uid, revision, settings_revision, last_sequence and memory_count;
 * the header's other fields are zero then, and the names may be empty [C-43]. */
typedef void (*mneme_written_fn)(mneme_status status, const mneme_written *written, void *ctx);

/* --- Reads --------------------------------------------------------------- */

/* emit gets each result in turn and copies what it keeps; it does not call the
 * backend (it may run under a lock); nonzero = enough: the
 * operation ends with OK and emits no more [C-18]. */
typedef int (*mneme_record_fn)(const mneme_record *record, void *ctx);
typedef int (*mneme_header_fn)(const mneme_header *header, void *ctx);
typedef int (*mneme_log_fn)(const mneme_log_entry *entry, void *ctx);
typedef void (*mneme_done_fn)(mneme_status status, void *ctx);

/* header is NULL unless OK. NOT_FOUND: absent or lapsed [C-47]. */
typedef void (*mneme_session_fn)(mneme_status status, const mneme_header *header, void *ctx);

typedef enum mneme_session_order {
  MNEME_SESSIONS_BY_ID = 1,     /* bytewise, ascending */
  MNEME_SESSIONS_BY_UPDATE = 2  /* update_us descending, then id ascending */
} mneme_session_order;

typedef struct mneme_session_list {
  mneme_bytes ns;
  mneme_bytes prefix; /* empty = all */
  mneme_session_order order;
  /* Start after this one: its id, and with BY_UPDATE its update_us too. Empty =
   * from the start. */
  mneme_bytes after_session;
  int64_t after_update_us;
  int64_t limit; /* headers to emit at most, >= 1 */
} mneme_session_list;

typedef enum mneme_select {
  MNEME_SELECT_SEQUENCES = 1, /* first..last, in order of sequence */
  MNEME_SELECT_KEYS = 2,      /* key_prefix, in bytewise order of key */
  MNEME_SELECT_IDS = 3,       /* names: ids, in the order given */
  MNEME_SELECT_NAMED_KEYS = 4 /* names: keys, in the order given */
} mneme_select;

#define MNEME_READ_BODY (1u << 0)     /* else body may be empty */
#define MNEME_READ_METADATA (1u << 1) /* metadata_json, engines with FILTER */

/* Live memories of one session; an absent one emits nothing and is OK. A scan of
 * more than MNEME_SCAN_CHECK records may let writers in between: each record is
 * whole, the scan as a whole is no snapshot; but it neither misses nor doubles a
 * record that lives throughout [C-19]. */
typedef struct mneme_read {
  mneme_bytes ns;
  mneme_bytes session;
  const mneme_uid *uid; /* not NULL: another incarnation = CONFLICT */
  mneme_select select;
  int64_t first; /* SEQUENCES: inclusive bounds; 0 and INT64_MAX = all */
  int64_t last;
  mneme_bytes key_prefix; /* KEYS */
  mneme_bytes after_key;  /* KEYS: strictly beyond it in the direction; empty = none */
  const mneme_bytes *names; /* IDS, NAMED_KEYS: absent ones are left out */
  size_t name_count;
  bool descending;
  int64_t limit;      /* records to emit at most; 0 = no limit */
  int64_t byte_limit; /* stop before the record that would bring the sum of the
                         sizes of body, id, key, kind, role, author and source
                         above this; the first is always emitted; 0 = no limit */
  uint32_t projection;
  const mneme_filter *filter; /* only what it matches [C-48]; limits count matches.
                                 NULL = all, and always without MNEME_CAP_FILTER */
} mneme_read;

/* Header of the read's session is emitted to nobody: ask session_get. */

typedef struct mneme_stats {
  int64_t session_count;
  int64_t memory_count;
  int64_t token_count;
  int64_t byte_count;
} mneme_stats;

typedef void (*mneme_stats_fn)(mneme_status status, const mneme_stats *stats, void *ctx);

/* next is valid only during the call. */
typedef void (*mneme_cursor_fn)(mneme_status status, mneme_bytes next, void *ctx);

/* value is empty when the key is absent. */
typedef void (*mneme_meta_fn)(mneme_status status, mneme_bytes value, void *ctx);

/* --- The table ----------------------------------------------------------- */

typedef struct mneme_backend_type {
  uint32_t abi;       /* MNEME_ABI */
  size_t struct_size; /* sizeof(mneme_backend_type) */
  const char *name;   /* as in `type:` of the config */
  const char *doc;    /* one line */
  uint32_t caps;
  const mneme_option *options;

  /* Opens an instance. values[i] belongs to options[i]; copy what you keep. May
   * block. On failure returns a status, writes a text that tells what to do into
   * error (at most size bytes with its NUL), and leaves ret_backend alone. */
  mneme_status (*open)(const mneme_host *host, const mneme_option_value *values,
                       mneme_backend **ret_backend, char *error, size_t size);
  /* After open has succeeded, and when all calls are done. */
  void (*close)(mneme_backend *backend);

  /* The one mutating operation: see mneme_write. Valid answers: OK, every
   * refusal, BUSY, DOWN, UNCERTAIN, STORE_FULL, NO_MEMORY, CORRUPT, INTERNAL;
   * TIMEOUT and CANCELLED only when nothing was begun. */
  void (*commit)(mneme_backend *backend, const mneme_call *call, const mneme_write *write,
                 mneme_written_fn done, void *ctx);

  /* The header of a session. */
  void (*session_get)(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                      mneme_bytes session, mneme_session_fn done, void *ctx);
  /* Live sessions of a namespace [C-20]. */
  void (*session_list)(mneme_backend *backend, const mneme_call *call,
                       const mneme_session_list *list, mneme_header_fn emit, mneme_done_fn done,
                       void *ctx);
  /* The remembered answer of a request_id (ns, session, request_id and
   * fingerprint of the write are read): OK with deduplicated = true, NOT_FOUND,
   * or REUSED [C-21]. */
  void (*request_get)(mneme_backend *backend, const mneme_call *call, const mneme_write *write,
                      mneme_written_fn done, void *ctx);
  /* Memories: see mneme_read [C-22]. */
  void (*read)(mneme_backend *backend, const mneme_call *call, const mneme_read *read,
               mneme_record_fn emit, mneme_done_fn done, void *ctx);
  /* Sessions of a namespace whose header changed since the cursor (empty = since
   * ever), each at least once, with deleted = true for incarnations that have
   * gone; next is where to go on. Every commit that was acknowledged before the
   * call is covered by it or by an earlier cursor; after a nonzero emit, next
   * passes nothing that was not emitted, and may be the same cursor again [C-23].
   * A cursor that is too old, or from another store: COMPACTED. */
  void (*changes)(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                  mneme_bytes cursor, mneme_header_fn emit, mneme_cursor_fn done, void *ctx);
  /* Log entries of a session's uid with number > after, ascending. COMPACTED when
   * some of those have been dropped; CONFLICT when the uid has gone [C-24]. */
  void (*log)(mneme_backend *backend, const mneme_call *call, mneme_bytes ns, mneme_bytes session,
              const mneme_uid *uid, int64_t after, mneme_log_fn emit, mneme_done_fn done,
              void *ctx);
  /* Up to limit sessions with something to expire at now: lapsed ones, and those
   * with expired memories that are not removed yet [C-25]. */
  void (*due)(mneme_backend *backend, const mneme_call *call, int64_t limit, mneme_header_fn emit,
              mneme_done_fn done, void *ctx);
  /* Counts of live sessions and memories of a namespace, or of one session when
   * session is not empty [C-26]. */
  void (*stats)(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                mneme_bytes session, mneme_stats_fn done, void *ctx);
  /* Whether the store answers: OK, DOWN or CORRUPT [C-46]. */
  void (*ping)(mneme_backend *backend, const mneme_call *call, mneme_done_fn done, void *ctx);

  /* A few small values per store, for the host: page-token key, fingerprint of
   * the rules. meta_put stores value when the current one equals expected (empty
   * = absent), and answers CONFLICT with the current one otherwise [C-27]. */
  void (*meta_get)(mneme_backend *backend, const mneme_call *call, mneme_bytes key,
                   mneme_meta_fn done, void *ctx);
  void (*meta_put)(mneme_backend *backend, const mneme_call *call, mneme_bytes key,
                   mneme_bytes expected, mneme_bytes value, mneme_meta_fn done, void *ctx);
  /* Removes up to rows of what nobody can ask for any more at now: lapsed
   * request_ids, those of dropped sessions too, and log entries beyond
   * MNEME_LOG_MAX; in bounded steps. ret through done: OK, and *ret_more says
   * whether there is more; ret_more stays valid until done [C-28]. */
  void (*trim)(mneme_backend *backend, const mneme_call *call, int64_t rows, bool *ret_more,
               mneme_done_fn done, void *ctx);

  /* Optional. */
  const mneme_scheme *schemes;
  /* Copies the store that these values name into one file, as it was at one
   * instant, beside a server that has it open: needs no instance and no lock of
   * its own, and writes nothing into the store. The file appears whole or not at
   * all, and takes the place of one of that name. May block. On failure a text
   * that tells what to do. */
  mneme_status (*backup)(const mneme_host *host, const mneme_option_value *values,
                         const char *file, char *error, size_t size);
  /* What this instance really keeps, as its options and its store have it. NULL =
   * FULL with MNEME_CAP_DURABLE, else NONE. Never blocks. */
  mneme_durability (*durability)(const mneme_backend *backend);
} mneme_backend_type;

/* The one symbol that a plugin exports. The build renames it for built-in
 * backends, so that they enter by the same door. */
#ifndef MNEME_PLUGIN_ENTRY
#define MNEME_PLUGIN_ENTRY mneme_plugin
#endif
const mneme_backend_type *MNEME_PLUGIN_ENTRY(void);

#ifdef __cplusplus
}
#endif

#endif
