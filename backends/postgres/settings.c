/* The options of a config's entry, and what libpq is told from them. The url goes to libpq as it
 * is, so that it can say all that libpq knows; what it does not say is set here so that a
 * server that vanishes is noticed. Neither the url nor the password may come up in a text:
 * libpq's own words about an url that it can't read would quote it. */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  OPTION_URL,
  OPTION_PASSWORD_FILE,
  OPTION_SCHEMA,
  OPTION_DURABILITY,
  OPTION_WRITERS,
  OPTION_READERS,
  OPTION_QUEUE,
  OPTION_BATCH,
  OPTION_CONNECT_TIMEOUT,
  OPTION_STATEMENT_TIMEOUT,
  OPTION_LOCK_TIMEOUT,
  OPTION_JOURNAL
};

#define SECOND_US ((int64_t)1000000)
#define PASSWORD_MAX 1024
#define IDENTIFIER_MAX 63

const mneme_option pe_options[] = {
    [OPTION_URL] = {"url", MNEME_OPTION_STRING, NULL, 0, 0,
                    "Where the database is, as libpq reads it: postgresql://user@host/database."},
    [OPTION_PASSWORD_FILE] = {"password_file", MNEME_OPTION_STRING, "", 0, 0,
                              "A file whose first line is the password; read whenever a "
                              "connection is made."},
    [OPTION_SCHEMA] = {"schema", MNEME_OPTION_STRING, "mneme", 0, 0,
                       "The schema that the tables stand in; made when it is missing."},
    [OPTION_DURABILITY] = {"durability", MNEME_OPTION_STRING, "full", 0, 0,
                           "What an acknowledged write must survive: full, interval or process; "
                           "a server that is set to give less is refused."},
    [OPTION_WRITERS] = {"writers", MNEME_OPTION_INT, "2", 1, PE_WRITERS_MAX,
                        "Connections for writes; each sends the commits of many callers at "
                        "once."},
    [OPTION_READERS] = {"readers", MNEME_OPTION_INT, "4", 1, PE_READERS_MAX,
                        "Connections for reads."},
    [OPTION_QUEUE] = {"queue", MNEME_OPTION_INT, "4096", 1, 1 << 20,
                      "Writes, and as many reads, that may be under way; one more is answered "
                      "BUSY."},
    [OPTION_BATCH] = {"batch", MNEME_OPTION_INT, "256", 1, PE_BATCH_MAX,
                      "Commits that may go into one transaction."},
    [OPTION_CONNECT_TIMEOUT] = {"connect_timeout", MNEME_OPTION_DURATION, "5s", SECOND_US / 10,
                                60 * SECOND_US, "How long an attempt to connect may take."},
    [OPTION_STATEMENT_TIMEOUT] = {"statement_timeout", MNEME_OPTION_DURATION, "30s",
                                  SECOND_US / 10, 3600 * SECOND_US,
                                  "How long a statement may run; a server that is silent for "
                                  "five seconds more has lost the connection."},
    [OPTION_LOCK_TIMEOUT] = {"lock_timeout", MNEME_OPTION_DURATION, "5s", SECOND_US / 100,
                             3600 * SECOND_US,
                             "How long a write may wait for another server's lock; then BUSY."},
    [OPTION_JOURNAL] = {"journal", MNEME_OPTION_INT, "2000000", 1000, INT64_MAX / 2,
                        "For how many transactions of the database it is remembered which "
                        "sessions changed."},
    {0},
};

const mneme_scheme pe_schemes[] = {
    {"postgresql", "url", false},
    {"postgres", "url", false},
    {0},
};

static mneme_status read_durability(const char *text, mneme_durability *ret_durability,
                                    char *error, size_t size) {
  static const struct {
    const char *name;
    mneme_durability durability;
  } names[] = {{"full", MNEME_DURABILITY_FULL},
               {"interval", MNEME_DURABILITY_INTERVAL},
               {"process", MNEME_DURABILITY_PROCESS}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(text, names[i].name) == 0) {
      *ret_durability = names[i].durability;
      return MNEME_OK;
    }
  snprintf(error, size, "durability: \"%.32s\" is none of full, interval and process", text);
  return MNEME_INVALID;
}

static mneme_status check_schema(const char *schema, char *error, size_t size) {
  size_t length = strlen(schema);
  if (length != 0 && length <= IDENTIFIER_MAX && strncmp(schema, "pg_", 3) != 0) return MNEME_OK;
  snprintf(error, size, "schema: name one of 1 to %d bytes that does not begin with pg_",
           IDENTIFIER_MAX);
  return MNEME_INVALID;
}

mneme_status pe_settings_read(const mneme_option_value *values, pe_settings *ret_settings,
                              char *error, size_t size) {
  pe_settings s = {0};
  pe_target target;
  mneme_status status =
      read_durability(values[OPTION_DURABILITY].string, &s.durability, error, size);
  if (status == MNEME_OK) status = check_schema(values[OPTION_SCHEMA].string, error, size);
  if (status != MNEME_OK) return status;
  s.writers = (size_t)values[OPTION_WRITERS].integer;
  s.readers = (size_t)values[OPTION_READERS].integer;
  s.queue = (size_t)values[OPTION_QUEUE].integer;
  s.batch = (size_t)values[OPTION_BATCH].integer;
  s.connect_timeout_us = values[OPTION_CONNECT_TIMEOUT].integer;
  s.statement_timeout_us = values[OPTION_STATEMENT_TIMEOUT].integer;
  s.lock_timeout_us = values[OPTION_LOCK_TIMEOUT].integer;
  s.journal = values[OPTION_JOURNAL].integer;
  s.url = strdup(values[OPTION_URL].string);
  s.password_file = strdup(values[OPTION_PASSWORD_FILE].string);
  s.schema = strdup(values[OPTION_SCHEMA].string);
  if (s.url == NULL || s.password_file == NULL || s.schema == NULL) {
    snprintf(error, size, "no memory for the store");
    pe_settings_free(&s);
    return MNEME_NO_MEMORY;
  }
  if (!pe_target_make(&s, &target, error, size)) {
    pe_settings_free(&s);
    return MNEME_INVALID;
  }
  pe_target_free(&target);
  *ret_settings = s;
  return MNEME_OK;
}

void pe_settings_free(pe_settings *s) {
  free(s->url);
  free(s->password_file);
  free(s->schema);
  *s = (pe_settings){0};
}

/* --- The target ---------------------------------------------------------------------- */

/* What libpq does unless the url says otherwise. tcp_user_timeout is in milliseconds, the
 * others in seconds. */
static const struct {
  const char *name, *value;
} defaults[] = {
    {"fallback_application_name", "mnemed"}, {"client_encoding", "UTF8"},
    {"target_session_attrs", "read-write"},  {"keepalives_idle", "10"},
    {"keepalives_interval", "5"},            {"keepalives_count", "3"},
    {"tcp_user_timeout", "15000"},
};
#define DEFAULTS (sizeof defaults / sizeof *defaults)

static bool read_password(const char *file, char **ret_password, char *text, size_t size) {
  char line[PASSWORD_MAX];
  FILE *from = fopen(file, "re");
  bool read = from != NULL && fgets(line, sizeof line, from) != NULL;
  if (from != NULL) fclose(from);
  if (!read) {
    snprintf(text, size, "password_file: it can't be read: name a file that the server may read "
                         "and whose first line is the password");
    return false;
  }
  line[strcspn(line, "\r\n")] = '\0';
  *ret_password = strdup(line);
  explicit_bzero(line, sizeof line);
  if (*ret_password == NULL) snprintf(text, size, "no memory for the password");
  return *ret_password != NULL;
}

static bool is_said(const PQconninfoOption *parsed, const char *name) {
  for (; parsed->keyword != NULL; parsed++)
    if (strcmp(parsed->keyword, name) == 0) return parsed->val != NULL;
  return false;
}

bool pe_target_make(const pe_settings *s, pe_target *ret_target, char *text, size_t size) {
  pe_target t = {0};
  char *words = NULL;
  size_t count = 0, at = 0;
  if (s->password_file[0] != '\0' && !read_password(s->password_file, &t.password, text, size))
    return false;
  t.parsed = PQconninfoParse(s->url, &words);
  PQfreemem(words); /* they may quote a password */
  if (t.parsed == NULL) {
    snprintf(text, size, "url: libpq can't read it: postgresql://user@host:5432/database is how "
                         "one looks, with special characters as %%XX");
    pe_target_free(&t);
    return false;
  }
  while (t.parsed[count].keyword != NULL) count++;
  t.names = calloc(count + DEFAULTS + 2, sizeof *t.names);
  t.values = calloc(count + DEFAULTS + 2, sizeof *t.values);
  if (t.names == NULL || t.values == NULL) {
    snprintf(text, size, "no memory for the connection");
    pe_target_free(&t);
    return false;
  }
  for (size_t i = 0; i < DEFAULTS; i++) {
    if (is_said(t.parsed, defaults[i].name)) continue;
    t.names[at] = defaults[i].name;
    t.values[at++] = defaults[i].value;
  }
  for (size_t i = 0; i < count; i++) {
    if (t.parsed[i].val == NULL) continue;
    t.names[at] = t.parsed[i].keyword;
    t.values[at++] = t.parsed[i].val;
  }
  if (t.password != NULL) { /* the last one counts */
    t.names[at] = "password";
    t.values[at++] = t.password;
  }
  *ret_target = t;
  return true;
}

void pe_target_free(pe_target *t) {
  if (t->password != NULL) explicit_bzero(t->password, strlen(t->password));
  free(t->password);
  free(t->names);
  free(t->values);
  PQconninfoFree(t->parsed);
  *t = (pe_target){0};
}
