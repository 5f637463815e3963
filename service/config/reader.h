/* YAML nodes with their places, and the errors found in them.
 *
 * Internal to this room. A reader lives during one config_parse; texts that it
 * hands out live in the arena, so as long as the config. */
#ifndef MNEME_CONFIG_READER_H
#define MNEME_CONFIG_READER_H

#include <yaml.h>

#include "config/config.h"

#define READER_ERROR_MAX 1024 /* bytes of one error text, with its NUL */

typedef struct reader_error_entry {
  size_t line, column; /* from 1; 0 = of the file as a whole */
  char *text;
} reader_error_entry;

typedef struct reader {
  const config_host *host;
  const char *file_name;
  arena *memory;
  yaml_document_t document;
  bool has_document;
  reader_error_entry errors[CONFIG_ERRORS_MAX];
  size_t error_count; /* found; those beyond the array are only counted */
} reader;

/* A key of a mapping. */
typedef struct reader_pair {
  const char *key;
  const yaml_node_t *key_node;
  const yaml_node_t *value;
} reader_pair;

/* A scalar after expansion, and as it stands in the file. */
typedef struct reader_text {
  const char *text;
  const char *raw;
  bool expanded; /* holds what stood in the environment: not to be shown */
} reader_text;

void reader_init(reader *r, const char *file_name, const config_host *host, arena *memory);
/* Hands the errors to the host, sorted by place; whether there were none. */
bool reader_close(reader *r);

/* Reads the one document; false = an error was reported. *ret_root is NULL when
 * the file is empty. */
bool reader_load(reader *r, const char *text, size_t size, const yaml_node_t **ret_root);

/* at NULL = the file as a whole. */
void reader_error(reader *r, const yaml_node_t *at, const char *format, ...)
  __attribute__((format(printf, 3, 4)));
/* at counts bytes into a scalar: the column is moved by as many characters when
 * the scalar stands in the file as it is. */
void reader_error_in(reader *r, const yaml_node_t *at, size_t bytes, const char *format, ...)
  __attribute__((format(printf, 4, 5)));
void reader_error_memory(reader *r);
/* known ends in NULL. */
void reader_error_unknown(reader *r, const reader_pair *pair, const char *what,
                          const char *const *known);
/* The nearest of known, NULL = none is near. */
const char *reader_nearest(const char *name, const char *const *known);

/* "a list", "nothing", "\"abc\"": into out. */
const char *reader_describe(const yaml_node_t *node, char *out, size_t size);

bool reader_is_nothing(const yaml_node_t *node); /* empty, ~ or null, unquoted */

/* The pairs of a mapping; nothing counts as an empty mapping. false = an error was
 * reported. Keys given twice are reported, and listed once. */
bool reader_pairs(reader *r, const yaml_node_t *node, const char *expected,
                  reader_pair **ret_pairs, size_t *ret_count);
const reader_pair *reader_find(const reader_pair *pairs, size_t count, const char *key);

/* The items of a list; false = an error was reported. */
bool reader_items(reader *r, const yaml_node_t *node, size_t max, const char *expected,
                  const yaml_node_t ***ret_items, size_t *ret_count);

/* A scalar, expanded; false = an error was reported. */
bool reader_scalar(reader *r, const yaml_node_t *node, const char *expected,
                   reader_text *ret_text);

#endif
