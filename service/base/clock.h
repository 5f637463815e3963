/* The two clocks. Everything that is stored uses the wall clock; everything
 * that waits uses the monotonic one. Microseconds. */
#ifndef MNEME_BASE_CLOCK_H
#define MNEME_BASE_CLOCK_H

#include <stdint.h>

/* Since 1970-01-01 UTC. */
int64_t clock_wall_us(void);
/* Since some point in the past; never goes back. */
int64_t clock_mono_us(void);

#endif
