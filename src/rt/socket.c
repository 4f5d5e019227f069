#include "base/clock.h"
#include "rt/loop.h"
#include "rt/transport.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* The event is made at the first wait, for both directions, edge-triggered, and stays until the socket is
 * closed: a wait costs no system call of its own. An edge is never missed, because a wait always follows an
 * EAGAIN in the same run of the fiber, and callbacks run only between runs. */
struct socket {
    struct transport transport;
    int fd;
    struct event *event;
    struct waiters readers, writers;
};

static struct socket *of(struct transport *t) { return (struct socket *)t; }

static ssize_t result(ssize_t n) {
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    int e = error_from_errno(errno);
    return e == SLUICE_ECLOSED || e == SLUICE_ETIMEOUT ? e : SLUICE_EIO;
}

static ssize_t socket_read(struct transport *t, void *at, size_t len) {
    ssize_t n;
    do
        n = recv(of(t)->fd, at, len, 0);
    while (n < 0 && errno == EINTR);
    return n == 0 ? SLUICE_ECLOSED : result(n);
}

static ssize_t socket_write(struct transport *t, const struct iovec *parts, int count) {
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = sendmsg(of(t)->fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return result(n);
}

static void on_event(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    struct socket *s = arg;
    if (what & EV_READ)
        waiters_wake_all(&s->readers);
    if (what & EV_WRITE)
        waiters_wake_all(&s->writers);
}

static int socket_wait(struct transport *t, enum direction direction, int64_t deadline) {
    struct socket *s = of(t);
    if (!fiber_self())
        return SLUICE_EINVALID;
    if (!s->event) {
        s->event = event_new(worker_base(worker_self()), s->fd, EV_READ | EV_WRITE | EV_ET | EV_PERSIST,
                             on_event, s);
        if (!s->event || event_add(s->event, NULL))
            return SLUICE_EIO;
    }
    if (event_get_base(s->event) != worker_base(worker_self()))
        return SLUICE_EINVALID;
    return waiters_wait(direction == READING ? &s->readers : &s->writers, deadline);
}

/* Closing a socket whose input wasn't read sends a reset, which can overtake our last reply: read what is
 * there. */
static void discard_input(int fd) {
    char bytes[4096];
    if (shutdown(fd, SHUT_WR))
        return;
    for (int i = 0; i < 16 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0; i++)
        ;
}

static void socket_free(struct transport *t) {
    struct socket *s = of(t);
    if (s->event)
        event_free(s->event);
    discard_input(s->fd);
    close(s->fd);
    free(s);
}

static const struct transport_table socket_table = {socket_read, socket_write, socket_wait, socket_free};

struct transport *socket_transport(int fd) {
    struct socket *s = xcalloc(1, sizeof *s);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    s->transport.table = &socket_table;
    s->fd = fd;
    return &s->transport;
}
