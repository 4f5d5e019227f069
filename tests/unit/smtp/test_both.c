/* Our client against our server: TLS, big bodies, many recipients, connections that break at every octet,
 * slow clients, shutdown. */
#include "base/clock.h"
#include "peer.h"
#include "recorder.h"
#include "tls_files.h"
#include <sys/socket.h>

static struct tls_files files;
static struct tls_context *server_tls, *client_tls;

struct serving {
    struct stream *stream;
    struct smtp_server_settings settings;
    struct recorder recorder;
    bool ended;
    struct waiters done;
};

static void serve(void *arg) {
    struct serving *s = arg;
    smtp_serve(s->stream, &s->settings, &recorder_hooks, &s->recorder);
    s->ended = true;
    waiters_wake_all(&s->done);
}

static struct stream *serving_start(struct serving *s, enum smtp_server_tls tls) {
    struct stream *client;
    *s = (struct serving){.settings = smtp_server_defaults()};
    s->settings.hostname = STR("mx.example");
    s->settings.tls = tls;
    s->settings.tls_context = server_tls;
    stream_pair(&client, &s->stream);
    if (fiber_start(serve, s) != 0)
        rt_run_failed(__FILE__, __LINE__, "fiber_start");
    return client;
}

static void serving_end(struct serving *s) {
    while (!s->ended)
        if (waiters_wait(&s->done, clock_mono_ms() + 20000) != 0) {
            rt_run_failed(__FILE__, __LINE__, "the server hangs");
            return;
        }
}

static struct smtp_client_settings client_settings(bool tls) {
    struct smtp_client_settings s = smtp_client_defaults();
    s.ehlo = STR("c.example");
    s.tls = tls ? SMTP_CLIENT_TLS_OPPORTUNISTIC : SMTP_CLIENT_TLS_NONE;
    s.tls_context = client_tls;
    s.server_name = STR("mx.example");
    return s;
}

static enum smtp_client_state send_body(struct smtp_client *client, struct str body, size_t piece,
                                        size_t count, struct arena *arena,
                                        struct smtp_transaction_recipient **ret) {
    struct message message = {.rest = body, .piece = piece};
    *ret = arena_array(arena, struct smtp_transaction_recipient, count);
    for (size_t i = 0; i < count; i++) {
        struct str local = i % 7 == 3 ? STR("nobody") : STR("c");
        (*ret)[i].rcpt.forward_path.whole = str_printf(arena, "%.*s@d%zu.example", STR_FMT(local), i);
        (*ret)[i].rcpt.orcpt = str_printf(arena, "rfc822;%0200d@x.example", 0);
    }
    struct smtp_transaction t = {.mail = {.reverse_path.whole = STR("a@b.example"), .size = body.len},
                                 .recipients = *ret,
                                 .recipient_count = count,
                                 .arg = &message,
                                 .before_mail = message_before,
                                 .read = message_read};
    return smtp_client_send(client, &t, arena);
}

static struct str body_make(struct arena *arena, size_t lines) {
    struct buf b = {0};
    for (size_t i = 0; i < lines; i++) {
        for (size_t k = 0; k < i % 50; k++)
            buf_str(&b, k % 3 ? STR("ab\xff") : STR(". "));
        buf_str(&b, i % 11 ? STR("\r\n") : STR(".\r\n.\r\n..\r\n"));
    }
    struct str copy = str_copy(arena, buf_view(&b));
    buf_free(&b);
    return copy;
}

static void converse(enum smtp_server_tls tls, bool over_tls) {
    struct serving s;
    struct arena *arena = arena_new(0);
    struct stream *stream = serving_start(&s, tls);
    struct smtp_client *client = NULL;
    struct outcome outcome;
    struct smtp_client_settings settings = client_settings(over_tls);
    CHECK(smtp_client_start(stream, &settings, arena, &client, &outcome) == 0);
    CHECK(outcome.fate == OUTCOME_DONE);
    const char *version = smtp_client_capabilities(client)->tls_version;
    CHECK(over_tls ? version && strcmp(version, "TLSv1.3") == 0 : !version);
    static const size_t pieces[] = {0, 1, 100, 65536};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct smtp_transaction_recipient *r;
        struct str body = body_make(arena, pieces[i] == 1 ? 100 : 6000);
        buf_clear(&s.recorder.body);
        CHECK(send_body(client, body, pieces[i], 1, arena, &r) == SMTP_CLIENT_READY);
        CHECK(r[0].outcome.fate == OUTCOME_DONE && str_eq(r[0].outcome.text, STR("Accepted X")));
        CHECK(str_eq(buf_view(&s.recorder.body), body));
    }
    smtp_client_quit(client);
    stream_free(stream);
    serving_end(&s);
    CHECK(s.recorder.error == 0);
    const char *protocol = over_tls ? "by ESMTPS\n" : "by ESMTP\n";
    CHECK(str_ends(buf_view(&s.recorder.calls), str_of(protocol)));
    recorder_free(&s.recorder);
    arena_free(arena);
}

static void in_clear(void *arg) {
    (void)arg;
    converse(SMTP_TLS_NONE, false);
}

static void over_tls(void *arg) {
    (void)arg;
    converse(SMTP_TLS_REQUIRED, true);
}

/* More recipients than any buffer holds: both sides go on, and each gets its own answer. */
static void many_recipients(void *arg) {
    (void)arg;
    struct serving s;
    struct arena *arena = arena_new(0);
    struct stream *stream = serving_start(&s, SMTP_TLS_NONE);
    s.settings.max_recipients = 1500;
    s.settings.max_errors = 0;
    struct smtp_client *client = NULL;
    struct outcome outcome;
    struct smtp_client_settings settings = client_settings(false);
    CHECK(smtp_client_start(stream, &settings, arena, &client, &outcome) == 0);
    struct smtp_transaction_recipient *r;
    CHECK(send_body(client, STR("x\r\n"), 0, 2000, arena, &r) == SMTP_CLIENT_READY);
    size_t done = 0, unknown = 0, again = 0;
    for (size_t i = 0; i < 2000; i++) {
        done += r[i].outcome.fate == OUTCOME_DONE;
        unknown += r[i].outcome.fate == OUTCOME_NEVER;
        again += r[i].again;
        CHECK(r[i].outcome.fate != OUTCOME_NEVER || i % 7 == 3);
    }
    CHECK(done == 1500 && done + unknown + again == 2000 && again > 0);
    smtp_client_quit(client);
    stream_free(stream);
    serving_end(&s);
    recorder_free(&s.recorder);
    arena_free(arena);
}

/* One connection that breaks; the server's and the client's view of it must agree. */
static void break_at(size_t reads, size_t writes, int error) {
    struct serving s;
    struct arena *arena = arena_new(0);
    struct stream *stream = stream_faulty(serving_start(&s, SMTP_TLS_NONE), reads, writes, 0, error);
    struct smtp_client *client = NULL;
    struct outcome outcome = {.code = -1};
    struct smtp_client_settings settings = client_settings(false);
    struct smtp_transaction_recipient *r = NULL;
    settings.timeouts.quit = 50;
    int started = smtp_client_start(stream, &settings, arena, &client, &outcome);
    CHECK(outcome.code >= 0 && (started == 0) == (outcome.fate == OUTCOME_DONE));
    if (!started) {
        enum smtp_client_state state = send_body(client, STR(".a\r\nb\r\n"), 3, 4, arena, &r);
        if (state == SMTP_CLIENT_READY)
            smtp_client_quit(client);
        for (size_t i = 0; i < 4; i++)
            CHECK(r[i].outcome.text.len > 0);
    } else {
        CHECK(outcome.fate == OUTCOME_LATER && outcome.text.len);
    }
    stream_free(stream);
    serving_end(&s);
    bool taken = str_find(buf_view(&s.recorder.calls), STR("message")) >= 0;
    CHECK(!taken || (r && (r[0].outcome.fate == OUTCOME_DONE || r[0].uncertain)));
    CHECK(taken || !r || r[0].outcome.fate == OUTCOME_LATER);
    CHECK(s.recorder.open == 0 && s.recorder.connected == 0);
    recorder_free(&s.recorder);
    arena_free(arena);
}

static void broken_anywhere(void *arg) {
    (void)arg;
    static const int errors[] = {SLUICE_ECLOSED, SLUICE_ETIMEOUT, SLUICE_EIO};
    for (size_t at = 0; at < 420; at++)
        break_at(at, SIZE_MAX, errors[at % COUNT(errors)]);
    for (size_t at = 0; at < 1100; at += at < 100 || at > 1000 ? 1 : 7)
        break_at(SIZE_MAX, at, errors[at % COUNT(errors)]);
}

/* What a raw client sends and hears. */
static int tell(struct stream *s, struct str text) {
    int64_t deadline = clock_mono_ms() + 10000;
    int error = stream_write(s, text, deadline);
    return error ? error : stream_flush(s, deadline);
}

static bool hear(struct stream *s, struct str end) {
    while (!str_ends(stream_input(s), end))
        if (stream_fill(s, clock_mono_ms() + 10000) != 0)
            return false;
    stream_consume(s, stream_input(s).len);
    return true;
}

/* CVE-2011-0411: commands sent with STARTTLS are never carried out, neither before nor after the handshake.
 */
static void injection(void *arg) {
    (void)arg;
    struct serving s;
    struct stream *stream = serving_start(&s, SMTP_TLS_OPTIONAL);
    CHECK(hear(stream, STR("ESMTP\r\n")));
    CHECK(tell(stream, STR("EHLO c.example\r\nSTARTTLS\r\nMAIL FROM:<x@y.example>\r\n")) == 0);
    CHECK(hear(stream, STR("554 5.5.1 Nothing may follow STARTTLS before the handshake\r\n")));
    CHECK(stream_fill(stream, clock_mono_ms() + 10000) == SLUICE_ECLOSED);
    stream_free(stream);
    serving_end(&s);
    CHECK(str_find(buf_view(&s.recorder.calls), STR("mail")) < 0);
    recorder_free(&s.recorder);
}

/* STARTTLS forgets what was said in clear. */
static void tls_forgets(void *arg) {
    (void)arg;
    struct serving s;
    struct arena *arena = arena_new(0);
    struct stream *stream = serving_start(&s, SMTP_TLS_OPTIONAL);
    s.settings.auth = SMTP_AUTH_OPTIONAL;
    CHECK(hear(stream, STR("ESMTP\r\n")));
    CHECK(tell(stream,
               STR("EHLO c.example\r\nAUTH PLAIN AHUAcA==\r\nMAIL FROM:<x@y.example>\r\nSTARTTLS\r\n")) == 0);
    CHECK(hear(stream, STR("220 2.0.0 Ready to start TLS\r\n")));
    CHECK(stream_start_tls(stream, client_tls, STR_NULL, clock_mono_ms() + 10000, arena, NULL) == 0);
    CHECK(tell(stream, STR("RCPT TO:<a@b.example>\r\nMAIL FROM:<>\r\nSTARTTLS\r\nEHLO d.example\r\n")) == 0);
    CHECK(hear(stream, STR("SMTPUTF8\r\n")));
    CHECK(tell(stream, STR("MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n")) == 0 &&
          hear(stream, STR(".<CR><LF>\r\n")));
    CHECK(tell(stream, STR(".\r\nQUIT\r\n")) == 0 && hear(stream, STR("Bye\r\n")));
    stream_free(stream);
    serving_end(&s);
    CHECK(str_ends(buf_view(&s.recorder.calls),
                   STR("mail x@y.example\nreset\nrefused 503 RCPT\nrefused 503 MAIL\nrefused 503 STARTTLS\n"
                       "helo d.example\nmail\nrcpt a@b.example\nmessage 0 of 1 to 1 by ESMTPS\n")));
    recorder_free(&s.recorder);
    arena_free(arena);
}

static void implicit_tls(void *arg) {
    (void)arg;
    struct serving s;
    struct arena *arena = arena_new(0);
    struct stream *stream = serving_start(&s, SMTP_TLS_IMPLICIT);
    CHECK(stream_start_tls(stream, client_tls, STR_NULL, clock_mono_ms() + 10000, arena, NULL) == 0);
    CHECK(hear(stream, STR("ESMTP\r\n")));
    CHECK(tell(stream, STR("EHLO c.example\r\nSTARTTLS\r\n")) == 0);
    CHECK(hear(stream, STR("503 5.5.1 TLS is already active\r\n")));
    stream_free(stream);
    serving_end(&s);
    CHECK(s.recorder.error == SLUICE_ECLOSED);
    recorder_free(&s.recorder);
    stream = serving_start(&s, SMTP_TLS_IMPLICIT);
    CHECK(tell(stream, STR("EHLO in.clear.example\r\n")) == 0);
    stream_free(stream);
    serving_end(&s);
    CHECK(s.recorder.error != 0 && s.recorder.connected == -1); /* closed, though connect was never asked */
    recorder_free(&s.recorder);
    arena_free(arena);
}

/* Handshakes that fail are told apart from all other failures, so that a new connection can go in clear. */
static void tls_failures(void *arg) {
    (void)arg;
    static const struct {
        const char *script;
        int error;
        bool in_clear; /* the client goes on without TLS */
    } cases[] = {
        {"< 220 x\n> EHLO c.example\n< 250-x\n< 250 STARTTLS\n> STARTTLS\n< 220 go\n=\n< 250 no handshake",
         SLUICE_ETLS},
        {"< 220 x\n> EHLO c.example\n< 250-x\n< 250 STARTTLS\n> STARTTLS\n< 220 go\n< 250 too early\n~",
         SLUICE_ETLS},
        {"< 220 x\n> EHLO c.example\n< 250-x\n< 250 STARTTLS\n> STARTTLS\n< 220 go", SLUICE_ETLS},
        {"< 220 x\n> EHLO c.example\n< 250-x\n< 250 STARTTLS\n> STARTTLS\n< 421 bye", SLUICE_EREFUSED},
        {"< 220 x\n> EHLO c.example\n< 250-x\n< 250 STARTTLS\n> STARTTLS\n< 454 no\n> QUIT\n", 0, true},
        {"< 220 x\n> EHLO c.example\n< 250-x\n< 250 STARTTLS\n> STARTTLS\n", SLUICE_ECLOSED},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct peer peer;
        struct arena *arena = arena_new(0);
        struct smtp_client *client = NULL;
        struct outcome outcome = {0};
        struct smtp_client_settings settings = client_settings(true);
        struct stream *stream = peer_start(&peer, cases[i].script);
        int error = smtp_client_start(stream, &settings, arena, &client, &outcome);
        if (error != cases[i].error ||
            (error && (outcome.fate != OUTCOME_LATER || outcome.scope != OUTCOME_HOST)))
            fprintf(stderr, "case %zu: %d '%.*s'\n", i, error, STR_FMT(outcome.text));
        CHECK(error == cases[i].error);
        if (client && cases[i].in_clear) {
            CHECK(!smtp_client_capabilities(client)->tls_version);
            smtp_client_quit(client);
        }
        stream_free(stream);
        peer_end(&peer);
        arena_free(arena);
    }
}

/* A client that is silent, or trickles, is timed out, in a command and in the data. */
static void slow_clients(void *arg) {
    (void)arg;
    static const struct {
        const char *say, *then; /* `then` is said octet by octet, one each 10 ms */
    } cases[] = {
        {"", ""},
        {"EHLO c.example\r\n", "NOOP                                                                       "},
        {"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n", ""},
        {"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
         "a message that comes octet by octet and would never end at all...\r\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct serving s;
        struct stream *stream = serving_start(&s, SMTP_TLS_NONE);
        s.settings.command_ms = 200;
        s.settings.data_ms = 200;
        s.settings.data_rate = 1000;
        s.settings.data_rate_ms = 200;
        CHECK(hear(stream, STR("ESMTP\r\n")));
        CHECK(tell(stream, str_of(cases[i].say)) == 0);
        for (const char *c = cases[i].then; *c && !s.ended; c++) {
            if (tell(stream, str_from(c, 1)) != 0)
                break;
            fiber_sleep(10);
        }
        CHECK(hear(stream, STR("421 4.4.2 Timeout, closing the connection\r\n")));
        stream_free(stream);
        serving_end(&s);
        CHECK(s.recorder.error == SLUICE_ETIMEOUT);
        recorder_free(&s.recorder);
    }
}

static struct smtp_server_hooks waking_hooks;
static const struct smtp_session *waking_session;

static struct smtp_reply keep_session(void *arg, const struct smtp_session *session) {
    waking_session = session;
    return recorder_hooks.connect(arg, session);
}

static void serve_waking(void *arg) {
    struct serving *s = arg;
    smtp_serve(s->stream, &s->settings, &waking_hooks, &s->recorder);
    s->ended = true;
    waiters_wake_all(&s->done);
}

/* An idle session is told of the shutdown at once; one in the middle of a message is left to finish it. */
static void shutdown_wakes(void *arg) {
    (void)arg;
    for (int in_data = 0; in_data < 2; in_data++) {
        struct serving s = {.settings = smtp_server_defaults()};
        int fds[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        struct stream *stream = stream_of_fd(fds[0]);
        s.stream = stream_of_fd(fds[1]);
        waking_hooks = recorder_hooks;
        waking_hooks.connect = keep_session;
        CHECK(fiber_start(serve_waking, &s) == 0);
        CHECK(hear(stream, STR("ESMTP\r\n")));
        if (in_data) {
            CHECK(tell(stream, STR("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")) ==
                  0);
            CHECK(hear(stream, STR(".<CR><LF>\r\n")));
        }
        s.recorder.stop_at = 1;
        CHECK(waking_session->idle == !in_data);
        smtp_session_wake(waking_session);
        if (in_data)
            CHECK(tell(stream, STR("x\r\n.\r\n")) == 0);
        CHECK(hear(stream, in_data
                               ? STR("250 2.0.0 Accepted X\r\n421 4.3.2 Shutting down, try again later\r\n")
                               : STR("421 4.3.2 Shutting down, try again later\r\n")));
        serving_end(&s);
        stream_free(stream);
        recorder_free(&s.recorder);
    }
}

RT_RUN_TEST(in_clear)
RT_RUN_TEST(over_tls)
RT_RUN_TEST(many_recipients)
RT_RUN_TEST(broken_anywhere)
RT_RUN_TEST(injection)
RT_RUN_TEST(tls_forgets)
RT_RUN_TEST(implicit_tls)
RT_RUN_TEST(tls_failures)
RT_RUN_TEST(slow_clients)
RT_RUN_TEST(shutdown_wakes)

static int set_up(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct str why;
    tls_files_make(&files);
    assert_int_equal(tls_server_context(files.certificate, files.key, arena, &why, &server_tls), 0);
    assert_int_equal(tls_client_context(&client_tls), 0);
    arena_free(arena);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tls_context_free(server_tls);
    tls_context_free(client_tls);
    tls_files_remove(&files);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_in_clear),        cmocka_unit_test(run_over_tls),
        cmocka_unit_test(run_many_recipients), cmocka_unit_test(run_broken_anywhere),
        cmocka_unit_test(run_injection),       cmocka_unit_test(run_tls_forgets),
        cmocka_unit_test(run_implicit_tls),    cmocka_unit_test(run_tls_failures),
        cmocka_unit_test(run_slow_clients),    cmocka_unit_test(run_shutdown_wakes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
