#include "base/buf.h"
#include "base/clock.h"
#include "cmocka_setup.h"
#include "memory_resolver.h"
#include "queue/route.h"
#include <stdio.h>

static const struct memory_record zone[] = {
    {"two.example", DNS_MX, "20 mx2.two.example"},
    {"two.example", DNS_MX, "10 mx1.two.example"},
    {"mx1.two.example", DNS_A, "8.8.1.1"},
    {"mx1.two.example", DNS_AAAA, "2600::1"},
    {"mx2.two.example", DNS_A, "8.8.1.2"},
    {"same.example", DNS_MX, "5 mx2.two.example"},
    {"same.example", DNS_MX, "6 mx1.two.example"},
    {"implicit.example", DNS_A, "8.8.2.1"},
    {"implicit6.example", DNS_AAAA, "2600::2"},
    {"null.example", DNS_MX, "0 ."},
    {"null.example", DNS_A, "8.8.2.9"},
    {"half-null.example", DNS_MX, "0 ."},
    {"half-null.example", DNS_MX, "10 mx1.two.example"},
    {"nothing.example", DNS_TXT, "x"},
    {"broken.example", DNS_MX, .fails = true},
    {"broken-host.example", DNS_MX, "10 dead.example"},
    {"dead.example", DNS_A, .fails = true},
    {"half-dead.example", DNS_MX, "10 dead.example"},
    {"half-dead.example", DNS_MX, "20 mx2.two.example"},
    {"no-host.example", DNS_MX, "10 gone.example"},
    {"private.example", DNS_MX, "10 inside.example"},
    {"inside.example", DNS_A, "10.1.2.3"},
    {"mixed.example", DNS_MX, "10 mixed-host.example"},
    {"mixed-host.example", DNS_A, "127.0.0.1"},
    {"mixed-host.example", DNS_A, "8.8.3.1"},
    {"unspecified.example", DNS_A, "0.0.0.0"},
    {"loop.example", DNS_MX, "10 us-too.example"},
    {"us-too.example", DNS_A, "8.8.9.9"},
    {"loop-name.example", DNS_MX, "10 OUT.sluice.example"},
    {"backup.example", DNS_MX, "10 mx1.two.example"},
    {"backup.example", DNS_MX, "20 us-too.example"},
    {"backup.example", DNS_MX, "20 a-friend.example"},
    {"backup.example", DNS_MX, "30 mx2.two.example"},
    {"a-friend.example", DNS_A, "8.8.4.4"},
    {"xn--bcher-kva.example", DNS_MX, "10 mx2.two.example"},
    {"gmail.example", DNS_MX, "5 in.google.test"},
    {"gmail.example", DNS_MX, "10 alt.google.test"},
    {"in.google.test", DNS_A, "8.8.5.1"},
    {"alt.google.test", DNS_A, "8.8.5.2"},
    {"backup-google.example", DNS_MX, "1 mx1.two.example"},
    {"backup-google.example", DNS_MX, "10 in.google.test"},
    {"relay.inside.example", DNS_A, "10.9.9.9"},
};

static const struct str google_mx[] = {{"*.google.test", 13}};
static const struct str routed[] = {{"routed.example", 14}, {"*.below.example", 15}};
static const struct destination_settings destinations[] = {
    {.name = {"google", 6}, .mx = google_mx, .mx_count = 1, .connections = 7, .messages_per_connection = 3},
    {.name = {"inside", 6}, .domains = routed, .domain_count = 2, .route = {"relay.inside.example:2525", 25}},
};
static struct str own_names[] = {{"out.sluice.example", 18}};

static struct queue_settings settings_make(bool allow_private) {
    static struct own_endpoint own[2];
    ip_parse(STR("8.8.9.9"), &own[0].ip);
    own[0].port = 25;
    ip_parse(STR("0.0.0.0"), &own[1].ip);
    own[1].port = 2500;
    struct queue_settings settings = {.delivery = delivery_settings_default(),
                                      .destinations = {destinations, COUNT(destinations)},
                                      .own = own,
                                      .own_count = 2,
                                      .own_names = own_names,
                                      .own_name_count = 1};
    settings.delivery.allow_private = allow_private;
    return settings;
}

static const struct {
    const char *domain, *via;
    const char *receiver;
    const char *targets; /* host/address/port in order, or code and enhanced code */
    bool allow_private;
    unsigned connections;
} cases[] = {
    {"two.example", .receiver = "mx1.two.example,mx2.two.example",
     .targets = "mx1.two.example/2600::1/25 mx1.two.example/8.8.1.1/25 mx2.two.example/8.8.1.2/25"},
    {"TWO.example.", .receiver = "mx1.two.example,mx2.two.example",
     .targets = "mx1.two.example/2600::1/25 mx1.two.example/8.8.1.1/25 mx2.two.example/8.8.1.2/25"},
    {"same.example", .receiver = "mx1.two.example,mx2.two.example",
     .targets = "mx2.two.example/8.8.1.2/25 mx1.two.example/2600::1/25 mx1.two.example/8.8.1.1/25"},
    {"implicit.example", .receiver = "implicit.example", .targets = "implicit.example/8.8.2.1/25"},
    {"implicit6.example", .receiver = "implicit6.example", .targets = "implicit6.example/2600::2/25"},
    {"null.example", .receiver = "null.example", .targets = "556 5.1.10"},
    {"half-null.example", .receiver = "mx1.two.example",
     .targets = "mx1.two.example/2600::1/25 mx1.two.example/8.8.1.1/25"},
    {"nothing.example", .receiver = "nothing.example", .targets = "550 5.4.4"},
    {"nowhere.example", .receiver = "nowhere.example", .targets = "550 5.1.2"},
    {"-bad-.example..", .receiver = "-bad-.example..", .targets = "550 5.1.2"},
    {"broken.example", .receiver = "broken.example", .targets = "451 4.4.3"},
    {"broken-host.example", .receiver = "dead.example", .targets = "451 4.4.3"},
    {"half-dead.example", .receiver = "dead.example,mx2.two.example",
     .targets = "mx2.two.example/8.8.1.2/25"},
    {"no-host.example", .receiver = "gone.example", .targets = "550 5.4.4"},
    {"private.example", .receiver = "inside.example", .targets = "550 5.4.4"},
    {"private.example", .receiver = "inside.example", .targets = "inside.example/10.1.2.3/25",
     .allow_private = true},
    {"mixed.example", .receiver = "mixed-host.example", .targets = "mixed-host.example/8.8.3.1/25"},
    {"unspecified.example", .receiver = "unspecified.example", .targets = "550 5.4.4"},
    {"loop.example", .receiver = "us-too.example", .targets = "554 5.4.6"},
    {"loop-name.example", .receiver = "OUT.sluice.example", .targets = "554 5.4.6"},
    {"backup.example", .receiver = "a-friend.example,mx1.two.example,mx2.two.example,us-too.example",
     .targets = "mx1.two.example/2600::1/25 mx1.two.example/8.8.1.1/25"},
    {"b\xc3\xbc"
     "cher.example",
     .receiver = "mx2.two.example", .targets = "mx2.two.example/8.8.1.2/25"},
    {"[8.8.6.6]", .receiver = "[8.8.6.6]", .targets = "8.8.6.6/8.8.6.6/25"},
    {"[IPv6:2600::3]", .receiver = "[ipv6:2600::3]", .targets = "2600::3/2600::3/25"},
    {"[127.0.0.1]", .receiver = "[127.0.0.1]", .targets = "550 5.4.4"},
    {"[8.8.9.9]", .receiver = "[8.8.9.9]", .targets = "554 5.4.6"},
    {"gmail.example", .receiver = "destination:google",
     .targets = "in.google.test/8.8.5.1/25 alt.google.test/8.8.5.2/25", .connections = 7},
    {"backup-google.example", .receiver = "in.google.test,mx1.two.example",
     .targets = "mx1.two.example/2600::1/25 mx1.two.example/8.8.1.1/25 in.google.test/8.8.5.1/25"},
    {"routed.example", .receiver = "destination:inside", .targets = "relay.inside.example/10.9.9.9/2525"},
    {"a.below.example", .receiver = "destination:inside", .targets = "relay.inside.example/10.9.9.9/2525"},
    {"any.example", "127.0.0.9:2526", "127.0.0.9:2526", "127.0.0.9/127.0.0.9/2526"},
    {"any.example", "127.0.0.9", "127.0.0.9:25", "127.0.0.9/127.0.0.9/25"},
    {"any.example", "[::1]:2525", "[::1]:2525", "::1/::1/2525"},
    {"any.example", "[mx2.two.example]:26", "mx2.two.example:26", "mx2.two.example/8.8.1.2/26"},
    {"any.example", "8.8.9.9:25", "8.8.9.9:25", "554 5.4.6"},
    {"any.example", "127.0.0.1:2500", "127.0.0.1:2500", "554 5.4.6"}, /* any address of this host */
    {"any.example", "127.0.0.1:2501", "127.0.0.1:2501", "127.0.0.1/127.0.0.1/2501"},
    {"any.example", "host:99999", "host:99999", "550 5.4.4"},
    {"any.example", "dead.example:25", "dead.example:25", "451 4.4.3"},
};

static const char *describe(const struct route *route, struct arena *arena, struct buf *out) {
    buf_clear(out);
    if (route->outcome.fate != OUTCOME_DONE)
        buf_printf(out, "%d %.*s", route->outcome.code, STR_FMT(route->outcome.enhanced));
    struct route_target *targets;
    size_t count = route_targets(route, 1, arena, &targets);
    for (size_t i = 0; i < count; i++) {
        char text[IP_TEXT_SIZE];
        buf_printf(out, "%s%.*s/%s/%u", i ? " " : "", STR_FMT(targets[i].host), ip_text(&targets[i].ip, text),
                   (unsigned)targets[i].port);
    }
    return buf_c(out);
}

static void test_find(void **state) {
    (void)state;
    struct memory_resolver memory = memory_resolver_of(zone, COUNT(zone));
    struct buf text = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct queue_settings settings = settings_make(cases[i].allow_private);
        struct route *route;
        route_find(&settings, &memory.resolver, str_of(cases[i].domain), str_of(cases[i].via),
                   clock_mono_ms() + 1000, &route);
        const char *got = describe(route, arena, &text);
        struct str receiver = route->receiver;
        if (strcmp(got, cases[i].targets) != 0 || !str_eq(receiver, str_of(cases[i].receiver)))
            fail_msg("%s via %s: %.*s: %s", cases[i].domain, cases[i].via, STR_FMT(receiver), got);
        assert_int_equal(route->outcome.scope, OUTCOME_RECEIVER);
        assert_int_equal(route->connections, cases[i].connections ? cases[i].connections : 20);
        if (route->outcome.fate != OUTCOME_DONE) {
            assert_true(route->outcome.text.len > 10);
            assert_int_equal(route->outcome.fate,
                             route->outcome.code / 100 == 4 ? OUTCOME_LATER : OUTCOME_NEVER);
        }
        route_unref(route);
        arena_free(arena);
    }
    buf_free(&text);
}

/* Hosts of one preference take turns; all IPv6 of a preference stand before its IPv4. */
static void test_shuffles(void **state) {
    (void)state;
    static const struct memory_record hosts[] = {
        {"d.example", DNS_MX, "10 a.example"}, {"d.example", DNS_MX, "10 b.example"},
        {"d.example", DNS_MX, "10 c.example"}, {"d.example", DNS_MX, "20 z.example"},
        {"a.example", DNS_A, "8.8.1.1"},       {"a.example", DNS_AAAA, "2600::a"},
        {"b.example", DNS_A, "8.8.1.2"},       {"b.example", DNS_AAAA, "2600::b"},
        {"c.example", DNS_A, "8.8.1.3"},       {"z.example", DNS_AAAA, "2600::f"},
    };
    struct memory_resolver memory = memory_resolver_of(hosts, COUNT(hosts));
    struct queue_settings settings = settings_make(false);
    struct route *route;
    route_find(&settings, &memory.resolver, STR("d.example"), STR_NULL, clock_mono_ms() + 1000, &route);
    unsigned first[256] = {0};
    struct arena *arena = arena_new(0);
    for (uint64_t i = 0; i < 3000; i++) {
        struct route_target *targets;
        assert_int_equal(route_targets(route, i, arena, &targets), 6);
        assert_false(ip_is_v4(&targets[0].ip) || ip_is_v4(&targets[1].ip));
        assert_true(ip_is_v4(&targets[2].ip) && ip_is_v4(&targets[3].ip) && ip_is_v4(&targets[4].ip));
        assert_true(str_eq(targets[5].host, STR("z.example")));
        first[(unsigned char)targets[2].host.at[0]]++;
        arena_reset(arena);
    }
    for (char c = 'a'; c <= 'c'; c++)
        assert_in_range(first[(unsigned char)c], 800, 1200);
    arena_free(arena);
    route_unref(route);
}

/* A domain with hundreds of hosts costs a bounded number of look-ups, and has a bounded name. */
static void test_bounds(void **state) {
    (void)state;
    enum { HOSTS = 300 };
    static struct memory_record records[HOSTS * 4];
    static char names[HOSTS][64], mx[HOSTS][80];
    size_t count = 0;
    for (int i = 0; i < HOSTS; i++) {
        snprintf(names[i], sizeof names[i], "host-with-a-rather-long-name-%03d.example", i);
        snprintf(mx[i], sizeof mx[i], "%d %s", i, names[i]);
        records[count++] = (struct memory_record){"many.example", DNS_MX, mx[i]};
        for (int j = 0; j < 3; j++)
            records[count++] =
                (struct memory_record){names[i], DNS_A, j ? j == 1 ? "8.8.1.1" : "8.8.1.2" : "8.8.1.3"};
    }
    struct memory_resolver memory = memory_resolver_of(records, count);
    struct queue_settings settings = settings_make(false);
    struct route *route;
    route_find(&settings, &memory.resolver, STR("many.example"), STR_NULL, clock_mono_ms() + 5000, &route);
    struct arena *arena = arena_new(0);
    struct route_target *targets;
    assert_int_equal(route_targets(route, 0, arena, &targets), ROUTE_MAX_ADDRESSES);
    assert_true(memory.asked <= 1 + 2 * ROUTE_MAX_HOSTS);
    assert_true(route->receiver.len < 256);
    arena_free(arena);
    route_unref(route);
}

static void test_via(void **state) {
    (void)state;
    static const struct {
        const char *via, *host;
        unsigned port;
    } vias[] = {{"a.example", "a.example", 25},
                {"a.example:26", "a.example", 26},
                {" a.example:26 ", "a.example", 26},
                {"[a.example]:26", "a.example", 26},
                {"127.0.0.1:2525", "127.0.0.1", 2525},
                {"::1", "::1", 25},
                {"[::1]", "::1", 25},
                {"[::1]:587", "::1", 587},
                {"", NULL},
                {":25", NULL},
                {"[]:25", NULL},
                {"[::1", NULL},
                {"[::1]25", NULL},
                {"a.example:", NULL},
                {"a.example:0", NULL},
                {"a.example:65536", NULL},
                {"a.example:25x", NULL},
                {"a:b:c", NULL}};
    for (size_t i = 0; i < COUNT(vias); i++) {
        struct str host;
        uint16_t port;
        bool ok = route_parse_via(str_of(vias[i].via), 25, &host, &port);
        if (ok != (vias[i].host != NULL) ||
            (ok && (!str_eq(host, str_of(vias[i].host)) || port != vias[i].port)))
            fail_msg("%s", vias[i].via);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_shuffles),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_via),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
