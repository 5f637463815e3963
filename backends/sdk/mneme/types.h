/* Plain types that the service and every backend share.
 *
 * Ownership: a mneme_bytes borrows. What the service passes to an operation
 * stays valid and unchanged until that operation's done has returned; what a
 * backend passes to emit or done is valid only until that call returns, and the
 * receiver copies what it keeps. Bytes need not end in NUL and may hold any
 * value unless a field says otherwise; data may be NULL when size is 0.
 *
 * Units: times and durations are microseconds (times since 1970-01-01 UTC); 0
 * means "none" in every time and duration field but event_us. */
#ifndef MNEME_TYPES_H
#define MNEME_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mneme_bytes {
  const char *data;
  size_t size;
} mneme_bytes;

/* Limits that a backend may rely on: the service refuses what is larger. */
#define MNEME_NAMESPACE_MAX 128   /* bytes; no "/" */
#define MNEME_SESSION_MAX 512     /* bytes */
#define MNEME_ID_MAX 128          /* bytes: id, kind, role, author, source, request_id */
#define MNEME_KEY_MAX 512         /* bytes */
#define MNEME_BODY_MAX (1536 * 1024 + 16)
#define MNEME_SETTINGS_MAX (160 * 1024)
#define MNEME_BATCH_MAX 10000     /* records, or references, in one commit */
#define MNEME_STEPS_MAX 8         /* steps in one commit */
#define MNEME_REQUEST_IDS_MAX 65536 /* remembered per session; then the oldest go */
#define MNEME_LOG_MAX 4096        /* entries that a session's log must keep at least */
#define MNEME_CURSOR_MAX 64       /* bytes of a changes cursor */
#define MNEME_META_KEY_MAX 64     /* bytes */
#define MNEME_META_VALUE_MAX 4096 /* bytes */
#define MNEME_NO_EVENT INT64_MIN /* event_us: 0 is a day that a memory may tell of */
#define MNEME_SCAN_CHECK 1000     /* records between two looks at mneme_call_expired */

/* An incarnation of a session: a UUIDv7 made by the service. All zero = none. */
typedef struct mneme_uid {
  uint8_t bytes[16];
} mneme_uid;

/* One memory as a backend keeps it. The backend orders, finds, expires and
 * evicts by the typed fields; `body` is opaque to it (the host's record codec:
 * content, parts, metadata, perhaps compressed or encrypted).
 *
 * crc covers body and the caller's fields; the host computes and checks it, a
 * backend only keeps it. What a commit assigns stays outside it. */
typedef struct mneme_record {
  /* Assigned by the commit; ignored on entry. */
  int64_t sequence;    /* from 1 in a session's uid */
  int64_t revision;    /* the session's revision at which this memory last changed */
  int64_t create_us;   /* max(now, the session's last create_us) */
  int64_t update_us;   /* max(now, old update_us + 1) */
  int64_t access_us;   /* last touch, 0 = never */
  int64_t access_count;
  /* The caller's, and covered by crc. */
  mneme_bytes id; /* never empty; unique in the session (outside the crc) */
  mneme_bytes key; /* empty = none; unique in the session */
  mneme_bytes kind;
  mneme_bytes role;
  mneme_bytes author;
  mneme_bytes source;
  int32_t tier;
  bool pinned;
  bool has_importance;
  double importance; /* 0..1; counts as 0.5 without has_importance */
  int64_t token_count;
  int64_t ttl_us;    /* 0 = none */
  int64_t event_us;  /* MNEME_NO_EVENT = none; kept, not interpreted */
  mneme_bytes body;
  mneme_bytes metadata_json; /* canonical; only for engines with FILTER, else empty */
  uint32_t crc;
  /* The instant from which the memory is gone; 0 = never. On entry: the
   * caller's, or now + ttl_us. */
  int64_t expire_us;
} mneme_record;

/* A session's header. Counts are of memories that are live at the call's now.
 * `settings` is opaque (the host's: policy override, labels, metadata). */
typedef struct mneme_header {
  mneme_bytes ns;
  mneme_bytes session;
  mneme_uid uid;
  int64_t revision;          /* one clock per session; 1 after the first commit */
  int64_t settings_revision; /* revision at which settings last changed; 1 at creation */
  int64_t last_sequence;
  int64_t mutations; /* entries ever written to the session's log */
  int64_t memory_count;
  int64_t token_count;
  int64_t byte_count; /* body, id, key, kind, role, author, source */
  int64_t create_us;
  int64_t update_us; /* of the last commit that changed anything a reader can see */
  int64_t append_us; /* of the last append */
  int64_t expire_us; /* the session lapses; append_us + plan ttl, 0 = never */
  int64_t max_age_us; /* from the plan of the last commit, 0 = none */
  bool keep_system;   /* from the plan of the last commit */
  bool deleted; /* only from changes: this incarnation has gone */
  mneme_bytes settings;
} mneme_header;

/* What a commit says of one record that it appended, put or found. */
typedef struct mneme_ref {
  mneme_bytes id;
  int64_t sequence;
  int64_t revision;
  bool created;
} mneme_ref;

/* One entry of a session's log: what happened to the memories that had
 * sequences first..last. An append is not logged: last_sequence tells. */
typedef enum mneme_log_op {
  MNEME_LOG_UPDATED = 1,
  MNEME_LOG_DELETED = 2,
  MNEME_LOG_EVICTED = 3,
  MNEME_LOG_EXPIRED = 4
} mneme_log_op;

typedef struct mneme_log_entry {
  int64_t number; /* from 1, consecutive in a session's uid: the mutation count after it */
  int64_t revision;
  int64_t first; /* sequence */
  int64_t last;  /* sequence, >= first */
  mneme_log_op op;
} mneme_log_entry;

#ifdef __cplusplus
extern "C" {
#endif

static inline mneme_bytes mneme_bytes_of(const char *data, size_t size) {
  mneme_bytes b;
  b.data = data;
  b.size = size;
  return b;
}

#ifdef __cplusplus
}
#endif

#endif
