#include "base/clock.h"
#include "base/error.h"
#include "rt/net.h"
#include "rt_run.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t soon(void) { return clock_mono_ms() + 30000; }

/* ---- certificates made here ---- */

static char folder[] = "/tmp/test_tls.XXXXXX";
static char certificate[64], key[64], other_key[64], locked_key[64];
static struct tls_context *server_context, *client_context;

static EVP_PKEY *write_key(const char *path, bool locked) {
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    FILE *f = fopen(path, "w");
    assert_true(pkey && f);
    assert_int_equal(PEM_write_PrivateKey(f, pkey, locked ? EVP_aes_128_cbc() : NULL,
                                          locked ? (const unsigned char *)"secret" : NULL, locked ? 6 : 0,
                                          NULL, NULL),
                     1);
    fclose(f);
    return pkey;
}

static void write_certificate(const char *path, EVP_PKEY *pkey) {
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, pkey);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"mx.example.com", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, pkey, EVP_sha256()));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    X509_free(x);
}

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(other_key, sizeof other_key, "%s/other.pem", folder);
    snprintf(locked_key, sizeof locked_key, "%s/locked.pem", folder);
    EVP_PKEY *pkey = write_key(key, false);
    write_certificate(certificate, pkey);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(write_key(other_key, false));
    EVP_PKEY_free(write_key(locked_key, true));
    struct arena *arena = arena_new(0);
    struct str why = {0};
    assert_int_equal(tls_server_context(certificate, key, arena, &why, &server_context), 0);
    assert_int_equal(tls_client_context(&client_context), 0);
    arena_free(arena);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_null(tls_context_free(server_context));
    tls_context_free(client_context);
    tls_context_free(NULL);
    const char *files[] = {certificate, key, other_key, locked_key};
    for (size_t i = 0; i < COUNT(files); i++)
        unlink(files[i]);
    rmdir(folder);
    return 0;
}

static void bad_files(void **state) {
    (void)state;
    const struct {
        const char *certificate, *key, *says;
    } cases[] = {
        {"/nowhere/cert.pem", key, "/nowhere/cert.pem"},
        {certificate, "/nowhere/key.pem", "/nowhere/key.pem"},
        {key, key, "certificate"},
        {certificate, certificate, "key"},
        {certificate, other_key, "fit"},
        {certificate, locked_key, "locked.pem"},
        {"/", key, "certificate /"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str why = {0};
        struct tls_context *c = NULL;
        assert_int_equal(tls_server_context(cases[i].certificate, cases[i].key, arena, &why, &c),
                         SLUICE_ETLS);
        assert_null(c);
        if (str_find(why, str_of(cases[i].says)) < 0)
            fail_msg("case %zu: \"%.*s\"", i, STR_FMT(why));
        arena_free(arena);
    }
}

/* ---- both ends ---- */

struct peer {
    struct stream *stream;
    int handshake, error;
    uint64_t sum;
    size_t bytes;
    const char *version;
    bool ended;
    struct waiters done;
};

/* Shakes hands and echoes until the end. */
static void server(void *arg) {
    struct peer *p = arg;
    p->handshake = stream_start_tls(p->stream, server_context, STR_NULL, soon(), NULL, NULL);
    p->error = p->handshake;
    p->version = stream_tls_version(p->stream);
    while (!p->error) {
        struct str in = stream_input(p->stream);
        p->bytes += in.len;
        p->error = stream_write(p->stream, in, soon());
        stream_consume(p->stream, in.len);
        if (!p->error)
            p->error = stream_flush(p->stream, soon());
        if (!p->error)
            p->error = stream_fill(p->stream, soon());
    }
    stream_free(p->stream);
    p->ended = true;
    waiters_wake_all(&p->done);
}

static int ask(struct stream *s, struct str question) {
    int e = stream_write(s, question, soon());
    if (!e)
        e = stream_flush(s, soon());
    while (!e && stream_input(s).len < question.len)
        e = stream_fill(s, soon());
    if (!e && !str_eq(stream_input(s), question))
        e = SLUICE_ECORRUPT;
    stream_consume(s, question.len);
    return e;
}

static void exchange(struct stream *a, struct stream *b) {
    struct peer p = {.stream = b};
    struct arena *arena = arena_new(0);
    struct str why = {0};
    CHECK(fiber_start(server, &p) == 0);
    CHECK(stream_start_tls(a, client_context, STR("mx.example.com"), soon(), arena, &why) == 0);
    CHECK(strcmp(stream_tls_version(a), "TLSv1.3") == 0);
    CHECK(strncmp(stream_tls_cipher(a), "TLS_", 4) == 0);
    CHECK(stream_start_tls(a, client_context, STR_NULL, soon(), arena, &why) == SLUICE_EINVALID);
    for (int i = 0; i < 20; i++)
        CHECK(ask(a, STR("EHLO client.example\r\n")) == 0);
    enum { BIG = 50000 };
    char *big = arena_alloc(arena, BIG);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)(i * 7);
    CHECK(ask(a, str_from(big, BIG)) == 0);
    stream_free(a);
    while (!p.ended)
        CHECK(waiters_wait(&p.done, INT64_MAX) == 0);
    CHECK(p.handshake == 0 && p.error == SLUICE_ECLOSED);
    CHECK(p.bytes == 20 * 21 + BIG);
    arena_free(arena);
}

static void both_ends_memory(void *arg) {
    (void)arg;
    struct stream *a, *b;
    stream_pair(&a, &b);
    exchange(a, b);
}

static void both_ends_pieces(void *arg) {
    (void)arg;
    struct stream *a, *b;
    stream_pair(&a, &b);
    exchange(stream_faulty(a, SIZE_MAX, SIZE_MAX, 1, 0), stream_faulty(b, SIZE_MAX, SIZE_MAX, 3, 0));
}

static void both_ends_socket(void *arg) {
    (void)arg;
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    exchange(stream_of_fd(fds[0]), stream_of_fd(fds[1]));
}

/* A connection that breaks at any byte of the handshake or after it: an error on both ends, no hang, no leak.
 */
static void broken_anywhere(void *arg) {
    (void)arg;
    int failed = 0, worked = 0;
    for (size_t n = 0; n < 4000; n += n < 20 ? 1 : 37) {
        struct stream *a, *b;
        stream_pair(&a, &b);
        a = stream_faulty(a, n, SIZE_MAX, 0, SLUICE_ECLOSED);
        b = stream_faulty(b, SIZE_MAX, n, 0, SLUICE_EIO);
        struct peer p = {.stream = b};
        CHECK(fiber_start(server, &p) == 0);
        int e = stream_start_tls(a, client_context, STR("mx"), soon(), NULL, NULL);
        CHECK(e == 0 || e == SLUICE_ECLOSED);
        for (int i = 0; !e && i < 100; i++)
            e = ask(a, STR("a question that takes a few bytes\r\n"));
        CHECK(e == SLUICE_ECLOSED || e == 0);
        e ? failed++ : worked++;
        stream_free(a);
        while (!p.ended)
            CHECK(waiters_wait(&p.done, INT64_MAX) == 0);
        CHECK(p.error);
    }
    CHECK(failed > 50);
    (void)worked;
}

/* ---- who talks no TLS ---- */

static void garbage(void *arg) {
    (void)arg;
    struct arena *arena = arena_new(0);
    for (int is_server = 0; is_server < 2; is_server++) {
        struct stream *a, *b;
        struct str why = {0};
        stream_pair(&a, &b);
        CHECK(stream_write(b, STR("220 I talk no TLS at all, dear client\r\n"), soon()) == 0);
        CHECK(stream_flush(b, soon()) == 0);
        CHECK(stream_start_tls(a, is_server ? server_context : client_context, STR("mx"), soon(), arena,
                               &why) == SLUICE_ETLS);
        CHECK(why.len > 5);
        CHECK(stream_fill(a, soon()) == SLUICE_ETLS && stream_flush(a, soon()) == SLUICE_ETLS);
        CHECK(stream_tls_version(a) == NULL && stream_tls_cipher(a) == NULL);
        stream_free(a);
        stream_free(b);
    }
    arena_free(arena);
}

/* Bytes in the buffer before the handshake (RFC 3207 6): never taken as part of it, nor kept. */
static void bytes_before(void *arg) {
    (void)arg;
    struct stream *a, *b;
    stream_pair(&a, &b);
    CHECK(stream_write(b, STR("STARTTLS\r\nMAIL FROM:<x@y>\r\n"), soon()) == 0 &&
          stream_flush(b, soon()) == 0);
    CHECK(stream_fill(a, soon()) == 0);
    stream_consume(a, 10);
    CHECK(stream_start_tls(a, server_context, STR_NULL, soon(), NULL, NULL) == SLUICE_EINVALID);
    stream_free(a);
    stream_free(b);
}

static void silent_peer(void *arg) {
    (void)arg;
    struct stream *a, *b;
    stream_pair(&a, &b);
    int64_t start = clock_mono_ms();
    CHECK(stream_start_tls(a, client_context, STR("mx"), start + 30, NULL, NULL) == SLUICE_ETIMEOUT);
    CHECK(clock_mono_ms() >= start + 30);
    stream_free(a);
    stream_free(b);
}

static void old_client(void *arg) {
    (void)arg;
    /* A ClientHello of TLS 1.0: our server wants 1.2. */
    static const char hello[] = "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01"
                                "0123456789abcdef0123456789abcdef\x00\x00\x02\x00\x2f\x01\x00";
    struct arena *arena = arena_new(0);
    struct str why = {0};
    struct stream *a, *b;
    stream_pair(&a, &b);
    CHECK(stream_write(b, str_from(hello, sizeof hello - 1), soon()) == 0 && stream_flush(b, soon()) == 0);
    CHECK(stream_start_tls(a, server_context, STR_NULL, soon(), arena, &why) == SLUICE_ETLS);
    CHECK(str_find_nocase(why, STR("protocol")) >= 0);
    stream_free(a);
    stream_free(b);
    arena_free(arena);
}

/* A reload drops its context while connections still use it. */
static void context_goes_first(void *arg) {
    (void)arg;
    struct arena *arena = arena_new(0);
    struct str why;
    struct tls_context *saved = server_context, *client = NULL;
    CHECK(tls_client_context(&client) == 0);
    CHECK(tls_server_context(certificate, key, arena, &why, &server_context) == 0);
    struct stream *a, *b;
    stream_pair(&a, &b);
    struct peer p = {.stream = b};
    CHECK(fiber_start(server, &p) == 0);
    CHECK(stream_start_tls(a, client, STR_NULL, soon(), arena, &why) == 0);
    tls_context_free(client);
    tls_context_free(server_context);
    server_context = saved;
    CHECK(ask(a, STR("still there?")) == 0);
    stream_free(a);
    while (!p.ended)
        CHECK(waiters_wait(&p.done, INT64_MAX) == 0);
    CHECK(p.error == SLUICE_ECLOSED);
    arena_free(arena);
}

/* ---- over TCP, on all workers ---- */

enum { CLIENTS = 32 };

struct load {
    struct ip ip;
    uint16_t port;
    int left, failed;
    struct waiters done;
};

static void serve(void *arg, struct stream *s) {
    (void)arg;
    struct peer p = {.stream = s};
    server(&p);
}

static void client(void *arg) {
    struct load *l = arg;
    struct stream *s = NULL;
    int e = net_dial(NULL, &l->ip, l->port, soon(), &s);
    if (!e)
        e = stream_start_tls(s, client_context, STR("mx.example.com"), soon(), NULL, NULL);
    for (int i = 0; !e && i < 10; i++)
        e = ask(s, STR("QUIT in ten\r\n"));
    stream_free(s);
    if (e)
        l->failed++;
    if (--l->left == 0)
        waiters_wake_all(&l->done);
}

static void over_tcp(void *arg) {
    (void)arg;
    struct load l = {.left = CLIENTS};
    CHECK(ip_parse(STR("127.0.0.1"), &l.ip));
    int fd;
    CHECK(net_listen(&l.ip, 0, &fd) == 0);
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    l.port = ntohs(a.sin_port);
    net_accept(worker_rt(worker_self()), fd, serve, NULL, STR(""));
    for (int i = 0; i < CLIENTS; i++)
        CHECK(fiber_start(client, &l) == 0);
    while (l.left)
        CHECK(waiters_wait(&l.done, INT64_MAX) == 0);
    CHECK(l.failed == 0);
}

RT_RUN_TEST(both_ends_memory)
RT_RUN_TEST(both_ends_pieces)
RT_RUN_TEST(both_ends_socket)
RT_RUN_TEST(broken_anywhere)
RT_RUN_TEST(garbage)
RT_RUN_TEST(bytes_before)
RT_RUN_TEST(silent_peer)
RT_RUN_TEST(old_client)
RT_RUN_TEST(context_goes_first)

static void run_over_tcp(void **state) {
    (void)state;
    rt_run(4, over_tcp, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files),
        cmocka_unit_test(run_both_ends_memory),
        cmocka_unit_test(run_both_ends_pieces),
        cmocka_unit_test(run_both_ends_socket),
        cmocka_unit_test(run_broken_anywhere),
        cmocka_unit_test(run_garbage),
        cmocka_unit_test(run_bytes_before),
        cmocka_unit_test(run_silent_peer),
        cmocka_unit_test(run_old_client),
        cmocka_unit_test(run_context_goes_first),
        cmocka_unit_test(run_over_tcp),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
