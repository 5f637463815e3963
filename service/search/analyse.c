/* A word's way to its term is remembered in a table of fixed size, by the hash of
 * (language, word): of a thousand words a stemmer sees fifty. A collision would
 * take one word for another and is as likely as one between terms. */
#include "search/analyse.h"

#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/set.h"

#define MEMORY_SLOTS 16384 /* words remembered; a power of two */
#define STOPPED 0          /* the term of what is no term */

typedef struct remembered {
  uint64_t word;
  uint64_t term;
} remembered;

struct analyser {
  struct sb_stemmer *stemmers[LANGUAGES_MAX]; /* made when first needed */
  remembered memory[MEMORY_SLOTS];
};

analyser *analyser_new(void) { return calloc(1, sizeof(analyser)); }

void analyser_free(analyser *a) {
  if (a == NULL)
    return;
  for (size_t i = 0; i < LANGUAGES_MAX; i++)
    sb_stemmer_delete(a->stemmers[i]);
  free(a);
}

/* The salt comes in afterwards: with seeds that are near each other XXH3 gives short
 * strings the same hash. 0 is left for what is no term. */
static uint64_t hash(const char *text, size_t size, size_t salt) {
  uint64_t h = XXH3_64bits_withSeed(text, size, set_seed());
  h += salt * UINT64_C(0x9E3779B97F4A7C15);
  return h != STOPPED ? h : 1;
}

#define SALT_TERM(l) (1 + language_number(l))
#define SALT_WORD(l) (100 + language_number(l))
#define SALT_NAME 200

static bool push(term_list *list, uint64_t term) {
  if (list->count == list->room) {
    size_t room = list->room * 2 + 32;
    uint64_t *items = realloc(list->items, room * sizeof *items);
    if (items == NULL)
      return false;
    list->items = items;
    list->room = room;
  }
  list->items[list->count++] = term;
  return true;
}

/* --- From a word to its term --------------------------------------------- */

/* "don't" is "do", "she's" and "Ann's" lose their end, "o'clock" keeps it. */
static size_t without_contraction(const char *text, size_t size) {
  static const char *const ends[] = {"n't", "'s", "'m", "'d", "'re", "'ve", "'ll"};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    size_t end = strlen(ends[i]);
    if (size > end && memcmp(text + size - end, ends[i], end) == 0)
      return size - end;
  }
  return size;
}

/* NULL = no memory. */
static struct sb_stemmer *stemmer_of(analyser *a, const language *l) {
  struct sb_stemmer **s = &a->stemmers[language_number(l)];
  if (*s == NULL)
    *s = sb_stemmer_new(l->name, NULL);
  return *s;
}

static bool make_term(analyser *a, const language *l, const char *text, size_t size,
                      uint64_t *ret_term) {
  mneme_bytes base = {text, size};
  if (l->is_english)
    base.size = without_contraction(text, size);
  if (base.size == 0 || language_is_stop(l, base.data, base.size)) {
    *ret_term = STOPPED;
    return true;
  }
  language_base(l, base.data, base.size, &base);
  if (l->stems) {
    struct sb_stemmer *s = stemmer_of(a, l);
    const sb_symbol *stem =
        s != NULL ? sb_stemmer_stem(s, (const sb_symbol *)base.data, (int)base.size) : NULL;
    if (stem == NULL)
      return false;
    base = mneme_bytes_of((const char *)stem, (size_t)sb_stemmer_length(s));
  }
  *ret_term = hash(base.data, base.size, SALT_TERM(l));
  return true;
}

/* STOPPED = it is no term. */
static bool term_of(analyser *a, const language *l, const word *w, const char *text, size_t size,
                    uint64_t *ret_term) {
  if (w->kind != WORD_PLAIN) {
    *ret_term = hash(text, size, SALT_TERM(l));
    return true;
  }
  uint64_t key = hash(text, size, SALT_WORD(l));
  remembered *r = &a->memory[key & (MEMORY_SLOTS - 1)];
  if (r->word != key) {
    uint64_t term;
    if (!make_term(a, l, text, size, &term))
      return false;
    *r = (remembered){key, term};
  }
  *ret_term = r->term;
  return true;
}

/* The piece of a word that begins at *at: where apostrophes separate there are
 * several. false = there is none left. */
static bool next_piece(const language *l, const word *w, size_t *at, size_t *ret_size) {
  if (*at >= w->size)
    return false;
  const char *end = l->is_english ? NULL : memchr(w->text + *at, '\'', w->size - *at);
  *ret_size = end != NULL ? (size_t)(end - (w->text + *at)) : w->size - *at;
  return true;
}

bool analyse_text(analyser *a, const language *l, mneme_bytes text, term_list *list) {
  words reader;
  word w;
  words_begin(&reader, text);
  while (words_next(&reader, &w)) {
    size_t size;
    for (size_t at = 0; next_piece(l, &w, &at, &size); at += size + 1) {
      uint64_t term;
      if (!term_of(a, l, &w, w.text + at, size, &term) || (term != STOPPED && !push(list, term)))
        return false;
    }
  }
  return true;
}

/* --- Names --------------------------------------------------------------- */

/* English contractions are dropped in any language: Ann's is Ann wherever her name
 * is written so. Stop words are marked, so that only a capital letter calls them. */
static uint64_t name_of(const word *w, bool *ret_stop) {
  const language *english = language_at(0);
  size_t size = w->kind == WORD_PLAIN ? without_contraction(w->text, w->size) : w->size;
  *ret_stop = language_is_stop(english, w->text, size);
  return hash(w->text, size, SALT_NAME);
}

bool analyse_name(mneme_bytes name, term_list *list) {
  words reader;
  word w;
  bool stop;
  words_begin(&reader, name);
  while (words_next(&reader, &w))
    if (!push(list, name_of(&w, &stop)))
      return false;
  return true;
}

bool analyse_asks(mneme_bytes text) {
  static const char *const marks[] = {"?", "\xEF\xBC\x9F", "\xD8\x9F", "\xCD\xBE"};
  while (text.size > 0 && strchr(" \t\r\n\v\f", text.data[text.size - 1]) != NULL)
    text.size--;
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
    size_t size = strlen(marks[i]);
    if (text.size >= size && memcmp(text.data + text.size - size, marks[i], size) == 0)
      return true;
  }
  return false;
}

/* --- Queries ------------------------------------------------------------- */

/* One language's reading of a query. `seen` finds what was there before, for all
 * languages: an open table of places in q->terms, plus one. */
typedef struct reading {
  analyser *analyser;
  const language *language;
  query *query;
  uint32_t seen[4 * QUERY_TERMS_MAX];
  uint32_t pairs_seen[4 * QUERY_TERMS_MAX];
  uint32_t last; /* the term before, plus one; 0 = none */
  bool last_is_sign;
} reading;

/* Its place; a new one is added. UINT32_MAX = there is no room. */
static uint32_t place_of(reading *r, uint64_t term, const word *w) {
  query *q = r->query;
  size_t at = term % (4 * QUERY_TERMS_MAX);
  for (; r->seen[at] != 0; at = (at + 1) % (4 * QUERY_TERMS_MAX))
    if (q->terms[r->seen[at] - 1].term == term)
      return r->seen[at] - 1;
  if (q->term_count == QUERY_TERMS_MAX)
    return UINT32_MAX;
  q->terms[q->term_count] =
      (query_term){.term = term, .begin = (uint32_t)w->begin, .end = (uint32_t)w->end};
  r->seen[at] = (uint32_t)++q->term_count;
  return (uint32_t)q->term_count - 1;
}

static void add_pair(reading *r, uint32_t first, uint32_t second, bool signs) {
  query *q = r->query;
  size_t at = (first * 31 + second) % (4 * QUERY_TERMS_MAX);
  for (; r->pairs_seen[at] != 0; at = (at + 1) % (4 * QUERY_TERMS_MAX)) {
    query_pair *p = &q->pairs[r->pairs_seen[at] - 1];
    if (p->first == first && p->second == second) {
      p->signs = p->signs || signs;
      return;
    }
  }
  if (q->pair_count == QUERY_TERMS_MAX)
    return;
  q->pairs[q->pair_count] = (query_pair){first, second, signs};
  r->pairs_seen[at] = (uint32_t)++q->pair_count;
}

/* A sign counts by itself only where it stands alone: beside others it is half of a
 * pair, and the pair says what is meant. */
static void take_term(reading *r, uint64_t term, const word *w) {
  uint32_t place = place_of(r, term, w);
  bool is_sign = w->kind == WORD_SIGN;
  bool continues = is_sign && w->joined && r->last != 0 && r->last_is_sign;
  if (place == UINT32_MAX) {
    r->last = 0;
    return;
  }
  if (r->last != 0)
    add_pair(r, r->last - 1, place, continues);
  if (!is_sign)
    r->query->terms[place].alone = true;
  r->last = place + 1;
  r->last_is_sign = is_sign;
}

/* Signs that are in no pair of signs. */
static void find_lone_signs(query *q) {
  bool paired[QUERY_TERMS_MAX] = {false};
  for (size_t i = 0; i < q->pair_count; i++)
    if (q->pairs[i].signs)
      paired[q->pairs[i].first] = paired[q->pairs[i].second] = true;
  for (size_t i = 0; i < q->term_count; i++)
    q->terms[i].alone = q->terms[i].alone || !paired[i];
}

static bool read_terms(reading *r, mneme_bytes text) {
  words reader;
  word w;
  r->last = 0;
  words_begin(&reader, text);
  while (words_next(&reader, &w)) {
    size_t size;
    for (size_t at = 0; next_piece(r->language, &w, &at, &size); at += size + 1) {
      uint64_t term;
      if (!term_of(r->analyser, r->language, &w, w.text + at, size, &term))
        return false;
      if (term != STOPPED)
        take_term(r, term, &w);
      size_t plain = r->language->is_english ? without_contraction(w.text + at, size) : size;
      if (language_is_myself(r->language, w.text + at, plain))
        r->query->first_person = true;
    }
  }
  return true;
}

static int by_number(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static bool read_names(query *q, mneme_bytes text) {
  term_list list = {0};
  words reader;
  word w;
  words_begin(&reader, text);
  for (bool first = true; words_next(&reader, &w) && list.count < QUERY_NAMES_MAX; first = false) {
    bool stop;
    uint64_t name = name_of(&w, &stop);
    if (stop && (first || !w.capital || w.size == 1))
      continue;
    if (!push(&list, name)) {
      free(list.items);
      return false;
    }
  }
  if (list.count > 0)
    qsort(list.items, list.count, sizeof *list.items, by_number);
  q->names = list.items;
  q->name_count = list.count;
  return true;
}

bool analyse_query(analyser *a, const language *const *languages, size_t count, mneme_bytes text,
                   query *q) {
  *q = (query){0};
  reading *r = calloc(1, sizeof *r);
  q->terms = calloc(QUERY_TERMS_MAX, sizeof *q->terms);
  q->pairs = calloc(QUERY_TERMS_MAX, sizeof *q->pairs);
  bool ok = r != NULL && q->terms != NULL && q->pairs != NULL;
  for (size_t i = 0; ok && i < count; i++) {
    r->analyser = a;
    r->language = languages[i];
    r->query = q;
    ok = read_terms(r, text);
  }
  free(r);
  ok = ok && read_names(q, text);
  if (!ok) {
    query_clear(q);
    return false;
  }
  find_lone_signs(q);
  q->date_count = dates_read(text, q->dates);
  return true;
}

void query_clear(query *q) {
  free(q->terms);
  free(q->pairs);
  free(q->names);
  *q = (query){0};
}
