/* The overrides of sessions that have some, remembered so that an append needs no
 * look-up before its commit.
 *
 * Nothing here has to be right: a commit names the settings that its plan was
 * resolved from, and a backend refuses a stale one with the current settings
 * (STALE_PLAN). So entries may be lost, overwritten or out of date, on any
 * server; a session without an override needs none.
 *
 *   hash(ns, session) ──▶ one of PLANS_SLOTS slots, the last writer stays
 *
 * Threads: any. Lock order: a slot's stripe is a leaf. */
#ifndef MNEME_SESSION_PLANS_H
#define MNEME_SESSION_PLANS_H

#include "mneme/backend.h"
#include "policy/policy.h"

#define PLANS_SLOTS 4096 /* sessions remembered at most */

typedef struct plans plans;

/* What is known of a session; settings_revision 0 = no override. */
typedef struct plan_known {
  mneme_uid uid;
  int64_t settings_revision;
  policy policy;
  char kind[MNEME_ID_MAX]; /* what policy.default_kind points to */
} plan_known;

plans *plans_open(void); /* NULL = no memory */
void plans_close(plans *p);

/* Fills ret with what is remembered, or with "no override". */
void plans_get(plans *p, mneme_bytes ns, mneme_bytes session, plan_known *ret);
/* Remembers; settings_revision 0 forgets. */
void plans_put(plans *p, mneme_bytes ns, mneme_bytes session, const plan_known *known);

#endif
