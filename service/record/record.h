/* The record codec: what a backend keeps as `body`, and the checksum over it.
 *
 *   body = version (1 byte) | flags (1 byte) | payload
 *
 * Version 1, flags 0: payload is the canonical protobuf encoding of the fields
 * content, parts and metadata of mneme.v1.Memory, so that a read copies it into
 * the reply as it is. Flags are reserved for compression and encryption; a body
 * with a version or flag that this build does not know is refused.
 *
 * The checksum is CRC-32C (Castagnoli; RFC 3720) over body and the caller's
 * fields, computed before the commit and checked at every read. */
#ifndef MNEME_RECORD_RECORD_H
#define MNEME_RECORD_RECORD_H

#include "base/arena.h"
#include "mneme/backend.h"

#define RECORD_PREFIX 2 /* bytes of version and flags */
#define RECORD_VERSION 1

/* Memory for a body with a payload of that size; the payload begins at
 * RECORD_PREFIX. NULL = no memory. */
uint8_t *record_body_new(arena *a, size_t payload_size);

/* Sets crc, when all of the caller's fields are final. */
void record_seal(mneme_record *r);

/* MNEME_OK and the payload, or MNEME_CORRUPT. */
mneme_status record_open(const mneme_record *r, mneme_bytes *ret_payload);

/* The checksum alone, for other bytes that a backend keeps. */
uint32_t record_crc32c(const void *data, size_t size);

/* (13 * words + 9) / 10, where words are separated by ASCII white space. */
int64_t record_count_tokens(const char *text, size_t size);

#endif
