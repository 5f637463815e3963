#include "session/plans.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/set.h"

#define STRIPES 64

typedef struct plan_entry {
  size_t ns_size;
  size_t session_size;
  plan_known known;
  char names[]; /* namespace, then session */
} plan_entry;

struct plans {
  pthread_mutex_t stripes[STRIPES];
  plan_entry *slots[PLANS_SLOTS];
  atomic_size_t count; /* of slots in use: most servers have none */
};

plans *plans_open(void) {
  plans *p = calloc(1, sizeof *p);
  if (p == NULL)
    return NULL;
  for (int i = 0; i < STRIPES; i++)
    pthread_mutex_init(&p->stripes[i], NULL);
  return p;
}

void plans_close(plans *p) {
  if (p == NULL)
    return;
  for (int i = 0; i < STRIPES; i++)
    pthread_mutex_destroy(&p->stripes[i]);
  for (int i = 0; i < PLANS_SLOTS; i++)
    free(p->slots[i]);
  free(p);
}

static size_t slot_of(mneme_bytes ns, mneme_bytes session) {
  uint64_t hash = XXH3_64bits_withSeed(ns.data, ns.size, set_seed());
  return XXH3_64bits_withSeed(session.data, session.size, hash) % PLANS_SLOTS;
}

static bool is_of(const plan_entry *entry, mneme_bytes ns, mneme_bytes session) {
  return entry != NULL && bytes_equal(entry->names, entry->ns_size, ns.data, ns.size) &&
         bytes_equal(entry->names + ns.size, entry->session_size, session.data, session.size);
}

/* policy.default_kind points into the very struct that it is copied with. */
static void copy(plan_known *to, const plan_known *from) {
  *to = *from;
  to->policy.default_kind.data = to->kind;
}

void plans_get(plans *p, mneme_bytes ns, mneme_bytes session, plan_known *ret) {
  ret->settings_revision = 0;
  ret->policy.set = 0;
  if (atomic_load_explicit(&p->count, memory_order_relaxed) == 0)
    return;
  size_t slot = slot_of(ns, session);
  pthread_mutex_lock(&p->stripes[slot % STRIPES]);
  if (is_of(p->slots[slot], ns, session))
    copy(ret, &p->slots[slot]->known);
  pthread_mutex_unlock(&p->stripes[slot % STRIPES]);
}

void plans_put(plans *p, mneme_bytes ns, mneme_bytes session, const plan_known *known) {
  plan_entry *entry = NULL;
  if (known->settings_revision != 0) {
    entry = malloc(sizeof *entry + ns.size + session.size);
    if (entry == NULL)
      return; /* then it is asked for again */
    entry->ns_size = ns.size;
    entry->session_size = session.size;
    memcpy(entry->names, ns.data, ns.size);
    memcpy(entry->names + ns.size, session.data, session.size);
    copy(&entry->known, known);
  }
  size_t slot = slot_of(ns, session);
  pthread_mutex_lock(&p->stripes[slot % STRIPES]);
  plan_entry *old = p->slots[slot];
  if (entry != NULL || is_of(old, ns, session))
    p->slots[slot] = entry;
  else
    old = NULL;
  if (entry != NULL && old == NULL)
    atomic_fetch_add_explicit(&p->count, 1, memory_order_relaxed);
  else if (entry == NULL && old != NULL)
    atomic_fetch_sub_explicit(&p->count, 1, memory_order_relaxed);
  pthread_mutex_unlock(&p->stripes[slot % STRIPES]);
  free(old);
}
