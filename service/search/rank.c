/* From lexical scores to hits: what else a score is made of, who may be a hit, and
 * the best of them in order.
 *
 * The session's part needs the scores of all its memories, so there are two rounds
 * over the candidates; what the first one computes is computed again in the second
 * rather than kept, from the same numbers in the same order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "search/scratch.h"

#define AUTHOR_SCORE 3.0
#define FIRST_PERSON_SCORE 0.5
#define DATE_SCORE 2.0
#define SESSION_SCORE 0.6
#define MMR_POOL_MIN 100

static const char *const names[SEARCH_COMPONENTS] = {
    "lexical", "context", "author", "first_person", "date", "session", "recency", "importance"};

const char *search_component_name(size_t component) { return names[component]; }

typedef struct ranking {
  const corpus *corpus;
  scratch *scratch;
  const search_request *request;
  arena *arena;
} ranking;

/* --- Scores -------------------------------------------------------------- */

static bool names_one_of(const query *q, const traits *t) {
  for (size_t i = 0; i < t->name_count; i++) {
    size_t low = 0, high = q->name_count;
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      if (q->names[middle] < t->names[i])
        low = middle + 1;
      else
        high = middle;
    }
    if (low < q->name_count && q->names[low] == t->names[i])
      return true;
  }
  return false;
}

static bool is_one_of(mneme_bytes value, const mneme_bytes *of, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (bytes_equal(of[i].data, of[i].size, value.data, value.size))
      return true;
  return count == 0;
}

/* NULL = no memory. */
static traits_note *note_of(const ranking *k, uint32_t id) {
  traits_note *n = &k->scratch->traits[id];
  if (n->named != UNKNOWN)
    return n;
  if (!numbers_add(&k->scratch->traits_noted, id))
    return NULL;
  const search_request *r = k->request;
  const traits *t = &k->corpus->traits[id];
  mneme_record fields;
  traits_fill(t, &fields);
  n->named = names_one_of(r->query, t) ? GOOD : BAD;
  n->accepted = is_one_of(fields.kind, r->kinds, r->kind_count) &&
                        is_one_of(fields.role, r->roles, r->role_count)
                    ? GOOD
                    : BAD;
  return n;
}

/* All that a memory has by itself. parts may be NULL. */
static double own_score(const ranking *k, const doc *d, double lexical, const traits_note *n,
                        double *parts) {
  const query *q = k->request->query;
  double author = n->named == GOOD ? AUTHOR_SCORE : 0;
  double score = lexical + author;
  double person = q->first_person && k->corpus->traits[d->traits].is_user
                      ? FIRST_PERSON_SCORE * score
                      : 0;
  double day = q->date_count > 0
                   ? DATE_SCORE * dates_match(q->dates, q->date_count, d->time_us)
                   : 0;
  if (parts != NULL) {
    parts[SEARCH_AUTHOR] = author;
    parts[SEARCH_FIRST_PERSON] = person;
    parts[SEARCH_DATE] = day;
  }
  return score + person + day;
}

static void rank_in_session(session_note *n, double score) {
  for (size_t i = 0; i < 3; i++)
    if (score > n->best[i]) {
      double less = n->best[i];
      n->best[i] = score;
      score = less;
    }
}

static double session_score(const session_note *n) {
  return SESSION_SCORE * ((n->best[0] + n->best[1] + n->best[2]) / 3);
}

/* The whole score; parts may be NULL. */
static double whole_score(const ranking *k, const doc *d, double lexical, const traits_note *n,
                          double *parts) {
  const search_request *r = k->request;
  double session = session_score(&k->scratch->sessions[d->session]);
  double score = own_score(k, d, lexical, n, parts) + session;
  double recency = 0, importance = 0;
  if (r->recency_weight > 0) {
    double age = r->now_us > d->time_us ? (double)(r->now_us - d->time_us) : 0;
    recency = score * r->recency_weight * exp2(-age / (double)r->half_life_us);
  }
  if (r->importance_weight > 0)
    importance = score * r->importance_weight * k->corpus->traits[d->traits].importance;
  if (parts != NULL) {
    parts[SEARCH_SESSION] = session;
    parts[SEARCH_RECENCY] = recency;
    parts[SEARCH_IMPORTANCE] = importance;
  }
  return score + recency + importance;
}

/* --- Who may be a hit ----------------------------------------------------- */

static search_answer judge(const ranking *k, const doc *d) {
  const search_request *r = k->request;
  const traits *t = &k->corpus->traits[d->traits];
  if (r->judge == NULL)
    return SEARCH_YES;
  search_known known = {.record = {.sequence = d->sequence, .revision = d->revision},
                        .has_event = d->has_event,
                        .has_metadata = t->has_metadata,
                        .metadata_known = t->metadata_kept,
                        .metadata = traits_metadata(t)};
  known.record.event_us = d->has_event ? d->time_us : MNEME_NO_EVENT;
  known.record.create_us = d->has_event ? 0 : d->time_us;
  traits_fill(t, &known.record);
  return r->judge(r->judge_ctx, &known);
}

static bool first_round(const ranking *k) {
  scratch *s = k->scratch;
  for (size_t i = 0; i < s->candidates.count; i++) {
    uint32_t slot = s->candidates.items[i];
    const doc *d = corpus_doc(k->corpus, slot);
    const traits_note *n = note_of(k, d->traits);
    if (n == NULL)
      return false;
    rank_in_session(&s->sessions[d->session], own_score(k, d, scratch_score(s, slot), n, NULL));
  }
  return true;
}

static bool second_round(const ranking *k) {
  scratch *s = k->scratch;
  const search_request *r = k->request;
  for (size_t i = 0; i < s->candidates.count; i++) {
    uint32_t slot = s->candidates.items[i];
    const doc *d = corpus_doc(k->corpus, slot);
    const traits_note *n = &s->traits[d->traits];
    if (n->accepted == BAD || d->time_us < r->start_us || d->time_us >= r->end_us)
      continue;
    double score = whole_score(k, d, scratch_score(s, slot), n, NULL);
    search_answer answer = r->has_min_score && score < r->min_score ? SEARCH_NO : judge(k, d);
    if (answer != SEARCH_NO && !scratch_found(s, (found){score, slot, answer == SEARCH_YES}))
      return false;
  }
  return true;
}

/* --- Order --------------------------------------------------------------- */

/* Whether a comes before b. */
static bool is_before(const corpus *c, const found *a, const found *b) {
  if (a->score != b->score)
    return a->score > b->score;
  const doc *x = corpus_doc(c, a->slot), *y = corpus_doc(c, b->slot);
  if (x->session != y->session) {
    mneme_bytes p = corpus_session_name(c, x->session), q = corpus_session_name(c, y->session);
    return bytes_compare(p.data, p.size, q.data, q.size) < 0;
  }
  return x->sequence < y->sequence;
}

static void sink(const corpus *c, found *heap, size_t count, size_t at) {
  found f = heap[at];
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && is_before(c, &heap[child + 1], &heap[child]))
      child++;
    if (!is_before(c, &heap[child], &f))
      break;
    heap[at] = heap[child];
  }
  heap[at] = f;
}

/* Puts the best `wanted` of what was found to the end, the best last; returns how
 * many. */
static size_t sort_best(const corpus *c, scratch *s, size_t limit) {
  size_t count = s->found_count;
  for (size_t i = count / 2; i-- > 0;)
    sink(c, s->found, count, i);
  size_t taken = 0;
  for (; taken < limit && count > 0; taken++) {
    found best = s->found[0];
    s->found[0] = s->found[--count];
    if (count > 0)
      sink(c, s->found, count, 0);
    s->found[count] = best;
  }
  return taken;
}

/* --- Diversity ----------------------------------------------------------- */

/* The different terms of a memory, ascending. */
typedef struct term_set {
  uint32_t *items;
  size_t count;
} term_set;

static int by_number(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static bool set_of(arena *a, const doc *d, term_set *ret) {
  forward f = forward_read(d->forward);
  uint32_t *items = arena_alloc(a, (f.content + 1) * sizeof *items);
  size_t count = 0;
  if (items == NULL)
    return false;
  for (uint32_t i = 0, n = f.content; i < n; i++)
    items[i] = forward_next(&f);
  qsort(items, f.content, sizeof *items, by_number);
  for (uint32_t i = 0; i < f.content; i++)
    if (i == 0 || items[i] != items[count - 1])
      items[count++] = items[i];
  *ret = (term_set){items, count};
  return true;
}

/* What two have in common of what they have together. */
static double likeness(const term_set *a, const term_set *b) {
  size_t i = 0, j = 0, both = 0;
  while (i < a->count && j < b->count) {
    both += a->items[i] == b->items[j];
    uint32_t x = a->items[i], y = b->items[j];
    i += x <= y;
    j += y <= x;
  }
  size_t all = a->count + b->count - both;
  return all > 0 ? (double)both / (double)all : 0;
}

/* Maximal marginal relevance: again and again the one that is best when what it
 * has in common with those chosen before is taken off. Ties stay in order. */
static bool diversify(const ranking *k, found *best, size_t count) {
  double lambda = k->request->mmr_lambda, top = count > 0 ? best[0].score : 0;
  term_set *sets = arena_alloc(k->arena, (count + 1) * sizeof *sets);
  double *like = arena_calloc(k->arena, count + 1, sizeof *like);
  if (sets == NULL || like == NULL)
    return false;
  for (size_t i = 0; i < count; i++)
    if (!set_of(k->arena, corpus_doc(k->corpus, best[i].slot), &sets[i]))
      return false;
  for (size_t chosen = 0; chosen + 1 < count; chosen++) {
    size_t next = chosen;
    double most = -INFINITY;
    for (size_t i = chosen; i < count; i++) {
      double value = lambda * (best[i].score / top) - (1 - lambda) * like[i];
      if (value > most) {
        most = value;
        next = i;
      }
    }
    found f = best[next];
    term_set set = sets[next];
    double l = like[next];
    memmove(best + chosen + 1, best + chosen, (next - chosen) * sizeof *best);
    memmove(sets + chosen + 1, sets + chosen, (next - chosen) * sizeof *sets);
    memmove(like + chosen + 1, like + chosen, (next - chosen) * sizeof *like);
    best[chosen] = f;
    sets[chosen] = set;
    like[chosen] = l;
    for (size_t i = chosen + 1; i < count; i++) {
      double each = likeness(&sets[i], &set);
      like[i] = each > like[i] ? each : like[i];
    }
  }
  return true;
}

/* --- Hits ---------------------------------------------------------------- */

static bool tell_neighbours(const ranking *k, const doc *d, search_hit *h) {
  size_t n = k->request->neighbours, before = 0;
  int64_t *all = arena_alloc(k->arena, 2 * n * sizeof *all);
  if (all == NULL)
    return false;
  for (uint32_t slot = d->prev; slot != 0 && before < n; before++) {
    const doc *each = corpus_doc(k->corpus, slot);
    all[n - 1 - before] = each->sequence;
    slot = each->prev;
  }
  h->neighbours = all + n - before;
  h->neighbour_count = before;
  for (uint32_t slot = d->next; slot != 0 && h->neighbour_count < before + n;) {
    const doc *each = corpus_doc(k->corpus, slot);
    all[n + h->neighbour_count - before] = each->sequence;
    h->neighbour_count++;
    slot = each->next;
  }
  return true;
}

/* What of the lexical score comes from the memory's own words, and which. */
static bool explain(const ranking *k, const doc *d, uint32_t slot, search_hit *h) {
  scratch *s = k->scratch;
  const query *q = k->request->query;
  double lexical = scratch_score(s, slot), own = 0;
  uint32_t *matched = arena_alloc(k->arena, (q->term_count + 1) * sizeof *matched);
  if (matched == NULL)
    return false;
  for (size_t i = 0; i < s->wanted_count; i++) {
    uint32_t weight = score_own(s, &s->wanted[i], slot);
    own += weight > 0 ? score_term(k->corpus, &s->wanted[i], d, weight) : 0;
    if (weight > 0 && i < q->term_count)
      matched[h->matched_count++] = (uint32_t)i;
  }
  h->matched = matched;
  h->components[SEARCH_LEXICAL] = own;
  h->components[SEARCH_CONTEXT] = lexical > own ? lexical - own : 0;
  whole_score(k, d, lexical, &s->traits[d->traits], h->components);
  return true;
}

static bool tell(const ranking *k, const found *f, search_hit *h) {
  const doc *d = corpus_doc(k->corpus, f->slot);
  mneme_bytes name = corpus_session_name(k->corpus, d->session);
  char *copy = arena_copy(k->arena, name.data, name.size);
  *h = (search_hit){.session = {copy, name.size},
                    .sequence = d->sequence,
                    .revision = d->revision,
                    .score = f->score,
                    .sure = f->sure};
  return copy != NULL && (k->request->neighbours == 0 || tell_neighbours(k, d, h)) &&
         (!k->request->explain || explain(k, d, f->slot, h));
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static bool tell_all(const ranking *k, search_result *ret) {
  scratch *s = k->scratch;
  const search_request *r = k->request;
  size_t pool = r->limit;
  if (r->has_mmr && r->limit < SEARCH_MMR_POOL)
    pool = r->limit * 2 < MMR_POOL_MIN ? MMR_POOL_MIN : smaller(r->limit * 2, SEARCH_MMR_POOL);
  size_t taken = sort_best(k->corpus, s, pool), count = smaller(taken, r->limit);
  found *best = arena_alloc(k->arena, (taken + 1) * sizeof *best);
  ret->hits = arena_alloc(k->arena, (count + 1) * sizeof *ret->hits);
  if (best == NULL || ret->hits == NULL)
    return false;
  for (size_t i = 0; i < taken; i++)
    best[i] = s->found[s->found_count - 1 - i];
  if (r->has_mmr && !diversify(k, best, smaller(taken, SEARCH_MMR_POOL)))
    return false;
  ret->count = count;
  ret->found = s->found_count;
  for (size_t i = 0; i < count; i++)
    if (!tell(k, &best[i], &ret->hits[i]))
      return false;
  return true;
}

size_t corpus_languages(const corpus *c, mneme_bytes session,
                        const language *ret_languages[LANGUAGES_MAX]) {
  size_t count = 0;
  if (session.size > 0) {
    uint32_t id = corpus_session_find(c, session);
    if (id != CORPUS_NONE)
      ret_languages[count++] = c->sessions[id].language;
    return count;
  }
  for (size_t i = 0; i < LANGUAGES_MAX; i++)
    if (c->languages[i] > 0)
      ret_languages[count++] = language_at(i);
  return count;
}

mneme_status corpus_search(const corpus *c, scratch *s, arena *a, const search_request *r,
                           search_result *ret) {
  ranking k = {c, s, r, a};
  search_result result = {0};
  if (!scratch_prepare(s, c))
    return MNEME_NO_MEMORY;
  mneme_status status = score_all(c, s, r);
  if (status == MNEME_OK && !(first_round(&k) && second_round(&k) && tell_all(&k, &result)))
    status = MNEME_NO_MEMORY;
  scratch_clear(s);
  if (status == MNEME_OK)
    *ret = result;
  return status;
}
