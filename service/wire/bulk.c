/* DeleteSessions and CleanUpMemories: what removes from many sessions at once. */
#include "wire/internal.h"

#define DAY_US INT64_C(86400000000)
#define AGE_DAYS_MAX 36500 /* 100 years */
#define AGE_MAX_US (AGE_DAYS_MAX * DAY_US)

bool wire_read_delete_sessions(const uint8_t *data, size_t size, arena *a,
                               wire_delete_sessions *ret, error *e) {
  const Mneme__V1__DeleteSessionsRequest *m =
      wire_unpack(&mneme__v1__delete_sessions_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL || !wire_namespace_in(m->namespace_, a, &ret->ns, e))
    return false;
  ret->prefix = wire_text(m->prefix);
  ret->filter = wire_text(m->filter);
  ret->dry_run = m->dry_run;
  ret->resume_token = wire_text(m->resume_token);
  ret->allow_partial = m->allow_partial;
  return true;
}

const wire_message *wire_delete_sessions_reply(arena *a, const wire_removed *r) {
  Mneme__V1__DeleteSessionsResponse *m =
      wire_message_new(a, &mneme__v1__delete_sessions_response__descriptor);
  if (m == NULL)
    return NULL;
  m->deleted_count = r->count;
  m->sessions = wire_strings(a, r->sessions, r->listed);
  m->n_sessions = r->listed;
  m->resume_token = (char *)r->resume_token;
  m->unavailable_backends = wire_plain_strings(a, r->unavailable, r->unavailable_count);
  m->n_unavailable_backends = r->unavailable_count;
  return m->sessions != NULL && m->unavailable_backends != NULL ? (const wire_message *)m : NULL;
}

/* --- CleanUpMemories ------------------------------------------------------ */

static bool read_ages(const Mneme__V1__CleanUpMemoriesRequest *m, arena *a, wire_clean_up *ret,
                      error *e) {
  if (m->min_age != NULL && m->_max_age_days_case != 0)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "max_age_days",
                         "max_age_days: not together with min_age, which it is short for");
  if (m->_max_age_days_case != 0 && (m->max_age_days < 1 || m->max_age_days > AGE_DAYS_MAX))
    return error_invalid(e, a, "INVALID_VALUE", "max_age_days",
                         "max_age_days: must lie between 1 and %d", AGE_DAYS_MAX);
  if (m->_max_age_days_case != 0)
    ret->min_age_us = m->max_age_days * DAY_US;
  return (m->min_age == NULL ||
          wire_duration_in(m->min_age, "min_age", AGE_MAX_US, a, &ret->min_age_us, e)) &&
         (m->min_idle == NULL ||
          wire_duration_in(m->min_idle, "min_idle", AGE_MAX_US, a, &ret->min_idle_us, e));
}

static bool read_importance(const Mneme__V1__CleanUpMemoriesRequest *m, arena *a,
                            wire_clean_up *ret, error *e) {
  bool max = m->_max_importance_case != 0, min = m->_min_importance_case != 0;
  if (max && min)
    return error_invalid(e, a, "CONFLICTING_FIELDS", "min_importance",
                         "min_importance: not together with max_importance, which says the same");
  ret->has_importance = max || min;
  ret->importance = max ? m->max_importance : min ? m->min_importance : 0;
  const char *field = max ? "max_importance" : "min_importance";
  if (!(ret->importance >= 0 && ret->importance <= 1))
    return error_invalid(e, a, "INVALID_VALUE", field, "%s: must lie between 0 and 1", field);
  return true;
}

bool wire_read_clean_up(const uint8_t *data, size_t size, arena *a, wire_clean_up *ret,
                        error *e) {
  const Mneme__V1__CleanUpMemoriesRequest *m =
      wire_unpack(&mneme__v1__clean_up_memories_request__descriptor, data, size, a, e);
  memset(ret, 0, sizeof *ret);
  if (m == NULL || !wire_namespace_in(m->namespace_, a, &ret->ns, e) ||
      !wire_check_one_scope(m->session, m->session_prefix, a, e) || !read_ages(m, a, ret, e) ||
      !read_importance(m, a, ret, e))
    return false;
  ret->session = wire_text(m->session);
  ret->prefix = wire_text(m->session_prefix);
  ret->filter = wire_text(m->filter);
  ret->dry_run = m->dry_run;
  ret->resume_token = wire_text(m->resume_token);
  ret->allow_partial = m->allow_partial;
  return true;
}

const wire_message *wire_clean_up_reply(arena *a, const wire_removed *r) {
  Mneme__V1__CleanUpMemoriesResponse *m =
      wire_message_new(a, &mneme__v1__clean_up_memories_response__descriptor);
  if (m == NULL)
    return NULL;
  m->deleted_count = r->count;
  m->ids = wire_strings(a, r->ids, r->listed);
  m->n_ids = r->listed;
  m->sessions = wire_strings(a, r->sessions, r->listed);
  m->n_sessions = r->listed;
  m->resume_token = (char *)r->resume_token;
  m->unavailable_backends = wire_plain_strings(a, r->unavailable, r->unavailable_count);
  m->n_unavailable_backends = r->unavailable_count;
  return m->ids != NULL && m->sessions != NULL && m->unavailable_backends != NULL
             ? (const wire_message *)m
             : NULL;
}
