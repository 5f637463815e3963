/* Random memories and filters on them, for test_filter_property: the filters as
 * text, with a note of what each of their comparisons is about. */
#ifndef TESTS_UNIT_FILTER_RANDOM_H
#define TESTS_UNIT_FILTER_RANDOM_H

#include "filter_store.h"

#define RANDOM_RECORDS 48
#define RANDOM_PATHS 8
#define RANDOM_LEAVES_MAX 8
#define RANDOM_NOW INT64_C(1767225600000000)

/* What the value of a comparison is: typed fields first, then metadata. */
typedef enum kind {
  IS_TEXT,
  IS_INTEGER,
  IS_REAL,
  IS_BOOL,
  IS_TIME,
  IS_TIER,
  IN_METADATA,
  META_TEXT = IN_METADATA,
  META_NUMBER,
  META_BOOL,
  META_NULL,
  META_LIST,
  META_OBJECT,
  META_ANY, /* of :* */
  KINDS
} kind;

typedef enum operator_ { EQ, NE, LT, LE, GT, GE, IN, HAS, LIKE, THERE, OPERATORS } operator_;

/* What a record has where a comparison looks. */
typedef enum held_state { PRESENT, IS_NULL, MISSING, OTHER, STATES } held_state;

typedef struct random_leaf {
  kind kind;
  operator_ op;
  mneme_filter_field field; /* typed */
  size_t path;              /* metadata */
  bool negated;             /* below an odd number of NOTs, that of != among them */
} random_leaf;

typedef struct random_filter {
  char text[4096];
  size_t size;
  random_leaf leaves[RANDOM_LEAVES_MAX];
  size_t leaf_count;
} random_filter;

typedef struct random_world {
  arena *arena;
  mneme_record records[RANDOM_RECORDS]; /* to be appended */
  pb_value *values[RANDOM_RECORDS][RANDOM_PATHS]; /* NULL = missing */
} random_world;

extern const char *const random_kinds[KINDS];
extern const char *const random_operators[OPERATORS];

void random_seed(uint64_t seed);
uint32_t random_below(uint32_t n);

void random_fill(random_world *w, arena *a);
/* stored = the records as the store has them. */
void random_make(const random_world *w, const mneme_record *stored, random_filter *f);
/* Whether a comparison of this kind and operator is in the language. */
bool random_applies(kind k, operator_ op);
/* And whether a record can be in this state for it. */
bool random_can_be(kind k, operator_ op, held_state state);
held_state random_state_of(const random_world *w, size_t record, const mneme_record *stored,
                           const random_leaf *leaf);

#endif
