/* What the files of the room share: the store, its writer and its readers.
 *
 *   callers --push--> ring --take up to 256--> writer thread
 *                                               heads: sessions as the open
 *                                                      transaction has them
 *                                               one transaction, COMMIT
 *                                               tails <- what was committed
 *                                               done, done, done..
 *   callers --read--> tails (in memory), else --> a reader connection of the pool
 *
 * Threads. The writer's thread owns the writer connection, the heads, the batch
 * and whatever is in sq_writer: no lock guards those. Readers are used by the
 * threads that call. Locks, none held while another is taken: the ring's, the
 * pool's, one per stripe of the tails.
 *
 * Files, each knowing those before it: arena, sql (statements); schema, files;
 * head, memory, answer; steps, policy, commit; tails; ring, writer, recover; pool;
 * filter, read, sessions, changes, upkeep; sqlite (the table of operations). */
#ifndef SQLITE_SQLITE_H
#define SQLITE_SQLITE_H

#include "arena.h"
#include "sql.h"

#include <pthread.h>
#include <stdatomic.h>

#define SQ_BATCH_MAX 256            /* writes in one transaction */
#define SQ_BATCH_WEIGHT 1024        /* records, names and sequences of theirs, or one write */
#define SQ_READERS_MAX 64           /* reader connections */
#define SQ_TOMBSTONES_MAX 65536     /* dropped incarnations that changes can name */
#define SQ_HEADS_MAX 16384          /* sessions that the writer remembers, and */
#define SQ_HEADS_BYTES (32 << 20)   /* what their settings may take */
#define SQ_LOG_SLACK 512            /* entries beyond MNEME_LOG_MAX before a commit trims */
#define SQ_PURGE_ROWS 256           /* of a grave, in one transaction */
#define SQ_FORGET_FIRST 1024        /* request_ids of a full session in order of lapse */
#define SQ_DUE_MAX 256              /* sessions that one call of due corrects */
#define SQ_TRIM_ROWS 512            /* request_ids that one transaction trims */
#define SQ_PATH_MAX 4096
#define SQ_ERROR_MAX 512
#define SQ_PAGE_BYTES 4096

typedef struct sq_writer sq_writer;

/* --- Schema and files (schema.c, files.c) --------------------------------- */

/* Whether the database is one of ours, or an empty file, of a version that is known;
 * changes nothing. INVALID with an error when it is not. */
mneme_status sq_schema_check(sq_conn *conn, int64_t *ret_version, char *error, size_t size);
/* Brings it from that version to this one; an empty file gets `id` for its cursors. */
mneme_status sq_schema_bring(sq_conn *conn, int64_t version, uint64_t id);

/* Makes what is missing of the path's parents (0700) and the file (0600), and locks
 * PATH.lock, which *ret_lock keeps open, also when a log beside it is another's; PATH
 * as it is at the end of all links. */
mneme_status sq_files_prepare(const char *path, int *ret_lock, char *error, size_t size);

/* Copies the store at path into file (backup.c); needs no open store. */
mneme_status sq_backup(const char *path, const char *file, char *error, size_t size);

/* --- Sessions as the writer knows them (head.c) ---------------------------- */

typedef struct sq_settings {
  atomic_uint refs;
  struct sq_settings *next; /* in the writer's list of retired ones */
  size_t size;
  char data[];
} sq_settings;

sq_settings *sq_settings_new(mneme_bytes bytes); /* NULL without memory */
sq_settings *sq_settings_ref(sq_settings *settings);
void sq_settings_unref(sq_settings *settings);

typedef struct sq_count {
  int64_t memories, tokens, bytes;
} sq_count;

/* Those that have expired by at_us and are still in: see sq_state_live. */
typedef struct sq_dead {
  bool known;
  int64_t at_us;
  sq_count sum;
  int64_t aged_from; /* max_age has taken all unprotected ones below this sequence */
} sq_dead;

/* A row of sessions: what a commit changes, and a refused one puts back. */
typedef struct sq_state {
  int64_t slot; /* 0 = no row */
  int64_t shelf, life;
  bool live; /* there is a session, though it may have lapsed */
  bool keep_system;
  bool ranked; /* memories.rank is kept */
  mneme_uid uid;
  int64_t revision, settings_revision;
  int64_t last_sequence, last_create_us;
  int64_t mutations, log_from;
  sq_count all;    /* every memory that is in, expired or not */
  sq_count pinned; /* of them; without bytes */
  sq_count system; /* role "system" and not pinned; without bytes */
  int64_t create_us, update_us, append_us, expire_us, max_age_us;
  int64_t due_us; /* nothing expires before; INT64_MAX = never; 0 = to be found out */
  int64_t stamp;  /* 0 = none */
  int64_t version; /* of all that a tail knows */
  int64_t request_count;
  int64_t settings_size;
  int64_t loose_from; /* no unprotected memory has a lower sequence; not kept */
  sq_dead dead;       /* not kept */
} sq_state;

/* Reads SQ_STATE_COLUMNS. */
void sq_state_read(sq_sql *q, sq_state *ret_state);

static inline bool sq_state_lapsed(const sq_state *s, int64_t now_us) {
  return s->expire_us != 0 && s->expire_us <= now_us;
}

/* Whether eviction and max_age spare it. */
static inline bool sq_state_protects(const sq_state *s, bool pinned, bool system) {
  return pinned || (s->keep_system && system);
}

/* Fills in a header, without the counts. */
void sq_state_header(const sq_state *s, mneme_bytes ns, mneme_bytes session,
                     mneme_bytes settings, mneme_header *ret_header);

typedef struct sq_lapse { /* a remembered request_id of a full session */
  int64_t expire_us, row;
} sq_lapse;

typedef struct sq_head {
  struct sq_head *chain;            /* of its bucket */
  struct sq_head *newer, *older;    /* by use */
  struct sq_head *next_dirty;
  uint64_t hash;
  sq_state s;
  sq_settings *settings; /* NULL = empty; a reference */
  sq_lapse *lapses;      /* those of request_ids that lapse first; NULL = not known */
  size_t lapse_at, lapse_count;
  size_t cost;           /* of settings and lapses, as the map has counted it */
  bool dirty;        /* the row is not as s */
  bool new_settings; /* nor is that of settings */
  int64_t row_slot; /* 0 = there is no row yet */
  int64_t row_stamp, row_due_us; /* as in the row */
  uint16_t ns_size, session_size;
  char names[];
} sq_head;

typedef struct sq_heads {
  sq_head **buckets; /* SQ_HEADS_MAX of them */
  size_t count, cost;
  sq_head *newest, *oldest;
  sq_head *dirty;
} sq_heads;

bool sq_heads_init(sq_heads *heads);
void sq_heads_free(sq_heads *heads);
static inline mneme_bytes sq_head_ns(const sq_head *h) {
  return mneme_bytes_of(h->names, h->ns_size);
}
static inline mneme_bytes sq_head_session(const sq_head *h) {
  return mneme_bytes_of(h->names + h->ns_size, h->session_size);
}
/* Finds the session, there or not. */
mneme_status sq_head_find(sq_writer *w, mneme_bytes ns, mneme_bytes session, sq_head **ret_head);
void sq_head_touch(sq_writer *w, sq_head *head); /* its row must be written */
/* Writes the rows of all that were touched; they stay noted as dirty. */
mneme_status sq_heads_flush(sq_writer *w);
/* Ends the transaction for the heads: they are as the rows are. */
void sq_heads_committed(sq_writer *w);
void sq_heads_rolled_back(sq_writer *w); /* forgets those that were touched */
void sq_heads_trim(sq_writer *w);        /* forgets the oldest beyond the limits */
void sq_heads_forget(sq_writer *w);      /* all */
void sq_head_forget_lapses(sq_head *head);

/* --- Memories (memory.c) --------------------------------------------------- */

/* What a step must know of a memory. id and key are in the arena. */
typedef struct sq_brief {
  int64_t row, sequence, revision;
  int64_t create_us, update_us, access_us, access_count;
  int64_t token_count, ttl_us, expire_us; /* 0 = never */
  int64_t size;
  bool pinned, system;
  mneme_bytes id, key;
} sq_brief;

/* Runs a statement on a shelf that finds at most one memory: OK or NOT_FOUND. */
mneme_status sq_brief_end(sq_sql *q, sq_arena *arena, sq_brief *ret_brief);
mneme_status sq_brief_of(sq_conn *conn, sq_arena *arena, sq_id id, int64_t shelf, int64_t number,
                         sq_brief *ret_brief);
mneme_status sq_brief_named(sq_conn *conn, sq_arena *arena, sq_id id, int64_t shelf,
                            mneme_bytes name, sq_brief *ret_brief);

bool sq_brief_lives(const sq_state *s, const sq_brief *brief, int64_t now_us);
/* The next memory, in any order, that is in and has expired: OK or NOT_FOUND. */
mneme_status sq_brief_expired(sq_conn *conn, sq_arena *arena, sq_state *s, int64_t now_us,
                              sq_brief *ret_brief);
/* The unprotected memory with the lowest sequence: OK or NOT_FOUND. */
mneme_status sq_brief_loose(sq_conn *conn, sq_arena *arena, sq_state *s, sq_brief *ret_brief);
/* The first instant at which a memory, or the session, expires. */
mneme_status sq_state_due(sq_conn *conn, sq_arena *arena, sq_state *s, int64_t *ret_due_us);

/* Reads SQ_RECORD_COLUMNS; ret_size is what byte limits count. */
void sq_record_read(sq_sql *q, mneme_record *ret_record, int64_t *ret_size);
bool sq_record_fits(const mneme_record *record);
/* Inserts, unless its id, its key or its sequence is there already. */
mneme_status sq_memory_insert(sq_conn *conn, const sq_state *s, const mneme_record *record,
                              bool *ret_inserted);
mneme_status sq_memory_replace(sq_conn *conn, const sq_state *s, int64_t row,
                               const mneme_record *record);
/* What is live at now. Looks at memories only when some may have expired: at those that
 * have since it was last asked. */
mneme_status sq_state_live(sq_conn *conn, sq_state *s, int64_t now_us, sq_count *ret_count);
/* The same for who has read the row and keeps nothing: looks at all that have. */
mneme_status sq_state_count(sq_conn *conn, const sq_state *s, int64_t now_us,
                            sq_count *ret_count);
/* A memory of the session, as the brief says, comes (+1) or goes (-1); with only its
 * expiry changed it does both. */
void sq_state_count_dead(sq_state *s, int sign, const sq_brief *brief);

/* --- Answers that request_ids remember (answer.c) --------------------------- */

/* Encodes what a repeat of the write gets, into the arena. */
mneme_status sq_answer_write(sq_arena *arena, const mneme_written *written,
                             mneme_bytes *ret_bytes);
/* Decodes into the arena: deduplicated, pointing into `bytes`. CORRUPT when it is
 * not as sq_answer_write makes them. */
mneme_status sq_answer_read(sq_arena *arena, mneme_bytes bytes, mneme_written *ret_written);

/* --- The ring (ring.c) ------------------------------------------------------ */

typedef enum sq_job_kind { SQ_JOB_COMMIT, SQ_JOB_META, SQ_JOB_TRIM, SQ_JOB_DUE } sq_job_kind;

/* What the writer is asked to do. The inputs are the caller's until done. */
typedef struct sq_job {
  sq_job_kind kind;
  const mneme_call *call;
  void *ctx;
  union {
    struct {
      const mneme_write *write;
      mneme_written_fn done;
    } commit;
    struct {
      mneme_bytes key, expected, value;
      mneme_meta_fn done;
    } meta;
    struct {
      int64_t rows;
      bool *ret_more;
      mneme_done_fn done;
    } trim;
    struct { /* nobody's: sessions whose due_us is too early */
      struct sq_due_list *list; /* free() frees it */
    } due;
  } as;
} sq_job;

typedef struct sq_ring {
  pthread_mutex_t lock;
  pthread_cond_t filled;
  sq_job *jobs;
  size_t room, at, count;
  atomic_size_t pending; /* count, for who looks without the lock */
  size_t taken;          /* by the last take; its own thread looks */
  bool waiting, closed;
} sq_ring;

bool sq_ring_init(sq_ring *ring, size_t room);
void sq_ring_free(sq_ring *ring);
bool sq_ring_push(sq_ring *ring, const sq_job *job); /* false = full */
/* Takes up to max jobs. Waits for one, for ever or for wait_us (0 = not at all). */
#define SQ_FOR_EVER (-1)
size_t sq_ring_take(sq_ring *ring, sq_job *jobs, size_t max, int64_t wait_us, bool *ret_closed);
void sq_ring_close(sq_ring *ring);

/* --- Readers (pool.c) -------------------------------------------------------- */

typedef struct sq_waiter { /* for a connection; on the stack of who waits */
  struct sq_waiter *next;
  sq_conn *conn; /* NULL = not yet */
} sq_waiter;

typedef struct sq_pool {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  sq_conn *conns; /* count of them */
  size_t count, busy;
  sq_conn **idle; /* a stack of count - busy */
  sq_waiter *first; /* who waits, longest first: as many as threads read at once */
  bool paused;    /* the writer wants them all to be idle */
  bool open;
} sq_pool;

/* --- The store (sqlite.c) ----------------------------------------------------- */

typedef enum sq_health {
  SQ_SERVING,
  SQ_LOCKED,  /* somebody else holds SQLite's lock */
  SQ_DOWN,    /* after an I/O error, until the file has been opened again */
  SQ_DAMAGED  /* what is stored is not whole: no writes any more */
} sq_health;

typedef struct sq_options {
  char path[SQ_PATH_MAX];
  bool full; /* durability */
  bool check;
  int64_t cache, mmap, checkpoint, tails, lock_wait_us;
  size_t queue, readers;
} sq_options;

typedef struct sq_tails sq_tails;
typedef struct sq_result sq_result;

/* Sessions whose due_us was found to be too early: names, each with its sizes. */
typedef struct sq_due_list {
  size_t count;
  struct {
    uint16_t ns_size, session_size;
    char names[MNEME_NAMESPACE_MAX + MNEME_SESSION_MAX];
  } sessions[SQ_DUE_MAX];
} sq_due_list;

struct mneme_backend {
  sq_options options;
  const mneme_host *host;
  int lock; /* of PATH.lock */
  uint64_t new_id; /* for a file that is new */
  atomic_int health; /* sq_health */
  sq_ring ring;
  sq_pool pool;
  sq_tails *tails;
  sq_writer *writer;
};

__attribute__((format(printf, 3, 4))) void sq_log(const mneme_backend *store,
                                                  mneme_log_level level, const char *format, ...);

/* Something that is stored is not whole. */
void sq_store_damaged(mneme_backend *store, const char *found_by);

/* Opens the pool's connections, or closes them when all are idle. */
mneme_status sq_pool_open(mneme_backend *store, char *text, size_t size);
bool sq_pool_init(sq_pool *pool, size_t count);
void sq_pool_free(sq_pool *pool);
/* Waits for a connection: OK, DOWN, CORRUPT or TIMEOUT. */
mneme_status sq_pool_take(mneme_backend *store, const mneme_call *call, sq_conn **ret_conn);
void sq_pool_give(mneme_backend *store, sq_conn *conn, mneme_status status);
/* Whether who has one for long should give it back now, and take it again. */
bool sq_pool_is_wanted(sq_pool *pool);
/* Keeps readers out, and waits until all are idle; false after wait_us. */
bool sq_pool_pause(sq_pool *pool, int64_t wait_us);
void sq_pool_resume(sq_pool *pool);
void sq_pool_close(sq_pool *pool); /* paused */

/* --- Tails (tails.c) ----------------------------------------------------------- */

sq_tails *sq_tails_new(int64_t bytes_max); /* NULL without memory */
void sq_tails_free(sq_tails *tails);
/* The writer: what the batch has changed. */
void sq_tails_apply(sq_tails *tails, const sq_job *jobs, const sq_result *results, size_t count);
void sq_tails_forget(sq_tails *tails);

/* --- The writer (writer.c, recover.c) ------------------------------------------ */

mneme_status sq_writer_open(mneme_backend *store, char *error, size_t size);
/* Ends its thread, which uses the pool until then. */
void sq_writer_stop(mneme_backend *store);
void sq_writer_close(mneme_backend *store); /* stopped, and without readers */

/* --- The operations -------------------------------------------------------------- */

void sq_commit(mneme_backend *store, const mneme_call *call, const mneme_write *write,
               mneme_written_fn done, void *ctx);
void sq_session_get(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                    mneme_bytes session, mneme_session_fn done, void *ctx);
void sq_session_list(mneme_backend *store, const mneme_call *call,
                     const mneme_session_list *list, mneme_header_fn emit, mneme_done_fn done,
                     void *ctx);
void sq_request_get(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                    mneme_written_fn done, void *ctx);
void sq_read(mneme_backend *store, const mneme_call *call, const mneme_read *read,
             mneme_record_fn emit, mneme_done_fn done, void *ctx);
void sq_changes(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes cursor,
                mneme_header_fn emit, mneme_cursor_fn done, void *ctx);
void sq_log_read(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                 mneme_bytes session, const mneme_uid *uid, int64_t after, mneme_log_fn emit,
                 mneme_done_fn done, void *ctx);
void sq_due(mneme_backend *store, const mneme_call *call, int64_t limit, mneme_header_fn emit,
            mneme_done_fn done, void *ctx);
void sq_stats(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes session,
              mneme_stats_fn done, void *ctx);
void sq_ping(mneme_backend *store, const mneme_call *call, mneme_done_fn done, void *ctx);
void sq_meta_get(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                 mneme_meta_fn done, void *ctx);
void sq_meta_put(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                 mneme_bytes expected, mneme_bytes value, mneme_meta_fn done, void *ctx);
void sq_trim(mneme_backend *store, const mneme_call *call, int64_t rows, bool *ret_more,
             mneme_done_fn done, void *ctx);

#endif
