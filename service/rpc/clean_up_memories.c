/* CleanUpMemories: a walk over sessions with a purge of each.
 *
 * The conditions are one filter tree: the request's filter and a leaf for each
 * other condition, so that an engine that decides filters decides all of it, and
 * any other has it decided here, with one meaning.
 *
 *   min_age           create_time <= now - min_age
 *   min_idle          last_access_time <= now - min_idle, or never accessed and
 *                     create_time <= now - min_idle
 *   importance < x    importance < x, or none and 0.5 < x
 *   always            create_time <= now; and unless the filter names pinned:
 *                     pinned = false, with keep_system role != "system"
 *
 * now is that of the first call. A token holds the session that the walk was at,
 * by its uid, and how far the purge had come in it. */
#include <string.h>

#include "rpc/methods.h"
#include "rpc/purge.h"
#include "rpc/walk.h"

#define SESSIONS_MAX 10000 /* that a call looks at */
#define PARTS_MAX 8
#define IMPORTANCE_UNSET 0.5 /* what it counts as */

typedef struct cleaning {
  op *op;
  wire_clean_up request;
  uint8_t arguments[16];
  page_position from;
  walk walk;
  purge purge;
  /* The tree, and the one for sessions whose policy keeps what the system said. */
  const mneme_filter *tree[2];
  filtered divided[2]; /* for the backend at work */
  const registry_backend *divided_for;
  int64_t safe; /* sequence up to which all that was found has been removed */
  mneme_bytes sessions[PURGE_IDS_MAX]; /* of the purge's ids */
  size_t session_count;
} cleaning;

/* --- The tree ------------------------------------------------------------- */

static mneme_filter *node(cleaning *c, mneme_filter_op kind, mneme_filter_field field) {
  mneme_filter *f = arena_calloc(c->op->arena, 1, sizeof *f);
  if (f != NULL) {
    f->op = kind;
    f->field = field;
  }
  return f;
}

static const mneme_filter *leaf(cleaning *c, mneme_filter_op kind, mneme_filter_field field,
                                mneme_filter_value value) {
  mneme_filter *f = node(c, kind, field);
  mneme_filter_value *copy = arena_calloc(c->op->arena, 1, sizeof *copy);
  if (f == NULL || copy == NULL)
    return NULL;
  *copy = value;
  f->values = copy;
  f->value_count = 1;
  return f;
}

/* NULL = no memory, of a child too. */
static const mneme_filter *join(cleaning *c, mneme_filter_op kind, const mneme_filter *one,
                                const mneme_filter *two) {
  mneme_filter *f = node(c, kind, 0);
  const mneme_filter **children = arena_calloc(c->op->arena, 2, sizeof *children);
  if (f == NULL || children == NULL || one == NULL || (two == NULL && kind != MNEME_FILTER_NOT))
    return NULL;
  children[0] = one;
  children[1] = two;
  f->children = children;
  f->child_count = two != NULL ? 2 : 1;
  return f;
}

static const mneme_filter *by_time(cleaning *c, mneme_filter_field field, int64_t until_us) {
  return leaf(c, MNEME_FILTER_LE, field,
              (mneme_filter_value){.type = MNEME_VALUE_TIME, .time_us = until_us});
}

static const mneme_filter *is_idle(cleaning *c, int64_t until_us) {
  const mneme_filter *never =
      join(c, MNEME_FILTER_NOT, node(c, MNEME_FILTER_PRESENT, MNEME_FIELD_ACCESS_TIME), NULL);
  return join(c, MNEME_FILTER_OR, by_time(c, MNEME_FIELD_ACCESS_TIME, until_us),
              join(c, MNEME_FILTER_AND, never, by_time(c, MNEME_FIELD_CREATE_TIME, until_us)));
}

static const mneme_filter *is_unimportant(cleaning *c, double below) {
  const mneme_filter *less =
      leaf(c, MNEME_FILTER_LT, MNEME_FIELD_IMPORTANCE,
           (mneme_filter_value){.type = MNEME_VALUE_NUMBER, .number = below});
  if (below <= IMPORTANCE_UNSET)
    return less;
  const mneme_filter *unset =
      join(c, MNEME_FILTER_NOT, node(c, MNEME_FILTER_PRESENT, MNEME_FIELD_IMPORTANCE), NULL);
  return join(c, MNEME_FILTER_OR, less, unset);
}

static const mneme_filter *is_of_system(cleaning *c) {
  return leaf(c, MNEME_FILTER_EQ, MNEME_FIELD_ROLE,
              (mneme_filter_value){.type = MNEME_VALUE_STRING, .text = {"system", 6}});
}

static const mneme_filter *is_loose(cleaning *c) {
  return leaf(c, MNEME_FILTER_EQ, MNEME_FIELD_PINNED,
              (mneme_filter_value){.type = MNEME_VALUE_BOOL, .boolean = false});
}

/* A tree is at most MNEME_FILTER_DEPTH_MAX deep. */
static bool names_pinned(const mneme_filter *f) {
  if (f == NULL)
    return false;
  for (size_t i = 0; i < f->child_count; i++)
    if (names_pinned(f->children[i]))
      return true;
  return f->child_count == 0 && f->field == MNEME_FIELD_PINNED;
}

typedef struct parts {
  const mneme_filter *items[PARTS_MAX];
  size_t count;
  bool failed; /* no memory */
} parts;

static void add(parts *p, const mneme_filter *f) {
  p->failed |= f == NULL;
  p->items[p->count++] = f;
}

static bool build(cleaning *c) {
  op *o = c->op;
  const wire_clean_up *q = &c->request;
  int64_t now_us = c->from.now_us;
  const mneme_filter *filter;
  parts p = {.count = 0};
  if (!filter_parse(o->arena, q->filter, &filter_of_memories, now_us, &filter, &o->error))
    return false;
  if (filter == NULL && q->min_age_us == 0 && q->min_idle_us == 0 && !q->has_importance)
    return error_invalid(&o->error, o->arena, "REQUIRED", "min_age",
                         "min_age: give at least one condition: min_age or max_age_days, min_idle, "
                         "max_importance or min_importance, or a filter");
  if (filter != NULL)
    add(&p, filter);
  add(&p, by_time(c, MNEME_FIELD_CREATE_TIME, now_us - q->min_age_us));
  if (q->min_idle_us > 0)
    add(&p, is_idle(c, now_us - q->min_idle_us));
  if (q->has_importance)
    add(&p, is_unimportant(c, q->importance));
  bool decides = names_pinned(filter);
  if (!decides)
    add(&p, is_loose(c));
  bool built = !p.failed && filter_all(o->arena, p.items, p.count, &c->tree[0]);
  if (!decides)
    add(&p, join(c, MNEME_FILTER_NOT, is_of_system(c), NULL));
  return (built && !p.failed && filter_all(o->arena, p.items, p.count, &c->tree[1])) ||
         error_no_memory(&o->error);
}

/* --- A session ------------------------------------------------------------ */

static void note_sessions(cleaning *c, mneme_bytes name) {
  op *o = c->op;
  if (c->session_count == c->purge.id_count)
    return;
  char *copy = arena_copy(o->arena, name.data, name.size);
  if (copy == NULL)
    error_no_memory(&o->error);
  while (c->session_count < c->purge.id_count)
    c->sessions[c->session_count++] = mneme_bytes_of(copy, name.size);
}

static bool has_budget(const purge *p) {
  return p->removals > 0 && p->examined > 0;
}

/* What a repeat may mend is the walk's to judge; what o->error says beside is that
 * of one call of the engine. */
static void fail(cleaning *c, mneme_status status) {
  op *o = c->op;
  switch (status) {
  case MNEME_DOWN:
  case MNEME_BUSY:
  case MNEME_TIMEOUT:
  case MNEME_UNCERTAIN: o->error = (error){0}; break;
  default: break;
  }
  if (o->error.code != CODE_OK)
    walk_refuse(&c->walk);
  else
    walk_fail(&c->walk, status);
}

static void purged(purge *p, mneme_status status) {
  cleaning *c = p->ctx;
  c->walk.progress = !p->dry_run && p->removed > 0;
  note_sessions(c, p->scope.session);
  if (status != MNEME_OK) {
    fail(c, status);
    return;
  }
  c->safe = p->after;
  if (c->op->error.code != CODE_OK) {
    walk_refuse(&c->walk);
  } else if (p->more) {
    walk_stop(&c->walk);
  } else {
    c->walk.enough = !has_budget(p);
    c->purge.uid = (mneme_uid){{0}};
    walk_next(&c->walk);
  }
}

static void piece_done(purge *p) {
  cleaning *c = p->ctx;
  if (p->count == 0) /* what is found and not removed yet comes again */
    c->safe = p->after;
  walk_again(&c->walk);
}

/* The filter's division is the backend's. */
static bool divide(cleaning *c) {
  op *o = c->op;
  if (c->divided_for == o->route.backend)
    return true;
  c->divided_for = o->route.backend;
  return filtered_split(o, c->tree[0], &c->divided[0]) &&
         filtered_split(o, c->tree[1], &c->divided[1]);
}

static void begin_purge(cleaning *c, const walk_session *s) {
  op *o = c->op;
  purge *p = &c->purge;
  bool resumes = memcmp(&c->from.uid, &s->uid, sizeof s->uid) == 0;
  o->route.rule = registry_route(o->service->registry, c->walk.ns, s->name).rule;
  p->scope = (wire_scope){.ns = c->walk.ns, .session = s->name, .expected_revision = -1};
  p->filter = c->divided[s->keep_system];
  p->opened = p->sought = p->guarded = p->full = p->more = false;
  p->count = 0;
  p->uid = s->uid;
  p->after = resumes ? c->from.number : 0;
  p->last = resumes ? c->from.last : s->last_sequence;
  c->safe = p->after;
}

static void visit(walk *w, const walk_session *s) {
  cleaning *c = w->state;
  if (s->memory_count == 0) {
    walk_next(w);
  } else if (!divide(c)) {
    walk_refuse(w);
  } else {
    if (memcmp(&c->purge.uid, &s->uid, sizeof s->uid) != 0) /* not the one under way */
      begin_purge(c, s);
    purge_step(&c->purge);
  }
}

/* --- Beginning and answering ---------------------------------------------- */

static void answer(walk *w) {
  cleaning *c = w->state;
  op *o = c->op;
  const purge *p = &c->purge;
  page_position at = {.kind = PAGE_CLEAN_UP,
                      .uid = p->uid, /* of the one under way; zero between two */
                      .number = c->safe,
                      .last = p->last,
                      .name = w->after,
                      .now_us = w->now_us,
                      .down = w->down,
                      .backend = w->backend};
  memcpy(at.arguments, c->arguments, sizeof at.arguments);
  const char *token =
      w->more ? page_token_make(o->arena, &o->service->page_keys[0], &at) : "";
  wire_removed removed = {.count = p->removed,
                          .sessions = c->sessions,
                          .ids = p->ids,
                          .listed = c->session_count,
                          .resume_token = token,
                          .unavailable = walk_unavailable(w),
                          .unavailable_count = walk_unavailable_count(w)};
  op_finish(o, token != NULL ? wire_clean_up_reply(o->arena, &removed) : NULL);
}

static bool read_token(cleaning *c) {
  op *o = c->op;
  const wire_clean_up *q = &c->request;
  int64_t importance;
  memcpy(&importance, &q->importance, sizeof importance);
  fingerprint f = fingerprint_begin("CleanUpMemories");
  fingerprint_bytes(&f, q->ns);
  fingerprint_bytes(&f, q->session);
  fingerprint_bytes(&f, q->prefix);
  fingerprint_number(&f, q->min_age_us);
  fingerprint_number(&f, q->min_idle_us);
  fingerprint_number(&f, importance);
  fingerprint_bytes(&f, q->filter);
  fingerprint_number(&f, q->has_importance | q->dry_run << 1 | q->allow_partial << 2);
  walk_fingerprint(o, &f);
  fingerprint_end(&f, c->arguments);
  c->from.now_us = o->call.now_us;
  return q->resume_token.size == 0 ||
         page_token_read(o->arena, &o->service->page_keys[0], q->resume_token, PAGE_CLEAN_UP,
                         c->arguments, &c->from, &o->error);
}

void rpc_clean_up_memories(op *o, const uint8_t *data, size_t size) {
  cleaning *c = arena_calloc(o->arena, 1, sizeof *c);
  if (c == NULL || !wire_read_clean_up(data, size, o->arena, &c->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  const wire_clean_up *q = &c->request;
  c->op = o;
  if (!read_token(c) || !build(c)) {
    op_fail(o);
    return;
  }
  c->purge = (purge){.op = o,
                     .dry_run = q->dry_run,
                     .next = piece_done,
                     .done = purged,
                     .ctx = c,
                     .removals = PURGE_CALL_MAX,
                     .examined = PURGE_EXAMINED_MAX};
  c->walk = (walk){.op = o,
                   .ns = q->ns,
                   .prefix = q->prefix,
                   .only = q->session,
                   .allow_partial = q->allow_partial,
                   .changes = !q->dry_run,
                   .now_us = c->from.now_us,
                   .sessions_max = SESSIONS_MAX,
                   .visit = visit,
                   .end = answer,
                   .state = c,
                   .backend = c->from.backend,
                   .down = c->from.down,
                   .after = c->from.name};
  walk_start(&c->walk);
}
