#include "base/clock.h"
#include "dns_server.h"
#include "rt/resolver.h"
#include "rt_run.h"
#include <fcntl.h>
#include <stdlib.h>

struct setting {
    struct dns_server server;
    struct resolver *resolver;
    struct rt *rt;
    struct arena *arena;
};

static struct dns_answer look_up(struct setting *s, const char *name, enum dns_type type, int64_t ms) {
    struct dns_answer answer;
    memset(&answer, 0xa5, sizeof answer);
    resolver_lookup(s->resolver, str_of(name), type, clock_mono_ms() + ms, s->arena, &answer);
    return answer;
}

struct closing {
    struct latch closed;
    struct resolver *resolver;
};

static void close_resolver(void *arg) {
    struct closing *closing = arg;
    resolver_free(closing->resolver);
    latch_set(&closing->closed);
}

static void close_on_loop(void *arg) {
    struct setting *s = arg;
    struct closing closing = {.resolver = s->resolver};
    latch_init(&closing.closed);
    worker_post(worker_self(), close_resolver, &closing);
    latch_wait(&closing.closed);
}

/* Runs body in a fiber, with a resolver that forwards to the server (or to nobody: port 1) and knows `zone`.
 */
static void run(void (*body)(void *), const char *zone, bool dead, int64_t timeout_ms) {
    struct setting s = {.arena = arena_new(0)};
    dns_server_start(&s.server, "127.0.0.42");
    char server[64], path[64] = "";
    snprintf(server, sizeof server, "127.0.0.42@%u", dead ? 1u : s.server.port);
    if (zone) {
        snprintf(path, sizeof path, "/tmp/test_resolver.%d", (int)getpid());
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, zone, strlen(zone)), (ssize_t)strlen(zone));
        close(fd);
    }
    struct str servers[] = {str_of(server)}, why;
    struct dns_settings settings = {.servers = servers,
                                    .server_count = 1,
                                    .zone_file = zone ? path : NULL,
                                    .serve_expired_s = 86400,
                                    .timeout_ms = timeout_ms};
    atomic_store(&rt_run_failures, 0);
    assert_int_equal(rt_new(1, 1, NULL, &s.rt), 0);
    assert_int_equal(resolver_new(rt_worker(s.rt, 0), &settings, s.arena, &why, &s.resolver), 0);
    assert_int_equal(rt_start(s.rt), 0);
    rt_run_on(s.rt, body, &s);
    rt_run_on(s.rt, close_on_loop, &s);
    rt_free(s.rt);
    dns_server_stop(&s.server);
    if (zone)
        unlink(path);
    arena_free(s.arena);
    assert_int_equal(atomic_load(&rt_run_failures), 0);
}

/* ---- what a working server says ---- */

static void answers(void *arg) {
    struct setting *s = arg;
    struct dns_answer a = look_up(s, "ok.One.Example.", DNS_MX, 5000);
    CHECK(a.status == DNS_RECORDS && a.count == 2 && !a.stale && !a.secure && a.ttl > 200 && a.ttl <= 300);
    bool first = str_eq(a.records[0].name, STR("mx.server.example"));
    CHECK(a.records[!first].preference == 10 && a.records[first].preference == 20);
    CHECK(str_eq(a.records[first].name, STR("mx2.server.example")));
    a = look_up(s, "ok.one.example", DNS_A, 5000);
    char text[IP_TEXT_SIZE];
    CHECK(a.status == DNS_RECORDS && a.count == 1 &&
          strcmp(ip_text(&a.records[0].ip, text), "127.0.0.9") == 0);
    a = look_up(s, "ok.one.example", DNS_TXT, 5000);
    CHECK(a.status == DNS_RECORDS && str_eq(a.records[0].text, STR("hello world")));
    a = look_up(s, "ok.one.example", DNS_AAAA, 5000);
    CHECK(a.status == DNS_NONE && !a.nxdomain);
    a = look_up(s, "nx.one.example", DNS_A, 5000);
    CHECK(a.status == DNS_NONE && a.nxdomain);
    a = look_up(s, "empty.one.example", DNS_A, 5000);
    CHECK(a.status == DNS_NONE && !a.nxdomain);
    /* Names that libunbound would answer by itself: the server is asked. */
    static const char *const built_in[] = {"ok.test",
                                           "ok.home.arpa",
                                           "ok.10.in-addr.arpa",
                                           "ok.2.0.192.in-addr.arpa",
                                           "ok.127.in-addr.arpa",
                                           "ok.8.b.d.0.1.0.0.2.ip6.arpa"};
    for (size_t i = 0; i < COUNT(built_in); i++)
        CHECK(look_up(s, built_in[i], DNS_A, 5000).status == DNS_RECORDS);
    CHECK(look_up(s, "bad..name", DNS_A, 5000).status == DNS_FAILED);
}

static void chains(void *arg) {
    struct setting *s = arg;
    struct dns_answer a = look_up(s, "alias.two.example", DNS_A, 5000);
    CHECK(a.status == DNS_RECORDS && a.count == 1 && str_eq(a.canonical, STR("ok.two.example")) &&
          a.ttl <= 60);
    a = look_up(s, "alias2.two.example", DNS_A, 5000);
    CHECK(a.status == DNS_RECORDS && str_eq(a.canonical, STR("ok.two.example")));
    a = look_up(s, "alias2.two.example", DNS_AAAA, 5000);
    CHECK(a.status == DNS_NONE && !a.nxdomain);
    a = look_up(s, "aliasx.two.example", DNS_A, 5000);
    CHECK(a.status == DNS_NONE && a.nxdomain);
    CHECK(look_up(s, "loop.two.example", DNS_A, 8000).status == DNS_FAILED);
}

/* ---- every rcode, against an empty, a fresh and an expired cache ---- */

static void rcodes(void *arg) {
    struct setting *s = arg;
    char name[64];
    struct dns_answer a;
    for (int rcode = 1; rcode < 16; rcode++) {
        if (rcode == 3)
            continue;
        snprintf(name, sizeof name, "ok%d.three.example", rcode);
        CHECK(look_up(s, name, DNS_A, 5000).status == DNS_RECORDS);
    }
    CHECK(look_up(s, "short.three.example", DNS_A, 5000).status == DNS_RECORDS);
    fiber_sleep(2200);
    for (int rcode = 1; rcode < 16; rcode++) {
        if (rcode == 3)
            continue;
        atomic_store(&s->server.mode, SERVER_RCODE + rcode);
        snprintf(name, sizeof name, "ok%d.three.example", rcode);
        a = look_up(s, name, DNS_A, 5000);
        CHECK(a.status == DNS_RECORDS && !a.stale); /* fresh */
        snprintf(name, sizeof name, "new%d.three.example", rcode);
        a = look_up(s, name, DNS_A, 8000);
        CHECK(a.status == DNS_FAILED && a.why.len && !a.count); /* empty */
        a = look_up(s, name, DNS_A, 8000);
        CHECK(a.status == DNS_FAILED && a.why.len); /* a cached failure is none too */
        a = look_up(s, "short.three.example", DNS_A, 8000);
        CHECK(a.status == DNS_RECORDS && a.stale && a.ttl <= 30); /* expired */
    }
    atomic_store(&s->server.mode, SERVER_BY_NAME);
}

/* NXDOMAIN and NOERROR are answers: they replace what was there. */
static void gone(void *arg) {
    struct setting *s = arg;
    CHECK(look_up(s, "short.four.example", DNS_A, 5000).status == DNS_RECORDS);
    fiber_sleep(2200);
    atomic_store(&s->server.mode, SERVER_RCODE + 3);
    struct dns_answer a = look_up(s, "short.four.example", DNS_A, 5000);
    CHECK(a.status == DNS_NONE && a.nxdomain && !a.stale);
    /* And no expired "none" is served for a failure. */
    fiber_sleep(2200);
    atomic_store(&s->server.mode, SERVER_RCODE + 2);
    a = look_up(s, "short.four.example", DNS_A, 8000);
    CHECK(a.status == DNS_FAILED);
}

static void bad_servers(void *arg) {
    struct setting *s = arg;
    static const int modes[] = {SERVER_GARBAGE, SERVER_TRUNCATED, SERVER_SILENT};
    CHECK(look_up(s, "short.five.example", DNS_A, 5000).status == DNS_RECORDS);
    fiber_sleep(2200);
    for (size_t i = 0; i < COUNT(modes); i++) {
        atomic_store(&s->server.mode, modes[i]);
        char name[64];
        snprintf(name, sizeof name, "x%zu.five.example", i);
        int64_t start = clock_mono_ms();
        struct dns_answer a = look_up(s, name, DNS_A, 1200);
        CHECK(a.status == DNS_FAILED && a.why.len);
        CHECK(clock_mono_ms() - start < 6000);
        a = look_up(s, "short.five.example", DNS_A, 5000);
        CHECK(a.status == DNS_RECORDS && a.stale);
        CHECK(clock_mono_ms() - start < 12000);
    }
}

/* A server that has nothing and refers to the root: never records; no guess either when the cache has some.
 */
static void lame(void *arg) {
    struct setting *s = arg;
    CHECK(look_up(s, "ok.lame.example", DNS_A, 5000).status == DNS_RECORDS);
    atomic_store(&s->server.mode, SERVER_LAME);
    CHECK(look_up(s, "ok.lame.example", DNS_A, 5000).status == DNS_RECORDS);
    struct dns_answer a = look_up(s, "other.lame.example", DNS_A, 5000);
    CHECK(a.status != DNS_RECORDS && !a.nxdomain);
}

/* ---- time ---- */

static void slow(void *arg) {
    struct setting *s = arg;
    CHECK(look_up(s, "slow.six.example", DNS_A, 30).status == DNS_FAILED); /* not the answer after 250 ms */
    for (int i = 0; i < 400 && look_up(s, "slow.six.example", DNS_A, 30).status != DNS_RECORDS; i++)
        fiber_sleep(20); /* the query goes on, and its answer serves the next one */
    fiber_sleep(500);    /* had it been sent twice, that one is over too */
    int asked = atomic_load(&s->server.asked);
    CHECK(look_up(s, "slow.six.example", DNS_A, 50).status == DNS_RECORDS);
    CHECK(atomic_load(&s->server.asked) == asked);
}

static void dead(void *arg) {
    struct setting *s = arg;
    int64_t start = clock_mono_ms();
    struct dns_answer a = look_up(s, "ok.seven.example", DNS_A, 700);
    CHECK(a.status == DNS_FAILED && a.why.len);
    CHECK(clock_mono_ms() - start < 10000); /* libunbound would take 17 s */
}

struct asker {
    struct setting *s;
    int *left;
    struct waiters *done;
};

static void ask_once(void *arg) {
    struct asker *asker = arg;
    if (look_up(asker->s, "slow.eight.example", DNS_MX, 5000).status != DNS_RECORDS)
        rt_run_failed(__FILE__, __LINE__, "the answer");
    if (--*asker->left == 0)
        waiters_wake_all(asker->done);
}

/* A hundred who ask the same are one question. */
static void together(void *arg) {
    int left = 100;
    struct waiters done = {0};
    struct asker asker = {arg, &left, &done};
    for (int i = 0; i < 100; i++)
        CHECK(fiber_start(ask_once, &asker) == 0);
    while (left)
        CHECK(waiters_wait(&done, clock_mono_ms() + 30000) == 0);
    CHECK(atomic_load(&asker.s->server.asked) <= 3);
}

static void hot(void *arg) {
    struct setting *s = arg;
    enum { TIMES = 20000 };
    CHECK(look_up(s, "ok.nine.example", DNS_MX, 5000).status == DNS_RECORDS);
    clock_t start = clock(); /* processor time: the machine may be busy */
    for (int i = 0; i < TIMES; i++) {
        CHECK(look_up(s, "ok.nine.example", DNS_MX, 5000).status == DNS_RECORDS);
        arena_reset(s->arena);
    }
    double took = (double)(clock() - start) / CLOCKS_PER_SEC;
    fprintf(stderr, "a look-up from the cache: %.2f us\n", took * 1e6 / TIMES);
    CHECK(took < TIMES * 200e-6); /* 20 us, ten times that under sanitizers */
}

/* The bound of one look-up holds whatever the deadline is. */
static void impatient(void *arg) {
    struct setting *s = arg;
    int64_t start = clock_mono_ms();
    struct dns_answer a = look_up(s, "silent.twelve.example", DNS_A, 20000);
    CHECK(a.status == DNS_FAILED && str_eq(a.why, STR("no answer in time")));
    CHECK(clock_mono_ms() - start >= 300 && clock_mono_ms() - start < 15000);
    CHECK(look_up(s, "ok.one.example", DNS_A, 20000).status == DNS_RECORDS);
}

/* Closing with look-ups under way: they end as failures. */
static void ask_silent(void *arg) {
    struct asker *asker = arg;
    struct dns_answer a = look_up(asker->s, "silent.ten.example", DNS_A, 20000);
    if (a.status != DNS_FAILED)
        rt_run_failed(__FILE__, __LINE__, "closed");
    if (--*asker->left == 0)
        waiters_wake_all(asker->done);
}

static void closing(void *arg) {
    int left = 10;
    struct waiters done = {0};
    struct asker asker = {arg, &left, &done};
    for (int i = 0; i < 10; i++)
        CHECK(fiber_start(ask_silent, &asker) == 0);
    fiber_sleep(100);
    close_on_loop(arg);
    asker.s->resolver = NULL;
    while (left)
        CHECK(waiters_wait(&done, clock_mono_ms() + 15000) == 0);
}

/* ---- the zone file and the network ---- */

static const char zone_text[] = "; a zone\n"
                                "d.zone.example. IN MX 10 mx.zone.example.\n"
                                "mx.zone.example 60 A 127.0.0.7\n"
                                "out.zone.example. CNAME ok.eleven.example.\n"
                                "out2.zone.example. CNAME nx.eleven.example.\n"
                                "back.zone.example. CNAME d.zone.example.\n"
                                "broken.zone.example. CNAME servfail.eleven.example.\n";

static void zone(void *arg) {
    struct setting *s = arg;
    struct dns_answer a = look_up(s, "D.zone.example.", DNS_MX, 100);
    CHECK(a.status == DNS_RECORDS && a.count == 1 && str_eq(a.records[0].name, STR("mx.zone.example")));
    CHECK(a.ttl == 300);
    CHECK(look_up(s, "mx.zone.example", DNS_A, 100).ttl == 60);
    a = look_up(s, "ok.zone.example", DNS_A, 100);
    CHECK(a.status == DNS_NONE && a.nxdomain);
    a = look_up(s, "back.zone.example", DNS_MX, 100);
    CHECK(a.status == DNS_RECORDS && str_eq(a.canonical, STR("d.zone.example")));
    CHECK(atomic_load(&s->server.asked) == 0);
    a = look_up(s, "out.zone.example", DNS_MX, 5000);
    CHECK(a.status == DNS_RECORDS && a.count == 2 && str_eq(a.canonical, STR("ok.eleven.example")));
    a = look_up(s, "out2.zone.example", DNS_MX, 5000);
    CHECK(a.status == DNS_NONE && a.nxdomain);
    CHECK(look_up(s, "broken.zone.example", DNS_MX, 8000).status == DNS_FAILED);
    CHECK(look_up(s, "ok.eleven.example", DNS_A, 5000).status == DNS_RECORDS);
}

#define RUN_TEST(name, zone, dead) RUN_TIMED(name, zone, dead, 0)
#define RUN_TIMED(name, zone, dead, timeout_ms)                                                              \
    static void run_##name(void **state) {                                                                   \
        (void)state;                                                                                         \
        run(name, zone, dead, timeout_ms);                                                                   \
    }
RUN_TEST(answers, NULL, false)
RUN_TEST(chains, NULL, false)
RUN_TEST(rcodes, NULL, false)
RUN_TEST(gone, NULL, false)
RUN_TEST(bad_servers, NULL, false)
RUN_TEST(lame, NULL, false)
RUN_TEST(slow, NULL, false)
RUN_TEST(dead, NULL, true)
RUN_TEST(together, NULL, false)
RUN_TEST(hot, NULL, false)
RUN_TEST(closing, NULL, false)
RUN_TIMED(impatient, NULL, false, 300)
RUN_TEST(zone, zone_text, false)

static void test_settings(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct rt *rt;
    assert_int_equal(rt_new(1, 1, NULL, &rt), 0);
    static const char *const wrong[] = {"localhost",       "127.0.0.1:53", "127.0.0.1@0",
                                        "127.0.0.1@70000", "::1@x",        ""};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct str server = str_of(wrong[i]), why = STR_NULL;
        struct resolver *r;
        struct dns_settings settings = {.servers = &server, .server_count = 1};
        assert_int_equal(resolver_new(rt_worker(rt, 0), &settings, arena, &why, &r), SLUICE_EINVALID);
        assert_true(str_find(why, STR("IP@port")) > 0);
    }
    struct str why = STR_NULL;
    struct resolver *r;
    struct dns_settings settings = {.zone_file = "/nowhere/zone"};
    assert_true(resolver_new(rt_worker(rt, 0), &settings, arena, &why, &r) < 0);
    assert_true(str_find(why, STR("/nowhere/zone: No such file")) >= 0);
    settings = (struct dns_settings){.trust_anchor = "/nowhere/anchor"};
    assert_int_equal(resolver_new(rt_worker(rt, 0), &settings, arena, &why, &r), SLUICE_EINVALID);
    assert_true(str_find(why, STR("/nowhere/anchor")) >= 0);
    rt_free(rt);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings), cmocka_unit_test(run_answers),   cmocka_unit_test(run_chains),
        cmocka_unit_test(run_rcodes),    cmocka_unit_test(run_gone),      cmocka_unit_test(run_bad_servers),
        cmocka_unit_test(run_lame),      cmocka_unit_test(run_slow),      cmocka_unit_test(run_dead),
        cmocka_unit_test(run_together),  cmocka_unit_test(run_hot),       cmocka_unit_test(run_closing),
        cmocka_unit_test(run_zone),      cmocka_unit_test(run_impatient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
