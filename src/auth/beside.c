#include "auth/beside.h"

static void run(void *arg) {
    struct beside *beside = arg;
    beside->fiber = fiber_self();
    if (beside->cancelled)
        fiber_cancel(beside->fiber);
    beside->fn(beside->arg);
    beside->done = true;
    waiters_wake_all(&beside->waiters);
    latch_set(&beside->ended);
}

void beside_start(struct beside *beside, void (*fn)(void *), void *arg) {
    const struct worker *worker = worker_self();
    *beside = (struct beside){.fn = fn, .arg = arg};
    if (!fiber_self() || fiber_count(worker) >= fiber_limit(worker) / 2)
        return;
    latch_init(&beside->ended);
    beside->started = fiber_start(run, beside) == 0;
}

void beside_join(struct beside *beside) {
    if (!beside->started) {
        beside->fn(beside->arg);
        return;
    }
    while (!beside->done && !beside->cancelled) {
        if (waiters_wait(&beside->waiters, INT64_MAX) != SLUICE_ECANCELLED)
            continue;
        beside->cancelled = true;
        if (beside->fiber && !beside->done)
            fiber_cancel(beside->fiber);
    }
    latch_wait(&beside->ended);
}
