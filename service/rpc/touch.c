#include "rpc/touch.h"

#include <stdlib.h>

#include "rpc/commit.h"

static const wire_message *answer(commit *c, const mneme_written *w) {
  (void)w;
  return ((const touch *)c->request)->reply;
}

/* A session that has gone since the read has nothing left to touch. */
static bool refused(commit *c, mneme_status status, const mneme_written *w) {
  (void)w;
  if (status != MNEME_CONFLICT && status != MNEME_NOT_FOUND)
    return false;
  op_finish(c->op, ((const touch *)c->request)->reply);
  return true;
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

void touch_and_finish(op *o, const wire_scope *scope, const touch *t) {
  if (t->kind == WIRE_TOUCH_NONE || t->count == 0 || t->reply == NULL) {
    op_finish(o, t->reply);
    return;
  }
  fingerprint none = {0, 0};
  commit *c = commit_new(o, scope, &none);
  if (c == NULL)
    return;
  touch *kept = arena_alloc(o->arena, sizeof *kept);
  if (kept == NULL) {
    op_fail_no_memory(o);
    return;
  }
  *kept = *t;
  qsort(kept->sequences, kept->count, sizeof *kept->sequences, ascending);
  c->request = kept;
  c->answer = answer;
  c->refused = refused;
  c->write.uid = kept->uid;
  mneme_step *step = commit_step(c, MNEME_STEP_TOUCH);
  step->sequences = kept->sequences;
  step->sequence_count = kept->count;
  step->slide_ttl = kept->kind == WIRE_TOUCH_TTL;
  commit_start(c);
}
