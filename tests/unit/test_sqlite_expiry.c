/* What has expired and is still in: that it is counted without being gone over again,
 * and goes by and by. What may be seen of it is the conformance suite's. */
#include "engine.h"

#include "writer.h"

static mneme_status do_step(engine *e, const mneme_step *step, const mneme_plan *plan,
                            outcome *o) {
  mneme_write w = a_write(e, step, 1);
  if (plan != NULL) w.plan = *plan;
  return engine_commit(e, &w, o);
}

static void fill_from(engine *e, int from, int count, int64_t expire_us,
                      const mneme_plan *plan) {
  mneme_record *records = calloc((size_t)count, sizeof *records);
  mneme_on_conflict *fail = calloc((size_t)count, sizeof *fail);
  char(*ids)[16] = calloc((size_t)count, sizeof *ids);
  for (int i = 0; i < count; i++) {
    snprintf(ids[i], sizeof ids[i], "m%d", from + i);
    records[i] = a_record(ids[i]);
    records[i].expire_us = expire_us;
    if (expire_us != 0) records[i].ttl_us = expire_us - e->now_us;
    records[i].pinned = from != 0 && i % 3 == 0;
    fail[i] = MNEME_CONFLICT_FAIL;
  }
  const mneme_step step = {.op = MNEME_STEP_APPEND, .records = records, .on_conflict = fail,
                           .record_count = (size_t)count};
  assert_int_equal(do_step(e, &step, plan, NULL), MNEME_OK);
  free(records);
  free(fail);
  free(ids);
}

static void fill(engine *e, int count, int64_t expire_us) {
  fill_from(e, 0, count, expire_us, NULL);
}

/* --- By and by ------------------------------------------------------------------------ */

/* A write takes some with it and leaves the others to the sweeper, but where a limit is
 * passed: then nothing that is dead may be in the way. */
static void a_write_removes_some(void **state) {
  engine e;
  outcome *o = calloc(1, sizeof *o);
  mneme_plan limit = {.strategy = MNEME_EVICT_FIFO, .evict_above = 1, .evict_to = 1};
  mneme_record a = a_record("a"), b = a_record("b"), c = a_record("c");
  (void)state;
  engine_open(&e);
  fill(&e, 300, e.now_us + 100);
  e.now_us += 100;
  assert_int_equal(engine_append(&e, &a, &limit, o), MNEME_OK); /* one lives: no limit passed */
  assert_int_equal(o->written.expired_count, 64);
  assert_int_equal(o->written.evicted_count, 0);
  assert_int_equal(o->written.header.memory_count, 1);
  assert_int_equal(engine_append(&e, &b, &limit, o), MNEME_OK);
  assert_int_equal(o->written.expired_count, 300 - 64);
  assert_int_equal(o->written.evicted_count, 1);
  assert_int_equal(o->written.header.memory_count, 1);
  assert_int_equal(engine_append(&e, &c, NULL, o), MNEME_OK);
  assert_int_equal(o->written.expired_count, 0);
  expect_ids(&e, "b,c");
  engine_close(&e);
  free(o);
}

/* What SQLite has done for a statement of the writer since it was last asked. */
static int work_of(engine *e, sq_id id) {
  sqlite3_stmt *stmt = e->store->writer->conn.stmts[id];
  return stmt != NULL ? sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 1) : 0;
}

/* The sweeper's commits do not go over those that are left. */
static void the_dead_are_counted_once(void **state) {
  engine e;
  outcome *o = calloc(1, sizeof *o);
  const mneme_step expire = {.op = MNEME_STEP_EXPIRE, .count = 10};
  (void)state;
  engine_open(&e);
  fill(&e, 3000, e.now_us + 100);
  e.now_us += 100;
  work_of(&e, SQ_EXPIRED_SUM);
  assert_int_equal(do_step(&e, &expire, NULL, o), MNEME_OK);
  assert_true(work_of(&e, SQ_EXPIRED_SUM) > 3000);
  for (int i = 0; i < 5; i++) {
    e.now_us++;
    assert_int_equal(do_step(&e, &expire, NULL, o), MNEME_OK);
    assert_int_equal(o->written.expired_count, 10);
    assert_int_equal(o->written.header.memory_count, 0);
    assert_true(work_of(&e, SQ_EXPIRED_SUM) < 300);
  }
  engine_close(&e);
  free(o);
}

static void the_aged_are_counted_once(void **state) {
  engine e;
  outcome *o = calloc(1, sizeof *o);
  const mneme_step expire = {.op = MNEME_STEP_EXPIRE, .count = 10};
  const mneme_plan plan = {.strategy = MNEME_EVICT_FIFO, .max_age_us = 100};
  mneme_record a = a_record("a");
  (void)state;
  engine_open(&e);
  fill(&e, 3000, 0);
  assert_int_equal(engine_append(&e, &a, &plan, NULL), MNEME_OK);
  e.now_us += 100;
  work_of(&e, SQ_AGED);
  assert_int_equal(do_step(&e, &expire, NULL, o), MNEME_OK);
  assert_true(work_of(&e, SQ_AGED) > 3000);
  for (int i = 0; i < 5; i++) {
    e.now_us++;
    assert_int_equal(do_step(&e, &expire, NULL, o), MNEME_OK);
    assert_int_equal(o->written.expired_count, 10);
    assert_int_equal(o->written.header.memory_count, 0);
    assert_true(work_of(&e, SQ_AGED) < 300);
  }
  engine_close(&e);
  free(o);
}

/* --- The sum ------------------------------------------------------------------------- */

static void keep_stats(mneme_status status, const mneme_stats *stats, void *ctx) {
  assert_int_equal(status, MNEME_OK);
  *(mneme_stats *)ctx = *stats;
}

/* By a reader, which goes over all of them. */
static int64_t ask_memories(engine *e, mneme_stats *ret_stats) {
  engine_call call = engine_now(e);
  e->type->stats(e->store, &call.call, text("ns"), text("s"), keep_stats, ret_stats);
  return ret_stats->memory_count;
}

static uint32_t dice;

static int roll(int sides) {
  dice = dice * 1664525 + 1013904223;
  return (int)((dice >> 8) % (uint32_t)sides);
}

static mneme_record some_record(engine *e, char *id, size_t size, int number) {
  snprintf(id, size, "m%d", number);
  mneme_record r = a_record(id);
  r.token_count = roll(5);
  r.pinned = roll(4) == 0;
  if (roll(4) == 0) r.role = text("system");
  if (roll(2) == 0) r.expire_us = e->now_us + (r.ttl_us = 1 + roll(60));
  return r;
}

static mneme_status act(engine *e, const mneme_plan *plan, int number, outcome *o) {
  char id[16];
  mneme_on_conflict replace = MNEME_CONFLICT_REPLACE;
  int64_t last = e->store->writer->heads.newest->s.last_sequence;
  int64_t sequence = 1 + last - roll(last < 300 ? (int)last + 1 : 300);
  mneme_record r = some_record(e, id, sizeof id, roll(3) == 0 ? roll(number + 1) : number);
  mneme_step steps[] = {
      {.op = MNEME_STEP_APPEND, .records = &r, .on_conflict = &replace, .record_count = 1},
      {.op = MNEME_STEP_PUT, .records = &r, .record_count = 1, .expected_revision = -1},
      {.op = MNEME_STEP_TOUCH, .sequences = &sequence, .sequence_count = 1, .slide_ttl = true},
      {.op = MNEME_STEP_REMOVE_SEQUENCES, .sequences = &sequence, .sequence_count = 1},
      {.op = MNEME_STEP_REMOVE_NEWEST, .count = 1},
      {.op = MNEME_STEP_EXPIRE, .count = 2}};
  r.sequence = sequence;
  int kind = roll(10);
  return do_step(e, &steps[kind < 5 ? 0 : kind - 4], plan, o);
}

/* Whatever is done, and however time goes, the writer's sum is that of who counts. */
static void the_sum_is_what_counting_gives(void **state) {
  engine e;
  outcome *o = calloc(1, sizeof *o);
  mneme_plan plan = {.strategy = MNEME_EVICT_FIFO, .max_age_us = 100, .keep_system = true};
  int dead = 0;
  (void)state;
  engine_open(&e);
  for (uint32_t seed = 1; seed < 9; seed++) {
    mneme_step drop = {.op = MNEME_STEP_DROP};
    assert_int_equal(do_step(&e, &drop, &plan, NULL), MNEME_OK);
    dice = seed;
    for (int i = 0; i < 1500; i++) {
      if (roll(200) == 0) plan.max_age_us = roll(3) * 80;
      if (roll(200) == 0) plan.keep_system = !plan.keep_system;
      if (i % 150 == 0)
        fill_from(&e, 100000 * (i + 1), 150, i % 100 == 0 ? 0 : e.now_us + 20 + roll(60), &plan);
      e.now_us += roll(10) == 0 ? -roll(100) : roll(20);
      mneme_status status = act(&e, &plan, i, o);
      if (status != MNEME_OK) continue;
      mneme_stats stats;
      const mneme_header *h = &o->written.header;
      if (ask_memories(&e, &stats) != h->memory_count || stats.token_count != h->token_count ||
          stats.byte_count != h->byte_count)
        fail_msg("seed %u, step %d: %lld memories, counted %lld", seed, i,
                 (long long)h->memory_count, (long long)stats.memory_count);
      dead += e.store->writer->heads.newest->s.dead.sum.memories > 0;
    }
  }
  assert_true(dead > 500);
  engine_close(&e);
  free(o);
}

/* A clock that went back, and somebody who keeps alive meanwhile what was dead before. */
static void what_was_dead_may_be_kept_alive(void **state) {
  engine e;
  outcome *o = calloc(1, sizeof *o);
  int64_t fifth = 5;
  const mneme_step expire = {.op = MNEME_STEP_EXPIRE, .count = 1};
  const mneme_step touch = {
      .op = MNEME_STEP_TOUCH, .sequences = &fifth, .sequence_count = 1, .slide_ttl = true};
  (void)state;
  engine_open(&e);
  fill(&e, 200, e.now_us + 100);
  e.now_us += 100;
  assert_int_equal(do_step(&e, &expire, NULL, o), MNEME_OK);
  assert_int_equal(o->written.header.memory_count, 0);
  e.now_us -= 50;
  assert_int_equal(do_step(&e, &touch, NULL, o), MNEME_OK);
  assert_int_equal(o->written.header.memory_count, 199);
  e.now_us += 60;
  assert_int_equal(do_step(&e, &expire, NULL, o), MNEME_OK);
  assert_int_equal(o->written.header.memory_count, 1);
  e.now_us += 40;
  assert_int_equal(do_step(&e, &expire, NULL, o), MNEME_OK);
  assert_int_equal(o->written.header.memory_count, 0);
  engine_close(&e);
  free(o);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_write_removes_some),
      cmocka_unit_test(the_dead_are_counted_once),
      cmocka_unit_test(the_aged_are_counted_once),
      cmocka_unit_test(the_sum_is_what_counting_gives),
      cmocka_unit_test(what_was_dead_may_be_kept_alive),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
