#include "base/set.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_make(void) {
  if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
    abort(); /* a seed that can be guessed is worse than no server */
}

uint64_t set_seed(void) {
  pthread_once(&seed_once, seed_make);
  return seed;
}

bool set_init(set *s, arena *a, size_t max) {
  size_t size = 8;
  while (size < 2 * max)
    size *= 2;
  s->slots = arena_calloc(a, size, sizeof *s->slots);
  s->mask = size - 1;
  return s->slots != NULL;
}

/* The slot that holds the string, or the free one where it belongs. */
static set_slot *slot_of(const set *s, const char *data, size_t size) {
  size_t at = (size_t)XXH3_64bits_withSeed(data, size, set_seed()) & s->mask;
  for (;; at = (at + 1) & s->mask) {
    set_slot *slot = &s->slots[at];
    if (slot->data == NULL || (slot->size == size && memcmp(slot->data, data, size) == 0))
      return slot;
  }
}

int64_t set_add(set *s, const char *data, size_t size, int64_t value) {
  set_slot *slot = slot_of(s, data, size);
  if (slot->data != NULL)
    return slot->value;
  *slot = (set_slot){data, size, value};
  return -1;
}

int64_t set_find(const set *s, const char *data, size_t size) {
  const set_slot *slot = slot_of(s, data, size);
  return slot->data != NULL ? slot->value : -1;
}
