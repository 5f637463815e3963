/* Page tokens: where a list goes on, opaque to clients; and resume tokens: where
 * work that is done in bounded pieces does.
 *
 * A token is a keyset position (not an offset), bound to the arguments of the
 * list by their hash, and signed with a key that is made once per store and kept
 * in it: so replicas and restarts agree, and nobody can make one up.
 *
 *   token = base64url( version | kind | arguments 16 | uid 16 | number 8 |
 *                      budget 8 | to skip 8 | [ bulk ] | name ... |
 *                      HMAC-SHA256, first 16 bytes )
 *   bulk  = now 8 | last 8 | down 8 | backend 1          (* of resume tokens only *)
 *
 * Threads: any. */
#ifndef MNEME_PAGE_TOKEN_H
#define MNEME_PAGE_TOKEN_H

#include <stdatomic.h>

#include "error/error.h"
#include "mneme/backend.h"

#define PAGE_KEY_BYTES 32
#define PAGE_TOKEN_MAX 1024 /* characters */

/* A store that does not answer when the server starts has a key that nobody knows
 * yet: until it is learned, once, tokens are signed with one of the process's own. */
typedef struct page_key {
  uint8_t bytes[2][PAGE_KEY_BYTES];
  atomic_int which;
} page_key;

/* Any thread, but no two at once for one key; those who use it need not wait. */
void page_key_learn(page_key *key, const uint8_t bytes[PAGE_KEY_BYTES]);
static inline bool page_key_is_learned(const page_key *key) {
  return atomic_load_explicit(&key->which, memory_order_acquire) == 1;
}

typedef enum page_kind {
  PAGE_MEMORIES = 1,
  PAGE_SESSIONS = 2,
  PAGE_MEMORIES_OF_MANY = 3, /* of several sessions */
  /* Resume tokens from here on. */
  PAGE_DELETE_MEMORIES = 4,
  PAGE_DELETE_SESSIONS = 5,
  PAGE_CLEAN_UP = 6
} page_kind;

/* Resume tokens have the part `bulk`. */
static inline bool page_is_bulk(page_kind kind) { return kind >= PAGE_DELETE_MEMORIES; }

typedef struct page_position {
  page_kind kind;
  uint8_t arguments[16]; /* hash of the list's arguments */
  mneme_uid uid;         /* of the session; zero for PAGE_SESSIONS */
  int64_t number;        /* sequence or update_us of the last one returned, or examined */
  int64_t budget;        /* tokens left, where the list has a budget */
  int64_t to_skip;       /* of the offset: the page ended among records that do not match;
                            in PAGE_MEMORIES_OF_MANY the sequence of the last one returned */
  mneme_bytes name;      /* key or session id of the last one returned, or examined */
  /* Only in resume tokens, else lost. */
  int64_t now_us;   /* of the start: what matches is fixed by it */
  int64_t last;     /* the last sequence that the session had then */
  uint64_t down;    /* a bit for each backend, by index, that was left out as down */
  uint8_t backend;  /* index of the one at work */
} page_position;

/* NULL = no memory, or a name that is longer than names are. */
const char *page_token_make(arena *a, const page_key *key, const page_position *position);
/* false = e is set: the token is not of this store, these arguments, or was
 * altered. */
bool page_token_read(arena *a, const page_key *key, mneme_bytes token, page_kind kind,
                     const uint8_t arguments[16], page_position *ret_position, error *e);
/* The error for a token whose session has gone. */
bool page_token_refuse(arena *a, page_kind kind, error *e);

#endif
