#include "auth/align.h"
#include "auth/dkim_tags.h"
#include "auth/results.h"
#include "base/clock.h"
#include "rt_run.h"
#include "signed_mail.h"

#define MESSAGE                                                                                              \
    "From: Ann <ann@mail.example.net>\r\nTo: list@lists.test\r\nSubject: one\r\n\r\nHello,\r\nall.\r\n"

static struct keys keys; /* read only, once made */

static int group_setup(void **state) {
    (void)state;
    keys = keys_new();
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    keys_free(&keys);
    return 0;
}

/* Names with "silent" in them never answer, "slow" ones do after 50 ms. */
struct slow_resolver {
    struct resolver resolver;
    struct txt_resolver txt;
    unsigned open, most; /* questions at a time */
};

static void slow_lookup(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                        struct arena *arena, struct dns_answer *ret) {
    enum { SLOW_MS = 50 };
    struct slow_resolver *slow = (struct slow_resolver *)(void *)self;
    int64_t now = clock_mono_ms(), wait = 0;
    if (str_find(name, STR("silent")) >= 0)
        wait = deadline - now;
    else if (str_find(name, STR("slow")) >= 0)
        wait = SLOW_MS;
    slow->open++;
    slow->most = slow->open > slow->most ? slow->open : slow->most;
    int error = wait > 0 ? fiber_sleep(wait) : 0;
    slow->open--;
    if (error || wait > SLOW_MS)
        *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("no answer in time")};
    else
        txt_lookup(&slow->txt.resolver, name, type, deadline, arena, ret);
}

static void slow_new(struct slow_resolver *slow) {
    *slow = (struct slow_resolver){.resolver = {slow_lookup}};
    keys_publish(&keys, &slow->txt);
    txt_add(&slow->txt, "mail.example.net", "v=spf1 ip4:192.0.2.0/24 -all");
    txt_add(&slow->txt, "slow.test", "v=spf1 -all");
}

static struct arrival_result arrive(struct arena *arena, struct resolver *resolver, struct str message,
                                    const char *ip, const char *reverse_path, int64_t patience_ms) {
    struct header header;
    struct arrival_result result = {0};
    struct arrival_client client = {.helo = STR("mail.example.net"), .reverse_path = str_of(reverse_path)};
    if (ip && !ip_parse(str_of(ip), &client.ip))
        abort();
    if (header_parse(arena, message, 0, &header) != 0)
        abort();
    struct arrival *arrival = arrival_new(arena, &header, (int64_t)NOW * 1000);
    for (struct str body = str_from_index(message, header.body_at); body.len; body = str_from_index(body, 7))
        arrival_body(arrival, str_head(body, 7));
    arrival_end(arrival, &client, resolver, clock_mono_ms() + patience_ms, &result);
    arrival_free(arrival);
    return result;
}

static void test_results(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct slow_resolver dns;
    slow_new(&dns);
    struct str plain = STR(MESSAGE), both = sign_both(&keys, arena, plain),
               changed = replaced(arena, both, "all.", "you.");
#define BOTH "pass d=example.net s=r; pass d=example.net s=e"
#define CHANGED                                                                                              \
    "fail d=example.net s=r (the body hash does not match); fail d=example.net s=e (the body hash does "     \
    "not match)"
    const struct {
        struct str message;
        const char *ip, *reverse_path, *spf, *dkim;
        bool aligned, may_report;
    } cases[] = {
        {plain, "192.0.2.1", "ann@mail.example.net",
         "pass mail.example.net (192.0.2.1 is in ip4:192.0.2.0/24)", "none", false, true},
        {both, "198.51.100.1", "ann@mail.example.net", "fail mail.example.net (198.51.100.1 matches -all)",
         BOTH, true, true},
        {changed, "192.0.2.1", "", "pass mail.example.net (192.0.2.1 is in ip4:192.0.2.0/24)", CHANGED, false,
         true},
        {changed, "198.51.100.1", "ann@mail.example.net", "fail mail.example.net (198.51.100.1 matches -all)",
         CHANGED, false, false},
        {changed, "198.51.100.1", "ann@nothing.example.net",
         "none nothing.example.net "
         "(nothing.example.net: no SPF record)",
         CHANGED, false, false},
        {both, NULL, "ann@mail.example.net", "none (the client's address is not known)", BOTH, true, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arrival_result result =
            arrive(arena, &dns.resolver, cases[i].message, cases[i].ip, cases[i].reverse_path, 1000);
        struct str spf = results_spf_text(arena, &result), dkim = results_dkim_text(arena, &result);
        assert_true(result.checked);
        if (!str_eq(spf, str_of(cases[i].spf)) || !str_eq(dkim, str_of(cases[i].dkim)))
            fail_msg("%zu: %.*s\n%.*s", i, STR_FMT(spf), STR_FMT(dkim));
        assert_int_equal(arrival_aligned_dkim(&result, STR("mail.example.net")) != NULL, cases[i].aligned);
        assert_int_equal(!arrival_unverified(&result, str_of(cases[i].reverse_path), arena).at,
                         cases[i].may_report);
    }
    assert_null(arrival_free(NULL));
    arena_free(arena);
}

/* `message` under signatures that come to nothing, with keys at names of one kind each. */
static struct str burdened(struct arena *arena, struct str message, const char *kind, size_t count) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < count; i++)
        buf_printf(&out,
                   "DKIM-Signature: v=1; a=rsa-sha256; d=%s%zu.test; s=x; h=From;\r\n"
                   " bh=%043d=; b=AAAA\r\n",
                   kind, i, 0);
    buf_str(&out, message);
    return str_copy(arena, buf_view(&out));
}

/* A server that never answers holds up nothing else, and nothing longer than the deadline. */
static void starving(void *arg) {
    (void)arg;
    struct arena *arena = arena_new(0);
    struct slow_resolver dns;
    slow_new(&dns);
    struct str message = burdened(arena, sign_both(&keys, arena, STR(MESSAGE)), "silent", 5);
    int64_t before = clock_mono_ms();
    struct arrival_result result = arrive(arena, &dns.resolver, message, "192.0.2.1", "a@silent.test", 2000);
    int64_t took = clock_mono_ms() - before;
    CHECK(took >= 1900 && took < 15000);
    CHECK(result.spf.result == SPF_TEMPERROR);
    CHECK(result.dkim.count == 7);
    for (size_t i = 0; i < 5; i++)
        CHECK(result.dkim.items[i].result == DKIM_TEMPERROR);
    CHECK(result.dkim.items[5].result == DKIM_PASS && result.dkim.items[6].result == DKIM_PASS);
    CHECK(dns.most >= 6 && dns.open == 0);
    arena_free(arena);
}

/* Keys are asked for side by side, but not all at once. */
static void side_by_side(void *arg) {
    (void)arg;
    struct arena *arena = arena_new(0);
    struct slow_resolver dns;
    slow_new(&dns);
    struct str message = burdened(arena, STR(MESSAGE), "slow", 1000);
    int64_t before = clock_mono_ms();
    struct arrival_result result = arrive(arena, &dns.resolver, message, "192.0.2.1", "a@slow.test", 10000);
    int64_t took = clock_mono_ms() - before;
    CHECK(took < 9500);
    CHECK(result.spf.result == SPF_FAIL);
    CHECK(result.dkim.count == DKIM_VERIFY_MAX && result.dkim.ignored == 1000 - DKIM_VERIFY_MAX);
    for (size_t i = 0; i < result.dkim.count; i++)
        CHECK(result.dkim.items[i].result == DKIM_PERMERROR);
    CHECK(dns.most > 2 && dns.most <= 9);
    struct str text = results_dkim_text(arena, &result);
    CHECK(text.len <= RESULTS_TEXT_MAX && str_find(text, STR("more")) > 0);
    arena_free(arena);
}

/* The fiber is cancelled while all three wait: the end comes at once, with results. */
struct cancelled_case {
    struct fiber *fiber;
    struct arrival_result result;
    struct waiters waiters;
    struct arena *arena;
    struct slow_resolver dns;
    bool done;
};

static void arrive_cancelled(void *arg) {
    struct cancelled_case *c = arg;
    c->fiber = fiber_self();
    struct str message = burdened(c->arena, STR(MESSAGE), "silent", 12);
    c->result = arrive(c->arena, &c->dns.resolver, message, "192.0.2.1", "a@silent.test", 15000);
    c->done = true;
    waiters_wake_all(&c->waiters);
}

static void cancelled(void *arg) {
    (void)arg;
    struct cancelled_case c = {.arena = arena_new(0)};
    slow_new(&c.dns);
    int64_t before = clock_mono_ms();
    CHECK(fiber_start(arrive_cancelled, &c) == 0);
    while (!c.dns.open)
        CHECK(fiber_yield() == 0);
    fiber_cancel(c.fiber);
    while (!c.done)
        CHECK(waiters_wait(&c.waiters, before + 10000) == 0);
    CHECK(clock_mono_ms() - before < 5000);
    CHECK(c.result.spf.result == SPF_TEMPERROR && c.dns.open == 0);
    for (size_t i = 0; i < 12; i++)
        CHECK(c.result.dkim.items[i].result == DKIM_TEMPERROR);
    arena_free(c.arena);
}

/* Answers of 64 KB, and keys of 16,384 bits (or what looks like them), leave nothing behind in the arena. */
static void test_big_answers(void **state) {
    (void)state;
    enum { BIG = 65000, DER = 2048 + 9 };
    struct arena *arena = arena_new(0), *scratch = arena_new(0);
    struct slow_resolver dns;
    slow_new(&dns);
    char *big = arena_alloc(scratch, BIG + 1);
    memset(big, 'A', BIG);
    memcpy(big, "v=DKIM1; p=", 11);
    /* RSAPublicKey: a modulus of 16,384 bits, exponent 65537. */
    char *der = arena_alloc(scratch, DER + 10);
    memset(der, 0x55, DER + 10);
    memcpy(der, "\x30\x82\x08\x0a\x02\x82\x08\x01\x00\xff", 10);
    memcpy(der + 9 + 2048, "\x02\x03\x01\x00\x01", 5);
    struct str huge = dkim_base64_write(scratch, str_from(der, 9 + 2048 + 5));
    for (int i = 0; i < DKIM_VERIFY_MAX; i++) {
        struct str name = str_printf(scratch, "x._domainkey.big%d.test", i);
        txt_add(&dns.txt, str_c(scratch, name),
                i ? big : str_c(scratch, str_printf(scratch, "v=DKIM1; p=%.*s", STR_FMT(huge))));
    }
    struct str message = burdened(scratch, STR(MESSAGE), "big", DKIM_VERIFY_MAX);
    size_t before = arena_size(arena);
    struct arrival_result result = arrive(arena, &dns.resolver, message, NULL, "", 1000);
    assert_int_equal(result.dkim.items[0].result, DKIM_POLICY);
    assert_int_equal(result.dkim.items[0].key_bits, 16384);
    for (size_t i = 1; i < DKIM_VERIFY_MAX; i++)
        assert_int_equal(result.dkim.items[i].result, DKIM_PERMERROR);
    assert_true(arena_size(arena) - before < 64 * 1024);
    arena_free(scratch);
    arena_free(arena);
}

RT_RUN_TEST(starving)
RT_RUN_TEST(side_by_side)
RT_RUN_TEST(cancelled)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),     cmocka_unit_test(run_starving),
        cmocka_unit_test(run_side_by_side), cmocka_unit_test(run_cancelled),
        cmocka_unit_test(test_big_answers),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
