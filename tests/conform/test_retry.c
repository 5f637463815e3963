/* request_id: the first answer again, for a window, whatever has become of the
 * session. */
#include <stdio.h>
#include <string.h>

#include "conform.h"

/* The parts of an answer that a repeat gives again. */
static void check_repeat(const cf_answer *first, const cf_answer *again) {
  const mneme_written *f = &first->written, *a = &again->written;
  CHECK_STATUS(again, MNEME_OK);
  CHECK(a->deduplicated && !f->deduplicated);
  CHECK_INT(a->ref_count, f->ref_count);
  for (size_t i = 0; i < f->ref_count; i++) {
    CHECK(cf_same(a->refs[i].id, f->refs[i].id));
    CHECK_INT(a->refs[i].sequence, f->refs[i].sequence);
    CHECK_INT(a->refs[i].revision, f->refs[i].revision);
    CHECK_INT(a->refs[i].created, f->refs[i].created);
  }
  CHECK_INT(a->removed_count, f->removed_count);
  CHECK_INT(a->removed_count_listed, f->removed_count_listed);
  CHECK_INT(a->evicted_count, f->evicted_count);
  CHECK_INT(a->expired_count, f->expired_count);
  CHECK_INT(a->truncated, f->truncated);
  CHECK_INT(a->existed, f->existed);
  const mneme_header *h = &a->header;
  CHECK(cf_same_uid(&h->uid, &f->header.uid));
  CHECK_INT(h->revision, f->header.revision);
  CHECK_INT(h->settings_revision, f->header.settings_revision);
  CHECK_INT(h->last_sequence, f->header.last_sequence);
  CHECK_INT(h->memory_count, f->header.memory_count);
  CHECK_INT(h->mutations, 0);
  CHECK_INT(h->token_count, 0);
  CHECK_INT(h->byte_count, 0);
  CHECK_INT(h->create_us, 0);
  CHECK_INT(h->update_us, 0);
  CHECK_INT(h->append_us, 0);
  CHECK_INT(h->expire_us, 0);
  CHECK_INT(h->settings.size, 0);
}

TEST(c09_a_retry_gets_the_first_answer, "C-09 C-43") {
  DO_IN("s", APPEND(R(.id = "x", .tokens = 7), R(.id = "y")));
  mneme_write w = cf_write("s");
  cf_request(&w, "r1", "body");
  w.want_removed = true;
  w.plan.evict_above = 3;
  w.plan.evict_to = 2;
  mneme_step steps[] = {IDS("y"), APPEND(R(.id = "a"), R(.id = "b", .key = "k"), R(.id = "c"))};
  cf_answer *first = OK(cf_do(&w, 2, steps));
  CHECK_INT(first->written.evicted_count, 2);
  const char *before = cf_snapshot("s");
  check_repeat(first, cf_do(&w, 2, steps));
  w.new_uid = cf_new_uid();
  check_repeat(first, cf_do(&w, 2, steps));
  CHECK_TEXT(cf_snapshot("s"), before);
  check_repeat(first, cf_request_get(&w));
  /* It is the fingerprint that tells, not the steps: guards no longer matter. */
  w.expected_revision = 55;
  w.plan.settings_revision = 44;
  w.existence = MNEME_MUST_NOT_EXIST;
  mneme_uid stranger = cf_new_uid();
  w.uid = &stranger;
  check_repeat(first, cf_do(&w, 2, steps));
  CHECK_TEXT(cf_snapshot("s"), before);
  /* The state goes on; the first answer stays. */
  DO_IN("s", FROM(1), APPEND(R(.id = "a")));
  check_repeat(first, cf_do(&w, 2, steps));
  DO_IN("s", DROP());
  check_repeat(first, cf_do(&w, 2, steps));
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  check_repeat(first, cf_request_get(&w));
  DO_IN("s", APPEND(R(.id = "new")));
  check_repeat(first, cf_do(&w, 2, steps));
  CHECK_TEXT(cf_ids(cf_all("s")), "new");
}

/* Ids are of one session; every OK is remembered, also one that changed nothing. */
TEST(c09_what_is_remembered, "C-09") {
  mneme_write w = cf_write("s"), other = cf_write("t");
  cf_request(&w, "r", "1");
  cf_request(&other, "r", "2");
  OK(DO(&w, APPEND(R(.id = "a"))));
  CHECK(!OK(DO(&other, APPEND(R(.id = "a"))))->written.deduplicated);
  mneme_bytes ns = cf.ns;
  cf.ns = cf_bytes(cf_text("%.*s-2", (int)ns.size, ns.data));
  mneme_write far = cf_write("s");
  cf_request(&far, "r", "3");
  CHECK(!OK(DO(&far, APPEND(R(.id = "a"))))->written.deduplicated);
  cf.ns = ns;
  w = cf_write("s");
  cf_request(&w, "idle", "1");
  OK(DO(&w, IDS("none")));
  DO_IN("s", APPEND(R(.id = "none")));
  CHECK(OK(DO(&w, IDS("none")))->written.deduplicated);
  CHECK_TEXT(cf_ids(cf_all("s")), "a,none");
  cf_request(&w, "drop", "1");
  OK(DO(&w, DROP()));
  DO_IN("s", APPEND(R(.id = "b")));
  CHECK(OK(DO(&w, DROP()))->written.deduplicated);
  CHECK_TEXT(cf_ids(cf_all("s")), "b");
  /* On a session that was never there. */
  w = cf_write("absent");
  cf_request(&w, "drop", "1");
  cf_answer *first = OK(DO(&w, DROP()));
  DO_IN("absent", APPEND(R(.id = "b")));
  check_repeat(first, DO(&w, DROP()));
  CHECK_TEXT(cf_ids(cf_all("absent")), "b");
  /* A refusal is not remembered. */
  w = cf_write("s");
  cf_request(&w, "refused", "1");
  CHECK_STATUS(DO(&w, APPEND(R(.id = "b"))), MNEME_EXISTS);
  DO_IN("s", IDS("b"));
  CHECK(!OK(DO(&w, APPEND(R(.id = "b"))))->written.deduplicated);
}

TEST(c09_the_window_lapses, "C-09 C-21") {
  mneme_write w = cf_write("s");
  w.window_us = 10 * CF_SECOND;
  cf_request(&w, "r", "1");
  OK(DO(&w, APPEND(R(.id = "a"))));
  cf_tick(9 * CF_SECOND);
  CHECK(OK(DO(&w, APPEND(R(.id = "a"))))->written.deduplicated); /* doesn't prolong it */
  cf_tick(CF_SECOND - 1);
  CHECK(OK(DO(&w, APPEND(R(.id = "a"))))->written.deduplicated);
  CHECK_STATUS(cf_request_get(&w), MNEME_OK);
  cf_tick(1);
  CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "a"))), MNEME_EXISTS);
  cf_answer *a = OK(DO(&w, APPEND(R(.id = "b"))));
  CHECK(!a->written.deduplicated);
  CHECK_INT(a->written.refs[0].sequence, 2);
  cf_tick(10 * CF_SECOND - 1);
  CHECK(OK(DO(&w, APPEND(R(.id = "b"))))->written.deduplicated);
  cf_tick(1);
  cf_request(&w, "r", "another body"); /* lapsed: not a reuse */
  OK(DO(&w, APPEND(R(.id = "c"))));
  CHECK_TEXT(cf_ids(cf_all("s")), "a,b,c");
}

TEST(c10_another_body_is_refused, "C-10 C-08") {
  mneme_write w = cf_write("s");
  cf_request(&w, "r", "one");
  OK(DO(&w, APPEND(R(.id = "a"))));
  const char *before = cf_snapshot("s");
  cf_request(&w, "r", "two");
  CHECK_STATUS(DO(&w, APPEND(R(.id = "b"))), MNEME_REUSED);
  CHECK_STATUS(DO(&w, DROP()), MNEME_REUSED);
  CHECK_STATUS(cf_request_get(&w), MNEME_REUSED);
  w.fingerprint[15] = 1; /* every byte counts */
  memcpy(w.fingerprint, "one", 4);
  CHECK_STATUS(DO(&w, APPEND(R(.id = "a"))), MNEME_REUSED);
  CHECK_TEXT(cf_snapshot("s"), before);
  cf_request(&w, "r", "one");
  CHECK(OK(DO(&w, APPEND(R(.id = "a"))))->written.deduplicated);
  DO_IN("s", DROP());
  cf_request(&w, "r", "two");
  CHECK_STATUS(DO(&w, APPEND(R(.id = "b"))), MNEME_REUSED);
}

TEST(c21_request_get, "C-21 C-43") {
  mneme_write w = cf_write("s");
  cf_request(&w, "r", "1");
  CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
  cf_answer *first = OK(DO(&w, APPEND(R(.id = "a"), R(.id = "b"))));
  check_repeat(first, cf_request_get(&w));
  mneme_write other = cf_write("t");
  cf_request(&other, "r", "1");
  CHECK_STATUS(cf_request_get(&other), MNEME_NOT_FOUND);
  cf_request(&w, "r", "2");
  CHECK_STATUS(cf_request_get(&w), MNEME_REUSED);
  cf_request(&w, "r2", "1");
  CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
}

/* A full session of request_ids: the one that lapses first makes room for the
 * next, every other is still answered, and other sessions keep theirs. */
TEST_SLOW(c37_the_first_to_lapse_is_forgotten, "C-37", 4) {
  mneme_write w = cf_write("s");
  w.window_us = 60 * CF_SECOND;
  OK(DO(&w, APPEND(R(.id = "a"))));
  mneme_step step = TOUCH(1);
  w.steps = &step;
  w.step_count = 1;
  mneme_write other = w;
  other.session = cf_bytes("t");
  other.request_id = cf_bytes("r0");
  OK(cf_commit(&other));
  enum { FLIGHT = 256 };
  cf_answer *flight[FLIGHT];
  mneme_write writes[FLIGHT];
  char ids[FLIGHT][16];
  for (int done = 0; done < MNEME_REQUEST_IDS_MAX; done += FLIGHT) {
    for (int i = 0; i < FLIGHT; i++) {
      writes[i] = w;
      writes[i].window_us += done + i; /* r0 lapses first, then r1, ... */
      snprintf(ids[i], sizeof ids[i], "r%d", done + i);
      writes[i].request_id = cf_bytes(ids[i]);
      flight[i] = cf_start(&writes[i]);
    }
    for (int i = 0; i < FLIGHT; i++) cf_release(OK(cf_settle(flight[i], &writes[i])));
  }
  CHECK_INT(cf_all("s")->records[0].access_count, MNEME_REQUEST_IDS_MAX);
  w.request_id = cf_bytes("r0");
  CHECK(OK(cf_commit(&w))->written.deduplicated);
  w.window_us = 120 * CF_SECOND;
  w.request_id = cf_bytes("one more");
  CHECK(!OK(cf_commit(&w))->written.deduplicated);
  w.request_id = cf_bytes("r0");
  CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
  w.request_id = cf_bytes("r1");
  CHECK(OK(cf_commit(&w))->written.deduplicated);
  w.request_id = cf_bytes("one more");
  CHECK(OK(cf_commit(&w))->written.deduplicated);
  CHECK(OK(cf_commit(&other))->written.deduplicated);
}
