/* See durable.h. The list of open files is short (a database, its log), so it is
 * walked. A step that fails here is the test's own trouble and ends the process
 * with SIGABRT, which no test takes for the SIGKILL that it waits for. */
#include "durable.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_BYTES 256
#define NEW ".new"   /* a copy whose name was not synced */
#define GONE ".gone" /* marks a name whose removal was not synced */

struct durable {
  durable *next;
  char path[4096];
  int fd;         /* the copy */
  uint8_t *dirty; /* a bit for each sector */
  size_t bytes;   /* of `dirty` */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static durable *all;

bool durable_is_on(void) { return getenv("MNEME_FAULT_SHADOW") != NULL; }

void durable_lock(void) { pthread_mutex_lock(&lock); }

void durable_unlock(void) { pthread_mutex_unlock(&lock); }

static void must(bool ok, const char *what, const char *path) {
  if (ok)
    return;
  fprintf(stderr, "the shadow of %s: %s\n", path, what);
  abort();
}

static void shadow_name(char *out, const char *path, const char *suffix) {
  const char *slash = strrchr(path, '/');
  int n = snprintf(out, 4096, "%s/%s%s", getenv("MNEME_FAULT_SHADOW"),
                   slash != NULL ? slash + 1 : path, suffix);
  must(n > 0 && n < 4096, "the name is too long", path);
}

/* --- Sectors ------------------------------------------------------------- */

static void copy_sectors(durable *d, sqlite3_file *real, int64_t first, int64_t last,
                         int64_t size) {
  char buffer[64 * 1024];
  int64_t at = first * DURABLE_SECTOR;
  int64_t end = last * DURABLE_SECTOR < size ? last * DURABLE_SECTOR : size;
  while (at < end) {
    int n = end - at < (int64_t)sizeof buffer ? (int)(end - at) : (int)sizeof buffer;
    int rc = real->pMethods->xRead(real, buffer, n, at);
    must(rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ, "cannot read the file", d->path);
    must(pwrite(d->fd, buffer, (size_t)n, at) == n, "cannot write the copy", d->path);
    at += n;
  }
}

static bool is_dirty(const durable *d, int64_t sector) {
  size_t byte = (size_t)sector / 8;
  return byte < d->bytes && (d->dirty[byte] >> (sector % 8) & 1);
}

void durable_dirty(durable *d, int64_t at, int64_t size) {
  int64_t first = at / DURABLE_SECTOR;
  int64_t last = (at + size + DURABLE_SECTOR - 1) / DURABLE_SECTOR;
  must(at + size <= DURABLE_FILE_MAX, "the file is too large", d->path);
  size_t need = (size_t)last / 8 + 1;
  if (need > d->bytes) {
    uint8_t *more = realloc(d->dirty, need * 2);
    must(more != NULL, "no memory", d->path);
    memset(more + d->bytes, 0, need * 2 - d->bytes);
    d->dirty = more;
    d->bytes = need * 2;
  }
  for (int64_t i = first; i < last; i++)
    d->dirty[i / 8] |= (uint8_t)(1 << i % 8);
}

static int64_t size_of(durable *d, sqlite3_file *real) {
  sqlite3_int64 size = 0;
  must(real->pMethods->xFileSize(real, &size) == SQLITE_OK, "cannot tell its size", d->path);
  return size;
}

void durable_sync(durable *d, sqlite3_file *real) {
  int64_t size = size_of(d, real), count = (int64_t)d->bytes * 8;
  must(ftruncate(d->fd, size) == 0, "cannot set the copy's size", d->path);
  for (int64_t first = 0; first < count; first++) {
    if (!is_dirty(d, first))
      continue;
    int64_t last = first;
    while (last < count && is_dirty(d, last))
      last++;
    copy_sectors(d, real, first, last, size);
    first = last;
  }
  durable_sync_failed(d);
}

void durable_sync_failed(durable *d) {
  if (d->bytes > 0)
    memset(d->dirty, 0, d->bytes);
}

/* --- Names --------------------------------------------------------------- */

/* Calls what(folder, NAME) for each NAME.suffix of the shadow. */
static void each_with(const char *suffix, void (*what)(const char *folder, const char *name)) {
  const char *folder = getenv("MNEME_FAULT_SHADOW");
  DIR *dir = opendir(folder);
  must(dir != NULL, "cannot read the directory", folder);
  for (struct dirent *e; (e = readdir(dir)) != NULL;) {
    char *end = e->d_name + strlen(e->d_name) - strlen(suffix);
    if (end <= e->d_name || strcmp(end, suffix) != 0)
      continue;
    *end = '\0';
    what(folder, e->d_name);
  }
  closedir(dir);
}

static void drop_gone(const char *folder, const char *name) {
  char path[4096 + NAME_MAX_BYTES];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  unlink(path);
  snprintf(path, sizeof path, "%s/%s" GONE, folder, name);
  must(unlink(path) == 0, "cannot remove a mark", path);
}

static void take_new(const char *folder, const char *name) {
  char from[4096 + NAME_MAX_BYTES], to[4096 + NAME_MAX_BYTES];
  snprintf(from, sizeof from, "%s/%s" NEW, folder, name);
  snprintf(to, sizeof to, "%s/%s", folder, name);
  must(rename(from, to) == 0, "cannot rename a copy", from);
}

void durable_sync_names(void) {
  each_with(GONE, drop_gone);
  each_with(NEW, take_new);
}

void durable_removed(const char *path, bool synced) {
  char name[4096];
  for (durable *d = all; d != NULL; d = d->next)
    if (strcmp(d->path, path) == 0)
      d->path[0] = '\0'; /* another file will have the name */
  shadow_name(name, path, NEW);
  unlink(name);
  shadow_name(name, path, GONE);
  int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  must(fd >= 0 && close(fd) == 0, "cannot mark what is gone", name);
  if (synced)
    durable_sync_names();
}

/* --- Open files ---------------------------------------------------------- */

/* What a killed process wrote and did not sync is in the page cache still. */
static void find_dirty(durable *d, sqlite3_file *real, int64_t size) {
  char is[DURABLE_SECTOR], was[DURABLE_SECTOR];
  for (int64_t at = 0; at < size; at += DURABLE_SECTOR) {
    int n = size - at < DURABLE_SECTOR ? (int)(size - at) : DURABLE_SECTOR;
    int rc = real->pMethods->xRead(real, is, n, at);
    must(rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ, "cannot read the file", d->path);
    ssize_t got = pread(d->fd, was, (size_t)n, at);
    if (got != n || memcmp(is, was, (size_t)n) != 0)
      durable_dirty(d, at, n);
  }
}

/* The copy that a killed process left, or one of the file as it is, or an empty
 * one of a file that has just been made. */
static void open_copy(durable *d, bool existed, sqlite3_file *real) {
  char made[4096], durable_name[4096];
  shadow_name(made, d->path, NEW);
  shadow_name(durable_name, d->path, "");
  const char *name = access(made, F_OK) == 0 || !existed ? made : durable_name;
  bool fresh = access(name, F_OK) != 0;
  d->fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  must(d->fd >= 0, "cannot open the copy", name);
  int64_t size = existed ? size_of(d, real) : 0;
  if (fresh)
    copy_sectors(d, real, 0, (size + DURABLE_SECTOR - 1) / DURABLE_SECTOR, size);
  else
    find_dirty(d, real, size);
}

durable *durable_open(const char *path, bool existed, sqlite3_file *real) {
  durable *d = all;
  while (d != NULL && strcmp(d->path, path) != 0)
    d = d->next;
  if (d != NULL)
    return d;
  d = calloc(1, sizeof *d);
  must(d != NULL && strlen(path) < sizeof d->path, "no memory", path);
  strcpy(d->path, path);
  open_copy(d, existed, real);
  d->next = all;
  all = d;
  return d;
}
