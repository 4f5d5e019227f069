#include "base/ip.h"

#include <arpa/inet.h>

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

bool ip_is_v4(const struct ip *ip) { return memcmp(ip->bytes, mapped, sizeof mapped) == 0; }

bool ip_is_none(const struct ip *ip) {
    static const struct ip none;
    return ip_eq(ip, &none);
}

static void set_v4(struct ip *ip, const void *four) {
    memcpy(ip->bytes, mapped, sizeof mapped);
    memcpy(ip->bytes + 12, four, 4);
}

bool ip_parse(struct str text, struct ip *ret_ip) {
    char c[IP_TEXT_SIZE];
    if (!text.len || text.len >= sizeof c || memchr(text.at, 0, text.len))
        return false;
    memcpy(c, text.at, text.len);
    c[text.len] = 0;
    unsigned char raw[16];
    if (inet_pton(AF_INET, c, raw) == 1) {
        set_v4(ret_ip, raw);
        return true;
    }
    if (inet_pton(AF_INET6, c, raw) != 1)
        return false;
    memcpy(ret_ip->bytes, raw, sizeof raw);
    return true;
}

const char *ip_text(const struct ip *ip, char out[IP_TEXT_SIZE]) {
    if (ip_is_none(ip))
        *out = 0;
    else if (ip_is_v4(ip))
        inet_ntop(AF_INET, ip->bytes + 12, out, IP_TEXT_SIZE);
    else
        inet_ntop(AF_INET6, ip->bytes, out, IP_TEXT_SIZE);
    return out;
}

bool ip_in(const struct ip *ip, const struct ip *network, unsigned prefix) {
    if (ip_is_v4(ip) != ip_is_v4(network))
        return false;
    if (ip_is_v4(ip))
        prefix += 96;
    if (prefix > 128)
        prefix = 128;
    unsigned whole = prefix / 8, bits = prefix % 8;
    if (memcmp(ip->bytes, network->bytes, whole) != 0)
        return false;
    return !bits || ((ip->bytes[whole] ^ network->bytes[whole]) >> (8 - bits)) == 0;
}

static bool in_any(const struct ip *ip, const char *const (*networks)[2], size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct ip network;
        uint64_t prefix;
        if (ip_parse(str_of(networks[i][0]), &network) && str_to_u64(str_of(networks[i][1]), &prefix) &&
            ip_in(ip, &network, (unsigned)prefix))
            return true;
    }
    return false;
}

bool ip_is_loopback(const struct ip *ip) {
    static const char *const networks[][2] = {{"127.0.0.0", "8"}, {"::1", "128"}};
    return in_any(ip, networks, 2);
}

bool ip_is_private(const struct ip *ip) {
    static const char *const networks[][2] = {
        {"0.0.0.0", "8"},      {"10.0.0.0", "8"},    {"100.64.0.0", "10"}, {"127.0.0.0", "8"},
        {"169.254.0.0", "16"}, {"172.16.0.0", "12"}, {"192.0.0.0", "24"},  {"192.168.0.0", "16"},
        {"198.18.0.0", "15"},  {"224.0.0.0", "3"},   {"::", "96"},         {"64:ff9b:1::", "48"},
        {"100::", "64"},       {"fc00::", "7"},      {"fe80::", "10"},     {"fec0::", "10"},
        {"ff00::", "8"},
    };
    return in_any(ip, networks, sizeof networks / sizeof networks[0]);
}

socklen_t ip_to_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *ret) {
    memset(ret, 0, sizeof *ret);
    if (ip_is_v4(ip)) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        memcpy(&v4->sin_addr, ip->bytes + 12, 4);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    memcpy(&v6->sin6_addr, ip->bytes, 16);
    return sizeof *v6;
}

bool ip_from_sockaddr(const struct sockaddr *address, struct ip *ret_ip, uint16_t *ret_port) {
    uint16_t port = 0;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        set_v4(ret_ip, &v4->sin_addr);
        port = ntohs(v4->sin_port);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(ret_ip->bytes, &v6->sin6_addr, 16);
        port = ntohs(v6->sin6_port);
    } else {
        return false;
    }
    if (ret_port)
        *ret_port = port;
    return true;
}

static bool parse_port(struct str text, uint16_t *ret_port) {
    uint64_t value;
    if (!str_to_u64(text, &value) || value == 0 || value > 65535)
        return false;
    *ret_port = (uint16_t)value;
    return true;
}

bool ip_parse_port(struct str text, uint16_t port, struct ip *ret_ip, uint16_t *ret_port) {
    *ret_port = port;
    if (str_starts(text, STR("["))) {
        ptrdiff_t end = str_index(text, ']');
        if (end < 0 || !ip_parse(str_from(text.at + 1, (size_t)end - 1), ret_ip) || ip_is_v4(ret_ip))
            return false;
        struct str rest = str_from_index(text, (size_t)end + 1);
        return !rest.len || (rest.at[0] == ':' && parse_port(str_from_index(rest, 1), ret_port));
    }
    ptrdiff_t colon = str_index(text, ':');
    if (colon >= 0 && str_rindex(text, ':') == colon)
        return ip_parse(str_head(text, (size_t)colon), ret_ip) &&
               parse_port(str_from_index(text, (size_t)colon + 1), ret_port);
    return ip_parse(text, ret_ip);
}
