/* Memory on its way in: from the unpacked message to the record that a backend
 * keeps.
 *
 * The body is the message itself with only content, parts and metadata left in
 * it, packed: what comes back from the store can then be copied into a reply
 * without being unpacked (see replies.c). */
#include "record/record.h"
#include "wire/internal.h"

#define TOKEN_COUNT_MAX INT32_MAX
#define MEMORY_BYTES_MAX (MNEME_BODY_MAX - 16)
#define TTL_MAX_US (INT64_C(100) * 365 * 86400 * 1000000)

static const char *at(arena *a, const char *path, const char *field) {
  const char *joined = *path == '\0' ? field : arena_printf(a, "%s.%s", path, field);
  return joined != NULL ? joined : field;
}

static uint32_t bit(int number) {
  return UINT32_C(1) << number;
}

/* Which fields the request carried, for an update without a mask. */
static uint32_t carried_by(const pb_memory *m) {
  uint32_t set = 0;
  set |= *m->key ? bit(3) : 0;
  set |= *m->kind ? bit(4) : 0;
  set |= *m->role ? bit(5) : 0;
  set |= *m->author ? bit(6) : 0;
  set |= *m->source ? bit(7) : 0;
  set |= m->tier != 0 ? bit(8) : 0;
  set |= *m->content ? bit(9) : 0;
  set |= m->n_parts > 0 ? bit(10) : 0;
  set |= m->metadata != NULL ? bit(11) : 0;
  set |= m->_importance_case != 0 ? bit(12) : 0;
  set |= m->pinned ? bit(13) : 0;
  set |= m->ttl != NULL ? bit(16) : 0;
  set |= m->_token_count_case != 0 ? bit(17) : 0;
  set |= m->event_time != NULL ? bit(18) : 0;
  set |= m->expire_time != NULL ? bit(22) : 0;
  return set;
}

static bool check_parts(const pb_memory *m, const char *path, arena *a, error *e) {
  for (size_t i = 0; i < m->n_parts; i++)
    if (*m->parts[i]->mime_type == '\0') {
      const char *field = arena_printf(a, "%s%sparts[%zu].mime_type", path, *path ? "." : "", i);
      return error_invalid(e, a, "REQUIRED", field, "%s: a part needs a media type", field);
    }
  return true;
}

static bool check_numbers(const pb_memory *m, const char *path, arena *a, error *e) {
  if ((unsigned)m->tier > MNEME__V1__TIER__TIER_LONG_TERM) {
    const char *field = at(a, path, "tier");
    return error_invalid(e, a, "INVALID_VALUE", field, "%s: not a value of Tier", field);
  }
  if (m->_importance_case != 0 && !(m->importance >= 0 && m->importance <= 1)) {
    const char *field = at(a, path, "importance");
    return error_invalid(e, a, "INVALID_VALUE", field, "%s: must lie between 0 and 1", field);
  }
  if (m->_token_count_case != 0 && (m->token_count < 0 || m->token_count > TOKEN_COUNT_MAX)) {
    const char *field = at(a, path, "token_count");
    return error_invalid(e, a, "INVALID_VALUE", field, "%s: must lie between 0 and %d", field,
                         TOKEN_COUNT_MAX);
  }
  return true;
}

static bool read_times(const pb_memory *m, const char *path, arena *a, mneme_record *r, error *e) {
  r->event_us = MNEME_NO_EVENT;
  if (m->event_time != NULL &&
      !wire_time_in(m->event_time, at(a, path, "event_time"), a, &r->event_us, e))
    return false;
  if (m->ttl != NULL && m->expire_time != NULL) {
    const char *field = at(a, path, "expire_time");
    return error_invalid(e, a, "CONFLICTING_FIELDS", field, "%s: not together with ttl", field);
  }
  if (m->ttl != NULL && !wire_duration_in(m->ttl, at(a, path, "ttl"), TTL_MAX_US, a, &r->ttl_us, e))
    return false;
  if (m->expire_time != NULL) {
    const char *field = at(a, path, "expire_time");
    if (!wire_time_in(m->expire_time, field, a, &r->expire_us, e))
      return false;
    if (r->expire_us <= 0)
      return error_invalid(e, a, "INVALID_VALUE", field, "%s: is in the past", field);
  }
  return true;
}

#define TAG_CONTENT (9 << 3 | 2)

/* Tag and length in front of the content; returns their size. */
static size_t put_content_head(size_t size, uint8_t head[8]) {
  size_t at = 0;
  if (size == 0)
    return 0;
  head[at++] = TAG_CONTENT;
  for (; size > 127; size >>= 7)
    head[at++] = (uint8_t)(size | 128);
  head[at++] = (uint8_t)size;
  return at;
}

/* content, parts and metadata, with their canonical bytes as the record's body.
 * The message keeps its other fields: only a shallow copy is packed. The content
 * is put in front by hand: most memories have nothing else, and protobuf-c walks
 * all fields of the message twice to find that out. */
static bool pack_body(const pb_memory *m, arena *a, mneme_record *r) {
  uint8_t head[8];
  size_t content = strlen(m->content), head_size = put_content_head(content, head), rest = 0;
  pb_memory body;
  if (m->n_parts > 0 || m->metadata != NULL) {
    body = (pb_memory)MNEME__V1__MEMORY__INIT;
    body.n_parts = m->n_parts;
    body.parts = m->parts;
    body.metadata = m->metadata;
    rest = protobuf_c_message_get_packed_size(&body.base);
  }
  uint8_t *out = record_body_new(a, head_size + content + rest);
  if (out == NULL)
    return false;
  uint8_t *p = out + RECORD_PREFIX;
  memcpy(p, head, head_size);
  memcpy(p + head_size, m->content, content);
  if (rest > 0)
    protobuf_c_message_pack(&body.base, p + head_size + content);
  r->body = mneme_bytes_of((const char *)out, RECORD_PREFIX + head_size + content + rest);
  return true;
}

static void fill(const pb_memory *m, mneme_record *r) {
  r->id = wire_text(m->id);
  r->key = wire_text(m->key);
  r->kind = wire_text(m->kind);
  r->role = wire_text(m->role);
  r->author = wire_text(m->author);
  r->source = wire_text(m->source);
  r->tier = (int32_t)m->tier;
  r->pinned = m->pinned;
  r->has_importance = m->_importance_case != 0;
  r->importance = r->has_importance ? m->importance : 0;
}

bool wire_memory_in(pb_memory *m, const char *path, bool for_update, arena *a,
                    wire_memory *ret_memory, error *e) {
  mneme_record *r = &ret_memory->record;
  memset(ret_memory, 0, sizeof *ret_memory);
  if (!check_parts(m, path, a, e) || !check_numbers(m, path, a, e) ||
      !read_times(m, path, a, r, e))
    return false;
  if (!for_update && *m->content == '\0' && m->n_parts == 0 && *m->key == '\0') {
    const char *field = at(a, path, "content");
    return error_invalid(e, a, "REQUIRED", field,
                         "%s: a memory needs content, a part or a key", field);
  }
  ret_memory->carried = carried_by(m);
  fill(m, r);
  if (m->metadata != NULL) {
    wire_canonical(m->metadata);
    /* Nulls that stand for values without a kind may have made it longer. */
    if (!wire_check_metadata(m->metadata, at(a, path, "metadata"), a, e))
      return false;
  }
  ret_memory->message = m;
  size_t content_size = strlen(m->content);
  r->token_count = m->_token_count_case != 0 ? m->token_count
                                             : record_count_tokens(m->content, content_size);
  ret_memory->token_count_given = m->_token_count_case != 0;
  if (!pack_body(m, a, r))
    return error_no_memory(e);
  return r->body.size <= MNEME_BODY_MAX ||
         error_invalid(e, a, "TOO_LARGE", at(a, path, "content"), "%s: more than %d bytes in all",
                       at(a, path, "content"), MEMORY_BYTES_MAX);
}

/* --- Updates ------------------------------------------------------------- */

static void merge_typed(const wire_update *u, int64_t now_us, mneme_record *r) {
  const mneme_record *n = &u->memory.record;
  uint32_t f = u->fields;
  if (f & bit(3))
    r->key = n->key;
  if (f & bit(4))
    r->kind = n->kind;
  if (f & bit(5))
    r->role = n->role;
  if (f & bit(6))
    r->author = n->author;
  if (f & bit(7))
    r->source = n->source;
  if (f & bit(8))
    r->tier = n->tier;
  if (f & bit(12)) {
    r->has_importance = n->has_importance;
    r->importance = n->importance;
  }
  if (f & bit(13))
    r->pinned = n->pinned;
  if (f & bit(18))
    r->event_us = n->event_us;
  /* ttl and expire_time are two ways to say one thing: giving one replaces the
   * other. A ttl counts from the last write, so every update restarts it. */
  if (f & bit(16)) {
    r->ttl_us = n->ttl_us;
    r->expire_us = 0;
  }
  if (f & bit(22)) {
    if (n->expire_us != 0 || !(f & bit(16)))
      r->expire_us = n->expire_us;
    if (n->expire_us != 0)
      r->ttl_us = 0;
  }
  if (r->ttl_us > 0)
    r->expire_us = now_us + r->ttl_us;
}

static bool merge_body(pb_memory *m, const wire_update *u, arena *a, error *e) {
  const pb_memory *n = u->memory.message;
  uint32_t f = u->fields;
  if (f & bit(9))
    m->content = n != NULL ? n->content : (char *)protobuf_c_empty_string;
  if (f & bit(10)) {
    m->n_parts = n != NULL ? n->n_parts : 0;
    m->parts = n != NULL ? n->parts : NULL;
  }
  if (f & bit(11))
    m->metadata = n != NULL ? n->metadata : NULL;
  if (!u->has_patch)
    return true;
  ProtobufCAllocator allocator = wire_allocator(a);
  pb_struct *patch = google__protobuf__struct__unpack(&allocator, u->patch.size,
                                                      (const uint8_t *)u->patch.data);
  if (patch == NULL)
    return error_no_memory(e);
  m->metadata = wire_patch(m->metadata, patch, a);
  if (m->metadata == NULL)
    return error_no_memory(e);
  return wire_check_metadata(m->metadata, "metadata_patch", a, e);
}

bool wire_merge_memory(const mneme_record *old, const wire_update *update, int64_t now_us,
                       arena *a, mneme_record *ret_record, error *e) {
  ProtobufCAllocator allocator = wire_allocator(a);
  mneme_bytes payload;
  if (record_open(old, &payload) != MNEME_OK) {
    error_from_status(e, a, MNEME_CORRUPT, false, "the store");
    return false;
  }
  pb_memory *m =
      mneme__v1__memory__unpack(&allocator, payload.size, (const uint8_t *)payload.data);
  if (m == NULL)
    return error_no_memory(e);
  mneme_record r = *old;
  merge_typed(update, now_us, &r);
  if (!merge_body(m, update, a, e))
    return false;
  if (update->fields & bit(17) && update->memory.token_count_given)
    r.token_count = update->memory.record.token_count;
  else if (update->fields & (bit(9) | bit(17)))
    r.token_count = record_count_tokens(m->content, strlen(m->content));
  if (*m->content == '\0' && m->n_parts == 0 && r.key.size == 0)
    return error_invalid(e, a, "REQUIRED", "memory.content",
                         "memory.content: a memory needs content, a part or a key");
  if (!pack_body(m, a, &r))
    return error_no_memory(e);
  if (r.body.size > MNEME_BODY_MAX)
    return error_invalid(e, a, "TOO_LARGE", "memory", "memory: more than 1572864 bytes");
  *ret_record = r;
  return true;
}
