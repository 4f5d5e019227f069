#include "base/error.h"
#include "cmocka_setup.h"
#include "identity/watch_history.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ip ip_of(const char *text) {
    struct ip ip;
    assert_true(ip_parse(str_of(text), &ip));
    return ip;
}

struct place {
    struct arena *arena;
    char folder[64], path[96];
};

static void place_open(struct place *p) {
    p->arena = arena_new(0);
    snprintf(p->folder, sizeof p->folder, "/tmp/watch-history-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/%s", p->folder, WATCH_HISTORY_FILE);
}

static void place_close(struct place *p) {
    unlink(p->path), rmdir(p->folder);
    arena_free(p->arena);
}

static void add(const struct place *p, int64_t time, const char *ip, enum watch_event event, const char *by) {
    struct buf line __attribute__((cleanup(buf_free))) = {0};
    watch_history_line(&line, &(struct watch_change){time, ip_of(ip), event, str_of(by), STR("words\n")});
    assert_int_equal(watch_history_append(p->path, buf_view(&line)), 0);
}

static size_t count_of(const struct place *p, const char *ip, size_t most, struct watch_change **ret) {
    struct ip parsed = ip_of(ip);
    size_t count = 99;
    assert_int_equal(watch_history_read(p->arena, p->path, &parsed, most, ret, &count), 0);
    return count;
}

static void test_kept_in_order(void **state) {
    (void)state;
    struct place p;
    struct watch_change *found;
    place_open(&p);
    assert_int_equal(count_of(&p, "192.0.2.1", 10, &found), 0);
    for (int64_t i = 1; i <= 7; i++)
        add(&p, i * 1000, i % 2 ? "192.0.2.1" : "192.0.2.11", (enum watch_event)(i % WATCH_EVENT_COUNT), "A");
    add(&p, 9000, "2001:db8::1", WATCH_EVENT_RESTS, "unconfirmed");
    assert_int_equal(count_of(&p, "192.0.2.1", 10, &found), 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(found[i].time == 7000 - (int64_t)i * 2000 && str_eq(found[i].text, STR("words?")));
    assert_int_equal(count_of(&p, "192.0.2.1", 2, &found), 2);
    assert_true(found[0].time == 7000 && found[1].time == 5000);
    assert_int_equal(count_of(&p, "2001:db8::1", 10, &found), 1);
    assert_true(found[0].event == WATCH_EVENT_RESTS && str_eq(found[0].by, STR("unconfirmed")));
    assert_int_equal(watch_history_prune(p.path, 4000), 0);
    assert_int_equal(count_of(&p, "192.0.2.1", 10, &found), 2);
    assert_int_equal(count_of(&p, "192.0.2.11", 10, &found), 2);
    place_close(&p);
}

/* A line that was cut off, or is none, costs that line. */
static void test_damage(void **state) {
    (void)state;
    struct place p;
    struct watch_change *found;
    struct stat before, after;
    char junk[5000];
    place_open(&p);
    memset(junk, 'x', sizeof junk);
    add(&p, 1000, "192.0.2.1", WATCH_EVENT_LISTED, "A");
    assert_int_equal(truncate(p.path, 40), 0);
    add(&p, 2000, "192.0.2.1", WATCH_EVENT_LISTED, "A");
    assert_int_equal(watch_history_append(p.path, str_from(junk, sizeof junk)), 0);
    add(&p, 3000, "192.0.2.1", WATCH_EVENT_DELISTED, "A");
    assert_int_equal(watch_history_append(p.path, STR("{}\n\n[\"192.0.2.1\"]\n")), 0);
    assert_int_equal(count_of(&p, "192.0.2.1", 10, &found), 2);
    assert_true(found[0].time == 3000 && found[1].time == 2000);
    stat(p.path, &before);
    assert_int_equal(watch_history_prune(p.path, 0), 0);
    stat(p.path, &after);
    assert_true(after.st_size < before.st_size - 5000);
    assert_int_equal(count_of(&p, "192.0.2.1", 10, &found), 2);
    assert_int_equal(watch_history_prune("/nowhere/at/all", 0), 0);
    assert_true(watch_history_append("/nowhere/at/all", STR("x\n")) < 0);
    place_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_in_order),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
