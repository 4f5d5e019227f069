/* dkim_key.h - DKIM keys: private ones from PEM, public ones as TXT records (RFC 6376 3.6.1, 8301, 8463).
 */
#pragma once
#include "base/buf.h"

enum {
    DKIM_RSA_MIN = 1024, /* bits, RFC 8301 3.2 */
    DKIM_RSA_MAX = 4096,
    DKIM_DIGEST_SIZE = 32,                  /* SHA-256, the only hash that is left (RFC 8301 3.1) */
    DKIM_SIGNATURE_SIZE = DKIM_RSA_MAX / 8, /* the longest signature */
    DKIM_RECORD_MAX = 8192,                 /* octets of a record that are worth reading */
    DKIM_SELECTOR_MAX = 253,
};

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };
/* "rsa-sha256", "ed25519-sha256": the a= of a signature. */
const char *dkim_algorithm_name(enum dkim_algorithm);

/* A private key. It does not change, so that any thread may sign with it. */
struct dkim_key;

/* Reads a private key in PEM (PKCS#8 or PKCS#1, without a passphrase). SLUICE_EIO, SLUICE_ESYNTAX,
 * SLUICE_EDENIED (an RSA key of a length that receivers refuse); *ret_why then says what is wrong, for
 * people. */
[[nodiscard]] int dkim_key_load(const char *path, struct arena *, struct str *ret_why, struct dkim_key **ret);
[[nodiscard]] int dkim_key_parse(struct str pem, struct arena *, struct str *ret_why, struct dkim_key **ret);
/* Makes a new one; `bits` are of RSA. SLUICE_EINVALID for bits out of bounds. Slow (RSA: up to seconds). */
[[nodiscard]] int dkim_key_new(enum dkim_algorithm, unsigned bits, struct dkim_key **ret);
/* Accepts NULL, returns NULL. */
struct dkim_key *dkim_key_free(struct dkim_key *);

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *);
unsigned dkim_key_bits(const struct dkim_key *);
/* The key as PEM (PKCS#8). */
[[nodiscard]] int dkim_key_pem(const struct dkim_key *, struct buf *out);

/* Signs a SHA-256 digest: RSASSA-PKCS1-v1_5, or Ed25519 of the digest (RFC 8463 3). The costly step: 0.1 to 5
 * ms with RSA. SLUICE_ETLS when OpenSSL fails. */
[[nodiscard]] int dkim_key_sign(const struct dkim_key *, const uint8_t digest[DKIM_DIGEST_SIZE],
                                uint8_t out[DKIM_SIGNATURE_SIZE], size_t *ret_len);

/* The TXT record that publishes the key: "v=DKIM1; k=rsa; p=...". */
[[nodiscard]] int dkim_key_record(const struct dkim_key *, struct buf *out);
/* The record as a zone file wants it: quoted strings of at most 255 octets, with a blank between. */
void dkim_record_strings(struct str record, struct buf *out);

/* A public key record. `key` is an EVP_PKEY; dkim_record_free drops it. */
struct dkim_record {
    void *key;
    enum dkim_algorithm algorithm;
    unsigned bits;
    bool revoked; /* p= is empty: no key */
    bool testing; /* t=y */
    bool strict;  /* t=s: i= has to have the very domain of d= */
    bool sha256;  /* h= is absent or lists sha256 */
    bool email;   /* s= is absent or lists * or email */
};

/* Reads a record. SLUICE_ESYNTAX with *ret_why (a constant text) when it is none, is damaged or has an
 * unknown k= or v=; *ret is then untouched. RSA keys of any length are read: who verifies looks at `bits`. */
[[nodiscard]] int dkim_record_parse(struct arena *, struct str text, struct str *ret_why,
                                    struct dkim_record *ret);
void dkim_record_free(struct dkim_record *);
/* Is it that key's record? */
bool dkim_record_fits(const struct dkim_record *, const struct dkim_key *);
/* Does the signature fit the digest? False for keys outside DKIM_RSA_MIN to DKIM_RSA_MAX. */
bool dkim_record_verify(const struct dkim_record *, const uint8_t digest[DKIM_DIGEST_SIZE],
                        struct str signature);
