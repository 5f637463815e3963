/* Search in a corpus: which memories answer a query best.
 *
 *   score = lexical + context + author + first person + date     of the memory
 *         + 0.6 * mean of the session's three best               of its session
 *         * (1 + recency_weight * decay + importance_weight * importance)
 *
 * lexical and context are BM25 over tf' (k1 = 0.9, b = 0.4): a term's frequency in
 * the memory's best passage, and parts of the frequencies in the memories before
 * and behind it in its session; pairs of words that stand side by side count 0.3.
 * Author: + 3 when the query names it. First person: half as much again for what
 * the user said, when the query says I, my or me. Date: + 2 * dates_match.
 *
 * A memory's score depends on the query and on what is in the namespace, never on
 * the filter, the kinds, the limit or the sessions that are asked for: the same
 * memory has the same score whoever looks for it, and min_score means the same
 * everywhere. All of those are judged before anything is cut off.
 *
 * Only lists of the query's terms are read. Sums are of integers, or in the order
 * of the query, so equal corpora give equal scores whatever their past.
 *
 * Ownership: results lie in the arena given, names in them too. A scratch belongs
 * to one search at a time; it may serve any corpus. Threads: any, while nobody
 * writes into the corpus. */
#ifndef MNEME_SEARCH_SEARCH_H
#define MNEME_SEARCH_SEARCH_H

#include "base/arena.h"
#include "search/corpus.h"

#define SEARCH_MMR_POOL 1000     /* best memories among which MMR chooses, at most */
#define SEARCH_NEIGHBOURS_MAX 10 /* on each side */

typedef struct scratch scratch;
scratch *scratch_new(void); /* NULL = no memory */
void scratch_free(scratch *s);

/* What a filter says of a memory by what the index knows of it. */
typedef enum search_answer { SEARCH_NO, SEARCH_YES, SEARCH_UNSURE } search_answer;

/* The index knows these fields of the record and nothing else of it: kind, role,
 * author, source, tier, pinned, importance, sequence, revision, and of event_us and
 * create_us the one that `has_event` names. metadata is packed; NULL data with
 * has_metadata = it is not known. */
typedef struct search_known {
  mneme_record record;
  bool has_event;
  bool has_metadata;
  bool metadata_known;
  mneme_bytes metadata;
} search_known;
typedef search_answer (*search_judge_fn)(void *ctx, const search_known *known);

typedef struct search_request {
  const query *query;
  /* Which memories may be hits. */
  mneme_bytes session; /* empty = those below */
  mneme_bytes prefix;  /* of sessions' names; empty = all */
  const mneme_bytes *kinds;
  size_t kind_count; /* 0 = all, here and below */
  const mneme_bytes *roles;
  size_t role_count;
  int64_t start_us; /* event, else creation: from start on, before end */
  int64_t end_us;
  search_judge_fn judge; /* NULL = all */
  void *judge_ctx;
  bool has_min_score;
  double min_score;
  /* How they are ordered. */
  int64_t now_us;
  double recency_weight;
  int64_t half_life_us; /* > 0 with a weight */
  double importance_weight;
  bool has_mmr;
  double mmr_lambda;
  /* How many are wanted, and what is told of them. */
  size_t limit;
  bool explain;
  size_t neighbours;
} search_request;

enum {
  SEARCH_LEXICAL,
  SEARCH_CONTEXT,
  SEARCH_AUTHOR,
  SEARCH_FIRST_PERSON,
  SEARCH_DATE,
  SEARCH_SESSION,
  SEARCH_RECENCY,
  SEARCH_IMPORTANCE,
  SEARCH_COMPONENTS
};
/* "lexical", "context", ... */
const char *search_component_name(size_t component);

typedef struct search_hit {
  mneme_bytes session;
  int64_t sequence;
  int64_t revision;
  double score;
  bool sure; /* the filter said yes; else it could not tell */
  const int64_t *neighbours; /* sequences before and behind it, ascending */
  size_t neighbour_count;
  double components[SEARCH_COMPONENTS]; /* with explain; their sum is the score */
  const uint32_t *matched; /* with explain: places of the query's terms in it */
  size_t matched_count;
} search_hit;

typedef struct search_result {
  search_hit *hits; /* best first; ties by session and sequence */
  size_t count;
  size_t found; /* memories that might be hits, before the limit */
} search_result;

/* The languages of the sessions that a search may find something in, for
 * analyse_query; returns how many. */
size_t corpus_languages(const corpus *c, mneme_bytes session,
                        const language *ret_languages[LANGUAGES_MAX]);

/* MNEME_OK or MNEME_NO_MEMORY. */
mneme_status corpus_search(const corpus *c, scratch *s, arena *a, const search_request *r,
                           search_result *ret_result);

#endif
