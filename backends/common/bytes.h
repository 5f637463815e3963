/* Comparing and growing plain bytes: what every engine does on its first page. */
#ifndef MNEME_COMMON_BYTES_H
#define MNEME_COMMON_BYTES_H

#include "mneme/types.h"

#include <string.h>

static inline bool mneme_bytes_equal(mneme_bytes a, mneme_bytes b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Bytewise, and a prefix stands before what it begins: the order of keys and of
 * session ids on every engine. */
static inline int mneme_bytes_compare(mneme_bytes a, mneme_bytes b) {
  size_t size = a.size < b.size ? a.size : b.size;
  int c = size == 0 ? 0 : memcmp(a.data, b.data, size);
  if (c != 0) return c;
  return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool mneme_bytes_begins(mneme_bytes bytes, mneme_bytes prefix) {
  return bytes.size >= prefix.size &&
         (prefix.size == 0 || memcmp(bytes.data, prefix.data, prefix.size) == 0);
}

static inline bool mneme_uid_equal(const mneme_uid *a, const mneme_uid *b) {
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Copies bytes to *at, which moves behind them; returns the copy. */
static inline mneme_bytes mneme_bytes_put(char **at, mneme_bytes bytes) {
  mneme_bytes copy = {*at, bytes.size};
  if (bytes.size != 0) memcpy(*at, bytes.data, bytes.size);
  *at += bytes.size;
  return copy;
}

#endif
