#include "configured.h"
#include "identity/live.h"

#define TEXT                                                                                                 \
    "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"                                \
    "pool normal { class = on addresses = {192.0.2.16/31, 2001:db8::1} }\n"                                  \
    "pool rest { class = re carries = {high-risk, relay, high-risk-relay} }\n"
#define OUR_SPF "v=spf1 ip4:192.0.2.16/31 ip6:2001:db8::1 -all"

static const struct plan_domain DOMAINS[] = {{STR("contoso"), STR("contoso.com"), STR("")}};

static struct plan plan_of(const struct configured *c) {
    return plan_build(c->arena, &(struct plan_input){.pools = c->pools,
                                                     .settings = &c->settings,
                                                     .domains = DOMAINS,
                                                     .domain_count = COUNT(DOMAINS)});
}

enum { ANSWERS_MAX = 4 };
static const struct {
    const char *name;
    enum dns_type type;
    const char *live[ANSWERS_MAX]; /* none: no such record */
    bool failed;
    const char *differences;
} CASES[] = {
    {"out.example.net.", DNS_A, {"192.0.2.17", "192.0.2.16"}, .differences = ""},
    {"out.example.net.", DNS_A, {"192.0.2.17"}, .differences = "+192.0.2.16 "},
    {"out.example.net.", DNS_A, {"192.0.2.17", "192.0.2.18", "192.0.2.16"}, .differences = "-192.0.2.18 "},
    {"out.example.net.", DNS_A, .differences = "+192.0.2.16 +192.0.2.17 "},
    {"out.example.net.", DNS_A, .failed = true, .differences = "?timeout "},
    {"out.example.net.", DNS_AAAA, {"2001:db8::1"}, .differences = ""},
    {"out.example.net.", DNS_TXT, {OUR_SPF}, .differences = ""},
    {"out.example.net.", DNS_TXT, {OUR_SPF, "verification=1"}, .differences = ""},
    {"out.example.net.", DNS_TXT, {OUR_SPF, "v=spf1 -all"}, .differences = "-\"v=spf1 -all\" "},
    {"out.example.net.",
     DNS_TXT,
     {"v=spf1 include:spf.example.net -all"},
     .differences = "+\"" OUR_SPF "\" -\"v=spf1 include:spf.example.net -all\" "},
    {"16.16-31.2.0.192.in-addr.arpa.", DNS_PTR, {"mon0001.example.net"}, .differences = ""},
    {"16.16-31.2.0.192.in-addr.arpa.", DNS_PTR, {"MON0001.example.net"}, .differences = ""},
    {"16.16-31.2.0.192.in-addr.arpa.",
     DNS_PTR,
     {"host.provider.example"},
     .differences = "+mon0001.example.net. -host.provider.example. "},
    {"16.2.0.192.in-addr.arpa.", DNS_CNAME, {"16.16-31.2.0.192.in-addr.arpa"}, .differences = ""},
    {"contoso.com.", DNS_TXT, {"v=spf1 mx a:x.contoso.com +INCLUDE:spf.example.net ~all"}, .differences = ""},
    {"contoso.com.",
     DNS_TXT,
     {"v=spf1 include:spf.example.net.evil.example -all"},
     .differences = "+\"v=spf1 include:spf.example.net -all\" "
                    "-\"v=spf1 include:spf.example.net.evil.example -all\" "},
    {"contoso.com.", DNS_TXT, {"verification=1"}, .differences = "+\"v=spf1 include:spf.example.net -all\" "},
    {"_dmarc.contoso.com.", DNS_TXT, {"v=DMARC1;p=reject"}, .differences = ""},
    {"_dmarc.contoso.com.", DNS_TXT, {"v=spf1 -all"}, .differences = "+\"v=DMARC1; p=none\" "},
};

static void fill(struct dns_record *r, enum dns_type type, const char *text) {
    *r = (struct dns_record){0};
    if (type == DNS_A || type == DNS_AAAA)
        assert_true(ip_parse(str_of(text), &r->ip));
    else if (type == DNS_TXT)
        r->text = str_of(text);
    else
        r->name = str_of(text);
}

static void test_compare(void **state) {
    (void)state;
    struct configured c = configure_good(STR(TEXT));
    struct plan plan = plan_of(&c);
    struct live_set *sets;
    size_t count = live_sets(c.arena, &plan, &sets);
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct dns_record records[ANSWERS_MAX];
        struct dns_answer answer = {.status = DNS_NONE, .records = records};
        struct buf lines = {0}, text = {0};
        size_t at = 0;
        while (at < count &&
               !(sets[at].type == CASES[i].type && str_eq(sets[at].name, str_of(CASES[i].name))))
            at++;
        assert_true(at < count);
        for (; answer.count < ANSWERS_MAX && CASES[i].live[answer.count]; answer.count++)
            fill(&records[answer.count], CASES[i].type, CASES[i].live[answer.count]);
        answer.status = CASES[i].failed ? DNS_FAILED : answer.count ? DNS_RECORDS : DNS_NONE;
        answer.why = CASES[i].failed ? STR("timeout") : STR("");
        live_compare(c.arena, &sets[at], &answer, &lines);
        const struct live_line *line = (const struct live_line *)(const void *)lines.at;
        for (size_t j = 0; j < lines.len / sizeof *line; j++)
            buf_printf(&text, "%c%.*s ", "+-?"[line[j].state], STR_FMT(line[j].data));
        if (!str_eq(buf_view(&text), str_of(CASES[i].differences)))
            fail_msg("case %zu: %s", i, buf_c(&text));
        buf_free(&lines), buf_free(&text);
    }
    configured_free(&c);
}

/* Each name and type once, and every record in its set. */
static void test_sets(void **state) {
    (void)state;
    struct configured c = configure_good(STR(TEXT));
    struct plan plan = plan_of(&c);
    struct live_set *sets;
    size_t count = live_sets(c.arena, &plan, &sets), total = 0;
    for (size_t i = 0; i < count; i++) {
        total += sets[i].count;
        for (size_t j = 0; j < sets[i].count; j++)
            assert_true(str_eq(sets[i].records[j]->name, sets[i].name));
        for (size_t j = 0; j < i; j++)
            assert_false(sets[j].type == sets[i].type && str_eq(sets[j].name, sets[i].name));
    }
    assert_int_equal(total, plan.record_count);
    configured_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_compare), cmocka_unit_test(test_sets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
