/* Headers: of one session, of those of a namespace, and what they sum up to. Lists come in
 * results of at most MNEME_SCAN_CHECK; the next one goes on behind the last session. */
#include "postgres.h"

#include <string.h>

#define CHUNK MNEME_SCAN_CHECK

/* --- session_get ---------------------------------------------------------------------- */

typedef struct get_job {
  pe_job job; /* first */
  mneme_bytes ns, session;
  mneme_session_fn done; /* NULL once it was called */
  void *ctx;
} get_job;

static pe_query ask_session(pe_job *job, const pe_link *link, pe_params *p) {
  const get_job *j = (const get_job *)job;
  (void)link;
  pe_bytes(p, j->ns);
  pe_bytes(p, j->session);
  pe_int(p, job->call->now_us);
  return (pe_query){.id = PE_SESSION_GET};
}

/* The header is told here, where the result still is. */
static mneme_status take_session(pe_job *job, const PGresult *result) {
  get_job *j = (get_job *)job;
  pe_columns c = {.result = result};
  mneme_header header;
  if (PQntuples(result) == 0) return MNEME_NOT_FOUND;
  pe_col_header(&c, &header);
  header.ns = j->ns;
  header.session = j->session;
  j->done(MNEME_OK, &header, j->ctx);
  j->done = NULL;
  return MNEME_OK;
}

static void session_done(pe_job *job, mneme_status status) {
  get_job *j = (get_job *)job;
  if (j->done != NULL) j->done(status, NULL, j->ctx);
}

static const pe_kind get_kind = {.ask = ask_session, .take = take_session, .done = session_done};

void pe_session_get(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                    mneme_bytes session, mneme_session_fn done, void *ctx) {
  if (!pe_is_name(ns, session)) {
    done(MNEME_NOT_FOUND, NULL, ctx);
    return;
  }
  get_job *j = pe_job_new(store, sizeof *j, &get_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, NULL, ctx);
    return;
  }
  j->ns = ns;
  j->session = session;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}

/* --- session_list ---------------------------------------------------------------------- */

typedef struct list_job {
  pe_job job; /* first */
  const mneme_session_list *list;
  mneme_header_fn emit;
  mneme_done_fn done;
  void *ctx;
  int64_t left, limit;
  bool begins; /* from the start */
  int64_t after_us;
  size_t after_size;
  pe_range range;
  char after[PE_NAME_ROOM];
} list_job;

static pe_query ask_list(pe_job *job, const pe_link *link, pe_params *p) {
  list_job *j = (list_job *)job;
  const mneme_session_list *list = j->list;
  bool by_id = list->order == MNEME_SESSIONS_BY_ID;
  mneme_bytes after = mneme_bytes_of(j->after, j->after_size);
  bool some = pe_range_make(&j->range, list->prefix, by_id ? after : (mneme_bytes){0}, false);
  (void)link;
  j->limit = j->left < CHUNK ? j->left : CHUNK;
  pe_bytes(p, list->ns);
  pe_bytes(p, some ? j->range.low : (mneme_bytes){0});
  pe_bytes(p, some ? j->range.high : (mneme_bytes){0});
  pe_int(p, job->call->now_us);
  pe_int(p, j->limit);
  if (by_id) return (pe_query){.id = PE_LIST_BY_ID};
  pe_bool(p, j->after_size != 0);
  pe_int(p, j->after_us);
  pe_bytes(p, after);
  return (pe_query){.id = PE_LIST_BY_UPDATE};
}

static void set_after(list_job *j, mneme_bytes session, int64_t update_us) {
  j->after_size = session.size < PE_NAME_ROOM ? session.size : PE_NAME_ROOM;
  if (j->after_size != 0) memcpy(j->after, session.data, j->after_size);
  j->after_us = update_us;
}

static mneme_status take_list(pe_job *job, const PGresult *result) {
  list_job *j = (list_job *)job;
  int rows = PQntuples(result);
  for (int i = 0; i < rows; i++) {
    pe_columns c = {.result = result, .row = i};
    mneme_bytes session = pe_col_bytes(&c);
    mneme_header header;
    pe_col_header(&c, &header);
    header.ns = j->list->ns;
    header.session = session;
    set_after(j, session, header.update_us);
    if (j->emit(&header, j->ctx) != 0 || --j->left == 0) return MNEME_OK;
  }
  job->more = rows == j->limit;
  return MNEME_OK;
}

static void list_done(pe_job *job, mneme_status status) {
  list_job *j = (list_job *)job;
  j->done(status, j->ctx);
}

static const pe_kind list_kind = {.ask = ask_list, .take = take_list, .done = list_done};
static const pe_kind sorted_kind = {
    .ask = ask_list, .take = take_list, .done = list_done, .heavy = true};

void pe_session_list(mneme_backend *store, const mneme_call *call, const mneme_session_list *list,
                     mneme_header_fn emit, mneme_done_fn done, void *ctx) {
  bool by_id = list->order == MNEME_SESSIONS_BY_ID;
  if (list->ns.size > MNEME_NAMESPACE_MAX || list->limit < 1) {
    done(MNEME_OK, ctx);
    return;
  }
  list_job *j = pe_job_new(store, sizeof *j, by_id ? &list_kind : &sorted_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, ctx);
    return;
  }
  j->list = list;
  j->emit = emit;
  j->done = done;
  j->ctx = ctx;
  j->left = list->limit;
  set_after(j, list->after_session, list->after_update_us);
  pe_job_submit(&j->job);
}

/* --- stats -------------------------------------------------------------------------------- */

typedef struct stats_job {
  pe_job job; /* first */
  mneme_bytes ns, session;
  mneme_stats stats;
  mneme_stats_fn done;
  void *ctx;
} stats_job;

static pe_query ask_stats(pe_job *job, const pe_link *link, pe_params *p) {
  const stats_job *j = (const stats_job *)job;
  (void)link;
  pe_bytes(p, j->ns);
  pe_int(p, job->call->now_us);
  if (j->session.size == 0) return (pe_query){.id = PE_STATS};
  pe_bytes(p, j->session);
  return (pe_query){.id = PE_STATS_OF_ONE};
}

static mneme_status take_stats(pe_job *job, const PGresult *result) {
  stats_job *j = (stats_job *)job;
  pe_columns c = {.result = result};
  if (PQntuples(result) != 1) return MNEME_INTERNAL;
  j->stats.session_count = pe_col_int(&c);
  j->stats.memory_count = pe_col_int(&c);
  j->stats.token_count = pe_col_int(&c);
  j->stats.byte_count = pe_col_int(&c);
  return MNEME_OK;
}

static void stats_done(pe_job *job, mneme_status status) {
  stats_job *j = (stats_job *)job;
  j->done(status, &j->stats, j->ctx);
}

static const pe_kind stats_kind = {
    .ask = ask_stats, .take = take_stats, .done = stats_done, .heavy = true};
static const pe_kind stats_of_one_kind = {
    .ask = ask_stats, .take = take_stats, .done = stats_done};

void pe_stats(mneme_backend *store, const mneme_call *call, mneme_bytes ns, mneme_bytes session,
              mneme_stats_fn done, void *ctx) {
  const mneme_stats none = {0};
  if (!pe_is_name(ns, session)) {
    done(MNEME_OK, &none, ctx);
    return;
  }
  stats_job *j = pe_job_new(store, sizeof *j,
                            session.size == 0 ? &stats_kind : &stats_of_one_kind, call);
  if (j == NULL) {
    done(MNEME_NO_MEMORY, &none, ctx);
    return;
  }
  j->ns = ns;
  j->session = session;
  j->done = done;
  j->ctx = ctx;
  pe_job_submit(&j->job);
}
