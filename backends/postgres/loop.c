/* The loop: one thread that talks to the server and calls done. Callers put jobs into the inbox
 * and wake it; a burst of jobs is one wake.
 *
 * Where a job waits: a write in the queue of the writer that its session's hash names (of the
 * next one that is up), so that the commits of one session do not wait for each other's locks;
 * everything else in `waiting`, until a reader takes fewer than PE_DEPTH queries. When the last
 * attempt to connect has failed and no connection is left, a job is not kept waiting: DOWN.
 *
 * Deadlines. A tick looks at all that wait and at the queries under way. A query that
 * nobody waits for any more is answered, and the server is asked to stop it. A write that
 * is under way is not stopped: it shares its transaction with others. */
#include "postgres.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENCE_MS 5000     /* beyond statement_timeout: then the connection is lost */
#define SAY_AGAIN_MS 30000  /* between two lines that say that the server is down */

typedef struct pe_arrival {
  struct pe_arrival *next;
  pe_link link; /* link.pg NULL = an attempt failed */
  bool refused;
  char text[PE_TEXT_MAX];
} pe_arrival;

void pe_log(const mneme_backend *store, mneme_log_level level, const char *format, ...) {
  char text[PE_TEXT_MAX + 128];
  va_list arguments;
  if (store->host == NULL || store->host->log == NULL) return;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  store->host->log(store->host, level, text);
}

uint64_t pe_now_ms(const mneme_backend *store) { return uv_now(&store->loop); }

/* --- Jobs ---------------------------------------------------------------------------------- */

void *pe_job_new(mneme_backend *store, size_t size, const pe_kind *kind, const mneme_call *call) {
  pe_job *job = calloc(1, size);
  if (job == NULL) return NULL;
  job->store = store;
  job->kind = kind;
  job->call = call;
  return job;
}

bool pe_job_expired(const pe_job *job) {
  return job->call != NULL && mneme_call_expired(job->call);
}

void pe_job_submit(pe_job *job) {
  mneme_backend *store = job->store;
  size_t *count = job->kind->writes ? &store->writes : &store->reads;
  pthread_mutex_lock(&store->lock);
  bool taken = *count < store->settings.queue;
  bool first = taken && TAILQ_EMPTY(&store->inbox);
  if (taken) {
    ++*count;
    job->queued = true;
    TAILQ_INSERT_TAIL(&store->inbox, job, entry);
  }
  pthread_mutex_unlock(&store->lock);
  if (first) uv_async_send(&store->wake);
  if (!taken) pe_job_done(job, MNEME_BUSY);
}

/* Tells the caller; what is under way for it goes on without it. */
static void tell(pe_job *job, mneme_status status) {
  mneme_backend *store = job->store;
  if (job->queued) {
    size_t *count = job->kind->writes ? &store->writes : &store->reads;
    pthread_mutex_lock(&store->lock);
    --*count;
    pthread_mutex_unlock(&store->lock);
    job->queued = false;
  }
  if (status == MNEME_UNCERTAIN) store->counters.uncertain++;
  job->call = NULL;
  job->kind->done(job, status);
}

void pe_job_done(pe_job *job, mneme_status status) {
  tell(job, status);
  free(job);
}

/* A job that will not be done any more. */
static void give_up(pe_job *job, mneme_status status) {
  pe_job_done(job, job->sent ? MNEME_UNCERTAIN : status);
}

/* --- Queries -------------------------------------------------------------------------------- */

static void take_query(pe_unit *unit, PGresult *result) {
  pe_job *job = (pe_job *)unit;
  job->taken = true;
  if (job->call != NULL) {
    job->status = job->kind->take(job, result);
    /* What a read has found is final; a write waits for its Sync. */
    bool over = job->status != MNEME_OK || !job->more;
    if (over && !job->kind->writes) tell(job, job->status);
  }
  PQclear(result);
}

static void end_query(pe_unit *unit, pe_conn *c, pe_end_how how) {
  pe_job *job = (pe_job *)unit;
  if (job->call == NULL) { /* answered meanwhile */
    free(job);
  } else if (how == PE_END_DONE) {
    mneme_status status = job->taken ? job->status : MNEME_INTERNAL;
    if (status == MNEME_OK && job->more && pe_job_expired(job)) status = MNEME_TIMEOUT;
    if (status == MNEME_OK && job->more)
      pe_job_requeue(job);
    else
      pe_job_done(job, status);
  } else if (how == PE_END_LOST) {
    if (job->kind->writes)
      pe_job_done(job, MNEME_UNCERTAIN);
    else if (c->store->stopping || job->tries++ >= PE_REREADS_MAX)
      pe_job_done(job, MNEME_DOWN);
    else
      pe_job_requeue(job);
  } else {
    pe_fault fault = pe_fault_of(unit->state);
    bool again = fault == PE_FAULT_RACE || (fault == PE_FAULT_STOPPED && !job->kind->writes);
    if (again && job->tries++ < PE_REREADS_MAX)
      pe_job_requeue(job);
    else
      pe_job_done(job, pe_status_of(unit->state));
  }
}

void pe_job_send(pe_job *job, pe_conn *c) {
  pe_params *p = &c->store->params;
  pe_params_clear(p);
  job->more = job->taken = false;
  job->unit.take = take_query;
  job->unit.end = end_query;
  job->unit.heavy = job->kind->heavy;
  pe_query query = job->kind->ask(job, &c->link, p);
  if (p->failed)
    pe_job_done(job, MNEME_NO_MEMORY);
  else if (pe_conn_send(c, query, p))
    pe_conn_end(c, &job->unit);
  else
    pe_job_requeue(job); /* the connection has ended before it was under way */
}

/* The reader with the least to do that is no obstacle. */
static pe_conn *free_reader(mneme_backend *store) {
  pe_conn *best = NULL;
  size_t best_load = SIZE_MAX;
  for (size_t i = store->settings.writers; i < store->conn_count; i++) {
    pe_conn *c = &store->conns[i];
    size_t load = c->unit_count + c->heavy_count * PE_DEPTH;
    if (!pe_conn_is_up(c) || c->unit_count >= PE_DEPTH || load >= best_load) continue;
    best = c;
    best_load = load;
  }
  return best;
}

/* --- Handing out ----------------------------------------------------------------------------- */

static pe_conn *writer_for(mneme_backend *store, uint64_t hash) {
  size_t count = store->settings.writers;
  for (size_t i = 0; i < count; i++) {
    pe_conn *c = &store->conns[(hash + i) % count];
    if (pe_conn_is_up(c)) return c;
  }
  return NULL;
}

static bool any_up(const mneme_backend *store, bool reads) {
  for (size_t i = 0; i < store->conn_count; i++)
    if (store->conns[i].reads == reads && pe_conn_is_up(&store->conns[i])) return true;
  return false;
}

static void place(pe_job *job, bool in_front) {
  mneme_backend *store = job->store;
  pe_conn *c = job->kind->writes ? writer_for(store, job->hash) : NULL;
  struct pe_queue *queue = c != NULL ? &c->queue : &store->waiting;
  if (in_front)
    TAILQ_INSERT_HEAD(queue, job, entry);
  else
    TAILQ_INSERT_TAIL(queue, job, entry);
}

void pe_job_requeue(pe_job *job) { place(job, true); }

static void take_inbox(mneme_backend *store) {
  struct pe_queue jobs = TAILQ_HEAD_INITIALIZER(jobs);
  pthread_mutex_lock(&store->lock);
  TAILQ_CONCAT(&jobs, &store->inbox, entry);
  pthread_mutex_unlock(&store->lock);
  while (!TAILQ_EMPTY(&jobs)) {
    pe_job *job = TAILQ_FIRST(&jobs);
    TAILQ_REMOVE(&jobs, job, entry);
    place(job, false);
  }
}

/* What waits for a connection that will not come soon. */
static void refuse_waiting(mneme_backend *store) {
  pe_job *job, *next;
  bool writers = any_up(store, false), readers = any_up(store, true);
  for (job = TAILQ_FIRST(&store->waiting); job != NULL; job = next) {
    next = TAILQ_NEXT(job, entry);
    if (job->sent || (job->kind->writes ? writers : readers)) continue;
    TAILQ_REMOVE(&store->waiting, job, entry);
    pe_job_done(job, MNEME_DOWN);
  }
}

static void hand_out(mneme_backend *store) {
  pe_job *job, *next;
  for (job = TAILQ_FIRST(&store->waiting); job != NULL; job = next) {
    next = TAILQ_NEXT(job, entry);
    pe_conn *c = job->kind->writes ? writer_for(store, job->hash) : free_reader(store);
    if (c == NULL) continue;
    TAILQ_REMOVE(&store->waiting, job, entry);
    if (job->kind->writes)
      TAILQ_INSERT_TAIL(&c->queue, job, entry);
    else if (pe_job_expired(job))
      pe_job_done(job, MNEME_TIMEOUT);
    else
      pe_job_send(job, c);
  }
}

/* done may have put more into the inbox, but that wakes the loop again. */
void pe_loop_go(mneme_backend *store) {
  if (store->health == PE_DOWN) refuse_waiting(store);
  hand_out(store);
  for (size_t i = 0; i < store->conn_count; i++) {
    pe_conn *c = &store->conns[i];
    if (!c->reads && pe_conn_is_up(c)) pe_writer_go(c);
    pe_conn_flush(c);
  }
}

/* --- Connections that come and go ------------------------------------------------------------- */

static void arrive(mneme_backend *store, pe_arrival *arrival) {
  pthread_mutex_lock(&store->lock);
  pe_arrival **at = &store->arrivals;
  while (*at != NULL) at = &(*at)->next;
  *at = arrival;
  if (!store->was_tried) {
    store->was_tried = true;
    store->was_refused = arrival->refused;
    snprintf(store->why, sizeof store->why, "%s", arrival->text);
    pthread_cond_signal(&store->tried);
  }
  pthread_mutex_unlock(&store->lock);
  uv_async_send(&store->wake);
}

static void connection_made(void *ctx, pe_link link) {
  mneme_backend *store = ctx;
  pe_arrival *arrival = calloc(1, sizeof *arrival);
  if (arrival == NULL) {
    PQfinish(link.pg);
    pe_connector_ask(store->connector, 1);
    return;
  }
  arrival->link = link;
  arrive(store, arrival);
}

static void connection_failed(void *ctx, bool refused, const char *text) {
  pe_arrival *arrival = calloc(1, sizeof *arrival);
  if (arrival == NULL) return; /* there will be another */
  arrival->refused = refused;
  snprintf(arrival->text, sizeof arrival->text, "%s", text);
  arrive(ctx, arrival);
}

void pe_loop_lost(mneme_backend *store, pe_conn *c) {
  store->counters.reconnects++;
  while (!TAILQ_EMPTY(&c->queue)) { /* to another one, or back when it is there again */
    pe_job *job = TAILQ_FIRST(&c->queue);
    TAILQ_REMOVE(&c->queue, job, entry);
    place(job, false);
  }
  pe_connector_ask(store->connector, 1);
}

/* The first of those without a connection gets it: writers and readers in turns, so that both
 * are there with the second one. */
static void give_link(mneme_backend *store, pe_link link) {
  size_t writers = store->settings.writers, readers = store->settings.readers;
  for (size_t i = 0; i < writers || i < readers; i++) {
    pe_conn *writer = i < writers ? &store->conns[i] : NULL;
    pe_conn *reader = i < readers ? &store->conns[writers + i] : NULL;
    pe_conn *c = writer != NULL && !pe_conn_is_up(writer) ? writer : reader;
    if (c == NULL || pe_conn_is_up(c)) continue;
    pe_conn_adopt(c, link);
    return;
  }
  PQfinish(link.pg);
}

static void take_arrival(mneme_backend *store, const pe_arrival *arrival) {
  uint64_t now_ms = pe_now_ms(store);
  if (arrival->link.pg != NULL) {
    if (store->health == PE_DOWN) pe_log(store, MNEME_LOG_INFO, "connected again");
    store->health = PE_SERVING;
    atomic_store(&store->durability, (int)arrival->link.durability);
    give_link(store, arrival->link);
    return;
  }
  bool alone = !any_up(store, false) && !any_up(store, true);
  if (store->health != PE_DOWN || now_ms - store->said_ms >= SAY_AGAIN_MS) {
    store->said_ms = now_ms;
    pe_log(store, arrival->refused ? MNEME_LOG_ERROR : MNEME_LOG_WARN, "%s: %s",
           alone ? "no connection" : "fewer connections than set", arrival->text);
  }
  store->health = PE_DOWN;
}

static void on_wake(uv_async_t *async) {
  mneme_backend *store = async->data;
  pthread_mutex_lock(&store->lock);
  pe_arrival *arrival = store->arrivals;
  store->arrivals = NULL;
  pthread_mutex_unlock(&store->lock);
  bool stopping = atomic_load(&store->stopping);
  while (arrival != NULL) {
    pe_arrival *next = arrival->next;
    if (!stopping)
      take_arrival(store, arrival);
    else if (arrival->link.pg != NULL)
      PQfinish(arrival->link.pg);
    free(arrival);
    arrival = next;
  }
  take_inbox(store);
  if (!stopping) {
    pe_loop_go(store);
    return;
  }
  for (size_t i = 0; i < store->conn_count; i++) pe_conn_drop(&store->conns[i], NULL);
  uv_close((uv_handle_t *)&store->wake, NULL);
  uv_close((uv_handle_t *)&store->tick, NULL);
}

/* --- Deadlines --------------------------------------------------------------------------------- */

/* An uncertain write waits for a connection to be repeated on, but not for ever. */
static bool has_waited(const pe_job *job, uint64_t now_ms) {
  return job->sent && now_ms - job->lost_ms >= PE_OUTLIVE_MS;
}

static void look_at_queue(struct pe_queue *queue, uint64_t now_ms) {
  pe_job *job, *next;
  for (job = TAILQ_FIRST(queue); job != NULL; job = next) {
    next = TAILQ_NEXT(job, entry);
    if (!pe_job_expired(job) && !has_waited(job, now_ms)) continue;
    TAILQ_REMOVE(queue, job, entry);
    give_up(job, MNEME_TIMEOUT);
  }
}

static void look_at_conn(pe_conn *c, uint64_t now_ms) {
  mneme_backend *store = c->store;
  uint64_t patience_ms = (uint64_t)store->settings.statement_timeout_us / 1000 + SILENCE_MS;
  pe_unit *unit = STAILQ_FIRST(&c->units);
  if (unit == NULL) return;
  if (now_ms - c->since_ms >= patience_ms) {
    pe_conn_drop(c, "the server does not answer");
    return;
  }
  if (!c->reads) return;
  STAILQ_FOREACH(unit, &c->units, next) {
    pe_job *job = (pe_job *)unit;
    if (pe_job_expired(job)) tell(job, MNEME_TIMEOUT);
  }
  const pe_job *oldest = (const pe_job *)STAILQ_FIRST(&c->units);
  if (oldest->call == NULL && !oldest->taken) pe_conn_cancel(c);
}

static void on_tick(uv_timer_t *timer) {
  mneme_backend *store = timer->data;
  uint64_t now_ms = pe_now_ms(store);
  look_at_queue(&store->waiting, now_ms);
  for (size_t i = 0; i < store->conn_count; i++) {
    look_at_queue(&store->conns[i].queue, now_ms);
    look_at_conn(&store->conns[i], now_ms);
  }
  pe_loop_go(store); /* a pause may be over */
}

/* --- Life ---------------------------------------------------------------------------------------- */

static void *run(void *arg) {
  mneme_backend *store = arg;
  uv_run(&store->loop, UV_RUN_DEFAULT);
  return NULL;
}

static bool open_loop(mneme_backend *store) {
  if (uv_loop_init(&store->loop) != 0) return false;
  store->has_loop = true;
  store->wake.data = store->tick.data = store;
  if (uv_async_init(&store->loop, &store->wake, on_wake) != 0) return false;
  if (uv_timer_init(&store->loop, &store->tick) != 0 ||
      uv_timer_start(&store->tick, on_tick, PE_TICK_MS, PE_TICK_MS) != 0)
    return false;
  store->runs = pthread_create(&store->thread, NULL, run, store) == 0;
  return store->runs;
}

mneme_status pe_loop_open(mneme_backend *store) {
  pe_connector_calls calls = {connection_made, connection_failed, store};
  store->conn_count = store->settings.writers + store->settings.readers;
  store->conns = calloc(store->conn_count, sizeof *store->conns);
  if (store->conns == NULL || !pe_slow_open(store)) return MNEME_NO_MEMORY;
  for (size_t i = 0; i < store->conn_count; i++) {
    pe_conn *c = &store->conns[i];
    c->store = store;
    c->reads = i >= store->settings.writers;
    c->index = c->reads ? i - store->settings.writers : i;
    STAILQ_INIT(&c->units);
    TAILQ_INIT(&c->queue);
  }
  TAILQ_INIT(&store->inbox);
  TAILQ_INIT(&store->waiting);
  if (!open_loop(store)) return MNEME_NO_MEMORY;
  store->canceller = pe_canceller_open();
  store->connector = pe_connector_open(&store->settings, calls);
  if (store->canceller == NULL || store->connector == NULL) return MNEME_NO_MEMORY;
  pe_connector_ask(store->connector, store->conn_count);
  return MNEME_OK;
}

static void close_handle(uv_handle_t *handle, void *ctx) {
  (void)ctx;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* All calls are done by now, and what the connector has made is closed by the loop. */
void pe_loop_close(mneme_backend *store) {
  atomic_store(&store->stopping, true);
  pe_connector_close(store->connector);
  if (store->runs) {
    uv_async_send(&store->wake);
    pthread_join(store->thread, NULL);
  } else if (store->has_loop) {
    uv_walk(&store->loop, close_handle, NULL);
    uv_run(&store->loop, UV_RUN_DEFAULT);
  }
  if (store->has_loop) uv_loop_close(&store->loop);
  pe_canceller_close(store->canceller);
  free(store->conns);
  free(store->slow);
  pe_params_free(&store->params);
}
