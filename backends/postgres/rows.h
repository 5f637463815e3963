/* Reading what comes back in the wire's binary format: the columns of a result, in
 * their order, and the headers, records and answers made of them.
 *
 * Ownership: bytes point into the result, and live as long as it does. */
#ifndef POSTGRES_ROWS_H
#define POSTGRES_ROWS_H

#include "mneme/backend.h"

#include <libpq-fe.h>

typedef struct pe_columns {
  const PGresult *result;
  int row, at; /* the next column */
} pe_columns;

bool pe_col_is_null(const pe_columns *c); /* of the next one, which it does not take */
void pe_col_skip(pe_columns *c, int count);
int64_t pe_col_int(pe_columns *c); /* bigint or integer; 0 when NULL */
bool pe_col_bool(pe_columns *c);   /* false when NULL */
mneme_bytes pe_col_bytes(pe_columns *c); /* of any type; empty when NULL */
void pe_col_uid(pe_columns *c, mneme_uid *ret_uid); /* zero when NULL */

/* The columns of PE_HEADER. */
void pe_col_header(pe_columns *c, mneme_header *ret_header);

/* The columns of PE_RECORD; ret_size is what byte limits count. */
void pe_col_record(pe_columns *c, mneme_record *ret_record, int64_t *ret_size);

/* The items of an array, one after the other. An array that is not as the server
 * writes them has no more items, and is broken. */
typedef struct pe_items {
  const char *at, *end;
  size_t left;
  bool broken;
} pe_items;

void pe_items_begin(pe_items *items, mneme_bytes array);
bool pe_items_next(pe_items *items, mneme_bytes *ret_item); /* NULL reads as empty */
int64_t pe_bytes_int(mneme_bytes value);

/* The row of memories that an item of memories[] is. */
bool pe_item_record(mneme_bytes item, mneme_record *ret_record);

#endif
