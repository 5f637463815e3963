/* Fields written by hand, for the one answer that is worth it: an append's. To
 * build messages, size them twice (protobuf-c asks again for each length prefix)
 * and pack them was a twentieth of an append.
 *
 * Backwards: a message's length stands in front of it, and is known when the
 * message has been written, so everything is written from its end (as upb does).
 * The caller gives room enough; ENCODE_* say how much. Zero, false and empty are
 * not written: proto3's defaults. */
#ifndef MNEME_WIRE_ENCODE_H
#define MNEME_WIRE_ENCODE_H

#include <string.h>

#include "mneme/types.h"

#define ENCODE_NUMBER_MAX 11 /* bytes: a tag below 16 and a varint of 64 bits */
#define ENCODE_PREFIX_MAX 6  /* bytes: such a tag and a length of 32 bits */

/* Each returns the new beginning of what is written. */
static inline uint8_t *encode_varint(uint8_t *end, uint64_t value) {
  uint8_t bytes[10];
  size_t count = 0;
  do
    bytes[count++] = (uint8_t)(value | 0x80);
  while ((value >>= 7) != 0);
  bytes[count - 1] &= 0x7F;
  return memcpy(end - count, bytes, count);
}

static inline uint8_t *encode_number(uint8_t *end, unsigned field, int64_t value) {
  if (value == 0)
    return end;
  end = encode_varint(end, (uint64_t)value);
  *--end = (uint8_t)(field << 3);
  return end;
}

/* Tag and length in front of what lies between begin and end. */
static inline uint8_t *encode_prefix(uint8_t *begin, const uint8_t *end, unsigned field) {
  begin = encode_varint(begin, (uint64_t)(end - begin));
  *--begin = (uint8_t)(field << 3 | 2);
  return begin;
}

static inline uint8_t *encode_text(uint8_t *end, unsigned field, mneme_bytes text) {
  if (text.size == 0)
    return end;
  uint8_t *begin = memcpy(end - text.size, text.data, text.size);
  return encode_prefix(begin, end, field);
}

#endif
