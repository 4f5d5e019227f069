#include "identity/audit.h"
#include "auth/align.h"
#include "auth/spf.h"
#include "identity/names.h"
#include "seeded_bug.h"
#include <stdio.h>

enum { NAMES_MAX = 10 }; /* as many PTR names as receivers look at (RFC 7208 4.6.4) */

struct auditing {
    struct resolver *resolver;
    const struct audit_query *query;
    struct arena *arena;
    struct audit *audit;
};

const char *audit_check_name(enum audit_check check) {
    static const char *const NAMES[] = {
#define X(name, text) [AUDIT_##name] = text,
        AUDIT_CHECKS(X)
#undef X
    };
    return NAMES[check];
}

static void find(struct auditing *a, enum audit_check check, enum audit_state state, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void find(struct auditing *a, enum audit_check check, enum audit_state state, const char *format,
                 ...) {
    va_list args;
    va_start(args, format);
    a->audit->findings[check] = (struct audit_finding){state, str_vprintf(a->arena, format, args)};
    va_end(args);
}

static struct dns_answer ask(struct auditing *a, struct str name, enum dns_type type) {
    struct dns_answer answer;
    resolver_lookup(a->resolver, name, type, a->query->deadline, a->arena, &answer);
    return answer;
}

static struct str why(const struct dns_answer *answer) {
    return answer->why.len ? answer->why : STR("no answer");
}

/* The name that is planned for it. */
static struct str planned_name(const struct auditing *a) {
    return str_of(a->query->source->ptr ? a->query->source->ptr : a->query->source->ehlo);
}

static const char *family(const struct ip *ip) { return ip_is_v4(ip) ? "A" : "AAAA"; }

/* ---- PTR and back ---- */

static bool points_back(const struct dns_answer *answer, const struct ip *ip) {
    for (size_t i = 0; answer->status == DNS_RECORDS && i < answer->count; i++)
        if (ip_eq(&answer->records[i].ip, ip))
            return true;
    return false;
}

static void check_forward(struct auditing *a, const struct dns_answer *names) {
    const struct ip *ip = &a->query->source->ip;
    struct dns_answer answer = {.status = DNS_NONE}, failed = {.status = DNS_NONE};
    char text[IP_TEXT_SIZE];
    for (size_t i = 0; i < names->count && i < NAMES_MAX; i++) {
        answer = ask(a, names->records[i].name, ip_is_v4(ip) ? DNS_A : DNS_AAAA);
        if (points_back(&answer, ip)) {
            a->audit->ptr = names->records[i].name;
            return;
        }
        if (answer.status == DNS_FAILED)
            failed = answer;
    }
    if (failed.status == DNS_FAILED)
        find(a, AUDIT_FORWARD, AUDIT_UNKNOWN, "%s of its PTR name could not be asked: %.*s", family(ip),
             STR_FMT(why(&failed)));
    else
        find(a, AUDIT_FORWARD, AUDIT_FAULT, "`%.*s` does not point back to it: put `%.*s. %s %s`",
             STR_FMT(a->audit->ptr), STR_FMT(planned_name(a)), family(ip), ip_text(ip, text));
}

static bool has_name(const struct dns_answer *names, struct str name) {
    for (size_t i = 0; i < names->count; i++)
        if (str_eq_nocase(names->records[i].name, name))
            return true;
    return false;
}

static void check_ptr(struct auditing *a) {
    struct str reverse = reverse_name(a->arena, &a->query->source->ip), planned = planned_name(a);
    struct dns_answer names = ask(a, reverse, DNS_PTR);
#ifdef SLUICE_SEEDED_BUG_AUDIT_FAILURE_IS_FAULT
    names.status = names.status == DNS_FAILED ? DNS_NONE : names.status;
#endif
    if (names.status == DNS_FAILED) {
        find(a, AUDIT_PTR, AUDIT_UNKNOWN, "its PTR could not be asked: %.*s", STR_FMT(why(&names)));
        find(a, AUDIT_FORWARD, AUDIT_UNKNOWN, "its PTR could not be asked");
        return;
    }
    if (names.status == DNS_NONE || !names.count) {
        find(a, AUDIT_PTR, AUDIT_FAULT, "it has no PTR: put `%.*s. PTR %.*s.`", STR_FMT(reverse),
             STR_FMT(planned));
        find(a, AUDIT_FORWARD, AUDIT_FAULT, "without a PTR nothing points back to it");
        return;
    }
    a->audit->ptr = names.records[0].name;
    if (!has_name(&names, planned))
        find(a, AUDIT_PTR, AUDIT_FAULT, "its PTR is `%.*s`: put `%.*s. PTR %.*s.`", STR_FMT(a->audit->ptr),
             STR_FMT(reverse), STR_FMT(planned));
    check_forward(a, &names);
}

/* ---- EHLO ---- */

bool audit_name_is_generic(struct str name, const struct ip *ip) {
    static const char separators[] = {'-', '.', '_'};
    const unsigned char *b = ip->bytes + 12;
    char forms[2][32];
    if (!ip_is_v4(ip))
        return false;
    for (size_t i = 0; i < sizeof separators; i++) {
        char s = separators[i];
        snprintf(forms[0], sizeof forms[0], "%u%c%u%c%u%c%u", b[0], s, b[1], s, b[2], s, b[3]);
        snprintf(forms[1], sizeof forms[1], "%u%c%u%c%u%c%u", b[3], s, b[2], s, b[1], s, b[0]);
        if (str_find(name, str_of(forms[0])) >= 0 || str_find(name, str_of(forms[1])) >= 0)
            return true;
    }
    return false;
}

static void check_ehlo(struct auditing *a) {
    struct str ehlo = str_of(a->query->source->ehlo);
    struct ip literal;
    if (str_starts(ehlo, STR("[")) || ip_parse(ehlo, &literal) || str_index(ehlo, '.') < 0)
        find(a, AUDIT_EHLO, AUDIT_FAULT, "EHLO `%.*s` is no full host name: say `ehlo` of the site",
             STR_FMT(ehlo));
    else if (audit_name_is_generic(ehlo, &a->query->source->ip))
        find(a, AUDIT_EHLO, AUDIT_FAULT, "EHLO `%.*s` looks like a provider's name for a rented address",
             STR_FMT(ehlo));
    if (a->audit->findings[AUDIT_EHLO].state != AUDIT_OK)
        return;
    struct dns_answer v4 = ask(a, ehlo, DNS_A);
    if (v4.status == DNS_RECORDS)
        return;
    struct dns_answer v6 = ask(a, ehlo, DNS_AAAA);
    if (v6.status == DNS_RECORDS)
        return;
    if (v4.status == DNS_FAILED || v6.status == DNS_FAILED)
        find(a, AUDIT_EHLO, AUDIT_UNKNOWN, "EHLO `%.*s` could not be asked: %.*s", STR_FMT(ehlo),
             STR_FMT(why(v4.status == DNS_FAILED ? &v4 : &v6)));
    else
        find(a, AUDIT_EHLO, AUDIT_FAULT, "EHLO `%.*s` does not resolve: put its A records (sluice dns plan)",
             STR_FMT(ehlo));
}

static void check_domain(struct auditing *a) {
    struct str ehlo = str_of(a->query->source->ehlo), ptr = a->audit->ptr;
    if (a->audit->findings[AUDIT_PTR].state == AUDIT_UNKNOWN)
        find(a, AUDIT_DOMAIN, AUDIT_UNKNOWN, "its PTR could not be asked");
    else if (ptr.len && !align_same_organisation(ehlo, ptr))
        find(a, AUDIT_DOMAIN, AUDIT_FAULT, "its PTR is of %.*s, its EHLO name of %.*s",
             STR_FMT(align_organisation(a->arena, ptr)), STR_FMT(align_organisation(a->arena, ehlo)));
}

/* ---- SPF ---- */

static struct spf_check spf_of(struct auditing *a, struct str domain) {
    struct spf_check check;
    struct spf_query query = {
        .ip = a->query->source->ip,
        .helo = domain,
        .mail_from = STR(""),
        .which = SPF_HELO,
        .receiver = domain,
        .now = a->query->now,
        .deadline = a->query->deadline,
    };
    spf_check(a->resolver, &query, a->arena, &check);
    return check;
}

static void check_ehlo_spf(struct auditing *a) {
    struct str ehlo = str_of(a->query->source->ehlo);
    struct spf_check spf;
    if (a->query->pool->spf_hidden) /* its owner wants it so */
        return;
    spf = spf_of(a, ehlo);
    if (spf.result == SPF_TEMPERROR)
        find(a, AUDIT_EHLO_SPF, AUDIT_UNKNOWN, "SPF of EHLO `%.*s` could not be asked: %.*s", STR_FMT(ehlo),
             STR_FMT(spf.reason));
    else if (spf.result != SPF_PASS)
        find(a, AUDIT_EHLO_SPF, AUDIT_FAULT,
             "SPF of EHLO `%.*s` is %s for it (%.*s): put the TXT records of that name (sluice dns plan)",
             STR_FMT(ehlo), spf_result_text(spf.result), STR_FMT(spf.reason));
}

static void check_include(struct auditing *a) {
    struct str include = a->query->include;
    bool published = a->query->pool->spf_published;
    struct spf_check spf;
    if (!include.len)
        return;
    spf = spf_of(a, include);
    if (spf.result == SPF_TEMPERROR)
        find(a, AUDIT_INCLUDE, AUDIT_UNKNOWN, "`%.*s` could not be asked: %.*s", STR_FMT(include),
             STR_FMT(spf.reason));
    else if (published && spf.result != SPF_PASS)
        find(a, AUDIT_INCLUDE, AUDIT_FAULT,
             "customers' mail from it fails: SPF of `%.*s` is %s (%.*s): put the TXT records of that name "
             "(sluice dns plan)",
             STR_FMT(include), spf_result_text(spf.result), STR_FMT(spf.reason));
    else if (!published && spf.result == SPF_PASS)
        find(a, AUDIT_INCLUDE, AUDIT_FAULT,
             "`%.*s` lets it send for customers, but pool `%.*s` is %s: take `%.*s` out of its SPF",
             STR_FMT(include), STR_FMT(a->query->pool->name), pool_spf_text(a->query->pool),
             STR_FMT(spf.mechanism));
}

void audit_address(struct resolver *resolver, const struct audit_query *query, struct arena *arena,
                   struct audit *ret) {
    struct auditing a = {resolver, query, arena, ret};
    *ret = (struct audit){.ptr = STR("")};
    check_ptr(&a);
    check_ehlo(&a);
    check_domain(&a);
    check_ehlo_spf(&a);
    check_include(&a);
}

enum audit_state audit_worst(const struct audit *audit) {
    enum audit_state worst = AUDIT_OK;
    for (size_t i = 0; i < AUDIT_CHECK_COUNT; i++)
        worst = audit->findings[i].state > worst ? audit->findings[i].state : worst;
    return worst;
}

/* A PTR of another name than planned still confirms. */
enum audit_state audit_fcrdns(const struct audit *audit) { return audit->findings[AUDIT_FORWARD].state; }
