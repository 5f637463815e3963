/* Copies of what the host lends: a record, and the answer to a commit. */
#ifndef TEMPLATE_COPY_H
#define TEMPLATE_COPY_H

#include "mneme/backend.h"

/* A memory as this engine keeps it: never changed, so that a session and its
 * draft can share it. One block with its strings. */
typedef struct item {
  int refs; /* under the store's lock */
  mneme_record record;
} item;

item *item_new(const mneme_record *record); /* NULL without memory */
item *item_ref(item *one);
void item_unref(item *one);

/* A copy with all that it points to, in one block; NULL without memory. free()
 * frees it. */
mneme_written *written_copy(const mneme_written *written);
mneme_header *header_copy(const mneme_header *header);

#endif
