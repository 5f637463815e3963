#include "sweep/sweep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

typedef struct due_session {
  mneme_uid uid;
  int64_t cleanup_us; /* 0 = it need not wait */
  size_t ns_size;
  size_t session_size;
  char names[MNEME_NAMESPACE_MAX + MNEME_SESSION_MAX];
} due_session;

/* A session that was swept clean and waits for its interval. */
typedef struct waiting {
  mneme_uid uid;
  int64_t until_us; /* monotonic */
} waiting;

/* The chain of one backend. */
typedef struct chain {
  mneme_call call; /* first: `expired` gets it back */
  sweep *sweep;
  registry_backend *backend;
  pool_task task;
  void (*step)(struct chain *c);
  bool parked; /* the pool was full; guarded by sweep.mutex */
  atomic_int_fast64_t ping_until_us; /* 0 = no ping under way */
  atomic_int_fast64_t until_us; /* of the operation under way; monotonic */
  due_session *due; /* SWEEP_SESSIONS_MAX */
  size_t due_count;
  size_t next;
  waiting *waiting; /* SWEEP_WAITING_MAX, in order of uid */
  size_t waiting_count;
  bool more; /* the next tick follows at once */
  bool failed; /* an EXPIRE of this tick: no trim, and no tick at once */
  bool trim_more;
  mneme_status ping;
  mneme_write write;
  mneme_step expire;
} chain;

struct sweep {
  pool *pool;
  sweep_options options;
  atomic_bool stopping;
  pthread_t watcher;
  bool watched;
  pthread_mutex_t health_mutex; /* a change and its announcement are one step */
  pthread_mutex_t mutex; /* guards running and chain.parked; a leaf */
  pthread_cond_t idle;
  size_t running; /* chains between two ticks' ends */
  size_t count;
  chain chains[];
};

static bool stopping(const sweep *s) {
  return atomic_load_explicit(&s->stopping, memory_order_relaxed);
}

static bool chain_expired(const mneme_call *call) {
  const chain *c = (const chain *)call;
  return stopping(c->sweep) ||
         clock_mono_us() >= atomic_load_explicit(&c->until_us, memory_order_relaxed);
}

static void run_step(void *ctx) {
  chain *c = ctx;
  c->call.now_us = clock_wall_us();
  atomic_store_explicit(&c->until_us, clock_mono_us() + c->sweep->options.step_us, memory_order_relaxed);
  c->step(c);
}

static void chain_end(chain *c) {
  sweep *s = c->sweep;
  pthread_mutex_lock(&s->mutex);
  s->running--;
  pthread_cond_broadcast(&s->idle);
  pthread_mutex_unlock(&s->mutex);
}

static void tick(chain *c);

/* When the pool takes no more timers or tasks, the server is going down or
 * overloaded; the former ends the chain, in the latter the watcher tries again. */
static void go_on(chain *c, void (*step)(chain *), int64_t delay_us) {
  sweep *s = c->sweep;
  c->step = step;
  if (stopping(s)) {
    chain_end(c);
    return;
  }
  if (delay_us == 0 && pool_submit(s->pool, &c->task, run_step, c))
    return;
  if (pool_submit_after(s->pool, &c->task, run_step, c,
                        delay_us > 0 ? delay_us : s->options.interval_us))
    return;
  pthread_mutex_lock(&s->mutex);
  c->parked = !stopping(s); /* else the watcher has looked for the last time */
  bool parked = c->parked;
  pthread_mutex_unlock(&s->mutex);
  if (!parked)
    chain_end(c);
}

/* --- The watcher --------------------------------------------------------- */

static void set_health(chain *c, mneme_status ping) {
  sweep *s = c->sweep;
  pthread_mutex_lock(&s->health_mutex);
  if (registry_set_health(c->backend, ping))
    s->options.health(c->backend, registry_get_health(c->backend), s->options.ctx);
  pthread_mutex_unlock(&s->health_mutex);
}

/* A ping that is not answered in time counts, each time anew, as one that was
 * answered MNEME_TIMEOUT: else a store that stalls would serve for ever. */
static void look_at(chain *c) {
  sweep *s = c->sweep;
  pthread_mutex_lock(&s->mutex);
  bool parked = c->parked;
  c->parked = false;
  pthread_mutex_unlock(&s->mutex);
  if (parked)
    go_on(c, c->step, 0);
  int_fast64_t until_us = atomic_load(&c->ping_until_us);
  int64_t now_us = clock_mono_us();
  if (until_us != 0 && now_us >= until_us &&
      atomic_compare_exchange_strong(&c->ping_until_us, &until_us, now_us + s->options.step_us))
    set_health(c, MNEME_TIMEOUT);
}

static void *watch_run(void *argument) {
  sweep *s = argument;
  bool last = false;
  while (!last) {
    int64_t at_us = clock_mono_us() + s->options.watch_us;
    struct timespec at = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};
    pthread_mutex_lock(&s->mutex);
    while (!stopping(s) && pthread_cond_timedwait(&s->idle, &s->mutex, &at) == 0)
      ;
    last = stopping(s);
    pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < s->count; i++)
      look_at(&s->chains[i]);
  }
  return NULL;
}

/* --- The steps ----------------------------------------------------------- */

static void trimmed(mneme_status status, void *ctx) {
  chain *c = ctx;
  c->more |= status == MNEME_OK && c->trim_more;
  go_on(c, tick, c->more ? 0 : c->sweep->options.interval_us);
}

static void trim(chain *c) {
  registry_backend *b = c->backend;
  c->trim_more = false;
  b->type->trim(b->instance, &c->call, SWEEP_TRIM_MAX, &c->trim_more, trimmed, c);
}

/* --- Sessions that wait --------------------------------------------------- */

/* The place of the first that is not before the uid. */
static size_t find_waiting(const chain *c, const mneme_uid *uid) {
  size_t low = 0, high = c->waiting_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (memcmp(c->waiting[middle].uid.bytes, uid->bytes, sizeof uid->bytes) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool is_waiting(const chain *c, const mneme_uid *uid) {
  size_t at = find_waiting(c, uid);
  return at < c->waiting_count &&
         memcmp(c->waiting[at].uid.bytes, uid->bytes, sizeof uid->bytes) == 0;
}

static void forget_waiting(chain *c) {
  int64_t now_us = clock_mono_us();
  size_t kept = 0;
  for (size_t i = 0; i < c->waiting_count; i++)
    if (c->waiting[i].until_us > now_us)
      c->waiting[kept++] = c->waiting[i];
  c->waiting_count = kept;
}

static void wait_for_interval(chain *c, const due_session *d) {
  if (d->cleanup_us <= c->sweep->options.interval_us || c->waiting_count == SWEEP_WAITING_MAX)
    return;
  size_t at = find_waiting(c, &d->uid);
  memmove(c->waiting + at + 1, c->waiting + at, (c->waiting_count++ - at) * sizeof *c->waiting);
  c->waiting[at] = (waiting){d->uid, clock_mono_us() + d->cleanup_us};
}

/* --- Expiry --------------------------------------------------------------- */

static void expire_next(chain *c);

static void expired(mneme_status status, const mneme_written *w, void *ctx) {
  chain *c = ctx;
  /* A conflict is a session that has begun anew meanwhile: nothing to do. After
   * any other failure the same sessions would be due at once again, and fail; one
   * that is the store's ends the tick, one of a session does not stop the others. */
  c->failed |= status != MNEME_OK && status != MNEME_CONFLICT;
  if (status == MNEME_DOWN || status == MNEME_TIMEOUT || status == MNEME_BUSY) {
    go_on(c, tick, c->sweep->options.interval_us);
    return;
  }
  if (status == MNEME_OK && w->expired_count >= SWEEP_EXPIRE_MAX)
    c->more = true;
  else if (status == MNEME_OK)
    wait_for_interval(c, &c->due[c->next - 1]);
  go_on(c, expire_next, 0);
}

static void expire_next(chain *c) {
  registry_backend *b = c->backend;
  if (c->next == c->due_count) {
    if (c->failed)
      go_on(c, tick, c->sweep->options.interval_us);
    else
      trim(c);
    return;
  }
  const due_session *d = &c->due[c->next++];
  c->expire = (mneme_step){.op = MNEME_STEP_EXPIRE, .count = SWEEP_EXPIRE_MAX};
  c->write = (mneme_write){
      .ns = mneme_bytes_of(d->names, d->ns_size),
      .session = mneme_bytes_of(d->names + d->ns_size, d->session_size),
      .uid = &d->uid,
      .expected_revision = -1,
      .expected_settings_revision = -1,
      .steps = &c->expire,
      .step_count = 1,
  };
  b->type->commit(b->instance, &c->call, &c->write, expired, c);
}

static int take_due(const mneme_header *h, void *ctx) {
  chain *c = ctx;
  if (c->due_count == SWEEP_SESSIONS_MAX || h->ns.size > MNEME_NAMESPACE_MAX ||
      h->session.size > MNEME_SESSION_MAX)
    return 1;
  if (is_waiting(c, &h->uid))
    return 0;
  due_session *d = &c->due[c->due_count++];
  d->uid = h->uid;
  d->cleanup_us = c->sweep->options.cleanup_us(h, c->sweep->options.ctx);
  d->ns_size = h->ns.size;
  d->session_size = h->session.size;
  memcpy(d->names, h->ns.data, h->ns.size);
  memcpy(d->names + h->ns.size, h->session.data, h->session.size);
  return 0;
}

static void due_known(mneme_status status, void *ctx) {
  chain *c = ctx;
  c->more = status == MNEME_OK && c->due_count == SWEEP_SESSIONS_MAX;
  if (status != MNEME_OK)
    c->due_count = 0;
  go_on(c, expire_next, 0);
}

static void ask_due(chain *c) {
  registry_backend *b = c->backend;
  c->due_count = c->next = 0;
  c->failed = false;
  forget_waiting(c);
  /* Those that wait are due all the while: without as many more they would stand in
   * the way of the others. */
  b->type->due(b->instance, &c->call, SWEEP_SESSIONS_MAX + (int64_t)c->waiting_count, take_due,
               due_known, c);
}

static void judge(chain *c) {
  sweep *s = c->sweep;
  set_health(c, c->ping);
  if (c->ping == MNEME_OK)
    ask_due(c);
  else
    go_on(c, tick, s->options.interval_us);
}

static void pinged(mneme_status status, void *ctx) {
  chain *c = ctx;
  atomic_store(&c->ping_until_us, 0);
  c->ping = status;
  go_on(c, judge, 0);
}

static void tick(chain *c) {
  registry_backend *b = c->backend;
  atomic_store(&c->ping_until_us, clock_mono_us() + c->sweep->options.step_us);
  b->type->ping(b->instance, &c->call, pinged, c);
}

/* --- Life ---------------------------------------------------------------- */

sweep *sweep_open(registry *r, pool *p, const sweep_options *options) {
  size_t count = registry_count(r);
  sweep *s = calloc(1, sizeof *s + count * sizeof *s->chains);
  if (s == NULL)
    return NULL;
  *s = (sweep){.pool = p, .options = *options, .count = count};
  if (s->options.step_us == 0)
    s->options.step_us = SWEEP_STEP_US;
  if (s->options.watch_us == 0)
    s->options.watch_us = SWEEP_WATCH_US;
  pthread_mutex_init(&s->mutex, NULL);
  pthread_mutex_init(&s->health_mutex, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&s->idle, &monotonic);
  pthread_condattr_destroy(&monotonic);
  for (size_t i = 0; i < count; i++) {
    chain *c = &s->chains[i];
    c->sweep = s;
    c->backend = registry_at(r, i);
    c->call.expired = chain_expired;
    c->due = malloc(SWEEP_SESSIONS_MAX * sizeof *c->due);
    c->waiting = malloc(SWEEP_WAITING_MAX * sizeof *c->waiting);
    if (c->due == NULL || c->waiting == NULL) {
      s->running = 0;
      sweep_close(s);
      return NULL;
    }
  }
  s->watched = pthread_create(&s->watcher, NULL, watch_run, s) == 0;
  if (!s->watched) {
    sweep_close(s);
    return NULL;
  }
  s->running = count;
  for (size_t i = 0; i < count; i++)
    go_on(&s->chains[i], tick, options->interval_us);
  return s;
}

void sweep_stop(sweep *s) {
  if (s == NULL || !s->watched)
    return;
  pthread_mutex_lock(&s->mutex);
  atomic_store(&s->stopping, true);
  pthread_cond_broadcast(&s->idle);
  pthread_mutex_unlock(&s->mutex);
  pthread_join(s->watcher, NULL);
  s->watched = false;
}

void sweep_close(sweep *s) {
  if (s == NULL)
    return;
  pthread_mutex_lock(&s->mutex);
  while (s->running > 0)
    pthread_cond_wait(&s->idle, &s->mutex);
  pthread_mutex_unlock(&s->mutex);
  for (size_t i = 0; i < s->count; i++) {
    free(s->chains[i].due);
    free(s->chains[i].waiting);
  }
  pthread_cond_destroy(&s->idle);
  pthread_mutex_destroy(&s->health_mutex);
  pthread_mutex_destroy(&s->mutex);
  free(s);
}
