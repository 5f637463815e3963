/* Reader connections: a stack of idle ones, and a queue of who waits for one. A read
 * takes one, runs in a snapshot of its own, and gives it back. A long scan does so
 * between two snapshots when somebody waits (sq_pool_is_wanted), so that as many scans
 * as there are connections do not stop all other reads, nor the writer.
 *
 * The writer can keep readers out for a moment (pause): a WAL that somebody always
 * reads can be copied to the database, but never begun anew, and would grow for
 * ever; and a file that is opened again must have no connection left. */
#include "sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ASK_US 10000 /* between two looks at the deadline of who waits for a connection */

bool sq_pool_init(sq_pool *pool, size_t count) {
  *pool = (sq_pool){.count = count, .paused = true};
  pool->conns = calloc(count, sizeof *pool->conns);
  pool->idle = calloc(count, sizeof *pool->idle);
  if (pool->conns == NULL || pool->idle == NULL) {
    free(pool->conns);
    free(pool->idle);
    pool->conns = NULL;
    return false;
  }
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&pool->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&pool->lock, NULL);
  return true;
}

void sq_pool_free(sq_pool *pool) {
  if (pool->conns == NULL) return;
  for (size_t i = 0; i < pool->count; i++) sq_conn_close(&pool->conns[i]);
  pthread_cond_destroy(&pool->changed);
  pthread_mutex_destroy(&pool->lock);
  free(pool->conns);
  free(pool->idle);
  pool->conns = NULL;
}

static mneme_status tune(sq_conn *conn, const sq_options *options) {
  char text[256];
  /* A reader's pages are the same as another's; the kernel has them too. */
  snprintf(text, sizeof text,
           "PRAGMA query_only = 1; PRAGMA cache_size = -%lld; PRAGMA mmap_size = %lld; "
           "PRAGMA temp_store = MEMORY",
           (long long)(options->cache / 1024 / (int64_t)(2 * options->readers) + 1),
           (long long)options->mmap);
  return sq_conn_exec(conn, text);
}

mneme_status sq_pool_open(mneme_backend *store, char *text, size_t size) {
  sq_pool *pool = &store->pool;
  mneme_status status = MNEME_OK;
  size_t opened = 0;
  for (; opened < pool->count && status == MNEME_OK; opened++) {
    sq_conn *conn = &pool->conns[opened];
    conn->lock_wait_us = store->options.lock_wait_us;
    status = sq_conn_open(conn, store->options.path, true, text, size);
    if (status == MNEME_OK) status = tune(conn, &store->options);
    pool->idle[opened] = conn;
  }
  if (status != MNEME_OK) {
    sq_pool_close(pool);
    return status;
  }
  pool->open = true;
  return MNEME_OK;
}

void sq_pool_close(sq_pool *pool) {
  for (size_t i = 0; i < pool->count; i++) sq_conn_close(&pool->conns[i]);
  pool->open = false;
}

/* With the lock held: until something has changed, or for wait_us. */
static bool wait_for_change(sq_pool *pool, int64_t wait_us) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  int64_t ns = at.tv_nsec + wait_us % 1000000 * 1000;
  at.tv_sec += (time_t)(wait_us / 1000000 + ns / 1000000000);
  at.tv_nsec = (long)(ns % 1000000000);
  return pthread_cond_timedwait(&pool->changed, &pool->lock, &at) != ETIMEDOUT;
}

/* With the lock held: connections for those who have waited longest. */
static void serve(sq_pool *pool) {
  while (!pool->paused && pool->first != NULL && pool->busy < pool->count) {
    sq_waiter *waiter = pool->first;
    pool->first = waiter->next;
    waiter->conn = pool->idle[pool->count - ++pool->busy];
  }
}

static void enter_queue(sq_pool *pool, sq_waiter *waiter) {
  sq_waiter **last = &pool->first;
  while (*last != NULL) last = &(*last)->next;
  *last = waiter;
}

static void leave_queue(sq_pool *pool, const sq_waiter *waiter) {
  sq_waiter **at = &pool->first;
  while (*at != waiter) at = &(*at)->next;
  *at = waiter->next;
}

/* Nothing is read from a store that is known to be damaged: a tree with a hole in it
 * may just as well answer that there is nothing. */
mneme_status sq_pool_take(mneme_backend *store, const mneme_call *call, sq_conn **ret_conn) {
  sq_pool *pool = &store->pool;
  mneme_status status = MNEME_OK;
  sq_waiter me = {0};
  if (atomic_load(&store->health) == SQ_DAMAGED) return MNEME_CORRUPT;
  pthread_mutex_lock(&pool->lock);
  enter_queue(pool, &me);
  serve(pool);
  while (status == MNEME_OK && me.conn == NULL) {
    int health = atomic_load(&store->health);
    if (pool->paused && (health == SQ_DOWN || health == SQ_DAMAGED))
      status = health == SQ_DOWN ? MNEME_DOWN : MNEME_CORRUPT;
    else if (mneme_call_expired(call))
      status = MNEME_TIMEOUT;
    else
      wait_for_change(pool, ASK_US);
  }
  if (me.conn == NULL) leave_queue(pool, &me);
  pthread_mutex_unlock(&pool->lock);
  if (status != MNEME_OK) return status;
  me.conn->call = call;
  me.conn->timed_out = false;
  *ret_conn = me.conn;
  return MNEME_OK;
}

void sq_pool_give(mneme_backend *store, sq_conn *conn, mneme_status status) {
  sq_pool *pool = &store->pool;
  conn->call = NULL;
  if (!sqlite3_get_autocommit(conn->db)) {
    sq_sql q = sq_sql_begin(conn, SQ_READ_END);
    sq_sql_run(&q);
    if (!sqlite3_get_autocommit(conn->db)) sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
  }
  if (status == MNEME_CORRUPT) sq_store_damaged(store, "a read");
  pthread_mutex_lock(&pool->lock);
  pool->idle[pool->count - pool->busy--] = conn;
  serve(pool);
  pthread_mutex_unlock(&pool->lock);
  pthread_cond_broadcast(&pool->changed);
}

bool sq_pool_is_wanted(sq_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  bool wanted = pool->paused || pool->first != NULL;
  pthread_mutex_unlock(&pool->lock);
  return wanted;
}

bool sq_pool_pause(sq_pool *pool, int64_t wait_us) {
  bool in_time = true;
  pthread_mutex_lock(&pool->lock);
  pool->paused = true;
  while (pool->busy != 0 && in_time) in_time = wait_for_change(pool, wait_us);
  bool idle = pool->busy == 0;
  if (!idle) {
    pool->paused = false;
    serve(pool);
  }
  pthread_mutex_unlock(&pool->lock);
  if (!idle) pthread_cond_broadcast(&pool->changed);
  return idle;
}

void sq_pool_resume(sq_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->paused = false;
  serve(pool);
  pthread_mutex_unlock(&pool->lock);
  pthread_cond_broadcast(&pool->changed);
}
