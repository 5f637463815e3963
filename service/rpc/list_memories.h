/* What the two forms of ListMemories share: of one session (list_memories.c), and
 * of all that begin alike (list_many.c). */
#ifndef MNEME_RPC_LIST_MEMORIES_H
#define MNEME_RPC_LIST_MEMORIES_H

#include "rpc/op.h"

/* Whether a record is of the roles, kinds and keys that were asked for. */
bool list_matches(const wire_list *q, const mneme_record *r);

/* q has a prefix and lies in the op's arena. Ends the op. */
void list_many(op *o, const wire_list *q);

#endif
