/* An index of a serialized google.protobuf.FileDescriptorSet: files by name, and
 * the file that declares a symbol.
 *
 * The bytes stay with the caller and must live as long. Read-only once made, so
 * any thread may ask. */
#ifndef MNEME_ADMIN_FILES_H
#define MNEME_ADMIN_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mneme/types.h"

#define FILES_MAX 64
#define FILES_SYMBOLS_MAX 16384

typedef struct files files;

/* A set of files, by index. */
typedef uint64_t files_set;

/* NULL = no memory, the bytes are damaged, or a limit is passed. */
files *files_new(const uint8_t *data, size_t size);
void files_free(files *f);

/* -1 = there is none. */
int files_by_name(const files *f, mneme_bytes name);
/* Of a message, field, oneof, enum, enum value, service or method, by its full
 * name without a leading dot. */
int files_by_symbol(const files *f, mneme_bytes symbol);

/* The file, then all that it imports, directly or not, without those in *sent;
 * adds to *sent what it returns. out has room for FILES_MAX. */
size_t files_closure(const files *f, int file, files_set *sent, mneme_bytes *out);

/* Full names of all services; out has room for `max`. Returns how many. */
size_t files_services(const files *f, mneme_bytes *out, size_t max);

#endif
