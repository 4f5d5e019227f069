#include "rt/worker.h"

#include "base/clock.h"
#include "base/error.h"
#include "rt/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Which worker a thread is can't be passed through libevent, libunbound and OpenSSL callbacks. */
static _Thread_local struct worker *self;

struct worker *worker_self(void) {
    return self;
}
unsigned worker_index(const struct worker *w) { return w->index; }
struct rt *worker_rt(const struct worker *w) {
    return w->rt;
}
struct event_base *worker_base(struct worker *w) {
    return w->base;
}
void worker_set_data(struct worker *w, void *data) { w->data = data; }
void *worker_data(const struct worker *w) { return w->data; }

unsigned rt_count(const struct rt *rt) { return rt->count; }
struct worker *rt_worker(struct rt *rt, unsigned index) {
    return &rt->workers[index];
}
struct worker *rt_api(struct rt *rt) {
    return &rt->workers[rt->count];
}

struct worker *rt_owner(struct rt *rt, struct str space, struct str name) {
    return &rt->workers[str_hash(name, str_hash(space, 0)) % rt->count];
}

static void wake(struct worker *w) {
    uint64_t one = 1;
    ssize_t n = write(w->wake_fd, &one, sizeof one);
    (void)n; /* fails only when the counter is full: then it is awake */
}

/* What waited for the letter may be over before we are: rt_free waits for threads that it does not join. */
void letter_post(struct worker *w, struct letter *l) {
    struct rt *rt = self ? NULL : w->rt;
    if (rt)
        atomic_fetch_add(&rt->posting, 1);
    struct letter *first = atomic_load_explicit(&w->inbox, memory_order_relaxed);
    do
        l->next = first;
    while (!atomic_compare_exchange_weak(&w->inbox, &first, l));
    /* The worker sets idle, then looks into its inbox; we put, then look at idle: one of us sees the other.
     */
    if (atomic_load(&w->idle) && atomic_exchange(&w->idle, false))
        wake(w);
    if (rt)
        atomic_fetch_sub(&rt->posting, 1);
}

void worker_post(struct worker *w, void (*fn)(void *), void *arg) {
    struct letter *l = xmalloc(sizeof *l);
    *l = (struct letter){.fn = fn, .arg = arg, .owned = true};
    letter_post(w, l);
}

/* Takes all letters, oldest first. */
static struct letter *letters_take(struct worker *w) {
    struct letter *newest = atomic_exchange(&w->inbox, NULL), *oldest = NULL;
    while (newest) {
        struct letter *l = newest;
        newest = l->next;
        l->next = oldest;
        oldest = l;
    }
    return oldest;
}

static void letters_run(struct worker *w) {
    if (!atomic_load_explicit(&w->inbox, memory_order_relaxed))
        return;
    for (struct letter *l = letters_take(w), *next; l; l = next) {
        /* fn may end the life of a letter that isn't ours. */
        next = l->next;
        void (*fn)(void *) = l->fn;
        void *arg = l->arg;
        if (l->owned)
            free(l);
        fn(arg);
    }
}

void timer_set(struct worker_timer *t, int64_t at) { heap_put(&t->worker->timers, &t->node, at); }

struct worker_timer *worker_after(struct worker *w, int64_t ms, void (*fn)(void *), void *arg) {
    struct worker_timer *t = xmalloc(sizeof *t);
    *t = (struct worker_timer){.worker = w, .fn = fn, .arg = arg, .owned = true};
    timer_set(t, clock_mono_ms() + (ms > 0 ? ms : 0));
    return t;
}

void worker_timer_cancel(struct worker_timer *t) {
    if (!t)
        return;
    heap_remove(&t->worker->timers, &t->node);
    free(t);
}

static void timers_run(struct worker *w) {
    struct heap_node *first = heap_first(&w->timers);
    if (!first)
        return;
    int64_t now = clock_mono_ms();
    while (first && first->key <= now) {
        struct worker_timer *t = heap_owner(first, struct worker_timer, node);
        heap_remove(&w->timers, first);
        void (*fn)(void *) = t->fn;
        void *arg = t->arg;
        if (t->owned)
            free(t);
        fn(arg);
        first = heap_first(&w->timers);
    }
}

/* One libevent timer for the whole heap. It may fire too early (when its timer was removed since), never
 * late. */
static void timer_arm(struct worker *w) {
    const struct heap_node *first = heap_first(&w->timers);
    if (!first || first->key >= w->timer_armed)
        return;
    w->timer_armed = first->key;
    int64_t ms = first->key - clock_mono_ms();
    if (ms < 0)
        ms = 0;
    struct timeval after = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(w->timer_event, &after);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct worker *w = arg;
    w->timer_armed = INT64_MAX;
}

/* Edge-triggered, so that nobody has to read the counter. */
static void on_wake(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
}

static void turn(struct worker *w) {
    enum { ROUNDS = 8 }; /* of ready fibers and letters before the sockets are asked again */
    for (int i = 0; i < ROUNDS; i++) {
        letters_run(w);
        timers_run(w);
        if (atomic_load(&w->rt->stopping) && !w->fibers_cancelled)
            fibers_cancel_all(w);
        fibers_run(w);
        if (!w->ready)
            break;
    }
    timer_arm(w);
    atomic_store(&w->idle, true);
    bool wait = !w->ready && !atomic_load(&w->inbox) && !atomic_load(&w->rt->leaving);
    event_base_loop(w->base, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
    atomic_store(&w->idle, false);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    self = w;
    context_of_thread(&w->context);
    while (!atomic_load(&w->rt->leaving))
        turn(w);
    self = NULL;
    return NULL;
}

/* ---- calls ---- */

struct call {
    struct letter letter;
    struct latch done;
    void (*fn)(void *);
    void *arg;
    int result;
};

static void call_run(void *arg) {
    struct call *c = arg;
    c->fn(c->arg);
    latch_set(&c->done);
}

static void call_start(void *arg) {
    struct call *c = arg;
    c->result = fiber_start(call_run, c);
    if (c->result)
        latch_set(&c->done);
}

static int call(struct worker *w, void (*deliver)(void *), void (*fn)(void *), void *arg) {
    if (w == self) {
        fn(arg);
        return 0;
    }
    struct call c = {.fn = fn, .arg = arg};
    c.letter = (struct letter){.fn = deliver, .arg = &c};
    latch_init(&c.done);
    letter_post(w, &c.letter);
    latch_wait(&c.done);
    return c.result;
}

void worker_call(struct worker *w, void (*fn)(void *), void *arg) { (void)call(w, call_run, fn, arg); }

int worker_call_fiber(struct worker *w, void (*fn)(void *), void *arg) {
    return call(w, call_start, fn, arg);
}

/* ---- life ---- */

static int worker_init(struct worker *w, struct rt *rt, unsigned index) {
    *w = (struct worker){.rt = rt,
                         .index = index,
                         .wake_fd = -1,
                         .spare_fd = -1,
                         .timer_armed = INT64_MAX,
                         .limit = fibers_most(rt->count + 1)};
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    /* Given up for a moment when descriptors are out, to tell a client so. */
    w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (w->wake_fd < 0 || w->spare_fd < 0)
        return SLUICE_ELIMIT;
    struct event_config *config = event_config_new();
    if (!config)
        return SLUICE_ENOMEM;
    /* Nothing of libevent is touched by another thread than the worker's. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    event_config_require_features(config, EV_FEATURE_ET);
    w->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!w->base)
        return SLUICE_ELIMIT;
    w->wake_event = event_new(w->base, w->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, w);
    w->timer_event = evtimer_new(w->base, on_timer, w);
    if (!w->wake_event || !w->timer_event || event_add(w->wake_event, NULL))
        return SLUICE_ENOMEM;
    return 0;
}

static void letters_drop(struct worker *w) {
    for (struct letter *l = letters_take(w), *next; l; l = next) {
        next = l->next;
        if (l->owned)
            free(l);
    }
}

static void worker_end(struct worker *w) {
    struct heap_node *first;
    while ((first = heap_first(&w->timers))) {
        struct worker_timer *t = heap_owner(first, struct worker_timer, node);
        heap_remove(&w->timers, first);
        if (t->owned)
            free(t);
    }
    heap_free(&w->timers);
    fibers_free(w);
    if (w->wake_event)
        event_free(w->wake_event);
    if (w->timer_event)
        event_free(w->timer_event);
    if (w->base)
        event_base_free(w->base);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    if (w->spare_fd >= 0)
        close(w->spare_fd);
}

int rt_new(unsigned count, unsigned offload_threads, struct log *log, struct rt **ret_rt) {
    if (!count)
        return SLUICE_EINVALID;
    /* Our own sends say MSG_NOSIGNAL; those of libraries may not. */
    signal(SIGPIPE, SIG_IGN);
    struct rt *rt = xcalloc(1, sizeof *rt);
    rt->log = log;
    pthread_mutex_init(&rt->lock, NULL);
    pthread_cond_init(&rt->changed, NULL);
    rt->workers = aligned_alloc(64, sizeof *rt->workers * (count + 1));
    if (!rt->workers)
        abort();
    rt->offload = offload_new(offload_threads ? offload_threads : 2 * count);
    rt->count = count;
    int e = 0;
    for (unsigned i = 0; i <= count; i++) {
        int failed = worker_init(&rt->workers[i], rt, i);
        e = e ? e : failed;
    }
    if (e) {
        rt_free(rt);
        return e;
    }
    char workers[16], limit[24];
    snprintf(workers, sizeof workers, "%u", count);
    snprintf(limit, sizeof limit, "%zu", rt->workers[0].limit);
    log_event(log, LOG_INFO, "runtime ready", "workers", workers, "fibers_per_worker", limit, NULL);
    *ret_rt = rt;
    return 0;
}

static int threads_start(struct rt *rt) {
    int e = offload_start(rt->offload);
    for (unsigned i = 0; !e && i <= rt->count; i++) {
        struct worker *w = &rt->workers[i];
        if (pthread_create(&w->thread, NULL, worker_main, w))
            return SLUICE_ELIMIT;
        w->started = true;
        char name[16] = "api";
        if (i < rt->count)
            snprintf(name, sizeof name, "worker %u", i % 10000);
        pthread_setname_np(w->thread, name);
    }
    return e;
}

int rt_start(struct rt *rt) {
    sigset_t all, before;
    sigfillset(&all);
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = threads_start(rt);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

static size_t fibers_alive(const struct rt *rt) {
    size_t n = 0;
    for (unsigned i = 0; i <= rt->count; i++)
        n += atomic_load(&rt->workers[i].fibers);
    return n;
}

static void wake_all(struct rt *rt) {
    for (unsigned i = 0; i <= rt->count; i++)
        if (rt->workers[i].started)
            wake(&rt->workers[i]);
}

void rt_at_end(struct rt *rt, void (*fn)(void *), void *arg) {
    rt->at_end = fn;
    rt->at_end_arg = arg;
}

struct rt *rt_free(struct rt *rt) {
    if (!rt)
        return NULL;
    atomic_store(&rt->stopping, true);
    wake_all(rt);
    /* A fiber may wait for another worker or an offload thread: all stay until the last fiber has ended. */
    pthread_mutex_lock(&rt->lock);
    while (fibers_alive(rt))
        pthread_cond_wait(&rt->changed, &rt->lock);
    pthread_mutex_unlock(&rt->lock);
    atomic_store(&rt->leaving, true);
    wake_all(rt);
    for (unsigned i = 0; i <= rt->count; i++)
        if (rt->workers[i].started)
            pthread_join(rt->workers[i].thread, NULL);
    offload_free(rt->offload);
    while (atomic_load(&rt->posting))
        sched_yield();
    /* Letters lie in acceptors, whose events lie in the workers' loops: so in this order. */
    for (unsigned i = 0; i <= rt->count; i++)
        letters_drop(&rt->workers[i]);
    acceptors_free(rt);
    if (rt->at_end)
        rt->at_end(rt->at_end_arg);
    for (unsigned i = 0; i <= rt->count; i++)
        worker_end(&rt->workers[i]);
    pthread_cond_destroy(&rt->changed);
    pthread_mutex_destroy(&rt->lock);
    free(rt->workers);
    free(rt);
    return NULL;
}
