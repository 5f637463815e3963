/* The bounded queue in front of the writer: a ring of jobs under a mutex that is
 * held for a copy. Many push, one takes. A push wakes the writer only when it
 * sleeps, so a writer that is busy costs the callers no system call. */
#include "sqlite.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define LINGER_NS 30000

static int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool sq_ring_init(sq_ring *ring, size_t room) {
  *ring = (sq_ring){.room = room};
  ring->jobs = malloc(room * sizeof *ring->jobs);
  if (ring->jobs == NULL) return false;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&ring->filled, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&ring->lock, NULL);
  return true;
}

void sq_ring_free(sq_ring *ring) {
  if (ring->jobs == NULL) return;
  pthread_cond_destroy(&ring->filled);
  pthread_mutex_destroy(&ring->lock);
  free(ring->jobs);
  ring->jobs = NULL;
}

bool sq_ring_push(sq_ring *ring, const sq_job *job) {
  pthread_mutex_lock(&ring->lock);
  bool fits = ring->count < ring->room && !ring->closed;
  bool wake = fits && ring->waiting;
  if (fits) ring->jobs[(ring->at + ring->count++) % ring->room] = *job;
  atomic_store_explicit(&ring->pending, ring->count, memory_order_relaxed);
  pthread_mutex_unlock(&ring->lock);
  if (wake) pthread_cond_signal(&ring->filled);
  return fits;
}

/* With the lock held: false when the time is up. */
static bool wait_for_job(sq_ring *ring, int64_t wait_us) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  int64_t ns = at.tv_nsec + wait_us % 1000000 * 1000;
  at.tv_sec += (time_t)(wait_us / 1000000 + ns / 1000000000);
  at.tv_nsec = (long)(ns % 1000000000);
  int error = 0;
  ring->waiting = true;
  while (ring->count == 0 && !ring->closed && error != ETIMEDOUT)
    error = wait_us < 0 ? pthread_cond_wait(&ring->filled, &ring->lock)
                        : pthread_cond_timedwait(&ring->filled, &ring->lock, &at);
  ring->waiting = false;
  return ring->count != 0;
}

/* Who has just got an answer often has the next write at hand: to sleep and be woken
 * costs more than to look for it a few times, and whoever wants the core gets it. And
 * those who were answered together come back one after the other, within a fraction
 * of what a sync takes: a transaction that leaves with the first of them makes the
 * others wait for two syncs. So it waits for as many as the last one had, and no
 * longer than LINGER_NS. */
static void linger(const sq_ring *ring, size_t wanted) {
  int64_t until_ns = clock_ns() + LINGER_NS;
  while (atomic_load_explicit(&ring->pending, memory_order_relaxed) < wanted &&
         clock_ns() < until_ns)
    sched_yield();
}

size_t sq_ring_take(sq_ring *ring, sq_job *jobs, size_t max, int64_t wait_us, bool *ret_closed) {
  if (wait_us != 0) linger(ring, ring->taken > 0 ? ring->taken : 1);
  pthread_mutex_lock(&ring->lock);
  if (ring->count == 0 && wait_us != 0) wait_for_job(ring, wait_us);
  size_t count = ring->count < max ? ring->count : max;
  for (size_t i = 0; i < count; i++) jobs[i] = ring->jobs[(ring->at + i) % ring->room];
  ring->at = (ring->at + count) % ring->room;
  ring->count -= count;
  ring->taken = count;
  atomic_store_explicit(&ring->pending, ring->count, memory_order_relaxed);
  *ret_closed = ring->closed;
  pthread_mutex_unlock(&ring->lock);
  return count;
}

void sq_ring_close(sq_ring *ring) {
  pthread_mutex_lock(&ring->lock);
  ring->closed = true;
  pthread_mutex_unlock(&ring->lock);
  pthread_cond_signal(&ring->filled);
}
