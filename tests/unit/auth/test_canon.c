#include "auth/body_hash.h"
#include "auth/dkim_check.h"
#include "cmocka_setup.h"
#include <stdlib.h>

static void add(void *to, struct str bytes) { buf_str(to, bytes); }

static void test_bodies(void **state) {
    static const struct {
        const char *in, *simple, *relaxed;
    } cases[] = {
        {"", "\r\n", ""},
        {"\r\n\r\n", "\r\n", ""},
        {"a", "a\r\n", "a\r\n"},
        {"a\r\n\r\n\r\n", "a\r\n", "a\r\n"},
        {"\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
        {"a \t b \t\r\n", "a \t b \t\r\n", "a b\r\n"},
        {" a\r\n", " a\r\n", " a\r\n"},
        {"a b c  d\te \n f", "a b c  d\te \n f\r\n", "a b c d e \n f\r\n"},
        {"a\r\n \t\r\n", "a\r\n \t\r\n", "a\r\n"},
        {"a\r\n \t\r\nb", "a\r\n \t\r\nb\r\n", "a\r\n\r\nb\r\n"},
        {"  ", "  \r\n", ""},
        {"a  ", "a  \r\n", "a\r\n"},
        {"a\rb\nc\r\n", "a\rb\nc\r\n", "a\rb\nc\r\n"},
        {"a\r\r\n", "a\r\r\n", "a\r\r\n"},
        {"a\r", "a\r\r\n", "a\r\r\n"},
        {"\r", "\r\r\n", "\r\r\n"},
        {"a \r b", "a \r b\r\n", "a \r b\r\n"},
        {"a\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nb\r\n",
         "a\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nb\r\n",
         "a\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nb\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(cases); i++) {
        struct str in = str_of(cases[i / 2].in);
        enum canon mode = i % 2 ? CANON_RELAXED : CANON_SIMPLE;
        for (size_t cut = 0; cut <= in.len; cut++) {
            struct buf out __attribute__((cleanup(buf_free))) = {0};
            struct canon_body body = {.mode = mode, .sink = add, .to = &out};
            canon_body_feed(&body, str_head(in, cut));
            canon_body_feed(&body, str_from_index(in, cut));
            canon_body_end(&body);
            assert_string_equal(buf_c(&out), i % 2 ? cases[i / 2].relaxed : cases[i / 2].simple);
        }
    }
}

static void test_fields(void **state) {
    static const struct {
        const char *in, *relaxed;
    } cases[] = {
        {"A: X\r\n", "a:X\r\n"}, {"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"}, {"C:\r\n x\r\n", "c:x\r\n"},
        {"D:\r\n", "d:\r\n"},    {"E: a\r\n \r\n b\r\n", "e:a b\r\n"},  {"F: a\n b\n", "f:a b\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        struct header header;
        assert_int_equal(header_parse(arena, str_of(cases[i].in), 0, &header), 0);
        canon_field(&out, CANON_RELAXED, &header.fields[0]);
        assert_string_equal(buf_c(&out), cases[i].relaxed);
        if (!strstr(cases[i].in, "a\n")) {
            buf_clear(&out);
            canon_field(&out, CANON_SIMPLE, &header.fields[0]);
            assert_string_equal(buf_c(&out), cases[i].in);
        }
        arena_free(arena);
    }
}

/* The value of b= goes with the blanks around it; nothing else does. */
static void test_signature_field(void **state) {
    static const struct {
        const char *in, *simple, *relaxed;
    } cases[] = {
        {"S: a=1; b=xyz; c=2\r\n", "S: a=1; b=; c=2", "s:a=1; b=; c=2"},
        {"S: a=1; b=x\r\n yz\r\n ; c=2\r\n", "S: a=1; b=; c=2", "s:a=1; b=; c=2"},
        {"S: a=1;  b = x  \r\n", "S: a=1;  b =", "s:a=1; b ="},
        {"S: b=x;\r\n\ta=1\r\n", "S: b=;\r\n\ta=1", "s:b=; a=1"},
        {"S: bh=b; b=;\r\n", "S: bh=b; b=;", "s:bh=b; b=;"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        struct header header;
        struct dkim_tags tags;
        assert_int_equal(header_parse(arena, str_of(cases[i].in), 0, &header), 0);
        assert_true(dkim_tags_parse(header.fields[0].value, &tags));
        struct str hole = dkim_tag_find(&tags, "b")->hole;
        canon_signature_field(&out, CANON_SIMPLE, &header.fields[0], hole);
        assert_string_equal(buf_c(&out), cases[i].simple);
        buf_clear(&out);
        canon_signature_field(&out, CANON_RELAXED, &header.fields[0], hole);
        assert_string_equal(buf_c(&out), cases[i].relaxed);
        arena_free(arena);
    }
}

static void test_tags(void **state) {
    static const struct {
        const char *in;
        size_t count; /* 0: malformed */
    } cases[] = {
        {"a=1", 1},      {"a=1;", 1},       {"a=1; \r\n ", 1}, {" a = 1 ; b = 2 ", 2},
        {"a=;b=", 2},    {"a=1=2", 1},      {"a_1=x", 1},      {"a=x y", 1},
        {"A=1;a=2", 2},  {"a=\xc3\xa9", 1}, {"", 0},           {";", 0},
        {"a=1;;b=2", 0}, {"a", 0},          {"a=1; b", 0},     {"=1", 0},
        {"_a=1", 0},     {"1a=1", 0},       {"a=1;a=1", 0},    {"a=\x01", 0},
        {"a b=1", 0},    {"a=\x7f", 0},     {"a=1; ;", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_tags tags;
        bool read = dkim_tags_parse(str_of(cases[i].in), &tags);
        if (read != (cases[i].count > 0) || (read && tags.count != cases[i].count))
            fail_msg("%s", cases[i].in);
    }
}

static void test_base64(void **state) {
    static const struct {
        const char *in, *out; /* NULL: none */
    } cases[] = {
        {"YQ==", "a"},      {"YWI=", "ab"}, {"YWJj", "abc"}, {"Y W\r\n J j", "abc"},
        {"", NULL},         {"YQ", NULL},   {"YQ=", NULL},   {"Y===", NULL},
        {"YQ==YQ==", NULL}, {"Y-Jj", NULL}, {"====", NULL},  {"YW=j", NULL},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str out;
        bool read = dkim_base64_read(arena, str_of(cases[i].in), &out);
        if (read != (cases[i].out != NULL) || (read && !str_eq(out, str_of(cases[i].out))))
            fail_msg("%s", cases[i].in);
    }
    arena_free(arena);
}

static void test_quoted(void **state) {
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},           {"a@b", "a@b"},   {"a=40b", "a@b"},  {"=c3=BC", "\xc3\xbc"},
        {"a \r\n b", "ab"}, {"=", "="},       {"=4", "=4"},      {"=4=40", "=4@"},
        {"==40", "=@"},     {"=3D40", "=40"}, {"a=4 0", "a=40"}, {"\xc3\xbc", "\xc3\xbc"},
        {"=GG", "=GG"},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (!str_eq(dkim_quoted_read(arena, str_of(cases[i].in)), str_of(cases[i].out)))
            fail_msg("%s", cases[i].in);
    arena_free(arena);
}

/* The digest of a body's first octets (l=) is that of just these; past the end there is none. */
static void test_cuts(void **state) {
    enum { SIZE = 3000 };
    static const uint64_t lengths[] = {0,    1,    2,    3,    76,   77,   78,     1023,
                                       1024, 1025, 2047, 2048, 2500, SIZE, 1 << 20};
    static const size_t chunks[] = {1, 7, 1024, SIZE};
    struct arena *arena = arena_new(0);
    char *text = arena_alloc(arena, SIZE);
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        text[i] = "ab c \td\r\n"[i % 9];
    for (size_t i = 0; i < 2 * COUNT(chunks); i++) {
        enum canon mode = i % 2 ? CANON_RELAXED : CANON_SIMPLE;
        size_t chunk = chunks[i / 2];
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        struct canon_body body = {.mode = mode, .sink = add, .to = &out};
        struct dkim_body_hash *hash = xcalloc(1, sizeof *hash);
        struct body_hash *shared = body_hash_new();
        uint8_t digest[DKIM_DIGEST_SIZE];
        dkim_body_hash_start(hash, mode);
        for (size_t l = 0; l < COUNT(lengths); l++)
            dkim_body_hash_cut(hash, lengths[l]);
        for (struct str rest = str_from(text, SIZE); rest.len; rest = str_from_index(rest, chunk)) {
            canon_body_feed(&body, str_head(rest, chunk));
            dkim_body_hash_feed(hash, str_head(rest, chunk));
            body_hash_feed(shared, str_head(rest, chunk));
        }
        canon_body_end(&body);
        dkim_body_hash_end(hash);
        assert_int_equal(hash->total, out.len);
        dkim_sha256(buf_view(&out), digest);
        assert_memory_equal(hash->digest, digest, DKIM_DIGEST_SIZE);
        for (size_t l = 0; l < COUNT(lengths); l++) {
            const uint8_t *at = dkim_body_hash_at(hash, lengths[l]);
            dkim_sha256(str_head(buf_view(&out), (size_t)lengths[l]), digest);
            assert_int_equal(at != NULL, lengths[l] <= out.len);
            if (at)
                assert_memory_equal(at, digest, DKIM_DIGEST_SIZE);
        }
        assert_null(dkim_body_hash_at(hash, 5));
        body_hash_end(shared, digest);
        assert_int_equal(memcmp(digest, hash->digest, DKIM_DIGEST_SIZE) == 0, mode == CANON_RELAXED);
        dkim_body_hash_free(hash);
        free(hash);
        body_hash_free(shared);
    }
    assert_null(body_hash_free(NULL));
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies), cmocka_unit_test(test_fields), cmocka_unit_test(test_signature_field),
        cmocka_unit_test(test_tags),   cmocka_unit_test(test_base64), cmocka_unit_test(test_quoted),
        cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
