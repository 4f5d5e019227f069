/* Step 2 as one question: order of the checks, reservations, restrictions, what stays after a restart. */
#include "base/error.h"
#include "cmocka_setup.h"
#include "limits/limit_desk.h"
#include "spool/simdisk.h"
#include <stdio.h>

#define NOON INT64_C(1790000000000)
#define MINUTE INT64_C(60000)

static const struct sending_policy standard = {.name = {"standard", 8},
                                               .external_per_hour = 500,
                                               .internal_per_hour = 1000,
                                               .per_day = 1000,
                                               .action = LIMIT_RESTRICT_TODAY};

struct room {
    struct simdisk *disk;
    struct limit_desk *desk;
    struct arena *arena;
};

static void open_desk(struct room *r, uint32_t capacity, int64_t now) {
    struct str why;
    struct limit_journal_report report;
    const struct limit_desk_options options = {"/limits", simdisk_io(r->disk), capacity, now};
    assert_int_equal(limit_desk_open(&options, r->arena, &why, &report, &r->desk), 0);
    assert_int_equal(report.gaps + report.unusable, 0);
}

static struct room new_room(uint32_t capacity) {
    struct room r = {.disk = simdisk_new(), .arena = arena_new(0)};
    open_desk(&r, capacity, NOON);
    return r;
}

static void close_room(struct room *r) {
    limit_desk_close(r->desk);
    simdisk_free(r->disk);
    arena_free(r->arena);
}

static struct limit_question question(const char *sender, uint32_t external, int64_t now) {
    return (struct limit_question){
        .tenant = STR("contoso"),
        .connector = STR(""),
        .sender = str_of(sender),
        .rules = limit_rules_of(&standard, 0, 10000),
        .use = {external, 0},
        .now = now,
    };
}

/* The reply, "pass" or "hold"; what passes is committed. */
static const char *send_one(struct room *r, const struct limit_question *q, struct limit_answer *ret) {
    limit_desk_ask(r->desk, q, r->arena, ret);
    if (ret->ticket.open) {
        assert_int_equal(limit_desk_turn(r->desk, &ret->ticket, q->now), 0);
        limit_desk_settle(r->desk, &ret->ticket, q->now, true);
    }
    assert_true(ret->ticket.open == (ret->decision.step != LIMIT_REFUSE && !q->report));
    return ret->decision.step == LIMIT_PASS ? "pass"
           : ret->decision.step == LIMIT_HOLD
               ? "hold"
               : str_c(r->arena, outcome_line(r->arena, &ret->decision.refusal));
}

#define DENIED "550 5.1.8 Access denied, bad outbound sender"

static void test_restricted(void **unused) {
    (void)unused;
    struct room r = new_room(100);
    struct limit_answer a;
    struct limit_question q = question("bob@contoso.com", 400, NOON);
    assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_int_equal(a.decision.warned, 1 << LIMIT_EXTERNAL_PER_HOUR);
    q.use.external = 101;
    assert_string_equal(send_one(&r, &q, &a), DENIED);
    assert_int_equal(a.change, SENDER_RESTRICT);
    assert_int_equal(a.cause, CAUSE_EXTERNAL_PER_HOUR);
    /* From now on everything, mail inside too, and nobody is told again. */
    q.use = (struct limit_use){0, 1};
    assert_string_equal(send_one(&r, &q, &a), DENIED);
    assert_int_equal(a.change, SENDER_UNCHANGED);
    assert_int_equal(a.decision.limit, LIMIT_NAMES);
    assert_string_equal(
        str_c(r.arena, a.decision.reason),
        "bob@contoso.com is restricted since 2026-09-21T14:13:20.000Z: external recipients in an "
        "hour: 400 used, 101 more asked for, the limit is 500 (policy \"standard\")");
    struct limit_question other = question("ann@contoso.com", 1, NOON);
    assert_string_equal(send_one(&r, &other, &a), "pass");
    /* It survives a power loss, once the journal was written. */
    assert_int_equal(limit_store_flush(limit_desk_store(r.desk)), 0);
    limit_desk_close(r.desk);
    struct simdisk *after = simdisk_crash(r.disk, NULL, 1);
    simdisk_free(r.disk);
    r.disk = after;
    open_desk(&r, 100, NOON + MINUTE);
    q.now = NOON + MINUTE;
    assert_string_equal(send_one(&r, &q, &a), DENIED);
    /* Released: over the limit is still refused, but as one who isn't restricted. */
    assert_true(limit_desk_release(r.desk, SENDER_USER, q.sender, STR("root"), q.now));
    assert_false(limit_desk_release(r.desk, SENDER_USER, q.sender, STR("root"), q.now));
    assert_string_equal(send_one(&r, &q, &a), "pass");
    q.use = (struct limit_use){200, 0};
    assert_true(
        str_starts(str_of(send_one(&r, &q, &a)), STR("450 4.7.1 Sending limit: external recipients")));
    assert_int_equal(a.change, SENDER_ALERT);
    assert_string_equal(send_one(&r, &q, &a) + 4,
                        "4.7.1 Sending limit: external recipients in an hour: 400 used, 200 "
                        "more asked for, the limit is 500, try again later");
    assert_int_equal(a.change, SENDER_UNCHANGED);
    q.now = NOON + 61 * MINUTE;
    assert_string_equal(send_one(&r, &q, &a), "pass");
    close_room(&r);
}

static void test_order(void **unused) {
    (void)unused;
    struct room r = new_room(100);
    struct limit_answer a;
    struct limit_question q = question("connector/contoso/on-prem/bob@contoso.com", 1, NOON);
    const struct sender_event spam = {CAUSE_SPAM_SHARE, LIMIT_RESTRICT, {.spam = 9, .mail = 10},
                                      STR(""),          STR(""),        NOON};
    q.connector = STR("contoso/on-prem");
    assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_int_equal(limit_desk_exceed(r.desk, SENDER_USER, q.sender, &spam), SENDER_RESTRICT);
    assert_string_equal(send_one(&r, &q, &a), DENIED);
    limit_desk_exceed(r.desk, SENDER_CONNECTOR, q.connector, &spam);
    assert_string_equal(send_one(&r, &q, &a), "550 5.7.711 Access denied, bad inbound connector");
    limit_desk_exceed(r.desk, SENDER_TENANT, q.tenant, &spam);
    assert_string_equal(send_one(&r, &q, &a), "550 5.7.705 Access denied, tenant has exceeded threshold");
    assert_string_equal(str_c(r.arena, a.decision.reason),
                        "contoso is restricted since 2026-09-21T14:13:20.000Z: too much of its mail is spam");
    /* Reports of our own go out all the same, and count nowhere. */
    q.report = true;
    assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_false(a.ticket.open);
    close_room(&r);
}

/* A user who is called like a made reverse-path is restricted behind a server too. */
static void test_written(void **unused) {
    (void)unused;
    struct room r = new_room(100);
    struct limit_answer a;
    struct limit_question q = question("connector/contoso/on-prem/returns@contoso.com", 1, NOON);
    const struct sender_event spam = {CAUSE_SPAM_SHARE, LIMIT_RESTRICT, {.spam = 9, .mail = 10},
                                      STR(""),          STR(""),        NOON};
    limit_desk_exceed(r.desk, SENDER_USER, STR("returns-24@contoso.com"), &spam);
    q.mailbox = limit_sender_written(r.arena, q.sender, STR("Returns-24+x@contoso.com"));
    assert_string_equal(send_one(&r, &q, &a), DENIED);
    q.mailbox = limit_sender_written(r.arena, q.sender, STR("returns-25@contoso.com"));
    assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_int_equal(limit_sender_written(r.arena, q.sender, STR("returns+24@contoso.com")).len, 0);
    assert_int_equal(limit_sender_written(r.arena, STR("bob@contoso.com"), STR("ann@contoso.com")).len, 0);
    close_room(&r);
}

static void test_tenant(void **unused) {
    (void)unused;
    struct room r = new_room(100);
    struct limit_answer a;
    char sender[] = "a@contoso.com";
    for (unsigned i = 0; i < 20; i++, sender[0]++) {
        struct limit_question q = question(sender, 450, NOON);
        q.rules.tenant_external = 9000;
        assert_string_equal(send_one(&r, &q, &a), "pass");
    }
    struct limit_question q = question("z@contoso.com", 1, NOON);
    q.rules.tenant_external = 9000;
    assert_true(str_starts(str_of(send_one(&r, &q, &a)), STR("550 5.7.233 Tenant recipient limit: ")));
    assert_int_equal(a.change, SENDER_ALERT); /* nobody is restricted for it */
    assert_int_equal(a.kind, SENDER_TENANT);
    send_one(&r, &q, &a);
    assert_int_equal(a.change, SENDER_UNCHANGED);
    q.use = (struct limit_use){0, 5};
    assert_string_equal(send_one(&r, &q, &a), "pass");
    q.tenant = STR("fabrikam");
    q.use = (struct limit_use){1, 0};
    assert_string_equal(send_one(&r, &q, &a), "pass");
    close_room(&r);
}

/* Two sessions with 300 recipients each: one place for both. */
static void test_reserved(void **unused) {
    (void)unused;
    struct room r = new_room(100);
    struct limit_answer one, two, look;
    struct limit_question q = question("bob@contoso.com", 300, NOON);
    q.rules.action = LIMIT_ALERT;
    limit_desk_ask(r.desk, &q, r.arena, &one);
    assert_true(one.ticket.open);
    limit_desk_look(r.desk, &q, r.arena, &look);
    assert_int_equal(look.decision.step, LIMIT_REFUSE);
    assert_false(look.ticket.open);
    limit_desk_ask(r.desk, &q, r.arena, &two);
    assert_int_equal(two.decision.step, LIMIT_REFUSE);
    assert_int_equal(two.decision.used, 300);
    /* The disk refused the first: its recipients are free again, the tenant's too. */
    limit_desk_settle(r.desk, &one.ticket, NOON, false);
    limit_desk_look(r.desk, &q, r.arena, &look);
    assert_int_equal(look.decision.step, LIMIT_PASS);
    assert_int_equal(look.facts.tenant_used, 0);
    assert_string_equal(send_one(&r, &q, &two), "pass");
    limit_desk_look(r.desk, &q, r.arena, &look);
    assert_string_equal(str_c(r.arena, limit_standing_text(r.arena, &look.facts, LIMIT_EXTERNAL_PER_HOUR)),
                        "300 of 500 external recipients in an hour");
    assert_int_equal(look.facts.tenant_used, 300);
    close_room(&r);
}

static void test_hold(void **unused) {
    (void)unused;
    struct room r = new_room(100);
    struct limit_answer a;
    struct limit_question q = question("bob@contoso.com", 1, NOON);
    for (unsigned i = 0; i < 30; i++)
        assert_string_equal(send_one(&r, &q, &a), "pass");
    for (unsigned i = 0; i < 31; i++) {
        assert_string_equal(send_one(&r, &q, &a), "hold");
        assert_int_equal(a.decision.hold_until, NOON + (1 + i / 30) * (MINUTE + 500));
        assert_int_equal(a.decision.hold_until, a.ticket.turn);
    }
    /* The turns are kept over a restart. */
    assert_int_equal(limit_store_flush(limit_desk_store(r.desk)), 0);
    limit_desk_close(r.desk);
    open_desk(&r, 100, NOON + 1000);
    q.now = NOON + 1000;
    assert_string_equal(send_one(&r, &q, &a), "hold");
    assert_int_equal(a.decision.hold_until, NOON + 2 * (MINUTE + 500));
    close_room(&r);
}

/* What is refused after all (a virus, a DNS that doesn't answer) takes no turn from what is sent. */
static void test_refused_takes_no_turn(void **unused) {
    (void)unused;
    struct room r = new_room(100);
    struct limit_answer a;
    struct limit_question q = question("bob@contoso.com", 1, NOON);
    for (unsigned i = 0; i < 3000; i++) {
        limit_desk_ask(r.desk, &q, r.arena, &a);
        assert_int_equal(a.decision.step, LIMIT_PASS);
        limit_desk_settle(r.desk, &a.ticket, NOON, false);
    }
    assert_string_equal(send_one(&r, &q, &a), "pass");
    /* Two that were asked about at the same time for one place: the second waits. */
    struct limit_answer both[31];
    q.sender = STR("ann@contoso.com");
    for (unsigned i = 0; i < 31; i++)
        limit_desk_ask(r.desk, &q, r.arena, &both[i]);
    for (unsigned i = 0; i < 31; i++) {
        assert_int_equal(limit_desk_turn(r.desk, &both[i].ticket, NOON), 0);
        assert_int_equal(both[i].ticket.turn, i < 30 ? NOON : NOON + MINUTE + 500);
        limit_desk_settle(r.desk, &both[i].ticket, NOON, true);
    }
    close_room(&r);
}

/* Names behind a connector can be invented; of so many it is remembered that they went over a limit. */
static void test_book_has_an_end(void **unused) {
    (void)unused;
    struct room r = new_room(10);
    struct sender_event e = {CAUSE_EXTERNAL_PER_HOUR, LIMIT_RESTRICT, .reason = STR("over"), .now = NOON};
    char name[64];
    for (unsigned i = 0; i < LIMIT_DESK_PATHS_MOST; i++) {
        snprintf(name, sizeof name, "connector/c/p/x%u@contoso.com", i);
        assert_int_equal(limit_desk_exceed(r.desk, SENDER_USER, str_of(name), &e), SENDER_RESTRICT);
    }
    struct str one_more = STR("connector/c/p/more@contoso.com");
    assert_int_equal(limit_desk_exceed(r.desk, SENDER_USER, one_more, &e), SENDER_UNCHANGED);
    assert_null(sender_book_find(limit_desk_book(r.desk), SENDER_USER, one_more));
    assert_int_equal(limit_desk_exceed(r.desk, SENDER_USER, STR("bob@contoso.com"), &e), SENDER_RESTRICT);
    assert_int_equal(limit_desk_exceed(r.desk, SENDER_CONNECTOR, STR("c/p"), &e), SENDER_RESTRICT);
    e.cause = CAUSE_OPERATOR;
    assert_int_equal(limit_desk_exceed(r.desk, SENDER_USER, one_more, &e), SENDER_RESTRICT);
    /* Over its limit it is refused all the same. */
    struct limit_answer a;
    struct limit_question q = question("connector/c/p/yet@contoso.com", 501, NOON);
    q.rules.per_message = 1000;
    for (int i = 0; i < 2; i++) {
        assert_string_equal(send_one(&r, &q, &a), DENIED);
        assert_int_equal(a.change, SENDER_UNCHANGED);
    }
    close_room(&r);
}

static void test_full(void **unused) {
    (void)unused;
    struct room r = new_room(1);
    struct limit_answer a;
    struct limit_question one = question("a@contoso.com", 1, NOON), two = question("b@contoso.com", 1, NOON);
    assert_string_equal(send_one(&r, &one, &a), "pass");
    assert_true(str_starts(str_of(send_one(&r, &two, &a)), STR("451 4.3.2 ")));
    assert_int_equal(a.change, SENDER_UNCHANGED);
    close_room(&r);
}

/* Who invents senders behind a connector, or at the local socket, takes no place of those who log in. */
static void flood(struct str connector, const char *before) {
    enum { PLACES = 40 };
    struct room r = new_room(PLACES);
    struct limit_answer a;
    char name[64];
    for (int i = 0; i < 3 * PLACES; i++) {
        snprintf(name, sizeof name, "%sx%d@contoso.com", before, i);
        struct limit_question q = question(name, 1, NOON);
        q.connector = connector;
        const char *said = send_one(&r, &q, &a);
        if (i < PLACES * 3 / 4)
            assert_string_equal(said, "pass");
        else
            assert_true(str_starts(str_of(said), STR("451 4.3.2 ")));
    }
    snprintf(name, sizeof name, "%sx1@contoso.com", before);
    struct limit_question known = question(name, 1, NOON);
    known.connector = connector;
    assert_string_equal(send_one(&r, &known, &a), "pass");
    for (int i = 0; i < PLACES / 4; i++) {
        snprintf(name, sizeof name, "user%d@contoso.com", i);
        struct limit_question q = question(name, 1, NOON);
        assert_string_equal(send_one(&r, &q, &a), "pass");
    }
    close_room(&r);
}

static void test_flood(void **unused) {
    (void)unused;
    flood(STR("contoso/on-prem"), "connector/contoso/on-prem/");
    flood(STR(""), "local/contoso/");
}

static void test_allowed(void **unused) {
    (void)unused;
    struct room r = new_room(10);
    struct limit_answer a;
    struct limit_question q = question("bob@contoso.com", 400, NOON);
    limit_desk_allow(r.desk, SENDER_USER, q.sender, NOON + 90 * MINUTE, STR("root"), NOON);
    assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_true(str_starts(str_of(send_one(&r, &q, &a)), STR("450 ")));
    limit_desk_tidy(r.desk, NOON + 80 * MINUTE);
    assert_non_null(sender_book_find(limit_desk_book(r.desk), SENDER_USER, q.sender));
    q.now = NOON + 91 * MINUTE;
    q.use.external = 700 - 400; /* the day's 1000 is not reached, the hour's 500 is */
    assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_string_equal(send_one(&r, &q, &a), DENIED);
    struct limit_table_stats stats;
    limit_desk_stats(r.desk, &stats);
    assert_int_equal(stats.senders, 1);
    close_room(&r);
}

/* Mail from outside for a forward, of a connector without limits: the tenant's limit, and who is restricted.
 */
static void test_tenant_only(void **unused) {
    (void)unused;
    struct room r = new_room(1);
    struct limit_answer a;
    struct limit_question q = question("connector/contoso/bulk/news@contoso.com", 600, NOON);
    q.tenant_only = true;
    for (unsigned i = 0; i < 16; i++) /* over 500 an hour, over 500 in one message, and without a turn */
        assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_true(str_starts(str_of(send_one(&r, &q, &a)), STR("550 5.7.233 ")));
    assert_int_equal(a.kind, SENDER_TENANT);
    struct limit_table_stats stats;
    limit_desk_stats(r.desk, &stats);
    assert_int_equal(stats.senders, 0);
    q.use.external = 1;
    const struct sender_event spam = {CAUSE_SPAM_SHARE, LIMIT_RESTRICT, {0}, STR(""), STR(""), NOON};
    limit_desk_exceed(r.desk, SENDER_USER, q.sender, &spam);
    assert_string_equal(send_one(&r, &q, &a), DENIED);
    close_room(&r);
}

/* The spool refused what the journal took: it isn't held against anybody. */
static void test_undone(void **unused) {
    (void)unused;
    struct room r = new_room(10);
    struct limit_answer a, look;
    struct limit_question q = question("bob@contoso.com", 400, NOON);
    q.rules.action = LIMIT_ALERT;
    limit_desk_ask(r.desk, &q, r.arena, &a);
    limit_desk_settle(r.desk, &a.ticket, NOON, true);
    limit_desk_look(r.desk, &q, r.arena, &look);
    assert_int_equal(look.decision.step, LIMIT_REFUSE);
    limit_desk_undo(r.desk, &a.ticket, NOON);
    limit_desk_look(r.desk, &q, r.arena, &look);
    assert_int_equal(look.decision.step, LIMIT_PASS);
    assert_int_equal(look.facts.sender.used[LIMIT_RECIPIENTS_DAY], 0);
    assert_int_equal(look.facts.sender.used[LIMIT_EXTERNAL_HOUR], 0);
    assert_int_equal(look.facts.tenant_used, 0);
    struct limit_question other = question("ann@contoso.com", 400, NOON);
    assert_string_equal(send_one(&r, &other, &a), "pass");
    limit_desk_look(r.desk, &other, r.arena, &look);
    assert_int_equal(look.facts.sender.used[LIMIT_RECIPIENTS_DAY], 400);
    /* What has left a window by itself isn't taken off it again; and at most so many are remembered. */
    assert_string_equal(send_one(&r, &q, &a), "pass");
    q.now = NOON + 61 * MINUTE;
    limit_desk_look(r.desk, &q, r.arena, &look);
    assert_int_equal(look.facts.sender.used[LIMIT_EXTERNAL_HOUR], 0);
    assert_int_equal(look.facts.sender.used[LIMIT_RECIPIENTS_DAY], 400);
    for (unsigned i = 0; i < 2000; i++)
        limit_desk_undo(r.desk, &a.ticket, q.now);
    q.now += 1500 * MINUTE;
    limit_desk_tidy(r.desk, q.now);
    assert_string_equal(send_one(&r, &q, &a), "pass");
    limit_desk_look(r.desk, &q, r.arena, &look);
    assert_int_equal(look.facts.sender.used[LIMIT_RECIPIENTS_DAY], 400);
    close_room(&r);
}

/* A look at what a daemon left: the same answers, and nothing changes. */
static void test_read_only(void **unused) {
    (void)unused;
    struct room r = new_room(10);
    struct limit_answer a;
    struct limit_question q = question("bob@contoso.com", 400, NOON);
    struct limit_journal_report report;
    struct str why;
    struct limit_desk *look;
    const struct limit_desk_options options = {
        .dir = "/limits", .io = simdisk_io(r.disk), .capacity = 10, .now = NOON, .read_only = true};
    assert_string_equal(send_one(&r, &q, &a), "pass");
    assert_int_equal(limit_store_flush(limit_desk_store(r.desk)), 0);
    assert_int_equal(limit_desk_open(&options, r.arena, &why, &report, &look), SLUICE_EBUSY);
    limit_desk_close(r.desk);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(limit_desk_open(&options, r.arena, &why, &report, &look), 0);
        limit_desk_look(look, &q, r.arena, &a);
        assert_int_equal(a.facts.sender.used[LIMIT_RECIPIENTS_DAY], 400);
        limit_desk_close(look);
    }
    open_desk(&r, 10, NOON);
    close_room(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restricted),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_tenant),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_refused_takes_no_turn),
        cmocka_unit_test(test_book_has_an_end),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_tenant_only),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
