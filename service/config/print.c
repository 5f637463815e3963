/* The effective config through libyaml's emitter, so that quoting is its matter.
 * Strings are always quoted: then no text can be taken for "nothing", and "$" is
 * doubled, since what is printed would be expanded again. */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/config.h"
#include "config/setting.h"
#include "registry/option.h"

/* --- Emitting ------------------------------------------------------------ */

typedef struct printer {
  yaml_emitter_t emitter;
  bool ok;
} printer;

static int write_out(void *ctx, unsigned char *data, size_t size) {
  return fwrite(data, 1, size, ctx) == size;
}

static void emit(printer *p, int initialized, yaml_event_t *event) {
  p->ok = p->ok && initialized;
  if (p->ok)
    p->ok = yaml_emitter_emit(&p->emitter, event) != 0; /* takes the event over */
  else if (initialized)
    yaml_event_delete(event);
}

static void emit_scalar(printer *p, const char *text, yaml_scalar_style_t style) {
  yaml_event_t e;
  emit(p,
       yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1,
                                    1, style),
       &e);
}

static void emit_word(printer *p, const char *text) {
  emit_scalar(p, text, YAML_PLAIN_SCALAR_STYLE);
}

static void emit_string(printer *p, const char *text) {
  char *doubled = malloc(2 * strlen(text) + 1);
  if (doubled == NULL) {
    p->ok = false;
    return;
  }
  char *to = doubled;
  for (const char *from = text; *from != '\0'; from++) {
    if (*from == '$')
      *to++ = '$';
    *to++ = *from;
  }
  *to = '\0';
  emit_scalar(p, doubled, YAML_DOUBLE_QUOTED_SCALAR_STYLE);
  free(doubled);
}

static void begin_map(printer *p) {
  yaml_event_t e;
  emit(p, yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE), &e);
}

static void end_map(printer *p) {
  yaml_event_t e;
  emit(p, yaml_mapping_end_event_initialize(&e), &e);
}

static void begin_list(printer *p) {
  yaml_event_t e;
  emit(p, yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE), &e);
}

static void end_list(printer *p) {
  yaml_event_t e;
  emit(p, yaml_sequence_end_event_initialize(&e), &e);
}

/* --- Sections ------------------------------------------------------------ */

static void print_section(printer *p, const config *c, const char *section) {
  emit_word(p, section);
  begin_map(p);
  for (const setting *row = settings; row->option.name != NULL; row++) {
    if (strcmp(row->section, section) != 0)
      continue;
    char text[OPTION_TEXT_MAX];
    config_settings values = c->settings;
    setting_format(row, *setting_at(&values, row), text, sizeof text);
    emit_word(p, row->option.name);
    emit_word(p, text);
  }
  end_map(p);
}

static void print_backend(printer *p, const registry_entry *entry) {
  emit_scalar(p, entry->name, YAML_ANY_SCALAR_STYLE);
  begin_map(p);
  emit_word(p, entry->plugin != NULL ? "plugin" : "type");
  emit_string(p, entry->plugin != NULL ? entry->plugin : entry->type->name);
  for (size_t i = 0; i < option_count(entry->type->options); i++) {
    const mneme_option *option = &entry->type->options[i];
    char text[OPTION_TEXT_MAX];
    emit_word(p, option->name);
    if (option_is_text(option)) {
      emit_string(p, entry->values[i].string);
    } else {
      option_format(option, &entry->values[i], text, sizeof text);
      emit_word(p, text);
    }
  }
  end_map(p);
}

static void print_policy(printer *p, const policy *rule) {
  begin_map(p);
  for (const policy_key *key = policy_keys; key->option.name != NULL; key++) {
    char text[MNEME_ID_MAX + 1];
    if (!policy_has(rule, key->field))
      continue;
    policy_key_format(key, rule, text, sizeof text);
    emit_word(p, key->option.name);
    if (key->field == POLICY_DEFAULT_KIND)
      emit_string(p, text);
    else
      emit_word(p, text);
  }
  end_map(p);
}

static void print_rule(printer *p, const config *c, const registry_rule *rule) {
  begin_map(p);
  emit_word(p, "match");
  emit_string(p, rule->match);
  emit_word(p, "backend");
  emit_string(p, c->backends[rule->backend].name);
  if (rule->policy.set != 0) {
    emit_word(p, "policy");
    print_policy(p, &rule->policy);
  }
  end_map(p);
}

bool config_print(const config *c, FILE *out) {
  printer p = {.ok = true};
  yaml_event_t e;
  if (!yaml_emitter_initialize(&p.emitter))
    return false;
  yaml_emitter_set_output(&p.emitter, write_out, out);
  yaml_emitter_set_unicode(&p.emitter, 1);
  yaml_emitter_set_width(&p.emitter, -1);
  emit(&p, yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING), &e);
  emit(&p, yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1), &e);
  begin_map(&p);

  emit_word(&p, "listen");
  begin_list(&p);
  for (size_t i = 0; i < c->listen_count; i++)
    emit_string(&p, c->listen[i]);
  end_list(&p);
  emit_word(&p, "backends");
  begin_map(&p);
  for (size_t i = 0; i < c->backend_count; i++)
    print_backend(&p, &c->backends[i]);
  end_map(&p);
  emit_word(&p, "sessions");
  begin_list(&p);
  for (size_t i = 0; i < c->rule_count; i++)
    print_rule(&p, c, &c->rules[i]);
  end_list(&p);
  for (size_t i = 0; setting_sections[i] != NULL; i++)
    print_section(&p, c, setting_sections[i]);

  end_map(&p);
  emit(&p, yaml_document_end_event_initialize(&e, 1), &e);
  emit(&p, yaml_stream_end_event_initialize(&e), &e);
  p.ok = yaml_emitter_flush(&p.emitter) && p.ok;
  yaml_emitter_delete(&p.emitter);
  return fflush(out) == 0 && p.ok;
}

/* --- Reference ----------------------------------------------------------- */

static void print_backend_options(FILE *out, const mneme_backend_type *type) {
  fprintf(out, "\n### Backend type `%s`\n\n%s\n", type->name, type->doc);
  size_t count = option_count(type->options);
  if (count > 0)
    fprintf(out, "\n| Option | Value | Default | What it is |\n|---|---|---|---|\n");
  for (size_t i = 0; i < count; i++) {
    const mneme_option *o = &type->options[i];
    char value[OPTION_PROBLEM_MAX];
    option_describe(o, value, sizeof value);
    fprintf(out, "| `%s` | %s | %s%s%s | %s |\n", o->name, value,
            o->default_value != NULL ? "`" : "", o->default_value != NULL ? o->default_value : "required",
            o->default_value != NULL ? "`" : "", o->doc != NULL ? o->doc : "");
  }
}

void config_print_reference(FILE *out, const config_host *host) {
  char value[OPTION_PROBLEM_MAX];
  fprintf(out, "### Settings\n\n| Key | Value | Default | What it is |\n|---|---|---|---|\n");
  fprintf(out,
          "| `listen` | address, or a list of at most %d | `%s` | "
          "`HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; port 0 = any free one. |\n",
          CONFIG_LISTEN_MAX, CONFIG_LISTEN_DEFAULT);
  for (const setting *row = settings; row->option.name != NULL; row++) {
    setting_describe(row, value, sizeof value);
    fprintf(out, "| `%s.%s` | %s | `%s` | %s |\n", row->section, row->option.name, value,
            row->option.default_value, row->option.doc);
  }
  fprintf(out, "\n### Policy of a rule\n\n| Key | Value | What it is |\n|---|---|---|\n");
  for (const policy_key *key = policy_keys; key->option.name != NULL; key++) {
    policy_key_describe(key, value, sizeof value);
    fprintf(out, "| `%s` | %s | %s |\n", key->option.name, value, key->option.doc);
  }
  const mneme_backend_type *type;
  for (size_t i = 0; host != NULL && host->type_at != NULL &&
                     (type = host->type_at(host->ctx, i)) != NULL; i++)
    print_backend_options(out, type);
}
