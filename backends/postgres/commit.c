/* A commit as commit_write takes it (sql/commit.sql), and what it answers. */
#include "postgres.h"

#include "rules.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_COLUMNS 28

/* --- Parameters --------------------------------------------------------------------- */

static void put_guards(const pe_commit *k, pe_params *p) {
  const mneme_write *w = k->write;
  pe_bytes(p, w->ns);
  pe_bytes(p, w->session);
  pe_bytes_or_null(p, w->request_id);
  pe_uuid(p, w->fingerprint);
  pe_int(p, w->window_us);
  pe_int(p, k->job.call->now_us);
  pe_uuid(p, w->uid != NULL ? w->uid->bytes : NULL);
  pe_int4(p, (int32_t)w->existence);
  pe_int(p, w->expected_revision);
  pe_int(p, w->expected_settings_revision);
  pe_uuid(p, w->new_uid.bytes);
}

static void put_plan(const mneme_plan *plan, pe_params *p) {
  pe_int(p, plan->settings_revision);
  pe_int(p, plan->evict_above);
  pe_int(p, plan->evict_to);
  pe_int(p, plan->evict_above_tokens);
  pe_int(p, plan->evict_to_tokens);
  pe_int(p, plan->max_age_us);
  pe_int(p, plan->ttl_us);
  pe_int4(p, (int32_t)plan->strategy);
  pe_bool(p, plan->keep_system);
}

static bool has_records(const mneme_step *s) {
  return s->op == MNEME_STEP_APPEND || s->op == MNEME_STEP_PUT;
}

static bool has_names(const mneme_step *s) {
  return s->op == MNEME_STEP_REMOVE_IDS || s->op == MNEME_STEP_REMOVE_KEYS;
}

static bool has_sequences(const mneme_step *s) {
  return s->op == MNEME_STEP_REMOVE_SEQUENCES || s->op == MNEME_STEP_TOUCH;
}

static size_t item_count(const mneme_step *s) {
  return has_records(s)     ? s->record_count
         : has_names(s)     ? s->name_count
         : has_sequences(s) ? s->sequence_count
                            : 0;
}

#define EACH_STEP(put)                                 \
  for (size_t i_ = 0; i_ < w->step_count; i_++) {      \
    const mneme_step *s = &w->steps[i_];               \
    put;                                               \
  }                                                    \
  pe_end(p)

#define STEPS(type, put)           \
  pe_array(p, type, w->step_count); \
  EACH_STEP(put)

static void put_steps(const mneme_write *w, pe_params *p) {
  STEPS(PE_INT4, pe_item_int4(p, (int32_t)s->op));
  STEPS(PE_INT8, pe_item_int(p, s->op == MNEME_STEP_REMOVE_FROM ? s->from_sequence : s->count));
  STEPS(PE_INT8, pe_item_int(p, s->byte_limit));
  STEPS(PE_INT8, pe_item_int(p, s->expected_revision));
  STEPS(PE_BYTEA, pe_item_bytes_or_null(p, s->settings));
  STEPS(PE_BOOL, pe_item_bool(p, s->slide_ttl));
  STEPS(PE_INT4, pe_item_int4(p, (int32_t)item_count(s)));
}

static void column_int(pe_params *p, int64_t value) {
  pe_column(p, PE_INT8);
  pe_item_int(p, value);
}

static void column_int_or_null(pe_params *p, int64_t value, int64_t null) {
  pe_column(p, PE_INT8);
  pe_item_int_or_null(p, value, null);
}

static void column_bytes(pe_params *p, mneme_bytes value) {
  pe_column(p, PE_BYTEA);
  pe_item_bytes_or_null(p, value);
}

/* The columns of memories, in their order; what the commit assigns is empty. */
static void put_record(const mneme_record *r, pe_params *p) {
  size_t row = pe_row(p, 25);
  column_int(p, 0);
  column_int(p, r->sequence);
  column_int(p, 0);
  column_int(p, 0);
  column_int(p, 0);
  column_int(p, r->token_count);
  column_int_or_null(p, 0, 0);
  column_int_or_null(p, 0, 0);
  column_int_or_null(p, r->ttl_us, 0);
  column_int_or_null(p, r->event_us, MNEME_NO_EVENT);
  column_int_or_null(p, r->expire_us, 0);
  pe_column(p, PE_FLOAT8);
  pe_item_real_or_null(p, r->importance, !r->has_importance);
  pe_column(p, PE_FLOAT8);
  pe_item_null(p);
  pe_column(p, PE_INT4);
  pe_item_int4(p, (int32_t)r->crc);
  pe_column(p, PE_INT4);
  pe_item_int4(p, (int32_t)mneme_rule_bytes(r));
  pe_column(p, PE_INT4);
  if (r->tier != 0)
    pe_item_int4(p, r->tier);
  else
    pe_item_null(p);
  pe_column(p, PE_BOOL);
  pe_item_bool(p, r->pinned);
  pe_column(p, PE_BYTEA);
  pe_item_bytes(p, r->id);
  column_bytes(p, r->key);
  column_bytes(p, r->kind);
  column_bytes(p, r->role);
  column_bytes(p, r->author);
  column_bytes(p, r->source);
  column_bytes(p, r->metadata_json);
  pe_column(p, PE_BYTEA);
  pe_item_bytes(p, r->body);
  pe_row_end(p, row);
}

static size_t count_items(const mneme_write *w, bool (*has)(const mneme_step *)) {
  size_t count = 0;
  for (size_t i = 0; i < w->step_count; i++)
    if (has(&w->steps[i])) count += item_count(&w->steps[i]);
  return count;
}

static void put_items(const mneme_write *w, const pe_link *link, pe_params *p) {
  size_t records = count_items(w, has_records), names = count_items(w, has_names);
  size_t sequences = count_items(w, has_sequences);
  pe_array(p, PE_INT4, records);
  EACH_STEP(for (size_t i = 0; has_records(s) && i < s->record_count; i++)
      pe_item_int4(p, s->op == MNEME_STEP_APPEND ? (int32_t)s->on_conflict[i] : 0));
  pe_array(p, link->memories, records);
  EACH_STEP(for (size_t i = 0; has_records(s) && i < s->record_count; i++)
      put_record(&s->records[i], p));
  pe_array(p, PE_BYTEA, names);
  EACH_STEP(for (size_t i = 0; has_names(s) && i < s->name_count; i++)
      pe_item_bytes(p, s->names[i]));
  pe_array(p, PE_INT8, sequences);
  EACH_STEP(for (size_t i = 0; has_sequences(s) && i < s->sequence_count; i++)
      pe_item_int(p, s->sequences[i]));
  pe_array(p, PE_INT8, sequences);
  EACH_STEP(for (size_t i = 0; has_sequences(s) && i < s->sequence_count; i++)
      if (s->op == MNEME_STEP_REMOVE_SEQUENCES && s->revisions != NULL)
        pe_item_int(p, s->revisions[i]);
      else
        pe_item_null(p));
}

void pe_commit_params(const pe_commit *k, const pe_link *link, pe_params *p) {
  pe_params_clear(p);
  put_guards(k, p);
  put_plan(&k->write->plan, p);
  pe_bool(p, k->write->want_removed);
  put_steps(k->write, p);
  put_items(k->write, link, p);
}

/* --- Answers ------------------------------------------------------------------------- */

/* Lists of the answer, in one piece of memory. */
typedef struct lists {
  mneme_ref *refs;
  mneme_record *removed;
} lists;

static size_t list_size(mneme_bytes array) {
  pe_items items;
  pe_items_begin(&items, array);
  return items.left;
}

/* sequences, revisions and created are NULL where all were created, the last of them with the
 * header's last_sequence and revision. */
static bool read_refs(pe_columns *c, mneme_written *w, mneme_ref **ret_refs, int64_t last,
                      int64_t revision) {
  pe_items ids, sequences, revisions, created;
  mneme_bytes item;
  pe_items_begin(&ids, pe_col_bytes(c));
  bool plain = pe_col_is_null(c);
  pe_items_begin(&sequences, pe_col_bytes(c));
  pe_items_begin(&revisions, pe_col_bytes(c));
  pe_items_begin(&created, pe_col_bytes(c));
  size_t count = ids.left;
  mneme_ref *refs = calloc(count + 1, sizeof *refs);
  if (refs == NULL) return false;
  *ret_refs = refs;
  w->refs = refs;
  for (; w->ref_count < count && pe_items_next(&ids, &item); w->ref_count++) {
    mneme_ref *ref = &refs[w->ref_count];
    int64_t back = (int64_t)(count - 1 - w->ref_count);
    *ref = (mneme_ref){item, last - back, revision, true};
    if (plain) continue;
    if (pe_items_next(&sequences, &item)) ref->sequence = pe_bytes_int(item);
    if (pe_items_next(&revisions, &item)) ref->revision = pe_bytes_int(item);
    if (pe_items_next(&created, &item)) ref->created = item.size == 1 && item.data[0] != 0;
  }
  return true;
}

static bool read_removed(mneme_bytes array, mneme_written *w, mneme_record **ret_removed) {
  pe_items items;
  mneme_bytes item;
  size_t count = list_size(array);
  mneme_record *removed = calloc(count + 1, sizeof *removed);
  if (removed == NULL) return false;
  *ret_removed = removed;
  pe_items_begin(&items, array);
  while (pe_items_next(&items, &item) && pe_item_record(item, &removed[w->removed_count_listed]))
    w->removed_count_listed++;
  if (w->removed_count_listed != 0) w->removed = removed;
  return true;
}

/* The row of an answer, which stays with the result. */
static mneme_status read_answer(const PGresult *result, const mneme_write *write,
                                mneme_written *ret_written, lists *ret_lists) {
  pe_columns c = {.result = result};
  mneme_written w = {0};
  if (PQntuples(result) != 1 || PQnfields(result) != ANSWER_COLUMNS) return MNEME_INTERNAL;
  mneme_status status = (mneme_status)pe_col_int(&c);
  w.conflict_revision = pe_col_int(&c);
  w.deduplicated = pe_col_bool(&c);
  w.existed = pe_col_bool(&c);
  w.truncated = pe_col_bool(&c);
  w.removed_count = pe_col_int(&c);
  w.evicted_count = pe_col_int(&c);
  w.expired_count = pe_col_int(&c);
  pe_columns refs = c;
  pe_col_skip(&c, 4);
  mneme_bytes removed = pe_col_bytes(&c);
  pe_col_header(&c, &w.header);
  w.header.ns = write->ns;
  w.header.session = write->session;
  if (!read_refs(&refs, &w, &ret_lists->refs, w.header.last_sequence, w.header.revision) ||
      !read_removed(removed, &w, &ret_lists->removed))
    return MNEME_NO_MEMORY;
  *ret_written = w;
  return status;
}

void pe_commit_answer(pe_commit *k) {
  lists l = {0};
  mneme_written written = {0};
  mneme_status status = read_answer(k->result, k->write, &written, &l);
  /* It has happened, whatever we can't tell of it. */
  if (status == MNEME_NO_MEMORY || status == MNEME_INTERNAL) status = MNEME_UNCERTAIN;
  /* A session that is full stays full: its next append evicts, too. */
  bool full = written.evicted_count != 0 &&
              written.header.memory_count >= k->write->plan.evict_above;
  if (status == MNEME_OK && pe_append_fits(k)) pe_slow_note(k->job.store, k->job.hash, full);
  k->answered = true;
  k->done(status, &written, k->ctx);
  free(l.refs);
  free(l.removed);
  pe_job_done(&k->job, status);
}

/* --- The operation ---------------------------------------------------------------------- */

static void commit_done(pe_job *job, mneme_status status) {
  pe_commit *k = (pe_commit *)job;
  PQclear(k->result);
  k->result = NULL;
  if (!k->answered) k->done(status, NULL, k->ctx);
}

static const pe_kind commit_kind = {.writes = true, .commits = true, .done = commit_done};

static bool record_fits(const mneme_record *r) {
  return r->id.size <= MNEME_ID_MAX && r->key.size <= MNEME_KEY_MAX &&
         r->kind.size <= MNEME_ID_MAX && r->role.size <= MNEME_ID_MAX &&
         r->author.size <= MNEME_ID_MAX && r->source.size <= MNEME_ID_MAX &&
         r->body.size <= MNEME_BODY_MAX;
}

/* Sizes, and whether the indexes can hold it. */
static bool measure(pe_commit *k) {
  const mneme_write *w = k->write;
  if (!pe_is_name(w->ns, w->session) || w->request_id.size > MNEME_ID_MAX) return false;
  for (size_t i = 0; i < w->step_count; i++) {
    const mneme_step *s = &w->steps[i];
    if (s->op == MNEME_STEP_SET_SETTINGS && s->settings.size > MNEME_SETTINGS_MAX) return false;
    for (size_t j = 0; has_records(s) && j < s->record_count; j++) {
      if (!record_fits(&s->records[j])) return false;
      k->records++;
      k->bytes += mneme_rule_bytes(&s->records[j]);
    }
  }
  return true;
}

void pe_commit_run(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                   mneme_written_fn done, void *ctx) {
  pe_commit *k = pe_job_new(store, sizeof *k, &commit_kind, call);
  if (k == NULL) {
    done(MNEME_NO_MEMORY, NULL, ctx);
    return;
  }
  k->write = write;
  k->done = done;
  k->ctx = ctx;
  k->job.hash = pe_session_hash(write->ns, write->session);
  if (measure(k))
    pe_job_submit(&k->job);
  else
    pe_job_done(&k->job, MNEME_TOO_BIG);
}

/* --- request_get -------------------------------------------------------------------------- */

typedef struct request_job {
  pe_job job; /* first */
  const mneme_write *write;
  mneme_written_fn done;
  void *ctx;
} request_job;

static pe_query ask_request(pe_job *job, const pe_link *link, pe_params *p) {
  const mneme_write *w = ((request_job *)job)->write;
  (void)link;
  pe_bytes(p, w->ns);
  pe_bytes(p, w->session);
  pe_bytes(p, w->request_id);
  pe_uuid(p, w->fingerprint);
  pe_int(p, job->call->now_us);
  return (pe_query){.id = PE_REQUEST_GET};
}

/* The answer is told here, where the result still is. */
static mneme_status take_request(pe_job *job, const PGresult *result) {
  request_job *j = (request_job *)job;
  lists l = {0};
  mneme_written written = {0};
  mneme_status status = PQntuples(result) != 0
                            ? read_answer(result, j->write, &written, &l)
                            : MNEME_NOT_FOUND;
  if (status == MNEME_OK) {
    j->done(MNEME_OK, &written, j->ctx);
    j->done = NULL;
  }
  free(l.refs);
  free(l.removed);
  return status;
}

static void request_done(pe_job *job, mneme_status status) {
  request_job *j = (request_job *)job;
  if (j->done != NULL) j->done(status, NULL, j->ctx);
}

static const pe_kind request_kind = {
    .ask = ask_request, .take = take_request, .done = request_done};

void pe_request_get(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                    mneme_written_fn done, void *ctx) {
  if (!pe_is_name(write->ns, write->session) || write->request_id.size > MNEME_ID_MAX) {
    done(MNEME_NOT_FOUND, NULL, ctx);
    return;
  }
  request_job *j = pe_job_new(store, sizeof *j, &request_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, NULL, ctx);
    return;
  }
  j->write = write;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}
