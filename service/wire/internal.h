/* What the files of this room share. The generated headers are included here and
 * nowhere else in the service. */
#ifndef MNEME_WIRE_INTERNAL_H
#define MNEME_WIRE_INTERNAL_H

#include <string.h>

#include "google/protobuf/struct.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "mneme/v1/cleanup.pb-c.h"
#include "mneme/v1/delete_sessions.pb-c.h"
#include "mneme/v1/memory_backend.pb-c.h"
#include "mneme/v1/types.pb-c.h"
#include "wire/messages.h"

typedef Google__Protobuf__Struct pb_struct;
typedef Google__Protobuf__Value pb_value;
typedef Google__Protobuf__Struct__FieldsEntry pb_entry;
typedef Mneme__V1__Memory pb_memory;
typedef Mneme__V1__SessionPolicy pb_policy;

/* Allocators that take from an arena and never free. */
ProtobufCAllocator wire_allocator(arena *a);

static inline mneme_bytes wire_text(const char *s) {
  return mneme_bytes_of(s, strlen(s));
}

/* A string of a reply: ends in NUL, lies in the arena; NULL = no memory. */
static inline char *wire_string(arena *a, mneme_bytes b) {
  return b.size == 0 ? (char *)protobuf_c_empty_string : arena_copy(a, b.data, b.size);
}

/* requests.c. Checks and unpacks; NULL = e is set. What has passed the check can
 * fail to unpack only for want of memory. */
void *wire_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t size,
                  arena *a, error *e);
bool wire_namespace_in(const char *text, arena *a, mneme_bytes *ret_ns, error *e);
/* Where a request is about one session or about all that begin alike. */
bool wire_check_one_scope(const char *session, const char *prefix, arena *a, error *e);
/* replies.c. In the arena, initialised; NULL = no memory, here and below. */
void *wire_message_new(arena *a, const ProtobufCMessageDescriptor *d);
/* Copies, each ending in NUL. */
char **wire_strings(arena *a, const mneme_bytes *from, size_t count);
/* Of names that live as long as the reply. */
char **wire_plain_strings(arena *a, const char *const *from, size_t count);

/* value.c: metadata. Canonical: of equal keys the last, sorted by bytes, null
 * where a value is missing. In place; the arrays shrink. */
void wire_canonical(pb_struct *s);
/* Packs into the arena; false = no memory. */
bool wire_pack_bytes(arena *a, const ProtobufCMessage *m, mneme_bytes *ret_bytes);
/* Checks limits of metadata again after a merge. */
bool wire_check_metadata(const pb_struct *s, const char *field, arena *a, error *e);
/* patch over target by RFC 7396, both canonical; NULL = no memory. */
pb_struct *wire_patch(pb_struct *target, const pb_struct *patch, arena *a);

/* memory.c */
bool wire_memory_in(pb_memory *m, const char *path, bool for_update, arena *a,
                    wire_memory *ret_memory, error *e);
/* settings.c */
bool wire_policy_in(const pb_policy *p, const char *path, arena *a, policy *ret_policy, error *e);
pb_policy *wire_policy_out(const policy *p, arena *a);
/* time.c: us = INT64_MIN is never a result. */
bool wire_time_in(const Google__Protobuf__Timestamp *t, const char *path, arena *a,
                  int64_t *ret_us, error *e);
bool wire_duration_in(const Google__Protobuf__Duration *d, const char *path, int64_t max_us,
                      arena *a, int64_t *ret_us, error *e);
Google__Protobuf__Timestamp *wire_time_out(int64_t us, arena *a);
Google__Protobuf__Duration *wire_duration_out(int64_t us, arena *a);

#endif
