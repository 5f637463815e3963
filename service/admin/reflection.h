/* Server reflection above the seam of the transport. See admin.h. */
#ifndef MNEME_ADMIN_REFLECTION_H
#define MNEME_ADMIN_REFLECTION_H

#include <stdatomic.h>

#include "admin/files.h"
#include "transport/transport.h"

typedef struct reflection {
  const files *files;
  atomic_int streams; /* open now, of v1 and v1alpha together */
} reflection;

/* The stream's owner; ctx is the reflection. */
extern const transport_stream_ops reflection_info;

#endif
