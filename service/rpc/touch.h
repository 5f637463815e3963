/* The touch that a read asked for: a commit of its own after the read, on the
 * incarnation that was read. The answer shows the memories as they were before. */
#ifndef MNEME_RPC_TOUCH_H
#define MNEME_RPC_TOUCH_H

#include "rpc/op.h"

typedef struct touch {
  wire_touch kind;
  const mneme_uid *uid;      /* of the incarnation that was read; it outlives the op */
  int64_t *sequences;        /* sorted here */
  size_t count;
  const wire_message *reply; /* the answer when the touch is done */
} touch;

/* Ends the op with t->reply, at once when there is nothing to touch. */
void touch_and_finish(op *o, const wire_scope *scope, const touch *t);

#endif
