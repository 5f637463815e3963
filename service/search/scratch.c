#include "search/scratch.h"

#include <stdlib.h>
#include <string.h>

scratch *scratch_new(void) { return calloc(1, sizeof(scratch)); }

void scratch_free(scratch *s) {
  if (s == NULL)
    return;
  for (size_t i = 0; i < s->page_room; i++)
    free(s->pages[i]);
  free(s->pages);
  free(s->entries);
  free(s->wanted);
  free(s->touched.items);
  free(s->candidates.items);
  free(s->sessions);
  free(s->sessions_noted.items);
  free(s->traits);
  free(s->traits_noted.items);
  free(s->found);
  free(s);
}

/* Room for `need` things of that size, the new ones zero; false = no memory. */
static bool grow(void **items, size_t *room, size_t need, size_t size) {
  if (need <= *room)
    return true;
  size_t more = need + need / 2 + 64;
  char *grown = realloc(*items, more * size);
  if (grown == NULL)
    return false;
  memset(grown + *room * size, 0, (more - *room) * size);
  *items = grown;
  *room = more;
  return true;
}

bool numbers_add(numbers *n, uint32_t number) {
  if (n->count == n->room && !grow((void **)&n->items, &n->room, n->count + 1, sizeof *n->items))
    return false;
  n->items[n->count++] = number;
  return true;
}

bool scratch_entry(scratch *s, uint32_t slot, uint32_t weight) {
  if (s->entry_count == s->entry_room &&
      !grow((void **)&s->entries, &s->entry_room, s->entry_count + 1, sizeof *s->entries))
    return false;
  s->entries[s->entry_count++] = (entry){slot, weight};
  return true;
}

bool scratch_found(scratch *s, found f) {
  if (s->found_count == s->found_room &&
      !grow((void **)&s->found, &s->found_room, s->found_count + 1, sizeof *s->found))
    return false;
  s->found[s->found_count++] = f;
  return true;
}

bool scratch_prepare(scratch *s, const corpus *c) {
  return grow((void **)&s->pages, &s->page_room, c->last_slot / DOCS_PAGE + 1, sizeof *s->pages) &&
         grow((void **)&s->sessions, &s->session_room, c->session_count, sizeof *s->sessions) &&
         grow((void **)&s->traits, &s->traits_room, c->traits_count, sizeof *s->traits);
}

scratch_page *scratch_page_new(scratch *s, uint32_t page) {
  scratch_page *p = calloc(1, sizeof *p);
  if (p != NULL) {
    s->pages[page] = p;
    s->page_count++;
  }
  return p;
}

/* Those of a term that was not finished, too. */
static void clear_pages(scratch *s) {
  const numbers *written[] = {&s->touched, &s->candidates};
  if (s->page_count > SCRATCH_KEPT) {
    for (size_t i = 0; i < s->page_room; i++) {
      free(s->pages[i]);
      s->pages[i] = NULL;
    }
    s->page_count = 0;
    return;
  }
  for (size_t k = 0; k < 2; k++)
    for (size_t i = 0; i < written[k]->count; i++) {
      uint32_t slot = written[k]->items[i];
      scratch_page *p = s->pages[slot / DOCS_PAGE];
      p->scores[slot % DOCS_PAGE] = 0;
      p->weights[slot % DOCS_PAGE] = 0;
    }
}

void scratch_clear(scratch *s) {
  clear_pages(s);
  for (size_t i = 0; i < s->sessions_noted.count; i++)
    s->sessions[s->sessions_noted.items[i]] = (session_note){0};
  for (size_t i = 0; i < s->traits_noted.count; i++)
    s->traits[s->traits_noted.items[i]] = (traits_note){0};
  s->entry_count = s->wanted_count = s->found_count = 0;
  s->touched.count = s->candidates.count = 0;
  s->sessions_noted.count = s->traits_noted.count = 0;
}
