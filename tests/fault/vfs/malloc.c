/* Makes allocations of the daemon's own code fail (FAULT_MALLOC_EVERY), by
 * LD_PRELOAD: malloc, calloc, realloc and their kin, where the caller's address lies
 * in the program itself. gRPC's core ends the process when it gets no memory, and
 * SQLite has its own way in (vfs.c); what they ask for is granted. */
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "control.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static uintptr_t program_begin, program_end;

/* The first object is the program. */
static int take_program(struct dl_phdr_info *info, size_t size, void *ctx) {
  (void)size;
  (void)ctx;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0)
      continue;
    program_begin = (uintptr_t)(info->dlpi_addr + p->p_vaddr);
    program_end = program_begin + p->p_memsz;
  }
  return 1;
}

__attribute__((constructor)) static void come_in(void) {
  dl_iterate_phdr(take_program, NULL);
  fault_count(FAULT_MALLOC_IN);
}

static bool fails(void *caller) {
  uintptr_t at = (uintptr_t)caller;
  if (at < program_begin || at >= program_end ||
      !fault_strikes(FAULT_MALLOC_EVERY, FAULT_MALLOCS))
    return false;
  errno = ENOMEM;
  return true;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size) { return fails(CALLER) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) {
  return fails(CALLER) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
  return fails(CALLER) ? NULL : __libc_realloc(old, size);
}
