/* What a request_id remembers, as bytes. Numbers are varints, strings have their
 * size in front:
 *
 *   [format 1][flags][uid 16][revision, settings_revision, last_sequence,
 *   memory_count, removed, evicted, expired]
 *   [refs] { [sequence * 2 + created][revision][id] }
 *   [listed] { a removed record: 14 numbers, importance, crc, 8 strings }
 *
 * The numbers of a record may be anything, so they are zigzag-coded. Reading trusts
 * nothing: a file may be damaged. */
#include "sqlite.h"

#include "rules.h"

#include <string.h>

#define FORMAT 1
#define VARINT_MAX 10
#define STRINGS 8 /* of a record */
#define NUMBERS 14

enum { EXISTED = 1, TRUNCATED = 2 };

typedef struct output {
  uint8_t *at;
} output;

typedef struct input {
  const uint8_t *at, *end;
  bool broken;
} input;

static void put_varint(output *out, uint64_t value) {
  while (value >= 0x80) {
    *out->at++ = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  *out->at++ = (uint8_t)value;
}

static void put_signed(output *out, int64_t value) {
  put_varint(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

static void put_raw(output *out, const void *data, size_t size) {
  if (size != 0) memcpy(out->at, data, size);
  out->at += size;
}

static void put_string(output *out, mneme_bytes string) {
  put_varint(out, string.size);
  put_raw(out, string.data, string.size);
}

static uint64_t get_varint(input *in) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
    uint8_t byte = *in->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  in->broken = true;
  return 0;
}

static int64_t get_signed(input *in) {
  uint64_t value = get_varint(in);
  return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static const void *get_raw(input *in, uint64_t size) {
  if (size > (uint64_t)(in->end - in->at)) in->broken = true;
  if (in->broken) return NULL;
  const uint8_t *data = in->at;
  in->at += size;
  return data;
}

static mneme_bytes get_string(input *in) {
  uint64_t size = get_varint(in);
  const void *data = get_raw(in, size);
  return mneme_bytes_of(data, data != NULL ? (size_t)size : 0);
}

/* --- Records --------------------------------------------------------------------- */

static size_t record_room(const mneme_record *r) {
  return (NUMBERS + STRINGS) * VARINT_MAX + sizeof(double) + (size_t)mneme_rule_bytes(r) +
         r->metadata_json.size;
}

static void put_record(output *out, const mneme_record *r) {
  const int64_t numbers[NUMBERS] = {r->sequence,    r->revision,     r->create_us,
                                    r->update_us,   r->access_us,    r->access_count,
                                    r->token_count, r->ttl_us,       r->event_us,
                                    r->expire_us,   r->tier,         r->pinned,
                                    r->crc,         r->has_importance};
  for (int i = 0; i < NUMBERS; i++) put_signed(out, numbers[i]);
  put_raw(out, &r->importance, sizeof r->importance);
  put_string(out, r->id);
  put_string(out, r->key);
  put_string(out, r->kind);
  put_string(out, r->role);
  put_string(out, r->author);
  put_string(out, r->source);
  put_string(out, r->metadata_json);
  put_string(out, r->body);
}

static void get_record(input *in, mneme_record *r) {
  memset(r, 0, sizeof *r);
  r->sequence = get_signed(in);
  r->revision = get_signed(in);
  r->create_us = get_signed(in);
  r->update_us = get_signed(in);
  r->access_us = get_signed(in);
  r->access_count = get_signed(in);
  r->token_count = get_signed(in);
  r->ttl_us = get_signed(in);
  r->event_us = get_signed(in);
  r->expire_us = get_signed(in);
  r->tier = (int32_t)get_signed(in);
  r->pinned = get_signed(in) != 0;
  r->crc = (uint32_t)get_signed(in);
  r->has_importance = get_signed(in) != 0;
  const void *importance = get_raw(in, sizeof r->importance);
  if (importance != NULL) memcpy(&r->importance, importance, sizeof r->importance);
  r->id = get_string(in);
  r->key = get_string(in);
  r->kind = get_string(in);
  r->role = get_string(in);
  r->author = get_string(in);
  r->source = get_string(in);
  r->metadata_json = get_string(in);
  r->body = get_string(in);
}

/* --- Answers ----------------------------------------------------------------------- */

mneme_status sq_answer_write(sq_arena *arena, const mneme_written *written,
                             mneme_bytes *ret_bytes) {
  const mneme_header *h = &written->header;
  size_t room = 2 + sizeof h->uid.bytes + 9 * VARINT_MAX;
  for (size_t i = 0; i < written->ref_count; i++)
    room += 3 * VARINT_MAX + written->refs[i].id.size;
  for (size_t i = 0; i < written->removed_count_listed; i++)
    room += record_room(&written->removed[i]);
  uint8_t *begin = sq_arena_take(arena, room);
  if (begin == NULL) return MNEME_NO_MEMORY;

  output out = {begin};
  *out.at++ = FORMAT;
  *out.at++ = (uint8_t)((written->existed ? EXISTED : 0) | (written->truncated ? TRUNCATED : 0));
  put_raw(&out, h->uid.bytes, sizeof h->uid.bytes);
  const int64_t numbers[] = {h->revision,          h->settings_revision,   h->last_sequence,
                             h->memory_count,      written->removed_count, written->evicted_count,
                             written->expired_count};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    put_varint(&out, (uint64_t)numbers[i]);
  put_varint(&out, written->ref_count);
  for (size_t i = 0; i < written->ref_count; i++) {
    const mneme_ref *ref = &written->refs[i];
    put_varint(&out, (uint64_t)ref->sequence << 1 | ref->created);
    put_varint(&out, (uint64_t)ref->revision);
    put_string(&out, ref->id);
  }
  put_varint(&out, written->removed_count_listed);
  for (size_t i = 0; i < written->removed_count_listed; i++)
    put_record(&out, &written->removed[i]);
  *ret_bytes = mneme_bytes_of((const char *)begin, (size_t)(out.at - begin));
  return MNEME_OK;
}

/* How many there are: each takes a byte at least, so a damaged number can't ask for
 * more memory than the file has bytes. */
static size_t get_count(input *in) {
  uint64_t count = get_varint(in);
  if (count > (uint64_t)(in->end - in->at)) in->broken = true;
  return in->broken ? 0 : (size_t)count;
}

mneme_status sq_answer_read(sq_arena *arena, mneme_bytes bytes, mneme_written *ret_written) {
  mneme_written w = {.deduplicated = true};
  input in = {(const uint8_t *)bytes.data, (const uint8_t *)bytes.data + bytes.size, false};
  if (bytes.size < 2 || in.at[0] != FORMAT) return MNEME_CORRUPT;
  w.existed = (in.at[1] & EXISTED) != 0;
  w.truncated = (in.at[1] & TRUNCATED) != 0;
  in.at += 2;
  const void *uid = get_raw(&in, sizeof w.header.uid.bytes);
  if (uid != NULL) memcpy(w.header.uid.bytes, uid, sizeof w.header.uid.bytes);
  w.header.revision = (int64_t)get_varint(&in);
  w.header.settings_revision = (int64_t)get_varint(&in);
  w.header.last_sequence = (int64_t)get_varint(&in);
  w.header.memory_count = (int64_t)get_varint(&in);
  w.removed_count = (int64_t)get_varint(&in);
  w.evicted_count = (int64_t)get_varint(&in);
  w.expired_count = (int64_t)get_varint(&in);

  w.ref_count = get_count(&in);
  mneme_ref *refs = sq_arena_take(arena, w.ref_count * sizeof *refs);
  if (refs == NULL) return MNEME_NO_MEMORY;
  for (size_t i = 0; i < w.ref_count; i++) {
    uint64_t sequence = get_varint(&in);
    refs[i] = (mneme_ref){.sequence = (int64_t)(sequence >> 1), .created = sequence & 1};
    refs[i].revision = (int64_t)get_varint(&in);
    refs[i].id = get_string(&in);
  }
  w.refs = refs;
  w.removed_count_listed = get_count(&in);
  mneme_record *removed = sq_arena_take(arena, w.removed_count_listed * sizeof *removed);
  if (removed == NULL) return MNEME_NO_MEMORY;
  for (size_t i = 0; i < w.removed_count_listed; i++) get_record(&in, &removed[i]);
  w.removed = removed;
  if (in.broken || in.at != in.end) return MNEME_CORRUPT;
  *ret_written = w;
  return MNEME_OK;
}
