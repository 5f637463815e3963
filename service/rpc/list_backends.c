/* ListBackends: what the config opened, and how it is. */
#include "rpc/methods.h"

void rpc_list_backends(op *o, const uint8_t *data, size_t size) {
  registry *r = o->service->registry;
  size_t count = registry_count(r);
  wire_backend *backends = arena_calloc(o->arena, count + 1, sizeof *backends);
  if (backends == NULL || !wire_read_list_backends(data, size, o->arena, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    const registry_backend *b = registry_at(r, i);
    registry_health health = registry_get_health(b);
    backends[i] = (wire_backend){.name = b->name,
                                 .type = b->type->name,
                                 .doc = b->type->doc,
                                 .caps = b->type->caps,
                                 .durability = registry_durability(b),
                                 .serving = health.state == REGISTRY_SERVING,
                                 .health = health.message};
  }
  op_finish(o, wire_list_backends_reply(o->arena, backends, count));
}
