/* Structured logs: one event a line, as text or JSON, to standard error.
 *
 *   log_event(LOG_WARN, "backend is down", log_string("backend", name, size),
 *             log_int("retry_ms", 250), log_end());
 *
 * Every control character, quote and invalid UTF-8 byte in a value is escaped:
 * whatever a client sends, a line stays one line (and one valid JSON object).
 * Values are cut at LOG_VALUE_MAX bytes, marked with "...". Never pass content of
 * memories, metadata, tokens or passwords.
 *
 * Threads: any. A line is written with one write(2). */
#ifndef MNEME_BASE_LOG_H
#define MNEME_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_VALUE_MAX 1024  /* bytes of one value */
#define LOG_LINE_MAX 8192   /* bytes of one line; fields beyond it are left out */
#define LOG_FIELDS_MAX 16

typedef enum log_level { LOG_DEBUG = 0, LOG_INFO = 1, LOG_WARN = 2, LOG_ERROR = 3 } log_level;
typedef enum log_format { LOG_TEXT = 0, LOG_JSON = 1 } log_format;

typedef enum log_field_type { LOG_FIELD_END = 0, LOG_FIELD_STRING, LOG_FIELD_INT } log_field_type;

typedef struct log_field {
  log_field_type type;
  const char *key; /* a C identifier, from the source */
  const char *data;
  size_t size;
  int64_t number;
} log_field;

static inline log_field log_string(const char *key, const char *data, size_t size) {
  return (log_field){LOG_FIELD_STRING, key, data, size, 0};
}
log_field log_text(const char *key, const char *text); /* ends in NUL; NULL = "" */
static inline log_field log_int(const char *key, int64_t number) {
  return (log_field){LOG_FIELD_INT, key, 0, 0, number};
}
static inline log_field log_end(void) {
  return (log_field){LOG_FIELD_END, 0, 0, 0, 0};
}

/* Process-wide; call once at start, before threads. Default: INFO, TEXT. */
void log_setup(log_level level, log_format format);
bool log_enabled(log_level level);
/* message comes from the source; what comes from outside goes into fields. The
 * last argument is log_end(). */
void log_event(log_level level, const char *message, ...);

/* The escaping itself, for tests: writes at most size - 1 bytes and a NUL and
 * returns the length. */
size_t log_escape(char *out, size_t size, const char *data, size_t data_size);

#endif
