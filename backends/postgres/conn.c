/* A connection on the loop: libpq in pipeline mode, its socket watched by libuv.
 *
 *   send, send, end | send, end | ..   -->  the server works them off in order
 *   unit             unit              <--  result, result, sync | result, sync | ..
 *
 * A Sync ends each unit, so an error takes back one unit and no other, and whatever happens
 * the next one begins on clean ground. What a unit has done counts when its Sync has come
 * back: until then the transaction may still fail.
 *
 * The connection ends when the server or the network says so, when libpq has no memory, and when
 * the server is silent for too long (loop.c). Then every unit under way ends as lost. */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Outlives the connection for as long as libuv needs it. */
struct pe_watch {
  uv_poll_t poll;
  pe_conn *conn; /* NULL once the connection has ended */
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(pe_conn *c) {
  int events = UV_READABLE | (c->writable_wanted ? UV_WRITABLE : 0);
  uv_poll_start(&c->watch->poll, events, on_ready);
}

static void free_watch(uv_handle_t *handle) { free(handle); }

void pe_conn_adopt(pe_conn *c, pe_link link) {
  c->watch = calloc(1, sizeof *c->watch);
  c->link = link;
  c->fatal = c->writable_wanted = c->cancelled = false;
  if (c->watch == NULL || uv_poll_init(&c->store->loop, &c->watch->poll, PQsocket(link.pg)) != 0) {
    free(c->watch);
    c->watch = NULL;
    pe_conn_drop(c, "no memory to watch it");
    return;
  }
  c->watch->conn = c;
  watch(c);
}

void pe_conn_drop(pe_conn *c, const char *why) {
  mneme_backend *store = c->store;
  if (c->link.pg == NULL) return;
  if (!store->stopping && why != NULL)
    pe_log(store, MNEME_LOG_WARN, "a connection has ended: %s", why);
  if (c->watch != NULL) {
    c->watch->conn = NULL;
    uv_poll_stop(&c->watch->poll);
    uv_close((uv_handle_t *)&c->watch->poll, free_watch);
    c->watch = NULL;
  }
  PQfinish(c->link.pg);
  c->link = (pe_link){0};
  while (!STAILQ_EMPTY(&c->units)) {
    pe_unit *unit = STAILQ_FIRST(&c->units);
    STAILQ_REMOVE_HEAD(&c->units, next);
    unit->end(unit, c, PE_END_LOST);
  }
  c->unit_count = c->heavy_count = 0;
  if (!store->stopping) pe_loop_lost(store, c);
}

static void drop_for_its_own_reason(pe_conn *c) {
  char text[PE_TEXT_MAX];
  pe_conn_text(c->link.pg, text, sizeof text);
  pe_conn_drop(c, text);
}

/* --- Sending ----------------------------------------------------------------------------- */

static bool sent(pe_conn *c, int ok) {
  if (ok) return true;
  drop_for_its_own_reason(c);
  return false;
}

static int fill(const pe_params *p, const char **values, int *lengths, int *formats) {
  for (int i = 0; i < p->count; i++) {
    bool null = p->values[i].size < 0;
    values[i] = null ? NULL : p->bytes + p->values[i].at;
    lengths[i] = null ? 0 : p->values[i].size;
    formats[i] = 1;
  }
  return p->count;
}

bool pe_conn_send(pe_conn *c, pe_query query, const pe_params *p) {
  const char *values[PE_PARAMS_MAX];
  int lengths[PE_PARAMS_MAX], formats[PE_PARAMS_MAX];
  char name[16];
  int count = fill(p, values, lengths, formats);
  if (query.text != NULL)
    return sent(c, PQsendQueryParams(c->link.pg, query.text, count, NULL, values, lengths, formats,
                                     1));
  snprintf(name, sizeof name, "s%d", (int)query.id);
  return sent(c, PQsendQueryPrepared(c->link.pg, name, count, values, lengths, formats, 1));
}

void pe_conn_end(pe_conn *c, pe_unit *unit) {
  unit->state[0] = '\0';
  if (STAILQ_EMPTY(&c->units)) c->since_ms = pe_now_ms(c->store);
  STAILQ_INSERT_TAIL(&c->units, unit, next);
  c->unit_count++;
  if (unit->heavy) c->heavy_count++;
  if (!PQpipelineSync(c->link.pg)) drop_for_its_own_reason(c);
}

void pe_conn_flush(pe_conn *c) {
  if (c->link.pg == NULL) return;
  int left = PQflush(c->link.pg);
  if (left < 0) {
    drop_for_its_own_reason(c);
  } else if ((left > 0) != c->writable_wanted) {
    c->writable_wanted = left > 0;
    watch(c);
  }
}

void pe_conn_cancel(pe_conn *c) {
  if (c->cancelled || c->link.pg == NULL) return;
  c->cancelled = true;
  pe_canceller_ask(c->store->canceller, PQgetCancel(c->link.pg));
}

/* --- Receiving ----------------------------------------------------------------------------- */

static void note_error(pe_conn *c, pe_unit *unit, const PGresult *result) {
  const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  /* FATAL says that the connection ends, not what became of the transaction. */
  if (severity != NULL && strcmp(severity, "ERROR") != 0) c->fatal = true;
  if (unit->state[0] != '\0') return;
  snprintf(unit->state, sizeof unit->state, "%.5s", state != NULL ? state : "08006");
  pe_fault fault = pe_fault_of(unit->state);
  if (fault == PE_FAULT_RACE || fault == PE_FAULT_TAKEN || fault == PE_FAULT_STOPPED) return;
  char text[PE_TEXT_MAX];
  pe_result_text(result, text, sizeof text);
  pe_log(c->store, MNEME_LOG_WARN, "the server answers: %s", text);
}

static void end_unit(pe_conn *c, pe_unit *unit) {
  STAILQ_REMOVE_HEAD(&c->units, next);
  c->unit_count--;
  if (unit->heavy) c->heavy_count--;
  c->since_ms = pe_now_ms(c->store);
  c->cancelled = false;
  unit->end(unit, c, unit->state[0] == '\0' ? PE_END_DONE : PE_END_FAILED);
}

/* Takes one result in; false when there is nothing more for now. Between two statements
 * libpq gives a NULL; two in a row mean that it has nothing. */
static bool take_result(pe_conn *c, bool *was_null) {
  PGresult *result = PQgetResult(c->link.pg);
  pe_unit *unit = STAILQ_FIRST(&c->units);
  bool null = result == NULL;
  bool again = !(null && *was_null);
  *was_null = null;
  if (null) return again;
  switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
      if (unit != NULL && unit->state[0] == '\0')
        unit->take(unit, result);
      else
        PQclear(result);
      break;
    case PGRES_PIPELINE_SYNC:
      PQclear(result);
      if (unit != NULL) end_unit(c, unit);
      break;
    case PGRES_PIPELINE_ABORTED:
      PQclear(result);
      break;
    default:
      if (unit != NULL) note_error(c, unit, result);
      PQclear(result);
      break;
  }
  return true;
}

static void receive(pe_conn *c) {
  bool was_null = false;
  if (!PQconsumeInput(c->link.pg)) {
    /* What came before the end may still be read: it may be the server's last words. */
    c->fatal = true;
  }
  while (c->link.pg != NULL && !STAILQ_EMPTY(&c->units) && !PQisBusy(c->link.pg) &&
         take_result(c, &was_null))
    continue;
  if (c->link.pg != NULL && (c->fatal || PQstatus(c->link.pg) == CONNECTION_BAD))
    drop_for_its_own_reason(c);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  pe_watch *w = (pe_watch *)poll;
  pe_conn *c = w->conn;
  mneme_backend *store = c->store;
  (void)events;
  if (status != 0) {
    pe_conn_drop(c, uv_strerror(status));
  } else {
    receive(c);
    if (c->link.pg != NULL) pe_conn_flush(c);
  }
  pe_loop_go(store);
}
