#include "../auth/zone.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "identity/ownership.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOUR = 3600000, GRACE = 3 * HOUR, NOW = 1000 };

struct files {
    struct arena *arena;
    char folder[32];
    const char *secret, *table;
};

static int open_files(void **state) {
    struct files *f = calloc(1, sizeof *f);
    f->arena = arena_new(0);
    strcpy(f->folder, "/tmp/ownership-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->secret = str_printf(f->arena, "%s/keys/secret", f->folder).at;
    f->table = str_printf(f->arena, "%s/domains.json", f->folder).at;
    *state = f;
    return 0;
}

static int close_files(void **state) {
    struct files *f = *state;
    const char *remove = str_printf(f->arena, "rm -rf %s", f->folder).at;
    assert_int_equal(system(remove), 0);
    arena_free(f->arena);
    free(f);
    return 0;
}

static void write_file(const char *path, struct str text, mode_t mode) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.at, 1, text.len, file), text.len);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

/* ---- tokens ---- */

/* HMAC-SHA256 by `printf 'contoso\0contoso.com' | openssl dgst -sha256 -mac hmac -macopt hexkey:00..1f`. */
static void test_a_token_is_always_the_same(void **state) {
    struct files *f = *state;
    struct ownership_secret secret, other = {{1}};
    for (unsigned i = 0; i < sizeof secret.bytes; i++)
        secret.bytes[i] = (unsigned char)i;
    struct str token = ownership_token(f->arena, &secret, STR("contoso"), STR("contoso.com"));
    assert_true(str_eq(token, STR("sluice-domain-verification=3aa0bca6f4513299b1d49d99a60ab15936eb65b1")));
    static const char *const others[][2] = {
        {"contoso", "contoso.net"}, {"fabrikam", "contoso.com"}, {"contos", "ocontoso.com"}};
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(
            str_eq(token, ownership_token(f->arena, &secret, str_of(others[i][0]), str_of(others[i][1]))));
    assert_false(str_eq(token, ownership_token(f->arena, &other, STR("contoso"), STR("contoso.com"))));
    assert_true(str_eq(ownership_name(f->arena, STR("contoso.com")), STR("_sluice.contoso.com")));
}

static void test_the_secret(void **state) {
    struct files *f = *state;
    struct ownership_secret made, again;
    struct str why = STR_NULL;
    struct stat file;
    assert_int_equal(ownership_secret_read(f->secret, f->arena, &why, &made), SLUICE_ENOTFOUND);
    assert_int_equal(ownership_secret_make(f->secret, f->arena, &why, &made), 0);
    assert_int_equal(stat(f->secret, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(ownership_secret_make(f->secret, f->arena, &why, &again), 0);
    assert_memory_equal(&made, &again, sizeof made);
    assert_int_equal(ownership_secret_read(f->secret, f->arena, &why, &again), 0);
    assert_memory_equal(&made, &again, sizeof made);

#define HEX "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
    static const struct {
        struct str text;
        mode_t mode;
        int error;
    } cases[] = {
        {STR(HEX), 0600, 0},
        {STR("  " HEX "\r\n"), 0400, 0},
        {STR(HEX), 0640, SLUICE_EDENIED},
        {STR(HEX), 0604, SLUICE_EDENIED},
        {STR(""), 0600, SLUICE_ESYNTAX},
        {STR(HEX "0"), 0600, SLUICE_ESYNTAX},
        {STR("g" HEX), 0600, SLUICE_ESYNTAX},
        {STR(HEX HEX HEX), 0600, SLUICE_ESYNTAX},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_file(f->secret, cases[i].text, cases[i].mode);
        assert_int_equal(ownership_secret_read(f->secret, f->arena, &why, &again), cases[i].error);
        assert_int_equal(ownership_secret_make(f->secret, f->arena, &why, &again), cases[i].error);
        if (cases[i].error)
            assert_true(str_find(why, str_of(f->secret)) >= 0);
    }
}

/* ---- what an answer changes ---- */

#define F OWNERSHIP_FOUND
#define A OWNERSHIP_ABSENT
#define U OWNERSHIP_UNANSWERED

/* Answers an hour apart. */
static const struct {
    enum ownership_finding findings[8];
    size_t count;
    enum ownership_state state;
    int hour; /* of the state's beginning */
    unsigned misses;
} STORIES[] = {
    {{U, U, U}, 3, OWNERSHIP_UNKNOWN, -1, 0},
    {{U, A, U}, 3, OWNERSHIP_UNVERIFIED, 1, 0},
    {{A, A, A}, 3, OWNERSHIP_UNVERIFIED, 0, 0},
    {{A, F, U, U}, 4, OWNERSHIP_VERIFIED, 1, 0},
    {{F, A, A, U}, 4, OWNERSHIP_VERIFIED, 0, 2},
    {{F, A, A, A}, 4, OWNERSHIP_VERIFIED, 0, 3},
    {{F, A, A, A, A, A}, 6, OWNERSHIP_UNVERIFIED, 4, 4},
    {{F, A, U, U, U, U}, 6, OWNERSHIP_VERIFIED, 0, 1}, /* nobody answered: nobody said that it is gone */
    {{F, A, U, U, U, A}, 6, OWNERSHIP_UNVERIFIED, 5, 2},
    {{F, A, A, F, A, A}, 6, OWNERSHIP_VERIFIED, 0, 2},
    {{F, A, A, A, A, F}, 6, OWNERSHIP_VERIFIED, 5, 0},
};

static void test_what_answers_change(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(STORIES); i++) {
        struct ownership_fact fact = {0};
        for (size_t k = 0; k < STORIES[i].count; k++)
            (void)ownership_apply(&fact, STORIES[i].findings[k], STR("why"), GRACE, NOW + (int64_t)k * HOUR);
        assert_int_equal(fact.state, STORIES[i].state);
        assert_int_equal(fact.since, STORIES[i].hour < 0 ? 0 : NOW + STORIES[i].hour * HOUR);
        assert_int_equal(fact.misses, STORIES[i].misses);
        assert_int_equal(fact.missing != 0, STORIES[i].misses != 0);
        assert_int_equal(fact.why.len != 0, STORIES[i].findings[STORIES[i].count - 1] != F);
    }
    struct ownership_fact at_once = {.state = OWNERSHIP_VERIFIED};
    assert_true(ownership_apply(&at_once, A, STR("why"), 0, NOW));
    assert_int_equal(at_once.state, OWNERSHIP_UNVERIFIED);
}

/* ---- the question ---- */

static void test_what_stands_in_the_dns(void **state) {
    struct files *f = *state;
    static const struct {
        struct zone_record record;
        enum ownership_finding finding;
        const char *why;
    } cases[] = {
        {{STR("_sluice.contoso.com"), STR("TXT"), STR("tok=1")}, F, ""},
        {{STR("_sluice.contoso.com"), STR("TXT"), STR("TOK=1")}, F, ""},
        {{STR("_sluice.contoso.com"), STR("TXT"), STR("\" tok=1 \"")}, F, ""}, /* quoted by a form */
        {{STR("_sluice.contoso.com"), STR("TXT"), STR("tok=1 tok=2")}, A, "is not the token"},
        {{STR("_sluice.contoso.com"), STR("TXT"), STR("\"tok=1")}, A, "is not the token"},
        {{STR("_sluice.contoso.com"), STR("TXT"), STR("tok=2")}, A, "is not the token: \"tok=2\""},
        {{STR("contoso.com"), STR("TXT"), STR("tok=1")}, A, "there is no _sluice.contoso.com"},
        {{STR("_sluice.contoso.com"), STR("A"), STR("192.0.2.1")},
         A,
         "there is no TXT at _sluice.contoso.com"},
        {{STR("_sluice.contoso.com"), STR("TIMEOUT"), STR("")}, U, "does not answer for _sluice.contoso.com"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct zone zone;
        struct str why = STR_NULL;
        zone_open(&zone, &cases[i].record, 1);
        enum ownership_finding found =
            ownership_ask(&zone.resolver, STR("contoso.com"), STR("tok=1"), INT64_MAX, f->arena, &why);
        assert_int_equal(found, cases[i].finding);
        assert_true(str_find(why, str_of(cases[i].why)) >= 0);
    }
}

/* ---- the table and its file ---- */

static void note(struct ownership *o, struct arena *arena, const char *domain,
                 enum ownership_finding finding) {
    bool changed;
    (void)ownership_note(o, STR("contoso"), str_of(domain), finding, STR("say \"why\""), GRACE, NOW, arena,
                         &changed);
}

static void test_what_is_known_survives(void **state) {
    struct files *f = *state;
    struct ownership *o = ownership_new();
    struct str why = STR_NULL;
    assert_int_equal(ownership_read(o, f->table, f->arena, &why), SLUICE_ENOTFOUND);
    assert_false(ownership_take_changes(o));
    note(o, f->arena, "a.test", F), note(o, f->arena, "b.test", A), note(o, f->arena, "c.test", U);
    note(o, f->arena, "d.test", F), note(o, f->arena, "d.test", A);
    assert_true(ownership_take_changes(o));
    assert_false(ownership_take_changes(o));
    assert_int_equal(ownership_write(o, f->table, f->arena, &why), 0);
    ownership_free(o);

    o = ownership_new();
    assert_int_equal(ownership_read(o, f->table, f->arena, &why), 0);
    static const struct {
        const char *domain;
        enum ownership_state state;
        bool since, checked, missing;
    } cases[] = {
        {"a.test", OWNERSHIP_VERIFIED, true, true, false},
        {"b.test", OWNERSHIP_UNVERIFIED, true, true, false},
        {"c.test", OWNERSHIP_UNKNOWN, false, false, false},
        {"d.test", OWNERSHIP_VERIFIED, true, true, true},
        {"e.test", OWNERSHIP_UNKNOWN, false, false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ownership_fact fact = ownership_get(o, f->arena, STR("contoso"), str_of(cases[i].domain));
        assert_int_equal(fact.state, cases[i].state);
        assert_int_equal(fact.since, cases[i].since ? NOW : 0);
        assert_int_equal(fact.checked, cases[i].checked ? NOW : 0);
        assert_int_equal(fact.missing, cases[i].missing ? NOW : 0);
    }
    assert_true(str_eq(ownership_get(o, f->arena, STR("contoso"), STR("b.test")).why, STR("say \"why\"")));
    assert_int_equal(ownership_state_of(o, STR("fabrikam"), STR("a.test")), OWNERSHIP_UNKNOWN);

    ownership_keep(o, &(struct ownership_fact){.tenant = STR("contoso"), .domain = STR("d.test")}, 1);
    assert_true(ownership_take_changes(o));
    assert_int_equal(ownership_state_of(o, STR("contoso"), STR("a.test")), OWNERSHIP_UNKNOWN);
    assert_int_equal(ownership_state_of(o, STR("contoso"), STR("d.test")), OWNERSHIP_VERIFIED);
    ownership_free(o);
}

#define ONE                                                                                                  \
    "{\"tenant\":\"t\",\"domain\":\"d.test\",\"state\":\"verified\",\"since\":\"2026-11-22T00:00:00.000Z\"," \
    "\"checked\":null,\"missing\":null,\"misses\":0,\"why\":\"\"}"

/* Nothing is taken from a file that is not whole: what is verified must not hang on a torn byte. */
static void test_damage(void **state) {
    struct files *f = *state;
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"{\"version\":1,\"domains\":[" ONE "]}", 0},
        {"{\"version\":1,\"domains\":[]}", 0},
        {"", SLUICE_ECORRUPT},
        {"{\"version\":1,\"domains\":[" ONE, SLUICE_ECORRUPT},
        {"{\"version\":2,\"domains\":[" ONE "]}", SLUICE_ECORRUPT},
        {"{\"version\":1}", SLUICE_ECORRUPT},
        {"{\"version\":1,\"domains\":[" ONE "," ONE "]}", SLUICE_ECORRUPT},
        {"{\"version\":1,\"domains\":[" ONE ",7]}", SLUICE_ECORRUPT},
        {"{\"version\":1,\"domains\":[" ONE ",{\"tenant\":\"t\",\"domain\":\"e.test\",\"state\":\"fine\"}]}",
         SLUICE_ECORRUPT},
        {"[]", SLUICE_ECORRUPT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ownership *o = ownership_new();
        struct str why = STR_NULL;
        write_file(f->table, str_of(cases[i].text), 0640);
        assert_int_equal(ownership_read(o, f->table, f->arena, &why), cases[i].error);
        assert_int_equal(ownership_state_of(o, STR("t"), STR("d.test")),
                         i == 0 ? OWNERSHIP_VERIFIED : OWNERSHIP_UNKNOWN);
        if (cases[i].error)
            assert_true(str_find(why, str_of(f->table)) >= 0);
        ownership_free(o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_token_is_always_the_same, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_the_secret, open_files, close_files),
        cmocka_unit_test(test_what_answers_change),
        cmocka_unit_test_setup_teardown(test_what_stands_in_the_dns, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_what_is_known_survives, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_damage, open_files, close_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
