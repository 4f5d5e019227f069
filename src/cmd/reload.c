#include "cmd/daemon.h"

#include "rt/fiber.h"
#include "rt/stream.h"

enum { RESOLVER_RETIRE_MS = 5 * 60 * 1000 };

static int bindable(void *ctx, const struct ip *ip) {
    (void)ctx;
    return net_bindable(ip);
}

const struct settings_checks daemon_checks = {.bindable = bindable};

struct tls_context *daemon_open_tls(struct daemon *d, const struct settings *s, struct str *ret_why) {
    struct tls_context *tls = NULL;
    if (d->tls_count == DAEMON_TLS_MAX) {
        *ret_why = STR("the certificate was changed too often since the start: restart");
        return NULL;
    }
    if (tls_server_context(s->tls.certificate, s->tls.key, d->arena, ret_why, &tls) != 0)
        return NULL;
    d->tls[d->tls_count++] = tls;
    return tls;
}

struct queue_settings daemon_queue_settings(const struct settings *s, struct arena *arena) {
    const struct pools *pools = s->pools;
    size_t own = 0;
    for (size_t i = 0; i < s->listener_count; i++)
        own += s->listeners[i].bind_count;
    struct own_endpoint *endpoints = arena_array(arena, struct own_endpoint, own);
    own = 0;
    for (size_t i = 0; i < s->listener_count; i++)
        for (size_t j = 0; j < s->listeners[i].bind_count; j++)
            endpoints[own++] =
                (struct own_endpoint){s->listeners[i].bind[j].ip, s->listeners[i].bind[j].port};
    struct pool_schedule *schedules = arena_array(arena, struct pool_schedule, pools->pool_count);
    for (size_t i = 0; i < pools->pool_count; i++)
        schedules[i] = (struct pool_schedule){pools->pools[i].name, pools->pools[i].first_retry,
                                              pools->pools[i].max_retry, pools->pools[i].expire};
    struct str *names = arena_array(arena, struct str, pools->site_count + 1);
    names[0] = s->node;
    for (size_t i = 0; i < pools->site_count; i++)
        names[i + 1] = pools->sites[i].ehlo;
    return (struct queue_settings){
        .delivery = s->delivery,
        .destinations = s->destinations,
        .schedules = schedules,
        .schedule_count = pools->pool_count,
        .own = endpoints,
        .own_count = own,
        .own_names = names,
        .own_name_count = pools->site_count + 1,
    };
}

int daemon_resolver(const struct settings *s, struct worker *worker, struct arena *arena, struct str *ret_why,
                    struct resolver **ret) {
    struct dns_settings settings = {
        .servers = s->dns.servers,
        .server_count = s->dns.server_count,
        .zone_file = s->dns.zone_file,
        .trust_anchor = s->dns.trust_anchor,
        .serve_expired_s = (uint32_t)(s->dns.serve_expired_ms / 1000),
    };
    return resolver_new(worker, &settings, arena, ret_why, ret);
}

/* ---- the swap, worker by worker ---- */

struct swap {
    struct flow *flow;
    struct settings *next;
    struct arena *arena;
    struct str why;
    int error;
    struct resolver *resolver;
};

static void free_resolver(void *resolver) { resolver_free(resolver); }

static void make_resolver(void *arg) {
    struct swap *s = arg;
    s->error = daemon_resolver(s->next, worker_self(), s->arena, &s->why, &s->resolver);
}

/* Look-ups may still be on their way in the old resolver: it goes when they all are over. */
static void swap_here(void *arg) {
    struct swap *s = arg;
    struct flow_worker *here = flow_here(s->flow);
    struct settings *old = here->settings;
    here->settings = settings_ref(s->next);
    worker_after(here->worker, RESOLVER_RETIRE_MS, free_resolver, here->resolver);
    here->resolver = s->resolver;
    pool_state_reload(here->health, s->next->pools);
    settings_unref(old);
}

static struct worker *worker_at(struct rt *rt, unsigned at) {
    return at < rt_count(rt) ? rt_worker(rt, at) : rt_api(rt);
}

/* Everything that can fail is done for all workers before the first is changed. */
static int swap_all(struct daemon *d, struct settings *next, struct buf *ret_why) {
    unsigned count = rt_count(d->rt) + 1;
    struct arena *arena = arena_new(0);
    struct swap *swaps = arena_array(arena, struct swap, count);
    int error = 0;
    for (unsigned i = 0; i < count && !error; i++) {
        swaps[i] = (struct swap){.flow = &d->flow, .next = next, .arena = arena};
        worker_call(worker_at(d->rt, i), make_resolver, &swaps[i]);
        error = swaps[i].error;
        if (error)
            buf_printf(ret_why, "dns: %.*s\n", STR_FMT(swaps[i].why));
    }
    for (unsigned i = 0; i < count; i++) {
        if (!error)
            worker_call(worker_at(d->rt, i), swap_here, &swaps[i]);
        else if (swaps[i].resolver)
            worker_call(worker_at(d->rt, i), free_resolver, swaps[i].resolver);
    }
    arena_free(arena);
    return error;
}

static void report(struct config_errors *errors, struct buf *out) {
    for (size_t i = 0; i < config_error_count(errors); i++)
        buf_printf(out, "%s\n", config_error_at(errors, i));
    for (size_t i = 0; i < config_warning_count(errors); i++)
        buf_printf(out, "warning: %s\n", config_warning_at(errors, i));
}

struct load_call {
    const char *file;
    struct config_errors *errors;
    struct settings *next;
    int error;
};

static void load_offloaded(void *arg) {
    struct load_call *call = arg;
    call->error = settings_load(call->file, &daemon_checks, call->errors, &call->next);
}

static void apply(struct daemon *d, struct settings *next, struct tls_context *tls, struct buf *ret_why) {
    struct arena *arena = arena_new(0);
    struct str restart = settings_needs_restart(d->settings, next, arena);
    if (restart.len)
        buf_printf(ret_why, "warning: takes effect at the next start only: %.*s\n", STR_FMT(restart));
    struct queue_settings queue = daemon_queue_settings(next, arena);
    queue_set_settings(d->flow.queue, &queue);
    log_set_level(d->log, next->log_level);
    for (size_t i = 0; tls && i < d->listener_count; i++)
        d->listeners[i].tls = tls;
    settings_unref(d->settings);
    d->settings = next;
    arena_free(arena);
}

static int reload(struct daemon *d, struct buf *ret_why) {
    struct load_call call = {.file = d->file, .errors = config_errors_new()};
    struct tls_context *tls = NULL;
    struct str why;
    offload(load_offloaded, &call);
    report(call.errors, ret_why);
    config_errors_free(call.errors);
    if (!call.error && call.next->tls.certificate && !(tls = daemon_open_tls(d, call.next, &why))) {
        buf_printf(ret_why, "tls: %.*s\n", STR_FMT(why));
        call.error = SLUICE_EINVALID;
    }
    if (!call.error)
        call.error = swap_all(d, call.next, ret_why);
    if (call.error) {
        settings_unref(call.next);
        return SLUICE_EINVALID;
    }
    apply(d, call.next, tls, ret_why);
    return 0;
}

int daemon_reload(struct daemon *d, struct buf *ret_why) {
    if (d->reloading) {
        buf_printf(ret_why, "another reload is at work, try again\n");
        return SLUICE_EBUSY;
    }
    d->reloading = true;
    int error = reload(d, ret_why);
    d->reloading = false;
    return error;
}
