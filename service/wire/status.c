/* The google.rpc.Status of an error, as clients expect it in the trailer
 * grpc-status-details-bin: ErrorInfo always, BadRequest where a field is to
 * blame, RetryInfo where a repeat helps. */
#include "wire/internal.h"

#define DOMAIN "mneme"
#define DETAILS_MAX 3
#define TYPE_PREFIX "type.googleapis.com/"

static bool add(Google__Rpc__Status *status, Google__Protobuf__Any *any, const char *type,
                const ProtobufCMessage *m, arena *a) {
  mneme_bytes bytes;
  if (!wire_pack_bytes(a, m, &bytes))
    return false;
  google__protobuf__any__init(any);
  any->type_url = (char *)type;
  any->value = (ProtobufCBinaryData){bytes.size, (uint8_t *)bytes.data};
  status->details[status->n_details++] = any;
  return true;
}

static bool add_info(Google__Rpc__Status *status, Google__Protobuf__Any *any, const error *e,
                     arena *a) {
  Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
  Google__Rpc__ErrorInfo__MetadataEntry entries[ERROR_METADATA_MAX];
  Google__Rpc__ErrorInfo__MetadataEntry *pointers[ERROR_METADATA_MAX];
  info.reason = (char *)e->reason;
  info.domain = (char *)DOMAIN;
  info.metadata = pointers;
  info.n_metadata = (size_t)e->metadata_count;
  for (int i = 0; i < e->metadata_count; i++) {
    google__rpc__error_info__metadata_entry__init(&entries[i]);
    entries[i].key = (char *)e->metadata[i].key;
    entries[i].value = (char *)e->metadata[i].value;
    pointers[i] = &entries[i];
  }
  return add(status, any, TYPE_PREFIX "google.rpc.ErrorInfo", &info.base, a);
}

static bool add_field(Google__Rpc__Status *status, Google__Protobuf__Any *any, const error *e,
                      arena *a) {
  Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
  Google__Rpc__BadRequest__FieldViolation violation =
      GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
  Google__Rpc__BadRequest__FieldViolation *violations = &violation;
  violation.field = (char *)e->field;
  violation.description = (char *)e->message;
  bad.field_violations = &violations;
  bad.n_field_violations = 1;
  return add(status, any, TYPE_PREFIX "google.rpc.BadRequest", &bad.base, a);
}

static bool add_retry(Google__Rpc__Status *status, Google__Protobuf__Any *any, const error *e,
                      arena *a) {
  Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
  retry.retry_delay = wire_duration_out(e->retry_us, a);
  return retry.retry_delay != NULL &&
         add(status, any, TYPE_PREFIX "google.rpc.RetryInfo", &retry.base, a);
}

mneme_bytes wire_status(arena *a, const error *e) {
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  Google__Protobuf__Any anys[DETAILS_MAX], *details[DETAILS_MAX];
  mneme_bytes bytes = {NULL, 0};
  status.code = e->code;
  status.message = (char *)e->message;
  status.details = details;
  if (!add_info(&status, &anys[0], e, a) ||
      (e->field != NULL && !add_field(&status, &anys[1], e, a)) ||
      (e->retry_us > 0 && !add_retry(&status, &anys[2], e, a)) ||
      !wire_pack_bytes(a, &status.base, &bytes))
    return (mneme_bytes){NULL, 0};
  return bytes;
}
