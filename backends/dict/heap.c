/* See heap.h. The usual array: the children of i are 2i + 1 and 2i + 2, and no
 * item stands before its parent. */
#include "heap.h"

#include <assert.h>
#include <stdlib.h>

static uint32_t *place_of(const dict_heap_kind *kind, void *item) {
  return (uint32_t *)((char *)item + kind->place);
}

static void put(dict_heap *heap, const dict_heap_kind *kind, uint32_t i, void *item) {
  heap->items[i] = item;
  *place_of(kind, item) = i + 1;
}

static uint32_t sift_up(dict_heap *heap, const dict_heap_kind *kind, uint32_t i, void *item) {
  while (i > 0) {
    uint32_t parent = (i - 1) / 2;
    if (!kind->before(item, heap->items[parent])) break;
    put(heap, kind, i, heap->items[parent]);
    i = parent;
  }
  put(heap, kind, i, item);
  return i;
}

static void sift_down(dict_heap *heap, const dict_heap_kind *kind, uint32_t i, void *item) {
  for (;;) {
    uint32_t child = 2 * i + 1;
    if (child >= heap->count) break;
    if (child + 1 < heap->count && kind->before(heap->items[child + 1], heap->items[child]))
      child++;
    if (!kind->before(heap->items[child], item)) break;
    put(heap, kind, i, heap->items[child]);
    i = child;
  }
  put(heap, kind, i, item);
}

void dict_heap_free(dict_heap *heap) {
  free(heap->items);
  *heap = (dict_heap){0};
}

bool dict_heap_reserve(dict_heap *heap, size_t more) {
  size_t want = heap->count + more;
  if (want <= heap->room) return true;
  size_t room = heap->room != 0 ? heap->room : 4;
  while (room < want) room *= 2;
  if (room > UINT32_MAX / 2) return false;
  void **items = realloc(heap->items, room * sizeof *items);
  if (items == NULL) return false;
  heap->items = items;
  heap->room = (uint32_t)room;
  return true;
}

bool dict_heap_has(const void *item, const dict_heap_kind *kind) {
  return *(const uint32_t *)((const char *)item + kind->place) != 0;
}

void dict_heap_push(dict_heap *heap, const dict_heap_kind *kind, void *item) {
  assert(heap->count < heap->room && *place_of(kind, item) == 0);
  sift_up(heap, kind, heap->count++, item);
}

void dict_heap_remove(dict_heap *heap, const dict_heap_kind *kind, void *item) {
  uint32_t *place = place_of(kind, item);
  if (*place == 0) return;
  uint32_t i = *place - 1;
  *place = 0;
  void *last = heap->items[--heap->count];
  if (last == item) return;
  if (sift_up(heap, kind, i, last) == i) sift_down(heap, kind, i, last);
}

void dict_heap_move(dict_heap *heap, const dict_heap_kind *kind, void *item) {
  uint32_t i = *place_of(kind, item) - 1;
  if (sift_up(heap, kind, i, item) == i) sift_down(heap, kind, i, item);
}

void dict_heap_clear(dict_heap *heap, const dict_heap_kind *kind) {
  for (uint32_t i = 0; i < heap->count; i++) *place_of(kind, heap->items[i]) = 0;
  dict_heap_free(heap);
}
