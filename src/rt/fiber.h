/* fiber.h - straight-line code that waits: stackful fibers, pinned to their worker.
 *
 * Stacks have 64 KiB and a guard page, from a pool per worker; big buffers go
 * into arenas. Every wait has a deadline: monotonic milliseconds
 * (clock_mono_ms() + n). A wait ends with 0 or TIMEOUT, CANCELLED; after a
 * cancel every further wait of that fiber returns CANCELLED at once, so that
 * it runs to its end by ordinary returns.
 */
#pragma once
#include "base/error.h"
#include "rt/worker.h"

struct fiber;

/* Starts fn(arg) on the calling thread's worker at its next turn. LIMIT: no room for another stack.
 * CANCELLED: the runtime is ending. */
[[nodiscard]] int fiber_start(void (*fn)(void *), void *arg);

/* The running fiber; NULL outside fibers. */
struct fiber *fiber_self(void);

/* Makes the fiber's present or next wait return CANCELLED. Same worker only, and only while the fiber lives.
 */
void fiber_cancel(struct fiber *);

/* The fibers alive on this worker, and the most that may be. */
size_t fiber_count(const struct worker *);
size_t fiber_limit(const struct worker *);

int fiber_sleep(int64_t ms);
/* Lets others run; returns 0 or CANCELLED. */
int fiber_yield(void);

/* Where fibers of one worker wait for something to happen. Zero-initialise. */
struct waiters {
    struct waiter *first, *last;
};

/* Waits until woken: 0, TIMEOUT, CANCELLED. The condition must be checked again after it. */
[[nodiscard]] int waiters_wait(struct waiters *, int64_t deadline);
void waiters_wake_one(struct waiters *);
void waiters_wake_all(struct waiters *);

/* One result that another thread (or a callback of this one) delivers to one waiting fiber. Initialise with
 * latch_init in the fiber that will wait; latch_set may be called from any thread, once. The latch must live
 * until latch_wait returned: it therefore can't time out or be cancelled. Give the work itself a deadline. */
struct latch {
    struct worker *worker;
    struct fiber *fiber;
    bool set;
    struct letter letter;
};
void latch_init(struct latch *);
void latch_set(struct latch *);
void latch_wait(struct latch *);

/* Runs fn(arg) on an offload thread (fdatasync, SQLite, RSA, file reads) and returns when it is done. Outside
 * fibers it runs at once. */
void offload(void (*fn)(void *), void *arg);
