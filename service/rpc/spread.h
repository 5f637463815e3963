/* Work that spans the backends of a namespace: one after the other, in the order
 * of the config, noting which of them are down.
 *
 *   [ ping each ] ─▶ ask ─▶ ask ─▶ DOWN ─▶ ping ─▶ ping ─▶ end, or BACKEND_DOWN
 *
 * Unless partial answers are allowed, one that is down fails the request, and the
 * error names all that are: the rest are then only pinged. Work that changes
 * something pings all of them before it begins.
 *
 * Ownership: a spread lies in its method's state. Threads: as its op. */
#ifndef MNEME_RPC_SPREAD_H
#define MNEME_RPC_SPREAD_H

#include "rpc/op.h"

typedef struct spread spread;

struct spread {
  op *op;
  bool allow_partial;
  bool probe_first;      /* ping all before the first is asked, unless allow_partial */
  size_t at;                /* the one being asked; set it to begin elsewhere than at 0 */
  size_t until;             /* the one behind the last; 0 = all are asked */
  void (*ask)(spread *s);   /* asks op->route.backend, on a worker; then spread_next */
  void (*end)(spread *s);   /* all have answered but those in `down` */
  void *state;              /* of the method */
  const char *down[REGISTRY_BACKENDS_MAX]; /* at the end only with allow_partial */
  size_t down_count;
  /* Its own. */
  bool probing;
  size_t first;
};

void spread_start(spread *s);
/* The backend has answered: OK or DOWN go on, anything else ends the op. */
void spread_next(spread *s, mneme_status status);
/* Ends the op with BACKEND_DOWN; `down` holds at least one. */
void spread_fail_down(spread *s);

#endif
