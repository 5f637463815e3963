/* The ranker on a file of memories and queries, without a server: what a change of
 * search is worth, in a second.
 *
 * Lines come on standard input, their fields separated by the byte 0x1F:
 *
 *   M store id session sequence time_us author role kind caption text
 *   Q store id k kinds question
 *
 * A store is a namespace; its memories come before its queries. kinds are separated
 * by commas; none = all. For each query a
 * line {"id": .., "ranking": [..]} goes to standard output, and at the end a line of
 * figures to standard error. tests/eval/run.py writes and reads them.
 *
 * With MNEME_RANK_CHURN=n each store is filled with n times as many other memories
 * in between, which are removed again: the output must not change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "search/search.h"

#define FIELDS_MAX 12
#define STORES_MAX 4096
#define KINDS_MAX 64

typedef struct store {
  char *name;
  corpus *corpus;
  char **ids; /* by sequence; of one session number, all sessions together */
  int64_t id_count;
} store;

static store stores[STORES_MAX];
static size_t store_count;
static analyser *the_analyser;
static scratch *the_scratch;
static const language *english;
static int churn;
static int64_t put_us, search_us;
static size_t memories, queries;

static void die(const char *what) {
  fprintf(stderr, "mneme-rank: %s\n", what);
  exit(1);
}

static void *need(void *p) {
  if (p == NULL)
    die("no memory");
  return p;
}

static store *store_of(const char *name) {
  for (size_t i = 0; i < store_count; i++)
    if (strcmp(stores[i].name, name) == 0)
      return &stores[i];
  if (store_count == STORES_MAX)
    die("too many stores");
  store *s = &stores[store_count++];
  *s = (store){.name = need(strdup(name)), .corpus = need(corpus_new())};
  return s;
}

static mneme_bytes bytes_of(const char *text) { return mneme_bytes_of(text, strlen(text)); }

static void must(bool ok) { (void)need(ok ? (void *)1 : NULL); }

static void put(corpus *c, uint32_t session, const mneme_record *r, const char *caption,
                const char *text) {
  corpus_memory m = {.record = r, .asks = analyse_asks(bytes_of(text))};
  must(analyse_text(the_analyser, english, bytes_of(text), &m.content));
  must(analyse_text(the_analyser, english, bytes_of(caption), &m.minor));
  must(analyse_text(the_analyser, english, r->author, &m.author));
  must(corpus_put(c, session, &m) == MNEME_OK);
  free(m.content.items);
  free(m.minor.items);
  free(m.author.items);
}

/* Sequences run through the store; a session's are ascending, that is enough. */
static void read_memory(char **f) {
  store *s = store_of(f[1]);
  uint32_t session = corpus_session_add(s->corpus, bytes_of(f[3]), english);
  int64_t begin = clock_mono_us();
  s->ids = need(realloc(s->ids, (size_t)(s->id_count + 2) * sizeof *s->ids));
  s->ids[++s->id_count] = need(strdup(f[2]));
  mneme_record r = {.sequence = s->id_count,
                    .revision = 1,
                    .create_us = strtoll(f[5], NULL, 10),
                    .event_us = MNEME_NO_EVENT,
                    .author = bytes_of(f[6]),
                    .role = bytes_of(f[7]),
                    .kind = bytes_of(f[8])};
  for (int i = 0; i < churn; i++) {
    mneme_record other = r;
    other.sequence = s->id_count + 1000000 + i;
    put(s->corpus, session, &other, f[10], i % 2 == 0 ? f[10] : f[2]);
  }
  put(s->corpus, session, &r, f[9], f[10]);
  corpus_remove(s->corpus, session, 1000000, INT64_MAX);
  put_us += clock_mono_us() - begin;
  memories++;
}

static size_t split(char *text, mneme_bytes parts[KINDS_MAX]) {
  size_t count = 0;
  for (char *at = strtok(text, ","); at != NULL && count < KINDS_MAX; at = strtok(NULL, ","))
    parts[count++] = bytes_of(at);
  return count;
}

static void read_query(char **f) {
  static arena a;
  mneme_bytes kinds[KINDS_MAX];
  store *s = store_of(f[1]);
  const language *languages[LANGUAGES_MAX];
  query q;
  search_result result;
  arena_init(&a, 64 * 1024 * 1024);
  int64_t begin = clock_mono_us();
  size_t count = corpus_languages(s->corpus, mneme_bytes_of("", 0), languages);
  must(analyse_query(the_analyser, languages, count, bytes_of(f[5]), &q));
  search_request r = {.query = &q,
                      .start_us = INT64_MIN,
                      .end_us = INT64_MAX,
                      .kinds = kinds,
                      .kind_count = split(f[4], kinds),
                      .limit = strtoul(f[3], NULL, 10)};
  must(corpus_search(s->corpus, the_scratch, &a, &r, &result) == MNEME_OK);
  search_us += clock_mono_us() - begin;
  printf("{\"id\": \"%s\", \"ranking\": [", f[2]);
  for (size_t i = 0; i < result.count; i++)
    printf("%s\"%s\"", i > 0 ? ", " : "", s->ids[result.hits[i].sequence]);
  printf("]}\n");
  query_clear(&q);
  arena_clear(&a);
  queries++;
}

static void read_line(char *line) {
  char *fields[FIELDS_MAX] = {line};
  size_t count = 1;
  for (char *at = line; (at = strchr(at, '\x1F')) != NULL && count < FIELDS_MAX; count++) {
    *at++ = '\0';
    fields[count] = at;
  }
  if (strcmp(fields[0], "M") == 0 && count == 11)
    read_memory(fields);
  else if (strcmp(fields[0], "Q") == 0 && count == 6)
    read_query(fields);
  else
    die("a line that is neither a memory nor a query");
}

int main(void) {
  char *line = NULL;
  size_t room = 0, bytes = 0;
  ssize_t size;
  const char *n = getenv("MNEME_RANK_CHURN");
  churn = n != NULL ? atoi(n) : 0;
  the_analyser = need(analyser_new());
  the_scratch = need(scratch_new());
  english = language_at(0);
  while ((size = getline(&line, &room, stdin)) > 0) {
    if (line[size - 1] == '\n')
      line[size - 1] = '\0';
    read_line(line);
  }
  for (size_t i = 0; i < store_count; i++)
    bytes += corpus_bytes(stores[i].corpus);
  fprintf(stderr, "%zu memories, %.2f us each, %.0f bytes each; %zu queries, %.1f us each\n",
          memories, memories > 0 ? (double)put_us / (double)memories : 0,
          memories > 0 ? (double)bytes / (double)memories : 0, queries,
          queries > 0 ? (double)search_us / (double)queries : 0);
  for (size_t i = 0; i < store_count; i++) {
    corpus_free(stores[i].corpus);
    for (int64_t k = 1; k <= stores[i].id_count; k++)
      free(stores[i].ids[k]);
    free(stores[i].ids);
    free(stores[i].name);
  }
  analyser_free(the_analyser);
  scratch_free(the_scratch);
  free(line);
  return 0;
}
