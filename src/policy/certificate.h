/* certificate.h - which connectors a client's certificate stands for, over all tenants.
 *
 * A connector's `certificate` is a name or "*." and a name; a certificate bears such names too. They match
 * (RFC 9525 6.3: a star is one label, never more or less), the best first:
 *   1. both are the same name;
 *   2. both are the same wildcard;
 *   3. the certificate's wildcard covers the connector's name;
 *   4. the connector's wildcard covers the certificate's name;
 * and of two wildcards the one with more labels. A connector counts only when the chain verifies against its
 * own anchors. Of those the best match alone remains; several when it is shared.
 */
#pragma once
#include "policy/tenant.h"

/* Why a certificate can't be believed, by these anchors: 0, or not 0 with *ret_why. */
typedef int certificate_verifier(void *arg, const struct tls_trust *, struct arena *, struct str *ret_why);

struct certificate_client {
    const struct str *names; /* normalised, as stream_tls_peer gives them */
    size_t name_count;
    certificate_verifier *verify;
    void *arg;
};

struct certificate_match {
    const struct connector *connector;
    struct str name; /* the certificate's, in the arena */
};

/* A match of names that came to nothing. */
struct certificate_doubt {
    const struct connector *connector;
    struct str name, why;
};

/* Once for a TLS session and a policy. All zero: nobody's. */
struct certificate_facts {
    const struct certificate_match *matches; /* the best, verified; in the order of the configuration */
    size_t match_count;
    const struct certificate_doubt *doubts; /* for the log */
    size_t doubt_count;
};

/* Does any connector have a certificate? Then servers ask for one. */
bool policy_has_certificates(const struct policy *);

/* Each set of anchors is asked once at most. All in `arena`, the strings of the connectors apart. */
void policy_connectors_by_certificate(const struct policy *, const struct certificate_client *,
                                      struct arena *, struct certificate_facts *ret);

/* The rank of one match (above): 0 for none, greater is better. */
unsigned certificate_rank(struct str configured, struct str name);

/* Is the certificate's name (without its star) in or below an accepted domain of the tenant? */
bool certificate_in_tenant(const struct policy *, const struct tenant *, struct str name);
