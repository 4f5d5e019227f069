/* socket.h - the API's listening Unix socket: made safely, and removed only if it is still ours. */
#pragma once
#include "base/arena.h"
#include "base/str.h"
#include <sys/stat.h>

struct unix_socket {
    int fd;
    const char *path;
    struct stat file; /* as made */
};

/* Binds and listens, mode 0660; the folder is made when missing (0750). What lies at `path` is replaced only
 * when it is a socket at which nobody answers: BUSY when somebody does, EXISTS when it is no socket. *ret_why
 * is in `arena`. */
[[nodiscard]] int unix_socket_open(const char *path, struct arena *, struct str *ret_why,
                                   struct unix_socket *ret);
/* Removes the file unless another daemon has replaced it. The descriptor stays open. */
void unix_socket_remove(const struct unix_socket *);
