/* A store on SQLite for tests of filters: memories go in as the service would put
 * them, and every statement that reads them is kept.
 *
 * Needs -Wl,--wrap=sqlite3_step. */
#ifndef TESTS_UNIT_FILTER_STORE_H
#define TESTS_UNIT_FILTER_STORE_H

#include "cmocka_test.h"
#include "wire/internal.h"

typedef struct store_memory {
  const char *id, *kind, *role, *key, *author, *source;
  int tier;
  double importance; /* negative = none */
  bool pinned;
  int64_t token_count;
  int64_t event_us;  /* MNEME_NO_EVENT = none */
  int64_t expire_us; /* 0 = none */
  const char *content;
  const char *metadata; /* JSON; NULL = none */
} store_memory;

typedef struct store store;

/* In a new folder below $TMPDIR; removed by store_close. */
store *store_open(arena *a);
void store_close(store *s);

/* The record of a memory: its body sealed, its metadata_json set, through the
 * functions that the service uses. */
mneme_record store_record(arena *a, const store_memory *m);
/* The same from a message and what it has no field for. */
mneme_record store_record_of(arena *a, pb_memory *m);

/* Each is one commit at a time of its own, and must succeed. */
void store_append(store *s, int64_t now_us, mneme_record *records, size_t count);
void store_put(store *s, int64_t now_us, const mneme_record *record, int64_t sequence,
               int64_t revision);
void store_touch(store *s, int64_t now_us, int64_t sequence);

typedef struct store_list {
  mneme_record *records; /* copied into the arena */
  size_t count;
} store_list;

/* The memories that the engine emits for a filter, in order. */
store_list store_read(store *s, arena *a, int64_t now_us, const mneme_filter *filter);

/* Of the last store_read: the statement that read memories, as it was prepared, and
 * with its values in it. */
const char *store_sql(const store *s);
const char *store_expanded(const store *s);

/* JSON text to a Struct; of equal keys both are kept. */
pb_struct *store_json(arena *a, const char *text);

#endif
