/* Page tokens against any text. What is read must be what its position makes
 * again, character by character: a token has one form only. And a position taken
 * from the same bytes must go round. */
#include <stdlib.h>
#include <string.h>

#include "page/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_MAX (1024 * 1024)
#define POSITION_BYTES (1 + 16 + 16 + 8 + 8)

/* The seeds are made with it: see make_corpus.py. */
static const page_key key = {.bytes = {"0123456789abcdef0123456789abcdef"}};
static const uint8_t arguments[16] = "sixteen bytes..";

static const page_kind kinds[] = {PAGE_MEMORIES,        PAGE_SESSIONS,        PAGE_MEMORIES_OF_MANY,
                                  PAGE_DELETE_MEMORIES, PAGE_DELETE_SESSIONS, PAGE_CLEAN_UP};

static void read_text(arena *a, const uint8_t *data, size_t size) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    page_position p;
    error e = {0};
    if (page_token_read(a, &key, mneme_bytes_of((const char *)data, size), kinds[i], arguments, &p,
                        &e)) {
      const char *again = page_token_make(a, &key, &p);
      if (again == NULL || e.code != CODE_OK || p.kind != kinds[i] || strlen(again) != size ||
          memcmp(again, data, size) != 0)
        abort();
    } else if (e.code != CODE_INVALID_ARGUMENT || strcmp(e.reason, "PAGE_TOKEN_INVALID") != 0) {
      abort();
    }
  }
}

static void go_round(arena *a, const uint8_t *data, size_t size) {
  page_position p = {.kind = kinds[data[0] % (sizeof kinds / sizeof *kinds)]}, back;
  error e = {0};
  memcpy(p.arguments, data + 1, 16);
  memcpy(p.uid.bytes, data + 17, 16);
  memcpy(&p.number, data + 33, 8);
  memcpy(&p.budget, data + 41, 8);
  memcpy(&p.now_us, data + 1, 8); /* the same bytes will do */
  memcpy(&p.last, data + 9, 8);
  memcpy(&p.down, data + 17, 8);
  p.backend = data[25];
  p.name = mneme_bytes_of((const char *)data + POSITION_BYTES, size - POSITION_BYTES);
  const char *token = page_token_make(a, &key, &p);
  if (p.name.size > MNEME_SESSION_MAX) {
    if (token != NULL)
      abort();
    return;
  }
  if (token == NULL || strlen(token) >= PAGE_TOKEN_MAX ||
      !page_token_read(a, &key, mneme_bytes_of(token, strlen(token)), p.kind, p.arguments, &back,
                       &e))
    abort();
  if (page_is_bulk(p.kind) && (back.now_us != p.now_us || back.last != p.last ||
                               back.down != p.down || back.backend != p.backend))
    abort();
  if (back.number != p.number || back.budget != p.budget || back.name.size != p.name.size ||
      memcmp(back.uid.bytes, p.uid.bytes, 16) != 0 ||
      (p.name.size > 0 && memcmp(back.name.data, p.name.data, p.name.size) != 0))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static arena a;
  arena_init(&a, ARENA_MAX);
  read_text(&a, data, size);
  if (size >= POSITION_BYTES)
    go_round(&a, data, size);
  arena_clear(&a);
  return 0;
}
