/* See arena.h. Blocks of 64 KiB in a list, larger ones for what does not fit. */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)64 * 1024)
#define ALIGN 16

struct sq_block {
  sq_block *next;
  size_t size;
  _Alignas(ALIGN) char data[];
};

void *sq_arena_take(sq_arena *arena, size_t size) {
  size = size == 0 ? ALIGN : (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  if (size > arena->left) {
    size_t room = size > BLOCK_BYTES / 4 ? size : BLOCK_BYTES;
    sq_block *block = malloc(sizeof *block + room);
    if (block == NULL) return NULL;
    block->size = room;
    if (room != BLOCK_BYTES && arena->blocks != NULL) { /* keep the rest of the newest */
      block->next = arena->blocks->next;
      arena->blocks->next = block;
      return block->data;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    arena->at = block->data;
    arena->left = room;
  }
  void *piece = arena->at;
  arena->at += size;
  arena->left -= size;
  return piece;
}

bool sq_arena_copy(sq_arena *arena, mneme_bytes *bytes) {
  if (bytes->size == 0) return true;
  char *copy = sq_arena_take(arena, bytes->size);
  if (copy == NULL) return false;
  memcpy(copy, bytes->data, bytes->size);
  bytes->data = copy;
  return true;
}

static void free_blocks(sq_block *block) {
  while (block != NULL) {
    sq_block *next = block->next;
    free(block);
    block = next;
  }
}

void sq_arena_clear(sq_arena *arena) {
  sq_block *keep = arena->blocks;
  if (keep == NULL) return;
  if (keep->size != BLOCK_BYTES) {
    sq_arena_free(arena);
    return;
  }
  free_blocks(keep->next);
  keep->next = NULL;
  arena->at = keep->data;
  arena->left = keep->size;
}

void sq_arena_free(sq_arena *arena) {
  free_blocks(arena->blocks);
  *arena = (sq_arena){0};
}

bool sq_arena_grow(sq_arena *arena, void **items, size_t count, size_t *room, size_t size) {
  if (count < *room) return true;
  size_t grown = *room != 0 ? *room * 2 : 16;
  void *bigger = sq_arena_take(arena, grown * size);
  if (bigger == NULL) return false;
  if (count != 0) memcpy(bigger, *items, count * size);
  *items = bigger;
  *room = grown;
  return true;
}
