/* The model's commit: guards, then the steps on a draft of the session, then the
 * policy; the draft takes the session's place when nothing refused it.
 *
 * Strings live in the model's chunks until it is freed, so drafts may share them. */
#include "model_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "copy.h"

typedef struct draft {
  model *m;
  int64_t now_us;
  const mneme_write *w;
  model_session s;
  int64_t revision; /* of this commit, should it change anything */
  bool existed, wrote, set, changed, dropped;
  mneme_ref *refs;
  size_t ref_count, ref_max;
  mneme_record *removed;
  size_t removed_listed, removed_max;
  int64_t removed_count, evicted_count, conflict_revision;
  bool truncated;
} draft;

/* --- The draft ----------------------------------------------------------- */

static void *grown(void *array, size_t count, size_t *max, size_t size) {
  if (count < *max) return array;
  *max = *max ? *max * 2 : 16;
  array = realloc(array, *max * size);
  if (array == NULL) abort();
  return array;
}

static void draft_log(draft *d, int64_t sequence, mneme_log_op op) {
  d->s.log = grown(d->s.log, d->s.log_count, &d->s.log_max, sizeof *d->s.log);
  d->s.log[d->s.log_count++] = (model_log_entry){d->revision, sequence, op};
}

static bool live(const draft *d, const mneme_record *r) {
  return model_live(&d->s, r, d->now_us);
}

static mneme_record *find_name(draft *d, bool by_key, mneme_bytes name) {
  for (size_t i = 0; i < d->s.count; i++) {
    mneme_record *r = &d->s.records[i];
    if (live(d, r) && cf_same(by_key ? r->key : r->id, name)) return r;
  }
  return NULL;
}

static mneme_record *find_sequence(draft *d, int64_t sequence) {
  for (size_t i = 0; i < d->s.count; i++) {
    mneme_record *r = &d->s.records[i];
    if (live(d, r) && r->sequence == sequence) return r;
  }
  return NULL;
}

static void take_out(draft *d, mneme_record *r, mneme_log_op op) {
  draft_log(d, r->sequence, op);
  size_t i = (size_t)(r - d->s.records);
  memmove(r, r + 1, (d->s.count - i - 1) * sizeof *r);
  d->s.count--;
  d->changed = true;
}

static void add_ref(draft *d, const mneme_record *r, bool created) {
  d->refs = cf_grow(&d->m->chunks, d->refs, d->ref_count, &d->ref_max, sizeof *d->refs);
  d->refs[d->ref_count++] = (mneme_ref){r->id, r->sequence, r->revision, created};
}

/* Removes for a REMOVE step: kept for the answer, ascending by sequence. */
static void remove_record(draft *d, mneme_record *r) {
  d->removed = cf_grow(&d->m->chunks, d->removed, d->removed_listed, &d->removed_max,
                       sizeof *d->removed);
  size_t at = d->removed_listed++;
  while (at > 0 && d->removed[at - 1].sequence > r->sequence) {
    d->removed[at] = d->removed[at - 1];
    at--;
  }
  d->removed[at] = *r;
  d->removed_count++;
  take_out(d, r, MNEME_LOG_DELETED);
}

/* --- Steps --------------------------------------------------------------- */

static void replace(draft *d, mneme_record *old, const mneme_record *with) {
  mneme_record r = cf_copy_record(&d->m->chunks, with);
  r.id = old->id;
  r.sequence = old->sequence;
  r.create_us = old->create_us;
  r.access_us = old->access_us;
  r.access_count = old->access_count;
  r.update_us = d->now_us > old->update_us + 1 ? d->now_us : old->update_us + 1;
  r.revision = d->revision;
  *old = r;
  d->wrote = d->changed = true;
  draft_log(d, r.sequence, MNEME_LOG_UPDATED);
  add_ref(d, &r, false);
}

static void create(draft *d, const mneme_record *record) {
  mneme_record r = cf_copy_record(&d->m->chunks, record);
  r.sequence = ++d->s.header.last_sequence;
  r.revision = d->revision;
  if (d->now_us > d->s.last_create_us) d->s.last_create_us = d->now_us;
  r.create_us = r.update_us = d->s.last_create_us;
  r.access_us = r.access_count = 0;
  d->s.records = grown(d->s.records, d->s.count, &d->s.max, sizeof r);
  d->s.records[d->s.count++] = r;
  d->wrote = d->changed = true;
  add_ref(d, &r, true);
}

static mneme_status append(draft *d, const mneme_step *step) {
  for (size_t i = 0; i < step->record_count; i++) {
    const mneme_record *r = &step->records[i];
    mneme_record *by_id = find_name(d, false, r->id);
    mneme_record *by_key = r->key.size > 0 ? find_name(d, true, r->key) : NULL;
    if (by_id != NULL && by_key != NULL && by_id != by_key) return MNEME_EXISTS;
    mneme_record *found = by_id != NULL ? by_id : by_key;
    if (found == NULL) create(d, r);
    else if (step->on_conflict[i] == MNEME_CONFLICT_FAIL) return MNEME_EXISTS;
    else if (step->on_conflict[i] == MNEME_CONFLICT_SKIP) add_ref(d, found, false);
    else replace(d, found, r);
  }
  return MNEME_OK;
}

static mneme_status put(draft *d, const mneme_step *step) {
  const mneme_record *r = &step->records[0];
  mneme_record *found = find_sequence(d, r->sequence);
  if (found == NULL) return MNEME_NOT_FOUND;
  if (found->revision != step->expected_revision) {
    d->conflict_revision = found->revision;
    return MNEME_CONFLICT;
  }
  mneme_record *owner = r->key.size > 0 ? find_name(d, true, r->key) : NULL;
  if (owner != NULL && owner != found) return MNEME_EXISTS;
  replace(d, found, r);
  return MNEME_OK;
}

static void remove_newest(draft *d, const mneme_step *step) {
  int64_t count = 0, bytes = 0;
  for (size_t i = d->s.count; i-- > 0 && count < step->count;) {
    mneme_record *r = &d->s.records[i];
    if (!live(d, r)) continue;
    bytes += cf_record_size(r);
    if (step->byte_limit > 0 && count > 0 && bytes > step->byte_limit) {
      d->truncated = true;
      return;
    }
    count++;
    remove_record(d, r);
  }
}

static void remove_from(draft *d, int64_t from) {
  for (size_t i = d->s.count; i-- > 0;) {
    mneme_record *r = &d->s.records[i];
    if (live(d, r) && r->sequence >= from) remove_record(d, r);
  }
}

static void touch(draft *d, const mneme_step *step) {
  for (size_t i = 0; i < step->sequence_count; i++) {
    mneme_record *r = find_sequence(d, step->sequences[i]);
    if (r == NULL) continue;
    r->access_count++;
    r->access_us = d->now_us;
    if (step->slide_ttl && r->ttl_us > 0) r->expire_us = d->now_us + r->ttl_us;
  }
}

static mneme_status apply(draft *d, const mneme_step *step) {
  mneme_record *r = NULL;
  switch (step->op) {
    case MNEME_STEP_APPEND: return append(d, step);
    case MNEME_STEP_PUT: return put(d, step);
    case MNEME_STEP_REMOVE_IDS:
    case MNEME_STEP_REMOVE_KEYS:
      for (size_t i = 0; i < step->name_count; i++)
        if ((r = find_name(d, step->op == MNEME_STEP_REMOVE_KEYS, step->names[i])) != NULL)
          remove_record(d, r);
      return MNEME_OK;
    case MNEME_STEP_REMOVE_SEQUENCES:
      for (size_t i = 0; i < step->sequence_count; i++)
        if ((r = find_sequence(d, step->sequences[i])) != NULL &&
            (step->revisions == NULL || step->revisions[i] == r->revision))
          remove_record(d, r);
      return MNEME_OK;
    case MNEME_STEP_REMOVE_NEWEST: remove_newest(d, step); return MNEME_OK;
    case MNEME_STEP_REMOVE_FROM: remove_from(d, step->from_sequence); return MNEME_OK;
    case MNEME_STEP_SET_SETTINGS:
      d->s.header.settings = cf_copy_bytes(&d->m->chunks, step->settings);
      d->set = d->changed = true;
      return MNEME_OK;
    case MNEME_STEP_TOUCH: touch(d, step); return MNEME_OK;
    case MNEME_STEP_DROP:
      d->removed_count = model_header(&d->s, d->now_us).memory_count;
      d->dropped = true;
      return MNEME_OK;
    default: return MNEME_UNSUPPORTED;
  }
}

/* --- Policy -------------------------------------------------------------- */

static double weight(const mneme_record *r) { return r->has_importance ? r->importance : 0.5; }

static mneme_record *newest(draft *d) {
  for (size_t i = d->s.count; i-- > 0;)
    if (live(d, &d->s.records[i])) return &d->s.records[i];
  return NULL;
}

static mneme_record *victim(draft *d) {
  mneme_record *worst = NULL, *last = newest(d);
  for (size_t i = 0; i < d->s.count; i++) {
    mneme_record *r = &d->s.records[i];
    bool system = d->w->plan.keep_system && cf_same(r->role, cf_bytes("system"));
    if (!live(d, r) || r == last || r->pinned || system) continue;
    bool least = d->w->plan.strategy == MNEME_EVICT_LEAST_IMPORTANT;
    if (worst == NULL || (least && weight(r) < weight(worst))) worst = r;
  }
  return worst;
}

static mneme_status evict_to(draft *d, bool tokens, int64_t to) {
  mneme_header h = model_header(&d->s, d->now_us);
  int64_t have = tokens ? h.token_count : h.memory_count;
  while (have > to) {
    mneme_record *r = victim(d);
    if (r == NULL) { /* pinned ones are in the way, or the newest itself */
      mneme_record *last = newest(d);
      int64_t alone = tokens ? last->token_count : 1;
      return alone <= to ? MNEME_SESSION_FULL : MNEME_OK;
    }
    have -= tokens ? r->token_count : 1;
    d->evicted_count++;
    take_out(d, r, MNEME_LOG_EVICTED);
  }
  return MNEME_OK;
}

static mneme_status make_room(draft *d) {
  const mneme_plan *p = &d->w->plan;
  if (!d->wrote) return MNEME_OK;
  /* Both triggers are judged by what is live now, before anything goes. */
  mneme_header h = model_header(&d->s, d->now_us);
  bool memories = p->evict_above > 0 && h.memory_count > p->evict_above;
  bool tokens = p->evict_above_tokens > 0 && h.token_count > p->evict_above_tokens;
  if ((memories || tokens) && p->strategy == MNEME_EVICT_REJECT) return MNEME_SESSION_FULL;
  mneme_status status = memories ? evict_to(d, false, p->evict_to) : MNEME_OK;
  if (status != MNEME_OK || !tokens) return status;
  return evict_to(d, true, p->evict_to_tokens);
}

/* --- Guards -------------------------------------------------------------- */

static mneme_status check_guards(const model_session *s, const mneme_write *w,
                                 int64_t *ret_conflict) {
  const mneme_header *h = s ? &s->header : NULL;
  int64_t resolved = w->plan.settings_revision;
  bool fresh = resolved == 0 ? h == NULL || h->settings.size == 0
                             : h != NULL && h->settings_revision == resolved;
  if (!fresh) return MNEME_STALE_PLAN;
  if (w->uid != NULL && (h == NULL || !cf_same_uid(&h->uid, w->uid))) return MNEME_CONFLICT;
  if (w->existence == MNEME_MUST_EXIST && h == NULL) return MNEME_NOT_FOUND;
  if (w->existence == MNEME_MUST_NOT_EXIST && h != NULL) return MNEME_EXISTS;
  *ret_conflict = h ? h->revision : 0;
  if (w->expected_revision >= 0 && w->expected_revision != *ret_conflict) return MNEME_CONFLICT;
  *ret_conflict = h ? h->settings_revision : 0;
  if (w->expected_settings_revision >= 0 && w->expected_settings_revision != *ret_conflict)
    return MNEME_CONFLICT;
  *ret_conflict = 0;
  return MNEME_OK;
}

/* --- Requests ------------------------------------------------------------ */

mneme_status model_request_get(model *m, int64_t now_us, const mneme_write *w,
                               mneme_written *ret_written) {
  for (size_t i = m->request_count; i-- > 0;) {
    const model_request *q = &m->requests[i];
    if (now_us >= q->until_us || !cf_same(q->id, w->request_id) || !cf_same(q->ns, w->ns) ||
        !cf_same(q->session, w->session))
      continue;
    if (memcmp(q->fingerprint, w->fingerprint, sizeof q->fingerprint) != 0) return MNEME_REUSED;
    *ret_written = q->written;
    return MNEME_OK;
  }
  return MNEME_NOT_FOUND;
}

static void remember(model *m, int64_t now_us, const mneme_write *w,
                     const mneme_written *written) {
  if (w->request_id.size == 0) return;
  m->requests = grown(m->requests, m->request_count, &m->request_max, sizeof *m->requests);
  model_request *q = &m->requests[m->request_count++];
  memset(q, 0, sizeof *q);
  q->ns = cf_copy_bytes(&m->chunks, w->ns);
  q->session = cf_copy_bytes(&m->chunks, w->session);
  q->id = cf_copy_bytes(&m->chunks, w->request_id);
  memcpy(q->fingerprint, w->fingerprint, sizeof q->fingerprint);
  q->until_us = now_us + w->window_us;
  q->written = cf_copy_written(&m->chunks, MNEME_OK, written);
  q->written.deduplicated = true;
  const mneme_header *h = &written->header;
  q->written.header = (mneme_header){.uid = h->uid,
                                     .revision = h->revision,
                                     .settings_revision = h->settings_revision,
                                     .last_sequence = h->last_sequence,
                                     .memory_count = h->memory_count};
}

/* --- Commit -------------------------------------------------------------- */

static void draft_begin(draft *d, const model_session *s) {
  d->existed = s != NULL;
  if (s != NULL) {
    d->s = *s;
    d->s.max = s->count;
    d->s.records = malloc((s->count + 1) * sizeof *s->records);
    d->s.log_max = s->log_count;
    d->s.log = malloc((s->log_count + 1) * sizeof *s->log);
    if (d->s.records == NULL || d->s.log == NULL) abort();
    if (s->count > 0) memcpy(d->s.records, s->records, s->count * sizeof *s->records);
    if (s->log_count > 0) memcpy(d->s.log, s->log, s->log_count * sizeof *s->log);
  } else {
    d->s.header.ns = cf_copy_bytes(&d->m->chunks, d->w->ns);
    d->s.header.session = cf_copy_bytes(&d->m->chunks, d->w->session);
    d->s.header.uid = d->w->new_uid;
    d->s.header.create_us = d->now_us;
    d->s.header.settings_revision = 1;
    d->changed = true;
  }
  d->s.header.max_age_us = d->w->plan.max_age_us;
  d->s.header.keep_system = d->w->plan.keep_system;
  d->revision = d->s.header.revision + 1;
}

static void draft_finish(draft *d) {
  mneme_header *h = &d->s.header;
  int64_t ttl_us = d->w->plan.ttl_us;
  if (d->changed) {
    h->revision = d->revision;
    h->update_us = d->now_us;
  }
  if (d->set) h->settings_revision = d->revision;
  if (d->wrote) h->append_us = d->now_us;
  int64_t base_us = h->append_us ? h->append_us : h->create_us;
  if (d->wrote || d->set || !d->existed) h->expire_us = ttl_us > 0 ? base_us + ttl_us : 0;
}

static mneme_status run_steps(draft *d) {
  for (size_t i = 0; i < d->w->step_count; i++) {
    mneme_status status = apply(d, &d->w->steps[i]);
    if (status != MNEME_OK) return status;
  }
  return make_room(d);
}

static bool creates(const mneme_write *w, bool *ret_puts) {
  bool any = w->step_count == 0;
  for (size_t i = 0; i < w->step_count; i++) {
    any = any || w->steps[i].op == MNEME_STEP_APPEND || w->steps[i].op == MNEME_STEP_SET_SETTINGS;
    *ret_puts = *ret_puts || w->steps[i].op == MNEME_STEP_PUT;
  }
  return any;
}

static void written_of(const draft *d, mneme_written *out) {
  if (!d->dropped) out->header = model_header(&d->s, d->now_us);
  out->existed = d->existed;
  out->truncated = d->truncated;
  out->refs = d->refs;
  out->ref_count = d->ref_count;
  out->removed_count = d->removed_count;
  out->evicted_count = d->evicted_count;
  if (d->w->want_removed) {
    out->removed = d->removed;
    out->removed_count_listed = d->removed_listed;
  }
}

mneme_status model_commit(model *m, int64_t now_us, const mneme_write *w, mneme_written *out) {
  memset(out, 0, sizeof *out);
  if (w->request_id.size > 0) {
    mneme_status known = model_request_get(m, now_us, w, out);
    if (known != MNEME_NOT_FOUND) return known;
  }
  model_session *s = model_find(m, now_us, w->ns, w->session);
  if (w->step_count == 1 && w->steps[0].op == MNEME_STEP_EXPIRE) {
    out->existed = s != NULL;
    if (s != NULL) out->header = model_header(s, now_us);
    return MNEME_OK; /* what it removes could not be seen */
  }
  mneme_status status = check_guards(s, w, &out->conflict_revision);
  bool puts = false;
  if (status == MNEME_OK && s == NULL && !creates(w, &puts)) {
    if (puts) return MNEME_NOT_FOUND;
    remember(m, now_us, w, out);
    return MNEME_OK;
  }
  draft d = {.m = m, .now_us = now_us, .w = w};
  if (status == MNEME_OK) {
    draft_begin(&d, s);
    status = run_steps(&d);
    out->conflict_revision = d.conflict_revision;
  }
  if (status != MNEME_OK) {
    free(d.s.records);
    free(d.s.log);
    if (s != NULL) out->header = model_header(s, now_us);
    return status;
  }
  draft_finish(&d);
  written_of(&d, out);
  remember(m, now_us, w, out);
  model_replace(m, w->ns, w->session, d.dropped ? NULL : &d.s);
  if (d.dropped) {
    free(d.s.records);
    free(d.s.log);
  }
  return MNEME_OK;
}
