/* Open addressing with linear probing. Hashes and items are two arrays, so that
 * a probe reads sixteen hashes per cache line and touches an item only when its
 * 32-bit hash is equal; growing needs no item at all:
 *
 *   items  [ptr][ptr][   ][ptr]...     8 bytes a slot
 *   hashes [ h ][ h ][ 0 ][ h ]...     4 bytes a slot
 *
 * Removal shifts the run that follows back by one, so there are no tombstones
 * and a table that lives for months is as fast as on its first day. At most
 * three quarters of the slots are used. */
#include "table.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS_MIN 8u

static uint32_t slot_hash(uint32_t hash) { return hash != 0 ? hash : 1; }

static size_t room_of(uint32_t slots) { return slots / 4 * 3; }

static void place(dict_table *table, uint32_t hash, void *item) {
  uint32_t mask = table->slots - 1;
  uint32_t i = hash & mask;
  while (table->hashes[i] != 0) i = (i + 1) & mask;
  table->hashes[i] = hash;
  table->items[i] = item;
}

static bool resize(dict_table *table, uint32_t slots) {
  dict_table grown = {.count = table->count, .slots = slots};
  char *block = calloc(slots, sizeof(void *) + sizeof(uint32_t));
  if (block == NULL) return false;
  grown.items = (void **)block;
  grown.hashes = (uint32_t *)(block + slots * sizeof(void *));
  for (uint32_t i = 0; i < table->slots; i++)
    if (table->hashes[i] != 0) place(&grown, table->hashes[i], table->items[i]);
  free(table->items);
  *table = grown;
  return true;
}

void dict_table_free(dict_table *table) {
  free(table->items);
  *table = (dict_table){0};
}

bool dict_table_reserve(dict_table *table, size_t more) {
  size_t want = table->count + more;
  if (want <= room_of(table->slots)) return true;
  uint32_t slots = table->slots != 0 ? table->slots : SLOTS_MIN;
  while (room_of(slots) < want) {
    if (slots > UINT32_MAX / 2) return false;
    slots *= 2;
  }
  return resize(table, slots);
}

void dict_table_shrink(dict_table *table) {
  if (table->count == 0) {
    dict_table_free(table);
    return;
  }
  if (table->slots <= SLOTS_MIN || table->count >= table->slots / 8) return;
  uint32_t slots = table->slots;
  while (slots > SLOTS_MIN && table->count < slots / 4) slots /= 2;
  resize(table, slots); /* No memory for the smaller one: keep the larger. */
}

void *dict_table_find(const dict_table *table, uint32_t hash, dict_same_fn same,
                      const void *key) {
  if (table->count == 0) return NULL;
  uint32_t mask = table->slots - 1;
  hash = slot_hash(hash);
  for (uint32_t i = hash & mask; table->hashes[i] != 0; i = (i + 1) & mask)
    if (table->hashes[i] == hash && same(table->items[i], key)) return table->items[i];
  return NULL;
}

void dict_table_insert(dict_table *table, uint32_t hash, void *item) {
  assert(table->count < room_of(table->slots));
  place(table, slot_hash(hash), item);
  table->count++;
}

void dict_table_remove(dict_table *table, uint32_t hash, const void *item) {
  uint32_t mask = table->slots - 1;
  uint32_t hole = slot_hash(hash) & mask;
  while (table->items[hole] != item) {
    assert(table->hashes[hole] != 0);
    hole = (hole + 1) & mask;
  }
  /* Whatever follows and would be found from the hole on moves into it. */
  for (uint32_t i = (hole + 1) & mask; table->hashes[i] != 0; i = (i + 1) & mask) {
    uint32_t home = table->hashes[i] & mask;
    if (((i - home) & mask) < ((i - hole) & mask)) continue;
    table->hashes[hole] = table->hashes[i];
    table->items[hole] = table->items[i];
    hole = i;
  }
  table->hashes[hole] = 0;
  table->items[hole] = NULL;
  table->count--;
}
