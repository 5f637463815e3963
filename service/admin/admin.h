/* What stands beside the contract: grpc.health.v1, and server reflection v1 and
 * v1alpha, answered from the descriptor set that the build embeds.
 *
 * Health has names and statuses: "" and "mneme.v1.MemoryBackend" speak for the
 * process, "backend/NAME" for one engine. Who sets them decides what they mean.
 *
 * Limits: ADMIN_NAMES_MAX names, ADMIN_WATCHERS_MAX callers of Watch and
 * ADMIN_REFLECTIONS_MAX of reflection at once; above: RESOURCE_EXHAUSTED. */
#ifndef MNEME_ADMIN_ADMIN_H
#define MNEME_ADMIN_ADMIN_H

#include "transport/transport.h"

#define ADMIN_NAMES_MAX 128
#define ADMIN_WATCHERS_MAX 1024
#define ADMIN_REFLECTIONS_MAX 64
#define ADMIN_METHODS 5

typedef struct admin admin;

/* NULL = no memory, or the descriptor set is damaged. No name is set yet. */
admin *admin_new(void);
/* Writes ADMIN_METHODS entries and returns their number. */
size_t admin_methods(admin *a, transport_method *out);
/* Any thread. Names must be valid UTF-8 of at most 256 bytes; false = they are
 * not, or ADMIN_NAMES_MAX are set. A name once set stays. */
bool admin_set_health(admin *a, const char *service, bool serving);
/* Any thread; call before transport_drain. Every name becomes NOT_SERVING and
 * stays so; callers of Watch are told, and then their streams are ended: they
 * would keep the drain waiting for the whole of its grace. */
void admin_shut_down(admin *a);
/* After transport_close. NULL is fine. */
void admin_free(admin *a);

#endif
