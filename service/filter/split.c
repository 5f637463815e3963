/* The pushed part is the whole with every leaf that an engine cannot decide
 * replaced by "true" where that makes the whole wider. Below an odd number of
 * NOTs that is "false": so there are two directions, wider and narrower, and NOT
 * turns one into the other.
 *
 *   wider(content : "x" AND role = "a")        =  role = "a"
 *   wider(content : "x" OR role = "a")         =  everything: NULL
 *   wider(NOT (content : "x" OR role = "a"))   =  NOT narrower(..)  =  NOT role = "a"
 *
 * Of a conjunction at the top, parts that an engine decides wholly need not be
 * asked again. Anything else that is not wholly pushed is asked as a whole. */
#include <string.h>

#include "filter/internal.h"

static bool is_leaf(const mneme_filter *f) {
  return f->child_count == 0;
}

static bool is_exact(const mneme_filter *f) {
  if (is_leaf(f))
    return f->op != MNEME_FILTER_LIKE && f->field != MNEME_FIELD_CONTENT;
  for (size_t i = 0; i < f->child_count; i++)
    if (!is_exact(f->children[i]))
      return false;
  return true;
}

/* A copy with other children; one child is itself. NULL = no memory. */
static const mneme_filter *with_children(arena *a, const mneme_filter *f,
                                         const mneme_filter *const *children, size_t count) {
  if (count == 1 && f->op != MNEME_FILTER_NOT)
    return children[0];
  mneme_filter *copy = arena_alloc(a, sizeof *copy);
  const mneme_filter **kept = arena_calloc(a, count, sizeof(*kept));
  if (copy == NULL || kept == NULL)
    return NULL;
  memcpy(kept, children, count * sizeof *kept);
  *copy = *f;
  copy->children = kept;
  copy->child_count = count;
  return copy;
}

/* What an engine can decide of f. NULL = nothing: "true" when wider, "false" when
 * not. false = no memory. */
static bool approximate(arena *a, const mneme_filter *f, bool wider, const mneme_filter **ret) {
  const mneme_filter *children[FILTER_TERMS_MAX];
  size_t count = 0;
  *ret = f;
  if (is_exact(f))
    return true;
  *ret = NULL;
  if (is_leaf(f))
    return true;
  bool inner = f->op == MNEME_FILTER_NOT ? !wider : wider;
  /* "true" leaves an AND and takes an OR with it; "false" the other way round. */
  bool any_takes_all = f->op == (wider ? MNEME_FILTER_OR : MNEME_FILTER_AND);
  for (size_t i = 0; i < f->child_count; i++) {
    const mneme_filter *child;
    if (!approximate(a, f->children[i], inner, &child))
      return false;
    if (child != NULL)
      children[count++] = child;
    else if (any_takes_all)
      return true;
  }
  if (count == 0)
    return true;
  *ret = with_children(a, f, children, count);
  return *ret != NULL;
}

bool filter_split(arena *a, const mneme_filter *f, const mneme_filter **ret_pushed,
                  const mneme_filter **ret_rest) {
  const mneme_filter *pushed, *rest[FILTER_TERMS_MAX];
  size_t count = 0;
  if (f == NULL || is_exact(f)) {
    *ret_pushed = f;
    *ret_rest = NULL;
    return true;
  }
  if (!approximate(a, f, true, &pushed))
    return false;
  const mneme_filter *whole = f;
  if (f->op == MNEME_FILTER_AND) {
    for (size_t i = 0; i < f->child_count; i++)
      if (!is_exact(f->children[i]))
        rest[count++] = f->children[i];
    whole = with_children(a, f, rest, count);
    if (whole == NULL)
      return false;
  }
  *ret_pushed = pushed;
  *ret_rest = whole;
  return true;
}
