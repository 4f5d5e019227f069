#include "alert/alerts.h"
#include "alert/history.h"
#include "alert/item.h"
#include "base/clock.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, RAISES = 500 };

struct desk {
    char folder[64];
    struct alerts *alerts;
    atomic_int mails;
    char to[256], subject[256]; /* of the last mail */
};

static const struct str OPS[] = {{"ops@example.net", 15}};

static struct alerts_config config_of(unsigned per_hour) {
    return (struct alerts_config){
        .node = STR("mta01.example.net"),
        .settings = {.mail = OPS,
                     .mail_count = 1,
                     .from = STR("sluice@example.net"),
                     .level = ALERT_WARNING,
                     .quiet_ms = 3600000,
                     .per_hour = per_hour},
    };
}

static void take_mail(void *arg, const struct alert_mail *mail) {
    struct desk *d = arg;
    ptrdiff_t at = str_find(mail->message, STR("Subject: "));
    snprintf(d->to, sizeof d->to, "%.*s", STR_FMT(mail->to[0]));
    snprintf(d->subject, sizeof d->subject, "%.*s", 60, mail->message.at + at + 9);
    d->mails++;
}

static void open_desk(struct desk *d, unsigned per_hour) {
    struct alerts_config config = config_of(per_hour);
    struct alerts_options options = {.folder = d->folder,
                                     .retain_ms = INT64_C(86400000) * 90,
                                     .agent = "sluice/test",
                                     .mail = take_mail,
                                     .mail_arg = d};
    assert_int_equal(alerts_open(&options, &config, &d->alerts), 0);
}

static void begin(struct desk *d) {
    *d = (struct desk){.folder = "/tmp/test-alerts-XXXXXX"};
    assert_non_null(mkdtemp(d->folder));
}

static void finish(struct desk *d) {
    char command[128];
    d->alerts = alerts_free(d->alerts);
    snprintf(command, sizeof command, "rm -rf %s", d->folder);
    assert_int_equal(system(command), 0);
}

static void *raise_many(void *arg) {
    for (int i = 0; i < RAISES; i++)
        alert_raise(
            arg, &(struct alert){.kind = ALERT_LIMIT_EXCEEDED, .subject = STR("alice"), .text = STR("why")});
    return NULL;
}

static void sum(void *arg, const struct alert_record *r) { *(uint64_t *)arg += r->count; }

static uint64_t stored(struct desk *d, struct alert_filter filter) {
    uint64_t count = 0;
    assert_int_equal(alerts_flush(d->alerts), 0);
    assert_int_equal(alert_history(d->folder, &filter, sum, &count), 0);
    return count;
}

/* From several threads: every one counted, one told. */
static void test_threads(void **state) {
    struct desk d;
    pthread_t threads[THREADS];
    struct alerts_counts counts;
    (void)state;
    begin(&d);
    open_desk(&d, 60);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, raise_many, d.alerts), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t written = stored(&d, (struct alert_filter){0});
    alerts_counts(d.alerts, &counts);
    assert_int_equal(counts.raised[ALERT_LIMIT_EXCEEDED], THREADS * RAISES);
    assert_int_equal(written + counts.dropped, THREADS * RAISES);
    assert_int_equal(counts.open[ALERT_LIMIT_EXCEEDED], 1);
    assert_int_equal(counts.told, 1);
    assert_int_equal(d.mails, 1);
    assert_string_equal(d.to, "ops@example.net");
    finish(&d);
}

static void raise(struct desk *d, enum alert_kind kind, const char *subject, bool over, int64_t now) {
    alert_raise(d->alerts,
                &(struct alert){
                    .kind = kind, .subject = str_of(subject), .text = STR("why"), .over = over, .now = now});
}

static void test_restart(void **state) {
    struct desk d;
    struct alerts_counts counts;
    (void)state;
    begin(&d);
    open_desk(&d, 60);
    raise(&d, ALERT_SOURCE_LISTED, "192.0.2.1", false, 0);
    raise(&d, ALERT_SOURCE_LISTED, "192.0.2.2", false, 0);
    alerts_free(d.alerts); /* what was raised is told and written */
    assert_int_equal(d.mails, 2);
    open_desk(&d, 60);
    raise(&d, ALERT_SOURCE_LISTED, "192.0.2.1", false, 0); /* still quiet */
    raise(&d, ALERT_SOURCE_LISTED, "192.0.2.2", true, 0);
    raise(&d, ALERT_SOURCE_LISTED, "192.0.2.3", true, 0); /* never began */
    assert_int_equal(stored(&d, (struct alert_filter){.subject = STR("192.0.2.1")}), 2);
    assert_int_equal(stored(&d, (struct alert_filter){.open = true}), 2);
    assert_int_equal(d.mails, 3);
    assert_non_null(strstr(d.subject, "over: source-listed 192.0.2.2"));
    alerts_counts(d.alerts, &counts);
    assert_int_equal(counts.open[ALERT_SOURCE_LISTED], 1);
    finish(&d);
}

static void test_rates(void **state) {
    struct desk d;
    struct alerts_counts counts;
    char subject[32];
    int64_t now = clock_wall_ms();
    (void)state;
    begin(&d);
    open_desk(&d, 8);
    for (int i = 0; i < 20; i++) {
        snprintf(subject, sizeof subject, "sender%d", i);
        raise(&d, ALERT_LIMIT_NEAR, subject, false, now);
    }
    assert_int_equal(stored(&d, (struct alert_filter){0}), 20);
    assert_int_equal(d.mails, 6); /* a quarter is for alarms */
    raise(&d, ALERT_GUARD, "pool normal", false, now);
    (void)stored(&d, (struct alert_filter){0});
    assert_int_equal(d.mails, 7);
    /* In the next hour: how many were not told, then what is new. */
    raise(&d, ALERT_LIMIT_NEAR, "another", false, now + 3600001);
    (void)stored(&d, (struct alert_filter){0});
    assert_int_equal(d.mails, 9);
    assert_non_null(strstr(d.subject, "WARNING limit-near another"));
    alerts_counts(d.alerts, &counts);
    assert_int_equal(counts.untold, 14);
    finish(&d);
}

static void test_no_mail_after_its_end(void **state) {
    struct desk d;
    (void)state;
    begin(&d);
    open_desk(&d, 60);
    alerts_stop_mail(d.alerts);
    raise(&d, ALERT_GUARD, "pool", false, 0);
    assert_int_equal(stored(&d, (struct alert_filter){0}), 1);
    assert_int_equal(d.mails, 0);
    finish(&d);
}

/* A history that can't be written keeps nobody from being told. */
static void test_no_disk(void **state) {
    struct desk d = {.folder = "/nonexistent/folder"};
    (void)state;
    open_desk(&d, 60);
    raise(&d, ALERT_GUARD, "pool", false, 0);
    assert_int_equal(alerts_flush(d.alerts), SLUICE_EIO);
    assert_int_equal(d.mails, 1);
    alerts_free(d.alerts);
}

static void test_nothing(void **state) {
    (void)state;
    alert_raise(NULL, &(struct alert){.kind = ALERT_GUARD});
    assert_null(alerts_free(NULL));
    alerts_stop_mail(NULL);
}

static void test_items(void **state) {
    static const struct {
        const char *given, *subject, *text;
    } cases[] = {
        {"bob@contoso.com", "bob@contoso.com", "bob@contoso.com"},
        {"  two\nlines\r\n", "two lines", "two\nlines"},
        {"a\x01z\x7f!", "a z !", "a z !"},
        {"f\xff\xc3\xb6", "f?\xc3\xb6", "f?\xc3\xb6"},
        {"a\xc2\x9b[2Jz", "a  [2Jz", "a  [2Jz"}, /* CSI */
        {"a\xe2\x80\xaez\xe2\x81\xa6y\xe2\x80\xa9x", "a   z   y   x",
         "a   z   y   x"}, /* from right to left */
        {"a\xe2\x80\x93z\xc2\xa0y", "a\xe2\x80\x93z\xc2\xa0y", "a\xe2\x80\x93z\xc2\xa0y"},
        {"", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str s = str_of(cases[i].given);
        struct alert_item *item = alert_item_new(&(struct alert){
            .kind = ALERT_GUARD, .subject = s, .text = s, .also = &s, .also_count = 1, .now = 7});
        assert_string_equal(item->alert.subject.at, cases[i].subject);
        assert_string_equal(item->alert.text.at, cases[i].text);
        assert_int_equal(item->alert.also_count, 1);
        assert_int_equal(item->alert.now, 7);
        assert_string_equal(item->alert.tenant.at, "");
        free(item);
    }
    /* Cut at a character. */
    char text[5000];
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xb6", 2);
    text[0] = 'x', text[1] = 'y', text[2] = 'z';
    struct alert_item *item =
        alert_item_new(&(struct alert){.kind = ALERT_GUARD, .subject = {text + 1, 4000}});
    assert_true(item->alert.subject.len <= ALERT_SUBJECT_MAX &&
                item->alert.subject.len > ALERT_SUBJECT_MAX - 4);
    free(item);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads), cmocka_unit_test(test_restart),
        cmocka_unit_test(test_rates),   cmocka_unit_test(test_no_mail_after_its_end),
        cmocka_unit_test(test_no_disk), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
