/* Answers: protobuf-c messages built in the arena, sized, and packed straight
 * into the memory of the reply.
 *
 * A stored body is a fragment of the very message that the reply needs (see
 * record.h), so it is not unpacked: it is hung on the message as one unknown
 * field, which protobuf-c writes out as it is:
 *
 *   body      4a 05 "Hello" 5a 07 ...       content, metadata, with their tags
 *             ▲  └──────────────── data of the unknown field
 *             └ tag and wire type
 *
 * Ownership: what a builder gets must live until wire_pack; names and records
 * that come from a backend's callback are copied. */
#include "base/uuid.h"
#include "wire/encode.h"
#include "wire/settings.h"

size_t wire_size(const wire_message *m) {
  return protobuf_c_message_get_packed_size((const ProtobufCMessage *)m);
}

void wire_pack(const wire_message *m, uint8_t *out) {
  protobuf_c_message_pack((const ProtobufCMessage *)m, out);
}

static const wire_message *seal(void *m) {
  return m;
}

void *wire_message_new(arena *a, const ProtobufCMessageDescriptor *d) {
  ProtobufCMessage *m = arena_alloc(a, d->sizeof_message);
  if (m != NULL)
    protobuf_c_message_init(d, m);
  return m;
}

/* Hangs packed fields on a message; false = no memory. */
static bool splice(ProtobufCMessage *m, mneme_bytes fields, arena *a) {
  if (fields.size == 0)
    return true;
  ProtobufCMessageUnknownField *field = arena_alloc(a, sizeof *field);
  if (field == NULL)
    return false;
  /* Every field that is stored this way has a number below 16: one byte. */
  field->tag = (uint8_t)fields.data[0] >> 3;
  field->wire_type = (ProtobufCWireType)((uint8_t)fields.data[0] & 7);
  field->data = (uint8_t *)fields.data + 1;
  field->len = fields.size - 1;
  m->unknown_fields = field;
  m->n_unknown_fields = 1;
  return true;
}

/* --- Pieces -------------------------------------------------------------- */

static char *uid_text(arena *a, const mneme_uid *uid) {
  char text[37];
  uuid_format(uid->bytes, text);
  return arena_copy(a, text, 36);
}

/* NULL = no memory. A zero header stands for a session that does not exist. */
static Mneme__V1__SessionRef *session_ref(arena *a, const mneme_header *h, mneme_bytes session) {
  static const mneme_uid none;
  Mneme__V1__SessionRef *ref = wire_message_new(a, &mneme__v1__session_ref__descriptor);
  if (ref == NULL || memcmp(&h->uid, &none, sizeof none) == 0)
    return ref;
  ref->session = wire_string(a, session);
  ref->uid = uid_text(a, &h->uid);
  ref->revision = h->revision;
  ref->settings_revision = h->settings_revision;
  ref->last_sequence = h->last_sequence;
  ref->memory_count = h->memory_count;
  return ref->session != NULL && ref->uid != NULL ? ref : NULL;
}

static bool fill_ref(Mneme__V1__MemoryRef *to, const mneme_ref *from, arena *a) {
  mneme__v1__memory_ref__init(to);
  to->id = wire_string(a, from->id);
  to->sequence = from->sequence;
  to->revision = from->revision;
  to->created = from->created;
  return to->id != NULL;
}

static Mneme__V1__MemoryRef **memory_refs(arena *a, const mneme_ref *refs, size_t count) {
  Mneme__V1__MemoryRef *items = arena_alloc(a, (count + 1) * sizeof *items);
  Mneme__V1__MemoryRef **pointers = arena_alloc(a, (count + 1) * sizeof *pointers);
  if (items == NULL || pointers == NULL)
    return NULL;
  for (size_t i = 0; i < count; i++) {
    if (!fill_ref(&items[i], &refs[i], a))
      return NULL;
    pointers[i] = &items[i];
  }
  return pointers;
}

char **wire_strings(arena *a, const mneme_bytes *from, size_t count) {
  char **out = arena_calloc(a, count + 1, sizeof *out);
  for (size_t i = 0; out != NULL && i < count; i++) {
    out[i] = wire_string(a, from[i]);
    if (out[i] == NULL)
      return NULL;
  }
  return out;
}

/* --- Memories ------------------------------------------------------------ */

static bool fill_times(pb_memory *m, const mneme_record *r, arena *a) {
  m->create_time = wire_time_out(r->create_us, a);
  m->update_time = wire_time_out(r->update_us, a);
  if (m->create_time == NULL || m->update_time == NULL)
    return false;
  if (r->event_us != MNEME_NO_EVENT && (m->event_time = wire_time_out(r->event_us, a)) == NULL)
    return false;
  if (r->access_us != 0 && (m->last_access_time = wire_time_out(r->access_us, a)) == NULL)
    return false;
  if (r->expire_us != 0 && (m->expire_time = wire_time_out(r->expire_us, a)) == NULL)
    return false;
  return r->ttl_us == 0 || (m->ttl = wire_duration_out(r->ttl_us, a)) != NULL;
}

static pb_memory *memory_out(arena *a, const mneme_record *r, char *session) {
  pb_memory *m = wire_message_new(a, &mneme__v1__memory__descriptor);
  if (m == NULL)
    return NULL;
  m->id = wire_string(a, r->id);
  m->key = wire_string(a, r->key);
  m->kind = wire_string(a, r->kind);
  m->role = wire_string(a, r->role);
  m->author = wire_string(a, r->author);
  m->source = wire_string(a, r->source);
  if (m->id == NULL || m->key == NULL || m->kind == NULL || m->role == NULL ||
      m->author == NULL || m->source == NULL)
    return NULL;
  m->session = session;
  m->sequence = r->sequence;
  m->tier = (Mneme__V1__Tier)r->tier;
  m->pinned = r->pinned;
  m->access_count = r->access_count;
  m->revision = r->revision;
  m->_token_count_case = MNEME__V1__MEMORY___TOKEN_COUNT_TOKEN_COUNT;
  m->token_count = r->token_count;
  if (r->has_importance) {
    m->_importance_case = MNEME__V1__MEMORY___IMPORTANCE_IMPORTANCE;
    m->importance = r->importance;
  }
  mneme_bytes payload = r->body;
  payload.data = arena_copy(a, r->body.data, r->body.size);
  return payload.data != NULL && fill_times(m, r, a) && splice(&m->base, payload, a) ? m : NULL;
}

bool wire_memories_init(wire_memories *m, arena *a, size_t max) {
  *m = (wire_memories){.max = max, .session = (char *)protobuf_c_empty_string};
  m->items = arena_alloc(a, (max + 1) * sizeof *m->items);
  return m->items != NULL;
}

bool wire_memories_of(wire_memories *m, arena *a, mneme_bytes session) {
  char *name = wire_string(a, session);
  if (name != NULL)
    m->session = name;
  return name != NULL;
}

/* Tag and length before each memory of a reply. */
#define ITEM_OVERHEAD 6

wire_added wire_memories_add(wire_memories *m, arena *a, const mneme_record *r, size_t bytes_max) {
  if (m->count == m->max)
    return WIRE_FULL;
  pb_memory *item = memory_out(a, r, m->session);
  if (item == NULL)
    return WIRE_NO_MEMORY;
  size_t size = protobuf_c_message_get_packed_size(&item->base) + ITEM_OVERHEAD;
  if (bytes_max > 0 && m->count > 0 && m->bytes + size > bytes_max)
    return WIRE_FULL;
  m->items[m->count++] = item;
  m->bytes += size;
  return WIRE_ADDED;
}

void wire_memories_reverse(wire_memories *m) {
  for (size_t i = 0; i < m->count / 2; i++) {
    void *last = m->items[m->count - 1 - i];
    m->items[m->count - 1 - i] = m->items[i];
    m->items[i] = last;
  }
}

const wire_message *wire_get_reply(arena *a, const wire_memories *m, const mneme_bytes *missing_ids,
                                   size_t missing_id_count, const mneme_bytes *missing_keys,
                                   size_t missing_key_count, const mneme_bytes *not_returned,
                                   size_t not_returned_count) {
  Mneme__V1__GetMemoriesResponse *r =
      wire_message_new(a, &mneme__v1__get_memories_response__descriptor);
  if (r == NULL)
    return NULL;
  r->memories = (pb_memory **)m->items;
  r->n_memories = m->count;
  r->missing_ids = wire_strings(a, missing_ids, missing_id_count);
  r->n_missing_ids = missing_id_count;
  r->missing_keys = wire_strings(a, missing_keys, missing_key_count);
  r->n_missing_keys = missing_key_count;
  r->not_returned = wire_strings(a, not_returned, not_returned_count);
  r->n_not_returned = not_returned_count;
  return r->missing_ids != NULL && r->missing_keys != NULL && r->not_returned != NULL ? seal(r)
                                                                                      : NULL;
}

const wire_message *wire_list_reply(arena *a, const wire_memories *m, const char *token,
                                    const char *const *unavailable, size_t count) {
  Mneme__V1__ListMemoriesResponse *r =
      wire_message_new(a, &mneme__v1__list_memories_response__descriptor);
  if (r == NULL)
    return NULL;
  r->memories = (pb_memory **)m->items;
  r->n_memories = m->count;
  r->next_page_token = (char *)token;
  r->unavailable_backends = wire_plain_strings(a, unavailable, count);
  r->n_unavailable_backends = count;
  return r->unavailable_backends != NULL ? seal(r) : NULL;
}

/* --- Writes -------------------------------------------------------------- */

static uint8_t *encode_session(uint8_t *end, const mneme_header *h, mneme_bytes session) {
  static const mneme_uid none;
  if (memcmp(&h->uid, &none, sizeof none) == 0)
    return end;
  char uid[UUID_TEXT_SIZE];
  uuid_format(h->uid.bytes, uid);
  end = encode_number(end, 6, h->memory_count);
  end = encode_number(end, 5, h->last_sequence);
  end = encode_number(end, 4, h->settings_revision);
  end = encode_number(end, 3, h->revision);
  end = encode_text(end, 2, mneme_bytes_of(uid, UUID_TEXT_SIZE - 1));
  return encode_text(end, 1, session);
}

static uint8_t *encode_ref(uint8_t *end, const mneme_ref *ref) {
  end = encode_number(end, 4, ref->created);
  end = encode_number(end, 3, ref->revision);
  end = encode_number(end, 2, ref->sequence);
  return encode_text(end, 1, ref->id);
}

/* An append's answer in packed form. */
static uint8_t *encode_append(uint8_t *end, const mneme_written *w, mneme_bytes session) {
  end = encode_number(end, 5, w->deduplicated);
  end = encode_number(end, 4, w->removed_count);
  end = encode_number(end, 3, w->evicted_count);
  end = encode_prefix(encode_session(end, &w->header, session), end, 2);
  for (size_t i = w->ref_count; i-- > 0;)
    end = encode_prefix(encode_ref(end, &w->refs[i]), end, 1);
  return end;
}

/* The answer is one unknown field of an empty message, as a body is: so it can
 * stand in the answer of an ingest too. */
const wire_message *wire_append_reply(arena *a, const mneme_written *w, mneme_bytes session) {
  Mneme__V1__AppendMemoriesResponse *r =
      wire_message_new(a, &mneme__v1__append_memories_response__descriptor);
  size_t room = 7 * ENCODE_NUMBER_MAX + 3 * ENCODE_PREFIX_MAX + UUID_TEXT_SIZE + session.size;
  for (size_t i = 0; i < w->ref_count; i++)
    room += 3 * ENCODE_NUMBER_MAX + 2 * ENCODE_PREFIX_MAX + w->refs[i].id.size;
  char *bytes = arena_alloc(a, room);
  if (r == NULL || bytes == NULL)
    return NULL;
  uint8_t *end = (uint8_t *)bytes + room;
  uint8_t *begin = encode_append(end, w, session);
  mneme_bytes packed = mneme_bytes_of((char *)begin, (size_t)(end - begin));
  return splice(&r->base, packed, a) ? seal(r) : NULL;
}

static Mneme__V1__ItemError *item_error(arena *a, const error *e) {
  Mneme__V1__ItemError *out = wire_message_new(a, &mneme__v1__item_error__descriptor);
  size_t n = (size_t)e->metadata_count;
  Mneme__V1__ItemError__MetadataEntry *entries = arena_calloc(a, n + 1, sizeof *entries);
  Mneme__V1__ItemError__MetadataEntry **pointers = arena_calloc(a, n + 1, sizeof *pointers);
  if (out == NULL || entries == NULL || pointers == NULL)
    return NULL;
  out->code = e->code;
  out->message = (char *)e->message;
  out->reason = (char *)e->reason;
  out->field = e->field != NULL ? (char *)e->field : out->field;
  if (e->retry_us > 0)
    out->retry_delay = wire_duration_out(e->retry_us, a);
  for (size_t i = 0; i < n; i++) {
    mneme__v1__item_error__metadata_entry__init(&entries[i]);
    entries[i].key = (char *)e->metadata[i].key;
    entries[i].value = (char *)e->metadata[i].value;
    pointers[i] = &entries[i];
  }
  out->metadata = pointers;
  out->n_metadata = n;
  return out;
}

const wire_message *wire_ingest_reply(arena *a, int64_t index, const wire_message *reply,
                                      const error *e) {
  Mneme__V1__IngestMemoriesResponse *r =
      wire_message_new(a, &mneme__v1__ingest_memories_response__descriptor);
  if (r == NULL)
    return NULL;
  r->index = index;
  if (reply != NULL) {
    r->result_case = MNEME__V1__INGEST_MEMORIES_RESPONSE__RESULT_APPEND;
    r->append = (Mneme__V1__AppendMemoriesResponse *)reply;
    return seal(r);
  }
  r->result_case = MNEME__V1__INGEST_MEMORIES_RESPONSE__RESULT_ERROR;
  r->error = item_error(a, e);
  return r->error != NULL ? seal(r) : NULL;
}

const wire_message *wire_update_reply(arena *a, const mneme_written *w, mneme_bytes session) {
  Mneme__V1__UpdateMemoryResponse *r =
      wire_message_new(a, &mneme__v1__update_memory_response__descriptor);
  Mneme__V1__MemoryRef *ref = arena_alloc(a, sizeof *ref);
  if (r == NULL || ref == NULL || w->ref_count != 1 || !fill_ref(ref, &w->refs[0], a))
    return NULL;
  r->memory = ref;
  r->session = session_ref(a, &w->header, session);
  r->deduplicated = w->deduplicated;
  r->evicted_count = w->evicted_count;
  return r->session != NULL ? seal(r) : NULL;
}

const wire_message *wire_delete_reply(arena *a, const mneme_written *w, mneme_bytes session,
                                      const mneme_bytes *ids, size_t id_count,
                                      const char *resume_token) {
  Mneme__V1__DeleteMemoriesResponse *r =
      wire_message_new(a, &mneme__v1__delete_memories_response__descriptor);
  if (r == NULL)
    return NULL;
  r->deleted_count = w->removed_count;
  r->ids = wire_strings(a, ids, id_count);
  r->n_ids = id_count;
  r->resume_token = (char *)resume_token;
  r->session = session_ref(a, &w->header, session);
  r->deduplicated = w->deduplicated;
  return r->session != NULL && r->ids != NULL ? seal(r) : NULL;
}

const wire_message *wire_replace_reply(arena *a, const mneme_written *w, mneme_bytes session) {
  Mneme__V1__ReplaceMemoriesResponse *r =
      wire_message_new(a, &mneme__v1__replace_memories_response__descriptor);
  if (r == NULL)
    return NULL;
  r->memories = memory_refs(a, w->refs, w->ref_count);
  r->n_memories = w->ref_count;
  r->session = session_ref(a, &w->header, session);
  r->deleted_count = w->removed_count;
  r->evicted_count = w->evicted_count;
  r->deduplicated = w->deduplicated;
  return r->session != NULL && r->memories != NULL ? seal(r) : NULL;
}

const wire_message *wire_pop_reply(arena *a, const mneme_written *w, const wire_memories *m,
                                   mneme_bytes session) {
  Mneme__V1__PopMemoriesResponse *r =
      wire_message_new(a, &mneme__v1__pop_memories_response__descriptor);
  if (r == NULL)
    return NULL;
  r->memories = (pb_memory **)m->items;
  r->n_memories = m->count;
  r->session = session_ref(a, &w->header, session);
  r->truncated = w->truncated;
  r->deduplicated = w->deduplicated;
  return r->session != NULL ? seal(r) : NULL;
}

/* --- Sessions ------------------------------------------------------------ */

/* A policy that is intact and that no policy can be was stored by another version,
 * or by a bug: nothing that may be passed over either. */
static Mneme__V1__Session *settings_out(arena *a, const mneme_header *h, const char *backend,
                                        policy *ret_override, error *e) {
  mneme_bytes kept = h->settings;
  error problem = {0};
  bool damaged = false;
  kept.data = arena_copy(a, kept.data, kept.size);
  Mneme__V1__Session *s = kept.data != NULL ? wire_open_settings(kept, a, &damaged) : NULL;
  if (s != NULL && (s->policy == NULL ||
                    wire_policy_in(s->policy, "policy", a, ret_override, &problem)))
    return s;
  if (damaged || problem.code == CODE_INVALID_ARGUMENT)
    error_set(e, a, CODE_DATA_LOSS, "CORRUPT", NULL,
              "the settings of session \"%.*s\" on backend %s are damaged: restore them from a "
              "backup, or delete the session",
              (int)h->session.size, h->session.data, backend);
  else
    error_no_memory(e);
  return NULL;
}

/* NULL = e is set. */
static Mneme__V1__Session *session_out(arena *a, const mneme_header *h, const char *backend,
                                       const policy *rule, error *e) {
  policy override = {0};
  Mneme__V1__Session *s = settings_out(a, h, backend, &override, e);
  if (s == NULL)
    return NULL;
  policy effective = policy_merge(rule, &override);
  s->namespace_ = wire_string(a, h->ns);
  s->id = wire_string(a, h->session);
  s->uid = uid_text(a, &h->uid);
  s->backend = arena_copy(a, backend, strlen(backend));
  s->effective_policy = wire_policy_out(&effective, a);
  s->memory_count = h->memory_count;
  s->token_count = h->token_count;
  s->last_sequence = h->last_sequence;
  s->revision = h->revision;
  s->settings_revision = h->settings_revision;
  s->create_time = wire_time_out(h->create_us, a);
  s->update_time = wire_time_out(h->update_us, a);
  if (h->expire_us != 0)
    s->expire_time = wire_time_out(h->expire_us, a);
  if (s->namespace_ != NULL && s->id != NULL && s->uid != NULL && s->backend != NULL &&
      s->effective_policy != NULL && s->create_time != NULL && s->update_time != NULL &&
      (h->expire_us == 0 || s->expire_time != NULL))
    return s;
  error_no_memory(e);
  return NULL;
}

const wire_message *wire_create_session_reply(arena *a, const mneme_written *w,
                                              mneme_bytes session) {
  Mneme__V1__CreateSessionResponse *r =
      wire_message_new(a, &mneme__v1__create_session_response__descriptor);
  if (r == NULL)
    return NULL;
  r->session = session_ref(a, &w->header, session);
  r->deduplicated = w->deduplicated;
  return r->session != NULL ? seal(r) : NULL;
}

const wire_message *wire_get_session_reply(arena *a, const mneme_header *h, const char *backend,
                                           const policy *rule, error *e) {
  Mneme__V1__GetSessionResponse *r =
      wire_message_new(a, &mneme__v1__get_session_response__descriptor);
  if (r == NULL) {
    error_no_memory(e);
    return NULL;
  }
  r->session = session_out(a, h, backend, rule, e);
  return r->session != NULL ? seal(r) : NULL;
}

struct wire_session_list {
  Mneme__V1__Session **items;
  size_t count;
};

wire_session_list *wire_session_list_new(arena *a, size_t max) {
  wire_session_list *l = arena_alloc(a, sizeof *l);
  if (l == NULL)
    return NULL;
  l->count = 0;
  l->items = arena_alloc(a, (max + 1) * sizeof *l->items);
  return l->items != NULL ? l : NULL;
}

size_t wire_session_list_add(wire_session_list *l, arena *a, const mneme_header *h,
                             const char *backend, const policy *rule, error *e) {
  Mneme__V1__Session *s = session_out(a, h, backend, rule, e);
  if (s == NULL)
    return 0;
  l->items[l->count++] = s;
  return protobuf_c_message_get_packed_size(&s->base) + ITEM_OVERHEAD;
}

char **wire_plain_strings(arena *a, const char *const *from, size_t count) {
  char **out = arena_calloc(a, count + 1, sizeof *out);
  for (size_t i = 0; out != NULL && i < count; i++)
    out[i] = (char *)from[i];
  return out;
}

const wire_message *wire_list_sessions_reply(wire_session_list *l, arena *a, const char *token,
                                             const char *const *unavailable, size_t count) {
  Mneme__V1__ListSessionsResponse *r =
      wire_message_new(a, &mneme__v1__list_sessions_response__descriptor);
  if (r == NULL)
    return NULL;
  r->sessions = l->items;
  r->n_sessions = l->count;
  r->next_page_token = (char *)token;
  r->unavailable_backends = wire_plain_strings(a, unavailable, count);
  r->n_unavailable_backends = count;
  return r->unavailable_backends != NULL ? seal(r) : NULL;
}

const wire_message *wire_update_session_reply(arena *a, const mneme_written *w,
                                              mneme_bytes session) {
  Mneme__V1__UpdateSessionResponse *r =
      wire_message_new(a, &mneme__v1__update_session_response__descriptor);
  if (r == NULL)
    return NULL;
  r->session = session_ref(a, &w->header, session);
  r->deduplicated = w->deduplicated;
  return r->session != NULL ? seal(r) : NULL;
}

const wire_message *wire_clear_session_reply(arena *a, const mneme_written *w,
                                             mneme_bytes session) {
  Mneme__V1__ClearSessionResponse *r =
      wire_message_new(a, &mneme__v1__clear_session_response__descriptor);
  if (r == NULL)
    return NULL;
  r->session = session_ref(a, &w->header, session);
  r->deleted_count = w->removed_count;
  r->deduplicated = w->deduplicated;
  return r->session != NULL ? seal(r) : NULL;
}

const wire_message *wire_delete_session_reply(arena *a, const mneme_written *w) {
  Mneme__V1__DeleteSessionResponse *r =
      wire_message_new(a, &mneme__v1__delete_session_response__descriptor);
  if (r == NULL)
    return NULL;
  r->existed = w->existed;
  r->deleted_count = w->removed_count;
  r->deduplicated = w->deduplicated;
  return seal(r);
}

/* --- Upkeep -------------------------------------------------------------- */

const wire_message *wire_get_stats_reply(arena *a, const mneme_stats *s,
                                         const char *const *unavailable, size_t count) {
  Mneme__V1__GetStatsResponse *r = wire_message_new(a, &mneme__v1__get_stats_response__descriptor);
  if (r == NULL)
    return NULL;
  r->session_count = s->session_count;
  r->memory_count = s->memory_count;
  r->token_count = s->token_count;
  r->byte_count = s->byte_count;
  r->unavailable_backends = wire_plain_strings(a, unavailable, count);
  r->n_unavailable_backends = count;
  return r->unavailable_backends != NULL ? seal(r) : NULL;
}

static const struct {
  uint32_t bit;
  const char *name;
} capabilities[] = {
    {MNEME_CAP_DURABLE, "DURABLE"}, {MNEME_CAP_SHARED, "SHARED"},   {MNEME_CAP_NB_COMMIT, "NB_COMMIT"},
    {MNEME_CAP_NB_READ, "NB_READ"}, {MNEME_CAP_FILTER, "FILTER"},   {MNEME_CAP_VECTORS, "VECTORS"},
    {MNEME_CAP_LINKS, "LINKS"},     {MNEME_CAP_RESTORE, "RESTORE"},
};
#define CAPABILITIES (sizeof capabilities / sizeof *capabilities)

static Mneme__V1__Backend *backend_out(arena *a, const wire_backend *from) {
  Mneme__V1__Backend *b = wire_message_new(a, &mneme__v1__backend__descriptor);
  char **names = arena_calloc(a, CAPABILITIES, sizeof *names);
  if (b == NULL || names == NULL)
    return NULL;
  b->name = (char *)from->name;
  b->type = (char *)from->type;
  b->description = (char *)from->doc;
  b->durability = (Mneme__V1__Durability)from->durability; /* of the same numbers */
  for (size_t i = 0; i < CAPABILITIES; i++)
    if (from->caps & capabilities[i].bit)
      names[b->n_capabilities++] = (char *)capabilities[i].name;
  b->capabilities = names;
  b->health = from->serving ? MNEME__V1__BACKEND_HEALTH__BACKEND_HEALTH_SERVING
                            : MNEME__V1__BACKEND_HEALTH__BACKEND_HEALTH_NOT_SERVING;
  b->health_message = (char *)(from->health != NULL ? from->health : "");
  return b;
}

const wire_message *wire_list_backends_reply(arena *a, const wire_backend *backends,
                                             size_t count) {
  Mneme__V1__ListBackendsResponse *r =
      wire_message_new(a, &mneme__v1__list_backends_response__descriptor);
  Mneme__V1__Backend **items = arena_calloc(a, count + 1, sizeof *items);
  if (r == NULL || items == NULL)
    return NULL;
  for (size_t i = 0; i < count; i++)
    if ((items[i] = backend_out(a, &backends[i])) == NULL)
      return NULL;
  r->backends = items;
  r->n_backends = count;
  return seal(r);
}
