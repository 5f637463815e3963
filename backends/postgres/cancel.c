/* The canceller's thread. A request to cancel is a connection of its own, which libpq makes
 * blocking; so it is not made on the loop. A request that comes while as many wait is not
 * made at all: it is a favour to the server, not a duty. */
#include "postgres.h"

#include <stdlib.h>

#define ASKS_MAX 64

struct pe_canceller {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  PGcancel *asks[ASKS_MAX];
  size_t count;
  bool stopping;
};

static PGcancel *take(pe_canceller *c) {
  pthread_mutex_lock(&c->lock);
  while (c->count == 0 && !c->stopping) pthread_cond_wait(&c->changed, &c->lock);
  PGcancel *handle = c->stopping ? NULL : c->asks[--c->count];
  pthread_mutex_unlock(&c->lock);
  return handle;
}

static void *run(void *arg) {
  pe_canceller *c = arg;
  PGcancel *handle;
  char ignored[256]; /* the query has ended, or its connection will time out */
  while ((handle = take(c)) != NULL) {
    PQcancel(handle, ignored, sizeof ignored);
    PQfreeCancel(handle);
  }
  return NULL;
}

pe_canceller *pe_canceller_open(void) {
  pe_canceller *c = calloc(1, sizeof *c);
  if (c == NULL) return NULL;
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->changed, NULL);
  if (pthread_create(&c->thread, NULL, run, c) == 0) return c;
  pthread_cond_destroy(&c->changed);
  pthread_mutex_destroy(&c->lock);
  free(c);
  return NULL;
}

void pe_canceller_ask(pe_canceller *c, PGcancel *handle) {
  if (handle == NULL) return;
  pthread_mutex_lock(&c->lock);
  bool taken = c->count < ASKS_MAX && !c->stopping;
  if (taken) c->asks[c->count++] = handle;
  pthread_cond_signal(&c->changed);
  pthread_mutex_unlock(&c->lock);
  if (!taken) PQfreeCancel(handle);
}

void pe_canceller_close(pe_canceller *c) {
  if (c == NULL) return;
  pthread_mutex_lock(&c->lock);
  c->stopping = true;
  pthread_cond_signal(&c->changed);
  pthread_mutex_unlock(&c->lock);
  pthread_join(c->thread, NULL);
  for (size_t i = 0; i < c->count; i++) PQfreeCancel(c->asks[i]);
  pthread_cond_destroy(&c->changed);
  pthread_mutex_destroy(&c->lock);
  free(c);
}
