/* Random filters on random memories: the evaluator, and SQLite with the evaluator for
 * the rest, give the same answer; and SQLite alone emits exactly what the evaluator
 * says of the part that was pushed. Every cell of operator, type, what the record
 * holds there, and NOT is met at least CELL_MIN times; the table is printed.
 *
 * MNEME_FILTER_SEED and MNEME_FILTER_WORLDS make longer runs. */
#include <stdio.h>
#include <stdlib.h>

#include "filter/filter.h"
#include "filter_random.h"

#define WORLDS 12
#define FILTERS 700 /* on each */
#define CELL_MIN 50

static uint32_t cells[KINDS][OPERATORS][STATES][2];
static uint32_t pushed_whole, pushed_part, pushed_nothing;

static bool match(const mneme_filter *f, const mneme_record *r) {
  bool match;
  assert_int_equal(filter_match(f, r, &match), MNEME_OK);
  return match;
}

static void check(store *s, arena *a, const random_world *w, store_list all, random_filter *f) {
  const mneme_filter *whole, *pushed, *rest;
  error e = {0};
  if (!filter_parse(a, mneme_bytes_of(f->text, f->size), &filter_of_memories, RANDOM_NOW, &whole,
                    &e))
    fail_msg("%s\n  %s", f->text, e.message);
  assert_true(filter_split(a, whole, &pushed, &rest));
  store_list decided = store_read(s, a, RANDOM_NOW, pushed);
  for (size_t i = 0, at = 0; i < all.count; i++) {
    const mneme_record *r = &all.records[i];
    bool here = match(whole, r), part = match(pushed, r);
    bool emitted = at < decided.count && decided.records[at].sequence == r->sequence;
    at += emitted;
    bool there = emitted && match(rest, r);
    if (here != there || part != emitted)
      fail_msg("%s\n  on sequence %lld, %.*s\n  whole: %d here, %d with SQLite; pushed: %d here, "
               "%d by SQLite\n  by %s",
               f->text, (long long)r->sequence, (int)r->metadata_json.size, r->metadata_json.data,
               here, there, part, emitted, store_expanded(s));
    for (size_t n = 0; n < f->leaf_count; n++) {
      const random_leaf *l = &f->leaves[n];
      cells[l->kind][l->op][random_state_of(w, i, r, l)][l->negated]++;
    }
  }
  pushed_nothing += pushed == NULL;
  pushed_whole += rest == NULL;
  pushed_part += pushed != NULL && rest != NULL;
}

static void run_world(uint64_t seed) {
  static random_world w;
  static random_filter f;
  arena kept, scratch;
  arena_init(&kept, 256 * 1024 * 1024);
  random_seed(seed);
  store *s = store_open(&kept);
  random_fill(&w, &kept);
  for (size_t i = 0; i < RANDOM_RECORDS; i += 4)
    store_append(s, RANDOM_NOW - INT64_C(3600000000) * (int64_t)(RANDOM_RECORDS - i),
                 &w.records[i], 4);
  for (int i = 0; i < 30; i++)
    store_touch(s, RANDOM_NOW - (int64_t)random_below(1000000), 1 + random_below(RANDOM_RECORDS));
  store_list all = store_read(s, &kept, RANDOM_NOW, NULL);
  assert_int_equal(all.count, RANDOM_RECORDS);
  for (int i = 0; i < FILTERS; i++) {
    arena_init(&scratch, 64 * 1024 * 1024);
    random_make(&w, all.records, &f);
    check(s, &scratch, &w, all, &f);
    arena_clear(&scratch);
  }
  store_close(s);
  arena_clear(&kept);
}

static void print_row(kind k, operator_ op, uint32_t *least) {
  char line[256];
  int size = snprintf(line, sizeof line, "%-8s %-2s", random_kinds[k], random_operators[op]);
  for (int not = 0; not < 2; not++)
    for (held_state state = 0; state < STATES; state++) {
      uint32_t n = cells[k][op][state][not];
      if (!random_can_be(k, op, state)) {
        assert_int_equal(n, 0);
        size += snprintf(line + size, sizeof line - (size_t)size, " %8s", ".");
        continue;
      }
      size += snprintf(line + size, sizeof line - (size_t)size, " %8u", n);
      *least = n < *least ? n : *least;
    }
  print_message("%s\n", line);
}

static void the_evaluators_agree_in_every_cell(void **state) {
  (void)state;
  const char *seed = getenv("MNEME_FILTER_SEED"), *worlds = getenv("MNEME_FILTER_WORLDS");
  uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;
  uint64_t count = worlds != NULL ? strtoull(worlds, NULL, 10) : WORLDS;
  uint32_t least = UINT32_MAX;
  for (uint64_t i = 0; i < count; i++)
    run_world(first + i);
  print_message("%-11s %8s %8s %8s %8s  NOT: present, null, missing, other\n", "", "present",
                "null", "missing", "other");
  for (kind k = 0; k < KINDS; k++)
    for (operator_ op = 0; op < OPERATORS; op++)
      if (random_applies(k, op))
        print_row(k, op, &least);
  print_message("least %u; pushed wholly %u, in part %u, not at all %u\n", least, pushed_whole,
                pushed_part, pushed_nothing);
  assert_true(least >= CELL_MIN);
  assert_true(pushed_whole > 100 && pushed_part > 100 && pushed_nothing > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_evaluators_agree_in_every_cell),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
