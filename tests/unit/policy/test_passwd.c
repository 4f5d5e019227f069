#include "base/error.h"
#include "cmocka_setup.h"
#include "fixture.h"
#include "policy/passwd.h"

#include <crypt.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
    char folder[64], file[96];
};

static struct scratch scratch_open(void) {
    struct scratch s = {.folder = "/tmp/sluice-passwd-XXXXXX"};
    assert_non_null(mkdtemp(s.folder));
    snprintf(s.file, sizeof s.file, "%s/users", s.folder);
    return s;
}

static void scratch_write(const struct scratch *s, const char *text) {
    char fresh[112];
    snprintf(fresh, sizeof fresh, "%s.new", s->file);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(rename(fresh, s->file), 0);
}

static void scratch_close(const struct scratch *s) {
    unlink(s->file);
    rmdir(s->folder);
}

/* A hash of `password` in the scheme with this prefix, at its least cost. */
static struct str hash_of(struct arena *arena, const char *prefix, unsigned long cost, const char *password) {
    struct crypt_data *work = xcalloc(1, sizeof *work);
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    assert_non_null(
        crypt_gensalt_rn(prefix, cost, "0123456789abcdef0123456789abcdef", 32, setting, sizeof setting));
    struct str hash = str_copy(arena, str_of(crypt_rn(password, setting, work, sizeof *work)));
    free(work);
    return hash;
}

static void test_schemes(void **state) {
    static const struct {
        const char *scheme, *prefix;
        unsigned long cost;
    } cases[] = {
        {"{SHA512-CRYPT}", "$6$", 1000}, {"{sha256-crypt}", "$5$", 1000},
        {"{BLF-CRYPT}", "$2b$", 4},      {"{MD5-CRYPT}", "$1$", 0},
        {"{YESCRYPT}", "$y$", 1},        {"{SCRYPT}", "$7$", 6},
        {"{GOST-YESCRYPT}", "$gy$", 1},  {"{DES-CRYPT}", "", 0},
        {"{CRYPT}", "$6$", 1000},        {"", "$y$", 1},
        {"{SUNMD5-CRYPT}", "$md5", 0},   {"{SHA1-CRYPT}", "$sha1", 4},
    };
    struct scratch s = scratch_open();
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct passwd *p;
        struct str why, hash = hash_of(arena, cases[i].prefix, cases[i].cost, "se cret");
        scratch_write(&s, str_printf(arena, "# comment\n\nbob:%s%.*s:1000:1000::/home\r\n", cases[i].scheme,
                                     STR_FMT(hash))
                              .at);
        int error = passwd_open(s.file, STR("a.example"), arena, &why, &p);
        if (error)
            print_error("%s: %.*s\n", cases[i].scheme, STR_FMT(why));
        assert_int_equal(error, 0);
        assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("se cret"), arena, &why), 0);
        assert_int_equal(passwd_check(p, STR("BOB@A.example"), STR("se cret"), arena, &why), 0);
        assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("se cre"), arena, &why), SLUICE_EDENIED);
        assert_int_equal(passwd_check(p, STR("bob@a.example"), STR(""), arena, &why), SLUICE_EDENIED);
        assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("se cret\0x"), arena, &why),
                         SLUICE_EDENIED);
        assert_int_equal(passwd_check(p, STR("bob@b.example"), STR("se cret"), arena, &why), SLUICE_EDENIED);
        assert_int_equal(passwd_check(p, STR("eve@a.example"), STR("se cret"), arena, &why), SLUICE_EDENIED);
        assert_int_equal(passwd_check(p, STR(""), STR("se cret"), arena, &why), SLUICE_EDENIED);
        assert_int_equal(why.len, 0);
        passwd_close(p);
        arena_free(arena);
    }
    scratch_close(&s);
}

static void test_files(void **state) {
    static const struct {
        const char *text, *why; /* NULL: good */
    } cases[] = {
        {"", NULL},
        {"bob:{PLAIN}x\n", NULL},
        {"bob:{PLAIN}x", NULL},
        {"bob:{CLEARTEXT}x\nann@b.example:{PLAIN}y:::\n", NULL},
        {"bob:!\nann:*\neve:\n", NULL},
        {"bob\n", ":1: a line is user:{SCHEME}hash"},
        {"# x\nbob:{PLAIN}x\nbob@a.example:{PLAIN}y\n", ":3: the user stands here twice"},
        {"bob:{ARGON2ID}x\n", ":1: the scheme is not known"},
        {"bob:{PLAIN\n", ":1: the scheme lacks its closing brace"},
        {"bob:{SHA512-CRYPT}$5$aa$bb\n", ":1: the hash is not of the scheme"},
        {"bob:{CRYPT}$9$x\n", ":1: the hash is malformed"},
        {"bob:plain text\n", ":1: the hash is malformed"},
        {":{PLAIN}x\n", ":1: the user, with the domain, is no mail address"},
        {"b ob:{PLAIN}x\n", ":1: the user, with the domain, is no mail address"},
    };
    struct scratch s = scratch_open();
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct passwd *p = NULL;
        struct str why = STR("");
        scratch_write(&s, cases[i].text);
        int error = passwd_open(s.file, STR("a.example"), arena, &why, &p);
        assert_int_equal(error, cases[i].why ? SLUICE_ESYNTAX : 0);
        if (error)
            assert_true(str_starts(why, str_of(s.file)) && str_find(why, str_of(cases[i].why)) > 0);
        passwd_close(p);
        arena_free(arena);
    }
    struct arena *arena = arena_new(0);
    struct passwd *p = NULL;
    struct str why;
    assert_int_equal(passwd_open(s.folder, STR("a.example"), arena, &why, &p), SLUICE_EIO);
    arena_free(arena);
    scratch_close(&s);
}

static void test_change(void **state) {
    struct scratch s = scratch_open();
    struct arena *arena = arena_new(0);
    struct passwd *p;
    struct str why;
    (void)state;
    scratch_write(&s, "bob:{PLAIN}one\nlocked:!\n");
    assert_int_equal(passwd_open(s.file, STR("a.example"), arena, &why, &p), 0);
    assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("one"), arena, &why), 0);
    assert_int_equal(passwd_check(p, STR("locked@a.example"), STR("one"), arena, &why), SLUICE_EDENIED);
    assert_int_equal(passwd_check(p, STR("locked@a.example"), STR("!"), arena, &why), SLUICE_EDENIED);
    scratch_write(&s, "bob:{PLAIN}two\n");
    assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("one"), arena, &why), SLUICE_EDENIED);
    assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("two"), arena, &why), 0);
    /* A damaged file locks nobody out, and is told about until it is mended. */
    scratch_write(&s, "bob:{PLAIN}three\nbroken\n");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("two"), arena, &why), 0);
        assert_true(str_find(why, STR(":2: a line is")) > 0);
    }
    unlink(s.file);
    assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("two"), arena, &why), 0);
    assert_true(why.len > 0);
    scratch_write(&s, "bob:{PLAIN}four\n");
    assert_int_equal(passwd_check(p, STR("bob@a.example"), STR("four"), arena, &why), 0);
    assert_int_equal(why.len, 0);
    passwd_close(p);
    arena_free(arena);
    scratch_close(&s);
}

static void test_login(void **state) {
    static const struct {
        const char *login, *password, *user; /* user NULL: refused */
    } cases[] = {
        {"bob", "x", "bob@a.example"},
        {"bob@a.example", "x", "bob@a.example"},
        {"bob@A.EXAMPLE", "x", "bob@a.example"},
        {"ann@aa.example", "y", "ann@aa.example"},
        {"ann", "y", NULL},
        {"bob@aa.example", "x", NULL},
        {"bob@b.example", "x", NULL},
        {"bob@else.example", "x", NULL},
        {"bob", "", NULL},
        {"", "x", NULL},
        {"@a.example", "x", NULL},
    };
    struct scratch s = scratch_open();
    (void)state;
    scratch_write(&s, "bob:{PLAIN}x\nann@aa.example:{PLAIN}y\n");
    struct fixture f =
        fixture_open("tenant \"a\" { domains = {\"a.example\", \"aa.example\"} users = \"users\" }\n"
                     "tenant \"b\" { domains = {\"b.example\"} }\n",
                     s.folder, NULL);
    assert_int_equal(config_error_count(f.errors), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct login login;
        struct str why;
        int error =
            policy_login(f.policy, str_of(cases[i].login), str_of(cases[i].password), f.arena, &login, &why);
        assert_int_equal(error, cases[i].user ? 0 : SLUICE_EDENIED);
        if (!error)
            assert_true(str_eq(login.user, str_of(cases[i].user)) && login.tenant == &f.policy->tenants[0]);
    }
    fixture_close(&f);
    scratch_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schemes), cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_change), cmocka_unit_test(test_login)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
