/* The connector's thread: makes connections, one after the other, since a server that comes
 * back has enough to do, and since one attempt tells as much as ten. Here libpq may look up
 * names and read files, which blocks. After an attempt that failed it waits, longer each time,
 * and for a random part of that: a thousand servers must not come back in step.
 *
 * A connection is handed over when nothing about it can fail any more but the network: the
 * session's settings are made, the schema is of our version, the statements are prepared. */
#include "postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define STOP_LOOK_MS 50 /* between two looks at whether to stop */

struct pe_connector {
  const pe_settings *settings;
  pe_connector_calls calls;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  size_t wanted;
  atomic_bool stop;
};

static const char *const texts[PE_COUNT] = {
#define PE(name, text) [PE_##name] = text,
    PE_STATEMENTS
#undef PE
};

static int64_t clock_ms(void) { return (int64_t)(uv_hrtime() / 1000000); }

/* --- Blocking, but not for ever -------------------------------------------------------- */

bool pe_wait(PGconn *pg, bool writable, const pe_patience *patience) {
  for (;;) {
    int64_t left = patience->until_ms - clock_ms();
    if (left <= 0 || atomic_load(patience->stop)) return false;
    struct pollfd poller = {PQsocket(pg), (short)(writable ? POLLOUT : POLLIN), 0};
    int ready = poll(&poller, 1, (int)(left < STOP_LOOK_MS ? left : STOP_LOOK_MS));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

/* Reads results until there is none; keeps the last one that tells something, or the first
 * error. */
static PGresult *collect(PGconn *pg, const pe_patience *patience) {
  PGresult *kept = NULL;
  for (;;) {
    while (PQisBusy(pg)) {
      if (!pe_wait(pg, false, patience) || !PQconsumeInput(pg)) {
        PQclear(kept);
        return NULL;
      }
    }
    PGresult *next = PQgetResult(pg);
    if (next == NULL) return kept;
    if (kept != NULL && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
      PQclear(next);
    } else {
      PQclear(kept);
      kept = next;
    }
  }
}

PGresult *pe_ask(PGconn *pg, const char *text, const pe_patience *patience) {
  return PQsendQuery(pg, text) ? collect(pg, patience) : NULL;
}

static PGconn *dial(const pe_settings *settings, const pe_patience *patience, char *text,
                    size_t size) {
  pe_target target;
  if (!pe_target_make(settings, &target, text, size)) return NULL;
  PGconn *pg = PQconnectStartParams(target.names, target.values, 0);
  PostgresPollingStatusType next = PGRES_POLLING_WRITING;
  while (pg != NULL && PQstatus(pg) != CONNECTION_BAD && next != PGRES_POLLING_OK &&
         next != PGRES_POLLING_FAILED) {
    if (!pe_wait(pg, next == PGRES_POLLING_WRITING, patience)) {
      snprintf(text, size, "no connection within the time that connect_timeout allows");
      PQfinish(pg);
      pg = NULL;
      break;
    }
    next = PQconnectPoll(pg);
  }
  pe_target_free(&target);
  if (pg != NULL && PQstatus(pg) != CONNECTION_OK) {
    pe_conn_text(pg, text, size);
    PQfinish(pg);
    pg = NULL;
  }
  return pg;
}

/* --- The session ------------------------------------------------------------------------ */

/* Whatever a role or a database is set to, these hold. Plans are made once for each
 * connection: what is looked for always has its index. */
static mneme_status set_up(PGconn *pg, const pe_settings *s, const pe_patience *patience,
                           char *text, size_t size) {
  char sql[1024];
  char *name = PQescapeIdentifier(pg, s->schema, strlen(s->schema));
  char *literal = PQescapeLiteral(pg, s->schema, strlen(s->schema));
  mneme_status status = MNEME_DOWN;
  if (name != NULL && literal != NULL) {
    snprintf(sql, sizeof sql,
             "SET search_path TO %s; SELECT set_config('mneme.schema', %s, false); "
             "SET client_min_messages TO warning; SET statement_timeout TO %lld; "
             "SET lock_timeout TO %lld; SET idle_in_transaction_session_timeout TO 60000; "
             "SET default_transaction_isolation TO 'read committed'; "
             "SET default_transaction_read_only TO off; SET jit TO off; "
             "SET enable_seqscan TO off; SET enable_mergejoin TO off; "
             "SET plan_cache_mode TO force_generic_plan; "
             "SET tcp_keepalives_idle TO 10; SET tcp_keepalives_interval TO 5; "
             "SET tcp_keepalives_count TO 3",
             name, literal, (long long)(s->statement_timeout_us / 1000),
             (long long)(s->lock_timeout_us / 1000));
    PGresult *result = pe_ask(pg, sql, patience);
    if (result == NULL)
      pe_conn_text(pg, text, size);
    else if (PQresultStatus(result) == PGRES_FATAL_ERROR)
      pe_result_text(result, text, size);
    else
      status = MNEME_OK;
    PQclear(result);
  }
  PQfreemem(name);
  PQfreemem(literal);
  return status;
}

mneme_durability pe_durability_of(const char *commits, const char *fsync) {
  if (strcmp(fsync, "on") != 0) return MNEME_DURABILITY_PROCESS;
  return strcmp(commits, "off") == 0 ? MNEME_DURABILITY_INTERVAL : MNEME_DURABILITY_FULL;
}

/* What a config asks for, and the server does not give. */
static mneme_status check_durability(const pe_settings *s, mneme_durability given,
                                     const char *commits, char *text, size_t size) {
  if (given >= s->durability) return MNEME_OK;
  const char *asked = s->durability == MNEME_DURABILITY_FULL ? "full" : "interval";
  if (given == MNEME_DURABILITY_PROCESS)
    snprintf(text, size,
             "the config asks for durability: %s, and the server runs with fsync = off: set fsync "
             "= on there, or ask for durability: process",
             asked);
  else
    snprintf(text, size,
             "the config asks for durability: %s, and for this role synchronous_commit is %s: set "
             "synchronous_commit = on, or ask for durability: interval",
             asked, commits);
  return MNEME_INVALID;
}

/* What is to be known of the store: types, durability, and of which history its transaction
 * numbers are, which start anew in another cluster and run on from elsewhere in another
 * timeline. */
static mneme_status look_around(const pe_settings *s, pe_link *link, const pe_patience *patience,
                                char *text, size_t size) {
  mneme_status status = MNEME_OK;
  PGresult *result = pe_ask(
      link->pg,
      "SELECT current_setting('synchronous_commit'), current_setting('fsync'), "
      "'memories'::regtype::oid, '_memories'::regtype::oid, (SELECT id FROM store)::text || "
      "(SELECT system_identifier FROM pg_control_system()) || "
      "left(pg_walfile_name(pg_current_wal_lsn()), 8)",
      patience);
  if (result == NULL) {
    pe_conn_text(link->pg, text, size);
    return MNEME_DOWN;
  }
  if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
    pe_result_text(result, text, size);
    status = MNEME_DOWN;
  } else {
    const char *commits = PQgetvalue(result, 0, 0);
    link->durability = pe_durability_of(commits, PQgetvalue(result, 0, 1));
    link->memories = (uint32_t)strtoul(PQgetvalue(result, 0, 2), NULL, 10);
    link->memories_array = (uint32_t)strtoul(PQgetvalue(result, 0, 3), NULL, 10);
    link->origin = XXH3_64bits(PQgetvalue(result, 0, 4), (size_t)PQgetlength(result, 0, 4));
    status = check_durability(s, link->durability, commits, text, size);
  }
  PQclear(result);
  return status;
}

static mneme_status prepare(PGconn *pg, const pe_patience *patience, char *text, size_t size) {
  mneme_status status = MNEME_OK;
  for (int i = 0; i < PE_COUNT && status == MNEME_OK; i++) {
    char name[16];
    snprintf(name, sizeof name, "s%d", i);
    const char *sql = texts[i] != NULL ? texts[i] : pe_append_text();
    PGresult *result = PQsendPrepare(pg, name, sql, 0, NULL) ? collect(pg, patience) : NULL;
    if (result == NULL || PQresultStatus(result) != PGRES_COMMAND_OK) {
      if (result != NULL)
        pe_result_text(result, text, size);
      else
        pe_conn_text(pg, text, size);
      status = MNEME_DOWN;
    }
    PQclear(result);
  }
  return status;
}

static mneme_status make_link(const pe_connector *c, pe_link *ret_link, char *text, size_t size) {
  const pe_settings *s = c->settings;
  pe_link link = {0};
  pe_patience patience = {clock_ms() + s->connect_timeout_us / 1000, &c->stop};
  link.pg = dial(s, &patience, text, size);
  if (link.pg == NULL) return MNEME_DOWN;
  mneme_status status = set_up(link.pg, s, &patience, text, size);
  patience.until_ms += s->statement_timeout_us / 1000; /* a migration takes its time */
  if (status == MNEME_OK) status = pe_schema_bring(link.pg, s, &patience, text, size);
  if (status == MNEME_OK) status = look_around(s, &link, &patience, text, size);
  if (status == MNEME_OK) status = prepare(link.pg, &patience, text, size);
  if (status == MNEME_OK && (PQsetnonblocking(link.pg, 1) != 0 || !PQenterPipelineMode(link.pg))) {
    pe_conn_text(link.pg, text, size);
    status = MNEME_DOWN;
  }
  if (status != MNEME_OK) {
    PQfinish(link.pg);
    return status;
  }
  *ret_link = link;
  return MNEME_OK;
}

/* --- The thread --------------------------------------------------------------------------- */

/* Waits until a connection is wanted, and for the rest of a pause. */
static bool wait_for_work(pe_connector *c, int64_t until_ms) {
  pthread_mutex_lock(&c->lock);
  while (!atomic_load(&c->stop) && (c->wanted == 0 || clock_ms() < until_ms)) {
    if (c->wanted == 0) {
      pthread_cond_wait(&c->changed, &c->lock);
      continue;
    }
    struct timespec at;
    int64_t left = until_ms - clock_ms();
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += left / 1000;
    at.tv_nsec += left % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
      at.tv_sec++;
      at.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&c->changed, &c->lock, &at);
  }
  bool go = !atomic_load(&c->stop);
  pthread_mutex_unlock(&c->lock);
  return go;
}

/* Half of the pause for sure, the other half by chance. */
static int64_t jitter(int64_t pause_ms) {
  uint32_t random = 0;
  if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) random = 0;
  return pause_ms / 2 + (int64_t)(random % (uint32_t)(pause_ms / 2 + 1));
}

static void *run(void *arg) {
  pe_connector *c = arg;
  int64_t pause_ms = BACKOFF_FIRST_MS, until_ms = 0;
  while (wait_for_work(c, until_ms)) {
    pe_link link;
    char text[PE_TEXT_MAX] = "";
    mneme_status status = make_link(c, &link, text, sizeof text);
    if (status == MNEME_OK) {
      pthread_mutex_lock(&c->lock);
      c->wanted--;
      pthread_mutex_unlock(&c->lock);
      pause_ms = BACKOFF_FIRST_MS;
      until_ms = 0;
      c->calls.made(c->calls.ctx, link);
      continue;
    }
    until_ms = clock_ms() + jitter(pause_ms);
    pause_ms = pause_ms * 2 < BACKOFF_MAX_MS ? pause_ms * 2 : BACKOFF_MAX_MS;
    if (!atomic_load(&c->stop)) c->calls.failed(c->calls.ctx, status == MNEME_INVALID, text);
  }
  return NULL;
}

pe_connector *pe_connector_open(const pe_settings *settings, pe_connector_calls calls) {
  pe_connector *c = calloc(1, sizeof *c);
  pthread_condattr_t attributes;
  if (c == NULL) return NULL;
  c->settings = settings;
  c->calls = calls;
  pthread_mutex_init(&c->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&c->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  if (pthread_create(&c->thread, NULL, run, c) == 0) return c;
  pthread_cond_destroy(&c->changed);
  pthread_mutex_destroy(&c->lock);
  free(c);
  return NULL;
}

void pe_connector_ask(pe_connector *c, size_t count) {
  pthread_mutex_lock(&c->lock);
  c->wanted += count;
  pthread_cond_signal(&c->changed);
  pthread_mutex_unlock(&c->lock);
}

void pe_connector_close(pe_connector *c) {
  if (c == NULL) return;
  pthread_mutex_lock(&c->lock);
  atomic_store(&c->stop, true);
  pthread_cond_signal(&c->changed);
  pthread_mutex_unlock(&c->lock);
  pthread_join(c->thread, NULL);
  pthread_cond_destroy(&c->changed);
  pthread_mutex_destroy(&c->lock);
  free(c);
}
