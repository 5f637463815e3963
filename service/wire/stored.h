/* Stored bodies and metadata, read where they lie: a filter looks at very many
 * records and takes one field of each, so nothing is unpacked. The layout is the
 * encoding that this room itself wrote: content (9), parts (10), metadata (11);
 * a Struct with its keys sorted and each once, a Value in every entry.
 *
 * Ownership: everything borrows from the bytes given. Threads: any.
 * Errors: bytes that are no such message read as if the rest were absent; the
 * record codec's checksum is there to tell. Recursion follows the nesting, at
 * most STORED_DEPTH_MAX. */
#ifndef MNEME_WIRE_STORED_H
#define MNEME_WIRE_STORED_H

#include "base/arena.h"
#include "mneme/types.h"

#define STORED_DEPTH_MAX 64 /* metadata's own limit is 16 */

typedef enum stored_kind {
  STORED_NONE = 0, /* absent */
  STORED_NULL,
  STORED_NUMBER,
  STORED_STRING, /* text */
  STORED_BOOL,
  STORED_OBJECT, /* text: the packed Struct */
  STORED_LIST    /* text: the packed ListValue */
} stored_kind;

typedef struct stored_value {
  stored_kind kind;
  double number;
  bool boolean;
  mneme_bytes text;
} stored_value;

/* Of a body that has passed the record codec. Empty when absent. */
mneme_bytes stored_content(mneme_bytes body);
/* ret_metadata = the packed Struct. false = there is none. */
bool stored_metadata(mneme_bytes body, mneme_bytes *ret_metadata);

/* What stands under these keys, from the top of a packed Struct down. */
stored_value stored_find(mneme_bytes metadata, const mneme_bytes *path, size_t count);
/* The next element of a list; *rest begins as the list's text and is moved on.
 * false = there is none. */
bool stored_next(mneme_bytes *rest, stored_value *ret_element);

/* Canonical JSON (base/json.h) of a packed Struct; false = no memory. */
bool stored_json(mneme_bytes metadata, arena *a, mneme_bytes *ret_json);
/* Whether that would be the JSON of a value. */
bool stored_is_json(const stored_value *value, mneme_bytes json);

#endif
