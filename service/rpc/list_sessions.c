/* ListSessions: one page over all backends. Each gives its first sessions behind
 * the page's start, in order; the page is the merge of those lists.
 *
 *   backend a   s1  s4  s7 ...  ┐
 *   backend b   s2  s3  s9 ...  ┴─▶ s1 s2 s3 s4 | page full: token at s4
 *
 * Filtering, by labels and by a filter, is done here, so a backend is asked for
 * more than a page then, and a page may be short. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "filter/filter.h"
#include "rpc/fingerprint.h"
#include "rpc/methods.h"
#include "rpc/spread.h"

#define SETTINGS_MEMORY_MAX (16 * 1024 * 1024) /* to look at one session's labels */
#define PAGE_BYTES_MAX (4 * 1024 * 1024)       /* of settings from one backend */
#define FILTERED_EXAMINED_MAX 1000 /* per backend and page, with labels or a filter */
#define REPLY_BYTES_MAX (WIRE_REPLY_MAX - 512 * 1024) /* room for one more session */

typedef struct found {
  mneme_header header; /* copied into the arena */
  registry_backend *backend;
  bool match;
} found;

typedef struct list {
  op *op;
  spread spread;
  wire_list_sessions request;
  const mneme_filter *filter;
  uint8_t arguments[16];
  page_position from;
  mneme_session_list ask;
  int64_t given;  /* by the backend being asked */
  size_t bytes;   /* of settings, that it has given */
  bool full;      /* and more than a page can hold */
  found *found;
  size_t count;
  bool cut[REGISTRY_BACKENDS_MAX]; /* it has, perhaps, more than it gave */
} list;

/* Headers that one backend gives for a page. */
static int64_t per_backend(const list *l) {
  return l->request.label_count > 0 || l->filter != NULL ? FILTERED_EXAMINED_MAX
                                                         : l->request.page_size + 1;
}

/* --- Gathering ----------------------------------------------------------- */

static bool has_all(const wire_list_sessions *q, const wire_settings *settings) {
  for (size_t i = 0; i < q->label_count; i++) {
    bool has = false;
    for (size_t j = 0; j < settings->label_count && !has; j++)
      has = strcmp(q->labels[i].key.data, settings->labels[j].key.data) == 0 &&
            strcmp(q->labels[i].value.data, settings->labels[j].value.data) == 0;
    if (!has)
      return false;
  }
  return true;
}

/* In memory of its own: a thousand sessions' metadata need not stay. */
static bool matches(const list *l, const mneme_header *h) {
  wire_settings settings;
  arena scratch;
  if (l->request.label_count == 0 && l->filter == NULL)
    return true;
  arena_init(&scratch, SETTINGS_MEMORY_MAX);
  bool read = wire_read_settings(h->settings, &scratch, &settings);
  bool match = read && has_all(&l->request, &settings) &&
               filter_match_session(l->filter, h, &settings);
  arena_clear(&scratch);
  if (!read)
    op_corrupt_settings(l->op, h);
  return match;
}

static int take(const mneme_header *h, void *ctx) {
  list *l = ctx;
  arena *a = l->op->arena;
  found *f = &l->found[l->count];
  f->header = *h;
  f->backend = l->op->route.backend;
  f->match = matches(l, h);
  if (l->op->error.code != CODE_OK)
    return 1;
  if (!f->match)
    f->header.settings = mneme_bytes_of(NULL, 0); /* its name alone is needed: it may end the page */
  mneme_bytes *strings[] = {&f->header.ns, &f->header.session, &f->header.settings};
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
    strings[i]->data = arena_copy(a, strings[i]->data, strings[i]->size);
    if (strings[i]->data == NULL) {
      error_no_memory(&l->op->error);
      return 1;
    }
  }
  l->count++;
  l->given++;
  l->bytes += f->header.settings.size;
  l->full = l->bytes > PAGE_BYTES_MAX;
  return l->full;
}

/* --- Merging and answering ------------------------------------------------ */

static int by_id(const void *a, const void *b) {
  mneme_bytes x = ((const found *)a)->header.session, y = ((const found *)b)->header.session;
  return bytes_compare(x.data, x.size, y.data, y.size);
}

static int by_update(const void *a, const void *b) {
  int64_t x = ((const found *)a)->header.update_us, y = ((const found *)b)->header.update_us;
  return x != y ? (x < y) - (x > y) : by_id(a, b);
}

static const char *token_at(list *l, const mneme_header *last) {
  op *o = l->op;
  page_position p = {.kind = PAGE_SESSIONS, .number = last->update_us, .name = last->session};
  memcpy(p.arguments, l->arguments, sizeof p.arguments);
  return page_token_make(o->arena, &o->service->page_keys[0], &p);
}

/* How many of the merged list can be used: a backend that was cut may have more
 * right behind its last one, so nothing behind that one is sure to be next. */
static size_t usable(const list *l) {
  size_t end = l->count, last[REGISTRY_BACKENDS_MAX] = {0};
  for (size_t i = 0; i < l->count; i++)
    last[l->found[i].backend->index] = i + 1;
  for (size_t b = 0; b < REGISTRY_BACKENDS_MAX; b++)
    if (l->cut[b] && last[b] < end)
      end = last[b];
  return end;
}

static void answer(spread *s) {
  list *l = s->state;
  op *o = l->op;
  size_t max = (size_t)l->request.page_size, taken = 0, bytes = 0, i = 0;
  wire_session_list *out = wire_session_list_new(o->arena, max);
  if (out == NULL) {
    op_fail_no_memory(o);
    return;
  }
  qsort(l->found, l->count, sizeof *l->found,
        l->request.order == MNEME_SESSIONS_BY_UPDATE ? by_update : by_id);
  size_t end = usable(l);
  for (; i < end && taken < max && bytes < REPLY_BYTES_MAX; i++) {
    const found *f = &l->found[i];
    if (!f->match)
      continue;
    registry_routed routed =
        registry_route(o->service->registry, f->header.ns, f->header.session);
    size_t size = wire_session_list_add(out, o->arena, &f->header, f->backend->name, routed.rule,
                                        &o->error);
    if (size == 0) {
      op_fail(o);
      return;
    }
    bytes += size;
    taken++;
  }
  bool more = i < l->count;
  for (size_t b = 0; b < REGISTRY_BACKENDS_MAX; b++)
    more |= l->cut[b];
  const char *token = more && i > 0 ? token_at(l, &l->found[i - 1].header) : "";
  if (token == NULL)
    op_fail_no_memory(o);
  else
    op_finish(o, wire_list_sessions_reply(out, o->arena, token, s->down, s->down_count));
}

/* --- Asking one backend after the other ---------------------------------- */

static void backend_done(mneme_status status, void *ctx) {
  list *l = ctx;
  op *o = l->op;
  if (o->error.code != CODE_OK) {
    op_fail(o);
    return;
  }
  l->cut[l->spread.at] = status == MNEME_OK && (l->given == l->ask.limit || l->full);
  spread_next(&l->spread, status);
}

static void ask_backend(spread *s) {
  list *l = s->state;
  op *o = l->op;
  registry_backend *b = o->route.backend;
  l->given = 0;
  l->bytes = 0;
  l->full = false;
  b->type->session_list(b->instance, &o->call, &l->ask, take, backend_done, l);
}

static bool begin(list *l) {
  op *o = l->op;
  const wire_list_sessions *q = &l->request;
  fingerprint f = fingerprint_begin("ListSessions");
  fingerprint_bytes(&f, q->ns);
  fingerprint_bytes(&f, q->prefix);
  fingerprint_number(&f, q->order);
  for (size_t i = 0; i < q->label_count; i++) {
    fingerprint_bytes(&f, q->labels[i].key);
    fingerprint_bytes(&f, q->labels[i].value);
  }
  fingerprint_bytes(&f, q->filter);
  fingerprint_end(&f, l->arguments);
  if (q->page_token.size > 0 &&
      !page_token_read(o->arena, &o->service->page_keys[0], q->page_token, PAGE_SESSIONS,
                       l->arguments, &l->from, &o->error))
    return false;
  l->ask = (mneme_session_list){.ns = q->ns,
                                .prefix = q->prefix,
                                .order = q->order,
                                .after_session = l->from.name,
                                .after_update_us = l->from.number,
                                .limit = per_backend(l)};
  l->found = arena_alloc(o->arena, registry_count(o->service->registry) *
                                       (size_t)l->ask.limit * sizeof *l->found);
  return l->found != NULL || error_no_memory(&o->error);
}

void rpc_list_sessions(op *o, const uint8_t *data, size_t size) {
  list *l = arena_calloc(o->arena, 1, sizeof *l);
  if (l == NULL || !wire_read_list_sessions(data, size, o->arena, &l->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  l->op = o;
  if (!filter_parse(o->arena, l->request.filter, &filter_of_sessions, o->call.now_us, &l->filter,
                    &o->error) ||
      !begin(l)) {
    op_fail(o);
    return;
  }
  l->spread = (spread){.op = o,
                       .allow_partial = l->request.allow_partial,
                       .ask = ask_backend,
                       .end = answer,
                       .state = l};
  spread_start(&l->spread);
}
