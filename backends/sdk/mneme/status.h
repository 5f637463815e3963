/* What an operation of a backend can answer. One table in the service
 * (service/error/error.c) maps each to a canonical gRPC code, a reason and a text;
 * backends never know of gRPC.
 *
 * Never report an outcome that you do not know as a success or as a failure:
 * that is what MNEME_UNCERTAIN is for. BUSY, DOWN and every refusal promise that
 * nothing was changed. */
#ifndef MNEME_STATUS_H
#define MNEME_STATUS_H

typedef enum mneme_status {
  MNEME_OK = 0,
  MNEME_NOT_FOUND,    /* must_exist, and it does not; a memory to put is absent */
  MNEME_EXISTS,       /* must_not_exist, and it does; an append's id or key is taken */
  MNEME_CONFLICT,     /* an expected revision or uid does not match */
  MNEME_STALE_PLAN,   /* the plan was resolved from other settings: resolve again */
  MNEME_REUSED,       /* this request_id came with another fingerprint before */
  MNEME_INVALID,      /* the engine cannot represent the argument */
  MNEME_TOO_BIG,      /* larger than the engine can store */
  MNEME_UNSUPPORTED,  /* no such operation or step in this backend */
  MNEME_SESSION_FULL, /* policy: nothing may be evicted to make room */
  MNEME_STORE_FULL,   /* disk or the store's memory; nothing was changed */
  MNEME_BUSY,         /* a queue is full; nothing was begun */
  MNEME_DOWN,         /* unreachable or locked; nothing was begun */
  MNEME_UNCERTAIN,    /* a write was sent and its outcome cannot be known */
  MNEME_TIMEOUT,      /* the call's deadline passed; reads, or nothing was begun */
  MNEME_CANCELLED,    /* the caller left; reads, or nothing was begun */
  MNEME_NO_MEMORY,    /* an allocation failed; nothing was changed */
  MNEME_CORRUPT,      /* what is stored is damaged */
  MNEME_COMPACTED,    /* a cursor or log position is too old: read everything again */
  MNEME_MOVED,        /* the session lives on another backend (reserved) */
  MNEME_INTERNAL,     /* a bug */
  MNEME_STATUS_COUNT
} mneme_status;

#endif
