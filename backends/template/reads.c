/* Reads, upkeep, opening and closing, and the table of operations. A read walks
 * what is there under the lock, hands each result to emit, and calls done when
 * the lock is gone. emit may be called under a lock since it only copies; a real
 * engine lets writers in between every MNEME_SCAN_CHECK records. */
#include "template.h"

#include "bytes.h"
#include "rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* --- One session ---------------------------------------------------------- */

static void template_session_get(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                                 mneme_bytes name, mneme_session_fn done, void *ctx) {
  mneme_header *copy = NULL;
  pthread_mutex_lock(&store->lock);
  const session *s = find_live(store, ns, name, call->now_us);
  if (s != NULL) {
    mneme_header header = header_at(s, call->now_us);
    copy = header_copy(&header);
  }
  pthread_mutex_unlock(&store->lock);
  done(copy != NULL ? MNEME_OK : s != NULL ? MNEME_NO_MEMORY : MNEME_NOT_FOUND, copy, ctx);
  free(copy);
}

static void template_request_get(mneme_backend *store, const mneme_call *call,
                                 const mneme_write *write, mneme_written_fn done, void *ctx) {
  const answer *found;
  mneme_written *copy = NULL;
  pthread_mutex_lock(&store->lock);
  mneme_status status = find_answer(store, write, call->now_us, &found);
  if (status == MNEME_OK && (copy = written_copy(found->written)) == NULL)
    status = MNEME_NO_MEMORY;
  pthread_mutex_unlock(&store->lock);
  done(status, copy, ctx);
  free(copy);
}

/* DUTY [C-05]: whatever looks at many things asks, every MNEME_SCAN_CHECK of them,
 * whether anybody still waits. False = no, and *ret_status says so. */
static bool is_wanted(const mneme_call *call, int64_t *looked, mneme_status *ret_status) {
  if (++*looked % MNEME_SCAN_CHECK != 0 || !mneme_call_expired(call)) return true;
  *ret_status = MNEME_TIMEOUT;
  return false;
}

/* A read under way. */
typedef struct walk {
  const mneme_call *call;
  const mneme_read *read;
  const session *session;
  mneme_record_fn emit;
  void *ctx;
  int64_t looked, emitted, bytes;
} walk;

/* Shows one record to the reader; false = no more. */
static bool show(walk *scan, const mneme_record *r, mneme_status *ret_status) {
  const mneme_read *read = scan->read;
  if (!is_wanted(scan->call, &scan->looked, ret_status)) return false;
  if (!is_live(scan->session, r, scan->call->now_us)) return true;
  scan->bytes += mneme_rule_bytes(r);
  if (read->byte_limit > 0 && scan->bytes > read->byte_limit && scan->emitted > 0) return false;
  scan->emitted++;
  if (scan->emit(r, scan->ctx) != 0) return false; /* DUTY [C-18] */
  return read->limit <= 0 || scan->emitted < read->limit;
}

static int compare_keys(const void *a, const void *b) {
  return mneme_bytes_compare((*(item *const *)a)->record.key, (*(item *const *)b)->record.key);
}

static bool is_asked_for(const mneme_read *read, const mneme_record *r) {
  if (read->select == MNEME_SELECT_SEQUENCES)
    return r->sequence >= read->first && r->sequence <= read->last;
  if (r->key.size == 0 || !mneme_bytes_begins(r->key, read->key_prefix)) return false;
  if (read->after_key.size == 0) return true;
  int side = mneme_bytes_compare(r->key, read->after_key);
  return read->descending ? side < 0 : side > 0;
}

static mneme_status scan_range(walk *scan) {
  const session *s = scan->session;
  mneme_status status = MNEME_OK;
  item **items = malloc((s->count + 1) * sizeof *items);
  if (items == NULL) return MNEME_NO_MEMORY;
  size_t count = 0;
  for (size_t i = 0; i < s->count; i++)
    if (is_asked_for(scan->read, &s->items[i]->record)) items[count++] = s->items[i];
  if (scan->read->select == MNEME_SELECT_KEYS) qsort(items, count, sizeof *items, compare_keys);
  for (size_t i = 0; i < count; i++)
    if (!show(scan, &items[scan->read->descending ? count - 1 - i : i]->record, &status)) break;
  free(items);
  return status;
}

static mneme_status scan_names(walk *scan) {
  const mneme_read *read = scan->read;
  mneme_status status = MNEME_OK;
  for (size_t i = 0; i < read->name_count; i++) {
    size_t at = find_name(scan->session, read->select == MNEME_SELECT_IDS ? BY_ID : BY_KEY,
                          read->names[i], scan->call->now_us);
    if (at == scan->session->count) continue;
    if (!show(scan, &scan->session->items[at]->record, &status)) break;
  }
  return status;
}

static void template_read(mneme_backend *store, const mneme_call *call, const mneme_read *read,
                          mneme_record_fn emit, mneme_done_fn done, void *ctx) {
  mneme_status status = MNEME_OK;
  pthread_mutex_lock(&store->lock);
  const session *s = find_live(store, read->ns, read->session, call->now_us);
  walk scan = {.call = call, .read = read, .session = s, .emit = emit, .ctx = ctx};
  if (s == NULL)
    status = MNEME_OK; /* DUTY: an absent session reads as an empty one */
  else if (read->uid != NULL && !mneme_uid_equal(read->uid, &s->header->uid))
    status = MNEME_CONFLICT;
  else if (read->select == MNEME_SELECT_SEQUENCES || read->select == MNEME_SELECT_KEYS)
    status = scan_range(&scan);
  else
    status = scan_names(&scan);
  pthread_mutex_unlock(&store->lock);
  done(status, ctx);
}

static void template_log(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                         mneme_bytes name, const mneme_uid *uid, int64_t after,
                         mneme_log_fn emit, mneme_done_fn done, void *ctx) {
  mneme_status status = MNEME_OK;
  pthread_mutex_lock(&store->lock);
  const session *s = find_live(store, ns, name, call->now_us);
  if (s == NULL || !mneme_uid_equal(uid, &s->header->uid))
    status = MNEME_CONFLICT;
  else if (s->log_count != 0 && after + 1 < s->log[0].number) /* DUTY [C-24] */
    status = MNEME_COMPACTED;
  for (size_t i = 0; status == MNEME_OK && i < s->log_count; i++)
    if (s->log[i].number > after && emit(&s->log[i], ctx) != 0) break;
  pthread_mutex_unlock(&store->lock);
  done(status, ctx);
}

/* --- Many sessions -------------------------------------------------------- */

static int compare_ids(const void *a, const void *b) {
  return mneme_bytes_compare((*(session *const *)a)->header->session,
                             (*(session *const *)b)->header->session);
}

static int compare_updates(const void *a, const void *b) {
  int64_t x = (*(session *const *)a)->header->update_us;
  int64_t y = (*(session *const *)b)->header->update_us;
  return x != y ? (x > y ? -1 : 1) : compare_ids(a, b);
}

/* Whether the list asks for it: prefix and keyset. */
static bool is_listed(const mneme_session_list *list, const session *s, int64_t now_us) {
  const mneme_header *h = s->header;
  if (has_lapsed(s, now_us) || !mneme_bytes_equal(h->ns, list->ns)) return false;
  if (!mneme_bytes_begins(h->session, list->prefix)) return false;
  if (list->after_session.size == 0) return true;
  if (list->order == MNEME_SESSIONS_BY_UPDATE && h->update_us != list->after_update_us)
    return h->update_us < list->after_update_us;
  return mneme_bytes_compare(h->session, list->after_session) > 0;
}

static void template_session_list(mneme_backend *store, const mneme_call *call,
                                  const mneme_session_list *list, mneme_header_fn emit,
                                  mneme_done_fn done, void *ctx) {
  size_t count = 0, all = 0;
  int64_t looked = 0;
  mneme_status status = MNEME_OK;
  pthread_mutex_lock(&store->lock);
  for (const session *s = store->sessions; s != NULL; s = s->next) all++;
  session **found = malloc((all + 1) * sizeof *found);
  if (found == NULL) {
    status = MNEME_NO_MEMORY;
  } else {
    for (session *s = store->sessions; s != NULL && is_wanted(call, &looked, &status);
         s = s->next)
      if (is_listed(list, s, call->now_us)) found[count++] = s;
    if (status != MNEME_OK) count = 0;
    qsort(found, count, sizeof *found,
          list->order == MNEME_SESSIONS_BY_UPDATE ? compare_updates : compare_ids);
    for (size_t i = 0; i < count && (int64_t)i < list->limit; i++) {
      if (!is_wanted(call, &looked, &status)) break;
      mneme_header header = header_at(found[i], call->now_us);
      if (emit(&header, ctx) != 0) break;
    }
    free(found);
  }
  pthread_mutex_unlock(&store->lock);
  done(status, ctx);
}

/* Every change has a number, the stamp; a cursor is the last stamp that its
 * reader has seen. DUTY [C-23]: where writers run beside you, take care that no
 * commit with a lower stamp can appear after you have handed out a higher one. */
typedef struct cursor {
  uint64_t store_id;
  int64_t stamp;
} cursor;

static void template_changes(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                             mneme_bytes from, mneme_header_fn emit, mneme_cursor_fn done,
                             void *ctx) {
  cursor after = {store->id, 0}, next = {store->id, 0};
  mneme_status status = MNEME_OK;
  bool enough = false;
  int64_t looked = 0;
  pthread_mutex_lock(&store->lock);
  next.stamp = store->stamp;
  if (from.size == sizeof after) memcpy(&after, from.data, sizeof after);
  if (from.size != 0 && (from.size != sizeof after || after.store_id != store->id ||
                         after.stamp > store->stamp || after.stamp < store->compacted))
    status = MNEME_COMPACTED;
  for (const session *s = store->sessions; status == MNEME_OK && s != NULL && !enough;
       s = s->next) {
    if (!is_wanted(call, &looked, &status)) break;
    if (s->stamp <= after.stamp || !mneme_bytes_equal(s->header->ns, ns)) continue;
    mneme_header header = header_at(s, call->now_us);
    header.deleted = has_lapsed(s, call->now_us);
    enough = emit(&header, ctx) != 0;
  }
  for (const tombstone *t = store->oldest; status == MNEME_OK && t != NULL && !enough;
       t = t->next) {
    if (!is_wanted(call, &looked, &status)) break;
    if (t->stamp > after.stamp && mneme_bytes_equal(t->header->ns, ns))
      enough = emit(t->header, ctx) != 0;
  }
  pthread_mutex_unlock(&store->lock);
  /* Whoever has stopped early is told all of it again. */
  mneme_bytes none = {0}, to = mneme_bytes_of((const char *)&next, sizeof next);
  done(status, status != MNEME_OK ? none : enough ? from : to, ctx);
}

/* --- Upkeep --------------------------------------------------------------- */

static bool is_due(const session *s, int64_t now_us) {
  if (has_lapsed(s, now_us)) return true;
  for (size_t i = 0; i < s->count; i++)
    if (!is_live(s, &s->items[i]->record, now_us)) return true;
  return false;
}

/* Asked every second: in a real engine an index, so that nothing due costs nothing. */
static void template_due(mneme_backend *store, const mneme_call *call, int64_t limit,
                         mneme_header_fn emit, mneme_done_fn done, void *ctx) {
  mneme_status status = MNEME_OK;
  int64_t looked = 0;
  pthread_mutex_lock(&store->lock);
  for (const session *s = store->sessions; s != NULL && limit > 0; s = s->next) {
    if (!is_wanted(call, &looked, &status)) break;
    if (!is_due(s, call->now_us)) continue;
    mneme_header header = header_at(s, call->now_us);
    limit--;
    if (emit(&header, ctx) != 0) break;
  }
  pthread_mutex_unlock(&store->lock);
  done(status, ctx);
}

static void template_stats(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                           mneme_bytes name, mneme_stats_fn done, void *ctx) {
  mneme_stats stats = {0};
  mneme_status status = MNEME_OK;
  int64_t looked = 0;
  pthread_mutex_lock(&store->lock);
  for (const session *s = store->sessions; s != NULL; s = s->next) {
    if (!is_wanted(call, &looked, &status)) break;
    if (has_lapsed(s, call->now_us) || !mneme_bytes_equal(s->header->ns, ns)) continue;
    if (name.size != 0 && !mneme_bytes_equal(s->header->session, name)) continue;
    mneme_header header = header_at(s, call->now_us);
    stats.session_count++;
    stats.memory_count += header.memory_count;
    stats.token_count += header.token_count;
    stats.byte_count += header.byte_count;
  }
  pthread_mutex_unlock(&store->lock);
  done(status, &stats, ctx);
}

/* Whether the store answers. Ask your database for nothing much here. */
static void template_ping(mneme_backend *store, const mneme_call *call, mneme_done_fn done,
                          void *ctx) {
  (void)store;
  (void)call;
  done(MNEME_OK, ctx);
}

static meta **find_meta(mneme_backend *store, mneme_bytes key) {
  meta **at = &store->metas;
  while (*at != NULL && !mneme_bytes_equal(mneme_bytes_of((*at)->key, (*at)->key_size), key))
    at = &(*at)->next;
  return at;
}

/* Copies the value to out, of MNEME_META_VALUE_MAX bytes. */
static mneme_bytes copy_meta(const meta *m, char *out) {
  mneme_bytes none = {0};
  if (m == NULL) return none;
  char *at = out;
  return mneme_bytes_put(&at, mneme_bytes_of(m->value, m->value_size));
}

static void template_meta_get(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                              mneme_meta_fn done, void *ctx) {
  char out[MNEME_META_VALUE_MAX];
  (void)call;
  pthread_mutex_lock(&store->lock);
  mneme_bytes value = copy_meta(*find_meta(store, key), out);
  pthread_mutex_unlock(&store->lock);
  done(MNEME_OK, value, ctx);
}

/* A value that is set to empty is there no more than one that never was. */
static void template_meta_put(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                              mneme_bytes expected, mneme_bytes value, mneme_meta_fn done,
                              void *ctx) {
  char out[MNEME_META_VALUE_MAX];
  mneme_status status = MNEME_OK;
  (void)call;
  if (key.size > MNEME_META_KEY_MAX || value.size > MNEME_META_VALUE_MAX) {
    done(MNEME_INVALID, (mneme_bytes){0}, ctx);
    return;
  }
  pthread_mutex_lock(&store->lock);
  meta **at = find_meta(store, key);
  mneme_bytes current = copy_meta(*at, out);
  if (!mneme_bytes_equal(current, expected)) {
    status = MNEME_CONFLICT;
  } else if (*at == NULL && (*at = calloc(1, sizeof **at)) == NULL) {
    status = MNEME_NO_MEMORY;
  } else {
    char *key_at = (*at)->key, *value_at = (*at)->value;
    (*at)->key_size = mneme_bytes_put(&key_at, key).size;
    (*at)->value_size = mneme_bytes_put(&value_at, value).size;
    current = value;
  }
  pthread_mutex_unlock(&store->lock);
  done(status, current, ctx);
}

/* DUTY [C-28]: bounded, and it says whether there is more. */
static void template_trim(mneme_backend *store, const mneme_call *call, int64_t rows,
                          bool *ret_more, mneme_done_fn done, void *ctx) {
  pthread_mutex_lock(&store->lock);
  for (int i = 0; i < ANSWER_BUCKETS; i++) {
    for (answer **at = &store->answers[i]; *at != NULL && rows > 0;) {
      answer *a = *at;
      if (a->expire_us > call->now_us) {
        at = &a->next;
        continue;
      }
      *at = a->next;
      answer_free(a);
      store->answer_count--;
      rows--;
    }
  }
  *ret_more = rows == 0;
  pthread_mutex_unlock(&store->lock);
  done(MNEME_OK, ctx);
}

/* --- Life ----------------------------------------------------------------- */

/* Your engine's options go here; the host parses, checks and documents them. */
static const mneme_option options[] = {{0}};

static mneme_status template_open(const mneme_host *host, const mneme_option_value *values,
                                  mneme_backend **ret_backend, char *error, size_t size) {
  (void)host; /* keep it to log with: it lives until close has returned */
  (void)values;
  mneme_backend *store = calloc(1, sizeof *store);
  if (store == NULL || getrandom(&store->id, sizeof store->id, 0) != sizeof store->id) {
    snprintf(error, size, "no memory for the store"); /* say what to do about it */
    free(store);
    return MNEME_NO_MEMORY;
  }
  pthread_mutex_init(&store->lock, NULL);
  *ret_backend = store;
  return MNEME_OK;
}

static void template_close(mneme_backend *store) {
  for (session *s = store->sessions, *next; s != NULL; s = next) {
    next = s->next;
    session_free(s);
  }
  for (int i = 0; i < ANSWER_BUCKETS; i++)
    for (answer *a = store->answers[i], *next; a != NULL; a = next) {
      next = a->next;
      answer_free(a);
    }
  for (tombstone *t = store->oldest, *next; t != NULL; t = next) {
    next = t->next;
    free(t->header);
    free(t);
  }
  for (meta *m = store->metas, *next; m != NULL; m = next) {
    next = m->next;
    free(m);
  }
  pthread_mutex_destroy(&store->lock);
  free(store);
}

/* --- The table ------------------------------------------------------------ */

static const mneme_backend_type type = {
    .abi = MNEME_ABI,
    .struct_size = sizeof(mneme_backend_type),
    .name = "template",
    .doc = "The simplest correct backend, to be copied; keeps everything in memory.",
    /* DUTY [C-04]: promise only what holds. Nothing here waits for I/O. */
    .caps = MNEME_CAP_NB_COMMIT | MNEME_CAP_NB_READ,
    .options = options,
    .open = template_open,
    .close = template_close,
    .commit = template_commit,
    .session_get = template_session_get,
    .session_list = template_session_list,
    .request_get = template_request_get,
    .read = template_read,
    .changes = template_changes,
    .log = template_log,
    .due = template_due,
    .stats = template_stats,
    .ping = template_ping,
    .meta_get = template_meta_get,
    .meta_put = template_meta_put,
    .trim = template_trim,
};

/* The one symbol that the shared object exports. */
__attribute__((visibility("default"))) const mneme_backend_type *MNEME_PLUGIN_ENTRY(void) {
  return &type;
}
