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

/* Sixteen bytes at a time, because a loop over single bytes was a tenth of an
 * append: the vectors of GCC and Clang, which any machine has or has emulated. A
 * lane of a comparison is -1 where it holds. */
typedef uint8_t lanes __attribute__((vector_size(16)));
#define LANES 16

static lanes spaces_of(const char *text) {
  lanes bytes;
  memcpy(&bytes, text, LANES);
  return (lanes)(bytes == ' ') | (lanes)((lanes)(bytes - '\t') < 5);
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* How many words begin in the blocks of text: at a byte that is no space and
 * follows one that is. text[-1] is there. A lane counts to 255 at most. */
#define BLOCKS_MAX 255
static int64_t begins_of(const char *text, size_t blocks) {
  lanes counts = {0};
  for (size_t i = 0; i < blocks; i++, text += LANES)
    counts -= ~spaces_of(text) & spaces_of(text - 1);
  int64_t sum = 0;
  for (int i = 0; i < LANES; i++)
    sum += counts[i];
  return sum;
}

int64_t record_count_tokens(const char *text, size_t size) {
  int64_t words = size > 0 && !is_space(text[0]);
  size_t i = 1;
  while (i + LANES <= size) {
    size_t blocks = (size - i) / LANES;
    blocks = blocks < BLOCKS_MAX ? blocks : BLOCKS_MAX;
    words += begins_of(text + i, blocks);
    i += blocks * LANES;
  }
  for (; i < size; i++)
    words += !is_space(text[i]) && is_space(text[i - 1]);
  return (13 * words + 9) / 10;
}
