/* Backtracking to the last "*" is enough: if the text between two stars matches
 * at all, then also at its first place, and what comes before never has to be
 * looked at again. Hence the quadratic bound.
 *
 * glob_match_general is only called with patterns that glob_compile has let
 * through, so a set is closed and a backslash has a successor. */
#include "registry/glob.h"

#include <string.h>

static bool match_set(const char *set, size_t set_size, unsigned char c) {
  bool negated = set_size > 0 && set[0] == '!';
  bool found = false;
  for (size_t i = negated ? 1 : 0; i < set_size; i++) {
    unsigned char low = (unsigned char)set[i];
    unsigned char high = low;
    if (i + 2 < set_size && set[i + 1] == '-') {
      high = (unsigned char)set[i + 2];
      i += 2;
    }
    found = found || (c >= low && c <= high);
  }
  return found != negated;
}

static size_t set_end(mneme_bytes pattern, size_t at) {
  size_t i = at + 1;
  if (i < pattern.size && pattern.data[i] == '!')
    i++;
  i++; /* a "]" that comes first belongs to the set */
  while (i < pattern.size && pattern.data[i] != ']')
    i++;
  return i; /* where "]" is, or beyond the end */
}

static size_t character_size(mneme_bytes name, size_t at) {
  size_t end = at + 1;
  while (end < name.size && ((unsigned char)name.data[end] & 0xc0) == 0x80)
    end++;
  return end - at;
}

/* Whether the element of the pattern at `at` takes the character of the name at
 * name_at; how many bytes the element has, and how many of the name it takes. */
static bool match_one(mneme_bytes pattern, size_t at, mneme_bytes name, size_t name_at,
                      size_t *ret_used, size_t *ret_taken) {
  *ret_used = 1;
  *ret_taken = 1;
  switch (pattern.data[at]) {
  case '?':
    *ret_taken = character_size(name, name_at);
    return true;
  case '[': {
    size_t end = set_end(pattern, at);
    *ret_used = end + 1 - at;
    *ret_taken = character_size(name, name_at);
    return match_set(pattern.data + at + 1, end - at - 1, (unsigned char)name.data[name_at]);
  }
  case '\\':
    *ret_used = 2;
    return pattern.data[at + 1] == name.data[name_at];
  default: return pattern.data[at] == name.data[name_at];
  }
}

bool glob_match_general(mneme_bytes pattern, mneme_bytes name) {
  size_t p = 0, n = 0;
  size_t star = SIZE_MAX; /* behind the last "*", */
  size_t star_n = 0;      /* and what it has taken so far */
  while (n < name.size) {
    size_t used, taken;
    if (p < pattern.size && pattern.data[p] == '*') {
      star = ++p;
      star_n = n;
    } else if (p < pattern.size && match_one(pattern, p, name, n, &used, &taken)) {
      p += used;
      n += taken;
    } else if (star != SIZE_MAX) {
      p = star;
      n = ++star_n;
    } else {
      return false;
    }
  }
  while (p < pattern.size && pattern.data[p] == '*')
    p++;
  return p == pattern.size;
}

bool glob_compile(mneme_bytes text, glob *ret_glob, const char **ret_problem, size_t *ret_at) {
  size_t stars = 0;
  size_t others = 0;
  for (size_t i = 0; i < text.size; i++) {
    size_t begin = i;
    const char *problem = NULL;
    switch (text.data[i]) {
    case '*': stars++; break;
    case '?': others++; break;
    case '[':
      others++;
      i = set_end(text, i);
      if (i >= text.size)
        problem = "a set that begins with \"[\" has no \"]\"";
      for (size_t j = begin; problem == NULL && j < i; j++) {
        if ((unsigned char)text.data[j] >= 0x80)
          problem = "a set may hold ASCII characters only";
      }
      break;
    case '\\':
      others++;
      if (++i >= text.size)
        problem = "nothing follows the last \"\\\"";
      break;
    default: break;
    }
    if (problem != NULL) {
      *ret_problem = problem;
      *ret_at = begin;
      return false;
    }
  }
  *ret_glob = (glob){.kind = GLOB_GENERAL, .text = text};
  if (others == 0 && stars == 0) {
    ret_glob->kind = GLOB_LITERAL;
  } else if (others == 0 && stars == 1 && text.data[text.size - 1] == '*') {
    ret_glob->kind = text.size == 1 ? GLOB_ANY : GLOB_PREFIX;
    ret_glob->text.size--;
  }
  return true;
}
