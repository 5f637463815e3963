/* Policy, labels and metadata of a session: on the wire, and as the bytes that a
 * backend keeps beside it.
 *
 *   settings = version (1 byte) | CRC-32C of the rest (4, little-endian) |
 *              canonical protobuf of the fields policy, labels and metadata of
 *              mneme.v1.Session
 *
 * The checksum is there because protobuf that is cut between two fields is
 * protobuf still, and a policy that has lost a field evicts.
 *
 * Settings in which nothing is set are stored as no bytes at all, so that a
 * session without an override costs nothing and needs no look-up (see
 * mneme_plan.settings_revision). */
#include <stdlib.h>

#include "record/record.h"
#include "wire/settings.h"

#define SETTINGS_VERSION 1
#define SETTINGS_PREFIX 5 /* bytes of version and checksum */

/* --- Policy -------------------------------------------------------------- */

static const char *policy_path(arena *a, const char *path, policy_field field) {
  const char *name = policy_field_name(field);
  const char *joined = arena_printf(a, "%s.%s", path, name);
  return joined != NULL ? joined : name;
}

#define COUNT_IN(p, ret, name, FIELD)                                                            \
  if ((p)->_##name##_case != 0) {                                                                \
    (ret)->name = (p)->name;                                                                     \
    (ret)->set |= 1u << FIELD;                                                                   \
  }

static bool read_durations(const pb_policy *p, const char *path, arena *a, policy *ret, error *e) {
  const struct {
    const Google__Protobuf__Duration *from;
    int64_t *to;
    policy_field field;
  } rows[] = {
      {p->max_age, &ret->max_age_us, POLICY_MAX_AGE},
      {p->ttl, &ret->ttl_us, POLICY_TTL},
      {p->idempotency_window, &ret->window_us, POLICY_IDEMPOTENCY_WINDOW},
      {p->cleanup_interval, &ret->cleanup_us, POLICY_CLEANUP_INTERVAL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].from == NULL)
      continue;
    if (!wire_duration_in(rows[i].from, policy_path(a, path, rows[i].field),
                          POLICY_DURATION_MAX_US, a, rows[i].to, e))
      return false;
    ret->set |= 1u << rows[i].field;
  }
  return true;
}

bool wire_policy_in(const pb_policy *p, const char *path, arena *a, policy *ret, error *e) {
  memset(ret, 0, sizeof *ret);
  COUNT_IN(p, ret, max_memories, POLICY_MAX_MEMORIES)
  COUNT_IN(p, ret, max_tokens, POLICY_MAX_TOKENS)
  COUNT_IN(p, ret, evict_above, POLICY_EVICT_ABOVE)
  COUNT_IN(p, ret, evict_to, POLICY_EVICT_TO)
  COUNT_IN(p, ret, evict_above_tokens, POLICY_EVICT_ABOVE_TOKENS)
  COUNT_IN(p, ret, evict_to_tokens, POLICY_EVICT_TO_TOKENS)
  COUNT_IN(p, ret, keep_system, POLICY_KEEP_SYSTEM)
  if ((unsigned)p->eviction > MNEME__V1__EVICTION__EVICTION_REJECT) {
    const char *field = policy_path(a, path, POLICY_EVICTION);
    return error_invalid(e, a, "INVALID_VALUE", field, "%s: not a value of Eviction", field);
  }
  if (p->eviction != MNEME__V1__EVICTION__EVICTION_UNSPECIFIED) {
    ret->eviction = (mneme_evict)p->eviction; /* the numbers are the same */
    ret->set |= 1u << POLICY_EVICTION;
  }
  if (p->_default_kind_case != 0) {
    ret->default_kind = wire_text(p->default_kind);
    ret->set |= 1u << POLICY_DEFAULT_KIND;
  }
  if (!read_durations(p, path, a, ret, e))
    return false;
  policy_problem problem;
  if (!policy_check(ret, &problem)) {
    const char *field = policy_path(a, path, problem.field);
    return error_invalid(e, a, problem.conflict ? "CONFLICTING_FIELDS" : "INVALID_VALUE", field,
                         "%s: %s", field, problem.text);
  }
  return true;
}

#define COUNT_OUT(p, from, name, FIELD, CASE)                                                    \
  if (policy_has(from, FIELD)) {                                                                 \
    (p)->_##name##_case = MNEME__V1__SESSION_POLICY___##CASE##_##CASE;                           \
    (p)->name = (from)->name;                                                                    \
  }

pb_policy *wire_policy_out(const policy *from, arena *a) {
  pb_policy *p = arena_alloc(a, sizeof *p);
  if (p == NULL)
    return NULL;
  mneme__v1__session_policy__init(p);
  COUNT_OUT(p, from, max_memories, POLICY_MAX_MEMORIES, MAX_MEMORIES)
  COUNT_OUT(p, from, max_tokens, POLICY_MAX_TOKENS, MAX_TOKENS)
  COUNT_OUT(p, from, evict_above, POLICY_EVICT_ABOVE, EVICT_ABOVE)
  COUNT_OUT(p, from, evict_to, POLICY_EVICT_TO, EVICT_TO)
  COUNT_OUT(p, from, evict_above_tokens, POLICY_EVICT_ABOVE_TOKENS, EVICT_ABOVE_TOKENS)
  COUNT_OUT(p, from, evict_to_tokens, POLICY_EVICT_TO_TOKENS, EVICT_TO_TOKENS)
  COUNT_OUT(p, from, keep_system, POLICY_KEEP_SYSTEM, KEEP_SYSTEM)
  if (policy_has(from, POLICY_EVICTION))
    p->eviction = (Mneme__V1__Eviction)from->eviction;
  if (policy_has(from, POLICY_MAX_AGE) && !(p->max_age = wire_duration_out(from->max_age_us, a)))
    return NULL;
  if (policy_has(from, POLICY_TTL) && !(p->ttl = wire_duration_out(from->ttl_us, a)))
    return NULL;
  if (policy_has(from, POLICY_IDEMPOTENCY_WINDOW) &&
      !(p->idempotency_window = wire_duration_out(from->window_us, a)))
    return NULL;
  if (policy_has(from, POLICY_CLEANUP_INTERVAL) &&
      !(p->cleanup_interval = wire_duration_out(from->cleanup_us, a)))
    return NULL;
  if (policy_has(from, POLICY_DEFAULT_KIND)) {
    p->_default_kind_case = MNEME__V1__SESSION_POLICY___DEFAULT_KIND_DEFAULT_KIND;
    /* A copy when it is empty, too: protobuf-c takes its own empty string in a
     * oneof for one that is not set. */
    p->default_kind = arena_copy(a, from->default_kind.data, from->default_kind.size);
    if (p->default_kind == NULL)
      return NULL;
  }
  return p;
}

/* --- Labels -------------------------------------------------------------- */

static int label_order(const void *a, const void *b) {
  const wire_label *x = a, *y = b;
  return strcmp(x->key.data, y->key.data); /* both end in NUL */
}

bool wire_labels_in(char *const *keys, char *const *values, size_t count, arena *a,
                    const wire_label **ret_labels, size_t *ret_count, error *e) {
  wire_label *labels = arena_calloc(a, count + 1, sizeof *labels);
  if (labels == NULL)
    return error_no_memory(e);
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (*keys[i] == '\0')
      return error_invalid(e, a, "REQUIRED", "labels", "labels: a label needs a key");
    size_t at = 0;
    while (at < kept && strcmp(labels[at].key.data, keys[i]) != 0)
      at++;
    labels[at].key = wire_text(keys[i]); /* of equal keys the last one wins */
    labels[at].value = wire_text(values[i]);
    kept += at == kept;
  }
  if (kept > 1)
    qsort(labels, kept, sizeof *labels, label_order);
  *ret_labels = labels;
  *ret_count = kept;
  return true;
}

/* --- Stored -------------------------------------------------------------- */

bool wire_pack_settings(const wire_settings *s, arena *a, mneme_bytes *ret_bytes, error *e) {
  Mneme__V1__Session m = MNEME__V1__SESSION__INIT;
  ProtobufCAllocator allocator = wire_allocator(a);
  size_t n = s->label_count;
  Mneme__V1__Session__LabelsEntry *entries = arena_calloc(a, n + 1, sizeof *entries);
  Mneme__V1__Session__LabelsEntry **pointers = arena_calloc(a, n + 1, sizeof *pointers);
  if (entries == NULL || pointers == NULL)
    return error_no_memory(e);
  for (size_t i = 0; i < n; i++) {
    mneme__v1__session__labels_entry__init(&entries[i]);
    entries[i].key = wire_string(a, s->labels[i].key);
    entries[i].value = wire_string(a, s->labels[i].value);
    if (entries[i].key == NULL || entries[i].value == NULL)
      return error_no_memory(e);
    pointers[i] = &entries[i];
  }
  m.labels = pointers;
  m.n_labels = n;
  if (s->has_policy && (m.policy = wire_policy_out(&s->policy, a)) == NULL)
    return error_no_memory(e);
  if (s->has_metadata) {
    m.metadata = google__protobuf__struct__unpack(&allocator, s->metadata.size,
                                                  (const uint8_t *)s->metadata.data);
    if (m.metadata == NULL)
      return error_no_memory(e);
  }
  size_t size = protobuf_c_message_get_packed_size(&m.base);
  *ret_bytes = mneme_bytes_of(NULL, 0);
  if (size == 0)
    return true;
  uint8_t *out = arena_alloc(a, SETTINGS_PREFIX + size);
  if (out == NULL)
    return error_no_memory(e);
  protobuf_c_message_pack(&m.base, out + SETTINGS_PREFIX);
  uint32_t crc = record_crc32c(out + SETTINGS_PREFIX, size);
  out[0] = SETTINGS_VERSION;
  for (int i = 0; i < 4; i++)
    out[1 + i] = (uint8_t)(crc >> (8 * i));
  *ret_bytes = mneme_bytes_of((const char *)out, SETTINGS_PREFIX + size);
  return true;
}

static bool is_intact(mneme_bytes bytes) {
  const uint8_t *in = (const uint8_t *)bytes.data;
  if (bytes.size < SETTINGS_PREFIX || in[0] != SETTINGS_VERSION)
    return false;
  uint32_t crc = 0;
  for (int i = 0; i < 4; i++)
    crc |= (uint32_t)in[1 + i] << (8 * i);
  return crc == record_crc32c(in + SETTINGS_PREFIX, bytes.size - SETTINGS_PREFIX);
}

Mneme__V1__Session *wire_open_settings(mneme_bytes bytes, arena *a, bool *ret_damaged) {
  ProtobufCAllocator allocator = wire_allocator(a);
  const uint8_t *in = (const uint8_t *)bytes.data;
  *ret_damaged = bytes.size > 0 && !is_intact(bytes);
  if (bytes.size == 0)
    return mneme__v1__session__unpack(&allocator, 0, (const uint8_t *)"");
  if (*ret_damaged)
    return NULL;
  size_t size = bytes.size - SETTINGS_PREFIX;
  return mneme__v1__session__unpack(&allocator, size, in + SETTINGS_PREFIX);
}

bool wire_read_settings(mneme_bytes bytes, arena *a, wire_settings *ret) {
  memset(ret, 0, sizeof *ret);
  if (bytes.size == 0)
    return true;
  bool damaged;
  Mneme__V1__Session *m = wire_open_settings(bytes, a, &damaged);
  if (m == NULL)
    return false;
  error ignored = {0};
  if (m->policy != NULL) {
    if (!wire_policy_in(m->policy, "policy", a, &ret->policy, &ignored))
      return false;
    ret->has_policy = true;
  }
  wire_label *labels = arena_calloc(a, m->n_labels + 1, sizeof *labels);
  if (labels == NULL)
    return false;
  for (size_t i = 0; i < m->n_labels; i++)
    labels[i] = (wire_label){wire_text(m->labels[i]->key), wire_text(m->labels[i]->value)};
  ret->labels = labels;
  ret->label_count = m->n_labels;
  ret->has_metadata = m->metadata != NULL;
  return m->metadata == NULL || wire_pack_bytes(a, &m->metadata->base, &ret->metadata);
}
