/* rt_run.h - runs a test on a fiber of a runtime of its own.
 *
 * cmocka's asserts jump out of the test function, which works only on the
 * thread that runs it: inside the fiber use CHECK, which notes the first failure; rt_run reports it.
 */
#pragma once
#include "cmocka_setup.h"
#include "rt/fiber.h"
#include "rt/worker.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/* Notes a failure and returns from the function (void) that contains it. */
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            rt_run_failed(__FILE__, __LINE__, #condition);                                                   \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)

static _Atomic int rt_run_failures;

static inline void rt_run_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: CHECK(%s) failed\n", file, line, condition);
    atomic_fetch_add(&rt_run_failures, 1);
}

struct rt_run_job {
    void (*fn)(void *);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
};

static inline void rt_run_end(struct rt_run_job *job) {
    pthread_mutex_lock(&job->lock);
    job->is_done = true;
    pthread_cond_signal(&job->done);
    pthread_mutex_unlock(&job->lock);
}

static inline void rt_run_fiber(void *arg) {
    struct rt_run_job *job = arg;
    job->fn(job->arg);
    rt_run_end(job);
}

static inline void rt_run_start(void *arg) {
    if (fiber_start(rt_run_fiber, arg)) {
        rt_run_failed(__FILE__, __LINE__, "fiber_start");
        rt_run_end(arg);
    }
}

/* Runs fn(arg) on a fiber of worker 0 of `rt` (started) and waits until it has returned. */
static inline void rt_run_on(struct rt *rt, void (*fn)(void *), void *arg) {
    struct rt_run_job job = {
        .fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    worker_post(rt_worker(rt, 0), rt_run_start, &job);
    pthread_mutex_lock(&job.lock);
    while (!job.is_done)
        pthread_cond_wait(&job.done, &job.lock);
    pthread_mutex_unlock(&job.lock);
}

/* The same on a new runtime of `workers` workers; then fails the test if a CHECK failed. */
static inline void rt_run(unsigned workers, void (*fn)(void *), void *arg) {
    struct rt *rt = NULL;
    atomic_store(&rt_run_failures, 0);
    assert_int_equal(rt_new(workers, 0, NULL, &rt), 0);
    assert_int_equal(rt_start(rt), 0);
    rt_run_on(rt, fn, arg);
    rt_free(rt);
    assert_int_equal(atomic_load(&rt_run_failures), 0);
}

/* Makes the cmocka test run_NAME, which runs NAME(NULL) in a fiber of a runtime with one worker. */
#define RT_RUN_TEST(name)                                                                                    \
    static void run_##name(void **state) {                                                                   \
        (void)state;                                                                                         \
        rt_run(1, name, NULL);                                                                               \
    }
