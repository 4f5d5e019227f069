/* sluiced.c - the daemon: starts, serves until SIGTERM, drains. */
#include "cmd/alerting.h"
#include "cmd/daemon.h"
#include "cmd/notify.h"
#include "cmd/privileges.h"
#include "watch/rotations.h"
#include "watch/watch.h"
#include "watch/watch_domains.h"
#include "watch/watch_identity.h"

#include "acceptance/allowance.h"
#include "base/clock.h"
#include "base/map.h"
#include "delivery/deliver.h"
#include "delivery/settle.h"
#include "intake/admission.h"
#include "rt/fiber.h"
#include "rt/stream.h"
#include "scan/milter_health.h"
#include "suspicion/suspicion.h"
#include "trace/trace.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

enum { INTAKE_DRAIN_MS = 20 * 1000, QUEUE_DRAIN_MS = 40 * 1000, DRAIN_LOOK_MS = 20 };

#define FULL_REPLY "421 4.3.2 Too many connections, try again later\r\n"

static int fail(const char *what, const char *why) {
    fprintf(stderr, "sluiced: %s: %s\n", what, why);
    return EX_UNAVAILABLE;
}

/* ---- configuration ---- */

static int load_settings(struct daemon *d) {
    struct config_errors *errors = config_errors_new();
    int error = settings_load(d->file, &daemon_checks, errors, &d->settings);
    for (size_t i = 0; i < config_error_count(errors); i++)
        fprintf(stderr, "sluiced: %s\n", config_error_at(errors, i));
    for (size_t i = 0; i < config_warning_count(errors); i++)
        fprintf(stderr, "sluiced: warning: %s\n", config_warning_at(errors, i));
    config_errors_free(errors);
    return error ? EX_CONFIG : 0;
}

/* ---- sockets, before privileges are dropped ---- */

static int open_listener(struct daemon *d, size_t at) {
    const struct listener *l = &d->settings->listeners[at];
    for (size_t i = 0; i < l->bind_count; i++) {
        char ip[IP_TEXT_SIZE], what[160];
        int fd, error = net_listen(&l->bind[i].ip, l->bind[i].port, &fd);
        snprintf(what, sizeof what, "listener \"%.*s\", %s port %u", STR_FMT(l->name),
                 ip_text(&l->bind[i].ip, ip), l->bind[i].port);
        if (error == SLUICE_EBUSY)
            return fail(what, "the port is taken by another program (ss -ltnp shows which)");
        if (error == SLUICE_EDENIED)
            return fail(
                what,
                "binding it needs privileges: start as root with user = \"...\", or CAP_NET_BIND_SERVICE");
        if (error)
            return fail(what, error_text(error));
        d->bound = xrealloc(d->bound, (d->bound_count + 1) * sizeof *d->bound);
        d->bound[d->bound_count++] = (struct bound){fd, at};
    }
    return 0;
}

static int open_listeners(struct daemon *d) {
    struct str why;
    struct tls_context *tls = NULL;
    if (d->settings->tls.certificate && !(tls = daemon_open_tls(d, d->settings, &why)))
        return fail("tls", str_c(d->arena, why));
    d->listener_count = d->settings->listener_count;
    d->listeners = arena_array(d->arena, struct intake_listener, d->listener_count);
    for (size_t i = 0; i < d->listener_count; i++) {
        const struct listener *l = &d->settings->listeners[i];
        d->listeners[i].flow = &d->flow;
        d->listeners[i].name = str_copy(d->arena, l->name);
        d->listeners[i].tls = tls;
        int error = open_listener(d, i);
        if (error)
            return error;
    }
    return 0;
}

static int open_api(struct daemon *d) {
    const struct settings *s = d->settings;
    struct api_settings settings = {
        .socket = s->api.socket, .bind = s->api.bind, .bind_count = s->api.bind_count};
    struct str why;
    struct api_backend *backend = arena_new_of(d->arena, struct api_backend);
    *backend = daemon_backend;
    backend->arg = d;
    if (api_open(d->rt, &settings, backend, d->flow.trace, d->log, d->arena, &why, &d->api) != 0)
        return fail("api", str_c(d->arena, why));
    return 0;
}

/* ---- the user ---- */

/* Becomes the user, and reads everything once more as that user: what a reload could not read must not be
 * found out when one is needed. */
static int become_user(struct daemon *d) {
    struct str why;
    bool drops = privileges_to_drop(d->settings);
    if (privileges_drop(d->settings, d->arena, &why) != 0)
        return fail("state", str_c(d->arena, why));
    if (!drops)
        return 0;
    struct config_errors *errors = config_errors_new();
    int error = privileges_reload_check(d->file, d->settings->user, errors, d->arena, &why);
    for (size_t i = 0; i < config_error_count(errors); i++)
        fprintf(stderr, "sluiced: %s\n", config_error_at(errors, i));
    config_errors_free(errors);
    if (error)
        fail("user", str_c(d->arena, why));
    return error ? EX_CONFIG : 0;
}

/* ---- the rooms ---- */

static struct str call_pool(void *arg, enum mail_class class, struct str stored) {
    struct flow *flow = arg;
    const struct settings *s = flow_here(flow)->settings;
    const struct pool *pool = pool_stored(s->pools, class, stored, STR(""), flow_random(flow));
    return pool ? pool->name : STR("");
}

static struct resolver *call_resolver(void *arg, struct worker *worker) {
    (void)arg;
    return ((struct flow_worker *)worker_data(worker))->resolver;
}

static int open_workers(struct daemon *d) {
    unsigned count = rt_count(d->rt) + 1;
    d->flow.workers = xcalloc(count, sizeof *d->flow.workers);
    rt_at_end(d->rt, daemon_close_resolvers, d);
    for (unsigned i = 0; i < count; i++) {
        struct flow_worker *fw = &d->flow.workers[i];
        struct str why;
        *fw = (struct flow_worker){
            .flow = &d->flow,
            .worker = i + 1 < count ? rt_worker(d->rt, i) : rt_api(d->rt),
            .settings = settings_ref(d->settings),
            .health = pool_state_new(),
            .clients = map_new(false),
        };
        if (getrandom(&fw->random, sizeof fw->random, 0) != (ssize_t)sizeof fw->random || !fw->random)
            fw->random = i + 1;
        if (flow_resolver(d->settings, fw->worker, d->arena, &why, &fw->resolver) != 0)
            return fail("dns", str_c(d->arena, why));
        worker_set_data(fw->worker, fw);
    }
    return 0;
}

/* Deliveries of one message, gathered while the spool tells them. */
struct recovery {
    struct daemon *daemon;
    struct arena *arena;
    uint64_t message;
    struct delivery_init *inits;
    size_t count, room;
    uint64_t recipients;
};

static void recovered_message(struct recovery *r) {
    if (r->count && queue_put(r->daemon->flow.queue, r->message, r->inits, r->count) != 0)
        log_event(r->daemon->log, LOG_ERROR, "a recovered message could not be queued", NULL);
    r->recipients += r->count;
    r->count = 0;
    arena_reset(r->arena);
}

static void recovered(void *arg, const struct spool_recovered *found) {
    struct recovery *r = arg;
    if (found->message != r->message)
        recovered_message(r);
    r->message = found->message;
    if (r->count == r->room) {
        r->room = r->room ? 2 * r->room : 64;
        r->inits = xrealloc(r->inits, r->room * sizeof *r->inits);
    }
    const struct spool_recipient *to = spool_recipient_at(found->envelope, found->recipient, NULL);
    const struct spool_group *group = &found->envelope->groups[found->group];
    int64_t turn = allowance_not_before(found->envelope);
    r->inits[r->count++] = (struct delivery_init){
        .group = (uint16_t)found->group,
        .recipient = found->recipient,
        .attempts = (uint16_t)found->attempts,
        .mail_class = group->mail_class,
        .pool = str_copy(r->arena, group->pool),
        .domain = str_copy(r->arena, found->domain),
        .via = str_copy(r->arena, to->via),
        .arrival = found->envelope->arrival,
        .due = found->damaged                        ? 0 /* its end is near: a report to the sender */
               : turn > found->due && !found->let_go ? turn
                                                     : found->due,
        .source = found->source,
        .held = found->held,
        .let_go = found->let_go,
    };
}

static int open_spool(struct daemon *d) {
    struct spool_options options = {
        .dir = d->settings->spool_dir,
        .min_free = (uint64_t)d->settings->spool.min_free,
        .disk_limit = (uint64_t)d->settings->spool.disk_limit,
        .memory_limit = (uint64_t)d->settings->spool.memory,
        .log = d->log,
    };
    struct str why;
    struct recovery r = {.daemon = d, .arena = arena_new(0)};
    int error = spool_open(&options, recovered, &r, d->arena, &why, &d->flow.spool);
    if (!error)
        recovered_message(&r);
    free(r.inits);
    arena_free(r.arena);
    if (error == SLUICE_EBUSY)
        return fail(d->settings->state,
                    str_printf(d->arena,
                               "%.*s: stop that daemon first, or give this one a `state` of its own",
                               STR_FMT(why))
                        .at);
    if (error)
        return fail("spool", str_c(d->arena, why));
    char count[24];
    snprintf(count, sizeof count, "%llu", (unsigned long long)r.recipients);
    log_event(d->log, LOG_INFO, "spool opened", "waiting", count, NULL);
    return 0;
}

static int open_queue(struct daemon *d) {
    struct queue_settings settings = flow_queue_settings(d->settings, d->arena);
    struct queue_calls calls = {
        .arg = &d->flow,
        .deliver = deliver_session,
        .unroutable = settle_unroutable,
        .expired = settle_expired,
        .pool = call_pool,
        .resolver = call_resolver,
    };
    return queue_new(d->rt, &settings, &calls, d->log, &d->flow.queue) ? fail("queue", "it could not be made")
                                                                       : 0;
}

static int open_sending(struct daemon *d) {
    const struct sending_options options = {
        .rt = d->rt,
        .log = d->log,
        .dir = d->settings->limits_dir,
        .capacity = d->settings->policy->limits.senders,
        .tell = allowance_tell,
        .ctx = &d->flow,
    };
    struct limit_journal_report report;
    struct str why;
    return sending_open(&options, d->arena, &why, &report, &d->flow.sending)
               ? fail("limits", str_c(d->arena, why))
               : 0;
}

static int open_trace(struct daemon *d) {
    struct trace_settings settings = {
        .folder = d->settings->trace_dir,
        .retention_days = (unsigned)(d->settings->trace.retain_ms / (24 * 3600 * 1000)),
    };
    struct str why;
    if (trace_open(&settings, d->log, d->arena, &why, &d->flow.trace) != 0)
        return fail("trace", str_c(d->arena, why));
    return 0;
}

static int open_alerts(struct daemon *d) {
    struct str why;
    return alerting_open(d, &why) ? fail("alerts", str_c(d->arena, why)) : 0;
}

static void open_suspicion(struct daemon *d) {
    const struct suspicion_options options = {
        .rt = d->rt, .log = d->log, .sending = d->flow.sending, .alerts = d->flow.alerts};
    d->flow.suspicion = suspicion_open(&options, d->settings);
}

static int open_domains(struct daemon *d) {
    struct str why;
    d->identity = watch_identity_open(&d->flow, d->settings, d->arena);
    return watch_domains_open(&d->flow, d->settings, d->arena, &why, &d->domains)
               ? fail("domains", str_c(d->arena, why))
               : 0;
}

static int open_rooms(struct daemon *d) {
    d->flow.log = d->log;
    d->flow.rt = d->rt;
    d->flow.milters = milter_service_new();
    if (tls_client_context(&d->flow.client_tls) != 0)
        return fail("tls", "the library could not be set up");
    int error = open_listeners(d);
    if (!error)
        error = become_user(d);
    if (!error)
        error = open_workers(d);
    if (!error)
        judge_open(&d->flow, d->settings);
    if (!error)
        error = open_queue(d);
    if (!error)
        error = open_spool(d); /* first of what is on disk: it knows who else uses the state folder */
    if (!error)
        error = open_sending(d);
    if (!error)
        error = open_trace(d);
    if (!error)
        error = open_alerts(d);
    if (!error)
        open_suspicion(d);
    if (!error)
        error = open_domains(d);
    if (!error)
        d->watch =
            watch_open(&d->flow, d->settings, d->arena); /* what rests is known before anything can leave */
    return error ? error : open_api(d);
}

static void start_watch(void *arg) {
    struct daemon *d = arg;
    if (fiber_start(watch_sources, d->watch) != 0)
        log_event(d->log, LOG_ERROR, "nobody watches the source addresses: no room for a fiber", NULL);
    if (fiber_start(watch_rotations, &d->flow) != 0)
        log_event(d->log, LOG_ERROR, "nobody watches DKIM rotations: no room for a fiber", NULL);
}

static void start_domains(void *arg) {
    struct daemon *d = arg;
    if (fiber_start(watch_domains, d->domains) != 0 || fiber_start(watch_identity, d->identity) != 0)
        log_event(d->log, LOG_ERROR, "nobody watches the tenants' domains, or the DNS: no room for a fiber",
                  NULL);
}

static int start(struct daemon *d) {
    const char *node = str_c(d->arena, d->settings->node); /* a reload may come from now on */
    if (rt_start(d->rt) != 0)
        return fail("runtime", "the threads could not be started");
    d->acceptors = xcalloc(d->bound_count + 1, sizeof(struct net_acceptor *));
    for (size_t i = 0; i < d->bound_count; i++)
        d->acceptors[i] = net_accept(d->rt, d->bound[i].fd, intake_serve, &d->listeners[d->bound[i].listener],
                                     STR(FULL_REPLY));
    api_start(d->api);
    worker_post(rt_api(d->rt), start_watch, d);
    worker_post(rt_api(d->rt), start_domains, d);
    log_event(d->log, LOG_INFO, "ready", "node", node, NULL);
    notify_manager("READY=1");
    return 0;
}

/* ---- the end ---- */

static void stop_idle_here(void *flow) { intake_stop_idle(flow); }

struct open_sessions {
    struct flow *flow;
    size_t count;
};

static void count_here(void *arg) {
    struct open_sessions *open = arg;
    open->count += intake_open(open->flow);
}

/* New connections are refused; sessions finish the message they are in; deliveries their transaction. */
static void drain(void *arg) {
    struct daemon *d = arg;
    int64_t deadline = clock_mono_ms() + INTAKE_DRAIN_MS;
    struct open_sessions open = {.flow = &d->flow, .count = 1};
    while (open.count && clock_mono_ms() < deadline) {
        open.count = 0;
        for (unsigned i = 0; i < rt_count(d->rt); i++) {
            worker_call(rt_worker(d->rt, i), stop_idle_here, &d->flow);
            worker_call(rt_worker(d->rt, i), count_here, &open);
        }
        if (open.count && fiber_sleep(DRAIN_LOOK_MS) != 0)
            break;
    }
    int error = queue_drain(d->flow.queue, clock_mono_ms() + QUEUE_DRAIN_MS);
    log_event(d->log, LOG_INFO, "drained", "deliveries", error ? "some were cut off" : "all ended", NULL);
    eventfd_write(d->done_fd, 1);
}

static void reload(void *arg) {
    struct daemon *d = arg;
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    int error = daemon_reload(d, &why);
    log_event(d->log, error ? LOG_ERROR : LOG_INFO,
              error ? "reload failed, the old configuration stays" : "reloaded", "why",
              why.len ? buf_c(&why) : NULL, NULL);
}

static void start_drain(void *d) {
    if (fiber_start(drain, d) != 0)
        eventfd_write(((struct daemon *)d)->done_fd, 1);
}

static void start_reload(void *d) {
    if (fiber_start(reload, d) != 0)
        log_event(((struct daemon *)d)->log, LOG_ERROR, "reload failed: no room for a fiber", NULL);
}

/* Until SIGTERM or SIGINT, then until drained; a second one ends it at once. */
static void serve(struct daemon *d, int signal_fd) {
    bool stopping = false;
    for (;;) {
        struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = d->done_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents)
            return;
        struct signalfd_siginfo info;
        if (!fds[0].revents || read(signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
            continue;
        if (info.ssi_signo == SIGHUP && !stopping) {
            worker_post(rt_api(d->rt), start_reload, d);
        } else if (info.ssi_signo != SIGHUP) {
            if (stopping)
                return;
            stopping = d->flow.stopping = true;
            log_event(d->log, LOG_INFO, "stopping", NULL);
            notify_manager("STOPPING=1");
            for (size_t i = 0; i < d->bound_count; i++)
                net_accept_stop(d->acceptors[i]);
            worker_post(rt_api(d->rt), start_drain, d);
        }
    }
}

/* In the reverse order of opening; everything accepts NULL. */
static void close_rooms(struct daemon *d) {
    if (d->api)
        api_stop(d->api);
    unsigned count = d->rt ? rt_count(d->rt) + 1 : 0;
    alerting_stop(d);
    rt_free(d->rt);
    api_free(d->api);
    queue_free(d->flow.queue);
    spool_close(d->flow.spool);
    d->flow.suspicion = suspicion_close(d->flow.suspicion);
    sending_close(d->flow.sending);
    d->watch = watch_close(d->watch);
    d->domains = watch_domains_close(d->domains);
    d->identity = watch_identity_close(d->identity);
    alerting_close(d);
    milter_service_free(d->flow.milters);
    trace_free(d->flow.trace);
    for (unsigned i = 0; d->flow.workers && i < count; i++) {
        struct flow_worker *fw = &d->flow.workers[i];
        pool_state_free(fw->health);
        admission_free(fw->clients);
        settings_unref(fw->settings);
    }
    for (size_t i = 0; i < d->tls_count; i++)
        tls_context_free(d->tls[i]);
    tls_context_free(d->flow.client_tls);
    free(d->flow.workers);
    free(d->acceptors);
    free(d->bound);
    settings_unref(d->settings);
}

/* Connections and the spool's segments take a descriptor each. */
static void raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(struct daemon *d) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    raise_descriptors();
    d->done_fd = eventfd(0, EFD_CLOEXEC);
    d->log = log_new(STDERR_FILENO, d->settings->log_level);
    int error = rt_new(d->settings->workers, 0, d->log, &d->rt);
    error = error ? fail("runtime", error_text(error)) : open_rooms(d);
    if (!error)
        error = start(d);
    if (!error)
        serve(d, signal_fd);
    close_rooms(d);
    if (!error)
        log_event(d->log, LOG_INFO, "stopped", NULL);
    close(signal_fd);
    close(d->done_fd);
    log_free(d->log);
    return error;
}

int main(int argc, char **argv) {
    struct daemon d = {.file = "/etc/sluice/sluice.conf", .started = clock_wall_ms()};
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            d.file = optarg;
            break;
        case 'V':
            puts("sluiced " SLUICE_VERSION);
            return 0;
        case 'h':
            puts("usage: sluiced [-c FILE]\n\nRuns in the foreground; SIGTERM drains and ends it, SIGHUP "
                 "reloads FILE\n"
                 "(default /etc/sluice/sluice.conf). See sluiced(8).");
            return 0;
        default:
            return EX_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sluiced: unexpected argument '%s'\n", argv[optind]);
        return EX_USAGE;
    }
    d.arena = arena_new(0);
    int error = load_settings(&d);
    if (!error)
        error = run(&d);
    arena_free(d.arena);
    return error;
}
