/* The in-process engine: opening and closing a store, its meta values, and the
 * table of operations. dict.h is the map of the room. */
#include "dict.h"

#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { OPTION_SHARDS, OPTION_MAX_BYTES };

static const mneme_option options[] = {
    [OPTION_SHARDS] = {"shards", MNEME_OPTION_INT, "64", 1, DICT_SHARDS_MAX,
                       "Parts with a lock of their own; rounded up to a power of two."},
    [OPTION_MAX_BYTES] = {"max_bytes", MNEME_OPTION_SIZE, "0", 0, INT64_MAX,
                          "Memory for all sessions and request_ids, about; a commit that "
                          "would pass it is refused. 0 = no limit."},
    {0},
};

/* --- Life ----------------------------------------------------------------- */

static void dict_close(mneme_backend *store) {
  if (store == NULL) return;
  for (uint32_t i = 0; i < store->shard_count; i++) {
    dict_shard *shard = &store->shards[i];
    for (dict_node *node = dict_order_first(&shard->names), *next; node != NULL; node = next) {
      next = node->next[0];
      dict_shell_free(dict_shell_of(node));
    }
    for (dict_tombstone *t = shard->oldest, *next; t != NULL; t = next) {
      next = t->next;
      free(t);
    }
    dict_table_free(&shard->shells);
    dict_order_free(&shard->names);
    dict_heap_free(&shard->due);
    dict_heap_free(&shard->trim);
    pthread_mutex_destroy(&shard->lock);
  }
  while (store->metas != NULL) {
    dict_meta *next = store->metas->next;
    free(store->metas);
    store->metas = next;
  }
  pthread_mutex_destroy(&store->meta_lock);
  free(store->shards);
  free(store);
}

static mneme_status dict_open(const mneme_host *host, const mneme_option_value *values,
                              mneme_backend **ret_backend, char *error, size_t size) {
  uint64_t random[2];
  uint32_t shard_count = 1;
  (void)host;
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
    snprintf(error, size, "no random numbers from the system: is getrandom(2) allowed?");
    return MNEME_INTERNAL;
  }
  while (shard_count < values[OPTION_SHARDS].integer) shard_count *= 2;
  mneme_backend *store = aligned_alloc(_Alignof(mneme_backend), sizeof *store);
  dict_shard *shards = aligned_alloc(_Alignof(dict_shard), shard_count * sizeof *shards);
  if (store == NULL || shards == NULL) {
    free(store);
    free(shards);
    snprintf(error, size, "no memory for %u shards", shard_count);
    return MNEME_NO_MEMORY;
  }
  memset(store, 0, sizeof *store);
  memset(shards, 0, shard_count * sizeof *shards);
  store->seed = random[0];
  store->id = random[1];
  store->bytes_max = values[OPTION_MAX_BYTES].integer;
  store->shard_count = shard_count;
  store->shards = shards;
  pthread_mutex_init(&store->meta_lock, NULL);
  for (uint32_t i = 0; i < shard_count; i++) {
    pthread_mutex_init(&shards[i].lock, NULL);
    shards[i].changes = (dict_change){&shards[i].changes, &shards[i].changes, 0, DICT_BOOKMARK};
  }
  *ret_backend = store;
  return MNEME_OK;
}

static void dict_ping(mneme_backend *store, const mneme_call *call, mneme_done_fn done,
                      void *ctx) {
  (void)store;
  (void)call;
  done(MNEME_OK, ctx);
}

/* --- Meta values: a few, in a list ---------------------------------------- */

/* The place where the value of key is, or would be. */
static dict_meta **find_meta(mneme_backend *store, mneme_bytes key) {
  dict_meta **at = &store->metas;
  while (*at != NULL && !mneme_bytes_equal(mneme_bytes_of((*at)->key, (*at)->key_size), key))
    at = &(*at)->next;
  return at;
}

static mneme_bytes copy_meta(const dict_meta *meta, char *out) {
  if (meta == NULL) return (mneme_bytes){0};
  memcpy(out, meta->value, meta->value_size);
  return mneme_bytes_of(out, meta->value_size);
}

static void dict_meta_get(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                          mneme_meta_fn done, void *ctx) {
  char out[MNEME_META_VALUE_MAX];
  (void)call;
  pthread_mutex_lock(&store->meta_lock);
  mneme_bytes value = copy_meta(*find_meta(store, key), out);
  pthread_mutex_unlock(&store->meta_lock);
  done(MNEME_OK, value, ctx);
}

/* With the lock held: OK, CONFLICT or NO_MEMORY. An empty value is an absent one. */
static mneme_status put_meta(mneme_backend *store, mneme_bytes key, mneme_bytes expected,
                             mneme_bytes value) {
  dict_meta **at = find_meta(store, key);
  dict_meta *meta = *at;
  mneme_bytes current = {0};
  if (meta != NULL) current = mneme_bytes_of(meta->value, meta->value_size);
  if (!mneme_bytes_equal(current, expected)) return MNEME_CONFLICT;
  if (value.size == 0) {
    if (meta != NULL) *at = meta->next;
    free(meta);
    return MNEME_OK;
  }
  if (meta == NULL) {
    meta = calloc(1, sizeof *meta);
    if (meta == NULL) return MNEME_NO_MEMORY;
    memcpy(meta->key, key.data, key.size);
    meta->key_size = key.size;
    *at = meta;
  }
  memcpy(meta->value, value.data, value.size);
  meta->value_size = value.size;
  return MNEME_OK;
}

static void dict_meta_put(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                          mneme_bytes expected, mneme_bytes value, mneme_meta_fn done,
                          void *ctx) {
  char out[MNEME_META_VALUE_MAX];
  (void)call;
  if (key.size == 0 || key.size > MNEME_META_KEY_MAX || value.size > MNEME_META_VALUE_MAX) {
    done(MNEME_INVALID, (mneme_bytes){0}, ctx);
    return;
  }
  pthread_mutex_lock(&store->meta_lock);
  mneme_status status = put_meta(store, key, expected, value);
  mneme_bytes current = copy_meta(*find_meta(store, key), out);
  pthread_mutex_unlock(&store->meta_lock);
  done(status, current, ctx);
}

/* --- The table ------------------------------------------------------------ */

static const mneme_backend_type type = {
    .abi = MNEME_ABI,
    .struct_size = sizeof(mneme_backend_type),
    .name = "dict",
    .doc = "Sessions in the memory of the process: fast, exact, gone with it.",
    .caps = MNEME_CAP_NB_COMMIT | MNEME_CAP_NB_READ,
    .options = options,
    .open = dict_open,
    .close = dict_close,
    .commit = dict_commit,
    .session_get = dict_session_get,
    .session_list = dict_session_list,
    .request_get = dict_request_get,
    .read = dict_read,
    .changes = dict_changes,
    .log = dict_log_entries,
    .due = dict_due,
    .stats = dict_stats,
    .ping = dict_ping,
    .meta_get = dict_meta_get,
    .meta_put = dict_meta_put,
    .trim = dict_trim,
};

const mneme_backend_type *MNEME_PLUGIN_ENTRY(void) { return &type; }
