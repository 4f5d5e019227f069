#include "rt/state_file.h"

#include "base/error.h"
#include "cmocka_setup.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char folder[64], path[80], draft[90];
};

static struct place place_new(void) {
    struct place p = {.folder = "/tmp/sluice-state-XXXXXX"};
    assert_non_null(mkdtemp(p.folder));
    snprintf(p.path, sizeof p.path, "%s/facts", p.folder);
    snprintf(p.draft, sizeof p.draft, "%s.new", p.path);
    return p;
}

static void place_end(const struct place *p) {
    unlink(p->path), unlink(p->draft);
    rmdir(p->folder);
}

static void assert_holds(const struct place *p, struct str text) {
    struct buf read = {0};
    assert_int_equal(state_file_read(p->path, 100, &read), 0);
    assert_true(str_eq(buf_view(&read), text));
    buf_free(&read);
}

static void test_replaces(void **state) {
    struct place p = place_new();
    struct stat facts;
    (void)state;
    assert_int_equal(state_file_write(p.path, STR("one")), 0);
    assert_holds(&p, STR("one"));
    assert_int_equal(state_file_write(p.path, STR("")), 0);
    assert_holds(&p, STR(""));
    assert_int_equal(stat(p.path, &facts), 0);
    assert_int_equal(facts.st_mode & 07777 & ~0640U, 0);
    assert_int_not_equal(access(p.draft, F_OK), 0);
    place_end(&p);
}

static void test_bounds(void **state) {
    struct place p = place_new();
    struct buf read = {0};
    (void)state;
    assert_int_equal(state_file_read(p.path, 3, &read), SLUICE_ENOTFOUND);
    assert_int_equal(state_file_write(p.path, STR("four")), 0);
    assert_int_equal(state_file_read(p.path, 3, &read), SLUICE_ECORRUPT);
    buf_clear(&read);
    assert_int_equal(state_file_read(p.path, 4, &read), 0);
    assert_int_equal(state_file_read(p.folder, 100, &read), SLUICE_ECORRUPT);
    buf_free(&read);
    place_end(&p);
}

/* What can't be replaced stays as it was, and leaves no draft. */
static void test_stays(void **state) {
    struct place p = place_new();
    char victim[90];
    (void)state;
    snprintf(victim, sizeof victim, "%s/victim", p.folder);
    assert_int_equal(state_file_write(victim, STR("untouched")), 0);
    assert_int_equal(symlink(victim, p.draft), 0); /* somebody's trap: not followed */
    assert_int_not_equal(state_file_write(p.path, STR("two")), 0);
    assert_int_not_equal(access(p.path, F_OK), 0);
    struct buf read = {0};
    assert_int_equal(state_file_read(victim, 100, &read), 0);
    assert_true(str_eq(buf_view(&read), STR("untouched")));
    buf_free(&read);
    unlink(p.draft), unlink(victim);
    assert_int_equal(mkdir(p.path, 0700), 0);
    assert_int_not_equal(state_file_write(p.path, STR("three")), 0);
    assert_int_not_equal(access(p.draft, F_OK), 0);
    rmdir(p.path);
    assert_int_not_equal(state_file_write("/nowhere/at/all", STR("x")), 0);
    place_end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replaces), cmocka_unit_test(test_bounds),
                                       cmocka_unit_test(test_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
