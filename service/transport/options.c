/* From transport_options to the core's channel arguments.
 *
 * The core's own defaults are made for clients that are trusted: no limit on
 * streams, an inflated message checked only after it was inflated, a half-open
 * peer never noticed, a port shared with whoever asks. Every argument below
 * takes one of them back. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "transport/core.h"

#define ARGS_MAX 24
#define HANDSHAKE_TIMEOUT_MS 10000 /* a connection that sends no HTTP/2 preface */
#define CLIENT_PING_MIN_MS 5000    /* faster pings are answered by closing */
#define MEMORY_QUOTA_MIN (1u << 20)

typedef struct limit {
  const char *name;
  int64_t value;
  int64_t min;
  int64_t max;
} limit;

bool options_check(const transport_options *o, char *error, size_t error_size) {
  const limit limits[] = {
      {"listen_count", (int64_t)o->listen_count, 1, TRANSPORT_LISTEN_MAX},
      {"queues", o->queues, 1, QUEUES_MAX},
      {"slots", o->slots, 1, SLOTS_MAX},
      {"receive_max", (int64_t)o->receive_max, 1, INT_MAX},
      {"metadata_max", (int64_t)o->metadata_max, 1, INT_MAX},
      {"streams_per_connection_max", o->streams_per_connection_max, 1, INT_MAX},
      {"calls_max", o->calls_max, 1, INT_MAX},
      {"arena_max", (int64_t)o->arena_max, 1, INT64_MAX},
      {"keepalive_ms", o->keepalive_ms, 1, INT_MAX},
      {"keepalive_timeout_ms", o->keepalive_timeout_ms, 1, INT_MAX},
      {"idle_ms", o->idle_ms, 0, INT_MAX},
      {"drain_ms", o->drain_ms, 0, INT_MAX},
      {"memory_quota", (int64_t)o->memory_quota, 0, INT64_MAX},
  };
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    if (limits[i].value >= limits[i].min && limits[i].value <= limits[i].max)
      continue;
    snprintf(error, error_size, "%s is %lld and must be between %lld and %lld", limits[i].name,
             (long long)limits[i].value, (long long)limits[i].min, (long long)limits[i].max);
    return false;
  }
  if (o->memory_quota != 0 && o->memory_quota < MEMORY_QUOTA_MIN) {
    snprintf(error, error_size, "memory_quota is %zu and must be 0 or at least %u",
             o->memory_quota, MEMORY_QUOTA_MIN);
    return false;
  }
  return true;
}

typedef struct args {
  grpc_arg arg[ARGS_MAX];
  size_t count;
} args;

static void set_int(args *a, const char *key, int value) {
  grpc_arg *arg = &a->arg[a->count++];
  memset(arg, 0, sizeof *arg);
  arg->type = GRPC_ARG_INTEGER;
  arg->key = (char *)key;
  arg->value.integer = value;
}

grpc_server *options_create_server(const transport_options *o, grpc_resource_quota **ret_quota) {
  args a = {.count = 0};
  /* By default a second server may take a share of the port's connections. */
  set_int(&a, GRPC_ARG_ALLOW_REUSEPORT, 0);
  /* Bookkeeping of every call for a debugging service that we do not offer. */
  set_int(&a, GRPC_ARG_ENABLE_CHANNELZ, 0);
  /* Bit 0 = identity. An inflated message is checked only after it was inflated,
   * past every quota: a few kilobytes of gzip could take all memory. */
  set_int(&a, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
  set_int(&a, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)o->receive_max);
  set_int(&a, GRPC_ARG_MAX_METADATA_SIZE, (int)o->metadata_max);
  set_int(&a, GRPC_ARG_MAX_CONCURRENT_STREAMS, o->streams_per_connection_max);
  set_int(&a, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS);
  /* A peer that vanished without a FIN is found by pings only. */
  set_int(&a, GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ms);
  set_int(&a, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, o->keepalive_timeout_ms);
  set_int(&a, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set_int(&a, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  /* Clients' own pings: the core's default, five minutes, closes the
   * connections of clients that ping every half minute, as many do. */
  set_int(&a, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, CLIENT_PING_MIN_MS);
  if (o->idle_ms > 0)
    set_int(&a, GRPC_ARG_MAX_CONNECTION_IDLE_MS, o->idle_ms);
  *ret_quota = NULL;
  if (o->memory_quota > 0) {
    grpc_resource_quota *quota = grpc_resource_quota_create("mneme");
    grpc_resource_quota_resize(quota, o->memory_quota);
    grpc_arg *arg = &a.arg[a.count++];
    memset(arg, 0, sizeof *arg);
    arg->type = GRPC_ARG_POINTER;
    arg->key = (char *)GRPC_ARG_RESOURCE_QUOTA;
    arg->value.pointer.p = quota;
    arg->value.pointer.vtable = grpc_resource_quota_arg_vtable();
    *ret_quota = quota;
  }
  grpc_channel_args channel_args = {a.count, a.arg};
  return grpc_server_create(&channel_args, NULL);
}
