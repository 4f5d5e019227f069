/* dns_ask.h - a list of questions to the configured DNS, many at a time. */
#pragma once
#include "cmd/cli.h"
#include "rt/resolver.h"
#include "settings/settings.h"

struct dns_questions {
    size_t count;
    /* In a fiber, many at a time, in order of their beginning; false: the DNS did not answer. When none of
     * the first ones was answered, the rest gets no resolver. */
    bool (*ask)(void *ctx, size_t number, struct resolver *);
    void *ctx;
};
/* Asks the configured DNS. NO: the runtime can't be started (said). */
int dns_ask(struct cli *, const struct settings *, const struct dns_questions *);
