/* queue.h - what waits to be sent, over all workers (design, steps 8 and 11).
 *
 * A message has a home worker (by its number), which keeps its deliveries until
 * they are due and finds their route. Then they go to the owner worker of the
 * receiver, which keeps a lane for each (receiver, pool): first in, first out,
 * with a limit of connections and a back-off. The owner starts sessions (fibers
 * on any worker); a session runs flow's `deliver`, which takes deliveries,
 * one transaction at a time, and says how each ended. Every delivery ends in
 * exactly one of finish, cancel; until then it is in one place.
 * The queue keeps nothing on disk: flow writes the spool before it calls here.
 */
#pragma once
#include "base/ip.h"
#include "queue/delivery.h"
#include "queue/route.h"
#include "rt/worker.h"

struct queue;
struct queue_session;

struct queue_calls {
    void *arg;
    /* A session, in a fiber of its own on any worker: connects, takes, sends, until queue_take gives nothing.
     * The session ends when it returns. */
    void (*deliver)(void *arg, struct queue_session *);
    /* Deliveries of one message and group that can't be sent: in a fiber on their home worker. Flow ends each
     * with queue_finish or queue_defer. `why` is the outcome of route_find. */
    void (*unroutable)(void *arg, struct delivery *const *, size_t count, const struct outcome *why);
    /* The same for those whose time is over; flow ends each with queue_finish. `last` is the last reason
     * known for their domain (fate DONE: none). */
    void (*expired)(void *arg, struct delivery *const *, size_t count, const struct outcome *last);
    /* The pool that mail of this class and stored pool leaves from now: the same, another one that carries
     * the class (after a reload), or empty: none, the mail waits a minute. May not wait. The name must live
     * until the call's caller is back on its loop. NULL: always the stored pool. */
    struct str (*pool)(void *arg, enum mail_class, struct str stored);
    /* The resolver of this worker. */
    struct resolver *(*resolver)(void *arg, struct worker *);
    /* Wall clock in ms; NULL: clock_wall_ms. */
    int64_t (*now)(void *arg);
};

/* Before rt_start. The settings are copied. */
[[nodiscard]] int queue_new(struct rt *, const struct queue_settings *, const struct queue_calls *,
                            struct log *, struct queue **ret);
/* After rt_free. NULL is fine. */
struct queue *queue_free(struct queue *);

/* Any thread: the workers take the new settings at their next turn; limits and routes follow. Copied. */
void queue_set_settings(struct queue *, const struct queue_settings *);

struct delivery_init {
    uint16_t group;
    uint32_t recipient; /* index, unique in its group; below 2^24 */
    uint16_t attempts;
    enum mail_class mail_class;
    struct str pool;
    struct str domain; /* of the recipient, or a literal */
    struct str via;    /* a connector's `deliver`; empty: by MX */
    int64_t arrival;   /* wall ms */
    int64_t due;       /* wall ms; in the past: now */
    struct ip source;  /* sticky; ip_is_none: free */
    bool held, let_go;
};

/* Any thread. The deliveries of one message, new or after a restart (in order of the spool). Copies. LIMIT:
 * over 65,534 pool names were seen, or a recipient's index is out of range; nothing was put. */
[[nodiscard]] int queue_put(struct queue *, uint64_t message, const struct delivery_init *, size_t count);

/* ---- In a session ---- */

/* Of the first deliveries; stays valid while the session lives. All hosts in it take all that is taken. */
const struct route *queue_session_route(const struct queue_session *);
struct str queue_session_pool(const struct queue_session *);
/* The address that the first deliveries left from before (invariant 6); ip_is_none: free choice. */
struct ip queue_session_source(const struct queue_session *);

/* The receiver answered on a connection from this address: ends the lane's back-off, and prefers what is
 * sticky to this address from now on. */
void queue_session_connected(struct queue_session *, const struct ip *source);

/* The next transaction: at most `max` deliveries, all of one message and group. Waits until
 * `idle_deadline` (monotonic ms) when nothing is ready. 0: close the connection and return - idle for too
 * long, messages-per-connection reached, lane closed, draining, cancelled. */
size_t queue_take(struct queue_session *, size_t max, int64_t idle_deadline, struct delivery **out);

/* Nothing goes to this receiver from this pool until `until` (wall ms). What is ready goes home without
 * counting a try. Returns `until`. 0: by the pool's retry schedule and the number of closes in a row; and
 * while other sessions of the lane work or still try, it stays open with as many connections as work.
 * Deliveries in hand are the caller's to end. `reason` is copied, for expiry and status. */
int64_t queue_close_lane(struct queue_session *, int64_t until, const struct outcome *reason);

/* ---- How a delivery ended; any worker's thread. The pointer is dead afterwards. ---- */

/* Delivered, failed: forgotten. */
void queue_finish(struct queue *, struct delivery *);
/* When to try again by the schedule of its pool, one more try counted. For the spool's record before
 * queue_defer. */
int64_t queue_next_due(struct queue *, const struct delivery *);
/* Counts a try. `source`: sticky from now on; NULL or none: free. `reason` (may be NULL) is copied. */
void queue_defer(struct queue *, struct delivery *, int64_t due, const struct ip *source,
                 const struct outcome *reason);
/* Not tried: ready again at once (or at the lane's reopening). */
void queue_return(struct queue *, struct delivery *);
/* Not tried, and not before `due`; counts no try. For what waits on our own account (no source, an alarm). */
void queue_postpone(struct queue *, struct delivery *, int64_t due, const struct outcome *reason);

/* Not tried; held from now on, until an operator releases it. */
void queue_park(struct queue *, struct delivery *);

struct str queue_delivery_pool(struct queue *, const struct delivery *);
struct ip queue_delivery_source(struct queue *, const struct delivery *);

/* ---- For operators; from a fiber of any worker, the API's too ---- */

struct queue_row {
    uint64_t message;
    uint32_t recipient;
    uint16_t group;
    uint16_t attempts;
    enum mail_class mail_class;
    enum delivery_state state;
    struct str pool, domain, via; /* in the caller's arena */
    int64_t arrival, due;         /* wall ms; due 0: not waiting */
    struct ip source;
    struct str why; /* queue_list: the last reason known for its domain; empty: none */
    bool let_go;    /* by an operator, whatever its sender may */
    bool busy;      /* in a session at that moment: not changed */
};

/* LET_GO: what is held, or waits for its time, goes now, and delivery.let_go is set until it is held again.
 */
enum queue_operation { QUEUE_RETRY, QUEUE_HOLD, QUEUE_RELEASE, QUEUE_LET_GO, QUEUE_CANCEL };
enum { QUEUE_ALL = -1 };

/* Changes one delivery, or all of a message (group, recipient QUEUE_ALL). The rows say what was changed (or
 * is `busy`); those that were in that state already are not among them. Cancelled ones are forgotten. */
size_t queue_operate(struct queue *, enum queue_operation, uint64_t message, int32_t group, int32_t recipient,
                     struct arena *, struct queue_row **ret_rows);

struct queue_filter {
    uint64_t message; /* 0: any */
    struct str pool, domain;
    int64_t arrived_before; /* wall ms; 0: any */
    bool held_only;
};
/* Copies of at most `limit` rows. *cursor starts at 0 and is 0 again when all were seen. */
size_t queue_list(struct queue *, const struct queue_filter *, size_t limit, uint64_t *cursor, struct arena *,
                  struct queue_row **ret_rows);

struct queue_lane_status {
    struct str receiver, pool, reason;
    size_t ready, sending;
    unsigned sessions, idle, limit;
    int64_t closed_until; /* wall ms; 0: open */
};
struct queue_status {
    size_t deliveries, waiting, held, away; /* away: in a lane, in a session, or asking for a route */
    struct queue_lane_status *lanes;        /* those that have work, sessions or are closed; at most 10,000 */
    size_t lane_count;
};
void queue_status(struct queue *, struct arena *, struct queue_status *ret);

/* From a fiber: hands out nothing more and waits until the sessions have ended. 0, or TIMEOUT: some go on. */
[[nodiscard]] int queue_drain(struct queue *, int64_t deadline);
