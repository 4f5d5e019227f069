/* What operators do, what ends without being sent, and a year on a virtual clock. */
#include "world.h"

static size_t operate(struct world *w, enum queue_operation what, uint64_t message, int32_t recipient,
                      size_t *ret_busy) {
    struct arena *arena = arena_new(0);
    struct queue_row *rows;
    size_t count = queue_operate(w->queue, what, message, QUEUE_ALL, recipient, arena, &rows), busy = 0;
    for (size_t i = 0; i < count; i++)
        busy += rows[i].busy;
    if (ret_busy)
        *ret_busy = busy;
    arena_free(arena);
    return count - busy;
}

static size_t list(struct world *w, struct queue_filter filter, size_t limit) {
    struct arena *arena = arena_new(0);
    struct queue_row *rows;
    uint64_t cursor = 0;
    size_t count = 0;
    do
        count += queue_list(w->queue, &filter, limit, &cursor, arena, &rows);
    while (cursor);
    arena_free(arena);
    return count;
}

/* ---- waiting ones ---- */

static void put_later(struct world *w, uint64_t messages) {
    struct delivery_init inits[3];
    for (uint32_t i = 0; i < 3; i++) {
        inits[i] = init_of("d01.example", i);
        inits[i].due = clock_wall_ms() + 3600 * 1000;
    }
    for (uint64_t m = 1; m <= messages; m++)
        CHECK(queue_put(w->queue, m, inits, 3) == 0);
    UNTIL(status_of(w).waiting == messages * 3);
}

static void waiting(void *arg) {
    struct world *w = arg;
    put_later(w, 6);
    CHECK(operate(w, QUEUE_HOLD, 1, 1, NULL) == 1);
    CHECK(operate(w, QUEUE_HOLD, 1, QUEUE_ALL, NULL) == 2); /* the first is held already */
    CHECK(status_of(w).held == 3);
    CHECK(list(w, (struct queue_filter){.held_only = true}, 100) == 3);
    CHECK(operate(w, QUEUE_RETRY, 1, QUEUE_ALL, NULL) == 0); /* held is not waiting */
    CHECK(operate(w, QUEUE_RELEASE, 1, 2, NULL) == 1);
    UNTIL(atomic_load(&w->ended[1][2]) == 1);
    CHECK(operate(w, QUEUE_RELEASE, 1, 2, NULL) == 0);
    CHECK(operate(w, QUEUE_CANCEL, 1, QUEUE_ALL, NULL) == 2);
    CHECK(operate(w, QUEUE_CANCEL, 1, QUEUE_ALL, NULL) == 0);
    CHECK(operate(w, QUEUE_CANCEL, 2, 0, NULL) == 1);
    CHECK(operate(w, QUEUE_RETRY, 2, QUEUE_ALL, NULL) == 2);
    UNTIL(atomic_load(&w->ended[2][1]) == 1 && atomic_load(&w->ended[2][2]) == 1);
    /* Let go: what is held and what waits; held again it is as before. */
    CHECK(operate(w, QUEUE_HOLD, 5, 0, NULL) == 1);
    CHECK(operate(w, QUEUE_LET_GO, 5, QUEUE_ALL, NULL) == 3);
    for (int i = 0; i < 3; i++)
        UNTIL(atomic_load(&w->ended[5][i]) == 1);
    CHECK(operate(w, QUEUE_HOLD, 999, QUEUE_ALL, NULL) == 0);
    CHECK(list(w, (struct queue_filter){.message = 3}, 100) == 3);
    CHECK(list(w, (struct queue_filter){.message = 3}, 2) == 2); /* one step: no cursor for one message */
    CHECK(list(w, (struct queue_filter){.domain = STR("D01.example")}, 5) == 9);
    CHECK(list(w, (struct queue_filter){.domain = STR("d02.example")}, 5) == 0);
    CHECK(list(w, (struct queue_filter){.pool = STR("normal")}, 1) == 9);
    CHECK(list(w, (struct queue_filter){.pool = STR("relay")}, 1) == 0);
    CHECK(list(w, (struct queue_filter){.arrived_before = clock_wall_ms() - 60000}, 100) == 0);
    for (uint64_t m = 3; m <= 6; m++)
        CHECK(operate(w, QUEUE_CANCEL, m, QUEUE_ALL, NULL) == (m == 5 ? 0 : 3));
    CHECK(world_quiet(w, 5000));
    CHECK(atomic_load(&w->ended[1][0]) == 0 && atomic_load(&w->ended[2][0]) == 0);
}

static void test_waiting(void **state) {
    (void)state;
    world_run(send_all, waiting, NULL);
}

/* ---- ready ones, and those in a session ---- */

static bool send_at_gate(struct world *w, struct queue_session *session, struct delivery **out,
                         size_t count) {
    while (!atomic_load(&w->attempts[3]) && fiber_sleep(2) == 0)
        ;
    return send_all(w, session, out, count);
}

static void one_connection(struct world *w) { w->settings.delivery.connections = 1; }

static size_t in_lanes(struct world *w) {
    struct arena *arena = arena_new(0);
    struct queue_status status;
    queue_status(w->queue, arena, &status);
    size_t n = 0;
    for (size_t i = 0; i < status.lane_count; i++)
        n += status.lanes[i].ready + status.lanes[i].sending;
    arena_free(arena);
    return n;
}

static void ready(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d02.example", 0);
    for (uint64_t m = 1; m <= 40; m++)
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    UNTIL(atomic_load(&w->transactions) == 1 && in_lanes(w) == 40);
    size_t busy, all_busy = 0, cancelled = 0, held = 0;
    for (uint64_t m = 1; m <= 40; m++) {
        size_t n = operate(w, m % 2 ? QUEUE_CANCEL : QUEUE_HOLD, m, QUEUE_ALL, &busy);
        CHECK(n + busy == 1);
        *(m % 2 ? &cancelled : &held) += n;
        all_busy += busy;
    }
    CHECK(all_busy >= 1 && all_busy <= 8); /* in the session's hands */
    CHECK(status_of(w).held == held && status_of(w).deliveries == 40 - cancelled);
    atomic_store(&w->attempts[3], 1);
    UNTIL(status_of(w).deliveries == held);
    for (uint64_t m = 2; m <= 40; m += 2)
        operate(w, QUEUE_RELEASE, m, QUEUE_ALL, NULL);
    CHECK(world_quiet(w, 10 * 1000));
    int ended = 0;
    for (uint64_t m = 1; m <= 40; m++) {
        CHECK(atomic_load(&w->ended[m][0]) <= 1);
        ended += atomic_load(&w->ended[m][0]);
    }
    CHECK(ended == 40 - (int)cancelled);
}

static void test_ready(void **state) {
    (void)state;
    world_run(send_at_gate, ready, one_connection);
}

/* Operators and sessions race for the same deliveries: each ends once, by one of them. */
static bool send_quickly(struct world *w, struct queue_session *session, struct delivery **out,
                         size_t count) {
    if (out[0]->message % 3 == 0 && out[0]->attempts == 0) {
        for (size_t i = 0; i < count; i++)
            queue_defer(w->queue, out[i], clock_wall_ms() + 1, NULL, NULL);
        return true;
    }
    return send_all(w, session, out, count);
}

struct operator_fiber {
    struct world *w;
    uint64_t first;
    _Atomic int *left;
    _Atomic int *cancelled;
};

enum { RACES = 1200 };

static void operator_at_work(void *arg) {
    struct operator_fiber *o = arg;
    for (uint64_t m = o->first; m <= RACES; m += 3) {
        size_t n = operate(o->w, QUEUE_HOLD, m, QUEUE_ALL, NULL);
        if (n && m % 2)
            atomic_fetch_add(o->cancelled, (int)operate(o->w, QUEUE_CANCEL, m, QUEUE_ALL, NULL));
        operate(o->w, QUEUE_RELEASE, m, QUEUE_ALL, NULL);
    }
    atomic_fetch_sub(o->left, 1);
}

static void start_operator(void *arg) {
    if (fiber_start(operator_at_work, arg))
        rt_run_failed(__FILE__, __LINE__, "fiber_start");
}

static void races(void *arg) {
    struct world *w = arg;
    _Atomic int left = 3, cancelled = 0;
    struct operator_fiber operators[3];
    for (uint64_t m = 1; m <= RACES; m++) {
        struct delivery_init inits[2] = {init_of("d03.example", 0), init_of("d04.example", 1)};
        CHECK(queue_put(w->queue, m, inits, 2) == 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        operators[i] = (struct operator_fiber){w, i + 1, &left, &cancelled};
        worker_post(i ? rt_worker(w->rt, i) : rt_api(w->rt), start_operator, &operators[i]);
    }
    UNTIL(atomic_load(&left) == 0);
    CHECK(world_quiet(w, 20 * 1000));
    int ended = 0;
    for (uint64_t m = 1; m <= RACES; m++)
        for (int i = 0; i < 2; i++) {
            CHECK(atomic_load(&w->ended[m][i]) <= 1);
            ended += atomic_load(&w->ended[m][i]);
        }
    CHECK(ended + atomic_load(&cancelled) == RACES * 2);
}

static void test_races(void **state) {
    (void)state;
    world_run(send_quickly, races, NULL);
}

/* ---- no way to send ---- */

static void unroutable(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("nowhere.example", 0);
    for (uint64_t m = 1; m <= 20; m++)
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    CHECK(world_quiet(w, 5000));
    CHECK(atomic_load(&w->unroutable) == 20 && atomic_load(&w->all_sessions) == 0);
}

static void test_unroutable(void **state) {
    (void)state;
    world_run(send_all, unroutable, NULL);
}

static bool send_park(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    if (atomic_load(&w->attempts[4]))
        return send_all(w, session, out, count);
    for (size_t i = 0; i < count; i++)
        queue_park(w->queue, out[i]);
    return true;
}

static void parked(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d09.example", 0);
    CHECK(queue_put(w->queue, 1, &init, 1) == 0);
    UNTIL(status_of(w).held == 1);
    atomic_store(&w->attempts[4], 1);
    CHECK(operate(w, QUEUE_RETRY, 1, QUEUE_ALL, NULL) == 0);
    CHECK(operate(w, QUEUE_RELEASE, 1, QUEUE_ALL, NULL) == 1);
    CHECK(world_quiet(w, 5000) && atomic_load(&w->ended[1][0]) == 1);
}

static void test_parked(void **state) {
    (void)state;
    world_run(send_park, parked, NULL);
}

/* The pool is gone, another one carries the class; or none does, and the mail waits. */
static void pools(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d05.example", 0);
    atomic_store(&w->pool, "");
    CHECK(queue_put(w->queue, 1, &init, 1) == 0);
    UNTIL(status_of(w).waiting == 1);
    CHECK(atomic_load(&w->all_sessions) == 0);
    atomic_store(&w->pool, "other");
    struct arena *arena = arena_new(0);
    struct queue_row *rows;
    CHECK(queue_operate(w->queue, QUEUE_RETRY, 1, QUEUE_ALL, QUEUE_ALL, arena, &rows) == 1);
    CHECK(str_eq(rows[0].pool, STR("normal")));
    arena_free(arena);
    CHECK(world_quiet(w, 5000));
    CHECK(atomic_load(&w->ended[1][0]) == 1);
}

static void test_pools(void **state) {
    (void)state;
    world_run(send_all, pools, NULL);
}

static void refuses_bad(void *arg) {
    struct world *w = arg;
    struct delivery_init inits[2] = {init_of("d05.example", 0), init_of("d05.example", 1u << 24)};
    CHECK(queue_put(w->queue, 1, inits, 2) == SLUICE_ELIMIT);
    CHECK(status_of(w).deliveries == 0);
    CHECK(queue_put(w->queue, 1, inits, 0) == 0);
}

static void test_refuses_bad(void **state) {
    (void)state;
    world_run(send_all, refuses_bad, NULL);
}

/* ---- a virtual day ---- */

static const struct outcome try_later = {
    .fate = OUTCOME_LATER, .code = 450, .enhanced = {"4.2.0", 5}, .text = {"come back", 9}};

static bool send_defer(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    struct ip source = {.bytes = {1}};
    queue_session_connected(session, &source);
    for (size_t i = 0; i < count; i++)
        queue_defer(w->queue, out[i], queue_next_due(w->queue, out[i]), &source, &try_later);
    return true;
}

/* Lets the queue look at the clock. */
static void look(struct world *w) {
    queue_set_settings(w->queue, &w->settings);
    fiber_sleep(3);
    for (int i = 0; i < 500 && status_of(w).away; i++)
        fiber_sleep(1);
}

static void day(void *arg) {
    struct world *w = arg;
    const int64_t start = INT64_C(1790000000000), minute = 60 * 1000;
    for (uint64_t m = 1; m <= 10; m++) {
        struct delivery_init init = init_of(m % 2 ? "d06.example" : "broken.example", 0);
        init.arrival = start;
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    }
    fiber_sleep(20);
    for (int64_t t = 0; t < 24 * 60 - 1; t += 2) {
        atomic_store(&w->clock, start + t * minute);
        look(w);
    }
    CHECK(atomic_load(&w->expired) == 0 && status_of(w).deliveries == 10);
    atomic_store(&w->clock, start + 24 * 60 * minute + 1000);
    look(w);
    CHECK(world_quiet(w, 5000));
    CHECK(atomic_load(&w->expired) == 10);
    for (uint64_t m = 1; m <= 10; m++) {
        CHECK(atomic_load(&w->ended[m][0]) == 1);
        CHECK(atomic_load(&w->attempts[m]) >= 20 && atomic_load(&w->attempts[m]) <= 34);
    }
    CHECK(w->last_reason.len);
}

static void virtual_clock(struct world *w) {
    w->clock = INT64_C(1790000000000);
    w->idle_ms = 1;
}

static void test_day(void **state) {
    (void)state;
    world_run(send_defer, day, virtual_clock);
}

/* A receiver that is down: the back-off doubles with each probe, one probe at a time; the rest is not tried.
 */
static bool send_down(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    struct outcome reason = {
        .scope = OUTCOME_RECEIVER, .fate = OUTCOME_LATER, .text = STR("connection refused")};
    int64_t until = queue_close_lane(session, 0, &reason);
    atomic_store(&w->attempts[0], (int)((until - world_now(w)) / 1000));
    for (size_t i = 0; i < count; i++)
        queue_defer(w->queue, out[i], until, NULL, &reason);
    return false;
}

static void down(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d07.example", 0);
    init.arrival = atomic_load(&w->clock);
    for (uint64_t m = 1; m <= 200; m++)
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    UNTIL(status_of(w).waiting == 200);
    int wait = atomic_load(&w->attempts[0]), before = atomic_load(&w->transactions);
    CHECK(wait >= 262 && wait <= 338); /* five minutes and an eighth */
    atomic_fetch_add(&w->clock, INT64_C(8) * 60 * 1000);
    look(w);
    UNTIL(status_of(w).waiting == 200);
    CHECK(atomic_load(&w->transactions) == before + 1); /* one probe for all */
    wait = atomic_load(&w->attempts[0]);
    CHECK(wait >= 525 && wait <= 675);
    struct arena *arena = arena_new(0);
    struct queue_status status;
    queue_status(w->queue, arena, &status);
    CHECK(status.lane_count == 1 && str_eq(status.lanes[0].reason, STR("connection refused")));
    CHECK(status.lanes[0].closed_until > atomic_load(&w->clock));
    arena_free(arena);
    /* An operator's retry is tried now. */
    before = atomic_load(&w->transactions);
    CHECK(operate(w, QUEUE_RETRY, 7, QUEUE_ALL, NULL) == 1);
    UNTIL(atomic_load(&w->transactions) == before + 1);
    /* After a day all expire, tried or not, with the reason. */
    UNTIL(status_of(w).waiting == 200);
    atomic_fetch_add(&w->clock, INT64_C(25) * 60 * 60 * 1000);
    look(w);
    CHECK(world_quiet(w, 5000));
    CHECK(atomic_load(&w->expired) == 200 && str_eq(w->last_reason, STR("connection refused")));
}

static void test_down(void **state) {
    (void)state;
    world_run(send_down, down, virtual_clock);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting),     cmocka_unit_test(test_ready), cmocka_unit_test(test_races),
        cmocka_unit_test(test_unroutable),  cmocka_unit_test(test_pools), cmocka_unit_test(test_parked),
        cmocka_unit_test(test_refuses_bad), cmocka_unit_test(test_day),   cmocka_unit_test(test_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
