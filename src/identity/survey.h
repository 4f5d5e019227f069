/* survey.h - all names, addresses and customers' domains: what the DNS says of us, as receivers see it.
 *
 * Everything is asked, nothing is taken from the plan: the plan only says what to put where. A question that
 * the DNS does not answer is reported once, as SURVEY_UNANSWERED, and nothing is concluded from it
 * (invariant 7). Where one wrong record spoils many addresses there is one fault, with their number.
 *
 * Several fibers of one worker share the work; questions of all together keep to a rate.
 */
#pragma once
#include "identity/plan.h"
#include "rt/resolver.h"

#define SURVEY_CODES(X)                                                                                      \
    X(NO_PTR, "no-ptr")                         /* of an address */                                          \
    X(NOT_CONFIRMED, "not-confirmed")           /* no PTR name has the address */                            \
    X(PTR_ALIAS, "ptr-alias")                   /* the PTR's name is a CNAME (RFC 2181 10.2) */              \
    X(GENERIC_NAME, "generic-name")             /* PTR or EHLO looks like a customer's line */               \
    X(OTHER_ORGANISATION, "other-organisation") /* PTR and EHLO share no organisational domain */            \
    X(PTR_NOT_EHLO, "ptr-not-ehlo")             /* ehlo = ptr, and they differ */                            \
    X(EHLO_NO_NAME, "ehlo-no-name")             /* a literal, or a name without a domain */                  \
    X(EHLO_NO_ADDRESS, "ehlo-no-address")       /* RFC 5321 2.3.5 */                                         \
    X(EHLO_TOO_BIG, "ehlo-too-big")             /* an answer of over 512 octets */                           \
    X(EHLO_SPF, "ehlo-spf")                     /* no pass for EHLO and the null reverse-path */             \
    X(INCLUDE_MISSES, "include-misses")         /* the customers' include fails from a published address */  \
    X(INCLUDE_LEAKS, "include-leaks")           /* it passes from an unpublished one */                      \
    X(SPF_OPEN, "spf-open")                     /* one of our records passes from anywhere */                \
    X(SPF_BROKEN, "spf-broken")                 /* permerror */                                              \
    X(SPF_SIZE, "spf-size")                     /* a record over SPF_TEXT_MAX octets */                      \
    X(SPF_LOOKUPS, "spf-lookups")               /* our include leaves its customers no room */               \
    X(DKIM_MISSING, "dkim-missing")             /* a key's record */                                         \
    X(DKIM_DIFFERS, "dkim-differs")             /* receivers refuse its signatures */                        \
    X(NO_DKIM, "no-dkim")                       /* no key signs in alignment with a tenant's domain */       \
    X(NO_SPF, "no-spf")                         /* a tenant's domain has no SPF record */                    \
    X(NO_INCLUDE, "no-include")                 /* it has, but it does not let our addresses through */      \
    X(NO_DMARC, "no-dmarc")                     /* RFC 7489 */                                               \
    X(DMARC_BROKEN, "dmarc-broken")             /* a record of no use, or several */                         \
    X(DMARC_NOT_ALIGNED, "dmarc-not-aligned")   /* adkim=s, and another domain signs */                      \
    X(SPF_OVER, "spf-over")                     /* a tenant's SPF has more lookups than receivers make */    \
    X(TXT_SIZE, "txt-size")                     /* a tenant's TXT answer is large: a warning */              \
    X(NO_SENDER_DNS, "no-sender-dns")           /* no MX, no address: mail goes as high-risk */              \
    X(UNANSWERED, "unanswered")                 /* can't tell */

enum survey_code {
#define X(name, text) SURVEY_##name,
    SURVEY_CODES(X)
#undef X
};
const char *survey_code_text(enum survey_code);
/* Worth knowing, and wrong for few receivers or none. */
bool survey_code_warns(enum survey_code);

struct survey_fault {
    enum survey_code code;
    struct str subject; /* an address, a name or a domain, no final dot */
    struct str what;    /* what is wrong */
    struct str put;     /* records as in a zone file, one a line, or a sentence; empty: nothing to put */
    size_t order;       /* survey_end sorts by it */
};

struct survey_input {
    const struct plan_input *planned;
    const struct plan *plan; /* of the same input */
    bool aaaa;               /* does an AAAA save a sender's domain (classify { aaaa }) */
    unsigned per_second;     /* questions, of all fibers; 0: no bound */
    int64_t timeout_ms;      /* of one question */
    int64_t now;             /* wall clock ms */
    /* Asked first: what was wrong the last time, what is new. NULL: in written order. */
    bool (*first)(void *ctx, struct str subject);
    /* Asked before each subject: is the survey to end here? NULL: no. */
    bool (*over)(void *ctx);
    void *ctx;
};

struct survey_result {
    const struct survey_fault *faults;  /* names first, then customers, then addresses */
    size_t count, unanswered, warnings; /* `count` includes these */
    uint32_t ttl; /* seconds: how long the first of the answers holds; 0: there were none */
};

struct map;
struct survey;
/* Inputs must outlive it. The resolver is asked by the fibers that call survey_work. */
struct survey *survey_new(const struct survey_input *, struct resolver *);
/* Takes one subject after the other until none is left: each of the fibers calls it once. Without a rate, one
 * caller need not be a fiber. */
void survey_work(struct survey *);
/* After survey_end: that this subject does not have this fault is certain. False: it was not come to, or some
 * question about it had no answer (invariant 7: what was known of it before still holds). What is no subject
 * any more is certain. */
bool survey_sure(struct survey *, enum survey_code, struct str subject);
/* How many of the subjects are done; any thread may ask. */
size_t survey_done(const struct survey *);
size_t survey_total(const struct survey *);
/* After survey_end, for `first` of the next: the subjects that were come to, by this one and by those before
 * it that ended early (`before`, which it takes; empty: none); of this one alone when that are all. So
 * surveys that all end early come to every subject. To be freed with map_free. */
struct map *survey_looked(struct survey *, struct map *before);
/* When all calls of survey_work have returned. The result lives as long as the survey. */
struct survey_result survey_end(struct survey *);
struct survey *survey_free(struct survey *); /* NULL is fine */

/* ---- one address: also for the gate ---- */

enum fcrdns_state { FCRDNS_RIGHT, FCRDNS_NO_PTR, FCRDNS_NOT_CONFIRMED, FCRDNS_UNASKED };

struct fcrdns {
    enum fcrdns_state state;
    struct str name;  /* the PTR name that is confirmed, or the first; "" for none */
    struct str alias; /* of which that name is a CNAME; "" for none */
    struct str why;   /* a sentence, unless RIGHT */
    uint32_t ttl;     /* seconds for which the answers hold */
    bool stale;       /* an answer was an expired one: the network failed */
};

/* Forward-confirmed reverse DNS (RFC 8601 2.7.3): a PTR name, of the first ten, that has the address. In the
 * arena. Each question waits at most `timeout_ms`. */
void fcrdns_ask(struct resolver *, const struct ip *, int64_t timeout_ms, struct arena *, struct fcrdns *ret);

/* Does it look like the name of a customer's line: an address spelled in it, or dsl, dhcp, dynamic and the
 * like before its organisational domain? Receivers refuse such. Pure. */
bool name_is_generic(struct arena *, struct str name);
