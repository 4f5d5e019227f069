/* A user file either is good or names the line that isn't. */
#include "policy/passwd.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    int fd = memfd_create("users", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct arena *arena = arena_new(0);
    struct passwd *users = NULL;
    struct str why = STR("");
    int error = passwd_open(path, STR("a.example"), arena, &why, &users);
    if (error && !str_starts(why, str_of(path)))
        abort();
    passwd_close(users);
    arena_free(arena);
    close(fd);
    return 0;
}
