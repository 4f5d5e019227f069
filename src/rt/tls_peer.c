#include "rt/tls_peer.h"

#include "rt/transport.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* A certificate of 100 KB could bear 10,000 names; real ones bear a few, the largest some hundreds. */
enum { NAMES_MAX = 1000, NAME_MAX_LEN = 253, LABEL_MAX = 63, CHAIN_DEPTH = 10, SECURITY_LEVEL = 2 };

struct tls_trust {
    X509_STORE *store;
};

/* ---- names ---- */

static bool label_valid(struct str label) {
    if (!label.len || label.len > LABEL_MAX || label.at[0] == '-' || label.at[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        char c = ascii_lower(label.at[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return true;
}

/* A star stands for one whole label, the first, and never for what is directly below a top-level domain. */
static bool name_valid(struct str name) {
    struct ip ip;
    struct str label, rest = name;
    bool star = str_starts(name, STR("*."));
    if (!name.len || name.len > NAME_MAX_LEN || ip_parse(name, &ip))
        return false;
    if (star)
        rest = str_from_index(name, 2);
    if (star && str_index(rest, '.') < 0)
        return false;
    while (str_cut(&rest, '.', &label))
        if (!label_valid(label))
            return false;
    return true;
}

static void make_room(struct tls_peer *peer, struct arena *arena, int count) {
    peer->names = arena_array(arena, struct str, (size_t)(count < NAMES_MAX ? count : NAMES_MAX));
}

static void add_name(struct tls_peer *peer, struct arena *arena, struct str name) {
    if (peer->name_count < NAMES_MAX && name_valid(name))
        peer->names[peer->name_count++] = str_lower(arena, name);
}

/* Does the certificate have names for machines at all? Then the common name is for people only. */
static bool alternative_names(X509 *x, struct tls_peer *peer, struct arena *arena) {
    int critical;
    bool found = false;
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, &critical, NULL);
    if (!all)
        return critical != -1; /* there, but it can't be read or is there twice: no names */
    make_room(peer, arena, sk_GENERAL_NAME_num(all));
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        if (name->type != GEN_DNS)
            continue;
        found = true;
        add_name(
            peer, arena,
            str_from(ASN1_STRING_get0_data(name->d.dNSName), (size_t)ASN1_STRING_length(name->d.dNSName)));
    }
    GENERAL_NAMES_free(all);
    return found;
}

static void common_names(X509 *x, struct tls_peer *peer, struct arena *arena) {
    const X509_NAME *subject = X509_get_subject_name(x);
    make_room(peer, arena, X509_NAME_entry_count(subject));
    for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
        unsigned char *text = NULL;
        int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        if (len > 0)
            add_name(peer, arena, str_from(text, (size_t)len));
        OPENSSL_free(text);
    }
}

static struct str subject_of(X509 *x, struct arena *arena) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    struct str subject = STR("");
    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(bio, &text);
        subject = str_copy(arena, str_from(text, len > 0 ? (size_t)len : 0));
    }
    BIO_free(bio);
    return subject;
}

static X509 *certificate_of(const struct stream *s) {
    return s->tls ? SSL_get0_peer_certificate(tls_ssl(s->tls)) : NULL;
}

bool stream_tls_peer(const struct stream *s, struct arena *arena, struct tls_peer *ret) {
    X509 *x = certificate_of(s);
    if (!x)
        return false;
    *ret = (struct tls_peer){0};
    if (!alternative_names(x, ret, arena))
        common_names(x, ret, arena);
    ret->subject = subject_of(x, arena);
    ERR_clear_error();
    return true;
}

/* ---- anchors ---- */

struct tls_trust *tls_trust_free(struct tls_trust *t) {
    if (!t)
        return NULL;
    X509_STORE_free(t->store);
    free(t);
    return NULL;
}

static struct tls_trust *trust_new(void) {
    struct tls_trust *t = xcalloc(1, sizeof *t);
    t->store = X509_STORE_new();
    return t->store ? t : tls_trust_free(t);
}

/* Every certificate of the file. What else is in it (text, keys) is passed over. */
static int read_anchors(struct tls_trust *t, BIO *bio, size_t *ret_count) {
    X509 *x;
    while ((x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
        int added = X509_STORE_add_cert(t->store, x);
        X509_free(x);
        if (added != 1)
            return SLUICE_ENOMEM;
        ++*ret_count;
    }
    unsigned long end = ERR_peek_last_error();
    return ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE ? 0 : SLUICE_ESYNTAX;
}

int tls_trust_of_file(const char *path, struct arena *arena, struct str *ret_why, struct tls_trust **ret) {
    size_t count = 0;
    errno = 0;
    BIO *bio = BIO_new_file(path, "r");
    if (!bio) {
        *ret_why = str_copy(arena, str_of(strerror(errno)));
        ERR_clear_error();
        return SLUICE_EIO;
    }
    struct tls_trust *t = trust_new();
    int error = t ? read_anchors(t, bio, &count) : SLUICE_ENOMEM;
    BIO_free(bio);
    ERR_clear_error();
    if (!error && !count)
        error = SLUICE_ENOTFOUND;
    if (error) {
        *ret_why = error == SLUICE_ENOTFOUND ? STR("there is no certificate in it")
                   : error == SLUICE_ESYNTAX
                       ? str_printf(arena, "certificate %zu in it is damaged", count + 1)
                       : str_of(error_text(error));
        tls_trust_free(t);
        return error;
    }
    /* Whoever names an issuing CA means that CA, not the root above it. */
    X509_STORE_set_flags(t->store, X509_V_FLAG_PARTIAL_CHAIN);
    *ret = t;
    return 0;
}

int tls_trust_of_system(struct tls_trust **ret) {
    struct tls_trust *t = trust_new();
    if (!t || X509_STORE_set_default_paths(t->store) != 1) {
        tls_trust_free(t);
        ERR_clear_error();
        return SLUICE_ENOMEM;
    }
    ERR_clear_error();
    *ret = t;
    return 0;
}

/* ---- verification ---- */

static struct str reason_of(X509_STORE_CTX *ctx, struct arena *arena) {
    const char *reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
    X509 *at = X509_STORE_CTX_get_current_cert(ctx);
    int depth = X509_STORE_CTX_get_error_depth(ctx);
    if (!at || depth <= 0)
        return str_copy(arena, str_of(reason));
    return str_printf(arena, "%s (its issuer %.*s)", reason, STR_FMT(subject_of(at, arena)));
}

int stream_tls_verify_peer(const struct stream *s, const struct tls_trust *trust, struct arena *arena,
                           struct str *ret_why) {
    X509 *x = certificate_of(s);
    if (!x)
        return SLUICE_ENOTFOUND;
    int result = SLUICE_ENOMEM;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    *ret_why = STR("out of memory");
    if (ctx && X509_STORE_CTX_init(ctx, trust->store, x, SSL_get_peer_cert_chain(tls_ssl(s->tls))) == 1 &&
        X509_STORE_CTX_set_default(ctx, "ssl_client") == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH);
        X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
        result = X509_verify_cert(ctx) == 1 ? 0 : SLUICE_EDENIED;
        if (result)
            *ret_why = reason_of(ctx, arena);
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return result;
}
