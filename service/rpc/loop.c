/* Who goes on after a step: the runner, that is the thread that called it, when
 * the answer was there before the step returned; else the thread that answered. In
 * `state` the two meet, and whoever comes second goes on:
 *
 *   BEGUN ── answer ──▶ ANSWERED ── step returns ──▶ the runner goes on
 *   BEGUN ── step returns ──▶ LEFT ── answer ──▶ the answering thread goes on
 *
 * The first of them touches nothing any more, since the second may end the op. */
#include "rpc/loop.h"

#include "base/clock.h"

enum { BEGUN, ANSWERED, LEFT };

static void run(loop *l) {
  op *o = l->op;
  do {
    if (o->gone(o)) {
      l->stopped = MNEME_TIMEOUT;
      break;
    }
    o->call.now_us = clock_wall_us();
    atomic_store(&l->state, BEGUN);
    l->step(l->ctx);
    if (atomic_exchange(&l->state, LEFT) == BEGUN)
      return;
  } while (!l->over);
  l->end(l->ctx);
}

static void run_task(void *ctx) {
  run(ctx);
}

static void hop(loop *l) {
  op *o = l->op;
  pool *p = o->service->pool;
  if (pool_submit(p, &o->task, run_task, l) ||
      pool_submit_after(p, &o->task, run_task, l, LOOP_WAIT_US))
    return;
  l->stopped = MNEME_BUSY;
  l->end(l->ctx);
}

static void answer(loop *l, bool over) {
  l->over = over;
  if (atomic_exchange(&l->state, ANSWERED) == BEGUN)
    return;
  if (over)
    l->end(l->ctx);
  else
    hop(l);
}

void loop_start(loop *l) {
  l->stopped = MNEME_OK;
  run(l);
}

void loop_next(loop *l) {
  answer(l, false);
}

void loop_end(loop *l) {
  answer(l, true);
}
