#include "auth/arc.h"
#include "auth/arc_set.h"
#include "auth/dkim_signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct arc_verify {
    struct arena *arena;
    const struct header *header;
    struct arc_sets sets;
    struct dkim_signature seals[ARC_INSTANCES_MAX + 1];
    struct dkim_signature message; /* of the newest set */
    struct dkim_body_hash body;
    struct arc_verdict verdict; /* final when `decided` */
    bool decided;
};

const char *arc_result_name(enum arc_result result) {
    static const char *const names[] = {"none", "pass", "fail"};
    return names[result];
}

static void fail(struct arc_verify *v, unsigned instance, struct str why) {
    v->decided = true;
    v->verdict.result = ARC_FAIL;
    v->verdict.reason = instance ? str_printf(v->arena, "i=%u: %.*s", instance, STR_FMT(why)) : why;
}

/* Each seal is well-formed and says of those before it what it must (RFC 8617 5.2 steps 2 and 3). */
static void read_seals(struct arc_verify *v) {
    struct str why;
    for (unsigned i = v->verdict.instances; i >= 1 && !v->decided; i--) {
        if (dkim_signature_parse(v->arena, DKIM_ARC_SEAL, v->sets.at[i].seal, &v->seals[i], &why) !=
            DKIM_PASS)
            fail(v, i, why);
        else if (str_eq(v->seals[i].cv, STR("fail")))
            fail(v, i, STR("the seal says that the chain had failed"));
        else if (!str_eq(v->seals[i].cv, i == 1 ? STR("none") : STR("pass")))
            fail(v, i, STR("cv= of the seal does not go with its place"));
    }
}

/* What the newest set tells, also when the chain has failed. */
static void read_newest(struct arc_verify *v) {
    const struct arc_set *newest = &v->sets.at[v->sets.highest];
    struct dkim_signature seal;
    struct str ignored, results = STR_NULL;
    if (newest->results && arc_results_instance(newest->results->value, &results))
        v->verdict.results = header_unfold(v->arena, results);
    if (newest->seal &&
        dkim_signature_parse(v->arena, DKIM_ARC_SEAL, newest->seal, &seal, &ignored) == DKIM_PASS) {
        v->verdict.domain = seal.domain;
        v->verdict.ended = str_eq(seal.cv, STR("fail"));
    }
}

struct arc_verify *arc_verify_new(struct arena *arena, const struct header *header) {
    struct arc_verify *v = xcalloc(1, sizeof *v);
    v->arena = arena;
    v->header = header;
    struct str why = arc_sets_of(header, &v->sets);
    v->verdict.instances = v->sets.highest;
    if (v->sets.highest)
        read_newest(v);
    if (why.at)
        fail(v, 0, why);
    else if (!v->sets.highest)
        v->decided = true;
    if (!v->decided)
        read_seals(v);
    if (!v->decided && dkim_signature_parse(arena, DKIM_ARC_MESSAGE, v->sets.at[v->sets.highest].message,
                                            &v->message, &why) != DKIM_PASS)
        fail(v, v->sets.highest, why);
    if (!v->decided)
        dkim_body_hash_start(&v->body, v->message.body_mode, v->message.has_length, v->message.length);
    return v;
}

bool arc_verify_wants_body(const struct arc_verify *v) { return !v->decided; }

void arc_verify_body(struct arc_verify *v, struct str chunk) {
    if (!v->decided)
        dkim_body_hash_feed(&v->body, chunk);
}

/* Checks one signature with its key. */
static void check(struct arc_verify *v, struct dkim_lookups *lookups, const struct dkim_signature *s,
                  const uint8_t digest[DKIM_DIGEST_SIZE]) {
    const struct dkim_lookup *lookup = dkim_lookup_key(lookups, s);
    struct str why;
    if (lookup->result != DKIM_PASS) {
        v->verdict.temporary = lookup->result == DKIM_TEMPERROR;
        fail(v, s->instance, lookup->why);
    } else if (dkim_key_allowed(&lookup->record, s, &why) != DKIM_PASS) {
        fail(v, s->instance, why);
    } else if (!dkim_record_verify(&lookup->record, digest, s->b)) {
        fail(v, s->instance,
             s->kind == DKIM_ARC_SEAL ? STR("the seal does not fit the sets")
                                      : STR("the message signature does not fit the header"));
    }
}

static void check_message(struct arc_verify *v, struct dkim_lookups *lookups) {
    const struct dkim_signature *s = &v->message;
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    uint8_t digest[DKIM_DIGEST_SIZE];
    dkim_body_hash_end(&v->body, digest);
    if ((s->has_length && s->length > v->body.total) ||
        CRYPTO_memcmp(digest, s->body_hash.at, DKIM_DIGEST_SIZE) != 0) {
        fail(v, s->instance, STR("the body hash does not match"));
        return;
    }
    struct dkim_fields fields = dkim_fields_of(v->arena, v->header);
    dkim_fields_canon(&fields, s->headers, s->header_mode, &text);
    canon_signature_field(&text, s->header_mode, s->field, s->b_hole);
    dkim_sha256(buf_view(&text), digest);
    check(v, lookups, s, digest);
}

/* A seal covers all sets up to its own, itself without its signature (5.1.1): so each digest goes on from
 * what the one before has hashed. */
static bool seal_digests(const struct arc_verify *v, uint8_t digests[][DKIM_DIGEST_SIZE]) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    EVP_MD_CTX *all = EVP_MD_CTX_new(), *one = EVP_MD_CTX_new();
    bool done = all && one && EVP_DigestInit_ex(all, EVP_sha256(), NULL) > 0;
    for (unsigned i = 1; i <= v->sets.highest && done; i++) {
        buf_clear(&text);
        canon_field(&text, CANON_RELAXED, v->sets.at[i].results);
        canon_field(&text, CANON_RELAXED, v->sets.at[i].message);
        done = EVP_DigestUpdate(all, text.at, text.len) > 0 && EVP_MD_CTX_copy_ex(one, all) > 0;
        buf_clear(&text);
        canon_signature_field(&text, CANON_RELAXED, v->seals[i].field, v->seals[i].b_hole);
        done = done && EVP_DigestUpdate(one, text.at, text.len) > 0 &&
               EVP_DigestFinal_ex(one, digests[i], NULL) > 0;
        buf_clear(&text);
        canon_field(&text, CANON_RELAXED, v->seals[i].field);
        done = done && EVP_DigestUpdate(all, text.at, text.len) > 0;
    }
    EVP_MD_CTX_free(all);
    EVP_MD_CTX_free(one);
    return done;
}

struct arc_verdict arc_verify_end(struct arc_verify *v, struct resolver *resolver, int64_t deadline) {
    struct dkim_lookups lookups = {.arena = v->arena, .resolver = resolver, .deadline = deadline};
    uint8_t digests[ARC_INSTANCES_MAX + 1][DKIM_DIGEST_SIZE];
    if (!v->decided)
        check_message(v, &lookups);
    if (!v->decided && !seal_digests(v, digests))
        fail(v, 0, STR("the seals could not be hashed"));
    for (unsigned i = v->sets.highest; i >= 1 && !v->decided; i--)
        check(v, &lookups, &v->seals[i], digests[i]);
    if (!v->decided)
        v->verdict.result = ARC_PASS;
    v->decided = true;
    dkim_lookups_free(&lookups);
    return v->verdict;
}

struct arc_verify *arc_verify_free(struct arc_verify *v) {
    if (v)
        dkim_body_hash_free(&v->body);
    free(v);
    return NULL;
}
