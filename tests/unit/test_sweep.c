/* The sweeper on an engine that is told what to answer: what a tick does and in
 * which order, when the next one comes, what a stalled or failing store does to it,
 * and sessions that wait for their interval.
 *
 * Its clock is the real one, so the intervals here are a few milliseconds; a test
 * waits for the event, and times are only compared where waiting is the promise. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmocka_test.h"
#include "sweep/sweep.h"

#define INTERVAL_US 20000
#define LONG_US 1000000 /* for "at once", which no load of the machine makes so long */
#define CALLS_MAX 4096
#define PATIENCE_S 20
#define SESSIONS 700

typedef enum operation { PING, DUE, EXPIRE, TRIM, HEALTH } operation;

typedef struct seen {
  operation operation;
  int64_t at_us;
  int session;       /* EXPIRE */
  int64_t limit;     /* DUE */
  int state;         /* HEALTH */
} seen;

/* What the engine does, and what it was asked. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  seen calls[CALLS_MAX];
  int count;
  mneme_status ping, expire;
  bool choke; /* the next ping fills the pool */
  bool stall_ping;
  int stalled; /* pings whose done is owed */
  mneme_done_fn owed;
  void *owed_ctx;
  int due; /* sessions 0.. that are due as long as a tick has not swept them */
  bool always_due;
  bool swept[SESSIONS];
  int64_t expired_count;
  int failing; /* this session's EXPIRE answers `expire`, -1 = all do */
  int64_t cleanup_us[SESSIONS];
} fake;

static void note(seen s) {
  s.at_us = clock_mono_us();
  pthread_mutex_lock(&fake.lock);
  if (fake.count < CALLS_MAX)
    fake.calls[fake.count++] = s;
  pthread_cond_broadcast(&fake.changed);
  pthread_mutex_unlock(&fake.lock);
}

static int count_of(operation o) {
  int n = 0;
  pthread_mutex_lock(&fake.lock);
  for (int i = 0; i < fake.count; i++)
    n += fake.calls[i].operation == o;
  pthread_mutex_unlock(&fake.lock);
  return n;
}

static void answer_with(mneme_status *which, mneme_status status) {
  pthread_mutex_lock(&fake.lock);
  *which = status;
  pthread_mutex_unlock(&fake.lock);
}

/* The place of the n-th (from 0) call of this operation, waited for. */
static int nth(operation o, int n) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += PATIENCE_S;
  int found = -1;
  pthread_mutex_lock(&fake.lock);
  for (;;) {
    int left = n;
    for (int i = 0; i < fake.count && found < 0; i++)
      if (fake.calls[i].operation == o && left-- == 0)
        found = i;
    if (found >= 0 || pthread_cond_timedwait(&fake.changed, &fake.lock, &end) == ETIMEDOUT)
      break;
  }
  pthread_mutex_unlock(&fake.lock);
  if (found < 0)
    fail_msg("waited in vain for call %d of operation %d", n, o);
  return found;
}

static int64_t at(operation o, int n) { return fake.calls[nth(o, n)].at_us; }

/* --- The engine ----------------------------------------------------------- */

static mneme_status fake_open(const mneme_host *host, const mneme_option_value *values,
                              mneme_backend **ret_backend, char *error, size_t size) {
  (void)host;
  (void)values;
  (void)error;
  (void)size;
  *ret_backend = (mneme_backend *)&fake;
  return MNEME_OK;
}

static void fake_close(mneme_backend *b) { (void)b; }

static registry *backends;
static pool *workers;
static sweep *sweeper;
static int64_t interval_us;

static void nothing(void *ctx) { (void)ctx; }

/* On the one worker there is: what is queued stays until it has returned. */
static void fill_pool(void) {
  static pool_task queued, timed;
  fake.choke = false;
  assert_true(pool_submit(workers, &queued, nothing, NULL));
  assert_true(pool_submit_after(workers, &timed, nothing, NULL, INT64_C(3600) * 1000000));
}

static void fake_ping(mneme_backend *b, const mneme_call *call, mneme_done_fn done, void *ctx) {
  (void)b;
  (void)call;
  note((seen){.operation = PING});
  if (fake.choke)
    fill_pool();
  pthread_mutex_lock(&fake.lock);
  bool stalls = fake.stall_ping;
  mneme_status status = fake.ping;
  if (stalls) {
    fake.owed = done;
    fake.owed_ctx = ctx;
    fake.stalled++;
    pthread_cond_broadcast(&fake.changed);
  }
  pthread_mutex_unlock(&fake.lock);
  if (!stalls)
    done(status, ctx);
}

static mneme_uid uid_of(int session) {
  mneme_uid uid = {{0}};
  uint32_t mixed = (uint32_t)session * 2654435761u; /* not in order */
  memcpy(uid.bytes, &mixed, sizeof mixed);
  memcpy(uid.bytes + 8, &session, sizeof session);
  return uid;
}

static int session_of(const mneme_uid *uid) {
  int session;
  memcpy(&session, uid->bytes + 8, sizeof session);
  return session;
}

static void fake_due(mneme_backend *b, const mneme_call *call, int64_t limit,
                     mneme_header_fn emit, mneme_done_fn done, void *ctx) {
  (void)b;
  (void)call;
  note((seen){.operation = DUE, .limit = limit});
  int64_t left = limit;
  for (int i = 0; i < fake.due && left > 0; i++) {
    if (fake.swept[i] && !fake.always_due)
      continue;
    mneme_header h = {.ns = {"n", 1}, .session = {"s", 1}, .uid = uid_of(i)};
    left--;
    if (emit(&h, ctx) != 0)
      break;
  }
  done(MNEME_OK, ctx);
}

static void fake_commit(mneme_backend *b, const mneme_call *call, const mneme_write *w,
                        mneme_written_fn done, void *ctx) {
  (void)b;
  (void)call;
  int session = session_of(w->uid);
  mneme_written written = {.expired_count = fake.expired_count};
  assert_int_equal(w->step_count, 1);
  assert_int_equal(w->steps[0].op, MNEME_STEP_EXPIRE);
  assert_int_equal(w->steps[0].count, SWEEP_EXPIRE_MAX);
  note((seen){.operation = EXPIRE, .session = session});
  pthread_mutex_lock(&fake.lock);
  mneme_status status = fake.expire;
  pthread_mutex_unlock(&fake.lock);
  bool fails = status != MNEME_OK && (fake.failing < 0 || fake.failing == session);
  if (!fails)
    fake.swept[session] = true;
  done(fails ? status : MNEME_OK, fails ? NULL : &written, ctx);
}

static void fake_trim(mneme_backend *b, const mneme_call *call, int64_t rows, bool *ret_more,
                      mneme_done_fn done, void *ctx) {
  (void)b;
  (void)call;
  assert_int_equal(rows, SWEEP_TRIM_MAX);
  note((seen){.operation = TRIM});
  *ret_more = false;
  done(MNEME_OK, ctx);
}

static const mneme_option no_options[] = {{0}};
static const mneme_backend_type type = {.abi = MNEME_ABI,
                                        .struct_size = sizeof type,
                                        .name = "fake",
                                        .doc = "does what it is told",
                                        .options = no_options,
                                        .open = fake_open,
                                        .close = fake_close,
                                        .commit = fake_commit,
                                        .due = fake_due,
                                        .ping = fake_ping,
                                        .trim = fake_trim};

/* --- The sweeper ---------------------------------------------------------- */

static void on_health(const registry_backend *b, registry_health health, void *ctx) {
  (void)b;
  (void)ctx;
  note((seen){.operation = HEALTH, .state = health.state});
}

static int64_t cleanup_us(const mneme_header *h, void *ctx) {
  (void)ctx;
  return fake.cleanup_us[session_of(&h->uid)];
}

static int begin(void **state) {
  (void)state;
  memset(&fake, 0, sizeof fake);
  pthread_mutex_init(&fake.lock, NULL);
  pthread_cond_init(&fake.changed, NULL);
  fake.failing = -1;
  interval_us = INTERVAL_US;
  return 0;
}

static void start_on(const pool_options *options, int64_t step_us, int64_t watch_us) {
  static const registry_entry entries[] = {{.name = "b", .type = &type}};
  char error[REGISTRY_ERROR_MAX];
  backends = registry_open(entries, 1, NULL, 0, error, sizeof error);
  assert_non_null(backends);
  workers = pool_open(options);
  assert_non_null(workers);
  sweeper = sweep_open(backends, workers,
                       &(sweep_options){.interval_us = interval_us,
                                        .step_us = step_us,
                                        .watch_us = watch_us,
                                        .health = on_health,
                                        .cleanup_us = cleanup_us});
  assert_non_null(sweeper);
}

static void start(int64_t step_us, int64_t watch_us) {
  start_on(&(pool_options){.threads = 2, .queue_max = 8, .timers_max = 8}, step_us, watch_us);
}

static int end(void **state) {
  (void)state;
  sweep_stop(sweeper);
  if (fake.owed != NULL)
    fake.owed(MNEME_OK, fake.owed_ctx);
  pool_drain(workers);
  sweep_close(sweeper);
  pool_close(workers);
  registry_close(backends);
  sweeper = NULL;
  return 0;
}

/* --- Tests ---------------------------------------------------------------- */

static void a_tick_pings_expires_and_trims(void **state) {
  (void)state;
  fake.due = 3;
  start(0, 0);
  (void)nth(PING, 1);
  static const operation order[] = {PING, DUE, EXPIRE, EXPIRE, EXPIRE, TRIM, PING};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    assert_int_equal(fake.calls[i].operation, order[i]);
  for (int i = 0; i < 3; i++)
    assert_int_equal(fake.calls[2 + i].session, i);
  assert_int_equal(fake.calls[1].limit, SWEEP_SESSIONS_MAX);
  /* Nothing was left over, so the next tick waits. */
  assert_true(at(PING, 1) - at(TRIM, 0) >= INTERVAL_US);
}

/* More than a tick takes: the next one follows at once. */
static void what_is_left_over_is_done_at_once(void **state) {
  (void)state;
  fake.due = SWEEP_SESSIONS_MAX + 10;
  interval_us = LONG_US;
  start(0, 0);
  int trim = nth(TRIM, 0), ping = nth(PING, 1);
  assert_int_equal(count_of(EXPIRE) >= SWEEP_SESSIONS_MAX, true);
  assert_true(fake.calls[ping].at_us - fake.calls[trim].at_us < LONG_US);
  (void)nth(TRIM, 1);
  assert_int_equal(count_of(EXPIRE), SWEEP_SESSIONS_MAX + 10);
}

/* A session with more than one commit may remove comes again at once, too. */
static void a_full_commit_is_followed_by_another(void **state) {
  (void)state;
  fake.due = 1;
  fake.always_due = true;
  fake.expired_count = SWEEP_EXPIRE_MAX;
  fake.cleanup_us[0] = 3600 * INT64_C(1000000); /* it is not clean yet: no wait */
  interval_us = LONG_US;
  start(0, 0);
  assert_true(at(EXPIRE, 5) - at(EXPIRE, 0) < LONG_US);
}

/* After a failure the same sessions are due at once again, and would fail: the next
 * tick waits. One of a session does not stop the others. */
static void a_failure_waits_for_the_interval(void **state) {
  (void)state;
  fake.due = SWEEP_SESSIONS_MAX + 5; /* else more would follow at once */
  fake.always_due = true;
  fake.expire = MNEME_CORRUPT;
  fake.failing = 0;
  start(0, 0);
  (void)nth(PING, 2);
  assert_int_equal(count_of(TRIM), 0);
  assert_true(count_of(EXPIRE) >= 2 * SWEEP_SESSIONS_MAX);
  for (int i = 1; i <= 2; i++)
    assert_true(at(PING, i) - fake.calls[nth(PING, i) - 1].at_us >= INTERVAL_US);
}

/* What the store as a whole answers ends the tick. */
static void a_store_that_fails_ends_the_tick(void **state) {
  (void)state;
  static const mneme_status failures[] = {MNEME_DOWN, MNEME_TIMEOUT, MNEME_BUSY};
  fake.due = 5;
  fake.always_due = true;
  fake.expire = failures[0];
  start(0, 0);
  for (int i = 0; i < 3; i++) {
    assert_true(nth(PING, i) < nth(EXPIRE, i)); /* one to a tick */
    assert_true(nth(EXPIRE, i) < nth(PING, i + 1));
    assert_true(at(PING, i + 1) - at(EXPIRE, i) >= INTERVAL_US);
    answer_with(&fake.expire, failures[i < 2 ? i + 1 : 2]);
  }
  assert_int_equal(count_of(TRIM), 0);
}

/* A store that is down is pinged and left alone, and noticed when it is back. */
static void a_store_that_is_down_is_only_pinged(void **state) {
  (void)state;
  fake.ping = MNEME_DOWN;
  fake.due = 1;
  start(0, 0);
  assert_int_equal(fake.calls[nth(HEALTH, 0)].state, REGISTRY_DOWN);
  (void)nth(PING, 3);
  assert_int_equal(count_of(DUE), 0);
  assert_int_equal(count_of(HEALTH), 1); /* told once */
  answer_with(&fake.ping, MNEME_OK);
  assert_int_equal(fake.calls[nth(HEALTH, 1)].state, REGISTRY_SERVING);
  (void)nth(EXPIRE, 0);
}

/* A ping without an answer counts as one that timed out, time after time; the third
 * says that the store is down. The answer, when it comes at last, takes that back. */
static void a_ping_that_stalls_is_noticed(void **state) {
  (void)state;
  fake.stall_ping = true;
  start(3000, 1000);
  int health = nth(HEALTH, 0);
  assert_int_equal(fake.calls[health].state, REGISTRY_DOWN);
  assert_int_equal(count_of(PING), 1); /* none beside the one that is owed */
  assert_true(fake.calls[health].at_us - at(PING, 0) >= REGISTRY_TIMEOUTS_MAX * 3000);
  pthread_mutex_lock(&fake.lock);
  mneme_done_fn owed = fake.owed;
  fake.owed = NULL;
  fake.stall_ping = false;
  pthread_mutex_unlock(&fake.lock);
  owed(MNEME_OK, fake.owed_ctx);
  assert_int_equal(fake.calls[nth(HEALTH, 1)].state, REGISTRY_SERVING);
  (void)nth(TRIM, 0);
}

/* Neither queue nor timers take the next step: it is put off, and the watcher tries
 * again. */
static void a_full_pool_is_survived(void **state) {
  (void)state;
  fake.choke = true;
  fake.due = 1;
  start_on(&(pool_options){.threads = 1, .queue_max = 1, .timers_max = 1}, 0, 1000);
  assert_int_equal(fake.calls[nth(EXPIRE, 0)].session, 0);
  assert_false(fake.choke);
  (void)nth(TRIM, 0);
}

/* --- cleanup_interval ----------------------------------------------------- */

/* Sessions 0 and 2 wait for an hour after their first sweep, 1 for less than the
 * sweeper's own interval, 3 for three of those. */
static void sessions_wait_for_their_interval(void **state) {
  (void)state;
  fake.due = 4;
  fake.always_due = true;
  fake.cleanup_us[0] = fake.cleanup_us[2] = 3600 * INT64_C(1000000);
  fake.cleanup_us[1] = INTERVAL_US / 2;
  fake.cleanup_us[3] = 3 * INTERVAL_US;
  start(0, 0);
  int swept[4] = {0};
  int64_t last_us = 0;
  int calls = nth(PING, 12);
  for (int i = 0; i < calls; i++) {
    const seen *s = &fake.calls[i];
    if (s->operation != EXPIRE)
      continue;
    swept[s->session]++;
    if (s->session != 3)
      continue;
    assert_true(last_us == 0 || s->at_us - last_us >= 3 * INTERVAL_US);
    last_us = s->at_us;
  }
  assert_int_equal(swept[0], 1);
  assert_int_equal(swept[2], 1);
  assert_true(swept[1] >= 11); /* each tick */
  assert_in_range(swept[3], 1, 12);
}

/* More of them than a tick takes do not stand in the way of the others. */
static void those_that_wait_keep_nobody_waiting(void **state) {
  (void)state;
  fake.due = SESSIONS;
  fake.always_due = true;
  for (int i = 0; i < SESSIONS - 1; i++)
    fake.cleanup_us[i] = 3600 * INT64_C(1000000);
  start(0, 0);
  int n = 0;
  while (fake.calls[nth(EXPIRE, n)].session != SESSIONS - 1)
    n++;
  assert_int_equal(n, SESSIONS - 1); /* the others once, before it */
  int due = nth(DUE, count_of(DUE) - 1);
  assert_in_range(fake.calls[due].limit, 2 * SWEEP_SESSIONS_MAX,
                  SWEEP_SESSIONS_MAX + SWEEP_WAITING_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_tick_pings_expires_and_trims),
      TEST(what_is_left_over_is_done_at_once),
      TEST(a_full_commit_is_followed_by_another),
      TEST(a_failure_waits_for_the_interval),
      TEST(a_store_that_fails_ends_the_tick),
      TEST(a_store_that_is_down_is_only_pinged),
      TEST(a_ping_that_stalls_is_noticed),
      TEST(a_full_pool_is_survived),
      TEST(sessions_wait_for_their_interval),
      TEST(those_that_wait_keep_nobody_waiting),
  };
  return cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
}
