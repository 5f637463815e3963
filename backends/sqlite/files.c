/* The files around the database: its folder, itself with the rights of its owner
 * only, and PATH.lock. SQLite's own locks let several processes write to one file;
 * this engine keeps sessions in memory, so there may be one only. The lock is
 * flock's, which the kernel takes back when the process ends, however it ends. */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

mneme_status sq_files_prepare(const char *path, int *ret_lock, char *error, size_t size) {
  int lock;
  mneme_status status = make_folders(path, error, size);
  if (status == MNEME_OK) status = take_lock(path, &lock, error, size);
  if (status != MNEME_OK) return status;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    status = refuse(error, size, path, "may this user read and write it?");
    close(lock);
    return status;
  }
  close(fd);
  *ret_lock = lock;
  return MNEME_OK;
}
