/* Deep copies of what a backend passes to emit and done, which is valid only
 * during that call. A copy belongs to its cf_chunks and goes with it. */
#ifndef CONFORM_COPY_H
#define CONFORM_COPY_H

#include "mneme/backend.h"

/* A list of allocations that are freed together; NULL is an empty one. */
void *cf_chunk(void **chunks, size_t size); /* zeroed */
void cf_chunks_free(void **chunks);

mneme_bytes cf_copy_bytes(void **chunks, mneme_bytes bytes);
mneme_record cf_copy_record(void **chunks, const mneme_record *record);
mneme_header cf_copy_header(void **chunks, const mneme_header *header);
/* All of it with OK; header and conflict_revision with a refusal that has them;
 * else zeros, and written is not looked at. */
mneme_written cf_copy_written(void **chunks, mneme_status status, const mneme_written *written);

/* Makes room for one more element in an array that belongs to chunks. */
void *cf_grow(void **chunks, void *array, size_t count, size_t *max, size_t size);

#endif
