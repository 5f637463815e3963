/* A reader of changes() (see follow.h). Incarnations are told apart by their uid:
 * the order in which one call tells of two incarnations of a session is free. */
#include "follow.h"

#include <string.h>

static mneme_header *find(follower *f, const mneme_header *h) {
  for (size_t i = 0; i < f->count; i++)
    if (cf_same_uid(&f->known[i].uid, &h->uid) && cf_same(f->known[i].session, h->session))
      return &f->known[i];
  if (f->count == FOLLOW_MAX) FAIL("a follower knows at most %d incarnations", FOLLOW_MAX);
  return &f->known[f->count++];
}

static mneme_bytes keep(mneme_bytes b) {
  return (mneme_bytes){cf_copy(b.data, b.size), b.size};
}

size_t follow(follower *f, int stop_after) {
  cf_opt.stop_after = stop_after;
  cf_answer *a = OK(cf_changes(f->ns, f->cursor));
  if (a->bytes.size > MNEME_CURSOR_MAX)
    FAIL("a cursor of %zu bytes, more than MNEME_CURSOR_MAX", a->bytes.size);
  for (size_t i = 0; i < a->header_count; i++) {
    const mneme_header *h = &a->headers[i];
    if (!cf_same(h->ns, f->ns)) FAIL("changes told of another namespace");
    mneme_header *known = find(f, h);
    if (known->deleted && !h->deleted) FAIL("an incarnation that had gone is back");
    bool fresh = known->session.size == 0;
    if (!fresh && !h->deleted && h->revision < known->revision)
      FAIL("revision %lld after %lld", (long long)h->revision, (long long)known->revision);
    mneme_bytes session = fresh ? keep(h->session) : known->session;
    *known = *h;
    known->session = session;
    known->ns = f->ns;
    known->settings = (mneme_bytes){NULL, 0};
  }
  size_t told = a->header_count;
  f->cursor = keep(a->bytes);
  cf_release(a);
  return told;
}

void follow_check(const follower *f) {
  size_t live = 0;
  for (size_t i = 0; i < f->count; i++) {
    const mneme_header *h = &f->known[i];
    cf_context("session %.*s as a follower knows it", (int)h->session.size, h->session.data);
    cf_answer *a = cf_session_get(f->ns, h->session);
    bool there = a->status == MNEME_OK && cf_same_uid(&a->header.uid, &h->uid);
    if (!there && a->status != MNEME_OK) CHECK_STATUS(a, MNEME_NOT_FOUND);
    CHECK_INT(h->deleted, !there);
    if (there) {
      live++;
      CHECK_INT(h->revision, a->header.revision);
      CHECK_INT(h->settings_revision, a->header.settings_revision);
      CHECK_INT(h->last_sequence, a->header.last_sequence);
      CHECK_INT(h->mutations, a->header.mutations);
    }
    cf_release(a);
  }
  cf_context("the list of sessions");
  mneme_session_list list = cf_listing();
  list.ns = f->ns;
  cf_answer *a = OK(cf_session_list(&list));
  CHECK_INT(a->header_count, live);
  cf_release(a);
  cf_context("%s", "");
}
