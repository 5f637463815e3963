/* The types of backends that this server can open: the built-in ones, and those
 * that plugins bring. Each is checked and copied when it comes in, so that what
 * follows may trust its table:
 *   - abi has our major version; struct_size may be smaller or larger than ours;
 *   - the operations that every request path needs are there; of those that can
 *     be missing each has a stand-in that answers MNEME_UNSUPPORTED, so a caller
 *     never looks at a pointer;
 *   - capabilities and pointers agree [C-04]; bits that we do not know are gone;
 *   - the option table is usable.
 *
 * Ownership: types live until backend_types_close. A plugin's code stays loaded
 * until the process ends: its threads and destructors may still run.
 * Threads: load from one thread; find and at from any once loading is over. */
#ifndef MNEME_REGISTRY_TYPES_H
#define MNEME_REGISTRY_TYPES_H

#include "mneme/backend.h"

#define BACKEND_TYPES_MAX 128
#define BACKEND_TYPE_ERROR_MAX 512 /* bytes of an error text, with its NUL */
#define BACKEND_TYPE_NAME_MAX 64   /* bytes: [a-z][a-z0-9_-]* */

typedef struct backend_types backend_types;

typedef const mneme_backend_type *(*backend_type_fn)(void);

/* builtins: NULL at the end. NULL = one of them was refused, see error. */
backend_types *backend_types_open(const backend_type_fn *builtins, char *error, size_t size);
void backend_types_close(backend_types *types);

/* The built-in ones in order; NULL at the end. A plugin is reached by its path only. */
const mneme_backend_type *backend_types_at(const backend_types *types, size_t i);

/* The type of a plugin, loaded once however often it is asked for. path holds a
 * "/", so that no search path has a say. NULL = error says why. */
const mneme_backend_type *backend_types_load(backend_types *types, const char *path, char *error,
                                             size_t size);

/* The checks and the copy, for tests and other hosts. */
bool backend_type_adopt(const mneme_backend_type *given, mneme_backend_type *ret_type, char *error,
                        size_t size);

#endif
