/* The durable engine: options, opening and closing, and the table of operations.
 * sqlite.h is the map of the room. */
#include "sqlite.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
  OPTION_PATH,
  OPTION_DURABILITY,
  OPTION_CACHE,
  OPTION_TAILS,
  OPTION_MMAP,
  OPTION_CHECKPOINT,
  OPTION_QUEUE,
  OPTION_READERS,
  OPTION_LOCK_WAIT,
  OPTION_QUICK_CHECK
};

#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)

static const mneme_option options[] = {
    [OPTION_PATH] = {"path", MNEME_OPTION_PATH, "mneme.db", 0, 0,
                     "The database file; it and its folder are made when they are missing."},
    [OPTION_DURABILITY] = {"durability", MNEME_OPTION_STRING, "full", 0, 0,
                           "full: a write is synced before it is acknowledged; normal: a "
                           "power failure may take the last ones, a crash of the server none."},
    [OPTION_CACHE] = {"cache", MNEME_OPTION_SIZE, "64MiB", MIB, 1024 * GIB,
                      "Memory for pages of the file: half for the writer, half for all readers."},
    [OPTION_TAILS] = {"tails", MNEME_OPTION_SIZE, "64MiB", 0, 1024 * GIB,
                      "Memory for the newest memories of the sessions in use; 0 = none kept."},
    [OPTION_MMAP] = {"mmap", MNEME_OPTION_SIZE, "0", 0, 1024 * GIB,
                     "How much of the file is mapped into memory instead of read; 0 = nothing."},
    [OPTION_CHECKPOINT] = {"checkpoint", MNEME_OPTION_SIZE, "16MiB", 64 * 1024, 64 * GIB,
                           "How large the write-ahead log grows before it is moved to the file."},
    [OPTION_QUEUE] = {"queue", MNEME_OPTION_INT, "4096", 1, 1 << 20,
                      "Writes that may wait for the writer; one more is answered BUSY."},
    [OPTION_READERS] = {"readers", MNEME_OPTION_INT, "4", 1, SQ_READERS_MAX,
                        "Connections for reads, which run beside each other and the writer."},
    [OPTION_LOCK_WAIT] = {"lock_wait", MNEME_OPTION_DURATION, "100ms", 0, 60000000,
                          "How long another program's lock on the file is waited for."},
    [OPTION_QUICK_CHECK] = {"quick_check", MNEME_OPTION_BOOL, "true", 0, 0,
                            "Whether the whole file is checked when it is opened."},
    {0},
};

void sq_log(const mneme_backend *store, mneme_log_level level, const char *format, ...) {
  char text[1024];
  va_list arguments;
  if (store->host == NULL || store->host->log == NULL) return;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  store->host->log(store->host, level, text);
}

/* --- Life ----------------------------------------------------------------------- */

/* SQLite reads "file:" in front of a name as a URI, and :memory: is no file. */
static bool copy_path(const char *path, sq_options *o) {
  int n = snprintf(o->path, sizeof o->path, "%s%s", path[0] == '/' ? "" : "./", path);
  return n > 0 && (size_t)n < sizeof o->path - 16;
}

static mneme_status read_options(const mneme_option_value *values, sq_options *o, char *error,
                                 size_t size) {
  const char *path = values[OPTION_PATH].string, *durability = values[OPTION_DURABILITY].string;
  if (path == NULL || path[0] == '\0' || path[strlen(path) - 1] == '/') {
    snprintf(error, size, "path: name a file, such as /var/lib/mneme/memories.db");
    return MNEME_INVALID;
  }
  if (!copy_path(path, o)) {
    snprintf(error, size, "path: it is longer than %d bytes", SQ_PATH_MAX - 16);
    return MNEME_INVALID;
  }
  o->full = strcmp(durability, "full") == 0;
  if (!o->full && strcmp(durability, "normal") != 0) {
    snprintf(error, size, "durability: \"%.32s\" is neither full nor normal", durability);
    return MNEME_INVALID;
  }
  o->cache = values[OPTION_CACHE].integer;
  o->tails = values[OPTION_TAILS].integer;
  o->mmap = values[OPTION_MMAP].integer;
  o->checkpoint = values[OPTION_CHECKPOINT].integer;
  o->queue = (size_t)values[OPTION_QUEUE].integer;
  o->readers = (size_t)values[OPTION_READERS].integer;
  o->lock_wait_us = values[OPTION_LOCK_WAIT].integer;
  o->check = values[OPTION_QUICK_CHECK].integer != 0;
  return MNEME_OK;
}

static void sq_close(mneme_backend *store) {
  if (store == NULL) return;
  sq_writer_stop(store);
  sq_pool_free(&store->pool);
  sq_writer_close(store);
  sq_tails_free(store->tails);
  sq_ring_free(&store->ring);
  if (store->lock >= 0) close(store->lock);
  free(store);
}

static mneme_status sq_open(const mneme_host *host, const mneme_option_value *values,
                            mneme_backend **ret_backend, char *error, size_t size) {
  mneme_backend *store = calloc(1, sizeof *store);
  if (store == NULL) {
    snprintf(error, size, "no memory for the store");
    return MNEME_NO_MEMORY;
  }
  store->host = host;
  store->lock = -1;
  mneme_status status = read_options(values, &store->options, error, size);
  if (status == MNEME_OK && getrandom(&store->new_id, sizeof store->new_id, 0) !=
                                (ssize_t)sizeof store->new_id) {
    snprintf(error, size, "no random numbers from the system: is getrandom(2) allowed?");
    status = MNEME_INTERNAL;
  }
  if (status == MNEME_OK)
    status = sq_files_prepare(store->options.path, &store->lock, error, size);
  if (status == MNEME_OK) {
    store->tails = sq_tails_new(store->options.tails);
    bool enough = store->tails != NULL && sq_ring_init(&store->ring, store->options.queue) &&
                  sq_pool_init(&store->pool, store->options.readers);
    if (!enough) {
      snprintf(error, size, "no memory for a queue of %zu", store->options.queue);
      status = MNEME_NO_MEMORY;
    }
  }
  if (status == MNEME_OK) status = sq_writer_open(store, error, size);
  if (status != MNEME_OK) {
    sq_close(store);
    return status;
  }
  *ret_backend = store;
  return MNEME_OK;
}

void sq_commit(mneme_backend *store, const mneme_call *call, const mneme_write *write,
               mneme_written_fn done, void *ctx) {
  const sq_job job = {.kind = SQ_JOB_COMMIT,
                      .call = call,
                      .ctx = ctx,
                      .as.commit = {.write = write, .done = done}};
  if (!sq_ring_push(&store->ring, &job)) done(MNEME_BUSY, NULL, ctx);
}

/* Whatever else the options say, the file is what counts. */
static mneme_status sq_back_up(const mneme_host *host, const mneme_option_value *values,
                               const char *file, char *error, size_t size) {
  (void)host;
  sq_options o;
  mneme_status status = read_options(values, &o, error, size);
  return status == MNEME_OK ? sq_backup(o.path, file, error, size) : status;
}

static mneme_durability sq_durability(const mneme_backend *store) {
  return store->options.full ? MNEME_DURABILITY_FULL : MNEME_DURABILITY_PROCESS;
}

static const mneme_scheme schemes[] = {{"sqlite", "path", true}, {0}};

/* --- The table -------------------------------------------------------------------- */

static const mneme_backend_type type = {
    .abi = MNEME_ABI,
    .struct_size = sizeof(mneme_backend_type),
    .name = "sqlite",
    .doc = "Sessions in one SQLite file: durable, for one server.",
    .caps = MNEME_CAP_DURABLE | MNEME_CAP_NB_COMMIT | MNEME_CAP_FILTER,
    .options = options,
    .open = sq_open,
    .close = sq_close,
    .commit = sq_commit,
    .session_get = sq_session_get,
    .session_list = sq_session_list,
    .request_get = sq_request_get,
    .read = sq_read,
    .changes = sq_changes,
    .log = sq_log_read,
    .due = sq_due,
    .stats = sq_stats,
    .ping = sq_ping,
    .meta_get = sq_meta_get,
    .meta_put = sq_meta_put,
    .trim = sq_trim,
    .schemes = schemes,
    .backup = sq_back_up,
    .durability = sq_durability,
};

const mneme_backend_type *MNEME_PLUGIN_ENTRY(void) { return &type; }
