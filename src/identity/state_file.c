#include "identity/state_file.h"
#include "base/error.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((off_t)256 << 20)

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static int fails(struct arena *arena, struct str *ret_why, const char *what, const char *path) {
    int error = error_from_errno(errno);
    *ret_why = str_printf(arena, "%s %s: %s", what, path, strerror(errno));
    return errno == ENOENT ? SLUICE_ENOTFOUND : error;
}

int state_file_read(const char *path, struct arena *arena, struct str *ret_why, struct str *ret) {
    struct stat file;
    int fd __attribute__((cleanup(close_fd))) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &file) != 0)
        return fails(arena, ret_why, "can't read", path);
    if (!S_ISREG(file.st_mode) || file.st_size > FILE_MAX) {
        *ret_why = str_printf(arena, "%s is no file of ours", path);
        return SLUICE_ECORRUPT;
    }
    char *bytes = arena_alloc(arena, (size_t)file.st_size + 1);
    size_t len = 0;
    for (ssize_t got; len < (size_t)file.st_size; len += (size_t)got)
        if ((got = read(fd, bytes + len, (size_t)file.st_size - len)) <= 0)
            return fails(arena, ret_why, "can't read", path);
    *ret = str_from(bytes, len);
    return 0;
}

static bool write_all(int fd, struct str bytes) {
    while (bytes.len) {
        ssize_t wrote = write(fd, bytes.at, bytes.len);
        if (wrote < 0 && errno != EINTR)
            return false;
        bytes = str_from_index(bytes, wrote < 0 ? 0 : (size_t)wrote);
    }
    return fsync(fd) == 0;
}

int state_file_write(const char *path, struct str text, struct arena *arena, struct str *ret_why) {
    const char *fresh = str_printf(arena, "%s.new", path).at;
    struct str folder = str_head(str_of(path), (size_t)(str_rindex(str_of(path), '/') + 1));
    int fd __attribute__((cleanup(close_fd))) =
        open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0 || !write_all(fd, text))
        return fails(arena, ret_why, "can't write", fresh);
    int at __attribute__((cleanup(close_fd))) =
        open(str_c(arena, folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0 || rename(fresh, path) != 0 || fsync(at) != 0)
        return fails(arena, ret_why, "can't put in place", path);
    return 0;
}
