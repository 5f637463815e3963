/* See grpc_client.h. Each rpc has a queue of its own, plucked by tag, so that
 * the order in which a test waits is its own business. */
#include "grpc_client.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_UNARY = 1, TAG_STATUS, TAG_SEND, TAG_CLOSE, TAG_RECEIVE };

static void *tag_of(int n) { return (void *)(intptr_t)n; }

grpc_channel *channel_open_target(const char *target) {
  grpc_arg arg[2];
  memset(arg, 0, sizeof arg);
  arg[0].type = GRPC_ARG_INTEGER;
  arg[0].key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL;
  arg[0].value.integer = 1;
  arg[1].type = GRPC_ARG_INTEGER;
  arg[1].key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH;
  arg[1].value.integer = 64 << 20;
  grpc_channel_args args = {2, arg};
  grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
  grpc_channel *channel = grpc_channel_create(target, credentials, &args);
  grpc_channel_credentials_release(credentials);
  return channel;
}

grpc_channel *channel_open(int port) {
  char target[64];
  snprintf(target, sizeof target, "ipv4:127.0.0.1:%d", port);
  return channel_open_target(target);
}

static gpr_timespec after_ms(int ms) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static void must(grpc_call_error error) {
  if (error == GRPC_CALL_OK)
    return;
  fprintf(stderr, "client batch: %s\n", grpc_call_error_to_string(error));
  abort();
}

/* Returns -1 when the time is over, else whether the batch succeeded. */
static int pluck(rpc *r, int which, int wait_ms) {
  grpc_event event =
      grpc_completion_queue_pluck(r->queue, tag_of(which), after_ms(wait_ms), NULL);
  return event.type == GRPC_OP_COMPLETE ? event.success : -1;
}

static int pluck_long(rpc *r, int which) {
  int result = pluck(r, which, RPC_WAIT_MS);
  if (result < 0) {
    fprintf(stderr, "client: nothing came within %d ms (tag %d)\n", RPC_WAIT_MS, which);
    abort();
  }
  return result;
}

static grpc_byte_buffer *buffer_of(const void *data, size_t size) {
  grpc_slice slice = grpc_slice_from_copied_buffer(data, size);
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return buffer;
}

static void message_take(rpc *r) {
  free(r->data);
  r->data = NULL;
  r->size = 0;
  if (r->incoming == NULL)
    return;
  grpc_byte_buffer_reader reader;
  grpc_byte_buffer_reader_init(&reader, r->incoming);
  grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
  r->size = GRPC_SLICE_LENGTH(all);
  r->data = malloc(r->size + 1);
  memcpy(r->data, GRPC_SLICE_START_PTR(all), r->size);
  grpc_slice_unref(all);
  grpc_byte_buffer_reader_destroy(&reader);
  grpc_byte_buffer_destroy(r->incoming);
  r->incoming = NULL;
}

static void status_take(rpc *r) {
  size_t size = GRPC_SLICE_LENGTH(r->status_text);
  if (size >= sizeof r->text)
    size = sizeof r->text - 1;
  memcpy(r->text, GRPC_SLICE_START_PTR(r->status_text), size);
  r->text[size] = '\0';
  for (size_t i = 0; i < r->trailers.count; i++) {
    grpc_metadata *m = &r->trailers.metadata[i];
    if (grpc_slice_str_cmp(m->key, "grpc-status-details-bin") != 0)
      continue;
    r->details_size = GRPC_SLICE_LENGTH(m->value);
    if (r->details_size <= sizeof r->details)
      memcpy(r->details, GRPC_SLICE_START_PTR(m->value), r->details_size);
  }
}

void rpc_begin(rpc *r, grpc_channel *channel, const char *path, int deadline_ms) {
  memset(r, 0, sizeof *r);
  r->queue = grpc_completion_queue_create_for_pluck(NULL);
  grpc_metadata_array_init(&r->headers);
  grpc_metadata_array_init(&r->trailers);
  r->status_text = grpc_empty_slice();
  gpr_timespec deadline =
      deadline_ms < 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : after_ms(deadline_ms);
  grpc_slice method = grpc_slice_from_copied_string(path);
  r->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, r->queue, method, NULL,
                                     deadline, NULL);
  grpc_slice_unref(method);
}

static void op_status(rpc *r, grpc_op *op) {
  op->op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  op->data.recv_status_on_client.trailing_metadata = &r->trailers;
  op->data.recv_status_on_client.status = &r->status;
  op->data.recv_status_on_client.status_details = &r->status_text;
}

void rpc_unary_send(rpc *r, const void *data, size_t size, const char *key, const char *value) {
  grpc_op ops[6];
  memset(ops, 0, sizeof ops);
  grpc_metadata header;
  memset(&header, 0, sizeof header);
  ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  if (key != NULL) {
    header.key = grpc_slice_from_copied_string(key);
    header.value = grpc_slice_from_copied_string(value);
    ops[0].data.send_initial_metadata.count = 1;
    ops[0].data.send_initial_metadata.metadata = &header;
  }
  size_t n = 1;
  if (data != NULL) { /* NULL = headers without a message */
    r->outgoing = buffer_of(data, size);
    ops[n].op = GRPC_OP_SEND_MESSAGE;
    ops[n++].data.send_message.send_message = r->outgoing;
  }
  ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  ops[n].op = GRPC_OP_RECV_INITIAL_METADATA;
  ops[n++].data.recv_initial_metadata.recv_initial_metadata = &r->headers;
  ops[n].op = GRPC_OP_RECV_MESSAGE;
  ops[n++].data.recv_message.recv_message = &r->incoming;
  op_status(r, &ops[n++]);
  must(grpc_call_start_batch(r->call, ops, n, tag_of(TAG_UNARY), NULL));
  if (key != NULL) {
    grpc_slice_unref(header.key);
    grpc_slice_unref(header.value);
  }
}

grpc_status_code rpc_unary_wait(rpc *r) {
  pluck_long(r, TAG_UNARY);
  status_take(r);
  message_take(r);
  return r->status;
}

grpc_status_code rpc_unary(rpc *r, grpc_channel *channel, const char *path, int deadline_ms,
                           const void *data, size_t size) {
  rpc_begin(r, channel, path, deadline_ms);
  rpc_unary_send(r, data, size, NULL, NULL);
  return rpc_unary_wait(r);
}

void rpc_open(rpc *r) {
  grpc_op ops[2];
  memset(ops, 0, sizeof ops);
  ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  op_status(r, &ops[1]);
  must(grpc_call_start_batch(r->call, ops, 2, tag_of(TAG_STATUS), NULL));
  memset(ops, 0, sizeof ops);
  ops[0].op = GRPC_OP_RECV_INITIAL_METADATA;
  ops[0].data.recv_initial_metadata.recv_initial_metadata = &r->headers;
  /* Its tag is the message's: the first receive waits for both. */
  must(grpc_call_start_batch(r->call, ops, 1, tag_of(TAG_UNARY), NULL));
}

bool rpc_try_send(rpc *r, const void *data, size_t size, int wait_ms) {
  if (!r->sending) {
    grpc_op op;
    memset(&op, 0, sizeof op);
    r->outgoing = buffer_of(data, size);
    op.op = GRPC_OP_SEND_MESSAGE;
    op.data.send_message.send_message = r->outgoing;
    must(grpc_call_start_batch(r->call, &op, 1, tag_of(TAG_SEND), NULL));
    r->sending = true;
  }
  int result = pluck(r, TAG_SEND, wait_ms);
  if (result < 0)
    return false;
  r->sending = false;
  grpc_byte_buffer_destroy(r->outgoing);
  r->outgoing = NULL;
  return result == 1;
}

bool rpc_send(rpc *r, const void *data, size_t size) {
  return rpc_try_send(r, data, size, RPC_WAIT_MS);
}

void rpc_half_close(rpc *r) {
  grpc_op op;
  memset(&op, 0, sizeof op);
  op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  must(grpc_call_start_batch(r->call, &op, 1, tag_of(TAG_CLOSE), NULL));
  pluck_long(r, TAG_CLOSE);
}

bool rpc_receive(rpc *r) {
  grpc_op op;
  memset(&op, 0, sizeof op);
  op.op = GRPC_OP_RECV_MESSAGE;
  op.data.recv_message.recv_message = &r->incoming;
  must(grpc_call_start_batch(r->call, &op, 1, tag_of(TAG_RECEIVE), NULL));
  pluck_long(r, TAG_RECEIVE);
  bool got = r->incoming != NULL;
  message_take(r);
  return got;
}

grpc_status_code rpc_end(rpc *r) {
  pluck_long(r, TAG_STATUS);
  pluck_long(r, TAG_UNARY);
  status_take(r);
  return r->status;
}

void rpc_cancel(rpc *r) { grpc_call_cancel(r->call, NULL); }

void rpc_free(rpc *r) {
  if (r->sending)
    pluck(r, TAG_SEND, RPC_WAIT_MS);
  grpc_call_unref(r->call);
  if (r->outgoing != NULL)
    grpc_byte_buffer_destroy(r->outgoing);
  grpc_metadata_array_destroy(&r->headers);
  grpc_metadata_array_destroy(&r->trailers);
  grpc_slice_unref(r->status_text);
  free(r->data);
  grpc_completion_queue_shutdown(r->queue);
  while (grpc_completion_queue_pluck(r->queue, NULL, after_ms(RPC_WAIT_MS), NULL).type !=
         GRPC_QUEUE_SHUTDOWN)
    continue;
  grpc_completion_queue_destroy(r->queue);
}
