#include "base/error.h"
#include "cmocka_setup.h"
#include "identity/watch_memory.h"
#include "rt/state_file.h"
#include <fcntl.h>
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
    char folder[64], path[96], aside[112];
};

static void place_open(struct place *p) {
    p->arena = arena_new(0);
    snprintf(p->folder, sizeof p->folder, "/tmp/watch-memory-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/%s", p->folder, WATCH_MEMORY_FILE);
    snprintf(p->aside, sizeof p->aside, "%s.damaged", p->path);
}

static void place_close(struct place *p) {
    unlink(p->path), unlink(p->aside), rmdir(p->folder);
    arena_free(p->arena);
}

static void put(const struct place *p, struct str text) {
    FILE *file = fopen(p->path, "w");
    assert_int_equal(fwrite(text.at, 1, text.len, file), text.len);
    fclose(file);
}

static const struct watch_note NOTES[] = {
    {.zone = STR("zen.example"), .text = STR("Listed, see https://zen.example/q/1"), 1000, 2000},
    {.zone = STR(""), .text = STR("it has no PTR record"), 1795332000123, 1795332000456},
};

static void test_saved_and_loaded(void **state) {
    (void)state;
    struct place p;
    struct watch_note notes[COUNT(NOTES)];
    const struct watch_note *again = NULL;
    size_t count = 0;
    struct str why;
    struct buf text = {0};
    memcpy(notes, NOTES, sizeof notes);
    notes[0].ip = ip_of("192.0.2.1"), notes[1].ip = ip_of("2001:db8::1");
    place_open(&p);
    assert_int_equal(watch_memory_load(p.arena, p.path, &why, &again, &count), SLUICE_ENOTFOUND);
    for (size_t n = COUNT(notes) + 1; n-- > 0;) { /* the last one saved counts */
        buf_clear(&text);
        watch_memory_write(&text, notes, n);
        assert_int_equal(state_file_write(p.path, buf_view(&text)), 0);
        assert_int_equal(watch_memory_load(p.arena, p.path, &why, &again, &count), 0);
        assert_int_equal(count, n);
        for (size_t i = 0; i < n; i++)
            assert_true(ip_eq(&again[i].ip, &notes[i].ip) && str_eq(again[i].zone, notes[i].zone) &&
                        str_eq(again[i].text, notes[i].text) && again[i].since == notes[i].since &&
                        again[i].answered == notes[i].answered);
    }
    buf_free(&text);
    place_close(&p);
}

/* What a list says may be anything; the file stays one that can be read. */
static void test_any_text(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    char longer[2 * WATCH_TEXT_MAX];
    for (size_t i = 0; i < sizeof longer; i++)
        longer[i] = (char)i;
    struct watch_note note = {ip_of("192.0.2.1"), STR("a.example"), str_from(longer, sizeof longer), 1, 2};
    const struct watch_note *again = NULL;
    size_t count = 0;
    struct str why;
    struct buf text = {0};
    watch_memory_write(&text, &note, 1);
    assert_int_equal(watch_memory_parse(arena, buf_view(&text), &why, &again, &count), 0);
    assert_int_equal(again[0].text.len, WATCH_TEXT_MAX);
    assert_true(str_starts(again[0].text, STR("????")) && str_find(again[0].text, STR(" !\"#")) > 0);
    buf_free(&text);
    arena_free(arena);
}

/* Cut at each place, or with a byte that is another: read as it is, or set aside; never half. */
static void test_damage(void **state) {
    (void)state;
    struct place p;
    struct watch_note note = {ip_of("192.0.2.1"), STR("a.example"), STR("words"), 1, 2};
    const struct watch_note *again = NULL;
    size_t count = 0;
    struct str why;
    struct buf text = {0};
    watch_memory_write(&text, &note, 1);
    place_open(&p);
    for (size_t cut = 0; cut + 2 < text.len; cut++) {
        put(&p, str_head(buf_view(&text), cut));
        assert_int_equal(watch_memory_load(p.arena, p.path, &why, &again, &count), SLUICE_ESYNTAX);
        assert_true(why.len && access(p.path, F_OK) != 0 && access(p.aside, F_OK) == 0);
    }
    for (size_t at = 0; at < text.len; at++) {
        struct buf other __attribute__((cleanup(buf_free))) = {0};
        buf_str(&other, buf_view(&text));
        other.at[at] ^= (char)0x81;
        put(&p, buf_view(&other));
        assert_int_equal(watch_memory_load(p.arena, p.path, &why, &again, &count), SLUICE_ESYNTAX);
    }
    buf_free(&text);
    place_close(&p);
}

/* What can't be read is not set aside: it may be good. */
static void test_unreadable(void **state) {
    (void)state;
    struct place p;
    const struct watch_note *again = NULL;
    size_t count = 0;
    struct str why;
    place_open(&p);
    assert_int_equal(mkdir(p.path, 0700), 0);
    assert_int_equal(watch_memory_load(p.arena, p.path, &why, &again, &count), SLUICE_EIO);
    assert_true(why.len > 0);
    assert_true(state_file_write(p.path, STR("x")) < 0);
    rmdir(p.path);
    assert_true(state_file_write("/nowhere/at/all", STR("x")) < 0);
    place_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_and_loaded),
        cmocka_unit_test(test_any_text),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
