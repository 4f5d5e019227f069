#include "seeded_bug.h"
#include "smtp/server_state.h"

struct smtp_server_settings smtp_server_defaults(void) {
    return (struct smtp_server_settings){
        .hostname = STR("localhost"),
        .offers = SMTP_EXTENSION_PIPELINING | SMTP_EXTENSION_SIZE | SMTP_EXTENSION_STARTTLS |
                  SMTP_EXTENSION_AUTH | SMTP_EXTENSION_ENHANCEDSTATUSCODES | SMTP_EXTENSION_8BITMIME |
                  SMTP_EXTENSION_DSN | SMTP_EXTENSION_SMTPUTF8,
        .max_size = 25 << 20,
        .max_recipients = 1000,
        .max_commands = 1000,
        .max_errors = 20,
        .max_auth = 3,
        .command_ms = 300000,
        .data_ms = 180000,
        .tls_ms = 60000,
        .write_ms = 300000,
        .data_rate = 1024,
        .data_rate_ms = 60000,
    };
}

const char *smtp_session_protocol(const struct smtp_session *s) {
    bool tls = s->tls_version != NULL, auth = s->user.len > 0;
    if (!s->esmtp)
        return "SMTP";
    if (s->mail.smtputf8)
        return tls ? (auth ? "UTF8SMTPSA" : "UTF8SMTPS") : (auth ? "UTF8SMTPA" : "UTF8SMTP");
    return tls ? (auth ? "ESMTPSA" : "ESMTPS") : (auth ? "ESMTPA" : "ESMTP");
}

void server_flush(struct server *s) {
    int error = s->over && s->error ? 0 : stream_flush(s->stream, clock_mono_ms() + s->settings->write_ms);
    if (error) {
        s->over = true;
        s->error = error;
    }
}

void server_reply(struct server *s, const struct smtp_reply *reply) {
    if (s->error)
        return;
    buf_clear(&s->out);
    struct smtp_reply plain = *reply;
    if (!(s->settings->offers & SMTP_EXTENSION_ENHANCEDSTATUSCODES))
        plain.enhanced = STR_NULL;
    smtp_reply_write(&s->out, &plain);
    int error = stream_write(s->stream, buf_view(&s->out), clock_mono_ms() + s->settings->write_ms);
    if (error) {
        s->over = true;
        s->error = error;
        return;
    }
    s->errors += reply->code >= 500;
    s->over |= reply->code == 421;
}

void server_refuse(struct server *s, const struct smtp_reply *reply, struct str command) {
    if (s->hooks->refused && reply->code >= 400)
        s->hooks->refused(s->arg, &s->session, reply, command);
    server_reply(s, reply);
}

void server_close(struct server *s, const struct smtp_reply *reply, struct str command) {
    server_refuse(s, reply, command);
    s->over = true;
}

void server_failed(struct server *s, int error) {
    if (error == SLUICE_ETIMEOUT)
        server_close(s, &SMTP_REPLY(421, "4.4.2", "Timeout, closing the connection"), STR(""));
    else if (error == SLUICE_ECANCELLED ||
             (error == SLUICE_ECLOSED && s->hooks->stopping && s->hooks->stopping(s->arg)))
        server_close(s, &SMTP_REPLY(421, "4.3.2", "Shutting down, try again later"), STR(""));
    if (!s->error)
        server_flush(s);
    s->over = true;
    s->error = error;
}

/* Drops what is in the input up to the end of an over-long line. *skipped counts. 1: the end was seen. */
static int skip_line(struct server *s, size_t *skipped, bool *cr) {
    struct str input = stream_input(s->stream);
    const char *lf = input.len ? memchr(input.at, '\n', input.len) : NULL;
    size_t len = lf ? (size_t)(lf - input.at) : input.len;
    bool ends_cr = len ? input.at[len - 1] == '\r' : *cr;
    stream_consume(s->stream, lf ? len + 1 : len);
    *skipped += len;
    *cr = ends_cr;
    if (lf)
        return ends_cr ? 1 : SLUICE_ESYNTAX;
    return *skipped > SKIP_MAX ? SLUICE_ESYNTAX : 0;
}

static int fill(struct server *s, int64_t *deadline) {
    server_flush(s);
    if (s->error)
        return s->error;
    if (!*deadline)
        *deadline = clock_mono_ms() + s->settings->command_ms;
    return stream_fill(s->stream, *deadline);
}

static size_t command_limit(struct str line) {
    return str_starts_nocase(line, STR("AUTH ")) ? SMTP_AUTH_LINE_MAX : SMTP_COMMAND_MAX;
}

int server_read_line(struct server *s, size_t limit) {
    size_t scanned = 0, skipped = 0;
    int64_t deadline = 0;
    bool skipping = false, cr = false;
    for (;;) {
        if (skipping) {
            int end = skip_line(s, &skipped, &cr);
            if (end)
                return end > 0 ? SLUICE_ETOOBIG : end;
        } else {
            struct str input = stream_input(s->stream);
            const char *lf =
                input.len > scanned ? memchr(input.at + scanned, '\n', input.len - scanned) : NULL;
            size_t len = lf ? (size_t)(lf - input.at) + 1 : input.len;
            skipping = len > (limit ? limit : command_limit(input));
            if (skipping)
                continue;
            if (lf) {
                bool good = len >= 2 && input.at[len - 2] == '\r';
                buf_clear(&s->line);
                buf_add(&s->line, input.at, good ? len - 2 : 0);
                stream_consume(s->stream, len);
                return good ? 0 : SLUICE_ESYNTAX;
            }
            scanned = input.len;
        }
        int error = fill(s, &deadline);
        if (error)
            return error;
    }
}

static void forget(struct server *s) {
    s->open = false;
    s->session.recipients = s->excess = 0;
    s->session.mail = (struct smtp_mail){0};
#ifndef SLUICE_SEEDED_BUG_XFORWARD_STAYS
    s->session.xforward = (struct smtp_xforward){0};
#endif
    arena_reset(s->session.transaction);
}

void server_reset(struct server *s) {
    if (s->open && s->hooks->reset)
        s->hooks->reset(s->arg, &s->session);
    forget(s);
}

void server_transaction_done(struct server *s) { forget(s); }

unsigned server_offered(const struct server *s) {
    unsigned offers = s->settings->offers;
    enum smtp_server_tls tls = s->settings->tls;
    bool secure = s->session.tls_version != NULL;
    if (secure || !s->settings->tls_context || tls == SMTP_TLS_NONE || tls == SMTP_TLS_IMPLICIT)
        offers &= ~(unsigned)SMTP_EXTENSION_STARTTLS;
    if (s->settings->auth == SMTP_AUTH_NONE || (tls == SMTP_TLS_REQUIRED && !secure))
        offers &= ~(unsigned)SMTP_EXTENSION_AUTH;
    if (server_takes_xforward(s))
        offers |= SMTP_EXTENSION_XFORWARD;
    else
        offers &= ~(unsigned)SMTP_EXTENSION_XFORWARD;
    return offers & ~(unsigned)SMTP_EXTENSION_CHUNKING;
}

/* EXPN has none: the gate stops it. */
static void (*const handlers[SMTP_VERB_COUNT])(struct server *, struct str) = {
    [SMTP_EHLO] = server_ehlo, [SMTP_HELO] = server_helo, [SMTP_STARTTLS] = server_starttls,
    [SMTP_AUTH] = server_auth, [SMTP_MAIL] = server_mail, [SMTP_RCPT] = server_rcpt,
    [SMTP_DATA] = server_data, [SMTP_RSET] = server_rset, [SMTP_XFORWARD] = server_xforward,
    [SMTP_NOOP] = server_noop, [SMTP_VRFY] = server_vrfy, [SMTP_HELP] = server_help,
    [SMTP_QUIT] = server_quit,
};

/* What a verb needs, from the table; code 0 when all is there. */
static struct smtp_reply gate(const struct server *s, const struct smtp_command *c) {
    if (c->verb == SMTP_UNKNOWN)
        return SMTP_REPLY(500, "5.5.1", "Command not recognized");
    unsigned flags = smtp_verbs[c->verb].flags;
    const struct smtp_server_settings *set = s->settings;
    if (flags & SMTP_NOT_IMPLEMENTED)
        return SMTP_REPLY(502, "5.5.1", "This command is not supported");
    if (flags & SMTP_NEEDS_NO_ARGUMENT && c->argument.len)
        return SMTP_REPLY(501, "5.5.4", "This command takes no argument");
    if (flags & SMTP_NEEDS_TLS && set->tls == SMTP_TLS_REQUIRED && !s->session.tls_version)
        return SMTP_REPLY(530, "5.7.0", "Must issue a STARTTLS command first");
    if (flags & (SMTP_NEEDS_HELLO | SMTP_NEEDS_EHLO) && s->session.helo.len == 0)
        return SMTP_REPLY(503, "5.5.1", "Send EHLO first");
    if (flags & SMTP_NEEDS_EHLO && !s->session.esmtp)
        return SMTP_REPLY(503, "5.5.1", "Send EHLO first, not HELO");
    if (flags & SMTP_NEEDS_AUTH && set->auth == SMTP_AUTH_REQUIRED && s->session.user.len == 0)
        return SMTP_REPLY(530, "5.7.0", "Authentication required");
    if (flags & SMTP_NEEDS_MAIL && !s->open)
        return SMTP_REPLY(503, "5.5.1", "Send MAIL first");
    if (flags & SMTP_NEEDS_NO_MAIL && s->open)
        return SMTP_REPLY(503, "5.5.1", "Not within a transaction; send RSET first");
    return (struct smtp_reply){0};
}

/* A client that did not wait for 354 has its message behind DATA; none of its lines is a command. */
void server_data_refused(struct server *s) {
    if (stream_input(s->stream).len && !s->over)
        server_close(s, &SMTP_REPLY(421, "4.7.0", "The message may only follow a 354 reply"), STR("DATA"));
}

/* A browser that was made to talk to us: its next lines may be commands of somebody else's choice. */
static bool is_http(struct str name) {
    return str_eq(name, STR("GET")) || str_eq(name, STR("POST")) || str_eq(name, STR("PUT")) ||
           str_eq(name, STR("CONNECT"));
}

static void execute(struct server *s) {
    struct smtp_command command;
    struct smtp_reply refusal = smtp_command_parse(buf_view(&s->line), &command);
    if (refusal.code == 0)
        refusal = gate(s, &command);
    if (refusal.code == 0)
        handlers[command.verb](s, command.argument);
    else if (command.verb == SMTP_UNKNOWN && is_http(command.name))
        server_close(s, &SMTP_REPLY(421, "4.7.0", "This is an SMTP server"), command.name);
    else if (command.verb == SMTP_UNKNOWN && str_eq_nocase(command.name, STR("BDAT")))
        server_close(s, &SMTP_REPLY(502, "5.5.1", "CHUNKING is not offered"),
                     command.name); /* its chunk follows */
    else
        server_refuse(s, &refusal, command.verb == SMTP_UNKNOWN ? STR("") : smtp_verbs[command.verb].name);
    if (refusal.code && command.verb == SMTP_DATA)
        server_data_refused(s);
}

static bool stopping(struct server *s) {
    if (!s->hooks->stopping || !s->hooks->stopping(s->arg))
        return false;
    server_close(s, &SMTP_REPLY(421, "4.3.2", "Shutting down, try again later"), STR(""));
    return true;
}

static bool over_limit(struct server *s) {
    if (s->settings->max_errors && s->errors >= s->settings->max_errors) {
        server_close(s, &SMTP_REPLY(421, "4.7.0", "Too many errors"), STR(""));
        return true;
    }
    if (s->settings->max_commands && s->commands >= s->settings->max_commands) {
        server_close(s, &SMTP_REPLY(421, "4.7.0", "Too many commands without a message"), STR(""));
        return true;
    }
    return false;
}

/* One command: read and carried out. */
static void next_command(struct server *s) {
    if (over_limit(s) || stopping(s))
        return;
    s->session.idle = true;
    int error = server_read_line(s, 0);
    s->session.idle = false;
    s->commands++;
    if (error == SLUICE_ETOOBIG)
        server_refuse(s, &SMTP_REPLY(500, "5.5.2", "Line too long"), STR(""));
    else if (error == SLUICE_ESYNTAX)
        server_close(s, &SMTP_REPLY(500, "5.5.2", "Lines must end with CRLF; closing the connection"),
                     STR(""));
    else if (error)
        server_failed(s, error);
    else if (!stopping(s))
        execute(s);
}

static int greet(struct server *s) {
    if (s->settings->tls == SMTP_TLS_IMPLICIT) {
        int error = stream_start_tls(s->stream, s->settings->tls_context, STR_NULL,
                                     clock_mono_ms() + s->settings->tls_ms, s->session.arena, NULL);
        if (error)
            return error;
        s->session.tls_version = stream_tls_version(s->stream);
        s->session.tls_cipher = stream_tls_cipher(s->stream);
    }
    struct smtp_reply reply = {0};
    if (s->hooks->connect)
        reply = s->hooks->connect(s->arg, &s->session);
    if (reply.code == 0)
        reply = (struct smtp_reply){
            220, STR_NULL, str_printf(s->session.arena, "%.*s ESMTP", STR_FMT(s->settings->hostname))};
    server_reply(s, &reply);
    s->over |= reply.code != 220;
    return 0;
}

void smtp_session_wake(const struct smtp_session *session) {
    const struct server *s = (const struct server *)session;
    int fd = stream_fd(s->stream);
    if (session->idle && fd >= 0)
        shutdown(fd, SHUT_RD);
}

void smtp_serve(struct stream *stream, const struct smtp_server_settings *settings,
                const struct smtp_server_hooks *hooks, void *arg) {
    struct arena *arena = arena_new(0);
    struct server *s = arena_new_of(arena, struct server);
    *s = (struct server){.stream = stream, .settings = settings, .hooks = hooks, .arg = arg};
    s->session.settings = settings;
    s->session.stream = stream;
    s->session.arena = arena;
    s->session.transaction = arena_new(0);
    stream_peer(stream, &s->session.peer, &s->session.peer_port);
    stream_proxied(stream, &s->session.proxied_by);
    stream_local(stream, &s->session.local, &s->session.local_port);
    int error = greet(s);
    if (error)
        s->over = true, s->error = error;
    while (!s->over)
        next_command(s);
    server_reset(s);
    if (!s->error)
        server_flush(s);
    if (hooks->closed)
        hooks->closed(arg, &s->session, s->error);
    buf_free(&s->out);
    buf_free(&s->line);
    stream_free(stream);
    arena_free(s->session.transaction);
    arena_free(arena);
}
