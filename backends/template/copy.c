/* Each copy is one block: the struct, then its arrays, then the bytes. */
#include "copy.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>

static size_t record_strings(const mneme_record *r) {
  return (size_t)mneme_rule_bytes(r) + r->metadata_json.size;
}

/* Points the record's strings to copies at *at. */
static void copy_strings(mneme_record *r, char **at) {
  mneme_bytes *strings[] = {&r->id,     &r->key,    &r->kind, &r->role,
                            &r->author, &r->source, &r->body, &r->metadata_json};
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    *strings[i] = mneme_bytes_put(at, *strings[i]);
}

item *item_new(const mneme_record *record) {
  item *copy = malloc(sizeof *copy + record_strings(record));
  if (copy == NULL) return NULL;
  char *at = (char *)(copy + 1);
  copy->refs = 1;
  copy->record = *record;
  copy_strings(&copy->record, &at);
  return copy;
}

item *item_ref(item *one) {
  one->refs++;
  return one;
}

void item_unref(item *one) {
  if (one != NULL && --one->refs == 0) free(one);
}

static size_t header_strings(const mneme_header *h) {
  return h->ns.size + h->session.size + h->settings.size;
}

static void copy_header_strings(mneme_header *h, char **at) {
  h->ns = mneme_bytes_put(at, h->ns);
  h->session = mneme_bytes_put(at, h->session);
  h->settings = mneme_bytes_put(at, h->settings);
}

mneme_header *header_copy(const mneme_header *header) {
  mneme_header *copy = malloc(sizeof *copy + header_strings(header));
  if (copy == NULL) return NULL;
  char *at = (char *)(copy + 1);
  *copy = *header;
  copy_header_strings(copy, &at);
  return copy;
}

mneme_written *written_copy(const mneme_written *w) {
  size_t refs_size = w->ref_count * sizeof(mneme_ref);
  size_t removed_size = w->removed_count_listed * sizeof(mneme_record);
  size_t size = sizeof *w + refs_size + removed_size + header_strings(&w->header);
  for (size_t i = 0; i < w->ref_count; i++) size += w->refs[i].id.size;
  for (size_t i = 0; i < w->removed_count_listed; i++) size += record_strings(&w->removed[i]);

  mneme_written *copy = malloc(size);
  if (copy == NULL) return NULL;
  mneme_ref *refs = (mneme_ref *)(copy + 1);
  mneme_record *removed = (mneme_record *)(refs + w->ref_count);
  char *at = (char *)(removed + w->removed_count_listed);
  *copy = *w;
  copy_header_strings(&copy->header, &at);
  for (size_t i = 0; i < w->ref_count; i++) {
    refs[i] = w->refs[i];
    refs[i].id = mneme_bytes_put(&at, refs[i].id);
  }
  for (size_t i = 0; i < w->removed_count_listed; i++) {
    removed[i] = w->removed[i];
    copy_strings(&removed[i], &at);
  }
  copy->refs = refs;
  copy->removed = removed;
  return copy;
}
