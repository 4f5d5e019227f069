/* Who knows the thresholds and the rules, an enemy who would turn them against somebody, and the innocent who
 * look like either. */
#include "pattern_room.h"

/* A receiver that refuses whatever comes as spam makes its enemies' mail high-risk, and restricts nobody. */
static void test_one_receiver(void **unused) {
    (void)unused;
    static const struct {
        unsigned receivers;
        bool restricts;
    } cases[] = {{1, false}, {2, true}, {5, true}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct room r = new_room();
        answer(&r, "bob@contoso.com", REPLY_DELIVERED, 20);
        answer_by(&r, "bob@contoso.com", REPLY_SPAM, 200, cases[i].receivers);
        assert_int_equal(r.found.count, cases[i].restricts ? 2 : 1);
        assert_int_equal(r.found.at[0].action, PATTERN_HIGH_RISK);
        if (cases[i].restricts)
            assert_int_equal(r.found.at[1].action, PATTERN_RESTRICT_TODAY);
        else /* once others say so too */
            answer_by(&r, "bob@contoso.com", REPLY_SPAM, 200, 3);
        assert_int_equal(r.found.count, 2);
        close_room(&r);
    }
}

/* A password in many hands: five recipients a message, each from another of fifty networks. Who travels for
 * weeks has as many, and nothing is made of it. */
static void test_many_networks(void **unused) {
    (void)unused;
    for (int traveller = 0; traveller < 2; traveller++) {
        struct room r = new_room();
        char client[32];
        live(&r, "bob@contoso.com", 3);
        for (unsigned i = 0; i < 12 && traveller; i++) {
            r.now = NOON - 26 * HOUR + i * HOUR / 12;
            snprintf(client, sizeof client, "198.19.%u.1", i);
            send_one(&r, &(struct mail){.sender = "bob@contoso.com", .client = client});
        }
        r.now = NOON;
        for (unsigned i = 0; i < 60; i++) {
            snprintf(client, sizeof client, "198.18.%u.1", traveller ? 0 : i % 50);
            send_one(&r, &(struct mail){.sender = "bob@contoso.com", .client = client, .recipients = 5});
        }
        const char *why = pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now);
        if (traveller)
            assert_null(why);
        else
            assert_non_null(strstr(why, "from a network that it never sent from"));
        close_room(&r);
    }
}

/* Just below each threshold, for a day: 20 recipients an hour, some 25 % of its mail judged spam, from a
 * network of its own. Two of these halves are nothing. */
static void test_below_each_threshold(void **unused) {
    (void)unused;
    static const struct {
        const char *name, *client;
        bool spam;
        bool found;
    } cases[] = {
        {"all three", "198.51.100.1", true, true},
        {"from the usual network", "192.0.2.1", true, false},
        {"no spam", "198.51.100.1", false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct room r = new_room();
        live(&r, "bob@contoso.com", 3);
        int64_t from = r.now, found = 0;
        for (unsigned n = 0; n < 11 * 20 + 60 && !found; n++, r.now += 3 * MINUTE) {
            send_one(&r, &(struct mail){.sender = "bob@contoso.com",
                                        .client = cases[i].client,
                                        .bad = cases[i].spam && n % 4 == 0,
                                        .recipients = 1});
            if (pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now))
                found = r.now - from;
        }
        if (cases[i].found ? !found || found > 14 * HOUR : found != 0)
            fail_msg("%s: after %lld minutes", cases[i].name, (long long)(found / MINUTE));
        close_room(&r);
    }
}

/* 50,000 recipients each Monday from the second week on: told of, never more than that; and once an operator
 * says that it is meant, not even told of the next Monday. */
static void test_weekly_newsletter(void **unused) {
    (void)unused;
    for (int released = 0; released < 2; released++) {
        struct room r = new_room();
        unsigned told = 0;
        live(&r, "news@contoso.com", 3);
        for (unsigned week = 0; week < 12; week++, r.now += 7 * DAY) {
            r.found.count = 0;
            for (unsigned n = 0; n < 100; n++) {
                send_one(&r, &(struct mail){.sender = "news@contoso.com",
                                            .client = "192.0.2.1",
                                            .recipients = 500,
                                            .domain = "fresh"});
                answer(&r, "news@contoso.com", REPLY_DELIVERED, 484);
                answer(&r, "news@contoso.com", REPLY_UNKNOWN, 15);
                answer(&r, "news@contoso.com", REPLY_SPAM, 1);
                arena_reset(r.arena);
            }
            for (size_t i = 0; i < r.found.count; i++) {
                assert_int_equal(r.found.at[i].action, PATTERN_ALERT);
                told++;
            }
            if (released && !week)
                assert_true(
                    pattern_release(r.p, PATTERN_USER, STR("news@contoso.com"), r.now + HOUR, r.now) != 0);
            r.now += 10 * MINUTE;
        }
        assert_in_range(told, 1, released ? 2 : 24);
        close_room(&r);
    }
}

/* What was found of a hacked account is not learned with its release. */
static void test_release_after_an_attack(void **unused) {
    (void)unused;
    struct room r = new_room();
    live(&r, "bob@contoso.com", 3);
    for (int day = 0; day < 2; day++, r.now += DAY) {
        r.found.count = 0;
        send_some(&r, &(struct mail){.sender = "bob@contoso.com", .client = "198.51.100.1", .recipients = 20},
                  50);
        assert_int_equal(day || pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now), 1);
        assert_true(pattern_release(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now + HOUR, r.now) != 0);
        assert_int_equal(pattern_release(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now + HOUR, r.now), 0);
    }
    assert_non_null(find(&r, PATTERN_USER, CAUSE_GROWTH));
    close_room(&r);
}

/* A clock that was a year ahead for a while leaves neither windows that stand nor suspects for a year. */
static void test_clock_goes_back(void **unused) {
    (void)unused;
    struct room r = new_room();
    struct pattern_suspect suspect;
    live(&r, "bob@contoso.com", 3);
    r.now = NOON + 365 * DAY;
    send_some(&r, &(struct mail){.sender = "bob@contoso.com", .bad = true}, 12);
    r.found.count = 0;
    for (unsigned i = 0; i < 48; i++) { /* 240 recipients in a day, ten in an hour */
        r.now = NOON + i * HOUR / 2;
        send_one(&r, &(struct mail){.sender = "bob@contoso.com", .recipients = 5, .client = "192.0.2.1"});
        assert_null(pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now));
    }
    size_t at = 0;
    assert_false(pattern_next_suspect(r.p, &at, r.now, &suspect));
    for (size_t i = 0; i < r.found.count; i++)
        assert_true(r.found.at[i].over);
    close_room(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_receiver),
        cmocka_unit_test(test_many_networks),
        cmocka_unit_test(test_below_each_threshold),
        cmocka_unit_test(test_weekly_newsletter),
        cmocka_unit_test(test_release_after_an_attack),
        cmocka_unit_test(test_clock_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
