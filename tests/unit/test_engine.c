/* What an engine must keep, each case with its exact survivors. The program is
 * built once for dict and once for template (ENGINE_ENTRY); tests/conform asks
 * more of any backend, these are for the one who changes an engine. */
#include "engine.h"

static int setup(void **state) {
  engine *e = malloc(sizeof *e);
  engine_open(e);
  *state = e;
  return 0;
}

static int teardown(void **state) {
  engine_close(*state);
  free(*state);
  return 0;
}

/* --- Append and eviction -------------------------------------------------- */

static void keeps_the_newest_five(void **state) {
  engine *e = *state;
  const mneme_plan plan = {.evict_above = 5, .evict_to = 5, .strategy = MNEME_EVICT_FIFO};
  char id[32];
  outcome o;
  for (int i = 0; i < 10; i++) {
    snprintf(id, sizeof id, "Message %d", i);
    mneme_record r = a_record(id);
    assert_int_equal(engine_append(e, &r, &plan, &o), MNEME_OK);
    assert_int_equal(o.refs[0].sequence, i + 1);
    assert_true(o.refs[0].created);
    assert_int_equal(o.written.header.revision, i + 1);
    assert_int_equal(o.written.evicted_count, i < 5 ? 0 : 1);
  }
  expect_ids(e, "Message 5,Message 6,Message 7,Message 8,Message 9");
  got g = engine_get(e, "s");
  assert_int_equal(g.header.memory_count, 5);
  assert_int_equal(g.header.last_sequence, 10);
  assert_int_equal(g.header.byte_count, 5 * 2 * 9);
}

typedef enum trait { PLAIN, PINNED, SYSTEM } trait;

typedef struct candidate {
  const char *id;
  int64_t tokens;
  double importance; /* < 0 = none */
  trait trait;
} candidate;

typedef struct eviction {
  const char *name;
  mneme_plan plan;
  candidate in[8];
  mneme_status last; /* of the last append */
  const char *survivors;
} eviction;

static const eviction evictions[] = {
    {"tokens: above 1200, to 1000",
     {.evict_above_tokens = 1200, .evict_to_tokens = 1000, .strategy = MNEME_EVICT_FIFO},
     {{"a", 300, -1, PLAIN}, {"b", 300, -1, PLAIN}, {"c", 300, -1, PLAIN}, {"d", 300, -1, PLAIN}, {"e", 300, -1, PLAIN}},
     MNEME_OK,
     "c,d,e"},
    {"tokens: at the trigger nothing goes",
     {.evict_above_tokens = 1200, .evict_to_tokens = 1000, .strategy = MNEME_EVICT_FIFO},
     {{"a", 300, -1, PLAIN}, {"b", 300, -1, PLAIN}, {"c", 300, -1, PLAIN}, {"d", 300, -1, PLAIN}},
     MNEME_OK,
     "a,b,c,d"},
    {"memories: above 4, to 2",
     {.evict_above = 4, .evict_to = 2, .strategy = MNEME_EVICT_FIFO},
     {{"a", 1, -1, PLAIN}, {"b", 1, -1, PLAIN}, {"c", 1, -1, PLAIN}, {"d", 1, -1, PLAIN}, {"e", 1, -1, PLAIN}},
     MNEME_OK,
     "d,e"},
    {"the newest stays, whatever its size",
     {.evict_above_tokens = 100, .evict_to_tokens = 50, .strategy = MNEME_EVICT_FIFO},
     {{"a", 10, -1, PLAIN}, {"b", 500, -1, PLAIN}},
     MNEME_OK,
     "b"},
    {"least important, then oldest; unset is one half",
     {.evict_above = 4, .evict_to = 3, .strategy = MNEME_EVICT_LEAST_IMPORTANT},
     {{"a", 1, 0.9, PLAIN}, {"b", 1, 0.1, PLAIN}, {"c", 1, -1, PLAIN}, {"d", 1, 0.5, PLAIN}, {"e", 1, 0.6, PLAIN}, {"f", 1, 0, PLAIN}},
     MNEME_OK,
     "a,d,e,f"}, /* at e: b, and c, which weighs as d does and is older */
    {"least important spares the newest",
     {.evict_above = 2, .evict_to = 2, .strategy = MNEME_EVICT_LEAST_IMPORTANT},
     {{"a", 1, 0.2, PLAIN}, {"b", 1, 0.9, PLAIN}, {"c", 1, 0, PLAIN}},
     MNEME_OK,
     "b,c"},
    {"pinned ones stay",
     {.evict_above = 2, .evict_to = 2, .strategy = MNEME_EVICT_FIFO},
     {{"a", 1, -1, PINNED}, {"b", 1, -1, PLAIN}, {"c", 1, -1, PLAIN}, {"d", 1, -1, PLAIN}},
     MNEME_OK,
     "a,d"},
    {"pinned alone leave no room",
     {.evict_above = 2, .evict_to = 2, .strategy = MNEME_EVICT_FIFO},
     {{"a", 1, -1, PINNED}, {"b", 1, -1, PINNED}, {"c", 1, -1, PLAIN}},
     MNEME_SESSION_FULL,
     "a,b"},
    {"pinned tokens leave no room",
     {.evict_above_tokens = 100, .evict_to_tokens = 60, .strategy = MNEME_EVICT_FIFO},
     {{"a", 50, -1, PINNED}, {"b", 20, -1, PLAIN}, {"c", 40, -1, PLAIN}},
     MNEME_SESSION_FULL,
     "a,b"},
    {"keep_system is as pinned",
     {.evict_above = 2, .evict_to = 2, .strategy = MNEME_EVICT_FIFO, .keep_system = true},
     {{"a", 1, -1, SYSTEM}, {"b", 1, -1, PLAIN}, {"c", 1, -1, PLAIN}, {"d", 1, -1, PLAIN}},
     MNEME_OK,
     "a,d"},
    {"without keep_system a system message goes",
     {.evict_above = 2, .evict_to = 2, .strategy = MNEME_EVICT_FIFO},
     {{"a", 1, -1, SYSTEM}, {"b", 1, -1, PLAIN}, {"c", 1, -1, PLAIN}},
     MNEME_OK,
     "b,c"},
    {"least important with keep_system",
     {.evict_above = 2,
      .evict_to = 2,
      .strategy = MNEME_EVICT_LEAST_IMPORTANT,
      .keep_system = true},
     {{"a", 1, 0.0, SYSTEM}, {"b", 1, 0.1, PLAIN}, {"c", 1, 0.9, PLAIN}},
     MNEME_OK,
     "a,c"},
    {"reject",
     {.evict_above = 2, .evict_to = 2, .strategy = MNEME_EVICT_REJECT},
     {{"a", 1, -1, PLAIN}, {"b", 1, -1, PLAIN}, {"c", 1, -1, PLAIN}},
     MNEME_SESSION_FULL,
     "a,b"},
};

static void evicts_exactly(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof evictions / sizeof *evictions; k++) {
    const eviction *v = &evictions[k];
    engine e;
    mneme_status status = MNEME_OK;
    engine_open(&e);
    for (int i = 0; i < 8 && v->in[i].id != NULL; i++) {
      mneme_record r = a_record(v->in[i].id);
      r.token_count = v->in[i].tokens;
      r.has_importance = v->in[i].importance >= 0;
      r.importance = r.has_importance ? v->in[i].importance : 0;
      r.pinned = v->in[i].trait == PINNED;
      if (v->in[i].trait == SYSTEM) r.role = text("system");
      status = engine_append(&e, &r, &v->plan, NULL);
    }
    listing *l = calloc(1, sizeof *l);
    mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
    if (status != v->last || strcmp(engine_read(&e, &read, l), v->survivors) != 0)
      fail_msg("%s: status %d, survivors %s", v->name, status, l->text);
    free(l);
    engine_close(&e);
  }
}

static void batch_above_the_limit(void **state) {
  engine *e = *state;
  mneme_record records[8];
  mneme_on_conflict policies[8];
  const char *ids[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
  outcome o;
  listing *l = calloc(1, sizeof *l);
  for (int i = 0; i < 8; i++) {
    records[i] = a_record(ids[i]);
    policies[i] = MNEME_CONFLICT_FAIL;
  }
  mneme_step step = {
      .op = MNEME_STEP_APPEND, .records = records, .on_conflict = policies, .record_count = 8};
  mneme_write w = a_write(e, &step, 1);
  w.plan.evict_above = w.plan.evict_to = 3;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.ref_count, 8);
  assert_int_equal(o.refs[7].sequence, 8);
  assert_int_equal(o.written.evicted_count, 5);
  assert_int_equal(o.written.header.revision, 1);
  expect_ids(e, "f,g,h");
  assert_string_equal(engine_log(e, &o.written.header.uid, 0, l), "1@1 evicted 1-5");
  free(l);
}

/* --- Conflicts, put ------------------------------------------------------- */

static void conflicts_and_keys(void **state) {
  engine *e = *state;
  outcome o;
  mneme_record r = a_record("a");
  r.key = text("k");
  assert_int_equal(engine_append(e, &r, NULL, &o), MNEME_OK);
  mneme_record other = a_record("b");
  other.key = text("m");
  assert_int_equal(engine_append(e, &other, NULL, &o), MNEME_OK);

  assert_int_equal(engine_append(e, &r, NULL, &o), MNEME_EXISTS);
  assert_int_equal(o.written.header.revision, 2);

  /* The same key under another id: skip and replace keep the one found. */
  mneme_record again = a_record("c");
  again.key = text("k");
  mneme_on_conflict policy = MNEME_CONFLICT_SKIP;
  mneme_step step = {
      .op = MNEME_STEP_APPEND, .records = &again, .on_conflict = &policy, .record_count = 1};
  mneme_write w = a_write(e, &step, 1);
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_string_equal(o.ref_ids[0], "a");
  assert_false(o.refs[0].created);
  assert_int_equal(o.written.header.revision, 2);

  policy = MNEME_CONFLICT_REPLACE;
  e->now_us += 10;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_string_equal(o.ref_ids[0], "a");
  assert_int_equal(o.refs[0].sequence, 1);
  assert_int_equal(o.refs[0].revision, 3);
  assert_false(o.refs[0].created);

  /* An id and a key that name two. */
  again = a_record("a");
  again.key = text("m");
  assert_int_equal(engine_commit(e, &w, &o), MNEME_EXISTS);
  assert_int_equal(engine_get(e, "s").header.revision, 3);

  mneme_read read = a_read(MNEME_SELECT_NAMED_KEYS);
  mneme_bytes names[] = {text("m"), text("none"), text("k")};
  read.names = names;
  read.name_count = 3;
  listing *l = calloc(1, sizeof *l);
  assert_string_equal(engine_read(e, &read, l), "b,a");
  assert_int_equal(l->last.create_us, e->now_us - 10);
  assert_int_equal(l->last.update_us, e->now_us);
  assert_int_equal(l->last.body.size, 1);
  free(l);
}

static void puts_by_revision(void **state) {
  engine *e = *state;
  outcome o;
  mneme_record r = a_record("a"), b = a_record("b");
  b.key = text("kb");
  assert_int_equal(engine_append(e, &r, NULL, NULL), MNEME_OK);
  assert_int_equal(engine_append(e, &b, NULL, NULL), MNEME_OK);
  mneme_record changed = a_record("ignored");
  changed.sequence = 1;
  changed.key = text("new");
  mneme_step step = {
      .op = MNEME_STEP_PUT, .records = &changed, .record_count = 1, .expected_revision = 1};
  mneme_write w = a_write(e, &step, 1);
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_string_equal(o.ref_ids[0], "a");
  assert_int_equal(o.refs[0].revision, 3);
  assert_int_equal(engine_commit(e, &w, &o), MNEME_CONFLICT);
  assert_int_equal(o.written.conflict_revision, 3);
  step.expected_revision = 3;
  changed.key = text("kb");
  assert_int_equal(engine_commit(e, &w, &o), MNEME_EXISTS);
  changed.sequence = 9;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_NOT_FOUND);
  w.session = text("absent");
  assert_int_equal(engine_commit(e, &w, &o), MNEME_NOT_FOUND);
  assert_int_equal(engine_get(e, "absent").status, MNEME_NOT_FOUND);
  expect_ids(e, "a,b");
}

/* --- Guards --------------------------------------------------------------- */

static void guards(void **state) {
  engine *e = *state;
  outcome o;
  mneme_uid wrong = {{99}};
  mneme_record r = a_record("a");
  mneme_step settings = {.op = MNEME_STEP_SET_SETTINGS, .settings = text("{}")};
  mneme_write w = a_write(e, &settings, 1);
  w.existence = MNEME_MUST_EXIST;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_NOT_FOUND);
  w.existence = MNEME_MUST_NOT_EXIST;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_false(o.written.existed);
  assert_int_equal(o.written.header.settings_revision, 1);
  assert_int_equal(engine_commit(e, &w, &o), MNEME_STALE_PLAN);
  w.plan.settings_revision = 1;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_EXISTS);
  w.existence = MNEME_ANY;
  w.uid = &wrong;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_CONFLICT);
  w.uid = NULL;
  w.expected_revision = 0;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_CONFLICT);
  assert_int_equal(o.written.conflict_revision, 1);
  w.expected_revision = 1;
  w.expected_settings_revision = 7;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_CONFLICT);
  w.expected_settings_revision = 1;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.header.settings_revision, 2);
  /* A plan from no settings does not fit; the refusal shows the header. */
  assert_int_equal(engine_append(e, &r, NULL, &o), MNEME_STALE_PLAN);
  assert_int_equal(o.written.header.settings_revision, 2);
  assert_string_equal(engine_get(e, "s").settings, "{}");
}

/* A commit that is refused at its last step has changed nothing. */
static void refusals_change_nothing(void **state) {
  engine *e = *state;
  mneme_record r[3] = {a_record("a"), a_record("b"), a_record("c")};
  r[0].key = text("ka");
  r[1].expire_us = e->now_us + 100;
  r[1].ttl_us = 100;
  mneme_on_conflict fail = MNEME_CONFLICT_FAIL, replace = MNEME_CONFLICT_REPLACE;
  for (int i = 0; i < 3; i++) assert_int_equal(engine_append(e, &r[i], NULL, NULL), MNEME_OK);
  got before = engine_get(e, "s");

  mneme_bytes name = text("c");
  int64_t touched = 2;
  mneme_record fresh = a_record("d"), newer = a_record("a");
  newer.key = text("kz");
  mneme_step steps[] = {
      {.op = MNEME_STEP_REMOVE_IDS, .names = &name, .name_count = 1},
      {.op = MNEME_STEP_APPEND, .records = &newer, .on_conflict = &replace, .record_count = 1},
      {.op = MNEME_STEP_APPEND, .records = &fresh, .on_conflict = &fail, .record_count = 1},
      {.op = MNEME_STEP_TOUCH, .sequences = &touched, .sequence_count = 1, .slide_ttl = true},
      {.op = MNEME_STEP_SET_SETTINGS, .settings = text("x")},
      {.op = MNEME_STEP_REMOVE_NEWEST, .count = 1},
      {.op = MNEME_STEP_DROP},
      {.op = MNEME_STEP_PUT, .records = &r[2], .record_count = 1},
  };
  mneme_write w = a_write(e, steps, 8);
  w.plan = (mneme_plan){.max_age_us = 5, .keep_system = true, .ttl_us = 9};
  e->now_us += 3;
  assert_int_equal(engine_commit(e, &w, NULL), MNEME_NOT_FOUND);
  e->now_us -= 3;
  got after = engine_get(e, "s");
  after.header.settings = before.header.settings;
  after.header.ns = before.header.ns;
  after.header.session = before.header.session;
  assert_memory_equal(&before.header, &after.header, sizeof before.header);
  expect_ids(e, "a,b,c");

  listing *l = calloc(1, sizeof *l);
  mneme_read read = a_read(MNEME_SELECT_KEYS);
  assert_string_equal(engine_read(e, &read, l), "a");
  read = a_read(MNEME_SELECT_SEQUENCES);
  read.first = read.last = 2;
  engine_read(e, &read, l);
  assert_int_equal(l->last.access_count, 0);
  assert_int_equal(l->last.expire_us, r[1].expire_us);
  assert_string_equal(engine_log(e, &after.header.uid, 0, l), "");
  free(l);
}

/* --- Removing ------------------------------------------------------------- */

static void fill(engine *e, int count) {
  char id[16];
  for (int i = 1; i <= count; i++) {
    snprintf(id, sizeof id, "m%d", i);
    mneme_record r = a_record(id);
    assert_int_equal(engine_append(e, &r, NULL, NULL), MNEME_OK);
  }
}

static void removes(void **state) {
  engine *e = *state;
  outcome o;
  listing *l = calloc(1, sizeof *l);
  fill(e, 10);
  mneme_bytes names[] = {text("m3"), text("nobody"), text("m2")};
  mneme_step step = {.op = MNEME_STEP_REMOVE_IDS, .names = names, .name_count = 3};
  mneme_write w = a_write(e, &step, 1);
  w.want_removed = true;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.removed_count, 2);
  assert_string_equal(o.removed, "m2,m3");
  assert_int_equal(o.written.header.revision, 11);
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.header.revision, 11); /* nothing was found */

  step = (mneme_step){.op = MNEME_STEP_REMOVE_NEWEST, .count = 5, .byte_limit = 10};
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_string_equal(o.removed, "m9,m10"); /* 4 + 6 bytes */
  assert_true(o.written.truncated);
  step = (mneme_step){.op = MNEME_STEP_REMOVE_NEWEST, .count = 1, .byte_limit = 1};
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_string_equal(o.removed, "m8");

  int64_t sequences[] = {1, 2, 4};
  step = (mneme_step){
      .op = MNEME_STEP_REMOVE_SEQUENCES, .sequences = sequences, .sequence_count = 3};
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_string_equal(o.removed, "m1,m4");
  expect_ids(e, "m5,m6,m7");
  step = (mneme_step){.op = MNEME_STEP_REMOVE_FROM, .from_sequence = 6};
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  expect_ids(e, "m5");
  assert_string_equal(engine_log(e, &o.written.header.uid, 0, l),
                      "1@11 deleted 2-3,2@12 deleted 9-10,3@13 deleted 8-8,"
                      "4@14 deleted 1-1,5@14 deleted 4-4,6@15 deleted 6-7");
  assert_string_equal(engine_log(e, &o.written.header.uid, 5, l), "6@15 deleted 6-7");
  assert_int_equal(o.written.header.mutations, 6);
  fill(e, 1); /* the sequence goes on */
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  engine_read(e, &read, l);
  assert_int_equal(l->last.sequence, 11);
  free(l);
}

static void log_is_bounded(void **state) {
  engine *e = *state;
  listing *l = calloc(1, sizeof *l);
  const mneme_plan plan = {.evict_above = 1, .evict_to = 1, .strategy = MNEME_EVICT_FIFO};
  char id[16];
  const int entries = 3 * MNEME_LOG_MAX; /* an engine may keep some more */
  for (int i = 0; i <= entries; i++) {
    snprintf(id, sizeof id, "%d", i);
    mneme_record r = a_record(id);
    assert_int_equal(engine_append(e, &r, &plan, NULL), MNEME_OK);
  }
  got g = engine_get(e, "s");
  assert_int_equal(g.header.mutations, entries);
  engine_log(e, &g.header.uid, 0, l);
  assert_int_equal(l->status, MNEME_COMPACTED);
  engine_log(e, &g.header.uid, 2 * MNEME_LOG_MAX, l);
  assert_int_equal(l->status, MNEME_OK);
  assert_int_equal(l->count, MNEME_LOG_MAX);
  assert_memory_equal(l->text, "8193@8194 evicted 8193-8193,", 28);
  g.header.uid.bytes[0] ^= 1;
  engine_log(e, &g.header.uid, 10, l);
  assert_int_equal(l->status, MNEME_CONFLICT);
  free(l);
}

/* --- Time ----------------------------------------------------------------- */

static void memories_expire(void **state) {
  engine *e = *state;
  outcome o;
  listing *l = calloc(1, sizeof *l);
  mneme_record r[3] = {a_record("a"), a_record("b"), a_record("c")};
  r[1].ttl_us = 100;
  r[1].expire_us = e->now_us + 100;
  r[1].key = text("k");
  r[2].pinned = true;
  r[2].ttl_us = 50;
  r[2].expire_us = e->now_us + 50;
  for (int i = 0; i < 3; i++) assert_int_equal(engine_append(e, &r[i], NULL, &o), MNEME_OK);
  e->now_us += 49;
  expect_ids(e, "a,b,c");
  e->now_us += 1; /* pinned saves nobody from a ttl */
  expect_ids(e, "a,b");
  assert_int_equal(engine_get(e, "s").header.memory_count, 2);

  int64_t touched = 2;
  mneme_step touch = {
      .op = MNEME_STEP_TOUCH, .sequences = &touched, .sequence_count = 1, .slide_ttl = true};
  mneme_write w = a_write(e, &touch, 1);
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.header.revision, 3);
  assert_int_equal(o.written.header.mutations, 0);
  e->now_us += 99;
  expect_ids(e, "a,b");
  e->now_us += 1;
  expect_ids(e, "a");
  got g = engine_get(e, "s");
  assert_int_equal(g.header.token_count, 1);
  assert_int_equal(g.header.byte_count, 2);

  /* What has expired owns no name: its id and key are free. */
  r[1].expire_us = 0;
  r[1].ttl_us = 0;
  assert_int_equal(engine_append(e, &r[1], NULL, &o), MNEME_OK);
  assert_int_equal(o.refs[0].sequence, 4);
  assert_int_equal(o.written.expired_count, 2);
  expect_ids(e, "a,b");
  mneme_read read = a_read(MNEME_SELECT_KEYS);
  assert_string_equal(engine_read(e, &read, l), "b");
  free(l);
}

static void max_age(void **state) {
  engine *e = *state;
  outcome o;
  listing *l = calloc(1, sizeof *l);
  mneme_plan plan = {.max_age_us = 100, .strategy = MNEME_EVICT_FIFO, .keep_system = true};
  mneme_record r[4] = {a_record("sys"), a_record("pin"), a_record("a"), a_record("b")};
  r[0].role = text("system");
  r[1].pinned = true;
  for (int i = 0; i < 4; i++) {
    assert_int_equal(engine_append(e, &r[i], &plan, &o), MNEME_OK);
    e->now_us += 30;
  }
  /* Created at 0, 30, 60, 90; now 120. */
  expect_ids(e, "sys,pin,a,b");
  e->now_us += 40;
  expect_ids(e, "sys,pin,b");
  assert_int_equal(engine_get(e, "s").header.memory_count, 3);

  /* The sweeper's write: logged, and no revision. */
  engine_call call = engine_now(e);
  memset(l, 0, sizeof *l);
  e->type->due(e->store, &call.call, 10, listing_header, listing_done, l);
  assert_string_equal(l->text, "s");
  mneme_step expire = {.op = MNEME_STEP_EXPIRE, .count = 10};
  mneme_write w = a_write(e, &expire, 1);
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.expired_count, 1);
  assert_int_equal(o.written.header.revision, 4);
  assert_string_equal(engine_log(e, &o.written.header.uid, 0, l), "1@4 expired 3-3");
  memset(l, 0, sizeof *l);
  e->type->due(e->store, &call.call, 10, listing_header, listing_done, l);
  assert_int_equal(l->count, 0);
  free(l);
}

static void sessions_lapse(void **state) {
  engine *e = *state;
  outcome o;
  listing *l = calloc(1, sizeof *l);
  mneme_plan plan = {.ttl_us = 100, .strategy = MNEME_EVICT_FIFO};
  mneme_record a = a_record("a"), b = a_record("b");
  assert_int_equal(engine_append(e, &a, &plan, &o), MNEME_OK);
  mneme_uid first = o.written.header.uid;
  e->now_us += 60;
  assert_int_equal(engine_append(e, &b, &plan, &o), MNEME_OK);
  assert_int_equal(o.written.header.expire_us, e->now_us + 100);
  e->now_us += 99;
  expect_ids(e, "a,b");
  e->now_us += 1;
  expect_ids(e, "");
  assert_int_equal(engine_get(e, "s").status, MNEME_NOT_FOUND);
  assert_int_equal(engine_append(e, &a, &plan, &o), MNEME_OK);
  assert_false(o.written.existed);
  assert_int_equal(o.refs[0].sequence, 1);
  assert_int_equal(o.written.header.revision, 1);
  assert_memory_not_equal(&first, &o.written.header.uid, sizeof first);
  expect_ids(e, "a");

  /* The sweeper drops what has lapsed, by its uid too. */
  e->now_us += 100;
  mneme_uid second = o.written.header.uid;
  mneme_step expire = {.op = MNEME_STEP_EXPIRE, .count = 10};
  mneme_write w = a_write(e, &expire, 1);
  w.uid = &second;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_int_equal(o.written.header.revision, 0);
  engine_call call = engine_now(e);
  e->type->due(e->store, &call.call, 10, listing_header, listing_done, l);
  assert_int_equal(l->count, 0);
  free(l);
}

/* --- Request ids ---------------------------------------------------------- */

static void repeats_answer_alike(void **state) {
  engine *e = *state;
  outcome o;
  fill(e, 3);
  mneme_step pop = {.op = MNEME_STEP_REMOVE_NEWEST, .count = 2};
  mneme_write w = a_write(e, &pop, 1);
  w.want_removed = true;
  w.request_id = text("r1");
  w.fingerprint[0] = 1;
  w.window_us = 1000;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_string_equal(o.removed, "m2,m3");
  for (int i = 0; i < 2; i++) {
    assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
    assert_true(o.written.deduplicated);
    assert_string_equal(o.removed, "m2,m3");
    assert_int_equal(o.written.removed_count, 2);
    assert_int_equal(o.written.header.revision, 4);
    assert_int_equal(o.written.header.memory_count, 1);
    assert_int_equal(o.written.header.last_sequence, 3);
    if (i == 1) break;
    mneme_step drop = {.op = MNEME_STEP_DROP};
    mneme_write d = a_write(e, &drop, 1);
    outcome dropped;
    assert_int_equal(engine_commit(e, &d, &dropped), MNEME_OK);
    assert_int_equal(dropped.written.removed_count, 1);
    assert_int_equal(dropped.written.header.revision, 0);
  }
  assert_int_equal(engine_get(e, "s").status, MNEME_NOT_FOUND); /* no resurrection */

  mneme_write asked = w;
  engine_call call = engine_now(e);
  memset(&o, 0, sizeof o);
  e->type->request_get(e->store, &call.call, &asked, engine_written, &o);
  assert_int_equal(o.status, MNEME_OK);
  assert_string_equal(o.removed, "m2,m3");
  asked.fingerprint[0] = 2;
  e->type->request_get(e->store, &call.call, &asked, engine_written, &o);
  assert_int_equal(o.status, MNEME_REUSED);
  assert_int_equal(engine_commit(e, &asked, &o), MNEME_REUSED);

  e->now_us += 999;
  assert_int_equal(engine_commit(e, &w, &o), MNEME_OK);
  assert_true(o.written.deduplicated);
  e->now_us += 1;
  assert_int_equal(engine_commit(e, &asked, &o), MNEME_OK); /* the window has passed */
  assert_false(o.written.deduplicated);
  assert_int_equal(o.written.removed_count, 0);

  e->now_us += 2000;
  bool more = true;
  listing *l = calloc(1, sizeof *l);
  call = engine_now(e);
  e->type->trim(e->store, &call.call, 100, &more, listing_done, l);
  engine_wait(&l->done);
  assert_int_equal(l->status, MNEME_OK);
  assert_false(more);
  memset(&o, 0, sizeof o);
  e->type->request_get(e->store, &call.call, &asked, engine_written, &o);
  assert_int_equal(o.status, MNEME_NOT_FOUND);
  free(l);
}

static void request_ids_are_bounded(void **state) {
  engine *e = *state;
  char id[16];
  mneme_step touch = {.op = MNEME_STEP_TOUCH};
  mneme_write w = a_write(e, &touch, 1);
  w.window_us = 1000;
  for (int i = 0; i < MNEME_REQUEST_IDS_MAX; i++) {
    snprintf(id, sizeof id, "%d", i);
    w.request_id = text(id);
    assert_int_equal(engine_commit(e, &w, NULL), MNEME_OK);
  }
  /* Beside so many the one that lapses first is forgotten. */
  w.window_us = 2000;
  w.request_id = text("one more");
  assert_int_equal(engine_commit(e, &w, NULL), MNEME_OK);
  int known = 0;
  for (int i = 0; i < MNEME_REQUEST_IDS_MAX; i += MNEME_REQUEST_IDS_MAX / 16) {
    outcome o = {0};
    mneme_call call = {.now_us = e->now_us};
    snprintf(id, sizeof id, "%d", i);
    w.request_id = text(id);
    e->type->request_get(e->store, &call, &w, engine_written, &o);
    known += o.status == MNEME_OK;
  }
  assert_in_range(known, 15, 16);
}

/* --- Reading -------------------------------------------------------------- */

static void reads(void **state) {
  engine *e = *state;
  static const char *const keys[] = {"b/1", "a/2", "a/1", "c", "a/3", NULL, "b"};
  listing *l = calloc(1, sizeof *l);
  char id[16];
  for (int i = 0; i < 7; i++) {
    snprintf(id, sizeof id, "m%d", i + 1);
    mneme_record r = a_record(id);
    if (keys[i] != NULL) r.key = text(keys[i]);
    assert_int_equal(engine_append(e, &r, NULL, NULL), MNEME_OK);
  }
  static const struct {
    mneme_select select;
    const char *prefix, *after;
    int64_t first, last;
    bool descending;
    int64_t limit, byte_limit;
    int stop_after;
    const char *ids;
  } cases[] = {
      {MNEME_SELECT_SEQUENCES, "", "", 0, INT64_MAX, true, 3, 0, 0, "m7,m6,m5"},
      {MNEME_SELECT_SEQUENCES, "", "", 2, 4, false, 0, 0, 0, "m2,m3,m4"},
      {MNEME_SELECT_SEQUENCES, "", "", 2, 4, true, 0, 0, 0, "m4,m3,m2"},
      {MNEME_SELECT_SEQUENCES, "", "", 0, INT64_MAX, false, 0, 14, 0, "m1,m2"},
      {MNEME_SELECT_SEQUENCES, "", "", 0, INT64_MAX, false, 0, 13, 0, "m1"},
      {MNEME_SELECT_SEQUENCES, "", "", 0, INT64_MAX, false, 0, 1, 0, "m1"},
      {MNEME_SELECT_SEQUENCES, "", "", 0, INT64_MAX, false, 0, 0, 2, "m1,m2"},
      {MNEME_SELECT_SEQUENCES, "", "", 8, INT64_MAX, false, 0, 0, 0, ""},
      {MNEME_SELECT_KEYS, "", "", 0, 0, false, 0, 0, 0, "m3,m2,m5,m7,m1,m4"},
      {MNEME_SELECT_KEYS, "", "", 0, 0, true, 2, 0, 0, "m4,m1"},
      {MNEME_SELECT_KEYS, "a/", "", 0, 0, false, 0, 0, 0, "m3,m2,m5"},
      {MNEME_SELECT_KEYS, "a/", "", 0, 0, true, 0, 0, 0, "m5,m2,m3"},
      {MNEME_SELECT_KEYS, "a/", "a/1", 0, 0, false, 0, 0, 0, "m2,m5"},
      {MNEME_SELECT_KEYS, "a/", "a/2", 0, 0, true, 0, 0, 0, "m3"},
      {MNEME_SELECT_KEYS, "b", "a/9", 0, 0, false, 0, 0, 0, "m7,m1"},
      {MNEME_SELECT_KEYS, "b", "a/9", 0, 0, true, 0, 0, 0, ""},
      {MNEME_SELECT_KEYS, "b", "c", 0, 0, true, 0, 0, 0, "m1,m7"},
      {MNEME_SELECT_KEYS, "b", "c", 0, 0, false, 0, 0, 0, ""},
      {MNEME_SELECT_KEYS, "", "c", 0, 0, false, 0, 0, 0, ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mneme_read read = a_read(cases[i].select);
    read.key_prefix = text(cases[i].prefix);
    read.after_key = text(cases[i].after);
    read.first = cases[i].first;
    read.last = cases[i].last;
    read.descending = cases[i].descending;
    read.limit = cases[i].limit;
    read.byte_limit = cases[i].byte_limit;
    l->stop_after = cases[i].stop_after;
    if (strcmp(engine_read(e, &read, l), cases[i].ids) != 0)
      fail_msg("case %zu: %s, not %s", i, l->text, cases[i].ids);
    assert_int_equal(l->status, MNEME_OK);
  }
  mneme_read read = a_read(MNEME_SELECT_IDS);
  mneme_bytes names[] = {text("m4"), text("m9"), text("m1")};
  read.names = names;
  read.name_count = 3;
  l->stop_after = 0;
  assert_string_equal(engine_read(e, &read, l), "m4,m1");
  mneme_uid wrong = {{77}};
  read.uid = &wrong;
  engine_read(e, &read, l);
  assert_int_equal(l->status, MNEME_CONFLICT);
  free(l);
}

static void long_reads_ask(void **state) {
  engine *e = *state;
  listing *l = calloc(1, sizeof *l);
  fill(e, 3500);
  mneme_read read = a_read(MNEME_SELECT_SEQUENCES);
  engine_read(e, &read, l);
  assert_int_equal(l->count, 3500);
  read.descending = true;
  engine_read(e, &read, l);
  assert_int_equal(l->count, 3500);
  e->expired = true;
  engine_read(e, &read, l);
  assert_int_equal(l->status, MNEME_TIMEOUT);
  assert_in_range(l->count, 1, MNEME_SCAN_CHECK);
  free(l);
}

/* --- Sessions, changes ---------------------------------------------------- */

static void append_to(engine *e, const char *ns, const char *session) {
  mneme_record r = a_record(session);
  mneme_on_conflict replace = MNEME_CONFLICT_REPLACE;
  mneme_step step = {
      .op = MNEME_STEP_APPEND, .records = &r, .on_conflict = &replace, .record_count = 1};
  mneme_write w = a_write(e, &step, 1);
  w.ns = text(ns);
  w.session = text(session);
  assert_int_equal(engine_commit(e, &w, NULL), MNEME_OK);
}

static const char *list_sessions(engine *e, mneme_session_list list, listing *l) {
  engine_call call = engine_now(e);
  list.ns = text("ns");
  memset(l, 0, sizeof *l);
  e->type->session_list(e->store, &call.call, &list, listing_header, listing_done, l);
  assert_int_equal(l->done, 1);
  assert_int_equal(l->status, MNEME_OK);
  return l->text;
}

static void lists_sessions(void **state) {
  engine *e = *state;
  static const char *const names[] = {"b", "a/b", "a", "c", "a/a"};
  listing *l = calloc(1, sizeof *l);
  for (int i = 0; i < 5; i++) {
    e->now_us += 10;
    append_to(e, "ns", names[i]);
    append_to(e, "other", names[i]);
    append_to(e, "ns2", names[i]);
  }
  mneme_session_list list = {.order = MNEME_SESSIONS_BY_ID, .limit = 10};
  assert_string_equal(list_sessions(e, list, l), "a,a/a,a/b,b,c");
  list.limit = 2;
  assert_string_equal(list_sessions(e, list, l), "a,a/a");
  list.after_session = text("a/a");
  assert_string_equal(list_sessions(e, list, l), "a/b,b");
  list.prefix = text("a/");
  assert_string_equal(list_sessions(e, list, l), "a/b");
  list = (mneme_session_list){.order = MNEME_SESSIONS_BY_UPDATE, .limit = 3};
  assert_string_equal(list_sessions(e, list, l), "a/a,c,a");
  list.after_session = text("a");
  list.after_update_us = l->header.update_us;
  assert_string_equal(list_sessions(e, list, l), "a/b,b");
  list = (mneme_session_list){
      .order = MNEME_SESSIONS_BY_UPDATE, .limit = 3, .prefix = text("a")};
  assert_string_equal(list_sessions(e, list, l), "a/a,a,a/b");
  free(l);
}

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

static void drop_session(engine *e, const char *session) {
  mneme_step drop = {.op = MNEME_STEP_DROP};
  mneme_write w = a_write(e, &drop, 1);
  w.session = text(session);
  assert_int_equal(engine_commit(e, &w, NULL), MNEME_OK);
}

static void tells_changes(void **state) {
  engine *e = *state;
  changed *c = calloc(1, sizeof *c);
  assert_int_equal(get_changes(e, c), MNEME_OK);
  assert_int_equal(c->l.count, 0);
  append_to(e, "ns", "x");
  append_to(e, "other", "y");
  assert_int_equal(get_changes(e, c), MNEME_OK);
  assert_string_equal(c->l.text, "x");
  assert_int_equal(get_changes(e, c), MNEME_OK);
  assert_int_equal(c->l.count, 0);
  drop_session(e, "x");
  assert_int_equal(get_changes(e, c), MNEME_OK);
  assert_string_equal(c->l.text, "-x");

  char old[MNEME_CURSOR_MAX];
  size_t old_size = c->size;
  memcpy(old, c->cursor, c->size);
  for (int i = 0; i < 1000; i++) {
    append_to(e, "ns", "x");
    drop_session(e, "x");
  }
  append_to(e, "ns", "z");
  assert_int_equal(get_changes(e, c), MNEME_OK);
  assert_int_equal(c->l.count, 1001);
  memcpy(c->cursor, old, old_size);
  c->cursor[0] ^= 1; /* of another store */
  assert_int_equal(get_changes(e, c), MNEME_COMPACTED);
  free(c);
}

static void forgets_old_tombstones(void **state) {
  engine *e = *state;
  changed *c = calloc(1, sizeof *c);
  append_to(e, "ns", "x");
  assert_int_equal(get_changes(e, c), MNEME_OK);
  for (int i = 0; i < 65537; i++) {
    append_to(e, "ns", "y");
    drop_session(e, "y");
  }
  changed *late = malloc(sizeof *late);
  *late = *c;
  assert_int_equal(get_changes(e, late), MNEME_COMPACTED);
  late->size = 0; /* from the start is never too old */
  assert_int_equal(get_changes(e, late), MNEME_OK);
  free(late);
  free(c);
}

/* --- Sums and small values ------------------------------------------------ */

static void got_stats(mneme_status status, const mneme_stats *stats, void *ctx) {
  assert_int_equal(status, MNEME_OK);
  *(mneme_stats *)ctx = *stats;
}

static void sums(void **state) {
  engine *e = *state;
  mneme_stats stats;
  fill(e, 4);
  append_to(e, "ns", "t");
  append_to(e, "ns/t", "u");
  engine_call call = engine_now(e);
  e->type->stats(e->store, &call.call, text("ns"), text(""), got_stats, &stats);
  assert_int_equal(stats.session_count, 2);
  assert_int_equal(stats.memory_count, 5);
  assert_int_equal(stats.token_count, 5);
  assert_int_equal(stats.byte_count, 4 * 4 + 2);
  e->type->stats(e->store, &call.call, text("ns"), text("t"), got_stats, &stats);
  assert_int_equal(stats.memory_count, 1);
}

typedef struct meta {
  int done;
  mneme_status status;
  char value[64];
} meta;

static void got_meta(mneme_status status, mneme_bytes value, void *ctx) {
  meta *m = ctx;
  m->status = status;
  snprintf(m->value, sizeof m->value, "%.*s", (int)value.size, value.data);
  engine_count(&m->done);
}

static void put_meta(engine *e, mneme_bytes key, mneme_bytes expected, const char *value,
                     meta *m) {
  engine_call call = engine_now(e);
  *m = (meta){0};
  e->type->meta_put(e->store, &call.call, key, expected, text(value), got_meta, m);
  engine_wait(&m->done);
}

static void keeps_meta(void **state) {
  engine *e = *state;
  meta m = {0};
  engine_call call = engine_now(e);
  mneme_bytes key = text("key"), none = {0};
  e->type->meta_get(e->store, &call.call, key, got_meta, &m);
  assert_string_equal(m.value, "");
  put_meta(e, key, none, "one", &m);
  assert_int_equal(m.status, MNEME_OK);
  put_meta(e, key, none, "two", &m);
  assert_int_equal(m.status, MNEME_CONFLICT);
  assert_string_equal(m.value, "one");
  put_meta(e, key, text("one"), "two", &m);
  assert_int_equal(m.status, MNEME_OK);
  e->type->meta_get(e->store, &call.call, key, got_meta, &m);
  assert_string_equal(m.value, "two");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(keeps_the_newest_five),
      cmocka_unit_test(evicts_exactly),
      CASE(batch_above_the_limit),
      CASE(conflicts_and_keys),
      CASE(puts_by_revision),
      CASE(guards),
      CASE(refusals_change_nothing),
      CASE(removes),
      CASE(log_is_bounded),
      CASE(memories_expire),
      CASE(max_age),
      CASE(sessions_lapse),
      CASE(repeats_answer_alike),
      CASE(request_ids_are_bounded),
      CASE(reads),
      CASE(long_reads_ask),
      CASE(lists_sessions),
      CASE(tells_changes),
      CASE(forgets_old_tombstones),
      CASE(sums),
      CASE(keeps_meta),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
