/* Patterns for names of namespaces and sessions.
 *
 *   *       any bytes, none too, "/" included
 *   ?       one character
 *   [abc]   one of these ASCII characters; [a-z] a range, [!abc] any other character
 *   \x      x itself
 *
 * Not fnmatch(3): that wants strings that end in NUL, depends on the locale, and
 * takes exponential time for some patterns, while the names are a client's. Here
 * a match takes at most size(pattern) * size(name) steps and no memory.
 *
 * Ownership: a glob borrows its text. Threads: any. */
#ifndef MNEME_REGISTRY_GLOB_H
#define MNEME_REGISTRY_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#include "mneme/types.h"

typedef enum glob_kind {
  GLOB_GENERAL = 0,
  GLOB_ANY,     /* "*" */
  GLOB_LITERAL, /* no special character */
  GLOB_PREFIX   /* a literal and then "*" */
} glob_kind;

typedef struct glob {
  glob_kind kind;
  mneme_bytes text; /* LITERAL, PREFIX: what to compare */
} glob;

/* false = ret_problem says what is wrong at the byte *ret_at. */
bool glob_compile(mneme_bytes text, glob *ret_glob, const char **ret_problem, size_t *ret_at);

bool glob_match_general(mneme_bytes pattern, mneme_bytes name);

/* Inline, because "*" must cost nothing. */
static inline bool glob_match(const glob *g, mneme_bytes name) {
  switch (g->kind) {
  case GLOB_ANY: return true;
  case GLOB_LITERAL:
    return name.size == g->text.size && __builtin_memcmp(name.data, g->text.data, name.size) == 0;
  case GLOB_PREFIX:
    return name.size >= g->text.size &&
           __builtin_memcmp(name.data, g->text.data, g->text.size) == 0;
  case GLOB_GENERAL: break;
  }
  return glob_match_general(g->text, name);
}

#endif
