#include "cmocka_setup.h"
#include "identity/blocklist.h"
#include <stdlib.h>

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE, DAY = 24 * HOUR, TARGETS = 4, ANSWERS = 2 };

static struct ip ip_of(const char *text) {
    struct ip ip;
    assert_true(ip_parse(str_of(text), &ip));
    return ip;
}

static const struct blocklist *list_of(const char *zone) {
    for (size_t i = 0; i < blocklist_default_count; i++)
        if (str_eq(blocklist_defaults[i].zone, str_of(zone)))
            return &blocklist_defaults[i];
    fail_msg("%s is not in the default set", zone);
    return NULL;
}

/* ---- names ---- */

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *ip, *name;
    } cases[] = {
        {"192.0.2.16", "16.2.0.192.zen.spamhaus.org"},
        {"2001:db8:1::f00d",
         "d.0.0.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.zen.spamhaus.org"},
    };
    struct arena *arena = arena_new(0);
    const struct blocklist *zen = list_of("zen.spamhaus.org");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip = ip_of(cases[i].ip);
        assert_string_equal(blocklist_query(arena, zen, &ip).at, cases[i].name);
    }
    assert_string_equal(blocklist_test_query(arena, zen, false, true).at, "2.0.0.127.zen.spamhaus.org");
    assert_string_equal(blocklist_test_query(arena, zen, true, false).at,
                        "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.zen.spamhaus.org");
    struct ip ip = ip_of("192.0.2.16");
    assert_string_equal(blocklist_removal(arena, zen, &ip).at,
                        "https://check.spamhaus.org/results?query=192.0.2.16");
    arena_free(arena);
}

static void test_covers(void **state) {
    (void)state;
    static const struct {
        const char *ip;
        bool zen, cop, own;
    } cases[] = {{"192.0.2.1", true, true, true},
                 {"2001:db8::1", true, false, false},
                 {"10.0.0.1", false, false, true},
                 {"127.0.1.16", false, false, true},
                 {"fd00::1", false, false, false}};
    struct blocklist own = {.zone = STR("bl.example.org"), .v4 = true, .own = true};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip = ip_of(cases[i].ip);
        assert_int_equal(blocklist_covers(list_of("zen.spamhaus.org"), &ip), cases[i].zen);
        assert_int_equal(blocklist_covers(list_of("bl.spamcop.net"), &ip), cases[i].cop);
        assert_int_equal(blocklist_covers(&own, &ip), cases[i].own);
    }
}

/* ---- answers ---- */

static const struct {
    const char *zone;
    const char *answers[ANSWERS];
    bool failed;
    enum blocklist_state state;
    const char *text;
} READINGS[] = {
    {"zen.spamhaus.org", .state = BLOCKLIST_CLEAR, .text = ""},
    {"zen.spamhaus.org", .failed = true, .state = BLOCKLIST_UNASKED, .text = "timeout"},
    {"zen.spamhaus.org", {"127.0.0.2"}, .state = BLOCKLIST_LISTED, .text = "SBL: a source of spam"},
    {"zen.spamhaus.org",
     {"127.0.0.6"},
     .state = BLOCKLIST_LISTED,
     .text = "XBL: a hijacked or infected host"},
    {"zen.spamhaus.org", {"127.0.0.8"}, .state = BLOCKLIST_CLEAR, .text = ""}, /* no code of theirs */
    {"zen.spamhaus.org",
     {"127.255.255.252"},
     .state = BLOCKLIST_REFUSED,
     .text = "the list does not know this name of it"},
    {"zen.spamhaus.org",
     {"127.255.255.254"},
     .state = BLOCKLIST_REFUSED,
     .text = "it does not answer public resolvers"},
    {"zen.spamhaus.org", {"127.255.255.255"}, .state = BLOCKLIST_REFUSED, .text = "it was asked too much"},
    {"zen.spamhaus.org",
     {"127.0.0.2", "127.255.255.255"},
     .state = BLOCKLIST_REFUSED,
     .text = "it was asked too much"},
    {"bl.spamcop.net", {"127.0.0.1"}, .state = BLOCKLIST_REFUSED, .text = "it refuses to answer"},
    {"bl.spamcop.net", {"127.0.0.2"}, .state = BLOCKLIST_LISTED, .text = "listed"},
    {"bl.spamcop.net",
     {"203.0.113.80"},
     .state = BLOCKLIST_BROKEN,
     .text = "it answers with an address of the Internet"},
    {"bl.spamcop.net",
     {"127.0.0.2", "203.0.113.80"},
     .state = BLOCKLIST_BROKEN,
     .text = "it answers with an address of the Internet"},
    {"bl.mailspike.net", {"127.0.0.18"}, .state = BLOCKLIST_CLEAR, .text = ""},
    {"bl.mailspike.net", {"127.0.0.18", "127.0.0.11"}, .state = BLOCKLIST_LISTED, .text = "a bad reputation"},
};

static void answer_with(struct dns_answer *answer, struct dns_record *records, const char *const *texts,
                        bool failed) {
    *answer = (struct dns_answer){.records = records};
    for (; answer->count < ANSWERS && texts[answer->count]; answer->count++)
        records[answer->count] = (struct dns_record){.ip = ip_of(texts[answer->count])};
    answer->status = failed ? DNS_FAILED : answer->count ? DNS_RECORDS : DNS_NONE;
    answer->why = failed ? STR("timeout") : STR("");
}

static void test_readings(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(READINGS); i++) {
        struct dns_record records[ANSWERS];
        struct dns_answer answer;
        struct blocklist_reading reading;
        answer_with(&answer, records, READINGS[i].answers, READINGS[i].failed);
        blocklist_read(list_of(READINGS[i].zone), &answer, &reading);
        if (reading.state != READINGS[i].state || !str_eq(reading.text, str_of(READINGS[i].text)))
            fail_msg("case %zu: %d %.*s", i, (int)reading.state, STR_FMT(reading.text));
    }
}

/* ---- the watch, by a virtual clock ---- */

/* What a list answers to the address that is listed (or to none), and to its test addresses. */
enum temper { HONEST, EVERYTHING, WILDCARD, NO_V6, NOTHING, SILENT, TOO_MUCH, PARKED };

struct world {
    struct blocklist lists[2];
    enum temper temper[2];
    struct ip addresses[TARGETS];
    size_t listed; /* on the lists; TARGETS: none */
    struct blocklist_watch *watch;
    int64_t now, asked_at[2];
    size_t asked[2], changes;
    bool polite;
};

static void world_open(struct world *w) {
    *w = (struct world){
        .lists = {*list_of("zen.spamhaus.org"), *list_of("bl.spamcop.net")},
        .addresses = {ip_of("192.0.2.1"), ip_of("192.0.2.2"), ip_of("2001:db8::1"), ip_of("192.0.2.3")},
        .listed = TARGETS,
        .now = 1000,
        .polite = true};
    w->watch =
        blocklist_watch_new(w->lists, 2, w->addresses, TARGETS, &blocklist_usual_pace, 7, w->now, NULL);
}

static const char *say(const struct world *w, const struct blocklist_question *q) {
    bool on = q->step == BLOCKLIST_TRY_LISTED || (q->step == BLOCKLIST_ASK && q->address == w->listed);
    switch (w->temper[q->list]) {
    case HONEST:
        return on ? "127.0.0.2" : NULL;
    case EVERYTHING:
        return "127.0.0.2";
    case WILDCARD: /* beside the name of the test address, which ends it there (RFC 4592 2.2.2) */
        return q->step == BLOCKLIST_TRY_CLEAR ? NULL : "127.0.0.2";
    case NO_V6:
        return on && !(q->step == BLOCKLIST_TRY_LISTED && q->v6) ? "127.0.0.2" : NULL;
    case TOO_MUCH:
        return "127.255.255.255";
    case PARKED:
        return "203.0.113.80";
    default:
        return NULL;
    }
}

static void live(struct world *w, int64_t ms) {
    int64_t end = w->now + ms, when = 0;
    struct blocklist_question q;
    while (w->now < end) {
        if (!blocklist_next(w->watch, w->now, &q, &when)) {
            assert_true(when > w->now);
            w->now = when < end ? when : end;
            continue;
        }
        struct dns_record records[ANSWERS];
        struct dns_answer answer;
        const char *texts[ANSWERS] = {say(w, &q)};
        if (q.step == BLOCKLIST_ASK)
            assert_true(ip_is_v4(&w->addresses[q.address]) || w->lists[q.list].v6);
        w->polite &= !w->asked[q.list] || w->now - w->asked_at[q.list] >= blocklist_usual_pace.gap_ms;
        w->asked[q.list]++, w->asked_at[q.list] = w->now;
        answer_with(&answer, records, texts, w->temper[q.list] == SILENT);
        w->changes += blocklist_answer(w->watch, &q, &answer, w->now) != BLOCKLIST_SAME;
    }
}

static bool on_list(const struct world *w, size_t list, size_t address) {
    return blocklist_entry(w->watch, list, address, w->now).listed;
}

static void test_listed_and_delisted(void **state) {
    (void)state;
    struct world w;
    struct str why;
    world_open(&w);
    live(&w, 3 * HOUR);
    assert_true(blocklist_believed(w.watch, 0, &why) && blocklist_believed(w.watch, 1, &why));
    assert_int_equal(w.changes, 0);
    w.listed = 1;
    live(&w, 2 * HOUR + MINUTE);
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < TARGETS; i++)
            assert_int_equal(on_list(&w, l, i), i == 1);
    struct blocklist_entry entry = blocklist_entry(w.watch, 0, 1, w.now);
    assert_true(str_eq(entry.text, STR("SBL: a source of spam")) && entry.since > 3 * HOUR);
    blocklist_explain(w.watch, &(struct blocklist_question){BLOCKLIST_ASK, 0, 1, false}, STR("their words"));
    assert_true(str_eq(blocklist_entry(w.watch, 0, 1, w.now).text, STR("their words")));
    w.listed = TARGETS;
    live(&w, 3 * HOUR);
    assert_false(on_list(&w, 0, 1) || on_list(&w, 1, 1));
    assert_int_equal(w.changes, 4);
    assert_true(w.polite);
    /* Each address once a round, and the test addresses now and then. */
    assert_in_range(w.asked[0], 8 * 3, 8 * (TARGETS + 2) + 8);
    blocklist_watch_free(w.watch);
}

/* A list that does not do its work neither lists nor delists, whatever it says, and is left alone. */
static void test_lists_that_fail(void **state) {
    (void)state;
    static const enum temper tempers[] = {EVERYTHING, WILDCARD, NOTHING, SILENT, TOO_MUCH, PARKED};
    for (size_t i = 0; i < COUNT(tempers); i++)
        for (int listed_before = 0; listed_before < 2; listed_before++) {
            struct world w;
            struct str why;
            world_open(&w);
            w.listed = listed_before ? 0 : TARGETS;
            live(&w, 3 * HOUR);
            w.temper[0] = tempers[i];
            size_t asked = w.asked[0];
            live(&w, 12 * HOUR);
            for (size_t t = 0; t < TARGETS; t++) {
                assert_int_equal(on_list(&w, 0, t), listed_before && t == 0);
                assert_int_equal(on_list(&w, 1, t), listed_before && t == 0);
            }
            live(&w, DAY); /* the last answer holds for a day */
            assert_false(on_list(&w, 0, 0));
            assert_int_equal(blocklist_entry(w.watch, 0, 0, w.now).forgotten, listed_before);
            assert_int_equal(on_list(&w, 1, 0), listed_before);
            assert_int_equal(w.changes, listed_before ? 2 : 0);
            assert_false(blocklist_believed(w.watch, 0, &why));
            assert_true(why.len > 0);
            assert_true(w.polite && w.asked[0] - asked < 90);
            w.temper[0] = HONEST;
            live(&w, 2 * DAY);
            assert_true(blocklist_believed(w.watch, 0, &why));
            for (size_t t = 0; t < TARGETS; t++)
                assert_int_equal(on_list(&w, 0, t), listed_before && t == 0);
            blocklist_watch_free(w.watch);
        }
}

/* A list that does not have the test address of IPv6 is one for IPv4 all the same, and nothing for IPv6. */
static void test_one_family(void **state) {
    (void)state;
    struct world w;
    struct str why;
    world_open(&w);
    w.temper[0] = NO_V6, w.listed = 1;
    live(&w, 3 * HOUR);
    assert_true(on_list(&w, 0, 1) && blocklist_believed(w.watch, 0, &why));
    assert_true(str_find(why, STR("of this family")) >= 0);
    assert_true(blocklist_believed_of(w.watch, 0, 1, &why) && !why.len);
    assert_false(blocklist_believed_of(w.watch, 0, 2, &why));
    w.listed = 2;
    live(&w, DAY);
    assert_false(on_list(&w, 0, 2) || on_list(&w, 0, 1));
    w.temper[0] = HONEST;
    live(&w, 8 * HOUR); /* the next trial */
    assert_true(on_list(&w, 0, 2) && blocklist_believed(w.watch, 0, &why) && !why.len);
    assert_true(w.polite);
    blocklist_watch_free(w.watch);

    /* Who has no IPv6 address does not ask. */
    world_open(&w);
    blocklist_watch_free(w.watch);
    w.watch = blocklist_watch_new(w.lists, 1, w.addresses, 2, &blocklist_usual_pace, 7, w.now, NULL);
    w.temper[0] = NO_V6, w.listed = 1;
    live(&w, 3 * HOUR);
    assert_true(on_list(&w, 0, 1) && blocklist_believed(w.watch, 0, &why) && !why.len);
    blocklist_watch_free(w.watch);
}

/* One stranger on a list is bad luck. */
static void test_strangers(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct ip address = ip_of("192.0.2.1");
    struct blocklist_watch *watch =
        blocklist_watch_new(list_of("bl.spamcop.net"), 1, &address, 1, &blocklist_usual_pace, 7, 0, NULL);
    struct dns_record record = {.ip = ip_of("127.0.0.2")};
    struct blocklist_question q;
    struct str why;
    int64_t now = 0, when;
    for (size_t strangers = 0; now < HOUR && !blocklist_believed(watch, 0, &why);) {
        if (!blocklist_next(watch, now, &q, &when)) {
            now = when;
            continue;
        }
        bool listed = q.step == BLOCKLIST_TRY_LISTED || (q.step == BLOCKLIST_TRY_STRANGER && !strangers++);
        if (q.step == BLOCKLIST_TRY_STRANGER)
            assert_string_equal(blocklist_question_name(watch, &q, arena).at,
                                strangers == 1 ? "129.14.0.193.bl.spamcop.net"
                                               : "241.5.5.192.bl.spamcop.net");
        blocklist_answer(watch, &q,
                         &(struct dns_answer){
                             .status = listed ? DNS_RECORDS : DNS_NONE, .records = &record, .count = listed},
                         now);
    }
    assert_true(blocklist_believed(watch, 0, &why));
    blocklist_watch_free(watch);
    arena_free(arena);
}

static void test_reload(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    w.listed = 3;
    live(&w, 3 * HOUR);
    struct ip fewer[] = {w.addresses[3], w.addresses[0]};
    struct blocklist_watch *next =
        blocklist_watch_new(&w.lists[1], 1, fewer, COUNT(fewer), &blocklist_usual_pace, 7, w.now, w.watch);
    assert_true(blocklist_entry(next, 0, 0, w.now).listed);
    assert_true(str_eq(blocklist_entry(next, 0, 0, w.now).text, STR("listed")));
    assert_false(blocklist_entry(next, 0, 1, w.now).listed);
    assert_true(blocklist_entry(next, 0, 1, w.now).answered > 0);
    blocklist_watch_free(next);
    blocklist_watch_free(w.watch);
}

/* A list that refuses is left alone over any number of reloads, and over a clock that was set back. */
static void test_reload_of_a_paused_list(void **state) {
    (void)state;
    struct world w;
    struct str why;
    world_open(&w);
    w.listed = 0;
    live(&w, 3 * HOUR);
    w.temper[0] = w.temper[1] = TOO_MUCH;
    live(&w, 12 * HOUR);
    size_t asked = w.asked[0] + w.asked[1];
    for (int i = 0; i < 20; i++) {
        struct blocklist_watch *next =
            blocklist_watch_new(w.lists, 2, w.addresses, TARGETS, &blocklist_usual_pace, 7, w.now, w.watch);
        blocklist_watch_free(w.watch);
        w.watch = next;
        live(&w, MINUTE);
        assert_true(on_list(&w, 0, 0) && !on_list(&w, 0, 1));
        assert_false(blocklist_believed(w.watch, 0, &why));
        assert_true(str_eq(why, STR("it was asked too much")));
    }
    assert_in_range(w.asked[0] + w.asked[1] - asked, 0, 2);
    w.now -= 5 * DAY;
    w.temper[0] = w.temper[1] = HONEST;
    struct blocklist_watch *next =
        blocklist_watch_new(w.lists, 2, w.addresses, TARGETS, &blocklist_usual_pace, 7, w.now, w.watch);
    blocklist_watch_free(w.watch);
    w.watch = next;
    w.listed = TARGETS;
    live(&w, 2 * DAY);
    assert_false(on_list(&w, 0, 0) || on_list(&w, 1, 0));
    blocklist_watch_free(w.watch);
}

static void test_restored(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    blocklist_restore(w.watch, 0, 1, STR("their words"), 9000, 8000, w.now); /* of the future */
    struct blocklist_entry entry = blocklist_entry(w.watch, 0, 1, w.now);
    assert_true(entry.listed && entry.since == 1000 && entry.answered == 1000);
    assert_true(str_eq(entry.text, STR("their words")));
    blocklist_restore(w.watch, 1, 1, STR("old"), 0, w.now - DAY - 1, w.now);
    assert_true(blocklist_entry(w.watch, 1, 1, w.now).forgotten);
    w.temper[0] = SILENT;
    live(&w, HOUR * 23);
    assert_true(on_list(&w, 0, 1));
    w.temper[0] = HONEST;
    live(&w, 2 * DAY);
    assert_false(on_list(&w, 0, 1));
    assert_int_equal(w.changes, 2); /* delisted, both */
    blocklist_watch_free(w.watch);
}

/* The clock is set ahead, or the daemon was away for long: what has lapsed is asked about at once. */
static void test_a_clock_set_ahead(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    w.listed = 1;
    live(&w, 3 * HOUR);
    assert_true(on_list(&w, 0, 1) && on_list(&w, 1, 1));
    w.now += 10 * DAY;
    assert_false(on_list(&w, 0, 1));
    live(&w, MINUTE);
    assert_true(on_list(&w, 0, 1) && on_list(&w, 1, 1));
    assert_int_equal(w.changes, 2);
    /* One that does not answer is not asked more for it. */
    w.temper[0] = SILENT;
    live(&w, DAY);
    size_t asked = w.asked[0];
    live(&w, DAY);
    assert_in_range(w.asked[0] - asked, 0, 3);
    assert_true(w.polite);
    blocklist_watch_free(w.watch);
}

/* Many addresses stretch the round, not the rate. */
static void test_many(void **state) {
    (void)state;
    enum { MANY = 20000 };
    struct ip *many = xcalloc(MANY, sizeof *many);
    for (size_t i = 0; i < MANY; i++) {
        many[i] = ip_of("203.0.0.0");
        many[i].bytes[14] = (unsigned char)(i >> 8), many[i].bytes[15] = (unsigned char)i;
    }
    struct blocklist_watch *watch =
        blocklist_watch_new(list_of("bl.spamcop.net"), 1, many, MANY, &blocklist_usual_pace, 1, 0, NULL);
    struct blocklist_question q;
    int64_t now = 0, when, asked = 0;
    while (now < HOUR) {
        if (!blocklist_next(watch, now, &q, &when)) {
            now = when;
            continue;
        }
        struct dns_record record = {.ip = ip_of("127.0.0.2")};
        struct dns_answer answer = {.status = q.step == BLOCKLIST_TRY_LISTED ? DNS_RECORDS : DNS_NONE,
                                    .records = &record,
                                    .count = q.step == BLOCKLIST_TRY_LISTED};
        assert_int_equal(blocklist_answer(watch, &q, &answer, now), BLOCKLIST_SAME);
        asked++;
    }
    assert_in_range(asked, HOUR / blocklist_usual_pace.gap_ms * 9 / 10,
                    HOUR / blocklist_usual_pace.gap_ms + 1);
    blocklist_watch_free(watch);
    free(many);
}

enum { CROWD = 20000 };
struct crowd {
    struct ip *at;
    struct blocklist_watch *watch;
    int64_t now;
    bool *asked;
    size_t count, of_listed, listed;
};

static void crowd_live(struct crowd *c, int64_t ms) {
    int64_t end = c->now + ms, when;
    struct blocklist_question q;
    while (c->now < end) {
        if (!blocklist_next(c->watch, c->now, &q, &when)) {
            c->now = when;
            continue;
        }
        bool asks = q.step == BLOCKLIST_ASK;
        if (asks) {
            c->count += !c->asked[q.address];
            c->asked[q.address] = true;
            c->of_listed += q.address == c->listed;
        }
        struct dns_record record = {.ip = ip_of("127.0.0.2")};
        bool on = q.step == BLOCKLIST_TRY_LISTED || (asks && q.address == c->listed);
        struct dns_answer answer = {.status = on ? DNS_RECORDS : DNS_NONE, .records = &record, .count = on};
        blocklist_answer(c->watch, &q, &answer, c->now);
    }
}

static void crowd_reload(struct crowd *c, size_t count) {
    struct blocklist_watch *next = blocklist_watch_new(list_of("bl.spamcop.net"), 1, c->at, count,
                                                       &blocklist_usual_pace, 1, c->now, c->watch);
    blocklist_watch_free(c->watch);
    c->watch = next;
}

/* A round of many takes hours: reloads don't make it begin again, new addresses come first, and what is
 * listed is asked about each hour, so that it can come back. */
static void test_many_over_reloads(void **state) {
    (void)state;
    struct crowd c = {.at = xcalloc(CROWD, sizeof *c.at), .asked = xcalloc(CROWD, 1), .listed = 11};
    for (size_t i = 0; i < CROWD; i++) {
        c.at[i] = ip_of("203.0.0.0");
        c.at[i].bytes[14] = (unsigned char)(i >> 8), c.at[i].bytes[15] = (unsigned char)i;
    }
    crowd_reload(&c, CROWD - 100);
    blocklist_restore(c.watch, 0, c.listed, STR("before"), 0, 0, 0);
    for (int i = 0; i < 12; i++) {
        crowd_live(&c, HOUR / 2);
        crowd_reload(&c, CROWD - 100);
    }
    assert_in_range(c.count, CROWD - 200, CROWD - 100);
    assert_in_range(c.of_listed, 5, 8);
    crowd_reload(&c, CROWD);
    crowd_live(&c, 4 * MINUTE);
    for (size_t i = CROWD - 100; i < CROWD; i++)
        assert_true(c.asked[i]);
    blocklist_watch_free(c.watch);
    free(c.at), free(c.asked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_covers),
        cmocka_unit_test(test_readings),
        cmocka_unit_test(test_listed_and_delisted),
        cmocka_unit_test(test_lists_that_fail),
        cmocka_unit_test(test_one_family),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_of_a_paused_list),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_a_clock_set_ahead),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_over_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
