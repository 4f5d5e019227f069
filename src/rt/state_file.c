#include "rt/state_file.h"

#include "base/error.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, PIECE = 1 << 20 };

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static int read_all(int fd, uint64_t most, struct buf *out) {
    size_t before = out->len;
    for (;;) {
        buf_reserve(out, PIECE);
        ssize_t got = read(fd, out->at + out->len, PIECE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? error_from_errno(errno) : 0;
        out->len += (size_t)got;
        if (out->len - before > most)
            return SLUICE_ECORRUPT;
    }
}

int state_file_read(const char *path, uint64_t most, struct buf *out) {
    struct stat facts;
    int fd __attribute__((cleanup(close_fd))) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &facts) != 0)
        return error_from_errno(errno);
    return S_ISREG(facts.st_mode) ? read_all(fd, most, out) : SLUICE_ECORRUPT;
}

bool state_file_fill(int fd, struct str bytes) {
    while (bytes.len) {
        ssize_t wrote = write(fd, bytes.at, bytes.len);
        if (wrote < 0 && errno != EINTR)
            return false;
        bytes = str_from_index(bytes, wrote < 0 ? 0 : (size_t)wrote);
    }
    return fsync(fd) == 0;
}

/* The rename itself must last. */
static bool sync_folder(const char *path) {
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%.*s", (int)(str_rindex(str_of(path), '/') + 1), path);
    int fd __attribute__((cleanup(close_fd))) =
        open(folder[0] ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0;
}

int state_file_write(const char *path, struct str bytes) {
    char draft[PATH_SIZE];
    if (snprintf(draft, sizeof draft, "%s.new", path) >= (int)sizeof draft)
        return SLUICE_ETOOBIG;
    int fd __attribute__((cleanup(close_fd))) =
        open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return error_from_errno(errno);
    if (state_file_fill(fd, bytes) && rename(draft, path) == 0)
        return sync_folder(path) ? 0 : error_from_errno(errno);
    int error = error_from_errno(errno);
    unlink(draft);
    return error;
}
