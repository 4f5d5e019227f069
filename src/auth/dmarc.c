#include "auth/dmarc.h"

#include "auth/align.h"
#include "base/error.h"
#include "mail/address.h"
#include "seeded_bug.h"

#include <stdio.h>

enum { NAME_MAX_OCTETS = 253, PERCENT_MAX = 100 };

#define PREFIX "_dmarc."

static const struct str policy_names[] = {
#define X(name, text) [DMARC_POLICY_##name] = STR(text),
    DMARC_POLICIES(X)
#undef X
};

static const char *const result_names[] = {
#define X(name, text) [DMARC_##name] = (text),
    DMARC_RESULTS(X)
#undef X
};

const char *dmarc_policy_name(enum dmarc_policy policy) { return policy_names[policy].at; }
const char *dmarc_result_name(enum dmarc_result result) { return result_names[result]; }

struct str dmarc_plain(struct arena *arena, struct str text) {
    struct str head = str_head(text, DMARC_WHY_MAX);
    char *out = arena_alloc(arena, head.len);
    for (size_t i = 0; i < head.len; i++)
        out[i] = (char)(head.at[i] < 0x20 || head.at[i] > 0x7e ? '?' : head.at[i]);
    return str_from(out, head.len);
}

/* Takes a tag off *rest. The name is empty when the tag is malformed. */
static bool tag_next(struct str *rest, struct str *ret_name, struct str *ret_value) {
    struct str part;
    if (!str_cut(rest, ';', &part))
        return false;
    ptrdiff_t equals = str_index(part, '=');
    *ret_name = equals < 0 ? STR("") : str_trim(str_head(part, (size_t)equals));
    *ret_value = equals < 0 ? STR("") : str_trim(str_from_index(part, (size_t)equals + 1));
    return true;
}

/* Takes v=DMARC1 off the front; the word has its case (6.4). */
static bool version_cut(struct str *rest) {
    struct str name, value;
    return rest->len && ascii_lower(rest->at[0]) == 'v' && tag_next(rest, &name, &value) && name.len == 1 &&
           str_eq(value, STR("DMARC1"));
}

bool dmarc_is_record(struct str text) { return version_cut(&text); }

static bool policy_read(struct str word, enum dmarc_policy *ret) {
    for (size_t i = 0; i < sizeof policy_names / sizeof *policy_names; i++)
        if (str_eq_nocase(word, policy_names[i])) {
            *ret = (enum dmarc_policy)i;
            return true;
        }
    return false;
}

static bool graphic(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] <= 0x20 || s.at[i] > 0x7e)
            return false;
    return s.len > 0;
}

/* Is one of the addresses that reports go to a URI, with or without a limit of size (6.2)? */
static bool reports_wanted(struct str rua) {
    struct str uri;
    while (str_cut(&rua, ',', &uri)) {
        uri = str_trim(uri);
        ptrdiff_t limit = str_rindex(uri, '!'), colon = str_index(uri, ':');
        struct str rest =
            str_from_index(str_head(uri, limit < 0 ? uri.len : (size_t)limit), (size_t)(colon + 1));
        bool mail = str_starts_nocase(uri, STR("mailto:"));
        if (colon > 0 && graphic(uri) && rest.len && (!mail || str_index(rest, '@') > 0))
            return true;
    }
    return false;
}

/* The tags that we know, as written; the NULL view when absent. */
struct tags {
    struct str p, sp, adkim, aspf, pct, rua;
};

static struct tags tags_read(struct str rest) {
    struct tags tags = {0};
    struct {
        struct str name, *value;
    } known[] = {{STR("p"), &tags.p},       {STR("sp"), &tags.sp},   {STR("adkim"), &tags.adkim},
                 {STR("aspf"), &tags.aspf}, {STR("pct"), &tags.pct}, {STR("rua"), &tags.rua}};
    for (struct str name, value; tag_next(&rest, &name, &value);)
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (str_eq_nocase(name, known[i].name) && !known[i].value->at)
                *known[i].value = value;
    return tags;
}

int dmarc_record_parse(struct str text, struct str *ret_why, struct dmarc_record *ret) {
    struct dmarc_record record = {.percent = PERCENT_MAX};
    uint64_t percent;
    struct str rest = text;
    if (!version_cut(&rest) || text.len > DMARC_RECORD_MAX) {
        *ret_why = text.len > DMARC_RECORD_MAX ? STR("the record is too long") : STR("no v=DMARC1 in front");
        return SLUICE_ESYNTAX;
    }
    struct tags tags = tags_read(rest);
    bool valid = policy_read(tags.p, &record.policy);
    record.subdomain_policy = record.policy;
    *ret_why = valid ? STR_NULL : tags.p.at ? STR("its p= is no policy") : STR("it has no p=");
    if (valid && tags.sp.at && !policy_read(tags.sp, &record.subdomain_policy))
        *ret_why = STR("its sp= is no policy");
    if (ret_why->at && !reports_wanted(tags.rua))
        return SLUICE_ESYNTAX;
    if (ret_why->at)
        record.policy = record.subdomain_policy = DMARC_POLICY_NONE;
    record.strict_dkim = str_eq_nocase(tags.adkim, STR("s"));
    record.strict_spf = str_eq_nocase(tags.aspf, STR("s"));
    if (str_to_u64(tags.pct, &percent) && percent <= PERCENT_MAX)
        record.percent = (unsigned)percent;
    *ret = record;
    return 0;
}

/* The one record at the name, in words. */
static enum dmarc_result read_record(struct dmarc_discovery *d, struct str name, struct str text,
                                     struct arena *arena) {
    struct str why;
    char share[32] = "";
    if (dmarc_record_parse(text, &why, &d->record) < 0) {
        d->why = str_printf(arena, "the record at %.*s is of no use: %.*s", STR_FMT(name), STR_FMT(why));
        return DMARC_PERMERROR;
    }
    d->policy = str_eq(d->domain, d->from_domain) ? d->record.policy : d->record.subdomain_policy;
    if (d->record.percent < PERCENT_MAX && d->policy != DMARC_POLICY_NONE)
        snprintf(share, sizeof share, " for %u %% of such mail", d->record.percent);
    d->why = str_printf(arena, "%.*s says %s%s%s%.*s%s", STR_FMT(name), dmarc_policy_name(d->policy), share,
                        why.at ? " (" : "", STR_FMT(why), why.at ? ")" : "");
    return DMARC_PASS;
}

static void drop_arena(struct arena **arena) { arena_free(*arena); }

/* One name. NONE: no DMARC record is there, `domain` stays empty. */
static enum dmarc_result ask(struct resolver *resolver, struct str domain, int64_t deadline,
                             struct arena *arena, struct dmarc_discovery *d) {
    struct str name = str_printf(arena, PREFIX "%.*s", STR_FMT(domain)), text = STR_NULL;
    /* Answers may have 64 KiB. */
    struct arena *scratch __attribute__((cleanup(drop_arena))) = arena_new(0);
    struct dns_answer answer = {0};
    size_t count = 0;
    if (name.len > NAME_MAX_OCTETS)
        return DMARC_NONE;
    resolver_lookup(resolver, name, DNS_TXT, deadline, scratch, &answer);
#ifdef SLUICE_SEEDED_BUG_DMARC_FAILURE_IS_NONE
    if (answer.status == DNS_FAILED)
        return DMARC_NONE;
#endif
    if (answer.status == DNS_FAILED) {
        d->domain = domain;
        d->why =
            str_printf(arena, "the DNS did not answer for %.*s: %.*s", STR_FMT(name), STR_FMT(answer.why));
        return DMARC_TEMPERROR;
    }
    for (size_t i = 0; answer.status == DNS_RECORDS && i < answer.count; i++)
        if (dmarc_is_record(answer.records[i].text) && !count++)
            text = answer.records[i].text;
    if (!count)
        return DMARC_NONE;
    d->domain = domain;
    if (count == 1)
        return read_record(d, name, text, arena);
    d->why = str_printf(arena, "%zu DMARC records at %.*s, one may be there", count, STR_FMT(name));
    return DMARC_PERMERROR;
}

void dmarc_discover(struct resolver *resolver, struct str from_domain, int64_t deadline, struct arena *arena,
                    struct dmarc_discovery *ret) {
    *ret = (struct dmarc_discovery){.result = DMARC_NONE, .from_domain = STR(""), .domain = STR("")};
    if (!from_domain.len || domain_is_literal(from_domain) ||
        domain_normal(arena, from_domain, &ret->from_domain) < 0 || !ret->from_domain.len) {
        ret->from_domain = STR("");
        ret->why = STR("From has no domain");
        return;
    }
    struct str organisation = align_organisation(arena, ret->from_domain);
    bool below = organisation.len && !str_eq(organisation, ret->from_domain);
    ret->result = ask(resolver, ret->from_domain, deadline, arena, ret);
    if (ret->result == DMARC_NONE && below)
        ret->result = ask(resolver, organisation, deadline, arena, ret);
    if (ret->result == DMARC_NONE)
        ret->why = str_printf(arena, "no DMARC record at " PREFIX "%.*s%s%.*s", STR_FMT(ret->from_domain),
                              below ? " nor " PREFIX : "", STR_FMT(below ? organisation : STR("")));
}

bool dmarc_aligned(struct str domain, struct str from_domain, bool strict) {
    return align_same_organisation(domain, from_domain) && (!strict || domain_same(domain, from_domain));
}

/* SPF in half a sentence. */
static struct str spf_words(const struct dmarc_evidence *e, bool aligned, struct arena *arena) {
    if (!e->spf_domain.len)
        return str_printf(arena, "SPF %s", spf_result_text(e->spf));
    return str_printf(arena, "SPF %s for %.*s%s", spf_result_text(e->spf), STR_FMT(e->spf_domain),
                      aligned ? "" : ", which does not align");
}

static struct str verdict_words(const struct dmarc_discovery *d, const struct dmarc_evidence *e,
                                const struct dmarc_verdict *v, struct arena *arena) {
    struct str spf = spf_words(e, v->spf_aligned, arena);
    if (v->result == DMARC_PASS && v->signature >= 0)
        return str_printf(arena, "the signature of %.*s passes and aligns with %.*s",
                          STR_FMT(e->signatures[v->signature].domain), STR_FMT(d->from_domain));
    if (v->result == DMARC_PASS)
        return str_printf(arena, "%.*s, which aligns with %.*s", STR_FMT(spf), STR_FMT(d->from_domain));
    if (v->result == DMARC_FAIL || v->result == DMARC_TEMPERROR)
        return str_printf(arena, "%.*s; no aligned signature %s; %.*s", STR_FMT(spf),
                          v->result == DMARC_FAIL ? "passes" : "is known to pass", STR_FMT(d->why));
    return d->why;
}

void dmarc_judge(const struct dmarc_discovery *d, const struct dmarc_evidence *e, struct arena *arena,
                 struct dmarc_verdict *ret) {
    const struct dmarc_record *record = &d->record;
    bool unknown = false;
    *ret = (struct dmarc_verdict){.result = d->result, .signature = -1};
    ret->spf_aligned = dmarc_aligned(e->spf_domain, d->from_domain, record->strict_spf);
    unknown |= ret->spf_aligned && e->spf == SPF_TEMPERROR;
    for (size_t i = 0; i < e->count; i++) {
        if (!dmarc_aligned(e->signatures[i].domain, d->from_domain, record->strict_dkim))
            continue;
        unknown |= e->signatures[i].result == DKIM_TEMPERROR;
        if (e->signatures[i].result == DKIM_PASS && ret->signature < 0)
            ret->signature = (ptrdiff_t)i;
    }
    if (d->result == DMARC_PASS) {
        bool passes = ret->signature >= 0 || (ret->spf_aligned && e->spf == SPF_PASS);
        ret->result = passes ? DMARC_PASS : unknown ? DMARC_TEMPERROR : DMARC_FAIL;
        ret->policy = ret->result == DMARC_TEMPERROR ? DMARC_POLICY_NONE : d->policy;
        ret->why = verdict_words(d, e, ret, arena);
    } else {
        ret->why = d->why;
    }
    ret->why = dmarc_plain(arena, ret->why);
}
