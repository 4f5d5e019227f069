#include "alert/book.h"
#include "cmocka_setup.h"
#include <stdio.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define START INT64_C(1795348800000)

/* What happens at a time, and what is said of it. */
struct step {
    int64_t at;
    enum { RAISE, OVER, DUE } what;
    enum alert_kind kind;
    const char *subject;
    enum book_say say; /* DUE: AGAIN, or NOTHING */
    uint64_t unsaid;   /* with FIRST, AGAIN; the default 0 is not looked at */
};

#define LISTED ALERT_SOURCE_LISTED /* lasts */
#define NEAR ALERT_LIMIT_NEAR      /* an event */

static const struct {
    const char *name;
    struct step steps[16];
} stories[] = {
    {"told once in its quiet time, then with the number, in doubling distances",
     {{0, RAISE, LISTED, "192.0.2.1", BOOK_FIRST, 1},
      {MINUTE, RAISE, LISTED, "192.0.2.1", BOOK_QUIET},
      {HOUR - 1, RAISE, LISTED, "192.0.2.1", BOOK_QUIET},
      {HOUR, RAISE, LISTED, "192.0.2.1", BOOK_AGAIN, 3},
      {3 * HOUR - 1, RAISE, LISTED, "192.0.2.1", BOOK_QUIET},
      {3 * HOUR, RAISE, LISTED, "192.0.2.1", BOOK_AGAIN, 2},
      {7 * HOUR - 1, RAISE, LISTED, "192.0.2.1", BOOK_QUIET},
      {7 * HOUR, RAISE, LISTED, "192.0.2.1", BOOK_AGAIN, 2}}},
    {"the distance is a day at most",
     {{0, RAISE, LISTED, "a", BOOK_FIRST},
      {1 * DAY, RAISE, LISTED, "a", BOOK_AGAIN},
      {2 * DAY, RAISE, LISTED, "a", BOOK_AGAIN},
      {3 * DAY, RAISE, LISTED, "a", BOOK_AGAIN},
      {4 * DAY, RAISE, LISTED, "a", BOOK_AGAIN},
      {5 * DAY, RAISE, LISTED, "a", BOOK_AGAIN},
      {6 * DAY, RAISE, LISTED, "a", BOOK_AGAIN},
      {7 * DAY - 1, RAISE, LISTED, "a", BOOK_QUIET},
      {7 * DAY, RAISE, LISTED, "a", BOOK_AGAIN}}},
    {"kind and subject make it; case does not",
     {{0, RAISE, LISTED, "2001:DB8::1", BOOK_FIRST},
      {1, RAISE, LISTED, "2001:db8::1", BOOK_QUIET},
      {2, RAISE, LISTED, "2001:db8::2", BOOK_FIRST},
      {3, RAISE, NEAR, "2001:db8::1", BOOK_FIRST}}},
    {"its end is told once, and only when it began",
     {{0, OVER, LISTED, "a", BOOK_NOTHING},
      {1, RAISE, LISTED, "a", BOOK_FIRST},
      {2, OVER, LISTED, "a", BOOK_OVER},
      {3, OVER, LISTED, "a", BOOK_QUIET}}},
    {"what flaps is quiet, and told when it stays",
     {{0, RAISE, LISTED, "a", BOOK_FIRST},
      {1 * MINUTE, OVER, LISTED, "a", BOOK_OVER},
      {2 * MINUTE, RAISE, LISTED, "a", BOOK_QUIET},
      {3 * MINUTE, OVER, LISTED, "a", BOOK_CLOSED},
      {4 * MINUTE, RAISE, LISTED, "a", BOOK_QUIET},
      {HOUR - 1, DUE, LISTED, "", BOOK_NOTHING},
      {HOUR, DUE, LISTED, "a", BOOK_AGAIN, 2},
      {HOUR, DUE, LISTED, "", BOOK_NOTHING},
      {HOUR + 1, RAISE, LISTED, "a", BOOK_QUIET},
      {HOUR + 2, OVER, LISTED, "a", BOOK_OVER}}},
    {"what has ended is forgotten after the quiet time: it begins anew",
     {{0, RAISE, LISTED, "a", BOOK_FIRST},
      {1, OVER, LISTED, "a", BOOK_OVER},
      {HOUR, DUE, LISTED, "", BOOK_NOTHING},
      {HOUR + 1, OVER, LISTED, "a", BOOK_NOTHING},
      {HOUR + 2, RAISE, LISTED, "a", BOOK_FIRST, 1}}},
    {"events end by themselves a day after the last",
     {{0, RAISE, NEAR, "bob", BOOK_FIRST},
      {2 * MINUTE, RAISE, NEAR, "bob", BOOK_QUIET},
      {DAY + MINUTE, DUE, NEAR, "", BOOK_NOTHING},
      {DAY + MINUTE, RAISE, NEAR, "bob", BOOK_AGAIN, 2},
      {3 * DAY, DUE, NEAR, "", BOOK_NOTHING},
      {3 * DAY, RAISE, NEAR, "bob", BOOK_FIRST, 1}}},
    {"states last",
     {{0, RAISE, LISTED, "a", BOOK_FIRST},
      {90 * DAY, DUE, LISTED, "", BOOK_NOTHING},
      {90 * DAY, OVER, LISTED, "a", BOOK_OVER}}},
    {"a clock that is set back silences nobody for longer than the quiet time",
     {{30 * DAY, RAISE, LISTED, "a", BOOK_FIRST},
      {0, RAISE, LISTED, "a", BOOK_QUIET},
      {HOUR, RAISE, LISTED, "a", BOOK_AGAIN, 2}}},
};

static void run_step(struct book *book, const struct step *s, const char *story, size_t number) {
    const struct book_entry *entry = NULL;
    int64_t now = START + s->at;
    enum book_say say;
    if (s->what == DUE) {
        entry = book_due(book, now);
        say = entry ? BOOK_AGAIN : BOOK_NOTHING;
        if (entry)
            assert_string_equal(entry->text, "why");
    } else {
        struct alert a = {
            .kind = s->kind, .subject = str_of(s->subject), .text = STR("why"), .over = s->what == OVER};
        say = book_raise(book, &a, now, &entry);
    }
    if (say != s->say || (s->unsaid && entry->unsaid != s->unsaid))
        fail_msg("%s, step %zu: said %d, unsaid %lu", story, number + 1, (int)say,
                 entry ? (unsigned long)entry->unsaid : 0);
    if (entry && say != BOOK_NOTHING)
        assert_string_equal(entry->subject, entry->subject[0] == '2' ? entry->subject : s->subject);
    if (say == BOOK_FIRST || say == BOOK_AGAIN || say == BOOK_OVER)
        book_told(book, entry, now);
}

static void test_stories(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(stories); i++) {
        struct book *book = book_new(&(struct book_options){.quiet_ms = HOUR});
        for (size_t j = 0; j < COUNT(stories[i].steps) && stories[i].steps[j].subject; j++)
            run_step(book, &stories[i].steps[j], stories[i].name, j);
        book_free(book);
    }
}

static void count_gone(void *arg, const struct book_entry *e) {
    *(size_t *)arg += 1;
    assert_true(e->dirty || !e->ended);
}

static enum book_say raise(struct book *book, enum alert_kind kind, const char *subject, int64_t now,
                           bool over) {
    const struct book_entry *entry;
    enum book_say say = book_raise(
        book, &(struct alert){.kind = kind, .subject = str_of(subject), .over = over}, now, &entry);
    if (say == BOOK_FIRST || say == BOOK_AGAIN || say == BOOK_OVER)
        book_told(book, entry, now);
    return say;
}

/* Events make room before states, and nothing goes without being written down. */
static void test_bound(void **state) {
    (void)state;
    size_t gone = 0;
    char subject[32];
    struct book *book = book_new(
        &(struct book_options){.quiet_ms = HOUR, .entries = 100, .gone = count_gone, .gone_arg = &gone});
    for (int i = 0; i < 50; i++) {
        snprintf(subject, sizeof subject, "192.0.2.%d", i);
        assert_int_equal(raise(book, LISTED, subject, START, false), BOOK_FIRST);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(subject, sizeof subject, "sender%d", i);
        assert_int_equal(raise(book, NEAR, subject, START + 1 + i, false), BOOK_FIRST);
    }
    assert_int_equal(gone, 950);
    assert_int_equal(book_open_count(book, LISTED), 50);
    assert_int_equal(book_open_count(book, NEAR), 50);
    assert_int_equal(raise(book, LISTED, "192.0.2.7", START + 2000, true), BOOK_OVER);
    assert_int_equal(book_open_count(book, LISTED), 49);
    assert_int_equal(raise(book, NEAR, "sender999", START + 2000, false), BOOK_QUIET);
    assert_int_equal(raise(book, NEAR, "sender1", START + 2001, false),
                     BOOK_FIRST); /* in place of what ended */
    assert_int_equal(book_open_count(book, NEAR), 51);
    book_free(book);
}

static void remember(void *arg, const struct book_entry *e) {
    *(struct book_entry *)arg = *e;
    ((struct book_entry *)arg)->subject = "192.0.2.9";
    ((struct book_entry *)arg)->tenant = "";
}

static void test_restart(void **state) {
    (void)state;
    struct book_entry kept = {0};
    struct book *book = book_new(&(struct book_options){.quiet_ms = HOUR, .next_id = 7});
    assert_int_equal(raise(book, LISTED, "192.0.2.9", START, false), BOOK_FIRST);
    book_clean(book, remember, &kept);
    assert_int_equal(kept.id, 7);
    book_free(book);
    book = book_new(&(struct book_options){.quiet_ms = HOUR});
    book_restore(book, &kept, START + MINUTE);
    assert_int_equal(book_open_count(book, LISTED), 1);
    assert_int_equal(raise(book, LISTED, "192.0.2.9", START + MINUTE, false), BOOK_QUIET);
    assert_int_equal(raise(book, LISTED, "192.0.2.9", START + HOUR, false), BOOK_AGAIN);
    assert_int_equal(raise(book, LISTED, "192.0.2.9", START + HOUR, true), BOOK_OVER);
    assert_int_equal(book_next_id(book), 8);
    book_free(book);
}

/* Who watches over a state says after a restart whether it lasts; else it ends within a day. */
static void test_forgotten_states(void **state) {
    static const struct {
        enum alert_kind kind;
        int64_t raised; /* after the restart; 0: not */
        bool open;      /* a day and an hour after it */
    } cases[] = {
        {ALERT_SOURCE_LISTED, 0, false},    {ALERT_SOURCE_LISTED, HOUR, true},
        {ALERT_SENDER_RESTRICTED, 0, true}, {ALERT_SCANNER_DOWN, 0, false},
        {ALERT_TENANT_RESTRICTED, 0, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct book *book = book_new(&(struct book_options){.quiet_ms = HOUR});
        struct book_entry old = {.id = 3,
                                 .kind = cases[i].kind,
                                 .subject = "a",
                                 .tenant = "",
                                 .first = START - 9 * DAY,
                                 .last = START - 9 * DAY,
                                 .told = START - 9 * DAY,
                                 .tellings = 1,
                                 .heard = true};
        book_restore(book, &old, START);
        assert_null(book_due(book, START + HOUR));
        assert_int_equal(book_open_count(book, cases[i].kind), 1);
        if (cases[i].raised)
            assert_int_equal(raise(book, cases[i].kind, "a", START + cases[i].raised, false), BOOK_AGAIN);
        assert_null(book_due(book, START + DAY + HOUR));
        assert_int_equal(book_open_count(book, cases[i].kind), cases[i].open);
        book_free(book);
    }
}

/* What says when it ends: a restriction until the next day. */
static void test_until(void **state) {
    const struct book_entry *entry;
    struct alert a = {.kind = ALERT_SENDER_RESTRICTED, .subject = STR("bob"), .until = START + 6 * HOUR};
    struct book *book = book_new(&(struct book_options){.quiet_ms = HOUR});
    (void)state;
    assert_int_equal(book_raise(book, &a, START, &entry), BOOK_FIRST);
    book_told(book, entry, START);
    assert_null(book_due(book, START + 6 * HOUR - 1));
    assert_int_equal(book_open_count(book, ALERT_SENDER_RESTRICTED), 1);
    assert_null(book_due(book, START + 6 * HOUR));
    assert_int_equal(book_open_count(book, ALERT_SENDER_RESTRICTED), 0);
    assert_int_equal(raise(book, ALERT_SENDER_RESTRICTED, "bob", START + 7 * HOUR, false), BOOK_FIRST);
    book_free(book);
}

static void test_budget(void **state) {
    struct budget b = {0};
    unsigned taken = 0;
    (void)state;
    for (int i = 0; i < 100; i++)
        taken += budget_take(&b, 60, ALERT_LIMIT_NEAR, START + i);
    assert_int_equal(taken, 45); /* the rest is for alarms */
    for (int i = 0; i < 100; i++)
        taken += budget_take(&b, 60, ALERT_GUARD, START + i);
    assert_int_equal(taken, 60);
    assert_int_equal(budget_summary(&b, START + HOUR - 1), 0);
    assert_int_equal(budget_summary(&b, START + HOUR), 140);
    assert_int_equal(budget_summary(&b, START + HOUR), 0);
    assert_int_equal(b.used, 1);
    assert_true(budget_take(&b, 60, ALERT_LIMIT_NEAR, START + HOUR));
    /* One of the next hour comes before the summary: that is still due. */
    b = (struct budget){.since = START, .used = 60, .over = 3};
    assert_true(budget_take(&b, 60, ALERT_GUARD, START + HOUR));
    assert_int_equal(budget_summary(&b, START + HOUR + 1), 0);
    assert_int_equal(budget_summary(&b, START + 2 * HOUR), 3);
    /* Two hundred hacked accounts don't hide a listed address. */
    b = (struct budget){0};
    taken = 0;
    for (int i = 0; i < 200; i++)
        taken += budget_take(&b, 60, ALERT_SUSPICIOUS_PATTERN, START) +
                 budget_take(&b, 60, ALERT_SENDER_RESTRICTED, START);
    assert_int_equal(taken, 45);
    assert_true(budget_take(&b, 60, ALERT_SOURCE_LISTED, START));
    assert_false(budget_take(&b, 60, ALERT_LIMIT_NEAR, START));
    /* One an hour is for anybody. */
    b = (struct budget){0};
    assert_true(budget_take(&b, 1, ALERT_TEST, START));
    assert_false(budget_take(&b, 1, ALERT_GUARD, START));
    assert_true(budget_take(&b, 1, ALERT_GUARD, START - DAY)); /* the clock was set back */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),          cmocka_unit_test(test_bound), cmocka_unit_test(test_restart),
        cmocka_unit_test(test_forgotten_states), cmocka_unit_test(test_until), cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
