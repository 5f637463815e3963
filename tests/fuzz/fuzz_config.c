/* The config parser against any bytes. What it accepts must be printed as a text
 * that it accepts again, and that prints the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const mneme_option plain_options[] = {
  {"size", MNEME_OPTION_SIZE, "1MiB", 1, INT64_MAX, "A size."},
  {"wait", MNEME_OPTION_DURATION, "30s", 0, 0, "A duration."},
  {"sync", MNEME_OPTION_BOOL, "true", 0, 0, "A switch."},
  {"count", MNEME_OPTION_INT, "5", -10, 10, "A number."},
  {"note", MNEME_OPTION_STRING, "", 0, 0, "A text."},
  {0},
};
static const mneme_option store_options[] = {
  {"path", MNEME_OPTION_STRING, NULL, 0, 0, "Where it is."},
  {0},
};
static const mneme_backend_type types[] = {
  {.name = "plain", .doc = "", .options = plain_options},
  {.name = "store", .doc = "", .options = store_options},
};

static const mneme_backend_type *type_at(void *ctx, size_t i) {
  (void)ctx;
  return i < sizeof types / sizeof types[0] ? &types[i] : NULL;
}

static const mneme_backend_type *type_load(void *ctx, const char *path, char *error, size_t size) {
  (void)ctx;
  if (strlen(path) % 2 == 0)
    return &types[0];
  snprintf(error, size, "cannot be loaded");
  return NULL;
}

static const char *env(void *ctx, const char *name) {
  (void)ctx;
  return strcmp(name, "HOME") == 0   ? "/home/bob"
         : strcmp(name, "BAD") == 0  ? "\xff\xfe"
         : strcmp(name, "NONE") == 0 ? ""
         : strcmp(name, "COST") == 0 ? "$${x} \"\\\n'"
                                     : NULL;
}

/* Every byte of the text is read, so that a bad pointer is seen. */
static void error(void *ctx, const char *text) {
  size_t *total = ctx;
  *total += strlen(text);
}

static char *print(const config *c, size_t *ret_size) {
  char *text = NULL;
  FILE *out = open_memstream(&text, ret_size);
  if (out == NULL || !config_print(c, out) || fclose(out) != 0)
    abort();
  return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t total = 0;
  const config_host host = {type_at, type_load, env, error, &total};
  config *c = NULL;
  if (!config_parse((const char *)data, size, "fuzz.yaml", &host, &c)) {
    if (total == 0)
      abort(); /* refused without a reason */
    return 0;
  }
  size_t first_size, second_size;
  char *first = print(c, &first_size);
  config *again = NULL;
  if (!config_parse(first, first_size, "printed.yaml", &host, &again))
    abort();
  char *second = print(again, &second_size);
  if (first_size != second_size || memcmp(first, second, first_size) != 0)
    abort();
  config_close(c);
  config_close(again);
  free(first);
  free(second);
  return 0;
}
