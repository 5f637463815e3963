/* A model of a store: what backend.h says, in plain arrays and the simplest code
 * that can be held against its text. Slow on purpose, single-threaded.
 *
 * What it leaves open, because the header does: when expired memories are
 * removed. It never shows them, keeps no EXPIRED entries in its log, and has no
 * mutation count and no expired_count. A caller must therefore not bring them back
 * to life: time must not go back, and a session's max_age and keep_system must not
 * change.
 *
 * What it returns belongs to the model and is valid until the next commit. */
#ifndef CONFORM_MODEL_H
#define CONFORM_MODEL_H

#include "mneme/backend.h"

typedef struct model_log_entry {
  int64_t revision, sequence;
  mneme_log_op op;
} model_log_entry;

typedef struct model_session {
  mneme_header header; /* without its counts and mutations */
  int64_t last_create_us;
  mneme_record *records; /* ascending by sequence; the expired are still among them */
  size_t count, max;
  model_log_entry *log;
  size_t log_count, log_max;
} model_session;

typedef struct model model;

model *model_new(void);
void model_free(model *m);

mneme_status model_commit(model *m, int64_t now_us, const mneme_write *write,
                          mneme_written *ret_written);
mneme_status model_request_get(model *m, int64_t now_us, const mneme_write *write,
                               mneme_written *ret_written);
/* The live session, or NULL. */
model_session *model_find(model *m, int64_t now_us, mneme_bytes ns, mneme_bytes session);
mneme_header model_header(const model_session *s, int64_t now_us);
bool model_live(const model_session *s, const mneme_record *r, int64_t now_us);
/* ret_records has room for max; returns how many there are, which is at most max. */
mneme_status model_read(model *m, int64_t now_us, const mneme_read *read,
                        const mneme_record **ret_records, size_t max, size_t *ret_count);
size_t model_list(model *m, int64_t now_us, const mneme_session_list *list,
                  mneme_header *ret_headers, size_t max);
mneme_stats model_stats(model *m, int64_t now_us, mneme_bytes ns, mneme_bytes session);

#endif
