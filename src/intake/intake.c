#include "intake/intake.h"

#include "acceptance/accept.h"
#include "acceptance/allowance.h"
#include "acceptance/judge.h"
#include "acceptance/registered.h"
#include "acceptance/suspicion_facts.h"
#include "auth/results.h"
#include "base/clock.h"
#include "intake/admission.h"
#include "intake/filter.h"
#include "intake/peer.h"
#include "intake/submission.h"
#include "mail/received.h"
#include "policy/passwd.h"
#include "rt/fiber.h"
#include "rt/stream.h"
#include <stdio.h>
#include <sys/queue.h>

enum { TURN_AWAY_MS = 5000 };

/* One connection. */
struct intake {
    struct flow *flow;
    struct intake_listener *listener;
    struct settings *settings; /* of the connection */
    const struct smtp_session *session;
    struct transaction *transaction;
    struct peer_certificate certificate;
    struct filter *filter; /* the milters of the session; NULL: none */
    struct client_names names;
    LIST_ENTRY(intake) next;
};

/* One message in the making; lives in the session's transaction arena. */
struct transaction {
    struct acceptance accept;
    struct settings *settings; /* of the message: a reload in the middle does not touch it */
    const struct certificate_facts *certificate;
};

LIST_HEAD(intake_list, intake);

static struct intake_list *list_of(struct flow *flow) {
    return (struct intake_list *)(void *)&flow_here(flow)->intakes;
}

static struct smtp_reply reply_of(const struct outcome *o) {
    return (struct smtp_reply){o->code, o->enhanced, o->text};
}

static struct smtp_reply unless_done(struct outcome o) {
    return o.fate == OUTCOME_DONE ? (struct smtp_reply){0} : reply_of(&o);
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
    in->filter = filter_new(in->flow, in->settings, in->listener->name);
    return unless_done(filter_connect(in->filter, session, &in->names));
}

static struct smtp_reply hook_helo(void *arg, const struct smtp_session *session) {
    return unless_done(filter_helo(((struct intake *)arg)->filter, session));
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
    filter_end(in->filter);
    content_free(t->accept.content);
    settings_unref(t->settings);
}

static struct smtp_reply refuse(struct intake *in, struct transaction *t, const struct outcome *why,
                                struct str recipient) {
    accept_refused(in->flow, &t->accept, why, recipient);
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

/* What trusted peers say of the client before them. */
static void told_client(const struct smtp_session *session, struct acceptance *a) {
    const struct smtp_xforward *x = &session->xforward;
    char ip[IP_TEXT_SIZE];
    if (!ip_is_none(&session->proxied_by))
        a->told_why = str_printf(a->arena, "the proxy %s says so", ip_text(&session->proxied_by, ip));
    if (!x->given || ip_is_none(&x->addr))
        return;
    a->told_ip = x->addr;
    a->told_helo = str_copy(a->arena, x->helo);
    a->told_name = str_copy(a->arena, x->name);
    a->told_why = str_printf(a->arena, "%s says so (XFORWARD)", ip_text(&session->peer, ip));
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
        .original = {.ip = session->peer},
        .tls_version = str_of(session->tls_version),
        .tls_cipher = str_of(session->tls_cipher),
        .envid = mail->envid.at ? str_copy(arena, mail->envid) : STR(""),
        .ret = (enum spool_ret)mail->ret,
        .flags = (uint8_t)((mail->body == SMTP_BODY_8BITMIME ? SPOOL_8BITMIME : 0) |
                           (mail->smtputf8 ? SPOOL_SMTPUTF8 : 0)),
    };
    in->transaction = t;
    t->certificate = peer_certificate(&in->certificate, in->flow, t->settings, session);
    told_client(session, &t->accept);
    struct sender_facts facts;
    struct outcome refusal;
    attribute_facts(t, session, &facts);
    bool attributed = attribute(t->settings->policy, &facts, &t->accept.by, &refusal);
    bool taken = attributed &&
                 registered_check(in->flow, t->settings, &t->accept.by, t->accept.reverse_path, NULL, arena,
                                  &refusal, &t->accept.refused_why) &&
                 allowance_may_begin(in->flow, &t->accept, &refusal);
    const struct listener *listener = listener_of(t->settings, in->listener->name);
    if (!attributed && listener && listener->accept_forward && !session->user.len) {
        taken = t->accept.outside = true; /* the recipients decide */
        t->accept.by = (struct attribution){.relayed = t->accept.reverse_path.len > 0};
    }
    if (taken)
        refusal = filter_mail(in->filter, &t->accept, mail);
    if (taken && refusal.fate == OUTCOME_DONE)
        return (struct smtp_reply){0};
    struct smtp_reply reply = refuse(in, t, &refusal, STR(""));
    end_transaction(in);
    return reply;
}

/* The milters are asked about recipients that we would take, and told of others. */
static bool milters_refuse(struct intake *in, const struct envelope_rcpt *rcpt, struct outcome *ret_refusal) {
    struct acceptance *a = &in->transaction->accept;
    const struct tenant *tenant;
    struct envelope probe = {0};
    if (!in->filter)
        return false;
    if (envelope_add(&probe, a->settings->policy, rcpt, a->arena, &tenant, ret_refusal))
        *ret_refusal = filter_rcpt(in->filter, rcpt);
    else
        filter_refused(in->filter, rcpt, ret_refusal);
    return ret_refusal->fate != OUTCOME_DONE;
}

static struct smtp_reply hook_rcpt(void *arg, const struct smtp_session *session,
                                   const struct smtp_rcpt *rcpt) {
    struct intake *in = arg;
    struct transaction *t = in->transaction;
    struct acceptance *a = &t->accept;
    struct address to = rcpt->forward_path;
    struct envelope_rcpt one = {.notify = (uint8_t)rcpt->notify,
                                .outside = a->outside,
                                .tenant = a->outside ? a->by.tenant : NULL,
                                .now = a->arrival};
    const struct tenant *tenant;
    struct outcome refusal;
    (void)session;
    if (!to.domain.len)
        to.whole = recipient_postmaster(t->settings->policy, t->settings->node, a->arena);
    one.address = str_copy(a->arena, to.whole);
    one.orcpt = rcpt->orcpt.at ? str_copy(a->arena, rcpt->orcpt) : STR("");
    if (milters_refuse(in, &one, &refusal) ||
        !envelope_add(&a->envelope, t->settings->policy, &one, a->arena, &tenant, &refusal)) {
        suspicion_refused_rcpt(in->flow, a, one.address, &refusal);
        return refuse(in, t, &refusal, one.address);
    }
    filter_taken(in->filter, &one);
    if (a->outside && !a->by.tenant)
        a->by.tenant = tenant;
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
    struct acceptance *a = &in->transaction->accept;
    struct content_settings settings = {
        .authserv_id = a->settings->node,
        .verify = accept_verifies(a),
        .digest = accept_signs(a->settings),
        .now = a->arrival,
        .scan =
            in->filter || judge_looks(a->settings) ? judge_copy_place(in->flow, a->settings, a->arena) : NULL,
    };
    struct outcome refusal = filter_data(in->filter);
    (void)session;
    if (refusal.fate != OUTCOME_DONE)
        return refuse(in, in->transaction, &refusal, STR(""));
    a->content = content_new(in->flow, a->arena, &settings);
    return (struct smtp_reply){0};
}

static int hook_data_bytes(void *arg, const struct smtp_session *session, struct str bytes) {
    (void)session;
    return content_add(((struct intake *)arg)->transaction->accept.content, bytes);
}

#define REFUSAL(code, enhanced, text)                                                                        \
    ((struct outcome){OUTCOME_MESSAGE, OUTCOME_NEVER, (code), STR(enhanced), STR(text), false})

/* A user's From must say one thing to everybody: what a lenient reader might take for a second one is
 * refused. */
static bool unclear_sender(const struct content *content, int error, const struct address_list *from,
                           struct outcome *ret_refusal) {
    const struct header *header = &content->original;
    size_t fields = header_count(header, STR("From"));
    if (fields > 1)
        *ret_refusal = REFUSAL(554, "5.6.0", "The message has more than one From field");
    else if (fields && (error || !from->count))
        *ret_refusal = REFUSAL(554, "5.6.0", "The From field holds no address that can be read");
    else if (header->count && !header->separated && header->body_at < content->head_len)
        *ret_refusal = REFUSAL(554, "5.6.0", "A line in the header is no header field");
    else
        return false;
    return true;
}

/* What the header alone decides. True: *ret_refusal says no. */
static bool refuse_by_header(struct flow *flow, struct transaction *t, const struct smtp_session *session,
                             struct outcome *ret_refusal) {
    struct acceptance *a = &t->accept;
    const struct header *header = &a->content->original;
    if (submission_loops(a->content, ret_refusal))
        return true;
    if (!envelope_check_loops(&a->envelope, header, a->arena, ret_refusal))
        return true;
    if (a->outside)
        return false;
    struct address_list from = {0};
    struct sender_facts facts;
    attribute_facts(t, session, &facts);
    struct str value = header_value(a->arena, header, STR("From"));
    int error = value.at ? address_list_parse(a->arena, value, &from) : 0;
    if (session->user.len && unclear_sender(a->content, error, &from, ret_refusal))
        return true;
    facts.from = value.at ? &from : NULL; /* without one, a submission gets its own */
    struct str author = value.at || !session->user.len ? a->reverse_path : session->user;
    return !attribute(t->settings->policy, &facts, &a->by, ret_refusal) ||
           !registered_check(flow, t->settings, &a->by, author, header, a->arena, ret_refusal,
                             &a->refused_why);
}

/* Our Received field, and on authenticated submission what is missing (RFC 6409 8). */
static struct str header_prefix(const struct intake *in, struct transaction *t) {
    struct acceptance *a = &t->accept;
    const struct smtp_session *s = in->session;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    char ip[IP_TEXT_SIZE];
    if (a->verified.checked) {
        struct arrival_client client = accept_client(a);
        results_write(&out, a->settings->node, &client, &a->verified);
    }
    received_write(&out,
                   &(struct received_facts){
                       .helo = s->helo,
                       .client_name = in->names.peer.asked ? client_name_said(&in->names.peer) : STR(""),
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
                       .recipient = a->envelope.named_count == 1 ? a->envelope.named[0].address : STR(""),
                       .wall_ms = a->arrival,
                   });
    if (s->user.len) {
        struct str domain = address_split(a->reverse_path.len ? a->reverse_path : s->user).domain;
        accept_complete(a, &out, domain, s->user);
    }
    return str_copy(a->arena, buf_view(&out));
}

static struct smtp_reply hook_data_end(void *arg, const struct smtp_session *session, uint64_t size) {
    struct intake *in = arg;
    struct transaction *t = in->transaction;
    struct acceptance *a = &t->accept;
    struct outcome result;
    (void)size;
    int error = content_end(a->content);
    if (error)
        result = accept_content_refusal(a->content, error);
    else if (!refuse_by_header(in->flow, t, session, &result)) {
        accept_verify(in->flow, a);
        /* What the milters made of it is under the same rules. */
        if (filter_message(in->filter, a, &result) &&
            (!in->filter || !refuse_by_header(in->flow, t, session, &result))) {
            judge_client(in->flow, a, &in->names);
            a->prefix = header_prefix(in, t);
            result = accept_message(in->flow, a);
        }
    }
    struct smtp_reply reply = reply_of(&result);
    if (result.fate != OUTCOME_DONE)
        for (size_t i = 0; i < a->envelope.named_count; i++)
            reply = refuse(in, t, &result, a->envelope.named[i].address);
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
    .helo = hook_helo,
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
    in->filter = filter_free(in->filter);
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
