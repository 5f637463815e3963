/* Most entries say "the next commit evicted the next sequence": a session at its
 * limit writes one per append. As plain structs, 4,096 of them would cost 128 KB
 * a session, many times what such a session holds. So an entry is kept as its
 * difference to the one before it:
 *
 *   byte: .. SPAN FIRST REVISION op(3)     flags: this part is not as expected
 *         [revision - the last revision]   else 1
 *         [zigzag(first - (last + 1))]     else 0: where the last one ended
 *         [last - first]                   else 0: one sequence
 *
 *   bytes: ....[oldest][ ]...[newest].......
 *              ^start                ^end   ^room
 *
 * The usual entry is one byte. Numbers are not written: they are consecutive.
 * Reading decodes from the oldest on, a few nanoseconds each. */
#include "log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OP_MASK 7u
#define HAS_REVISION 8u
#define HAS_FIRST 16u
#define HAS_SPAN 32u
#define ENTRY_MAX (1 + 3 * 10) /* a varint of 64 bits has ten bytes at most */

static uint8_t *write_varint(uint8_t *at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  *at++ = (uint8_t)value;
  return at;
}

static const uint8_t *read_varint(const uint8_t *at, uint64_t *ret_value) {
  uint64_t value = 0;
  unsigned shift = 0;
  while (*at & 0x80) {
    value |= (uint64_t)(*at++ & 0x7f) << shift;
    shift += 7;
  }
  *ret_value = value | (uint64_t)*at++ << shift;
  return at;
}

static uint64_t zigzag(int64_t value) {
  return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value) {
  return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static size_t encode(uint8_t *out, const mneme_log_entry *last, const mneme_log_entry *entry) {
  uint8_t *at = out + 1;
  uint64_t revision = (uint64_t)(entry->revision - last->revision);
  int64_t first = entry->first - (last->last + 1);
  uint64_t span = (uint64_t)(entry->last - entry->first);
  out[0] = (uint8_t)entry->op;
  if (revision != 1) {
    out[0] |= HAS_REVISION;
    at = write_varint(at, revision);
  }
  if (first != 0) {
    out[0] |= HAS_FIRST;
    at = write_varint(at, zigzag(first));
  }
  if (span != 0) {
    out[0] |= HAS_SPAN;
    at = write_varint(at, span);
  }
  return (size_t)(at - out);
}

/* Turns *entry from the one before into the one at `at`. */
static const uint8_t *decode(const uint8_t *at, mneme_log_entry *entry) {
  uint8_t head = *at++;
  uint64_t revision = 1, first = 0, span = 0;
  if (head & HAS_REVISION) at = read_varint(at, &revision);
  if (head & HAS_FIRST) at = read_varint(at, &first);
  if (head & HAS_SPAN) at = read_varint(at, &span);
  entry->number++;
  entry->revision += (int64_t)revision;
  entry->first = entry->last + 1 + unzigzag(first);
  entry->last = entry->first + (int64_t)span;
  entry->op = (mneme_log_op)(head & OP_MASK);
  return at;
}

void dict_log_free(dict_log *log) {
  free(log->bytes);
  *log = (dict_log){0};
}

bool dict_log_reserve(dict_log *log, const mneme_log_entry *entries, size_t count) {
  uint8_t scratch[ENTRY_MAX];
  const mneme_log_entry *last = &log->last;
  size_t size = 0;
  for (size_t i = 0; i < count; last = &entries[i++]) size += encode(scratch, last, &entries[i]);

  if (size <= log->room - log->end) return true;
  size_t used = log->end - log->start;
  if (used + size > log->room || log->start < log->room / 2) {
    size_t room = log->room != 0 ? log->room : 32;
    while (room < (used + size) * 2) room *= 2;
    uint8_t *bytes = malloc(room);
    if (room > UINT32_MAX || bytes == NULL) {
      free(bytes);
      return false;
    }
    if (used != 0) memcpy(bytes, log->bytes + log->start, used);
    free(log->bytes);
    log->bytes = bytes;
    log->room = (uint32_t)room;
  } else {
    memmove(log->bytes, log->bytes + log->start, used);
  }
  log->start = 0;
  log->end = (uint32_t)used;
  return true;
}

void dict_log_add(dict_log *log, const mneme_log_entry *entry) {
  assert(log->room - log->end >= encode((uint8_t[ENTRY_MAX]){0}, &log->last, entry));
  if (log->count == MNEME_LOG_MAX) {
    log->start = (uint32_t)(decode(log->bytes + log->start, &log->base) - log->bytes);
    log->count--;
  }
  log->end += (uint32_t)encode(log->bytes + log->end, &log->last, entry);
  log->count++;
  int64_t number = log->last.number + 1;
  log->last = *entry;
  log->last.number = number;
}

bool dict_log_read(const dict_log *log, int64_t after, mneme_log_entry *ret_entries, size_t max,
                   size_t *ret_count) {
  mneme_log_entry entry = log->base;
  const uint8_t *at = log->bytes + log->start;
  *ret_count = 0;
  if (after < log->base.number) return false;
  for (uint32_t i = 0; i < log->count && *ret_count < max; i++) {
    at = decode(at, &entry);
    if (entry.number > after) ret_entries[(*ret_count)++] = entry;
  }
  return true;
}
