/* The writer: its thread's state, the work of one commit, and what a batch keeps
 * until its done callbacks have been called. Nothing here is guarded by a lock. */
#ifndef SQLITE_WRITER_H
#define SQLITE_WRITER_H

#include "sqlite.h"

/* What was done to memories, in the order in which it was done: the log, the answer
 * and the tails are made from it. A replaced memory is a TAKE (logged as UPDATED)
 * and a PUT. CLEAR is all of them at once. */
typedef enum sq_note_kind { SQ_PUT, SQ_TAKE, SQ_TOUCH, SQ_CLEAR } sq_note_kind;

typedef struct sq_note {
  sq_note_kind kind;
  mneme_log_op log_op; /* TAKE, CLEAR */
  int incarnation;     /* of the commit: see sq_work */
  int64_t sequence;
  union {
    const mneme_record *record; /* PUT: as it is stored; points to the input */
    struct {                    /* TOUCH: as it is now */
      int64_t access_us, access_count, expire_us;
    } touch;
    struct { /* CLEAR: the sequences that were there */
      const mneme_log_entry *runs;
      size_t run_count;
    } clear;
  } as;
} sq_note;

/* What a job has come to; told when COMMIT has succeeded. */
struct sq_result {
  mneme_status status;
  bool has_written;
  mneme_written written;
  mneme_bytes meta;
  bool more; /* trim */
  /* For the tails, where a commit changed what they keep. */
  bool changed;
  bool reborn; /* it is another incarnation than before, or none */
  sq_state after;
  const sq_state *newest; /* as the batch leaves it; until the batch is over */
  int64_t version_before, last_before; /* version and last_sequence */
  sq_settings *settings; /* borrowed until the batch is over */
  const sq_note *notes;  /* those of the incarnation that is there after */
  size_t note_count;
};

struct sq_writer {
  mneme_backend *store;
  pthread_t thread;
  bool runs;
  sq_conn conn;
  sq_heads heads;
  sq_arena arena;          /* of the batch */
  sq_settings *retired;    /* replaced in this batch; answers may show them */
  int64_t last_slot, last_shelf, stamp;
  int64_t tombstones;
  bool graves;      /* there are some to purge */
  bool rests;       /* upkeep has just failed: no more of it at once */
  bool wrote;       /* this transaction changes something */
  int64_t wal_frames; /* in the WAL */
  int64_t wal_copied; /* of them, those that are in the database too */
  size_t since_purge; /* batches */
  int64_t tried_us;   /* when recovery was tried last */
  sq_job jobs[SQ_BATCH_MAX];
  sq_result results[SQ_BATCH_MAX];
};

/* Whether the status is an answer about the write, and not a failure of the store:
 * then what else is in the transaction stands. */
bool sq_is_refusal(mneme_status status);

/* --- A commit (commit.c, steps.c, policy.c) --------------------------------- */

/* A session may be dropped and made anew within a commit: each has a number, the
 * one that was there at the start 0. */
typedef struct sq_work {
  sq_writer *w;
  const mneme_write *write;
  int64_t now_us;
  sq_head *head;
  sq_state *s; /* head->s: what the next step works on; absent unless live */

  bool stored; /* there was a session at the start, and it had not lapsed */
  bool lapsed; /* there was one that counts as absent */
  sq_state saved;
  sq_settings *saved_settings;
  sq_settings *saved_retired;
  bool saved_dirty, saved_new_settings;
  int incarnation;
  int64_t revision; /* of what this commit changes */

  bool changed;      /* something that a reader can see */
  bool header_moved; /* the plan's max_age or keep_system is another */
  bool wrote;        /* a memory was created or replaced */
  bool set;          /* the settings were set, or the session was created */
  int64_t lapsed_request; /* the row of its request_id, when that has lapsed */
  int64_t conflict_revision;

  mneme_written written; /* counts and refs as they come */
  mneme_ref *refs;
  sq_note *notes;
  size_t note_count, note_room;
  mneme_record *removed; /* with want_removed */
  size_t removed_count, removed_room;
} sq_work;

/* Runs one commit inside the open transaction. */
void sq_commit_run(sq_writer *w, const mneme_call *call, const mneme_write *write,
                   sq_result *ret_result);

sq_note *sq_work_note(sq_work *k, sq_note_kind kind, int64_t sequence); /* NULL without memory */
/* Takes a memory out. */
mneme_status sq_work_take(sq_work *k, const sq_brief *brief, mneme_log_op op);
mneme_status sq_work_steps(sq_work *k);
/* An append of one memory that needs no undoing: decided before the first write.
 * *ret_done = false: it is for sq_work_steps, and nothing has changed. */
mneme_status sq_work_append_plainly(sq_work *k, bool *ret_done);
/* Removes what has expired, up to max. */
mneme_status sq_work_expire(sq_work *k, int64_t max);
/* Guard 7, room; removes what has expired, or some of it, and evicts. */
mneme_status sq_work_evict(sq_work *k);
mneme_status sq_work_evict_until(sq_work *k, int64_t memories, int64_t tokens, int64_t newest);
/* Leaves the shelf to the purge; with_log: and the log of the life of that number. */
mneme_status sq_writer_bury(sq_writer *w, int64_t shelf, bool with_log);
void sq_state_clear(sq_state *s); /* no session any more */
void sq_writer_retire(sq_writer *w, sq_settings *settings);

/* --- Other jobs (upkeep.c) --------------------------------------------------- */

void sq_meta_run(sq_writer *w, const sq_job *job, sq_result *ret_result);
void sq_trim_run(sq_writer *w, const sq_job *job, sq_result *ret_result);
void sq_due_run(sq_writer *w, const sq_job *job, sq_result *ret_result);
/* Removes some of what is buried, inside the open transaction. */
mneme_status sq_purge_some(sq_writer *w);

/* --- Opening and mending (recover.c) ------------------------------------------ */

/* Opens the writer's connection and the pool, checks, and reads the counters. */
mneme_status sq_writer_connect(sq_writer *w, char *error, size_t size);
/* Closes all and opens it anew; sets the store's health. */
void sq_writer_recover(sq_writer *w);
/* Moves what is in the WAL to the database, as far as readers let it. */
void sq_writer_checkpoint(sq_writer *w);
void sq_writer_watch_wal(sq_writer *w); /* keeps wal_frames right */
void sq_writer_set_health(sq_writer *w, sq_health health, const char *why);

#endif
