/* beside.h - work that goes on in a fiber of its own, beside the one that will wait for it.
 *
 * Same worker, so both may use one arena. When the waiting fiber is cancelled, so is the other one.
 */
#pragma once
#include "rt/fiber.h"

struct beside {
    void (*fn)(void *);
    void *arg;
    struct fiber *fiber; /* once it runs */
    bool started, done, cancelled;
    struct waiters waiters;
    struct latch ended;
};

/* Begins fn(arg). Outside fibers, or when more than half of the worker's fibers are taken (sessions have the
 * first right to them), beside_join does the work. */
void beside_start(struct beside *, void (*fn)(void *), void *arg);
/* Returns when it is done. Each start needs one. */
void beside_join(struct beside *);
