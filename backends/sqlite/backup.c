/* A copy of the store beside a server that has it open.
 *
 *   open PATH read-only, without PATH.lock
 *   FILE.tmp-PID <- all pages in one step; quick_check; a new id for cursors; fsync
 *   rename to FILE; fsync of its folder
 *
 * One step, because SQLite starts a copy in steps over at every commit of another
 * connection: under load it would never end. The step reads one snapshot, and
 * meanwhile the server goes on; only the write-ahead log is not emptied.
 *
 * The copy is a database in one file, whatever journal its source has: mnemed
 * opens it as its path, with nothing to put beside it. */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000 /* for a lock of another program, and the recovery of a WAL */

typedef struct backup {
  const char *path; /* of the store */
  const char *file;
  char temporary[SQ_PATH_MAX];
  sqlite3 *from, *to;
  char *error;
  size_t size;
} backup;

static mneme_status fail(backup *b, const char *what, const char *why) {
  snprintf(b->error, b->size, "%s: %s", what, why);
  return MNEME_DOWN;
}

/* A log of what was there before would be taken for the copy's. */
static mneme_status check_beside(backup *b) {
  static const char *const beside[] = {"-wal", "-journal"};
  char name[SQ_PATH_MAX];
  struct stat log;
  for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
    int n = snprintf(name, sizeof name, "%s%s", b->file, beside[i]);
    if (n < 0 || (size_t)n >= sizeof name) return fail(b, b->file, "is too long a name");
    if (stat(name, &log) == 0 && log.st_size > 0)
      return fail(b, name, "is of a database that was not closed: name another file, or remove it");
  }
  return MNEME_OK;
}

static mneme_status check_names(backup *b) {
  struct stat store, file;
  if (stat(b->path, &store) != 0) return fail(b, b->path, strerror(errno));
  if (stat(b->file, &file) == 0) {
    if (file.st_dev == store.st_dev && file.st_ino == store.st_ino)
      return fail(b, b->file, "is the store itself: name another file");
    if (!S_ISREG(file.st_mode)) return fail(b, b->file, "is no regular file: name another");
  }
  int n = snprintf(b->temporary, sizeof b->temporary, "%s%s.tmp-%ld",
                   b->file[0] == '/' ? "" : "./", b->file, (long)getpid());
  if (n < 0 || (size_t)n >= sizeof b->temporary - 16)
    return fail(b, b->file, "is too long a name");
  return check_beside(b);
}

/* The temporary file is ours from its first byte: not somebody's link. */
static mneme_status open_both(backup *b) {
  int fd = open(b->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    mneme_status status = fail(b, b->temporary, strerror(errno));
    b->temporary[0] = '\0'; /* whatever stands there is not ours */
    return status;
  }
  close(fd);
  if (sqlite3_open_v2(b->path, &b->from, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
    return fail(b, b->path, b->from != NULL ? sqlite3_errmsg(b->from) : "no memory");
  if (sqlite3_open_v2(b->temporary, &b->to, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
    return fail(b, b->temporary, b->to != NULL ? sqlite3_errmsg(b->to) : "no memory");
  sqlite3_busy_timeout(b->from, BUSY_MS);
  return MNEME_OK;
}

static mneme_status copy_pages(backup *b) {
  /* Nobody sees the file before it is whole, and it is synced at the end. */
  sqlite3_exec(b->to, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF", 0, 0, 0);
  sqlite3_backup *step = sqlite3_backup_init(b->to, "main", b->from, "main");
  if (step == NULL) return fail(b, b->temporary, sqlite3_errmsg(b->to));
  int rc = sqlite3_backup_step(step, -1);
  sqlite3_backup_finish(step);
  return rc == SQLITE_DONE ? MNEME_OK : fail(b, b->path, sqlite3_errstr(rc));
}

/* A copy that cannot be read is none. */
static mneme_status check_copy(backup *b) {
  sqlite3_stmt *stmt = NULL;
  char found[256] = "it cannot be read";
  sqlite3_exec(b->to, "PRAGMA journal_mode = DELETE", 0, 0, 0);
  if (sqlite3_prepare_v2(b->to, "PRAGMA quick_check(1)", -1, &stmt, NULL) == SQLITE_OK &&
      sqlite3_step(stmt) == SQLITE_ROW)
    snprintf(found, sizeof found, "%s", (const char *)sqlite3_column_text(stmt, 0));
  sqlite3_finalize(stmt);
  if (strcmp(found, "ok") == 0) return MNEME_OK;
  fail(b, "the store is damaged, and so would be its copy", found);
  return MNEME_CORRUPT;
}

/* What is written to the copy is a history of its own: cursors of the store do not fit. */
static mneme_status name_anew(backup *b) {
  int rc = sqlite3_exec(b->to, "UPDATE store SET id = random() & 9223372036854775807", 0, 0, 0);
  if (rc == SQLITE_OK) return MNEME_OK;
  bool other = rc == SQLITE_ERROR; /* it has no such table */
  return fail(b, b->path, other ? "there is no store in it" : sqlite3_errmsg(b->to));
}

static bool sync_path(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  bool ok = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  return ok;
}

static mneme_status publish(backup *b) {
  char folder[SQ_PATH_MAX];
  snprintf(folder, sizeof folder, "%s", b->temporary);
  if (!sync_path(b->temporary)) return fail(b, b->temporary, strerror(errno));
  if (rename(b->temporary, b->file) != 0) return fail(b, b->file, strerror(errno));
  b->temporary[0] = '\0';
  if (!sync_path(dirname(folder))) return fail(b, folder, strerror(errno));
  return MNEME_OK;
}

static void remove_temporary(const backup *b) {
  static const char *const beside[] = {"", "-journal", "-wal", "-shm"};
  char name[SQ_PATH_MAX + 16];
  for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
    snprintf(name, sizeof name, "%s%s", b->temporary, beside[i]);
    unlink(name);
  }
}

mneme_status sq_backup(const char *path, const char *file, char *error, size_t size) {
  backup b = {.path = path, .file = file, .error = error, .size = size};
  mneme_status status = check_names(&b);
  if (status != MNEME_OK) return status;
  status = open_both(&b);
  if (status == MNEME_OK) status = copy_pages(&b);
  if (status == MNEME_OK) status = check_copy(&b);
  if (status == MNEME_OK) status = name_anew(&b);
  sqlite3_close(b.from);
  if (sqlite3_close(b.to) != SQLITE_OK && status == MNEME_OK)
    status = fail(&b, b.temporary, "it could not be closed");
  if (status == MNEME_OK) status = publish(&b);
  if (b.temporary[0] != '\0') remove_temporary(&b);
  return status;
}
