/* Without backends in the config there is one, named "default":
 *
 *   MEMORY_DB_URL=scheme:///what   the built-in type with that scheme
 *   nothing                        the first built-in type without a required option
 *
 * A default that is a relative path is meant in the data directory:
 *
 *   $MNEME_DATA_DIR, else $XDG_DATA_HOME/mneme, else $HOME/.local/share/mneme
 *
 * as the XDG base directory specification has it. Whoever opens the path makes the
 * directory. A URL may hold a password and is never repeated. */
#include "config/store.h"

#include <string.h>

#include "registry/option.h"

#define DEFAULT_BACKEND "default"
#define SCHEMES_SHOWN_MAX 256 /* bytes of a list of schemes, with its NUL */

static const mneme_backend_type *type_at(const reader *r, size_t i) {
  return r->host->type_at != NULL ? r->host->type_at(r->host->ctx, i) : NULL;
}

static const char *variable(const reader *r, const char *name) {
  const char *value = r->host->env != NULL ? r->host->env(r->host->ctx, name) : NULL;
  return value != NULL && *value != '\0' ? value : NULL;
}

/* --- Defaults ------------------------------------------------------------ */

/* NULL = an error was reported. */
static const char *in_data_directory(reader *r, const char *name) {
  const char *own = variable(r, STORE_DATA_VARIABLE);
  const char *xdg = variable(r, "XDG_DATA_HOME"); /* to be ignored when relative */
  const char *home = variable(r, "HOME");
  const char *path;
  if (own != NULL) {
    path = arena_printf(r->memory, "%s/%s", own, name);
  } else if (xdg != NULL && xdg[0] == '/') {
    path = arena_printf(r->memory, "%s/mneme/%s", xdg, name);
  } else if (home != NULL) {
    path = arena_printf(r->memory, "%s/.local/share/mneme/%s", home, name);
  } else {
    reader_error(r, NULL, "there is no place for \"%s\": set " STORE_DATA_VARIABLE
                          " to the folder that shall hold it, or HOME", name);
    return NULL;
  }
  if (path == NULL)
    reader_error_memory(r);
  return path;
}

bool store_option_default(reader *r, const mneme_option *option, mneme_option_value *ret_value) {
  char problem[OPTION_PROBLEM_MAX];
  const char *text = option->default_value;
  if (option->type == MNEME_OPTION_PATH && text[0] != '/' && text[0] != '\0')
    text = in_data_directory(r, text);
  if (text == NULL || !option_parse(option, text, ret_value, problem, sizeof problem))
    return false;
  ret_value->is_default = true;
  return true;
}

/* --- The backend --------------------------------------------------------- */

static bool needs_nothing(const mneme_backend_type *type) {
  for (size_t i = 0; i < option_count(type->options); i++)
    if (type->options[i].default_value == NULL)
      return false;
  return true;
}

static const mneme_backend_type *first_that_needs_nothing(reader *r) {
  const mneme_backend_type *type;
  for (size_t i = 0; (type = type_at(r, i)) != NULL; i++)
    if (needs_nothing(type))
      return type;
  reader_error(r, NULL, "no backend is configured, and none is built in that needs no option");
  return NULL;
}

/* What a URL comes down to. */
typedef struct store {
  const mneme_backend_type *type;
  const char *option; /* NULL = none */
  const char *value;
} store;

static const mneme_scheme *find_scheme(const mneme_backend_type *type, const char *url,
                                       size_t size) {
  const mneme_scheme *s = type->schemes;
  for (; s != NULL && s->scheme != NULL; s++)
    if (strlen(s->scheme) == size && strncmp(s->scheme, url, size) == 0)
      return s;
  return NULL;
}

static void report_scheme(reader *r) {
  char known[SCHEMES_SHOWN_MAX] = "";
  const mneme_backend_type *type;
  for (size_t i = 0; (type = type_at(r, i)) != NULL; i++)
    for (const mneme_scheme *s = type->schemes; s != NULL && s->scheme != NULL; s++) {
      size_t used = strlen(known);
      snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", s->scheme);
    }
  reader_error(r, NULL, STORE_URL_VARIABLE " begins with no scheme that this server knows (%s): "
                        "set it to SCHEME://..., or name backends in a config file", known);
}

/* The path in a URL with three slashes; NULL = an error was reported. */
static const char *path_of(reader *r, const char *scheme, const char *rest) {
  const char *path = strncmp(rest, "///", 3) == 0 ? rest + 3 : "";
  if (*path != '\0' && strcmp(path, ":memory:") != 0 && strpbrk(path, "?#") == NULL)
    return path;
  reader_error(r, NULL, STORE_URL_VARIABLE " names no file: expected %s:///PATH (%s:////PATH from "
                        "the root), without options behind it", scheme, scheme);
  return NULL;
}

/* false = an error was reported. */
static bool read_url(reader *r, const char *url, store *ret_store) {
  size_t size = strcspn(url, ":");
  const mneme_backend_type *type = NULL;
  const mneme_scheme *s = NULL;
  if (strncmp(url + size, "://", 3) == 0)
    for (size_t i = 0; s == NULL && (type = type_at(r, i)) != NULL; i++)
      s = find_scheme(type, url, size);
  if (s == NULL) {
    report_scheme(r);
    return false;
  }
  const char *value = s->is_path ? path_of(r, s->scheme, url + size + 1) : url;
  *ret_store = (store){type, s->option, value};
  return value != NULL;
}

static void add_backend(reader *r, config *c, const store *from) {
  const mneme_option *options = from->type->options;
  size_t count = option_count(options);
  registry_entry *entry = arena_calloc(r->memory, 1, sizeof *entry);
  mneme_option_value *values = arena_calloc(r->memory, count + 1, sizeof *values);
  if (entry == NULL || values == NULL) {
    reader_error_memory(r);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    if (from->option != NULL && strcmp(from->option, options[i].name) == 0) {
      char *copy = arena_copy(r->memory, from->value, strlen(from->value));
      if (copy == NULL)
        reader_error_memory(r);
      values[i] = (mneme_option_value){.string = copy};
    } else if (options[i].default_value != NULL) {
      if (!store_option_default(r, &options[i], &values[i]))
        return;
    } else {
      reader_error(r, NULL, "a backend of the type %s that " STORE_URL_VARIABLE " names lacks its "
                            "option %s: write a config file", from->type->name, options[i].name);
    }
  }
  *entry = (registry_entry){.name = DEFAULT_BACKEND, .type = from->type, .values = values};
  c->backends = entry;
  c->backend_count = 1;
}

void store_default_backend(reader *r, config *c) {
  const char *url = variable(r, STORE_URL_VARIABLE);
  store found = {NULL, NULL, NULL};
  if (url != NULL && !read_url(r, url, &found))
    return;
  if (url == NULL && (found.type = first_that_needs_nothing(r)) == NULL)
    return;
  add_backend(r, c, &found);
}
