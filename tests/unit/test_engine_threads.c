/* Many threads on one store: made for the thread sanitizer, and with sums that
 * must come out right anyway. Writers append to a few sessions, evict, drop and
 * repeat requests; readers use every operation meanwhile. */
#include "engine.h"

#include <pthread.h>
#include <stdatomic.h>

#define WRITERS 4
#define READERS 3
#define COMMITS 3000
#define SESSIONS 7

static engine shared;
static atomic_int writing;
static atomic_llong acknowledged[SESSIONS];

static void name_session(char *out, size_t size, int i) { snprintf(out, size, "s%d", i); }

static void *write_much(void *arg) {
  int me = (int)(intptr_t)arg;
  char session[16], id[32], request[32];
  outcome *o = calloc(1, sizeof *o);
  engine e = shared; /* our own clock and uids */
  for (int i = 0; i < COMMITS; i++) {
    int k = (i + me) % SESSIONS;
    mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
    name_session(session, sizeof session, k);
    snprintf(id, sizeof id, "%d-%d", me, i);
    snprintf(request, sizeof request, "r%d-%d", me, i);
    mneme_record r = a_record(id);
    mneme_step step = {
        .op = MNEME_STEP_APPEND, .records = &r, .on_conflict = &fail, .record_count = 1};
    mneme_step drop = {.op = MNEME_STEP_DROP};
    mneme_write w = a_write(&e, &step, 1);
    w.session = text(session);
    w.request_id = text(request);
    w.new_uid.bytes[1] = (uint8_t)me;
    memcpy(w.new_uid.bytes + 2, &i, sizeof i);
    /* Session 0 is dropped now and then, 1 evicts, 2 has settings that readers
     * hold while they change, the others count. */
    if (k == 1) w.plan.evict_above = w.plan.evict_to = 20;
    mneme_step settings = {.op = MNEME_STEP_SET_SETTINGS, .settings = text(id)};
    if (k == 0 && i % 5 == 0) w.steps = &drop;
    if (k == 2) {
      w.steps = &settings;
      w.plan.settings_revision = engine_get(&e, session).header.settings_revision;
    }
    e.now_us = shared.now_us + i;
    for (int repeat = 0; repeat < 2; repeat++) {
      mneme_status status = engine_commit(&e, &w, o);
      if (k == 2 && status == MNEME_STALE_PLAN) break;
      assert_int_equal(status, MNEME_OK);
      assert_int_equal(o->written.deduplicated, repeat == 1);
    }
    if (k > 2) atomic_fetch_add(&acknowledged[k], 1);
  }
  free(o);
  atomic_fetch_sub(&writing, 1);
  return NULL;
}

static void cursor_done(mneme_status status, mneme_bytes next, void *ctx) {
  assert_true(status == MNEME_OK || status == MNEME_COMPACTED);
  (void)next;
  (void)ctx;
}

static void stats_done(mneme_status status, const mneme_stats *stats, void *ctx) {
  assert_int_equal(status, MNEME_OK);
  *(mneme_stats *)ctx = *stats;
}

static void *read_much(void *arg) {
  engine e = shared;
  char session[16];
  listing *l = calloc(1, sizeof *l);
  mneme_stats stats;
  e.now_us += COMMITS;
  for (int i = (int)(intptr_t)arg; atomic_load(&writing) > 0; i++) {
    engine_call call = engine_now(&e);
    bool more;
    name_session(session, sizeof session, i % SESSIONS);
    mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
    read.session = text(session);
    read.descending = true;
    read.limit = 50;
    engine_read(&e, &read, l);
    got g = engine_get(&e, session);
    mneme_session_list list = {.ns = text("ns"),
                               .order = i % 2 ? MNEME_SESSIONS_BY_ID : MNEME_SESSIONS_BY_UPDATE,
                               .limit = 4};
    memset(l, 0, sizeof *l);
    e.type->session_list(e.store, &call.call, &list, listing_header, listing_done, l);
    memset(l, 0, sizeof *l);
    e.type->changes(e.store, &call.call, text("ns"), (mneme_bytes){0}, listing_header,
                    cursor_done, l);
    memset(l, 0, sizeof *l);
    e.type->log(e.store, &call.call, text("ns"), text(session), &g.header.uid,
                g.header.mutations, listing_log, listing_done, l);
    e.type->stats(e.store, &call.call, text("ns"), text(""), stats_done, &stats);
    memset(l, 0, sizeof *l);
    e.type->due(e.store, &call.call, 10, listing_header, listing_done, l);
    memset(l, 0, sizeof *l);
    e.type->trim(e.store, &call.call, 10, &more, listing_done, l);
    engine_wait(&l->done);
  }
  free(l);
  return NULL;
}

static void many_threads(void **state) {
  pthread_t threads[WRITERS + READERS];
  char session[16];
  (void)state;
  engine_open(&shared);
  atomic_store(&writing, WRITERS);
  for (intptr_t i = 0; i < WRITERS; i++) pthread_create(&threads[i], NULL, write_much, (void *)i);
  for (intptr_t i = 0; i < READERS; i++)
    pthread_create(&threads[WRITERS + i], NULL, read_much, (void *)i);
  for (int i = 0; i < WRITERS + READERS; i++) pthread_join(threads[i], NULL);
  for (int k = 3; k < SESSIONS; k++) {
    name_session(session, sizeof session, k);
    got g = engine_get(&shared, session);
    assert_int_equal(g.header.last_sequence, atomic_load(&acknowledged[k]));
    assert_int_equal(g.header.memory_count, atomic_load(&acknowledged[k]));
    assert_int_equal(g.header.revision, atomic_load(&acknowledged[k]));
  }
  assert_int_equal(engine_get(&shared, "s1").header.memory_count, 20);
  engine_close(&shared);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(many_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
