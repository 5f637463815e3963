/* Lists and sums over the sessions of a namespace. Each shard holds its shells in
 * order of name, so those of one namespace, and of one prefix in it, lie together
 * and the rest is never looked at:
 *
 *   BY_ID      the first `limit` behind the cursor of each shard are enough;
 *   BY_UPDATE  all of the namespace that match are looked at, since nothing keeps
 *              them in that order.
 *
 * The best `limit` (at most BATCH at a time) are kept in a heap as copies of
 * their names, the worst on top. Then each is looked up again and emitted as it
 * is now; what has gone in between is made up for by another round. A shard's
 * lock is held for MNEME_SCAN_CHECK shells at a time. */
#include "dict.h"

#include "bytes.h"

#include <stdlib.h>

#define BATCH 1000

typedef struct pick {
  uint32_t place;
  uint16_t name_size;
  int64_t update_us; /* 0 in a list by id: then only the name counts */
  char name[];
} pick;

static mneme_bytes pick_session(const pick *p) {
  return dict_name_session(p->name, p->name_size);
}

/* Whether (update_us, session) stands before the other: newest first, then by id. */
static bool ranks_before(int64_t update_a, mneme_bytes a, int64_t update_b, mneme_bytes b) {
  return update_a != update_b ? update_a > update_b : mneme_bytes_compare(a, b) < 0;
}

static bool worse_first(const void *a, const void *b) {
  const pick *x = a, *y = b;
  return ranks_before(y->update_us, pick_session(y), x->update_us, pick_session(x));
}

static const dict_heap_kind by_rank = {offsetof(pick, place), worse_first};

typedef struct listing {
  mneme_backend *store;
  const mneme_call *call;
  const mneme_session_list *list;
  int64_t after_update_us; /* the keyset, which moves on from round to round */
  char after[MNEME_SESSION_MAX];
  size_t after_size; /* 0 = from the start */
  size_t want;       /* of this round */
  dict_heap heap;
} listing;

/* --- Walking a namespace -------------------------------------------------- */

/* Calls visit for each shell of the shard from `from` on that begins with prefix
 * (both as names), until it answers false. */
typedef bool (*visit_fn)(dict_shell *shell, void *ctx);

static mneme_status walk_shard(dict_shard *shard, const mneme_call *call, mneme_bytes from,
                               mneme_bytes prefix, visit_fn visit, void *ctx) {
  char last[sizeof ((dict_name *)0)->data];
  bool more = true, resumed = false;
  while (more) {
    /* Before each piece, also the first: the shards add up. */
    if (mneme_call_expired(call)) return MNEME_TIMEOUT;
    dict_lock(shard);
    dict_node *node = dict_order_seek(&shard->names, dict_shell_node_name, from, false);
    if (resumed && node != NULL && mneme_bytes_equal(dict_shell_node_name(node), from))
      node = node->next[0];
    for (int i = 0; more && i < MNEME_SCAN_CHECK; i++) {
      if (node == NULL || !mneme_bytes_begins(dict_shell_node_name(node), prefix)) {
        more = false;
        break;
      }
      dict_shell *shell = dict_shell_of(node);
      if (i == MNEME_SCAN_CHECK - 1) {
        memcpy(last, shell->name, shell->name_size);
        from = mneme_bytes_of(last, shell->name_size);
        resumed = true;
      }
      node = node->next[0];
      more = visit(shell, ctx);
    }
    dict_unlock(shard);
  }
  return MNEME_OK;
}

/* --- session_list --------------------------------------------------------- */

typedef struct dict_picking {
  listing *l;
  bool failed; /* no memory */
} dict_picking;

static bool consider(dict_shell *shell, void *ctx) {
  dict_picking *picking = ctx;
  listing *l = picking->l;
  const dict_session *s = shell->session;
  if (s == NULL || dict_session_lapsed(s, l->call->now_us)) return true;
  bool by_update = l->list->order == MNEME_SESSIONS_BY_UPDATE;
  int64_t update_us = by_update ? s->head.update_us : 0;
  mneme_bytes session = dict_name_session(shell->name, shell->name_size);
  if (l->after_size != 0 &&
      !ranks_before(l->after_update_us, mneme_bytes_of(l->after, l->after_size), update_us,
                    session))
    return true;
  if (l->heap.count == l->want) {
    pick *worst = dict_heap_first(&l->heap);
    if (!ranks_before(update_us, session, worst->update_us, pick_session(worst)))
      return by_update; /* by id, what follows in this shard is no better */
    dict_heap_remove(&l->heap, &by_rank, worst);
    free(worst);
  }
  pick *p = malloc(sizeof *p + shell->name_size);
  if (p == NULL || !dict_heap_reserve(&l->heap, 1)) {
    free(p);
    picking->failed = true;
    return false;
  }
  p->place = 0;
  p->update_us = update_us;
  p->name_size = shell->name_size;
  memcpy(p->name, shell->name, shell->name_size);
  dict_heap_push(&l->heap, &by_rank, p);
  return true;
}

static mneme_status pick_round(listing *l) {
  dict_name prefix, from;
  const mneme_session_list *list = l->list;
  mneme_bytes after = mneme_bytes_of(l->after, l->after_size);
  dict_picking picking = {.l = l};
  /* Too long: nobody has such a name. */
  if (!dict_name_make(&prefix, list->ns, list->prefix, 0)) return MNEME_OK;
  dict_name_make(&from, list->ns, list->prefix, 0);
  if (list->order == MNEME_SESSIONS_BY_ID && mneme_bytes_compare(after, list->prefix) > 0)
    dict_name_make(&from, list->ns, after, 0);
  for (uint32_t i = 0; i < l->store->shard_count; i++) {
    mneme_status status =
        walk_shard(&l->store->shards[i], l->call, mneme_bytes_of(from.data, from.size),
                   mneme_bytes_of(prefix.data, prefix.size), consider, &picking);
    if (picking.failed) return MNEME_NO_MEMORY;
    if (status != MNEME_OK) return status;
  }
  return MNEME_OK;
}

/* Emits the session as it is now; false when it has gone. */
static bool emit_pick(listing *l, const pick *p, mneme_header_fn emit, void *ctx,
                      bool *ret_enough) {
  dict_name name;
  mneme_header header;
  dict_name_make(&name, dict_name_ns(p->name), pick_session(p), l->store->seed);
  dict_shard *shard = dict_shard_of(l->store, &name);
  dict_lock(shard);
  dict_session *s = dict_shard_live(shard, &name, l->call->now_us);
  if (s != NULL) {
    dict_session_header(s, l->call->now_us, &header);
    *ret_enough = emit(&header, ctx) != 0;
  }
  dict_unlock(shard);
  return s != NULL;
}

static void remember_last(listing *l, const pick *last) {
  mneme_bytes session = pick_session(last);
  l->after_update_us = last->update_us;
  l->after_size = session.size;
  memcpy(l->after, session.data, session.size);
}

/* Sorts what the heap holds: the worst come off first. */
static size_t unload(listing *l, pick **picks) {
  size_t count = l->heap.count;
  for (size_t i = count; i-- > 0;) {
    picks[i] = dict_heap_first(&l->heap);
    dict_heap_remove(&l->heap, &by_rank, picks[i]);
  }
  return count;
}

void dict_session_list(mneme_backend *store, const mneme_call *call,
                       const mneme_session_list *list, mneme_header_fn emit, mneme_done_fn done,
                       void *ctx) {
  pick *picks[BATCH];
  mneme_status status = MNEME_OK;
  bool enough = false;
  int64_t left = list->limit;
  listing l = {.store = store, .call = call, .list = list};
  if (list->after_session.size > MNEME_SESSION_MAX) {
    done(MNEME_INVALID, ctx);
    return;
  }
  if (list->order == MNEME_SESSIONS_BY_UPDATE) l.after_update_us = list->after_update_us;
  l.after_size = list->after_session.size;
  if (l.after_size != 0) memcpy(l.after, list->after_session.data, l.after_size);

  while (left > 0 && !enough && status == MNEME_OK) {
    l.want = left < BATCH ? (size_t)left : BATCH;
    status = pick_round(&l);
    size_t count = unload(&l, picks);
    for (size_t i = 0; i < count && !enough && status == MNEME_OK; i++)
      if (emit_pick(&l, picks[i], emit, ctx, &enough)) left--;
    if (count < l.want) left = 0; /* that was the last of them */
    if (count != 0) remember_last(&l, picks[count - 1]);
    for (size_t i = 0; i < count; i++) free(picks[i]);
  }
  dict_heap_free(&l.heap);
  done(status, ctx);
}

/* --- stats ---------------------------------------------------------------- */

typedef struct summing {
  int64_t now_us;
  mneme_stats stats;
} summing;

static bool add_session(dict_shell *shell, void *ctx) {
  summing *sum = ctx;
  if (shell->session == NULL || dict_session_lapsed(shell->session, sum->now_us)) return true;
  dict_count live = dict_session_count(shell->session, sum->now_us);
  sum->stats.session_count++;
  sum->stats.memory_count += live.memories;
  sum->stats.token_count += live.tokens;
  sum->stats.byte_count += live.bytes;
  return true;
}

void dict_stats(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                mneme_bytes session, mneme_stats_fn done, void *ctx) {
  dict_name name;
  summing sum = {.now_us = call->now_us};
  mneme_status status = MNEME_OK;
  if (!dict_name_make(&name, ns, session, store->seed)) {
    done(MNEME_OK, &sum.stats, ctx);
    return;
  }
  if (session.size != 0) {
    dict_shard *shard = dict_shard_of(store, &name);
    dict_lock(shard);
    dict_shell *shell = dict_shard_find(shard, &name);
    if (shell != NULL) add_session(shell, &sum);
    dict_unlock(shard);
  } else {
    mneme_bytes prefix = mneme_bytes_of(name.data, name.size);
    for (uint32_t i = 0; i < store->shard_count && status == MNEME_OK; i++)
      status = walk_shard(&store->shards[i], call, prefix, prefix, add_session, &sum);
  }
  done(status, status == MNEME_OK ? &sum.stats : NULL, ctx);
}
