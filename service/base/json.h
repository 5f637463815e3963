/* Canonical JSON, piece by piece: no white space, strings with no escapes but
 * \" \\ and \u00xx for control characters, integral numbers below 2^53 as
 * integers and any other in the fewest digits that read back as the same double,
 * -0 as 0. The caller brings the brackets and commas, and keys in order of bytes.
 *
 * A sink either gathers the text in an arena, or compares it with a text that is
 * there already without making it: so "is this value that text" has no second
 * definition beside the one of the writer.
 *
 * Ownership: what json_text gives lies in the arena. Threads: any. */
#ifndef MNEME_BASE_JSON_H
#define MNEME_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

#define JSON_NUMBER_MAX 32 /* bytes of a number, with a NUL */

typedef struct json_sink {
  arena *arena;       /* NULL = compares */
  char *out;          /* gathers here */
  const char *expect; /* or compares with this */
  size_t size;        /* so far */
  size_t room;        /* of out, or the size of expect */
  bool failed;        /* no memory, or another text */
} json_sink;

/* guess = bytes that will do in most cases. */
json_sink json_gather(arena *a, size_t guess);
json_sink json_compare(const char *expect, size_t size);

void json_raw(json_sink *s, const char *text, size_t size);
/* With its quotes. text is valid UTF-8. */
void json_string(json_sink *s, const char *text, size_t size);
/* Finite. */
void json_number(json_sink *s, double number);
/* The same on its own: ends in NUL; returns its length. */
size_t json_format(double number, char out[JSON_NUMBER_MAX]);

/* NULL = no memory. Of a sink that gathers. */
const char *json_text(const json_sink *s, size_t *ret_size);
/* Of a sink that compares: whether that was the whole text. */
bool json_same(const json_sink *s);

#endif
