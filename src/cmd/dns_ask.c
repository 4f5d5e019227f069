/* Many questions to the configured DNS. */
#include "cmd/dns_ask.h"
#include "cmd/asking.h"

enum { FIBERS = 64, GIVE_UP = FIBERS * 2 };

struct work {
    const struct dns_questions *questions;
    size_t next, answered, failed;
};

static void run(void *ctx, struct flow *flow) {
    struct work *w = ctx;
    while (w->next < w->questions->count) {
        size_t number = w->next++;
        bool dead = !w->answered && w->failed >= GIVE_UP;
        if (w->questions->ask(w->questions->ctx, number, dead ? NULL : flow_here(flow)->resolver))
            w->answered++;
        else
            w->failed++;
    }
}

int dns_ask(struct cli *cli, const struct settings *settings, const struct dns_questions *questions) {
    struct work work = {.questions = questions};
    return cli_ask_dns(cli, settings, &(struct cli_asking){.fibers = FIBERS, .run = run, .ctx = &work});
}
