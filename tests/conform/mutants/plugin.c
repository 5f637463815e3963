/* The entry of a mutant: dict's, under the name that a plugin exports. */
#include "mneme/backend.h"

const mneme_backend_type *mneme_plugin_dict(void);

__attribute__((visibility("default"))) const mneme_backend_type *mneme_plugin(void) {
  return mneme_plugin_dict();
}
