#include "search/corpus.h"

#include <stdlib.h>

#include "search/inside.h"

corpus *corpus_new(void) {
  corpus *c = calloc(1, sizeof *c);
  if (c == NULL)
    return NULL;
  c->session_free = c->traits_free = CORPUS_NONE;
  if (lexicon_init(&c->lexicon) && ids_init(&c->session_ids) && ids_init(&c->traits_ids))
    return c;
  corpus_free(c);
  return NULL;
}

static void free_docs(corpus *c) {
  for (size_t page = 0; page < c->page_room; page++) {
    for (size_t i = 0; c->pages[page] != NULL && i < DOCS_PAGE; i++)
      free(c->pages[page]->docs[i].forward);
    free(c->pages[page]);
  }
  free(c->pages);
}

void corpus_free(corpus *c) {
  if (c == NULL)
    return;
  free_docs(c);
  for (uint32_t i = 0; i < c->session_count; i++) {
    free(c->sessions[i].name);
    free(c->sessions[i].slots);
  }
  for (uint32_t i = 0; i < c->traits_count; i++) {
    free(c->traits[i].data);
    free(c->traits[i].names);
  }
  lexicon_clear(&c->lexicon);
  ids_clear(&c->session_ids);
  ids_clear(&c->traits_ids);
  free(c->sessions);
  free(c->traits);
  free(c->heap);
  free(c);
}

size_t corpus_bytes(const corpus *c) {
  return sizeof *c + c->bytes + lexicon_bytes(&c->lexicon) + ids_bytes(&c->session_ids) +
         ids_bytes(&c->traits_ids);
}

size_t corpus_memories(const corpus *c) { return c->live; }

int64_t corpus_revision(const corpus *c, uint32_t session, int64_t sequence) {
  const conversation *s = &c->sessions[session];
  size_t place = sessions_place(c, s, sequence);
  const doc *d = place < s->count ? corpus_doc(c, s->slots[s->head + place]) : NULL;
  return d != NULL && d->sequence == sequence ? d->revision : 0;
}

mneme_status corpus_put(corpus *c, uint32_t session, const corpus_memory *m) {
  int64_t sequence = m->record->sequence;
  corpus_remove(c, session, sequence, sequence);
  if (c->broken)
    return MNEME_NO_MEMORY;
  mneme_status status = docs_put(c, session, m);
  return status == MNEME_OK ? docs_gather(c) : status;
}
