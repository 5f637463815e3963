/* What the two halves of the model share. */
#ifndef CONFORM_MODEL_IN_H
#define CONFORM_MODEL_IN_H

#include "model.h"

typedef struct model_request {
  mneme_bytes ns, session, id;
  uint8_t fingerprint[16];
  int64_t until_us;
  mneme_written written;
} model_request;

struct model {
  model_session *sessions; /* the lapsed ones too */
  size_t count, max;
  model_request *requests;
  size_t request_count, request_max;
  void *chunks;
};

/* Puts a session in the place of the one of this name, or takes that one out. */
void model_replace(model *m, mneme_bytes ns, mneme_bytes session, const model_session *with);

#endif
