/* The messages of grpc.health.v1 as plain structs.
 *
 * Ownership: results lie in the arena given. Threads: any. */
#ifndef MNEME_WIRE_HEALTH_H
#define MNEME_WIRE_HEALTH_H

#include "wire/messages.h"

#define WIRE_HEALTH_REQUEST_MAX 4096 /* bytes */
#define WIRE_HEALTH_NAME_MAX 256     /* bytes of a service's name */
#define WIRE_HEALTH_REPLY_MAX 8      /* bytes of one status */

typedef enum wire_health {
  WIRE_HEALTH_UNKNOWN = 0,
  WIRE_HEALTH_SERVING = 1,
  WIRE_HEALTH_NOT_SERVING = 2,
  WIRE_HEALTH_SERVICE_UNKNOWN = 3
} wire_health;

/* The name asked about, of Check and of Watch. false = malformed, too long, or
 * no valid UTF-8. */
bool wire_health_request(const uint8_t *data, size_t size, arena *a, mneme_bytes *ret_service);

/* Packs one status and returns its size. */
size_t wire_health_reply(wire_health status, uint8_t out[WIRE_HEALTH_REPLY_MAX]);

typedef struct wire_health_entry {
  mneme_bytes service;
  wire_health status;
} wire_health_entry;

/* The reply of List; NULL = no memory. */
const wire_message *wire_health_list_reply(const wire_health_entry *entries, size_t count,
                                           arena *a);

#endif
