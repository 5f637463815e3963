/* What is set once for the whole process, before the core starts.
 *
 * Descriptors: one EMFILE on accept stops the core's listener for ever, so the
 * soft limit is raised to the hard one.
 *
 * Abseil: Debian builds it without NDEBUG, and then every absl::Mutex of the
 * core keeps a global graph of lock orders, which costs time on each call (see
 * README.md for the figure). The switch is public C++ API without a C name, so
 * it is looked up by its mangled one; where it is absent (another build of the
 * core), nothing needs to be switched off.
 *
 * Logs: the core writes lines of its own to standard error, with texts of peers
 * in them. They take the way of ours, where they are escaped. */
#include <dlfcn.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "transport/core.h"

/* absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle) */
#define ABSL_SWITCH "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE"
#define ABSL_IGNORE 0

static void descriptors_raise(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static void deadlock_detection_off(void) {
  void *symbol = dlsym(RTLD_DEFAULT, ABSL_SWITCH);
  if (symbol == NULL)
    return;
  void (*set_mode)(int);
  memcpy(&set_mode, &symbol, sizeof set_mode);
  set_mode(ABSL_IGNORE);
}

/* What the core calls an error is mostly a peer's. */
static void core_log(gpr_log_func_args *args) {
  log_level level = args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_WARN : LOG_DEBUG;
  if (!log_enabled(level))
    return;
  const char *file = strrchr(args->file, '/');
  log_event(level, "the gRPC core reports", log_text("text", args->message),
            log_text("file", file != NULL ? file + 1 : args->file), log_int("line", args->line),
            log_end());
}

static void prepare_once(void) {
  gpr_set_log_function(core_log);
  descriptors_raise();
  deadlock_detection_off();
  signal(SIGPIPE, SIG_IGN);
}

void process_prepare(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, prepare_once);
}
