/* Comparing bytes that may be empty: memcmp must not see a NULL, even for size 0. */
#ifndef MNEME_BASE_BYTES_H
#define MNEME_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool bytes_equal(const char *a, size_t a_size, const char *b, size_t b_size) {
  return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static inline bool bytes_begin(const char *a, size_t a_size, const char *prefix, size_t size) {
  return a_size >= size && (size == 0 || memcmp(a, prefix, size) == 0);
}

/* Bytewise; a prefix comes before what it begins. */
static inline int bytes_compare(const char *a, size_t a_size, const char *b, size_t b_size) {
  size_t common = a_size < b_size ? a_size : b_size;
  int order = common == 0 ? 0 : memcmp(a, b, common);
  return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

#endif
