/* A binary heap of pointers whose items know their place in it, so that any item
 * can be moved or taken out in O(log n). Used for what expires next (memories of
 * a session, sessions and request_ids of a shard) and for what is evicted next
 * by importance. */
#ifndef DICT_HEAP_H
#define DICT_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the items of a heap are. `place` is the offset of a uint32_t in the item,
 * which the heap keeps: 1 + index, 0 while the item is in no heap. */
typedef struct dict_heap_kind {
  size_t place;
  bool (*before)(const void *a, const void *b);
} dict_heap_kind;

typedef struct dict_heap {
  void **items;
  uint32_t count;
  uint32_t room;
} dict_heap;

void dict_heap_free(dict_heap *heap);
/* Makes room for `more` pushes that then can't fail. */
bool dict_heap_reserve(dict_heap *heap, size_t more);
static inline void *dict_heap_first(const dict_heap *heap) {
  return heap->count != 0 ? heap->items[0] : NULL;
}
bool dict_heap_has(const void *item, const dict_heap_kind *kind);
/* Room must have been reserved. */
void dict_heap_push(dict_heap *heap, const dict_heap_kind *kind, void *item);
/* Takes the item out, when it is in. */
void dict_heap_remove(dict_heap *heap, const dict_heap_kind *kind, void *item);
/* After the item's order has changed. */
void dict_heap_move(dict_heap *heap, const dict_heap_kind *kind, void *item);
/* Takes all out and frees the room. */
void dict_heap_clear(dict_heap *heap, const dict_heap_kind *kind);

#endif
