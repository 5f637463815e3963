/* The floor: what the gRPC C core can do on this machine when a server does
 * nothing at all. The service is measured against it.
 *
 *   echo_server ADDRESS QUEUES REPLY_BYTES METHOD...
 *   echo_server 127.0.0.1:7799 1 0 /mneme.v1.MemoryBackend/AppendMemories
 *
 * A call is answered with its own request, or, when REPLY_BYTES is not 0, with as
 * many zeros. One thread per queue, 16 slots per method and queue, the request
 * read with the call, and one batch for the whole answer: the order of calls that
 * measured best. It ends when its standard input does.
 *
 * No limits, no admission, no deadlines, no other methods: what a service adds is
 * to be seen in the difference. */
#include <dlfcn.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUES_MAX 64
#define METHODS_MAX 64
#define SLOTS 16
#define REPLY_BYTES_MAX (4 << 20)

static grpc_server *server;
static grpc_slice fixed_reply;
static bool reply_is_fixed;

typedef struct queue {
  grpc_completion_queue *core;
  pthread_t thread;
} queue;

/* A slot and the call that fills it; it becomes a slot again when the call is
 * over, while another waits meanwhile. */
typedef struct call {
  queue *queue;
  void *method;
  grpc_call *core;
  gpr_timespec deadline;
  grpc_metadata_array headers;
  grpc_byte_buffer *request;
  grpc_byte_buffer *reply;
  int cancelled;
  bool answered;
  struct call *next;
} call;

static _Thread_local call *idle;

static void slot_arm(queue *q, void *method) {
  call *c = idle;
  if (c != NULL)
    idle = c->next;
  else if ((c = calloc(1, sizeof *c)) == NULL)
    abort();
  c->queue = q;
  c->method = method;
  c->request = NULL;
  c->reply = NULL;
  c->answered = false;
  grpc_server_request_registered_call(server, method, &c->core, &c->deadline, &c->headers,
                                      &c->request, q->core, q->core, c);
}

static void call_answer(call *c) {
  grpc_op ops[4];
  memset(ops, 0, sizeof ops);
  if (reply_is_fixed)
    c->reply = grpc_raw_byte_buffer_create(&fixed_reply, 1);
  else
    c->reply = c->request != NULL ? grpc_byte_buffer_copy(c->request)
                                  : grpc_raw_byte_buffer_create(NULL, 0);
  ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  ops[1].op = GRPC_OP_SEND_MESSAGE;
  ops[1].data.send_message.send_message = c->reply;
  ops[2].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
  ops[2].data.send_status_from_server.status = GRPC_STATUS_OK;
  ops[3].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
  ops[3].data.recv_close_on_server.cancelled = &c->cancelled;
  c->answered = true;
  if (grpc_call_start_batch(c->core, ops, 4, c, NULL) != GRPC_CALL_OK)
    abort();
}

static void call_end(call *c) {
  grpc_byte_buffer_destroy(c->reply);
  if (c->request != NULL)
    grpc_byte_buffer_destroy(c->request);
  grpc_call_unref(c->core);
  c->next = idle;
  idle = c;
}

static void *queue_run(void *argument) {
  queue *q = argument;
  for (;;) {
    grpc_event event =
        grpc_completion_queue_next(q->core, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    call *c = event.tag;
    if (c->answered) {
      call_end(c);
    } else if (event.success) {
      slot_arm(q, c->method);
      call_answer(c);
    }
  }
}

/* As the service does: Debian's core records the order of all its locks. */
static void lock_graph_off(void) {
  void *symbol = dlsym(
      RTLD_DEFAULT, "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");
  void (*set_mode)(int);
  memcpy(&set_mode, &symbol, sizeof set_mode);
  if (symbol != NULL && getenv("ECHO_LOCK_GRAPH") == NULL)
    set_mode(0);
}

static grpc_server *server_create(void) {
  grpc_arg off[2];
  memset(off, 0, sizeof off);
  off[0].type = off[1].type = GRPC_ARG_INTEGER;
  off[0].key = (char *)GRPC_ARG_ENABLE_CHANNELZ;
  off[1].key = (char *)GRPC_ARG_ALLOW_REUSEPORT;
  grpc_channel_args args = {2, off};
  return grpc_server_create(&args, NULL);
}

int main(int argc, char **argv) {
  int queue_count = argc > 2 ? atoi(argv[2]) : 0;
  long reply_bytes = argc > 3 ? atol(argv[3]) : -1;
  int method_count = argc - 4;
  if (queue_count < 1 || queue_count > QUEUES_MAX || reply_bytes < 0 ||
      reply_bytes > REPLY_BYTES_MAX || method_count < 1 || method_count > METHODS_MAX) {
    fprintf(stderr, "usage: echo_server ADDRESS QUEUES REPLY_BYTES METHOD...\n");
    return 2;
  }
  static queue queues[QUEUES_MAX];
  void *methods[METHODS_MAX];
  lock_graph_off();
  grpc_init();
  reply_is_fixed = reply_bytes > 0;
  if (reply_is_fixed) {
    fixed_reply = grpc_slice_malloc((size_t)reply_bytes);
    memset(GRPC_SLICE_START_PTR(fixed_reply), 0, (size_t)reply_bytes);
  }
  server = server_create();
  for (int i = 0; i < queue_count; i++) {
    queues[i].core = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queues[i].core, NULL);
  }
  for (int i = 0; i < method_count; i++)
    methods[i] = grpc_server_register_method(server, argv[4 + i], NULL,
                                             GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
  int port = grpc_server_add_http2_port(server, argv[1], credentials);
  grpc_server_credentials_release(credentials);
  if (port == 0) {
    fprintf(stderr, "cannot listen on %s\n", argv[1]);
    return 1;
  }
  grpc_server_start(server);
  for (int i = 0; i < queue_count; i++) {
    for (int m = 0; m < method_count; m++)
      for (int k = 0; k < SLOTS; k++)
        slot_arm(&queues[i], methods[m]);
    pthread_create(&queues[i].thread, NULL, queue_run, &queues[i]);
  }
  printf("listening on port %d with %d queues\n", port, queue_count);
  fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0)
    continue;
  _exit(0); /* there is nothing to be saved, and no call worth waiting for */
}
