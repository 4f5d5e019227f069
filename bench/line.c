#include "line.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void bench_die(const char *what) {
    perror(what);
    exit(1);
}

void bench_tune(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

bool lines_fill(struct lines *l, int fd) {
    if (l->used) {
        memmove(l->bytes, l->bytes + l->used, l->len - l->used);
        l->len -= l->used;
        l->used = 0;
    }
    if (l->len == sizeof l->bytes)
        return false; /* a line that does not fit */
    ssize_t got = recv(fd, l->bytes + l->len, sizeof l->bytes - l->len, 0);
    if (got > 0)
        l->len += (size_t)got;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

char *lines_next(struct lines *l, size_t *ret_len) {
    char *at = l->bytes + l->used;
    char *end = memchr(at, '\n', l->len - l->used);
    if (!end)
        return NULL;
    l->used += (size_t)(end - at) + 1;
    if (end > at && end[-1] == '\r')
        end--;
    *end = 0;
    *ret_len = (size_t)(end - at);
    return at;
}
