/* The life of a server.
 *
 *   registry ─▶ page keys ─▶ pool ─▶ admin ─▶ transport ─▶ sweeper ─▶ wait for a signal
 *                                                               │
 *   close  ◀── pool drain ◀── transport drain ◀── sweeper stop ◀┘
 *
 * Opened in this order, closed in the other: the transport is drained before the
 * pool, because calls under way end on workers; the registry goes last, because
 * its backends answer until then. */
#include "server.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "rpc/calls.h"
#include "sweep/sweep.h"

#define PAGE_KEY_NAME "page_token_key"
#define META_WAIT_US 10000000 /* for a store to give its page-token key at start */
#define QUEUES_DEFAULT_MAX 16

typedef struct server {
  const config *config;
  service service;
  sweep *sweep;
  admin *admin;
  transport *transport;
  transport_method methods[CALLS_METHODS_MAX + ADMIN_METHODS];
  transport_options options;
  arena busy_arena; /* what options.busy and .draining point to */
} server;

/* --- Page-token keys ----------------------------------------------------- */

/* One question to a backend, waited for: only at start. It is allocated because
 * an answer may come after nobody waits any more. */
typedef struct question {
  mneme_call call;
  pthread_mutex_t mutex;
  pthread_cond_t answered;
  bool done;
  bool abandoned;
  mneme_status status;
  char value[MNEME_META_VALUE_MAX];
  size_t value_size;
} question;

static void question_free(question *q) {
  pthread_cond_destroy(&q->answered);
  pthread_mutex_destroy(&q->mutex);
  free(q);
}

static void question_done(mneme_status status, mneme_bytes value, void *ctx) {
  question *q = ctx;
  pthread_mutex_lock(&q->mutex);
  bool abandoned = q->abandoned;
  q->done = true;
  q->status = status;
  q->value_size = value.size <= sizeof q->value ? value.size : 0;
  if (q->value_size > 0)
    memcpy(q->value, value.data, q->value_size);
  pthread_cond_signal(&q->answered);
  pthread_mutex_unlock(&q->mutex);
  if (abandoned)
    question_free(q);
}

static question *question_new(void) {
  question *q = calloc(1, sizeof *q);
  if (q == NULL)
    return NULL;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&q->answered, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&q->mutex, NULL);
  q->call.now_us = clock_wall_us();
  return q;
}

/* false = no answer in time; then the question frees itself when it comes. */
static bool question_wait(question *q) {
  int64_t until = clock_mono_us() + META_WAIT_US;
  struct timespec at = {until / 1000000, until % 1000000 * 1000};
  pthread_mutex_lock(&q->mutex);
  while (!q->done && pthread_cond_timedwait(&q->answered, &q->mutex, &at) == 0)
    ;
  bool done = q->done;
  q->abandoned = !done;
  pthread_mutex_unlock(&q->mutex);
  return done;
}

/* The store's key, made by whoever asks first. */
static mneme_status load_key(registry_backend *b, page_key *key) {
  mneme_bytes name = mneme_bytes_of(PAGE_KEY_NAME, strlen(PAGE_KEY_NAME));
  question *q = question_new();
  if (q == NULL)
    return MNEME_NO_MEMORY;
  /* Absent: ours is stored. Present: a conflict that answers with the one there. */
  b->type->meta_put(b->instance, &q->call, name, mneme_bytes_of(NULL, 0),
                    mneme_bytes_of((const char *)key->bytes[0], PAGE_KEY_BYTES), question_done, q);
  if (!question_wait(q))
    return MNEME_TIMEOUT;
  mneme_status status = q->status;
  if (status == MNEME_OK) {
    page_key_learn(key, key->bytes[0]);
  } else if (status == MNEME_CONFLICT) {
    status = q->value_size == PAGE_KEY_BYTES ? MNEME_OK : MNEME_CORRUPT;
    if (status == MNEME_OK)
      page_key_learn(key, (const uint8_t *)q->value);
  }
  question_free(q);
  return status;
}

/* A store that is down or damaged keeps its own sessions from being served, not
 * the server from starting: its key is asked for when it serves again. */
static bool load_keys(server *s) {
  registry *r = s->service.registry;
  for (size_t i = 0; i < registry_count(r); i++) {
    page_key *key = &s->service.page_keys[i];
    registry_backend *b = registry_at(r, i);
    if (getrandom(key->bytes[0], PAGE_KEY_BYTES, 0) != PAGE_KEY_BYTES)
      return false;
    mneme_status status = load_key(b, key);
    if (status == MNEME_OK)
      continue;
    registry_set_health(b, status == MNEME_CORRUPT ? MNEME_CORRUPT : MNEME_DOWN);
    log_event(LOG_WARN, "a backend does not answer; its sessions are served when it does",
              log_text("backend", b->name), log_end());
  }
  return true;
}

/* --- Opening ------------------------------------------------------------- */

static bool open_registry(server *s) {
  char text[REGISTRY_ERROR_MAX];
  const config *c = s->config;
  s->service.registry =
      registry_open(c->backends, c->backend_count, c->rules, c->rule_count, text, sizeof text);
  if (s->service.registry == NULL)
    log_event(LOG_ERROR, "cannot open the backends", log_text("error", text), log_end());
  return s->service.registry != NULL;
}

static bool open_pool(server *s) {
  const config_settings *set = &s->config->settings;
  pool_options options = {.threads = (int)set->workers,
                          .queue_max = (size_t)set->worker_queue,
                          .timers_max = (size_t)set->worker_timers};
  s->service.pool = pool_open(&options);
  s->service.plans = plans_open();
  bool ok = s->service.pool != NULL && s->service.plans != NULL;
  if (!ok)
    log_event(LOG_ERROR, "cannot start the worker threads", log_int("workers", set->workers),
              log_end());
  return ok;
}

static transport_status busy_status(arena *a) {
  error e = {0};
  error_set(&e, a, CODE_UNAVAILABLE, "BUSY", NULL,
            "the server has as many calls under way as it takes: repeat the request");
  e.retry_us = ERROR_RETRY_BUSY_US;
  return calls_status(a, &e);
}

static transport_status draining_status(arena *a) {
  return calls_draining(a, "the server is shutting down and nothing was done: send the call "
                           "again, elsewhere or when it is back");
}

static int queue_count(int64_t set) {
  if (set > 0)
    return (int)set;
  /* The core's own threads and the workers want the other half: with a queue per
   * core a call was measured to cost a third more CPU. */
  long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
  return half < 1 ? 1 : half > QUEUES_DEFAULT_MAX ? QUEUES_DEFAULT_MAX : (int)half;
}

static void fill_options(server *s) {
  const config *c = s->config;
  const config_settings *set = &c->settings;
  transport_options *o = &s->options;
  *o = (transport_options){.listen_count = c->listen_count,
                           .queues = queue_count(set->queues),
                           .slots = (int)set->slots,
                           .receive_max = (size_t)set->receive_max,
                           .metadata_max = (size_t)set->metadata_max,
                           .memory_quota = (size_t)set->memory_quota,
                           .streams_per_connection_max = (int)set->streams_per_connection,
                           .calls_max = (int)set->calls,
                           .arena_max = (size_t)set->arena_max,
                           .keepalive_ms = (int)(set->keepalive_us / 1000),
                           .keepalive_timeout_ms = (int)(set->keepalive_timeout_us / 1000),
                           .idle_ms = (int)(set->idle_us / 1000),
                           .drain_ms = (int)(set->drain_us / 1000),
                           .busy = busy_status(&s->busy_arena),
                           .draining = draining_status(&s->busy_arena),
                           .unknown = calls_unknown};
  for (size_t i = 0; i < c->listen_count; i++)
    o->listen[i] = c->listen[i];
}

static bool set_backend_health(server *s, const registry_backend *b) {
  char name[8 + CONFIG_NAME_MAX + 1];
  snprintf(name, sizeof name, "backend/%s", b->name);
  return admin_set_health(s->admin, name, registry_get_health(b).state == REGISTRY_SERVING);
}

/* SERVING from the start for the process, even when an engine is down: else one
 * engine's failure would make an orchestrator kill every server. */
static bool open_admin(server *s) {
  registry *r = s->service.registry;
  s->admin = admin_new();
  bool ok = s->admin != NULL && admin_set_health(s->admin, "", true) &&
            admin_set_health(s->admin, "mneme.v1.MemoryBackend", true);
  for (size_t i = 0; ok && i < registry_count(r); i++)
    ok = set_backend_health(s, registry_at(r, i));
  if (!ok)
    log_event(LOG_ERROR, "cannot set up health and reflection", log_end());
  return ok;
}

static bool open_transport(server *s) {
  char text[512];
  fill_options(s);
  size_t count = calls_methods(&s->service, s->methods);
  count += admin_methods(s->admin, s->methods + count);
  s->transport = transport_open(&s->options, s->methods, count, text, sizeof text);
  if (s->transport == NULL)
    log_event(LOG_ERROR, "cannot listen", log_text("error", text), log_end());
  return s->transport != NULL;
}

static void on_health(const registry_backend *b, registry_health health, void *ctx) {
  server *s = ctx;
  page_key *key = &s->service.page_keys[b->index];
  if (health.state == REGISTRY_SERVING && !page_key_is_learned(key))
    (void)load_key(registry_at(s->service.registry, b->index), key);
  set_backend_health(s, b);
}

static int64_t cleanup_us(const mneme_header *h, void *ctx) {
  server *s = ctx;
  return service_cleanup_us(h, &s->service);
}

static bool open_sweep(server *s) {
  const sweep_options options = {.interval_us = s->config->settings.sweep_interval_us,
                                 .health = on_health,
                                 .cleanup_us = cleanup_us,
                                 .ctx = s};
  s->sweep = sweep_open(s->service.registry, s->service.pool, &options);
  if (s->sweep == NULL)
    log_event(LOG_ERROR, "cannot start the sweeper: out of memory", log_end());
  return s->sweep != NULL;
}

/* The address as it can be dialled: with the port that the system chose for 0. */
static void log_serving(const server *s) {
  for (size_t i = 0; i < s->options.listen_count; i++) {
    char address[256];
    const char *given = s->options.listen[i], *colon = strrchr(given, ':');
    bool local = strncmp(given, "unix:", 5) == 0;
    snprintf(address, sizeof address, "%.*s%s%d", local ? 0 : (int)(colon - given), given,
             local ? "" : ":", local ? 0 : transport_port(s->transport, i));
    log_event(LOG_INFO, "serving", log_text("listen", local ? given : address),
              log_int("pid", getpid()), log_end());
  }
}

/* --- Running ------------------------------------------------------------- */

/* Somebody who asks twice does not want to wait for the grace. The main thread
 * is in the drain by then, so another one takes the signals. */
typedef struct impatience {
  transport *transport;
  atomic_bool over;
} impatience;

static void *hurry_run(void *argument) {
  impatience *i = argument;
  sigset_t set;
  int number;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  while (sigwait(&set, &number) != 0 || !atomic_load(&i->over))
    transport_hurry(i->transport);
  return NULL;
}

static void drain(transport *t) {
  impatience i = {.transport = t};
  pthread_t thread;
  bool runs = pthread_create(&thread, NULL, hurry_run, &i) == 0;
  transport_drain(t);
  if (!runs)
    return;
  atomic_store(&i.over, true);
  pthread_kill(thread, SIGTERM);
  pthread_join(thread, NULL);
}

static void server_close(server *s) {
  sweep_stop(s->sweep);
  if (s->admin != NULL)
    admin_shut_down(s->admin);
  if (s->transport != NULL)
    drain(s->transport);
  if (s->service.pool != NULL)
    pool_drain(s->service.pool);
  sweep_close(s->sweep);
  if (s->transport != NULL)
    transport_close(s->transport);
  admin_free(s->admin);
  pool_close(s->service.pool);
  registry_close(s->service.registry);
  plans_close(s->service.plans);
  arena_clear(&s->busy_arena);
}

static void wait_for_signal(const sigset_t *set) {
  int number = 0;
  while (sigwait(set, &number) != 0)
    ;
  log_event(LOG_INFO, "draining", log_text("signal", strsignal(number)), log_end());
}

int server_run(const config *c) {
  static server s; /* one per process; large */
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP); /* the terminal has gone: as if asked to stop */
  /* Before any thread starts: they inherit the mask. */
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  s.config = c;
  arena_init(&s.busy_arena, ARENA_BLOCK_BYTES);
  wire_init();
  bool ok = open_registry(&s) && load_keys(&s) && open_pool(&s) && open_admin(&s) && open_transport(&s) &&
            open_sweep(&s);
  if (ok) {
    log_serving(&s);
    wait_for_signal(&set);
  }
  server_close(&s);
  if (ok)
    log_event(LOG_INFO, "stopped", log_end());
  return ok ? 0 : 1;
}
