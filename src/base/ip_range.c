#include "base/ip_range.h"
#include "base/error.h"

static void fill(struct ip *ip, unsigned from_bit, bool ones) {
    for (unsigned bit = from_bit; bit < 128; bit++) {
        unsigned char mask = (unsigned char)(0x80u >> (bit % 8));
        ip->bytes[bit / 8] = (unsigned char)(ones ? ip->bytes[bit / 8] | mask : ip->bytes[bit / 8] & ~mask);
    }
}

static int parse_cidr(struct str text, size_t slash, struct ip_range *ret) {
    struct ip_range r;
    uint64_t prefix;
    if (!ip_parse(str_head(text, slash), &r.first) || !str_to_u64(str_from_index(text, slash + 1), &prefix))
        return SLUICE_ESYNTAX;
    unsigned family_bits = ip_is_v4(&r.first) ? 32 : 128;
    if (prefix > family_bits)
        return SLUICE_EINVALID;
    unsigned from_bit = 128 - family_bits + (unsigned)prefix;
    struct ip lowest = r.first;
    fill(&lowest, from_bit, false);
    if (!ip_eq(&lowest, &r.first))
        return SLUICE_EINVALID;
    r.last = r.first;
    fill(&r.last, from_bit, true);
    *ret = r;
    return 0;
}

int ip_range_parse(struct str text, struct ip_range *ret) {
    ptrdiff_t slash = str_index(text, '/'), dash = str_index(text, '-');
    struct ip_range r;
    if (slash >= 0)
        return parse_cidr(text, (size_t)slash, ret);
    if (dash < 0) {
        if (!ip_parse(text, &r.first))
            return SLUICE_ESYNTAX;
        r.last = r.first;
        *ret = r;
        return 0;
    }
    if (!ip_parse(str_trim(str_head(text, (size_t)dash)), &r.first) ||
        !ip_parse(str_trim(str_from_index(text, (size_t)dash + 1)), &r.last))
        return SLUICE_ESYNTAX;
    if (ip_is_v4(&r.first) != ip_is_v4(&r.last) || memcmp(&r.first, &r.last, sizeof r.first) > 0)
        return SLUICE_EINVALID;
    *ret = r;
    return 0;
}

bool ip_range_overlaps(const struct ip_range *a, const struct ip_range *b) {
    return memcmp(&a->first, &b->last, sizeof a->first) <= 0 &&
           memcmp(&b->first, &a->last, sizeof b->first) <= 0;
}

static uint64_t half(const unsigned char *bytes) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | bytes[i];
    return v;
}

uint64_t ip_range_size(const struct ip_range *r) {
    uint64_t low_first = half(r->first.bytes + 8), low_last = half(r->last.bytes + 8);
    uint64_t high = half(r->last.bytes) - half(r->first.bytes) - (low_last < low_first);
    uint64_t low = low_last - low_first;
    return high || low == UINT64_MAX ? UINT64_MAX : low + 1;
}
