/* A memory in one block of memory:
 *
 *   [dict_record 128 bytes][node: back, height, tower][id][key][kind]..[body]
 *                          only with a key             no gaps, no NUL
 *
 * One allocation an append, one cache line for most of what eviction, expiry and
 * ordering ask. The sizes of the strings are kept, their offsets are sums. */
#include "dict.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>
#include <xxhash.h>

_Static_assert(sizeof(dict_record) % _Alignof(dict_node) == 0, "the node follows the record");

/* Which one LEAST_IMPORTANT evicts first. */
static bool before_by_rank(const void *a, const void *b) {
  const dict_record *x = a, *y = b;
  double p = mneme_rule_importance(x->flags & DICT_HAS_IMPORTANCE, x->importance);
  double q = mneme_rule_importance(y->flags & DICT_HAS_IMPORTANCE, y->importance);
  return p != q ? p < q : x->sequence < y->sequence;
}

const dict_heap_kind dict_by_rank = {offsetof(dict_record, rank_place), before_by_rank};

bool dict_record_fits(const mneme_record *r) {
  return r->id.size <= MNEME_ID_MAX && r->key.size <= MNEME_KEY_MAX &&
         r->kind.size <= MNEME_ID_MAX && r->role.size <= MNEME_ID_MAX &&
         r->author.size <= MNEME_ID_MAX && r->source.size <= MNEME_ID_MAX &&
         r->body.size <= MNEME_BODY_MAX;
}

dict_record *dict_record_new(const mneme_record *from, mneme_bytes id, uint64_t seed) {
  uint64_t key_hash = 0;
  uint32_t height = 0;
  size_t node_size = 0;
  if (from->key.size != 0) {
    key_hash = XXH3_64bits_withSeed(from->key.data, from->key.size, seed);
    height = dict_order_height(key_hash >> 32);
    node_size = dict_node_size(height);
  }
  size_t strings = id.size + from->key.size + from->kind.size + from->role.size +
                   from->author.size + from->source.size + from->body.size;
  dict_record *r = malloc(sizeof *r + node_size + strings);
  if (r == NULL) return NULL;
  *r = (dict_record){
      .token_count = from->token_count,
      .ttl_us = from->ttl_us,
      .event_us = from->event_us,
      .expire_us = from->expire_us,
      .importance = from->importance,
      .crc = from->crc,
      .body_size = (uint32_t)from->body.size,
      .id_hash = dict_record_id_hash(id, seed),
      .key_hash = (uint32_t)key_hash,
      .tier = from->tier,
      .key_size = (uint16_t)from->key.size,
      .id_size = (uint8_t)id.size,
      .kind_size = (uint8_t)from->kind.size,
      .role_size = (uint8_t)from->role.size,
      .author_size = (uint8_t)from->author.size,
      .source_size = (uint8_t)from->source.size,
      .flags = (uint8_t)((from->pinned ? DICT_PINNED : 0) |
                         (from->has_importance ? DICT_HAS_IMPORTANCE : 0) |
                         (mneme_rule_is_system(from->role) ? DICT_SYSTEM : 0)),
  };
  if (height != 0) dict_record_node(r)->height = height;
  char *at = (char *)(r + 1) + node_size;
  mneme_bytes_put(&at, id);
  mneme_bytes_put(&at, from->key);
  mneme_bytes_put(&at, from->kind);
  mneme_bytes_put(&at, from->role);
  mneme_bytes_put(&at, from->author);
  mneme_bytes_put(&at, from->source);
  mneme_bytes_put(&at, from->body);
  return r;
}

dict_count dict_record_count(const dict_record *r) {
  return (dict_count){1, r->token_count, dict_record_bytes(r)};
}

dict_node *dict_record_node(dict_record *record) { return (dict_node *)(record + 1); }

dict_record *dict_record_of(const dict_node *node) { return (dict_record *)(uintptr_t)node - 1; }

static const char *strings_of(const dict_record *r) {
  const char *end = (const char *)(r + 1);
  return r->key_size == 0 ? end : end + dict_node_size(((const dict_node *)(r + 1))->height);
}

mneme_bytes dict_record_id(const dict_record *record) {
  return mneme_bytes_of(strings_of(record), record->id_size);
}

mneme_bytes dict_record_key(const dict_record *record) {
  return mneme_bytes_of(strings_of(record) + record->id_size, record->key_size);
}

mneme_bytes dict_record_node_name(const dict_node *node) {
  return dict_record_key(dict_record_of(node));
}

uint32_t dict_record_id_hash(mneme_bytes id, uint64_t seed) {
  return (uint32_t)XXH3_64bits_withSeed(id.data, id.size, seed);
}

bool dict_record_has_id(const void *record, const void *bytes) {
  return mneme_bytes_equal(dict_record_id(record), *(const mneme_bytes *)bytes);
}

bool dict_record_has_key(const void *record, const void *bytes) {
  return mneme_bytes_equal(dict_record_key(record), *(const mneme_bytes *)bytes);
}

static mneme_bytes take(const char **at, size_t size) {
  mneme_bytes bytes = mneme_bytes_of(*at, size);
  *at += size;
  return bytes;
}

void dict_record_view(const dict_record *r, mneme_record *ret_view) {
  const char *at = strings_of(r);
  *ret_view = (mneme_record){
      .sequence = r->sequence,
      .revision = r->revision,
      .create_us = r->create_us,
      .update_us = r->update_us,
      .access_us = r->access_us,
      .access_count = r->access_count,
      .tier = r->tier,
      .pinned = (r->flags & DICT_PINNED) != 0,
      .has_importance = (r->flags & DICT_HAS_IMPORTANCE) != 0,
      .importance = r->importance,
      .token_count = r->token_count,
      .ttl_us = r->ttl_us,
      .event_us = r->event_us,
      .crc = r->crc,
      .expire_us = r->expire_us,
  };
  ret_view->id = take(&at, r->id_size);
  ret_view->key = take(&at, r->key_size);
  ret_view->kind = take(&at, r->kind_size);
  ret_view->role = take(&at, r->role_size);
  ret_view->author = take(&at, r->author_size);
  ret_view->source = take(&at, r->source_size);
  ret_view->body = take(&at, r->body_size);
}

int64_t dict_record_bytes(const dict_record *r) {
  return (int64_t)r->id_size + r->key_size + r->kind_size + r->role_size + r->author_size +
         r->source_size + r->body_size;
}

/* The block, and about 48 bytes for the allocator's header, the slot in the
 * spine and the places in tables and heaps. */
int64_t dict_record_cost(const dict_record *r) {
  return (int64_t)(strings_of(r) - (const char *)r) + dict_record_bytes(r) + 48;
}
