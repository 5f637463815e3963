/* The corpus against the model and against itself: whatever has happened to it, it
 * answers as the formula says, and to the last bit as one that was built of what is
 * left. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "search/search.h"
#include "search_model.h"

#define DAY INT64_C(86400000000)
#define START (19485 * DAY) /* 2023-05-08 */

static model *shared;
static scratch *shared_scratch;
static arena left, right;
static uint64_t dice;

static int begin(void **state) {
  (void)state;
  shared = calloc(1, sizeof *shared);
  shared_scratch = scratch_new();
  shared->analyser = analyser_new();
  shared->language = language_at(0);
  arena_init(&left, 64 << 20);
  arena_init(&right, 64 << 20);
  return 0;
}

static int end(void **state) {
  (void)state;
  analyser_free(shared->analyser);
  scratch_free(shared_scratch);
  free(shared);
  return 0;
}

static void empty_model(void) {
  for (size_t s = 0; s < MODEL_SESSIONS; s++)
    shared->sessions[s].count = 0;
}

/* splitmix64 */
static uint32_t roll(uint32_t sides) {
  uint64_t z = (dice += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return (uint32_t)((z ^ (z >> 31)) >> 32) % sides;
}

static const char *const vocabulary[] = {
    "cat",  "dog",   "painting", "painted", "sunrise", "lake", "went",   "going", "camping", "Anna",
    "Bo",   "music", "piano",    "violin",  "\u6771",  "\u4EAC", "\U0001F389", "the", "of", "running"};
#define VOCABULARY (sizeof vocabulary / sizeof *vocabulary)

static void random_text(char *out, size_t size, uint32_t words_max) {
  size_t used = 0;
  uint32_t n = roll(words_max + 1);
  out[0] = '\0';
  for (uint32_t i = 0; i < n && used + 20 < size; i++) {
    /* low numbers more often, so that some terms are rare */
    uint32_t pick = roll((uint32_t)VOCABULARY);
    pick = roll(pick + 1);
    used += (size_t)snprintf(out + used, size - used, "%s%s", vocabulary[pick],
                             roll(4) == 0 ? "" : " ");
  }
  if (roll(4) == 0)
    snprintf(out + used, size - used, "?");
}

static model_doc random_doc(int64_t sequence) {
  static const char *const authors[] = {"", "Anna", "Bo Lee", "Will"};
  static const char *const roles[] = {"", "user", "assistant"};
  static int64_t revision;
  model_doc d = {.sequence = sequence,
                 .revision = ++revision,
                 .time_us = START + roll(60) * DAY,
                 .importance = roll(3) == 0 ? roll(11) / 10.0 : -1};
  random_text(d.text, sizeof d.text, roll(20) == 0 ? 200 : 12);
  if (roll(5) == 0)
    random_text(d.caption, sizeof d.caption, 5);
  strcpy(d.author, authors[roll(4)]);
  strcpy(d.role, roles[roll(3)]);
  return d;
}

/* --- Comparing ----------------------------------------------------------- */

static search_result ask(const corpus *c, arena *a, search_request r, const char *text, query *q) {
  const language *languages[LANGUAGES_MAX];
  search_result result = {0};
  size_t count = corpus_languages(c, r.session, languages);
  assert_true(analyse_query(shared->analyser, languages, count,
                            mneme_bytes_of(text, strlen(text)), q));
  r.query = q;
  r.end_us = r.end_us == 0 ? INT64_MAX : r.end_us;
  r.start_us = r.start_us == 0 ? INT64_MIN : r.start_us;
  assert_int_equal(corpus_search(c, shared_scratch, a, &r, &result), MNEME_OK);
  return result;
}

static void agrees_with_model(const corpus *c, const char *text) {
  query q;
  size_t count;
  search_result found = ask(c, &left, (search_request){.limit = 100000}, text, &q);
  model_hit *wanted = model_search(shared, &q, &count);
  assert_int_equal(found.count, count);
  for (size_t i = 0; i < count; i++) {
    /* Sums differ in their last bits, so ties may be turned round. */
    assert_true(fabs(found.hits[i].score - wanted[i].score) < 1e-9);
    size_t k = 0;
    for (; k < count; k++) {
      mneme_bytes name = model_name(wanted[k].session);
      if (wanted[k].sequence == found.hits[i].sequence && name.size == found.hits[i].session.size &&
          memcmp(name.data, found.hits[i].session.data, name.size) == 0)
        break;
    }
    assert_true(k < count && fabs(found.hits[i].score - wanted[k].score) < 1e-9);
  }
  free(wanted);
  query_clear(&q);
  arena_clear(&left);
}

static void equal_hits(const search_hit *a, const search_hit *b) {
  assert_int_equal(a->session.size, b->session.size);
  assert_memory_equal(a->session.data, b->session.data, a->session.size);
  assert_int_equal(a->sequence, b->sequence);
  assert_int_equal(a->revision, b->revision);
  assert_memory_equal(&a->score, &b->score, sizeof a->score);
  assert_memory_equal(a->components, b->components, sizeof a->components);
  assert_int_equal(a->neighbour_count, b->neighbour_count);
  if (a->neighbour_count > 0)
    assert_memory_equal(a->neighbours, b->neighbours, a->neighbour_count * sizeof(int64_t));
  assert_int_equal(a->matched_count, b->matched_count);
  if (a->matched_count > 0)
    assert_memory_equal(a->matched, b->matched, a->matched_count * sizeof(uint32_t));
}

static void same_answers(const corpus *a, const corpus *b, search_request r, const char *text) {
  query p, q;
  r.explain = true;
  r.neighbours = 3;
  search_result x = ask(a, &left, r, text, &p), y = ask(b, &right, r, text, &q);
  assert_int_equal(x.count, y.count);
  assert_int_equal(x.found, y.found);
  for (size_t i = 0; i < x.count; i++)
    equal_hits(&x.hits[i], &y.hits[i]);
  query_clear(&p);
  query_clear(&q);
  arena_clear(&left);
  arena_clear(&right);
}

static const char *const queries[] = {
    "cat dog",
    "what did Anna say about the sunrise",
    "where did I go camping in May",
    "violin \u6771\u4EAC",
    "\u6771",
    "piano music music piano cat",
    "Will Will went running on June 3 2023",
    "\U0001F389 party",
    "the",
    "",
};
#define QUERIES (sizeof queries / sizeof *queries)

static void same_as_fresh(const corpus *c) {
  corpus *fresh = model_build(shared);
  assert_int_equal(corpus_memories(c), corpus_memories(fresh));
  for (size_t i = 0; i < QUERIES; i++) {
    same_answers(c, fresh, (search_request){.limit = 100000}, queries[i]);
    same_answers(c, fresh, (search_request){.limit = 5, .prefix = {"a/", 2}}, queries[i]);
    same_answers(c, fresh, (search_request){.limit = 5, .session = {"b", 1}}, queries[i]);
    same_answers(c, fresh, (search_request){.limit = 20, .has_mmr = true, .mmr_lambda = 0.5},
                 queries[i]);
    same_answers(c, fresh,
                 (search_request){.limit = 9,
                                  .now_us = START + 61 * DAY,
                                  .recency_weight = 0.5,
                                  .half_life_us = 7 * DAY,
                                  .importance_weight = 0.3},
                 queries[i]);
  }
  corpus_free(fresh);
}

/* --- A random life ------------------------------------------------------- */

static int64_t last_sequence[MODEL_SESSIONS];

static void put(corpus *c, size_t session, model_doc d) {
  model_put(shared, session, &d);
  model_feed(shared, c, session, &d);
}

static void remove_range(corpus *c, size_t session, int64_t first, int64_t last) {
  uint32_t id = corpus_session_find(c, model_name(session));
  model_remove(shared, session, first, last);
  if (id != CORPUS_NONE)
    corpus_remove(c, id, first, last);
}

static void drop(corpus *c, size_t session) {
  uint32_t id = corpus_session_find(c, model_name(session));
  model_remove(shared, session, 0, INT64_MAX);
  last_sequence[session] = 0;
  if (id != CORPUS_NONE)
    corpus_session_drop(c, id);
  assert_int_equal(corpus_session_find(c, model_name(session)), CORPUS_NONE);
}

static void one_step(corpus *c) {
  size_t session = roll(MODEL_SESSIONS);
  model_session *s = &shared->sessions[session];
  int64_t any = s->count > 0 ? s->docs[roll((uint32_t)s->count)].sequence : 1;
  switch (roll(20)) {
  case 0: drop(c, session); break;
  case 1:
  case 2: remove_range(c, session, any, any + roll(4)); break;
  case 3:
  case 4:
  case 5: remove_range(c, session, 0, s->count > 40 ? s->docs[0].sequence : 0); break;
  case 6: put(c, session, random_doc(any)); break; /* an update */
  case 7: put(c, session, random_doc(1 + roll(1000))); break; /* anywhere */
  default:
    if (s->count < 60) {
      last_sequence[session] += 1 + roll(3);
      int64_t last = s->count > 0 ? s->docs[s->count - 1].sequence : 0;
      last_sequence[session] = last >= last_sequence[session] ? last + 1 : last_sequence[session];
      put(c, session, random_doc(last_sequence[session]));
    }
    break;
  }
}

static void a_corpus_is_what_is_left_of_it(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    dice = seed;
    empty_model();
    memset(last_sequence, 0, sizeof last_sequence);
    corpus *c = corpus_new();
    assert_non_null(c);
    for (int step = 1; step <= 1200; step++) {
      one_step(c);
      if (step % 100 == 0)
        same_as_fresh(c);
      if (step % 400 == 0)
        for (size_t i = 0; i < QUERIES; i++)
          agrees_with_model(c, queries[i]);
    }
    for (size_t s = 0; s < MODEL_SESSIONS; s++)
      drop(c, s);
    assert_int_equal(corpus_memories(c), 0);
    same_as_fresh(c);
    corpus_free(c);
  }
}

/* Slots are used up page by page while a few memories stay for ever. */
static void sparse_pages_are_given_back(void **state) {
  (void)state;
  dice = 77;
  empty_model();
  corpus *c = corpus_new();
  size_t largest = 0;
  for (int64_t i = 1; i <= 60000; i++) {
    bool stays = i % 500 == 0;
    model_doc d = random_doc(stays ? i : 100000);
    d.expire_us = stays ? START + i : 0;
    if (stays)
      put(c, 0, d);
    else
      model_feed(shared, c, 1, &d);
    largest = corpus_bytes(c) > largest ? corpus_bytes(c) : largest;
  }
  remove_range(c, 1, 0, INT64_MAX);
  assert_int_equal(corpus_memories(c), 120);
  assert_true(largest < 4 << 20);
  same_as_fresh(c);
  /* What has been moved still expires when it should. */
  uint32_t session;
  int64_t sequence;
  for (int64_t i = 500; i <= 60000; i += 500) {
    assert_false(corpus_due(c, START + i - 1, &session, &sequence));
    assert_true(corpus_due(c, START + i, &session, &sequence));
    assert_int_equal(sequence, i);
    corpus_remove(c, session, sequence, sequence);
  }
  assert_int_equal(corpus_memories(c), 0);
  corpus_free(c);
}

static void what_is_emptied_takes_no_room(void **state) {
  (void)state;
  dice = 5;
  empty_model();
  corpus *c = corpus_new();
  size_t before = corpus_bytes(c);
  for (int64_t i = 1; i <= 500; i++)
    put(c, (size_t)(i % MODEL_SESSIONS), random_doc(i));
  assert_true(corpus_bytes(c) > before + 500 * 64);
  for (size_t s = 0; s < MODEL_SESSIONS; s++)
    drop(c, s);
  /* a page of slots, one of terms, and arrays that may grow again */
  assert_true(corpus_bytes(c) < before + 160 * 1024);
  corpus_free(c);
}

/* --- What expires -------------------------------------------------------- */

static void memories_and_sessions_come_due(void **state) {
  (void)state;
  dice = 9;
  empty_model();
  corpus *c = corpus_new();
  uint32_t session;
  int64_t sequence;
  for (int64_t i = 1; i <= 10; i++) {
    model_doc d = random_doc(i);
    d.expire_us = i % 2 == 0 ? 1000 - i * 10 : 0;
    put(c, 0, d);
  }
  assert_false(corpus_due(c, 899, &session, &sequence));
  for (int64_t i = 10; i >= 2; i -= 2) {
    assert_true(corpus_due(c, 1000 - i * 10, &session, &sequence));
    assert_int_equal(sequence, i);
    if (i == 6) { /* it has been touched */
      model_doc d = random_doc(6);
      d.expire_us = 2000;
      put(c, 0, d);
    } else {
      corpus_remove(c, session, sequence, sequence);
    }
  }
  assert_false(corpus_due(c, 1999, &session, &sequence));
  assert_true(corpus_session_expires(c, session, 1500));
  assert_true(corpus_due(c, 1500, &session, &sequence));
  assert_int_equal(sequence, 0);
  assert_true(corpus_session_expires(c, session, 0));
  assert_false(corpus_due(c, 1999, &session, &sequence));
  assert_true(corpus_due(c, 2000, &session, &sequence));
  assert_int_equal(sequence, 6);
  corpus_session_drop(c, session);
  assert_false(corpus_due(c, INT64_MAX, &session, &sequence));
  corpus_free(c);
}

static void revisions_are_told(void **state) {
  (void)state;
  empty_model();
  corpus *c = corpus_new();
  model_doc d = random_doc(7);
  put(c, 0, d);
  uint32_t id = corpus_session_find(c, model_name(0));
  assert_int_equal(corpus_revision(c, id, 7), d.revision);
  assert_int_equal(corpus_revision(c, id, 6), 0);
  assert_int_equal(corpus_revision(c, id, 8), 0);
  assert_int_equal(corpus_session_memories(c, id), 1);
  corpus_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_corpus_is_what_is_left_of_it),
      cmocka_unit_test(sparse_pages_are_given_back),
      cmocka_unit_test(what_is_emptied_takes_no_room),
      cmocka_unit_test(memories_and_sessions_come_due),
      cmocka_unit_test(revisions_are_told),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
