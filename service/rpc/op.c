#include "rpc/op.h"

#include "base/clock.h"

static bool call_expired(const mneme_call *call) {
  const op *o = (const op *)call;
  return o->gone(o);
}

void op_init(op *o, service *s, arena *a) {
  *o = (op){.service = s, .arena = a};
  o->call.now_us = clock_wall_us();
  o->call.expired = call_expired;
}

void op_finish(op *o, const wire_message *reply) {
  o->reply = reply;
  if (reply == NULL)
    error_no_memory(&o->error);
  o->finish(o);
}

void op_fail(op *o) {
  o->reply = NULL;
  if (o->error.code == CODE_OK)
    error_from_status(&o->error, o->arena, MNEME_INTERNAL, false, "(none)");
  o->finish(o);
}

void op_fail_no_memory(op *o) {
  error_no_memory(&o->error);
  op_fail(o);
}

void op_fail_status(op *o, mneme_status status, bool repeatable) {
  error_from_status(&o->error, o->arena, status, repeatable, op_backend(o));
  op_fail(o);
}

bool op_corrupt(op *o, const mneme_record *r) {
  return error_set(&o->error, o->arena, CODE_DATA_LOSS, "CORRUPT", NULL,
                   "memory \"%.*s\" (sequence %lld) does not match its checksum: delete it by its "
                   "id, or restore the store",
                   (int)r->id.size, r->id.data, (long long)r->sequence);
}

bool op_corrupt_settings(op *o, const mneme_header *h) {
  return error_set(&o->error, o->arena, CODE_DATA_LOSS, "CORRUPT", NULL,
                   "the settings of session \"%.*s\" are damaged, so it cannot be told whether it "
                   "matches: delete it by DeleteSession, or restore it from a backup",
                   (int)h->session.size, h->session.data);
}

void op_route(op *o, mneme_bytes ns, mneme_bytes session) {
  o->route = registry_route(o->service->registry, ns, session);
}

/* On a worker: time has passed since the op was queued. */
static void run_queued(void *ctx) {
  op *o = ctx;
  if (o->gone(o)) {
    op_fail_status(o, MNEME_TIMEOUT, false);
    return;
  }
  o->call.now_us = clock_wall_us();
  o->resume(o);
}

static bool may_run_here(const op *o, op_work work) {
  uint32_t caps = o->route.backend->type->caps;
  switch (work) {
  case OP_COMMIT: return (caps & MNEME_CAP_NB_COMMIT) != 0;
  case OP_READ_SHORT: return (caps & MNEME_CAP_NB_READ) != 0;
  case OP_UNBOUND: return false;
  }
  return false;
}

void op_run(op *o, op_work work, void (*resume)(op *o)) {
  if (may_run_here(o, work)) {
    if (o->gone(o))
      op_fail_status(o, MNEME_TIMEOUT, false);
    else
      resume(o);
    return;
  }
  o->resume = resume;
  if (!pool_submit(o->service->pool, &o->task, run_queued, o))
    op_fail_status(o, MNEME_BUSY, false);
}
