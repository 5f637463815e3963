/* Traits are found again by a hash of all that they consist of. */
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/set.h"
#include "search/inside.h"

_Static_assert(MNEME_ID_MAX <= UINT8_MAX, "sizes are bytes");

static uint64_t hash_of(const void *owner, uint32_t id) {
  return ((const corpus *)owner)->traits[id].hash;
}

static size_t data_size(const traits *t) {
  return (size_t)t->sizes[0] + t->sizes[1] + t->sizes[2] + t->sizes[3] + t->metadata_size;
}

static bool same(const void *owner, uint32_t id, const void *wanted) {
  const traits *a = &((const corpus *)owner)->traits[id], *b = wanted;
  return a->importance == b->importance && a->tier == b->tier && a->pinned == b->pinned &&
         a->has_importance == b->has_importance && a->has_metadata == b->has_metadata &&
         a->metadata_kept == b->metadata_kept && memcmp(a->sizes, b->sizes, sizeof a->sizes) == 0 &&
         bytes_equal(a->data, data_size(a), b->data, data_size(b));
}

static char *append(char *out, mneme_bytes b) {
  if (b.size > 0)
    memcpy(out, b.data, b.size);
  return out + b.size;
}

static bool equals(mneme_bytes b, const char *text) {
  return bytes_equal(b.data, b.size, text, strlen(text));
}

/* Everything but names and data's own copy. */
static void describe(traits *t, const corpus_memory *m, char *data) {
  const mneme_record *r = m->record;
  const mneme_bytes strings[] = {r->kind, r->role, r->author, r->source};
  *t = (traits){.data = data,
                .importance = r->has_importance ? r->importance : 0.5,
                .tier = r->tier,
                .pinned = r->pinned,
                .has_importance = r->has_importance,
                .has_metadata = m->metadata.size > 0,
                .metadata_kept = m->metadata.size <= CORPUS_METADATA_MAX,
                .is_user = equals(r->role, "user"),
                .is_assistant = equals(r->role, "assistant")};
  for (size_t i = 0; i < 4; i++) {
    t->sizes[i] = (uint8_t)strings[i].size;
    data = append(data, strings[i]);
  }
  if (t->metadata_kept) {
    t->metadata_size = (uint32_t)m->metadata.size;
    append(data, m->metadata);
  }
  uint64_t salt = (uint64_t)(uint32_t)t->tier << 32 | (uint64_t)t->pinned << 1 | t->has_importance;
  uint64_t importance;
  memcpy(&importance, &t->importance, sizeof importance);
  salt = XXH3_64bits_withSeed(&salt, sizeof salt, set_seed() ^ importance);
  t->hash = XXH3_64bits_withSeed(t->data, data_size(t), salt);
}

static uint32_t new_id(corpus *c) {
  uint32_t id = c->traits_free;
  if (id != CORPUS_NONE) {
    c->traits_free = c->traits[id].next_free;
    return id;
  }
  if (c->traits_count == c->traits_room) {
    uint32_t room = c->traits_room + c->traits_room / 2 + 8;
    traits *all = realloc(c->traits, room * sizeof *all);
    if (all == NULL)
      return CORPUS_NONE;
    c->bytes += (room - c->traits_room) * sizeof *all;
    c->traits = all;
    c->traits_room = room;
  }
  return c->traits_count++;
}

static size_t own_bytes(const traits *t) {
  return data_size(t) + t->name_count * sizeof *t->names;
}

static uint32_t add(corpus *c, const traits *described, mneme_bytes author) {
  term_list names = {0};
  char *data = malloc(data_size(described) + 1);
  if (data == NULL || !analyse_name(author, &names) || !ids_reserve(&c->traits_ids, hash_of, c)) {
    free(data);
    free(names.items);
    return CORPUS_NONE;
  }
  uint32_t id = new_id(c);
  if (id == CORPUS_NONE) {
    free(data);
    free(names.items);
    return CORPUS_NONE;
  }
  traits *t = &c->traits[id];
  *t = *described;
  t->data = memcpy(data, described->data, data_size(described));
  t->names = names.items;
  t->name_count = (uint16_t)names.count;
  t->refs = 1;
  c->bytes += own_bytes(t);
  ids_add(&c->traits_ids, t->hash, id);
  return id;
}

uint32_t traits_take(corpus *c, const corpus_memory *m) {
  char room[4 * MNEME_ID_MAX + CORPUS_METADATA_MAX];
  traits described;
  describe(&described, m, room);
  uint32_t id = ids_find(&c->traits_ids, described.hash, hash_of, same, c, &described);
  if (id == CORPUS_NONE)
    return add(c, &described, m->record->author);
  c->traits[id].refs++;
  return id;
}

void traits_give(corpus *c, uint32_t id) {
  traits *t = &c->traits[id];
  if (--t->refs > 0)
    return;
  ids_remove(&c->traits_ids, t->hash, id, hash_of, c);
  c->bytes -= own_bytes(t);
  free(t->data);
  free(t->names);
  *t = (traits){.next_free = c->traits_free};
  c->traits_free = id;
}

void traits_fill(const traits *t, mneme_record *r) {
  const char *at = t->data;
  mneme_bytes *const strings[] = {&r->kind, &r->role, &r->author, &r->source};
  for (size_t i = 0; i < 4; i++) {
    *strings[i] = mneme_bytes_of(at, t->sizes[i]);
    at += t->sizes[i];
  }
  r->tier = t->tier;
  r->pinned = t->pinned;
  r->has_importance = t->has_importance;
  r->importance = t->importance;
}

mneme_bytes traits_metadata(const traits *t) {
  return mneme_bytes_of(t->data + data_size(t) - t->metadata_size, t->metadata_size);
}
