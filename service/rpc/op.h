/* An operation: one request being served, whether it came as a unary call or as
 * an item of a stream. Methods are written against it and never see the
 * transport.
 *
 *   method(op, bytes) ─▶ wire_read_* ─▶ op_route ─▶ op_run ─▶ backend ─▶ done
 *                                                                  │
 *        transport ◀── op->finish ◀── op_finish / op_fail ◀────────┘
 *
 * Ownership: an op lies in memory of its owner (a unary call's arena, an item of
 * a stream), which takes it back in finish. After op_finish or op_fail nothing of
 * it may be touched. A backend's done may come on any thread; then the method
 * goes on there. One thread at a time works on an op. */
#ifndef MNEME_RPC_OP_H
#define MNEME_RPC_OP_H

#include "rpc/service.h"
#include "wire/messages.h"

typedef struct op op;

struct op {
  mneme_call call; /* first: what a backend hands to `expired` is the op */
  service *service;
  arena *arena;
  error error;
  const wire_message *reply; /* NULL when error is set */
  registry_routed route;
  bool (*gone)(const op *o); /* nobody waits any more; any thread */
  void (*finish)(op *o);
  void *owner;
  pool_task task;
  void (*resume)(op *o);
  void *state; /* of the method that is at work */
};

/* A method: reads its request from data and ends with op_finish or op_fail, now
 * or later. */
typedef void (*op_method)(op *o, const uint8_t *data, size_t size);

/* Sets everything but gone, finish and owner. */
void op_init(op *o, service *s, arena *a);

/* Answers with reply; NULL = there was no memory for it. */
void op_finish(op *o, const wire_message *reply);
/* Answers with o->error. */
void op_fail(op *o);
void op_fail_no_memory(op *o);
/* Answers with what a backend's status means. */
void op_fail_status(op *o, mneme_status status, bool repeatable);

/* Sets o->error: a record that does not match its checksum. Returns false. */
bool op_corrupt(op *o, const mneme_record *r);
/* The same for a session whose settings, which a filter or labels ask for, are. */
bool op_corrupt_settings(op *o, const mneme_header *h);

/* Finds the session's backend and rule. */
void op_route(op *o, mneme_bytes ns, mneme_bytes session);

/* How op_run decides where a step runs. */
typedef enum op_work {
  OP_COMMIT,     /* a commit that changes no more than its request names */
  OP_READ_SHORT, /* at most MNEME_SCAN_CHECK records without a filter */
  OP_UNBOUND     /* anything else: a scan, the removal of a whole session */
} op_work;

/* Runs resume on this thread when the routed backend promises not to block on
 * such work, else on the worker pool; a full pool is BUSY. A deadline that has
 * passed ends the op before it has begun. */
void op_run(op *o, op_work work, void (*resume)(op *o));

/* The name of the routed backend, for messages. */
static inline const char *op_backend(const op *o) {
  return o->route.backend->name;
}

#endif
