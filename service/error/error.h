/* What went wrong with one request, on its way to the client: canonical gRPC
 * code, a reason from the contract (ErrorReason without its prefix), a text that
 * says what to do, and where it helps the field, a delay and a few values.
 *
 * Ownership: every string is a constant or lies in the request's arena. */
#ifndef MNEME_ERROR_ERROR_H
#define MNEME_ERROR_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "mneme/status.h"

/* Canonical codes (google.rpc.Code). */
enum {
  CODE_OK = 0,
  CODE_CANCELLED = 1,
  CODE_UNKNOWN = 2,
  CODE_INVALID_ARGUMENT = 3,
  CODE_DEADLINE_EXCEEDED = 4,
  CODE_NOT_FOUND = 5,
  CODE_ALREADY_EXISTS = 6,
  CODE_RESOURCE_EXHAUSTED = 8,
  CODE_FAILED_PRECONDITION = 9,
  CODE_ABORTED = 10,
  CODE_UNIMPLEMENTED = 12,
  CODE_INTERNAL = 13,
  CODE_UNAVAILABLE = 14,
  CODE_DATA_LOSS = 15
};

/* With its NUL. A status message travels percent-encoded, up to three times as
 * long, and TRANSPORT_MESSAGE_MAX bounds that. */
#define ERROR_TEXT_MAX 640
#define ERROR_METADATA_MAX 4
#define ERROR_NAMES_MAX 512 /* bytes of a list of names, with its NUL; "..." for the rest */
#define ERROR_RETRY_BUSY_US 100000  /* what BUSY and STORE_FULL tell a client to wait */
#define ERROR_RETRY_DOWN_US 1000000 /* what BACKEND_DOWN does */

typedef struct error {
  int code; /* CODE_OK = no error */
  const char *reason;
  const char *message;
  const char *field; /* NULL = none */
  int64_t retry_us;  /* 0 = a retry does not help */
  struct {
    const char *key;
    const char *value;
  } metadata[ERROR_METADATA_MAX];
  int metadata_count;
} error;

/* Sets e unless an error is there already: the first, deepest one stays. Returns
 * false, so that a check can end with `return error_set(...)`. */
bool error_set(error *e, arena *a, int code, const char *reason, const char *field,
               const char *format, ...) __attribute__((format(printf, 6, 7)));
/* As error_set with INVALID_ARGUMENT. */
bool error_invalid(error *e, arena *a, const char *reason, const char *field, const char *format,
                   ...) __attribute__((format(printf, 5, 6)));
void error_add(error *e, const char *key, const char *value);
bool error_no_memory(error *e);

/* The one table from a backend's status to what the client sees. repeatable =
 * the write had a request_id. backend is the name in the config. OK sets
 * nothing. */
void error_from_status(error *e, arena *a, mneme_status status, bool repeatable,
                       const char *backend);
/* The BACKEND_DOWN of what spans backends: names, at least one, are those that are
 * down; the details have the list too, separated by commas. */
void error_backends_down(error *e, arena *a, const char *const *names, size_t count);

#endif
