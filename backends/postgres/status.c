/* What the server's SQLSTATEs mean. Classes are those of the manual's appendix A; whatever is
 * not named is a bug, ours or the server's, and its text goes to the log. */
#include "postgres.h"

#include <stdio.h>
#include <string.h>

typedef struct meaning {
  const char *state; /* five characters, or the two of a class */
  pe_fault fault;
  mneme_status status;
} meaning;

static const meaning meanings[] = {
    {"40001", PE_FAULT_RACE, MNEME_BUSY},      /* serialization_failure */
    {"40P01", PE_FAULT_RACE, MNEME_BUSY},      /* deadlock_detected */
    {"55P03", PE_FAULT_STORE, MNEME_BUSY},     /* lock_not_available: lock_timeout */
    {"23505", PE_FAULT_TAKEN, MNEME_INTERNAL}, /* unique_violation */
    {"57014", PE_FAULT_STOPPED, MNEME_BUSY},   /* query_canceled: statement_timeout too */
    {"53100", PE_FAULT_STORE, MNEME_STORE_FULL}, /* disk_full */
    {"53200", PE_FAULT_STORE, MNEME_NO_MEMORY},  /* out_of_memory */
    {"53", PE_FAULT_STORE, MNEME_BUSY},          /* insufficient resources */
    {"54", PE_FAULT_OTHER, MNEME_TOO_BIG},       /* program limit exceeded */
    {"25006", PE_FAULT_STORE, MNEME_DOWN},       /* read_only_sql_transaction: a standby */
    {"57", PE_FAULT_STORE, MNEME_DOWN},          /* operator intervention */
    {"58", PE_FAULT_STORE, MNEME_DOWN},          /* system error */
    {"08", PE_FAULT_STORE, MNEME_DOWN},          /* connection exception */
    {"XX001", PE_FAULT_OTHER, MNEME_CORRUPT},    /* data_corrupted */
    {"XX002", PE_FAULT_OTHER, MNEME_CORRUPT},    /* index_corrupted */
    {"28", PE_FAULT_STORE, MNEME_DOWN},          /* invalid authorization */
    {"42501", PE_FAULT_STORE, MNEME_DOWN},       /* insufficient_privilege */
    {"42P01", PE_FAULT_STORE, MNEME_DOWN},       /* undefined_table: somebody dropped it */
};

static const meaning *find(const char *state) {
  for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
    if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0) return &meanings[i];
  return NULL;
}

pe_fault pe_fault_of(const char *state) {
  if (state[0] == '\0') return PE_FAULT_NONE;
  const meaning *m = find(state);
  return m != NULL ? m->fault : PE_FAULT_OTHER;
}

mneme_status pe_status_of(const char *state) {
  const meaning *m = find(state);
  return m != NULL ? m->status : MNEME_INTERNAL;
}

static void copy_line(const char *from, char *text, size_t size) {
  size_t at = 0;
  for (; *from != '\0' && at + 1 < size; from++) {
    bool blank = *from == '\n' || *from == '\t' || *from == ' ';
    if (!blank)
      text[at++] = *from;
    else if (at != 0 && text[at - 1] != ' ')
      text[at++] = ' ';
  }
  while (at != 0 && text[at - 1] == ' ') at--;
  text[at] = '\0';
}

/* Neither the detail, which quotes values, nor the statement. */
void pe_result_text(const PGresult *result, char *text, size_t size) {
  const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  char line[PE_TEXT_MAX];
  copy_line(words != NULL ? words : PQresultErrorMessage(result), line, sizeof line);
  snprintf(text, size, "%s%s%s%s", line, state != NULL ? " (" : "", state != NULL ? state : "",
           state != NULL ? ")" : "");
}

void pe_conn_text(const PGconn *pg, char *text, size_t size) {
  copy_line(PQerrorMessage(pg), text, size);
  if (text[0] == '\0') snprintf(text, size, "the connection ended");
}
