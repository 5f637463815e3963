/* Steps of one op, one after the other, each of which may be answered inline or
 * later from any thread. Inline answers do not nest: a thousand commits on dict
 * take one stack frame. Later ones go on on the worker pool, never on a thread of
 * the backend.
 *
 *   loop_start ─▶ step ─▶ (backend) ─▶ loop_next ─▶ step ─▶ ... ─▶ loop_end ─▶ end
 *
 * Before each step the op's clock is set anew. When its caller has gone, or the
 * pool takes nothing any more, end comes instead of a step and `stopped` says why.
 *
 * Ownership: a loop lies in its method's state. Threads: one at a time, as the op. */
#ifndef MNEME_RPC_LOOP_H
#define MNEME_RPC_LOOP_H

#include <stdatomic.h>

#include "rpc/op.h"

#define LOOP_WAIT_US 10000 /* until another try, when the pool's queue is full */

typedef struct loop {
  op *op;
  void (*step)(void *ctx); /* begins something that ends with loop_next or loop_end */
  void (*end)(void *ctx);  /* may end the op */
  void *ctx;
  mneme_status stopped; /* OK, TIMEOUT, BUSY */
  bool over;            /* its own, as is the next */
  atomic_int state;
} loop;

/* On a worker. The last thing that the caller does with the op. */
void loop_start(loop *l);
/* One of them, once for each step, as the last thing that a callback does. */
void loop_next(loop *l);
void loop_end(loop *l);

#endif
