/* What the files of the room share: the store and all that is in it.
 *
 *   store -> 64 shards (a mutex each; by the hash of ns and session)
 *     shard -> shells, by name (hash table) and in order of name (skip list)
 *       shell: one (ns, session): its request_ids, and the session when it lives
 *         session: an incarnation: header, records, log
 *           spine: records by sequence     ids, keys: records by name
 *           deaths: a calendar of what expires     rank: a heap by importance
 *
 * Locks. A shard's mutex guards all that hangs on the shard; store->meta_lock
 * guards the meta values. Nobody holds two locks, so there is no order. Records
 * and sessions are touched under the lock only, but for those that a commit has
 * taken out and owns. Answers and settings are counted references and never
 * change, so done reads them when the lock is gone.
 *
 * Files, each knowing those before it: table, heap, order, log; record; calendar;
 * spine; session; answer; shard; steps; commit; read; sessions; changes; dict (the table
 * of operations). */
#ifndef DICT_H
#define DICT_H

#include "mneme/backend.h"

#include "calendar.h"
#include "heap.h"
#include "log.h"
#include "order.h"
#include "queue.h"
#include "table.h"

#include <pthread.h>
#include <stdatomic.h>

#define DICT_SHARDS_MAX 1024
#define DICT_CHUNK 32         /* sequences in one chunk of a spine */
#define DICT_TOMBSTONES_MAX 65536 /* dropped incarnations that changes can name, per store */
#define DICT_HOLD_BYTES (1 << 20) /* a read hands out no more than about this per lock hold */

/* --- Records (record.c) --------------------------------------------------- */

enum {
  DICT_PINNED = 1,
  DICT_HAS_IMPORTANCE = 2,
  DICT_SYSTEM = 4 /* role "system" */
};

/* One block: this, the node of the key order when there is a key, and the
 * strings id, key, kind, role, author, source, body without gaps. Only touch
 * changes a record that stands in a session; everything else replaces it. */
typedef struct dict_record {
  int64_t sequence;
  int64_t revision;
  int64_t create_us;
  int64_t update_us;
  int64_t access_us;
  int64_t access_count;
  int64_t token_count;
  int64_t ttl_us;
  int64_t event_us;
  int64_t expire_us;
  double importance;
  uint32_t crc;
  uint32_t body_size;
  uint32_t id_hash;
  uint32_t key_hash;
  uint32_t rank_place; /* in the heap of its session */
  int32_t tier;
  uint16_t key_size;
  uint8_t id_size, kind_size, role_size, author_size, source_size;
  uint8_t flags;
} dict_record;

extern const dict_heap_kind dict_by_rank;

/* Whether the sizes are within the contract's limits. */
bool dict_record_fits(const mneme_record *from);
/* A copy of `from` under this id, not yet in any session; NULL without memory. */
dict_record *dict_record_new(const mneme_record *from, mneme_bytes id, uint64_t seed);
mneme_bytes dict_record_id(const dict_record *record);
mneme_bytes dict_record_key(const dict_record *record);
/* All of it, pointing into the record. */
void dict_record_view(const dict_record *record, mneme_record *ret_view);
int64_t dict_record_bytes(const dict_record *record); /* as byte_count counts */
int64_t dict_record_cost(const dict_record *record);  /* of memory, about */
dict_count dict_record_count(const dict_record *record); /* 1, its tokens and bytes */
dict_node *dict_record_node(dict_record *record);     /* only of one with a key */
dict_record *dict_record_of(const dict_node *node);
mneme_bytes dict_record_node_name(const dict_node *node);
uint32_t dict_record_id_hash(mneme_bytes id, uint64_t seed);
bool dict_record_has_id(const void *record, const void *bytes);
bool dict_record_has_key(const void *record, const void *bytes);

/* --- Spine: records by sequence (spine.c) --------------------------------- */

typedef struct dict_chunk {
  int64_t base; /* the sequence of slots[0], a multiple of DICT_CHUNK */
  uint32_t live;
  dict_record *slots[DICT_CHUNK];
} dict_chunk;

typedef struct dict_spine {
  dict_chunk **chunks; /* [first, end), ascending */
  uint32_t first, end, room;
  uint32_t empty; /* chunks without a record, until the next sweep */
  dict_chunk *tail;  /* the last one, NULL = none, and its base: what an append */
  int64_t tail_base; /* needs, without touching the others */
} dict_spine;

void dict_spine_free(dict_spine *spine); /* the chunks, not the records */
/* Makes room for a record at `sequence`, which is beyond all others. */
bool dict_spine_reserve(dict_spine *spine, int64_t sequence);
/* Asks the processor for the end of the spine and the slot of this sequence. */
static inline void dict_spine_prefetch(const dict_spine *spine, int64_t sequence) {
  if (spine->tail == NULL) return;
  __builtin_prefetch(spine->tail, 1);
  __builtin_prefetch(&spine->tail->slots[sequence & (DICT_CHUNK - 1)], 1);
}
void dict_spine_set(dict_spine *spine, dict_record *record); /* at its sequence; reserved */
void dict_spine_clear(dict_spine *spine, int64_t sequence);
dict_record *dict_spine_get(const dict_spine *spine, int64_t sequence);
dict_record *dict_spine_next(const dict_spine *spine, int64_t from); /* the first >= from */
dict_record *dict_spine_back(const dict_spine *spine, int64_t from); /* the last <= from */
void dict_spine_sweep(dict_spine *spine); /* frees empty chunks */
/* The runs of sequences without a hole, ascending, as `entry` with first and last
 * set; returns how many. No record is looked at. With NULL it only counts. */
size_t dict_spine_runs(const dict_spine *spine, const mneme_log_entry *entry,
                       mneme_log_entry *ret_runs);

/* --- Sessions (session.c) ------------------------------------------------- */

typedef struct dict_settings {
  atomic_uint refs;
  size_t size;
  char data[];
} dict_settings;

/* The part of a header that a refused commit puts back as a whole; counts follow
 * from the records. */
typedef struct dict_head {
  int64_t revision;
  int64_t settings_revision;
  int64_t last_sequence;
  int64_t last_create_us; /* of a memory */
  int64_t update_us;
  int64_t append_us;
  int64_t expire_us;
  int64_t max_age_us;
  bool keep_system;
  dict_settings *settings; /* NULL = empty; a reference */
} dict_head;

/* In a shard's list of changes, oldest first: a session, what is left of a
 * dropped one, or the bookmark of a reader that has let go of the lock. */
typedef enum dict_change_kind { DICT_LIVE, DICT_TOMBSTONE, DICT_BOOKMARK } dict_change_kind;

typedef struct dict_change {
  struct dict_change *before, *after;
  int64_t stamp;
  dict_change_kind kind;
} dict_change;

typedef struct dict_shell dict_shell;

typedef struct dict_session {
  dict_change change; /* first: a dict_change of kind LIVE is a session */
  dict_shell *shell;
  struct dict_session *next; /* in the list of a commit that owns it */
  mneme_uid uid;
  int64_t create_us;
  dict_head head;
  dict_log log;

  dict_spine spine;
  dict_table ids;
  dict_table keys;
  dict_order key_order;
  dict_calendar *deaths; /* those that die, by the policy in head; NULL = none */
  dict_heap rank;   /* the unprotected ones, while `ranked` */
  bool ranked;

  dict_count all;    /* every record that is in, expired or not */
  dict_count pinned; /* of them */
  dict_count system; /* role "system" and not pinned */
  int64_t cost;      /* sum of dict_record_cost */
  int64_t loose_from; /* no unprotected record has a lower sequence */

  int64_t due_us; /* nothing expires before; key in the shard's heap */
  uint32_t due_place;
} dict_session;

extern const dict_heap_kind dict_by_due;

typedef void (*dict_record_visit)(dict_record *record, void *ctx);

dict_session *dict_session_new(dict_shell *shell, const mneme_uid *uid, int64_t now_us);
void dict_session_free(dict_session *session); /* with its records; NULL is fine */
dict_settings *dict_settings_new(mneme_bytes bytes);
dict_settings *dict_settings_ref(dict_settings *settings);
void dict_settings_unref(dict_settings *settings);

/* Makes room for one more record, this one. */
bool dict_session_reserve(dict_session *session, const dict_record *record);
/* Puts a record in, or takes it out, of all structures. Neither can fail, and a
 * record that was taken out in this commit can be put back without a reserve. */
void dict_session_link(dict_session *session, dict_record *record);
void dict_session_unlink(dict_session *session, dict_record *record);
/* Takes all records out at once, with the structures that hold them, whatever
 * their number: what comes back is no session, and only dict_session_refill and
 * dict_session_free may have it. NULL without memory. */
dict_session *dict_session_empty(dict_session *session);
/* Puts them back, into a session that is empty again; can't fail. */
void dict_session_refill(dict_session *session, dict_session *contents);
/* Builds the heap by importance, or takes it down. */
bool dict_session_rank(dict_session *session);
void dict_session_unrank(dict_session *session);
/* When a record dies by the session's policy; INT64_MAX = never. */
int64_t dict_session_death(const dict_session *session, const dict_record *record);
/* Changes the policy. By another max_age records die at other times, so the calendar
 * is made anew then; ret_old holds the one there was, for dict_session_put_policy or
 * to be freed. false without memory, with nothing done. */
typedef struct dict_old_policy {
  int64_t max_age_us;
  bool keep_system;
  bool remade;
  dict_calendar *deaths; /* of `remade` */
} dict_old_policy;
bool dict_session_set_policy(dict_session *session, int64_t max_age_us, bool keep_system,
                             dict_old_policy *ret_old);
/* Puts it back, when the records are again those that there were. */
void dict_session_put_policy(dict_session *session, const dict_old_policy *old);
/* Takes a record out of the calendar, or puts it in, around a change of its
 * expire_us; room for the new one was reserved. */
void dict_session_unmark(dict_session *session, const dict_record *record);
void dict_session_mark(dict_session *session, dict_record *record);
bool dict_session_protects(const dict_session *session, const dict_record *record);
/* The unprotected record with the lowest sequence; NULL when there is none. */
dict_record *dict_session_oldest_loose(dict_session *session);

bool dict_session_lapsed(const dict_session *session, int64_t now_us);
bool dict_session_shows(const dict_session *session, const dict_record *record, int64_t now_us);
/* The next record, in any order, that is in and has expired; NULL = none. */
dict_record *dict_session_expired(dict_session *session, int64_t now_us);
/* The first instant at which a record, or the session, expires; INT64_MAX = never. */
int64_t dict_session_due(dict_session *session);
/* What is live at now. */
dict_count dict_session_count(dict_session *session, int64_t now_us);
/* The record with this id or key, expired or not; NULL = none. */
dict_record *dict_session_by_id(const dict_session *session, mneme_bytes id, uint64_t seed);
dict_record *dict_session_by_key(const dict_session *session, mneme_bytes key, uint64_t seed);
/* Points into the session: valid under the lock, and settings while referenced. */
void dict_session_header(dict_session *session, int64_t now_us, mneme_header *ret_header);
/* Frees what a commit left too large. */
void dict_session_tidy(dict_session *session);
int64_t dict_session_cost(const dict_session *session);

/* --- Answers: what a request_id remembers (answer.c) ---------------------- */

typedef struct dict_answer_ref {
  int64_t sequence, revision;
  uint32_t id_offset;
  uint8_t id_size;
  bool created;
} dict_answer_ref;

/* Never changes once it is in a shell. One block, but for the removed records.
 * There is one for each append of the last hour, so every byte counts; no session
 * holds more memories than a uint32_t counts. */
typedef struct dict_answer {
  atomic_uint refs;
  uint32_t hash;
  uint32_t place; /* in the heap of its shell's queue */
  uint32_t size;  /* of the block */
  uint32_t ref_count;
  uint8_t request_id_size;
  bool existed, truncated;
  uint32_t removed_count, evicted_count, expired_count;
  uint32_t removed_listed;
  uint8_t fingerprint[16];
  mneme_uid uid;
  int64_t expire_us;
  int64_t revision, settings_revision, last_sequence, memory_count;
  dict_record **removed; /* owned */
  dict_answer_ref ref[]; /* then the request_id, then the ids */
} dict_answer;

extern const dict_heap_kind dict_by_answer_expiry;

/* Without `removed`, which the caller moves in when nothing can fail any more. */
dict_answer *dict_answer_new(const mneme_write *write, uint32_t hash, int64_t now_us,
                             const mneme_written *written);
int64_t dict_answer_cost(const dict_answer *answer); /* of memory, about */
dict_answer *dict_answer_ref_get(dict_answer *answer);
void dict_answer_unref(dict_answer *answer);
bool dict_answer_is(const void *answer, const void *bytes); /* has this request_id */
/* Calls done with it, deduplicated, or NO_MEMORY. */
void dict_answer_send(const dict_answer *answer, mneme_bytes ns, mneme_bytes session,
                      mneme_written_fn done, void *ctx);

/* --- Shards (shard.c) ----------------------------------------------------- */

/* One (ns, session) for as long as it has a session or remembers a request_id.
 * Its name is a length byte, ns, session: unambiguous whatever the bytes, and in
 * order of session within a namespace. */
struct dict_shell {
  dict_session *session; /* NULL = absent */
  dict_table answers;
  dict_queue expiry; /* of answers */
  int64_t trim_us; /* no answer lapses before; key in the shard's heap */
  uint32_t trim_place;
  uint32_t hash;
  uint16_t name_size;
  char *name;
  dict_node node; /* last: its tower and the name follow */
};

typedef struct dict_tombstone {
  dict_change change;          /* first */
  struct dict_tombstone *next; /* the shard's next younger one */
  mneme_uid uid;
  uint16_t name_size;
  char name[];
} dict_tombstone;

typedef struct dict_shard {
  pthread_mutex_t lock;
  dict_table shells;
  dict_order names;
  dict_heap due;  /* sessions with something that expires */
  dict_heap trim; /* shells with answers */
  int64_t trim_us; /* none of them is due before: the first itself is in no cache */
  dict_change changes; /* the ring's head: after = oldest */
  dict_tombstone *oldest, *newest; /* tombstone, NULL = none */
  int64_t compacted; /* the stamp of the last tombstone that was forgotten */
} __attribute__((aligned(64))) dict_shard;

typedef struct dict_meta {
  struct dict_meta *next;
  size_t key_size, value_size;
  char key[MNEME_META_KEY_MAX];
  char value[MNEME_META_VALUE_MAX];
} dict_meta;

struct mneme_backend {
  uint64_t seed;
  uint64_t id; /* in every cursor */
  int64_t bytes_max; /* 0 = no limit */
  uint32_t shard_count; /* a power of two */
  dict_shard *shards;
  /* Shared by all shards, and nothing else on this line. */
  _Alignas(64) atomic_int_fast64_t stamp; /* of the last change */
  atomic_int_fast64_t bytes;              /* only kept with bytes_max */
  atomic_int_fast64_t tombstones;
  atomic_uint_fast32_t due_from; /* the shard where the next due begins */
  _Alignas(64) pthread_mutex_t meta_lock;
  dict_meta *metas;
};

/* A name built for looking up. */
typedef struct dict_name {
  uint64_t hash;
  uint16_t size;
  char data[1 + MNEME_NAMESPACE_MAX + MNEME_SESSION_MAX];
} dict_name;

/* false when no session can have these names: too long. */
bool dict_name_make(dict_name *name, mneme_bytes ns, mneme_bytes session, uint64_t seed);
dict_shard *dict_shard_of(mneme_backend *store, const dict_name *name);
mneme_bytes dict_name_ns(const char *name);
mneme_bytes dict_name_session(const char *name, uint16_t size);
mneme_bytes dict_shell_node_name(const dict_node *node);
dict_shell *dict_shell_of(const dict_node *node);
extern const dict_heap_kind dict_by_trim;

dict_shell *dict_shell_new(const dict_name *name);
int64_t dict_shell_cost(const dict_shell *shell); /* without what is in it */
void dict_shell_free(dict_shell *shell); /* with all that is in it */
dict_shell *dict_shard_find(const dict_shard *shard, const dict_name *name);
/* Makes room for one more shell, and for its places in the heaps. */
bool dict_shard_reserve(dict_shard *shard);
void dict_shard_link(dict_shard *shard, dict_shell *shell);
/* Frees the shell when there is nothing left in it. */
void dict_shard_drop_empty(mneme_backend *store, dict_shard *shard, dict_shell *shell);
/* Finds the session, or NULL when it is absent or has lapsed. */
dict_session *dict_shard_live(const dict_shard *shard, const dict_name *name, int64_t now_us);

/* Removes answers that have lapsed, up to rows; returns how many. */
int64_t dict_shard_trim(mneme_backend *store, dict_shard *shard, int64_t now_us, int64_t rows);
int64_t dict_shell_trim(mneme_backend *store, dict_shell *shell, int64_t now_us, int64_t rows);
/* Beside MNEME_REQUEST_IDS_MAX others the one that lapses first is forgotten. */
void dict_shell_remember(mneme_backend *store, dict_shard *shard, dict_shell *shell,
                         dict_answer *answer);

/* Gives the session a new stamp, as the last of the shard's changes. */
void dict_shard_stamp(mneme_backend *store, dict_shard *shard, dict_session *session);
/* Puts the session where it belongs in the heap of what is due. */
void dict_shard_schedule(dict_shard *shard, dict_session *session);
dict_tombstone *dict_tombstone_new(const dict_shell *shell, const mneme_uid *uid);
/* Takes the session out of the shard and leaves the tombstone; the caller frees. */
void dict_shard_detach(mneme_backend *store, dict_shard *shard, dict_session *session,
                       dict_tombstone *tombstone);

/* Memory against max_bytes: false when it would pass it. A negative amount
 * always fits. */
bool dict_store_charge(mneme_backend *store, int64_t bytes);

static inline void dict_lock(dict_shard *shard) { pthread_mutex_lock(&shard->lock); }
static inline void dict_unlock(dict_shard *shard) { pthread_mutex_unlock(&shard->lock); }

/* --- The operations (commit.c, read.c, sessions.c, changes.c) -------------- */

void dict_commit(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                 mneme_written_fn done, void *ctx);
void dict_request_get(mneme_backend *store, const mneme_call *call, const mneme_write *write,
                      mneme_written_fn done, void *ctx);
void dict_session_get(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                      mneme_bytes session, mneme_session_fn done, void *ctx);
void dict_session_list(mneme_backend *store, const mneme_call *call,
                       const mneme_session_list *list, mneme_header_fn emit, mneme_done_fn done,
                       void *ctx);
void dict_read(mneme_backend *store, const mneme_call *call, const mneme_read *read,
               mneme_record_fn emit, mneme_done_fn done, void *ctx);
void dict_log_entries(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                      mneme_bytes session, const mneme_uid *uid, int64_t after,
                      mneme_log_fn emit, mneme_done_fn done, void *ctx);
void dict_stats(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                mneme_bytes session, mneme_stats_fn done, void *ctx);
void dict_changes(mneme_backend *store, const mneme_call *call, mneme_bytes ns,
                  mneme_bytes cursor, mneme_header_fn emit, mneme_cursor_fn done, void *ctx);
void dict_due(mneme_backend *store, const mneme_call *call, int64_t limit, mneme_header_fn emit,
              mneme_done_fn done, void *ctx);
void dict_trim(mneme_backend *store, const mneme_call *call, int64_t rows, bool *ret_more,
               mneme_done_fn done, void *ctx);

#endif
