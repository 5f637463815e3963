/* Fields are chained: each one is hashed with what came before as its seed, its
 * length among the bytes, so that no two lists of fields look alike. */
#include "rpc/fingerprint.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static void add(fingerprint *f, const void *data, size_t size) {
  XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, f->low ^ size);
  f->low = hash.low64 + f->high * UINT64_C(0x9E3779B97F4A7C15);
  f->high = hash.high64 ^ f->low;
}

fingerprint fingerprint_begin(const char *method) {
  fingerprint f = {0, 1};
  add(&f, method, strlen(method));
  return f;
}

void fingerprint_bytes(fingerprint *f, mneme_bytes b) {
  add(f, b.size > 0 ? b.data : "", b.size);
}

void fingerprint_number(fingerprint *f, int64_t n) {
  add(f, &n, sizeof n);
}

void fingerprint_names(fingerprint *f, const mneme_bytes *names, size_t count) {
  fingerprint_number(f, (int64_t)count);
  for (size_t i = 0; i < count; i++)
    fingerprint_bytes(f, names[i]);
}

static void add_memory(fingerprint *f, const wire_memory *m) {
  const mneme_record *r = &m->record;
  const mneme_bytes *strings[] = {&r->id,     &r->key,    &r->kind, &r->role,
                                  &r->author, &r->source, &r->body};
  enum { NUMBERS = 8, STRINGS = sizeof strings / sizeof *strings };
  int64_t numbers[NUMBERS + STRINGS] = {r->tier,
                                        r->pinned,
                                        r->has_importance,
                                        0,
                                        r->token_count,
                                        r->ttl_us,
                                        r->event_us,
                                        r->ttl_us == 0 ? r->expire_us : 0};
  if (r->has_importance)
    memcpy(&numbers[3], &r->importance, sizeof r->importance);
  /* All lengths first: then what is empty, and that is most, need not be hashed. */
  for (size_t i = 0; i < STRINGS; i++)
    numbers[NUMBERS + i] = (int64_t)strings[i]->size;
  add(f, numbers, sizeof numbers);
  for (size_t i = 0; i < STRINGS; i++)
    if (strings[i]->size > 0)
      add(f, strings[i]->data, strings[i]->size);
}

void fingerprint_memories(fingerprint *f, const wire_memory *memories, size_t count) {
  fingerprint_number(f, (int64_t)count);
  for (size_t i = 0; i < count; i++)
    add_memory(f, &memories[i]);
}

void fingerprint_settings(fingerprint *f, const wire_settings *s) {
  const policy *p = &s->policy;
  int64_t numbers[] = {s->has_policy,     p->set,          p->max_memories, p->max_tokens,
                       p->evict_above,    p->evict_to,     p->evict_above_tokens,
                       p->evict_to_tokens, p->eviction,    p->keep_system,  p->max_age_us,
                       p->ttl_us,         p->window_us,    s->has_metadata};
  add(f, numbers, sizeof numbers);
  fingerprint_bytes(f, p->default_kind);
  fingerprint_number(f, (int64_t)s->label_count);
  for (size_t i = 0; i < s->label_count; i++) {
    fingerprint_bytes(f, s->labels[i].key);
    fingerprint_bytes(f, s->labels[i].value);
  }
  fingerprint_bytes(f, s->metadata);
}

void fingerprint_end(const fingerprint *f, uint8_t ret[16]) {
  memcpy(ret, &f->low, 8);
  memcpy(ret + 8, &f->high, 8);
}
