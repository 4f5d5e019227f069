#include "scan/copy.h"

#include "base/buf.h"
#include "base/error.h"
#include "rt/fiber.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MEMORY_WHEN_SHORT = 16 * 1024 };

struct scan_copy {
    const struct scan_copy_place *place;
    int fd;           /* -1: in memory */
    uint64_t written; /* bytes in the file */
    struct buf tail;  /* the bytes after them */
    char *read;       /* SCAN_COPY_CHUNK bytes, made when a file is read */
    size_t counted;   /* of `tail`, in place->held */
    int error;
    /* Of the call that is offloaded. */
    uint64_t at;
    size_t len;
};

struct scan_copy *scan_copy_new(const struct scan_copy_place *place) {
    struct scan_copy *c = xcalloc(1, sizeof *c);
    c->place = place;
    c->fd = -1;
    return c;
}

/* Tells the worker's count what the tail takes now. */
static void count(struct scan_copy *c, size_t now) {
    if (c->place->held)
        *c->place->held += now - c->counted;
    c->counted = now;
}

struct scan_copy *scan_copy_free(struct scan_copy *c) {
    if (!c)
        return NULL;
    count(c, 0);
    if (c->fd >= 0)
        close(c->fd);
    buf_free(&c->tail);
    free(c->read);
    free(c);
    return NULL;
}

/* ---- on an offload thread ---- */

/* A file without a name; where the file system has no O_TMPFILE it has one for a moment. */
static int open_unnamed(const char *folder) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    char *path = NULL;
    if (asprintf(&path, "%s/scan.XXXXXX", folder) < 0)
        return -1;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

static int failed(void) {
    int error = error_from_errno(errno);
    return error == SLUICE_EFULL ? error : SLUICE_EIO;
}

static bool has_room(int fd, uint64_t min_free, size_t more) {
    struct statvfs disk;
    if (fstatvfs(fd, &disk))
        return true; /* the write will tell */
    return (uint64_t)disk.f_bavail * disk.f_frsize >= min_free + more;
}

static int write_all(int fd, struct str bytes, uint64_t at) {
    while (bytes.len) {
        ssize_t n = pwrite(fd, bytes.at, bytes.len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed();
        at += (uint64_t)n;
        bytes = str_from_index(bytes, (size_t)n);
    }
    return 0;
}

static void write_tail(void *arg) {
    struct scan_copy *c = arg;
    if (c->fd < 0 && (c->fd = open_unnamed(c->place->folder)) < 0)
        c->error = failed();
    else if (!has_room(c->fd, c->place->min_free, c->tail.len))
        c->error = SLUICE_EFULL;
    else
        c->error = write_all(c->fd, buf_view(&c->tail), c->written);
}

static void read_chunk(void *arg) {
    struct scan_copy *c = arg;
    c->len = 0;
    uint64_t left = c->written - c->at;
    size_t want = left < SCAN_COPY_CHUNK ? (size_t)left : SCAN_COPY_CHUNK;
    while (c->len < want) {
        ssize_t n = pread(c->fd, c->read + c->len, want - c->len, (off_t)(c->at + c->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            c->error = SLUICE_EIO;
            return;
        }
        c->len += (size_t)n;
    }
}

/* ---- in the fiber ---- */

static size_t most_in_memory(const struct scan_copy *c) {
    bool is_short = c->place->held && *c->place->held > SCAN_COPY_WORKER;
    return is_short ? MEMORY_WHEN_SHORT : SCAN_COPY_MEMORY;
}

int scan_copy_add(struct scan_copy *c, struct str bytes) {
    if (c->error)
        return c->error;
    buf_str(&c->tail, bytes);
    count(c, c->tail.cap);
    if (c->tail.len <= most_in_memory(c) || !c->place->folder)
        return 0;
    offload(write_tail, c);
    if (c->error)
        return c->error;
    c->written += c->tail.len;
    buf_clear(&c->tail);
    return 0;
}

uint64_t scan_copy_size(const struct scan_copy *c) { return c->written + c->tail.len; }

int scan_copy_read(struct scan_copy *c, uint64_t at, struct str *ret) {
    if (c->error)
        return c->error;
    if (at >= c->written) {
        size_t from = at - c->written < c->tail.len ? (size_t)(at - c->written) : c->tail.len;
        *ret = str_head(str_from_index(buf_view(&c->tail), from), SCAN_COPY_CHUNK);
        return 0;
    }
    if (!c->read)
        c->read = xmalloc(SCAN_COPY_CHUNK);
    c->at = at;
    offload(read_chunk, c);
    *ret = str_from(c->read, c->error ? 0 : c->len);
    return c->error;
}

bool scan_copy_in_file(const struct scan_copy *c) { return c->fd >= 0; }
