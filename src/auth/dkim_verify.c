#include "auth/dkim_check.h"

#include <stdlib.h>

struct judged {
    struct dkim_signature signature;
    struct str why; /* of a result that is certain before the body */
    enum dkim_result result;
};

struct dkim_verify {
    struct arena *arena;
    const struct header *header;
    struct dkim_fields fields;
    struct judged signatures[DKIM_VERIFY_MAX];
    size_t count, ignored;
    struct dkim_bodies bodies;
};

static const char *const result_names[] = {
#define X(name, text) [DKIM_##name] = text,
    DKIM_RESULTS(X)
#undef X
};

const char *dkim_result_name(enum dkim_result result) { return result_names[result]; }

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
            dkim_bodies_want(&v->bodies, &judged->signature);
    }
    return v;
}

bool dkim_verify_wants_body(const struct dkim_verify *v) { return dkim_bodies_wanted(&v->bodies); }

void dkim_verify_body(struct dkim_verify *v, struct str chunk) { dkim_bodies_feed(&v->bodies, chunk); }

static enum dkim_result judge(struct dkim_verify *v, struct dkim_lookups *lookups,
                              const struct dkim_signature *s, struct dkim_verdict *verdict) {
    const struct dkim_lookup *lookup = dkim_lookups_find(lookups, s);
    if (lookup->result != DKIM_PASS) {
        verdict->reason = lookup->why;
        return lookup->result;
    }
    verdict->key_bits = lookup->record.bits;
    verdict->testing = lookup->record.testing;
    enum dkim_result result = dkim_key_allowed(&lookup->record, s, &verdict->reason);
    if (result == DKIM_PASS)
        result = dkim_bodies_check(&v->bodies, s, &verdict->reason, &verdict->unsigned_bytes);
    if (result == DKIM_PASS && !dkim_signature_fits(&v->fields, s, &lookup->record)) {
        verdict->reason = STR("the signature does not fit the header");
        result = DKIM_FAIL;
    }
    return result;
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
    dkim_bodies_end(&v->bodies);
    for (size_t i = 0; i < v->count; i++)
        if (v->signatures[i].result == DKIM_PASS)
            dkim_lookups_want(&lookups, &v->signatures[i].signature);
    dkim_lookups_run(&lookups);
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
            all.items[i].result = judge(v, &lookups, s, &all.items[i]);
    }
    dkim_lookups_free(&lookups);
    return all;
}

struct dkim_verify *dkim_verify_free(struct dkim_verify *v) {
    if (v)
        dkim_bodies_free(&v->bodies);
    free(v);
    return NULL;
}
