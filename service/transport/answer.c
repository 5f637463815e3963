/* Batches and bytes.
 *
 * Every batch of the room is built in an `answer` on the stack. The core copies
 * or references what the operations point to before grpc_call_start_batch
 * returns, so the slices made here are released right after it; only the body's
 * byte buffer must live until the tag comes back (its owner destroys it then).
 *
 * Two rules of the core that are written nowhere: a status without initial
 * metadata never completes, and neither does initial metadata with a buffer
 * hint. So headers go first in every final batch, and there are no hints. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/core.h"

#define DETAILS_KEY "grpc-status-details-bin" /* raw bytes; the core encodes them */
#define RETRY_KEY "grpc-retry-pushback-ms"

void answer_init(answer *a) {
  a->count = 0;
  a->has_message = false;
  a->trailer_count = 0;
}

static grpc_op *op_add(answer *a, grpc_op_type type) {
  assert(a->count < sizeof a->ops / sizeof a->ops[0]);
  grpc_op *op = &a->ops[a->count++];
  memset(op, 0, sizeof *op);
  op->op = type;
  return op;
}

void answer_headers(answer *a) { op_add(a, GRPC_OP_SEND_INITIAL_METADATA); }

void answer_body(answer *a, grpc_byte_buffer *body) {
  op_add(a, GRPC_OP_SEND_MESSAGE)->data.send_message.send_message = body;
}

/* Clients refuse trailers above 8 KiB altogether, and then show nothing of the
 * status. On the wire a byte of the message that is not printable ASCII takes
 * three, so that is what is counted. The cut never lies inside a character. */
static size_t message_cut(const char *text, size_t size) {
  size_t encoded = 0;
  size_t end = 0; /* of the last whole character */
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)text[i];
    if ((c & 0xC0) != 0x80)
      end = i;
    encoded += c >= ' ' && c <= '~' && c != '%' ? 1 : 3;
    if (encoded > TRANSPORT_MESSAGE_MAX)
      return end;
  }
  return size;
}

static void trailer_add(answer *a, const char *key, const void *data, size_t size) {
  grpc_metadata *trailer = &a->trailers[a->trailer_count++];
  memset(trailer, 0, sizeof *trailer);
  trailer->key = grpc_slice_from_static_string(key);
  trailer->value = grpc_slice_from_copied_buffer(data, size);
}

void answer_status(answer *a, const transport_status *status, int retry_after_ms) {
  grpc_op *op = op_add(a, GRPC_OP_SEND_STATUS_FROM_SERVER);
  op->data.send_status_from_server.status = GRPC_STATUS_OK;
  if (status == NULL)
    return;
  op->data.send_status_from_server.status = (grpc_status_code)status->code;
  if (status->message_size > 0) {
    size_t size = message_cut(status->message, status->message_size);
    a->message = grpc_slice_from_copied_buffer(status->message, size);
    a->has_message = true;
    op->data.send_status_from_server.status_details = &a->message;
  }
  if (status->details_size > 0 && status->details_size <= TRANSPORT_DETAILS_MAX)
    trailer_add(a, DETAILS_KEY, status->details, status->details_size);
  if (retry_after_ms >= 0) {
    char text[16];
    int size = snprintf(text, sizeof text, "%d", retry_after_ms);
    trailer_add(a, RETRY_KEY, text, (size_t)size);
  }
  op->data.send_status_from_server.trailing_metadata = a->trailers;
  op->data.send_status_from_server.trailing_metadata_count = a->trailer_count;
}

void answer_close(answer *a, int *cancelled) {
  op_add(a, GRPC_OP_RECV_CLOSE_ON_SERVER)->data.recv_close_on_server.cancelled = cancelled;
}

/* A refused batch is a mistake of this room (an operation twice, a malformed
 * trailer): its tag would never come back, and the call would hang with all it
 * holds. There is nothing to be saved by going on. */
void batch_start(grpc_call *call, const grpc_op *ops, size_t count, tag *g) {
  TAG_PUBLISH(g);
  grpc_call_error error = grpc_call_start_batch(call, ops, count, g, NULL);
  if (error != GRPC_CALL_OK) {
    log_event(LOG_ERROR, "the gRPC core refused a batch",
              log_text("error", grpc_call_error_to_string(error)), log_end());
    abort();
  }
}

void answer_start(answer *a, grpc_call *call, tag *g) {
  batch_start(call, a->ops, a->count, g);
  if (a->has_message)
    grpc_slice_unref(a->message);
  for (size_t i = 0; i < a->trailer_count; i++)
    grpc_slice_unref(a->trailers[i].value);
}

void wake_start(grpc_call *call, tag *g) { batch_start(call, NULL, 0, g); }

/* The core's deadlines are on its own monotonic clock, which need not share its
 * zero with ours; what is left of the time is the same on both. */
int64_t deadline_to_us(gpr_timespec deadline) {
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
    return INT64_MAX;
  gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  if (left.tv_sec > INT64_MAX / 4 / 1000000)
    return INT64_MAX;
  return clock_mono_us() + left.tv_sec * 1000000 + left.tv_nsec / 1000;
}

const char *header_find(const grpc_metadata_array *headers, const char *key, size_t *ret_size) {
  for (size_t i = 0; i < headers->count; i++) {
    const grpc_metadata *header = &headers->metadata[i];
    if (grpc_slice_str_cmp(header->key, key) != 0)
      continue;
    *ret_size = GRPC_SLICE_LENGTH(header->value);
    return (const char *)GRPC_SLICE_START_PTR(header->value);
  }
  return NULL;
}

/* grpc_slice_malloc aborts the process when there is no memory. Small replies
 * take that risk, as everything in the core does; a large one is probed, since
 * it alone can be what does not fit. */
bool reply_slice(size_t size, grpc_slice *ret_slice) {
  if (size > REPLY_MAX)
    return false;
  if (size < REPLY_PROBED_BYTES) {
    *ret_slice = grpc_slice_malloc(size);
    return true;
  }
  void *data = malloc(size);
  if (data == NULL)
    return false;
  *ret_slice = grpc_slice_new(data, size, free);
  return true;
}

bool message_view(grpc_byte_buffer *buffer, const uint8_t **ret_data, size_t *ret_size) {
  size_t pieces = buffer->data.raw.slice_buffer.count;
  if (pieces > 1)
    return false;
  if (pieces == 0) {
    *ret_data = (const uint8_t *)"";
    *ret_size = 0;
    return true;
  }
  grpc_slice *slice = &buffer->data.raw.slice_buffer.slices[0];
  *ret_data = GRPC_SLICE_START_PTR(*slice);
  *ret_size = GRPC_SLICE_LENGTH(*slice);
  return true;
}

void message_copy(grpc_byte_buffer *buffer, uint8_t *out) {
  const grpc_slice_buffer *pieces = &buffer->data.raw.slice_buffer;
  for (size_t i = 0; i < pieces->count; i++) {
    size_t size = GRPC_SLICE_LENGTH(pieces->slices[i]);
    if (size > 0)
      memcpy(out, GRPC_SLICE_START_PTR(pieces->slices[i]), size);
    out += size;
  }
}
