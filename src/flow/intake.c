#include "flow/intake.h"

#include "base/clock.h"
#include "flow/accept.h"
#include "flow/admission.h"
#include "flow/peer.h"
#include "mail/mime.h"
#include "mail/received.h"
#include "policy/passwd.h"
#include "rt/fiber.h"
#include "rt/stream.h"
#include <stdio.h>
#include <sys/queue.h>

enum { RECIPIENTS_FIRST = 16, TURN_AWAY_MS = 5000 };

/* One connection. */
struct intake {
    struct flow *flow;
    struct intake_listener *listener;
    struct settings *settings; /* of the connection */
    const struct smtp_session *session;
    struct transaction *transaction;
    struct peer_certificate certificate;
    LIST_ENTRY(intake) next;
};

/* One message in the making; lives in the session's transaction arena. */
struct transaction {
    struct acceptance accept;
    struct settings *settings; /* of the message: a reload in the middle does not touch it */
    const struct certificate_facts *certificate;
    size_t recipient_room;
    struct buf head; /* the header of the message, until its end was seen */
    struct header_end head_end;
    struct gtube_finder gtube;
    bool head_too_big;
    int body_error;
};

LIST_HEAD(intake_list, intake);

static struct intake_list *list_of(struct flow *flow) {
    return (struct intake_list *)(void *)&flow_here(flow)->intakes;
}

static struct smtp_reply reply_of(const struct outcome *o) {
    return (struct smtp_reply){o->code, o->enhanced, o->text};
}

static const struct listener *listener_of(const struct settings *settings, struct str name) {
    for (size_t i = 0; i < settings->listener_count; i++)
        if (str_eq(settings->listeners[i].name, name))
            return &settings->listeners[i];
    return NULL;
}

/* ---- the connection ---- */

static struct smtp_reply hook_connect(void *arg, const struct smtp_session *session) {
    struct intake *in = arg;
    in->session = session;
    FLOW_COUNT(in->flow, connections, 1);
    return (struct smtp_reply){0};
}

struct login_call {
    const struct policy *policy;
    struct str user, password;
    struct arena *arena;
    struct login login;
    struct str why;
    int result;
};

static void login_offloaded(void *arg) {
    struct login_call *call = arg;
    call->result =
        policy_login(call->policy, call->user, call->password, call->arena, &call->login, &call->why);
}

static enum smtp_auth_result hook_auth(void *arg, const struct smtp_session *session, struct str *user,
                                       struct str password) {
    struct intake *in = arg;
    struct settings *settings = flow_settings(in->flow);
    struct login_call call = {
        .policy = settings->policy, .user = *user, .password = password, .arena = session->arena};
    offload(login_offloaded, &call);
    char ip[IP_TEXT_SIZE];
    enum smtp_auth_result result = SMTP_AUTH_FAILED;
    if (call.result == 0) {
        *user = str_copy(session->arena, call.login.user);
        result = SMTP_AUTH_OK;
    } else if (call.result != SLUICE_EDENIED) {
        result = SMTP_AUTH_TEMPORARY;
    }
    if (result != SMTP_AUTH_OK || call.why.len)
        log_event(in->flow->log, LOG_WARNING,
                  result == SMTP_AUTH_OK ? "login by an old user file" : "login refused", "client",
                  ip_text(&session->peer, ip), "user", str_c(session->arena, *user), "why",
                  call.why.len ? str_c(session->arena, call.why) : NULL, NULL);
    settings_unref(settings);
    return result;
}

static void hook_closed(void *arg, const struct smtp_session *session, int error) {
    struct intake *in = arg;
    in->session = NULL;
    char ip[IP_TEXT_SIZE];
    if (error && error != SLUICE_ECLOSED)
        log_event(in->flow->log, LOG_INFO, "session ended", "client", ip_text(&session->peer, ip), "why",
                  error_text(error), NULL);
}

static bool hook_stopping(void *arg) { return ((struct intake *)arg)->flow->stopping; }

/* ---- the envelope ---- */

static void end_transaction(struct intake *in) {
    struct transaction *t = in->transaction;
    if (!t)
        return;
    in->transaction = NULL;
    spool_body_abort(t->accept.body);
    buf_free(&t->head);
    settings_unref(t->settings);
}

/* Refusals are traced too, so that "why was it not taken" has an answer. */
static struct smtp_reply refuse(struct intake *in, struct transaction *t, const struct outcome *why,
                                struct str recipient) {
    struct arena *arena = t->accept.arena;
    struct trace_event event = {.time = clock_wall_ms(),
                                .event = TRACE_REFUSE,
                                .recipient = recipient,
                                .reply = outcome_line(arena, why)};
    accept_trace_facts(&t->accept, &event);
    flow_trace(in->flow, &event);
    FLOW_COUNT(in->flow, refused, 1);
    log_event(in->flow->log, LOG_INFO, "refused", "trace_id", t->accept.id.text, "from",
              str_c(arena, t->accept.reverse_path), "to", recipient.len ? str_c(arena, recipient) : NULL,
              "reply", str_c(arena, event.reply), NULL);
    return reply_of(why);
}

static void attribute_facts(const struct transaction *t, const struct smtp_session *session,
                            struct sender_facts *ret) {
    *ret = (struct sender_facts){.user = session->user,
                                 .client = session->peer,
                                 .certificate = t->certificate,
                                 .reverse_path = t->accept.reverse_path};
    if (session->user.len)
        ret->user_tenant = policy_tenant_of_domain(t->settings->policy, address_split(session->user).domain);
}

static struct smtp_reply hook_mail(void *arg, const struct smtp_session *session,
                                   const struct smtp_mail *mail) {
    struct intake *in = arg;
    struct arena *arena = session->transaction;
    struct transaction *t = arena_new_of(arena, struct transaction);
    int64_t now = clock_wall_ms();
    t->settings = flow_settings(in->flow);
    t->accept = (struct acceptance){
        .id = trace_id_new(now),
        .arrival = now,
        .arena = arena,
        .settings = t->settings,
        .reverse_path = str_copy(arena, mail->reverse_path.whole),
        .helo = str_copy(arena, session->helo),
        .client = session->peer,
        .envid = mail->envid.at ? str_copy(arena, mail->envid) : STR(""),
        .ret = (enum spool_ret)mail->ret,
        .flags = (uint8_t)((mail->body == SMTP_BODY_8BITMIME ? SPOOL_8BITMIME : 0) |
                           (mail->smtputf8 ? SPOOL_SMTPUTF8 : 0)),
    };
    in->transaction = t;
    t->certificate = peer_certificate(&in->certificate, in->flow, t->settings, session);
    struct sender_facts facts;
    struct outcome refusal;
    attribute_facts(t, session, &facts);
    if (attribute(t->settings->policy, &facts, &t->accept.by, &refusal))
        return (struct smtp_reply){0};
    struct smtp_reply reply = refuse(in, t, &refusal, STR(""));
    end_transaction(in);
    return reply;
}

static struct smtp_reply hook_rcpt(void *arg, const struct smtp_session *session,
                                   const struct smtp_rcpt *rcpt) {
    struct intake *in = arg;
    struct transaction *t = in->transaction;
    struct acceptance *a = &t->accept;
    struct address to = rcpt->forward_path;
    if (!to.domain.len) /* postmaster alone is the postmaster of this node (RFC 5321 4.5.1) */
        to.whole = str_printf(a->arena, "%.*s@%.*s", STR_FMT(to.local), STR_FMT(t->settings->node));
    for (size_t i = 0; i < a->recipient_count; i++)
        if (str_eq(a->recipients[i].address, to.whole))
            return (struct smtp_reply){0}; /* named twice: one copy */
    if (a->recipient_count == t->recipient_room) {
        t->recipient_room = t->recipient_room ? 2 * t->recipient_room : RECIPIENTS_FIRST;
        struct spool_recipient *more = arena_array(a->arena, struct spool_recipient, t->recipient_room);
        if (a->recipient_count)
            memcpy(more, a->recipients, a->recipient_count * sizeof *more);
        a->recipients = more;
    }
    a->recipients[a->recipient_count++] = (struct spool_recipient){
        .address = str_copy(a->arena, to.whole),
        .orcpt = rcpt->orcpt.at ? str_copy(a->arena, rcpt->orcpt) : STR(""),
        .notify = (uint8_t)rcpt->notify,
    };
    (void)session;
    return (struct smtp_reply){0};
}

static void hook_reset(void *arg, const struct smtp_session *session) {
    (void)session;
    end_transaction(arg);
}

static void hook_refused(void *arg, const struct smtp_session *session, const struct smtp_reply *reply,
                         struct str command) {
    struct intake *in = arg;
    char ip[IP_TEXT_SIZE], code[16];
    snprintf(code, sizeof code, "%d", reply->code);
    FLOW_COUNT(in->flow, refused, 1);
    log_event(in->flow->log, LOG_INFO, "command refused", "client", ip_text(&session->peer, ip), "command",
              str_c(session->arena, command), "code", code, "text", str_c(session->arena, reply->text), NULL);
}

/* ---- the message ---- */

static struct smtp_reply hook_data_begin(void *arg, const struct smtp_session *session) {
    struct intake *in = arg;
    (void)session;
    in->transaction->accept.body = spool_body_new(in->flow->spool);
    return (struct smtp_reply){0};
}

static int hook_data_bytes(void *arg, const struct smtp_session *session, struct str bytes) {
    struct transaction *t = ((struct intake *)arg)->transaction;
    (void)session;
    if (!t->head_end.found) {
        buf_str(&t->head, bytes);
        header_end_feed(&t->head_end, bytes);
        if (!t->head_end.found && t->head.len > HEADER_BYTES_MAX) {
            t->head_too_big = true;
            return SLUICE_ETOOBIG;
        }
    }
    gtube_feed(&t->gtube, bytes);
    t->body_error = accept_body_add(t->accept.body, bytes);
    return t->body_error;
}

#define REFUSAL(code, enhanced, text)                                                                        \
    ((struct outcome){OUTCOME_MESSAGE, OUTCOME_NEVER, (code), STR(enhanced), STR(text), false})

/* A user's From must say one thing to everybody: what a lenient reader might take for a second one is
 * refused. */
static bool unclear_sender(const struct header *header, struct str head, int error,
                           const struct address_list *from, struct outcome *ret_refusal) {
    size_t fields = header_count(header, STR("From"));
    if (fields > 1)
        *ret_refusal = REFUSAL(554, "5.6.0", "The message has more than one From field");
    else if (fields && (error || !from->count))
        *ret_refusal = REFUSAL(554, "5.6.0", "The From field holds no address that can be read");
    else if (header->count && !header->separated && header->body_at < head.len)
        *ret_refusal = REFUSAL(554, "5.6.0", "A line in the header is no header field");
    else
        return false;
    return true;
}

/* What the header alone decides. True: *ret_refusal says no. */
static bool refuse_by_header(struct transaction *t, const struct smtp_session *session,
                             struct outcome *ret_refusal) {
    struct acceptance *a = &t->accept;
    if (t->head_too_big || header_parse(a->arena, buf_view(&t->head), 0, &a->header) != 0) {
        *ret_refusal = REFUSAL(552, "5.3.4", "The header of the message is too long");
        return true;
    }
    if (received_count(&a->header) >= HEADER_RECEIVED_MAX) {
        *ret_refusal = REFUSAL(554, "5.4.6", "Too many Received fields: the message loops");
        return true;
    }
    struct address_list from = {0};
    struct sender_facts facts;
    attribute_facts(t, session, &facts);
    struct str value = header_value(a->arena, &a->header, STR("From"));
    int error = value.at ? address_list_parse(a->arena, value, &from) : 0;
    if (session->user.len && unclear_sender(&a->header, buf_view(&t->head), error, &from, ret_refusal))
        return true;
    facts.from = value.at ? &from : NULL; /* without one, a submission gets its own */
    return !attribute(t->settings->policy, &facts, &a->by, ret_refusal);
}

/* Our Received field, and on authenticated submission what is missing (RFC 6409 8). */
static struct str header_prefix(const struct intake *in, struct transaction *t) {
    struct acceptance *a = &t->accept;
    const struct smtp_session *s = in->session;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    char ip[IP_TEXT_SIZE];
    received_write(&out, &(struct received_facts){
                             .helo = s->helo,
                             .client_ip = str_of(ip_text(&s->peer, ip)),
                             .by = t->settings->node,
                             .smtp = true,
                             .ehlo = s->esmtp,
                             .tls = s->tls_version != NULL,
                             .auth = s->user.len > 0,
                             .utf8 = a->flags & SPOOL_SMTPUTF8,
                             .tls_version = str_of(s->tls_version),
                             .tls_cipher = str_of(s->tls_cipher),
                             .trace_id = trace_id_str(&a->id),
                             .recipient = a->recipient_count == 1 ? a->recipients[0].address : STR(""),
                             .wall_ms = a->arrival,
                         });
    if (s->user.len) {
        struct str domain = address_split(a->reverse_path.len ? a->reverse_path : s->user).domain;
        accept_complete(a, &out, domain, s->user);
    }
    if (a->header.count == 0 && !a->header.separated)
        buf_str(&out, STR("\r\n")); /* a body without a header: ours must not run into it */
    return str_copy(a->arena, buf_view(&out));
}

static struct smtp_reply hook_data_end(void *arg, const struct smtp_session *session, uint64_t size) {
    struct intake *in = arg;
    struct transaction *t = in->transaction;
    struct acceptance *a = &t->accept;
    struct outcome result;
    (void)size;
    header_end_finish(&t->head_end);
    if (t->body_error)
        result = accept_spool_refusal(t->body_error);
    else if (!refuse_by_header(t, session, &result)) {
        a->gtube = t->gtube.found;
        a->prefix = header_prefix(in, t);
        result = accept_message(in->flow, a);
        a->body = NULL;
    }
    struct smtp_reply reply = reply_of(&result);
    if (result.fate != OUTCOME_DONE)
        for (size_t i = 0; i < a->recipient_count; i++)
            reply = refuse(in, t, &result, a->recipients[i].address);
    end_transaction(in);
    return reply;
}

/* ---- serving ---- */

static struct smtp_server_settings
session_settings(const struct settings *settings, const struct listener *listener, struct tls_context *tls) {
    struct smtp_server_settings s = smtp_server_defaults();
    s.hostname = settings->node;
    s.listener = listener->name;
    s.tls = (enum smtp_server_tls)listener->tls;
    s.tls_context = tls;
    s.auth = (enum smtp_server_auth)listener->auth;
    s.max_size = (uint64_t)listener->max_size;
    s.max_recipients = listener->max_recipients;
    s.max_commands = listener->max_commands;
    s.max_errors = listener->max_errors;
    s.command_ms = listener->timeout_ms;
    s.data_ms = listener->data_timeout_ms;
    s.xforward = listener->xforward;
    s.xforward_count = listener->xforward_count;
    s.data_rate = (size_t)listener->min_rate * (size_t)(s.data_rate_ms / 1000);
    return s;
}

static const struct smtp_server_hooks hooks = {
    .connect = hook_connect,
    .auth = hook_auth,
    .mail = hook_mail,
    .rcpt = hook_rcpt,
    .data_begin = hook_data_begin,
    .data_bytes = hook_data_bytes,
    .data_end = hook_data_end,
    .reset = hook_reset,
    .refused = hook_refused,
    .closed = hook_closed,
    .stopping = hook_stopping,
};

/* A refused connection costs no TLS handshake; a client of implicit TLS sees it closed. */
static void turn_away(struct stream *stream, enum admission why) {
    struct str reply = why == ADMISSION_CLIENT ? STR("421 4.7.0 Too many connections from your address\r\n")
                                               : STR("421 4.3.2 Too many connections, try again later\r\n");
    int64_t deadline = clock_mono_ms() + TURN_AWAY_MS;
    int error = stream_write(stream, reply, deadline);
    if (!error)
        error = stream_flush(stream, deadline);
    (void)error; /* it is closed either way */
    stream_free(stream);
}

static void serve(struct intake *in, const struct listener *configured, struct stream *stream,
                  const struct ip *client) {
    struct intake_listener *listener = in->listener;
    enum admission admission = admission_enter(in->flow, &listener->connections, configured, client);
    if (admission != ADMISSION_OK) {
        turn_away(stream, admission);
        return;
    }
    struct smtp_server_settings settings = session_settings(in->settings, configured, listener->tls);
    LIST_INSERT_HEAD(list_of(in->flow), in, next);
    smtp_serve(stream, &settings, &hooks, in);
    LIST_REMOVE(in, next);
    end_transaction(in);
    peer_forget(&in->certificate);
    admission_leave(in->flow, &listener->connections, client);
}

void intake_serve(void *arg, struct stream *stream) {
    struct intake_listener *listener = arg;
    struct intake in = {.flow = listener->flow, .listener = listener};
    in.settings = flow_settings(in.flow);
    const struct listener *configured = listener_of(in.settings, listener->name);
    struct ip client;
    /* Gone already, or its listener is: who it was decides what it may, so nobody is nobody. */
    if (configured && peer_told(in.flow, configured, stream) && stream_peer(stream, &client, NULL))
        serve(&in, configured, stream, &client);
    else
        stream_free(stream);
    settings_unref(in.settings);
}

void intake_stop_idle(struct flow *flow) {
    struct intake *in;
    LIST_FOREACH(in, list_of(flow), next) if (in->session) smtp_session_wake(in->session);
}

size_t intake_open(struct flow *flow) {
    size_t count = 0;
    struct intake *in;
    LIST_FOREACH(in, list_of(flow), next) count++;
    return count;
}
