/* DeleteSessions: a walk that drops what matches, one commit for each session.
 *
 * What was judged is what goes: the commit names the uid and the settings that
 * were looked at, and with a filter the revision too, since the filter may ask for
 * the time of the last change. When one of them is another by then, the session is
 * judged anew by the header that the refusal brings:
 *
 *   visit ─▶ DROP ─┬─ OK ───────────────────────────────▶ counted, next
 *             ▲    ├─ another uid: made after the start ─▶ next
 *             │    └─ STALE_PLAN, CONFLICT ─▶ matches still? ─ no ▶ next
 *             └────────────────── yes ────────────┘ */
#include <string.h>

#include "filter/filter.h"
#include "rpc/fingerprint.h"
#include "rpc/methods.h"
#include "rpc/walk.h"

#define DELETED_MAX 1000    /* sessions of a call */
#define EXAMINED_MAX 10000  /* that a call looks at */
#define MEMORIES_MAX 100000 /* that go with them; then no session more is begun */
#define DRY_RUN_IDS_MAX 100
#define ATTEMPTS_MAX 16 /* then ABORTED CONTENTION */
#define SETTINGS_MEMORY_MAX (16 * 1024 * 1024) /* to look at one session's settings */

typedef struct removal {
  op *op;
  wire_delete_sessions request;
  const mneme_filter *filter;
  uint8_t arguments[16];
  page_position from;
  walk walk;
  int64_t deleted;
  int64_t memories; /* that went with them */
  mneme_bytes ids[DRY_RUN_IDS_MAX];
  size_t listed;
  /* The session that is being dropped. */
  mneme_write write;
  mneme_step step;
  mneme_uid uid;
  int attempts;
} removal;

/* --- Judging -------------------------------------------------------------- */

static bool wants(walk *w, const mneme_header *h) {
  removal *r = w->state;
  op *o = r->op;
  wire_settings settings;
  arena scratch;
  if (r->filter == NULL)
    return true;
  arena_init(&scratch, SETTINGS_MEMORY_MAX);
  bool read = wire_read_settings(h->settings, &scratch, &settings);
  bool match = read && filter_match_session(r->filter, h, &settings);
  arena_clear(&scratch);
  if (!read)
    op_corrupt_settings(o, h);
  return match;
}

/* --- Dropping ------------------------------------------------------------- */

static void drop(removal *r);

static void counted(removal *r, int64_t memories) {
  r->deleted++;
  r->memories += memories;
  r->walk.enough = r->deleted == DELETED_MAX || r->memories >= MEMORIES_MAX;
}

static void name(removal *r, const mneme_header *h) {
  r->write.plan.settings_revision = h->settings_revision;
  r->write.expected_revision = r->filter != NULL ? h->revision : -1;
}

/* It is no longer what was judged. */
static void judge_again(removal *r, mneme_status status, const mneme_header *h) {
  op *o = r->op;
  bool other = memcmp(&h->uid, &r->uid, sizeof r->uid) != 0;
  if (other || !wants(&r->walk, h)) {
    if (o->error.code != CODE_OK)
      walk_refuse(&r->walk);
    else
      walk_next(&r->walk);
  } else if (r->attempts == ATTEMPTS_MAX) {
    walk_fail(&r->walk, status == MNEME_CONFLICT ? MNEME_STALE_PLAN : status);
  } else {
    name(r, h);
    drop(r);
  }
}

static void dropped(mneme_status status, const mneme_written *w, void *ctx) {
  removal *r = ctx;
  if (status == MNEME_OK) {
    r->walk.progress = true;
    if (w->existed)
      counted(r, w->removed_count);
    walk_next(&r->walk);
  } else if (status == MNEME_STALE_PLAN || status == MNEME_CONFLICT) {
    judge_again(r, status, &w->header);
  } else {
    walk_fail(&r->walk, status);
  }
}

/* Nests no deeper than ATTEMPTS_MAX. */
static void drop(removal *r) {
  op *o = r->op;
  registry_backend *b = o->route.backend;
  r->attempts++;
  b->type->commit(b->instance, &o->call, &r->write, dropped, r);
}

static void list_one(removal *r, const walk_session *s) {
  if (r->listed == DRY_RUN_IDS_MAX)
    return;
  char *copy = arena_copy(r->op->arena, s->name.data, s->name.size);
  if (copy == NULL)
    error_no_memory(&r->op->error);
  else
    r->ids[r->listed++] = mneme_bytes_of(copy, s->name.size);
}

static void visit(walk *w, const walk_session *s) {
  removal *r = w->state;
  if (r->request.dry_run) {
    r->deleted++;
    list_one(r, s);
    if (r->op->error.code != CODE_OK)
      walk_refuse(w);
    else
      walk_next(w);
    return;
  }
  r->uid = s->uid;
  r->attempts = 0;
  r->step = (mneme_step){.op = MNEME_STEP_DROP};
  r->write = (mneme_write){.ns = w->ns,
                           .session = s->name,
                           .uid = &r->uid,
                           .expected_settings_revision = -1,
                           .steps = &r->step,
                           .step_count = 1};
  name(r, &(mneme_header){.revision = s->revision, .settings_revision = s->settings_revision});
  drop(r);
}

/* --- Beginning and answering ---------------------------------------------- */

static void answer(walk *w) {
  removal *r = w->state;
  op *o = r->op;
  page_position p = {.kind = PAGE_DELETE_SESSIONS,
                     .name = w->after,
                     .now_us = w->now_us,
                     .down = w->down,
                     .backend = w->backend};
  memcpy(p.arguments, r->arguments, sizeof p.arguments);
  const char *token =
      w->more ? page_token_make(o->arena, &o->service->page_keys[0], &p) : "";
  wire_removed removed = {.count = r->deleted,
                          .sessions = r->ids,
                          .listed = r->listed,
                          .resume_token = token,
                          .unavailable = walk_unavailable(w),
                          .unavailable_count = walk_unavailable_count(w)};
  op_finish(o, token != NULL ? wire_delete_sessions_reply(o->arena, &removed) : NULL);
}

static bool read_token(removal *r) {
  op *o = r->op;
  const wire_delete_sessions *q = &r->request;
  fingerprint f = fingerprint_begin("DeleteSessions");
  fingerprint_bytes(&f, q->ns);
  fingerprint_bytes(&f, q->prefix);
  fingerprint_bytes(&f, q->filter);
  fingerprint_number(&f, q->dry_run | q->allow_partial << 1);
  walk_fingerprint(o, &f);
  fingerprint_end(&f, r->arguments);
  r->from.now_us = o->call.now_us;
  return q->resume_token.size == 0 ||
         page_token_read(o->arena, &o->service->page_keys[0], q->resume_token,
                         PAGE_DELETE_SESSIONS, r->arguments, &r->from, &o->error);
}

static bool begin(removal *r) {
  op *o = r->op;
  const wire_delete_sessions *q = &r->request;
  if (!read_token(r) || !filter_parse(o->arena, q->filter, &filter_of_sessions, r->from.now_us,
                                      &r->filter, &o->error))
    return false;
  if (q->prefix.size == 0 && r->filter == NULL)
    return error_invalid(&o->error, o->arena, "REQUIRED", "prefix",
                         "prefix: give a prefix or a filter; the filter id:* matches every session "
                         "of the namespace");
  return true;
}

void rpc_delete_sessions(op *o, const uint8_t *data, size_t size) {
  removal *r = arena_calloc(o->arena, 1, sizeof *r);
  if (r == NULL || !wire_read_delete_sessions(data, size, o->arena, &r->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  r->op = o;
  if (!begin(r)) {
    op_fail(o);
    return;
  }
  r->walk = (walk){.op = o,
                   .ns = r->request.ns,
                   .prefix = r->request.prefix,
                   .allow_partial = r->request.allow_partial,
                   .changes = !r->request.dry_run,
                   .now_us = r->from.now_us,
                   .sessions_max = EXAMINED_MAX,
                   .wants = wants,
                   .visit = visit,
                   .end = answer,
                   .state = r,
                   .backend = r->from.backend,
                   .down = r->from.down,
                   .after = r->from.name};
  walk_start(&r->walk);
}
