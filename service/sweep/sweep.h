/* The sweeper: removes what has expired, forgets what nobody can ask for any
 * more, and asks each backend whether it answers. Readers never depend on it:
 * expiry is a predicate at read time.
 *
 *   tick ─▶ ping ─▶ due ─▶ EXPIRE commit ─▶ ... ─▶ trim ─▶ tick after interval
 *
 * One chain per backend, so that a backend that stalls stalls only its own. Each
 * step is a task of the worker pool; the work of a tick is bounded, and what is
 * left over is done by the next, which then follows at once.
 *
 * Threads: open and close from one thread; the rest is its own. */
#ifndef MNEME_SWEEP_SWEEP_H
#define MNEME_SWEEP_SWEEP_H

#include "base/pool.h"
#include "registry/registry.h"

#define SWEEP_SESSIONS_MAX 256 /* per tick */
#define SWEEP_EXPIRE_MAX 1000  /* memories per commit */
#define SWEEP_TRIM_MAX 1000    /* rows per tick */
#define SWEEP_STEP_US 10000000 /* for one operation, a ping too */
#define SWEEP_WATCH_US 1000000 /* between two looks at late pings and a full pool */

typedef struct sweep sweep;

/* A backend's health has changed; on a pool thread. */
typedef void (*sweep_health_fn)(const registry_backend *b, registry_health health, void *ctx);

/* Starts; NULL = no memory. */
sweep *sweep_open(registry *r, pool *p, int64_t interval_us, sweep_health_fn health, void *ctx);
/* Begins no more ticks; pool_drain then waits for those under way. */
void sweep_stop(sweep *s);
/* After pool_drain, and when the backends have answered everything. */
void sweep_close(sweep *s);

#endif
