/* The engine for many servers on one store: opening and closing, and the table of operations.
 * postgres.h is the map of the room. */
#include "postgres.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void pe_close(mneme_backend *store) {
  if (store == NULL) return;
  pe_loop_close(store);
  pe_settings_free(&store->settings);
  pthread_cond_destroy(&store->tried);
  pthread_mutex_destroy(&store->lock);
  free(store);
}

/* The first attempt to connect tells whether the config is right: a store that will never be
 * usable is refused. A server that is down is not: it may come. */
static mneme_status wait_for_first(mneme_backend *store, char *error, size_t size) {
  struct timespec until;
  int64_t patience_us =
      store->settings.connect_timeout_us + store->settings.statement_timeout_us;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += patience_us / 1000000 + 1;
  pthread_mutex_lock(&store->lock);
  while (!store->was_tried &&
         pthread_cond_timedwait(&store->tried, &store->lock, &until) != ETIMEDOUT)
    continue;
  bool refused = store->was_refused;
  if (refused) snprintf(error, size, "%s", store->why);
  pthread_mutex_unlock(&store->lock);
  return refused ? MNEME_INVALID : MNEME_OK;
}

static mneme_status pe_open(const mneme_host *host, const mneme_option_value *values,
                            mneme_backend **ret_backend, char *error, size_t size) {
  mneme_backend *store = calloc(1, sizeof *store);
  pthread_condattr_t attributes;
  if (store == NULL) {
    snprintf(error, size, "no memory for the store");
    return MNEME_NO_MEMORY;
  }
  store->host = host;
  pthread_mutex_init(&store->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&store->tried, &attributes);
  pthread_condattr_destroy(&attributes);
  mneme_status status = pe_settings_read(values, &store->settings, error, size);
  if (status == MNEME_OK) {
    atomic_init(&store->durability, (int)store->settings.durability);
    status = pe_loop_open(store);
    if (status != MNEME_OK) snprintf(error, size, "no memory, or no thread, for the connections");
  }
  if (status == MNEME_OK) status = wait_for_first(store, error, size);
  if (status != MNEME_OK) {
    pe_close(store);
    return status;
  }
  *ret_backend = store;
  return MNEME_OK;
}

static mneme_durability pe_durability(const mneme_backend *store) {
  return (mneme_durability)atomic_load(&store->durability);
}

/* --- The table ----------------------------------------------------------------------------- */

static const mneme_backend_type type = {
    .abi = MNEME_ABI,
    .struct_size = sizeof(mneme_backend_type),
    .name = "postgres",
    .doc = "Sessions in a Postgres database that many servers share.",
    .caps = MNEME_CAP_DURABLE | MNEME_CAP_SHARED | MNEME_CAP_NB_COMMIT | MNEME_CAP_NB_READ,
    .options = pe_options,
    .open = pe_open,
    .close = pe_close,
    .commit = pe_commit_run,
    .session_get = pe_session_get,
    .session_list = pe_session_list,
    .request_get = pe_request_get,
    .read = pe_read,
    .changes = pe_changes,
    .log = pe_log_read,
    .due = pe_due,
    .stats = pe_stats,
    .ping = pe_ping,
    .meta_get = pe_meta_get,
    .meta_put = pe_meta_put,
    .trim = pe_trim,
    .schemes = pe_schemes,
    .durability = pe_durability,
};

const mneme_backend_type *MNEME_PLUGIN_ENTRY(void) { return &type; }
