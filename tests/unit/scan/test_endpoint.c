#include "base/clock.h"
#include "base/error.h"
#include "rt/net.h"
#include "rt/resolver.h"
#include "rt_run.h"
#include "scan/endpoint.h"
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *text;
    uint16_t preset;
    const char *ip, *host, *path;
    uint16_t port; /* 0: refused */
} cases[] = {
    {"127.0.0.1:783", 0, "127.0.0.1", "", NULL, 783},
    {"127.0.0.1", 783, "127.0.0.1", "", NULL, 783},
    {"127.0.0.1", 0},
    {"127.0.0.1:0", 783},
    {"127.0.0.1:65536", 783},
    {"[::1]:11333", 0, "::1", "", NULL, 11333},
    {"[::1]", 783, "::1", "", NULL, 783},
    {"scanner.example.net:783", 0, NULL, "scanner.example.net", NULL, 783},
    {"Rspamd", 11333, NULL, "rspamd", NULL, 11333},
    {"localhost:1", 0, NULL, "localhost", NULL, 1},
    {"rspamd:", 783},
    {":783", 0},
    {"", 783},
    {"a b:1", 0},
    {"a\r\nb:1", 0},
    {"-x:1", 0},
    {"/run/spamd.sock", 0, NULL, "", "/run/spamd.sock", 0},
    {"unix:/run/spamd.sock", 783, NULL, "", "/run/spamd.sock", 783},
    {"unix:run/spamd.sock", 783},
    {"unix:", 783},
    {"/run/"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaa.sock",
     0},
};

static void parsed(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scan_endpoint e;
        struct ip ip;
        bool wanted = cases[i].port || cases[i].path;
        print_message("%s\n", cases[i].text);
        assert_int_equal(scan_endpoint_parse(arena, str_of(cases[i].text), cases[i].preset, &e), wanted);
        if (!wanted)
            continue;
        assert_true(str_eq(e.host, str_of(cases[i].host)));
        if (cases[i].path)
            assert_string_equal(e.path, cases[i].path);
        else
            assert_int_equal(e.port, cases[i].port);
        if (cases[i].ip)
            assert_true(ip_parse(str_of(cases[i].ip), &ip) && ip_eq(&ip, &e.ip));
    }
    arena_free(arena);
}

/* ---- dialling ---- */

struct names {
    struct resolver resolver;
    unsigned asked;
};

/* two.test: an address where nobody listens, then the right one, by AAAA none. */
static void lookup(struct resolver *r, struct str name, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    ((struct names *)r)->asked++;
    *ret = (struct dns_answer){.status = DNS_NONE};
    (void)deadline;
    if (str_eq(name, STR("broken.test")))
        ret->status = DNS_FAILED;
    if (!str_eq(name, STR("two.test")) || type != DNS_A)
        return;
    ret->status = DNS_RECORDS;
    ret->count = 2;
    ret->records = arena_array(arena, struct dns_record, 2);
    ip_parse(STR("127.0.99.99"), &ret->records[0].ip);
    ip_parse(STR("127.0.0.1"), &ret->records[1].ip);
}

static void greet(void *arg, struct stream *s) {
    (void)arg;
    if (stream_write(s, STR("hello"), clock_mono_ms() + 5000) == 0)
        (void)stream_flush(s, clock_mono_ms() + 5000);
    stream_free(s);
}

/* 0 when it was greeted. */
static int dial(const char *text, struct names *names) {
    struct arena *arena = arena_new(0);
    struct scan_endpoint e;
    struct stream *s = NULL;
    int64_t deadline = clock_mono_ms() + 5000;
    int error = scan_endpoint_parse(arena, str_of(text), 0, &e)
                    ? scan_endpoint_dial(&e, &names->resolver, deadline, &s)
                    : SLUICE_EINVALID;
    if (!error)
        error = stream_fill(s, deadline);
    stream_free(s);
    arena_free(arena);
    return error;
}

static void dials(void *arg) {
    (void)arg;
    struct names names = {.resolver = {lookup}};
    struct ip here;
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    char path[] = "/tmp/sluice-endpoint.XXXXXX", text[100];
    int fd, unix_fd;
    close(mkstemp(path));
    unlink(path);
    ip_parse(STR("127.0.0.1"), &here);
    CHECK(net_listen(&here, 0, &fd) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    CHECK(net_listen_unix(path, 0600, &unix_fd) == 0);
    struct net_acceptor *tcp = net_accept(worker_rt(worker_self()), fd, greet, NULL, STR(""));
    struct net_acceptor *local = net_accept(worker_rt(worker_self()), unix_fd, greet, NULL, STR(""));
    static const struct {
        const char *host;
        int error;
    } hosts[] = {{"127.0.0.1", 0},
                 {"localhost", 0},
                 {"two.test", 0},
                 {"nowhere.test", SLUICE_ENOTFOUND},
                 {"broken.test", SLUICE_ENOTFOUND},
                 {"127.0.99.99", SLUICE_EREFUSED}};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        snprintf(text, sizeof text, "%s:%u", hosts[i].host, ntohs(a.sin_port));
        CHECK(dial(text, &names) == hosts[i].error);
    }
    CHECK(names.asked == 1 + 2 + 2);
    CHECK(dial(path, &names) == 0);
    net_accept_stop(tcp);
    net_accept_stop(local);
    unlink(path);
    CHECK(dial(path, &names) == SLUICE_ENOTFOUND);
}

RT_RUN_TEST(dials)

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(parsed), cmocka_unit_test(run_dials)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
