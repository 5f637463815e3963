/* Sessions: by name, and in each the slots of its memories in the order of their
 * sequence. Memories come at the end and mostly go from the start, both without
 * moving the others; in the middle the rest of the list moves up, four bytes a
 * memory. */
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/set.h"
#include "search/inside.h"

static uint64_t hash_of(const void *owner, uint32_t id) {
  return ((const corpus *)owner)->sessions[id].hash;
}

static bool same(const void *owner, uint32_t id, const void *wanted) {
  const conversation *s = &((const corpus *)owner)->sessions[id];
  const mneme_bytes *name = wanted;
  return bytes_equal(s->name, s->name_size, name->data, name->size);
}

static uint64_t hash_name(mneme_bytes name) {
  return XXH3_64bits_withSeed(name.data, name.size, set_seed());
}

uint32_t corpus_session_find(const corpus *c, mneme_bytes name) {
  return ids_find(&c->session_ids, hash_name(name), hash_of, same, c, &name);
}

static uint32_t new_id(corpus *c) {
  uint32_t id = c->session_free;
  if (id != CORPUS_NONE) {
    c->session_free = c->sessions[id].next_free;
    return id;
  }
  if (c->session_count == c->session_room) {
    uint32_t room = c->session_room + c->session_room / 2 + 8;
    conversation *all = realloc(c->sessions, room * sizeof *all);
    if (all == NULL)
      return CORPUS_NONE;
    c->bytes += (room - c->session_room) * sizeof *all;
    c->sessions = all;
    c->session_room = room;
  }
  return c->session_count++;
}

uint32_t corpus_session_add(corpus *c, mneme_bytes name, const language *l) {
  uint32_t id = corpus_session_find(c, name);
  if (id != CORPUS_NONE)
    return id;
  char *copy = malloc(name.size + 1);
  if (copy == NULL || !ids_reserve(&c->session_ids, hash_of, c) ||
      (id = new_id(c)) == CORPUS_NONE) {
    free(copy);
    return CORPUS_NONE;
  }
  if (name.size > 0)
    memcpy(copy, name.data, name.size);
  c->bytes += name.size + 1;
  c->sessions[id] = (conversation){
      .name = copy, .name_size = name.size, .hash = hash_name(name), .language = l};
  c->languages[language_number(l)]++;
  ids_add(&c->session_ids, c->sessions[id].hash, id);
  return id;
}

mneme_bytes corpus_session_name(const corpus *c, uint32_t session) {
  return mneme_bytes_of(c->sessions[session].name, c->sessions[session].name_size);
}

size_t corpus_session_memories(const corpus *c, uint32_t session) {
  return c->sessions[session].count;
}

void corpus_session_drop(corpus *c, uint32_t session) {
  conversation *s = &c->sessions[session];
  for (size_t i = 0; i < s->count; i++)
    docs_remove(c, s->slots[s->head + i]);
  ids_remove(&c->session_ids, s->hash, session, hash_of, c);
  c->languages[language_number(s->language)]--;
  c->bytes -= s->name_size + 1 + s->room * sizeof *s->slots;
  free(s->slots);
  free(s->name);
  *s = (conversation){.next_free = c->session_free};
  c->session_free = session;
}

bool corpus_session_expires(corpus *c, uint32_t session, int64_t when_us) {
  conversation *s = &c->sessions[session];
  if (s->expire_us == when_us)
    return true;
  s->expire_us = when_us;
  return when_us == 0 || due_add(c, when_us, 0, session);
}

/* --- Their memories ------------------------------------------------------ */

size_t sessions_place(const corpus *c, const conversation *s, int64_t sequence) {
  size_t low = 0, high = s->count;
  if (high > 0 && corpus_doc(c, s->slots[s->head + high - 1])->sequence < sequence)
    return high;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (corpus_doc(c, s->slots[s->head + middle])->sequence < sequence)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* For one more at the end. What was removed from the start is used again when it
 * is at least as much as what is left. */
static bool make_room(corpus *c, conversation *s) {
  if (s->head + s->count < s->room)
    return true;
  if (s->head > 0 && s->head >= s->count) {
    memmove(s->slots, s->slots + s->head, s->count * sizeof *s->slots);
    s->head = 0;
    return true;
  }
  size_t room = s->room + s->room / 4 + 4;
  uint32_t *slots = realloc(s->slots, room * sizeof *slots);
  if (slots == NULL)
    return false;
  c->bytes += (room - s->room) * sizeof *slots;
  s->slots = slots;
  s->room = room;
  return true;
}

bool sessions_insert(corpus *c, uint32_t session, uint32_t slot) {
  conversation *s = &c->sessions[session];
  doc *d = corpus_doc(c, slot);
  size_t place = sessions_place(c, s, d->sequence);
  if (!make_room(c, s))
    return false;
  uint32_t *at = s->slots + s->head + place;
  memmove(at + 1, at, (s->count - place) * sizeof *at);
  *at = slot;
  s->count++;
  d->prev = place > 0 ? at[-1] : 0;
  d->next = place + 1 < s->count ? at[1] : 0;
  if (d->prev != 0)
    corpus_doc(c, d->prev)->next = slot;
  if (d->next != 0)
    corpus_doc(c, d->next)->prev = slot;
  return true;
}

void corpus_remove(corpus *c, uint32_t session, int64_t first, int64_t last) {
  conversation *s = &c->sessions[session];
  size_t from = sessions_place(c, s, first), to = from;
  for (; to < s->count; to++) {
    uint32_t slot = s->slots[s->head + to];
    if (corpus_doc(c, slot)->sequence > last)
      break;
    docs_remove(c, slot);
  }
  if (from == 0)
    s->head += to;
  else
    memmove(s->slots + s->head + from, s->slots + s->head + to,
            (s->count - to) * sizeof *s->slots);
  s->count -= to - from;
}
