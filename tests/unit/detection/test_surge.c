/* Surges of reports: each cause by its signs, what is none, and when one is over. */
#include "base/crc32c.h"
#include "cmocka_setup.h"
#include "detection/surge.h"

#include <stdio.h>

#define START INT64_C(1790000400000) /* the start of ten minutes */
#define MINUTE INT64_C(60000)

/* In turn 0 to `count`: who fails or what comes in, as the case says. */
struct surge_case {
    const char *name;
    unsigned count;
    enum { INCOMING_UNSENT, INCOMING_SENT, FAILED } what;
    unsigned senders, connectors, hosts; /* how many different ones; 0: none given */
    unsigned unknown, spam, bad;         /* of ten */
    unsigned well;                       /* per mille of its recipients that don't fail */
    unsigned sent; /* to so many recipients in a day, by the address that reports come to */
    bool one_address;
    const char *cause, *subject; /* NULL: no surge */
};

static const struct surge_case cases[] = {
    {"a mailing to a good list", 90, FAILED, 1, .hosts = 1, .unknown = 9, .well = 960, .cause = NULL},
    {"few", 49, INCOMING_UNSENT, .cause = NULL},
    {"forged", 60, INCOMING_UNSENT, .cause = "spoofing", .subject = "contoso.com"},
    {"forged, in the name of one who sends", 60, INCOMING_UNSENT, .sent = 9, .one_address = true,
     .cause = "spoofing", .subject = "contoso.com"},
    {"an own mailing's bounces come back", 60, INCOMING_SENT, .cause = "mixed", .subject = ""},
    {"one sender guesses", 60, FAILED, 1, .hosts = 1, .unknown = 9, .cause = "harvest",
     .subject = "user0@contoso.com"},
    {"one sender behind a connector guesses", 60, FAILED, 1, .connectors = 1, .unknown = 9,
     .cause = "harvest", .subject = "user0@contoso.com"},
    {"one sender's spam is refused", 60, FAILED, 1, .hosts = 1, .unknown = 2, .spam = 7, .cause = "spam",
     .subject = "user0@contoso.com"},
    {"judged spam, of many, from everywhere", 60, FAILED, 60, .hosts = 60, .unknown = 9, .bad = 8,
     .cause = "spam", .subject = ""},
    {"a server with many senders", 60, FAILED, 60, .connectors = 1, .unknown = 5, .bad = 9, .cause = "server",
     .subject = "contoso/connector0"},
    {"a host with many users", 60, FAILED, 30, .hosts = 1, .unknown = 9, .cause = "server",
     .subject = "192.0.2.0"},
    {"many senders, many hosts, old lists", 60, FAILED, 60, .hosts = 60, .unknown = 9, .cause = "mixed",
     .subject = ""},
};

static bool one_event(struct surge *s, const struct surge_case *c, unsigned i, int64_t now,
                      struct arena *arena, struct surge_alert *ret) {
    struct surge_event e = {
        .tenant = STR("contoso"),
        .incoming = c->what != FAILED,
        .sent = c->what == INCOMING_SENT ? 1000 : c->sent,
        .domain = STR("contoso.com"),
        .kind = i % 10 < c->unknown             ? REPLY_UNKNOWN
                : i % 10 < c->unknown + c->spam ? REPLY_SPAM
                                                : REPLY_OTHER,
        .bad = i % 10 < c->bad,
        .failing = 1000 - c->well,
        .trace_id = STR("01TRACE"),
        .recipient = str_printf(arena, "rcpt%u@example.net", c->one_address ? 49 : i),
        .reply = STR("550 5.1.1 no"),
        .now = now,
    };
    if (c->what == FAILED && c->senders)
        e.sender = str_printf(arena, "user%u@contoso.com", i % c->senders);
    if (c->connectors)
        e.connector = str_printf(arena, "contoso/connector%u", i % c->connectors);
    if (c->hosts)
        e.host = str_printf(arena, "192.0.2.%u", i % c->hosts);
    return surge_event(s, &e, arena, ret);
}

static void test_causes(void **unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct surge_case *c = &cases[i];
        struct pattern_rules rules = pattern_rules_default();
        struct surge *s = surge_new(&rules);
        struct arena *arena = arena_new(0);
        struct surge_alert alert = {0};
        unsigned told = 0;
        for (unsigned n = 0; n < c->count; n++)
            told += one_event(s, c, n, START + n * MINUTE / 4, arena, &alert);
        if (told != (c->cause ? 1 : 0))
            fail_msg("%s: told %u times", c->name, told);
        if (c->cause) {
            assert_string_equal(surge_cause_word(alert.cause), c->cause);
            assert_string_equal(str_c(arena, alert.subject), c->subject);
            assert_true(str_find(alert.samples, STR("01TRACE <rcpt49@example.net>: 550 5.1.1 no")) >= 0);
            assert_true(alert.advice.len > 20);
            assert_true(str_starts(alert.text, STR("50 reports of failed delivery in half an hour")));
        }
        surge_free(s);
        arena_free(arena);
    }
}

static unsigned ended(struct surge *s, int64_t now, struct arena *arena) {
    struct surge_alert alert;
    unsigned count = 0;
    for (size_t at = 0; surge_next_over(s, &at, now, arena, &alert);)
        count += alert.over;
    return count;
}

/* Told once, told again when it turns out to be another one, over when it is. */
static void test_course(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct surge *s = surge_new(&rules);
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    unsigned told = 0;
    for (unsigned n = 0; n < 100; n++)
        told += one_event(s, &cases[2], n, START + n * 1000, arena, &alert);
    assert_int_equal(told, 1);
    assert_int_equal(ended(s, START + 2 * MINUTE, arena), 0);
    for (unsigned n = 0; n < 300; n++)
        told += one_event(s, &cases[5], n, START + 2 * MINUTE + n * 1000, arena, &alert);
    assert_int_equal(told, 2);
    assert_int_equal(alert.cause, SURGE_HARVEST);
    assert_int_equal(ended(s, START + 10 * MINUTE, arena), 0);
    assert_int_equal(ended(s, START + 40 * MINUTE, arena), 1);
    assert_int_equal(ended(s, START + 40 * MINUTE, arena), 0);
    surge_free(s);
    arena_free(arena);
}

/* What a tenant has every day is usual in the end, and stays so over a restart; five times that is not. */
static void test_usual(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct surge *s = surge_new(&rules), *after = surge_new(&rules);
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    struct buf saved __attribute__((cleanup(buf_free))) = {0};
    unsigned told = 0, i = 0;
    size_t damage;
    int64_t now = START;
    for (; now < START + 6 * 24 * 60 * MINUTE; now += MINUTE) {
        unsigned before = told;
        for (unsigned n = 0; n < 3; n++) /* 90 in half an hour */
            told += one_event(s, &cases[11], i++, now, arena, &alert);
        if (now > START + 4 * 24 * 60 * MINUTE)
            assert_int_equal(told, before);
        ended(s, now, arena);
        arena_reset(arena);
    }
    assert_in_range(told, 1, 2);
    surge_save(s, &saved);
    assert_true(surge_restore(after, buf_view(&saved), now, &damage));
    for (unsigned n = 0; n < 200; n++)
        assert_false(one_event(after, &cases[11], n, now + n * 1000, arena, &alert));
    told = 0;
    for (unsigned n = 0; n < 400; n++)
        told += one_event(after, &cases[5], n, now + 300000 + n * 1000, arena, &alert);
    assert_in_range(told, 1, 2);
    surge_free(s);
    surge_free(after);
    arena_free(arena);
}

static void save(const struct surge *s, struct buf *b) {
    buf_clear(b);
    surge_save(s, b);
}

/* A restart in the middle: what was counted before it counts, the samples are there, what was told isn't told
 * again, and its end is. */
static void test_restart(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct surge *s = surge_new(&rules);
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    struct buf b __attribute__((cleanup(buf_free))) = {0};
    size_t damage;
    unsigned told = 0;
    for (unsigned n = 0; n < 120; n++) {
        told += one_event(s, &cases[5], n, START + n * MINUTE / 12, arena, &alert);
        save(s, &b);
        surge_free(s);
        s = surge_new(&rules);
        assert_true(surge_restore(s, buf_view(&b), START + n * MINUTE / 12, &damage));
        assert_int_equal(told, n >= 49);
    }
    assert_string_equal(surge_cause_word(alert.cause), "harvest");
    assert_string_equal(str_c(arena, alert.subject), "user0@contoso.com");
    assert_true(str_find(alert.samples, STR("<rcpt44@example.net>")) >= 0);
    assert_int_equal(ended(s, START + 12 * MINUTE, arena), 0);
    assert_int_equal(ended(s, START + 50 * MINUTE, arena), 1);
    surge_free(s);
    arena_free(arena);
}

/* After hours the windows are empty, and what is usual is known. A clock that was ahead is not believed. */
static void test_restart_later(void **unused) {
    (void)unused;
    static const int64_t later[] = {3 * 60 * MINUTE, -48 * 60 * MINUTE};
    struct pattern_rules rules = pattern_rules_default();
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(later); i++) {
        struct surge *s = surge_new(&rules), *after = surge_new(&rules);
        struct buf b __attribute__((cleanup(buf_free))) = {0};
        struct surge_alert alert;
        size_t damage;
        for (unsigned n = 0; n < 49; n++)
            assert_false(one_event(s, &cases[5], n, START, arena, &alert));
        save(s, &b);
        assert_true(surge_restore(after, buf_view(&b), START + later[i], &damage));
        for (unsigned n = 0; n < 49; n++)
            assert_false(one_event(after, &cases[5], n, START + later[i], arena, &alert));
        assert_true(one_event(after, &cases[5], 0, START + later[i], arena, &alert));
        surge_free(s);
        surge_free(after);
    }
    arena_free(arena);
}

/* Damage anywhere is told with its offset, and what stands before it is taken. */
static void test_damage(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct surge *s = surge_new(&rules);
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    struct buf b __attribute__((cleanup(buf_free))) = {0};
    size_t damage;
    for (unsigned n = 0; n < 3; n++)
        one_event(s, &cases[n + 4], n, START, arena, &alert);
    save(s, &b);
    for (size_t at = 0; at < b.len; at += 3) {
        struct surge *after = surge_new(&rules);
        b.at[at] ^= 0x10;
        assert_false(surge_restore(after, buf_view(&b), START, &damage));
        assert_true(damage <= at);
        assert_true(at < 8 ? damage == 0 : damage >= 8);
        b.at[at] ^= 0x10;
        assert_false(surge_restore(after, str_head(buf_view(&b), at), START, &damage));
        surge_free(after);
    }
    surge_free(s);
    arena_free(arena);
}

/* What an earlier version wrote: what is usual, without windows. */
static void test_before(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct surge *s = surge_new(&rules);
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    struct buf b __attribute__((cleanup(buf_free))) = {0};
    size_t damage;
    buf_str(&b, STR("SLSURGES"));
    buf_u32(&b, 1);
    buf_u16(&b, 7);
    buf_str(&b, STR("contoso"));
    buf_u32(&b, 16 * 90);
    buf_u32(&b, crc32c(0, b.at, b.len));
    assert_true(surge_restore(s, buf_view(&b), START, &damage));
    for (unsigned n = 0; n < 400; n++)
        assert_false(one_event(s, &cases[5], n, START, arena, &alert));
    b.at[14] ^= 1;
    assert_false(surge_restore(s, buf_view(&b), START, &damage));
    assert_false(surge_restore(s, STR("SLSURGES"), START, &damage));
    assert_false(surge_restore(s, STR(""), START, &damage));
    surge_free(s);
    arena_free(arena);
}

/* A clock that was a year ahead for a while: the windows are those of now. */
static void test_clock_goes_back(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct surge *s = surge_new(&rules);
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    one_event(s, &cases[5], 0, START + 365 * 24 * 60 * MINUTE, arena, &alert);
    for (unsigned n = 0; n < 200; n++) /* one in two minutes: never 50 in half an hour */
        assert_false(one_event(s, &cases[5], n, START + n * 2 * MINUTE, arena, &alert));
    surge_free(s);
    arena_free(arena);
}

/* Any number of tenants. */
static void test_bounded(void **unused) {
    (void)unused;
    struct pattern_rules rules = pattern_rules_default();
    struct surge *s = surge_new(&rules);
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    for (unsigned n = 0; n < SURGE_TENANTS + 500; n++) {
        struct surge_event e = {
            .tenant = str_printf(arena, "tenant%u", n), .incoming = true, .now = START + n};
        assert_false(surge_event(s, &e, arena, &alert));
    }
    surge_free(s);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_causes),        cmocka_unit_test(test_course),
        cmocka_unit_test(test_usual),         cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_later), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_before),        cmocka_unit_test(test_clock_goes_back),
        cmocka_unit_test(test_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
