/* Every answer that a milter can give, and many that it can't. */
#include "cmocka_setup.h"
#include "scan/milter_settings.h"
#include "scan/milter_wire.h"

/* Literals with NUL bytes inside; the last one is not counted. */
#define BYTES(literal) STR(literal)

struct answer_case {
    char command;
    struct str data;
    bool good;
    enum milter_answer_kind kind;
    const char *line; /* of the reply */
    const char *name, *value;
    uint32_t index;
};

static const struct answer_case answers[] = {
    {'c', STR(""), true, MILTER_SAYS_CONTINUE},
    {'a', STR(""), true, MILTER_SAYS_ACCEPT},
    {'r', STR(""), true, MILTER_SAYS_REFUSE, "550 5.7.1 Command rejected"},
    {'t', STR(""), true, MILTER_SAYS_REFUSE, "451 4.7.1 Service unavailable - try again later"},
    {'d', STR(""), true, MILTER_SAYS_DISCARD},
    {'s', STR(""), true, MILTER_SAYS_SKIP},
    {'p', STR(""), true, MILTER_SAYS_PROGRESS},
    {'4', STR(""), true, MILTER_SAYS_REFUSE, "421 4.7.0 Closing"},
    {'c', STR("x"), false},
    {'a', BYTES("\0"), false},
    {'r', STR("550"), false},
    {'f', STR(""), false},
    {'O', STR(""), false},
    {0, STR(""), false},
    {(char)0xff, STR("abc"), false},
    {'y', BYTES("550 5.7.1 Not today\0"), true, MILTER_SAYS_REFUSE, "550 5.7.1 Not today"},
    {'y', BYTES("451 4.3.2 Later\0"), true, MILTER_SAYS_REFUSE, "451 4.3.2 Later"},
    {'y', BYTES("554 Just so\0"), true, MILTER_SAYS_REFUSE, "554 5.7.1 Just so"},
    {'y', BYTES("452\0"), true, MILTER_SAYS_REFUSE, "452 4.7.1 Service unavailable - try again later"},
    {'y', BYTES("550 5.7.1\0"), true, MILTER_SAYS_REFUSE, "550 5.7.1 Command rejected"},
    {'y', BYTES("550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\0"), true, MILTER_SAYS_REFUSE,
     "550 5.7.1 one\ntwo\nthree"},
    {'y', BYTES("550-5.7.1 one\n550 5.7.1 two\0"), true, MILTER_SAYS_REFUSE, "550 5.7.1 one\ntwo"},
    {'y', BYTES("550 5.7.1 100%% sure %d\x01\xc3\xa4\0"), true, MILTER_SAYS_REFUSE,
     "550 5.7.1 100% sure d???"},
    {'y', BYTES("421 4.7.0 Bye\0"), true, MILTER_SAYS_REFUSE, "421 4.7.0 Bye"},
    {'y', BYTES("550 5.7.1 no end"), false},
    {'y', BYTES("250 2.0.0 Fine\0"), false},
    {'y', BYTES("354 go\0"), false},
    {'y', BYTES("550 4.7.1 contradicts\0"), false},
    {'y', BYTES("5x0 5.7.1 x\0"), false},
    {'y', BYTES("55 x\0"), false},
    {'y', BYTES("5500 x\0"), false},
    {'y', BYTES("\0"), false},
    {'y', STR(""), false},
    {'y', BYTES("550 5.7.1 a\r\n551 5.7.1 b\0"), false},
    {'y', BYTES("550-5.7.1 a\r\n551 5.7.1 b\0"), false},
    {'y', BYTES("550-5.7.1 last\0"), false},
    {'y', BYTES("550 5.7.1 a\0b\0"), false},
    {'h', BYTES("X-A\0b\0"), true, MILTER_SAYS_ADD_HEADER, NULL, "X-A", "b"},
    {'h', BYTES("X-A\0\0"), true, MILTER_SAYS_ADD_HEADER, NULL, "X-A", ""},
    {'h', BYTES("X-A\0b"), false},
    {'h', BYTES("X-A\0b\0c\0"), false},
    {'h', BYTES("\0b\0"), false},
    {'h', BYTES("X A\0b\0"), false},
    {'h', BYTES("X:\0b\0"), false},
    {'h', BYTES("X\nBcc\0b\0"), false},
    {'h', STR(""), false},
    {'i', BYTES("\0\0\0\1X-A\0b\0"), true, MILTER_SAYS_INSERT_HEADER, NULL, "X-A", "b", 1},
    {'i', BYTES("\xff\0\0\1X-A\0b\0"), false},
    {'i', BYTES("\0\0\1"), false},
    {'m', BYTES("\0\0\0\2Subject\0new\0"), true, MILTER_SAYS_CHANGE_HEADER, NULL, "Subject", "new", 2},
    {'m', BYTES("\0\0\0\0Subject\0\0"), true, MILTER_SAYS_CHANGE_HEADER, NULL, "Subject", "", 0},
    {'m', BYTES("Subject\0new\0"), false},
    {'b', STR("any bytes"), true, MILTER_SAYS_REPLACE_BODY, NULL, "", "any bytes"},
    {'b', STR(""), true, MILTER_SAYS_REPLACE_BODY, NULL, "", ""},
    {'+', BYTES("<a@b>\0"), true, MILTER_SAYS_ADD_RCPT, NULL, "<a@b>", ""},
    {'+', BYTES("<a@b>\0NOTIFY=NEVER\0"), false},
    {'+', STR("<a@b>"), false},
    {'2', BYTES("<a@b>\0NOTIFY=NEVER\0"), true, MILTER_SAYS_ADD_RCPT, NULL, "<a@b>", "NOTIFY=NEVER"},
    {'2', BYTES("<a@b>\0"), true, MILTER_SAYS_ADD_RCPT, NULL, "<a@b>", ""},
    {'2', BYTES("<a@b>\0a\0b\0"), false},
    {'-', BYTES("<a@b>\0"), true, MILTER_SAYS_DELETE_RCPT, NULL, "<a@b>", ""},
    {'-', STR(""), false},
    {'e', BYTES("<>\0"), true, MILTER_SAYS_CHANGE_FROM, NULL, "<>", ""},
    {'e', BYTES("<a@b>\0SIZE=1\0"), true, MILTER_SAYS_CHANGE_FROM, NULL, "<a@b>", "SIZE=1"},
    {'q', BYTES("smells\0"), true, MILTER_SAYS_QUARANTINE, NULL, "", "smells"},
    {'q', STR("smells"), false},
};

static void test_answers(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct answer_case *c = &answers[i];
        struct milter_answer a = {0};
        const char *why = milter_read_answer(c->command, c->data, arena, &a);
        if ((why == NULL) != c->good)
            fail_msg("case %zu (%c): %s", i, c->command, why ? why : "was taken");
        if (!c->good)
            continue;
        assert_int_equal(a.kind, c->kind);
        if (c->line)
            assert_string_equal(str_c(arena, outcome_line(arena, &a.reply)), c->line);
        if (c->name)
            assert_string_equal(str_c(arena, a.name), c->name);
        if (c->value)
            assert_string_equal(str_c(arena, a.value), c->value);
        assert_int_equal(a.index, c->index);
    }
    arena_free(arena);
}

static const struct {
    struct str data;
    bool good;
    uint32_t version, actions, steps;
    const char *mail_symbols;
} options[] = {
    {BYTES("\0\0\0\6\0\0\1\xff\0\x1f\xff\xff"), true, 6, 0x1ff, 0x1fffff, NULL},
    {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0"), true, 6, 0, 0, NULL},
    {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\2i {auth_authen}\0"), true, 6, 0, 0, "i {auth_authen}"},
    {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\2\0"), true, 6, 0, 0, ""},
    {BYTES("\0\0\0\6\0\0\0\0\x30\0\0\0"), true, 6, 0, 0, NULL}, /* larger chunks were not offered */
    {BYTES("\0\0\0\2\0\0\0\1\0\x1f\xff\xff"), true, 2, 1, 0x2ff & ~0x100u, NULL},
    {BYTES("\0\0\0\3\0\0\0\1\0\0\0\0"), true, 3, 1, MILTER_NO_DATA, NULL},
    {BYTES("\0\0\0\1\0\0\0\0\0\0\0\0"), false},
    {BYTES("\0\0\0\7\0\0\0\0\0\0\0\0"), false},
    {BYTES("\0\0\0\6\0\0\2\0\0\0\0\0"), false},
    {BYTES("\0\0\0\6\0\0\0\0\0\0\0"), false},
    {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0x"), false},
    {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\7i\0"), false},
    {BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\2i"), false},
    {STR(""), false},
};

static void test_options(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(options); i++) {
        struct milter_options o = {0};
        const char *why = milter_read_options(options[i].data, arena, &o);
        if ((why == NULL) != options[i].good)
            fail_msg("case %zu: %s", i, why ? why : "was taken");
        if (why)
            continue;
        assert_int_equal(o.version, options[i].version);
        assert_int_equal(o.actions, options[i].actions);
        assert_int_equal(o.steps, options[i].steps);
        assert_int_equal(o.symbols[MILTER_AT_MAIL].at != NULL, options[i].mail_symbols != NULL);
        if (options[i].mail_symbols)
            assert_string_equal(str_c(arena, o.symbols[MILTER_AT_MAIL]), options[i].mail_symbols);
    }
    arena_free(arena);
}

/* What is kept of a change is short: ten thousand of them must not fill the memory. */
static void test_long_changes(void **state) {
    (void)state;
    static const struct {
        char command;
        size_t len;
        bool good;
    } cases[] = {{'+', 900, true},   {'+', 1100, false}, {'2', 1100, false}, {'-', 1100, false},
                 {'e', 1100, false}, {'q', 900, true},   {'q', 100000, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_new(0);
        struct buf data = {0};
        struct milter_answer a;
        for (size_t n = 0; n < cases[i].len; n++)
            buf_char(&data, 'x');
        buf_char(&data, 0);
        assert_int_equal(milter_read_answer(cases[i].command, buf_view(&data), arena, &a) == NULL,
                         cases[i].good);
        if (cases[i].good)
            assert_in_range(a.name.len + a.value.len, 1, MILTER_ADDRESS_MAX);
        buf_free(&data);
        arena_free(arena);
    }
}

static void test_offer(void **state) {
    (void)state;
    struct buf out = {0};
    milter_write_offer(&out);
    assert_int_equal(out.len, 17);
    assert_memory_equal(out.at, "\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff", 17);
    buf_free(&out);
}

static const struct {
    const char *text, *path, *host, *ip;
    uint16_t port;
    bool good;
} sockets[] = {
    {"inet:8891@127.0.0.1", NULL, "", "127.0.0.1", 8891, true},
    {"inet:127.0.0.1:8891", NULL, "", "127.0.0.1", 8891, true},
    {"inet:8891@localhost", NULL, "localhost", NULL, 8891, true},
    {"inet:Milter.Example:8891", NULL, "milter.example", NULL, 8891, true},
    {"inet6:8891@::1", NULL, "", "::1", 8891, true},
    {"inet:8891@[::1]", NULL, "", "::1", 8891, true},
    {"inet:[::1]:8891", NULL, "", "::1", 8891, true},
    {"unix:/run/x.sock", "/run/x.sock", NULL, NULL, 0, true},
    {"local:/run/x.sock", "/run/x.sock", NULL, NULL, 0, true},
    {"/run/x.sock", "/run/x.sock", NULL, NULL, 0, true},
    {"unix:x.sock", .good = false},
    {"inet:8891", .good = false},
    {"inet:localhost", .good = false},
    {"inet:x@localhost", .good = false},
    {"inet:/run/x.sock", .good = false},
    {"127.0.0.1:8891", .good = false},
    {"inet:0@127.0.0.1", .good = false},
    {"", .good = false},
};

static void test_sockets(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(sockets); i++) {
        struct scan_endpoint e = {0};
        struct ip ip;
        if (milter_socket_parse(arena, str_of(sockets[i].text), &e) != sockets[i].good)
            fail_msg("%s", sockets[i].text);
        if (!sockets[i].good)
            continue;
        assert_int_equal(e.port, sockets[i].port);
        if (sockets[i].path)
            assert_string_equal(e.path, sockets[i].path);
        else
            assert_null(e.path);
        if (sockets[i].host)
            assert_string_equal(str_c(arena, e.host), sockets[i].host);
        if (sockets[i].ip) {
            assert_true(ip_parse(str_of(sockets[i].ip), &ip));
            assert_true(ip_eq(&ip, &e.ip));
        }
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),      cmocka_unit_test(test_options), cmocka_unit_test(test_offer),
        cmocka_unit_test(test_long_changes), cmocka_unit_test(test_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
