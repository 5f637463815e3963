/* Opening the file, and opening it again after an I/O error.
 *
 * After a COMMIT that failed, what the WAL holds and what SQLite believes may
 * differ: its last frames may be valid on the disk or not, and the kernel may have
 * dropped pages that it could not write. So all connections are closed, the WAL is
 * recovered from the file as after a crash, and then copied to the database and
 * synced at once: whatever is shown from now on is on the disk. */
#include "writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define AGAIN_US 100000      /* between two tries to open a file that is down */
#define READERS_US 200000    /* how long its readers are waited for */
#define LARGE_WAL 4          /* times the size where readers are made to pause */
#define PAUSE_US 50000

static int64_t clock_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void sq_writer_set_health(sq_writer *w, sq_health health, const char *why) {
  static const char *const names[] = {"serving", "locked", "down", "damaged"};
  static const mneme_log_level levels[] = {MNEME_LOG_INFO, MNEME_LOG_WARN, MNEME_LOG_ERROR,
                                           MNEME_LOG_ERROR};
  int before = atomic_load(&w->store->health);
  do /* a reader may find damage meanwhile, and that stays */
    if (before == (int)health || before == SQ_DAMAGED) return;
  while (!atomic_compare_exchange_weak(&w->store->health, &before, health));
  sq_log(w->store, levels[health], "%s is %s: %s", w->store->options.path, names[health], why);
}

void sq_store_damaged(mneme_backend *store, const char *found_by) {
  if (atomic_exchange(&store->health, SQ_DAMAGED) == SQ_DAMAGED) return;
  sq_log(store, MNEME_LOG_ERROR,
         "%s is damaged, as %s has found: no more writes; restore a backup, or try the "
         "sqlite3 program's .recover",
         store->options.path, found_by);
}

/* --- Opening ---------------------------------------------------------------------- */

/* Where there is no shared memory for it, SQLite stays with another journal and says
 * nothing else. */
static mneme_status begin_wal(sq_writer *w, char *error, size_t size) {
  bool wal = false;
  sq_sql q = sq_sql_compose(&w->conn, "PRAGMA journal_mode = WAL");
  if (sq_sql_next(&q)) {
    mneme_bytes mode = sq_col_bytes(&q);
    wal = mode.size == 3 && memcmp(mode.data, "wal", 3) == 0;
  }
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK || wal) return status;
  snprintf(error, size, "there can be no write-ahead log on this file system: is it on a network?");
  return MNEME_INVALID;
}

static mneme_status tune(sq_writer *w, char *error, size_t size) {
  const sq_options *o = &w->store->options;
  char text[512];
  mneme_status status = begin_wal(w, error, size);
  if (status != MNEME_OK) return status;
  snprintf(text, sizeof text,
           "PRAGMA synchronous = %s; PRAGMA wal_autocheckpoint = 0; "
           "PRAGMA cache_size = -%" PRId64 "; PRAGMA mmap_size = %" PRId64 "; "
           "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST; PRAGMA foreign_keys = 0",
           o->full ? "FULL" : "NORMAL", o->cache / 1024 / 2 + 1, o->mmap);
  status = sq_conn_exec(&w->conn, text);
  if (status == MNEME_OK) sq_writer_watch_wal(w);
  return status;
}

/* quick_check reads pages, not the words of the schema: a name that has lost a letter
 * is a name. Each statement must find what it names. */
static mneme_status check_schema(sq_writer *w) {
  for (sq_id id = 0; id < SQ_COUNT; id++) {
    sq_sql q = sq_sql_begin(&w->conn, id);
    mneme_status status = sq_sql_end(&q);
    if (status == MNEME_CORRUPT)
      sq_log(w->store, MNEME_LOG_ERROR, "%s: the schema: %s", w->store->options.path,
             sqlite3_errmsg(w->conn.db));
    if (status != MNEME_OK) return status;
  }
  return MNEME_OK;
}

static mneme_status check(sq_writer *w) {
  int64_t start_us = clock_us();
  char found[256] = "";
  sq_sql q = sq_sql_compose(&w->conn, "PRAGMA quick_check(1)");
  if (sq_sql_next(&q)) {
    mneme_bytes text = sq_col_bytes(&q);
    snprintf(found, sizeof found, "%.*s", (int)text.size, text.data);
    for (char *at = found; (at = strchr(at, '\n')) != NULL;) *at = ' ';
  }
  mneme_status status = sq_sql_end(&q);
  if (status != MNEME_OK) return status;
  if (strcmp(found, "ok") != 0) {
    sq_log(w->store, MNEME_LOG_ERROR, "%s: quick_check: %s", w->store->options.path, found);
    return MNEME_CORRUPT;
  }
  status = check_schema(w);
  if (status != MNEME_OK) return status;
  int64_t took_us = clock_us() - start_us;
  if (took_us > 1000000)
    sq_log(w->store, MNEME_LOG_INFO, "%s: quick_check took %" PRId64 " ms",
           w->store->options.path, took_us / 1000);
  return MNEME_OK;
}

static mneme_status read_counters(sq_writer *w) {
  sq_sql q = sq_sql_begin(&w->conn, SQ_COUNTERS);
  bool found = sq_sql_next(&q);
  if (found) {
    w->last_slot = sq_col_int(&q);
    w->last_shelf = sq_col_int(&q);
    w->stamp = sq_col_int(&q);
    w->tombstones = sq_col_int(&q);
    w->graves = sq_col_int(&q) != 0;
  }
  mneme_status status = sq_sql_end(&q);
  return status == MNEME_OK && !found ? MNEME_CORRUPT : status;
}

/* With everything closed. A text is written for whatever is not OK. */
static mneme_status connect_all(sq_writer *w, char *error, size_t size) {
  mneme_backend *store = w->store;
  char text[SQ_ERROR_MAX] = "";
  w->conn.lock_wait_us = store->options.lock_wait_us;
  mneme_status status = sq_conn_open(&w->conn, store->options.path, false, text, sizeof text);
  int64_t version = 0;
  if (status == MNEME_OK) status = sq_schema_check(&w->conn, &version, text, sizeof text);
  if (status == MNEME_OK) status = tune(w, text, sizeof text);
  if (status == MNEME_OK) status = sq_schema_bring(&w->conn, version, store->new_id);
  if (status == MNEME_OK && store->options.check) status = check(w);
  if (status == MNEME_OK) status = read_counters(w);
  if (status == MNEME_OK) status = sq_pool_open(store, text, sizeof text);
  if (status == MNEME_OK) return MNEME_OK;
  if (text[0] == '\0' && w->conn.db != NULL)
    snprintf(text, sizeof text, "%s", sqlite3_errmsg(w->conn.db));
  snprintf(error, size, "%s: %s", store->options.path, text);
  return status;
}

mneme_status sq_writer_connect(sq_writer *w, char *error, size_t size) {
  mneme_status status = connect_all(w, error, size);
  if (w->store->pool.open) sq_pool_resume(&w->store->pool);
  w->wal_frames = 1; /* who knows: a crash may have left many */
  return status;
}

/* --- Mending ----------------------------------------------------------------------- */

void sq_writer_recover(sq_writer *w) {
  mneme_backend *store = w->store;
  char error[SQ_ERROR_MAX] = "";
  if (w->tried_us != 0 && clock_us() - w->tried_us < AGAIN_US) return;
  w->tried_us = clock_us();
  if (!sq_pool_pause(&store->pool, READERS_US)) return;
  sq_pool_close(&store->pool);
  sq_conn_close(&w->conn);
  sq_heads_forget(w);
  sq_tails_forget(store->tails);
  mneme_status status = connect_all(w, error, sizeof error);
  if (status == MNEME_OK) {
    int rc = sqlite3_wal_checkpoint_v2(w->conn.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if ((rc & 0xff) != SQLITE_BUSY) status = sq_status(rc); /* another program reads it */
  }
  if (status == MNEME_CORRUPT) {
    sq_store_damaged(store, "the check after an I/O error");
  } else if (status == MNEME_OK) {
    w->tried_us = 0;
    sq_writer_set_health(w, SQ_SERVING, "the file has been opened again, and is whole");
  } else {
    sq_pool_close(&store->pool);
  }
  if (store->pool.open) sq_pool_resume(&store->pool);
}

/* PASSIVE waits for nobody: it copies what no reader needs in the WAL any more. When
 * that never is all of it, the WAL only grows; then readers are kept out for a
 * moment, so that it can begin anew. */
void sq_writer_checkpoint(sq_writer *w) {
  mneme_backend *store = w->store;
  bool large = w->wal_frames * SQ_PAGE_BYTES >= store->options.checkpoint * LARGE_WAL;
  bool paused = large && sq_pool_pause(&store->pool, PAUSE_US);
  int frames = 0, copied = 0;
  int rc = sqlite3_wal_checkpoint_v2(
      w->conn.db, NULL, paused ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &frames,
      &copied);
  if (paused) sq_pool_resume(&store->pool);
  if (frames >= 0 && copied >= 0) {
    w->wal_frames = frames;
    w->wal_copied = copied;
  }
  if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY) return;
  if ((rc & 0xff) == SQLITE_FULL) return; /* the writes will find out, and say so */
  if (sq_status(rc) == MNEME_CORRUPT)
    sq_store_damaged(store, "a checkpoint");
  else if (sq_status(rc) == MNEME_DOWN)
    sq_writer_set_health(w, SQ_DOWN, "a checkpoint has failed");
}
