#include "alert/history.h"
#include "alert/store.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW INT64_C(1795348800000)
#define DAY INT64_C(86400000)

static int make_folder(void **state) {
    char *folder = strdup("/tmp/test-alerts-XXXXXX");
    *state = folder;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char path[512];
    DIR *folder = opendir(*state);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", (char *)*state, entry->d_name);
        unlink(path);
    }
    closedir(folder);
    rmdir(*state);
    free(*state);
    return 0;
}

static struct book_entry entry(uint64_t id, enum alert_kind kind, const char *subject, int64_t last) {
    return (struct book_entry){.id = id,
                               .kind = kind,
                               .subject = subject,
                               .tenant = "contoso",
                               .first = NOW,
                               .last = last,
                               .told = last,
                               .count = 1,
                               .tellings = 1,
                               .heard = true};
}

static void tell(struct alert_store *store, struct book_entry e, const char *text) {
    struct store_write *w = alert_write_told(&e, str_of(text), STR("advice"), STR(""));
    w->next = NULL;
    assert_int_equal(alert_store_apply(store, w), 0);
    free(w);
}

static void touch(struct alert_store *store, struct book_entry e) {
    struct store_write *w = alert_write_touch(&e);
    w->next = NULL;
    assert_int_equal(alert_store_apply(store, w), 0);
    free(w);
}

struct rows {
    size_t count;
    struct alert_record first; /* its strings are gone */
    char subject[64], text[64], all[256];
};

static void take(void *arg, const struct alert_record *r) {
    struct rows *rows = arg;
    if (rows->count++ == 0) {
        rows->first = *r;
        snprintf(rows->subject, sizeof rows->subject, "%.*s", STR_FMT(r->subject));
        snprintf(rows->text, sizeof rows->text, "%.*s", STR_FMT(r->text));
    }
    size_t len = strlen(rows->all);
    snprintf(rows->all + len, sizeof rows->all - len, "%llu ", (unsigned long long)r->id);
}

static struct rows ask(const char *folder, struct alert_filter filter) {
    struct rows rows = {0};
    assert_int_equal(alert_history(folder, &filter, take, &rows), 0);
    return rows;
}

static void test_questions(void **state) {
    static const struct {
        struct alert_filter filter;
        const char *ids;
    } cases[] = {
        {{0}, "3 2 1 "},
        {{.limit = 1}, "3 "},
        {{.id = 2}, "2 "},
        {{.subject = {"ALICE@contoso.com", 17}}, "3 1 "},
        {{.kind = ALERT_LIMIT_NEAR}, "3 "},
        {{.tenant = {"Contoso", 7}}, "3 2 1 "},
        {{.tenant = {"other", 5}}, ""},
        {{.since = NOW + 2}, "3 2 "},
        {{.open = true}, "3 1 "},
        {{.subject = {"alice@contoso.com", 17}, .open = true, .kind = ALERT_SENDER_RESTRICTED}, "1 "},
    };
    struct alert_filter none = {0};
    struct rows rows = {0};
    assert_int_equal(alert_history(*state, &none, take, &rows), SLUICE_ENOTFOUND);
    struct alert_store *store = alert_store_new(*state, 90 * DAY, NULL);
    tell(store, entry(1, ALERT_SENDER_RESTRICTED, "alice@contoso.com", NOW + 1), "one");
    struct book_entry ended = entry(2, ALERT_SENDER_RESTRICTED, "bob@contoso.com", NOW + 2);
    ended.ended = NOW + 5;
    tell(store, ended, "two");
    tell(store, entry(3, ALERT_LIMIT_NEAR, "alice@contoso.com", NOW + 3), "three");
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(ask(*state, cases[i].filter).all, cases[i].ids);
    /* What is only counted keeps what was said. */
    struct book_entry more = entry(1, ALERT_SENDER_RESTRICTED, "alice@contoso.com", NOW + 9);
    more.count = 40;
    touch(store, more);
    rows = ask(*state, (struct alert_filter){.id = 1});
    assert_int_equal(rows.first.count, 40);
    assert_string_equal(rows.text, "one");
    /* Read by somebody else while it is open, and when it is closed. */
    alert_store_free(store);
    assert_int_equal(ask(*state, none).count, 3);
}

static void remember(void *arg, const struct book_entry *e) {
    char *all = arg;
    sprintf(all + strlen(all), "%llu%s ", (unsigned long long)e->id, e->ended ? " over" : "");
}

static void unsent(void *arg, struct str hook, struct str call, struct str body, int64_t created) {
    char *all = arg;
    (void)created;
    sprintf(all + strlen(all), "%.*s %.*s %.*s; ", STR_FMT(hook), STR_FMT(call), STR_FMT(body));
}

static void apply(struct alert_store *store, struct store_write *w) {
    w->next = NULL;
    assert_int_equal(alert_store_apply(store, w), 0);
    free(w);
}

static void test_restart(void **state) {
    char all[256] = "";
    uint64_t last = 0;
    struct alert_store *store = alert_store_new(*state, 90 * DAY, NULL);
    struct book_entry recent = entry(2, ALERT_LIMIT_NEAR, "b", NOW),
                      old = entry(3, ALERT_LIMIT_NEAR, "c", NOW - 9 * DAY);
    recent.ended = NOW;
    old.ended = NOW - 9 * DAY;
    tell(store, entry(1, ALERT_SOURCE_LISTED, "192.0.2.1", NOW - 30 * DAY), "");
    tell(store, recent, "");
    tell(store, old, "");
    apply(store, alert_write_unsent(STR("pager"), STR("a-1"), STR("{1}"), NOW));
    apply(store, alert_write_unsent(STR("pager"), STR("a-2"), STR("{2}"), NOW + 1));
    apply(store, alert_write_unsent(STR("chat"), STR("a-1"), STR("{1}"), NOW - DAY));
    apply(store, alert_write_sent(STR("pager"), STR("a-1")));
    alert_store_free(store);
    store = alert_store_new(*state, 90 * DAY, NULL);
    assert_int_equal(alert_store_restore(store, NOW - DAY, 100, remember, all, &last), 0);
    assert_string_equal(all, "1 2 over ");
    assert_int_equal(last, 3);
    all[0] = 0;
    assert_int_equal(alert_store_unsent(store, NOW - 1000, unsent, all), 0);
    assert_string_equal(all, "pager a-2 {2}; ");
    size_t ended = 0;
    assert_int_equal(alert_store_end(store, ALERT_SOURCE_LISTED, STR("192.0.2.2"), NOW, &ended), 0);
    assert_int_equal(ended, 0);
    assert_int_equal(alert_store_end(store, ALERT_SOURCE_LISTED, STR("192.0.2.1"), NOW, &ended), 0);
    assert_int_equal(ended, 1);
    assert_string_equal(ask(*state, (struct alert_filter){.open = true}).all, "");
    alert_store_free(store);
}

static void test_old_ones_go(void **state) {
    struct alert_store *store = alert_store_new(*state, 90 * DAY, NULL);
    struct book_entry old = entry(1, ALERT_LIMIT_NEAR, "a", NOW - 91 * DAY),
                      kept = entry(2, ALERT_LIMIT_NEAR, "b", NOW - 89 * DAY);
    old.ended = old.last;
    kept.ended = kept.last;
    tell(store, old, "");
    tell(store, kept, "");
    tell(store, entry(3, ALERT_SOURCE_LISTED, "192.0.2.1", NOW - 200 * DAY), ""); /* it lasts */
    alert_store_expire(store, NOW);
    assert_string_equal(ask(*state, (struct alert_filter){0}).all, "2 3 ");
    alert_store_free(store);
}

enum harm { GARBAGE, TORN, EMPTIED, FOREIGN, NEWER, REMOVED, REPLACED };

static void harm(const char *path, enum harm how) {
    char command[600];
    static const char *const commands[] = {
        [GARBAGE] = "head -c 20000 /dev/urandom > %s; rm -f %s-wal %s-shm",
        [TORN] = "dd if=/dev/zero of=%s bs=4096 seek=1 count=8 conv=notrunc 2>/dev/null; rm -f %s-wal %s-shm",
        [EMPTIED] = ": > %s; rm -f %s-wal %s-shm",
        [FOREIGN] = "rm -f %s %s-wal %s-shm; /usr/bin/python3 -c \"import sqlite3; c=sqlite3.connect('%s'); "
                    "c.execute('CREATE TABLE alert (x)'); c.execute('PRAGMA user_version=1'); c.commit()\"",
        [NEWER] = "rm -f %s %s-wal %s-shm; /usr/bin/python3 -c \"import sqlite3; c=sqlite3.connect('%s'); "
                  "c.execute('PRAGMA user_version=99'); c.commit()\"",
        [REMOVED] = "rm -f %s %s-wal %s-shm",
        [REPLACED] = "rm -f %s %s-wal %s-shm; : > %s",
    };
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"");
    snprintf(command, sizeof command, commands[how], path, path, path, path);
    _Pragma("GCC diagnostic pop");
    assert_int_equal(system(command), 0);
}

/* Whatever became of the file, the next alert is kept, and none of what is left stands in its way. */
static void test_damage(void **state) {
    char path[512], aside[600];
    for (enum harm how = GARBAGE; how <= REPLACED; how++)
        for (int open = 0; open < 2; open++) {
            struct alert_store *store = alert_store_new(*state, 90 * DAY, NULL);
            struct stat found;
            snprintf(path, sizeof path, "%s/alerts.db", (char *)*state);
            for (uint64_t id = 1; id < 200; id++)
                tell(store, entry(id, ALERT_LIMIT_NEAR, "somebody@contoso.com", NOW),
                     "a text that fills a page sooner");
            if (!open) {
                alert_store_free(store);
                harm(path, how);
                store = alert_store_new(*state, 90 * DAY, NULL);
            } else if (how == REMOVED || how == REPLACED) {
                harm(path, how);
            }
            tell(store, entry(1000, ALERT_GUARD, "after", NOW + 1), "");
            tell(store, entry(1001, ALERT_GUARD, "after", NOW + 2), "");
            alert_store_free(store);
            assert_string_equal(ask(*state, (struct alert_filter){.id = 1001}).subject, "after");
            snprintf(aside, sizeof aside, "%s.damaged-1", path);
            bool expected = !open && how != REMOVED && how != REPLACED && how != EMPTIED;
            if ((stat(aside, &found) == 0) != expected && how != TORN)
                fail_msg("harm %d, open %d: set aside or not", (int)how, open);
            snprintf(aside, sizeof aside, "rm -f %s*", path);
            assert_int_equal(system(aside), 0);
        }
}

static void test_no_folder(void **state) {
    struct rows rows = {0};
    struct alert_filter none = {0};
    struct alert_store *store = alert_store_new("/nonexistent/folder", DAY, NULL);
    struct book_entry e = entry(1, ALERT_GUARD, "x", NOW);
    struct store_write *w = alert_write_touch(&e);
    (void)state;
    w->next = NULL;
    assert_int_not_equal(alert_store_apply(store, w), 0);
    assert_int_equal(alert_history("/nonexistent/folder", &none, take, &rows), SLUICE_ENOTFOUND);
    free(w);
    alert_store_free(store);
}

static void test_words(void **state) {
    static const struct {
        const char *name, *value;
        int result;
    } cases[] = {
        {"kind", "guard", 0},
        {"kind", "gard", SLUICE_ESYNTAX},
        {"id", "12", 0},
        {"id", "0", SLUICE_ESYNTAX},
        {"id", "x", SLUICE_ESYNTAX},
        {"open", "1", 0},
        {"limit", "5000", 0},
        {"limit", "5001", SLUICE_ESYNTAX},
        {"since", "2h", 0},
        {"since", "2026-11-22", 0},
        {"since", "yesterday", SLUICE_ESYNTAX},
        {"subject", "", SLUICE_ESYNTAX},
        {"tenant", "contoso", 0},
        {"color", "red", SLUICE_ENOTFOUND},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct alert_filter filter = {0};
        struct buf why __attribute__((cleanup(buf_free))) = {0};
        assert_int_equal(alert_filter_set(&filter, str_of(cases[i].name), str_of(cases[i].value), NOW, &why),
                         cases[i].result);
        assert_int_equal(why.len > 0, cases[i].result == SLUICE_ESYNTAX);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_questions, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_restart, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_old_ones_go, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_damage, make_folder, remove_folder),
        cmocka_unit_test(test_no_folder),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
