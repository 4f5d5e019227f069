/* A session: a fiber that runs flow's `deliver`, and what that may call. */
#include "queue/lane.h"

#include "base/clock.h"

#include <stdlib.h>

static void tell_owner(struct queue_session *session, void (*fn)(void *)) {
    struct worker *owner = session->lane->owner->worker;
    if (worker_self() == owner)
        fn(session);
    else
        worker_post(owner, fn, session);
}

struct queue_session *session_new(struct lane *lane, struct track *track, struct worker *worker,
                                  uint32_t wanted) {
    struct queue *queue = lane->owner->queue;
    struct queue_session *session = xcalloc(1, sizeof *session);
    session->queue = queue;
    session->worker = worker;
    session->route = route_ref(track->route);
    session->pool = lane->pool;
    session->wanted = wanted;
    session->lane_failures = lane->failures;
    session->most = lane->messages_per_connection;
    session->lane = lane;
    session->track = track;
    session->state = SESSION_STARTING;
    atomic_fetch_add(&queue->sessions, 1);
    pthread_mutex_lock(&queue->all_lock);
    session->all_after = queue->all;
    if (queue->all)
        queue->all->all_before = session;
    queue->all = session;
    pthread_mutex_unlock(&queue->all_lock);
    return session;
}

void session_free(struct queue_session *session) {
    struct queue *queue = session->queue;
    pthread_mutex_lock(&queue->all_lock);
    *(session->all_before ? &session->all_before->all_after : &queue->all) = session->all_after;
    if (session->all_after)
        session->all_after->all_before = session->all_before;
    pthread_mutex_unlock(&queue->all_lock);
    route_unref(session->route);
    free(session);
}

static void dispose(void *arg) { session_free(arg); }

/* An answer may still be on its way to the session's worker; this comes after it. */
void session_dispose(struct queue_session *session) {
    atomic_fetch_sub(&session->queue->sessions, 1);
    worker_post(session->worker, dispose, session);
}

static void session_fiber(void *arg) {
    struct queue_session *session = arg;
    session->queue->calls.deliver(session->queue->calls.arg, session);
    worker_post(session->lane->owner->worker, lane_session_ended, session);
}

static void launch(void *arg) {
    struct queue_session *session = arg;
    if (fiber_start(session_fiber, session) < 0) {
        session->failed = true;
        worker_post(session->lane->owner->worker, lane_session_ended, session);
    }
}

void session_start(struct queue_session *session) { worker_post(session->worker, launch, session); }

static void answered(void *arg) {
    struct queue_session *session = arg;
    session->answered = true;
    waiters_wake_one(&session->waiters);
}

void session_answer(struct queue_session *session) {
    if (worker_self() == session->worker)
        answered(session);
    else
        worker_post(session->worker, answered, session);
}

/* ---- what flow calls ---- */

const struct route *queue_session_route(const struct queue_session *session) { return session->route; }

struct str queue_session_pool(const struct queue_session *session) {
    return names_at(&session->queue->pools, session->pool);
}

static struct ip source_at(const struct queue *queue, uint32_t number) {
    struct ip ip = {0};
    struct str bytes = names_at(&queue->sources, number);
    if (bytes.len == sizeof ip.bytes)
        memcpy(ip.bytes, bytes.at, sizeof ip.bytes);
    return ip;
}

static uint32_t source_number(struct queue *queue, const struct ip *source) {
    if (!source || ip_is_none(source))
        return 0;
    return names_put(&queue->sources, str_from(source->bytes, sizeof source->bytes));
}

struct ip queue_session_source(const struct queue_session *session) {
    return source_at(session->queue, session->wanted);
}

void queue_session_connected(struct queue_session *session, const struct ip *source) {
    session->source = source_number(session->queue, source);
    if (session->connected)
        return;
    session->connected = true;
    tell_owner(session, lane_connected);
}

/* Waits for the owner's answer. False: there is none, the fiber was cancelled. */
static bool wait_for_answer(struct queue_session *session, int64_t idle_deadline) {
    bool unasked = false;
    while (!session->answered) {
        int64_t deadline = unasked ? clock_mono_ms() + 60 * 1000 : idle_deadline;
        int error = waiters_wait(&session->waiters, deadline);
        if (error == SLUICE_ECANCELLED)
            return session->answered;
        if (error == SLUICE_ETIMEOUT && !unasked && !session->answered) {
            unasked = true;
            tell_owner(session, lane_unask);
        }
    }
    return true;
}

static size_t take_ahead(struct queue_session *session, size_t max, struct delivery **out) {
    size_t count = 0;
    struct delivery *d = session->ahead;
    while (d && count < max && d->message == session->ahead->message && d->group == session->ahead->group) {
        out[count++] = d;
        d = d->after;
    }
    session->ahead = d;
    if (count)
        session->taken++;
    return count;
}

size_t queue_take(struct queue_session *session, size_t max, int64_t idle_deadline, struct delivery **out) {
    if (!max || session->over || atomic_load_explicit(&session->queue->draining, memory_order_relaxed))
        return 0;
    if (!session->ahead) {
        session->max = max;
        session->answered = false;
        tell_owner(session, lane_ask);
        if (!wait_for_answer(session, idle_deadline)) {
            session->over = true;
            return 0;
        }
        session->ahead = session->answer;
        session->answer = NULL;
        session->over = session->answer_over;
    }
    return take_ahead(session, max, out);
}

int64_t queue_close_lane(struct queue_session *session, int64_t until, const struct outcome *reason) {
    struct queue_worker *w = queue_self(session->queue);
    bool chosen = until != 0;
    if (!chosen) {
        const struct retry_schedule *schedule = schedule_of_pool(w, session->pool);
        until = queue_now(session->queue) + retry_wait(schedule, session->lane_failures + 1, queue_random(w));
    }
    struct lane_close *close = xcalloc(1, sizeof *close);
    close->session = session;
    close->until = until;
    close->chosen = chosen;
    reason_set(&close->reason, reason);
    struct worker *owner = session->lane->owner->worker;
    if (worker_self() == owner)
        lane_close(close);
    else
        worker_post(owner, lane_close, close);
    return until;
}

/* ---- how a delivery ended ---- */

static void come_home(struct delivery *delivery, uint8_t how, int64_t again, uint32_t sticky) {
    delivery->how = how;
    delivery->again = again;
    delivery->sticky = sticky;
    home_send(delivery);
}

void queue_finish(struct queue *queue, struct delivery *delivery) {
    (void)queue;
    come_home(delivery, COME_FINISHED, 0, 0);
}

int64_t queue_next_due(struct queue *queue, const struct delivery *delivery) {
    struct queue_worker *w = queue_self(queue);
    return retry_next(schedule_of_pool(w, delivery->pool), (int64_t)delivery->arrival_s * 1000,
                      delivery->attempts + 1u, queue_now(queue), queue_random(w));
}

void queue_defer(struct queue *queue, struct delivery *delivery, int64_t due, const struct ip *source,
                 const struct outcome *reason) {
    if (reason)
        home_note(delivery->domain, reason);
    come_home(delivery, COME_DEFERRED, due, source_number(queue, source));
}

void queue_return(struct queue *queue, struct delivery *delivery) {
    come_home(delivery, COME_RETURNED, queue_now(queue), 0);
}

void queue_park(struct queue *queue, struct delivery *delivery) {
    (void)queue;
    come_home(delivery, COME_HELD, 0, 0);
}

void queue_postpone(struct queue *queue, struct delivery *delivery, int64_t due,
                    const struct outcome *reason) {
    (void)queue;
    if (reason)
        home_note(delivery->domain, reason);
    come_home(delivery, COME_RETURNED, due, 0);
}

struct str queue_delivery_pool(struct queue *queue, const struct delivery *delivery) {
    return names_at(&queue->pools, delivery->pool);
}

struct ip queue_delivery_source(struct queue *queue, const struct delivery *delivery) {
    return source_at(queue, delivery->source);
}
