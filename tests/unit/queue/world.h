/* world.h - a queue on a runtime with four workers, and a flow that only counts. */
#pragma once
#include "base/clock.h"
#include "memory_resolver.h"
#include "queue/queue.h"
#include "rt_run.h"

enum { WORKERS = 4, MESSAGES_MAX = 8192, RECIPIENTS_MAX = 64, RECEIVERS = 16, TAKE_MAX = 50 };

struct world;
/* What the test wants to happen to deliveries that a session took; it ends each of them. Returns false to
 * close the connection. */
typedef bool send_fn(struct world *, struct queue_session *, struct delivery **, size_t count);

struct world {
    struct rt *rt;
    struct queue *queue;
    struct memory_resolver resolver;
    struct queue_settings settings;
    send_fn *send;
    int64_t idle_ms;
    _Atomic int64_t clock;      /* wall ms; 0: the real one */
    _Atomic(const char *) pool; /* NULL: the stored one */
    _Atomic int ended[MESSAGES_MAX][RECIPIENTS_MAX];
    _Atomic int attempts[MESSAGES_MAX];
    _Atomic int sessions, most_sessions, all_sessions, expired, unroutable, transactions;
    _Atomic int open[RECEIVERS], most_open[RECEIVERS];
    _Atomic int per_worker[WORKERS];
    pthread_mutex_t lock;
    struct str last_reason; /* of the last expired one; under the lock */
    char last_reason_text[200];
    void *more;
};

static void world_end(struct world *w, struct delivery *d) {
    atomic_fetch_add(&w->ended[d->message % MESSAGES_MAX][d->recipient], 1);
    queue_finish(w->queue, d);
}

static void raise_to(_Atomic int *most, int value) {
    for (int seen = atomic_load(most); seen < value && !atomic_compare_exchange_weak(most, &seen, value);)
        ;
}

static void world_deliver(void *arg, struct queue_session *session) {
    struct world *w = arg;
    struct delivery *out[TAKE_MAX];
    raise_to(&w->most_sessions, atomic_fetch_add(&w->sessions, 1) + 1);
    atomic_fetch_add(&w->all_sessions, 1);
    atomic_fetch_add(&w->per_worker[worker_index(worker_self())], 1);
    struct str receiver = queue_session_route(session)->receiver; /* "mxNN..." */
    unsigned number =
        receiver.len > 3 ? (unsigned)(receiver.at[2] - '0') * 10 + (unsigned)(receiver.at[3] - '0') : 0;
    number %= RECEIVERS;
    raise_to(&w->most_open[number], atomic_fetch_add(&w->open[number], 1) + 1);
    for (size_t count; (count = queue_take(session, TAKE_MAX, clock_mono_ms() + w->idle_ms, out));) {
        atomic_fetch_add(&w->transactions, 1);
        for (size_t i = 0; i < count; i++)
            if (out[i]->message != out[0]->message || out[i]->group != out[0]->group)
                rt_run_failed(__FILE__, __LINE__, "one message and group in a transaction");
        if (!w->send(w, session, out, count))
            break;
    }
    atomic_fetch_sub(&w->open[number], 1);
    atomic_fetch_sub(&w->sessions, 1);
}

static void world_unroutable(void *arg, struct delivery *const *deliveries, size_t count,
                             const struct outcome *why) {
    struct world *w = arg;
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_add(&w->unroutable, 1);
        if (why->fate == OUTCOME_NEVER)
            world_end(w, deliveries[i]);
        else
            queue_defer(w->queue, deliveries[i], queue_next_due(w->queue, deliveries[i]), NULL, why);
    }
}

static void world_expired(void *arg, struct delivery *const *deliveries, size_t count,
                          const struct outcome *last) {
    struct world *w = arg;
    struct str text = str_head(last->text, sizeof w->last_reason_text);
    pthread_mutex_lock(&w->lock);
    if (text.len)
        memcpy(w->last_reason_text, text.at, text.len);
    w->last_reason = str_from(w->last_reason_text, text.len);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_add(&w->expired, 1);
        atomic_store(&w->attempts[deliveries[i]->message % MESSAGES_MAX], deliveries[i]->attempts);
        world_end(w, deliveries[i]);
    }
}

static struct str world_pool(void *arg, enum mail_class mail_class, struct str stored) {
    struct world *w = arg;
    (void)mail_class;
    const char *pool = atomic_load(&w->pool);
    return pool ? str_of(pool) : stored;
}

static int64_t world_now(void *arg) {
    struct world *w = arg;
    int64_t clock = atomic_load(&w->clock);
    return clock ? clock : clock_wall_ms();
}

static struct resolver *world_resolver(void *arg, struct worker *worker) {
    (void)worker;
    return &((struct world *)arg)->resolver.resolver;
}

static bool send_all(struct world *w, struct queue_session *session, struct delivery **deliveries,
                     size_t count) {
    struct ip source = {.bytes = {1}};
    queue_session_connected(session, &source);
    for (size_t i = 0; i < count; i++)
        world_end(w, deliveries[i]);
    return true;
}

/* d00.example to d15.example go to mx00 to mx15; twin00.example has the hosts of d00.example. */
static const struct memory_record *world_zone(size_t *ret_count) {
    static struct memory_record records[RECEIVERS * 4];
    static char names[RECEIVERS * 4][40];
    for (int i = 0; i < RECEIVERS; i++) {
        snprintf(names[i * 4], sizeof names[0], "d%02d.example", i);
        snprintf(names[i * 4 + 1], sizeof names[0], "mx%02d.example", i);
        snprintf(names[i * 4 + 2], sizeof names[0], "twin%02d.example", i);
        snprintf(names[i * 4 + 3], sizeof names[0], "10 mx%02d.example", i);
        records[i * 4] = (struct memory_record){names[i * 4], DNS_MX, names[i * 4 + 3]};
        records[i * 4 + 1] = (struct memory_record){names[i * 4 + 1], DNS_A, "8.8.8.8"};
        records[i * 4 + 2] = (struct memory_record){names[i * 4 + 2], DNS_MX, names[i * 4 + 3]};
        records[i * 4 + 3] = (struct memory_record){"broken.example", DNS_MX, .fails = true};
    }
    *ret_count = COUNT(records);
    return records;
}

/* Runs body(world) in a fiber of worker 0; fails the test when a CHECK failed. */
static void world_run(send_fn *send, void (*body)(void *), void (*prepare)(struct world *)) {
    struct world *w = calloc(1, sizeof *w);
    size_t count;
    const struct memory_record *zone = world_zone(&count);
    w->resolver = memory_resolver_of(zone, count);
    w->settings.delivery = delivery_settings_default();
    w->send = send;
    pthread_mutex_init(&w->lock, NULL);
    w->idle_ms = 20;
    if (prepare)
        prepare(w);
    atomic_store(&rt_run_failures, 0);
    struct queue_calls calls = {.arg = w,
                                .deliver = world_deliver,
                                .unroutable = world_unroutable,
                                .expired = world_expired,
                                .pool = world_pool,
                                .resolver = world_resolver,
                                .now = world_now};
    assert_int_equal(rt_new(WORKERS, 0, NULL, &w->rt), 0);
    assert_int_equal(queue_new(w->rt, &w->settings, &calls, NULL, &w->queue), 0);
    assert_int_equal(rt_start(w->rt), 0);
    rt_run_on(w->rt, body, w);
    rt_free(w->rt);
    queue_free(w->queue);
    pthread_mutex_destroy(&w->lock);
    free(w);
    assert_int_equal(atomic_load(&rt_run_failures), 0);
}

static inline struct delivery_init init_of(const char *domain, uint32_t recipient) {
    return (struct delivery_init){
        .recipient = recipient, .pool = STR("normal"), .domain = str_of(domain), .arrival = clock_wall_ms()};
}

static inline struct queue_status status_of(struct world *w) {
    struct arena *arena = arena_new(0);
    struct queue_status status;
    queue_status(w->queue, arena, &status);
    status.lanes = NULL;
    arena_free(arena);
    return status;
}

static inline void world_print(struct world *w) {
    struct arena *arena = arena_new(0);
    struct queue_status status;
    queue_status(w->queue, arena, &status);
    fprintf(stderr, "%zu deliveries, %zu wait, %zu held, %zu away; %d sessions of %d, %d transactions\n",
            status.deliveries, status.waiting, status.held, status.away, atomic_load(&w->sessions),
            atomic_load(&w->all_sessions), atomic_load(&w->transactions));
    for (size_t i = 0; i < status.lane_count; i++) {
        struct queue_lane_status *l = &status.lanes[i];
        fprintf(stderr, "%.*s %.*s: %zu ready, %zu sent, %u sessions, %u idle\n", STR_FMT(l->receiver),
                STR_FMT(l->pool), l->ready, l->sending, l->sessions, l->idle);
    }
    arena_free(arena);
}

/* Waits until nothing is left, at most `ms`. */
static inline bool world_quiet(struct world *w, int64_t ms) {
    int64_t deadline = clock_mono_ms() + ms;
    while (status_of(w).deliveries)
        if (clock_mono_ms() > deadline || fiber_sleep(5) < 0) {
            world_print(w);
            return false;
        }
    return queue_drain(w->queue, deadline) == 0;
}

/* A wait for a condition, at most half a minute. */
#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        int64_t until_ = clock_mono_ms() + 30000;                                                            \
        while (!(condition) && clock_mono_ms() < until_)                                                     \
            fiber_sleep(2);                                                                                  \
        CHECK(condition);                                                                                    \
    } while (0)
