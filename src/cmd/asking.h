/* asking.h - a runtime of one worker on which a command asks the configured DNS.
 */
#pragma once
#include "cmd/cli.h"
#include "flow/flow.h"

struct cli_asking {
    unsigned fibers;
    void (*begin)(void *ctx, struct resolver *); /* once, before the fibers; may be NULL */
    void (*run)(void *ctx, struct flow *); /* in each fiber; flow_here() has the resolver, and no more */
    void (*waiting)(void *ctx);            /* in the caller's thread, twice a second; may be NULL */
    void *ctx;
};

/* Returns when all fibers have ended, however few could be started. NO (said): none could, or no runtime. */
int cli_ask_dns(struct cli *, const struct settings *, const struct cli_asking *);
