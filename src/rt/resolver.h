/* resolver.h - one question to the DNS, one of three answers (invariant 7).
 *
 * "none" is only a header rcode of NOERROR or NXDOMAIN without matching records;
 * everything else (SERVFAIL, timeout, bogus, broken packet) is "failed".
 * Rooms ask through this table, so that tests answer from memory.
 */
#pragma once
#include "base/ip.h"

enum dns_status { DNS_RECORDS, DNS_NONE, DNS_FAILED };

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52,
};

/* One record, decoded: A, AAAA: ip. MX: preference, name. PTR, NS, CNAME: name. TXT: text (its strings
 * joined). TLSA, SOA: raw. Names are in presentation form, lower case, without the final dot; the root is "."
 * (a null MX). */
struct dns_record {
    uint16_t preference;
    struct str name;
    struct str text;
    struct str raw;
    struct ip ip;
};

struct dns_answer {
    enum dns_status status;
    struct dns_record *records; /* in the arena of the look-up */
    size_t count;
    bool nxdomain; /* with DNS_NONE: the name itself does not exist */
    /* With DNS_NONE: NOERROR and nothing at all, no SOA either (RFC 2308 2.2). A server that is lame says
     * that of what it does not know. Of full recursion only: resolvers that we forward to often leave the SOA
     * out. */
    bool bare;
    bool secure;          /* DNSSEC-validated */
    bool stale;           /* expired, served because the network failed */
    uint32_t ttl;         /* seconds */
    struct str canonical; /* the name after CNAMEs, "" when the same */
    struct str why;       /* with DNS_FAILED: a reason for people */
};

struct resolver {
    /* `name` in presentation form (A-labels), final dot optional. Waits at most until `deadline` (monotonic
     * ms); always sets *ret. */
    void (*lookup)(struct resolver *, struct str name, enum dns_type, int64_t deadline, struct arena *,
                   struct dns_answer *ret);
};

static inline void resolver_lookup(struct resolver *r, struct str name, enum dns_type type, int64_t deadline,
                                   struct arena *arena, struct dns_answer *ret) {
    r->lookup(r, name, type, deadline, arena, ret);
}

/* The production resolver (libunbound on the loop of one worker); called on that worker's loop (worker_post;
 * a fiber's stack is too small) or before rt_start. servers: "IP" or "IP@port"; none: full recursion.
 * zone_file: absolute names, one record a line, `;` comments, no $ directives, no wildcards; each owner's
 * domain (its last two labels, or its reverse zone) is answered from the file alone. On failure *ret_why says
 * file and line, in `arena`. */
struct worker;
struct dns_settings {
    const struct str *servers;
    size_t server_count;
    const char *zone_file;    /* NULL: none */
    const char *trust_anchor; /* NULL: no validation beyond the forwarders' */
    uint32_t
        serve_expired_s; /* how long an expired answer may serve when the network fails; 86,400 by default */
    int64_t timeout_ms;  /* the longest that one look-up waits, whatever its deadline; 0: no bound */
};
[[nodiscard]] int resolver_new(struct worker *, const struct dns_settings *, struct arena *arena,
                               struct str *ret_why, struct resolver **ret_resolver);
/* On that worker's loop (worker_post; a fiber's stack is too small), and before rt_free ends. Ends the open
 * look-ups with DNS_FAILED. NULL is fine. */
struct resolver *resolver_free(struct resolver *);
