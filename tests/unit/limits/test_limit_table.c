/* Ten million senders: packed, counted, reserved, evicted; against the naive exact counter. */
#include "base/error.h"
#include "limit_model.h"
#include "limits/limit_pack.h"

#include <stdio.h>

#define START INT64_C(1790000000000)

static const int64_t window_ms[LIMIT_COUNTERS] = {3600000, 3600000, 86400000, 60000};
static const int64_t tick_ms[LIMIT_COUNTERS] = {20000, 20000, 480000, 500};

struct sender {
    uint64_t key;
    struct limit_bounds bounds;
    struct model of[LIMIT_COUNTERS];
};

static void check(struct sender *s, enum limit_counter c, int64_t now, uint32_t asked, bool admitted) {
    uint32_t limit = s->bounds.limit[c];
    uint64_t exact = model_count(&s->of[c], now, window_ms[c], window_ms[c] + tick_ms[c]);
    uint64_t late = model_count(&s->of[c], now, window_ms[c] + tick_ms[c], window_ms[c] + tick_ms[c]);
    if (admitted ? (exact + asked) * 100 > (uint64_t)limit * 101
                 : (late + asked) * 100 <= (uint64_t)limit * 99)
        fail_msg("counter %d, limit %u: %u more %s, exact %llu, with one more tick %llu", (int)c, limit,
                 asked, admitted ? "admitted" : "refused", (unsigned long long)exact,
                 (unsigned long long)late);
}

/* The turn is never before its time, and not later than it need be. */
static void check_turn(struct sender *s, int64_t now, int64_t turn) {
    struct model *m = &s->of[LIMIT_MESSAGES_MINUTE];
    int64_t newest = m->count ? m->events[m->count - 1].time : 0;
    check(s, LIMIT_MESSAGES_MINUTE, turn, 1, true);
    assert_true(turn >= now && turn + 500 > newest);
    if (turn > now + 500 && turn > newest + 500)
        check(s, LIMIT_MESSAGES_MINUTE, turn - 1, 1, false);
}

static void one_message(struct limit_table *t, struct sender *s, uint64_t *state, int64_t now) {
    const struct limit_use use = {(uint32_t)chance(state, chance(state, 9) ? 4 : 200),
                                  (uint32_t)chance(state, 5)};
    const uint32_t asked[] = {use.external, use.internal, use.external + use.internal};
    struct limit_standing standing;
    int64_t turn;
    bool all = true;
    limit_table_look(t, s->key, now, &s->bounds, &standing);
    for (enum limit_counter c = 0; c < LIMIT_MESSAGES_MINUTE; c++) {
        bool admitted = standing.used[c] + asked[c] <= s->bounds.limit[c];
        check(s, c, now, asked[c], admitted);
        all = all && admitted;
    }
    if (!all)
        return;
    assert_int_equal(limit_table_reserve(t, s->key, now, &s->bounds, &use, &turn), 0);
    assert_int_equal(turn, standing.turn);
    check_turn(s, now, turn);
    model_add(&s->of[LIMIT_MESSAGES_MINUTE], turn, 1);
    bool committed = chance(state, 20) != 0;
    limit_table_settle(t, s->key, now, &s->bounds, &use, committed);
    for (enum limit_counter c = 0; committed && c < LIMIT_MESSAGES_MINUTE; c++)
        model_add(&s->of[c], now, asked[c]);
}

static int64_t pause(uint64_t *state) {
    switch (chance(state, 12)) {
    case 0:
        return (int64_t)chance(state, 7200000);
    case 1:
        return (int64_t)chance(state, 180000);
    case 2:
        return chance(state, 20) ? 0 : 86400000 - 480000 + (int64_t)chance(state, 960000);
    default:
        return (int64_t)chance(state, 900);
    }
}

static void test_bound(void **unused) {
    static const uint32_t choice[] = {1, 20, 30, 50, 100, 120, 500, 1000, 10000};
    enum { SENDERS = 40 };
    (void)unused;
    uint64_t state = 1;
    struct limit_table *t = limit_table_new(SENDERS);
    struct sender *senders = calloc(SENDERS, sizeof *senders);
    int64_t now = START;
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].key = chance(&state, UINT64_MAX) + 1;
        for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++)
            senders[i].bounds.limit[c] = choice[chance(&state, COUNT(choice))];
    }
    for (unsigned i = 0; i < 60000; i++) {
        now += pause(&state);
        one_message(t, &senders[i / 1500], &state, now); /* one after the other, so that each has bursts */
        one_message(t, &senders[chance(&state, SENDERS)], &state, now);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++)
            model_free(&senders[i].of[c]);
    free(senders);
    limit_table_free(t);
}

/* Any windows come back as they were, the fullest too; 864 bits are enough. */
static void test_pack(void **unused) {
    (void)unused;
    uint64_t state = 11;
    for (unsigned i = 0; i < 20000; i++) {
        struct limit_windows w = {.last = 400000000 + (uint32_t)chance(&state, 100000)}, back = {0};
        w.turn = w.last + (uint32_t)chance(&state, i % 2 ? 65536 : 1);
        for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++) {
            uint32_t span = limit_spans[c].ticks, tick = limit_windows_base(&w, c) - span;
            struct limit_window *of = &w.of[c];
            uint32_t marks = i % 3 ? LIMIT_MARKS : (uint32_t)chance(&state, LIMIT_MARKS + 1), left = span;
            of->unit = 1 + (uint32_t)chance(&state, 241);
            for (of->marks = 0; of->marks < marks; of->marks++) {
                uint32_t step = (uint32_t)chance(&state, 1 + (chance(&state, 4) ? left / 8 : left));
                if (i % 5 == 0 && of->marks + 1u == marks)
                    step = left;
                of->at[of->marks] = tick += step;
                left -= step;
            }
            of->fill = marks ? 1 + (uint32_t)chance(&state, of->unit) : 0;
            of->cut = chance(&state, 2);
        }
        unsigned char packed[LIMIT_PACKED + 8];
        memset(packed, 0xa5, sizeof packed);
        limit_pack(&w, packed);
        for (unsigned n = LIMIT_PACKED; n < sizeof packed; n++)
            assert_int_equal(packed[n], 0xa5);
        assert_true(limit_unpack(w.last, packed, &back));
        for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++)
            assert_memory_equal(&back.of[c], &w.of[c], sizeof w.of[c]);
        assert_int_equal(back.turn, w.turn);
    }
}

static const struct limit_bounds ordinary = {{500, 1000, 1000, 30}};

static uint32_t used(const struct limit_table *t, uint64_t key, int64_t now, enum limit_counter c) {
    struct limit_standing s;
    limit_table_look(t, key, now, &ordinary, &s);
    return s.used[c];
}

static int send(struct limit_table *t, uint64_t key, int64_t now, uint32_t external) {
    const struct limit_use use = {external, 0};
    int64_t turn;
    int error = limit_table_reserve(t, key, now, &ordinary, &use, &turn);
    if (!error)
        limit_table_settle(t, key, now, &ordinary, &use, true);
    return error;
}

static uint64_t nth_key(uint64_t n) {
    char name[40];
    snprintf(name, sizeof name, "user%llu@contoso.example", (unsigned long long)n);
    return limit_key(1, str_of(name));
}

static void test_memory(void **unused) {
    enum { SENDERS = 200000 };
    (void)unused;
    struct limit_table *t = limit_table_new(SENDERS);
    struct limit_table_stats stats;
    for (uint64_t i = 0; i < SENDERS; i++)
        assert_int_equal(send(t, nth_key(i), START + (int64_t)i, 1), 0);
    limit_table_stats(t, &stats);
    assert_int_equal(stats.senders, SENDERS);
    assert_true(stats.bytes <= 128 * (uint64_t)SENDERS);
    assert_int_equal(sizeof(struct limit_record), 120);
    /* All are active, so there is no room for one more; nobody is forgotten for it. */
    assert_int_equal(send(t, 12345, START + SENDERS, 1), SLUICE_EFULL);
    for (uint64_t i = 0; i < SENDERS; i++)
        assert_int_equal(used(t, nth_key(i), START + SENDERS, LIMIT_EXTERNAL_HOUR), 1);
    /* A day and a tick later all are empty: as many others find room, each looking at a few only. */
    int64_t later = START + SENDERS + 86400000 + 480000;
    for (uint64_t i = SENDERS; i < 2 * SENDERS; i++)
        assert_int_equal(send(t, nth_key(i), later, 2), 0);
    for (uint64_t i = 0; i < 2 * SENDERS; i++)
        assert_int_equal(used(t, nth_key(i), later, LIMIT_RECIPIENTS_DAY), i < SENDERS ? 0 : 2);
    limit_table_stats(t, &stats);
    assert_int_equal(stats.senders, SENDERS);
    assert_true(stats.bytes <= 128 * (uint64_t)SENDERS);
    limit_table_free(t);
}

/* The index holds after any row of arrivals and evictions. */
static void test_churn(void **unused) {
    enum { CAPACITY = 300 };
    (void)unused;
    uint64_t state = 21;
    struct limit_table *t = limit_table_new(CAPACITY);
    int64_t now = START, newest[4 * CAPACITY] = {0};
    for (unsigned i = 0; i < 60000; i++) {
        uint64_t who = chance(&state, COUNT(newest)), key = (who + 1) * UINT64_C(0x123456789abcdef1);
        now += (int64_t)chance(&state, 1000000);
        int error = send(t, key, now, 1);
        assert_true(error == 0 || error == SLUICE_EFULL);
        if (error == 0)
            newest[who] = now;
        uint64_t other = chance(&state, COUNT(newest));
        key = (other + 1) * UINT64_C(0x123456789abcdef1);
        bool active = newest[other] && newest[other] > now - 86400000;
        if (active)
            assert_true(used(t, key, now, LIMIT_RECIPIENTS_DAY) >= 1);
        else if (newest[other] < now - 86400000 - 480000)
            assert_int_equal(used(t, key, now, LIMIT_RECIPIENTS_DAY), 0);
    }
    limit_table_free(t);
}

static void test_clock(void **unused) {
    static const struct {
        int64_t jump;
        uint32_t external_left, day_left; /* of 300 sent just before */
    } cases[] = {
        {0, 300, 300},
        {-1, 300, 300},
        {-5000, 300, 300},
        {-3600000, 300, 300},
        {-86400000LL * 400, 300, 300},
        {-START, 300, 300}, /* 1970: time stands still until the clock is set */
        {1800000, 300, 300},
        {3640000, 0, 300},
        {86400000 + 480000 * 2, 0, 0},
        {86400000LL * 3650, 0, 0},
    };
    (void)unused;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct limit_table *t = limit_table_new(10);
        int64_t now = START + cases[i].jump;
        assert_int_equal(send(t, 5, START, 300), 0);
        assert_int_equal(used(t, 5, now, LIMIT_EXTERNAL_HOUR), cases[i].external_left);
        assert_int_equal(used(t, 5, now, LIMIT_RECIPIENTS_DAY), cases[i].day_left);
        if (now < START / 2) {
            limit_table_free(t);
            continue;
        }
        /* It goes on from there: what was counted stays for a window and no longer. */
        assert_int_equal(send(t, 5, now, 100), 0);
        assert_int_equal(used(t, 5, now + 1800000, LIMIT_EXTERNAL_HOUR), cases[i].external_left + 100);
        assert_int_equal(used(t, 5, now + 3640000, LIMIT_EXTERNAL_HOUR), 0);
        assert_int_equal(used(t, 5, now + 86400000 + 960000, LIMIT_RECIPIENTS_DAY), 0);
        limit_table_free(t);
    }
}

static void test_reserved(void **unused) {
    (void)unused;
    struct limit_table *t = limit_table_new(10);
    const struct limit_use use = {40, 2}, other = {5, 0};
    int64_t turn;
    assert_int_equal(limit_table_reserve(t, 5, START, &ordinary, &use, &turn), 0);
    assert_int_equal(limit_table_reserve(t, 5, START, &ordinary, &other, &turn), 0);
    assert_int_equal(used(t, 5, START, LIMIT_EXTERNAL_HOUR), 45);
    assert_int_equal(used(t, 5, START, LIMIT_RECIPIENTS_DAY), 47);
    limit_table_settle(t, 5, START, &ordinary, &use, false);
    assert_int_equal(used(t, 5, START, LIMIT_RECIPIENTS_DAY), 5);
    limit_table_settle(t, 5, START, &ordinary, &other, true);
    assert_int_equal(used(t, 5, START, LIMIT_RECIPIENTS_DAY), 5);
    assert_int_equal(used(t, 5, START, LIMIT_INTERNAL_HOUR), 0);
    limit_table_free(t);
}

/* The excess of a burst is carried over to the following minutes, in order, up to nine hours. */
static void test_turns(void **unused) {
    (void)unused;
    struct limit_table *t = limit_table_new(10);
    const struct limit_use use = {1, 0};
    int64_t turn = 0, before = 0;
    for (int64_t i = 0; i < 90; i++) {
        assert_int_equal(limit_table_reserve(t, 5, START, &ordinary, &use, &turn), 0);
        assert_int_equal(turn, START + i / 30 * 60500);
    }
    unsigned accepted = 90;
    for (; limit_table_reserve(t, 5, START, &ordinary, &use, &turn) == 0; before = turn, accepted++)
        assert_true(turn >= before);
    assert_int_equal(limit_table_reserve(t, 5, START, &ordinary, &use, &turn), SLUICE_ELIMIT);
    assert_true(accepted > 15000 && accepted < 17000);
    /* Somebody else isn't held; and when the time has come, neither is this one. */
    assert_int_equal(limit_table_reserve(t, 6, START, &ordinary, &use, &turn), 0);
    assert_int_equal(turn, START);
    assert_int_equal(limit_table_reserve(t, 5, before + 60500, &ordinary, &use, &turn), 0);
    assert_int_equal(turn, before + 60500);
    limit_table_free(t);
}

static void test_saved(void **unused) {
    (void)unused;
    uint64_t state = 31;
    struct limit_table *t = limit_table_new(1000), *copy = limit_table_new(1000);
    int64_t now = START;
    for (unsigned i = 0; i < 20000; i++)
        (void)send(t, 1 + chance(&state, 900), now += (int64_t)chance(&state, 4000),
                   (uint32_t)chance(&state, 9));
    for (uint32_t i = 0; i < limit_table_places(t); i++)
        if (limit_table_at(t, i))
            assert_int_equal(limit_table_put(copy, limit_table_at(t, i)), 0);
    for (uint64_t key = 1; key <= 900; key++)
        for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++)
            assert_int_equal(used(copy, key, now, c), used(t, key, now, c));
    struct limit_record bad = *limit_table_at(t, 0);
    memset(bad.packed, 0xff, sizeof bad.packed);
    assert_int_equal(limit_table_put(copy, &bad), SLUICE_ECORRUPT);
    bad = (struct limit_record){0};
    assert_int_equal(limit_table_put(copy, &bad), SLUICE_ECORRUPT);
    limit_table_free(t);
    limit_table_free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound), cmocka_unit_test(test_pack),  cmocka_unit_test(test_memory),
        cmocka_unit_test(test_churn), cmocka_unit_test(test_clock), cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_turns), cmocka_unit_test(test_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
