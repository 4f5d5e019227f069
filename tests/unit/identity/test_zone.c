#include "configured.h"
#include "identity/zone.h"

#define SITE "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"
#define POOLS                                                                                                \
    "pool normal { class = on addresses = {192.0.2.16/31, 2001:db8::1} }\n"                                  \
    "pool rest { class = re carries = {high-risk, relay, high-risk-relay} spf = unpublished }\n"

static struct str zone_of(const struct configured *c, const struct plan *plan, const char *name,
                          struct buf *out) {
    size_t at = 0;
    while (at < plan->zone_count && !str_eq(plan->zones[at].name, str_of(name)))
        at++;
    assert_true(at < plan->zone_count);
    buf_clear(out);
    zone_text(out, plan, at, &c->settings, 7);
    return buf_view(out);
}

static struct plan plan_of(const struct configured *c) {
    return plan_build(c->arena, &(struct plan_input){.pools = c->pools, .settings = &c->settings});
}

static void assert_text(struct str text, const char *wanted) {
    if (!str_eq(text, str_of(wanted)))
        fail_msg("got:\n%.*swanted:\n%s", STR_FMT(text), wanted);
}

static void test_texts(void **state) {
    struct buf out = {0};
    (void)state;
    struct configured c = configure_good(
        STR("identity { ttl = 5min contact = \"dns.admin@example.org\"\n"
            " name-servers = {\"ns1.example.net 192.0.2.53\", ns2.example.org} }\n" SITE POOLS));
    struct plan plan = plan_of(&c);
    assert_text(zone_of(&c, &plan, "example.net", &out),
                "; All that sending needs in example.net.\n"
                "example.net. 300 IN SOA ns1.example.net. dns\\.admin.example.org. 7 3600 900 1209600 300\n"
                "example.net. 300 IN NS ns1.example.net.\n"
                "example.net. 300 IN NS ns2.example.org.\n"
                "ns1.example.net. 300 IN A 192.0.2.53\n"
                "out.example.net. 300 IN A 192.0.2.16\n"
                "out.example.net. 300 IN A 192.0.2.17\n"
                "out.example.net. 300 IN AAAA 2001:db8::1\n"
                "out.example.net. 300 IN TXT \"v=spf1 ip4:192.0.2.16/31 ip6:2001:db8::1 -all\"\n"
                "mon0001.example.net. 300 IN A 192.0.2.16\n"
                "mon0001.example.net. 300 IN AAAA 2001:db8::1\n"
                "mon0002.example.net. 300 IN A 192.0.2.17\n"
                "spf.example.net. 300 IN TXT \"v=spf1 ip4:192.0.2.16/31 ip6:2001:db8::1 -all\"\n"
                "normal.spf.example.net. 300 IN TXT \"v=spf1 ip4:192.0.2.16/31 ip6:2001:db8::1 -all\"\n");
    assert_text(
        zone_of(&c, &plan, "2.0.192.in-addr.arpa", &out),
        "; For the provider of the addresses: these records belong in their zone 2.0.192.in-addr.arpa.\n"
        "2.0.192.in-addr.arpa. 300 IN SOA ns1.example.net. dns\\.admin.example.org. 7 3600 900 1209600 "
        "300\n"
        "2.0.192.in-addr.arpa. 300 IN NS ns1.example.net.\n"
        "2.0.192.in-addr.arpa. 300 IN NS ns2.example.org.\n"
        "16-31.2.0.192.in-addr.arpa. 300 IN NS ns1.example.net.\n"
        "16-31.2.0.192.in-addr.arpa. 300 IN NS ns2.example.org.\n"
        "16.2.0.192.in-addr.arpa. 300 IN CNAME 16.16-31.2.0.192.in-addr.arpa.\n"
        "17.2.0.192.in-addr.arpa. 300 IN CNAME 17.16-31.2.0.192.in-addr.arpa.\n");
    assert_int_equal(zone_faults(c.arena, &plan, &c.settings).count, 0);
    buf_clear(&out);
    zone_nsupdate(&out, &plan);
    assert_true(str_starts(buf_view(&out), STR("zone example.net.\n"
                                               "update delete out.example.net. A\n"
                                               "update add out.example.net. 300 A 192.0.2.16\n"
                                               "update add out.example.net. 300 A 192.0.2.17\n"
                                               "update delete out.example.net. AAAA\n")));
    assert_true(str_ends(buf_view(&out), STR("send\n")));
    assert_int_equal(str_find(buf_view(&out), STR("zone 2.0.192.in-addr.arpa.")), -1); /* not ours */
    configured_free(&c);
    buf_free(&out);
}

/* Nobody to delegate to: the provider's zone answers for the part by itself. */
static void test_no_servers(void **state) {
    struct buf out = {0};
    (void)state;
    struct configured c = configure_good(STR(SITE POOLS));
    struct plan plan = plan_of(&c);
    struct str text = zone_of(&c, &plan, "2.0.192.in-addr.arpa", &out);
    assert_true(
        str_find(text, STR("\n17.2.0.192.in-addr.arpa. 3600 IN CNAME 17.16-31.2.0.192.in-addr.arpa.\n")) > 0);
    assert_true(str_find(text, STR("\n17.16-31.2.0.192.in-addr.arpa. 3600 IN PTR mon0002.example.net.\n")) >
                0);
    assert_int_equal(str_find(text, STR("\n16-31.2.0.192.in-addr.arpa. 3600 IN NS")), -1);
    text = zone_of(&c, &plan, "16-31.2.0.192.in-addr.arpa", &out);
    assert_true(str_find(text, STR("\n17.16-31.2.0.192.in-addr.arpa. 3600 IN PTR mon0002.example.net.\n")) >
                0);
    configured_free(&c);
    buf_free(&out);
}

/* A zone that a configured one is cut out of delegates it, with the addresses of servers below the cut. */
static void test_cuts(void **state) {
    struct buf out = {0};
    (void)state;
    struct configured c = configure_good(STR(
        "identity { domain = out.example.net zones = {out.example.net}\n"
        " name-servers = {\"ns1.out.example.net 192.0.2.53\", mon0001.out.example.net, ns3.example.org} }\n"
        "site bl2 { ehlo = mta.example.net ptr = \"m{class}{n}.out.example.net\" }\n" POOLS));
    struct plan plan = plan_of(&c);
    struct str text = zone_of(&c, &plan, "example.net", &out);
    assert_true(str_find(text, STR("example.net. 3600 IN NS ns1.out.example.net.\n"
                                   "example.net. 3600 IN NS mon0001.out.example.net.\n"
                                   "example.net. 3600 IN NS ns3.example.org.\n"
                                   "out.example.net. 3600 IN NS ns1.out.example.net.\n"
                                   "out.example.net. 3600 IN NS mon0001.out.example.net.\n"
                                   "out.example.net. 3600 IN NS ns3.example.org.\n"
                                   "ns1.out.example.net. 3600 IN A 192.0.2.53\n"
                                   "mon0001.out.example.net. 3600 IN A 192.0.2.16\n"
                                   "mon0001.out.example.net. 3600 IN AAAA 2001:db8::1\n"
                                   "mta.example.net. 3600 IN A 192.0.2.16\n")) > 0);
    text = zone_of(&c, &plan, "out.example.net", &out);
    assert_true(str_find(text, STR("\nout.example.net. 3600 IN NS ns3.example.org.\n"
                                   "ns1.out.example.net. 3600 IN A 192.0.2.53\n"
                                   "mon0001.out.example.net. 3600 IN A 192.0.2.16\n")) > 0);
    configured_free(&c);
    buf_free(&out);
}

static void test_faults(void **state) {
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"", "not set"},
        {"identity { name-servers = {ns.example.org} }\n", NULL},
        {"identity { name-servers = {ns.example.net} }\n", "stands in zone example.net itself"},
        {"identity { name-servers = {mon0001.example.net} }\n", NULL}, /* the plan has its address */
        {"identity { name-servers = {ns.outbound.example.net} }\n", "stands in zone example.net itself"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str text = str_printf(arena, "%s" SITE POOLS, cases[i].text);
        struct configured c = configure_good(text);
        struct plan plan = plan_of(&c);
        struct zone_faults faults = zone_faults(c.arena, &plan, &c.settings);
        assert_int_equal(faults.count, cases[i].fault != NULL);
        if (cases[i].fault)
            assert_true(str_find(faults.at[0].text, str_of(cases[i].fault)) >= 0);
        configured_free(&c);
        arena_free(arena);
    }
}

/* A tenant's domain that is our own zone: an update must not take away what else stands at its name. */
static void test_shared(void **state) {
    static const struct plan_domain domains[] = {{STR("own"), STR("example.net"), STR("")}};
    static const struct plan_dkim keys[] = {{STR("example.net"), STR("s1"), STR("v=DKIM1; p=x")}};
    struct buf out = {0};
    (void)state;
    struct configured c = configure_good(STR(SITE POOLS));
    struct plan plan = plan_build(c.arena, &(struct plan_input){.pools = c.pools,
                                                                .settings = &c.settings,
                                                                .domains = domains,
                                                                .domain_count = 1,
                                                                .dkim = keys,
                                                                .dkim_count = 1});
    zone_nsupdate(&out, &plan);
    assert_int_equal(str_find(buf_view(&out), STR(" example.net. TXT")), -1);
    assert_int_equal(str_find(buf_view(&out), STR("_dmarc")), -1);
    assert_true(str_find(buf_view(&out), STR("update add s1._domainkey.example.net. ")) > 0);
    struct str text = zone_of(&c, &plan, "example.net", &out);
    assert_true(str_find(text, STR("\nexample.net. 3600 IN TXT \"v=spf1 include:spf.example.net -all\"\n")) >
                0);
    configured_free(&c);
    buf_free(&out);
}

static void test_file_names(void **state) {
    struct arena *arena = arena_new(0);
    (void)state;
    assert_string_equal(
        zone_file_name(arena, &(struct plan_zone){STR("example.net"), PLAN_OURS, 0, 0, PLAN_NO_ZONE}).at,
        "example.net.zone");
    assert_string_equal(zone_file_name(arena, &(struct plan_zone){STR("16/28.2.0.192.in-addr.arpa"),
                                                                  PLAN_OURS, 0, 0, PLAN_NO_ZONE})
                            .at,
                        "16-28.2.0.192.in-addr.arpa.zone");
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts),  cmocka_unit_test(test_no_servers),
                                       cmocka_unit_test(test_cuts),   cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_shared), cmocka_unit_test(test_file_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
