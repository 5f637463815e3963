/* changes. A transaction that changes headers leaves its number and their slots in journal. The
 * numbers are given at the beginning and seen at the end, in whatever order transactions end, so
 * the highest one that is seen tells nothing. What tells is the snapshot's xmin: every transaction
 * below it has ended. A call goes from the old cursor's number to the end of journal; the next
 * cursor is the xmin of a snapshot that was taken before:
 *
 *     ended  ended  ended  running  ended   |  running
 *     101    102    103    104      105     |  106
 *     ^ old cursor         ^ xmin: the next cursor      105 is told now, and again with 104
 *
 * So a transaction that writes for long, anywhere in the cluster, makes calls tell the same
 * sessions again; nothing is missed.
 *
 * From the start ("since ever") the sessions themselves are listed, by slot; a session that
 * changes meanwhile is in journal, since the number was read before.
 *
 * Journal is trimmed (upkeep.sql). Each query looks at how far that has come in its own snapshot:
 * a cursor behind it is COMPACTED. So is one of another store, cluster or timeline, where the
 * numbers mean something else. */
#include "postgres.h"

#include <string.h>

#define CHUNK MNEME_SCAN_CHECK

typedef struct cursor {
  uint64_t origin; /* whose numbers these are */
  int64_t listing; /* nonzero: all sessions are being told, and it is told up to slot */
  int64_t slot;
  int64_t xid; /* below it all is told; when listing, that is where to go on then */
} cursor;

_Static_assert(sizeof(cursor) <= MNEME_CURSOR_MAX, "a cursor fits");

typedef enum phase { BEGINS, LISTS, FOLLOWS } phase;

typedef struct changes_job {
  pe_job job; /* first */
  mneme_bytes ns, from;
  mneme_header_fn emit;
  mneme_cursor_fn done;
  void *ctx;
  phase phase;
  uint64_t origin; /* of the connection that the query is on */
  cursor at;       /* told so far */
  int64_t end;     /* the xmin that was read in the beginning */
} changes_job;

static pe_query ask_changes(pe_job *job, const pe_link *link, pe_params *p) {
  changes_job *j = (changes_job *)job;
  j->origin = link->origin;
  if (j->phase == BEGINS) return (pe_query){.id = PE_CHANGES_BEGIN};
  pe_bytes(p, j->ns);
  pe_int(p, j->phase == LISTS ? j->at.slot : j->at.xid);
  pe_int(p, job->call->now_us);
  if (j->phase == FOLLOWS) return (pe_query){.id = PE_CHANGES_SINCE};
  pe_int(p, CHUNK);
  return (pe_query){.id = PE_CHANGES_ALL};
}

static mneme_status begin(changes_job *j, const PGresult *result) {
  pe_columns c = {.result = result};
  if (PQntuples(result) != 1) return MNEME_INTERNAL;
  j->end = pe_col_int(&c);
  int64_t newest = pe_col_int(&c);
  j->job.more = true;
  if (j->from.size == 0) {
    j->at = (cursor){.origin = j->origin, .listing = 1, .xid = j->end};
    j->phase = LISTS;
    return MNEME_OK;
  }
  if (j->from.size != sizeof j->at) return MNEME_COMPACTED;
  memcpy(&j->at, j->from.data, sizeof j->at);
  if (j->at.origin != j->origin || j->at.xid > newest || j->at.listing < 0 || j->at.listing > 1)
    return MNEME_COMPACTED;
  j->phase = j->at.listing != 0 ? LISTS : FOLLOWS;
  return MNEME_OK;
}

/* compacted, slot, session, whether it has lapsed, header. */
static mneme_status list_some(changes_job *j, const PGresult *result) {
  int rows = PQntuples(result);
  for (int i = 0; i < rows; i++) {
    pe_columns c = {.result = result, .row = i};
    if (pe_col_int(&c) >= j->at.xid) return MNEME_COMPACTED;
    j->at.slot = pe_col_int(&c);
    mneme_bytes session = pe_col_bytes(&c);
    bool lapsed = pe_col_bool(&c);
    mneme_header header;
    pe_col_header(&c, &header);
    header.ns = j->ns;
    header.session = session;
    header.deleted = lapsed;
    if (j->emit(&header, j->ctx) != 0) return MNEME_OK;
  }
  j->job.more = true;
  if (rows == CHUNK) return MNEME_OK;
  /* All are told as they were then, or later; now what has changed since. */
  j->at = (cursor){.origin = j->at.origin, .xid = j->at.xid};
  j->phase = FOLLOWS;
  return MNEME_OK;
}

/* compacted, the last number of this result; then for each change its number, whether it is an
 * end, session, whether it has lapsed, header. A change at the number of the one that was enough
 * may be told again. */
static mneme_status follow_some(changes_job *j, const PGresult *result) {
  int rows = PQntuples(result);
  pe_columns first = {.result = result};
  if (rows == 0) return MNEME_INTERNAL;
  if (pe_col_int(&first) >= j->at.xid) return MNEME_COMPACTED;
  bool over = pe_col_is_null(&first);
  int64_t last = pe_col_int(&first);
  bool none = pe_col_is_null(&first);
  for (int i = 0; i < rows && !none; i++) {
    pe_columns c = {.result = result, .row = i, .at = 2};
    int64_t xid = pe_col_int(&c);
    bool gone = pe_col_bool(&c);
    mneme_bytes session = pe_col_bytes(&c);
    bool lapsed = pe_col_bool(&c);
    mneme_header header;
    pe_col_header(&c, &header);
    header.ns = j->ns;
    header.session = session;
    header.deleted = gone || lapsed;
    j->at.xid = xid;
    if (j->emit(&header, j->ctx) == 0) continue;
    if (j->at.xid > j->end) j->at.xid = j->end;
    return MNEME_OK;
  }
  j->job.more = !over;
  j->at.xid = over ? j->end : last + 1;
  return MNEME_OK;
}

static mneme_status take_changes(pe_job *job, const PGresult *result) {
  changes_job *j = (changes_job *)job;
  if (j->phase == BEGINS) return begin(j, result);
  if (j->origin != j->at.origin) return MNEME_COMPACTED; /* another server, by now */
  return j->phase == LISTS ? list_some(j, result) : follow_some(j, result);
}

static void changes_done(pe_job *job, mneme_status status) {
  changes_job *j = (changes_job *)job;
  mneme_bytes next = mneme_bytes_of((const char *)&j->at, sizeof j->at);
  j->done(status, status == MNEME_OK ? next : (mneme_bytes){0}, j->ctx);
}

static const pe_kind changes_kind = {
    .ask = ask_changes, .take = take_changes, .done = changes_done, .heavy = true};

void pe_changes(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes from,
                mneme_header_fn emit, mneme_cursor_fn done, void *ctx) {
  changes_job *j = pe_job_new(store, sizeof *j, &changes_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, (mneme_bytes){0}, ctx);
    return;
  }
  j->ns = ns;
  j->from = from;
  j->emit = emit;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}
