/* A server for the tests of the transport, with methods that can be held. */
#ifndef TESTS_UNIT_TRANSPORT_FIXTURE_H
#define TESTS_UNIT_TRANSPORT_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cmocka_test.h"
#include "grpc_client.h"
#include "transport/transport.h"

#define PATH_ECHO "/t.T/Echo"       /* answers on the queue's thread */
#define PATH_LATER "/t.T/Later"     /* answers from another thread */
#define PATH_HOLD "/t.T/Hold"       /* waits in `held` */
#define PATH_SCAN "/t.T/Scan"       /* the same, sees a cancel */
#define PATH_FAIL "/t.T/Fail"       /* INVALID_ARGUMENT, with the request as details */
#define PATH_ARENA "/t.T/Arena"     /* takes 200 KB, answers what was used before */
#define PATH_ABOUT "/t.T/About"     /* answers the header "x-test" */
#define PATH_FREE "/t.T/Free"       /* echo, unmetered */
#define PATH_CHAT "/t.T/Chat"       /* stream: echo, until half-close */
#define PATH_FLOOD "/t.T/Flood"     /* stream: FLOOD_MESSAGES messages */
#define PATH_LISTEN "/t.T/Listen"   /* stream, long-lived: `number`, when woken */
#define PATH_GATHER "/t.T/Gather"   /* stream: reads ahead, answers the sum of all bytes */
#define PATH_NOWHERE "/t.T/Nowhere" /* not registered */

#define FLOOD_BYTES 65536
#define FLOOD_MESSAGES 1000
#define HELD_MAX 64

typedef struct fixture {
  transport_options options;
  transport_method *methods;
  transport *server;
  grpc_channel *channel;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  transport_call *held[HELD_MAX];
  int held_count;
  transport_stream *stream; /* the last one that opened, held once */
  int opened;
  int closed;
  int released;
  uint64_t sum;       /* of Gather; queue's thread */
  int last_sent;      /* by Listen; queue's thread */
  atomic_int number;  /* what Listen sends, when it changes */
  atomic_int flooded; /* sends that flow control took */
  atomic_int handled; /* calls of unary handlers */
} fixture;

/* Options that suit the tests; change them, then start. */
void fixture_init(fixture *f);
void fixture_start(fixture *f);
/* Drains, closes and frees all. */
void fixture_stop(fixture *f);
/* Waits until the counter, one of the fixture's guarded by its lock, is n. */
void fixture_await(fixture *f, const int *counter, int n);
/* Waits until n streams have opened, and returns the last. */
transport_stream *fixture_stream(fixture *f, int n);
/* Waits until a call is held, and takes it. */
transport_call *fixture_take(fixture *f);
void fixture_reply(transport_call *call, const char *text);
/* Waits until an atomic counter no longer grows, and returns it. */
int fixture_settled(const atomic_int *counter);

#endif
