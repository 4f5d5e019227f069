#include "api/socket.h"

#include "base/error.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(struct arena *arena, struct str *ret_why, const char *path, int error, const char *what) {
    *ret_why = str_printf(arena, "API socket %s: %s", path, what);
    return error;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

/* 0: nothing is in the way any more. */
static int clear_way(const char *path, const struct sockaddr_un *address, struct arena *arena,
                     struct str *ret_why) {
    struct stat found;
    if (lstat(path, &found) != 0)
        return errno == ENOENT ? 0 : fail(arena, ret_why, path, error_from_errno(errno), strerror(errno));
    if (!S_ISSOCK(found.st_mode))
        return fail(arena, ret_why, path, SLUICE_EEXISTS, "something that is no socket is there");
    int probe __attribute__((cleanup(close_fd))) =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return fail(arena, ret_why, path, error_from_errno(errno), strerror(errno));
    if (connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
        return fail(arena, ret_why, path, SLUICE_EBUSY, "another daemon answers there");
    if (errno != ECONNREFUSED)
        return fail(arena, ret_why, path, error_from_errno(errno), strerror(errno));
    if (unlink(path) != 0 && errno != ENOENT)
        return fail(arena, ret_why, path, error_from_errno(errno), strerror(errno));
    return 0;
}

/* Between bind and chmod the mode is that of the umask: so it is narrowed first. */
static int bind_narrow(int fd, const struct sockaddr_un *address) {
    mode_t before = umask(0117);
    int bad = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int error = errno;
    umask(before);
    errno = error;
    return bad;
}

int unix_socket_open(const char *path, struct arena *arena, struct str *ret_why, struct unix_socket *ret) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return fail(arena, ret_why, path, SLUICE_ETOOBIG,
                    "the path is too long for a socket (107 characters)");
    memcpy(address.sun_path, path, strlen(path) + 1);
    char folder[sizeof address.sun_path];
    memcpy(folder, path, strlen(path) + 1);
    if (mkdir(dirname(folder), 0750) != 0 && errno != EEXIST)
        return fail(arena, ret_why, path, error_from_errno(errno), strerror(errno));
    int bad = clear_way(path, &address, arena, ret_why);
    if (bad)
        return bad;
    int fd __attribute__((cleanup(close_fd))) =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind_narrow(fd, &address) != 0 || listen(fd, 128) != 0 || lstat(path, &ret->file) != 0)
        return fail(arena, ret_why, path, error_from_errno(errno), strerror(errno));
    ret->fd = fd;
    ret->path = str_c(arena, str_of(path));
    fd = -1;
    return 0;
}

void unix_socket_remove(const struct unix_socket *own) {
    struct stat now;
    if (lstat(own->path, &now) == 0 && now.st_ino == own->file.st_ino && now.st_dev == own->file.st_dev)
        unlink(own->path);
}
