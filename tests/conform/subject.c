/* Finding the backend under test and reading its options.
 *
 * The config is the flat part of YAML that a backend's entry needs: one
 * `name: value` a line, "#" comments, a value with or without quotes. The names
 * `type` and `match` are passed over, so that an entry of a server's config can be
 * pasted. Options are parsed here because the suite knows the sdk only; the
 * service has its own parser with lines and columns. */
#include "subject.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
#include "conform.h"

const mneme_backend_type *cf_subject(const char *plugin, const char *builtin, char *error,
                                     size_t size) {
  mneme_builtin_fn entry = NULL;
  if (plugin != NULL) {
    void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      snprintf(error, size, "%s", dlerror());
      return NULL;
    }
    /* POSIX lets a void pointer hold a function; C does not let it be cast. */
    void *symbol = dlsym(library, "mneme_plugin");
    memcpy(&entry, &symbol, sizeof entry);
    if (entry == NULL) {
      snprintf(error, size, "%s exports no mneme_plugin", plugin);
      return NULL;
    }
  } else {
    for (size_t i = 0; mneme_builtins[i] != NULL; i++)
      if (strcmp(mneme_builtins[i]()->name, builtin) == 0) entry = mneme_builtins[i];
    if (entry == NULL) {
      snprintf(error, size, "no built-in backend is named %s", builtin);
      return NULL;
    }
  }
  const mneme_backend_type *theirs = entry();
  if (theirs == NULL || theirs->abi >> 16 != MNEME_ABI_MAJOR) {
    snprintf(error, size, "the backend is not of ABI %d", MNEME_ABI_MAJOR);
    return NULL;
  }
  static mneme_backend_type type;
  memset(&type, 0, sizeof type);
  size_t bytes = theirs->struct_size < sizeof type ? theirs->struct_size : sizeof type;
  memcpy(&type, theirs, bytes);
  return &type;
}

/* --- Values -------------------------------------------------------------- */

static bool scaled(const char *text, const char *const *units, const int64_t *factors,
                   int64_t *ret) {
  char *end = NULL;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  if (end == text || errno != 0) return false;
  while (*end == ' ') end++;
  if (*end == '\0' && (number == 0 || units[0][0] == '\0')) {
    *ret = number;
    return true;
  }
  for (size_t i = 0; units[i] != NULL; i++) {
    if (strcmp(end, units[i]) == 0) {
      if (number > INT64_MAX / factors[i] || number < INT64_MIN / factors[i]) return false;
      *ret = number * factors[i];
      return true;
    }
  }
  return false;
}

static bool parse_integer(mneme_option_type type, const char *text, int64_t *ret) {
  static const char *const times[] = {"us", "ms", "s", "m", "h", "d", NULL};
  static const int64_t time_factors[] = {1, 1000, 1000000, 60000000, 3600000000, 86400000000};
  static const char *const sizes[] = {"",    "B",  "KiB", "MiB", "GiB", "TiB",
                                      "KB", "MB", "GB",  NULL};
  static const int64_t size_factors[] = {1,          1,       1 << 10,
                                         1 << 20,    1 << 30, (int64_t)1 << 40,
                                         1000,       1000000, 1000000000};
  static const char *const plain[] = {"", NULL};
  static const int64_t one[] = {1};
  switch (type) {
    case MNEME_OPTION_DURATION: return scaled(text, times, time_factors, ret);
    case MNEME_OPTION_SIZE: return scaled(text, sizes, size_factors, ret);
    default: return scaled(text, plain, one, ret);
  }
}

static char *expand(const char *text, const char *dir) {
  const char *hole = strstr(text, "{dir}");
  if (hole == NULL) return strdup(text);
  char *whole = NULL;
  if (asprintf(&whole, "%.*s%s%s", (int)(hole - text), text, dir, hole + 5) < 0) abort();
  return whole;
}

bool cf_option_parse(const mneme_option *option, const char *text, const char *dir,
                     mneme_option_value *ret_value, char *error, size_t size) {
  mneme_option_value value = {0};
  if (option->type == MNEME_OPTION_STRING || option->type == MNEME_OPTION_PATH) {
    value.string = expand(text, dir);
  } else if (option->type == MNEME_OPTION_BOOL) {
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
      snprintf(error, size, "%s: \"%s\" is neither true nor false", option->name, text);
      return false;
    }
    value.integer = strcmp(text, "true") == 0;
  } else {
    if (!parse_integer(option->type, text, &value.integer)) {
      snprintf(error, size, "%s: can't read \"%s\"", option->name, text);
      return false;
    }
    bool ranged = option->min != 0 || option->max != 0;
    if (ranged && (value.integer < option->min || value.integer > option->max)) {
      snprintf(error, size, "%s: %s is not within %lld and %lld", option->name, text,
               (long long)option->min, (long long)option->max);
      return false;
    }
  }
  *ret_value = value;
  return true;
}

/* --- The file ------------------------------------------------------------ */

/* Cuts a line into name and value in place; false for a line without either. */
static bool split(char *line, char **ret_name, char **ret_value) {
  while (isspace((unsigned char)*line)) line++;
  if (*line == '\0' || *line == '#') return false;
  char *colon = strchr(line, ':');
  if (colon == NULL) return false;
  *colon = '\0';
  char *value = colon + 1;
  while (isspace((unsigned char)*value)) value++;
  if (*value == '"' || *value == '\'') {
    char *close = strchr(value + 1, *value);
    if (close != NULL) *close = '\0';
    value++;
  } else {
    char *comment = strstr(value, " #");
    if (comment != NULL) *comment = '\0';
    char *end = value + strlen(value);
    while (end > value && isspace((unsigned char)end[-1])) *--end = '\0';
  }
  *ret_name = line;
  *ret_value = value;
  return true;
}

static bool read_file(const mneme_backend_type *type, FILE *file, const char *dir,
                      mneme_option_value *values, bool *given, char *error, size_t size) {
  char line[4096];
  while (fgets(line, sizeof line, file) != NULL) {
    char *name = NULL, *value = NULL;
    if (!split(line, &name, &value)) continue;
    if (strcmp(name, "type") == 0 || strcmp(name, "match") == 0) continue;
    size_t i = 0;
    while (type->options != NULL && type->options[i].name != NULL &&
           strcmp(type->options[i].name, name) != 0)
      i++;
    if (type->options == NULL || type->options[i].name == NULL) {
      snprintf(error, size, "%s has no option %s", type->name, name);
      return false;
    }
    if (!cf_option_parse(&type->options[i], value, dir, &values[i], error, size)) return false;
    given[i] = true;
  }
  return true;
}

bool cf_config(const mneme_backend_type *type, const char *path, const char *dir,
               mneme_option_value *values, char *error, size_t size) {
  bool given[CF_OPTIONS_MAX] = {false};
  if (path != NULL) {
    FILE *file = fopen(path, "r");
    if (file == NULL) {
      snprintf(error, size, "%s: %s", path, strerror(errno));
      return false;
    }
    bool good = read_file(type, file, dir, values, given, error, size);
    fclose(file);
    if (!good) return false;
  }
  for (size_t i = 0; type->options != NULL && type->options[i].name != NULL; i++) {
    if (i == CF_OPTIONS_MAX) {
      snprintf(error, size, "%s has more than %d options", type->name, CF_OPTIONS_MAX);
      return false;
    }
    if (given[i]) continue;
    const mneme_option *option = &type->options[i];
    if (option->default_value == NULL) {
      snprintf(error, size, "%s: the config must name %s", type->name, option->name);
      return false;
    }
    if (!cf_option_parse(option, option->default_value, dir, &values[i], error, size))
      return false;
    values[i].is_default = true;
  }
  return true;
}
