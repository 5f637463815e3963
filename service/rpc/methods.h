/* The methods that are served, one file each. */
#ifndef MNEME_RPC_METHODS_H
#define MNEME_RPC_METHODS_H

#include "rpc/op.h"

void rpc_create_session(op *o, const uint8_t *data, size_t size);
void rpc_get_session(op *o, const uint8_t *data, size_t size);
void rpc_list_sessions(op *o, const uint8_t *data, size_t size);
void rpc_update_session(op *o, const uint8_t *data, size_t size);
void rpc_clear_session(op *o, const uint8_t *data, size_t size);
void rpc_delete_session(op *o, const uint8_t *data, size_t size);
void rpc_delete_sessions(op *o, const uint8_t *data, size_t size);
void rpc_append_memories(op *o, const uint8_t *data, size_t size);
void rpc_get_memories(op *o, const uint8_t *data, size_t size);
void rpc_list_memories(op *o, const uint8_t *data, size_t size);
void rpc_update_memory(op *o, const uint8_t *data, size_t size);
void rpc_delete_memories(op *o, const uint8_t *data, size_t size);
void rpc_replace_memories(op *o, const uint8_t *data, size_t size);
void rpc_pop_memories(op *o, const uint8_t *data, size_t size);
void rpc_clean_up_memories(op *o, const uint8_t *data, size_t size);
void rpc_get_stats(op *o, const uint8_t *data, size_t size);
void rpc_list_backends(op *o, const uint8_t *data, size_t size);

/* The append itself, for AppendMemories and for an item of IngestMemories: q lies
 * in the op's arena, the op is routed. */
void append_run(op *o, const wire_append *q);

#endif
