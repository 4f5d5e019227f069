/* server_command.c - the verbs of a session except AUTH and DATA. */
#include "smtp/server_state.h"
#include <inttypes.h>

static const struct smtp_reply ok = {250, {"2.0.0", 5}, {"Ok", 2}};

/* What the hook said, or the usual answer. */
static struct smtp_reply or_usual(struct smtp_reply reply, struct smtp_reply usual) {
    return reply.code ? reply : usual;
}

/* A host name or literal as clients really send it: anything that can stand in a Received line. */
static bool helo_valid(struct str name) {
    if (name.len == 0 || name.len > HELO_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] <= ' ' || name.at[i] >= 0x7f || strchr("()<>@,;\"\\", name.at[i]))
            return false;
    return true;
}

static void size_argument(const struct server *s, struct buf *out) {
    if (s->settings->max_size)
        buf_printf(out, " %" PRIu64, s->settings->max_size);
}

static void auth_argument(const struct server *s, struct buf *out) {
    (void)s;
    buf_str(out, STR(" PLAIN LOGIN"));
}

static void xforward_argument(const struct server *s, struct buf *out) {
    (void)s;
    smtp_xforward_attributes(out);
}

/* In the order in which EHLO lists them. */
static const struct {
    enum smtp_extension bit;
    void (*argument)(const struct server *, struct buf *);
} keywords[] = {
    {SMTP_EXTENSION_PIPELINING, NULL},
    {SMTP_EXTENSION_SIZE, size_argument},
    {SMTP_EXTENSION_STARTTLS, NULL},
    {SMTP_EXTENSION_AUTH, auth_argument},
    {SMTP_EXTENSION_ENHANCEDSTATUSCODES, NULL},
    {SMTP_EXTENSION_8BITMIME, NULL},
    {SMTP_EXTENSION_DSN, NULL},
    {SMTP_EXTENSION_SMTPUTF8, NULL},
    {SMTP_EXTENSION_XFORWARD, xforward_argument},
};

static void hello(struct server *s, struct str name, bool esmtp) {
    server_reset(s);
    s->session.helo = STR_NULL;
    if (!helo_valid(name)) {
        server_refuse(s,
                      esmtp ? &SMTP_REPLY(501, "5.5.4", "Syntax: EHLO host")
                            : &SMTP_REPLY(501, "5.5.4", "Syntax: HELO host"),
                      esmtp ? STR("EHLO") : STR("HELO"));
        return;
    }
    memcpy(s->helo, name.at, name.len);
    s->session.helo = str_from(s->helo, name.len);
    s->session.esmtp = esmtp;
    struct smtp_reply reply = {0};
    if (s->hooks->helo)
        reply = s->hooks->helo(s->arg, &s->session);
    if (reply.code >= 400)
        s->session.helo = STR_NULL;
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    buf_str(&text, s->settings->hostname);
    unsigned offered = esmtp ? server_offered(s) : 0;
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (offered & keywords[i].bit) {
            buf_char(&text, '\n');
            buf_str(&text, smtp_extension_name(keywords[i].bit));
            if (keywords[i].argument)
                keywords[i].argument(s, &text);
        }
    reply = or_usual(reply, (struct smtp_reply){250, STR_NULL, buf_view(&text)});
    server_reply(s, &reply);
}

void server_ehlo(struct server *s, struct str argument) { hello(s, argument, true); }
void server_helo(struct server *s, struct str argument) { hello(s, argument, false); }

void server_starttls(struct server *s, struct str argument) {
    (void)argument;
    if (s->session.tls_version) {
        server_refuse(s, &SMTP_REPLY(503, "5.5.1", "TLS is already active"), STR("STARTTLS"));
        return;
    }
    if (!(server_offered(s) & SMTP_EXTENSION_STARTTLS)) {
        server_refuse(s, &SMTP_REPLY(502, "5.5.1", "STARTTLS is not offered here"), STR("STARTTLS"));
        return;
    }
    /* Bytes behind STARTTLS may have been injected by somebody in the middle (RFC 3207 6, CVE-2011-0411). */
    if (stream_input(s->stream).len) {
        server_close(s, &SMTP_REPLY(554, "5.5.1", "Nothing may follow STARTTLS before the handshake"),
                     STR("STARTTLS"));
        return;
    }
    server_reset(s);
    s->session.helo = s->session.user = STR_NULL;
    s->session.esmtp = false;
    server_reply(s, &SMTP_REPLY(220, "2.0.0", "Ready to start TLS"));
    server_flush(s);
    if (s->error)
        return;
    int error = stream_start_tls(s->stream, s->settings->tls_context, STR_NULL,
                                 clock_mono_ms() + s->settings->tls_ms, s->session.arena, NULL);
    if (error) {
        s->over = true;
        s->error = error;
        return;
    }
    s->session.tls_version = stream_tls_version(s->stream);
    s->session.tls_cipher = stream_tls_cipher(s->stream);
}

void server_mail(struct server *s, struct str argument) {
    struct smtp_session *session = &s->session;
    unsigned offered = session->esmtp ? s->settings->offers | SMTP_EXTENSION_AUTH : 0;
    struct smtp_reply reply = smtp_mail_parse(str_copy(session->transaction, argument), offered,
                                              session->transaction, &session->mail);
    if (reply.code == 0 && s->settings->max_size && session->mail.size > s->settings->max_size)
        reply = SMTP_REPLY(552, "5.3.4", "The message is larger than this server accepts");
    if (reply.code) {
        server_refuse(s, &reply, STR("MAIL"));
        server_transaction_done(s);
        return;
    }
    if (s->hooks->mail)
        reply = s->hooks->mail(s->arg, session, &session->mail);
    reply = or_usual(reply, SMTP_REPLY(250, "2.1.0", "Ok"));
    server_reply(s, &reply);
    s->open = smtp_reply_positive(&reply);
    if (!s->open)
        server_transaction_done(s);
}

void server_rcpt(struct server *s, struct str argument) {
    struct smtp_session *session = &s->session;
    unsigned offered = session->esmtp ? s->settings->offers : 0;
    struct smtp_rcpt rcpt;
    struct smtp_reply reply = {0};
    if (s->settings->max_recipients && session->recipients >= s->settings->max_recipients) {
        reply = SMTP_REPLY(452, "4.5.3", "Too many recipients");
        s->commands -= s->excess++ < EXCESS_MAX; /* a pipelining client says them all before it knows */
    }
    if (reply.code == 0)
        reply = smtp_rcpt_parse(str_copy(session->transaction, argument), offered, session->mail.smtputf8,
                                session->transaction, &rcpt);
    if (reply.code) {
        server_refuse(s, &reply, STR("RCPT"));
        return;
    }
    if (s->hooks->rcpt)
        reply = s->hooks->rcpt(s->arg, session, &rcpt);
    reply = or_usual(reply, SMTP_REPLY(250, "2.1.5", "Ok"));
    if (smtp_reply_positive(&reply)) {
        session->recipients++;
        s->commands--;
    }
    server_reply(s, &reply);
}

void server_rset(struct server *s, struct str argument) {
    (void)argument;
    server_reset(s);
    server_reply(s, &ok);
}

void server_noop(struct server *s, struct str argument) {
    (void)argument;
    server_reply(s, &ok);
}

void server_vrfy(struct server *s, struct str argument) {
    if (argument.len == 0)
        server_refuse(s, &SMTP_REPLY(501, "5.5.4", "Syntax: VRFY address"), STR("VRFY"));
    else
        server_reply(s, &SMTP_REPLY(252, "2.0.0", "Cannot verify, but will take mail and try to deliver it"));
}

void server_help(struct server *s, struct str argument) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    for (int i = 0; i < SMTP_VERB_COUNT; i++) {
        const struct smtp_verb_entry *verb = &smtp_verbs[i];
        if (verb->flags & SMTP_NOT_IMPLEMENTED || (i == SMTP_XFORWARD && !server_takes_xforward(s)) ||
            (argument.len && !str_eq_nocase(argument, verb->name)))
            continue;
        buf_str(&text, text.len ? STR(" ") : argument.len ? STR("Syntax: ") : STR("Commands: "));
        buf_str(&text, argument.len ? verb->syntax : verb->name);
    }
    if (text.len == 0)
        server_refuse(s, &SMTP_REPLY(504, "5.5.4", "No help on that"), STR("HELP"));
    else
        server_reply(s, &(struct smtp_reply){214, STR("2.0.0"), buf_view(&text)});
}

void server_quit(struct server *s, struct str argument) {
    (void)argument;
    server_reset(s);
    server_reply(s, &SMTP_REPLY(221, "2.0.0", "Bye"));
    s->over = true;
}
