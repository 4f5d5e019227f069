/* loop.h - the insides of a worker, shared by the files of this room only.
 *
 * One turn of a worker: letters, due timers, ready fibers, then libevent (which
 * waits only when nothing is ready). Callbacks of events make fibers ready; they
 * run after libevent has returned.
 */
#pragma once
#include "base/heap.h"
#include "rt/context.h"
#include "rt/fiber.h"
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

struct worker_timer {
    struct heap_node node;
    struct worker *worker;
    void (*fn)(void *);
    void *arg;
    bool owned; /* freed when it fires */
};

struct fiber {
    struct context context;
    struct worker *worker;
    void *mapping;
    struct fiber *next; /* in the list of ready ones, or in the pool */
    struct fiber *alive_next, *alive_before;
    struct worker_timer timer;
    void (*fn)(void *);
    void *arg;
    int result; /* of the present wait */
    unsigned credit;
    bool started, parked, cancellable, cancelled, ended;
};

/* Idle stacks: the first ones keep their pages, the next ones only their address space, the rest goes. */
enum { POOL_WARM = 64, POOL_MOST = 1024 };

struct worker {
    /* Written by all threads: on cache lines of their own. */
    _Alignas(64) _Atomic(struct letter *) inbox; /* newest first */
    _Atomic bool idle;                           /* going to wait in libevent: a letter must wake it */

    _Alignas(64) struct rt *rt;
    unsigned index;
    struct event_base *base;
    struct event *wake_event, *timer_event;
    int wake_fd, spare_fd;
    int64_t timer_armed; /* when timer_event fires; INT64_MAX: not armed */
    struct heap timers;
    struct context context;
    struct fiber *current;
    struct fiber *ready, *ready_last;
    struct fiber *alive;
    struct fiber *pool;
    size_t pooled, limit;
    _Atomic size_t fibers; /* changed by this worker only */
    bool started, fibers_cancelled;
    pthread_t thread;
    void *data;
};

struct offload_pool;

struct rt {
    unsigned count;
    struct worker *workers; /* count + 1: the last is the API's */
    struct log *log;
    struct offload_pool *offload;
    _Atomic bool stopping;    /* no new fibers; those alive are cancelled */
    _Atomic bool leaving;     /* no fiber is left: threads end */
    _Atomic unsigned posting; /* threads of others that are in letter_post */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a worker's last fiber ended while stopping */
    struct net_acceptor *acceptors;
    void (*at_end)(void *);
    void *at_end_arg;
};

/* worker.c */
void letter_post(struct worker *, struct letter *);
void timer_set(struct worker_timer *, int64_t at);

/* fiber.c */
size_t fibers_most(unsigned workers);
void fibers_run(struct worker *);
void fibers_cancel_all(struct worker *);
void fibers_free(struct worker *);
/* Waits until fiber_unpark: its result, or TIMEOUT, CANCELLED. INVALID outside fibers. INT64_MAX: no
 * deadline. */
int fiber_park(int64_t deadline);
void fiber_unpark(struct fiber *, int result);
/* For those who may never have to wait: yields now and then, so that others get their turn. */
int fiber_breathe(void);

/* offload.c */
struct offload_pool *offload_new(unsigned threads);
int offload_start(struct offload_pool *);
struct offload_pool *offload_free(struct offload_pool *);
void offload_run(struct offload_pool *, void (*fn)(void *), void *arg);

/* net.c: destroys the acceptors that are left, when no worker runs. */
void acceptors_free(struct rt *);
