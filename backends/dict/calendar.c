/* Days, each a sorted array of up to DICT_DAY marks with its sums, in a sorted
 * array; of the days from the first on that are over as a whole the sums are kept:
 *
 *   days   [ over ][ over ][ today ][ ... ][ ... ]
 *           `--- past ----'  looked at mark by mark, at most DICT_DAY
 *
 * Time that goes on moves `past` over whole days, each once; time that goes back
 * starts it anew. A mark is found by (us, sequence): by halving among the days,
 * then within one. What is added at the end begins a new day when the last is full,
 * so days of one ttl are full; any other full day is halved.
 *
 * A day that has become empty stays where it is until the commit is over, and keeps
 * its `low`, by which days are found. Days only grow and are only halved meanwhile,
 * so whatever was taken out of one fits where it is put back. */
#include "calendar.h"

#include "dict.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DAY_FIRST 4 /* marks of a calendar's first day, to begin with */

typedef struct mark {
  int64_t us;
  int64_t sequence;
  dict_record *record;
} mark;

typedef struct day {
  mark low; /* none of its marks is before it, none of an earlier day is not */
  uint32_t count, room;
  dict_count sum;
  mark marks[];
} day;

struct dict_calendar {
  day **days; /* [first, end) */
  uint32_t first, end, room;
  uint32_t front; /* no day before it has a mark */
  uint32_t empty; /* days without a mark */
  uint32_t past;  /* the days before it are over by past_us */
  int64_t past_us;
  dict_count past_sum;
  day *spare;
};

static bool before(int64_t us_a, int64_t sequence_a, int64_t us_b, int64_t sequence_b) {
  return us_a != us_b ? us_a < us_b : sequence_a < sequence_b;
}

static void count(dict_count *sum, const dict_count *size, int sign) {
  sum->memories += sign * size->memories;
  sum->tokens += sign * size->tokens;
  sum->bytes += sign * size->bytes;
}

static void forget_past(dict_calendar *c) {
  c->past = c->first;
  c->past_sum = (dict_count){0};
}

/* The day for this mark: the last whose low is not behind it, or the first. */
static uint32_t find_day(const dict_calendar *c, int64_t us, int64_t sequence) {
  uint32_t low = c->first, high = c->end;
  const day *last = c->days[high - 1];
  if (!before(us, sequence, last->low.us, last->low.sequence)) return high - 1; /* mostly */
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    const day *d = c->days[middle];
    if (before(us, sequence, d->low.us, d->low.sequence))
      high = middle;
    else
      low = middle;
  }
  return low;
}

/* The index of the first mark of the day that is not before this one. */
static uint32_t find_mark(const day *d, int64_t us, int64_t sequence) {
  uint32_t low = 0, high = d->count;
  if (high != 0 && before(d->marks[high - 1].us, d->marks[high - 1].sequence, us, sequence))
    return high; /* mostly */
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (before(d->marks[middle].us, d->marks[middle].sequence, us, sequence))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* --- Room ----------------------------------------------------------------- */

static bool reserve_day(dict_calendar *c, uint32_t room) {
  if (c->end == c->room) {
    uint32_t grown = c->room != 0 ? c->room * 2 : 1;
    day **days = realloc(c->days, grown * sizeof *days);
    if (days == NULL) return false;
    c->days = days;
    c->room = grown;
  }
  if (c->spare != NULL && c->spare->room >= room) return true;
  day *made = realloc(c->spare, sizeof *made + room * sizeof *made->marks);
  if (made == NULL) return false;
  c->spare = made;
  c->spare->room = room;
  return true;
}

bool dict_calendar_reserve(dict_calendar **calendar, int64_t us, int64_t sequence) {
  if (*calendar == NULL && (*calendar = calloc(1, sizeof **calendar)) == NULL) return false;
  dict_calendar *c = *calendar;
  if (c->first == c->end) return reserve_day(c, DAY_FIRST);
  uint32_t i = find_day(c, us, sequence);
  day *d = c->days[i];
  if (d->count < d->room) return true;
  if (d->room == DICT_DAY) return reserve_day(c, DICT_DAY);
  day *grown = realloc(d, sizeof *grown + d->room * 2 * sizeof *grown->marks);
  if (grown == NULL) return false;
  grown->room *= 2;
  c->days[i] = grown;
  return true;
}

/* The spare one as the i-th day. */
static day *insert_day(dict_calendar *c, uint32_t i) {
  day *d = c->spare;
  assert(d != NULL && c->end < c->room);
  c->spare = NULL;
  memmove(c->days + i + 1, c->days + i, (c->end++ - i) * sizeof *c->days);
  c->days[i] = d;
  d->count = 0;
  d->sum = (dict_count){0};
  return d;
}

static void halve(dict_calendar *c, uint32_t i) {
  day *low = c->days[i], *high = insert_day(c, i + 1);
  uint32_t kept = low->count / 2;
  high->count = low->count - kept;
  memcpy(high->marks, low->marks + kept, high->count * sizeof *high->marks);
  low->count = kept;
  high->low = high->marks[0];
  for (uint32_t k = 0; k < high->count; k++) {
    dict_count size = dict_record_count(high->marks[k].record);
    count(&high->sum, &size, +1);
  }
  count(&low->sum, &high->sum, -1);
  if (i < c->past) c->past++;
}

/* --- In and out ----------------------------------------------------------- */

/* The day with room for the mark. */
static uint32_t make_room(dict_calendar *c, const mark *m) {
  if (c->first == c->end) {
    insert_day(c, c->end)->low = *m;
    c->empty++;
    return c->end - 1;
  }
  uint32_t i = find_day(c, m->us, m->sequence);
  day *d = c->days[i];
  if (d->count < d->room) return i;
  const mark *last = &d->marks[d->count - 1];
  if (i + 1 == c->end && before(last->us, last->sequence, m->us, m->sequence)) {
    insert_day(c, c->end)->low = *m;
    c->empty++;
    return i + 1;
  }
  halve(c, i);
  return find_day(c, m->us, m->sequence);
}

void dict_calendar_add(dict_calendar *c, int64_t us, dict_record *record, int64_t sequence,
                       const dict_count *size) {
  mark m = {us, sequence, record};
  uint32_t i = make_room(c, &m);
  day *d = c->days[i];
  uint32_t k = find_mark(d, us, sequence);
  memmove(d->marks + k + 1, d->marks + k, (d->count - k) * sizeof *d->marks);
  d->marks[k] = m;
  if (d->count++ == 0) c->empty--;
  count(&d->sum, size, +1);
  if (before(us, sequence, d->low.us, d->low.sequence)) d->low = m;
  if (i < c->front) c->front = i;
  if (i >= c->past) return;
  if (us > c->past_us)
    forget_past(c); /* the day is not over any more */
  else
    count(&c->past_sum, size, +1);
}

void dict_calendar_remove(dict_calendar *c, int64_t us, int64_t sequence,
                          const dict_count *size) {
  uint32_t i = find_day(c, us, sequence);
  day *d = c->days[i];
  uint32_t k = find_mark(d, us, sequence);
  assert(k < d->count && d->marks[k].us == us && d->marks[k].sequence == sequence);
  memmove(d->marks + k, d->marks + k + 1, (--d->count - k) * sizeof *d->marks);
  if (d->count == 0) c->empty++;
  count(&d->sum, size, -1);
  if (i < c->past) count(&c->past_sum, size, -1);
}

/* --- Asking --------------------------------------------------------------- */

dict_record *dict_calendar_first(dict_calendar *c, int64_t *ret_us) {
  if (c == NULL) return NULL;
  if (c->front < c->first) c->front = c->first;
  while (c->front < c->end && c->days[c->front]->count == 0) c->front++;
  if (c->front == c->end) return NULL;
  const mark *m = &c->days[c->front]->marks[0];
  *ret_us = m->us;
  return m->record;
}

dict_count dict_calendar_passed(dict_calendar *c, int64_t now_us) {
  if (c == NULL) return (dict_count){0};
  if (now_us < c->past_us || c->past < c->first) forget_past(c);
  c->past_us = now_us;
  for (; c->past < c->end; c->past++) {
    const day *d = c->days[c->past];
    if (d->count != 0 && d->marks[d->count - 1].us > now_us) break;
    count(&c->past_sum, &d->sum, +1);
  }
  dict_count passed = c->past_sum;
  if (c->past == c->end) return passed;
  const day *today = c->days[c->past];
  for (uint32_t k = 0; today->marks[k].us <= now_us; k++) {
    dict_count size = dict_record_count(today->marks[k].record);
    count(&passed, &size, +1);
  }
  return passed;
}

/* --- The end of a commit -------------------------------------------------- */

/* Days between others that have marks: they close up. */
static void close_up(dict_calendar *c) {
  uint32_t kept = c->first, past = c->past;
  for (uint32_t i = c->first; i < c->end; i++) {
    if (c->days[i]->count != 0) {
      c->days[kept++] = c->days[i];
      continue;
    }
    free(c->days[i]);
    if (i < past) c->past--;
  }
  c->end = kept;
  c->empty = 0;
  c->front = c->first;
}

void dict_calendar_tidy(dict_calendar **calendar) {
  dict_calendar *c = *calendar;
  if (c == NULL) return;
  if (c->spare != NULL) {
    free(c->spare);
    c->spare = NULL;
  }
  if (c->empty == 0) return;
  while (c->first < c->end && c->days[c->first]->count == 0) {
    free(c->days[c->first++]);
    c->empty--;
  }
  if (c->past < c->first) forget_past(c);
  if (c->first == c->end) {
    dict_calendar_free(c);
    *calendar = NULL;
    return;
  }
  if (c->empty > 0) close_up(c);
  if (c->first <= c->room / 2) return;
  uint32_t shift = c->first;
  memmove(c->days, c->days + shift, (c->end - shift) * sizeof *c->days);
  c->first = 0;
  c->end -= shift;
  c->past -= shift;
  c->front = 0;
}

void dict_calendar_free(dict_calendar *c) {
  if (c == NULL) return;
  for (uint32_t i = c->first; i < c->end; i++) free(c->days[i]);
  free(c->days);
  free(c->spare);
  free(c);
}
