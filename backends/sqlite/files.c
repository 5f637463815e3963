/* The files around the database: its folder, itself with the rights of its owner
 * only, and PATH.lock. SQLite's own locks let several processes write to one file;
 * this engine keeps sessions in memory, so there may be one only. The lock is
 * flock's, which the kernel takes back when the process ends, however it ends. It
 * lies beside the file that SQLite opens, at the end of all links: two names for one
 * file are one lock. */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static mneme_status refuse(char *error, size_t size, const char *path, const char *hint) {
  snprintf(error, size, "%s: %s%s%s", path, strerror(errno), hint[0] != '\0' ? ": " : "", hint);
  return MNEME_DOWN;
}

/* Each folder on the way that is missing. */
static mneme_status make_folders(const char *path, char *error, size_t size) {
  char folder[SQ_PATH_MAX];
  snprintf(folder, sizeof folder, "%s", path);
  for (char *at = strchr(folder + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
    *at = '\0';
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
      return refuse(error, size, folder, "make the folder, or name another path");
    *at = '/';
  }
  return MNEME_OK;
}

/* Who holds the lock, as it has written itself down. */
static long holder_of(int fd) {
  char text[32] = "";
  long pid = 0;
  if (pread(fd, text, sizeof text - 1, 0) > 0) sscanf(text, "%ld", &pid);
  return pid;
}

static mneme_status take_lock(const char *path, int *ret_lock, char *error, size_t size) {
  char name[SQ_PATH_MAX + 8], text[32];
  snprintf(name, sizeof name, "%s.lock", path);
  int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return refuse(error, size, name, "may this user write there?");
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    long pid = errno == EWOULDBLOCK ? holder_of(fd) : 0;
    if (errno != EWOULDBLOCK)
      refuse(error, size, name, "it cannot be locked there: is it on a network?");
    else
      snprintf(error, size,
               "%s is in use by process %ld: stop that server, or name another path (one file, "
               "one server)",
               path, pid);
    close(fd);
    return MNEME_DOWN;
  }
  int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
    refuse(error, size, name, "is the disk full?");
    close(fd);
    return MNEME_DOWN;
  }
  *ret_lock = fd;
  return MNEME_OK;
}

/* One that is there is not opened: to close it would take away the locks that SQLite
 * has on it, should this process have it open already. */
static mneme_status make_file(const char *path, char *error, size_t size) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  if (fd < 0 && (errno != EEXIST || access(path, R_OK | W_OK) != 0))
    return refuse(error, size, path, "may this user read and write it?");
  return MNEME_OK;
}

/* A database that says it has another journal has no write-ahead log; one that stands
 * there is of a file that was there before, such as a store that died before a backup
 * was put in its place. SQLite would write its pages over those of the backup. */
static mneme_status check_log(const char *path, char *error, size_t size) {
  char name[SQ_PATH_MAX + 8], header[20];
  struct stat info;
  snprintf(name, sizeof name, "%s-wal", path);
  if (stat(name, &info) != 0 || info.st_size == 0) return MNEME_OK;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return refuse(error, size, path, "may this user read it?");
  bool whole = pread(fd, header, sizeof header, 0) == (ssize_t)sizeof header;
  close(fd);
  bool other_journal = whole && memcmp(header, "SQLite format 3", 16) == 0 && header[18] == 1;
  if (!other_journal) return MNEME_OK;
  snprintf(error, size, "%s is not of the database beside it: was that restored? Remove the log",
           name);
  return MNEME_INVALID;
}

mneme_status sq_files_prepare(const char *path, int *ret_lock, char *error, size_t size) {
  mneme_status status = make_folders(path, error, size);
  if (status == MNEME_OK) status = make_file(path, error, size);
  if (status != MNEME_OK) return status;
  char *real = realpath(path, NULL);
  if (real == NULL) return refuse(error, size, path, "may this user read its folders?");
  if (strlen(real) < SQ_PATH_MAX) {
    status = take_lock(real, ret_lock, error, size);
    if (status == MNEME_OK) status = check_log(real, error, size);
  } else {
    snprintf(error, size, "%s: it stands for a path that is longer than %d bytes", path,
             SQ_PATH_MAX - 1);
    status = MNEME_INVALID;
  }
  free(real);
  return status;
}
