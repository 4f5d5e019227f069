/* tls_files.h - a self-signed certificate and its key in a folder of their own, for tests. */
#pragma once
#include "cmocka_setup.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct tls_files {
    char folder[32], certificate[64], key[64];
};

static inline void tls_files_make(struct tls_files *f) {
    snprintf(f->folder, sizeof f->folder, "/tmp/tls_files.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->certificate, sizeof f->certificate, "%s/cert.pem", f->folder);
    snprintf(f->key, sizeof f->key, "%s/key.pem", f->folder);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"mx.example", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, key, EVP_sha256()));
    FILE *out = fopen(f->certificate, "w");
    assert_true(out && PEM_write_X509(out, x) == 1);
    fclose(out);
    out = fopen(f->key, "w");
    assert_true(out && PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(out);
    X509_free(x);
    EVP_PKEY_free(key);
}

static inline void tls_files_remove(const struct tls_files *f) {
    unlink(f->certificate);
    unlink(f->key);
    rmdir(f->folder);
}
