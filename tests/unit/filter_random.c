#include "filter_random.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const char *const random_kinds[KINDS] = {
    "text",    "integer", "real", "bool",   "time",  "tier",     "m.text",
    "m.number", "m.bool", "m.null", "m.list", "m.object", "m.any"};
const char *const random_operators[OPERATORS] = {"=",  "!=", "<", "<=", ">",
                                                 ">=", "IN", ":", "~",  ":*"};

static uint64_t state;

void random_seed(uint64_t seed) {
  state = seed * 0x9E3779B97F4A7C15u + 1;
}

uint32_t random_below(uint32_t n) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 33) % n;
}

static bool one_in(uint32_t n) {
  return random_below(n) == 0;
}

#define PICK(list) ((list)[random_below(sizeof(list) / sizeof *(list))])

/* --- Values -------------------------------------------------------------- */

static const char *const texts[] = {
    "",   "a",    "A",    "ab", "aB", "b",  "ß",   "ẞ",    "ss",     "é",      "É",
    "10", "9",    "%",    "_",  "\"", "\\", "a\nb", "日本", "\x01", "it's", "true",
    "null", "\\u0041", "İ", "i", "k", "\xe2\x84\xaa", "[1]", "{}", "\x7f", "\xf0\x9f\x98\x80"};
static const double numbers[] = {0,    -0.0, 1,    -1,    2,     10,   9,    1.5, 0.1,
                                 0.3,  5e-324, 1e22, 1e300, -1e300, 9007199254740991.0,
                                 9007199254740992.0, -9007199254740992.0, 1.2345678901234567e17};
static const char *const words[] = {"user",    "User", "tool", "Straße", "STRASSE",
                                    "été", "É", "u",    "a"};
static const char *const keys[] = {"k", "a", "b"};

/* Of any sign and size: half of them around one, the others any bits there are. */
static double some_double(void) {
  double d;
  do {
    uint64_t bits = (uint64_t)random_below(UINT32_MAX) << 32 ^ random_below(UINT32_MAX);
    memcpy(&d, &bits, sizeof d);
  } while (d != d || d - d != 0);
  return one_in(2) ? d : (double)random_below(2000000) / 1000 - 1000 + 0.1;
}

static pb_value *value_of(arena *a, kind k, int depth);

static kind any_meta(int depth) {
  return META_TEXT + random_below(depth > 2 ? META_LIST - META_TEXT : META_ANY - META_TEXT);
}

static pb_value *new_value(arena *a, int kind_case) {
  pb_value *v = arena_alloc(a, sizeof *v);
  google__protobuf__value__init(v);
  v->kind_case = kind_case;
  return v;
}

static pb_struct *new_struct(arena *a) {
  pb_struct *s = arena_alloc(a, sizeof *s);
  google__protobuf__struct__init(s);
  s->fields = arena_calloc(a, 8, sizeof *s->fields);
  return s;
}

static void add_field(arena *a, pb_struct *s, const char *key, pb_value *v) {
  pb_entry *e = arena_alloc(a, sizeof *e);
  if (v == NULL)
    return;
  google__protobuf__struct__fields_entry__init(e);
  e->key = (char *)key;
  e->value = v;
  s->fields[s->n_fields++] = e;
}

static pb_value *list_of(arena *a, int depth) {
  pb_value *v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE);
  v->list_value = arena_alloc(a, sizeof *v->list_value);
  google__protobuf__list_value__init(v->list_value);
  v->list_value->n_values = random_below(4);
  v->list_value->values = arena_calloc(a, 4, sizeof(pb_value *));
  for (size_t i = 0; i < v->list_value->n_values; i++)
    v->list_value->values[i] = value_of(a, any_meta(depth + 1), depth + 1);
  return v;
}

static pb_value *object_of(arena *a, int depth) {
  pb_value *v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE);
  v->struct_value = new_struct(a);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (one_in(3))
      add_field(a, v->struct_value, keys[i], value_of(a, any_meta(depth + 1), depth + 1));
  return v;
}

static pb_value *value_of(arena *a, kind k, int depth) {
  pb_value *v;
  switch (k) {
  case META_TEXT:
    v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE);
    v->string_value = (char *)PICK(texts);
    return v;
  case META_NUMBER:
    v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE);
    v->number_value = one_in(4) ? some_double() : PICK(numbers);
    return v;
  case META_BOOL:
    v = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE);
    v->bool_value = one_in(2);
    return v;
  case META_LIST: return list_of(a, depth);
  case META_OBJECT: return object_of(a, depth);
  default: return new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE);
  }
}

static kind kind_of(const pb_value *v) {
  switch (v->kind_case) {
  case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE: return META_TEXT;
  case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE: return META_NUMBER;
  case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE: return META_BOOL;
  case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE: return META_LIST;
  case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE: return META_OBJECT;
  default: return META_NULL;
  }
}

/* --- Records ------------------------------------------------------------- */

/* As a filter writes them, in the order of random_world.values. */
static const char *const paths[RANDOM_PATHS] = {
    "metadata.v",   "metadata.\"a.b\"",         "metadata.\"q\\\"q\"",  "metadata.\"\"",
    "metadata.o.k", "metadata.o.\"q\\\"q\".\"z z\"", "metadata.\"b\\\\s\\t\"", "metadata.'é'"};

static pb_value *maybe(arena *a) {
  return one_in(4) ? NULL : value_of(a, any_meta(0), 0);
}

static pb_struct *metadata_of(random_world *w, size_t i) {
  arena *a = w->arena;
  pb_value **v = w->values[i];
  pb_struct *s = new_struct(a);
  static const char *const top[RANDOM_PATHS] = {"v", "a.b", "q\"q", "", NULL, NULL, "b\\s\t", "é"};
  if (one_in(12))
    return one_in(2) ? NULL : s;
  for (size_t p = 0; p < RANDOM_PATHS; p++)
    if (top[p] != NULL)
      add_field(a, s, top[p], v[p] = maybe(a));
  if (one_in(8)) { /* a path ends at what is no object */
    add_field(a, s, "o", value_of(a, META_TEXT + random_below(META_OBJECT - META_TEXT), 0));
    return s;
  }
  pb_value *o = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE);
  pb_value *q = new_value(a, GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE);
  o->struct_value = new_struct(a);
  q->struct_value = new_struct(a);
  add_field(a, o->struct_value, "k", v[4] = maybe(a));
  add_field(a, q->struct_value, "z z", v[5] = maybe(a));
  add_field(a, o->struct_value, "q\"q", q);
  add_field(a, s, "o", o);
  return s;
}

static char *word(bool may_be_missing) {
  return may_be_missing && one_in(4) ? (char *)"" : (char *)PICK(words);
}

static int64_t some_time(void) {
  static const int64_t steps[] = {1, 1000000, INT64_C(3600000000), INT64_C(86400000000)};
  return RANDOM_NOW + ((int64_t)random_below(5) - 2) * PICK(steps);
}

void random_fill(random_world *w, arena *a) {
  memset(w, 0, sizeof *w);
  w->arena = a;
  for (size_t i = 0; i < RANDOM_RECORDS; i++) {
    pb_memory *m = arena_alloc(a, sizeof *m);
    mneme__v1__memory__init(m);
    m->id = arena_printf(a, "%c%s%zu", "aA\xc3"[random_below(2)], PICK(words), i);
    m->key = one_in(3) ? (char *)"" : arena_printf(a, "%s%zu", PICK(words), i % 40);
    if (i >= 40)
      m->key = (char *)"";
    m->kind = word(true);
    m->role = word(true);
    m->author = word(true);
    m->source = word(true);
    m->content = word(true);
    m->tier = (Mneme__V1__Tier)random_below(4);
    m->pinned = one_in(2);
    m->_importance_case = one_in(3) ? 0 : MNEME__V1__MEMORY___IMPORTANCE_IMPORTANCE;
    m->importance = m->_importance_case != 0 ? random_below(5) / 4.0 : 0;
    m->_token_count_case = MNEME__V1__MEMORY___TOKEN_COUNT_TOKEN_COUNT;
    m->token_count = random_below(5);
    m->event_time = one_in(3) ? NULL : wire_time_out(some_time(), a);
    m->expire_time =
        one_in(2) ? NULL : wire_time_out(RANDOM_NOW + INT64_C(1000000) * (1 + random_below(3)), a);
    m->metadata = metadata_of(w, i);
    w->records[i] = store_record_of(a, m);
  }
}

/* --- Filters as text ----------------------------------------------------- */

#define PUT(f, ...)                                                                              \
  ((f)->size += (size_t)snprintf((f)->text + (f)->size, sizeof(f)->text - (f)->size, __VA_ARGS__))

static void put_text(random_filter *f, const char *text) {
  char quote = one_in(2) ? '"' : '\'';
  PUT(f, "%c", quote);
  for (const char *c = text; *c != '\0'; c++) {
    if (*c == quote || *c == '\\')
      PUT(f, "\\%c", *c);
    else if (*c == '\n' && one_in(2))
      PUT(f, "\\n");
    else if ((unsigned char)*c < 128 && one_in(8))
      PUT(f, "\\u%04x", (unsigned)*c);
    else
      PUT(f, "%c", *c);
  }
  PUT(f, "%c", quote);
}

static void put_json(random_filter *f, const pb_value *v) {
  switch (kind_of(v)) {
  case META_TEXT: put_text(f, v->string_value); break;
  case META_NUMBER: PUT(f, "%.17g", v->number_value); break;
  case META_BOOL: PUT(f, "%s", v->bool_value ? "true" : "false"); break;
  case META_LIST:
    PUT(f, "[");
    for (size_t i = 0; i < v->list_value->n_values; i++) {
      PUT(f, "%s", i > 0 ? ", " : "");
      put_json(f, v->list_value->values[i]);
    }
    PUT(f, "]");
    break;
  case META_OBJECT: /* backwards: the order of keys means nothing */
    PUT(f, "{");
    for (size_t i = v->struct_value->n_fields; i-- > 0;) {
      put_text(f, v->struct_value->fields[i]->key);
      PUT(f, ":");
      put_json(f, v->struct_value->fields[i]->value);
      PUT(f, "%s", i > 0 ? "," : "");
    }
    PUT(f, "}");
    break;
  default: PUT(f, "null");
  }
}

static void put_time(random_filter *f, int64_t us) {
  time_t seconds = (time_t)(us / 1000000);
  struct tm tm;
  char text[64];
  gmtime_r(&seconds, &tm);
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  const char *quote = one_in(2) ? "\"" : "";
  PUT(f, "%s%s.%06dZ%s", quote, text, (int)(us % 1000000), quote);
}

/* A value of a record at this path of this kind, so that comparisons hit; for `:` an
 * element of a list. NULL = not found in a few tries. */
static const pb_value *stored_value_of(const random_world *w, const random_leaf *l) {
  for (int tries = 0; tries < 20; tries++) {
    const pb_value *v = w->values[random_below(RANDOM_RECORDS)][l->path];
    if (v != NULL && l->op == HAS && kind_of(v) == META_LIST && v->list_value->n_values > 0)
      v = v->list_value->values[random_below((uint32_t)v->list_value->n_values)];
    if (v != NULL && kind_of(v) == l->kind)
      return v;
  }
  return NULL;
}

static void put_meta(const random_world *w, random_filter *f, const random_leaf *l) {
  const pb_value *v = one_in(3) ? NULL : stored_value_of(w, l);
  put_json(f, v != NULL ? v : value_of(w->arena, l->kind, 1));
}

static void put_typed_text(random_filter *f, const random_leaf *l, const mneme_record *r) {
  const mneme_bytes of[] = {r->id, r->key, r->kind, r->role, r->author, r->source};
  const char *text = l->op == HAS || l->op == LIKE ? PICK(texts) : PICK(words);
  if (one_in(2) && l->field >= MNEME_FIELD_ID && l->field <= MNEME_FIELD_SOURCE)
    text = of[l->field - MNEME_FIELD_ID].data;
  put_text(f, text != NULL ? text : "");
}

static int64_t time_of(const random_leaf *l, const mneme_record *r) {
  switch (l->field) {
  case MNEME_FIELD_CREATE_TIME: return r->create_us;
  case MNEME_FIELD_UPDATE_TIME: return r->update_us;
  case MNEME_FIELD_ACCESS_TIME: return r->access_us != 0 ? r->access_us : RANDOM_NOW;
  case MNEME_FIELD_EXPIRE_TIME: return r->expire_us != 0 ? r->expire_us : RANDOM_NOW;
  default: return some_time();
  }
}

static void put_one(const random_world *w, const mneme_record *stored, random_filter *f,
                    const random_leaf *l) {
  static const char *const tiers[] = {"SENSORY", "SHORT_TERM", "\"LONG_TERM\"", "TIER_SENSORY"};
  static const char *const reals[] = {"0", "0.25", "0.5", "1", "1e-9", "-3", "0.7"};
  static const char *const integers[] = {"0", "1", "2", "2.5", "40", "-1", "1e300", "4"};
  const mneme_record *r = &stored[random_below(RANDOM_RECORDS)];
  switch (l->kind) {
  case IS_TEXT: put_typed_text(f, l, r); break;
  case IS_INTEGER: PUT(f, "%s", PICK(integers)); break;
  case IS_REAL: PUT(f, "%s", PICK(reals)); break;
  case IS_BOOL: PUT(f, "%s", one_in(2) ? "true" : "false"); break;
  case IS_TIME: put_time(f, time_of(l, r)); break;
  case IS_TIER: PUT(f, "%s", PICK(tiers)); break;
  default: put_meta(w, f, l);
  }
}

static void put_values(const random_world *w, const mneme_record *stored, random_filter *f,
                       const random_leaf *l) {
  size_t count = 1 + random_below(4), own = random_below((uint32_t)count);
  PUT(f, " IN (");
  for (size_t i = 0; i < count; i++) {
    random_leaf other = *l;
    if (i != own && l->kind >= IN_METADATA)
      other.kind = any_meta(1);
    PUT(f, "%s", i > 0 ? ", " : "");
    put_one(w, stored, f, &other);
  }
  PUT(f, ")");
}

static const char *field_of(random_leaf *l) {
  static const struct {
    kind kind;
    mneme_filter_field field;
    const char *name;
  } fields[] = {
      {IS_TEXT, MNEME_FIELD_ID, "id"},
      {IS_TEXT, MNEME_FIELD_KEY, "key"},
      {IS_TEXT, MNEME_FIELD_KIND, "kind"},
      {IS_TEXT, MNEME_FIELD_ROLE, "role"},
      {IS_TEXT, MNEME_FIELD_AUTHOR, "author"},
      {IS_TEXT, MNEME_FIELD_SOURCE, "source"},
      {IS_TEXT, MNEME_FIELD_CONTENT, "content"},
      {IS_INTEGER, MNEME_FIELD_SEQUENCE, "sequence"},
      {IS_INTEGER, MNEME_FIELD_TOKEN_COUNT, "token_count"},
      {IS_INTEGER, MNEME_FIELD_ACCESS_COUNT, "access_count"},
      {IS_REAL, MNEME_FIELD_IMPORTANCE, "importance"},
      {IS_BOOL, MNEME_FIELD_PINNED, "pinned"},
      {IS_TIER, MNEME_FIELD_TIER, "tier"},
      {IS_TIME, MNEME_FIELD_CREATE_TIME, "create_time"},
      {IS_TIME, MNEME_FIELD_UPDATE_TIME, "update_time"},
      {IS_TIME, MNEME_FIELD_ACCESS_TIME, "last_access_time"},
      {IS_TIME, MNEME_FIELD_EXPIRE_TIME, "expire_time"},
      {IS_TIME, MNEME_FIELD_EVENT_TIME, "event_time"},
  };
  if (l->kind >= IN_METADATA) {
    l->field = MNEME_FIELD_METADATA;
    l->path = random_below(RANDOM_PATHS);
    return paths[l->path];
  }
  for (;;) {
    size_t i = random_below(sizeof fields / sizeof *fields);
    if (fields[i].kind == l->kind) {
      l->field = fields[i].field;
      return fields[i].name;
    }
  }
}

static void put_leaf(const random_world *w, const mneme_record *stored, random_filter *f,
                     bool negated) {
  random_leaf *l = &f->leaves[f->leaf_count++];
  do {
    l->kind = random_below(KINDS);
    l->op = random_below(OPERATORS);
  } while (!random_applies(l->kind, l->op));
  l->negated = negated != (l->op == NE);
  const char *field = field_of(l);
  if (l->kind == IS_TIME && l->op >= LT && l->op <= GE && one_in(4)) {
    static const char *const ages[] = {"0s", "1us", "1s", "1h", "1d", "2d", "26h"};
    PUT(f, "age(%s) %s %s", field, random_operators[l->op], PICK(ages));
    return;
  }
  PUT(f, "%s", field);
  if (l->op == THERE) {
    PUT(f, ":*");
  } else if (l->op == IN) {
    put_values(w, stored, f, l);
  } else {
    PUT(f, " %s ", random_operators[l->op]);
    put_one(w, stored, f, l);
  }
}

static void put_term(const random_world *w, const mneme_record *stored, random_filter *f,
                     int depth, bool negated) {
  if (one_in(3)) {
    PUT(f, "NOT ");
    negated = !negated;
  }
  size_t room = RANDOM_LEAVES_MAX - f->leaf_count;
  if (depth >= 3 || room < 4 || one_in(2)) {
    put_leaf(w, stored, f, negated);
    return;
  }
  const char *word = one_in(2) ? " AND " : " OR ";
  PUT(f, "(");
  put_term(w, stored, f, depth + 1, negated);
  PUT(f, "%s", word);
  put_term(w, stored, f, depth + 1, negated);
  PUT(f, ")");
}

void random_make(const random_world *w, const mneme_record *stored, random_filter *f) {
  f->size = f->leaf_count = 0;
  put_term(w, stored, f, 0, false);
  assert_true(f->size < sizeof f->text);
}

/* --- What there is to cover ---------------------------------------------- */

bool random_applies(kind k, operator_ op) {
  bool ordered = op >= LT && op <= GE, equal = op == EQ || op == NE || op == IN;
  switch (k) {
  case IS_TEXT: return true;
  case IS_INTEGER:
  case IS_REAL:
  case IS_BOOL:
  case IS_TIME: return equal || ordered || op == THERE;
  case IS_TIER: return equal || op == THERE;
  case META_TEXT: return op != THERE;
  case META_NUMBER:
  case META_BOOL: return equal || ordered || op == HAS;
  case META_ANY: return op == THERE;
  default: return equal || op == HAS;
  }
}

bool random_can_be(kind k, operator_ op, held_state s) {
  if (k < IN_METADATA)
    return s == PRESENT || (s == MISSING && k != IS_INTEGER && k != IS_BOOL);
  if (s == OTHER)
    return op != THERE;
  return s != IS_NULL || k != META_NULL || op == HAS;
}

static bool is_there(const mneme_record *r, mneme_filter_field field) {
  switch (field) {
  case MNEME_FIELD_KEY: return r->key.size > 0;
  case MNEME_FIELD_KIND: return r->kind.size > 0;
  case MNEME_FIELD_ROLE: return r->role.size > 0;
  case MNEME_FIELD_AUTHOR: return r->author.size > 0;
  case MNEME_FIELD_SOURCE: return r->source.size > 0;
  case MNEME_FIELD_TIER: return r->tier != 0;
  case MNEME_FIELD_IMPORTANCE: return r->has_importance;
  case MNEME_FIELD_ACCESS_TIME: return r->access_us != 0;
  case MNEME_FIELD_EXPIRE_TIME: return r->expire_us != 0;
  case MNEME_FIELD_EVENT_TIME: return r->event_us != MNEME_NO_EVENT;
  case MNEME_FIELD_CONTENT: return r->body.size > 2 && r->body.data[2] == (9 << 3 | 2);
  default: return true;
  }
}

/* For `:` on metadata, what can have the value is present: a list, or a text of a
 * text. */
held_state random_state_of(const random_world *w, size_t record, const mneme_record *stored,
                           const random_leaf *l) {
  if (l->kind < IN_METADATA)
    return is_there(stored, l->field) ? PRESENT : MISSING;
  const pb_value *v = w->values[record][l->path];
  if (v == NULL)
    return MISSING;
  kind held = kind_of(v);
  if (l->op == HAS && (held == META_LIST || (held == META_TEXT && l->kind == META_TEXT)))
    return PRESENT;
  if (l->op != HAS && (held == l->kind || (l->kind == META_ANY && held != META_NULL)))
    return PRESENT;
  return held == META_NULL ? IS_NULL : OTHER;
}
