/* Eviction: triggers and targets in memories and tokens, by strategy, and the
 * survivors to the last one. */
#include <string.h>

#include "conform.h"

static mneme_write limited(int64_t above, int64_t to, mneme_evict strategy) {
  mneme_write w = cf_write("s");
  w.plan.evict_above = above;
  w.plan.evict_to = to;
  w.plan.strategy = strategy;
  return w;
}

static mneme_write token_limited(int64_t above, int64_t to, mneme_evict strategy) {
  mneme_write w = cf_write("s");
  w.plan.evict_above_tokens = above;
  w.plan.evict_to_tokens = to;
  w.plan.strategy = strategy;
  return w;
}

TEST(c14_fifo_keeps_the_newest, "C-14") {
  mneme_write w = limited(3, 3, MNEME_EVICT_FIFO);
  for (int i = 1; i <= 3; i++)
    CHECK_INT(OK(DO(&w, APPEND(R(.id = cf_text("%d", i)))))->written.evicted_count, 0);
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "4"), R(.id = "5"))));
  CHECK_INT(a->written.evicted_count, 2);
  CHECK_INT(a->written.removed_count, 0);
  CHECK_INT(a->written.header.memory_count, 3);
  CHECK_INT(a->written.header.revision, 4);
  CHECK_TEXT(cf_ids(cf_all("s")), "3,4,5");
  CHECK_TEXT(cf_log_text("s"), "4:EVICTED 1-2");
  /* A key and an id that went are free. */
  OK(DO(&w, APPEND(R(.id = "1"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "4,5,1");
  /* No append, no eviction. */
  w = limited(1, 1, MNEME_EVICT_FIFO);
  CHECK_INT(OK(DO(&w, TOUCH(5)))->written.evicted_count, 0);
  CHECK_INT(OK(DO(&w, SETTINGS("")))->written.evicted_count, 0);
  a = OK(DO(&w, APPEND(R(.id = "4", .policy = MNEME_CONFLICT_SKIP))));
  CHECK_INT(a->written.evicted_count, 0);
  CHECK_TEXT(cf_ids(cf_all("s")), "4,5,1");
  a = OK(DO(&w, PUT(6, 5, R(.id = "1")))); /* PUT included */
  CHECK_INT(a->written.evicted_count, 2);
  CHECK_TEXT(cf_ids(cf_all("s")), "1");
}

TEST(c14_trigger_and_target, "C-14") {
  mneme_write w = limited(10, 4, MNEME_EVICT_FIFO);
  cf_fill("s", "m", 9);
  CHECK_INT(OK(DO(&w, APPEND(R(.id = "x"))))->written.evicted_count, 0);
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "y"))));
  CHECK_INT(a->written.evicted_count, 7);
  CHECK_TEXT(cf_sequences(cf_all("s")), "8,9,10,11");
  a = OK(DO(&w, APPEND(R(.id = "z"))));
  CHECK_INT(a->written.evicted_count, 0);
  CHECK_INT(a->written.header.memory_count, 5);
}

/* A batch larger than the limit gets its sequences, and the oldest of it go. */
TEST(c14_batch_above_the_limit, "C-14 C-15 C-17") {
  mneme_write w = limited(2, 2, MNEME_EVICT_FIFO);
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "a"), R(.id = "b"), R(.id = "c"), R(.id = "d"))));
  CHECK_INT(a->written.evicted_count, 2);
  CHECK_INT(a->written.ref_count, 4);
  CHECK_INT(a->written.refs[0].sequence, 1);
  CHECK(a->written.refs[0].created);
  CHECK_INT(a->written.header.last_sequence, 4);
  CHECK_TEXT(cf_ids(cf_all("s")), "c,d");
  CHECK_TEXT(cf_log_text("s"), "1:EVICTED 1-2");
}

TEST(c14_least_important_goes_first, "C-14") {
  cf_rec recs[] = {R(.id = "a", .importance = 0.9), R(.id = "b", .importance = 0.2),
                   R(.id = "c"), R(.id = "d", .importance = 0.5),
                   R(.id = "e", .zero_importance = true), R(.id = "f", .importance = 0.2),
                   R(.id = "g", .importance = 1.0)};
  mneme_step step = cf_step_append(7, recs);
  OK(cf_do(cf_plain("s"), 1, &step));
  static const char *const survivors[] = {"a,b,c,d,f,g,h1", "a,c,d,f,g,h1,h2",
                                          "a,c,d,g,h1,h2,h3", "a,d,g,h1,h2,h3,h4",
                                          "a,g,h1,h2,h3,h4,h5"};
  for (int i = 0; i < 5; i++) {
    cf_context("round %d", i);
    mneme_write w = limited(7, 7, MNEME_EVICT_LEAST_IMPORTANT);
    OK(DO(&w, APPEND(R(.id = cf_text("h%d", i + 1), .importance = 0.7))));
    CHECK_TEXT(cf_ids(cf_all("s")), survivors[i]);
  }
}

/* The newest stays, however unimportant. */
TEST(c15_the_newest_stays, "C-15") {
  mneme_write w = limited(2, 1, MNEME_EVICT_LEAST_IMPORTANT);
  OK(DO(&w, APPEND(R(.id = "a", .importance = 0.9), R(.id = "b", .importance = 0.8))));
  OK(DO(&w, APPEND(R(.id = "c", .zero_importance = true))));
  CHECK_TEXT(cf_ids(cf_all("s")), "c");
  w = token_limited(10, 5, MNEME_EVICT_FIFO);
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "d", .tokens = 500))));
  CHECK_INT(a->written.evicted_count, 1);
  CHECK_TEXT(cf_ids(cf_all("s")), "d");
  a = OK(DO(&w, APPEND(R(.id = "e", .tokens = 600))));
  CHECK_TEXT(cf_ids(cf_all("s")), "e");
  /* The highest sequence that lives is meant, not the last one written. */
  DO_IN("s", APPEND(R(.id = "f"), R(.id = "g")));
  DO_IN("s", IDS("g"));
  w = limited(1, 1, MNEME_EVICT_FIFO);
  OK(DO(&w, APPEND(R(.id = "e", .policy = MNEME_CONFLICT_REPLACE))));
  CHECK_TEXT(cf_ids(cf_all("s")), "f");
}

TEST(c14_pinned_and_system_stay, "C-14 C-12") {
  DO_IN("s", APPEND(R(.id = "p", .pinned = true), R(.id = "s", .role = "system"),
                    R(.id = "a"), R(.id = "b")));
  mneme_write w = limited(4, 3, MNEME_EVICT_FIFO);
  w.plan.keep_system = true;
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "c"))));
  CHECK_INT(a->written.evicted_count, 2);
  CHECK(a->written.header.keep_system);
  CHECK_TEXT(cf_ids(cf_all("s")), "p,s,c");
  const char *before = cf_snapshot("s");
  w = limited(2, 2, MNEME_EVICT_FIFO);
  w.plan.keep_system = true;
  CHECK_STATUS(DO(&w, APPEND(R(.id = "d"))), MNEME_SESSION_FULL);
  CHECK_TEXT(cf_snapshot("s"), before);
  w.plan.keep_system = false;
  OK(DO(&w, APPEND(R(.id = "d"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "p,d");
  /* With LEAST_IMPORTANT too. */
  w = limited(2, 2, MNEME_EVICT_LEAST_IMPORTANT);
  OK(DO(&w, APPEND(R(.id = "e"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "p,e");
}

TEST(c14_pinned_stay_by_importance, "C-14") {
  DO_IN("s", APPEND(R(.id = "a", .importance = 0.9), R(.id = "p", .pinned = true,
                                                       .zero_importance = true),
                    R(.id = "s", .role = "system", .importance = 0.1),
                    R(.id = "b", .importance = 0.8)));
  mneme_write w = limited(4, 3, MNEME_EVICT_LEAST_IMPORTANT);
  w.plan.keep_system = true;
  OK(DO(&w, APPEND(R(.id = "c", .importance = 0.7))));
  CHECK_TEXT(cf_ids(cf_all("s")), "p,s,c");
  /* Pinned and unpinned by an update, while the engine may hold an order of them. */
  OK(DO(&w, PUT(5, 2, R(.id = "c", .pinned = true))));
  OK(DO(&w, PUT(2, 1, R(.id = "p", .importance = 0.2))));
  OK(DO(&w, APPEND(R(.id = "d"))));
  w.plan.evict_above = w.plan.evict_to = 4;
  OK(DO(&w, APPEND(R(.id = "e"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "s,c,d,e");
}

TEST(c12_full_of_pinned, "C-12 C-08") {
  DO_IN("s", APPEND(R(.id = "a", .pinned = true, .tokens = 4),
                    R(.id = "b", .pinned = true, .tokens = 4)));
  const char *before = cf_snapshot("s");
  mneme_write w = limited(2, 2, MNEME_EVICT_FIFO);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "c"))), MNEME_SESSION_FULL);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "c", .pinned = true))), MNEME_SESSION_FULL);
  w = token_limited(9, 9, MNEME_EVICT_FIFO);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "c", .tokens = 2))), MNEME_SESSION_FULL);
  w = token_limited(8, 1, MNEME_EVICT_LEAST_IMPORTANT);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "c", .tokens = 1))), MNEME_SESSION_FULL);
  CHECK_TEXT(cf_snapshot("s"), before);
  /* It isn't the pinned ones alone that are in the way: the newest is too large. */
  w = token_limited(9, 9, MNEME_EVICT_FIFO);
  OK(DO(&w, APPEND(R(.id = "c", .tokens = 10))));
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,c");
  w = limited(3, 3, MNEME_EVICT_FIFO);
  OK(DO(&w, APPEND(R(.id = "d"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,d");
}

TEST(c12_reject_refuses, "C-12 C-08") {
  mneme_write w = limited(2, 1, MNEME_EVICT_REJECT);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "a"), R(.id = "b"), R(.id = "c"))), MNEME_SESSION_FULL);
  OK(DO(&w, APPEND(R(.id = "a"), R(.id = "b"))));
  const char *before = cf_snapshot("s");
  CHECK_STATUS(DO(&w, APPEND(R(.id = "c"))), MNEME_SESSION_FULL);
  CHECK_TEXT(cf_snapshot("s"), before);
  OK(DO(&w, APPEND(R(.id = "a", .body = "2", .policy = MNEME_CONFLICT_REPLACE))));
  OK(DO(&w, IDS("b"), APPEND(R(.id = "c"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "a,c");
  /* What has expired no longer takes room. */
  OK(DO(&w, IDS("c"), APPEND(R(.id = "e", .ttl_us = 10))));
  cf_tick(9);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "f"))), MNEME_SESSION_FULL);
  cf_tick(1);
  OK(DO(&w, APPEND(R(.id = "f"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "a,f");
  w = token_limited(5, 5, MNEME_EVICT_REJECT);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "g", .tokens = 6))), MNEME_SESSION_FULL);
  OK(DO(&w, APPEND(R(.id = "g", .tokens = 5))));
  CHECK_STATUS(DO(&w, APPEND(R(.id = "h", .tokens = 1))), MNEME_SESSION_FULL);
  OK(DO(&w, APPEND(R(.id = "h"))));
}

TEST(c14_tokens, "C-14") {
  mneme_write w = token_limited(10, 6, MNEME_EVICT_FIFO);
  OK(DO(&w, APPEND(R(.id = "a", .tokens = 3), R(.id = "b", .tokens = 3),
                   R(.id = "c", .tokens = 4))));
  CHECK_INT(cf_header("s").token_count, 10);
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "d", .tokens = 1))));
  CHECK_INT(a->written.evicted_count, 2);
  CHECK_TEXT(cf_ids(cf_all("s")), "c,d");
  CHECK_INT(a->written.header.token_count, 5);
  a = OK(DO(&w, PUT(4, 2, R(.id = "d", .tokens = 7))));
  CHECK_INT(a->written.evicted_count, 1);
  CHECK_INT(a->written.header.token_count, 7);
  CHECK_TEXT(cf_ids(cf_all("s")), "d");
}

TEST(c14_both_limits_at_once, "C-14") {
  DO_IN("s", APPEND(R(.id = "a", .tokens = 1), R(.id = "b", .tokens = 1),
                    R(.id = "c", .tokens = 8), R(.id = "d", .tokens = 8)));
  mneme_write w = limited(4, 4, MNEME_EVICT_FIFO);
  w.plan.evict_above_tokens = 12;
  w.plan.evict_to_tokens = 11;
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "e", .tokens = 1))));
  CHECK_INT(a->written.evicted_count, 3); /* a for the count, b and c for tokens */
  CHECK_TEXT(cf_ids(cf_all("s")), "d,e");
  CHECK_TEXT(cf_log_text("s"), "2:EVICTED 1-3");
  /* A key that is replaced counts once. */
  w.plan.evict_above = w.plan.evict_to = 2;
  OK(DO(&w, APPEND(R(.id = "d", .tokens = 9, .policy = MNEME_CONFLICT_REPLACE))));
  CHECK_TEXT(cf_ids(cf_all("s")), "d,e");
  CHECK_INT(cf_header("s").token_count, 10);
}
