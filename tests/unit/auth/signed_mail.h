/* signed_mail.h - keys, their records, and a message on its way through signing and verifying. */
#pragma once
#include "auth/arc.h"
#include "auth/body_hash.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "txt_resolver.h"
#include <stdlib.h>

enum { NOW = 1700000000 };

struct keys {
    struct dkim_key *rsa, *ed25519;
    char *rsa_record, *ed25519_record;
};

static inline char *record_of(const struct dkim_key *key) {
    struct buf record = {0};
    assert_int_equal(dkim_key_record(key, &record), 0);
    buf_c(&record);
    return record.at;
}

static inline struct keys keys_new(void) {
    struct keys keys;
    assert_int_equal(dkim_key_new(DKIM_RSA, 1024, &keys.rsa), 0);
    assert_int_equal(dkim_key_new(DKIM_ED25519, 0, &keys.ed25519), 0);
    keys.rsa_record = record_of(keys.rsa);
    keys.ed25519_record = record_of(keys.ed25519);
    return keys;
}

static inline void keys_free(struct keys *keys) {
    dkim_key_free(keys->rsa);
    dkim_key_free(keys->ed25519);
    free(keys->rsa_record);
    free(keys->ed25519_record);
}

static inline void keys_publish(const struct keys *keys, struct txt_resolver *dns) {
    txt_add(dns, "r._domainkey.example.net", keys->rsa_record);
    txt_add(dns, "e._domainkey.example.net", keys->ed25519_record);
}

static inline struct str body_of(struct arena *arena, struct str message, struct header *ret) {
    assert_int_equal(header_parse(arena, message, 0, ret), 0);
    return str_from_index(message, ret->body_at);
}

static inline void hash_body(struct str body, uint8_t out[DKIM_DIGEST_SIZE]) {
    struct body_hash *hash = body_hash_new();
    for (; body.len; body = str_from_index(body, 5))
        body_hash_feed(hash, str_head(body, 5));
    body_hash_end(hash, out);
    body_hash_free(hash);
}

/* `message` with the signatures of both keys in front. */
static inline struct str sign_both(const struct keys *keys, struct arena *arena, struct str message) {
    struct dkim_signer signers[] = {{keys->rsa, STR("example.net"), STR("r"), STR_NULL},
                                    {keys->ed25519, STR("example.net"), STR("e"), STR("@mail.example.net")}};
    struct dkim_sign_settings settings = {
        .signers = signers, .signer_count = 2, .now_s = NOW, .expire_s = 1000};
    struct header header;
    struct buf out = {0};
    struct str body = body_of(arena, message, &header);
    uint8_t digest[DKIM_DIGEST_SIZE];
    hash_body(body, digest);
    struct dkim_sign *sign = dkim_sign_new(&header, digest, &settings);
    assert_int_equal(dkim_sign_run(sign), 0);
    dkim_sign_write(sign, &out);
    buf_str(&out, message);
    dkim_sign_free(sign);
    struct str whole = str_copy(arena, buf_view(&out));
    buf_free(&out);
    return whole;
}

static inline struct dkim_verdicts verify(struct arena *arena, struct txt_resolver *dns, struct str message,
                                          int64_t now_s) {
    struct header header;
    struct str body = body_of(arena, message, &header);
    struct dkim_verify *v = dkim_verify_new(arena, &header, now_s);
    for (; body.len; body = str_from_index(body, 5))
        dkim_verify_body(v, str_head(body, 5));
    struct dkim_verdicts verdicts = dkim_verify_end(v, &dns->resolver, 0);
    dkim_verify_free(v);
    return verdicts;
}

static inline struct arc_verdict judge(struct arena *arena, struct txt_resolver *dns, struct str message) {
    struct header header;
    struct str body = body_of(arena, message, &header);
    struct arc_verify *v = arc_verify_new(arena, &header);
    for (; body.len; body = str_from_index(body, 5))
        arc_verify_body(v, str_head(body, 5));
    struct arc_verdict verdict = arc_verify_end(v, &dns->resolver, 0);
    arc_verify_free(v);
    return verdict;
}

/* Replaces the first `from`. */
static inline struct str replaced(struct arena *arena, struct str text, const char *from, const char *to) {
    ptrdiff_t at = str_find(text, str_of(from));
    assert_true(at >= 0);
    struct str before = str_head(text, (size_t)at), after = str_from_index(text, (size_t)at + strlen(from));
    return str_printf(arena, "%.*s%s%.*s", STR_FMT(before), to, STR_FMT(after));
}
