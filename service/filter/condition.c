/* One comparison: field, operator, value, and whether the three fit. What a typed
 * field can never equal is refused, not false: the writer meant something else.
 * In metadata anything may stand, so there only values that metadata cannot hold
 * are refused. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "filter/internal.h"

#define BIT(op) (1u << (op))
#define EQUALITY (BIT(OP_EQ) | BIT(OP_NE) | BIT(OP_IN) | BIT(OP_PRESENT))
#define ORDER (BIT(OP_LT) | BIT(OP_LE) | BIT(OP_GT) | BIT(OP_GE))

typedef struct condition {
  token name;
  const field_row *row;
  condition_op op;
  size_t op_at;
} condition;

static const struct {
  unsigned operators;
  const char *are; /* how a refusal names them */
  const char *value;
} kinds[] = {
    [KIND_STRING] = {EQUALITY | ORDER | BIT(OP_HAS) | BIT(OP_LIKE), "",
                     "text, which stands in quotes"},
    [KIND_LABEL] = {EQUALITY | ORDER | BIT(OP_HAS) | BIT(OP_LIKE), "",
                    "text, which stands in quotes"},
    [KIND_NUMBER] = {EQUALITY | ORDER, "= != < <= > >= IN :*", "a number, without quotes"},
    [KIND_BOOL] = {EQUALITY | ORDER, "= != < <= > >= IN :*", "true or false, without quotes"},
    [KIND_TIME] = {EQUALITY | ORDER, "= != < <= > >= IN :*",
                   "a time, as in \"2026-01-31T10:00:00Z\""},
    [KIND_TIER] = {EQUALITY, "= != IN :*", "SENSORY, SHORT_TERM or LONG_TERM"},
    [KIND_METADATA] = {EQUALITY | ORDER | BIT(OP_HAS) | BIT(OP_LIKE), "", ""},
};

/* --- Values -------------------------------------------------------------- */

static bool convert_time(parser *p, const condition *c, const operand *o,
                         mneme_filter_value *ret) {
  const char *problem;
  ret->type = MNEME_VALUE_TIME;
  ret->time_us = o->us;
  if (o->kind == OPERAND_TIME)
    return true;
  if (o->kind == OPERAND_DURATION)
    return parser_refuse(p, o->token.at, "%s is a time: write age(%s) to compare with a duration",
                         c->row->name, c->row->name);
  if (o->kind != OPERAND_STRING)
    return parser_refuse(p, o->token.at, "%s takes %s", c->row->name, kinds[KIND_TIME].value);
  return literal_time(o->text, &ret->time_us, &problem) ||
         parser_refuse(p, o->token.at, "%s", problem);
}

static bool convert_tier(parser *p, const condition *c, const operand *o,
                         mneme_filter_value *ret) {
  static const char *const names[] = {"SENSORY", "SHORT_TERM", "LONG_TERM"};
  static const char prefix[] = "TIER_";
  mneme_bytes text = o->text;
  bool named = o->kind == OPERAND_STRING || (o->kind == OPERAND_WORD && o->token.path_count == 0);
  if (named && bytes_begin(text.data, text.size, prefix, sizeof prefix - 1)) {
    text.data += sizeof prefix - 1;
    text.size -= sizeof prefix - 1;
  }
  ret->type = MNEME_VALUE_NUMBER;
  for (size_t i = 0; i < sizeof names / sizeof *names && named; i++)
    if (bytes_equal(text.data, text.size, names[i], strlen(names[i]))) {
      ret->number = (double)(i + 1); /* the numbers of mneme.v1.Tier */
      return true;
    }
  return parser_refuse(p, o->token.at, "%s takes %s; NOT %s:* is a memory without one",
                       c->row->name, kinds[KIND_TIER].value, c->row->name);
}

static bool convert_metadata(parser *p, const condition *c, const operand *o,
                             mneme_filter_value *ret) {
  bool ordered = (BIT(c->op) & ORDER) != 0;
  switch (o->kind) {
  case OPERAND_STRING: ret->type = MNEME_VALUE_STRING; return true;
  case OPERAND_NUMBER: ret->type = MNEME_VALUE_NUMBER; return true;
  case OPERAND_BOOL: ret->type = MNEME_VALUE_BOOL; return true;
  case OPERAND_NULL:
  case OPERAND_JSON:
    ret->type = o->kind == OPERAND_NULL ? MNEME_VALUE_NULL : MNEME_VALUE_JSON;
    return !ordered ||
           parser_refuse(p, o->token.at, "only text, numbers, true and false have an order");
  case OPERAND_TIME:
    return parser_refuse(p, o->token.at,
                         "metadata has no times: write \"%.*s\", which compares as text, by bytes",
                         SHOWN(o->token, p));
  case OPERAND_DURATION:
    return parser_refuse(p, o->token.at, "durations are for age(create_time)");
  default: break;
  }
  return parser_refuse(p, o->token.at, "text stands in quotes: write \"%.*s\"", SHOWN(o->token, p));
}

static bool convert(parser *p, const condition *c, const operand *o, mneme_filter_value *ret) {
  operand_kind wanted = OPERAND_STRING;
  *ret = (mneme_filter_value){.type = MNEME_VALUE_STRING,
                              .text = o->text,
                              .number = o->number,
                              .boolean = o->boolean};
  if (o->kind == OPERAND_STAR)
    return parser_refuse(p, o->token.at, "only %.*s:* asks whether there is a value",
                         SHOWN(c->name, p));
  if (c->op == OP_LIKE && o->kind != OPERAND_STRING)
    return parser_refuse(p, o->token.at, "~ takes text in quotes");
  switch (c->row->kind) {
  case KIND_TIME: return convert_time(p, c, o, ret);
  case KIND_TIER: return convert_tier(p, c, o, ret);
  case KIND_METADATA: return convert_metadata(p, c, o, ret);
  case KIND_NUMBER:
    wanted = OPERAND_NUMBER;
    ret->type = MNEME_VALUE_NUMBER;
    break;
  case KIND_BOOL:
    wanted = OPERAND_BOOL;
    ret->type = MNEME_VALUE_BOOL;
    break;
  default: break;
  }
  if (wanted == OPERAND_STRING && o->kind == OPERAND_WORD)
    return parser_refuse(p, o->token.at, "text stands in quotes: write \"%.*s\"",
                         SHOWN(o->token, p));
  return o->kind == wanted ||
         parser_refuse(p, o->token.at, "%s takes %s", c->row->name, kinds[c->row->kind].value);
}

/* --- Leaves -------------------------------------------------------------- */

static mneme_filter *new_leaf(parser *p, const condition *c, mneme_filter_op op) {
  mneme_filter *f = arena_calloc(p->arena, 1, sizeof *f);
  if (f == NULL) {
    error_no_memory(p->error);
    return NULL;
  }
  f->op = op;
  f->field = c->row->field;
  f->path = c->name.path;
  f->path_count = c->name.path_count;
  f->position = (uint32_t)c->name.at;
  return f;
}

static int by_value(const void *a, const void *b) {
  const mneme_filter_value *x = a, *y = b;
  if (x->type != y->type)
    return (x->type > y->type) - (x->type < y->type);
  switch (x->type) {
  case MNEME_VALUE_NUMBER: return (x->number > y->number) - (x->number < y->number);
  case MNEME_VALUE_BOOL: return x->boolean - y->boolean;
  case MNEME_VALUE_TIME: return (x->time_us > y->time_us) - (x->time_us < y->time_us);
  case MNEME_VALUE_NULL: return 0;
  default: return bytes_compare(x->text.data, x->text.size, y->text.data, y->text.size);
  }
}

/* Sorted and each once: a long IN is then searched in halves. */
static size_t sort_values(mneme_filter_value *values, size_t count) {
  size_t kept = 0;
  qsort(values, count, sizeof *values, by_value);
  for (size_t i = 0; i < count; i++)
    if (kept == 0 || by_value(&values[kept - 1], &values[i]) != 0)
      values[kept++] = values[i];
  return kept;
}

/* The values of an IN, from its "(" on. */
static bool read_in(parser *p, const condition *c, mneme_filter *f) {
  mneme_filter_value *values = arena_alloc(p->arena, FILTER_IN_MAX * sizeof *values);
  size_t count = 0, opened = p->token.at;
  operand o;
  if (values == NULL)
    return error_no_memory(p->error);
  p->has_in = true;
  if (p->token.kind != TOKEN_OPEN)
    return parser_refuse(p, p->token.at, "IN takes values in parentheses: IN (\"a\", \"b\")");
  do {
    if (!parser_next(p))
      return false;
    if (count == FILTER_IN_MAX)
      return parser_too_large(p, p->token.at, "more than %d values in an IN", FILTER_IN_MAX);
    if (!parser_value(p, &o) || !convert(p, c, &o, &values[count++]))
      return false;
  } while (p->token.kind == TOKEN_COMMA);
  if (p->token.kind != TOKEN_CLOSE)
    return parser_refuse(p, p->token.at, "a comma or ) is expected, for the IN at byte %zu",
                         opened + 1);
  f->values = values;
  f->value_count = sort_values(values, count);
  return parser_next(p);
}

static bool read_one(parser *p, const condition *c, mneme_filter *f) {
  mneme_filter_value *value = arena_alloc(p->arena, sizeof *value);
  operand o;
  if (value == NULL)
    return error_no_memory(p->error);
  if (!parser_value(p, &o))
    return false;
  if (c->op == OP_HAS && o.kind == OPERAND_STAR) {
    f->op = MNEME_FILTER_PRESENT;
    return true;
  }
  if (!convert(p, c, &o, value))
    return false;
  f->values = value;
  f->value_count = 1;
  if (c->op == OP_LIKE) {
    f->host = needle_new(p->arena, value->text);
    return f->host != NULL || error_no_memory(p->error);
  }
  return true;
}

/* --- Operators ----------------------------------------------------------- */

/* false = there is none. */
static bool read_op(const parser *p, condition_op *ret) {
  static const struct {
    token_kind token;
    condition_op op;
  } ops[] = {
      {TOKEN_EQ, OP_EQ}, {TOKEN_NE, OP_NE}, {TOKEN_LT, OP_LT},    {TOKEN_LE, OP_LE},
      {TOKEN_GT, OP_GT}, {TOKEN_GE, OP_GE}, {TOKEN_COLON, OP_HAS}, {TOKEN_TILDE, OP_LIKE},
  };
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (p->token.kind == ops[i].token) {
      *ret = ops[i].op;
      return true;
    }
  *ret = OP_IN;
  return parser_is_word(p, "IN");
}

static mneme_filter_op node_op(condition_op op) {
  switch (op) {
  case OP_LT: return MNEME_FILTER_LT;
  case OP_LE: return MNEME_FILTER_LE;
  case OP_GT: return MNEME_FILTER_GT;
  case OP_GE: return MNEME_FILTER_GE;
  case OP_HAS: return MNEME_FILTER_HAS;
  case OP_LIKE: return MNEME_FILTER_LIKE;
  case OP_PRESENT: return MNEME_FILTER_PRESENT;
  default: return MNEME_FILTER_EQ;
  }
}

/* A word with no operator behind it: the most common mistake, in a few shapes. */
static const mneme_filter *refuse_word(parser *p, const token *name) {
  static const char *const capitals[] = {"and", "or", "not", "in", "And", "Or", "Not", "In"};
  static const char *const words[] = {"AND", "OR", "IN"};
  if (parser_is_word(p, "NOT") && name->path_count == 0) {
    parser_refuse(p, p->token.at, "NOT stands in front: NOT %.*s IN (..)", SHOWN(*name, p));
    return NULL;
  }
  for (size_t i = 0; i < sizeof capitals / sizeof *capitals; i++)
    if (parser_is_word(p, capitals[i]) ||
        bytes_equal(name->text.data, name->text.size, capitals[i], strlen(capitals[i]))) {
      parser_refuse(p, name->at, "AND, OR, NOT and IN are written in capitals");
      return NULL;
    }
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (bytes_equal(name->text.data, name->text.size, words[i], strlen(words[i]))) {
      parser_refuse(p, name->at, "a comparison is expected here, not %s", words[i]);
      return NULL;
    }
  parser_refuse(p, name->at,
                "\"%.*s\" stands alone: a comparison is expected, field = value, with = != < <= > "
                ">= : ~ or IN; a text is looked for by content : \"text\"",
                SHOWN(*name, p));
  return NULL;
}

/* What begins no comparison. */
static const mneme_filter *refuse_start(parser *p) {
  const token *t = &p->token;
  switch (t->kind) {
  case TOKEN_END:
    parser_refuse(p, t->at, "the filter ends where a comparison is expected");
    break;
  case TOKEN_STRING:
    parser_refuse(p, t->at,
                  "a text stands alone: write content : \"text\", or field = \"text\" with the "
                  "field on the left");
    break;
  case TOKEN_SCALAR:
    if (*t->text.data == '-')
      parser_refuse(p, t->at, "write NOT instead of -");
    else
      parser_refuse(p, t->at, "a value stands alone: the field stands on the left, field = value");
    break;
  default: parser_refuse(p, t->at, "a comparison is expected: field = value"); break;
  }
  return NULL;
}

/* --- Conditions ---------------------------------------------------------- */

static const mneme_filter *read_comparison(parser *p, condition *c) {
  mneme_filter *f = new_leaf(p, c, node_op(c->op));
  if (f == NULL || !parser_next(p))
    return NULL;
  if (!(c->op == OP_IN ? read_in(p, c, f) : read_one(p, c, f)))
    return NULL;
  if ((kinds[c->row->kind].operators & BIT(c->op)) == 0 && f->op != MNEME_FILTER_PRESENT) {
    parser_refuse(p, c->op_at, "%s is compared with %s", c->row->name, kinds[c->row->kind].are);
    return NULL;
  }
  return c->op == OP_NE ? parser_not(p, f, c->name.at) : f;
}

/* age(t) > d is t < now - d: so a missing t is false either way. */
static const mneme_filter *make_age(parser *p, const condition *c, size_t at, int64_t age_us) {
  static const mneme_filter_op turned[] = {[OP_LT] = MNEME_FILTER_GT,
                                           [OP_LE] = MNEME_FILTER_GE,
                                           [OP_GT] = MNEME_FILTER_LT,
                                           [OP_GE] = MNEME_FILTER_LE};
  mneme_filter *f = new_leaf(p, c, turned[c->op]);
  mneme_filter_value *value = arena_calloc(p->arena, 1, sizeof *value);
  if (f == NULL || value == NULL) {
    error_no_memory(p->error);
    return NULL;
  }
  value->type = MNEME_VALUE_TIME;
  value->time_us = p->now_us - age_us;
  f->position = (uint32_t)at;
  f->values = value;
  f->value_count = 1;
  return f;
}

/* From its "(" on; at = where "age" stands. */
static const mneme_filter *read_age(parser *p, size_t at) {
  condition c;
  operand o;
  if (!parser_next(p))
    return NULL;
  c.name = p->token;
  if (c.name.kind != TOKEN_NAME) {
    parser_refuse(p, c.name.at, "age takes a time field: age(create_time)");
    return NULL;
  }
  c.row = parser_field(p, &c.name);
  if (c.row == NULL || !parser_next(p))
    return NULL;
  if (c.row->kind != KIND_TIME || p->token.kind != TOKEN_CLOSE) {
    parser_refuse(p, c.row->kind != KIND_TIME ? c.name.at : p->token.at,
                  "age takes one time field: age(create_time)");
    return NULL;
  }
  if (!parser_next(p))
    return NULL;
  c.op_at = p->token.at;
  if (!read_op(p, &c.op) || (BIT(c.op) & ORDER) == 0) {
    parser_refuse(p, c.op_at, "an age is compared with < <= > >=");
    return NULL;
  }
  if (!parser_next(p) || !parser_value(p, &o))
    return NULL;
  if (o.kind != OPERAND_DURATION) {
    parser_refuse(p, o.token.at, "an age is a duration: 30d, 12h, 1h30m, 500ms");
    return NULL;
  }
  return make_age(p, &c, at, o.us);
}

const mneme_filter *parser_condition(parser *p) {
  condition c = {.name = p->token};
  if (c.name.kind != TOKEN_NAME)
    return refuse_start(p);
  if (p->terms++ == FILTER_TERMS_MAX) {
    parser_too_large(p, c.name.at, "more than %d comparisons: IN takes many values as one",
                     FILTER_TERMS_MAX);
    return NULL;
  }
  bool is_age = parser_is_word(p, "age");
  if (!parser_next(p))
    return NULL;
  if (is_age && p->token.kind == TOKEN_OPEN)
    return read_age(p, c.name.at);
  c.op_at = p->token.at;
  if (!read_op(p, &c.op))
    return refuse_word(p, &c.name);
  c.row = parser_field(p, &c.name);
  return c.row != NULL ? read_comparison(p, &c) : NULL;
}
