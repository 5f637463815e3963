/* What happens to a config after it was parsed: overrides, and the check that
 * nobody else can reach a server that asks nobody who they are. */
#include "config/config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "config/setting.h"

void config_close(config *c) {
  if (c == NULL)
    return;
  arena_clear(&c->memory);
  free(c);
}

static bool report(const config_host *host, const char *format, ...)
  __attribute__((format(printf, 2, 3)));
static bool report(const config_host *host, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  host->error(host->ctx, text);
  return false;
}

static bool override_listen(config *c, const char *value, const char *origin,
                            const config_host *host) {
  const char *listen[CONFIG_LISTEN_MAX];
  size_t count = 0;
  for (const char *p = value;;) {
    size_t size = strcspn(p, ",");
    const char *problem;
    address a;
    if (count == CONFIG_LISTEN_MAX)
      return report(host, "%s: found more than %d addresses", origin, CONFIG_LISTEN_MAX);
    char *text = arena_copy(&c->memory, p, size);
    if (text == NULL)
      return report(host, "%s: there is no memory for it", origin);
    if (!address_parse(text, &a, &problem))
      return report(host, "%s: \"%.120s\" is no address: %s", origin, text, problem);
    for (size_t i = 0; i < count; i++) {
      if (strcmp(listen[i], text) == 0)
        return report(host, "%s: the address \"%.120s\" is listed twice", origin, text);
    }
    listen[count++] = text;
    p += size;
    if (*p++ == '\0')
      break;
  }
  memcpy(c->listen, listen, count * sizeof listen[0]);
  c->listen_count = count;
  return true;
}

bool config_override(config *c, const char *key, const char *value, const char *origin,
                     const config_host *host) {
  if (strcmp(key, "listen") == 0)
    return override_listen(c, value, origin, host);
  for (const setting *row = settings; row->option.name != NULL; row++) {
    size_t size = strlen(row->section);
    if (strncmp(row->section, key, size) != 0 || key[size] != '.' ||
        strcmp(row->option.name, key + size + 1) != 0)
      continue;
    char problem[OPTION_PROBLEM_MAX];
    if (setting_parse(row, value, setting_at(&c->settings, row), problem, sizeof problem))
      return true;
    return report(host, "%s: %s", origin, problem);
  }
  return report(host, "%s: there is no setting %s", origin, key);
}

bool config_check_local(const config *c, const config_host *host) {
  bool ok = true;
  for (size_t i = 0; i < c->listen_count; i++) {
    address a;
    const char *problem;
    if (!address_parse(c->listen[i], &a, &problem) || !address_is_local(&a))
      ok = report(host,
                  "listening on \"%.200s\" lets other machines in, and this server does not "
                  "authenticate anybody: listen on 127.0.0.1, [::1] or a unix socket, or say "
                  "--insecure-listen",
                  c->listen[i]);
  }
  return ok;
}
