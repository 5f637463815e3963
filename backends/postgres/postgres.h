/* What the files of the room share: the store, its connections and its jobs.
 *
 *   callers --submit--> inbox --wake--> the loop's thread
 *                                        writers: a batch at a time, one transaction
 *                                                 for many commits (batch, append)
 *                                        readers: queries one behind the other
 *                                        done, done, done..
 *   connector's thread: makes a connection, looks at the schema, hands it to the loop
 *   canceller's thread: asks the server to stop a query that nobody waits for
 *
 * A job is one operation. It is in one place at a time: the inbox, a queue, or a unit
 * under way on a connection. A unit is what one Sync ends: a query of a reader, or a
 * transaction of a writer. What a writer was sent is known to be done, or not done, when
 * its unit has ended; when the connection ends first, it is uncertain.
 *
 * Threads. All of the store but `inbox`, what the connector hands over, and the atomics is
 * the loop's thread's own, and so is every libpq connection from when it is handed over.
 * Locks, none held while another is taken: store->lock (inbox), the connector's, the
 * canceller's. None is held while done or emit is called.
 *
 * Files, each knowing those before it: params, rows, statements; status, settings, schema,
 * connect, cancel; conn (pipeline), loop (jobs), batch with append and commit (writers);
 * read, sessions, changes, upkeep (operations); postgres (the table). */
#ifndef POSTGRES_POSTGRES_H
#define POSTGRES_POSTGRES_H

#include "params.h"
#include "rows.h"
#include "statements.h"

#include "bytes.h"
#include "mneme/backend.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <uv.h>

#define PE_WRITERS_MAX 16
#define PE_READERS_MAX 64
#define PE_BATCH_MAX 256            /* appends in one transaction */
#define PE_BATCH_BYTES (4 << 20)    /* of them, about */
#define PE_BATCH_RECORDS 4096
#define PE_APPEND_RECORDS 64        /* in a commit of such a batch */
#define PE_GROUP_MAX 32             /* other commits in one transaction */
#define PE_DEPTH 16                 /* queries under way on one reader */
#define PE_RESULT_BYTES (4 << 20)   /* of records in one result, about */
#define PE_RETRIES_MAX 10           /* of a transaction that others were in the way of */
#define PE_REREADS_MAX 3            /* of a query that its connection did not outlive */
#define PE_TEXT_MAX 1024
#define PE_TICK_MS 25               /* between two looks at deadlines */
#define PE_OUTLIVE_MS 30000         /* how long an uncertain write waits to be repeated */

typedef enum pe_id {
#define PE(name, text) PE_##name,
  PE_STATEMENTS
#undef PE
      PE_COUNT
} pe_id;

/* --- Settings (settings.c) --------------------------------------------------------- */

typedef struct pe_settings {
  char *url, *password_file, *schema;
  size_t writers, readers, queue, batch;
  int64_t connect_timeout_us, statement_timeout_us, lock_timeout_us;
  int64_t journal;
  mneme_durability durability; /* at least */
} pe_settings;

extern const mneme_option pe_options[];
extern const mneme_scheme pe_schemes[];

mneme_status pe_settings_read(const mneme_option_value *values, pe_settings *ret_settings,
                              char *error, size_t size);
void pe_settings_free(pe_settings *settings);

/* What libpq is to connect with; NULL and a text when the url or the password can't be
 * read. Names and values end with NULL; pe_target_free frees them. */
typedef struct pe_target {
  const char **names, **values;
  PQconninfoOption *parsed;
  char *password;
} pe_target;

bool pe_target_make(const pe_settings *settings, pe_target *ret_target, char *text, size_t size);
void pe_target_free(pe_target *target);

/* --- What the server says (status.c) ------------------------------------------------- */

#define PE_STATE_MAX 6 /* of a SQLSTATE with its NUL */

typedef enum pe_fault {
  PE_FAULT_NONE,
  PE_FAULT_RACE,     /* others were in the way: the same again may succeed */
  PE_FAULT_TAKEN,    /* a name that an append takes is another's */
  PE_FAULT_STOPPED,  /* cancelled, or too slow */
  PE_FAULT_STORE,    /* of the store, whatever was asked: no use in asking one by one */
  PE_FAULT_OTHER
} pe_fault;

pe_fault pe_fault_of(const char *state);
/* What it means to a caller; the transaction has not happened. */
mneme_status pe_status_of(const char *state);
/* The server's words without line breaks: what an error result, or a connection, says. */
void pe_result_text(const PGresult *result, char *text, size_t size);
void pe_conn_text(const PGconn *pg, char *text, size_t size);

/* --- Making connections (connect.c, schema.c) ------------------------------------------ */

/* A connection that is ready: settings made, schema looked at, statements prepared, in
 * pipeline mode. */
typedef struct pe_link {
  PGconn *pg;
  uint32_t memories, memories_array; /* OIDs of types */
  uint64_t origin; /* of the store's transaction numbers: what a cursor must match */
  mneme_durability durability;
} pe_link;

typedef struct pe_connector pe_connector;

/* Starts the thread. It calls `made` for each connection asked for, and `failed` for each
 * attempt that failed, with a text; refused: trying again will not help. */
typedef struct pe_connector_calls {
  void (*made)(void *ctx, pe_link link);
  void (*failed)(void *ctx, bool refused, const char *text);
  void *ctx;
} pe_connector_calls;

pe_connector *pe_connector_open(const pe_settings *settings, pe_connector_calls calls);
void pe_connector_ask(pe_connector *connector, size_t count); /* for so many more */
void pe_connector_close(pe_connector *connector); /* NULL is fine */

/* Runs a statement on a blocking connection, giving up at the deadline or when stopped.
 * NULL = the connection is of no use any more. */
typedef struct pe_patience {
  int64_t until_ms; /* of uv_hrtime */
  const atomic_bool *stop;
} pe_patience;

bool pe_wait(PGconn *pg, bool writable, const pe_patience *patience);
PGresult *pe_ask(PGconn *pg, const char *text, const pe_patience *patience);

mneme_durability pe_durability_of(const char *synchronous_commit, const char *fsync);

/* Brings the schema to this version: OK; INVALID when it never will be, DOWN else. */
mneme_status pe_schema_bring(PGconn *pg, const pe_settings *settings,
                             const pe_patience *patience, char *text, size_t size);
const char *pe_append_text(void); /* sql/append.sql */

/* --- Cancelling (cancel.c) --------------------------------------------------------------- */

typedef struct pe_canceller pe_canceller;
pe_canceller *pe_canceller_open(void);
void pe_canceller_close(pe_canceller *canceller);
/* Takes the handle, whatever happens. */
void pe_canceller_ask(pe_canceller *canceller, PGcancel *handle);

/* --- Connections on the loop (conn.c) ------------------------------------------------------ */

typedef struct pe_query {
  pe_id id;
  const char *text; /* not NULL: instead of id's */
} pe_query;

typedef struct pe_unit pe_unit;
typedef struct pe_conn pe_conn;
typedef struct pe_job pe_job;

typedef enum pe_end_how {
  PE_END_DONE,   /* every statement has succeeded, and the transaction is committed */
  PE_END_FAILED, /* it has not happened; unit->state says why */
  PE_END_LOST    /* the connection ended first: who knows */
} pe_end_how;

struct pe_unit {
  STAILQ_ENTRY(pe_unit) next;
  /* A result of the next of its statements, which is the callee's. */
  void (*take)(pe_unit *unit, PGresult *result);
  /* The last call: the unit may free itself. */
  void (*end)(pe_unit *unit, pe_conn *conn, pe_end_how how);
  char state[PE_STATE_MAX]; /* of its first error; "" = none */
  bool heavy;
};

typedef struct pe_watch pe_watch;

struct pe_conn {
  mneme_backend *store;
  bool reads;
  size_t index; /* among its kind */
  pe_link link; /* link.pg is NULL while there is none */
  pe_watch *watch;
  bool writable_wanted;
  bool fatal; /* the server has said that it ends this connection */
  STAILQ_HEAD(, pe_unit) units; /* under way, the oldest first */
  size_t unit_count, heavy_count;
  uint64_t since_ms; /* when the oldest became that */
  bool cancelled;    /* the oldest: asked for */
  /* Writers: */
  TAILQ_HEAD(pe_queue, pe_job) queue;
  uint64_t paused_until_ms; /* after others were in the way */
};

static inline bool pe_conn_is_up(const pe_conn *c) { return c->link.pg != NULL; }
void pe_conn_adopt(pe_conn *c, pe_link link); /* a new connection */
/* Sends one statement of a unit; false when the connection has ended by that. */
bool pe_conn_send(pe_conn *c, pe_query query, const pe_params *p);
/* Ends what was sent since the last one as a unit, which is under way from here on. */
void pe_conn_end(pe_conn *c, pe_unit *unit);
void pe_conn_flush(pe_conn *c);
/* Closes it; its units end as lost. */
void pe_conn_drop(pe_conn *c, const char *why);
/* Asks the server to stop the oldest unit. */
void pe_conn_cancel(pe_conn *c);

/* --- Jobs (loop.c) --------------------------------------------------------------------------- */

typedef struct pe_kind {
  bool writes;
  bool heavy; /* may run long: others are kept off its connection */
  bool commits; /* a pe_commit: batch.c sends it */
  /* Of a job that is not a commit: its statement and parameters. It may be called again: for
   * more rows, or on another connection. */
  pe_query (*ask)(pe_job *job, const pe_link *link, pe_params *p);
  /* Looks at its result. job->more: it is to be asked again. */
  mneme_status (*take)(pe_job *job, const PGresult *result);
  /* Calls the caller's done and frees what the kind has allocated, but for the job. */
  void (*done)(pe_job *job, mneme_status status);
} pe_kind;

struct pe_job {
  pe_unit unit; /* first */
  TAILQ_ENTRY(pe_job) entry;
  mneme_backend *store;
  const pe_kind *kind;
  const mneme_call *call; /* NULL once it has been answered while under way */
  uint64_t hash;   /* of a writer's session */
  int tries;
  bool queued;     /* it counts in the store's `waiting` */
  bool more;
  bool sent;       /* a write that may have happened */
  uint64_t lost_ms; /* when it came to that; 0 = never */
  mneme_status status;
  bool taken;      /* its result has come */
};

/* A job of size bytes, which begin with a pe_job; NULL without memory. */
void *pe_job_new(mneme_backend *store, size_t size, const pe_kind *kind, const mneme_call *call);
/* Hands it to the loop, or answers it: BUSY. */
void pe_job_submit(pe_job *job);
/* The end: done, and the memory is given back. */
void pe_job_done(pe_job *job, mneme_status status);
bool pe_job_expired(const pe_job *job);
/* Puts a job that is not a commit under way; it may end, or wait again, at once. */
void pe_job_send(pe_job *job, pe_conn *conn);
/* A job that is to be sent (again), in front of those that wait. */
void pe_job_requeue(pe_job *job);

/* --- The store (postgres.c, loop.c) ------------------------------------------------------------ */

typedef struct pe_counters { /* since the store was opened; the loop's */
  int64_t batches, commits, retries, reconnects, uncertain;
} pe_counters;

typedef enum pe_health {
  PE_STARTING, /* no attempt to connect has ended yet */
  PE_SERVING,
  PE_DOWN
} pe_health;

struct mneme_backend {
  pe_settings settings;
  const mneme_host *host;
  atomic_int durability;
  pe_connector *connector;
  pe_canceller *canceller;

  pthread_t thread;
  bool runs;
  uv_loop_t loop;
  bool has_loop;
  uv_async_t wake;
  uv_timer_t tick;

  pthread_mutex_t lock;
  pthread_cond_t tried; /* the first attempt to connect has ended */
  struct pe_queue inbox;   /* jobs, in their order */
  struct pe_arrival *arrivals; /* what the connector has to say, the oldest first */
  size_t writes, reads; /* that are under way, of settings.queue each */
  atomic_bool stopping;
  /* Of the first attempt. */
  bool was_tried, was_refused;
  char why[PE_TEXT_MAX];

  /* The loop's. */
  pe_health health;
  uint64_t said_ms; /* when it was last said that the server is down */
  struct pe_queue waiting; /* for a connection: reads, and writes while no writer is up */
  pe_params params;
  pe_conn *conns; /* the writers, then the readers */
  size_t conn_count;
  struct pe_slow *slow; /* sessions that appends go one by one for (batch.c) */
  uint64_t random;
  pe_counters counters;
};

__attribute__((format(printf, 3, 4))) void pe_log(const mneme_backend *store,
                                                  mneme_log_level level, const char *format, ...);

mneme_status pe_loop_open(mneme_backend *store);
void pe_loop_close(mneme_backend *store);
/* After something has changed: connections that can take more get it. */
void pe_loop_go(mneme_backend *store);
uint64_t pe_now_ms(const mneme_backend *store);
/* A connection has ended: another is wanted. */
void pe_loop_lost(mneme_backend *store, pe_conn *conn);

/* --- Writers (batch.c, append.c, commit.c) ------------------------------------------------------- */

/* Where a commit that was refused by the state of the fast lane goes from there. */
typedef enum pe_lane {
  PE_LANE_ANY,
  PE_LANE_SLOW, /* by itself, in a transaction of several */
  PE_LANE_ALONE /* and in one of its own */
} pe_lane;

typedef struct pe_commit {
  pe_job job; /* first */
  const mneme_write *write;
  mneme_written_fn done;
  void *ctx;
  pe_lane lane;
  size_t order; /* of those of its session in a round */
  size_t records;
  int64_t bytes;
  PGresult *result; /* of commit_write */
  bool answered;    /* the caller has been told */
} pe_commit;

bool pe_slow_open(mneme_backend *store);
void pe_writer_go(pe_conn *conn);
/* Whether the next appends of a session go one by one, for a while. */
void pe_slow_note(mneme_backend *store, uint64_t hash, bool slow);
/* What becomes of a commit whose transaction has ended otherwise than well. */
void pe_commit_failed(pe_commit *commit, pe_conn *conn, pe_end_how how, const char *state,
                      bool was_alone);

/* Whether it may go with others in one statement (append.c). */
bool pe_append_fits(const pe_commit *commit);
/* Sends as many of the commits, sorted by (ns, session), as fit together; the others are put back
 * into the queue. */
void pe_append_send(pe_conn *conn, pe_commit **commits, size_t count);

/* The parameters of commit_write (commit.c). */
void pe_commit_params(const pe_commit *commit, const pe_link *link, pe_params *p);
/* Tells the caller what commit_write has answered. */
void pe_commit_answer(pe_commit *commit);
void pe_commit_run(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                   mneme_written_fn done, void *ctx);
void pe_request_get(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                    mneme_written_fn done, void *ctx);

/* --- The other operations ---------------------------------------------------------------------------- */

#define PE_NAME_ROOM (MNEME_SESSION_MAX + 2) /* of a name, or of what stands right behind it */

typedef struct pe_range { /* of names: low <= name < high */
  mneme_bytes low, high;
  char low_room[PE_NAME_ROOM], high_room[PE_NAME_ROOM];
} pe_range;

/* The names that begin with prefix, and stand beyond `after` in the direction (empty = no
 * such bound). false = there can't be any. */
bool pe_range_make(pe_range *range, mneme_bytes prefix, mneme_bytes after, bool descending);
bool pe_is_name(mneme_bytes ns, mneme_bytes session);
uint64_t pe_session_hash(mneme_bytes ns, mneme_bytes session);

void pe_read(mneme_backend *store, const mneme_call *call, const mneme_read *read,
             mneme_record_fn emit, mneme_done_fn done, void *ctx);
void pe_session_get(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                    mneme_bytes session, mneme_session_fn done, void *ctx);
void pe_session_list(mneme_backend *store, const mneme_call *call, const mneme_session_list *list,
                     mneme_header_fn emit, mneme_done_fn done, void *ctx);
void pe_changes(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes cursor,
                mneme_header_fn emit, mneme_cursor_fn done, void *ctx);
void pe_log_read(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                 mneme_bytes session, const mneme_uid *uid, int64_t after, mneme_log_fn emit,
                 mneme_done_fn done, void *ctx);
void pe_due(mneme_backend *store, const mneme_call *call, int64_t limit, mneme_header_fn emit,
            mneme_done_fn done, void *ctx);
void pe_stats(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes session,
              mneme_stats_fn done, void *ctx);
void pe_ping(mneme_backend *store, const mneme_call *call, mneme_done_fn done, void *ctx);
void pe_meta_get(mneme_backend *store, const mneme_call *call, mneme_bytes key, mneme_meta_fn done,
                 void *ctx);
void pe_meta_put(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                 mneme_bytes expected, mneme_bytes value, mneme_meta_fn done, void *ctx);
void pe_trim(mneme_backend *store, const mneme_call *call, int64_t rows, bool *ret_more,
             mneme_done_fn done, void *ctx);

#endif
