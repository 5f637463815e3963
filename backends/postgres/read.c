/* Reads of the memories of one session, a result of at most MNEME_SCAN_CHECK records and about
 * PE_RESULT_BYTES at a time: each is a snapshot of its own. The next one goes on behind the last
 * record, by its sequence, key or place. A memory keeps its sequence, and its key while it lives
 * with it, so none that lives throughout is missed or seen twice. */
#include "postgres.h"

#include <string.h>
#include <xxhash.h>

#define CHUNK MNEME_SCAN_CHECK

bool pe_is_name(mneme_bytes ns, mneme_bytes session) {
  return ns.size <= MNEME_NAMESPACE_MAX && session.size <= MNEME_SESSION_MAX;
}

uint64_t pe_session_hash(mneme_bytes ns, mneme_bytes session) {
  return XXH3_64bits_withSeed(session.data, session.size, XXH3_64bits(ns.data, ns.size));
}

/* --- Ranges of names ------------------------------------------------------------------ */

static mneme_bytes copy_name(char *room, mneme_bytes name) {
  size_t size = name.size < PE_NAME_ROOM - 1 ? name.size : PE_NAME_ROOM - 1;
  if (size != 0) memcpy(room, name.data, size);
  return mneme_bytes_of(room, size);
}

/* Right behind a name stands the name with a zero byte. */
static mneme_bytes next_name(char *room, mneme_bytes name) {
  mneme_bytes next = copy_name(room, name);
  room[next.size++] = '\0';
  return next;
}

/* The first name beyond all with the prefix; where there is none, beyond all there are. */
static mneme_bytes end_of_prefix(char *room, mneme_bytes prefix) {
  mneme_bytes end = copy_name(room, prefix);
  while (end.size != 0 && (unsigned char)room[end.size - 1] == 0xff) end.size--;
  if (end.size != 0) {
    room[end.size - 1]++;
    return end;
  }
  memset(room, 0xff, PE_NAME_ROOM);
  return mneme_bytes_of(room, PE_NAME_ROOM);
}

bool pe_range_make(pe_range *range, mneme_bytes prefix, mneme_bytes after, bool descending) {
  if (prefix.size > MNEME_SESSION_MAX) return false;
  range->low = copy_name(range->low_room, prefix);
  range->high = end_of_prefix(range->high_room, prefix);
  if (after.size == 0) return true;
  if (descending) {
    if (mneme_bytes_compare(after, range->high) < 0)
      range->high = copy_name(range->high_room, after);
  } else if (mneme_bytes_compare(after, range->low) >= 0) {
    range->low = next_name(range->low_room, after);
  }
  return mneme_bytes_compare(range->low, range->high) < 0;
}

/* --- read ------------------------------------------------------------------------------- */

typedef struct read_job {
  pe_job job; /* first */
  const mneme_read *read;
  mneme_record_fn emit;
  mneme_done_fn done;
  void *ctx;
  int64_t left;       /* records to emit */
  int64_t bytes_left; /* of the read's byte_limit */
  bool emitted;       /* one at least */
  bool begun;
  mneme_uid uid;      /* of the session that the first result was of */
  int64_t at;         /* SEQUENCES: the next; IDS, NAMED_KEYS: index of the next */
  size_t key_size;    /* KEYS: of the last one looked at; 0 = none yet */
  int64_t limit, bytes; /* of the query under way */
  pe_range range;
  char key[MNEME_KEY_MAX];
} read_job;

static bool is_by_name(const mneme_read *read) {
  return read->select == MNEME_SELECT_IDS || read->select == MNEME_SELECT_NAMED_KEYS;
}

static pe_id ask_sequences(const read_job *j, pe_params *p) {
  const mneme_read *read = j->read;
  pe_int(p, read->descending ? read->first : j->at);
  pe_int(p, read->descending ? j->at : read->last);
  return read->descending ? PE_READ_DOWN : PE_READ_UP;
}

/* A range without a key finds nothing, and so ends the read. */
static pe_id ask_keys(read_job *j, pe_params *p) {
  const mneme_read *read = j->read;
  mneme_bytes after = j->key_size != 0 ? mneme_bytes_of(j->key, j->key_size) : read->after_key;
  bool some = pe_range_make(&j->range, read->key_prefix, after, read->descending);
  pe_bytes(p, some ? j->range.low : (mneme_bytes){0});
  pe_bytes(p, some ? j->range.high : (mneme_bytes){0});
  return read->descending ? PE_READ_KEYS_DOWN : PE_READ_KEYS_UP;
}

static pe_id ask_names(const read_job *j, pe_params *p) {
  const mneme_read *read = j->read;
  size_t from = (size_t)j->at, count = read->name_count - from;
  if (count > CHUNK) count = CHUNK;
  pe_array(p, PE_BYTEA, count);
  for (size_t i = 0; i < count; i++) pe_item_bytes(p, read->names[from + i]);
  pe_end(p);
  return read->select == MNEME_SELECT_IDS ? PE_READ_IDS : PE_READ_NAMED_KEYS;
}

static pe_query ask_read(pe_job *job, const pe_link *link, pe_params *p) {
  read_job *j = (read_job *)job;
  const mneme_read *read = j->read;
  (void)link;
  j->limit = j->left < CHUNK ? j->left : CHUNK;
  j->bytes = j->bytes_left < PE_RESULT_BYTES ? j->bytes_left : PE_RESULT_BYTES;
  if (j->bytes < 1) j->bytes = 1; /* there may be memories of no bytes */
  pe_bytes(p, read->ns);
  pe_bytes(p, read->session);
  pe_int(p, job->call->now_us);
  pe_int4(p, (int32_t)read->projection);
  pe_uuid(p, j->begun ? j->uid.bytes : read->uid != NULL ? read->uid->bytes : NULL);
  pe_int(p, j->limit);
  pe_int(p, j->bytes);
  if (is_by_name(read)) return (pe_query){.id = ask_names(j, p)};
  return (pe_query){.id = read->select == MNEME_SELECT_KEYS ? ask_keys(j, p)
                                                             : ask_sequences(j, p)};
}

/* Where to go on behind this record. */
static void pass(read_job *j, const mneme_record *r, int64_t names_from, int64_t place) {
  const mneme_read *read = j->read;
  if (is_by_name(read)) {
    j->at = names_from + place;
  } else if (read->select == MNEME_SELECT_KEYS) {
    j->key_size = r->key.size;
    memcpy(j->key, r->key.data, r->key.size);
  } else {
    j->at = read->descending ? r->sequence - 1 : r->sequence + 1;
  }
}

/* false = it does not fit, or it was enough. */
static bool show(read_job *j, const mneme_record *r, int64_t size) {
  if (j->emitted && size > j->bytes_left) return false;
  j->emitted = true;
  j->bytes_left -= size;
  return j->emit(r, j->ctx) == 0 && --j->left != 0;
}

/* All rows have been shown: whether there may be more. */
static bool goes_on(read_job *j, int rows, int64_t total, int64_t names_from) {
  bool cut = rows == j->limit || (rows != 0 && total >= j->bytes);
  if (!is_by_name(j->read)) return cut;
  if (!cut) j->at = names_from + CHUNK;
  return j->at < (int64_t)j->read->name_count;
}

static mneme_status take_read(pe_job *job, const PGresult *result) {
  read_job *j = (read_job *)job;
  int64_t names_from = j->at, total = 0;
  int rows = PQntuples(result);
  if (rows == 0) return MNEME_OK; /* no such session */
  pe_columns first = {.result = result};
  bool same = pe_col_bool(&first);
  if (!same) return j->begun ? MNEME_OK : MNEME_CONFLICT; /* it has gone while we read it */
  pe_col_uid(&first, &j->uid);
  j->begun = true;
  if (pe_col_is_null(&first)) rows = 0; /* it has nothing to show */
  for (int i = 0; i < rows; i++) {
    pe_columns c = {.result = result, .row = i, .at = 2};
    mneme_record r;
    int64_t size;
    total = pe_col_int(&c);
    int64_t place = pe_col_int(&c);
    pe_col_record(&c, &r, &size);
    pass(j, &r, names_from, place);
    if (!show(j, &r, size)) return MNEME_OK;
  }
  job->more = goes_on(j, rows, total, names_from);
  return MNEME_OK;
}

static void read_done(pe_job *job, mneme_status status) {
  read_job *j = (read_job *)job;
  j->done(status, j->ctx);
}

static const pe_kind read_kind = {.ask = ask_read, .take = take_read, .done = read_done};

void pe_read(mneme_backend *store, const mneme_call *call, const mneme_read *read,
             mneme_record_fn emit, mneme_done_fn done, void *ctx) {
  if (read->select < MNEME_SELECT_SEQUENCES || read->select > MNEME_SELECT_NAMED_KEYS) {
    done(MNEME_INVALID, ctx);
    return;
  }
  if (!pe_is_name(read->ns, read->session)) {
    done(MNEME_OK, ctx); /* nobody has such a name */
    return;
  }
  read_job *j = pe_job_new(store, sizeof *j, &read_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, ctx);
    return;
  }
  j->read = read;
  j->emit = emit;
  j->done = done;
  j->ctx = ctx;
  j->left = read->limit > 0 ? read->limit : INT64_MAX;
  j->bytes_left = read->byte_limit > 0 ? read->byte_limit : INT64_MAX;
  if (read->select == MNEME_SELECT_SEQUENCES) j->at = read->descending ? read->last : read->first;
  pe_job_submit(&j->job);
}

/* --- log --------------------------------------------------------------------------------- */

typedef struct log_job {
  pe_job job; /* first */
  mneme_bytes ns, session;
  const mneme_uid *uid;
  int64_t after;
  mneme_log_fn emit;
  mneme_done_fn done;
  void *ctx;
} log_job;

static pe_query ask_log(pe_job *job, const pe_link *link, pe_params *p) {
  const log_job *j = (const log_job *)job;
  (void)link;
  pe_bytes(p, j->ns);
  pe_bytes(p, j->session);
  pe_uuid(p, j->uid->bytes);
  pe_int(p, j->after);
  pe_int(p, job->call->now_us);
  pe_int(p, CHUNK);
  return (pe_query){.id = PE_LOG_READ};
}

static mneme_status take_log(pe_job *job, const PGresult *result) {
  log_job *j = (log_job *)job;
  int rows = PQntuples(result);
  pe_columns first = {.result = result};
  if (rows == 0 || !pe_col_bool(&first)) return MNEME_CONFLICT;
  if (j->after < pe_col_int(&first)) return MNEME_COMPACTED;
  if (pe_col_is_null(&first)) return MNEME_OK;
  for (int i = 0; i < rows; i++) {
    pe_columns c = {.result = result, .row = i, .at = 2};
    mneme_log_entry entry = {.number = pe_col_int(&c)};
    entry.revision = pe_col_int(&c);
    entry.first = pe_col_int(&c);
    entry.last = pe_col_int(&c);
    entry.op = (mneme_log_op)pe_col_int(&c);
    j->after = entry.number;
    if (j->emit(&entry, j->ctx) != 0) return MNEME_OK;
  }
  job->more = rows == CHUNK;
  return MNEME_OK;
}

static void log_done(pe_job *job, mneme_status status) {
  log_job *j = (log_job *)job;
  j->done(status, j->ctx);
}

static const pe_kind log_kind = {.ask = ask_log, .take = take_log, .done = log_done};

void pe_log_read(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                 mneme_bytes session, const mneme_uid *uid, int64_t after, mneme_log_fn emit,
                 mneme_done_fn done, void *ctx) {
  if (!pe_is_name(ns, session)) {
    done(MNEME_CONFLICT, ctx);
    return;
  }
  log_job *j = pe_job_new(store, sizeof *j, &log_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, ctx);
    return;
  }
  j->ns = ns;
  j->session = session;
  j->uid = uid;
  j->after = after > 0 ? after : 0;
  j->emit = emit;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}
