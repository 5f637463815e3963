/* Scores, term after term.
 *
 *   list ─▶ entries ─▶ weights of the memories and their neighbours ─▶ scores
 *
 * A weight is tf' in fiftieths: a term's own frequency is in fifths (TF_ONE), and
 * the parts that neighbours get are tenths of it. A pair's entries are made of its
 * terms' entries: memories that have both are asked whether they stand side by
 * side, so pairs take no room in the index. */
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "search/scratch.h"

#define K1 0.9
#define B 0.4
#define PAIR_WEIGHT 0.3
#define UNITS 50.0 /* of a weight */
#define OWN 10     /* weights of an entry of TF_ONE = 5: 1 */
#define NEAR 2     /* 0.2 for the memories beside it */
#define SECOND 1   /* 0.1 for those beside them */
#define ANSWER 3   /* 0.3 more for the one behind a question */

/* --- Lists --------------------------------------------------------------- */

static bool read_list(const corpus *c, scratch *s, uint32_t id) {
  postings p = lexicon_read(lexicon_term(&c->lexicon, id));
  while (postings_next(&p))
    if (corpus_doc(c, p.slot) != NULL && !scratch_entry(s, p.slot, p.weight))
      return false;
  return true;
}

/* How often two terms stand side by side, in the passage where they do most. */
static uint32_t count_pairs(const doc *d, uint32_t first, uint32_t second) {
  forward f = forward_read(d->forward);
  bool whole = forward_passages(f.content) == 1;
  uint32_t before = IDS_NONE, here = 0, best = 0;
  for (uint32_t i = 0; i < f.content; i++) {
    if (!whole && i % PASSAGE_TERMS == 0) {
      before = IDS_NONE;
      here = 0;
    }
    uint32_t id = forward_next(&f);
    here += before == first && id == second;
    best = here > best ? here : best;
    before = id;
  }
  return best;
}

/* The first entry from `at` on with at least this slot: by doubling steps, for
 * lists of very different lengths. */
static size_t skip_to(const scratch *s, size_t at, size_t end, uint32_t slot) {
  size_t step = 1;
  while (at + step < end && s->entries[at + step].slot < slot)
    step *= 2;
  size_t low = at + step / 2, high = at + step < end ? at + step + 1 : end;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (s->entries[middle].slot < slot)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

typedef struct pair {
  wanted first, second;
  uint32_t first_id, second_id;
} pair;

static bool read_pair(const corpus *c, scratch *s, const pair *p) {
  size_t a = p->first.begin, b = p->second.begin;
  while (a < p->first.end && b < p->second.end) {
    uint32_t x = s->entries[a].slot, y = s->entries[b].slot;
    if (x < y) {
      a = skip_to(s, a, p->first.end, y);
    } else if (y < x) {
      b = skip_to(s, b, p->second.end, x);
    } else {
      uint32_t times = count_pairs(corpus_doc(c, x), p->first_id, p->second_id);
      if (times > 0 && !scratch_entry(s, x, times * TF_ONE))
        return false;
      a++;
      b++;
    }
  }
  return true;
}

static double idf_of(const corpus *c, size_t docs) {
  double all = (double)c->live, n = (double)docs;
  return log(1 + (all - n + 0.5) / (n + 0.5));
}

static wanted *add_wanted(scratch *s) {
  if (s->wanted_count == s->wanted_room) {
    size_t room = s->wanted_room * 2 + 32;
    wanted *all = realloc(s->wanted, room * sizeof *all);
    if (all == NULL)
      return NULL;
    s->wanted = all;
    s->wanted_room = room;
  }
  s->wanted[s->wanted_count] = (wanted){.begin = s->entry_count, .end = s->entry_count};
  return &s->wanted[s->wanted_count++];
}

static bool want_terms(const corpus *c, scratch *s, const query *q, uint32_t *term_ids) {
  for (size_t i = 0; i < q->term_count; i++) {
    wanted *w = add_wanted(s);
    term_ids[i] = lexicon_find(&c->lexicon, q->terms[i].term);
    if (w == NULL)
      return false;
    if (term_ids[i] == IDS_NONE)
      continue;
    const term *t = lexicon_term(&c->lexicon, term_ids[i]);
    if (!read_list(c, s, term_ids[i]))
      return false;
    w->end = s->entry_count;
    w->weight = q->terms[i].alone ? 1 : 0;
    w->idf = idf_of(c, t->docs);
    w->spreads = t->authors == 0;
  }
  return true;
}

static bool want_pairs(const corpus *c, scratch *s, const query *q, const uint32_t *term_ids) {
  for (size_t i = 0; i < q->pair_count; i++) {
    const query_pair *qp = &q->pairs[i];
    pair p = {s->wanted[qp->first], s->wanted[qp->second], term_ids[qp->first],
              term_ids[qp->second]};
    wanted *w = add_wanted(s);
    if (w == NULL || !read_pair(c, s, &p))
      return false;
    w->end = s->entry_count;
    w->weight = qp->signs ? 1 : PAIR_WEIGHT;
    w->idf = idf_of(c, w->end - w->begin);
    w->spreads = true;
  }
  return true;
}

/* --- Scores -------------------------------------------------------------- */

bool score_in_scope(const corpus *c, scratch *s, const search_request *r, uint32_t session) {
  session_note *n = &s->sessions[session];
  if (n->in_scope == UNKNOWN) {
    mneme_bytes name = corpus_session_name(c, session);
    bool in = r->session.size > 0
                  ? bytes_equal(name.data, name.size, r->session.data, r->session.size)
                  : bytes_begin(name.data, name.size, r->prefix.data, r->prefix.size);
    n->in_scope = in ? GOOD : BAD;
  }
  return n->in_scope == GOOD;
}

static bool note_session(scratch *s, uint32_t session) {
  session_note *n = &s->sessions[session];
  if (n->noted)
    return true;
  n->noted = true;
  return numbers_add(&s->sessions_noted, session);
}

static bool add_weight(scratch *s, uint32_t slot, uint32_t weight) {
  scratch_page *p = scratch_page_of(s, slot);
  if (p == NULL)
    return false;
  uint32_t *at = &p->weights[slot % DOCS_PAGE];
  if (*at == 0 && !numbers_add(&s->touched, slot))
    return false;
  *at += weight;
  return true;
}

/* The neighbours' parts of an entry. */
static bool spread(const corpus *c, scratch *s, const doc *d, uint32_t own) {
  if (d->prev != 0) {
    const doc *prev = corpus_doc(c, d->prev);
    if (!add_weight(s, d->prev, own * NEAR) ||
        (prev->prev != 0 && !add_weight(s, prev->prev, own * SECOND)))
      return false;
  }
  if (d->next != 0) {
    const doc *next = corpus_doc(c, d->next);
    bool answers = d->asks && !c->traits[next->traits].is_assistant;
    if (!add_weight(s, d->next, own * (NEAR + (answers ? ANSWER : 0))) ||
        (next->next != 0 && !add_weight(s, next->next, own * SECOND)))
      return false;
  }
  return true;
}

double score_term(const corpus *c, const wanted *w, const doc *d, uint32_t weight) {
  double mean = (double)c->length / TF_ONE / (double)c->live;
  double length = (double)d->length / TF_ONE / (mean > 1 ? mean : 1);
  double tf = weight / UNITS;
  return w->weight * w->idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length));
}

/* The weights of one term become scores, and are zero again. */
static bool settle(const corpus *c, scratch *s, const wanted *w) {
  for (size_t i = 0; i < s->touched.count; i++) {
    uint32_t slot = s->touched.items[i];
    scratch_page *p = s->pages[slot / DOCS_PAGE];
    double *score = &p->scores[slot % DOCS_PAGE];
    if (*score == 0 && !numbers_add(&s->candidates, slot))
      return false;
    *score += score_term(c, w, corpus_doc(c, slot), p->weights[slot % DOCS_PAGE]);
    p->weights[slot % DOCS_PAGE] = 0;
  }
  s->touched.count = 0;
  return true;
}

static bool score_one(const corpus *c, scratch *s, const search_request *r, const wanted *w) {
  bool everywhere = r->session.size == 0 && r->prefix.size == 0;
  for (size_t i = w->begin; i < w->end; i++) {
    const entry *e = &s->entries[i];
    const doc *d = corpus_doc(c, e->slot);
    if (!note_session(s, d->session))
      return false;
    if (!everywhere && !score_in_scope(c, s, r, d->session))
      continue;
    if (!add_weight(s, e->slot, e->weight * OWN) || (w->spreads && !spread(c, s, d, e->weight)))
      return false;
  }
  return settle(c, s, w);
}

uint32_t score_own(const scratch *s, const wanted *w, uint32_t slot) {
  size_t at = w->begin < w->end ? skip_to(s, w->begin, w->end, slot) : w->end;
  return at < w->end && s->entries[at].slot == slot ? s->entries[at].weight * OWN : 0;
}

mneme_status score_all(const corpus *c, scratch *s, const search_request *r) {
  const query *q = r->query;
  uint32_t term_ids[QUERY_TERMS_MAX];
  if (!want_terms(c, s, q, term_ids) || !want_pairs(c, s, q, term_ids))
    return MNEME_NO_MEMORY;
  for (size_t i = 0; i < s->wanted_count; i++)
    if (s->wanted[i].weight > 0 && !score_one(c, s, r, &s->wanted[i]))
      return MNEME_NO_MEMORY;
  return MNEME_OK;
}
