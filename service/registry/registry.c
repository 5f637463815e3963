/* Everything that a route needs is compiled when the registry opens and never
 * changes after it, so routes take neither a lock nor memory:
 *
 *   rules[]  {namespace glob, session glob, backend, policy}   first match wins
 *
 * A linear walk: most rules are told apart by a length or a prefix, and a
 * thousand of them cost some microseconds. With "*" slash "*" first it costs two
 * comparisons.
 *
 * Health is one atomic word per backend: state, timeouts in a row. */
#include "registry/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "registry/option.h"

/* What the public part of an instance does not show. */
typedef struct instance {
  registry_backend public; /* first: see instance_of */
  mneme_host host;         /* see host_log */
  atomic_uint health;      /* state | timeouts << 8 */
} instance;

typedef struct rule {
  glob ns;
  glob session;
  instance *backend;
  const policy *policy;
} rule;

struct registry {
  size_t count;
  size_t rule_count;
  rule *rules;
  instance instances[];
};

static const policy empty_policy;

static instance *instance_of(const registry_backend *b) {
  return (instance *)(uintptr_t)b;
}

/* --- Opening ------------------------------------------------------------- */

static void host_log(const mneme_host *host, mneme_log_level level, const char *text) {
  const instance *in = (const instance *)((const char *)host - offsetof(instance, host));
  log_level known = level <= MNEME_LOG_DEBUG   ? LOG_DEBUG
                    : level == MNEME_LOG_INFO  ? LOG_INFO
                    : level == MNEME_LOG_WARN  ? LOG_WARN
                                               : LOG_ERROR;
  log_event(known, "backend says", log_text("backend", in->public.name), log_text("text", text),
            log_end());
}

static void prepare(instance *in, const registry_entry *entry) {
  in->public.name = entry->name;
  in->public.type = entry->type;
  in->host.abi = MNEME_ABI;
  in->host.struct_size = sizeof in->host;
  in->host.log = host_log;
}

static bool open_instance(instance *in, const registry_entry *entry, size_t index, char *error,
                          size_t size) {
  prepare(in, entry);
  in->public.index = index;
  char problem[REGISTRY_ERROR_MAX / 2] = "";
  mneme_backend *opened = NULL;
  mneme_status status =
    entry->type->open(&in->host, entry->values, &opened, problem, sizeof problem);
  problem[sizeof problem - 1] = '\0';
  if (status == MNEME_OK && opened != NULL) {
    in->public.instance = opened;
    return true;
  }
  snprintf(error, size, "backend \"%s\" (type %s) cannot be opened: %s", entry->name,
           entry->type->name, problem[0] != '\0' ? problem : "it does not say why");
  return false;
}

mneme_durability registry_durability(const registry_backend *b) {
  if (b->type->durability != NULL)
    return b->type->durability(b->instance);
  return b->type->caps & MNEME_CAP_DURABLE ? MNEME_DURABILITY_FULL : MNEME_DURABILITY_NONE;
}

bool registry_backup(const registry_entry *entry, const char *file, char *error, size_t size) {
  instance in = {0};
  char problem[REGISTRY_ERROR_MAX / 2] = "it does not say why";
  prepare(&in, entry);
  if (entry->type->backup == NULL) {
    snprintf(error, size, "backends of the type %s cannot be copied into a file: back up "
                          "\"%s\" by the means of its store", entry->type->name, entry->name);
    return false;
  }
  if (entry->type->backup(&in.host, entry->values, file, problem, sizeof problem) == MNEME_OK)
    return true;
  problem[sizeof problem - 1] = '\0';
  snprintf(error, size, "backend \"%s\" (type %s) was not backed up: %s", entry->name,
           entry->type->name, problem);
  return false;
}

static bool split(const char *match, mneme_bytes *ret_ns, mneme_bytes *ret_session) {
  const char *slash = strchr(match, '/');
  if (slash == NULL)
    return false;
  *ret_ns = mneme_bytes_of(match, (size_t)(slash - match));
  *ret_session = mneme_bytes_of(slash + 1, strlen(slash + 1));
  return true;
}

static bool compile(const char *match, glob *ret_ns, glob *ret_session, const char **ret_problem,
                    size_t *ret_at) {
  mneme_bytes ns, session;
  *ret_at = 0;
  if (!split(match, &ns, &session)) {
    *ret_problem = "there is no \"/\" between namespace and session";
    return false;
  }
  if (ns.size == 0) {
    *ret_problem = "the namespace before the first \"/\" is empty";
    return false;
  }
  if (session.size == 0) {
    *ret_problem = "the session after the first \"/\" is empty";
    *ret_at = ns.size + 1;
    return false;
  }
  if (!glob_compile(ns, ret_ns, ret_problem, ret_at))
    return false;
  if (!glob_compile(session, ret_session, ret_problem, ret_at)) {
    *ret_at += ns.size + 1;
    return false;
  }
  return true;
}

bool registry_check_match(const char *match, const char **ret_problem, size_t *ret_at) {
  glob ns, session;
  return compile(match, &ns, &session, ret_problem, ret_at);
}

bool registry_match_is_all(const char *match) {
  mneme_bytes ns, session;
  return split(match, &ns, &session) && ns.size > 0 && session.size > 0 &&
         strspn(ns.data, "*") == ns.size && strspn(session.data, "*") == session.size;
}

static bool compile_rules(registry *r, const registry_rule *rules, size_t rule_count, char *error,
                          size_t size) {
  r->rules = calloc(rule_count + 1, sizeof r->rules[0]);
  if (r->rules == NULL) {
    snprintf(error, size, "there is no memory for the rules");
    return false;
  }
  for (size_t i = 0; i < rule_count; i++) {
    rule *to = &r->rules[i];
    const char *problem = "it names no backend";
    size_t at;
    if (rules[i].backend >= r->count ||
        !compile(rules[i].match, &to->ns, &to->session, &problem, &at)) {
      snprintf(error, size, "rule \"%.400s\" cannot be used: %s", rules[i].match, problem);
      return false;
    }
    to->backend = &r->instances[rules[i].backend];
    to->policy = &rules[i].policy;
  }
  r->rule_count = rule_count;
  return true;
}

static void warn_of_loss(const registry *r) {
  for (size_t i = 0; i < r->count; i++) {
    const registry_backend *b = &r->instances[i].public;
    bool named = r->rule_count == 0 && i == 0;
    for (size_t j = 0; j < r->rule_count && !named; j++)
      named = &r->rules[j].backend->public == b;
    if (named && registry_durability(b) == MNEME_DURABILITY_NONE)
      log_event(LOG_WARN, "memories on this backend are not durable: a crash may lose them",
                log_text("backend", b->name), log_text("type", b->type->name), log_end());
  }
}

registry *registry_open(const registry_entry *entries, size_t entry_count,
                        const registry_rule *rules, size_t rule_count, char *error, size_t size) {
  if (entry_count < 1 || entry_count > REGISTRY_BACKENDS_MAX || rule_count > REGISTRY_RULES_MAX) {
    snprintf(error, size, "there must be 1 to %d backends and at most %d rules",
             REGISTRY_BACKENDS_MAX, REGISTRY_RULES_MAX);
    return NULL;
  }
  registry *r = calloc(1, sizeof *r + entry_count * sizeof r->instances[0]);
  if (r == NULL) {
    snprintf(error, size, "there is no memory for the backends");
    return NULL;
  }
  r->count = entry_count; /* compile_rules refers to them; none is open yet */
  if (!compile_rules(r, rules, rule_count, error, size)) {
    r->count = 0;
    registry_close(r);
    return NULL;
  }
  for (r->count = 0; r->count < entry_count; r->count++) {
    if (!open_instance(&r->instances[r->count], &entries[r->count], r->count, error, size)) {
      registry_close(r);
      return NULL;
    }
  }
  warn_of_loss(r);
  return r;
}

void registry_close(registry *r) {
  if (r == NULL)
    return;
  for (size_t i = r->count; i-- > 0;) {
    const registry_backend *b = &r->instances[i].public;
    b->type->close(b->instance);
  }
  free(r->rules);
  free(r);
}

/* --- Finding ------------------------------------------------------------- */

size_t registry_count(const registry *r) {
  return r->count;
}

registry_backend *registry_at(const registry *r, size_t i) {
  return i < r->count ? (registry_backend *)&r->instances[i].public : NULL;
}

registry_routed registry_route(const registry *r, mneme_bytes ns, mneme_bytes session) {
  for (size_t i = 0; i < r->rule_count; i++) {
    const rule *candidate = &r->rules[i];
    if (glob_match(&candidate->ns, ns) && glob_match(&candidate->session, session))
      return (registry_routed){&candidate->backend->public, candidate->policy};
  }
  return (registry_routed){registry_at(r, 0), &empty_policy};
}

/* --- Health -------------------------------------------------------------- */

#define STATE(word) ((registry_state)((word) & 0xff))
#define TIMEOUTS(word) ((word) >> 8)
#define WORD(state, timeouts) ((unsigned)(state) | (timeouts) << 8)

static unsigned next_word(unsigned word, mneme_status ping) {
  registry_state state = STATE(word);
  switch (ping) {
  case MNEME_OK: return WORD(REGISTRY_SERVING, 0u);
  case MNEME_DOWN: return WORD(REGISTRY_DOWN, 0u);
  case MNEME_CORRUPT: return WORD(REGISTRY_DAMAGED, 0u);
  case MNEME_TIMEOUT:
    if (state != REGISTRY_SERVING)
      return word;
    return TIMEOUTS(word) + 1 >= REGISTRY_TIMEOUTS_MAX ? WORD(REGISTRY_DOWN, 0u)
                                                       : WORD(state, TIMEOUTS(word) + 1);
  default: return word;
  }
}

bool registry_set_health(registry_backend *b, mneme_status ping) {
  instance *in = instance_of(b);
  unsigned word = atomic_load(&in->health);
  unsigned next;
  do
    next = next_word(word, ping);
  while (!atomic_compare_exchange_weak(&in->health, &word, next));
  if (STATE(next) == STATE(word))
    return false;
  if (STATE(next) == REGISTRY_SERVING)
    log_event(LOG_INFO, "backend serves again", log_text("backend", b->name), log_end());
  else
    log_event(LOG_WARN, "backend does not serve", log_text("backend", b->name),
              log_text("reason", registry_get_health(b).message), log_end());
  return true;
}

registry_health registry_get_health(const registry_backend *b) {
  static const char *const messages[] = {
    [REGISTRY_SERVING] = "",
    [REGISTRY_DOWN] = "the store does not answer",
    [REGISTRY_DAMAGED] = "what is stored is damaged",
  };
  instance *in = instance_of(b);
  registry_state state = STATE(atomic_load(&in->health));
  return (registry_health){.state = state, .message = messages[state]};
}
