/* Deep copies into a list of chunks: each allocation carries a pointer to the
 * one before it, and the list is freed as a whole. The tests are short, so
 * nothing cleverer is needed; sanitizers see each allocation by itself. */
#include "copy.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct chunk {
  struct chunk *next;
  alignas(max_align_t) char data[];
} chunk;

void *cf_chunk(void **chunks, size_t size) {
  chunk *c = calloc(1, sizeof *c + size);
  if (c == NULL) {
    fputs("conform: out of memory\n", stderr);
    abort();
  }
  c->next = *chunks;
  *chunks = c;
  return c->data;
}

void cf_chunks_free(void **chunks) {
  chunk *c = *chunks;
  *chunks = NULL;
  while (c != NULL) {
    chunk *next = c->next;
    free(c);
    c = next;
  }
}

mneme_bytes cf_copy_bytes(void **chunks, mneme_bytes bytes) {
  if (bytes.size == 0) return (mneme_bytes){NULL, 0};
  char *data = cf_chunk(chunks, bytes.size);
  memcpy(data, bytes.data, bytes.size);
  return (mneme_bytes){data, bytes.size};
}

mneme_record cf_copy_record(void **chunks, const mneme_record *record) {
  mneme_record copy = *record;
  copy.id = cf_copy_bytes(chunks, record->id);
  copy.key = cf_copy_bytes(chunks, record->key);
  copy.kind = cf_copy_bytes(chunks, record->kind);
  copy.role = cf_copy_bytes(chunks, record->role);
  copy.author = cf_copy_bytes(chunks, record->author);
  copy.source = cf_copy_bytes(chunks, record->source);
  copy.body = cf_copy_bytes(chunks, record->body);
  copy.metadata_json = cf_copy_bytes(chunks, record->metadata_json);
  return copy;
}

mneme_header cf_copy_header(void **chunks, const mneme_header *header) {
  mneme_header copy = *header;
  copy.ns = cf_copy_bytes(chunks, header->ns);
  copy.session = cf_copy_bytes(chunks, header->session);
  copy.settings = cf_copy_bytes(chunks, header->settings);
  return copy;
}

mneme_written cf_copy_written(void **chunks, mneme_status status, const mneme_written *written) {
  mneme_written copy;
  memset(&copy, 0, sizeof copy);
  if (status == MNEME_OK) {
    copy = *written;
    copy.header = cf_copy_header(chunks, &written->header);
    mneme_ref *refs = cf_chunk(chunks, (written->ref_count + 1) * sizeof *refs);
    for (size_t i = 0; i < written->ref_count; i++) {
      refs[i] = written->refs[i];
      refs[i].id = cf_copy_bytes(chunks, written->refs[i].id);
    }
    copy.refs = refs;
    mneme_record *removed =
        cf_chunk(chunks, (written->removed_count_listed + 1) * sizeof *removed);
    for (size_t i = 0; i < written->removed_count_listed; i++)
      removed[i] = cf_copy_record(chunks, &written->removed[i]);
    copy.removed = removed;
  } else if (status == MNEME_CONFLICT || status == MNEME_STALE_PLAN || status == MNEME_EXISTS) {
    copy.header = cf_copy_header(chunks, &written->header);
    copy.conflict_revision = written->conflict_revision;
  }
  return copy;
}

void *cf_grow(void **chunks, void *array, size_t count, size_t *max, size_t size) {
  if (count < *max) return array;
  size_t bigger_max = *max ? *max * 2 : 16;
  void *bigger = cf_chunk(chunks, bigger_max * size);
  if (count > 0) memcpy(bigger, array, count * size);
  *max = bigger_max;
  return bigger;
}
