/* Reads of memories: selections, bounds, limits, order, stopping, deadlines. */
#include <string.h>

#include "conform.h"

static const char *read_ids(const mneme_read *r) { return cf_ids(OK(cf_read(r))); }

TEST(c22_by_sequence, "C-22") {
  cf_fill("s", "m", 10);
  DO_IN("s", SEQUENCES(3, 7));
  mneme_read r = cf_reading("s");
  CHECK_TEXT(read_ids(&r), "m1,m2,m4,m5,m6,m8,m9,m10");
  r.descending = true;
  CHECK_TEXT(read_ids(&r), "m10,m9,m8,m6,m5,m4,m2,m1");
  r.limit = 3;
  CHECK_TEXT(read_ids(&r), "m10,m9,m8");
  r.descending = false;
  CHECK_TEXT(read_ids(&r), "m1,m2,m4");
  r.limit = 1;
  CHECK_TEXT(read_ids(&r), "m1");
  r.limit = 8;
  CHECK_TEXT(read_ids(&r), "m1,m2,m4,m5,m6,m8,m9,m10");
  r.limit = 0;
  r.first = 2;
  r.last = 8;
  CHECK_TEXT(read_ids(&r), "m2,m4,m5,m6,m8");
  r.descending = true;
  CHECK_TEXT(read_ids(&r), "m8,m6,m5,m4,m2");
  r.limit = 2;
  CHECK_TEXT(read_ids(&r), "m8,m6");
  r.limit = 0;
  r.first = 3;
  r.last = 7; /* both are holes */
  CHECK_TEXT(read_ids(&r), "m6,m5,m4");
  r.first = r.last = 5;
  CHECK_TEXT(read_ids(&r), "m5");
  r.first = r.last = 3;
  CHECK_TEXT(read_ids(&r), "");
  r.first = 11;
  r.last = INT64_MAX;
  CHECK_TEXT(read_ids(&r), "");
  r.first = 8;
  r.last = 2;
  CHECK_TEXT(read_ids(&r), "");
  r.session = cf_bytes("nobody");
  CHECK_TEXT(read_ids(&r), "");
}

TEST(c22_by_key, "C-22") {
  mneme_record records[7];
  mneme_on_conflict policies[7];
  static const char *const keys[7] = {"b", "a\xff", "a", "", "ab", "a\x01", "b/c"};
  for (int i = 0; i < 7; i++) {
    records[i] = cf_record(&R(.id = cf_text("%d", i), .key = keys[i]));
    policies[i] = MNEME_CONFLICT_FAIL;
  }
  records[5].key = (mneme_bytes){"a\0z", 3}; /* a NUL in the middle */
  mneme_step step = {.op = MNEME_STEP_APPEND};
  step.records = records;
  step.on_conflict = policies;
  step.record_count = 7;
  OK(cf_do(cf_plain("s"), 1, &step));
  mneme_read r = cf_reading("s");
  r.select = MNEME_SELECT_KEYS;
  CHECK_TEXT(read_ids(&r), "2,5,4,1,0,6"); /* the one without a key is not there */
  r.descending = true;
  CHECK_TEXT(read_ids(&r), "6,0,1,4,5,2");
  r.key_prefix = cf_bytes("a");
  CHECK_TEXT(read_ids(&r), "1,4,5,2");
  r.descending = false;
  CHECK_TEXT(read_ids(&r), "2,5,4,1");
  r.after_key = cf_bytes("a");
  CHECK_TEXT(read_ids(&r), "5,4,1");
  r.after_key = cf_bytes("ab");
  CHECK_TEXT(read_ids(&r), "1");
  r.after_key = cf_bytes("aaa"); /* need not exist */
  CHECK_TEXT(read_ids(&r), "4,1");
  r.after_key = cf_bytes("0");
  CHECK_TEXT(read_ids(&r), "2,5,4,1");
  r.after_key = cf_bytes("zz");
  CHECK_TEXT(read_ids(&r), "");
  r.descending = true;
  CHECK_TEXT(read_ids(&r), "1,4,5,2");
  r.after_key = cf_bytes("ab");
  CHECK_TEXT(read_ids(&r), "5,2");
  r.limit = 1;
  CHECK_TEXT(read_ids(&r), "5");
  r.key_prefix = cf_bytes("");
  r.after_key = cf_bytes("b");
  r.limit = 2;
  CHECK_TEXT(read_ids(&r), "1,4");
  r.descending = false;
  CHECK_TEXT(read_ids(&r), "6");
  r.key_prefix = cf_bytes("b/");
  r.after_key = cf_bytes("");
  CHECK_TEXT(read_ids(&r), "6");
  r.key_prefix = cf_bytes("a\xff");
  CHECK_TEXT(read_ids(&r), "1");
  r.key_prefix = cf_bytes("c");
  CHECK_TEXT(read_ids(&r), "");
}

TEST(c22_by_name_in_the_order_given, "C-22") {
  DO_IN("s", APPEND(R(.id = "a", .key = "ka"), R(.id = "b", .key = "kb"),
                    R(.id = "c", .key = "kc"), R(.id = "d")));
  mneme_read r = cf_reading("s");
  const mneme_bytes ids[] = {cf_bytes("d"), cf_bytes("zz"), cf_bytes("a"), cf_bytes("c"),
                             cf_bytes("ka")};
  r.select = MNEME_SELECT_IDS;
  r.names = ids;
  r.name_count = 5;
  CHECK_TEXT(read_ids(&r), "d,a,c");
  r.limit = 2;
  CHECK_TEXT(read_ids(&r), "d,a");
  const mneme_bytes keys[] = {cf_bytes("kc"), cf_bytes("a"), cf_bytes("ka"), cf_bytes("kb")};
  r.select = MNEME_SELECT_NAMED_KEYS;
  r.names = keys;
  r.name_count = 4;
  r.limit = 0;
  CHECK_TEXT(read_ids(&r), "c,a,b");
  r.name_count = 0;
  CHECK_TEXT(read_ids(&r), "");
}

TEST(c22_byte_limit, "C-22") {
  cf_rec recs[5]; /* 10, 20, 30, 40, 50 bytes */
  for (int i = 0; i < 5; i++)
    recs[i] = R(.id = cf_text("%d", i + 1), .key = cf_text("k%d", i + 1), .kind = "k",
                .role = "r", .author = "a", .source = "s",
                .body = cf_text("%0*d", 3 + 10 * i, 0));
  mneme_step step = cf_step_append(5, recs);
  OK(cf_do(cf_plain("s"), 1, &step));
  CHECK_INT(cf_header("s").byte_count, 150);
  mneme_read r = cf_reading("s");
  static const struct {
    int64_t limit;
    const char *up, *down;
  } cases[] = {{1, "1", "5"},       {10, "1", "5"},         {29, "1", "5"},
               {30, "1,2", "5"},    {59, "1,2", "5"},       {60, "1,2,3", "5"},
               {89, "1,2,3", "5"},  {90, "1,2,3", "5,4"},   {120, "1,2,3,4", "5,4,3"},
               {150, "1,2,3,4,5", "5,4,3,2,1"}, {0, "1,2,3,4,5", "5,4,3,2,1"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cf_context("byte_limit %lld", (long long)cases[i].limit);
    r.byte_limit = cases[i].limit;
    r.select = MNEME_SELECT_SEQUENCES;
    r.descending = false;
    CHECK_TEXT(read_ids(&r), cases[i].up);
    r.select = MNEME_SELECT_KEYS;
    CHECK_TEXT(read_ids(&r), cases[i].up);
    r.descending = true;
    CHECK_TEXT(read_ids(&r), cases[i].down);
    r.select = MNEME_SELECT_SEQUENCES;
    CHECK_TEXT(read_ids(&r), cases[i].down);
  }
  const mneme_bytes names[] = {cf_bytes("5"), cf_bytes("1"), cf_bytes("2")};
  r.select = MNEME_SELECT_IDS;
  r.descending = false;
  r.names = names;
  r.name_count = 3;
  r.byte_limit = 60;
  CHECK_TEXT(read_ids(&r), "5,1");
  r.byte_limit = 59;
  CHECK_TEXT(read_ids(&r), "5");
}

TEST(c22_projection_and_uid, "C-22") {
  DO_IN("s", APPEND(R(.id = "a", .key = "k", .kind = "fact", .role = "user", .author = "Ann",
                      .source = "web", .body = "text", .tokens = 3, .pinned = true)));
  mneme_read r = cf_reading("s");
  r.projection = 0;
  cf_answer *a = OK(cf_read(&r));
  CHECK_INT(a->record_count, 1);
  const mneme_record *g = &a->records[0];
  CHECK_BYTES(g->id, "a");
  CHECK_BYTES(g->key, "k");
  CHECK_BYTES(g->kind, "fact");
  CHECK_BYTES(g->role, "user");
  CHECK_BYTES(g->author, "Ann");
  CHECK_BYTES(g->source, "web");
  CHECK(g->token_count == 3 && g->pinned && g->sequence == 1 && g->revision == 1);
  CHECK(g->body.size == 0 || cf_same(g->body, cf_bytes("text")));
  mneme_uid right = cf_header("s").uid, wrong = cf_new_uid();
  r.uid = &right;
  CHECK_TEXT(read_ids(&r), "a");
  r.uid = &wrong;
  const mneme_select selects[] = {MNEME_SELECT_SEQUENCES, MNEME_SELECT_KEYS, MNEME_SELECT_IDS,
                                  MNEME_SELECT_NAMED_KEYS};
  const mneme_bytes name = cf_bytes("a");
  r.names = &name;
  r.name_count = 1;
  for (int i = 0; i < 4; i++) {
    r.select = selects[i];
    a = cf_read(&r);
    CHECK_STATUS(a, MNEME_CONFLICT);
    CHECK_INT(a->record_count, 0);
  }
  /* A later incarnation is another one. */
  DO_IN("s", DROP());
  DO_IN("s", APPEND(R(.id = "a")));
  r.uid = &right;
  CHECK_STATUS(cf_read(&r), MNEME_CONFLICT);
}

TEST_WITH(c22_metadata_comes_back, "C-22", MNEME_CAP_FILTER, "no FILTER: metadata isn't kept", 1) {
  mneme_record record = cf_record(&R(.id = "a", .body = "text"));
  record.metadata_json = cf_bytes("{\"a\":[1,\"\xc3\xa9\"]}");
  mneme_on_conflict fail = MNEME_CONFLICT_FAIL;
  mneme_step step = {.op = MNEME_STEP_APPEND};
  step.records = &record;
  step.on_conflict = &fail;
  step.record_count = 1;
  OK(cf_do(cf_plain("s"), 1, &step));
  mneme_read r = cf_reading("s");
  r.projection = MNEME_READ_METADATA;
  CHECK(cf_same(OK(cf_read(&r))->records[0].metadata_json, record.metadata_json));
}

TEST(c18_emit_can_stop, "C-18") {
  cf_fill("s", "m", 20);
  for (int i = 0; i < 10; i++)
    DO_IN("s", APPEND(R(.id = cf_text("k%d", i), .key = cf_text("k%d", i))));
  mneme_read r = cf_reading("s");
  for (int stop = 1; stop <= 5; stop += 2) {
    cf_opt.stop_after = stop;
    r.select = MNEME_SELECT_SEQUENCES;
    CHECK_INT(OK(cf_read(&r))->record_count, stop);
    cf_opt.stop_after = stop;
    r.select = MNEME_SELECT_KEYS;
    CHECK_INT(OK(cf_read(&r))->record_count, stop);
    cf_opt.stop_after = stop;
    const mneme_bytes ids[] = {cf_bytes("m1"), cf_bytes("m2"), cf_bytes("m3"), cf_bytes("m4"),
                               cf_bytes("m5"), cf_bytes("m6")};
    r.select = MNEME_SELECT_IDS;
    r.names = ids;
    r.name_count = 6;
    CHECK_INT(OK(cf_read(&r))->record_count, stop);
  }
  for (int i = 0; i < 8; i++) DO_IN(cf_text("t%d", i), APPEND(R(.id = "a", .ttl_us = 1)));
  mneme_session_list list = cf_listing();
  for (int order = MNEME_SESSIONS_BY_ID; order <= MNEME_SESSIONS_BY_UPDATE; order++) {
    list.order = (mneme_session_order)order;
    cf_opt.stop_after = 3;
    CHECK_INT(OK(cf_session_list(&list))->header_count, 3);
  }
  for (int i = 1; i <= 9; i += 2) DO_IN("s", SEQUENCES(i));
  mneme_header h = cf_header("s");
  cf_opt.stop_after = 2;
  CHECK_INT(OK(cf_log(cf_bytes("s"), &h.uid, 0))->entry_count, 2);
  cf_opt.stop_after = 2;
  CHECK_INT(OK(cf_changes(cf.ns, cf_bytes("")))->header_count, 2);
  cf_tick(1);
  cf_opt.stop_after = 2;
  CHECK_INT(OK(cf_due(1000))->header_count, 2);
}

/* A long scan asks whether its caller still waits, at least every 1,000 records,
 * and gives up with TIMEOUT. */
TEST(c05_long_reads_ask_for_the_deadline, "C-05") {
  enum { COUNT = 5 * MNEME_SCAN_CHECK };
  for (int done = 0; done < COUNT; done += 1000) {
    cf_rec *recs = cf_alloc(1000 * sizeof *recs);
    for (int i = 0; i < 1000; i++) {
      recs[i].id = cf_text("%d", done + i);
      recs[i].key = recs[i].id;
    }
    mneme_step step = cf_step_append(1000, recs);
    OK(cf_do(cf_plain("s"), 1, &step));
  }
  mneme_read r = cf_reading("s");
  mneme_bytes *names = cf_alloc(COUNT * sizeof *names);
  for (int i = 0; i < COUNT; i++) names[i] = cf_bytes(cf_text("%d", i));
  r.names = names;
  r.name_count = COUNT;
  const mneme_select selects[] = {MNEME_SELECT_SEQUENCES, MNEME_SELECT_KEYS, MNEME_SELECT_IDS,
                                  MNEME_SELECT_NAMED_KEYS};
  for (int i = 0; i < 4; i++) {
    r.select = selects[i];
    for (int down = 0; down < 2; down++) {
      cf_context("select %d, descending %d", (int)selects[i], down);
      r.descending = down;
      cf_answer *a = OK(cf_read(&r));
      CHECK_INT(a->record_count, COUNT);
      CHECK(atomic_load(&a->call.asks) >= COUNT / MNEME_SCAN_CHECK - 1);
      cf_opt.expire_after = 0;
      a = cf_read(&r);
      CHECK_STATUS(a, MNEME_TIMEOUT);
      CHECK(a->record_count <= MNEME_SCAN_CHECK);
      cf_opt.expire_after = 2;
      a = cf_read(&r);
      CHECK_STATUS(a, MNEME_TIMEOUT);
      CHECK(a->record_count <= 3 * MNEME_SCAN_CHECK);
    }
  }
}

/* Records that are examined and not emitted count too: here all but a few have
 * expired. */
TEST(c05_scans_of_what_is_not_emitted_ask_too, "C-05") {
  enum { COUNT = 5 * MNEME_SCAN_CHECK };
  mneme_write w = cf_write("s");
  cf_rec *recs = cf_alloc(COUNT * sizeof *recs);
  for (int i = 0; i < COUNT; i++) {
    recs[i].id = cf_text("%d", i);
    recs[i].ttl_us = 10;
  }
  mneme_step step = cf_step_append(COUNT, recs);
  OK(cf_do(&w, 1, &step));
  cf_tick(10);
  mneme_read r = cf_reading("s");
  cf_opt.expire_after = 0;
  cf_answer *a = cf_read(&r);
  /* An engine that finds the live ones by an index examines none. */
  CHECK(a->status == MNEME_TIMEOUT || a->status == MNEME_OK);
  CHECK_INT(a->record_count, 0);
  if (a->status == MNEME_OK) {
    a = OK(cf_read(&r));
    CHECK(atomic_load(&a->call.asks) == 0);
  }
}

TEST(c05_long_lists_ask_for_the_deadline, "C-05") {
  enum { COUNT = 4 * MNEME_SCAN_CHECK };
  enum { FLIGHT = 100 };
  for (int done = 0; done < COUNT; done += FLIGHT) {
    cf_answer *flight[FLIGHT];
    const mneme_write *writes[FLIGHT];
    for (int i = 0; i < FLIGHT; i++) {
      writes[i] = cf_plain(cf_text("s%d", done + i));
      flight[i] = cf_start(writes[i]);
    }
    for (int i = 0; i < FLIGHT; i++) cf_release(OK(cf_settle(flight[i], writes[i])));
  }
  mneme_session_list list = cf_listing();
  for (int order = MNEME_SESSIONS_BY_ID; order <= MNEME_SESSIONS_BY_UPDATE; order++) {
    cf_context("order %d", order);
    list.order = (mneme_session_order)order;
    cf_answer *a = OK(cf_session_list(&list));
    CHECK_INT(a->header_count, COUNT);
    CHECK(atomic_load(&a->call.asks) >= COUNT / MNEME_SCAN_CHECK - 1);
    cf_opt.expire_after = 0;
    a = cf_session_list(&list);
    CHECK_STATUS(a, MNEME_TIMEOUT);
    CHECK(a->header_count <= MNEME_SCAN_CHECK);
  }
  cf_opt.expire_after = 0;
  CHECK_STATUS(cf_changes(cf.ns, cf_bytes("")), MNEME_TIMEOUT);
  CHECK(OK(cf_changes(cf.ns, cf_bytes("")))->header_count >= COUNT);
}

/* A commit that its caller has left either never began or took effect as a whole. */
TEST(c05_an_expired_commit_is_all_or_nothing, "C-05 C-44") {
  DO_IN("s", APPEND(R(.id = "a")));
  for (int i = 0; i < 50; i++) {
    const char *before = cf_snapshot("s");
    cf_opt.expire_after = i % 3;
    mneme_write w = cf_write("s");
    cf_request(&w, cf_text("r%d", i), "1");
    cf_answer *a = DO(&w, APPEND(R(.id = cf_text("x%d", i)), R(.id = cf_text("y%d", i))));
    if (a->status == MNEME_OK) {
      CHECK_INT(cf_header("s").revision, a->written.header.revision);
      continue;
    }
    CHECK(a->status == MNEME_TIMEOUT || a->status == MNEME_CANCELLED);
    CHECK_TEXT(cf_snapshot("s"), before);
    CHECK_STATUS(cf_request_get(&w), MNEME_NOT_FOUND);
  }
}
