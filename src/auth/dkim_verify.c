#include "auth/dkim_signature.h"

#include <openssl/crypto.h>
#include <stdlib.h>

struct judged {
    struct dkim_signature signature;
    struct str why; /* of a result that is certain before the body */
    enum dkim_result result;
    size_t body; /* its entry in `bodies` */
};

struct dkim_verify {
    struct arena *arena;
    const struct header *header;
    struct dkim_fields fields;
    struct judged signatures[DKIM_VERIFY_MAX];
    size_t count, ignored;
    struct dkim_body_hash bodies[DKIM_VERIFY_MAX]; /* one for each form and length that some signature has */
    uint8_t digests[DKIM_VERIFY_MAX][DKIM_DIGEST_SIZE];
    size_t body_count;
};

static const char *const result_names[] = {
#define X(name, text) [DKIM_##name] = text,
    DKIM_RESULTS(X)
#undef X
};

const char *dkim_result_name(enum dkim_result result) { return result_names[result]; }

static size_t body_of(struct dkim_verify *v, const struct dkim_signature *s) {
    size_t i = 0;
    while (i < v->body_count && (v->bodies[i].canon.mode != s->body_mode ||
                                 v->bodies[i].limited != s->has_length || v->bodies[i].limit != s->length))
        i++;
    if (i == v->body_count)
        dkim_body_hash_start(&v->bodies[v->body_count++], s->body_mode, s->has_length, s->length);
    return i;
}

/* What the clock says; all that needs neither key nor body. */
static void judge_times(struct judged *judged, int64_t now_s) {
    const struct dkim_signature *s = &judged->signature;
    uint64_t now = now_s > 0 ? (uint64_t)now_s : 0;
    if (s->has_expiry && now > DKIM_SKEW_S && s->expiry < now - DKIM_SKEW_S) {
        judged->result = DKIM_FAIL;
        judged->why = STR("the signature has expired");
    } else if (s->has_time && s->time > now + DKIM_SKEW_S) {
        judged->result = DKIM_FAIL;
        judged->why = STR("the signature is from the future");
    }
}

struct dkim_verify *dkim_verify_new(struct arena *arena, const struct header *header, int64_t now_s) {
    struct dkim_verify *v = xcalloc(1, sizeof *v);
    size_t from = header_count(header, STR("From"));
    v->arena = arena;
    v->header = header;
    v->fields = dkim_fields_of(arena, header);
    for (const struct header_field *f = NULL; (f = header_find(header, STR("DKIM-Signature"), f));) {
        if (v->count == DKIM_VERIFY_MAX) {
            v->ignored++;
            continue;
        }
        struct judged *judged = &v->signatures[v->count++];
        judged->result = dkim_signature_parse(arena, DKIM_MESSAGE, f, &judged->signature, &judged->why);
        if (judged->result == DKIM_PASS && from != 1) {
            judged->result = DKIM_PERMERROR;
            judged->why = from ? STR("the message has more than one From") : STR("the message has no From");
        }
        if (judged->result == DKIM_PASS)
            judge_times(judged, now_s);
        if (judged->result == DKIM_PASS)
            judged->body = body_of(v, &judged->signature);
    }
    return v;
}

bool dkim_verify_wants_body(const struct dkim_verify *v) { return v->body_count > 0; }

void dkim_verify_body(struct dkim_verify *v, struct str chunk) {
    for (size_t i = 0; i < v->body_count; i++)
        dkim_body_hash_feed(&v->bodies[i], chunk);
}

static void header_digest(struct dkim_verify *v, const struct dkim_signature *s,
                          uint8_t out[DKIM_DIGEST_SIZE]) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    dkim_fields_canon(&v->fields, s->headers, s->header_mode, &text);
    canon_signature_field(&text, s->header_mode, s->field, s->b_hole);
    dkim_sha256(buf_view(&text), out);
}

static enum dkim_result judge(struct dkim_verify *v, struct dkim_lookups *lookups, struct judged *judged,
                              struct dkim_verdict *verdict) {
    const struct dkim_signature *s = &judged->signature;
    const struct dkim_body_hash *body = &v->bodies[judged->body];
    uint8_t digest[DKIM_DIGEST_SIZE];
    const struct dkim_lookup *lookup = dkim_lookup_key(lookups, s);
    if (lookup->result != DKIM_PASS) {
        verdict->reason = lookup->why;
        return lookup->result;
    }
    verdict->key_bits = lookup->record.bits;
    verdict->testing = lookup->record.testing;
    enum dkim_result allowed = dkim_key_allowed(&lookup->record, s, &verdict->reason);
    if (allowed != DKIM_PASS)
        return allowed;
    if (s->has_length && s->length > body->total) {
        verdict->reason = STR("l= is more than the body has");
        return DKIM_PERMERROR;
    }
    verdict->unsigned_bytes = s->has_length ? body->total - s->length : 0;
    if (CRYPTO_memcmp(s->body_hash.at, v->digests[judged->body], DKIM_DIGEST_SIZE) != 0) {
        verdict->reason = STR("the body hash does not match");
        return DKIM_FAIL;
    }
    header_digest(v, s, digest);
    if (!dkim_record_verify(&lookup->record, digest, s->b)) {
        verdict->reason = STR("the signature does not fit the header");
        return DKIM_FAIL;
    }
    return DKIM_PASS;
}

/* The first 8 characters of b=, without folds. */
static struct str b_start(struct arena *arena, struct str text) {
    char *out = arena_alloc(arena, 8);
    size_t len = 0;
    for (size_t i = 0; i < text.len && len < 8; i++)
        if (!strchr(" \t\r\n", text.at[i]))
            out[len++] = text.at[i];
    return str_from(out, len);
}

struct dkim_verdicts dkim_verify_end(struct dkim_verify *v, struct resolver *resolver, int64_t deadline) {
    struct dkim_verdicts all = {arena_array(v->arena, struct dkim_verdict, v->count), v->count, v->ignored};
    struct dkim_lookups lookups = {.arena = v->arena, .resolver = resolver, .deadline = deadline};
    for (size_t i = 0; i < v->body_count; i++)
        dkim_body_hash_end(&v->bodies[i], v->digests[i]);
    for (size_t i = 0; i < v->count; i++) {
        struct judged *judged = &v->signatures[i];
        const struct dkim_signature *s = &judged->signature;
        all.items[i] = (struct dkim_verdict){.result = judged->result,
                                             .reason = judged->why,
                                             .domain = s->domain,
                                             .selector = s->selector,
                                             .identity = s->identity,
                                             .algorithm = s->algorithm_text,
                                             .b = b_start(v->arena, s->b_text)};
        if (judged->result == DKIM_PASS)
            all.items[i].result = judge(v, &lookups, judged, &all.items[i]);
    }
    dkim_lookups_free(&lookups);
    return all;
}

struct dkim_verify *dkim_verify_free(struct dkim_verify *v) {
    for (size_t i = 0; v && i < v->body_count; i++)
        dkim_body_hash_free(&v->bodies[i]);
    free(v);
    return NULL;
}
