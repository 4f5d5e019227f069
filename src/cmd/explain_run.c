/* What `sluice explain` asks of the DNS: the way of the message step by step, and beside it, ahead of time,
 * what a guess at its end will want to know. What both ask is asked once. */
#include "auth/beside.h"
#include "base/clock.h"
#include "cmd/asking.h"
#include "cmd/explain_view.h"
#include "cmd/progress.h"
#include "mail/address.h"

struct running {
    struct explain_view *view;
    struct settings *settings;
    const struct plan_index *index;
    struct ownership *ownership;
    struct dns_once *once;
    struct cli_progress progress;
    struct dns_once_counts counts;
    /* Ahead. */
    struct explain_view guess;
    struct beside seen, *routes;
    size_t route_count;
};

/* ---- ahead ---- */

struct guessed_route {
    struct running *running;
    const struct explain_copy *copy;
};

static void ask_seen(void *arg) {
    struct running *r = arg;
    explain_ask(&r->guess, r->settings, r->index, dns_once_ahead(r->once));
}

static void ask_route(void *arg) {
    const struct guessed_route *g = arg;
    const struct running *r = g->running;
    route_unref(explain_route(r->settings, dns_once_ahead(r->once), g->copy, r->view->cli->arena));
}

/* Has the sender's domain an MX, or an address? Most classes hang on it. */
static void ask_sender(const struct running *r, struct str domain) {
    static const enum dns_type types[] = {DNS_MX, DNS_A, DNS_AAAA};
    struct arena *arena = r->view->cli->arena;
    struct str normal;
    struct dns_answer answer;
    if (!domain.len || domain_is_literal(domain) || domain_normal(arena, domain, &normal) != 0)
        return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        resolver_lookup(dns_once_ahead(r->once), normal, types[i], 0, arena, &answer);
}

static void ask_ahead(void *ctx, const struct explain_result *guess) {
    struct running *r = ctx;
    struct arena *arena = r->view->cli->arena;
    r->guess = (struct explain_view){.cli = r->view->cli, .request = r->view->request, .result = *guess};
    r->routes = arena_array(arena, struct beside, guess->copy_count);
    r->route_count = guess->copy_count;
    ask_sender(r, address_split(r->view->request.from).domain);
    ask_sender(r, guess->from_domain);
    for (size_t i = 0; i < r->route_count; i++) {
        struct guessed_route *g = arena_new_of(arena, struct guessed_route);
        *g = (struct guessed_route){r, &r->guess.result.copies[i]};
        beside_start(&r->routes[i], ask_route, g);
    }
    beside_start(&r->seen, ask_seen, r);
}

/* What is still asked ahead was not wanted. */
static void end_ahead(struct running *r) {
    dns_once_end(r->once);
    if (!r->routes)
        return;
    beside_join(&r->seen);
    for (size_t i = 0; i < r->route_count; i++)
        beside_join(&r->routes[i]);
}

/* ---- the message ---- */

static void run(void *ctx, struct flow *flow) {
    struct running *r = ctx;
    struct explain_view *v = r->view;
    struct resolver *below = flow_here(flow)->resolver;
    struct dns_once_failure *failures;
    r->once = dns_once_new(&(struct dns_once_settings){.below = below,
                                                       .deadline = clock_mono_ms() + EXPLAIN_MS,
                                                       .most = EXPLAIN_QUESTIONS,
                                                       .late = STR("not answered in time"),
                                                       .counts = &r->counts});
    flow_here(flow)->resolver = dns_once_resolver(r->once);
    flow->ownership = r->ownership;
    v->request.once = r->once;
    v->request.ahead = ask_ahead;
    v->request.ctx = r;
    explain(flow, r->settings, &v->request, v->cli->arena, &v->result);
    explain_ask(v, r->settings, r->index, dns_once_resolver(r->once));
    v->failure_count = dns_once_failures(r->once, v->cli->arena, &failures);
    v->failures = failures;
    end_ahead(r);
    flow_here(flow)->resolver = below;
    r->once = dns_once_free(r->once);
}

static void show(void *ctx) {
    struct running *r = ctx;
    size_t asked = atomic_load(&r->counts.asked), done = atomic_load(&r->counts.done);
    if (done < asked)
        cli_progress(&r->progress, "%zu of %zu questions to the DNS are answered", done, asked);
    else if (r->settings->scan.count)
        cli_progress(&r->progress, "waiting for the scanner");
}

int explain_run(struct explain_view *v, struct settings *settings, const struct plan_index *index,
                struct ownership *ownership) {
    struct running r = {.view = v, .settings = settings, .index = index, .ownership = ownership};
    cli_progress_begin(&r.progress, v->cli);
    int bad = cli_ask_dns(v->cli, settings,
                          &(struct cli_asking){.fibers = 1, .run = run, .waiting = show, .ctx = &r});
    cli_progress_end(&r.progress);
    return bad;
}
