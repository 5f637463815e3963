/* mnemed: from the command line to server_run.
 *
 *   flags --> file --> environment --> flags --> checks --> server_run
 *              |            |            |
 *              '- config_parse           '- config_override
 *
 * The table of flags is also the text of --help and says which environment
 * variable stands behind which setting, so the three cannot disagree. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "builtin.h"
#include "config/config.h"
#include "registry/types.h"
#include "server.h"

#define CONFIG_LINE_MAX 4096 /* bytes of one reported error */
#define EXIT_OK 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

typedef enum flag_id {
  FLAG_CONFIG,
  FLAG_LISTEN,
  FLAG_LOG_LEVEL,
  FLAG_LOG_FORMAT,
  FLAG_INSECURE_LISTEN,
  FLAG_BACKUP,
  FLAG_BACKEND,
  FLAG_CHECK_CONFIG,
  FLAG_PRINT_CONFIG,
  FLAG_HELP_CONFIG,
  FLAG_HELP,
  FLAG_VERSION,
  FLAG_COUNT
} flag_id;

typedef struct flag {
  const char *name;
  char letter;         /* 0 = none */
  const char *value;   /* what it takes, NULL = nothing */
  const char *env;     /* the variable that stands for it, NULL = none */
  const char *setting; /* the key of the config that it overrides, NULL = none */
  const char *doc;     /* lines of --help */
} flag;

static const flag flags[FLAG_COUNT] = {
  [FLAG_CONFIG] = {"config", 'c', "FILE", "MNEME_CONFIG", NULL,
                   "read this YAML file; without one the defaults hold"},
  [FLAG_LISTEN] = {"listen", 0, "ADDR", "MNEME_LISTEN", "listen",
                   "HOST:PORT, [IPV6]:PORT or unix:PATH; several by commas"},
  [FLAG_LOG_LEVEL] = {"log-level", 0, "LEVEL", "MNEME_LOG_LEVEL", "log.level",
                      "debug, info, warn or error"},
  [FLAG_LOG_FORMAT] = {"log-format", 0, "FORMAT", "MNEME_LOG_FORMAT", "log.format",
                       "text or json"},
  [FLAG_INSECURE_LISTEN] = {"insecure-listen", 0, NULL, NULL, NULL,
                            "listen where other machines can connect, though nobody\n"
                            "is authenticated"},
  [FLAG_BACKUP] = {"backup", 0, "FILE", NULL, NULL,
                   "copy a backend's store into FILE, beside a server that\n"
                   "may have it open, and exit; FILE appears whole or not"},
  [FLAG_BACKEND] = {"backend", 0, "NAME", NULL, NULL,
                    "which one --backup copies, where more than one can be"},
  [FLAG_CHECK_CONFIG] = {"check-config", 0, NULL, NULL, NULL,
                         "report what is wrong with the config, and exit"},
  [FLAG_PRINT_CONFIG] = {"print-config", 0, NULL, NULL, NULL,
                         "print the config in force as YAML, with what came from\n"
                         "the environment, and exit"},
  [FLAG_HELP_CONFIG] = {"help-config", 0, NULL, NULL, NULL,
                        "print every key of the config file, and exit"},
  [FLAG_HELP] = {"help", 'h', NULL, NULL, NULL, "print this, and exit"},
  [FLAG_VERSION] = {"version", 'V', NULL, NULL, NULL, "print the version, and exit"},
};

static const struct {
  int status;
  const char *doc;
} exits[] = {
  {EXIT_OK, "stopped by SIGTERM, SIGINT or SIGHUP, or did what was asked"},
  {EXIT_FAILED, "a backend or an address could not be opened, or the server failed"},
  {EXIT_USAGE, "the command line or the config is wrong"},
};

/* Read by other stores, or to be read by later versions of this one: whoever sets
 * one must hear that nothing comes of it. */
static const char *const ignored_variables[] = {"FAISS_INDEX_PATH", "EMBEDDING_MODEL", "USE_GPU"};

/* Those that are no setting of the config. */
static const struct {
  const char *name;
  const char *doc;
} variables[] = {
  {"MNEME_DATA_DIR", "where files of backends go whose path is not given"},
  {"MEMORY_DB_URL", "the store, when the config names no backends"},
};

/* --- Help ---------------------------------------------------------------- */

static void print_help(void) {
  printf("Usage: mnemed [OPTION]...\n\nServes memory for agents over gRPC.\n\nOptions:\n");
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    const flag *f = &flags[i];
    char left[64];
    snprintf(left, sizeof left, "%c%c%s --%s%s%s", f->letter != 0 ? '-' : ' ',
             f->letter != 0 ? f->letter : ' ', f->letter != 0 ? "," : " ", f->name,
             f->value != NULL ? " " : "", f->value != NULL ? f->value : "");
    for (const char *line = f->doc; line != NULL;) {
      size_t size = strcspn(line, "\n");
      printf("  %-26s%.*s\n", left, (int)size, line);
      left[0] = '\0';
      line = line[size] == '\n' ? line + size + 1 : NULL;
    }
  }
  printf("\nEnvironment (a flag beats it, and it beats the file; empty = not set):\n");
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (flags[i].env != NULL)
      printf("  %-26sthe same as --%s\n", flags[i].env, flags[i].name);
  }
  for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
    printf("  %-26s%s\n", variables[i].name, variables[i].doc);
  printf("  %-26sin the file, with ${NAME} or ${NAME:-default}\n", "any other");
  printf("\nExit status:\n");
  for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++)
    printf("  %-26d%s\n", exits[i].status, exits[i].doc);
}

/* --- The world as the config sees it -------------------------------------- */

static const mneme_backend_type *host_type_at(void *ctx, size_t i) {
  return backend_types_at(ctx, i);
}

static const mneme_backend_type *host_type_load(void *ctx, const char *path, char *error,
                                                size_t size) {
  return backend_types_load(ctx, path, error, size);
}

static const char *host_env(void *ctx, const char *name) {
  (void)ctx;
  return getenv(name);
}

static void host_error(void *ctx, const char *text) {
  (void)ctx;
  /* A file may hold anything; a terminal shall not obey it. Quotes stay plain. */
  char line[CONFIG_LINE_MAX];
  log_escape(line, sizeof line, text, strlen(text));
  for (const char *p = line; *p != '\0'; p++) {
    p += p[0] == '\\' && (p[1] == '"' || p[1] == '\\');
    fputc(*p, stderr);
  }
  fputc('\n', stderr);
}

/* --- Reading ------------------------------------------------------------- */

typedef struct command {
  bool given[FLAG_COUNT];
  const char *values[FLAG_COUNT];
} command;

static bool read_command(int argc, char **argv, command *ret_command) {
  struct option longs[FLAG_COUNT + 1] = {{0}};
  char shorts[2 * FLAG_COUNT + 1];
  size_t used = 0;
  for (int i = 0; i < FLAG_COUNT; i++) {
    longs[i].name = flags[i].name;
    longs[i].has_arg = flags[i].value != NULL ? required_argument : no_argument;
    longs[i].val = 256 + i;
    if (flags[i].letter == 0)
      continue;
    shorts[used++] = flags[i].letter;
    if (flags[i].value != NULL)
      shorts[used++] = ':';
  }
  shorts[used] = '\0';
  for (;;) {
    int got = getopt_long(argc, argv, shorts, longs, NULL);
    if (got == -1)
      break;
    int id = got - 256;
    for (int i = 0; i < FLAG_COUNT && id < 0; i++) {
      if (flags[i].letter != 0 && flags[i].letter == got)
        id = i;
    }
    if (id < 0)
      return false; /* getopt_long has said why */
    ret_command->given[id] = true;
    ret_command->values[id] = optarg;
  }
  if (ret_command->given[FLAG_BACKEND] && !ret_command->given[FLAG_BACKUP]) {
    fprintf(stderr, "%s: --backend says what --backup copies, and stands beside it only\n", argv[0]);
    return false;
  }
  if (optind < argc)
    fprintf(stderr, "%s: found \"%s\", expected only options\n", argv[0], argv[optind]);
  return optind == argc;
}

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value != NULL && *value != '\0' ? value : NULL;
}

/* The whole file, one byte more than the config may have at most, so that it is
 * the config's matter to refuse it. */
static char *read_file(const char *name, size_t *ret_size) {
  char *text = malloc(CONFIG_FILE_MAX + 1);
  FILE *file = fopen(name, "rbe");
  bool ok = text != NULL && file != NULL;
  if (ok) {
    *ret_size = fread(text, 1, CONFIG_FILE_MAX + 1, file);
    ok = !ferror(file);
  }
  if (!ok) {
    fprintf(stderr, "%s: cannot be read: %s\n", name, strerror(errno));
    free(text);
    text = NULL;
  }
  if (file != NULL)
    fclose(file);
  return text;
}

static bool apply_overrides(config *c, const command *cmd, const config_host *host) {
  bool ok = true;
  for (int i = 0; i < FLAG_COUNT; i++) {
    const char *value = flags[i].env != NULL ? variable(flags[i].env) : NULL;
    char origin[64];
    if (flags[i].setting == NULL)
      continue;
    if (cmd->given[i]) {
      snprintf(origin, sizeof origin, "--%s", flags[i].name);
      ok = config_override(c, flags[i].setting, cmd->values[i], origin, host) && ok;
    } else if (value != NULL) {
      ok = config_override(c, flags[i].setting, value, flags[i].env, host) && ok;
    }
  }
  return ok;
}

/* NULL = what is wrong was said. */
static config *load_config(const command *cmd, const config_host *host) {
  const char *name = cmd->given[FLAG_CONFIG] ? cmd->values[FLAG_CONFIG]
                                             : variable(flags[FLAG_CONFIG].env);
  char *text = NULL;
  size_t size = 0;
  if (name != NULL && (text = read_file(name, &size)) == NULL)
    return NULL;
  config *c = NULL;
  bool ok = config_parse(text != NULL ? text : "", size, name != NULL ? name : "defaults", host, &c);
  free(text);
  if (!ok)
    return NULL;
  if (apply_overrides(c, cmd, host) &&
      (cmd->given[FLAG_INSECURE_LISTEN] || config_check_local(c, host)))
    return c;
  config_close(c);
  return NULL;
}

/* --- Backup -------------------------------------------------------------- */

/* The backend that is meant; NULL = what is wrong was said. */
static const registry_entry *find_backup(const command *cmd, const config *c) {
  const char *name = cmd->values[FLAG_BACKEND];
  const registry_entry *found = NULL;
  size_t count = 0;
  for (size_t i = 0; i < c->backend_count; i++) {
    const registry_entry *entry = &c->backends[i];
    if (name != NULL ? strcmp(name, entry->name) != 0 : entry->type->backup == NULL)
      continue;
    found = entry;
    count++;
  }
  if (count == 1)
    return found;
  if (name != NULL)
    fprintf(stderr, "mnemed: the config has no backend \"%s\"\n", name);
  else if (count == 0)
    fprintf(stderr, "mnemed: no backend of the config can be copied into a file\n");
  else
    fprintf(stderr, "mnemed: %zu backends can be copied: say which by --backend NAME\n", count);
  return NULL;
}

static int back_up(const command *cmd, const config *c) {
  const char *file = cmd->values[FLAG_BACKUP];
  const registry_entry *entry = find_backup(cmd, c);
  char error[REGISTRY_ERROR_MAX];
  if (entry == NULL)
    return EXIT_USAGE;
  if (!registry_backup(entry, file, error, sizeof error)) {
    fprintf(stderr, "mnemed: %s\n", error);
    return EXIT_FAILED;
  }
  printf("backend \"%s\" was copied to %s\n", entry->name, file);
  return EXIT_OK;
}

/* --- Running ------------------------------------------------------------- */

static int run(const command *cmd, const config *c) {
  if (cmd->given[FLAG_PRINT_CONFIG])
    return config_print(c, stdout) ? EXIT_OK : EXIT_FAILED;
  if (cmd->given[FLAG_CHECK_CONFIG]) {
    printf("the config is fine: %zu backends, %zu rules\n", c->backend_count, c->rule_count);
    return EXIT_OK;
  }
  log_setup((log_level)c->settings.log_level, (log_format)c->settings.log_format);
  if (cmd->given[FLAG_BACKUP])
    return back_up(cmd, c);
  for (size_t i = 0; i < sizeof ignored_variables / sizeof ignored_variables[0]; i++) {
    if (variable(ignored_variables[i]) != NULL)
      log_event(LOG_WARN, "an environment variable is set that this version ignores",
                log_text("variable", ignored_variables[i]), log_end());
  }
  if (c->names_backends && variable("MEMORY_DB_URL") != NULL)
    log_event(LOG_WARN, "MEMORY_DB_URL is set and says nothing: the config names the backends",
              log_end());
  return server_run(c);
}

int main(int argc, char **argv) {
  command cmd = {{0}, {0}};
  if (!read_command(argc, argv, &cmd)) {
    fprintf(stderr, "Try: mnemed --help\n");
    return EXIT_USAGE;
  }
  if (cmd.given[FLAG_HELP]) {
    print_help();
    return EXIT_OK;
  }
  if (cmd.given[FLAG_VERSION]) {
    printf("mnemed %s\n", MNEME_VERSION);
    return EXIT_OK;
  }
  char error[BACKEND_TYPE_ERROR_MAX];
  backend_types *types = backend_types_open(mneme_builtins, error, sizeof error);
  if (types == NULL) {
    fprintf(stderr, "mnemed: %s\n", error);
    return EXIT_FAILED;
  }
  const config_host host = {host_type_at, host_type_load, host_env, host_error, types};
  int status = EXIT_USAGE;
  if (cmd.given[FLAG_HELP_CONFIG]) {
    config_print_reference(stdout, &host);
    status = EXIT_OK;
  } else {
    config *c = load_config(&cmd, &host);
    if (c != NULL)
      status = run(&cmd, c);
    config_close(c);
  }
  backend_types_close(types);
  return status;
}
