/* Items in bytewise order of a name: the keys of a session and the sessions of a
 * shard. A skip list whose nodes lie inside the items (a record's node in the
 * same block as its strings), so that linking allocates nothing and can't fail. */
#ifndef DICT_ORDER_H
#define DICT_ORDER_H

#include "mneme/types.h"

#define DICT_HEIGHT_MAX 12 /* a quarter climbs: enough for 16 million items */

typedef struct dict_node {
  struct dict_node *back; /* NULL at the first */
  uint32_t height;
  struct dict_node *next[]; /* [height] */
} dict_node;

typedef mneme_bytes (*dict_name_fn)(const dict_node *node);

typedef struct dict_order {
  dict_node *head; /* of DICT_HEIGHT_MAX; NULL until the first reserve */
  dict_node *tail;
  uint32_t height; /* the highest in use */
} dict_order;

/* The height for an item whose name has this (seeded) hash, and its node's size. */
uint32_t dict_order_height(uint64_t hash);
static inline size_t dict_node_size(uint32_t height) {
  return sizeof(dict_node) + height * sizeof(dict_node *);
}

void dict_order_free(dict_order *order);
/* Makes inserts possible. */
bool dict_order_reserve(dict_order *order);
/* No item of this name may be there; node->height is set. */
void dict_order_insert(dict_order *order, dict_name_fn name, dict_node *node);
void dict_order_remove(dict_order *order, dict_name_fn name, dict_node *node);
/* The first node whose name is >= from; with beyond, the first whose name is
 * neither below from nor begins with it. */
dict_node *dict_order_seek(const dict_order *order, dict_name_fn name, mneme_bytes from,
                           bool beyond);
static inline dict_node *dict_order_first(const dict_order *order) {
  return order->head != NULL ? order->head->next[0] : NULL;
}

#endif
