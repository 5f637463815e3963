/* The table of settings and the table of policy keys: names, ranges, defaults and
 * documentation, once. */
#ifndef MNEME_CONFIG_SETTING_H
#define MNEME_CONFIG_SETTING_H

#include "config/config.h"
#include "registry/option.h"

/* section.name in the file. choices: the value is one of these words and its
 * place is what is stored (then option.type is STRING). */
typedef struct setting {
  const char *section;
  mneme_option option;
  const char *const *choices; /* NULL at the end */
  size_t offset;              /* of its int64_t in config_settings */
} setting;

extern const setting settings[]; /* option.name NULL at the end; sections together */
extern const char *const setting_sections[]; /* NULL at the end */

static inline int64_t *setting_at(config_settings *s, const setting *row) {
  return (int64_t *)(void *)((char *)s + row->offset);
}

/* text ends in NUL. false = error says what was found and what was expected. */
bool setting_parse(const setting *row, const char *text, int64_t *ret_value, char *error,
                   size_t size);
void setting_format(const setting *row, int64_t value, char *out, size_t size);
/* "duration from 1s to 1d", "debug, info, warn or error" */
void setting_describe(const setting *row, char *out, size_t size);

void setting_defaults(config_settings *ret_settings);

/* The keys of a rule's policy, in the order of SessionPolicy's fields. */
typedef struct policy_key {
  policy_field field;
  mneme_option option; /* a default of NULL: unset */
  const char *const *choices;
} policy_key;

extern const policy_key policy_keys[]; /* option.name NULL at the end */
/* Keys that SessionPolicy has and this server does not serve; NULL at the end. */
extern const char *const policy_keys_not_served[];

/* false = error, as above. The policy's text borrows from text. */
bool policy_key_set(const policy_key *key, const char *text, policy *p, char *error, size_t size);
/* The value of a field that is set. */
void policy_key_format(const policy_key *key, const policy *p, char *out, size_t size);
void policy_key_describe(const policy_key *key, char *out, size_t size);

#endif
