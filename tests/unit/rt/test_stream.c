#include "base/clock.h"
#include "base/error.h"
#include "rt/stream.h"
#include "rt_run.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t soon(void) { return clock_mono_ms() + 30000; }

/* Reads until `len` bytes are in the input; 0 or the error. */
static int need(struct stream *s, size_t len) {
    int e = 0;
    while (!e && stream_input(s).len < len)
        e = stream_fill(s, soon());
    return e;
}

/* ---- memory, outside fibers ---- */

static void memory(void **state) {
    (void)state;
    struct buf out = {0};
    struct stream *s = stream_memory(STR("EHLO a\r\nQUIT\r\n"), &out);
    assert_int_equal(stream_input(s).len, 0);
    assert_int_equal(stream_fill(s, 0), 0);
    assert_true(str_eq(stream_input(s), STR("EHLO a\r\nQUIT\r\n")));
    stream_consume(s, 8);
    assert_true(str_eq(stream_input(s), STR("QUIT\r\n")));
    assert_int_equal(stream_fill(s, 0), SLUICE_ECLOSED);
    assert_int_equal(stream_fill(s, 0), SLUICE_ECLOSED);
    assert_true(str_eq(stream_input(s), STR("QUIT\r\n"))); /* an error takes nothing away */
    stream_consume(s, 1000);
    assert_int_equal(stream_input(s).len, 0);
    assert_int_equal(stream_write(s, STR("250 "), 0), 0); /* a last reply after the end of input */
    assert_int_equal(stream_write(s, STR("OK\r\n"), 0), 0);
    assert_int_equal(out.len, 0); /* gathers until the flush */
    assert_int_equal(stream_flush(s, 0), 0);
    assert_true(str_eq(buf_view(&out), STR("250 OK\r\n")));
    assert_int_equal(stream_fd(s), -1);
    struct ip ip;
    uint16_t port;
    assert_false(stream_peer(s, &ip, &port));
    assert_false(stream_local(s, &ip, &port));
    assert_null(stream_tls_version(s));
    assert_null(stream_free(s));
    assert_null(stream_free(NULL));
    buf_free(&out);
}

static void full_input(void **state) {
    (void)state;
    enum { BIG = 200 * 1024 };
    char *big = malloc(BIG);
    memset(big, 'x', BIG);
    struct stream *s = stream_memory(str_from(big, BIG), NULL);
    int e;
    while ((e = stream_fill(s, 0)) == 0)
        ;
    assert_int_equal(e, SLUICE_EFULL);
    assert_int_equal(stream_input(s).len, 64 * 1024);
    stream_consume(s, 10); /* FULL is no error of the stream: with room it goes on */
    assert_int_equal(stream_fill(s, 0), 0);
    assert_int_equal(stream_input(s).len, 64 * 1024);
    size_t seen = 10;
    do {
        seen += stream_input(s).len;
        stream_consume(s, stream_input(s).len);
    } while (stream_fill(s, 0) == 0);
    assert_int_equal(seen, BIG);
    stream_free(s);
    free(big);
}

/* The same bytes come out whatever the sizes of the writes. */
static void write_sizes(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 7, 4096, 16384, 16385, 3, 100000, 0, 16383, 2, 40000};
    struct buf out = {0}, all = {0};
    struct stream *s = stream_memory(STR(""), &out);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t start = all.len;
        for (size_t j = 0; j < sizes[i]; j++)
            buf_char(&all, (char)(start + j * 31));
        assert_int_equal(stream_write(s, str_from(all.at + start, sizes[i]), 0), 0);
        assert_true(all.len - out.len <= 16384);
    }
    assert_int_equal(stream_flush(s, 0), 0);
    assert_true(str_eq(buf_view(&all), buf_view(&out)));
    stream_free(s);
    buf_free(&out);
    buf_free(&all);
}

/* ---- faults at every byte ---- */

static void faults(void **state) {
    (void)state;
    const struct str text = STR("MAIL FROM:<a@example.com>\r\n");
    for (size_t n = 0; n <= text.len + 1; n++) {
        for (size_t piece = 0; piece < 4; piece++) {
            struct buf out = {0};
            struct stream *s = stream_faulty(stream_memory(text, &out), n, n, piece, SLUICE_EIO);
            int e;
            size_t before = 0;
            while ((e = stream_fill(s, 0)) == 0) {
                assert_true(!piece || stream_input(s).len - before <= piece);
                before = stream_input(s).len;
            }
            size_t most = n < text.len ? n : text.len;
            assert_int_equal(e, n <= text.len ? SLUICE_EIO : SLUICE_ECLOSED);
            assert_true(str_eq(stream_input(s), str_head(text, most)));
            assert_int_equal(stream_write(s, text, 0), 0);
            assert_int_equal(stream_flush(s, 0), n < text.len ? SLUICE_EIO : 0);
            assert_true(str_eq(buf_view(&out), str_head(text, most)));
            if (n < text.len)
                assert_int_equal(stream_write(s, text, 0), SLUICE_EIO);
            stream_free(s);
            buf_free(&out);
        }
    }
}

/* ---- a pair ---- */

struct copying {
    struct stream *stream;
    size_t bytes;
    int error;
    bool ended;
    struct waiters done;
};

static void echo(void *arg) {
    struct copying *c = arg;
    while (!c->error) {
        struct str in = stream_input(c->stream);
        c->bytes += in.len;
        c->error = stream_write(c->stream, in, soon());
        stream_consume(c->stream, in.len);
        if (!c->error)
            c->error = stream_flush(c->stream, soon());
        if (!c->error)
            c->error = stream_fill(c->stream, soon());
    }
    stream_free(c->stream);
    c->ended = true;
    waiters_wake_all(&c->done);
}

static void pair(void *arg) {
    (void)arg;
    struct stream *a, *b;
    stream_pair(&a, &b);
    struct copying c = {.stream = b};
    CHECK(fiber_start(echo, &c) == 0);
    for (int i = 0; i < 100; i++) {
        CHECK(stream_write(a, STR("NOOP\r\n"), soon()) == 0);
        CHECK(stream_flush(a, soon()) == 0);
        CHECK(need(a, 6) == 0);
        CHECK(str_eq(stream_input(a), STR("NOOP\r\n")));
        stream_consume(a, 6);
    }
    stream_free(a);
    while (!c.ended)
        CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
    CHECK(c.error == SLUICE_ECLOSED && c.bytes == 600);
}

struct sink {
    struct stream *stream;
    uint64_t sum;
    size_t bytes;
    int error;
    bool ended;
    struct waiters done;
};

static void drain(void *arg) {
    struct sink *k = arg;
    while ((k->error = stream_fill(k->stream, soon())) == 0) {
        struct str in = stream_input(k->stream);
        for (size_t i = 0; i < in.len; i++)
            k->sum = k->sum * 31 + (unsigned char)in.at[i];
        k->bytes += in.len;
        stream_consume(k->stream, in.len);
    }
    stream_free(k->stream);
    k->ended = true;
    waiters_wake_all(&k->done);
}

/* Pushes megabytes through; the reader gets all of it in order, then the end. */
static void push(struct stream *from, struct stream *to) {
    enum { TOTAL = 3 * 1024 * 1024 };
    char *bytes = malloc(TOTAL);
    uint64_t sum = 0;
    for (size_t i = 0; i < TOTAL; i++) {
        bytes[i] = (char)(i * 2654435761u >> 13);
        sum = sum * 31 + (unsigned char)bytes[i];
    }
    struct sink k = {.stream = to};
    CHECK(fiber_start(drain, &k) == 0);
    static const size_t sizes[] = {100, 70000, 16384, 1, 300000};
    for (size_t at = 0, i = 0; at < TOTAL; i++) {
        size_t n = sizes[i % COUNT(sizes)];
        if (n > TOTAL - at)
            n = TOTAL - at;
        CHECK(stream_write(from, str_from(bytes + at, n), soon()) == 0);
        at += n;
    }
    CHECK(stream_flush(from, soon()) == 0);
    stream_free(from);
    while (!k.ended)
        CHECK(waiters_wait(&k.done, INT64_MAX) == 0);
    CHECK(k.error == SLUICE_ECLOSED && k.bytes == TOTAL && k.sum == sum);
    free(bytes);
}

static void bulk_pair(void *arg) {
    (void)arg;
    struct stream *a, *b;
    stream_pair(&a, &b);
    push(a, b);
}

static bool socket_pair(struct stream **ret_a, struct stream **ret_b) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return false;
    *ret_a = stream_of_fd(fds[0]);
    *ret_b = stream_of_fd(fds[1]);
    return true;
}

static void bulk_socket(void *arg) {
    (void)arg;
    struct stream *a, *b;
    CHECK(socket_pair(&a, &b));
    push(a, b);
}

static void write_to_closed(void *arg) {
    (void)arg;
    struct stream *a, *b;
    for (int i = 0; i < 2; i++) {
        if (i)
            stream_pair(&a, &b);
        else
            CHECK(socket_pair(&a, &b));
        stream_free(b);
        CHECK(stream_write(a, STR("x"), soon()) == 0);
        CHECK(stream_flush(a, soon()) == SLUICE_ECLOSED);
        CHECK(stream_write(a, STR("x"), soon()) == SLUICE_ECLOSED);
        CHECK(stream_fill(a, soon()) == SLUICE_ECLOSED);
        stream_free(a);
    }
}

/* ---- deadlines, rates, cancelling ---- */

static void deadlines(void *arg) {
    (void)arg;
    char big[1000] = {0};
    for (int i = 0; i < 2; i++) {
        struct stream *a, *b;
        if (i)
            stream_pair(&a, &b);
        else
            CHECK(socket_pair(&a, &b));
        int64_t start = clock_mono_ms();
        CHECK(stream_fill(a, start + 20) == SLUICE_ETIMEOUT);
        CHECK(clock_mono_ms() >= start + 20);
        CHECK(stream_fill(a, soon()) == SLUICE_ETIMEOUT); /* it stays */
        CHECK(stream_write(a, STR("421 too slow\r\n"), soon()) == 0);
        CHECK(stream_flush(a, soon()) == 0); /* a last word is possible */
        CHECK(need(b, 14) == 0);
        int e = 0;
        start = clock_mono_ms();
        while (!e) /* nobody reads */
            e = stream_write(a, str_from(big, sizeof big), start + 50);
        CHECK(e == SLUICE_ETIMEOUT && clock_mono_ms() >= start + 50);
        CHECK(stream_flush(a, soon()) == SLUICE_ETIMEOUT);
        stream_free(a);
        stream_free(b);
    }
}

struct trickle {
    struct stream *stream;
    int64_t pause;
    int bytes;
    bool ended;
    struct waiters done;
};

static void trickling(void *arg) {
    struct trickle *t = arg;
    int e = 0;
    for (int i = 0; !e && i < t->bytes; i++) {
        e = stream_write(t->stream, STR("x"), soon());
        if (!e)
            e = stream_flush(t->stream, soon());
        if (!e)
            e = fiber_sleep(t->pause);
    }
    stream_free(t->stream);
    t->ended = true;
    waiters_wake_all(&t->done);
}

/* A byte now and then keeps no session alive under a minimum rate; the same bytes do without one. */
static void min_rate_read(void *arg) {
    (void)arg;
    static const struct {
        size_t rate;
        int64_t window;
        int expected;
    } cases[] = {{20, 40, SLUICE_ETIMEOUT}, {1, 400, SLUICE_ECLOSED}, {0, 0, SLUICE_ECLOSED}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stream *a, *b;
        CHECK(socket_pair(&a, &b));
        struct trickle t = {.stream = b, .pause = 5, .bytes = 40};
        CHECK(fiber_start(trickling, &t) == 0);
        stream_set_min_rate(a, cases[i].rate, cases[i].window);
        int e;
        while ((e = stream_fill(a, soon())) == 0)
            ;
        CHECK(e == cases[i].expected);
        CHECK(e != SLUICE_ECLOSED || stream_input(a).len == 40);
        stream_free(a);
        while (!t.ended)
            CHECK(waiters_wait(&t.done, INT64_MAX) == 0);
    }
}

/* Silence ends after one window, long before the deadline. */
static void min_rate_silence(void *arg) {
    (void)arg;
    for (int writing = 0; writing < 2; writing++) {
        struct stream *a, *b;
        CHECK(socket_pair(&a, &b));
        stream_set_min_rate(a, 1, 30);
        char big[1000] = {0};
        int e = 0;
        while (!e)
            e = writing ? stream_write(a, str_from(big, sizeof big), clock_mono_ms() + 60000)
                        : stream_fill(a, clock_mono_ms() + 60000);
        CHECK(e == SLUICE_ETIMEOUT);
        stream_free(a);
        stream_free(b);
    }
}

struct reading {
    struct stream *stream;
    struct fiber *fiber;
    int first, second;
    bool ended;
    struct waiters done;
};

static void reader(void *arg) {
    struct reading *r = arg;
    r->fiber = fiber_self();
    r->first = stream_fill(r->stream, INT64_MAX);
    r->second = stream_fill(r->stream, INT64_MAX);
    r->ended = true;
    waiters_wake_all(&r->done);
}

static void cancelling(void *arg) {
    (void)arg;
    struct stream *a, *b;
    CHECK(socket_pair(&a, &b));
    struct reading r = {.stream = a};
    CHECK(fiber_start(reader, &r) == 0);
    while (!r.fiber)
        CHECK(fiber_yield() == 0);
    fiber_cancel(r.fiber);
    while (!r.ended)
        CHECK(waiters_wait(&r.done, INT64_MAX) == 0);
    CHECK(r.first == SLUICE_ECANCELLED && r.second == SLUICE_ECANCELLED);
    stream_free(a);
    stream_free(b);
}

/* One fiber reads while another writes on the same stream; a stream that never runs dry lets others run. */
struct flood {
    struct stream *stream;
    struct fiber *fiber;
    size_t bytes;
    int error;
};

static void flood(void *arg) {
    struct flood *f = arg;
    f->fiber = fiber_self();
    while ((f->error = stream_fill(f->stream, INT64_MAX)) == 0) {
        f->bytes += stream_input(f->stream).len;
        stream_consume(f->stream, stream_input(f->stream).len);
    }
}

static void fairness(void *arg) {
    (void)arg;
    size_t size = 64 * 1024 * 1024;
    char *big = calloc(1, size);
    struct flood f = {.stream =
                          stream_faulty(stream_memory(str_from(big, size), NULL), SIZE_MAX, SIZE_MAX, 64, 0)};
    CHECK(fiber_start(flood, &f) == 0);
    while (!f.fiber)
        CHECK(fiber_yield() == 0);
    CHECK(f.error == 0 && f.bytes < size / 2);
    fiber_cancel(f.fiber);
    while (!f.error)
        CHECK(fiber_yield() == 0);
    CHECK(f.error == SLUICE_ECANCELLED && f.bytes < size);
    stream_free(f.stream);
    free(big);
}

RT_RUN_TEST(pair)
RT_RUN_TEST(bulk_pair)
RT_RUN_TEST(bulk_socket)
RT_RUN_TEST(write_to_closed)
RT_RUN_TEST(deadlines)
RT_RUN_TEST(min_rate_read)
RT_RUN_TEST(min_rate_silence)
RT_RUN_TEST(cancelling)
RT_RUN_TEST(fairness)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory),
        cmocka_unit_test(full_input),
        cmocka_unit_test(write_sizes),
        cmocka_unit_test(faults),
        cmocka_unit_test(run_pair),
        cmocka_unit_test(run_bulk_pair),
        cmocka_unit_test(run_bulk_socket),
        cmocka_unit_test(run_write_to_closed),
        cmocka_unit_test(run_deadlines),
        cmocka_unit_test(run_min_rate_read),
        cmocka_unit_test(run_min_rate_silence),
        cmocka_unit_test(run_cancelling),
        cmocka_unit_test(run_fairness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
