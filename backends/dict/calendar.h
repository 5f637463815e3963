/* When the records of a session die: in order of that instant, with sums, so that
 * a million of them that have died at once cost the next commit no more than a few
 * have. It knows no policy: whoever adds a record says when it dies, and says the
 * same when it takes it out.
 *
 * Ownership: records belong to the session. A NULL calendar has none.
 * Threads: under the shard's lock. */
#ifndef DICT_CALENDAR_H
#define DICT_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

struct dict_record;

#define DICT_DAY 128 /* records of one day at most */

typedef struct dict_count {
  int64_t memories, tokens, bytes;
} dict_count;

typedef struct dict_calendar dict_calendar;

/* Makes *calendar when it is NULL, and room for one record that dies at us: the
 * next add, of that one, can't fail. false without memory. */
bool dict_calendar_reserve(dict_calendar **calendar, int64_t us, int64_t sequence);
/* size = what the record adds to the sums. */
void dict_calendar_add(dict_calendar *calendar, int64_t us, struct dict_record *record,
                       int64_t sequence, const dict_count *size);
void dict_calendar_remove(dict_calendar *calendar, int64_t us, int64_t sequence,
                          const dict_count *size);
/* The one that dies first; NULL = none. */
struct dict_record *dict_calendar_first(dict_calendar *calendar, int64_t *ret_us);
/* The sums of those that have died by now, which may be less than the time before. */
dict_count dict_calendar_passed(dict_calendar *calendar, int64_t now_us);
/* After a commit: frees days that have become empty. Between the two nothing is
 * freed, so what was taken out can be put back without a reserve. */
void dict_calendar_tidy(dict_calendar **calendar);
void dict_calendar_free(dict_calendar *calendar); /* NULL is fine */

#endif
