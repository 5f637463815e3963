/* One table of units serves both directions. Numbers are added up with checks
 * for overflow: "99999999999999d" is out of range even where any value goes. */
#include "registry/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct unit {
  const char *name;
  int64_t factor;
} unit;

/* Largest first: option_format takes the first that divides the value. */
static const unit duration_units[] = {
  {"d", INT64_C(86400000000)}, {"h", INT64_C(3600000000)}, {"m", 60000000}, {"s", 1000000},
  {"ms", 1000},                {"us", 1},                  {NULL, 0},
};
static const unit size_units[] = {
  {"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20},
  {"KiB", 1 << 10},          {"B", 1},         {NULL, 0},
};

size_t option_count(const mneme_option *options) {
  size_t n = 0;
  while (options != NULL && n < OPTIONS_MAX && options[n].name != NULL)
    n++;
  return n;
}

bool option_is_text(const mneme_option *option) {
  return option->type == MNEME_OPTION_STRING || option->type == MNEME_OPTION_PATH;
}

/* --- Reading ------------------------------------------------------------- */

static const unit *find_unit(const unit *units, const char *text, size_t size) {
  for (; units->name != NULL; units++) {
    if (strlen(units->name) == size && memcmp(units->name, text, size) == 0)
      return units;
  }
  return NULL;
}

/* A sum of numbers with units, such as 1h30m. bare: a number alone has the
 * smallest unit. */
static bool parse_units(const unit *units, bool bare, const char *text, int64_t *ret_value,
                        bool *ret_overflow) {
  int64_t sum = 0;
  const char *p = text;
  if (strcmp(text, "0") == 0) {
    *ret_value = 0;
    return true;
  }
  do {
    size_t digits = strspn(p, "0123456789");
    size_t letters = strcspn(p + digits, "0123456789");
    if (digits == 0)
      return false;
    int64_t factor = 1;
    if (letters > 0 || !bare) {
      const unit *u = find_unit(units, p + digits, letters);
      if (u == NULL)
        return false;
      factor = u->factor;
    }
    errno = 0;
    int64_t number = strtoll(p, NULL, 10);
    int64_t part;
    if (errno != 0 || __builtin_mul_overflow(number, factor, &part) ||
        __builtin_add_overflow(sum, part, &sum))
      *ret_overflow = true;
    p += digits + letters;
  } while (*p != '\0');
  *ret_value = sum;
  return true;
}

static bool parse_int(const char *text, int64_t *ret_value, bool *ret_overflow) {
  const char *digits = text[0] == '-' ? text + 1 : text;
  if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0')
    return false;
  errno = 0;
  *ret_value = strtoll(text, NULL, 10);
  *ret_overflow = errno != 0;
  return true;
}

static bool parse_bool(const char *text, int64_t *ret_value) {
  *ret_value = strcmp(text, "true") == 0;
  return *ret_value == 1 || strcmp(text, "false") == 0;
}

static bool in_range(const mneme_option *option, int64_t n) {
  if (option->type == MNEME_OPTION_BOOL)
    return true;
  return (option->min == 0 && option->max == 0) || (n >= option->min && n <= option->max);
}

bool option_parse(const mneme_option *option, const char *text, mneme_option_value *ret_value,
                  char *error, size_t size) {
  int64_t n = 0;
  bool understood = false;
  bool overflow = false;
  switch (option->type) {
  case MNEME_OPTION_STRING:
  case MNEME_OPTION_PATH:
    *ret_value = (mneme_option_value){.string = text};
    return true;
  case MNEME_OPTION_INT: understood = parse_int(text, &n, &overflow); break;
  case MNEME_OPTION_BOOL: understood = parse_bool(text, &n); break;
  case MNEME_OPTION_DURATION:
    understood = parse_units(duration_units, false, text, &n, &overflow);
    break;
  case MNEME_OPTION_SIZE:
    understood = parse_units(size_units, true, text, &n, &overflow);
    break;
  }
  if (!understood || overflow || !in_range(option, n)) {
    char expected[OPTION_PROBLEM_MAX / 2];
    option_describe(option, expected, sizeof expected);
    snprintf(error, size, "\"%.40s%s\" is %s, expected %s", text, strlen(text) > 40 ? "..." : "",
             understood ? "out of range" : "not understood", expected);
    return false;
  }
  *ret_value = (mneme_option_value){.integer = n};
  return true;
}

/* --- Writing ------------------------------------------------------------- */

static void format_units(const unit *units, int64_t n, char *out, size_t size) {
  while (units[1].name != NULL && (n == 0 || n % units->factor != 0))
    units++;
  if (n == 0)
    snprintf(out, size, "0");
  else
    snprintf(out, size, "%" PRId64 "%s", n / units->factor, units->name);
}

static void format_number(mneme_option_type type, int64_t n, char *out, size_t size) {
  if (type == MNEME_OPTION_DURATION)
    format_units(duration_units, n, out, size);
  else if (type == MNEME_OPTION_SIZE)
    format_units(size_units, n, out, size);
  else
    snprintf(out, size, "%" PRId64, n);
}

void option_format(const mneme_option *option, const mneme_option_value *value, char *out,
                   size_t size) {
  if (option_is_text(option))
    snprintf(out, size, "%s", value->string);
  else if (option->type == MNEME_OPTION_BOOL)
    snprintf(out, size, "%s", value->integer != 0 ? "true" : "false");
  else
    format_number(option->type, value->integer, out, size);
}

void option_describe(const mneme_option *option, char *out, size_t size) {
  const char *noun = "string";
  const char *example = "";
  switch (option->type) {
  case MNEME_OPTION_STRING: break;
  case MNEME_OPTION_PATH: noun = "path"; break;
  case MNEME_OPTION_BOOL: noun = "true or false"; break;
  case MNEME_OPTION_INT: noun = "integer"; break;
  case MNEME_OPTION_DURATION:
    noun = "duration";
    example = " such as 30s";
    break;
  case MNEME_OPTION_SIZE:
    noun = "size";
    example = " such as 64KiB";
    break;
  }
  char min[OPTION_TEXT_MAX], max[OPTION_TEXT_MAX];
  format_number(option->type, option->min, min, sizeof min);
  format_number(option->type, option->max, max, sizeof max);
  bool bounded = (option->min != 0 || option->max != 0) && !option_is_text(option) &&
                 option->type != MNEME_OPTION_BOOL;
  if (!bounded)
    snprintf(out, size, "%s%s", noun, example);
  else if (option->max == INT64_MAX)
    snprintf(out, size, "%s of at least %s", noun, min);
  else
    snprintf(out, size, "%s from %s to %s", noun, min, max);
}

/* --- Tables -------------------------------------------------------------- */

bool option_check_table(const mneme_option *options, char *error, size_t size) {
  size_t count = option_count(options);
  if (count == OPTIONS_MAX && options[count].name != NULL) {
    snprintf(error, size, "has more than %d options", OPTIONS_MAX);
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    const mneme_option *o = &options[i];
    char problem[OPTION_PROBLEM_MAX];
    mneme_option_value value;
    if (strcmp(o->name, "type") == 0 || strcmp(o->name, "plugin") == 0) {
      snprintf(error, size, "has an option named \"%s\", which the config keeps for itself",
               o->name);
      return false;
    }
    for (size_t j = 0; j < i; j++) {
      if (strcmp(options[j].name, o->name) == 0) {
        snprintf(error, size, "has two options named \"%s\"", o->name);
        return false;
      }
    }
    if (o->type < MNEME_OPTION_STRING || o->type > MNEME_OPTION_PATH) {
      snprintf(error, size, "has an option \"%s\" of a type that this server does not know",
               o->name);
      return false;
    }
    if (o->default_value != NULL &&
        !option_parse(o, o->default_value, &value, problem, sizeof problem)) {
      snprintf(error, size, "has an option \"%s\" whose default %s", o->name, problem);
      return false;
    }
  }
  return true;
}
