/* Requests: checked on the wire, unpacked into the arena, validated, and handed
 * on as plain structs. One function per method, in the order of the service. */
#include "wire/check.h"
#include "wire/settings.h"

#define NAMESPACE_DEFAULT "default"
#define SESSION_DEFAULT "default"
#define POP_MAX 1000
#define NAMES_MAX 1000

void wire_init(void) {
  const ProtobufCMessageDescriptor *const roots[] = {
      &mneme__v1__create_session_request__descriptor,
      &mneme__v1__get_session_request__descriptor,
      &mneme__v1__list_sessions_request__descriptor,
      &mneme__v1__update_session_request__descriptor,
      &mneme__v1__clear_session_request__descriptor,
      &mneme__v1__delete_session_request__descriptor,
      &mneme__v1__delete_sessions_request__descriptor,
      &mneme__v1__ingest_memories_request__descriptor,
      &mneme__v1__get_memories_request__descriptor,
      &mneme__v1__list_memories_request__descriptor,
      &mneme__v1__update_memory_request__descriptor,
      &mneme__v1__delete_memories_request__descriptor,
      &mneme__v1__replace_memories_request__descriptor,
      &mneme__v1__pop_memories_request__descriptor,
      &mneme__v1__clean_up_memories_request__descriptor,
      &mneme__v1__get_stats_request__descriptor,
      &mneme__v1__list_backends_request__descriptor,
  };
  check_init(roots, sizeof roots / sizeof *roots);
}

/* --- Shared pieces ------------------------------------------------------- */

void *wire_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t size,
                  arena *a, error *e) {
  static const uint8_t none[1];
  if (!check_message(d, data, size, a, e))
    return NULL;
  ProtobufCAllocator allocator = wire_allocator(a);
  void *m = protobuf_c_message_unpack(d, &allocator, size, data != NULL ? data : none);
  if (m == NULL)
    error_no_memory(e);
  return m;
}

bool wire_namespace_in(const char *text, arena *a, mneme_bytes *ret, error *e) {
  *ret = wire_text(*text != '\0' ? text : NAMESPACE_DEFAULT);
  if (strchr(text, '/') != NULL)
    return error_invalid(e, a, "INVALID_VALUE", "namespace",
                         "namespace: holds a \"/\", which separates namespace and session in the "
                         "server's rules: use another character");
  return true;
}

typedef enum absent { SESSION_BY_DEFAULT, SESSION_REQUIRED, SESSION_OPTIONAL } absent;

static bool read_scope(const char *ns, const char *session, absent rule, const char *request_id,
                       arena *a, wire_scope *ret, error *e) {
  ret->expected_revision = -1;
  ret->request_id = wire_text(request_id);
  ret->session = wire_text(session);
  if (*session == '\0' && rule == SESSION_REQUIRED)
    return error_invalid(e, a, "REQUIRED", "session",
                         "session: required here: name the session");
  if (*session == '\0' && rule == SESSION_BY_DEFAULT)
    ret->session = wire_text(SESSION_DEFAULT);
  return wire_namespace_in(ns, a, &ret->ns, e);
}

bool wire_check_one_scope(const char *session, const char *prefix, arena *a, error *e) {
  if (*session != '\0' && *prefix != '\0')
    return error_invalid(e, a, "CONFLICTING_FIELDS", "session_prefix",
                         "session_prefix: not together with session: give one of the two");
  return true;
}

static bool read_expected(bool given, int64_t value, const char *field, arena *a, int64_t *ret,
                          error *e) {
  if (!given)
    return true;
  if (value < 0)
    return error_invalid(e, a, "INVALID_VALUE", field, "%s: must not be negative", field);
  *ret = value;
  return true;
}

static bool read_names(char **names, size_t count, const char *field, arena *a,
                       const mneme_bytes **ret, error *e) {
  mneme_bytes *out = arena_calloc(a, count + 1, sizeof *out);
  if (out == NULL)
    return error_no_memory(e);
  for (size_t i = 0; i < count; i++) {
    if (*names[i] == '\0')
      return error_invalid(e, a, "INVALID_VALUE", field, "%s: holds an empty name", field);
    out[i] = wire_text(names[i]);
  }
  *ret = out;
  return true;
}

/* ids and keys together: one to a thousand. */
static bool check_names(size_t ids, size_t keys, arena *a, error *e) {
  if (ids + keys == 0)
    return error_invalid(e, a, "REQUIRED", "ids", "ids: give ids or keys");
  if (ids + keys > NAMES_MAX)
    return error_invalid(e, a, "TOO_LARGE", "ids", "ids: more than %d ids and keys together",
                         NAMES_MAX);
  return true;
}

static bool read_memories(pb_memory **messages, size_t count, arena *a, wire_memory **ret,
                          error *e) {
  wire_memory *out = arena_alloc(a, (count + 1) * sizeof *out);
  if (out == NULL)
    return error_no_memory(e);
  for (size_t i = 0; i < count; i++) {
    char path[32] = "";
    /* The path is needed when something is wrong only; it is made again then. */
    if (!wire_memory_in(messages[i], path, false, a, &out[i], e)) {
      if (e->field != NULL) {
        const char *field = arena_printf(a, "memories[%zu].%s", i, e->field);
        const char *message = arena_printf(a, "memories[%zu].%s", i, e->message);
        e->field = field != NULL ? field : e->field;
        e->message = message != NULL ? message : e->message;
      }
      return false;
    }
  }
  *ret = out;
  return true;
}

static bool read_page_size(int32_t value, arena *a, int64_t *ret, error *e) {
  if (value < 0)
    return error_invalid(e, a, "INVALID_VALUE", "page_size", "page_size: must not be negative");
  *ret = value == 0 ? WIRE_PAGE_DEFAULT : value > WIRE_PAGE_MAX ? WIRE_PAGE_MAX : value;
  return true;
}

static bool read_touch(Mneme__V1__Touch touch, arena *a, wire_touch *ret, error *e) {
  switch ((int)touch) {
  case MNEME__V1__TOUCH__TOUCH_UNSPECIFIED:
  case MNEME__V1__TOUCH__TOUCH_NONE: *ret = WIRE_TOUCH_NONE; return true;
  case MNEME__V1__TOUCH__TOUCH_ACCESS: *ret = WIRE_TOUCH_ACCESS; return true;
  case MNEME__V1__TOUCH__TOUCH_TTL: *ret = WIRE_TOUCH_TTL; return true;
  default:
    return error_invalid(e, a, "INVALID_VALUE", "touch", "touch: not a value of Touch");
  }
}

/* Map entries come as structs of two pointers whatever the message: copied, so
 * that one function reads them all. */
#define READ_LABELS(m, a, ret_labels, ret_count, e)                                              \
  read_labels((m)->n_labels, (m)->n_labels > 0 ? (const void *)(m)->labels : NULL, a,            \
              ret_labels, ret_count, e)

_Static_assert(sizeof(Mneme__V1__CreateSessionRequest__LabelsEntry) ==
                       sizeof(Mneme__V1__UpdateSessionRequest__LabelsEntry) &&
                   sizeof(Mneme__V1__CreateSessionRequest__LabelsEntry) ==
                       sizeof(Mneme__V1__ListSessionsRequest__LabelsEntry),
               "map entries have one layout");

static bool read_labels(size_t count, const void *entries, arena *a, const wire_label **ret,
                        size_t *ret_count, error *e) {
  const Mneme__V1__CreateSessionRequest__LabelsEntry *const *from = entries;
  char **keys = arena_calloc(a, count + 1, sizeof *keys);
  char **values = arena_calloc(a, count + 1, sizeof *values);
  if (keys == NULL || values == NULL)
    return error_no_memory(e);
  for (size_t i = 0; i < count; i++) {
    keys[i] = from[i]->key;
    values[i] = from[i]->value;
  }
  return wire_labels_in(keys, values, count, a, ret, ret_count, e);
}

static bool read_metadata(pb_struct *s, const char *field, arena *a, mneme_bytes *ret,
                          error *e) {
  wire_canonical(s);
  return wire_check_metadata(s, field, a, e) &&
         (wire_pack_bytes(a, &s->base, ret) || error_no_memory(e));
}

static bool read_policy(const pb_policy *p, arena *a, wire_settings *ret, error *e) {
  if (p == NULL)
    return true;
  if (!wire_policy_in(p, "policy", a, &ret->policy, e))
    return false;
  ret->has_policy = ret->policy.set != 0;
  return true;
}

/* --- Sessions ------------------------------------------------------------ */

bool wire_read_create_session(const uint8_t *data, size_t size, arena *a,
                              wire_create_session *ret, error *e) {
  const Mneme__V1__CreateSessionRequest *m =
      wire_unpack(&mneme__v1__create_session_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_OPTIONAL, m->request_id, a, &ret->scope, e) ||
      !read_policy(m->policy, a, &ret->settings, e) ||
      !READ_LABELS(m, a, &ret->settings.labels, &ret->settings.label_count, e))
    return false;
  ret->session_given = *m->session != '\0';
  ret->settings.has_metadata = m->metadata != NULL;
  return m->metadata == NULL || read_metadata(m->metadata, "metadata", a, &ret->settings.metadata, e);
}

bool wire_read_get_session(const uint8_t *data, size_t size, arena *a, wire_scope *ret, error *e) {
  const Mneme__V1__GetSessionRequest *m =
      wire_unpack(&mneme__v1__get_session_request__descriptor, data, size, a, e);
  return m != NULL && read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, "", a, ret, e);
}

bool wire_read_list_sessions(const uint8_t *data, size_t size, arena *a, wire_list_sessions *ret,
                             error *e) {
  const Mneme__V1__ListSessionsRequest *m =
      wire_unpack(&mneme__v1__list_sessions_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL || !wire_namespace_in(m->namespace_, a, &ret->ns, e) ||
      !READ_LABELS(m, a, &ret->labels, &ret->label_count, e) ||
      !read_page_size(m->page_size, a, &ret->page_size, e))
    return false;
  if ((unsigned)m->order_by > MNEME__V1__SESSION_ORDER__SESSION_ORDER_UPDATE_TIME)
    return error_invalid(e, a, "INVALID_VALUE", "order_by",
                         "order_by: not a value of SessionOrder");
  ret->order = m->order_by == MNEME__V1__SESSION_ORDER__SESSION_ORDER_UPDATE_TIME
                   ? MNEME_SESSIONS_BY_UPDATE
                   : MNEME_SESSIONS_BY_ID;
  ret->prefix = wire_text(m->prefix);
  ret->filter = wire_text(m->filter);
  ret->page_token = wire_text(m->page_token);
  ret->allow_partial = m->allow_partial;
  return true;
}

/* The mask of UpdateSession; absent = what is carried. */
static bool read_session_mask(const Mneme__V1__UpdateSessionRequest *m, arena *a,
                              wire_update_session *ret, error *e) {
  if (m->update_mask == NULL) {
    ret->set_policy = m->policy != NULL;
    ret->set_labels = m->n_labels > 0;
    ret->set_metadata = m->metadata != NULL;
    return true;
  }
  for (size_t i = 0; i < m->update_mask->n_paths; i++) {
    const char *path = m->update_mask->paths[i];
    if (strcmp(path, "policy") == 0)
      ret->set_policy = true;
    else if (strcmp(path, "labels") == 0)
      ret->set_labels = true;
    else if (strcmp(path, "metadata") == 0)
      ret->set_metadata = true;
    else
      return error_invalid(e, a, "INVALID_VALUE", "update_mask",
                           "update_mask: \"%.64s\" cannot be set: use policy, labels, metadata",
                           path);
  }
  if ((m->policy != NULL && !ret->set_policy) || (m->n_labels > 0 && !ret->set_labels) ||
      (m->metadata != NULL && !ret->set_metadata))
    return error_invalid(e, a, "CONFLICTING_FIELDS", "update_mask",
                         "update_mask: the request carries a field that the mask leaves out");
  return true;
}

bool wire_read_update_session(const uint8_t *data, size_t size, arena *a,
                              wire_update_session *ret, error *e) {
  const Mneme__V1__UpdateSessionRequest *m =
      wire_unpack(&mneme__v1__update_session_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  ret->expected_settings_revision = -1;
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, m->request_id, a, &ret->scope,
                  e) ||
      !read_policy(m->policy, a, &ret->settings, e) ||
      !READ_LABELS(m, a, &ret->settings.labels, &ret->settings.label_count, e) ||
      !read_session_mask(m, a, ret, e) ||
      !read_expected(m->_expected_settings_revision_case != 0, m->expected_settings_revision,
                     "expected_settings_revision", a, &ret->expected_settings_revision, e))
    return false;
  ret->settings.has_metadata = m->metadata != NULL;
  if (m->metadata != NULL && !read_metadata(m->metadata, "metadata", a, &ret->settings.metadata, e))
    return false;
  ret->has_patch = m->metadata_patch != NULL;
  if (ret->has_patch && ret->set_metadata)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "metadata_patch",
                         "metadata_patch: not together with metadata");
  if (ret->has_patch && !read_metadata(m->metadata_patch, "metadata_patch", a, &ret->patch, e))
    return false;
  if (!ret->set_policy && !ret->set_labels && !ret->set_metadata && !ret->has_patch)
    return error_invalid(e, a, "REQUIRED", "update_mask",
                         "update_mask: nothing to set: give policy, labels, metadata or "
                         "metadata_patch");
  return true;
}

bool wire_read_clear_session(const uint8_t *data, size_t size, arena *a, wire_scope *ret,
                             error *e) {
  const Mneme__V1__ClearSessionRequest *m =
      wire_unpack(&mneme__v1__clear_session_request__descriptor, data, size, a, e);
  return m != NULL &&
         read_scope(m->namespace_, m->session, SESSION_REQUIRED, m->request_id, a, ret, e) &&
         read_expected(m->_expected_revision_case != 0, m->expected_revision,
                       "expected_revision", a, &ret->expected_revision, e);
}

bool wire_read_delete_session(const uint8_t *data, size_t size, arena *a, wire_scope *ret,
                              error *e) {
  const Mneme__V1__DeleteSessionRequest *m =
      wire_unpack(&mneme__v1__delete_session_request__descriptor, data, size, a, e);
  return m != NULL &&
         read_scope(m->namespace_, m->session, SESSION_REQUIRED, m->request_id, a, ret, e) &&
         read_expected(m->_expected_revision_case != 0, m->expected_revision,
                       "expected_revision", a, &ret->expected_revision, e);
}

/* --- Memories ------------------------------------------------------------ */

static bool read_append(const Mneme__V1__AppendMemoriesRequest *m, arena *a, wire_append *ret,
                        error *e) {
  memset(ret, 0, sizeof *ret);
  if (!read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, m->request_id, a, &ret->scope,
                  e) ||
      !read_expected(m->_expected_revision_case != 0, m->expected_revision, "expected_revision",
                     a, &ret->scope.expected_revision, e) ||
      !read_memories(m->memories, m->n_memories, a, &ret->memories, e) ||
      !read_names(m->delete_keys, m->n_delete_keys, "delete_keys", a, &ret->delete_keys, e))
    return false;
  if ((unsigned)m->on_conflict > MNEME__V1__ON_CONFLICT__ON_CONFLICT_REPLACE)
    return error_invalid(e, a, "INVALID_VALUE", "on_conflict",
                         "on_conflict: not a value of OnConflict");
  if (m->n_memories == 0 && m->n_delete_keys == 0 && m->session_metadata_patch == NULL)
    return error_invalid(e, a, "REQUIRED", "memories", "memories: nothing to append");
  ret->memory_count = m->n_memories;
  ret->delete_key_count = m->n_delete_keys;
  ret->on_conflict = (int)m->on_conflict; /* the numbers are those of mneme_on_conflict */
  ret->session_must_exist = m->session_must_exist;
  ret->has_patch = m->session_metadata_patch != NULL;
  return !ret->has_patch || read_metadata(m->session_metadata_patch, "session_metadata_patch", a, &ret->patch, e);
}

bool wire_read_append(const uint8_t *data, size_t size, arena *a, wire_append *ret, error *e) {
  const Mneme__V1__AppendMemoriesRequest *m =
      wire_unpack(&mneme__v1__append_memories_request__descriptor, data, size, a, e);
  return m != NULL && read_append(m, a, ret, e);
}

/* An item's error reads as that of the unary method: its fields are named from
 * AppendMemoriesRequest on. */
static bool strip_append(error *e) {
  static const char prefix[] = "append.";
  size_t size = sizeof prefix - 1;
  if (e->field != NULL && strncmp(e->field, prefix, size) == 0) {
    e->field += size;
    if (strncmp(e->message, prefix, size) == 0)
      e->message += size;
  }
  return false;
}

bool wire_read_ingest(const uint8_t *data, size_t size, arena *a, wire_append *ret, error *e) {
  const Mneme__V1__IngestMemoriesRequest *m =
      wire_unpack(&mneme__v1__ingest_memories_request__descriptor, data, size, a, e);
  if (m == NULL)
    return strip_append(e);
  if (m->append == NULL)
    return error_invalid(e, a, "REQUIRED", "append", "append: required");
  return read_append(m->append, a, ret, e);
}

bool wire_read_get(const uint8_t *data, size_t size, arena *a, wire_get *ret, error *e) {
  const Mneme__V1__GetMemoriesRequest *m =
      wire_unpack(&mneme__v1__get_memories_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, "", a, &ret->scope, e) ||
      !check_names(m->n_ids, m->n_keys, a, e) ||
      !read_names(m->ids, m->n_ids, "ids", a, &ret->ids, e) ||
      !read_names(m->keys, m->n_keys, "keys", a, &ret->keys, e) ||
      !read_touch(m->touch, a, &ret->touch, e))
    return false;
  ret->id_count = m->n_ids;
  ret->key_count = m->n_keys;
  return true;
}

/* Roles and kinds may be empty strings: the memories that have none. */
static bool read_values(char **values, size_t count, arena *a, const mneme_bytes **ret, error *e) {
  mneme_bytes *out = arena_calloc(a, count + 1, sizeof *out);
  if (out == NULL)
    return error_no_memory(e);
  for (size_t i = 0; i < count; i++)
    out[i] = wire_text(values[i]);
  *ret = out;
  return true;
}

static bool read_list_limits(const Mneme__V1__ListMemoriesRequest *m, arena *a, wire_list *ret,
                             error *e) {
  if (m->_max_tokens_case != 0 && (m->max_tokens < 1 || m->max_tokens > INT32_MAX))
    return error_invalid(e, a, "INVALID_VALUE", "max_tokens",
                         "max_tokens: must lie between 1 and %d", INT32_MAX);
  if (m->offset < 0 || m->offset > WIRE_OFFSET_MAX)
    return error_invalid(e, a, "INVALID_VALUE", "offset", "offset: must lie between 0 and %d",
                         WIRE_OFFSET_MAX);
  if (m->offset > 0 && *m->page_token != '\0')
    return error_invalid(e, a, "CONFLICTING_FIELDS", "offset",
                         "offset: not together with page_token");
  ret->max_tokens = m->_max_tokens_case != 0 ? m->max_tokens : 0;
  ret->offset = m->offset;
  return true;
}

/* What a list of several sessions cannot do, since its order is another. */
static bool check_prefix(const Mneme__V1__ListMemoriesRequest *m, arena *a, error *e) {
  if (!wire_check_one_scope(m->session, m->session_prefix, a, e))
    return false;
  if (*m->session_prefix == '\0')
    return !m->allow_partial ||
           error_invalid(e, a, "CONFLICTING_FIELDS", "allow_partial",
                         "allow_partial: only with session_prefix: a session is on one backend");
  if (m->anchor == MNEME__V1__ANCHOR__ANCHOR_OLDEST)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "anchor",
                         "anchor: with session_prefix the last updated come first");
  if (m->order_by != MNEME__V1__MEMORY_ORDER__MEMORY_ORDER_UNSPECIFIED)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "order_by",
                         "order_by: with session_prefix the order is by update_time");
  if (m->touch == MNEME__V1__TOUCH__TOUCH_ACCESS || m->touch == MNEME__V1__TOUCH__TOUCH_TTL)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "touch",
                         "touch: not with session_prefix, since no write spans sessions: touch by "
                         "GetMemories, session by session");
  return true;
}

bool wire_read_list(const uint8_t *data, size_t size, arena *a, wire_list *ret, error *e) {
  const Mneme__V1__ListMemoriesRequest *m =
      wire_unpack(&mneme__v1__list_memories_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, "", a, &ret->scope, e) ||
      !read_values(m->roles, m->n_roles, a, &ret->roles, e) ||
      !read_values(m->kinds, m->n_kinds, a, &ret->kinds, e) ||
      !read_list_limits(m, a, ret, e) || !read_page_size(m->page_size, a, &ret->page_size, e) ||
      !read_touch(m->touch, a, &ret->touch, e))
    return false;
  if ((unsigned)m->anchor > MNEME__V1__ANCHOR__ANCHOR_OLDEST)
    return error_invalid(e, a, "INVALID_VALUE", "anchor", "anchor: not a value of Anchor");
  if ((unsigned)m->order_by > MNEME__V1__MEMORY_ORDER__MEMORY_ORDER_KEY)
    return error_invalid(e, a, "INVALID_VALUE", "order_by",
                         "order_by: not a value of MemoryOrder");
  if (!check_prefix(m, a, e))
    return false;
  ret->prefix = wire_text(m->session_prefix);
  ret->allow_partial = m->allow_partial;
  ret->role_count = m->n_roles;
  ret->kind_count = m->n_kinds;
  ret->oldest_first = m->anchor == MNEME__V1__ANCHOR__ANCHOR_OLDEST;
  ret->by_key = m->order_by == MNEME__V1__MEMORY_ORDER__MEMORY_ORDER_KEY;
  ret->filter = wire_text(m->filter);
  ret->key_prefix = wire_text(m->key_prefix);
  ret->page_token = wire_text(m->page_token);
  return true;
}

/* Field numbers of Memory by the names that a mask may use. */
static const struct {
  const char *name;
  int number;
} maskable[] = {
    {"key", 3},         {"kind", 4},      {"role", 5},         {"author", 6},
    {"source", 7},      {"tier", 8},      {"content", 9},      {"parts", 10},
    {"metadata", 11},   {"importance", 12}, {"pinned", 13},    {"ttl", 16},
    {"token_count", 17}, {"event_time", 18}, {"expire_time", 22},
};

static bool read_mask(const Mneme__V1__UpdateMemoryRequest *m, arena *a, wire_update *ret,
                      error *e) {
  if (m->update_mask == NULL) {
    ret->fields = ret->memory.carried;
    return true;
  }
  for (size_t i = 0; i < m->update_mask->n_paths; i++) {
    size_t row = 0, rows = sizeof maskable / sizeof *maskable;
    while (row < rows && strcmp(maskable[row].name, m->update_mask->paths[i]) != 0)
      row++;
    if (row == rows)
      return error_invalid(e, a, "INVALID_VALUE", "update_mask",
                           "update_mask: \"%.64s\" cannot be set: use top-level fields that are "
                           "not output only",
                           m->update_mask->paths[i]);
    ret->fields |= UINT32_C(1) << maskable[row].number;
  }
  if ((ret->memory.carried & ~ret->fields) != 0)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "update_mask",
                         "update_mask: the memory carries a field that the mask leaves out");
  return true;
}

static bool read_update_memory(const Mneme__V1__UpdateMemoryRequest *m, arena *a,
                               wire_update *ret, error *e) {
  pb_memory none = MNEME__V1__MEMORY__INIT;
  pb_memory *message = m->memory;
  if (message == NULL) {
    message = arena_alloc(a, sizeof *message);
    if (message == NULL)
      return error_no_memory(e);
    *message = none;
  }
  if (*message->id != '\0')
    return error_invalid(e, a, "CONFLICTING_FIELDS", "memory.id",
                         "memory.id: an id does not change: name the memory by the request's id "
                         "or key");
  return wire_memory_in(message, "memory", true, a, &ret->memory, e);
}

bool wire_read_update(const uint8_t *data, size_t size, arena *a, wire_update *ret, error *e) {
  const Mneme__V1__UpdateMemoryRequest *m =
      wire_unpack(&mneme__v1__update_memory_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, m->request_id, a, &ret->scope,
                  e) ||
      !read_expected(m->_expected_revision_case != 0, m->expected_revision, "expected_revision",
                     a, &ret->scope.expected_revision, e))
    return false;
  ret->id = wire_text(m->id);
  ret->key = wire_text(m->key);
  if ((ret->id.size == 0) == (ret->key.size == 0))
    return error_invalid(e, a, ret->id.size == 0 ? "REQUIRED" : "CONFLICTING_FIELDS", "id",
                         "id: name the memory by id or by key, one of the two");
  if (!read_update_memory(m, a, ret, e) || !read_mask(m, a, ret, e))
    return false;
  ret->has_patch = m->metadata_patch != NULL;
  if (ret->has_patch && (ret->fields & UINT32_C(1) << 11) != 0)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "metadata_patch",
                         "metadata_patch: not together with metadata");
  if (ret->fields == 0 && !ret->has_patch)
    return error_invalid(e, a, "REQUIRED", "memory",
                         "memory: nothing to set: give values, a mask or metadata_patch");
  return !ret->has_patch || read_metadata(m->metadata_patch, "metadata_patch", a, &ret->patch, e);
}

/* What goes is named, or matches. */
static bool check_delete(const Mneme__V1__DeleteMemoriesRequest *m, arena *a, error *e) {
  if (*m->resume_token != '\0' && (*m->filter == '\0' || m->dry_run))
    return error_invalid(e, a, "CONFLICTING_FIELDS", "resume_token",
                         "resume_token: goes on with a filter, and not with a dry_run");
  if (m->dry_run && *m->request_id != '\0')
    return error_invalid(e, a, "CONFLICTING_FIELDS", "request_id",
                         "request_id: not together with dry_run, which writes nothing");
  if (*m->filter == '\0' && m->n_ids + m->n_keys == 0)
    return error_invalid(e, a, "REQUIRED", "ids", "ids: give ids, keys or a filter");
  if (*m->filter == '\0')
    return check_names(m->n_ids, m->n_keys, a, e);
  if (m->n_ids + m->n_keys > 0)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "filter",
                         "filter: not together with ids or keys: IN names several");
  if (*m->request_id != '\0')
    return error_invalid(e, a, "CONFLICTING_FIELDS", "request_id",
                         "request_id: not together with a filter: repeating that is harmless");
  return true;
}

bool wire_read_delete(const uint8_t *data, size_t size, arena *a, wire_delete *ret, error *e) {
  const Mneme__V1__DeleteMemoriesRequest *m =
      wire_unpack(&mneme__v1__delete_memories_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, m->request_id, a, &ret->scope,
                  e) ||
      !read_expected(m->_expected_revision_case != 0, m->expected_revision, "expected_revision",
                     a, &ret->scope.expected_revision, e) ||
      !check_delete(m, a, e) || !read_names(m->ids, m->n_ids, "ids", a, &ret->ids, e) ||
      !read_names(m->keys, m->n_keys, "keys", a, &ret->keys, e))
    return false;
  ret->id_count = m->n_ids;
  ret->key_count = m->n_keys;
  ret->filter = wire_text(m->filter);
  ret->resume_token = wire_text(m->resume_token);
  ret->dry_run = m->dry_run;
  return true;
}

bool wire_read_replace(const uint8_t *data, size_t size, arena *a, wire_replace *ret, error *e) {
  const Mneme__V1__ReplaceMemoriesRequest *m =
      wire_unpack(&mneme__v1__replace_memories_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_REQUIRED, m->request_id, a, &ret->scope,
                  e) ||
      !read_expected(m->_expected_revision_case != 0, m->expected_revision, "expected_revision",
                     a, &ret->scope.expected_revision, e) ||
      !read_memories(m->memories, m->n_memories, a, &ret->memories, e))
    return false;
  if (m->_from_sequence_case != 0 && m->from_sequence < 1)
    return error_invalid(e, a, "INVALID_VALUE", "from_sequence",
                         "from_sequence: sequences begin at 1");
  ret->memory_count = m->n_memories;
  ret->from_sequence = m->_from_sequence_case != 0 ? m->from_sequence : 0;
  return true;
}

bool wire_read_pop(const uint8_t *data, size_t size, arena *a, wire_pop *ret, error *e) {
  const Mneme__V1__PopMemoriesRequest *m =
      wire_unpack(&mneme__v1__pop_memories_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL ||
      !read_scope(m->namespace_, m->session, SESSION_BY_DEFAULT, m->request_id, a, &ret->scope,
                  e) ||
      !read_expected(m->_expected_revision_case != 0, m->expected_revision, "expected_revision",
                     a, &ret->scope.expected_revision, e))
    return false;
  if (m->count < 0 || m->count > POP_MAX)
    return error_invalid(e, a, "INVALID_VALUE", "count", "count: must lie between 0 and %d",
                         POP_MAX);
  ret->count = m->count == 0 ? 1 : m->count;
  return true;
}

/* --- Upkeep -------------------------------------------------------------- */

bool wire_read_get_stats(const uint8_t *data, size_t size, arena *a, wire_get_stats *ret,
                         error *e) {
  const Mneme__V1__GetStatsRequest *m =
      wire_unpack(&mneme__v1__get_stats_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL || !wire_namespace_in(m->namespace_, a, &ret->ns, e))
    return false;
  ret->session = wire_text(m->session);
  ret->prefix = wire_text(m->session_prefix);
  ret->allow_partial = m->allow_partial;
  return wire_check_one_scope(m->session, m->session_prefix, a, e);
}

bool wire_read_list_backends(const uint8_t *data, size_t size, arena *a, error *e) {
  return wire_unpack(&mneme__v1__list_backends_request__descriptor, data, size, a, e) != NULL;
}
