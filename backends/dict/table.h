/* A hash table of pointers: sessions of a shard, ids and keys of a session,
 * request_ids. The caller brings the hash (seeded, so that nobody can choose
 * collisions) and compares; the table owns no item. */
#ifndef DICT_TABLE_H
#define DICT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dict_table {
  uint32_t *hashes; /* 0 = free slot; they stand behind the items, in one block */
  void **items;
  uint32_t count;
  uint32_t slots; /* a power of two, or 0 */
} dict_table;

typedef bool (*dict_same_fn)(const void *item, const void *key);

void dict_table_free(dict_table *table);
/* Makes room for `more` inserts that then can't fail. */
bool dict_table_reserve(dict_table *table, size_t more);
/* Gives memory back when the table has become much too large; may do nothing. */
void dict_table_shrink(dict_table *table);
void *dict_table_find(const dict_table *table, uint32_t hash, dict_same_fn same, const void *key);
/* Asks the processor for the places where this hash would stand. */
static inline void dict_table_prefetch(const dict_table *table, uint32_t hash) {
  if (table->slots == 0) return;
  uint32_t slot = hash & (table->slots - 1);
  __builtin_prefetch(&table->hashes[slot]);
  __builtin_prefetch(&table->items[slot], 1);
}
/* Room must have been reserved, and no equal item may be there. */
void dict_table_insert(dict_table *table, uint32_t hash, void *item);
/* The item must be there. */
void dict_table_remove(dict_table *table, uint32_t hash, const void *item);

#endif
