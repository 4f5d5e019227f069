#include "cmd/daemon.h"
#include "watch/rotations.h"
#include "watch/watch_domains.h"

#include "acceptance/judge.h"
#include "alert/alerts.h"
#include "base/clock.h"
#include "policy/certificate.h"
#include "rt/fiber.h"
#include "rt/tls_peer.h"
#include "suspicion/suspicion.h"
#include <stdlib.h>
#include <sys/stat.h>

enum { RESOLVER_RETIRE_MS = 5 * 60 * 1000 };

static int bindable(void *ctx, const struct ip *ip) {
    (void)ctx;
    return net_bindable(ip);
}

const struct settings_checks daemon_checks = {.bindable = bindable};

/* What tells that a file was changed. */
static struct tls_mark mark_of(const struct settings *s) {
    struct tls_mark mark = {.asks = policy_has_certificates(s->policy)};
    struct stat files[2];
    if (stat(s->tls.certificate, &files[0]) == 0 && stat(s->tls.key, &files[1]) == 0)
        for (int i = 0; i < 2; i++) {
            mark.node[i] = files[i].st_ino;
            mark.changed[i] = (int64_t)files[i].st_mtim.tv_sec * 1000000000 + files[i].st_mtim.tv_nsec;
        }
    return mark;
}

struct tls_context *daemon_open_tls(struct daemon *d, const struct settings *s, struct str *ret_why) {
    struct tls_context *tls = NULL;
    struct tls_mark mark = mark_of(s);
    if (d->tls_count && memcmp(&mark, &d->tls_mark, sizeof mark) == 0)
        return d->tls[d->tls_count - 1];
    if (d->tls_count == DAEMON_TLS_MAX) {
        *ret_why = STR("the certificate was changed too often since the start: restart");
        return NULL;
    }
    if (tls_server_context(s->tls.certificate, s->tls.key, d->arena, ret_why, &tls) != 0)
        return NULL;
    if (mark.asks)
        tls_server_ask_certificate(tls);
    d->tls_mark = mark;
    d->tls[d->tls_count++] = tls;
    return tls;
}

/* ---- resolvers: made and freed on their worker's loop, as a fiber's stack is too small ---- */

struct on_loop {
    void (*fn)(void *);
    void *arg;
    struct latch latch;
};

static void run_on_loop(void *arg) {
    struct on_loop *call = arg;
    call->fn(call->arg);
    latch_set(&call->latch);
}

/* As worker_call, but never in the calling fiber. */
static void call_on_loop(struct worker *worker, void (*fn)(void *), void *arg) {
    struct on_loop call = {.fn = fn, .arg = arg};
    latch_init(&call.latch);
    worker_post(worker, run_on_loop, &call);
    latch_wait(&call.latch);
}

/* Look-ups may still be under way in one that was replaced: it is freed when they all are over. */
struct resolver_retired {
    struct resolver *resolver;
    int64_t since; /* monotonic ms */
    struct resolver_retired *next;
};

static void free_retired(struct flow_worker *here, int64_t before) {
    for (struct resolver_retired **at = &here->retired; *at;) {
        struct resolver_retired *old = *at;
        if (old->since > before) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        resolver_free(old->resolver);
        free(old);
    }
}

static void retire(struct flow_worker *here, struct resolver *next) {
    struct resolver_retired *old = xcalloc(1, sizeof *old);
    *old = (struct resolver_retired){here->resolver, clock_mono_ms(), here->retired};
    here->retired = old;
    here->resolver = next;
    free_retired(here, clock_mono_ms() - RESOLVER_RETIRE_MS);
}

void daemon_close_resolvers(void *arg) {
    struct daemon *d = arg;
    d->flow.scan = scan_service_free(d->flow.scan);
    for (unsigned i = 0; i <= rt_count(d->rt); i++) {
        struct flow_worker *fw = &d->flow.workers[i];
        free_retired(fw, INT64_MAX);
        fw->resolver = resolver_free(fw->resolver);
    }
}

/* A zone file may have been edited under its old name. */
static bool dns_changed(struct daemon *d, const struct settings *next) {
    const struct settings *now = d->settings;
    bool same = now->dns.server_count == next->dns.server_count &&
                str_eq(str_of(now->dns.zone_file), str_of(next->dns.zone_file)) &&
                str_eq(str_of(now->dns.trust_anchor), str_of(next->dns.trust_anchor)) &&
                now->dns.serve_expired_ms == next->dns.serve_expired_ms &&
                now->dns.timeout_ms == next->dns.timeout_ms;
    for (size_t i = 0; same && i < now->dns.server_count; i++)
        same = str_eq(now->dns.servers[i], next->dns.servers[i]);
    return !same || next->dns.zone_file != NULL;
}

/* ---- the swap, worker by worker ---- */

struct swap {
    struct flow *flow;
    struct settings *next;
    struct arena *arena;
    struct str why;
    int error;
    struct resolver *resolver; /* NULL: the old one stays */
};

static void free_resolver(void *resolver) { resolver_free(resolver); }

static void make_resolver(void *arg) {
    struct swap *s = arg;
    s->error = flow_resolver(s->next, worker_self(), s->arena, &s->why, &s->resolver);
}

static void swap_here(void *arg) {
    struct swap *s = arg;
    struct flow_worker *here = flow_here(s->flow);
    struct settings *old = here->settings;
    here->settings = settings_ref(s->next);
    if (s->resolver)
        retire(here, s->resolver);
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
    bool new_resolvers = dns_changed(d, next);
    int error = 0;
    for (unsigned i = 0; i < count && !error; i++) {
        swaps[i] = (struct swap){.flow = &d->flow, .next = next, .arena = arena};
        if (new_resolvers)
            call_on_loop(worker_at(d->rt, i), make_resolver, &swaps[i]);
        error = swaps[i].error;
        if (error)
            buf_printf(ret_why, "dns: %.*s\n", STR_FMT(swaps[i].why));
    }
    for (unsigned i = 0; i < count; i++) {
        if (!error)
            call_on_loop(worker_at(d->rt, i), swap_here, &swaps[i]);
        else if (swaps[i].resolver)
            call_on_loop(worker_at(d->rt, i), free_resolver, swaps[i].resolver);
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
    struct queue_settings queue = flow_queue_settings(next, arena);
    queue_set_settings(d->flow.queue, &queue);
    log_set_level(d->log, next->log_level);
    alerts_configure(d->flow.alerts, &next->alerts);
    for (size_t i = 0; tls && i < d->listener_count; i++)
        d->listeners[i].tls = tls;
    judge_reload(&d->flow, next);
    suspicion_reload(d->flow.suspicion, next);
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
        call.error = watch_domains_prepare(d->domains, call.next, ret_why);
    if (!call.error) {
        rotations_keep_holds(d->settings, call.next);
        call.error = swap_all(d, call.next, ret_why);
    }
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
