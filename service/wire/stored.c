/* A field at a time: tag, then a value that is skipped or looked at. Whatever
 * does not fit ends the walk, so damaged bytes cost no more than sound ones.
 *
 *   Struct     1: entry { 1: key  2: Value }     again and again, sorted by key
 *   Value      1: null  2: double  3: string  4: bool  5: Struct  6: ListValue
 *   ListValue  1: Value                          again and again */
#include "wire/stored.h"

#include <string.h>

#include "base/bytes.h"
#include "base/json.h"

#define BODY_CONTENT 9
#define BODY_METADATA 11

typedef struct field {
  uint32_t number;
  uint64_t scalar;   /* varint and fixed64 */
  mneme_bytes bytes; /* what has a length */
} field;

static bool take_varint(mneme_bytes *in, uint64_t *ret) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && in->size > 0; shift += 7) {
    uint8_t byte = (uint8_t)*in->data++;
    in->size--;
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) {
      *ret = value;
      return true;
    }
  }
  return false;
}

static bool take_field(mneme_bytes *in, field *ret) {
  uint64_t tag, size = 8;
  if (in->size == 0 || !take_varint(in, &tag))
    return false;
  *ret = (field){.number = (uint32_t)(tag >> 3), .bytes = {"", 0}};
  switch (tag & 7) {
  case 0: return take_varint(in, &ret->scalar);
  case 1:
    if (in->size < size)
      return false;
    memcpy(&ret->scalar, in->data, sizeof ret->scalar); /* little-endian: see record.c */
    break;
  case 2:
    if (!take_varint(in, &size) || size > in->size)
      return false;
    ret->bytes = mneme_bytes_of(in->data, size);
    break;
  default: return false;
  }
  in->data += size;
  in->size -= size;
  return true;
}

mneme_bytes stored_content(mneme_bytes body) {
  field f;
  if (take_field(&body, &f) && f.number == BODY_CONTENT)
    return f.bytes;
  return mneme_bytes_of("", 0);
}

bool stored_metadata(mneme_bytes body, mneme_bytes *ret_metadata) {
  field f;
  while (take_field(&body, &f))
    if (f.number == BODY_METADATA) {
      *ret_metadata = f.bytes;
      return true;
    }
  return false;
}

/* --- Values -------------------------------------------------------------- */

static stored_value value_of(mneme_bytes packed) {
  stored_value v = {.kind = STORED_NULL, .text = {"", 0}};
  field f;
  if (!take_field(&packed, &f))
    return v;
  switch (f.number) {
  case 2:
    v.kind = STORED_NUMBER;
    memcpy(&v.number, &f.scalar, sizeof v.number);
    break;
  case 3:
    v.kind = STORED_STRING;
    v.text = f.bytes;
    break;
  case 4:
    v.kind = STORED_BOOL;
    v.boolean = f.scalar != 0;
    break;
  case 5:
    v.kind = STORED_OBJECT;
    v.text = f.bytes;
    break;
  case 6:
    v.kind = STORED_LIST;
    v.text = f.bytes;
    break;
  default: break;
  }
  return v;
}

/* The next entry of a Struct. An empty key is not on the wire. */
static bool take_entry(mneme_bytes *in, mneme_bytes *ret_key, mneme_bytes *ret_value) {
  field f;
  if (!take_field(in, &f))
    return false;
  *ret_key = *ret_value = mneme_bytes_of("", 0);
  mneme_bytes entry = f.bytes;
  while (take_field(&entry, &f)) {
    if (f.number == 1)
      *ret_key = f.bytes;
    else
      *ret_value = f.bytes;
  }
  return true;
}

static stored_value find_key(mneme_bytes object, mneme_bytes wanted) {
  mneme_bytes key, value;
  while (take_entry(&object, &key, &value))
    if (bytes_equal(key.data, key.size, wanted.data, wanted.size))
      return value_of(value);
  return (stored_value){.kind = STORED_NONE};
}

stored_value stored_find(mneme_bytes metadata, const mneme_bytes *path, size_t count) {
  stored_value at = {.kind = STORED_OBJECT, .text = metadata};
  for (size_t i = 0; i < count; i++) {
    if (at.kind != STORED_OBJECT)
      return (stored_value){.kind = STORED_NONE};
    at = find_key(at.text, path[i]);
  }
  return at;
}

bool stored_next(mneme_bytes *rest, stored_value *ret_element) {
  field f;
  if (!take_field(rest, &f))
    return false;
  *ret_element = value_of(f.bytes);
  return true;
}

/* --- JSON ---------------------------------------------------------------- */

static void put_value(json_sink *s, const stored_value *v, int depth);

static void put_object(json_sink *s, mneme_bytes object, int depth) {
  mneme_bytes key, packed;
  json_raw(s, "{", 1);
  for (bool first = true; !s->failed && take_entry(&object, &key, &packed); first = false) {
    stored_value v = value_of(packed);
    json_raw(s, ",", first ? 0 : 1);
    json_string(s, key.data, key.size);
    json_raw(s, ":", 1);
    put_value(s, &v, depth + 1);
  }
  json_raw(s, "}", 1);
}

static void put_list(json_sink *s, mneme_bytes list, int depth) {
  stored_value v;
  json_raw(s, "[", 1);
  for (bool first = true; !s->failed && stored_next(&list, &v); first = false) {
    json_raw(s, ",", first ? 0 : 1);
    put_value(s, &v, depth + 1);
  }
  json_raw(s, "]", 1);
}

static void put_value(json_sink *s, const stored_value *v, int depth) {
  if (depth > STORED_DEPTH_MAX) {
    s->failed = true;
    return;
  }
  switch (v->kind) {
  case STORED_NUMBER: json_number(s, v->number); break;
  case STORED_STRING: json_string(s, v->text.data, v->text.size); break;
  case STORED_BOOL: json_raw(s, v->boolean ? "true" : "false", v->boolean ? 4 : 5); break;
  case STORED_OBJECT: put_object(s, v->text, depth); break;
  case STORED_LIST: put_list(s, v->text, depth); break;
  default: json_raw(s, "null", 4); break;
  }
}

bool stored_json(mneme_bytes metadata, arena *a, mneme_bytes *ret_json) {
  json_sink s = json_gather(a, metadata.size + metadata.size / 2 + 64);
  put_object(&s, metadata, 1);
  size_t size;
  const char *text = json_text(&s, &size);
  if (text == NULL)
    return false;
  *ret_json = mneme_bytes_of(text, size);
  return true;
}

bool stored_is_json(const stored_value *value, mneme_bytes json) {
  json_sink s = json_compare(json.data, json.size);
  put_value(&s, value, 1);
  return json_same(&s);
}
