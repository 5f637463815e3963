/* PUT, the REMOVE steps, SET_SETTINGS, TOUCH and DROP. */
#include <string.h>

#include "conform.h"

TEST(c30_put_replaces_one_memory, "C-30 C-40") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka", .body = "1", .tokens = 5),
                    R(.id = "b", .key = "kb"), R(.id = "c")));
  DO_IN("s", TOUCH(1));
  mneme_record old = cf_all("s")->records[0];
  cf_tick(CF_SECOND);
  cf_answer *a = DO_IN("s", PUT(1, 1, R(.id = "ignored", .key = "new", .body = "2",
                                        .pinned = true, .tokens = 9, .kind = "fact")));
  CHECK_INT(a->written.ref_count, 1);
  CHECK_BYTES(a->written.refs[0].id, "a");
  CHECK_INT(a->written.refs[0].sequence, 1);
  CHECK_INT(a->written.refs[0].revision, 2);
  CHECK(!a->written.refs[0].created);
  CHECK_INT(a->written.header.revision, 2);
  CHECK_INT(a->written.header.last_sequence, 3);
  CHECK_INT(a->written.header.memory_count, 3);
  CHECK_INT(a->written.header.token_count, 9);
  CHECK_INT(a->written.header.append_us, cf_now());
  const mneme_record *r = &cf_all("s")->records[0];
  CHECK_BYTES(r->id, "a");
  CHECK_BYTES(r->key, "new");
  CHECK_BYTES(r->body, "2");
  CHECK_BYTES(r->kind, "fact");
  CHECK(r->pinned);
  CHECK_INT(r->sequence, 1);
  CHECK_INT(r->revision, 2);
  CHECK_INT(r->create_us, old.create_us);
  CHECK_INT(r->update_us, cf_now());
  CHECK_INT(r->access_us, old.access_us);
  CHECK_INT(r->access_count, 1);
  CHECK_TEXT(cf_log_text("s"), "2:UPDATED 1");
  /* The old key is free, the new one is taken, the own one may stay. */
  CHECK_STATUS(DO(cf_plain("s"), PUT(3, 1, R(.id = "c", .key = "new"))), MNEME_EXISTS);
  CHECK_STATUS(DO(cf_plain("s"), PUT(3, 1, R(.id = "c", .key = "kb"))), MNEME_EXISTS);
  DO_IN("s", PUT(3, 1, R(.id = "c", .key = "ka")));
  DO_IN("s", PUT(1, 2, R(.id = "a", .key = "new", .body = "3")));
  DO_IN("s", PUT(1, 4, R(.id = "a")));
  DO_IN("s", APPEND(R(.id = "d", .key = "new")));
  CHECK_INT(cf_header("s").revision, 6);
}

TEST(c30_put_is_guarded_by_the_memory, "C-30 C-42 C-08") {
  DO_IN("s", APPEND(R(.id = "a"), R(.id = "b")));
  DO_IN("s", PUT(1, 1, R(.id = "a", .body = "2")));
  DO_IN("s", APPEND(R(.id = "c", .ttl_us = 5)));
  const char *before = cf_snapshot("s");
  cf_answer *a = DO(cf_plain("s"), PUT(1, 1, R(.id = "a", .body = "3")));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_INT(a->written.conflict_revision, 2);
  CHECK_INT(a->written.header.revision, 3);
  CHECK_STATUS(DO(cf_plain("s"), PUT(1, 3, R(.id = "a"))), MNEME_CONFLICT);
  CHECK_STATUS(DO(cf_plain("s"), PUT(4, 1, R(.id = "d"))), MNEME_NOT_FOUND);
  CHECK_TEXT(cf_snapshot("s"), before);
  cf_tick(5);
  CHECK_STATUS(DO(cf_plain("s"), PUT(3, 3, R(.id = "c"))), MNEME_NOT_FOUND);
  DO_IN("s", SEQUENCES(2));
  CHECK_STATUS(DO(cf_plain("s"), PUT(2, 1, R(.id = "b"))), MNEME_NOT_FOUND);
  OK(DO(cf_plain("s"), PUT(1, 2, R(.id = "a"))));
}

TEST(c31_removes_by_id_key_and_sequence, "C-31") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka", .tokens = 1), R(.id = "b", .tokens = 2),
                    R(.id = "c", .key = "kc", .tokens = 4), R(.id = "d", .tokens = 8),
                    R(.id = "e", .tokens = 16), R(.id = "f", .tokens = 32)));
  cf_answer *a = DO_IN("s", IDS("d", "none", "a"));
  CHECK_INT(a->written.removed_count, 2);
  CHECK_INT(a->written.removed_count_listed, 0);
  CHECK_INT(a->written.header.memory_count, 4);
  CHECK_INT(a->written.header.token_count, 54);
  CHECK_TEXT(cf_ids(cf_all("s")), "b,c,e,f");
  a = DO_IN("s", KEYS("ka", "kc", "none"));
  CHECK_INT(a->written.removed_count, 1);
  CHECK_TEXT(cf_ids(cf_all("s")), "b,e,f");
  a = DO_IN("s", SEQUENCES(1, 2, 4, 6, 9));
  CHECK_INT(a->written.removed_count, 2);
  CHECK_TEXT(cf_ids(cf_all("s")), "e");
  CHECK_INT(cf_header("s").token_count, 16);
  CHECK_TEXT(cf_log_text("s"),
             "2:DELETED 1, 2:DELETED 4, 3:DELETED 3, 4:DELETED 2, 4:DELETED 6");
}

/* What was judged on a read goes only while it is what was read. */
TEST(c49_removes_what_has_not_changed_since, "C-49 C-31 C-16") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka"), R(.id = "b"), R(.id = "c"), R(.id = "d"),
                    R(.id = "e", .ttl_us = 5)));
  DO_IN("s", PUT(2, 1, R(.id = "b", .body = "new"))); /* revision 2 */
  DO_IN("s", TOUCH(3));                               /* bumps none */
  DO_IN("s", IDS("d"));                               /* revision 3 */
  cf_tick(5);
  cf_answer *a = DO_IN("s", JUDGED({1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}));
  CHECK_INT(a->written.removed_count, 2);
  CHECK_INT(a->written.header.revision, 4);
  CHECK_INT(a->written.header.memory_count, 1);
  CHECK_TEXT(cf_ids(cf_all("s")), "b");
  CHECK_BYTES(cf_all("s")->records[0].body, "new");
  /* Neither what was nor what will be: the revision itself. */
  CHECK_INT(DO_IN("s", JUDGED({2, 1}, {3, 1}))->written.removed_count, 0);
  CHECK_INT(DO_IN("s", JUDGED({2, 3}))->written.removed_count, 0);
  CHECK_INT(cf_header("s").revision, 4); /* nothing changed: no revision */
  CHECK_INT(DO_IN("none", JUDGED({1, 1}))->written.removed_count, 0);
  /* A new memory of an old name is another memory. */
  DO_IN("s", APPEND(R(.id = "a", .key = "ka")));
  CHECK_INT(DO_IN("s", JUDGED({1, 1}))->written.removed_count, 0);
  CHECK_INT(DO_IN("s", JUDGED({2, 2}, {6, 5}))->written.removed_count, 2);
  CHECK_INT(cf_header("s").memory_count, 0);
}

/* Each is told apart by itself, and the answer lists what went. */
TEST(c49_answers_what_went, "C-49 C-41 C-44") {
  DO_IN("s", APPEND(R(.id = "a", .body = "1"), R(.id = "b", .body = "2"),
                    R(.id = "c", .body = "3")));
  DO_IN("s", PUT(1, 1, R(.id = "a", .body = "4")));
  mneme_write w = cf_write("s");
  w.want_removed = true;
  cf_request(&w, "r", "1");
  for (int repeat = 0; repeat < 2; repeat++) {
    cf_answer *a = OK(DO(&w, JUDGED({1, 1}, {2, 1}, {3, 2})));
    CHECK_INT(a->written.deduplicated, repeat);
    CHECK_INT(a->written.removed_count, 1);
    CHECK_INT(a->written.removed_count_listed, 1);
    CHECK_BYTES(a->written.removed[0].id, "b");
  }
  /* Within one commit: what an earlier step has changed counts as changed. */
  DO_IN("s", PUT(1, 2, R(.id = "a", .body = "5")), JUDGED({1, 2}, {3, 1}));
  CHECK_TEXT(cf_ids(cf_all("s")), "a");
  CHECK_TEXT(cf_log_text("s"), "2:UPDATED 1, 3:DELETED 2, 4:UPDATED 1, 4:DELETED 3");
}

/* Deleted means gone, by whatever name it is asked for. */
TEST(c31_removed_is_gone_by_every_name, "C-31 C-35") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka"), R(.id = "b", .key = "kb"),
                    R(.id = "c", .key = "kc"), R(.id = "d", .key = "kd"),
                    R(.id = "e", .key = "ke"), R(.id = "f", .key = "kf")));
  DO_IN("s", IDS("a"));
  DO_IN("s", KEYS("kb"));
  DO_IN("s", SEQUENCES(3));
  DO_IN("s", NEWEST(1, 0));
  DO_IN("s", FROM(5));
  mneme_read r = cf_reading("s");
  const mneme_bytes ids[] = {cf_bytes("a"), cf_bytes("b"), cf_bytes("c"), cf_bytes("d"),
                             cf_bytes("e"), cf_bytes("f")};
  const mneme_bytes keys[] = {cf_bytes("ka"), cf_bytes("kb"), cf_bytes("kc"), cf_bytes("kd"),
                              cf_bytes("ke"), cf_bytes("kf")};
  r.select = MNEME_SELECT_IDS;
  r.names = ids;
  r.name_count = 6;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "d");
  r.select = MNEME_SELECT_NAMED_KEYS;
  r.names = keys;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "d");
  r.select = MNEME_SELECT_KEYS;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "d");
  CHECK_TEXT(cf_ids(cf_all("s")), "d");
  CHECK_INT(DO_IN("s", KEYS("ka", "kb", "kc"), IDS("e"))->written.removed_count, 0);
  cf_answer *a = DO_IN("s", APPEND(R(.id = "a", .key = "kc"), R(.id = "c", .key = "ka")));
  CHECK_INT(a->written.refs[0].sequence, 7);
  CHECK(a->written.refs[1].created);
  r.select = MNEME_SELECT_KEYS;
  CHECK_TEXT(cf_ids(OK(cf_read(&r))), "c,a,d");
}

TEST(c31_remove_from, "C-31") {
  cf_fill("s", "m", 10);
  DO_IN("s", SEQUENCES(4, 8));
  CHECK_INT(DO_IN("s", FROM(7))->written.removed_count, 3);
  CHECK_TEXT(cf_sequences(cf_all("s")), "1,2,3,5,6");
  CHECK_INT(DO_IN("s", FROM(7))->written.removed_count, 0);
  CHECK_INT(DO_IN("s", FROM(4))->written.removed_count, 2);
  CHECK_INT(DO_IN("s", FROM(0))->written.removed_count, 3);
  CHECK_INT(cf_header("s").memory_count, 0);
  CHECK_INT(cf_header("s").byte_count, 0);
  CHECK_INT(cf_header("s").last_sequence, 10);
}

TEST(c31_remove_newest, "C-31") {
  cf_rec recs[6];
  for (int i = 0; i < 6; i++) /* 10 bytes each */
    recs[i] = R(.id = cf_text("%d", i + 1), .key = cf_text("k%d", i + 1), .kind = "k",
                .role = "r", .author = "a", .source = "s", .body = "abc");
  mneme_step step = cf_step_append(6, recs);
  OK(cf_do(cf_plain("s"), 1, &step));
  CHECK_INT(cf_header("s").byte_count, 60);
  cf_answer *a = DO_IN("s", NEWEST(1, 0));
  CHECK_INT(a->written.removed_count, 1);
  CHECK(!a->written.truncated);
  a = DO_IN("s", NEWEST(3, 20));
  CHECK_INT(a->written.removed_count, 2);
  CHECK(a->written.truncated);
  CHECK_TEXT(cf_sequences(cf_all("s")), "1,2,3");
  a = DO_IN("s", NEWEST(2, 1)); /* at least one */
  CHECK_INT(a->written.removed_count, 1);
  CHECK(a->written.truncated);
  a = DO_IN("s", NEWEST(1, 10));
  CHECK_INT(a->written.removed_count, 1);
  CHECK(!a->written.truncated);
  a = DO_IN("s", NEWEST(5, 10));
  CHECK_INT(a->written.removed_count, 1);
  CHECK(!a->written.truncated);
  CHECK_INT(DO_IN("s", NEWEST(5, 10))->written.removed_count, 0);
}

TEST(c41_removed_records_are_answered, "C-41") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka", .body = "1", .tokens = 3), R(.id = "b"),
                    R(.id = "c", .body = "3"), R(.id = "d"), R(.id = "e", .body = "5")));
  const cf_answer *all = cf_all("s");
  mneme_write w = cf_write("s");
  w.want_removed = true;
  cf_request(&w, "pop", "1");
  cf_answer *a = OK(DO(&w, NEWEST(1, 0), IDS("c", "zz"), KEYS("ka")));
  for (int repeat = 0; repeat < 2; repeat++) {
    cf_context("repeat %d", repeat);
    CHECK_INT(a->written.removed_count, 3);
    CHECK_INT(a->written.removed_count_listed, 3);
    const int64_t want[] = {1, 3, 5};
    for (int i = 0; i < 3; i++) {
      const mneme_record *got = &a->written.removed[i], *was = &all->records[want[i] - 1];
      CHECK_INT(got->sequence, want[i]);
      CHECK(cf_same(got->id, was->id) && cf_same(got->body, was->body));
      CHECK(cf_same(got->key, was->key));
      CHECK_INT(got->token_count, was->token_count);
      CHECK_INT(got->revision, 1);
      CHECK_INT(got->create_us, was->create_us);
      CHECK_INT(got->crc, was->crc);
    }
    DO_IN("s", APPEND(R(.id = cf_text("new%d", repeat))));
    a = OK(DO(&w, NEWEST(1, 0), IDS("c", "zz"), KEYS("ka")));
    CHECK(a->written.deduplicated);
  }
  CHECK_TEXT(cf_ids(cf_all("s")), "b,d,new0,new1");
  /* Even when the session is gone, and by request_get. */
  DO_IN("s", DROP());
  CHECK_INT(OK(cf_request_get(&w))->written.removed_count_listed, 3);
  CHECK_BYTES(OK(cf_request_get(&w))->written.removed[2].body, "5");
}

TEST(c32_settings_are_set_as_a_whole, "C-32") {
  DO_IN("s", APPEND(R(.id = "a")));
  CHECK_INT(cf_header("s").settings_revision, 1);
  cf_tick(CF_SECOND);
  cf_answer *a = DO_IN("s", SETTINGS("one"));
  CHECK_INT(a->written.header.revision, 2);
  CHECK_INT(a->written.header.settings_revision, 2);
  CHECK_BYTES(a->written.header.settings, "one");
  CHECK_INT(a->written.header.update_us, cf_now());
  mneme_write w = cf_write("s");
  w.plan.settings_revision = 2;
  CHECK_INT(OK(DO(&w, APPEND(R(.id = "b"))))->written.header.settings_revision, 2);
  CHECK_INT(OK(DO(&w, SETTINGS("one")))->written.header.settings_revision, 4);
  w.plan.settings_revision = 4;
  char *large = cf_alloc(MNEME_SETTINGS_MAX);
  memset(large, 0xee, MNEME_SETTINGS_MAX);
  mneme_step step = cf_step_settings((mneme_bytes){large, MNEME_SETTINGS_MAX});
  OK(cf_do(&w, 1, &step));
  mneme_header h = cf_header("s");
  CHECK_INT(h.settings.size, MNEME_SETTINGS_MAX);
  CHECK(memcmp(h.settings.data, large, MNEME_SETTINGS_MAX) == 0);
  w.plan.settings_revision = 5;
  w.expected_settings_revision = 5;
  a = OK(DO(&w, SETTINGS("")));
  CHECK_INT(a->written.header.settings_revision, 6);
  CHECK_INT(a->written.header.settings.size, 0);
  CHECK_INT(a->written.header.memory_count, 2);
}

TEST(c07_touch_changes_the_access_alone, "C-07 C-16") {
  DO_IN("s", APPEND(R(.id = "a", .ttl_us = 100), R(.id = "b"), R(.id = "c", .ttl_us = 50),
                    R(.id = "d")));
  DO_IN("s", IDS("d"));
  mneme_header before = cf_header("s");
  const char *log = cf_log_text("s");
  cf_answer *changes = OK(cf_changes(cf.ns, cf_bytes("")));
  cf_tick(10);
  cf_answer *a = DO_IN("s", TOUCH(1, 2, 4, 77));
  CHECK_INT(a->written.header.revision, before.revision);
  CHECK(a->written.existed);
  cf_tick(10);
  mneme_step slide = TOUCH(1, 2, 3);
  slide.slide_ttl = true;
  OK(cf_do(cf_plain("s"), 1, &slide));
  mneme_header after = cf_header("s");
  CHECK_INT(after.revision, before.revision);
  CHECK_INT(after.mutations, before.mutations);
  CHECK_INT(after.update_us, before.update_us);
  CHECK_INT(after.append_us, before.append_us);
  CHECK_INT(after.memory_count, 3);
  CHECK_TEXT(cf_log_text("s"), log);
  cf_answer *all = cf_all("s");
  const mneme_record *r = all->records;
  CHECK_INT(r[0].access_count, 2);
  CHECK_INT(r[0].access_us, cf_now());
  CHECK_INT(r[0].expire_us, cf_now() + 100);
  CHECK_INT(r[0].revision, 1);
  CHECK_INT(r[0].update_us, before.create_us);
  CHECK_INT(r[1].access_count, 2);
  CHECK_INT(r[1].expire_us, 0);
  CHECK_INT(r[2].access_count, 1);
  CHECK_INT(r[2].expire_us, cf_now() + 50);
  (void)changes;
  /* What has expired can't be slid back. */
  cf_tick(50);
  OK(cf_do(cf_plain("s"), 1, &slide));
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b");
  CHECK_INT(cf_all("s")->records[0].access_count, 3);
}

TEST(c33_drop_takes_all, "C-33") {
  mneme_write w = cf_write("s");
  cf_request(&w, "first", "1");
  OK(DO(&w, APPEND(R(.id = "a", .key = "k"), R(.id = "b"))));
  DO_IN("s", IDS("b"));
  DO_IN("s", APPEND(R(.id = "c", .ttl_us = 5)), SETTINGS("x"));
  cf_tick(5);
  mneme_header old = cf_header("s");
  mneme_write drop = cf_write("s");
  drop.plan.settings_revision = old.settings_revision;
  cf_answer *a = OK(DO(&drop, DROP()));
  CHECK_INT(a->written.removed_count, 1); /* the live ones */
  CHECK(a->written.existed);
  CHECK_INT(a->written.header.revision, 0);
  CHECK(cf_zero_uid(&a->written.header.uid));
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  CHECK_INT(cf_all("s")->record_count, 0);
  CHECK_STATUS(cf_log(cf_bytes("s"), &old.uid, 0), MNEME_CONFLICT);
  /* A late retry doesn't bring it back; a new write starts anew. */
  CHECK(OK(DO(&w, APPEND(R(.id = "a", .key = "k"), R(.id = "b"))))->written.deduplicated);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  mneme_write again = cf_write("s");
  a = OK(DO(&again, APPEND(R(.id = "b", .key = "k"))));
  CHECK(!a->written.existed);
  CHECK_INT(a->written.header.revision, 1);
  CHECK_INT(a->written.header.settings_revision, 1);
  CHECK_INT(a->written.header.last_sequence, 1);
  CHECK_INT(a->written.header.mutations, 0);
  CHECK_INT(a->written.header.settings.size, 0);
  CHECK(cf_same_uid(&a->written.header.uid, &again.new_uid));
  CHECK_TEXT(cf_log_text("s"), "");
  CHECK(OK(DO(&w, APPEND(R(.id = "a", .key = "k"), R(.id = "b"))))->written.deduplicated);
  CHECK_TEXT(cf_ids(cf_all("s")), "b");
}
