/* google.protobuf.Struct as metadata: canonical form and merging.
 *
 * protobuf-c has no maps: entries arrive as an array, in the order of the wire
 * and with duplicates. Before anything else sees them they are made canonical:
 * sorted by the bytes of the key, the last of equal keys, null where a value is
 * missing. So equal metadata has equal bytes, whatever client sent it.
 *
 * Recursion follows the nesting, which the wire check has bounded. */
#include <stdlib.h>

#include "wire/internal.h"

static void *take(void *a, size_t size) {
  return arena_alloc(a, size);
}

static void give_back(void *a, void *p) {
  (void)a;
  (void)p;
}

ProtobufCAllocator wire_allocator(arena *a) {
  return (ProtobufCAllocator){take, give_back, a};
}

static void canonical_value(pb_value *v) {
  switch (v->kind_case) {
  case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
    wire_canonical(v->struct_value);
    break;
  case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
    for (size_t i = 0; i < v->list_value->n_values; i++)
      canonical_value(v->list_value->values[i]);
    break;
  case GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET:
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
    v->null_value = GOOGLE__PROTOBUF__NULL_VALUE__NULL_VALUE;
    break;
  case GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE:
    v->null_value = GOOGLE__PROTOBUF__NULL_VALUE__NULL_VALUE;
    break;
  default:
    break;
  }
}

static int by_key(const void *a, const void *b) {
  const pb_entry *x = *(pb_entry *const *)a, *y = *(pb_entry *const *)b;
  return strcmp(x->key, y->key); /* without NUL inside: strcmp is bytewise */
}

/* Moves the last of each key to the front part; at most 256 entries. */
static size_t drop_repeated(pb_entry **entries, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    bool again = false;
    for (size_t j = i + 1; j < count && !again; j++)
      again = strcmp(entries[i]->key, entries[j]->key) == 0;
    if (!again)
      entries[kept++] = entries[i];
  }
  return kept;
}

/* Stands for every missing value; never changed. */
static pb_value null_value = {
    PROTOBUF_C_MESSAGE_INIT(&google__protobuf__value__descriptor),
    GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE,
    {.null_value = GOOGLE__PROTOBUF__NULL_VALUE__NULL_VALUE},
};

void wire_canonical(pb_struct *s) {
  s->n_fields = drop_repeated(s->fields, s->n_fields);
  if (s->n_fields > 1)
    qsort(s->fields, s->n_fields, sizeof *s->fields, by_key);
  for (size_t i = 0; i < s->n_fields; i++) {
    if (s->fields[i]->value == NULL)
      s->fields[i]->value = &null_value;
    else
      canonical_value(s->fields[i]->value);
  }
}

bool wire_pack_bytes(arena *a, const ProtobufCMessage *m, mneme_bytes *ret_bytes) {
  size_t size = protobuf_c_message_get_packed_size(m);
  uint8_t *out = arena_alloc(a, size);
  if (out == NULL)
    return false;
  protobuf_c_message_pack(m, out);
  *ret_bytes = mneme_bytes_of((const char *)out, size);
  return true;
}

/* --- Limits -------------------------------------------------------------- */

typedef struct shape {
  size_t keys;
  int depth;
} shape;

static void measure_struct(const pb_struct *s, int depth, shape *ret);

static void measure_value(const pb_value *v, int depth, shape *ret) {
  if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
    measure_struct(v->struct_value, depth + 1, ret);
  } else if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE) {
    if (depth + 1 > ret->depth)
      ret->depth = depth + 1;
    for (size_t i = 0; i < v->list_value->n_values; i++)
      measure_value(v->list_value->values[i], depth + 1, ret);
  }
}

static void measure_struct(const pb_struct *s, int depth, shape *ret) {
  if (depth > ret->depth)
    ret->depth = depth;
  ret->keys += s->n_fields;
  for (size_t i = 0; i < s->n_fields; i++)
    measure_value(s->fields[i]->value, depth, ret);
}

#define METADATA_BYTES_MAX 65536
#define METADATA_KEYS_MAX 256
#define METADATA_DEPTH_MAX 16

bool wire_check_metadata(const pb_struct *s, const char *field, arena *a, error *e) {
  shape sh = {0, 0};
  measure_struct(s, 1, &sh);
  if (sh.keys > METADATA_KEYS_MAX)
    return error_invalid(e, a, "TOO_LARGE", field, "%s: more than %d keys in all",
                         field, METADATA_KEYS_MAX);
  if (sh.depth > METADATA_DEPTH_MAX)
    return error_invalid(e, a, "TOO_LARGE", field, "%s: more than %d levels deep",
                         field, METADATA_DEPTH_MAX);
  if (protobuf_c_message_get_packed_size(&s->base) > METADATA_BYTES_MAX)
    return error_invalid(e, a, "TOO_LARGE", field, "%s: more than %d bytes",
                         field, METADATA_BYTES_MAX);
  return true;
}

/* --- Merging ------------------------------------------------------------- */

static pb_value *patch_value(pb_value *target, pb_value *patch, arena *a) {
  if (patch->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
    return patch;
  pb_struct *under = NULL;
  if (target != NULL && target->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
    under = target->struct_value;
  pb_value *v = arena_alloc(a, sizeof *v);
  if (v == NULL)
    return NULL;
  google__protobuf__value__init(v);
  v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
  v->struct_value = wire_patch(under, patch->struct_value, a);
  return v->struct_value != NULL ? v : NULL;
}

static pb_entry *entry_new(const char *key, pb_value *value, arena *a) {
  pb_entry *entry = arena_alloc(a, sizeof *entry);
  if (entry == NULL)
    return NULL;
  google__protobuf__struct__fields_entry__init(entry);
  entry->key = (char *)key;
  entry->value = value;
  return entry;
}

/* Both are sorted, so this is a merge of two lists. A patch of an object over
 * something else begins from an empty object, as the RFC says; that is also how
 * nulls inside a new object vanish. */
pb_struct *wire_patch(pb_struct *target, const pb_struct *patch, arena *a) {
  pb_struct *out = arena_alloc(a, sizeof *out);
  size_t old_count = target != NULL ? target->n_fields : 0;
  pb_entry **fields = arena_calloc(a, old_count + patch->n_fields + 1, sizeof *fields);
  if (out == NULL || fields == NULL)
    return NULL;
  google__protobuf__struct__init(out);
  out->fields = fields;
  size_t i = 0, j = 0;
  while (i < old_count || j < patch->n_fields) {
    int order = i == old_count           ? 1
                : j == patch->n_fields ? -1
                                       : strcmp(target->fields[i]->key, patch->fields[j]->key);
    if (order < 0) {
      fields[out->n_fields++] = target->fields[i++];
      continue;
    }
    pb_value *old = order == 0 ? target->fields[i++]->value : NULL;
    pb_entry *with = patch->fields[j++];
    if (with->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE)
      continue;
    pb_value *value = patch_value(old, with->value, a);
    pb_entry *entry = value != NULL ? entry_new(with->key, value, a) : NULL;
    if (entry == NULL)
      return NULL;
    fields[out->n_fields++] = entry;
  }
  return out;
}

bool wire_merge_patch(mneme_bytes metadata, mneme_bytes patch, const char *field, arena *a,
                      mneme_bytes *ret_metadata, error *e) {
  ProtobufCAllocator allocator = wire_allocator(a);
  pb_struct *target = google__protobuf__struct__unpack(&allocator, metadata.size,
                                                       (const uint8_t *)metadata.data);
  pb_struct *with =
      google__protobuf__struct__unpack(&allocator, patch.size, (const uint8_t *)patch.data);
  if (target == NULL || with == NULL)
    return error_no_memory(e);
  pb_struct *merged = wire_patch(target, with, a);
  if (merged == NULL)
    return error_no_memory(e);
  return wire_check_metadata(merged, field, a, e) &&
         (wire_pack_bytes(a, &merged->base, ret_metadata) || error_no_memory(e));
}
