/* See queue.h. The ring doubles when it is full, and is given back when the
 * queue has become empty: its size is that of the busiest window since. */
#include "queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dict.h"

#define ROOM_MIN 8u

static bool ring_grow(dict_queue *queue) {
  uint32_t room = queue->room != 0 ? queue->room * 2 : ROOM_MIN;
  dict_answer **ring = malloc(room * sizeof *ring);
  if (ring == NULL) return false;
  uint32_t front = queue->room - queue->head; /* up to the end of the old ring */
  if (front > queue->count) front = queue->count;
  if (front != 0) memcpy(ring, queue->ring + queue->head, front * sizeof *ring);
  if (queue->count > front) memcpy(ring + front, queue->ring, (queue->count - front) * sizeof *ring);
  free(queue->ring);
  queue->ring = ring;
  queue->head = 0;
  queue->room = room;
  return true;
}

static bool lapses_early(const dict_queue *queue, const dict_answer *answer) {
  return queue->count != 0 && answer->expire_us < queue->last_us;
}

bool dict_queue_reserve(dict_queue *queue, const dict_answer *answer) {
  if (lapses_early(queue, answer)) return dict_heap_reserve(&queue->early, 1);
  return queue->count < queue->room || ring_grow(queue);
}

void dict_queue_push(dict_queue *queue, dict_answer *answer) {
  if (lapses_early(queue, answer)) {
    dict_heap_push(&queue->early, &dict_by_answer_expiry, answer);
    return;
  }
  assert(queue->count < queue->room);
  queue->ring[(queue->head + queue->count++) & (queue->room - 1)] = answer;
  queue->last_us = answer->expire_us;
}

dict_answer *dict_queue_first(const dict_queue *queue) {
  dict_answer *early = dict_heap_first(&queue->early);
  if (queue->count == 0) return early;
  dict_answer *head = queue->ring[queue->head];
  return early != NULL && early->expire_us < head->expire_us ? early : head;
}

void dict_queue_pop(dict_queue *queue, dict_answer *first) {
  if (dict_heap_has(first, &dict_by_answer_expiry)) {
    dict_heap_remove(&queue->early, &dict_by_answer_expiry, first);
    return;
  }
  assert(queue->count != 0 && queue->ring[queue->head] == first);
  queue->head = (queue->head + 1) & (queue->room - 1);
  queue->count--;
}

void dict_queue_free(dict_queue *queue) {
  free(queue->ring);
  dict_heap_free(&queue->early);
  *queue = (dict_queue){0};
}
