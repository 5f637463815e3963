/* APPEND: creation, policies on a conflict, sequences, revisions, times. */
#include <stdio.h>
#include <string.h>

#include "conform.h"

static void check_ref(const cf_answer *a, size_t i, const char *id, int64_t sequence,
                      int64_t revision, bool created) {
  CHECK(i < a->written.ref_count);
  CHECK_BYTES(a->written.refs[i].id, id);
  CHECK_INT(a->written.refs[i].sequence, sequence);
  CHECK_INT(a->written.refs[i].revision, revision);
  CHECK_INT(a->written.refs[i].created, created);
}

TEST(c17_sequences_are_consecutive_and_never_reused, "C-17") {
  cf_answer *a = DO_IN("s", APPEND(R(.id = "a"), R(.id = "b"), R(.id = "c")));
  check_ref(a, 0, "a", 1, 1, true);
  check_ref(a, 1, "b", 2, 1, true);
  check_ref(a, 2, "c", 3, 1, true);
  CHECK_INT(a->written.ref_count, 3);
  CHECK_INT(a->written.header.last_sequence, 3);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,c");
  DO_IN("s", SEQUENCES(2, 3));
  CHECK_INT(cf_header("s").last_sequence, 3);
  a = DO_IN("s", APPEND(R(.id = "c"), R(.id = "d")));
  check_ref(a, 0, "c", 4, 3, true);
  check_ref(a, 1, "d", 5, 3, true);
  CHECK_TEXT(cf_sequences(cf_all("s")), "1,4,5");
  DO_IN("s", FROM(1)); /* clear */
  CHECK_INT(cf_header("s").last_sequence, 5);
  a = DO_IN("s", APPEND(R(.id = "a")));
  check_ref(a, 0, "a", 6, 5, true);
  /* Replace: remove all and append, in one commit. */
  a = DO_IN("s", FROM(1), APPEND(R(.id = "a"), R(.id = "x")));
  check_ref(a, 0, "a", 7, 6, true);
  check_ref(a, 1, "x", 8, 6, true);
  CHECK_INT(a->written.removed_count, 1);
}

TEST(c17_large_batch_keeps_its_order, "C-17 C-44") {
  enum { BATCH = 5000 };
  cf_rec *recs = cf_alloc(BATCH * sizeof *recs);
  for (int i = 0; i < BATCH; i++)
    recs[i] = R(.id = cf_text("id-%d", i), .body = cf_text("body %d", i), .tokens = i);
  mneme_step step = cf_step_append(BATCH, recs);
  cf_answer *a = OK(cf_do(cf_plain("s"), 1, &step));
  CHECK_INT(a->written.ref_count, BATCH);
  for (int i = 0; i < BATCH; i++) check_ref(a, (size_t)i, recs[i].id, i + 1, 1, true);
  cf_answer *all = cf_all("s");
  CHECK_INT(all->record_count, BATCH);
  for (int i = 0; i < BATCH; i++) {
    CHECK_INT(all->records[i].sequence, i + 1);
    CHECK_BYTES(all->records[i].id, recs[i].id);
    CHECK_BYTES(all->records[i].body, recs[i].body);
  }
  CHECK_INT(cf_header("s").memory_count, BATCH);
  CHECK_INT(cf_header("s").token_count, (int64_t)BATCH * (BATCH - 1) / 2);
}

/* Bytes may hold any value, and every field of the caller comes back. */
TEST(c22_records_come_back_as_they_were, "C-22") {
  mneme_record r = cf_record(&R(.kind = "kind", .role = "user", .author = "Ann",
                                .source = "web", .tokens = 17, .ttl_us = 5 * CF_SECOND,
                                .event_us = 77, .pinned = true, .tier = 3));
  static const char wild[] = "\0\xff\x80'\"%\n\\\0é";
  r.id = (mneme_bytes){wild, sizeof wild};
  r.key = (mneme_bytes){wild + 1, sizeof wild - 1};
  char *body = cf_alloc(70000);
  for (int i = 0; i < 70000; i++) body[i] = (char)(i * 31);
  r.body = (mneme_bytes){body, 70000};
  r.has_importance = true;
  r.importance = 0.123456789012345;
  r.crc = 0xfedcba98u;
  mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
  mneme_step step = {.op = MNEME_STEP_APPEND};
  step.records = &r;
  step.on_conflict = &fail;
  step.record_count = 1;
  mneme_write w = cf_write("");
  w.session = (mneme_bytes){wild, sizeof wild};
  OK(cf_do(&w, 1, &step));
  mneme_read read = cf_reading("");
  read.session = w.session;
  cf_answer *a = OK(cf_read(&read));
  CHECK_INT(a->record_count, 1);
  const mneme_record *g = &a->records[0];
  CHECK(cf_same(g->id, r.id) && cf_same(g->key, r.key) && cf_same(g->body, r.body));
  CHECK_BYTES(g->kind, "kind");
  CHECK_BYTES(g->role, "user");
  CHECK_BYTES(g->author, "Ann");
  CHECK_BYTES(g->source, "web");
  CHECK_INT(g->tier, 3);
  CHECK(g->pinned && g->has_importance && g->importance == r.importance);
  CHECK_INT(g->token_count, 17);
  CHECK_INT(g->ttl_us, 5 * CF_SECOND);
  CHECK_INT(g->event_us, 77);
  CHECK_INT(g->expire_us, cf_now() + 5 * CF_SECOND);
  CHECK_INT(g->crc, 0xfedcba98u);
  CHECK_INT(g->access_us, 0);
  CHECK_INT(g->access_count, 0);
  CHECK_INT(g->sequence, 1);
  CHECK_INT(g->revision, 1);
  mneme_session_list list = cf_listing();
  a = OK(cf_session_list(&list));
  CHECK_INT(a->header_count, 1);
  CHECK(cf_same(a->headers[0].session, w.session));
  CHECK_INT(a->headers[0].byte_count, cf_record_size(&r));
}

static mneme_bytes filled(size_t size, int seed) {
  char *data = cf_alloc(size);
  for (size_t i = 0; i < size; i++) data[i] = (char)((int)i * 7 + seed);
  return (mneme_bytes){data, size};
}

/* The limits of types.h are what a backend must be able to hold. */
TEST(c22_everything_at_its_limit, "C-22 C-09") {
  mneme_record r = {0};
  r.id = filled(MNEME_ID_MAX, 1);
  r.key = filled(MNEME_KEY_MAX, 2);
  r.kind = filled(MNEME_ID_MAX, 3);
  r.role = filled(MNEME_ID_MAX, 4);
  r.author = filled(MNEME_ID_MAX, 5);
  r.source = filled(MNEME_ID_MAX, 6);
  r.body = filled(MNEME_BODY_MAX, 7);
  r.token_count = INT32_MAX;
  r.importance = 1;
  r.has_importance = true;
  mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
  mneme_step step = {.op = MNEME_STEP_APPEND};
  step.records = &r;
  step.on_conflict = &fail;
  step.record_count = 1;
  char ns[MNEME_NAMESPACE_MAX];
  memset(ns, 'n', sizeof ns);
  memcpy(ns, cf.ns.data, cf.ns.size < sizeof ns ? cf.ns.size : sizeof ns);
  cf.ns = (mneme_bytes){cf_copy(ns, sizeof ns), sizeof ns};
  mneme_write w = cf_write("");
  w.session = filled(MNEME_SESSION_MAX, 8);
  cf_request(&w, "r", "1");
  w.request_id = filled(MNEME_ID_MAX, 9);
  OK(cf_do(&w, 1, &step));
  CHECK(OK(cf_do(&w, 1, &step))->written.deduplicated);
  mneme_read read = cf_reading("");
  read.session = w.session;
  const mneme_record *g = OK(cf_read(&read))->records;
  CHECK(cf_same(g->id, r.id) && cf_same(g->key, r.key) && cf_same(g->kind, r.kind));
  CHECK(cf_same(g->role, r.role) && cf_same(g->author, r.author));
  CHECK(cf_same(g->source, r.source) && cf_same(g->body, r.body));
  CHECK_INT(OK(cf_session_get(cf.ns, w.session))->header.byte_count, cf_record_size(&r));
  /* The largest batch. */
  cf_rec *recs = cf_alloc(MNEME_BATCH_MAX * sizeof *recs);
  for (int i = 0; i < MNEME_BATCH_MAX; i++) recs[i].id = cf_text("%d", i);
  step = cf_step_append(MNEME_BATCH_MAX, recs);
  CHECK_INT(OK(cf_do(cf_plain("batch"), 1, &step))->written.ref_count, MNEME_BATCH_MAX);
  CHECK_INT(cf_header("batch").memory_count, MNEME_BATCH_MAX);
}

TEST(c29_fail_refuses_a_taken_id_or_key, "C-29 C-08") {
  DO_IN("s", APPEND(R(.id = "a", .key = "k"), R(.id = "b")));
  const char *before = cf_snapshot("s");
  cf_answer *a = DO(cf_plain("s"), APPEND(R(.id = "c"), R(.id = "a")));
  CHECK_STATUS(a, MNEME_EXISTS);
  CHECK_INT(a->written.header.revision, 1);
  CHECK_STATUS(DO(cf_plain("s"), APPEND(R(.id = "c"), R(.id = "d", .key = "k"))), MNEME_EXISTS);
  CHECK_TEXT(cf_snapshot("s"), before);
  DO_IN("s", IDS("a"));
  a = DO_IN("s", APPEND(R(.id = "a", .key = "k")));
  check_ref(a, 0, "a", 3, 3, true);
}

TEST(c29_skip_answers_what_is_there, "C-29 C-16") {
  DO_IN("s", APPEND(R(.id = "a", .key = "k", .body = "old"), R(.id = "b")));
  const char *before = cf_snapshot("s");
  cf_tick(CF_SECOND);
  cf_answer *a = DO_IN("s", APPEND(R(.id = "a", .body = "new", .policy = MNEME_CONFLICT_SKIP),
                                   R(.id = "z", .key = "k", .policy = MNEME_CONFLICT_SKIP)));
  check_ref(a, 0, "a", 1, 1, false);
  check_ref(a, 1, "a", 1, 1, false);
  CHECK_TEXT(cf_snapshot("s"), before);
  a = DO_IN("s", APPEND(R(.id = "b", .policy = MNEME_CONFLICT_SKIP),
                        R(.id = "c", .policy = MNEME_CONFLICT_SKIP)));
  check_ref(a, 0, "b", 2, 1, false);
  check_ref(a, 1, "c", 3, 2, true);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,c");
}

TEST(c29_replace_takes_the_place, "C-29 C-40") {
  DO_IN("s", APPEND(R(.id = "a", .key = "k", .body = "old", .role = "user", .tokens = 5),
                    R(.id = "b")));
  DO_IN("s", TOUCH(1));
  mneme_record old = cf_all("s")->records[0];
  cf_tick(CF_SECOND);
  cf_answer *a = DO_IN("s", APPEND(R(.id = "new", .key = "k", .body = "new", .pinned = true,
                                     .tokens = 7, .policy = MNEME_CONFLICT_REPLACE)));
  check_ref(a, 0, "a", 1, 2, false);
  CHECK_INT(a->written.header.revision, 2);
  CHECK_INT(a->written.header.last_sequence, 2);
  CHECK_INT(a->written.header.token_count, 7);
  CHECK_INT(a->written.header.memory_count, 2);
  const mneme_record *now = &cf_all("s")->records[0];
  CHECK_BYTES(now->id, "a");
  CHECK_BYTES(now->key, "k");
  CHECK_BYTES(now->body, "new");
  CHECK_BYTES(now->role, "");
  CHECK(now->pinned);
  CHECK_INT(now->create_us, old.create_us);
  CHECK_INT(now->update_us, cf_now());
  CHECK_INT(now->revision, 2);
  CHECK_INT(now->access_count, 1);
  CHECK_INT(now->access_us, old.access_us);
  CHECK_TEXT(cf_log_text("s"), "2:UPDATED 1");
  /* By id, with another key: the key moves along. */
  DO_IN("s", APPEND(R(.id = "a", .key = "k2", .policy = MNEME_CONFLICT_REPLACE)));
  mneme_read r = cf_reading("s");
  const mneme_bytes names[] = {cf_bytes("k"), cf_bytes("k2")};
  r.select = MNEME_SELECT_NAMED_KEYS;
  r.names = names;
  r.name_count = 2;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "a");
  a = DO_IN("s", APPEND(R(.id = "c", .key = "k")));
  check_ref(a, 0, "c", 3, 4, true);
  /* By id, without a key: the key is free again. */
  DO_IN("s", APPEND(R(.id = "a", .policy = MNEME_CONFLICT_REPLACE)));
  a = DO_IN("s", APPEND(R(.id = "d", .key = "k2")));
  check_ref(a, 0, "d", 4, 6, true);
}

TEST(c29_id_and_key_of_two_memories, "C-29") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka"), R(.id = "b", .key = "kb")));
  const char *before = cf_snapshot("s");
  for (int policy = MNEME_CONFLICT_FAIL; policy <= MNEME_CONFLICT_REPLACE; policy++)
    CHECK_STATUS(DO(cf_plain("s"), APPEND(R(.id = "a", .key = "kb",
                                            .policy = (mneme_on_conflict)policy))),
                 MNEME_EXISTS);
  CHECK_TEXT(cf_snapshot("s"), before);
}

/* Each record is held against what the ones before it left. */
TEST(c29_records_are_taken_in_order, "C-29") {
  DO_IN("s", APPEND(R(.id = "a", .key = "k")));
  cf_answer *a = DO_IN("s", APPEND(R(.id = "a", .policy = MNEME_CONFLICT_REPLACE),
                                   R(.id = "b", .key = "k")));
  check_ref(a, 0, "a", 1, 2, false);
  check_ref(a, 1, "b", 2, 2, true);
  a = DO_IN("s", IDS("b"), APPEND(R(.id = "b", .key = "k")));
  check_ref(a, 0, "b", 3, 3, true);
  CHECK_STATUS(DO(cf_plain("s"), APPEND(R(.id = "c")), APPEND(R(.id = "c"))), MNEME_EXISTS);
  a = DO_IN("s", APPEND(R(.id = "c")),
            APPEND(R(.id = "d"), R(.id = "c", .policy = MNEME_CONFLICT_SKIP)));
  check_ref(a, 0, "c", 4, 4, true);
  check_ref(a, 1, "d", 5, 4, true);
  check_ref(a, 2, "c", 4, 4, false);
}

TEST(c16_revision_rises_by_one, "C-16") {
  CHECK_INT(DO_IN("s", APPEND(R(.id = "a"), R(.id = "b")))->written.header.revision, 1);
  CHECK_INT(DO_IN("s", APPEND(R(.id = "c", .key = "k")))->written.header.revision, 2);
  int64_t update_us = cf_now();
  cf_tick(CF_SECOND);
  /* Nothing that a reader can see. */
  CHECK_INT(DO_IN("s", IDS("zz"))->written.header.revision, 2);
  CHECK_INT(DO_IN("s", KEYS("zz"))->written.header.revision, 2);
  CHECK_INT(DO_IN("s", SEQUENCES(77))->written.header.revision, 2);
  CHECK_INT(DO_IN("s", FROM(4))->written.header.revision, 2);
  CHECK_INT(DO_IN("s", TOUCH(1, 2))->written.header.revision, 2);
  CHECK_INT(DO_IN("s", EXPIRE(10))->written.header.revision, 2);
  CHECK_INT(OK(cf_do(cf_plain("s"), 0, NULL))->written.header.revision, 2);
  mneme_step nothing = cf_step_append(0, NULL);
  CHECK_INT(OK(cf_do(cf_plain("s"), 1, &nothing))->written.header.revision, 2);
  CHECK_INT(DO_IN("s", APPEND(R(.id = "a", .policy = MNEME_CONFLICT_SKIP)))
                ->written.header.revision, 2);
  CHECK_INT(cf_header("s").update_us, update_us);
  /* Many steps, one commit. */
  cf_answer *a = DO_IN("s", IDS("a"), KEYS("k"), APPEND(R(.id = "d")), APPEND(R(.id = "e")));
  CHECK_INT(a->written.header.revision, 3);
  CHECK_INT(a->written.header.update_us, cf_now());
  CHECK_INT(a->written.removed_count, 2);
  check_ref(a, 1, "e", 5, 3, true);
  CHECK_INT(DO_IN("s", NEWEST(1, 0))->written.header.revision, 4);
  CHECK_INT(DO_IN("s", SETTINGS("x"))->written.header.revision, 5);
}

TEST(c38_what_creates_a_session, "C-38") {
  /* What creates nothing. */
  const mneme_step idle[] = {IDS("a"), KEYS("k"), SEQUENCES(1), NEWEST(1, 0), FROM(1),
                             TOUCH(1), DROP(), EXPIRE(10)};
  for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
    cf_context("step %zu on an absent session", i);
    cf_answer *a = OK(cf_do(cf_plain("s"), 1, &idle[i]));
    CHECK_INT(a->written.header.revision, 0);
    CHECK_INT(a->written.header.last_sequence, 0);
    CHECK(cf_zero_uid(&a->written.header.uid));
    CHECK(!a->written.existed);
    CHECK_INT(a->written.removed_count, 0);
    CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  }
  CHECK_STATUS(DO(cf_plain("s"), PUT(1, 1, R(.id = "a"))), MNEME_NOT_FOUND);
  cf_context("creation");
  mneme_write w = cf_write("empty");
  cf_answer *a = OK(cf_do(&w, 0, NULL));
  CHECK_INT(a->written.header.revision, 1);
  CHECK_INT(a->written.header.settings_revision, 1);
  CHECK_INT(a->written.header.last_sequence, 0);
  CHECK_INT(a->written.header.append_us, 0);
  CHECK_INT(a->written.header.create_us, cf_now());
  CHECK_INT(a->written.header.update_us, cf_now());
  CHECK(cf_same_uid(&a->written.header.uid, &w.new_uid));
  CHECK_BYTES(a->written.header.session, "empty");
  CHECK(cf_same(a->written.header.ns, cf.ns));
  CHECK(!a->written.existed && !a->written.deduplicated);
  CHECK(OK(cf_do(cf_plain("empty"), 0, NULL))->written.existed);
  w = cf_write("settings");
  a = OK(DO(&w, SETTINGS("text")));
  CHECK_INT(a->written.header.revision, 1);
  CHECK_INT(a->written.header.settings_revision, 1);
  CHECK_BYTES(a->written.header.settings, "text");
  w = cf_write("replace");
  a = OK(DO(&w, FROM(1), APPEND(R(.id = "a"))));
  CHECK_INT(a->written.header.last_sequence, 1);
  CHECK(cf_same_uid(&a->written.header.uid, &w.new_uid));
  CHECK_INT(OK(DO(cf_plain("both"), APPEND(R(.id = "a")), SETTINGS("x")))
                ->written.header.revision, 1);
  CHECK_BYTES(cf_header("both").settings, "x");
}

/* One server's clock behind another's: creation never goes back in a session,
 * and a memory's update rises strictly. */
TEST(c40_times_never_go_back, "C-40") {
  DO_IN("s", APPEND(R(.id = "a"), R(.id = "b")));
  int64_t first = cf_now();
  cf_tick(-10 * CF_SECOND);
  DO_IN("s", APPEND(R(.id = "c")));
  cf_answer *all = cf_all("s");
  CHECK_INT(all->records[1].create_us, first);
  CHECK_INT(all->records[2].create_us, first);
  DO_IN("s", IDS("a", "b", "c"));
  DO_IN("s", APPEND(R(.id = "d")));
  CHECK_INT(cf_all("s")->records[0].create_us, first);
  cf_tick(20 * CF_SECOND);
  DO_IN("s", APPEND(R(.id = "e")));
  CHECK_INT(cf_all("s")->records[1].create_us, cf_now());
  int64_t update_us = cf_now();
  for (int i = 1; i <= 3; i++) { /* the clock stands still, then goes back */
    DO_IN("s", PUT(5, cf_header("s").revision, R(.id = "e", .body = "new")));
    CHECK_INT(cf_all("s")->records[1].update_us, update_us + i);
    CHECK_INT(cf_all("s")->records[1].create_us, update_us);
    cf_tick(-CF_SECOND);
  }
  DO_IN("s", APPEND(R(.id = "e", .policy = MNEME_CONFLICT_REPLACE)));
  CHECK_INT(cf_all("s")->records[1].update_us, update_us + 4);
}

/* All or none: a late step's refusal takes the earlier ones back. */
TEST(c44_steps_are_all_or_none, "C-44 C-08") {
  DO_IN("s", APPEND(R(.id = "a", .key = "k"), R(.id = "b"), R(.id = "c")));
  const char *before = cf_snapshot("s");
  CHECK_STATUS(DO(cf_plain("s"), IDS("a"), SETTINGS("new"), APPEND(R(.id = "d")),
                  TOUCH(2), PUT(99, 1, R(.id = "x"))),
               MNEME_NOT_FOUND);
  CHECK_TEXT(cf_snapshot("s"), before);
  CHECK_STATUS(DO(cf_plain("s"), FROM(2), APPEND(R(.id = "b"), R(.id = "a"))), MNEME_EXISTS);
  CHECK_TEXT(cf_snapshot("s"), before);
  CHECK_STATUS(DO(cf_plain("new"), APPEND(R(.id = "a")), APPEND(R(.id = "a"))), MNEME_EXISTS);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("new")), MNEME_NOT_FOUND);
  cf_answer *a = DO_IN("s", FROM(2), APPEND(R(.id = "b")), KEYS("k"), APPEND(R(.id = "a")));
  CHECK_INT(a->written.removed_count, 3);
  CHECK_TEXT(cf_ids(cf_all("s")), "b,a");
  CHECK_TEXT(cf_sequences(cf_all("s")), "4,5");
  mneme_step eight[MNEME_STEPS_MAX];
  for (int i = 0; i < MNEME_STEPS_MAX; i++) eight[i] = APPEND(R(.id = cf_text("e%d", i)));
  a = OK(cf_do(cf_plain("s"), MNEME_STEPS_MAX, eight));
  CHECK_INT(a->written.ref_count, MNEME_STEPS_MAX);
  check_ref(a, 7, "e7", 13, 3, true);
}
