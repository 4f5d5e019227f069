#include "configured.h"
#include "identity/gate.h"

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* One address; a letter an answer: r right, n no PTR, c not confirmed, u unasked, w a witness, '.' nothing.
 * After each the address is usable (+) or rests (-). */
static const struct {
    const char *answers, *states;
    int64_t step;
} CASES[] = {
    {"r", "+", MINUTE},
    {"nnnnnn", "++++++", 10 * MINUTE},   /* nothing shows that the resolver works */
    {"wnnnn", "+++++", 10 * MINUTE},     /* it did before, not since */
    {"nwn", "++-", 10 * MINUTE},         /* it does */
    {"nwn", "+++", MINUTE},              /* too early */
    {"nwncncc", "++-----", 10 * MINUTE}, /* stays so */
    {"nwnr", "++-+", 10 * MINUTE},       /* one right answer */
    {"nrn", "+++", 10 * MINUTE},         /* counted from anew */
    {"nrnwn", "++++-", 10 * MINUTE},
    {"uuuuuuu", "+++++++", HOUR},          /* never asked */
    {"ruuuuuu", "+++++++", 10 * HOUR},     /* not after a day either */
    {"nwnuu", "++---", 10 * HOUR},         /* the last answer holds for a day */
    {"nwnuuu.", "++---++", 10 * HOUR},     /* and no longer */
    {"nwnuuunwn", "++---+++-", 10 * HOUR}, /* then it takes two again */
    {"n..wn", "+++++", 10 * HOUR},         /* a denial of long ago is the first of none */
};

static bool feed(struct gate *g, const struct ip *ip, char letter, int64_t now) {
    static const struct {
        char letter;
        struct fcrdns found;
    } answers[] = {{'r', {FCRDNS_RIGHT, .ttl = 3600}},
                   {'n', {FCRDNS_NO_PTR, .why = STR("it has no PTR record")}},
                   {'c', {FCRDNS_NOT_CONFIRMED, .why = STR("others")}},
                   {'u', {FCRDNS_UNASKED, .why = STR("timeout")}}};
    if (letter == 'w')
        gate_witness(g, false, 0, 0, now);
    for (size_t i = 0; i < COUNT(answers); i++)
        if (answers[i].letter == letter)
            return gate_answer(g, ip, &answers[i].found, now);
    return false;
}

static struct ip address(unsigned n) {
    struct ip ip;
    assert_true(ip_parse(STR("192.0.2.0"), &ip));
    ip.bytes[15] = (unsigned char)n;
    return ip;
}

static void test_one_address(void **state) {
    (void)state;
    struct ip ip = address(1);
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct gate *g = gate_new(GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS);
        assert_true(gate_view(g, &ip, 0).usable);
        for (size_t j = 0; CASES[i].answers[j]; j++) {
            int64_t now = HOUR + (int64_t)j * CASES[i].step;
            feed(g, &ip, CASES[i].answers[j], now);
            struct gate_view view = gate_view(g, &ip, now);
            if (view.usable != (CASES[i].states[j] == '+'))
                fail_msg("case %zu, answer %zu", i, j);
            assert_int_equal(view.reason.len > 0, !view.usable || view.doubted);
        }
        gate_free(g);
    }
}

static void test_not_required(void **state) {
    (void)state;
    struct gate *g = gate_new(GATE_REQUIRE_NONE, GATE_AGAIN_MS);
    struct ip ip = address(1);
    for (int64_t now = 0; now < 10 * HOUR; now += HOUR) {
        gate_witness(g, false, 0, 0, now);
        assert_false(feed(g, &ip, 'n', now));
        assert_true(gate_view(g, &ip, now).usable);
    }
    gate_free(g);
}

static void test_reload_forgets(void **state) {
    (void)state;
    struct configured c =
        configure_good(STR("pool normal { addresses = {192.0.2.1, 192.0.2.3} }\n"
                           "pool rest { carries = {high-risk, relay, high-risk-relay} }\n"));
    struct gate *g = gate_new(GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS);
    for (unsigned n = 1; n <= 4; n++)
        for (int64_t now = 0; now <= HOUR; now += HOUR) {
            struct ip ip = address(n);
            feed(g, &ip, 'w', now);
            feed(g, &ip, 'n', now);
        }
    gate_reload(g, GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS, c.pools);
    for (unsigned n = 1; n <= 4; n++) {
        struct ip ip = address(n);
        assert_int_equal(gate_view(g, &ip, HOUR).usable, n % 2 == 0);
    }
    gate_free(g);
    configured_free(&c);
}

/* ---- properties, over random lives of a pool ---- */

static uint64_t next_random(uint64_t *seed) {
    *seed ^= *seed << 13, *seed ^= *seed >> 7, *seed ^= *seed << 17;
    return *seed;
}

enum { ADDRESSES = 8, STEPS = 400 };
struct history {
    int64_t right, denied_first, denied_last;
    bool was_right, was_denied;
};

/* Whoever rests was denied twice since it was last right, far enough apart, with the resolver at work
 * between, and not longer than a day ago; whoever was right last is usable; a change is told. */
static void test_lives(void **state) {
    (void)state;
    for (uint64_t life = 1; life <= 200; life++) {
        uint64_t seed = life * 0x9e3779b97f4a7c15u;
        struct gate *g = gate_new(GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS);
        struct history past[ADDRESSES] = {0};
        int64_t now = 0, worked = -1;
        const char *letters = life % 3 == 0 ? "nncuu" : life % 3 == 1 ? "rncuw" : "nnnncu.w";
        for (int step = 0; step < STEPS; step++) {
            unsigned n = (unsigned)(next_random(&seed) % ADDRESSES);
            struct ip ip = address(n);
            now += (int64_t)(next_random(&seed) % (next_random(&seed) % 50 ? 4 * MINUTE : 2 * DAY));
            char letter = letters[next_random(&seed) % strlen(letters)];
            bool before = gate_view(g, &ip, now).usable;
            bool told = feed(g, &ip, letter, now);
            bool after = gate_view(g, &ip, now).usable;
            assert_int_equal(told, before != after);
            if (letter == 'r' || letter == 'w')
                worked = now;
            if (letter == 'r')
                past[n] = (struct history){.was_right = true, .right = now};
            if (letter == 'n' || letter == 'c') {
                past[n].denied_first = past[n].was_denied ? past[n].denied_first : now;
                past[n].was_denied = true, past[n].denied_last = now;
            }
            for (unsigned i = 0; i < ADDRESSES; i++) {
                struct ip other = address(i);
                if (gate_view(g, &other, now).usable)
                    continue;
                assert_true(past[i].was_denied && worked >= past[i].denied_first);
                assert_true(past[i].denied_last - past[i].denied_first >= GATE_AGAIN_MS);
                assert_true(now - past[i].denied_last <= GATE_HOLD_MS);
            }
        }
        gate_free(g);
    }
}

/* A resolver that dies at some time, by silence or by denying all: not one address rests that did not. */
static void test_a_dead_resolver_rests_nobody(void **state) {
    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        struct gate *g = gate_new(GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS);
        for (int64_t now = 0; now < 3 * (int64_t)DAY; now += 7 * MINUTE)
            for (unsigned n = 0; n < ADDRESSES; n++) {
                struct ip ip = address(n);
                feed(g, &ip, now < HOUR ? 'r' : silent ? 'u' : 'n', now);
                assert_true(gate_view(g, &ip, now).usable);
            }
        gate_free(g);
    }
}

/* A resolver that begins to deny everything while old answers are still in its cache: each address expires at
 * its own time, and those that the cache still has are right. Nobody rests. */
static void test_a_cache_is_no_witness(void **state) {
    (void)state;
    struct gate *g = gate_new(GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS);
    for (unsigned n = 0; n < ADDRESSES; n++) {
        struct ip ip = address(n);
        feed(g, &ip, 'r', n * 7 * MINUTE);
    }
    gate_witness(g, false, 0, 3600, 0);
    for (int64_t now = HOUR; now < 3 * HOUR; now += MINUTE / 2)
        for (unsigned n = 0; n < ADDRESSES; n++) {
            struct ip ip = address(n);
            int64_t left = n * 7 * MINUTE + HOUR - now;
            struct fcrdns cached = {FCRDNS_RIGHT, .ttl = (uint32_t)((left + 999) / 1000)};
            struct fcrdns denied = {FCRDNS_NO_PTR, .why = STR("it has no PTR record"), .ttl = 60};
            gate_answer(g, &ip, left > 0 ? &cached : &denied, now);
            assert_true(gate_view(g, &ip, now).usable);
        }
    struct ip ip = address(1);
    gate_witness(g, false, 0, 3600, 3 * HOUR); /* now it was fetched */
    struct fcrdns denied = {FCRDNS_NO_PTR, .why = STR("it has no PTR record"), .ttl = 60};
    assert_true(gate_answer(g, &ip, &denied, 3 * HOUR));
    gate_free(g);
}

/* Where a denial lacks a witness, those that are right are asked sooner than their records expire. */
static void test_witness_is_sought(void **state) {
    (void)state;
    struct gate *g = gate_new(GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS);
    struct ip right = address(1), denied = address(2);
    feed(g, &right, 'r', MINUTE);
    assert_true(gate_view(g, &right, MINUTE).next_ask > MINUTE + 50 * MINUTE);
    feed(g, &denied, 'n', 2 * MINUTE);
    assert_true(gate_view(g, &right, 2 * MINUTE).next_ask == MINUTE + GATE_AGAIN_MS);
    feed(g, &right, 'r', 7 * MINUTE);
    assert_true(gate_view(g, &right, 7 * MINUTE).next_ask > 50 * MINUTE);
    assert_true(feed(g, &denied, 'n', 7 * MINUTE + 1));
    assert_false(gate_witness(g, true, 3, 600, 8 * MINUTE) &&
                 gate_witness(g, true, 3, 599, 8 * MINUTE + 1000));
    assert_true(gate_witness(g, true, 4, 600, 8 * MINUTE));
    gate_free(g);
}

static void test_restored(void **state) {
    (void)state;
    struct gate *g = gate_new(GATE_REQUIRE_FCRDNS, GATE_AGAIN_MS);
    struct ip ip = address(1);
    gate_restore(g, &ip, STR("no PTR"), HOUR, 2 * HOUR, 3 * HOUR);
    struct gate_view view = gate_view(g, &ip, 3 * HOUR);
    assert_true(!view.usable && view.belief == GATE_WRONG && str_eq(view.reason, STR("no PTR")));
    assert_true(view.since == HOUR && view.answered == 2 * HOUR && view.next_ask <= 3 * HOUR);
    feed(g, &ip, 'u', 3 * HOUR);
    assert_false(gate_view(g, &ip, 2 * HOUR + GATE_HOLD_MS).usable);
    assert_true(gate_view(g, &ip, 2 * HOUR + GATE_HOLD_MS + 1).usable);
    gate_restore(g, &ip, STR("no PTR"), 9 * HOUR, 8 * HOUR, 3 * HOUR); /* of the future */
    assert_false(gate_view(g, &ip, 3 * HOUR + GATE_HOLD_MS).usable);
    assert_true(gate_view(g, &ip, 3 * HOUR + GATE_HOLD_MS + 1).usable);
    assert_true(feed(g, &ip, 'r', 4 * HOUR));
    view = gate_view(g, &ip, 4 * HOUR);
    assert_true(view.usable && view.belief == GATE_RIGHT);
    gate_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_address),
        cmocka_unit_test(test_not_required),
        cmocka_unit_test(test_reload_forgets),
        cmocka_unit_test(test_lives),
        cmocka_unit_test(test_a_dead_resolver_rests_nobody),
        cmocka_unit_test(test_a_cache_is_no_witness),
        cmocka_unit_test(test_witness_is_sought),
        cmocka_unit_test(test_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
