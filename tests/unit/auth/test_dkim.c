#include <stdlib.h>

#include "auth/dkim_check.h"
#include "signed_mail.h"

#define MESSAGE                                                                                              \
    "From: Ann <ann@example.net>\r\nTo: bob@example.org\r\nSubject: one\r\nSubject: "                        \
    "two\r\n\r\nHello,\r\nBob.\r\n"

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

static void test_round_trip(void **state) {
    struct keys *keys = *state;
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {0};
    keys_publish(keys, &dns);
    struct str message = sign_both(keys, arena, STR(MESSAGE));
    struct dkim_verdicts v = verify(arena, &dns, message, NOW);
    assert_int_equal(v.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(v.items[i].result, DKIM_PASS);
        assert_true(str_eq(v.items[i].domain, STR("example.net")));
        assert_int_equal(v.items[i].b.len, 8);
        assert_int_equal(v.items[i].unsigned_bytes, 0);
    }
    assert_true(str_eq(v.items[0].identity, STR("@example.net")));
    assert_true(str_eq(v.items[1].identity, STR("@mail.example.net")));
    assert_int_equal(v.items[0].key_bits, 1024);
    assert_int_equal(v.items[1].key_bits, 256);
    assert_int_equal(dns.asked, 2);
    assert_true(str_find(message, STR("From:From:To:Subject:Subject;")) > 0);
    for (struct str rest = message, line; str_cut(&rest, '\n', &line);)
        assert_true(line.len <= 78);
    arena_free(arena);
}

/* What is done to a signed message, and what becomes of its RSA signature. */
static void test_changes(void **state) {
    static const struct {
        const char *from, *to;
        enum dkim_result result;
        const char *reason;
    } cases[] = {
        {"Bob.", "Eve.", DKIM_FAIL, "the body hash does not match"},
        {"Bob.", "Bob.  ", DKIM_PASS, ""},
        {"Bob.\r\n", "Bob.\r\n\r\n", DKIM_PASS, ""},
        {"Bob.\r\n", "Bob.\r\nMore\r\n", DKIM_FAIL, "the body hash does not match"},
        {"Subject: one", "SUBJECT:\r\n one  ", DKIM_PASS, ""},
        {"Subject: one\r\nSubject: two", "Subject: two\r\nSubject: one", DKIM_FAIL,
         "does not fit the header"},
        {"Subject: one", "Subject: eno", DKIM_FAIL, "does not fit the header"},
        {"To: bob@example.org\r\n", "", DKIM_FAIL, "does not fit the header"},
        {"Subject: one", "X-New: 1\r\nSubject: one", DKIM_PASS, ""},
        {"From: Ann", "From: eve@example.com\r\nFrom: Ann", DKIM_PERMERROR, "more than one From"},
        {"From: Ann <ann@example.net>\r\n", "", DKIM_PERMERROR, "no From"},
        {"v=1;", "v=2;", DKIM_PERMERROR, "v="},
        {"a=rsa-sha256", "a=rsa-sha1", DKIM_PERMERROR, "8301"},
        {"a=rsa-sha256", "a=ed25519-sha256", DKIM_PERMERROR, "another type"},
        {"c=relaxed/relaxed", "c=relaxed", DKIM_FAIL, ""},
        {"c=relaxed/relaxed", "c=none/simple", DKIM_PERMERROR, "c="},
        {"s=r;", "s=q;", DKIM_PERMERROR, "no key at q._domainkey.example.net"},
        {"s=r;", "s=r; i=@example.com;", DKIM_PERMERROR, "i= is not in"},
        {"s=r;", "s=r; i=@notexample.net;", DKIM_PERMERROR, "i= is not in"},
        {"s=r;", "s=r; q=dns/other;", DKIM_PERMERROR, "q="},
        {"s=r;", "s=r; l=9999;", DKIM_PERMERROR, "l="},
        {"s=r;", "s=r; l=-1;", DKIM_PERMERROR, "l="},
        {"s=r;", "s=r; s=r;", DKIM_PERMERROR, "malformed"},
        {"s=r;", "s=r; z=From:x|To:y; unknown=1;", DKIM_FAIL, "does not fit the header"},
        {"d=example.net", "d=", DKIM_PERMERROR, "d="},
        {"h=From:From:", "h=", DKIM_PERMERROR, "From"},
        {"h=From:From:", "h=From::", DKIM_PERMERROR, "empty name"},
        {"t=1700000000", "t=1700009999", DKIM_PERMERROR, "x= is not after t="},
        {"t=1700000000;", "t=1700009999; y=1; ", DKIM_PERMERROR, "x= is not after t="},
        {"x=1700001000", "x=18446744073709551615", DKIM_FAIL, "does not fit the header"},
        {"x=1700001000", "x=never", DKIM_PERMERROR, "x="},
        {"bh=", "bh=AAAA", DKIM_PERMERROR, "bh="},
    };
    struct keys *keys = *state;
    struct txt_resolver dns = {0};
    keys_publish(keys, &dns);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str message = sign_both(keys, arena, STR(MESSAGE));
        struct dkim_verdicts v =
            verify(arena, &dns, replaced(arena, message, cases[i].from, cases[i].to), NOW);
        if (v.items[0].result != cases[i].result || str_find(v.items[0].reason, str_of(cases[i].reason)) < 0)
            fail_msg("%s -> %s: %s, %.*s", cases[i].from, cases[i].to, dkim_result_name(v.items[0].result),
                     STR_FMT(v.items[0].reason));
        arena_free(arena);
    }
}

static void test_clock(void **state) {
    static const struct {
        int64_t now;
        enum dkim_result result;
    } cases[] = {
        {NOW, DKIM_PASS},
        {NOW - DKIM_SKEW_S, DKIM_PASS},
        {NOW - DKIM_SKEW_S - 1, DKIM_FAIL},
        {NOW + 1000 + DKIM_SKEW_S, DKIM_PASS},
        {NOW + 1001 + DKIM_SKEW_S, DKIM_FAIL},
        {-1, DKIM_FAIL},
    };
    struct keys *keys = *state;
    struct txt_resolver dns = {0};
    keys_publish(keys, &dns);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str message = sign_both(keys, arena, STR(MESSAGE));
        assert_int_equal(verify(arena, &dns, message, cases[i].now).items[1].result, cases[i].result);
        arena_free(arena);
    }
}

/* The same signature under other records; `%s` is the key. */
static void test_records(void **state) {
    static const struct {
        const char *format;
        enum dkim_result result;
    } cases[] = {
        {"%s", DKIM_PASS},
        {"%s; t=y", DKIM_PASS},
        {"%s; t=s", DKIM_PASS},
        {"%s; h=sha1:sha256", DKIM_PASS},
        {"%s; h=sha1", DKIM_PERMERROR},
        {"%s; s=email", DKIM_PASS},
        {"%s; s=*", DKIM_PASS},
        {"%s; s=tlsrpt", DKIM_PERMERROR},
        {"%s; n=a note; g=*", DKIM_PASS},
        {"v=DKIM1; p=", DKIM_PERMERROR},
        {"v=DKIM1; k=rsa", DKIM_PERMERROR},
        {"v=spf1 -all", DKIM_PERMERROR},
        {"", DKIM_PERMERROR},
        {NULL, DKIM_TEMPERROR},
    };
    struct keys *keys = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct txt_resolver dns = {0};
        ptrdiff_t at = cases[i].format ? str_find(str_of(cases[i].format), STR("%s")) : -1;
        struct str tail = str_from_index(str_of(cases[i].format), at < 0 ? 0 : 2);
        struct str text = str_printf(arena, "%s%.*s", at < 0 ? "" : keys->rsa_record, STR_FMT(tail));
        txt_add(&dns, "r._domainkey.example.net", cases[i].format ? str_c(arena, text) : NULL);
        struct dkim_verdicts v = verify(arena, &dns, sign_both(keys, arena, STR(MESSAGE)), NOW);
        if (v.items[0].result != cases[i].result)
            fail_msg("%s: %.*s", cases[i].format ? cases[i].format : "(fails)", STR_FMT(v.items[0].reason));
        assert_int_equal(v.items[0].testing, cases[i].format && strstr(cases[i].format, "t=y"));
        assert_int_equal(v.items[1].result, DKIM_PERMERROR);
        arena_free(arena);
    }
}

/* A record with an RSA key (RSAPublicKey, as RFC 6376 says) of a made-up modulus. */
static struct str rsa_record(struct arena *arena, unsigned bits, size_t exponent_len) {
    size_t n = bits / 8, inner = 4 + n + 1 + 4 + exponent_len, at = 0;
    char *der = arena_alloc(arena, inner + 4);
    const size_t lengths[] = {inner, n + 1, exponent_len};
    for (size_t i = 0; i < 3; i++) {
        der[at++] = i ? 2 : 0x30;
        der[at++] = (char)0x82;
        der[at++] = (char)(lengths[i] >> 8);
        der[at++] = (char)lengths[i];
        if (i == 1) {
            der[at++] = 0;
            memset(der + at, 0xff, n);
            at += n;
        } else if (i == 2) {
            memset(der + at, 0x7f, exponent_len);
            at += exponent_len;
        }
    }
    return str_printf(arena, "p=%.*s", STR_FMT(dkim_base64_write(arena, str_from(der, at))));
}

/* Keys whose length, or the work that they make, is out of bounds are never used. */
static void test_lengths(void **state) {
    static const struct {
        unsigned bits;
        size_t exponent;
        enum dkim_result result;
    } cases[] = {
        {512, 3, DKIM_POLICY},  {1016, 3, DKIM_POLICY},  {1024, 3, DKIM_FAIL},        {4096, 3, DKIM_FAIL},
        {4104, 3, DKIM_POLICY}, {16384, 3, DKIM_POLICY}, {2048, 129, DKIM_PERMERROR}, {1024, 8, DKIM_FAIL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct txt_resolver dns = {0};
        struct str record = rsa_record(arena, cases[i].bits, cases[i].exponent);
        txt_add(&dns, "r._domainkey.example.net", str_c(arena, record));
        struct dkim_verdicts v = verify(arena, &dns, sign_both(*state, arena, STR(MESSAGE)), NOW);
        if (v.items[0].result != cases[i].result)
            fail_msg("%u bits: %s, %.*s", cases[i].bits, dkim_result_name(v.items[0].result),
                     STR_FMT(v.items[0].reason));
        assert_int_equal(v.items[0].key_bits, cases[i].result == DKIM_PERMERROR ? 0 : cases[i].bits);
        arena_free(arena);
    }
}

/* A subdomain in i= under a key with t=s; several texts at one name. */
static void test_strict_and_several(void **state) {
    struct keys *keys = *state;
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {0};
    txt_add(&dns, "r._domainkey.example.net", "v=spf1 -all");
    txt_add(&dns, "r._domainkey.example.net", keys->rsa_record);
    txt_add(&dns, "e._domainkey.example.net",
            str_c(arena, str_printf(arena, "%s; t=y:s", keys->ed25519_record)));
    struct dkim_verdicts v = verify(arena, &dns, sign_both(keys, arena, STR(MESSAGE)), NOW);
    assert_int_equal(v.items[0].result, DKIM_PASS);
    assert_int_equal(v.items[1].result, DKIM_PERMERROR);
    assert_true(v.items[1].testing);
    arena_free(arena);
}

/* A message of a thousand signatures: the first are judged, each name is asked for once. */
static void test_many(void **state) {
    struct keys *keys = *state;
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {0};
    struct buf all __attribute__((cleanup(buf_free))) = {0};
    keys_publish(keys, &dns);
    struct str message = sign_both(keys, arena, STR(MESSAGE));
    struct str signatures = str_head(message, message.len - strlen(MESSAGE));
    for (size_t i = 0; i < 500; i++)
        buf_str(&all, signatures);
    buf_str(&all, STR(MESSAGE));
    struct dkim_verdicts v = verify(arena, &dns, buf_view(&all), NOW);
    assert_int_equal(v.count, DKIM_VERIFY_MAX);
    assert_int_equal(v.ignored, 1000 - DKIM_VERIFY_MAX);
    for (size_t i = 0; i < v.count; i++)
        assert_int_equal(v.items[i].result, DKIM_PASS);
    assert_int_equal(dns.asked, 2);
    arena_free(arena);
}

static void test_none(void **state) {
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {.resolver = {txt_lookup}};
    struct header header;
    (void)state;
    body_of(arena, STR(MESSAGE), &header);
    struct dkim_verify *v = dkim_verify_new(arena, &header, NOW);
    assert_false(dkim_verify_wants_body(v));
    assert_int_equal(dkim_verify_end(v, &dns.resolver, 0).count, 0);
    assert_int_equal(dns.asked, 0);
    dkim_verify_free(v);
    assert_null(dkim_verify_free(NULL));
    assert_null(dkim_sign_free(NULL));
    arena_free(arena);
}

static void test_sign_list(void **state) {
    static const char *const names[] = {"To", "Subject", NULL};
    static const struct {
        const char *message;
        const char *const *names;
        const char *list;
    } cases[] = {
        {"From: a\r\n\r\n", dkim_sign_headers, "From:From"},
        {"X: a\r\n\r\n", dkim_sign_headers, "From"},
        {"to: b\r\nTo: c\r\nfrom: a\r\n\r\n", dkim_sign_headers, "From:From:To:To"},
        {"To: b\r\nFrom: a\r\nDate: c\r\n\r\n", names, "From:From:To"},
        {"Received: x\r\nReturn-Path: y\r\nDKIM-Signature: z\r\n\r\n", dkim_sign_headers, "From"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf list __attribute__((cleanup(buf_free))) = {0};
        struct header header;
        body_of(arena, str_of(cases[i].message), &header);
        dkim_sign_list(&header, cases[i].names, &list);
        assert_string_equal(buf_c(&list), cases[i].list);
        arena_free(arena);
    }
}

/* `message` under a signature of its own with l=. */
static struct str sign_length(const struct keys *keys, struct arena *arena, struct str message,
                              enum canon mode, unsigned length) {
    struct header header, own;
    struct buf field __attribute__((cleanup(buf_free))) = {0}, text __attribute__((cleanup(buf_free))) = {0};
    uint8_t digest[DKIM_DIGEST_SIZE], signature[DKIM_SIGNATURE_SIZE];
    size_t len;
    struct dkim_body_hash hash;
    dkim_body_hash_start(&hash, mode);
    dkim_body_hash_cut(&hash, length);
    dkim_body_hash_feed(&hash, body_of(arena, message, &header));
    dkim_body_hash_end(&hash);
    const uint8_t *cut = dkim_body_hash_at(&hash, length);
    dkim_body_hash_free(&hash);
    buf_printf(&field,
               "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/%s; d=example.net; s=r; h=from; l=%u; bh=%s; b=",
               mode == CANON_RELAXED ? "relaxed" : "simple", length,
               str_c(arena, dkim_base64_write(arena, str_from(cut ? cut : digest, DKIM_DIGEST_SIZE))));
    canon_field(&text, CANON_RELAXED, header_find(&header, STR("From"), NULL));
    struct str bare = str_printf(arena, "%.*s\r\n", STR_FMT(buf_view(&field)));
    assert_int_equal(header_parse(arena, bare, 0, &own), 0);
    canon_signature_field(&text, CANON_RELAXED, &own.fields[0],
                          str_from_index(own.fields[0].value, own.fields[0].value.len));
    dkim_sha256(buf_view(&text), digest);
    assert_int_equal(dkim_key_sign(keys->rsa, digest, signature, &len), 0);
    return str_printf(arena, "%.*s%.*s\r\n%.*s", STR_FMT(buf_view(&field)),
                      STR_FMT(dkim_base64_write(arena, str_from(signature, len))), STR_FMT(message));
}

/* Signatures of several lengths over one body: each sees its part of it, and says what it did not see. */
static void test_partial_bodies(void **state) {
    const struct keys *keys = *state;
    struct arena *arena = arena_new(0);
    struct txt_resolver dns = {0};
    static const struct {
        enum canon mode;
        unsigned length;
        enum dkim_result signed_result, changed_result;
        uint64_t unsigned_bytes;
    } cases[] = {
        {CANON_SIMPLE, 0, DKIM_PASS, DKIM_PASS, 15},      {CANON_RELAXED, 0, DKIM_PASS, DKIM_PASS, 14},
        {CANON_SIMPLE, 5, DKIM_PASS, DKIM_PASS, 10},      {CANON_SIMPLE, 15, DKIM_PASS, DKIM_FAIL, 0},
        {CANON_RELAXED, 14, DKIM_PASS, DKIM_FAIL, 0},     {CANON_RELAXED, 7, DKIM_PASS, DKIM_PASS, 7},
        {CANON_SIMPLE, 16, DKIM_PERMERROR, DKIM_FAIL, 0}, /* one octet more than there is */
    };
    struct str message = STR("From: a@example.net\r\n\r\nHello,\r\nall. \r\n");
    keys_publish(keys, &dns);
    for (size_t i = COUNT(cases); i-- > 0;)
        message = sign_length(keys, arena, message, cases[i].mode, cases[i].length);
    struct dkim_verdicts verdicts = verify(arena, &dns, message, NOW),
                         changed =
                             verify(arena, &dns, replaced(arena, message, "all. ", "you. And more."), NOW);
    assert_int_equal(verdicts.count, COUNT(cases));
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct dkim_verdict *v = &verdicts.items[i];
        if (v->result != cases[i].signed_result || v->unsigned_bytes != cases[i].unsigned_bytes ||
            changed.items[i].result != cases[i].changed_result)
            fail_msg("%zu: %s, %llu; %s", i, dkim_result_name(v->result),
                     (unsigned long long)v->unsigned_bytes, dkim_result_name(changed.items[i].result));
    }
    arena_free(arena);
}

/* RFC 8616 section 5: U-labels in a signature; the key is at the A-labels. */
static void test_international(void **state) {
    static const struct {
        const char *domain, *selector, *identity;
        enum dkim_result result;
    } cases[] = {
        {"xn--bcher-kva.example", "r", "", DKIM_PASS},
        {"b\xc3\xbc"
         "cher.example",
         "r", "", DKIM_PASS},
        {"B\xc3\x9c"
         "CHER.example",
         "R",
         "j\xc3\xb6rg@b\xc3\xbc"
         "cher.example",
         DKIM_PASS},
        {"b\xc3\xbc"
         "cher.example",
         "\xc3\xa4",
         "@sub.b\xc3\xbc"
         "cher.example",
         DKIM_PASS},
        {"b\xc3\xbc"
         "cher.example",
         "r", "@XN--bcher-kva.example", DKIM_PASS},
        {"b\xc3\xbc"
         "cher.example",
         "r",
         "@b\xc3\xb6"
         "cher.example",
         DKIM_PERMERROR},
        {"b\xc3"
         "cher.example",
         "r", "", DKIM_PERMERROR},
    };
    const struct keys *keys = *state;
    struct txt_resolver dns = {0};
    txt_add(&dns, "r._domainkey.xn--bcher-kva.example", keys->rsa_record);
    txt_add(&dns, "xn--4ca._domainkey.xn--bcher-kva.example", keys->rsa_record);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        struct header header;
        uint8_t digest[DKIM_DIGEST_SIZE];
        hash_body(body_of(arena, STR(MESSAGE), &header), digest);
        struct dkim_signer signer = {keys->rsa, str_of(cases[i].domain), str_of(cases[i].selector), STR_NULL};
        struct dkim_sign_settings settings = {.signers = &signer, .signer_count = 1, .now_s = NOW};
        signer.identity = str_of(cases[i].identity);
        struct dkim_sign *sign = dkim_sign_new(&header, digest, &settings);
        assert_int_equal(dkim_sign_run(sign), 0);
        dkim_sign_write(sign, &out);
        dkim_sign_free(sign);
        buf_str(&out, STR(MESSAGE));
        struct dkim_verdicts v = verify(arena, &dns, buf_view(&out), NOW);
        assert_int_equal(v.count, 1);
        if (v.items[0].result != cases[i].result)
            fail_msg("%zu: %s, %.*s", i, dkim_result_name(v.items[0].result), STR_FMT(v.items[0].reason));
        if (v.items[0].result == DKIM_PASS)
            assert_true(str_eq(v.items[0].domain, STR("xn--bcher-kva.example")) &&
                        (!*cases[i].identity || str_eq(v.items[0].identity, signer.identity)));
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_changes),
        cmocka_unit_test(test_clock),          cmocka_unit_test(test_records),
        cmocka_unit_test(test_many),           cmocka_unit_test(test_strict_and_several),
        cmocka_unit_test(test_none),           cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_sign_list),      cmocka_unit_test(test_international),
        cmocka_unit_test(test_partial_bodies),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
