/* What only dict has: its options, and its ways through more than a thousand
 * sessions of one shard, where it lets go of the lock. (test_engine.c is for all
 * engines, test_engines_agree.c compares dict with template.) */
#define ENGINE_ENTRY mneme_plugin_dict
#include "engine.h"

static mneme_status append_to(engine *e, const char *session, const char *id, size_t body,
                              const mneme_plan *plan, outcome *o) {
  static char bytes[100000];
  mneme_record r = a_record(id);
  mneme_on_conflict replace = MNEME_CONFLICT_REPLACE;
  mneme_step step = {
      .op = MNEME_STEP_APPEND, .records = &r, .on_conflict = &replace, .record_count = 1};
  r.body = mneme_bytes_of(bytes, body);
  mneme_write w = a_write(e, &step, 1);
  w.session = text(session);
  if (plan != NULL) w.plan = *plan;
  return engine_commit(e, &w, o);
}

static mneme_status run_step(engine *e, const char *session, const mneme_step *step) {
  mneme_write w = a_write(e, step, 1);
  w.session = text(session);
  return engine_commit(e, &w, NULL);
}

/* Ten thousand that die at one instant: counted at once, and taken out a few at a
 * time, so that no write holds its shard's lock for all of them. */
#define LAPSED 10000
static void a_write_removes_a_few_of_what_has_lapsed(void **state) {
  engine e;
  outcome o;
  (void)state;
  for (int by_age = 0; by_age < 2; by_age++) {
    static mneme_record r[1000];
    static char ids[1000][16];
    static mneme_on_conflict fail[1000];
    engine_open(&e);
    mneme_plan plan = {.strategy = MNEME_EVICT_FIFO, .max_age_us = by_age ? 1000 : 0};
    for (int n = 0; n < LAPSED; n += 1000) {
      for (int i = 0; i < 1000; i++) {
        snprintf(ids[i], sizeof ids[i], "m%d", n + i);
        r[i] = a_record(ids[i]);
        r[i].expire_us = by_age ? 0 : e.now_us + 1000;
        fail[i] = MNEME_CONFLICT_FAIL;
      }
      mneme_step step = {
          .op = MNEME_STEP_APPEND, .records = r, .on_conflict = fail, .record_count = 1000};
      mneme_write w = a_write(&e, &step, 1);
      w.session = text("s");
      w.plan = plan;
      assert_int_equal(engine_commit(&e, &w, NULL), MNEME_OK);
    }
    e.now_us += 999;
    assert_int_equal(engine_get(&e, "s").header.memory_count, LAPSED);
    e.now_us += 1;
    assert_int_equal(engine_get(&e, "s").header.memory_count, 0);
    for (int i = 1; i <= 3; i++) {
      char id[16];
      snprintf(id, sizeof id, "new%d", i);
      assert_int_equal(append_to(&e, "s", id, 10, &plan, &o), MNEME_OK);
      assert_in_range(o.written.expired_count, 1, 200);
      assert_int_equal(o.written.header.memory_count, i);
      assert_int_equal(engine_get(&e, "s").header.memory_count, i);
    }
    /* A limit is of the live ones, and what is evicted is exact. */
    plan.evict_above = plan.evict_to = 3;
    assert_int_equal(append_to(&e, "s", "new4", 10, &plan, &o), MNEME_OK);
    assert_int_equal(o.written.evicted_count, 1);
    assert_int_equal(o.written.header.memory_count, 3);
    mneme_step expire = {.op = MNEME_STEP_EXPIRE, .count = LAPSED};
    mneme_write w = a_write(&e, &expire, 1);
    w.session = text("s");
    assert_int_equal(engine_commit(&e, &w, &o), MNEME_OK);
    assert_int_equal(o.written.expired_count, 0); /* they had to go for that */
    /* Under another policy others are dead, and back under the first. */
    plan = (mneme_plan){.strategy = MNEME_EVICT_FIFO, .max_age_us = 1};
    e.now_us += 1;
    assert_int_equal(append_to(&e, "s", "new5", 10, &plan, &o), MNEME_OK);
    assert_int_equal(o.written.header.memory_count, 1);
    engine_close(&e);
  }
}

/* A full store refuses what grows, takes what shrinks, and is empty again when
 * all has gone: nothing leaks from the account. */
static void keeps_to_max_bytes(void **state) {
  engine e;
  char id[16];
  int stored[3] = {0};
  (void)state;
  engine_open_with(&e, "max_bytes", 100000);
  for (int round = 0; round < 3; round++) {
    mneme_status status = MNEME_OK;
    for (int i = 0; status == MNEME_OK; i++) {
      snprintf(id, sizeof id, "m%d", i);
      status = append_to(&e, i % 2 ? "a" : "b", id, 1000, NULL, NULL);
      if (status == MNEME_OK) stored[round]++;
    }
    assert_int_equal(status, MNEME_STORE_FULL);
    assert_in_range(stored[round], 60, 99);
    int64_t before = engine_get(&e, "a").header.memory_count;
    assert_int_equal(append_to(&e, "a", "big", 50000, NULL, NULL), MNEME_STORE_FULL);
    assert_int_equal(engine_get(&e, "a").header.memory_count, before);
    /* In the place of what it evicts there is room. */
    const mneme_plan plan = {.evict_above = 5, .evict_to = 5, .strategy = MNEME_EVICT_FIFO};
    assert_int_equal(append_to(&e, "a", "new", 1000, &plan, NULL), MNEME_OK);
    assert_int_equal(append_to(&e, "a", "big", 20000, NULL, NULL), MNEME_OK);
    assert_int_equal(append_to(&e, "a", "big", 10, NULL, NULL), MNEME_OK);
    mneme_step drop = {.op = MNEME_STEP_DROP};
    assert_int_equal(run_step(&e, "a", &drop), MNEME_OK);
    mneme_step clear = {.op = MNEME_STEP_REMOVE_FROM, .from_sequence = 1};
    assert_int_equal(run_step(&e, "b", &clear), MNEME_OK);
    assert_int_equal(run_step(&e, "b", &drop), MNEME_OK);
  }
  assert_int_equal(stored[0], stored[1]);
  assert_int_equal(stored[1], stored[2]);
  engine_close(&e);
}

static void request_ids_count_and_lapse(void **state) {
  engine e;
  char request[16];
  int stored[2] = {0};
  (void)state;
  engine_open_with(&e, "max_bytes", 50000);
  for (int round = 0; round < 2; round++) {
    mneme_status status = MNEME_OK;
    for (int i = 0; status == MNEME_OK; i++) {
      mneme_step touch = {.op = MNEME_STEP_TOUCH};
      mneme_write w = a_write(&e, &touch, 1);
      snprintf(request, sizeof request, "r%d", i);
      w.request_id = text(request);
      w.window_us = 1000;
      status = engine_commit(&e, &w, NULL);
      if (status == MNEME_OK) stored[round]++;
    }
    assert_int_equal(status, MNEME_STORE_FULL);
    e.now_us += 1000;
    bool more = true;
    listing *l = calloc(1, sizeof *l);
    engine_call call = engine_now(&e);
    for (int calls = 0; more; calls++) {
      assert_in_range(calls, 0, 1000);
      e.type->trim(e.store, &call.call, 7, &more, listing_done, l);
    }
    free(l);
  }
  assert_int_equal(stored[0], stored[1]);
  engine_close(&e);
}

/* Commits clear away lapsed request_ids of other sessions too, so that memory
 * stays bounded where no sweeper runs. */
static void trims_as_it_goes(void **state) {
  engine e;
  char name[16];
  (void)state;
  engine_open_with(&e, "max_bytes", 200000);
  for (int i = 0; i < 20000; i++) {
    mneme_step touch = {.op = MNEME_STEP_TOUCH};
    mneme_write w = a_write(&e, &touch, 1);
    snprintf(name, sizeof name, "%d", i);
    w.session = w.request_id = text(name);
    w.window_us = 50;
    e.now_us++;
    assert_int_equal(engine_commit(&e, &w, NULL), MNEME_OK);
  }
  engine_close(&e);
}

/* REMOVE_FROM of all takes the records out in one piece. A refusal after it puts
 * that piece back, beside what steps before and after it did. */
static void removing_all_can_be_undone(void **state) {
  engine e;
  char id[16];
  listing *l = calloc(1, sizeof *l);
  (void)state;
  engine_open(&e);
  for (int i = 1; i <= 100; i++) {
    snprintf(id, sizeof id, "m%d", i);
    mneme_record r = a_record(id);
    r.key = text(id);
    r.ttl_us = i % 3 == 0 ? 1000000 : 0;
    mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
    mneme_step add = {
        .op = MNEME_STEP_APPEND, .records = &r, .on_conflict = &fail, .record_count = 1};
    mneme_write w = a_write(&e, &add, 1);
    assert_int_equal(engine_commit(&e, &w, NULL), MNEME_OK);
  }
  int64_t hole = 50, first = 1;
  mneme_record twins[] = {a_record("new"), a_record("new")};
  mneme_on_conflict fail[] = {MNEME_CONFLICT_FAIL, MNEME_CONFLICT_FAIL};
  mneme_step steps[] = {
      {.op = MNEME_STEP_REMOVE_SEQUENCES, .sequences = &hole, .sequence_count = 1},
      {.op = MNEME_STEP_TOUCH, .sequences = &first, .sequence_count = 1},
      {.op = MNEME_STEP_REMOVE_FROM, .from_sequence = 1},
      {.op = MNEME_STEP_APPEND, .records = twins, .on_conflict = fail, .record_count = 2}};
  mneme_write w = a_write(&e, steps, 4);
  outcome o;
  got before = engine_get(&e, "s");
  assert_int_equal(engine_commit(&e, &w, &o), MNEME_EXISTS);
  got after = engine_get(&e, "s");
  assert_int_equal(after.header.memory_count, 100);
  assert_int_equal(after.header.byte_count, before.header.byte_count);
  assert_int_equal(after.header.revision, before.header.revision);
  assert_int_equal(after.header.mutations, before.header.mutations);
  for (int i = 1; i <= 100; i++) { /* its id and its key are taken again */
    snprintf(id, sizeof id, "m%d", i);
    mneme_record r = a_record(id);
    mneme_step again = {
        .op = MNEME_STEP_APPEND, .records = &r, .on_conflict = fail, .record_count = 1};
    mneme_write x = a_write(&e, &again, 1);
    assert_int_equal(engine_commit(&e, &x, NULL), MNEME_EXISTS);
  }

  steps[3].record_count = 1;
  assert_int_equal(engine_commit(&e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.removed_count, 100);
  assert_int_equal(o.written.header.memory_count, 1);
  assert_string_equal(engine_log(&e, &o.written.header.uid, 0, l), "1@101 deleted 1-100");

  /* Beside what has expired it is not all. */
  e.now_us += 1;
  mneme_record brief = a_record("brief");
  brief.ttl_us = 1;
  brief.expire_us = e.now_us + 1;
  steps[3].records = &brief;
  mneme_write add = a_write(&e, &steps[3], 1);
  assert_int_equal(engine_commit(&e, &add, NULL), MNEME_OK);
  e.now_us += 1;
  mneme_write clear = a_write(&e, &steps[2], 1);
  assert_int_equal(engine_commit(&e, &clear, &o), MNEME_OK);
  assert_int_equal(o.written.removed_count, 1);
  assert_int_equal(engine_get(&e, "s").header.memory_count, 0);
  free(l);
  engine_close(&e);
}

/* --- Many sessions in one shard ------------------------------------------- */

#define MANY 3500

typedef struct changed {
  listing l; /* first */
  char cursor[MNEME_CURSOR_MAX];
  size_t size;
} changed;

static void changed_done(mneme_status status, mneme_bytes next, void *ctx) {
  changed *c = ctx;
  listing_done(status, &c->l);
  if (status != MNEME_OK) return;
  memcpy(c->cursor, next.data, next.size);
  c->size = next.size;
}

static mneme_status get_changes(engine *e, changed *c) {
  engine_call call = engine_now(e);
  char cursor[MNEME_CURSOR_MAX];
  memcpy(cursor, c->cursor, c->size);
  memset(&c->l, 0, sizeof c->l);
  e->type->changes(e->store, &call.call, text("ns"), mneme_bytes_of(cursor, c->size),
                   listing_header, changed_done, c);
  assert_int_equal(c->l.done, 1);
  return c->l.status;
}

static void many_changes(void **state) {
  engine e;
  char name[16];
  changed *c = calloc(1, sizeof *c);
  (void)state;
  engine_open_with(&e, "shards", 1);
  for (int i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "s%05d", i);
    assert_int_equal(append_to(&e, name, "a", 1, NULL, NULL), MNEME_OK);
  }
  assert_int_equal(get_changes(&e, c), MNEME_OK);
  assert_int_equal(c->l.count, MANY);
  for (int i = 0; i < MANY - 100; i++) { /* back over more than one hold */
    snprintf(name, sizeof name, "s%05d", i);
    assert_int_equal(append_to(&e, name, "b", 1, NULL, NULL), MNEME_OK);
  }
  changed *late = malloc(sizeof *late);
  *late = *c;
  e.expired = true;
  assert_int_equal(get_changes(&e, late), MNEME_TIMEOUT);
  e.expired = false;
  assert_int_equal(get_changes(&e, c), MNEME_OK);
  assert_int_equal(c->l.count, MANY - 100);
  assert_int_equal(get_changes(&e, c), MNEME_OK);
  assert_int_equal(c->l.count, 0);
  free(late);
  free(c);
  engine_close(&e);
}

static void many_listed(void **state) {
  engine e;
  char name[16], expected[16];
  listing *l = calloc(1, sizeof *l);
  (void)state;
  engine_open_with(&e, "shards", 2);
  for (int i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "s%05d", i * 7919 % MANY);
    e.now_us++;
    assert_int_equal(append_to(&e, name, "a", 1, NULL, NULL), MNEME_OK);
  }
  engine_call call = engine_now(&e);
  mneme_session_list list = {.ns = text("ns"), .order = MNEME_SESSIONS_BY_ID, .limit = MANY + 1};
  e.type->session_list(e.store, &call.call, &list, listing_header, listing_done, l);
  assert_int_equal(l->count, MANY);
  for (int i = 0; i < MANY; i++) {
    snprintf(expected, sizeof expected, "s%05d", i);
    assert_memory_equal(l->text + i * 7, expected, 6);
  }
  memset(l, 0, sizeof *l);
  list.order = MNEME_SESSIONS_BY_UPDATE;
  list.limit = 2500;
  e.type->session_list(e.store, &call.call, &list, listing_header, listing_done, l);
  assert_int_equal(l->count, 2500);
  for (int i = 0; i < 2500; i++) {
    snprintf(expected, sizeof expected, "s%05d", (MANY - 1 - i) * 7919 % MANY);
    assert_memory_equal(l->text + i * 7, expected, 6);
  }
  free(l);
  engine_close(&e);
}

/* Sessions whose ttl slid on stand too early in the heap of what is due; the one
 * that is due is found behind them. */
static void due_behind_many(void **state) {
  engine e;
  char name[16];
  listing *l = calloc(1, sizeof *l);
  const mneme_plan plan = {.ttl_us = 100, .strategy = MNEME_EVICT_FIFO};
  const mneme_plan longer = {.ttl_us = 150, .strategy = MNEME_EVICT_FIFO};
  (void)state;
  engine_open_with(&e, "shards", 1);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < MANY; i++) {
      snprintf(name, sizeof name, "s%05d", i);
      assert_int_equal(append_to(&e, name, "a", 1, &plan, NULL), MNEME_OK);
    }
    if (round == 0) assert_int_equal(append_to(&e, "due", "a", 1, &longer, NULL), MNEME_OK);
    e.now_us += 75;
  }
  engine_call call = engine_now(&e);
  e.type->due(e.store, &call.call, 10, listing_header, listing_done, l);
  assert_string_equal(l->text, "due");
  free(l);
  engine_close(&e);
}

/* --- Eviction at scale: an append at the limit must not cost the session ---- */

static void eviction_is_not_quadratic(void **state) {
  engine e;
  char id[16];
  const mneme_plan plan = {.evict_above = 20000,
                           .evict_to = 20000,
                           .keep_system = true,
                           .strategy = MNEME_EVICT_LEAST_IMPORTANT};
  (void)state;
  engine_open(&e);
  for (int i = 0; i < 60000; i++) { /* a walk each would be 800 million steps */
    mneme_record r = a_record(id);
    snprintf(id, sizeof id, "%d", i);
    r.id = text(id);
    r.has_importance = true;
    r.importance = i * 7919 % 1000 / 1000.0;
    assert_int_equal(engine_append(&e, &r, &plan, NULL), MNEME_OK);
  }
  assert_int_equal(engine_get(&e, "s").header.memory_count, 20000);
  engine_close(&e);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_write_removes_a_few_of_what_has_lapsed),
      cmocka_unit_test(keeps_to_max_bytes), cmocka_unit_test(request_ids_count_and_lapse),
      cmocka_unit_test(removing_all_can_be_undone),
      cmocka_unit_test(trims_as_it_goes),   cmocka_unit_test(many_changes),
      cmocka_unit_test(many_listed),        cmocka_unit_test(due_behind_many),
      cmocka_unit_test(eviction_is_not_quadratic),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
