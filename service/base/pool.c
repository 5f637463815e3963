/* One mutex, one FIFO of tasks, one heap of timers.
 *
 *   pool_submit       --> queue (intrusive list, counted) --+
 *                                                           +--> worker: fn(ctx)
 *   pool_submit_after --> heap by due_us (array of max) ----+    without the lock
 *
 * Workers without work wait for `work`, but while there are timers exactly one
 * of them, the timekeeper, waits for `timer` until the first one is due: so a
 * timer wakes one thread and not all. Who takes a task passes the word on when
 * there is more to do, or when the heap has lost its timekeeper.
 *
 * Due timers go before the queue: there are few, and they are late already. The
 * clock is read only while there are timers.
 *
 * Lock order: the mutex is a leaf; no fn runs under it. */
#include "base/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

typedef enum pool_state { POOL_OPEN, POOL_DRAINING, POOL_DRAINED, POOL_CLOSING } pool_state;

struct pool {
  pthread_mutex_t mutex;
  pthread_cond_t work;  /* idle workers wait here */
  pthread_cond_t timer; /* the timekeeper waits here */
  pthread_cond_t empty; /* pool_drain waits here */
  pool_state state;

  pool_task *first;
  pool_task **last; /* where the next task is linked in */
  size_t queued;
  size_t queue_max;

  pool_task **heap; /* heap[0] is due first */
  size_t timers;
  size_t timers_max;

  size_t idle; /* waiting for `work` */
  bool has_timekeeper;
  size_t running;
  int64_t refused;

  int thread_count;
  pthread_t threads[];
};

/* --- Heap ---------------------------------------------------------------- */

static void heap_push(pool *p, pool_task *task) {
  size_t i = p->timers++;
  while (i > 0 && p->heap[(i - 1) / 2]->due_us > task->due_us) {
    p->heap[i] = p->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  p->heap[i] = task;
}

static pool_task *heap_pop(pool *p) {
  pool_task *first = p->heap[0];
  pool_task *moved = p->heap[--p->timers];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= p->timers)
      break;
    if (child + 1 < p->timers && p->heap[child + 1]->due_us < p->heap[child]->due_us)
      child++;
    if (p->heap[child]->due_us >= moved->due_us)
      break;
    p->heap[i] = p->heap[child];
    i = child;
  }
  p->heap[i] = moved;
  return first;
}

/* --- Workers ------------------------------------------------------------- */

static bool nothing_left(const pool *p) {
  return p->queued == 0 && p->timers == 0 && p->running == 0;
}

/* What to run now, NULL = nothing. */
static pool_task *take(pool *p) {
  if (p->timers > 0 && (p->state != POOL_OPEN || p->heap[0]->due_us <= clock_mono_us()))
    return heap_pop(p);
  pool_task *task = p->first;
  if (task != NULL) {
    p->first = task->next;
    if (p->first == NULL)
      p->last = &p->first;
    p->queued--;
  }
  return task;
}

static void wake_one(pool *p) {
  if (p->idle > 0)
    pthread_cond_signal(&p->work);
  else if (p->has_timekeeper)
    pthread_cond_signal(&p->timer);
}

static void wait_for_work(pool *p) {
  if (p->timers == 0 || p->has_timekeeper) {
    p->idle++;
    pthread_cond_wait(&p->work, &p->mutex);
    p->idle--;
    return;
  }
  struct timespec until = {.tv_sec = (time_t)(p->heap[0]->due_us / 1000000),
                           .tv_nsec = (long)(p->heap[0]->due_us % 1000000 * 1000)};
  p->has_timekeeper = true;
  pthread_cond_timedwait(&p->timer, &p->mutex, &until);
  p->has_timekeeper = false;
}

static void *worker(void *arg) {
  pool *p = arg;
  pthread_mutex_lock(&p->mutex);
  for (;;) {
    pool_task *task = take(p);
    if (task == NULL) {
      if (p->state == POOL_CLOSING)
        break;
      wait_for_work(p);
      continue;
    }
    p->running++;
    if (p->queued > 0 || (p->timers > 0 && !p->has_timekeeper))
      wake_one(p);
    pool_fn fn = task->fn;
    void *ctx = task->ctx;
    pthread_mutex_unlock(&p->mutex);
    fn(ctx); /* the task is no longer ours */
    pthread_mutex_lock(&p->mutex);
    p->running--;
    if (p->state == POOL_DRAINING && nothing_left(p))
      pthread_cond_broadcast(&p->empty);
  }
  pthread_mutex_unlock(&p->mutex);
  return NULL;
}

/* --- Opening and closing ------------------------------------------------- */

static void wake_all(pool *p) {
  pthread_cond_broadcast(&p->work);
  pthread_cond_broadcast(&p->timer);
}

pool *pool_open(const pool_options *options) {
  if (options->threads < 1 || options->threads > POOL_THREADS_MAX || options->queue_max < 1 ||
      options->queue_max > POOL_QUEUE_MAX || options->timers_max < 1 ||
      options->timers_max > POOL_TIMERS_MAX)
    return NULL;
  pool *p = calloc(1, sizeof *p + (size_t)options->threads * sizeof p->threads[0]);
  if (p == NULL)
    return NULL;
  p->heap = calloc(options->timers_max, sizeof p->heap[0]);
  if (p->heap == NULL) {
    free(p);
    return NULL;
  }
  p->last = &p->first;
  p->queue_max = options->queue_max;
  p->timers_max = options->timers_max;
  pthread_mutex_init(&p->mutex, NULL);
  pthread_cond_init(&p->work, NULL);
  pthread_cond_init(&p->empty, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&p->timer, &monotonic);
  pthread_condattr_destroy(&monotonic);

  for (; p->thread_count < options->threads; p->thread_count++) {
    pthread_t *thread = &p->threads[p->thread_count];
    if (pthread_create(thread, NULL, worker, p) != 0) {
      pool_close(p);
      return NULL;
    }
    char name[16]; /* what Linux allows */
    snprintf(name, sizeof name, "worker-%d", p->thread_count);
    pthread_setname_np(*thread, name);
  }
  return p;
}

void pool_drain(pool *p) {
  pthread_mutex_lock(&p->mutex);
  if (p->state == POOL_OPEN) {
    p->state = POOL_DRAINING;
    wake_all(p);
  }
  while (!nothing_left(p))
    pthread_cond_wait(&p->empty, &p->mutex);
  p->state = POOL_DRAINED;
  pthread_mutex_unlock(&p->mutex);
}

void pool_close(pool *p) {
  if (p == NULL)
    return;
  if (p->thread_count > 0)
    pool_drain(p);
  pthread_mutex_lock(&p->mutex);
  p->state = POOL_CLOSING;
  wake_all(p);
  pthread_mutex_unlock(&p->mutex);
  for (int i = 0; i < p->thread_count; i++)
    pthread_join(p->threads[i], NULL);
  pthread_cond_destroy(&p->timer);
  pthread_cond_destroy(&p->empty);
  pthread_cond_destroy(&p->work);
  pthread_mutex_destroy(&p->mutex);
  free(p->heap);
  free(p);
}

/* --- Submitting ---------------------------------------------------------- */

bool pool_submit(pool *p, pool_task *task, pool_fn fn, void *ctx) {
  pthread_mutex_lock(&p->mutex);
  bool accepted = p->state <= POOL_DRAINING && p->queued < p->queue_max;
  if (accepted) {
    *task = (pool_task){.fn = fn, .ctx = ctx};
    *p->last = task;
    p->last = &task->next;
    p->queued++;
    wake_one(p);
  } else {
    p->refused++;
  }
  pthread_mutex_unlock(&p->mutex);
  return accepted;
}

bool pool_submit_after(pool *p, pool_task *task, pool_fn fn, void *ctx, int64_t delay_us) {
  int64_t now_us = clock_mono_us();
  if (delay_us < 0)
    delay_us = 0;
  int64_t due_us = delay_us > INT64_MAX - now_us ? INT64_MAX : now_us + delay_us;
  pthread_mutex_lock(&p->mutex);
  bool accepted = p->state == POOL_OPEN && p->timers < p->timers_max;
  if (accepted) {
    *task = (pool_task){.fn = fn, .ctx = ctx, .due_us = due_us};
    heap_push(p, task);
    /* The timekeeper waits for what was first until now. */
    if (p->heap[0] == task && p->has_timekeeper)
      pthread_cond_signal(&p->timer);
    else if (!p->has_timekeeper && p->idle > 0)
      pthread_cond_signal(&p->work);
  } else {
    p->refused++;
  }
  pthread_mutex_unlock(&p->mutex);
  return accepted;
}

void pool_get_figures(pool *p, pool_figures *ret_figures) {
  pthread_mutex_lock(&p->mutex);
  *ret_figures = (pool_figures){
    .queued = p->queued, .timers = p->timers, .running = p->running, .refused = p->refused};
  pthread_mutex_unlock(&p->mutex);
}
