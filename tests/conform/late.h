/* `late`: a wrapper that is itself a backend. It completes every operation of an
 * inner backend from another thread, after a random delay, out of order. What
 * works through late does not depend on done being called inline.
 *
 * Each call goes one of two ways, chosen at random:
 *   - late start: the inner operation runs on one of late's threads, later, and
 *     calls the caller's emit and done from there;
 *   - late answer: the inner operation runs at once, what it emits is copied, and
 *     both are delivered later. changes always starts late, since its cursor
 *     depends on what emit answers. */
#ifndef CONFORM_LATE_H
#define CONFORM_LATE_H

#include "mneme/backend.h"

#define MNEME_LATE_TYPES_MAX 4

/* A type that wraps inner: same options and capabilities, name "late-" + inner's.
 * max_delay_us = 0 means 2000. At most MNEME_LATE_TYPES_MAX in a process, NULL
 * beyond. Call it before threads are started; the type is static. */
const mneme_backend_type *mneme_late_wrap(const mneme_backend_type *inner,
                                          int64_t max_delay_us, uint64_t seed);

#endif
