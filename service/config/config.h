/* The effective configuration: plain values, every default filled in.
 *
 *   YAML text --reader--> nodes, env expanded --parse--> config --print--> YAML
 *                                                ^
 *                    environment, command line --' config_override
 *
 * Every setting is a row of one table (setting.h), from which it is parsed,
 * checked, printed and documented; options of backends are rows of the backend's
 * own table. README.md lists them all.
 *
 * Ownership: everything in a config belongs to it and lives until config_close;
 * types of backends belong to the config_host. Threads: read-only once made.
 *
 * Limits: see below. A file can't nest deeper than CONFIG_DEPTH_MAX, and all that
 * is taken from it (anchors expanded) fits into CONFIG_MEMORY_MAX. */
#ifndef MNEME_CONFIG_CONFIG_H
#define MNEME_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "registry/registry.h"

#define CONFIG_FILE_MAX (1024 * 1024) /* bytes */
#define CONFIG_DEPTH_MAX 16
#define CONFIG_SCALAR_MAX (64 * 1024) /* bytes, before and after expansion */
#define CONFIG_KEYS_MAX 256           /* in one mapping */
#define CONFIG_BACKENDS_MAX REGISTRY_BACKENDS_MAX
#define CONFIG_RULES_MAX 1000
#define CONFIG_NAME_MAX 64    /* bytes of a backend's name */
#define CONFIG_MATCH_MAX 1024 /* bytes of a rule's pattern */
#define CONFIG_LISTEN_MAX 8   /* as TRANSPORT_LISTEN_MAX */
#define CONFIG_ERRORS_MAX 20  /* reported; the rest is counted */
#define CONFIG_MEMORY_MAX (16 * 1024 * 1024)
#define CONFIG_LISTEN_DEFAULT "127.0.0.1:7700"

/* Numbers that one row of the table sets each; what they mean stands there. Sizes
 * in bytes, durations in microseconds. */
typedef struct config_settings {
  int64_t log_level;  /* a log_level */
  int64_t log_format; /* a log_format */
  /* transport_options */
  int64_t queues; /* 0 = one for two cores */
  int64_t slots;
  int64_t receive_max;
  int64_t metadata_max;
  int64_t memory_quota;
  int64_t streams_per_connection;
  int64_t calls;
  int64_t arena_max;
  int64_t keepalive_us;
  int64_t keepalive_timeout_us;
  int64_t idle_us;
  int64_t drain_us;
  /* pool_options */
  int64_t workers;
  int64_t worker_queue;
  int64_t worker_timers;
  /* the sweeper */
  int64_t sweep_interval_us;
} config_settings;

typedef struct config {
  const char *listen[CONFIG_LISTEN_MAX];
  size_t listen_count; /* at least 1 */
  config_settings settings;
  registry_entry *backends;
  size_t backend_count; /* at least 1 */
  bool names_backends;  /* the file does, so that MEMORY_DB_URL says nothing */
  /* The last rule matches everything; it was added when the file has none such. */
  registry_rule *rules;
  size_t rule_count;
  arena memory;
} config;

/* What the parser needs from outside, so that it touches neither files nor the
 * environment by itself. NULL functions: no types, no plugins, nothing set. */
typedef struct config_host {
  /* Built-in types in order; NULL at the end. */
  const mneme_backend_type *(*type_at)(void *ctx, size_t i);
  /* The type of the plugin at path; NULL = error says why. */
  const mneme_backend_type *(*type_load)(void *ctx, const char *path, char *error, size_t size);
  const char *(*env)(void *ctx, const char *name); /* NULL = not set */
  /* One error, without a newline: "FILE:LINE:COLUMN: text". */
  void (*error)(void *ctx, const char *text);
  void *ctx;
} config_host;

/* text need not end in NUL; size 0 gives the defaults: one backend named
 * "default", which MEMORY_DB_URL names, or else of the first built-in type that
 * has no required option. false = at least one error was reported. */
bool config_parse(const char *text, size_t size, const char *file_name, const config_host *host,
                  config **ret_config);
/* NULL is fine. */
void config_close(config *c);

/* Sets one of "listen" (several by commas), "log.level", "log.format" on behalf
 * of an environment variable or a flag, which origin names. */
bool config_override(config *c, const char *key, const char *value, const char *origin,
                     const config_host *host);

/* Whether every address can be reached from this machine only; reports those that
 * can't. Resolves names. */
bool config_check_local(const config *c, const config_host *host);

/* The effective config as YAML that parses to the same config. */
bool config_print(const config *c, FILE *out);

/* Markdown: every key with its value, default and meaning; with a host also the
 * options of its built-in types. */
void config_print_reference(FILE *out, const config_host *host);

#endif
