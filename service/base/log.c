/* A line is built on the stack and leaves in one write(2), so no lock is needed
 * and lines of several threads do not mix (on a pipe: up to PIPE_BUF bytes).
 *
 *   value from outside --log_escape--> scratch --fits?--> line --write--> stderr
 *
 * Both formats escape the same way: as inside a JSON string. Beyond what JSON
 * demands that covers DEL and the C1 controls (a terminal obeys them as it obeys
 * ESC), the line and paragraph separators (some viewers break lines there), and
 * the marks that reorder text (a name must not be able to rewrite the line it
 * stands in). An invalid byte becomes \ufffd: JSON has no way to carry it.
 *
 * A field enters a line whole or not at all; how many had no room is told by
 * left_out. LEFT_OUT_ROOM bytes are kept free for that and for the closing. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <unistr.h>

#include "base/clock.h"

#define LEFT_OUT_ROOM 32                           /* ,"left_out":16} and a newline */
#define ESCAPED_VALUE_MAX (6 * LOG_VALUE_MAX + 16) /* \u00XX for each byte, "...", NUL */
#define MARK "..."

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

/* Written once at start, before there are threads. */
static log_level setup_level = LOG_INFO;
static log_format setup_format = LOG_TEXT;

void log_setup(log_level level, log_format format) {
  setup_level = level;
  setup_format = format;
}

bool log_enabled(log_level level) {
  return level >= setup_level;
}

log_field log_text(const char *key, const char *text) {
  return log_string(key, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
}

/* --- Escaping ------------------------------------------------------------ */

static bool must_escape(ucs4_t c) {
  return c < 0x20 || c == '"' || c == '\\' || (c >= 0x7f && c <= 0x9f) || c == 0x61c ||
         (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb);
}

/* One character of data as it shall stand in the line; the bytes it took. */
static size_t escape_one(const char *data, size_t data_size, char ret_piece[8],
                         size_t *ret_piece_size) {
  ucs4_t c;
  int taken = u8_mbtoucr(&c, (const uint8_t *)data, data_size);
  if (taken <= 0) {
    memcpy(ret_piece, "\\ufffd", 6);
    *ret_piece_size = 6;
    return 1;
  }
  if (!must_escape(c)) {
    memcpy(ret_piece, data, (size_t)taken);
    *ret_piece_size = (size_t)taken;
    return (size_t)taken;
  }
  static const char short_from[] = "\"\\\n\r\t";
  static const char short_to[] = "\"\\nrt";
  const char *at = c < 0x80 && c != 0 ? strchr(short_from, (int)c) : NULL;
  if (at != NULL) {
    ret_piece[0] = '\\';
    ret_piece[1] = short_to[at - short_from];
    *ret_piece_size = 2;
  } else { /* all that must_escape names lies below 0x10000 */
    *ret_piece_size = (size_t)snprintf(ret_piece, 8, "\\u%04x", (unsigned)c);
  }
  return (size_t)taken;
}

size_t log_escape(char *out, size_t size, const char *data, size_t data_size) {
  const size_t mark_size = sizeof MARK - 1;
  if (size == 0)
    return 0;
  size_t length = 0;
  size_t with_mark = 0; /* where the mark goes, should the value have to be cut */
  size_t at = 0;
  while (at < data_size) {
    char piece[8];
    size_t piece_size;
    size_t taken = escape_one(data + at, data_size - at, piece, &piece_size);
    if (at + taken > LOG_VALUE_MAX || length + piece_size > size - 1)
      break;
    memcpy(out + length, piece, piece_size);
    length += piece_size;
    at += taken;
    if (length + mark_size <= size - 1)
      with_mark = length;
  }
  if (at < data_size) {
    length = with_mark;
    if (length + mark_size <= size - 1) {
      memcpy(out + length, MARK, mark_size);
      length += mark_size;
    }
  }
  out[length] = '\0';
  return length;
}

/* --- Lines --------------------------------------------------------------- */

typedef struct line {
  char data[LOG_LINE_MAX];
  size_t size;
} line;

/* All or nothing; room is what must stay free behind it. */
static bool line_add(line *l, size_t room, const char *text, size_t size) {
  if (size + room > sizeof l->data - l->size)
    return false;
  memcpy(l->data + l->size, text, size);
  l->size += size;
  return true;
}

static void line_begin(line *l, log_level level, const char *message) {
  int64_t now_us = clock_wall_us();
  time_t seconds = (time_t)(now_us / 1000000);
  struct tm t;
  gmtime_r(&seconds, &t);
  char time[40];
  size_t used = strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &t);
  snprintf(time + used, sizeof time - used, ".%06dZ", (int)(now_us % 1000000));

  char text[ESCAPED_VALUE_MAX];
  log_escape(text, sizeof text, message, strlen(message));
  const char *form = setup_format == LOG_JSON
                       ? "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"%s\""
                       : "%s %s %s";
  int size = snprintf(l->data, sizeof l->data, form, time, level_names[level], text);
  l->size = size < 0 ? 0 : (size_t)size; /* a message is shorter than a line */
}

static bool line_add_field(line *l, const log_field *field) {
  char value[ESCAPED_VALUE_MAX];
  char text[ESCAPED_VALUE_MAX + 128];
  const char *lead = setup_format == LOG_JSON ? ",\"" : " ";
  const char *between = setup_format == LOG_JSON ? "\":" : "=";
  int size;
  if (field->type == LOG_FIELD_INT) {
    size = snprintf(text, sizeof text, "%s%s%s%" PRId64, lead, field->key, between, field->number);
  } else {
    log_escape(value, sizeof value, field->data, field->size);
    size = snprintf(text, sizeof text, "%s%s%s\"%s\"", lead, field->key, between, value);
  }
  return size > 0 && (size_t)size < sizeof text && line_add(l, LEFT_OUT_ROOM, text, (size_t)size);
}

static void line_write(const line *l) {
  size_t done = 0;
  while (done < l->size) {
    ssize_t n = write(STDERR_FILENO, l->data + done, l->size - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return; /* there is nowhere left to say so */
    done += (size_t)n;
  }
}

void log_event(log_level level, const char *message, ...) {
  if (!log_enabled(level))
    return;
  int saved_errno = errno;
  line l;
  line_begin(&l, level, message);

  int left_out = 0;
  va_list fields;
  va_start(fields, message);
  for (int i = 0; i <= LOG_FIELDS_MAX; i++) {
    log_field field = va_arg(fields, log_field);
    if (field.type == LOG_FIELD_END)
      break;
    if (i == LOG_FIELDS_MAX || !line_add_field(&l, &field))
      left_out++;
  }
  va_end(fields);

  if (left_out > 0) {
    char text[LEFT_OUT_ROOM];
    int size = snprintf(text, sizeof text, setup_format == LOG_JSON ? ",\"left_out\":%d" : " left_out=%d",
                        left_out);
    line_add(&l, 2, text, (size_t)size);
  }
  if (setup_format == LOG_JSON)
    line_add(&l, 1, "}", 1);
  line_add(&l, 0, "\n", 1);
  line_write(&l);
  errno = saved_errno;
}
