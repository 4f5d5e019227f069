#include "rt/tls_peer.h"

#include "base/clock.h"
#include "rt_run.h"
#include "tls_files.h"

#include "certificates.h"
#include <openssl/ssl.h>
#include <sys/socket.h>

static int64_t soon(void) { return clock_mono_ms() + 30000; }

/* ---- a client of OpenSSL's own, on a thread ---- */

struct client {
    int fd;
    const struct made *certificate, *intermediate;
    int version; /* the highest; 0: any */
    SSL_CTX *ctx;
    SSL_SESSION *session; /* in: to resume; out: of this connection */
    bool asked, reused;
    int result;
};

static int asked(SSL *ssl, void *arg) {
    struct client *c = SSL_get_app_data(ssl);
    (void)arg;
    c->asked = true;
    if (!c->certificate)
        return 1;
    return SSL_use_certificate(ssl, c->certificate->x) == 1 &&
           SSL_use_PrivateKey(ssl, c->certificate->key) == 1 &&
           (!c->intermediate || SSL_add1_chain_cert(ssl, c->intermediate->x) == 1);
}

static void *client_thread(void *arg) {
    struct client *c = arg;
    char bytes[16];
    SSL *ssl = SSL_new(c->ctx);
    SSL_set_app_data(ssl, c);
    SSL_set_fd(ssl, c->fd);
    SSL_set_security_level(ssl, 0);
    if (c->version)
        SSL_set_max_proto_version(ssl, c->version);
    if (c->session)
        SSL_set_session(ssl, c->session);
    c->result = SSL_connect(ssl);
    if (c->result == 1)
        c->result = SSL_read(ssl, bytes, sizeof bytes); /* a ticket would come before it */
    c->reused = SSL_session_reused(ssl);
    SSL_SESSION_free(c->session);
    c->session = SSL_get1_session(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(c->fd);
    return NULL;
}

static SSL_CTX *client_context(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_cert_cb(ctx, asked, NULL);
    return ctx;
}

/* One connection: what `look` sees of it on the server's side. NULL when the handshake failed. */
static struct stream *serve(struct client *c, struct tls_context *server, pthread_t *ret_thread) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return NULL;
    c->fd = fds[1];
    struct stream *s = stream_of_fd(fds[0]);
    pthread_create(ret_thread, NULL, client_thread, c);
    int error = stream_start_tls(s, server, STR_NULL, soon(), NULL, NULL);
    if (!error)
        error = stream_write(s, STR("hello"), soon());
    if (!error)
        error = stream_flush(s, soon());
    if (error)
        rt_run_failed(__FILE__, __LINE__, error_text(error));
    return s;
}

/* ---- the table ---- */

enum { ROOT, OTHER, SUB, NARROW, MAKERS };

static const struct wish makers[MAKERS] = {
    [ROOT] = {.name = "Root", .ca = true},
    [OTHER] = {.name = "Other", .ca = true},
    [SUB] = {.name = "Sub", .ca = true},
    [NARROW] = {.name = "Narrow", .ca = true, .constraints = "permitted;DNS:contoso.com"},
};

static const struct row {
    const char *what;
    struct wish wish;
    int by;                         /* -1: itself */
    bool alone;                     /* without its issuer's certificate */
    const char *names, *root, *sub; /* verified by Root, by Sub alone: "" or a part of why not */
} rows[] = {
    {"right",
     {.name = "x", .alternatives = "DNS:mail.contoso.com"},
     ROOT,
     .names = "mail.contoso.com",
     .root = "",
     .sub = "self-signed"},
    {"several",
     {.name = "x", .alternatives = "DNS:MAIL.Contoso.com,DNS:*.fabrikam.com,email:a@b.c,IP:192.0.2.1"},
     ROOT,
     .names = "mail.contoso.com *.fabrikam.com",
     .root = ""},
    {"common name", {.name = "Mail.contoso.com"}, ROOT, .names = "mail.contoso.com", .root = ""},
    {"common name beside mail addresses",
     {.name = "mail.contoso.com", .alternatives = "email:a@b.c"},
     ROOT,
     .names = "mail.contoso.com",
     .root = ""},
    {"common name beside a name",
     {.name = "mail.contoso.com", .alternatives = "DNS:other.example"},
     ROOT,
     .names = "other.example",
     .root = ""},
    {"common name beside a bad name",
     {.name = "mail.contoso.com", .alternatives = "DNS:not a name"},
     ROOT,
     .names = "",
     .root = ""},
    {"no subject", {.alternatives = "DNS:mail.contoso.com"}, ROOT, .names = "mail.contoso.com", .root = ""},
    {"names that are none",
     {.name = "x",
      .alternatives = "DNS:*,DNS:*.com,DNS:m*.contoso.com,DNS:a.*.com,DNS:.contoso.com,DNS:contoso.com.,DNS:"
                      "192.0.2.1,DNS:-a.b,DNS:a_b.c"},
     ROOT,
     .names = "a_b.c",
     .root = ""},
    {"people's common name", {.name = "Jane Doe"}, ROOT, .names = "", .root = ""},
    {"common name not in ASCII", {.name = "m\xc3\xbcller.example"}, ROOT, .names = "", .root = ""},
    {"self-signed",
     {.name = "x", .alternatives = "DNS:mail.contoso.com"},
     -1,
     .names = "mail.contoso.com",
     .root = "self-signed",
     .sub = "self-signed"},
    {"another CA",
     {.name = "x", .alternatives = "DNS:mail.contoso.com"},
     OTHER,
     .names = "mail.contoso.com",
     .root = "self-signed",
     .sub = "self-signed"},
    {"another CA, alone",
     {.name = "x", .alternatives = "DNS:mail.contoso.com"},
     OTHER,
     true,
     .names = "mail.contoso.com",
     .root = "unable to get"},
    {"by the issuing CA",
     {.name = "x", .alternatives = "DNS:mail.contoso.com"},
     SUB,
     .names = "mail.contoso.com",
     .root = "",
     .sub = ""},
    {"by the issuing CA, alone",
     {.name = "x", .alternatives = "DNS:mail.contoso.com"},
     SUB,
     true,
     .names = "mail.contoso.com",
     .root = "unable to get",
     .sub = ""},
    {"expired",
     {.name = "x", .alternatives = "DNS:mail.contoso.com", .from = -7200, .to = -60},
     ROOT,
     .names = "mail.contoso.com",
     .root = "expired"},
    {"not yet valid",
     {.name = "x", .alternatives = "DNS:mail.contoso.com", .from = 600},
     ROOT,
     .names = "mail.contoso.com",
     .root = "not yet valid"},
    {"for clients",
     {.name = "x", .alternatives = "DNS:mail.contoso.com", .usage = "clientAuth,serverAuth"},
     ROOT,
     .names = "mail.contoso.com",
     .root = ""},
    {"for servers only",
     {.name = "x", .alternatives = "DNS:mail.contoso.com", .usage = "serverAuth"},
     ROOT,
     .names = "mail.contoso.com",
     .root = "purpose"},
    {"weak",
     {.name = "x", .alternatives = "DNS:mail.contoso.com", .weak = true},
     ROOT,
     .names = "mail.contoso.com",
     .root = "key too weak"},
    {"inside of constraints",
     {.name = "x", .alternatives = "DNS:mail.contoso.com"},
     NARROW,
     .names = "mail.contoso.com",
     .root = ""},
    {"outside of constraints",
     {.name = "x", .alternatives = "DNS:mail.fabrikam.com"},
     NARROW,
     .names = "mail.fabrikam.com",
     .root = "permitted subtree"},
    {"common name outside of constraints",
     {.name = "mail.fabrikam.com"},
     NARROW,
     .names = "mail.fabrikam.com",
     .root = "permitted subtree"},
};

struct world {
    struct tls_files files;
    struct tls_context *asking, *silent;
    struct made makers[MAKERS];
    char root[64], sub[64];
    struct tls_trust *trusts[2];
    SSL_CTX *client;
};

static void check_names(const struct row *row, const struct tls_peer *peer) {
    struct buf names __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < peer->name_count; i++)
        buf_printf(&names, "%s%.*s", i ? " " : "", STR_FMT(peer->names[i]));
    if (!str_eq(buf_view(&names), str_of(row->names)))
        rt_run_failed(__FILE__, __LINE__, row->what);
}

static void check_trust(const struct row *row, const char *expected, int error, struct str why) {
    if (expected &&
        (*expected ? error != SLUICE_EDENIED || str_find(why, str_of(expected)) < 0 : error != 0)) {
        fprintf(stderr, "%s: %d %.*s\n", row->what, error, STR_FMT(why));
        rt_run_failed(__FILE__, __LINE__, row->what);
    }
}

static void each_certificate(void *arg) {
    struct world *w = arg;
    for (size_t i = 0; i < 2 * COUNT(rows); i++) {
        const struct row *row = &rows[i / 2];
        struct wish wish = row->wish;
        wish.by = row->by < 0 ? NULL : &w->makers[row->by];
        struct made leaf = certificate_make(&wish);
        struct client c = {.certificate = &leaf,
                           .intermediate = row->alone ? NULL : wish.by,
                           .ctx = w->client,
                           .version = i % 2 ? TLS1_2_VERSION : 0};
        pthread_t thread;
        struct stream *s = serve(&c, w->asking, &thread);
        struct arena *arena = arena_new(0);
        struct tls_peer peer = {0};
        struct str why = {0};
        CHECK(stream_tls_peer(s, arena, &peer));
        check_names(row, &peer);
        check_trust(row, row->root, stream_tls_verify_peer(s, w->trusts[0], arena, &why), why);
        check_trust(row, row->sub, stream_tls_verify_peer(s, w->trusts[1], arena, &why), why);
        CHECK(str_starts(peer.subject, row->wish.name ? STR("CN=") : STR("")));
        pthread_join(thread, NULL);
        CHECK(c.result == 5);
        SSL_SESSION_free(c.session);
        stream_free(s);
        arena_free(arena);
        certificate_drop(&leaf);
    }
}

/* A client without a certificate is served all the same; one that isn't asked shows none. */
static void without(void *arg) {
    struct world *w = arg;
    struct made leaf = certificate_make(&(struct wish){.name = "mail.contoso.com", .by = &w->makers[ROOT]});
    for (int i = 0; i < 4; i++) {
        struct client c = {
            .certificate = i & 2 ? &leaf : NULL, .ctx = w->client, .version = i & 1 ? TLS1_2_VERSION : 0};
        pthread_t thread;
        struct tls_peer peer;
        struct str why;
        struct stream *s = serve(&c, i & 2 ? w->silent : w->asking, &thread);
        CHECK(!stream_tls_peer(s, NULL, &peer));
        CHECK(stream_tls_verify_peer(s, w->trusts[0], NULL, &why) == SLUICE_ENOTFOUND);
        pthread_join(thread, NULL);
        CHECK(c.result == 5 && c.asked == !(i & 2));
        SSL_SESSION_free(c.session);
        stream_free(s);
    }
    certificate_drop(&leaf);
}

/* A certificate with more names than anybody needs costs no more than the first thousand. */
static void many_names(void *arg) {
    struct world *w = arg;
    struct buf text = {0};
    for (int i = 0; i < 2500; i++)
        buf_printf(&text, "%sDNS:host%d.contoso.com", i ? "," : "", i);
    buf_char(&text, 0);
    struct made leaf =
        certificate_make(&(struct wish){.name = "x", .alternatives = text.at, .by = &w->makers[ROOT]});
    struct client c = {.certificate = &leaf, .ctx = w->client};
    pthread_t thread;
    struct stream *s = serve(&c, w->asking, &thread);
    struct arena *arena = arena_new(0);
    struct tls_peer peer;
    struct str why;
    CHECK(stream_tls_peer(s, arena, &peer) && peer.name_count == 1000);
    CHECK(str_eq(peer.names[999], STR("host999.contoso.com")));
    CHECK(stream_tls_verify_peer(s, w->trusts[0], arena, &why) == 0);
    pthread_join(thread, NULL);
    CHECK(c.result == 5);
    SSL_SESSION_free(c.session);
    stream_free(s);
    arena_free(arena);
    certificate_drop(&leaf);
    buf_free(&text);
}

/* A client that comes back with its session shows its certificate, and its chain, anew. */
static void coming_back(void *arg) {
    struct world *w = arg;
    struct made leaf = certificate_make(&(struct wish){.name = "mail.contoso.com", .by = &w->makers[SUB]});
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct client c = {
            .certificate = &leaf, .intermediate = &w->makers[SUB], .ctx = w->client, .version = version};
        for (int i = 0; i < 3; i++) {
            pthread_t thread;
            struct tls_peer peer;
            struct str why;
            struct arena *arena = arena_new(0);
            struct stream *s = serve(&c, w->asking, &thread);
            CHECK(stream_tls_peer(s, arena, &peer));
            CHECK(stream_tls_verify_peer(s, w->trusts[0], arena, &why) == 0);
            pthread_join(thread, NULL);
            CHECK(c.result == 5 && !c.reused);
            stream_free(s);
            arena_free(arena);
        }
        SSL_SESSION_free(c.session);
    }
    certificate_drop(&leaf);
}

static void no_tls(void **state) {
    (void)state;
    struct stream *s = stream_memory(STR(""), NULL);
    struct tls_peer peer;
    assert_false(stream_tls_peer(s, NULL, &peer));
    stream_free(s);
}

/* ---- files of anchors ---- */

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_true(f && fputs(text, f) >= 0);
    fclose(f);
}

static void trust_files(void **state) {
    struct world *w = *state;
    char path[80];
    struct arena *arena = arena_new(0);
    struct tls_trust *trust = NULL;
    struct str why = {0};
    static const struct {
        const char *text;
        int error;
        const char *why;
    } files[] = {
        {"", SLUICE_ENOTFOUND, "no certificate"},
        {"# nothing\n", SLUICE_ENOTFOUND, "no certificate"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", SLUICE_ESYNTAX, "certificate 1"},
        {"-----BEGIN CERTIFICATE-----\nAAAA", SLUICE_ESYNTAX, "certificate 1"},
    };
    snprintf(path, sizeof path, "%s/ca.pem", w->files.folder);
    for (size_t i = 0; i < COUNT(files); i++) {
        write_text(path, files[i].text);
        assert_int_equal(tls_trust_of_file(path, arena, &why, &trust), files[i].error);
        assert_true(str_find(why, str_of(files[i].why)) >= 0);
        assert_null(trust);
    }
    unlink(path);
    assert_int_equal(tls_trust_of_file(path, arena, &why, &trust), SLUICE_EIO);
    assert_true(str_find(why, STR("No such file")) >= 0);
    assert_int_equal(tls_trust_of_file(w->files.key, arena, &why, &trust), SLUICE_ENOTFOUND);
    assert_int_equal(tls_trust_of_system(&trust), 0);
    assert_null(tls_trust_free(trust));
    assert_null(tls_trust_free(NULL));
    arena_free(arena);
}

#define WORLD_TEST(name)                                                                                     \
    static void run_##name(void **state) { rt_run(1, name, *state); }
WORLD_TEST(each_certificate)
WORLD_TEST(without)
WORLD_TEST(many_names)
WORLD_TEST(coming_back)

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    struct arena *arena = arena_new(0);
    struct str why;
    tls_files_make(&w->files);
    assert_int_equal(tls_server_context(w->files.certificate, w->files.key, arena, &why, &w->asking), 0);
    assert_int_equal(tls_server_context(w->files.certificate, w->files.key, arena, &why, &w->silent), 0);
    tls_server_ask_certificate(w->asking);
    for (int i = 0; i < MAKERS; i++) {
        struct wish wish = makers[i];
        wish.by = i == SUB || i == NARROW ? &w->makers[ROOT] : NULL;
        w->makers[i] = certificate_make(&wish);
    }
    snprintf(w->root, sizeof w->root, "%s/root.pem", w->files.folder);
    snprintf(w->sub, sizeof w->sub, "%s/sub.pem", w->files.folder);
    certificate_write(w->root, "w", &w->makers[ROOT]);
    certificate_write(w->sub, "w", &w->makers[SUB]);
    assert_int_equal(tls_trust_of_file(w->root, arena, &why, &w->trusts[0]), 0);
    assert_int_equal(tls_trust_of_file(w->sub, arena, &why, &w->trusts[1]), 0);
    w->client = client_context();
    arena_free(arena);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    SSL_CTX_free(w->client);
    tls_context_free(w->asking);
    tls_context_free(w->silent);
    for (int i = 0; i < MAKERS; i++)
        certificate_drop(&w->makers[i]);
    tls_trust_free(w->trusts[0]);
    tls_trust_free(w->trusts[1]);
    unlink(w->root);
    unlink(w->sub);
    tls_files_remove(&w->files);
    free(w);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_each_certificate),
        cmocka_unit_test(run_without),
        cmocka_unit_test(run_many_names),
        cmocka_unit_test(run_coming_back),
        cmocka_unit_test(no_tls),
        cmocka_unit_test(trust_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
