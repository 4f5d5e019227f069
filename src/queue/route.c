#include "queue/route.h"

#include "base/clock.h"
#include "mail/address.h"
#include "rt/net.h"
#include "seeded_bug.h"

#include <stdatomic.h>
#include <stdlib.h>

struct counted_route {
    struct route route; /* first: a struct route * is one of these */
    _Atomic unsigned references;
    struct arena *arena;
};

struct search {
    const struct queue_settings *settings;
    struct resolver *resolver;
    int64_t deadline;
    struct arena *arena;
    struct route *route;
    struct str domain; /* A-labels */
    struct route_host *hosts;
    size_t host_count, address_count;
    bool any_address_allowed;
    bool refused_private, looped;
    bool failed; /* the addresses of a host could not be found out */
    struct str why;
};

struct route *route_ref(const struct route *route) {
    struct counted_route *counted = (struct counted_route *)(void *)(uintptr_t)route;
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return &counted->route;
}

struct route *route_unref(const struct route *route) {
    struct counted_route *counted = (struct counted_route *)(void *)(uintptr_t)route;
    if (counted && atomic_fetch_sub_explicit(&counted->references, 1, memory_order_acq_rel) == 1)
        arena_free(counted->arena);
    return NULL;
}

static void end(struct search *s, enum outcome_fate fate, int code, const char *enhanced, struct str text) {
    s->route->outcome = (struct outcome){
        .scope = OUTCOME_RECEIVER, .fate = fate, .code = code, .enhanced = str_of(enhanced), .text = text};
    s->route->hosts = NULL;
    s->route->host_count = 0;
}

static void end_by_dns(struct search *s, struct str name, struct str why) {
    s->route->ttl = 0;
    end(s, OUTCOME_LATER, 451, "4.4.3",
        str_printf(s->arena, "DNS look-up of %.*s failed: %.*s", STR_FMT(name), STR_FMT(why)));
}

static void note_ttl(struct search *s, uint32_t ttl) {
    if (ttl < s->route->ttl)
        s->route->ttl = ttl;
}

static bool is_own_address(const struct search *s, const struct ip *ip) {
    static const struct ip any_v4 = {.bytes = {[10] = 0xff, [11] = 0xff}};
    for (size_t i = 0; i < s->settings->own_count; i++) {
        const struct own_endpoint *own = &s->settings->own[i];
        if (own->port != s->route->port)
            continue;
        if (ip_eq(&own->ip, ip))
            return true;
        bool any = ip_is_none(&own->ip) || (ip_eq(&own->ip, &any_v4) && ip_is_v4(ip));
        if (any && net_bindable(ip) == 0)
            return true;
    }
    return false;
}

static bool is_own_name(const struct search *s, struct str name) {
    for (size_t i = 0; i < s->settings->own_name_count; i++)
        if (str_eq_nocase(s->settings->own_names[i], name))
            return true;
    return false;
}

/* Adds an address to the host under way. False: it is one of ours. */
static bool add_address(struct search *s, struct ip *addresses, size_t *count, const struct ip *ip) {
    if (is_own_address(s, ip))
        return false;
    if (!s->any_address_allowed && ip_is_private(ip)) {
        s->refused_private = true;
        return true;
    }
    if (s->address_count < ROUTE_MAX_ADDRESSES) {
        addresses[(*count)++] = *ip;
        s->address_count++;
    }
    return true;
}

/* A slow server of one host may not use up the time of all. */
static int64_t host_deadline(const struct search *s, size_t hosts_left) {
    int64_t now = clock_mono_ms();
    return hosts_left > 1 && s->deadline > now ? now + (s->deadline - now) / 2 : s->deadline;
}

/* Finds the addresses of a host, IPv6 first. False: the host is ourselves. */
static bool find_addresses(struct search *s, struct route_host *host, size_t hosts_left) {
    struct ip addresses[ROUTE_MAX_ADDRESSES], literal;
    size_t count = 0;
    if (is_own_name(s, host->name))
        return false;
    if (ip_parse(host->name, &literal)) {
        if (!add_address(s, addresses, &count, &literal))
            return false;
    } else {
        static const enum dns_type types[] = {DNS_AAAA, DNS_A};
        for (size_t t = 0; t < 2; t++) {
            struct dns_answer answer;
            resolver_lookup(s->resolver, host->name, types[t], host_deadline(s, hosts_left), s->arena,
                            &answer);
            if (answer.status == DNS_FAILED) {
                s->failed = true;
                s->why = str_printf(s->arena, "%.*s: %.*s", STR_FMT(host->name), STR_FMT(answer.why));
                note_ttl(s, 0);
                continue;
            }
            note_ttl(s, answer.ttl);
            for (size_t i = 0; answer.status == DNS_RECORDS && i < answer.count; i++)
                if (!add_address(s, addresses, &count, &answer.records[i].ip))
                    return false;
        }
    }
    struct ip *kept = arena_array(s->arena, struct ip, count);
    if (count)
        memcpy(kept, addresses, count * sizeof *kept);
    host->addresses = kept;
    host->address_count = count;
    return true;
}

/* RFC 5321 5.1: of hosts that are ourselves, and all of the same or a worse preference, none is used. */
static void find_hosts(struct search *s) {
    size_t kept = 0;
    for (size_t i = 0; i < s->host_count; i++) {
        struct route_host *host = &s->hosts[i];
        if (!find_addresses(s, host, s->host_count - i)) {
            s->looped = true;
            while (kept && s->hosts[kept - 1].preference == host->preference)
                kept--;
            break;
        }
        if (host->address_count)
            s->hosts[kept++] = *host;
    }
    s->host_count = kept;
}

static void finish(struct search *s) {
    find_hosts(s);
    if (s->host_count) {
        s->route->hosts = s->hosts;
        s->route->host_count = s->host_count;
        s->route->outcome = (struct outcome){.scope = OUTCOME_RECEIVER, .fate = OUTCOME_DONE};
    } else if (s->failed) {
        end_by_dns(s, s->domain, s->why);
    } else if (s->looped) {
        end(s, OUTCOME_NEVER, 554, "5.4.6",
            str_printf(s->arena, "Mail for %.*s loops back to this host", STR_FMT(s->domain)));
    } else if (s->refused_private) {
        end(s, OUTCOME_NEVER, 550, "5.4.4",
            str_printf(s->arena, "The mail hosts of %.*s have only private addresses", STR_FMT(s->domain)));
    } else {
        end(s, OUTCOME_NEVER, 550, "5.4.4",
            str_printf(s->arena, "No mail host of %.*s has an address", STR_FMT(s->domain)));
    }
}

static void apply_destination(struct search *s, const struct destination_settings *from) {
    if (!from)
        return;
    struct destination_settings *copy = arena_new_of(s->arena, struct destination_settings);
    *copy = destination_settings_copy(s->arena, from);
    s->route->destination = copy;
    s->route->receiver = str_printf(s->arena, "destination:%.*s", STR_FMT(copy->name));
    if (copy->connections)
        s->route->connections = copy->connections;
    if (copy->messages_per_connection)
        s->route->messages_per_connection = copy->messages_per_connection;
}

static void set_key(struct search *s, struct str key) {
    s->route->hosts_key = key;
    if (!s->route->receiver.len)
        s->route->receiver = key;
}

static void one_host(struct search *s, struct str name) {
    s->hosts[0] = (struct route_host){.name = str_lower(s->arena, name)};
    s->host_count = 1;
}

static void find_explicit(struct search *s, struct str via) {
    struct str host;
    uint16_t port;
    s->route->literal_or_explicit = true;
    s->any_address_allowed = true;
    if (!route_parse_via(via, s->settings->delivery.port, &host, &port)) {
        set_key(s, str_copy(s->arena, via));
        end(s, OUTCOME_NEVER, 550, "5.4.4",
            str_printf(s->arena, "The route %.*s is malformed", STR_FMT(via)));
        return;
    }
    s->route->port = port;
    one_host(s, host);
    bool colons = str_index(host, ':') >= 0;
    set_key(
        s, str_printf(s->arena, colons ? "[%.*s]:%u" : "%.*s:%u", STR_FMT(s->hosts[0].name), (unsigned)port));
    finish(s);
}

static void find_literal(struct search *s) {
    struct str text = str_from(s->domain.at + 1, s->domain.len - 2);
    if (str_starts_nocase(text, STR("IPv6:")))
        text = str_from_index(text, 5);
    s->route->literal_or_explicit = true;
    one_host(s, text);
    set_key(s, s->domain);
    finish(s);
}

static int by_preference(const void *a, const void *b) {
    const struct route_host *x = a, *y = b;
    if (x->preference != y->preference)
        return x->preference < y->preference ? -1 : 1;
    return str_cmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The names of the hosts, sorted: what domains with the same MX hosts have in common. */
static struct str key_of_hosts(struct search *s) {
    struct str names[ROUTE_MAX_HOSTS] = {0}, key = STR_NULL;
    for (size_t i = 0; i < s->host_count; i++)
        names[i] = s->hosts[i].name;
    qsort(names, s->host_count, sizeof *names, by_name);
    for (size_t i = 0; i < s->host_count; i++)
        key = i ? str_printf(s->arena, "%.*s,%.*s", STR_FMT(key), STR_FMT(names[i])) : names[i];
    if (key.len <= 240)
        return key;
    return str_printf(s->arena, "%.*s...#%016llx", 200, key.at, (unsigned long long)str_hash(key, 0));
}

/* False: a null MX (RFC 7505). A "." beside other hosts is a mistake of theirs and left out. */
static bool take_mx(struct search *s, const struct dns_answer *mx) {
    struct route_host *all = arena_array(s->arena, struct route_host, mx->count);
    size_t count = 0;
    for (size_t i = 0; i < mx->count; i++) {
        struct str name = mx->records[i].name;
        if (name.len && !str_eq(name, STR(".")))
            all[count++] = (struct route_host){.name = name, .preference = mx->records[i].preference};
    }
    if (!count)
        return false;
    qsort(all, count, sizeof *all, by_preference);
    for (size_t i = 0; i < count && s->host_count < ROUTE_MAX_HOSTS; i++)
        if (!i || by_preference(&all[i], &all[i - 1]) != 0)
            s->hosts[s->host_count++] = all[i];
    return true;
}

/* The destination by the hosts of the best preference; an own `domains` entry goes first. */
static const struct destination_settings *destination_by_mx(const struct search *s) {
    for (size_t i = 0; i < s->host_count && s->hosts[i].preference == s->hosts[0].preference; i++) {
        const struct destination_settings *found = destination_of_mx(s->settings, s->hosts[i].name);
        if (found)
            return found;
    }
    return NULL;
}

static void find_by_mx(struct search *s) {
    struct dns_answer mx;
    resolver_lookup(s->resolver, s->domain, DNS_MX, host_deadline(s, 2), s->arena, &mx);
    note_ttl(s, mx.ttl);
    s->route->secure = mx.secure;
#ifdef SLUICE_SEEDED_BUG_ROUTE_FAILURE_IS_NONE
    if (mx.status == DNS_FAILED)
        mx.status = DNS_NONE;
#endif
    if (mx.status == DNS_FAILED) {
        end_by_dns(s, s->domain, mx.why);
        return;
    }
    if (mx.status == DNS_NONE && mx.nxdomain) {
        end(s, OUTCOME_NEVER, 550, "5.1.2",
            str_printf(s->arena, "The domain %.*s does not exist", STR_FMT(s->domain)));
        return;
    }
    if (mx.status == DNS_NONE) {
        one_host(s, mx.canonical.len ? mx.canonical : s->domain);
    } else if (!take_mx(s, &mx)) {
        end(s, OUTCOME_NEVER, 556, "5.1.10",
            str_printf(s->arena, "The domain %.*s does not accept mail (null MX)", STR_FMT(s->domain)));
        return;
    }
    if (!s->route->destination)
        apply_destination(s, destination_by_mx(s));
    if (s->route->destination && s->route->destination->route.len) {
        s->host_count = 0;
        find_explicit(s, s->route->destination->route);
        return;
    }
    set_key(s, key_of_hosts(s));
    finish(s);
}

static void find_domain(struct search *s, struct str domain) {
    if (domain_normal(s->arena, domain, &s->domain) < 0) {
        s->domain = str_copy(s->arena, domain);
        end(s, OUTCOME_NEVER, 550, "5.1.2", str_printf(s->arena, "%.*s is no valid domain", STR_FMT(domain)));
        return;
    }
    if (domain_is_literal(s->domain)) {
        find_literal(s);
        return;
    }
    apply_destination(s, destination_of_domain(s->settings, s->domain));
    if (s->route->destination && s->route->destination->route.len)
        find_explicit(s, s->route->destination->route);
    else
        find_by_mx(s);
}

void route_find(const struct queue_settings *settings, struct resolver *resolver, struct str domain,
                struct str via, int64_t deadline, struct route **ret) {
    struct arena *arena = arena_new(2048);
    struct counted_route *counted = arena_new_of(arena, struct counted_route);
    counted->references = 1;
    counted->arena = arena;
    struct route *route = &counted->route;
    route->port = settings->delivery.port;
    route->connections = settings->delivery.connections;
    route->messages_per_connection = settings->delivery.messages_per_connection;
    route->ttl = UINT32_MAX;
    struct search s = {.settings = settings,
                       .resolver = resolver,
                       .deadline = deadline,
                       .arena = arena,
                       .route = route,
                       .hosts = arena_array(arena, struct route_host, ROUTE_MAX_HOSTS),
                       .any_address_allowed = settings->delivery.allow_private};
    if (via.len) {
        s.domain = str_copy(arena, domain);
        find_explicit(&s, via);
    } else {
        find_domain(&s, domain);
    }
    if (!route->receiver.len)
        set_key(&s, s.domain);
    *ret = route;
}
