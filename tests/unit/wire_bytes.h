/* Bytes of the wire made by hand, field by field, so that tests can say what no
 * protobuf library would: wrong wire types, unknown numbers, lengths that lie. */
#ifndef TESTS_UNIT_WIRE_BYTES_H
#define TESTS_UNIT_WIRE_BYTES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, FIXED64 = 1, CHUNK = 2, GROUP = 3, GROUP_END = 4, FIXED32 = 5 };

typedef struct bytes {
  uint8_t *data;
  size_t size;
  size_t room;
} bytes;

static inline void bytes_free(bytes *b) {
  free(b->data);
  *b = (bytes){NULL, 0, 0};
}

static inline void put_raw(bytes *b, const void *data, size_t size) {
  if (b->size + size > b->room) {
    b->room = 2 * (b->size + size) + 64;
    b->data = realloc(b->data, b->room);
    if (b->data == NULL)
      abort();
  }
  if (size > 0)
    memcpy(b->data + b->size, data, size);
  b->size += size;
}

static inline void put_byte(bytes *b, int byte) {
  uint8_t one = (uint8_t)byte;
  put_raw(b, &one, 1);
}

/* As a varint of at least `least` bytes: longer than it need be. */
static inline void put_varint_long(bytes *b, uint64_t value, size_t least) {
  for (size_t i = 1; value >= 128 || i < least; i++, value >>= 7)
    put_byte(b, (int)(value & 127) | 128);
  put_byte(b, (int)value);
}

static inline void put_varint(bytes *b, uint64_t value) {
  put_varint_long(b, value, 1);
}

static inline void put_tag(bytes *b, uint64_t number, int wire_type) {
  put_varint(b, number << 3 | (uint64_t)wire_type);
}

static inline void put_int(bytes *b, uint32_t number, int64_t value) {
  put_tag(b, number, VARINT);
  put_varint(b, (uint64_t)value);
}

static inline void put_double(bytes *b, uint32_t number, double value) {
  put_tag(b, number, FIXED64);
  put_raw(b, &value, sizeof value); /* little-endian, as the machines we build for */
}

static inline void put_chunk(bytes *b, uint32_t number, const void *data, size_t size) {
  put_tag(b, number, CHUNK);
  put_varint(b, size);
  put_raw(b, data, size);
}

static inline void put_text(bytes *b, uint32_t number, const char *text) {
  put_chunk(b, number, text, strlen(text));
}

/* size times the same letter. */
static inline void put_letters(bytes *b, uint32_t number, size_t size) {
  char *text = malloc(size + 1);
  if (text == NULL)
    abort();
  memset(text, 'a', size);
  put_chunk(b, number, text, size);
  free(text);
}

/* A message or anything else made beforehand, which is used up. */
static inline void put_bytes(bytes *b, uint32_t number, bytes inner) {
  put_chunk(b, number, inner.data, inner.size);
  free(inner.data);
}

#endif
