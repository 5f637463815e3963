/* The configuration: what is read, what is refused and where, and that what is
 * printed reads the same. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmocka_test.h"
#include "config/address.h"
#include "config/config.h"
#include "config/setting.h"
#include "registry/types.h"

/* --- A world for the parser ---------------------------------------------- */

static const mneme_option plain_options[] = {
  {"size", MNEME_OPTION_SIZE, "1MiB", 1, INT64_C(1) << 40, "A size."},
  {"wait", MNEME_OPTION_DURATION, "30s", 0, 0, "A duration."},
  {"sync", MNEME_OPTION_BOOL, "true", 0, 0, "A switch."},
  {"count", MNEME_OPTION_INT, "5", -10, 10, "A number."},
  {"note", MNEME_OPTION_STRING, "", 0, 0, "A text."},
  {0},
};
static const mneme_option store_options[] = {
  {"path", MNEME_OPTION_STRING, NULL, 0, 0, "Where the file is."},
  {0},
};
static const mneme_backend_type types[] = {
  {.name = "store", .doc = "keeps", .options = store_options},
  {.name = "plain", .doc = "forgets", .options = plain_options},
};

static const mneme_backend_type *type_at(void *ctx, size_t i) {
  (void)ctx;
  return i < 2 ? &types[i] : NULL;
}

static const mneme_backend_type *type_load(void *ctx, const char *path, char *error, size_t size) {
  (void)ctx;
  if (strcmp(path, "./good.so") == 0)
    return &types[1];
  snprintf(error, size, "cannot be loaded: no such file");
  return NULL;
}

static const char *env(void *ctx, const char *name) {
  (void)ctx;
  return strcmp(name, "DIR") == 0     ? "/var/lib"
         : strcmp(name, "EMPTY") == 0 ? ""
         : strcmp(name, "SECRET") == 0 ? "hunter2"
         : strcmp(name, "BYTES") == 0 ? "\xff"
         : strcmp(name, "YAML") == 0  ? "x, y: [1] # ${DIR} \"'"
                                      : NULL;
}

static char reported[16384];
static size_t report_count;

static void report(void *ctx, const char *text) {
  (void)ctx;
  size_t used = strlen(reported);
  snprintf(reported + used, sizeof reported - used, "%s\n", text);
  report_count++;
}

static const config_host host = {type_at, type_load, env, report, NULL};

static config *parse_size(const char *text, size_t size) {
  reported[0] = '\0';
  report_count = 0;
  config *c = NULL;
  bool ok = config_parse(text, size, "f", &host, &c);
  assert_int_equal(ok, c != NULL);
  assert_int_equal(ok, report_count == 0);
  return c;
}

static config *parse(const char *text) {
  return parse_size(text, strlen(text));
}

static config *parse_good(const char *text) {
  config *c = parse(text);
  if (c == NULL)
    fail_msg("%s", reported);
  return c;
}

static char *print(const config *c) {
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  assert_true(config_print(c, out));
  fclose(out);
  return text;
}

/* --- What is refused ----------------------------------------------------- */

#define ADDRESS_EXPECTED "; expected an address such as 127.0.0.1:7700 or unix:/run/mneme.sock"
#define MATCH_EXPECTED \
  "; expected \"namespace/session\" with * for anything, such as \"*/scratch-*\""
#define POLICY_OF(text) "sessions:\n- match: '*/*'\n  backend: default\n  policy: " text

static const struct {
  const char *text;
  const char *expected; /* each line with its newline */
} bad[] = {
  /* keys */
  {"listn: x\n", "f:1:1: unknown key \"listn\", did you mean \"listen\"? "
                 "known: listen, log, backends, sessions, limits, sweep\n"},
  {"zebra: x\n", "f:1:1: unknown key \"zebra\", "
                 "known: listen, log, backends, sessions, limits, sweep\n"},
  {"log:\n  leve: info\n",
   "f:2:3: unknown key \"leve\", did you mean \"level\"? known: level, format\n"},
  {"log: {}\nsweep: {}\nlog: {}\n",
   "f:3:1: the key \"log\" stands here twice, first in line 1\n"},
  {"? [a]\n: b\n", "f:1:3: found a list, expected a key\n"},
  {"- a\n", "f:1:1: found a list, expected a mapping of settings\n"},
  {"just text\n", "f:1:1: found \"just text\", expected a mapping of settings\n"},
  /* settings */
  {"log: {level: loud}\n",
   "f:1:14: \"loud\" is not understood, expected debug, info, warn or error\n"},
  {"log:\n  level: [info]\n", "f:2:10: found a list, expected debug, info, warn or error\n"},
  {"log:\n  level:\n", "f:2:9: found nothing, expected debug, info, warn or error\n"},
  {"log: 5\n", "f:1:6: found \"5\", expected a mapping of settings\n"},
  {"limits: {workers: 0}\n",
   "f:1:19: \"0\" is out of range, expected integer from 1 to 256\n"},
  {"limits: {workers: 257}\n",
   "f:1:19: \"257\" is out of range, expected integer from 1 to 256\n"},
  {"limits: {workers: many}\n",
   "f:1:19: \"many\" is not understood, expected integer from 1 to 256\n"},
  {"limits: {keepalive: 30}\n",
   "f:1:21: \"30\" is not understood, expected duration from 1s to 1d\n"},
  {"limits: {receive_max: 4MB}\n",
   "f:1:23: \"4MB\" is not understood, expected size from 64KiB to 4MiB\n"},
  {"sweep: {interval: 9ms}\n",
   "f:1:19: \"9ms\" is out of range, expected duration from 10ms to 1d\n"},
  /* listen */
  {"listen: 7700\n", "f:1:9: \"7700\" is no address: there is no port" ADDRESS_EXPECTED "\n"},
  {"listen: []\n", "f:1:9: found an empty list, expected at least one address\n"},
  {"listen: {a: b}\n", "f:1:9: found a mapping, expected an address or a list of addresses\n"},
  {"listen:\n- 127.0.0.1:1\n- 127.0.0.1:1\n",
   "f:3:3: the address \"127.0.0.1:1\" is listed twice\n"},
  {"listen: [a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1]\n",
   "f:1:9: found 9 items, expected at most 8\n"},
  /* backends */
  {"backends: [a]\n", "f:1:11: found a list, expected a mapping of names to backends\n"},
  {"backends:\n  a: plain\n",
   "f:2:6: found \"plain\", expected a mapping with type or plugin\n"},
  {"backends:\n  a: {}\n",
   "f:2:3: the backend \"a\" has neither type nor plugin, expected one of them\n"},
  {"backends:\n  a: {type: plain, plugin: ./good.so}\n",
   "f:2:20: found both type and plugin, expected one of them\n"},
  {"backends:\n  a: {type: sqlite}\n",
   "f:2:13: unknown type of backend \"sqlite\", known: store, plain\n"},
  {"backends:\n  a: {type: plian}\n",
   "f:2:13: unknown type of backend \"plian\", did you mean \"plain\"? known: store, plain\n"},
  {"backends:\n  a: {plugin: ./bad.so}\n",
   "f:2:15: the plugin \"./bad.so\" cannot be loaded: no such file\n"},
  {"backends:\n  a: {type: store}\n",
   "f:2:3: the backend \"a\" lacks the option path: Where the file is.\n"},
  {"backends:\n  a: {type: store, pth: x}\n",
   "f:2:3: the backend \"a\" lacks the option path: Where the file is.\n"
   "f:2:20: unknown option \"pth\", did you mean \"path\"? known: type, path\n"},
  {"backends:\n  a: {type: plain, sync: yes}\n",
   "f:2:26: \"yes\" is not understood, expected true or false\n"},
  {"backends:\n  a: {type: plain, count: 11, size: 0}\n",
   "f:2:27: \"11\" is out of range, expected integer from -10 to 10\n"
   "f:2:37: \"0\" is out of range, expected size from 1B to 1TiB\n"},
  {"backends:\n  a/b: {type: plain}\n",
   "f:2:3: found \"a/b\" as the name of a backend, expected 1 to 64 letters, digits, \"-\", \"_\" "
   "and \".\", beginning with a letter or digit\n"},
  {"backends: {a: {type: plain}, a: {type: plain}}\n",
   "f:1:30: the key \"a\" stands here twice, first in line 1\n"},
  /* sessions */
  {"sessions: {match: x}\n", "f:1:11: found a mapping, expected a list of rules\n"},
  {"sessions:\n- 5\n",
   "f:2:3: found \"5\", expected a mapping with match, backend and perhaps policy\n"},
  {"sessions:\n- backend: default\n", "f:2:3: the rule lacks match\n"},
  {"sessions:\n- match: a/b\n", "f:2:3: the rule lacks backend\n"},
  {"sessions:\n- match: a/b\n  backend: defualt\n",
   "f:3:12: unknown backend \"defualt\", did you mean \"default\"? known: default\n"},
  {"sessions:\n- {match: a/b, backend: default, polcy: {}}\n",
   "f:2:34: unknown key \"polcy\", did you mean \"policy\"? known: match, backend, policy\n"},
  {"sessions:\n- match: abc\n  backend: default\n",
   "f:2:10: \"abc\" is no pattern: there is no \"/\" between namespace and session" MATCH_EXPECTED
   "\n"},
  {"sessions:\n- match: \"ab/x[c\"\n  backend: default\n",
   "f:2:15: \"ab/x[c\" is no pattern: a set that begins with \"[\" has no \"]\"" MATCH_EXPECTED
   "\n"},
  {"sessions:\n- match: ab/x[c\n  backend: default\n",
   "f:2:14: \"ab/x[c\" is no pattern: a set that begins with \"[\" has no \"]\"" MATCH_EXPECTED
   "\n"},
  {"sessions:\n- {match: '*/*', backend: default}\n- {match: 'a/*', backend: default}\n",
   "f:3:3: the rule can never match: the one in line 2 matches every session\n"},
  /* policies */
  {POLICY_OF("{max_memory: 5}\n"),
   "f:4:12: unknown policy key \"max_memory\", did you mean \"max_memories\"? known: max_memories, "
   "max_tokens, evict_above, evict_to, evict_above_tokens, evict_to_tokens, eviction, "
   "keep_system, max_age, ttl, idempotency_window, default_kind, cleanup_interval\n"},
  {POLICY_OF("{language: german}\n"),
   "f:4:12: the policy key language is not served yet, expected it to be unset\n"},
  {POLICY_OF("{max_memories: 0}\n"),
   "f:4:26: \"0\" is out of range, expected integer from 1 to 2147483647\n"},
  {POLICY_OF("{max_memories: 2147483648}\n"),
   "f:4:26: \"2147483648\" is out of range, expected integer from 1 to 2147483647\n"},
  {POLICY_OF("{eviction: lru}\n"),
   "f:4:22: \"lru\" is not understood, expected fifo, least_important or reject\n"},
  {POLICY_OF("{keep_system: 1}\n"),
   "f:4:25: \"1\" is not understood, expected true or false\n"},
  {POLICY_OF("{idempotency_window: 8d}\n"),
   "f:4:32: \"8d\" is out of range, expected duration from 1s to 7d\n"},
  {POLICY_OF("{cleanup_interval: 999ms}\n"),
   "f:4:30: \"999ms\" is out of range, expected duration from 1s to 7d\n"},
  {POLICY_OF("{ttl: 0}\n"),
   "f:4:17: \"0\" is out of range, expected duration from 1us to 36500d\n"},
  {POLICY_OF("{max_memories: 5, evict_above: 5}\n"),
   "f:4:12: max_memories is short for evict_above = evict_to: set it or those, not both\n"},
  {POLICY_OF("{evict_to: 5}\n"), "f:4:12: evict_to needs evict_above beside it\n"},
  {POLICY_OF("{evict_above: 5, evict_to: 6}\n"),
   "f:4:28: evict_to must be at most evict_above\n"},
  {POLICY_OF("5\n"), "f:4:11: found \"5\", expected a mapping of policy keys\n"},
  /* expansion */
  {"backends: {a: {type: store, path: \"${NOPE}\"}}\n",
   "f:1:36: the environment variable NOPE is not set; set it, or write ${NOPE:-default}\n"},
  {"backends: {a: {type: store, path: ab$c}}\n",
   "f:1:37: found \"$\", expected ${NAME}, ${NAME:-default}, or $$ for a dollar sign\n"},
  {"backends: {a: {type: store, path: \"${1A}\"}}\n",
   "f:1:36: found \"$\", expected ${NAME}, ${NAME:-default}, or $$ for a dollar sign\n"},
  {"backends: {a: {type: store, path: \"${DIR\"}}\n",
   "f:1:36: found \"$\", expected ${NAME}, ${NAME:-default}, or $$ for a dollar sign\n"},
  {"backends: {a: {type: store, path: \"${BYTES}\"}}\n",
   "f:1:35: found text that is not UTF-8 after expansion\n"},
  {"limits: {workers: \"${SECRET}\"}\n",
   "f:1:19: what \"${SECRET}\" stands for is not what is expected: integer from 1 to 256\n"},
  {"listen: \"${SECRET}\"\n",
   "f:1:9: \"${SECRET}\" is no address: there is no port" ADDRESS_EXPECTED "\n"},
  {"sessions: [{match: \"${SECRET}\", backend: \"${SECRET}\"}]\n",
   "f:1:20: what \"${SECRET}\" stands for is no pattern: "
   "there is no \"/\" between namespace and session\n"
   "f:1:42: unknown backend \"${SECRET}\", known: default\n"},
  /* YAML */
  {"a: [1, 2\nb: 3\n",
   "f:2:2: did not find expected ',' or ']' (while parsing a flow sequence that began at line 1)\n"},
  {"log: {level: info}\n---\nlog: {}\n", "f:3:1: found a second document, expected only one\n"},
  {"log: *x\n", "f:1:6: found undefined alias\n"},
  {"log: \"\\0\"\n", "f:1:6: found a text with a NUL character in it\n"},
  {"log: !x {}\n", "f:1:6: found the tag !x, expected no tags\n"},
  {"a: b\nlog: \xff\n", "f:2:6: invalid leading UTF-8 octet, "
                        "expected UTF-8 text without control characters\n"},
  {"log: &a {level: *a}\n", "f:1:6: found a mapping, expected debug, info, warn or error\n"},
  {"backends: &a {x: *a}\n",
   "f:1:15: the backend \"x\" has neither type nor plugin, expected one of them\n"},
};

static void mistakes_are_reported_where_they_are(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    config *c = parse(bad[i].text);
    if (c != NULL)
      fail_msg("accepted: %s", bad[i].text);
    assert_string_equal(reported, bad[i].expected);
    assert_null(strstr(reported, "hunter2"));
  }
}

static void several_mistakes_come_in_order(void **state) {
  (void)state;
  assert_null(parse("sessions: [{match: x, backend: y}]\n"
                    "limits: {workers: 0}\n"
                    "backends: {y: {type: z}}\n"
                    "listen: 5\n"));
  assert_int_equal(report_count, 4);
  const char *p = reported;
  for (int line = 1; line <= 4; line++) {
    assert_int_equal(p[2], '0' + line);
    p = strchr(p, '\n') + 1;
  }
}

static void mistakes_beyond_the_twentieth_are_counted(void **state) {
  (void)state;
  char text[1024] = "limits:\n";
  for (int i = 0; i < 25; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "  x%d: 1\n", i);
  assert_null(parse(text));
  assert_int_equal(report_count, CONFIG_ERRORS_MAX + 1);
  assert_non_null(strstr(reported, "f:21:3: unknown key"));
  assert_null(strstr(reported, "f:22:3"));
  assert_non_null(strstr(reported, "f: and 5 more errors\n"));
}

/* --- Limits -------------------------------------------------------------- */

static char *repeat(const char *piece, size_t count, size_t *ret_size) {
  size_t size = strlen(piece);
  char *text = malloc(size * count + 1);
  assert_non_null(text);
  for (size_t i = 0; i < count; i++)
    memcpy(text + i * size, piece, size);
  text[size * count] = '\0';
  *ret_size = size * count;
  return text;
}

static void large_files_are_refused_and_cheap(void **state) {
  (void)state;
  static const char *const pieces[] = {"[", "{", "- ", "? ", "a: ", "a: {", "x\n", "#", "\"", "&a ",
                                       "- a\n", "'", "[],", "[[],", "a: [", "a: b\n", "!", "%", "|\n", "\t", "*a "};
  for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
    size_t size;
    char *text = repeat(pieces[i], CONFIG_FILE_MAX / strlen(pieces[i]), &size);
    config_close(parse_size(text, size));
    free(text);
  }
  size_t size;
  char *comment = repeat("#", CONFIG_FILE_MAX + 1, &size);
  assert_null(parse_size(comment, size));
  assert_string_equal(reported, "f: has more than 1048576 bytes\n");
  config *c = parse_size(comment, size - 1);
  assert_non_null(c);
  config_close(c);
  free(comment);
}

static void counts_hold_at_n_and_not_beyond(void **state) {
  (void)state;
  for (int extra = 0; extra <= 1; extra++) {
    size_t size;
    char *rules = repeat("- {match: 'a/b', backend: default}\n", CONFIG_RULES_MAX + (size_t)extra,
                         &size);
    char *text = NULL;
    assert_true(asprintf(&text, "sessions:\n%s", rules) > 0);
    config *c = parse(text);
    assert_int_equal(c != NULL, extra == 0);
    if (c != NULL)
      assert_int_equal(c->rule_count, CONFIG_RULES_MAX + 1);
    config_close(c);
    free(rules);
    free(text);

    char backends[8192] = "backends:\n";
    for (int i = 0; i < CONFIG_BACKENDS_MAX + extra; i++)
      snprintf(backends + strlen(backends), sizeof backends - strlen(backends),
               "  b%d: {type: plain}\n", i);
    c = parse(backends);
    assert_int_equal(c != NULL, extra == 0);
    config_close(c);

    char *note = repeat("x", CONFIG_SCALAR_MAX + (size_t)extra, &size);
    assert_true(asprintf(&text, "backends: {a: {type: plain, note: %s}}", note) > 0);
    c = parse(text);
    assert_int_equal(c != NULL, extra == 0);
    config_close(c);
    free(note);
    free(text);
  }
  assert_null(parse("a: [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]\n"));
  assert_non_null(strstr(reported, "nested more than 16 levels deep"));
}

/* --- What is read -------------------------------------------------------- */

static void nothing_gives_the_defaults(void **state) {
  (void)state;
  static const char *const empty[] = {"", "# only a comment\n", "---\n", "log:\nbackends:\n",
                                      "{}", "sessions: []\n"};
  for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
    config *c = parse_good(empty[i]);
    assert_int_equal(c->listen_count, 1);
    assert_string_equal(c->listen[0], "127.0.0.1:7700");
    assert_int_equal(c->backend_count, 1);
    assert_string_equal(c->backends[0].name, "default");
    assert_ptr_equal(c->backends[0].type, &types[1]); /* the first needs an option */
    assert_int_equal(c->backends[0].values[0].integer, 1 << 20);
    assert_true(c->backends[0].values[0].is_default);
    assert_int_equal(c->rule_count, 1);
    assert_string_equal(c->rules[0].match, "*/*");
    assert_int_equal(c->settings.log_level, LOG_INFO);
    assert_int_equal(c->settings.log_format, LOG_TEXT);
    assert_int_equal(c->settings.keepalive_us, 30000000);
    assert_int_equal(c->settings.sweep_interval_us, 1000000);
    assert_int_equal(c->settings.receive_max, 4 << 20);
    config_close(c);
  }
}

static void every_default_is_in_range(void **state) {
  (void)state;
  for (const setting *row = settings; row->option.name != NULL; row++) {
    char error[OPTION_PROBLEM_MAX] = "";
    int64_t value;
    if (!setting_parse(row, row->option.default_value, &value, error, sizeof error))
      fail_msg("%s.%s: %s", row->section, row->option.name, error);
    char text[OPTION_TEXT_MAX];
    setting_format(row, value, text, sizeof text);
    assert_string_equal(text, row->option.default_value);
  }
}

static const char everything[] =
  "listen: [127.0.0.1:7700, '[::1]:0', unix:/run/mneme.sock]\n"
  "sessions:\n"
  "- {match: '*/scratch-*', backend: b, policy: &p {max_memories: 100, default_kind: \"a$$b\"}}\n"
  "- match: \"support/[a-f]?\\\\*\"\n"
  "  backend: a\n"
  "  policy: {evict_above: 500, evict_to: 400, evict_above_tokens: 9, evict_to_tokens: 8,\n"
  "    eviction: least_important, keep_system: true, max_age: 7d, ttl: 36500d,\n"
  "    idempotency_window: 90m, cleanup_interval: 6h}\n"
  "- {match: 'x/*', backend: c, policy: *p}\n"
  "backends:\n"
  "  a: {type: store, path: '${DIR}/x${EMPTY:-y}${NOPE:-}${EMPTY}$$'}\n"
  "  b: {type: plain, size: 64KiB, wait: 1h30m, sync: false, count: -10, note: '${YAML}'}\n"
  "  c: {plugin: ./good.so, note: \"~\"}\n"
  "log: {level: error, format: json}\n"
  "limits: {queues: 3, slots: 4, receive_max: 3MiB, metadata_max: 6KiB, memory_quota: 0,\n"
  "  streams_per_connection: 7, calls: 8, arena_max: 90MiB, keepalive: 10s,\n"
  "  keepalive_timeout: 11s, idle: 12s, drain: 0, workers: 14, worker_queue: 15,\n"
  "  worker_timers: 16}\n"
  "sweep: {interval: 17ms}\n";

static void every_key_is_read(void **state) {
  (void)state;
  config *c = parse_good(everything);
  assert_int_equal(c->listen_count, 3);
  assert_string_equal(c->listen[2], "unix:/run/mneme.sock");
  assert_int_equal(c->backend_count, 3);
  assert_string_equal(c->backends[0].values[0].string, "/var/lib/xy$");
  assert_int_equal(c->backends[1].values[0].integer, 64 << 10);
  assert_int_equal(c->backends[1].values[1].integer, INT64_C(5400000000));
  assert_int_equal(c->backends[1].values[2].integer, 0);
  assert_int_equal(c->backends[1].values[3].integer, -10);
  assert_string_equal(c->backends[1].values[4].string, "x, y: [1] # ${DIR} \"'");
  assert_false(c->backends[1].values[4].is_default);
  assert_string_equal(c->backends[2].plugin, "./good.so");
  assert_string_equal(c->backends[2].values[4].string, "~");

  assert_int_equal(c->rule_count, 4);
  assert_int_equal(c->rules[0].backend, 1);
  assert_int_equal(c->rules[0].policy.max_memories, 100);
  assert_int_equal(c->rules[2].policy.max_memories, 100);
  assert_memory_equal(c->rules[0].policy.default_kind.data, "a$b", 3);
  const policy *p = &c->rules[1].policy;
  mneme_plan plan = policy_plan(p);
  assert_int_equal(plan.evict_above, 500);
  assert_int_equal(plan.evict_to, 400);
  assert_int_equal(plan.evict_above_tokens, 9);
  assert_int_equal(plan.evict_to_tokens, 8);
  assert_int_equal(plan.strategy, MNEME_EVICT_LEAST_IMPORTANT);
  assert_true(plan.keep_system);
  assert_int_equal(plan.max_age_us, INT64_C(604800000000));
  assert_int_equal(plan.ttl_us, POLICY_DURATION_MAX_US);
  assert_int_equal(policy_window_us(p), INT64_C(5400000000));
  assert_int_equal(policy_cleanup_us(p), INT64_C(21600000000));
  assert_string_equal(c->rules[3].match, "*/*"); /* for the rest */
  assert_int_equal(c->rules[3].backend, 0);

  const config_settings expected = {
    LOG_ERROR, LOG_JSON, 3, 4, 3 << 20, 6 << 10, 0, 7, 8, 90 << 20, 10000000, 11000000, 12000000, 0,
    14, 15, 16, 17000};
  assert_memory_equal(&c->settings, &expected, sizeof expected);
  config_close(c);
}

static void what_is_printed_reads_the_same(void **state) {
  (void)state;
  static const char *const texts[] = {"", everything, "sessions: [{match: 'a/*', backend: default}]",
                                      "backends: {null: {type: plain}, 'true': {type: plain}}"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    config *c = parse_good(texts[i]);
    char *first = print(c);
    config *again = parse_good(first);
    char *second = print(again);
    assert_string_equal(first, second);
    assert_memory_equal(&c->settings, &again->settings, sizeof c->settings);
    assert_int_equal(c->rule_count, again->rule_count);
    for (size_t j = 0; j < c->rule_count; j++) {
      assert_string_equal(c->rules[j].match, again->rules[j].match);
      assert_int_equal(c->rules[j].backend, again->rules[j].backend);
      assert_int_equal(c->rules[j].policy.set, again->rules[j].policy.set);
    }
    for (size_t j = 0; j < c->backend_count; j++) {
      const mneme_option *options = c->backends[j].type->options;
      assert_string_equal(c->backends[j].name, again->backends[j].name);
      for (size_t k = 0; k < option_count(options); k++) {
        if (options[k].type == MNEME_OPTION_STRING)
          assert_string_equal(c->backends[j].values[k].string, again->backends[j].values[k].string);
        else
          assert_int_equal(c->backends[j].values[k].integer,
                           again->backends[j].values[k].integer);
      }
    }
    config_close(c);
    config_close(again);
    free(first);
    free(second);
  }
}

/* --- Overrides and addresses --------------------------------------------- */

static void overrides_replace_what_the_file_says(void **state) {
  (void)state;
  config *c = parse_good("listen: [127.0.0.1:1, 127.0.0.1:2]\nlog: {level: error}\n");
  assert_true(config_override(c, "log.level", "debug", "--log-level", &host));
  assert_int_equal(c->settings.log_level, LOG_DEBUG);
  assert_true(config_override(c, "listen", "127.0.0.1:3", "--listen", &host));
  assert_int_equal(c->listen_count, 1);
  assert_true(config_override(c, "listen", "unix:/a,[::1]:0", "--listen", &host));
  assert_int_equal(c->listen_count, 2);
  assert_string_equal(c->listen[1], "[::1]:0");

  static const struct {
    const char *key, *value, *expected;
  } wrong[] = {
    {"log.level", "loud",
     "--x: \"loud\" is not understood, expected debug, info, warn or error\n"},
    {"log.colour", "red", "--x: there is no setting log.colour\n"},
    {"listen", "", "--x: \"\" is no address: there is no port\n"},
    {"listen", "127.0.0.1:1,", "--x: \"\" is no address: there is no port\n"},
    {"listen", "a:1,a:1", "--x: the address \"a:1\" is listed twice\n"},
    {"listen", "a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1", "--x: found more than 8 addresses\n"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    reported[0] = '\0';
    assert_false(config_override(c, wrong[i].key, wrong[i].value, "--x", &host));
    assert_string_equal(reported, wrong[i].expected);
  }
  assert_int_equal(c->listen_count, 2); /* a refused override changes nothing */
  config_close(c);
}

static void addresses_are_told_apart(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool valid, local;
  } cases[] = {
    {"127.0.0.1:7700", true, true},
    {"127.255.0.9:0", true, true},
    {"[::1]:1", true, true},
    {"[::ffff:127.0.0.1]:1", true, true},
    {"localhost:7700", true, true},
    {"LocalHost:7700", true, true},
    {"unix:/run/x.sock", true, true},
    {"unix:///run/x.sock", true, true},
    {"unix:x", true, true},
    {"0.0.0.0:7700", true, false},
    {"[::]:7700", true, false},
    {"10.0.0.1:7700", true, false},
    {"[fe80::1%eth0]:7700", true, false},
    {"[::ffff:10.0.0.1]:1", true, false},
    {"name.invalid:7700", true, false}, /* RFC 6761: never resolves */
    {"127.0.0.1", false, false},
    {"127.0.0.1:", false, false},
    {"127.0.0.1:65536", false, false},
    {"127.0.0.1:-1", false, false},
    {"127.1:1", false, false},
    {"2130706433:1", false, false},
    {"0x7f000001:1", false, false},
    {":7700", false, false},
    {"::1:7700", false, false},
    {"[::1]", false, false},
    {"[::1:1", false, false},
    {"[]:1", false, false},
    {"[127.0.0.1]:1", false, false},
    {"a b:1", false, false},
    {"http://a:1", false, false},
    {"unix:", false, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    address a;
    const char *problem;
    if (address_parse(cases[i].text, &a, &problem) != cases[i].valid)
      fail_msg("%s", cases[i].text);
    if (cases[i].valid && address_is_local(&a) != cases[i].local)
      fail_msg("%s", cases[i].text);
  }
  config *c = parse_good("listen: [127.0.0.1:1, 0.0.0.0:1]\n");
  reported[0] = '\0';
  assert_false(config_check_local(c, &host));
  assert_non_null(strstr(reported, "listening on \"0.0.0.0:1\" lets other machines in"));
  assert_null(strstr(reported, "127.0.0.1:1"));
  config_close(c);
}

/* --- Documentation ------------------------------------------------------- */

static void the_readme_has_every_key(void **state) {
  (void)state;
  char *reference = NULL;
  size_t size;
  FILE *out = open_memstream(&reference, &size);
  assert_non_null(out);
  config_print_reference(out, NULL);
  fclose(out);
  FILE *file = fopen(README, "r");
  assert_non_null(file);
  static char readme[65536];
  readme[fread(readme, 1, sizeof readme - 1, file)] = '\0';
  fclose(file);
  if (strstr(readme, reference) == NULL)
    fail_msg("put what mnemed --help-config prints, up to the backends, into " README);
  free(reference);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(mistakes_are_reported_where_they_are),
    cmocka_unit_test(several_mistakes_come_in_order),
    cmocka_unit_test(mistakes_beyond_the_twentieth_are_counted),
    cmocka_unit_test(large_files_are_refused_and_cheap),
    cmocka_unit_test(counts_hold_at_n_and_not_beyond),
    cmocka_unit_test(nothing_gives_the_defaults),
    cmocka_unit_test(every_default_is_in_range),
    cmocka_unit_test(every_key_is_read),
    cmocka_unit_test(what_is_printed_reads_the_same),
    cmocka_unit_test(overrides_replace_what_the_file_says),
    cmocka_unit_test(addresses_are_told_apart),
    cmocka_unit_test(the_readme_has_every_key),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
