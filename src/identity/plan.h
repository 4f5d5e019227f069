/* plan.h - everything that must be in the DNS for all sites, as records.
 *
 * Pure: from the configuration alone, in the order of the configuration, the same
 * every time; adding an address at the end of a pool changes no name of another
 * (of the EHLO name's addresses one may give way to it).
 *   addresses   PTR (in-addr.arpa, ip6.arpa; through RFC 2317 where the block is
 *               less than a /24), and A or AAAA of that name back to it
 *   EHLO names  at most EHLO_ADDRESSES_MAX addresses, SPF with all addresses of
 *               the site, also of unpublished pools (it is the HELO identity only)
 *   customers   spf.DOMAIN for all published pools, POOL.spf.DOMAIN for each
 *   tenants     SPF, DKIM, DMARC and ownership token of each accepted domain
 */
#pragma once
#include "identity/cidr.h"
#include "identity/settings.h"
#include "pool/pool.h"

enum { EHLO_ADDRESSES_MAX = 15, RESPONSE_MAX = 512 };

/* What the rooms beside this one know. */
struct plan_domain {
    struct str tenant, domain;
    struct str token; /* the ownership TXT's text; empty: none */
};
struct plan_dkim {
    struct str domain, selector;
    struct str text; /* "v=DKIM1; k=rsa; p=..." */
};

struct plan_input {
    const struct pools *pools;
    const struct identity_settings *settings;
    bool ptr_ehlo;                /* some destination is told the PTR name in EHLO */
    bool site_ehlo;               /* some destination is told the site's, whatever the pool says */
    const struct str *ehlo_names; /* those that destinations ask every site for */
    size_t ehlo_name_count;
    const struct plan_domain *domains;
    size_t domain_count;
    const struct plan_dkim *dkim;
    size_t dkim_count;
};

enum plan_owner {
    PLAN_OURS,
    PLAN_PROVIDER, /* of the addresses: they enter it into their reverse zone */
    PLAN_TENANT,   /* a customer's domain */
};

struct plan_zone {
    struct str name; /* no final dot */
    enum plan_owner owner;
    size_t first, count; /* its records */
    size_t part_of;      /* RFC 2317: the number of the zone that delegates it; else PLAN_NO_ZONE */
};
#define PLAN_NO_ZONE SIZE_MAX

struct plan_record {
    struct str name;  /* absolute, with the final dot */
    const char *type; /* "A" */
    int64_t ttl;
    struct str data; /* presentation form */
    size_t zone;     /* index */
    bool shared; /* others may have a say at this name and type (a domain's SPF, its DMARC policy): its owner
                    enters it, in whatever form fits what stands there */
};

/* Something to know about the plan: why a record is as it is, or what could not be planned. */
struct plan_note {
    struct str name; /* of the record or the address, no final dot */
    struct str text; /* a sentence */
};

struct plan {
    const struct plan_record *records; /* by zone */
    size_t record_count;
    const struct plan_zone *zones;
    size_t zone_count;
    const struct plan_note *notes;
    size_t note_count;
};

/* In the arena, views into the input. */
struct plan plan_build(struct arena *, const struct plan_input *);

/* The published pools' addresses of all sites, for partners; in the arena. Returns how many networks. */
size_t plan_ranges(struct arena *, const struct pools *, struct cidr **ret);

/* TXT text in presentation form: quoted strings of at most 255 octets (RFC 1035 5.1). */
struct str plan_txt(struct arena *, struct str text);
