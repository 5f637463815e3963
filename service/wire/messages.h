/* The requests and answers of the contract as plain structs: what the rest of
 * the service sees of the wire.
 *
 * Ownership: everything lies in the arena of the call, or borrows from the
 * request's bytes, which live as long. The functions of requests.c check, unpack
 * and validate in one go; false = the request is refused and e says why. Names
 * that the client left out hold their default already.
 *
 * Answers: wire_* builders give an opaque wire_message; its size is asked first
 * and then it is packed straight into the memory of the reply. */
#ifndef MNEME_WIRE_MESSAGES_H
#define MNEME_WIRE_MESSAGES_H

#include "base/arena.h"
#include "error/error.h"
#include "mneme/backend.h"
#include "policy/policy.h"

#define WIRE_REPLY_MAX (3584 * 1024) /* bytes of a reply: 3.5 MiB */
#define WIRE_PAGE_DEFAULT 50
#define WIRE_PAGE_MAX 1000
#define WIRE_OFFSET_MAX 10000

/* Call once, before anything else. */
void wire_init(void);

/* --- Requests ------------------------------------------------------------ */

/* What almost every request begins with. */
typedef struct wire_scope {
  mneme_bytes ns;
  mneme_bytes session;
  mneme_bytes request_id;
  int64_t expected_revision; /* -1 = not given */
} wire_scope;

/* A memory on its way in: the record with its body encoded; id empty when the
 * service shall make one, kind empty when the policy shall give it. carried has
 * a bit for each field number of Memory that the request carried. */
typedef struct wire_memory {
  mneme_record record;
  uint32_t carried;
  bool token_count_given;
  const void *message; /* this room's own form of it */
} wire_memory;

/* What a request or the store says of a session's settings. */
typedef struct wire_label {
  mneme_bytes key;
  mneme_bytes value;
} wire_label;

typedef struct wire_settings {
  bool has_policy;
  policy policy;
  const wire_label *labels; /* sorted by key */
  size_t label_count;
  bool has_metadata;
  mneme_bytes metadata; /* canonical bytes of a Struct */
} wire_settings;

typedef struct wire_create_session {
  wire_scope scope;
  bool session_given;
  wire_settings settings;
} wire_create_session;

typedef struct wire_list_sessions {
  mneme_bytes ns;
  mneme_bytes prefix;
  const wire_label *labels;
  size_t label_count;
  mneme_bytes filter; /* as text, here and below; empty = none */
  mneme_session_order order;
  int64_t page_size;
  mneme_bytes page_token;
  bool allow_partial;
} wire_list_sessions;

typedef struct wire_update_session {
  wire_scope scope; /* expected_revision is unused */
  wire_settings settings;
  bool set_policy;
  bool set_labels;
  bool set_metadata;
  bool has_patch;
  mneme_bytes patch; /* bytes of a Struct */
  int64_t expected_settings_revision; /* -1 = not given */
} wire_update_session;

typedef struct wire_append {
  wire_scope scope;
  wire_memory *memories;
  size_t memory_count;
  int on_conflict; /* mneme_on_conflict, 0 = by default */
  bool session_must_exist;
  const mneme_bytes *delete_keys;
  size_t delete_key_count;
  bool has_patch;
  mneme_bytes patch;
} wire_append;

typedef enum wire_touch { WIRE_TOUCH_NONE = 0, WIRE_TOUCH_ACCESS, WIRE_TOUCH_TTL } wire_touch;

typedef struct wire_get {
  wire_scope scope;
  const mneme_bytes *ids;
  size_t id_count;
  const mneme_bytes *keys;
  size_t key_count;
  wire_touch touch;
} wire_get;

typedef struct wire_list {
  wire_scope scope;
  mneme_bytes prefix; /* not empty: of all sessions that begin so, and no `session` */
  bool allow_partial;
  bool oldest_first;
  bool by_key;
  mneme_bytes filter;
  const mneme_bytes *roles;
  size_t role_count;
  const mneme_bytes *kinds;
  size_t kind_count;
  int64_t max_tokens; /* 0 = no limit */
  mneme_bytes key_prefix;
  int64_t offset;
  int64_t page_size;
  mneme_bytes page_token;
  wire_touch touch;
} wire_list;

typedef struct wire_update {
  wire_scope scope; /* expected_revision is the memory's */
  mneme_bytes id;   /* one of the two */
  mneme_bytes key;
  wire_memory memory;
  uint32_t fields; /* field numbers of Memory to set */
  bool has_patch;
  mneme_bytes patch;
} wire_update;

typedef struct wire_delete {
  wire_scope scope;
  const mneme_bytes *ids;
  size_t id_count;
  const mneme_bytes *keys;
  size_t key_count;
  mneme_bytes filter; /* instead of ids and keys */
  mneme_bytes resume_token;
  bool dry_run;
} wire_delete;

typedef struct wire_replace {
  wire_scope scope;
  wire_memory *memories;
  size_t memory_count;
  int64_t from_sequence; /* 0 = all */
} wire_replace;

typedef struct wire_pop {
  wire_scope scope;
  int64_t count;
} wire_pop;

typedef struct wire_get_stats {
  mneme_bytes ns;
  mneme_bytes session; /* empty = the namespace, or the prefix */
  mneme_bytes prefix;  /* empty = none */
  bool allow_partial;
} wire_get_stats;

typedef struct wire_delete_sessions {
  mneme_bytes ns;
  mneme_bytes prefix;
  mneme_bytes filter;
  bool dry_run;
  mneme_bytes resume_token;
  bool allow_partial;
} wire_delete_sessions;

typedef struct wire_clean_up {
  mneme_bytes ns;
  mneme_bytes session; /* empty = the namespace, or the prefix */
  mneme_bytes prefix;  /* empty = none */
  int64_t min_age_us;  /* 0 = none */
  int64_t min_idle_us; /* 0 = none */
  bool has_importance;
  double importance; /* less than this */
  mneme_bytes filter;
  bool dry_run;
  mneme_bytes resume_token;
  bool allow_partial;
} wire_clean_up;

#define WIRE_REQUEST(name, type) \
  bool wire_read_##name(const uint8_t *data, size_t size, arena *a, type *ret_request, error *e);
WIRE_REQUEST(create_session, wire_create_session)
WIRE_REQUEST(get_session, wire_scope)
WIRE_REQUEST(list_sessions, wire_list_sessions)
WIRE_REQUEST(update_session, wire_update_session)
WIRE_REQUEST(clear_session, wire_scope)
WIRE_REQUEST(delete_session, wire_scope)
WIRE_REQUEST(delete_sessions, wire_delete_sessions)
WIRE_REQUEST(append, wire_append)
WIRE_REQUEST(ingest, wire_append)
WIRE_REQUEST(get, wire_get)
WIRE_REQUEST(list, wire_list)
WIRE_REQUEST(update, wire_update)
WIRE_REQUEST(delete, wire_delete)
WIRE_REQUEST(replace, wire_replace)
WIRE_REQUEST(pop, wire_pop)
WIRE_REQUEST(clean_up, wire_clean_up)
WIRE_REQUEST(get_stats, wire_get_stats)
#undef WIRE_REQUEST
bool wire_read_list_backends(const uint8_t *data, size_t size, arena *a, error *e);

/* --- Stored forms -------------------------------------------------------- */

/* Lays the fields of `update` over the stored record `old`: a record ready for a
 * PUT but for its crc. body is what old.body holds without its codec header. */
bool wire_merge_memory(const mneme_record *old, const wire_update *update, int64_t now_us,
                       arena *a, mneme_record *ret_record, error *e);

/* A session's settings as they are stored: empty bytes for empty settings. */
bool wire_pack_settings(const wire_settings *settings, arena *a, mneme_bytes *ret_bytes, error *e);
/* false = the bytes are damaged. */
bool wire_read_settings(mneme_bytes bytes, arena *a, wire_settings *ret_settings);
/* RFC 7396 over canonical metadata; checks the limits of the result. */
bool wire_merge_patch(mneme_bytes metadata, mneme_bytes patch, const char *field, arena *a,
                      mneme_bytes *ret_metadata, error *e);

/* --- Answers ------------------------------------------------------------- */

typedef struct wire_message wire_message;

size_t wire_size(const wire_message *m);
void wire_pack(const wire_message *m, uint8_t *out);

/* NULL = no memory, here and below. */
const wire_message *wire_create_session_reply(arena *a, const mneme_written *w, mneme_bytes session);
/* NULL = e is set: no memory, or the stored settings are damaged. */
const wire_message *wire_get_session_reply(arena *a, const mneme_header *h, const char *backend,
                                           const policy *rule, error *e);
/* Sessions are added one by one; the list is built by the last call. */
typedef struct wire_session_list wire_session_list;
wire_session_list *wire_session_list_new(arena *a, size_t max);
/* The size that it adds to the reply; 0 = e is set, as above. */
size_t wire_session_list_add(wire_session_list *l, arena *a, const mneme_header *h,
                             const char *backend, const policy *rule, error *e);
const wire_message *wire_list_sessions_reply(wire_session_list *l, arena *a, const char *token,
                                             const char *const *unavailable, size_t count);
const wire_message *wire_update_session_reply(arena *a, const mneme_written *w,
                                              mneme_bytes session);
const wire_message *wire_clear_session_reply(arena *a, const mneme_written *w,
                                             mneme_bytes session);
const wire_message *wire_delete_session_reply(arena *a, const mneme_written *w);
/* What a removal in pieces answers. */
typedef struct wire_removed {
  int64_t count;
  const mneme_bytes *sessions; /* of a dry run: the first of them */
  const mneme_bytes *ids;      /* memories: as many, each of the session beside it */
  size_t listed;
  const char *resume_token; /* "" = all is done */
  const char *const *unavailable;
  size_t unavailable_count;
} wire_removed;
const wire_message *wire_delete_sessions_reply(arena *a, const wire_removed *r);
const wire_message *wire_clean_up_reply(arena *a, const wire_removed *r);
const wire_message *wire_append_reply(arena *a, const mneme_written *w, mneme_bytes session);
/* One of reply (of wire_append_reply) and e. */
const wire_message *wire_ingest_reply(arena *a, int64_t index, const wire_message *reply,
                                      const error *e);

/* Memories of a reply, gathered one by one from the records of a read. */
typedef struct wire_memories {
  void **items;
  size_t count;
  size_t max;
  size_t bytes; /* that they take in the reply */
  char *session; /* of those that are added next */
} wire_memories;
bool wire_memories_init(wire_memories *m, arena *a, size_t max);
/* The session that the memories added from now on are in; false = no memory. */
bool wire_memories_of(wire_memories *m, arena *a, mneme_bytes session);
/* Copies what the record borrows. body has passed the record codec. Returns the
 * bytes it takes in the reply without adding it when that would bring the sum
 * above bytes_max (0 = no limit) and something is there already. */
typedef enum wire_added { WIRE_ADDED, WIRE_FULL, WIRE_NO_MEMORY } wire_added;
wire_added wire_memories_add(wire_memories *m, arena *a, const mneme_record *r, size_t bytes_max);
void wire_memories_reverse(wire_memories *m);

const wire_message *wire_get_reply(arena *a, const wire_memories *m, const mneme_bytes *missing_ids,
                                   size_t missing_id_count, const mneme_bytes *missing_keys,
                                   size_t missing_key_count, const mneme_bytes *not_returned,
                                   size_t not_returned_count);
const wire_message *wire_list_reply(arena *a, const wire_memories *m, const char *token,
                                    const char *const *unavailable, size_t count);
const wire_message *wire_update_reply(arena *a, const mneme_written *w, mneme_bytes session);
const wire_message *wire_delete_reply(arena *a, const mneme_written *w, mneme_bytes session,
                                      const mneme_bytes *ids, size_t id_count,
                                      const char *resume_token);
const wire_message *wire_replace_reply(arena *a, const mneme_written *w, mneme_bytes session);
const wire_message *wire_pop_reply(arena *a, const mneme_written *w, const wire_memories *m,
                                   mneme_bytes session);
const wire_message *wire_get_stats_reply(arena *a, const mneme_stats *s,
                                         const char *const *unavailable, size_t count);

typedef struct wire_backend {
  const char *name;
  const char *type;
  const char *doc;
  uint32_t caps;
  mneme_durability durability;
  bool serving;
  const char *health;
} wire_backend;
const wire_message *wire_list_backends_reply(arena *a, const wire_backend *backends, size_t count);

/* The bytes of the google.rpc.Status of an error; empty when there is no
 * memory. */
mneme_bytes wire_status(arena *a, const error *e);

#endif
