/* Who may send: the state machine, its texts, its stored form, the book. */
#include "cmocka_setup.h"
#include "limits/sender_state.h"

#include <stdio.h>
#include <stdlib.h>

/* 2026-09-21T14:13:20Z */
#define NOON INT64_C(1790000000000)
#define HOUR INT64_C(3600000)
#define DAY INT64_C(86400000)
#define MIDNIGHT (NOON / DAY * DAY + DAY)

enum step_kind { EXCEED, RELEASE, ALLOW, LOOK };

static void test_machine(void **unused) {
    struct step {
        enum step_kind kind;
        int64_t at;
        enum sender_cause cause;
        enum limit_action action;
        int64_t until;
        int result; /* sender_change, or what release said */
        bool restricted;
        enum sender_cause now; /* of the restriction; NONE: not looked at */
    };
    static const struct {
        const char *what;
        struct step steps[8];
    } cases[] = {
        {"until the next UTC day",
         {{EXCEED, NOON, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT, .restricted = true},
          {EXCEED, NOON + 1, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_UNCHANGED,
           .restricted = true},
          {LOOK, MIDNIGHT - 1, .restricted = true},
          {LOOK, MIDNIGHT, .restricted = false},
          {RELEASE, MIDNIGHT, .result = false},
          {EXCEED, MIDNIGHT, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT,
           .restricted = true},
          {LOOK, MIDNIGHT + DAY, .restricted = false}}},
        {"for good",
         {{EXCEED, NOON, CAUSE_SPAM_SHARE, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true},
          {LOOK, NOON + 400 * DAY, .restricted = true},
          {RELEASE, NOON + 400 * DAY, .result = true, .restricted = false},
          {RELEASE, NOON + 400 * DAY, .result = false, .restricted = false}}},
        {"today, then for good",
         {{EXCEED, NOON, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT, .restricted = true},
          {EXCEED, NOON + 1, CAUSE_SPAM_SHARE, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true},
          {EXCEED, NOON + 2, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_UNCHANGED,
           .restricted = true},
          {LOOK, MIDNIGHT + DAY, .restricted = true}}},
        {"what detection finds, and an operator, is heavier than a limit",
         {{EXCEED, NOON, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true},
          {EXCEED, NOON + 1, CAUSE_SPAM_SHARE, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT,
           .restricted = true, .now = CAUSE_SPAM_SHARE},
          {EXCEED, NOON + 2, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_UNCHANGED, .restricted = true,
           .now = CAUSE_SPAM_SHARE},
          {LOOK, MIDNIGHT + DAY, .restricted = true}, /* the longer one stays */
          {EXCEED, MIDNIGHT + DAY, CAUSE_OPERATOR, LIMIT_RESTRICT, .result = SENDER_RESTRICT,
           .restricted = true, .now = CAUSE_OPERATOR},
          {EXCEED, MIDNIGHT + DAY, CAUSE_OPERATOR, LIMIT_RESTRICT, .result = SENDER_UNCHANGED,
           .restricted = true, .now = CAUSE_OPERATOR},
          {RELEASE, MIDNIGHT + DAY, .result = true}}},
        {"released, he is so for each cause of the day",
         {{EXCEED, NOON, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT, .restricted = true},
          {EXCEED, NOON + 1, CAUSE_SPAM_SHARE, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT,
           .restricted = true},
          {RELEASE, NOON + 2, .result = true},
          {EXCEED, NOON + 3, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_ALERT},
          {EXCEED, NOON + 3, CAUSE_SPAM_SHARE, LIMIT_RESTRICT, .result = SENDER_ALERT},
          {EXCEED, NOON + 3, CAUSE_REFUSALS, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true}}},
        {"a longer restriction for less keeps what is heavier",
         {{EXCEED, NOON, CAUSE_SPAM_SHARE, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT,
           .restricted = true},
          {EXCEED, NOON + 1, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true,
           .now = CAUSE_SPAM_SHARE},
          {LOOK, MIDNIGHT + DAY, .restricted = true}}},
        {"alert: once a day and cause",
         {{EXCEED, NOON, CAUSE_GROWTH, LIMIT_ALERT, .result = SENDER_ALERT},
          {EXCEED, NOON + 1, CAUSE_GROWTH, LIMIT_ALERT, .result = SENDER_UNCHANGED},
          {EXCEED, NOON + 1, CAUSE_NETWORK, LIMIT_ALERT, .result = SENDER_ALERT},
          {EXCEED, MIDNIGHT, CAUSE_GROWTH, LIMIT_ALERT, .result = SENDER_ALERT},
          {EXCEED, MIDNIGHT, CAUSE_NETWORK, LIMIT_ALERT, .result = SENDER_ALERT}}},
        {"released: not for the same cause that day, but for another, and the next day",
         {{EXCEED, NOON, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT, .restricted = true},
          {RELEASE, NOON + 1, .result = true, .restricted = false},
          {EXCEED, NOON + 2, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_ALERT, .restricted = false},
          {EXCEED, NOON + 3, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_UNCHANGED, .restricted = false},
          {EXCEED, NOON + 4, CAUSE_SPAM_SHARE, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true},
          {RELEASE, NOON + 5, .result = true, .restricted = false},
          {EXCEED, NOON + 6, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_UNCHANGED, .restricted = false},
          {EXCEED, MIDNIGHT, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true}}},
        {"allowed for a time",
         {{EXCEED, NOON, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_RESTRICT, .restricted = true},
          {ALLOW, NOON + 1, .until = NOON + 3 * DAY, .restricted = false},
          {EXCEED, NOON + 2 * DAY, CAUSE_GROWTH, LIMIT_RESTRICT, .result = SENDER_ALERT, .restricted = false},
          {EXCEED, NOON + 2 * DAY, CAUSE_OPERATOR, LIMIT_RESTRICT, .result = SENDER_RESTRICT,
           .restricted = true},
          {RELEASE, NOON + 2 * DAY + 1, .result = true, .restricted = false},
          {EXCEED, NOON + 2 * DAY + 2, CAUSE_GROWTH, LIMIT_RESTRICT, .result = SENDER_RESTRICT,
           .restricted = true}}},
        {"allowed for good, until no longer",
         {{ALLOW, NOON, .until = SENDER_ALWAYS},
          {EXCEED, NOON + 999 * DAY, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_ALERT},
          {ALLOW, NOON + 999 * DAY, .until = 0},
          {EXCEED, NOON + 999 * DAY, CAUSE_PER_DAY, LIMIT_RESTRICT, .result = SENDER_RESTRICT,
           .restricted = true}}},
        {"the clock goes back",
         {{EXCEED, NOON, CAUSE_PER_DAY, LIMIT_RESTRICT_TODAY, .result = SENDER_RESTRICT, .restricted = true},
          {LOOK, NOON - 10 * DAY, .restricted = true},
          {LOOK, MIDNIGHT - 1, .restricted = true},
          {LOOK, MIDNIGHT, .restricted = false}}},
    };
    (void)unused;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sender_state s = {0};
        for (size_t n = 0; n < COUNT(cases[i].steps) && cases[i].steps[n].at; n++) {
            const struct step *step = &cases[i].steps[n];
            const struct sender_event e = {step->cause, step->action, .reason = STR("why"), .now = step->at};
            int result = 0;
            if (step->kind == EXCEED)
                result = (int)sender_exceed(&s, &e);
            else if (step->kind == RELEASE)
                result = sender_release(&s, STR("root"), step->at);
            else if (step->kind == ALLOW)
                sender_allow(&s, step->until, STR("root"), step->at);
            struct outcome o;
            bool may = sender_may_send(&s, step->at, &o);
            if (result != step->result || may == step->restricted)
                fail_msg("%s, step %zu: %d, %s", cases[i].what, n, result, may ? "may send" : "may not send");
            assert_int_equal(sender_is_restricted(&s, step->at), step->restricted);
            if (step->now)
                assert_int_equal(s.cause, step->now);
            if (!may)
                assert_false(sender_is_blank(&s, step->at));
        }
    }
}

static void test_action(void **unused) {
    (void)unused;
    struct sender_state s = {.exempt = 1u << CAUSE_PER_DAY, .exempt_until = MIDNIGHT};
    assert_int_equal(sender_action(NULL, CAUSE_PER_DAY, LIMIT_RESTRICT, NOON), LIMIT_RESTRICT);
    assert_int_equal(sender_action(&s, CAUSE_PER_DAY, LIMIT_RESTRICT, NOON), LIMIT_ALERT);
    assert_int_equal(sender_action(&s, CAUSE_GROWTH, LIMIT_RESTRICT_TODAY, NOON), LIMIT_RESTRICT_TODAY);
    assert_int_equal(sender_action(&s, CAUSE_PER_DAY, LIMIT_RESTRICT, MIDNIGHT), LIMIT_RESTRICT);
    s.allowed_until = SENDER_ALWAYS;
    assert_int_equal(sender_action(&s, CAUSE_GROWTH, LIMIT_RESTRICT, NOON), LIMIT_ALERT);
    assert_int_equal(sender_action(&s, CAUSE_OPERATOR, LIMIT_RESTRICT, NOON), LIMIT_RESTRICT);
}

static void test_texts(void **unused) {
    static const struct {
        enum sender_kind kind;
        const char *reply;
    } cases[] = {
        {SENDER_USER, "550 5.1.8 Access denied, bad outbound sender"},
        {SENDER_CONNECTOR, "550 5.7.711 Access denied, bad inbound connector"},
        {SENDER_TENANT, "550 5.7.705 Access denied, tenant has exceeded threshold"},
    };
    (void)unused;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sender_state s = {
            .kind = cases[i].kind, .restriction = SENDER_RESTRICTED, .cause = CAUSE_GROWTH};
        struct outcome o;
        assert_false(sender_may_send(&s, NOON, &o));
        assert_string_equal(str_c(arena, outcome_line(arena, &o)), cases[i].reply);
        assert_int_equal(o.fate, OUTCOME_NEVER);
    }
    assert_true(sender_may_send(NULL, NOON, NULL));
    const struct sender_counts counts = {122, 128, 900, 5, 60, 7}, none = {0};
    assert_string_equal(str_c(arena, sender_counts_text(arena, &counts)),
                        "OutboundSpamLast24Hours=122;OutboundMailLast24Hours=128;OutboundSpamPercent=953;"
                        "OutboundRecipientsLast24Hours=900;UnknownRecipientsLast24Hours=5;"
                        "DestinationsLast24Hours=60;SpamRefusalsLast24Hours=7");
    assert_true(str_find(sender_counts_text(arena, &none), STR("SpamPercent=0;")) > 0);
    assert_string_equal(sender_cause_word(CAUSE_SPAM_SHARE), "spam-share");
    assert_non_null(sender_cause_text(CAUSE_REFUSALS));
    assert_null(sender_cause_word(12));
    /* A long reason is cut between characters. */
    char text[2 * SENDER_REASON];
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    struct sender_state s = {0};
    const struct sender_event e = {CAUSE_GROWTH, LIMIT_RESTRICT, .reason = str_from(text, sizeof text),
                                   .by = STR("root"), .now = NOON};
    assert_int_equal(sender_exceed(&s, &e), SENDER_RESTRICT);
    assert_int_equal(strlen(s.reason), SENDER_REASON - 2);
    assert_string_equal(s.by, "root");
    arena_free(arena);
}

static const struct sender_state full = {
    .kind = SENDER_CONNECTOR,
    .restriction = SENDER_RESTRICTED_TODAY,
    .cause = CAUSE_REFUSALS,
    .since = NOON,
    .until = MIDNIGHT,
    .counts = {1, 2, 3, 4, 5, 6},
    .reason = "receivers refuse its mail as spam: 6 of 20",
    .by = "root",
    .exempt = 0x15,
    .exempt_until = MIDNIGHT + 1,
    .alerted = 0x2a,
    .alerted_until = MIDNIGHT + 2,
    .allowed_until = SENDER_ALWAYS,
};

static void test_stored(void **unused) {
    (void)unused;
    struct buf b = {0};
    struct sender_state back;
    struct str name;
    sender_encode(&b, STR("bob@contoso.com"), &full);
    struct cursor c = cursor_of(buf_view(&b));
    assert_true(sender_decode(&c, &name, &back));
    assert_int_equal(c.left, 0);
    assert_true(str_eq(name, STR("bob@contoso.com")));
    assert_memory_equal(&back, &full, sizeof full);
    for (size_t len = 0; len < b.len; len++) {
        char *part = malloc(len + 1);
        memcpy(part, b.at, len);
        c = cursor_of(str_from(part, len));
        assert_false(sender_decode(&c, &name, &back));
        free(part);
    }
    /* Numbers that mean nothing. */
    static const struct {
        size_t at;
        char value;
    } bad[] = {{0, 3}, {1, 3}, {2, 12}, {2, 0}, {3, 1}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char was = b.at[bad[i].at];
        b.at[bad[i].at] = bad[i].value;
        c = cursor_of(buf_view(&b));
        assert_false(sender_decode(&c, &name, &back));
        b.at[bad[i].at] = was;
    }
    buf_free(&b);
}

static void test_book(void **unused) {
    (void)unused;
    struct sender_book *book = sender_book_new();
    struct str name;
    const struct sender_state *s;
    size_t at = 0;
    assert_false(sender_book_next(book, &at, &name, &s));
    for (unsigned i = 0; i < 300; i++) {
        char text[20];
        int len = snprintf(text, sizeof text, "u%u@a.example", i);
        sender_book_of(book, i % 3, str_from(text, (size_t)len))->allowed_until = NOON + i;
    }
    assert_non_null(sender_book_find(book, SENDER_USER, STR("U0@A.example")));
    assert_null(sender_book_find(book, SENDER_TENANT, STR("u0@a.example")));
    unsigned seen = 0;
    for (at = 0; sender_book_next(book, &at, &name, &s); seen++)
        assert_ptr_equal(sender_book_find(book, s->kind, name), s);
    assert_int_equal(seen, 300);
    sender_book_tidy(book, NOON + 150);
    for (at = 0, seen = 0; sender_book_next(book, &at, &name, &s); seen++)
        assert_true(s->allowed_until > NOON + 150);
    assert_int_equal(seen, 149);
    sender_book_put(book, STR("new"), &full, NOON);
    assert_int_equal(sender_book_find(book, SENDER_CONNECTOR, STR("new"))->cause, CAUSE_REFUSALS);
    const struct sender_state blank = {.kind = SENDER_CONNECTOR};
    sender_book_put(book, STR("new"), &blank, NOON);
    sender_book_put(book, STR("never"), &blank, NOON);
    assert_null(sender_book_find(book, SENDER_CONNECTOR, STR("new")));
    sender_book_free(book);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine), cmocka_unit_test(test_action), cmocka_unit_test(test_texts),
        cmocka_unit_test(test_stored),  cmocka_unit_test(test_book),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
