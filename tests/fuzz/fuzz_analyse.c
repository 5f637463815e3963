/* The analyser against any bytes, in a language that the first byte names: words
 * stand one behind the other inside of the text, terms come out the same a second
 * time, and a query is within its limits. A text that is put is found by itself. */
#include <stdlib.h>
#include <string.h>

#include "search/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static analyser *the_analyser;
static scratch *the_scratch;

static void must(bool ok) {
  if (!ok)
    abort();
}

static void read_words(mneme_bytes text) {
  words reader;
  word w;
  size_t end = 0;
  words_begin(&reader, text);
  while (words_next(&reader, &w)) {
    must(w.begin >= end && w.end > w.begin && w.end <= text.size);
    must(w.size > 0 && w.size <= WORD_MAX);
    end = w.end;
  }
}

static term_list read_terms(const language *l, mneme_bytes text) {
  term_list first = {0}, second = {0};
  must(analyse_text(the_analyser, l, text, &first));
  must(analyse_text(the_analyser, l, text, &second));
  must(first.count == second.count);
  must(first.count == 0 ||
       memcmp(first.items, second.items, first.count * sizeof *first.items) == 0);
  free(second.items);
  return first;
}

static void check_query(const query *q, mneme_bytes text) {
  must(q->term_count <= QUERY_TERMS_MAX && q->pair_count <= QUERY_TERMS_MAX);
  must(q->name_count <= QUERY_NAMES_MAX && q->date_count <= DATES_MAX);
  for (size_t i = 0; i < q->term_count; i++)
    must(q->terms[i].begin < q->terms[i].end && q->terms[i].end <= text.size);
  for (size_t i = 0; i < q->pair_count; i++)
    must(q->pairs[i].first < q->term_count && q->pairs[i].second < q->term_count);
  for (size_t i = 0; i < q->date_count; i++)
    must(q->dates[i].month <= 12 && q->dates[i].day <= 31);
}

static void find_itself(const language *l, mneme_bytes text, const query *q, term_list content) {
  static arena a;
  corpus *c = corpus_new();
  mneme_record r = {.sequence = 1, .revision = 1, .event_us = MNEME_NO_EVENT};
  corpus_memory m = {.record = &r, .asks = analyse_asks(text), .content = content};
  search_request request = {
      .query = q, .start_us = INT64_MIN, .end_us = INT64_MAX, .limit = 1, .explain = true};
  search_result result;
  must(c != NULL && corpus_put(c, corpus_session_add(c, mneme_bytes_of("s", 1), l), &m) == MNEME_OK);
  arena_init(&a, 16 << 20);
  must(corpus_search(c, the_scratch, &a, &request, &result) == MNEME_OK);
  must(result.count == (q->term_count > 0));
  arena_clear(&a);
  corpus_remove(c, 0, 1, 1);
  must(corpus_memories(c) == 0);
  corpus_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (the_analyser == NULL) {
    the_analyser = analyser_new();
    the_scratch = scratch_new();
  }
  if (size == 0)
    return 0;
  const language *l = language_at(data[0] % LANGUAGES_MAX);
  l = l != NULL ? l : language_at(0);
  mneme_bytes text = {(const char *)data + 1, size - 1};
  read_words(text);
  term_list terms = read_terms(l, text);
  query q;
  must(analyse_query(the_analyser, &l, 1, text, &q));
  check_query(&q, text);
  find_itself(l, text, &q, terms);
  query_clear(&q);
  free(terms.items);
  return 0;
}
