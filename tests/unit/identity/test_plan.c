#include "base/buf.h"
#include "configured.h"
#include "identity/names.h"
#include <stdio.h>
#include <stdlib.h>

#define REST                                                                                                 \
    "pool high-risk { class = hn addresses = {198.51.100.8/29} }\n"                                          \
    "pool relay { class = rl spf = unpublished addresses = {203.0.113.8/29} }\n"                             \
    "pool high-risk-relay { class = rh spf = hidden addresses = {203.0.113.16/29} }\n"
#define SITE "site bl2 { ehlo = out.example.net ptr = \"m{class}{n}.example.net\" }\n"
#define NORMAL "pool normal { class = on addresses = {192.0.2.16/28, \"2001:db8:25::10-2001:db8:25::1f\"} }\n"

static struct plan plan_of(const struct configured *c) {
    return plan_build(c->arena, &(struct plan_input){.pools = c->pools, .settings = &c->settings});
}

/* ---- what stands where ---- */

enum { RECORDS_MAX = 8 };
struct wanted {
    const char *name, *type, *data;
    bool absent;
};
static const struct {
    const char *title, *text;
    struct wanted records[RECORDS_MAX];
    const char *note; /* part of it */
} CASES[] = {
    {"four pools",
     SITE NORMAL REST,
     {{"16.16-28.2.0.192.in-addr.arpa.", "PTR", "mon0001.example.net."},
      {"16.2.0.192.in-addr.arpa.", "CNAME", "16.16-28.2.0.192.in-addr.arpa."},
      {"f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.2.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "PTR",
       "mon0016.example.net."},
      {"mon0016.example.net.", "A", "192.0.2.31"},
      {"mon0016.example.net.", "AAAA", "2001:db8:25::1f"},
      {"mon0016.example.net.", "TXT", .absent = true},
      {"out.example.net.", "TXT",
       "\"v=spf1 ip4:192.0.2.16/28 ip4:198.51.100.8/29 ip4:203.0.113.8/29 ip6:2001:db8:25::10/124 -all\""},
      {"16-28.2.0.192.in-addr.arpa.", "NS", .absent = true}}},
    {"what customers include",
     SITE NORMAL REST,
     {{"spf.example.net.", "TXT",
       "\"v=spf1 ip4:192.0.2.16/28 ip4:198.51.100.8/29 ip6:2001:db8:25::10/124 -all\""},
      {"normal.spf.example.net.", "TXT", "\"v=spf1 ip4:192.0.2.16/28 ip6:2001:db8:25::10/124 -all\""},
      {"relay.spf.example.net.", "TXT", .absent = true},
      {"high-risk-relay.spf.example.net.", "TXT", .absent = true}}},
    {"a domain, zones and servers of one's own",
     "identity { domain = \"mail.example.org.\" ttl = 5min\n"
     "  zones = {mail.example.org, 2.0.192.in-addr.arpa, \"8/29.100.51.198.in-addr.arpa\",\n"
     "    5.2.0.0.8.b.d.0.1.0.0.2.ip6.arpa, 0-31.113.0.203.in-addr.arpa}\n"
     "  name-servers = {ns1.example.org} }\n" SITE NORMAL REST,
     {{"spf.mail.example.org.", "TXT", NULL},
      {"spf.example.net.", "TXT", .absent = true},
      {"16.2.0.192.in-addr.arpa.", "PTR", "mon0001.example.net."},
      {"9.0-31.113.0.203.in-addr.arpa.", "PTR", "mrl0002.example.net."},
      {"9.113.0.203.in-addr.arpa.", "CNAME", "9.0-31.113.0.203.in-addr.arpa."},
      {"0-31.113.0.203.in-addr.arpa.", "NS", "ns1.example.org."}}},
    {"a whole /24 in two pools, a single address",
     SITE REST "pool normal { class = on addresses = {192.0.2.0/25} }\n"
               "pool more { class = mo carries = {relay} addresses = {192.0.2.128/25, 192.0.3.7} }\n",
     {{"0.2.0.192.in-addr.arpa.", "PTR", "mon0001.example.net."},
      {"255.2.0.192.in-addr.arpa.", "PTR", "mmo0128.example.net."},
      {"7.3.0.192.in-addr.arpa.", "PTR", "mmo0129.example.net."}}},
    {"EHLO by pool",
     SITE REST "pool normal { class = on ehlo = ptr addresses = {192.0.2.1, 2001:db8::1} }\n"
               "pool more { class = mo carries = {relay} ehlo = more.example.net addresses = {192.0.2.9} }\n",
     {{"mon0001.example.net.", "TXT", "\"v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all\""},
      {"mhn0001.example.net.", "TXT", .absent = true},
      {"more.example.net.", "A", "192.0.2.9"},
      {"more.example.net.", "A", "198.51.100.8", .absent = true},
      {"more.example.net.", "TXT",
       "\"v=spf1 ip4:192.0.2.1 ip4:192.0.2.9 ip4:198.51.100.8/29 ip4:203.0.113.8/29 ip6:2001:db8::1 -all\""},
      {"out.example.net.", "A", "198.51.100.8"},
      {"out.example.net.", "A", "192.0.2.1", .absent = true},
      {"out.example.net.", "A", "203.0.113.16", .absent = true}}},
    {"no site, few addresses: the EHLO name is their name",
     "pool normal { addresses = {192.0.2.1, 2001:db8::1} }\n"
     "pool rest { carries = {high-risk, relay, high-risk-relay} addresses = {192.0.2.2} }\n",
     {{"1.2.0.192.in-addr.arpa.", "PTR", "node.example.net."},
      {"2.2.0.192.in-addr.arpa.", "PTR", "node.example.net."},
      {"node.example.net.", "A", "192.0.2.1"},
      {"node.example.net.", "A", "192.0.2.2"},
      {"node.example.net.", "AAAA", "2001:db8::1"},
      {"node.example.net.", "TXT", "\"v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 ip6:2001:db8::1 -all\""}}},
    {"no site, many addresses: no names",
     "pool normal { addresses = {192.0.2.0/24} }\n"
     "pool rest { carries = {high-risk, relay, high-risk-relay} addresses = {198.51.100.2} }\n",
     {{"1.2.0.192.in-addr.arpa.", "PTR", .absent = true}},
     .note = "have no names"},
    {"two sites",
     "here = a\nsite a { ehlo = a.example.net ptr = \"a{class}{n}.example.net\"\n"
     "  pool normal { addresses = {192.0.2.1} } pool rest { addresses = {192.0.2.2} } }\n"
     "site b { ehlo = b.example.org ptr = \"b{class}{n}.example.net\"\n"
     "  pool normal { addresses = {192.0.2.65} } pool rest { addresses = {192.0.2.66} } }\n"
     "pool normal { class = on }\n"
     "pool rest { class = re carries = {high-risk, relay, high-risk-relay} spf = unpublished }\n",
     {{"a.example.net.", "TXT", "\"v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 -all\""},
      {"b.example.org.", "TXT", "\"v=spf1 ip4:192.0.2.65 ip4:192.0.2.66 -all\""},
      {"b.example.org.", "A", "192.0.2.65"},
      {"bre0001.example.net.", "A", "192.0.2.66"},
      {"spf.example.net.", "TXT", "\"v=spf1 ip4:192.0.2.1 ip4:192.0.2.65 -all\""},
      {"normal.spf.example.net.", "TXT", "\"v=spf1 ip4:192.0.2.1 ip4:192.0.2.65 -all\""}},
     .note = "several domains"},
};

static void test_records(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct configured c = configure_good(str_of(CASES[i].text));
        struct plan plan = plan_of(&c);
        bool noted = CASES[i].note == NULL;
        for (size_t j = 0; j < RECORDS_MAX && CASES[i].records[j].name; j++) {
            const struct wanted *w = &CASES[i].records[j];
            if (!record_find(&plan, w->name, w->type, w->data) != w->absent)
                fail_msg("%s: %s %s %s", CASES[i].title, w->name, w->type, w->data ? w->data : "");
        }
        for (size_t j = 0; j < plan.note_count && !noted; j++)
            noted = str_find(plan.notes[j].text, str_of(CASES[i].note)) >= 0;
        assert_true(noted);
        assert_true(CASES[i].note || plan.note_count == 0);
        configured_free(&c);
    }
}

static void test_owners(void **state) {
    static const struct {
        const char *zone;
        enum plan_owner owner;
    } wanted[] = {
        {"example.net", PLAN_OURS},
        {"16-28.2.0.192.in-addr.arpa", PLAN_OURS},
        {"2.0.192.in-addr.arpa", PLAN_PROVIDER},
        {"0.0.0.0.5.2.0.0.8.b.d.0.1.0.0.2.ip6.arpa", PLAN_OURS},
    };
    (void)state;
    struct configured c = configure_good(STR(SITE NORMAL REST));
    struct plan plan = plan_of(&c);
    for (size_t i = 0; i < COUNT(wanted); i++) {
        size_t at = 0;
        while (at < plan.zone_count && !str_eq(plan.zones[at].name, str_of(wanted[i].zone)))
            at++;
        assert_true(at < plan.zone_count);
        assert_int_equal(plan.zones[at].owner, wanted[i].owner);
    }
    for (size_t i = 0; i < plan.record_count; i++) {
        struct str name = str_head(plan.records[i].name, plan.records[i].name.len - 1);
        assert_true(name_is_below(name, plan.zones[plan.records[i].zone].name));
    }
    configured_free(&c);
}

static void test_tenants(void **state) {
    static const struct plan_domain domains[] = {
        {STR("contoso"), STR("contoso.com"), STR("sluice-verification=42")},
        {STR("contoso"), STR("mail.fabrikam.com"), STR("")},
        {STR("own"), STR("out.example.net"), STR("")},
    };
    static const struct plan_dkim keys[] = {
        {STR("contoso.com"), STR("s1"), STR("v=DKIM1; k=ed25519; p=abc")}};
    static const struct wanted wanted[] = {
        {"contoso.com.", "TXT", "\"v=spf1 include:spf.example.net -all\""},
        {"_dmarc.contoso.com.", "TXT", "\"v=DMARC1; p=reject; rua=mailto:d@example.net\""},
        {"_sluice.contoso.com.", "TXT", "\"sluice-verification=42\""},
        {"s1._domainkey.contoso.com.", "TXT", "\"v=DKIM1; k=ed25519; p=abc\""},
        {"mail.fabrikam.com.", "TXT", "\"v=spf1 include:spf.example.net -all\""},
        {"_sluice.mail.fabrikam.com.", "TXT", .absent = true},
    };
    (void)state;
    struct configured c =
        configure_good(STR("identity { dmarc = \"p=reject; rua=mailto:d@example.net\" }\n" SITE NORMAL REST));
    struct plan plan = plan_build(c.arena, &(struct plan_input){.pools = c.pools,
                                                                .settings = &c.settings,
                                                                .domains = domains,
                                                                .domain_count = COUNT(domains),
                                                                .dkim = keys,
                                                                .dkim_count = COUNT(keys)});
    for (size_t i = 0; i < COUNT(wanted); i++)
        assert_true(!record_find(&plan, wanted[i].name, wanted[i].type, wanted[i].data) == wanted[i].absent);
    assert_int_equal(record_count(&plan, "out.example.net.", "TXT"), 1); /* never two SPF records */
    assert_int_equal(plan.note_count, 1);
    assert_int_equal(plan.zones[record_find(&plan, "contoso.com.", "TXT", NULL)->zone].owner, PLAN_TENANT);
    assert_true(str_eq(plan.zones[record_find(&plan, "mail.fabrikam.com.", "TXT", NULL)->zone].name,
                       STR("fabrikam.com")));
    configured_free(&c);
}

static void test_destinations(void **state) {
    static const struct str names[] = {STR("special.example.net")};
    (void)state;
    struct configured c =
        configure_good(STR(SITE REST "pool normal { class = on ehlo = ptr addresses = {192.0.2.1} }\n"));
    struct plan plan = plan_build(c.arena, &(struct plan_input){.pools = c.pools,
                                                                .settings = &c.settings,
                                                                .ptr_ehlo = true,
                                                                .site_ehlo = true,
                                                                .ehlo_names = names,
                                                                .ehlo_name_count = 1});
    assert_non_null(record_find(&plan, "mhn0001.example.net.", "TXT", "\"v=spf1 ip4:198.51.100.8 -all\""));
    assert_null(record_find(&plan, "mrh0001.example.net.", "TXT", NULL)); /* hidden */
    assert_non_null(record_find(&plan, "special.example.net.", "A", "192.0.2.1"));
    assert_int_equal(record_count(&plan, "special.example.net.", "A"), EHLO_ADDRESSES_MAX);
    assert_int_equal(record_count(&plan, "special.example.net.", "TXT"), 1);
    configured_free(&c);
}

/* ---- the addresses of the EHLO name ---- */

static void test_ehlo_addresses(void **state) {
    static const struct {
        unsigned v4, v6; /* in pool normal; two more pools have 8 IPv4 each */
        size_t a, aaaa;
    } cases[] = {
        {100, 0, 15, 0}, {1, 0, 15, 0}, {1, 2, 13, 2}, {100, 100, 8, 7}, {1, 1, 14, 1}, {7, 16, 8, 7},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[1024];
        char v6[64] = "";
        if (cases[i].v6)
            snprintf(v6, sizeof v6, ", \"2001:db8::1-2001:db8::%x\"", cases[i].v6);
        snprintf(text, sizeof text,
                 SITE "pool normal { class = on addresses = {\"10.0.0.1-10.0.0.%u\"%s} }\n" REST, cases[i].v4,
                 v6);
        struct configured c = configure_good(str_of(text));
        struct plan plan = plan_of(&c);
        assert_int_equal(record_count(&plan, "out.example.net.", "A"), cases[i].a);
        assert_int_equal(record_count(&plan, "out.example.net.", "AAAA"), cases[i].aaaa);
        assert_non_null(record_find(&plan, "out.example.net.", "A", "10.0.0.1"));
        assert_non_null(record_find(&plan, "out.example.net.", "A", "198.51.100.8"));
        assert_non_null(record_find(&plan, "out.example.net.", "A", "203.0.113.8"));
        configured_free(&c);
    }
}

/* An answer with the longest name that still has fifteen AAAA, and one longer. */
static void test_ehlo_size(void **state) {
    (void)state;
    for (size_t len = 20; len < 250; len += 5) {
        char text[1024], name[256] = "";
        size_t at = 0;
        for (; at + 12 < len; at++)
            name[at] = at % 10 == 9 && at + 13 < len ? '.' : 'x';
        snprintf(name + at, sizeof name - at, ".example.net");
        snprintf(text, sizeof text,
                 "site s { ehlo = \"%s\" ptr = \"m{class}{n}.example.net\" }\n"
                 "pool normal { class = on addresses = {2001:db8::/120} }\n"
                 "pool rest { class = re carries = {high-risk, relay, high-risk-relay} }\n",
                 name);
        struct configured c = configure_good(str_of(text));
        struct plan plan = plan_of(&c);
        size_t count = record_count(&plan, str_printf(c.arena, "%s.", name).at, "AAAA");
        size_t size = 12 + strlen(name) + 2 + 4 + count * 28;
        assert_true(size <= 512 && count <= 15 && (count == 15 || size + 28 > 512));
        configured_free(&c);
    }
}

/* ---- properties of any configuration ---- */

static const struct plan_record *forward_of(const struct plan *plan, struct str name, const char *type) {
    for (size_t i = 0; i < plan->record_count; i++)
        if (strcmp(plan->records[i].type, type) == 0 && str_eq(plan->records[i].name, name))
            return &plan->records[i];
    return NULL;
}

/* PTR, through a CNAME if there is one, to a name that points back. */
static void assert_confirmed(const struct configured *c, const struct plan *plan, const struct source *s) {
    char text[IP_TEXT_SIZE];
    struct str name = str_printf(c->arena, "%.*s.", STR_FMT(reverse_name(c->arena, &s->ip)));
    const struct plan_record *alias = forward_of(plan, name, "CNAME");
    if (alias)
        name = alias->data;
    const struct plan_record *ptr = forward_of(plan, name, "PTR");
    assert_non_null(ptr);
    assert_true(str_eq(ptr->data, str_printf(c->arena, "%s.", s->ptr)));
    assert_non_null(record_find(plan, ptr->data.at, ip_is_v4(&s->ip) ? "A" : "AAAA", ip_text(&s->ip, text)));
}

static void random_addresses(struct buf *out, unsigned net) {
    for (unsigned left = 1 + (unsigned)random() % 5, at = 0; left > 0; left--) {
        at += (unsigned)random() % 20;
        unsigned end = at + (unsigned)random() % 30;
        buf_printf(out, "%s\"10.%u.%u.%u-10.%u.%u.%u\"", out->at[out->len - 1] == '{' ? "" : ", ", net,
                   at / 8, at % 8 * 32, net, end / 8, end % 8 * 32 + (unsigned)random() % 32);
        at = end + 1;
        if (random() % 2)
            buf_printf(out, ", \"2001:db8:%x:%x::1-2001:db8:%x:%x::%x\"", net, left, net, left,
                       1 + (unsigned)random() % 20);
    }
}

static void random_configuration(struct buf *out) {
    static const char *const classes[] = {"normal", "high-risk", "relay", "high-risk-relay"};
    static const char *const spf[] = {"published", "unpublished", "hidden"};
    buf_str(out, STR(SITE));
    for (unsigned i = 0; i < COUNT(classes); i++) {
        buf_printf(out, "pool %s { class = c%u spf = %s addresses = {", classes[i], i,
                   spf[(unsigned)random() % COUNT(spf)]);
        random_addresses(out, i);
        buf_str(out, STR("} }\n"));
    }
}

static void test_any_configuration(void **state) {
    (void)state;
    srandom(4);
    for (int round = 0; round < 10; round++) {
        struct buf text = {0};
        random_configuration(&text);
        struct configured c = configure_good(buf_view(&text));
        struct plan plan = plan_of(&c), again = plan_of(&c);
        assert_int_equal(plan.record_count, again.record_count);
        for (size_t i = 0; i < plan.record_count; i++) {
            assert_true(str_eq(plan.records[i].name, again.records[i].name));
            assert_true(str_eq(plan.records[i].data, again.records[i].data));
            assert_true(plan.records[i].name.len <= 254);
            assert_true(strcmp(plan.records[i].type, "TXT") || plan.records[i].data.len < 450 + 6);
        }
        for (size_t i = 0; i < c.pools->source_count; i += 1 + (size_t)random() % 40)
            assert_confirmed(&c, &plan, &c.pools->sources[i]);
        configured_free(&c);
        buf_free(&text);
    }
}

/* An address at the end of a pool: all that was there stays, but for the SPF records. */
static void test_stable(void **state) {
    (void)state;
    struct configured few = configure_good(STR(SITE NORMAL REST));
    struct configured more = configure_good(
        STR(SITE "pool normal { class = on addresses = {192.0.2.16/28, "
                 "\"2001:db8:25::10-2001:db8:25::1f\", 192.0.2.32/28, 2001:db8:26::1} }\n" REST));
    struct plan before = plan_of(&few), after = plan_of(&more);
    for (size_t i = 0; i < before.record_count; i++) {
        const struct plan_record *r = &before.records[i];
        if (strcmp(r->type, "TXT") != 0)
            assert_non_null(record_find(&after, r->name.at, r->type, r->data.at));
    }
    configured_free(&few);
    configured_free(&more);
}

/* Every other address of some /20: no list of networks holds that. */
static void test_scattered(void **state) {
    struct buf text = {0};
    (void)state;
    buf_str(&text, STR(SITE REST "pool normal { class = on addresses = {"));
    for (unsigned i = 0; i < 1000; i++)
        buf_printf(&text, "%s10.0.%u.%u", i ? ", " : "", i / 128, i % 128 * 2);
    buf_str(&text, STR(", 2001:db8::7} }\n"));
    struct configured c = configure_good(buf_view(&text));
    struct plan plan = plan_of(&c);
    assert_non_null(
        record_find(&plan, "spf.example.net.", "TXT", "\"v=spf1 exists:%{ir}.%{v}.spf.example.net -all\""));
    assert_non_null(record_find(&plan, "2.0.0.10.in-addr.spf.example.net.", "A", "127.0.0.2"));
    assert_null(record_find(&plan, "1.0.0.10.in-addr.spf.example.net.", "A", NULL));
    assert_null(record_find(&plan, "8.113.0.203.in-addr.spf.example.net.", "A", NULL));
    assert_non_null(record_find(&plan, "8.113.0.203.in-addr.out.example.net.", "A", "127.0.0.2"));
    assert_non_null(record_find(
        &plan, "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.spf.example.net.", "A",
        "127.0.0.2"));
    assert_int_equal(plan.note_count, 3); /* spf, normal.spf, EHLO */
    assert_true(str_find(plan.notes[0].text, STR("exists")) > 0);
    configured_free(&c);
    buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),           cmocka_unit_test(test_owners),
        cmocka_unit_test(test_tenants),           cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_ehlo_addresses),    cmocka_unit_test(test_ehlo_size),
        cmocka_unit_test(test_any_configuration), cmocka_unit_test(test_stable),
        cmocka_unit_test(test_scattered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
