/* Filters that the engine decides (MNEME_CAP_FILTER): trees built by hand, and
 * the memories that they match, written down by hand. Nothing here computes an
 * answer, so that no misunderstanding is made twice. The service's tests hold
 * generated filters against its own evaluator; these are the meaning itself. */
#include <string.h>

#include "conform.h"

#define FILTER_TEST(name, duties) \
  TEST_WITH(name, duties, MNEME_CAP_FILTER, "needs an engine that decides filters", 1)

/* --- Trees in a few words ------------------------------------------------- */

typedef mneme_filter_value value;

static value text(const char *s) {
  return (value){.type = MNEME_VALUE_STRING, .text = cf_bytes(s)};
}
static value json(const char *s) {
  return (value){.type = MNEME_VALUE_JSON, .text = cf_bytes(s)};
}
static value number(double n) { return (value){.type = MNEME_VALUE_NUMBER, .number = n}; }
static value boolean(bool b) { return (value){.type = MNEME_VALUE_BOOL, .boolean = b}; }
static value at(int64_t us) { return (value){.type = MNEME_VALUE_TIME, .time_us = us}; }
static value null(void) { return (value){.type = MNEME_VALUE_NULL}; }

static mneme_filter *node(mneme_filter_op op) {
  mneme_filter *f = cf_alloc(sizeof *f);
  f->op = op;
  return f;
}

static const mneme_filter *leaf_of(mneme_filter_field field, mneme_filter_op op, size_t count,
                                   const value *values) {
  mneme_filter *f = node(op);
  f->field = field;
  f->values = cf_copy(values, count * sizeof *values);
  f->value_count = count;
  return f;
}
#define LEAF(field, op, ...)                                                          \
  leaf_of(MNEME_FIELD_##field, MNEME_FILTER_##op, CF_COUNT(value, __VA_ARGS__), \
          (value[]){__VA_ARGS__})

static const mneme_filter *present(mneme_filter_field field) {
  mneme_filter *f = node(MNEME_FILTER_PRESENT);
  f->field = field;
  return f;
}

/* A leaf on metadata; the path's keys are split at "/". */
static const mneme_filter *meta_of(const char *path, mneme_filter_op op, size_t count,
                                   const value *values) {
  mneme_filter *f = node(op);
  mneme_bytes *keys = cf_alloc(MNEME_FILTER_PATH_MAX * sizeof *keys);
  f->field = MNEME_FIELD_METADATA;
  f->path = keys;
  for (const char *key = path; key != NULL;) {
    const char *end = strchr(key, '/');
    size_t size = end != NULL ? (size_t)(end - key) : strlen(key);
    keys[f->path_count++] = (mneme_bytes){cf_copy(key, size), size};
    key = end != NULL ? end + 1 : NULL;
  }
  if (count > 0) f->values = cf_copy(values, count * sizeof *values);
  f->value_count = count;
  return f;
}
#define META(path, op, ...)                                               \
  meta_of(path, MNEME_FILTER_##op, CF_COUNT(value, __VA_ARGS__), \
          (value[]){__VA_ARGS__})
#define META_PRESENT(path) meta_of(path, MNEME_FILTER_PRESENT, 0, NULL)

static const mneme_filter *joined(mneme_filter_op op, size_t count,
                                  const mneme_filter *const *children) {
  mneme_filter *f = node(op);
  f->children = cf_copy(children, count * sizeof(const mneme_filter *));
  f->child_count = count;
  return f;
}
#define JOIN(op, ...)                                                              \
  joined(MNEME_FILTER_##op, CF_COUNT(const mneme_filter *, __VA_ARGS__),  \
         (const mneme_filter *[]){__VA_ARGS__})
#define NOT(child) JOIN(NOT, child)

/* The ids of session "s" that match, in order. */
static const char *matching(const mneme_filter *filter) {
  mneme_read r = cf_reading("s");
  r.filter = filter;
  return cf_ids(OK(cf_read(&r)));
}

#define MATCHES(filter, ids)              \
  do {                                    \
    cf_context("%s", #filter);            \
    CHECK_TEXT(matching(filter), ids);    \
  } while (0)

/* --- Typed fields --------------------------------------------------------- */

static int64_t began_us;

/* "a" has every field, "b" none that may be missing, "c" others than "a". */
static void three(void) {
  began_us = cf_now();
  DO_IN("s", APPEND(R(.id = "a", .key = "ka", .kind = "fact", .role = "user", .author = "Zoë",
                      .source = "web", .body = "x", .tokens = 7, .tier = 3, .pinned = true,
                      .importance = 0.5, .expire_us = began_us + 1000 * CF_SECOND,
                      .event_us = 10 * CF_SECOND),
                    R(.id = "b", .event_us = MNEME_NO_EVENT)));
  cf_tick(CF_SECOND);
  DO_IN("s", APPEND(R(.id = "c", .key = "kb", .kind = "Fact", .role = "user2", .author = "Zo",
                      .source = "we", .tokens = 8, .tier = 1, .zero_importance = true,
                      .event_us = 0)),
        TOUCH(1));
}

FILTER_TEST(c48_text_fields, "C-48") {
  three();
  MATCHES(LEAF(ID, EQ, text("a")), "a");
  MATCHES(LEAF(ID, EQ, text("c"), text("zz"), text("a")), "a,c"); /* IN */
  MATCHES(NOT(LEAF(ID, EQ, text("a"))), "b,c");
  MATCHES(LEAF(KIND, EQ, text("fact")), "a"); /* bytes: case counts */
  MATCHES(LEAF(KIND, LT, text("fact")), "c");
  MATCHES(LEAF(KIND, LE, text("fact")), "a,c");
  MATCHES(LEAF(ROLE, GT, text("user")), "c");
  MATCHES(LEAF(ROLE, GE, text("user")), "a,c");
  MATCHES(LEAF(ROLE, HAS, text("ser2")), "c");
  MATCHES(LEAF(ROLE, HAS, text("USER")), "");
  MATCHES(LEAF(AUTHOR, EQ, text("Zoë")), "a");
  MATCHES(LEAF(AUTHOR, HAS, text("\xc3\xab")), "a");
  MATCHES(LEAF(AUTHOR, GT, text("Zoz")), "a"); /* 0xc3 is above 'z' */
  MATCHES(LEAF(SOURCE, HAS, text("we")), "a,c");
  MATCHES(LEAF(KEY, EQ, text("kb")), "c");
}

FILTER_TEST(c48_numbers_and_flags, "C-48") {
  three();
  MATCHES(LEAF(TOKEN_COUNT, GT, number(7)), "c");
  MATCHES(LEAF(TOKEN_COUNT, GE, number(7)), "a,c");
  MATCHES(LEAF(TOKEN_COUNT, LT, number(7.5)), "a,b");
  MATCHES(LEAF(TOKEN_COUNT, EQ, number(0), number(8)), "b,c");
  MATCHES(LEAF(SEQUENCE, LE, number(2)), "a,b");
  MATCHES(LEAF(ACCESS_COUNT, EQ, number(1)), "a");
  MATCHES(LEAF(ACCESS_COUNT, EQ, number(0)), "b,c"); /* a count is always there */
  MATCHES(LEAF(TIER, EQ, number(3)), "a");
  MATCHES(LEAF(IMPORTANCE, LT, number(0.5)), "c");
  MATCHES(LEAF(IMPORTANCE, GE, number(0)), "a,c");
  MATCHES(LEAF(PINNED, EQ, boolean(true)), "a");
  MATCHES(LEAF(PINNED, EQ, boolean(false)), "b,c");
  MATCHES(LEAF(PINNED, LT, boolean(true)), "b,c");
}

FILTER_TEST(c48_times, "C-48") {
  three();
  MATCHES(LEAF(CREATE_TIME, LE, at(began_us)), "a,b");
  MATCHES(LEAF(CREATE_TIME, GT, at(began_us)), "c");
  MATCHES(LEAF(UPDATE_TIME, EQ, at(began_us + CF_SECOND)), "c");
  MATCHES(LEAF(ACCESS_TIME, EQ, at(began_us + CF_SECOND)), "a");
  MATCHES(LEAF(EXPIRE_TIME, GE, at(began_us + 1000 * CF_SECOND)), "a");
  MATCHES(LEAF(EVENT_TIME, LT, at(CF_SECOND)), "c"); /* 0 is a day to tell of */
  MATCHES(LEAF(EVENT_TIME, GT, at(CF_SECOND)), "a");
}

FILTER_TEST(c48_what_is_missing_matches_nothing, "C-48") {
  three();
  MATCHES(present(MNEME_FIELD_KEY), "a,c");
  MATCHES(present(MNEME_FIELD_KIND), "a,c");
  MATCHES(present(MNEME_FIELD_ROLE), "a,c");
  MATCHES(present(MNEME_FIELD_AUTHOR), "a,c");
  MATCHES(present(MNEME_FIELD_SOURCE), "a,c");
  MATCHES(present(MNEME_FIELD_TIER), "a,c");
  MATCHES(present(MNEME_FIELD_IMPORTANCE), "a,c");
  MATCHES(present(MNEME_FIELD_ACCESS_TIME), "a");
  MATCHES(present(MNEME_FIELD_EXPIRE_TIME), "a");
  MATCHES(present(MNEME_FIELD_EVENT_TIME), "a,c");
  MATCHES(present(MNEME_FIELD_SEQUENCE), "a,b,c");
  MATCHES(NOT(present(MNEME_FIELD_ACCESS_TIME)), "b,c");
  /* False in both directions, and so true under NOT. */
  MATCHES(LEAF(KIND, LE, text("zzz")), "a,c");
  MATCHES(LEAF(KIND, GE, text("")), "a,c");
  MATCHES(NOT(LEAF(KIND, EQ, text("fact"))), "b,c");
  MATCHES(NOT(LEAF(KIND, LE, text("zzz"))), "b");
  MATCHES(NOT(LEAF(ROLE, HAS, text("u"))), "b");
  MATCHES(NOT(LEAF(IMPORTANCE, GE, number(0))), "b");
  MATCHES(NOT(LEAF(TIER, EQ, number(3))), "b,c");
  MATCHES(NOT(LEAF(ACCESS_TIME, GT, at(1))), "b,c");
  MATCHES(NOT(LEAF(EVENT_TIME, LT, at(CF_SECOND))), "a,b");
  MATCHES(NOT(NOT(LEAF(KIND, EQ, text("fact")))), "a");
}

FILTER_TEST(c48_and_or_not, "C-48") {
  three();
  const mneme_filter *fact = LEAF(KIND, EQ, text("fact"));
  const mneme_filter *pinned = LEAF(PINNED, EQ, boolean(true));
  const mneme_filter *heavy = LEAF(TOKEN_COUNT, GE, number(8));
  MATCHES(JOIN(AND, pinned, fact), "a");
  MATCHES(JOIN(AND, pinned, heavy), "");
  MATCHES(JOIN(OR, pinned, heavy), "a,c");
  MATCHES(JOIN(OR, fact, heavy, LEAF(ID, EQ, text("b"))), "a,b,c");
  MATCHES(JOIN(AND, NOT(fact), NOT(heavy)), "b");
  MATCHES(NOT(JOIN(AND, pinned, fact)), "b,c"); /* of what is missing too */
  MATCHES(NOT(JOIN(OR, fact, heavy)), "b");
  MATCHES(JOIN(OR, JOIN(AND, pinned, heavy), JOIN(AND, NOT(pinned), NOT(heavy))), "b");
  const mneme_filter *deep = fact;
  for (int i = 1; i < MNEME_FILTER_DEPTH_MAX; i++) deep = NOT(deep);
  MATCHES(deep, MNEME_FILTER_DEPTH_MAX % 2 == 0 ? "b,c" : "a");
}

/* The deepest chain of AND, OR and NOT around a leaf, whose answer it leaves as it is:
 * an engine that makes text of it must not run out of what parses the text. */
static const mneme_filter *wrapped(const mneme_filter *leaf, bool negated) {
  const mneme_filter *yes = LEAF(SEQUENCE, GE, number(0)), *no = LEAF(SEQUENCE, LT, number(0));
  const mneme_filter *f = leaf;
  for (int depth = 1; depth < MNEME_FILTER_DEPTH_MAX; depth++) {
    if (negated && depth % 2 == 0)
      f = NOT(f);
    else
      f = depth % 4 == 1 ? JOIN(AND, yes, f) : JOIN(OR, no, f);
  }
  return f;
}

/* A tree of n leaves on each of two sides, as deep as it is wide. */
static const mneme_filter *doubled(const mneme_filter *leaf, int levels) {
  if (levels == 0) return leaf;
  const mneme_filter *under = doubled(leaf, levels - 1);
  return levels % 2 == 0 ? JOIN(AND, under, under) : JOIN(OR, under, under);
}

FILTER_TEST(c48_trees_as_deep_as_are_allowed, "C-48") {
  DO_IN("s", APPEND(R(.id = "a", .kind = "fact", .metadata = "{\"k\":[\"x\"],\"q\\\"\":[\"x\"]}"),
                    R(.id = "b", .kind = "note", .metadata = "{\"k\":[\"y\"]}")));
  const mneme_filter *leaves[] = {LEAF(KIND, EQ, text("fact")), META("k", HAS, text("x")),
                                  META("q\"", HAS, text("x"))};
  for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
    MATCHES(wrapped(leaves[i], false), "a");
    MATCHES(wrapped(leaves[i], true), MNEME_FILTER_DEPTH_MAX / 2 % 2 == 0 ? "b" : "a");
    MATCHES(doubled(leaves[i], 8), "a");
    const mneme_filter *both = doubled(leaves[i], 7);
    for (int n = 0; n < 22; n++) both = NOT(both);
    MATCHES(both, "a");
  }
}

FILTER_TEST(c48_as_many_values_and_nodes_as_are_allowed, "C-48") {
  three();
  value many[MNEME_FILTER_VALUES_MAX];
  for (int i = 0; i < MNEME_FILTER_VALUES_MAX; i++) many[i] = text(cf_text("no%d", i));
  many[MNEME_FILTER_VALUES_MAX - 1] = text("c");
  CHECK_TEXT(matching(leaf_of(MNEME_FIELD_ID, MNEME_FILTER_EQ, MNEME_FILTER_VALUES_MAX, many)),
             "c");
  const mneme_filter *wide[MNEME_FILTER_NODES_MAX - 1];
  for (int i = 0; i < MNEME_FILTER_NODES_MAX - 1; i++)
    wide[i] = LEAF(TOKEN_COUNT, EQ, number(i + 8));
  CHECK_TEXT(matching(joined(MNEME_FILTER_OR, MNEME_FILTER_NODES_MAX - 1, wide)), "c");
}

/* --- Metadata ------------------------------------------------------------- */

FILTER_TEST(c48_metadata_by_type, "C-48") {
  DO_IN("s", APPEND(R(.id = "text", .metadata = "{\"v\":\"7\"}"),
                    R(.id = "number", .metadata = "{\"v\":7}"),
                    R(.id = "one", .metadata = "{\"v\":1}"),
                    R(.id = "true", .metadata = "{\"v\":true}"),
                    R(.id = "null", .metadata = "{\"v\":null}"),
                    R(.id = "list", .metadata = "{\"v\":[1,\"7\",[2],{\"a\":null},null,true]}"),
                    R(.id = "object", .metadata = "{\"v\":{\"a\":1,\"b\":[]}}"),
                    R(.id = "other", .metadata = "{\"w\":7}"), R(.id = "none")));
  MATCHES(META("v", EQ, text("7")), "text");
  MATCHES(META("v", EQ, number(7)), "number");
  MATCHES(META("v", EQ, number(1)), "one"); /* true is no number */
  MATCHES(META("v", EQ, boolean(true)), "true");
  MATCHES(META("v", EQ, boolean(false)), "");
  MATCHES(META("v", LT, boolean(true)), "");
  MATCHES(META("v", GE, boolean(false)), "true");
  MATCHES(META("v", EQ, null()), "null");
  MATCHES(META("v", EQ, json("{\"a\":1,\"b\":[]}")), "object");
  MATCHES(META("v", EQ, json("[1,\"7\",[2],{\"a\":null},null,true]")), "list");
  MATCHES(META("v", EQ, json("[1]")), "");
  MATCHES(META("v", EQ, json("[]"), number(7), text("7")), "text,number");
  MATCHES(META("v", GT, number(0)), "number,one");
  MATCHES(META("v", LT, text("8")), "text");
  MATCHES(META_PRESENT("v"), "text,number,one,true,null,list,object");
  MATCHES(NOT(META_PRESENT("v")), "other,none");
  MATCHES(NOT(META("v", EQ, number(7))), "text,one,true,null,list,object,other,none");
  MATCHES(NOT(META("v", GE, number(0))), "text,true,null,list,object,other,none");
  MATCHES(META("v", HAS, text("7")), "text,list"); /* a substring, an element */
  MATCHES(META("v", HAS, number(1)), "list");
  MATCHES(META("v", HAS, boolean(true)), "list");
  MATCHES(META("v", HAS, null()), "list");
  MATCHES(META("v", HAS, json("[2]")), "list");
  MATCHES(META("v", HAS, json("{\"a\":null}")), "list");
  MATCHES(META("v", HAS, number(2)), ""); /* an element's element is none */
  MATCHES(META("v", HAS, text("a")), ""); /* nor is a key */
}

/* Keys that a path expression of an engine may not be able to name. */
FILTER_TEST(c48_metadata_paths, "C-48") {
  DO_IN("s", APPEND(R(.id = "deep", .metadata = "{\"a\":{\"b\":{\"c\":\"x\"}}}"),
                    R(.id = "dots", .metadata = "{\"a.b\":{\"c\":\"x\"}}"),
                    R(.id = "quote", .metadata = "{\"q\\\"q\":\"x\"}"),
                    R(.id = "slash", .metadata = "{\"b\\\\s\":\"x\"}"),
                    R(.id = "control", .metadata = "{\"t\\u0009t\":\"x\"}"),
                    R(.id = "raw", .metadata = "{\"naïve\":\"é\"}"),
                    R(.id = "list", .metadata = "{\"l\":[{\"k\":\"x\"},\"x\"]}"),
                    R(.id = "empty", .metadata = "{\"\":\"x\",\"[0]\":\"x\",\"$\":\"x\"}"),
                    R(.id = "number", .metadata = "{\"l\":{\"0\":\"x\"}}")));
  MATCHES(META("a/b/c", EQ, text("x")), "deep");
  MATCHES(META("a.b/c", EQ, text("x")), "dots");
  MATCHES(META("a/b", EQ, json("{\"c\":\"x\"}")), "deep");
  MATCHES(META("q\"q", EQ, text("x")), "quote");
  MATCHES(META("b\\s", EQ, text("x")), "slash");
  MATCHES(META("t\tt", EQ, text("x")), "control");
  MATCHES(META("na\xc3\xafve", EQ, text("é")), "raw");
  MATCHES(META("", EQ, text("x")), "empty");
  MATCHES(META("[0]", EQ, text("x")), "empty");
  MATCHES(META("$", EQ, text("x")), "empty");
  MATCHES(META("l/0", EQ, text("x")), "number"); /* paths go through objects only */
  MATCHES(META("l/k", EQ, text("x")), "");
  MATCHES(META("a/b/c/d", EQ, text("x")), "");
  MATCHES(META_PRESENT("a/b/c/d"), "");
  MATCHES(NOT(META("a/b/c", EQ, text("x"))),
          "dots,quote,slash,control,raw,list,empty,number");
}

FILTER_TEST(c48_metadata_values, "C-48") {
  DO_IN("s", APPEND(R(.id = "a", .metadata = "{\"n\":0.1,\"s\":\"\"}"),
                    R(.id = "b", .metadata = "{\"n\":-1e+300,\"s\":\"it's \\\"x\\\"\"}"),
                    R(.id = "c", .metadata = "{\"n\":9007199254740991,\"s\":\"a\\u0001b\"}"),
                    R(.id = "d", .metadata = "{\"n\":0,\"s\":\"%_\"}")));
  MATCHES(META("n", EQ, number(0.1)), "a");
  MATCHES(META("n", LT, number(0)), "b");
  MATCHES(META("n", EQ, number(-0.0)), "d");
  MATCHES(META("n", GE, number(9007199254740991.0)), "c");
  MATCHES(META("s", EQ, text("")), "a");
  MATCHES(META("s", EQ, text("it's \"x\"")), "b");
  MATCHES(META("s", EQ, text("a\x01" "b")), "c");
  MATCHES(META("s", HAS, text("")), "a,b,c,d");
  MATCHES(META("s", HAS, text("%")), "d"); /* no pattern */
  MATCHES(META("s", HAS, text("\"x")), "b");
}

/* --- Limits count what matches -------------------------------------------- */

FILTER_TEST(c48_limits_count_matches, "C-48 C-22") {
  cf_rec recs[300];
  for (int i = 0; i < 300; i++)
    recs[i] = R(.id = cf_text("%03d", i), .key = cf_text("k%03d", 299 - i), .body = "12345",
                .role = i % 100 == 7 ? "user" : "tool");
  mneme_step step = cf_step_append(300, recs);
  OK(cf_do(cf_plain("s"), 1, &step));
  mneme_read r = cf_reading("s");
  r.filter = LEAF(ROLE, EQ, text("user"));
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "007,107,207");
  r.limit = 2;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "007,107");
  r.descending = true;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "207,107");
  r.last = 200;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "107,007");
  r.limit = 0;
  r.byte_limit = 33; /* a matching one has 5 + 3 + 4 + 4 bytes */
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "107,007");
  r.byte_limit = 31;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "107");
  r = cf_reading("s");
  r.filter = LEAF(ROLE, EQ, text("user"));
  r.select = MNEME_SELECT_KEYS;
  r.limit = 2;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "207,107");
  r.after_key = cf_bytes("k092");
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "107,007");
  r = cf_reading("s");
  r.filter = LEAF(ROLE, EQ, text("user"));
  const mneme_bytes ids[] = {cf_bytes("107"), cf_bytes("108"), cf_bytes("007"), cf_bytes("xx")};
  r.select = MNEME_SELECT_IDS;
  r.names = ids;
  r.name_count = 4;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "107,007");
  r.limit = 1;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "107");
}

/* A filter sees what is live, as it is now. */
FILTER_TEST(c48_filters_see_what_is_live, "C-48 C-35") {
  DO_IN("s", APPEND(R(.id = "a", .kind = "k", .ttl_us = 5), R(.id = "b", .kind = "k"),
                    R(.id = "c", .metadata = "{\"v\":1}"), R(.id = "d", .kind = "k")));
  const mneme_filter *k = LEAF(KIND, EQ, text("k"));
  MATCHES(k, "a,b,d");
  cf_tick(5);
  DO_IN("s", IDS("d"));
  MATCHES(k, "b");
  DO_IN("s", PUT(2, 1, R(.id = "b", .kind = "other", .metadata = "{\"v\":1}")));
  MATCHES(k, "");
  MATCHES(META("v", EQ, number(1)), "b,c");
  DO_IN("s", PUT(3, 1, R(.id = "c", .kind = "k")));
  MATCHES(k, "c");
  MATCHES(META("v", EQ, number(1)), "b");
}
