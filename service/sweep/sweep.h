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
 * A session whose policy names a cleanup_interval waits at least that long from one
 * time that it was swept clean to the next. Each chain remembers SWEEP_WAITING_MAX
 * of such; beyond that, and after a restart, one may be swept earlier.
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
#define SWEEP_WAITING_MAX 4096 /* sessions that wait for their interval */

typedef struct sweep sweep;

typedef struct sweep_options {
  int64_t interval_us; /* between two ticks of a backend */
  int64_t step_us;     /* 0 = SWEEP_STEP_US; another one for tests, as the next */
  int64_t watch_us;    /* 0 = SWEEP_WATCH_US */
  /* A backend's health has changed; on a pool thread. */
  void (*health)(const registry_backend *b, registry_health health, void *ctx);
  /* The cleanup_interval in force for a session, 0 = none. Under the backend's lock:
   * takes none itself, and calls no backend. */
  int64_t (*cleanup_us)(const mneme_header *h, void *ctx);
  void *ctx;
} sweep_options;

/* Starts; NULL = no memory. */
sweep *sweep_open(registry *r, pool *p, const sweep_options *options);
/* Begins no more ticks; pool_drain then waits for those under way. */
void sweep_stop(sweep *s);
/* After pool_drain, and when the backends have answered everything. */
void sweep_close(sweep *s);

#endif
