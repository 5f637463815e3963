/* A bump allocator for one request: nothing is freed before the whole is.
 *
 * Ownership: whoever embeds or creates the arena owns every byte taken from it;
 * users keep pointers only as long as the owner says. Not safe for use by two
 * threads at once; a request is worked on by one thread at a time.
 *
 * Limits: at most `max` bytes in all; beyond it, and when malloc fails,
 * allocation answers NULL. Everything is aligned to 16 bytes. */
#ifndef MNEME_BASE_ARENA_H
#define MNEME_BASE_ARENA_H

#include <stddef.h>

#define ARENA_FIRST_BYTES 3072 /* enough for a small append from wire to reply */
#define ARENA_BLOCK_BYTES (64 * 1024)

typedef struct arena_block arena_block;

typedef struct arena {
  char *cursor;
  char *end;
  arena_block *blocks;
  size_t used;
  size_t max;
  _Alignas(16) char first[ARENA_FIRST_BYTES];
} arena;

void arena_init(arena *a, size_t max);
/* Frees what was taken, ready for reuse. */
void arena_clear(arena *a);
void *arena_alloc_block(arena *a, size_t size); /* when the current one is used up */
static inline void *arena_alloc(arena *a, size_t size) {
  size_t room = (size_t)(a->end - a->cursor);
  if (__builtin_expect(size > room || ((size + 15) & ~(size_t)15) > room, 0))
    return arena_alloc_block(a, size);
  void *p = a->cursor;
  a->cursor += (size + 15) & ~(size_t)15;
  return p;
}
/* Lets it take that much more: for the answer that says that it was used up. */
static inline void arena_extend(arena *a, size_t size) {
  a->max += size;
}
/* Zeroed, and NULL when count * size overflows. */
void *arena_calloc(arena *a, size_t count, size_t size);
/* A copy that ends in NUL. */
char *arena_copy(arena *a, const void *data, size_t size);
/* As sprintf; NULL when there is no memory. */
char *arena_printf(arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
