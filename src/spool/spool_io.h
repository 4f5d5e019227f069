/* spool_io.h - what the spool asks of a disk, so that tests can put a simulated one (simdisk.h) under it.
 *
 * Functions return 0 (or a handle, a count) or a negative errno. Paths are what
 * the spool was given as its folder, plus a name. All may be called from any
 * thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum spool_open { SPOOL_OPEN_READ, SPOOL_OPEN_WRITE, SPOOL_OPEN_CREATE /* new and empty; -EEXIST */ };

struct spool_io {
    void *ctx;
    /* With its parents; durable. 0 also when it is there. */
    int (*make_dir)(void *ctx, const char *dir);
    /* Calls `entry` for every name in the folder but "." and "..". */
    int (*list)(void *ctx, const char *dir, void (*entry)(void *arg, const char *name), void *arg);
    /* Locks the folder by a file in it and returns a handle for close; -EWOULDBLOCK when another one has it,
     * and then *ret_holder is its process, or 0. `shared` changes nothing on disk; -ENOENT then means that
     * nobody has ever locked it. */
    int (*lock)(void *ctx, const char *path, bool shared, int *ret_holder);
    int (*open)(void *ctx, const char *path, enum spool_open how);
    void (*close)(void *ctx, int handle);
    int (*size)(void *ctx, int handle, uint64_t *ret_size);
    /* Writes all of it, in as many calls as it takes. The vectors are used up. */
    int (*write)(void *ctx, int handle, struct iovec *vectors, size_t count, uint64_t offset);
    /* Fewer than `len` only at the end of the file. `nowait`: -EAGAIN rather than wait for the disk. */
    ssize_t (*read)(void *ctx, int handle, void *buf, size_t len, uint64_t offset, bool nowait);
    int (*sync)(void *ctx, int handle);          /* fdatasync */
    int (*sync_dir)(void *ctx, const char *dir); /* names that were made, renamed, removed in it */
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*remove)(void *ctx, const char *path);
    int (*free_bytes)(void *ctx, const char *dir, uint64_t *ret_bytes);
};

/* The real disk. */
extern const struct spool_io spool_disk;
