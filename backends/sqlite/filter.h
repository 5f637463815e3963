/* A filter as a condition of SQL on the table memories: text of our own with
 * column names of our own, and every value a bound parameter.
 *
 * Ownership: what is compiled lies in the arena and points into the filter's tree.
 * Threads: any; one at a time with an arena. */
#ifndef SQLITE_FILTER_H
#define SQLITE_FILTER_H

#include "arena.h"
#include "sql.h"

#include "mneme/filter.h"

typedef struct sq_bind {
  enum { SQ_BIND_INT, SQ_BIND_REAL, SQ_BIND_TEXT } kind;
  int64_t integer;
  double real;
  mneme_bytes text;
} sq_bind;

typedef struct sq_filter {
  const char *text; /* a condition that is 0 or 1, in parentheses; ends in NUL */
  const sq_bind *binds; /* for its parameters, in the order of the text */
  size_t count;
} sq_filter;

/* OK, NO_MEMORY, or INVALID for a tree that mneme/filter.h does not allow. */
mneme_status sq_filter_compile(sq_arena *arena, const mneme_filter *filter,
                               sq_filter *ret_filter);
/* Binds them, behind what is bound already. */
void sq_filter_bind(sq_sql *q, const sq_filter *filter);

#endif
