/* The queue under load: every delivery ends exactly once, limits hold, order and stickiness are kept. */
#include "world.h"

/* ---- many messages, every kind of end ---- */

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ (x >> 27);
}

static bool send_mixed(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    struct ip source = {.bytes = {[15] = (unsigned char)(out[0]->message % 3)}};
    queue_session_connected(session, &source);
    if (out[0]->message % 7 == 0)
        fiber_sleep((int64_t)(out[0]->message % 5));
    for (size_t i = 0; i < count; i++) {
        struct delivery *d = out[i];
        uint64_t dice = mix(d->message * 64 + d->recipient +
                            (uint64_t)atomic_fetch_add(&w->attempts[0], 1) * UINT64_C(1000003)) %
                        100;
        if (dice < 15) {
            struct outcome reason = {
                .fate = OUTCOME_LATER, .code = 451, .enhanced = STR("4.2.0"), .text = STR("later")};
            queue_defer(w->queue, d, clock_wall_ms() + (int64_t)(dice * 3), &source, &reason);
        } else if (dice < 18) {
            queue_return(w->queue, d);
        } else if (dice < 20) {
            queue_postpone(w->queue, d, clock_wall_ms() + 2, NULL);
        } else {
            world_end(w, d);
        }
    }
    return atomic_load(&w->transactions) % 50 != 0;
}

static void set_limits(struct world *w) {
    w->settings.delivery.connections = 5;
    w->settings.delivery.messages_per_connection = 20;
}

enum { LOAD = 3000 };

static void load(void *arg) {
    struct world *w = arg;
    for (uint64_t m = 1; m <= LOAD; m++) {
        struct delivery_init inits[6];
        char domains[6][32];
        size_t count = 1 + m % 6;
        for (size_t i = 0; i < count; i++) {
            snprintf(domains[i], sizeof domains[i], "%s%02d.example", i % 4 == 3 ? "twin" : "d",
                     (int)(mix(m + i / 2) % RECEIVERS));
            inits[i] = init_of(domains[i], (uint32_t)i);
            inits[i].group = (uint16_t)(i / 3);
            inits[i].pool = m % 3 ? STR("normal") : STR("relay");
            inits[i].due = m % 10 == 0 ? clock_wall_ms() + 30 : 0;
        }
        CHECK(queue_put(w->queue, m, inits, count) == 0);
        if (m % 100 == 0)
            fiber_yield();
    }
    CHECK(world_quiet(w, 60 * 1000));
    for (uint64_t m = 1; m <= LOAD; m++)
        for (size_t i = 0; i < 6; i++)
            CHECK(atomic_load(&w->ended[m][i]) == (i < 1 + m % 6));
    CHECK(atomic_load(&w->sessions) == 0);
    /* Two pools: two lanes a receiver. */
    for (int i = 0; i < RECEIVERS; i++)
        CHECK(atomic_load(&w->most_open[i]) <= 10 && atomic_load(&w->most_open[i]) > 0);
    for (int i = 0; i < WORKERS; i++)
        CHECK(atomic_load(&w->per_worker[i]) > 0);
}

static void test_load(void **state) {
    (void)state;
    world_run(send_mixed, load, set_limits);
}

/* ---- order ---- */

/* The groups of one message, due one after the other: what comes from one home keeps its order. */
static bool send_in_order(struct world *w, struct queue_session *session, struct delivery **out,
                          size_t count) {
    if (atomic_exchange(&w->attempts[0], out[0]->group) >= out[0]->group)
        rt_run_failed(__FILE__, __LINE__, "first in, first out");
    return send_all(w, session, out, count);
}

static void one_connection(struct world *w) {
    w->settings.delivery.connections = 1;
    w->settings.delivery.messages_per_connection = 7;
}

static void in_order(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d01.example", 0);
    init.due = clock_wall_ms() + 50;
    for (uint16_t g = 1; g <= 100; g++) {
        init.due++;
        init.group = g;
        CHECK(queue_put(w->queue, 1, &init, 1) == 0);
    }
    CHECK(world_quiet(w, 10 * 1000));
    CHECK(atomic_load(&w->most_sessions) == 1);
    CHECK(atomic_load(&w->all_sessions) >= 100 / 7);
}

static void test_order(void **state) {
    (void)state;
    world_run(send_in_order, in_order, one_connection);
}

/* ---- recipients of one message stay together ---- */

static void together(void *arg) {
    struct world *w = arg;
    struct delivery_init inits[RECIPIENTS_MAX];
    for (uint32_t i = 0; i < RECIPIENTS_MAX; i++)
        inits[i] = init_of(i % 2 ? "d02.example" : "twin02.example", i);
    for (uint64_t m = 1; m <= 20; m++)
        CHECK(queue_put(w->queue, m, inits, RECIPIENTS_MAX) == 0);
    CHECK(world_quiet(w, 10 * 1000));
    /* 64 recipients, 50 at a time: at least two each; the two domains' may be apart while the route is new.
     */
    CHECK(atomic_load(&w->transactions) <= 20 * 4);
    for (uint64_t m = 1; m <= 20; m++)
        for (uint32_t i = 0; i < RECIPIENTS_MAX; i++)
            CHECK(atomic_load(&w->ended[m][i]) == 1);
}

static void test_together(void **state) {
    (void)state;
    world_run(send_all, together, NULL);
}

/* ---- a receiver that refuses ---- */

static bool send_refused(struct world *w, struct queue_session *session, struct delivery **out,
                         size_t count) {
    if (atomic_load(&w->attempts[1])) /* it works again */
        return send_all(w, session, out, count);
    struct outcome reason = {.scope = OUTCOME_RECEIVER,
                             .fate = OUTCOME_LATER,
                             .code = 421,
                             .enhanced = STR("4.3.2"),
                             .text = STR("go away")};
    int64_t until = queue_close_lane(session, clock_wall_ms() + 3000, &reason);
    for (size_t i = 0; i < count; i++)
        queue_defer(w->queue, out[i], until, NULL, &reason);
    return false;
}

static void closed(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d03.example", 0);
    for (uint64_t m = 1; m <= 50; m++)
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    UNTIL(atomic_load(&w->transactions) && status_of(w).waiting == 50);
    int tried = atomic_load(&w->transactions);
    CHECK(tried >= 1 && tried <= 20);
    struct arena *arena = arena_new(0);
    struct queue_status status;
    queue_status(w->queue, arena, &status);
    CHECK(status.deliveries == 50 && status.waiting == 50);
    CHECK(status.lane_count == 1 && status.lanes[0].closed_until);
    CHECK(str_eq(status.lanes[0].reason, STR("421 4.3.2 go away")));
    struct queue_row *rows;
    uint64_t cursor = 0;
    size_t count = queue_list(w->queue, &(struct queue_filter){0}, 100, &cursor, arena, &rows), untried = 0;
    CHECK(count == 50 && cursor == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(rows[i].due > clock_wall_ms());
        untried += rows[i].attempts == 0;
    }
    CHECK(untried == 50 - (size_t)tried);
    arena_free(arena);
    fiber_sleep(100);
    CHECK(atomic_load(&w->transactions) == tried); /* closed means closed */
    atomic_store(&w->attempts[1], 1);
    CHECK(world_quiet(w, 60 * 1000));
    for (uint64_t m = 1; m <= 50; m++)
        CHECK(atomic_load(&w->ended[m][0]) == 1);
}

static void test_closed(void **state) {
    (void)state;
    world_run(send_refused, closed, NULL);
}

/* A receiver that serves three connections and refuses more: it gets three, and all its mail. */
static bool send_three(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    struct outcome reason = {
        .scope = OUTCOME_SESSION, .fate = OUTCOME_LATER, .code = 421, .text = STR("too many")};
    if (atomic_load(&w->open[8]) > 3 && out[0]->attempts < 3) {
        queue_close_lane(session, 0, &reason);
        for (size_t i = 0; i < count; i++)
            queue_defer(w->queue, out[i], clock_wall_ms() + 10, NULL, &reason);
        return false;
    }
    send_all(w, session, out, count);
    fiber_sleep(2);
    return true;
}

static void three(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d08.example", 0);
    CHECK(queue_put(w->queue, 1, &init, 1) == 0);
    UNTIL(atomic_load(&w->transactions) == 1);
    for (uint64_t m = 2; m <= 600; m++)
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    CHECK(world_quiet(w, 100 * 1000)); /* closed, it would take five minutes */
    for (uint64_t m = 1; m <= 600; m++)
        CHECK(atomic_load(&w->ended[m][0]) == 1);
}

static void test_three(void **state) {
    (void)state;
    world_run(send_three, three, NULL);
}

/* ---- sticky sources ---- */

static bool send_sticky(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    struct ip source = queue_session_source(session);
    if (ip_is_none(&source))
        source.bytes[15] = 99;
    queue_session_connected(session, &source);
    fiber_sleep(1);
    for (size_t i = 0; i < count; i++) {
        struct ip sticky = queue_delivery_source(w->queue, out[i]);
        if (!ip_is_none(&sticky) && !ip_eq(&sticky, &source))
            rt_run_failed(__FILE__, __LINE__, "a retry keeps its address");
        if (out[i]->attempts == 0 && ip_is_none(&sticky) && out[i]->message % 2)
            queue_defer(w->queue, out[i], clock_wall_ms() + 5, &source, NULL);
        else
            world_end(w, out[i]);
    }
    return true;
}

static void few_connections(struct world *w) { w->settings.delivery.connections = 2; }

static void sticky(void *arg) {
    struct world *w = arg;
    for (uint64_t m = 1; m <= 400; m++) {
        struct delivery_init init = init_of("d04.example", 0);
        init.source.bytes[15] = (unsigned char)(m % 4);
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    }
    CHECK(world_quiet(w, 20 * 1000));
    CHECK(atomic_load(&w->most_sessions) <= 2);
    for (uint64_t m = 1; m <= 400; m++)
        CHECK(atomic_load(&w->ended[m][0]) == 1);
}

static void test_sticky(void **state) {
    (void)state;
    world_run(send_sticky, sticky, few_connections);
}

/* ---- drain ---- */

static bool send_slowly(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    fiber_sleep(20);
    return send_all(w, session, out, count);
}

static void drain(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d05.example", 0);
    for (uint64_t m = 1; m <= 500; m++)
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    UNTIL(atomic_load(&w->transactions) > 20);
    CHECK(queue_drain(w->queue, clock_mono_ms() + 5000) == 0);
    int ended = atomic_load(&w->transactions);
    CHECK(atomic_load(&w->sessions) == 0 && ended < 500);
    fiber_sleep(50);
    CHECK(atomic_load(&w->transactions) == ended);
    CHECK(status_of(w).deliveries == 500 - (size_t)ended);
}

static void test_drain(void **state) {
    (void)state;
    world_run(send_slowly, drain, NULL);
}

static bool send_stuck(struct world *w, struct queue_session *session, struct delivery **out, size_t count) {
    (void)session;
    (void)out;
    (void)count;
    while (fiber_sleep(10) == 0 && !atomic_load(&w->attempts[2]))
        ;
    return send_all(w, session, out, count);
}

static void drain_late(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d06.example", 0);
    CHECK(queue_put(w->queue, 1, &init, 1) == 0);
    UNTIL(atomic_load(&w->sessions) == 1);
    CHECK(queue_drain(w->queue, clock_mono_ms() + 50) == SLUICE_ETIMEOUT);
    atomic_store(&w->attempts[2], 1);
    CHECK(queue_drain(w->queue, clock_mono_ms() + 5000) == 0);
}

static void test_drain_late(void **state) {
    (void)state;
    world_run(send_stuck, drain_late, NULL);
}

/* ---- limits change while mail flows ---- */

static void new_limits(void *arg) {
    struct world *w = arg;
    struct delivery_init init = init_of("d07.example", 0);
    for (uint64_t m = 1; m <= 600; m++)
        CHECK(queue_put(w->queue, m, &init, 1) == 0);
    UNTIL(atomic_load(&w->sessions) == 2);
    w->settings.delivery.connections = 6;
    queue_set_settings(w->queue, &w->settings);
    UNTIL(atomic_load(&w->sessions) == 6);
    w->settings.delivery.connections = 1;
    queue_set_settings(w->queue, &w->settings);
    UNTIL(atomic_load(&w->sessions) == 1);
    w->settings.delivery.connections = 20;
    queue_set_settings(w->queue, &w->settings);
    CHECK(world_quiet(w, 20 * 1000));
}

static void test_new_limits(void **state) {
    (void)state;
    world_run(send_slowly, new_limits, few_connections);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),   cmocka_unit_test(test_order),      cmocka_unit_test(test_together),
        cmocka_unit_test(test_closed), cmocka_unit_test(test_three),      cmocka_unit_test(test_sticky),
        cmocka_unit_test(test_drain),  cmocka_unit_test(test_drain_late), cmocka_unit_test(test_new_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
