/* See params.h. An item is its size, -1 for NULL, and its bytes; a parameter is the
 * same without the size, which libpq writes. */
#include "params.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_BYTES (1 << 20) /* of the buffer, from one statement to the next */
#define FIRST_BYTES 4096

static char *take(pe_params *p, size_t size) {
  if (p->failed) return NULL;
  if (size > PE_PARAMS_BYTES_MAX - p->size) {
    p->failed = true;
    return NULL;
  }
  if (p->size + size > p->room) {
    size_t room = p->room != 0 ? p->room : FIRST_BYTES;
    while (room < p->size + size) room *= 2;
    char *bytes = realloc(p->bytes, room);
    if (bytes == NULL) {
      p->failed = true;
      return NULL;
    }
    p->bytes = bytes;
    p->room = room;
  }
  char *at = p->bytes + p->size;
  p->size += size;
  return at;
}

static void put(pe_params *p, const void *data, size_t size) {
  char *at = take(p, size);
  if (at != NULL && size != 0) memcpy(at, data, size);
}

static void put32(pe_params *p, uint32_t value) {
  value = htobe32(value);
  put(p, &value, sizeof value);
}

static void put64(pe_params *p, uint64_t value) {
  value = htobe64(value);
  put(p, &value, sizeof value);
}

void pe_params_clear(pe_params *p) {
  if (p->room > KEPT_BYTES) {
    free(p->bytes);
    p->bytes = NULL;
    p->room = 0;
  }
  p->size = 0;
  p->count = 0;
  p->failed = false;
}

void pe_params_free(pe_params *p) {
  free(p->bytes);
  *p = (pe_params){0};
}

/* --- Parameters -------------------------------------------------------------- */

static void begin(pe_params *p) {
  if (p->count == PE_PARAMS_MAX) {
    p->failed = true;
    return;
  }
  p->values[p->count++].at = p->size;
}

void pe_end(pe_params *p) {
  if (!p->failed) p->values[p->count - 1].size = (int)(p->size - p->values[p->count - 1].at);
}

void pe_null(pe_params *p) {
  begin(p);
  if (!p->failed) p->values[p->count - 1].size = -1;
}

void pe_int(pe_params *p, int64_t value) {
  begin(p);
  put64(p, (uint64_t)value);
  pe_end(p);
}

void pe_int4(pe_params *p, int32_t value) {
  begin(p);
  put32(p, (uint32_t)value);
  pe_end(p);
}

void pe_bool(pe_params *p, bool value) {
  begin(p);
  put(p, &(char){value}, 1);
  pe_end(p);
}

void pe_bytes(pe_params *p, mneme_bytes value) {
  begin(p);
  put(p, value.data, value.size);
  pe_end(p);
}

void pe_bytes_or_null(pe_params *p, mneme_bytes value) {
  if (value.size == 0)
    pe_null(p);
  else
    pe_bytes(p, value);
}

void pe_uuid(pe_params *p, const uint8_t value[16]) {
  if (value == NULL) {
    pe_null(p);
    return;
  }
  begin(p);
  put(p, value, 16);
  pe_end(p);
}

/* --- Arrays ------------------------------------------------------------------ */

/* Dimensions, whether there are NULLs (which nobody reads), type; then for the one
 * dimension its size and its lower bound. An array of nothing has no dimension. */
void pe_array(pe_params *p, uint32_t type, size_t count) {
  begin(p);
  put32(p, count != 0 ? 1 : 0);
  put32(p, 1);
  put32(p, type);
  if (count == 0) return;
  put32(p, (uint32_t)count);
  put32(p, 1);
}

void pe_item_null(pe_params *p) { put32(p, UINT32_MAX); }

void pe_item_int(pe_params *p, int64_t value) {
  char *at = take(p, 12);
  if (at == NULL) return;
  uint32_t size = htobe32(8);
  uint64_t big = htobe64((uint64_t)value);
  memcpy(at, &size, 4);
  memcpy(at + 4, &big, 8);
}

void pe_item_int_or_null(pe_params *p, int64_t value, int64_t null) {
  if (value == null)
    pe_item_null(p);
  else
    pe_item_int(p, value);
}

void pe_item_int4(pe_params *p, int32_t value) {
  put32(p, 4);
  put32(p, (uint32_t)value);
}

void pe_item_bool(pe_params *p, bool value) {
  put32(p, 1);
  put(p, &(char){value}, 1);
}

void pe_item_real_or_null(pe_params *p, double value, bool null) {
  uint64_t bits;
  if (null) {
    pe_item_null(p);
    return;
  }
  memcpy(&bits, &value, sizeof bits);
  put32(p, 8);
  put64(p, bits);
}

void pe_item_bytes(pe_params *p, mneme_bytes value) {
  put32(p, (uint32_t)value.size);
  put(p, value.data, value.size);
}

void pe_item_bytes_or_null(pe_params *p, mneme_bytes value) {
  if (value.size == 0)
    pe_item_null(p);
  else
    pe_item_bytes(p, value);
}

void pe_item_uuid(pe_params *p, const uint8_t value[16]) {
  put32(p, 16);
  put(p, value, 16);
}

/* --- Rows -------------------------------------------------------------------- */

size_t pe_row(pe_params *p, uint32_t columns) {
  size_t row = p->size;
  put32(p, 0); /* its size, which pe_row_end knows */
  put32(p, columns);
  return row;
}

void pe_row_end(pe_params *p, size_t row) {
  if (p->failed) return;
  uint32_t size = htobe32((uint32_t)(p->size - row - 4));
  memcpy(p->bytes + row, &size, sizeof size);
}

void pe_column(pe_params *p, uint32_t type) { put32(p, type); }
