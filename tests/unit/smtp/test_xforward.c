#include "cmocka_setup.h"
#include "smtp/server.h"

#define X_51 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X_255 X_51 X_51 X_51 X_51 X_51
#define P_64 "pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp"

static const struct {
    const char *argument;
    const char *text; /* name|addr|port|proto|helo|ident|source */
    const char *refusal;
} rows[] = {
    {"NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP",
     "spike.porcupine.org|168.100.189.2|0|ESMTP|||"},
    {"name=a Addr=10.0.0.1 pORT=25", "a|10.0.0.1|25||||"},
    {"  NAME=a   HELO=b ", "a||0||b||"},
    {"ADDR=IPV6:2001:db8::1", "|2001:db8::1|0||||"},
    {"ADDR=ipv6:::1", "|::1|0||||"},
    {"ADDR=2001:db8::1", "|2001:db8::1|0||||"},
    {"ADDR=IPV6:::ffff:192.0.2.1", "|192.0.2.1|0||||"},
    {"ADDR=[UNAVAILABLE] NAME=[Unavailable] PORT=[unavailable] PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE] "
     "IDENT=[UNAVAILABLE] SOURCE=[UNAVAILABLE]",
     "||0||||"},
    {"NAME=+5BUNAVAILABLE+5D", "||0||||"},
    {"SOURCE=local", "||0||||LOCAL"},
    {"SOURCE=REMOTE", "||0||||REMOTE"},
    {"HELO=a+20b+0D+0Ac+00d+3Ce+3E", "||0||a?b??c?d?e?||"},
    {"HELO=[192.0.2.1]", "||0||[192.0.2.1]||"},
    {"HELO=not+xtext", "||0||not+xtext||"},
    {"HELO=a=b", "||0||a=b||"},
    {"NAME=m\xc3\xbcller", "m??ller||0||||"},
    {"IDENT=3CF6B2AAE8 NAME=\"x\"(y),;@\\", "?x??y?????||0|||3CF6B2AAE8|"},
    {"PORT=0", "||0||||"},
    {"PORT=65535", "||65535||||"},
    {"NAME=" X_255, X_255 "||0||||"},
    {"PROTO=" P_64, "||0|" P_64 "|||"},
    {"NAME=a NAME=b", "b||0||||"},
    {"", .refusal = "Syntax: XFORWARD attribute=value..."},
    {"NAME", .refusal = "Error: attribute=value expected"},
    {"NAME=", .refusal = "Error: attribute=value expected"},
    {"=a", .refusal = "Bad XFORWARD attribute name"},
    {"NAME=a LOGIN=b", .refusal = "Bad XFORWARD attribute name"},
    {"NAMES=a", .refusal = "Bad XFORWARD attribute name"},
    {"NAME=x" X_255, .refusal = "Error: attribute value too long"},
    {"PROTO=p" P_64, .refusal = "Bad PROTO syntax"},
    {"ADDR=localhost", .refusal = "Bad ADDR syntax"},
    {"ADDR=IPV6:192.0.2.1", .refusal = "Bad ADDR syntax"},
    {"ADDR=IPV6:", .refusal = "Bad ADDR syntax"},
    {"ADDR=[192.0.2.1]", .refusal = "Bad ADDR syntax"},
    {"ADDR=0.0.0.0", .refusal = "Bad ADDR syntax"},
    {"ADDR=IPV6:::", .refusal = "Bad ADDR syntax"},
    {"PORT=65536", .refusal = "Bad PORT syntax"},
    {"PORT=-1", .refusal = "Bad PORT syntax"},
    {"PORT=smtp", .refusal = "Bad PORT syntax"},
    {"SOURCE=MARS", .refusal = "Bad SOURCE syntax"},
};

static void test_attributes(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena *arena = arena_new(0);
        struct smtp_xforward x = {0};
        char ip[IP_TEXT_SIZE];
        struct smtp_reply reply = smtp_xforward_parse(str_of(rows[i].argument), arena, &x);
        struct str text =
            str_printf(arena, "%.*s|%s|%u|%.*s|%.*s|%.*s|%.*s", STR_FMT(x.name), ip_text(&x.addr, ip), x.port,
                       STR_FMT(x.proto), STR_FMT(x.helo), STR_FMT(x.ident), STR_FMT(x.source));
        if (reply.code != (rows[i].refusal ? 501 : 0) || x.given != !rows[i].refusal)
            fail_msg("%s: %d", rows[i].argument, reply.code);
        if (rows[i].refusal ? !str_eq(reply.text, str_of(rows[i].refusal))
                            : !str_eq(text, str_of(rows[i].text)))
            fail_msg("%s: %.*s %.*s", rows[i].argument, STR_FMT(reply.text), STR_FMT(text));
        arena_free(arena);
    }
}

/* A refused command changes nothing, not even what stood in front of its mistake. */
static void test_whole_or_nothing(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct smtp_xforward x = {0};
    assert_int_equal(smtp_xforward_parse(STR("NAME=a PORT=1 SOURCE=LOCAL"), arena, &x).code, 0);
    assert_int_equal(smtp_xforward_parse(STR("NAME=b PORT=2 ADDR=c"), arena, &x).code, 501);
    assert_true(str_eq(x.name, STR("a")) && x.port == 1);
    assert_int_equal(smtp_xforward_parse(STR("NAME=[UNAVAILABLE]"), arena, &x).code, 0);
    assert_true(!x.name.len && x.port == 1 && str_eq(x.source, STR("LOCAL")));
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attributes),
                                       cmocka_unit_test(test_whole_or_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
