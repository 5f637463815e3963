/* What is known of a language: its stemmer, the words that carry no meaning of
 * their own, forms that no stemmer brings together, and how one speaks of oneself.
 *
 * Languages are those of libstemmer, by its names ("english") or their ISO 639-1
 * codes ("en"), and "none": words as they are. Lists of stop words are here for
 * some; in the others a frequent word simply weighs little.
 *
 * Ownership: constants. Threads: any. */
#ifndef MNEME_SEARCH_LANGUAGE_H
#define MNEME_SEARCH_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "mneme/types.h"

#define LANGUAGES_MAX 32
#define LANGUAGE_DEFAULT "english"

typedef struct language {
  const char *name;
  const char *code;   /* ISO 639-1 */
  bool stems;         /* libstemmer has it by its name */
  bool is_english;    /* contractions: what follows an apostrophe is dropped */
  const char *stop;   /* words, separated by spaces; NULL = none are known */
  const char *myself; /* the same */
} language;

/* NULL = no such language. */
const language *language_find(mneme_bytes name);
/* From 0, below LANGUAGES_MAX. */
size_t language_number(const language *l);
const language *language_at(size_t number);
/* Every name, separated by ", ": for the text of an error. */
const char *language_names(void);

/* Of a folded word. */
bool language_is_stop(const language *l, const char *word, size_t size);
bool language_is_myself(const language *l, const char *word, size_t size);
/* The basic form of an irregular one; false = it is not known as such. */
bool language_base(const language *l, const char *word, size_t size, mneme_bytes *ret_base);

/* lists.c */
extern const char english_stop[];
extern const char english_irregular[]; /* "go went gone|buy bought": the first is the base */
extern const char german_stop[];
extern const char french_stop[];
extern const char spanish_stop[];
extern const char italian_stop[];
extern const char portuguese_stop[];
extern const char dutch_stop[];
extern const char swedish_stop[];
extern const char russian_stop[];

#endif
