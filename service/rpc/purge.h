/* Removes from one session what matches a filter: reads, judges, and removes what
 * it found in commits of at most PURGE_COMMIT_MAX, each atomic.
 *
 *   session_get ─▶ read ─▶ commit ─▶ read ─▶ commit ─▶ ... ─▶ done
 *                    └─ nothing found ──────────────────────────▲
 *
 * What goes is fixed at the start: memories up to the sequence that was the last
 * then, judged by the filter as it was parsed (with the now of the start). Each is
 * removed only while it is what was judged: a commit names its revision. Another
 * incarnation of the session has nothing of it.
 *
 * One piece at a time. A purge has no loop of its own, so that it can be a part of
 * a longer one: purge_step begins a piece, whose end calls `next` (call purge_step
 * again, from a flat stack: engines may answer inline) or `done`.
 *
 *   purge p = {.op = o, .scope = .., .filter = .., .now and last as below};
 *   p.next = .., p.done = .., p.ctx = ..;
 *   purge_step(&p);
 *
 * To use it again for another session, clear and fill it anew; the op must be
 * routed to that session's backend, and `filter` divided for it.
 *
 * Ownership: a purge lies in the state of its method, what it points to in the
 * arena of the op. Threads: as its op; purge_step runs on a worker. */
#ifndef MNEME_RPC_PURGE_H
#define MNEME_RPC_PURGE_H

#include "rpc/commit.h"
#include "rpc/filtered.h"

#define PURGE_COMMIT_MAX 1000     /* memories that one commit removes */
#define PURGE_CALL_MAX 10000      /* and one request */
#define PURGE_EXAMINED_MAX 100000 /* sequences that one request looks at, holes included
                                     but those that it steps over */
#define PURGE_IDS_MAX 100         /* that a dry run lists */

typedef struct purge purge;

struct purge {
  op *op;
  wire_scope scope; /* request_id is not read; expected_revision is the session's, at
                       the start of this request */
  filtered filter;
  bool dry_run; /* only counts and lists, all there is: no budget ends it */
  void (*next)(purge *p);
  /* OK: through, or at the end of a budget (`more`). Otherwise o->error says what it
   * was when it is set, and else the status is the engine's. Nothing of what the
   * commits before have removed comes back. */
  void (*done)(purge *p, mneme_status status);
  void *ctx;

  /* Where it goes on. At first: uid zero. Later what a resume token kept: */
  mneme_uid uid;
  int64_t after; /* the last sequence examined */
  int64_t last;  /* the last one to examine */

  /* What is left of the budgets of this request; set at first, kept from one
   * session to the next. */
  int64_t removals;
  int64_t examined;

  /* What came of it. */
  int64_t removed; /* memories, or in a dry run those that would be */
  bool more;       /* a budget is used up: go on behind `after` */
  mneme_header header; /* the session's at the end; zero when there is none. Its
                          strings are empty. */
  mneme_bytes *ids;    /* a dry run's, at most PURGE_IDS_MAX */
  size_t id_count;

  /* Its own. */
  bool opened;
  bool sought; /* a memory stands right behind `after` */
  bool guarded; /* the expected revision has been asked for */
  bool full;    /* the read ended because the commit is full */
  int64_t *sequences;
  int64_t *revisions;
  size_t count;
  mneme_read read;
};

void purge_step(purge *p);

#endif
