/* changes, due and trim: upkeep that costs what there is to do, not what is there.
 *
 * changes. A commit that changes a header takes the next number of one counter of
 * the store (the stamp) and moves its session to the end of its shard's list. A
 * cursor is the store's id and a stamp. The call reads the counter first: that is
 * the next cursor. Then it goes through each shard from the first entry beyond
 * the old cursor to the end of the list:
 *
 *   head <-> s3 (7) <-> gone s1 (9) <-> [bookmark] <-> s7 (12) <-> head
 *            ^ cursor 7 has this                       emitted next
 *
 * A stamp is taken under the shard's lock, so whatever has a stamp up to the one
 * read stands in its list when we get the lock. The lock is let go after
 * MNEME_SCAN_CHECK entries; a bookmark in the list keeps the place, as memcached's
 * crawler does. What changes meanwhile moves to the end, where we still come by,
 * so nothing is missed; it may be told twice, now and with the next cursor.
 *
 * due. Each shard has a heap of its sessions by the first instant at which
 * anything in them expires; when nothing is due the cost is a look at the top of
 * each. A scan would have to count every session, and due is asked every second. */
#include "dict.h"

#include "bytes.h"

#include <stdlib.h>

typedef struct cursor {
  uint64_t store_id;
  int64_t stamp;
} cursor;

_Static_assert(sizeof(cursor) <= MNEME_CURSOR_MAX, "a cursor fits");

/* --- changes -------------------------------------------------------------- */

typedef struct reading {
  mneme_backend *store;
  const mneme_call *call;
  mneme_bytes ns;
  mneme_header_fn emit;
  void *ctx;
  int64_t after; /* stamp; 0 = from the start */
  int64_t looked; /* entries, of all shards: they add up */
  bool enough;
} reading;

static void emit_change(reading *r, dict_change *change) {
  mneme_header header;
  if (change->kind == DICT_BOOKMARK) return;
  if (change->kind == DICT_TOMBSTONE) {
    const dict_tombstone *tombstone = (const dict_tombstone *)change;
    if (!mneme_bytes_equal(dict_name_ns(tombstone->name), r->ns)) return;
    header = (mneme_header){.ns = r->ns,
                            .session = dict_name_session(tombstone->name, tombstone->name_size),
                            .uid = tombstone->uid,
                            .deleted = true};
  } else {
    dict_session *s = (dict_session *)change;
    if (!mneme_bytes_equal(dict_name_ns(s->shell->name), r->ns)) return;
    dict_session_header(s, r->call->now_us, &header);
    header.deleted = dict_session_lapsed(s, r->call->now_us); /* gone, though not removed */
  }
  if (r->emit(&header, r->ctx) != 0) r->enough = true;
}

static void bookmark_put(dict_change *bookmark, dict_change *before) {
  bookmark->before = before;
  bookmark->after = before->after;
  before->after->before = bookmark;
  before->after = bookmark;
}

static void bookmark_take(dict_change *bookmark) {
  bookmark->before->after = bookmark->after;
  bookmark->after->before = bookmark->before;
}

/* The last entry that the cursor covers, or the list's head: back from the end,
 * over what has changed since. What moves to the end while the lock is free will
 * be met on the way forward. */
static mneme_status find_start(reading *r, dict_shard *shard, dict_change **ret_at) {
  dict_change bookmark = {.kind = DICT_BOOKMARK};
  dict_change *at = &shard->changes;
  *ret_at = at;
  if (r->after == 0) return MNEME_OK; /* the head stands before the oldest */
  at = at->before;
  for (; at != &shard->changes; at = at->before) {
    if (at->kind != DICT_BOOKMARK && at->stamp <= r->after) break;
    if (++r->looked % MNEME_SCAN_CHECK != 0) continue;
    bookmark_put(&bookmark, at);
    dict_unlock(shard);
    bool expired = mneme_call_expired(r->call);
    dict_lock(shard);
    at = bookmark.after;
    bookmark_take(&bookmark);
    if (expired) return MNEME_TIMEOUT;
  }
  *ret_at = at;
  return MNEME_OK;
}

static mneme_status read_shard(reading *r, dict_shard *shard) {
  dict_change bookmark = {.kind = DICT_BOOKMARK};
  dict_change *at;
  mneme_status status = MNEME_OK;
  dict_lock(shard);
  if (r->after != 0 && r->after < shard->compacted) {
    dict_unlock(shard);
    return MNEME_COMPACTED;
  }
  status = find_start(r, shard, &at);
  while (status == MNEME_OK && !r->enough && (at = at->after) != &shard->changes) {
    emit_change(r, at);
    if (++r->looked % MNEME_SCAN_CHECK != 0) continue;
    bookmark_put(&bookmark, at);
    dict_unlock(shard);
    if (mneme_call_expired(r->call)) status = MNEME_TIMEOUT;
    dict_lock(shard);
    at = bookmark.before;
    bookmark_take(&bookmark);
  }
  dict_unlock(shard);
  return status;
}

void dict_changes(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                  mneme_bytes from, mneme_header_fn emit, mneme_cursor_fn done, void *ctx) {
  reading r = {.store = store, .call = call, .ns = ns, .emit = emit, .ctx = ctx};
  cursor old, next = {store->id, atomic_load(&store->stamp)};
  mneme_status status = MNEME_OK;
  if (from.size != 0) {
    if (from.size == sizeof old) memcpy(&old, from.data, sizeof old);
    if (from.size != sizeof old || old.store_id != store->id || old.stamp > next.stamp)
      status = MNEME_COMPACTED;
    else
      r.after = old.stamp;
  }
  for (uint32_t i = 0; i < store->shard_count && status == MNEME_OK && !r.enough; i++)
    status = read_shard(&r, &store->shards[i]);
  /* Whoever stopped early goes on from where it was: its next cursor must not pass
   * what it has not been told. */
  mneme_bytes to = r.enough ? from : mneme_bytes_of((const char *)&next, sizeof next);
  done(status, status == MNEME_OK ? to : (mneme_bytes){0}, ctx);
}

/* --- due ------------------------------------------------------------------ */

/* Emits up to max sessions of the shard; returns how many. Sessions taken from
 * the heap are put back with their true key, so that the heap stays complete.
 * *ret_more: nothing was emitted, but there was more to look at. */
static int64_t emit_due(dict_shard *shard, int64_t now_us, int64_t max, mneme_header_fn emit,
                        void *ctx, bool *ret_enough, bool *ret_more) {
  dict_session *taken = NULL, *s;
  int64_t emitted = 0;
  int looked = 0;
  dict_lock(shard);
  for (; looked < MNEME_SCAN_CHECK && emitted < max && !*ret_enough &&
         (s = dict_heap_first(&shard->due)) != NULL && s->due_us <= now_us;
       looked++) {
    dict_heap_remove(&shard->due, &dict_by_due, s);
    s->due_us = dict_session_due(s);
    s->next = taken;
    taken = s;
    if (s->due_us > now_us) continue; /* it slid on since it was put in */
    mneme_header header;
    dict_session_header(s, now_us, &header);
    *ret_enough = emit(&header, ctx) != 0;
    emitted++;
  }
  while ((s = taken) != NULL) {
    taken = s->next;
    s->next = NULL;
    if (s->due_us != INT64_MAX) dict_heap_push(&shard->due, &dict_by_due, s);
  }
  dict_unlock(shard);
  *ret_more = emitted == 0 && looked == MNEME_SCAN_CHECK;
  return emitted;
}

/* Each call begins at another shard, so that one with much to do does not keep
 * the others waiting. */
void dict_due(mneme_backend *store, const mneme_call *call, int64_t limit, mneme_header_fn emit,
              mneme_done_fn done, void *ctx) {
  mneme_status status = MNEME_OK;
  bool enough = false, more = false;
  uint32_t from = (uint32_t)atomic_fetch_add_explicit(&store->due_from, 1, memory_order_relaxed);
  for (uint32_t i = 0; i < store->shard_count && limit > 0 && !enough; i++) {
    dict_shard *shard = &store->shards[(from + i) & (store->shard_count - 1)];
    int64_t emitted;
    do {
      emitted = emit_due(shard, call->now_us, limit, emit, ctx, &enough, &more);
    } while (more);
    limit -= emitted;
    if (emitted != 0 && mneme_call_expired(call)) {
      status = MNEME_TIMEOUT;
      break;
    }
  }
  done(status, ctx);
}

/* --- trim ----------------------------------------------------------------- */

/* Log entries beyond MNEME_LOG_MAX go when a commit adds one; what is left to do
 * is request_ids. */
void dict_trim(mneme_backend *store, const mneme_call *call, int64_t rows, bool *ret_more,
               mneme_done_fn done, void *ctx) {
  for (uint32_t i = 0; i < store->shard_count && rows > 0; i++) {
    dict_shard *shard = &store->shards[i];
    int64_t gone, step;
    do {
      step = rows < MNEME_SCAN_CHECK ? rows : MNEME_SCAN_CHECK;
      dict_lock(shard);
      gone = dict_shard_trim(store, shard, call->now_us, step);
      dict_unlock(shard);
      rows -= gone;
    } while (gone == step && rows > 0);
  }
  *ret_more = rows == 0;
  done(MNEME_OK, ctx);
}
