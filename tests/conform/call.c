/* Blocking operations: each starts one of the backend's, waits for done and keeps
 * a copy of what was emitted.
 *
 * An answer is never freed before the test ends, only its payload is: so a second
 * done, or an emit after done, finds an answer that can tell. Both end the test at
 * once, as does an emit after the harness has said "enough". */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conform.h"
#include "copy.h"

#define BUSY_TRIES_MAX 20000

_Thread_local cf_next cf_opt = {0, -1, -1};

/* --- What the backend calls ---------------------------------------------- */

static bool expired(const mneme_call *call) {
  cf_call *c = (cf_call *)(uintptr_t)call;
  int asks = atomic_fetch_add(&c->asks, 1);
  return c->expire_after >= 0 && asks >= c->expire_after;
}

/* Takes the lock of an answer that something is emitted to. */
static void begin_emit(cf_answer *a) {
  pthread_mutex_lock(&a->lock);
  if (a->done_count > 0) FAIL("%s: emit was called after done", a->operation);
  if (a->stopped) FAIL("%s: emit was called after it had said enough", a->operation);
}

static int end_emit(cf_answer *a) {
  a->emitted++;
  a->stopped = a->stop_after > 0 && a->emitted >= (size_t)a->stop_after;
  bool stopped = a->stopped;
  pthread_mutex_unlock(&a->lock);
  return stopped;
}

static int on_record(const mneme_record *record, void *ctx) {
  cf_answer *a = ctx;
  begin_emit(a);
  a->records = cf_grow(&a->chunks, a->records, a->record_count, &a->record_max, sizeof *record);
  a->records[a->record_count++] = cf_copy_record(&a->chunks, record);
  return end_emit(a);
}

static int on_header(const mneme_header *header, void *ctx) {
  cf_answer *a = ctx;
  begin_emit(a);
  a->headers = cf_grow(&a->chunks, a->headers, a->header_count, &a->header_max, sizeof *header);
  a->headers[a->header_count++] = cf_copy_header(&a->chunks, header);
  return end_emit(a);
}

static int on_entry(const mneme_log_entry *entry, void *ctx) {
  cf_answer *a = ctx;
  begin_emit(a);
  a->entries = cf_grow(&a->chunks, a->entries, a->entry_count, &a->entry_max, sizeof *entry);
  a->entries[a->entry_count++] = *entry;
  return end_emit(a);
}

static void begin_done(cf_answer *a, mneme_status status) {
  pthread_mutex_lock(&a->lock);
  if (a->done_count > 0) FAIL("%s: done was called twice", a->operation);
  if ((unsigned)status >= MNEME_STATUS_COUNT)
    FAIL("%s: answered status %d, which does not exist", a->operation, (int)status);
  a->status = status;
}

static void end_done(cf_answer *a) {
  a->done_count++;
  pthread_cond_signal(&a->done);
  pthread_mutex_unlock(&a->lock);
}

static void on_done(mneme_status status, void *ctx) {
  begin_done(ctx, status);
  end_done(ctx);
}

static void on_written(mneme_status status, const mneme_written *written, void *ctx) {
  cf_answer *a = ctx;
  begin_done(a, status);
  bool told = status == MNEME_OK || status == MNEME_CONFLICT || status == MNEME_STALE_PLAN ||
              status == MNEME_EXISTS;
  if (told && written == NULL)
    FAIL("%s: answered %s without what was written", a->operation, cf_status_name(status));
  a->written = cf_copy_written(&a->chunks, status, written);
  end_done(a);
}

static void on_session(mneme_status status, const mneme_header *header, void *ctx) {
  cf_answer *a = ctx;
  begin_done(a, status);
  if ((status == MNEME_OK) != (header != NULL))
    FAIL("%s: answered %s %s a header", a->operation, cf_status_name(status),
         header ? "with" : "without");
  if (header != NULL) a->header = cf_copy_header(&a->chunks, header);
  end_done(a);
}

static void on_stats(mneme_status status, const mneme_stats *stats, void *ctx) {
  cf_answer *a = ctx;
  begin_done(a, status);
  if (status == MNEME_OK) a->stats = *stats;
  end_done(a);
}

static void on_bytes(mneme_status status, mneme_bytes bytes, void *ctx) {
  cf_answer *a = ctx;
  begin_done(a, status);
  if (status == MNEME_OK || status == MNEME_CONFLICT)
    a->bytes = cf_copy_bytes(&a->chunks, bytes);
  end_done(a);
}

/* --- Answers ------------------------------------------------------------- */

static cf_answer *answer_new(const char *operation, cf_host **ret_host) {
  cf_answer *a = cf_alloc(sizeof *a);
  a->operation = operation;
  a->stop_after = cf_opt.stop_after;
  int index = cf_opt.host >= 0 ? cf_opt.host : (int)cf_below(cf.host_count);
  *ret_host = &cf.hosts[index];
  a->call.base.now_us = cf_now() + cf.hosts[index].skew_us;
  a->call.base.expired = expired;
  a->call.expire_after = cf_opt.expire_after;
  pthread_mutex_init(&a->lock, NULL);
  pthread_cond_init(&a->done, NULL);
  cf_opt = (cf_next){0, -1, -1};
  return a;
}

void cf_wait(cf_answer *a) {
  pthread_mutex_lock(&a->lock);
  while (a->done_count == 0) pthread_cond_wait(&a->done, &a->lock);
  pthread_mutex_unlock(&a->lock);
}

void cf_release(cf_answer *a) {
  pthread_mutex_lock(&a->lock);
  cf_chunks_free(&a->chunks);
  a->records = NULL;
  a->headers = NULL;
  a->entries = NULL;
  a->record_count = a->record_max = 0;
  a->header_count = a->header_max = 0;
  a->entry_count = a->entry_max = 0;
  pthread_mutex_unlock(&a->lock);
}

/* BUSY promises that nothing was begun, so the same call may be made again. */
static bool try_again(const cf_answer *a, int *tries) {
  if (a->status != MNEME_BUSY) return false;
  if (++*tries > BUSY_TRIES_MAX) FAIL("%s: BUSY %d times in a row", a->operation, *tries);
  struct timespec pause = {0, 200000};
  nanosleep(&pause, NULL);
  return true;
}

/* Runs `start`, which may use the new answer `a` and its host `h`, until the
 * answer is something else than BUSY. */
#define BLOCKING(operation, start)               \
  cf_next opt_ = cf_opt;                         \
  cf_answer *a = NULL;                           \
  int tries_ = 0;                                \
  do {                                           \
    cf_opt = opt_;                               \
    cf_host *h = NULL;                           \
    a = answer_new(operation, &h);               \
    const mneme_call *call = &a->call.base;      \
    start;                                       \
    cf_wait(a);                                  \
  } while (try_again(a, &tries_));               \
  return a

cf_answer *cf_start(const mneme_write *write) {
  cf_host *h = NULL;
  cf_answer *a = answer_new("commit", &h);
  cf.type->commit(h->backend, &a->call.base, write, on_written, a);
  return a;
}

cf_answer *cf_commit(const mneme_write *write) {
  BLOCKING("commit", cf.type->commit(h->backend, call, write, on_written, a));
}

cf_answer *cf_settle(cf_answer *answer, const mneme_write *write) {
  cf_wait(answer);
  return answer->status == MNEME_BUSY ? cf_commit(write) : answer;
}

cf_answer *cf_session_get(mneme_bytes ns, mneme_bytes session) {
  BLOCKING("session_get", cf.type->session_get(h->backend, call, ns, session, on_session, a));
}

cf_answer *cf_session_list(const mneme_session_list *list) {
  BLOCKING("session_list",
           cf.type->session_list(h->backend, call, list, on_header, on_done, a));
}

cf_answer *cf_request_get(const mneme_write *write) {
  BLOCKING("request_get", cf.type->request_get(h->backend, call, write, on_written, a));
}

cf_answer *cf_read(const mneme_read *read) {
  BLOCKING("read", cf.type->read(h->backend, call, read, on_record, on_done, a));
}

cf_answer *cf_changes(mneme_bytes ns, mneme_bytes cursor) {
  BLOCKING("changes", cf.type->changes(h->backend, call, ns, cursor, on_header, on_bytes, a));
}

cf_answer *cf_log(mneme_bytes session, const mneme_uid *uid, int64_t after) {
  BLOCKING("log", cf.type->log(h->backend, call, cf.ns, session, uid, after, on_entry, on_done, a));
}

cf_answer *cf_due(int64_t limit) {
  BLOCKING("due", cf.type->due(h->backend, call, limit, on_header, on_done, a));
}

cf_answer *cf_stats(mneme_bytes ns, mneme_bytes session) {
  BLOCKING("stats", cf.type->stats(h->backend, call, ns, session, on_stats, a));
}

cf_answer *cf_ping(void) {
  BLOCKING("ping", cf.type->ping(h->backend, call, on_done, a));
}

cf_answer *cf_meta_get(mneme_bytes key) {
  BLOCKING("meta_get", cf.type->meta_get(h->backend, call, key, on_bytes, a));
}

cf_answer *cf_meta_put(mneme_bytes key, mneme_bytes expected, mneme_bytes value) {
  BLOCKING("meta_put",
           cf.type->meta_put(h->backend, call, key, expected, value, on_bytes, a));
}

cf_answer *cf_trim(int64_t rows) {
  BLOCKING("trim", cf.type->trim(h->backend, call, rows, &a->more, on_done, a));
}
