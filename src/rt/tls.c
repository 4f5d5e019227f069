#include "base/error.h"
#include "rt/tls_peer.h"
#include "rt/transport.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>

struct tls_context {
    _Atomic unsigned references; /* the owner's, and one of each connection: a reload may free it early */
    SSL_CTX *ctx;
    BIO_METHOD *method;
    bool server;
};

struct tls {
    struct transport transport;
    struct transport *lower;
    struct tls_context *context;
    SSL *ssl;
    enum direction wants[2]; /* what the last read or write was waiting for beneath */
    int lower_error;
    bool broken; /* no close_notify any more */
};

static struct tls *of(struct transport *t) { return (struct tls *)t; }

/* ---- the BIO between OpenSSL and the lower transport ---- */

static int bio_result(BIO *bio, ssize_t n, bool reading) {
    BIO_clear_retry_flags(bio);
    if (n > 0)
        return (int)n;
    if (n == 0) {
        if (reading)
            BIO_set_retry_read(bio);
        else
            BIO_set_retry_write(bio);
        return -1;
    }
    struct tls *t = BIO_get_data(bio);
    t->lower_error = (int)n;
    return n == SLUICE_ECLOSED && reading ? 0 : -1;
}

static int bio_read(BIO *bio, char *at, int len) {
    struct tls *t = BIO_get_data(bio);
    return bio_result(bio, t->lower->table->read(t->lower, at, (size_t)len), true);
}

static int bio_write(BIO *bio, const char *at, int len) {
    struct tls *t = BIO_get_data(bio);
    struct iovec part = {(void *)(uintptr_t)at, (size_t)len};
    return bio_result(bio, t->lower->table->write(t->lower, &part, 1), false);
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    struct tls *t = BIO_get_data(bio);
    if (command == BIO_CTRL_FLUSH)
        return 1;
    if (command == BIO_CTRL_EOF)
        return t && t->lower_error == SLUICE_ECLOSED;
    return 0;
}

static BIO_METHOD *bio_method(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "transport");
    if (m) {
        BIO_meth_set_read(m, bio_read);
        BIO_meth_set_write(m, bio_write);
        BIO_meth_set_ctrl(m, bio_ctrl);
    }
    return m;
}

/* ---- transport ---- */

static ssize_t tls_result(struct tls *t, enum direction direction, int n) {
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        t->wants[direction] = READING;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        t->wants[direction] = WRITING;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return SLUICE_ECLOSED;
    case SSL_ERROR_SYSCALL:
        t->broken = true;
        return t->lower_error ? t->lower_error : SLUICE_EIO;
    default:
        /* An end without close_notify: SMTP ends its data itself, so a cut needs no other name. */
        t->broken = true;
        return t->lower_error ? t->lower_error : SLUICE_ETLS;
    }
}

static int int_len(size_t len) { return len < INT32_MAX ? (int)len : INT32_MAX; }

static ssize_t tls_read(struct transport *transport, void *at, size_t len) {
    struct tls *t = of(transport);
    ERR_clear_error();
    int n = SSL_read(t->ssl, at, int_len(len));
    return n > 0 ? n : tls_result(t, READING, n);
}

static ssize_t tls_write(struct transport *transport, const struct iovec *parts, int count) {
    (void)count;
    struct tls *t = of(transport);
    ERR_clear_error();
    int n = SSL_write(t->ssl, parts[0].iov_base, int_len(parts[0].iov_len));
    return n > 0 ? n : tls_result(t, WRITING, n);
}

static int tls_wait(struct transport *transport, enum direction direction, int64_t deadline) {
    struct tls *t = of(transport);
    return t->lower->table->wait(t->lower, t->wants[direction], deadline);
}

/* The lower transport stays. */
static void tls_drop(struct tls *t) {
    ERR_clear_error();
    if (t->ssl && !t->broken && SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl);
    SSL_free(t->ssl);
    tls_context_free(t->context);
    free(t);
    ERR_clear_error();
}

static void tls_free(struct transport *transport) {
    struct transport *lower = of(transport)->lower;
    tls_drop(of(transport));
    lower->table->free(lower);
}

static const struct transport_table tls_table = {tls_read, tls_write, tls_wait, tls_free};

struct transport *tls_transport(struct tls *t) {
    return &t->transport;
}
SSL *tls_ssl(const struct tls *t) { return t->ssl; }
const char *tls_version(const struct tls *t) { return SSL_get_version(t->ssl); }
const char *tls_cipher(const struct tls *t) { return SSL_get_cipher_name(t->ssl); }

/* ---- handshake ---- */

/* A server name is a host name (RFC 6066 3), not an address. */
static bool send_name(SSL *ssl, struct str name) {
    struct ip ip;
    char c_name[256];
    if (!name.len || name.len >= sizeof c_name || ip_parse(name, &ip))
        return true;
    memcpy(c_name, name.at, name.len);
    c_name[name.len] = 0;
    return SSL_set_tlsext_host_name(ssl, c_name);
}

static struct tls *tls_new(struct transport *lower, struct tls_context *context, struct str name) {
    struct tls *t = xcalloc(1, sizeof *t);
    t->transport.table = &tls_table;
    t->lower = lower;
    t->context = context;
    atomic_fetch_add(&context->references, 1);
    t->ssl = SSL_new(context->ctx);
    BIO *bio = BIO_new(context->method);
    if (!t->ssl || !bio || (!context->server && !send_name(t->ssl, name))) {
        BIO_free(bio);
        t->broken = true;
        tls_drop(t);
        return NULL;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    if (context->server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    return t;
}

static struct str openssl_reason(struct arena *arena) {
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    if (!reason && e && ERR_SYSTEM_ERROR(e))
        return str_copy(arena, str_of(strerror(ERR_GET_REASON(e))));
    return str_copy(arena, str_of(reason ? reason : "unknown reason"));
}

int tls_handshake(struct transport *lower, struct tls_context *context, struct str name, int64_t deadline,
                  struct arena *arena, struct str *ret_why, struct tls **ret_tls) {
    struct tls *t = tls_new(lower, context, name);
    if (!t)
        return SLUICE_ENOMEM;
    int e = 0;
    for (;;) {
        ERR_clear_error();
        int n = SSL_do_handshake(t->ssl);
        if (n == 1) {
            *ret_tls = t;
            return 0;
        }
        e = (int)tls_result(t, READING, n);
        if (!e)
            e = tls_wait(&t->transport, READING, deadline);
        if (e)
            break;
    }
    if (ret_why)
        *ret_why = e == SLUICE_ETLS ? openssl_reason(arena) : str_copy(arena, str_of(error_text(e)));
    t->broken = true;
    tls_drop(t);
    return e;
}

/* ---- contexts ---- */

struct tls_context *tls_context_free(struct tls_context *c) {
    if (!c || atomic_fetch_sub(&c->references, 1) != 1)
        return NULL;
    SSL_CTX_free(c->ctx);
    BIO_meth_free(c->method);
    free(c);
    return NULL;
}

/* An encrypted key is an error, not a question on the terminal. */
static int no_passphrase(char *at, int size, int writing, void *arg) {
    (void)at;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static struct tls_context *context_new(bool server) {
    struct tls_context *c = xcalloc(1, sizeof *c);
    c->references = 1;
    c->server = server;
    c->method = bio_method();
    c->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!c->method || !c->ctx)
        return tls_context_free(c);
    SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_read_ahead(c->ctx, 1);
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(c->ctx, no_passphrase);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
    return c;
}

static int load(SSL_CTX *ctx, const char *certificate, const char *key, struct arena *arena,
                struct str *ret_why) {
    ERR_clear_error();
    const char *what = "certificate", *path = certificate;
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) == 1) {
        what = "key";
        path = key;
        if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1 &&
            SSL_CTX_check_private_key(ctx) == 1)
            return 0;
    }
    struct str reason = openssl_reason(arena);
    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
        reason = str_printf(arena, "does not fit the certificate %s", certificate);
    *ret_why = str_printf(arena, "%s %s: %.*s", what, path, STR_FMT(reason));
    ERR_clear_error();
    return SLUICE_ETLS;
}

int tls_server_context(const char *certificate, const char *key, struct arena *arena, struct str *ret_why,
                       struct tls_context **ret_context) {
    struct tls_context *c = context_new(true);
    if (!c)
        return SLUICE_ENOMEM;
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(c->ctx, "DEFAULT@SECLEVEL=2");
    SSL_CTX_set_options(c->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_dh_auto(c->ctx, 1);
    SSL_CTX_set_num_tickets(c->ctx, 1);
    int e = load(c->ctx, certificate, key, arena, ret_why);
    if (e)
        tls_context_free(c);
    else
        *ret_context = c;
    return e;
}

/* Whom to believe is decided later, by those who know what for. */
static int accept_any(X509_STORE_CTX *ctx, void *arg) {
    (void)arg;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

void tls_server_ask_certificate(struct tls_context *c) {
    static const unsigned char name[] = "sluice";
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(c->ctx, accept_any, NULL);
    SSL_CTX_set_session_id_context(c->ctx, name, sizeof name - 1);
    SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(c->ctx, 0);
}

int tls_client_context(struct tls_context **ret_context) {
    struct tls_context *c = context_new(false);
    if (!c)
        return SLUICE_ENOMEM;
    /* The alternative is clear text, so weak encryption is taken too (RFC 7435). */
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_VERSION);
    SSL_CTX_set_cipher_list(c->ctx, "DEFAULT@SECLEVEL=0");
    SSL_CTX_set_options(c->ctx, SSL_OP_LEGACY_SERVER_CONNECT);
    *ret_context = c;
    return 0;
}
