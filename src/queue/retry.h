/* retry.h - when a delivery is tried again. Pure: clock and randomness are passed in.
 *
 * The n-th wait is first_retry * 2^(n-1), at most max_retry, then made up to an
 * eighth shorter or longer, so that what failed together does not come back together.
 */
#pragma once
#include "queue/settings.h"

struct retry_schedule {
    int64_t first_retry_ms, max_retry_ms, expire_ms;
};

/* The schedule of a pool: its own values where it has them, else those of `delivery`. */
struct retry_schedule retry_schedule_of(const struct queue_settings *, struct str pool);

/* The wait after `attempts` (1 or more) tries, in ms, at least 1 s. */
int64_t retry_wait(const struct retry_schedule *, uint32_t attempts, uint64_t random);

/* The time of the next try after `attempts` tries that ended `now`; never later than the expiry: at that time
 * the delivery is tried no more, but fails. All wall-clock ms. */
int64_t retry_next(const struct retry_schedule *, int64_t arrival, uint32_t attempts, int64_t now,
                   uint64_t random);

static inline int64_t retry_expiry(const struct retry_schedule *s, int64_t arrival) {
    return arrival + s->expire_ms;
}
