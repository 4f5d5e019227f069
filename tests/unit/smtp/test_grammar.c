#include "cmocka_setup.h"
#include "smtp/grammar.h"

enum { ALL = ~0u };

static const struct {
    struct str line;
    enum smtp_verb verb;
    const char *argument;
    int code;
} commands[] = {
    {STR("NOOP"), SMTP_NOOP, ""},
    {STR("noop"), SMTP_NOOP, ""},
    {STR("EHLO  a.example \t"), SMTP_EHLO, "a.example"},
    {STR("MAIL FROM:<a@b>  SIZE=1"), SMTP_MAIL, "FROM:<a@b>  SIZE=1"},
    {STR("DATA "), SMTP_DATA, ""},
    {STR("DATAX"), SMTP_UNKNOWN, ""},
    {STR("DAT"), SMTP_UNKNOWN, ""},
    {STR(""), SMTP_UNKNOWN, "", 500},
    {STR(" NOOP"), SMTP_UNKNOWN, "NOOP", 500},
    {STR("NO\0OP"), SMTP_UNKNOWN, "", 500},
    {STR("NOOP a\rb"), SMTP_UNKNOWN, "", 500},
    {STR("NOOP \x01"), SMTP_UNKNOWN, "", 500},
    {STR("N\xc3\xb6P"), SMTP_UNKNOWN, "", 500},
    {STR("NOOP \xc3\xb6"), SMTP_NOOP, "\xc3\xb6"},
    {STR("NOOP \xff"), SMTP_UNKNOWN, "\xff", 501},
};

static void test_command(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(commands); i++) {
        struct smtp_command command;
        struct smtp_reply reply = smtp_command_parse(commands[i].line, &command);
        if (reply.code != commands[i].code || command.verb != commands[i].verb ||
            !str_eq(command.argument, str_of(commands[i].argument)))
            fail_msg("case %zu: %d %d '%.*s'", i, reply.code, command.verb, STR_FMT(command.argument));
    }
}

static const struct {
    const char *argument;
    unsigned offered;
    int code;
    const char *enhanced;
    struct smtp_mail mail; /* reverse_path.whole, and the parameters */
} mails[] = {
    {"FROM:<>", 0, .mail = {.reverse_path.whole = STR("")}},
    {"from:<a@b.example>", 0, .mail = {.reverse_path.whole = STR("a@b.example")}},
    {"FROM: <a@b.example>", 0, .mail = {.reverse_path.whole = STR("a@b.example")}},
    {"FROM:<@x.example,@y.example:a@b.example>", 0, .mail = {.reverse_path.whole = STR("a@b.example")}},
    {"FROM:<\"a b\"@c.example>", 0, .mail = {.reverse_path.whole = STR("\"a b\"@c.example")}},
    {"FROM:<a@[192.0.2.1]>", 0, .mail = {.reverse_path.whole = STR("a@[192.0.2.1]")}},
    {"FROM:<a@b.example> SIZE=100 BODY=8bitmime", ALL,
     .mail = {.reverse_path.whole = STR("a@b.example"),
              .has_size = true,
              .size = 100,
              .body = SMTP_BODY_8BITMIME}},
    {"FROM:<a@b.example>  BODY=7BIT  SMTPUTF8 ", ALL,
     .mail = {.reverse_path.whole = STR("a@b.example"), .smtputf8 = true}},
    {"FROM:<\xc3\xa4@b.example> SMTPUTF8", ALL,
     .mail = {.reverse_path.whole = STR("\xc3\xa4@b.example"), .smtputf8 = true}},
    {"FROM:<> RET=HDRS ENVID=QQ+2B314159", ALL, .mail = {.ret = SMTP_RET_HDRS, .envid = STR("QQ+314159")}},
    {"FROM:<> RET=full AUTH=<>", ALL, .mail = {.ret = SMTP_RET_FULL, .auth = STR("<>")}},
    {"FROM:<> AUTH=e+3Dmc2@example.com", ALL, .mail = {.auth = STR("e=mc2@example.com")}},
    {"", 0, 501, "5.5.4"},
    {"<a@b.example>", 0, 501, "5.5.4"},
    {"TO:<a@b.example>", 0, 501, "5.5.4"},
    {"FROM:", 0, 501, "5.5.4"},
    {"FROM:a@b.example", 0, 501, "5.5.4"},
    {"FROM:<a@b.example", 0, 501, "5.1.7"},
    {"FROM:<a b@c.example>", 0, 501, "5.1.7"},
    {"FROM:<a@b.example>x", 0, 501, "5.1.7"},
    {"FROM:<a>", 0, 501, "5.1.7"},
    {"FROM:<a@>", 0, 501, "5.1.7"},
    {"FROM:<\xc3\xa4@b.example>", ALL, 553, "5.6.7"},
    {"FROM:<\xc3\xa4@b.example>", 0, 553, "5.6.7"},
    {"FROM:<> SIZE=1", 0, 555, "5.5.4"},
    {"FROM:<> X=1", ALL, 555, "5.5.4"},
    {"FROM:<> NOTIFY=NEVER", ALL, 555, "5.5.4"},
    {"FROM:<> SIZE", ALL, 501, "5.5.4"},
    {"FROM:<> SIZE=", ALL, 501, "5.5.4"},
    {"FROM:<> SIZE=x", ALL, 501, "5.5.4"},
    {"FROM:<> SIZE=-1", ALL, 501, "5.5.4"},
    {"FROM:<> SIZE=99999999999999999999", ALL, 501, "5.5.4"},
    {"FROM:<> SIZE=1 SIZE=1", ALL, 501, "5.5.4"},
    {"FROM:<> BODY=BINARYMIME", ALL, 501, "5.5.4"},
    {"FROM:<> SMTPUTF8=1", ALL, 501, "5.5.4"},
    {"FROM:<> RET=X", ALL, 501, "5.5.4"},
    {"FROM:<> ENVID=a+2", ALL, 501, "5.5.4"},
    {"FROM:<> ENVID=a+0A", ALL, 501, "5.5.4"},
    {"FROM:<> ENVID=", ALL, 501, "5.5.4"},
};

static bool same(struct str a, struct str b) { return str_eq(a, b) && (a.at == NULL) == (b.at == NULL); }

static void test_mail(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(mails); i++) {
        struct arena *arena = arena_new(0);
        struct smtp_mail mail = {0};
        const struct smtp_mail *want = &mails[i].mail;
        struct smtp_reply reply = smtp_mail_parse(str_of(mails[i].argument), mails[i].offered, arena, &mail);
        if (reply.code != mails[i].code || !str_eq(reply.enhanced, str_of(mails[i].enhanced)))
            fail_msg("'%s': %d %.*s", mails[i].argument, reply.code, STR_FMT(reply.enhanced));
        if (reply.code == 0 &&
            (!str_eq(mail.reverse_path.whole, want->reverse_path.whole) || mail.body != want->body ||
             mail.smtputf8 != want->smtputf8 || mail.has_size != want->has_size || mail.size != want->size ||
             mail.ret != want->ret || !same(mail.envid, want->envid) || !same(mail.auth, want->auth)))
            fail_msg("'%s': '%.*s'", mails[i].argument, STR_FMT(mail.reverse_path.whole));
        arena_free(arena);
    }
}

static const struct {
    const char *argument;
    unsigned offered;
    bool smtputf8;
    int code;
    const char *enhanced;
    struct smtp_rcpt rcpt;
} rcpts[] = {
    {"TO:<a@b.example>", 0, .rcpt = {.forward_path.whole = STR("a@b.example")}},
    {"to: <Postmaster>", 0, .rcpt = {.forward_path.whole = STR("Postmaster")}},
    {"TO:<@x.example:a@b.example>", 0, .rcpt = {.forward_path.whole = STR("a@b.example")}},
    {"TO:<a@b.example> NOTIFY=NEVER", ALL,
     .rcpt = {.forward_path.whole = STR("a@b.example"), .notify = SMTP_NOTIFY_NEVER}},
    {"TO:<a@b.example> notify=success,Failure,DELAY ORCPT=rfc822;a+2Bb@c.example", ALL,
     .rcpt = {.forward_path.whole = STR("a@b.example"),
              .notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY,
              .orcpt = STR("rfc822;a+b@c.example")}},
    {"TO:<a@b.example> ORCPT=utf-8;\\x{E4}\\x{20AC}\\x{1F600}@c.example", ALL,
     .rcpt = {.forward_path.whole = STR("a@b.example"),
              .orcpt = STR("utf-8;\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80@c.example")}},
    {"TO:<\xc3\xa4@b.example>", ALL, .smtputf8 = true,
     .rcpt = {.forward_path.whole = STR("\xc3\xa4@b.example")}},
    {"TO:<\xc3\xa4@b.example>", ALL, .code = 553, .enhanced = "5.6.7"},
    {"TO:<>", 0, .code = 501, .enhanced = "5.1.3"},
    {"TO:<a>", 0, .code = 501, .enhanced = "5.1.3"},
    {"TO:a@b.example", 0, .code = 501, .enhanced = "5.5.4"},
    {"FROM:<a@b.example>", 0, .code = 501, .enhanced = "5.5.4"},
    {"TO:<a@b.example> NOTIFY=NEVER", 0, .code = 555, .enhanced = "5.5.4"},
    {"TO:<a@b.example> SIZE=1", ALL, .code = 555, .enhanced = "5.5.4"},
    {"TO:<a@b.example> NOTIFY=", ALL, .code = 501, .enhanced = "5.5.4"},
    {"TO:<a@b.example> NOTIFY=NEVER,SUCCESS", ALL, .code = 501, .enhanced = "5.5.4"},
    {"TO:<a@b.example> NOTIFY=SUCCESS,", ALL, .code = 501, .enhanced = "5.5.4"},
    {"TO:<a@b.example> NOTIFY=X", ALL, .code = 501, .enhanced = "5.5.4"},
    {"TO:<a@b.example> ORCPT=a@b.example", ALL, .code = 501, .enhanced = "5.5.4"},
    {"TO:<a@b.example> ORCPT=rfc822;", ALL, .code = 501, .enhanced = "5.5.4"},
    {"TO:<a@b.example> ORCPT=rfc822;a+0D+0AQUIT", ALL, .code = 501, .enhanced = "5.5.4"},
};

static void test_rcpt(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rcpts); i++) {
        struct arena *arena = arena_new(0);
        struct smtp_rcpt rcpt = {0};
        struct smtp_reply reply =
            smtp_rcpt_parse(str_of(rcpts[i].argument), rcpts[i].offered, rcpts[i].smtputf8, arena, &rcpt);
        if (reply.code != rcpts[i].code || !str_eq(reply.enhanced, str_of(rcpts[i].enhanced)))
            fail_msg("'%s': %d %.*s", rcpts[i].argument, reply.code, STR_FMT(reply.enhanced));
        if (reply.code == 0 &&
            (!str_eq(rcpt.forward_path.whole, rcpts[i].rcpt.forward_path.whole) ||
             rcpt.notify != rcpts[i].rcpt.notify || !same(rcpt.orcpt, rcpts[i].rcpt.orcpt)))
            fail_msg("'%s': '%.*s' %.*s", rcpts[i].argument, STR_FMT(rcpt.forward_path.whole),
                     STR_FMT(rcpt.orcpt));
        arena_free(arena);
    }
}

static const struct {
    struct smtp_mail mail;
    unsigned offered;
    const char *line; /* NULL: refused */
} mail_writes[] = {
    {{.reverse_path.whole = STR("")}, 0, "MAIL FROM:<>\r\n"},
    {{.reverse_path.whole = STR("a@b.example"),
      .size = 7,
      .body = SMTP_BODY_8BITMIME,
      .smtputf8 = true,
      .ret = SMTP_RET_HDRS,
      .envid = STR("a+b"),
      .auth = STR("x=y@z.example")},
     ALL,
     "MAIL FROM:<a@b.example> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=x+3Dy@z.example\r\n"},
    {{.reverse_path.whole = STR("a@b.example"), .size = 7, .ret = SMTP_RET_FULL, .envid = STR("x")},
     SMTP_EXTENSION_SIZE,
     "MAIL FROM:<a@b.example> SIZE=7\r\n"},
    {{.reverse_path.whole = STR("\xc3\xa4@b.example"), .smtputf8 = true},
     ALL & ~(unsigned)SMTP_EXTENSION_DSN,
     "MAIL FROM:<\xc3\xa4@b.example> SMTPUTF8\r\n"},
    {{.reverse_path.whole = STR("\xc3\xa4@b.example")}, ALL, NULL},
    {{.reverse_path.whole = STR("\xc3\xa4@b.example"), .smtputf8 = true}, 0, NULL},
    {{.reverse_path.whole = STR("a@b.example>\r\nRCPT TO:<c@d.example")}, ALL, NULL},
    {{.reverse_path.whole = STR("a@b.example> SIZE=0")}, ALL, NULL},
};

static void test_mail_write(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(mail_writes); i++) {
        struct buf out = {0};
        int error = smtp_mail_write(&out, &mail_writes[i].mail, mail_writes[i].offered);
        if (mail_writes[i].line ? error || !str_eq(buf_view(&out), str_of(mail_writes[i].line))
                                : error != SLUICE_EINVALID || out.len)
            fail_msg("case %zu: %d '%.*s'", i, error, STR_FMT(buf_view(&out)));
        buf_free(&out);
    }
}

static const struct {
    struct smtp_rcpt rcpt;
    unsigned offered;
    bool smtputf8;
    const char *line;
} rcpt_writes[] = {
    {{.forward_path.whole = STR("a@b.example"), .notify = SMTP_NOTIFY_NEVER, .orcpt = STR("rfc822;a+b@c")},
     0,
     false,
     "RCPT TO:<a@b.example>\r\n"},
    {{.forward_path.whole = STR("a@b.example"), .notify = SMTP_NOTIFY_NEVER, .orcpt = STR("rfc822;a+b@c")},
     ALL,
     false,
     "RCPT TO:<a@b.example> NOTIFY=NEVER ORCPT=rfc822;a+2Bb@c\r\n"},
    {{.forward_path.whole = STR("Postmaster"), .notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY},
     ALL,
     false,
     "RCPT TO:<Postmaster> NOTIFY=FAILURE,DELAY\r\n"},
    {{.forward_path.whole = STR("a@b.example"), .orcpt = STR("utf-8;\xc3\xa4+\xf0\x9f\x98\x80@c")},
     ALL,
     false,
     "RCPT TO:<a@b.example> ORCPT=utf-8;\\x{E4}\\x{2B}\\x{1F600}@c\r\n"},
    {{.forward_path.whole = STR("\xc3\xa4@b.example")}, ALL, true, "RCPT TO:<\xc3\xa4@b.example>\r\n"},
    {{.forward_path.whole = STR("\xc3\xa4@b.example")}, ALL, false, NULL},
    {{.forward_path.whole = STR("")}, ALL, false, NULL},
    {{.forward_path.whole = STR("a@b.example>\r\nDATA")}, ALL, false, NULL},
};

static void test_rcpt_write(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rcpt_writes); i++) {
        struct buf out = {0};
        int error =
            smtp_rcpt_write(&out, &rcpt_writes[i].rcpt, rcpt_writes[i].offered, rcpt_writes[i].smtputf8);
        if (rcpt_writes[i].line ? error || !str_eq(buf_view(&out), str_of(rcpt_writes[i].line))
                                : error != SLUICE_EINVALID || out.len)
            fail_msg("case %zu: %d '%.*s'", i, error, STR_FMT(buf_view(&out)));
        buf_free(&out);
    }
}

static void test_base64(void **state) {
    (void)state;
    static const struct {
        const char *text, *bytes; /* NULL: malformed */
    } cases[] = {
        {"", ""},
        {"Zg==", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg==", "foob"},
        {"Zg", NULL},
        {"Zg=", NULL},
        {"Z===", NULL},
        {"====", NULL},
        {"Zh==", NULL},
        {"Zm9v!!!!", NULL},
        {"Zm 9v", NULL},
        {"Zm9v\xff\xff\xff\xff", NULL},
        {"Zg==Zg==", NULL},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str bytes;
        bool good = smtp_base64_decode(arena, str_of(cases[i].text), &bytes);
        assert_int_equal(good, cases[i].bytes != NULL);
        if (!good)
            continue;
        assert_true(str_eq(bytes, str_of(cases[i].bytes)));
        struct buf back = {0};
        smtp_base64_encode(&back, bytes);
        assert_true(str_eq(buf_view(&back), str_of(cases[i].text)));
        buf_free(&back);
    }
    arena_free(arena);
}

static void test_extensions(void **state) {
    (void)state;
    assert_int_equal(smtp_extension_of(STR("pipelining")), SMTP_EXTENSION_PIPELINING);
    assert_int_equal(smtp_extension_of(STR("8BITMIME")), SMTP_EXTENSION_8BITMIME);
    assert_int_equal(smtp_extension_of(STR("X")), 0);
    assert_true(str_eq(smtp_extension_name(SMTP_EXTENSION_8BITMIME), STR("8BITMIME")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command),    cmocka_unit_test(test_mail),       cmocka_unit_test(test_rcpt),
        cmocka_unit_test(test_mail_write), cmocka_unit_test(test_rcpt_write), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_extensions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
