/* Dates that a query names, and how well a time matches them.
 *
 * Read are: English months with a day or a year or both, in any order ("May 8th,
 * 2023", "8 May", "of March 2022"), months alone ("in March"; "may" and "march"
 * only behind a preposition, short forms only beside a day or year), ISO dates
 * ("2023-05-08", "2023-05"), and, when there is nothing else, years (1900 to 2199).
 * All in UTC. What depends on today ("yesterday") is not read.
 *
 * Threads: any. */
#ifndef MNEME_SEARCH_DATES_H
#define MNEME_SEARCH_DATES_H

#include <stddef.h>
#include <stdint.h>

#include "mneme/types.h"

#define DATES_MAX 8 /* that one query names; more are not read */

typedef struct date {
  int year;  /* 0 = any */
  int month; /* 1 to 12; 0 = any */
  int day;   /* 1 to 31; 0 = any */
} date;

size_t dates_read(mneme_bytes query, date ret_dates[DATES_MAX]);

/* The best match of a time: 1 = within two days of a day, or in the month; 0.6 =
 * within ten days of a day; 0.3 = in the year, when that is all that was named;
 * 0 = none. */
double dates_match(const date *dates, size_t count, int64_t time_us);

#endif
