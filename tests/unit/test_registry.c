/* Globs, options, types from plugins, open backends, routes and health. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmocka_test.h"
#include "registry/option.h"
#include "registry/registry.h"
#include "registry/types.h"

static mneme_bytes text(const char *s) {
  return mneme_bytes_of(s, strlen(s));
}

/* --- Globs --------------------------------------------------------------- */

static void globs_match_as_documented(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *name;
    bool matches;
  } cases[] = {
    {"*", "", true},
    {"*", "a/b/c", true},
    {"a", "a", true},
    {"a", "ab", false},
    {"a", "", false},
    {"scratch-*", "scratch-1/2", true},
    {"scratch-*", "scratch-", true},
    {"scratch-*", "scratch", false},
    {"*-x", "a-x", true},
    {"*-x", "a-x-y", false},
    {"*-x", "a-x-x", true},
    {"a*b*c", "aXbYc", true},
    {"a*b*c", "abc", true},
    {"a*b*c", "acb", false},
    {"**", "", true},
    {"a?c", "abc", true},
    {"a?c", "a\xc3\xbc" "c", true}, /* one character, two bytes */
    {"a?c", "ac", false},
    {"??", "\xf0\x9f\x98\x80x", true},
    {"[abc]x", "bx", true},
    {"[abc]x", "dx", false},
    {"[a-f0-9]", "e", true},
    {"[a-f0-9]", "g", false},
    {"[!a-f]", "g", true},
    {"[!a-f]", "a", false},
    {"[]]", "]", true},
    {"[!]]", "]", false},
    {"[a-]", "-", true},
    {"[!x]", "\xc3\xbc", true},
    {"\\*", "*", true},
    {"\\*", "a", false},
    {"a\\?b", "a?b", true},
    {"*[0-9]", "session-7", true},
    {"*[0-9]*z", "a1b2z", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    glob g;
    const char *problem;
    size_t at;
    assert_true(glob_compile(text(cases[i].pattern), &g, &problem, &at));
    if (glob_match(&g, text(cases[i].name)) != cases[i].matches)
      fail_msg("%s against %s", cases[i].pattern, cases[i].name);
    assert_int_equal(glob_match_general(text(cases[i].pattern), text(cases[i].name)),
                     cases[i].matches);
  }
}

static void globs_are_classified(void **state) {
  (void)state;
  static const struct {
    const char *pattern;
    glob_kind kind;
  } cases[] = {{"*", GLOB_ANY},       {"abc", GLOB_LITERAL}, {"abc*", GLOB_PREFIX},
               {"*abc", GLOB_GENERAL}, {"a\\*", GLOB_GENERAL}, {"**", GLOB_GENERAL}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    glob g;
    const char *problem;
    size_t at;
    assert_true(glob_compile(text(cases[i].pattern), &g, &problem, &at));
    assert_int_equal(g.kind, cases[i].kind);
  }
}

static void bad_matches_are_placed(void **state) {
  (void)state;
  static const struct {
    const char *match;
    size_t at;
  } cases[] = {{"", 0},    {"abc", 0},    {"/x", 0},       {"a/", 2},
               {"a/[b", 2}, {"[b/x", 0}, {"a/bc\\", 4}, {"ab/x[\xc3\xbc]", 4}};
  const char *problem;
  size_t at;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    at = 99;
    assert_false(registry_check_match(cases[i].match, &problem, &at));
    assert_int_equal(at, cases[i].at);
  }
  assert_true(registry_check_match("a/b/c", &problem, &at));
  assert_true(registry_match_is_all("*/*"));
  assert_true(registry_match_is_all("**/*"));
  assert_false(registry_match_is_all("*/a*"));
  assert_false(registry_match_is_all("*"));
  assert_false(registry_match_is_all("/*"));
}

/* A pattern that makes fnmatch(3) run for ages. */
static void a_match_stays_cheap(void **state) {
  (void)state;
  char name[513];
  memset(name, 'a', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  const char pattern[] = "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b";
  for (int i = 0; i < 100; i++)
    assert_false(glob_match_general(text(pattern), text(name)));
}

/* --- Options ------------------------------------------------------------- */

static const mneme_option any_int = {"n", MNEME_OPTION_INT, "1", 0, 0, ""};
static const mneme_option some_int = {"n", MNEME_OPTION_INT, "1", -5, 64, ""};
static const mneme_option some_bool = {"b", MNEME_OPTION_BOOL, "true", 0, 0, ""};
static const mneme_option any_duration = {"d", MNEME_OPTION_DURATION, "1s", 0, 0, ""};
static const mneme_option some_duration = {"d", MNEME_OPTION_DURATION, "1s", 1000, 60000000, ""};
static const mneme_option some_size = {"s", MNEME_OPTION_SIZE, "1KiB", 1, INT64_MAX, ""};

static void options_are_read_and_written(void **state) {
  (void)state;
  static const struct {
    const mneme_option *option;
    const char *text;
    int64_t value;
    const char *written; /* NULL = refused */
  } cases[] = {
    {&any_int, "9223372036854775807", INT64_MAX, "9223372036854775807"},
    {&any_int, "-9223372036854775808", INT64_MIN, "-9223372036854775808"},
    {&any_int, "9223372036854775808", 0, NULL},
    {&any_int, "007", 7, "7"},
    {&any_int, "", 0, NULL},
    {&any_int, "-", 0, NULL},
    {&any_int, "1.5", 0, NULL},
    {&any_int, " 1", 0, NULL},
    {&any_int, "0x10", 0, NULL},
    {&some_int, "-5", -5, "-5"},
    {&some_int, "64", 64, "64"},
    {&some_int, "65", 0, NULL},
    {&some_int, "-6", 0, NULL},
    {&some_bool, "true", 1, "true"},
    {&some_bool, "false", 0, "false"},
    {&some_bool, "yes", 0, NULL},
    {&some_bool, "True", 0, NULL},
    {&any_duration, "0", 0, "0"},
    {&any_duration, "500ms", 500000, "500ms"},
    {&any_duration, "1000ms", 1000000, "1s"},
    {&any_duration, "90s", 90000000, "90s"},
    {&any_duration, "1h30m", INT64_C(5400000000), "90m"},
    {&any_duration, "7d", INT64_C(604800000000), "7d"},
    {&any_duration, "1us", 1, "1us"},
    {&any_duration, "30", 0, NULL},
    {&any_duration, "30 s", 0, NULL},
    {&any_duration, "-1s", 0, NULL},
    {&any_duration, "s", 0, NULL},
    {&any_duration, "1h30", 0, NULL},
    {&any_duration, "106751991d", INT64_C(106751991) * 86400000000, "106751991d"},
    {&any_duration, "106751992d", 0, NULL},
    {&any_duration, "99999999999999999999d", 0, NULL},
    {&some_duration, "1ms", 1000, "1ms"},
    {&some_duration, "999us", 0, NULL},
    {&some_duration, "1m", 60000000, "1m"},
    {&some_duration, "61s", 0, NULL},
    {&some_size, "4096", 4096, "4KiB"},
    {&some_size, "4097", 4097, "4097B"},
    {&some_size, "1MiB", 1 << 20, "1MiB"},
    {&some_size, "1024GiB", INT64_C(1) << 40, "1TiB"},
    {&some_size, "1MB", 0, NULL},
    {&some_size, "0", 0, NULL},
    {&some_size, "8388608TiB", 0, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    mneme_option_value value = {0};
    char error[OPTION_PROBLEM_MAX] = "", written[OPTION_TEXT_MAX];
    bool ok = option_parse(cases[i].option, cases[i].text, &value, error, sizeof error);
    if (ok != (cases[i].written != NULL))
      fail_msg("%s: %s", cases[i].text, error);
    if (!ok)
      continue;
    assert_int_equal(value.integer, cases[i].value);
    option_format(cases[i].option, &value, written, sizeof written);
    assert_string_equal(written, cases[i].written);
    mneme_option_value again;
    assert_true(option_parse(cases[i].option, written, &again, error, sizeof error));
    assert_int_equal(again.integer, value.integer);
  }
}

static void option_errors_say_what_was_expected(void **state) {
  (void)state;
  mneme_option_value value;
  char error[OPTION_PROBLEM_MAX];
  assert_false(option_parse(&some_int, "65", &value, error, sizeof error));
  assert_string_equal(error, "\"65\" is out of range, expected integer from -5 to 64");
  assert_false(option_parse(&some_duration, "5", &value, error, sizeof error));
  assert_string_equal(error, "\"5\" is not understood, expected duration from 1ms to 1m");
  assert_false(option_parse(&some_size, "much", &value, error, sizeof error));
  assert_string_equal(error, "\"much\" is not understood, expected size of at least 1B");
  assert_false(option_parse(&some_bool, "on", &value, error, sizeof error));
  assert_string_equal(error, "\"on\" is not understood, expected true or false");
  assert_false(option_parse(&any_duration, "soon", &value, error, sizeof error));
  assert_string_equal(error, "\"soon\" is not understood, expected duration such as 30s");
}

static void bad_option_tables_are_refused(void **state) {
  (void)state;
  static const mneme_option tables[][3] = {
    {{"type", MNEME_OPTION_STRING, "", 0, 0, ""}, {0}},
    {{"a", MNEME_OPTION_INT, "x", 0, 0, ""}, {0}},
    {{"a", MNEME_OPTION_INT, "5", 6, 7, ""}, {0}},
    {{"a", (mneme_option_type)7, "5", 0, 0, ""}, {0}},
    {{"a", MNEME_OPTION_INT, "5", 0, 0, ""}, {"a", MNEME_OPTION_INT, "5", 0, 0, ""}, {0}},
  };
  char error[OPTION_PROBLEM_MAX];
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
    assert_false(option_check_table(tables[i], error, sizeof error));
  assert_true(option_check_table(NULL, error, sizeof error));
}

/* --- Plugins ------------------------------------------------------------- */

static const backend_type_fn no_builtins[] = {NULL};

static backend_types *open_types(void) {
  char error[BACKEND_TYPE_ERROR_MAX];
  backend_types *types = backend_types_open(no_builtins, error, sizeof error);
  assert_non_null(types);
  return types;
}

static const mneme_backend_type *load(backend_types *types, const char *name) {
  char error[BACKEND_TYPE_ERROR_MAX] = "";
  char path[512];
  snprintf(path, sizeof path, "%s%s.so", PLUGINS, name);
  const mneme_backend_type *type = backend_types_load(types, path, error, sizeof error);
  if (type == NULL)
    fail_msg("%s: %s", path, error);
  return type;
}

static mneme_status seen_status;

static void see_stats(mneme_status status, const mneme_stats *stats, void *ctx) {
  (void)stats, (void)ctx;
  seen_status = status;
}

static void see_done(mneme_status status, void *ctx) {
  (void)ctx;
  seen_status = status;
}

static void see_bytes(mneme_status status, mneme_bytes value, void *ctx) {
  (void)value, (void)ctx;
  seen_status = status;
}

static void a_plugin_is_loaded_once(void **state) {
  (void)state;
  backend_types *types = open_types();
  const mneme_backend_type *type = load(types, "plugin_good");
  assert_string_equal(type->name, "none");
  assert_int_equal(type->caps, MNEME_CAP_DURABLE);
  assert_ptr_equal(load(types, "plugin_good"), type);
  assert_null(backend_types_at(types, 0)); /* reached by its path only */
  type->stats(NULL, NULL, text("n"), text(""), see_stats, NULL);
  assert_int_equal(seen_status, MNEME_DOWN);
  backend_types_close(types);
}

/* An older minor: the table ends before meta_get, and so does its memory. */
static void an_old_plugin_loads(void **state) {
  (void)state;
  backend_types *types = open_types();
  const mneme_backend_type *type = load(types, "plugin_old");
  type->stats(NULL, NULL, text("n"), text(""), see_stats, NULL);
  assert_int_equal(seen_status, MNEME_DOWN); /* its own */
  bool more = true;
  type->trim(NULL, NULL, 1, &more, see_done, NULL);
  assert_int_equal(seen_status, MNEME_UNSUPPORTED);
  assert_false(more);
  seen_status = MNEME_OK;
  type->meta_get(NULL, NULL, text("k"), see_bytes, NULL);
  assert_int_equal(seen_status, MNEME_UNSUPPORTED);
  seen_status = MNEME_OK;
  type->meta_put(NULL, NULL, text("k"), text(""), text("v"), see_bytes, NULL);
  assert_int_equal(seen_status, MNEME_UNSUPPORTED);
  seen_status = MNEME_OK;
  type->changes(NULL, NULL, text("n"), text(""), NULL, see_bytes, NULL);
  assert_int_equal(seen_status, MNEME_UNSUPPORTED);
  seen_status = MNEME_OK;
  type->log(NULL, NULL, text("n"), text("s"), NULL, 0, NULL, see_done, NULL);
  assert_int_equal(seen_status, MNEME_UNSUPPORTED);
  seen_status = MNEME_OK;
  type->due(NULL, NULL, 1, NULL, see_done, NULL);
  assert_int_equal(seen_status, MNEME_UNSUPPORTED);
  backend_types_close(types);
}

static void a_newer_minor_keeps_only_what_is_known(void **state) {
  (void)state;
  backend_types *types = open_types();
  assert_int_equal(load(types, "plugin_newer")->caps, MNEME_CAP_SHARED);
  backend_types_close(types);
}

static void bad_plugins_are_refused_with_a_reason(void **state) {
  (void)state;
  static const struct {
    const char *path, *reason;
  } cases[] = {
    {"plugin_good.so", "is not a path"},
    {PLUGINS "absent.so", "cannot be loaded"},
    {PLUGINS "plugin_major.so", "was built for ABI 2.0, this server has 1.0"},
    {PLUGINS "plugin_tiny.so", "impossible struct_size"},
    {PLUGINS "plugin_no_read.so", "lacks the operation read"},
    {PLUGINS "plugin_no_symbol.so", "has no symbol mneme_plugin"},
    {PLUGINS "plugin_false_caps.so", "promises VECTORS or LINKS"},
  };
  backend_types *types = open_types();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char error[BACKEND_TYPE_ERROR_MAX] = "";
    assert_null(backend_types_load(types, cases[i].path, error, sizeof error));
    if (strstr(error, cases[i].reason) == NULL)
      fail_msg("%s: %s", cases[i].path, error);
  }
  backend_types_close(types);
}

/* --- Open backends ------------------------------------------------------- */

static const mneme_option_value seven = {.integer = 7};
static const mneme_option_value thirteen = {.integer = 13};

static void routes_go_by_the_first_rule_that_matches(void **state) {
  (void)state;
  backend_types *types = open_types();
  const mneme_backend_type *type = load(types, "plugin_good");
  const registry_entry entries[] = {{"a", NULL, type, &seven}, {"b", NULL, type, &seven}};
  const registry_rule rules[] = {
    {"*/scratch-*", 1, {.set = 1u << POLICY_TTL, .ttl_us = 5}},
    {"support/*", 1, {0}},
    {"team-?/x/y", 0, {0}},
    {"*/*", 0, {0}},
  };
  static const struct {
    const char *ns, *session;
    size_t rule;
    const char *backend;
  } cases[] = {
    {"default", "scratch-1", 0, "b"}, {"support", "scratch-1", 0, "b"},
    {"support", "a/b/c", 1, "b"},     {"support2", "x", 3, "a"},
    {"team-1", "x/y", 2, "a"},        {"team-1", "x/y/z", 3, "a"},
    {"", "", 3, "a"},
  };
  char error[REGISTRY_ERROR_MAX];
  registry *r = registry_open(entries, 2, rules, 4, error, sizeof error);
  assert_non_null(r);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    registry_routed routed = registry_route(r, text(cases[i].ns), text(cases[i].session));
    assert_string_equal(routed.backend->name, cases[i].backend);
    assert_ptr_equal(routed.rule, &rules[cases[i].rule].policy);
  }
  assert_int_equal(registry_count(r), 2);
  assert_string_equal(registry_at(r, 1)->name, "b");
  assert_null(registry_at(r, 2));
  registry_close(r);

  r = registry_open(entries, 2, rules, 1, error, sizeof error); /* no rule for the rest */
  assert_non_null(r);
  registry_routed routed = registry_route(r, text("default"), text("x"));
  assert_string_equal(routed.backend->name, "a");
  assert_int_equal(routed.rule->set, 0);
  registry_close(r);
  backend_types_close(types);
}

static void a_failed_open_leaves_nothing_open(void **state) {
  (void)state;
  backend_types *types = open_types();
  const mneme_backend_type *type = load(types, "plugin_good");
  const registry_entry entries[] = {{"a", NULL, type, &seven}, {"b", NULL, type, &thirteen}};
  const registry_rule rules[] = {{"nothing", 0, {0}}, {"a/*", 2, {0}}};
  char error[REGISTRY_ERROR_MAX] = "";
  assert_null(registry_open(entries, 2, NULL, 0, error, sizeof error)); /* LeakSanitizer looks */
  assert_string_equal(error, "backend \"b\" (type none) cannot be opened: "
                             "13 brings bad luck, take another number");
  assert_null(registry_open(entries, 1, rules, 1, error, sizeof error));
  assert_non_null(strstr(error, "there is no \"/\""));
  assert_null(registry_open(entries, 1, rules + 1, 1, error, sizeof error));
  assert_null(registry_open(entries, 0, NULL, 0, error, sizeof error));
  registry_close(NULL);
  backend_types_close(types);
}

static void health_follows_what_pings_answer(void **state) {
  (void)state;
  static const struct {
    mneme_status ping;
    registry_state state;
    bool changed;
  } steps[] = {
    {MNEME_OK, REGISTRY_SERVING, false},      {MNEME_TIMEOUT, REGISTRY_SERVING, false},
    {MNEME_TIMEOUT, REGISTRY_SERVING, false}, {MNEME_OK, REGISTRY_SERVING, false},
    {MNEME_TIMEOUT, REGISTRY_SERVING, false}, {MNEME_TIMEOUT, REGISTRY_SERVING, false},
    {MNEME_TIMEOUT, REGISTRY_DOWN, true},     {MNEME_TIMEOUT, REGISTRY_DOWN, false},
    {MNEME_OK, REGISTRY_SERVING, true},       {MNEME_DOWN, REGISTRY_DOWN, true},
    {MNEME_DOWN, REGISTRY_DOWN, false},       {MNEME_CORRUPT, REGISTRY_DAMAGED, true},
    {MNEME_TIMEOUT, REGISTRY_DAMAGED, false}, {MNEME_INTERNAL, REGISTRY_DAMAGED, false},
    {MNEME_OK, REGISTRY_SERVING, true},       {MNEME_UNSUPPORTED, REGISTRY_SERVING, false},
  };
  backend_types *types = open_types();
  const registry_entry entry = {"a", NULL, load(types, "plugin_good"), &seven};
  char error[REGISTRY_ERROR_MAX];
  registry *r = registry_open(&entry, 1, NULL, 0, error, sizeof error);
  assert_non_null(r);
  registry_backend *b = registry_at(r, 0);
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    assert_int_equal(registry_set_health(b, steps[i].ping), steps[i].changed);
    registry_health health = registry_get_health(b);
    assert_int_equal(health.state, steps[i].state);
    assert_int_equal(health.message[0] == '\0', health.state == REGISTRY_SERVING);
  }
  registry_close(r);
  backend_types_close(types);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(globs_match_as_documented),
    cmocka_unit_test(globs_are_classified),
    cmocka_unit_test(bad_matches_are_placed),
    cmocka_unit_test(a_match_stays_cheap),
    cmocka_unit_test(options_are_read_and_written),
    cmocka_unit_test(option_errors_say_what_was_expected),
    cmocka_unit_test(bad_option_tables_are_refused),
    cmocka_unit_test(a_plugin_is_loaded_once),
    cmocka_unit_test(an_old_plugin_loads),
    cmocka_unit_test(a_newer_minor_keeps_only_what_is_known),
    cmocka_unit_test(bad_plugins_are_refused_with_a_reason),
    cmocka_unit_test(routes_go_by_the_first_rule_that_matches),
    cmocka_unit_test(a_failed_open_leaves_nothing_open),
    cmocka_unit_test(health_follows_what_pings_answer),
  };
  log_setup(LOG_ERROR, LOG_TEXT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
