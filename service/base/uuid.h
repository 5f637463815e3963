/* Ids: UUID version 7 (RFC 9562), time first, so that a B-tree appends.
 *
 * Within one process every id is greater than all that were made before it, by
 * any thread, even when the clock stands still or goes back (RFC 9562, 6.2,
 * methods 3 and 1 together). Between processes 62 random bits keep them apart.
 * A child after fork(2) must not make ids: it shares its parent's random bits.
 *
 * Threads: any; no lock. */
#ifndef MNEME_BASE_UUID_H
#define MNEME_BASE_UUID_H

#include <stddef.h>
#include <stdint.h>

#define UUID_BYTES 16
#define UUID_TEXT_SIZE 37 /* 36 characters and a NUL */

/* now_us is the wall clock. Ends the process when the kernel has no random bits
 * to give: an id that could be guessed is worse. */
void uuid_v7(uint8_t out[UUID_BYTES], int64_t now_us);

/* Lower case, as in "018f3c5e-6a1b-7c3d-8e4f-5a6b7c8d9e0f". */
void uuid_format(const uint8_t uuid[UUID_BYTES], char out[UUID_TEXT_SIZE]);

#endif
