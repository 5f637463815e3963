/* A backend that stores nothing. It is built several times as a plugin: as it
 * should be, and with something wrong; see CMakeLists.txt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mneme/backend.h"

#ifndef PLUGIN_ABI
#define PLUGIN_ABI MNEME_ABI
#endif
#ifndef PLUGIN_SIZE
#define PLUGIN_SIZE sizeof(mneme_backend_type)
#endif
#ifndef PLUGIN_CAPS
#define PLUGIN_CAPS MNEME_CAP_DURABLE
#endif

struct mneme_backend {
  const mneme_host *host;
};

static mneme_status none_open(const mneme_host *host, const mneme_option_value *values,
                              mneme_backend **ret_backend, char *error, size_t size) {
  if (values[0].integer == 13) {
    snprintf(error, size, "13 brings bad luck, take another number");
    return MNEME_INVALID;
  }
  mneme_backend *b = malloc(sizeof *b);
  if (b == NULL)
    return MNEME_NO_MEMORY;
  b->host = host;
  host->log(host, MNEME_LOG_DEBUG, "open");
  *ret_backend = b;
  return MNEME_OK;
}

static void none_close(mneme_backend *b) {
  b->host->log(b->host, MNEME_LOG_DEBUG, "close");
  free(b);
}

static void none_commit(mneme_backend *b, const mneme_call *call, const mneme_write *write,
                        mneme_written_fn done, void *ctx) {
  (void)b, (void)call, (void)write;
  done(MNEME_BUSY, NULL, ctx);
}

static void none_session_get(mneme_backend *b, const mneme_call *call, mneme_bytes ns,
                             mneme_bytes session, mneme_session_fn done, void *ctx) {
  (void)b, (void)call, (void)ns, (void)session;
  done(MNEME_NOT_FOUND, NULL, ctx);
}

static void none_session_list(mneme_backend *b, const mneme_call *call,
                              const mneme_session_list *list, mneme_header_fn emit,
                              mneme_done_fn done, void *ctx) {
  (void)b, (void)call, (void)list, (void)emit;
  done(MNEME_OK, ctx);
}

static void none_request_get(mneme_backend *b, const mneme_call *call, const mneme_write *write,
                             mneme_written_fn done, void *ctx) {
  (void)b, (void)call, (void)write;
  done(MNEME_NOT_FOUND, NULL, ctx);
}

static void none_read(mneme_backend *b, const mneme_call *call, const mneme_read *read,
                      mneme_record_fn emit, mneme_done_fn done, void *ctx) {
  (void)b, (void)call, (void)read, (void)emit;
  done(MNEME_OK, ctx);
}

static void none_stats(mneme_backend *b, const mneme_call *call, mneme_bytes ns,
                       mneme_bytes session, mneme_stats_fn done, void *ctx) {
  (void)b, (void)call, (void)ns, (void)session;
  done(MNEME_DOWN, NULL, ctx);
}

static void none_ping(mneme_backend *b, const mneme_call *call, mneme_done_fn done, void *ctx) {
  (void)b, (void)call;
  done(MNEME_OK, ctx);
}

static const mneme_option options[] = {
  {.name = "number", .type = MNEME_OPTION_INT, .default_value = "7", .min = 1, .max = 100,
   .doc = "A number."},
  {0},
};

static const mneme_backend_type type = {
  .abi = PLUGIN_ABI,
  .struct_size = PLUGIN_SIZE,
  .name = "none",
  .doc = "stores nothing",
  .caps = PLUGIN_CAPS,
  .options = options,
  .open = none_open,
  .close = none_close,
  .commit = none_commit,
  .session_get = none_session_get,
  .session_list = none_session_list,
  .request_get = none_request_get,
#ifndef PLUGIN_WITHOUT_READ
  .read = none_read,
#endif
  .stats = none_stats,
  .ping = none_ping,
};

#ifdef PLUGIN_WITHOUT_SYMBOL
const mneme_backend_type *another_name(void);
#define MNEME_PLUGIN_NAME another_name
#else
#define MNEME_PLUGIN_NAME mneme_plugin
#endif

const mneme_backend_type *MNEME_PLUGIN_NAME(void) {
  (void)none_read;
#ifdef PLUGIN_SMALL
  /* What an older compiler would have laid out: nothing is behind it. */
  static mneme_backend_type *small;
  if (small == NULL) {
    small = malloc(PLUGIN_SIZE);
    if (small != NULL)
      memcpy(small, &type, PLUGIN_SIZE);
  }
  return small;
#else
  return &type;
#endif
}
