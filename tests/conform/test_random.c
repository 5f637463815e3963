/* Ten thousand random operations on the backend and on the model with the same
 * inputs; every answer, header, read, list, log and the table of a follower of
 * changes must agree.
 *
 * Names, sequences and times are few and near each other, so that conflicts,
 * expiry to the microsecond, retries and full sessions come up all the time. Time
 * never goes back, and each session has its own max_age and keep_system for good:
 * else it would be free whether an expired memory is seen again (model.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "follow.h"
#include "model.h"

#define OPERATIONS 10000
#define LATE_OPERATIONS 1000 /* when each takes a millisecond */
#define SESSIONS 6
#define IDS_IN_USE 60
#define KEYS_IN_USE 25
#define RETRIES 24
#define RECORDS_MAX 4096

typedef struct run {
  model *m;
  follower *f;
  mneme_write retries[RETRIES]; /* writes that had a request_id */
  int retry_count;
  int64_t numbers[SESSIONS]; /* of each session: log entries that were compared */
  size_t logged[SESSIONS];   /* ... and those of the model */
  mneme_uid uids[SESSIONS];
} run;

/* --- Comparing ----------------------------------------------------------- */

static void same_header(const mneme_header *got, const mneme_header *want, bool names) {
  if (names) {
    CHECK(cf_same(got->ns, want->ns));
    CHECK(cf_same(got->session, want->session));
    CHECK(cf_same(got->settings, want->settings));
  }
  CHECK(cf_same_uid(&got->uid, &want->uid));
  CHECK_INT(got->revision, want->revision);
  CHECK_INT(got->settings_revision, want->settings_revision);
  CHECK_INT(got->last_sequence, want->last_sequence);
  CHECK_INT(got->memory_count, want->memory_count);
  CHECK_INT(got->token_count, want->token_count);
  CHECK_INT(got->byte_count, want->byte_count);
  CHECK_INT(got->create_us, want->create_us);
  CHECK_INT(got->update_us, want->update_us);
  CHECK_INT(got->append_us, want->append_us);
  CHECK_INT(got->expire_us, want->expire_us);
  CHECK_INT(got->max_age_us, want->max_age_us);
  CHECK_INT(got->keep_system, want->keep_system);
}

static void same_record(const mneme_record *got, const mneme_record *want) {
  CHECK_INT(got->sequence, want->sequence);
  CHECK_INT(got->revision, want->revision);
  CHECK(cf_same(got->id, want->id) && cf_same(got->key, want->key));
  CHECK(cf_same(got->kind, want->kind) && cf_same(got->role, want->role));
  CHECK(cf_same(got->author, want->author) && cf_same(got->source, want->source));
  CHECK(cf_same(got->body, want->body));
  CHECK_INT(got->create_us, want->create_us);
  CHECK_INT(got->update_us, want->update_us);
  CHECK_INT(got->access_us, want->access_us);
  CHECK_INT(got->access_count, want->access_count);
  CHECK_INT(got->expire_us, want->expire_us);
  CHECK_INT(got->ttl_us, want->ttl_us);
  CHECK_INT(got->event_us, want->event_us);
  CHECK_INT(got->token_count, want->token_count);
  CHECK_INT(got->tier, want->tier);
  CHECK_INT(got->pinned, want->pinned);
  CHECK_INT(got->has_importance, want->has_importance);
  CHECK(got->importance == want->importance);
  CHECK_INT(got->crc, want->crc);
}

static void same_status(const cf_answer *a, mneme_status want) {
  if (a->status != want)
    FAIL("%s answered %s, the model %s", a->operation, cf_status_name(a->status),
         cf_status_name(want));
}

static void same_written(const cf_answer *a, mneme_status status, const mneme_written *want) {
  const mneme_written *got = &a->written;
  same_status(a, status);
  bool refused = status == MNEME_CONFLICT || status == MNEME_STALE_PLAN || status == MNEME_EXISTS;
  if (refused) same_header(&got->header, &want->header, want->header.revision > 0);
  if (status == MNEME_CONFLICT && want->conflict_revision > 0)
    CHECK_INT(got->conflict_revision, want->conflict_revision);
  if (status != MNEME_OK) return;
  CHECK_INT(got->deduplicated, want->deduplicated);
  same_header(&got->header, &want->header, !want->deduplicated && want->header.revision > 0);
  CHECK_INT(got->existed, want->existed);
  CHECK_INT(got->truncated, want->truncated);
  CHECK_INT(got->removed_count, want->removed_count);
  CHECK_INT(got->evicted_count, want->evicted_count);
  CHECK_INT(got->ref_count, want->ref_count);
  for (size_t i = 0; i < want->ref_count; i++) {
    cf_context("reference %zu", i);
    CHECK(cf_same(got->refs[i].id, want->refs[i].id));
    CHECK_INT(got->refs[i].sequence, want->refs[i].sequence);
    CHECK_INT(got->refs[i].revision, want->refs[i].revision);
    CHECK_INT(got->refs[i].created, want->refs[i].created);
  }
  CHECK_INT(got->removed_count_listed, want->removed_count_listed);
  for (size_t i = 0; i < want->removed_count_listed; i++)
    same_record(&got->removed[i], &want->removed[i]);
}

/* --- Logs ---------------------------------------------------------------- */

static bool was_there(const model_session *s, int64_t revision, int64_t sequence) {
  /* Alive after the commit of that revision: it is now, or went later. */
  for (size_t i = 0; i < s->count; i++)
    if (s->records[i].sequence == sequence && model_live(s, &s->records[i], cf_now())) return true;
  for (size_t i = 0; i < s->log_count; i++)
    if (s->log[i].sequence == sequence && s->log[i].revision > revision) return true;
  return false;
}

static bool covered(const cf_answer *a, const model_log_entry *e) {
  for (size_t i = 0; i < a->entry_count; i++) {
    const mneme_log_entry *got = &a->entries[i];
    if (got->op == e->op && got->revision == e->revision && got->first <= e->sequence &&
        got->last >= e->sequence)
      return true;
  }
  return false;
}

static bool in_model(const model_session *s, size_t from, const mneme_log_entry *got,
                     int64_t sequence) {
  for (size_t i = from; i < s->log_count; i++)
    if (s->log[i].op == got->op && s->log[i].revision == got->revision &&
        s->log[i].sequence == sequence)
      return true;
  return false;
}

/* The log since the last look. A range may span holes, but nothing that lived on;
 * EXPIRED entries come when the engine likes, but never of what is still live. */
static void compare_log(run *r, int index, mneme_bytes session) {
  model_session *s = model_find(r->m, cf_now(), cf.ns, session);
  if (s == NULL) return;
  if (!cf_same_uid(&r->uids[index], &s->header.uid)) {
    r->uids[index] = s->header.uid;
    r->numbers[index] = 0;
    r->logged[index] = 0;
  }
  cf_answer *a = OK(cf_log(session, &s->header.uid, r->numbers[index]));
  for (size_t i = 0; i < a->entry_count; i++) {
    const mneme_log_entry *e = &a->entries[i];
    cf_context("log entry %lld: revision %lld op %d %lld-%lld", (long long)e->number,
               (long long)e->revision, (int)e->op, (long long)e->first, (long long)e->last);
    CHECK_INT(e->number, ++r->numbers[index]);
    CHECK(e->first >= 1 && e->last >= e->first && e->last <= s->header.last_sequence);
    for (int64_t q = e->first; q <= e->last; q++) {
      if (e->op != MNEME_LOG_EXPIRED && in_model(s, r->logged[index], e, q)) continue;
      CHECK(e->op != MNEME_LOG_UPDATED);
      CHECK(!was_there(s, e->revision, q));
    }
  }
  for (size_t i = r->logged[index]; i < s->log_count; i++) {
    cf_context("the model's log: revision %lld op %d sequence %lld", (long long)s->log[i].revision,
               (int)s->log[i].op, (long long)s->log[i].sequence);
    CHECK(covered(a, &s->log[i]));
  }
  r->logged[index] = s->log_count;
  cf_release(a);
  CHECK_INT(OK(cf_session_get(cf.ns, session))->header.mutations, r->numbers[index]);
}

/* --- Making writes ------------------------------------------------------- */

static mneme_record any_record(int number) {
  static const char *const roles[] = {"user", "assistant", "system", ""};
  cf_rec rec = R(.id = cf_text("i%d", number));
  if (cf_chance(40)) rec.key = cf_text("k%lld", (long long)cf_below(KEYS_IN_USE));
  rec.role = roles[cf_below(4)];
  rec.kind = cf_chance(50) ? "fact" : "";
  rec.body = cf_text("%llx", (unsigned long long)cf_random() >> cf_below(50));
  rec.tokens = cf_below(20);
  rec.pinned = cf_chance(6);
  rec.tier = (int)cf_below(4);
  rec.importance = cf_chance(50) ? (double)cf_below(5) / 4 : 0;
  rec.zero_importance = cf_chance(10);
  rec.ttl_us = cf_chance(20) ? cf_between(1, 400) : 0;
  rec.event_us = cf_chance(10) ? cf_now() : 0;
  return cf_record(&rec);
}

static mneme_step any_append(void) {
  size_t count = (size_t)cf_between(cf_chance(3) ? 0 : 1, cf_chance(20) ? 12 : 3);
  mneme_record *records = cf_alloc((count + 1) * sizeof *records);
  mneme_on_conflict *policies = cf_alloc((count + 1) * sizeof *policies);
  int first = (int)cf_below(IDS_IN_USE);
  int policy = (int)cf_below(4); /* 0: each its own */
  for (size_t i = 0; i < count; i++) {
    records[i] = any_record((first + (int)i) % IDS_IN_USE);
    for (size_t k = 0; k < i; k++) /* no key twice in one step */
      if (cf_same(records[k].key, records[i].key)) records[i].key = cf_bytes("");
    policies[i] = (mneme_on_conflict)(policy ? policy : 1 + cf_below(3));
    if (policies[i] == MNEME_CONFLICT_FAIL && cf_chance(60))
      records[i].id = cf_bytes(cf_text("n%llx", (unsigned long long)cf_random()));
  }
  mneme_step step = {.op = MNEME_STEP_APPEND};
  step.records = records;
  step.on_conflict = policies;
  step.record_count = count;
  return step;
}

static mneme_step any_put(const model_session *s) {
  mneme_record *record = cf_alloc(sizeof *record);
  *record = any_record((int)cf_below(IDS_IN_USE));
  mneme_step step = {.op = MNEME_STEP_PUT};
  step.records = record;
  step.record_count = 1;
  record->sequence = cf_between(1, 20);
  step.expected_revision = cf_between(1, 5);
  if (s != NULL && s->count > 0) {
    const mneme_record *old = &s->records[cf_below((int64_t)s->count)];
    record->sequence = old->sequence;
    step.expected_revision = cf_chance(90) ? old->revision : old->revision + cf_between(-1, 1);
  }
  return step;
}

static mneme_step any_sequences(const model_session *s, mneme_step_op op) {
  int64_t last = s ? s->header.last_sequence : 5;
  int64_t sequences[8], at = last > 40 ? last - cf_below(40) : 0;
  size_t count = (size_t)cf_between(1, 8);
  for (size_t i = 0; i < count; i++) sequences[i] = at += cf_between(1, 6);
  mneme_step step = cf_step_sequences(op, count, sequences);
  step.slide_ttl = cf_chance(50);
  return step;
}

/* REMOVE_SEQUENCES of what the caller has judged: mostly as it is now. */
static mneme_step any_judged(const model_session *s) {
  mneme_step step = any_sequences(s, MNEME_STEP_REMOVE_SEQUENCES);
  int64_t *revisions = cf_alloc(step.sequence_count * sizeof *revisions);
  for (size_t i = 0; i < step.sequence_count; i++) {
    revisions[i] = s ? s->header.revision - cf_below(3) : 1;
    for (size_t k = 0; s != NULL && k < s->count && cf_chance(80); k++)
      if (s->records[k].sequence == step.sequences[i]) revisions[i] = s->records[k].revision;
  }
  step.revisions = revisions;
  return step;
}

static mneme_step any_step(const model_session *s) {
  int64_t kind = cf_below(100);
  if (kind < 50) return any_append();
  if (kind < 62) return any_put(s);
  if (kind < 68) {
    const char *ids[] = {cf_text("i%d", (int)cf_below(IDS_IN_USE)),
                         cf_text("i%d", (int)cf_below(IDS_IN_USE))};
    return cf_step_names(MNEME_STEP_REMOVE_IDS, strcmp(ids[0], ids[1]) ? 2 : 1, ids);
  }
  if (kind < 74) {
    const char *keys[] = {cf_text("k%d", (int)cf_below(KEYS_IN_USE))};
    return cf_step_names(MNEME_STEP_REMOVE_KEYS, 1, keys);
  }
  if (kind < 79)
    return cf_chance(50) ? any_judged(s) : any_sequences(s, MNEME_STEP_REMOVE_SEQUENCES);
  if (kind < 84)
    return cf_step_count(MNEME_STEP_REMOVE_NEWEST, cf_between(1, 6),
                         cf_chance(50) ? cf_between(1, 100) : 0);
  if (kind < 86)
    return cf_step_from(s && cf_chance(80) ? s->header.last_sequence - cf_below(8) : 1);
  if (kind < 91)
    return cf_step_settings(cf_bytes(cf_chance(30) ? "" : cf_text("set%d", (int)cf_below(9))));
  return any_sequences(s, MNEME_STEP_TOUCH);
}

static void any_plan(mneme_write *w, int index, const model_session *s) {
  w->plan.settings_revision = s && (s->header.settings.size > 0 || cf_chance(50))
                                  ? s->header.settings_revision
                                  : 0;
  if (cf_chance(2)) w->plan.settings_revision += cf_between(0, 2);
  w->plan.strategy = index == 4 && cf_chance(50) ? MNEME_EVICT_REJECT
                     : index % 2 ? MNEME_EVICT_LEAST_IMPORTANT : MNEME_EVICT_FIFO;
  w->plan.max_age_us = index == 2 ? 700 : index == 5 ? 1500 : 0;
  w->plan.keep_system = index == 1 || index == 5;
  if (cf_chance(40)) {
    w->plan.evict_above = cf_between(4, 40);
    w->plan.evict_to = cf_between(1, w->plan.evict_above);
  }
  if (cf_chance(30)) {
    w->plan.evict_above_tokens = cf_between(40, 400);
    w->plan.evict_to_tokens = cf_between(10, w->plan.evict_above_tokens);
  }
  if (cf_chance(20)) w->plan.ttl_us = cf_between(100, 2500);
}

static void any_guards(mneme_write *w, const model_session *s) {
  if (cf_chance(15)) w->expected_revision = s ? s->header.revision : 0;
  if (cf_chance(3)) w->expected_revision = cf_below(5);
  if (cf_chance(5)) w->expected_settings_revision = s ? s->header.settings_revision : 0;
  if (cf_chance(2)) w->expected_settings_revision = cf_below(5);
  if (cf_chance(4)) w->existence = (mneme_existence)cf_between(1, 2);
  if (cf_chance(5)) {
    mneme_uid uid = s && cf_chance(80) ? s->header.uid : cf_new_uid();
    w->uid = cf_copy(&uid, sizeof uid);
  }
}

static mneme_write any_write(run *r, int index, const char *name) {
  model_session *s = model_find(r->m, cf_now(), cf.ns, cf_bytes(name));
  mneme_write w = cf_write(name);
  any_plan(&w, index, s);
  any_guards(&w, s);
  w.want_removed = cf_chance(40);
  size_t count = cf_chance(70) ? 1 : (size_t)cf_below(5);
  mneme_step steps[5];
  for (size_t i = 0; i < count; i++) steps[i] = any_step(s);
  if (cf_chance(2)) {
    steps[0] = DROP();
    count = 1;
  }
  w.steps = cf_copy(steps, count * sizeof *steps);
  w.step_count = count;
  if (cf_chance(35)) {
    w.window_us = cf_between(1, 2000);
    cf_request(&w, cf_text("r%llx", (unsigned long long)cf_random()), "1");
    r->retries[r->retry_count++ % RETRIES] = w;
  }
  return w;
}

/* --- Operations ---------------------------------------------------------- */

static void compare_commit(run *r, const mneme_write *w) {
  char steps[128] = "";
  for (size_t i = 0; i < w->step_count; i++)
    snprintf(steps + strlen(steps), sizeof steps - strlen(steps), " %d", (int)w->steps[i].op);
  cf_answer *a = cf_commit(w);
  mneme_written want;
  mneme_status status = model_commit(r->m, cf_now(), w, &want);
  cf_context("commit on %.*s, steps%s", (int)w->session.size, w->session.data, steps);
  same_written(a, status, &want);
  cf_release(a);
}

static void compare_session(run *r, mneme_bytes session) {
  model_session *s = model_find(r->m, cf_now(), cf.ns, session);
  cf_answer *a = cf_session_get(cf.ns, session);
  same_status(a, s ? MNEME_OK : MNEME_NOT_FOUND);
  if (s != NULL) {
    mneme_header want = model_header(s, cf_now());
    same_header(&a->header, &want, true);
  }
  cf_release(a);
}

static mneme_read any_read(const model_session *s, const char *name) {
  mneme_read read = cf_reading(name);
  int64_t last = s ? s->header.last_sequence : 9;
  read.select = (mneme_select)cf_between(1, 4);
  if (cf_chance(50)) {
    read.first = cf_between(0, last);
    read.last = cf_chance(50) ? read.first + cf_below(30) : INT64_MAX;
  }
  if (cf_chance(40)) read.key_prefix = cf_bytes(cf_chance(50) ? "k" : "k1");
  if (cf_chance(40)) read.after_key = cf_bytes(cf_text("k%d", (int)cf_below(KEYS_IN_USE)));
  read.descending = cf_chance(50);
  if (cf_chance(50)) read.limit = cf_between(1, 20);
  if (cf_chance(30)) read.byte_limit = cf_between(1, 300);
  if (cf_chance(5)) {
    mneme_uid uid = s && cf_chance(50) ? s->header.uid : cf_new_uid();
    read.uid = cf_copy(&uid, sizeof uid);
  }
  bool ids = read.select == MNEME_SELECT_IDS;
  size_t count = (size_t)cf_below(12);
  mneme_bytes *names = cf_alloc((count + 1) * sizeof *names);
  int64_t first = cf_below(60), step = cf_between(1, 5);
  for (size_t i = 0; i < count; i++)
    names[i] = cf_bytes(cf_text("%s%d", ids ? "i" : "k",
                                (int)((first + (int64_t)i * step) % (ids ? 61 : 29))));
  read.names = names;
  read.name_count = count;
  return read;
}

static void compare_read(run *r, const char *name) {
  mneme_read read = any_read(model_find(r->m, cf_now(), cf.ns, cf_bytes(name)), name);
  static const mneme_record *want[RECORDS_MAX];
  size_t count = 0;
  mneme_status status = model_read(r->m, cf_now(), &read, want, RECORDS_MAX, &count);
  cf_context("read of %s, select %d %s limit %lld bytes %lld", name, (int)read.select,
             read.descending ? "descending" : "ascending", (long long)read.limit,
             (long long)read.byte_limit);
  cf_answer *a = cf_read(&read);
  same_status(a, status);
  CHECK_INT(a->record_count, count);
  for (size_t i = 0; i < count; i++) same_record(&a->records[i], want[i]);
  cf_release(a);
}

static void compare_list(run *r) {
  mneme_session_list list = cf_listing();
  if (cf_chance(50)) list.order = MNEME_SESSIONS_BY_UPDATE;
  if (cf_chance(50)) list.limit = cf_between(1, SESSIONS);
  if (cf_chance(20)) list.prefix = cf_bytes(cf_chance(50) ? "s" : "s2");
  if (cf_chance(50)) {
    list.after_session = cf_bytes(cf_text("s%d", (int)cf_below(SESSIONS)));
    model_session *s = model_find(r->m, cf_now(), cf.ns, list.after_session);
    list.after_update_us = s ? s->header.update_us : cf_now() - cf_below(300);
  }
  mneme_header want[SESSIONS];
  size_t count = model_list(r->m, cf_now(), &list, want, SESSIONS);
  cf_context("list in order %d", (int)list.order);
  cf_answer *a = OK(cf_session_list(&list));
  CHECK_INT(a->header_count, count);
  for (size_t i = 0; i < count; i++) same_header(&a->headers[i], &want[i], true);
  cf_release(a);
}

static void compare_stats(run *r, const char *name) {
  mneme_bytes session = cf_bytes(cf_chance(50) ? name : "");
  mneme_stats want = model_stats(r->m, cf_now(), cf.ns, session);
  cf_context("stats of \"%s\"", session.size ? name : "");
  cf_answer *a = OK(cf_stats(cf.ns, session));
  CHECK_INT(a->stats.session_count, want.session_count);
  CHECK_INT(a->stats.memory_count, want.memory_count);
  CHECK_INT(a->stats.token_count, want.token_count);
  CHECK_INT(a->stats.byte_count, want.byte_count);
}

static void compare_retry(run *r) {
  if (r->retry_count == 0) return;
  int kept = r->retry_count < RETRIES ? r->retry_count : RETRIES;
  mneme_write w = r->retries[cf_below(kept)];
  w.new_uid = cf_new_uid(); /* a retry is another call, with a uid of its own */
  if (cf_chance(20)) w.fingerprint[cf_below(16)] ^= 0x55;
  if (cf_chance(50)) {
    mneme_written want;
    memset(&want, 0, sizeof want);
    mneme_status status = model_request_get(r->m, cf_now(), &w, &want);
    cf_context("request_get");
    cf_answer *a = cf_request_get(&w);
    same_written(a, status, &want);
    cf_release(a);
  } else if (w.plan.max_age_us == 0 || model_find(r->m, cf_now(), cf.ns, w.session) == NULL) {
    compare_commit(r, &w);
  }
}

static void one_operation(run *r) {
  int index = (int)cf_below(SESSIONS);
  const char *name = cf_text("s%d", index);
  int64_t kind = cf_below(100);
  cf_tick(cf_chance(30) ? 0 : cf_below(25));
  if (kind < 55) {
    mneme_write w = any_write(r, index, name);
    compare_commit(r, &w);
    compare_session(r, cf_bytes(name));
  } else if (kind < 62) {
    compare_retry(r);
  } else if (kind < 82) {
    compare_read(r, name);
  } else if (kind < 87) {
    compare_list(r);
  } else if (kind < 90) {
    compare_stats(r, name);
  } else if (kind < 93) {
    mneme_write w = cf_write(name);
    mneme_step step = EXPIRE(cf_between(1, 5));
    w.steps = &step;
    w.step_count = 1;
    compare_commit(r, &w);
  } else if (kind < 96) {
    follow(r->f, cf_chance(30) ? 2 : 0);
  } else if (kind < 98) {
    cf_release(OK(cf_trim(cf_between(1, 50))));
  } else {
    cf_sweep();
    follow(r->f, 0);
    follow_check(r->f);
  }
  cf_context("the log of %s", name);
  compare_log(r, index, cf_bytes(name));
}

TEST_SLOW(model_agrees_with_ten_thousand_operations,
          "C-07 C-09 C-13 C-14 C-16 C-17 C-20 C-22 C-23 C-24 C-25 C-26 C-29 C-30 C-31 C-35", 4) {
  run *r = cf_alloc(sizeof *r);
  r->m = model_new();
  r->f = cf_alloc(sizeof *r->f);
  r->f->ns = cf.ns;
  int64_t operations = cf.late ? LATE_OPERATIONS : OPERATIONS;
  for (int64_t i = 0; i < operations; i++) {
    cf_within("operation %lld, seed %llu", (long long)i, (unsigned long long)cf.seed);
    one_operation(r);
  }
  cf_sweep();
  follow(r->f, 0);
  follow_check(r->f);
  model_free(r->m);
}
