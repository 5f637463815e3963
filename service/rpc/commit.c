#include "rpc/commit.h"

#include <string.h>

#include "base/set.h"
#include "base/uuid.h"
#include "record/record.h"
#include "rpc/filtered.h"

commit *commit_part(op *o, const wire_scope *scope, const fingerprint *f) {
  commit *c = arena_alloc(o->arena, sizeof *c);
  if (c == NULL)
    return NULL;
  memset(c, 0, offsetof(commit, steps));
  c->op = o;
  c->write.ns = scope->ns;
  c->write.session = scope->session;
  c->write.request_id = scope->request_id;
  c->write.expected_revision = scope->expected_revision;
  c->write.expected_settings_revision = -1;
  c->write.steps = c->steps;
  if (scope->request_id.size > 0)
    fingerprint_end(f, c->write.fingerprint);
  uuid_v7(c->write.new_uid.bytes, o->call.now_us);
  return c;
}

commit *commit_new(op *o, const wire_scope *scope, const fingerprint *f) {
  commit *c = commit_part(o, scope, f);
  if (c == NULL)
    op_fail_no_memory(o);
  return c;
}

mneme_step *commit_step(commit *c, mneme_step_op kind) {
  mneme_step *step = &c->steps[c->write.step_count++];
  *step = (mneme_step){.op = kind};
  return step;
}

/* --- Appends ------------------------------------------------------------- */

/* An id or key that stands twice in one request. */
static bool check_duplicates(op *o, const wire_memory *memories, size_t count) {
  set ids, keys;
  if (count < 2)
    return true;
  if (!set_init(&ids, o->arena, count) || !set_init(&keys, o->arena, count))
    return error_no_memory(&o->error);
  for (size_t i = 0; i < count; i++) {
    const mneme_record *r = &memories[i].record;
    const char *name = NULL;
    int64_t before = -1;
    if (r->id.size > 0 && (before = set_add(&ids, r->id.data, r->id.size, (int64_t)i)) >= 0)
      name = "id";
    else if (r->key.size > 0 &&
             (before = set_add(&keys, r->key.data, r->key.size, (int64_t)i)) >= 0)
      name = "key";
    if (name != NULL) {
      const char *field = arena_printf(o->arena, "memories[%zu].%s", i, name);
      return error_invalid(&o->error, o->arena, "DUPLICATE", field,
                           "memories[%zu].%s: the same as that of memories[%lld]", i, name,
                           (long long)before);
    }
  }
  return true;
}

static bool give_id(op *o, mneme_record *r) {
  uint8_t uuid[16];
  char *text = arena_alloc(o->arena, UUID_TEXT_SIZE);
  if (text == NULL)
    return error_no_memory(&o->error);
  uuid_v7(uuid, o->call.now_us);
  uuid_format(uuid, text);
  r->id = mneme_bytes_of(text, UUID_TEXT_SIZE - 1);
  return true;
}

/* A default for an id is FAIL; for a key alone it is REPLACE. */
static mneme_on_conflict conflict_of(const wire_memory *m, int asked) {
  if (asked != 0)
    return (mneme_on_conflict)asked;
  return m->record.id.size == 0 && m->record.key.size > 0 ? MNEME_CONFLICT_REPLACE
                                                          : MNEME_CONFLICT_FAIL;
}

/* On each attempt anew: the default kind is the policy's, and time has passed. */
static void seal(commit *c) {
  mneme_bytes kind = policy_default_kind(&c->effective);
  for (size_t i = 0; i < c->memory_count; i++) {
    mneme_record *r = &c->records[i];
    r->kind = c->memories[i].record.kind.size > 0 ? c->memories[i].record.kind : kind;
    if (r->ttl_us > 0)
      r->expire_us = c->op->call.now_us + r->ttl_us;
    record_seal(r);
  }
}

bool commit_append(commit *c, const wire_memory *memories, size_t count, int on_conflict) {
  op *o = c->op;
  if (!check_duplicates(o, memories, count))
    return false;
  mneme_record *records = arena_alloc(o->arena, (count + 1) * sizeof *records);
  mneme_on_conflict *conflicts = arena_alloc(o->arena, (count + 1) * sizeof *conflicts);
  if (records == NULL || conflicts == NULL)
    return error_no_memory(&o->error);
  for (size_t i = 0; i < count; i++) {
    conflicts[i] = conflict_of(&memories[i], on_conflict);
    records[i] = memories[i].record;
    if ((records[i].id.size == 0 && !give_id(o, &records[i])) || !filtered_store(o, &records[i]))
      return false;
  }
  mneme_step *step = commit_step(c, MNEME_STEP_APPEND);
  step->records = records;
  step->on_conflict = conflicts;
  step->record_count = count;
  c->memories = memories;
  c->memory_count = count;
  c->records = records;
  c->prepare = seal;
  return true;
}

bool commit_has_lapsed(const commit *c, const wire_memory *memories, size_t count) {
  op *o = c->op;
  for (size_t i = 0; i < count; i++) {
    const mneme_record *r = &memories[i].record;
    if (r->ttl_us == 0 && r->expire_us != 0 && r->expire_us <= o->call.now_us) {
      const char *field = arena_printf(o->arena, "memories[%zu].expire_time", i);
      error_invalid(&o->error, o->arena, "INVALID_VALUE", field,
                    "memories[%zu].expire_time: is in the past", i);
      return true;
    }
  }
  return false;
}

/* --- Running ------------------------------------------------------------- */

static void commit_attempt(op *o);

void commit_mismatch(op *o, int64_t current, const char *what) {
  error_set(&o->error, o->arena, CODE_ABORTED, "REVISION_MISMATCH", NULL,
            "the %s is at revision %lld: read it again and repeat with that", what,
            (long long)current);
  error_add(&o->error, "current_revision", arena_printf(o->arena, "%lld", (long long)current));
}

static bool only_drops(const commit *c) {
  return c->write.step_count == 1 && c->steps[0].op == MNEME_STEP_DROP;
}

/* Remembers the settings of the header that a backend answered with. false = they
 * are damaged. */
static bool learn(commit *c, const mneme_header *h) {
  op *o = c->op;
  wire_settings settings;
  mneme_bytes bytes = h->settings;
  plan_known known = {.uid = h->uid};
  if (bytes.size > 0) {
    bytes.data = arena_copy(o->arena, bytes.data, bytes.size);
    if (bytes.data == NULL)
      return error_no_memory(&o->error);
    bool read = wire_read_settings(bytes, o->arena, &settings);
    if (!read && only_drops(c)) { /* no policy matters, and it must be possible */
      known.settings_revision = h->settings_revision;
      c->known = known;
      return true;
    }
    if (!read) {
      error_from_status(&o->error, o->arena, MNEME_CORRUPT, false, op_backend(o));
      return false;
    }
    known.settings_revision = h->settings_revision;
    known.policy = settings.policy;
    if (settings.policy.default_kind.size > 0)
      memcpy(known.kind, settings.policy.default_kind.data, settings.policy.default_kind.size);
    known.policy.default_kind.data = known.kind;
  }
  plans_put(o->service->plans, c->write.ns, c->write.session, &known);
  c->known = known;
  c->known.policy.default_kind.data = c->known.kind;
  return true;
}

/* With o->error, when it is set already, else with what the status means. */
static void fail(commit *c, mneme_status status) {
  op *o = c->op;
  if (o->error.code == CODE_OK)
    error_from_status(&o->error, o->arena, status, c->write.request_id.size > 0, op_backend(o));
  if (c->ended != NULL)
    c->ended(c, status, NULL);
  else
    op_fail(o);
}

static void fail_conflict(commit *c, const mneme_written *w) {
  bool settings = c->write.expected_settings_revision >= 0;
  commit_mismatch(c->op, w->conflict_revision, settings ? "session's settings" : "session");
  fail(c, MNEME_CONFLICT);
}

/* The plan came from what was remembered of an earlier incarnation. */
static bool is_other_incarnation(const commit *c, mneme_status status, const mneme_written *w) {
  return status == MNEME_CONFLICT && c->write.uid == &c->known.uid &&
         memcmp(&w->header.uid, &c->known.uid, sizeof w->header.uid) != 0;
}

/* The write has happened: when its answer cannot be given, the client must not
 * take that for a refusal. */
static void finish_written(commit *c, const mneme_written *w) {
  op *o = c->op;
  const wire_message *reply = c->answer(c, w);
  if (reply != NULL)
    op_finish(o, reply);
  else
    op_fail_status(o, MNEME_UNCERTAIN, c->write.request_id.size > 0);
}

static void commit_done(mneme_status status, const mneme_written *w, void *ctx) {
  commit *c = ctx;
  op *o = c->op;
  if (status == MNEME_OK) {
    if (c->ended != NULL)
      c->ended(c, status, w);
    else
      finish_written(c, w);
    return;
  }
  if (status == MNEME_STALE_PLAN || is_other_incarnation(c, status, w)) {
    if (c->attempts >= COMMIT_ATTEMPTS_MAX)
      fail(c, MNEME_STALE_PLAN);
    else if (!learn(c, &w->header))
      fail(c, MNEME_CORRUPT);
    else
      commit_attempt(o);
    return;
  }
  if (c->refused != NULL && c->refused(c, status, w))
    return;
  if (status == MNEME_CONFLICT)
    fail_conflict(c, w);
  else
    fail(c, status);
}

static void commit_attempt(op *o) {
  commit *c = o->state;
  c->attempts++;
  c->effective = policy_merge(o->route.rule,
                              c->new_policy != NULL ? c->new_policy : &c->known.policy);
  c->write.plan = policy_plan(&c->effective);
  c->write.plan.settings_revision = c->known.settings_revision;
  c->write.window_us = policy_window_us(&c->effective);
  /* A plan with an override is good for one incarnation only. A uid that the
   * method itself asks for stays. */
  if (c->write.uid == NULL || c->write.uid == &c->known.uid)
    c->write.uid = c->known.settings_revision != 0 ? &c->known.uid : NULL;
  if (c->prepare != NULL)
    c->prepare(c);
  registry_backend *b = o->route.backend;
  b->type->commit(b->instance, &o->call, &c->write, commit_done, c);
}

/* These take out as much as there is. */
static bool is_bounded(const commit *c) {
  for (size_t i = 0; i < c->write.step_count; i++)
    if (c->steps[i].op == MNEME_STEP_REMOVE_FROM || c->steps[i].op == MNEME_STEP_DROP)
      return false;
  return true;
}

void commit_start(commit *c) {
  op *o = c->op;
  plans_get(o->service->plans, c->write.ns, c->write.session, &c->known);
  /* What is remembered may be of an earlier incarnation than the one that the
   * method has read. */
  if (c->known.settings_revision != 0 && c->write.uid != NULL &&
      c->write.uid != &c->known.uid &&
      memcmp(c->write.uid, &c->known.uid, sizeof c->known.uid) != 0) {
    c->known.settings_revision = 0;
    c->known.policy.set = 0;
  }
  o->state = c;
  if (c->ended != NULL)
    commit_attempt(o);
  else
    op_run(o, is_bounded(c) ? OP_COMMIT : OP_UNBOUND, commit_attempt);
}

/* --- Refusing ------------------------------------------------------------ */

static void replay_done(mneme_status status, const mneme_written *w, void *ctx) {
  commit *c = ctx;
  op *o = c->op;
  /* Only a request_id that is not remembered leaves the refusal as it is; when
   * that cannot be known, neither can whether the request has succeeded before. */
  if (status == MNEME_NOT_FOUND) {
    o->error = c->refusal;
    op_fail(o);
  } else if (status == MNEME_OK) {
    finish_written(c, w);
  } else {
    op_fail_status(o, status, true);
  }
}

static void ask_replay(op *o) {
  commit *c = o->state;
  registry_backend *b = o->route.backend;
  b->type->request_get(b->instance, &o->call, &c->write, replay_done, c);
}

void commit_refuse(commit *c) {
  op *o = c->op;
  if (c->write.request_id.size == 0) {
    op_fail(o);
    return;
  }
  o->state = c;
  c->refusal = o->error;
  o->error = (error){0};
  op_run(o, OP_READ_SHORT, ask_replay);
}
