/* grpc.health.v1. The requests are small and flat, so a limit on the size of the
 * whole is check enough before they are unpacked; the text is checked after. */
#include "wire/health.h"

#include <assert.h>
#include <unistr.h>

#include "grpc/health/v1/health.pb-c.h"
#include "wire/internal.h"

bool wire_health_request(const uint8_t *data, size_t size, arena *a, mneme_bytes *ret_service) {
  if (size > WIRE_HEALTH_REQUEST_MAX)
    return false;
  ProtobufCAllocator allocator = wire_allocator(a);
  Grpc__Health__V1__HealthCheckRequest *request =
      grpc__health__v1__health_check_request__unpack(&allocator, size, data);
  if (request == NULL)
    return false;
  mneme_bytes service = wire_text(request->service);
  if (service.size > WIRE_HEALTH_NAME_MAX ||
      u8_check((const uint8_t *)service.data, service.size) != NULL)
    return false;
  *ret_service = service;
  return true;
}

size_t wire_health_reply(wire_health status, uint8_t out[WIRE_HEALTH_REPLY_MAX]) {
  Grpc__Health__V1__HealthCheckResponse reply = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  reply.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
  assert(grpc__health__v1__health_check_response__get_packed_size(&reply) <=
         WIRE_HEALTH_REPLY_MAX);
  return grpc__health__v1__health_check_response__pack(&reply, out);
}

const wire_message *wire_health_list_reply(const wire_health_entry *entries, size_t count,
                                           arena *a) {
  typedef Grpc__Health__V1__HealthListResponse__StatusesEntry pair;
  Grpc__Health__V1__HealthListResponse *reply = arena_alloc(a, sizeof *reply);
  Grpc__Health__V1__HealthCheckResponse *values = arena_calloc(a, count, sizeof *values);
  pair *pairs = arena_calloc(a, count, sizeof *pairs);
  pair **pointers = arena_calloc(a, count, sizeof *pointers);
  if (reply == NULL || values == NULL || pairs == NULL || pointers == NULL)
    return NULL;
  for (size_t i = 0; i < count; i++) {
    grpc__health__v1__health_check_response__init(&values[i]);
    values[i].status =
        (Grpc__Health__V1__HealthCheckResponse__ServingStatus)entries[i].status;
    grpc__health__v1__health_list_response__statuses_entry__init(&pairs[i]);
    pairs[i].key = wire_string(a, entries[i].service);
    pairs[i].value = &values[i];
    if (pairs[i].key == NULL)
      return NULL;
    pointers[i] = &pairs[i];
  }
  grpc__health__v1__health_list_response__init(reply);
  reply->n_statuses = count;
  reply->statuses = pointers;
  return (const wire_message *)&reply->base;
}
