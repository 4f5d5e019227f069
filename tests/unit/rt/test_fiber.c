#include "base/clock.h"
#include "base/error.h"
#include "rt_run.h"
#include <stdlib.h>

enum { MANY = 2500 };

struct crowd {
    struct waiters gate, done;
    int arrived, passed, left;
    bool open;
};

static void member(void *arg) {
    struct crowd *c = arg;
    char local[512];
    memset(local, c->arrived & 0x7f, sizeof local);
    char mine = local[0];
    c->arrived++;
    while (!c->open && waiters_wait(&c->gate, INT64_MAX) == 0)
        ;
    for (size_t i = 0; i < sizeof local; i++)
        if (local[i] != mine)
            rt_run_failed(__FILE__, __LINE__, "the stack kept its content");
    c->passed++;
    if (--c->left == 0)
        waiters_wake_all(&c->done);
}

static void thousands(void *arg) {
    (void)arg;
    size_t before = fiber_count(worker_self());
    for (int round = 0; round < 2; round++) { /* the second one on used stacks */
        struct crowd c = {.left = MANY};
        for (int i = 0; i < MANY; i++)
            CHECK(fiber_start(member, &c) == 0);
        while (c.arrived < MANY)
            CHECK(fiber_yield() == 0);
        CHECK(fiber_count(worker_self()) == before + MANY);
        CHECK(c.passed == 0);
        c.open = true;
        waiters_wake_all(&c.gate);
        while (c.left)
            CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
        CHECK(c.passed == MANY);
        CHECK(fiber_yield() == 0);
        CHECK(fiber_count(worker_self()) == before);
    }
}

struct waiting {
    struct fiber *fiber;
    struct waiters place, done;
    int results[3];
    bool ended;
};

static void wait_thrice(void *arg) {
    struct waiting *w = arg;
    w->fiber = fiber_self();
    w->results[0] = waiters_wait(&w->place, INT64_MAX);
    w->results[1] = fiber_sleep(100000);
    w->results[2] = fiber_yield();
    w->ended = true;
    waiters_wake_all(&w->done);
}

static void cancel(void *arg) {
    (void)arg;
    for (int twice = 0; twice < 2; twice++) {
        struct waiting w = {.results = {1, 1, 1}};
        CHECK(fiber_start(wait_thrice, &w) == 0);
        while (!w.fiber)
            CHECK(fiber_yield() == 0);
        fiber_cancel(w.fiber);
        if (twice)
            fiber_cancel(w.fiber);
        while (!w.ended)
            CHECK(waiters_wait(&w.done, INT64_MAX) == 0);
        for (size_t i = 0; i < COUNT(w.results); i++)
            CHECK(w.results[i] == SLUICE_ECANCELLED);
        CHECK(!w.place.first && !w.place.last);
    }
}

/* A cancel that comes while the fiber runs is seen by its next wait. */
static void cancel_self(void *arg) {
    struct waiting *w = arg;
    fiber_cancel(fiber_self());
    wait_thrice(w);
}

static void cancel_early(void *arg) {
    (void)arg;
    struct waiting w = {.results = {1, 1, 1}};
    CHECK(fiber_start(cancel_self, &w) == 0);
    while (!w.ended)
        CHECK(waiters_wait(&w.done, INT64_MAX) == 0);
    for (size_t i = 0; i < COUNT(w.results); i++)
        CHECK(w.results[i] == SLUICE_ECANCELLED);
}

static void deadlines(void *arg) {
    (void)arg;
    struct waiters nobody = {0};
    int64_t start = clock_mono_ms();
    CHECK(waiters_wait(&nobody, start + 30) == SLUICE_ETIMEOUT);
    CHECK(clock_mono_ms() >= start + 30);
    CHECK(waiters_wait(&nobody, start) == SLUICE_ETIMEOUT);
    CHECK(!nobody.first && !nobody.last);
    start = clock_mono_ms();
    CHECK(fiber_sleep(20) == 0);
    CHECK(clock_mono_ms() >= start + 20);
}

struct order {
    struct waiters place, done;
    int woken[8], count, left;
};

struct numbered {
    struct order *order;
    int number;
    int64_t deadline;
};

static void wait_in_line(void *arg) {
    struct numbered n = *(struct numbered *)arg;
    struct order *o = n.order;
    int e = waiters_wait(&o->place, n.deadline);
    if (e == 0)
        o->woken[o->count++] = n.number;
    if (--o->left == 0)
        waiters_wake_all(&o->done);
}

/* Woken one by one in the order of arrival; who has timed out meanwhile costs nobody a waking. */
static void wake_order(void *arg) {
    (void)arg;
    struct order o = {.left = 4};
    struct numbered n[4];
    for (int i = 0; i < 4; i++) {
        n[i] = (struct numbered){&o, i, i == 1 ? 0 : INT64_MAX};
        CHECK(fiber_start(wait_in_line, &n[i]) == 0);
    }
    CHECK(fiber_yield() == 0);
    CHECK(o.left == 3);
    for (int i = 0; i < 4; i++)
        waiters_wake_one(&o.place);
    while (o.left)
        CHECK(waiters_wait(&o.done, INT64_MAX) == 0);
    CHECK(o.count == 3 && o.woken[0] == 0 && o.woken[1] == 2 && o.woken[2] == 3);
}

static void add_one(void *arg) { ++*(int *)arg; }

static void offloading(void *arg) {
    (void)arg;
    int n = 0;
    for (int i = 0; i < 200; i++)
        offload(add_one, &n);
    CHECK(n == 200);
}

struct parallel {
    int left;
    struct waiters done;
    pthread_barrier_t barrier;
};

static void meet(void *arg) { pthread_barrier_wait(&((struct parallel *)arg)->barrier); }

static void offload_one(void *arg) {
    struct parallel *p = arg;
    offload(meet, p);
    if (--p->left == 0)
        waiters_wake_all(&p->done);
}

/* Two jobs that need each other: so they run at the same time, and the worker isn't held up by them. */
static void offload_parallel(void *arg) {
    (void)arg;
    struct parallel p = {.left = 2};
    pthread_barrier_init(&p.barrier, NULL, 2);
    CHECK(fiber_start(offload_one, &p) == 0);
    CHECK(fiber_start(offload_one, &p) == 0);
    while (p.left)
        CHECK(waiters_wait(&p.done, INT64_MAX) == 0);
    pthread_barrier_destroy(&p.barrier);
}

static void set_latch(void *arg) { latch_set(arg); }

static void *set_latch_thread(void *arg) {
    latch_set(arg);
    return NULL;
}

static void latches(void *arg) {
    (void)arg;
    struct latch l;
    latch_init(&l);
    latch_set(&l); /* by itself, before the wait */
    latch_wait(&l);
    latch_init(&l);
    worker_after(worker_self(), 1, set_latch, &l); /* by a callback */
    latch_wait(&l);
    for (int i = 0; i < 50; i++) { /* by another thread */
        pthread_t t;
        latch_init(&l);
        CHECK(pthread_create(&t, NULL, set_latch_thread, &l) == 0);
        latch_wait(&l);
        pthread_join(t, NULL);
    }
}

static void wait_latch(void *arg) {
    struct latch *l = arg;
    latch_init(l);
    latch_wait(l);
}

/* A latch lives on its fiber's stack: cancelling must not end the wait before it is set. */
static void latch_cancel(void *arg) {
    (void)arg;
    struct latch l = {0};
    CHECK(fiber_start(wait_latch, &l) == 0);
    while (!l.fiber)
        CHECK(fiber_yield() == 0);
    size_t before = fiber_count(worker_self());
    fiber_cancel(l.fiber);
    CHECK(fiber_yield() == 0 && fiber_yield() == 0);
    CHECK(fiber_count(worker_self()) == before);
    latch_set(&l);
    CHECK(fiber_yield() == 0);
    CHECK(fiber_count(worker_self()) == before - 1);
}

static void use_stack(void *arg) {
    struct crowd *c = arg;
    char deep[40 * 1024];
    for (size_t i = 0; i < sizeof deep; i += 512)
        ((volatile char *)deep)[i] = 1;
    c->passed++;
    if (--c->left == 0)
        waiters_wake_all(&c->done);
}

static void deep_stacks(void *arg) {
    (void)arg;
    struct crowd c = {.left = 200};
    for (int i = 0; i < 200; i++)
        CHECK(fiber_start(use_stack, &c) == 0);
    while (c.left)
        CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
    CHECK(c.passed == 200);
}

static void limit(void *arg) {
    (void)arg;
    struct crowd c = {0};
    size_t room = fiber_limit(worker_self()) - fiber_count(worker_self());
    if (room > 40000) /* a host with a raised vm.max_map_count: too much for a test */
        return;
    for (size_t i = 0; i < room; i++, c.left++)
        CHECK(fiber_start(member, &c) == 0);
    CHECK(fiber_start(member, &c) == SLUICE_ELIMIT);
    c.open = true;
    while (c.left)
        CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
    CHECK(fiber_yield() == 0);
    c.left = 1;
    CHECK(fiber_start(use_stack, &c) == 0); /* there is room again */
    while (c.left)
        CHECK(waiters_wait(&c.done, INT64_MAX) == 0);
}

static void outside(void **state) {
    (void)state;
    int n = 0;
    assert_null(fiber_self());
    assert_null(worker_self());
    assert_int_equal(fiber_start(add_one, &n), SLUICE_EINVALID);
    assert_int_equal(fiber_sleep(1), SLUICE_EINVALID);
    offload(add_one, &n);
    assert_int_equal(n, 1);
}

RT_RUN_TEST(thousands)
RT_RUN_TEST(cancel)
RT_RUN_TEST(cancel_early)
RT_RUN_TEST(deadlines)
RT_RUN_TEST(wake_order)
RT_RUN_TEST(offloading)
RT_RUN_TEST(offload_parallel)
RT_RUN_TEST(latches)
RT_RUN_TEST(latch_cancel)
RT_RUN_TEST(deep_stacks)
RT_RUN_TEST(limit)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outside),         cmocka_unit_test(run_thousands),
        cmocka_unit_test(run_cancel),      cmocka_unit_test(run_cancel_early),
        cmocka_unit_test(run_deadlines),   cmocka_unit_test(run_wake_order),
        cmocka_unit_test(run_offloading),  cmocka_unit_test(run_offload_parallel),
        cmocka_unit_test(run_latches),     cmocka_unit_test(run_latch_cancel),
        cmocka_unit_test(run_deep_stacks), cmocka_unit_test(run_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
