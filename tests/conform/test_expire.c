/* Time: what is live to the microsecond, lapsed sessions, sweeping. */
#include <string.h>

#include "conform.h"

TEST(c35_a_memory_lives_until_its_instant, "C-35") {
  DO_IN("s", APPEND(R(.id = "a"), R(.id = "b", .key = "k", .expire_us = cf_now() + 100,
                                    .tokens = 5),
                    R(.id = "c", .ttl_us = 200, .pinned = true)));
  cf_tick(99);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,c");
  CHECK_INT(cf_header("s").memory_count, 3);
  CHECK_INT(cf_header("s").token_count, 5);
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("")))->stats.memory_count, 3);
  cf_tick(1);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,c");
  mneme_header h = cf_header("s");
  CHECK_INT(h.memory_count, 2);
  CHECK_INT(h.token_count, 0);
  CHECK_INT(h.byte_count, 2);
  CHECK_INT(h.revision, 1);
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("")))->stats.memory_count, 2);
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("s")))->stats.byte_count, 2);
  mneme_session_list list = cf_listing();
  CHECK_INT(OK(cf_session_list(&list))->headers[0].memory_count, 2);
  mneme_read r = cf_reading("s");
  const mneme_bytes names[] = {cf_bytes("b"), cf_bytes("k"), cf_bytes("c")};
  r.names = names;
  r.name_count = 3;
  r.select = MNEME_SELECT_IDS;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "c");
  r.select = MNEME_SELECT_NAMED_KEYS;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "");
  r.select = MNEME_SELECT_KEYS;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "");
  cf_tick(99);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,c");
  cf_tick(1); /* pinned spares from eviction and max_age, not from this */
  CHECK_TEXT(cf_ids(cf_all("s")), "a");
}

/* To a commit, too, what has expired is not there. */
TEST(c35_expired_is_gone_for_a_commit, "C-35 C-16") {
  DO_IN("s", APPEND(R(.id = "a"), R(.id = "b", .key = "k", .ttl_us = 100),
                    R(.id = "c", .key = "k2", .ttl_us = 100)));
  cf_tick(100);
  CHECK_INT(DO_IN("s", IDS("b"))->written.removed_count, 0);
  CHECK_INT(DO_IN("s", KEYS("k"))->written.removed_count, 0);
  CHECK_INT(DO_IN("s", SEQUENCES(2, 3))->written.removed_count, 0);
  CHECK_INT(cf_header("s").revision, 1);
  CHECK_STATUS(DO(cf_plain("s"), PUT(2, 1, R(.id = "b"))), MNEME_NOT_FOUND);
  CHECK_INT(DO_IN("s", TOUCH(2))->written.header.revision, 1);
  cf_answer *a = DO_IN("s", APPEND(R(.id = "b"), R(.id = "d", .key = "k2")));
  CHECK_INT(a->written.refs[0].sequence, 4);
  CHECK(a->written.refs[0].created);
  CHECK(a->written.refs[1].created);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,d");
  CHECK_INT(DO_IN("s", NEWEST(3, 0))->written.removed_count, 3);
  DO_IN("s", APPEND(R(.id = "e"), R(.id = "f", .ttl_us = 10)));
  cf_tick(10);
  CHECK_INT(DO_IN("s", NEWEST(1, 0))->written.removed_count, 1);
  CHECK_INT(cf_all("s")->record_count, 0);
  DO_IN("s", APPEND(R(.id = "g"), R(.id = "h", .ttl_us = 10)));
  cf_tick(10);
  CHECK_INT(DO_IN("s", FROM(1))->written.removed_count, 1);
  /* REPLACE and SKIP don't find it either. */
  DO_IN("s", APPEND(R(.id = "i", .ttl_us = 10)));
  cf_tick(10);
  a = DO_IN("s", APPEND(R(.id = "i", .policy = MNEME_CONFLICT_SKIP)));
  CHECK(a->written.refs[0].created);
}

/* A write of the record sets its expiry anew. */
TEST(c35_put_and_replace_renew, "C-35 C-30") {
  DO_IN("s", APPEND(R(.id = "a", .ttl_us = 100), R(.id = "b", .ttl_us = 100)));
  cf_tick(99);
  DO_IN("s", PUT(1, 1, R(.id = "a", .ttl_us = 100)));
  DO_IN("s", APPEND(R(.id = "b", .policy = MNEME_CONFLICT_REPLACE)));
  cf_tick(99);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b");
  cf_tick(1);
  CHECK_TEXT(cf_ids(cf_all("s")), "b");
}

TEST(c35_max_age, "C-35") {
  mneme_write w = cf_write("s");
  w.plan.max_age_us = 100;
  w.plan.keep_system = true;
  OK(DO(&w, APPEND(R(.id = "a"), R(.id = "p", .pinned = true), R(.id = "s", .role = "system"),
                   R(.id = "u", .role = "user"))));
  CHECK_INT(cf_header("s").max_age_us, 100);
  CHECK(cf_header("s").keep_system);
  cf_tick(50);
  OK(DO(&w, APPEND(R(.id = "b"))));
  OK(DO(&w, APPEND(R(.id = "u", .role = "user", .policy = MNEME_CONFLICT_REPLACE))));
  cf_tick(49);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,p,s,u,b");
  cf_tick(1);
  CHECK_TEXT(cf_ids(cf_all("s")), "p,s,b"); /* age counts from the creation */
  CHECK_INT(cf_header("s").memory_count, 3);
  cf_tick(50);
  CHECK_TEXT(cf_ids(cf_all("s")), "p,s");
  w.plan.keep_system = false;
  OK(DO(&w, TOUCH(2)));
  CHECK_TEXT(cf_ids(cf_all("s")), "p");
  CHECK_INT(cf_header("s").memory_count, 1);
  /* The plan of every commit is taken, one that finds nothing too. */
  w = cf_write("t");
  OK(DO(&w, APPEND(R(.id = "a"))));
  w.plan.max_age_us = 10;
  OK(DO(&w, IDS("none")));
  CHECK_INT(cf_header("t").max_age_us, 10);
  CHECK_INT(cf_header("t").revision, 1);
  cf_tick(10);
  CHECK_INT(cf_header("t").memory_count, 0);
}

TEST(c13_a_lapsed_session_is_absent, "C-13 C-39 C-47") {
  mneme_write w = cf_write("s");
  w.plan.ttl_us = 100;
  OK(DO(&w, APPEND(R(.id = "a", .key = "k")), SETTINGS("x")));
  mneme_uid old = cf_header("s").uid;
  CHECK_INT(cf_header("s").expire_us, cf_now() + 100);
  cf_tick(99);
  CHECK_TEXT(cf_ids(cf_all("s")), "a");
  cf_tick(1);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  CHECK_INT(cf_all("s")->record_count, 0);
  mneme_session_list list = cf_listing();
  CHECK_INT(OK(cf_session_list(&list))->header_count, 0);
  list.order = MNEME_SESSIONS_BY_UPDATE;
  CHECK_INT(OK(cf_session_list(&list))->header_count, 0);
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("")))->stats.session_count, 0);
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("s")))->stats.memory_count, 0);
  CHECK_STATUS(cf_log(cf_bytes("s"), &old, 0), MNEME_CONFLICT);
  /* Guards see it as absent, and writes that create nothing leave it so. */
  w = cf_write("s");
  w.existence = MNEME_MUST_EXIST;
  CHECK_STATUS(DO(&w, APPEND(R(.id = "b"))), MNEME_NOT_FOUND);
  w.existence = MNEME_ANY;
  w.uid = &old;
  CHECK_STATUS(DO(&w, APPEND(R(.id = "b"))), MNEME_CONFLICT);
  w.uid = NULL;
  w.expected_revision = 1;
  cf_answer *a = DO(&w, APPEND(R(.id = "b")));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_INT(a->written.conflict_revision, 0);
  CHECK_INT(a->written.header.revision, 0);
  w.expected_revision = -1;
  CHECK_INT(OK(DO(&w, IDS("a")))->written.header.revision, 0);
  CHECK_INT(OK(DO(&w, TOUCH(1)))->written.header.revision, 0);
  CHECK(!OK(DO(&w, DROP()))->written.existed);
  CHECK_STATUS(DO(&w, PUT(1, 1, R(.id = "a"))), MNEME_NOT_FOUND);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
}

TEST(c13_a_new_incarnation, "C-13 C-17") {
  mneme_write w = cf_write("s");
  w.plan.ttl_us = 100;
  cf_request(&w, "r", "1");
  OK(DO(&w, APPEND(R(.id = "a", .key = "k"), R(.id = "b")), SETTINGS("x")));
  w = cf_write("s");
  w.plan.settings_revision = 1;
  w.plan.ttl_us = 100;
  OK(DO(&w, IDS("b")));
  cf_tick(100);
  mneme_write again = cf_write("s");
  again.expected_revision = 0;
  again.existence = MNEME_MUST_NOT_EXIST;
  cf_answer *a = OK(DO(&again, APPEND(R(.id = "a", .key = "k"))));
  CHECK(!a->written.existed);
  CHECK_INT(a->written.header.revision, 1);
  CHECK_INT(a->written.header.settings_revision, 1);
  CHECK_INT(a->written.header.settings.size, 0);
  CHECK_INT(a->written.header.expire_us, 0);
  CHECK_INT(a->written.header.create_us, cf_now());
  CHECK_INT(a->written.header.memory_count, 1);
  CHECK_INT(a->written.refs[0].sequence, 1);
  CHECK(cf_same_uid(&a->written.header.uid, &again.new_uid));
  CHECK_TEXT(cf_log_text("s"), "");
  CHECK_TEXT(cf_ids(cf_all("s")), "a");
  /* SETTINGS and the empty commit start one too. */
  again = cf_write("s");
  again.plan.ttl_us = 5;
  OK(DO(&again, SETTINGS("y")));
  CHECK_INT(cf_header("s").revision, 2);
  CHECK_INT(cf_header("s").expire_us, cf_now() + 5);
  cf_tick(5);
  again = cf_write("s");
  OK(cf_do(&again, 0, NULL));
  CHECK_INT(cf_header("s").revision, 1);
  CHECK_INT(cf_header("s").settings.size, 0);
  CHECK_INT(cf_header("s").memory_count, 0);
}

/* The session's ttl counts from its last append; settings recompute it. */
TEST(c39_the_ttl_of_a_session, "C-39") {
  int64_t start = cf_now();
  mneme_write w = cf_write("s");
  w.plan.ttl_us = 1000;
  OK(cf_do(&w, 0, NULL));
  CHECK_INT(cf_header("s").append_us, 0);
  CHECK_INT(cf_header("s").expire_us, start + 1000);
  cf_tick(100);
  w.plan.ttl_us = 2000;
  OK(DO(&w, IDS("none"))); /* neither an append nor settings */
  CHECK_INT(cf_header("s").expire_us, start + 1000);
  OK(DO(&w, SETTINGS("")));
  CHECK_INT(cf_header("s").expire_us, start + 2000);
  OK(DO(&w, APPEND(R(.id = "a"))));
  CHECK_INT(cf_header("s").append_us, start + 100);
  CHECK_INT(cf_header("s").expire_us, start + 2100);
  cf_tick(100);
  w.plan.ttl_us = 3000;
  OK(DO(&w, TOUCH(1)));
  OK(DO(&w, APPEND(R(.id = "a", .policy = MNEME_CONFLICT_SKIP))));
  CHECK_INT(cf_header("s").append_us, start + 100);
  CHECK_INT(cf_header("s").expire_us, start + 2100);
  OK(DO(&w, SETTINGS("")));
  CHECK_INT(cf_header("s").append_us, start + 100);
  CHECK_INT(cf_header("s").expire_us, start + 3100);
  OK(DO(&w, APPEND(R(.id = "a", .policy = MNEME_CONFLICT_REPLACE))));
  CHECK_INT(cf_header("s").append_us, start + 200);
  CHECK_INT(cf_header("s").expire_us, start + 3200);
  cf_tick(100);
  OK(DO(&w, PUT(1, 5, R(.id = "a"))));
  CHECK_INT(cf_header("s").expire_us, start + 3300);
  OK(DO(&w, IDS("a")));
  CHECK_INT(cf_header("s").append_us, start + 300);
  w.plan.ttl_us = 0;
  OK(DO(&w, SETTINGS("")));
  CHECK_INT(cf_header("s").expire_us, 0);
}

/* Whether cf.ns has this session among what is due, at most once. */
static bool is_due(const char *session) {
  cf_answer *due = OK(cf_due(100000));
  int found = 0;
  for (size_t i = 0; i < due->header_count; i++)
    if (cf_same(due->headers[i].ns, cf.ns) &&
        cf_same(due->headers[i].session, cf_bytes(session)))
      found++;
  CHECK(found <= 1);
  return found > 0;
}

TEST(c25_due_names_what_to_sweep, "C-25") {
  mneme_write w = cf_write("lapses");
  w.plan.ttl_us = 100;
  OK(DO(&w, APPEND(R(.id = "a"))));
  w = cf_write("ages");
  w.plan.max_age_us = 200;
  OK(DO(&w, APPEND(R(.id = "a"), R(.id = "p", .pinned = true))));
  DO_IN("expires", APPEND(R(.id = "a", .ttl_us = 300), R(.id = "b")));
  DO_IN("stays", APPEND(R(.id = "a")));
  cf_tick(99);
  CHECK(!is_due("lapses") && !is_due("ages") && !is_due("expires"));
  cf_tick(1);
  CHECK(is_due("lapses") && !is_due("ages"));
  cf_tick(99);
  CHECK(!is_due("ages"));
  cf_tick(1);
  CHECK(is_due("ages") && !is_due("expires"));
  cf_tick(99);
  CHECK(!is_due("expires"));
  cf_tick(1);
  CHECK(is_due("lapses") && is_due("ages") && is_due("expires") && !is_due("stays"));
  CHECK(OK(cf_due(1))->header_count == 1);
  CHECK(OK(cf_due(2))->header_count == 2);
  cf_sweep();
  CHECK(!is_due("lapses") && !is_due("ages") && !is_due("expires"));
  CHECK_TEXT(cf_ids(cf_all("ages")), "p");
  CHECK_TEXT(cf_ids(cf_all("expires")), "b");
  /* A ttl that slides away is no longer due; one that is set later comes due. */
  DO_IN("slides", APPEND(R(.id = "a", .ttl_us = 100)));
  cf_tick(50);
  mneme_step slide = TOUCH(1);
  slide.slide_ttl = true;
  OK(cf_do(cf_plain("slides"), 1, &slide));
  cf_tick(99);
  CHECK(!is_due("slides"));
  DO_IN("slides", PUT(1, 1, R(.id = "a")));
  cf_tick(1000);
  CHECK(!is_due("slides"));
  DO_IN("slides", APPEND(R(.id = "a", .ttl_us = 7, .policy = MNEME_CONFLICT_REPLACE)));
  cf_tick(7);
  CHECK(is_due("slides"));
  CHECK_INT(cf_header("slides").memory_count, 0);
  CHECK_INT(DO_IN("slides", EXPIRE(10))->written.expired_count, 1);
  /* Settings that bring a ttl. */
  w = cf_write("stays");
  w.plan.ttl_us = 1;
  OK(DO(&w, SETTINGS("")));
  CHECK(is_due("stays"));
}

TEST(c34_expire_removes_the_expired, "C-34 C-16") {
  cf_rec recs[10];
  for (int i = 0; i < 10; i++)
    recs[i] = R(.id = cf_text("%d", i + 1), .ttl_us = i < 7 ? 100 : 0);
  mneme_step step = cf_step_append(10, recs);
  mneme_write w = cf_write("s");
  OK(cf_do(&w, 1, &step));
  OK(DO(&w, SETTINGS("x")));
  CHECK_INT(DO_IN("s", EXPIRE(100))->written.expired_count, 0); /* whatever the plan is of */
  cf_tick(100);
  mneme_header before = cf_header("s");
  CHECK_INT(before.memory_count, 3);
  mneme_write sweep = cf_write("s");
  sweep.plan.max_age_us = 7;
  sweep.plan.keep_system = true;
  sweep.plan.ttl_us = 9;
  cf_answer *a = OK(DO(&sweep, EXPIRE(3)));
  CHECK_INT(a->written.expired_count, 3);
  CHECK_INT(a->written.removed_count, 0);
  CHECK_INT(a->written.header.revision, 2);
  CHECK_INT(a->written.header.memory_count, 3);
  CHECK(is_due("s"));
  CHECK_INT(OK(DO(&sweep, EXPIRE(100)))->written.expired_count, 4);
  CHECK(!is_due("s"));
  CHECK_INT(OK(DO(&sweep, EXPIRE(100)))->written.expired_count, 0);
  mneme_header after = cf_header("s");
  CHECK_INT(after.revision, before.revision);
  CHECK_INT(after.update_us, before.update_us);
  CHECK_INT(after.append_us, before.append_us);
  CHECK_INT(after.expire_us, before.expire_us);
  CHECK_INT(after.max_age_us, 0);
  CHECK(!after.keep_system);
  CHECK_INT(after.last_sequence, 10);
  CHECK_TEXT(cf_ids(cf_all("s")), "8,9,10");
  /* The log has each of them once, at this revision. */
  cf_answer *log = OK(cf_log(cf_bytes("s"), &after.uid, 0));
  CHECK_INT(log->entry_count, after.mutations);
  bool seen[11] = {false};
  for (size_t i = 0; i < log->entry_count; i++) {
    CHECK_INT(log->entries[i].op, MNEME_LOG_EXPIRED);
    CHECK_INT(log->entries[i].revision, 2);
    for (int64_t s = log->entries[i].first; s <= log->entries[i].last; s++) {
      CHECK(s >= 1 && s <= 7 && !seen[s]);
      seen[s] = true;
    }
  }
  for (int i = 1; i <= 7; i++) CHECK(seen[i]);
}

TEST(c34_expire_drops_a_lapsed_session, "C-34 C-23 C-13") {
  mneme_write w = cf_write("s");
  w.plan.ttl_us = 100;
  cf_request(&w, "r", "1");
  OK(DO(&w, APPEND(R(.id = "a")), SETTINGS("x")));
  mneme_uid uid = cf_header("s").uid;
  mneme_bytes cursor = OK(cf_changes(cf.ns, cf_bytes("")))->bytes;
  cf_tick(100);
  cf_answer *a = DO_IN("s", EXPIRE(10));
  CHECK_INT(a->written.header.revision, 0);
  CHECK(!is_due("s"));
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  a = OK(cf_changes(cf.ns, cursor));
  bool told = false;
  for (size_t i = 0; i < a->header_count; i++)
    told = told || (a->headers[i].deleted && cf_same_uid(&a->headers[i].uid, &uid));
  CHECK(told);
  CHECK(OK(DO(&w, APPEND(R(.id = "a"))))->written.deduplicated);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  CHECK_INT(DO_IN("s", APPEND(R(.id = "a")))->written.header.revision, 1);
}
