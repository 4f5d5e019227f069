/* What is found of a sender, a connector, a tenant and a forward, and what is not; who is suspicious and
 * until when; eviction and the snapshot. */
#include "base/crc32c.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "pattern_room.h"

#include <stdio.h>
#include <stdlib.h>

static void test_spam_share(void **unused) {
    (void)unused;
    struct room r = new_room();
    struct mail good = {.sender = "bob@contoso.com"}, bad = {.sender = "bob@contoso.com", .bad = true};
    send_some(&r, &good, 20);
    send_some(&r, &bad, 9);
    assert_int_equal(r.found.count, 0);
    send_one(&r, &bad);
    const struct pattern_finding *f = find(&r, PATTERN_USER, CAUSE_SPAM_SHARE);
    assert_string_equal(text_of(&r, f),
                        "in the last hour 10 of 30 messages were judged spam (333 per mille; the "
                        "threshold is 300)");
    assert_int_equal(f->action, PATTERN_HIGH_RISK);
    assert_int_equal(f->until, NOON + 12 * HOUR);
    assert_int_equal(f->counts.spam, 10);
    assert_int_equal(f->counts.mail, 30);
    assert_non_null(pattern_suspicion(r.p, PATTERN_USER, STR("Bob@contoso.com"), r.now));
    /* Told once; then when it is worth a restriction: 60 % and thirty. */
    send_some(&r, &bad, 19);
    assert_int_equal(r.found.count, 1);
    send_one(&r, &bad);
    assert_int_equal(r.found.count, 2);
    assert_int_equal(r.found.at[1].action, PATTERN_RESTRICT_TODAY);
    send_some(&r, &bad, 30);
    assert_int_equal(r.found.count, 2);
    /* The next UTC day he may, and is found again. */
    assert_null(pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), NOON + 12 * HOUR));
    r.now = NOON + 36 * HOUR;
    r.found.count = 0;
    send_some(&r, &bad, 10);
    assert_int_equal(r.found.count, 2);
    assert_true(r.found.at[0].over);
    assert_int_equal(r.found.at[1].action, PATTERN_HIGH_RISK);
    close_room(&r);
}

/* Who was restricted yesterday is not restricted again for yesterday's mail. */
static void test_next_day_is_new(void **unused) {
    (void)unused;
    struct room r = new_room();
    struct mail good = {.sender = "bob@contoso.com"}, bad = {.sender = "bob@contoso.com", .bad = true};
    r.now = NOON + 11 * HOUR;
    send_some(&r, &bad, 40);
    assert_int_equal(r.found.at[1].action, PATTERN_RESTRICT_TODAY);
    r.now = NOON + 12 * HOUR + MINUTE;
    r.found.count = 0;
    send_some(&r, &good, 1);
    send_some(&r, &bad, 9);
    assert_int_equal(r.found.count, 1);
    assert_true(r.found.at[0].over);
    send_some(&r, &bad, 1);
    assert_int_equal(r.found.count, 2);
    assert_int_equal(r.found.at[1].action, PATTERN_HIGH_RISK);
    close_room(&r);
}

static void test_tidy(void **unused) {
    (void)unused;
    struct room r = new_room();
    for (unsigned i = 0; i < 40; i++) {
        r.found.count = 0;
        send_some(
            &r,
            &(struct mail){.sender = str_c(r.arena, str_printf(r.arena, "u%u@contoso.com", i)), .bad = true},
            10);
    }
    r.found.count = 0;
    pattern_tidy(r.p, NOON + 12 * HOUR - 1, r.arena, &r.found);
    assert_int_equal(r.found.count, 0);
    for (size_t left = 40; left; left -= r.found.count) {
        r.found.count = 0;
        pattern_tidy(r.p, NOON + 12 * HOUR, r.arena, &r.found);
        assert_true(r.found.count > 0 && r.found.count <= left && r.found.at[0].over);
    }
    struct pattern_stats stats;
    pattern_stats(r.p, &stats);
    assert_int_equal(stats.suspects, 0);
    close_room(&r);
}

/* A flood of suspects of yesterday takes no place from those of today. */
static void test_yesterday_makes_room(void **unused) {
    (void)unused;
    enum { MOST = 20000 };
    struct pattern_rules rules = pattern_rules_default();
    struct room r = new_room();
    struct pattern_stats stats;
    rules.shares[SIGN_SPAM].least = 1;
    rules.shares[SIGN_SPAM].restrict_share = 0;
    pattern_configure(r.p, &rules);
    for (unsigned i = 0; i < MOST; i++) {
        char name[32];
        snprintf(name, sizeof name, "u%u@contoso.com", i);
        r.found.count = 0;
        send_one(&r, &(struct mail){.sender = name, .bad = true});
        arena_reset(r.arena);
    }
    pattern_stats(r.p, &stats);
    assert_int_equal(stats.suspects, MOST);
    r.now = NOON + 12 * HOUR;
    r.found.count = 0;
    send_one(&r, &(struct mail){.sender = "eve@contoso.com", .bad = true});
    const struct pattern_finding *eve = find(&r, PATTERN_USER, CAUSE_SPAM_SHARE);
    assert_non_null(eve);
    assert_int_equal(eve->action, PATTERN_HIGH_RISK);
    assert_true(str_eq(eve->name, STR("eve@contoso.com")) && !eve->over);
    assert_non_null(pattern_suspicion(r.p, PATTERN_USER, STR("eve@contoso.com"), r.now));
    close_room(&r);
}

static void test_switched_off(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct room r = new_room();
    struct sender_counts counts;
    rules.apply = false;
    pattern_configure(r.p, &rules);
    send_some(&r, &(struct mail){.sender = "bob@contoso.com", .bad = true}, 50);
    assert_int_equal(r.found.count, 0);
    assert_true(pattern_counts(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now, &counts));
    assert_int_equal(counts.spam, 50);
    close_room(&r);
}

/* Allowed before anything was known. */
static void test_allowed_first(void **unused) {
    (void)unused;
    struct room r = new_room();
    assert_int_equal(pattern_release(r.p, PATTERN_USER, STR("bob@contoso.com"), SENDER_ALWAYS, NOON), 0);
    r.now += 300 * DAY;
    send_some(&r, &(struct mail){.sender = "bob@contoso.com", .bad = true}, 50);
    assert_int_equal(r.found.at[0].action, PATTERN_ALERT);
    close_room(&r);
}

static void test_failing(void **unused) {
    (void)unused;
    struct room r = new_room();
    assert_int_equal(pattern_failing(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now), 1000);
    answer(&r, "bob@contoso.com", REPLY_DELIVERED, 19);
    assert_int_equal(pattern_failing(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now), 1000);
    answer(&r, "bob@contoso.com", REPLY_UNKNOWN, 1);
    assert_int_equal(pattern_failing(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now), 50);
    close_room(&r);
}

/* It ends when the share is below half. */
static void test_share_falls(void **unused) {
    (void)unused;
    struct room r = new_room();
    struct mail good = {.sender = "bob@contoso.com"}, bad = {.sender = "bob@contoso.com", .bad = true};
    send_some(&r, &bad, 10);
    assert_int_equal(r.found.count, 1);
    send_some(&r, &good, 50);
    assert_int_equal(r.found.count, 1);
    send_some(&r, &good, 10);
    assert_int_equal(r.found.count, 2);
    assert_true(r.found.at[1].over);
    assert_null(pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now));
    close_room(&r);
}

static void test_answers(void **unused) {
    (void)unused;
    static const struct {
        enum reply_kind kind;
        unsigned delivered, first, then; /* found at `first`, worth a restriction at `then` */
        enum sender_cause cause;
    } cases[] = {
        {REPLY_UNKNOWN, 25, 20, 60, CAUSE_UNKNOWN_RECIPIENTS},
        {REPLY_SPAM, 30, 10, 30, CAUSE_REFUSALS},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct room r = new_room();
        answer(&r, "bob@contoso.com", REPLY_DELIVERED, cases[i].delivered);
        answer(&r, "bob@contoso.com", REPLY_OTHER, 1);
        answer(&r, "bob@contoso.com", cases[i].kind, cases[i].first - 1);
        assert_int_equal(r.found.count, 0);
        answer(&r, "bob@contoso.com", cases[i].kind, 1);
        assert_non_null(find(&r, PATTERN_USER, cases[i].cause));
        assert_int_equal(r.found.at[0].action, PATTERN_HIGH_RISK);
        answer(&r, "bob@contoso.com", cases[i].kind, cases[i].then - cases[i].first + 5);
        assert_int_equal(r.found.count, 2);
        assert_int_equal(r.found.at[1].action, PATTERN_RESTRICT_TODAY);
        close_room(&r);
    }
}

/* Growth, destinations and network: each alone is told, together they move the mail. */
static void test_history(void **unused) {
    (void)unused;
    static const struct {
        const char *name;
        unsigned usual, messages;
        struct mail mail;
        enum sender_cause cause; /* 0: nothing */
        enum pattern_action action;
        bool together;
    } cases[] = {
        {"a few more", 3, 19, {.recipients = 10}, 0, 0, false},
        {"ten times, above the floor", 3, 20, {.recipients = 10}, CAUSE_GROWTH, PATTERN_ALERT, false},
        {"much, but usual", 30, 29, {.recipients = 10}, 0, 0, false},
        {"new destinations", 3, 60, {.domain = "fresh"}, CAUSE_DESTINATIONS, PATTERN_ALERT, false},
        {"a new network", 3, 50, {.client = "198.51.100.1"}, CAUSE_NETWORK, PATTERN_ALERT, false},
        {"a little from a new network", 3, 49, {.client = "198.51.100.1"}, 0, 0, false},
        {"growth and destinations are one sign",
         3,
         60,
         {.recipients = 5, .domain = "fresh"},
         CAUSE_GROWTH,
         PATTERN_ALERT,
         false},
        {"growth from a new network",
         3,
         60,
         {.recipients = 5, .client = "198.51.100.1"},
         CAUSE_NETWORK,
         PATTERN_ALERT,
         true},
        {"destinations from a new network",
         3,
         60,
         {.domain = "fresh", .client = "198.51.100.1"},
         CAUSE_NETWORK,
         PATTERN_HIGH_RISK,
         true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct room r = new_room();
        struct mail m = cases[i].mail;
        m.sender = "bob@contoso.com";
        live(&r, m.sender, cases[i].usual);
        send_some(&r, &m, cases[i].messages);
        const struct pattern_finding *f = cases[i].cause ? find(&r, PATTERN_USER, cases[i].cause) : NULL;
        bool suspicious = pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now) != NULL;
        if (cases[i].cause ? !f || f->action != cases[i].action : r.found.count != 0)
            fail_msg("%s: %zu found", cases[i].name, r.found.count);
        if (suspicious != cases[i].together)
            fail_msg("%s: suspicious %d", cases[i].name, suspicious);
        for (size_t n = 0; n < r.found.count; n++)
            assert_true(r.found.at[n].action <= PATTERN_HIGH_RISK);
        close_room(&r);
    }
}

/* Nobody is judged by a history that isn't there: of the first week of all, of a server's reverse-paths, of
 * who may have been forgotten. An account that never wrote, when all others are known, has one: nothing. */
static void test_learning(void **unused) {
    (void)unused;
    static const struct {
        const char *name, *connector;
        int64_t after; /* that history began */
        uint32_t senders;
        enum pattern_action action;
    } cases[] = {
        {"all are new", "", DAY, 1000, PATTERN_OFF},
        {"of a server", "contoso/erp", 30 * DAY, 1000, PATTERN_OFF},
        {"perhaps forgotten", "", 30 * DAY, 2, PATTERN_OFF},
        {"never wrote", "", 30 * DAY, 1000, PATTERN_ALERT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pattern_rules rules = pattern_rules_default();
        rules.senders = cases[i].senders;
        struct room r = {pattern_new(&rules, 5, NOON - cases[i].after), arena_new(0), {.count = 0}, NOON};
        struct mail m = {.sender = "new@contoso.com",
                         .connector = cases[i].connector,
                         .recipients = 10,
                         .domain = "fresh",
                         .client = "192.0.2.1"};
        send_some(&r, &m, 100);
        m.client = "198.51.100.1";
        send_some(&r, &m, 100); /* its second network is none to wonder at */
        enum pattern_action most = PATTERN_OFF;
        for (size_t n = 0; n < r.found.count; n++)
            if (r.found.at[n].kind == PATTERN_USER && r.found.at[n].action > most)
                most = r.found.at[n].action;
        if (most != cases[i].action)
            fail_msg("%s: %d", cases[i].name, most);
        if (cases[i].connector[0]) { /* which an answer has too */
            close_room(&r);
            continue;
        }
        /* With receivers' refusals it is suspicious at once. */
        answer(&r, "new@contoso.com", REPLY_DELIVERED, 40);
        answer(&r, "new@contoso.com", REPLY_SPAM, 6);
        bool suspicious = pattern_suspicion(r.p, PATTERN_USER, STR("new@contoso.com"), r.now) != NULL;
        assert_int_equal(suspicious, cases[i].action == PATTERN_ALERT);
        close_room(&r);
    }
}

/* A quarter or less of a connector's bad mail is one sender's: it is the connector. */
static void test_connector(void **unused) {
    (void)unused;
    for (unsigned many = 0; many < 2; many++) {
        struct room r = new_room();
        for (unsigned i = 0; i < 60; i++) {
            struct mail m = {.connector = "contoso/on-prem", .bad = true};
            m.sender = str_c(r.arena,
                             str_printf(r.arena, "connector/contoso/on-prem/u%u@contoso.com", many ? i : 0));
            send_one(&r, &m);
        }
        const struct pattern_finding *f = find(&r, PATTERN_CONNECTOR, CAUSE_SPAM_SHARE);
        assert_true(many == (f != NULL));
        if (f) {
            assert_int_equal(f->action, PATTERN_HIGH_RISK);
            assert_int_equal(f->counts.spam, 30);
            assert_non_null(pattern_suspicion(r.p, PATTERN_CONNECTOR, STR("contoso/on-prem"), r.now));
        } else {
            assert_non_null(find(&r, PATTERN_USER, CAUSE_SPAM_SHARE));
            assert_null(pattern_suspicion(r.p, PATTERN_CONNECTOR, STR("contoso/on-prem"), r.now));
        }
        close_room(&r);
    }
}

static void test_tenant(void **unused) {
    (void)unused;
    struct room r = new_room();
    for (unsigned i = 0; i < 100; i++) {
        struct mail m = {.bad = i % 2};
        m.sender = str_c(r.arena, str_printf(r.arena, "u%u@contoso.com", i));
        send_some(&r, &m, 2);
    }
    const struct pattern_finding *f = find(&r, PATTERN_TENANT, CAUSE_SPAM_SHARE);
    assert_non_null(f);
    assert_int_equal(f->action, PATTERN_ALERT); /* on-tenant */
    assert_int_equal(f->counts.spam, 100);
    close_room(&r);
}

static void test_forward(void **unused) {
    (void)unused;
    struct room r = new_room();
    struct mail m = {.sender = "connector/contoso/in/x@y.example", .forward = "bob@contoso.com"};
    send_some(&r, &m, 199);
    assert_null(find(&r, PATTERN_FORWARD, CAUSE_GROWTH));
    send_some(&r, &m, 1);
    const struct pattern_finding *f = find(&r, PATTERN_FORWARD, CAUSE_GROWTH);
    assert_non_null(f);
    assert_int_equal(f->action, PATTERN_ALERT);
    assert_true(str_eq(f->name, STR("bob@contoso.com")));
    close_room(&r);
}

static void test_actions(void **unused) {
    (void)unused;
    for (enum pattern_action action = PATTERN_OFF; action <= PATTERN_RESTRICT; action++) {
        struct room r = new_room();
        struct pattern_actions actions = {0};
        actions.of[SIGN_SPAM] = (uint8_t)action;
        send_some(&r, &(struct mail){.sender = "bob@contoso.com", .bad = true, .actions = &actions}, 10);
        assert_int_equal(r.found.count, action != PATTERN_OFF);
        if (action != PATTERN_OFF)
            assert_int_equal(r.found.at[0].action, action);
        assert_int_equal(pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now) != NULL,
                         action == PATTERN_HIGH_RISK);
        close_room(&r);
    }
}

/* A server whose mail nobody limits: an alert about the sender and about it, and its mail goes on as before.
 */
static void test_only_told(void **unused) {
    (void)unused;
    for (unsigned limited = 0; limited < 2; limited++) {
        struct room r = new_room();
        struct mail m = {.connector = "contoso/on-prem", .bad = true, .only_told = !limited};
        for (unsigned i = 0; i < 70; i++) {
            const char *format = "connector/contoso/on-prem/u%u@contoso.com";
            m.sender = str_c(r.arena, str_printf(r.arena, format, i < 60 ? i : 0));
            send_one(&r, &m);
        }
        enum pattern_action action = limited ? PATTERN_HIGH_RISK : PATTERN_ALERT;
        assert_int_equal(find(&r, PATTERN_CONNECTOR, CAUSE_SPAM_SHARE)->action, action);
        assert_int_equal(find(&r, PATTERN_USER, CAUSE_SPAM_SHARE)->action, action);
        assert_true(limited == (pattern_suspicion(r.p, PATTERN_USER, str_of(m.sender), r.now) != NULL));
        assert_true(limited ==
                    (pattern_suspicion(r.p, PATTERN_CONNECTOR, str_of(m.connector), r.now) != NULL));
        close_room(&r);
    }
}

static void test_release(void **unused) {
    (void)unused;
    struct room r = new_room();
    struct mail bad = {.sender = "bob@contoso.com", .bad = true};
    send_some(&r, &bad, 10);
    assert_true(pattern_release(r.p, PATTERN_USER, STR("BOB@contoso.com"), NOON + 12 * HOUR, NOON));
    r.found.count = 0;
    send_some(&r, &bad, 50);
    assert_null(pattern_suspicion(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now));
    for (size_t i = 0; i < r.found.count; i++)
        assert_int_equal(r.found.at[i].action, PATTERN_ALERT);
    /* The next day it is as before. */
    r.now = NOON + 40 * HOUR;
    r.found.count = 0;
    send_some(&r, &bad, 10);
    assert_int_equal(r.found.at[0].action, PATTERN_HIGH_RISK);
    close_room(&r);
}

static void save(struct room *r, struct buf *b, uint32_t step) {
    size_t at = 0;
    buf_clear(b);
    while (pattern_save(r->p, &at, step, r->now, b)) {
    }
}

/* A restart neither resets a threshold nor makes anybody new. */
static void test_snapshot(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct room r = new_room(), after = new_room();
    struct buf b __attribute__((cleanup(buf_free))) = {0};
    struct pattern_saved saved;
    live(&r, "bob@contoso.com", 3);
    live(&r, "eve@contoso.com", 3);
    send_some(&r, &(struct mail){.sender = "bob@contoso.com", .bad = true}, 9);
    send_some(&r, &(struct mail){.sender = "eve@contoso.com", .bad = true}, 12);
    save(&r, &b, 1);
    buf_str(&b, STR("rest"));
    assert_int_equal(pattern_restore(after.p, buf_view(&b), NOON, &saved), 0);
    assert_false(saved.damaged);
    assert_int_equal(saved.subjects, 3);
    assert_int_equal(saved.suspects, 1);
    assert_true(str_eq(saved.rest, STR("rest")));
    assert_int_equal(saved.end, b.len - 4);
    assert_non_null(pattern_suspicion(after.p, PATTERN_USER, STR("eve@contoso.com"), NOON));
    send_some(&after, &(struct mail){.sender = "bob@contoso.com", .bad = true}, 1);
    assert_non_null(find(&after, PATTERN_USER, CAUSE_SPAM_SHARE));
    after.found.count = 0;
    send_some(&after, &(struct mail){.sender = "bob@contoso.com", .client = "192.0.2.77"}, 60);
    assert_null(find(&after, PATTERN_USER, CAUSE_NETWORK));
    send_some(&after, &(struct mail){.sender = "bob@contoso.com", .client = "203.0.113.1"}, 60);
    assert_non_null(find(&after, PATTERN_USER, CAUSE_NETWORK));
    /* Damage anywhere: what comes before it is taken, and it is said. */
    for (size_t at = 0; at < b.len - 4; at += 7) {
        struct pattern *p = pattern_new(&rules, 9, NOON);
        b.at[at] ^= 0x20;
        int error = pattern_restore(p, buf_view(&b), NOON, &saved);
        assert_true(at < 32 ? error == SLUICE_ECORRUPT
                            : error == 0 && saved.damaged && saved.end <= at && saved.end >= 32);
        b.at[at] ^= 0x20;
        pattern_free(p);
    }
    close_room(&r);
    close_room(&after);
}

/* A version, and the header's checksum made right. Who was known before version 3 is none who never sent. */
static int restore_version(struct buf *b, uint8_t version) {
    struct pattern_rules rules = pattern_rules_default();
    struct room after = {pattern_new(&rules, 5, NOON), arena_new(0), {.count = 0}, NOON};
    struct pattern_saved saved;
    b->at[8] = (char)version;
    uint32_t crc = crc32c(0, b->at, 28);
    for (unsigned i = 0; i < 4; i++)
        b->at[28 + i] = (char)(crc >> 8 * i & 0xff);
    int error = pattern_restore(after.p, buf_view(b), NOON, &saved);
    if (!error) {
        assert_false(saved.damaged);
        assert_int_equal(saved.subjects, version < 3 ? 0 : 2);
        assert_non_null(pattern_suspicion(after.p, PATTERN_USER, STR("bob@contoso.com"), NOON));
        send_one(&after, &(struct mail){.sender = "ann@contoso.com", .recipients = 1000});
        assert_int_equal(find(&after, PATTERN_USER, CAUSE_GROWTH) != NULL, version >= 3);
    }
    close_room(&after);
    return error;
}

static void test_versions(void **unused) {
    (void)unused;
    struct room r = new_room();
    struct buf b __attribute__((cleanup(buf_free))) = {0};
    live(&r, "bob@contoso.com", 3);
    send_some(&r, &(struct mail){.sender = "bob@contoso.com", .bad = true}, 50);
    save(&r, &b, 100);
    assert_int_equal(restore_version(&b, 1), 0);
    assert_int_equal(restore_version(&b, 2), 0);
    assert_int_equal(restore_version(&b, 3), 0);
    assert_int_equal(restore_version(&b, 4), SLUICE_EINVALID);
    assert_int_equal(restore_version(&b, 0), SLUICE_EINVALID);
    close_room(&r);
}

/* A clock that was ahead, by a year: what it wrote is left out. */
static void test_snapshot_of_the_future(void **unused) {
    (void)unused;
    struct room r = new_room(), after = new_room();
    struct buf b __attribute__((cleanup(buf_free))) = {0};
    struct pattern_saved saved;
    struct sender_counts counts;
    r.now = NOON + 365 * DAY;
    send_some(&r, &(struct mail){.sender = "bob@contoso.com"}, 1);
    save(&r, &b, 100);
    assert_int_equal(pattern_restore(after.p, buf_view(&b), NOON, &saved), 0);
    assert_false(pattern_counts(after.p, PATTERN_USER, STR("bob@contoso.com"), NOON, &counts));
    close_room(&r);
    close_room(&after);
}

static void test_eviction(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    rules.senders = 100;
    struct room r = {pattern_new(&rules, 5, NOON), arena_new(0), {.count = 0}, NOON};
    struct sender_counts counts;
    struct pattern_stats stats;
    for (unsigned i = 0; i < 1000; i++) {
        struct mail m = {.sender = str_c(r.arena, str_printf(r.arena, "u%u@contoso.com", i))};
        send_one(&r, &m);
        send_one(&r, &(struct mail){.sender = "bob@contoso.com"});
    }
    pattern_stats(r.p, &stats);
    assert_int_equal(stats.subjects, 100);
    assert_int_equal(stats.evicted, 1002 - 100);
    assert_true(pattern_counts(r.p, PATTERN_USER, STR("bob@contoso.com"), r.now, &counts));
    assert_int_equal(counts.mail, 1000);
    assert_true(pattern_counts(r.p, PATTERN_TENANT, STR("contoso"), r.now, &counts));
    assert_int_equal(counts.mail, 2000);
    assert_true(pattern_counts(r.p, PATTERN_USER, STR("u999@contoso.com"), r.now, &counts));
    assert_false(pattern_counts(r.p, PATTERN_USER, STR("u900@contoso.com"), r.now, &counts));
    close_room(&r);
}

/* A rogue server invents senders: those with a history keep it. */
static void test_flood(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    rules.senders = 160;
    struct room r = {pattern_new(&rules, 5, NOON), arena_new(0), {.count = 0}, NOON};
    struct sender_counts counts;
    for (unsigned round = 0; round < 2; round++, r.now += 2 * HOUR)
        for (unsigned i = 0; i < 100; i++)
            send_one(&r, &(struct mail){.sender = str_c(r.arena, str_printf(r.arena, "u%u@contoso.com", i))});
    for (unsigned i = 0; i < 5000; i++)
        send_one(&r, &(struct mail){.sender = str_c(r.arena, str_printf(r.arena, "x%u@contoso.com", i)),
                                    .connector = "contoso/c"});
    for (unsigned i = 0; i < 100; i++) {
        assert_true(
            pattern_counts(r.p, PATTERN_USER, str_printf(r.arena, "u%u@contoso.com", i), r.now, &counts));
        assert_int_equal(counts.mail, 2);
    }
    close_room(&r);
}

/* Several suspects of several kinds, each once. */
static void test_suspects(void **unused) {
    (void)unused;
    struct room r = new_room();
    for (unsigned i = 0; i < 40; i++) {
        struct mail m = {.connector = "contoso/c", .bad = true};
        m.sender = str_c(r.arena, str_printf(r.arena, "u%u@contoso.com", i));
        send_some(&r, &m, 10);
        r.found.count = 0;
    }
    struct pattern_suspect s;
    unsigned kinds[PATTERN_KINDS] = {0};
    for (size_t at = 0; pattern_next_suspect(r.p, &at, r.now, &s);)
        kinds[s.kind]++;
    assert_int_equal(kinds[PATTERN_USER], 40);
    assert_int_equal(kinds[PATTERN_CONNECTOR], 1);
    size_t at = 0;
    assert_false(pattern_next_suspect(r.p, &at, r.now + DAY, &s));
    close_room(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spam_share),
        cmocka_unit_test(test_share_falls),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_learning),
        cmocka_unit_test(test_connector),
        cmocka_unit_test(test_tenant),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_only_told),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_snapshot_of_the_future),
        cmocka_unit_test(test_next_day_is_new),
        cmocka_unit_test(test_tidy),
        cmocka_unit_test(test_yesterday_makes_room),
        cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_allowed_first),
        cmocka_unit_test(test_failing),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_suspects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
