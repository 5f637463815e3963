/* A reader of changes() as an index, a watch or an export is one: a table of the
 * sessions of a namespace, kept right by the headers that each call tells. */
#ifndef CONFORM_FOLLOW_H
#define CONFORM_FOLLOW_H

#include "conform.h"

#define FOLLOW_MAX 8192 /* incarnations */

typedef struct follower {
  mneme_bytes ns;
  mneme_bytes cursor;
  mneme_header known[FOLLOW_MAX];
  size_t count;
} follower;

/* Reads on from the cursor; stop_after as in cf_next. Returns how many were told. */
size_t follow(follower *f, int stop_after);
/* Holds the table against session_get of every session that was ever told, and
 * against the live sessions listed; lapsed ones must have been swept before. */
void follow_check(const follower *f);

#endif
