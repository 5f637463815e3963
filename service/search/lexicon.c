/* Terms lie in pages and never move, so that a list can be read while the lexicon
 * grows elsewhere in the same step; freed ones are linked and taken again. */
#include "search/lexicon.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const void *owner, uint32_t id) {
  return lexicon_term(owner, id)->hash;
}

bool lexicon_init(lexicon *l) {
  *l = (lexicon){.free = IDS_NONE};
  return ids_init(&l->ids);
}

size_t lexicon_bytes(const lexicon *l) { return l->bytes + ids_bytes(&l->ids); }

void lexicon_clear(lexicon *l) {
  for (uint32_t id = 0; id < l->used; id++)
    if (lexicon_term(l, id)->docs > 0 && lexicon_term(l, id)->room > 0)
      free(lexicon_term(l, id)->bytes);
  for (size_t i = 0; i < l->page_count; i++)
    free(l->pages[i]);
  free(l->pages);
  ids_clear(&l->ids);
  *l = (lexicon){0};
}

/* --- Ids ----------------------------------------------------------------- */

static bool add_page(lexicon *l) {
  if (l->page_count == l->page_room) {
    size_t room = l->page_room * 2 + 8;
    term **pages = realloc(l->pages, room * sizeof *pages);
    if (pages == NULL)
      return false;
    l->bytes += (room - l->page_room) * sizeof *pages;
    l->pages = pages;
    l->page_room = room;
  }
  l->pages[l->page_count] = malloc(LEXICON_PAGE * sizeof(term));
  if (l->pages[l->page_count] == NULL)
    return false;
  l->page_count++;
  l->bytes += LEXICON_PAGE * sizeof(term);
  return true;
}

static uint32_t new_id(lexicon *l) {
  uint32_t id = l->free;
  if (id != IDS_NONE) {
    l->free = lexicon_term(l, id)->size;
    return id;
  }
  if (l->used == l->page_count * LEXICON_PAGE && !add_page(l))
    return IDS_NONE;
  return l->used++;
}

static void drop(lexicon *l, uint32_t id) {
  term *t = lexicon_term(l, id);
  ids_remove(&l->ids, t->hash, id, hash_of, l);
  if (t->room > 0)
    free(t->bytes);
  l->bytes -= t->room;
  *t = (term){.size = l->free};
  l->free = id;
}

uint32_t lexicon_find(const lexicon *l, uint64_t hash) {
  return ids_find(&l->ids, hash, hash_of, NULL, l, NULL);
}

uint32_t lexicon_add(lexicon *l, uint64_t hash) {
  uint32_t id = lexicon_find(l, hash);
  if (id != IDS_NONE)
    return id;
  if (!ids_reserve(&l->ids, hash_of, l))
    return IDS_NONE;
  id = new_id(l);
  if (id == IDS_NONE)
    return IDS_NONE;
  *lexicon_term(l, id) = (term){.hash = hash};
  ids_add(&l->ids, hash, id);
  return id;
}

/* --- Lists --------------------------------------------------------------- */

static uint8_t *bytes_of(term *t) { return t->room > 0 ? t->bytes : t->inlined; }

postings lexicon_read(const term *t) {
  const uint8_t *bytes = t->room > 0 ? t->bytes : t->inlined;
  return (postings){.at = bytes, .end = bytes + t->size};
}

bool postings_next(postings *p) {
  uint64_t value, weight = TF_ONE;
  if (p->at == p->end)
    return false;
  p->at = varint_get(p->at, &value);
  if (value & 1)
    p->at = varint_get(p->at, &weight);
  p->slot += (uint32_t)(value >> 1);
  p->weight = (uint32_t)weight;
  return true;
}

static uint8_t *put_entry(uint8_t *out, uint32_t delta, uint32_t weight) {
  out = varint_put(out, (uint64_t)delta << 1 | (weight != TF_ONE));
  return weight != TF_ONE ? varint_put(out, weight) : out;
}

/* By an eighth at a time: most of the lists' bytes are in long ones, and appends
 * to those are copied eight times each, at most. */
static bool make_room(lexicon *l, term *t, uint32_t more) {
  uint32_t have = t->room > 0 ? t->room : LEXICON_INLINE, need = t->size + more;
  if (need <= have)
    return true;
  uint32_t room = (need + need / 8 + 8 + 7) & ~UINT32_C(7);
  uint8_t *bytes = realloc(t->room > 0 ? t->bytes : NULL, room);
  if (bytes == NULL)
    return false;
  if (t->room == 0)
    memcpy(bytes, t->inlined, t->size);
  l->bytes += room - t->room;
  t->bytes = bytes;
  t->room = room;
  return true;
}

bool lexicon_put(lexicon *l, uint32_t id, uint32_t slot, uint32_t weight, bool is_author) {
  term *t = lexicon_term(l, id);
  uint8_t entry[2 * VARINT_MAX];
  uint32_t size = (uint32_t)(put_entry(entry, slot - t->last, weight) - entry);
  t->docs++;
  t->authors += is_author;
  if (!make_room(l, t, size))
    return false;
  memcpy(bytes_of(t) + t->size, entry, size);
  t->size += size;
  t->last = slot;
  return true;
}

/* Without the dead. Never longer than before: the sum of two deltas takes no more
 * bytes than both. */
static void rewrite(term *t, lexicon_live_fn is_live, const void *ctx) {
  postings p = lexicon_read(t);
  uint8_t *out = bytes_of(t);
  uint32_t last = 0;
  while (postings_next(&p)) {
    if (!is_live(ctx, p.slot))
      continue;
    out = put_entry(out, p.slot - last, p.weight);
    last = p.slot;
  }
  t->size = (uint32_t)(out - bytes_of(t));
  t->last = last;
  t->dead = 0;
}

/* Gives back what a list that has shrunk to less than half does not need. */
static void give_back(lexicon *l, term *t) {
  uint8_t *bytes = t->bytes;
  if (t->room == 0 || t->size > t->room / 2)
    return;
  if (t->size <= LEXICON_INLINE) {
    l->bytes -= t->room;
    t->room = 0;
    memcpy(t->inlined, bytes, t->size);
    free(bytes);
    return;
  }
  uint32_t room = (t->size + t->size / 8 + 7) & ~UINT32_C(7);
  bytes = realloc(bytes, room);
  if (bytes == NULL)
    return; /* it may keep the larger one */
  l->bytes -= t->room - room;
  t->bytes = bytes;
  t->room = room;
}

void lexicon_take(lexicon *l, uint32_t id, bool was_author, lexicon_live_fn is_live,
                  const void *ctx) {
  term *t = lexicon_term(l, id);
  t->docs--;
  t->dead++;
  t->authors -= was_author;
  if (t->docs == 0) {
    drop(l, id);
  } else if (t->dead > t->docs + 4) {
    rewrite(t, is_live, ctx);
    give_back(l, t);
  }
}
