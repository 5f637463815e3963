/* The schema's version and its migrations: the n-th brings a store from version n to
 * n + 1, all in one transaction under an advisory lock, so that ten servers may start at
 * once. The functions belong to the version: they are made anew after the tables. A
 * store of this version needs no right to create anything.
 *
 * A store that is newer is refused: a server may not guess what its rows mean. */
#include "postgres.h"

#include <pe_sql_append.h>
#include <pe_sql_commit.h>
#include <pe_sql_tables.h>
#include <pe_sql_upkeep.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define SERVER_MIN 130000

static const unsigned char *const migrations[VERSION] = {pe_sql_tables};

/* What is made anew with each version. */
static const unsigned char *const functions[] = {pe_sql_commit, pe_sql_upkeep};
#define FUNCTIONS (sizeof functions / sizeof *functions)

const char *pe_append_text(void) { return (const char *)pe_sql_append; }

static bool is_fine(const PGresult *result) {
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* Runs what returns nothing of interest. DOWN: the connection, INVALID: the server said
 * no, with its text. */
static mneme_status run(PGconn *pg, const char *sql, const pe_patience *patience, char *text,
                        size_t size) {
  PGresult *result = pe_ask(pg, sql, patience);
  mneme_status status = MNEME_OK;
  if (result == NULL) {
    pe_conn_text(pg, text, size);
    return MNEME_DOWN;
  }
  if (!is_fine(result)) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    pe_result_text(result, text, size);
    bool forbidden = state != NULL && strcmp(state, "42501") == 0;
    status = forbidden ? MNEME_UNSUPPORTED : MNEME_INVALID;
  }
  PQclear(result);
  return status;
}

/* One number; absent where there is no row or NULL. */
static mneme_status ask_number(PGconn *pg, const char *sql, const pe_patience *patience,
                               long absent, long *ret_number, char *text, size_t size) {
  PGresult *result = pe_ask(pg, sql, patience);
  mneme_status status = MNEME_OK;
  if (result == NULL) {
    pe_conn_text(pg, text, size);
    return MNEME_DOWN;
  }
  if (!is_fine(result)) {
    pe_result_text(result, text, size);
    status = MNEME_INVALID;
  } else {
    bool none = PQntuples(result) == 0 || PQgetisnull(result, 0, 0);
    *ret_number = none ? absent : strtol(PQgetvalue(result, 0, 0), NULL, 10);
  }
  PQclear(result);
  return status;
}

/* 0 = there is no store. */
static mneme_status find_version(PGconn *pg, const pe_patience *patience, long *ret_version,
                                 char *text, size_t size) {
  long found = 0;
  mneme_status status = ask_number(
      pg,
      "SELECT CASE WHEN to_regclass(quote_ident(current_setting('mneme.schema')) || '.store') "
      "IS NULL THEN 0 ELSE 1 END",
      patience, 0, &found, text, size);
  *ret_version = 0;
  if (status == MNEME_OK && found != 0)
    status = ask_number(pg, "SELECT version FROM store", patience, 0, ret_version, text, size);
  return status;
}

static mneme_status migrate(PGconn *pg, const pe_settings *settings, const pe_patience *patience,
                            char *text, size_t size) {
  char sql[512], ignored[PE_TEXT_MAX];
  long version = 0, has_schema = 0;
  mneme_status status = run(pg,
                            "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
                            "SELECT pg_advisory_xact_lock(hashtextextended("
                            "current_setting('mneme.schema') || ' schema', 0))",
                            patience, text, size);
  if (status == MNEME_OK) status = find_version(pg, patience, &version, text, size);
  if (status == MNEME_OK)
    status = ask_number(pg,
                        "SELECT count(*) FROM pg_namespace "
                        "WHERE nspname = current_setting('mneme.schema')",
                        patience, 0, &has_schema, text, size);
  if (status == MNEME_OK && has_schema == 0) {
    char *name = PQescapeIdentifier(pg, settings->schema, strlen(settings->schema));
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", name != NULL ? name : "mneme");
    PQfreemem(name);
    status = run(pg, sql, patience, text, size);
  }
  for (long n = version; n < VERSION && status == MNEME_OK; n++)
    status = run(pg, (const char *)migrations[n], patience, text, size);
  for (size_t i = 0; i < FUNCTIONS && version < VERSION && status == MNEME_OK; i++)
    status = run(pg, (const char *)functions[i], patience, text, size);
  if (status == MNEME_OK && version < VERSION) {
    snprintf(sql, sizeof sql,
             "INSERT INTO store (version) VALUES (%d) "
             "ON CONFLICT (one) DO UPDATE SET version = excluded.version",
             VERSION);
    status = run(pg, sql, patience, text, size);
  }
  if (status == MNEME_OK) return run(pg, "COMMIT", patience, text, size);
  if (status != MNEME_DOWN) run(pg, "ROLLBACK", patience, ignored, sizeof ignored);
  return status;
}

mneme_status pe_schema_bring(PGconn *pg, const pe_settings *settings,
                             const pe_patience *patience, char *text, size_t size) {
  long version = 0;
  char words[PE_TEXT_MAX / 2] = "";
  if (PQserverVersion(pg) < SERVER_MIN) {
    snprintf(text, size, "the server is Postgres %d, and 13 is the oldest that will do",
             PQserverVersion(pg) / 10000);
    return MNEME_INVALID;
  }
  if (strcmp(PQparameterStatus(pg, "server_encoding"), "UTF8") != 0) {
    snprintf(text, size, "the database's encoding is %s: create one with ENCODING 'UTF8'",
             PQparameterStatus(pg, "server_encoding"));
    return MNEME_INVALID;
  }
  mneme_status status = find_version(pg, patience, &version, words, sizeof words);
  if (status == MNEME_OK && version < VERSION)
    status = migrate(pg, settings, patience, words, sizeof words);
  if (status == MNEME_UNSUPPORTED)
    snprintf(text, size,
             "the role \"%s\" may not make the tables (%s): let a role that may create them "
             "start a server once, or grant it CREATE on the database or on the schema \"%s\"",
             PQuser(pg), words, settings->schema);
  else if (status != MNEME_OK)
    snprintf(text, size, "the schema \"%s\" can't be brought up: %s", settings->schema, words);
  else if (version > VERSION)
    snprintf(text, size,
             "the schema \"%s\" is of version %ld, and this server knows %d at most: start a "
             "newer server, or name another schema",
             settings->schema, version, VERSION);
  if (status == MNEME_OK && version > VERSION) return MNEME_INVALID;
  return status == MNEME_UNSUPPORTED ? MNEME_INVALID : status;
}
