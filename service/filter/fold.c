/* Simple case folding and a search that ignores case.
 *
 * libunistring folds fully (ß becomes ss), which would make a substring match in
 * the middle of a character; simple folding maps one character to one. It can be
 * told from what the library has. Where the full folding is one character, it is
 * the simple one too (status C). Where it is several, the simple one (status S)
 * is the lower case; only U+0130 has a lower case and no simple folding. Taken
 * because the service links libunistring already; utf8proc has no simple folding
 * either, and ICU, which has it, is thirty megabytes. tests/unit/test_filter_fold
 * compares all of it with a table made from CaseFolding.txt by another program.
 *
 * Only letters with two cases fold, 2,800 of them in some thirty blocks of 256:
 * they are asked once and kept in pages.
 *
 * The search is Knuth, Morris and Pratt over the UTF-8 bytes of the folded text,
 * folded as it goes: linear whatever needle and text are, and no memory. Until
 * the first byte fits, a table of the bytes that a match can begin with skips. */
#include <assert.h>
#include <string.h>
#include <threads.h>
#include <unicase.h>
#include <unistr.h>

#include "filter/internal.h"

#define PLANES_END 0x20000 /* nothing above folds */
#define PAGE_SIZE 256
#define PAGES_MAX 64

static uint32_t pages[PAGES_MAX][PAGE_SIZE];
static uint8_t page_of[PLANES_END / PAGE_SIZE]; /* 0 = folds nothing */
static once_flag folded = ONCE_FLAG_INIT;

static uint32_t ask_library(uint32_t c) {
  uint32_t lower = uc_tolower(c), full[8];
  size_t length = sizeof full / sizeof *full;
  if (lower == c && uc_toupper(c) == c)
    return c;
  uint32_t *out = u32_casefold(&c, 1, NULL, NULL, full, &length);
  if (out != full) /* no folding is that long */
    return c;
  if (length == 1)
    return full[0];
  return c == 0x130 ? c : lower;
}

static void fold_all(void) {
  size_t used = 1;
  for (uint32_t c = 0; c < PLANES_END; c++) {
    uint32_t to = ask_library(c);
    if (to == c)
      continue;
    uint8_t *page = &page_of[c / PAGE_SIZE];
    if (*page == 0) {
      assert(used < PAGES_MAX);
      *page = (uint8_t)used++;
      for (uint32_t i = 0; i < PAGE_SIZE; i++)
        pages[*page][i] = c / PAGE_SIZE * PAGE_SIZE + i;
    }
    pages[*page][c % PAGE_SIZE] = to;
  }
}

static inline uint32_t fold_known(uint32_t c) {
  uint8_t page = c < PLANES_END ? page_of[c / PAGE_SIZE] : 0;
  return page != 0 ? pages[page][c % PAGE_SIZE] : c;
}

uint32_t fold_char(uint32_t c) {
  call_once(&folded, fold_all);
  return fold_known(c);
}

/* --- Needles ------------------------------------------------------------- */

struct needle {
  size_t size;
  const uint8_t *bytes; /* folded */
  const uint32_t *fail; /* fail[i] = the longest proper prefix that ends at i */
  uint8_t lower[128];   /* of ASCII */
  bool begins[256];     /* bytes of a text that a match can begin with */
};

static size_t fold_text(mneme_bytes text, uint8_t *out) {
  size_t size = 0;
  const uint8_t *at = (const uint8_t *)text.data, *end = at + text.size;
  while (at < end) {
    ucs4_t c;
    at += u8_mbtouc_unsafe(&c, at, (size_t)(end - at));
    size += (size_t)u8_uctomb(out + size, fold_char(c), 6);
  }
  return size;
}

/* A match begins with a character of ASCII that folds to the first byte, or with
 * any other character: those are few in most texts and folded when they come. */
static void find_begins(needle *n) {
  for (int b = 0; b < 256; b++)
    n->begins[b] = b >= 0xC0 || (b < 128 && n->lower[b] == n->bytes[0]);
}

static void find_fails(const needle *n, uint32_t *fail) {
  uint32_t known = 0;
  fail[0] = 0;
  for (size_t i = 1; i < n->size; i++) {
    while (known > 0 && n->bytes[i] != n->bytes[known])
      known = fail[known - 1];
    known += n->bytes[i] == n->bytes[known];
    fail[i] = known;
  }
}

const needle *needle_new(arena *a, mneme_bytes text) {
  needle *n = arena_calloc(a, 1, sizeof *n);
  /* Two bytes can become three, and none becomes more than half as much again. */
  uint8_t *bytes = arena_alloc(a, text.size + text.size / 2 + 8);
  if (n == NULL || bytes == NULL)
    return NULL;
  for (uint32_t c = 0; c < 128; c++)
    n->lower[c] = (uint8_t)fold_char(c);
  n->bytes = bytes;
  n->size = fold_text(text, bytes);
  if (n->size == 0)
    return n;
  uint32_t *fail = arena_alloc(a, n->size * sizeof *fail);
  if (fail == NULL)
    return NULL;
  find_begins(n);
  find_fails(n, fail);
  n->fail = fail;
  return n;
}

/* How many bytes of the needle fit when this one comes next. */
static inline size_t step(const needle *n, size_t fits, uint8_t byte) {
  while (fits > 0 && n->bytes[fits] != byte)
    fits = n->fail[fits - 1];
  return fits + (n->bytes[fits] == byte);
}

bool needle_in(const needle *n, mneme_bytes text) {
  const uint8_t *at = (const uint8_t *)text.data, *end = at + text.size;
  size_t fits = 0;
  if (n->size == 0)
    return true;
  while (at < end) {
    if (fits == 0) {
      while (at < end && !n->begins[*at])
        at++;
      if (at == end)
        return false;
    }
    if (*at < 128) {
      fits = step(n, fits, n->lower[*at++]);
    } else {
      ucs4_t c;
      uint8_t bytes[6];
      at += u8_mbtouc_unsafe(&c, at, (size_t)(end - at));
      int size = u8_uctomb(bytes, fold_known(c), sizeof bytes);
      for (int i = 0; i < size && fits < n->size; i++)
        fits = step(n, fits, bytes[i]);
    }
    if (fits == n->size)
      return true;
  }
  return false;
}
