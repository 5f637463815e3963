/* grpc.health.v1 above the seam of the transport. See admin.h. */
#ifndef MNEME_ADMIN_HEALTH_H
#define MNEME_ADMIN_HEALTH_H

#include "transport/transport.h"

typedef struct health health;

health *health_new(void);
void health_free(health *h);
bool health_set(health *h, const char *service, bool serving);
void health_shut_down(health *h);
/* The handlers; ctx is the health. */
void health_check(transport_call *call, const uint8_t *data, size_t size, void *ctx);
void health_list(transport_call *call, const uint8_t *data, size_t size, void *ctx);
extern const transport_stream_ops health_watch;

#endif
