#include "configured.h"
#include "identity/publish.h"
#include <stdlib.h>

#define SITE "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"
#define ONE "pool normal { class = on addresses = {192.0.2.16} }\n"
#define TWO "pool normal { class = on addresses = {192.0.2.16/31} }\n"
#define REST "pool rest { class = re carries = {high-risk, relay, high-risk-relay} spf = unpublished }\n"

static struct plan plan_of(const struct configured *c) {
    return plan_build(c->arena, &(struct plan_input){.pools = c->pools, .settings = &c->settings});
}

/* What stands at a TXT name; NULL: nothing. "": no answer. */
struct standing {
    const char *name, *texts[3];
};

static void answer_all(struct publication *p, const struct standing *standing) {
    const struct live_set *const *sets;
    size_t count = publication_questions(p, &sets);
    for (size_t i = 0; i < count; i++) {
        struct dns_record records[3];
        struct dns_answer answer = {.status = DNS_NONE, .records = records};
        for (const struct standing *s = standing; s && s->name; s++) {
            if (!str_eq(sets[i]->name, str_of(s->name)))
                continue;
            for (; answer.count < 3 && s->texts[answer.count]; answer.count++)
                records[answer.count] = (struct dns_record){.text = str_of(s->texts[answer.count])};
            answer.status = answer.count && records[0].text.len ? DNS_RECORDS : DNS_FAILED;
        }
        publication_answer(p, i, &answer);
    }
    publication_write(p);
}

static struct publication_zone zone_of(struct publication *p, const char *name) {
    for (size_t i = 0; i < publication_zones(p); i++) {
        struct publication_zone zone = publication_zone(p, i);
        if (str_eq(zone.name, str_of(name)))
            return zone;
    }
    fail_msg("no zone %s", name);
    abort();
}

/* Does each stand in it, in this order? */
static void assert_order(struct str text, const char *const *lines) {
    struct str rest = text;
    for (size_t i = 0; lines[i]; i++) {
        ptrdiff_t at = str_find(rest, str_of(lines[i]));
        if (at < 0)
            fail_msg("not there, or not in order: %s in:\n%.*s", lines[i], STR_FMT(text));
        rest = str_from_index(rest, (size_t)at);
    }
}

static void assert_not(struct str text, const char *line) {
    if (str_find(text, str_of(line)) >= 0)
        fail_msg("%s stands in:\n%.*s", line, STR_FMT(text));
}

static void test_what_others_have_stays(void **state) {
    (void)state;
    static const struct standing standing[] = {
        {"out.example.net.", {"v=spf1 ip4:198.51.100.1 -all", "a verification"}},
        {"spf.example.net.", {"another \"one\""}},
        {0}};
    struct configured c = configure_good(STR(SITE TWO REST));
    struct plan plan = plan_of(&c);
    struct publication *p = publication_new(&plan, STR(""));
    answer_all(p, standing);
    struct publication_zone zone = zone_of(p, "example.net");
    assert_int_equal(zone.why.len, 0);
    assert_order(zone.script,
                 (const char *[]){"zone example.net.\n", "update add out.example.net. 3600 A 192.0.2.16\n",
                                  "update delete out.example.net. TXT\n",
                                  "update add out.example.net. 3600 TXT \"a verification\"\n",
                                  "update add out.example.net. 3600 TXT \"v=spf1 ip4:192.0.2.16/31 -all\"\n",
                                  "update add spf.example.net. 3600 TXT \"v=spf1 ", "send\n", NULL});
    assert_not(zone.script, "delete out.example.net. A");
    assert_not(zone.script, "delete spf.example.net.");
    assert_not(zone.script, "198.51.100.1");
    publication_free(p);
    configured_free(&c);
}

/* An address goes, and its SPF records change: only what was published is taken back. */
static void test_stale(void **state) {
    (void)state;
    struct buf memory = {0}, next = {0};
    struct configured two = configure_good(STR(SITE TWO REST)), one = configure_good(STR(SITE ONE REST));
    struct plan before = plan_of(&two), after = plan_of(&one);
    bool none[8] = {false}, all[8] = {true, true, true, true, true, true, true, true};
    struct publication *p = publication_new(&before, STR(""));
    publication_memory(p, all, &memory);
    publication_free(p);
    assert_true(str_find(buf_view(&memory),
                         STR("example.net out.example.net. txt \"v=spf1 ip4:192.0.2.16/31 -all\"\n")) >= 0);

    const struct live_set *const *sets;
    p = publication_new(&before, buf_view(&memory)); /* nothing is new: nobody is asked */
    assert_int_equal(publication_questions(p, &sets), 0);
    answer_all(p, NULL);
    assert_not(zone_of(p, "example.net").script, "delete");
    publication_free(p);

    buf_str(&memory, STR("old.example mon.old.example. a 192.0.2.99\nold.example what.old.example. txt\n"));
    p = publication_new(&after, buf_view(&memory));
    static const struct standing standing[] = {
        {"out.example.net.", {"v=spf1 ip4:192.0.2.16/31 -all", "a verification"}}, {0}};
    answer_all(p, standing);
    assert_order(zone_of(p, "example.net").script,
                 (const char *[]){"update delete out.example.net. a 192.0.2.17\n",
                                  "update delete mon0002.example.net. a 192.0.2.17\n",
                                  "update delete out.example.net. TXT\n",
                                  "update add out.example.net. 3600 TXT \"a verification\"\n",
                                  "update add out.example.net. 3600 TXT \"v=spf1 ip4:192.0.2.16 -all\"\n",
                                  NULL});
    struct publication_zone old = zone_of(p, "old.example");
    assert_true(str_eq(old.script, STR("zone old.example.\n"
                                       "update delete mon.old.example. a 192.0.2.99\n"
                                       "update delete what.old.example. txt\n"
                                       "send\n")));
    /* A zone that could not be sent is not forgotten. */
    publication_memory(p, none, &next);
    assert_true(str_find(buf_view(&next), STR("a 192.0.2.17\n")) >= 0);
    assert_true(str_find(buf_view(&next), STR("old.example mon")) >= 0);
    buf_clear(&next);
    publication_memory(p, all, &next);
    assert_int_equal(str_find(buf_view(&next), STR("192.0.2.17")), -1);
    assert_int_equal(str_find(buf_view(&next), STR("old.example mon")), -1);
    publication_free(p);
    configured_free(&one), configured_free(&two);
    buf_free(&memory), buf_free(&next);
}

static void test_no_answer(void **state) {
    (void)state;
    static const struct standing standing[] = {{"out.example.net.", {""}}, {0}};
    struct configured c = configure_good(STR(SITE TWO REST));
    struct plan plan = plan_of(&c);
    struct publication *p = publication_new(&plan, STR(""));
    answer_all(p, standing);
    assert_true(str_find(zone_of(p, "example.net").why, STR("out.example.net. TXT: no answer")) > 0);
    publication_free(p);
    configured_free(&c);
}

/* The first try failed: the second must see what others have as the first did, or there would be two SPF
 * records. */
static void test_a_failed_try_is_no_memory(void **state) {
    (void)state;
    static const struct standing standing[] = {{"out.example.net.", {"v=spf1 -all", "a verification"}}, {0}};
    struct configured c = configure_good(STR(SITE TWO REST));
    struct plan plan = plan_of(&c);
    bool none[8] = {false}, all[8] = {true, true, true, true, true, true, true, true};
    struct buf memory[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        struct publication *p = publication_new(&plan, i ? buf_view(&memory[i - 1]) : STR(""));
        answer_all(p, standing);
        assert_order(zone_of(p, "example.net").script,
                     (const char *[]){"update delete out.example.net. TXT\n",
                                      "update add out.example.net. 3600 TXT \"a verification\"\n",
                                      "update add out.example.net. 3600 TXT \"v=spf1 ip4:", NULL});
        publication_memory(p, i < 2 ? none : all, &memory[i]);
        publication_free(p);
    }
    const struct live_set *const *sets;
    struct publication *p = publication_new(&plan, buf_view(&memory[2])); /* it stands there */
    assert_int_equal(publication_questions(p, &sets), 0);
    publication_free(p);
    struct configured one = configure_good(STR(SITE ONE REST));
    struct plan less = plan_of(&one);
    p = publication_new(&less, buf_view(&memory[0])); /* what may stand there is taken back */
    answer_all(p, NULL);
    assert_order(zone_of(p, "example.net").script,
                 (const char *[]){"update delete out.example.net. a 192.0.2.17\n", NULL});
    publication_free(p);
    configured_free(&c), configured_free(&one);
    for (size_t i = 0; i < 3; i++)
        buf_free(&memory[i]);
}

/* An address that was in a /24 of ours comes to a delegated part: its name has a CNAME, beside which nothing
 * stands. */
static void test_ptr_becomes_cname(void **state) {
    (void)state;
    struct configured c = configure_good(
        STR("identity { zones = {2.0.192.in-addr.arpa, \"16/31.2.0.192.in-addr.arpa\"} }\n" SITE TWO REST));
    struct plan plan = plan_of(&c);
    struct publication *p = publication_new(
        &plan, STR("2.0.192.in-addr.arpa 16.2.0.192.in-addr.arpa. ptr mon0001.example.net.\n"));
    answer_all(p, NULL);
    assert_order(zone_of(p, "2.0.192.in-addr.arpa").script,
                 (const char *[]){"update delete 16.2.0.192.in-addr.arpa. ptr mon0001.example.net.\n",
                                  "update add 16.2.0.192.in-addr.arpa. 3600 CNAME ", NULL});
    publication_free(p);
    configured_free(&c);
}

/* No message is over the 64 KiB of TCP. */
static void test_large(void **state) {
    (void)state;
    struct configured c =
        configure_good(STR(SITE "pool normal { class = on ehlo = ptr addresses = {2001:db8::/117} }\n" REST));
    struct plan plan = plan_of(&c);
    struct publication *p = publication_new(&plan, STR(""));
    answer_all(p, NULL);
    struct str script = zone_of(p, "example.net").script;
    size_t messages = 0;
    for (ptrdiff_t at; (at = str_find(script, STR("send\n"))) >= 0; messages++) {
        assert_in_range(at, 1, 40000);
        assert_true(str_starts(script, STR("zone example.net.\n")));
        script = str_from_index(script, (size_t)at + 5);
    }
    assert_in_range(messages, 2, 50);
    assert_int_equal(script.len, 0);
    publication_free(p);
    configured_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_others_have_stays),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_a_failed_try_is_no_memory),
        cmocka_unit_test(test_ptr_becomes_cname),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
