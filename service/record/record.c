/* The fixed fields are laid out in one block of little-endian numbers, the
 * lengths of the strings among them, so that no two records with different
 * fields feed the same bytes to the checksum. */
#include "record/record.h"

#include <isa-l/crc.h>
#include <string.h>

uint8_t *record_body_new(arena *a, size_t payload_size) {
  uint8_t *body = arena_alloc(a, RECORD_PREFIX + payload_size);
  if (body == NULL)
    return NULL;
  body[0] = RECORD_VERSION;
  body[1] = 0;
  return body;
}

static uint32_t crc_add(uint32_t crc, const void *data, size_t size) {
  if (size == 0)
    return crc;
  return crc32_iscsi((unsigned char *)data, (int)size, crc); /* reads only */
}

uint32_t record_crc32c(const void *data, size_t size) {
  return ~crc_add(0xFFFFFFFFu, data, size);
}

static size_t put64(uint8_t *out, uint64_t value) {
  for (int i = 0; i < 8; i++)
    out[i] = (uint8_t)(value >> (8 * i));
  return 8;
}

static uint32_t compute(const mneme_record *r) {
  const mneme_bytes *strings[] = {&r->key, &r->kind, &r->role, &r->author, &r->source};
  uint8_t fixed[12 * 8];
  size_t at = 0;
  uint64_t importance = 0;
  if (r->has_importance)
    memcpy(&importance, &r->importance, sizeof importance);
  at += put64(fixed + at, (uint64_t)r->tier);
  at += put64(fixed + at, (uint64_t)r->pinned | (uint64_t)r->has_importance << 1);
  at += put64(fixed + at, importance);
  at += put64(fixed + at, (uint64_t)r->token_count);
  at += put64(fixed + at, (uint64_t)r->ttl_us);
  at += put64(fixed + at, (uint64_t)r->event_us);
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    at += put64(fixed + at, strings[i]->size);
  uint32_t crc = crc_add(0xFFFFFFFFu, fixed, at);
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    crc = crc_add(crc, strings[i]->data, strings[i]->size);
  return ~crc_add(crc, r->body.data, r->body.size);
}

void record_seal(mneme_record *r) {
  r->crc = compute(r);
}

mneme_status record_open(const mneme_record *r, mneme_bytes *ret_payload) {
  if (r->body.size < RECORD_PREFIX || (uint8_t)r->body.data[0] != RECORD_VERSION ||
      r->body.data[1] != 0 || r->crc != compute(r))
    return MNEME_CORRUPT;
  *ret_payload = mneme_bytes_of(r->body.data + RECORD_PREFIX, r->body.size - RECORD_PREFIX);
  return MNEME_OK;
}

int64_t record_count_tokens(const char *text, size_t size) {
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)text[i];
    bool space = c == ' ' || (c >= '\t' && c <= '\r');
    words += !space && !inside;
    inside = !space;
  }
  return (13 * words + 9) / 10;
}
