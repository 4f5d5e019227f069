#include "identity/cidr.h"
#include "seeded_bug.h"
#include <stdio.h>
#include <stdlib.h>

typedef unsigned __int128 bits128;

static bits128 number_of(const struct ip *ip) {
    bits128 n = 0;
    for (size_t i = 0; i < sizeof ip->bytes; i++)
        n = n << 8 | ip->bytes[i];
    return n;
}

static struct ip ip_of(bits128 n) {
    struct ip ip;
    for (size_t i = sizeof ip.bytes; i-- > 0; n >>= 8)
        ip.bytes[i] = (unsigned char)n;
    return ip;
}

static int compare(const void *a, const void *b) {
    return memcmp(&((const struct ip_range *)a)->first, &((const struct ip_range *)b)->first,
                  sizeof(struct ip));
}

void ip_step(struct ip *ip) {
    for (size_t i = sizeof ip->bytes; i-- > 0;)
        if (++ip->bytes[i] != 0)
            return;
}

struct ip_range cidr_range(const struct cidr *c) {
    unsigned host = (ip_is_v4(&c->network) ? 32 : 128) - c->prefix;
    bits128 ones = host == 128 ? ~(bits128)0 : ((bits128)1 << host) - 1;
    return (struct ip_range){c->network, ip_of(number_of(&c->network) | ones)};
}

/* Ranges that touch or overlap become one, so that no two of the rest could share a network. */
static size_t join(struct ip_range *ranges, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct ip_range *last = kept ? &ranges[kept - 1] : NULL;
        bool near = false;
        if (last && ip_is_v4(&last->last) == ip_is_v4(&ranges[i].first)) {
            struct ip next = last->last;
            ip_step(&next);
#ifdef SLUICE_SEEDED_BUG_NETWORKS_BRIDGE_GAPS
            ip_step(&next);
#endif
            near = memcmp(&ranges[i].first, &last->last, sizeof next) <= 0 || ip_eq(&ranges[i].first, &next);
        }
        if (!near)
            ranges[kept++] = ranges[i];
        else if (memcmp(&ranges[i].last, &last->last, sizeof(struct ip)) > 0)
            last->last = ranges[i].last;
    }
    return kept;
}

/* From the left the largest network that starts here and ends inside: for one range no other way has fewer.
 */
static size_t cut(const struct ip_range *range, struct cidr *out) {
    unsigned width = ip_is_v4(&range->first) ? 32 : 128;
    bits128 at = number_of(&range->first), end = number_of(&range->last);
    for (size_t count = 0;; count++) {
        unsigned host = 0;
        while (host < width && !(at >> host & 1) && at + (((bits128)1 << host) * 2 - 1) <= end &&
               at + (((bits128)1 << host) * 2 - 1) > at)
            host++;
        bits128 last = at + (host == 128 ? ~(bits128)0 : ((bits128)1 << host) - 1);
        if (out)
            out[count] = (struct cidr){ip_of(at), width - host};
        if (last == end)
            return count + 1;
        at = last + 1;
    }
}

size_t cidr_merge(struct arena *arena, struct ip_range *ranges, size_t count, struct cidr **ret) {
    size_t total = 0, made = 0;
    if (count)
        qsort(ranges, count, sizeof *ranges, compare);
    count = join(ranges, count);
    for (size_t i = 0; i < count; i++)
        total += cut(&ranges[i], NULL);
    struct cidr *cidrs = arena_array(arena, struct cidr, total);
    for (size_t i = 0; i < count; i++)
        made += cut(&ranges[i], cidrs + made);
    *ret = cidrs;
    return total;
}

const char *cidr_text(const struct cidr *c, char out[CIDR_TEXT_SIZE]) {
    char ip[IP_TEXT_SIZE];
    if (c->prefix == (ip_is_v4(&c->network) ? 32u : 128u))
        return memcpy(out, ip_text(&c->network, ip), sizeof ip);
    snprintf(out, CIDR_TEXT_SIZE, "%s/%u", ip_text(&c->network, ip), c->prefix);
    return out;
}
