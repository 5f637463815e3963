/* The backend of a config that names none: from the environment, or the first
 * that needs to be told nothing; and where its file goes. */
#include <stdio.h>
#include <string.h>

#include "cmocka_test.h"
#include "config/config.h"

static const mneme_option file_options[] = {
  {"sync", MNEME_OPTION_BOOL, "true", 0, 0, "A switch."},
  {"path", MNEME_OPTION_PATH, "kept.db", 0, 0, "Where the file is."},
  {0},
};
static const mneme_option server_options[] = {
  {"url", MNEME_OPTION_STRING, NULL, 0, 0, "Where the server is."},
  {0},
};
static const mneme_option two_options[] = {
  {"url", MNEME_OPTION_STRING, NULL, 0, 0, "Where the server is."},
  {"password", MNEME_OPTION_STRING, NULL, 0, 0, "A secret."},
  {0},
};
static const mneme_scheme file_schemes[] = {{"file", "path", true}, {0}};
static const mneme_scheme server_schemes[] = {
  {"server", "url", false}, {"srv", "url", false}, {0}};
static const mneme_scheme two_schemes[] = {{"two", "url", false}, {0}};

static const mneme_backend_type types[] = {
  {.name = "server", .options = server_options, .schemes = server_schemes},
  {.name = "file", .options = file_options, .schemes = file_schemes},
  {.name = "plain"},
  {.name = "two", .options = two_options, .schemes = two_schemes},
};
#define TYPES (sizeof types / sizeof types[0])

static const char *const *environment; /* NAME, value, ... NULL */
static char reported[4096];

static const mneme_backend_type *type_at(void *ctx, size_t i) {
  (void)ctx;
  return i < TYPES ? &types[i] : NULL;
}

static const char *env(void *ctx, const char *name) {
  (void)ctx;
  for (const char *const *at = environment; *at != NULL; at += 2)
    if (strcmp(at[0], name) == 0)
      return at[1];
  return NULL;
}

static void report(void *ctx, const char *text) {
  (void)ctx;
  size_t used = strlen(reported);
  snprintf(reported + used, sizeof reported - used, "%s\n", text);
}

static const config_host host = {.type_at = type_at, .env = env, .error = report};

static config *parse(const char *text, const char *const *with) {
  environment = with;
  reported[0] = '\0';
  config *c = NULL;
  bool ok = config_parse(text, strlen(text), "f", &host, &c);
  assert_int_equal(ok, c != NULL);
  return c;
}

#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

static void a_default_path_is_in_the_data_directory(void **state) {
  (void)state;
  static const struct {
    const char *env[7];
    const char *path;
  } rows[] = {
      {{"MNEME_DATA_DIR", "/d", "XDG_DATA_HOME", "/x", "HOME", "/h"}, "/d/kept.db"},
      {{"MNEME_DATA_DIR", "here", "HOME", "/h"}, "here/kept.db"},
      {{"XDG_DATA_HOME", "/x", "HOME", "/h"}, "/x/mneme/kept.db"},
      {{"XDG_DATA_HOME", "x", "HOME", "/h"}, "/h/.local/share/mneme/kept.db"},
      {{"MNEME_DATA_DIR", "", "HOME", "/h"}, "/h/.local/share/mneme/kept.db"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    static const char *const texts[] = {"", "backends: { default: { type: file } }\n"};
    for (int k = 0; k < 2; k++) {
      config *c = parse(texts[k], rows[i].env);
      if (c == NULL)
        fail_msg("%s", reported);
      assert_ptr_equal(c->backends[0].type, &types[1]); /* the server needs its url */
      assert_string_equal(c->backends[0].values[1].string, rows[i].path);
      assert_true(c->backends[0].values[1].is_default && c->backends[0].values[0].is_default);
      assert_int_equal(c->names_backends, k == 1);
      config_close(c);
    }
  }
  assert_null(parse("", ENV("LANG", "C")));
  assert_string_equal(reported, "f: there is no place for \"kept.db\": set MNEME_DATA_DIR to the "
                                "folder that shall hold it, or HOME\n");
}

static void a_path_that_is_given_stays_as_it_is(void **state) {
  (void)state;
  config *c = parse("backends: { a: { type: file, path: ./x.db } }\n", ENV("HOME", "/h"));
  assert_string_equal(c->backends[0].values[1].string, "./x.db");
  config_close(c);
}

static void a_url_names_the_store(void **state) {
  (void)state;
  static const struct {
    const char *url;
    size_t type;
    size_t option;
    const char *value;
  } rows[] = {
      {"file:///a/b.db", 1, 1, "a/b.db"},
      {"file:////a/b c%20.db", 1, 1, "/a/b c%20.db"},
      {"server://u:p@h/x?y=z", 0, 0, "server://u:p@h/x?y=z"},
      {"srv://", 0, 0, "srv://"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    config *c = parse("", ENV("MEMORY_DB_URL", rows[i].url));
    if (c == NULL)
      fail_msg("%s", reported);
    assert_string_equal(c->backends[0].name, "default");
    assert_ptr_equal(c->backends[0].type, &types[rows[i].type]);
    assert_string_equal(c->backends[0].values[rows[i].option].string, rows[i].value);
    assert_false(c->backends[0].values[rows[i].option].is_default);
    config_close(c);
  }
  /* Not when the file names backends, nor when it is empty. */
  config *c = parse("backends: { a: { type: plain } }\n", ENV("MEMORY_DB_URL", "nonsense"));
  assert_ptr_equal(c->backends[0].type, &types[2]);
  config_close(c);
  c = parse("", ENV("MEMORY_DB_URL", "", "HOME", "/h"));
  assert_ptr_equal(c->backends[0].type, &types[1]);
  config_close(c);
}

static void a_url_that_names_no_store_is_refused(void **state) {
  (void)state;
#define SCHEME_PROBLEM \
  "f: MEMORY_DB_URL begins with no scheme that this server knows (server, srv, file, two): set " \
  "it to SCHEME://..., or name backends in a config file\n"
#define PATH_PROBLEM \
  "f: MEMORY_DB_URL names no file: expected file:///PATH (file:////PATH from the root), without " \
  "options behind it\n"
  static const struct {
    const char *url;
    const char *problem;
  } rows[] = {
      {"secret", SCHEME_PROBLEM},          {"files:///a", SCHEME_PROBLEM},
      {"file:/a", SCHEME_PROBLEM},         {"://", SCHEME_PROBLEM},
      {"file://", PATH_PROBLEM},           {"file:///", PATH_PROBLEM},
      {"file://host/a.db", PATH_PROBLEM},  {"file:///:memory:", PATH_PROBLEM},
      {"file:///a.db?x=1", PATH_PROBLEM},
      {"two://x", "f: a backend of the type two that MEMORY_DB_URL names lacks its option "
                  "password: write a config file\n"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    assert_null(parse("", ENV("MEMORY_DB_URL", rows[i].url, "HOME", "/h")));
    assert_string_equal(reported, rows[i].problem);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_default_path_is_in_the_data_directory),
      cmocka_unit_test(a_path_that_is_given_stays_as_it_is),
      cmocka_unit_test(a_url_names_the_store),
      cmocka_unit_test(a_url_that_names_no_store_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
