/* The first 60 bits that are not fixed are one number, `tick`: the time in 1/4096
 * milliseconds. One atomic holds the last tick; the next is the clock's, or the
 * last plus one when the clock's is not greater.
 *
 *   tick  [ milliseconds since 1970: 48 ][ fraction: 12 ]
 *   uuid  [ ms: 48 ][ 7: 4 ][ fraction: 12 ][ 2: 2 ][ random: 62 ]
 *
 * So the order of ids is the order of ticks. More than 4,096,000 ids a second
 * run ahead of the clock, which the RFC allows; a full fraction carries into the
 * milliseconds by itself.
 *
 * A system call costs more than the id: random bits come RANDOM_BUFFER bytes at
 * a time, into a buffer of the thread's own. */
#include "base/uuid.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RANDOM_BUFFER 256 /* getrandom(2) never gives less of up to this many */
#define TICKS_PER_MS 4096
#define TICK_MAX ((UINT64_C(1) << 60) - 1)

static _Atomic uint64_t last_tick;

static _Thread_local struct {
  uint8_t bytes[RANDOM_BUFFER];
  size_t left;
} random_pool;

static void random_fill(void *out, size_t size) {
  if (random_pool.left < size) {
    ssize_t n;
    do
      n = getrandom(random_pool.bytes, sizeof random_pool.bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof random_pool.bytes)
      abort();
    random_pool.left = sizeof random_pool.bytes;
  }
  random_pool.left -= size;
  memcpy(out, random_pool.bytes + random_pool.left, size);
}

static uint64_t next_tick(int64_t now_us) {
  uint64_t us = now_us < 0 ? 0 : (uint64_t)now_us;
  uint64_t tick = us / 1000 * TICKS_PER_MS + us % 1000 * TICKS_PER_MS / 1000;
  uint64_t last = atomic_load_explicit(&last_tick, memory_order_relaxed);
  uint64_t next;
  do
    next = tick > last ? tick : last + 1;
  while (!atomic_compare_exchange_weak_explicit(&last_tick, &last, next, memory_order_relaxed,
                                                memory_order_relaxed));
  return next & TICK_MAX; /* full in the year 10889 */
}

void uuid_v7(uint8_t out[UUID_BYTES], int64_t now_us) {
  uint64_t tick = next_tick(now_us);
  uint64_t ms = tick / TICKS_PER_MS;
  for (int i = 0; i < 6; i++)
    out[i] = (uint8_t)(ms >> (40 - 8 * i));
  out[6] = (uint8_t)(0x70 | (tick >> 8 & 0x0f));
  out[7] = (uint8_t)tick;
  random_fill(out + 8, 8);
  out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

/* The eight hexadecimal digits of four bytes at once, a digit in each byte of the
 * word: the halves of the bytes are spread out, and those above 9 moved on to the
 * letters. */
static void format_four(const uint8_t in[4], char out[8]) {
  const uint64_t each = UINT64_C(0x0101010101010101);
  uint64_t x = (uint64_t)in[0] | (uint64_t)in[1] << 16 | (uint64_t)in[2] << 32 |
               (uint64_t)in[3] << 48;
  x = (x >> 4 & 0x0F * each & UINT64_C(0x00FF00FF00FF00FF)) |
      (x << 8 & UINT64_C(0x0F000F000F000F00));
  uint64_t letters = (x + 6 * each) >> 4 & each;
  x += '0' * each + letters * ('a' - '0' - 10);
  x = htole64(x);
  memcpy(out, &x, sizeof x);
}

void uuid_format(const uint8_t uuid[UUID_BYTES], char out[UUID_TEXT_SIZE]) {
  char digits[2 * UUID_BYTES];
  for (int i = 0; i < UUID_BYTES; i += 4)
    format_four(uuid + i, digits + 2 * i);
  memcpy(out, digits, 8);
  memcpy(out + 9, digits + 8, 4);
  memcpy(out + 14, digits + 12, 4);
  memcpy(out + 19, digits + 16, 4);
  memcpy(out + 24, digits + 20, 12);
  out[8] = out[13] = out[18] = out[23] = '-';
  out[UUID_TEXT_SIZE - 1] = '\0';
}
