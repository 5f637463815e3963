/* One write on one session, from the validated request to the answer: resolves
 * the policy, runs the commit, and goes round again when the settings that the
 * plan was made from were not the current ones.
 *
 *   commit_start ─▶ plan ─▶ prepare ─▶ backend commit ─┬─ OK ─────────▶ answer
 *                    ▲                                 ├─ STALE_PLAN ─┐
 *                    └──────── settings from header ◀──┴──────────────┘
 *
 * Ownership: a commit lies in the arena of its op. */
#ifndef MNEME_RPC_COMMIT_H
#define MNEME_RPC_COMMIT_H

#include "rpc/fingerprint.h"
#include "rpc/op.h"

#define COMMIT_ATTEMPTS_MAX 16 /* then ABORTED CONTENTION */

typedef struct commit commit;

struct commit {
  op *op;
  mneme_write write;
  int attempts;
  /* Before each attempt: what depends on the policy in force. NULL = nothing
   * does. */
  void (*prepare)(commit *c);
  /* The answer to a commit that succeeded; NULL = no memory. */
  const wire_message *(*answer)(commit *c, const mneme_written *w);
  /* For a commit that is a part of its op: told how it ended, OK with w, else with
   * o->error set and w NULL; the op goes on, and answer is not called. It is
   * started on a worker and runs there. NULL = the op ends with it. */
  void (*ended)(commit *c, mneme_status status, const mneme_written *w);
  /* A status other than OK; true = it has been taken care of. NULL = nothing is
   * special. Not called for stale plans. */
  bool (*refused)(commit *c, mneme_status status, const mneme_written *w);
  /* The override that a SET_SETTINGS step brings: what the commit does goes by it,
   * not by the one that is there before. NULL = it stays. */
  const policy *new_policy;
  /* Of commit_append: what the client sent, and the records made of it. */
  const wire_memory *memories;
  mneme_record *records;
  size_t memory_count;
  const void *request; /* the method's own */
  error refusal;       /* of commit_refuse, while the request_id is asked */
  /* From here on nothing is set by commit_new. */
  mneme_step steps[MNEME_STEPS_MAX]; /* by commit_step */
  plan_known known;                  /* by each attempt, as is the next */
  policy effective;
};

/* A commit for the routed op with the scope's names and request_id; no steps, no
 * guards but the scope's expected_revision. NULL = no memory (the op is
 * finished then). */
commit *commit_new(op *o, const wire_scope *scope, const fingerprint *f);
/* The same for a part of an op: NULL = no memory, and nothing else. */
commit *commit_part(op *o, const wire_scope *scope, const fingerprint *f);
mneme_step *commit_step(commit *c, mneme_step_op kind);

/* Runs it. Ends the op, or calls `ended`. */
void commit_start(commit *c);

/* Refuses with o->error for a reason that lies in the state or the clock, not in
 * the request: a repeat of a request that has succeeded must get its first
 * answer all the same, so the request_id is asked first. */
void commit_refuse(commit *c);

/* An APPEND step of these memories. false = o->error is set. The records get
 * their ids; kinds and checksums follow when the policy is known. */
bool commit_append(commit *c, const wire_memory *memories, size_t count, int on_conflict);
/* Whether one of the memories has an expire_time that has passed; then o->error
 * is set. */
bool commit_has_lapsed(const commit *c, const wire_memory *memories, size_t count);

/* ABORTED REVISION_MISMATCH with the current revision. */
void commit_mismatch(op *o, int64_t current, const char *what);

#endif
