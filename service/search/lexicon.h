/* The terms of a namespace, and for each the memories that it stands in.
 *
 * Memories are known here by slots: numbers from 1 that rise and are never used
 * twice, so a list is only ever added to at its end. What is removed stays in the
 * list, marked dead elsewhere, until half of a list is dead; then it is written
 * anew. The counts are exact at any time: `docs` is what a fresh index would have.
 *
 *   list = { varint((slot - the slot before) << 1 | more) [ varint(weight) ] }
 *
 * `more` = the weight is not TF_ONE. A weight is the term's frequency in units of a
 * fifth, an integer, so that sums do not depend on their order. Most entries take
 * one or two bytes; a list of up to LEXICON_INLINE bytes lies in the term itself.
 *
 * Ownership: the lexicon owns all. Threads: any may read while nobody writes.
 * Errors: false = no memory; then what was to be added may be there in part, and
 * the lexicon can only be freed. */
#ifndef MNEME_SEARCH_LEXICON_H
#define MNEME_SEARCH_LEXICON_H

#include "search/ids.h"

#define TF_ONE 5   /* once in a passage */
#define TF_MINOR 3 /* once in a caption: 0.6 */
#define LEXICON_INLINE 8
#define SLOT_MAX (UINT32_MAX - 1)

typedef struct term {
  uint64_t hash;
  union {
    uint8_t *bytes; /* when room > 0 */
    uint8_t inlined[LEXICON_INLINE];
  };
  uint32_t size; /* bytes of the list */
  uint32_t room;
  uint32_t last;    /* slot of its last entry */
  uint32_t docs;    /* live memories that it stands in; 0 = the term is free */
  uint32_t dead;    /* entries of memories that have gone */
  uint32_t authors; /* live memories in whose author's name it stands */
} term;

typedef struct lexicon {
  term **pages; /* of LEXICON_PAGE terms: a term never moves */
  size_t page_count;
  size_t page_room;
  uint32_t used; /* ids given out so far */
  uint32_t free; /* the first free one, linked through size; IDS_NONE = none */
  ids ids;
  size_t bytes; /* of pages and lists */
} lexicon;

#define LEXICON_PAGE 1024

bool lexicon_init(lexicon *l);
void lexicon_clear(lexicon *l);
size_t lexicon_bytes(const lexicon *l); /* all that it takes */

static inline term *lexicon_term(const lexicon *l, uint32_t id) {
  return &l->pages[id / LEXICON_PAGE][id % LEXICON_PAGE];
}

/* IDS_NONE = no such term. */
uint32_t lexicon_find(const lexicon *l, uint64_t hash);
/* Its id, perhaps a new one, whose docs the caller raises at once. IDS_NONE =
 * no memory. */
uint32_t lexicon_add(lexicon *l, uint64_t hash);

/* Adds a memory behind all others; slot > last. */
bool lexicon_put(lexicon *l, uint32_t id, uint32_t slot, uint32_t weight, bool is_author);
/* A memory has gone. is_live tells of the slots in the list, the gone one not. */
typedef bool (*lexicon_live_fn)(const void *ctx, uint32_t slot);
void lexicon_take(lexicon *l, uint32_t id, bool was_author, lexicon_live_fn is_live,
                  const void *ctx);

/* Reads a list from its start. */
typedef struct postings {
  const uint8_t *at;
  const uint8_t *end;
  uint32_t slot;
  uint32_t weight;
} postings;
postings lexicon_read(const term *t);
bool postings_next(postings *p);

/* Varints of at most 35 bits, as lists and memories keep them. */
static inline uint8_t *varint_put(uint8_t *out, uint64_t value) {
  for (; value >= 128; value >>= 7)
    *out++ = (uint8_t)(value | 128);
  *out++ = (uint8_t)value;
  return out;
}

static inline const uint8_t *varint_get(const uint8_t *in, uint64_t *ret_value) {
  uint64_t value = *in & 127;
  for (unsigned shift = 7; *in++ >= 128; shift += 7)
    value |= (uint64_t)(*in & 127) << shift;
  *ret_value = value;
  return in;
}
#define VARINT_MAX 5

#endif
