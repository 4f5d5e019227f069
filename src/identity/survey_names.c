/* Records that speak for many addresses, and those of customers. */
#include "auth/dkim_key.h"
#include "auth/dkim_tags.h"
#include "auth/dmarc.h"
#include "base/clock.h"
#include "identity/survey_inside.h"

/* ---- SPF of our own names ---- */

/* Addresses that nobody sends from: a list that lets them through lets everybody through (RFC 1112 4, 6666).
 */
static struct ip stranger(void) {
    struct ip ip;
    (void)ip_parse(STR("240.0.0.1"), &ip);
    return ip;
}

/* Everything about the record that no address decides. */
static void check_record(struct survey *a, size_t order, struct str name, bool helo, struct arena *arena) {
    struct ip nobody = stranger();
    struct spf_check check;
    survey_spf(a, &nobody, name, helo, arena, &check);
    struct str put = survey_put(a, arena, "TXT", name);
    if (check.result == SPF_PASS)
        survey_say(a, order, SURVEY_SPF_OPEN, name,
                   str_printf(arena, "SPF passes from any address, by %.*s", STR_FMT(check.mechanism)), put);
    if (check.result == SPF_PERMERROR)
        survey_say(a, order, SURVEY_SPF_BROKEN, name, check.reason, put);
    if (!helo && check.result != SPF_PERMERROR && check.terms > SPF_LOOKUPS_OF_INCLUDE)
        survey_say(a, order, SURVEY_SPF_LOOKUPS, name,
                   str_printf(arena,
                              "it takes %u lookups; with more than %d a customer's own terms may not fit",
                              check.terms, SPF_LOOKUPS_OF_INCLUDE),
                   put);
    for (const struct spf_step *step = check.steps; step; step = step->next)
        if (step->end == SPF_STEP_RECORD && step->term.len > SPF_TEXT_MAX)
            survey_say(a, order, SURVEY_SPF_SIZE, step->domain,
                       str_printf(arena, "its SPF record has over %d octets: the answer may not fit UDP",
                                  SPF_TEXT_MAX),
                       survey_put(a, arena, "TXT", step->domain));
}

void survey_include(struct survey *a, size_t order, struct arena *arena) {
    check_record(a, order, a->include, false, arena);
}

/* ---- EHLO names ---- */

static size_t answer_size(struct str name, const struct dns_answer *answer, size_t data) {
    size_t count = answer->status == DNS_RECORDS ? answer->count : 0;
    return 12 + name.len + 2 + 4 + count * (12 + data); /* RFC 1035 4.1, names compressed */
}

void survey_ehlo(struct survey *a, size_t order, struct str name, struct arena *arena) {
    struct dns_answer v4, v6;
    struct ip ip;
    if (name.len == 0 || name.at[0] == '[' || ip_parse(name, &ip) || str_index(name, '.') < 0) {
        survey_say(a, order, SURVEY_EHLO_NO_NAME, name, STR("receivers want a full host name in EHLO"),
                   STR("site { ehlo = ... }: a name like mail.example.com, below a domain of yours"));
        return;
    }
    if (name_is_generic(arena, name))
        survey_say(a, order, SURVEY_GENERIC_NAME, name,
                   STR("this EHLO name looks like that of a customer's line"),
                   STR("site { ehlo = ... }: a name without addresses and words like dsl or dhcp"));
    survey_ask(a, name, DNS_A, arena, &v4);
    survey_ask(a, name, DNS_AAAA, arena, &v6);
    struct str put = survey_put(a, arena, "A", name), put6 = survey_put(a, arena, "AAAA", name);
    if (put6.len)
        put = str_printf(arena, "%.*s%s%.*s", STR_FMT(put), put.len ? "\n" : "", STR_FMT(put6));
    if (v4.status == DNS_NONE && v6.status == DNS_NONE)
        survey_say(a, order, SURVEY_EHLO_NO_ADDRESS, name,
                   v4.nxdomain ? STR("this EHLO name does not exist")
                               : STR("this EHLO name has neither A nor AAAA"),
                   put);
    if (answer_size(name, &v4, 4) > RESPONSE_MAX || answer_size(name, &v6, 16) > RESPONSE_MAX)
        survey_say(a, order, SURVEY_EHLO_TOO_BIG, name,
                   str_printf(arena, "its %zu addresses don't fit an answer of %d octets",
                              v4.count > v6.count ? v4.count : v6.count, RESPONSE_MAX),
                   put);
    check_record(a, order, name, true, arena);
}

/* ---- DKIM ---- */

static struct str key_bytes(struct arena *arena, struct str record) {
    struct dkim_tags tags;
    struct str bytes = STR_NULL;
    if (dkim_tags_parse(record, &tags))
        (void)dkim_base64_read(arena, dkim_tag_value(&tags, "p"), &bytes);
    return bytes;
}

/* What keeps the record from serving the key; "" when nothing does. */
static struct str dkim_difference(struct arena *arena, struct str planned, struct str live) {
    struct dkim_record record = {0};
    struct str why = STR("");
    if (dkim_record_parse(arena, live, &why, &record) != 0)
        return why;
    if (record.revoked)
        why = STR("p= is empty: the key is withdrawn");
    else if (!str_eq(key_bytes(arena, planned), key_bytes(arena, live)))
        why = STR("p= is another key");
    else if (!record.sha256)
        why = STR("h= leaves sha256 out");
    else if (!record.email)
        why = STR("s= leaves email out");
    else if (record.testing)
        why = STR("t=y: receivers treat the mail as unsigned");
    else
        why = STR("");
    dkim_record_free(&record);
    return why;
}

struct str survey_dkim_name(struct arena *arena, const struct plan_dkim *key) {
    return str_printf(arena, "%.*s._domainkey.%.*s", STR_FMT(key->selector), STR_FMT(key->domain));
}

void survey_dkim(struct survey *a, size_t order, const struct plan_dkim *key, struct arena *arena) {
    struct str name = survey_dkim_name(arena, key);
    struct str put = survey_put(a, arena, "TXT", name), why = STR("");
    struct dns_answer answer;
    survey_ask(a, name, DNS_TXT, arena, &answer);
    if (answer.status == DNS_FAILED)
        return;
    if (answer.status == DNS_NONE || !answer.count)
        survey_say(a, order, SURVEY_DKIM_MISSING, name,
                   answer.nxdomain ? STR("no such name: its signatures are refused")
                                   : STR("no TXT at that name: its signatures are refused"),
                   put);
    else if (answer.count > 1)
        why = str_printf(arena, "%zu TXT records stand there, and a receiver takes any", answer.count);
    else
        why = dkim_difference(arena, key->text, answer.records[0].text);
    if (why.len)
        survey_say(a, order, SURVEY_DKIM_DIFFERS, name, why, put);
}

/* ---- a customer's domain ---- */

static void check_sender_dns(struct survey *a, size_t order, struct str domain, struct arena *arena) {
    static const enum dns_type types[] = {DNS_MX, DNS_A, DNS_AAAA};
    for (size_t i = 0; i < (a->in->aaaa ? 3 : 2); i++) {
        struct dns_answer answer;
        survey_ask(a, domain, types[i], arena, &answer);
        if (answer.status != DNS_NONE)
            return;
    }
    survey_say(
        a, order, SURVEY_NO_SENDER_DNS, domain,
        STR("it has neither MX nor address: its mail goes out as high-risk"),
        str_printf(arena, "%.*s. MX 10 and the name of the server that takes its mail", STR_FMT(domain)));
}

/* Did the evaluation come to our include? What is wrong below it is that record's fault. */
static bool reached_include(const struct survey *a, const struct spf_check *check) {
    for (const struct spf_step *step = check->steps; step; step = step->next)
        if (step->target.len && name_is_below(step->target, a->include))
            return true;
    return false;
}

/* More look-ups, or more empty ones, than a receiver makes (RFC 7208 4.6.4). */
static bool is_over(const struct spf_check *check) {
    return check->result == SPF_PERMERROR && (check->terms > SPF_TERMS_MAX || check->voids > SPF_VOIDS_MAX);
}

/* The domain's record as it stands, with our include in front; without one that can be read, the planned one.
 */
static struct str put_include(struct survey *a, struct str domain, struct arena *arena) {
    static const struct str VERSION = {"v=spf1", 6};
    struct dns_answer answer;
    struct str put = survey_put(a, arena, "TXT", domain);
    survey_ask(a, domain, DNS_TXT, arena, &answer);
    for (size_t i = 0; answer.status == DNS_RECORDS && i < answer.count; i++) {
        struct str text = answer.records[i].text, rest = str_from_index(text, VERSION.len);
        if (!str_starts_nocase(text, VERSION) || !str_starts(rest, STR(" ")))
            continue;
        text = str_printf(arena, "v=spf1 include:%.*s%.*s", STR_FMT(a->include), STR_FMT(rest));
        put = str_printf(arena, "%.*s. %lld TXT %.*s", STR_FMT(domain),
                         (long long)a->in->planned->settings->ttl, STR_FMT(plan_txt(arena, text)));
    }
    return put;
}

static struct str put_fewer(struct str domain, struct arena *arena) {
    return str_printf(
        arena,
        "fewer include, a, mx, exists and redirect in %.*s. TXT and below: %d look-ups in all, %d of "
        "them without an answer, and our include stands first",
        STR_FMT(domain), SPF_TERMS_MAX, SPF_VOIDS_MAX);
}

/* False: something was said, or can't be told. */
static bool let_through(struct survey *a, size_t order, struct str domain, const struct source *s,
                        struct arena *arena) {
    struct spf_check check, include;
    char text[IP_TEXT_SIZE];
    survey_spf(a, &s->ip, domain, false, arena, &check);
    if (check.result == SPF_PASS)
        return true;
    if (check.result == SPF_TEMPERROR)
        return false;
    struct str put = survey_put(a, arena, "TXT", domain);
    if (check.result == SPF_NONE) {
        survey_say(a, order, SURVEY_NO_SPF, domain, STR("it has no SPF record"), put);
        return false;
    }
    bool reached = reached_include(a, &check);
    if (reached) {
        survey_spf(a, &s->ip, a->include, false, arena, &include);
        if (include.result != SPF_PASS)
            return false;
    }
    if (check.result == SPF_PERMERROR)
        survey_say(a, order, is_over(&check) ? SURVEY_SPF_OVER : SURVEY_SPF_BROKEN, domain, check.reason,
                   is_over(&check) ? put_fewer(domain, arena) : put);
    else
        survey_say(
            a, order, SURVEY_NO_INCLUDE, domain,
            str_printf(
                arena, "its SPF says %s for %s%s", spf_result_text(check.result), ip_text(&s->ip, text),
                reached ? ""
                        : str_printf(arena, ": include:%.*s is not reached in it", STR_FMT(a->include)).at),
            reached ? put : put_include(a, domain, arena));
    return false;
}

/* True: nothing is wrong. From the first address of each family of each published pool; the include itself is
 * asked for all. */
static bool check_spf(struct survey *a, size_t order, struct str domain, struct arena *arena) {
    const struct pools *p = a->in->planned->pools;
    for (size_t i = 0; i < p->pool_count; i++) {
        const struct pool *pool = &p->pools[i];
        bool seen[2] = {false, false};
        for (uint32_t j = 0; pool->spf_published && j < pool->source_count && !(seen[0] && seen[1]); j++) {
            const struct source *s = &pool->sources[j];
            bool *family = &seen[ip_is_v4(&s->ip)];
            if (!*family && !let_through(a, order, domain, s, arena))
                return false;
            *family = true;
        }
    }
    return true;
}

/* What no address of ours decides: other receivers' questions end elsewhere, at other terms of the record. */
static void check_customers_record(struct survey *a, size_t order, struct str domain, struct arena *arena) {
    struct ip nobody = stranger();
    struct spf_check check;
    survey_spf(a, &nobody, domain, false, arena, &check);
    if (check.result == SPF_PASS)
        survey_say(a, order, SURVEY_SPF_OPEN, domain,
                   str_printf(arena, "its SPF passes from any address, by %.*s", STR_FMT(check.mechanism)),
                   survey_put(a, arena, "TXT", domain));
    if (check.result == SPF_PERMERROR && !is_over(&check))
        survey_say(a, order, SURVEY_SPF_BROKEN, domain, check.reason, survey_put(a, arena, "TXT", domain));
    if (is_over(&check))
        survey_say(a, order, SURVEY_SPF_OVER, domain,
                   str_printf(arena, "receivers that look further than our include give up its SPF: %.*s",
                              STR_FMT(check.reason)),
                   put_fewer(domain, arena));
}

/* Every receiver gets all TXT records of the name, whoever they are for. */
static void check_txt(struct survey *a, size_t order, struct str domain, struct arena *arena) {
    enum { EDNS_SIZE = 1232 }; /* what resolvers take by UDP since 2020 */
    struct dns_answer answer;
    survey_ask(a, domain, DNS_TXT, arena, &answer);
    size_t size = answer_size(domain, &answer, 0);
    for (size_t i = 0; answer.status == DNS_RECORDS && i < answer.count; i++)
        size += answer.records[i].text.len + answer.records[i].text.len / 255 + 1;
    if (size > RESPONSE_MAX)
        survey_say(
            a, order, SURVEY_TXT_SIZE, domain,
            str_printf(
                arena,
                size > EDNS_SIZE
                    ? "its %zu TXT records take %zu octets: resolvers have to ask again by TCP, and where "
                      "that is blocked its SPF can't be found"
                    : "its %zu TXT records take %zu octets: resolvers without EDNS have to ask again "
                      "by TCP",
                answer.count, size),
            str_printf(arena,
                       "fewer TXT records at %.*s: verification tokens that have served, and other "
                       "services' records, can go or stand at names of their own",
                       STR_FMT(domain)));
}

static void check_dmarc(struct survey *a, size_t order, struct str domain, struct arena *arena) {
    const struct plan_input *in = a->in->planned;
    struct str name = str_printf(arena, "_dmarc.%.*s", STR_FMT(domain));
    struct dmarc_discovery found;
    bool aligned = false, related = false;
    dmarc_discover(&a->resolver, domain, clock_mono_ms() + 4 * a->in->timeout_ms, arena, &found);
    if (found.result == DMARC_NONE)
        survey_say(a, order, SURVEY_NO_DMARC, domain,
                   STR("neither it nor its organisation has a DMARC record"),
                   survey_put(a, arena, "TXT", name));
    if (found.result == DMARC_PERMERROR)
        survey_say(a, order, SURVEY_DMARC_BROKEN, domain, found.why, survey_put(a, arena, "TXT", name));
    bool strict = found.result == DMARC_PASS && found.record.strict_dkim;
    for (size_t i = 0; i < in->dkim_count; i++) {
        aligned |= dmarc_aligned(in->dkim[i].domain, domain, strict);
        related |= dmarc_aligned(in->dkim[i].domain, domain, false);
    }
    if (!related)
        survey_say(
            a, order, SURVEY_NO_DKIM, domain, STR("no key signs its mail in its own name"),
            str_printf(arena, "a key: sluice dkim, then tenant { dkim \"%.*s\" { ... } }", STR_FMT(domain)));
    else if (!aligned)
        survey_say(a, order, SURVEY_DMARC_NOT_ALIGNED, domain,
                   STR("adkim=s wants signatures by the very domain, and only a related one signs"),
                   str_printf(arena, "%.*s. TXT without adkim=s, or tenant { dkim \"%.*s\" { ... } }",
                              STR_FMT(name), STR_FMT(domain)));
}

void survey_domain(struct survey *a, size_t order, const struct plan_domain *d, struct arena *arena) {
    check_sender_dns(a, order, d->domain, arena);
    if (check_spf(a, order, d->domain, arena))
        check_customers_record(a, order, d->domain, arena);
    check_txt(a, order, d->domain, arena);
    check_dmarc(a, order, d->domain, arena);
}
