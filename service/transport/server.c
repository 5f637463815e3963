/* The server: queues, their threads, admission, and the end.
 *
 * Threads: one for each completion queue, and one queue more when a method is
 * long-lived: Debian's core searches all tags that are out on a queue at each
 * completion, so ten thousand idle watchers would halve the throughput of the
 * calls beside them.
 *
 * The end comes in steps, each needed by the next:
 *
 *   1. turning away: new calls get UNAVAILABLE and a word when to retry, for
 *      TURN_AWAY_MS (see there)
 *   2. shutdown: listeners closed, GOAWAY sent; what is under way goes on
 *   3. what is left is cancelled: after drain_ms, or when no call is under way
 *      any more, or when transport_hurry was called
 *   4. the core reports that it is done, and the last handler has finished
 *   5. (transport_close) the server, the queues, the memory */
#include <errno.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/core.h"

/* --- Admission ----------------------------------------------------------- */

/* A call that reaches the core between its shutdown and the client's sight of
 * the GOAWAY is answered CANCELLED by the core, which no client retries. So for
 * a moment before, calls are answered UNAVAILABLE with a pushback: a client that
 * retries stays away until the GOAWAY has reached it, and then goes elsewhere. */
#define TURN_AWAY_MS 50
#define TURN_AWAY_RETRY_MS 250
/* Then, without calls under way, what is left is connections: idle ones, and such
 * as have not finished their handshake. The core would wait for those too. This
 * long they get to see the GOAWAY before they are cut. */
#define GOAWAY_MS 100

static const transport_status DRAINING =
    STATUS_TEXT(GRPC_STATUS_UNAVAILABLE,
                "The server is shutting down. Nothing was done; send the call again.");

/* Only the queue's thread writes its counters, so they need no locked add. */
static void count_add(atomic_int_fast64_t *counter, int64_t by) {
  int64_t now = atomic_load_explicit(counter, memory_order_relaxed);
  atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

admission call_enter(call_head *head) {
  queue *q = head->queue;
  transport *t = q->transport;
  count_add(&q->live, 1);
  head->metered = false;
  head->deadline_us = deadline_to_us(head->deadline);
  /* A call of an unknown method, which is answered whatever the state. */
  if (head->registered == NULL)
    return ADMITTED;
  if (atomic_load_explicit(&t->turning_away, memory_order_relaxed)) {
    count_add(&q->refused, 1);
    return REFUSED_DRAINING;
  }
  if (!head->registered->method->unmetered) {
    int before = atomic_fetch_add_explicit(&t->admitted, 1, memory_order_relaxed);
    if (before >= t->options->calls_max) {
      atomic_fetch_sub_explicit(&t->admitted, 1, memory_order_relaxed);
      count_add(&q->refused, 1);
      return REFUSED_BUSY;
    }
    head->metered = true;
  }
  count_add(&q->started, 1);
  return ADMITTED;
}

const transport_status *refusal_status(const transport *t, admission how) {
  if (how == REFUSED_BUSY)
    return &t->options->busy;
  return t->options->draining.code != 0 ? &t->options->draining : &DRAINING;
}

int refusal_retry_ms(admission how) { return how == REFUSED_DRAINING ? TURN_AWAY_RETRY_MS : -1; }

void call_leave(call_head *head) {
  queue *q = head->queue;
  transport *t = q->transport;
  if (head->metered)
    atomic_fetch_sub_explicit(&t->admitted, 1, memory_order_relaxed);
  /* Either this thread sees that somebody waits, or the one that waits sees the
   * new count: hence the order of both. */
  int64_t live = atomic_load_explicit(&q->live, memory_order_relaxed) - 1;
  atomic_store(&q->live, live);
  if (live > 0 || !atomic_load(&t->drain_waits))
    return;
  pthread_mutex_lock(&t->lock);
  pthread_cond_broadcast(&t->changed);
  pthread_mutex_unlock(&t->lock);
}

void transport_get_figures(const transport *t, transport_figures *ret_figures) {
  transport_figures f = {0};
  for (int i = 0; i < t->queue_count; i++) {
    const queue *q = &t->queues[i];
    f.calls_started += atomic_load_explicit(&q->started, memory_order_relaxed);
    f.calls_refused += atomic_load_explicit(&q->refused, memory_order_relaxed);
    f.calls_active += atomic_load_explicit(&q->live, memory_order_relaxed);
    f.streams_active += atomic_load_explicit(&q->streams, memory_order_relaxed);
  }
  *ret_figures = f;
}

/* --- Queues -------------------------------------------------------------- */

static bool queue_arm(queue *q);

/* The thread arms its own slots, since from then on calls arrive and what the
 * queue keeps is the thread's alone. */
static void queue_begin(queue *q) {
  transport *t = q->transport;
  pthread_mutex_lock(&t->lock);
  while (t->phase == PHASE_STARTING)
    pthread_cond_wait(&t->changed, &t->lock);
  bool serving = t->phase == PHASE_SERVING;
  pthread_mutex_unlock(&t->lock);
  bool armed = serving && queue_arm(q);
  pthread_mutex_lock(&t->lock);
  q->armed = armed;
  t->queues_ready++;
  pthread_cond_broadcast(&t->changed);
  pthread_mutex_unlock(&t->lock);
}

static void *queue_run(void *argument) {
  queue *q = argument;
  queue_begin(q);
  for (;;) {
    grpc_event event =
        grpc_completion_queue_next(q->core, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    tag *g = event.tag;
    TAG_TAKE(g);
    g->done(g, event.success != 0);
  }
}

static bool queue_start(queue *q) {
  if (pthread_create(&q->thread, NULL, queue_run, q) != 0)
    return false;
  q->thread_runs = true;
  char name[16];
  snprintf(name, sizeof name, q->long_lived ? "mneme-watch" : "mneme-queue-%d", q->number);
  pthread_setname_np(q->thread, name);
  return true;
}

static bool any_long_lived(const transport_method *methods, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (methods[i].long_lived)
      return true;
  return false;
}

/* The thread of a queue also polls the sockets, for all queues: whichever thread
 * finds an event hands it on. Were the long-lived streams' thread one of them, it
 * would take every second event only to wake another (half as much CPU again per
 * call, measured). Its queue does not poll. */
static grpc_completion_queue *core_queue_create(bool long_lived) {
  if (!long_lived)
    return grpc_completion_queue_create_for_next(NULL);
  grpc_completion_queue_attributes attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.version = 1;
  attributes.cq_completion_type = GRPC_CQ_NEXT;
  attributes.cq_polling_type = GRPC_CQ_NON_POLLING;
  return grpc_completion_queue_create(grpc_completion_queue_factory_lookup(&attributes),
                                      &attributes, NULL);
}

static bool queues_create(transport *t, bool one_more) {
  int count = t->options->queues + (one_more ? 1 : 0);
  t->queues = aligned_alloc(CACHE_LINE, (size_t)count * sizeof *t->queues);
  if (t->queues == NULL)
    return false;
  memset(t->queues, 0, (size_t)count * sizeof *t->queues);
  t->queue_count = count;
  for (int i = 0; i < count; i++) {
    queue *q = &t->queues[i];
    q->transport = t;
    q->number = i;
    q->long_lived = i == t->options->queues;
    pthread_mutex_init(&q->streams_lock, NULL);
    q->core = core_queue_create(q->long_lived);
    grpc_server_register_completion_queue(t->server, q->core, NULL);
  }
  return true;
}

/* Arms the slots of one queue. Without memory for all of them the server does
 * not start. */
static bool queue_arm(queue *q) {
  transport *t = q->transport;
  for (size_t i = 0; i < t->method_count; i++) {
    const registered *r = &t->methods[i];
    if (r->method->long_lived != q->long_lived)
      continue;
    bool stream = r->method->kind == TRANSPORT_STREAM;
    int slots = t->options->slots;
    if (stream && slots > STREAM_SLOTS_MAX)
      slots = STREAM_SLOTS_MAX;
    for (int k = 0; k < slots; k++)
      if (!(stream ? stream_arm(q, r) : unary_arm(q, r)))
        return false;
  }
  for (int k = 0; !q->long_lived && k < UNKNOWN_SLOTS; k++)
    if (!unknown_arm(q))
      return false;
  return true;
}

/* --- Draining and closing ------------------------------------------------ */

static void core_stopped(tag *g, bool ok) {
  (void)ok;
  transport *t = container_of(g, transport, stopped);
  pthread_mutex_lock(&t->lock);
  t->core_stopped = true;
  pthread_cond_broadcast(&t->changed);
  pthread_mutex_unlock(&t->lock);
}

static int64_t live_calls(transport *t) {
  int64_t live = 0;
  for (int i = 0; i < t->queue_count; i++)
    live += atomic_load(&t->queues[i].live);
  return live;
}

static bool all_over(transport *t) { return t->core_stopped && live_calls(t) == 0; }

/* What may end a wait before its time. */
static bool hurried(transport *t) { return t->hurried; }

static bool calls_over(transport *t) { return t->hurried || live_calls(t) == 0; }

/* Waits until all is over, or `enough`, or the deadline has passed (each NULL =
 * not asked for). call_leave announces the end of a queue's last call. */
static void over_wait(transport *t, bool (*enough)(transport *), const struct timespec *deadline) {
  pthread_mutex_lock(&t->lock);
  while (!all_over(t) && !(enough != NULL && enough(t))) {
    if (deadline == NULL)
      pthread_cond_wait(&t->changed, &t->lock);
    else if (pthread_cond_timedwait(&t->changed, &t->lock, deadline) == ETIMEDOUT)
      break;
  }
  pthread_mutex_unlock(&t->lock);
}

static struct timespec time_after(int ms) {
  int64_t at_us = clock_mono_us() + (int64_t)ms * 1000;
  return (struct timespec){.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};
}

/* The core's end: a grace, then force, then however long the handlers take. A
 * handler's call lives in memory that the core and we give away afterwards, so
 * there is no giving up here: what must not last belongs to the handler. */
static void core_stop(transport *t, int grace_ms) {
  if (!t->bound)
    return;
  t->stopped.done = core_stopped;
  atomic_store(&t->drain_waits, true);
  TAG_PUBLISH(&t->stopped);
  grpc_server_shutdown_and_notify(t->server, t->queues[0].core, &t->stopped);
  struct timespec goaway = time_after(grace_ms < GOAWAY_MS ? grace_ms : GOAWAY_MS);
  struct timespec deadline = time_after(grace_ms);
  over_wait(t, hurried, &goaway);
  over_wait(t, calls_over, &deadline);
  grpc_server_cancel_all_calls(t->server); /* of no effect when all is over */
  over_wait(t, NULL, NULL);
}

void transport_hurry(transport *t) {
  pthread_mutex_lock(&t->lock);
  t->hurried = true;
  pthread_cond_broadcast(&t->changed);
  pthread_mutex_unlock(&t->lock);
}

void transport_drain(transport *t) {
  atomic_store(&t->turning_away, true);
  for (int i = 0; i < t->queue_count; i++)
    streams_drain(&t->queues[i]);
  struct timespec until = time_after(TURN_AWAY_MS);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
    continue;
  core_stop(t, t->options->drain_ms);
}

void transport_close(transport *t) {
  if (t == NULL)
    return;
  grpc_server_destroy(t->server);
  for (int i = 0; i < t->queue_count; i++)
    grpc_completion_queue_shutdown(t->queues[i].core);
  for (int i = 0; i < t->queue_count; i++) {
    queue *q = &t->queues[i];
    if (q->thread_runs)
      pthread_join(q->thread, NULL);
    grpc_completion_queue_destroy(q->core);
    unary_free_idle(q);
    pthread_mutex_destroy(&q->streams_lock);
  }
  if (t->quota != NULL)
    grpc_resource_quota_unref(t->quota);
  grpc_shutdown();
  pthread_cond_destroy(&t->changed);
  pthread_mutex_destroy(&t->lock);
  free(t->methods);
  free(t->queues);
  free(t);
}

/* --- Opening ------------------------------------------------------------- */

static bool methods_register(transport *t, const transport_method *methods, size_t count,
                             char *error, size_t error_size) {
  t->methods = calloc(count, sizeof *t->methods);
  if (t->methods == NULL) {
    snprintf(error, error_size, "no memory for %zu methods", count);
    return false;
  }
  t->method_count = count;
  for (size_t i = 0; i < count; i++) {
    const transport_method *m = &methods[i];
    bool stream = m->kind == TRANSPORT_STREAM;
    if (stream ? m->stream == NULL : m->unary == NULL || m->long_lived) {
      snprintf(error, error_size, "method %s has no handler of its kind", m->path);
      return false;
    }
    t->methods[i].method = m;
    t->methods[i].handle = grpc_server_register_method(
        t->server, m->path, NULL,
        stream ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    if (t->methods[i].handle == NULL) {
      snprintf(error, error_size, "method %s is registered twice", m->path);
      return false;
    }
  }
  return true;
}

/* Whether somebody listens on a Unix socket. The core unlinks what it finds at
 * the path and binds its own, so a second server would take the address from a
 * live one without a word, where a port says "in use". Another may still begin
 * to listen between this look and the bind. A full backlog (EAGAIN) is a
 * listener too. */
static bool unix_in_use(const char *address) {
  if (strncmp(address, "unix:", 5) != 0)
    return false;
  const char *path = address + 5;
  if (strncmp(path, "//", 2) == 0)
    path += 2;
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof un.sun_path)
    return false; /* the core says so */
  memcpy(un.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return false;
  bool live = connect(fd, (struct sockaddr *)&un, sizeof un) == 0 || errno == EAGAIN;
  close(fd);
  return live;
}

static bool listeners_bind(transport *t, char *error, size_t error_size) {
  grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
  bool bound = true;
  t->bound = true;
  for (size_t i = 0; bound && i < t->options->listen_count; i++) {
    const char *address = t->options->listen[i];
    bound = !unix_in_use(address);
    if (bound)
      t->ports[i] = grpc_server_add_http2_port(t->server, address, credentials);
    bound = bound && t->ports[i] != 0;
    if (!bound)
      snprintf(error, error_size, "cannot listen on %s: in use, or not an address of this machine",
               address);
  }
  grpc_server_credentials_release(credentials);
  return bound;
}

static transport *transport_create(const transport_options *options) {
  transport *t = aligned_alloc(CACHE_LINE, sizeof *t);
  if (t == NULL)
    return NULL;
  memset(t, 0, sizeof *t);
  t->options = options;
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&t->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&t->lock, NULL);
  return t;
}

static void phase_set(transport *t, transport_phase phase) {
  pthread_mutex_lock(&t->lock);
  t->phase = phase;
  pthread_cond_broadcast(&t->changed);
  pthread_mutex_unlock(&t->lock);
}

/* Lets the threads arm their slots, and waits for all of them. */
static bool slots_arm(transport *t) {
  phase_set(t, PHASE_SERVING);
  bool armed = true;
  pthread_mutex_lock(&t->lock);
  while (t->queues_ready < t->queue_count)
    pthread_cond_wait(&t->changed, &t->lock);
  for (int i = 0; i < t->queue_count; i++)
    armed = armed && t->queues[i].armed;
  pthread_mutex_unlock(&t->lock);
  return armed;
}

/* Everything that can fail. The threads exist before anything is bound: a server
 * that has listeners can only be freed after a shutdown, whose end somebody must
 * take off a queue. */
static bool transport_start(transport *t, const transport_method *methods, size_t count,
                            char *error, size_t error_size) {
  snprintf(error, error_size, "no memory, or no more threads");
  if (!queues_create(t, any_long_lived(methods, count)))
    return false;
  for (int i = 0; i < t->queue_count; i++)
    if (!queue_start(&t->queues[i]))
      return false;
  if (!methods_register(t, methods, count, error, error_size) ||
      !listeners_bind(t, error, error_size))
    return false;
  grpc_server_start(t->server);
  snprintf(error, error_size, "no memory for the slots of calls");
  return slots_arm(t);
}

transport *transport_open(const transport_options *options, const transport_method *methods,
                          size_t method_count, char *error, size_t error_size) {
  if (!options_check(options, error, error_size))
    return NULL;
  if (method_count == 0 || method_count > METHODS_MAX) {
    snprintf(error, error_size, "%zu methods; 1 to %d can be served", method_count, METHODS_MAX);
    return NULL;
  }
  transport *t = transport_create(options);
  if (t == NULL) {
    snprintf(error, error_size, "no memory");
    return NULL;
  }
  process_prepare();
  grpc_init();
  t->server = options_create_server(options, &t->quota);
  if (!transport_start(t, methods, method_count, error, error_size)) {
    if (t->phase == PHASE_STARTING)
      phase_set(t, PHASE_ABANDONED);
    core_stop(t, 0);
    transport_close(t);
    return NULL;
  }
  return t;
}

int transport_port(const transport *t, size_t i) {
  return i < t->options->listen_count ? t->ports[i] : 0;
}
