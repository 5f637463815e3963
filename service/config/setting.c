/* A setting and an option of a backend are the same kind of thing, so a row holds
 * a mneme_option and goes through registry/option.h. Words out of a fixed set are
 * the one addition. */
#include "config/setting.h"

#include <stdio.h>
#include <string.h>

#include "base/pool.h"

#define MS INT64_C(1000)
#define S (1000 * MS)
#define H (3600 * S)
#define D (24 * H)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_words[] = {"text", "json", NULL};
/* The place is the mneme_evict less one. */
static const char *const eviction_words[] = {"fifo", "least_important", "reject", NULL};

const char *const setting_sections[] = {"log", "limits", "sweep", NULL};

#define AT(field) offsetof(config_settings, field)
#define WORD(section, name, value, words, field, doc) \
  {section, {name, MNEME_OPTION_STRING, value, 0, 0, doc}, words, AT(field)}
#define INT(section, name, value, min, max, field, doc) \
  {section, {name, MNEME_OPTION_INT, value, min, max, doc}, NULL, AT(field)}
#define SIZE(section, name, value, min, max, field, doc) \
  {section, {name, MNEME_OPTION_SIZE, value, min, max, doc}, NULL, AT(field)}
#define TIME(section, name, value, min, max, field, doc) \
  {section, {name, MNEME_OPTION_DURATION, value, min, max, doc}, NULL, AT(field)}

const setting settings[] = {
  WORD("log", "level", "info", level_words, log_level, "Events below it are not logged."),
  WORD("log", "format", "text", format_words, log_format,
       "One event a line to standard error, for people or for programs."),
  INT("limits", "queues", "0", 0, 64, queues,
      "Completion queues of the transport, a thread each; 0 = one for two cores."),
  INT("limits", "slots", "16", 1, 64, slots,
      "Calls that each queue stands ready for, per method."),
  SIZE("limits", "receive_max", "4MiB", 64 * KIB, 4 * MIB, receive_max,
       "Largest request; a larger one is refused with RESOURCE_EXHAUSTED."),
  SIZE("limits", "metadata_max", "16KiB", KIB, MIB, metadata_max,
       "Largest set of request headers."),
  SIZE("limits", "memory_quota", "256MiB", 0, 1024 * GIB, memory_quota,
       "Memory for buffers of the transport; 0 = no bound."),
  INT("limits", "streams_per_connection", "1024", 1, 1000000, streams_per_connection,
      "Calls that one connection may have under way."),
  INT("limits", "calls", "4096", 1, 1000000, calls,
      "Calls under way at once; further ones are refused with UNAVAILABLE."),
  SIZE("limits", "arena_max", "256MiB", 64 * MIB, 4 * GIB, arena_max,
       "Memory that one call may take."),
  TIME("limits", "keepalive", "30s", S, D, keepalive_us,
       "A connection that is silent for this long is pinged."),
  TIME("limits", "keepalive_timeout", "10s", 100 * MS, H, keepalive_timeout_us,
       "A connection that does not answer a ping for this long is closed."),
  TIME("limits", "idle", "0", 0, 7 * D, idle_us,
       "A connection without calls for this long is closed; 0 = never."),
  TIME("limits", "drain", "10s", 0, H, drain_us,
       "At shutdown, how long calls under way may take to finish."),
  INT("limits", "workers", "4", 1, POOL_THREADS_MAX, workers,
      "Threads for storage that waits."),
  INT("limits", "worker_queue", "1024", 1, POOL_QUEUE_MAX, worker_queue,
      "Calls that may wait for a worker; further ones are refused with UNAVAILABLE."),
  INT("limits", "worker_timers", "4096", 16, POOL_TIMERS_MAX, worker_timers,
      "Retries and periodic work that may wait for their time."),
  TIME("sweep", "interval", "1s", 10 * MS, D, sweep_interval_us,
       "How often expired memories and sessions are looked for."),
  {NULL, {NULL, 0, NULL, 0, 0, NULL}, NULL, 0},
};

#define COUNT(field, name, doc) \
  {field, {name, MNEME_OPTION_INT, NULL, 1, POLICY_COUNT_MAX, doc}, NULL}
#define SPAN(field, name, min, max, doc) \
  {field, {name, MNEME_OPTION_DURATION, NULL, min, max, doc}, NULL}

const policy_key policy_keys[] = {
  COUNT(POLICY_MAX_MEMORIES, "max_memories", "Short for evict_above and evict_to of this number."),
  COUNT(POLICY_MAX_TOKENS, "max_tokens",
        "Short for evict_above_tokens and evict_to_tokens of this number."),
  COUNT(POLICY_EVICT_ABOVE, "evict_above", "More live memories than this trigger an eviction."),
  COUNT(POLICY_EVICT_TO, "evict_to", "An eviction leaves at most this many; unset = evict_above."),
  COUNT(POLICY_EVICT_ABOVE_TOKENS, "evict_above_tokens",
        "More tokens in live memories than this trigger an eviction."),
  COUNT(POLICY_EVICT_TO_TOKENS, "evict_to_tokens",
        "An eviction leaves at most this many tokens; unset = evict_above_tokens."),
  {POLICY_EVICTION,
   {"eviction", MNEME_OPTION_STRING, NULL, 0, 0, "Which memories go first; unset = fifo."},
   eviction_words},
  {POLICY_KEEP_SYSTEM,
   {"keep_system", MNEME_OPTION_BOOL, NULL, 0, 0, "Memories of role system count as pinned."},
   NULL},
  SPAN(POLICY_MAX_AGE, "max_age", 1, POLICY_DURATION_MAX_US,
       "Memories older than this are gone, pinned ones excepted."),
  SPAN(POLICY_TTL, "ttl", 1, POLICY_DURATION_MAX_US,
       "The session is gone this long after its last append."),
  SPAN(POLICY_IDEMPOTENCY_WINDOW, "idempotency_window", POLICY_WINDOW_MIN_US,
       POLICY_WINDOW_MAX_US, "How long a request_id is remembered; unset = 1h."),
  {POLICY_DEFAULT_KIND,
   {"default_kind", MNEME_OPTION_STRING, NULL, 0, 0,
    "The kind of memories appended without one; unset = message."},
   NULL},
  SPAN(POLICY_CLEANUP_INTERVAL, "cleanup_interval", POLICY_CLEANUP_MIN_US, POLICY_CLEANUP_MAX_US,
       "How often at most the sweeper removes what has expired; unset = sweep.interval."),
  {0, {NULL, 0, NULL, 0, 0, NULL}, NULL},
};

const char *const policy_keys_not_served[] = {"language", "search_metadata", NULL};

/* --- Words --------------------------------------------------------------- */

static void describe_words(const char *const *words, char *out, size_t size) {
  size_t used = 0;
  out[0] = '\0';
  for (size_t i = 0; words[i] != NULL && used < size; i++) {
    const char *between = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
    used += (size_t)snprintf(out + used, size - used, "%s%s", between, words[i]);
  }
}

static bool parse_word(const char *const *words, const char *text, int64_t *ret_place, char *error,
                       size_t size) {
  for (size_t i = 0; words[i] != NULL; i++) {
    if (strcmp(words[i], text) == 0) {
      *ret_place = (int64_t)i;
      return true;
    }
  }
  char expected[OPTION_PROBLEM_MAX / 2];
  describe_words(words, expected, sizeof expected);
  snprintf(error, size, "\"%.40s%s\" is not understood, expected %s", text,
           strlen(text) > 40 ? "..." : "", expected);
  return false;
}

/* --- Settings ------------------------------------------------------------ */

bool setting_parse(const setting *row, const char *text, int64_t *ret_value, char *error,
                   size_t size) {
  if (row->choices != NULL)
    return parse_word(row->choices, text, ret_value, error, size);
  mneme_option_value value;
  if (!option_parse(&row->option, text, &value, error, size))
    return false;
  *ret_value = value.integer;
  return true;
}

void setting_format(const setting *row, int64_t value, char *out, size_t size) {
  if (row->choices != NULL)
    snprintf(out, size, "%s", row->choices[value]);
  else
    option_format(&row->option, &(mneme_option_value){.integer = value}, out, size);
}

void setting_describe(const setting *row, char *out, size_t size) {
  if (row->choices != NULL)
    describe_words(row->choices, out, size);
  else
    option_describe(&row->option, out, size);
}

void setting_defaults(config_settings *ret_settings) {
  for (const setting *row = settings; row->option.name != NULL; row++) {
    char error[OPTION_PROBLEM_MAX];
    /* A default that does not parse is found by the first test. */
    (void)setting_parse(row, row->option.default_value, setting_at(ret_settings, row), error,
                        sizeof error);
  }
}

/* --- Policy keys --------------------------------------------------------- */

bool policy_key_set(const policy_key *key, const char *text, policy *p, char *error, size_t size) {
  mneme_option_value value = {0};
  bool ok = key->choices != NULL ? parse_word(key->choices, text, &value.integer, error, size)
                                 : option_parse(&key->option, text, &value, error, size);
  if (!ok)
    return false;
  p->set |= 1u << key->field;
  switch (key->field) {
  case POLICY_MAX_MEMORIES: p->max_memories = value.integer; break;
  case POLICY_MAX_TOKENS: p->max_tokens = value.integer; break;
  case POLICY_EVICT_ABOVE: p->evict_above = value.integer; break;
  case POLICY_EVICT_TO: p->evict_to = value.integer; break;
  case POLICY_EVICT_ABOVE_TOKENS: p->evict_above_tokens = value.integer; break;
  case POLICY_EVICT_TO_TOKENS: p->evict_to_tokens = value.integer; break;
  case POLICY_EVICTION: p->eviction = (mneme_evict)(value.integer + 1); break;
  case POLICY_KEEP_SYSTEM: p->keep_system = value.integer != 0; break;
  case POLICY_MAX_AGE: p->max_age_us = value.integer; break;
  case POLICY_TTL: p->ttl_us = value.integer; break;
  case POLICY_IDEMPOTENCY_WINDOW: p->window_us = value.integer; break;
  case POLICY_DEFAULT_KIND: p->default_kind = mneme_bytes_of(text, strlen(text)); break;
  case POLICY_CLEANUP_INTERVAL: p->cleanup_us = value.integer; break;
  }
  return true;
}

void policy_key_format(const policy_key *key, const policy *p, char *out, size_t size) {
  mneme_option_value value = {0};
  switch (key->field) {
  case POLICY_MAX_MEMORIES: value.integer = p->max_memories; break;
  case POLICY_MAX_TOKENS: value.integer = p->max_tokens; break;
  case POLICY_EVICT_ABOVE: value.integer = p->evict_above; break;
  case POLICY_EVICT_TO: value.integer = p->evict_to; break;
  case POLICY_EVICT_ABOVE_TOKENS: value.integer = p->evict_above_tokens; break;
  case POLICY_EVICT_TO_TOKENS: value.integer = p->evict_to_tokens; break;
  case POLICY_EVICTION: snprintf(out, size, "%s", eviction_words[p->eviction - 1]); return;
  case POLICY_KEEP_SYSTEM: value.integer = p->keep_system; break;
  case POLICY_MAX_AGE: value.integer = p->max_age_us; break;
  case POLICY_TTL: value.integer = p->ttl_us; break;
  case POLICY_IDEMPOTENCY_WINDOW: value.integer = p->window_us; break;
  case POLICY_DEFAULT_KIND:
    snprintf(out, size, "%.*s", (int)p->default_kind.size, p->default_kind.data);
    return;
  case POLICY_CLEANUP_INTERVAL: value.integer = p->cleanup_us; break;
  }
  option_format(&key->option, &value, out, size);
}

void policy_key_describe(const policy_key *key, char *out, size_t size) {
  if (key->choices != NULL)
    describe_words(key->choices, out, size);
  else
    option_describe(&key->option, out, size);
}
