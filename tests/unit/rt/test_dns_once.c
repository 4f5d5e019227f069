/* Each question once, all by one deadline; below it a resolver that answers when the test says so. */
#include "base/clock.h"
#include "rt/dns_once.h"
#include "rt_run.h"

enum { NEVER_MS = 60 * 1000 };

struct gate {
    struct resolver table; /* first */
    struct waiters waiters;
    bool open;
    unsigned asked, under_way, most, cancelled;
};

static void answer_at_the_gate(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                               struct arena *arena, struct dns_answer *ret) {
    struct gate *gate = (struct gate *)(void *)self;
    int error = 0;
    gate->asked++;
    gate->under_way++;
    if (gate->under_way > gate->most)
        gate->most = gate->under_way;
    while (!gate->open && !error)
        error = waiters_wait(&gate->waiters, deadline);
    gate->under_way--;
    gate->cancelled += error == SLUICE_ECANCELLED;
    *ret = (struct dns_answer){.status = DNS_NONE, .nxdomain = true, .ttl = 60};
    if (error || str_starts(name, STR("dead")))
        *ret = (struct dns_answer){.status = DNS_FAILED, .why = str_printf(arena, "dead %u", gate->asked)};
    else if (type == DNS_TXT) {
        *ret = (struct dns_answer){
            .status = DNS_RECORDS, .records = arena_new_of(arena, struct dns_record), .count = 1};
        ret->records[0].text = str_copy(arena, name);
    }
}

static void open_gate(struct gate *gate) {
    gate->open = true;
    waiters_wake_all(&gate->waiters);
}

static struct dns_once *once_over(struct gate *gate, int64_t ms, unsigned most,
                                  struct dns_once_counts *counts) {
    gate->table.lookup = answer_at_the_gate;
    return dns_once_new(&(struct dns_once_settings){.below = &gate->table,
                                                    .deadline = clock_mono_ms() + ms,
                                                    .most = most,
                                                    .late = STR("too late"),
                                                    .counts = counts});
}

/* Who asks in a fiber of its own. */
struct asker {
    struct resolver *resolver;
    const char *name;
    enum dns_type type;
    int64_t wait_ms;
    struct arena *arena;
    struct dns_answer answer;
    struct latch done;
};

static void ask(void *arg) {
    struct asker *a = arg;
    resolver_lookup(a->resolver, str_of(a->name), a->type, clock_mono_ms() + a->wait_ms, a->arena,
                    &a->answer);
    latch_set(&a->done);
}

static void start(struct asker *a, struct resolver *resolver, struct arena *arena, const char *name) {
    *a = (struct asker){
        .resolver = resolver, .name = name, .type = DNS_TXT, .wait_ms = NEVER_MS, .arena = arena};
    latch_init(&a->done);
    if (fiber_start(ask, a) != 0)
        rt_run_failed(__FILE__, __LINE__, "fiber_start");
}

static void each_is_asked_once(void *arg) {
    struct gate gate = {0};
    struct dns_once_counts counts = {0};
    struct dns_once *once = once_over(&gate, NEVER_MS, 100, &counts);
    struct arena *arena = arena_new(0);
    struct resolver *r = dns_once_resolver(once);
    struct asker same[4], dead;
    static const char *const spellings[] = {"one.example", "ONE.Example", "one.example.", "one.example"};
    (void)arg;
    for (size_t i = 0; i < 4; i++)
        start(&same[i], r, arena, spellings[i]);
    start(&dead, r, arena, "dead.example");
    fiber_yield();
    fiber_yield();
    CHECK(atomic_load(&counts.asked) == 2 && atomic_load(&counts.done) == 0);
    open_gate(&gate);
    for (size_t i = 0; i < 4; i++) {
        latch_wait(&same[i].done);
        CHECK(same[i].answer.status == DNS_RECORDS &&
              str_eq(same[i].answer.records[0].text, STR("one.example")));
    }
    latch_wait(&dead.done);
    CHECK(gate.asked == 2 && atomic_load(&counts.done) == 2);
    /* A failure is an answer like another: it is not asked again. */
    struct dns_answer again;
    resolver_lookup(r, STR("dead.example"), DNS_TXT, clock_mono_ms() + NEVER_MS, arena, &again);
    CHECK(again.status == DNS_FAILED && str_eq(again.why, dead.answer.why) && gate.asked == 2);
    resolver_lookup(r, STR("one.example"), DNS_MX, clock_mono_ms() + NEVER_MS, arena, &again);
    CHECK(again.status == DNS_NONE && again.nxdomain && gate.asked == 3);
    resolver_lookup(r, STR("bad..name"), DNS_MX, clock_mono_ms() + NEVER_MS, arena, &again);
    CHECK(gate.asked == 4 && atomic_load(&counts.asked) == 3); /* the one below has the words */
    struct dns_once_failure *failures;
    CHECK(dns_once_failures(once, arena, &failures) == 1 && str_eq(failures[0].name, STR("dead.example")) &&
          failures[0].type == DNS_TXT && str_starts(failures[0].why, STR("dead")));
    dns_once_free(once);
    arena_free(arena);
}

static void not_too_many_at_a_time(void *arg) {
    enum { COUNT_OF_NAMES = 20, MOST = 3 };
    struct gate gate = {0};
    struct dns_once *once = once_over(&gate, NEVER_MS, MOST, NULL);
    struct arena *arena = arena_new(0);
    struct asker askers[COUNT_OF_NAMES];
    (void)arg;
    for (size_t i = 0; i < COUNT_OF_NAMES; i++)
        start(&askers[i], dns_once_resolver(once), arena, str_printf(arena, "n%zu.example", i).at);
    for (size_t i = 0; i < 3; i++)
        fiber_yield();
    CHECK(gate.under_way == MOST);
    open_gate(&gate);
    for (size_t i = 0; i < COUNT_OF_NAMES; i++) {
        latch_wait(&askers[i].done);
        CHECK(askers[i].answer.status == DNS_RECORDS);
    }
    CHECK(gate.asked == COUNT_OF_NAMES && gate.most == MOST);
    dns_once_free(once);
    arena_free(arena);
}

static void who_gives_up_leaves_it_to_the_others(void *arg) {
    struct gate gate = {0};
    struct dns_once *once = once_over(&gate, NEVER_MS, 100, NULL);
    struct arena *arena = arena_new(0);
    struct asker patient;
    struct dns_answer hasty;
    (void)arg;
    resolver_lookup(dns_once_ahead(once), STR("one.example"), DNS_TXT, 0, arena, &hasty);
    CHECK(hasty.status == DNS_FAILED && str_eq(hasty.why, STR("no answer in time")));
    start(&patient, dns_once_resolver(once), arena, "one.example");
    fiber_yield();
    open_gate(&gate);
    latch_wait(&patient.done);
    CHECK(patient.answer.status == DNS_RECORDS && gate.asked == 1);
    /* That somebody asked ahead in vain is nobody's failure. */
    struct dns_once_failure *failures;
    CHECK(dns_once_failures(once, arena, &failures) == 0);
    dns_once_free(once);
    arena_free(arena);
}

static void the_deadline_ends_all(void *arg) {
    struct gate gate = {0};
    struct dns_once *once = once_over(&gate, 50, 1, NULL);
    struct arena *arena = arena_new(0);
    struct asker askers[2];
    struct dns_answer after;
    (void)arg;
    start(&askers[0], dns_once_resolver(once), arena, "one.example");
    start(&askers[1], dns_once_resolver(once), arena, "two.example"); /* waits for its turn */
    for (size_t i = 0; i < 2; i++) {
        latch_wait(&askers[i].done);
        CHECK(askers[i].answer.status == DNS_FAILED && str_eq(askers[i].answer.why, STR("too late")));
    }
    resolver_lookup(dns_once_resolver(once), STR("three.example"), DNS_TXT, INT64_MAX, arena, &after);
    CHECK(after.status == DNS_FAILED && str_eq(after.why, STR("too late")) && gate.asked == 1);
    struct dns_once_failure *failures;
    CHECK(dns_once_failures(once, arena, &failures) == 3);
    CHECK(str_eq(failures[0].name, STR("one.example")) && str_eq(failures[2].name, STR("three.example")) &&
          str_eq(failures[2].why, STR("too late")));
    dns_once_free(once); /* ends what is under way */
    CHECK(gate.under_way == 0 && gate.cancelled == 1 && gate.asked == 1);
    arena_free(arena);
}

static void the_deadline_moves(void *arg) {
    struct gate gate = {0};
    struct dns_once *once = once_over(&gate, 30, 100, NULL);
    struct arena *arena = arena_new(0);
    struct asker asker;
    struct dns_answer later;
    (void)arg;
    start(&asker, dns_once_resolver(once), arena, "one.example");
    dns_once_extend(once, NEVER_MS);
    fiber_sleep(60);
    CHECK(asker.answer.status == DNS_RECORDS && !asker.answer.count); /* still waiting */
    open_gate(&gate);
    latch_wait(&asker.done);
    CHECK(asker.answer.count == 1);
    dns_once_end(once);
    resolver_lookup(dns_once_resolver(once), STR("two.example"), DNS_TXT, INT64_MAX, arena, &later);
    CHECK(later.status == DNS_FAILED);
    resolver_lookup(dns_once_resolver(once), STR("one.example"), DNS_TXT, INT64_MAX, arena, &later);
    CHECK(later.status == DNS_RECORDS); /* what is known stays known */
    dns_once_free(once);
    arena_free(arena);
}

RT_RUN_TEST(each_is_asked_once)
RT_RUN_TEST(not_too_many_at_a_time)
RT_RUN_TEST(who_gives_up_leaves_it_to_the_others)
RT_RUN_TEST(the_deadline_ends_all)
RT_RUN_TEST(the_deadline_moves)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_each_is_asked_once),
        cmocka_unit_test(run_not_too_many_at_a_time),
        cmocka_unit_test(run_who_gives_up_leaves_it_to_the_others),
        cmocka_unit_test(run_the_deadline_ends_all),
        cmocka_unit_test(run_the_deadline_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
