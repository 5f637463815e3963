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

/* Checksums and the counting of words below read numbers as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stores would not move between machines");

static uint32_t crc_add(uint32_t crc, const void *data, size_t size) {
  if (size == 0)
    return crc;
  return crc32_iscsi((unsigned char *)data, (int)size, crc); /* reads only */
}

uint32_t record_crc32c(const void *data, size_t size) {
  return ~crc_add(0xFFFFFFFFu, data, size);
}

static size_t put64(uint8_t *out, uint64_t value) {
  memcpy(out, &value, sizeof value); /* little-endian: see above */
  return sizeof value;
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

/* --- Tokens -------------------------------------------------------------- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The high bit of each byte that is white space: eight bytes at a time, because a
 * loop over single bytes was a tenth of an append. Bit tricks: a byte below 128
 * that is less than n has its high bit set in (byte - n) with the high bit set
 * aside ("Bit Twiddling Hacks", hasless). */
static uint64_t spaces_of(uint64_t word) {
  uint64_t high = EACH(0x80), low = word & ~high;
  uint64_t above_8 = low + EACH(0x80 - 0x09);  /* high bit: >= 9 */
  uint64_t above_13 = low + EACH(0x80 - 0x0E); /* high bit: >= 14 */
  uint64_t blank = (low ^ EACH(' ')) + EACH(0x7F); /* high bit: not a blank */
  return ((above_8 & ~above_13) | ~blank) & high & ~word;
}

/* How many words begin in these bytes: at one that is no space and follows one
 * that is. before = the mark of the byte in front, at bit 7. */
static int64_t begins_of(uint64_t word, uint64_t *before) {
  uint64_t spaces = spaces_of(word);
  uint64_t begins = ~spaces & EACH(0x80) & (spaces << 8 | *before);
  *before = spaces >> 56;
  return (int64_t)((begins >> 7) * EACH(1) >> 56); /* the sum of the eight marks */
}

int64_t record_count_tokens(const char *text, size_t size) {
  int64_t words = 0;
  uint64_t before = 0x80, word; /* as if a space stood in front */
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    memcpy(&word, text + i, 8);
    words += begins_of(word, &before);
  }
  if (i < size) {
    word = EACH(' ');
    memcpy(&word, text + i, size - i);
    words += begins_of(word, &before);
  }
  return (13 * words + 9) / 10;
}
