/* One answer to each request, strictly in turn: the next request is read when
 * flow control has taken the answer, so a client that only asks is stopped.
 *
 * A file is sent with all that it imports, as far as this stream has not sent it
 * (the protocol leaves that to the server, and clients need not ask again). */
#include "admin/reflection.h"

#include <stdlib.h>

#include "admin/admin.h"
#include "error/error.h"
#include "wire/reflection.h"

#define SERVICES_MAX 64
#define MEMORY_MAX (1u << 20) /* bytes that one answer may take while it is built */

#define STATUS(status_code, text) \
  {.code = (status_code), .message = (text), .message_size = sizeof(text) - 1}

static const transport_status MALFORMED =
    STATUS(CODE_INVALID_ARGUMENT, "The request is malformed, too long, or no valid UTF-8.");
static const transport_status NO_MEMORY = STATUS(CODE_RESOURCE_EXHAUSTED, "No memory; try again.");
static const transport_status TOO_MANY =
    STATUS(CODE_RESOURCE_EXHAUSTED, "Too many reflection streams are open; try again later.");

typedef struct conversation {
  reflection *reflection;
  files_set sent;
  arena arena; /* of the answer that is being built */
} conversation;

static void info_open(transport_stream *s, void *ctx) {
  reflection *r = ctx;
  conversation *c = malloc(sizeof *c);
  transport_stream_set_state(s, c);
  if (c == NULL) {
    transport_stream_finish(s, &NO_MEMORY);
    return;
  }
  c->reflection = r;
  c->sent = 0;
  arena_init(&c->arena, MEMORY_MAX);
  if (atomic_fetch_add(&r->streams, 1) >= ADMIN_REFLECTIONS_MAX)
    transport_stream_finish(s, &TOO_MANY);
  else
    transport_stream_read(s);
}

static const wire_message *answer_files(conversation *c, const wire_reflection_request *r,
                                        int file) {
  if (file < 0)
    return wire_reflection_error(r, CODE_NOT_FOUND, "not found", &c->arena);
  mneme_bytes list[FILES_MAX];
  size_t count = files_closure(c->reflection->files, file, &c->sent, list);
  return wire_reflection_files(r, list, count, &c->arena);
}

static const wire_message *answer(conversation *c, const wire_reflection_request *r) {
  const files *f = c->reflection->files;
  mneme_bytes services[SERVICES_MAX];
  switch (r->kind) {
  case WIRE_REFLECTION_FILE:
    return answer_files(c, r, files_by_name(f, r->name));
  case WIRE_REFLECTION_SYMBOL:
    return answer_files(c, r, files_by_symbol(f, r->name));
  case WIRE_REFLECTION_SERVICES:
    return wire_reflection_services(r, services, files_services(f, services, SERVICES_MAX),
                                    &c->arena);
  case WIRE_REFLECTION_EXTENSION:
  case WIRE_REFLECTION_EXTENSION_NUMBERS:
    return wire_reflection_error(r, CODE_NOT_FOUND, "no message here has extensions", &c->arena);
  default:
    return wire_reflection_error(r, CODE_INVALID_ARGUMENT, "the request asks for nothing",
                                 &c->arena);
  }
}

static void info_message(transport_stream *s, const uint8_t *data, size_t size) {
  conversation *c = transport_stream_state(s);
  wire_reflection_request request;
  if (!wire_reflection_read(data, size, &c->arena, &request)) {
    transport_stream_finish(s, &MALFORMED);
    return;
  }
  const wire_message *reply = answer(c, &request);
  uint8_t *out = reply != NULL ? transport_stream_reserve(s, wire_size(reply)) : NULL;
  if (out == NULL) {
    transport_stream_finish(s, &NO_MEMORY);
    return;
  }
  wire_pack(reply, out);
  arena_clear(&c->arena);
  transport_stream_send(s);
}

static void info_half_close(transport_stream *s) {
  transport_stream_finish(s, NULL);
}

static void info_writable(transport_stream *s) {
  transport_stream_read(s);
}

static void info_release(transport_stream *s) {
  conversation *c = transport_stream_state(s);
  if (c == NULL)
    return;
  atomic_fetch_sub(&c->reflection->streams, 1);
  arena_clear(&c->arena);
  free(c);
}

const transport_stream_ops reflection_info = {
    .open = info_open,
    .message = info_message,
    .half_close = info_half_close,
    .writable = info_writable,
    .release = info_release,
};
