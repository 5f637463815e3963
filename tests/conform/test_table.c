/* The table itself, and the promises that hold for every operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "subject.h"

/* One call of each operation, after a little of everything has been stored. */
static void call_everything(int stop_after) {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka"), R(.id = "b", .key = "kb"), R(.id = "c")));
  DO_IN("t", APPEND(R(.id = "a")));
  DO_IN("s", PUT(1, 1, R(.id = "a", .key = "ka", .body = "2")), SEQUENCES(3));
  mneme_write w = cf_write("s");
  cf_request(&w, "r", "1");
  OK(DO(&w, TOUCH(1, 2)));
  OK(cf_request_get(&w));
  w.expected_revision = 99;
  cf_request(&w, "", "");
  CHECK_STATUS(DO(&w, APPEND(R(.id = "z"))), MNEME_CONFLICT);
  mneme_header h = cf_header("s");
  const mneme_select selects[] = {MNEME_SELECT_SEQUENCES, MNEME_SELECT_KEYS, MNEME_SELECT_IDS,
                                  MNEME_SELECT_NAMED_KEYS};
  const mneme_bytes names[] = {cf_bytes("a"), cf_bytes("ka"), cf_bytes("kb"), cf_bytes("b")};
  for (int i = 0; i < 4; i++) {
    mneme_read r = cf_reading("s");
    r.select = selects[i];
    r.names = names;
    r.name_count = 4;
    cf_opt.stop_after = stop_after;
    OK(cf_read(&r));
  }
  mneme_read absent = cf_reading("nobody");
  OK(cf_read(&absent));
  mneme_session_list list = cf_listing();
  cf_opt.stop_after = stop_after;
  OK(cf_session_list(&list));
  list.order = MNEME_SESSIONS_BY_UPDATE;
  OK(cf_session_list(&list));
  cf_opt.stop_after = stop_after;
  OK(cf_changes(cf.ns, cf_bytes("")));
  cf_opt.stop_after = stop_after;
  OK(cf_log(cf_bytes("s"), &h.uid, 0));
  w = cf_write("t");
  w.plan.ttl_us = 1;
  OK(DO(&w, APPEND(R(.id = "b"))));
  cf_tick(10);
  cf_opt.stop_after = stop_after;
  OK(cf_due(1000));
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("t")), MNEME_NOT_FOUND);
  OK(cf_stats(cf.ns, cf_bytes("")));
  OK(cf_ping());
  mneme_bytes key = cf_bytes(cf_text("conform-%.40s", cf.ns.data + 8));
  OK(cf_meta_get(key));
  OK(cf_meta_put(key, cf_bytes(""), cf_bytes("1")));
  CHECK_STATUS(cf_meta_put(key, cf_bytes("2"), cf_bytes("3")), MNEME_CONFLICT);
  OK(cf_meta_put(key, cf_bytes("1"), cf_bytes("")));
  OK(cf_trim(100));
  OK(DO(cf_plain("s"), DROP()));
}

/* The harness counts every done and every emit of every test; here each operation
 * is called, and the backend closed, before the counts are believed. */
TEST(c01_done_is_called_exactly_once, "C-01") {
  call_everything(0);
  cf_reopen();
}

TEST(c02_nothing_is_emitted_after_done, "C-02") {
  call_everything(0);
  cf.ns = cf_bytes(cf_text("%s-2", cf.ns.data));
  call_everything(1);
  cf_reopen();
}

/* Times of the year 1970 come back as they are: nobody else's clock is in them. */
TEST(c03_time_is_the_calls, "C-03") {
  atomic_store(&cf.now_us, 5 * CF_SECOND);
  mneme_write w = cf_write("s");
  w.plan.ttl_us = 100 * CF_SECOND;
  cf_request(&w, "r", "1");
  OK(DO(&w, APPEND(R(.id = "a"))));
  mneme_header h = cf_header("s");
  CHECK_INT(h.create_us, 5 * CF_SECOND);
  CHECK_INT(h.update_us, 5 * CF_SECOND);
  CHECK_INT(h.append_us, 5 * CF_SECOND);
  CHECK_INT(h.expire_us, 105 * CF_SECOND);
  CHECK_INT(cf_all("s")->records[0].create_us, 5 * CF_SECOND);
  CHECK_INT(cf_all("s")->records[0].update_us, 5 * CF_SECOND);
  /* A thousand years pass in one step. */
  atomic_store(&cf.now_us, (int64_t)1000 * 365 * 86400 * CF_SECOND);
  CHECK_STATUS(cf_session_get(cf.ns, cf_bytes("s")), MNEME_NOT_FOUND);
  CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
}

TEST(c04_the_table_is_whole, "C-04") {
  const mneme_backend_type *t = cf.type;
  CHECK(t->abi >> 16 == MNEME_ABI_MAJOR);
  CHECK(t->name != NULL && t->name[0] != '\0' && strlen(t->name) < 32);
  CHECK(t->doc != NULL && strchr(t->doc, '\n') == NULL);
  CHECK(t->open != NULL && t->close != NULL && t->commit != NULL && t->session_get != NULL);
  CHECK(t->session_list != NULL && t->request_get != NULL && t->read != NULL);
  CHECK(t->changes != NULL && t->log != NULL && t->due != NULL && t->stats != NULL);
  CHECK(t->ping != NULL && t->meta_get != NULL && t->meta_put != NULL && t->trim != NULL);
  uint32_t known = MNEME_CAP_DURABLE | MNEME_CAP_SHARED | MNEME_CAP_NB_COMMIT |
                   MNEME_CAP_NB_READ | MNEME_CAP_FILTER | MNEME_CAP_VECTORS | MNEME_CAP_LINKS |
                   MNEME_CAP_RESTORE;
  CHECK((t->caps & ~known) == 0);
}

/* What a host reports and documents from the option table must make sense. */
TEST(c04_options_are_documented_and_parse, "C-04") {
  for (const mneme_option *o = cf.type->options; o != NULL && o->name != NULL; o++) {
    cf_context("option %s", o->name);
    CHECK(o->type >= MNEME_OPTION_STRING && o->type <= MNEME_OPTION_PATH);
    CHECK(o->doc != NULL && o->doc[0] != '\0');
    CHECK(o->min <= o->max);
    CHECK(strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(o->name));
    for (const mneme_option *other = cf.type->options; other != o; other++)
      CHECK(strcmp(other->name, o->name) != 0);
    if (o->default_value == NULL) continue;
    mneme_option_value value;
    char error[256] = "";
    if (!cf_option_parse(o, o->default_value, "/", &value, error, sizeof error))
      FAIL("its default: %s", error);
    free((char *)(uintptr_t)value.string);
  }
}

/* A bit that is not promised is answered UNSUPPORTED, and changes nothing. */
TEST(c04_reserved_steps_are_refused, "C-04 C-08") {
  DO_IN("s", APPEND(R(.id = "a")));
  const char *before = cf_snapshot("s");
  if (!(cf.type->caps & MNEME_CAP_VECTORS)) {
    mneme_step step = {.op = MNEME_STEP_SET_VECTOR};
    CHECK_STATUS(cf_do(cf_plain("s"), 1, &step), MNEME_UNSUPPORTED);
    mneme_step both[] = {APPEND(R(.id = "b")), step};
    CHECK_STATUS(cf_do(cf_plain("s"), 2, both), MNEME_UNSUPPORTED);
  }
  if (!(cf.type->caps & MNEME_CAP_RESTORE)) {
    mneme_step step = {.op = MNEME_STEP_RESTORE};
    CHECK_STATUS(cf_do(cf_plain("s"), 1, &step), MNEME_UNSUPPORTED);
  }
  CHECK_TEXT(cf_snapshot("s"), before);
}

TEST(c46_ping_answers, "C-46") { OK(cf_ping()); }

TEST_WITH(c45_reopen_keeps_everything, "C-45", MNEME_CAP_DURABLE,
          "not DURABLE: a restart may lose all", 1) {
  mneme_write w = cf_write("s");
  cf_request(&w, "r", "1");
  OK(DO(&w, APPEND(R(.id = "a", .key = "k", .body = "first"), R(.id = "b", .tokens = 3)),
        SETTINGS("policy")));
  mneme_write change = cf_write("s");
  change.plan.settings_revision = 1;
  OK(DO(&change, PUT(1, 1, R(.id = "a", .key = "k2", .body = "second"))));
  OK(DO(&change, APPEND(R(.id = "c")), IDS("b")));
  const char *cursor_before = NULL;
  cf_answer *changes = OK(cf_changes(cf.ns, cf_bytes("")));
  cursor_before = cf_copy(changes->bytes.data, changes->bytes.size);
  mneme_bytes cursor = {cursor_before, changes->bytes.size};
  mneme_bytes key = cf_bytes(cf_text("conform-%.40s", cf.ns.data + 8));
  OK(cf_meta_put(key, cf_bytes(""), cf_bytes("value")));
  const char *before = cf_snapshot("s");
  cf_reopen();
  CHECK_TEXT(cf_snapshot("s"), before);
  cf_answer *again = OK(DO(&w, APPEND(R(.id = "a", .key = "k", .body = "first"))));
  CHECK(again->written.deduplicated);
  CHECK_BYTES(OK(cf_meta_get(key))->bytes, "value");
  OK(DO(&change, APPEND(R(.id = "d"))));
  CHECK_TEXT(cf_sequences(cf_all("s")), "1,3,4");
  CHECK_TEXT(cf_names(OK(cf_changes(cf.ns, cursor))), "s");
}
