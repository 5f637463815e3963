/* Puts the room together: one health table and one index of files, behind the
 * entries that the transport is opened with. */
#include "admin/admin.h"

#include <stdlib.h>

#include "admin/health.h"
#include "admin/reflection.h"
#include "mneme_descriptor_set.h"

struct admin {
  health *health;
  files *files;
  reflection reflection;
};

admin *admin_new(void) {
  admin *a = calloc(1, sizeof *a);
  if (a == NULL)
    return NULL;
  a->health = health_new();
  a->files = files_new(mneme_descriptor_set, mneme_descriptor_set_size);
  if (a->health == NULL || a->files == NULL) {
    admin_free(a);
    return NULL;
  }
  a->reflection.files = a->files;
  return a;
}

void admin_free(admin *a) {
  if (a == NULL)
    return;
  health_free(a->health);
  files_free(a->files);
  free(a);
}

size_t admin_methods(admin *a, transport_method *out) {
  size_t n = 0;
  out[n++] = (transport_method){.path = "/grpc.health.v1.Health/Check",
                                .kind = TRANSPORT_UNARY,
                                .unmetered = true,
                                .unary = health_check,
                                .ctx = a->health};
  out[n++] = (transport_method){.path = "/grpc.health.v1.Health/List",
                                .kind = TRANSPORT_UNARY,
                                .unmetered = true,
                                .unary = health_list,
                                .ctx = a->health};
  out[n++] = (transport_method){.path = "/grpc.health.v1.Health/Watch",
                                .kind = TRANSPORT_STREAM,
                                .unmetered = true,
                                .long_lived = true,
                                .stream = &health_watch,
                                .ctx = a->health};
  static const char *const paths[] = {
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
  };
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
    out[n++] = (transport_method){.path = paths[i],
                                  .kind = TRANSPORT_STREAM,
                                  .unmetered = true,
                                  .stream = &reflection_info,
                                  .ctx = &a->reflection};
  return n;
}

bool admin_set_health(admin *a, const char *service, bool serving) {
  return health_set(a->health, service, serving);
}

void admin_shut_down(admin *a) {
  health_shut_down(a->health);
}
