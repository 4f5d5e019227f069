#include "rt/net.h"

#include "rt/loop.h"
#include "rt/transport.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void close_fd(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}
#define CLOSED_AT_END __attribute__((cleanup(close_fd)))

static int keep(int *fd) {
    int kept = *fd;
    *fd = -1;
    return kept;
}

static int set_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value);
}

static int open_socket(int family) { return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

static int socket_error(int errno_value) {
    switch (errno_value) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return SLUICE_ELIMIT;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT: /* a kernel without IPv6 has none of its addresses */
        return SLUICE_EBIND;
    default:
        return error_from_errno(errno_value);
    }
}

/* ---- listening ---- */

int net_listen(const struct ip *ip, uint16_t port, int *ret_fd) {
    struct sockaddr_storage a;
    socklen_t len = ip_to_sockaddr(ip, port, &a);
    int fd CLOSED_AT_END = open_socket(a.ss_family);
    if (fd < 0 || set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
        (a.ss_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) ||
        bind(fd, (struct sockaddr *)&a, len) || listen(fd, 4096))
        return socket_error(errno);
    *ret_fd = keep(&fd);
    return 0;
}

/* A socket file stays behind when its process is killed. */
static int remove_stale(const struct sockaddr_un *a) {
    struct stat st;
    if (lstat(a->sun_path, &st))
        return errno == ENOENT ? 0 : error_from_errno(errno);
    if (!S_ISSOCK(st.st_mode))
        return SLUICE_EEXISTS;
    int fd CLOSED_AT_END = open_socket(AF_UNIX);
    if (fd < 0)
        return socket_error(errno);
    if (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN)
        return SLUICE_EBUSY;
    if (errno != ECONNREFUSED)
        return error_from_errno(errno);
    return unlink(a->sun_path) ? error_from_errno(errno) : 0;
}

int net_listen_unix(const char *path, unsigned mode, int *ret_fd) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return SLUICE_ETOOBIG;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int e = remove_stale(&a);
    if (e)
        return e;
    int fd CLOSED_AT_END = open_socket(AF_UNIX);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a))
        return socket_error(errno);
    /* Nobody can connect before listen, so nobody passes with wider permissions. */
    if (chmod(path, mode) || listen(fd, 128)) {
        e = error_from_errno(errno);
        unlink(path);
        return e;
    }
    *ret_fd = keep(&fd);
    return 0;
}

/* ---- accepting ---- */

enum { ACCEPTS_A_TURN = 16, PAUSE_MS = 100 };

struct acceptor_place {
    struct net_acceptor *acceptor;
    struct worker *worker; /* NULL: does not accept here */
    struct event *event;
    struct worker_timer *pause;
    struct letter open, close;
};

struct net_acceptor {
    struct rt *rt;
    struct net_acceptor *next, *before;
    int fd;
    void (*serve)(void *arg, struct stream *);
    void *arg;
    struct buf full;
    _Atomic unsigned holders;       /* workers that have not let go, and who may call net_accept_stop */
    struct acceptor_place places[]; /* one a worker */
};

struct served {
    void (*serve)(void *arg, struct stream *);
    void *arg;
    int fd;
};

static void serve(void *arg) {
    struct served s = *(struct served *)arg;
    free(arg);
    s.serve(s.arg, stream_of_fd(s.fd));
}

static void refuse(const struct net_acceptor *a, int fd) {
    ssize_t n = send(fd, a->full.at, a->full.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* the client may be gone */
    shutdown(fd, SHUT_WR);
    close(fd);
}

static void take_in(const struct net_acceptor *a, int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* fails on a Unix socket, which needs none */
    struct served *s = xmalloc(sizeof *s);
    *s = (struct served){.serve = a->serve, .arg = a->arg, .fd = fd};
    if (fiber_start(serve, s)) {
        free(s);
        refuse(a, fd);
    }
}

static void on_pause_end(void *arg) {
    struct acceptor_place *p = arg;
    p->pause = NULL;
    event_add(p->event, NULL);
}

static void pause_accepting(struct acceptor_place *p) {
    event_del(p->event);
    p->pause = worker_after(p->worker, PAUSE_MS, on_pause_end, p);
}

/* Descriptors are out: the spare one lets us tell one client so. Then a pause, for the rest stays acceptable.
 */
static void refuse_with_spare(struct acceptor_place *p) {
    struct worker *w = p->worker;
    close(w->spare_fd);
    int fd = accept4(p->acceptor->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        refuse(p->acceptor, fd);
    w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pause_accepting(p);
}

static void on_connection(evutil_socket_t listening, short what, void *arg) {
    (void)what;
    struct acceptor_place *p = arg;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_in(p->acceptor, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE)
            refuse_with_spare(p);
        else if (errno == ENOMEM || errno == ENOBUFS)
            pause_accepting(p);
        else if (errno == ECONNABORTED || errno == EINTR)
            continue;
        return;
    }
}

static void acceptor_free(struct net_acceptor *a) {
    if (a->before)
        a->before->next = a->next;
    else
        a->rt->acceptors = a->next;
    if (a->next)
        a->next->before = a->before;
    for (unsigned i = 0; i <= a->rt->count; i++)
        if (a->places[i].event)
            event_free(a->places[i].event);
    close(a->fd);
    buf_free(&a->full);
    free(a);
}

/* Keeps the acceptor alive while net_accept_stop walks its places. */
static void let_go(struct net_acceptor *a) {
    struct rt *rt = a->rt;
    pthread_mutex_lock(&rt->lock);
    if (atomic_fetch_sub(&a->holders, 1) == 1)
        acceptor_free(a);
    pthread_mutex_unlock(&rt->lock);
}

static void place_open(void *arg) {
    struct acceptor_place *p = arg;
    p->event = event_new(worker_base(p->worker), p->acceptor->fd, EV_READ | EV_PERSIST, on_connection, p);
    if (p->event)
        event_add(p->event, NULL);
}

static void place_close(void *arg) {
    struct acceptor_place *p = arg;
    worker_timer_cancel(p->pause);
    if (p->event)
        event_free(p->event);
    p->pause = NULL;
    p->event = NULL;
    let_go(p->acceptor);
}

static void enlist(struct net_acceptor *a) {
    struct rt *rt = a->rt;
    pthread_mutex_lock(&rt->lock);
    a->next = rt->acceptors;
    if (a->next)
        a->next->before = a;
    rt->acceptors = a;
    pthread_mutex_unlock(&rt->lock);
}

static struct net_acceptor *acceptor_new(struct rt *rt, int fd, void (*fn)(void *arg, struct stream *),
                                         void *arg, struct str full) {
    struct net_acceptor *a = xcalloc(1, sizeof *a + (rt->count + 1) * sizeof a->places[0]);
    a->rt = rt;
    a->fd = fd;
    a->serve = fn;
    a->arg = arg;
    a->holders = 1;
    buf_str(&a->full, full);
    enlist(a);
    return a;
}

static void open_on(struct net_acceptor *a, struct worker *w) {
    struct acceptor_place *p = &a->places[w->index];
    *p = (struct acceptor_place){.acceptor = a, .worker = w};
    p->open = (struct letter){.fn = place_open, .arg = p};
    p->close = (struct letter){.fn = place_close, .arg = p};
    atomic_fetch_add(&a->holders, 1);
    letter_post(w, &p->open);
}

struct net_acceptor *net_accept(struct rt *rt, int fd, void (*fn)(void *arg, struct stream *), void *arg,
                                struct str full) {
    struct net_acceptor *a = acceptor_new(rt, fd, fn, arg, full);
    for (unsigned i = 0; i < rt->count; i++)
        open_on(a, &rt->workers[i]);
    return a;
}

struct net_acceptor *net_accept_on(struct worker *w, int fd, void (*fn)(void *arg, struct stream *),
                                   void *arg, struct str full) {
    struct net_acceptor *a = acceptor_new(w->rt, fd, fn, arg, full);
    open_on(a, w);
    return a;
}

void net_accept_stop(struct net_acceptor *a) {
    for (unsigned i = 0; i <= a->rt->count; i++)
        if (a->places[i].worker)
            letter_post(a->places[i].worker, &a->places[i].close);
    let_go(a);
}

void acceptors_free(struct rt *rt) {
    while (rt->acceptors)
        acceptor_free(rt->acceptors);
}

/* ---- dialling ---- */

static int bind_source(int fd, const struct ip *source) {
    struct sockaddr_storage a;
    socklen_t len = ip_to_sockaddr(source, 0, &a);
    /* The port is chosen at connect, by the four-tuple: else all receivers share a source's 28,000 ports. */
    set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (bind(fd, (struct sockaddr *)&a, len) == 0)
        return 0;
    return errno == EINVAL ? SLUICE_EBIND : socket_error(errno);
}

static int dial_error(int errno_value) {
    switch (errno_value) {
    case ECONNREFUSED:
    case ECONNRESET:
        return SLUICE_EREFUSED;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EACCES: /* a firewall here or on the way says so with these two */
    case EPERM:
    case EINVAL: /* a source that can't reach this target, such as loopback to outside */
        return SLUICE_EUNREACH;
    case ETIMEDOUT:
        return SLUICE_ETIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:
    case EADDRNOTAVAIL: /* no port is left for this pair of addresses */
        return SLUICE_ELIMIT;
    default:
        return SLUICE_EIO;
    }
}

static int wait_connected(struct stream *s, int64_t deadline) {
    int e = s->transport->table->wait(s->transport, WRITING, deadline);
    if (e)
        return e;
    int failed = 0;
    socklen_t len = sizeof failed;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failed, &len))
        return SLUICE_EIO;
    return failed ? dial_error(failed) : 0;
}

/* A connect to an unused port of one's own address can meet itself (RFC 9293, simultaneous open). */
static bool met_itself(const struct stream *s) {
    struct ip local, peer;
    uint16_t local_port, peer_port;
    return stream_local(s, &local, &local_port) && stream_peer(s, &peer, &peer_port) &&
           ip_eq(&local, &peer) && local_port == peer_port;
}

int net_dial(const struct ip *source, const struct ip *target, uint16_t port, int64_t deadline,
             struct stream **ret_stream) {
    if (source && ip_is_v4(source) != ip_is_v4(target))
        return SLUICE_EINVALID;
    struct sockaddr_storage a;
    socklen_t len = ip_to_sockaddr(target, port, &a);
    int fd CLOSED_AT_END = open_socket(a.ss_family);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? SLUICE_EUNREACH : dial_error(errno);
    int e = source ? bind_source(fd, source) : 0;
    if (e)
        return e;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    bool at_once = connect(fd, (struct sockaddr *)&a, len) == 0;
    if (!at_once && errno != EINPROGRESS)
        return dial_error(errno);
    struct stream *s = stream_of_fd(keep(&fd));
    e = at_once ? 0 : wait_connected(s, deadline);
    if (!e && met_itself(s))
        e = SLUICE_EREFUSED;
    if (e)
        stream_free(s);
    else
        *ret_stream = s;
    return e;
}

int net_bindable(const struct ip *ip) {
    struct sockaddr_storage a;
    ip_to_sockaddr(ip, 0, &a);
    int fd CLOSED_AT_END = open_socket(a.ss_family);
    if (fd < 0)
        return socket_error(errno);
    return bind_source(fd, ip);
}
