/* Records in order of sequence: chunks of 32 consecutive sequences, and a sorted
 * array of the chunks that hold any.
 *
 *   chunks [.. first]  [  ]  [  ] ... [end ..]
 *               |       |
 *       base 64 |       | base 224        96..223 were all removed
 *      [r . r r ..]   [r r . ..]          . = hole
 *
 * Append is O(1). Mostly no chunk is missing, and then the chunk of a sequence
 * is found by subtraction; else by binary search below that guess. Eviction from
 * the front only moves `first`. A chunk that has become empty stays until the
 * commit is over (dict_spine_sweep), so that undoing a removal needs no memory. */
#include "dict.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int64_t base_of(int64_t sequence) { return sequence & ~(int64_t)(DICT_CHUNK - 1); }

void dict_spine_free(dict_spine *spine) {
  for (uint32_t i = spine->first; i < spine->end; i++) free(spine->chunks[i]);
  free(spine->chunks);
  *spine = (dict_spine){0};
}

/* The index of the first chunk whose base is >= base; end when there is none. */
static uint32_t find_chunk(const dict_spine *spine, int64_t base) {
  uint32_t low = spine->first, high = spine->end;
  if (low == high || base <= spine->chunks[low]->base) return low;
  /* The i-th chunk begins at least i chunks behind the first. */
  int64_t guess = (base - spine->chunks[low]->base) / DICT_CHUNK;
  if (guess < (int64_t)(high - low)) {
    high = low + (uint32_t)guess;
    if (spine->chunks[high]->base == base) return high;
    high++;
  }
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (spine->chunks[middle]->base < base)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool dict_spine_reserve(dict_spine *spine, int64_t sequence) {
  int64_t base = base_of(sequence);
  if (spine->tail != NULL && spine->tail_base >= base) return true;
  if (spine->end == spine->room) {
    uint32_t used = spine->end - spine->first;
    if (spine->first > spine->room / 2) {
      memmove(spine->chunks, spine->chunks + spine->first, used * sizeof *spine->chunks);
      spine->first = 0;
      spine->end = used;
    } else {
      uint32_t room = spine->room != 0 ? spine->room * 2 : 2;
      dict_chunk **chunks = realloc(spine->chunks, room * sizeof *chunks);
      if (chunks == NULL) return false;
      spine->chunks = chunks;
      spine->room = room;
    }
  }
  dict_chunk *chunk = calloc(1, sizeof *chunk);
  if (chunk == NULL) return false;
  chunk->base = base;
  spine->chunks[spine->end++] = chunk;
  spine->tail = chunk;
  spine->tail_base = base;
  spine->empty++;
  return true;
}

void dict_spine_set(dict_spine *spine, dict_record *record) {
  int64_t base = base_of(record->sequence);
  dict_chunk *chunk =
      base == spine->tail_base ? spine->tail : spine->chunks[find_chunk(spine, base)];
  assert(chunk->base == base && chunk->slots[record->sequence - base] == NULL);
  chunk->slots[record->sequence - base] = record;
  if (chunk->live++ == 0) spine->empty--;
}

void dict_spine_clear(dict_spine *spine, int64_t sequence) {
  int64_t base = base_of(sequence);
  dict_chunk *chunk = spine->chunks[find_chunk(spine, base)];
  assert(chunk->base == base && chunk->slots[sequence - base] != NULL);
  chunk->slots[sequence - base] = NULL;
  if (--chunk->live == 0) spine->empty++;
}

dict_record *dict_spine_get(const dict_spine *spine, int64_t sequence) {
  int64_t base = base_of(sequence);
  uint32_t i = find_chunk(spine, base);
  if (i == spine->end || spine->chunks[i]->base != base) return NULL;
  return spine->chunks[i]->slots[sequence - base];
}

dict_record *dict_spine_next(const dict_spine *spine, int64_t from) {
  uint32_t i = find_chunk(spine, base_of(from));
  for (; i < spine->end; i++) {
    const dict_chunk *chunk = spine->chunks[i];
    if (chunk->live == 0) continue;
    for (int64_t k = from > chunk->base ? from - chunk->base : 0; k < DICT_CHUNK; k++)
      if (chunk->slots[k] != NULL) return chunk->slots[k];
  }
  return NULL;
}

dict_record *dict_spine_back(const dict_spine *spine, int64_t from) {
  bool beyond = spine->tail != NULL && base_of(from) >= spine->tail_base;
  uint32_t i = beyond ? spine->end - 1 : find_chunk(spine, base_of(from));
  /* i is the chunk of `from`, or the first beyond it. */
  if (i < spine->end && spine->chunks[i]->base <= from) i++;
  while (i-- > spine->first) {
    const dict_chunk *chunk = spine->chunks[i];
    if (chunk->live == 0) continue;
    int64_t k = from - chunk->base < DICT_CHUNK ? from - chunk->base : DICT_CHUNK - 1;
    for (; k >= 0; k--)
      if (chunk->slots[k] != NULL) return chunk->slots[k];
  }
  return NULL;
}

size_t dict_spine_runs(const dict_spine *spine, const mneme_log_entry *entry,
                       mneme_log_entry *ret_runs) {
  size_t count = 0;
  int64_t last = -1; /* of the run so far; no sequence is below 1 */
  for (uint32_t i = spine->first; i < spine->end; i++) {
    const dict_chunk *chunk = spine->chunks[i];
    if (chunk->live == 0) continue;
    if (chunk->live == DICT_CHUNK && last >= 0 && chunk->base == last + 1) { /* mostly */
      last += DICT_CHUNK;
      if (ret_runs != NULL) ret_runs[count - 1].last = last;
      continue;
    }
    for (int64_t k = 0; k < DICT_CHUNK; k++) {
      int64_t sequence = chunk->base + k;
      if (chunk->slots[k] == NULL) continue;
      if (last < 0 || sequence != last + 1) {
        if (ret_runs != NULL) {
          ret_runs[count] = *entry;
          ret_runs[count].first = sequence;
        }
        count++;
      }
      last = sequence;
      if (ret_runs != NULL) ret_runs[count - 1].last = sequence;
    }
  }
  return count;
}

void dict_spine_sweep(dict_spine *spine) {
  if (spine->empty == 0) return;
  while (spine->first < spine->end && spine->chunks[spine->first]->live == 0) {
    free(spine->chunks[spine->first++]);
    spine->empty--;
  }
  uint32_t kept = spine->first;
  for (uint32_t i = spine->first; i < spine->end && spine->empty > 0; i++) {
    if (spine->chunks[i]->live != 0) {
      spine->chunks[kept++] = spine->chunks[i];
      continue;
    }
    free(spine->chunks[i]);
    spine->empty--;
    if (spine->empty == 0) {
      memmove(spine->chunks + kept, spine->chunks + i + 1,
              (spine->end - i - 1) * sizeof *spine->chunks);
      kept += spine->end - i - 1;
      spine->end = kept;
    }
  }
  if (spine->first == spine->end) {
    dict_spine_free(spine);
    return;
  }
  spine->tail = spine->chunks[spine->end - 1];
  spine->tail_base = spine->tail->base;
}
