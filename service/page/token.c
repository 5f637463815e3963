#include "page/token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define VERSION 1
#define MAC_BYTES 16
#define LIST_BYTES (2 + 16 + 16 + 8 + 8 + 8) /* before the name */
#define BULK_BYTES (LIST_BYTES + 8 + 8 + 8 + 1)
#define RAW_MAX (BULK_BYTES + MNEME_SESSION_MAX + MAC_BYTES)

_Static_assert((RAW_MAX + 2) / 3 * 4 < PAGE_TOKEN_MAX, "a token has a bound");
_Static_assert(MNEME_KEY_MAX <= MNEME_SESSION_MAX, "a name is a key or a session");

static void put64(uint8_t *out, int64_t value) {
  for (int i = 0; i < 8; i++)
    out[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

static int64_t get64(const uint8_t *in) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value |= (uint64_t)in[i] << (8 * i);
  return (int64_t)value;
}

void page_key_learn(page_key *key, const uint8_t bytes[PAGE_KEY_BYTES]) {
  memcpy(key->bytes[1], bytes, PAGE_KEY_BYTES);
  atomic_store_explicit(&key->which, 1, memory_order_release);
}

static bool sign(const page_key *key, const uint8_t *data, size_t size, uint8_t mac[MAC_BYTES]) {
  const uint8_t *secret = key->bytes[atomic_load_explicit(&key->which, memory_order_acquire)];
  uint8_t full[EVP_MAX_MD_SIZE];
  unsigned full_size = 0;
  if (HMAC(EVP_sha256(), secret, PAGE_KEY_BYTES, data, size, full, &full_size) == NULL)
    return false;
  memcpy(mac, full, MAC_BYTES);
  return true;
}

/* base64 with "-" and "_", without padding: RFC 4648, section 5. */
static char *encode(arena *a, const uint8_t *raw, size_t size) {
  char *text = arena_alloc(a, PAGE_TOKEN_MAX);
  if (text == NULL)
    return NULL;
  int length = EVP_EncodeBlock((unsigned char *)text, raw, (int)size);
  while (length > 0 && text[length - 1] == '=')
    length--;
  text[length] = '\0';
  for (char *p = text; *p != '\0'; p++)
    *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
  return text;
}

static int sextet(char c) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* The size, or 0 when the text is no base64url. Written by hand because OpenSSL's
 * decoder forgives white space and padding, and a token has one form only. */
static size_t decode(mneme_bytes text, uint8_t raw[RAW_MAX + 4]) {
  uint32_t bits = 0;
  int pending = 0;
  size_t size = 0;
  if (text.size > PAGE_TOKEN_MAX || text.size % 4 == 1)
    return 0;
  for (size_t i = 0; i < text.size; i++) {
    int six = sextet(text.data[i]);
    if (six < 0 || size >= RAW_MAX)
      return 0;
    bits = bits << 6 | (uint32_t)six;
    pending += 6;
    if (pending >= 8) {
      pending -= 8;
      raw[size++] = (uint8_t)(bits >> pending);
    }
  }
  return (bits & ((1u << pending) - 1)) == 0 ? size : 0;
}

static size_t fixed_bytes(page_kind kind) {
  return page_is_bulk(kind) ? BULK_BYTES : LIST_BYTES;
}

const char *page_token_make(arena *a, const page_key *key, const page_position *p) {
  uint8_t raw[RAW_MAX];
  if (p->name.size > MNEME_SESSION_MAX)
    return NULL;
  size_t fixed = fixed_bytes(p->kind), size = fixed + p->name.size;
  raw[0] = VERSION;
  raw[1] = (uint8_t)p->kind;
  memcpy(raw + 2, p->arguments, 16);
  memcpy(raw + 18, p->uid.bytes, 16);
  put64(raw + 34, p->number);
  put64(raw + 42, p->budget);
  put64(raw + 50, p->to_skip);
  if (page_is_bulk(p->kind)) {
    put64(raw + 58, p->now_us);
    put64(raw + 66, p->last);
    put64(raw + 74, (int64_t)p->down);
    raw[82] = p->backend;
  }
  if (p->name.size > 0)
    memcpy(raw + fixed, p->name.data, p->name.size);
  if (!sign(key, raw, size, raw + size))
    return NULL;
  return encode(a, raw, size + MAC_BYTES);
}

bool page_token_refuse(arena *a, page_kind kind, error *e) {
  if (page_is_bulk(kind))
    return error_invalid(e, a, "PAGE_TOKEN_INVALID", "resume_token",
                         "resume_token: not a token of this request: send the one of the answer "
                         "before, with the same arguments, or begin again without one");
  return error_invalid(e, a, "PAGE_TOKEN_INVALID", "page_token",
                       "page_token: not a token of this list: send the one of the page before, "
                       "with the same arguments, or begin again without one");
}

bool page_token_read(arena *a, const page_key *key, mneme_bytes token, page_kind kind,
                     const uint8_t arguments[16], page_position *ret, error *e) {
  uint8_t raw[RAW_MAX + 4], mac[MAC_BYTES];
  size_t fixed = fixed_bytes(kind), size = decode(token, raw);
  if (size < fixed + MAC_BYTES)
    return page_token_refuse(a, kind, e);
  size -= MAC_BYTES;
  if (!sign(key, raw, size, mac) || CRYPTO_memcmp(mac, raw + size, MAC_BYTES) != 0 ||
      raw[0] != VERSION || raw[1] != kind || memcmp(raw + 2, arguments, 16) != 0 ||
      size - fixed > MNEME_SESSION_MAX)
    return page_token_refuse(a, kind, e);
  char *name = arena_copy(a, raw + fixed, size - fixed);
  if (name == NULL)
    return error_no_memory(e);
  *ret = (page_position){.kind = kind,
                         .number = get64(raw + 34),
                         .budget = get64(raw + 42),
                         .to_skip = get64(raw + 50),
                         .name = mneme_bytes_of(name, size - fixed)};
  if (page_is_bulk(kind)) {
    ret->now_us = get64(raw + 58);
    ret->last = get64(raw + 66);
    ret->down = (uint64_t)get64(raw + 74);
    ret->backend = raw[82];
  }
  memcpy(ret->arguments, raw + 2, 16);
  memcpy(ret->uid.bytes, raw + 18, 16);
  return true;
}
