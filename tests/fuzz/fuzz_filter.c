/* The filter language against any text. A refusal has a byte within the text, a
 * reason and the field; a tree keeps to what mneme/filter.h promises engines. On a
 * few memories and a session, what is pushed is never narrower than the whole, and
 * with the rest it is the whole; NOT is the opposite. */
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "filter/filter.h"
#include "record/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_MAX (64 * 1024 * 1024)
#define NOW INT64_C(1767225600000000)
#define RECORDS 3

static void must(bool holds) {
  if (!holds)
    abort();
}

/* --- Trees --------------------------------------------------------------- */

static int order_of(const mneme_filter_value *a, const mneme_filter_value *b) {
  if (a->type != b->type)
    return a->type < b->type ? -1 : 1;
  return a->type == MNEME_VALUE_NUMBER ? (a->number > b->number) - (a->number < b->number) : -1;
}

static void check_leaf(const mneme_filter *f) {
  must(f->child_count == 0 && f->field != 0);
  must((f->op == MNEME_FILTER_PRESENT) == (f->value_count == 0));
  must(f->op == MNEME_FILTER_EQ || f->value_count <= 1);
  must(f->value_count <= FILTER_IN_MAX && f->path_count <= MNEME_FILTER_PATH_MAX);
  must((f->field == MNEME_FIELD_METADATA || f->field == MNEME_FIELD_LABELS) ==
       (f->path_count > 0));
  must((f->op == MNEME_FILTER_LIKE) == (f->host != NULL));
  for (size_t i = 1; i < f->value_count; i++)
    must(order_of(&f->values[i - 1], &f->values[i]) < 0);
}

static void check_tree(const mneme_filter *f, size_t size, int depth, size_t *nodes,
                       size_t *values) {
  ++*nodes;
  *values += f->value_count;
  must(depth <= MNEME_FILTER_DEPTH_MAX && f->position < size);
  bool joins = f->op == MNEME_FILTER_AND || f->op == MNEME_FILTER_OR;
  if (!joins && f->op != MNEME_FILTER_NOT) {
    check_leaf(f);
    return;
  }
  must(joins ? f->child_count >= 2 : f->child_count == 1);
  must(joins || f->children[0]->op != MNEME_FILTER_NOT);
  for (size_t i = 0; i < f->child_count; i++)
    check_tree(f->children[i], size, depth + 1, nodes, values);
}

/* --- Evaluation ---------------------------------------------------------- */

/* "My name is Bob", and {"a":{"b":1}}. */
static const char body[] = "\x4a\x0eMy name is Bob\x5a\x19\x0a\x17\x0a\x01"
                           "a\x12\x12\x2a\x10\x0a\x0e\x0a\x01"
                           "b\x12\x09\x11\0\0\0\0\0\0\xf0\x3f";

static void make_records(arena *a, mneme_record *records) {
  for (int i = 0; i < RECORDS; i++) {
    size_t payload = i == 0 ? 0 : i == 1 ? 16 : sizeof body - 1;
    uint8_t *bytes = record_body_new(a, payload);
    must(bytes != NULL);
    memcpy(bytes + RECORD_PREFIX, body, payload);
    records[i] = (mneme_record){.sequence = i + 1,
                                .create_us = NOW - i * INT64_C(86400000000),
                                .update_us = NOW,
                                .event_us = i == 0 ? MNEME_NO_EVENT : 0,
                                .id = {"a", 1},
                                .role = {"user", i == 0 ? 0 : 4},
                                .tier = i,
                                .pinned = i == 1,
                                .has_importance = i == 2,
                                .importance = 0.5,
                                .body = {(char *)bytes, RECORD_PREFIX + payload}};
    record_seal(&records[i]);
  }
}

static bool match(const mneme_filter *f, const mneme_record *r) {
  bool match = false;
  must(filter_match(f, r, &match) == MNEME_OK);
  return match;
}

static bool is_pushable(const mneme_filter *f) {
  if (f == NULL)
    return true;
  for (size_t i = 0; i < f->child_count; i++)
    if (!is_pushable(f->children[i]))
      return false;
  return f->op != MNEME_FILTER_LIKE && f->field < MNEME_FIELD_CONTENT;
}

static void evaluate(arena *a, const mneme_filter *f) {
  mneme_record records[RECORDS];
  const mneme_filter *pushed, *rest;
  mneme_filter not = {.op = MNEME_FILTER_NOT, .children = &f, .child_count = 1};
  make_records(a, records);
  must(filter_split(a, f, &pushed, &rest));
  must(is_pushable(pushed));
  for (int i = 0; i < RECORDS; i++) {
    bool whole = match(f, &records[i]);
    must(!whole || match(pushed, &records[i]));
    must(whole == (match(pushed, &records[i]) && match(rest, &records[i])));
    must(f == NULL || match(&not, &records[i]) != whole);
  }
}

static void evaluate_session(const mneme_filter *f) {
  static const wire_label labels[] = {{{"app", 3}, {"demo", 4}}};
  const wire_settings settings = {.labels = labels, .label_count = 1};
  const mneme_header header = {.session = {"a/b", 3}, .create_us = 1, .update_us = NOW};
  mneme_filter not = {.op = MNEME_FILTER_NOT, .children = &f, .child_count = 1};
  bool matches = filter_match_session(f, &header, &settings);
  must(f == NULL || matches != filter_match_session(&not, &header, &settings));
}

/* ------------------------------------------------------------------------- */

static void check_refusal(const error *e, size_t size) {
  must(e->code == CODE_INVALID_ARGUMENT && strcmp(e->field, "filter") == 0);
  must(strcmp(e->reason, "FILTER_INVALID") == 0 || strcmp(e->reason, "TOO_LARGE") == 0);
  must(strncmp(e->message, "filter: byte ", 13) == 0 && e->metadata_count == 1);
  unsigned long byte = strtoul(e->metadata[0].value, NULL, 10);
  must(byte >= 1 && byte <= size + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static arena a;
  /* The wire check has passed what comes here. */
  if (memchr(data, 0, size) != NULL || u8_check(data, size) != NULL)
    return 0;
  const mneme_bytes text = {(const char *)data, size};
  for (int sessions = 0; sessions < 2; sessions++) {
    const mneme_filter *f = NULL;
    error e = {0};
    size_t nodes = 0, values = 0;
    arena_init(&a, ARENA_MAX);
    const filter_fields *fields = sessions ? &filter_of_sessions : &filter_of_memories;
    if (!filter_parse(&a, text, fields, NOW, &f, &e)) {
      check_refusal(&e, size);
    } else {
      if (f != NULL)
        check_tree(f, size, 1, &nodes, &values);
      must(nodes <= MNEME_FILTER_NODES_MAX && values < 20000);
      if (sessions)
        evaluate_session(f);
      else
        evaluate(&a, f);
    }
    arena_clear(&a);
  }
  return 0;
}
