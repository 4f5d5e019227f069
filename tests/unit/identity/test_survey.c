#include "../auth/zone.h"
#include "../rt_run.h"
#include "auth/beside.h"
#include "base/clock.h"
#include "base/map.h"
#include "configured.h"
#include "identity/survey.h"

#define TEXT                                                                                                 \
    "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"                                \
    "pool normal { class = on spf = published addresses = {192.0.2.16/31, \"2001:db8::1\"} }\n"              \
    "pool rest { class = re spf = unpublished carries = {high-risk, relay, high-risk-relay} "                \
    "addresses = {203.0.113.8} }\n"
#define KEY "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct plan_domain DOMAINS[] = {{STR("contoso"), STR("contoso.com"), STR("")}};
static const struct plan_dkim KEYS[] = {{STR("contoso.com"), STR("s1"), STR(KEY)}};

enum { RECORDS_MAX = 64 };
struct live_world {
    struct configured c;
    struct plan_input input;
    struct plan plan;
    struct zone_record records[RECORDS_MAX];
    size_t count;
};

/* Texts of this test have neither quotes nor strings of over 255 octets in them. */
static struct str unquoted(struct str data) {
    return data.len > 2 && data.at[0] == '"' ? str_from(data.at + 1, data.len - 2) : data;
}

static struct str without_dot(struct str name) { return str_head(name, name.len - 1); }

/* As planned, and the customer's MX. */
static void world_open(struct live_world *w) {
    *w = (struct live_world){.c = configure_good(STR(TEXT))};
    w->input = (struct plan_input){.pools = w->c.pools,
                                   .settings = &w->c.settings,
                                   .domains = DOMAINS,
                                   .domain_count = COUNT(DOMAINS),
                                   .dkim = KEYS,
                                   .dkim_count = COUNT(KEYS)};
    w->plan = plan_build(w->c.arena, &w->input);
    for (size_t i = 0; i < w->plan.record_count; i++) {
        const struct plan_record *r = &w->plan.records[i];
        if (strcmp(r->type, "NS") == 0)
            continue;
        assert_true(w->count < RECORDS_MAX - 1);
        w->records[w->count++] =
            (struct zone_record){without_dot(r->name), str_of(r->type), unquoted(r->data)};
    }
    w->records[w->count++] = (struct zone_record){STR("contoso.com"), STR("MX"), STR("10 mx.example.org")};
}

/* "code subject; " of each. */
static const char *surveyed(struct live_world *w, struct buf *out) {
    struct zone zone;
    struct survey_input in = {.planned = &w->input, .plan = &w->plan, .aaaa = true, .timeout_ms = 1000};
    zone_open(&zone, w->records, w->count);
    struct survey *survey = survey_new(&in, &zone.resolver);
    survey_work(survey);
    assert_int_equal(survey_done(survey), survey_total(survey));
    struct survey_result result = survey_end(survey);
    buf_clear(out);
    for (size_t i = 0; i < result.count; i++)
        buf_printf(out, "%s %.*s; ", survey_code_text(result.faults[i].code),
                   STR_FMT(result.faults[i].subject));
    survey_free(survey);
    return buf_c(out);
}

/* ---- whose turn it is ---- */

struct turns {
    size_t left; /* subjects until it is over */
};

static bool comes_first(void *ctx, struct str subject) {
    (void)ctx;
    return str_eq(subject, STR("203.0.113.8")) || str_eq(subject, STR("contoso.com"));
}

static bool is_over(void *ctx) {
    struct turns *t = ctx;
    return t->left-- == 0;
}

/* What is new or was wrong is asked first; a survey that ends early is certain of what it has come to, no
 * more. */
static void test_turns(void **state) {
    (void)state;
    struct live_world w;
    struct zone zone;
    struct turns turns = {.left = 3};
    world_open(&w);
    struct survey_input in = {.planned = &w.input,
                              .plan = &w.plan,
                              .timeout_ms = 1000,
                              .first = comes_first,
                              .over = is_over,
                              .ctx = &turns};
    zone_open(&zone, w.records, w.count);
    struct survey *survey = survey_new(&in, &zone.resolver);
    survey_work(survey);
    assert_int_equal(survey_done(survey), 3);
    assert_int_equal(survey_end(survey).count, 0);
    struct map *looked = survey_looked(survey, map_new(true));
    assert_int_equal(map_count(looked), 3);
    assert_non_null(map_get(looked, STR("out.example.net"))); /* our own: does the DNS answer at all? */
    assert_non_null(map_get(looked, STR("contoso.com")));
    assert_non_null(map_get(looked, STR("203.0.113.8")));
    map_free(looked);
    assert_true(survey_sure(survey, SURVEY_NO_PTR, STR("203.0.113.8")));
    assert_true(survey_sure(survey, SURVEY_NO_SPF, STR("contoso.com")));
    assert_true(survey_sure(survey, SURVEY_NO_PTR, STR("198.51.100.1"))); /* no subject any more */
    assert_false(survey_sure(survey, SURVEY_NO_PTR, STR("192.0.2.16")));
    assert_true(survey_sure(survey, SURVEY_EHLO_NO_ADDRESS, STR("out.example.net")));
    assert_false(survey_sure(survey, SURVEY_INCLUDE_MISSES, STR("spf.example.net")));
    survey_free(survey);
    configured_free(&w.c);
}

struct rounds {
    struct map *looked;
    size_t left;
};

static bool not_looked(void *ctx, struct str subject) {
    const struct rounds *r = ctx;
    return map_count(r->looked) && !map_get(r->looked, subject);
}

static bool round_is_over(void *ctx) { return ((struct rounds *)ctx)->left-- == 0; }

/* One that ends after three subjects. */
static size_t look_at_three(struct live_world *w, struct rounds *rounds) {
    struct zone zone;
    struct survey_input in = {.planned = &w->input,
                              .plan = &w->plan,
                              .timeout_ms = 1000,
                              .first = not_looked,
                              .over = round_is_over,
                              .ctx = rounds};
    zone_open(&zone, w->records, w->count);
    rounds->left = 3;
    struct survey *survey = survey_new(&in, &zone.resolver);
    size_t total = survey_total(survey);
    survey_work(survey);
    assert_int_equal(survey_done(survey), 3);
    survey_end(survey);
    rounds->looked = survey_looked(survey, rounds->looked);
    survey_free(survey);
    return total;
}

/* A server that gets a new configuration all the time: its surveys all end early, and come to everything in
 * turn. */
static void test_surveys_that_end_early_get_round(void **state) {
    (void)state;
    struct live_world w;
    struct rounds rounds = {.looked = map_new(true)};
    size_t before = 0;
    world_open(&w);
    for (unsigned anew = 0; anew < 2;) {
        size_t total = look_at_three(&w, &rounds), looked = map_count(rounds.looked);
        assert_in_range(total, 7, 100);
        if (looked < before) { /* all were looked at */
            assert_in_range(before + 3, total, total + 2);
            anew++;
        } else {
            assert_in_range(looked, before + 2, before + 3); /* a name of our own is in each */
        }
        before = looked;
    }
    map_free(rounds.looked);
    configured_free(&w.c);
}

/* ---- the rate ---- */

struct paced {
    struct resolver resolver; /* first */
    struct survey *survey;
    atomic_uint asked, late;
};

static void answer_in_time(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                           struct arena *arena, struct dns_answer *ret) {
    struct paced *p = (struct paced *)(void *)self;
    (void)name, (void)type, (void)arena;
    atomic_fetch_add(&p->asked, 1);
    bool late = deadline <= clock_mono_ms();
    atomic_fetch_add(&p->late, late);
    *ret = (struct dns_answer){.status = late ? DNS_FAILED : DNS_NONE, .why = STR("timeout")};
}

static void work_paced(void *arg) { survey_work(((struct paced *)arg)->survey); }

static void work_beside(void *arg) {
    struct beside others[7];
    for (size_t i = 0; i < COUNT(others); i++)
        beside_start(&others[i], work_paced, arg);
    work_paced(arg);
    for (size_t i = 0; i < COUNT(others); i++)
        beside_join(&others[i]);
}

/* Who waits for a turn has its whole time limit then. */
static void test_a_slow_rate_costs_no_answers(void **state) {
    (void)state;
    struct live_world w;
    struct paced paced = {.resolver.lookup = answer_in_time};
    world_open(&w);
    struct survey_input in = {.planned = &w.input, .plan = &w.plan, .timeout_ms = 50, .per_second = 50};
    paced.survey = survey_new(&in, &paced.resolver);
    rt_run(1, work_beside, &paced);
    assert_int_equal(survey_end(paced.survey).unanswered, 0);
    assert_in_range(paced.asked, 8, 100);
    assert_int_equal(paced.late, 0);
    survey_free(paced.survey);
    configured_free(&w.c);
}

/* What others put there can't paint a terminal. */
static void test_texts_are_plain(void **state) {
    (void)state;
    struct live_world w;
    struct zone zone;
    world_open(&w);
    for (size_t i = 0; i < w.count; i++)
        if (str_eq(w.records[i].name, STR("contoso.com")) && str_eq(w.records[i].type, STR("TXT")))
            w.records[i].data = STR("v=spf1 \033[2Jinclude:x\007 -all");
    zone_open(&zone, w.records, w.count);
    struct survey_input in = {.planned = &w.input, .plan = &w.plan, .timeout_ms = 1000};
    struct survey *survey = survey_new(&in, &zone.resolver);
    survey_work(survey);
    struct survey_result result = survey_end(survey);
    assert_int_equal(result.count, 1);
    assert_true(str_find(result.faults[0].what, STR("?[2Jinclude:x?")) >= 0);
    survey_free(survey);
    configured_free(&w.c);
}

static const struct {
    const char *name, *type; /* that record... */
    const char *data;        /* ...says this; NULL: is gone */
    struct zone_record more;
    const char *faults;
} CASES[] = {
    {"contoso.com", "MX", "10 other.example", .faults = ""},
    {"mon0001.example.net", "A", NULL, .faults = "not-confirmed 192.0.2.16; "},
    {"mon0001.example.net", "AAAA", "2001:db8::2", .faults = "not-confirmed 2001:db8::1; "},
    {"mre0001.example.net", "A", NULL, .faults = "not-confirmed 203.0.113.8; "},
    {"out.example.net", "TXT", NULL, .faults = "ehlo-spf out.example.net; "},
    {"out.example.net", "TXT", "v=spf1 ip4:192.0.2.16/31 ip6:2001:db8::1 -all",
     .faults = "ehlo-spf out.example.net; "},
    {"out.example.net", "TXT", "v=spf1 ip4:0.0.0.0/0 ip6:::/0 -all", .faults = "spf-open out.example.net; "},
    {"spf.example.net", "TXT", "v=spf1 ip4:192.0.2.16/31 -all", .faults = "include-misses spf.example.net; "},
    {"spf.example.net", "TXT", "v=spf1 ip4:192.0.2.16/31 ip6:2001:db8::1 ip4:203.0.113.0/24 -all",
     .faults = "include-leaks spf.example.net; "},
    {"spf.example.net", "TXT", "v=spf1 include:none.example -all", .faults = "spf-broken spf.example.net; "},
    {"contoso.com", "TXT", "v=spf1 redirect=spf.example.net", .faults = ""},
    {"contoso.com", "TXT", "v=spf1 ip4:10.0.0.0/8 -all", .faults = "no-include contoso.com; "},
    {"contoso.com", "TXT", "v=spf1 include:none.example -all", .faults = "spf-broken contoso.com; "},
    {"contoso.com",
     "TXT",
     "v=spf1 -all",
     {STR("contoso.com"), STR("TXT"), STR("v=spf1 include:spf.example.net -all")},
     .faults = "spf-broken contoso.com; "},
    {"contoso.com", "TXT", NULL, .faults = "no-spf contoso.com; "},
    {"contoso.com", "TXT", "v=spf1 include:spf.example.net ?all", .faults = ""},
    {"contoso.com", "TXT", "v=spf1 include:spf.example.net +all", .faults = "spf-open contoso.com; "},
    {"contoso.com", "TXT", "v=spf1 include:spf.example.net ip4:1.2.3 -all",
     .faults = "spf-broken contoso.com; "},
    {"contoso.com", "TXT",
     "v=spf1 include:spf.example.net a:x1.test a:x2.test a:x3.test a:x4.test a:x5.test a:x6.test a:x7.test "
     "a:x8.test a:x9.test a:x10.test -all",
     .faults = "spf-over contoso.com; "},
    {"contoso.com", "TXT", "v=spf1 a:x1.test a:x2.test a:x3.test include:spf.example.net -all",
     .faults = "spf-over contoso.com; "},
    {"contoso.com",
     "MX",
     "10 mx.example.org",
     {STR("contoso.com"), STR("TXT"), STR("a=" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED)},
     .faults = "txt-size contoso.com; "},
    {"contoso.com",
     "MX",
     "10 mx.example.org",
     {STR("contoso.com"), STR("TXT"), STR("a=" HUNDRED HUNDRED HUNDRED HUNDRED)},
     .faults = ""},
    {"s1._domainkey.contoso.com", "TXT", NULL, .faults = "dkim-missing s1._domainkey.contoso.com; "},
    {"s1._domainkey.contoso.com", "TXT", "v=DKIM1; p=", .faults = "dkim-differs s1._domainkey.contoso.com; "},
    {"s1._domainkey.contoso.com", "TXT", KEY "; t=y", .faults = "dkim-differs s1._domainkey.contoso.com; "},
    {"_dmarc.contoso.com", "TXT", "v=DMARC1; p=reject; adkim=s", .faults = ""},
    {"_dmarc.contoso.com", "TXT", NULL, .faults = "no-dmarc contoso.com; "},
    {"contoso.com", "MX", NULL, .faults = "no-sender-dns contoso.com; "},
    {"contoso.com", "MX", NULL, {STR("contoso.com"), STR("AAAA"), STR("2001:db8::5")}, .faults = ""},
};

static void test_faults(void **state) {
    (void)state;
    struct buf said = {0};
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct live_world w;
        size_t at = 0;
        world_open(&w);
        while (at < w.count && !(str_eq(w.records[at].name, str_of(CASES[i].name)) &&
                                 str_eq(w.records[at].type, str_of(CASES[i].type))))
            at++;
        if (at == w.count)
            fail_msg("%s %s is not planned", CASES[i].name, CASES[i].type);
        if (CASES[i].data)
            w.records[at].data = str_of(CASES[i].data);
        else
            w.records[at] = w.records[--w.count];
        if (CASES[i].more.name.len)
            w.records[w.count++] = CASES[i].more;
        if (strcmp(surveyed(&w, &said), CASES[i].faults) != 0)
            fail_msg("case %zu: %s", i, buf_c(&said));
        configured_free(&w.c);
    }
    buf_free(&said);
}

/* Invariant 7: whatever does not answer, no record is blamed; and it is said. */
static void test_no_answer_is_no_fault(void **state) {
    (void)state;
    struct buf said = {0};
    struct live_world w;
    world_open(&w);
    assert_string_equal(surveyed(&w, &said), "");
    for (size_t i = 0; i < w.count; i++) {
        struct zone_record kept[RECORDS_MAX];
        size_t count = w.count, left = 0;
        memcpy(kept, w.records, sizeof kept);
        struct str name = kept[i].name;
        for (size_t j = 0; j < count; j++)
            if (!str_eq(kept[j].name, name))
                w.records[left++] = kept[j];
        w.records[left++] = (struct zone_record){name, STR("TIMEOUT"), STR("")};
        w.count = left;
        struct str rest = str_of(surveyed(&w, &said)), part;
        assert_true(rest.len > 0);
        while (str_cut(&rest, ';', &part))
            if (str_trim(part).len && !str_starts(str_trim(part), STR("unanswered ")))
                fail_msg("%.*s does not answer: %s", STR_FMT(name), buf_c(&said));
        memcpy(w.records, kept, sizeof kept);
        w.count = count;
    }
    configured_free(&w.c);
    buf_free(&said);
}

static enum survey_code code_of(struct str text) {
    for (int code = 0; code <= SURVEY_UNANSWERED; code++)
        if (str_eq(text, str_of(survey_code_text((enum survey_code)code))))
            return (enum survey_code)code;
    fail_msg("%.*s is no code", STR_FMT(text));
    return SURVEY_UNANSWERED;
}

/* Is it certain that there is no such fault, in this world? */
static bool is_sure(struct live_world *w, enum survey_code code, struct str subject) {
    struct zone zone;
    struct survey_input in = {.planned = &w->input, .plan = &w->plan, .aaaa = true, .timeout_ms = 1000};
    zone_open(&zone, w->records, w->count);
    struct survey *survey = survey_new(&in, &zone.resolver);
    survey_work(survey);
    (void)survey_end(survey);
    bool sure = survey_sure(survey, code, subject);
    survey_free(survey);
    return sure;
}

/* A fault that was there is over when the records that made it are right, not when nobody can tell. */
static void test_a_fault_is_over_when_that_is_certain(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct str subject = str_of(CASES[i].faults), code;
        struct live_world w;
        size_t left = 0;
        if (!subject.len || !str_cut(&subject, ' ', &code))
            continue;
        subject.len -= 2;
        world_open(&w);
        assert_true(is_sure(&w, code_of(code), subject));
        struct str name = CASES[i].more.name.len ? CASES[i].more.name : str_of(CASES[i].name);
        for (size_t j = 0; j < w.count; j++)
            if (!str_eq(w.records[j].name, name))
                w.records[left++] = w.records[j];
        w.records[left++] = (struct zone_record){name, STR("TIMEOUT"), STR("")};
        w.count = left;
        if (is_sure(&w, code_of(code), subject))
            fail_msg("%s, and %.*s does not answer", CASES[i].faults, STR_FMT(name));
        configured_free(&w.c);
    }
}

/* A DNS that answers nothing is asked for a while, and that is said in few lines. */
static void silent(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    (void)self, (void)name, (void)type, (void)deadline, (void)arena;
    *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("timeout")};
}

static void test_a_dead_dns(void **state) {
    (void)state;
    struct configured c =
        configure_good(STR("pool normal { addresses = {10.0.0.0/20} }\n"
                           "pool rest { carries = {high-risk, relay, high-risk-relay} }\n"));
    struct plan_input input = {.pools = c.pools, .settings = &c.settings};
    struct plan plan = plan_build(c.arena, &input);
    struct resolver dead = {.lookup = silent};
    struct survey *survey =
        survey_new(&(struct survey_input){.planned = &input, .plan = &plan, .timeout_ms = 1}, &dead);
    survey_work(survey);
    struct survey_result result = survey_end(survey);
    assert_in_range(result.count, 2, 200);
    assert_int_equal(result.count, result.unanswered);
    assert_true(str_eq(result.faults[result.count - 1].subject, STR("all others")));
    survey_free(survey);
    configured_free(&c);
}

static const struct {
    const char *name;
    bool generic;
} NAMES[] = {
    {"mail-bl2nam02on0054.outbound.protection.outlook.com", false},
    {"mail.example.com", false},
    {"192-0-2-16.example.com", true},
    {"host16.2.0.192.provider.example.com", true},
    {"host-192.0.2.16-static.example.com", true},
    {"p1.2.3.example.com", false},
    {"1-2-3-400.example.com", false},
    {"mail-1234-1-2-3.example.com", false},
    {"dsl.example.com", true},
    {"a.adsl-12.example.com", true},
    {"mail.dyn.example.com", true},
    {"mail.dynamic.com", false},
    {"dslmail.example.com", false},
    {"example.com", false},
    {"", false},
};

static void test_generic(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(NAMES); i++)
        if (name_is_generic(arena, str_of(NAMES[i].name)) != NAMES[i].generic)
            fail_msg("%s", NAMES[i].name);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_surveys_that_end_early_get_round),
        cmocka_unit_test(test_a_slow_rate_costs_no_answers),
        cmocka_unit_test(test_texts_are_plain),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_no_answer_is_no_fault),
        cmocka_unit_test(test_a_fault_is_over_when_that_is_certain),
        cmocka_unit_test(test_a_dead_dns),
        cmocka_unit_test(test_generic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
