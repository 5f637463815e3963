/* What the sweeper asks of a session: its rule with its override laid over it. */
#include "rpc/service.h"
#include "wire/messages.h"

#define SETTINGS_MEMORY_MAX (16 * 1024 * 1024) /* to look at one session's policy */

int64_t service_cleanup_us(const mneme_header *h, const service *s) {
  policy effective = *registry_route(s->registry, h->ns, h->session).rule;
  wire_settings settings;
  arena scratch;
  if (h->settings.size == 0)
    return policy_cleanup_us(&effective);
  arena_init(&scratch, SETTINGS_MEMORY_MAX);
  /* Damaged settings keep nothing from being swept. */
  if (wire_read_settings(h->settings, &scratch, &settings) && settings.has_policy)
    effective = policy_merge(&effective, &settings.policy);
  arena_clear(&scratch);
  return policy_cleanup_us(&effective);
}
