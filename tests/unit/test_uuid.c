/* Ids: their bits, their order within a thread and between threads, their text. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "cmocka_test.h"

#define THREADS 4
#define IDS_PER_THREAD 20000
#define NOW_US INT64_C(1795257600123456) /* 2026-11-21T16:00:00.123456Z */

static int64_t milliseconds(const uint8_t uuid[UUID_BYTES]) {
  int64_t ms = 0;
  for (int i = 0; i < 6; i++)
    ms = ms << 8 | uuid[i];
  return ms;
}

static void has_the_bits_of_version_7(void **state) {
  (void)state;
  uint8_t seen_and[8], seen_or[8] = {0};
  memset(seen_and, 0xff, sizeof seen_and);
  for (int i = 0; i < 1000; i++) {
    uint8_t id[UUID_BYTES];
    uuid_v7(id, NOW_US);
    assert_int_equal(id[6] >> 4, 7);
    assert_int_equal(id[8] >> 6, 2);
    assert_in_range(milliseconds(id), NOW_US / 1000, NOW_US / 1000 + 1);
    for (int j = 0; j < 8; j++) {
      seen_and[j] &= id[8 + j];
      seen_or[j] |= id[8 + j];
    }
  }
  /* Every random bit was seen as 0 and as 1. */
  for (int j = 1; j < 8; j++) {
    assert_int_equal(seen_and[j], 0);
    assert_int_equal(seen_or[j], 0xff);
  }
}

static void never_goes_back(void **state) {
  (void)state;
  static const int64_t steps[] = {0, 1, 1000, -1, -1000000, 999, 0, -86400000000, 86400000000};
  uint8_t last[UUID_BYTES] = {0};
  int64_t now_us = NOW_US + 1000000;
  for (int i = 0; i < 100000; i++) {
    uint8_t id[UUID_BYTES];
    uuid_v7(id, now_us);
    assert_true(memcmp(last, id, 8) < 0); /* by what is not random already */
    memcpy(last, id, sizeof last);
    now_us += steps[(size_t)i % (sizeof steps / sizeof steps[0])];
  }
  uuid_v7(last, -1);
}

static void follows_a_clock_that_goes_on(void **state) {
  (void)state;
  int64_t now_us = NOW_US + INT64_C(100) * 365 * 86400 * 1000000;
  for (int i = 0; i < 1000; i++) {
    uint8_t id[UUID_BYTES];
    uuid_v7(id, now_us);
    assert_int_equal(milliseconds(id), now_us / 1000);
    now_us += 250;
  }
}

static void *make_ids(void *arg) {
  uint8_t(*ids)[UUID_BYTES] = arg;
  for (int i = 0; i < IDS_PER_THREAD; i++)
    uuid_v7(ids[i], clock_wall_us());
  return NULL;
}

static int compare_ids(const void *a, const void *b) {
  return memcmp(a, b, UUID_BYTES);
}

static void threads_never_make_the_same(void **state) {
  (void)state;
  uint8_t(*ids)[UUID_BYTES] = calloc(THREADS * IDS_PER_THREAD, UUID_BYTES);
  assert_non_null(ids);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, make_ids, ids + i * IDS_PER_THREAD), 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; i < THREADS * IDS_PER_THREAD; i++) {
    if (i % IDS_PER_THREAD != 0)
      assert_true(memcmp(ids[i - 1], ids[i], UUID_BYTES) < 0);
  }
  qsort(ids, THREADS * IDS_PER_THREAD, UUID_BYTES, compare_ids);
  for (int i = 1; i < THREADS * IDS_PER_THREAD; i++)
    assert_true(memcmp(ids[i - 1], ids[i], 8) < 0); /* not even in their ticks */
  free(ids);
}

static void text_is_lower_case_hexadecimal(void **state) {
  (void)state;
  static const uint8_t id[UUID_BYTES] = {0x01, 0x8f, 0x3c, 0x5e, 0x6a, 0x1b, 0x7c, 0x3d,
                                         0x8e, 0x4f, 0x5a, 0x6b, 0x7c, 0x8d, 0x9e, 0x0f};
  char out[UUID_TEXT_SIZE];
  uuid_format(id, out);
  assert_string_equal(out, "018f3c5e-6a1b-7c3d-8e4f-5a6b7c8d9e0f");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(has_the_bits_of_version_7),
    cmocka_unit_test(never_goes_back),
    cmocka_unit_test(follows_a_clock_that_goes_on),
    cmocka_unit_test(threads_never_make_the_same),
    cmocka_unit_test(text_is_lower_case_hexadecimal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
