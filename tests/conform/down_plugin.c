/* mneme_down.so: dict that can be taken down, for the end-to-end tests of what
 * spans backends. While the file that its option `while` names exists, every
 * operation answers DOWN, with nothing begun. With a number in the file only commits
 * do, after so many that it still takes, counted from when the file came.
 * Several may be open at once, each with a file of its own. Options: dict's, and
 * then `while`. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mneme/backend.h"

#define OPTIONS_MAX 16

const mneme_backend_type *mneme_plugin_dict(void);
__attribute__((visibility("default"))) const mneme_backend_type *mneme_plugin(void);

static const mneme_backend_type *dict;
static mneme_backend_type type;
static mneme_option options[OPTIONS_MAX + 2]; /* dict's, while, the end */
static size_t while_option;

struct mneme_backend {
  mneme_backend *inner;
  atomic_int commits; /* since the file came */
  char file[];
};

typedef enum fault { NONE, ALL, COMMITS } fault;

static fault look(mneme_backend *b, int *ret_commits) {
  FILE *f = fopen(b->file, "r");
  if (f == NULL) {
    atomic_store(&b->commits, 0);
    return NONE;
  }
  bool counted = fscanf(f, "%d", ret_commits) == 1;
  fclose(f);
  return counted ? COMMITS : ALL;
}

static bool is_down(mneme_backend *b) {
  int commits;
  return look(b, &commits) == ALL;
}

static mneme_status down_open(const mneme_host *host, const mneme_option_value *values,
                              mneme_backend **ret_backend, char *error, size_t size) {
  const char *file = values[while_option].string;
  mneme_backend *b = malloc(sizeof *b + strlen(file) + 1);
  if (b == NULL) return MNEME_NO_MEMORY;
  strcpy(b->file, file);
  atomic_init(&b->commits, 0);
  mneme_status status = dict->open(host, values, &b->inner, error, size);
  if (status == MNEME_OK)
    *ret_backend = b;
  else
    free(b);
  return status;
}

static void down_close(mneme_backend *b) {
  dict->close(b->inner);
  free(b);
}

static void down_commit(mneme_backend *b, const mneme_call *call, const mneme_write *write,
                        mneme_written_fn done, void *ctx) {
  int commits = 0;
  fault what = look(b, &commits);
  if (what == ALL || (what == COMMITS && atomic_fetch_add(&b->commits, 1) >= commits))
    done(MNEME_DOWN, NULL, ctx);
  else
    dict->commit(b->inner, call, write, done, ctx);
}

static void down_session_get(mneme_backend *b, const mneme_call *call, mneme_bytes ns,
                             mneme_bytes session, mneme_session_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, NULL, ctx);
  else
    dict->session_get(b->inner, call, ns, session, done, ctx);
}

static void down_session_list(mneme_backend *b, const mneme_call *call,
                              const mneme_session_list *list, mneme_header_fn emit,
                              mneme_done_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, ctx);
  else
    dict->session_list(b->inner, call, list, emit, done, ctx);
}

static void down_request_get(mneme_backend *b, const mneme_call *call, const mneme_write *write,
                             mneme_written_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, NULL, ctx);
  else
    dict->request_get(b->inner, call, write, done, ctx);
}

static void down_read(mneme_backend *b, const mneme_call *call, const mneme_read *read,
                      mneme_record_fn emit, mneme_done_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, ctx);
  else
    dict->read(b->inner, call, read, emit, done, ctx);
}

static void down_changes(mneme_backend *b, const mneme_call *call, mneme_bytes ns,
                         mneme_bytes cursor, mneme_header_fn emit, mneme_cursor_fn done,
                         void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, (mneme_bytes){NULL, 0}, ctx);
  else
    dict->changes(b->inner, call, ns, cursor, emit, done, ctx);
}

static void down_log(mneme_backend *b, const mneme_call *call, mneme_bytes ns,
                     mneme_bytes session, const mneme_uid *uid, int64_t after,
                     mneme_log_fn emit, mneme_done_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, ctx);
  else
    dict->log(b->inner, call, ns, session, uid, after, emit, done, ctx);
}

static void down_due(mneme_backend *b, const mneme_call *call, int64_t limit,
                     mneme_header_fn emit, mneme_done_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, ctx);
  else
    dict->due(b->inner, call, limit, emit, done, ctx);
}

static void down_stats(mneme_backend *b, const mneme_call *call, mneme_bytes ns,
                       mneme_bytes session, mneme_stats_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, NULL, ctx);
  else
    dict->stats(b->inner, call, ns, session, done, ctx);
}

static void down_ping(mneme_backend *b, const mneme_call *call, mneme_done_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, ctx);
  else
    dict->ping(b->inner, call, done, ctx);
}

static void down_meta_get(mneme_backend *b, const mneme_call *call, mneme_bytes key,
                          mneme_meta_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, (mneme_bytes){NULL, 0}, ctx);
  else
    dict->meta_get(b->inner, call, key, done, ctx);
}

static void down_meta_put(mneme_backend *b, const mneme_call *call, mneme_bytes key,
                          mneme_bytes expected, mneme_bytes value, mneme_meta_fn done,
                          void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, (mneme_bytes){NULL, 0}, ctx);
  else
    dict->meta_put(b->inner, call, key, expected, value, done, ctx);
}

static void down_trim(mneme_backend *b, const mneme_call *call, int64_t rows, bool *ret_more,
                      mneme_done_fn done, void *ctx) {
  if (is_down(b))
    done(MNEME_DOWN, ctx);
  else
    dict->trim(b->inner, call, rows, ret_more, done, ctx);
}

const mneme_backend_type *mneme_plugin(void) {
  if (dict != NULL) return &type;
  dict = mneme_plugin_dict();
  while (dict->options[while_option].name != NULL) {
    if (while_option == OPTIONS_MAX) return NULL;
    options[while_option] = dict->options[while_option];
    while_option++;
  }
  options[while_option] =
      (mneme_option){"while", MNEME_OPTION_STRING, NULL, 0, 0,
                     "The file that takes the backend down while it exists."};
  type = (mneme_backend_type){.abi = MNEME_ABI,
                              .struct_size = sizeof type,
                              .name = "down",
                              .doc = "dict that can be taken down: for tests.",
                              .caps = dict->caps,
                              .options = options,
                              .open = down_open,
                              .close = down_close,
                              .commit = down_commit,
                              .session_get = down_session_get,
                              .session_list = down_session_list,
                              .request_get = down_request_get,
                              .read = down_read,
                              .changes = down_changes,
                              .log = down_log,
                              .due = down_due,
                              .stats = down_stats,
                              .ping = down_ping,
                              .meta_get = down_meta_get,
                              .meta_put = down_meta_put,
                              .trim = down_trim};
  return &type;
}
