#include "base/error.h"
#include "rt_run.h"
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKERS = 4, POSTS = 2000 };

/* ---- mailboxes ---- */

struct box {
    uint64_t last[WORKERS]; /* per sender, written by the receiving worker only */
    uint64_t received;
};

struct mailing {
    struct rt *rt;
    struct box boxes[WORKERS];
    _Atomic int misordered;
    _Atomic uint64_t received;
};

struct note {
    struct mailing *mailing;
    unsigned sender, receiver;
    uint64_t number;
};

static void receive(void *arg) {
    struct note n = *(struct note *)arg;
    free(arg);
    struct box *b = &n.mailing->boxes[n.receiver];
    if (worker_index(worker_self()) != n.receiver || n.number != b->last[n.sender] + 1)
        atomic_fetch_add(&n.mailing->misordered, 1);
    b->last[n.sender] = n.number;
    b->received++;
    atomic_fetch_add(&n.mailing->received, 1);
}

static void send_posts(void *arg) {
    struct mailing *m = arg;
    unsigned sender = worker_index(worker_self());
    for (uint64_t i = 1; i <= POSTS; i++) {
        for (unsigned to = 0; to < WORKERS; to++) {
            struct note *n = malloc(sizeof *n);
            *n = (struct note){m, sender, to, i};
            worker_post(rt_worker(m->rt, to), receive, n);
        }
        if (i % 100 == 0)
            CHECK(fiber_yield() == 0);
    }
}

struct calls {
    struct mailing *mailing;
    struct waiters done;
    int left, failed;
};

struct start_on {
    struct calls *calls;
    unsigned worker;
};

static void call_sender(void *arg) {
    struct start_on s = *(struct start_on *)arg;
    if (worker_call_fiber(rt_worker(s.calls->mailing->rt, s.worker), send_posts, s.calls->mailing))
        s.calls->failed++;
    if (--s.calls->left == 0)
        waiters_wake_all(&s.calls->done);
}

static void nothing(void *arg) { (void)arg; }

/* Every worker posts to every other one at once: nothing is lost, each sender's order is kept. */
static void mailboxes(void *arg) {
    (void)arg;
    struct mailing m = {.rt = worker_rt(worker_self())};
    struct calls c = {.mailing = &m, .left = WORKERS};
    struct start_on starts[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        starts[i] = (struct start_on){&c, i};
        CHECK(fiber_start(call_sender, &starts[i]) == 0);
    }
    while (c.left)
        CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
    for (unsigned i = 0; i < WORKERS; i++) /* behind the last post of each */
        worker_call(rt_worker(m.rt, i), nothing, NULL);
    CHECK(c.failed == 0);
    CHECK(m.misordered == 0);
    CHECK(m.received == (uint64_t)WORKERS * WORKERS * POSTS);
}

/* ---- calls ---- */

struct counter {
    struct worker *owner;
    int value, wrong_thread;
};

static void take_permit(void *arg) {
    struct counter *c = arg;
    if (worker_self() != c->owner || fiber_self() == NULL)
        c->wrong_thread += worker_self() != c->owner;
    c->value++;
}

static void ask_owner(void *arg) {
    struct counter *c = arg;
    for (int i = 0; i < 500; i++)
        worker_call(c->owner, take_permit, c);
}

struct ask {
    struct calls *calls;
    struct counter *counter;
    unsigned worker;
};

static void asker(void *arg) {
    struct ask *a = arg;
    if (worker_call_fiber(rt_worker(worker_rt(worker_self()), a->worker), ask_owner, a->counter))
        a->calls->failed++;
    if (--a->calls->left == 0)
        waiters_wake_all(&a->calls->done);
}

/* One owner counts for fibers of all workers, without a lock. */
static void owner(void *arg) {
    (void)arg;
    struct counter counter = {.owner =
                                  rt_owner(worker_rt(worker_self()), STR("receiver"), STR("example.com"))};
    CHECK(counter.owner == rt_owner(worker_rt(worker_self()), STR("receiver"), STR("example.com")));
    struct calls c = {.left = WORKERS};
    struct ask asks[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        asks[i] = (struct ask){&c, &counter, i};
        CHECK(fiber_start(asker, &asks[i]) == 0);
    }
    while (c.left)
        CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
    CHECK(c.failed == 0 && counter.wrong_thread == 0);
    CHECK(counter.value == WORKERS * 500);
}

static void sleep_there(void *arg) {
    CHECK(fiber_self() != NULL);
    CHECK(fiber_sleep(5) == 0);
    *(unsigned *)arg = worker_index(worker_self());
}

static void call_fiber(void *arg) {
    (void)arg;
    struct rt *rt = worker_rt(worker_self());
    for (unsigned i = 0; i < WORKERS; i++) {
        unsigned seen = 99;
        CHECK(worker_call_fiber(rt_worker(rt, i), sleep_there, &seen) == 0);
        CHECK(seen == i);
    }
    unsigned seen = 99;
    CHECK(worker_call_fiber(rt_api(rt), sleep_there, &seen) == 0);
    CHECK(seen == WORKERS);
    CHECK(worker_self() == rt_worker(rt, 0));
}

static void owners_spread(void **state) {
    (void)state;
    struct rt *rt;
    assert_int_equal(rt_new(WORKERS, 1, NULL, &rt), 0);
    assert_int_equal(rt_count(rt), WORKERS);
    int hits[WORKERS + 1] = {0};
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "receiver%d.example", i);
        hits[worker_index(rt_owner(rt, STR("receiver"), str_of(name)))]++;
    }
    for (int i = 0; i < WORKERS; i++)
        assert_true(hits[i] > 150);
    assert_int_equal(hits[WORKERS], 0);
    int data;
    worker_set_data(rt_worker(rt, 2), &data);
    assert_ptr_equal(worker_data(rt_worker(rt, 2)), &data);
    assert_null(worker_data(rt_worker(rt, 1)));
    rt_free(rt);
}

/* ---- timers ---- */

struct timing {
    int fired[4], count;
    struct waiters done;
};

struct due {
    struct timing *timing;
    int number;
};

static void on_due(void *arg) {
    struct due *d = arg;
    d->timing->fired[d->timing->count++] = d->number;
    waiters_wake_all(&d->timing->done);
}

static void timers(void *arg) {
    (void)arg;
    struct timing t = {0};
    struct due due[4] = {{&t, 0}, {&t, 1}, {&t, 2}, {&t, 3}};
    static const int64_t ms[] = {30, 10, 15, 20};
    struct worker_timer *timer[4];
    for (int i = 0; i < 4; i++)
        timer[i] = worker_after(worker_self(), ms[i], on_due, &due[i]);
    worker_timer_cancel(timer[2]);
    worker_timer_cancel(NULL);
    while (t.count < 3)
        CHECK(waiters_wait(&t.done, INT64_MAX) == 0);
    CHECK(t.fired[0] == 1 && t.fired[1] == 3 && t.fired[2] == 0);
}

/* ---- the end ---- */

struct ending {
    _Atomic int started, ended, cancelled;
};

static void wait_for_ever(void *arg) {
    struct ending *e = arg;
    struct waiters nobody = {0};
    atomic_fetch_add(&e->started, 1);
    if (waiters_wait(&nobody, INT64_MAX) == SLUICE_ECANCELLED)
        atomic_fetch_add(&e->cancelled, 1);
    offload(nothing, NULL);                                             /* still works in a cancelled fiber */
    worker_call(rt_worker(worker_rt(worker_self()), 0), nothing, NULL); /* and so does this */
    if (fiber_start(nothing, NULL) == SLUICE_ECANCELLED && fiber_sleep(1000) == SLUICE_ECANCELLED)
        atomic_fetch_add(&e->ended, 1);
}

static void start_waiting(void *arg) {
    for (int i = 0; i < 10; i++)
        CHECK(fiber_start(wait_for_ever, arg) == 0);
}

static void start_everywhere(void *arg) {
    struct ending *e = arg;
    struct rt *rt = worker_rt(worker_self());
    for (unsigned i = 0; i <= WORKERS; i++)
        worker_call(i < WORKERS ? rt_worker(rt, i) : rt_api(rt), start_waiting, e);
    worker_after(worker_self(), 1000000, nothing, NULL);
    while (e->started < 10 * (WORKERS + 1))
        CHECK(fiber_yield() == 0);
}

static void end_with_fibers(void **state) {
    (void)state;
    struct ending e = {0};
    rt_run(WORKERS, start_everywhere, &e);
    assert_int_equal(e.cancelled, 10 * (WORKERS + 1));
    assert_int_equal(e.ended, 10 * (WORKERS + 1));
}

/* A thread of a room's own ends a wait, and the runtime with it: it may still be on its way out of latch_set.
 * TSan sees when it reads what was freed. */
struct outsider {
    struct latch latch;
    pthread_t thread;
    bool started;
};

static void *set_latch(void *latch) {
    latch_set(latch);
    return NULL;
}

static void wait_for_outsider(void *arg) {
    struct outsider *o = arg;
    latch_init(&o->latch);
    o->started = pthread_create(&o->thread, NULL, set_latch, &o->latch) == 0;
    if (o->started)
        latch_wait(&o->latch);
}

static void end_before_who_posts(void **unused) {
    (void)unused;
    for (int i = 0; i < 20; i++) {
        struct rt *rt;
        struct outsider o = {.started = false};
        assert_int_equal(rt_new(1, 0, NULL, &rt), 0);
        assert_int_equal(rt_start(rt), 0);
        rt_run_on(rt, wait_for_outsider, &o);
        rt_free(rt);
        assert_true(o.started);
        assert_int_equal(pthread_join(o.thread, NULL), 0);
    }
}

static void never_started(void **state) {
    (void)state;
    struct rt *rt;
    assert_int_equal(rt_new(2, 0, NULL, &rt), 0);
    worker_post(rt_worker(rt, 0), nothing, NULL);
    worker_after(rt_worker(rt, 1), 10, nothing, NULL);
    assert_null(rt_free(rt));
    assert_null(rt_free(NULL));
    assert_int_equal(rt_new(0, 0, NULL, &rt), SLUICE_EINVALID);
}

static void posted_before_start(void *arg) { atomic_fetch_add((_Atomic int *)arg, 1); }

static void see(void *arg) { CHECK(atomic_load((_Atomic int *)arg) == 1); }

static void post_before_start(void **state) {
    (void)state;
    struct rt *rt;
    _Atomic int n = 0;
    assert_int_equal(rt_new(1, 0, NULL, &rt), 0);
    worker_post(rt_worker(rt, 0), posted_before_start, &n);
    assert_int_equal(rt_start(rt), 0);
    rt_run_on(rt, see, &n);
    rt_free(rt);
    assert_int_equal(n, 1);
}

/* Signals stay with the main thread, and a library's write to a closed socket kills nobody. */
static void check_signals(void *arg) {
    (void)arg;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    CHECK(sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGHUP) == 1);
    CHECK(sigismember(&blocked, SIGSEGV) == 0);
    struct sigaction a;
    sigaction(SIGPIPE, NULL, &a);
    CHECK(a.sa_handler == SIG_IGN);
}

RT_RUN_TEST(timers)
RT_RUN_TEST(check_signals)

static void run_mailboxes(void **state) {
    (void)state;
    rt_run(WORKERS, mailboxes, NULL);
}

static void run_owner(void **state) {
    (void)state;
    rt_run(WORKERS, owner, NULL);
}

static void run_call_fiber(void **state) {
    (void)state;
    rt_run(WORKERS, call_fiber, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_mailboxes),        cmocka_unit_test(run_owner),
        cmocka_unit_test(run_call_fiber),       cmocka_unit_test(owners_spread),
        cmocka_unit_test(run_timers),           cmocka_unit_test(end_with_fibers),
        cmocka_unit_test(end_before_who_posts), cmocka_unit_test(never_started),
        cmocka_unit_test(post_before_start),    cmocka_unit_test(run_check_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
