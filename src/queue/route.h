/* route.h - step 8: which hosts take mail for a domain, and which receiver that is (RFC 5321 5.1, RFC 7505).
 *
 * A route is immutable and counted, so that all who deliver to one receiver
 * share it, on any worker. DNS failure is never "no such domain" (invariant 7).
 */
#pragma once
#include "base/outcome.h"
#include "queue/settings.h"
#include "rt/resolver.h"

enum { ROUTE_MAX_HOSTS = 20, ROUTE_MAX_ADDRESSES = 40 };

struct route_host {
    struct str name; /* the MX host, or the literal's text */
    uint16_t preference;
    const struct ip *addresses; /* IPv6 first */
    size_t address_count;
};

struct route {
    /* Everything below this receiver shares limits and back-off: "destination:google", "host:port" of an
     * explicit route, else the sorted names of the MX hosts, joined by commas. */
    struct str receiver;
    /* The sorted names of the hosts: a connection may carry only mail of routes whose `hosts_key` is equal.
     */
    struct str hosts_key;
    const struct route_host *hosts; /* by preference; none when `outcome` says why */
    size_t host_count;
    uint16_t port;
    const struct destination_settings *destination; /* a copy of what applied; NULL: none */
    unsigned connections, messages_per_connection;  /* what applies here */
    bool literal_or_explicit;                       /* MX was not asked */
    bool secure;                                    /* MX answer DNSSEC-validated */
    uint32_t ttl;                                   /* seconds that this may be kept */
    /* fate OUTCOME_DONE: there are hosts. Otherwise scope receiver: NEVER 556 5.1.10 (null MX), 550 5.1.2 (no
     * such domain), 554 5.4.6 (loop), 550 5.4.4 (private or no address); LATER 451 4.4.3 (DNS failed). */
    struct outcome outcome;
};

/* Finds the route of `domain` (U- or A-labels, or a literal "[192.0.2.1]", "[IPv6:...]"). `via` "host:port"
 * (a connector's `deliver`) bypasses MX; empty: none. Waits at most until `deadline`. Never fails: look at
 * (*ret)->outcome. The caller holds one reference. */
void route_find(const struct queue_settings *, struct resolver *, struct str domain, struct str via,
                int64_t deadline, struct route **ret);

struct route *route_ref(const struct route *);
/* Any thread. Accepts NULL, returns NULL. */
struct route *route_unref(const struct route *);

struct route_target {
    struct str host; /* view into the route */
    struct ip ip;
    uint16_t port;
    uint16_t preference;
};

/* The addresses in the order to try them: by preference, inside one shuffled by `random`; all IPv6 addresses
 * of a preference first, then its IPv4 (m365.md section 6). The array is in the arena. */
size_t route_targets(const struct route *, uint64_t random, struct arena *, struct route_target **ret);

/* Splits "host", "host:port", "[::1]:port", "::1". False when malformed. `*ret_port` is `port` when none is
 * written. */
bool route_parse_via(struct str via, uint16_t port, struct str *ret_host, uint16_t *ret_port);
