#include "spool/spool_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int sync_dir(void *ctx, const char *dir) {
    (void)ctx;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return result;
}

/* Makes `dir` and fsyncs the folder that now names it. */
static int make_one(char *dir) {
    if (mkdir(dir, 0700) != 0)
        return -errno;
    char *slash = strrchr(dir, '/');
    if (!slash)
        return sync_dir(NULL, ".");
    if (slash == dir)
        return sync_dir(NULL, "/");
    *slash = 0;
    int result = sync_dir(NULL, dir);
    *slash = '/';
    /* A parent that may be written but not read can't be synced by us; its owner made it durable. */
    return result == -EACCES ? 0 : result;
}

static int make_dir(void *ctx, const char *dir) {
    (void)ctx;
    char path[PATH_MAX];
    struct stat st;
    size_t len = strlen(dir);
    if (len == 0 || len >= sizeof path)
        return -ENAMETOOLONG;
    if (stat(dir, &st) == 0)
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    memcpy(path, dir, len + 1);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = 0;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        char was = path[i];
        path[i] = 0;
        int result = make_one(path);
        if (result < 0 && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
            return result;
        path[i] = was;
    }
    return 0;
}

static int list(void *ctx, const char *dir, void (*entry)(void *arg, const char *name), void *arg) {
    (void)ctx;
    DIR *d = opendir(dir);
    if (!d)
        return -errno;
    errno = 0;
    for (struct dirent *e; (e = readdir(d)); errno = 0)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            entry(arg, e->d_name);
    int result = errno ? -errno : 0;
    closedir(d);
    return result;
}

static int lock(void *ctx, const char *path, bool shared, int *ret_holder) {
    (void)ctx;
    *ret_holder = 0;
    int fd = open(path, shared ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    char text[16] = "";
    if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        int result = -errno;
        if (pread(fd, text, sizeof text - 1, 0) > 0)
            *ret_holder = (int)strtol(text, NULL, 10);
        close(fd);
        return result;
    }
    if (!shared) {
        int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
        if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len) {
            /* The number is only for the message of the next one. */
        }
    }
    return fd;
}

static int open_file(void *ctx, const char *path, enum spool_open how) {
    (void)ctx;
    int flags = how == SPOOL_OPEN_READ    ? O_RDONLY
                : how == SPOOL_OPEN_WRITE ? O_RDWR
                                          : O_RDWR | O_CREAT | O_EXCL;
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : -errno;
}

static void close_file(void *ctx, int handle) {
    (void)ctx;
    close(handle);
}

static int size(void *ctx, int handle, uint64_t *ret_size) {
    (void)ctx;
    struct stat st;
    if (fstat(handle, &st) != 0)
        return -errno;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int write_all(void *ctx, int handle, struct iovec *vectors, size_t count, uint64_t offset) {
    (void)ctx;
    while (count) {
        ssize_t wrote = pwritev(handle, vectors, (int)(count < IOV_MAX ? count : IOV_MAX), (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote < 0 ? -errno : -EIO;
        offset += (uint64_t)wrote;
        size_t left = (size_t)wrote;
        for (; count && left >= vectors->iov_len; vectors++, count--)
            left -= vectors->iov_len;
        if (left) {
            vectors->iov_base = (char *)vectors->iov_base + left;
            vectors->iov_len -= left;
        }
    }
    return 0;
}

static ssize_t read_some(void *ctx, int handle, void *buf, size_t len, uint64_t offset, bool nowait) {
    (void)ctx;
    size_t done = 0;
    while (done < len) {
        struct iovec v = {(char *)buf + done, len - done};
        ssize_t got = preadv2(handle, &v, 1, (off_t)(offset + done), nowait ? RWF_NOWAIT : 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            /* A filesystem that can't tell is one that may wait. */
            return nowait && (errno == EOPNOTSUPP || errno == ENOSYS) ? -EAGAIN : -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int sync_file(void *ctx, int handle) {
    (void)ctx;
    return fdatasync(handle) == 0 ? 0 : -errno;
}

static int rename_file(void *ctx, const char *from, const char *to) {
    (void)ctx;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int remove_file(void *ctx, const char *path) {
    (void)ctx;
    return unlink(path) == 0 ? 0 : -errno;
}

static int free_bytes(void *ctx, const char *dir, uint64_t *ret_bytes) {
    (void)ctx;
    struct statvfs st;
    if (statvfs(dir, &st) != 0)
        return -errno;
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

const struct spool_io spool_disk = {
    .make_dir = make_dir,
    .list = list,
    .lock = lock,
    .open = open_file,
    .close = close_file,
    .size = size,
    .write = write_all,
    .read = read_some,
    .sync = sync_file,
    .sync_dir = sync_dir,
    .rename = rename_file,
    .remove = remove_file,
    .free_bytes = free_bytes,
};
