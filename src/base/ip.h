/* ip.h - an IP address without a port, of either family.
 *
 * IPv4 is kept as an IPv4-mapped IPv6 address, so that 16 bytes and one
 * comparison do for both. Text forms: RFC 5952.
 */
#pragma once
#include "base/str.h"
#include <netinet/in.h>
#include <sys/socket.h>

struct ip {
    unsigned char bytes[16]; /* network order; ::ffff:a.b.c.d for IPv4; all zero: none */
};

enum { IP_TEXT_SIZE = 46 };

bool ip_parse(struct str text, struct ip *ret_ip);
const char *ip_text(const struct ip *, char out[IP_TEXT_SIZE]);
static inline bool ip_eq(const struct ip *a, const struct ip *b) { return memcmp(a, b, sizeof *a) == 0; }
bool ip_is_v4(const struct ip *);
/* All zero: no address. 0.0.0.0 is an address. */
bool ip_is_none(const struct ip *);
/* The first `prefix` bits equal? For IPv4 `prefix` counts from its 32 bits; of different families: false. */
bool ip_in(const struct ip *, const struct ip *network, unsigned prefix);
/* Loopback, RFC 1918, link-local, unique local, CGN, multicast, unspecified: nowhere to
 * deliver to. */
bool ip_is_private(const struct ip *);
bool ip_is_loopback(const struct ip *);

socklen_t ip_to_sockaddr(const struct ip *, uint16_t port, struct sockaddr_storage *ret);
/* False for other families. ret_port may be NULL. */
bool ip_from_sockaddr(const struct sockaddr *, struct ip *ret_ip, uint16_t *ret_port);

/* "192.0.2.1:25", "[2001:db8::1]:25"; a missing port gives `port`. The host must be a literal. */
bool ip_parse_port(struct str text, uint16_t port, struct ip *ret_ip, uint16_t *ret_port);
