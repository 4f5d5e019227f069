#include "auth/dkim_check.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

static void hash_held(struct dkim_body_hash *hash) {
    dkim_must(EVP_DigestUpdate(hash->context, hash->held, hash->held_len) > 0);
    hash->held_len = 0;
}

static void hold(struct dkim_body_hash *hash, struct str bytes) {
    if (bytes.len > sizeof hash->held - hash->held_len)
        hash_held(hash);
    if (bytes.len >= sizeof hash->held) {
        dkim_must(EVP_DigestUpdate(hash->context, bytes.at, bytes.len) > 0);
    } else {
        memcpy(hash->held + hash->held_len, bytes.at, bytes.len);
        hash->held_len += bytes.len;
    }
}

/* Takes the digest of what was hashed until now, for the cuts that are here, and finds the next. */
static void take_cuts(struct dkim_body_hash *hash) {
    EVP_MD_CTX *copy = NULL;
    hash_held(hash);
    hash->next_cut = UINT64_MAX;
    for (size_t i = 0; i < hash->cut_count; i++) {
        struct dkim_body_cut *cut = &hash->cuts[i];
        if (cut->length == hash->total && !cut->reached) {
            copy = copy ? copy : EVP_MD_CTX_new();
            dkim_must(copy && EVP_MD_CTX_copy_ex(copy, hash->context) > 0 &&
                      EVP_DigestFinal_ex(copy, cut->digest, NULL) > 0);
            cut->reached = true;
        } else if (cut->length > hash->total && cut->length < hash->next_cut) {
            hash->next_cut = cut->length;
        }
    }
    EVP_MD_CTX_free(copy);
}

static void hash_bytes(void *to, struct str bytes) {
    struct dkim_body_hash *hash = to;
    while (bytes.len) {
        uint64_t room = hash->next_cut - hash->total;
        struct str part = str_head(bytes, bytes.len < room ? bytes.len : (size_t)room);
        hold(hash, part);
        hash->total += part.len;
        bytes = str_from_index(bytes, part.len);
        if (hash->total == hash->next_cut)
            take_cuts(hash);
    }
}

void dkim_body_hash_start(struct dkim_body_hash *hash, enum canon mode) {
    *hash = (struct dkim_body_hash){.context = EVP_MD_CTX_new(), .next_cut = UINT64_MAX};
    hash->canon = (struct canon_body){.mode = mode, .sink = hash_bytes, .to = hash};
    dkim_must(hash->context && EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) > 0);
}

static const struct dkim_body_cut *cut_of(const struct dkim_body_hash *hash, uint64_t length) {
    for (size_t i = 0; i < hash->cut_count; i++)
        if (hash->cuts[i].length == length)
            return &hash->cuts[i];
    return NULL;
}

void dkim_body_hash_cut(struct dkim_body_hash *hash, uint64_t length) {
    if (cut_of(hash, length) || hash->cut_count == DKIM_CUTS_MAX)
        return;
    hash->cuts[hash->cut_count++].length = length;
    take_cuts(hash);
}

void dkim_body_hash_feed(struct dkim_body_hash *hash, struct str chunk) {
    canon_body_feed(&hash->canon, chunk);
}

void dkim_body_hash_end(struct dkim_body_hash *hash) {
    canon_body_end(&hash->canon);
    hash_held(hash);
    dkim_must(EVP_DigestFinal_ex(hash->context, hash->digest, NULL) > 0);
}

const uint8_t *dkim_body_hash_at(const struct dkim_body_hash *hash, uint64_t length) {
    const struct dkim_body_cut *cut = cut_of(hash, length);
    return cut && cut->reached ? cut->digest : NULL;
}

void dkim_body_hash_free(struct dkim_body_hash *hash) {
    EVP_MD_CTX_free(hash->context);
    hash->context = NULL;
}

/* ---- for many signatures ---- */

void dkim_bodies_want(struct dkim_bodies *bodies, const struct dkim_signature *s) {
    struct dkim_body_hash *hash = &bodies->forms[s->body_mode];
    if (!bodies->used[s->body_mode])
        dkim_body_hash_start(hash, s->body_mode);
    bodies->used[s->body_mode] = true;
    if (s->has_length)
        dkim_body_hash_cut(hash, s->length);
}

bool dkim_bodies_wanted(const struct dkim_bodies *bodies) {
    return bodies->used[CANON_SIMPLE] || bodies->used[CANON_RELAXED];
}

void dkim_bodies_feed(struct dkim_bodies *bodies, struct str chunk) {
    for (size_t i = 0; i <= CANON_RELAXED; i++)
        if (bodies->used[i])
            dkim_body_hash_feed(&bodies->forms[i], chunk);
}

void dkim_bodies_end(struct dkim_bodies *bodies) {
    for (size_t i = 0; i <= CANON_RELAXED; i++)
        if (bodies->used[i])
            dkim_body_hash_end(&bodies->forms[i]);
}

enum dkim_result dkim_bodies_check(const struct dkim_bodies *bodies, const struct dkim_signature *s,
                                   struct str *ret_why, uint64_t *ret_unsigned) {
    const struct dkim_body_hash *hash = &bodies->forms[s->body_mode];
    const uint8_t *digest = s->has_length ? dkim_body_hash_at(hash, s->length) : hash->digest;
    if (!digest) {
        *ret_why = STR("l= is more than the body has");
        return DKIM_PERMERROR;
    }
    *ret_unsigned = s->has_length ? hash->total - s->length : 0;
    if (CRYPTO_memcmp(s->body_hash.at, digest, DKIM_DIGEST_SIZE) == 0)
        return DKIM_PASS;
    *ret_why = STR("the body hash does not match");
    return DKIM_FAIL;
}

void dkim_bodies_free(struct dkim_bodies *bodies) {
    for (size_t i = 0; i <= CANON_RELAXED; i++)
        dkim_body_hash_free(&bodies->forms[i]);
}
