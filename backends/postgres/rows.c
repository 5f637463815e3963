/* See rows.h. */
#include "rows.h"

#include <endian.h>
#include <string.h>

#define FIELDS 23  /* of PE_RECORD, in the order of the table */
#define COLUMNS 25 /* of the table: shelf before all, rank behind importance */
#define RANK 12    /* its place in the table */

int64_t pe_bytes_int(mneme_bytes value) {
  uint64_t big = 0;
  uint32_t small = 0;
  if (value.size == 8) {
    memcpy(&big, value.data, 8);
    return (int64_t)be64toh(big);
  }
  if (value.size != 4) return 0;
  memcpy(&small, value.data, 4);
  return (int32_t)be32toh(small);
}

static bool bytes_bool(mneme_bytes value) { return value.size == 1 && value.data[0] != 0; }

static double bytes_real(mneme_bytes value) {
  uint64_t bits = (uint64_t)pe_bytes_int(value);
  double real;
  memcpy(&real, &bits, sizeof real);
  return real;
}

bool pe_col_is_null(const pe_columns *c) { return PQgetisnull(c->result, c->row, c->at) != 0; }

void pe_col_skip(pe_columns *c, int count) { c->at += count; }

mneme_bytes pe_col_bytes(pe_columns *c) {
  int at = c->at++;
  return mneme_bytes_of(PQgetvalue(c->result, c->row, at),
                        (size_t)PQgetlength(c->result, c->row, at));
}

int64_t pe_col_int(pe_columns *c) { return pe_bytes_int(pe_col_bytes(c)); }

bool pe_col_bool(pe_columns *c) { return bytes_bool(pe_col_bytes(c)); }

void pe_col_uid(pe_columns *c, mneme_uid *ret_uid) {
  mneme_bytes uid = pe_col_bytes(c);
  memset(ret_uid, 0, sizeof *ret_uid);
  if (uid.size == sizeof ret_uid->bytes) memcpy(ret_uid->bytes, uid.data, uid.size);
}

void pe_col_header(pe_columns *c, mneme_header *h) {
  memset(h, 0, sizeof *h);
  pe_col_uid(c, &h->uid);
  h->revision = pe_col_int(c);
  h->settings_revision = pe_col_int(c);
  h->last_sequence = pe_col_int(c);
  h->mutations = pe_col_int(c);
  h->memory_count = pe_col_int(c);
  h->token_count = pe_col_int(c);
  h->byte_count = pe_col_int(c);
  h->create_us = pe_col_int(c);
  h->update_us = pe_col_int(c);
  h->append_us = pe_col_int(c);
  h->expire_us = pe_col_int(c);
  h->max_age_us = pe_col_int(c);
  h->keep_system = pe_col_bool(c);
  h->settings = pe_col_bytes(c);
}

/* --- Records ----------------------------------------------------------------- */

/* Fields are the values of PE_RECORD; NULL is present where it is not the same as
 * 0 or empty: in event_us and importance. */
static void make_record(const mneme_bytes *f, mneme_record *r, int64_t *ret_size) {
  memset(r, 0, sizeof *r);
  r->sequence = pe_bytes_int(f[0]);
  r->revision = pe_bytes_int(f[1]);
  r->create_us = pe_bytes_int(f[2]);
  r->update_us = pe_bytes_int(f[3]);
  r->token_count = pe_bytes_int(f[4]);
  r->access_us = pe_bytes_int(f[5]);
  r->access_count = pe_bytes_int(f[6]);
  r->ttl_us = pe_bytes_int(f[7]);
  r->event_us = f[8].size != 0 ? pe_bytes_int(f[8]) : MNEME_NO_EVENT;
  r->expire_us = pe_bytes_int(f[9]);
  r->has_importance = f[10].size != 0;
  if (r->has_importance) r->importance = bytes_real(f[10]);
  r->crc = (uint32_t)pe_bytes_int(f[11]);
  *ret_size = pe_bytes_int(f[12]);
  r->tier = (int32_t)pe_bytes_int(f[13]);
  r->pinned = bytes_bool(f[14]);
  r->id = f[15];
  r->key = f[16];
  r->kind = f[17];
  r->role = f[18];
  r->author = f[19];
  r->source = f[20];
  r->metadata_json = f[21];
  r->body = f[22];
}

void pe_col_record(pe_columns *c, mneme_record *ret_record, int64_t *ret_size) {
  mneme_bytes fields[FIELDS];
  for (int i = 0; i < FIELDS; i++) fields[i] = pe_col_bytes(c);
  make_record(fields, ret_record, ret_size);
}

/* --- Arrays ------------------------------------------------------------------ */

static uint32_t take32(pe_items *items) {
  uint32_t value = 0;
  if (items->end - items->at < 4) {
    items->broken = true;
    return 0;
  }
  memcpy(&value, items->at, 4);
  items->at += 4;
  return be32toh(value);
}

static bool take_bytes(pe_items *items, mneme_bytes *ret_bytes) {
  uint32_t size = take32(items);
  if (size == UINT32_MAX) { /* NULL */
    *ret_bytes = (mneme_bytes){0};
    return true;
  }
  if (items->broken || size > (size_t)(items->end - items->at)) {
    items->broken = true;
    return false;
  }
  *ret_bytes = mneme_bytes_of(items->at, size);
  items->at += size;
  return true;
}

void pe_items_begin(pe_items *items, mneme_bytes array) {
  *items = (pe_items){.at = array.data, .end = array.data + array.size};
  if (array.size == 0) return; /* NULL */
  uint32_t dimensions = take32(items);
  take32(items);
  take32(items);
  if (items->broken || dimensions == 0) return;
  items->left = take32(items);
  take32(items);
  /* Each item has its size at least. */
  if (dimensions != 1 || items->left > (size_t)(items->end - items->at) / 4) {
    items->broken = true;
    items->left = 0;
  }
}

bool pe_items_next(pe_items *items, mneme_bytes *ret_item) {
  if (items->left == 0 || !take_bytes(items, ret_item)) return false;
  items->left--;
  return true;
}

bool pe_item_record(mneme_bytes item, mneme_record *ret_record) {
  mneme_bytes fields[FIELDS];
  int field = 0;
  int64_t size;
  pe_items row = {.at = item.data, .end = item.data + item.size};
  if (take32(&row) != COLUMNS) return false;
  for (int i = 0; i < COLUMNS; i++) {
    mneme_bytes value;
    take32(&row); /* its type */
    if (!take_bytes(&row, &value)) return false;
    if (i != 0 && i != RANK) fields[field++] = value;
  }
  make_record(fields, ret_record, &size);
  return !row.broken;
}
