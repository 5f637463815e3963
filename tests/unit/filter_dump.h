/* A filter's tree as text, for tests: (and (= role "user") (not (< sequence 5))). */
#ifndef TESTS_UNIT_FILTER_DUMP_H
#define TESTS_UNIT_FILTER_DUMP_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mneme/filter.h"

typedef struct dump {
  char text[16384];
  size_t size;
} dump;

#define PUT(d, ...)                                                                              \
  ((d)->size += (size_t)snprintf((d)->text + (d)->size, sizeof(d)->text - (d)->size, __VA_ARGS__))

static inline const char *dump_field(mneme_filter_field field) {
  static const char *const names[] = {
      "?",           "id",           "key",         "kind",        "role",       "author",
      "source",      "tier",         "importance",  "pinned",      "sequence",   "token_count",
      "access_count", "create_time", "update_time", "access_time", "expire_time", "event_time",
      "metadata"};
  return field == MNEME_FIELD_CONTENT  ? "content"
         : field == MNEME_FIELD_LABELS ? "labels"
                                       : names[field];
}

static inline const char *dump_op(mneme_filter_op op) {
  static const char *const names[] = {"?",  "and", "or", "not", "=", "<",
                                      "<=", ">",   ">=", ":",   "present"};
  return op == MNEME_FILTER_LIKE ? "~" : names[op];
}

static inline void dump_value(dump *d, const mneme_filter_value *v) {
  switch (v->type) {
  case MNEME_VALUE_STRING: PUT(d, " \"%.*s\"", (int)v->text.size, v->text.data); break;
  case MNEME_VALUE_NUMBER: PUT(d, " %.17g", v->number); break;
  case MNEME_VALUE_BOOL: PUT(d, " %s", v->boolean ? "true" : "false"); break;
  case MNEME_VALUE_TIME: PUT(d, " @%" PRId64, v->time_us); break;
  case MNEME_VALUE_NULL: PUT(d, " null"); break;
  case MNEME_VALUE_JSON: PUT(d, " %.*s", (int)v->text.size, v->text.data); break;
  }
}

static inline void dump_node(dump *d, const mneme_filter *f) {
  if (f == NULL) {
    PUT(d, "everything");
    return;
  }
  PUT(d, "(%s", dump_op(f->op));
  for (size_t i = 0; i < f->child_count; i++) {
    PUT(d, " ");
    dump_node(d, f->children[i]);
  }
  if (f->child_count == 0) {
    PUT(d, " %s", dump_field(f->field));
    for (size_t i = 0; i < f->path_count; i++)
      PUT(d, "/%.*s", (int)f->path[i].size, f->path[i].data);
    for (size_t i = 0; i < f->value_count; i++)
      dump_value(d, &f->values[i]);
  }
  PUT(d, ")");
}

/* Valid until the next one. */
static inline const char *dump_filter(const mneme_filter *f) {
  static dump d;
  d.size = 0;
  d.text[0] = '\0';
  dump_node(&d, f);
  return d.text;
}

#endif
