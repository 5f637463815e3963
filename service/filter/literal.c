/* Values as they are written. A list or an object becomes its canonical JSON at
 * once: equality of such values is equality of that text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "filter/internal.h"

/* --- Numbers ------------------------------------------------------------- */

#define POWER_MAX 1000000 /* beyond every double */

/* -123.4e5 taken apart: digits without leading and trailing zeros, and the power
 * of ten in front of the first of them. */
typedef struct decimal {
  char digits[FILTER_NUMBER_MAX + 1];
  int count;
  long point; /* 0.digits * 10^point */
} decimal;

static const char *skip_digits(const char *c) {
  while (*c >= '0' && *c <= '9')
    c++;
  return c;
}

/* The grammar of JSON; text ends in NUL. */
static bool is_number(const char *text) {
  const char *c = text + (*text == '-');
  const char *end = skip_digits(c);
  if (end == c || (*c == '0' && end > c + 1))
    return false;
  if (*end == '.') {
    c = end + 1;
    end = skip_digits(c);
    if (end == c)
      return false;
  }
  if (*end == 'e' || *end == 'E') {
    c = end + 1;
    c += *c == '+' || *c == '-';
    end = skip_digits(c);
    if (end == c)
      return false;
  }
  return *end == '\0';
}

/* Of a text that is_number, or of what printf made with %e. */
static decimal take_apart(const char *text) {
  decimal d = {.count = 0};
  bool fraction = false;
  const char *c = text + (*text == '-');
  for (; *c != '\0' && *c != 'e' && *c != 'E'; c++) {
    if (*c == '.') {
      fraction = true;
      continue;
    }
    if (d.count == 0 && *c == '0') {
      d.point -= fraction;
      continue;
    }
    d.digits[d.count++] = *c;
    d.point += !fraction;
  }
  long power = *c != '\0' ? strtol(c + 1, NULL, 10) : 0;
  d.point += power > POWER_MAX ? POWER_MAX : power < -POWER_MAX ? -POWER_MAX : power;
  while (d.count > 0 && d.digits[d.count - 1] == '0')
    d.count--;
  if (d.count == 0)
    d.point = 0;
  return d;
}

static bool same_decimal(const decimal *a, const decimal *b) {
  return a->count == b->count && a->point == b->point &&
         memcmp(a->digits, b->digits, (size_t)a->count) == 0;
}

/* An integer must be held exactly: printed with FILTER_NUMBER_MAX digits, all that
 * it can have, it is what was written. A number with a point or an exponent must
 * read back: printed with as many digits as were written it is what was written.
 * So what any library prints of a double is taken, 1e+23 too. */
static bool is_held(const char *text, double number) {
  char printed[FILTER_NUMBER_MAX + 16];
  decimal wanted = take_apart(text);
  if (wanted.count == 0)
    return true;
  bool integral = strpbrk(text, ".eE") == NULL;
  snprintf(printed, sizeof printed, "%.*e", integral ? FILTER_NUMBER_MAX - 1 : wanted.count - 1,
           number);
  decimal held = take_apart(printed);
  return same_decimal(&wanted, &held);
}

static bool read_number(parser *p, const char *text, operand *ret) {
  size_t at = ret->token.at;
  ret->kind = OPERAND_NUMBER;
  ret->number = strtod(text, NULL);
  if (isfinite(ret->number) && is_held(text, ret->number))
    return true;
  char nearest[JSON_NUMBER_MAX];
  if (!isfinite(ret->number))
    return parser_refuse(p, at,
                         "this number is beyond the largest double, 1.7976931348623157e+308");
  if (fabs(ret->number) < 1e21 && ret->number == trunc(ret->number))
    snprintf(nearest, sizeof nearest, "%.0f", ret->number);
  else
    json_format(ret->number, nearest);
  return parser_refuse(p, at,
                       "numbers are doubles and none holds this one exactly: write %s, or keep "
                       "long numbers as strings",
                       nearest);
}

/* --- Times and durations ------------------------------------------------- */

static bool read_digits(mneme_bytes text, size_t at, size_t count, int *ret) {
  *ret = 0;
  if (at + count > text.size)
    return false;
  for (size_t i = at; i < at + count; i++) {
    if (text.data[i] < '0' || text.data[i] > '9')
      return false;
    *ret = *ret * 10 + (text.data[i] - '0');
  }
  return true;
}

static bool is_one_of(mneme_bytes text, size_t at, const char *chars) {
  return at < text.size && text.data[at] != '\0' && strchr(chars, text.data[at]) != NULL;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar (Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms"). */
static int64_t days_of(int year, int month, int day) {
  int64_t y = year - (month <= 2);
  int64_t era = y / 400, of_era = y - era * 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int days_in(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return days[month - 1] + (month == 2 && leap);
}

/* ".123456" at *at, which moves behind it. What is kept has microseconds. */
static bool read_fraction(mneme_bytes text, size_t *at, int64_t *ret_us, const char **ret_problem) {
  size_t begin = ++*at;
  int64_t unit = 100000;
  for (; *at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9'; ++*at) {
    int digit = text.data[*at] - '0';
    if (unit == 0 && digit != 0) {
      *ret_problem = "times are kept in microseconds: write at most six digits of a second";
      return false;
    }
    *ret_us += digit * unit;
    unit /= 10;
  }
  return *at > begin;
}

/* "Z" or "+01:00" at a place, and nothing behind it. */
static bool read_zone(mneme_bytes text, size_t at, int64_t *ret_minutes) {
  int hours, minutes;
  if (is_one_of(text, at, "Zz"))
    return at + 1 == text.size;
  if (!is_one_of(text, at, "+-") || !read_digits(text, at + 1, 2, &hours) ||
      !is_one_of(text, at + 3, ":") || !read_digits(text, at + 4, 2, &minutes) ||
      at + 6 != text.size || hours > 23 || minutes > 59)
    return false;
  *ret_minutes = (text.data[at] == '-' ? -1 : 1) * (hours * 60 + minutes);
  return true;
}

bool literal_time(mneme_bytes text, int64_t *ret_us, const char **ret_problem) {
  int year, month, day, hour, minute, second;
  int64_t us = 0, zone = 0;
  size_t at = 19;
  *ret_problem = "a time is written 2026-01-31T10:00:00Z (RFC 3339)";
  if (!read_digits(text, 0, 4, &year) || !is_one_of(text, 4, "-") ||
      !read_digits(text, 5, 2, &month) || !is_one_of(text, 7, "-") ||
      !read_digits(text, 8, 2, &day) || !is_one_of(text, 10, "Tt") ||
      !read_digits(text, 11, 2, &hour) || !is_one_of(text, 13, ":") ||
      !read_digits(text, 14, 2, &minute) || !is_one_of(text, 16, ":") ||
      !read_digits(text, 17, 2, &second))
    return false;
  if (is_one_of(text, at, ".") && !read_fraction(text, &at, &us, ret_problem))
    return false;
  if (!read_zone(text, at, &zone))
    return false;
  *ret_problem = "there is no such time";
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 ||
      minute > 59 || second > 59)
    return false;
  int64_t minutes = days_of(year, month, day) * 1440 + hour * 60 + minute - zone;
  *ret_us = (minutes * 60 + second) * 1000000 + us;
  return true;
}

static const struct {
  const char *name;
  int64_t us;
} units[] = {
    {"d", INT64_C(86400000000)}, {"h", INT64_C(3600000000)}, {"ms", 1000}, {"m", 60000000},
    {"s", 1000000},              {"us", 1},
};

static int64_t unit_of(const char *name, size_t size) {
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (strlen(units[i].name) == size && memcmp(units[i].name, name, size) == 0)
      return units[i].us;
  return 0;
}

/* 1h30m: a sum of numbers with units. false = it has another form. */
static bool read_duration(const char *text, int64_t *ret_us, bool *ret_fits) {
  const int64_t max = FILTER_AGE_MAX_DAYS * INT64_C(86400000000);
  int64_t sum = 0;
  *ret_fits = true;
  for (const char *c = text; *c != '\0';) {
    const char *end = skip_digits(c);
    size_t letters = strcspn(end, "0123456789");
    int64_t unit = unit_of(end, letters);
    if (end == c || unit == 0)
      return false;
    int64_t count = 0;
    for (; c < end; c++)
      count = count > max ? count : count * 10 + (*c - '0');
    if (count > (max - sum) / unit)
      *ret_fits = false;
    else
      sum += count * unit;
    c = end + letters;
  }
  *ret_us = sum;
  return true;
}

static bool read_scalar(parser *p, operand *ret) {
  char text[FILTER_NUMBER_MAX + 1];
  size_t size = ret->token.text.size;
  const char *problem;
  bool fits;
  if (size > FILTER_NUMBER_MAX)
    return parser_too_large(p, ret->token.at, "more than %d characters in a number",
                            FILTER_NUMBER_MAX);
  memcpy(text, ret->token.text.data, size);
  text[size] = '\0';
  if (is_number(text))
    return read_number(p, text, ret);
  if (size > 4 && text[4] == '-' && skip_digits(text) == text + 4) {
    ret->kind = OPERAND_TIME;
    return literal_time(ret->token.text, &ret->us, &problem) ||
           parser_refuse(p, ret->token.at, "%s", problem);
  }
  if (!read_duration(text, &ret->us, &fits))
    return parser_refuse(p, ret->token.at,
                         "\"%.*s\" is no number, no time (2026-01-31T10:00:00Z) and no duration "
                         "(30d, 1h30m): text stands in quotes",
                         SHOWN(ret->token, p));
  ret->kind = OPERAND_DURATION;
  return fits || parser_refuse(p, ret->token.at, "a duration has at most %dd",
                               FILTER_AGE_MAX_DAYS);
}

/* --- Lists and objects --------------------------------------------------- */

static bool put_value(parser *p, json_sink *s);

typedef struct member member;
struct member {
  member *next;
  size_t at;
  mneme_bytes key;
  mneme_bytes json; /* "key":value */
};

static bool no_memory(parser *p) {
  return error_no_memory(p->error);
}

static bool expect_close(parser *p, token_kind close, const char *sign, size_t opened) {
  if (p->token.kind == close)
    return parser_next(p);
  return parser_refuse(p, p->token.at, "a comma or %s is expected, for what begins at byte %zu",
                       sign, opened + 1);
}

static bool put_list(parser *p, json_sink *s) {
  size_t opened = p->token.at;
  if (!parser_next(p))
    return false;
  json_raw(s, "[", 1);
  for (bool first = true; p->token.kind != TOKEN_LIST_END; first = false) {
    if (!first && (p->token.kind != TOKEN_COMMA || !parser_next(p)))
      break;
    json_raw(s, ",", first ? 0 : 1);
    if (!put_value(p, s))
      return false;
  }
  json_raw(s, "]", 1);
  return p->error->code == CODE_OK && expect_close(p, TOKEN_LIST_END, "]", opened);
}

static bool read_member(parser *p, member *m) {
  if (p->token.kind != TOKEN_STRING)
    return parser_refuse(p, p->token.at, "a key in quotes is expected: {\"key\": value}");
  m->at = p->token.at;
  m->key = p->token.text;
  if (!parser_next(p))
    return false;
  if (p->token.kind != TOKEN_COLON)
    return parser_refuse(p, p->token.at, "a colon is expected behind a key: {\"key\": value}");
  if (!parser_next(p))
    return false;
  json_sink s = json_gather(p->arena, m->key.size + 32);
  json_string(&s, m->key.data, m->key.size);
  json_raw(&s, ":", 1);
  if (!put_value(p, &s))
    return false;
  m->json.data = json_text(&s, &m->json.size);
  return m->json.data != NULL || no_memory(p);
}

static int by_key(const void *a, const void *b) {
  mneme_bytes x = (*(member *const *)a)->key, y = (*(member *const *)b)->key;
  return bytes_compare(x.data, x.size, y.data, y.size);
}

static bool put_members(parser *p, json_sink *s, member *first, size_t count) {
  member **sorted = arena_calloc(p->arena, count + 1, sizeof *sorted);
  if (sorted == NULL)
    return no_memory(p);
  for (size_t i = 0; i < count; i++, first = first->next)
    sorted[i] = first;
  qsort(sorted, count, sizeof *sorted, by_key);
  json_raw(s, "{", 1);
  for (size_t i = 0; i < count; i++) {
    if (i > 0 && by_key(&sorted[i - 1], &sorted[i]) == 0)
      return parser_refuse(p, sorted[i]->at > sorted[i - 1]->at ? sorted[i]->at : sorted[i - 1]->at,
                           "the same key twice in one object");
    json_raw(s, ",", i > 0 ? 1 : 0);
    json_raw(s, sorted[i]->json.data, sorted[i]->json.size);
  }
  json_raw(s, "}", 1);
  return true;
}

static bool put_object(parser *p, json_sink *s) {
  size_t opened = p->token.at, count = 0;
  member *first = NULL;
  if (!parser_next(p))
    return false;
  while (p->token.kind != TOKEN_OBJECT_END) {
    if (first != NULL && (p->token.kind != TOKEN_COMMA || !parser_next(p)))
      break;
    member *m = arena_alloc(p->arena, sizeof *m);
    if (m == NULL)
      return no_memory(p);
    if (!read_member(p, m))
      return false;
    m->next = first;
    first = m;
    count++;
  }
  return p->error->code == CODE_OK && expect_close(p, TOKEN_OBJECT_END, "}", opened) &&
         put_members(p, s, first, count);
}

static bool put_nested(parser *p, json_sink *s) {
  if (++p->value_depth > FILTER_DEPTH_MAX)
    return parser_too_large(p, p->token.at, "lists and objects nested more than %d deep",
                            FILTER_DEPTH_MAX);
  bool fine = p->token.kind == TOKEN_LIST ? put_list(p, s) : put_object(p, s);
  p->value_depth--;
  return fine;
}

/* A value inside a list or an object. */
static bool put_value(parser *p, json_sink *s) {
  operand o;
  if (p->token.kind == TOKEN_LIST || p->token.kind == TOKEN_OBJECT)
    return put_nested(p, s);
  if (!parser_value(p, &o))
    return false;
  switch (o.kind) {
  case OPERAND_STRING: json_string(s, o.text.data, o.text.size); break;
  case OPERAND_NUMBER: json_number(s, o.number); break;
  case OPERAND_BOOL: json_raw(s, o.boolean ? "true" : "false", o.boolean ? 4 : 5); break;
  case OPERAND_NULL: json_raw(s, "null", 4); break;
  default:
    return parser_refuse(p, o.token.at,
                         "metadata holds strings in quotes, numbers, true, false, null, lists and "
                         "objects");
  }
  return !s->failed || no_memory(p);
}

static bool read_nested(parser *p, operand *ret) {
  json_sink s = json_gather(p->arena, 256);
  if (!put_nested(p, &s))
    return false;
  ret->kind = OPERAND_JSON;
  ret->text.data = json_text(&s, &ret->text.size);
  return ret->text.data != NULL || no_memory(p);
}

/* --- Any of them --------------------------------------------------------- */

static bool read_word(parser *p, operand *ret) {
  ret->kind = OPERAND_WORD;
  ret->text = p->token.text;
  if (parser_is_word(p, "true") || parser_is_word(p, "false")) {
    ret->kind = OPERAND_BOOL;
    ret->boolean = *p->token.text.data == 't';
  } else if (parser_is_word(p, "null")) {
    ret->kind = OPERAND_NULL;
  }
  return true;
}

bool parser_value(parser *p, operand *ret) {
  *ret = (operand){.token = p->token};
  bool fine = true;
  switch (p->token.kind) {
  case TOKEN_LIST:
  case TOKEN_OBJECT: return read_nested(p, ret);
  case TOKEN_STRING:
    ret->kind = OPERAND_STRING;
    ret->text = p->token.text;
    break;
  case TOKEN_SCALAR: fine = read_scalar(p, ret); break;
  case TOKEN_NAME: fine = read_word(p, ret); break;
  case TOKEN_STAR: ret->kind = OPERAND_STAR; break;
  case TOKEN_END: return parser_refuse(p, p->token.at, "the filter ends where a value is expected");
  default:
    return parser_refuse(p, p->token.at, "a value is expected: \"text\", 1.5, true, false, null");
  }
  return fine && parser_next(p);
}
