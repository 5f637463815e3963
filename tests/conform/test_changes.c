/* changes and log: what search freshness, watch and export stand on. */
#include <string.h>

#include "conform.h"
#include "follow.h"

static follower *new_follower(void) {
  follower *f = cf_alloc(sizeof *f);
  f->ns = cf.ns;
  return f;
}

TEST(c23_changes_cover_every_commit, "C-23") {
  follower *f = new_follower();
  follow(f, 0);
  follow_check(f);
  DO_IN("a", APPEND(R(.id = "1"), R(.id = "2", .ttl_us = 10)));
  DO_IN("b", APPEND(R(.id = "1")));
  OK(cf_do(cf_plain("c"), 0, NULL));
  follow(f, 0);
  follow_check(f);
  DO_IN("b", APPEND(R(.id = "2")));
  follow(f, 0);
  follow_check(f);
  DO_IN("a", IDS("1"));
  DO_IN("c", SETTINGS("x"));
  DO_IN("b", DROP());
  follow(f, 0);
  follow_check(f);
  DO_IN("b", APPEND(R(.id = "1"))); /* a new incarnation */
  DO_IN("d", APPEND(R(.id = "1")));
  DO_IN("d", DROP());
  DO_IN("d", APPEND(R(.id = "1")));
  follow(f, 0);
  follow_check(f);
  cf_tick(10);
  DO_IN("a", EXPIRE(10));
  follow(f, 0);
  follow_check(f);
  /* One that starts now sees the same, and so does one with an older cursor. */
  follower *late = new_follower();
  follow(late, 0);
  follow_check(late);
  for (int i = 0; i < 20; i++) { /* nothing happens: told at most again, and it ends */
    size_t told = follow(late, 0);
    CHECK(told <= 10);
    follow_check(late);
  }
}

/* A lapsed session that a new incarnation replaces has gone like a dropped one. */
TEST(c23_lapsed_incarnations_are_told, "C-23 C-13") {
  follower *f = new_follower();
  mneme_write w = cf_write("s");
  w.plan.ttl_us = 10;
  OK(DO(&w, APPEND(R(.id = "a"))));
  follow(f, 0);
  follow_check(f);
  cf_tick(10);
  DO_IN("s", APPEND(R(.id = "a")));
  follow(f, 0);
  follow_check(f);
  CHECK_INT(f->count, 2);
  w = cf_write("t");
  w.plan.ttl_us = 10;
  OK(DO(&w, APPEND(R(.id = "a"))));
  follow(f, 0);
  cf_tick(10);
  cf_sweep();
  follow(f, 0);
  follow_check(f);
  CHECK_INT(f->count, 3);
}

/* A reader that says enough goes on from its cursor and misses nothing. */
TEST(c23_a_stopped_reader_goes_on, "C-23 C-18") {
  follower *f = new_follower();
  for (int i = 0; i < 30; i++) DO_IN(cf_text("s%d", i), APPEND(R(.id = "a")));
  follow(f, 7);
  follow(f, 0);
  follow_check(f);
  for (int i = 0; i < 30; i += 3) DO_IN(cf_text("s%d", i), APPEND(R(.id = "b")));
  for (int i = 1; i < 30; i += 3) DO_IN(cf_text("s%d", i), DROP());
  follow(f, 4);
  DO_IN("s0", APPEND(R(.id = "c")));
  follow(f, 0);
  follow_check(f);
}

TEST(c23_a_foreign_cursor_is_compacted, "C-23") {
  DO_IN("s", APPEND(R(.id = "a")));
  char noise[MNEME_CURSOR_MAX];
  for (int i = 0; i < MNEME_CURSOR_MAX; i++) noise[i] = (char)(i * 37 + 11);
  for (size_t size = 1; size <= MNEME_CURSOR_MAX; size++) {
    cf_context("a cursor of %zu bytes", size);
    cf_answer *a = cf_changes(cf.ns, (mneme_bytes){noise, size});
    CHECK_STATUS(a, MNEME_COMPACTED);
    CHECK_INT(a->header_count, 0);
  }
  /* A store that was begun anew knows nothing of the old one's cursors. */
  if (cf.type->caps & (MNEME_CAP_DURABLE | MNEME_CAP_SHARED)) return;
  cf_context("a cursor of a store that has gone");
  for (int i = 0; i < 5; i++) DO_IN("s", APPEND(R(.id = cf_text("m%d", i))));
  mneme_bytes cursor = OK(cf_changes(cf.ns, cf_bytes("")))->bytes;
  cf_reopen();
  DO_IN("t", APPEND(R(.id = "a")));
  CHECK_STATUS(cf_changes(cf.ns, cursor), MNEME_COMPACTED);
}

TEST(c24_the_log_tells_what_happened, "C-24") {
  cf_fill("s", "m", 10);
  CHECK_TEXT(cf_log_text("s"), "");
  DO_IN("s", PUT(2, 1, R(.id = "m2")));
  DO_IN("s", IDS("m3", "m4"));
  DO_IN("s", APPEND(R(.id = "x")));
  DO_IN("s", NEWEST(2, 0));
  DO_IN("s", FROM(8));
  mneme_write w = cf_write("s");
  w.plan.evict_above = w.plan.evict_to = 4;
  OK(DO(&w, APPEND(R(.id = "y"))));
  DO_IN("s", APPEND(R(.id = "y", .policy = MNEME_CONFLICT_REPLACE)), SEQUENCES(5));
  CHECK_TEXT(cf_log_text("s"),
             "2:UPDATED 2, 3:DELETED 3-4, 5:DELETED 10-11, 6:DELETED 8-9, 7:EVICTED 1-2, "
             "8:UPDATED 12, 8:DELETED 5");
  /* From a number on. */
  mneme_header h = cf_header("s");
  for (int64_t after = 0; after <= h.mutations + 1; after++) {
    cf_answer *a = OK(cf_log(cf_bytes("s"), &h.uid, after));
    int64_t want = after > h.mutations ? 0 : h.mutations - after;
    CHECK_INT(a->entry_count, want);
    for (size_t i = 0; i < a->entry_count; i++)
      CHECK_INT(a->entries[i].number, after + 1 + (int64_t)i);
  }
  mneme_uid stranger = cf_new_uid();
  CHECK_STATUS(cf_log(cf_bytes("s"), &stranger, 0), MNEME_CONFLICT);
  CHECK_STATUS(cf_log(cf_bytes("none"), &stranger, 0), MNEME_CONFLICT);
  DO_IN("s", DROP());
  DO_IN("s", APPEND(R(.id = "a")));
  CHECK_STATUS(cf_log(cf_bytes("s"), &h.uid, 0), MNEME_CONFLICT);
}
