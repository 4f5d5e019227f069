#include "recorder.h"
#include "cmocka_setup.h"

static void note(struct recorder *r, const char *word, struct str what) {
    buf_printf(&r->calls, "%s%s%.*s\n", word, what.len ? " " : "", STR_FMT(what));
}

static struct smtp_reply on_connect(void *arg, const struct smtp_session *s) {
    struct recorder *r = arg;
    r->connected++;
    assert_int_equal(s->helo.len, 0);
    if (r->refuse_connect)
        return SMTP_REPLY(554, "5.7.1", "No");
    return (struct smtp_reply){0};
}

static struct smtp_reply on_helo(void *arg, const struct smtp_session *s) {
    note(arg, "helo", s->helo);
    return str_eq(s->helo, STR("bad.example")) ? SMTP_REPLY(550, "5.7.1", "Not you") : (struct smtp_reply){0};
}

static enum smtp_auth_result on_auth(void *arg, const struct smtp_session *s, struct str *user,
                                     struct str password) {
    note(arg, "auth", *user);
    if (str_eq(*user, STR("t")))
        return SMTP_AUTH_TEMPORARY;
    if (!str_eq(*user, STR("u")) || !str_eq(password, STR("p")))
        return SMTP_AUTH_FAILED;
    *user = str_printf(s->arena, "%.*s@example.org", STR_FMT(*user));
    return SMTP_AUTH_OK;
}

static struct smtp_reply by_name(struct str local) {
    if (str_eq(local, STR("nobody")))
        return SMTP_REPLY(550, "5.1.1", "No such user");
    if (str_eq(local, STR("later")))
        return SMTP_REPLY(451, "4.3.0", "Later");
    if (str_eq(local, STR("close")))
        return SMTP_REPLY(421, "4.3.2", "Closing");
    return (struct smtp_reply){0};
}

static struct smtp_reply on_mail(void *arg, const struct smtp_session *s, const struct smtp_mail *mail) {
    struct recorder *r = arg;
    assert_int_equal(r->open, 0);
    assert_non_null(s->transaction);
    note(r, "mail", mail->reverse_path.whole);
    const struct smtp_xforward *x = &s->xforward;
    char ip[IP_TEXT_SIZE];
    if (x->given)
        buf_printf(&r->calls, "for %.*s %s %u %.*s %.*s %.*s %.*s\n", STR_FMT(x->name), ip_text(&x->addr, ip),
                   x->port, STR_FMT(x->proto), STR_FMT(x->helo), STR_FMT(x->ident), STR_FMT(x->source));
    struct smtp_reply reply = by_name(mail->reverse_path.local);
    r->open += reply.code == 0;
    return reply;
}

static struct smtp_reply on_rcpt(void *arg, const struct smtp_session *s, const struct smtp_rcpt *rcpt) {
    struct recorder *r = arg;
    (void)s;
    assert_int_equal(r->open, 1);
    note(r, "rcpt", rcpt->forward_path.whole);
    return by_name(rcpt->forward_path.local);
}

static struct smtp_reply on_data_begin(void *arg, const struct smtp_session *s) {
    struct recorder *r = arg;
    assert_int_equal(r->open, 1);
    assert_true(s->recipients > 0);
    return str_eq(s->mail.reverse_path.local, STR("nodata")) ? SMTP_REPLY(451, "4.3.0", "Not now")
                                                             : (struct smtp_reply){0};
}

static int on_data_bytes(void *arg, const struct smtp_session *s, struct str bytes) {
    struct recorder *r = arg;
    assert_int_equal(r->open, 1);
    assert_true(bytes.len > 0);
    buf_str(&r->body, bytes);
    return str_eq(s->mail.reverse_path.local, STR("full")) ? SLUICE_EFULL : 0;
}

static struct smtp_reply on_data_end(void *arg, const struct smtp_session *s, uint64_t size) {
    struct recorder *r = arg;
    assert_int_equal(r->open, 1);
    r->open--;
    buf_printf(&r->calls, "message %zu of %u to %u by %s\n", (size_t)size, s->accepted + 1, s->recipients,
               smtp_session_protocol(s));
    if (str_eq(s->mail.reverse_path.local, STR("zero")))
        return (struct smtp_reply){0};
    if (str_eq(s->mail.reverse_path.local, STR("full")))
        return SMTP_REPLY(452, "4.3.1", "Full");
    return SMTP_REPLY(250, "2.0.0", "Accepted X");
}

static void on_reset(void *arg, const struct smtp_session *s) {
    struct recorder *r = arg;
    (void)s;
    assert_int_equal(r->open, 1);
    r->open--;
    note(r, "reset", STR(""));
}

static void on_refused(void *arg, const struct smtp_session *s, const struct smtp_reply *reply,
                       struct str command) {
    (void)s;
    assert_true(reply->code >= 400);
    buf_printf(&((struct recorder *)arg)->calls, "refused %d %.*s\n", reply->code, STR_FMT(command));
}

static void on_closed(void *arg, const struct smtp_session *s, int error) {
    struct recorder *r = arg;
    (void)s;
    assert_int_equal(r->open, 0);
    r->connected--;
    r->error = error;
}

static bool on_stopping(void *arg) {
    struct recorder *r = arg;
    r->asked++;
    return r->stop_at && r->asked >= r->stop_at;
}

const struct smtp_server_hooks recorder_hooks = {
    .connect = on_connect,
    .helo = on_helo,
    .auth = on_auth,
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data_begin = on_data_begin,
    .data_bytes = on_data_bytes,
    .data_end = on_data_end,
    .reset = on_reset,
    .refused = on_refused,
    .closed = on_closed,
    .stopping = on_stopping,
};

void recorder_free(struct recorder *r) {
    buf_free(&r->calls);
    buf_free(&r->body);
}
