/* Sections are read in the order of who refers to whom, whatever their order in
 * the file: settings, listen, backends, and then the rules that name backends.
 *
 * An error does not end the reading: what is wrong is reported and left out, so
 * that one run shows as many errors as there are. What is left out can make a
 * later part look wrong, so a rule's backend is looked for among all names that
 * stand in the file, opened or not. */
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "config/config.h"
#include "config/reader.h"
#include "config/setting.h"
#include "config/store.h"
#include "registry/option.h"
#include "registry/types.h"

#define MATCH_ALL "*/*"
#define TYPES_SHOWN_MAX 128

static const char *const top_keys[] = {"listen", "log",   "backends", "sessions",
                                       "limits", "sweep", NULL};
static const char *const rule_keys[] = {"match", "backend", "policy", NULL};

/* --- Settings ------------------------------------------------------------ */

/* A value that came out of the environment may be a secret: it is not repeated. */
static void report_value(reader *r, const yaml_node_t *node, const reader_text *value,
                         const char *problem, const char *expected) {
  if (value->expanded)
    reader_error(r, node, "what \"%.60s\" stands for is not what is expected: %s", value->raw,
                 expected);
  else
    reader_error(r, node, "%s", problem);
}

static void read_section(reader *r, config *c, const char *section, const yaml_node_t *node) {
  reader_pair *pairs;
  size_t count;
  if (!reader_pairs(r, node, "a mapping of settings", &pairs, &count))
    return;
  const char *known[CONFIG_KEYS_MAX + 1];
  size_t known_count = 0;
  for (const setting *row = settings; row->option.name != NULL; row++) {
    if (strcmp(row->section, section) == 0 && known_count < CONFIG_KEYS_MAX)
      known[known_count++] = row->option.name;
  }
  known[known_count] = NULL;

  for (size_t i = 0; i < count; i++) {
    const setting *row = settings;
    while (row->option.name != NULL &&
           (strcmp(row->section, section) != 0 || strcmp(row->option.name, pairs[i].key) != 0))
      row++;
    if (row->option.name == NULL) {
      reader_error_unknown(r, &pairs[i], "key", known);
      continue;
    }
    char expected[OPTION_PROBLEM_MAX], problem[OPTION_PROBLEM_MAX];
    reader_text value;
    setting_describe(row, expected, sizeof expected);
    if (reader_scalar(r, pairs[i].value, expected, &value) &&
        !setting_parse(row, value.text, setting_at(&c->settings, row), problem, sizeof problem))
      report_value(r, pairs[i].value, &value, problem, expected);
  }
}

/* --- Listen -------------------------------------------------------------- */

static void read_address(reader *r, config *c, const yaml_node_t *node) {
  static const char expected[] = "an address such as 127.0.0.1:7700 or unix:/run/mneme.sock";
  reader_text value;
  address a;
  const char *problem;
  if (!reader_scalar(r, node, expected, &value))
    return;
  if (!address_parse(value.text, &a, &problem)) {
    reader_error(r, node, "\"%.120s\" is no address: %s; expected %s",
                 value.expanded ? value.raw : value.text, problem, expected);
    return;
  }
  for (size_t i = 0; i < c->listen_count; i++) {
    if (strcmp(c->listen[i], value.text) == 0) {
      reader_error(r, node, "the address \"%.120s\" is listed twice",
                   value.expanded ? value.raw : value.text);
      return;
    }
  }
  c->listen[c->listen_count++] = value.text;
}

static void read_listen(reader *r, config *c, const yaml_node_t *node) {
  const yaml_node_t **items;
  size_t count;
  if (node->type == YAML_SCALAR_NODE) {
    read_address(r, c, node);
    return;
  }
  if (!reader_items(r, node, CONFIG_LISTEN_MAX, "an address or a list of addresses", &items,
                    &count))
    return;
  if (count == 0)
    reader_error(r, node, "found an empty list, expected at least one address");
  for (size_t i = 0; i < count; i++)
    read_address(r, c, items[i]);
}

/* --- Backends ------------------------------------------------------------ */

static const mneme_backend_type *type_at(const config_host *host, size_t i) {
  return host->type_at != NULL ? host->type_at(host->ctx, i) : NULL;
}

static const mneme_backend_type *find_type(reader *r, const reader_pair *pair) {
  reader_text value;
  const char *known[TYPES_SHOWN_MAX + 1];
  size_t count = 0;
  if (!reader_scalar(r, pair->value, "the type of a backend", &value))
    return NULL;
  const mneme_backend_type *type;
  for (size_t i = 0; (type = type_at(r->host, i)) != NULL; i++) {
    if (strcmp(type->name, value.text) == 0)
      return type;
    if (count < TYPES_SHOWN_MAX)
      known[count++] = type->name;
  }
  known[count] = NULL;
  const reader_pair at = {.key = value.expanded ? value.raw : value.text, .key_node = pair->value};
  reader_error_unknown(r, &at, "type of backend", known);
  return NULL;
}

static const mneme_backend_type *load_type(reader *r, const reader_pair *pair,
                                           registry_entry *entry) {
  reader_text value;
  char problem[BACKEND_TYPE_ERROR_MAX] = "plugins are not loaded here";
  if (!reader_scalar(r, pair->value, "the path of a plugin", &value))
    return NULL;
  const mneme_backend_type *type = NULL;
  if (r->host->type_load != NULL)
    type = r->host->type_load(r->host->ctx, value.text, problem, sizeof problem);
  if (type == NULL)
    reader_error(r, pair->value, "the plugin \"%.200s\" %s", value.raw, problem);
  entry->plugin = value.text;
  return type;
}

/* The type of an entry by `type` or `plugin`; NULL = an error was reported. */
static const mneme_backend_type *read_type(reader *r, const reader_pair *backend,
                                           const reader_pair *pairs, size_t count,
                                           registry_entry *entry) {
  const reader_pair *type = reader_find(pairs, count, "type");
  const reader_pair *plugin = reader_find(pairs, count, "plugin");
  if (type != NULL && plugin != NULL) {
    reader_error(r, plugin->key_node, "found both type and plugin, expected one of them");
    return NULL;
  }
  if (type == NULL && plugin == NULL) {
    reader_error(r, backend->key_node,
                 "the backend \"%s\" has neither type nor plugin, expected one of them",
                 backend->key);
    return NULL;
  }
  return type != NULL ? find_type(r, type) : load_type(r, plugin, entry);
}

static void read_options(reader *r, const reader_pair *backend, const reader_pair *pairs,
                         size_t count, const mneme_backend_type *type,
                         mneme_option_value *values) {
  size_t option_total = option_count(type->options);
  const char *known[OPTIONS_MAX + 3];
  known[0] = reader_find(pairs, count, "plugin") != NULL ? "plugin" : "type";
  for (size_t i = 0; i < option_total; i++)
    known[i + 1] = type->options[i].name;
  known[option_total + 1] = NULL;
  for (size_t i = 0; i < count; i++) {
    bool is_known = false;
    for (size_t j = 0; known[j] != NULL; j++)
      is_known = is_known || strcmp(known[j], pairs[i].key) == 0;
    if (!is_known)
      reader_error_unknown(r, &pairs[i], "option", known);
  }

  for (size_t i = 0; i < option_total; i++) {
    const mneme_option *option = &type->options[i];
    const reader_pair *pair = reader_find(pairs, count, option->name);
    char expected[OPTION_PROBLEM_MAX], problem[OPTION_PROBLEM_MAX];
    option_describe(option, expected, sizeof expected);
    if (pair == NULL && option->default_value == NULL) {
      reader_error(r, backend->key_node, "the backend \"%s\" lacks the option %s: %s", backend->key,
                   option->name, option->doc != NULL ? option->doc : expected);
    } else if (pair == NULL) {
      (void)store_option_default(r, option, &values[i]); /* has reported what is wrong */
    } else {
      reader_text value;
      if (reader_scalar(r, pair->value, expected, &value) &&
          !option_parse(option, value.text, &values[i], problem, sizeof problem))
        report_value(r, pair->value, &value, problem, expected);
    }
  }
}

static bool check_backend_name(reader *r, const reader_pair *backend) {
  const char *name = backend->key;
  size_t size = strlen(name);
  bool ok = size > 0 && size <= CONFIG_NAME_MAX && strchr("-_.", name[0]) == NULL &&
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == size;
  if (!ok)
    reader_error(r, backend->key_node,
                 "found \"%.80s\" as the name of a backend, expected 1 to %d letters, digits, "
                 "\"-\", \"_\" and \".\", beginning with a letter or digit",
                 name, CONFIG_NAME_MAX);
  return ok;
}

static void read_backend(reader *r, const reader_pair *backend, registry_entry *entry) {
  reader_pair *pairs;
  size_t count;
  entry->name = arena_copy(r->memory, backend->key, strlen(backend->key));
  if (entry->name == NULL) {
    reader_error_memory(r);
    return;
  }
  if (!check_backend_name(r, backend) ||
      !reader_pairs(r, backend->value, "a mapping with type or plugin", &pairs, &count))
    return;
  entry->type = read_type(r, backend, pairs, count, entry);
  if (entry->type == NULL)
    return;
  mneme_option_value *values =
    arena_calloc(r->memory, option_count(entry->type->options) + 1, sizeof *values);
  entry->values = values;
  if (values == NULL)
    reader_error_memory(r);
  else
    read_options(r, backend, pairs, count, entry->type, values);
}

static void read_backends(reader *r, config *c, const yaml_node_t *node) {
  reader_pair *pairs;
  size_t count;
  if (!reader_pairs(r, node, "a mapping of names to backends", &pairs, &count))
    return;
  if (count == 0) {
    store_default_backend(r, c);
    return;
  }
  if (count > CONFIG_BACKENDS_MAX) {
    reader_error(r, node, "found %zu backends, expected at most %d", count, CONFIG_BACKENDS_MAX);
    return;
  }
  c->backends = arena_calloc(r->memory, count, sizeof c->backends[0]);
  if (c->backends == NULL) {
    reader_error_memory(r);
    return;
  }
  c->backend_count = count;
  c->names_backends = true;
  for (size_t i = 0; i < count; i++)
    read_backend(r, &pairs[i], &c->backends[i]);
}

/* --- Sessions ------------------------------------------------------------ */

static void read_policy_key(reader *r, const reader_pair *pair, policy *p) {
  const char *known[32];
  size_t count = 0;
  for (const policy_key *key = policy_keys; key->option.name != NULL; key++) {
    if (strcmp(key->option.name, pair->key) == 0) {
      char expected[OPTION_PROBLEM_MAX], problem[OPTION_PROBLEM_MAX];
      reader_text value;
      policy_key_describe(key, expected, sizeof expected);
      if (reader_scalar(r, pair->value, expected, &value) &&
          !policy_key_set(key, value.text, p, problem, sizeof problem))
        report_value(r, pair->value, &value, problem, expected);
      return;
    }
    known[count++] = key->option.name;
  }
  known[count] = NULL;
  for (size_t i = 0; policy_keys_not_served[i] != NULL; i++) {
    if (strcmp(policy_keys_not_served[i], pair->key) == 0) {
      reader_error(r, pair->key_node, "the policy key %s is not served yet, expected it to be unset",
                   pair->key);
      return;
    }
  }
  reader_error_unknown(r, pair, "policy key", known);
}

static void read_policy(reader *r, const yaml_node_t *node, policy *ret_policy) {
  reader_pair *pairs;
  size_t count;
  if (!reader_pairs(r, node, "a mapping of policy keys", &pairs, &count))
    return;
  size_t errors = r->error_count;
  for (size_t i = 0; i < count; i++)
    read_policy_key(r, &pairs[i], ret_policy);
  policy_problem problem;
  if (r->error_count > errors || policy_check(ret_policy, &problem))
    return;
  const char *name = policy_field_name(problem.field);
  const reader_pair *pair = reader_find(pairs, count, name);
  reader_error(r, pair == NULL ? node : problem.conflict ? pair->key_node : pair->value, "%s %s",
               name, problem.text);
}

static void read_match(reader *r, const yaml_node_t *node, registry_rule *rule) {
  static const char expected[] = "\"namespace/session\" with * for anything, such as \"*/scratch-*\"";
  reader_text value;
  const char *problem;
  size_t at;
  if (!reader_scalar(r, node, expected, &value))
    return;
  if (strlen(value.text) > CONFIG_MATCH_MAX)
    reader_error(r, node, "found a pattern of %zu bytes, expected at most %d", strlen(value.text),
                 CONFIG_MATCH_MAX);
  else if (registry_check_match(value.text, &problem, &at))
    rule->match = value.text;
  else if (value.expanded)
    reader_error(r, node, "what \"%.60s\" stands for is no pattern: %s", value.raw, problem);
  else
    reader_error_in(r, node, at, "\"%.120s\" is no pattern: %s; expected %s", value.text, problem,
                    expected);
}

static void read_rule_backend(reader *r, const config *c, const yaml_node_t *node,
                              registry_rule *rule) {
  reader_text value;
  const char *known[CONFIG_BACKENDS_MAX + 1];
  if (!reader_scalar(r, node, "the name of a backend", &value))
    return;
  for (size_t i = 0; i < c->backend_count; i++) {
    known[i] = c->backends[i].name != NULL ? c->backends[i].name : "";
    if (strcmp(known[i], value.text) == 0) {
      rule->backend = i;
      return;
    }
  }
  known[c->backend_count] = NULL;
  const reader_pair at = {.key = value.expanded ? value.raw : value.text, .key_node = node};
  reader_error_unknown(r, &at, "backend", known);
}

static void read_rule(reader *r, const config *c, const yaml_node_t *node, registry_rule *rule) {
  reader_pair *pairs;
  size_t count;
  if (!reader_pairs(r, node, "a mapping with match, backend and perhaps policy", &pairs, &count))
    return;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(pairs[i].key, "match") == 0)
      read_match(r, pairs[i].value, rule);
    else if (strcmp(pairs[i].key, "backend") == 0)
      read_rule_backend(r, c, pairs[i].value, rule);
    else if (strcmp(pairs[i].key, "policy") == 0)
      read_policy(r, pairs[i].value, &rule->policy);
    else
      reader_error_unknown(r, &pairs[i], "key", rule_keys);
  }
  for (size_t i = 0; i < 2; i++) { /* match and backend */
    if (reader_find(pairs, count, rule_keys[i]) == NULL)
      reader_error(r, node, "the rule lacks %s", rule_keys[i]);
  }
}

static void read_sessions(reader *r, config *c, const yaml_node_t *node) {
  const yaml_node_t **items = NULL;
  size_t count = 0;
  if (node != NULL && !reader_items(r, node, CONFIG_RULES_MAX, "a list of rules", &items, &count))
    return;
  c->rules = arena_calloc(r->memory, count + 1, sizeof c->rules[0]);
  if (c->rules == NULL) {
    reader_error_memory(r);
    return;
  }
  size_t all_line = 0; /* of the rule that matches everything */
  for (size_t i = 0; i < count; i++) {
    read_rule(r, c, items[i], &c->rules[i]);
    if (all_line > 0)
      reader_error(r, items[i],
                   "the rule can never match: the one in line %zu matches every session", all_line);
    else if (c->rules[i].match != NULL && registry_match_is_all(c->rules[i].match))
      all_line = items[i]->start_mark.line + 1;
  }
  c->rule_count = count;
  if (all_line == 0)
    c->rules[c->rule_count++] = (registry_rule){.match = MATCH_ALL, .backend = 0};
}

/* --- The whole ----------------------------------------------------------- */

static void read_top(reader *r, config *c, const yaml_node_t *root) {
  reader_pair *pairs = NULL;
  size_t count = 0;
  if (root != NULL && !reader_pairs(r, root, "a mapping of settings", &pairs, &count))
    return;
  for (size_t i = 0; i < count; i++) {
    bool known = false;
    for (size_t j = 0; top_keys[j] != NULL; j++)
      known = known || strcmp(top_keys[j], pairs[i].key) == 0;
    if (!known)
      reader_error_unknown(r, &pairs[i], "key", top_keys);
  }
  for (size_t i = 0; setting_sections[i] != NULL; i++) {
    const reader_pair *pair = reader_find(pairs, count, setting_sections[i]);
    if (pair != NULL)
      read_section(r, c, pair->key, pair->value);
  }
  const reader_pair *listen = reader_find(pairs, count, "listen");
  if (listen != NULL)
    read_listen(r, c, listen->value);
  else
    c->listen[c->listen_count++] = CONFIG_LISTEN_DEFAULT;

  const reader_pair *backends = reader_find(pairs, count, "backends");
  if (backends != NULL)
    read_backends(r, c, backends->value);
  else
    store_default_backend(r, c);
  const reader_pair *sessions = reader_find(pairs, count, "sessions");
  read_sessions(r, c, sessions != NULL ? sessions->value : NULL);
}

bool config_parse(const char *text, size_t size, const char *file_name, const config_host *host,
                  config **ret_config) {
  config *c = calloc(1, sizeof *c);
  if (c == NULL) {
    host->error(host->ctx, "there is no memory for the config");
    return false;
  }
  arena_init(&c->memory, CONFIG_MEMORY_MAX);
  setting_defaults(&c->settings);
  reader r;
  reader_init(&r, file_name, host, &c->memory);
  const yaml_node_t *root = NULL;
  if (reader_load(&r, text, size, &root))
    read_top(&r, c, root);
  if (!reader_close(&r)) {
    config_close(c);
    return false;
  }
  *ret_config = c;
  return true;
}
