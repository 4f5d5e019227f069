#include "cmocka_setup.h"
#include "configured.h"
#include <stdio.h>
#include <stdlib.h>

#define ANY (FAMILY_V4 | FAMILY_V6)

static const char TEXT[] =
    FOUR_POOLS "pool more { carries = {relay} weight = 3 class = mo addresses = {192.0.3.1} }\n"
               "pool own { carries = {high-risk} weight = 0 class = ow addresses = {192.0.3.2} }\n";

/* Whatever the class, own pool and random number: the pool carries the class, or there is none. */
static void test_class_is_kept(void **state) {
    static const char *const TEXTS[] = {
        TEXT,
        "pool normal { addresses = {192.0.2.1} }\npool relay { addresses = {192.0.2.2} }",
        "pool normal { }\npool relay { addresses = {192.0.2.2} }",
        "pool relay { addresses = {192.0.2.2} }",
        "",
    };
    static const char *const OWN[] = {"", "normal", "relay", "more", "own", "gone"};
    (void)state;
    for (size_t t = 0; t < COUNT(TEXTS); t++) {
        struct configured c = configure(TEXTS[t], (struct pool_options){0});
        for (unsigned class = 0; class < MAIL_CLASS_COUNT; class ++) {
            bool carried = false;
            for (size_t i = 0; i < c.pools->pool_count; i++)
                carried |= pool_carries(&c.pools->pools[i], class) && c.pools->pools[i].weight;
            for (size_t o = 0; o < COUNT(OWN) * 50; o++) {
                struct str own = str_of(OWN[o % COUNT(OWN)]);
                const struct pool *p = pool_for_class(c.pools, class, own, o * 7919);
                const struct pool *stored = pool_stored(c.pools, class, own, STR(""), o * 104729);
                assert_int_equal(p != NULL, carried);
                assert_int_equal(stored != NULL, carried);
                assert_true(!p || pool_carries(p, class));
                assert_true(!stored || pool_carries(stored, class));
            }
        }
        configured_free(&c);
    }
}

static void test_weight(void **state) {
    (void)state;
    struct configured c = configure(TEXT, (struct pool_options){0});
    size_t more = 0;
    for (uint64_t random = 0; random < 4000; random++) {
        const struct pool *p = pool_for_class(c.pools, CLASS_RELAY, STR(""), random);
        more += str_eq(p->name, STR("more"));
        assert_true(
            str_eq(pool_for_class(c.pools, CLASS_HIGH_RISK, STR(""), random)->name, STR("high-risk")));
        assert_true(str_eq(pool_for_class(c.pools, CLASS_HIGH_RISK, STR("own"), random)->name, STR("own")));
        assert_true(str_eq(pool_for_class(c.pools, CLASS_NORMAL, STR("own"), random)->name, STR("normal")));
        assert_true(
            str_eq(pool_stored(c.pools, CLASS_RELAY, STR("more"), STR(""), random)->name, STR("more")));
        assert_true(
            str_eq(pool_stored(c.pools, CLASS_HIGH_RISK, STR("gone"), STR("own"), random)->name, STR("own")));
    }
    assert_int_equal(more, 3000);
    configured_free(&c);
}

/* An empty pool is not chosen while another of the class has addresses; the last one is where mail waits. */
static void test_empty(void **state) {
    (void)state;
    struct configured c =
        configure("pool normal { }\npool full { carries = {normal} addresses = {192.0.2.1} }\n"
                  "pool relay { }\n",
                  (struct pool_options){0});
    for (uint64_t random = 0; random < 10; random++) {
        assert_true(str_eq(pool_for_class(c.pools, CLASS_NORMAL, STR(""), random)->name, STR("full")));
        assert_true(str_eq(pool_for_class(c.pools, CLASS_RELAY, STR(""), random)->name, STR("relay")));
        assert_null(pool_for_class(c.pools, CLASS_HIGH_RISK, STR(""), random));
    }
    struct pool_state *s = pool_state_new();
    struct pick pick = pool_pick(c.pools, pool_find(c.pools, STR("relay")), ANY, STR("r"), NULL, 0, s);
    assert_null(pick.source);
    assert_int_equal(pick.reason, PICK_EMPTY);
    pool_state_free(s);
    configured_free(&c);
}

struct picking {
    struct configured c;
    const struct pool *pool;
    struct pool_state *state;
};

static struct picking picking(const char *text) {
    struct picking p;
    p.c = configure(text, (struct pool_options){.node = STR("node.example.net")});
    p.state = pool_state_new();
    p.pool = pool_find(p.c.pools, STR("normal"));
    return p;
}

static void picking_free(struct picking *p) {
    pool_state_free(p->state);
    configured_free(&p->c);
}

static struct pick pick(struct picking *p, unsigned families, const char *receiver, const char *sticky,
                        int64_t now) {
    struct ip ip = ip_of(sticky ? sticky : "");
    return pool_pick(p->c.pools, p->pool, families, str_of(receiver), sticky ? &ip : NULL, now, p->state);
}

static struct source_health health(struct picking *p, const struct ip *ip, int64_t now) {
    return source_health(p->state, p->pool, ip, now, p->c.arena);
}

/* For one receiver, whatever other receivers do in between, each address goes equally often. */
static void test_spread(void **state) {
    (void)state;
    struct picking p = picking(FOUR_POOLS);
    size_t used[64] = {0}, first[64] = {0};
    for (int i = 0; i < 32 * 10; i++) {
        struct pick got = pick(&p, ANY, "google", NULL, 0);
        used[got.source - p.pool->sources]++;
        for (int j = 0; j < i % 3; j++)
            pick(&p, FAMILY_V4, "other", NULL, 0);
    }
    for (int i = 0; i < 32; i++)
        assert_int_equal(used[i], 10);
    for (int i = 0; i < 3200; i++) {
        char receiver[32];
        snprintf(receiver, sizeof receiver, "receiver%d.example", i);
        first[pick(&p, ANY, receiver, NULL, 0).source - p.pool->sources]++;
    }
    for (int i = 0; i < 32; i++)
        assert_in_range(first[i], 50, 150);
    picking_free(&p);
}

static void test_family(void **state) {
    (void)state;
    struct picking p = picking(FOUR_POOLS);
    for (int i = 0; i < 100; i++) {
        assert_true(ip_is_v4(&pick(&p, FAMILY_V4, "r", NULL, 0).source->ip));
        assert_false(ip_is_v4(&pick(&p, FAMILY_V6, "r", NULL, 0).source->ip));
        assert_true(ip_is_v4(&pick(&p, FAMILY_V4, "r", "2001:db8:25::10", 0).source->ip));
    }
    p.pool = pool_find(p.c.pools, STR("relay"));
    assert_int_equal(pick(&p, FAMILY_V6, "r", NULL, 0).reason, PICK_NO_FAMILY);
    assert_int_equal(pick(&p, 0, "r", NULL, 0).reason, PICK_NO_FAMILY);
    picking_free(&p);
}

static const char NETWORKS[] =
    "pool normal { addresses = {192.0.2.1-192.0.2.3, 192.0.3.1, \"2001:db8:0:1::1\", "
    "\"2001:db8:0:1::2\", \"2001:db8:0:2::1\"} }";

static void test_sticky(void **state) {
    static const struct {
        const char *sticky, *resting[4], *in; /* `in`: the prefix of what must be picked */
        bool same;
    } cases[] = {
        {"192.0.2.2", {NULL}, "192.0.2.2", true},
        {"192.0.2.2", {"192.0.2.2"}, "192.0.2.", false},
        {"192.0.2.2", {"192.0.2.1", "192.0.2.2", "192.0.2.3"}, "192.0.3.1", false},
        {"192.0.2.77", {NULL}, "192.0.2.", false}, /* no longer in the pool */
        {"192.0.3.1", {"192.0.2.1"}, "192.0.3.1", true},
        {"2001:db8:0:1::1", {"2001:db8:0:1::1"}, "2001:db8:0:1::2", false},
        {"2001:db8:0:2::1", {NULL}, "2001:db8:0:2::1", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct picking p = picking(NETWORKS);
        for (size_t j = 0; j < COUNT(cases[i].resting) && cases[i].resting[j]; j++) {
            struct ip ip = ip_of(cases[i].resting[j]);
            source_rest(p.state, &ip, REST_BIND, 1000, STR("asked to"));
        }
        for (int again = 0; again < 20; again++) {
            unsigned family = strchr(cases[i].sticky, ':') ? FAMILY_V6 : FAMILY_V4;
            struct pick got = pick(&p, family, "r", cases[i].sticky, 999);
            char text[IP_TEXT_SIZE];
            assert_true(str_starts(str_of(ip_text(&got.source->ip, text)), str_of(cases[i].in)));
            assert_int_equal(got.sticky, cases[i].same);
        }
        picking_free(&p);
    }
}

/* An address of another pool is never picked, sticky or not. */
static void test_sticky_stays_in_pool(void **state) {
    (void)state;
    struct picking p = picking(FOUR_POOLS);
    for (int i = 0; i < 100; i++)
        assert_true(pick(&p, ANY, "r", "203.0.113.9", 0).source->pool == 0);
    picking_free(&p);
}

static void test_rest(void **state) {
    (void)state;
    struct picking p = picking("pool normal { addresses = {192.0.2.1, 192.0.2.2} }");
    struct ip one = ip_of("192.0.2.1"), two = ip_of("192.0.2.2"), unknown = ip_of("192.0.2.3");
    source_rest(p.state, &one, REST_RECEIVER, 500, STR("421 slow down"));
    source_rest(p.state, &one, REST_RECEIVER, 400, STR("earlier"));
    assert_int_equal(health(&p, &one, 0).resting_until, 500);
    assert_true(str_eq(health(&p, &one, 0).reason, STR("421 slow down")));
    assert_int_equal(health(&p, &one, 500).resting_until, 0);
    for (int i = 0; i < 10; i++)
        assert_true(ip_eq(&pick(&p, ANY, "r", "192.0.2.1", 499).source->ip, &two));
    source_rest(p.state, &two, REST_RECEIVER, 300, STR("x"));
    struct pick none = pick(&p, ANY, "r", NULL, 299);
    assert_null(none.source);
    assert_int_equal(none.reason, PICK_RESTING);
    assert_int_equal(none.earliest, 300);
    assert_true(ip_eq(&pick(&p, ANY, "r", NULL, 300).source->ip, &two));
    assert_true(ip_eq(&pick(&p, ANY, "r", "192.0.2.1", 500).source->ip, &one));
    source_rest(p.state, &one, REST_RECEIVER, 9000, STR("y"));
    source_wake(p.state, &one, REST_RECEIVER);
    assert_true(pick(&p, ANY, "r", "192.0.2.1", 600).sticky);
    source_count(p.state, &one, 700, true);
    source_count(p.state, &one, 701, false);
    struct source_health h = health(&p, &one, 702);
    assert_int_equal(h.delivered, 1);
    assert_int_equal(h.failed, 1);
    assert_int_equal(h.picked, 2);
    assert_int_equal(h.last_used, 701);
    assert_int_equal(health(&p, &unknown, 0).picked, 0);
    source_wake(p.state, &unknown, REST_LISTED);

    struct configured next =
        configure("pool normal { addresses = {192.0.2.2, 192.0.2.3} }", (struct pool_options){0});
    source_rest(p.state, &two, REST_RECEIVER, 9000, STR("z"));
    pool_state_reload(p.state, next.pools);
    assert_int_equal(health(&p, &one, 0).picked, 0);
    assert_int_equal(health(&p, &two, 0).resting_until, 9000);
    configured_free(&next);
    picking_free(&p);
}

/* Each cause ends by itself; one that has ended frees nobody from another. */
static void test_causes(void **state) {
    (void)state;
    struct picking p = picking("pool normal { addresses = {192.0.2.1} }");
    struct ip one = ip_of("192.0.2.1");
    source_rest(p.state, &one, REST_LISTED, REST_UNTIL_WOKEN, STR("listed by A"));
    source_rest(p.state, &one, REST_UNCONFIRMED, 700, STR("no PTR"));
    source_rest(p.state, &one, REST_BIND, 300, STR(""));
    struct source_health h = health(&p, &one, 299);
    assert_int_equal(h.causes, 1u << REST_LISTED | 1u << REST_UNCONFIRMED | 1u << REST_BIND);
    assert_true(h.resting_until == REST_UNTIL_WOKEN);
    assert_string_equal(str_c(p.c.arena, h.reason), "bind; no PTR; listed by A");
    struct pick none = pick(&p, ANY, "r", NULL, 299);
    assert_true(none.reason == PICK_RESTING && none.earliest == REST_UNTIL_WOKEN);
    assert_string_equal(none.why, "192.0.2.1: bind; no PTR; listed by A");
    source_rest(p.state, &one, REST_LISTED, REST_UNTIL_WOKEN, STR("listed by B"));
    source_rest(p.state, &one, REST_LISTED, 800, STR("shorter"));
    assert_string_equal(str_c(p.c.arena, health(&p, &one, 300).reason), "no PTR; listed by B");
    source_wake(p.state, &one, REST_LISTED);
    assert_null(pick(&p, ANY, "r", NULL, 699).source);
    assert_true(health(&p, &one, 699).resting_until == 700);
    assert_non_null(pick(&p, ANY, "r", NULL, 700).source);
    source_rest(p.state, &one, REST_UNCONFIRMED, REST_UNTIL_WOKEN, STR("no PTR"));
    source_rest(p.state, &one, REST_LISTED, REST_UNTIL_WOKEN, STR("listed by A"));
    source_wake(p.state, &one, REST_UNCONFIRMED);
    assert_string_equal(str_c(p.c.arena, health(&p, &one, 701).reason), "listed by A");
    source_wake(p.state, &one, REST_LISTED);
    assert_int_equal(health(&p, &one, 702).resting_until, 0);
    picking_free(&p);
}

/* A listing rests addresses of normal and relay, unless the pool says otherwise. */
static void test_when_listed(void **state) {
    static const struct {
        const char *pool;
        bool rests;
    } cases[] = {
        {"pool p { carries = {normal} addresses = {192.0.2.1} }", true},
        {"pool p { carries = {relay} addresses = {192.0.2.1} }", true},
        {"pool p { carries = {high-risk} addresses = {192.0.2.1} }", false},
        {"pool p { carries = {high-risk-relay} addresses = {192.0.2.1} }", false},
        {"pool p { carries = {relay, high-risk-relay} addresses = {192.0.2.1} }", false},
        {"pool p { carries = {normal} when-listed = stay addresses = {192.0.2.1} }", false},
        {"pool p { carries = {high-risk} when-listed = rest addresses = {192.0.2.1} }", true},
        {"pool p { carries = {normal} }\n"
         "site s { pool p { when-listed = stay addresses = {192.0.2.1} } }",
         false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct picking p = picking(cases[i].pool);
        struct ip one = ip_of("192.0.2.1");
        p.pool = pool_find(p.c.pools, STR("p"));
        assert_int_equal(p.pool->source_count, 1);
        source_rest(p.state, &one, REST_LISTED, REST_UNTIL_WOKEN, STR("listed"));
        assert_int_equal(pick(&p, ANY, "r", "192.0.2.1", 10).source == NULL, cases[i].rests);
        assert_int_equal(pick(&p, ANY, "r", NULL, 10).source == NULL, cases[i].rests);
        assert_int_equal(health(&p, &one, 10).causes, cases[i].rests ? 1u << REST_LISTED : 0);
        source_rest(p.state, &one, REST_UNCONFIRMED, 100, STR("no PTR"));
        assert_null(pick(&p, ANY, "r", NULL, 10).source);
        picking_free(&p);
    }
}

/* Random rests and wakes: what is picked is healthy, fits and is of the pool; nothing only when all rest. */
static void test_property(void **state) {
    (void)state;
    struct picking p = picking(NETWORKS);
    uint32_t seed = 1;
    for (int64_t now = 0; now < 20000; now++) {
        seed = seed * 1664525 + 1013904223;
        const struct source *s = &p.pool->sources[(seed >> 8) % p.pool->source_count];
        if (seed >> 30 == 0)
            source_rest(p.state, &s->ip, (enum rest_cause)((seed >> 22) % REST_CAUSE_COUNT),
                        now + (seed >> 16) % 50, STR("r"));
        unsigned families = 1 + (seed >> 4) % 3;
        struct pick got =
            pool_pick(p.c.pools, p.pool, families, STR("r"), seed & 1 ? &s->ip : NULL, now, p.state);
        size_t healthy = 0;
        for (uint32_t i = 0; i < p.pool->source_count; i++) {
            const struct ip *ip = &p.pool->sources[i].ip;
            healthy +=
                (families & (ip_is_v4(ip) ? FAMILY_V4 : FAMILY_V6)) && !health(&p, ip, now).resting_until;
        }
        assert_int_equal(got.source != NULL, healthy > 0);
        if (!got.source) {
            assert_true(got.earliest > now);
            continue;
        }
        assert_true(&p.c.pools->pools[got.source->pool] == p.pool);
        assert_true(!health(&p, &got.source->ip, now).resting_until);
        assert_true(families & (ip_is_v4(&got.source->ip) ? FAMILY_V4 : FAMILY_V6));
        if (seed & 1 && !health(&p, &s->ip, now).resting_until &&
            (families & (ip_is_v4(&s->ip) ? FAMILY_V4 : FAMILY_V6)))
            assert_ptr_equal(got.source, s);
    }
    picking_free(&p);
}

/* More receivers than are remembered: memory stays bounded and picks go on. */
static void test_many_receivers(void **state) {
    (void)state;
    struct picking p = picking(NETWORKS);
    for (int i = 0; i < 140000; i++) {
        char receiver[32];
        snprintf(receiver, sizeof receiver, "r%d", i);
        assert_non_null(pick(&p, ANY, receiver, NULL, 0).source);
    }
    picking_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_is_kept),
        cmocka_unit_test(test_weight),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_family),
        cmocka_unit_test(test_sticky),
        cmocka_unit_test(test_sticky_stays_in_pool),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_causes),
        cmocka_unit_test(test_when_listed),
        cmocka_unit_test(test_property),
        cmocka_unit_test(test_many_receivers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
