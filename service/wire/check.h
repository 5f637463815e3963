/* The wire check: walks the bytes of a request beside the descriptor of its
 * message, before anything is unpacked or allocated. What passes can be unpacked
 * by protobuf-c safely: it accepts invalid UTF-8, recurses without a limit, and
 * turns 4 MiB of empty map entries into 112 MiB.
 *
 * Refused, with code, reason and the path of the field: malformed bytes, wrong
 * wire types, unknown fields, singular fields that stand twice, invalid UTF-8 and
 * NUL in strings, NaN and infinities, and whatever limits.def names. Constant
 * stack: recursion is bounded by CHECK_DEPTH_MAX whatever the input is.
 *
 * Threads: any, after check_init. */
#ifndef MNEME_WIRE_CHECK_H
#define MNEME_WIRE_CHECK_H

#include <protobuf-c/protobuf-c.h>

#include "error/error.h"

#define CHECK_DEPTH_MAX 64  /* nested messages; metadata reaches its own limit first */
#define CHECK_FIELDS_MAX 32 /* fields of one message type */

/* Compiles limits.def for every message that the descriptors reach. Aborts on a
 * line that names no field and on a repeated field without a COUNT: bugs. */
void check_init(const ProtobufCMessageDescriptor *const *roots, size_t count);

/* false = see e; paths lie in the arena. */
bool check_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                   arena *a, error *e);

#endif
