/* Many threads at once, and two hosts where there are two: nothing is lost,
 * doubled or torn. Each of these runs under ThreadSanitizer too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "follow.h"

#define THREADS 16
#define EACH 100

static _Atomic int64_t winners;
static _Atomic bool stop;

static void append_some(int index, void *arg) {
  for (int i = 0; i < EACH; i++) {
    cf_rec recs[3];
    int count = 1 + i % 3;
    for (int k = 0; k < count; k++) recs[k] = R(.id = cf_text("%d-%d-%d", index, i, k));
    mneme_step step = cf_step_append((size_t)count, recs);
    mneme_write w = cf_write(arg);
    cf_request(&w, cf_text("%d-%d", index, i), "1");
    cf_answer *a = OK(cf_do(&w, 1, &step));
    for (int k = 1; k < count; k++) /* a batch stays together */
      CHECK_INT(a->written.refs[k].sequence, a->written.refs[0].sequence + k);
    CHECK_INT(a->written.header.last_sequence, a->written.refs[count - 1].sequence);
    if (cf_chance(10)) /* a retry, at once */
      CHECK(OK(cf_do(&w, 1, &step))->written.deduplicated);
    cf_release(a);
  }
}

TEST_SLOW(c17_sixteen_threads_append, "C-17 C-09", 2) {
  cf_threads(THREADS, append_some, (void *)(uintptr_t) "s");
  int64_t total = 0;
  for (int i = 0; i < EACH; i++) total += THREADS * (1 + i % 3);
  cf_answer *all = cf_all("s");
  CHECK_INT(all->record_count, total);
  CHECK_INT(cf_header("s").last_sequence, total);
  CHECK_INT(cf_header("s").revision, THREADS * EACH);
  int next[THREADS] = {0}; /* each thread's in its own order, exactly once */
  for (int64_t i = 0; i < total; i++) {
    CHECK_INT(all->records[i].sequence, i + 1);
    int t = 0, n = 0, k = 0;
    sscanf(cf_text("%.*s", (int)all->records[i].id.size, all->records[i].id.data), "%d-%d-%d",
           &t, &n, &k);
    CHECK_INT(n * 10 + k, next[t]);
    next[t] = k + 1 < 1 + n % 3 ? n * 10 + k + 1 : (n + 1) * 10;
  }
}

static void race_once(int index, void *arg) {
  mneme_write w = cf_write("s");
  w.expected_revision = *(int64_t *)arg;
  cf_answer *a = DO(&w, APPEND(R(.id = cf_text("%lld-%d", (long long)w.expected_revision, index))));
  if (a->status == MNEME_OK) atomic_fetch_add(&winners, 1);
  else CHECK_STATUS(a, MNEME_CONFLICT);
}

TEST(c11_one_racer_wins, "C-11") {
  for (int64_t revision = 0; revision < 50; revision++) {
    atomic_store(&winners, 0);
    cf_threads(4, race_once, &revision);
    CHECK_INT(atomic_load(&winners), 1);
    CHECK_INT(cf_header("s").revision, revision + 1);
  }
  CHECK_INT(cf_all("s")->record_count, 50);
}

static void retry_same(int index, void *arg) {
  (void)index;
  mneme_write w = cf_write("s");
  cf_request(&w, arg, "1");
  cf_answer *a = OK(DO(&w, APPEND(R(.id = arg))));
  if (!a->written.deduplicated) atomic_fetch_add(&winners, 1);
}

TEST(c09_racing_retries_take_effect_once, "C-09") {
  for (int i = 0; i < 50; i++) {
    atomic_store(&winners, 0);
    cf_threads(4, retry_same, (void *)(uintptr_t)cf_text("r%d", i));
    CHECK_INT(atomic_load(&winners), 1);
  }
  CHECK_INT(cf_all("s")->record_count, 50);
}

/* Writers that remove, update and evict at one end, while readers scan: what lives
 * throughout is in each scan exactly once, each record is whole, in order. */
static void churn(int index, void *arg) {
  (void)arg;
  for (int i = 0; i < 150; i++) {
    const char *id = cf_text("w%d-%d", index, i);
    DO_IN("s", APPEND(R(.id = id, .key = id, .body = id, .tokens = index)));
    if (i % 3 == 2) DO_IN("s", IDS(cf_text("w%d-%d", index, i - 1)));
    if (i % 7 == 6)
      DO_IN("s", APPEND(R(.id = id, .key = id, .body = id, .policy = MNEME_CONFLICT_REPLACE)));
  }
  if (atomic_fetch_add(&winners, 1) == 1) atomic_store(&stop, true);
}

static void check_scan(const cf_answer *a, bool by_key) {
  int64_t stable = 0;
  for (size_t i = 0; i < a->record_count; i++) {
    const mneme_record *r = &a->records[i];
    if (!cf_same(r->id, r->body)) FAIL("a record is torn: its body is another's");
    if (r->id.data[0] == 's') stable++;
    if (i == 0) continue;
    if (by_key) CHECK(cf_compare(a->records[i - 1].key, r->key) < 0);
    else CHECK(a->records[i - 1].sequence < r->sequence);
  }
  CHECK_INT(stable, 2500);
}

static void scan_or_churn(int index, void *arg) {
  if (index < 2) {
    churn(index, arg);
    return;
  }
  do {
    mneme_read r = cf_reading("s");
    cf_answer *a = OK(cf_read(&r));
    check_scan(a, false);
    cf_release(a);
    r.select = MNEME_SELECT_KEYS;
    a = OK(cf_read(&r));
    check_scan(a, true);
    cf_release(a);
  } while (!atomic_load(&stop));
}

TEST_SLOW(c19_scans_beside_writers, "C-19 C-22", 4) {
  for (int done = 0; done < 2500; done += 500) {
    cf_rec *recs = cf_alloc(500 * sizeof *recs);
    for (int i = 0; i < 500; i++)
      recs[i].id = recs[i].key = recs[i].body = cf_text("s%d", done + i);
    mneme_step step = cf_step_append(500, recs);
    OK(cf_do(cf_plain("s"), 1, &step));
  }
  atomic_store(&winners, 0);
  atomic_store(&stop, false);
  cf_threads(4, scan_or_churn, NULL);
}

/* The same for a descending scan of a session whose oldest are evicted. */
static void evict_or_scan(int index, void *arg) {
  (void)arg;
  if (index == 0) {
    for (int i = 0; i < 300; i++) {
      mneme_write w = cf_write("s");
      w.plan.evict_above = 1300;
      w.plan.evict_to = 1200;
      cf_release(OK(DO(&w, APPEND(R(.id = cf_text("n%d", i))))));
    }
    atomic_store(&stop, true);
    return;
  }
  do {
    int64_t newest = cf_header("s").last_sequence;
    mneme_read r = cf_reading("s");
    r.descending = true;
    cf_answer *a = OK(cf_read(&r));
    mneme_header after = cf_header("s");
    int64_t oldest = after.last_sequence - after.memory_count + 1;
    int64_t lived = 0; /* of those from oldest to newest, which lived throughout */
    for (size_t i = 0; i < a->record_count; i++) {
      int64_t sequence = a->records[i].sequence;
      if (sequence >= oldest && sequence <= newest) lived++;
      if (i > 0) CHECK(sequence < a->records[i - 1].sequence);
    }
    if (newest >= oldest) CHECK_INT(lived, newest - oldest + 1);
    cf_release(a);
  } while (!atomic_load(&stop));
}

TEST_SLOW(c19_scans_beside_eviction, "C-19 C-14", 4) {
  cf_fill("s", "m", 1300);
  atomic_store(&stop, false);
  cf_threads(3, evict_or_scan, NULL);
  CHECK_INT(cf_header("s").last_sequence, 1600);
  CHECK(cf_header("s").memory_count <= 1300);
}

/* Two sweepers at one session, as two servers have them: each expired memory is
 * removed by one of them and stands in the log once. */
static void expire_some(int index, void *arg) {
  (void)index;
  for (;;) {
    cf_answer *a = DO_IN("s", EXPIRE(3));
    int64_t count = a->written.expired_count;
    if (count == 0) return;
    atomic_fetch_add((_Atomic int64_t *)arg, count);
  }
}

TEST(c34_two_sweepers_expire_once, "C-34") {
  enum { COUNT = 200 };
  cf_rec recs[COUNT];
  for (int i = 0; i < COUNT; i++) recs[i] = R(.id = cf_text("%d", i), .ttl_us = 10);
  mneme_step step = cf_step_append(COUNT, recs);
  OK(cf_do(cf_plain("s"), 1, &step));
  DO_IN("s", APPEND(R(.id = "stays")));
  cf_tick(10);
  _Atomic int64_t expired = 0;
  cf_threads(3, expire_some, &expired);
  CHECK_INT(atomic_load(&expired), COUNT);
  CHECK_TEXT(cf_ids(cf_all("s")), "stays");
  mneme_header h = cf_header("s");
  cf_answer *log = OK(cf_log(cf_bytes("s"), &h.uid, 0));
  bool seen[COUNT + 1] = {false};
  int64_t logged = 0;
  for (size_t i = 0; i < log->entry_count; i++)
    for (int64_t q = log->entries[i].first; q <= log->entries[i].last; q++, logged++) {
      CHECK(q >= 1 && q <= COUNT && !seen[q]);
      seen[q] = true;
    }
  CHECK_INT(logged, COUNT);
}

/* Servers whose clocks differ: the session's times do not go back all the same. */
static void append_and_update(int index, void *arg) {
  (void)arg;
  for (int i = 0; i < 60; i++) {
    const char *id = cf_text("%d-%d", index, i / 2);
    DO_IN("s", APPEND(R(.id = id, .policy = MNEME_CONFLICT_REPLACE)));
    cf_tick(100);
  }
}

TEST(c40_clocks_that_differ, "C-40 C-17") {
  for (int i = 1; i < cf.host_count; i++) cf.hosts[i].skew_us = -3 * CF_SECOND;
  cf_threads(4, append_and_update, NULL);
  cf_answer *all = cf_all("s");
  CHECK_INT(all->record_count, 120);
  CHECK_INT(cf_header("s").revision, 240);
  for (size_t i = 0; i < all->record_count; i++) {
    CHECK_INT(all->records[i].sequence, i + 1);
    CHECK(i == 0 || all->records[i].create_us >= all->records[i - 1].create_us);
    CHECK(all->records[i].update_us > 0);
  }
  /* An update by the server that lags still raises update_us. */
  for (int i = 0; i < 10; i++) {
    const mneme_record *old = &cf_all("s")->records[0];
    cf_opt.host = i % cf.host_count;
    mneme_step step = PUT(1, old->revision, R(.id = "0-0"));
    OK(cf_do(cf_plain("s"), 1, &step));
    const mneme_record *now = &cf_all("s")->records[0];
    CHECK(now->update_us > old->update_us);
    CHECK_INT(now->create_us, old->create_us);
  }
}

/* Everything at once on a few sessions: appends, drops, sweeps, trims, lists and a
 * follower, which in the end knows what is there. */
typedef struct storm {
  follower f;
  pthread_mutex_t clock;
} storm;

static void storm_write(const char *session) {
  mneme_write w = cf_write(session);
  if (cf_chance(30)) w.plan.ttl_us = 2000;
  if (cf_chance(30)) cf_request(&w, cf_text("r%lld", (long long)cf_below(50)), "1");
  switch (cf_below(7)) {
    case 0: OK(DO(&w, DROP())); break;
    case 1: OK(DO(&w, NEWEST(2, 0))); break;
    case 2: OK(DO(&w, FROM(1), APPEND(R(.id = "a"), R(.id = "b")))); break;
    case 3: OK(DO(&w, TOUCH(1, 2, 3))); break;
    default:
      OK(DO(&w, APPEND(R(.id = cf_text("%llx", (unsigned long long)cf_random()),
                         .key = cf_text("k%lld", (long long)cf_below(5)),
                         .ttl_us = cf_chance(30) ? 1000 : 0,
                         .policy = MNEME_CONFLICT_REPLACE))));
  }
}

static void storm_thread(int index, void *arg) {
  storm *s = arg;
  for (int i = 0; i < 250; i++) {
    const char *session = cf_text("s%lld", (long long)cf_below(4));
    if (index == 0) {
      follow(&s->f, 0);
    } else if (index == 1) {
      cf_sweep();
      OK(cf_trim(10));
    } else if (index == 2) {
      mneme_session_list list = cf_listing();
      list.order = MNEME_SESSIONS_BY_UPDATE;
      OK(cf_session_list(&list));
      OK(cf_stats(cf.ns, cf_bytes("")));
      cf_all(session);
    } else {
      storm_write(session);
      cf_tick(7);
    }
  }
}

TEST_SLOW(c23_a_storm_and_its_follower, "C-23 C-25 C-28", 4) {
  storm *s = cf_alloc(sizeof *s);
  s->f.ns = cf.ns;
  cf_threads(8, storm_thread, s);
  cf_tick(10000);
  cf_sweep();
  follow(&s->f, 0);
  follow_check(&s->f);
  mneme_session_list list = cf_listing();
  cf_answer *a = OK(cf_session_list(&list));
  int64_t memories = 0;
  for (size_t i = 0; i < a->header_count; i++) {
    mneme_read r = cf_reading("");
    r.session = a->headers[i].session;
    memories += (int64_t)OK(cf_read(&r))->record_count;
  }
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("")))->stats.memory_count, memories);
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("")))->stats.session_count, a->header_count);
}
