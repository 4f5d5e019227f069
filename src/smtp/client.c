#include "smtp/client_state.h"

struct smtp_client_settings smtp_client_defaults(void) {
    return (struct smtp_client_settings){
        .ehlo = STR("localhost"),
        .tls = SMTP_CLIENT_TLS_NONE,
        .timeouts = {.greeting = 300000,
                     .hello = 300000,
                     .starttls = 120000,
                     .mail = 300000,
                     .rcpt = 300000,
                     .data_init = 120000,
                     .data_block = 180000,
                     .data_end = 600000,
                     .reset = 20000,
                     .quit = 2000},
        .data_rate = 1024,
        .data_rate_ms = 60000,
    };
}

int client_read(struct smtp_client *c, int64_t deadline, struct arena *arena, struct smtp_reply *ret) {
    for (;;) {
        size_t used = 0;
        int found = smtp_reply_read(stream_input(c->stream), arena, ret, &used);
        if (found > 0)
            stream_consume(c->stream, used);
        if (found)
            return found > 0 ? 0 : found;
        int error = stream_fill(c->stream, deadline);
        if (error)
            return error;
    }
}

int client_write(struct smtp_client *c, struct str bytes, int64_t timeout) {
    int64_t deadline = clock_mono_ms() + timeout;
    int error = stream_write(c->stream, bytes, deadline);
    return error ? error : stream_flush(c->stream, deadline);
}

struct outcome client_error(struct arena *arena, int error, enum outcome_scope scope, const char *what) {
    bool malformed = error == SLUICE_ESYNTAX || error == SLUICE_ETOOBIG;
    struct outcome o = {.scope = malformed ? OUTCOME_HOST : scope, .fate = OUTCOME_LATER};
    if (malformed) {
        o.enhanced = STR("4.5.0");
        o.text = str_printf(arena, "malformed reply to %s", what);
    } else if (error == SLUICE_ETIMEOUT) {
        o.enhanced = STR("4.4.2");
        o.text = str_printf(arena, "timed out waiting for the reply to %s", what);
    } else {
        o.enhanced = STR("4.4.2");
        o.text = str_printf(arena, "connection lost while waiting for the reply to %s: %s", what,
                            error_text(error));
    }
    return o;
}

struct outcome client_unexpected(struct arena *arena, const struct smtp_reply *reply, const char *what) {
    return (struct outcome){.scope = OUTCOME_HOST,
                            .fate = OUTCOME_LATER,
                            .code = reply->code,
                            .enhanced = STR("4.5.0"),
                            .text = str_printf(arena, "malformed reply to %s: %d %.*s", what, reply->code,
                                               STR_FMT(smtp_reply_joined(arena, reply))),
                            .remote = true};
}

const struct smtp_capabilities *smtp_client_capabilities(const struct smtp_client *c) {
    return &c->capabilities;
}

/* The state of a start: where it writes what went wrong. */
struct start {
    struct smtp_client *client;
    struct arena *arena;
    struct outcome *outcome;
};

/* Sends `command` (empty: just listens) and reads the reply. 0: *ret is set, whatever its code. */
static int ask(struct start *s, struct str command, int64_t timeout, const char *what,
               struct smtp_reply *ret) {
    int error = command.len ? client_write(s->client, command, timeout) : 0;
    if (!error)
        error = client_read(s->client, clock_mono_ms() + timeout, s->arena, ret);
    if (error)
        *s->outcome = client_error(s->arena, error, OUTCOME_HOST, what);
    return error;
}

static int refused(struct start *s, const struct smtp_reply *reply, const char *what) {
    *s->outcome = reply->code >= 400 ? smtp_reply_outcome(s->arena, reply, OUTCOME_HOST)
                                     : client_unexpected(s->arena, reply, what);
    return SLUICE_EREFUSED;
}

static bool is_2xx(const struct smtp_reply *reply) { return reply->code / 100 == 2; }

static void keywords_read(struct smtp_capabilities *c, struct str text) {
    struct str line;
    bool first = true;
    c->extensions = 0;
    c->size = 0;
    while (str_cut(&text, '\n', &line)) {
        ptrdiff_t space = str_index(line, ' ');
        unsigned bit = smtp_extension_of(space < 0 ? line : str_head(line, (size_t)space));
        if (!first)
            c->extensions |= bit;
        if (!first && bit == SMTP_EXTENSION_SIZE && space > 0 &&
            !str_to_u64(str_trim(str_from_index(line, (size_t)space)), &c->size))
            c->size = 0;
        first = false;
    }
}

static int hello(struct start *s) {
    struct smtp_capabilities *c = &s->client->capabilities;
    const struct smtp_client_settings *set = s->client->settings;
    struct smtp_reply reply;
    int error = ask(s, str_printf(s->arena, "EHLO %.*s\r\n", STR_FMT(set->ehlo)), set->timeouts.hello, "EHLO",
                    &reply);
    if (error)
        return error;
    c->esmtp = is_2xx(&reply);
    if (c->esmtp) {
        keywords_read(c, reply.text);
        return 0;
    }
    if (reply.code < 500)
        return refused(s, &reply, "EHLO");
    error = ask(s, str_printf(s->arena, "HELO %.*s\r\n", STR_FMT(set->ehlo)), set->timeouts.hello, "HELO",
                &reply);
    if (error)
        return error;
    c->extensions = 0;
    c->size = 0;
    return is_2xx(&reply) ? 0 : refused(s, &reply, "HELO");
}

static int tls_failed(struct start *s, struct str why) {
    *s->outcome = (struct outcome){.scope = OUTCOME_HOST,
                                   .fate = OUTCOME_LATER,
                                   .enhanced = STR("4.7.5"),
                                   .text = str_printf(s->arena, "TLS failed: %.*s", STR_FMT(why))};
    return SLUICE_ETLS;
}

/* STARTTLS and the second EHLO. A server that refuses STARTTLS stays usable in clear (RFC 3207 4.1). */
static int start_tls(struct start *s) {
    struct smtp_client *c = s->client;
    int64_t timeout = c->settings->timeouts.starttls;
    struct smtp_reply reply;
    int error = ask(s, STR("STARTTLS\r\n"), timeout, "STARTTLS", &reply);
    if (error)
        return error;
    if (reply.code == 421)
        return refused(s, &reply, "STARTTLS");
    if (reply.code != 220)
        return reply.code >= 400 ? 0 : refused(s, &reply, "STARTTLS");
    if (stream_input(c->stream).len)
        return tls_failed(s, STR("bytes before the handshake"));
    struct str why = STR_NULL;
    error = stream_start_tls(c->stream, c->settings->tls_context, c->settings->server_name,
                             clock_mono_ms() + timeout, s->arena, &why);
    if (error == SLUICE_ECANCELLED) {
        *s->outcome = client_error(s->arena, error, OUTCOME_HOST, "STARTTLS");
        return error;
    }
    if (error)
        return tls_failed(s, why.len ? why : str_of(error_text(error)));
    c->capabilities.tls_version = stream_tls_version(c->stream);
    c->capabilities.tls_cipher = stream_tls_cipher(c->stream);
    error = hello(s);
    /* TLS 1.3: a server's complaint about the handshake shows only in the first read after it. */
    if (error && error != SLUICE_EREFUSED && error != SLUICE_ECANCELLED)
        return tls_failed(s, s->outcome->text);
    return error;
}

int smtp_client_start(struct stream *stream, const struct smtp_client_settings *settings, struct arena *arena,
                      struct smtp_client **ret_client, struct outcome *ret_outcome) {
    struct smtp_client *c = arena_new_of(arena, struct smtp_client);
    *c = (struct smtp_client){.stream = stream, .settings = settings};
    struct start s = {c, arena, ret_outcome};
    struct smtp_reply reply;
    int error = ask(&s, STR(""), settings->timeouts.greeting, "the connection", &reply);
    if (error)
        return error;
    if (!is_2xx(&reply))
        return refused(&s, &reply, "the connection");
    c->capabilities.greeting = smtp_reply_joined(arena, &reply);
    error = hello(&s);
    bool wanted = settings->tls == SMTP_CLIENT_TLS_OPPORTUNISTIC && settings->tls_context;
    if (!error && wanted && c->capabilities.extensions & SMTP_EXTENSION_STARTTLS)
        error = start_tls(&s);
    if (error)
        return error;
    *ret_outcome = smtp_reply_outcome(arena, &reply, OUTCOME_HOST);
    *ret_client = c;
    return 0;
}

enum smtp_client_state smtp_client_reset(struct smtp_client *c) {
    if (c->state == SMTP_CLIENT_CLOSED)
        return c->state;
    struct arena *arena = arena_new(0);
    struct smtp_reply reply = {0};
    int error = stream_input(c->stream).len ? SLUICE_ESYNTAX : 0;
    if (!error)
        error = client_write(c, STR("RSET\r\n"), c->settings->timeouts.reset);
    if (!error)
        error = client_read(c, clock_mono_ms() + c->settings->timeouts.reset, arena, &reply);
    c->dirty = false;
    c->state = error || !is_2xx(&reply) ? SMTP_CLIENT_CLOSED : SMTP_CLIENT_READY;
    arena_free(arena);
    return c->state;
}

void smtp_client_quit(struct smtp_client *c) {
    if (c->state == SMTP_CLIENT_CLOSED)
        return;
    c->state = SMTP_CLIENT_CLOSED;
    struct arena *arena = arena_new(0);
    struct smtp_reply reply;
    int64_t timeout = c->settings->timeouts.quit;
    if (client_write(c, STR("QUIT\r\n"), timeout) == 0 &&
        client_read(c, clock_mono_ms() + timeout, arena, &reply))
        reply.code = 0; /* no answer is fine too */
    arena_free(arena);
}
