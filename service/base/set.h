/* A set of byte strings with a number each, in an arena: to find what stands
 * twice in one request. Open addressing, never more than half full.
 *
 * Ownership: strings are borrowed. Source: XXH3 of xxHash, seeded per process so
 * that nobody can choose names that collide. */
#ifndef MNEME_BASE_SET_H
#define MNEME_BASE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

typedef struct set_slot {
  const char *data; /* NULL = free */
  size_t size;
  int64_t value;
} set_slot;

typedef struct set {
  set_slot *slots;
  size_t mask;
} set;


/* For at most max strings; false = no memory. */
bool set_init(set *s, arena *a, size_t max);
/* The value of an equal string that is there already, or -1 after adding it. */
int64_t set_add(set *s, const char *data, size_t size, int64_t value);
/* The value, or -1. */
int64_t set_find(const set *s, const char *data, size_t size);

/* The process's seed for hashes of foreign strings. */
uint64_t set_seed(void);

#endif
