/* From the tree to SQL. SQL has three truths and a filter two: so every leaf is made
 * to be 0 or 1 by itself, and AND, OR and NOT above it need no care but for depth
 * (stack_of).
 *
 *   kind = "fact"            (kind <> '' AND kind = ?)         "" is none
 *   importance < 0.5         (importance IS NOT NULL AND importance < ?)
 *   metadata.a.b < 5         ifnull(json_type(metadata_json, ?) IN ('integer', 'real')
 *                                   AND (metadata_json ->> ?) < ?, 0)
 *
 * Metadata is judged by what JSON_TYPE says and by the value, since a value alone
 * says 1 for true. Numbers are compared as what they were: Debian's SQLite reads
 * those in JSON with strtod, exactly, though CAST does not (measured: 0 of 600,000
 * wrong, and 1,386). Lists and objects are equal when their text is: it is canonical,
 * and ->> gives it back as it is. The text of a string is compared by the collation
 * BINARY, by bytes.
 *
 * A path names its keys in quotes and cannot name one that has a quote in it. Then
 * the way is walked object by object, which names any key, and is slower:
 *
 *   EXISTS (SELECT 1 FROM json_each(metadata_json) AS e1,
 *             json_each(CASE WHEN e1.type = 'object' THEN e1.value END) AS e2
 *           WHERE e1.key = ? AND e2.key = ? AND (e2.type = 'true'))
 *
 * What JSON_EACH is given stands behind a CASE, because it fails on a text that is no
 * JSON, and the order in which conditions are tried is SQLite's. */
#include "filter.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PIECE_MAX 256 /* bytes of one formatted piece */
#define STACK_MAX 40  /* symbols of a tree that stays as it is written: see put_node */

typedef struct build {
  sq_arena *arena;
  char *text;
  size_t size, room;
  sq_bind *binds;
  size_t count, binds_room;
  size_t nodes; /* seen so far */
  bool deepest_first;
  mneme_status status;
} build;

static void fail(build *b, mneme_status status) {
  if (b->status == MNEME_OK) b->status = status;
}

/* --- Text and parameters ------------------------------------------------------ */

static void put_bytes(build *b, const char *bytes, size_t size) {
  if (b->status != MNEME_OK) return;
  if (b->room - b->size <= size) {
    size_t room = 2 * (b->room + size) + 256;
    char *text = sq_arena_take(b->arena, room);
    if (text == NULL) {
      fail(b, MNEME_NO_MEMORY);
      return;
    }
    if (b->size != 0) memcpy(text, b->text, b->size);
    b->text = text;
    b->room = room;
  }
  memcpy(b->text + b->size, bytes, size);
  b->size += size;
  b->text[b->size] = '\0';
}

/* Text that this file makes: never a value. */
__attribute__((format(printf, 2, 3))) static void put(build *b, const char *format, ...) {
  char piece[PIECE_MAX];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(piece, sizeof piece, format, arguments);
  va_end(arguments);
  if (size < 0 || (size_t)size >= sizeof piece)
    fail(b, MNEME_INTERNAL);
  else
    put_bytes(b, piece, (size_t)size);
}

static void put_bind(build *b, sq_bind bind) {
  if (!sq_arena_grow(b->arena, (void **)&b->binds, b->count, &b->binds_room, sizeof *b->binds)) {
    fail(b, MNEME_NO_MEMORY);
    return;
  }
  b->binds[b->count++] = bind;
  put_bytes(b, "?", 1);
}

static void put_text(build *b, mneme_bytes text) {
  put_bind(b, (sq_bind){.kind = SQ_BIND_TEXT, .text = text});
}

static void put_value(build *b, const mneme_filter_value *v) {
  switch (v->type) {
    case MNEME_VALUE_STRING:
    case MNEME_VALUE_JSON:
      put_text(b, v->text);
      break;
    case MNEME_VALUE_NUMBER:
      put_bind(b, (sq_bind){.kind = SQ_BIND_REAL, .real = v->number});
      break;
    case MNEME_VALUE_BOOL:
      put_bind(b, (sq_bind){.kind = SQ_BIND_INT, .integer = v->boolean});
      break;
    case MNEME_VALUE_TIME:
      put_bind(b, (sq_bind){.kind = SQ_BIND_INT, .integer = v->time_us});
      break;
    default:
      fail(b, MNEME_INVALID);
  }
}

void sq_filter_bind(sq_sql *q, const sq_filter *filter) {
  for (size_t i = 0; i < filter->count; i++) {
    const sq_bind *bind = &filter->binds[i];
    switch (bind->kind) {
      case SQ_BIND_INT:
        sq_sql_int(q, bind->integer);
        break;
      case SQ_BIND_REAL:
        sq_sql_real_or_null(q, bind->real, false);
        break;
      case SQ_BIND_TEXT:
        sq_sql_text(q, bind->text);
        break;
    }
  }
}

static const char *order_of(mneme_filter_op op) {
  switch (op) {
    case MNEME_FILTER_LT: return "<";
    case MNEME_FILTER_LE: return "<=";
    case MNEME_FILTER_GT: return ">";
    default: return ">=";
  }
}

/* " = ?", or " IN (?, ?, ..)": the values of this type. There is one at least. */
static void put_one_of(build *b, const mneme_filter *f, mneme_filter_type type) {
  size_t count = 0;
  for (size_t i = 0; i < f->value_count; i++) count += f->values[i].type == type;
  put(b, count == 1 ? " = " : " IN (");
  for (size_t i = 0, n = 0; i < f->value_count; i++) {
    if (f->values[i].type != type) continue;
    if (n++ != 0) put_bytes(b, ",", 1);
    put_value(b, &f->values[i]);
  }
  if (count != 1) put(b, ")");
}

static bool has_type(const mneme_filter *f, mneme_filter_type type) {
  for (size_t i = 0; i < f->value_count; i++)
    if (f->values[i].type == type) return true;
  return false;
}

/* --- Columns ------------------------------------------------------------------ */

typedef struct column {
  const char *name;
  const char *is_there; /* NULL = always */
  mneme_filter_type type;
} column;

static const column columns[] = {
    [MNEME_FIELD_ID] = {"id", NULL, MNEME_VALUE_STRING},
    [MNEME_FIELD_KEY] = {"key", "key IS NOT NULL", MNEME_VALUE_STRING},
    [MNEME_FIELD_KIND] = {"kind", "kind <> ''", MNEME_VALUE_STRING},
    [MNEME_FIELD_ROLE] = {"role", "role <> ''", MNEME_VALUE_STRING},
    [MNEME_FIELD_AUTHOR] = {"author", "author <> ''", MNEME_VALUE_STRING},
    [MNEME_FIELD_SOURCE] = {"source", "source <> ''", MNEME_VALUE_STRING},
    [MNEME_FIELD_TIER] = {"tier", "tier <> 0", MNEME_VALUE_NUMBER},
    [MNEME_FIELD_IMPORTANCE] = {"importance", "importance IS NOT NULL", MNEME_VALUE_NUMBER},
    [MNEME_FIELD_PINNED] = {"pinned", NULL, MNEME_VALUE_BOOL},
    [MNEME_FIELD_SEQUENCE] = {"sequence", NULL, MNEME_VALUE_NUMBER},
    [MNEME_FIELD_TOKEN_COUNT] = {"token_count", NULL, MNEME_VALUE_NUMBER},
    [MNEME_FIELD_ACCESS_COUNT] = {"access_count", NULL, MNEME_VALUE_NUMBER},
    [MNEME_FIELD_CREATE_TIME] = {"create_us", NULL, MNEME_VALUE_TIME},
    [MNEME_FIELD_UPDATE_TIME] = {"update_us", NULL, MNEME_VALUE_TIME},
    [MNEME_FIELD_ACCESS_TIME] = {"access_us", "access_us <> 0", MNEME_VALUE_TIME},
    [MNEME_FIELD_EXPIRE_TIME] = {"expire_us", "expire_us IS NOT NULL", MNEME_VALUE_TIME},
    [MNEME_FIELD_EVENT_TIME] = {"event_us", "event_us IS NOT NULL", MNEME_VALUE_TIME},
};

static void put_column(build *b, const mneme_filter *f, const column *c) {
  const char *is_there = c->is_there != NULL ? c->is_there : "1";
  if (f->op == MNEME_FILTER_PRESENT) {
    put(b, "(%s)", is_there);
    return;
  }
  if (!has_type(f, c->type)) { /* of another type it never is */
    put(b, "0");
    return;
  }
  put(b, "(%s AND ", is_there);
  switch (f->op) {
    case MNEME_FILTER_EQ:
      put(b, "%s", c->name);
      put_one_of(b, f, c->type);
      break;
    case MNEME_FILTER_HAS:
      put(b, c->type == MNEME_VALUE_STRING ? "instr(%s, " : "0 AND (%s = ", c->name);
      put_value(b, &f->values[0]);
      put(b, c->type == MNEME_VALUE_STRING ? ") > 0" : ")");
      break;
    default:
      put(b, "%s %s ", c->name, order_of(f->op));
      put_value(b, &f->values[0]);
  }
  put(b, ")");
}

/* --- Metadata ----------------------------------------------------------------- */

/* Where a value stands: under a path, or in a row of JSON_EACH. */
typedef struct place {
  const char *alias; /* NULL = by path */
  mneme_bytes path;
} place;

static void put_type_of(build *b, const place *at) {
  if (at->alias != NULL) {
    put(b, "%s.type", at->alias);
    return;
  }
  put(b, "json_type(metadata_json, ");
  put_text(b, at->path);
  put(b, ")");
}

static void put_value_of(build *b, const place *at) {
  if (at->alias != NULL) {
    put(b, "%s.value", at->alias);
    return;
  }
  put(b, "(metadata_json ->> ");
  put_text(b, at->path);
  put(b, ")");
}

/* The names that JSON_TYPE has for a type; NULL = none. */
static const char *json_types(mneme_filter_type type) {
  switch (type) {
    case MNEME_VALUE_STRING: return "'text'";
    case MNEME_VALUE_NUMBER: return "'integer', 'real'";
    case MNEME_VALUE_JSON: return "'array', 'object'";
    default: return NULL;
  }
}

static void put_is_type(build *b, const place *at, const char *types) {
  put_type_of(b, at);
  put(b, " IN (%s)", types);
}

/* true, false and null are types of their own: equal when of that type. */
static const char *type_of_constant(const mneme_filter_value *v) {
  if (v->type == MNEME_VALUE_NULL) return "'null'";
  return v->boolean ? "'true'" : "'false'";
}

static void put_equals(build *b, const place *at, const mneme_filter *f) {
  static const mneme_filter_type texts[] = {MNEME_VALUE_STRING, MNEME_VALUE_NUMBER,
                                            MNEME_VALUE_JSON};
  put(b, "(0");
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (!has_type(f, texts[i])) continue;
    put(b, " OR (");
    put_is_type(b, at, json_types(texts[i]));
    put(b, " AND ");
    put_value_of(b, at);
    put_one_of(b, f, texts[i]);
    put(b, ")");
  }
  for (size_t i = 0; i < f->value_count; i++) {
    const mneme_filter_value *v = &f->values[i];
    if (v->type != MNEME_VALUE_BOOL && v->type != MNEME_VALUE_NULL) continue;
    put(b, " OR ");
    put_is_type(b, at, type_of_constant(v));
  }
  put(b, ")");
}

static bool bool_holds(bool a, mneme_filter_op op, bool b) {
  switch (op) {
    case MNEME_FILTER_LT: return a < b;
    case MNEME_FILTER_LE: return a <= b;
    case MNEME_FILTER_GT: return a > b;
    default: return a >= b;
  }
}

static void put_ordered(build *b, const place *at, const mneme_filter *f) {
  const mneme_filter_value *v = &f->values[0];
  if (v->type == MNEME_VALUE_BOOL) {
    bool no = bool_holds(false, f->op, v->boolean), yes = bool_holds(true, f->op, v->boolean);
    put_is_type(b, at, no && yes ? "'false', 'true'" : no ? "'false'" : yes ? "'true'" : "");
    return;
  }
  if (v->type != MNEME_VALUE_STRING && v->type != MNEME_VALUE_NUMBER) {
    put(b, "0");
    return;
  }
  put_is_type(b, at, json_types(v->type));
  put(b, " AND ");
  put_value_of(b, at);
  put(b, " %s ", order_of(f->op));
  put_value(b, v);
}

static void put_has(build *b, const place *at, const mneme_filter *f) {
  const place element = {.alias = "m"};
  put(b, "EXISTS (SELECT 1 FROM json_each(CASE WHEN ");
  put_is_type(b, at, "'array'");
  put(b, " THEN ");
  put_value_of(b, at);
  put(b, " END) AS m WHERE ");
  put_equals(b, &element, f);
  put(b, ")");
  if (f->values[0].type != MNEME_VALUE_STRING) return;
  put(b, " OR (");
  put_is_type(b, at, "'text'");
  put(b, " AND instr(");
  put_value_of(b, at);
  put(b, ", ");
  put_value(b, &f->values[0]);
  put(b, ") > 0)");
}

static void put_condition(build *b, const place *at, const mneme_filter *f) {
  switch (f->op) {
    case MNEME_FILTER_PRESENT:
      put_type_of(b, at);
      put(b, " IS NOT NULL");
      break;
    case MNEME_FILTER_EQ:
      put_equals(b, at, f);
      break;
    case MNEME_FILTER_HAS:
      put_has(b, at, f);
      break;
    default:
      put_ordered(b, at, f);
  }
}

static bool is_nameable(const mneme_filter *f) {
  for (size_t i = 0; i < f->path_count; i++)
    if (f->path[i].size != 0 && memchr(f->path[i].data, '"', f->path[i].size) != NULL)
      return false;
  return true;
}

/* $."key"."key", each as canonical JSON writes it: SQLite compares them unread. */
static bool make_path(build *b, const mneme_filter *f, mneme_bytes *ret_path) {
  size_t room = 2, size = 0;
  for (size_t i = 0; i < f->path_count; i++) room += 6 * f->path[i].size + 3;
  char *path = sq_arena_take(b->arena, room);
  if (path == NULL) {
    fail(b, MNEME_NO_MEMORY);
    return false;
  }
  path[size++] = '$';
  for (size_t i = 0; i < f->path_count; i++) {
    path[size++] = '.';
    path[size++] = '"';
    for (size_t n = 0; n < f->path[i].size; n++) {
      char c = f->path[i].data[n];
      if (c == '\\') path[size++] = '\\';
      if ((unsigned char)c < 0x20)
        size += (size_t)sprintf(path + size, "\\u%04x", (unsigned)c);
      else
        path[size++] = c;
    }
    path[size++] = '"';
  }
  *ret_path = mneme_bytes_of(path, size);
  return true;
}

static void put_by_path(build *b, const mneme_filter *f) {
  place at = {.alias = NULL};
  if (!make_path(b, f, &at.path)) return;
  put(b, "ifnull(");
  put_condition(b, &at, f);
  put(b, ", 0)");
}

static void put_by_steps(build *b, const mneme_filter *f) {
  char alias[8];
  put(b, "EXISTS (SELECT 1 FROM json_each(metadata_json) AS e0");
  for (size_t i = 1; i < f->path_count; i++)
    put(b, ", json_each(CASE WHEN e%zu.type = 'object' THEN e%zu.value END) AS e%zu", i - 1,
        i - 1, i);
  put(b, " WHERE ");
  for (size_t i = 0; i < f->path_count; i++) {
    put(b, "e%zu.key = ", i);
    put_text(b, f->path[i]);
    put(b, " AND ");
  }
  snprintf(alias, sizeof alias, "e%u", (unsigned)(f->path_count - 1) % 100);
  const place at = {.alias = alias};
  put(b, "(");
  put_condition(b, &at, f);
  put(b, "))");
}

/* --- Trees -------------------------------------------------------------------- */

static void put_leaf(build *b, const mneme_filter *f) {
  bool present = f->op == MNEME_FILTER_PRESENT;
  bool known = f->op >= MNEME_FILTER_EQ && f->op <= MNEME_FILTER_PRESENT;
  if (!known || (!present && f->value_count == 0) || f->value_count > MNEME_FILTER_VALUES_MAX ||
      f->path_count > MNEME_FILTER_PATH_MAX) {
    fail(b, MNEME_INVALID);
  } else if (f->field == MNEME_FIELD_METADATA) {
    if (f->path_count == 0)
      fail(b, MNEME_INVALID);
    else if (is_nameable(f))
      put_by_path(b, f);
    else
      put_by_steps(b, f);
  } else if ((size_t)f->field < sizeof columns / sizeof *columns &&
             columns[f->field].name != NULL) {
    put_column(b, f, &columns[f->field]);
  } else {
    fail(b, MNEME_INVALID);
  }
}

static bool is_join(const mneme_filter *f) {
  return f->op == MNEME_FILTER_AND || f->op == MNEME_FILTER_OR;
}

/* How many symbols SQLite's parser has to keep, at the deepest place of the tree as it
 * is written: "(" in front of a node's first child, "( x AND" in front of the others,
 * "( NOT". left: nodes that may still be looked at; put_node refuses a tree with more. */
static int stack_of(const mneme_filter *f, int depth, int *left) {
  int most = 0;
  if ((!is_join(f) && f->op != MNEME_FILTER_NOT) || depth > MNEME_FILTER_DEPTH_MAX) return 0;
  for (size_t i = 0; i < f->child_count && --*left >= 0; i++) {
    int own = stack_of(f->children[i], depth + 1, left) + (i != 0 ? 3 : is_join(f) ? 1 : 2);
    if (own > most) most = own;
  }
  return most;
}

static size_t find_deepest(const mneme_filter *f, int depth) {
  size_t found = 0;
  int most = -1;
  for (size_t i = 0; i < f->child_count; i++) {
    int left = MNEME_FILTER_NODES_MAX;
    int own = stack_of(f->children[i], depth + 1, &left);
    if (own > most) found = i;
    if (own > most) most = own;
  }
  return found;
}

/* The parser's stack has room for 100 symbols: some 10 are the statement's, up to 40 a
 * leaf's. Trees as people write them need few, and stay as they are written, since the
 * order of conditions may matter to the speed. One that is nested as deep as may be
 * would not be parsed; there the deepest child of each node comes first, and NOT goes
 * without "(". Another child that is as deep takes as many nodes again, so what then
 * is needed is below 50. */
static void put_node(build *b, const mneme_filter *f, int depth) {
  if (depth > MNEME_FILTER_DEPTH_MAX || ++b->nodes > MNEME_FILTER_NODES_MAX) {
    fail(b, MNEME_INVALID);
    return;
  }
  bool joins = is_join(f);
  if (!joins && f->op != MNEME_FILTER_NOT) {
    put_leaf(b, f);
    return;
  }
  if (f->child_count < (joins ? 2u : 1u)) fail(b, MNEME_INVALID);
  size_t first = b->deepest_first && joins ? find_deepest(f, depth) : 0;
  bool encloses = joins || !b->deepest_first;
  if (encloses) put(b, "(");
  if (!joins) put(b, "NOT ");
  for (size_t n = 0; n < f->child_count && b->status == MNEME_OK; n++) {
    size_t i = n == 0 ? first : n <= first ? n - 1 : n;
    if (n != 0) put(b, f->op == MNEME_FILTER_AND ? " AND " : " OR ");
    put_node(b, f->children[i], depth + 1);
  }
  if (encloses) put(b, ")");
}

mneme_status sq_filter_compile(sq_arena *arena, const mneme_filter *filter,
                               sq_filter *ret_filter) {
  build b = {.arena = arena, .status = MNEME_OK};
  int left = MNEME_FILTER_NODES_MAX;
  b.deepest_first = stack_of(filter, 1, &left) > STACK_MAX;
  put_node(&b, filter, 1);
  if (b.status != MNEME_OK) return b.status;
  *ret_filter = (sq_filter){.text = b.text, .binds = b.binds, .count = b.count};
  return MNEME_OK;
}
