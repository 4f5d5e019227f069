#include "auth/arc.h"
#include "auth/arc_set.h"
#include "auth/dkim_check.h"
#include "rt/fiber.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct arc_verify {
    struct arena *arena;
    const struct header *header;
    struct arc_sets sets;
    struct dkim_signature seals[ARC_INSTANCES_MAX + 1];
    struct dkim_signature
        messages[ARC_INSTANCES_MAX + 1]; /* those before the newest: instance 0 when malformed */
    struct dkim_bodies bodies;
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

/* The newest message signature counts (5.2 step 4); the others tell since when the message is as it is. */
static void read_messages(struct arc_verify *v) {
    struct str why;
    for (unsigned i = v->sets.highest; i >= 1 && !v->decided; i--) {
        struct dkim_signature *s = &v->messages[i];
        if (dkim_signature_parse(v->arena, DKIM_ARC_MESSAGE, v->sets.at[i].message, s, &why) == DKIM_PASS)
            dkim_bodies_want(&v->bodies, s);
        else if (i == v->sets.highest)
            fail(v, i, why);
        else
            s->instance = 0;
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
    if (!v->decided)
        read_messages(v);
    return v;
}

bool arc_verify_wants_body(const struct arc_verify *v) { return !v->decided; }

void arc_verify_body(struct arc_verify *v, struct str chunk) {
    if (!v->decided)
        dkim_bodies_feed(&v->bodies, chunk);
}

/* Has the signature a key that may have made it? If not, the chain fails. */
static const struct dkim_record *key_of(struct arc_verify *v, struct dkim_lookups *lookups,
                                        const struct dkim_signature *s) {
    const struct dkim_lookup *lookup = dkim_lookups_find(lookups, s);
    struct str why;
    if (lookup->result != DKIM_PASS) {
        v->verdict.temporary = lookup->result == DKIM_TEMPERROR;
        fail(v, s->instance, lookup->why);
    } else if (dkim_key_allowed(&lookup->record, s, &why) != DKIM_PASS) {
        fail(v, s->instance, why);
    } else {
        return &lookup->record;
    }
    return NULL;
}

static void check_message(struct arc_verify *v, struct dkim_fields *fields, struct dkim_lookups *lookups) {
    const struct dkim_signature *s = &v->messages[v->sets.highest];
    const struct dkim_record *key = key_of(v, lookups, s);
    if (key && !dkim_signature_fits(fields, s, key))
        fail(v, s->instance, STR("the message signature does not fit the header"));
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

/* The seals, newest first, on an offload thread. */
struct sealing {
    const struct arc_verify *verify;
    const struct dkim_record *keys[ARC_INSTANCES_MAX + 1];
    bool hashed;
    unsigned bad; /* the newest seal that does not fit; 0: none */
};

static void compute_seals(void *arg) {
    struct sealing *sealing = arg;
    const struct arc_verify *v = sealing->verify;
    uint8_t digests[ARC_INSTANCES_MAX + 1][DKIM_DIGEST_SIZE];
    sealing->hashed = seal_digests(v, digests);
    for (unsigned i = v->sets.highest; i >= 1 && sealing->hashed && !sealing->bad; i--)
        if (!dkim_record_verify(sealing->keys[i], digests[i], v->seals[i].b))
            sealing->bad = i;
}

static void check_seals(struct arc_verify *v, struct dkim_lookups *lookups) {
    struct sealing sealing = {.verify = v};
    for (unsigned i = v->sets.highest; i >= 1 && !v->decided; i--)
        sealing.keys[i] = key_of(v, lookups, &v->seals[i]);
    if (v->decided)
        return;
    offload(compute_seals, &sealing);
    if (!sealing.hashed)
        fail(v, 0, STR("the seals could not be hashed"));
    else if (sealing.bad)
        fail(v, sealing.bad, STR("the seal does not fit the sets"));
}

/* RFC 8617 5.2 step 5: since when is the message as it is? Optional, so no further question goes to the DNS:
 * a signature whose key was not asked for counts as one that does not fit. */
static unsigned oldest_pass(struct arc_verify *v, struct dkim_fields *fields, struct dkim_lookups *lookups) {
    for (unsigned i = v->sets.highest - 1; i >= 1; i--) {
        const struct dkim_signature *s = &v->messages[i];
        const struct dkim_lookup *lookup = s->instance ? dkim_lookups_find(lookups, s) : NULL;
        struct str why;
        uint64_t rest;
        if (!lookup || lookup->result != DKIM_PASS ||
            dkim_key_allowed(&lookup->record, s, &why) != DKIM_PASS ||
            dkim_bodies_check(&v->bodies, s, &why, &rest) != DKIM_PASS ||
            !dkim_signature_fits(fields, s, &lookup->record))
            return i + 1;
    }
    return 0;
}

struct arc_verdict arc_verify_end(struct arc_verify *v, struct resolver *resolver, int64_t deadline) {
    struct dkim_lookups lookups = {.arena = v->arena, .resolver = resolver, .deadline = deadline};
    struct dkim_fields fields = {0};
    const struct dkim_signature *newest = &v->messages[v->sets.highest];
    struct str why;
    uint64_t rest;
    if (!v->decided) {
        dkim_bodies_end(&v->bodies);
        if (dkim_bodies_check(&v->bodies, newest, &why, &rest) != DKIM_PASS)
            fail(v, newest->instance, why);
    }
    if (!v->decided) {
        fields = dkim_fields_of(v->arena, v->header);
        dkim_lookups_want(&lookups, newest);
        for (unsigned i = v->sets.highest; i >= 1; i--)
            dkim_lookups_want(&lookups, &v->seals[i]);
        dkim_lookups_run(&lookups);
        check_message(v, &fields, &lookups);
    }
    if (!v->decided)
        check_seals(v, &lookups);
    if (!v->decided) {
        v->verdict.result = ARC_PASS;
        v->verdict.oldest_pass = oldest_pass(v, &fields, &lookups);
    }
    v->decided = true;
    dkim_lookups_free(&lookups);
    return v->verdict;
}

struct arc_verify *arc_verify_free(struct arc_verify *v) {
    if (v)
        dkim_bodies_free(&v->bodies);
    free(v);
    return NULL;
}
