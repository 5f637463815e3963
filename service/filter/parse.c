/* Precedence by descent. There is one level of it: NOT binds a term, AND and OR
 * join terms and never each other. The recursion is as deep as parentheses are
 * nested, at most FILTER_DEPTH_MAX.
 *
 *   expression ─▶ term ─▶ "(" expression ")"
 *                   └───▶ condition (condition.c)
 *
 * A tree has no NOT above a NOT, and no node with one child but NOT, so it keeps
 * within MNEME_FILTER_NODES_MAX and MNEME_FILTER_DEPTH_MAX whatever the text is. */
#include <string.h>

#include "filter/internal.h"

_Static_assert(2 * FILTER_DEPTH_MAX <= MNEME_FILTER_DEPTH_MAX, "a tree that engines can take");
_Static_assert(4 * FILTER_TERMS_MAX <= MNEME_FILTER_NODES_MAX, "leaves, groups, a NOT on each");
_Static_assert(FILTER_IN_MAX <= MNEME_FILTER_VALUES_MAX, "values that engines can take");

static const mneme_filter *read_expression(parser *p);

static mneme_filter *new_node(arena *a, mneme_filter_op op, const mneme_filter *const *children,
                              size_t count, size_t at) {
  mneme_filter *f = arena_calloc(a, 1, sizeof *f);
  const mneme_filter **kept = arena_calloc(a, count, sizeof(*kept));
  if (f == NULL || kept == NULL)
    return NULL;
  memcpy(kept, children, count * sizeof *kept);
  f->op = op;
  f->children = kept;
  f->child_count = count;
  f->position = (uint32_t)at;
  return f;
}

const mneme_filter *parser_not(parser *p, const mneme_filter *f, size_t at) {
  if (f->op == MNEME_FILTER_NOT)
    return f->children[0];
  const mneme_filter *node = new_node(p->arena, MNEME_FILTER_NOT, &f, 1, at);
  if (node == NULL)
    error_no_memory(p->error);
  return node;
}

static const mneme_filter *read_group(parser *p) {
  size_t opened = p->token.at;
  if (!parser_next(p))
    return NULL;
  const mneme_filter *f = read_expression(p);
  if (f == NULL)
    return NULL;
  if (p->token.kind != TOKEN_CLOSE) {
    parser_refuse(p, opened, "a parenthesis begins here and does not end: close it with )");
    return NULL;
  }
  return parser_next(p) ? f : NULL;
}

static bool go_deeper(parser *p) {
  return ++p->depth <= FILTER_DEPTH_MAX ||
         parser_too_large(p, p->token.at, "parentheses and NOT nested more than %d deep",
                          FILTER_DEPTH_MAX);
}

static const mneme_filter *read_term(parser *p) {
  int depth = p->depth, nots = 0;
  size_t at = p->token.at;
  const mneme_filter *f = NULL;
  while (parser_is_word(p, "NOT")) {
    nots++;
    if (!go_deeper(p) || !parser_next(p))
      return NULL;
  }
  if (p->token.kind == TOKEN_OPEN)
    f = go_deeper(p) ? read_group(p) : NULL;
  else
    f = parser_condition(p);
  p->depth = depth;
  return f != NULL && nots % 2 == 1 ? parser_not(p, f, at) : f;
}

/* What may follow a term but is none of AND, OR, ")" and the end. */
static bool refuse_next(parser *p) {
  if (parser_is_word(p, "AND") || parser_is_word(p, "OR"))
    return parser_refuse(p, p->token.at,
                         "AND and OR side by side: put one of them in parentheses, as in a AND (b "
                         "OR c)");
  if (parser_is_word(p, "and") || parser_is_word(p, "or") || parser_is_word(p, "And") ||
      parser_is_word(p, "Or"))
    return parser_refuse(p, p->token.at, "AND and OR are written in capitals");
  return parser_refuse(p, p->token.at, "AND or OR is expected between comparisons");
}

static const mneme_filter *read_expression(parser *p) {
  const mneme_filter *terms[FILTER_TERMS_MAX]; /* each holds a comparison at least */
  size_t count = 0, at = p->token.at;
  const char *word = NULL;
  for (;;) {
    const mneme_filter *term = read_term(p);
    if (term == NULL)
      return NULL;
    terms[count++] = term;
    if (word == NULL && (parser_is_word(p, "AND") || parser_is_word(p, "OR")))
      word = parser_is_word(p, "AND") ? "AND" : "OR";
    if (word == NULL || !parser_is_word(p, word))
      break;
    if (!parser_next(p))
      return NULL;
  }
  if (p->token.kind != TOKEN_END && p->token.kind != TOKEN_CLOSE) {
    refuse_next(p);
    return NULL;
  }
  if (count == 1)
    return terms[0];
  const mneme_filter *f = new_node(
      p->arena, *word == 'A' ? MNEME_FILTER_AND : MNEME_FILTER_OR, terms, count, at);
  if (f == NULL)
    error_no_memory(p->error);
  return f;
}

bool filter_parse(arena *a, mneme_bytes text, const filter_fields *fields, int64_t now_us,
                  const mneme_filter **ret_filter, error *e) {
  parser p = {.arena = a, .error = e, .fields = fields, .now_us = now_us, .text = text};
  const mneme_filter *f = NULL;
  if (text.size > FILTER_IN_BYTES_MAX)
    return parser_too_large(&p, FILTER_IN_BYTES_MAX, "more than %d bytes", FILTER_IN_BYTES_MAX);
  if (!parser_next(&p))
    return false;
  if (p.token.kind != TOKEN_END && (f = read_expression(&p)) == NULL)
    return false;
  if (p.token.kind == TOKEN_CLOSE)
    return parser_refuse(&p, p.token.at, "this parenthesis closes nothing");
  if (text.size > FILTER_BYTES_MAX && !p.has_in)
    return parser_too_large(&p, FILTER_BYTES_MAX, "more than %d bytes, which only a filter with IN "
                            "may have", FILTER_BYTES_MAX);
  *ret_filter = f;
  return true;
}

bool filter_all(arena *a, const mneme_filter *const *parts, size_t count,
                const mneme_filter **ret_filter) {
  const mneme_filter *kept[FILTER_TERMS_MAX];
  size_t n = 0;
  for (size_t i = 0; i < count; i++)
    if (parts[i] != NULL)
      kept[n++] = parts[i];
  const mneme_filter *f = n == 0 ? NULL : kept[0];
  if (n > 1 && (f = new_node(a, MNEME_FILTER_AND, kept, n, 0)) == NULL)
    return false;
  *ret_filter = f;
  return true;
}
