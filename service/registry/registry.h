/* The open backends, by name and by session.
 *
 * A rule says for which sessions it is ("namespace/session", both globs, split
 * at the first "/"), on which backend they live, and under which policy. The
 * first rule that matches counts. A session that none matches lives on the first
 * backend with an empty policy, so registry_route always has an answer; a config
 * makes that rule visible by appending it (see service/config).
 *
 * Ownership: names, patterns, option values, policies and types stay with the
 * caller (the config) and must live as long as the registry.
 *
 * Threads: any, between registry_open and registry_close. */
#ifndef MNEME_REGISTRY_REGISTRY_H
#define MNEME_REGISTRY_REGISTRY_H

#include <stdatomic.h>

#include "mneme/backend.h"
#include "policy/policy.h"
#include "registry/glob.h"

#define REGISTRY_BACKENDS_MAX 64
#define REGISTRY_RULES_MAX 1001 /* 1,000 of the config and the one for the rest */
#define REGISTRY_ERROR_MAX 1024 /* bytes of an error text, with its NUL */
#define REGISTRY_TIMEOUTS_MAX 3 /* pings without an answer until a backend counts as down */

typedef struct registry registry;

/* A backend as the config has it. */
typedef struct registry_entry {
  const char *name;
  const char *plugin; /* path, NULL = built in */
  const mneme_backend_type *type;
  const mneme_option_value *values; /* as many as type->options */
} registry_entry;

typedef struct registry_rule {
  const char *match;
  size_t backend; /* place in the list of entries */
  policy policy;
} registry_rule;

/* An open backend: type->commit(instance, ...). */
typedef struct registry_backend {
  const char *name;
  const mneme_backend_type *type;
  mneme_backend *instance;
  size_t index; /* place in the list of entries */
} registry_backend;

typedef struct registry_routed {
  registry_backend *backend;
  const policy *rule;
} registry_routed;

/* Opens them in their order; may block. On failure those already open are closed
 * in reverse order. Logs a warning for each backend that a rule names and that
 * does not keep memories over a crash. */
registry *registry_open(const registry_entry *entries, size_t entry_count,
                        const registry_rule *rules, size_t rule_count, char *error, size_t size);
/* When all calls are done. In reverse order. NULL is fine. */
void registry_close(registry *r);

/* Copies the store of an entry that is not opened here, perhaps by another server,
 * into a file: see backup in backend.h. false = error says what to do. */
bool registry_backup(const registry_entry *entry, const char *file, char *error, size_t size);

size_t registry_count(const registry *r);
registry_backend *registry_at(const registry *r, size_t i);

/* What the backend keeps when something fails. */
mneme_durability registry_durability(const registry_backend *b);

/* Where a session lives and under which rule. Takes no memory and no lock. */
registry_routed registry_route(const registry *r, mneme_bytes ns, mneme_bytes session);

/* Splits and compiles a pattern of a rule, for whoever checks a config. false =
 * ret_problem says what is wrong at the byte *ret_at. */
bool registry_check_match(const char *match, const char **ret_problem, size_t *ret_at);
/* Whether a pattern matches every session. */
bool registry_match_is_all(const char *match);

/* --- Health -------------------------------------------------------------- */

/*            OK                    OK
 *   serving <---- down          serving <---- damaged
 *      | DOWN, or the third        |  CORRUPT
 *      '-> TIMEOUT in a row        '-> damaged
 *
 * A backend serves until something else is known. Other statuses of a ping say
 * nothing and change nothing. */
typedef enum registry_state {
  REGISTRY_SERVING = 0,
  REGISTRY_DOWN = 1,
  REGISTRY_DAMAGED = 2
} registry_state;

typedef struct registry_health {
  registry_state state;
  const char *message; /* for people; "" while serving; a constant */
} registry_health;

registry_health registry_get_health(const registry_backend *b);
/* What a ping answered. true = the state has changed (and was logged): tell those
 * who watch. */
bool registry_set_health(registry_backend *b, mneme_status ping);

#endif
