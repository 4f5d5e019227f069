#include "scratch.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int begin(void **state) {
    static struct scratch scratch; /* cmocka wants it to outlive the call */
    scratch_begin(&scratch);
    *state = &scratch;
    return 0;
}

static int end(void **state) {
    scratch_end(*state);
    return 0;
}

static struct trace_event received(const struct trace_id *id, const char *recipient, int64_t time) {
    return (struct trace_event){.event = TRACE_RECEIVE,
                                .time = time,
                                .trace_id = *id,
                                .recipient = str_of(recipient),
                                .sender = STR("a@contoso.com"),
                                .subject = STR("hello"),
                                .pool = STR("normal"),
                                .class = TRACE_CLASS(CLASS_NORMAL)};
}

static struct trace_event sent(const struct trace_id *id, const char *recipient, int64_t time) {
    return (struct trace_event){.event = TRACE_SEND,
                                .time = time,
                                .trace_id = *id,
                                .recipient = str_of(recipient),
                                .reply = STR("250 ok"),
                                .attempts = 2};
}

static struct trace_event deferred(const struct trace_id *id, const char *recipient, int64_t time) {
    return (struct trace_event){.event = TRACE_DEFER,
                                .time = time,
                                .trace_id = *id,
                                .recipient = str_of(recipient),
                                .reply = STR("451 later"),
                                .tls = STR("TLSv1.3"),
                                .attempts = 1};
}

/* Whatever the order in which workers' events reach the thread, the latest state is the same; and it keeps
 * what RECEIVE said, but nothing of an earlier attempt. */
static void test_any_order(void **state) {
    static const unsigned char orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                              {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct scratch *s = *state;
    scratch_open(s, NULL);
    for (unsigned i = 0; i < COUNT(orders); i++) {
        struct trace_id id = scratch_id(NOON, i);
        const struct trace_event events[] = {received(&id, "b@x", NOON), deferred(&id, "b@x", NOON + 5),
                                             sent(&id, "b@x", NOON + 900)};
        for (unsigned k = 0; k < 3; k++) {
            scratch_emit(s, events[orders[i][k]]);
            if (i % 2)
                scratch_flush(s);
        }
    }
    scratch_flush(s);
    struct trace_page page;
    struct trace_event *rows = scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, COUNT(orders));
    for (size_t i = 0; i < page.rows; i++) {
        assert_int_equal(rows[i].event, TRACE_SEND);
        assert_int_equal(rows[i].status, TRACE_STATUS_DELIVERED);
        assert_true(str_eq(rows[i].subject, STR("hello")));
        assert_true(str_eq(rows[i].reply, STR("250 ok")));
        assert_null(rows[i].tls.at);
        assert_int_equal(rows[i].latency_ms, 900);
        assert_int_equal(rows[i].attempts, 2);
    }
}

/* The clock was set back between two events: what ended the recipient still stands. */
static void test_clock_goes_back(void **state) {
    struct scratch *s = *state;
    scratch_open(s, NULL);
    struct trace_id id = scratch_id(NOON, 1);
    struct trace_page page;
    scratch_emit(s, received(&id, "b@x", NOON));
    scratch_emit(s, sent(&id, "b@x", NOON - HOUR));
    scratch_flush(s);
    struct trace_event *rows = scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, 1);
    assert_int_equal(rows[0].status, TRACE_STATUS_DELIVERED);
}

static void test_report_is_no_state(void **state) {
    struct scratch *s = *state;
    scratch_open(s, NULL);
    struct trace_id id = scratch_id(NOON, 1);
    struct trace_event dsn = {.event = TRACE_DSN,
                              .time = NOON + 50,
                              .trace_id = id,
                              .recipient = STR("b@x"),
                              .reference = STR("01M80AHX00ABCDEFGHJKMNPQRS")};
    struct trace_event fail = sent(&id, "b@x", NOON + 50);
    struct trace_page page;
    fail.event = TRACE_FAIL;
    scratch_emit(s, dsn);
    scratch_emit(s, received(&id, "b@x", NOON));
    scratch_emit(s, fail);
    scratch_flush(s);
    struct trace_event *rows = scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, 1);
    assert_int_equal(rows[0].event, TRACE_FAIL);
    assert_int_equal(rows[0].status, TRACE_STATUS_FAILED);
    assert_true(str_eq(rows[0].reference, dsn.reference));
    size_t count;
    rows = scratch_show(s, &id, &count);
    assert_int_equal(count, 3);
    assert_int_equal(rows[1].event, TRACE_FAIL);
    assert_int_equal(rows[2].event, TRACE_DSN);
    assert_null(rows[1].reference.at);
    assert_true(str_eq(rows[1].sender, STR("a@contoso.com"))); /* filled in from RECEIVE */
}

static void test_repeats(void **state) {
    struct scratch *s = *state;
    scratch_open(s, NULL);
    struct trace_id id = scratch_id(NOON, 1);
    struct trace_event hold = {
        .event = TRACE_HOLD, .time = NOON + 1, .trace_id = id, .recipient = STR("b@x")};
    size_t count;
    for (int i = 0; i < 3; i++) {
        scratch_emit(s, received(&id, "b@x", NOON));
        scratch_emit(s, deferred(&id, "b@x", NOON + 5 + i));
        scratch_emit(s, hold);
        scratch_flush(s);
    }
    scratch_show(s, &id, &count);
    assert_int_equal(count, 3);
    hold.time += 10; /* held once more */
    scratch_emit(s, hold);
    scratch_close(s);
    scratch_open(s, NULL);
    scratch_emit(s, received(&id, "b@x", NOON));
    scratch_flush(s);
    struct trace_event *rows = scratch_show(s, &id, &count);
    assert_int_equal(count, 4);
    assert_int_equal(rows[3].event, TRACE_HOLD);
}

/* All events of a message lie in the file of its arrival. */
static void test_days(void **state) {
    struct scratch *s = *state;
    scratch_open(s, NULL);
    struct trace_id ids[12];
    struct trace_page page;
    for (unsigned i = 0; i < COUNT(ids); i++) {
        ids[i] = scratch_id(NOON - (int64_t)i * DAY, i);
        scratch_emit(s, received(&ids[i], "b@x", NOON - (int64_t)i * DAY));
    }
    for (unsigned i = 0; i < COUNT(ids); i++)
        scratch_emit(s, sent(&ids[i], "b@x", NOON + 1));
    scratch_flush(s);
    assert_int_equal(scratch_files(s, ".db"), COUNT(ids) + 2 * 4); /* four are kept open: -wal and -shm */
    struct trace_event *rows = scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, COUNT(ids));
    for (size_t i = 0; i < page.rows; i++) {
        assert_string_equal(rows[i].trace_id.text, ids[i].text);
        assert_int_equal(rows[i].event, TRACE_SEND);
        assert_int_equal(rows[i].time, NOON + 1);
    }
}

static void test_retention(void **state) {
    struct scratch *s = *state;
    struct trace_page page;
    scratch_open(s, &(struct trace_settings){.retention_days = 3});
    for (unsigned i = 0; i < 6; i++) {
        struct trace_id id = scratch_id(NOON - (int64_t)i * DAY, i);
        scratch_emit(s, received(&id, "b@x", NOON));
    }
    scratch_close(s);
    scratch_open(s, &(struct trace_settings){.retention_days = 3});
    scratch_flush(s);
    scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, 4); /* today and three days before */
    s->now += 2 * DAY;
    struct trace_id id = scratch_id(s->now, 9);
    scratch_emit(s, received(&id, "b@x", s->now));
    scratch_flush(s);
    scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, 3);
}

static void test_backlog_is_bounded(void **state) {
    struct scratch *s = *state;
    struct trace_counts counts;
    struct trace_page page;
    size_t taken = 0, full = 0;
    scratch_open(s, &(struct trace_settings){.backlog_events = 100});
    for (unsigned i = 0; i < 5000; i++) {
        struct trace_id id = scratch_id(NOON, i);
        struct trace_event event = received(&id, "b@x", NOON);
        int bad = trace_emit(s->trace, &event);
        assert_true(bad == 0 || bad == SLUICE_EFULL);
        taken += bad == 0;
        full += bad != 0;
    }
    scratch_flush(s);
    trace_counts(s->trace, &counts);
    assert_true(taken >= 100 && full > 0);
    assert_int_equal(counts.emitted, taken);
    assert_int_equal(counts.written, taken);
    assert_int_equal(counts.refused, full);
    assert_int_equal(counts.backlog, 0);
    scratch_query(s, (struct trace_filter){.limit = 5000}, &page);
    assert_int_equal(page.rows, taken);
}

static void test_ids_without_time(void **state) {
    struct scratch *s = *state;
    scratch_open(s, NULL);
    struct trace_event event = {.event = TRACE_RECEIVE};
    assert_int_equal(trace_emit(s->trace, &event), SLUICE_EINVALID);
    event.trace_id = scratch_id(NOON, 1);
    event.event = (enum trace_kind)77;
    assert_int_equal(trace_emit(s->trace, &event), SLUICE_EINVALID);
}

static void test_one_writer(void **state) {
    struct scratch *s = *state;
    struct trace *other;
    struct str why;
    scratch_open(s, NULL);
    struct trace_settings settings = {.folder = s->folder};
    assert_int_equal(trace_open(&settings, NULL, s->arena, &why, &other), SLUICE_EBUSY);
    assert_true(str_find(why, STR("in use")) >= 0);
}

static void scribble(const char *path, off_t at, size_t len) {
    static const char junk[512] = "this was a database once";
    FILE *file = fopen(path, "r+");
    if (!file)
        file = fopen(path, "w");
    fseek(file, at, SEEK_SET);
    for (size_t i = 0; i < len; i += sizeof junk)
        fwrite(junk, 1, sizeof junk, file);
    fclose(file);
}

/* A damaged day is set aside when something must be written to it, and left out (with a warning) when read.
 */
static void test_damaged_file(void **state) {
    static const struct {
        const char *what;
        off_t at;
        size_t len;
    } cases[] = {{"not a database", 0, 4096}, {"tables overwritten", 100, 16384}};
    struct scratch *s = *state;
    struct trace_page page;
    size_t count;
    for (unsigned i = 0; i < COUNT(cases); i++) {
        struct trace_id today = scratch_id(NOON, i), before = scratch_id(NOON - DAY, i);
        scratch_open(s, NULL);
        scratch_emit(s, received(&today, "b@x", NOON));
        scratch_emit(s, received(&before, "b@x", NOON - DAY));
        scratch_close(s);
        scribble(scratch_file(s, NOON - DAY), cases[i].at, cases[i].len);
        scratch_open(s, NULL);
        scratch_query(s, (struct trace_filter){0}, &page);
        assert_int_equal(page.rows, i + 1);
        assert_non_null(strstr(page.warning, "2026-11-21.db"));
        scratch_emit(s, sent(&before, "b@x", NOON));
        scratch_flush(s);
        scratch_show(s, &before, &count);
        assert_int_equal(count, 1);
        assert_int_equal(scratch_files(s, "2026-11-21.db.damaged-"), i + 1);
        scratch_query(s, (struct trace_filter){0}, &page);
        assert_string_equal(page.warning, "");
        scratch_close(s);
    }
}

/* As earlier versions wrote it. */
static void make_old(const char *path, bool very_old) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "ALTER TABLE event DROP COLUMN identity;"
                                  "ALTER TABLE latest DROP COLUMN identity;"
                                  "ALTER TABLE event DROP COLUMN score; ALTER TABLE latest DROP COLUMN score;"
                                  "ALTER TABLE event DROP COLUMN symbols;"
                                  "ALTER TABLE latest DROP COLUMN symbols;"
                                  "PRAGMA user_version=2",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    if (!very_old) {
        sqlite3_close(db);
        return;
    }
    assert_int_equal(sqlite3_exec(db,
                                  "ALTER TABLE event DROP COLUMN arc; ALTER TABLE latest DROP COLUMN arc;"
                                  "ALTER TABLE event DROP COLUMN original_client_reason;"
                                  "ALTER TABLE latest DROP COLUMN original_client_reason;"
                                  "PRAGMA user_version=1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

/* A day that an earlier version wrote can be asked and written to as any other. */
static void earlier_version(struct scratch *s, bool very_old) {
    struct trace_page page;
    struct trace_id id = scratch_id(NOON - DAY, 1);
    scratch_open(s, NULL);
    scratch_emit(s, received(&id, "b@x", NOON - DAY));
    scratch_close(s);
    make_old(scratch_file(s, NOON - DAY), very_old);
    scratch_open(s, NULL);
    struct trace_event *rows = scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, 1);
    assert_string_equal(page.warning, "");
    assert_true(str_eq(rows[0].subject, STR("hello")));
    assert_null(rows[0].arc.at);
    assert_null(rows[0].score.at);
    struct trace_event end_of_it = sent(&id, "b@x", NOON);
    end_of_it.arc = STR("none");
    end_of_it.score = STR("7.00/15.00");
    scratch_emit(s, end_of_it);
    scratch_flush(s);
    rows = scratch_query(s, (struct trace_filter){0}, &page);
    assert_true(str_eq(rows[0].arc, STR("none")) && str_eq(rows[0].score, STR("7.00/15.00")));
    assert_int_equal(rows[0].status, TRACE_STATUS_DELIVERED);
    scratch_close(s);
}

static void test_earlier_version(void **state) { earlier_version(*state, false); }
static void test_first_version(void **state) { earlier_version(*state, true); }

static void test_removed_file(void **state) {
    struct scratch *s = *state;
    size_t count;
    scratch_open(s, NULL);
    struct trace_id id = scratch_id(NOON, 1);
    scratch_emit(s, received(&id, "b@x", NOON));
    scratch_flush(s);
    unlink(scratch_file(s, NOON));
    scratch_emit(s, sent(&id, "b@x", NOON));
    scratch_flush(s);
    scratch_show(s, &id, &count);
    assert_int_equal(count, 1);
}

/* A file that can't be written at present: nothing is lost, others go on, and it is written as soon as it can
 * be. A folder in its place does that, for root too. */
static void test_trouble_passes(void **state) {
    struct scratch *s = *state;
    struct trace_counts counts;
    size_t count;
    scratch_open(s, NULL);
    struct trace_id today = scratch_id(NOON, 1), before = scratch_id(NOON - DAY, 1);
    assert_int_equal(mkdir(scratch_file(s, NOON - DAY), 0700), 0);
    scratch_emit(s, received(&before, "b@x", NOON - DAY));
    scratch_emit(s, received(&today, "b@x", NOON));
    assert_int_equal(trace_flush(s->trace), SLUICE_EIO);
    trace_counts(s->trace, &counts);
    assert_int_equal(counts.backlog, 1);
    assert_true(counts.failed > 0);
    scratch_show(s, &today, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rmdir(scratch_file(s, NOON - DAY)), 0);
    scratch_flush(s);
    scratch_show(s, &before, &count);
    assert_int_equal(count, 1);
    trace_counts(s->trace, &counts);
    assert_int_equal(counts.backlog, 0);
}

/* Could another process, an administrator's sqlite3, take the file for itself? */
static bool locked(const char *path) {
    pid_t child = fork();
    if (child == 0) {
        struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(path, O_RDWR | O_CLOEXEC);
        _exit(fd >= 0 && fcntl(fd, F_SETLK, &all) != 0 ? 1 : 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/* To open a day for writing drops no lock that a reader of this process has on it. */
static void test_readers_keep_their_locks(void **state) {
    struct scratch *s = *state;
    sqlite3 *reader;
    struct trace_id id = scratch_id(NOON, 1);
    scratch_open(s, NULL);
    scratch_emit(s, received(&id, "b@x", NOON));
    scratch_flush(s);
    scratch_close(s);
    const char *file = scratch_file(s, NOON);
    assert_int_equal(sqlite3_open_v2(file, &reader, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "SELECT count(*) FROM latest", NULL, NULL, NULL), SQLITE_OK);
    assert_true(locked(file));
    scratch_open(s, NULL); /* opens every day, to see whether it is of an earlier version */
    assert_true(locked(file));
    scratch_close(s);
    assert_true(locked(file));
    sqlite3_close(reader);
    assert_false(locked(file));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_order, begin, end),
        cmocka_unit_test_setup_teardown(test_clock_goes_back, begin, end),
        cmocka_unit_test_setup_teardown(test_report_is_no_state, begin, end),
        cmocka_unit_test_setup_teardown(test_repeats, begin, end),
        cmocka_unit_test_setup_teardown(test_days, begin, end),
        cmocka_unit_test_setup_teardown(test_retention, begin, end),
        cmocka_unit_test_setup_teardown(test_backlog_is_bounded, begin, end),
        cmocka_unit_test_setup_teardown(test_ids_without_time, begin, end),
        cmocka_unit_test_setup_teardown(test_one_writer, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_file, begin, end),
        cmocka_unit_test_setup_teardown(test_earlier_version, begin, end),
        cmocka_unit_test_setup_teardown(test_first_version, begin, end),
        cmocka_unit_test_setup_teardown(test_removed_file, begin, end),
        cmocka_unit_test_setup_teardown(test_trouble_passes, begin, end),
        cmocka_unit_test_setup_teardown(test_readers_keep_their_locks, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
