/* The writer's thread: takes what is pending, runs it in one transaction, tells.
 *
 *   take <= 256 jobs (never waits to fill up)
 *     those whose caller has left: TIMEOUT
 *   then, for as many of them at a time as are SQ_BATCH_WEIGHT records at most:
 *     BEGIN IMMEDIATE ------------- somebody else's lock: DOWN, all of them
 *     each: sq_commit_run --------- the store fails: ROLLBACK, then one by one
 *     rows of sessions
 *     COMMIT ---------------------- see commit_failed
 *     tails
 *     done, done, ..
 *   then, while nobody waits: checkpoint, purge
 *
 * What a job was told before COMMIT rests on its neighbours (a refusal on the
 * revision that one of them has made), so when COMMIT fails all of them get its
 * failure. */
#include "writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDLE_US 1000000    /* without a job until the WAL is emptied */
#define RETRY_US 100000    /* between two looks at a store that is locked or down */
#define PURGE_EVERY 16     /* batches, while there are always jobs */

static mneme_status run_plain(sq_conn *conn, sq_id id) {
  sq_sql q = sq_sql_begin(conn, id);
  return sq_sql_run(&q);
}

/* --- Telling ------------------------------------------------------------------ */

static void tell(const sq_job *job, const sq_result *r) {
  switch (job->kind) {
    case SQ_JOB_COMMIT:
      job->as.commit.done(r->status, r->has_written ? &r->written : NULL, job->ctx);
      break;
    case SQ_JOB_META:
      job->as.meta.done(r->status, r->meta, job->ctx);
      break;
    case SQ_JOB_TRIM:
      *job->as.trim.ret_more = r->more;
      job->as.trim.done(r->status, job->ctx);
      break;
    case SQ_JOB_DUE:
      free(job->as.due.list);
      break;
  }
}

static void tell_all(sq_writer *w, const sq_job *jobs, size_t count, mneme_status status) {
  const sq_result r = {.status = status};
  (void)w;
  for (size_t i = 0; i < count; i++) tell(&jobs[i], &r);
}

/* --- A batch ------------------------------------------------------------------- */

static void run_job(sq_writer *w, const sq_job *job, sq_result *r) {
  switch (job->kind) {
    case SQ_JOB_COMMIT:
      sq_commit_run(w, job->call, job->as.commit.write, r);
      break;
    case SQ_JOB_META:
      sq_meta_run(w, job, r);
      break;
    case SQ_JOB_TRIM:
      sq_trim_run(w, job, r);
      break;
    case SQ_JOB_DUE:
      sq_due_run(w, job, r);
      break;
  }
}

static void roll_back(sq_writer *w, int64_t tombstones) {
  if (!sqlite3_get_autocommit(w->conn.db)) run_plain(&w->conn, SQ_ROLLBACK);
  if (!sqlite3_get_autocommit(w->conn.db)) sqlite3_exec(w->conn.db, "ROLLBACK", 0, 0, 0);
  sq_heads_rolled_back(w);
  w->tombstones = tombstones;
  w->graves = true; /* those that were purged may be there again */
}

/* What is left of a batch when its jobs know. */
static void end_batch(sq_writer *w) {
  while (w->retired != NULL) {
    sq_settings *next = w->retired->next;
    sq_settings_unref(w->retired);
    w->retired = next;
  }
  sq_heads_trim(w);
  sq_arena_clear(&w->arena);
}

/* COMMIT says no. A full disk is found out before the frame that makes a commit
 * valid is written, so nothing has happened. Anything else may have come after it:
 * nobody knows before the file has been opened anew. */
static mneme_status commit_failed(sq_writer *w, int rc) {
  if ((rc & 0xff) == SQLITE_FULL) return MNEME_STORE_FULL;
  if ((rc & 0xff) == SQLITE_BUSY) return MNEME_DOWN;
  sq_log(w->store, MNEME_LOG_ERROR, "%s: COMMIT failed, its outcome is unknown: %s",
         w->store->options.path, sqlite3_errstr(rc));
  sq_writer_set_health(w, SQ_DOWN, "a commit has failed");
  return MNEME_UNCERTAIN;
}

static mneme_status commit(sq_writer *w) {
  mneme_status status = sq_heads_flush(w);
  if (status != MNEME_OK) return status;
  if (!w->wrote) return run_plain(&w->conn, SQ_ROLLBACK);
  sq_sql q = sq_sql_begin(&w->conn, SQ_COMMIT);
  sq_sql_next(&q);
  int rc = q.rc;
  status = sq_sql_end(&q);
  return status == MNEME_OK ? MNEME_OK : commit_failed(w, rc);
}

static mneme_status begin(sq_writer *w) {
  int64_t wait_us = w->conn.lock_wait_us;
  if (atomic_load(&w->store->health) == SQ_LOCKED) w->conn.lock_wait_us = 0;
  mneme_status status = run_plain(&w->conn, SQ_BEGIN);
  int rc = sqlite3_errcode(w->conn.db);
  w->conn.lock_wait_us = wait_us;
  if (status == MNEME_DOWN && (rc & 0xff) == SQLITE_BUSY)
    sq_writer_set_health(w, SQ_LOCKED, "another process has locked the file");
  else if (status == MNEME_DOWN)
    sq_writer_set_health(w, SQ_DOWN, sqlite3_errstr(rc));
  if (status == MNEME_OK && atomic_load(&w->store->health) == SQ_LOCKED)
    sq_writer_set_health(w, SQ_SERVING, "the lock has gone");
  return status;
}

/* Runs them in one transaction: OK, and each has its result; or nothing has
 * happened, or nobody knows. */
static mneme_status run_all(sq_writer *w, const sq_job *jobs, sq_result *results, size_t count) {
  int64_t tombstones = w->tombstones;
  w->wrote = false;
  mneme_status status = begin(w);
  if (status != MNEME_OK) return status;
  for (size_t i = 0; i < count && status == MNEME_OK; i++) {
    run_job(w, &jobs[i], &results[i]);
    if (results[i].status != MNEME_OK && !sq_is_refusal(results[i].status))
      status = results[i].status;
  }
  if (status == MNEME_OK) status = commit(w);
  if (status != MNEME_OK) {
    roll_back(w, tombstones);
    return status;
  }
  sq_heads_committed(w);
  return MNEME_OK;
}

/* What the failure of one job, alone in its transaction, says of the store. */
static void judge(sq_writer *w, mneme_status status) {
  if (status == MNEME_CORRUPT) sq_store_damaged(w->store, "a write");
  if (status == MNEME_DOWN && atomic_load(&w->store->health) == SQ_SERVING)
    sq_writer_set_health(w, SQ_DOWN, "an I/O error");
}

/* One of them has failed: each for itself, so that it fails alone. */
static void run_one_by_one(sq_writer *w, const sq_job *jobs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    sq_result *r = &w->results[0];
    int health = atomic_load(&w->store->health);
    mneme_status status = health == SQ_DOWN      ? MNEME_DOWN
                          : health == SQ_DAMAGED ? MNEME_CORRUPT
                                                 : run_all(w, &jobs[i], r, 1);
    if (status == MNEME_OK) {
      sq_tails_apply(w->store->tails, &jobs[i], r, 1);
      tell(&jobs[i], r);
    } else {
      judge(w, status);
      tell_all(w, &jobs[i], 1, status);
    }
    end_batch(w);
  }
}

static void run_batch(sq_writer *w, const sq_job *jobs, size_t count) {
  mneme_status status = run_all(w, jobs, w->results, count);
  if (status == MNEME_OK) {
    sq_tails_apply(w->store->tails, jobs, w->results, count);
    for (size_t i = 0; i < count; i++) tell(&jobs[i], &w->results[i]);
    end_batch(w);
    return;
  }
  int health = atomic_load(&w->store->health);
  bool for_all = status == MNEME_UNCERTAIN || status == MNEME_STORE_FULL ||
                 health == SQ_LOCKED || health == SQ_DOWN;
  end_batch(w);
  if (for_all)
    tell_all(w, jobs, count, status);
  else
    run_one_by_one(w, jobs, count);
}

/* One step of removing what is buried, in a transaction of its own. */
static void purge(sq_writer *w) {
  int64_t tombstones = w->tombstones;
  mneme_status status = begin(w);
  if (status != MNEME_OK) return;
  status = sq_purge_some(w);
  if (status == MNEME_OK) status = commit(w);
  if (status == MNEME_OK) return;
  roll_back(w, tombstones);
  judge(w, status);
  w->rests = true;
}

/* Answers those whose caller has left, and moves the others together. */
static size_t drop_expired(sq_writer *w, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    const sq_job *job = &w->jobs[i];
    if (job->call != NULL && mneme_call_expired(job->call))
      tell_all(w, job, 1, MNEME_TIMEOUT);
    else
      w->jobs[kept++] = *job;
  }
  return kept;
}

/* How much there is to do for it: a commit without records counts as one of them. */
static size_t weight_of(const sq_job *job) {
  size_t weight = 1;
  if (job->kind != SQ_JOB_COMMIT) return weight;
  const mneme_write *write = job->as.commit.write;
  for (size_t i = 0; i < write->step_count; i++)
    weight += write->steps[i].record_count + write->steps[i].name_count +
              write->steps[i].sequence_count;
  return weight;
}

/* The first of them that go into one transaction: nobody waits for much that comes
 * behind him. */
static size_t take_some(const sq_job *jobs, size_t count) {
  size_t n = 1, weight = weight_of(&jobs[0]);
  while (n < count && (weight += weight_of(&jobs[n])) <= SQ_BATCH_WEIGHT) n++;
  return n;
}

static void process_some(sq_writer *w, const sq_job *jobs, size_t count) {
  if (atomic_load(&w->store->health) == SQ_DOWN) sq_writer_recover(w);
  switch (atomic_load(&w->store->health)) {
    case SQ_DOWN:
      tell_all(w, jobs, count, MNEME_DOWN);
      break;
    case SQ_DAMAGED: /* writing spreads the damage */
      tell_all(w, jobs, count, MNEME_CORRUPT);
      break;
    default:
      run_batch(w, jobs, count);
  }
}

/* --- The thread ------------------------------------------------------------------ */

/* Whether somebody else still has the lock, asked when there is nothing to write. */
static void look_for_lock(sq_writer *w) {
  if (begin(w) == MNEME_OK) run_plain(&w->conn, SQ_ROLLBACK);
}

static void upkeep(sq_writer *w, bool busy) {
  int health = atomic_load(&w->store->health);
  if (health == SQ_DOWN && !busy) sq_writer_recover(w);
  if (health == SQ_LOCKED && !busy) look_for_lock(w);
  if (atomic_load(&w->store->health) != SQ_SERVING) return;
  if (w->graves && (!busy || ++w->since_purge >= PURGE_EVERY)) {
    w->since_purge = 0;
    purge(w);
  }
  if ((w->wal_frames - w->wal_copied) * SQ_PAGE_BYTES >= w->store->options.checkpoint)
    sq_writer_checkpoint(w);
}

static void process(sq_writer *w, size_t count) {
  size_t some;
  count = drop_expired(w, count);
  for (size_t at = 0; at < count; at += some) {
    some = take_some(w->jobs + at, count - at);
    process_some(w, w->jobs + at, some);
    upkeep(w, true);
  }
}

static int64_t wait_of(const sq_writer *w) {
  int health = atomic_load(&w->store->health);
  if (health == SQ_LOCKED || health == SQ_DOWN) return RETRY_US;
  if (health == SQ_DAMAGED) return SQ_FOR_EVER;
  if (w->rests) return RETRY_US;
  return w->graves ? 0 : w->wal_frames > w->wal_copied ? IDLE_US : SQ_FOR_EVER;
}

static void *run(void *argument) {
  sq_writer *w = argument;
  bool closed = false;
  for (;;) {
    int64_t wait_us = wait_of(w);
    w->rests = false;
    size_t count = sq_ring_take(&w->store->ring, w->jobs, SQ_BATCH_MAX, wait_us, &closed);
    if (count == 0 && closed) break;
    if (count != 0) process(w, count);
    if (count == 0 && wait_us == IDLE_US) sq_writer_checkpoint(w);
    if (count == 0) upkeep(w, false);
  }
  return NULL;
}

static int on_commit(void *ctx, sqlite3 *db, const char *name, int frames) {
  sq_writer *w = ctx;
  (void)db;
  (void)name;
  if (frames < w->wal_frames) w->wal_copied = 0; /* it has begun anew */
  w->wal_frames = frames;
  return SQLITE_OK;
}

void sq_writer_watch_wal(sq_writer *w) { sqlite3_wal_hook(w->conn.db, on_commit, w); }

/* Whether the file could not be opened for somebody else's lock, which goes by
 * itself; anything else is for the operator to mend first. */
static bool is_locked(const sq_writer *w, mneme_status status) {
  return status == MNEME_DOWN && w->conn.db != NULL &&
         (sqlite3_errcode(w->conn.db) & 0xff) == SQLITE_BUSY;
}

mneme_status sq_writer_open(mneme_backend *store, char *error, size_t size) {
  sq_writer *w = calloc(1, sizeof *w);
  if (w == NULL || !sq_heads_init(&w->heads)) {
    free(w);
    snprintf(error, size, "no memory for the writer");
    return MNEME_NO_MEMORY;
  }
  w->store = store;
  store->writer = w;
  mneme_status status = sq_writer_connect(w, error, size);
  /* A file that is damaged, or that somebody has locked, is one of many engines: the
   * server goes on without it. */
  if (status == MNEME_CORRUPT) {
    sq_writer_set_health(w, SQ_DAMAGED, error);
    status = MNEME_OK;
  } else if (is_locked(w, status)) { /* the thread tries again */
    sq_writer_set_health(w, SQ_DOWN, error);
    status = MNEME_OK;
  }
  if (status != MNEME_OK) return status;
  w->runs = pthread_create(&w->thread, NULL, run, w) == 0;
  if (w->runs) return MNEME_OK;
  snprintf(error, size, "no thread for the writer: see ulimit -u");
  return MNEME_NO_MEMORY;
}

void sq_writer_stop(mneme_backend *store) {
  sq_writer *w = store->writer;
  if (w == NULL || !w->runs) return;
  sq_ring_close(&store->ring);
  pthread_join(w->thread, NULL);
  w->runs = false;
}

void sq_writer_close(mneme_backend *store) {
  sq_writer *w = store->writer;
  if (w == NULL) return;
  /* The readers are closed: the WAL can go as a whole. */
  if (w->conn.db != NULL && atomic_load(&store->health) == SQ_SERVING)
    sqlite3_wal_checkpoint_v2(w->conn.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  sq_conn_close(&w->conn);
  sq_heads_free(&w->heads);
  sq_arena_free(&w->arena);
  free(w);
  store->writer = NULL;
}
