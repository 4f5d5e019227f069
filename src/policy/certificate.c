#include "policy/certificate.h"

#include "seeded_bug.h"

enum { RANK_COVERS = 1, RANK_COVERED, RANK_SAME_STAR, RANK_SAME, RANK_SHIFT = 8 };

static bool is_star(struct str name) { return str_starts(name, STR("*.")); }

static unsigned labels(struct str name) {
    unsigned count = 0;
    struct str label;
    while (str_cut(&name, '.', &label))
        count++;
    return count;
}

/* Is the host directly below what the star stands before? */
static bool covers(struct str star, struct str host) {
    ptrdiff_t dot = str_index(host, '.');
    return dot > 0 && str_eq(str_from_index(host, (size_t)dot), str_from_index(star, 1));
}

static unsigned rank_of(unsigned kind, struct str star) { return kind << RANK_SHIFT | labels(star); }

unsigned certificate_rank(struct str configured, struct str name) {
    bool ours = is_star(configured), theirs = is_star(name);
    if (!configured.len || !name.len)
        return 0;
    if (str_eq(configured, name))
        return ours ? rank_of(RANK_SAME_STAR, name) : RANK_SAME << RANK_SHIFT;
    if (!ours && theirs && covers(name, configured))
        return rank_of(RANK_COVERED, name);
    if (ours && !theirs && covers(configured, name))
        return rank_of(RANK_COVERS, configured);
    return 0;
}

bool certificate_in_tenant(const struct policy *p, const struct tenant *t, struct str name) {
    struct str label;
    if (is_star(name))
        name = str_from_index(name, 2);
    while (name.len) {
        if (tenant_accepts(p, t, name))
            return true;
        str_cut(&name, '.', &label);
    }
    return false;
}

bool policy_has_certificates(const struct policy *p) {
    for (size_t i = 0; i < p->tenant_count; i++)
        for (size_t j = 0; j < p->tenants[i].connector_count; j++)
            if (p->tenants[i].connectors[j].trust)
                return true;
    return false;
}

/* ---- the search ---- */

/* What a set of anchors said of the certificate. */
struct opinion {
    bool asked;
    int error;
    struct str why;
};

struct candidate {
    const struct connector *connector;
    struct str name;
    unsigned rank;
    const struct opinion *opinion;
};

struct search {
    const struct policy *policy;
    const struct certificate_client *client;
    struct arena *arena;
    struct opinion *opinions; /* for each of policy->trusts */
    struct candidate *candidates;
    size_t count, room;
};

static const struct opinion *opinion_of(struct search *s, const struct tls_trust *trust) {
    size_t at = 0;
    while (s->policy->trusts[at].trust != trust)
        at++;
    struct opinion *o = &s->opinions[at];
    if (!o->asked) {
        o->asked = true;
        o->error = s->client->verify(s->client->arg, trust, s->arena, &o->why);
#ifdef SLUICE_SEEDED_BUG_UNVERIFIED_CERTIFICATE_COUNTS
        o->error = 0;
#endif
    }
    return o;
}

static void consider(struct search *s, const struct connector *c) {
    struct candidate best = {.connector = c};
    for (size_t i = 0; i < s->client->name_count; i++) {
        unsigned rank = certificate_rank(c->certificate, s->client->names[i]);
        if (rank > best.rank) {
            best.rank = rank;
            best.name = s->client->names[i];
        }
    }
    if (!best.rank)
        return;
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 4;
        struct candidate *more = arena_array(s->arena, struct candidate, s->room);
        if (s->count)
            memcpy(more, s->candidates, s->count * sizeof *more);
        s->candidates = more;
    }
    best.name = str_copy(s->arena, best.name);
    best.opinion = opinion_of(s, c->trust);
    s->candidates[s->count++] = best;
}

void policy_connectors_by_certificate(const struct policy *p, const struct certificate_client *client,
                                      struct arena *arena, struct certificate_facts *ret) {
    struct search s = {.policy = p, .client = client, .arena = arena};
    unsigned best = 0;
    s.opinions = arena_array(arena, struct opinion, p->trust_count);
    for (size_t i = 0; i < p->tenant_count; i++)
        for (size_t j = 0; j < p->tenants[i].connector_count; j++)
            if (p->tenants[i].connectors[j].trust)
                consider(&s, &p->tenants[i].connectors[j]);
    for (size_t i = 0; i < s.count; i++)
        if (!s.candidates[i].opinion->error && s.candidates[i].rank > best)
            best = s.candidates[i].rank;
    struct certificate_match *matches = arena_array(arena, struct certificate_match, s.count);
    struct certificate_doubt *doubts = arena_array(arena, struct certificate_doubt, s.count);
    *ret = (struct certificate_facts){.matches = matches, .doubts = doubts};
    for (size_t i = 0; i < s.count; i++) {
        const struct candidate *c = &s.candidates[i];
        if (c->rank < best)
            continue;
        if (c->opinion->error)
            doubts[ret->doubt_count++] = (struct certificate_doubt){c->connector, c->name, c->opinion->why};
        else
            matches[ret->match_count++] = (struct certificate_match){c->connector, c->name};
    }
}
