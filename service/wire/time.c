/* Timestamps and durations: microseconds inside, protobuf's seconds and
 * nanoseconds outside. */
#include "wire/internal.h"

/* 0001-01-01 and 9999-12-31, the range of google.protobuf.Timestamp. */
#define SECONDS_MIN INT64_C(-62135596800)
#define SECONDS_MAX INT64_C(253402300799)

bool wire_time_in(const Google__Protobuf__Timestamp *t, const char *path, arena *a,
                  int64_t *ret_us, error *e) {
  if (t->seconds < SECONDS_MIN || t->seconds > SECONDS_MAX || t->nanos < 0 ||
      t->nanos > 999999999)
    return error_invalid(e, a, "INVALID_VALUE", path,
                         "%s: a time lies between 0001-01-01 and 9999-12-31, with nanos from 0 "
                         "to 999999999",
                         path);
  *ret_us = t->seconds * 1000000 + t->nanos / 1000;
  return true;
}

bool wire_duration_in(const Google__Protobuf__Duration *d, const char *path, int64_t max_us,
                      arena *a, int64_t *ret_us, error *e) {
  int64_t max_seconds = max_us / 1000000;
  if (d->seconds < 0 || d->seconds > max_seconds || d->nanos < 0 || d->nanos > 999999999 ||
      d->seconds * 1000000 + d->nanos / 1000 > max_us ||
      d->seconds * 1000000 + d->nanos / 1000 == 0)
    return error_invalid(e, a, "INVALID_VALUE", path,
                         "%s: must be at least 1 microsecond and at most %lld seconds", path,
                         (long long)max_seconds);
  *ret_us = d->seconds * 1000000 + d->nanos / 1000;
  return true;
}

Google__Protobuf__Timestamp *wire_time_out(int64_t us, arena *a) {
  Google__Protobuf__Timestamp *t = arena_alloc(a, sizeof *t);
  if (t == NULL)
    return NULL;
  google__protobuf__timestamp__init(t);
  int64_t rest = us % 1000000;
  if (rest < 0)
    rest += 1000000;
  t->seconds = (us - rest) / 1000000;
  t->nanos = (int32_t)(rest * 1000);
  return t;
}

Google__Protobuf__Duration *wire_duration_out(int64_t us, arena *a) {
  Google__Protobuf__Duration *d = arena_alloc(a, sizeof *d);
  if (d == NULL)
    return NULL;
  google__protobuf__duration__init(d);
  d->seconds = us / 1000000;
  d->nanos = (int32_t)(us % 1000000 * 1000);
  return d;
}
