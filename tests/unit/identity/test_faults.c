#include "base/error.h"
#include "configured.h"
#include "identity/faults.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXT                                                                                                 \
    "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"                                \
    "pool normal { class = on spf = published addresses = {192.0.2.16} }\n"                                  \
    "pool rest { class = re spf = unpublished carries = {high-risk, relay, high-risk-relay} }\n"

static const struct plan_domain DOMAINS[] = {{STR("contoso"), STR("contoso.com"), STR("")},
                                             {STR("fabrikam"), STR("fabrikam.com"), STR("")}};

struct survey_world {
    struct configured c;
    struct plan_input input;
    struct plan plan;
    struct faults *faults;
    struct arena *arena;
};

static int open_world(void **state) {
    struct survey_world *w = calloc(1, sizeof *w);
    w->c = configure_good(STR(TEXT));
    w->input = (struct plan_input){
        .pools = w->c.pools, .settings = &w->c.settings, .domains = DOMAINS, .domain_count = COUNT(DOMAINS)};
    w->plan = plan_build(w->c.arena, &w->input);
    w->faults = faults_new();
    w->arena = arena_new(0);
    *state = w;
    return 0;
}

static int close_world(void **state) {
    struct survey_world *w = *state;
    faults_free(w->faults);
    configured_free(&w->c);
    arena_free(w->arena);
    free(w);
    return 0;
}

/* A DNS in which everything is as planned but the customers' names: each is "right", "wrong" (no DMARC) or
 * silent. */
struct customers {
    struct resolver resolver;
    const struct survey_world *world;
    const char *contoso, *fabrikam;
};

static void answer(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    const struct customers *c = (const struct customers *)(const void *)self;
    const char *how = str_ends(name, STR("contoso.com")) ? c->contoso : c->fabrikam;
    (void)deadline;
    *ret = (struct dns_answer){.status = DNS_NONE, .nxdomain = true};
    if (strcmp(how, "silent") == 0 && !str_ends(name, STR("example.net")) && !str_ends(name, STR("arpa"))) {
        *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("timeout")};
        return;
    }
    if (strcmp(how, "wrong") == 0 && str_starts(name, STR("_dmarc.")))
        return;
    for (size_t i = 0; i < c->world->plan.record_count; i++) {
        const struct plan_record *r = &c->world->plan.records[i];
        struct dns_record *one = arena_new_of(arena, struct dns_record);
        if (!str_eq_nocase(str_head(r->name, r->name.len - 1), name))
            continue;
        if (type == DNS_TXT && strcmp(r->type, "TXT") == 0)
            one->text = str_from(r->data.at + 1, r->data.len - 2);
        else if (type == DNS_A && strcmp(r->type, "A") == 0)
            assert_true(ip_parse(r->data, &one->ip));
        else if (type == DNS_PTR && strcmp(r->type, "PTR") == 0)
            one->name = str_head(r->data, r->data.len - 1);
        else
            continue;
        *ret = (struct dns_answer){.status = DNS_RECORDS, .records = one, .count = 1, .ttl = 600};
        return;
    }
}

static void survey_once(struct survey_world *w, const char *contoso, const char *fabrikam, int64_t now) {
    struct customers dns = {{.lookup = answer}, w, contoso, fabrikam};
    struct survey_input in = {.planned = &w->input, .plan = &w->plan, .aaaa = true, .timeout_ms = 1000};
    struct survey *survey = survey_new(&in, &dns.resolver);
    survey_work(survey);
    struct survey_result result = survey_end(survey);
    assert_int_equal(result.ttl, 600);
    faults_take(w->faults, survey, &result, now);
    survey_free(survey);
}

/* "code subject since seen; " of each that is no-dmarc. */
static const char *known(struct survey_world *w, struct buf *out) {
    struct fault *list;
    size_t count = faults_list(w->faults, w->arena, &list);
    buf_clear(out);
    for (size_t i = 0; i < count; i++)
        if (list[i].code == SURVEY_NO_DMARC)
            buf_printf(out, "%.*s %lld %lld; ", STR_FMT(list[i].subject), (long long)list[i].since,
                       (long long)list[i].seen);
    return buf_c(out);
}

static void test_a_fault_stays_until_it_is_certainly_gone(void **state) {
    struct survey_world *w = *state;
    struct buf said = {0};
    static const struct {
        const char *contoso, *fabrikam, *known;
    } rounds[] = {
        {"right", "right", ""},
        {"wrong", "right", "contoso.com 2000 2000; "},
        {"wrong", "wrong", "contoso.com 2000 3000; fabrikam.com 3000 3000; "},
        {"silent", "wrong", "contoso.com 2000 3000; fabrikam.com 3000 4000; "},
        {"silent", "right", "contoso.com 2000 3000; "},
        {"wrong", "silent", "contoso.com 2000 6000; "},
        {"right", "silent", ""},
        {"wrong", "right", "contoso.com 8000 8000; "},
    };
    for (size_t i = 0; i < COUNT(rounds); i++) {
        survey_once(w, rounds[i].contoso, rounds[i].fabrikam, 1000 * ((int64_t)i + 1));
        if (strcmp(known(w, &said), rounds[i].known) != 0)
            fail_msg("round %zu: %s", i, buf_c(&said));
        struct faults_counts counts = faults_count(w->faults);
        assert_int_equal(counts.checked, 1000 * (i + 1));
        assert_int_equal(counts.by_code[SURVEY_NO_DMARC] > 0, rounds[i].known[0] != 0);
        bool silent = strcmp(rounds[i].contoso, "silent") == 0 || strcmp(rounds[i].fabrikam, "silent") == 0;
        assert_int_equal(counts.unanswered > 0, silent);
        assert_int_equal(counts.unanswered, counts.by_code[SURVEY_UNANSWERED]);
    }
    buf_free(&said);
}

static void test_what_is_known_survives(void **state) {
    struct survey_world *w = *state;
    char path[] = "/tmp/faults-XXXXXX";
    struct buf said = {0};
    struct str why = STR_NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(faults_read(w->faults, path, w->arena, &why), SLUICE_ECORRUPT);
    survey_once(w, "wrong", "silent", 2000);
    struct faults_counts before = faults_count(w->faults);
    assert_int_equal(faults_write(w->faults, path, w->arena, &why), 0);
    faults_free(w->faults);
    w->faults = faults_new();
    assert_int_equal(faults_read(w->faults, "/nowhere/faults", w->arena, &why), SLUICE_ENOTFOUND);
    assert_int_equal(faults_read(w->faults, path, w->arena, &why), 0);
    struct faults_counts after = faults_count(w->faults);
    assert_memory_equal(&before, &after, sizeof before);
    assert_string_equal(known(w, &said), "contoso.com 2000 2000; ");
    survey_once(w, "wrong", "right", 9000);
    assert_string_equal(known(w, &said), "contoso.com 2000 9000; ");
    unlink(path);
    buf_free(&said);
}

static void test_what_is_said_of_a_subject(void **state) {
    struct survey_world *w = *state;
    survey_once(w, "wrong", "right", 86400000);
    struct str about = faults_about(w->faults, STR("Contoso.com"), w->arena);
    assert_true(str_find(about, STR("no-dmarc: ")) >= 0);
    assert_true(str_find(about, STR("(since 1970-01-02T00:00Z)")) >= 0);
    assert_true(str_find(about, STR("no-sender-dns: ")) >= 0);
    assert_int_equal(faults_about(w->faults, STR("192.0.2.16"), w->arena).len, 0);
    assert_int_equal(faults_about(NULL, STR("contoso.com"), w->arena).len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_fault_stays_until_it_is_certainly_gone, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_what_is_known_survives, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_what_is_said_of_a_subject, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
