/* The messages of server reflection as plain structs. v1 and v1alpha differ in
 * the name of their package only, so both are read and written as v1.
 *
 * Ownership: results lie in the arena given. Threads: any. */
#ifndef MNEME_WIRE_REFLECTION_H
#define MNEME_WIRE_REFLECTION_H

#include "wire/messages.h"

#define WIRE_REFLECTION_REQUEST_MAX 4096 /* bytes */

typedef enum wire_reflection_kind {
  WIRE_REFLECTION_NOTHING = 0, /* none of the kinds below was set */
  WIRE_REFLECTION_FILE,
  WIRE_REFLECTION_SYMBOL,
  WIRE_REFLECTION_EXTENSION,
  WIRE_REFLECTION_EXTENSION_NUMBERS,
  WIRE_REFLECTION_SERVICES
} wire_reflection_kind;

typedef struct wire_reflection_request {
  wire_reflection_kind kind;
  mneme_bytes name;    /* the file, the symbol, or the type */
  const void *message; /* the room's own form of it */
} wire_reflection_request;

/* false = malformed, too long, or no valid UTF-8. */
bool wire_reflection_read(const uint8_t *data, size_t size, arena *a,
                          wire_reflection_request *ret_request);

/* Each builder carries the request back, as the protocol demands; NULL = no
 * memory. */
const wire_message *wire_reflection_files(const wire_reflection_request *r,
                                          const mneme_bytes *files, size_t count, arena *a);
const wire_message *wire_reflection_services(const wire_reflection_request *r,
                                             const mneme_bytes *names, size_t count, arena *a);
const wire_message *wire_reflection_error(const wire_reflection_request *r, int code,
                                          const char *text, arena *a);

#endif
