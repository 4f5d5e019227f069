#include "rt/fiber.h"

#include "base/clock.h"
#include "rt/loop.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Sanitizers put red zones into every frame. */
#if defined(CONTEXT_ASAN) || defined(CONTEXT_TSAN)
enum { STACK_SIZE = 256 * 1024 };
#else
enum { STACK_SIZE = 64 * 1024 };
#endif
enum { CREDIT = 64 }; /* steps without waiting, until others get a turn */

struct fiber *fiber_self(void) {
    struct worker *w = worker_self();
    return w ? w->current : NULL;
}

size_t fiber_count(const struct worker *w) { return atomic_load_explicit(&w->fibers, memory_order_relaxed); }
size_t fiber_limit(const struct worker *w) { return w->limit; }

/* ---- stacks ---- */

/* Two mappings a stack (the guard page is one) must fit into vm.max_map_count; a part is left for all else.
 */
size_t fibers_most(unsigned workers) {
    unsigned long mappings = 65530;
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    if (f) {
        if (fscanf(f, "%lu", &mappings) != 1)
            mappings = 65530;
        fclose(f);
    }
    enum { REST = 4096, LEAST = 64 };
    size_t most = (mappings > REST ? mappings - REST : 0) / 2 / workers;
#ifdef CONTEXT_TSAN
    most = most < 6000 / workers ? most : 6000 / workers; /* TSan's own limit is 8,128 threads and fibers */
#endif
    return most > LEAST ? most : LEAST;
}

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static struct fiber *fiber_map(void) {
    size_t guard = page_size();
    char *at = mmap(NULL, guard + STACK_SIZE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (mprotect(at + guard, STACK_SIZE, PROT_READ | PROT_WRITE)) {
        munmap(at, guard + STACK_SIZE);
        return NULL;
    }
    struct fiber *f = xcalloc(1, sizeof *f);
    f->mapping = at;
    f->context = (struct context){.stack = at + guard, .size = STACK_SIZE};
    return f;
}

static void fiber_unmap(struct fiber *f) {
    munmap(f->mapping, page_size() + STACK_SIZE);
    free(f);
}

static struct fiber *fiber_take(struct worker *w) {
    struct fiber *f = w->pool;
    if (!f)
        return fiber_map();
    w->pool = f->next;
    w->pooled--;
    return f;
}

static void fiber_put(struct worker *w, struct fiber *f) {
    if (w->pooled >= POOL_MOST) {
        fiber_unmap(f);
        return;
    }
    if (w->pooled >= POOL_WARM)
        madvise(f->context.stack, f->context.size, MADV_DONTNEED);
    f->next = w->pool;
    w->pool = f;
    w->pooled++;
}

void fibers_free(struct worker *w) {
    for (struct fiber *f = w->pool, *next; f; f = next) {
        next = f->next;
        fiber_unmap(f);
    }
    w->pool = NULL;
}

/* ---- running ---- */

static void make_ready(struct fiber *f) {
    struct worker *w = f->worker;
    f->next = NULL;
    if (w->ready)
        w->ready_last->next = f;
    else
        w->ready = f;
    w->ready_last = f;
}

static void on_deadline(void *arg) { fiber_unpark(arg, SLUICE_ETIMEOUT); }

static void entry(void) {
    context_entered();
    struct fiber *f = fiber_self();
    f->fn(f->arg);
    f->ended = true;
    context_leave(&f->worker->context);
}

/* Counted first: rt_free sets `stopping`, then counts; one of the two sees the other. */
static bool count_in(struct worker *w) {
    atomic_fetch_add(&w->fibers, 1);
    return !atomic_load(&w->rt->stopping);
}

static void count_out(struct worker *w) {
    struct rt *rt = w->rt;
    if (atomic_fetch_sub(&w->fibers, 1) != 1 || !atomic_load(&rt->stopping))
        return;
    pthread_mutex_lock(&rt->lock);
    pthread_cond_broadcast(&rt->changed);
    pthread_mutex_unlock(&rt->lock);
}

int fiber_start(void (*fn)(void *), void *arg) {
    struct worker *w = worker_self();
    if (!w)
        return SLUICE_EINVALID;
    if (!count_in(w)) {
        count_out(w);
        return SLUICE_ECANCELLED;
    }
    struct fiber *f = fiber_count(w) <= w->limit ? fiber_take(w) : NULL;
    if (!f) {
        count_out(w);
        return SLUICE_ELIMIT;
    }
    *f = (struct fiber){.context = f->context,
                        .mapping = f->mapping,
                        .worker = w,
                        .fn = fn,
                        .arg = arg,
                        .alive_next = w->alive};
    f->timer = (struct worker_timer){.worker = w, .fn = on_deadline, .arg = f};
    if (w->alive)
        w->alive->alive_before = f;
    w->alive = f;
    make_ready(f);
    return 0;
}

static void fiber_end(struct worker *w, struct fiber *f) {
    context_ended(&f->context);
    if (f->alive_before)
        f->alive_before->alive_next = f->alive_next;
    else
        w->alive = f->alive_next;
    if (f->alive_next)
        f->alive_next->alive_before = f->alive_before;
    fiber_put(w, f);
    count_out(w);
}

static void fiber_run(struct worker *w, struct fiber *f) {
    f->credit = CREDIT;
    w->current = f;
    if (f->started) {
        context_switch(&w->context, &f->context);
    } else {
        f->started = true;
        context_start(&w->context, &f->context, entry);
    }
    w->current = NULL;
    if (f->ended)
        fiber_end(w, f);
}

/* Those that are ready now; who becomes ready meanwhile waits for the next round. */
void fibers_run(struct worker *w) {
    struct fiber *f = w->ready;
    w->ready = w->ready_last = NULL;
    for (struct fiber *next; f; f = next) {
        next = f->next;
        fiber_run(w, f);
    }
}

int fiber_park(int64_t deadline) {
    struct fiber *f = fiber_self();
    if (!f)
        return SLUICE_EINVALID;
    if (f->cancelled)
        return SLUICE_ECANCELLED;
    if (deadline != INT64_MAX) {
        if (deadline <= clock_mono_ms())
            return SLUICE_ETIMEOUT;
        timer_set(&f->timer, deadline);
    }
    f->parked = f->cancellable = true;
    context_switch(&f->context, &f->worker->context);
    return f->result;
}

/* Waits for a latch: no deadline, no cancelling. */
static void park_for_latch(struct fiber *f) {
    f->parked = true;
    f->cancellable = false;
    context_switch(&f->context, &f->worker->context);
}

void fiber_unpark(struct fiber *f, int result) {
    if (!f->parked)
        return;
    f->parked = false;
    f->result = result;
    heap_remove(&f->worker->timers, &f->timer.node);
    make_ready(f);
}

void fiber_cancel(struct fiber *f) {
    f->cancelled = true;
    if (f->parked && f->cancellable)
        fiber_unpark(f, SLUICE_ECANCELLED);
}

void fibers_cancel_all(struct worker *w) {
    w->fibers_cancelled = true;
    for (struct fiber *f = w->alive; f; f = f->alive_next)
        fiber_cancel(f);
}

int fiber_sleep(int64_t ms) {
    int e = fiber_park(clock_mono_ms() + (ms > 0 ? ms : 0));
    return e == SLUICE_ETIMEOUT ? 0 : e;
}

int fiber_yield(void) {
    struct fiber *f = fiber_self();
    if (!f)
        return SLUICE_EINVALID;
    if (f->cancelled)
        return SLUICE_ECANCELLED;
    make_ready(f);
    context_switch(&f->context, &f->worker->context);
    return f->cancelled ? SLUICE_ECANCELLED : 0;
}

int fiber_breathe(void) {
    struct fiber *f = fiber_self();
    if (!f || f->credit-- > 1)
        return 0;
    f->credit = CREDIT;
    return fiber_yield();
}

/* ---- waiters ---- */

struct waiter {
    struct waiter *next, *before;
    struct fiber *fiber;
    bool queued;
};

static void waiter_remove(struct waiters *ws, struct waiter *w) {
    if (!w->queued)
        return;
    w->queued = false;
    if (w->before)
        w->before->next = w->next;
    else
        ws->first = w->next;
    if (w->next)
        w->next->before = w->before;
    else
        ws->last = w->before;
}

int waiters_wait(struct waiters *ws, int64_t deadline) {
    struct waiter w = {.before = ws->last, .fiber = fiber_self(), .queued = true};
    /* On our stack: we take it out again before we return. */
    struct waiter *mine = &w;
    if (ws->last)
        ws->last->next = mine;
    else
        ws->first = mine;
    ws->last = mine;
    int e = fiber_park(deadline);
    waiter_remove(ws, mine);
    return e;
}

void waiters_wake_one(struct waiters *ws) {
    /* One whose deadline or cancel came first is on its way out already: the waking must not be lost on it.
     */
    while (ws->first) {
        struct waiter *w = ws->first;
        waiter_remove(ws, w);
        if (!w->fiber->parked)
            continue;
        fiber_unpark(w->fiber, 0);
        return;
    }
}

void waiters_wake_all(struct waiters *ws) {
    while (ws->first)
        waiters_wake_one(ws);
}

/* ---- latch ---- */

/* On the worker of the waiting fiber; only this ends latch_wait, so the letter in the latch is never read
 * later. */
static void latch_deliver(void *arg) {
    struct latch *l = arg;
    l->set = true;
    if (l->fiber->parked && !l->fiber->cancellable)
        fiber_unpark(l->fiber, 0);
}

void latch_init(struct latch *l) {
    *l = (struct latch){.worker = worker_self(), .fiber = fiber_self()};
    l->letter = (struct letter){.fn = latch_deliver, .arg = l};
}

void latch_set(struct latch *l) {
    if (l->worker == worker_self())
        latch_deliver(l);
    else
        letter_post(l->worker, &l->letter);
}

void latch_wait(struct latch *l) {
    while (!l->set)
        park_for_latch(l->fiber);
}

void offload(void (*fn)(void *), void *arg) {
    struct fiber *f = fiber_self();
    if (f)
        offload_run(f->worker->rt->offload, fn, arg);
    else
        fn(arg);
}
