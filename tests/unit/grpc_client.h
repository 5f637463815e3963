/* A small blocking gRPC client on the core, for tests of the transport. One
 * thread uses an rpc at a time. Every wait ends after RPC_WAIT_MS. */
#ifndef TESTS_UNIT_GRPC_CLIENT_H
#define TESTS_UNIT_GRPC_CLIENT_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_WAIT_MS 20000
#define RPC_TEXT_MAX 4096

typedef struct rpc {
  grpc_completion_queue *queue;
  grpc_call *call;
  grpc_byte_buffer *outgoing;
  grpc_byte_buffer *incoming;
  grpc_metadata_array headers;
  grpc_metadata_array trailers;
  grpc_slice status_text;
  grpc_status_code status; /* of the call, after rpc_wait or rpc_end */
  char text[RPC_TEXT_MAX]; /* the status's message */
  size_t details_size;     /* grpc-status-details-bin */
  uint8_t details[RPC_TEXT_MAX];
  uint8_t *data; /* the last message received */
  size_t size;
  bool sending; /* a send that rpc_try_send has not seen the end of */
} rpc;

/* A channel of its own connection. */
grpc_channel *channel_open(int port);
grpc_channel *channel_open_target(const char *target);

/* deadline_ms < 0 = none; key may be NULL. */
void rpc_begin(rpc *r, grpc_channel *channel, const char *path, int deadline_ms);

/* A unary call in three steps: begin, send, wait; or in one. */
void rpc_unary_send(rpc *r, const void *data, size_t size, const char *key, const char *value);
grpc_status_code rpc_unary_wait(rpc *r);
grpc_status_code rpc_unary(rpc *r, grpc_channel *channel, const char *path, int deadline_ms,
                           const void *data, size_t size);

/* A stream: begin, open, any of send, half_close and receive, end. */
void rpc_open(rpc *r);
bool rpc_send(rpc *r, const void *data, size_t size);
/* Whether the send was taken within wait_ms; if not, it stays under way. */
bool rpc_try_send(rpc *r, const void *data, size_t size, int wait_ms);
void rpc_half_close(rpc *r);
/* false = the server sends no more. */
bool rpc_receive(rpc *r);
grpc_status_code rpc_end(rpc *r);

void rpc_cancel(rpc *r);
void rpc_free(rpc *r);

#endif
