/* The parameters of one statement, in the wire's binary format: values, arrays and
 * arrays of rows, written one after the other into one buffer.
 *
 *   pe_params_clear(p);
 *   pe_int(p, now_us);
 *   pe_array(p, PE_BYTEA, 2);
 *   pe_item_bytes(p, a);
 *   pe_item_bytes(p, b);
 *   pe_end(p);
 *
 * Without memory, or beyond what the wire can say, p->failed stays true until it is
 * cleared. Threads: one at a time. */
#ifndef POSTGRES_PARAMS_H
#define POSTGRES_PARAMS_H

#include "mneme/types.h"

#define PE_PARAMS_MAX 64
#define PE_PARAMS_BYTES_MAX (1 << 30) /* of all parameters of a statement */

/* Types, as pg_type has them on every server. */
enum { PE_BOOL = 16, PE_BYTEA = 17, PE_INT8 = 20, PE_INT4 = 23, PE_FLOAT8 = 701, PE_UUID = 2950 };

typedef struct pe_params {
  char *bytes;
  size_t size, room;
  int count;
  struct {
    size_t at;
    int size; /* -1 = NULL */
  } values[PE_PARAMS_MAX];
  bool failed;
} pe_params;

void pe_params_clear(pe_params *p); /* gives back what an unusual statement took */
void pe_params_free(pe_params *p);

/* A parameter each. */
void pe_null(pe_params *p);
void pe_int(pe_params *p, int64_t value);   /* bigint */
void pe_int4(pe_params *p, int32_t value);  /* integer */
void pe_bool(pe_params *p, bool value);
void pe_bytes(pe_params *p, mneme_bytes value);
void pe_bytes_or_null(pe_params *p, mneme_bytes value); /* NULL when empty */
void pe_uuid(pe_params *p, const uint8_t value[16]);    /* NULL when the pointer is */

/* An array of count items of that type, which follow, and then pe_end. */
void pe_array(pe_params *p, uint32_t type, size_t count);
void pe_end(pe_params *p);

void pe_item_null(pe_params *p);
void pe_item_int(pe_params *p, int64_t value);
void pe_item_int_or_null(pe_params *p, int64_t value, int64_t null);
void pe_item_int4(pe_params *p, int32_t value);
void pe_item_bool(pe_params *p, bool value);
void pe_item_real_or_null(pe_params *p, double value, bool null);
void pe_item_bytes(pe_params *p, mneme_bytes value);
void pe_item_bytes_or_null(pe_params *p, mneme_bytes value);
void pe_item_uuid(pe_params *p, const uint8_t value[16]);

/* An item that is a row of so many columns, each of which is pe_column and an item. */
size_t pe_row(pe_params *p, uint32_t columns);
void pe_row_end(pe_params *p, size_t row);
void pe_column(pe_params *p, uint32_t type);

#endif
