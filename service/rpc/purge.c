/* A piece is one call of the engine: the header, a read, or a commit. A read goes
 * over a window of sequences and ends when a commit is full; so the two budgets
 * bound what one request does, also where nearly nothing matches.
 *
 * A session that has evicted millions has its first memory behind as many holes:
 * before the first window, and behind each in which nothing was found, the next
 * memory there is, is looked for, so that holes cost neither budget nor reads. */
#include "rpc/purge.h"

#include <string.h>

#define WINDOW (PURGE_EXAMINED_MAX / 10) /* sequences of one read */

static const mneme_uid no_uid;

/* --- The session --------------------------------------------------------- */

static void keep_header(purge *p, const mneme_header *h) {
  static const mneme_bytes none;
  p->header = *h;
  p->header.ns = p->header.session = p->header.settings = none;
}

static void session_read(mneme_status status, const mneme_header *h, void *ctx) {
  purge *p = ctx;
  op *o = p->op;
  int64_t expected = p->scope.expected_revision;
  if (status != MNEME_OK && status != MNEME_NOT_FOUND) {
    p->done(p, status);
    return;
  }
  if (status == MNEME_OK)
    keep_header(p, h);
  if (expected >= 0 && expected != p->header.revision) {
    commit_mismatch(o, p->header.revision, "session");
    p->done(p, MNEME_CONFLICT);
    return;
  }
  bool resumes = memcmp(&p->uid, &no_uid, sizeof no_uid) != 0;
  if (status == MNEME_NOT_FOUND || (resumes && memcmp(&p->uid, &h->uid, sizeof p->uid) != 0)) {
    p->done(p, MNEME_OK); /* with its memories */
    return;
  }
  if (!resumes) {
    p->uid = h->uid;
    p->after = 0;
    p->last = h->last_sequence;
  }
  p->opened = true;
  p->next(p);
}

/* --- Reading ------------------------------------------------------------- */

static bool is_spent(const purge *p) {
  return !p->dry_run && (p->removals <= 0 || p->examined <= 0);
}

static bool note_id(purge *p, mneme_bytes id) {
  op *o = p->op;
  if (p->id_count == PURGE_IDS_MAX)
    return true;
  if (p->ids == NULL)
    p->ids = arena_calloc(o->arena, PURGE_IDS_MAX, sizeof *p->ids);
  char *copy = arena_copy(o->arena, id.data, id.size);
  if (p->ids == NULL || copy == NULL)
    return error_no_memory(&o->error);
  p->ids[p->id_count++] = mneme_bytes_of(copy, id.size);
  return true;
}

/* Nonzero = the read is over. */
static int judge(const mneme_record *r, void *ctx) {
  purge *p = ctx;
  bool match;
  if (filter_match(p->filter.rest, r, &match) != MNEME_OK)
    return !op_corrupt(p->op, r);
  if (!match)
    return 0;
  if (p->dry_run) {
    p->removed++;
    return !note_id(p, r->id);
  }
  p->sequences[p->count] = r->sequence;
  p->revisions[p->count] = r->revision;
  p->count++;
  p->full = p->count == PURGE_COMMIT_MAX || (int64_t)p->count == p->removals;
  return p->full;
}

/* --- Over the holes ------------------------------------------------------ */

static int found(const mneme_record *r, void *ctx) {
  purge *p = ctx;
  p->after = r->sequence - 1;
  p->sought = true;
  return 1;
}

static void go_on(purge *p);

static void seek_done(mneme_status status, void *ctx) {
  purge *p = ctx;
  if (status != MNEME_OK && status != MNEME_CONFLICT) {
    p->done(p, status);
    return;
  }
  if (!p->sought) /* there is none, or the session has gone */
    p->after = p->last;
  if (status == MNEME_CONFLICT)
    p->header = (mneme_header){0};
  go_on(p);
}

static void begin_seek(purge *p) {
  registry_backend *b = p->op->route.backend;
  p->read = (mneme_read){.ns = p->scope.ns,
                         .session = p->scope.session,
                         .uid = &p->uid,
                         .select = MNEME_SELECT_SEQUENCES,
                         .first = p->after + 1,
                         .last = p->last,
                         .limit = 1};
  b->type->read(b->instance, &p->op->call, &p->read, found, seek_done, p);
}

/* --- A window ------------------------------------------------------------ */

static void pass_window(purge *p) {
  int64_t reached = p->full ? p->sequences[p->count - 1] : p->read.last;
  p->examined -= reached - p->after;
  p->after = reached;
}

/* After a window, or the commit of what was in it. */
static void go_on(purge *p) {
  if (p->after >= p->last) {
    p->done(p, MNEME_OK);
  } else if (is_spent(p)) {
    p->more = true;
    p->done(p, MNEME_OK);
  } else {
    p->next(p);
  }
}

static void read_done(mneme_status status, void *ctx) {
  purge *p = ctx;
  if (p->op->error.code != CODE_OK) {
    p->done(p, MNEME_CORRUPT);
  } else if (status == MNEME_CONFLICT) {
    p->header = (mneme_header){0}; /* the session has gone, with its memories */
    p->done(p, MNEME_OK);
  } else if (status != MNEME_OK) {
    p->done(p, status);
  } else {
    pass_window(p);
    p->sought = p->count > 0;
    if (p->count > 0)
      p->next(p);
    else
      go_on(p);
  }
}

static void begin_read(purge *p) {
  registry_backend *b = p->op->route.backend;
  int64_t window = p->dry_run || p->examined > WINDOW ? WINDOW : p->examined;
  p->count = 0;
  p->full = false;
  p->read = (mneme_read){.ns = p->scope.ns,
                         .session = p->scope.session,
                         .uid = &p->uid,
                         .select = MNEME_SELECT_SEQUENCES,
                         .first = p->after + 1,
                         .last = p->last - p->after > window ? p->after + window : p->last,
                         .filter = p->filter.pushed,
                         .projection = p->filter.rest != NULL ? MNEME_READ_BODY : 0};
  b->type->read(b->instance, &p->op->call, &p->read, judge, read_done, p);
}

/* --- Removing ------------------------------------------------------------ */

static void committed(commit *c, mneme_status status, const mneme_written *w) {
  purge *p = (purge *)c->request;
  if (status != MNEME_OK) {
    p->done(p, status);
    return;
  }
  p->removed += w->removed_count;
  p->removals -= (int64_t)p->count;
  p->count = 0;
  keep_header(p, &w->header);
  go_on(p);
}

/* The session has gone, with its memories. */
static bool refused(commit *c, mneme_status status, const mneme_written *w) {
  purge *p = (purge *)c->request;
  if (status != MNEME_CONFLICT || memcmp(&w->header.uid, &p->uid, sizeof p->uid) == 0)
    return false;
  keep_header(p, &w->header);
  p->done(p, MNEME_OK);
  return true;
}

static void begin_commit(purge *p) {
  fingerprint none = {0, 0};
  wire_scope scope = p->scope;
  scope.request_id = mneme_bytes_of(NULL, 0);
  if (p->guarded)
    scope.expected_revision = -1; /* the commits before have raised it */
  p->guarded = true;
  commit *c = commit_part(p->op, &scope, &none);
  if (c == NULL) {
    error_no_memory(&p->op->error);
    p->done(p, MNEME_NO_MEMORY);
    return;
  }
  c->request = p;
  c->ended = committed;
  c->refused = refused;
  c->write.uid = &p->uid;
  mneme_step *step = commit_step(c, MNEME_STEP_REMOVE_SEQUENCES);
  step->sequences = p->sequences;
  step->revisions = p->revisions;
  step->sequence_count = p->count;
  commit_start(c);
}

/* ------------------------------------------------------------------------- */

static bool has_room(purge *p) {
  op *o = p->op;
  if (p->sequences != NULL || p->dry_run)
    return true;
  p->sequences = arena_calloc(o->arena, PURGE_COMMIT_MAX, sizeof *p->sequences);
  p->revisions = arena_calloc(o->arena, PURGE_COMMIT_MAX, sizeof *p->revisions);
  return (p->sequences != NULL && p->revisions != NULL) || error_no_memory(&o->error);
}

void purge_step(purge *p) {
  op *o = p->op;
  registry_backend *b = o->route.backend;
  if (!p->opened)
    b->type->session_get(b->instance, &o->call, p->scope.ns, p->scope.session, session_read, p);
  else if (!has_room(p))
    p->done(p, MNEME_NO_MEMORY);
  else if (p->count > 0)
    begin_commit(p);
  else if (!p->sought)
    begin_seek(p);
  else
    begin_read(p);
}
