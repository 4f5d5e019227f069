#include "base/clock.h"
#include "base/error.h"
#include "rt/net.h"
#include "rt_run.h"
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int64_t soon(void) { return clock_mono_ms() + 30000; }

static struct ip ip_of(const char *text) {
    struct ip ip = {0};
    if (!ip_parse(str_of(text), &ip))
        rt_run_failed(__FILE__, __LINE__, text);
    return ip;
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    struct ip ip;
    uint16_t port = 0;
    if (getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        ip_from_sockaddr((struct sockaddr *)&a, &ip, &port);
    return port;
}

/* ---- a server that answers each connection with the address it sees ---- */

/* Outlives the runtime: a connection may be served after the test of it has ended. */

struct server {
    struct net_acceptor *acceptor;
    struct ip ip;
    uint16_t port;
    _Atomic int served, on[8]; /* connections, also per worker */
};

static void serve(void *arg, struct stream *s) {
    struct server *server = arg;
    struct ip ip;
    char text[IP_TEXT_SIZE];
    atomic_fetch_add(&server->on[worker_index(worker_self())], 1);
    if (stream_peer(s, &ip, NULL) && stream_write(s, str_of(ip_text(&ip, text)), soon()) == 0 &&
        stream_write(s, STR("\n"), soon()) == 0 && stream_flush(s, soon()) == 0)
        while (stream_fill(s, soon()) == 0) { /* then an echo */
            if (stream_write(s, stream_input(s), soon()) || stream_flush(s, soon()))
                break;
            stream_consume(s, stream_input(s).len);
        }
    stream_free(s);
    atomic_fetch_add(&server->served, 1);
}

static int open_server(struct server *server, const char *ip) {
    int fd;
    *server = (struct server){.ip = ip_of(ip)};
    int e = net_listen(&server->ip, 0, &fd);
    if (e)
        return e;
    server->port = port_of(fd);
    server->acceptor = net_accept(worker_rt(worker_self()), fd, serve, server, STR("421 full\r\n"));
    return 0;
}

/* True when the server saw `expected` as the address of the client, and echoes. */
static bool talk(struct stream *s, const char *expected) {
    char line[IP_TEXT_SIZE + 1];
    int len = snprintf(line, sizeof line, "%s\n", expected);
    while (stream_input(s).len < (size_t)len)
        if (stream_fill(s, soon()))
            return false;
    if (!str_eq(stream_input(s), str_from(line, (size_t)len)))
        return false;
    stream_consume(s, (size_t)len);
    if (stream_write(s, STR("ping"), soon()) || stream_flush(s, soon()))
        return false;
    while (stream_input(s).len < 4)
        if (stream_fill(s, soon()))
            return false;
    bool same = str_eq(stream_input(s), STR("ping"));
    stream_consume(s, 4);
    return same;
}

/* The connection leaves from the source it was told to. */
static void sources(void *arg) {
    struct server *servers = arg;
    static const struct {
        const char *listen, *source;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1"}, {"127.0.0.1", "127.0.0.9"}, {"127.0.0.3", "127.1.2.3"}, {"::1", "::1"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip source = ip_of(cases[i].source), local, peer;
        if (!ip_is_v4(&source) && net_bindable(&source)) {
            print_message("no IPv6 here: skipped\n");
            continue;
        }
        struct server *server = &servers[i];
        CHECK(open_server(server, cases[i].listen) == 0);
        struct stream *s;
        CHECK(net_dial(&source, &server->ip, server->port, soon(), &s) == 0);
        CHECK(talk(s, cases[i].source));
        uint16_t port;
        CHECK(stream_local(s, &local, NULL) && ip_eq(&local, &source));
        CHECK(stream_peer(s, &peer, &port) && ip_eq(&peer, &server->ip) && port == server->port);
        CHECK(stream_fd(s) >= 0);
        stream_free(s);
        net_accept_stop(server->acceptor);
    }
}

static void dial_errors(void *arg) {
    (void)arg;
    struct ip here = ip_of("127.0.0.1"), elsewhere = ip_of("192.0.2.1"), v6 = ip_of("2001:db8::1");
    int fd;
    CHECK(net_listen(&here, 0, &fd) == 0);
    uint16_t port = port_of(fd);
    struct stream *s = NULL;
    CHECK(net_dial(&elsewhere, &here, port, soon(), &s) == SLUICE_EBIND);
    CHECK(net_dial(&v6, &here, port, soon(), &s) == SLUICE_EINVALID);
    CHECK(net_dial(&v6, &v6, port, soon(), &s) == SLUICE_EBIND);
    CHECK(net_bindable(&here) == 0);
    CHECK(net_bindable(&elsewhere) == SLUICE_EBIND);
    CHECK(net_bindable(&v6) == SLUICE_EBIND);
    int second;
    CHECK(net_listen(&here, port, &second) == SLUICE_EBUSY);
    CHECK(net_listen(&elsewhere, 0, &second) == SLUICE_EBIND);
    close(fd);
    CHECK(net_dial(&here, &here, port, soon(), &s) == SLUICE_EREFUSED);
    CHECK(net_dial(NULL, &here, port, soon(), &s) == SLUICE_EREFUSED);
    CHECK(s == NULL);
}

struct stuck {
    struct ip target;
    uint16_t port;
    struct fiber *fiber;
    int error;
    struct waiters done;
};

static void dial_stuck(void *arg) {
    struct stuck *k = arg;
    struct stream *s = NULL;
    k->fiber = fiber_self();
    k->error = net_dial(NULL, &k->target, k->port, INT64_MAX, &s);
    waiters_wake_all(&k->done);
}

/* A listener whose queue is full doesn't answer. */
static void dial_waits(void *arg) {
    (void)arg;
    struct stuck k = {.target = ip_of("127.0.0.1")};
    int fd;
    CHECK(net_listen(&k.target, 0, &fd) == 0);
    CHECK(listen(fd, 0) == 0);
    k.port = port_of(fd);
    struct stream *held[8] = {NULL};
    int e = 0;
    for (size_t i = 0; i < COUNT(held) && !e; i++)
        e = net_dial(NULL, &k.target, k.port, clock_mono_ms() + 50, &held[i]);
    CHECK(e == SLUICE_ETIMEOUT);
    CHECK(fiber_start(dial_stuck, &k) == 0);
    CHECK(fiber_yield() == 0 && fiber_yield() == 0);
    fiber_cancel(k.fiber);
    while (!k.error)
        CHECK(waiters_wait(&k.done, INT64_MAX) == 0);
    CHECK(k.error == SLUICE_ECANCELLED);
    for (size_t i = 0; i < COUNT(held); i++)
        stream_free(held[i]);
    close(fd);
}

/* ---- many connections, several workers ---- */

enum { CLIENTS = 64, ROUNDS = 5 };

struct clients {
    struct server *server;
    int left, failed;
    struct waiters done;
};

static void client(void *arg) {
    struct clients *c = arg;
    struct ip source = ip_of("127.0.0.7");
    for (int i = 0; i < ROUNDS; i++) {
        struct stream *s = NULL;
        if (net_dial(&source, &c->server->ip, c->server->port, soon(), &s) || !talk(s, "127.0.0.7"))
            c->failed++;
        stream_free(s);
    }
    if (--c->left == 0)
        waiters_wake_all(&c->done);
}

static void many(void *arg) {
    struct server *server = arg;
    CHECK(open_server(server, "127.0.0.1") == 0);
    struct clients c = {.server = server, .left = CLIENTS};
    for (int i = 0; i < CLIENTS; i++)
        CHECK(fiber_start(client, &c) == 0);
    while (c.left)
        CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
    CHECK(c.failed == 0);
    while (server->served < CLIENTS * ROUNDS)
        CHECK(fiber_yield() == 0);
    CHECK(server->on[rt_count(worker_rt(worker_self()))] == 0); /* never on the API's worker */
}

/* After the stop nobody gets in, and who is in stays. */
static void stop(void *arg) {
    struct server *server = arg;
    CHECK(open_server(server, "127.0.0.1") == 0);
    struct stream *s, *late = NULL;
    CHECK(net_dial(NULL, &server->ip, server->port, soon(), &s) == 0);
    CHECK(talk(s, "127.0.0.1"));
    net_accept_stop(server->acceptor);
    while (net_dial(NULL, &server->ip, server->port, soon(), &late) != SLUICE_EREFUSED) {
        late = stream_free(late);
        CHECK(fiber_yield() == 0);
    }
    CHECK(stream_write(s, STR("still"), soon()) == 0 && stream_flush(s, soon()) == 0);
    while (stream_input(s).len < 5)
        CHECK(stream_fill(s, soon()) == 0);
    CHECK(str_eq(stream_input(s), STR("still")));
    stream_free(s);
    while (server->served < 1)
        CHECK(fiber_yield() == 0);
}

/* With all descriptors in use a client is told so, and later ones get in again. */
static void descriptors_out(void *arg) {
    struct server *server = arg;
    CHECK(open_server(server, "127.0.0.1") == 0);
    struct rlimit before, tight;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    int next = dup(0);
    CHECK(next >= 0);
    close(next);
    tight = before;
    tight.rlim_cur = (rlim_t)next + 1;
    CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    struct stream *s;
    int e = net_dial(NULL, &server->ip, server->port, soon(), &s);
    CHECK(e == 0);
    while (e == 0)
        e = stream_fill(s, soon());
    CHECK(e == SLUICE_ECLOSED);
    CHECK(str_eq(stream_input(s), STR("421 full\r\n")));
    CHECK(server->served == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    stream_free(s);
    CHECK(net_dial(NULL, &server->ip, server->port, soon(), &s) == 0);
    CHECK(talk(s, "127.0.0.1"));
    stream_free(s);
}

/* ---- stopping without running ---- */

static void never_started(void **state) {
    (void)state;
    for (int stopped = 0; stopped < 2; stopped++) {
        struct rt *rt;
        int fd;
        struct ip ip = ip_of("127.0.0.1");
        assert_int_equal(rt_new(2, 1, NULL, &rt), 0);
        assert_int_equal(net_listen(&ip, 0, &fd), 0);
        struct net_acceptor *a = net_accept(rt, fd, serve, NULL, STR(""));
        if (stopped)
            net_accept_stop(a);
        rt_free(rt);
    }
}

/* ---- Unix sockets ---- */

static void unix_sockets(void **state) {
    (void)state;
    char folder[] = "/tmp/test_net.XXXXXX", path[64], file[64], missing[64], longer[200];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/api.sock", folder);
    snprintf(file, sizeof file, "%s/file.XXXXXX", folder);
    snprintf(missing, sizeof missing, "%s/none/api.sock", folder);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    int fd, second;
    assert_int_equal(net_listen_unix(path, 0600, &fd), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(net_listen_unix(path, 0600, &second), SLUICE_EBUSY);
    close(fd); /* as if its process had been killed: the file stays */
    assert_int_equal(net_listen_unix(path, 0660, &fd), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    close(fd);
    close(mkstemp(file));
    assert_int_equal(net_listen_unix(file, 0600, &fd), SLUICE_EEXISTS);
    assert_int_equal(net_listen_unix(missing, 0600, &fd), SLUICE_ENOTFOUND);
    assert_int_equal(net_listen_unix(longer, 0600, &fd), SLUICE_ETOOBIG);
    unlink(file);
    unlink(path);
    rmdir(folder);
}

struct unix_server {
    _Atomic int served, on_api;
};

static void serve_unix(void *arg, struct stream *s) {
    struct unix_server *u = arg;
    struct ip ip;
    if (worker_self() == rt_api(worker_rt(worker_self())) && !stream_peer(s, &ip, NULL))
        u->on_api++;
    if (stream_write(s, STR("hello"), soon()) == 0 && stream_flush(s, soon()) == 0)
        u->served++;
    stream_free(s);
}

static void accept_on_api(void *arg) {
    (void)arg;
    char folder[] = "/tmp/test_net.XXXXXX", path[64];
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/api.sock", folder);
    struct unix_server u = {0};
    int fd;
    CHECK(net_listen_unix(path, 0600, &fd) == 0);
    net_accept_on(rt_api(worker_rt(worker_self())), fd, serve_unix, &u, STR(""));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int client_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(client_fd, (struct sockaddr *)&a, sizeof a) == 0);
    struct stream *s = stream_of_fd(client_fd);
    while (stream_fill(s, soon()) == 0)
        ;
    CHECK(str_eq(stream_input(s), STR("hello")));
    stream_free(s);
    CHECK(u.served == 1 && u.on_api == 1);
    unlink(path);
    rmdir(folder);
}

RT_RUN_TEST(dial_errors)
RT_RUN_TEST(dial_waits)
RT_RUN_TEST(accept_on_api)

#define SERVER_TEST(name, workers)                                                                           \
    static void run_##name##_##workers(void **state) {                                                       \
        (void)state;                                                                                         \
        struct server servers[4];                                                                            \
        rt_run(workers, name, servers);                                                                      \
    }
SERVER_TEST(sources, 1)
SERVER_TEST(many, 4)
SERVER_TEST(stop, 1)
SERVER_TEST(stop, 4)
SERVER_TEST(descriptors_out, 1)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_sources_1),
        cmocka_unit_test(run_dial_errors),
        cmocka_unit_test(run_dial_waits),
        cmocka_unit_test(run_many_4),
        cmocka_unit_test(run_stop_1),
        cmocka_unit_test(run_stop_4),
        cmocka_unit_test(run_descriptors_out_1),
        cmocka_unit_test(never_started),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(run_accept_on_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
