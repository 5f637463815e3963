/* What a test tells the faults while the server runs, and what they tell back: a
 * page of 64 numbers of 64 bits in a file that both sides map. faults.py lists the
 * same names in the same order.
 *
 *   MNEME_FAULT_CONTROL=FILE   the page; without it nothing is ever injected
 *   MNEME_FAULT_SHADOW=DIR     what a power cut would leave (durable.h)
 *
 * "every n": the n-th, 2n-th, ... such operation from now on fails; 0 = none.
 * "at n": the n-th from now on, once. A number that is set takes effect with the
 * next operation. Threads: any; every number is read and written as a whole. */
#ifndef MNEME_FAULT_CONTROL_H
#define MNEME_FAULT_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum fault_number {
  /* set by the test */
  FAULT_WRITE_EVERY,    /* xWrite fails with EIO, half of it written */
  FAULT_SYNC_EVERY,     /* xSync fails with EIO; what it was to keep is lost */
  FAULT_READ_EVERY,     /* xRead fails with EIO */
  FAULT_TRUNCATE_EVERY, /* xTruncate fails with EIO */
  FAULT_OPEN_EVERY,     /* xOpen fails: CANTOPEN */
  FAULT_ALLOC_EVERY,    /* an allocation inside SQLite fails */
  FAULT_MALLOC_EVERY,   /* an allocation of the daemon's own code fails */
  FAULT_FULL,           /* 1: a file that would grow beyond FAULT_SPACE finds no room */
  FAULT_SPACE,          /* bytes by which files may grow yet */
  FAULT_DIE_AT_WRITE,   /* SIGKILL in the middle of a write */
  FAULT_DIE_AT_SYNC,    /* SIGKILL before a sync, and after its delay */
  FAULT_DIE_AFTER_SYNC, /* SIGKILL after it, before SQLite knows */
  FAULT_SYNC_DELAY_US,  /* every sync begins so much later */
  /* told by the faults */
  FAULT_SET_COUNT = 32,
  FAULT_WRITES = FAULT_SET_COUNT, /* how many there were */
  FAULT_SYNCS,
  FAULT_READS,
  FAULT_TRUNCATES,
  FAULT_OPENS,
  FAULT_ALLOCS,
  FAULT_MALLOCS,
  FAULT_INJECTED,     /* how many operations were made to fail */
  FAULT_FULLS,        /* how many of them for want of room */
  FAULT_VFS_IN,       /* 1: the VFS is the default */
  FAULT_ALLOC_IN,     /* 1: SQLite allocates through us */
  FAULT_MALLOC_IN,    /* 1: the daemon allocates through us */
  FAULT_NUMBERS = 64
} fault_number;

typedef struct fault_control {
  _Atomic uint64_t at[FAULT_NUMBERS];
} fault_control;

/* The mapped page; one of zeros when the environment names none, so that it is
 * never NULL. The first call maps it and may not come from malloc. */
fault_control *fault_control_get(void);

/* Counts one operation and says whether it is to fail: `every` is a setting,
 * `counter` what counts them. */
bool fault_strikes(fault_number every, fault_number counter);

/* Counts down a setting of the kind "at n"; true when it has just reached zero. */
bool fault_is_due(fault_number at);

/* Adds one. */
void fault_count(fault_number counter);

#endif
