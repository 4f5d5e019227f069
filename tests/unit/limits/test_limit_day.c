/* A day of 20,000 senders in virtual time: one account is hacked, one writes to many as it may, the power
 * fails twice. */
#include "limit_model.h"
#include "limits/limit_desk.h"
#include "spool/simdisk.h"

#include <stdio.h>

#define MIDNIGHT INT64_C(1789948800000) /* 2026-09-21 */
#define MINUTE INT64_C(60000)
enum { SENDERS = 20000, TENANTS = 50 };

struct day {
    struct simdisk *disk;
    struct limit_desk *desk;
    struct arena *arena;
    uint64_t chance;
    unsigned refused_innocent, passed, warned;
    uint32_t hacked_passed;
    int64_t hacked_from, restricted_at;
};

static void open_desk(struct day *d, int64_t now) {
    struct str why;
    struct limit_journal_report report;
    const struct limit_desk_options options = {"/limits", simdisk_io(d->disk), SENDERS + 10, now};
    assert_int_equal(limit_desk_open(&options, d->arena, &why, &report, &d->desk), 0);
}

static void power_loss(struct day *d, int64_t now) {
    struct simdisk *after = simdisk_crash(d->disk, NULL, d->chance);
    limit_desk_close(d->desk);
    simdisk_free(d->disk);
    d->disk = after;
    open_desk(d, now);
}

static struct limit_answer send_one(struct day *d, const char *sender, unsigned tenant, uint32_t external,
                                    int64_t now) {
    static const struct sending_policy standard = {
        .external_per_hour = 500, .internal_per_hour = 1000, .per_day = 1000, .action = LIMIT_RESTRICT_TODAY};
    struct limit_question q = {
        .tenant = str_printf(d->arena, "tenant%u", tenant),
        .connector = STR(""),
        .sender = str_of(sender),
        .rules = limit_rules_of(&standard, 0, limit_tenant_external(400, 1000)),
        .use = {external, 1},
        .now = now,
    };
    struct limit_answer a;
    limit_desk_ask(d->desk, &q, d->arena, &a);
    if (a.ticket.open) {
        assert_int_equal(limit_desk_turn(d->desk, &a.ticket, now), 0);
        limit_desk_settle(d->desk, &a.ticket, now, true);
    }
    d->passed += a.ticket.open;
    d->warned += a.decision.warned != 0;
    return a;
}

static void innocents(struct day *d, int64_t now) {
    for (unsigned i = 0; i < 60; i++) {
        char sender[40];
        uint64_t who = chance(&d->chance, SENDERS);
        snprintf(sender, sizeof sender, "user%llu@tenant%llu.example", (unsigned long long)who,
                 (unsigned long long)(who % TENANTS));
        struct limit_answer a =
            send_one(d, sender, (unsigned)(who % TENANTS), 1 + (uint32_t)chance(&d->chance, 4), now);
        d->refused_innocent += a.decision.step == LIMIT_REFUSE;
    }
}

/* 30 messages a minute to 20 strangers each. */
static void hacked(struct day *d, int64_t now) {
    for (unsigned i = 0; i < 30; i++) {
        struct limit_answer a = send_one(d, "eve@tenant7.example", 7, 20, now + i * 2000);
        if (a.ticket.open)
            d->hacked_passed += 20;
        if (a.change == SENDER_RESTRICT && !d->restricted_at)
            d->restricted_at = now + i * 2000;
    }
}

static void test_day(void **unused) {
    (void)unused;
    struct day d = {.disk = simdisk_new(), .arena = arena_new(0), .chance = 4};
    d.hacked_from = MIDNIGHT + 9 * 60 * MINUTE;
    open_desk(&d, MIDNIGHT);
    for (int64_t minute = 0; minute < 24 * 60; minute++) {
        int64_t now = MIDNIGHT + minute * MINUTE;
        innocents(&d, now);
        if (now >= d.hacked_from)
            hacked(&d, now);
        if (minute >= 600 && minute < 622) /* the newsletter of 440, within the limit, goes at its own pace */
            d.refused_innocent +=
                send_one(&d, "news@tenant3.example", 3, 20, now).decision.step == LIMIT_REFUSE;
        assert_int_equal(limit_store_flush(limit_desk_store(d.desk)), 0);
        if (minute == 545 || minute == 1100)
            power_loss(&d, now);
        arena_reset(d.arena);
    }
    assert_int_equal(d.refused_innocent, 0);
    assert_int_equal(d.hacked_passed, 500);
    assert_in_range(d.restricted_at - d.hacked_from, 1, MINUTE);
    assert_true(d.warned >= 2); /* of eve's, of news's */
    /* Nobody but eve; and the next UTC day she may again. */
    const struct sender_state *s;
    struct str name;
    unsigned count = 0;
    int64_t last = MIDNIGHT + 24 * 60 * MINUTE - 1;
    for (size_t at = 0; sender_book_next(limit_desk_book(d.desk), &at, &name, &s);)
        if (sender_is_restricted(s, last)) {
            assert_true(str_eq(name, STR("eve@tenant7.example")));
            assert_int_equal(s->since, d.restricted_at);
            count++;
        }
    assert_int_equal(count, 1);
    assert_int_equal(send_one(&d, "eve@tenant7.example", 7, 20, last).decision.step, LIMIT_REFUSE);
    assert_int_equal(send_one(&d, "eve@tenant7.example", 7, 20, last + 1).decision.step, LIMIT_PASS);
    struct limit_store_stats stats;
    limit_store_stats(limit_desk_store(d.desk), &stats);
    print_message("%u messages; eve: %u recipients, restricted after %lld s; journal %llu KiB\n", d.passed,
                  d.hacked_passed, (long long)(d.restricted_at - d.hacked_from) / 1000,
                  (unsigned long long)stats.bytes / 1024);
    limit_desk_close(d.desk);
    simdisk_free(d.disk);
    arena_free(d.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_day)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
