/* Commits in a few words: the builders behind R, APPEND, PUT ... and DO.
 *
 * All that a write points to is copied into the test's memory, so a step may be
 * built from temporaries and its commit may complete at any time. */
#include <string.h>

#include "conform.h"
#include "copy.h"

mneme_bytes cf_bytes(const char *text) {
  if (text == NULL) return (mneme_bytes){NULL, 0};
  return (mneme_bytes){text, strlen(text)};
}

bool cf_same(mneme_bytes a, mneme_bytes b) { return cf_compare(a, b) == 0; }

int cf_compare(mneme_bytes a, mneme_bytes b) {
  size_t shorter = a.size < b.size ? a.size : b.size;
  int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;
  if (order != 0) return order;
  return a.size < b.size ? -1 : a.size > b.size;
}

mneme_uid cf_new_uid(void) {
  /* As the service makes them: the time first, then what no other has. */
  static atomic_uint_fast64_t counter;
  uint64_t number = atomic_fetch_add(&counter, 1) + 1;
  uint64_t head = (uint64_t)cf_now() / 1000 << 16 | 0x7000 | (number >> 40 & 0xfff);
  uint64_t tail = (uint64_t)2 << 62 | (cf.seed & 0x3fffff) << 40 | (number & 0xffffffffff);
  mneme_uid uid;
  for (int i = 0; i < 8; i++) {
    uid.bytes[i] = (uint8_t)(head >> (56 - 8 * i));
    uid.bytes[8 + i] = (uint8_t)(tail >> (56 - 8 * i));
  }
  return uid;
}

bool cf_same_uid(const mneme_uid *a, const mneme_uid *b) {
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool cf_zero_uid(const mneme_uid *uid) {
  static const mneme_uid zero;
  return cf_same_uid(uid, &zero);
}

int64_t cf_record_size(const mneme_record *r) {
  return (int64_t)(r->body.size + r->id.size + r->key.size + r->kind.size + r->role.size +
                   r->author.size + r->source.size);
}

static mneme_bytes kept(const char *text) {
  mneme_bytes b = cf_bytes(text);
  if (b.size == 0) return b;
  return (mneme_bytes){cf_copy(b.data, b.size), b.size};
}

/* Any number that depends on the caller's fields will do: a backend keeps the crc
 * and never computes it. */
static uint32_t crc_of(const mneme_record *r) {
  uint32_t crc = 2166136261u;
  for (size_t i = 0; i < r->body.size; i++)
    crc = (crc ^ (unsigned char)r->body.data[i]) * 16777619u;
  return crc ^ (uint32_t)r->token_count;
}

mneme_record cf_record(const cf_rec *rec) {
  mneme_record r = {0};
  r.id = kept(rec->id);
  r.key = kept(rec->key);
  r.kind = kept(rec->kind);
  r.role = kept(rec->role);
  r.author = kept(rec->author);
  r.source = kept(rec->source);
  r.body = kept(rec->body);
  r.metadata_json = kept(rec->metadata);
  r.tier = rec->tier;
  r.pinned = rec->pinned;
  r.has_importance = rec->importance != 0 || rec->zero_importance;
  r.importance = rec->importance;
  r.token_count = rec->tokens;
  r.ttl_us = rec->ttl_us;
  r.event_us = rec->event_us;
  /* The host resolves ttl_us: what the caller set, or now + ttl_us. */
  r.expire_us = rec->expire_us ? rec->expire_us : rec->ttl_us ? cf_now() + rec->ttl_us : 0;
  r.crc = crc_of(&r);
  return r;
}

mneme_write cf_write(const char *session) {
  mneme_write w = {0};
  w.ns = cf.ns;
  w.session = kept(session);
  w.expected_revision = -1;
  w.expected_settings_revision = -1;
  w.new_uid = cf_new_uid();
  w.plan.strategy = MNEME_EVICT_FIFO;
  return w;
}

const mneme_write *cf_plain(const char *session) {
  mneme_write w = cf_write(session);
  return cf_copy(&w, sizeof w);
}

void cf_request(mneme_write *write, const char *request_id, const char *body) {
  write->request_id = kept(request_id);
  memset(write->fingerprint, 0, sizeof write->fingerprint);
  memcpy(write->fingerprint, body, strnlen(body, sizeof write->fingerprint));
  if (write->window_us == 0) write->window_us = 3600 * CF_SECOND;
}

mneme_step cf_step_append(size_t count, const cf_rec *recs) {
  mneme_record *records = cf_alloc(count * sizeof *records);
  mneme_on_conflict *policies = cf_alloc(count * sizeof *policies);
  for (size_t i = 0; i < count; i++) {
    records[i] = cf_record(&recs[i]);
    policies[i] = recs[i].policy ? recs[i].policy : MNEME_CONFLICT_FAIL;
  }
  mneme_step step = {.op = MNEME_STEP_APPEND};
  step.records = records;
  step.on_conflict = policies;
  step.record_count = count;
  return step;
}

mneme_step cf_step_put(int64_t sequence, int64_t revision, cf_rec rec) {
  mneme_record *record = cf_alloc(sizeof *record);
  *record = cf_record(&rec);
  record->sequence = sequence;
  mneme_step step = {.op = MNEME_STEP_PUT};
  step.records = record;
  step.record_count = 1;
  step.expected_revision = revision;
  return step;
}

mneme_step cf_step_names(mneme_step_op op, size_t count, const char *const *names) {
  mneme_bytes *copies = cf_alloc(count * sizeof *copies);
  for (size_t i = 0; i < count; i++) copies[i] = kept(names[i]);
  mneme_step step = {.op = op};
  step.names = copies;
  step.name_count = count;
  return step;
}

mneme_step cf_step_sequences(mneme_step_op op, size_t count, const int64_t *sequences) {
  mneme_step step = {.op = op};
  step.sequences = cf_copy(sequences, count * sizeof *sequences);
  step.sequence_count = count;
  return step;
}

mneme_step cf_step_judged(size_t count, const int64_t (*pairs)[2]) {
  int64_t *sequences = cf_alloc(count * sizeof *sequences);
  int64_t *revisions = cf_alloc(count * sizeof *revisions);
  for (size_t i = 0; i < count; i++) {
    sequences[i] = pairs[i][0];
    revisions[i] = pairs[i][1];
  }
  mneme_step step = {.op = MNEME_STEP_REMOVE_SEQUENCES};
  step.sequences = sequences;
  step.revisions = revisions;
  step.sequence_count = count;
  return step;
}

mneme_step cf_step_count(mneme_step_op op, int64_t count, int64_t byte_limit) {
  mneme_step step = {.op = op};
  step.count = count;
  step.byte_limit = byte_limit;
  return step;
}

mneme_step cf_step_from(int64_t sequence) {
  mneme_step step = {.op = MNEME_STEP_REMOVE_FROM};
  step.from_sequence = sequence;
  return step;
}

mneme_step cf_step_settings(mneme_bytes settings) {
  mneme_step step = {.op = MNEME_STEP_SET_SETTINGS};
  step.settings = (mneme_bytes){cf_copy(settings.data, settings.size), settings.size};
  return step;
}

cf_answer *cf_do(const mneme_write *write, size_t count, const mneme_step *steps) {
  mneme_write *w = cf_copy(write, sizeof *write);
  w->steps = cf_copy(steps, count * sizeof *steps);
  w->step_count = count;
  return cf_commit(w);
}

cf_answer *cf_ok(cf_answer *answer, const char *file, int line) {
  if (answer->status != MNEME_OK)
    cf_fail(file, line, "%s answered %s, not MNEME_OK", answer->operation,
            cf_status_name(answer->status));
  return answer;
}

void cf_fill(const char *session, const char *prefix, int64_t count) {
  for (int64_t done = 0; done < count;) {
    size_t batch = count - done < 1000 ? (size_t)(count - done) : 1000;
    cf_rec *recs = cf_alloc(batch * sizeof *recs);
    for (size_t i = 0; i < batch; i++) {
      recs[i].id = cf_text("%s%lld", prefix, (long long)(done + (int64_t)i + 1));
      recs[i].body = "text";
    }
    mneme_step step = cf_step_append(batch, recs);
    OK(cf_do(cf_plain(session), 1, &step));
    done += (int64_t)batch;
  }
}
