/* A table of numbers that are found by a 64-bit hash of what they stand for; the
 * things themselves lie in an array of their owner's. Open addressing, at most
 * seven tenths full; removal moves back what follows, so there are no tombstones.
 *
 * The functions that ask the owner are constants of the caller's file, so that the
 * compiler puts them in place. Threads: any may find while nobody writes. */
#ifndef MNEME_SEARCH_IDS_H
#define MNEME_SEARCH_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define IDS_NONE UINT32_MAX
#define IDS_FIRST 64 /* places of a new table */

typedef struct ids {
  uint32_t *places; /* id + 1; 0 = free */
  size_t mask;
  size_t count;
} ids;

typedef uint64_t (*ids_hash_fn)(const void *owner, uint32_t id);
/* Whether this is the one that is looked for; NULL = equal hashes are enough. */
typedef bool (*ids_same_fn)(const void *owner, uint32_t id, const void *wanted);

static inline bool ids_init(ids *t) {
  *t = (ids){.places = calloc(IDS_FIRST, sizeof *t->places), .mask = IDS_FIRST - 1};
  return t->places != NULL;
}

static inline void ids_clear(ids *t) {
  free(t->places);
  t->places = NULL;
}

static inline size_t ids_bytes(const ids *t) { return (t->mask + 1) * sizeof *t->places; }

static inline uint32_t ids_find(const ids *t, uint64_t hash, ids_hash_fn hash_of,
                                ids_same_fn same, const void *owner, const void *wanted) {
  for (size_t at = hash & t->mask; t->places[at] != 0; at = (at + 1) & t->mask) {
    uint32_t id = t->places[at] - 1;
    if (hash_of(owner, id) == hash && (same == NULL || same(owner, id, wanted)))
      return id;
  }
  return IDS_NONE;
}

static inline void ids_place(ids *t, uint64_t hash, uint32_t id) {
  size_t at = hash & t->mask;
  while (t->places[at] != 0)
    at = (at + 1) & t->mask;
  t->places[at] = id + 1;
}

/* Room for one more; false = no memory. */
static inline bool ids_reserve(ids *t, ids_hash_fn hash_of, const void *owner) {
  if ((t->count + 1) * 10 <= (t->mask + 1) * 7)
    return true;
  size_t old_size = t->mask + 1;
  uint32_t *old = t->places, *places = calloc(old_size * 2, sizeof *places);
  if (places == NULL)
    return false;
  t->places = places;
  t->mask = old_size * 2 - 1;
  for (size_t i = 0; i < old_size; i++)
    if (old[i] != 0)
      ids_place(t, hash_of(owner, old[i] - 1), old[i] - 1);
  free(old);
  return true;
}

/* One that is not there, after ids_reserve; its owner knows its hash by now. */
static inline void ids_add(ids *t, uint64_t hash, uint32_t id) {
  ids_place(t, hash, id);
  t->count++;
}

/* One that is there. */
static inline void ids_remove(ids *t, uint64_t hash, uint32_t id, ids_hash_fn hash_of,
                              const void *owner) {
  size_t gap = hash & t->mask;
  while (t->places[gap] != id + 1)
    gap = (gap + 1) & t->mask;
  t->places[gap] = 0;
  t->count--;
  for (size_t at = (gap + 1) & t->mask; t->places[at] != 0; at = (at + 1) & t->mask) {
    size_t home = hash_of(owner, t->places[at] - 1) & t->mask;
    if (((at - home) & t->mask) < ((at - gap) & t->mask))
      continue; /* its home lies behind the gap */
    t->places[gap] = t->places[at];
    t->places[at] = 0;
    gap = at;
  }
}

#endif
