/* A bounded pool of worker threads, for work that may wait: storage that blocks,
 * retries, periodic upkeep.
 *
 * A task lies in memory of the caller's (usually inside the request that it
 * works for), so that handing work on never allocates and can fail for one
 * reason only: the pool is full. The caller then answers BUSY at once; nothing
 * queues without a bound.
 *
 * Ownership: a pool_task belongs to the pool from the moment it was accepted
 * until its fn is called; fn may submit it again, or free it.
 *
 * Promise: a task that was accepted is run exactly once, and pool_drain runs
 * what still waits for its time at once, so that no request is forgotten.
 *
 * Threads: any may submit, a task's fn too. */
#ifndef MNEME_BASE_POOL_H
#define MNEME_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_THREADS_MAX 256
#define POOL_QUEUE_MAX 1000000 /* tasks that wait for a worker */
#define POOL_TIMERS_MAX 1000000 /* tasks that wait for their time */

typedef struct pool pool;

typedef void (*pool_fn)(void *ctx);

/* Opaque. It needs no initialisation. */
typedef struct pool_task {
  struct pool_task *next;
  pool_fn fn;
  void *ctx;
  int64_t due_us; /* on clock_mono_us */
} pool_task;

typedef struct pool_options {
  int threads;       /* 1..POOL_THREADS_MAX */
  size_t queue_max;  /* 1..POOL_QUEUE_MAX */
  size_t timers_max; /* 1..POOL_TIMERS_MAX */
} pool_options;

typedef struct pool_figures {
  size_t queued;
  size_t timers;
  size_t running;
  int64_t refused; /* since pool_open */
} pool_figures;

/* NULL when options are out of range or there is no memory or no thread to be
 * had. The threads inherit the caller's signal mask. */
pool *pool_open(const pool_options *options);

/* Runs fn(ctx) on a worker, first come first served. false = the queue is full,
 * or the pool has been drained. */
bool pool_submit(pool *p, pool_task *task, pool_fn fn, void *ctx);

/* Runs fn(ctx) on a worker when delay_us has passed; then it goes before what is
 * queued. false = there are too many timers, or a drain has begun: the caller
 * gives up what it wanted to repeat. */
bool pool_submit_after(pool *p, pool_task *task, pool_fn fn, void *ctx, int64_t delay_us);

/* Takes no new timers, runs those there are at once, and returns when nothing is
 * queued or running. Tasks may submit follow-ups meanwhile. After it pool_submit
 * refuses. Not from a worker. */
void pool_drain(pool *p);
/* Drains, ends the threads, frees. NULL is fine. */
void pool_close(pool *p);

void pool_get_figures(pool *p, pool_figures *ret_figures);

#endif
