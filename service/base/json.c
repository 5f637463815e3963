/* Numbers: printf with 15, 16 and 17 digits, the first that strtod reads back.
 * 17 always do. With 15 the trailing zeros that %g drops leave the shortest
 * decimal there is, so nothing below 15 needs to be tried. */
#include "base/json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTEGRAL_MAX 9007199254740992.0 /* 2^53 */

json_sink json_gather(arena *a, size_t guess) {
  json_sink s = {.arena = a, .out = arena_alloc(a, guess + 1), .room = guess};
  s.failed = s.out == NULL;
  return s;
}

json_sink json_compare(const char *expect, size_t size) {
  return (json_sink){.expect = expect, .room = size};
}

static void grow(json_sink *s, size_t size) {
  size_t room = (s->size + size) * 2;
  char *out = arena_alloc(s->arena, room + 1);
  s->failed = out == NULL;
  if (s->failed)
    return;
  memcpy(out, s->out, s->size);
  s->out = out;
  s->room = room;
}

void json_raw(json_sink *s, const char *text, size_t size) {
  if (s->failed || size == 0)
    return;
  if (s->arena == NULL) {
    s->failed = size > s->room - s->size || memcmp(s->expect + s->size, text, size) != 0;
    s->size += s->failed ? 0 : size;
    return;
  }
  if (size > s->room - s->size)
    grow(s, size);
  if (s->failed)
    return;
  memcpy(s->out + s->size, text, size);
  s->size += size;
}

void json_string(json_sink *s, const char *text, size_t size) {
  size_t plain = 0; /* where the piece without escapes begins */
  json_raw(s, "\"", 1);
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    char escape[8];
    int length = c < 0x20 ? snprintf(escape, sizeof escape, "\\u%04x", c)
                          : snprintf(escape, sizeof escape, "\\%c", c);
    json_raw(s, text + plain, i - plain);
    json_raw(s, escape, (size_t)length);
    plain = i + 1;
  }
  json_raw(s, text + plain, size - plain);
  json_raw(s, "\"", 1);
}

size_t json_format(double number, char out[JSON_NUMBER_MAX]) {
  if (fabs(number) < INTEGRAL_MAX && number == trunc(number))
    return (size_t)snprintf(out, JSON_NUMBER_MAX, "%lld", (long long)number);
  int length = 0;
  for (int digits = 15; digits <= 17; digits++) {
    length = snprintf(out, JSON_NUMBER_MAX, "%.*g", digits, number);
    if (strtod(out, NULL) == number)
      break;
  }
  return (size_t)length;
}

void json_number(json_sink *s, double number) {
  char text[JSON_NUMBER_MAX];
  json_raw(s, text, json_format(number, text));
}

const char *json_text(const json_sink *s, size_t *ret_size) {
  if (s->failed)
    return NULL;
  s->out[s->size] = '\0';
  *ret_size = s->size;
  return s->out;
}

bool json_same(const json_sink *s) {
  return !s->failed && s->size == s->room;
}
