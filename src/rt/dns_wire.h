/* dns_wire.h - reading DNS answers as they stand on the wire (RFC 1035 4), and names.
 *
 * What comes in here was written by strangers: nothing in it is believed before it was checked.
 */
#pragma once
#include "base/buf.h"
#include "rt/resolver.h"

enum { DNS_NAME_MAX = 1024 }; /* presentation form of 255 octets, all escaped */

/* Decodes the answer to (name, type): follows the CNAME chain that it holds, from `name`. Status, nxdomain,
 * bare, ttl, canonical, records or why are set; anything malformed is DNS_FAILED. Records live in the arena.
 */
void dns_decode(struct str packet, struct str name, enum dns_type, struct arena *, struct dns_answer *ret);

/* Lower case, no final dot; the root is ".". False when it can't stand in the DNS: an empty label, a label
 * over 63 octets, 255 in all, a malformed escape. `out` holds the result. */
bool dns_name_normal(struct str name, char out[DNS_NAME_MAX], struct str *ret);

/* The name in wire form, uncompressed. It must be normal. */
void dns_name_wire(struct str normal, struct buf *);

/* "MX", ...; "TYPE99" for others. */
struct str dns_type_text(struct arena *, enum dns_type);
/* "SERVFAIL", ...; "rcode 23" for others. */
struct str dns_rcode_text(struct arena *, unsigned rcode);
