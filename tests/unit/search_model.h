/* Search as the formula has it, told a second time and without an index: plain
 * lists, every memory looked at, floating point throughout. What the corpus must
 * agree with. */
#ifndef TESTS_UNIT_SEARCH_MODEL_H
#define TESTS_UNIT_SEARCH_MODEL_H

#include "search/corpus.h"

#define MODEL_SESSIONS 6
#define MODEL_DOCS 512
#define MODEL_TERMS 256

typedef struct model_doc {
  int64_t sequence;
  int64_t revision;
  int64_t time_us;
  char text[1024];
  char caption[128];
  char author[32];
  char role[16];
  double importance; /* < 0 = unset */
  int64_t expire_us;
} model_doc;

typedef struct model_session {
  model_doc docs[MODEL_DOCS];
  size_t count;
} model_session;

typedef struct model {
  model_session sessions[MODEL_SESSIONS];
  analyser *analyser;
  const language *language;
} model;

typedef struct model_hit {
  size_t session;
  int64_t sequence;
  double score;
} model_hit;

void model_put(model *m, size_t session, const model_doc *d);
void model_remove(model *m, size_t session, int64_t first, int64_t last);
/* Of all memories that have a score, best first; to be freed. */
model_hit *model_search(const model *m, const query *q, size_t *ret_count);

/* A memory of the model into a corpus, in the session of that number's name. */
void model_feed(const model *m, corpus *c, size_t session, const model_doc *d);
/* A corpus of nothing but what the model has now. */
corpus *model_build(const model *m);
mneme_bytes model_name(size_t session);

#endif
