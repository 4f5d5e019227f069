#include "base/error.h"
#include "cmocka_setup.h"
#include "mail/address.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
enum { ALL = ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_POSTMASTER | ADDRESS_ALLOW_UTF8 };

static void test_paths(void **state) {
    static const struct {
        const char *in;
        unsigned flags;
        int error;
        const char *whole, *local, *domain, *rest;
    } cases[] = {
        {"<a@b.example>", 0, 0, "a@b.example", "a", "b.example", ""},
        {"<a@b.example> SIZE=1", 0, 0, "a@b.example", "a", "b.example", " SIZE=1"},
        {"<>", ADDRESS_ALLOW_NULL, 0, "", "", "", ""},
        {"<>", 0, SLUICE_ESYNTAX},
        {"<Postmaster>", ADDRESS_ALLOW_POSTMASTER, 0, "Postmaster", "Postmaster", "", ""},
        {"<Postmaster>", 0, SLUICE_ESYNTAX},
        {"<bob>", ALL, SLUICE_ESYNTAX},
        {"<@r1.example,@r2.example:a@b.example>", 0, 0, "a@b.example", "a", "b.example", ""},
        {"<@r1.example:a@b.example>", 0, 0, "a@b.example", "a", "b.example", ""},
        {"<@r1.example,a@b.example>", 0, SLUICE_ESYNTAX},
        {"<@:a@b.example>", 0, SLUICE_ESYNTAX},
        {"<@r1.example:>", ALL, SLUICE_ESYNTAX},
        {"<\"a b>c\"@b.example> X", 0, 0, "\"a b>c\"@b.example", "\"a b>c\"", "b.example", " X"},
        {"<\"a\\\"b\"@b.example>", 0, 0, "\"a\\\"b\"@b.example", "\"a\\\"b\"", "b.example", ""},
        {"<\"\"@b.example>", 0, 0, "\"\"@b.example", "\"\"", "b.example", ""},
        {"<a@[192.0.2.1]>", 0, 0, "a@[192.0.2.1]", "a", "[192.0.2.1]", ""},
        {"<a@[IPv6:2001:db8::1]>", 0, 0, "a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]", ""},
        {"<a@[2001:db8::1]>", 0, SLUICE_ESYNTAX},
        {"<a@[IPv6:192.0.2.1]>", 0, SLUICE_ESYNTAX},
        {"<a@[999.0.2.1]>", 0, SLUICE_ESYNTAX},
        {"<a@[]>", 0, SLUICE_ESYNTAX},
        {"<a@b_c.example>", 0, 0, "a@b_c.example", "a", "b_c.example", ""},
        {"<a@-b.example>", 0, SLUICE_ESYNTAX},
        {"<a@b-.example>", 0, SLUICE_ESYNTAX},
        {"<a@b..example>", 0, SLUICE_ESYNTAX},
        {"<a@b.example.>", 0, SLUICE_ESYNTAX},
        {"<a@.example>", 0, SLUICE_ESYNTAX},
        {"<a@>", 0, SLUICE_ESYNTAX},
        {"<@b.example>", 0, SLUICE_ESYNTAX},
        {"<a@b@c.example>", 0, SLUICE_ESYNTAX},
        {"<a..b@c.example>", 0, SLUICE_ESYNTAX},
        {"<.a@c.example>", 0, SLUICE_ESYNTAX},
        {"<a.@c.example>", 0, SLUICE_ESYNTAX},
        {"<a b@c.example>", 0, SLUICE_ESYNTAX},
        {"<a@c.example", 0, SLUICE_ESYNTAX},
        {"a@c.example", 0, SLUICE_ESYNTAX},
        {"<a@c.example,x>", 0, SLUICE_ESYNTAX},
        {"<\"a\r\nb\"@c.example>", 0, SLUICE_ESYNTAX},
        {"<" A64 "@b.example>", 0, 0, A64 "@b.example", A64, "b.example", ""},
        {"<" A64 "a@b.example>", 0, SLUICE_ETOOBIG},
        {"<a@" A64 ".example>", 0, SLUICE_ESYNTAX},
        {"<" A64 "@" A64 "." A64 "." A64 ">", 0, SLUICE_ETOOBIG},
        {"<us\xc3\xa9r@b.example>", ADDRESS_ALLOW_UTF8, 0, "us\xc3\xa9r@b.example", "us\xc3\xa9r",
         "b.example", ""},
        {"<us\xc3\xa9r@b.example>", 0, SLUICE_EDENIED},
        {"<a@b\xc3\xbc"
         "cher.example>",
         ADDRESS_ALLOW_UTF8, 0,
         "a@b\xc3\xbc"
         "cher.example",
         "a",
         "b\xc3\xbc"
         "cher.example",
         ""},
        {"<a@b\xc3\xbc"
         "cher.example>",
         0, SLUICE_EDENIED},
        {"<us\xe9r@b.example>", ADDRESS_ALLOW_UTF8, SLUICE_ESYNTAX},
        {"<a@b\xff.example>", ADDRESS_ALLOW_UTF8, SLUICE_ESYNTAX},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address a;
        struct str rest;
        int error = address_path(str_of(cases[i].in), cases[i].flags, &a, &rest);
        if (error != cases[i].error)
            print_error("%s\n", cases[i].in);
        assert_int_equal(error, cases[i].error);
        if (error)
            continue;
        assert_true(str_eq(a.whole, str_of(cases[i].whole)));
        assert_true(str_eq(a.local, str_of(cases[i].local)));
        assert_true(str_eq(a.domain, str_of(cases[i].domain)));
        assert_true(str_eq(rest, str_of(cases[i].rest)));
    }
}

static void test_domains(void **state) {
    static const struct {
        const char *in, *normal;
    } cases[] = {
        {"Example.COM", "example.com"},
        {"example.com.", "example.com"},
        {"B\xc3\x9c"
         "CHER.example",
         "xn--bcher-kva.example"},
        {"xn--BCHER-kva.example", "xn--bcher-kva.example"},
        {"fa\xc3\x9f.de", "xn--fa-hia.de"}, /* non-transitional: sharp s stays */
        {"\xe4\xbe\x8b\xe3\x80\x82\xe6\xb5\x8b\xe8\xaf\x95",
         "xn--fsq.xn--0zwm56d"}, /* ideographic full stop */
        {"[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"},
        {"", NULL},
        {".", NULL},
        {"a b", NULL},
        {"a..b", NULL},
        {"exa\xff"
         "mple",
         NULL},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str normal;
        int error = domain_normal(arena, str_of(cases[i].in), &normal);
        assert_int_equal(error, cases[i].normal ? 0 : SLUICE_ESYNTAX);
        if (!error)
            assert_string_equal(str_c(arena, normal), cases[i].normal);
    }
    assert_true(domain_same(STR("B\xc3\xbc"
                                "cher.example"),
                            STR("XN--bcher-kva.Example")));
    assert_false(domain_same(STR("a.example"), STR("b.example")));
    arena_free(arena);
}

static void test_same_and_normal(void **state) {
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"a@b.example", "a@B.EXAMPLE", true},         {"a@b.example", "A@b.example", false},
        {"\"a\"@b.example", "a@b.example", true},     {"\"a\\b\"@b.example", "ab@b.example", true},
        {"\"a b\"@b.example", "ab@b.example", false}, {"", "", true},
    };
    static const struct {
        const char *in, *out;
    } normals[] = {
        {"\"a\"@B.example", "a@b.example"},
        {"\"a b\"@B.example", "\"a b\"@b.example"},
        {"A@B\xc3\xbc"
         "cher.example",
         "A@xn--bcher-kva.example"},
        {"nobody", NULL},
        {"", NULL},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(address_same(str_of(cases[i].a), str_of(cases[i].b)), cases[i].same);
    for (size_t i = 0; i < COUNT(normals); i++) {
        struct str out = address_normal(arena, str_of(normals[i].in));
        assert_true(normals[i].out ? str_eq(out, str_of(normals[i].out)) : out.at == NULL);
    }
    arena_free(arena);
}

static void test_lists(void **state) {
    static const struct {
        const char *in;
        int error;
        const char *out; /* "display|address" joined by ';' */
    } cases[] = {
        {"a@b.example", 0, "|a@b.example;"},
        {"John Doe <a@b.example>", 0, "John Doe|a@b.example;"},
        {"\"Joe Q. Public\" <a@b.example>, c@d.example", 0, "Joe Q. Public|a@b.example;|c@d.example;"},
        {"Joe Q. Public <a@b.example>", 0, "Joe Q. Public|a@b.example;"},
        {"\"Giant; \\\"Big\\\" Box\" <a@b.example>", 0, "Giant; \"Big\" Box|a@b.example;"},
        {"A Group:Ed Jones <joe@where.test>,John <jdoe@one.test>;", 0,
         "Ed Jones|joe@where.test;John|jdoe@one.test;"},
        {"Undisclosed recipients:;", 0, ""},
        {"A: a@b.example;, c@d.example", 0, "|a@b.example;|c@d.example;"},
        {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", 0, "Pete|pete@silly.test;"},
        {"(comment (nested)) a@b.example", 0, "|a@b.example;"},
        {"a . b @ c . example", 0, "|a.b@c.example;"},
        {"<@route.example,@r2.example:a@b.example>", 0, "|a@b.example;"},
        {"Mary <@machine.tld:mary@example.net>, , jdoe@test   . example", 0,
         "Mary|mary@example.net;|jdoe@test.example;"},
        {"John\r\n Doe\r\n\t<a@b.example>", 0, "John Doe|a@b.example;"},
        {"=?utf-8?q?J=C3=BC?= <a@b.example>", 0, "=?utf-8?q?J=C3=BC?=|a@b.example;"},
        {"\"a b\"@c.example", 0, "|\"a b\"@c.example;"},
        {"\"a\".b@c.example", 0, "|a.b@c.example;"},
        {"a@[192.0.2.1]", 0, "|a@[192.0.2.1];"},
        {"a..b@c.example", 0, "|\"a..b\"@c.example;"},
        {"J\xc3\xbc <j\xc3\xbc@b\xc3\xbc"
         "cher.example>",
         0,
         "J\xc3\xbc|j\xc3\xbc@b\xc3\xbc"
         "cher.example;"},
        {"", 0, ""},
        {"nobody", SLUICE_ESYNTAX, ""},
        {"a@b.example, nobody, c@d.example", SLUICE_ESYNTAX, "|a@b.example;|c@d.example;"},
        {"<>", SLUICE_ESYNTAX, ""},
        {"a@b.example <c@d.example>", 0, "a@b.example|c@d.example;"},
        {"<a@b.example> c@d.example", SLUICE_ESYNTAX, ""},
        {"a@b.example c@d.example", SLUICE_ESYNTAX, ""},
        {"(open a@b.example", SLUICE_ESYNTAX, ""},
        {"\"open <a@b.example>", SLUICE_ESYNTAX, ""},
        {"Group: a@b.example", SLUICE_ESYNTAX, "|a@b.example;"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct address_list list;
        struct str out = STR("");
        int error = address_list_parse(arena, str_of(cases[i].in), &list);
        for (size_t j = 0; j < list.count; j++)
            out = str_printf(arena, "%.*s%.*s|%.*s;", STR_FMT(out), STR_FMT(list.items[j].display),
                             STR_FMT(list.items[j].address.whole));
        if (error != cases[i].error || !str_eq(out, str_of(cases[i].out)))
            print_error("%s: %d, %.*s\n", cases[i].in, error, STR_FMT(out));
        assert_int_equal(error, cases[i].error);
        assert_true(str_eq(out, str_of(cases[i].out)));
        arena_free(arena);
    }
}

static void test_quoting(void **state) {
    static const struct {
        const char *plain, *wire;
    } cases[] = {{"", "\"\""},   {"a.", "\"a.\""}, {"a.b", "a.b"},
                 {" ", "\" \""}, {"<>", "\"<>\""}, {"a\"b\\c", "\"a\\\"b\\\\c\""}};
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str wire = local_quoted(arena, str_of(cases[i].plain));
        assert_true(str_eq(wire, str_of(cases[i].wire)));
        assert_true(str_eq(local_plain(arena, wire), str_of(cases[i].plain)));
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths), cmocka_unit_test(test_domains), cmocka_unit_test(test_same_and_normal),
        cmocka_unit_test(test_lists), cmocka_unit_test(test_quoting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
