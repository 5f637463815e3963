/* The work of one commit, between commit.c (guards and the end) and steps.c (the
 * steps, the policy, and taking all of it back). */
#ifndef DICT_STEPS_H
#define DICT_STEPS_H

#include "dict.h"

#define DICT_REFS_FEW 16
#define DICT_NOTES_FEW 8

/* What was done to one record, in the order in which it was done. A replaced
 * record is a TAKE (logged as UPDATED) and a PUT. EMPTY is all records at once. */
typedef enum dict_note_kind { DICT_PUT, DICT_TAKE, DICT_TOUCH, DICT_EMPTY } dict_note_kind;

typedef struct dict_note {
  dict_note_kind kind;
  mneme_log_op log_op; /* TAKE */
  dict_session *session;
  dict_record *record;
  dict_session *contents; /* EMPTY: what was in it, logged as DELETED */
  int64_t access_us, access_count, expire_us; /* TOUCH: what was there before */
} dict_note;

/* Bytes that the answer names and whose record may be gone by then. */
typedef struct dict_kept {
  struct dict_kept *next;
  char data[];
} dict_kept;

typedef struct dict_work {
  mneme_backend *store;
  dict_shard *shard;
  const mneme_write *write;
  int64_t now_us;
  uint32_t request_hash; /* with a request_id */

  dict_shell *shell;
  dict_session *lapsed;  /* what stands in the shell and counts as absent */
  dict_session *before;  /* the live session at the start */
  dict_session *current; /* what the next step works on */
  dict_session *made;    /* sessions made by this commit, linked by next */
  dict_head saved;       /* of before */
  int64_t revision;      /* of what this commit changes in current */

  bool changed;      /* something that a reader can see */
  bool header_moved; /* the plan's max_age or keep_system is another */
  dict_old_policy old_policy; /* then: what there was before */
  bool wrote;        /* a record of current was created or replaced */
  bool set;          /* current's settings were set, or it was created */
  bool ranked_here;
  int64_t conflict_revision;

  mneme_written written; /* counts and refs as they come */
  mneme_ref *refs;
  dict_note *notes;
  size_t note_count, notes_room;
  dict_kept *kept;

  /* Not cleared at the start. */
  mneme_ref refs_few[DICT_REFS_FEW];
  dict_note notes_few[DICT_NOTES_FEW];
} dict_work;

/* Runs the steps; on a refusal the caller undoes. */
mneme_status dict_work_steps(dict_work *work);
/* After them: removes what has expired. */
mneme_status dict_work_expire(dict_work *work, int64_t max);
/* Guard 7, and evicts. */
mneme_status dict_work_evict(dict_work *work);
/* Puts everything back; can't fail. */
void dict_work_undo(dict_work *work);

#endif
