/* Evaluation: a walk over the tree that stops as soon as the answer is known. A
 * leaf fetches what its field holds, without copying, and compares. The body is
 * opened when the first leaf asks for it: its checksum costs more than most
 * comparisons. */
#include <string.h>

#include "base/bytes.h"
#include "filter/internal.h"
#include "record/record.h"
#include "wire/stored.h"

/* What is judged: a memory, or a session. */
typedef struct subject {
  const mneme_record *record;
  const mneme_header *header;
  const wire_settings *settings;
  bool opened;
  mneme_status status; /* of opening */
  mneme_bytes body;
  bool has_metadata;
  mneme_bytes metadata; /* the packed Struct */
} subject;

typedef enum held_kind {
  HELD_NOTHING,
  HELD_STRING,
  HELD_NUMBER,
  HELD_INTEGER, /* compared exactly with a double */
  HELD_BOOL,
  HELD_TIME,
  HELD_NULL,
  HELD_LIST,
  HELD_OBJECT
} held_kind;

typedef struct held {
  held_kind kind;
  mneme_bytes text;
  double number;
  int64_t integer; /* and time */
  bool boolean;
  stored_value stored; /* of metadata */
} held;

/* --- Fetching ------------------------------------------------------------ */

static held of_string(mneme_bytes text) {
  return (held){.kind = text.size > 0 ? HELD_STRING : HELD_NOTHING, .text = text};
}

static held of_integer(int64_t integer) {
  return (held){.kind = HELD_INTEGER, .integer = integer};
}

static held of_time(int64_t us, int64_t missing) {
  return (held){.kind = us != missing ? HELD_TIME : HELD_NOTHING, .integer = us};
}

static mneme_bytes body_of(subject *s) {
  if (!s->opened) {
    s->opened = true;
    s->status = record_open(s->record, &s->body);
    if (s->status != MNEME_OK)
      s->body = mneme_bytes_of("", 0);
    s->has_metadata = stored_metadata(s->body, &s->metadata);
  }
  return s->body;
}

static held of_stored(stored_value v) {
  static const held_kind kinds[] = {
      [STORED_NONE] = HELD_NOTHING,  [STORED_NULL] = HELD_NULL, [STORED_NUMBER] = HELD_NUMBER,
      [STORED_STRING] = HELD_STRING, [STORED_BOOL] = HELD_BOOL, [STORED_OBJECT] = HELD_OBJECT,
      [STORED_LIST] = HELD_LIST};
  return (held){.kind = kinds[v.kind],
                .text = v.text,
                .number = v.number,
                .boolean = v.boolean,
                .stored = v};
}

static held of_metadata(subject *s, const mneme_filter *f) {
  if (s->record != NULL)
    body_of(s);
  if (!s->has_metadata)
    return (held){.kind = HELD_NOTHING};
  return of_stored(stored_find(s->metadata, f->path, f->path_count));
}

/* An empty label is there: labels have no default that an absent one could be
 * taken for. */
static held of_label(const wire_settings *settings, mneme_bytes key) {
  for (size_t i = 0; i < settings->label_count; i++) {
    const wire_label *l = &settings->labels[i];
    if (bytes_equal(l->key.data, l->key.size, key.data, key.size))
      return (held){.kind = HELD_STRING, .text = l->value};
  }
  return (held){.kind = HELD_NOTHING};
}

static held fetch_session(subject *s, const mneme_filter *f) {
  const mneme_header *h = s->header;
  switch (f->field) {
  case MNEME_FIELD_ID: return of_string(h->session);
  case MNEME_FIELD_LABELS: return of_label(s->settings, f->path[0]);
  case MNEME_FIELD_CREATE_TIME: return of_time(h->create_us, 0);
  case MNEME_FIELD_UPDATE_TIME: return of_time(h->update_us, 0);
  case MNEME_FIELD_EXPIRE_TIME: return of_time(h->expire_us, 0);
  case MNEME_FIELD_METADATA: return of_metadata(s, f);
  default: return (held){.kind = HELD_NOTHING};
  }
}

static held fetch_memory(subject *s, const mneme_filter *f) {
  const mneme_record *r = s->record;
  switch (f->field) {
  case MNEME_FIELD_ID: return of_string(r->id);
  case MNEME_FIELD_KEY: return of_string(r->key);
  case MNEME_FIELD_KIND: return of_string(r->kind);
  case MNEME_FIELD_ROLE: return of_string(r->role);
  case MNEME_FIELD_AUTHOR: return of_string(r->author);
  case MNEME_FIELD_SOURCE: return of_string(r->source);
  case MNEME_FIELD_TIER:
    return (held){.kind = r->tier != 0 ? HELD_INTEGER : HELD_NOTHING, .integer = r->tier};
  case MNEME_FIELD_IMPORTANCE:
    return (held){.kind = r->has_importance ? HELD_NUMBER : HELD_NOTHING, .number = r->importance};
  case MNEME_FIELD_PINNED: return (held){.kind = HELD_BOOL, .boolean = r->pinned};
  case MNEME_FIELD_SEQUENCE: return of_integer(r->sequence);
  case MNEME_FIELD_TOKEN_COUNT: return of_integer(r->token_count);
  case MNEME_FIELD_ACCESS_COUNT: return of_integer(r->access_count);
  case MNEME_FIELD_CREATE_TIME: return (held){.kind = HELD_TIME, .integer = r->create_us};
  case MNEME_FIELD_UPDATE_TIME: return (held){.kind = HELD_TIME, .integer = r->update_us};
  case MNEME_FIELD_ACCESS_TIME: return of_time(r->access_us, 0);
  case MNEME_FIELD_EXPIRE_TIME: return of_time(r->expire_us, 0);
  case MNEME_FIELD_EVENT_TIME: return of_time(r->event_us, MNEME_NO_EVENT);
  case MNEME_FIELD_CONTENT: return of_string(stored_content(body_of(s)));
  case MNEME_FIELD_METADATA: return of_metadata(s, f);
  default: return (held){.kind = HELD_NOTHING};
  }
}

/* --- Comparing ----------------------------------------------------------- */

static int compare_numbers(double a, double b) {
  return (a > b) - (a < b);
}

/* Exactly: a double that is no int64 is beyond all of them or has a fraction. */
static int compare_integer(int64_t a, double b) {
  if (b >= 0x1p63)
    return -1;
  if (b < -0x1p63)
    return 1;
  int64_t whole = (int64_t)b;
  return a != whole ? (a > whole) - (a < whole) : compare_numbers((double)whole, b);
}

/* false = they are of different types. */
static bool compare(const held *h, const mneme_filter_value *v, int *ret_order) {
  switch (v->type) {
  case MNEME_VALUE_STRING:
    *ret_order = bytes_compare(h->text.data, h->text.size, v->text.data, v->text.size);
    return h->kind == HELD_STRING;
  case MNEME_VALUE_NUMBER:
    *ret_order = h->kind == HELD_INTEGER ? compare_integer(h->integer, v->number)
                                         : compare_numbers(h->number, v->number);
    return h->kind == HELD_NUMBER || h->kind == HELD_INTEGER;
  case MNEME_VALUE_BOOL:
    *ret_order = h->boolean - v->boolean;
    return h->kind == HELD_BOOL;
  case MNEME_VALUE_TIME:
    *ret_order = (h->integer > v->time_us) - (h->integer < v->time_us);
    return h->kind == HELD_TIME;
  case MNEME_VALUE_NULL: *ret_order = 0; return h->kind == HELD_NULL;
  default:
    *ret_order = 0;
    return (h->kind == HELD_LIST || h->kind == HELD_OBJECT) && stored_is_json(&h->stored, v->text);
  }
}

/* The values are sorted by type, so those of one type are a range, sorted too. */
static mneme_filter_type type_of(const held *h) {
  switch (h->kind) {
  case HELD_STRING: return MNEME_VALUE_STRING;
  case HELD_NUMBER:
  case HELD_INTEGER: return MNEME_VALUE_NUMBER;
  case HELD_BOOL: return MNEME_VALUE_BOOL;
  case HELD_TIME: return MNEME_VALUE_TIME;
  case HELD_NULL: return MNEME_VALUE_NULL;
  default: return MNEME_VALUE_JSON;
  }
}

static bool equals_one(const held *h, const mneme_filter *f) {
  mneme_filter_type type = type_of(h);
  size_t low = 0, high = f->value_count;
  int order;
  while (low < high && type != MNEME_VALUE_JSON) {
    size_t middle = low + (high - low) / 2;
    const mneme_filter_value *v = &f->values[middle];
    if (v->type == type && compare(h, v, &order) && order == 0)
      return true;
    if (v->type < type || (v->type == type && order > 0))
      low = middle + 1;
    else
      high = middle;
  }
  for (; low < high; low++) /* lists and objects have no order */
    if (compare(h, &f->values[low], &order))
      return true;
  return false;
}

static bool has(const held *h, const mneme_filter_value *v) {
  if (h->kind == HELD_STRING)
    return v->type == MNEME_VALUE_STRING &&
           (v->text.size == 0 ||
            memmem(h->text.data, h->text.size, v->text.data, v->text.size) != NULL);
  if (h->kind != HELD_LIST)
    return false;
  mneme_bytes rest = h->text;
  stored_value element;
  int order;
  while (stored_next(&rest, &element)) {
    held e = of_stored(element);
    if (compare(&e, v, &order) && order == 0)
      return true;
  }
  return false;
}

/* --- Walking ------------------------------------------------------------- */

static bool holds_leaf(subject *s, const mneme_filter *f) {
  held h = s->record != NULL ? fetch_memory(s, f) : fetch_session(s, f);
  int order;
  if (h.kind == HELD_NOTHING)
    return false;
  switch (f->op) {
  case MNEME_FILTER_PRESENT: return true;
  case MNEME_FILTER_EQ: return equals_one(&h, f);
  case MNEME_FILTER_HAS: return has(&h, f->values);
  case MNEME_FILTER_LIKE: return h.kind == HELD_STRING && needle_in(f->host, h.text);
  case MNEME_FILTER_LT: return compare(&h, f->values, &order) && order < 0;
  case MNEME_FILTER_LE: return compare(&h, f->values, &order) && order <= 0;
  case MNEME_FILTER_GT: return compare(&h, f->values, &order) && order > 0;
  case MNEME_FILTER_GE: return compare(&h, f->values, &order) && order >= 0;
  default: return false;
  }
}

/* As deep as the tree: MNEME_FILTER_DEPTH_MAX. */
static bool holds(subject *s, const mneme_filter *f) {
  switch (f->op) {
  case MNEME_FILTER_AND:
    for (size_t i = 0; i < f->child_count; i++)
      if (!holds(s, f->children[i]))
        return false;
    return true;
  case MNEME_FILTER_OR:
    for (size_t i = 0; i < f->child_count; i++)
      if (holds(s, f->children[i]))
        return true;
    return false;
  case MNEME_FILTER_NOT: return !holds(s, f->children[0]);
  default: return holds_leaf(s, f);
  }
}

mneme_status filter_match(const mneme_filter *f, const mneme_record *r, bool *ret_match) {
  subject s = {.record = r, .status = MNEME_OK};
  bool match = f == NULL || holds(&s, f);
  if (s.status == MNEME_OK)
    *ret_match = match;
  return s.status;
}

bool filter_match_session(const mneme_filter *f, const mneme_header *h,
                          const wire_settings *settings) {
  subject s = {.header = h,
               .settings = settings,
               .has_metadata = settings->has_metadata,
               .metadata = settings->metadata};
  return f == NULL || holds(&s, f);
}
