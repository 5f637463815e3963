/* A walk over the sessions of a namespace whose ids begin with a prefix: backend
 * after backend in the order of the config, in each by id. For work that removes
 * in bounded pieces, and can be resumed where an earlier call has stopped.
 *
 *   ping all ─▶ list 256 ─▶ visit ─▶ visit ─▶ ... ─▶ list ─▶ next backend ─▶ end
 *                              │
 *                              └ walk_next, _again, _stop, _fail or _refuse
 *
 * It sees sessions that were created by `now_us`, each once, as they were when
 * they were listed; those that are created meanwhile stay out of it, so a walk
 * that is resumed again and again ends.
 *
 * Ownership: a walk lies in its method's state, what it allocates in the op's
 * arena. Threads: as its op. */
#ifndef MNEME_RPC_WALK_H
#define MNEME_RPC_WALK_H

#include "rpc/fingerprint.h"
#include "rpc/loop.h"
#include "rpc/spread.h"

#define WALK_BATCH 256 /* sessions that are listed at once */

typedef struct walk_session {
  mneme_bytes name;
  mneme_uid uid;
  int64_t revision;
  int64_t settings_revision;
  int64_t last_sequence;
  int64_t memory_count;
  bool keep_system;
} walk_session;

typedef struct walk walk;

struct walk {
  op *op;
  mneme_bytes ns;
  mneme_bytes prefix;
  mneme_bytes only; /* not empty: this session alone, on the backend that it is routed to */
  bool allow_partial;
  bool changes;          /* it removes: all backends are pinged before it begins */
  int64_t now_us;        /* of the start */
  int64_t sessions_max;  /* that this call looks at, wanted or not */
  /* Whether a session is to be visited; NULL = all are. Under the backend's lock. */
  bool (*wants)(walk *w, const mneme_header *h);
  void (*visit)(walk *w, const walk_session *s);
  /* All have been visited; or with `more` the walk goes on behind `after`, on the
   * backend `at`. */
  void (*end)(walk *w);
  void *state; /* of the method */
  bool enough; /* set by a visit: none after this one */
  bool progress; /* set by a visit: it has changed something; see walk_fail */
  /* Where it is. To resume, set backend, down and after before walk_start. */
  uint8_t backend;
  uint64_t down;     /* a bit for each backend that is left out as down */
  mneme_bytes after; /* in the walk's own room once it has begun */
  bool more;
  /* Its own. */
  spread spread;
  loop loop;
  mneme_session_list ask;
  walk_session *batch; /* WALK_BATCH */
  char *names;         /* WALK_BATCH of MNEME_SESSION_MAX */
  char *last;          /* room for `after` */
  char *listed;        /* the last one listed, wanted or not */
  size_t listed_size;
  size_t count;
  size_t next;
  int64_t given;
  bool exhausted; /* the backend has no more than what is in the batch */
  mneme_status failed;
  enum { WALK_GOES_ON, WALK_BACKEND_DONE, WALK_STOPPED, WALK_FAILED, WALK_REFUSED } outcome;
};

/* What a resume token is bound to beside its arguments: which backends there are. */
void walk_fingerprint(const op *o, fingerprint *f);

void walk_start(walk *w);
/* The session is done with. */
void walk_next(walk *w);
/* It is not: visit it again, from a flat stack. */
void walk_again(walk *w);
/* The walk ends before this session is done with: it comes again. */
void walk_stop(walk *w);
/* What the backend answered was a failure. One that is down is left out where that
 * is allowed; where something has been changed already, and a repeat may help, the
 * walk ends as by walk_stop, so that the caller learns what; else the op fails. */
void walk_fail(walk *w, mneme_status status);
/* The op fails with its error. */
void walk_refuse(walk *w);

/* Leaves it out: after the walk, where something more is read. Only with
 * allow_partial. */
void walk_note_down(walk *w, const registry_backend *b);

/* The names of what was left out, for the reply. */
static inline const char *const *walk_unavailable(const walk *w) { return w->spread.down; }
static inline size_t walk_unavailable_count(const walk *w) { return w->spread.down_count; }

#endif
