/* Remembered overrides: what was put is got, and what threads get is never torn. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_test.h"
#include "session/plans.h"

static mneme_bytes text(const char *s) {
  return mneme_bytes_of(s, strlen(s));
}

/* What is known of a session at a revision: every field tells which. */
static void known_at(int64_t revision, plan_known *k) {
  *k = (plan_known){.settings_revision = revision};
  memset(k->uid.bytes, (int)(revision % 251), sizeof k->uid.bytes);
  k->policy.set = 1u << POLICY_MAX_MEMORIES | 1u << POLICY_DEFAULT_KIND;
  k->policy.max_memories = revision * 3;
  memset(k->kind, 'a' + (int)(revision % 26), sizeof k->kind);
  k->policy.default_kind = mneme_bytes_of(k->kind, (size_t)(revision % MNEME_ID_MAX + 1));
}

static bool is_whole(const plan_known *k) {
  plan_known same;
  known_at(k->settings_revision, &same);
  return memcmp(&same.uid, &k->uid, sizeof k->uid) == 0 && same.policy.set == k->policy.set &&
         same.policy.max_memories == k->policy.max_memories &&
         k->policy.default_kind.data == k->kind &&
         k->policy.default_kind.size == same.policy.default_kind.size &&
         memcmp(k->kind, same.kind, sizeof k->kind) == 0;
}

static bool is_none(const plan_known *k) {
  return k->settings_revision == 0 && k->policy.set == 0;
}

static void get(plans *p, const char *ns, const char *session, plan_known *ret) {
  memset(ret, 0xA5, sizeof *ret); /* whatever lay there before */
  plans_get(p, text(ns), text(session), ret);
}

static void put(plans *p, const char *ns, const char *session, int64_t revision) {
  plan_known k = {0};
  if (revision != 0)
    known_at(revision, &k);
  plans_put(p, text(ns), text(session), &k);
  memset(&k, 0xA5, sizeof k); /* nothing may point here */
}

static void what_was_put_is_got_until_it_is_forgotten(void **state) {
  (void)state;
  plans *p = plans_open();
  assert_non_null(p);
  plan_known k;
  get(p, "ns", "s", &k);
  assert_true(is_none(&k));
  put(p, "ns", "s", 5);
  get(p, "ns", "s", &k);
  assert_int_equal(k.settings_revision, 5);
  assert_true(is_whole(&k));
  put(p, "ns", "s", 130);
  get(p, "ns", "s", &k);
  assert_int_equal(k.settings_revision, 130);
  assert_true(is_whole(&k));
  put(p, "ns", "s", 0);
  get(p, "ns", "s", &k);
  assert_true(is_none(&k));
  put(p, "ns", "s", 0); /* twice is once */
  put(p, "ns", "s", 6);
  get(p, "ns", "s", &k);
  assert_true(is_whole(&k) && k.settings_revision == 6);
  plans_close(p);
}

static void sessions_are_told_apart(void **state) {
  (void)state;
  plans *p = plans_open();
  put(p, "ab", "c", 1);
  put(p, "x", "y/z", 2);
  plan_known k;
  get(p, "a", "bc", &k); /* the same letters, cut elsewhere */
  assert_true(is_none(&k));
  get(p, "ab", "c ", &k);
  assert_true(is_none(&k));
  get(p, "x/y", "z", &k);
  assert_true(is_none(&k));
  put(p, "a", "bc", 0); /* forgets nobody else's */
  get(p, "ab", "c", &k);
  assert_true(is_whole(&k));
  plans_close(p);
}

/* More sessions than slots: each answer is the session's own, or none. */
static void a_full_table_loses_and_never_mixes(void **state) {
  (void)state;
  plans *p = plans_open();
  char name[32];
  enum { SESSIONS = 2 * PLANS_SLOTS };
  for (int i = 1; i <= SESSIONS; i++) {
    snprintf(name, sizeof name, "session-%d", i);
    put(p, "ns", name, i);
    plan_known k;
    get(p, "ns", name, &k);
    assert_true(k.settings_revision == i && is_whole(&k));
  }
  int remembered = 0;
  for (int i = 1; i <= SESSIONS; i++) {
    snprintf(name, sizeof name, "session-%d", i);
    plan_known k;
    get(p, "ns", name, &k);
    assert_true(is_none(&k) || (k.settings_revision == i && is_whole(&k)));
    remembered += k.settings_revision == i;
  }
  assert_true(remembered > PLANS_SLOTS / 2 && remembered <= PLANS_SLOTS);
  for (int i = 1; i <= SESSIONS; i++) {
    snprintf(name, sizeof name, "session-%d", i);
    put(p, "ns", name, 0);
  }
  for (int i = 1; i <= SESSIONS; i++) {
    snprintf(name, sizeof name, "session-%d", i);
    plan_known k;
    get(p, "ns", name, &k);
    assert_true(is_none(&k));
  }
  plans_close(p);
}

static void closing_takes_null(void **state) {
  (void)state;
  plans_close(NULL);
}

/* --- Threads ------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 5000, NAMES = 8 };

typedef struct worker {
  pthread_t thread;
  plans *plans;
  unsigned seed;
  int torn;
} worker;

static void *work(void *ctx) {
  worker *w = ctx;
  for (int i = 0; i < ROUNDS; i++) {
    w->seed = w->seed * 1664525 + 1013904223;
    unsigned dice = w->seed >> 8;
    char name[16];
    snprintf(name, sizeof name, "s%u", dice % NAMES);
    if (dice / 8 % 4 == 0)
      put(w->plans, "ns", name, 0);
    else if (dice / 8 % 4 == 1)
      put(w->plans, "ns", name, 1 + dice / 32 % 1000);
    else {
      plan_known k;
      get(w->plans, "ns", name, &k);
      w->torn += !is_none(&k) && !is_whole(&k);
    }
  }
  return NULL;
}

static void threads_never_get_a_torn_entry(void **state) {
  (void)state;
  plans *p = plans_open();
  worker workers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker){.plans = p, .seed = (unsigned)i};
    assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(workers[i].thread, NULL);
    assert_int_equal(workers[i].torn, 0);
  }
  for (int i = 0; i < NAMES; i++) {
    char name[16];
    snprintf(name, sizeof name, "s%d", i);
    put(p, "ns", name, 0);
    plan_known k;
    get(p, "ns", name, &k);
    assert_true(is_none(&k));
  }
  put(p, "ns", "later", 9); /* the count of slots in use has not gone astray */
  plan_known k;
  get(p, "ns", "later", &k);
  assert_true(is_whole(&k));
  plans_close(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_put_is_got_until_it_is_forgotten),
      cmocka_unit_test(sessions_are_told_apart),
      cmocka_unit_test(a_full_table_loses_and_never_mixes),
      cmocka_unit_test(closing_takes_null),
      cmocka_unit_test(threads_never_get_a_torn_entry),
  };
  return cmocka_run_group_tests_name("plans", tests, NULL, NULL);
}
