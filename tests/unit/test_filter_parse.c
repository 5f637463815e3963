/* The parser: what a text becomes, and for every refusal its reason, its byte and
 * what it says. */
#include <stdio.h>
#include <string.h>

#include "cmocka_test.h"
#include "filter/filter.h"
#include "filter_dump.h"

#define NOW INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */

static arena shared;

static int begin(void **state) {
  (void)state;
  arena_init(&shared, 64 * 1024 * 1024);
  return 0;
}

static int end(void **state) {
  (void)state;
  arena_clear(&shared);
  return 0;
}

static bool parse(const char *text, const filter_fields *fields, const mneme_filter **ret,
                  error *e) {
  *e = (error){0};
  return filter_parse(&shared, mneme_bytes_of(text, strlen(text)), fields, NOW, ret, e);
}

typedef struct row {
  const char *text;
  const char *becomes;
} row;

static void check(const row *rows, size_t count, const filter_fields *fields) {
  for (size_t i = 0; i < count; i++) {
    const mneme_filter *f = (void *)1;
    error e;
    if (!parse(rows[i].text, fields, &f, &e))
      fail_msg("%s: %s", rows[i].text, e.message);
    if (strcmp(dump_filter(f), rows[i].becomes) != 0)
      fail_msg("%s\n  is %s\n  not %s", rows[i].text, dump_filter(f), rows[i].becomes);
  }
}

#define CHECK(rows, fields) check(rows, sizeof rows / sizeof *rows, fields)

static void structure(void **state) {
  (void)state;
  static const row rows[] = {
      {"", "everything"},
      {" \t\r\n", "everything"},
      {"role = \"user\"", "(= role \"user\")"},
      {"role=\"user\"", "(= role \"user\")"},
      {"role = 'user'", "(= role \"user\")"},
      {"role != \"user\"", "(not (= role \"user\"))"},
      {"NOT role = \"user\"", "(not (= role \"user\"))"},
      {"NOT role != \"user\"", "(= role \"user\")"},
      {"NOT NOT role = \"user\"", "(= role \"user\")"},
      {"NOT NOT NOT role = \"user\"", "(not (= role \"user\"))"},
      {"NOT (NOT pinned = true)", "(= pinned true)"},
      {"NOT(pinned = true)", "(not (= pinned true))"},
      {"id = \"a\" AND key = \"b\"", "(and (= id \"a\") (= key \"b\"))"},
      {"id = \"a\" AND key = \"b\" AND kind = \"c\"",
       "(and (= id \"a\") (= key \"b\") (= kind \"c\"))"},
      {"id = \"a\" OR key = \"b\" OR kind = \"c\"",
       "(or (= id \"a\") (= key \"b\") (= kind \"c\"))"},
      {"NOT id = \"a\" AND key = \"b\"", "(and (not (= id \"a\")) (= key \"b\"))"},
      {"NOT (id = \"a\" AND key = \"b\")", "(not (and (= id \"a\") (= key \"b\")))"},
      {"(id = \"a\")", "(= id \"a\")"},
      {"((id = \"a\"))", "(= id \"a\")"},
      {"(id = \"a\" OR key = \"b\") AND kind = \"c\"",
       "(and (or (= id \"a\") (= key \"b\")) (= kind \"c\"))"},
      {"id = \"a\" AND (key = \"b\" OR kind = \"c\")",
       "(and (= id \"a\") (or (= key \"b\") (= kind \"c\")))"},
      {"(id = \"a\" AND key = \"b\") AND kind = \"c\"",
       "(and (and (= id \"a\") (= key \"b\")) (= kind \"c\"))"},
      {"id=\"a\"AND(key=\"b\")", "(and (= id \"a\") (= key \"b\"))"},
      {"\nid\t=\r\n\"a\" ", "(= id \"a\")"},
  };
  CHECK(rows, &filter_of_memories);
}

static void operators_and_fields(void **state) {
  (void)state;
  static const row rows[] = {
      {"author < \"b\"", "(< author \"b\")"},
      {"source <= \"b\"", "(<= source \"b\")"},
      {"kind > \"b\"", "(> kind \"b\")"},
      {"key >= \"b\"", "(>= key \"b\")"},
      {"content : \"b\"", "(: content \"b\")"},
      {"content ~ \"Straße\"", "(~ content \"Straße\")"},
      {"role:*", "(present role)"},
      {"role : *", "(present role)"},
      {"pinned:*", "(present pinned)"},
      {"tier:*", "(present tier)"},
      {"metadata.a:*", "(present metadata/a)"},
      {"NOT key:*", "(not (present key))"},
      {"role : \"*\"", "(: role \"*\")"},
      {"pinned = true", "(= pinned true)"},
      {"pinned < true", "(< pinned true)"},
      {"pinned IN (true, false, true)", "(= pinned false true)"},
      {"importance >= 0.7", "(>= importance 0.69999999999999996)"},
      {"importance = -0", "(= importance -0)"},
      {"sequence > 9007199254740992", "(> sequence 9007199254740992)"},
      {"token_count <= 1e3", "(<= token_count 1000)"},
      {"access_count != 0", "(not (= access_count 0))"},
      {"sequence IN (3, 1, 2.5, 1, 1.0)", "(= sequence 1 2.5 3)"},
      {"tier = LONG_TERM", "(= tier 3)"},
      {"tier = \"SHORT_TERM\"", "(= tier 2)"},
      {"tier = TIER_SENSORY", "(= tier 1)"},
      {"tier = 'TIER_LONG_TERM'", "(= tier 3)"},
      {"tier IN (LONG_TERM, \"SENSORY\")", "(= tier 1 3)"},
      {"tier != LONG_TERM", "(not (= tier 3))"},
      {"role IN (\"b\")", "(= role \"b\")"},
      {"role IN (\"b\", 'a', \"\", \"b\")", "(= role \"\" \"a\" \"b\")"},
      {"NOT role IN (\"b\")", "(not (= role \"b\"))"},
      {"NOT role IN(\"b\")AND pinned=true", "(and (not (= role \"b\")) (= pinned true))"},
  };
  CHECK(rows, &filter_of_memories);
}

static void times(void **state) {
  (void)state;
  static const row rows[] = {
      {"create_time > \"2026-01-01T00:00:00Z\"", "(> create_time @1767225600000000)"},
      {"create_time > 2026-01-01T00:00:00Z", "(> create_time @1767225600000000)"},
      {"create_time > 2026-01-01t01:30:00z", "(> create_time @1767231000000000)"},
      {"create_time = 2026-01-01T01:00:00+01:00", "(= create_time @1767225600000000)"},
      {"create_time = 2025-12-31T19:30:00-04:30", "(= create_time @1767225600000000)"},
      {"update_time < \"2026-01-01T00:00:00.5Z\"", "(< update_time @1767225600500000)"},
      {"update_time < 2026-01-01T00:00:00.000001Z", "(< update_time @1767225600000001)"},
      {"update_time < 2026-01-01T00:00:00.123456000Z", "(< update_time @1767225600123456)"},
      {"event_time >= 1970-01-01T00:00:00Z", "(>= event_time @0)"},
      {"event_time >= 1969-12-31T23:59:59.999999Z", "(>= event_time @-1)"},
      {"event_time >= 0001-01-01T00:00:00Z", "(>= event_time @-62135596800000000)"},
      {"event_time <= 9999-12-31T23:59:59.999999Z", "(<= event_time @253402300799999999)"},
      {"event_time = 2000-02-29T00:00:00Z", "(= event_time @951782400000000)"},
      {"last_access_time:*", "(present access_time)"},
      {"NOT expire_time:*", "(not (present expire_time))"},
      {"expire_time IN (2026-01-01T00:00:00Z, \"1970-01-01T00:00:00Z\")",
       "(= expire_time @0 @1767225600000000)"},
      {"age(create_time) > 1d", "(< create_time @1767139200000000)"},
      {"age(create_time) >= 1d", "(<= create_time @1767139200000000)"},
      {"age(create_time) < 1h30m", "(> create_time @1767220200000000)"},
      {"age(create_time) <= 500ms", "(>= create_time @1767225599500000)"},
      {"age(last_access_time) > 0s", "(< access_time @1767225600000000)"},
      {"age(create_time) > 3us", "(< create_time @1767225599999997)"},
      {"age ( create_time ) > 3652500d", "(< create_time @-313808774400000000)"},
      {"NOT age(expire_time)<1s", "(not (> expire_time @1767225599000000))"},
  };
  CHECK(rows, &filter_of_memories);
}

static void metadata(void **state) {
  (void)state;
  static const row rows[] = {
      {"metadata.a = \"x\"", "(= metadata/a \"x\")"},
      {"metadata.a.b.c = 1", "(= metadata/a/b/c 1)"},
      {"metadata.\"a.b\".c = 1", "(= metadata/a.b/c 1)"},
      {"metadata.'a b' = 1", "(= metadata/a b 1)"},
      {"metadata.\"\" = 1", "(= metadata/ 1)"},
      {"metadata.\"a\\\"b\" = 1", "(= metadata/a\"b 1)"},
      {"metadata.user-id = 1", "(= metadata/user-id 1)"},
      {"metadata.2024 = 1", "(= metadata/2024 1)"},
      {"metadata._x = 1", "(= metadata/_x 1)"},
      {"metadata.AND = 1", "(= metadata/AND 1)"},
      {"metadata.\"\\u00e9\" = 1", "(= metadata/\xc3\xa9 1)"},
      {"metadata.a = true", "(= metadata/a true)"},
      {"metadata.a = null", "(= metadata/a null)"},
      {"metadata.a != null", "(not (= metadata/a null))"},
      {"metadata.a < 5", "(< metadata/a 5)"},
      {"metadata.a < true", "(< metadata/a true)"},
      {"metadata.a < \"5\"", "(< metadata/a \"5\")"},
      {"metadata.a : \"x\"", "(: metadata/a \"x\")"},
      {"metadata.a : 5", "(: metadata/a 5)"},
      {"metadata.a : null", "(: metadata/a null)"},
      {"metadata.a : [1]", "(: metadata/a [1])"},
      {"metadata.a ~ \"x\"", "(~ metadata/a \"x\")"},
      {"metadata.a = [ ]", "(= metadata/a [])"},
      {"metadata.a = {}", "(= metadata/a {})"},
      {"metadata.a = [1, \"b\", true, null, [2.50], {\"k\" : -0}]",
       "(= metadata/a [1,\"b\",true,null,[2.5],{\"k\":0}])"},
      {"metadata.a = {\"b\":1,\"a\":{'z':[],\"A\":2}}",
       "(= metadata/a {\"a\":{\"A\":2,\"z\":[]},\"b\":1})"},
      {"metadata.a = [\"\\u0001\\n\\\"\\\\\\/\"]",
       "(= metadata/a [\"\\u0001\\u000a\\\"\\\\/\"])"},
      {"metadata.a = [\"\\ud83d\\ude00\"]", "(= metadata/a [\"\xf0\x9f\x98\x80\"])"},
      {"metadata.a IN (true, \"x\", 2, null, [1], 1, false, \"x\")",
       "(= metadata/a \"x\" 1 2 false true null [1])"},
      {"metadata.a = 'it\\'s \"x\"'", "(= metadata/a \"it's \"x\"\")"},
      {"metadata.a = \"tab\\tend\"", "(= metadata/a \"tab\tend\")"},
  };
  CHECK(rows, &filter_of_memories);
}

static void numbers(void **state) {
  (void)state;
  static const row rows[] = {
      {"metadata.a = 0", "(= metadata/a 0)"},
      {"metadata.a = 0.1", "(= metadata/a 0.10000000000000001)"},
      {"metadata.a = 0.10", "(= metadata/a 0.10000000000000001)"},
      {"metadata.a = 0.30000000000000004", "(= metadata/a 0.30000000000000004)"},
      {"metadata.a = 9007199254740991", "(= metadata/a 9007199254740991)"},
      {"metadata.a = 9007199254740994", "(= metadata/a 9007199254740994)"},
      {"metadata.a = 36028797018963968", "(= metadata/a 36028797018963968)"},
      {"metadata.a = 18446744073709551616", "(= metadata/a 1.8446744073709552e+19)"},
      {"metadata.a = 1e22", "(= metadata/a 1e+22)"},
      {"metadata.a = 1E-7", "(= metadata/a 9.9999999999999995e-08)"},
      {"metadata.a = 1.5e+2", "(= metadata/a 150)"},
      {"metadata.a = 5e-324", "(= metadata/a 4.9406564584124654e-324)"},
      {"metadata.a = 1.7976931348623157e308", "(= metadata/a 1.7976931348623157e+308)"},
      {"metadata.a = 0e999999999999999999999", "(= metadata/a 0)"},
      {"metadata.a = 0.5000000000000000000000000000000", "(= metadata/a 0.5)"},
      {"metadata.a = 123456789012345683968", "(= metadata/a 1.2345678901234568e+20)"},
      {"metadata.a = 1e23", "(= metadata/a 9.9999999999999992e+22)"},
  };
  CHECK(rows, &filter_of_memories);
}

static void sessions(void **state) {
  (void)state;
  static const row rows[] = {
      {"id : \"a/\"", "(: id \"a/\")"},
      {"labels.env = \"prod\"", "(= labels/env \"prod\")"},
      {"labels.\"a.b/c\" IN (\"x\", \"y\")", "(= labels/a.b/c \"x\" \"y\")"},
      {"labels.env:*", "(present labels/env)"},
      {"labels.env ~ \"P\"", "(~ labels/env \"P\")"},
      {"metadata.a.b > 3", "(> metadata/a/b 3)"},
      {"age(update_time) > 1d", "(< update_time @1767139200000000)"},
      {"NOT expire_time:* AND create_time < 2026-01-01T00:00:00Z",
       "(and (not (present expire_time)) (< create_time @1767225600000000))"},
  };
  CHECK(rows, &filter_of_sessions);
}

static void positions_are_kept(void **state) {
  (void)state;
  const mneme_filter *f;
  error e;
  assert_true(parse("  (NOT role = \"a\" AND key != \"b\") OR age(event_time) > 1d",
                    &filter_of_memories, &f, &e));
  assert_int_equal(f->position, 2);
  assert_int_equal(f->children[0]->position, 3);
  assert_int_equal(f->children[0]->children[0]->position, 3);
  assert_int_equal(f->children[0]->children[0]->children[0]->position, 7);
  assert_int_equal(f->children[0]->children[1]->position, 22);
  assert_int_equal(f->children[1]->position, 37);
}

/* --- Refusals ------------------------------------------------------------ */

typedef struct refusal {
  const char *text;
  size_t byte; /* from 1 */
  const char *says;
} refusal;

static void check_refused(const refusal *r, const filter_fields *fields, const char *reason) {
  const mneme_filter *f = (void *)1;
  error e;
  char begins[64], position[24];
  if (parse(r->text, fields, &f, &e))
    fail_msg("%s: passed as %s", r->text, dump_filter(f));
  assert_ptr_equal(f, (void *)1);
  assert_int_equal(e.code, CODE_INVALID_ARGUMENT);
  assert_string_equal(e.reason, reason);
  assert_string_equal(e.field, "filter");
  snprintf(begins, sizeof begins, "filter: byte %zu: ", r->byte);
  if (strncmp(e.message, begins, strlen(begins)) != 0 || strstr(e.message, r->says) == NULL)
    fail_msg("%s\n  says \"%s\"\n  not byte %zu, %s", r->text, e.message, r->byte, r->says);
  snprintf(position, sizeof position, "%zu", r->byte);
  assert_int_equal(e.metadata_count, 1);
  assert_string_equal(e.metadata[0].key, "position");
  assert_string_equal(e.metadata[0].value, position);
}

#define REFUSED(rows, fields)                                                                    \
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)                                        \
  check_refused(&rows[i], fields, "FILTER_INVALID")

static void refused_structure(void **state) {
  (void)state;
  static const refusal rows[] = {
      {"foo", 1, "\"foo\" stands alone"},
      {"role", 1, "\"role\" stands alone"},
      {"pinned AND role = \"a\"", 1, "\"pinned\" stands alone"},
      {"role = \"a\" AND foo", 16, "\"foo\" stands alone"},
      {"(foo)", 2, "\"foo\" stands alone"},
      {"foo bar", 1, "\"foo\" stands alone"},
      {"\"foo\"", 1, "content : \"text\""},
      {"\"user\" = role", 1, "field on the left"},
      {"5 < sequence", 1, "stands on the left"},
      {"-role = \"a\"", 1, "write NOT"},
      {"- role = \"a\"", 1, "write NOT"},
      {"!role = \"a\"", 1, "write NOT"},
      {"role = \"a\" AND key = \"b\" OR id = \"c\"", 26, "side by side"},
      {"role = \"a\" OR key = \"b\" AND id = \"c\"", 25, "side by side"},
      {"(role = \"a\" OR key = \"b\" AND id = \"c\")", 26, "side by side"},
      {"role = \"a\" key = \"b\"", 12, "AND or OR is expected"},
      {"role = \"a\" and key = \"b\"", 12, "capitals"},
      {"role = \"a\" or key = \"b\"", 12, "capitals"},
      {"not role = \"a\"", 1, "capitals"},
      {"role in (\"a\")", 1, "capitals"},
      {"role NOT IN (\"a\")", 6, "NOT role IN"},
      {"role = \"a\" && key = \"b\"", 12, "write AND"},
      {"role = \"a\" || key = \"b\"", 12, "write OR"},
      {"role == \"a\"", 6, "written ="},
      {"role <> \"a\"", 6, "written !="},
      {"role =~ \"a\"", 6, "written ~"},
      {"role !~ \"a\"", 6, "NOT field ~"},
      {"role = \"a\" AND", 15, "ends where a comparison"},
      {"AND role = \"a\"", 1, "not AND"},
      {"role = \"a\" AND OR key = \"b\"", 16, "not OR"},
      {"NOT", 4, "ends where a comparison"},
      {"(", 2, "ends where a comparison"},
      {"()", 2, "a comparison is expected"},
      {"(role = \"a\"", 1, "close it with )"},
      {"role = \"a\")", 11, "closes nothing"},
      {")", 1, "a comparison is expected"},
      {"role =", 7, "ends where a value"},
      {"role = )", 8, "a value is expected"},
      {"role \"a\"", 1, "stands alone"},
      {"role = \"a\", key = \"b\"", 11, "AND or OR is expected"},
      {"role ; key", 6, "text stands in quotes"},
      {"r\xc3\xb4le = \"a\"", 2, "text stands in quotes"},
      {"role = \"a", 8, "does not end"},
      {"role = 'a\"", 8, "does not end"},
      {"role = \"a\\\"", 8, "does not end"},
      {"role = \"a\\q\"", 10, "unknown escape"},
      {"role = \"a\\\\\\", 8, "does not end"},
      {"role = \"\\u12x4\"", 9, "four hexadecimal"},
      {"role = \"\\u0000\"", 9, "NUL"},
      {"role = \"\\ud800\"", 9, "surrogate"},
      {"role = \"\\udc00\\ud800\"", 9, "surrogate"},
      {"role = \"\\ud800\\u0041\"", 9, "surrogate"},
  };
  REFUSED(rows, &filter_of_memories);
}

static void refused_fields(void **state) {
  (void)state;
  static const refusal rows[] = {
      {"colour = \"a\"", 1, "there is no field \"colour\"; there are id, key"},
      {"Role = \"a\"", 1, "there is no field \"Role\""},
      {"revision = 1", 1, "there is no field"},
      {"labels.a = \"b\"", 1, "there is no field"},
      {"metadata = \"a\"", 1, "name a key"},
      {"metadata:*", 1, "name a key"},
      {"metadata. = 1", 10, "a key is expected"},
      {"metadata.a. = 1", 12, "a key is expected"},
      {"metadata .a = 1", 10, "begins with a digit"},
      {"metadata.\xc3\xa9 = 1", 10, "a key is expected"},
      {"metadata.\"a = 1", 10, "does not end"},
      {"role.name = \"a\"", 1, "nothing below"},
      {"content.x : \"a\"", 1, "nothing below"},
      {"age(role) > 1d", 5, "time field"},
      {"age(metadata.a) > 1d", 5, "time field"},
      {"age(5) > 1d", 5, "time field"},
      {"age() > 1d", 5, "time field"},
      {"age(foo) > 1d", 5, "there is no field"},
      {"age(create_time > 1d", 17, "one time field"},
      {"age(create_time) = 1d", 18, "< <= > >="},
      {"age(create_time) : *", 18, "< <= > >="},
      {"age(create_time) IN (1d)", 18, "< <= > >="},
      {"age(create_time)", 17, "< <= > >="},
      {"age(create_time) > 5", 20, "an age is a duration"},
      {"age(create_time) > \"5d\"", 20, "an age is a duration"},
      {"age(create_time) > 5w", 20, "no duration"},
      {"age(create_time) > 1.5h", 20, "no duration"},
      {"age(create_time) > -1d", 20, "no duration"},
      {"age(create_time) > 3652501d", 20, "at most 3652500d"},
      {"age(create_time) > 3652500d1us", 20, "at most 3652500d"},
      {"age(create_time) > 99999999999999999999999999999d", 20, "at most 3652500d"},
      {"age = 5", 1, "there is no field \"age\""},
  };
  REFUSED(rows, &filter_of_memories);
  static const refusal of_sessions[] = {
      {"role = \"a\"", 1, "there are id, labels.key"},
      {"labels = \"a\"", 1, "name a key"},
      {"labels.a.b = \"c\"", 1, "one key"},
      {"labels.a = 5", 12, "text, which stands in quotes"},
      {"labels.a = prod", 12, "write \"prod\""},
      {"last_access_time:*", 1, "there is no field"},
  };
  REFUSED(of_sessions, &filter_of_sessions);
}

static void refused_values(void **state) {
  (void)state;
  static const refusal rows[] = {
      {"role = user", 8, "write \"user\""},
      {"role = 5", 8, "text, which stands in quotes"},
      {"role = true", 8, "text, which stands in quotes"},
      {"role = null", 8, "text, which stands in quotes"},
      {"role = [\"a\"]", 8, "text, which stands in quotes"},
      {"role = *", 8, "role:*"},
      {"role IN (\"a\", *)", 15, "role:*"},
      {"role IN \"a\"", 9, "in parentheses"},
      {"role IN ()", 10, "a value is expected"},
      {"role IN (\"a\",)", 14, "a value is expected"},
      {"role IN (\"a\" \"b\")", 14, "a comma or ) is expected, for the IN at byte 9"},
      {"role IN (\"a\"", 13, "a comma or )"},
      {"role IN (\"a\", 5)", 15, "text, which stands in quotes"},
      {"importance = \"0.5\"", 14, "a number"},
      {"importance = high", 14, "a number"},
      {"importance : 0.5", 12, "= != < <= > >= IN :*"},
      {"sequence ~ \"5\"", 12, "a number"},
      {"sequence ~ 5", 12, "~ takes text"},
      {"pinned = 1", 10, "true or false"},
      {"pinned = \"true\"", 10, "true or false"},
      {"pinned = TRUE", 10, "true or false"},
      {"pinned : true", 8, "= != < <= > >= IN :*"},
      {"tier = MIDDLE", 8, "SENSORY, SHORT_TERM or LONG_TERM"},
      {"tier = long_term", 8, "SENSORY, SHORT_TERM or LONG_TERM"},
      {"tier = UNSPECIFIED", 8, "NOT tier:*"},
      {"tier = TIER_UNSPECIFIED", 8, "NOT tier:*"},
      {"tier = LONG_TERM.x", 8, "SENSORY"},
      {"tier = 3", 8, "SENSORY"},
      {"tier > SENSORY", 6, "= != IN :*"},
      {"tier : SENSORY", 6, "= != IN :*"},
      {"create_time > 5", 15, "a time"},
      {"create_time > yesterday", 15, "a time"},
      {"create_time > 30d", 15, "age(create_time)"},
      {"create_time > 2026-01-01", 15, "2026-01-31T10:00:00Z"},
      {"create_time > \"2026-01-01\"", 15, "2026-01-31T10:00:00Z"},
      {"create_time > \"\"", 15, "2026-01-31T10:00:00Z"},
      {"create_time > 2026-01-01T00:00:00", 15, "2026-01-31T10:00:00Z"},
      {"create_time > 2026-01-01T00:00Z", 15, "2026-01-31T10:00:00Z"},
      {"create_time > 2026-01-01T00:00:00.Z", 15, "2026-01-31T10:00:00Z"},
      {"create_time > 2026-01-01T00:00:00.1234567Z", 15, "microseconds"},
      {"create_time > 2026-02-29T00:00:00Z", 15, "no such time"},
      {"create_time > 1900-02-29T00:00:00Z", 15, "no such time"},
      {"create_time > 2026-13-01T00:00:00Z", 15, "no such time"},
      {"create_time > 2026-00-01T00:00:00Z", 15, "no such time"},
      {"create_time > 2026-04-31T00:00:00Z", 15, "no such time"},
      {"create_time > 2026-01-01T24:00:00Z", 15, "no such time"},
      {"create_time > 2026-01-01T23:60:00Z", 15, "no such time"},
      {"create_time > 2026-01-01T23:59:60Z", 15, "no such time"},
      {"create_time > 0000-01-01T00:00:00Z", 15, "no such time"},
      {"create_time > 2026-01-01T00:00:00+24:00", 15, "2026-01-31T10:00:00Z"},
      {"create_time > \"2026-01-01T00:00:00Z \"", 15, "2026-01-31T10:00:00Z"},
      {"create_time : 2026-01-01T00:00:00Z", 13, "= != < <= > >= IN :*"},
      {"metadata.a = b", 14, "write \"b\""},
      {"metadata.a = 2026-01-01T00:00:00Z", 14, "write \"2026-01-01T00:00:00Z\""},
      {"metadata.a = 30d", 14, "age(create_time)"},
      {"metadata.a < null", 14, "have an order"},
      {"metadata.a >= [1]", 15, "have an order"},
      {"metadata.a ~ 5", 14, "~ takes text"},
      {"metadata.a ~ [\"a\"]", 14, "~ takes text"},
      {"metadata.a ~ *", 14, "metadata.a:*"},
      {"metadata.a = *", 14, "metadata.a:*"},
      {"metadata.a = [1", 16, "a comma or ] is expected, for what begins at byte 14"},
      {"metadata.a = [1 2]", 17, "a comma or ]"},
      {"metadata.a = [1,]", 17, "a value is expected"},
      {"metadata.a = [b]", 15, "metadata holds"},
      {"metadata.a = [*]", 15, "metadata holds"},
      {"metadata.a = [2026-01-01T00:00:00Z]", 15, "metadata holds"},
      {"metadata.a = {1:2}", 15, "a key in quotes"},
      {"metadata.a = {b:2}", 15, "a key in quotes"},
      {"metadata.a = {\"b\" 2}", 19, "a colon"},
      {"metadata.a = {\"b\":2,}", 21, "a key in quotes"},
      {"metadata.a = {\"b\":2", 20, "a comma or }"},
      {"metadata.a = {\"b\":1,\"c\":2,\"b\":3}", 27, "the same key twice"},
  };
  REFUSED(rows, &filter_of_memories);
}

static void refused_numbers(void **state) {
  (void)state;
  static const refusal rows[] = {
      {"metadata.a = 9007199254740993", 14, "write 9007199254740992"},
      {"sequence = 9007199254740993", 12, "write 9007199254740992"},
      {"metadata.a = -9007199254740993", 14, "write -9007199254740992"},
      {"metadata.a = 36028797018963970", 14, "write 36028797018963968"},
      {"metadata.a = 9007199254740992.5", 14, "write 9007199254740992"},
      {"metadata.a = 123456789012345680000", 14, "write 123456789012345683968"},
      {"metadata.a = 99999999999999999999999", 14, "write 1e+23"},
      {"metadata.a = 9.007199254740993e15", 14, "write 9007199254740992"},
      {"metadata.a = 0.300000000000000041", 14, "write 0.30000000000000004"},
      {"metadata.a = 1e309", 14, "beyond the largest double"},
      {"metadata.a = -1e309", 14, "beyond the largest double"},
      {"metadata.a = 1e99999999999999999999", 14, "beyond the largest double"},
      {"metadata.a = 1e-400", 14, "write 0"},
      {"metadata.a = 1e-99999999999999999999", 14, "write 0"},
      {"metadata.a = [9007199254740993]", 15, "write 9007199254740992"},
      {"metadata.a = 007", 14, "is no number"},
      {"metadata.a = 1.", 14, "is no number"},
      {"metadata.a = 1e", 14, "is no number"},
      {"metadata.a = 1e+", 14, "is no number"},
      {"metadata.a = 0x10", 14, "is no number"},
      {"metadata.a = 1_000", 14, "is no number"},
      {"metadata.a = --1", 14, "is no number"},
      {"metadata.a = -", 14, "is no number"},
      {"metadata.a = 1,5", 15, "AND or OR is expected"},
      {"metadata.a = .5", 14, "begins with a digit"},
      {"metadata.a = +5", 14, "without +"},
  };
  REFUSED(rows, &filter_of_memories);
}

/* --- Limits, at n and at n + 1 ------------------------------------------- */

/* piece count times, with between in between. */
static char *repeat(const char *before, const char *piece, const char *between, size_t count,
                    const char *after) {
  char *text = arena_alloc(&shared, strlen(before) + strlen(after) + 1 +
                                        count * (strlen(piece) + strlen(between)));
  assert_non_null(text);
  strcpy(text, before);
  char *at = text + strlen(text);
  for (size_t i = 0; i < count; i++)
    at += sprintf(at, "%s%s", i > 0 ? between : "", piece);
  strcpy(at, after);
  return text;
}

static void passes(const char *text) {
  const mneme_filter *f;
  error e;
  if (!parse(text, &filter_of_memories, &f, &e))
    fail_msg("%.60s...: %s", text, e.message);
}

static void too_large(const char *text, size_t byte, const char *says) {
  const refusal r = {text, byte, says};
  check_refused(&r, &filter_of_memories, "TOO_LARGE");
}

static char *of_bytes(size_t size, const char *end_with) {
  size_t around = strlen("role = \"\"") + strlen(end_with);
  return repeat("role = \"", "a", "", size - around, repeat("\"", "", "", 0, end_with));
}

static void limit_of_bytes(void **state) {
  (void)state;
  assert_int_equal(strlen(of_bytes(4096, "")), 4096);
  passes(of_bytes(4096, ""));
  too_large(of_bytes(4097, ""), 4097, "more than 4096 bytes");
  static const char in[] = " OR role IN (\"a\")";
  passes(of_bytes(65536, in));
  too_large(of_bytes(65537, in), 65537, "more than 65536 bytes");
}

static void limit_of_terms(void **state) {
  (void)state;
  static const char piece[] = "sequence=1";
  passes(repeat("", piece, " OR ", 64, ""));
  too_large(repeat("", piece, " OR ", 65, ""), 64 * 14 + 1, "more than 64 comparisons");
  passes(repeat("", "age(create_time)>1d", " AND ", 64, ""));
  too_large(repeat("", "age(create_time)>1d", " AND ", 65, ""), 64 * 24 + 1, "64 comparisons");
  /* An IN is one. */
  passes(repeat("", "sequence IN(1,2,3)", " OR ", 64, ""));
}

static void limit_of_values(void **state) {
  (void)state;
  passes(repeat("sequence IN (", "1", ",", 1000, ")"));
  too_large(repeat("sequence IN (", "1", ",", 1001, ")"), 13 + 2000 + 1, "more than 1000 values");
}

static void limit_of_depth(void **state) {
  (void)state;
  passes(repeat("", "(", "", 16, repeat("role = \"a\"", ")", "", 16, "")));
  too_large(repeat("", "(", "", 17, repeat("role = \"a\"", ")", "", 17, "")), 17, "16 deep");
  passes(repeat("", "NOT ", "", 16, "role = \"a\""));
  too_large(repeat("", "NOT ", "", 17, "role = \"a\""), 65, "16 deep");
  passes(repeat("", "NOT(", "", 8, repeat("role = \"a\"", ")", "", 8, "")));
  too_large(repeat("NOT ", "NOT(", "", 8, repeat("role = \"a\"", ")", "", 8, "")), 36, "16 deep");
  /* What has been closed does not count. */
  passes(repeat("", repeat("", "(", "", 16, repeat("pinned=true", ")", "", 16, "")), " OR ", 3,
                ""));
}

static void limit_of_nested_values(void **state) {
  (void)state;
  passes(repeat("metadata.a = ", "[", "", 16, repeat("", "]", "", 16, "")));
  too_large(repeat("metadata.a = ", "[", "", 17, repeat("", "]", "", 17, "")), 13 + 17, "16 deep");
  passes(repeat("metadata.a = ", "{\"k\":", "", 16, repeat("1", "}", "", 16, "")));
  too_large(repeat("metadata.a = ", "{\"k\":", "", 17, repeat("1", "}", "", 17, "")),
            13 + 16 * 5 + 1, "16 deep");
}

static void limit_of_paths(void **state) {
  (void)state;
  passes(repeat("metadata", ".a", "", 16, " = 1"));
  too_large(repeat("metadata", ".a", "", 17, " = 1"), 8 + 32 + 1, "more than 16 keys");
}

static void limit_of_numbers(void **state) {
  (void)state;
  passes(repeat("metadata.a = 0.5", "0", "", 61, ""));
  too_large(repeat("metadata.a = 0.5", "0", "", 62, ""), 14, "more than 64 characters");
}

/* As many bound values as a text can ask for: what engines may rely on. */
static void count_values(const mneme_filter *f, size_t *values, size_t *nodes) {
  ++*nodes;
  *values += f->value_count;
  for (size_t i = 0; i < f->child_count; i++)
    count_values(f->children[i], values, nodes);
}

static void no_text_makes_a_tree_that_engines_cannot_take(void **state) {
  (void)state;
  char *text = arena_alloc(&shared, 200 * 1024), *at = text;
  /* 64 INs of the shortest numbers there are, as long as the text may be. */
  for (int i = 0; i < 64; i++) {
    at += sprintf(at, "%s(NOT sequence IN(0", i > 0 ? "OR" : "");
    for (int n = 1; n < 1000 && at - text < (i + 1) * 1020; n++)
      at += sprintf(at, ",%d", n);
    at += sprintf(at, "))");
  }
  assert_true(at - text <= 65536 && at - text > 65000);
  const mneme_filter *f;
  error e;
  assert_true(parse(text, &filter_of_memories, &f, &e));
  size_t values = 0, nodes = 0;
  count_values(f, &values, &nodes);
  assert_true(values > 15000 && values < 20000);
  assert_true(nodes < MNEME_FILTER_NODES_MAX);
}

/* Nor one that takes much memory, though it be nothing but strings with escapes. */
static void memory_is_bounded_by_the_text(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 64 * 1024 * 1024);
  char *text = repeat("", repeat("id IN (", "\"\\n\"", ",", 180, ")"), " OR ", 60, "");
  assert_true(strlen(text) > 54000 && strlen(text) <= 65536);
  const mneme_filter *f;
  error e = {0};
  assert_true(filter_parse(&a, mneme_bytes_of(text, strlen(text)), &filter_of_memories, NOW, &f,
                           &e));
  assert_true(a.used < 6 * 1024 * 1024);
  arena_clear(&a);
}

/* Every prefix of a text that has everything in it is taken or refused, and none
 * reads behind its end: the sanitizers look on. */
static void every_prefix_ends_well(void **state) {
  (void)state;
  static const char text[] =
      "NOT (role = \"a\\u00e9\\ud83d\\ude00\" OR metadata.'a b'.c != {\"k\":[1,-2.5e3,true]}) AND "
      "age(create_time) >= 1h30m AND tier IN (LONG_TERM, 'SENSORY') AND content ~ \"x\" AND "
      "(event_time < 2026-01-01T00:00:00.5+01:00 OR metadata.a : null) AND key:*";
  for (size_t size = 0; size <= sizeof text - 1; size++) {
    char *copy = arena_alloc(&shared, size + 1);
    memcpy(copy, text, size);
    const mneme_filter *f;
    error e = {0};
    bool fine = filter_parse(&shared, mneme_bytes_of(copy, size), &filter_of_memories, NOW, &f, &e);
    assert_true(fine == (e.code == CODE_OK));
  }
}

/* With too little memory a parse fails as such, wherever it runs out. */
static void no_memory_is_no_refusal(void **state) {
  (void)state;
  static const char text[] = "NOT role = \"a\\n\" AND metadata.a.b IN ([1], {\"k\": 2}) AND "
                             "content ~ \"needle\" AND age(create_time) > 1d";
  bool fine = false;
  for (size_t max = 0; !fine; max += 1024) {
    arena small;
    arena_init(&small, max);
    small.cursor = small.end; /* the arena's own first bytes are used up */
    const mneme_filter *f;
    error e = {0};
    fine = filter_parse(&small, mneme_bytes_of(text, strlen(text)), &filter_of_memories, NOW, &f,
                        &e);
    if (!fine)
      assert_string_equal(e.reason, "NO_MEMORY");
    arena_clear(&small);
    assert_true(max < 1024 * 1024);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(structure),
      cmocka_unit_test(operators_and_fields),
      cmocka_unit_test(times),
      cmocka_unit_test(metadata),
      cmocka_unit_test(numbers),
      cmocka_unit_test(sessions),
      cmocka_unit_test(positions_are_kept),
      cmocka_unit_test(refused_structure),
      cmocka_unit_test(refused_fields),
      cmocka_unit_test(refused_values),
      cmocka_unit_test(refused_numbers),
      cmocka_unit_test(limit_of_bytes),
      cmocka_unit_test(limit_of_terms),
      cmocka_unit_test(limit_of_values),
      cmocka_unit_test(limit_of_depth),
      cmocka_unit_test(limit_of_nested_values),
      cmocka_unit_test(limit_of_paths),
      cmocka_unit_test(limit_of_numbers),
      cmocka_unit_test(no_text_makes_a_tree_that_engines_cannot_take),
      cmocka_unit_test(memory_is_bounded_by_the_text),
      cmocka_unit_test(every_prefix_ends_well),
      cmocka_unit_test(no_memory_is_no_refusal),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
