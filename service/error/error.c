/* One table maps what a backend answers to what a client sees, so that the same
 * failure reads the same on every engine. UNAVAILABLE means: repeat the same
 * request; RESOURCE_EXHAUSTED: something must change first. */
#include "error/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>

/* A text that was cut, here or by a "%.64s", may end inside a character. */
static void repair(char *text, size_t size) {
  const uint8_t *bad = (uint8_t *)text;
  while ((bad = u8_check(bad, (size_t)((uint8_t *)text + size - bad))) != NULL)
    text[bad - (uint8_t *)text] = '?';
}

static bool set_v(error *e, arena *a, int code, const char *reason, const char *field,
                  const char *format, va_list args) {
  if (e->code != CODE_OK)
    return false;
  char text[ERROR_TEXT_MAX];
  int size = vsnprintf(text, sizeof text, format, args);
  if (size < 0)
    size = 0;
  if ((size_t)size >= sizeof text)
    size = sizeof text - 1;
  repair(text, (size_t)size);
  char *message = arena_copy(a, text, (size_t)size);
  *e = (error){.code = code,
               .reason = reason,
               .message = message != NULL ? message : "out of memory",
               .field = field};
  return false;
}

bool error_set(error *e, arena *a, int code, const char *reason, const char *field,
               const char *format, ...) {
  va_list args;
  va_start(args, format);
  set_v(e, a, code, reason, field, format, args);
  va_end(args);
  return false;
}

bool error_invalid(error *e, arena *a, const char *reason, const char *field, const char *format,
                   ...) {
  va_list args;
  va_start(args, format);
  set_v(e, a, CODE_INVALID_ARGUMENT, reason, field, format, args);
  va_end(args);
  return false;
}

void error_add(error *e, const char *key, const char *value) {
  if (value == NULL || e->metadata_count == ERROR_METADATA_MAX)
    return;
  e->metadata[e->metadata_count].key = key;
  e->metadata[e->metadata_count].value = value;
  e->metadata_count++;
}

bool error_no_memory(error *e) {
  if (e->code == CODE_OK)
    *e = (error){.code = CODE_RESOURCE_EXHAUSTED,
                 .reason = "NO_MEMORY",
                 .message = "the request takes more memory than the server gives to one call: send "
                            "less at once, or raise limits.arena_max"};
  return false;
}

typedef struct status_row {
  int code;
  const char *reason;
  const char *text; /* %s = the backend's name */
  int64_t retry_us;
} status_row;

static const status_row rows[MNEME_STATUS_COUNT] = {
    [MNEME_NOT_FOUND] = {CODE_NOT_FOUND, "SESSION_NOT_FOUND",
                         "the session does not exist on backend %s", 0},
    [MNEME_EXISTS] = {CODE_ALREADY_EXISTS, "MEMORY_EXISTS",
                      "a memory with this id or key exists: use another one, or on_conflict", 0},
    [MNEME_CONFLICT] = {CODE_ABORTED, "REVISION_MISMATCH",
                        "the expected revision is not the current one: read again and repeat", 0},
    [MNEME_STALE_PLAN] = {CODE_ABORTED, "CONTENTION",
                          "the session's settings kept changing meanwhile: repeat the request", 0},
    [MNEME_REUSED] = {CODE_INVALID_ARGUMENT, "REQUEST_ID_REUSED",
                      "this request_id was used for another request: make a new one for each "
                      "request, and repeat it only with the very same request",
                      0},
    [MNEME_INVALID] = {CODE_INVALID_ARGUMENT, "INVALID_VALUE",
                       "backend %s cannot represent this request", 0},
    [MNEME_TOO_BIG] = {CODE_INVALID_ARGUMENT, "TOO_LARGE",
                       "this is larger than backend %s can store", 0},
    [MNEME_UNSUPPORTED] = {CODE_UNIMPLEMENTED, "BACKEND_UNSUPPORTED",
                           "backend %s does not support this", 0},
    [MNEME_SESSION_FULL] = {CODE_RESOURCE_EXHAUSTED, "SESSION_FULL",
                            "the session is full and its policy lets nothing be evicted: delete "
                            "or unpin memories, or raise the limit",
                            0},
    [MNEME_STORE_FULL] = {CODE_RESOURCE_EXHAUSTED, "STORE_FULL",
                          "backend %s has no room left: free some or add more, then repeat",
                          ERROR_RETRY_BUSY_US},
    [MNEME_BUSY] = {CODE_UNAVAILABLE, "BUSY",
                    "backend %s has a full queue and nothing was begun: repeat the request",
                    ERROR_RETRY_BUSY_US},
    [MNEME_DOWN] = {CODE_UNAVAILABLE, "BACKEND_DOWN",
                    "backend %s cannot be reached and nothing was begun: repeat the request",
                    ERROR_RETRY_DOWN_US},
    [MNEME_UNCERTAIN] = {CODE_UNAVAILABLE, "OUTCOME_UNKNOWN",
                         "backend %s did not say whether the write happened: repeat it with the "
                         "same request_id",
                         ERROR_RETRY_BUSY_US},
    [MNEME_TIMEOUT] = {CODE_DEADLINE_EXCEEDED, "DEADLINE",
                       "the deadline passed: allow more time; repeat a write with the same "
                       "request_id",
                       0},
    [MNEME_CANCELLED] = {CODE_CANCELLED, "CANCELLED", "the caller left", 0},
    [MNEME_NO_MEMORY] = {CODE_RESOURCE_EXHAUSTED, "NO_MEMORY",
                         "backend %s has no memory for this call: send less at once", 0},
    [MNEME_CORRUPT] = {CODE_DATA_LOSS, "CORRUPT",
                       "what backend %s has stored is damaged: restore it from a backup", 0},
    [MNEME_COMPACTED] = {CODE_INTERNAL, "INTERNAL", "backend %s lost its log position", 0},
    [MNEME_MOVED] = {CODE_INTERNAL, "INTERNAL", "the session has moved from backend %s", 0},
    [MNEME_INTERNAL] = {CODE_INTERNAL, "INTERNAL",
                        "backend %s failed in a way it should not: see the server's log", 0},
};

/* The texts are constants of the table above, each with at most one %s. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
static const char *format_row(arena *a, const status_row *row, const char *backend) {
  return arena_printf(a, row->text, backend);
}
#pragma GCC diagnostic pop

void error_from_status(error *e, arena *a, mneme_status status, bool repeatable,
                       const char *backend) {
  if (status == MNEME_OK || e->code != CODE_OK)
    return;
  const status_row *row = &rows[MNEME_INTERNAL];
  if (status > MNEME_OK && status < MNEME_STATUS_COUNT)
    row = &rows[status];
  const char *message = format_row(a, row, backend);
  *e = (error){.code = row->code,
               .reason = row->reason,
               .message = message != NULL ? message : row->text,
               .retry_us = row->retry_us};
  if (status == MNEME_REUSED)
    e->field = "request_id";
  /* Without a request_id a repeat may store the memories twice, so the code must
   * not invite one. */
  if (status == MNEME_UNCERTAIN && !repeatable) {
    e->code = CODE_UNKNOWN;
    e->retry_us = 0;
    e->message = "the outcome of the write is unknown: read the session to see, and send a "
                 "request_id with writes so that they can be repeated";
  }
}

void error_backends_down(error *e, arena *a, const char *const *names, size_t count) {
  char list[ERROR_NAMES_MAX] = "";
  size_t size = 0;
  for (size_t i = 0; i < count; i++) {
    const char *comma = i > 0 ? "," : "";
    /* Always with room for the dots of those that do not fit. */
    if (size + strlen(comma) + strlen(names[i]) + sizeof ",..." > sizeof list) {
      strcpy(list + size, ",...");
      break;
    }
    size += (size_t)sprintf(list + size, "%s%s", comma, names[i]);
  }
  error_set(e, a, CODE_UNAVAILABLE, "BACKEND_DOWN", NULL,
            "backend%s %s cannot be reached and nothing was begun: repeat the request, or set "
            "allow_partial to do without",
            count > 1 ? "s" : "", list);
  e->retry_us = ERROR_RETRY_DOWN_US;
  error_add(e, "backends", arena_copy(a, list, strlen(list)));
}
