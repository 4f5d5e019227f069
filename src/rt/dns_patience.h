/* dns_patience.h - how long many questions to one DNS may take together while it answers none of them.
 *
 * Each question has a time limit. A dead resolver would cost it again for every question after the first
 * ones; so once `wave` questions are under way, all together get one limit more or less, until something is
 * answered: then each has its own again. One that fails at once is asked 128 times at most. Pure, the clock
 * (monotonic ms) is passed in.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dns_patience {
    int64_t timeout_ms; /* of one question */
    size_t wave;        /* so many get theirs in any case: what asks at the same time, or all there is */
    int64_t began;
    size_t begun, failed;
    bool answered;
};

/* Until when the next question may wait; 0: the DNS is dead, don't ask. */
int64_t dns_patience_next(struct dns_patience *, int64_t now);
/* How one of them ended; anything but DNS_FAILED is an answer. */
static inline void dns_patience_note(struct dns_patience *p, bool answered) {
    p->answered |= answered;
    p->failed += !answered;
}
