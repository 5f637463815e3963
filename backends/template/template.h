/* What is kept, and the bridge between template.c (commit) and reads.c. */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include "copy.h"

#include <pthread.h>

#define TOMBSTONES_MAX 65536
#define ANSWER_BUCKETS 4096

typedef struct session {
  struct session *next;
  mneme_header *header; /* its counts stay 0: header_at fills them in */
  item **items;         /* ascending by sequence */
  size_t count;
  int64_t last_create_us; /* of a memory */
  int64_t stamp;          /* of its last change: see template_changes */
  mneme_log_entry *log;   /* the newest, at least MNEME_LOG_MAX */
  size_t log_count, log_room;
  size_t log_from; /* in a draft: where this commit's entries begin */
} session;

typedef struct answer {
  struct answer *next;
  uint8_t fingerprint[16];
  int64_t expire_us;
  mneme_bytes ns, session, request_id; /* in strings */
  mneme_written *written;
  char strings[];
} answer;

typedef struct tombstone { /* what is left of a dropped incarnation */
  struct tombstone *next; /* younger */
  int64_t stamp;
  mneme_header *header;
} tombstone;

typedef struct meta {
  struct meta *next;
  size_t key_size, value_size;
  char key[MNEME_META_KEY_MAX], value[MNEME_META_VALUE_MAX];
} meta;

struct mneme_backend {
  pthread_mutex_t lock; /* guards all of it */
  uint64_t id;          /* in every cursor */
  session *sessions;
  answer *answers[ANSWER_BUCKETS];
  size_t answer_count;
  tombstone *oldest, *newest;
  size_t tombstone_count;
  int64_t compacted; /* stamp of the last tombstone that was forgotten */
  int64_t stamp;     /* of the last change */
  meta *metas;
};

typedef enum field { BY_ID, BY_KEY } field;

bool is_protected(const session *s, const mneme_record *r);
bool is_live(const session *s, const mneme_record *r, int64_t now_us);
bool has_lapsed(const session *s, int64_t now_us);
session *find_live(mneme_backend *store, mneme_bytes ns, mneme_bytes name, int64_t now_us);
size_t find_name(const session *s, field by, mneme_bytes name, int64_t now_us);
mneme_header header_at(const session *s, int64_t now_us);
void session_free(session *s);
mneme_status find_answer(mneme_backend *store, const mneme_write *w, int64_t now_us,
                         const answer **ret_answer);
void answer_free(answer *a);

void template_commit(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                     mneme_written_fn done, void *ctx);

#endif
