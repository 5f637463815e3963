/* The hash of a canonical request, kept beside its request_id: a repeat must be
 * the same request. It covers what the client asked for, not how its library
 * encoded it, and not what the service adds (ids, times).
 *
 * Source: XXH3-128 of xxHash. It finds mistakes, not forgeries: a client that
 * wants to fool its own retries may. */
#ifndef MNEME_RPC_FINGERPRINT_H
#define MNEME_RPC_FINGERPRINT_H

#include "wire/messages.h"

typedef struct fingerprint {
  uint64_t low;
  uint64_t high;
} fingerprint;

/* method = a constant name, so that equal requests of two methods differ. */
fingerprint fingerprint_begin(const char *method);
void fingerprint_bytes(fingerprint *f, mneme_bytes b);
void fingerprint_number(fingerprint *f, int64_t n);
void fingerprint_memories(fingerprint *f, const wire_memory *memories, size_t count);
void fingerprint_names(fingerprint *f, const mneme_bytes *names, size_t count);
void fingerprint_settings(fingerprint *f, const wire_settings *s);
void fingerprint_end(const fingerprint *f, uint8_t ret[16]);

#endif
