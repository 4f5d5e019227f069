#include "acceptance/client_name.h"

#include "base/clock.h"
#include "flow/flow.h"

/* Of ten PTR names each may have servers that keep silent: all questions end at one deadline. */
struct hurried {
    struct resolver resolver;
    struct resolver *below;
    int64_t deadline;
};

static void ask_until(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                      struct arena *arena, struct dns_answer *ret) {
    const struct hurried *h = (const struct hurried *)(const void *)self;
    if (clock_mono_ms() >= h->deadline)
        *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("there was no time left to ask")};
    else
        resolver_lookup(h->below, name, type, deadline < h->deadline ? deadline : h->deadline, arena, ret);
}

static struct str keep(char into[CLIENT_NAME_MAX], struct str name) {
    size_t len = name.len < CLIENT_NAME_MAX ? name.len : CLIENT_NAME_MAX;
    memcpy(into, name.at ? name.at : "", len);
    return str_from(into, len);
}

static bool is_localhost(const struct ip *ip) {
    struct ip v4, v6;
    ip_parse(STR("127.0.0.1"), &v4), ip_parse(STR("::1"), &v6);
    return ip_eq(ip, &v4) || ip_eq(ip, &v6);
}

const struct client_name *client_name_ask(struct client_names *names, struct flow *flow, const struct ip *ip,
                                          bool peer, int64_t timeout_ms) {
    struct client_name *n =
        peer || (names->peer.asked && ip_eq(&names->peer.ip, ip)) ? &names->peer : &names->before;
    if (n->asked && ip_eq(&n->ip, ip))
        return n;
    struct arena *arena = arena_new(0);
    struct fcrdns found = {.state = FCRDNS_RIGHT, .name = STR("localhost")};
    struct hurried hurried = {.resolver.lookup = ask_until, .below = flow_here(flow)->resolver};
    timeout_ms = timeout_ms < CLIENT_NAME_MS ? timeout_ms : CLIENT_NAME_MS;
    hurried.deadline = clock_mono_ms() + timeout_ms;
    if (!is_localhost(ip))
        fcrdns_ask(&hurried.resolver, ip, timeout_ms, arena, &found);
    *n = (struct client_name){.ip = *ip, .asked = true, .state = found.state};
    n->ptr = keep(n->ptr_bytes, found.name);
    n->name = keep(n->name_bytes, found.state == FCRDNS_RIGHT ? found.name : STR(""));
    arena_free(arena);
    return n;
}

struct str client_name_said(const struct client_name *n) {
    return n->state == FCRDNS_UNASKED ? STR("") : n->name.len ? n->name : STR("unknown");
}
