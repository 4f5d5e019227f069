#include "delivery/connect.h"

#include "alert/alert.h"
#include "base/clock.h"
#include "pool/guard.h"
#include "rt/net.h"

enum {
    CONNECT_MS = 30 * 1000,
    NO_SOURCE_WAIT_MS = 60 * 1000,
    UNBINDABLE_REST_MS = 30 * 1000,
    BIND_TRIES = 8,
};

/* One attempt at a route. */
struct connecting {
    struct flow *flow;
    struct connection *to;
    const struct route *route;
    const struct pool *pool;
    enum mail_class class;
    struct ip sticky;
    struct settle_where *where;
    struct outcome *why;
    int64_t until; /* earliest time at which a source wakes; 0: none was missed */
    bool tried;    /* some host was dialled */
    bool ours;     /* the last fault was this host's own: no descriptors, a shutdown */
};

void connection_close(struct connection *c, bool quit) {
    if (c->client && quit)
        smtp_client_quit(c->client);
    c->client = NULL;
    c->stream = stream_free(c->stream);
    c->settings = settings_unref(c->settings);
}

struct settle_where connection_where(const struct connection *c) {
    return (struct settle_where){
        .source = c->source,
        .ehlo = c->ehlo,
        .server = c->target.ip,
        .server_name = c->target.host,
        .tls = c->client ? smtp_client_capabilities(c->client)->tls_version : NULL,
    };
}

static void set_why(struct connecting *c, const struct route_target *t, const char *enhanced, int error) {
    char ip[IP_TEXT_SIZE];
    *c->why = (struct outcome){
        .scope = OUTCOME_HOST,
        .fate = OUTCOME_LATER,
        .code = 451,
        .enhanced = str_of(enhanced),
        .text = str_printf(c->to->arena, "connect to %.*s[%s]:%u: %s", STR_FMT(t->host), ip_text(&t->ip, ip),
                           t->port, error_text(error)),
    };
}

/* The configuration of this moment: a reload in the middle of a long attempt counts from the next host on. */
static bool renew_settings(struct connecting *c) {
    settings_unref(c->to->settings);
    c->to->settings = flow_settings(c->flow);
    c->pool = pool_find(c->to->settings->pools, c->to->pool);
    if (!c->pool)
        c->why->text = STR("no pool carries this mail");
    return c->pool != NULL;
}

/* Invariant 1, before the bind. */
static bool guarded(struct connecting *c, const struct ip *source) {
    char reason[GUARD_REASON_SIZE];
    struct settings *now = flow_settings(c->flow);
    bool allowed = guard_check(now->pools, c->class, c->to->pool, source, reason) == 0;
    settings_unref(now);
    if (allowed)
        return true;
    c->why->text = str_copy(c->to->arena, str_of(reason));
    c->until = clock_wall_ms() + NO_SOURCE_WAIT_MS;
    c->ours = true;
    log_event(c->flow->log, LOG_WARNING, "the guard stopped a connection", "why", reason, NULL);
    return false;
}

/* Nobody knows when a listed address is delisted: it is looked often, but as delivery is configured. */
static int64_t no_source_wait(const struct connecting *c) {
    int64_t most = c->pool->max_retry >= 0 ? c->pool->max_retry : c->to->settings->delivery.max_retry_ms;
    return most < NO_SOURCE_WAIT_MS ? most : NO_SOURCE_WAIT_MS;
}

/* The address that the next connection to this host leaves from; NULL: none. */
static const struct source *next_source(struct connecting *c, const struct route_target *t) {
    unsigned family = ip_is_v4(&t->ip) ? FAMILY_V4 : FAMILY_V6;
    struct pick pick = flow_pick(c->flow, c->to->settings, c->pool, family, c->route->receiver, &c->sticky);
    if (pick.source)
        return pick.source;
    int64_t until = clock_wall_ms() + no_source_wait(c);
    if (pick.reason == PICK_RESTING && pick.earliest < until)
        until = pick.earliest;
    if (!c->until || until < c->until)
        c->until = until;
    if (!c->tried)
        c->why->text = str_printf(c->to->arena, "pool %.*s: %s%s%s", STR_FMT(c->pool->name),
                                  pick_reason_text(pick.reason), pick.why[0] ? ": " : "", pick.why);
    return NULL;
}

struct str connect_ehlo(const struct pools *pools, const struct source *source,
                        const struct destination_settings *d) {
    if (d && d->ehlo == EHLO_NAME)
        return d->ehlo_name;
    if (d && d->ehlo == EHLO_SITE)
        return pools->sites[pools->pools[source->pool].site].ehlo;
    return str_of(source_ehlo(source, d && d->ehlo == EHLO_PTR));
}

static int dial_guarded(struct connecting *c, const struct route_target *t) {
    if (!guarded(c, &c->to->source))
        return SLUICE_ECANCELLED;
    int error = net_dial(&c->to->source, &t->ip, t->port, clock_mono_ms() + CONNECT_MS, &c->to->stream);
    if (error == SLUICE_ELIMIT || error == SLUICE_ECANCELLED) {
        c->ours = true;
        c->why->text = str_of(error_text(error));
    }
    return error;
}

/* It rests, with an alarm; the next pick gives another of the same pool. */
static void unbindable(struct connecting *c) {
    char ip[IP_TEXT_SIZE];
    const struct ip *source = &c->to->source;
    alert_raise(
        c->flow->alerts,
        &(struct alert){
            .kind = ALERT_SOURCE_UNBINDABLE,
            .subject = str_of(ip_text(source, ip)),
            .text = str_printf(c->to->arena,
                               "the address %s of pool %.*s can't be bound on this host; it rests, the "
                               "others of its pool are used",
                               ip, STR_FMT(c->to->pool)),
            .advice = STR("Give the host that address, or take it out of the pool and reload."),
        });
    flow_source_rest(c->flow, c->to->pool, source, REST_BIND, clock_wall_ms() + UNBINDABLE_REST_MS,
                     STR("the address can't be bound on this host"));
    if (ip_eq(&c->sticky, source))
        c->sticky = (struct ip){0};
    c->why->text =
        str_printf(c->to->arena, "pool %.*s: %s can't be bound on this host", STR_FMT(c->to->pool), ip);
    c->until = clock_wall_ms() + UNBINDABLE_REST_MS;
}

/* Dials one host from a source that can be bound: 0, or an error of net_dial; BIND: no source is left. */
static int dial(struct connecting *c, const struct route_target *t) {
    for (int i = 0; i < BIND_TRIES && renew_settings(c); i++) {
        const struct source *source = next_source(c, t);
        if (!source)
            break;
        c->to->source = source->ip;
        c->to->ehlo =
            str_copy(c->to->arena, connect_ehlo(c->to->settings->pools, source, c->route->destination));
        c->to->target = *t;
        int error = dial_guarded(c, t);
        if (error != SLUICE_EBIND)
            return error;
        unbindable(c);
    }
    return SLUICE_EBIND;
}

static int greet(struct connecting *c, bool tls) {
    struct smtp_client_settings *settings = &c->to->client_settings;
    *settings = smtp_client_defaults();
    settings->ehlo = c->to->ehlo;
    settings->server_name = c->to->target.host;
    settings->tls = tls ? SMTP_CLIENT_TLS_OPPORTUNISTIC : SMTP_CLIENT_TLS_NONE;
    settings->tls_context = c->flow->client_tls;
    return smtp_client_start(c->to->stream, settings, c->to->arena, &c->to->client, c->why);
}

/* One host, from connect to EHLO; a failed handshake is retried once in clear on a new connection from the
 * same address. 0 or an error; *why is then set. */
static int try_host(struct connecting *c, const struct route_target *t) {
    int error = dial(c, t);
    if (error == SLUICE_EBIND)
        return error;
    c->tried = true;
    if (error) {
        set_why(c, t, "4.4.1", error);
    } else {
        error = greet(c, true);
        if (error == SLUICE_ETLS) {
            c->to->stream = stream_free(c->to->stream);
            error = dial_guarded(c, t);
            if (error)
                set_why(c, t, "4.4.1", error);
            else
                error = greet(c, false);
        }
    }
    *c->where = connection_where(c->to);
    if (error)
        c->to->stream = stream_free(c->to->stream);
    return error;
}

/* The sticky address can only reach hosts of its own family: they come first. */
static void sticky_family_first(struct route_target *targets, size_t count, const struct ip *sticky,
                                struct arena *arena) {
    if (ip_is_none(sticky))
        return;
    struct route_target *sorted = arena_array(arena, struct route_target, count);
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < count; i++)
            if ((ip_is_v4(&targets[i].ip) == ip_is_v4(sticky)) == (pass == 0))
                sorted[n++] = targets[i];
    memcpy(targets, sorted, count * sizeof *targets);
}

static enum connect_result try_all(struct connecting *c, const struct ip *sticky) {
    struct route_target *targets;
    size_t count = route_targets(c->route, flow_random(c->flow), c->to->arena, &targets);
    sticky_family_first(targets, count, sticky, c->to->arena);
    for (size_t i = 0; i < count; i++) {
        int error = try_host(c, &targets[i]);
        if (!error)
            return CONNECT_OK;
        if (c->ours)
            return CONNECT_NO_SOURCE;
    }
    c->why->scope = OUTCOME_RECEIVER;
    c->why->fate = OUTCOME_LATER; /* a host's refusal is no verdict on the mail: it expires if it stays */
    return c->tried ? CONNECT_FAILED : CONNECT_NO_SOURCE;
}

enum connect_result connect_route(struct flow *flow, struct connection *to, const struct route *route,
                                  struct str pool, enum mail_class class, const struct ip *sticky,
                                  struct settle_where *ret_where, struct outcome *ret_why,
                                  int64_t *ret_until) {
    *ret_where = (struct settle_where){0};
    *ret_why = (struct outcome){.scope = OUTCOME_RECEIVER,
                                .fate = OUTCOME_LATER,
                                .code = 451,
                                .enhanced = STR("4.3.5"),
                                .text = STR("no pool carries this mail")};
    to->pool = pool;
    struct connecting c = {.flow = flow,
                           .to = to,
                           .route = route,
                           .class = class,
                           .sticky = *sticky,
                           .where = ret_where,
                           .why = ret_why};
    enum connect_result result = try_all(&c, sticky);
    *ret_until = c.until ? c.until : clock_wall_ms() + NO_SOURCE_WAIT_MS;
    if (result != CONNECT_OK)
        to->settings = settings_unref(to->settings);
    return result;
}
