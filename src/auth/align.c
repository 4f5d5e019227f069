#include "auth/align.h"
#include "mail/address.h"
#include "seeded_bug.h"

#include <libpsl.h>

#define SCRATCH struct arena *scratch __attribute__((cleanup(drop_arena))) = arena_new(0)

static void drop_arena(struct arena **arena) { arena_free(*arena); }

/* In the form that libpsl compares: lower case, A-labels. */
static bool normal(struct arena *arena, struct str domain, struct str *ret) {
    return domain.len && !domain_is_literal(domain) && domain_normal(arena, domain, ret) == 0 && ret->len;
}

static struct str organisation(struct arena *arena, struct str domain) {
    struct str registrable = str_of(psl_registrable_domain(psl_builtin(), str_c(arena, domain)));
    return registrable.len ? str_copy(arena, registrable) : domain;
}

bool align_same_organisation(struct str domain_a, struct str domain_b) {
    SCRATCH;
    struct str a, b;
    if (!normal(scratch, domain_a, &a) || !normal(scratch, domain_b, &b))
        return false;
    return str_eq(a, b) || str_eq(organisation(scratch, a), organisation(scratch, b));
}

struct str align_organisation(struct arena *arena, struct str domain) {
    struct str d;
    return normal(arena, domain, &d) ? organisation(arena, d) : STR("");
}

bool align_subdomain_or_same(struct str domain, struct str parent) {
    SCRATCH;
    struct str d, p;
    if (!normal(scratch, domain, &d) || !normal(scratch, parent, &p))
        return false;
    return str_eq(d, p) || (d.len > p.len && str_ends(d, p) && d.at[d.len - p.len - 1] == '.');
}

static bool aligned(const struct dkim_verdict *verdict, struct str domain) {
#ifdef SLUICE_SEEDED_BUG_UNALIGNED_IS_VERIFIED
    (void)domain;
    return verdict->domain.len;
#endif
    return !verdict->testing && align_same_organisation(verdict->domain, domain);
}

const struct dkim_verdict *arrival_aligned_dkim(const struct arrival_result *result, struct str domain) {
    for (size_t i = 0; i < result->dkim.count; i++) {
        const struct dkim_verdict *verdict = &result->dkim.items[i];
        if (verdict->result == DKIM_PASS && !verdict->unsigned_bytes && aligned(verdict, domain))
            return verdict;
    }
    return NULL;
}

struct str arrival_unverified(const struct arrival_result *result, struct str reverse_path,
                              struct arena *arena) {
    struct str domain = address_split(reverse_path).domain;
    const struct spf_check *spf = &result->spf;
    if (!result->checked || !reverse_path.len || arrival_aligned_dkim(result, domain))
        return STR_NULL;
    if (spf->identity == SPF_MAIL_FROM && domain_same(spf->domain, domain)) {
        if (spf->result == SPF_PASS)
            return STR_NULL;
        if (spf->result == SPF_FAIL || spf->result == SPF_SOFTFAIL)
            return str_printf(arena,
                              "SPF of %.*s said %s on arrival (%.*s), and no DKIM signature of it passed",
                              STR_FMT(spf->domain), spf_result_text(spf->result), STR_FMT(spf->reason));
    }
    for (size_t i = 0; i < result->dkim.count; i++) {
        const struct dkim_verdict *verdict = &result->dkim.items[i];
        if (verdict->result == DKIM_FAIL && aligned(verdict, domain))
            return str_printf(
                arena,
                "the DKIM signature of %.*s failed on arrival (%.*s), and neither SPF nor another "
                "signature passed",
                STR_FMT(verdict->domain), STR_FMT(verdict->reason));
    }
    return STR_NULL;
}
