/* Memory of one batch: taken piece by piece, given back as a whole. */
#ifndef SQLITE_ARENA_H
#define SQLITE_ARENA_H

#include "mneme/types.h"

typedef struct sq_block sq_block;

typedef struct sq_arena {
  sq_block *blocks;
  size_t left; /* in the newest one */
  char *at;
} sq_arena;

void *sq_arena_take(sq_arena *arena, size_t size); /* aligned, not cleared; NULL without memory */
/* A copy of the bytes; false without memory. */
bool sq_arena_copy(sq_arena *arena, mneme_bytes *bytes);
/* Frees all but one block of the usual size. */
void sq_arena_clear(sq_arena *arena);
void sq_arena_free(sq_arena *arena);

/* Makes room for one more item of `size` bytes in an array of count, room. */
bool sq_arena_grow(sq_arena *arena, void **items, size_t count, size_t *room, size_t size);

#endif
