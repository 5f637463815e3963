/* Server reflection. As with health, the requests are small: a limit on the size
 * of the whole stands for the wire check, and the text is checked after. */
#include "wire/reflection.h"

#include <unistr.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "wire/internal.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest pb_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse pb_response;

static bool text_valid(const char *text) {
  return u8_check((const uint8_t *)text, strlen(text)) == NULL;
}

/* The kind of the request and the name it asks for. */
static const char *kind_of(const pb_request *m, wire_reflection_kind *ret_kind) {
  switch (m->message_request_case) {
  case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
    *ret_kind = WIRE_REFLECTION_FILE;
    return m->file_by_filename;
  case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
    *ret_kind = WIRE_REFLECTION_SYMBOL;
    return m->file_containing_symbol;
  case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
    *ret_kind = WIRE_REFLECTION_EXTENSION;
    return m->file_containing_extension->containing_type;
  case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
    *ret_kind = WIRE_REFLECTION_EXTENSION_NUMBERS;
    return m->all_extension_numbers_of_type;
  case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
    *ret_kind = WIRE_REFLECTION_SERVICES;
    return m->list_services;
  default:
    *ret_kind = WIRE_REFLECTION_NOTHING;
    return "";
  }
}

bool wire_reflection_read(const uint8_t *data, size_t size, arena *a,
                          wire_reflection_request *ret_request) {
  if (size > WIRE_REFLECTION_REQUEST_MAX)
    return false;
  ProtobufCAllocator allocator = wire_allocator(a);
  pb_request *m =
      grpc__reflection__v1__server_reflection_request__unpack(&allocator, size, data);
  if (m == NULL)
    return false;
  wire_reflection_request r;
  const char *name = kind_of(m, &r.kind);
  if (!text_valid(name) || !text_valid(m->host))
    return false;
  r.name = wire_text(name);
  r.message = m;
  *ret_request = r;
  return true;
}

static pb_response *response_new(const wire_reflection_request *r, arena *a) {
  pb_response *m = arena_alloc(a, sizeof *m);
  if (m == NULL)
    return NULL;
  grpc__reflection__v1__server_reflection_response__init(m);
  m->original_request = (pb_request *)r->message;
  m->valid_host = m->original_request->host;
  return m;
}

const wire_message *wire_reflection_files(const wire_reflection_request *r,
                                          const mneme_bytes *files, size_t count, arena *a) {
  pb_response *m = response_new(r, a);
  Grpc__Reflection__V1__FileDescriptorResponse *answer = arena_alloc(a, sizeof *answer);
  ProtobufCBinaryData *list = arena_calloc(a, count, sizeof *list);
  if (m == NULL || answer == NULL || list == NULL)
    return NULL;
  grpc__reflection__v1__file_descriptor_response__init(answer);
  for (size_t i = 0; i < count; i++)
    list[i] = (ProtobufCBinaryData){files[i].size, (uint8_t *)files[i].data};
  answer->file_descriptor_proto = list;
  answer->n_file_descriptor_proto = count;
  m->file_descriptor_response = answer;
  m->message_response_case =
      GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
  return (const wire_message *)&m->base;
}

const wire_message *wire_reflection_services(const wire_reflection_request *r,
                                             const mneme_bytes *names, size_t count, arena *a) {
  typedef Grpc__Reflection__V1__ServiceResponse service;
  pb_response *m = response_new(r, a);
  Grpc__Reflection__V1__ListServiceResponse *answer = arena_alloc(a, sizeof *answer);
  service *services = arena_calloc(a, count, sizeof *services);
  service **pointers = arena_calloc(a, count, sizeof *pointers);
  if (m == NULL || answer == NULL || services == NULL || pointers == NULL)
    return NULL;
  grpc__reflection__v1__list_service_response__init(answer);
  for (size_t i = 0; i < count; i++) {
    grpc__reflection__v1__service_response__init(&services[i]);
    services[i].name = wire_string(a, names[i]);
    if (services[i].name == NULL)
      return NULL;
    pointers[i] = &services[i];
  }
  answer->service = pointers;
  answer->n_service = count;
  m->list_services_response = answer;
  m->message_response_case =
      GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
  return (const wire_message *)&m->base;
}

const wire_message *wire_reflection_error(const wire_reflection_request *r, int code,
                                          const char *text, arena *a) {
  pb_response *m = response_new(r, a);
  Grpc__Reflection__V1__ErrorResponse *answer = arena_alloc(a, sizeof *answer);
  if (m == NULL || answer == NULL)
    return NULL;
  grpc__reflection__v1__error_response__init(answer);
  answer->error_code = code;
  answer->error_message = (char *)text;
  m->error_response = answer;
  m->message_response_case =
      GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
  return (const wire_message *)&m->base;
}
