/* What the files of this room share. Nothing outside of it includes this.
 *
 * A completion queue has one thread. A call is bound to the queue that took it,
 * and everything about it but the fields marked "any thread" is touched by that
 * thread alone, so there are no locks on a call's way. */
#ifndef MNEME_TRANSPORT_CORE_H
#define MNEME_TRANSPORT_CORE_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "transport/transport.h"

/* --- Limits of the room's own -------------------------------------------- */

#define QUEUES_MAX 64
#define SLOTS_MAX 64
#define STREAM_SLOTS_MAX 4 /* armed per streaming method and queue */
#define UNKNOWN_SLOTS 2    /* armed per queue for methods nobody registered */
#define IDLE_CALLS_MAX 256 /* finished calls that one queue keeps for reuse */
#define METHODS_MAX 256
#define REPLY_MAX (64u << 20)        /* bytes; larger is a mistake of ours */
#define REPLY_PROBED_BYTES (64 * 1024) /* above: malloc may say no, see reply_slice */
#define CACHE_LINE 64

/* --- Tags ------------------------------------------------------------------
 * The core hands a tag's address back when what was asked for is done. The
 * queue's thread then calls it. */
typedef struct tag tag;
struct tag {
  void (*done)(tag *g, bool ok);
};

#define STATUS_TEXT(status_code, text) \
  {.code = (status_code), .message = (text), .message_size = sizeof(text) - 1}

#define container_of(pointer, type, member) \
  ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* TSan does not see the hand-over inside the core, which is not instrumented: we
 * publish a tag before each batch or request and take it over after each event. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MNEME_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(MNEME_TSAN)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TAG_PUBLISH(g) __tsan_release(g)
#define TAG_TAKE(g) __tsan_acquire(g)
#else
#define TAG_PUBLISH(g) ((void)(g))
#define TAG_TAKE(g) ((void)(g))
#endif

/* --- The server ---------------------------------------------------------- */

/* A method as the core knows it. */
typedef struct registered {
  const transport_method *method;
  void *handle;
} registered;

typedef struct queue {
  transport *transport;
  grpc_completion_queue *core;
  pthread_t thread;
  bool thread_runs;
  bool armed; /* guarded by transport.lock */
  bool long_lived; /* for streams of unbounded life, and nothing else */
  int number;

  transport_call *idle; /* finished unary calls, kept for reuse */
  size_t idle_count;

  /* The open streams, for the drain to wake. */
  pthread_mutex_t streams_lock;
  transport_stream *open_streams;

  /* Written by the queue's thread, read by any. live counts what the drain must
   * wait for: calls and streams whose memory is in use. */
  _Alignas(CACHE_LINE) atomic_int_fast64_t live;
  atomic_int_fast64_t started;
  atomic_int_fast64_t refused;
  atomic_int_fast64_t streams;
} queue;

/* What the queues' threads wait for before they begin. */
typedef enum transport_phase { PHASE_STARTING, PHASE_SERVING, PHASE_ABANDONED } transport_phase;

struct transport {
  const transport_options *options;
  grpc_server *server;
  grpc_resource_quota *quota;
  queue *queues;
  int queue_count;
  registered *methods;
  size_t method_count;
  int ports[TRANSPORT_LISTEN_MAX];

  bool bound; /* has listeners, so that it must be shut down before it is freed */
  tag stopped;
  /* The lock guards the four below and is held for a few lines only. Nothing on
   * a call's way takes it, but the last call of a queue while a drain waits. */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  transport_phase phase;
  int queues_ready; /* threads that have armed their slots, or failed to */
  bool core_stopped;
  bool hurried; /* no more grace */
  atomic_bool drain_waits;
  atomic_bool turning_away;

  /* Metered calls under way, of all queues. */
  _Alignas(CACHE_LINE) atomic_int admitted;
};

/* What unary calls, streams and calls of unknown methods have in common. */
typedef struct call_head {
  queue *queue;
  const registered *registered;
  grpc_call *core;
  gpr_timespec deadline;
  int64_t deadline_us; /* on our clock; set on arrival */
  grpc_metadata_array headers;
  bool metered;   /* counted in transport.admitted */
  bool slot_owed; /* no memory to arm a slot when this call came: this one's
                     memory becomes the slot when the call is over */
} call_head;

/* server.c */
typedef enum admission { ADMITTED, REFUSED_BUSY, REFUSED_DRAINING } admission;
/* Counts a call that has arrived. */
admission call_enter(call_head *head);
/* The answer to a refusal, and when the client may come back (-1 = not said). */
const transport_status *refusal_status(const transport *t, admission how);
int refusal_retry_ms(admission how);
/* The opposite of call_enter, when the core is through with the call. */
void call_leave(call_head *head);

/* unary.c, stream.c, unknown.c. Each arms one slot, and answers false without
 * memory or when the server is shutting down. */
bool unary_arm(queue *q, const registered *r);
bool stream_arm(queue *q, const registered *r);
bool unknown_arm(queue *q);
/* Tells the owners of the queue's open streams that the server drains. */
void streams_drain(queue *q);
/* Frees the calls kept for reuse; after the queue's thread has ended. */
void unary_free_idle(queue *q);

/* --- answer.c: batches and bytes ----------------------------------------- */

/* A batch under construction, and the slices it refers to. */
typedef struct answer {
  grpc_op ops[4];
  size_t count;
  bool has_message;
  grpc_slice message;
  grpc_metadata trailers[2];
  size_t trailer_count;
} answer;

void answer_init(answer *a);
void answer_headers(answer *a);
void answer_body(answer *a, grpc_byte_buffer *body);
/* NULL = OK. retry_after_ms < 0 = leave the retry to the client. */
void answer_status(answer *a, const transport_status *status, int retry_after_ms);
void answer_close(answer *a, int *cancelled);
/* Any thread; what the operations point to may be released when this returns. */
void batch_start(grpc_call *call, const grpc_op *ops, size_t count, tag *g);
/* Starts the batch; from then on the call may be gone at any time. */
void answer_start(answer *a, grpc_call *call, tag *g);
/* Starts a batch without operations: the tag comes back at once. Any thread. */
void wake_start(grpc_call *call, tag *g);

int64_t deadline_to_us(gpr_timespec deadline);
const char *header_find(const grpc_metadata_array *headers, const char *key, size_t *ret_size);
/* Memory for `size` bytes of a reply; false = none. */
bool reply_slice(size_t size, grpc_slice *ret_slice);
/* The bytes of a message that came in one piece; false = in several. */
bool message_view(grpc_byte_buffer *buffer, const uint8_t **ret_data, size_t *ret_size);
/* Copies a message that came in several; out has grpc_byte_buffer_length bytes. */
void message_copy(grpc_byte_buffer *buffer, uint8_t *out);

/* --- process.c: what is set once for the whole process -------------------- */
void process_prepare(void);

/* --- options.c ------------------------------------------------------------ */
/* Whether the options make sense; if not, says why. */
bool options_check(const transport_options *o, char *error, size_t error_size);
/* The server with its channel arguments; *ret_quota may be NULL. */
grpc_server *options_create_server(const transport_options *o, grpc_resource_quota **ret_quota);

#endif
