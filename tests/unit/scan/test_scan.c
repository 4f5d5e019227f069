/* The service against scanners of the test's own: who is asked, who rests, how long it takes. */
#include "base/clock.h"
#include "rt/net.h"
#include "rt_run.h"
#include "scan/service.h"
#include <stdlib.h>

enum behaviour {
    CLEAN,   /* answers, and keeps the connection */
    CLOSING, /* answers, and closes */
    SILENT,  /* takes the message and says nothing */
    GARBAGE,
    HUGE,
    HALF,    /* closes in the middle of its answer */
    HANGUP,  /* closes at once */
    TOO_BIG, /* 413 */
    DENIED,  /* 403 */
    SPAMD,
};

struct fake {
    _Atomic enum behaviour behaviour;
    _Atomic unsigned connections, requests, at_once, most, live;
    uint16_t port;
    struct net_acceptor *acceptor;
};

static const char CLEAN_BODY[] =
    "{\"score\":1.5,\"required_score\":15,\"action\":\"no action\",\"symbols\":{}}";

static void say(struct stream *s, const char *text) {
    if (stream_write(s, str_of(text), clock_mono_ms() + 5000) == 0)
        (void)stream_flush(s, clock_mono_ms() + 5000);
}

static void answer(struct fake *f, struct stream *s) {
    char text[300];
    switch (f->behaviour) {
    case CLEAN:
    case CLOSING:
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n%s",
                 f->behaviour == CLOSING ? "Connection: close\r\n" : "", strlen(CLEAN_BODY), CLEAN_BODY);
        say(s, text);
        break;
    case GARBAGE:
        say(s, "220 mail.example.com ESMTP\r\n\r\n");
        break;
    case HUGE:
        say(s, "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n{");
        break;
    case HALF:
        say(s, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"score\":1");
        break;
    case TOO_BIG:
        say(s, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        break;
    case DENIED:
        say(s, "HTTP/1.1 403 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        break;
    case SPAMD:
        say(s, "SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; 9.0 / 5.0\r\n\r\nGTUBE");
        break;
    default:
        break;
    }
}

/* Reads one request with its body; false at the end. */
static bool take(struct stream *s, bool *ret_ping) {
    int64_t deadline = clock_mono_ms() + 20000;
    ptrdiff_t end;
    while ((end = str_find(stream_input(s), STR("\r\n\r\n"))) < 0)
        if (stream_fill(s, deadline) != 0)
            return false;
    struct str head = str_head(stream_input(s), (size_t)end);
    *ret_ping = str_starts(head, STR("GET /ping")) || str_starts(head, STR("PING"));
    ptrdiff_t at = str_find_nocase(head, STR("content-length: "));
    size_t left = at < 0 ? 0 : strtoul(head.at + at + 16, NULL, 10);
    stream_consume(s, (size_t)end + 4);
    while (left) {
        size_t len = stream_input(s).len < left ? stream_input(s).len : left;
        stream_consume(s, len);
        left -= len;
        if (left && stream_fill(s, deadline) != 0)
            return false;
    }
    return true;
}

static void serve(void *arg, struct stream *s) {
    struct fake *f = arg;
    bool ping = false;
    f->connections++;
    f->live++;
    while (f->behaviour != HANGUP && take(s, &ping)) {
        if (ping) {
            say(s, f->behaviour == SPAMD ? "SPAMD/1.5 0 PONG\r\n"
                                         : "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npong\r\n");
            break;
        }
        f->requests++;
        if (++f->at_once > f->most)
            f->most = f->at_once;
        if (f->behaviour == SILENT)
            (void)stream_fill(s, clock_mono_ms() + 20000);
        else
            answer(f, s);
        f->at_once--;
        if (f->behaviour != CLEAN && f->behaviour != TOO_BIG && f->behaviour != DENIED)
            break;
    }
    stream_free(s);
    f->live--;
}

static void open_fake(struct fake *f, enum behaviour behaviour) {
    struct ip here;
    int fd;
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    ip_parse(STR("127.0.0.1"), &here);
    *f = (struct fake){.behaviour = behaviour};
    if (net_listen(&here, 0, &fd) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        abort();
    f->port = ntohs(a.sin_port);
    f->acceptor = net_accept(worker_rt(worker_self()), fd, serve, f, STR(""));
}

struct bench {
    struct fake fakes[3];
    struct scanner_settings scanners[3];
    struct scan_settings settings;
    struct scan_service *service;
    struct arena *arena;
    struct scan_copy_place place;
    struct scan_copy *copy;
    _Atomic int downs, ups;
};

static void changed(void *arg, const struct scan_health *h) {
    struct bench *b = arg;
    h->up ? b->ups++ : b->downs++;
}

static void open_bench(struct bench *b, size_t count, const enum behaviour *behaviours) {
    static const char *const names[] = {"one", "two", "three"};
    *b = (struct bench){.arena = arena_new(0), .settings = {.count = count, .timeout_ms = 3000}};
    struct scan_watcher watcher = {.changed = changed, .arg = b};
    for (size_t i = 0; i < count; i++) {
        open_fake(&b->fakes[i], behaviours[i]);
        struct scanner_settings *s = &b->scanners[i];
        *s = (struct scanner_settings){.name = str_of(names[i]), .connections = 4, .max_size = 1 << 20};
        s->kind = behaviours[i] == SPAMD ? SCANNER_SPAMD : SCANNER_RSPAMD;
        if (!scan_endpoint_parse(b->arena, str_printf(b->arena, "127.0.0.1:%u", b->fakes[i].port), 0, &s->at))
            abort();
    }
    static const struct str spam[] = {{"spam", 4}};
    b->settings.scanners = b->scanners;
    b->settings.spam_actions = spam;
    b->settings.spam_action_count = 1;
    b->service = scan_service_new(rt_count(worker_rt(worker_self())) + 1, &watcher);
    scan_service_configure(b->service, &b->settings);
    b->copy = scan_copy_new(&b->place);
    if (scan_copy_add(b->copy, STR("Subject: x\r\n\r\nhello\r\n")) != 0)
        abort();
}

/* The fibers that ping are the service's own. */
static bool probes(struct scan_service *service) {
    bool any = false;
    pthread_mutex_lock(&service->lock);
    for (struct scanner_state *s = service->states; s; s = s->next)
        any |= s->probing;
    pthread_mutex_unlock(&service->lock);
    return any;
}

static void close_bench(struct bench *b) {
    b->settings.count = 0;
    scan_service_configure(b->service, &b->settings); /* ends the probes */
    for (int i = 0; i < 3; i++)
        if (b->fakes[i].acceptor)
            net_accept_stop(b->fakes[i].acceptor);
    while (probes(b->service))
        fiber_sleep(5);
    scan_copy_free(b->copy);
    scan_service_free(b->service);
    arena_free(b->arena);
    for (int i = 0; i < 3; i++)
        while (b->fakes[i].live)
            fiber_sleep(1);
}

static struct scan_result ask(struct bench *b) {
    struct scan_result r;
    struct scan_facts facts = {.trace_id = STR("T"), .received = STR("Received: x\r\n")};
    scan_message(b->service, &b->settings, NULL, &facts, b->copy, b->arena, &r);
    return r;
}

static struct scan_health health(struct bench *b, size_t at) {
    struct scan_health *list;
    size_t count;
    scan_service_health(b->service, b->arena, &list, &count);
    return at < count ? list[at] : (struct scan_health){0};
}

/* ---- */

static void keeps_connections(void *arg) {
    (void)arg;
    struct bench b;
    open_bench(&b, 1, (enum behaviour[]){CLEAN});
    for (int i = 0; i < 5; i++)
        CHECK(!ask(&b).failed);
    CHECK(b.fakes[0].connections == 1 && b.fakes[0].requests == 5);
    b.fakes[0].behaviour = CLOSING;
    for (int i = 0; i < 3; i++)
        CHECK(!ask(&b).failed);
    CHECK(b.fakes[0].connections == 3);
    CHECK(health(&b, 0).requests == 8 && health(&b, 0).failures == 0 && health(&b, 0).connections == 3);
    close_bench(&b);
}

static const struct {
    enum behaviour behaviour;
    const char *why;
} failures[] = {
    {SILENT, "it did not answer in time"},
    {GARBAGE, "its answer is broken: its first line is no HTTP status"},
    {HUGE, "its answer is broken: it is too long"},
    {HALF, "it closed the connection"},
    {HANGUP, "it closed the connection"},
    {TOO_BIG, "it answered with HTTP status 413"},
    {DENIED, "it answered with HTTP status 403"},
};

static void says_what_failed(void *arg) {
    (void)arg;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct bench b;
        open_bench(&b, 1, &failures[i].behaviour);
        b.settings.timeout_ms = failures[i].behaviour == SILENT ? 300 : 30000;
        struct scan_result r = ask(&b);
        CHECK(r.failed && !r.too_large);
        CHECK(str_starts(r.why, STR("one (rspamd 127.0.0.1:")));
        CHECK(str_ends(r.why, str_of(failures[i].why)));
        CHECK(health(&b, 0).failures == 1);
        close_bench(&b);
    }
}

/* One that fails costs its share of the time, and the next one answers. */
static void fails_over(void *arg) {
    (void)arg;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct bench b;
        open_bench(&b, 2, (enum behaviour[]){failures[i].behaviour, SPAMD});
        b.settings.timeout_ms = 6000;
        int64_t started = clock_mono_ms();
        struct scan_result r = ask(&b);
        CHECK(!r.failed && str_eq(r.scanner, STR("two")) && r.verdict == SCAN_SPAM && r.score == 9);
        CHECK(clock_mono_ms() - started < 5900);
        close_bench(&b);
    }
}

static void refused_port(void *arg) {
    (void)arg;
    struct bench b;
    open_bench(&b, 2, (enum behaviour[]){CLEAN, CLEAN});
    net_accept_stop(b.fakes[0].acceptor);
    b.fakes[0].acceptor = NULL;
    for (int i = 0; i < 200 && str_eq(ask(&b).scanner, STR("one")); i++)
        fiber_sleep(5);
    struct scan_result r = ask(&b);
    CHECK(!r.failed && str_eq(r.scanner, STR("two")));
    close_bench(&b);
}

/* Three failures, and nobody waits for it; a ping brings it back; the first failure then trips it again. */
static void rests_and_returns(void *arg) {
    (void)arg;
    struct bench b;
    open_bench(&b, 1, (enum behaviour[]){GARBAGE});
    for (int i = 0; i < 3; i++)
        CHECK(ask(&b).failed);
    CHECK(b.downs == 1 && !health(&b, 0).up);
    unsigned requests = b.fakes[0].requests;
    struct scan_result r = ask(&b);
    CHECK(r.failed && str_find(r.why, STR("rests since")) >= 0 && b.fakes[0].requests == requests);
    for (int i = 0; i < 1000 && !b.ups; i++)
        fiber_sleep(10);
    CHECK(b.ups == 1 && health(&b, 0).up);
    CHECK(ask(&b).failed && b.downs == 2);
    b.fakes[0].behaviour = CLEAN;
    for (int i = 0; i < 1000 && b.ups == 1; i++)
        fiber_sleep(10);
    CHECK(b.ups == 2 && !ask(&b).failed && health(&b, 0).up);
    close_bench(&b);
}

/* What a scanner won't take says nothing about the scanner. */
static void message_is_not_scanner(void *arg) {
    (void)arg;
    struct bench b;
    open_bench(&b, 1, (enum behaviour[]){TOO_BIG});
    for (int i = 0; i < 10; i++)
        CHECK(ask(&b).failed);
    CHECK(health(&b, 0).up && health(&b, 0).failures == 10);
    b.scanners[0].max_size = 10;
    struct scan_result r = ask(&b);
    CHECK(r.failed && r.too_large && health(&b, 0).requests == 10);
    close_bench(&b);
}

struct crowd {
    struct bench b;
    unsigned left, good;
    struct waiters done;
};

static void one_of_many(void *arg) {
    struct crowd *c = arg;
    struct arena *arena = arena_new(0);
    struct scan_result r;
    struct scan_copy *copy = scan_copy_new(&c->b.place);
    struct scan_facts facts = {.trace_id = STR("T")};
    if (scan_copy_add(copy, STR("x")) == 0)
        scan_message(c->b.service, &c->b.settings, NULL, &facts, copy, arena, &r);
    c->good += !r.failed;
    scan_copy_free(copy);
    arena_free(arena);
    c->left--;
    waiters_wake_all(&c->done);
}

/* No more at a time than configured; the others wait, and get their answer. */
static void bounded(void *arg) {
    (void)arg;
    struct crowd c = {.left = 100};
    open_bench(&c.b, 1, (enum behaviour[]){CLEAN});
    for (int i = 0; i < 100; i++)
        CHECK(fiber_start(one_of_many, &c) == 0);
    while (c.left)
        CHECK(waiters_wait(&c.done, clock_mono_ms() + 20000) == 0);
    CHECK(c.good == 100 && c.b.fakes[0].requests == 100);
    CHECK(c.b.fakes[0].connections <= 4 && c.b.fakes[0].most <= 4);
    close_bench(&c.b);
}

/* With all its connections in use, the other one is asked. */
static void overflow(void *arg) {
    (void)arg;
    struct crowd c = {.left = 5};
    open_bench(&c.b, 2, (enum behaviour[]){SILENT, CLEAN});
    c.b.settings.timeout_ms = 1000;
    for (int i = 0; i < 5; i++)
        CHECK(fiber_start(one_of_many, &c) == 0);
    while (c.left > 4)
        CHECK(waiters_wait(&c.done, clock_mono_ms() + 20000) == 0);
    CHECK(c.good == 1 && c.b.fakes[0].requests == 4);
    while (c.left)
        CHECK(waiters_wait(&c.done, clock_mono_ms() + 20000) == 0);
    CHECK(c.good == 5);
    close_bench(&c.b);
}

RT_RUN_TEST(keeps_connections)
RT_RUN_TEST(says_what_failed)
RT_RUN_TEST(fails_over)
RT_RUN_TEST(refused_port)
RT_RUN_TEST(rests_and_returns)
RT_RUN_TEST(message_is_not_scanner)
RT_RUN_TEST(bounded)
RT_RUN_TEST(overflow)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_keeps_connections), cmocka_unit_test(run_says_what_failed),
        cmocka_unit_test(run_fails_over),        cmocka_unit_test(run_refused_port),
        cmocka_unit_test(run_rests_and_returns), cmocka_unit_test(run_message_is_not_scanner),
        cmocka_unit_test(run_bounded),           cmocka_unit_test(run_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
