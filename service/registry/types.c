/* A table from a plugin is memory of unknown size: abi and struct_size are read
 * first, by themselves, and nothing beyond struct_size is ever touched.
 *
 *   plugin's table [abi|size|name ... |commit|read]      struct_size, older minor
 *   our copy       [abi|size|name ... |commit|read|stats|ping ... 0 0 0]
 *                                                  '- stand-ins where NULL
 *
 * Which operations may be missing is a list here and not in the callers. */
#include "registry/types.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/option.h"

#define QUOTE(name) #name
#define SYMBOL(name) QUOTE(name)

typedef struct loaded {
  const mneme_backend_type *given; /* in the plugin's memory */
  mneme_backend_type type;
} loaded;

struct backend_types {
  size_t builtin_count; /* they come first */
  size_t count;
  loaded all[BACKEND_TYPES_MAX];
};

/* --- Stand-ins for operations that a table does not have ------------------ */

static void no_changes(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                       mneme_bytes cursor, mneme_header_fn emit, mneme_cursor_fn done, void *ctx) {
  (void)backend, (void)call, (void)ns, (void)cursor, (void)emit;
  done(MNEME_UNSUPPORTED, mneme_bytes_of(NULL, 0), ctx);
}

static void no_log(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                   mneme_bytes session, const mneme_uid *uid, int64_t after, mneme_log_fn emit,
                   mneme_done_fn done, void *ctx) {
  (void)backend, (void)call, (void)ns, (void)session, (void)uid, (void)after, (void)emit;
  done(MNEME_UNSUPPORTED, ctx);
}

static void no_due(mneme_backend *backend, const mneme_call *call, int64_t limit,
                   mneme_header_fn emit, mneme_done_fn done, void *ctx) {
  (void)backend, (void)call, (void)limit, (void)emit;
  done(MNEME_UNSUPPORTED, ctx);
}

static void no_stats(mneme_backend *backend, const mneme_call *call, mneme_bytes ns,
                     mneme_bytes session, mneme_stats_fn done, void *ctx) {
  (void)backend, (void)call, (void)ns, (void)session;
  done(MNEME_UNSUPPORTED, NULL, ctx);
}

static void no_meta_get(mneme_backend *backend, const mneme_call *call, mneme_bytes key,
                        mneme_meta_fn done, void *ctx) {
  (void)backend, (void)call, (void)key;
  done(MNEME_UNSUPPORTED, mneme_bytes_of(NULL, 0), ctx);
}

static void no_meta_put(mneme_backend *backend, const mneme_call *call, mneme_bytes key,
                        mneme_bytes expected, mneme_bytes value, mneme_meta_fn done, void *ctx) {
  (void)backend, (void)call, (void)key, (void)expected, (void)value;
  done(MNEME_UNSUPPORTED, mneme_bytes_of(NULL, 0), ctx);
}

static void no_trim(mneme_backend *backend, const mneme_call *call, int64_t rows, bool *ret_more,
                    mneme_done_fn done, void *ctx) {
  (void)backend, (void)call, (void)rows;
  *ret_more = false;
  done(MNEME_UNSUPPORTED, ctx);
}

static void fill_in(mneme_backend_type *type) {
  if (type->changes == NULL)
    type->changes = no_changes;
  if (type->log == NULL)
    type->log = no_log;
  if (type->due == NULL)
    type->due = no_due;
  if (type->stats == NULL)
    type->stats = no_stats;
  if (type->meta_get == NULL)
    type->meta_get = no_meta_get;
  if (type->meta_put == NULL)
    type->meta_put = no_meta_put;
  if (type->trim == NULL)
    type->trim = no_trim;
}

/* --- Checks -------------------------------------------------------------- */

static bool refuse(char *error, size_t size, const char *text) {
  snprintf(error, size, "%s", text);
  return false;
}

static bool check_name(const char *name) {
  if (name == NULL || name[0] < 'a' || name[0] > 'z')
    return false;
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
  return name[length] == '\0' && length <= BACKEND_TYPE_NAME_MAX;
}

static bool check_operations(const mneme_backend_type *t, char *error, size_t size) {
  const char *missing = t->open == NULL           ? "open"
                        : t->close == NULL        ? "close"
                        : t->commit == NULL       ? "commit"
                        : t->session_get == NULL  ? "session_get"
                        : t->session_list == NULL ? "session_list"
                        : t->request_get == NULL  ? "request_get"
                        : t->read == NULL         ? "read"
                        : t->ping == NULL         ? "ping"
                                                  : NULL;
  if (missing == NULL)
    return true;
  snprintf(error, size, "lacks the operation %s", missing);
  return false;
}

/* VECTORS and LINKS promise operations for which ABI 1.0 has no place. A table of
 * a later minor may have them, beyond what we copy: then they are just not used. */
static bool check_caps(mneme_backend_type *t, char *error, size_t size) {
  const uint32_t known = MNEME_CAP_DURABLE | MNEME_CAP_SHARED | MNEME_CAP_NB_COMMIT |
                         MNEME_CAP_NB_READ | MNEME_CAP_FILTER | MNEME_CAP_RESTORE;
  const uint32_t without_place = MNEME_CAP_VECTORS | MNEME_CAP_LINKS;
  if ((t->abi & 0xffff) <= MNEME_ABI_MINOR && (t->caps & without_place) != 0)
    return refuse(error, size, "promises VECTORS or LINKS, for which its table has no operation");
  t->caps &= known;
  return true;
}

bool backend_type_adopt(const mneme_backend_type *given, mneme_backend_type *ret_type, char *error,
                        size_t size) {
  if (given == NULL)
    return refuse(error, size, "gives no table");
  uint32_t abi = given->abi;
  if (abi >> 16 != MNEME_ABI_MAJOR) {
    snprintf(error, size, "was built for ABI %u.%u, this server has %d.%d: build it anew",
             (unsigned)(abi >> 16), (unsigned)(abi & 0xffff), MNEME_ABI_MAJOR, MNEME_ABI_MINOR);
    return false;
  }
  size_t given_size = given->struct_size;
  if (given_size < offsetof(mneme_backend_type, name))
    return refuse(error, size, "has an impossible struct_size");
  mneme_backend_type t = {0};
  memcpy(&t, given, given_size < sizeof t ? given_size : sizeof t);
  t.struct_size = sizeof t;

  char problem[BACKEND_TYPE_ERROR_MAX];
  if (!check_name(t.name))
    return refuse(error, size, "has no name of the form [a-z][a-z0-9_-]*");
  if (!check_operations(&t, problem, sizeof problem) || !check_caps(&t, problem, sizeof problem) ||
      !option_check_table(t.options, problem, sizeof problem))
    return refuse(error, size, problem);
  if (t.doc == NULL)
    t.doc = "";
  fill_in(&t);
  *ret_type = t;
  return true;
}

/* --- The list ------------------------------------------------------------ */

static const mneme_backend_type *add(backend_types *types, const mneme_backend_type *given,
                                     char *error, size_t size) {
  if (types->count == BACKEND_TYPES_MAX) {
    refuse(error, size, "is one type of backend too many");
    return NULL;
  }
  loaded *l = &types->all[types->count];
  if (!backend_type_adopt(given, &l->type, error, size))
    return NULL;
  l->given = given;
  types->count++;
  return &l->type;
}

backend_types *backend_types_open(const backend_type_fn *builtins, char *error, size_t size) {
  backend_types *types = calloc(1, sizeof *types);
  if (types == NULL) {
    refuse(error, size, "there is no memory");
    return NULL;
  }
  for (; *builtins != NULL; builtins++) {
    char problem[BACKEND_TYPE_ERROR_MAX];
    const mneme_backend_type *given = (*builtins)();
    if (add(types, given, problem, sizeof problem) == NULL) {
      snprintf(error, size, "built-in backend %zu (%s) %.400s", types->count,
               given != NULL && given->name != NULL ? given->name : "without a name", problem);
      free(types);
      return NULL;
    }
  }
  types->builtin_count = types->count;
  return types;
}

void backend_types_close(backend_types *types) {
  free(types);
}

const mneme_backend_type *backend_types_at(const backend_types *types, size_t i) {
  return i < types->builtin_count ? &types->all[i].type : NULL;
}

const mneme_backend_type *backend_types_load(backend_types *types, const char *path, char *error,
                                             size_t size) {
  if (strchr(path, '/') == NULL) {
    refuse(error, size, "is not a path: write ./ in front of a file in the current folder");
    return NULL;
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    const char *why = dlerror();
    snprintf(error, size, "cannot be loaded: %.400s", why != NULL ? why : "no reason given");
    return NULL;
  }
  /* ISO C knows no way from an object pointer to a function; POSIX blesses this. */
  backend_type_fn entry;
  *(void **)&entry = dlsym(library, SYMBOL(MNEME_PLUGIN_ENTRY));
  if (entry == NULL) {
    refuse(error, size, "is no plugin: it has no symbol " SYMBOL(MNEME_PLUGIN_ENTRY));
    return NULL;
  }
  const mneme_backend_type *given = entry();
  for (size_t i = types->builtin_count; i < types->count; i++) {
    if (types->all[i].given == given)
      return &types->all[i].type;
  }
  return add(types, given, error, size);
}
