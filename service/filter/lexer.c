/* Tokens by hand. A name takes its path along (metadata."a.b".c is one token),
 * because a path has no white space inside and its quoted parts are keys, not
 * values. Whatever begins with a digit or "-" runs on over letters, digits and
 * the signs that numbers, times and durations have in them: literal.c says which
 * of them it is, or that it is none, with the whole run in view. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>

#include "filter/internal.h"

#define TEXT_MAX 512 /* of what a refusal says */

/* --- Refusals ------------------------------------------------------------ */

static bool refuse_v(parser *p, size_t at, const char *reason, const char *format, va_list args) {
  char text[TEXT_MAX];
  vsnprintf(text, sizeof text, format, args);
  if (p->error->code != CODE_OK)
    return false; /* the first one stays */
  error_invalid(p->error, p->arena, reason, "filter", "filter: byte %zu: %s", at + 1, text);
  error_add(p->error, "position", arena_printf(p->arena, "%zu", at + 1));
  return false;
}

bool parser_refuse(parser *p, size_t at, const char *format, ...) {
  va_list args;
  va_start(args, format);
  refuse_v(p, at, "FILTER_INVALID", format, args);
  va_end(args);
  return false;
}

bool parser_too_large(parser *p, size_t at, const char *format, ...) {
  va_list args;
  va_start(args, format);
  refuse_v(p, at, "TOO_LARGE", format, args);
  va_end(args);
  return false;
}

/* --- Characters ---------------------------------------------------------- */

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* The byte at a place, NUL behind the end: the text itself has none. */
static char byte_at(const parser *p, size_t at) {
  return at < p->text.size ? p->text.data[at] : '\0';
}

/* --- Strings ------------------------------------------------------------- */

static bool read_hex4(const parser *p, size_t at, uint32_t *ret) {
  *ret = 0;
  for (size_t i = at; i < at + 4; i++) {
    char c = byte_at(p, i), low = (char)(c | 0x20);
    int digit = is_digit(c) ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
    if (digit < 0)
      return false;
    *ret = *ret << 4 | (uint32_t)digit;
  }
  return true;
}

/* \uXXXX, and a second one where the first is half of a pair; at is behind the
 * "u". Returns how many bytes it took, 0 = refused. */
static size_t read_unicode(parser *p, size_t at, uint32_t *ret) {
  uint32_t low;
  if (!read_hex4(p, at, ret)) {
    parser_refuse(p, at - 2, "\\u takes four hexadecimal digits");
    return 0;
  }
  if (*ret == 0) {
    parser_refuse(p, at - 2, "\\u0000: no text has a NUL in it");
    return 0;
  }
  if (*ret < 0xD800 || *ret > 0xDFFF)
    return 4;
  if (*ret < 0xDC00 && byte_at(p, at + 4) == '\\' && byte_at(p, at + 5) == 'u' &&
      read_hex4(p, at + 6, &low) && low >= 0xDC00 && low <= 0xDFFF) {
    *ret = 0x10000 + ((*ret - 0xD800) << 10) + (low - 0xDC00);
    return 10;
  }
  parser_refuse(p, at - 2, "half of a surrogate pair is no character");
  return 0;
}

/* The escape at p->at, which is a backslash. Moves behind it and writes what it
 * stands for, at most six bytes; 0 = refused. */
static size_t read_escape(parser *p, char *out) {
  static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
  size_t at = p->at;
  char c = byte_at(p, at + 1);
  const char *found = c != '\0' ? strchr(from, c) : NULL;
  if (found != NULL) {
    *out = to[found - from];
    p->at += 2;
    return 1;
  }
  if (c != 'u') {
    parser_refuse(p, at, "an unknown escape: a backslash in a string is written \\\\");
    return 0;
  }
  uint32_t code;
  size_t took = read_unicode(p, at + 2, &code);
  if (took == 0)
    return 0;
  p->at += 2 + took;
  return (size_t)u8_uctomb((uint8_t *)out, code, 6);
}

/* Where the string whose first byte is at p->at ends: at its quote. false = it does
 * not end. */
static bool find_quote(const parser *p, char quote, size_t *ret_end, bool *ret_escapes) {
  *ret_escapes = false;
  for (size_t at = p->at; at < p->text.size; at++) {
    if (p->text.data[at] == quote) {
      *ret_end = at;
      return true;
    }
    if (p->text.data[at] == '\\') {
      *ret_escapes = true;
      at++;
    }
  }
  return false;
}

/* From its opening quote on; a string without escapes is borrowed. */
static bool read_string(parser *p, mneme_bytes *ret) {
  size_t begin = p->at, end, size = 0;
  char quote = p->text.data[p->at++];
  bool escapes;
  if (!find_quote(p, quote, &end, &escapes))
    return parser_refuse(p, begin, "a string begins here and does not end: close it with %c",
                         quote);
  if (!escapes) {
    *ret = mneme_bytes_of(p->text.data + p->at, end - p->at);
    p->at = end + 1;
    return true;
  }
  char *out = arena_alloc(p->arena, end - begin + 8); /* nothing gets longer by being read */
  if (out == NULL)
    return error_no_memory(p->error);
  while (p->at < end) {
    size_t took = 1;
    if (p->text.data[p->at] == '\\')
      took = read_escape(p, out + size);
    else
      out[size] = p->text.data[p->at++];
    if (took == 0)
      return false;
    size += took;
  }
  p->at = end + 1;
  *ret = mneme_bytes_of(out, size);
  return true;
}

/* --- Names --------------------------------------------------------------- */

static bool read_segment(parser *p, mneme_bytes *ret) {
  size_t begin = p->at;
  if (byte_at(p, p->at) == '"' || byte_at(p, p->at) == '\'')
    return read_string(p, ret);
  if (!is_letter(byte_at(p, p->at)) && !is_digit(byte_at(p, p->at)))
    return parser_refuse(p, p->at,
                         "a key is expected behind the dot: letters, digits, _ and -, or any text "
                         "in quotes");
  while (is_letter(byte_at(p, p->at)) || is_digit(byte_at(p, p->at)) || byte_at(p, p->at) == '-')
    p->at++;
  *ret = mneme_bytes_of(p->text.data + begin, p->at - begin);
  return true;
}

static bool read_name(parser *p, token *t) {
  size_t begin = p->at;
  while (is_letter(byte_at(p, p->at)) || is_digit(byte_at(p, p->at)))
    p->at++;
  t->kind = TOKEN_NAME;
  t->text = mneme_bytes_of(p->text.data + begin, p->at - begin);
  if (byte_at(p, p->at) != '.')
    return true;
  mneme_bytes *path = arena_alloc(p->arena, MNEME_FILTER_PATH_MAX * sizeof *path);
  if (path == NULL)
    return error_no_memory(p->error);
  t->path = path;
  while (byte_at(p, p->at) == '.') {
    if (t->path_count == MNEME_FILTER_PATH_MAX)
      return parser_too_large(p, p->at, "more than %d keys in a path: metadata is no deeper",
                              MNEME_FILTER_PATH_MAX);
    p->at++;
    if (!read_segment(p, &path[t->path_count++]))
      return false;
  }
  return true;
}

static void read_scalar(parser *p, token *t) {
  size_t begin = p->at++;
  for (char c = byte_at(p, p->at); is_letter(c) || is_digit(c) || (c != '\0' && strchr("+-.:", c));
       c = byte_at(p, p->at))
    p->at++;
  t->kind = TOKEN_SCALAR;
  t->text = mneme_bytes_of(p->text.data + begin, p->at - begin);
}

/* --- Signs --------------------------------------------------------------- */

static const struct {
  const char *sign;
  token_kind kind;
} signs[] = {
    {"!=", TOKEN_NE},  {"<=", TOKEN_LE},    {">=", TOKEN_GE},       {"=", TOKEN_EQ},
    {"<", TOKEN_LT},   {">", TOKEN_GT},     {":", TOKEN_COLON},     {"~", TOKEN_TILDE},
    {"*", TOKEN_STAR}, {",", TOKEN_COMMA},  {"(", TOKEN_OPEN},      {")", TOKEN_CLOSE},
    {"[", TOKEN_LIST}, {"]", TOKEN_LIST_END}, {"{", TOKEN_OBJECT}, {"}", TOKEN_OBJECT_END},
};

/* What other languages write, and what it is here. */
static const struct {
  const char *sign;
  const char *text;
} foreign[] = {
    {"==", "== is written ="},     {"<>", "<> is written !="},  {"&", "write AND instead of &"},
    {"|", "write OR instead of |"}, {"=~", "=~ is written ~"},  {"!~", "write NOT field ~ \"..\""},
    {"!", "write NOT instead of !"}, {"+", "a number is written without +"},
    {".", "a number begins with a digit: 0.5"},
};

static bool begins(const parser *p, const char *sign) {
  size_t size = strlen(sign);
  return p->text.size - p->at >= size && memcmp(p->text.data + p->at, sign, size) == 0;
}

static bool read_sign(parser *p, token *t) {
  bool negates = begins(p, "!=") && !begins(p, "!=="); /* of "!" and "!=" the longer */
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign && !negates; i++)
    if (begins(p, foreign[i].sign))
      return parser_refuse(p, p->at, "%s", foreign[i].text);
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
    if (begins(p, signs[i].sign)) {
      t->kind = signs[i].kind;
      p->at += strlen(signs[i].sign);
      return true;
    }
  return parser_refuse(p, p->at, "a character that means nothing here: text stands in quotes");
}

/* --- Tokens -------------------------------------------------------------- */

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool parser_next(parser *p) {
  while (is_space(byte_at(p, p->at)))
    p->at++;
  token t = {.kind = TOKEN_END, .at = p->at};
  char c = byte_at(p, p->at);
  bool fine = true;
  if (c == '\0')
    fine = true;
  else if (is_letter(c))
    fine = read_name(p, &t);
  else if (c == '"' || c == '\'') {
    t.kind = TOKEN_STRING;
    fine = read_string(p, &t.text);
  } else if (is_digit(c) || c == '-')
    read_scalar(p, &t);
  else
    fine = read_sign(p, &t);
  t.size = p->at - t.at;
  p->token = t;
  return fine;
}
