/* The state of the one test that runs in this process: the open hosts, the clock,
 * the random numbers, memory that lives until the test ends, and how it fails. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conform.h"
#include "copy.h"

cf_state cf;

static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;
static void *memory;
static _Thread_local uint64_t random_state;
static atomic_int thread_count;
static _Thread_local char context[512], within[512];

/* --- Failing ------------------------------------------------------------- */

static const char *const status_names[MNEME_STATUS_COUNT] = {
    [MNEME_OK] = "OK",
    [MNEME_NOT_FOUND] = "NOT_FOUND",
    [MNEME_EXISTS] = "EXISTS",
    [MNEME_CONFLICT] = "CONFLICT",
    [MNEME_STALE_PLAN] = "STALE_PLAN",
    [MNEME_REUSED] = "REUSED",
    [MNEME_INVALID] = "INVALID",
    [MNEME_TOO_BIG] = "TOO_BIG",
    [MNEME_UNSUPPORTED] = "UNSUPPORTED",
    [MNEME_SESSION_FULL] = "SESSION_FULL",
    [MNEME_STORE_FULL] = "STORE_FULL",
    [MNEME_BUSY] = "BUSY",
    [MNEME_DOWN] = "DOWN",
    [MNEME_UNCERTAIN] = "UNCERTAIN",
    [MNEME_TIMEOUT] = "TIMEOUT",
    [MNEME_CANCELLED] = "CANCELLED",
    [MNEME_NO_MEMORY] = "NO_MEMORY",
    [MNEME_CORRUPT] = "CORRUPT",
    [MNEME_COMPACTED] = "COMPACTED",
    [MNEME_MOVED] = "MOVED",
    [MNEME_INTERNAL] = "INTERNAL",
};

const char *cf_status_name(mneme_status status) {
  return (unsigned)status < MNEME_STATUS_COUNT ? status_names[status] : "a status unknown";
}

void cf_context(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(context, sizeof context, format, arguments);
  va_end(arguments);
}

void cf_within(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(within, sizeof within, format, arguments);
  va_end(arguments);
}

void cf_fail(const char *file, int line, const char *format, ...) {
  /* One write, so that two failing threads don't mix their lines; and _exit, since
   * other threads may be anywhere. */
  char text[4096];
  const char *slash = strrchr(file, '/');
  int n = snprintf(text, sizeof text, "%s:%d: ", slash ? slash + 1 : file, line);
  va_list arguments;
  va_start(arguments, format);
  n += vsnprintf(text + n, sizeof text - (size_t)n, format, arguments);
  va_end(arguments);
  /* Room for what the test was at. */
  if (n > (int)sizeof text - 1100) n = (int)sizeof text - 1100;
  if (context[0] != '\0')
    n += snprintf(text + n, sizeof text - (size_t)n, "\n  at %s", context);
  if (within[0] != '\0')
    n += snprintf(text + n, sizeof text - (size_t)n, "\n  within %s", within);
  text[n++] = '\n';
  if (write(STDERR_FILENO, text, (size_t)n) < 0) _exit(2);
  _exit(1);
}

void cf_skip(const char *reason) {
  cf_close();
  fprintf(stderr, "%s\n", reason);
  _exit(77);
}

/* --- Memory -------------------------------------------------------------- */

void *cf_alloc(size_t size) {
  pthread_mutex_lock(&memory_lock);
  void *data = cf_chunk(&memory, size);
  pthread_mutex_unlock(&memory_lock);
  return data;
}

void *cf_copy(const void *data, size_t size) {
  void *copy = cf_alloc(size);
  if (size > 0) memcpy(copy, data, size);
  return copy;
}

const char *cf_text(const char *format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (n >= (int)sizeof text) n = (int)sizeof text - 1;
  return cf_copy(text, (size_t)n + 1);
}

/* --- Random numbers and threads ------------------------------------------ */

uint64_t cf_random(void) {
  if (random_state == 0) {
    uint64_t n = (uint64_t)atomic_fetch_add(&thread_count, 1) + 1;
    random_state = (cf.seed + n) * 0x9E3779B97F4A7C15u | 1;
  }
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state >> 11;
}

typedef struct thread_arg {
  void (*body)(int index, void *arg);
  void *arg;
  int index;
} thread_arg;

static void *thread_main(void *p) {
  thread_arg *a = p;
  a->body(a->index, a->arg);
  return NULL;
}

void cf_threads(int count, void (*body)(int index, void *arg), void *arg) {
  pthread_t threads[64];
  thread_arg args[64];
  if (count > 64) FAIL("at most 64 threads");
  for (int i = 0; i < count; i++) {
    args[i] = (thread_arg){body, arg, i};
    if (pthread_create(&threads[i], NULL, thread_main, &args[i]) != 0)
      FAIL("can't start a thread");
  }
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

/* --- Open and close ------------------------------------------------------ */

static void log_line(const mneme_host *host, mneme_log_level level, const char *text) {
  (void)host;
  if (strchr(text, '\n') != NULL) FAIL("log: a line has a newline in it");
  if (level >= MNEME_LOG_WARN) fprintf(stderr, "log: %s\n", text);
}

static const mneme_host host_table = {MNEME_ABI, sizeof(mneme_host), log_line};

mneme_status cf_open_one(mneme_backend **ret_backend, char *error, size_t size) {
  return cf.type->open(&host_table, cf.values, ret_backend, error, size);
}

static mneme_backend *open_checked(void) {
  char error[512] = "";
  mneme_backend *backend = NULL;
  mneme_status status = cf_open_one(&backend, error, sizeof error);
  if (status != MNEME_OK) FAIL("open: %s: %s", cf_status_name(status), error);
  if (backend == NULL) FAIL("open: OK without a backend");
  return backend;
}

void cf_open(void) {
  cf.host_count = cf.want_hosts;
  cf.hosts[0].backend = open_checked();
  for (int i = 1; i < cf.host_count; i++) {
    bool shared = cf.type->caps & MNEME_CAP_SHARED;
    cf.hosts[i].backend = shared ? open_checked() : cf.hosts[0].backend;
  }
}

void cf_close(void) {
  for (int i = 0; i < cf.host_count; i++) {
    bool own = i == 0 || cf.hosts[i].backend != cf.hosts[0].backend;
    if (own && cf.hosts[i].backend != NULL) cf.type->close(cf.hosts[i].backend);
  }
  for (int i = 0; i < CF_HOSTS_MAX; i++) cf.hosts[i].backend = NULL;
  cf.host_count = 0;
}

void cf_reopen(void) {
  cf_close();
  cf_open();
}
