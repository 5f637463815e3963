#include "search_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *p) {
  if (p == NULL)
    abort();
  return p;
}

static mneme_bytes bytes(const char *text) { return mneme_bytes_of(text, strlen(text)); }

/* --- Keeping ------------------------------------------------------------- */

void model_remove(model *m, size_t session, int64_t first, int64_t last) {
  model_session *s = &m->sessions[session];
  size_t kept = 0;
  for (size_t i = 0; i < s->count; i++)
    if (s->docs[i].sequence < first || s->docs[i].sequence > last)
      s->docs[kept++] = s->docs[i];
  s->count = kept;
}

void model_put(model *m, size_t session, const model_doc *d) {
  model_session *s = &m->sessions[session];
  model_remove(m, session, d->sequence, d->sequence);
  if (s->count == MODEL_DOCS)
    abort();
  size_t at = s->count++;
  for (; at > 0 && s->docs[at - 1].sequence > d->sequence; at--)
    s->docs[at] = s->docs[at - 1];
  s->docs[at] = *d;
}

/* --- Scores -------------------------------------------------------------- */

typedef struct analysed {
  term_list content, minor, author, names;
} analysed;

static term_list terms_of(const model *m, const char *text) {
  term_list list = {0};
  if (!analyse_text(m->analyser, m->language, bytes(text), &list))
    abort();
  return list;
}

static size_t passages_of(const analysed *a) {
  return a->content.count <= PASSAGE_WHOLE ? 1
                                           : (a->content.count + PASSAGE_TERMS - 1) / PASSAGE_TERMS;
}

static void bounds(const analysed *a, size_t passage, size_t *ret_from, size_t *ret_to) {
  bool whole = passages_of(a) == 1;
  *ret_from = whole ? 0 : passage * PASSAGE_TERMS;
  *ret_to = whole || *ret_from + PASSAGE_TERMS > a->content.count ? a->content.count
                                                                  : *ret_from + PASSAGE_TERMS;
}

static double count(const term_list *l, size_t from, size_t to, uint64_t wanted) {
  double n = 0;
  for (size_t i = from; i < to; i++)
    n += l->items[i] == wanted;
  return n;
}

static double tf_of(const analysed *a, uint64_t wanted) {
  double best = 0;
  for (size_t p = 0, from, to; p < passages_of(a); p++) {
    bounds(a, p, &from, &to);
    double n = count(&a->content, from, to, wanted) + count(&a->author, 0, a->author.count, wanted);
    if (p == 0)
      n += 0.6 * count(&a->minor, 0, a->minor.count, wanted);
    best = n > best ? n : best;
  }
  return best;
}

static double pairs_of(const analysed *a, uint64_t first, uint64_t second) {
  double best = 0;
  for (size_t p = 0, from, to; p < passages_of(a); p++) {
    double n = 0;
    bounds(a, p, &from, &to);
    for (size_t i = from; i + 1 < to; i++)
      n += a->content.items[i] == first && a->content.items[i + 1] == second;
    best = n > best ? n : best;
  }
  return best;
}

static double length_of(const analysed *a) {
  double best = 0;
  for (size_t p = 0, from, to; p < passages_of(a); p++) {
    bounds(a, p, &from, &to);
    double n = (double)(to - from) + (double)a->author.count;
    if (p == 0)
      n += 0.6 * (double)a->minor.count;
    best = n > best ? n : best;
  }
  return best;
}

typedef struct round_of {
  const model *m;
  const query *q;
  analysed *all[MODEL_SESSIONS];
  double *scores[MODEL_SESSIONS];
  double tf[MODEL_SESSIONS][MODEL_DOCS];
  double docs, mean;
} round_of;

static bool ends_asking(const model_doc *d) { return analyse_asks(bytes(d->text)); }

static double with_context(const round_of *r, size_t s, size_t i) {
  const model_session *at = &r->m->sessions[s];
  const double *tf = r->tf[s];
  double n = tf[i];
  if (i >= 1)
    n += 0.2 * tf[i - 1];
  if (i + 1 < at->count)
    n += 0.2 * tf[i + 1];
  if (i >= 2)
    n += 0.1 * tf[i - 2];
  if (i + 2 < at->count)
    n += 0.1 * tf[i + 2];
  if (i >= 1 && ends_asking(&at->docs[i - 1]) && strcmp(at->docs[i].role, "assistant") != 0)
    n += 0.3 * tf[i - 1];
  return n;
}

/* Of what r->tf says. */
static void add_scores(round_of *r, double weight, bool spreads) {
  double n = 0;
  for (size_t s = 0; s < MODEL_SESSIONS; s++)
    for (size_t i = 0; i < r->m->sessions[s].count; i++)
      n += r->tf[s][i] > 0;
  double idf = log(1 + (r->docs - n + 0.5) / (n + 0.5));
  for (size_t s = 0; n > 0 && s < MODEL_SESSIONS; s++)
    for (size_t i = 0; i < r->m->sessions[s].count; i++) {
      double tf = spreads ? with_context(r, s, i) : r->tf[s][i];
      double k = 0.9 * (0.6 + 0.4 * length_of(&r->all[s][i]) / r->mean);
      r->scores[s][i] += weight * idf * tf * 1.9 / (tf + k);
    }
}

static bool is_name(const round_of *r, uint64_t wanted) {
  for (size_t s = 0; s < MODEL_SESSIONS; s++)
    for (size_t i = 0; i < r->m->sessions[s].count; i++)
      if (count(&r->all[s][i].author, 0, r->all[s][i].author.count, wanted) > 0)
        return true;
  return false;
}

static bool is_named(const query *q, const term_list *words_of) {
  for (size_t i = 0; i < words_of->count; i++)
    for (size_t k = 0; k < q->name_count; k++)
      if (words_of->items[i] == q->names[k])
        return true;
  return false;
}

static void score_terms(round_of *r) {
  const query *q = r->q;
  for (size_t t = 0; t < q->term_count + q->pair_count; t++) {
    bool pair = t >= q->term_count;
    const query_pair *p = pair ? &q->pairs[t - q->term_count] : NULL;
    if (!pair && !q->terms[t].alone)
      continue;
    for (size_t s = 0; s < MODEL_SESSIONS; s++)
      for (size_t i = 0; i < r->m->sessions[s].count; i++)
        r->tf[s][i] = pair ? pairs_of(&r->all[s][i], q->terms[p->first].term,
                                      q->terms[p->second].term)
                           : tf_of(&r->all[s][i], q->terms[t].term);
    add_scores(r, !pair || p->signs ? 1 : 0.3, pair || !is_name(r, q->terms[t].term));
  }
}

static void score_rest(round_of *r) {
  for (size_t s = 0; s < MODEL_SESSIONS; s++) {
    double best[3] = {0};
    for (size_t i = 0; i < r->m->sessions[s].count; i++) {
      const model_doc *d = &r->m->sessions[s].docs[i];
      double *score = &r->scores[s][i];
      if (*score == 0)
        continue;
      *score += is_named(r->q, &r->all[s][i].names) ? 3 : 0;
      *score *= r->q->first_person && strcmp(d->role, "user") == 0 ? 1.5 : 1;
      *score += 2 * dates_match(r->q->dates, r->q->date_count, d->time_us);
      double each = *score;
      for (size_t k = 0; k < 3; k++)
        if (each > best[k]) {
          double less = best[k];
          best[k] = each;
          each = less;
        }
    }
    for (size_t i = 0; i < r->m->sessions[s].count; i++)
      r->scores[s][i] += r->scores[s][i] > 0 ? 0.6 * (best[0] + best[1] + best[2]) / 3 : 0;
  }
}

static void analyse_all(round_of *r) {
  double length = 0;
  for (size_t s = 0; s < MODEL_SESSIONS; s++) {
    const model_session *at = &r->m->sessions[s];
    r->all[s] = need(calloc(at->count + 1, sizeof *r->all[s]));
    r->scores[s] = need(calloc(at->count + 1, sizeof *r->scores[s]));
    for (size_t i = 0; i < at->count; i++) {
      analysed *a = &r->all[s][i];
      a->content = terms_of(r->m, at->docs[i].text);
      a->minor = terms_of(r->m, at->docs[i].caption);
      a->author = terms_of(r->m, at->docs[i].author);
      if (!analyse_name(bytes(at->docs[i].author), &a->names))
        abort();
      length += length_of(a);
      r->docs++;
    }
  }
  r->mean = r->docs > 0 && length / r->docs > 1 ? length / r->docs : 1;
}

static int by_score(const void *a, const void *b) {
  const model_hit *x = a, *y = b;
  if (x->score != y->score)
    return x->score > y->score ? -1 : 1;
  if (x->session != y->session)
    return x->session < y->session ? -1 : 1;
  return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

model_hit *model_search(const model *m, const query *q, size_t *ret_count) {
  round_of *r = need(calloc(1, sizeof *r));
  r->m = m;
  r->q = q;
  analyse_all(r);
  score_terms(r);
  score_rest(r);
  model_hit *hits = need(calloc((size_t)r->docs + 1, sizeof *hits));
  size_t count_of = 0;
  for (size_t s = 0; s < MODEL_SESSIONS; s++) {
    for (size_t i = 0; i < m->sessions[s].count; i++) {
      analysed *a = &r->all[s][i];
      if (r->scores[s][i] > 0)
        hits[count_of++] = (model_hit){s, m->sessions[s].docs[i].sequence, r->scores[s][i]};
      free(a->content.items);
      free(a->minor.items);
      free(a->author.items);
      free(a->names.items);
    }
    free(r->all[s]);
    free(r->scores[s]);
  }
  free(r);
  qsort(hits, count_of, sizeof *hits, by_score);
  *ret_count = count_of;
  return hits;
}

/* --- Feeding ------------------------------------------------------------- */

mneme_bytes model_name(size_t session) {
  static const char *const names[MODEL_SESSIONS] = {"a", "a/b", "a/bc", "b", "long session", "z"};
  return bytes(names[session]);
}

void model_feed(const model *m, corpus *c, size_t session, const model_doc *d) {
  uint32_t id = corpus_session_add(c, model_name(session), m->language);
  mneme_record r = {.sequence = d->sequence,
                    .revision = d->revision,
                    .create_us = d->time_us,
                    .event_us = MNEME_NO_EVENT,
                    .author = bytes(d->author),
                    .role = bytes(d->role),
                    .has_importance = d->importance >= 0,
                    .importance = d->importance};
  corpus_memory put = {.record = &r,
                       .expire_us = d->expire_us,
                       .asks = ends_asking(d),
                       .content = terms_of(m, d->text),
                       .minor = terms_of(m, d->caption),
                       .author = terms_of(m, d->author)};
  if (id == CORPUS_NONE || corpus_put(c, id, &put) != MNEME_OK)
    abort();
  free(put.content.items);
  free(put.minor.items);
  free(put.author.items);
}

corpus *model_build(const model *m) {
  corpus *c = need(corpus_new());
  for (size_t s = 0; s < MODEL_SESSIONS; s++)
    for (size_t i = 0; i < m->sessions[s].count; i++)
      model_feed(m, c, s, &m->sessions[s].docs[i]);
  return c;
}
