/* The pool: order, limits, timers, and the promise that what was accepted runs
 * exactly once. No test sleeps: gates hold workers, semaphores await them. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/pool.h"
#include "cmocka_test.h"

#define HOUR_US (INT64_C(3600) * 1000000)

static pool *open_pool(int threads, size_t queue_max, size_t timers_max) {
  pool *p = pool_open(
    &(pool_options){.threads = threads, .queue_max = queue_max, .timers_max = timers_max});
  assert_non_null(p);
  return p;
}

/* A task that tells when it runs and goes on when it is let. */
typedef struct gate {
  pool_task task;
  sem_t entered;
  sem_t leave;
} gate;

static void gate_run(void *ctx) {
  gate *g = ctx;
  sem_post(&g->entered);
  sem_wait(&g->leave);
}

/* Holds one worker. */
static void gate_shut(gate *g, pool *p) {
  sem_init(&g->entered, 0, 0);
  sem_init(&g->leave, 0, 0);
  assert_true(pool_submit(p, &g->task, gate_run, g));
  sem_wait(&g->entered);
}

static void gate_open(gate *g) {
  sem_post(&g->leave);
}

typedef struct entry {
  pool_task task;
  int number;
} entry;

static int order[16];
static atomic_int order_size;

static void note(void *ctx) {
  entry *e = ctx;
  order[atomic_fetch_add(&order_size, 1)] = e->number;
}

static void runs_in_order_up_to_its_limit(void **state) {
  (void)state;
  pool *p = open_pool(1, 3, 1);
  gate g;
  gate_shut(&g, p);
  entry e[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
  atomic_store(&order_size, 0);
  for (int i = 0; i < 3; i++)
    assert_true(pool_submit(p, &e[i].task, note, &e[i]));
  assert_false(pool_submit(p, &e[3].task, note, &e[3]));
  pool_figures figures;
  pool_get_figures(p, &figures);
  assert_int_equal(figures.queued, 3);
  assert_int_equal(figures.running, 1);
  assert_int_equal(figures.refused, 1);
  gate_open(&g);
  pool_drain(p);
  assert_int_equal(atomic_load(&order_size), 3);
  for (int i = 0; i < 3; i++)
    assert_int_equal(order[i], i);
  assert_false(pool_submit(p, &e[3].task, note, &e[3]));
  pool_close(p);
}

static void timers_go_by_time(void **state) {
  (void)state;
  pool *p = open_pool(2, 4, 8);
  static const int64_t delays[] = {30000, 5000, 20000, 1000, 10000, 0, -5};
  static const int expected[] = {6, 5, 3, 1, 4, 2, 0}; /* -5 counts as 0: first come */
  enum { COUNT = sizeof delays / sizeof delays[0] };
  gate g[2];
  gate_shut(&g[0], p); /* one worker left: so they cannot overtake each other */
  sem_init(&g[1].entered, 0, 0);
  sem_init(&g[1].leave, 0, 0);
  entry e[COUNT];
  atomic_store(&order_size, 0);
  int64_t begin_us = clock_mono_us();
  for (int i = 0; i < COUNT; i++)
    e[i].number = i;
  for (int i = 0; i < COUNT; i++)
    assert_true(pool_submit_after(p, &e[i].task, note, &e[i], delays[i]));
  assert_true(pool_submit_after(p, &g[1].task, gate_run, &g[1], 40000));
  sem_wait(&g[1].entered);
  assert_true(clock_mono_us() - begin_us >= 40000);
  assert_int_equal(atomic_load(&order_size), COUNT);
  for (int i = 2; i < COUNT; i++) /* the two without a delay come first, in any order */
    assert_int_equal(order[i], expected[i]);
  gate_open(&g[0]);
  gate_open(&g[1]);
  pool_close(p);
}

static void an_earlier_timer_wakes_the_timekeeper(void **state) {
  (void)state;
  pool *p = open_pool(3, 4, 4);
  entry late = {.number = 1};
  gate soon;
  sem_init(&soon.entered, 0, 0);
  sem_init(&soon.leave, 0, 1);
  atomic_store(&order_size, 0);
  assert_true(pool_submit_after(p, &late.task, note, &late, HOUR_US));
  assert_true(pool_submit_after(p, &soon.task, gate_run, &soon, 2000));
  sem_wait(&soon.entered); /* hangs when the pool sleeps for the hour */
  assert_int_equal(atomic_load(&order_size), 0);
  pool_close(p);
  assert_int_equal(atomic_load(&order_size), 1);
}

static void bounds_timers(void **state) {
  (void)state;
  pool *p = open_pool(1, 1, 2);
  entry e[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
  assert_true(pool_submit_after(p, &e[0].task, note, &e[0], HOUR_US));
  assert_true(pool_submit_after(p, &e[1].task, note, &e[1], INT64_MAX));
  assert_false(pool_submit_after(p, &e[2].task, note, &e[2], 1));
  atomic_store(&order_size, 0);
  pool_close(p); /* runs both at once */
  assert_int_equal(atomic_load(&order_size), 2);
}

/* A call that is retried with follow-ups while the pool drains. */
typedef struct retry {
  pool_task task;
  pool *p;
  gate *g;
  bool timer_refused;
  int runs;
} retry;

static void retry_last(void *ctx) {
  ((retry *)ctx)->runs++;
}

static void retry_run(void *ctx) {
  retry *r = ctx;
  r->runs++;
  r->timer_refused = !pool_submit_after(r->p, &r->task, retry_run, r, 1000);
  if (r->timer_refused && !pool_submit(r->p, &r->task, retry_last, r))
    r->runs = -1;
}

static void drain_runs_timers_and_follow_ups(void **state) {
  (void)state;
  pool *p = open_pool(2, 2, 2);
  retry r = {.p = p};
  assert_true(pool_submit_after(p, &r.task, retry_run, &r, HOUR_US));
  pool_drain(p);
  assert_true(r.timer_refused);
  assert_int_equal(r.runs, 2);
  pool_drain(p);
  pool_close(p);
}

/* --- Load ---------------------------------------------------------------- */

#define SUBMITTERS 3
#define TASKS 4000

typedef struct counted {
  pool_task task;
  atomic_int runs;
} counted;

static pool *load_pool;
static counted *load_tasks;
static atomic_int load_refused;

static void count_run(void *ctx) {
  atomic_fetch_add(&((counted *)ctx)->runs, 1);
}

static void *submit_many(void *arg) {
  size_t first = (size_t)(uintptr_t)arg * TASKS;
  for (size_t i = first; i < first + TASKS; i++) {
    counted *c = &load_tasks[i];
    bool accepted = i % 3 == 0
                      ? pool_submit_after(load_pool, &c->task, count_run, c, (int64_t)(i % 50))
                      : pool_submit(load_pool, &c->task, count_run, c);
    if (!accepted) {
      atomic_fetch_add(&load_refused, 1);
      atomic_fetch_add(&c->runs, 1); /* so that each must end at exactly one */
    }
  }
  return NULL;
}

static void runs_each_task_exactly_once(void **state) {
  (void)state;
  load_pool = open_pool(4, 64, 64);
  load_tasks = calloc(SUBMITTERS * TASKS, sizeof load_tasks[0]);
  assert_non_null(load_tasks);
  pthread_t threads[SUBMITTERS];
  for (uintptr_t i = 0; i < SUBMITTERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, submit_many, (void *)i), 0);
  for (int i = 0; i < SUBMITTERS; i++)
    pthread_join(threads[i], NULL);
  pool_figures figures;
  pool_get_figures(load_pool, &figures);
  assert_int_equal(figures.refused, atomic_load(&load_refused));
  pool_close(load_pool);
  for (int i = 0; i < SUBMITTERS * TASKS; i++)
    assert_int_equal(atomic_load(&load_tasks[i].runs), 1);
  free(load_tasks);
}

static void refuses_options_out_of_range(void **state) {
  (void)state;
  static const pool_options bad[] = {
    {0, 1, 1}, {POOL_THREADS_MAX + 1, 1, 1}, {1, 0, 1}, {1, POOL_QUEUE_MAX + 1, 1},
    {1, 1, 0}, {1, 1, POOL_TIMERS_MAX + 1},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_null(pool_open(&bad[i]));
  pool_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(runs_in_order_up_to_its_limit),
    cmocka_unit_test(timers_go_by_time),
    cmocka_unit_test(an_earlier_timer_wakes_the_timekeeper),
    cmocka_unit_test(bounds_timers),
    cmocka_unit_test(drain_runs_timers_and_follow_ups),
    cmocka_unit_test(runs_each_task_exactly_once),
    cmocka_unit_test(refuses_options_out_of_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
