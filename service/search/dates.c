/* A window of words goes over the query: what a word is depends on its neighbours,
 * and for ISO dates on the one byte between them. */
#include "search/dates.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "search/words.h"

#define WINDOW 5 /* two words before a month and two behind it */
#define DAY_US (INT64_C(86400) * 1000000)

typedef struct item {
  char text[WORD_MAX + 1];
  size_t begin, end;
  int number; /* -1 = none; of ordinals, too */
  size_t digits;
  bool ordinal;
} item;

typedef struct scan {
  const char *query;
  item items[WINDOW]; /* items[2] is the one that is looked at */
  date *dates;
  size_t count;
  date years[DATES_MAX]; /* used when there are no others */
  size_t year_count;
} scan;

static const char *const months[] = {"january", "february", "march",     "april",
                                     "may",     "june",     "july",      "august",
                                     "september", "october", "november", "december"};

/* 0 = none. */
static int month_of(const item *i, bool *ret_short) {
  for (int m = 0; m < 12; m++) {
    size_t size = strlen(i->text);
    if (strcmp(i->text, months[m]) == 0) {
      *ret_short = false;
      return m + 1;
    }
    if ((size == 3 || (m == 8 && size == 4)) && strncmp(i->text, months[m], size) == 0) {
      *ret_short = true;
      return m + 1;
    }
  }
  return 0;
}

static int day_of(const item *i) {
  return i->digits > 0 && i->digits <= 2 && i->number >= 1 && i->number <= 31 ? i->number : 0;
}

static int year_of(const item *i) {
  return i->digits == 4 && !i->ordinal && i->number >= 1900 && i->number < 2200 ? i->number : 0;
}

static bool is(const item *i, const char *text) { return strcmp(i->text, text) == 0; }

/* Words before a month that make it one: "in may", "last march". */
static bool leads_to_month(const item *i) {
  static const char *const leads[] = {"in",   "of",   "since", "by",    "during", "early",
                                      "late", "mid",  "last",  "next",  "this",   "until",
                                      "till", "before", "after", "from", "through"};
  for (size_t k = 0; k < sizeof leads / sizeof *leads; k++)
    if (is(i, leads[k]))
      return true;
  return false;
}

static void add(date *dates, size_t *count, date d) {
  if (*count < DATES_MAX)
    dates[(*count)++] = d;
}

static void look_at_month(scan *s, int month, bool is_short) {
  const item *i = s->items;
  date d = {.month = month};
  d.day = day_of(&i[1]);
  if (d.day == 0 && is(&i[1], "of"))
    d.day = day_of(&i[0]);
  int behind = day_of(&i[3]);
  d.year = year_of(&i[3]);
  if (d.day == 0 && behind != 0) {
    d.day = behind;
    d.year = year_of(&i[4]);
  }
  bool alone = d.day == 0 && d.year == 0;
  if (alone && (is_short || ((month == 3 || month == 5) && !leads_to_month(&i[1]))))
    return;
  add(s->dates, &s->count, d);
}

static bool touches(const scan *s, const item *a, const item *b) {
  return a->digits > 0 && b->digits > 0 && b->begin == a->end + 1 && s->query[a->end] == '-';
}

/* At the month of an ISO date: the year is before it, the day perhaps behind. */
static bool look_at_iso(scan *s) {
  const item *i = s->items;
  int year = year_of(&i[1]);
  if (year == 0 || i[2].digits != 2 || i[2].number < 1 || i[2].number > 12 ||
      !touches(s, &i[1], &i[2]))
    return false;
  bool has_day = touches(s, &i[2], &i[3]) && day_of(&i[3]) != 0;
  add(s->dates, &s->count, (date){year, i[2].number, has_day ? day_of(&i[3]) : 0});
  return true;
}

static void look(scan *s) {
  bool is_short;
  int month = month_of(&s->items[2], &is_short);
  if (month != 0)
    look_at_month(s, month, is_short);
  else if (!look_at_iso(s) && year_of(&s->items[2]) != 0)
    add(s->years, &s->year_count, (date){.year = s->items[2].number});
}

static item item_of(const word *w) {
  item i = {.begin = w->begin, .end = w->end, .number = -1};
  memcpy(i.text, w->text, w->size);
  while (i.digits < w->size && i.text[i.digits] >= '0' && i.text[i.digits] <= '9')
    i.digits++;
  const char *rest = i.text + i.digits;
  i.ordinal = strcmp(rest, "st") == 0 || strcmp(rest, "nd") == 0 || strcmp(rest, "rd") == 0 ||
              strcmp(rest, "th") == 0;
  if (i.digits > 4 || (*rest != '\0' && !i.ordinal))
    i.digits = 0;
  if (i.digits > 0)
    i.number = atoi(i.text);
  return i;
}

static void advance(scan *s, item next) {
  memmove(s->items, s->items + 1, (WINDOW - 1) * sizeof *s->items);
  s->items[WINDOW - 1] = next;
  look(s);
}

size_t dates_read(mneme_bytes query, date ret_dates[DATES_MAX]) {
  scan s = {.query = query.data, .dates = ret_dates};
  words reader;
  word w;
  words_begin(&reader, query);
  while (words_next(&reader, &w))
    advance(&s, item_of(&w));
  for (int i = 0; i < WINDOW / 2; i++)
    advance(&s, (item){.number = -1});
  if (s.count > 0)
    return s.count;
  memcpy(ret_dates, s.years, s.year_count * sizeof *ret_dates);
  return s.year_count;
}

/* --- Matching ------------------------------------------------------------ */

/* Days since 1970-01-01 of a date of the Gregorian calendar, and back (Howard
 * Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_of(int64_t year, int month, int day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t of_era = year - era * 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void year_and_month_of(int64_t days, int64_t *ret_year, int *ret_month) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t of_era = days - era * 146097;
  int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  int month = (int)((5 * of_year + 2) / 153);
  *ret_month = month < 10 ? month + 3 : month - 9;
  *ret_year = year + era * 400 + (*ret_month <= 2);
}

static double match_day(int64_t days, int64_t wanted) {
  int64_t apart = days > wanted ? days - wanted : wanted - days;
  return apart <= 2 ? 1.0 : apart <= 10 ? 0.6 : 0;
}

static double match(const date *d, int64_t days) {
  int64_t year;
  int month;
  year_and_month_of(days, &year, &month);
  if (d->day == 0)
    return (d->year != 0 && d->year != year) || (d->month != 0 && d->month != month) ? 0
           : d->month != 0                                                           ? 1.0
                                                                                     : 0.3;
  if (d->year != 0)
    return match_day(days, days_of(d->year, d->month, d->day));
  double best = 0; /* around New Year the nearest is in another year */
  for (int64_t y = year - 1; y <= year + 1; y++) {
    double each = match_day(days, days_of(y, d->month, d->day));
    best = each > best ? each : best;
  }
  return best;
}

double dates_match(const date *dates, size_t count, int64_t time_us) {
  double best = 0;
  int64_t days = time_us / DAY_US - (time_us % DAY_US < 0);
  for (size_t i = 0; i < count; i++) {
    double each = match(&dates[i], days);
    best = each > best ? each : best;
  }
  return best;
}
