/* What the files of the reading side share: a reader's snapshot. */
#ifndef SQLITE_READS_H
#define SQLITE_READS_H

#include "sqlite.h"

/* One read under way. */
typedef struct sq_reader {
  mneme_backend *store;
  sq_conn *conn;
  const mneme_call *call;
  sq_arena arena;
  int64_t looked; /* rows, of the whole operation */
} sq_reader;

/* Takes a connection and begins a snapshot. On failure there is nothing to end. */
mneme_status sq_reader_begin(sq_reader *r, mneme_backend *store, const mneme_call *call);
/* Ends both, before done is called: it may call the backend. Returns status, or what
 * was worse. */
mneme_status sq_reader_end(sq_reader *r, mneme_status status);
/* Goes on in a new snapshot; with yields on any connection, so statements of one's own
 * must be finalized before. */
mneme_status sq_reader_renew(sq_reader *r, bool yields);
/* To be asked for each row: TIMEOUT when nobody waits any more. */
mneme_status sq_reader_look(sq_reader *r);

/* The session, live or lapsed: OK, or NOT_FOUND. */
mneme_status sq_reader_find(sq_reader *r, mneme_bytes ns, mneme_bytes session,
                            sq_state *ret_state);
/* Emits its header as it is at the call's now. */
mneme_status sq_reader_emit(sq_reader *r, const sq_state *s, mneme_bytes ns, mneme_bytes session,
                            bool deleted, mneme_header_fn emit, void *ctx, bool *ret_enough);

/* The first string beyond all that begin with prefix, in `out` (as large as the
 * prefix); false when there is none. */
bool sq_end_of_prefix(mneme_bytes prefix, char *out, mneme_bytes *ret_end);

#endif
