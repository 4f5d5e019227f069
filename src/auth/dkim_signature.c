#include "auth/dkim_signature.h"
#include "auth/arc.h"
#include "mail/address.h"

/* One rule of a signature: its text says what is wrong when it does not hold. */
#define REQUIRE(condition, text)                                                                             \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return STR(text);                                                                                \
    } while (0)

static bool canon_named(struct str name, enum canon *ret) {
    bool relaxed = str_eq(name, STR("relaxed"));
    *ret = relaxed ? CANON_RELAXED : CANON_SIMPLE;
    return relaxed || str_eq(name, STR("simple"));
}

/* c=; absent it is simple/simple, and a lone word is of the header. */
static struct str read_canon(const struct dkim_tags *tags, struct dkim_signature *s) {
    const struct dkim_tag *c = dkim_tag_find(tags, "c");
    struct str rest = c ? c->value : STR("simple/simple"), header, body = STR("simple");
    str_cut(&rest, '/', &header);
    if (rest.at)
        body = rest;
    REQUIRE(canon_named(header, &s->header_mode) && canon_named(body, &s->body_mode),
            "c= is no canonicalisation that is known");
    return STR_NULL;
}

static struct str read_algorithm(const struct dkim_tags *tags, struct dkim_signature *s) {
    s->algorithm_text = dkim_tag_value(tags, "a");
    REQUIRE(s->algorithm_text.len, "a= is missing");
    REQUIRE(!str_eq(s->algorithm_text, STR("rsa-sha1")), "rsa-sha1 is no longer accepted (RFC 8301)");
    bool ed25519 = str_eq(s->algorithm_text, STR("ed25519-sha256"));
    s->algorithm = ed25519 ? DKIM_ED25519 : DKIM_RSA;
    REQUIRE(ed25519 || str_eq(s->algorithm_text, STR("rsa-sha256")), "a= is no algorithm that is known");
    return STR_NULL;
}

/* Lower case, A-labels: messages of SMTPUTF8 may have U-labels in d=, s= and i= (RFC 8616 section 5). */
static bool read_domain(struct arena *arena, struct str written, struct str *ret) {
    if (domain_valid(written, false)) {
        *ret = str_lower(arena, written);
        return true;
    }
    return domain_valid(written, true) && domain_normal(arena, written, ret) == 0;
}

static struct str read_names(struct arena *arena, const struct dkim_tags *tags, struct dkim_signature *s) {
    struct str domain = dkim_tag_value(tags, "d"), selector = dkim_tag_value(tags, "s");
    REQUIRE(read_domain(arena, domain, &s->domain), "d= is no domain");
    REQUIRE(selector.len <= DKIM_SELECTOR_MAX && read_domain(arena, selector, &s->selector),
            "s= is no selector");
    return STR_NULL;
}

static bool read_number(const struct dkim_tags *tags, const char *name, bool *ret_there, uint64_t *ret) {
    const struct dkim_tag *tag = dkim_tag_find(tags, name);
    *ret_there = tag;
    return !tag || str_to_u64(tag->value, ret);
}

static struct str read_times(const struct dkim_tags *tags, struct dkim_signature *s) {
    REQUIRE(read_number(tags, "t", &s->has_time, &s->time), "t= is no time");
    REQUIRE(read_number(tags, "x", &s->has_expiry, &s->expiry), "x= is no time");
    REQUIRE(!s->has_expiry || !s->has_time || s->expiry > s->time, "x= is not after t=");
    return STR_NULL;
}

static struct str read_instance(const struct dkim_tags *tags, struct dkim_signature *s) {
    uint64_t i = 0;
    REQUIRE(str_to_u64(dkim_tag_value(tags, "i"), &i) && i >= 1 && i <= ARC_INSTANCES_MAX,
            "i= is no instance");
    s->instance = (unsigned)i;
    return STR_NULL;
}

/* i= of a DKIM-Signature: d= or below it. */
static struct str read_identity(struct arena *arena, const struct dkim_tags *tags, struct dkim_signature *s) {
    struct str i = dkim_tag_value(tags, "i"), domain;
    if (!i.at) {
        s->identity = str_printf(arena, "@%.*s", STR_FMT(s->domain));
        return STR_NULL;
    }
    i = dkim_quoted_read(arena, i);
    ptrdiff_t at = str_rindex(i, '@');
    REQUIRE(at >= 0, "i= is no address");
    REQUIRE(read_domain(arena, str_from_index(i, (size_t)at + 1), &domain), "i= is no address");
    bool below = domain.len > s->domain.len && str_ends_nocase(domain, s->domain) &&
                 domain.at[domain.len - s->domain.len - 1] == '.';
    REQUIRE(str_eq_nocase(domain, s->domain) || below, "i= is not in the domain of d=");
    s->identity = i;
    return STR_NULL;
}

/* h=: names, From among them. ARC lets names be empty and From be absent (RFC 8617 4.1.2). */
static struct str read_headers(const struct dkim_tags *tags, struct dkim_signature *s) {
    const struct dkim_tag *h = dkim_tag_find(tags, "h");
    size_t count = 0;
    bool from = false, seal = false, empty = false;
    REQUIRE(h, "h= is missing");
    for (struct str rest = h->value, name; dkim_list_next(&rest, ':', &name); count++) {
        from |= str_eq_nocase(name, STR("From"));
        seal |= str_eq_nocase(name, STR("ARC-Seal"));
        empty |= !name.len;
    }
    REQUIRE(count <= DKIM_HEADERS_MAX, "h= has too many names");
    REQUIRE(s->kind != DKIM_MESSAGE || !empty, "h= has an empty name");
    REQUIRE(s->kind != DKIM_MESSAGE || from, "h= does not have From");
    REQUIRE(s->kind != DKIM_ARC_MESSAGE || !seal, "h= has ARC-Seal");
    s->headers = h->value;
    return STR_NULL;
}

static struct str read_body(struct arena *arena, const struct dkim_tags *tags, struct dkim_signature *s) {
    struct str bh = dkim_tag_value(tags, "bh");
    REQUIRE(bh.len, "bh= is missing");
    REQUIRE(dkim_base64_read(arena, bh, &s->body_hash), "bh= is no base64");
    REQUIRE(s->body_hash.len == DKIM_DIGEST_SIZE, "bh= is no SHA-256 hash");
    REQUIRE(read_number(tags, "l", &s->has_length, &s->length), "l= is no number");
    return STR_NULL;
}

static struct str read_query(const struct dkim_tags *tags) {
    const struct dkim_tag *q = dkim_tag_find(tags, "q");
    bool dns = !q;
    for (struct str rest = q ? q->value : STR_NULL, part; dkim_list_next(&rest, ':', &part);)
        dns |= str_eq_nocase(part, STR("dns/txt"));
    REQUIRE(dns, "q= is no way to ask that is known");
    return STR_NULL;
}

static struct str read_signature(struct arena *arena, const struct dkim_tags *tags,
                                 struct dkim_signature *s) {
    const struct dkim_tag *b = dkim_tag_find(tags, "b");
    REQUIRE(b && b->value.len, "b= is missing");
    s->b_text = b->value;
    s->b_hole = b->hole;
    REQUIRE(dkim_base64_read(arena, b->value, &s->b), "b= is no base64");
    return STR_NULL;
}

static struct str read_seal(const struct dkim_tags *tags, struct dkim_signature *s) {
    s->cv = dkim_tag_value(tags, "cv");
    REQUIRE(!dkim_tag_find(tags, "h"), "a seal has no h=");
    REQUIRE(str_eq(s->cv, STR("none")) || str_eq(s->cv, STR("pass")) || str_eq(s->cv, STR("fail")),
            "cv= is not none, pass or fail");
    return STR_NULL;
}

static struct str read_message(struct arena *arena, const struct dkim_tags *tags, struct dkim_signature *s) {
    struct str fault = read_canon(tags, s);
    if (!fault.at)
        fault = read_headers(tags, s);
    if (!fault.at)
        fault = read_body(arena, tags, s);
    if (!fault.at)
        fault = read_query(tags);
    return fault;
}

static struct str read_all(struct arena *arena, const struct dkim_tags *tags, struct dkim_signature *s) {
    struct str fault = STR_NULL;
    if (s->kind != DKIM_MESSAGE)
        fault = read_instance(tags, s);
    else if (!str_eq(dkim_tag_value(tags, "v"), STR("1")))
        return STR("v= is not 1");
    if (!fault.at)
        fault = read_names(arena, tags, s);
    if (!fault.at && s->kind == DKIM_MESSAGE)
        fault = read_identity(arena, tags, s);
    if (!fault.at)
        fault = read_signature(arena, tags, s);
    if (!fault.at)
        fault = read_algorithm(tags, s);
    if (!fault.at)
        fault = s->kind == DKIM_ARC_SEAL ? read_seal(tags, s) : read_message(arena, tags, s);
    return fault.at ? fault : read_times(tags, s);
}

enum dkim_result dkim_signature_parse(struct arena *arena, enum dkim_kind kind,
                                      const struct header_field *field, struct dkim_signature *ret,
                                      struct str *ret_why) {
    struct dkim_tags tags;
    *ret = (struct dkim_signature){.field = field, .kind = kind, .header_mode = CANON_RELAXED};
    struct str fault =
        dkim_tags_parse(field->value, &tags) ? read_all(arena, &tags, ret) : STR("the tag list is malformed");
    if (fault.at)
        *ret_why = fault;
    return fault.at ? DKIM_PERMERROR : DKIM_PASS;
}
