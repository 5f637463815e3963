/* What every method works with: the open backends, the worker pool, what is
 * remembered of sessions. One per server; see server.c for its life. */
#ifndef MNEME_RPC_SERVICE_H
#define MNEME_RPC_SERVICE_H

#include "base/pool.h"
#include "page/token.h"
#include "registry/registry.h"
#include "session/plans.h"

typedef struct service {
  registry *registry;
  pool *pool;
  plans *plans;
  page_key page_keys[REGISTRY_BACKENDS_MAX]; /* by registry_backend.index */
} service;

/* The cleanup_interval in force for a session, 0 = none. Takes no lock. */
int64_t service_cleanup_us(const mneme_header *h, const service *s);

#endif
