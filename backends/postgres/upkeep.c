/* What a store needs beside commits and reads: due, trim, meta values, ping.
 *
 * due goes along the index of due_us, an instant before which nothing in a session expires. It
 * may be too early, when the memory that it was of has gone: such sessions are not told, and a
 * writer is asked to set them right. */
#include "postgres.h"

#include <string.h>

#define DUE_CHUNK 256

/* --- correct_due -------------------------------------------------------------------------- */

typedef struct correct_job {
  pe_job job; /* first */
  mneme_call call;
  size_t count;
  int64_t slots[DUE_CHUNK];
} correct_job;

static pe_query ask_correct(pe_job *job, const pe_link *link, pe_params *p) {
  const correct_job *j = (const correct_job *)job;
  (void)link;
  pe_array(p, PE_INT8, j->count);
  for (size_t i = 0; i < j->count; i++) pe_item_int(p, j->slots[i]);
  pe_end(p);
  pe_int(p, j->call.now_us);
  return (pe_query){.id = PE_CORRECT_DUE};
}

static mneme_status take_nothing(pe_job *job, const PGresult *result) {
  (void)job;
  (void)result;
  return MNEME_OK;
}

/* Nobody waits for it, and there will be another. */
static void correct_done(pe_job *job, mneme_status status) {
  (void)job;
  (void)status;
}

static const pe_kind correct_kind = {
    .writes = true, .ask = ask_correct, .take = take_nothing, .done = correct_done};

/* --- due ------------------------------------------------------------------------------------ */

typedef struct due_job {
  pe_job job; /* first */
  int64_t left, limit;
  int64_t after_us, after_slot;
  mneme_header_fn emit;
  mneme_done_fn done;
  void *ctx;
} due_job;

static pe_query ask_due(pe_job *job, const pe_link *link, pe_params *p) {
  due_job *j = (due_job *)job;
  (void)link;
  j->limit = j->left < DUE_CHUNK ? j->left : DUE_CHUNK;
  pe_int(p, job->call->now_us);
  pe_int(p, j->after_us);
  pe_int(p, j->after_slot);
  pe_int(p, j->limit);
  return (pe_query){.id = PE_DUE};
}

static void correct(const due_job *j, const int64_t *slots, size_t count) {
  correct_job *k = pe_job_new(j->job.store, sizeof *k, &correct_kind, NULL);
  if (k == NULL) return;
  k->call = (mneme_call){.now_us = j->job.call->now_us};
  k->job.call = &k->call;
  k->count = count;
  memcpy(k->slots, slots, count * sizeof *slots);
  pe_job_submit(&k->job);
}

/* slot, due_us, whether something has expired, ns, session, header. */
static mneme_status take_due(pe_job *job, const PGresult *result) {
  due_job *j = (due_job *)job;
  int64_t early[DUE_CHUNK];
  size_t early_count = 0;
  int rows = PQntuples(result);
  bool enough = false;
  for (int i = 0; i < rows && !enough; i++) {
    pe_columns c = {.result = result, .row = i};
    j->after_slot = pe_col_int(&c);
    j->after_us = pe_col_int(&c);
    if (!pe_col_bool(&c)) {
      early[early_count++] = j->after_slot;
      continue;
    }
    mneme_bytes ns = pe_col_bytes(&c), session = pe_col_bytes(&c);
    mneme_header header;
    pe_col_header(&c, &header);
    header.ns = ns;
    header.session = session;
    enough = j->emit(&header, j->ctx) != 0 || --j->left == 0;
  }
  if (early_count != 0) correct(j, early, early_count);
  job->more = !enough && rows == j->limit;
  return MNEME_OK;
}

static void due_done(pe_job *job, mneme_status status) {
  due_job *j = (due_job *)job;
  j->done(status, j->ctx);
}

static const pe_kind due_kind = {.ask = ask_due, .take = take_due, .done = due_done};

void pe_due(mneme_backend *store, const mneme_call *call, int64_t limit, mneme_header_fn emit,
            mneme_done_fn done, void *ctx) {
  if (limit < 1) {
    done(MNEME_OK, ctx);
    return;
  }
  due_job *j = pe_job_new(store, sizeof *j, &due_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, ctx);
    return;
  }
  j->left = limit;
  j->after_us = INT64_MIN;
  j->emit = emit;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}

/* --- trim ------------------------------------------------------------------------------------- */

typedef struct trim_job {
  pe_job job; /* first */
  int64_t rows;
  bool *ret_more;
  mneme_done_fn done;
  void *ctx;
} trim_job;

static pe_query ask_trim(pe_job *job, const pe_link *link, pe_params *p) {
  const trim_job *j = (const trim_job *)job;
  (void)link;
  pe_int(p, job->call->now_us);
  pe_int(p, j->rows);
  pe_int(p, job->store->settings.journal);
  return (pe_query){.id = PE_TRIM};
}

static mneme_status take_trim(pe_job *job, const PGresult *result) {
  pe_columns c = {.result = result};
  if (PQntuples(result) != 1) return MNEME_INTERNAL;
  *((trim_job *)job)->ret_more = pe_col_bool(&c);
  return MNEME_OK;
}

static void trim_done(pe_job *job, mneme_status status) {
  trim_job *j = (trim_job *)job;
  j->done(status, j->ctx);
}

static const pe_kind trim_kind = {
    .writes = true, .ask = ask_trim, .take = take_trim, .done = trim_done};

void pe_trim(mneme_backend *store, const mneme_call *call, int64_t rows, bool *ret_more,
             mneme_done_fn done, void *ctx) {
  *ret_more = false;
  if (rows < 1) {
    done(MNEME_OK, ctx);
    return;
  }
  trim_job *j = pe_job_new(store, sizeof *j, &trim_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, ctx);
    return;
  }
  j->rows = rows;
  j->ret_more = ret_more;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}

/* --- Meta ----------------------------------------------------------------------------------------- */

typedef struct meta_job {
  pe_job job; /* first */
  mneme_bytes key, expected, value;
  mneme_status outcome;
  size_t size;
  mneme_meta_fn done;
  void *ctx;
  char current[MNEME_META_VALUE_MAX];
} meta_job;

static pe_query ask_meta_get(pe_job *job, const pe_link *link, pe_params *p) {
  (void)link;
  pe_bytes(p, ((meta_job *)job)->key);
  return (pe_query){.id = PE_META_GET};
}

static pe_query ask_meta_put(pe_job *job, const pe_link *link, pe_params *p) {
  const meta_job *j = (const meta_job *)job;
  (void)link;
  pe_bytes(p, j->key);
  pe_bytes(p, j->expected);
  pe_bytes(p, j->value);
  return (pe_query){.id = PE_META_PUT};
}

static mneme_status keep(meta_job *j, mneme_bytes value) {
  if (value.size > sizeof j->current) return MNEME_CORRUPT;
  if (value.size != 0) memcpy(j->current, value.data, value.size);
  j->size = value.size;
  return MNEME_OK;
}

static mneme_status take_meta_get(pe_job *job, const PGresult *result) {
  pe_columns c = {.result = result};
  return PQntuples(result) == 0 ? MNEME_OK : keep((meta_job *)job, pe_col_bytes(&c));
}

static mneme_status take_meta_put(pe_job *job, const PGresult *result) {
  pe_columns c = {.result = result};
  if (PQntuples(result) != 1) return MNEME_INTERNAL;
  bool stored = pe_col_bool(&c);
  mneme_status status = keep((meta_job *)job, pe_col_bytes(&c));
  return status != MNEME_OK ? status : stored ? MNEME_OK : MNEME_CONFLICT;
}

static void meta_done(pe_job *job, mneme_status status) {
  meta_job *j = (meta_job *)job;
  j->done(status, mneme_bytes_of(j->current, j->size), j->ctx);
}

static const pe_kind meta_get_kind = {
    .ask = ask_meta_get, .take = take_meta_get, .done = meta_done};
static const pe_kind meta_put_kind = {
    .writes = true, .ask = ask_meta_put, .take = take_meta_put, .done = meta_done};

static void submit_meta(mneme_backend *store, const mneme_call *call, const pe_kind *kind,
                        mneme_bytes key, mneme_bytes expected, mneme_bytes value,
                        mneme_meta_fn done, void *ctx) {
  meta_job *j = pe_job_new(store, sizeof *j, kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, (mneme_bytes){0}, ctx);
    return;
  }
  j->key = key;
  j->expected = expected;
  j->value = value;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}

void pe_meta_get(mneme_backend *store, const mneme_call *call, mneme_bytes key, mneme_meta_fn done,
                 void *ctx) {
  submit_meta(store, call, &meta_get_kind, key, (mneme_bytes){0}, (mneme_bytes){0}, done, ctx);
}

void pe_meta_put(mneme_backend *store, const mneme_call *call, mneme_bytes key,
                 mneme_bytes expected, mneme_bytes value, mneme_meta_fn done, void *ctx) {
  if (key.size == 0 || key.size > MNEME_META_KEY_MAX || value.size > MNEME_META_VALUE_MAX)
    done(MNEME_INVALID, (mneme_bytes){0}, ctx);
  else
    submit_meta(store, call, &meta_put_kind, key, expected, value, done, ctx);
}

/* --- Ping -------------------------------------------------------------------------------------------- */

typedef struct ping_job {
  pe_job job; /* first */
  mneme_done_fn done;
  void *ctx;
} ping_job;

static pe_query ask_ping(pe_job *job, const pe_link *link, pe_params *p) {
  (void)job;
  (void)link;
  (void)p;
  return (pe_query){.id = PE_PING};
}

/* What the server keeps may be set anew while it runs. */
static mneme_status take_ping(pe_job *job, const PGresult *result) {
  if (PQntuples(result) != 1) return MNEME_INTERNAL;
  mneme_durability durability =
      pe_durability_of(PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
  atomic_store(&job->store->durability, (int)durability);
  pe_columns c = {.result = result, .at = 2};
  return pe_col_bool(&c) ? MNEME_DOWN : MNEME_OK; /* it has become a standby */
}

static void ping_done(pe_job *job, mneme_status status) {
  ping_job *j = (ping_job *)job;
  j->done(status, j->ctx);
}

static const pe_kind ping_kind = {.ask = ask_ping, .take = take_ping, .done = ping_done};

void pe_ping(mneme_backend *store, const mneme_call *call, mneme_done_fn done, void *ctx) {
  ping_job *j = pe_job_new(store, sizeof *j, &ping_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, ctx);
    return;
  }
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}
