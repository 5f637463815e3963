/* What the tests of the suite share: the registry of tests, the backend under
 * test and its hosts, blocking operations with their answers, a small language
 * to write commits in, and the checks.
 *
 * Ownership: what a test gets from here (answers, steps, strings) lives until
 * the test's process ends; cf_release gives an answer's payload back early.
 *
 * Threads: operations, builders and checks may be used from any thread of a
 * test. A failed check ends the process at once, whichever thread it is in. */
#ifndef CONFORM_H
#define CONFORM_H

#include <pthread.h>
#include <stdatomic.h>

#include "mneme/backend.h"

/* --- Tests --------------------------------------------------------------- */

typedef struct cf_test {
  const char *name;
  const char *duties; /* "C-08 C-16": the tags of backend.h that it proves */
  void (*run)(void);
  uint32_t caps;      /* capabilities without which it is skipped */
  const char *without; /* the reason shown then */
  int slow;           /* how many times the usual time-out it may take */
  struct cf_test *next;
} cf_test;

void cf_register(cf_test *test);

/* TEST(c08_refused_commit_changes_nothing, "C-08") { ... } */
#define TEST_WITH(name_, duties_, caps_, without_, slow_)                          \
  static void name_(void);                                                         \
  __attribute__((constructor)) static void name_##_register(void) {                \
    static cf_test test = {#name_, duties_, name_, caps_, without_, slow_, NULL};  \
    cf_register(&test);                                                            \
  }                                                                                \
  static void name_(void)
#define TEST(name, duties) TEST_WITH(name, duties, 0, NULL, 1)
#define TEST_SLOW(name, duties, times) TEST_WITH(name, duties, 0, NULL, times)

/* --- The backend under test ---------------------------------------------- */

#define CF_OPTIONS_MAX 64
#define CF_HOSTS_MAX 2

/* A server as the store sees it: its own clock and, with MNEME_CAP_SHARED, its
 * own open of the store. */
typedef struct cf_host {
  mneme_backend *backend;
  int64_t skew_us;
} cf_host;

typedef struct cf_state {
  const mneme_backend_type *type; /* wrapped in late when that was asked for */
  mneme_option_value values[CF_OPTIONS_MAX];
  cf_host hosts[CF_HOSTS_MAX];
  int host_count;
  int want_hosts;
  bool late; /* every operation takes about a millisecond */
  uint64_t seed;
  _Atomic int64_t now_us; /* the clock of every call */
  mneme_bytes ns;         /* a namespace of this test alone */
} cf_state;

extern cf_state cf;

void cf_open(void);  /* opens the hosts; fails the test when that fails */
void cf_close(void);
void cf_reopen(void);
mneme_status cf_open_one(mneme_backend **ret_backend, char *error, size_t size);

#define CF_SECOND ((int64_t)1000000)
static inline int64_t cf_now(void) { return atomic_load(&cf.now_us); }
static inline void cf_tick(int64_t us) { atomic_fetch_add(&cf.now_us, us); }

/* Deterministic: seeded by --seed and the number of the thread. */
uint64_t cf_random(void);
static inline int64_t cf_below(int64_t n) { return (int64_t)(cf_random() % (uint64_t)n); }
static inline int64_t cf_between(int64_t low, int64_t high) {
  return low + cf_below(high - low + 1);
}
static inline bool cf_chance(int percent) { return cf_below(100) < percent; }

/* Runs body in count threads and waits for all of them. */
void cf_threads(int count, void (*body)(int index, void *arg), void *arg);

/* --- Answers ------------------------------------------------------------- */

typedef struct cf_call {
  mneme_call base;
  atomic_int asks;  /* how often the backend asked whether the call expired */
  int expire_after; /* answers yes from this many asks on; -1 = never */
} cf_call;

/* What one operation answered, copied: which fields are set depends on it. */
typedef struct cf_answer {
  mneme_status status;
  mneme_written written; /* commit, request_get */
  mneme_header header;   /* session_get */
  mneme_stats stats;
  mneme_bytes bytes;     /* next cursor of changes, value of meta */
  bool more;             /* trim */
  mneme_record *records; /* read */
  size_t record_count, record_max;
  mneme_header *headers; /* session_list, changes, due */
  size_t header_count, header_max;
  mneme_log_entry *entries; /* log */
  size_t entry_count, entry_max;
  cf_call call;
  /* The harness's own. */
  int stop_after; /* emit answers "enough" from this many on; 0 = never */
  size_t emitted;
  bool stopped;
  int done_count;
  const char *operation;
  void *chunks;
  pthread_mutex_t lock;
  pthread_cond_t done;
} cf_answer;

/* Settings of this thread's next operation, back to the defaults after it. */
typedef struct cf_next {
  int stop_after;   /* 0 = never */
  int expire_after; /* -1 = never */
  int host;         /* -1 = one at random */
} cf_next;
extern _Thread_local cf_next cf_opt;

/* Each waits for done. BUSY is tried again: nothing was begun. */
cf_answer *cf_commit(const mneme_write *write);
cf_answer *cf_session_get(mneme_bytes ns, mneme_bytes session);
cf_answer *cf_session_list(const mneme_session_list *list);
cf_answer *cf_request_get(const mneme_write *write);
cf_answer *cf_read(const mneme_read *read);
cf_answer *cf_changes(mneme_bytes ns, mneme_bytes cursor);
cf_answer *cf_log(mneme_bytes session, const mneme_uid *uid, int64_t after);
cf_answer *cf_due(int64_t limit);
cf_answer *cf_stats(mneme_bytes ns, mneme_bytes session);
cf_answer *cf_ping(void);
cf_answer *cf_meta_get(mneme_bytes key);
cf_answer *cf_meta_put(mneme_bytes key, mneme_bytes expected, mneme_bytes value);
cf_answer *cf_trim(int64_t rows);

/* A commit that is not waited for, and the wait. */
cf_answer *cf_start(const mneme_write *write);
void cf_wait(cf_answer *answer);
/* Waits, and commits again while the answer is BUSY. */
cf_answer *cf_settle(cf_answer *answer, const mneme_write *write);
/* Frees what the answer holds; the answer itself stays, to notice a late done. */
void cf_release(cf_answer *answer);

/* --- Memory and bytes ---------------------------------------------------- */

void *cf_alloc(size_t size); /* zeroed */
void *cf_copy(const void *data, size_t size);
__attribute__((format(printf, 1, 2))) const char *cf_text(const char *format, ...);

mneme_bytes cf_bytes(const char *text);
bool cf_same(mneme_bytes a, mneme_bytes b);
int cf_compare(mneme_bytes a, mneme_bytes b); /* bytewise */
mneme_uid cf_new_uid(void);
bool cf_same_uid(const mneme_uid *a, const mneme_uid *b);
bool cf_zero_uid(const mneme_uid *uid);
int64_t cf_record_size(const mneme_record *record); /* as byte limits count it */

/* --- Commits in a few words ---------------------------------------------- */

/* A record in the words of a test; what is not named is empty. */
typedef struct cf_rec {
  const char *id, *key, *kind, *role, *author, *source, *body;
  const char *metadata; /* canonical JSON, as engines with FILTER get it */
  int64_t tokens, ttl_us, event_us, expire_us;
  double importance; /* 0 = unset; see no_importance */
  bool zero_importance; /* importance is set, and 0 */
  bool pinned;
  int tier;
  mneme_on_conflict policy; /* 0 = FAIL */
} cf_rec;
#define R(...) ((cf_rec){__VA_ARGS__})

mneme_record cf_record(const cf_rec *rec);
/* Any session of cf.ns, any revision, a plan without limits, a new uid. */
mneme_write cf_write(const char *session);
void cf_request(mneme_write *write, const char *request_id, const char *body);

mneme_step cf_step_append(size_t count, const cf_rec *recs);
mneme_step cf_step_put(int64_t sequence, int64_t revision, cf_rec rec);
mneme_step cf_step_names(mneme_step_op op, size_t count, const char *const *names);
mneme_step cf_step_sequences(mneme_step_op op, size_t count, const int64_t *sequences);
mneme_step cf_step_judged(size_t count, const int64_t (*pairs)[2]);
mneme_step cf_step_count(mneme_step_op op, int64_t count, int64_t byte_limit);
mneme_step cf_step_from(int64_t sequence);
mneme_step cf_step_settings(mneme_bytes settings);
cf_answer *cf_do(const mneme_write *write, size_t count, const mneme_step *steps);

#define CF_COUNT(type, ...) (sizeof((type[]){__VA_ARGS__}) / sizeof(type))
#define APPEND(...) cf_step_append(CF_COUNT(cf_rec, __VA_ARGS__), (cf_rec[]){__VA_ARGS__})
#define PUT(sequence, revision, rec) cf_step_put(sequence, revision, rec)
#define IDS(...)                                                               \
  cf_step_names(MNEME_STEP_REMOVE_IDS, CF_COUNT(const char *, __VA_ARGS__),    \
                (const char *[]){__VA_ARGS__})
#define KEYS(...)                                                              \
  cf_step_names(MNEME_STEP_REMOVE_KEYS, CF_COUNT(const char *, __VA_ARGS__),   \
                (const char *[]){__VA_ARGS__})
#define SEQUENCES(...)                                                            \
  cf_step_sequences(MNEME_STEP_REMOVE_SEQUENCES, CF_COUNT(int64_t, __VA_ARGS__),  \
                    (int64_t[]){__VA_ARGS__})
/* REMOVE_SEQUENCES with revisions: JUDGED({sequence, revision}, ...) */
#define JUDGED(...)                                                                 \
  cf_step_judged(sizeof((int64_t[][2]){__VA_ARGS__}) / sizeof(int64_t[2]),          \
                 (const int64_t[][2]){__VA_ARGS__})
#define TOUCH(...)                                                                \
  cf_step_sequences(MNEME_STEP_TOUCH, CF_COUNT(int64_t, __VA_ARGS__),             \
                    (int64_t[]){__VA_ARGS__})
#define NEWEST(count, byte_limit) \
  cf_step_count(MNEME_STEP_REMOVE_NEWEST, count, byte_limit)
#define FROM(sequence) cf_step_from(sequence)
#define SETTINGS(text) cf_step_settings(cf_bytes(text))
#define DROP() cf_step_count(MNEME_STEP_DROP, 0, 0)
#define EXPIRE(count) cf_step_count(MNEME_STEP_EXPIRE, count, 0)
#define DO(write, ...) \
  cf_do(write, CF_COUNT(mneme_step, __VA_ARGS__), (mneme_step[]){__VA_ARGS__})
/* The same with the plainest write, which must be OK. */
#define DO_IN(session, ...)                                                       \
  cf_ok(cf_do(cf_plain(session), CF_COUNT(mneme_step, __VA_ARGS__),               \
              (mneme_step[]){__VA_ARGS__}),                                       \
        __FILE__, __LINE__)
const mneme_write *cf_plain(const char *session);
cf_answer *cf_ok(cf_answer *answer, const char *file, int line);
#define OK(answer) cf_ok(answer, __FILE__, __LINE__)

/* Appends count records named prefix1.. to a session, in batches. */
void cf_fill(const char *session, const char *prefix, int64_t count);

/* --- Reads in a few words ------------------------------------------------ */

mneme_read cf_reading(const char *session); /* all of it, with bodies */
cf_answer *cf_all(const char *session);     /* must be OK */
mneme_header cf_header(const char *session); /* must be there */
mneme_session_list cf_listing(void);         /* all of cf.ns, by id */
const char *cf_ids(const cf_answer *answer);      /* "a,b,c" */
const char *cf_sequences(const cf_answer *answer); /* "1,2,5" */
const char *cf_names(const cf_answer *answer);    /* sessions of headers */
/* The log as text: "2:UPDATED 1, 3:DELETED 2-3"; numbers are checked. */
const char *cf_log_text(const char *session);
/* Everything that a session shows, as text. */
const char *cf_snapshot(const char *session);

/* What sweepers do: EXPIRE by due until nothing of cf.ns is due. */
int64_t cf_sweep(void);

/* --- Checks -------------------------------------------------------------- */

__attribute__((format(printf, 3, 4), noreturn)) void cf_fail(const char *file, int line,
                                                             const char *format, ...);
/* Shown with a failure of this thread: what the test was at, and within what. */
__attribute__((format(printf, 1, 2))) void cf_context(const char *format, ...);
__attribute__((format(printf, 1, 2))) void cf_within(const char *format, ...);
__attribute__((noreturn)) void cf_skip(const char *reason);
const char *cf_status_name(mneme_status status);

#define FAIL(...) cf_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition)                              \
  do {                                                \
    if (!(condition)) FAIL("not so: %s", #condition); \
  } while (0)
#define CHECK_INT(got, want)                                              \
  do {                                                                    \
    int64_t got_ = (int64_t)(got), want_ = (int64_t)(want);               \
    if (got_ != want_)                                                    \
      FAIL("%s is %lld, not %lld", #got, (long long)got_, (long long)want_); \
  } while (0)
#define CHECK_TEXT(got, want)                                       \
  do {                                                              \
    const char *got_ = (got), *want_ = (want);                      \
    if (strcmp(got_, want_) != 0)                                   \
      FAIL("%s is\n  \"%s\", not\n  \"%s\"", #got, got_, want_);    \
  } while (0)
#define CHECK_BYTES(got, text)                                                     \
  do {                                                                             \
    mneme_bytes b_ = (got);                                                        \
    if (!cf_same(b_, cf_bytes(text)))                                              \
      FAIL("%s is \"%.*s\", not \"%s\"", #got, (int)b_.size, b_.size ? b_.data : "", text); \
  } while (0)
#define CHECK_STATUS(answer, want)                                              \
  do {                                                                          \
    mneme_status s_ = (answer)->status;                                         \
    if (s_ != (want))                                                           \
      FAIL("%s answered %s, not %s", (answer)->operation, cf_status_name(s_), #want); \
  } while (0)

#endif
