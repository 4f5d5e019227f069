#include "scan/milter.h"

#include "base/clock.h"
#include "base/error.h"
#include "rt/stream.h"
#include "scan/milter_inside.h"
#include "seeded_bug.h"
#include <stdlib.h>

enum { GOOD_BYE_MS = 1000 };

/* ---- one packet ---- */

int milter_send(struct milter *m, char command, struct str data, int64_t deadline) {
    int64_t until = clock_mono_ms() + m->settings->command_ms;
    if (until > deadline) /* one that reads a little now and then gets no more time than one that doesn't */
        until = deadline;
    buf_clear(&m->out);
    milter_put_u32(&m->out, (uint32_t)data.len + 1);
    buf_char(&m->out, command);
    int error = stream_write(m->stream, buf_view(&m->out), until);
    return error ? error : stream_write(m->stream, data, until);
}

/* Into ->in, until it has `len` bytes. */
static int gather(struct milter *m, size_t len, int64_t deadline) {
    buf_clear(&m->in);
    while (m->in.len < len) {
        struct str input = stream_input(m->stream);
        if (!input.len) {
            int error = stream_fill(m->stream, deadline);
            if (error)
                return error;
            continue;
        }
        struct str piece = str_head(input, len - m->in.len);
        buf_str(&m->in, piece);
        stream_consume(m->stream, piece.len);
    }
    return 0;
}

/* The next packet into ->in: command, then data. SYNTAX: its length is none. */
static int receive(struct milter *m, int64_t deadline) {
    int error = stream_flush(m->stream, deadline);
    if (!error)
        error = gather(m, 4, deadline);
    if (error)
        return error;
    uint32_t len = 0;
    for (int i = 0; i < 4; i++)
        len = len << 8 | (unsigned char)m->in.at[i];
    return len < 1 || len > MILTER_PACKET_MAX ? SLUICE_ESYNTAX : gather(m, len, deadline);
}

/* ---- its life ---- */

static void hang_up(struct milter *m, enum milter_state state) {
    m->stream = stream_free(m->stream);
    m->state = state;
    m->in_message = m->satisfied = false;
}

static void good_bye(struct milter *m, enum milter_state state) {
    int64_t deadline = clock_mono_ms() + GOOD_BYE_MS;
    int error = m->stream ? milter_send(m, MILTER_QUIT, STR(""), deadline) : 0;
    if (m->stream && !error)
        error = stream_flush(m->stream, deadline);
    (void)error; /* gone already is as good */
    hang_up(m, state);
}

int milter_fail(struct milter *m, const char *what, int error) {
    const struct milter_calls *calls = m->chain->calls;
    if (m->quiet && (error == SLUICE_ECLOSED || error == SLUICE_EIO)) {
        hang_up(m, MILTER_CLOSED);
        return -1;
    }
    bool silent = m->state == MILTER_CLOSED && error == SLUICE_ETIMEOUT;
    hang_up(m, MILTER_FAILED);
    if (!calls->failed)
        return -1;
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    buf_printf(&why, "%s%s%s (%.*s)", what, error ? ": " : "", error ? scan_endpoint_error(error) : "",
               STR_FMT(m->settings->endpoint.text));
    calls->failed(calls->arg, m->settings, buf_view(&why), silent);
    return -1;
}

void milter_failure(const struct milter *m, struct milter_result *ret) {
    enum milter_on_failure on_failure = m->settings->on_failure;
#ifdef SLUICE_SEEDED_BUG_MILTER_FAILURE_ACCEPTS
    on_failure = MILTER_FAILS_ACCEPT;
#endif
    *ret = (struct milter_result){.milter = m->settings->name, .failed = true};
    if (on_failure == MILTER_FAILS_ACCEPT)
        return;
    ret->fate = MILTER_REFUSES;
    ret->reply = MILTER_REFUSAL_LATER;
    if (on_failure == MILTER_FAILS_REJECT) {
        ret->reply = MILTER_REFUSAL_NEVER;
        ret->reply.text = STR("Service unavailable");
    }
}

/* ---- macros ---- */

/* What Sendmail and Postfix send where the milter asks for nothing in particular. */
static const char *const usual_macros[MILTER_STAGES] = {
    [MILTER_AT_CONNECT] = "j _ {daemon_name} {daemon_addr} {daemon_port} {if_name} {if_addr} v "
                          "{client_addr} {client_name} {client_port} {client_resolve}",
    [MILTER_AT_HELO] = "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}",
    [MILTER_AT_MAIL] = "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}",
    [MILTER_AT_RCPT] = "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
    [MILTER_AT_DATA] = "i",
    [MILTER_AT_END] = "i",
    [MILTER_AT_END_OF_HEADER] = "i",
};

static int send_macros(struct milter *m, const struct milter_event *event, int64_t deadline) {
    const struct milter_calls *calls = m->chain->calls;
    struct buf data __attribute__((cleanup(buf_free))) = {0};
    struct str list = m->options.symbols[event->stage], name;
    if (!list.at)
        list = str_of(usual_macros[event->stage]);
    buf_char(&data, event->command);
    while (str_cut(&list, ' ', &name)) {
        if (!name.len)
            continue;
        struct str value = calls->macro(calls->arg, name);
        /* A long name without its braces means the same. */
        if (!value.at && name.len > 1 && name.at[0] != '{') {
            struct buf braced __attribute__((cleanup(buf_free))) = {0};
            buf_printf(&braced, "{%.*s}", STR_FMT(name));
            value = calls->macro(calls->arg, buf_view(&braced));
        }
        if (!value.at)
            continue;
        milter_put_string(&data, name);
        milter_put_string(&data, value);
    }
    return milter_send(m, MILTER_MACRO, buf_view(&data), deadline);
}

/* ---- an event ---- */

int milter_hear(struct milter *m, int64_t patience, int64_t deadline, struct arena *arena,
                struct milter_answer *ret) {
    do {
        int64_t until = clock_mono_ms() + patience;
        int error = receive(m, until < deadline ? until : deadline);
        if (error == SLUICE_ESYNTAX)
            return milter_fail(m, "it said what is no packet", 0);
        if (error)
            return milter_fail(m, "no answer", error);
        const char *why = milter_read_answer(m->in.at[0], str_from_index(buf_view(&m->in), 1), arena, ret);
        if (why)
            return milter_fail(m, why, 0);
    } while (ret->kind == MILTER_SAYS_PROGRESS);
    uint32_t needs = milter_answer_needs(ret->kind);
    return needs && !(m->options.actions & needs) ? milter_fail(m, "it does what it did not ask for", 0) : 0;
}

int milter_tell(struct milter *m, const struct milter_event *event, struct str data, int64_t patience,
                int64_t deadline, struct arena *arena, struct milter_answer *ret) {
    int error = event->stage < MILTER_STAGES ? send_macros(m, event, deadline) : 0;
    *ret = (struct milter_answer){.kind = MILTER_SAYS_CONTINUE};
    if (!error && !(m->options.steps & event->unwanted)) {
        error = milter_send(m, event->command, data, deadline);
        if (!error && !(m->options.steps & event->silent))
            return milter_hear(m, patience, deadline, arena, ret);
    }
    return error ? milter_fail(m, "it takes no more", error) : 0;
}

static bool of_connection(const struct milter_event *event) {
    return event->stage == MILTER_AT_CONNECT || event->stage == MILTER_AT_HELO;
}

static void refuses(const struct milter *m, const struct outcome *reply, struct arena *arena,
                    struct milter_result *ret) {
    *ret = (struct milter_result){
        .fate = MILTER_REFUSES, .reply = outcome_copy(arena, *reply), .milter = m->settings->name};
}

void milter_obey(struct milter *m, const struct milter_event *event, const struct milter_answer *answer,
                 struct arena *arena, struct milter_result *ret) {
    bool connection = of_connection(event);
    switch (answer->kind) {
    case MILTER_SAYS_CONTINUE:
        return;
    case MILTER_SAYS_ACCEPT:
        m->satisfied = true;
        if (connection)
            good_bye(m, MILTER_ACCEPTED);
        return;
    case MILTER_SAYS_REFUSE:
        if (connection) {
            m->refusal = outcome_copy(m->chain->arena, answer->reply);
            good_bye(m, MILTER_REFUSED);
        }
        refuses(m, &answer->reply, arena, ret);
        return;
    case MILTER_SAYS_DISCARD:
        if (connection)
            break;
        m->chain->discarded = true;
        m->chain->discarded_by = m->settings->name;
        *ret = (struct milter_result){.fate = MILTER_DISCARDS, .milter = m->settings->name};
        return;
    case MILTER_SAYS_SKIP:
        if (event->command == MILTER_BODY)
            return;
        break;
    default:
        break;
    }
    milter_fail(m, "its answer does not fit the command", 0);
    milter_failure(m, ret);
}

/* Tells it a command outside of the message's data. */
static void tell(struct milter *m, const struct milter_event *event, struct str data, struct arena *arena,
                 struct milter_result *ret) {
    struct milter_answer answer;
    int64_t patience = m->settings->command_ms;
    if (milter_tell(m, event, data, patience, clock_mono_ms() + 10 * patience, arena, &answer) != 0)
        milter_failure(m, ret);
    else
        milter_obey(m, event, &answer, arena, ret);
}

/* ---- the connection ---- */

static const struct milter_event connect_event = {MILTER_CONNECT, MILTER_AT_CONNECT, MILTER_NO_CONNECT,
                                                  MILTER_SILENT_CONNECT};
static const struct milter_event helo_event = {MILTER_HELO, MILTER_AT_HELO, MILTER_NO_HELO,
                                               MILTER_SILENT_HELO};
static const struct milter_event mail_event = {MILTER_MAIL, MILTER_AT_MAIL, MILTER_NO_MAIL,
                                               MILTER_SILENT_MAIL};
static const struct milter_event rcpt_event = {MILTER_RCPT, MILTER_AT_RCPT, MILTER_NO_RCPT,
                                               MILTER_SILENT_RCPT};
static const struct milter_event data_event = {MILTER_DATA, MILTER_AT_DATA, MILTER_NO_DATA,
                                               MILTER_SILENT_DATA};

static int dial(struct milter *m, int64_t deadline) {
    const struct milter_calls *calls = m->chain->calls;
    if (calls->dial)
        return calls->dial(calls->arg, m->settings, deadline, &m->stream);
    struct resolver *resolver = calls->resolver ? calls->resolver(calls->arg) : NULL;
    return scan_endpoint_dial(&m->settings->endpoint, resolver, deadline, &m->stream);
}

static int negotiate(struct milter *m, int64_t deadline) {
    buf_clear(&m->out);
    milter_write_offer(&m->out);
    int error = stream_write(m->stream, buf_view(&m->out), deadline);
    if (!error)
        error = receive(m, deadline);
    if (error == SLUICE_ESYNTAX || (!error && m->in.at[0] != MILTER_NEGOTIATE))
        return milter_fail(m, "it does not speak the milter protocol", 0);
    if (error)
        return milter_fail(m, "no answer to the negotiation", error);
    arena_reset(m->symbols);
    const char *why = milter_read_options(str_from_index(buf_view(&m->in), 1), m->symbols, &m->options);
    return why ? milter_fail(m, why, 0) : 0;
}

/* A new connection, which hears of the client and its name as far as they are known. False: it failed, or it
 * decided; *ret then says so. */
static bool open_connection(struct milter *m, struct arena *arena, struct milter_result *ret) {
    const struct milters *chain = m->chain;
    int64_t deadline = clock_mono_ms() + m->settings->connect_ms;
    hang_up(m, MILTER_CLOSED);
    m->quiet = false;
    if (chain->calls->rests && chain->calls->rests(chain->calls->arg, m->settings)) {
        milter_fail(m, "it kept silent a moment ago", 0);
        milter_failure(m, ret);
        return false;
    }
    int error = dial(m, deadline);
    if (error || negotiate(m, deadline) != 0) {
        if (error)
            milter_fail(m, "it can't be reached", error);
        milter_failure(m, ret);
        return false;
    }
    m->state = MILTER_OPEN;
    if (chain->met)
        tell(m, &connect_event, buf_view(&chain->client), arena, ret);
    if (chain->greeted && m->state == MILTER_OPEN)
        tell(m, &helo_event, buf_view(&chain->helo), arena, ret);
    return m->state == MILTER_OPEN;
}

bool milter_is_out(const struct milter *m, struct arena *arena, struct milter_result *ret) {
    if (m->state == MILTER_REFUSED)
        refuses(m, &m->refusal, arena, ret);
    else if (m->state == MILTER_FAILED)
        milter_failure(m, ret);
    return m->state != MILTER_OPEN || m->satisfied;
}

struct milters *milters_new(const struct milters_settings *settings, struct str listener,
                            const struct milter_calls *calls) {
    size_t count = 0;
    for (size_t i = 0; i < settings->count; i++)
        count += milter_applies(&settings->at[i], listener);
    if (!count)
        return NULL;
    struct arena *arena = arena_new(0);
    struct milters *chain = arena_new_of(arena, struct milters);
    *chain = (struct milters){.at = arena_array(arena, struct milter, count), .calls = calls, .arena = arena};
    for (size_t i = 0; i < settings->count; i++)
        if (milter_applies(&settings->at[i], listener))
            chain->at[chain->count++] =
                (struct milter){.chain = chain, .settings = &settings->at[i], .symbols = arena_new(0)};
    return chain;
}

struct milters *milters_free(struct milters *chain) {
    if (!chain)
        return NULL;
    for (size_t i = 0; i < chain->count; i++) {
        struct milter *m = &chain->at[i];
        good_bye(m, MILTER_CLOSED);
        arena_free(m->symbols);
        buf_free(&m->in);
        buf_free(&m->out);
    }
    buf_free(&chain->client);
    buf_free(&chain->helo);
    arena_free(chain->arena);
    return NULL;
}

static void describe(struct buf *out, const struct milter_client *client) {
    char ip[IP_TEXT_SIZE];
    milter_put_string(out, client->hostname);
    if (ip_is_none(&client->ip)) {
        buf_char(out, 'U');
        return;
    }
    buf_char(out, ip_is_v4(&client->ip) ? '4' : '6');
    milter_put_u16(out, client->port);
    milter_put_string(out, str_of(ip_text(&client->ip, ip)));
}

void milters_connect(struct milters *chain, const struct milter_client *client, struct arena *arena,
                     struct milter_result *ret) {
    *ret = (struct milter_result){0};
    if (!chain)
        return;
    buf_clear(&chain->client);
    describe(&chain->client, client);
    chain->met = true;
    for (size_t i = 0; i < chain->count && ret->fate == MILTER_PASSES; i++) {
        open_connection(&chain->at[i], arena, ret);
        if (ret->failed) /* told by MAIL, when it was tried again */
            *ret = (struct milter_result){0};
    }
}

void milters_helo(struct milters *chain, struct str name, struct arena *arena, struct milter_result *ret) {
    *ret = (struct milter_result){0};
    if (!chain)
        return;
    buf_clear(&chain->helo);
    milter_put_string(&chain->helo, name);
    chain->greeted = true;
    for (size_t i = 0; i < chain->count && ret->fate == MILTER_PASSES; i++) {
        struct milter *m = &chain->at[i];
        m->quiet = true;
        if (m->state == MILTER_REFUSED)
            refuses(m, &m->refusal, arena, ret);
        else if (m->state == MILTER_OPEN)
            tell(m, &helo_event, buf_view(&chain->helo), arena, ret);
        if (ret->failed)
            *ret = (struct milter_result){0};
    }
}

/* ---- the envelope ---- */

static void put_arguments(struct buf *out, const struct str *arguments, size_t count) {
    for (size_t i = 0; i < count; i++)
        milter_put_string(out, arguments[i]);
}

/* A connection that is there may have been closed meanwhile: then once more on a new one. */
static void tell_mail(struct milter *m, struct str data, struct arena *arena, struct milter_result *ret) {
    bool was_open = m->state == MILTER_OPEN;
    if (!was_open && !open_connection(m, arena, ret))
        return;
    m->quiet = was_open;
    m->satisfied = false;
    m->in_message = true;
    tell(m, &mail_event, data, arena, ret);
    m->quiet = false;
    if (m->state != MILTER_CLOSED)
        return;
    *ret = (struct milter_result){0};
    if (!open_connection(m, arena, ret))
        return;
    m->in_message = true;
    tell(m, &mail_event, data, arena, ret);
}

void milters_mail(struct milters *chain, const struct str *arguments, size_t count, struct arena *arena,
                  struct milter_result *ret) {
    struct buf data __attribute__((cleanup(buf_free))) = {0};
    *ret = (struct milter_result){0};
    if (!chain)
        return;
    milters_abort(chain);
    put_arguments(&data, arguments, count);
    for (size_t i = 0; i < chain->count && ret->fate == MILTER_PASSES; i++) {
        struct milter *m = &chain->at[i];
        if (m->state == MILTER_REFUSED)
            refuses(m, &m->refusal, arena, ret);
        else if (m->state != MILTER_ACCEPTED)
            tell_mail(m, buf_view(&data), arena, ret);
    }
}

/* Those that negotiated all of `steps`. */
static void tell_all(struct milters *chain, uint32_t steps, const struct milter_event *event, struct str data,
                     struct arena *arena, struct milter_result *ret) {
    for (size_t i = 0; i < chain->count && ret->fate == MILTER_PASSES; i++) {
        struct milter *m = &chain->at[i];
        if (!milter_is_out(m, arena, ret) && (m->options.steps & steps) == steps)
            tell(m, event, data, arena, ret);
    }
}

static void tell_rcpt(struct milters *chain, uint32_t steps, const struct str *arguments, size_t count,
                      struct arena *arena, struct milter_result *ret) {
    struct buf data __attribute__((cleanup(buf_free))) = {0};
    *ret = (struct milter_result){0};
    if (!chain || chain->discarded)
        return;
    put_arguments(&data, arguments, count);
    tell_all(chain, steps, &rcpt_event, buf_view(&data), arena, ret);
}

void milters_rcpt(struct milters *chain, const struct str *arguments, size_t count, struct arena *arena,
                  struct milter_result *ret) {
    tell_rcpt(chain, 0, arguments, count, arena, ret);
}

void milters_refused_rcpt(struct milters *chain, const struct str *arguments, size_t count,
                          struct arena *arena, struct milter_result *ret) {
    tell_rcpt(chain, MILTER_WANTS_REFUSED_RCPT, arguments, count, arena, ret);
}

void milters_data(struct milters *chain, struct arena *arena, struct milter_result *ret) {
    *ret = (struct milter_result){0};
    if (chain && !chain->discarded)
        tell_all(chain, 0, &data_event, STR(""), arena, ret);
}

void milters_abort(struct milters *chain) {
    for (size_t i = 0; chain && i < chain->count; i++) {
        struct milter *m = &chain->at[i];
        if (m->state != MILTER_OPEN || !m->in_message)
            continue;
        m->in_message = m->satisfied = false;
        int64_t deadline = clock_mono_ms() + m->settings->command_ms;
        if (milter_send(m, MILTER_ABORT, STR(""), deadline) != 0 || stream_flush(m->stream, deadline) != 0)
            hang_up(m, MILTER_CLOSED);
    }
    if (chain)
        chain->discarded = false;
}

void milters_failed(struct milters *chain, struct str milter, struct str why, struct milter_result *ret) {
    *ret = (struct milter_result){0};
    for (size_t i = 0; chain && i < chain->count; i++) {
        struct milter *m = &chain->at[i];
        if (!str_eq(m->settings->name, milter))
            continue;
        if (chain->calls->failed)
            chain->calls->failed(chain->calls->arg, m->settings, why, false);
        milter_failure(m, ret);
    }
}
