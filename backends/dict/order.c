/* A skip list as in Redis's sorted sets, with the tower in the item:
 *
 *   head 2 ------------> b ----------------> NULL
 *        1 ------------> b ------> d ------> NULL
 *        0 ---> a -----> b -> c -> d -> e -> NULL
 *         NULL <- a <--- b <- c <- d <- e = tail      (back)
 *
 * A node's height comes from its name's hash. That hash is seeded once per
 * store, so a caller can't choose names that make a tall or a flat list, and an
 * item that is taken out and put back (an undone commit) keeps its tower. */
#include "order.h"

#include "bytes.h"

#include <assert.h>
#include <stdlib.h>

uint32_t dict_order_height(uint64_t hash) {
  uint32_t height = 1;
  while (height < DICT_HEIGHT_MAX && (hash & 3) == 0) {
    height++;
    hash >>= 2;
  }
  return height;
}

void dict_order_free(dict_order *order) {
  free(order->head);
  *order = (dict_order){0};
}

bool dict_order_reserve(dict_order *order) {
  if (order->head != NULL) return true;
  order->head = calloc(1, dict_node_size(DICT_HEIGHT_MAX));
  if (order->head == NULL) return false;
  order->height = 1;
  return true;
}

/* The last node on each level whose name is below `name`. */
static void find_before(const dict_order *order, dict_name_fn name_of, mneme_bytes name,
                        dict_node *before[DICT_HEIGHT_MAX]) {
  dict_node *at = order->head;
  for (uint32_t level = order->height; level-- > 0;) {
    while (at->next[level] != NULL && mneme_bytes_compare(name_of(at->next[level]), name) < 0)
      at = at->next[level];
    before[level] = at;
  }
}

void dict_order_insert(dict_order *order, dict_name_fn name, dict_node *node) {
  dict_node *before[DICT_HEIGHT_MAX];
  assert(order->head != NULL && node->height >= 1 && node->height <= DICT_HEIGHT_MAX);
  while (order->height < node->height) order->height++; /* head->next is NULL there */
  find_before(order, name, name(node), before);
  for (uint32_t level = 0; level < node->height; level++) {
    node->next[level] = before[level]->next[level];
    before[level]->next[level] = node;
  }
  node->back = before[0] == order->head ? NULL : before[0];
  if (node->next[0] != NULL)
    node->next[0]->back = node;
  else
    order->tail = node;
}

void dict_order_remove(dict_order *order, dict_name_fn name, dict_node *node) {
  dict_node *before[DICT_HEIGHT_MAX];
  find_before(order, name, name(node), before);
  assert(before[0]->next[0] == node);
  for (uint32_t level = 0; level < node->height; level++)
    before[level]->next[level] = node->next[level];
  if (node->next[0] != NULL)
    node->next[0]->back = node->back;
  else
    order->tail = node->back;
  while (order->height > 1 && order->head->next[order->height - 1] == NULL) order->height--;
}

dict_node *dict_order_seek(const dict_order *order, dict_name_fn name_of, mneme_bytes from,
                           bool beyond) {
  dict_node *at = order->head;
  if (at == NULL) return NULL;
  for (uint32_t level = order->height; level-- > 0;) {
    while (at->next[level] != NULL) {
      mneme_bytes name = name_of(at->next[level]);
      bool below = mneme_bytes_compare(name, from) < 0;
      if (!below && !(beyond && mneme_bytes_begins(name, from))) break;
      at = at->next[level];
    }
  }
  return at->next[0];
}
