#include <stdlib.h>

#include "signed_mail.h"

#define MESSAGE                                                                                              \
    "Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=a@example.com\r\n"                       \
    "From: Ann <ann@example.com>\r\nTo: list@example.net\r\nSubject: one\r\n\r\nHello,\r\nall.\r\n"

static int group_setup(void **state) {
    struct keys *keys = malloc(sizeof *keys);
    *keys = keys_new();
    *state = keys;
    return 0;
}

static int group_teardown(void **state) {
    keys_free(*state);
    free(*state);
    return 0;
}

/* `message` with one more seal in front, or the NULL view; it is what became of `came`. Odd seals are of RSA,
 * even ones of Ed25519. */
static struct str resealed(const struct keys *keys, struct arena *arena, struct txt_resolver *dns,
                           struct str came, struct str message) {
    struct header header;
    struct buf out = {0};
    struct str body = body_of(arena, message, &header);
    struct arc_verdict verdict = judge(arena, dns, came);
    bool rsa = verdict.instances % 2 == 0;
    struct arc_seal_settings settings = {
        .signer = {rsa ? keys->rsa : keys->ed25519, STR("example.net"), rsa ? STR("r") : STR("e")},
        .results = arc_results_of(arena, &header, STR("mx.example.net")),
        .now_s = NOW};
    uint8_t digest[DKIM_DIGEST_SIZE];
    hash_body(body, digest);
    struct arc_seal *seal = arc_seal_new(&header, digest, &verdict, &settings);
    if (!seal)
        return STR_NULL;
    assert_int_equal(arc_seal_run(seal), 0);
    arc_seal_write(seal, &out);
    buf_str(&out, message);
    arc_seal_free(seal);
    struct str whole = str_copy(arena, buf_view(&out));
    buf_free(&out);
    return whole;
}

static struct str sealed(const struct keys *keys, struct arena *arena, struct txt_resolver *dns,
                         struct str message) {
    return resealed(keys, arena, dns, message, message);
}

/* 50 seals, each one passes; a 51st can't be. */
static void test_long_chain(void **state) {
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {0};
    struct str message = STR(MESSAGE);
    keys_publish(*state, &dns);
    assert_int_equal(judge(arena, &dns, message).result, ARC_NONE);
    for (unsigned i = 1; i <= ARC_INSTANCES_MAX; i++) {
        message = sealed(*state, arena, &dns, message);
        assert_non_null(message.at);
        struct arc_verdict verdict = judge(arena, &dns, message);
        if (verdict.result != ARC_PASS)
            fail_msg("%u: %.*s", i, STR_FMT(verdict.reason));
        assert_int_equal(verdict.instances, i);
        assert_true(str_eq(verdict.domain, STR("example.net")));
        assert_true(str_eq(verdict.results, STR("mx.example.net; spf=pass smtp.mailfrom=a@example.com")));
    }
    assert_null(sealed(*state, arena, &dns, message).at);
    for (struct str rest = message, line; str_cut(&rest, '\n', &line);)
        assert_true(line.len <= 998);
    arena_free(arena);
}

/* What is done to a message of two seals, and the reason that is given; "" is pass. */
static void test_changes(void **state) {
    static const struct {
        const char *from, *to, *reason;
    } cases[] = {
        {"all.", "all.  ", ""},
        {"Subject: one", "X-New: 1\r\nSubject: one", ""},
        {"all.", "some.", "i=2: the body"},
        {"Subject: one", "Subject: two", "i=2: the message signature"},
        {"cv=pass", "cv=none", "i=2: cv="},
        {"cv=none", "cv=pass", "i=1: cv="},
        {"cv=none", "cv=fail", "i=1: the seal says"},
        {"cv=pass", "cv=fail", "i=2: the seal says"},
        {"cv=pass", "cv=maybe", "i=2: cv="},
        {"cv=pass;", "cv=pass; h=from;", "i=2: a seal has no h="},
        {"cv=none;", "cv=none; n=x;", "i=2: the seal does not fit"},
        {"i=1; mx.example.net; spf=pass", "i=1; mx.example.net; spf=fail", "i=2: the seal does not fit"},
        {"i=1; mx.example.net", "i=3; mx.example.net", "not complete"},
        {"i=1; mx.example.net", "i=2; mx.example.net", "twice"},
        {"i=1; mx.example.net", "i=51; mx.example.net", "has no instance"},
        {"i=1; mx.example.net", "i=0; mx.example.net", "has no instance"},
        {"i=1; mx.example.net", "mx.example.net; i=1", "has no instance"},
        {"ARC-Seal:", "X-Seal:", "not complete"},
        {"ARC-Seal: a=ed25519-sha256", "ARC-Seal: a=rsa-sha1", "8301"},
        {"ARC-Seal: a=ed25519-sha256", "ARC-Seal: a=rsa-sha256", "another type"},
        {"ARC-Seal: a=ed25519-sha256;", "ARC-Seal: a=ed25519-sha256;;", "malformed"},
    };
    struct txt_resolver dns = {0};
    keys_publish(*state, &dns);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str message = sealed(*state, arena, &dns, sealed(*state, arena, &dns, STR(MESSAGE)));
        struct arc_verdict verdict = judge(arena, &dns, replaced(arena, message, cases[i].from, cases[i].to));
        if ((verdict.result == ARC_PASS) != !*cases[i].reason || verdict.result == ARC_NONE ||
            str_find(verdict.reason, str_of(cases[i].reason)) < 0)
            fail_msg("%s -> %s: %.*s", cases[i].from, cases[i].to, STR_FMT(verdict.reason));
        arena_free(arena);
    }
}

/* Since which instance is a message as it is (RFC 8617 5.2 step 5)? */
static void test_oldest_pass(void **state) {
    static const struct {
        const char *from[3], *to[3]; /* what each of three hops changes before it seals */
        unsigned oldest;
    } cases[] = {
        {.oldest = 0},
        {{"all."}, {"some."}, 0},
        {{NULL, "all."}, {NULL, "some."}, 2},
        {{NULL, NULL, "all."}, {NULL, NULL, "some."}, 3},
        {{NULL, "Subject: one", "all."}, {NULL, "Subject: two", "some."}, 3},
        {{NULL, "Subject: one"}, {NULL, "Subject: two"}, 2},
        {{NULL, "all.", "some."}, {NULL, "some.", "all."}, 3},
    };
    struct txt_resolver dns = {0};
    keys_publish(*state, &dns);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str message = STR(MESSAGE);
        for (size_t hop = 0; hop < 3; hop++) {
            const char *from = cases[i].from[hop];
            struct str changed = from ? replaced(arena, message, from, cases[i].to[hop]) : message;
            message = resealed(*state, arena, &dns, message, changed);
        }
        struct arc_verdict verdict = judge(arena, &dns, message);
        if (verdict.result != ARC_PASS || verdict.oldest_pass != cases[i].oldest)
            fail_msg("%zu: %u %.*s", i, verdict.oldest_pass, STR_FMT(verdict.reason));
        arena_free(arena);
    }
}

/* A chain that has failed gets one seal that says so, and none on top of it. */
static void test_failed_chain(void **state) {
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {0};
    keys_publish(*state, &dns);
    struct str message = sealed(*state, arena, &dns, STR(MESSAGE));
    message = sealed(*state, arena, &dns, replaced(arena, message, "all.", "some."));
    assert_true(str_find(message, STR("cv=fail")) > 0);
    struct arc_verdict verdict = judge(arena, &dns, message);
    assert_int_equal(verdict.result, ARC_FAIL);
    assert_int_equal(verdict.instances, 2);
    assert_true(verdict.ended);
    assert_null(sealed(*state, arena, &dns, message).at);
    arena_free(arena);
}

static void test_temporary(void **state) {
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {0}, failing = {0}, empty = {.resolver = {txt_lookup}};
    keys_publish(*state, &dns);
    txt_add(&failing, "r._domainkey.example.net", NULL);
    struct str message = sealed(*state, arena, &dns, STR(MESSAGE));
    struct arc_verdict verdict = judge(arena, &failing, message);
    assert_int_equal(verdict.result, ARC_FAIL);
    assert_true(verdict.temporary);
    verdict = judge(arena, &empty, message);
    assert_int_equal(verdict.result, ARC_FAIL);
    assert_false(verdict.temporary);
    assert_null(arc_verify_free(NULL));
    assert_null(arc_seal_free(NULL));
    arena_free(arena);
}

static void test_results(void **state) {
    static const struct {
        const char *header, *results;
    } cases[] = {
        {"From: a\r\n\r\n", ""},
        {"Authentication-Results: mx; spf=pass\r\n\r\n", "mx; spf=pass"},
        {"Authentication-Results: MX 1; spf=pass;\r\n dkim=none;\r\n\r\n", "mx; spf=pass; dkim=none"},
        {"Authentication-Results: mx; spf=pass\r\nAuthentication-Results: other; dkim=fail\r\n"
         "Authentication-Results: mx; dkim=pass\r\n\r\n",
         "mx; spf=pass; dkim=pass"},
        {"Authentication-Results: mxx; spf=pass\r\n\r\n", ""},
        {"Authentication-Results: mx\r\n\r\n", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct header header;
        body_of(arena, str_of(cases[i].header), &header);
        struct str results = arc_results_of(arena, &header, STR("mx"));
        assert_string_equal(str_c(arena, results), cases[i].results);
        arena_free(arena);
    }
}

/* Three thousand fields of a chain, numbered in several ways: a verdict at little cost, nobody is asked. */
static void test_too_many(void **state) {
    static const struct {
        unsigned first, step, highest; /* the instances: first, first + step ... */
    } cases[] = {{1, 1, 1000}, {1, 0, 1}, {50, 0, 50}, {951, 1, 1950}, {1, 1, 51}};
    enum { SETS = 1000 };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct txt_resolver dns = {.resolver = {txt_lookup}};
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        unsigned instance = cases[i].first;
        for (unsigned n = 0; n < SETS && instance <= cases[i].highest; n++, instance += cases[i].step)
            buf_printf(&out,
                       "ARC-Seal: i=%u; a=rsa-sha256; cv=pass; d=d%u.example; s=s; b=AAAA\r\n"
                       "ARC-Message-Signature: i=%u; a=rsa-sha256; d=d%u.example; s=s; h=from; bh=AAAA; "
                       "b=AAAA\r\nARC-Authentication-Results: i=%u; mx; spf=pass\r\n",
                       instance, n, instance, n, instance);
        buf_str(&out, STR(MESSAGE));
        struct arc_verdict verdict = judge(arena, &dns, buf_view(&out));
        assert_int_equal(verdict.result, ARC_FAIL);
        assert_true(verdict.instances <= ARC_INSTANCES_MAX && verdict.reason.len > 0);
        assert_int_equal(dns.asked, 0);
        if (arena_size(arena) >= 8 * out.len)
            fail_msg("%zu bytes for a message of %zu", arena_size(arena), out.len);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_chain),  cmocka_unit_test(test_changes),
        cmocka_unit_test(test_oldest_pass), cmocka_unit_test(test_failed_chain),
        cmocka_unit_test(test_temporary),   cmocka_unit_test(test_results),
        cmocka_unit_test(test_too_many),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
