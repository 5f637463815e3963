/* Page tokens: where a list goes on, opaque to clients.
 *
 * A token is a keyset position (not an offset), bound to the arguments of the
 * list by their hash, and signed with a key that is made once per store and kept
 * in it: so replicas and restarts agree, and nobody can make one up.
 *
 *   token = base64url( version | kind | arguments 16 | uid 16 | number 8 |
 *                      budget 8 | to skip 8 | name ... | HMAC-SHA256, first 16 bytes )
 *
 * Threads: any. */
#ifndef MNEME_PAGE_TOKEN_H
#define MNEME_PAGE_TOKEN_H

#include "error/error.h"
#include "mneme/backend.h"

#define PAGE_KEY_BYTES 32
#define PAGE_TOKEN_MAX 1024 /* characters */

typedef struct page_key {
  uint8_t bytes[PAGE_KEY_BYTES];
} page_key;

typedef enum page_kind { PAGE_MEMORIES = 1, PAGE_SESSIONS = 2 } page_kind;

typedef struct page_position {
  page_kind kind;
  uint8_t arguments[16]; /* hash of the list's arguments */
  mneme_uid uid;         /* of the session; zero for PAGE_SESSIONS */
  int64_t number;        /* sequence or update_us of the last one returned */
  int64_t budget;        /* tokens left, where the list has a budget */
  int64_t to_skip;       /* of the offset: the page ended among records that do not match */
  mneme_bytes name;      /* key or session id of the last one returned */
} page_position;

/* NULL = no memory, or a name that is longer than names are. */
const char *page_token_make(arena *a, const page_key *key, const page_position *position);
/* false = e is set: the token is not of this store, these arguments, or was
 * altered. */
bool page_token_read(arena *a, const page_key *key, mneme_bytes token, page_kind kind,
                     const uint8_t arguments[16], page_position *ret_position, error *e);
/* The error for a token whose session has gone. */
bool page_token_refuse(arena *a, error *e);

#endif
