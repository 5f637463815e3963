/* A heap of what expires. Entries of memories that have gone stay until their time
 * or until they are more than half of all. */
#include <stdlib.h>

#include "search/inside.h"

static bool is_stale(const corpus *c, const due *e) {
  if (e->slot != 0) {
    const doc *d = e->slot / DOCS_PAGE < c->page_room ? corpus_doc(c, e->slot) : NULL;
    return d == NULL || d->expire_us != e->when_us;
  }
  const conversation *s = &c->sessions[e->session];
  return s->name == NULL || s->expire_us != e->when_us;
}

static void sink(due *heap, size_t count, size_t at) {
  due e = heap[at];
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && heap[child + 1].when_us < heap[child].when_us)
      child++;
    if (heap[child].when_us >= e.when_us)
      break;
    heap[at] = heap[child];
  }
  heap[at] = e;
}

/* Whether an entry is stale may be asked of slots that are there still. */
static void sweep(corpus *c) {
  size_t kept = 0;
  for (size_t i = 0; i < c->due_count; i++)
    if (!is_stale(c, &c->heap[i]))
      c->heap[kept++] = c->heap[i];
  c->due_count = kept;
  for (size_t i = kept / 2; i-- > 0;)
    sink(c->heap, kept, i);
}

bool due_add(corpus *c, int64_t when_us, uint32_t slot, uint32_t session) {
  if (c->due_count == c->due_room) {
    sweep(c);
    if (c->due_count * 2 > c->due_room || c->due_room == 0) {
      size_t room = c->due_room * 2 + 16;
      due *heap = realloc(c->heap, room * sizeof *heap);
      if (heap == NULL)
        return false;
      c->bytes += (room - c->due_room) * sizeof *heap;
      c->heap = heap;
      c->due_room = room;
    }
  }
  size_t at = c->due_count++;
  for (; at > 0 && c->heap[(at - 1) / 2].when_us > when_us; at = (at - 1) / 2)
    c->heap[at] = c->heap[(at - 1) / 2];
  c->heap[at] = (due){when_us, slot, session};
  return true;
}

bool corpus_due(corpus *c, int64_t now_us, uint32_t *ret_session, int64_t *ret_sequence) {
  while (c->due_count > 0 && c->heap[0].when_us <= now_us) {
    due e = c->heap[0];
    if (!is_stale(c, &e)) {
      *ret_session = e.session;
      *ret_sequence = e.slot != 0 ? corpus_doc(c, e.slot)->sequence : 0;
      return true;
    }
    c->heap[0] = c->heap[--c->due_count];
    if (c->due_count > 0)
      sink(c->heap, c->due_count, 0);
  }
  return false;
}
