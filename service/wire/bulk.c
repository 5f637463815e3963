/* What removes from many sessions at once. */
#include "wire/internal.h"

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
