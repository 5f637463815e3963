/* Memories: into the lexicon and out of it.
 *
 * Slots are pages of DOCS_PAGE, which are freed when all in them are dead. A page
 * that keeps a few for long would keep all of its room: while less than a quarter
 * of the slots in pages is live, each put moves the memories of one sparse page to
 * new slots. */
#include <stdlib.h>
#include <string.h>

#include "search/inside.h"

#define SPARSE_PAGES 8 /* so many pages may be as empty as they like */
#define SORT_SMALL 32

/* --- Weights ------------------------------------------------------------- */

/* What a memory has of one term. */
typedef struct weighed {
  uint32_t id;
  uint32_t weight;
  bool is_author;
} weighed;

/* A term's place in a memory as one number, so that sorting brings together what
 * is of one term: passages first, then what counts for the memory as a whole. */
#define PLACE_MINOR UINT32_C(0xFFFFFFFE)
#define PLACE_AUTHOR UINT32_C(0xFFFFFFFF)

static uint64_t place(uint32_t id, uint32_t where) { return (uint64_t)id << 32 | where; }

static int by_number(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void sort(uint64_t *items, size_t count) {
  if (count > SORT_SMALL) {
    qsort(items, count, sizeof *items, by_number);
    return;
  }
  for (size_t i = 1; i < count; i++) {
    uint64_t item = items[i];
    size_t at = i;
    for (; at > 0 && items[at - 1] > item; at--)
      items[at] = items[at - 1];
    items[at] = item;
  }
}

static void read_places(const uint8_t *bytes, uint64_t *places) {
  forward f = forward_read(bytes);
  bool whole = forward_passages(f.content) == 1;
  for (uint32_t i = 0; i < f.content; i++)
    *places++ = place(forward_next(&f), whole ? 0 : i / PASSAGE_TERMS);
  for (uint32_t i = 0; i < f.minor; i++)
    *places++ = place(forward_next(&f), PLACE_MINOR);
  for (uint32_t i = 0; i < f.author; i++)
    *places++ = place(forward_next(&f), PLACE_AUTHOR);
}

/* The first passage has the minor terms too; the author is in each. */
static weighed weigh(const uint64_t *places, size_t count) {
  uint32_t first = 0, best = 0, here = 0, minor = 0, author = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t where = (uint32_t)places[i];
    here = i > 0 && places[i] == places[i - 1] ? here + 1 : 1;
    if (where == PLACE_AUTHOR)
      author = here;
    else if (where == PLACE_MINOR)
      minor = here;
    else if (where == 0)
      first = here;
    else
      best = here > best ? here : best;
  }
  first = first * TF_ONE + minor * TF_MINOR;
  best = best * TF_ONE > first ? best * TF_ONE : first;
  return (weighed){(uint32_t)(places[0] >> 32), best + author * TF_ONE, author > 0};
}

/* Of each different term once, in ascending order; to be freed. NULL = no memory. */
static weighed *weigh_all(const uint8_t *bytes, size_t *ret_count) {
  forward f = forward_read(bytes);
  size_t count = (size_t)f.content + f.minor + f.author, used = 0;
  /* The results take the place of what they were made of: none is longer. */
  uint64_t *places = malloc((count + 1) * (sizeof *places + sizeof(weighed)));
  if (places == NULL)
    return NULL;
  weighed *all = (weighed *)(places + count + 1);
  read_places(bytes, places);
  sort(places, count);
  for (size_t i = 0, end; i < count; i = end) {
    for (end = i + 1; end < count && places[end] >> 32 == places[i] >> 32;)
      end++;
    all[used++] = weigh(places + i, end - i);
  }
  *ret_count = used;
  memmove(places, all, used * sizeof *all);
  return (weighed *)places;
}

static uint32_t length_of(const forward *f) {
  uint32_t length, passages = forward_passages(f->content);
  length = (passages == 1 ? f->content : PASSAGE_TERMS) * TF_ONE + f->minor * TF_MINOR;
  return length + f->author * TF_ONE;
}

/* --- Slots --------------------------------------------------------------- */

static bool reserve_page(corpus *c, uint32_t page) {
  if (page >= c->page_room) {
    size_t room = c->page_room * 2 + 8;
    docs_page **pages = realloc(c->pages, room * sizeof *pages);
    if (pages == NULL)
      return false;
    memset(pages + c->page_room, 0, (room - c->page_room) * sizeof *pages);
    c->bytes += (room - c->page_room) * sizeof *pages;
    c->pages = pages;
    c->page_room = room;
  }
  if (c->pages[page] != NULL)
    return true;
  c->pages[page] = calloc(1, sizeof **c->pages);
  if (c->pages[page] == NULL)
    return false;
  c->page_count++;
  c->bytes += sizeof **c->pages;
  return true;
}

/* A slot whose memory is filled in before anything else happens. */
static mneme_status new_slot(corpus *c, uint32_t *ret_slot) {
  if (c->last_slot == SLOT_MAX)
    return MNEME_TOO_BIG;
  if (!reserve_page(c, (c->last_slot + 1) / DOCS_PAGE))
    return MNEME_NO_MEMORY;
  *ret_slot = ++c->last_slot;
  c->pages[*ret_slot / DOCS_PAGE]->live++;
  return MNEME_OK;
}

/* The page that slots are given out from stays. */
static void leave_slot(corpus *c, uint32_t slot) {
  uint32_t page = slot / DOCS_PAGE;
  c->pages[page]->docs[slot % DOCS_PAGE].forward = NULL;
  if (--c->pages[page]->live > 0 || page == c->last_slot / DOCS_PAGE)
    return;
  free(c->pages[page]);
  c->pages[page] = NULL;
  c->page_count--;
  c->bytes -= sizeof **c->pages;
  while (c->page_first < c->last_slot / DOCS_PAGE && c->pages[c->page_first] == NULL)
    c->page_first++;
}

/* --- Terms --------------------------------------------------------------- */

static bool add_terms(corpus *c, uint32_t slot, const uint8_t *bytes) {
  size_t count;
  weighed *all = weigh_all(bytes, &count);
  bool ok = all != NULL;
  for (size_t i = 0; ok && i < count; i++)
    ok = lexicon_put(&c->lexicon, all[i].id, slot, all[i].weight, all[i].is_author);
  free(all);
  return ok;
}

/* The slot is dead by now. */
static bool take_terms(corpus *c, const uint8_t *bytes) {
  size_t count;
  weighed *all = weigh_all(bytes, &count);
  for (size_t i = 0; all != NULL && i < count; i++)
    lexicon_take(&c->lexicon, all[i].id, all[i].is_author, corpus_is_live, c);
  free(all);
  return all != NULL;
}

static bool put_ids(corpus *c, uint8_t **out, const term_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    uint32_t id = lexicon_add(&c->lexicon, list->items[i]);
    if (id == IDS_NONE)
      return false;
    *out = varint_put(*out, id);
  }
  return true;
}

/* To be freed; NULL = no memory. */
static uint8_t *make_forward(corpus *c, const corpus_memory *m, size_t *ret_size) {
  size_t terms = m->content.count + m->minor.count + m->author.count;
  uint8_t *bytes = malloc((terms + 3) * VARINT_MAX), *out = bytes;
  if (bytes == NULL)
    return NULL;
  out = varint_put(out, m->content.count);
  out = varint_put(out, m->minor.count);
  out = varint_put(out, m->author.count);
  if (!put_ids(c, &out, &m->content) || !put_ids(c, &out, &m->minor) ||
      !put_ids(c, &out, &m->author)) {
    free(bytes);
    return NULL;
  }
  *ret_size = (size_t)(out - bytes);
  uint8_t *fitting = realloc(bytes, *ret_size);
  return fitting != NULL ? fitting : bytes;
}

static size_t forward_size(const uint8_t *bytes) {
  forward f = forward_read(bytes);
  for (uint64_t n = (uint64_t)f.content + f.minor + f.author; n > 0; n--)
    forward_next(&f);
  return (size_t)(f.at - bytes);
}

/* --- Putting and removing ------------------------------------------------ */

/* Those before and behind it in its session know it by its slot. */
static void link_doc(corpus *c, uint32_t slot) {
  const doc *d = corpus_doc(c, slot);
  if (d->prev != 0)
    corpus_doc(c, d->prev)->next = slot;
  if (d->next != 0)
    corpus_doc(c, d->next)->prev = slot;
}

mneme_status docs_put(corpus *c, uint32_t session, const corpus_memory *m) {
  uint32_t slot;
  size_t size;
  mneme_status status = new_slot(c, &slot);
  if (status != MNEME_OK)
    return status;
  const mneme_record *r = m->record;
  bool has_event = r->event_us != MNEME_NO_EVENT;
  doc *d = &c->pages[slot / DOCS_PAGE]->docs[slot % DOCS_PAGE];
  *d = (doc){.sequence = r->sequence,
             .revision = r->revision,
             .time_us = has_event ? r->event_us : r->create_us,
             .expire_us = m->expire_us,
             .session = session,
             .asks = m->asks,
             .has_event = has_event};
  d->traits = traits_take(c, m);
  d->forward = make_forward(c, m, &size);
  if (d->traits == CORPUS_NONE || d->forward == NULL)
    return MNEME_NO_MEMORY;
  forward f = forward_read(d->forward);
  d->length = length_of(&f);
  c->live++;
  c->length += d->length;
  c->bytes += size;
  return add_terms(c, slot, d->forward) && sessions_insert(c, session, slot) &&
                 (m->expire_us == 0 || due_add(c, m->expire_us, slot, session))
             ? MNEME_OK
             : MNEME_NO_MEMORY;
}

void docs_remove(corpus *c, uint32_t slot) {
  doc *d = corpus_doc(c, slot);
  uint8_t *bytes = d->forward;
  if (d->prev != 0)
    corpus_doc(c, d->prev)->next = d->next;
  if (d->next != 0)
    corpus_doc(c, d->next)->prev = d->prev;
  c->live--;
  c->length -= d->length;
  c->bytes -= forward_size(bytes);
  traits_give(c, d->traits);
  leave_slot(c, slot);
  if (!take_terms(c, bytes))
    c->broken = true;
  free(bytes);
}

/* --- Sparse pages -------------------------------------------------------- */

static mneme_status move_doc(corpus *c, uint32_t from) {
  uint32_t slot;
  mneme_status status = new_slot(c, &slot);
  if (status != MNEME_OK)
    return status;
  doc d = *corpus_doc(c, from);
  conversation *s = &c->sessions[d.session];
  c->pages[slot / DOCS_PAGE]->docs[slot % DOCS_PAGE] = d;
  link_doc(c, slot);
  s->slots[s->head + sessions_place(c, s, d.sequence)] = slot;
  leave_slot(c, from);
  /* In first: a term that nothing else has would be dropped, and its number with it. */
  if (!add_terms(c, slot, d.forward) || !take_terms(c, d.forward))
    return MNEME_NO_MEMORY;
  return d.expire_us == 0 || due_add(c, d.expire_us, slot, d.session) ? MNEME_OK
                                                                      : MNEME_NO_MEMORY;
}

static uint32_t sparse_page(const corpus *c) {
  for (uint32_t page = c->page_first; page < c->last_slot / DOCS_PAGE; page++)
    if (c->pages[page] != NULL && c->pages[page]->live <= DOCS_PAGE / 4)
      return page;
  return CORPUS_NONE;
}

mneme_status docs_gather(corpus *c) {
  if (c->page_count <= SPARSE_PAGES || (uint64_t)c->page_count * DOCS_PAGE / 4 < c->live)
    return MNEME_OK;
  uint32_t page = sparse_page(c);
  mneme_status status = MNEME_OK;
  for (uint32_t i = 0; page != CORPUS_NONE && status == MNEME_OK && i < DOCS_PAGE; i++) {
    uint32_t slot = page * DOCS_PAGE + i;
    if (c->pages[page] == NULL)
      break; /* that was the last one */
    if (corpus_doc(c, slot) != NULL)
      status = move_doc(c, slot);
  }
  return status;
}
