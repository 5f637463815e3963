/* Statuses by name, and who watches them.
 *
 *   names    [ "" SERVING | "backend/local" SERVING | ... ]   a short array
 *   watchers  watcher <-> watcher <-> ...                      one per stream
 *
 * One lock guards both. Setting a status wakes the watchers of that name; a
 * watcher, on its queue's thread, compares what it sent last with what is true
 * now and sends the difference, so a status that flickers while a client is slow
 * arrives as its last value, and a watcher never holds more than one message.
 *
 * A watcher in the list holds its stream. It leaves the list when its stream
 * closes, and only then lets go: whoever finds it in the list may wake it. */
#include "admin/health.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "admin/admin.h"
#include "error/error.h"
#include "wire/health.h"

#define STATUS(status_code, text) \
  {.code = (status_code), .message = (text), .message_size = sizeof(text) - 1}

static const transport_status MALFORMED =
    STATUS(CODE_INVALID_ARGUMENT,
           "The request is malformed, or its service is too long or no valid UTF-8.");
static const transport_status NO_REQUEST =
    STATUS(CODE_INVALID_ARGUMENT, "Send one HealthCheckRequest before the half-close.");
static const transport_status NOT_FOUND =
    STATUS(CODE_NOT_FOUND, "No such service; List names those that are known.");
static const transport_status NO_MEMORY = STATUS(CODE_RESOURCE_EXHAUSTED, "No memory; try again.");
static const transport_status WATCHERS_FULL =
    STATUS(CODE_RESOURCE_EXHAUSTED, "Too many callers watch already; use Check.");
static const transport_status SHUT_DOWN =
    STATUS(CODE_UNAVAILABLE, "The server is shutting down.");

#define NOTHING_SENT (-1)

typedef struct entry {
  char service[WIRE_HEALTH_NAME_MAX];
  size_t size;
  wire_health status;
} entry;

typedef struct watcher watcher;
struct watcher {
  health *health;
  transport_stream *stream;
  watcher *previous;
  watcher *next;
  bool listed;
  int sent; /* a wire_health; queue's thread */
  char service[WIRE_HEALTH_NAME_MAX];
  size_t size;
};

struct health {
  pthread_mutex_t lock;
  entry entries[ADMIN_NAMES_MAX];
  size_t count;
  watcher *watchers;
  size_t watcher_count;
  bool shut_down;
};

/* --- Names --------------------------------------------------------------- */

health *health_new(void) {
  health *h = calloc(1, sizeof *h);
  if (h != NULL)
    pthread_mutex_init(&h->lock, NULL);
  return h;
}

void health_free(health *h) {
  if (h == NULL)
    return;
  pthread_mutex_destroy(&h->lock);
  free(h);
}

static entry *entry_find(health *h, const char *service, size_t size) {
  for (size_t i = 0; i < h->count; i++)
    if (h->entries[i].size == size && memcmp(h->entries[i].service, service, size) == 0)
      return &h->entries[i];
  return NULL;
}

static wire_health status_of(health *h, const char *service, size_t size) {
  const entry *e = entry_find(h, service, size);
  return e != NULL ? e->status : WIRE_HEALTH_SERVICE_UNKNOWN;
}

static entry *entry_add(health *h, const char *service, size_t size) {
  if (h->count == ADMIN_NAMES_MAX || size > WIRE_HEALTH_NAME_MAX ||
      u8_check((const uint8_t *)service, size) != NULL)
    return NULL;
  entry *e = &h->entries[h->count++];
  memcpy(e->service, service, size);
  e->size = size;
  e->status = WIRE_HEALTH_UNKNOWN;
  return e;
}

bool health_set(health *h, const char *service, bool serving) {
  size_t size = strlen(service);
  pthread_mutex_lock(&h->lock);
  entry *e = entry_find(h, service, size);
  if (e == NULL)
    e = entry_add(h, service, size);
  wire_health status =
      serving && !h->shut_down ? WIRE_HEALTH_SERVING : WIRE_HEALTH_NOT_SERVING;
  if (e != NULL && e->status != status) {
    e->status = status;
    for (watcher *w = h->watchers; w != NULL; w = w->next)
      if (w->size == size && memcmp(w->service, service, size) == 0)
        transport_stream_wake(w->stream);
  }
  pthread_mutex_unlock(&h->lock);
  return e != NULL;
}

void health_shut_down(health *h) {
  pthread_mutex_lock(&h->lock);
  h->shut_down = true;
  for (size_t i = 0; i < h->count; i++)
    h->entries[i].status = WIRE_HEALTH_NOT_SERVING;
  for (watcher *w = h->watchers; w != NULL; w = w->next)
    transport_stream_wake(w->stream);
  pthread_mutex_unlock(&h->lock);
}

/* --- Check and List ------------------------------------------------------ */

void health_check(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  health *h = ctx;
  mneme_bytes service;
  if (!wire_health_request(data, size, transport_call_arena(call), &service)) {
    transport_call_fail(call, &MALFORMED);
    return;
  }
  pthread_mutex_lock(&h->lock);
  wire_health status = status_of(h, service.data, service.size);
  pthread_mutex_unlock(&h->lock);
  if (status == WIRE_HEALTH_SERVICE_UNKNOWN) {
    transport_call_fail(call, &NOT_FOUND);
    return;
  }
  uint8_t packed[WIRE_HEALTH_REPLY_MAX];
  size_t packed_size = wire_health_reply(status, packed);
  uint8_t *out = transport_reply_reserve(call, packed_size);
  if (out == NULL) {
    transport_call_fail(call, &NO_MEMORY);
    return;
  }
  memcpy(out, packed, packed_size);
  transport_reply_send(call);
}

/* The names and statuses of this moment; NULL = no memory. */
static wire_health_entry *entries_copy(health *h, arena *a, size_t *ret_count) {
  pthread_mutex_lock(&h->lock);
  size_t count = h->count;
  wire_health_entry *list = arena_calloc(a, count, sizeof *list);
  bool complete = list != NULL;
  for (size_t i = 0; complete && i < count; i++) {
    const entry *e = &h->entries[i];
    const char *name = arena_copy(a, e->service, e->size);
    complete = name != NULL;
    list[i] = (wire_health_entry){{name, e->size}, e->status};
  }
  pthread_mutex_unlock(&h->lock);
  *ret_count = count;
  return complete ? list : NULL;
}

void health_list(transport_call *call, const uint8_t *data, size_t size, void *ctx) {
  (void)data; /* HealthListRequest has no fields, and unknown ones are none of ours */
  (void)size;
  arena *a = transport_call_arena(call);
  size_t count;
  const wire_health_entry *list = entries_copy(ctx, a, &count);
  const wire_message *reply = list != NULL ? wire_health_list_reply(list, count, a) : NULL;
  uint8_t *out = reply != NULL ? transport_reply_reserve(call, wire_size(reply)) : NULL;
  if (out == NULL) {
    transport_call_fail(call, &NO_MEMORY);
    return;
  }
  wire_pack(reply, out);
  transport_reply_send(call);
}

/* --- Watch --------------------------------------------------------------- */

static void watch_open(transport_stream *s, void *ctx) {
  watcher *w = calloc(1, sizeof *w);
  transport_stream_set_state(s, w);
  if (w == NULL) {
    transport_stream_finish(s, &NO_MEMORY);
    return;
  }
  w->health = ctx;
  w->stream = s;
  w->sent = NOTHING_SENT;
  transport_stream_read(s);
}

/* Takes its place in the list; false = the list is full. */
static bool watcher_enlist(watcher *w) {
  health *h = w->health;
  pthread_mutex_lock(&h->lock);
  bool room = h->watcher_count < ADMIN_WATCHERS_MAX;
  if (room) {
    transport_stream_hold(w->stream);
    w->listed = true;
    w->previous = NULL;
    w->next = h->watchers;
    if (w->next != NULL)
      w->next->previous = w;
    h->watchers = w;
    h->watcher_count++;
  }
  pthread_mutex_unlock(&h->lock);
  return room;
}

/* Sends what the client does not know yet. Called after everything that may have
 * made a difference. */
static void watcher_tell(watcher *w) {
  health *h = w->health;
  if (!w->listed || !transport_stream_can_send(w->stream))
    return; /* a send is under way, and watch_writable looks again */
  pthread_mutex_lock(&h->lock);
  wire_health status = status_of(h, w->service, w->size);
  bool shut_down = h->shut_down;
  pthread_mutex_unlock(&h->lock);
  if ((int)status == w->sent) {
    if (shut_down)
      transport_stream_finish(w->stream, &SHUT_DOWN);
    return;
  }
  uint8_t packed[WIRE_HEALTH_REPLY_MAX];
  size_t size = wire_health_reply(status, packed);
  uint8_t *out = transport_stream_reserve(w->stream, size);
  if (out == NULL) {
    transport_stream_finish(w->stream, &NO_MEMORY);
    return;
  }
  memcpy(out, packed, size);
  w->sent = (int)status;
  transport_stream_send(w->stream);
}

static void watch_message(transport_stream *s, const uint8_t *data, size_t size) {
  watcher *w = transport_stream_state(s);
  arena a;
  arena_init(&a, WIRE_HEALTH_REQUEST_MAX * 4);
  mneme_bytes service;
  bool valid = wire_health_request(data, size, &a, &service);
  if (valid) {
    memcpy(w->service, service.data, service.size);
    w->size = service.size;
  }
  arena_clear(&a);
  if (!valid)
    transport_stream_finish(s, &MALFORMED);
  else if (!watcher_enlist(w))
    transport_stream_finish(s, &WATCHERS_FULL);
  else
    watcher_tell(w);
}

static void watch_half_close(transport_stream *s) {
  transport_stream_finish(s, &NO_REQUEST);
}

static void watch_again(transport_stream *s) {
  watcher_tell(transport_stream_state(s));
}

static void watch_closed(transport_stream *s) {
  watcher *w = transport_stream_state(s);
  if (w == NULL || !w->listed)
    return;
  health *h = w->health;
  pthread_mutex_lock(&h->lock);
  if (w->next != NULL)
    w->next->previous = w->previous;
  if (w->previous != NULL)
    w->previous->next = w->next;
  else
    h->watchers = w->next;
  h->watcher_count--;
  pthread_mutex_unlock(&h->lock);
  w->listed = false;
  transport_stream_unhold(s);
}

static void watch_release(transport_stream *s) {
  free(transport_stream_state(s));
}

const transport_stream_ops health_watch = {
    .open = watch_open,
    .message = watch_message,
    .half_close = watch_half_close,
    .writable = watch_again,
    .wake = watch_again,
    .closed = watch_closed,
    .release = watch_release,
};
