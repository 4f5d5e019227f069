/* Of a route that is found: in which order its addresses are tried; and the text form of explicit ones. */
#include "queue/route.h"

#include <stdlib.h>

static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void shuffle(const struct route_host **hosts, size_t count, uint64_t *random) {
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)(next_random(random) % i);
        const struct route_host *host = hosts[i - 1];
        hosts[i - 1] = hosts[j];
        hosts[j] = host;
    }
}

static size_t add_family(const struct route *route, const struct route_host *const *hosts, size_t count,
                         bool v4, struct route_target *out) {
    size_t added = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < hosts[i]->address_count; j++)
            if (ip_is_v4(&hosts[i]->addresses[j]) == v4)
                out[added++] = (struct route_target){hosts[i]->name, hosts[i]->addresses[j], route->port,
                                                     hosts[i]->preference};
    return added;
}

size_t route_targets(const struct route *route, uint64_t random, struct arena *arena,
                     struct route_target **ret) {
    const struct route_host *hosts[ROUTE_MAX_HOSTS];
    struct route_target *targets = arena_array(arena, struct route_target, ROUTE_MAX_ADDRESSES);
    size_t count = 0;
    for (size_t from = 0, to; from < route->host_count; from = to) {
        for (to = from;
             to < route->host_count && route->hosts[to].preference == route->hosts[from].preference; to++)
            hosts[to - from] = &route->hosts[to];
        shuffle(hosts, to - from, &random);
        count += add_family(route, hosts, to - from, false, targets + count);
        count += add_family(route, hosts, to - from, true, targets + count);
    }
    *ret = targets;
    return count;
}

static bool parse_port(struct str text, uint16_t *ret_port) {
    uint64_t value;
    if (!str_to_u64(text, &value) || !value || value > 65535)
        return false;
    *ret_port = (uint16_t)value;
    return true;
}

bool route_parse_via(struct str via, uint16_t port, struct str *ret_host, uint16_t *ret_port) {
    via = str_trim(via);
    *ret_port = port;
    struct str rest;
    if (str_starts(via, STR("["))) {
        ptrdiff_t end = str_index(via, ']');
        if (end < 2)
            return false;
        *ret_host = str_from(via.at + 1, (size_t)end - 1);
        rest = str_from_index(via, (size_t)end + 1);
    } else {
        ptrdiff_t colon = str_index(via, ':');
        if (colon >= 0 && colon != str_rindex(via, ':')) {
            struct ip ip;
            *ret_host = via;
            return ip_parse(via, &ip);
        }
        *ret_host = colon < 0 ? via : str_head(via, (size_t)colon);
        rest = colon < 0 ? STR_NULL : str_from_index(via, (size_t)colon);
    }
    if (!ret_host->len)
        return false;
    return !rest.len || (rest.at[0] == ':' && parse_port(str_from_index(rest, 1), ret_port));
}
