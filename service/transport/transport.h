/* The seam between Mneme and its transport. Everything above sees calls, bytes
 * and statuses; only this room includes <grpc/...>, so that another transport
 * could replace it.
 *
 * A method is unary or a stream. Handlers get the request's bytes on a queue
 * thread; they must not block there, and may finish the call at once or later
 * from any thread, exactly once.
 *
 *   queue thread                        worker, or a backend's thread
 *   ------------                        -----------------------------
 *   request arrives
 *   slot re-armed
 *   handler(call, bytes)  ── hands on ─▶ ...
 *                                        transport_reply_reserve + pack
 *   reply sent, call ends ◀── one batch ─ transport_reply_send
 *   arena cleared, call reused
 *
 * Ownership: a transport_call and all that lies in its arena belong to the
 * transport and live until the call was finished by its handler AND the core is
 * through with it. A handler that has finished its call must not touch it again.
 * Request bytes live as long as the call.
 *
 * Limits: transport_options names every one. */
#ifndef MNEME_TRANSPORT_TRANSPORT_H
#define MNEME_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

typedef struct transport transport;
typedef struct transport_call transport_call;     /* a unary call */
typedef struct transport_stream transport_stream; /* a streaming call */

/* How a call ends. code is a canonical gRPC code, 0 = OK. message is UTF-8, cut
 * at TRANSPORT_MESSAGE_MAX bytes as encoded on the wire, where a byte that is not
 * printable ASCII takes three; details are the bytes of a google.rpc.Status, sent
 * in the trailer grpc-status-details-bin (left out above TRANSPORT_DETAILS_MAX).
 * Both are copied. The two limits together stay below the 8 KiB of trailers that
 * clients take by default. */
#define TRANSPORT_MESSAGE_MAX 2048
#define TRANSPORT_DETAILS_MAX 4096

typedef struct transport_status {
  int code;
  const char *message;
  size_t message_size;
  const uint8_t *details;
  size_t details_size;
} transport_status;

/* --- Methods ------------------------------------------------------------- */

typedef enum transport_kind {
  TRANSPORT_UNARY = 1,      /* short: obeys its deadline, cannot see a cancel */
  TRANSPORT_UNARY_LONG = 2, /* scans: sees both, costs a tenth more */
  TRANSPORT_STREAM = 3      /* server or bidirectional streaming */
} transport_kind;

/* What a stream tells its owner; all on the stream's queue thread, one at a
 * time. NULL = not interested. */
typedef struct transport_stream_ops {
  /* A new stream. The owner sets its state, and usually asks for a message. */
  void (*open)(transport_stream *s, void *ctx);
  /* The message that was asked for; bytes are valid during the call only. */
  void (*message)(transport_stream *s, const uint8_t *data, size_t size);
  /* Instead of a message: the client sends no more. When the client was cut off,
   * this may come just before closed: the core does not tell them apart. */
  void (*half_close)(transport_stream *s);
  /* The last send has been taken by flow control: the next may go. */
  void (*writable)(transport_stream *s);
  /* Somebody called transport_stream_wake; several wakes may come as one. */
  void (*wake)(transport_stream *s);
  /* The server begins to drain: read no more, and finish when what is under way
   * has been answered. Once, before a wake; a stream without it is cut off at the
   * end of the grace. */
  void (*drain)(transport_stream *s);
  /* The stream is over (finished, cancelled, or its deadline passed): nothing
   * can be sent any more. Once. The stream itself lives on while it is held. */
  void (*closed)(transport_stream *s);
  /* Last call, when nothing holds the stream: free the owner's state. */
  void (*release)(transport_stream *s);
} transport_stream_ops;

typedef struct transport_method {
  const char *path; /* "/mneme.v1.MemoryBackend/AppendMemories" */
  transport_kind kind;
  bool unmetered; /* admitted even when the server is full: health, reflection */
  bool long_lived; /* stream of unbounded life: on a queue of its own */
  void (*unary)(transport_call *call, const uint8_t *data, size_t size, void *ctx);
  const transport_stream_ops *stream;
  void *ctx;
} transport_method;

/* --- Unary calls --------------------------------------------------------- */

arena *transport_call_arena(transport_call *call);
/* On clock_mono_us; INT64_MAX = none. */
int64_t transport_call_deadline_us(const transport_call *call);
/* Whether nobody waits any more: the deadline has passed, or (UNARY_LONG) the
 * client has left. Any thread, cheap. */
bool transport_call_gone(const transport_call *call);
/* Value of a request header (lower-case key), NULL when absent; not NUL-ended. */
const char *transport_call_header(const transport_call *call, const char *key, size_t *ret_size);

/* Memory of the reply itself: pack straight into it, then send. One reserve per
 * call; NULL = no memory (then fail the call). */
uint8_t *transport_reply_reserve(transport_call *call, size_t size);
/* Without a reserve before: an empty message, which is a valid reply. */
void transport_reply_send(transport_call *call);
/* Ends the call without a reply. */
void transport_call_fail(transport_call *call, const transport_status *status);

/* --- Streams ------------------------------------------------------------- */

void transport_stream_set_state(transport_stream *s, void *state);
void *transport_stream_state(const transport_stream *s);
int64_t transport_stream_deadline_us(const transport_stream *s);
bool transport_stream_gone(const transport_stream *s); /* any thread */
const char *transport_stream_header(const transport_stream *s, const char *key, size_t *ret_size);

/* Queue thread only. Asks for one message; a second ask before it has come is
 * ignored. */
void transport_stream_read(transport_stream *s);
/* Queue thread only. One send at a time: reserve, pack, send, then wait for
 * writable. reserve answers NULL while a send is under way, when the stream is
 * over, or without memory. */
uint8_t *transport_stream_reserve(transport_stream *s, size_t size);
void transport_stream_send(transport_stream *s);
bool transport_stream_can_send(const transport_stream *s);
/* Queue thread only. Ends the stream; once, and with no send under way. */
void transport_stream_finish(transport_stream *s, const transport_status *status);

/* Any thread, while held. Makes the queue thread call ops->wake. */
void transport_stream_wake(transport_stream *s);
/* Any thread. The stream's memory stays until each hold is released, and
 * transport_drain waits for that: let go at the latest in closed. */
void transport_stream_hold(transport_stream *s);
void transport_stream_unhold(transport_stream *s);

/* --- The server ---------------------------------------------------------- */

#define TRANSPORT_LISTEN_MAX 8

typedef struct transport_options {
  const char *listen[TRANSPORT_LISTEN_MAX]; /* "127.0.0.1:7700", "unix:/run/x.sock" */
  size_t listen_count;
  int queues;               /* completion queues with a thread each, 1..64 */
  int slots;                /* armed per unary method and queue, 1..64 */
  size_t receive_max;       /* bytes of one message; above: RESOURCE_EXHAUSTED */
  size_t metadata_max;      /* bytes of request headers */
  size_t memory_quota;      /* bytes of the core's buffers, 0 = none */
  int streams_per_connection_max;
  int calls_max;            /* under way at once; above: `busy` */
  size_t arena_max;         /* bytes one call may take */
  int keepalive_ms;         /* ping after that much silence */
  int keepalive_timeout_ms; /* and close when no answer came in that time */
  int idle_ms;              /* close connections without calls, 0 = never */
  int drain_ms;             /* grace for calls under way at shutdown */
  transport_status busy;    /* the answer when calls_max are under way; not copied */
  transport_status draining; /* the answer during a drain; not copied; code 0 = a plain one */
  /* The answer to a method that was not registered. */
  void (*unknown)(const char *path, size_t size, arena *a, transport_status *ret_status);
} transport_options;

/* Figures for stats and tests; any thread. */
typedef struct transport_figures {
  int64_t calls_started;
  int64_t calls_refused; /* busy */
  int64_t calls_active;
  int64_t streams_active;
} transport_figures;

/* Binds and starts serving. methods and options stay with the caller and must
 * live as long as the transport. On failure writes a text into error and returns
 * NULL. Block SIGTERM, SIGINT and SIGHUP before this: the core's threads inherit
 * the mask. */
transport *transport_open(const transport_options *options, const transport_method *methods,
                          size_t method_count, char *error, size_t error_size);
/* The port of listen[i] (the one given, or the one the system chose for 0). */
int transport_port(const transport *t, size_t i);
void transport_get_figures(const transport *t, transport_figures *ret_figures);
/* Turns new calls away with UNAVAILABLE, lets those under way finish for
 * drain_ms, then cancels them. Without calls under way it does not wait for
 * drain_ms, whatever connections are open. Returns when every handler has finished its call
 * and every stream was let go, however long that takes; blocks. */
void transport_drain(transport *t);
/* Any thread, before transport_close: ends the grace of a drain, be it under way
 * or to come, at once. */
void transport_hurry(transport *t);
/* After transport_drain. Frees everything. */
void transport_close(transport *t);

#endif
