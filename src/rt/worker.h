/* worker.h - the threads that carry all sessions, and how work crosses from one to another.
 *
 * One worker per core, each with its own loop (libevent), fibers, resolver and
 * arenas; nothing is shared. Work crosses through mailboxes: worker_post from any
 * thread, worker_call from a fiber. What must be counted in one place has an
 * owner, found by rt_owner; asking it is a worker_call (a permit).
 * The API runs on one more worker of the same kind (rt_api), which owns nothing.
 */
#pragma once
#include "base/log.h"
#include "base/str.h"

struct rt;
struct worker;
struct event_base;
struct resolver;

/* Makes `count` workers and the API's, not yet running. `offload_threads` 0: twice `count`. SIGPIPE is
 * ignored from here on. Errors: LIMIT (descriptors, mappings), NOMEM. */
[[nodiscard]] int rt_new(unsigned count, unsigned offload_threads, struct log *, struct rt **ret_rt);

/* Starts the threads. They block all signals that can be blocked: those are the main thread's. */
[[nodiscard]] int rt_start(struct rt *);

/* Cancels the fibers that are left (their waits return CANCELLED), starts no new ones, and when the last has
 * ended ends all loops, joins the threads, frees all. Not from a worker. NULL is fine. */
struct rt *rt_free(struct rt *);

/* Has rt_free call fn(arg) when all fibers and threads have ended and the loops still exist: for what lies in
 * a loop and serves fibers, as a resolver does. Once per rt. */
void rt_at_end(struct rt *, void (*fn)(void *), void *arg);

unsigned rt_count(const struct rt *); /* without the API's */
struct worker *rt_worker(struct rt *, unsigned index);
struct worker *rt_api(struct rt *);

/* The worker that owns `name` in `space` ("receiver", "pool", ...): always the same one. Never the API's. */
struct worker *rt_owner(struct rt *, struct str space, struct str name);

/* The worker of the calling thread; NULL outside workers. */
struct worker *worker_self(void);
unsigned worker_index(const struct worker *);
struct rt *worker_rt(const struct worker *);
struct event_base *worker_base(struct worker *);

/* A place for the upper rooms' data of this worker; set before rt_start. */
void worker_set_data(struct worker *, void *data);
void *worker_data(const struct worker *);

/* Runs fn(arg) once on the worker's loop, outside any fiber; it may not wait. Any thread. Posts of one sender
 * keep their order. Never fails; after rt_free began, fn may never run. */
void worker_post(struct worker *, void (*fn)(void *), void *arg);

/* What lies in a mailbox. Only this room makes them: others see it because a latch carries its own. */
struct letter {
    struct letter *next;
    void (*fn)(void *);
    void *arg;
    bool owned;
};

/* From a fiber: runs fn(arg) on the other worker's loop (at once when it is the own) and returns when it has
 * run. fn may not wait. */
void worker_call(struct worker *, void (*fn)(void *), void *arg);

/* Like worker_call, but fn runs in a new fiber there (in the calling one when the worker is the own) and may
 * wait. LIMIT when that worker has no room for a fiber; CANCELLED when the runtime is ending. fn did not run
 * then. */
[[nodiscard]] int worker_call_fiber(struct worker *, void (*fn)(void *), void *arg);

/* Calls fn(arg) once on this worker's loop after `ms`; returns a handle for worker_timer_cancel (which
 * accepts NULL). The handle ends when fn is called. Both on that worker's thread, or before rt_start. */
struct worker_timer;
struct worker_timer *worker_after(struct worker *, int64_t ms, void (*fn)(void *), void *arg);
void worker_timer_cancel(struct worker_timer *);
