/* ListMemories with session_prefix: one page of all sessions that begin alike, by
 * (update_time descending, session, sequence). No engine keeps that order, so each
 * page looks at everything that may be on it:
 *
 *   walk ─▶ read, no bodies ─▶ behind the token? matches? ─▶ heap of the best
 *                                                                 │ offset + page + 1
 *   answer ◀── sort ◀── bodies, run by run ◀──────────────────────┘
 *
 * The heap holds places, not records: what a place takes is small and the same for
 * all, and only what is on the page is read with its body. A memory that has
 * changed between the two reads is shown as it is then; one that no longer matches,
 * or has gone, is left out. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "record/record.h"
#include "rpc/filtered.h"
#include "rpc/list_memories.h"
#include "rpc/walk.h"

#define RECORDS_MAX 100000  /* that a page looks at; then LIST_TOO_LARGE */
#define SESSIONS_MAX 100000 /* likewise */
#define PAGE_OVERHEAD 8192  /* of a reply beside its memories */

/* A session with something in the heap. */
typedef struct origin {
  mneme_bytes name;
  mneme_uid uid;
  registry_backend *backend;
} origin;

/* A memory's place in the order. */
typedef struct place {
  int64_t update_us;
  int64_t sequence;
  int64_t token_count;
  const origin *origin;
} place;

typedef struct shown {
  place place;
  void *item;
} shown;

typedef struct many {
  op *op;
  const wire_list *request;
  uint8_t arguments[16];
  page_position from;
  bool has_token;
  const mneme_filter *filter;
  filtered divided; /* for the backend at work */
  const registry_backend *divided_for;
  walk walk;
  /* Gathering places. */
  origin from_origin; /* of the token */
  int64_t records;
  const walk_session *session; /* that is being read */
  const origin *origin;        /* of it, when there is one already */
  mneme_read read;
  place *heap; /* the worst on top */
  size_t heap_count;
  size_t want;
  /* Reading the page. */
  loop loop;
  mneme_status failed;
  size_t next; /* place to be read */
  size_t run;  /* so many from there by one read */
  bool over;   /* the page is full */
  bool more;
  int64_t tokens_left;
  wire_memories memories;
  shown *shown;
} many;

/* --- Order ---------------------------------------------------------------- */

static int compare(const place *a, const place *b) {
  if (a->update_us != b->update_us)
    return a->update_us > b->update_us ? -1 : 1;
  mneme_bytes x = a->origin->name, y = b->origin->name;
  int order = bytes_compare(x.data, x.size, y.data, y.size);
  return order != 0 ? order : (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

static int by_place(const void *a, const void *b) {
  return compare(a, b);
}

static void sift_down(many *m, size_t i) {
  place *h = m->heap;
  for (size_t child; (child = 2 * i + 1) < m->heap_count; i = child) {
    if (child + 1 < m->heap_count && compare(&h[child + 1], &h[child]) > 0)
      child++;
    if (compare(&h[child], &h[i]) <= 0)
      return;
    place held = h[i];
    h[i] = h[child];
    h[child] = held;
  }
}

static void push(many *m, const place *p) {
  place *h = m->heap;
  if (m->heap_count == m->want) {
    h[0] = *p;
    sift_down(m, 0);
    return;
  }
  size_t i = m->heap_count++;
  for (; i > 0 && compare(p, &h[(i - 1) / 2]) > 0; i = (i - 1) / 2)
    h[i] = h[(i - 1) / 2];
  h[i] = *p;
}

/* --- Gathering places ----------------------------------------------------- */

static bool fail_too_large(many *m) {
  op *o = m->op;
  const wire_list *q = m->request;
  return error_set(&o->error, o->arena, CODE_FAILED_PRECONDITION, "LIST_TOO_LARGE", NULL,
                   "a list of several sessions looks at no more than %d memories and as many "
                   "sessions, and session_prefix \"%.64s\" with filter \"%.128s\" has more: give a "
                   "longer prefix%s, or list session by session",
                   RECORDS_MAX, q->prefix.data, q->filter.size > 0 ? q->filter.data : "",
                   m->divided.pushed != NULL ? ", or a filter that matches less" : "");
}

static bool matches(many *m, const mneme_record *r, bool *ret_match) {
  *ret_match = list_matches(m->request, r);
  return !*ret_match || filter_match(m->divided.rest, r, ret_match) == MNEME_OK ||
         op_corrupt(m->op, r);
}

static bool keep_origin(many *m) {
  op *o = m->op;
  const walk_session *s = m->session;
  origin *made = arena_alloc(o->arena, sizeof *made);
  char *name = arena_copy(o->arena, s->name.data, s->name.size);
  if (made == NULL || name == NULL)
    return error_no_memory(&o->error);
  *made = (origin){mneme_bytes_of(name, s->name.size), s->uid, o->route.backend};
  m->origin = made;
  return true;
}

/* Nonzero = the read is over. */
static int consider(const mneme_record *r, void *ctx) {
  many *m = ctx;
  origin here = {.name = m->session->name};
  place p = {r->update_us, r->sequence, r->token_count, &here};
  place token = {m->from.number, m->from.to_skip, 0, &m->from_origin};
  bool match;
  if (++m->records > RECORDS_MAX)
    return !fail_too_large(m);
  if (m->has_token && compare(&p, &token) <= 0)
    return 0;
  if (m->heap_count == m->want && compare(&p, &m->heap[0]) >= 0)
    return 0;
  if (!matches(m, r, &match))
    return 1;
  if (!match)
    return 0;
  if (m->origin == NULL && !keep_origin(m))
    return 1;
  p.origin = m->origin;
  push(m, &p);
  return 0;
}

static void considered(mneme_status status, void *ctx) {
  many *m = ctx;
  if (m->op->error.code != CODE_OK)
    walk_refuse(&m->walk);
  else if (status != MNEME_OK && status != MNEME_CONFLICT) /* which has gone meanwhile */
    walk_fail(&m->walk, status);
  else
    walk_next(&m->walk);
}

static bool divide(many *m) {
  op *o = m->op;
  if (m->divided_for == o->route.backend)
    return true;
  m->divided_for = o->route.backend;
  return filtered_split(o, m->filter, &m->divided);
}

static void visit(walk *w, const walk_session *s) {
  many *m = w->state;
  op *o = m->op;
  registry_backend *b = o->route.backend;
  if (s->memory_count == 0) {
    walk_next(w);
    return;
  }
  /* Without a part of the filter that the engine decides, all of them come. */
  bool fits = divide(m) &&
              (m->divided.pushed != NULL || m->records + s->memory_count <= RECORDS_MAX ||
               fail_too_large(m));
  if (!fits) {
    walk_refuse(w);
    return;
  }
  m->session = s;
  m->origin = NULL;
  m->read = (mneme_read){.ns = w->ns,
                         .session = s->name,
                         .uid = &s->uid,
                         .select = MNEME_SELECT_SEQUENCES,
                         .last = INT64_MAX,
                         .projection = m->divided.rest != NULL ? MNEME_READ_BODY : 0,
                         .filter = m->divided.pushed};
  b->type->read(b->instance, &o->call, &m->read, consider, considered, m);
}

/* --- Reading the page ----------------------------------------------------- */

/* Neighbours in the order that are neighbours in one session too, up or down. */
static size_t run_at(const many *m, size_t first) {
  const place *p = &m->heap[first];
  size_t left = m->heap_count - first, count = 1;
  if (left < 2 || p[1].origin != p->origin)
    return 1;
  int64_t step = p[1].sequence - p->sequence;
  if (step != 1 && step != -1)
    return 1;
  while (count < left && p[count].origin == p->origin &&
         p[count].sequence == p->sequence + step * (int64_t)count)
    count++;
  return count;
}

static bool show(many *m, const mneme_record *r, const place *p) {
  op *o = m->op;
  mneme_record plain = *r;
  if (record_open(r, &plain.body) != MNEME_OK)
    return op_corrupt(o, r);
  switch (wire_memories_add(&m->memories, o->arena, &plain, WIRE_REPLY_MAX - PAGE_OVERHEAD)) {
  case WIRE_ADDED: break;
  case WIRE_FULL: m->over = m->more = true; return false;
  default: return error_no_memory(&o->error);
  }
  size_t last = m->memories.count - 1;
  m->shown[last] = (shown){.place = *p, .item = m->memories.items[last]};
  m->shown[last].place.update_us = r->update_us;
  return true;
}

/* The places of a run come in its order, but for those that have gone. */
static int take(const mneme_record *r, void *ctx) {
  many *m = ctx;
  const place *p = &m->heap[m->next];
  while (m->run > 0 && p->sequence != r->sequence) {
    m->next++;
    m->run--;
    p++;
  }
  bool match;
  if (m->run == 0 || !matches(m, r, &match))
    return 1;
  if ((int64_t)m->memories.count == m->request->page_size) {
    m->over = m->more = true;
    return 1;
  }
  if (match && m->request->max_tokens > 0 && r->token_count > m->tokens_left) {
    m->over = true; /* the last page */
    return 1;
  }
  if (match && !show(m, r, p))
    return 1;
  if (match)
    m->tokens_left -= r->token_count;
  m->next++;
  m->run--;
  return 0;
}

static void taken(mneme_status status, void *ctx) {
  many *m = ctx;
  m->failed = status == MNEME_CONFLICT ? MNEME_OK : status;
  if (status == MNEME_DOWN && m->request->allow_partial) {
    walk_note_down(&m->walk, m->op->route.backend);
    m->failed = MNEME_OK;
  }
  if (m->failed != MNEME_OK || m->op->error.code != CODE_OK || m->over) {
    loop_end(&m->loop);
    return;
  }
  m->next += m->run; /* what did not come has gone */
  loop_next(&m->loop);
}

static void read_run(void *ctx) {
  many *m = ctx;
  op *o = m->op;
  if (m->next == m->heap_count) {
    m->more = m->heap_count == m->want; /* the one too many has gone meanwhile */
    loop_end(&m->loop);
    return;
  }
  const place *p = &m->heap[m->next];
  registry_backend *b = o->route.backend = p->origin->backend;
  m->run = run_at(m, m->next);
  const place *last = p + m->run - 1;
  bool down = last->sequence < p->sequence;
  if (!divide(m) || !wire_memories_of(&m->memories, o->arena, p->origin->name)) {
    error_no_memory(&o->error);
    loop_end(&m->loop);
    return;
  }
  m->read = (mneme_read){.ns = m->walk.ns,
                         .session = p->origin->name,
                         .uid = &p->origin->uid,
                         .select = MNEME_SELECT_SEQUENCES,
                         .first = down ? last->sequence : p->sequence,
                         .last = down ? p->sequence : last->sequence,
                         .descending = down,
                         .projection = MNEME_READ_BODY,
                         .filter = m->divided.pushed};
  b->type->read(b->instance, &o->call, &m->read, take, taken, m);
}

/* --- Answering ------------------------------------------------------------ */

static int by_shown(const void *a, const void *b) {
  return compare(&((const shown *)a)->place, &((const shown *)b)->place);
}

/* The token is at the last place that was passed, as it stood in the order. */
static const char *next_token(many *m) {
  op *o = m->op;
  if (!m->more)
    return "";
  const place *p = &m->heap[m->next - 1];
  page_position at = {.kind = PAGE_MEMORIES_OF_MANY,
                      .number = p->update_us,
                      .to_skip = p->sequence,
                      .budget = m->tokens_left,
                      .name = p->origin->name};
  memcpy(at.arguments, m->arguments, sizeof at.arguments);
  return page_token_make(o->arena, &o->service->page_keys[0], &at);
}

static void answer(void *ctx) {
  many *m = ctx;
  op *o = m->op;
  mneme_status status = m->loop.stopped != MNEME_OK ? m->loop.stopped : m->failed;
  if (status == MNEME_DOWN) {
    const char *name = op_backend(o);
    error_backends_down(&o->error, o->arena, &name, 1);
  }
  if (o->error.code != CODE_OK || status != MNEME_OK) {
    op_fail_status(o, status != MNEME_OK ? status : MNEME_INTERNAL, false);
    return;
  }
  const char *token = next_token(m);
  qsort(m->shown, m->memories.count, sizeof *m->shown, by_shown);
  for (size_t i = 0; i < m->memories.count; i++)
    m->memories.items[i] = m->shown[i].item;
  op_finish(o, token == NULL ? NULL
                             : wire_list_reply(o->arena, &m->memories, token,
                                               walk_unavailable(&m->walk),
                                               walk_unavailable_count(&m->walk)));
}

static void gathered(walk *w) {
  many *m = w->state;
  if (w->more) {
    fail_too_large(m);
    op_fail(m->op);
    return;
  }
  qsort(m->heap, m->heap_count, sizeof *m->heap, by_place);
  m->next = (size_t)m->request->offset;
  if (m->next > m->heap_count)
    m->next = m->heap_count;
  m->loop = (loop){.op = m->op, .step = read_run, .end = answer, .ctx = m};
  loop_start(&m->loop);
}

/* --- Beginning ------------------------------------------------------------ */

static bool read_token(many *m) {
  op *o = m->op;
  const wire_list *q = m->request;
  fingerprint f = fingerprint_begin("ListMemories prefix");
  fingerprint_bytes(&f, q->scope.ns);
  fingerprint_bytes(&f, q->prefix);
  fingerprint_bytes(&f, q->filter);
  fingerprint_names(&f, q->roles, q->role_count);
  fingerprint_names(&f, q->kinds, q->kind_count);
  fingerprint_bytes(&f, q->key_prefix);
  fingerprint_number(&f, q->max_tokens);
  fingerprint_end(&f, m->arguments);
  m->tokens_left = q->max_tokens;
  m->has_token = q->page_token.size > 0;
  if (!m->has_token)
    return true;
  if (!page_token_read(o->arena, &o->service->page_keys[0], q->page_token,
                       PAGE_MEMORIES_OF_MANY, m->arguments, &m->from, &o->error))
    return false;
  m->from_origin.name = m->from.name;
  m->tokens_left = m->from.budget;
  return true;
}

static bool begin(many *m) {
  op *o = m->op;
  const wire_list *q = m->request;
  size_t max = (size_t)q->page_size;
  m->want = (size_t)q->offset + max + 1;
  m->heap = arena_alloc(o->arena, m->want * sizeof *m->heap);
  m->shown = arena_alloc(o->arena, max * sizeof *m->shown);
  if (m->heap == NULL || m->shown == NULL || !wire_memories_init(&m->memories, o->arena, max))
    return error_no_memory(&o->error);
  return read_token(m) && filter_parse(o->arena, q->filter, &filter_of_memories,
                                       o->call.now_us, &m->filter, &o->error);
}

void list_many(op *o, const wire_list *q) {
  many *m = arena_calloc(o->arena, 1, sizeof *m);
  if (m == NULL) {
    op_fail_no_memory(o);
    return;
  }
  m->op = o;
  m->request = q;
  if (!begin(m)) {
    op_fail(o);
    return;
  }
  m->walk = (walk){.op = o,
                   .ns = q->scope.ns,
                   .prefix = q->prefix,
                   .allow_partial = q->allow_partial,
                   .now_us = INT64_MAX, /* no session is too new to be listed */
                   .sessions_max = SESSIONS_MAX + 1,
                   .visit = visit,
                   .end = gathered,
                   .state = m};
  walk_start(&m->walk);
}
