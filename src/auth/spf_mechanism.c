#include "auth/spf_inside.h"
#include "base/buf.h"

/* The first `bits` of 128 equal? ip_in, for networks that may be IPv4-mapped by spelling only. */
static bool prefix_equal(const struct ip *a, const struct ip *b, unsigned bits) {
    unsigned whole = bits / 8, left = bits % 8;
    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return !left || ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - left)) == 0;
}

/* 5.6: an IPv4 client matches ip4 only, whatever the network of an ip6 looks like. */
static enum spf_match match_network(const struct ip *client, const struct spf_term *term) {
    bool four = ip_is_v4(client);
    if (four != (term->kind == SPF_TERM_IP4))
        return SPF_MISS;
    return prefix_equal(client, &term->network, four ? 96 + term->bits4 : term->bits6) ? SPF_MATCH : SPF_MISS;
}

static enum dns_type address_type(const struct ip *client) { return ip_is_v4(client) ? DNS_A : DNS_AAAA; }

static bool has_address(const struct dns_answer *answer, const struct ip *client,
                        const struct spf_term *term) {
    unsigned bits = ip_is_v4(client) ? 96 + term->bits4 : term->bits6;
    for (size_t i = 0; i < answer->count; i++)
        if (ip_is_v4(&answer->records[i].ip) == ip_is_v4(client) &&
            prefix_equal(client, &answer->records[i].ip, bits))
            return true;
    return false;
}

static enum spf_match failed(struct spf_work *w, const struct spf_frame *frame, const struct spf_term *term) {
    return spf_fault(w, frame, term->text, "the DNS did not answer", SPF_TEMPORARY);
}

/* 4.6.4: the term's own question had an empty answer. */
static enum spf_match void_answer(struct spf_work *w, const struct spf_frame *frame,
                                  const struct spf_term *term) {
    if (++w->ret->voids <= SPF_VOIDS_MAX)
        return SPF_MISS;
    return spf_fault(w, frame, term->text, "a third term whose look-up has no answer", SPF_PERMANENT);
}

static enum spf_match match_a(struct spf_work *w, const struct spf_frame *frame, const struct spf_term *term,
                              struct str target) {
    SPF_SCRATCH;
    struct dns_answer answer;
    const struct ip *client = &w->query->ip;
    spf_ask(w, target, term->kind == SPF_TERM_EXISTS ? DNS_A : address_type(client), scratch, &answer);
    if (answer.status == DNS_FAILED)
        return failed(w, frame, term);
    if (answer.status == DNS_NONE || !answer.count)
        return void_answer(w, frame, term);
    return term->kind == SPF_TERM_EXISTS || has_address(&answer, client, term) ? SPF_MATCH : SPF_MISS;
}

static enum spf_match match_mx(struct spf_work *w, const struct spf_frame *frame, const struct spf_term *term,
                               struct str target) {
    SPF_SCRATCH;
    struct dns_answer mx, answer;
    spf_ask(w, target, DNS_MX, scratch, &mx);
    if (mx.status == DNS_FAILED)
        return failed(w, frame, term);
    if (mx.status == DNS_NONE || !mx.count)
        return void_answer(w, frame, term);
    if (mx.count > SPF_NAMES_MAX)
        return spf_fault(w, frame, term->text, "more than 10 MX names", SPF_PERMANENT);
    for (size_t i = 0; i < mx.count; i++) {
        if (!spf_name_askable(mx.records[i].name))
            continue;
        struct arena *one __attribute__((cleanup(spf_drop_arena))) = arena_new(0);
        spf_ask(w, mx.records[i].name, address_type(&w->query->ip), one, &answer);
        if (answer.status == DNS_FAILED)
            return failed(w, frame, term);
        if (answer.status == DNS_RECORDS && has_address(&answer, &w->query->ip, term))
            return SPF_MATCH;
    }
    return SPF_MISS;
}

static struct str reverse_name(struct arena *arena, const struct ip *ip) {
    struct spf_macro_values values = {.ip = *ip};
    struct str name = STR_NULL;
    if (!spf_macro_expand(arena, STR("%{ir}.%{v}.arpa"), SPF_MACRO_DOMAIN, &values, 0, &name))
        return STR_NULL;
    return name;
}

/* The names of the client whose addresses hold it (5.5), asked for once a check. Failed look-ups are passed
 * over: the domain has no say in them. */
static void know_client(struct spf_work *w) {
    if (w->client_known)
        return;
    w->client_known = true;
    SPF_SCRATCH;
    struct dns_answer ptr, answer;
    static const struct spf_term whole = {.bits4 = 32, .bits6 = 128};
    const struct ip *client = &w->query->ip;
    spf_ask(w, reverse_name(scratch, client), DNS_PTR, scratch, &ptr);
    w->client_status = ptr.status;
    for (size_t i = 0; i < ptr.count && i < SPF_NAMES_MAX; i++) {
        struct str name = ptr.records[i].name;
        if (!spf_name_askable(name))
            continue;
        struct arena *one __attribute__((cleanup(spf_drop_arena))) = arena_new(0);
        spf_ask(w, name, address_type(client), one, &answer);
        if (answer.status == DNS_RECORDS && has_address(&answer, client, &whole))
            w->client_names[w->client_count++] = str_copy(w->arena, name);
    }
}

static bool is_below(struct str name, struct str domain) {
    return name.len > domain.len && str_ends_nocase(name, domain) &&
           name.at[name.len - domain.len - 1] == '.';
}

static enum spf_match match_ptr(struct spf_work *w, const struct spf_frame *frame,
                                const struct spf_term *term, struct str target) {
    know_client(w);
    for (size_t i = 0; i < w->client_count; i++)
        if (str_eq_nocase(w->client_names[i], target) || is_below(w->client_names[i], target))
            return SPF_MATCH;
    return w->client_status == DNS_NONE ? void_answer(w, frame, term) : SPF_MISS;
}

/* 7.3: the domain itself, else one below it, else any. */
struct str spf_validated_name(void *work) {
    struct spf_work *w = work;
    know_client(w);
    struct str best = w->client_count ? w->client_names[0] : STR("unknown");
    for (size_t i = w->client_count; i-- > 0;)
        if (is_below(w->client_names[i], w->values.domain))
            best = w->client_names[i];
    for (size_t i = 0; i < w->client_count; i++)
        if (str_eq_nocase(w->client_names[i], w->values.domain))
            best = w->client_names[i];
    return best;
}

enum spf_match spf_mechanism(struct spf_work *w, const struct spf_frame *frame, const struct spf_term *term,
                             struct str target) {
    if (term->kind == SPF_TERM_IP4 || term->kind == SPF_TERM_IP6)
        return match_network(&w->query->ip, term);
    if (!spf_name_askable(target)) {
        spf_step_end(w, SPF_STEP_MISS, "no name that the DNS could hold");
        return SPF_MISS;
    }
    switch (term->kind) {
    case SPF_TERM_MX:
        return match_mx(w, frame, term, target);
    case SPF_TERM_PTR:
        return match_ptr(w, frame, term, target);
    default:
        return match_a(w, frame, term, target);
    }
}
