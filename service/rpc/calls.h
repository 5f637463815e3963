/* Between the transport and the methods: the table of methods, and how a call
 * becomes an op and its answer a reply. */
#ifndef MNEME_RPC_CALLS_H
#define MNEME_RPC_CALLS_H

#include "rpc/service.h"
#include "transport/transport.h"
#include "wire/messages.h"

#define CALLS_METHODS_MAX 64

/* Every method of mneme.v1.MemoryBackend, those that are not served yet too.
 * Fills methods, which must live as long as the transport, and returns how many
 * (at most CALLS_METHODS_MAX). */
size_t calls_methods(service *s, transport_method *methods);

/* An error as the transport sends it; lies in the arena. */
transport_status calls_status(arena *a, const error *e);

/* The answer to calls that are turned away, and to streams that are ended, because
 * the server drains (transport_options.draining); lies in the arena. */
transport_status calls_draining(arena *a, const char *text);

/* The answer to a method that is in no contract (transport_options.unknown). */
void calls_unknown(const char *path, size_t size, arena *a, transport_status *ret_status);

/* IngestMemories; its ctx is the service. */
extern const transport_stream_ops ingest_ops;

#endif
