/* Many questions to the configured DNS. */
#include "cmd/dns_ask.h"

#include "base/clock.h"
#include "cmd/asking.h"
#include "cmd/progress.h"
#include "rt/dns_patience.h"
#include <stdatomic.h>

enum { FIBERS = 64 };

struct work {
    const struct dns_questions *questions;
    struct cli_progress progress;
    struct dns_patience patience;
    size_t next;
    atomic_size_t done;
};

static void run(void *ctx, struct flow *flow) {
    struct work *w = ctx;
    while (w->next < w->questions->count) {
        size_t number = w->next++;
        int64_t deadline = dns_patience_next(&w->patience, clock_mono_ms());
        struct resolver *resolver = deadline ? flow_here(flow)->resolver : NULL;
        dns_patience_note(&w->patience, w->questions->ask(w->questions->ctx, number, resolver, deadline));
        atomic_fetch_add(&w->done, 1);
    }
}

static void show(void *ctx) {
    struct work *w = ctx;
    cli_progress(&w->progress, "%zu of %zu questions to the DNS are answered", atomic_load(&w->done),
                 w->questions->count);
}

int dns_ask(struct cli *cli, const struct settings *settings, const struct dns_questions *questions) {
    struct work work = {
        .questions = questions,
        .patience = {.timeout_ms = settings->dns.timeout_ms,
                     .wave = questions->count < FIBERS ? questions->count : FIBERS},
    };
    cli_progress_begin(&work.progress, cli);
    int bad = cli_ask_dns(cli, settings,
                          &(struct cli_asking){.fibers = FIBERS, .run = run, .waiting = show, .ctx = &work});
    cli_progress_end(&work.progress);
    return bad;
}
