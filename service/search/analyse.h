/* From text to terms: what search compares.
 *
 *   text ─▶ words ─▶ no stop word ─▶ basic form ─▶ stem ─▶ term
 *
 * A term stands for (language, stem). It is a 64-bit hash, seeded per process:
 * nothing that is compared, counted or ranked ever needs the letters again, and an
 * index that kept them would be twice as large. Two stems of one namespace share a
 * hash with a probability of 2^-64 for each pair (3 in 10^8 for a million stems);
 * then each is found by the other's name.
 *
 * English contractions lose what follows their apostrophe ("don't" is "do"); in
 * other languages an apostrophe separates ("l'homme"). Signs and pictures
 * (words.h) are terms as they are.
 *
 * Limits: a word is at most WORD_MAX bytes, a query QUERY_TERMS_MAX different
 * terms in all its languages: what comes later is not looked for. A text has no
 * limit of its own.
 *
 * Ownership: an analyser belongs to one thread at a time. Threads: any number of
 * analysers. */
#ifndef MNEME_SEARCH_ANALYSE_H
#define MNEME_SEARCH_ANALYSE_H

#include "search/dates.h"
#include "search/language.h"
#include "search/words.h"

#define QUERY_TERMS_MAX 1024
#define QUERY_NAMES_MAX 1024 /* different words that can name an author */

typedef struct analyser analyser;

analyser *analyser_new(void); /* NULL = no memory */
void analyser_free(analyser *a);

/* A growing list of terms; begin with zero, end with free(items). */
typedef struct term_list {
  uint64_t *items;
  size_t count;
  size_t room;
} term_list;

/* Adds the terms of a text, in order. false = no memory. */
bool analyse_text(analyser *a, const language *l, mneme_bytes text, term_list *list);

/* The words of an author's name by which a query can name it, as hashes that no
 * language has a part in. A stop word ("Will") only counts where it is written with
 * a capital letter that does not begin the query. */
bool analyse_name(mneme_bytes name, term_list *list);

/* Whether a text ends in a question mark. */
bool analyse_asks(mneme_bytes text);

typedef struct query_term {
  uint64_t term;
  uint32_t begin, end; /* the word, as bytes of the query */
  bool alone; /* counts by itself: no sign that stands beside another */
} query_term;

/* Two terms that stand side by side, as places in terms. */
typedef struct query_pair {
  uint32_t first, second;
  bool signs; /* of a script without spaces: as good as a word */
} query_pair;

/* What is looked for: different terms and pairs, in the order of the query,
 * language after language. Zero before; query_clear frees. */
typedef struct query {
  query_term *terms;
  size_t term_count;
  query_pair *pairs;
  size_t pair_count;
  uint64_t *names; /* what may name an author, ascending */
  size_t name_count;
  date dates[DATES_MAX];
  size_t date_count;
  bool first_person;
} query;

bool analyse_query(analyser *a, const language *const *languages, size_t count, mneme_bytes text,
                   query *q);
void query_clear(query *q);

#endif
