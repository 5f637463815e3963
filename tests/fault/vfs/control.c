/* The page that a test and the faults share. Each shared object has a copy of this
 * file and maps the page for itself; the numbers live in the page alone. */
#include "control.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static fault_control none;
static fault_control *control = &none;
static pthread_once_t mapped = PTHREAD_ONCE_INIT;

static void map(void) {
  const char *path = getenv("MNEME_FAULT_CONTROL");
  int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED)
    control = at;
}

fault_control *fault_control_get(void) {
  pthread_once(&mapped, map);
  return control;
}

void fault_count(fault_number counter) {
  atomic_fetch_add(&fault_control_get()->at[counter], 1);
}

bool fault_strikes(fault_number every, fault_number counter) {
  fault_control *c = fault_control_get();
  uint64_t n = atomic_fetch_add(&c->at[counter], 1) + 1;
  uint64_t each = atomic_load(&c->at[every]);
  bool strikes = each > 0 && n % each == 0;
  if (strikes)
    fault_count(FAULT_INJECTED);
  return strikes;
}

bool fault_is_due(fault_number at) {
  _Atomic uint64_t *left = &fault_control_get()->at[at];
  uint64_t n = atomic_load(left);
  while (n > 0 && !atomic_compare_exchange_weak(left, &n, n - 1))
    ;
  return n == 1;
}
