#include "auth/srs.h"
#include "base/error.h"
#include "cmocka_setup.h"

#include <stdio.h>

#define L40 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const int64_t now = 1577836860000, day = 86400000;
static const struct str secrets[] = {STR("new"), STR("old")};

static struct srs_settings settings_of(enum srs_style style) {
    return (struct srs_settings){
        .style = style, .domain = STR("srs.example"), .secrets = secrets, .secret_count = COUNT(secrets)};
}

/* Forwarded, then returned: the bounce is back at its sender, in every spelling. */
static void test_round_trips(void **state) {
    (void)state;
    static const struct {
        enum srs_style style;
        const char *sender, *forwarder;
        enum srs_form form;
        const char *begins, *ends, *back;
        bool long_;
    } cases[] = {
        {SRS_STYLE_OPEN, "bob@fabrikam.example", "", SRS_SRS0,
         "SRS0=", "=2W=fabrikam.example=bob@srs.example"},
        {SRS_STYLE_OPEN, "\"a b\"@x.example", "", SRS_SRS0, "\"SRS0=", "=x.example=a b\"@srs.example"},
        {SRS_STYLE_OPEN, "a=b+c@x.example", "", SRS_SRS0, "SRS0=", "=2W=x.example=a=b+c@srs.example"},
        {SRS_STYLE_OPEN, L40 "@" L40 ".example", "", SRS_SRS0, "SRS0=", "@srs.example", .long_ = true},
        {SRS_STYLE_OPEN, "SRS0-ab=2W=x.example=u@f.example", "", SRS_SRS1,
         "SRS1=", "=f.example=-ab=2W=x.example=u@srs.example"},
        {SRS_STYLE_OPEN, "srs1+zz=f.example==ab=2W=x.example=u@g.example", "", SRS_SRS1,
         "SRS1=", "=f.example==ab=2W=x.example=u@srs.example", "SRS0=ab=2W=x.example=u@f.example"},
        {SRS_STYLE_OPEN, "SRS1=x@b.example", "", SRS_SRS0, "SRS0=", "=2W=b.example=SRS1=x@srs.example"},
        {SRS_STYLE_OPEN, "SRS1=x=y.example=z@b.example", "", SRS_SRS0,
         "SRS0=", "=b.example=SRS1=x=y.example=z@srs.example"},
        {SRS_STYLE_OPEN, "", "", SRS_UNCHANGED, "", ""},
        {SRS_STYLE_OPEN, "u@SRS.example", "", SRS_UNCHANGED, "u@SRS.example", ""},
        {SRS_STYLE_MICROSOFT, "bob@fabrikam.example", "john.work@contoso.example", SRS_USER,
         "john.work+SRS=", "=2W=fabrikam.example=bob@contoso.example"},
        {SRS_STYLE_MICROSOFT, "a=b@x.example", "j@contoso.example", SRS_USER,
         "j+SRS=", "=x.example=a=b@contoso.example"},
        {SRS_STYLE_MICROSOFT, "k+SRS=ab=2W=x.example=u@y.example", "j@contoso.example", SRS_USER,
         "j+SRS=", "=y.example=k+SRS=ab=2W=x.example=u@contoso.example"},
        {SRS_STYLE_MICROSOFT, "bob@fabrikam.example", "", SRS_BOUNCES, "bounces+SRS=", "=2W@srs.example", ""},
        {SRS_STYLE_MICROSOFT, L40 "@" L40 ".example", "j@contoso.example", SRS_BOUNCES,
         "bounces+SRS=", "=2W@srs.example", ""},
        {SRS_STYLE_MICROSOFT, "x@contoso.example", "j@Contoso.example", SRS_UNCHANGED, "x@contoso.example",
         ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct srs_settings settings = settings_of(cases[i].style);
        struct srs_rewritten out;
        struct srs_original back;
        assert_int_equal(
            srs_forward(&settings, str_of(cases[i].sender), str_of(cases[i].forwarder), now, arena, &out), 0);
        assert_int_equal(out.form, cases[i].form);
        assert_true(str_starts(out.address, str_of(cases[i].begins)));
        assert_true(str_ends(out.address, str_of(cases[i].ends)));
        assert_int_equal(out.fits, !cases[i].long_);
        if (out.form == SRS_UNCHANGED) {
            arena_free(arena);
            continue;
        }
        struct str wanted = str_of(cases[i].back ? cases[i].back : cases[i].sender);
        assert_int_equal(srs_reverse(&settings, out.address, now, arena, &back), SRS_GOOD);
        assert_true(str_eq(back.address, wanted));
        assert_int_equal(back.form, cases[i].form);
        assert_int_equal(back.secret, 0);
        assert_int_equal(srs_reverse(&settings, str_lower(arena, out.address), now, arena, &back), SRS_GOOD);
        assert_true(str_eq_nocase(back.address, wanted));
        arena_free(arena);
    }
}

/* A rotated secret verifies, a foreign one does not; each style is read whatever is written. */
static void test_secrets(void **state) {
    (void)state;
    static const enum srs_style styles[] = {SRS_STYLE_OPEN, SRS_STYLE_MICROSOFT};
    for (size_t i = 0; i < COUNT(styles); i++) {
        struct arena *arena = arena_new(0);
        struct srs_settings before = settings_of(styles[i]), after = settings_of(styles[1 - i]);
        static const struct str other = STR("other");
        struct srs_rewritten out;
        struct srs_original back;
        before.secrets = &secrets[1], before.secret_count = 1;
        assert_int_equal(srs_forward(&before, STR("a@x.example"), STR("f@ours.example"), now, arena, &out),
                         0);
        assert_int_equal(srs_reverse(&after, out.address, now, arena, &back), SRS_GOOD);
        assert_int_equal(back.secret, 1);
        after.secrets = &other, after.secret_count = 1;
        assert_int_equal(srs_reverse(&after, out.address, now, arena, &back), SRS_FORGED);
        after.secret_count = 0;
        assert_int_equal(srs_reverse(&after, out.address, now, arena, &back), SRS_FORGED);
        arena_free(arena);
    }
}

static void test_age(void **state) {
    (void)state;
    static const struct {
        int days;
        unsigned max;
        enum srs_verdict verdict;
    } cases[] = {{0, 0, SRS_GOOD},     {21, 0, SRS_GOOD},   {22, 0, SRS_EXPIRED},   {-1, 0, SRS_GOOD},
                 {-2, 0, SRS_EXPIRED}, {3, 2, SRS_EXPIRED}, {1000, 1000, SRS_GOOD}, {512, 0, SRS_EXPIRED}};
    static const char *const forwarders[] = {"", "j@contoso.example"};
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t style = 0; style < 2; style++)
            for (size_t f = 0; f < 2; f++) {
                struct arena *arena = arena_new(0);
                struct srs_settings settings = settings_of((enum srs_style)style);
                settings.max_age_days = cases[i].max;
                struct srs_rewritten out;
                struct srs_original back;
                assert_int_equal(
                    srs_forward(&settings, STR("a@x.example"), str_of(forwarders[f]), now, arena, &out), 0);
                assert_int_equal(srs_reverse(&settings, out.address, now + cases[i].days * day, arena, &back),
                                 cases[i].verdict);
                arena_free(arena);
            }
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *address;
        enum srs_verdict verdict;
    } cases[] = {
        {"", SRS_OTHER},
        {"bob@srs.example", SRS_OTHER},
        {"SRS0@srs.example", SRS_OTHER},
        {"SRS2=a=b=c=d@srs.example", SRS_OTHER},
        {"SRS0!aaaa=2W=x.example=u@srs.example", SRS_OTHER},
        {"SRS0=@srs.example", SRS_MALFORMED},
        {"SRS0=aaaa=2W=x.example=@srs.example", SRS_MALFORMED},
        {"SRS0=aaaa=2W==u@srs.example", SRS_MALFORMED},
        {"SRS0=aaa=2W=x.example=u@srs.example", SRS_FORGED},
        {"SRS0==2W=x.example=u@srs.example", SRS_FORGED},
        {"SRS0=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=2W=x.example=u@srs.example", SRS_FORGED},
        {"SRS1=aaaa=x.example=u@srs.example", SRS_MALFORMED},
        {"SRS1=aaaa=x.example=@srs.example", SRS_MALFORMED},
        {"SRS1=aaaa=x.example==u@srs.example", SRS_FORGED},
        {"+SRS=aaaaa=2W=x.example=u@srs.example", SRS_MALFORMED},
        {"j+SRS=aaaaa@srs.example", SRS_MALFORMED},
        {"j+SRS=aaaaa=2W@srs.example", SRS_MALFORMED},
        {"j+SRS=aaaaa=2W=x.example@srs.example", SRS_MALFORMED},
        {"j+SRS=aaaaa=2W=x.example=u@srs.example", SRS_FORGED},
        {"bounces+SRS=aaaaa=2W@srs.example", SRS_FORGED},
        {"bounces+SRS=aaaa=2W@srs.example", SRS_FORGED},
    };
    struct arena *arena = arena_new(0);
    struct srs_settings settings = settings_of(SRS_STYLE_OPEN);
    struct srs_original back;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(
            srs_verdict_text(srs_reverse(&settings, str_of(cases[i].address), now, arena, &back)),
            srs_verdict_text(cases[i].verdict));
    arena_free(arena);
}

/* What was signed can't be moved to another user, domain, time or form. */
static void test_tampering(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct srs_settings settings = settings_of(SRS_STYLE_MICROSOFT);
    struct srs_rewritten out;
    struct srs_original back;
    assert_int_equal(srs_forward(&settings, STR("bob@x.example"), STR("j@contoso.example"), now, arena, &out),
                     0);
    struct str hash = str_head(str_from_index(out.address, 6), 5);
    static const char *const forms[] = {
        "k+SRS=%.*s=2W=x.example=bob@contoso.example", "j+SRS=%.*s=2X=x.example=bob@contoso.example",
        "j+SRS=%.*s=2W=y.example=bob@contoso.example", "j+SRS=%.*s=2W=x.example=eve@contoso.example",
        "j+SRS=%.*s=2W=x.example=bob@other.example",   "bounces+SRS=%.*s=2W@contoso.example",
        "SRS0=%.*s=2W=x.example=bob@contoso.example"};
    for (size_t i = 0; i < COUNT(forms); i++) {
        char text[128];
        (void)snprintf(text, sizeof text, forms[i], STR_FMT(hash));
        assert_int_equal(srs_reverse(&settings, str_of(text), now, arena, &back), SRS_FORGED);
    }
    arena_free(arena);
}

static void test_settings(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct srs_rewritten out;
    struct srs_settings good = settings_of(SRS_STYLE_OPEN), bad = good;
    bad.secret_count = 0;
    assert_int_equal(srs_forward(&bad, STR("a@b.example"), STR(""), now, arena, &out), SLUICE_EINVALID);
    bad = good, bad.domain = STR("");
    assert_int_equal(srs_forward(&bad, STR("a@b.example"), STR(""), now, arena, &out), SLUICE_EINVALID);
    bad = good, bad.separator = '!';
    assert_int_equal(srs_forward(&bad, STR("a@b.example"), STR(""), now, arena, &out), SLUICE_EINVALID);
    static const char *const senders[] = {"foo", "@b.example", "a@", "a@b=c.example", "\"\"@b.example"};
    for (size_t i = 0; i < COUNT(senders); i++)
        assert_int_equal(srs_forward(&good, str_of(senders[i]), STR(""), now, arena, &out), SLUICE_ESYNTAX);
    arena_free(arena);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_secrets),   cmocka_unit_test(test_age),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_tampering), cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
