/* Reads in a few words, and what they saw as text to compare. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

/* A text that grows. */
typedef struct text {
  char *data;
  size_t size, max;
} text;

__attribute__((format(printf, 2, 3))) static void add(text *t, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char piece[1024];
  int n = vsnprintf(piece, sizeof piece, format, arguments);
  va_end(arguments);
  if (n >= (int)sizeof piece) n = (int)sizeof piece - 1;
  if (t->size + (size_t)n + 1 > t->max) {
    t->max = (t->max + (size_t)n) * 2 + 64;
    t->data = realloc(t->data, t->max);
    if (t->data == NULL) abort();
  }
  memcpy(t->data + t->size, piece, (size_t)n + 1);
  t->size += (size_t)n;
}

static void add_bytes(text *t, mneme_bytes b) {
  if (b.size > 200)
    add(t, "%zu bytes", b.size);
  else
    add(t, "%.*s", (int)b.size, b.size ? b.data : "");
}

static const char *finish(text *t) {
  const char *kept = t->data ? cf_copy(t->data, t->size + 1) : "";
  free(t->data);
  return kept;
}

mneme_read cf_reading(const char *session) {
  mneme_read r = {0};
  r.ns = cf.ns;
  r.session = cf_bytes(session);
  r.select = MNEME_SELECT_SEQUENCES;
  r.last = INT64_MAX;
  r.projection = MNEME_READ_BODY;
  return r;
}

cf_answer *cf_all(const char *session) {
  mneme_read r = cf_reading(session);
  return OK(cf_read(&r));
}

mneme_header cf_header(const char *session) {
  return OK(cf_session_get(cf.ns, cf_bytes(session)))->header;
}

mneme_session_list cf_listing(void) {
  mneme_session_list list = {0};
  list.ns = cf.ns;
  list.order = MNEME_SESSIONS_BY_ID;
  list.limit = 1000000;
  return list;
}

const char *cf_ids(const cf_answer *a) {
  text t = {0};
  for (size_t i = 0; i < a->record_count; i++) {
    if (i > 0) add(&t, ",");
    add_bytes(&t, a->records[i].id);
  }
  return finish(&t);
}

const char *cf_sequences(const cf_answer *a) {
  text t = {0};
  for (size_t i = 0; i < a->record_count; i++)
    add(&t, "%s%lld", i > 0 ? "," : "", (long long)a->records[i].sequence);
  return finish(&t);
}

const char *cf_names(const cf_answer *a) {
  text t = {0};
  for (size_t i = 0; i < a->header_count; i++) {
    if (i > 0) add(&t, ",");
    add_bytes(&t, a->headers[i].session);
  }
  return finish(&t);
}

static const char *op_name(mneme_log_op op) {
  switch (op) {
    case MNEME_LOG_UPDATED: return "UPDATED";
    case MNEME_LOG_DELETED: return "DELETED";
    case MNEME_LOG_EVICTED: return "EVICTED";
    case MNEME_LOG_EXPIRED: return "EXPIRED";
  }
  return "?";
}

/* Entries of one revision and op that touch are joined: whether neighbours share
 * an entry is the engine's own choice. */
const char *cf_log_text(const char *session) {
  mneme_header h = cf_header(session);
  cf_answer *a = cf_log(cf_bytes(session), &h.uid, 0);
  if (a->status != MNEME_OK) return cf_status_name(a->status);
  CHECK_INT(a->entry_count, h.mutations);
  text t = {0};
  for (size_t i = 0; i < a->entry_count; i++) {
    const mneme_log_entry *e = &a->entries[i];
    CHECK_INT(e->number, i + 1);
    CHECK(e->first >= 1 && e->last >= e->first && e->last <= h.last_sequence);
    int64_t last = e->last;
    while (i + 1 < a->entry_count && a->entries[i + 1].revision == e->revision &&
           a->entries[i + 1].op == e->op && a->entries[i + 1].first == last + 1) {
      i++;
      CHECK_INT(a->entries[i].number, i + 1);
      last = a->entries[i].last;
    }
    add(&t, "%s%lld:%s %lld", t.size ? ", " : "", (long long)e->revision, op_name(e->op),
        (long long)e->first);
    if (last > e->first) add(&t, "-%lld", (long long)last);
  }
  return finish(&t);
}

const char *cf_snapshot(const char *session) {
  cf_answer *got = cf_session_get(cf.ns, cf_bytes(session));
  if (got->status != MNEME_OK) return cf_status_name(got->status);
  const mneme_header *h = &got->header;
  text t = {0};
  add(&t, "revision %lld settings %lld last %lld mutations %lld count %lld tokens %lld ",
      (long long)h->revision, (long long)h->settings_revision, (long long)h->last_sequence,
      (long long)h->mutations, (long long)h->memory_count, (long long)h->token_count);
  add(&t, "bytes %lld create %lld update %lld append %lld expire %lld max_age %lld keep %d ",
      (long long)h->byte_count, (long long)h->create_us, (long long)h->update_us,
      (long long)h->append_us, (long long)h->expire_us, (long long)h->max_age_us,
      h->keep_system);
  for (int i = 0; i < 16; i++) add(&t, "%02x", h->uid.bytes[i]);
  add(&t, " settings ");
  add_bytes(&t, h->settings);
  const cf_answer *all = cf_all(session);
  for (size_t i = 0; i < all->record_count; i++) {
    const mneme_record *r = &all->records[i];
    add(&t, "\n  %lld ", (long long)r->sequence);
    const mneme_bytes texts[] = {r->id, r->key, r->kind, r->role, r->author, r->source, r->body};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
      add_bytes(&t, texts[k]);
      add(&t, "|");
    }
    add(&t, " %lld %lld %lld %lld %lld", (long long)r->revision, (long long)r->create_us,
        (long long)r->update_us, (long long)r->access_us, (long long)r->access_count);
    add(&t, " tier %d pinned %d importance %d %g tokens %lld ttl %lld event %lld expire %lld %u",
        (int)r->tier, r->pinned, r->has_importance, r->importance, (long long)r->token_count,
        (long long)r->ttl_us, (long long)r->event_us, (long long)r->expire_us, r->crc);
  }
  add(&t, "\n  log: %s", cf_log_text(session));
  return finish(&t);
}

int64_t cf_sweep(void) {
  int64_t swept = 0;
  for (int rounds = 0;; rounds++) {
    if (rounds > 10000) FAIL("due goes on naming sessions after EXPIRE");
    cf_answer *due = OK(cf_due(100000));
    bool any = false;
    for (size_t i = 0; i < due->header_count; i++) {
      const mneme_header *h = &due->headers[i];
      if (!cf_same(h->ns, cf.ns)) continue;
      mneme_write w = cf_write("");
      w.session = h->session;
      mneme_step step = EXPIRE(100);
      w.steps = &step;
      w.step_count = 1;
      cf_answer *a = OK(cf_commit(&w));
      swept += a->written.expired_count;
      any = true;
    }
    cf_release(due);
    if (!any) return swept;
  }
}
