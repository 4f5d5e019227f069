/* The client against scripted servers: what it says, and what it makes of the answers. */
#include "peer.h"

struct expected {
    enum outcome_fate fate;
    enum outcome_scope scope;
    int code;
    const char *enhanced, *text; /* text: how it starts */
    bool again, uncertain;
};

struct dialogue {
    const char *name, *script;
    const char *to[4];
    const char *from; /* NULL: a@b.example */
    const char *body; /* NULL: "hi\r\n" */
    struct smtp_mail mail;
    struct smtp_rcpt rcpt; /* parameters of each recipient */
    size_t piece;
    int body_error, refuse_mail;
    bool hurry; /* timeouts of 50 ms */
    bool twice; /* the same transaction again when the client is ready */
    int start;  /* what smtp_client_start returns */
    struct expected of_start;
    struct expected of[4];
    enum smtp_client_state state;
};

#define HELLO "< 220 mx.example\n> EHLO c.example\n"
#define PIPE HELLO "< 250-mx.example\n< 250-PIPELINING\n< 250 SIZE 1000\n"
#define PLAIN HELLO "< 250 mx.example\n"
#define ALL                                                                                                  \
    HELLO "< 250-mx.example\n< 250-PIPELINING\n< 250-8BITMIME\n< 250-SMTPUTF8\n< 250-DSN\n< 250 SIZE\n"
#define MAIL "> MAIL FROM:<a@b.example>\n"
#define RCPT "> RCPT TO:<c@d.example>\n"
#define RCPT2 "> RCPT TO:<e@f.example>\n"
#define DATA "> DATA\n"
#define ENVELOPE MAIL RCPT DATA "< 250 2.1.0 ok\n< 250 2.1.5 ok\n"
#define BODY "< 354 go\n> hi\n> .\n"
#define ONE                                                                                                  \
    { "c@d.example" }
#define TWO                                                                                                  \
    { "c@d.example", "e@f.example" }

static const struct dialogue starts[] = {
    {"no such greeting", "!", .start = SLUICE_ECLOSED,
     .of_start = {OUTCOME_LATER, OUTCOME_HOST, 0, "4.4.2",
                  "connection lost while waiting for the reply to the connection"}},
    {"greeting 554", "< 554 5.7.1 go away", .start = SLUICE_EREFUSED,
     .of_start = {OUTCOME_NEVER, OUTCOME_HOST, 554, "5.7.1", "go away"}},
    {"greeting 421", "< 421-busy\n< 421 later", .start = SLUICE_EREFUSED,
     .of_start = {OUTCOME_LATER, OUTCOME_HOST, 421, "", "busy later"}},
    {"greeting 354", "< 354 what", .start = SLUICE_EREFUSED,
     .of_start = {OUTCOME_LATER, OUTCOME_HOST, 354, "4.5.0", "malformed reply to the connection: 354 what"}},
    {"garbage", "< SSH-2.0-OpenSSH", .start = SLUICE_ESYNTAX,
     .of_start = {OUTCOME_LATER, OUTCOME_HOST, 0, "4.5.0", "malformed reply to the connection"}},
    {"silence", "~", .hurry = true, .start = SLUICE_ETIMEOUT,
     .of_start = {OUTCOME_LATER, OUTCOME_HOST, 0, "4.4.2",
                  "timed out waiting for the reply to the connection"}},
    {"closes after EHLO", HELLO "!", .start = SLUICE_ECLOSED,
     .of_start = {OUTCOME_LATER, OUTCOME_HOST, 0, "4.4.2",
                  "connection lost while waiting for the reply to EHLO"}},
    {"EHLO 421", HELLO "< 421 4.3.2 no", .start = SLUICE_EREFUSED,
     .of_start = {OUTCOME_LATER, OUTCOME_HOST, 421, "4.3.2", "no"}},
    {"HELO refused too", HELLO "< 502 what\n> HELO c.example\n< 550 5.7.1 no", .start = SLUICE_EREFUSED,
     .of_start = {OUTCOME_NEVER, OUTCOME_HOST, 550, "5.7.1", "no"}},
};

static const struct dialogue sends[] = {
    {"one, pipelined", PIPE ENVELOPE BODY "< 250 2.0.0 ok; queued as X\n> QUIT\n< 221 bye", .to = ONE,
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "2.0.0", "ok; queued as X"}}},
    {"one, step by step",
     PLAIN MAIL "=\n< 250 ok\n" RCPT "=\n< 250 ok\n" DATA "=\n" BODY "< 250 ok\n> QUIT\n< 221 bye", .to = ONE,
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"}}},
    {"HELO",
     "< 220 x\n> EHLO c.example\n< 500 what\n> HELO c.example\n< 250 x\n" MAIL "< 250 ok\n" RCPT
     "< 250 ok\n" DATA BODY "< 250-a\n< 250 b\n> QUIT\n",
     .to = ONE, .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "a b"}}},
    {"all parameters",
     ALL "> MAIL FROM:<a@b.example> SIZE=4 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb\n"
         "> RCPT TO:<\xc3\xa4@d.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;x@y.example\n" DATA
         "< 250 ok\n< 250 ok\n" BODY "< 250 ok\n> QUIT\n",
     .to = {"\xc3\xa4@d.example"},
     .mail =
         {.size = 4, .body = SMTP_BODY_8BITMIME, .smtputf8 = true, .ret = SMTP_RET_HDRS, .envid = STR("a+b")},
     .rcpt = {.notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY, .orcpt = STR("rfc822;x@y.example")},
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"}}},
    {"no parameters that are not offered",
     PLAIN MAIL "< 250 ok\n" RCPT "< 250 ok\n" DATA BODY "< 250 ok\n> QUIT\n", .to = ONE,
     .mail = {.size = 4, .ret = SMTP_RET_HDRS, .envid = STR("a+b")}, .rcpt = {.notify = SMTP_NOTIFY_NEVER},
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"}}},
    {"body octet by octet, stuffed, without its last CRLF",
     PIPE ENVELOPE "< 354 go\n> ..\n> ...x\n> a.b\n> \n> end\n> .\n< 250 ok\n> QUIT\n", .to = ONE,
     .body = ".\r\n..x\r\na.b\r\n\r\nend", .piece = 1,
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"}}},
    {"two messages, one connection",
     PIPE ENVELOPE BODY "< 250 ok\n" ENVELOPE "< 354 go\n> .\n< 250 ok\n> QUIT\n", .to = ONE, .twice = true,
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"}}},
    {"MAIL refused, pipelined", PIPE MAIL RCPT DATA "< 550 5.7.1 spam\n< 503 x\n< 503 y\n> QUIT\n", .to = ONE,
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 550, "5.7.1", "spam"}}},
    {"MAIL refused, and closed", PIPE MAIL RCPT DATA "< 550 5.7.1 spam\n!", .to = ONE,
     .state = SMTP_CLIENT_CLOSED, .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 550, "5.7.1", "spam"}}},
    {"all refused, and closed", PIPE MAIL RCPT DATA "< 250 ok\n< 550 5.1.1 who\n!", .to = ONE,
     .state = SMTP_CLIENT_CLOSED, .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "5.1.1", "who"}}},
    {"MAIL refused, step by step", PLAIN MAIL "< 451 4.7.1 later\n> QUIT\n", .to = TWO,
     .of = {{OUTCOME_LATER, OUTCOME_MESSAGE, 451, "4.7.1", "later"},
            {OUTCOME_LATER, OUTCOME_MESSAGE, 451, "4.7.1", "later"}}},
    {"MAIL refused, DATA granted", PIPE MAIL RCPT DATA "< 550 no\n< 503 x\n< 354 go\n> .\n< 554 no\n> QUIT\n",
     .to = ONE, .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 550, "", "no"}}},
    {"one of two refused",
     PIPE MAIL RCPT RCPT2 DATA "< 250 ok\n< 550 5.1.1 who\n< 250 ok\n" BODY "< 250 2.0.0 X\n> QUIT\n",
     .to = TWO,
     .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "5.1.1", "who"},
            {OUTCOME_DONE, OUTCOME_MESSAGE, 250, "2.0.0", "X"}}},
    {"all refused",
     PIPE MAIL RCPT RCPT2 DATA "< 250 ok\n< 550 5.1.1 who\n< 450 4.2.0 grey\n< 554 none\n> QUIT\n", .to = TWO,
     .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "5.1.1", "who"},
            {OUTCOME_LATER, OUTCOME_RECIPIENT, 450, "4.2.0", "grey"}}},
    {"all refused, DATA granted: a lone dot",
     PIPE MAIL RCPT DATA "< 250 ok\n< 550 5.1.1 who\n< 354 go\n> .\n< 554 none\n> QUIT\n", .to = ONE,
     .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "5.1.1", "who"}}},
    {"all refused, step by step", PLAIN MAIL "< 250 ok\n" RCPT "< 550 5.1.1 who\n> QUIT\n", .to = ONE,
     .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "5.1.1", "who"}}},
    {"after a refusal RSET first",
     PIPE MAIL RCPT DATA "< 250 ok\n< 550 5.1.1 who\n< 554 none\n> RSET\n" MAIL RCPT DATA
                         "< 250 flushed\n< 250 ok\n< 550 5.1.1 who\n< 554 none\n> QUIT\n",
     .to = ONE, .twice = true, .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "5.1.1", "who"}}},
    {"after a refusal RSET first, step by step",
     PLAIN MAIL "< 250 ok\n" RCPT "< 550 who\n> RSET\n=\n< 250 ok\n" MAIL "< 250 ok\n" RCPT
                "< 550 who\n> QUIT\n",
     .to = ONE, .twice = true, .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "", "who"}}},
    {"too many recipients",
     PIPE MAIL RCPT RCPT2 DATA "< 250 ok\n< 250 ok\n< 452 4.5.3 enough\n" BODY "< 250 ok\n> QUIT\n",
     .to = TWO,
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"},
            {OUTCOME_LATER, OUTCOME_RECIPIENT, 452, "4.5.3", "enough", .again = true}}},
    {"too many recipients, in old words",
     PIPE MAIL RCPT RCPT2 DATA "< 250 ok\n< 250 ok\n< 552 enough\n" BODY "< 250 ok\n> QUIT\n", .to = TWO,
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"},
            {OUTCOME_LATER, OUTCOME_RECIPIENT, 552, "", "enough", .again = true}}},
    {"452 for want of space is no such thing",
     PIPE MAIL RCPT RCPT2 DATA "< 250 ok\n< 250 ok\n< 452 4.3.1 full\n" BODY "< 250 ok\n> QUIT\n", .to = TWO,
     .of = {{OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"},
            {OUTCOME_LATER, OUTCOME_RECIPIENT, 452, "4.3.1", "full"}}},
    {"DATA refused", PIPE ENVELOPE "< 451 4.3.0 busy\n> QUIT\n", .to = ONE,
     .of = {{OUTCOME_LATER, OUTCOME_MESSAGE, 451, "4.3.0", "busy"}}},
    {"DATA answered with 250", PIPE ENVELOPE "< 250 ok\n~", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_HOST, 250, "4.5.0", "malformed reply to DATA: 250 ok"}}},
    {"message refused", PIPE ENVELOPE BODY "< 550-5.7.1 looks like\n< 550 5.7.1 spam\n> QUIT\n", .to = ONE,
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 550, "5.7.1", "looks like spam"}}},
    {"421 to MAIL", PIPE MAIL RCPT RCPT2 DATA "< 421 4.7.0 slow down", .to = TWO, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 421, "4.7.0", "slow down"},
            {OUTCOME_LATER, OUTCOME_SESSION, 421, "4.7.0", "slow down"}}},
    {"421 to a RCPT", PIPE MAIL RCPT RCPT2 DATA "< 250 ok\n< 550 5.1.1 who\n< 421 4.7.0 slow down", .to = TWO,
     .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 550, "5.1.1", "who"},
            {OUTCOME_LATER, OUTCOME_SESSION, 421, "4.7.0", "slow down"}}},
    {"421 to DATA", PIPE ENVELOPE "< 421 4.3.2 bye", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 421, "4.3.2", "bye"}}},
    {"421 to the dot", PIPE ENVELOPE BODY "< 421 4.3.2 bye", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 421, "4.3.2", "bye"}}},
    {"closes after MAIL", PIPE MAIL "!", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 0, "4.4.2",
             "connection lost while waiting for the reply to MAIL"}}},
    {"closes after DATA", PIPE ENVELOPE "!", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 0, "4.4.2",
             "connection lost while waiting for the reply to DATA"}}},
    {"closes after the dot", PIPE ENVELOPE BODY "!", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 0, "4.4.2",
             "connection lost while waiting for the reply to the final dot", .uncertain = true}}},
    {"garbage after the dot", PIPE ENVELOPE BODY "< ok", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_HOST, 0, "4.5.0",
             "malformed reply to the final dot; the delivery is uncertain", .uncertain = true}}},
    {"silence after the dot", PIPE ENVELOPE BODY "~", .to = ONE, .hurry = true, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 0, "4.4.2", "timed out waiting for the reply to the final dot",
             .uncertain = true}}},
    {"silence after MAIL", PIPE MAIL RCPT DATA "~", .to = ONE, .hurry = true, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 0, "4.4.2", "timed out waiting for the reply to MAIL"}}},
    {"garbage to MAIL", PIPE MAIL RCPT DATA "< fine", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_HOST, 0, "4.5.0", "malformed reply to MAIL"}}},
    {"a parting word before MAIL", PIPE "< 421 4.4.2 idle too long", .to = ONE, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 421, "4.4.2", "idle too long"}}},
    {"too big for SIZE", PIPE "> QUIT\n", .to = ONE, .mail = {.size = 1001},
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 552, "5.3.4", "the message is larger"}}},
    {"SMTPUTF8 not offered", PIPE "> QUIT\n", .to = ONE, .mail = {.smtputf8 = true},
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 553, "5.6.7", "the message needs SMTPUTF8"}}},
    {"8BITMIME not offered", PIPE "> QUIT\n", .to = ONE, .mail = {.body = SMTP_BODY_8BITMIME},
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 554, "5.6.3", "the message needs 8BITMIME"}}},
    {"addresses that can't be sent", PIPE MAIL RCPT DATA "< 250 ok\n< 250 ok\n" BODY "< 250 ok\n> QUIT\n",
     .to = {"\xc3\xa4@d.example", "x@y.example>\r\nRCPT TO:<z@y.example", "c@d.example"},
     .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 553, "5.6.7", "the recipient's address needs SMTPUTF8"},
            {OUTCOME_NEVER, OUTCOME_RECIPIENT, 553, "5.1.3", "the recipient's address can't be sent"},
            {OUTCOME_DONE, OUTCOME_MESSAGE, 250, "", "ok"}}},
    {"no address that can be sent", PIPE "> QUIT\n", .to = {"x"},
     .of = {{OUTCOME_NEVER, OUTCOME_RECIPIENT, 553, "5.1.3", "the recipient's address can't be sent"}}},
    {"a sender that can't be sent", PIPE "> QUIT\n", .to = ONE, .from = "a@b>\r\nDATA",
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 553, "5.1.7", "the sender's address can't be sent"}}},
    {"bare LF in the message", PIPE ENVELOPE "< 354 go\n~", .to = ONE, .body = "a\r\nb\nc\r\n.\r\n",
     .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 550, "5.6.11", "the message contains a bare CR"}}},
    {"CR at the end of the message", PIPE ENVELOPE "< 354 go\n~", .to = ONE, .body = "a\r",
     .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_NEVER, OUTCOME_MESSAGE, 550, "5.6.11", "the message contains a bare CR"}}},
    {"the message can't be read", PIPE ENVELOPE "< 354 go\n~", .to = ONE, .body_error = SLUICE_EIO,
     .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_MESSAGE, 0, "4.3.0", "the message could not be read here"}}},
    {"the guard says no", PIPE "~", .to = TWO, .refuse_mail = 1, .state = SMTP_CLIENT_CLOSED,
     .of = {{OUTCOME_LATER, OUTCOME_SESSION, 0, "4.3.5", "this connection may not carry"},
            {OUTCOME_LATER, OUTCOME_SESSION, 0, "4.3.5", "this connection may not carry"}}},
};

static bool same(const struct outcome *o, const struct expected *e) {
    return o->fate == e->fate && o->scope == e->scope && o->code == e->code &&
           str_eq(o->enhanced, str_of(e->enhanced)) && str_starts(o->text, str_of(e->text));
}

static void report(const char *name, const char *what, const struct outcome *o) {
    fprintf(stderr, "%s: %s: fate %d scope %d %d '%.*s' '%.*s'\n", name, what, o->fate, o->scope, o->code,
            STR_FMT(o->enhanced), STR_FMT(o->text));
    rt_run_failed(__FILE__, __LINE__, name);
}

static struct smtp_client_settings settings_of(bool hurry) {
    struct smtp_client_settings s = smtp_client_defaults();
    s.ehlo = STR("c.example");
    if (hurry)
        s.timeouts = (struct smtp_client_timeouts){50, 50, 50, 50, 50, 50, 50, 50, 50, 50};
    return s;
}

static enum smtp_client_state send_once(const struct dialogue *d, struct smtp_client *client,
                                        struct arena *arena, bool last) {
    struct message message = {.rest = d->body ? str_of(d->body) : STR("hi\r\n"),
                              .piece = d->piece,
                              .error = d->body_error,
                              .refuse = d->refuse_mail};
    if (d->twice && last && d->of[0].fate == OUTCOME_DONE)
        message.rest = STR("");
    struct smtp_transaction_recipient recipients[4] = {0};
    struct smtp_transaction t = {.mail = d->mail,
                                 .recipients = recipients,
                                 .arg = &message,
                                 .before_mail = message_before,
                                 .read = message_read};
    t.mail.reverse_path.whole = d->from ? str_of(d->from) : STR("a@b.example");
    for (; t.recipient_count < 4 && d->to[t.recipient_count]; t.recipient_count++) {
        recipients[t.recipient_count].rcpt = d->rcpt;
        recipients[t.recipient_count].rcpt.forward_path.whole = str_of(d->to[t.recipient_count]);
        recipients[t.recipient_count].outcome.code = -1;
    }
    enum smtp_client_state state = smtp_client_send(client, &t, arena);
    for (size_t i = 0; i < t.recipient_count; i++)
        if (!same(&recipients[i].outcome, &d->of[i]) || recipients[i].again != d->of[i].again ||
            recipients[i].uncertain != d->of[i].uncertain)
            report(d->name, d->to[i], &recipients[i].outcome);
    if (state != (last ? d->state : SMTP_CLIENT_READY))
        report(d->name, "state", &recipients[0].outcome);
    return state;
}

static void play(const struct dialogue *d) {
    struct peer peer;
    struct arena *arena = arena_new(0);
    struct smtp_client *client = NULL;
    struct outcome outcome = {.code = -1};
    struct smtp_client_settings settings = settings_of(d->hurry);
    struct stream *stream = peer_start(&peer, d->script);
    int error = smtp_client_start(stream, &settings, arena, &client, &outcome);
    if (error != d->start || (error && !same(&outcome, &d->of_start)))
        report(d->name, "start", &outcome);
    if (!error && d->twice)
        send_once(d, client, arena, false);
    if (!error && send_once(d, client, arena, true) == SMTP_CLIENT_READY)
        smtp_client_quit(client);
    stream_free(stream);
    peer_end(&peer);
    if (peer.failure[0]) {
        fprintf(stderr, "%s: %s\n", d->name, peer.failure);
        rt_run_failed(__FILE__, __LINE__, d->name);
    }
    arena_free(arena);
}

static void play_starts(void *arg) {
    (void)arg;
    for (size_t i = 0; i < COUNT(starts); i++)
        play(&starts[i]);
}

static void play_sends(void *arg) {
    (void)arg;
    for (size_t i = 0; i < COUNT(sends); i++)
        play(&sends[i]);
}

static void capabilities(void *arg) {
    (void)arg;
    struct peer peer;
    struct arena *arena = arena_new(0);
    struct smtp_client *client = NULL;
    struct outcome outcome;
    struct smtp_client_settings settings = settings_of(false);
    struct stream *stream =
        peer_start(&peer, "< 220-mx.example\n< 220 hello\n> EHLO c.example\n< 250-mx.example PIPELINING\n"
                          "< 250-size 12345\n< 250-8BITMIME \n< 250-AUTH=LOGIN\n< 250-X-ODD 1\n"
                          "< 250 ENHANCEDSTATUSCODES\n> RSET\n< 250 ok\n> RSET\n< 451 no");
    CHECK(smtp_client_start(stream, &settings, arena, &client, &outcome) == 0);
    const struct smtp_capabilities *c = smtp_client_capabilities(client);
    CHECK(c->extensions ==
          (SMTP_EXTENSION_SIZE | SMTP_EXTENSION_8BITMIME | SMTP_EXTENSION_ENHANCEDSTATUSCODES));
    CHECK(c->size == 12345);
    CHECK(c->esmtp && !c->tls_version);
    CHECK(str_eq(c->greeting, STR("mx.example hello")));
    CHECK(smtp_client_reset(client) == SMTP_CLIENT_READY);
    CHECK(smtp_client_reset(client) == SMTP_CLIENT_CLOSED);
    stream_free(stream);
    peer_end(&peer);
    CHECK(peer.failure[0] == 0);
    arena_free(arena);
}

RT_RUN_TEST(play_starts)
RT_RUN_TEST(play_sends)
RT_RUN_TEST(capabilities)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_play_starts),
        cmocka_unit_test(run_play_sends),
        cmocka_unit_test(run_capabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
