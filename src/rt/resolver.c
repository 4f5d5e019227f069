/* libunbound on a worker's loop.
 *
 * A look-up first asks the zone file, then our cache, then joins or starts a
 * query. The query lives until libunbound answers or QUERY_MS are over, even
 * when those who asked have left, so that a slow server's answer serves the next
 * one. Expired answers are ours, not libunbound's (it doesn't tell which they are).
 */
#include "rt/resolver.h"

#include "base/clock.h"
#include "base/map.h"
#include "rt/dns_cache.h"
#include "rt/dns_wire.h"
#include "rt/fiber.h"
#include "rt/zone_file.h"

#include <stdlib.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

enum {
    QUERY_MS = 20 * 1000,
    QUERIES_MAX = 4000,
    CACHE_MAX = 16384,
    PATIENCE_MS = 1800, /* then an expired answer serves (RFC 8767 5) */
    CLASS_IN = 1,
    SEC_BOGUS = 1,
    SEC_SECURE = 2,
};

struct unbound_resolver {
    struct resolver table; /* first: a struct resolver * is one of these */
    struct worker *worker;
    struct ub_ctx *unbound; /* NULL once closed */
    struct zone_file *zone;
    struct dns_cache *cache;
    struct map *queries; /* by type and name */
    unsigned users;      /* look-ups and letters that still look at this */
    int64_t timeout_ms;  /* of one look-up; 0: none */
    bool forwards;       /* to servers that ask for us */
};

struct query {
    struct unbound_resolver *resolver;
    struct str key;
    const char *name;
    enum dns_type type;
    int id;
    struct worker_timer *timer;
    struct waiters waiters;
    unsigned users; /* look-ups, and the resolver until the answer is there */
    struct arena *arena;
    struct dns_answer answer;
    bool done;
};

static void fail(struct dns_answer *ret, const char *why) {
    *ret = (struct dns_answer){.status = DNS_FAILED, .why = str_of(why)};
}

static void resolver_leave(struct unbound_resolver *r) {
    if (--r->users || r->unbound)
        return;
    map_free(r->queries);
    dns_cache_free(r->cache);
    zone_free(r->zone);
    free(r);
}

/* ---- queries ---- */

static void query_leave(struct query *query) {
    if (--query->users == 0)
        arena_free(query->arena);
}

static void query_end(struct query *query) {
    struct unbound_resolver *r = query->resolver;
    query->done = true;
    worker_timer_cancel(query->timer);
    query->timer = NULL;
    map_remove(r->queries, query->key);
    waiters_wake_all(&query->waiters);
    query_leave(query);
}

/* With an rcode the packet is whatever the buffer held before. Without one, only the packet's header tells: a
 * SERVFAIL from libunbound's cache comes as rcode 0, and so does NXDOMAIN. */
static void on_answer(void *arg, int rcode, void *packet, int len, int secure, char *why_bogus, int limited) {
    struct query *query = arg;
    struct unbound_resolver *r = query->resolver;
    (void)limited;
    query->id = 0;
    if (secure == SEC_BOGUS)
        fail(&query->answer, why_bogus ? str_c(query->arena, str_of(why_bogus)) : "DNSSEC validation failed");
    else if (rcode)
        query->answer =
            (struct dns_answer){.status = DNS_FAILED, .why = dns_rcode_text(query->arena, (unsigned)rcode)};
    else if (!packet || len <= 0)
        fail(&query->answer, "no answer");
    else
        dns_decode(str_from(packet, (size_t)len), str_of(query->name), query->type, query->arena,
                   &query->answer);
    if (query->answer.status != DNS_FAILED) {
        query->answer.secure = secure == SEC_SECURE;
        query->answer.bare &= !r->forwards;
        dns_cache_put(r->cache, str_of(query->name), query->type, &query->answer, clock_mono_ms());
    }
    query_end(query);
}

static void on_timer(void *arg) {
    struct query *query = arg;
    query->timer = NULL;
    if (query->id)
        ub_cancel(query->resolver->unbound, query->id);
    fail(&query->answer, "no server answered in time");
    query_end(query);
}

/* On the loop, not on the small stack of a fiber: validation may need much. */
static void query_start(void *arg) {
    struct query *query = arg;
    struct unbound_resolver *r = query->resolver;
    if (r->unbound && !query->done) {
        query->timer = worker_after(r->worker, QUERY_MS, on_timer, query);
        query->users++; /* the answer may come before the call returns */
        int error = ub_resolve_event(r->unbound, query->name, (int)query->type, CLASS_IN, query, on_answer,
                                     &query->id);
        if (error && !query->done) {
            fail(&query->answer, ub_strerror(error));
            query_end(query);
        }
        query_leave(query);
    }
    query_leave(query);
    resolver_leave(r);
}

static struct str query_key(struct arena *arena, struct str name, enum dns_type type) {
    return str_printf(arena, "%u %.*s", (unsigned)type, STR_FMT(name));
}

/* The query under way for this question, or a new one; NULL: too many. */
static struct query *query_join(struct unbound_resolver *r, struct str name, enum dns_type type,
                                struct arena *arena) {
    struct query *query = map_get(r->queries, query_key(arena, name, type));
    if (query) {
        query->users++;
        return query;
    }
    if (map_count(r->queries) >= QUERIES_MAX)
        return NULL;
    struct arena *own = arena_new(1024);
    query = arena_new_of(own, struct query);
    *query = (struct query){.resolver = r,
                            .key = query_key(own, name, type),
                            .name = str_c(own, name),
                            .type = type,
                            .users = 3, /* the caller, the letter to the loop, the answer */
                            .arena = own};
    map_put(r->queries, query->key, query);
    r->users++;
    worker_post(r->worker, query_start, query);
    return query;
}

/* ---- look-ups ---- */

static void ask(struct unbound_resolver *r, struct str name, enum dns_type type, int64_t deadline,
                struct arena *arena, struct dns_answer *ret) {
    int64_t now = clock_mono_ms(), patience = deadline;
    if (r->timeout_ms && patience > now + r->timeout_ms)
        patience = now + r->timeout_ms;
    if (dns_cache_get(r->cache, name, type, now, arena, ret))
        return;
    bool stale = dns_cache_stale(r->cache, name, type, now, arena, ret);
    if (stale && patience > now + PATIENCE_MS)
        patience = now + PATIENCE_MS;
    if (fiber_yield() ==
        SLUICE_ECANCELLED) { /* the loop that is ending would not begin it, and nobody would free it */
        if (!stale)
            fail(ret, "cancelled");
        return;
    }
    struct query *query = r->unbound ? query_join(r, name, type, arena) : NULL;
    if (!query) {
        if (!stale)
            fail(ret, r->unbound ? "too many look-ups under way" : "the resolver is closed");
        return;
    }
    int error = 0;
    while (!query->done && !error)
        error = waiters_wait(&query->waiters, patience);
    if (query->done && (query->answer.status != DNS_FAILED || !stale))
        dns_answer_copy(arena, &query->answer, ret);
    else if (!stale)
        fail(ret, error == SLUICE_ECANCELLED ? "cancelled" : "no answer in time");
    query_leave(query);
}

/* From the zone file; true when that is all. *name is where to go on otherwise. */
static bool ask_zone(struct unbound_resolver *r, struct str *name, enum dns_type type, struct arena *arena,
                     struct dns_answer *ret) {
    struct dns_answer found;
    struct str elsewhere;
    if (!r->zone || !zone_covers(r->zone, *name))
        return false;
    zone_answer(r->zone, *name, type, &found, &elsewhere);
    dns_answer_copy(arena, &found, ret);
    if (!elsewhere.len)
        return true;
    *name = str_copy(arena, elsewhere);
    return false;
}

static void lookup(struct resolver *self, struct str written, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    struct unbound_resolver *r = (struct unbound_resolver *)(void *)self;
    char memory[DNS_NAME_MAX];
    struct str name, asked;
    if (!dns_name_normal(written, memory, &name)) {
        fail(ret, "this is no DNS name");
        return;
    }
    r->users++;
    asked = name;
    if (!ask_zone(r, &name, type, arena, ret)) {
        uint32_t ttl = name.at == asked.at ? UINT32_MAX : ret->ttl;
        ask(r, name, type, deadline, arena, ret);
        if (name.at != asked.at && ret->status != DNS_FAILED) {
            if (!ret->canonical.len)
                ret->canonical = name;
            ret->secure = false;
            ret->ttl = ttl < ret->ttl ? ttl : ret->ttl;
        }
    }
    resolver_leave(r);
}

/* ---- making ---- */

static const char *const options[][2] = {
    {"use-syslog:", "no"},          {"do-not-query-localhost:", "no"}, /* a forwarder may live there */
    {"unblock-lan-zones:", "yes"},  {"insecure-lan-zones:", "yes"},
    {"edns-buffer-size:", "1232"},  {"num-queries-per-thread:", "4096"},
    {"outgoing-range:", "2048"},    {"cache-max-negative-ttl:", "300"},
    {"infra-host-ttl:", "60"}, /* a dead server is asked again after a minute */
    {"infra-keep-probing:", "yes"}, {"qname-minimisation:", "yes"},
};

/* Names that libunbound would answer by itself. */
static const char *const built_in[] = {"test.", "invalid.", "home.arpa.", "127.in-addr.arpa."};

static int set_options(struct unbound_resolver *r, const struct dns_settings *settings, struct arena *arena,
                       struct str *ret_why) {
    /* What is wrong with a server shows in the answers; its log lines would go to our standard error. */
    ub_ctx_debugout(r->unbound, NULL);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int error = ub_ctx_set_option(r->unbound, options[i][0], options[i][1]);
        if (error) {
            *ret_why =
                str_printf(arena, "libunbound: %s %s: %s", options[i][0], options[i][1], ub_strerror(error));
            return SLUICE_EINVALID;
        }
    }
    for (size_t i = 0; i < settings->server_count; i++) {
        struct str server = settings->servers[i], address = server;
        struct ip ip;
        uint64_t port = 53;
        ptrdiff_t at = str_index(server, '@');
        if (at >= 0)
            address = str_head(server, (size_t)at);
        if (!ip_parse(address, &ip) ||
            (at >= 0 &&
             (!str_to_u64(str_from_index(server, (size_t)at + 1), &port) || !port || port > 65535)) ||
            ub_ctx_set_fwd(r->unbound, str_c(arena, server))) {
            *ret_why = str_printf(arena, "\"%.*s\" is no DNS server; write IP or IP@port", STR_FMT(server));
            return SLUICE_EINVALID;
        }
    }
    const char *anchor = settings->trust_anchor;
    if (anchor && (access(anchor, R_OK) || ub_ctx_add_ta_file(r->unbound, anchor))) {
        *ret_why = str_printf(arena, "%s: can't be read", anchor);
        return SLUICE_EINVALID;
    }
    return 0;
}

/* After all options: this finalises the context. */
static int remove_built_in(struct unbound_resolver *r, struct arena *arena, struct str *ret_why) {
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++) {
        int error = ub_ctx_zone_remove(r->unbound, built_in[i]);
        if (error) {
            *ret_why = str_printf(arena, "libunbound: %s: %s", built_in[i], ub_strerror(error));
            return SLUICE_EINVALID;
        }
    }
    return 0;
}

int resolver_new(struct worker *worker, const struct dns_settings *settings, struct arena *arena,
                 struct str *ret_why, struct resolver **ret_resolver) {
    struct unbound_resolver *r = xcalloc(1, sizeof *r);
    r->table.lookup = lookup;
    r->worker = worker;
    r->users = 1;
    r->queries = map_new(false);
    r->timeout_ms = settings->timeout_ms;
    r->forwards = settings->server_count > 0;
    r->cache = dns_cache_new(CACHE_MAX, settings->serve_expired_s);
    int error = settings->zone_file ? zone_load(settings->zone_file, arena, ret_why, &r->zone) : 0;
    if (!error && !(r->unbound = ub_ctx_create_event(worker_base(worker)))) {
        *ret_why = STR("libunbound can't start");
        error = SLUICE_ENOMEM;
    }
    if (!error)
        error = set_options(r, settings, arena, ret_why);
    if (!error)
        error = remove_built_in(r, arena, ret_why);
    if (error) {
        resolver_free(&r->table);
        return error;
    }
    *ret_resolver = &r->table;
    return 0;
}

static void end_queries(struct unbound_resolver *r) {
    for (;;) {
        size_t at = 0;
        struct str key;
        void *value;
        if (!map_next(r->queries, &at, &key, &value))
            return;
        struct query *query = value;
        if (query->id)
            ub_cancel(r->unbound, query->id);
        fail(&query->answer, "the resolver is closed");
        query_end(query);
    }
}

struct resolver *resolver_free(struct resolver *resolver) {
    struct unbound_resolver *r = (struct unbound_resolver *)(void *)resolver;
    if (!r)
        return NULL;
    if (r->unbound) {
        end_queries(r);
        ub_ctx_delete(r->unbound);
        r->unbound = NULL;
    }
    resolver_leave(r);
    return NULL;
}
