#include "rt/dns_patience.h"

enum {
    SLACK_MS = 1000, /* in which those that ended together may still begin their next */
    FAILURES_MAX = 128,
};

int64_t dns_patience_next(struct dns_patience *p, int64_t now) {
    int64_t until = now + p->timeout_ms;
    if (!p->begun++)
        p->began = now;
    if (!p->answered && p->failed >= FAILURES_MAX)
        return 0;
    int64_t all = p->began + p->timeout_ms + SLACK_MS;
    if (p->answered || p->begun <= p->wave || until <= all)
        return until;
    return all > now ? all : 0;
}
