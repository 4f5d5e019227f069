#include "base/error.h"
#include "cmd/compose.h"
#include "cmocka_setup.h"

static void test_messages(void **state) {
    static const struct {
        const char *in;
        struct compose_request request;
        const char *words[4];
        const char *sender, *recipients, *out; /* sender NULL: an error that `out` is part of */
    } cases[] = {
        {.in = "From: a@x\nTo: b@y\n\nhi\n",
         .words = {"c@z"},
         .sender = "a@x",
         .recipients = "c@z",
         .out = "From: a@x\r\nTo: b@y\r\n\r\nhi\r\n"},
        {.in =
             "From: A <a@x>\nSender: s@x\nTo: b@y, \"C, D\" <c@z>\nCc: g: d@w;\nBcc: e@v\nSubject: s\n\n.x\n",
         .request = {.from_header = true},
         .sender = "s@x",
         .recipients = "b@y c@z d@w e@v",
         .out = "From: A <a@x>\r\nSender: s@x\r\nTo: b@y, \"C, D\" <c@z>\r\nCc: g: d@w;\r\nSubject: "
                "s\r\n\r\n.x\r\n"},
        {.in = "To: b@y\r\n\r\na\r\n",
         .request = {.from_header = true, .sender = STR("f@x")},
         .words = {"b@y", "root"},
         .sender = "f@x",
         .recipients = "b@y root@host",
         .out = "To: b@y\r\n\r\na\r\n"},
        {.in = "Subject: x\n\nno end",
         .request = {.sender = STR("<>")},
         .words = {"b@y"},
         .sender = "",
         .recipients = "b@y",
         .out = "Subject: x\r\n\r\nno end\r\n"},
        {.in = "Subject: x\n\n1\n.\n2\n",
         .request = {.dot_ends = true},
         .words = {"b@y"},
         .sender = "me@host",
         .recipients = "b@y",
         .out = "Subject: x\r\n\r\n1\r\n"},
        {.in = "Subject: x\n\n1\n.\n2\n",
         .words = {"b@y"},
         .sender = "me@host",
         .recipients = "b@y",
         .out = "Subject: x\r\n\r\n1\r\n.\r\n2\r\n"},
        {.in = "Subject: x\ry\r\r\n\r\r\n10 %\r20 %\r\r\n\r.\r\nend\r",
         .request = {.dot_ends = true},
         .words = {"b@y"},
         .sender = "me@host",
         .recipients = "b@y",
         .out = "Subject: x y\r\n\r\n10 %\r\n20 %\r\n\r\n.\r\nend\r\n"},
        {.in = "no header at all\n",
         .words = {"b@y"},
         .sender = "me@host",
         .recipients = "b@y",
         .out = "\r\nno header at all\r\n"},
        {.in = "From me Sun Nov 22 2026\nSubject: x\n\ny\n",
         .words = {"b@y"},
         .sender = "me@host",
         .recipients = "b@y",
         .out = "Subject: x\r\n\r\ny\r\n"},
        {.in = "Subject: x\n\ny\n",
         .request = {.full_name = STR("Jo \"J\" Doe")},
         .words = {"b@y"},
         .sender = "me@host",
         .recipients = "b@y",
         .out = "From: \"Jo \\\"J\\\" Doe\" <me@host>\r\nSubject: x\r\n\r\ny\r\n"},
        {.in = "Subject: x\n\ny\n",
         .request = {.full_name = STR("J\xc3\xb6")},
         .words = {"b@y"},
         .sender = "me@host",
         .recipients = "b@y",
         .out = "From: =?UTF-8?Q?J=C3=B6?= <me@host>\r\nSubject: x\r\n\r\ny\r\n"},
        {.in = "To: b@y\nResent-To: c@z\nResent-Bcc: d@w\n\ny\n",
         .request = {.from_header = true},
         .sender = "me@host",
         .recipients = "c@z d@w",
         .out = "To: b@y\r\nResent-To: c@z\r\n\r\ny\r\n"},
        {.in = "Subject: x\n\ny\n", .request = {.from_header = true}, .out = "no recipient in To, Cc or Bcc"},
        {.in = "To: @@\n\ny\n", .request = {.from_header = true}, .out = "not an address: @@"},
        {.in = "To: b@y\n\ny\n",
         .request = {.sender = STR("a b@c@d")},
         .words = {"b@y"},
         .out = "not an address"},
        {.in = "", .words = {"b@y"}, .sender = "me@host", .recipients = "b@y", .out = "\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct compose_request request = cases[i].request;
        struct composed out;
        struct str why = STR_NULL, list = STR("");
        request.user = "me";
        request.host = "host";
        request.recipients = cases[i].words;
        while (request.recipient_count < 4 && cases[i].words[request.recipient_count])
            request.recipient_count++;
        int bad = compose(arena, str_of(cases[i].in), &request, &out, &why);
        if (!cases[i].sender) {
            assert_int_not_equal(bad, 0);
            assert_true(str_find(why, str_of(cases[i].out)) >= 0);
        } else {
            if (bad)
                fail_msg("case %zu: %.*s", i, STR_FMT(why));
            for (size_t k = 0; k < out.recipient_count; k++)
                list =
                    str_printf(arena, "%.*s%s%.*s", STR_FMT(list), k ? " " : "", STR_FMT(out.recipients[k]));
            assert_string_equal(str_c(arena, out.sender), cases[i].sender);
            assert_string_equal(str_c(arena, list), cases[i].recipients);
            assert_string_equal(str_c(arena, out.message), cases[i].out);
        }
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
