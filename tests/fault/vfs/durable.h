/* What of a file a power cut would leave: a copy that holds only what was synced.
 *
 *   write ──▶ the file (the page cache)        sectors written since are `dirty`
 *   sync  ──▶ dirty sectors are copied ──▶ SHADOW/NAME
 *   failed sync: the dirty sectors are forgotten and not copied. So does Linux: it
 *     marks the pages clean, later reads see them and later syncs do not write them.
 *
 * Names are durable on their own. A file that is created is SHADOW/NAME.new until
 * its directory is synced; one that is removed without that leaves SHADOW/NAME and
 * the mark SHADOW/NAME.gone.
 * After the process was killed the directory and the shadow are all there is:
 * faults.py (power_cut) makes the one from the other.
 *
 * Names are those within one directory: a shadow is of one. A file that is there
 * and has no shadow is durable as it is. One that a killed process left is dirty
 * where it differs from its copy.
 *
 * Threads: calls for one path are serialised by the caller's lock (durable_lock),
 * since several connections have one file open. */
#ifndef MNEME_FAULT_DURABLE_H
#define MNEME_FAULT_DURABLE_H

#include <stdbool.h>
#include <sqlite3.h>
#include <stdint.h>

#define DURABLE_SECTOR 512       /* bytes that a disk writes as a whole */
#define DURABLE_FILE_MAX (1 << 30) /* bytes of a file */

typedef struct durable durable;

/* Whether there is a shadow at all (MNEME_FAULT_SHADOW). */
bool durable_is_on(void);

void durable_lock(void);
void durable_unlock(void);

/* The copy of the file at path, shared by all who have it open; `existed` says
 * whether the file was there before it was opened, and real reads it. It is kept
 * when the last of them closes the file, as the kernel keeps what is not synced.
 * When the shadow cannot be written the process ends: a test must not go on
 * without. */
durable *durable_open(const char *path, bool existed, sqlite3_file *real);

/* [at, at + size) of the file is written, or is about to change its size. */
void durable_dirty(durable *d, int64_t at, int64_t size);
/* The file was synced; real reads it. */
void durable_sync(durable *d, sqlite3_file *real);
/* The sync failed. */
void durable_sync_failed(durable *d);

/* The directory was synced: the names of it are as they are now. */
void durable_sync_names(void);
/* The file at path was removed. */
void durable_removed(const char *path, bool synced);

#endif
