/* simdisk.h - a disk in memory that forgets what was not synced, in every way a disk may.
 *
 * Each file keeps what is on the medium and the writes since its last sync. At
 * every sync a hook may look at the moment before it takes effect, and ask for
 * the disks that a power loss could leave then: of each unsynced write any set of
 * its 512-byte sectors, in any order of writes; of the unsynced names a part.
 * For tests; thread-safe; deterministic for one seed and one order of calls.
 */
#pragma once
#include "spool/spool_io.h"

struct simdisk;

struct simdisk *simdisk_new(void);
struct simdisk *simdisk_free(struct simdisk *);
/* Valid as long as the disk. */
const struct spool_io *simdisk_io(struct simdisk *);

/* Called with the disk locked, before a sync of a file or of names takes effect. */
void simdisk_on_sync(struct simdisk *, void (*hook)(void *arg, struct simdisk *), void *arg);

/* How many single things a crash would decide: sectors of unsynced writes and unsynced names. */
size_t simdisk_loose(struct simdisk *);
/* What a power loss leaves: bit i of `kept` (simdisk_loose bits) says whether loose thing i reached the
 * medium; NULL: by chance, from `seed`. Sectors that several unsynced writes cover may keep any of them. A
 * name's change counts only when those before it do. Nothing is locked on the new disk. */
struct simdisk *simdisk_crash(struct simdisk *, const uint8_t *kept, uint64_t seed);
/* The same disk as the processes see it (kill -9), without locks and faults. */
struct simdisk *simdisk_clone(struct simdisk *);

/* Faults: the n-th call from now (1: the next) of that kind fails once with `errno_value`. A failed write may
 * have written a part; a failed sync drops what was unsynced from the medium by chance, and later syncs don't
 * write it either, while reads still see it (as Linux does it). */
enum simdisk_call { SIMDISK_WRITE, SIMDISK_SYNC, SIMDISK_READ };
void simdisk_fail(struct simdisk *, enum simdisk_call, unsigned nth, int errno_value);
/* From now on all of them fail; 0: none any more. */
void simdisk_fail_all(struct simdisk *, enum simdisk_call, int errno_value);
/* Bytes that all files together may have; 0: no limit. Writes beyond give ENOSPC. */
void simdisk_capacity(struct simdisk *, uint64_t bytes);
/* Reads with nowait give EAGAIN. */
void simdisk_cold(struct simdisk *, bool cold);

/* For damage: the bytes of a file as they are now, to read and change; NULL: no such file. */
unsigned char *simdisk_bytes(struct simdisk *, const char *path, uint64_t *ret_size);
/* The n-th name, in order of making; NULL at the end. */
const char *simdisk_name(struct simdisk *, size_t n);
void simdisk_remove(struct simdisk *, const char *path);
/* Puts a file, as if it had always been there; creates its folder. */
void simdisk_put(struct simdisk *, const char *path, const void *bytes, size_t len);
