#include "auth/dkim_key.h"
#include "auth/dkim_tags.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <unistd.h>

/* TLS on the same thread looks at OpenSSL's queue of errors: none of ours may stay in it. */

enum {
    ED25519_SIZE = 32,
    PEM_MAX = 64 << 10,
    /* A longer public exponent only makes us work. */
    RSA_EXPONENT_BITS_MAX = 64,
    RECORD_STRING_MAX = 255,
};

struct dkim_key {
    EVP_PKEY *pkey;
    enum dkim_algorithm algorithm;
    unsigned bits;
};

const char *dkim_algorithm_name(enum dkim_algorithm algorithm) {
    return algorithm == DKIM_RSA ? "rsa-sha256" : "ed25519-sha256";
}

static void buf_cleanse(struct buf *b) {
    if (b->at)
        OPENSSL_cleanse(b->at, b->cap);
    buf_free(b);
}

/* Takes the key. */
static struct dkim_key *key_of(EVP_PKEY *pkey) {
    struct dkim_key *key = xcalloc(1, sizeof *key);
    bool rsa = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA;
    *key = (struct dkim_key){pkey, rsa ? DKIM_RSA : DKIM_ED25519,
                             rsa ? (unsigned)EVP_PKEY_get_bits(pkey) : 8 * ED25519_SIZE};
    return key;
}

/* No terminal is asked for a passphrase. */
static int no_passphrase(char *buffer, int size, int writing, void *context) {
    (void)buffer, (void)size, (void)writing, (void)context;
    return -1;
}

int dkim_key_parse(struct str pem, struct arena *arena, struct str *ret_why, struct dkim_key **ret) {
    BIO *bio = BIO_new_mem_buf(pem.at, (int)str_head(pem, PEM_MAX).len);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    int type = pkey ? EVP_PKEY_get_base_id(pkey) : 0, bits = pkey ? EVP_PKEY_get_bits(pkey) : 0;
    BIO_free(bio);
    ERR_clear_error();
    if (!pkey) {
        *ret_why = STR("not a private key in PEM without a passphrase");
        return SLUICE_ESYNTAX;
    }
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_ED25519) {
        EVP_PKEY_free(pkey);
        *ret_why = STR("the key is neither RSA nor Ed25519");
        return SLUICE_ESYNTAX;
    }
    if (type == EVP_PKEY_RSA && (bits < DKIM_RSA_MIN || bits > DKIM_RSA_MAX)) {
        EVP_PKEY_free(pkey);
        *ret_why = str_printf(arena, "an RSA key of %d bits: receivers take %d to %d", bits, DKIM_RSA_MIN,
                              DKIM_RSA_MAX);
        return SLUICE_EDENIED;
    }
    *ret = key_of(pkey);
    return 0;
}

int dkim_key_load(const char *path, struct arena *arena, struct str *ret_why, struct dkim_key **ret) {
    struct buf pem __attribute__((cleanup(buf_cleanse))) = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), error = 0;
    ssize_t got = -1;
    /* Reserved at once: growing would leave copies of the key behind. */
    buf_reserve(&pem, PEM_MAX + 1);
    while (file >= 0 && pem.len <= PEM_MAX && (got = read(file, pem.at + pem.len, PEM_MAX + 1 - pem.len)) > 0)
        pem.len += (size_t)got;
    if (got < 0) {
        error = error_from_errno(errno);
        *ret_why = str_printf(arena, "%s", strerror(errno));
    }
    if (file >= 0)
        close(file);
    return error ? error : dkim_key_parse(buf_view(&pem), arena, ret_why, ret);
}

int dkim_key_new(enum dkim_algorithm algorithm, unsigned bits, struct dkim_key **ret) {
    if (algorithm == DKIM_RSA && (bits < DKIM_RSA_MIN || bits > DKIM_RSA_MAX))
        return SLUICE_EINVALID;
    EVP_PKEY *pkey = algorithm == DKIM_RSA ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits)
                                           : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    ERR_clear_error();
    if (!pkey)
        return SLUICE_ETLS;
    *ret = key_of(pkey);
    return 0;
}

struct dkim_key *dkim_key_free(struct dkim_key *key) {
    if (key)
        EVP_PKEY_free(key->pkey);
    free(key);
    return NULL;
}

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key) { return key->algorithm; }
unsigned dkim_key_bits(const struct dkim_key *key) { return key->bits; }

int dkim_key_pem(const struct dkim_key *key, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_secmem());
    char *at = NULL;
    bool written = bio && PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL);
    if (written) {
        long len = BIO_get_mem_data(bio, &at);
        buf_add(out, at, (size_t)len);
    }
    BIO_free(bio);
    ERR_clear_error();
    return written ? 0 : SLUICE_ETLS;
}

int dkim_key_sign(const struct dkim_key *key, const uint8_t digest[DKIM_DIGEST_SIZE],
                  uint8_t out[DKIM_SIGNATURE_SIZE], size_t *ret_len) {
    size_t len = DKIM_SIGNATURE_SIZE;
    bool signed_;
    if (key->algorithm == DKIM_RSA) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key->pkey, NULL);
        signed_ = context && EVP_PKEY_sign_init(context) > 0 &&
                  EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0 &&
                  EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) > 0 &&
                  EVP_PKEY_sign(context, out, &len, digest, DKIM_DIGEST_SIZE) > 0;
        EVP_PKEY_CTX_free(context);
    } else {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        signed_ = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) > 0 &&
                  EVP_DigestSign(context, out, &len, digest, DKIM_DIGEST_SIZE) > 0;
        EVP_MD_CTX_free(context);
    }
    ERR_clear_error();
    if (signed_)
        *ret_len = len;
    return signed_ ? 0 : SLUICE_ETLS;
}

/* The octets of p=: a SubjectPublicKeyInfo for RSA, the bare key for Ed25519 (RFC 8463 4). */
static int public_bytes(const struct dkim_key *key, struct arena *arena, struct str *ret) {
    if (key->algorithm == DKIM_RSA) {
        unsigned char *der = NULL;
        int len = i2d_PUBKEY(key->pkey, &der);
        if (len <= 0)
            return SLUICE_ETLS;
        *ret = str_copy(arena, str_from(der, (size_t)len));
        OPENSSL_free(der);
        return 0;
    }
    size_t len = ED25519_SIZE;
    unsigned char *raw = arena_alloc(arena, len);
    *ret = str_from(raw, ED25519_SIZE);
    return EVP_PKEY_get_raw_public_key(key->pkey, raw, &len) > 0 ? 0 : SLUICE_ETLS;
}

int dkim_key_record(const struct dkim_key *key, struct buf *out) {
    struct arena *arena = arena_new(0);
    struct str bytes;
    int error = public_bytes(key, arena, &bytes);
    if (!error) {
        buf_printf(out, "v=DKIM1; k=%s; p=", key->algorithm == DKIM_RSA ? "rsa" : "ed25519");
        buf_str(out, dkim_base64_write(arena, bytes));
    }
    arena_free(arena);
    return error;
}

void dkim_record_strings(struct str record, struct buf *out) {
    do {
        struct str part = str_head(record, RECORD_STRING_MAX);
        record = str_from_index(record, part.len);
        buf_char(out, '"');
        for (size_t i = 0; i < part.len; i++) {
            if (part.at[i] == '"' || part.at[i] == '\\')
                buf_char(out, '\\');
            buf_char(out, part.at[i]);
        }
        buf_str(out, record.len ? STR("\" ") : STR("\""));
    } while (record.len);
}

static bool lists(struct str list, struct str word) {
    for (struct str part; dkim_list_next(&list, ':', &part);)
        if (str_eq(part, word))
            return true;
    return false;
}

static bool exponent_short(const EVP_PKEY *pkey) {
    BIGNUM *e = NULL;
    bool fits =
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) && BN_num_bits(e) <= RSA_EXPONENT_BITS_MAX;
    BN_free(e);
    return fits;
}

/* RFC 6376 says RSAPublicKey, its examples and the world publish SubjectPublicKeyInfo: both are read. */
static EVP_PKEY *rsa_of(struct str der) {
    const unsigned char *at = (const unsigned char *)der.at, *end = at + der.len;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)der.len);
    if (!pkey) {
        at = (const unsigned char *)der.at;
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)der.len);
    }
    if (pkey && (at != end || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA || !exponent_short(pkey))) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    return pkey;
}

static int read_key(struct arena *arena, struct str p, struct str *ret_why, struct dkim_record *record) {
    struct str bytes;
    if (!dkim_base64_read(arena, p, &bytes)) {
        *ret_why = STR("p= of the key record is no base64");
        return SLUICE_ESYNTAX;
    }
    record->key =
        record->algorithm == DKIM_RSA ? rsa_of(bytes)
        : bytes.len == ED25519_SIZE
            ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)bytes.at, bytes.len)
            : NULL;
    ERR_clear_error();
    if (!record->key) {
        *ret_why = STR("p= of the key record is no key of the type that k= says");
        return SLUICE_ESYNTAX;
    }
    record->bits =
        record->algorithm == DKIM_RSA ? (unsigned)EVP_PKEY_get_bits(record->key) : 8 * ED25519_SIZE;
    return 0;
}

/* What a record has to have before its key is looked at; STR_NULL when all is well. */
static struct str record_fault(const struct dkim_tags *tags) {
    const struct dkim_tag *v = dkim_tag_find(tags, "v"), *k = dkim_tag_find(tags, "k");
    if (v && (v != tags->items || !str_eq(v->value, STR("DKIM1"))))
        return STR("v= of the key record is not DKIM1, or not its first tag");
    if (k && !str_eq(k->value, STR("rsa")) && !str_eq(k->value, STR("ed25519")))
        return STR("the key record has an unknown k=");
    if (!dkim_tag_find(tags, "p"))
        return STR("the key record has no p=");
    return STR_NULL;
}

int dkim_record_parse(struct arena *arena, struct str text, struct str *ret_why, struct dkim_record *ret) {
    struct dkim_tags tags;
    struct dkim_record record = {0};
    struct str fault = text.len > DKIM_RECORD_MAX      ? STR("the key record is too long")
                       : !dkim_tags_parse(text, &tags) ? STR("the key record is malformed")
                                                       : record_fault(&tags);
    if (fault.at) {
        *ret_why = fault;
        return SLUICE_ESYNTAX;
    }
    struct str t = dkim_tag_value(&tags, "t"), h = dkim_tag_value(&tags, "h"), s = dkim_tag_value(&tags, "s"),
               p = dkim_tag_value(&tags, "p");
    record.algorithm = str_eq(dkim_tag_value(&tags, "k"), STR("ed25519")) ? DKIM_ED25519 : DKIM_RSA;
    record.testing = lists(t, STR("y"));
    record.strict = lists(t, STR("s"));
    record.sha256 = !h.at || lists(h, STR("sha256"));
    record.email = !s.at || lists(s, STR("*")) || lists(s, STR("email"));
    record.revoked = !p.len;
    int error = record.revoked ? 0 : read_key(arena, p, ret_why, &record);
    if (!error)
        *ret = record;
    return error;
}

void dkim_record_free(struct dkim_record *record) {
    EVP_PKEY_free(record->key);
    record->key = NULL;
}

bool dkim_record_fits(const struct dkim_record *record, const struct dkim_key *key) {
    return record->key && EVP_PKEY_eq(record->key, key->pkey) == 1;
}

bool dkim_record_verify(const struct dkim_record *record, const uint8_t digest[DKIM_DIGEST_SIZE],
                        struct str signature) {
    const unsigned char *at = (const unsigned char *)signature.at;
    bool fits = false;
    if (!record->key)
        return false;
    if (record->algorithm == DKIM_ED25519) {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        fits = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, record->key) > 0 &&
               EVP_DigestVerify(context, at, signature.len, digest, DKIM_DIGEST_SIZE) == 1;
        EVP_MD_CTX_free(context);
    } else if (record->bits >= DKIM_RSA_MIN && record->bits <= DKIM_RSA_MAX) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(record->key, NULL);
        fits = context && EVP_PKEY_verify_init(context) > 0 &&
               EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0 &&
               EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) > 0 &&
               EVP_PKEY_verify(context, at, signature.len, digest, DKIM_DIGEST_SIZE) == 1;
        EVP_PKEY_CTX_free(context);
    }
    ERR_clear_error();
    return fits;
}
