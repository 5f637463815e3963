/* Tails, as reads use them: see tails.c. */
#ifndef SQLITE_TAILS_H
#define SQLITE_TAILS_H

#include "sqlite.h"

/* Answers a read from memory: true = *ret_status says how, and emit was called.
 * false = nothing was done, ask the database. */
bool sq_tails_read(sq_tails *tails, const mneme_call *call, const mneme_read *read,
                   mneme_record_fn emit, void *ctx, mneme_status *ret_status);
/* The header, and a reference to its settings (NULL = none). OK or NOT_FOUND. */
bool sq_tails_header(sq_tails *tails, const mneme_call *call, mneme_bytes ns,
                     mneme_bytes session, mneme_header *ret_header, sq_settings **ret_settings,
                     mneme_status *ret_status);
/* A reader has seen this version in the database: what is older is not to be shown
 * any more, although the writer has not come to it yet. */
void sq_tails_saw(sq_tails *tails, mneme_bytes ns, mneme_bytes session, int64_t version);
/* A reader has seen that there is no such session, or no more this incarnation of it
 * (NULL = any). */
void sq_tails_gone(sq_tails *tails, mneme_bytes ns, mneme_bytes session, const mneme_uid *uid);

#endif
