/* ListMemories: one page of one session.
 *
 * The backend emits live memories from the page's start in the page's direction,
 * those that match as much of the filter as it decides; here they are filtered
 * (the rest of the filter, roles, kinds, key_prefix), the offset is skipped, and
 * what is left is gathered until something ends the page:
 *
 *   emit ─▶ examined? ─▶ match? ─▶ offset? ─▶ tokens? ─▶ page, bytes ─▶ gathered
 *               │ 10,000                        │ budget     │ full
 *               ▼                               ▼            ▼
 *           short page, token             last page      page, token
 *
 * NEWEST walks backwards and turns the page round at the end, so that each page
 * is in ascending order. The token holds the last position examined, so a page
 * that ended among non-matches does not examine them again. */
#include <string.h>

#include "base/bytes.h"
#include "record/record.h"
#include "rpc/filtered.h"
#include "rpc/fingerprint.h"
#include "rpc/list_memories.h"
#include "rpc/methods.h"
#include "rpc/touch.h"

#define EXAMINED_MAX 10000
#define PAGE_OVERHEAD 4096 /* of a reply beside its memories */

typedef struct list {
  op *op;
  wire_list request;
  filtered filter;
  uint8_t arguments[16];
  page_position from; /* of the token; budget: tokens left */
  bool has_token;
  mneme_uid uid;
  mneme_read read;
  wire_memories memories;
  int64_t *sequences;
  int64_t to_skip; /* of the offset */
  int64_t examined;
  int64_t tokens_left; /* with has_budget */
  bool has_budget;
  bool more; /* the page is full: there is a token */
  int64_t last_sequence; /* of the last record examined */
  size_t last_key_size;
  char last_key[MNEME_KEY_MAX];
} list;

/* --- Examining ----------------------------------------------------------- */

static bool is_one_of(mneme_bytes value, const mneme_bytes *of, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (bytes_equal(of[i].data, of[i].size, value.data, value.size))
      return true;
  return count == 0;
}

bool list_matches(const wire_list *q, const mneme_record *r) {
  return is_one_of(r->role, q->roles, q->role_count) &&
         is_one_of(r->kind, q->kinds, q->kind_count) &&
         bytes_begin(r->key.data, r->key.size, q->key_prefix.data, q->key_prefix.size);
}

/* The page goes on behind this record. */
static int pass(list *l, const mneme_record *r) {
  l->last_sequence = r->sequence;
  if (l->request.by_key && r->key.size <= MNEME_KEY_MAX) {
    memcpy(l->last_key, r->key.data, r->key.size);
    l->last_key_size = r->key.size;
  }
  return 0;
}

static bool gather(list *l, const mneme_record *r) {
  op *o = l->op;
  mneme_record plain = *r;
  if (record_open(r, &plain.body) != MNEME_OK)
    return op_corrupt(o, r);
  switch (wire_memories_add(&l->memories, o->arena, &plain, WIRE_REPLY_MAX - PAGE_OVERHEAD)) {
  case WIRE_ADDED: l->sequences[l->memories.count - 1] = r->sequence; return true;
  case WIRE_FULL: l->more = true; return false;
  case WIRE_NO_MEMORY: break;
  }
  return error_no_memory(&o->error);
}

/* Nonzero = the page is over. */
static int examine(const mneme_record *r, void *ctx) {
  list *l = ctx;
  const wire_list *q = &l->request;
  if (l->examined == EXAMINED_MAX) {
    l->more = true;
    return 1;
  }
  l->examined++;
  bool match = list_matches(q, r);
  if (match && filter_match(l->filter.rest, r, &match) != MNEME_OK)
    return !op_corrupt(l->op, r);
  if (!match)
    return pass(l, r);
  if (l->to_skip > 0) {
    l->to_skip--;
    return pass(l, r);
  }
  if ((int64_t)l->memories.count == q->page_size) {
    l->more = true;
    return 1;
  }
  if (l->has_budget && r->token_count > l->tokens_left)
    return 1; /* the last page */
  if (!gather(l, r))
    return 1;
  l->tokens_left -= l->has_budget ? r->token_count : 0;
  return pass(l, r);
}

/* --- Answering ----------------------------------------------------------- */

static const char *next_token(list *l) {
  op *o = l->op;
  if (!l->more)
    return "";
  page_position p = {.kind = PAGE_MEMORIES,
                     .uid = l->uid,
                     .number = l->last_sequence,
                     .budget = l->tokens_left,
                     .to_skip = l->to_skip,
                     .name = {l->last_key, l->last_key_size}};
  memcpy(p.arguments, l->arguments, sizeof p.arguments);
  return page_token_make(o->arena, &o->service->page_keys[o->route.backend->index], &p);
}

static void answer(list *l) {
  op *o = l->op;
  const char *token = next_token(l);
  if (token == NULL) {
    op_fail_no_memory(o);
    return;
  }
  if (!l->request.oldest_first)
    wire_memories_reverse(&l->memories);
  touch t = {.kind = l->request.touch,
             .uid = &l->uid,
             .sequences = l->sequences,
             .count = l->memories.count,
             .reply = wire_list_reply(o->arena, &l->memories, token, NULL, 0)};
  touch_and_finish(o, &l->request.scope, &t);
}

static void read_done(mneme_status status, void *ctx) {
  list *l = ctx;
  op *o = l->op;
  if (status == MNEME_CONFLICT && l->has_token) { /* the session went meanwhile */
    page_token_refuse(o->arena, PAGE_MEMORIES, &o->error);
    op_fail(o);
  } else if (status == MNEME_CONFLICT) {
    answer(l); /* what was gathered is nothing, and so is what is left */
  } else if (status != MNEME_OK) {
    op_fail_status(o, status, false);
  } else if (o->error.code != CODE_OK) {
    op_fail(o);
  } else {
    answer(l);
  }
}

/* --- Asking -------------------------------------------------------------- */

static void bound(list *l) {
  const wire_list *q = &l->request;
  mneme_read *r = &l->read;
  if (q->by_key) {
    r->select = MNEME_SELECT_KEYS;
    r->key_prefix = q->key_prefix;
    r->after_key = l->from.name;
    return;
  }
  r->select = MNEME_SELECT_SEQUENCES;
  r->first = q->oldest_first && l->has_token ? l->from.number + 1 : 0;
  r->last = !q->oldest_first && l->has_token ? l->from.number - 1 : INT64_MAX;
}

/* Whether every record that is emitted is a match, so that the backend can be
 * told how many are wanted. One more than the page tells whether there is
 * another page. */
static bool is_plain(const list *l) {
  const wire_list *q = &l->request;
  return l->filter.rest == NULL && q->role_count == 0 && q->kind_count == 0 &&
         (q->by_key || q->key_prefix.size == 0);
}

static int64_t wanted(const list *l) {
  const wire_list *q = &l->request;
  return is_plain(l) ? l->to_skip + q->page_size + 1 : EXAMINED_MAX + 1;
}

static void session_read(mneme_status status, const mneme_header *h, void *ctx) {
  list *l = ctx;
  op *o = l->op;
  if (status != MNEME_OK && status != MNEME_NOT_FOUND) {
    op_fail_status(o, status, false);
    return;
  }
  if (l->has_token &&
      (status == MNEME_NOT_FOUND || memcmp(&h->uid, &l->from.uid, sizeof h->uid) != 0)) {
    page_token_refuse(o->arena, PAGE_MEMORIES, &o->error);
    op_fail(o);
    return;
  }
  if (status == MNEME_NOT_FOUND) {
    answer(l); /* an absent session is an empty one */
    return;
  }
  l->uid = h->uid;
  l->read = (mneme_read){.ns = l->request.scope.ns,
                         .session = l->request.scope.session,
                         .uid = &l->uid,
                         .descending = !l->request.oldest_first,
                         .limit = wanted(l),
                         .projection = MNEME_READ_BODY,
                         .filter = l->filter.pushed};
  bound(l);
  registry_backend *b = o->route.backend;
  b->type->read(b->instance, &o->call, &l->read, examine, read_done, l);
}

static void ask(op *o) {
  list *l = o->state;
  registry_backend *b = o->route.backend;
  b->type->session_get(b->instance, &o->call, l->request.scope.ns, l->request.scope.session,
                       session_read, l);
}

/* What a token is bound to: everything that changes which memories come, and in
 * which order. */
static void hash_arguments(list *l) {
  const wire_list *q = &l->request;
  fingerprint f = fingerprint_begin("ListMemories");
  fingerprint_bytes(&f, q->scope.ns);
  fingerprint_bytes(&f, q->scope.session);
  fingerprint_number(&f, q->oldest_first | q->by_key << 1);
  fingerprint_bytes(&f, q->filter);
  fingerprint_names(&f, q->roles, q->role_count);
  fingerprint_names(&f, q->kinds, q->kind_count);
  fingerprint_bytes(&f, q->key_prefix);
  fingerprint_number(&f, q->max_tokens);
  fingerprint_end(&f, l->arguments);
}

static bool read_token(list *l) {
  op *o = l->op;
  const wire_list *q = &l->request;
  l->has_budget = q->max_tokens > 0;
  l->tokens_left = q->max_tokens;
  l->to_skip = q->offset;
  if (q->page_token.size == 0)
    return true;
  l->has_token = true;
  if (!page_token_read(o->arena, &o->service->page_keys[o->route.backend->index], q->page_token,
                       PAGE_MEMORIES, l->arguments, &l->from, &o->error))
    return false;
  l->tokens_left = l->from.budget;
  l->to_skip = l->from.to_skip;
  return true;
}

void rpc_list_memories(op *o, const uint8_t *data, size_t size) {
  list *l = arena_calloc(o->arena, 1, sizeof *l);
  if (l == NULL || !wire_read_list(data, size, o->arena, &l->request, &o->error)) {
    op_finish(o, NULL);
    return;
  }
  if (l->request.prefix.size > 0) {
    list_many(o, &l->request);
    return;
  }
  size_t max = (size_t)l->request.page_size;
  l->op = o;
  l->sequences = arena_calloc(o->arena, max, sizeof *l->sequences);
  if (l->sequences == NULL || !wire_memories_init(&l->memories, o->arena, max) ||
      !wire_memories_of(&l->memories, o->arena, l->request.scope.session)) {
    op_fail_no_memory(o);
    return;
  }
  op_route(o, l->request.scope.ns, l->request.scope.session);
  hash_arguments(l);
  if (!filtered_parse(o, l->request.filter, o->call.now_us, &l->filter) || !read_token(l)) {
    op_fail(o);
    return;
  }
  o->state = l;
  bool is_short = wanted(l) <= MNEME_SCAN_CHECK && l->filter.pushed == NULL;
  op_run(o, is_short ? OP_READ_SHORT : OP_UNBOUND, ask);
}
