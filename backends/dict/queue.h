/* The answers that a shell remembers, by the instant at which each lapses.
 *
 * Mostly every one lapses after all that were there before, because a session's
 * window rarely changes: those stand in a ring, and nothing but its end is
 * touched by a push. One that lapses before the last of the ring goes to a heap.
 * A heap alone compares each new answer with one that is half as old, which is
 * in no cache: a fortieth of an append. */
#ifndef DICT_QUEUE_H
#define DICT_QUEUE_H

#include "heap.h"

struct dict_answer;

typedef struct dict_queue {
  struct dict_answer **ring;
  uint32_t head, count;
  uint32_t room;   /* of the ring: a power of two, or 0 */
  int64_t last_us; /* the last of the ring lapses then */
  dict_heap early;
} dict_queue;

/* Makes room for one push, of this one, that then can't fail. */
bool dict_queue_reserve(dict_queue *queue, const struct dict_answer *answer);
void dict_queue_push(dict_queue *queue, struct dict_answer *answer);
/* The one that lapses first; NULL = none. */
struct dict_answer *dict_queue_first(const dict_queue *queue);
/* Takes out the one that dict_queue_first gave. */
void dict_queue_pop(dict_queue *queue, struct dict_answer *first);
/* Frees the room; it must be empty. */
void dict_queue_free(dict_queue *queue);

#endif
