/* mneme_late.so: dict as an engine that is not inline, for the end-to-end tests.
 *
 *   service -> worker pool -> busy? -> late (late.c) -> dict
 *                              | so many per cent of commits: BUSY, nothing begun
 *
 * NB_COMMIT and NB_READ are not promised, so the service must start every
 * operation on its worker pool, and late answers it from a thread of its own, up
 * to 1 ms after. Options: dict's, and then `busy`.
 *
 * Which commits are refused follows from a count, so that a run can be repeated;
 * threads that race for the count still make it another run. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "late.h"
#include "mneme/backend.h"

#define DELAY_US 1000
#define OPTIONS_MAX 16

const mneme_backend_type *mneme_plugin_dict(void);
__attribute__((visibility("default"))) const mneme_backend_type *mneme_plugin(void);

static const mneme_backend_type *late;
static mneme_backend_type type;
static mneme_option options[OPTIONS_MAX + 2]; /* dict's, busy, the end */
static size_t busy_option;

/* Of the process, not of the instance: commit is given late's instance, which has
 * no room for it. The last one opened has its way, and the tests open one. */
static _Atomic int64_t busy_percent;
static _Atomic uint64_t commit_count;

static bool next_is_busy(void) {
  int64_t percent = atomic_load(&busy_percent);
  if (percent == 0) return false;
  uint64_t x = (atomic_fetch_add(&commit_count, 1) + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
  return (int64_t)((x ^ (x >> 32)) % 100) < percent;
}

static void busy_commit(mneme_backend *backend, const mneme_call *call,
                        const mneme_write *write, mneme_written_fn done, void *ctx) {
  if (next_is_busy())
    done(MNEME_BUSY, NULL, ctx);
  else
    late->commit(backend, call, write, done, ctx);
}

static mneme_status busy_open(const mneme_host *host, const mneme_option_value *values,
                              mneme_backend **ret_backend, char *error, size_t size) {
  atomic_store(&busy_percent, values[busy_option].integer);
  return late->open(host, values, ret_backend, error, size);
}

const mneme_backend_type *mneme_plugin(void) {
  if (late != NULL) return &type;
  const mneme_backend_type *dict = mneme_plugin_dict();
  while (dict->options[busy_option].name != NULL) {
    if (busy_option == OPTIONS_MAX) return NULL;
    options[busy_option] = dict->options[busy_option];
    busy_option++;
  }
  options[busy_option] = (mneme_option){
      "busy", MNEME_OPTION_INT, "0", 0, 100,
      "So many per cent of commits are answered BUSY, with nothing begun."};
  late = mneme_late_wrap(dict, DELAY_US, 1);
  type = *late;
  type.name = "late";
  type.doc = "dict, on other threads and late: for tests.";
  type.caps &= ~(uint32_t)(MNEME_CAP_NB_COMMIT | MNEME_CAP_NB_READ);
  type.options = options;
  type.open = busy_open;
  type.commit = busy_commit;
  return &type;
}
