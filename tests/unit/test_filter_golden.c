/* filter_golden.txt, on SQLite: for each filter the engine reads what it decides and
 * the evaluator here judges the rest, as in the service; the evaluator alone; and the
 * engine alone where all is pushed. Each must give the answer that was written by
 * hand. And what of a filter is pushed, seen in the SQL that ran. */
#include <stdio.h>
#include <stdlib.h>

#include "filter/filter.h"
#include "filter_memories.h"

static arena shared;
static store *s;
static store_list all;

static int begin(void **state) {
  (void)state;
  arena_init(&shared, 256 * 1024 * 1024);
  s = store_open(&shared);
  for (size_t i = 0; i < MEMORIES; i++) {
    mneme_record r = store_record(&shared, &memories[i]);
    store_append(s, FIRST_DAY + (int64_t)i * DAY, &r, 1);
  }
  for (size_t i = 2; i <= 3; i++) { /* c and d, as they are */
    mneme_record r = store_record(&shared, &memories[i]);
    store_put(s, FIRST_DAY + 30 * DAY + 3 * HOUR, &r, (int64_t)i + 1, (int64_t)i + 1);
  }
  store_touch(s, FIRST_DAY + 30 * DAY, 1);
  store_touch(s, FIRST_DAY + 30 * DAY, 2);
  store_touch(s, FIRST_DAY + 30 * DAY + 6 * HOUR, 2);
  all = store_read(s, &shared, THE_NOW, NULL);
  return all.count == MEMORIES ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  store_close(s);
  arena_clear(&shared);
  return 0;
}

static const mneme_filter *parse(const char *text) {
  const mneme_filter *f;
  error e = {0};
  if (!filter_parse(&shared, wire_text(text), &filter_of_memories, THE_NOW, &f, &e))
    fail_msg("%s: %s", text, e.message);
  return f;
}

static bool match(const mneme_filter *f, const mneme_record *r) {
  bool match;
  assert_int_equal(filter_match(f, r, &match), MNEME_OK);
  return match;
}

/* The ids of those in a list that match. */
static char *matching(store_list list, const mneme_filter *f) {
  char *ids = arena_calloc(&shared, list.count + 1, 1), *at = ids;
  for (size_t i = 0; i < list.count; i++)
    if (match(f, &list.records[i]))
      *at++ = *list.records[i].id.data;
  return ids;
}

/* What the file says, as ids in order. */
static char *expected(const char *answer) {
  char *ids = arena_calloc(&shared, MEMORIES + 1, 1), *at = ids;
  const char *named = answer + (*answer == '!');
  for (size_t i = 0; i < MEMORIES; i++) {
    bool in = strchr(named, *memories[i].id) != NULL;
    if (strcmp(answer, "*") == 0 || (strcmp(answer, "-") != 0 && in == (named == answer)))
      *at++ = *memories[i].id;
  }
  /* An answer that names somebody twice, out of order or unknown is a slip. */
  if (strchr("*-!", *answer) == NULL)
    assert_string_equal(ids, answer);
  return ids;
}

static void check(const char *text, const char *answer) {
  const mneme_filter *f = parse(text), *pushed, *rest;
  const char *ids = expected(answer);
  assert_true(filter_split(&shared, f, &pushed, &rest));
  store_list decided = store_read(s, &shared, THE_NOW, pushed);
  char *here = matching(all, f), *both = matching(decided, rest);
  if (strcmp(here, ids) != 0)
    fail_msg("%s\n  here   %s\n  not    %s", text, here, ids);
  if (strcmp(both, ids) != 0)
    fail_msg("%s\n  sqlite %s\n  not    %s\n  by %s", text, both, ids, store_expanded(s));
  if (rest == NULL)
    assert_int_equal(decided.count, strlen(ids));
}

static void answers_written_by_hand(void **state) {
  (void)state;
  char line[1024];
  size_t count = 0;
  FILE *file = fopen("filter_golden.txt", "r");
  assert_non_null(file);
  while (fgets(line, sizeof line, file) != NULL) {
    char *tab = strchr(line, '\t'), *end_of_line = strchr(line, '\n');
    assert_non_null(end_of_line);
    *end_of_line = '\0';
    if (*line == '#' || *line == '\0')
      continue;
    if (tab == NULL)
      fail_msg("no tab: %s", line);
    *tab = '\0';
    check(line, tab + 1);
    count++;
  }
  fclose(file);
  assert_true(count >= 200);
  print_message("%zu filters\n", count);
}

/* --- What is pushed ------------------------------------------------------ */

/* The condition that stands in the statement beyond those of every read. */
static const char *condition_of(const char *sql) {
  static const char before[] = "AND sequence >= ?3 AND sequence <= ?4";
  const char *at = strstr(sql, before), *order = strstr(sql, " ORDER BY ");
  assert_non_null(at);
  assert_non_null(order);
  at += strlen(before);
  char *condition = arena_copy(&shared, at, (size_t)(order - at));
  return condition;
}

static void run(const char *text) {
  const mneme_filter *pushed, *rest;
  assert_true(filter_split(&shared, parse(text), &pushed, &rest));
  store_read(s, &shared, THE_NOW, pushed);
}

static void what_is_pushed_stands_in_the_sql_that_ran(void **state) {
  (void)state;
  static const struct {
    const char *filter;
    const char *condition; /* of the SQL */
  } rows[] = {
      {"", ""},
      {"role = \"user\"", " AND (role <> '' AND role = ?)"},
      {"role != \"user\"", " AND (NOT (role <> '' AND role = ?))"},
      {"key IN (\"k\", \"K\")", " AND (key IS NOT NULL AND key IN (?,?))"},
      {"importance < 0.5 AND pinned = true",
       " AND ((importance IS NOT NULL AND importance < ?) AND (1 AND pinned = ?))"},
      {"NOT expire_time:* OR tier = LONG_TERM",
       " AND ((NOT (expire_us IS NOT NULL)) OR (tier <> 0 AND tier = ?))"},
      {"age(create_time) > 30d", " AND (1 AND create_us < ?)"},
      {"author : \"o\"", " AND (author <> '' AND instr(author, ?) > 0)"},
      {"metadata.n > 5",
       " AND ifnull(json_type(metadata_json, ?) IN ('integer', 'real') AND (metadata_json ->> ?) "
       "> ?, 0)"},
      {"metadata.n = true", " AND ifnull((0 OR json_type(metadata_json, ?) IN ('true')), 0)"},
      {"metadata.n:*", " AND ifnull(json_type(metadata_json, ?) IS NOT NULL, 0)"},
      {"metadata.\"q\\\"q\" = 1",
       " AND EXISTS (SELECT 1 FROM json_each(metadata_json) AS e0 WHERE e0.key = ? AND ((0 OR "
       "(e0.type IN ('integer', 'real') AND e0.value = ?))))"},
      /* What stands with the host is not there, and widens what is. */
      {"content : \"x\"", ""},
      {"content ~ \"x\" OR role = \"user\"", ""},
      {"NOT content ~ \"x\"", ""},
      {"role ~ \"x\"", ""},
      {"metadata.n ~ \"x\"", ""},
      {"content ~ \"x\" AND role = \"user\"", " AND (role <> '' AND role = ?)"},
      {"NOT (content ~ \"x\" OR role = \"user\")", " AND (NOT (role <> '' AND role = ?))"},
      {"NOT (content ~ \"x\" AND role = \"user\")", ""},
      {"(content ~ \"x\" OR pinned = true) AND (tier:* OR key:*)",
       " AND ((tier <> 0) OR (key IS NOT NULL))"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    run(rows[i].filter);
    if (strcmp(condition_of(store_sql(s)), rows[i].condition) != 0)
      fail_msg("%s\n  became%s\n  not   %s", rows[i].filter, condition_of(store_sql(s)),
               rows[i].condition);
  }
}

static void values_are_bound_and_never_text(void **state) {
  (void)state;
  run("id = \"'; DROP TABLE memories; --\" OR metadata.\"a'b\\\\\" = \"%') OR 1=1\" OR "
      "metadata.\"q\\\"'q\" : \"\\\" OR 1\"");
  assert_null(strstr(store_sql(s), "DROP"));
  assert_null(strstr(store_sql(s), "1=1"));
  assert_null(strstr(store_sql(s), "a'b"));
  assert_null(strstr(store_sql(s), "q\""));
  /* As SQL would write them: each quote doubled. */
  assert_non_null(strstr(store_expanded(s), "id = '''; DROP TABLE memories; --'"));
  assert_non_null(strstr(store_expanded(s), "'$.\"a''b\\\\\"'"));
  assert_non_null(strstr(store_expanded(s), "'%'') OR 1=1'"));
  assert_non_null(strstr(store_expanded(s), "e0.key = 'q\"''q'"));
  assert_int_equal(store_read(s, &shared, THE_NOW, NULL).count, MEMORIES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(answers_written_by_hand),
      cmocka_unit_test(what_is_pushed_stands_in_the_sql_that_ran),
      cmocka_unit_test(values_are_bound_and_never_text),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
