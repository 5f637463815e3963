/* mneme-conform: runs every test against one backend, each in a child process of
 * its own with a time-out, so that a crash, a hang or a broken backend costs one
 * test and not the run (as memcached's engine_testapp does).
 *
 *   main -> for each chosen test: fork -> cf_open, test, cf_close -> exit status
 *        <- what the child wrote to its stderr, shown when it failed
 *
 * The parent never opens the backend, so a child inherits neither threads nor
 * connections. Each test has a namespace that no other run had, so the store may
 * be an old one. Exit status: 0 all passed, 1 some failed, 2 wrong usage. */
#include <errno.h>
#include <fnmatch.h>
#include <ftw.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conform.h"
#include "late.h"
#include "subject.h"

#define OUTPUT_MAX 16384
#define TIMEOUT_S 30
#define NOW_US ((int64_t)1700000000 * CF_SECOND)

typedef struct arguments {
  const char *plugin, *builtin, *config, *glob;
  bool late, list;
  int hosts, timeout_s;
  uint64_t seed;
} arguments;

static cf_test *tests;
static int passed, failed, skipped;

static void usage(FILE *to) {
  fputs("usage: mneme-conform (--plugin X.so | --builtin NAME) [--config F] [--hosts 2]\n"
        "         [--late] [--test GLOB] [--seed N] [--timeout S] [--list]\n"
        "  --plugin X.so    the backend in this shared object (symbol mneme_plugin)\n"
        "  --builtin NAME   one that is linked in\n"
        "  --config F       its options, `name: value` lines; {dir} = a directory that\n"
        "                   is made for each test and removed after it\n"
        "  --hosts 2        two servers on one store\n"
        "  --late           every operation is completed late, from another thread\n"
        "  --test GLOB      only the tests whose name matches; may hold commas\n"
        "  --seed N         seed of the random numbers (else 1)\n"
        "  --timeout S      seconds for one test (else 30)\n"
        "  --list           names the tests with their duties and stops\n",
        to);
}

/* Kept in order of name: the duty's number comes first in it. */
void cf_register(cf_test *test) {
  cf_test **at = &tests;
  while (*at != NULL && strcmp((*at)->name, test->name) < 0) at = &(*at)->next;
  test->next = *at;
  *at = test;
}

static bool chosen(const cf_test *test, const char *globs) {
  if (globs == NULL) return true;
  char *copy = strdup(globs), *rest = copy, *glob = NULL;
  bool match = false;
  while ((glob = strsep(&rest, ",")) != NULL)
    if (fnmatch(glob, test->name, 0) == 0) match = true;
  free(copy);
  return match;
}

/* --- The child ----------------------------------------------------------- */

static void child(const cf_test *test, const arguments *args, const char *dir) {
  char error[512] = "";
  if (!cf_config(cf.type, args->config, dir, cf.values, error, sizeof error)) {
    fprintf(stderr, "%s\n", error);
    _exit(2);
  }
  static char ns[MNEME_NAMESPACE_MAX];
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  snprintf(ns, sizeof ns, "conform-%llx-%x-%.40s",
           (unsigned long long)t.tv_sec * 1000000000 + (unsigned long long)t.tv_nsec,
           (unsigned)getpid(), test->name);
  cf.ns = cf_bytes(ns);
  cf.seed = args->seed;
  cf.want_hosts = args->hosts;
  atomic_store(&cf.now_us, NOW_US);
  cf_open();
  test->run();
  cf_close();
  exit(0); /* with exit, so that a leak checker may look */
}

/* --- The parent ---------------------------------------------------------- */

static int64_t clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads what the child writes until it ends; kills it when its time is up. */
static bool collect(pid_t pid, int from, int64_t timeout_ms, char *output, size_t *ret_size) {
  int64_t until = clock_ms() + timeout_ms;
  size_t size = 0;
  bool in_time = true;
  for (;;) {
    int64_t left = until - clock_ms();
    struct pollfd poller = {from, POLLIN, 0};
    int ready = left > 0 ? poll(&poller, 1, (int)left) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      kill(pid, SIGKILL);
      in_time = false;
      break;
    }
    char piece[4096];
    ssize_t n = read(from, piece, sizeof piece);
    if (n <= 0) break;
    size_t room = OUTPUT_MAX - 1 - size, take = (size_t)n < room ? (size_t)n : room;
    memcpy(output + size, piece, take);
    size += take;
  }
  output[size] = '\0';
  *ret_size = size;
  return in_time;
}

static void show(const char *output) {
  while (*output != '\0') {
    size_t n = strcspn(output, "\n");
    printf("     %.*s\n", (int)n, output);
    output += n + (output[n] == '\n');
  }
}

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *at) {
  (void)info;
  (void)flag;
  (void)at;
  return remove(path);
}

static void run(const cf_test *test, const arguments *args) {
  uint32_t missing = test->caps & ~cf.type->caps;
  if (missing) {
    printf("skip %s [%s] %s\n", test->name, test->duties, test->without);
    skipped++;
    return;
  }
  const char *tmp = getenv("TMPDIR");
  char dir[4096];
  snprintf(dir, sizeof dir, "%s/mneme-conform-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
  int pipe_ends[2];
  if (mkdtemp(dir) == NULL || pipe(pipe_ends) != 0) {
    perror("mneme-conform");
    exit(2);
  }
  fflush(stdout);
  int64_t start = clock_ms();
  pid_t pid = fork();
  if (pid == 0) {
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    child(test, args, dir);
  }
  close(pipe_ends[1]);
  static char output[OUTPUT_MAX];
  size_t size = 0;
  int64_t timeout_ms = (int64_t)args->timeout_s * 1000 * (test->slow > 0 ? test->slow : 1);
  bool in_time = pid > 0 && collect(pid, pipe_ends[0], timeout_ms, output, &size);
  close(pipe_ends[0]);
  int status = 0;
  if (pid > 0) waitpid(pid, &status, 0);
  nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

  long long ms = (long long)(clock_ms() - start);
  if (pid > 0 && in_time && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    printf("skip %s [%s] %.*s\n", test->name, test->duties, (int)strcspn(output, "\n"), output);
    skipped++;
  } else if (pid > 0 && in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    printf("ok   %s [%s] %lld ms\n", test->name, test->duties, ms);
    passed++;
  } else {
    printf("FAIL %s [%s] %lld ms\n", test->name, test->duties, ms);
    show(output);
    if (!in_time) printf("     killed: not done after %lld s\n", (long long)timeout_ms / 1000);
    else if (WIFSIGNALED(status)) printf("     died of signal %d\n", WTERMSIG(status));
    failed++;
  }
}

static bool parse(int argc, char **argv, arguments *args) {
  static const struct option options[] = {
      {"plugin", required_argument, NULL, 'p'}, {"builtin", required_argument, NULL, 'b'},
      {"config", required_argument, NULL, 'c'}, {"hosts", required_argument, NULL, 'h'},
      {"late", no_argument, NULL, 'l'},         {"test", required_argument, NULL, 't'},
      {"list", no_argument, NULL, 'L'},         {"seed", required_argument, NULL, 's'},
      {"timeout", required_argument, NULL, 'T'}, {"help", no_argument, NULL, '?'},
      {NULL, 0, NULL, 0}};
  *args = (arguments){.hosts = 1, .timeout_s = TIMEOUT_S, .seed = 1};
  int option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    switch (option) {
      case 'p': args->plugin = optarg; break;
      case 'b': args->builtin = optarg; break;
      case 'c': args->config = optarg; break;
      case 'h': args->hosts = atoi(optarg); break;
      case 'l': args->late = true; break;
      case 't': args->glob = optarg; break;
      case 'L': args->list = true; break;
      case 's': args->seed = strtoull(optarg, NULL, 0); break;
      case 'T': args->timeout_s = atoi(optarg); break;
      default: return false;
    }
  }
  bool one = (args->plugin != NULL) != (args->builtin != NULL);
  return optind == argc && (one || args->list) && args->hosts >= 1 &&
         args->hosts <= CF_HOSTS_MAX && args->timeout_s > 0;
}

int main(int argc, char **argv) {
  arguments args;
  if (!parse(argc, argv, &args)) {
    usage(stderr);
    return 2;
  }
  if (args.list) {
    for (const cf_test *t = tests; t != NULL; t = t->next)
      if (chosen(t, args.glob)) printf("%s [%s]\n", t->name, t->duties);
    return 0;
  }
  char error[512] = "";
  cf.type = cf_subject(args.plugin, args.builtin, error, sizeof error);
  if (cf.type == NULL) {
    fprintf(stderr, "mneme-conform: %s\n", error);
    return 2;
  }
  static mneme_option_value values[CF_OPTIONS_MAX];
  if (!cf_config(cf.type, args.config, "/nowhere", values, error, sizeof error)) {
    fprintf(stderr, "mneme-conform: %s\n", error);
    return 2;
  }
  cf.late = args.late;
  if (args.late) cf.type = mneme_late_wrap(cf.type, 0, args.seed);
  printf("backend %s, hosts %d, seed %llu\n", cf.type->name, args.hosts,
         (unsigned long long)args.seed);
  for (const cf_test *t = tests; t != NULL; t = t->next)
    if (chosen(t, args.glob)) run(t, &args);
  printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed > 0 ? 1 : 0;
}
