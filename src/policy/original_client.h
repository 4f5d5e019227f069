/* original_client.h - who really sent it, when the mail came through servers that the tenant names
 * (enhanced filtering, "skip listing"). Pure.
 *
 * `skip = {"last"}` goes one hop outwards, whatever the connecting address is; addresses, ranges and networks
 * as long as the address is one of them. Both pass over private ones (loopback, RFC 1918, link-local, CGN,
 * unique local) as well; the first other one is the client. A Received field is believed only because a host
 * that we skip wrote it: the first was written by the connecting host, the second by the host that the first
 * names, and so on.
 */
#pragma once
#include "mail/header.h"
#include "policy/tenant.h"

enum { ORIGINAL_CLIENT_WALK_MAX = HEADER_RECEIVED_MAX };

struct original_client {
    struct ip ip;    /* the address to check SPF for */
    struct str helo; /* what that client said; "" when its field doesn't say */
    struct str why;  /* for people; "" when nothing was skipped */
    /* Its word about who it is proves nothing: it is none of the tenant's hosts and did not log in at one, or
     * nobody can tell who it is. Only with `skip`, and when something was skipped. */
    bool stranger;
    struct ip *walked; /* the addresses that were skipped, from the connecting one outwards */
    size_t walked_count;
};

/* Is it one that the connector skips, a private one, or one of its tenant's connectors? */
bool original_client_known(const struct connector *, const struct ip *);

/* Always sets *ret, in `arena`. `connector` may be NULL: nothing is skipped. `header` is that of the message
 * as it came, without our own Received. Where the chain ends, or a field can't be read, the last address that
 * is certain stays the client and `why` says so. */
void original_client(const struct connector *, const struct ip *connecting, struct str helo,
                     const struct header *, struct arena *, struct original_client *ret);
