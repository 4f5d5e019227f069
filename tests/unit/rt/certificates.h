/* certificates.h - certificates of all sorts, made for tests. */
#pragma once
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct made {
    EVP_PKEY *key;
    X509 *x;
};

struct wish {
    const char *name;         /* CN; NULL: no subject at all */
    const char *alternatives; /* "DNS:a.b,DNS:*.c.d"; NULL: none */
    const char *usage;        /* extended key usage; NULL: none */
    const char *constraints;  /* name constraints; NULL: none */
    bool ca;
    bool weak;             /* RSA with 1024 bits */
    long from, to;         /* seconds from now; 0, 0: an hour ago to one ahead */
    const struct made *by; /* NULL: itself */
};

static inline void certificate_extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (!extension)
        abort();
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
}

static inline struct made certificate_make(const struct wish *w) {
    struct made m = {w->weak ? EVP_RSA_gen(1024) : EVP_EC_gen("P-256"), X509_new()};
    const struct made *by = w->by ? w->by : &m;
    X509_set_version(m.x, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(m.x), (uint64_t)(uintptr_t)m.x);
    X509_gmtime_adj(X509_getm_notBefore(m.x), w->from ? w->from : -3600);
    X509_gmtime_adj(X509_getm_notAfter(m.x), w->to ? w->to : 3600);
    X509_set_pubkey(m.x, m.key);
    if (w->name)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(m.x), "CN", MBSTRING_UTF8,
                                   (const unsigned char *)w->name, -1, -1, 0);
    X509_set_issuer_name(m.x, X509_get_subject_name(by->x));
    certificate_extend(m.x, by->x, NID_basic_constraints, w->ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (w->alternatives)
        certificate_extend(m.x, by->x, NID_subject_alt_name, w->alternatives);
    if (w->usage)
        certificate_extend(m.x, by->x, NID_ext_key_usage, w->usage);
    if (w->constraints)
        certificate_extend(m.x, by->x, NID_name_constraints, w->constraints);
    if (!X509_sign(m.x, by->key, EVP_sha256()))
        abort();
    return m;
}

static inline void certificate_drop(struct made *m) {
    X509_free(m->x);
    EVP_PKEY_free(m->key);
}

static inline void certificate_write(const char *path, const char *mode, const struct made *m) {
    FILE *f = fopen(path, mode);
    if (!f || PEM_write_X509(f, m->x) != 1)
        abort();
    fclose(f);
}
