/* dict's calendar against a plain list: whatever is added and taken out, wherever
 * time goes, the first and the sums are those of the list. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "dict.h"

#define RECORDS 3000

static dict_record *records[RECORDS];
static int64_t deaths[RECORDS]; /* 0 = not in */
static dict_calendar *calendar;
static uint64_t seed;

static int64_t pick(int64_t n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (int64_t)((seed >> 33) % (uint64_t)n);
}

static int begin(void **state) {
  (void)state;
  seed = 1;
  for (int i = 0; i < RECORDS; i++) {
    mneme_record r = {.id = {"i", 1}, .token_count = i % 7, .body = {"0123456789", (size_t)(i % 10)}};
    records[i] = dict_record_new(&r, r.id, 1);
    records[i]->sequence = i + 1;
    deaths[i] = 0;
  }
  return 0;
}

static int end(void **state) {
  (void)state;
  dict_calendar_free(calendar);
  calendar = NULL;
  for (int i = 0; i < RECORDS; i++)
    free(records[i]);
  return 0;
}

static void add(int i, int64_t us, bool reserve) {
  dict_count size = dict_record_count(records[i]);
  if (reserve)
    assert_true(dict_calendar_reserve(&calendar, us, i + 1));
  dict_calendar_add(calendar, us, records[i], i + 1, &size);
  deaths[i] = us;
}

static void take(int i) {
  dict_count size = dict_record_count(records[i]);
  dict_calendar_remove(calendar, deaths[i], i + 1, &size);
  deaths[i] = 0;
}

static void agree(int64_t now_us) {
  dict_count want = {0};
  int first = -1;
  for (int i = 0; i < RECORDS; i++) {
    if (deaths[i] == 0)
      continue;
    if (first < 0 || deaths[i] < deaths[first])
      first = i;
    if (deaths[i] > now_us)
      continue;
    dict_count size = dict_record_count(records[i]);
    want.memories += size.memories;
    want.tokens += size.tokens;
    want.bytes += size.bytes;
  }
  dict_count got = dict_calendar_passed(calendar, now_us);
  assert_int_equal(got.memories, want.memories);
  assert_int_equal(got.tokens, want.tokens);
  assert_int_equal(got.bytes, want.bytes);
  int64_t us = 0;
  dict_record *r = dict_calendar_first(calendar, &us);
  assert_ptr_equal(r, first < 0 ? NULL : records[first]);
  if (first >= 0)
    assert_int_equal(us, deaths[first]);
}

static void nothing_has_no_first(void **state) {
  (void)state;
  agree(5);
  dict_calendar_tidy(&calendar);
  assert_null(calendar);
  add(0, 7, true);
  agree(6);
  agree(7);
  take(0);
  agree(8);
  dict_calendar_tidy(&calendar);
  assert_null(calendar); /* what is empty takes no memory */
}

/* As memories of one ttl come, and go from the front. */
static void in_order_and_out_from_the_front(void **state) {
  (void)state;
  for (int i = 0; i < RECORDS; i++)
    add(i, 100 + i / 3, true);
  for (int64_t now = 99; now < 100 + RECORDS / 3 + 2; now += 17)
    agree(now);
  agree(INT64_MAX);
  for (int i = 0; i < RECORDS; i++) {
    take(i);
    if (i % 100 == 0) {
      agree(INT64_MAX);
      agree(500);
      dict_calendar_tidy(&calendar);
      agree(500);
    }
  }
  dict_calendar_tidy(&calendar);
  assert_null(calendar);
}

static void backwards(void **state) {
  (void)state;
  for (int i = 0; i < RECORDS; i++)
    add(i, 100000 - i, true);
  agree(100000 - RECORDS / 2);
  agree(100000 - RECORDS);
  agree(100000);
}

/* Times of a few kinds, near each other, and a clock that goes back as well. */
static void at_random(void **state) {
  (void)state;
  int64_t now = 1000;
  for (int round = 0; round < 40; round++) {
    int64_t span = pick(2) == 0 ? 5 : 5000; /* many at one instant, or few */
    int changes = (int)pick(400);
    for (int k = 0; k < changes; k++) {
      int i = (int)pick(RECORDS);
      if (deaths[i] != 0)
        take(i);
      else
        add(i, 1 + now + pick(span) - span / 2, true);
      if (pick(50) == 0)
        agree(now + pick(span) - span / 2);
    }
    agree(now);
    if (pick(3) != 0)
      dict_calendar_tidy(&calendar);
    agree(now);
    now += pick(3000) - 800;
    if (now < 6000)
      now = 6000;
  }
}

/* A commit that is refused: what it did is undone backwards, without a reserve. */
static void undone_without_memory(void **state) {
  (void)state;
  static struct {
    int i;
    int64_t was;
  } notes[500];
  for (int i = 0; i < RECORDS / 2; i++)
    add(i, 1000 + pick(300), true);
  for (int round = 0; round < 60; round++) {
    int count = 1 + (int)pick(500);
    int64_t now = 900 + pick(500);
    agree(now);
    for (int k = 0; k < count; k++) {
      int i = (int)pick(RECORDS);
      notes[k].i = i;
      notes[k].was = deaths[i];
      if (deaths[i] != 0)
        take(i);
      else
        add(i, 1000 + pick(300), true);
    }
    agree(now);
    for (int k = count; k-- > 0;) {
      if (notes[k].was == 0)
        take(notes[k].i);
      else
        add(notes[k].i, notes[k].was, false);
    }
    agree(now);
    dict_calendar_tidy(&calendar);
    agree(now);
    for (int k = 0; k < 20; k++) { /* and some that stay */
      int i = (int)pick(RECORDS);
      if (deaths[i] != 0)
        take(i);
      else
        add(i, 1000 + pick(300), true);
    }
    dict_calendar_tidy(&calendar);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(nothing_has_no_first), TEST(in_order_and_out_from_the_front), TEST(backwards),
      TEST(at_random),            TEST(undone_without_memory),
  };
  return cmocka_run_group_tests_name("calendar", tests, NULL, NULL);
}
