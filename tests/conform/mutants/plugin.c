/* The entry of a mutant: that of the engine it was made of (MUTANT_ENTRY), under
 * the name that a plugin exports. */
#include "mneme/backend.h"

const mneme_backend_type *MUTANT_ENTRY(void);

__attribute__((visibility("default"))) const mneme_backend_type *mneme_plugin(void) {
  return MUTANT_ENTRY();
}
