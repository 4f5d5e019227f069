/* dns_ask.h - a list of questions to the configured DNS, many at a time. */
#pragma once
#include "cmd/cli.h"
#include "rt/resolver.h"
#include "settings/settings.h"

struct dns_questions {
    size_t count;
    /* In a fiber, many at a time, in order of their beginning; false: the DNS did not answer. When none of
     * the first ones was answered, the rest gets no resolver. `deadline` is monotonic ms. */
    bool (*ask)(void *ctx, size_t number, struct resolver *, int64_t deadline);
    void *ctx;
};
/* Asks the configured DNS; on a terminal it says how far it is. NO: the runtime can't be started (said). */
int dns_ask(struct cli *, const struct settings *, const struct dns_questions *);
