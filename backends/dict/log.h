/* A session's log: the last MNEME_LOG_MAX entries, in a few bytes each. */
#ifndef DICT_LOG_H
#define DICT_LOG_H

#include "mneme/types.h"

typedef struct dict_log {
  uint8_t *bytes;
  uint32_t start, end, room; /* [start, end) is in use */
  uint32_t count;
  mneme_log_entry base; /* the one before the oldest that is kept */
  mneme_log_entry last; /* the newest; its number is the mutation count */
} dict_log;

void dict_log_free(dict_log *log);
/* Makes room to add these entries (their numbers are not read) without failing. */
bool dict_log_reserve(dict_log *log, const mneme_log_entry *entries, size_t count);
/* Adds one, with the next number; the oldest goes when there are too many. */
void dict_log_add(dict_log *log, const mneme_log_entry *entry);
/* Copies up to max entries with number > after; false when some of those have
 * been dropped. */
bool dict_log_read(const dict_log *log, int64_t after, mneme_log_entry *ret_entries, size_t max,
                   size_t *ret_count);

#endif
