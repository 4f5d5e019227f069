#include "cmocka_setup.h"
#include "watch/domains.h"

enum { DEAD = 200, ROUNDS = 20 };

/* The name servers of all domains but one are gone. */
static void answer(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    (void)self, (void)type, (void)deadline, (void)arena;
    bool good = str_eq(name, STR("_sluice.good.test"));
    *ret =
        (struct dns_answer){.status = good ? DNS_NONE : DNS_FAILED, .nxdomain = good, .why = STR("SERVFAIL")};
}

/* A customer with many dead domains, written first, keeps nobody's from being asked for. */
static void test_the_dead_starve_nobody(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct settings *settings = arena_new_of(arena, struct settings);
    struct resolver resolver = {.lookup = answer};
    struct ownership *table = ownership_new();
    struct ownership_secret secret = {{1}};
    struct domains_one *list = arena_array(arena, struct domains_one, DEAD + 1);
    struct domains_one good = {STR("contoso"), STR("good.test")};
    settings->dns.timeout_ms = 20000;
    ownership_use(table, &secret);
    for (size_t i = 0; i < DEAD; i++)
        list[i] = (struct domains_one){STR("fabrikam"), str_printf(arena, "d%zu.dead.test", i)};
    list[DEAD] = good;
    size_t rounds = 0;
    while (rounds < ROUNDS && ownership_state_of(table, good.tenant, good.domain) == OWNERSHIP_UNKNOWN) {
        domains_shuffle(list, DEAD + 1, ++rounds);
        struct domains_round round = {.settings = settings, .table = table, .at = list, .count = DEAD + 1};
        domains_ask(&round, &resolver);
        assert_int_equal(round.done, DEAD + 1);
    }
    assert_in_range(rounds, 1, ROUNDS - 1);
    ownership_free(table);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_dead_starve_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
