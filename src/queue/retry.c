#include "queue/retry.h"

struct retry_schedule retry_schedule_of(const struct queue_settings *settings, struct str pool) {
    struct retry_schedule schedule = {settings->delivery.first_retry_ms, settings->delivery.max_retry_ms,
                                      settings->delivery.expire_ms};
    for (size_t i = 0; i < settings->schedule_count; i++) {
        const struct pool_schedule *own = &settings->schedules[i];
        if (!str_eq(own->pool, pool))
            continue;
        if (own->first_retry_ms > 0)
            schedule.first_retry_ms = own->first_retry_ms;
        if (own->max_retry_ms > 0)
            schedule.max_retry_ms = own->max_retry_ms;
        if (own->expire_ms > 0)
            schedule.expire_ms = own->expire_ms;
        break;
    }
    return schedule;
}

int64_t retry_wait(const struct retry_schedule *schedule, uint32_t attempts, uint64_t random) {
    int64_t wait = schedule->first_retry_ms;
    for (uint32_t i = 1; i < attempts && wait < schedule->max_retry_ms; i++)
        wait *= 2;
    if (wait > schedule->max_retry_ms)
        wait = schedule->max_retry_ms;
    wait += (int64_t)(random % (uint64_t)(wait / 4 + 1)) - wait / 8;
    return wait < 1000 ? 1000 : wait;
}

int64_t retry_next(const struct retry_schedule *schedule, int64_t arrival, uint32_t attempts, int64_t now,
                   uint64_t random) {
    int64_t next = now + retry_wait(schedule, attempts, random);
    int64_t expiry = retry_expiry(schedule, arrival);
    if (next <= expiry)
        return next;
    return expiry > now ? expiry : now;
}
