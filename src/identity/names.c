#include "identity/names.h"
#include "seeded_bug.h"

struct str reverse_name(struct arena *arena, const struct ip *ip) {
    const unsigned char *b = ip->bytes;
    if (ip_is_v4(ip))
        return str_printf(arena, "%u.%u.%u.%u.in-addr.arpa", b[15], b[14], b[13], b[12]);
    char out[64];
    for (size_t i = 0; i < 16; i++) {
        unsigned char byte = b[15 - i];
        out[i * 4] = "0123456789abcdef"[byte & 15], out[i * 4 + 1] = '.';
        out[i * 4 + 2] = "0123456789abcdef"[byte >> 4], out[i * 4 + 3] = '.';
    }
    return str_printf(arena, "%.64sip6.arpa", out);
}

void answer_doubt(struct dns_answer *answer) {
#ifdef SLUICE_SEEDED_BUG_LAME_IS_NONE
    return;
#endif
    if (answer->status == DNS_NONE && answer->bare)
        *answer = (struct dns_answer){
            .status = DNS_FAILED, .why = STR("an empty answer without an SOA, as a lame server gives it")};
}

bool name_is_below(struct str name, struct str domain) {
    if (name.len <= domain.len)
        return str_eq_nocase(name, domain);
    return name.at[name.len - domain.len - 1] == '.' && str_ends_nocase(name, domain);
}
