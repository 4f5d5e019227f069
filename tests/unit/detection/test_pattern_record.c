/* The windows of patterns against the naive exact counter, what becomes usual, sketches, networks, stored
 * form. */
#include "../limits/limit_model.h"
#include "detection/pattern_record.h"

#define START INT64_C(1790000000000)
#define SECOND INT64_C(1000)

static const struct {
    enum pattern_window window;
    int64_t steps, step;
} windows[] = {{WINDOW_HOUR, HOUR_STEPS, HOUR_STEP}, {WINDOW_DAY, DAY_STEPS, DAY_STEP}};

/* X(nT - T) <= count <= X(nT), whatever the stream is. */
static void run_window(size_t w, bool wide, uint64_t seed) {
    struct pattern_rules rules = pattern_rules_default();
    struct pattern_record r = {.key = 1};
    struct model m = {0};
    uint64_t state = seed;
    int64_t now = START, span = windows[w].steps * windows[w].step * SECOND, step = windows[w].step * SECOND;
    r.wide = wide ? calloc(PATTERN_CELLS, sizeof *r.wide) : NULL;
    r.first = r.last = pattern_seconds(now);
    r.day = r.last / 86400;
    for (unsigned i = 0; i < 4000; i++) {
        uint64_t shape = chance(&state, 4);
        now += shape == 0   ? 0
               : shape == 1 ? (int64_t)chance(&state, 1000)
               : shape == 2 ? step - now % step - 1 + (int64_t)chance(&state, 3)
                            : (int64_t)chance(&state, (uint64_t)span / 6);
        now -= now % SECOND; /* a record knows seconds */
        uint32_t amount = 1 + (uint32_t)chance(&state, 7);
        record_advance(&r, pattern_seconds(now), chance(&state, 2) ? &rules : NULL);
        record_add(&r, COUNT_RECIPIENTS, amount);
        model_add(&m, now, amount);
        uint32_t count = record_count(&r, windows[w].window, COUNT_RECIPIENTS);
        uint64_t least = model_count(&m, now, span - step, span + step),
                 most = model_count(&m, now, span, span + step);
        if (count < least || count > most)
            fail_msg("window %zu at %lld: %u, exact %llu to %llu", w, (long long)now, count,
                     (unsigned long long)least, (unsigned long long)most);
        assert_int_equal(record_count(&r, windows[w].window, COUNT_MAIL), 0);
    }
    free(r.wide);
    model_free(&m);
}

static void test_windows(void **unused) {
    (void)unused;
    for (size_t w = 0; w < COUNT(windows); w++)
        for (uint64_t seed = 1; seed <= 10; seed++)
            run_window(w, seed & 1, seed);
}

static void test_saturates(void **unused) {
    (void)unused;
    struct pattern_record r = {.key = 1, .first = 1, .last = 1};
    record_add(&r, COUNT_UNKNOWN, 60000);
    record_add(&r, COUNT_UNKNOWN, 60000);
    assert_int_equal(record_count(&r, WINDOW_HOUR, COUNT_UNKNOWN), UINT16_MAX);
    r.wide = calloc(PATTERN_CELLS, sizeof *r.wide);
    for (unsigned i = 0; i < 4; i++)
        record_add(&r, COUNT_UNKNOWN, UINT32_MAX);
    assert_int_equal(record_count(&r, WINDOW_DAY, COUNT_UNKNOWN), UINT32_MAX / DAY_STEPS);
    free(r.wide);
}

/* A day with so many recipients in one hour; the day ends. */
static void a_day(struct pattern_record *r, const struct pattern_rules *rules, uint32_t recipients) {
    record_advance(r, (r->day + 1) * 86400 + 36000, rules);
    record_add(r, COUNT_RECIPIENTS, recipients);
    record_note_most(r);
    record_advance(r, (r->day + 1) * 86400, rules);
}

static void test_usual(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct pattern_record r = {.key = 1, .first = 5000 * 86400, .last = 5000 * 86400, .day = 5000};
    /* While it learns, it takes what there is. */
    a_day(&r, &rules, 4000);
    assert_int_equal(r.usual[USUAL_HOUR], 4000);
    /* A weekly mailing stays known: growth is 10 times. */
    for (unsigned i = 0; i < 3; i++)
        a_day(&r, &rules, 3);
    assert_in_range(r.usual[USUAL_HOUR], 2500, 3000);
    /* Half after two weeks, and never below what is sent. */
    for (unsigned i = 0; i < 4; i++)
        a_day(&r, &rules, 3);
    assert_in_range(r.usual[USUAL_HOUR], 1700, 2100);
    for (unsigned i = 0; i < 100; i++)
        a_day(&r, &rules, 3);
    assert_int_equal(r.usual[USUAL_HOUR], 3);
    /* Once it is known, what is usual doubles at most: from the floor of 200 / 10 on. */
    a_day(&r, &rules, 5000);
    assert_int_equal(r.usual[USUAL_HOUR], 40);
    a_day(&r, &rules, 5000);
    assert_in_range(r.usual[USUAL_HOUR], 70, 80);
    /* Long silence. */
    record_advance(&r, r.last + 400 * 86400, &rules);
    assert_int_equal(r.usual[USUAL_HOUR], 0);
}

static void test_destinations(void **unused) {
    (void)unused;
    struct pattern_record r = {.key = 1, .first = 1, .last = 1};
    unsigned fresh = 0, again = 0, later = 0;
    for (uint64_t i = 1; i <= 80; i++)
        fresh += record_destination(&r, str_hash(str_from(&i, sizeof i), 7));
    for (uint64_t i = 1; i <= 80; i++)
        again += record_destination(&r, str_hash(str_from(&i, sizeof i), 7));
    assert_in_range(fresh, 75, 80);
    assert_int_equal(again, 0);
    /* Of very many it forgets the oldest, and still sees most of them as new. */
    for (uint64_t i = 1000; i < 6000; i++)
        later += record_destination(&r, str_hash(str_from(&i, sizeof i), 7));
    assert_in_range(later, 4000, 5000);
    assert_true(r.sketched <= SKETCH_BITS / 2 + 4);
}

static void test_networks(void **unused) {
    (void)unused;
    static const struct {
        const char *ip;
        int64_t after; /* seconds */
        bool new;
    } cases[] = {
        {"192.0.2.1", 0, false},                                        /* the first */
        {"192.0.2.250", 10, false},                                     /* the same /24 */
        {"198.51.100.7", 10, true},                                     /* a new one */
        {"198.51.100.9", 3600, true},                                   /* for a day */
        {"192.0.2.9", 3600, false},     {"198.51.100.9", 86400, false}, /* known now */
        {"2001:db8:1:2::1", 1, true},   {"2001:db8:1:ffff::1", 1, true},
        {"2001:db8:1::", 90000, false}, /* the same /48 */
        {"203.0.113.1", 1, true},       {"203.0.114.1", 1, true},
        {"203.0.115.1", 1, true},       {"203.0.116.1", 1, true},
        {"203.0.117.1", 1, true},       {"203.0.118.1", 1, false}, /* the ninth: somebody who travels */
    };
    struct pattern_record r = {.key = 1, .first = 200000000, .last = 200000000};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip;
        assert_true(ip_parse(str_of(cases[i].ip), &ip));
        r.last += (uint32_t)cases[i].after;
        bool new = record_network(&r, pattern_network_hash(&ip, 5));
        if (new != cases[i].new)
            fail_msg("%zu %s: %d", i, cases[i].ip, new);
    }
}

static void test_stored(void **unused) {
    (void)unused;
    for (unsigned wide = 0; wide < 2; wide++) {
        struct pattern_rules rules = pattern_rules_default();
        struct pattern_record r = {
            .key = 77, .first = 200000000, .last = 200000000, .day = 200000000 / 86400};
        r.wide = wide ? calloc(PATTERN_CELLS, sizeof *r.wide) : NULL;
        for (uint64_t i = 1; i < 200; i++) {
            record_advance(&r, r.last + 977, &rules);
            record_add(&r, COUNT_MAIL, (uint32_t)i);
            record_add(&r, COUNT_ANSWERED, (uint32_t)i);
            record_add(&r, (enum pattern_count)(i % PATTERN_COUNTS), (uint32_t)i);
            record_destination(&r, str_hash(str_from(&i, sizeof i), 7));
            record_network(&r, (uint32_t)(1 + i % 5));
            record_note_most(&r);
        }
        r.exempt = 3, r.told = 5, r.told_restrict = 1, r.exempt_until = r.last + 5, r.voted = 9, r.votes = 3;
        r.actions.of[SIGN_SPAM] = PATTERN_RESTRICT;
        struct buf b __attribute__((cleanup(buf_free))) = {0};
        struct pattern_record back;
        record_encode(&b, &r);
        struct cursor c = cursor_of(buf_view(&b));
        assert_true(record_decode(&c, &back));
        assert_int_equal(c.left, 0);
        for (enum pattern_count i = 0; i < PATTERN_COUNTS; i++) {
            assert_int_equal(record_count(&back, WINDOW_DAY, i), record_count(&r, WINDOW_DAY, i));
            assert_int_equal(record_count(&back, WINDOW_HOUR, i), record_count(&r, WINDOW_HOUR, i));
        }
        if (wide)
            assert_memory_equal(back.wide, r.wide, PATTERN_CELLS * sizeof *r.wide);
        uint32_t *wides[] = {back.wide, r.wide};
        back.wide = r.wide = NULL;
        assert_memory_equal(&back, &r, sizeof r);
        for (size_t cut = 0; cut < b.len; cut++) {
            struct pattern_record none;
            struct cursor part = cursor_of(str_head(buf_view(&b), cut));
            assert_false(record_decode(&part, &none));
        }
        free(wides[0]);
        free(wides[1]);
    }
}

/* No count is more than what it is part of: a share of over 100 % is damage. */
static void test_parts_and_wholes(void **unused) {
    static const struct {
        enum pattern_count part, whole;
    } cases[] = {{COUNT_BAD, COUNT_MAIL}, {COUNT_UNKNOWN, COUNT_ANSWERED}, {COUNT_REFUSED, COUNT_ANSWERED}};
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint32_t part = 7; part <= 8; part++) {
            struct pattern_record r = {
                .key = 7, .first = 200000000, .last = 200000000, .day = 200000000 / 86400};
            struct pattern_record back;
            struct buf b __attribute__((cleanup(buf_free))) = {0};
            record_add(&r, cases[i].whole, 7);
            record_add(&r, cases[i].part, part);
            record_encode(&b, &r);
            struct cursor c = cursor_of(buf_view(&b));
            assert_int_equal(record_decode(&c, &back), part == 7);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),         cmocka_unit_test(test_saturates),
        cmocka_unit_test(test_usual),           cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_networks),        cmocka_unit_test(test_stored),
        cmocka_unit_test(test_parts_and_wholes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
