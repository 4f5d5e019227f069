/* The window against the naive exact counter: the bound that limit_window.h states, over random streams. */
#include "limit_model.h"
#include "limits/limit_window.h"

enum { SPAN = 180, TICK = 20000 };

static const uint32_t limits[] = {1,   2,   7,   30,  49,   50,   51,    99,
                                  100, 101, 149, 500, 1000, 9999, 10000, 1000000};

enum shape { STEADY, SPARSE, BURSTS, EDGES, LARGE, ANY, SHAPES };

/* How long until the next event, and how much it asks for. */
static int64_t next_event(enum shape shape, uint64_t *state, uint32_t limit, int64_t now,
                          uint32_t *ret_amount) {
    int64_t hour = (int64_t)SPAN * TICK, fair = hour / limit + 1;
    *ret_amount = 1 + (uint32_t)chance(state, 1 + limit / 100);
    switch (shape) {
    case STEADY:
        return 1 + (int64_t)chance(state, (uint64_t)fair * 2);
    case SPARSE:
        return (int64_t)chance(state, (uint64_t)hour / 3);
    case BURSTS: /* much at once, then a pause about as long as the window */
        return chance(state, 30) ? (int64_t)chance(state, 3)
                                 : hour - 2 * TICK + (int64_t)chance(state, 4 * TICK);
    case EDGES: { /* just before, at and after the edge of a tick, up to two windows on */
        int64_t edge = (now / TICK + (int64_t)chance(state, chance(state, 8) ? 3 : 2 * SPAN) + 1) * TICK;
        return edge - 1 + (int64_t)chance(state, 3) - now;
    }
    case LARGE:
        *ret_amount = 1 + (uint32_t)chance(state, limit);
        return (int64_t)chance(state, (uint64_t)hour / 2);
    default:
        return next_event((enum shape)chance(state, ANY), state, limit, now, ret_amount);
    }
}

/* What may be said about a limit: `asked` more was admitted, or refused. */
static void check(struct model *m, int64_t now, uint32_t limit, uint32_t asked, bool admitted) {
    int64_t span = (int64_t)SPAN * TICK;
    uint64_t exact = model_count(m, now, span, span + TICK);
    uint64_t late = model_count(m, now, span + TICK, span + TICK);
    if (admitted ? (exact + asked) * 100 > (uint64_t)limit * 101
                 : (late + asked) * 100 <= (uint64_t)limit * 99)
        fail_msg("limit %u: %u more %s at %lld, exact %llu, with one more tick %llu", limit, asked,
                 admitted ? "admitted" : "refused", (long long)now, (unsigned long long)exact,
                 (unsigned long long)late);
}

/* `forced`: one in so many of the refused is counted all the same (an action of alert). */
static void run(enum shape shape, uint32_t limit, uint64_t seed, uint64_t forced, unsigned events) {
    struct limit_window w = {0};
    struct model m = {0};
    uint64_t state = seed;
    int64_t now = 1000 * TICK;
    uint32_t last = 1000;
    for (unsigned i = 0; i < events; i++) {
        uint32_t amount;
        now += next_event(shape, &state, limit, now, &amount);
        uint32_t tick = (uint32_t)(now / TICK);
        limit_window_advance(&w, SPAN, last, tick);
        limit_window_fit(&w, last, limit_unit(limit));
        bool admitted = limit_window_count(&w) + amount <= limit;
        check(&m, now, limit, amount, admitted);
        uint32_t when = limit_window_when(&w, SPAN, last, amount, limit);
        assert_true(admitted ? when == 0 : when > tick);
        if (admitted || (forced && chance(&state, forced) == 0)) {
            model_add(&m, now, amount);
            limit_window_add(&w, tick, amount);
            last = tick;
        }
        assert_true(limit_window_valid(&w, last));
    }
    model_free(&m);
}

static void test_bound(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(limits); i++)
        for (enum shape shape = 0; shape < SHAPES; shape++)
            for (uint64_t seed = 1; seed <= 4; seed++)
                run(shape, limits[i], seed * 1000 + limits[i], seed == 4 ? 3 : 0, 1500);
}

/* When it says that an amount fits again, it does then, and not a tick before. */
static void test_when(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t limit = limits[chance(&seed, COUNT(limits))], tick = 1000;
        struct limit_window w = {0};
        limit_window_fit(&w, tick, limit_unit(limit));
        for (unsigned n = 0; n < 60; n++) {
            tick += (uint32_t)chance(&seed, 8);
            limit_window_advance(&w, SPAN, tick, tick);
            uint32_t room = limit_window_count(&w) < limit ? limit - limit_window_count(&w) : 0;
            limit_window_add(&w, tick, (uint32_t)chance(&seed, room / 4 + 2));
        }
        uint32_t amount = 1 + (uint32_t)chance(&seed, limit);
        uint32_t when = limit_window_when(&w, SPAN, tick, amount, limit);
        if (when == 0)
            continue;
        struct limit_window then = w, before = w;
        limit_window_advance(&then, SPAN, tick, when);
        limit_window_advance(&before, SPAN, tick, when - 1);
        assert_true(limit_window_count(&then) + amount <= limit);
        assert_true(limit_window_count(&before) + amount > limit);
        assert_int_equal(limit_window_when(&w, SPAN, tick, limit + 1, limit), UINT32_MAX);
    }
}

/* A limit that changes: nothing is forgotten, and a span later the bound holds again. */
static void test_refit(void **state) {
    (void)state;
    uint64_t seed = 9;
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t from = limits[chance(&seed, COUNT(limits))], to = limits[chance(&seed, COUNT(limits))];
        uint32_t last = 1000, worst = limit_unit(from) + limit_unit(to);
        struct limit_window w = {0};
        struct model m = {0};
        for (unsigned n = 0; n < 200; n++) {
            uint32_t limit = n < 100 ? from : to;
            uint32_t tick = last + (uint32_t)chance(&seed, 6);
            limit_window_advance(&w, SPAN, last, tick);
            limit_window_fit(&w, last, limit_unit(limit));
            uint32_t amount = 1 + (uint32_t)chance(&seed, limit / 20 + 1);
            uint64_t exact = model_count(&m, tick, SPAN + 1, SPAN + 1);
            uint32_t have = limit_window_count(&w);
            if (have <= (uint64_t)50 * w.unit)
                assert_true(have + worst >= exact && have <= exact + worst);
            if (have + amount <= limit) {
                assert_true(exact + amount <= (uint64_t)limit + worst / 2 + 1);
                limit_window_add(&w, tick, amount);
                model_add(&m, tick, amount);
                last = tick;
            }
        }
        model_free(&m);
    }
}

/* A sender whose messages are under two limits in turn (its own From, and the newsletter's) is counted as
 * exactly as the smaller one wants, however long that goes on. */
static void test_two_limits(void **state) {
    static const uint32_t pairs[][2] = {{1000, 10000}, {50, 10000}, {10, 12000}, {500, 5000}, {30, 1000}};
    (void)state;
    for (size_t p = 0; p < COUNT(pairs); p++)
        for (unsigned turns = 1; turns <= 64; turns *= 4) {
            uint32_t small = pairs[p][0], last = 1000;
            struct limit_window w = {0};
            struct model m = {0};
            for (unsigned n = 0; n < 6 * small; n++) {
                /* Six tenths of the smaller limit in a span. */
                uint32_t tick = 1000 + (uint32_t)((uint64_t)n * SPAN * 10 / (6 * (uint64_t)small));
                uint32_t unit = limit_unit(small);
                limit_window_advance(&w, SPAN, last, tick);
                limit_window_fit(&w, last, limit_unit(pairs[p][n / turns % 2]));
                uint64_t exact = model_count(&m, tick, SPAN + 1, SPAN + 1);
                uint32_t have = limit_window_count(&w);
                if (have > exact + unit / 2 + 1 || have + unit / 2 + 1 < exact)
                    fail_msg("%u and %u: %u, it is %llu", small, pairs[p][1], have,
                             (unsigned long long)exact);
                limit_window_add(&w, tick, 1);
                model_add(&m, tick, 1);
                last = tick;
            }
            model_free(&m);
        }
}

/* Many at once need the larger chunks: nothing is lost on the way. */
static void test_two_limits_at_once(void **state) {
    (void)state;
    for (uint32_t amount = 1; amount <= 1000; amount *= 10) {
        struct limit_window w = {0};
        limit_window_fit(&w, 5, limit_unit(50));
        limit_window_add(&w, 5, 7);
        for (uint32_t sum = 7; sum + amount <= 10000; sum += amount) {
            assert_int_equal(limit_window_count(&w), sum);
            limit_window_fit(&w, 5, limit_unit(10000));
            limit_window_add(&w, 5, amount);
            assert_true(limit_window_valid(&w, 5));
            limit_window_fit(&w, 5, limit_unit(50));
        }
    }
}

/* Exact from the start, and as long as the limit is under 50. */
static void test_exact(void **state) {
    (void)state;
    struct limit_window w = {0};
    limit_window_fit(&w, 5, limit_unit(500));
    for (uint32_t i = 1; i <= 500; i++) {
        limit_window_add(&w, 5 + i / 3, 1);
        assert_int_equal(limit_window_count(&w), i);
    }
    uint64_t seed = 3;
    struct model m = {0};
    uint32_t last = 1000;
    w = (struct limit_window){0};
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t tick = last + (uint32_t)chance(&seed, 12);
        limit_window_advance(&w, SPAN, last, tick);
        limit_window_fit(&w, last, limit_unit(49));
        assert_int_equal(limit_window_count(&w), model_count(&m, tick, SPAN + 1, SPAN + 1));
        uint32_t amount = 1 + (uint32_t)chance(&seed, 5);
        if (limit_window_count(&w) + amount <= 49) {
            limit_window_add(&w, tick, amount);
            model_add(&m, tick, amount);
            last = tick;
        }
    }
    model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_when),
        cmocka_unit_test(test_refit),
        cmocka_unit_test(test_two_limits),
        cmocka_unit_test(test_two_limits_at_once),
        cmocka_unit_test(test_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
