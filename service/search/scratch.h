/* What one search writes on: scores by slot, the lists of its terms, and what it
 * has found out about sessions and traits.
 *
 * Everything is zero between two searches. What a search has written on is listed,
 * so that clearing costs no more than writing did. */
#ifndef MNEME_SEARCH_SCRATCH_H
#define MNEME_SEARCH_SCRATCH_H

#include "search/inside.h"
#include "search/search.h"

#define SCRATCH_KEPT 1024 /* pages that are kept for the next search */

typedef struct scratch_page {
  double scores[DOCS_PAGE];
  uint32_t weights[DOCS_PAGE]; /* of one term */
} scratch_page;

typedef struct entry {
  uint32_t slot;
  uint32_t weight;
} entry;

/* A list of numbers that grows. */
typedef struct numbers {
  uint32_t *items;
  size_t count;
  size_t room;
} numbers;

/* What is looked for, one term or pair: its entries, and what they weigh. */
typedef struct wanted {
  size_t begin, end; /* in entries */
  double weight;     /* of a term 1, of a pair 0.3; 0 = for pairs only */
  double idf;
  bool spreads; /* neighbours in the session get a part */
} wanted;

typedef enum opinion { UNKNOWN = 0, GOOD, BAD } opinion;

typedef struct session_note {
  double best[3]; /* descending */
  opinion in_scope;
  bool noted;
} session_note;

typedef struct traits_note {
  opinion named;    /* the query names the author */
  opinion accepted; /* kind and role */
} traits_note;

typedef struct found {
  double score;
  uint32_t slot;
  bool sure;
} found;

struct scratch {
  scratch_page **pages;
  size_t page_room;
  size_t page_count;
  entry *entries;
  size_t entry_count;
  size_t entry_room;
  wanted *wanted;
  size_t wanted_count;
  size_t wanted_room;
  numbers touched;    /* by one term */
  numbers candidates; /* slots with a score */
  session_note *sessions;
  size_t session_room;
  numbers sessions_noted;
  traits_note *traits;
  size_t traits_room;
  numbers traits_noted;
  found *found;
  size_t found_count;
  size_t found_room;
};

/* scratch.c */
bool scratch_prepare(scratch *s, const corpus *c);
void scratch_clear(scratch *s);
bool numbers_add(numbers *n, uint32_t number);
bool scratch_entry(scratch *s, uint32_t slot, uint32_t weight);
bool scratch_found(scratch *s, found f);
/* NULL = no memory. */
scratch_page *scratch_page_new(scratch *s, uint32_t page);

static inline scratch_page *scratch_page_of(scratch *s, uint32_t slot) {
  scratch_page *p = s->pages[slot / DOCS_PAGE];
  return p != NULL ? p : scratch_page_new(s, slot / DOCS_PAGE);
}

/* One that has been written on. */
static inline double scratch_score(const scratch *s, uint32_t slot) {
  return s->pages[slot / DOCS_PAGE]->scores[slot % DOCS_PAGE];
}

/* score.c: fills entries, wanted, candidates and their scores. */
mneme_status score_all(const corpus *c, scratch *s, const search_request *r);
/* What one term adds to a memory with so much of it, in fiftieths. */
double score_term(const corpus *c, const wanted *w, const doc *d, uint32_t weight);
/* The share of context in that: how much a memory has of the term by itself, 0 = none. */
uint32_t score_own(const scratch *s, const wanted *w, uint32_t slot);
bool score_in_scope(const corpus *c, scratch *s, const search_request *r, uint32_t session);

#endif
