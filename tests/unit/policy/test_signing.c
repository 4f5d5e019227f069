#include "base/clock.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "fixture.h"
#include "policy/rotation.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A state folder with keys/: r.pem (RSA) and a.pem to d.pem (Ed25519). */
struct folder {
    char path[32];
    struct arena *arena;
};

static const char *inside(const struct folder *f, const char *name) {
    return str_printf(f->arena, "%s/keys/%s", f->path, name).at;
}

static void put(const struct folder *f, const char *name, struct str text, mode_t mode) {
    FILE *out = fopen(inside(f, name), "w");
    assert_non_null(out);
    fwrite(text.at, 1, text.len, out);
    fclose(out);
    assert_int_equal(chmod(inside(f, name), mode), 0);
}

static void put_key(const struct folder *f, const char *name, enum dkim_algorithm algorithm, mode_t mode) {
    struct dkim_key *key = NULL;
    struct buf pem = {0};
    assert_int_equal(dkim_key_new(algorithm, 1024, &key), 0);
    assert_int_equal(dkim_key_pem(key, &pem), 0);
    put(f, name, buf_view(&pem), mode);
    buf_free(&pem);
    dkim_key_free(key);
}

static struct folder folder_make(void) {
    struct folder f = {"/tmp/sluice-signing-XXXXXX", arena_new(0)};
    assert_non_null(mkdtemp(f.path));
    assert_int_equal(mkdir(inside(&f, ""), 0700), 0);
    put_key(&f, "r.pem", DKIM_RSA, 0600);
    put_key(&f, "a.pem", DKIM_ED25519, 0600);
    put_key(&f, "b.pem", DKIM_ED25519, 0600);
    put_key(&f, "open.pem", DKIM_ED25519, 0604);
    put_key(&f, "shared.pem", DKIM_ED25519, 0620);
    put_key(&f, "group.pem", DKIM_ED25519, 0640);
    put(&f, "text.pem", STR("no key\n"), 0600);
    return f;
}

static void folder_remove(struct folder *f) {
    assert_int_equal(system(str_printf(f->arena, "rm -r %s", f->path).at), 0);
    arena_free(f->arena);
}

#define KEY(domain, selector, file, more)                                                                    \
    "dkim \"" domain "\" { selector = " selector " key = \"keys/" file "\" " more " }\n"

/* "d=DOMAIN s=SELECTOR ..." of all that sign. */
static const char *signers(struct arena *arena, const struct tenant *t, struct str from, int64_t now) {
    struct dkim_signer found[DKIM_SIGN_MAX];
    size_t count = signing_keys(t, from, now, found);
    struct buf text = {0};
    for (size_t i = 0; i < count; i++) {
        assert_non_null(found[i].key);
        assert_int_equal(found[i].identity.len, 0);
        buf_printf(&text, "%s%.*s/%.*s/%s", i ? " " : "", STR_FMT(found[i].domain),
                   STR_FMT(found[i].selector),
                   dkim_key_algorithm(found[i].key) == DKIM_RSA ? "rsa" : "ed25519");
    }
    struct str copy = str_copy(arena, buf_view(&text));
    buf_free(&text);
    return copy.at;
}

static struct fixture load_good(const struct folder *f, const char *text) {
    struct fixture fixture = fixture_open(text, f->path, NULL);
    for (size_t i = 0; i < config_error_count(fixture.errors); i++)
        print_error("%s\n", config_error_at(fixture.errors, i));
    assert_int_equal(config_error_count(fixture.errors), 0);
    return fixture;
}

static void test_choice(void **state) {
    static const char text[] =
        "tenant \"c\" { domains = {\"contoso.com\", \"fabrikam.com\", \"b\xc3\xbc"
        "cher.example\", \"mail.news.fabrikam.com\"}\n" KEY(
            "contoso.com", "Main", "r.pem", "ed25519-selector = \"e1.bl2\" ed25519-key = \"keys/a.pem\"")
            KEY("fabrikam.com", "f", "a.pem", "subdomains = true")
                KEY("deep.news.fabrikam.com", "deep", "b.pem", "")
                    KEY("news.fabrikam.com", "n", "b.pem", "subdomains = true")
                        KEY("b\xc3\xbc"
                            "cher.example",
                            "i", "b.pem",
                            "") "}\n"
                                "tenant \"none\" { domains = {\"none.example\"} }\n"
                                "tenant \"other\" { domains = {\"x.other.example\", "
                                "\"other.example\"}\n" KEY(
                                    "other.example", "o", "a.pem",
                                    "subdomains = true") "}\n"
                                                         "tenant \"late\" { domains = {\"late.example\", "
                                                         "\"l2.example\"}\n" KEY("l2.example", "l", "a.pem",
                                                                                 "") "}\n";
    static const char both[] = "contoso.com/main/rsa contoso.com/e1.bl2/ed25519";
    static const struct {
        const char *tenant, *from, *signers;
    } cases[] = {
        {"c", "contoso.com", both},
        {"c", "CONTOSO.com.", both},
        {"c", "sub.contoso.com", both}, /* not covered; but it is the default domain */
        {"c", "fabrikam.com", "fabrikam.com/f/ed25519"},
        {"c", "a.b.fabrikam.com", "fabrikam.com/f/ed25519"},
        {"c", "news.fabrikam.com", "news.fabrikam.com/n/ed25519"},
        {"c", "mail.news.fabrikam.com", "news.fabrikam.com/n/ed25519"},
        {"c", "deep.news.fabrikam.com", "deep.news.fabrikam.com/deep/ed25519"},
        {"c", "under.deep.news.fabrikam.com", "news.fabrikam.com/n/ed25519"}, /* `deep` covers none below */
        {"c", "xfabrikam.com", both},
        {"c", "com", both},
        {"c",
         "B\xc3\x9c"
         "CHER.example",
         "xn--bcher-kva.example/i/ed25519"},
        {"c", "xn--bcher-kva.example", "xn--bcher-kva.example/i/ed25519"},
        {"c",
         "sub.b\xc3\xbc"
         "cher.example",
         both},
        {"c", "elsewhere.example", both},
        {"c", "[192.0.2.1]", both},
        {"c", "a..b\xff", both},
        {"c", "", both},
        {"c", ".", both},
        {"none", "none.example", ""},
        {"none", "contoso.com", ""},
        {"other", "elsewhere.example", "other.example/o/ed25519"}, /* the default domain's parent */
        {"late", "elsewhere.example", ""},                         /* the default domain has no key */
        {"late", "l2.example", "l2.example/l/ed25519"},
        {"nobody", "contoso.com", ""},
    };
    struct folder f = folder_make();
    struct fixture fixture = load_good(&f, text);
    (void)state;
    assert_int_equal(config_warning_count(fixture.errors), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct tenant *t = policy_tenant(fixture.policy, str_of(cases[i].tenant));
        const char *got = signers(f.arena, t, str_of(cases[i].from), 0);
        if (strcmp(got, cases[i].signers) != 0)
            fail_msg("%s: %s instead of %s", cases[i].from, got, cases[i].signers);
    }
    fixture_close(&fixture);
    folder_remove(&f);
}

#define TENANT(sections) "tenant \"a\" { domains = {\"a.example\", \"b.example\"}\n" sections " }\n"

static void test_problems(void **state) {
    static const struct {
        const char *text, *problem; /* "warning: ..." */
    } cases[] = {
        {TENANT(KEY("a b", "s", "a.pem", "")), "test.conf:2: \"a b\" is no domain"},
        {TENANT(KEY("[192.0.2.1]", "s", "a.pem", "")), "\"[192.0.2.1]\" is no domain"},
        {TENANT(KEY("c.example", "s", "a.pem", "")), "neither among the tenant's domains nor below"},
        {TENANT(KEY("example", "s", "a.pem", "")), "neither among the tenant's domains nor below"},
        {TENANT(KEY("m.a.example", "s", "a.pem", "")) "tenant \"m\" { domains = {\"m.a.example\"} }",
         "neither among the tenant's domains nor below"},
        {TENANT(KEY("a.example", "s", "a.pem", "") KEY("A.example.", "s", "a.pem", "")), "stand here twice"},
        {TENANT(KEY("a.example", "s", "a.pem", "") KEY("A.example", "s", "a.pem", "")), "stand here twice"},
        {TENANT(KEY("a.example", "\"s_1\"", "a.pem", "")), "\"s_1\" is no selector"},
        {TENANT(KEY("a.example", "\"s..1\"", "a.pem", "")), "\"s..1\" is no selector"},
        {TENANT(KEY("a.example", "\"-s\"", "a.pem", "")), "\"-s\" is no selector"},
        {TENANT("dkim a.example { key = \"keys/a.pem\" }"), "selector"},
        {TENANT("dkim a.example { selector = s }"), "key"},
        {TENANT(KEY("a.example", "s", "none.pem", "")), "none.pem can't be read: No such file"},
        {TENANT(KEY("a.example", "s", ".", "")), "is no ordinary file"},
        {TENANT(KEY("a.example", "s", "text.pem", "")), "text.pem: not a private key in PEM"},
        {TENANT(KEY("a.example", "s", "open.pem", "")), "open to others than its owner (mode 0604)"},
        {TENANT(KEY("a.example", "s", "shared.pem", "")), "open to others than its owner (mode 0620)"},
        {TENANT(KEY("a.example", "s", "group.pem", "")), "warning: "},
        {TENANT(KEY("a.example", "s", "r.pem", "ed25519-selector = t")), "belong together"},
        {TENANT(KEY("a.example", "s", "r.pem", "ed25519-key = \"keys/a.pem\"")), "belong together"},
        {TENANT(KEY("a.example", "s", "r.pem", "ed25519-selector = S ed25519-key = \"keys/a.pem\"")),
         "\"s\" is the selector of `key` already"},
        {TENANT(KEY("a.example", "s", "r.pem", "ed25519-selector = t ed25519-key = \"keys/r.pem\"")),
         "`ed25519-key` is an RSA key"},
        {TENANT(KEY("a.example", "s", "a.pem", "ed25519-selector = t ed25519-key = \"keys/b.pem\"")),
         "`key` has to be RSA"},
        {TENANT(KEY("a.example", "s", "a.pem", "rotation = 1min")), "rotation"},
    };
    struct folder f = folder_make();
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture fixture = fixture_open(cases[i].text, f.path, NULL);
        const char *first = config_error_count(fixture.errors)     ? config_error_at(fixture.errors, 0)
                            : config_warning_count(fixture.errors) ? "warning: "
                                                                   : "nothing";
        if (!strstr(first, cases[i].problem))
            fail_msg("%s: %s", cases[i].text, first);
        fixture_close(&fixture);
    }
    folder_remove(&f);
}

/* ---- rotations ---- */

#define HEAD "{\"version\": 1, \"domain\": \"a.example\", "
#define TIMES                                                                                                \
    "\"started\": \"2026-11-01T00:00:00Z\", \"switch\": \"2026-11-05T00:00:00Z\", \"keep\": "                \
    "\"2026-11-09T00:00:00Z\", "
#define CONFIGURED "\"configured\": [\"s\"], "
#define OLD "\"old\": [{\"selector\": \"s\", \"key\": \"keys/r.pem\"}], "
#define NEW "\"new\": [{\"selector\": \"n\", \"key\": \"keys/a.pem\"}]}"

static void test_parse(void **state) {
    static const struct {
        const char *text, *why; /* NULL: good */
    } cases[] = {
        {HEAD TIMES CONFIGURED OLD NEW, NULL},
        {HEAD TIMES CONFIGURED "\"old\": [], " NEW, NULL},
        {"", "line 1"},
        {"[]", "is no JSON object"},
        {"{\"version\": 2}", "`version` is not 1"},
        {HEAD HEAD, "line 1"},
        {HEAD "\"domain\": \"b.example\", " TIMES CONFIGURED OLD NEW, "duplicate"},
        {HEAD "\"more\": 1, " TIMES CONFIGURED OLD NEW, "`more` is unknown"},
        {"{\"version\": 1, \"domain\": \"a..b\", " TIMES CONFIGURED OLD NEW, "`domain` is no domain"},
        {"{\"version\": 1, \"domain\": \"../../x\", " TIMES CONFIGURED OLD NEW, "`domain` is no domain"},
        {"{\"version\": 1, " TIMES CONFIGURED OLD NEW, "`domain` is no domain"},
        {HEAD CONFIGURED OLD NEW, "`started` is no time"},
        {HEAD "\"started\": \"2026-11-06T00:00:00Z\", \"switch\": \"2026-11-05T00:00:00Z\", \"keep\": "
              "\"2026-11-09T00:00:00Z\", " CONFIGURED OLD NEW,
         "`switch` is before `started`"},
        {HEAD "\"started\": \"2026-11-04T00:00:00Z\", \"switch\": \"2026-11-05T00:00:00Z\", \"keep\": "
              "\"2026-11-04T00:00:00Z\", " CONFIGURED OLD NEW,
         "`keep` is before `switch`"},
        {HEAD TIMES "\"configured\": [], " OLD NEW, "`configured` is no list of one or two"},
        {HEAD TIMES "\"configured\": [\"a\", \"b\", \"c\"], " OLD NEW, "`configured` is no list"},
        {HEAD TIMES "\"configured\": [\"a_b\"], " OLD NEW, "`configured` has a selector that is none"},
        {HEAD TIMES CONFIGURED "\"old\": 5, " NEW, "`old` is no list of at most two"},
        {HEAD TIMES CONFIGURED NEW, "`old` is no list"},
        {HEAD TIMES CONFIGURED OLD "\"new\": []}", "`new` is no list of one or two"},
        {HEAD TIMES CONFIGURED OLD "\"new\": [5]}", "`new` has"},
        {HEAD TIMES CONFIGURED OLD "\"new\": [{\"selector\": \"n\"}]}", "`new` has an item other"},
        {HEAD TIMES CONFIGURED OLD "\"new\": [{\"selector\": \"n\", \"key\": \"\"}]}",
         "`new` has an item other"},
        {HEAD TIMES CONFIGURED OLD "\"new\": [{\"selector\": \"n\", \"key\": \"k\", \"x\": 1}]}",
         "`new` has an item other"},
        {HEAD TIMES CONFIGURED OLD "\"new\": [{\"selector\": \"n\", \"key\": \"k\"}, {\"selector\": \"N\", "
                                   "\"key\": \"k\"}]}",
         "`new` has a selector twice"},
        {HEAD TIMES CONFIGURED OLD "\"new\": [{\"selector\": \"s\", \"key\": \"k\"}]}",
         "`new` has a selector of `old`"},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rotation r;
        struct str why = STR("nothing");
        int error = rotation_parse(arena, str_of(cases[i].text), &why, &r);
        assert_int_equal(error, cases[i].why ? SLUICE_ESYNTAX : 0);
        if (cases[i].why && str_find(why, str_of(cases[i].why)) < 0)
            fail_msg("%s: %.*s", cases[i].text, STR_FMT(why));
        if (error)
            continue;
        struct buf text = {0}, again = {0};
        rotation_write(&r, &text);
        assert_int_equal(rotation_parse(arena, buf_view(&text), &why, &r), 0);
        rotation_write(&r, &again);
        assert_string_equal(buf_c(&text), buf_c(&again));
        buf_free(&text);
        buf_free(&again);
    }
    arena_free(arena);
}

static int64_t at(const char *text) {
    int64_t time = 0;
    assert_true(clock_parse_rfc3339(str_of(text), &time));
    return time;
}

static const char *stamp(struct arena *arena, int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    return str_c(arena, str_of(clock_rfc3339(wall_ms, text)));
}

/* A rotation of both keys that switches `in_ms` from now. */
static const char *rotation_text(struct arena *arena, int64_t in_ms) {
    int64_t now = clock_wall_ms();
    return str_printf(arena,
                      HEAD "\"started\": \"%s\", \"switch\": \"%s\", \"keep\": \"%s\", \"configured\": "
                           "[\"s\"], \"old\": [{\"selector\": \"s\", \"key\": \"keys/r.pem\"}], \"new\": "
                           "[{\"selector\": \"n\", \"key\": \"keys/a.pem\"}]}",
                      stamp(arena, now - 86400000), stamp(arena, now + in_ms),
                      stamp(arena, now + in_ms + 86400000))
        .at;
}

static void test_clock(void **state) {
    enum { HOUR = 3600000 };
    static const struct {
        int64_t loaded_ms; /* the switch, seen from the time of loading */
        int64_t now_ms;    /* seen from the switch */
        const char *signers;
    } cases[] = {
        {HOUR, -HOUR, "a.example/s/rsa"},     {HOUR, -1, "a.example/s/rsa"},
        {HOUR, 0, "a.example/n/ed25519"}, /* without a reload */
        {HOUR, 1, "a.example/n/ed25519"},     {HOUR, 1000LL * HOUR, "a.example/n/ed25519"},
        {-HOUR, HOUR, "a.example/n/ed25519"}, {-HOUR, -HOUR, "a.example/s/rsa"}, /* the clock went back */
    };
    struct folder f = folder_make();
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        put(&f, "a.example.rotation", str_of(rotation_text(f.arena, cases[i].loaded_ms)), 0600);
        struct fixture fixture = load_good(&f, TENANT(KEY("a.example", "s", "r.pem", "")));
        const struct tenant *t = policy_tenant(fixture.policy, STR("a"));
        int64_t now = t->signing[0].rotation->switch_ms + cases[i].now_ms;
        assert_string_equal(signers(f.arena, t, STR("a.example"), now), cases[i].signers);
        fixture_close(&fixture);
    }
    folder_remove(&f);
}

/* While the new record is known to be missing, the old key goes on, but not past its own record's time. */
static void test_hold(void **state) {
    enum { HOUR = 3600000 };
    static const struct {
        bool held;
        int64_t now_ms; /* seen from the switch */
        const char *signers;
    } cases[] = {
        {false, 0, "a.example/n/ed25519"},
        {true, -HOUR, "a.example/s/rsa"},
        {true, 0, "a.example/s/rsa"},
        {true, 24 * HOUR - 1, "a.example/s/rsa"},
        {true, 24 * HOUR, "a.example/n/ed25519"},
        {false, 24 * HOUR - 1, "a.example/n/ed25519"},
    };
    static const int64_t loaded_ms[] = {HOUR, -HOUR};
    struct folder f = folder_make();
    (void)state;
    for (size_t k = 0; k < COUNT(loaded_ms); k++) {
        put(&f, "a.example.rotation", str_of(rotation_text(f.arena, loaded_ms[k])), 0600);
        struct fixture fixture = load_good(&f, TENANT(KEY("a.example", "s", "r.pem", "")));
        const struct tenant *t = policy_tenant(fixture.policy, STR("a"));
        for (size_t i = 0; i < COUNT(cases); i++) {
            signing_hold(&t->signing[0], cases[i].held);
            assert_string_equal(
                signers(f.arena, t, STR("a.example"), t->signing[0].rotation->switch_ms + cases[i].now_ms),
                cases[i].signers);
        }
        fixture_close(&fixture);
    }
    folder_remove(&f);
}

static void test_phases(void **state) {
    struct rotation r = {.switch_ms = at("2026-11-05"), .keep_ms = at("2026-11-09"), .old = {.count = 1}};
    (void)state;
    assert_int_equal(rotation_phase(&r, at("2026-11-04T23:59:59Z")), ROTATION_PENDING);
    assert_int_equal(rotation_phase(&r, at("2026-11-05")), ROTATION_SWITCHED);
    assert_int_equal(rotation_phase(&r, at("2026-11-08T23:59:59Z")), ROTATION_SWITCHED);
    assert_int_equal(rotation_phase(&r, at("2026-11-09")), ROTATION_OVER);
    r.old.count = 0;
    assert_int_equal(rotation_phase(&r, at("2026-11-01")), ROTATION_OVER);
}

/* What is on record against what is configured, each loaded from files. */
static void test_rotation_loads(void **state) {
    enum { HOUR = 3600000 };
    static const struct {
        const char *section;
        const char *remove; /* this key file first */
        int64_t switch_in_ms;
        const char *rotation; /* NULL: a good one */
        const char *signers;  /* NULL: an error */
        bool warns;
    } cases[] = {
        {KEY("a.example", "s", "r.pem", ""), NULL, HOUR, NULL, "a.example/s/rsa", false},
        /* The configuration may already say the new one, and name what is not there yet: the rotation wins.
         */
        {KEY("a.example", "n", "gone.pem", ""), NULL, HOUR, NULL, "a.example/s/rsa", false},
        {KEY("a.example", "s", "r.pem", ""), NULL, -HOUR, NULL, "a.example/n/ed25519", false},
        /* A section written anew wins, and says so. */
        {KEY("a.example", "other", "b.pem", ""), NULL, -HOUR, NULL, "a.example/other/ed25519", true},
        {KEY("a.example", "s", "r.pem", "ed25519-selector = e ed25519-key = \"keys/b.pem\""), NULL, -HOUR,
         NULL, "a.example/s/rsa a.example/e/ed25519", true},
        {KEY("a.example", "s", "r.pem", ""), "a.pem", HOUR, NULL, NULL, false},
        {KEY("a.example", "s", "r.pem", ""), "r.pem", HOUR, NULL, NULL, false},
        {KEY("a.example", "s", "r.pem", ""), "r.pem", -HOUR, NULL, "a.example/n/ed25519", false},
        {KEY("a.example", "s", "r.pem", ""), NULL, HOUR, "{", NULL, false},
        {KEY("a.example", "s", "r.pem", ""), NULL, HOUR,
         "{\"version\": 1, \"domain\": \"b.example\", " TIMES CONFIGURED OLD NEW, NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct folder f = folder_make();
        const char *text =
            cases[i].rotation ? cases[i].rotation : rotation_text(f.arena, cases[i].switch_in_ms);
        put(&f, "a.example.rotation", str_of(text), 0600);
        if (cases[i].remove)
            unlink(inside(&f, cases[i].remove));
        struct fixture fixture =
            fixture_open(str_printf(f.arena, TENANT("%s"), cases[i].section).at, f.path, NULL);
        size_t errors = config_error_count(fixture.errors), warnings = config_warning_count(fixture.errors);
        if ((errors == 0) != (cases[i].signers != NULL) || (warnings > 0) != cases[i].warns)
            fail_msg("case %zu: %zu errors, %zu warnings: %s", i, errors, warnings,
                     errors ? config_error_at(fixture.errors, 0) : "");
        const struct tenant *t = policy_tenant(fixture.policy, STR("a"));
        if (cases[i].signers)
            assert_string_equal(signers(f.arena, t, STR("a.example"), clock_wall_ms()), cases[i].signers);
        fixture_close(&fixture);
        folder_remove(&f);
    }
}

static void test_selectors(void **state) {
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"s1", true},
        {"20261122", true},
        {"20261122e-2", true},
        {"a.b.c", true},
        {"", false},
        {".", false},
        {"a.", false},
        {".a", false},
        {"a..b", false},
        {"-a", false},
        {"a-", false},
        {"a_b", false},
        {"a b", false},
        {"a;b", false},
        {"s/../x", false},
        {"a23456789012345678901234567890123456789012345678901234567890123", true},
        {"a234567890123456789012345678901234567890123456789012345678901234", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (selector_valid(str_of(cases[i].text)) != cases[i].valid)
            fail_msg("%s", cases[i].text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),         cmocka_unit_test(test_problems),  cmocka_unit_test(test_parse),
        cmocka_unit_test(test_clock),          cmocka_unit_test(test_phases),    cmocka_unit_test(test_hold),
        cmocka_unit_test(test_rotation_loads), cmocka_unit_test(test_selectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
