/* Search by example: what is found, in which order, and what is told of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "search/search.h"

#define DAY INT64_C(86400000000)
#define START (19485 * DAY) /* 2023-05-08 */

static analyser *the_analyser;
static scratch *the_scratch;
static corpus *c;
static arena results;
static query q;
static search_result r;
static int64_t next_sequence;

static int begin(void **state) {
  (void)state;
  the_analyser = analyser_new();
  the_scratch = scratch_new();
  return the_analyser == NULL || the_scratch == NULL;
}

static int end(void **state) {
  (void)state;
  analyser_free(the_analyser);
  scratch_free(the_scratch);
  return 0;
}

static int open_corpus(void **state) {
  (void)state;
  c = corpus_new();
  arena_init(&results, 64 << 20);
  next_sequence = 0;
  return c == NULL;
}

static int close_corpus(void **state) {
  (void)state;
  corpus_free(c);
  query_clear(&q);
  arena_clear(&results);
  return 0;
}

static mneme_bytes bytes(const char *text) { return mneme_bytes_of(text, strlen(text)); }

typedef struct memory {
  const char *session, *text, *caption, *author, *role, *kind, *language, *metadata;
  int64_t days;     /* since START */
  double importance; /* 0 = unset */
} memory;

static int64_t put(memory m) {
#define OR(a, b) ((a) != NULL ? (a) : (b))
  const language *l = language_find(bytes(OR(m.language, "english")));
  uint32_t id = corpus_session_add(c, bytes(OR(m.session, "s")), l);
  mneme_record record = {.sequence = ++next_sequence,
                         .revision = next_sequence,
                         .create_us = START + m.days * DAY,
                         .event_us = MNEME_NO_EVENT,
                         .author = bytes(OR(m.author, "")),
                         .role = bytes(OR(m.role, "")),
                         .kind = bytes(OR(m.kind, "message")),
                         .has_importance = m.importance > 0,
                         .importance = m.importance};
  corpus_memory put = {.record = &record,
                       .metadata = bytes(OR(m.metadata, "")),
                       .asks = analyse_asks(bytes(m.text))};
  assert_true(analyse_text(the_analyser, l, bytes(m.text), &put.content));
  assert_true(analyse_text(the_analyser, l, bytes(OR(m.caption, "")), &put.minor));
  assert_true(analyse_text(the_analyser, l, record.author, &put.author));
  assert_int_equal(corpus_put(c, id, &put), MNEME_OK);
  free(put.content.items);
  free(put.minor.items);
  free(put.author.items);
  return next_sequence;
}

static int64_t say(const char *text) { return put((memory){.text = text}); }

static void ask(const char *text, search_request request) {
  const language *languages[LANGUAGES_MAX];
  size_t count = corpus_languages(c, request.session, languages);
  query_clear(&q);
  assert_true(analyse_query(the_analyser, languages, count, bytes(text), &q));
  request.query = &q;
  request.limit = request.limit == 0 ? 10 : request.limit;
  request.start_us = request.start_us == 0 ? INT64_MIN : request.start_us;
  request.end_us = request.end_us == 0 ? INT64_MAX : request.end_us;
  assert_int_equal(corpus_search(c, the_scratch, &results, &request, &r), MNEME_OK);
}

static void find(const char *text) { ask(text, (search_request){0}); }

static double score_of(int64_t sequence) {
  for (size_t i = 0; i < r.count; i++)
    if (r.hits[i].sequence == sequence)
      return r.hits[i].score;
  return 0;
}

/* The hits are these sequences, in this order; 0 ends them. */
static void expect(const int64_t *sequences) {
  size_t n = 0;
  for (; sequences[n] != 0; n++)
    if (n >= r.count || r.hits[n].sequence != sequences[n])
      fail_msg("hit %zu of %zu is not %lld", n, r.count, (long long)sequences[n]);
  assert_int_equal(r.count, n);
}
#define EXPECT(...) expect((const int64_t[]){__VA_ARGS__, 0})

/* --- What is found ------------------------------------------------------- */

static void the_best_answer_is_first(void **state) {
  (void)state;
  say("The user's favorite color is blue");
  say("I like pizza");
  say("Python is a programming language");
  find("What color does the user like?");
  assert_int_equal(r.hits[0].sequence, 1);
  double best = r.hits[0].score;
  assert_true(best > r.hits[1].score && r.hits[1].score > 0);
  ask("What color does the user like?", (search_request){.has_min_score = true, .min_score = best});
  EXPECT(1);
  ask("What color does the user like?",
      (search_request){.has_min_score = true, .min_score = nextafter(best, INFINITY)});
  assert_int_equal(r.count, 0);
  ask("What color does the user like?", (search_request){.limit = 1});
  EXPECT(1);
}

static void nothing_is_found_in_nothing(void **state) {
  (void)state;
  find("anything");
  assert_int_equal(r.count, 0);
  say("");
  find("anything");
  assert_int_equal(r.count, 0);
  say("something");
  find("");
  assert_int_equal(r.count, 0);
  find("the of and");
  assert_int_equal(r.count, 0);
  find("something");
  assert_int_equal(r.hits[0].sequence, 2);
}

static void ties_are_by_session_and_sequence(void **state) {
  (void)state;
  static const char *const sessions[] = {"b", "a", "c", "a/b"};
  for (int i = 0; i < 8; i++)
    put((memory){.session = sessions[i % 4], .text = "equal words"});
  find("equal");
  EXPECT(2, 6, 4, 8, 1, 5, 3, 7);
  for (size_t i = 0; i < 8; i++)
    assert_true(r.hits[i].score == r.hits[0].score);
}

static void neighbours_in_the_session_count(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "nothing here"});
  put((memory){.session = "b", .text = "where is the lighthouse?"});
  put((memory){.session = "b", .text = "on the island", .role = "user"});
  put((memory){.session = "b", .text = "on the island"});
  put((memory){.session = "b", .text = "on the island"});
  put((memory){.session = "c", .text = "nothing here"});
  find("lighthouse");
  EXPECT(2, 3, 4); /* not 5: it is three away; not 1 and 6: other sessions */
  double answer = score_of(3);
  next_sequence = 2;
  put((memory){.session = "b", .text = "on the island", .role = "assistant"});
  find("lighthouse");
  assert_true(score_of(3) < answer); /* the assistant asked itself */
}

static void names_do_not_spread(void **state) {
  (void)state;
  put((memory){.text = "I was there", .author = "Anna"});
  put((memory){.text = "lovely weather"});
  put((memory){.text = "Anna was there too"});
  find("anna");
  EXPECT(1, 3);
  corpus_remove(c, 0, 1, 1); /* now it is a word like any other */
  find("anna");
  EXPECT(3, 2);
}

static void who_is_named_is_preferred(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "we saw whales", .author = "Bo Lee"});
  put((memory){.session = "b", .text = "we saw whales", .author = "Anna"});
  find("when did Anna see whales");
  assert_int_equal(r.hits[0].sequence, 2);
  find("whales Lee?");
  assert_int_equal(r.hits[0].sequence, 1);
}

static void the_user_is_meant_by_the_first_person(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "kayak trips", .role = "assistant"});
  put((memory){.session = "b", .text = "kayak trips", .role = "user"});
  find("kayak");
  EXPECT(1, 2);
  find("my kayak");
  EXPECT(2, 1);
}

static void dates_that_are_named_count(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "kayak trips"});
  put((memory){.session = "b", .text = "kayak trips", .days = 60});
  find("kayak in July 2023");
  EXPECT(2, 1);
  find("kayak on 8 May 2023");
  EXPECT(1, 2);
}

static void captions_count_less_than_text(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "look", .caption = "kayak"});
  put((memory){.session = "b", .text = "kayak look"});
  find("kayak");
  EXPECT(2, 1);
}

static void words_side_by_side_count_more(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "station fire near police car"});
  put((memory){.session = "b", .text = "fire station near car police"});
  find("fire station");
  EXPECT(2, 1);
  find("police car");
  EXPECT(1, 2);
}

static void scripts_without_spaces_are_found_by_pairs(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "\u6771\u4EAC\u90FD\u306B\u4F4F\u3080"});
  put((memory){.session = "b", .text = "\u4EAC\u90FD\u306B\u884C\u304F"});
  put((memory){.session = "c", .text = "\u6771\u306E\u90FD"});
  find("\u6771\u4EAC");
  EXPECT(1);
  find("\u4EAC\u90FD");
  EXPECT(2, 1);
  find("\u6771");
  EXPECT(3, 1);
}

static void sessions_have_their_language(void **state) {
  (void)state;
  put((memory){.session = "en", .text = "the houses"});
  put((memory){.session = "de", .text = "die H\u00E4user", .language = "german"});
  find("house");
  EXPECT(1);
  find("Haus");
  EXPECT(2);
  ask("house H\u00E4usern", (search_request){.session = bytes("de")});
  EXPECT(2);
}

static void a_long_text_counts_by_its_best_passage(void **state) {
  (void)state;
  char *text = malloc(2000000), *at = text;
  assert_non_null(text);
  for (int i = 0; i < 200000; i++)
    at += sprintf(at, "w%d ", i % 1000);
  sprintf(at, "kayak");
  put((memory){.session = "long", .text = text});
  free(text);
  put((memory){.session = "short", .text = "kayak"});
  find("kayak");
  EXPECT(2, 1);
  find("w999 kayak w0");
  EXPECT(1, 2);
}

static void a_query_of_ten_thousand_words_is_answered(void **state) {
  (void)state;
  char *text = malloc(200000), *at = text;
  assert_non_null(text);
  for (int i = 0; i < 10000; i++)
    at += sprintf(at, "w%dx ", i);
  put((memory){.session = "a", .text = "w5x and w6x"});
  put((memory){.session = "b", .text = "w5000x"}); /* beyond the terms that are looked for */
  find(text);
  EXPECT(1);
  free(text);
}

/* --- Who may be a hit ----------------------------------------------------- */

static void kinds_roles_and_times_are_judged_before_the_cut(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++)
    put((memory){.session = "a", .text = "kayak", .kind = i == 40 ? "fact" : "message",
                 .role = i == 41 ? "tool" : "user", .days = i});
  mneme_bytes kinds[] = {bytes("none"), bytes("fact")}, roles[] = {bytes("tool")};
  ask("kayak", (search_request){.limit = 1, .kinds = kinds, .kind_count = 2});
  EXPECT(41);
  ask("kayak", (search_request){.limit = 1, .roles = roles, .role_count = 1});
  EXPECT(42);
  ask("kayak", (search_request){.limit = 3,
                                .start_us = START + 43 * DAY,
                                .end_us = START + 45 * DAY});
  EXPECT(44, 45);
  ask("kayak", (search_request){.kinds = kinds, .kind_count = 1});
  assert_int_equal(r.count, 0);
  ask("kayak", (search_request){.kinds = kinds, .kind_count = 2, .roles = roles, .role_count = 1});
  assert_int_equal(r.count, 0);
}

static void a_score_does_not_depend_on_who_else_may_be_a_hit(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "kayak on the lake", .kind = "fact"});
  put((memory){.session = "a", .text = "my kayak is red"});
  put((memory){.session = "b", .text = "a red kayak"});
  mneme_bytes kind = bytes("fact");
  find("red kayak");
  double first = score_of(1), third = score_of(3);
  ask("red kayak", (search_request){.kinds = &kind, .kind_count = 1});
  EXPECT(1);
  assert_true(r.hits[0].score == first);
  ask("red kayak", (search_request){.session = bytes("b")});
  EXPECT(3);
  assert_true(r.hits[0].score == third);
  ask("red kayak", (search_request){.prefix = bytes("a")});
  assert_true(score_of(1) == first);
  ask("red kayak", (search_request){.session = bytes("absent")});
  assert_int_equal(r.count, 0);
}

typedef struct judging {
  size_t asked;
  bool knew_all;
} judging;

/* No to "tool", yes to "user", of the rest it can't tell. */
static search_answer judge(void *ctx, const search_known *k) {
  judging *j = ctx;
  j->asked++;
  if (k->record.sequence == 4)
    j->knew_all = k->has_metadata && k->metadata_known && k->metadata.size == 2 &&
                  memcmp(k->metadata.data, "m4", 2) == 0 && k->record.kind.size == 4 &&
                  memcmp(k->record.kind.data, "fact", 4) == 0 && k->record.has_importance &&
                  k->record.importance == 0.25 && !k->has_event &&
                  k->record.create_us == START + 3 * DAY && k->record.revision == 4;
  if (k->record.role.size == 4 && memcmp(k->record.role.data, "tool", 4) == 0)
    return SEARCH_NO;
  return k->record.role.size == 4 ? SEARCH_YES : SEARCH_UNSURE;
}

static void a_filter_is_asked_for_every_candidate(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "kayak", .role = "tool"});
  put((memory){.session = "b", .text = "kayak", .role = "user"});
  put((memory){.session = "c", .text = "kayak", .role = "other"});
  put((memory){.session = "d", .text = "kayak", .kind = "fact", .importance = 0.25, .days = 3,
               .metadata = "m4"});
  judging j = {0};
  ask("kayak", (search_request){.judge = judge, .judge_ctx = &j});
  EXPECT(2, 3, 4);
  assert_int_equal(j.asked, 4);
  assert_true(j.knew_all);
  assert_true(r.hits[0].sure);
  assert_false(r.hits[1].sure);
}

/* --- How they are ordered ------------------------------------------------- */

static void recency_and_importance_are_weighed(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "kayak", .importance = 1.0});
  put((memory){.session = "b", .text = "kayak", .days = 20, .importance = 0.1});
  put((memory){.session = "c", .text = "kayak", .days = 10});
  find("kayak");
  EXPECT(1, 2, 3);
  double plain = r.hits[0].score;
  ask("kayak", (search_request){.now_us = START + 20 * DAY, .recency_weight = 0.2,
                                .half_life_us = 10 * DAY});
  EXPECT(2, 3, 1);
  assert_true(fabs(r.hits[0].score - plain * 1.2) < 1e-12);
  assert_true(fabs(r.hits[1].score - plain * 1.1) < 1e-12);
  ask("kayak", (search_request){.importance_weight = 0.5});
  EXPECT(1, 3, 2);
  assert_true(fabs(r.hits[0].score - plain * 1.5) < 1e-12);
  assert_true(fabs(r.hits[1].score - plain * 1.25) < 1e-12); /* unset counts as a half */
}

static void the_future_is_no_more_recent_than_now(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "kayak", .days = 100});
  put((memory){.session = "b", .text = "kayak"});
  ask("kayak", (search_request){.now_us = START, .recency_weight = 1, .half_life_us = DAY});
  EXPECT(1, 2);
  assert_true(r.hits[0].score == r.hits[1].score);
}

static void diversity_puts_repetitions_back(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "kayak kayak lake morning"});
  put((memory){.session = "b", .text = "kayak kayak lake morning"});
  put((memory){.session = "c", .text = "kayak river evening"});
  for (int i = 0; i < 20; i++)
    put((memory){.session = "d", .text = "something else"});
  find("kayak lake");
  EXPECT(1, 2, 3);
  ask("kayak lake", (search_request){.has_mmr = true, .mmr_lambda = 0.5});
  EXPECT(1, 3, 2);
  ask("kayak lake", (search_request){.has_mmr = true, .mmr_lambda = 1});
  EXPECT(1, 2, 3);
  ask("kayak lake", (search_request){.has_mmr = true, .mmr_lambda = 0.5, .limit = 2});
  EXPECT(1, 3); /* it chooses among more than it returns */
}

/* --- What is told --------------------------------------------------------- */

static void components_add_up_to_the_score(void **state) {
  (void)state;
  put((memory){.session = "a", .text = "did you take the kayak?", .role = "user"});
  put((memory){.session = "a", .text = "yes, the red kayak on the lake", .role = "user",
               .author = "Anna", .importance = 0.8});
  put((memory){.session = "a", .text = "on the lake it was cold"});
  put((memory){.session = "b", .text = "kayak"});
  ask("my red kayak in May 2023, Anna", (search_request){.explain = true,
                                                         .now_us = START + DAY,
                                                         .recency_weight = 0.5,
                                                         .half_life_us = DAY,
                                                         .importance_weight = 0.5});
  assert_int_equal(r.hits[0].sequence, 2);
  for (size_t i = 0; i < r.count; i++) {
    double sum = 0;
    for (size_t k = 0; k < SEARCH_COMPONENTS; k++) {
      assert_true(r.hits[i].components[k] >= 0);
      sum += r.hits[i].components[k];
    }
    assert_true(fabs(sum - r.hits[i].score) < 1e-9);
  }
  for (size_t k = 0; k < SEARCH_COMPONENTS; k++)
    assert_true(r.hits[0].components[k] > 0);
  assert_true(r.hits[0].components[SEARCH_AUTHOR] == 3);
  assert_true(r.hits[0].components[SEARCH_DATE] == 2);
  assert_int_equal(r.hits[0].matched_count, 3); /* red, kayak, anna */
  assert_string_equal(search_component_name(SEARCH_FIRST_PERSON), "first_person");
}

static void what_only_neighbours_say_is_context(void **state) {
  (void)state;
  say("kayak");
  say("nothing");
  ask("kayak", (search_request){.explain = true});
  EXPECT(1, 2);
  assert_true(r.hits[0].components[SEARCH_CONTEXT] == 0);
  assert_true(r.hits[1].components[SEARCH_LEXICAL] == 0);
  assert_true(r.hits[1].components[SEARCH_CONTEXT] > 0);
  assert_int_equal(r.hits[1].matched_count, 0);
}

static void neighbours_are_told_in_order(void **state) {
  (void)state;
  put((memory){.session = "other", .text = "x"});
  for (int i = 0; i < 9; i++)
    say(i == 1 ? "kayak" : "x");
  corpus_remove(c, corpus_session_find(c, bytes("s")), 4, 4);
  ask("kayak", (search_request){.neighbours = 2, .limit = 1});
  assert_int_equal(r.hits[0].sequence, 3);
  assert_int_equal(r.hits[0].neighbour_count, 3);
  assert_int_equal(r.hits[0].neighbours[0], 2);
  assert_int_equal(r.hits[0].neighbours[1], 5);
  assert_int_equal(r.hits[0].neighbours[2], 6);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_corpus, close_corpus)
  const struct CMUnitTest tests[] = {
      CASE(the_best_answer_is_first),
      CASE(nothing_is_found_in_nothing),
      CASE(ties_are_by_session_and_sequence),
      CASE(neighbours_in_the_session_count),
      CASE(names_do_not_spread),
      CASE(who_is_named_is_preferred),
      CASE(the_user_is_meant_by_the_first_person),
      CASE(dates_that_are_named_count),
      CASE(captions_count_less_than_text),
      CASE(words_side_by_side_count_more),
      CASE(scripts_without_spaces_are_found_by_pairs),
      CASE(sessions_have_their_language),
      CASE(a_long_text_counts_by_its_best_passage),
      CASE(a_query_of_ten_thousand_words_is_answered),
      CASE(kinds_roles_and_times_are_judged_before_the_cut),
      CASE(a_score_does_not_depend_on_who_else_may_be_a_hit),
      CASE(a_filter_is_asked_for_every_candidate),
      CASE(recency_and_importance_are_weighed),
      CASE(the_future_is_no_more_recent_than_now),
      CASE(diversity_puts_repetitions_back),
      CASE(components_add_up_to_the_score),
      CASE(what_only_neighbours_say_is_context),
      CASE(neighbours_are_told_in_order),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
