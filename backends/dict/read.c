/* Reads of one session. Up to MNEME_SCAN_CHECK records, or about a megabyte, are
 * handed to emit under one hold of the shard's lock; then it is let go, the call
 * is asked whether anybody still waits, and the scan goes on from the sequence,
 * key or name where it was. A record keeps its sequence and its key as long as it
 * lives, so none that lives throughout is missed or seen twice. */
#include "dict.h"

#include "bytes.h"
#include "rules.h"

#define LOG_BATCH 256

/* --- read ----------------------------------------------------------------- */

/* Where a scan is, and what it may still emit. */
typedef struct dict_scan {
  mneme_backend *store;
  const mneme_read *read;
  mneme_record_fn emit;
  void *ctx;
  int64_t now_us;
  int64_t left;       /* records to emit */
  int64_t bytes_left; /* of the read's byte_limit */
  bool emitted;       /* one at least */
  bool over;          /* all is emitted, or enough */
  int64_t hold;       /* records to look at, and */
  int64_t hold_bytes; /* bytes to emit, before the lock must be let go */
  int64_t at;         /* SEQUENCES: the next; IDS, NAMED_KEYS: index of the next */
  char key[MNEME_KEY_MAX]; /* KEYS: the last one looked at */
  size_t key_size;         /* 0 = none yet */
} dict_scan;

/* Emits the record, when it is live and fits. */
static void show(dict_scan *scan, const dict_session *s, const dict_record *r) {
  mneme_record view;
  scan->hold--;
  if (!dict_session_shows(s, r, scan->now_us)) return;
  int64_t bytes = dict_record_bytes(r);
  if (scan->emitted && bytes > scan->bytes_left) {
    scan->over = true;
    return;
  }
  dict_record_view(r, &view);
  scan->emitted = true;
  scan->bytes_left -= bytes;
  scan->hold_bytes -= bytes;
  if (scan->emit(&view, scan->ctx) != 0 || --scan->left == 0) scan->over = true;
}

static bool may_go_on(const dict_scan *scan) {
  return !scan->over && scan->hold > 0 && scan->hold_bytes > 0;
}

static void scan_sequences(dict_scan *scan, const dict_session *s) {
  const mneme_read *read = scan->read;
  while (may_go_on(scan)) {
    const dict_record *r = read->descending ? dict_spine_back(&s->spine, scan->at)
                                            : dict_spine_next(&s->spine, scan->at);
    if (r == NULL || r->sequence < read->first || r->sequence > read->last) {
      scan->over = true;
      return;
    }
    scan->at = read->descending ? r->sequence - 1 : r->sequence + 1;
    show(scan, s, r);
  }
}

/* The node strictly beyond `from` in the direction of the read. */
static dict_node *key_beyond(const dict_session *s, mneme_bytes from, bool descending) {
  dict_node *node = dict_order_seek(&s->key_order, dict_record_node_name, from, false);
  if (descending) return node != NULL ? node->back : s->key_order.tail;
  if (node != NULL && mneme_bytes_equal(dict_record_node_name(node), from)) node = node->next[0];
  return node;
}

/* Where the keys with the read's prefix begin. */
static dict_node *first_of_prefix(const dict_session *s, const mneme_read *read) {
  const dict_order *order = &s->key_order;
  if (!read->descending)
    return dict_order_seek(order, dict_record_node_name, read->key_prefix, false);
  if (read->key_prefix.size == 0) return order->tail;
  dict_node *node = dict_order_seek(order, dict_record_node_name, read->key_prefix, true);
  return node != NULL ? node->back : order->tail;
}

/* after_key may lie before all keys with the prefix, beyond them, or among them. */
static dict_node *first_key(const dict_session *s, const mneme_read *read) {
  mneme_bytes after = read->after_key, prefix = read->key_prefix;
  if (after.size == 0) return first_of_prefix(s, read);
  if (!mneme_bytes_begins(after, prefix)) {
    bool before = mneme_bytes_compare(after, prefix) < 0;
    return before != read->descending ? first_of_prefix(s, read) : NULL;
  }
  return key_beyond(s, after, read->descending);
}

static void scan_keys(dict_scan *scan, const dict_session *s) {
  const mneme_read *read = scan->read;
  dict_node *node =
      scan->key_size == 0
          ? first_key(s, read)
          : key_beyond(s, mneme_bytes_of(scan->key, scan->key_size), read->descending);
  mneme_bytes key = {0};
  while (may_go_on(scan)) {
    if (node == NULL || !mneme_bytes_begins(dict_record_node_name(node), read->key_prefix)) {
      scan->over = true;
      return;
    }
    key = dict_record_node_name(node);
    show(scan, s, dict_record_of(node));
    node = read->descending ? node->back : node->next[0];
  }
  scan->key_size = key.size;
  if (key.size != 0) memcpy(scan->key, key.data, key.size);
}

static void scan_names(dict_scan *scan, const dict_session *s) {
  const mneme_read *read = scan->read;
  while (may_go_on(scan)) {
    if ((size_t)scan->at == read->name_count) {
      scan->over = true;
      return;
    }
    mneme_bytes name = read->names[scan->at++];
    const dict_record *r = read->select == MNEME_SELECT_IDS
                               ? dict_session_by_id(s, name, scan->store->seed)
                               : dict_session_by_key(s, name, scan->store->seed);
    if (r != NULL)
      show(scan, s, r);
    else
      scan->hold--;
  }
}

static mneme_status scan_some(dict_scan *scan, const dict_session *s) {
  scan->hold = MNEME_SCAN_CHECK;
  scan->hold_bytes = DICT_HOLD_BYTES;
  switch (scan->read->select) {
    case MNEME_SELECT_SEQUENCES:
      scan_sequences(scan, s);
      return MNEME_OK;
    case MNEME_SELECT_KEYS:
      scan_keys(scan, s);
      return MNEME_OK;
    case MNEME_SELECT_IDS:
    case MNEME_SELECT_NAMED_KEYS:
      scan_names(scan, s);
      return MNEME_OK;
    default:
      return MNEME_INVALID;
  }
}

void dict_read(mneme_backend *store, const mneme_call *call, const mneme_read *read,
               mneme_record_fn emit, mneme_done_fn done, void *ctx) {
  dict_name name;
  mneme_status status = MNEME_OK;
  mneme_uid uid;
  bool resumed = false;
  dict_scan scan;
  if (!dict_name_make(&name, read->ns, read->session, store->seed)) {
    done(MNEME_OK, ctx); /* nobody has such a name */
    return;
  }
  memset(&scan, 0, offsetof(dict_scan, key));
  scan.store = store;
  scan.read = read;
  scan.emit = emit;
  scan.ctx = ctx;
  scan.now_us = call->now_us;
  scan.left = read->limit > 0 ? read->limit : INT64_MAX;
  scan.bytes_left = read->byte_limit > 0 ? read->byte_limit : INT64_MAX;
  scan.key_size = 0;
  if (read->select == MNEME_SELECT_SEQUENCES) scan.at = read->descending ? read->last : read->first;

  dict_shard *shard = dict_shard_of(store, &name);
  for (;;) {
    dict_lock(shard);
    const dict_session *s = dict_shard_live(shard, &name, call->now_us);
    bool other = s != NULL && ((read->uid != NULL && !mneme_uid_equal(read->uid, &s->uid)) ||
                               (resumed && !mneme_uid_equal(&uid, &s->uid)));
    if (s == NULL || other) {
      /* What we were reading has gone in between: then there is no more of it. */
      if (other && read->uid != NULL) status = MNEME_CONFLICT;
      scan.over = true;
    } else {
      uid = s->uid;
      status = scan_some(&scan, s);
    }
    dict_unlock(shard);
    if (scan.over || status != MNEME_OK) break;
    if (mneme_call_expired(call)) {
      status = MNEME_TIMEOUT;
      break;
    }
    resumed = true;
  }
  done(status, ctx);
}

/* --- session_get ---------------------------------------------------------- */

void dict_session_get(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                      mneme_bytes session, mneme_session_fn done, void *ctx) {
  dict_name name;
  dict_session *s = NULL;
  dict_settings *settings = NULL;
  mneme_header header;
  if (dict_name_make(&name, ns, session, store->seed)) {
    dict_shard *shard = dict_shard_of(store, &name);
    dict_lock(shard);
    s = dict_shard_live(shard, &name, call->now_us);
    if (s != NULL) {
      dict_session_header(s, call->now_us, &header);
      header.ns = ns; /* outlive the lock, and so do referenced settings */
      header.session = session;
      settings = dict_settings_ref(s->head.settings);
    }
    dict_unlock(shard);
  }
  if (s != NULL)
    done(MNEME_OK, &header, ctx);
  else
    done(MNEME_NOT_FOUND, NULL, ctx);
  dict_settings_unref(settings);
}

/* --- log ------------------------------------------------------------------ */

void dict_log_entries(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                      mneme_bytes session, const mneme_uid *uid, int64_t after,
                      mneme_log_fn emit, mneme_done_fn done, void *ctx) {
  dict_name name;
  mneme_log_entry entries[LOG_BATCH];
  mneme_status status = MNEME_CONFLICT;
  size_t count = 0;
  if (!dict_name_make(&name, ns, session, store->seed)) {
    done(status, ctx);
    return;
  }
  dict_shard *shard = dict_shard_of(store, &name);
  do {
    dict_lock(shard);
    const dict_session *s = dict_shard_live(shard, &name, call->now_us);
    if (s == NULL || !mneme_uid_equal(uid, &s->uid))
      status = MNEME_CONFLICT;
    else if (!dict_log_read(&s->log, after, entries, LOG_BATCH, &count))
      status = MNEME_COMPACTED;
    else
      status = MNEME_OK;
    dict_unlock(shard);
    if (status != MNEME_OK) break;
    for (size_t i = 0; i < count; i++) {
      after = entries[i].number;
      if (emit(&entries[i], ctx) != 0) count = 0; /* enough */
    }
    if (count == LOG_BATCH && mneme_call_expired(call)) status = MNEME_TIMEOUT;
  } while (count == LOG_BATCH && status == MNEME_OK);
  done(status, ctx);
}
