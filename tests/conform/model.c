/* The model's sessions and reads: everything is looked at, then sorted. */
#include "model_in.h"

#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "copy.h"

model *model_new(void) {
  model *m = calloc(1, sizeof *m);
  if (m == NULL) abort();
  return m;
}

static void session_free(model_session *s) {
  free(s->records);
  free(s->log);
}

void model_free(model *m) {
  for (size_t i = 0; i < m->count; i++) session_free(&m->sessions[i]);
  free(m->sessions);
  free(m->requests);
  cf_chunks_free(&m->chunks);
  free(m);
}

static model_session *find_any(model *m, mneme_bytes ns, mneme_bytes session) {
  for (size_t i = 0; i < m->count; i++)
    if (cf_same(m->sessions[i].header.ns, ns) && cf_same(m->sessions[i].header.session, session))
      return &m->sessions[i];
  return NULL;
}

static bool lapsed(const model_session *s, int64_t now_us) {
  return s->header.expire_us != 0 && now_us >= s->header.expire_us;
}

model_session *model_find(model *m, int64_t now_us, mneme_bytes ns, mneme_bytes session) {
  model_session *s = find_any(m, ns, session);
  return s != NULL && !lapsed(s, now_us) ? s : NULL;
}

void model_replace(model *m, mneme_bytes ns, mneme_bytes session, const model_session *with) {
  model_session *old = find_any(m, ns, session);
  if (old != NULL) {
    session_free(old);
    if (with != NULL) *old = *with;
    else *old = m->sessions[--m->count];
  } else if (with != NULL) {
    if (m->count == m->max) {
      m->max = m->max ? m->max * 2 : 16;
      m->sessions = realloc(m->sessions, m->max * sizeof *m->sessions);
      if (m->sessions == NULL) abort();
    }
    m->sessions[m->count++] = *with;
  }
}

bool model_live(const model_session *s, const mneme_record *r, int64_t now_us) {
  if (r->expire_us != 0 && now_us >= r->expire_us) return false;
  if (s->header.max_age_us == 0 || r->pinned) return true;
  if (s->header.keep_system && cf_same(r->role, cf_bytes("system"))) return true;
  return now_us < r->create_us + s->header.max_age_us;
}

mneme_header model_header(const model_session *s, int64_t now_us) {
  mneme_header h = s->header;
  for (size_t i = 0; i < s->count; i++) {
    const mneme_record *r = &s->records[i];
    if (!model_live(s, r, now_us)) continue;
    h.memory_count++;
    h.token_count += r->token_count;
    h.byte_count += cf_record_size(r);
  }
  return h;
}

/* --- Reads --------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
  const mneme_record *const *x = a, *const *y = b;
  return cf_compare((*x)->key, (*y)->key);
}

static bool begins(mneme_bytes whole, mneme_bytes prefix) {
  return whole.size >= prefix.size &&
         (prefix.size == 0 || memcmp(whole.data, prefix.data, prefix.size) == 0);
}

static bool wanted(const mneme_read *read, const mneme_record *r) {
  if (read->select == MNEME_SELECT_SEQUENCES)
    return r->sequence >= read->first && r->sequence <= read->last;
  if (r->key.size == 0 || !begins(r->key, read->key_prefix)) return false;
  if (read->after_key.size == 0) return true;
  int order = cf_compare(r->key, read->after_key);
  return read->descending ? order < 0 : order > 0;
}

static size_t choose(const model_session *s, int64_t now_us, const mneme_read *read,
                     const mneme_record **out) {
  size_t n = 0;
  bool ids = read->select == MNEME_SELECT_IDS;
  if (ids || read->select == MNEME_SELECT_NAMED_KEYS) {
    for (size_t i = 0; i < read->name_count; i++)
      for (size_t k = 0; k < s->count; k++) {
        const mneme_record *r = &s->records[k];
        if (model_live(s, r, now_us) && cf_same(ids ? r->id : r->key, read->names[i]))
          out[n++] = r;
      }
    return n;
  }
  for (size_t i = 0; i < s->count; i++)
    if (model_live(s, &s->records[i], now_us) && wanted(read, &s->records[i]))
      out[n++] = &s->records[i];
  if (read->select == MNEME_SELECT_KEYS && n > 0) qsort(out, n, sizeof *out, by_key);
  for (size_t i = 0; read->descending && i < n / 2; i++) {
    const mneme_record *swap = out[i];
    out[i] = out[n - 1 - i];
    out[n - 1 - i] = swap;
  }
  return n;
}

mneme_status model_read(model *m, int64_t now_us, const mneme_read *read,
                        const mneme_record **out, size_t max, size_t *ret_count) {
  *ret_count = 0;
  model_session *s = model_find(m, now_us, read->ns, read->session);
  if (s == NULL) return MNEME_OK;
  if (read->uid != NULL && !cf_same_uid(read->uid, &s->header.uid)) return MNEME_CONFLICT;
  if (s->count + read->name_count > max) FAIL("the model's session is too long to read");
  size_t n = choose(s, now_us, read, out);
  if (read->limit > 0 && n > (size_t)read->limit) n = (size_t)read->limit;
  int64_t bytes = 0;
  for (size_t i = 0; i < n && read->byte_limit > 0; i++) {
    bytes += cf_record_size(out[i]);
    if (i > 0 && bytes > read->byte_limit) n = i;
  }
  *ret_count = n;
  return MNEME_OK;
}

/* --- Lists and sums ------------------------------------------------------ */

static int by_id(const void *a, const void *b) {
  const mneme_header *x = a, *y = b;
  return cf_compare(x->session, y->session);
}

static int by_update(const void *a, const void *b) {
  const mneme_header *x = a, *y = b;
  if (x->update_us != y->update_us) return x->update_us > y->update_us ? -1 : 1;
  return cf_compare(x->session, y->session);
}

size_t model_list(model *m, int64_t now_us, const mneme_session_list *list,
                  mneme_header *out, size_t max) {
  bool updates = list->order == MNEME_SESSIONS_BY_UPDATE;
  mneme_header after = {.session = list->after_session, .update_us = list->after_update_us};
  size_t n = 0;
  for (size_t i = 0; i < m->count; i++) {
    const model_session *s = &m->sessions[i];
    if (lapsed(s, now_us) || !cf_same(s->header.ns, list->ns)) continue;
    if (!begins(s->header.session, list->prefix)) continue;
    mneme_header h = model_header(s, now_us);
    bool beyond = updates ? by_update(&h, &after) > 0 : by_id(&h, &after) > 0;
    if (list->after_session.size > 0 && !beyond) continue;
    if (n == max) FAIL("the model has too many sessions to list");
    out[n++] = h;
  }
  if (n > 0) qsort(out, n, sizeof *out, updates ? by_update : by_id);
  return n > (size_t)list->limit ? (size_t)list->limit : n;
}

mneme_stats model_stats(model *m, int64_t now_us, mneme_bytes ns, mneme_bytes session) {
  mneme_stats sum = {0};
  for (size_t i = 0; i < m->count; i++) {
    const model_session *s = &m->sessions[i];
    if (lapsed(s, now_us) || !cf_same(s->header.ns, ns)) continue;
    if (session.size > 0 && !cf_same(s->header.session, session)) continue;
    mneme_header h = model_header(s, now_us);
    sum.session_count++;
    sum.memory_count += h.memory_count;
    sum.token_count += h.token_count;
    sum.byte_count += h.byte_count;
  }
  return sum;
}
