/* Requests are small and many: the first block lies inside the arena itself, so
 * a plain append never calls malloc. Further blocks are chained:
 *
 *   arena.first [used......|cursor ... end]
 *   blocks -> [64 KiB] -> [large, own block] -> NULL
 *
 * What is larger than half a block gets a block of its own, so that the rest of
 * the current one is not lost. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
  arena_block *next;
  size_t pad; /* keeps what follows aligned to 16 */
};

void arena_init(arena *a, size_t max) {
  a->blocks = NULL;
  a->max = max;
  a->used = 0;
  a->cursor = a->first;
  a->end = a->first + sizeof a->first;
}

void arena_clear(arena *a) {
  while (a->blocks != NULL) {
    arena_block *block = a->blocks;
    a->blocks = block->next;
    free(block);
  }
  a->used = 0;
  a->cursor = a->first;
  a->end = a->first + sizeof a->first;
}

static char *block_add(arena *a, size_t size) {
  if (size > a->max - a->used)
    return NULL;
  arena_block *block = malloc(sizeof *block + size);
  if (block == NULL)
    return NULL;
  block->next = a->blocks;
  a->blocks = block;
  a->used += size;
  return (char *)(block + 1);
}

void *arena_alloc_block(arena *a, size_t size) {
  if (size > SIZE_MAX / 2)
    return NULL;
  size = (size + 15) & ~(size_t)15;
  if (size > ARENA_BLOCK_BYTES / 2)
    return block_add(a, size);
  char *block = block_add(a, ARENA_BLOCK_BYTES);
  if (block == NULL)
    return NULL;
  a->cursor = block + size;
  a->end = block + ARENA_BLOCK_BYTES;
  return block;
}

void *arena_calloc(arena *a, size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / 2 / size)
    return NULL;
  void *p = arena_alloc(a, count * size);
  if (p != NULL)
    memset(p, 0, count * size);
  return p;
}

char *arena_copy(arena *a, const void *data, size_t size) {
  char *p = arena_alloc(a, size + 1);
  if (p == NULL)
    return NULL;
  if (size > 0)
    memcpy(p, data, size);
  p[size] = '\0';
  return p;
}

char *arena_printf(arena *a, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int size = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (size < 0)
    return NULL;
  char *p = arena_alloc(a, (size_t)size + 1);
  if (p == NULL)
    return NULL;
  va_start(args, format);
  vsnprintf(p, (size_t)size + 1, format, args);
  va_end(args);
  return p;
}
