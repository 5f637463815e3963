/* A VFS of the tests' own, around SQLite's unix VFS and the default one as soon as
 * the daemon opens its first database:
 *
 *   mnemed ─▶ sqlite3_open_v2 (ours) ─▶ registers, then the real one
 *                                          │
 *   SQLite ─▶ faulty_write ... ─┬─▶ control.c: does it fail, does the process die
 *                               ├─▶ unix VFS: the file
 *                               └─▶ durable.c: what a power cut would leave of it
 *
 * It comes into the daemon by LD_PRELOAD, so the product has no hook for it.
 * Registering waits for the first open because the daemon may configure SQLite
 * before that, and so that our allocator is in before SQLite is initialised.
 *
 * Shared memory, mapped reads and locks are the unix VFS's own: after a crash the
 * WAL index is made anew, and nothing of a lock outlives its process. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "durable.h"

typedef struct faulty {
  sqlite3_file base;
  durable *durable;  /* NULL = a temporary file, or no shadow */
  bool syncs_names;  /* its first sync is the directory's too */
  bool counts_room;  /* not a temporary file */
  sqlite3_file real; /* the unix VFS's, longer than this */
} faulty;

static sqlite3_vfs *unix_vfs;

static faulty *faulty_of(sqlite3_file *f) { return (faulty *)f; }

static sqlite3_file *real_of(sqlite3_file *f) { return &faulty_of(f)->real; }

/* Not exit(): nothing of ours may be flushed or unlocked in order. */
static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;)
    pause();
}

/* --- Files --------------------------------------------------------------- */

static int faulty_close(sqlite3_file *f) {
  sqlite3_file *real = real_of(f);
  return real->pMethods != NULL ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int faulty_read(sqlite3_file *f, void *to, int size, sqlite3_int64 at) {
  if (fault_strikes(FAULT_READ_EVERY, FAULT_READS))
    return SQLITE_IOERR_READ;
  return real_of(f)->pMethods->xRead(real_of(f), to, size, at);
}

/* Writes `size` bytes and remembers that they are not synced. */
static int write_through(faulty *f, const void *from, int size, sqlite3_int64 at) {
  if (size <= 0)
    return SQLITE_OK;
  durable_lock();
  if (f->durable != NULL)
    durable_dirty(f->durable, at, size);
  int rc = f->real.pMethods->xWrite(&f->real, from, size, at);
  durable_unlock();
  return rc;
}

/* How many of the bytes find room: all, or those before the file would grow beyond
 * what FAULT_SPACE leaves. Takes what it grants. */
static int room_for(faulty *f, int size, sqlite3_int64 at) {
  fault_control *c = fault_control_get();
  sqlite3_int64 end = 0;
  if (!f->counts_room || atomic_load(&c->at[FAULT_FULL]) == 0 ||
      f->real.pMethods->xFileSize(&f->real, &end) != SQLITE_OK || at + size <= end)
    return size;
  uint64_t wanted = (uint64_t)(at + size - end);
  uint64_t left = atomic_load(&c->at[FAULT_SPACE]), granted;
  do
    granted = wanted < left ? wanted : left;
  while (!atomic_compare_exchange_weak(&c->at[FAULT_SPACE], &left, left - granted));
  int lacking = (int)(wanted - granted);
  return lacking < size ? size - lacking : 0;
}

static int faulty_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 at) {
  faulty *f = faulty_of(file);
  if (fault_is_due(FAULT_DIE_AT_WRITE)) {
    write_through(f, from, size / 2, at);
    die();
  }
  if (fault_strikes(FAULT_WRITE_EVERY, FAULT_WRITES)) {
    write_through(f, from, size / 2, at);
    return SQLITE_IOERR_WRITE;
  }
  int fits = room_for(f, size, at);
  int rc = write_through(f, from, fits, at);
  if (rc != SQLITE_OK || fits == size)
    return rc;
  fault_count(FAULT_FULLS);
  fault_count(FAULT_INJECTED);
  return SQLITE_FULL;
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size) {
  faulty *f = faulty_of(file);
  sqlite3_int64 was = 0;
  if (fault_strikes(FAULT_TRUNCATE_EVERY, FAULT_TRUNCATES))
    return SQLITE_IOERR_TRUNCATE;
  durable_lock();
  if (f->durable != NULL && f->real.pMethods->xFileSize(&f->real, &was) == SQLITE_OK &&
      was > size)
    durable_dirty(f->durable, size, was - size);
  int rc = f->real.pMethods->xTruncate(&f->real, size);
  durable_unlock();
  return rc;
}

static void wait_us(uint64_t us) {
  struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
  if (us > 0)
    nanosleep(&t, NULL);
}

static int faulty_sync(sqlite3_file *file, int flags) {
  faulty *f = faulty_of(file);
  wait_us(atomic_load(&fault_control_get()->at[FAULT_SYNC_DELAY_US]));
  if (fault_is_due(FAULT_DIE_AT_SYNC))
    die();
  bool fails = fault_strikes(FAULT_SYNC_EVERY, FAULT_SYNCS);
  durable_lock();
  int rc = fails ? SQLITE_IOERR_FSYNC : f->real.pMethods->xSync(&f->real, flags);
  if (f->durable != NULL && rc != SQLITE_OK) {
    durable_sync_failed(f->durable);
  } else if (f->durable != NULL) {
    durable_sync(f->durable, &f->real);
    if (f->syncs_names)
      durable_sync_names();
    f->syncs_names = false;
  }
  durable_unlock();
  if (fault_is_due(FAULT_DIE_AFTER_SYNC))
    die();
  return rc;
}

static int faulty_file_size(sqlite3_file *f, sqlite3_int64 *size) {
  return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int faulty_lock(sqlite3_file *f, int level) {
  return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int faulty_unlock(sqlite3_file *f, int level) {
  return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int faulty_check_reserved(sqlite3_file *f, int *out) {
  return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

/* A hint of the coming size may allocate: it finds no room either. */
static int faulty_control(sqlite3_file *f, int op, void *arg) {
  if (op == SQLITE_FCNTL_SIZE_HINT && atomic_load(&fault_control_get()->at[FAULT_FULL]) != 0)
    return SQLITE_OK;
  return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int faulty_sector_size(sqlite3_file *f) {
  return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int faulty_characteristics(sqlite3_file *f) {
  return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int faulty_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out) {
  return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int faulty_shm_lock(sqlite3_file *f, int offset, int n, int flags) {
  return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void faulty_shm_barrier(sqlite3_file *f) {
  real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int faulty_shm_unmap(sqlite3_file *f, int remove) {
  return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static int faulty_fetch(sqlite3_file *f, sqlite3_int64 at, int size, void **out) {
  return real_of(f)->pMethods->xFetch(real_of(f), at, size, out);
}

static int faulty_unfetch(sqlite3_file *f, sqlite3_int64 at, void *page) {
  return real_of(f)->pMethods->xUnfetch(real_of(f), at, page);
}

static const sqlite3_io_methods faulty_methods = {
  .iVersion = 3,
  .xClose = faulty_close,
  .xRead = faulty_read,
  .xWrite = faulty_write,
  .xTruncate = faulty_truncate,
  .xSync = faulty_sync,
  .xFileSize = faulty_file_size,
  .xLock = faulty_lock,
  .xUnlock = faulty_unlock,
  .xCheckReservedLock = faulty_check_reserved,
  .xFileControl = faulty_control,
  .xSectorSize = faulty_sector_size,
  .xDeviceCharacteristics = faulty_characteristics,
  .xShmMap = faulty_shm_map,
  .xShmLock = faulty_shm_lock,
  .xShmBarrier = faulty_shm_barrier,
  .xShmUnmap = faulty_shm_unmap,
  .xFetch = faulty_fetch,
  .xUnfetch = faulty_unfetch,
};

/* --- The VFS ------------------------------------------------------------- */

#define JOURNALS (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL)
#define KEPT (SQLITE_OPEN_MAIN_DB | JOURNALS)

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags) {
  (void)v;
  faulty *f = faulty_of(file);
  int existed = 0;
  *f = (faulty){0};
  if (fault_strikes(FAULT_OPEN_EVERY, FAULT_OPENS))
    return SQLITE_CANTOPEN;
  bool kept = name != NULL && (flags & KEPT) != 0;
  if (kept)
    unix_vfs->xAccess(unix_vfs, name, SQLITE_ACCESS_EXISTS, &existed);
  int rc = unix_vfs->xOpen(unix_vfs, name, &f->real, flags, ret_flags);
  if (rc != SQLITE_OK)
    return rc;
  f->counts_room = kept;
  /* As the unix VFS does: it syncs the directory with a journal, not a database. */
  f->syncs_names = (flags & SQLITE_OPEN_CREATE) != 0 && (flags & JOURNALS) != 0;
  if (kept && durable_is_on()) {
    durable_lock();
    f->durable = durable_open(name, existed != 0, &f->real);
    durable_unlock();
  }
  f->base.pMethods = &faulty_methods;
  return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int sync) {
  (void)v;
  durable_lock();
  int rc = unix_vfs->xDelete(unix_vfs, name, sync);
  if (rc == SQLITE_OK && durable_is_on())
    durable_removed(name, sync != 0);
  durable_unlock();
  return rc;
}

static int vfs_access(sqlite3_vfs *v, const char *name, int flags, int *out) {
  (void)v;
  return unix_vfs->xAccess(unix_vfs, name, flags, out);
}

static int vfs_full_path(sqlite3_vfs *v, const char *name, int size, char *out) {
  (void)v;
  return unix_vfs->xFullPathname(unix_vfs, name, size, out);
}

static int vfs_randomness(sqlite3_vfs *v, int size, char *out) {
  (void)v;
  return unix_vfs->xRandomness(unix_vfs, size, out);
}

static int vfs_sleep(sqlite3_vfs *v, int us) {
  (void)v;
  return unix_vfs->xSleep(unix_vfs, us);
}

static int vfs_time(sqlite3_vfs *v, double *out) {
  (void)v;
  return unix_vfs->xCurrentTime(unix_vfs, out);
}

static int vfs_time64(sqlite3_vfs *v, sqlite3_int64 *out) {
  (void)v;
  return unix_vfs->xCurrentTimeInt64(unix_vfs, out);
}

static int vfs_last_error(sqlite3_vfs *v, int size, char *out) {
  (void)v;
  return unix_vfs->xGetLastError(unix_vfs, size, out);
}

static sqlite3_vfs faulty_vfs = {
  .iVersion = 2,
  .zName = "faulty",
  .xOpen = vfs_open,
  .xDelete = vfs_delete,
  .xAccess = vfs_access,
  .xFullPathname = vfs_full_path,
  .xRandomness = vfs_randomness,
  .xSleep = vfs_sleep,
  .xCurrentTime = vfs_time,
  .xCurrentTimeInt64 = vfs_time64,
  .xGetLastError = vfs_last_error,
};

/* --- SQLite's allocator -------------------------------------------------- */

static sqlite3_mem_methods real_memory;

static void *faulty_malloc(int size) {
  return fault_strikes(FAULT_ALLOC_EVERY, FAULT_ALLOCS) ? NULL : real_memory.xMalloc(size);
}

static void *faulty_realloc(void *old, int size) {
  return fault_strikes(FAULT_ALLOC_EVERY, FAULT_ALLOCS) ? NULL
                                                         : real_memory.xRealloc(old, size);
}

/* Refused when SQLite is initialised already: the test sees it in FAULT_ALLOC_IN. */
static void hook_memory(void) {
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK)
    return;
  sqlite3_mem_methods mine = real_memory;
  mine.xMalloc = faulty_malloc;
  mine.xRealloc = faulty_realloc;
  if (sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) == SQLITE_OK)
    fault_count(FAULT_ALLOC_IN);
}

/* --- The way in ---------------------------------------------------------- */

typedef int (*open_fn)(const char *, sqlite3 **, int, const char *);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static open_fn real_open;

static void come_in(void) {
  real_open = (open_fn)dlsym(RTLD_NEXT, "sqlite3_open_v2");
  hook_memory();
  unix_vfs = sqlite3_vfs_find(NULL);
  if (real_open == NULL || unix_vfs == NULL)
    abort();
  faulty_vfs.szOsFile = (int)sizeof(faulty) + unix_vfs->szOsFile;
  faulty_vfs.mxPathname = unix_vfs->mxPathname;
  if (sqlite3_vfs_register(&faulty_vfs, 1) == SQLITE_OK)
    fault_count(FAULT_VFS_IN);
}

int sqlite3_open_v2(const char *name, sqlite3 **db, int flags, const char *vfs) {
  pthread_once(&once, come_in);
  return real_open(name, db, flags, vfs);
}
