/* A shard: the shells of some sessions, found by name, and three orders in which
 * upkeep finds work without looking at the rest:
 *
 *   changes   head <-> s3 <-> (gone s1) <-> s7 <-> head     by stamp, oldest first
 *   due       heap of sessions by the first instant at which anything expires
 *   trim      heap of shells by the first instant at which a request_id lapses
 *
 * Both heaps are lazy: a key may be too early (a ttl that slid on with an append
 * is not worth a walk in the heap), never too late. Whoever takes an item from
 * the top asks for its true instant, and puts it back when that is later. */
#include "dict.h"

#include "bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool before_by_trim(const void *a, const void *b) {
  return ((const dict_shell *)a)->trim_us < ((const dict_shell *)b)->trim_us;
}

const dict_heap_kind dict_by_trim = {offsetof(dict_shell, trim_place), before_by_trim};

/* --- Names ---------------------------------------------------------------- */

bool dict_name_make(dict_name *name, mneme_bytes ns, mneme_bytes session, uint64_t seed) {
  if (ns.size > MNEME_NAMESPACE_MAX || session.size > MNEME_SESSION_MAX) return false;
  char *at = name->data;
  *at++ = (char)(unsigned char)ns.size;
  mneme_bytes_put(&at, ns);
  mneme_bytes_put(&at, session);
  name->size = (uint16_t)(at - name->data);
  name->hash = XXH3_64bits_withSeed(name->data, name->size, seed);
  return true;
}

/* The table of a shard and the height of a node use the lower bits. */
dict_shard *dict_shard_of(mneme_backend *store, const dict_name *name) {
  return &store->shards[(name->hash >> 48) & (store->shard_count - 1)];
}

mneme_bytes dict_name_ns(const char *name) {
  return mneme_bytes_of(name + 1, (unsigned char)name[0]);
}

mneme_bytes dict_name_session(const char *name, uint16_t size) {
  size_t skip = 1 + (size_t)(unsigned char)name[0];
  return mneme_bytes_of(name + skip, size - skip);
}

/* --- Shells --------------------------------------------------------------- */

dict_shell *dict_shell_of(const dict_node *node) {
  return (dict_shell *)((uintptr_t)node - offsetof(dict_shell, node));
}

mneme_bytes dict_shell_node_name(const dict_node *node) {
  const dict_shell *shell = dict_shell_of(node);
  return mneme_bytes_of(shell->name, shell->name_size);
}

static bool shell_has_name(const void *item, const void *key) {
  const dict_shell *shell = item;
  const dict_name *name = key;
  return shell->name_size == name->size && memcmp(shell->name, name->data, name->size) == 0;
}

dict_shell *dict_shell_new(const dict_name *name) {
  uint32_t height = dict_order_height(name->hash >> 32);
  size_t tower = height * sizeof(dict_node *);
  dict_shell *shell = calloc(1, sizeof *shell + tower + name->size);
  if (shell == NULL) return NULL;
  shell->hash = (uint32_t)name->hash;
  shell->trim_us = INT64_MAX;
  shell->node.height = height;
  shell->name = (char *)shell->node.next + tower;
  shell->name_size = name->size;
  memcpy(shell->name, name->data, name->size);
  return shell;
}

void dict_shell_free(dict_shell *shell) {
  if (shell == NULL) return;
  dict_session_free(shell->session);
  dict_answer *answer;
  while ((answer = dict_queue_first(&shell->expiry)) != NULL) {
    dict_queue_pop(&shell->expiry, answer);
    dict_answer_unref(answer);
  }
  dict_queue_free(&shell->expiry);
  dict_table_free(&shell->answers);
  free(shell);
}

dict_shell *dict_shard_find(const dict_shard *shard, const dict_name *name) {
  return dict_table_find(&shard->shells, (uint32_t)name->hash, shell_has_name, name);
}

dict_session *dict_shard_live(const dict_shard *shard, const dict_name *name, int64_t now_us) {
  const dict_shell *shell = dict_shard_find(shard, name);
  if (shell == NULL || shell->session == NULL) return NULL;
  return dict_session_lapsed(shell->session, now_us) ? NULL : shell->session;
}

bool dict_shard_reserve(dict_shard *shard) {
  size_t shells = shard->shells.count + 1;
  return dict_table_reserve(&shard->shells, 1) && dict_order_reserve(&shard->names) &&
         dict_heap_reserve(&shard->due, shells - shard->due.count) &&
         dict_heap_reserve(&shard->trim, shells - shard->trim.count);
}

void dict_shard_link(dict_shard *shard, dict_shell *shell) {
  dict_table_insert(&shard->shells, shell->hash, shell);
  dict_order_insert(&shard->names, dict_shell_node_name, &shell->node);
}

int64_t dict_shell_cost(const dict_shell *shell) { return (int64_t)sizeof *shell + 256; }

void dict_shard_drop_empty(mneme_backend *store, dict_shard *shard, dict_shell *shell) {
  if (shell->session != NULL || shell->answers.count != 0) return;
  dict_store_charge(store, -dict_shell_cost(shell));
  dict_heap_remove(&shard->trim, &dict_by_trim, shell);
  dict_table_remove(&shard->shells, shell->hash, shell);
  dict_order_remove(&shard->names, dict_shell_node_name, &shell->node);
  dict_shell_free(shell);
}

/* --- Request ids ---------------------------------------------------------- */

/* The one that lapses first. */
static void forget(mneme_backend *store, dict_shell *shell, dict_answer *answer) {
  dict_queue_pop(&shell->expiry, answer);
  dict_table_remove(&shell->answers, answer->hash, answer);
  dict_store_charge(store, -dict_answer_cost(answer));
  dict_answer_unref(answer);
}

int64_t dict_shell_trim(mneme_backend *store, dict_shell *shell, int64_t now_us, int64_t rows) {
  int64_t gone = 0;
  for (; gone < rows; gone++) {
    dict_answer *answer = dict_queue_first(&shell->expiry);
    if (answer == NULL || answer->expire_us > now_us) break;
    forget(store, shell, answer);
  }
  if (gone != 0) dict_table_shrink(&shell->answers);
  if (shell->answers.count == 0) dict_queue_free(&shell->expiry);
  return gone;
}

int64_t dict_shard_trim(mneme_backend *store, dict_shard *shard, int64_t now_us, int64_t rows) {
  int64_t gone = 0;
  dict_shell *shell;
  if (shard->trim_us > now_us) return 0;
  while (gone < rows && (shell = dict_heap_first(&shard->trim)) != NULL &&
         shell->trim_us <= now_us) {
    gone += dict_shell_trim(store, shell, now_us, rows - gone);
    const dict_answer *first = dict_queue_first(&shell->expiry);
    if (first != NULL) {
      shell->trim_us = first->expire_us;
      dict_heap_move(&shard->trim, &dict_by_trim, shell);
    } else {
      shell->trim_us = INT64_MAX;
      dict_heap_remove(&shard->trim, &dict_by_trim, shell);
      dict_shard_drop_empty(store, shard, shell);
    }
  }
  shell = dict_heap_first(&shard->trim);
  shard->trim_us = shell != NULL ? shell->trim_us : INT64_MAX;
  return gone;
}

void dict_shell_remember(mneme_backend *store, dict_shard *shard, dict_shell *shell,
                         dict_answer *answer) {
  if (shell->answers.count >= MNEME_REQUEST_IDS_MAX)
    forget(store, shell, dict_queue_first(&shell->expiry));
  dict_table_insert(&shell->answers, answer->hash, answer);
  dict_queue_push(&shell->expiry, answer);
  if (answer->expire_us >= shell->trim_us) return;
  shell->trim_us = answer->expire_us;
  if (shell->trim_us < shard->trim_us) shard->trim_us = shell->trim_us;
  if (dict_heap_has(shell, &dict_by_trim))
    dict_heap_move(&shard->trim, &dict_by_trim, shell);
  else
    dict_heap_push(&shard->trim, &dict_by_trim, shell);
}

/* --- Changes and expiry --------------------------------------------------- */

static void leave_changes(dict_change *change) {
  if (change->after == NULL) return; /* in no list yet */
  change->before->after = change->after;
  change->after->before = change->before;
}

/* The stamp is taken under the shard's lock: whoever reads store->stamp first and
 * locks the shard then finds every change up to what it read. */
static void enter_changes(mneme_backend *store, dict_shard *shard, dict_change *change) {
  change->stamp = atomic_fetch_add(&store->stamp, 1) + 1;
  change->before = shard->changes.before;
  change->after = &shard->changes;
  change->before->after = change;
  change->after->before = change;
}

void dict_shard_stamp(mneme_backend *store, dict_shard *shard, dict_session *session) {
  leave_changes(&session->change);
  enter_changes(store, shard, &session->change);
}

void dict_shard_schedule(dict_shard *shard, dict_session *session) {
  int64_t due_us = dict_session_due(session);
  if (due_us >= session->due_us) return; /* then the key is early enough */
  session->due_us = due_us;
  if (dict_heap_has(session, &dict_by_due))
    dict_heap_move(&shard->due, &dict_by_due, session);
  else
    dict_heap_push(&shard->due, &dict_by_due, session);
}

dict_tombstone *dict_tombstone_new(const dict_shell *shell, const mneme_uid *uid) {
  dict_tombstone *tombstone = malloc(sizeof *tombstone + shell->name_size);
  if (tombstone == NULL) return NULL;
  tombstone->change = (dict_change){.kind = DICT_TOMBSTONE};
  tombstone->next = NULL;
  tombstone->uid = *uid;
  tombstone->name_size = shell->name_size;
  memcpy(tombstone->name, shell->name, shell->name_size);
  return tombstone;
}

/* The tombstones of the store are bounded, and a shard that adds one beyond the
 * bound forgets its own oldest: no lock but its own. */
static void forget_tombstone(mneme_backend *store, dict_shard *shard) {
  dict_tombstone *oldest = shard->oldest;
  shard->oldest = oldest->next;
  if (shard->oldest == NULL) shard->newest = NULL;
  shard->compacted = oldest->change.stamp;
  leave_changes(&oldest->change);
  atomic_fetch_sub(&store->tombstones, 1);
  free(oldest);
}

void dict_shard_detach(mneme_backend *store, dict_shard *shard, dict_session *session,
                       dict_tombstone *tombstone) {
  leave_changes(&session->change);
  dict_heap_remove(&shard->due, &dict_by_due, session);
  session->shell->session = NULL;
  enter_changes(store, shard, &tombstone->change);
  if (shard->newest != NULL)
    shard->newest->next = tombstone;
  else
    shard->oldest = tombstone;
  shard->newest = tombstone;
  if (atomic_fetch_add(&store->tombstones, 1) >= DICT_TOMBSTONES_MAX)
    forget_tombstone(store, shard);
}

bool dict_store_charge(mneme_backend *store, int64_t bytes) {
  if (store->bytes_max == 0 || bytes == 0) return true;
  int64_t before = atomic_fetch_add(&store->bytes, bytes);
  if (bytes < 0 || before + bytes <= store->bytes_max) return true;
  atomic_fetch_sub(&store->bytes, bytes);
  return false;
}
