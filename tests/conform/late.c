/* A wrapper that completes every operation late (see late.h).
 *
 *   caller -> job -> [ jobs, a list ] -> 3 threads: the earliest job that is due
 *                        ^                 | late start: inner op, caller's sinks
 *                        |                 | late answer: deliver the copies
 *                        +- inner done (late answer) <- inner op with own sinks
 *
 * open has no context, so each wrapped type has an open function of its own: one
 * for each of the MNEME_LATE_TYPES_MAX slots. A job's inputs and its call are the
 * caller's and stay valid until its done has returned, as backend.h promises;
 * late relies on that, and so checks it under a sanitizer.
 *
 * Lock order: late.lock alone; never held over a call of the inner backend, an
 * emit or a done. */
#include "late.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "copy.h"

#define LATE_THREADS 3
#define LATE_DELAY_US 2000

typedef enum late_op {
  LATE_COMMIT,
  LATE_SESSION_GET,
  LATE_SESSION_LIST,
  LATE_REQUEST_GET,
  LATE_READ,
  LATE_CHANGES,
  LATE_LOG,
  LATE_DUE,
  LATE_STATS,
  LATE_PING,
  LATE_META_GET,
  LATE_META_PUT,
  LATE_TRIM
} late_op;

/* Where an operation's results go: the caller's functions, or late's own. */
typedef struct late_sinks {
  mneme_record_fn record;
  mneme_header_fn header;
  mneme_log_fn entry;
  mneme_written_fn written;
  mneme_session_fn session;
  mneme_cursor_fn cursor;
  mneme_stats_fn stats;
  mneme_meta_fn meta;
  mneme_done_fn done;
  void *ctx;
} late_sinks;

typedef struct late_job {
  struct late_job *next;
  struct late *late;
  int64_t due_ns;
  bool started; /* the inner operation is over: deliver */
  late_op op;
  /* Inputs, the caller's. */
  const mneme_call *call;
  const mneme_write *write;
  const mneme_session_list *list;
  const mneme_read *read;
  mneme_bytes ns, session, key, expected, value; /* key: the cursor too */
  const mneme_uid *uid;
  int64_t number; /* after, limit, rows */
  bool *ret_more;
  late_sinks sinks;
  /* Results, copied. */
  void *chunks;
  mneme_status status;
  mneme_record *records;
  mneme_header *headers;
  mneme_log_entry *entries;
  size_t count, max;
  mneme_written out_written;
  bool has_written;
  mneme_header out_header;
  mneme_bytes out_bytes;
  mneme_stats out_stats;
} late_job;

typedef struct late {
  const mneme_backend_type *type;
  mneme_backend *inner;
  int64_t max_delay_us;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint64_t random;
  late_job *jobs; /* ascending by due_ns */
  bool closing;
  pthread_t threads[LATE_THREADS];
} late;

typedef struct late_slot {
  const mneme_backend_type *inner;
  int64_t max_delay_us;
  uint64_t seed;
  char name[64];
  mneme_backend_type type;
} late_slot;

static late_slot slots[MNEME_LATE_TYPES_MAX];
static int slot_count;

static int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t late_random(late *l) { /* under the lock */
  l->random ^= l->random << 13;
  l->random ^= l->random >> 7;
  l->random ^= l->random << 17;
  return l->random;
}

/* --- Running and delivering ---------------------------------------------- */

static void late_enqueue(late_job *job) {
  late *l = job->late;
  pthread_mutex_lock(&l->lock);
  assert(!l->closing);
  int64_t delay_ns = (int64_t)(late_random(l) % (uint64_t)(l->max_delay_us * 1000 + 1));
  job->due_ns = clock_ns() + delay_ns;
  late_job **at = &l->jobs;
  while (*at != NULL && (*at)->due_ns <= job->due_ns) at = &(*at)->next;
  job->next = *at;
  *at = job;
  pthread_cond_broadcast(&l->changed);
  pthread_mutex_unlock(&l->lock);
}

static void late_invoke(late_job *j, const late_sinks *to) {
  const mneme_backend_type *t = j->late->type;
  mneme_backend *b = j->late->inner;
  switch (j->op) {
    case LATE_COMMIT: t->commit(b, j->call, j->write, to->written, to->ctx); break;
    case LATE_SESSION_GET:
      t->session_get(b, j->call, j->ns, j->session, to->session, to->ctx);
      break;
    case LATE_SESSION_LIST:
      t->session_list(b, j->call, j->list, to->header, to->done, to->ctx);
      break;
    case LATE_REQUEST_GET: t->request_get(b, j->call, j->write, to->written, to->ctx); break;
    case LATE_READ: t->read(b, j->call, j->read, to->record, to->done, to->ctx); break;
    case LATE_CHANGES:
      t->changes(b, j->call, j->ns, j->key, to->header, to->cursor, to->ctx);
      break;
    case LATE_LOG:
      t->log(b, j->call, j->ns, j->session, j->uid, j->number, to->entry, to->done, to->ctx);
      break;
    case LATE_DUE: t->due(b, j->call, j->number, to->header, to->done, to->ctx); break;
    case LATE_STATS: t->stats(b, j->call, j->ns, j->session, to->stats, to->ctx); break;
    case LATE_PING: t->ping(b, j->call, to->done, to->ctx); break;
    case LATE_META_GET: t->meta_get(b, j->call, j->key, to->meta, to->ctx); break;
    case LATE_META_PUT:
      t->meta_put(b, j->call, j->key, j->expected, j->value, to->meta, to->ctx);
      break;
    case LATE_TRIM: t->trim(b, j->call, j->number, j->ret_more, to->done, to->ctx); break;
  }
}

/* Passes the copies on, then done, as the inner backend would have. */
static void late_deliver(late_job *j) {
  const late_sinks *to = &j->sinks;
  for (size_t i = 0; i < j->count; i++) {
    int enough = 0;
    if (j->op == LATE_READ) enough = to->record(&j->records[i], to->ctx);
    else if (j->op == LATE_LOG) enough = to->entry(&j->entries[i], to->ctx);
    else enough = to->header(&j->headers[i], to->ctx);
    if (enough) {
      j->status = MNEME_OK; /* whatever came after it was not asked for */
      break;
    }
  }
  switch (j->op) {
    case LATE_COMMIT:
    case LATE_REQUEST_GET:
      to->written(j->status, j->has_written ? &j->out_written : NULL, to->ctx);
      break;
    case LATE_SESSION_GET:
      to->session(j->status, j->status == MNEME_OK ? &j->out_header : NULL, to->ctx);
      break;
    case LATE_STATS: to->stats(j->status, &j->out_stats, to->ctx); break;
    case LATE_META_GET:
    case LATE_META_PUT: to->meta(j->status, j->out_bytes, to->ctx); break;
    default: to->done(j->status, to->ctx); break;
  }
}

static void late_free(late_job *j) {
  cf_chunks_free(&j->chunks);
  free(j);
}

static void *late_thread(void *arg) {
  late *l = arg;
  pthread_mutex_lock(&l->lock);
  while (l->jobs != NULL || !l->closing) {
    if (l->jobs == NULL) {
      pthread_cond_wait(&l->changed, &l->lock);
      continue;
    }
    int64_t due_ns = l->jobs->due_ns;
    if (due_ns > clock_ns()) {
      struct timespec until = {due_ns / 1000000000, due_ns % 1000000000};
      pthread_cond_timedwait(&l->changed, &l->lock, &until);
      continue;
    }
    late_job *j = l->jobs;
    l->jobs = j->next;
    pthread_mutex_unlock(&l->lock);
    if (j->started) {
      late_deliver(j);
      late_free(j);
    } else {
      /* The caller's sinks are all the inner operation needs: the job itself may
       * go only after it, since late_invoke still reads it on the way out. */
      late_invoke(j, &j->sinks);
      late_free(j);
    }
    pthread_mutex_lock(&l->lock);
  }
  pthread_mutex_unlock(&l->lock);
  return NULL;
}

/* --- Late's own sinks: copy ---------------------------------------------- */

static int keep_record(const mneme_record *record, void *ctx) {
  late_job *j = ctx;
  j->records = cf_grow(&j->chunks, j->records, j->count, &j->max, sizeof *j->records);
  j->records[j->count++] = cf_copy_record(&j->chunks, record);
  return 0;
}

static int keep_header(const mneme_header *header, void *ctx) {
  late_job *j = ctx;
  j->headers = cf_grow(&j->chunks, j->headers, j->count, &j->max, sizeof *j->headers);
  j->headers[j->count++] = cf_copy_header(&j->chunks, header);
  return 0;
}

static int keep_entry(const mneme_log_entry *entry, void *ctx) {
  late_job *j = ctx;
  j->entries = cf_grow(&j->chunks, j->entries, j->count, &j->max, sizeof *j->entries);
  j->entries[j->count++] = *entry;
  return 0;
}

static void keep_done(mneme_status status, void *ctx) {
  late_job *j = ctx;
  j->status = status;
  j->started = true;
  late_enqueue(j);
}

static void keep_written(mneme_status status, const mneme_written *written, void *ctx) {
  late_job *j = ctx;
  j->has_written = status == MNEME_OK || status == MNEME_CONFLICT ||
                   status == MNEME_STALE_PLAN || status == MNEME_EXISTS;
  j->out_written = cf_copy_written(&j->chunks, status, written);
  keep_done(status, j);
}

static void keep_session(mneme_status status, const mneme_header *header, void *ctx) {
  late_job *j = ctx;
  if (status == MNEME_OK) j->out_header = cf_copy_header(&j->chunks, header);
  keep_done(status, j);
}

static void keep_stats(mneme_status status, const mneme_stats *stats, void *ctx) {
  late_job *j = ctx;
  if (status == MNEME_OK) j->out_stats = *stats;
  keep_done(status, j);
}

static void keep_meta(mneme_status status, mneme_bytes value, void *ctx) {
  late_job *j = ctx;
  if (status == MNEME_OK || status == MNEME_CONFLICT)
    j->out_bytes = cf_copy_bytes(&j->chunks, value);
  keep_done(status, j);
}

/* --- The operations ------------------------------------------------------ */

static late_job *late_job_new(mneme_backend *backend, late_op op, const mneme_call *call,
                              void *ctx) {
  late_job *j = calloc(1, sizeof *j);
  if (j == NULL) abort();
  j->late = (late *)(void *)backend;
  j->op = op;
  j->call = call;
  j->sinks.ctx = ctx;
  return j;
}

static void late_submit(late_job *j) {
  late *l = j->late;
  pthread_mutex_lock(&l->lock);
  bool start_late = j->op == LATE_CHANGES || late_random(l) % 2 == 0;
  pthread_mutex_unlock(&l->lock);
  if (start_late) {
    late_enqueue(j);
    return;
  }
  late_sinks own = {.record = keep_record,
                    .header = keep_header,
                    .entry = keep_entry,
                    .written = keep_written,
                    .session = keep_session,
                    .stats = keep_stats,
                    .meta = keep_meta,
                    .done = keep_done,
                    .ctx = j};
  late_invoke(j, &own);
}

static void late_commit(mneme_backend *backend, const mneme_call *call, const mneme_write *write,
                        mneme_written_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_COMMIT, call, ctx);
  j->write = write;
  j->sinks.written = done;
  late_submit(j);
}

static void late_session_get(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                             mneme_bytes session, mneme_session_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_SESSION_GET, call, ctx);
  j->ns = ns;
  j->session = session;
  j->sinks.session = done;
  late_submit(j);
}

static void late_session_list(mneme_backend *backend, const mneme_call *call,
                              const mneme_session_list *list, mneme_header_fn emit,
                              mneme_done_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_SESSION_LIST, call, ctx);
  j->list = list;
  j->sinks.header = emit;
  j->sinks.done = done;
  late_submit(j);
}

static void late_request_get(mneme_backend *backend, const mneme_call *call,
                             const mneme_write *write, mneme_written_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_REQUEST_GET, call, ctx);
  j->write = write;
  j->sinks.written = done;
  late_submit(j);
}

static void late_read(mneme_backend *backend, const mneme_call *call, const mneme_read *read,
                      mneme_record_fn emit, mneme_done_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_READ, call, ctx);
  j->read = read;
  j->sinks.record = emit;
  j->sinks.done = done;
  late_submit(j);
}

static void late_changes(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                         mneme_bytes cursor, mneme_header_fn emit, mneme_cursor_fn done,
                         void *ctx) {
  late_job *j = late_job_new(backend, LATE_CHANGES, call, ctx);
  j->ns = ns;
  j->key = cursor;
  j->sinks.header = emit;
  j->sinks.cursor = done;
  late_submit(j);
}

static void late_log(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                     mneme_bytes session, const mneme_uid *uid, int64_t after, mneme_log_fn emit,
                     mneme_done_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_LOG, call, ctx);
  j->ns = ns;
  j->session = session;
  j->uid = uid;
  j->number = after;
  j->sinks.entry = emit;
  j->sinks.done = done;
  late_submit(j);
}

static void late_due(mneme_backend *backend, const mneme_call *call, int64_t limit,
                     mneme_header_fn emit, mneme_done_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_DUE, call, ctx);
  j->number = limit;
  j->sinks.header = emit;
  j->sinks.done = done;
  late_submit(j);
}

static void late_stats(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                       mneme_bytes session, mneme_stats_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_STATS, call, ctx);
  j->ns = ns;
  j->session = session;
  j->sinks.stats = done;
  late_submit(j);
}

static void late_ping(mneme_backend *backend, const mneme_call *call, mneme_done_fn done,
                      void *ctx) {
  late_job *j = late_job_new(backend, LATE_PING, call, ctx);
  j->sinks.done = done;
  late_submit(j);
}

static void late_meta_get(mneme_backend *backend, const mneme_call *call, mneme_bytes key,
                          mneme_meta_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_META_GET, call, ctx);
  j->key = key;
  j->sinks.meta = done;
  late_submit(j);
}

static void late_meta_put(mneme_backend *backend, const mneme_call *call, mneme_bytes key,
                          mneme_bytes expected, mneme_bytes value, mneme_meta_fn done,
                          void *ctx) {
  late_job *j = late_job_new(backend, LATE_META_PUT, call, ctx);
  j->key = key;
  j->expected = expected;
  j->value = value;
  j->sinks.meta = done;
  late_submit(j);
}

static void late_trim(mneme_backend *backend, const mneme_call *call, int64_t rows,
                      bool *ret_more, mneme_done_fn done, void *ctx) {
  late_job *j = late_job_new(backend, LATE_TRIM, call, ctx);
  j->number = rows;
  j->ret_more = ret_more;
  j->sinks.done = done;
  late_submit(j);
}

/* --- Open, close, the table ---------------------------------------------- */

static mneme_status late_open(const late_slot *slot, const mneme_host *host,
                              const mneme_option_value *values, mneme_backend **ret_backend,
                              char *error, size_t size) {
  mneme_backend *inner = NULL;
  mneme_status status = slot->inner->open(host, values, &inner, error, size);
  if (status != MNEME_OK) return status;
  late *l = calloc(1, sizeof *l);
  if (l == NULL) abort();
  l->type = slot->inner;
  l->inner = inner;
  l->max_delay_us = slot->max_delay_us;
  l->random = slot->seed * 2654435761u + 1;
  pthread_mutex_init(&l->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&l->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  for (int i = 0; i < LATE_THREADS; i++)
    if (pthread_create(&l->threads[i], NULL, late_thread, l) != 0) abort();
  *ret_backend = (mneme_backend *)(void *)l;
  return MNEME_OK;
}

static void late_close(mneme_backend *backend) {
  late *l = (late *)(void *)backend;
  pthread_mutex_lock(&l->lock);
  l->closing = true;
  pthread_cond_broadcast(&l->changed);
  pthread_mutex_unlock(&l->lock);
  for (int i = 0; i < LATE_THREADS; i++) pthread_join(l->threads[i], NULL);
  assert(l->jobs == NULL); /* close comes after all calls are done */
  l->type->close(l->inner);
  pthread_cond_destroy(&l->changed);
  pthread_mutex_destroy(&l->lock);
  free(l);
}

#define LATE_OPEN(n)                                                                    \
  static mneme_status late_open_##n(const mneme_host *host,                             \
                                    const mneme_option_value *values,                   \
                                    mneme_backend **ret_backend, char *error, size_t size) { \
    return late_open(&slots[n], host, values, ret_backend, error, size);                \
  }
LATE_OPEN(0)
LATE_OPEN(1)
LATE_OPEN(2)
LATE_OPEN(3)

static mneme_status (*const opens[MNEME_LATE_TYPES_MAX])(const mneme_host *,
                                                         const mneme_option_value *,
                                                         mneme_backend **, char *, size_t) = {
    late_open_0, late_open_1, late_open_2, late_open_3};

const mneme_backend_type *mneme_late_wrap(const mneme_backend_type *inner,
                                          int64_t max_delay_us, uint64_t seed) {
  if (slot_count == MNEME_LATE_TYPES_MAX) return NULL;
  late_slot *slot = &slots[slot_count];
  slot->inner = inner;
  slot->max_delay_us = max_delay_us > 0 ? max_delay_us : LATE_DELAY_US;
  slot->seed = seed;
  snprintf(slot->name, sizeof slot->name, "late-%s", inner->name);
  slot->type = (mneme_backend_type){.abi = MNEME_ABI,
                                    .struct_size = sizeof(mneme_backend_type),
                                    .name = slot->name,
                                    .doc = "Completes every operation late",
                                    .caps = inner->caps,
                                    .options = inner->options,
                                    .open = opens[slot_count],
                                    .close = late_close,
                                    .commit = late_commit,
                                    .session_get = late_session_get,
                                    .session_list = late_session_list,
                                    .request_get = late_request_get,
                                    .read = late_read,
                                    .changes = late_changes,
                                    .log = late_log,
                                    .due = late_due,
                                    .stats = late_stats,
                                    .ping = late_ping,
                                    .meta_get = late_meta_get,
                                    .meta_put = late_meta_put,
                                    .trim = late_trim};
  slot_count++;
  return &slot->type;
}
