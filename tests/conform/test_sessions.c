/* session_get, session_list, stats, meta and trim. */
#include <stdio.h>
#include <string.h>

#include "conform.h"

static const char *list_names(const mneme_session_list *list) {
  return cf_names(OK(cf_session_list(list)));
}

TEST(c47_session_get, "C-47") {
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  mneme_write w = cf_write("s");
  w.plan.ttl_us = 1000;
  w.plan.max_age_us = 500;
  w.plan.keep_system = true;
  OK(DO(&w, APPEND(R(.id = "a", .key = "kk", .tokens = 5, .body = "text"), R(.id = "b")),
        SETTINGS("settings")));
  int64_t start = cf_now();
  cf_tick(10);
  w.plan.settings_revision = 1;
  OK(DO(&w, IDS("b")));
  mneme_header h = cf_header("s");
  CHECK(cf_same(h.ns, cf.ns));
  CHECK_BYTES(h.session, "s");
  CHECK(cf_same_uid(&h.uid, &w.new_uid));
  CHECK_INT(h.revision, 2);
  CHECK_INT(h.settings_revision, 1);
  CHECK_INT(h.last_sequence, 2);
  CHECK_INT(h.mutations, 1);
  CHECK_INT(h.memory_count, 1);
  CHECK_INT(h.token_count, 5);
  CHECK_INT(h.byte_count, 7);
  CHECK_INT(h.create_us, start);
  CHECK_INT(h.update_us, start + 10);
  CHECK_INT(h.append_us, start);
  CHECK_INT(h.expire_us, start + 1000);
  CHECK_INT(h.max_age_us, 500);
  CHECK(h.keep_system);
  CHECK(!h.deleted);
  CHECK_BYTES(h.settings, "settings");
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("S")), MNEME_NOT_FOUND);
  CHECK_STATUS(cf_session_get(cf_bytes("other"), cf_bytes("s")), MNEME_NOT_FOUND);
}

/* Names that must not run into each other. */
TEST(c47_namespaces_are_apart, "C-47 C-20") {
  mneme_bytes ns = cf.ns;
  mneme_bytes longer = cf_bytes(cf_text("%s-a", ns.data));
  DO_IN("b", APPEND(R(.id = "1")));
  DO_IN("-ab", APPEND(R(.id = "2")));
  cf.ns = longer;
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("b")), MNEME_NOT_FOUND);
  DO_IN("b", APPEND(R(.id = "3")));
  DO_IN("b/c}{", APPEND(R(.id = "4")));
  CHECK_TEXT(cf_ids(cf_all("b")), "3");
  mneme_session_list list = cf_listing();
  CHECK_TEXT(list_names(&list), "b,b/c}{");
  DO_IN("b", DROP());
  cf.ns = ns;
  CHECK_TEXT(cf_ids(cf_all("b")), "1");
  CHECK_TEXT(cf_ids(cf_all("-ab")), "2");
  list = cf_listing();
  CHECK_TEXT(list_names(&list), "-ab,b");
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("")))->stats.session_count, 2);
}

TEST(c20_list_by_id, "C-20") {
  mneme_session_list list = cf_listing();
  CHECK_TEXT(list_names(&list), "");
  static const char *const names[] = {"b", "a", "ab", "c", "a/x", "a\xff", "B", "ab/c"};
  for (int i = 0; i < 8; i++) DO_IN(names[i], APPEND(R(.id = "x")));
  CHECK_TEXT(list_names(&list), "B,a,a/x,ab,ab/c,a\xff,b,c");
  list.prefix = cf_bytes("a");
  CHECK_TEXT(list_names(&list), "a,a/x,ab,ab/c,a\xff");
  list.limit = 2;
  CHECK_TEXT(list_names(&list), "a,a/x");
  list.after_session = cf_bytes("a/x");
  CHECK_TEXT(list_names(&list), "ab,ab/c");
  list.after_session = cf_bytes("ab/c");
  CHECK_TEXT(list_names(&list), "a\xff");
  list.after_session = cf_bytes("aa"); /* need not exist */
  list.limit = 1;
  CHECK_TEXT(list_names(&list), "ab");
  list.after_session = cf_bytes("a\xff");
  CHECK_TEXT(list_names(&list), "");
  list.after_session = cf_bytes("b");
  CHECK_TEXT(list_names(&list), "");
  list.after_session = cf_bytes("");
  list.limit = 10;
  list.prefix = cf_bytes("ab");
  CHECK_TEXT(list_names(&list), "ab,ab/c");
  list.prefix = cf_bytes("zz");
  CHECK_TEXT(list_names(&list), "");
  DO_IN("ab", DROP());
  list.prefix = cf_bytes("ab");
  CHECK_TEXT(list_names(&list), "ab/c");
}

TEST(c20_list_by_update, "C-20") {
  static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
  for (int i = 0; i < 6; i++) {
    DO_IN(names[i], APPEND(R(.id = "x")));
    if (i % 2 == 1) cf_tick(CF_SECOND); /* a and b, c and d, e and f at one time */
  }
  mneme_session_list list = cf_listing();
  list.order = MNEME_SESSIONS_BY_UPDATE;
  CHECK_TEXT(list_names(&list), "e,f,c,d,a,b");
  DO_IN("b", APPEND(R(.id = "y")));
  DO_IN("c", TOUCH(1)); /* no update */
  DO_IN("d", IDS("none"));
  CHECK_TEXT(list_names(&list), "b,e,f,c,d,a");
  list.limit = 2;
  mneme_bytes after = cf_bytes("");
  int64_t after_us = 0;
  static const char *const pages[] = {"b,e", "f,c", "d,a", ""};
  for (int i = 0; i < 4; i++) {
    list.after_session = after;
    list.after_update_us = after_us;
    cf_answer *a = OK(cf_session_list(&list));
    CHECK_TEXT(cf_names(a), pages[i]);
    if (a->header_count == 0) break;
    after = a->headers[a->header_count - 1].session;
    after_us = a->headers[a->header_count - 1].update_us;
  }
  list.prefix = cf_bytes("d");
  list.after_session = cf_bytes("");
  CHECK_TEXT(list_names(&list), "d");
  list.after_session = cf_bytes("d");
  list.after_update_us = cf_header("d").update_us;
  CHECK_TEXT(list_names(&list), "");
  /* A place that no session has (it was updated or deleted meanwhile). */
  list.prefix = cf_bytes("");
  list.limit = 10;
  list.after_session = cf_bytes("ee");
  list.after_update_us = cf_header("e").update_us;
  CHECK_TEXT(list_names(&list), "f,c,d,a");
  list.after_update_us = cf_header("e").update_us - 1;
  CHECK_TEXT(list_names(&list), "c,d,a");
}

TEST(c26_stats, "C-26") {
  mneme_stats s = OK(cf_stats(cf.ns, cf_bytes("")))->stats;
  CHECK(s.session_count == 0 && s.memory_count == 0 && s.token_count == 0 && s.byte_count == 0);
  s = OK(cf_stats(cf.ns, cf_bytes("none")))->stats;
  CHECK(s.session_count == 0 && s.memory_count == 0);
  DO_IN("s", APPEND(R(.id = "aa", .tokens = 5, .body = "text"), R(.id = "b", .ttl_us = 10)));
  DO_IN("t", APPEND(R(.id = "c", .tokens = 7)));
  OK(cf_do(cf_plain("empty"), 0, NULL));
  s = OK(cf_stats(cf.ns, cf_bytes("")))->stats;
  CHECK_INT(s.session_count, 3);
  CHECK_INT(s.memory_count, 3);
  CHECK_INT(s.token_count, 12);
  CHECK_INT(s.byte_count, 8);
  s = OK(cf_stats(cf.ns, cf_bytes("s")))->stats;
  CHECK_INT(s.session_count, 1);
  CHECK_INT(s.memory_count, 2);
  CHECK_INT(s.token_count, 5);
  CHECK_INT(s.byte_count, 7);
  cf_tick(10);
  DO_IN("t", APPEND(R(.id = "c", .body = "four", .policy = MNEME_CONFLICT_REPLACE)));
  DO_IN("empty", DROP());
  s = OK(cf_stats(cf.ns, cf_bytes("")))->stats;
  CHECK_INT(s.session_count, 2);
  CHECK_INT(s.memory_count, 2);
  CHECK_INT(s.token_count, 5);
  CHECK_INT(s.byte_count, 11);
  cf_sweep();
  CHECK_INT(OK(cf_stats(cf.ns, cf_bytes("")))->stats.memory_count, 2);
}

TEST(c27_meta_is_compared_and_set, "C-27") {
  mneme_bytes key = cf_bytes(cf_text("conform-%.40s", cf.ns.data + 8));
  CHECK_INT(OK(cf_meta_get(key))->bytes.size, 0);
  cf_answer *a = cf_meta_put(key, cf_bytes("x"), cf_bytes("1"));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_INT(a->bytes.size, 0);
  OK(cf_meta_put(key, cf_bytes(""), cf_bytes("1")));
  CHECK_BYTES(OK(cf_meta_get(key))->bytes, "1");
  a = cf_meta_put(key, cf_bytes(""), cf_bytes("2"));
  CHECK_STATUS(a, MNEME_CONFLICT);
  CHECK_BYTES(a->bytes, "1");
  a = cf_meta_put(key, cf_bytes("10"), cf_bytes("2"));
  CHECK_STATUS(a, MNEME_CONFLICT);
  char *large = cf_alloc(MNEME_META_VALUE_MAX);
  for (int i = 0; i < MNEME_META_VALUE_MAX; i++) large[i] = (char)i;
  mneme_bytes value = {large, MNEME_META_VALUE_MAX};
  OK(cf_meta_put(key, cf_bytes("1"), value));
  CHECK(cf_same(OK(cf_meta_get(key))->bytes, value));
  OK(cf_meta_put(key, value, cf_bytes("3")));
  char *longest = cf_alloc(MNEME_META_KEY_MAX);
  memset(longest, 0xf0, MNEME_META_KEY_MAX);
  memcpy(longest + 1, key.data + 8, 40);
  mneme_bytes other = {longest, MNEME_META_KEY_MAX};
  CHECK_INT(OK(cf_meta_get(other))->bytes.size, 0);
  OK(cf_meta_put(other, cf_bytes(""), cf_bytes("other")));
  CHECK_BYTES(OK(cf_meta_get(key))->bytes, "3");
  OK(cf_meta_put(key, cf_bytes("3"), cf_bytes(""))); /* empty = absent */
  CHECK_INT(OK(cf_meta_get(key))->bytes.size, 0);
  OK(cf_meta_put(key, cf_bytes(""), cf_bytes("4")));
  OK(cf_meta_put(key, cf_bytes("4"), cf_bytes("")));
  OK(cf_meta_put(other, cf_bytes("other"), cf_bytes("")));
}

static void trim_all(int64_t rows) {
  for (int i = 0;; i++) {
    if (i > 1000000) FAIL("trim goes on saying that there is more");
    cf_answer *a = OK(cf_trim(rows));
    cf_release(a);
    if (!a->more) return;
  }
}

/* Trimming is not to be noticed by anyone who may still ask. */
TEST(c28_trim_keeps_what_can_be_asked_for, "C-28") {
  mneme_write w[40];
  for (int i = 0; i < 40; i++) {
    w[i] = cf_write(i < 20 ? "s" : "dropped");
    w[i].window_us = i % 2 ? 100 * CF_SECOND : 10 * CF_SECOND;
    cf_request(&w[i], cf_text("r%d", i), "1");
    OK(DO(&w[i], APPEND(R(.id = cf_text("m%d", i), .key = cf_text("k%d", i)))));
  }
  DO_IN("s", IDS("m3"));
  DO_IN("dropped", DROP());
  trim_all(7);
  for (int i = 0; i < 40; i++) CHECK_STATUS(cf_request_get(&w[i]), MNEME_OK);
  const char *before = cf_snapshot("s");
  cf_tick(10 * CF_SECOND);
  trim_all(3);
  trim_all(1000);
  for (int i = 0; i < 40; i++)
    CHECK_STATUS(cf_request_get(&w[i]), i % 2 ? MNEME_OK : MNEME_NOT_FOUND);
  CHECK(OK(DO(&w[1], APPEND(R(.id = "m1"))))->written.deduplicated);
  CHECK(OK(DO(&w[21], APPEND(R(.id = "m21"))))->written.deduplicated);
  cf_tick(90 * CF_SECOND);
  trim_all(1);
  for (int i = 0; i < 40; i++) CHECK_STATUS(cf_request_get(&w[i]), MNEME_NOT_FOUND);
  CHECK_TEXT(cf_snapshot("s"), before);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("dropped")), MNEME_NOT_FOUND);
  /* An id that was trimmed, and used again, is remembered anew. */
  OK(DO(&w[0], APPEND(R(.id = "again"))));
  CHECK(OK(DO(&w[0], APPEND(R(.id = "again"))))->written.deduplicated);
}

/* Log entries far beyond MNEME_LOG_MAX go, the last MNEME_LOG_MAX stay. */
TEST_SLOW(c28_trim_shortens_the_log, "C-28 C-24", 2) {
  /* Eight updates a commit, of every other memory, so that none can be joined. */
  enum { STEPS = MNEME_STEPS_MAX, COUNT = 3 * MNEME_LOG_MAX };
  cf_fill("s", "m", 2 * STEPS);
  for (int commit = 1; commit <= COUNT / STEPS; commit++) {
    mneme_step steps[STEPS];
    for (int i = 0; i < STEPS; i++) steps[i] = PUT(1 + 2 * i, commit, R(.id = "ignored"));
    cf_release(OK(cf_do(cf_plain("s"), STEPS, steps)));
  }
  mneme_header h = cf_header("s");
  CHECK_INT(h.mutations, COUNT);
  for (int trimmed = 0; trimmed < 2; trimmed++) {
    cf_context(trimmed ? "after trim" : "before trim");
    cf_answer *a = OK(cf_log(cf_bytes("s"), &h.uid, COUNT - MNEME_LOG_MAX));
    CHECK_INT(a->entry_count, MNEME_LOG_MAX);
    for (size_t i = 0; i < a->entry_count; i++) {
      const mneme_log_entry *e = &a->entries[i];
      CHECK_INT(e->number, COUNT - MNEME_LOG_MAX + 1 + (int64_t)i);
      CHECK_INT(e->revision, (e->number - 1) / STEPS + 2);
      CHECK_INT(e->op, MNEME_LOG_UPDATED);
      CHECK(e->first == e->last && e->first % 2 == 1 && e->first < 2 * STEPS);
    }
    a = cf_log(cf_bytes("s"), &h.uid, 0);
    if (trimmed) CHECK_STATUS(a, MNEME_COMPACTED);
    else if (a->status == MNEME_OK) CHECK_INT(a->entry_count, COUNT);
    else CHECK_STATUS(a, MNEME_COMPACTED);
    if (a->status == MNEME_COMPACTED) CHECK_INT(a->entry_count, 0);
    trim_all(100);
  }
  CHECK_INT(OK(cf_log(cf_bytes("s"), &h.uid, COUNT))->entry_count, 0);
  CHECK_INT(cf_header("s").mutations, COUNT);
}
