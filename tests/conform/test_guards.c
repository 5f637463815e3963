/* The guards of a write: each by itself, and their order. */
#include <string.h>

#include "conform.h"

TEST(c11_expected_revision, "C-11 C-42 C-08") {
  mneme_write w = cf_write("s");
  w.expected_revision = 1;
  cf_answer *a = DO(&w, APPEND(R(.id = "a")));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_INT(a->written.conflict_revision, 0);
  CHECK_INT(a->written.header.revision, 0);
  w.expected_revision = 0;
  OK(DO(&w, APPEND(R(.id = "a"))));
  a = DO(&w, APPEND(R(.id = "b")));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_INT(a->written.conflict_revision, 1);
  CHECK_INT(a->written.header.revision, 1);
  CHECK(cf_same_uid(&a->written.header.uid, &w.new_uid));
  w.expected_revision = 1;
  OK(DO(&w, APPEND(R(.id = "b"))));
  const char *before = cf_snapshot("s");
  const int64_t wrong[] = {0, 1, 3, 99};
  for (int i = 0; i < 4; i++) {
    w.expected_revision = wrong[i];
    a = DO(&w, APPEND(R(.id = "c")), SETTINGS("x"));
    CHECK_STATUS(a, MNEME_CONFLICT);
    CHECK_INT(a->written.conflict_revision, 2);
    CHECK_INT(a->written.header.last_sequence, 2);
    CHECK_STATUS(DO(&w, DROP()), MNEME_CONFLICT);
    CHECK_STATUS(DO(&w, IDS("none")), MNEME_CONFLICT);
  }
  CHECK_TEXT(cf_snapshot("s"), before);
  w.expected_revision = 2;
  OK(DO(&w, DROP()));
  w.expected_revision = 0;
  CHECK_INT(OK(DO(&w, IDS("a")))->written.header.revision, 0);
}

TEST(c11_expected_settings_revision, "C-11 C-42") {
  mneme_write w = cf_write("s");
  w.expected_settings_revision = 1;
  CHECK_STATUS(DO(&w, SETTINGS("a")), MNEME_CONFLICT);
  w.expected_settings_revision = 0;
  OK(DO(&w, APPEND(R(.id = "a"))));
  CHECK_STATUS(DO(&w, SETTINGS("a")), MNEME_CONFLICT);
  DO_IN("s", APPEND(R(.id = "b")));
  w.expected_settings_revision = 2;
  cf_answer *a = DO(&w, SETTINGS("a"));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_INT(a->written.conflict_revision, 1);
  CHECK_INT(a->written.header.revision, 2);
  w.expected_settings_revision = 1;
  CHECK_INT(OK(DO(&w, SETTINGS("a")))->written.header.settings_revision, 3);
}

TEST(c06_a_stale_plan_is_refused, "C-06 C-42 C-08") {
  mneme_write w = cf_write("s");
  w.plan.settings_revision = 1;
  cf_answer *a = DO(&w, APPEND(R(.id = "a")));
  CHECK_STATUS(a, MNEME_STALE_PLAN);
  CHECK_INT(a->written.header.revision, 0);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  DO_IN("s", APPEND(R(.id = "a")));
  OK(DO(&w, APPEND(R(.id = "b")))); /* 1 is right, and so is none */
  DO_IN("s", APPEND(R(.id = "c")));
  w.plan.settings_revision = 2;
  CHECK_STATUS(DO(&w, APPEND(R(.id = "d"))), MNEME_STALE_PLAN);
  DO_IN("s", SETTINGS("x")); /* revision 4 */
  const char *before = cf_snapshot("s");
  const int64_t stale[] = {0, 1, 3, 5};
  for (int i = 0; i < 4; i++) {
    w.plan.settings_revision = stale[i];
    a = DO(&w, APPEND(R(.id = "d")));
    CHECK_STATUS(a, MNEME_STALE_PLAN);
    CHECK_INT(a->written.header.settings_revision, 4);
    CHECK_INT(a->written.header.revision, 4);
    CHECK_BYTES(a->written.header.settings, "x");
    CHECK_STATUS(DO(&w, TOUCH(1)), MNEME_STALE_PLAN);
    CHECK_STATUS(DO(&w, DROP()), MNEME_STALE_PLAN);
  }
  CHECK_TEXT(cf_snapshot("s"), before);
  w.plan.settings_revision = 4;
  OK(DO(&w, APPEND(R(.id = "d"))));
  OK(DO(&w, SETTINGS(""))); /* revision 6: empty, so none is right again */
  DO_IN("s", APPEND(R(.id = "e")));
}

TEST(c36_uid_and_existence, "C-36 C-42 C-08") {
  mneme_uid stranger = cf_new_uid();
  mneme_write w = cf_write("s");
  w.uid = &stranger;
  cf_answer *a = DO(&w, APPEND(R(.id = "a")));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_INT(a->written.header.revision, 0);
  w.uid = NULL;
  w.existence = MNEME_MUST_EXIST;
  CHECK_STATUS(DO(&w, APPEND(R(.id = "a"))), MNEME_NOT_FOUND);
  CHECK_STATUS(DO(&w, DROP()), MNEME_NOT_FOUND);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  w.existence = MNEME_MUST_NOT_EXIST;
  OK(DO(&w, APPEND(R(.id = "a"))));
  const char *before = cf_snapshot("s");
  a = DO(&w, APPEND(R(.id = "b")));
  CHECK_STATUS(a, MNEME_EXISTS);
  CHECK(cf_same_uid(&a->written.header.uid, &w.new_uid));
  CHECK_INT(a->written.header.revision, 1);
  w.existence = MNEME_ANY;
  w.uid = &stranger;
  a = DO(&w, APPEND(R(.id = "b")));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK(cf_same_uid(&a->written.header.uid, &w.new_uid));
  CHECK_STATUS(DO(&w, DROP()), MNEME_CONFLICT);
  CHECK_TEXT(cf_snapshot("s"), before);
  mneme_uid right = cf_header("s").uid;
  w.uid = &right;
  w.existence = MNEME_MUST_EXIST;
  OK(DO(&w, APPEND(R(.id = "b"))));
}

/* The guards that can be broken without preparation, in their order; each pair is
 * broken together and must answer as the earlier one alone does. */
enum { BREAK_REQUEST, BREAK_PLAN, BREAK_UID, BREAK_EXISTENCE, BREAK_REVISION, BREAK_STEP,
       BREAK_ROOM, BREAKS };

static mneme_status break_guards(unsigned broken) {
  static const mneme_uid stranger = {{1, 2, 3}};
  mneme_write w = cf_write("s");
  w.plan.settings_revision = cf_header("s").settings_revision;
  if (broken & 1u << BREAK_REQUEST) cf_request(&w, "used", "another body");
  if (broken & 1u << BREAK_PLAN) w.plan.settings_revision = 77;
  if (broken & 1u << BREAK_UID) w.uid = &stranger;
  if (broken & 1u << BREAK_EXISTENCE) w.existence = MNEME_MUST_NOT_EXIST;
  if (broken & 1u << BREAK_REVISION) w.expected_revision = 77;
  if (broken & 1u << BREAK_ROOM) {
    w.plan.strategy = MNEME_EVICT_REJECT;
    w.plan.evict_above = w.plan.evict_to = 2;
  }
  if (broken & 1u << BREAK_STEP) return DO(&w, APPEND(R(.id = "c")), PUT(77, 1, R(.id = "x")))->status;
  return DO(&w, APPEND(R(.id = "c")))->status;
}

TEST(c36_guards_in_their_order, "C-36 C-08") {
  static const mneme_status wants[BREAKS] = {MNEME_REUSED,   MNEME_STALE_PLAN,
                                             MNEME_CONFLICT, MNEME_EXISTS,
                                             MNEME_CONFLICT, MNEME_NOT_FOUND,
                                             MNEME_SESSION_FULL};
  mneme_write w = cf_write("s");
  cf_request(&w, "used", "body");
  OK(DO(&w, APPEND(R(.id = "a"), R(.id = "b")), SETTINGS("x")));
  const char *before = cf_snapshot("s");
  for (int i = 0; i < BREAKS; i++) {
    for (int j = i; j < BREAKS; j++) {
      cf_context("guards %d and %d broken", i, j);
      mneme_status got = break_guards(1u << i | 1u << j);
      if (got != wants[i])
        FAIL("answered %s, not %s", cf_status_name(got), cf_status_name(wants[i]));
    }
  }
  CHECK_TEXT(cf_snapshot("s"), before);
  CHECK(break_guards(0) == MNEME_OK);
}

/* A refusal leaves nothing behind: no sequence, no request_id, no log, no policy
 * of its plan, nothing that changes() would tell. */
TEST(c08_refused_commit_changes_nothing, "C-08 C-23") {
  DO_IN("s", APPEND(R(.id = "a", .key = "k", .tokens = 3), R(.id = "b")));
  const char *before = cf_snapshot("s");
  mneme_write w = cf_write("s");
  cf_request(&w, "refused", "1");
  w.expected_revision = 7;
  w.plan.max_age_us = 100 * CF_SECOND;
  w.plan.ttl_us = 1000 * CF_SECOND;
  w.plan.keep_system = true;
  cf_tick(CF_SECOND);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "c"), R(.id = "d"))), MNEME_CONFLICT);
  w.expected_revision = -1;
  CHECK_STATUS(DO(&w, IDS("b"), APPEND(R(.id = "c"), R(.id = "a"))), MNEME_EXISTS);
  CHECK_STATUS(DO(&w, IDS("b"), TOUCH(1), PUT(9, 9, R(.id = "x"))), MNEME_NOT_FOUND);
  w.plan.strategy = MNEME_EVICT_REJECT;
  w.plan.evict_above = w.plan.evict_to = 2;
  CHECK_STATUS(DO(&w, APPEND(R(.id = "c"))), MNEME_SESSION_FULL);
  CHECK_STATUS(DO(&w, SETTINGS("x"), APPEND(R(.id = "c"))), MNEME_SESSION_FULL);
  CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
  CHECK_TEXT(cf_snapshot("s"), before);
  w.session = cf_bytes("t"); /* a session that is not there stays so */
  CHECK_STATUS(DO(&w, APPEND(R(.id = "a"), R(.id = "b"), R(.id = "c"))), MNEME_SESSION_FULL);
  CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("t")), MNEME_NOT_FOUND);
  cf_answer *changes = OK(cf_changes(cf.ns, cf_bytes("")));
  for (size_t i = 0; i < changes->header_count; i++)
    CHECK_BYTES(changes->headers[i].session, "s");
  w.session = cf_bytes("s");
  w.plan.strategy = MNEME_EVICT_FIFO;
  w.plan.evict_above = w.plan.evict_to = 0;
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "c"))));
  CHECK(!a->written.deduplicated);
  CHECK_INT(a->written.refs[0].sequence, 3);
  CHECK_INT(a->written.header.revision, 2);
}

/* An engine may take everything out in one stroke; it must come back likewise,
 * by every name, with what time and policy go by. */
TEST(c08_refused_after_removing_everything, "C-08 C-31 C-44") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka", .tokens = 3, .importance = 0.9),
                    R(.id = "b", .key = "kb", .pinned = true), R(.id = "c", .ttl_us = 50),
                    R(.id = "d", .role = "system")));
  DO_IN("s", TOUCH(1));
  const char *before = cf_snapshot("s");
  for (int64_t from = 0; from <= 1; from++) {
    CHECK_STATUS(DO(cf_plain("s"), FROM(from), PUT(1, 1, R(.id = "a"))), MNEME_NOT_FOUND);
    CHECK_STATUS(DO(cf_plain("s"), FROM(from), APPEND(R(.id = "x", .key = "ka"), R(.id = "x"))),
                 MNEME_EXISTS);
    CHECK_STATUS(DO(cf_plain("s"), FROM(from), APPEND(R(.id = "x"), R(.id = "y")), FROM(from),
                    PUT(5, 2, R(.id = "x"))),
                 MNEME_NOT_FOUND);
    CHECK_TEXT(cf_snapshot("s"), before);
  }
  mneme_write w = cf_write("s");
  w.plan.strategy = MNEME_EVICT_REJECT;
  w.plan.evict_above = w.plan.evict_to = 1;
  CHECK_STATUS(DO(&w, FROM(1), APPEND(R(.id = "x"), R(.id = "y"))), MNEME_SESSION_FULL);
  CHECK_TEXT(cf_snapshot("s"), before);
  /* Names, times and ranks are those of before. */
  CHECK_STATUS(DO(cf_plain("s"), APPEND(R(.id = "x", .key = "kb"))), MNEME_EXISTS);
  CHECK_STATUS(DO(cf_plain("s"), APPEND(R(.id = "a"))), MNEME_EXISTS);
  w = cf_write("s");
  w.plan.strategy = MNEME_EVICT_LEAST_IMPORTANT;
  w.plan.evict_above = w.plan.evict_to = 4;
  OK(DO(&w, APPEND(R(.id = "e", .importance = 0.8))));
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,d,e");
  DO_IN("s", APPEND(R(.id = "f", .ttl_us = 50)));
  cf_tick(50);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,d,e");
  CHECK_INT(cf_header("s").memory_count, 4);
}
