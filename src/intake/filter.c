#include "intake/filter.h"

#include "acceptance/rebuild.h"
#include "acceptance/registered.h"
#include "alert/alert.h"
#include "base/clock.h"
#include "intake/filter_macros.h"
#include "mail/mime.h"
#include "policy/envelope.h"
#include "scan/milter_health.h"
#include <stdlib.h>

enum { FIRST_ROOM = 16, ARGUMENTS_MAX = 16, HELD_MAX = 400, REST_MS = 10000 };

struct filter {
    struct filter_view view; /* what macros are taken from */
    struct flow *flow;
    struct settings *settings;
    struct milters *chain;
    struct acceptance *message; /* at hand, or NULL; as in `view` */
    struct milter_calls calls;
    struct arena *scratch;
    struct envelope_rcpt *rcpts; /* of the message at hand, in its arena: as taken */
    size_t count, room;
};

static const struct outcome passes = {.fate = OUTCOME_DONE};

/* ---- what the chain asks and tells ---- */

static struct str macro(void *arg, struct str name) {
    struct filter *f = arg;
    arena_reset(f->scratch);
    return filter_macro(&f->view, name, f->scratch);
}

static struct resolver *resolver_now(void *arg) { return flow_here(((struct filter *)arg)->flow)->resolver; }

static bool rests(void *arg, const struct milter_settings *m) {
    return milter_service_rests(((struct filter *)arg)->flow->milters, m->name, clock_wall_ms());
}

static void failed(void *arg, const struct milter_settings *m, struct str why, bool silent) {
    struct filter *f = arg;
    struct arena *arena = arena_new(0);
    int64_t now = clock_wall_ms();
    milter_service_note(f->flow->milters, m->name, false, why, now);
    if (silent)
        milter_service_rest(f->flow->milters, m->name, now + REST_MS);
    log_event(f->flow->log, LOG_WARNING, "milter failed", "milter", str_c(arena, m->name), "why",
              str_c(arena, why), "trace_id", f->view.a ? f->view.a->id.text : NULL, NULL);
    static const char *const meanwhile[] = {
        [MILTER_FAILS_DEFER] = "Mail that it should see gets 451 4.7.1 meanwhile.",
        [MILTER_FAILS_ACCEPT] = "Mail is taken without it meanwhile (on-failure = accept).",
        [MILTER_FAILS_REJECT] = "Mail that it should see is refused meanwhile (on-failure = reject).",
    };
    struct alert alert = {
        .kind = ALERT_SCANNER_DOWN,
        .subject = str_printf(arena, "milter %.*s", STR_FMT(m->name)),
        .text = str_printf(arena, "The milter %.*s failed: %.*s. %s", STR_FMT(m->name), STR_FMT(why),
                           meanwhile[m->on_failure]),
        .advice = str_printf(arena, "See whether it runs and listens at %.*s, and what its own log says.",
                             STR_FMT(m->endpoint.text)),
    };
    alert_raise(f->flow->alerts, &alert);
    arena_free(arena);
}

static void worked(void *arg, const struct milter_settings *m) {
    struct filter *f = arg;
    if (!milter_service_note(f->flow->milters, m->name, true, STR(""), clock_wall_ms()))
        return;
    struct arena *arena = arena_new(0);
    log_event(f->flow->log, LOG_INFO, "milter works again", "milter", str_c(arena, m->name), NULL);
    struct alert alert = {.kind = ALERT_SCANNER_DOWN,
                          .subject = str_printf(arena, "milter %.*s", STR_FMT(m->name)),
                          .text = STR("It answers again."),
                          .over = true};
    alert_raise(f->flow->alerts, &alert);
    arena_free(arena);
}

/* ---- its life ---- */

struct filter *filter_new(struct flow *flow, struct settings *settings, struct str listener) {
    if (!settings->milters.count)
        return NULL;
    struct filter *f = xcalloc(1, sizeof *f);
    f->flow = flow;
    f->view = (struct filter_view){.settings = settings,
                                   .listener = listener,
                                   .client_name = STR("localhost"),
                                   .client_resolve = STR("OK")};
    f->calls = (struct milter_calls){.arg = f,
                                     .macro = macro,
                                     .failed = failed,
                                     .worked = worked,
                                     .rests = rests,
                                     .resolver = resolver_now};
    f->chain = milters_new(&settings->milters, listener, &f->calls);
    if (!f->chain) {
        free(f);
        return NULL;
    }
    f->settings = settings_ref(settings);
    f->scratch = arena_new(0);
    return f;
}

struct filter *filter_free(struct filter *f) {
    if (!f)
        return NULL;
    milters_free(f->chain);
    arena_free(f->scratch);
    settings_unref(f->settings);
    free(f);
    return NULL;
}

/* ---- the session ---- */

/* Of a connection or its name: there is no message yet that would be traced. */
static void log_refusal(struct filter *f, const struct milter_result *r) {
    struct arena *arena = f->view.session->arena;
    char ip[IP_TEXT_SIZE];
    log_event(f->flow->log, LOG_INFO, "session refused", "client", ip_text(&f->view.session->peer, ip),
              "reply", str_c(arena, outcome_line(arena, &r->reply)), "why",
              str_c(arena, str_printf(arena, "milter %.*s", STR_FMT(r->milter))), NULL);
}

/* What a result is to the client. */
static struct outcome answer(struct filter *f, const struct milter_result *r) {
    struct acceptance *a = f->message;
    if (r->fate != MILTER_REFUSES)
        return passes;
    if (!r->failed)
        milter_service_count(f->flow->milters, r->milter, MILTER_COUNT_REFUSED);
    if (!a)
        log_refusal(f, r);
    else
        a->refused_why =
            str_printf(a->arena, r->failed ? "milter %.*s failed" : "milter %.*s", STR_FMT(r->milter));
    return r->reply;
}

/* By its PTR, when that is confirmed; else its address in brackets, as Sendmail has it. */
static void name_client(struct filter *f, const struct smtp_session *session, struct client_names *names) {
    static const char *const words[] = {[FCRDNS_RIGHT] = "OK",
                                        [FCRDNS_NO_PTR] = "FAIL",
                                        [FCRDNS_NOT_CONFIRMED] = "FORGED",
                                        [FCRDNS_UNASKED] = "TEMP"};
    struct filter_view *v = &f->view;
    char ip[IP_TEXT_SIZE];
    const struct client_name *n =
        client_name_ask(names, f->flow, &session->peer, true, f->settings->dns.timeout_ms);
    v->client_name = n->name.len ? n->name : str_printf(session->arena, "[%s]", ip_text(&session->peer, ip));
    v->client_ptr = n->ptr;
    v->client_resolve = str_of(words[n->state]);
}

struct outcome filter_connect(struct filter *f, const struct smtp_session *session,
                              struct client_names *names) {
    struct milter_result r;
    if (!f)
        return passes;
    f->view.session = session;
    name_client(f, session, names);
    struct milter_client client = {
        .hostname = f->view.client_name,
        .ip = session->peer,
        .port = session->peer_port,
    };
    milters_connect(f->chain, &client, session->arena, &r);
    struct outcome o = answer(f, &r);
    if (o.fate == OUTCOME_LATER && o.code != 421)
        return passes; /* MAIL says it again */
    if (o.fate == OUTCOME_NEVER)
        o.code = 554; /* the only one that a greeting may have (RFC 5321 4.3.2) */
    return o;
}

struct outcome filter_helo(struct filter *f, const struct smtp_session *session) {
    struct milter_result r;
    if (!f)
        return passes;
    milters_helo(f->chain, session->helo, session->arena, &r);
    return answer(f, &r);
}

/* ---- the envelope ---- */

/* "<a@b>" and the parameters, from the command as we would say it. */
static size_t arguments_of(struct buf *command, struct str address, struct arena *arena,
                           struct str out[ARGUMENTS_MAX]) {
    size_t count = 0;
    out[count++] = str_printf(arena, "<%.*s>", STR_FMT(address));
    struct str rest = str_trim(buf_view(command)), word;
    ptrdiff_t end = str_find(rest, out[0]);
    rest = end < 0 ? STR("") : str_from_index(rest, (size_t)end + out[0].len);
    while (count < ARGUMENTS_MAX && str_cut(&rest, ' ', &word))
        if (word.len)
            out[count++] = str_copy(arena, word);
    return count;
}

struct outcome filter_mail(struct filter *f, struct acceptance *a, const struct smtp_mail *mail) {
    struct buf command __attribute__((cleanup(buf_free))) = {0};
    struct str arguments[ARGUMENTS_MAX];
    struct milter_result r;
    if (!f)
        return passes;
    f->view.a = f->message = a;
    f->rcpts = NULL, f->count = f->room = 0;
    if (smtp_mail_write(&command, mail, ~0U) != 0)
        buf_clear(&command);
    size_t count = arguments_of(&command, a->reverse_path, a->arena, arguments);
    milters_mail(f->chain, arguments, count, a->arena, &r);
    return answer(f, &r);
}

void filter_taken(struct filter *f, const struct envelope_rcpt *rcpt) {
    if (!f)
        return;
    if (f->count == f->room) {
        f->room = f->room ? 2 * f->room : FIRST_ROOM;
        struct envelope_rcpt *more = arena_array(f->view.a->arena, struct envelope_rcpt, f->room);
        if (f->count)
            memcpy(more, f->rcpts, f->count * sizeof *more);
        f->rcpts = more;
    }
    f->rcpts[f->count++] = *rcpt;
}

/* Asks about one recipient, or tells that it was refused. */
static void tell_rcpt(struct filter *f, const struct envelope_rcpt *rcpt, const struct outcome *refused,
                      struct milter_result *ret) {
    struct buf command __attribute__((cleanup(buf_free))) = {0};
    struct str arguments[ARGUMENTS_MAX];
    struct arena *arena = f->view.a->arena;
    struct smtp_rcpt said = {
        .forward_path = address_split(rcpt->address), .notify = rcpt->notify, .orcpt = rcpt->orcpt};
    if (!rcpt->orcpt.len)
        said.orcpt = STR_NULL;
    if (smtp_rcpt_write(&command, &said, ~0U, true) != 0)
        buf_clear(&command);
    size_t count = arguments_of(&command, rcpt->address, arena, arguments);
    f->view.rcpt = rcpt->address;
    f->view.rcpt_refused = refused;
    (refused ? milters_refused_rcpt : milters_rcpt)(f->chain, arguments, count, arena, ret);
    f->view.rcpt = STR_NULL;
    f->view.rcpt_refused = NULL;
}

struct outcome filter_rcpt(struct filter *f, const struct envelope_rcpt *rcpt) {
    struct milter_result r;
    if (!f)
        return passes;
    tell_rcpt(f, rcpt, NULL, &r);
    return answer(f, &r);
}

void filter_refused(struct filter *f, const struct envelope_rcpt *rcpt, struct outcome *refusal) {
    struct milter_result r;
    if (!f)
        return;
    tell_rcpt(f, rcpt, refusal, &r);
    if (r.fate == MILTER_REFUSES && !r.failed && r.reply.code == 421)
        *refusal = answer(f, &r);
}

struct outcome filter_data(struct filter *f) {
    struct milter_result r;
    if (!f)
        return passes;
    milters_data(f->chain, f->view.a->arena, &r);
    return answer(f, &r);
}

void filter_end(struct filter *f) {
    if (!f)
        return;
    milters_abort(f->chain);
    f->view.a = f->message = NULL;
    f->rcpts = NULL, f->count = f->room = 0;
}

/* ---- what the milters made of the message ---- */

/* A wish that can't be had: as the milter's `on-failure` says. True: go on without it. */
static bool cant(struct filter *f, struct str milter, struct str why, struct outcome *ret) {
    struct milter_result r;
    milters_failed(f->chain, milter, why, &r);
    *ret = answer(f, &r);
    return ret->fate == OUTCOME_DONE;
}

static struct str bracketed(struct arena *arena, struct str address) {
    address = str_trim(address);
    return str_starts(address, STR("<")) ? address : str_printf(arena, "<%.*s>", STR_FMT(address));
}

/* Its reverse-path is another one: what was verified of the old one says nothing about it. */
static bool change_from(struct filter *f, struct acceptance *a, const struct milter_message *m,
                        struct outcome *ret) {
    struct str said = str_printf(a->arena, "FROM:%.*s", STR_FMT(bracketed(a->arena, m->from)));
    struct smtp_mail mail;
    unsigned utf8 = a->flags & SPOOL_SMTPUTF8 ? SMTP_EXTENSION_SMTPUTF8 : 0;
    if (utf8)
        said = str_printf(a->arena, "%.*s SMTPUTF8", STR_FMT(said));
    if (smtp_mail_parse(said, utf8, a->arena, &mail).code != 0)
        return cant(f, m->from_milter, STR("it wants a reverse-path that is no address"), ret);
    a->reverse_path = str_copy(a->arena, mail.reverse_path.whole);
    if (a->outside)
        a->by.relayed = a->reverse_path.len > 0;
    if (a->verified.checked)
        a->verified.spf = (struct spf_check){
            .domain = STR(""), .reason = STR("a milter changed the reverse-path, which nobody vouches for")};
    return a->outside || registered_check(f->flow, a->settings, &a->by, a->reverse_path, NULL, a->arena, ret,
                                          &a->refused_why);
}

static void take_out(struct filter *f, struct str address) {
    size_t left = 0;
    for (size_t i = 0; i < f->count; i++)
        if (!address_same(f->rcpts[i].address, address))
            f->rcpts[left++] = f->rcpts[i];
    f->count = left;
}

/* The recipient that a change names. False: it is no address. */
static bool read_rcpt(const struct acceptance *a, const struct milter_rcpt_change *change,
                      struct smtp_rcpt *ret) {
    struct str said = str_printf(a->arena, "TO:%.*s %.*s", STR_FMT(bracketed(a->arena, change->address)),
                                 STR_FMT(change->arguments));
    bool utf8 = a->flags & SPOOL_SMTPUTF8;
    return smtp_rcpt_parse(str_trim(said), SMTP_EXTENSION_DSN, utf8, a->arena, ret).code == 0 &&
           ret->forward_path.domain.len;
}

/* The envelope with this recipient too: it is taken, or refused, as one of the client's would be. */
static bool add_rcpt(struct filter *f, struct acceptance *a, const struct milter_rcpt_change *change,
                     const struct smtp_rcpt *to, struct outcome *ret) {
    struct envelope_rcpt rcpt = {.address = str_copy(a->arena, to->forward_path.whole),
                                 .orcpt = to->orcpt.at ? str_copy(a->arena, to->orcpt) : STR(""),
                                 .notify = (uint8_t)to->notify,
                                 .outside = a->outside,
                                 .tenant = a->outside ? a->by.tenant : NULL,
                                 .now = a->arrival};
    const struct tenant *tenant;
    struct envelope probe = {0};
    struct outcome refusal;
    if (!envelope_add(&probe, a->settings->policy, &rcpt, a->arena, &tenant, &refusal))
        return cant(f, change->milter,
                    str_printf(a->arena, "it adds the recipient %.*s: %.*s", STR_FMT(rcpt.address),
                               STR_FMT(outcome_line(a->arena, &refusal))),
                    ret);
    filter_taken(f, &rcpt);
    return true;
}

static bool change_rcpts(struct filter *f, struct acceptance *a, const struct milter_message *m,
                         struct outcome *ret) {
    for (size_t i = 0; i < m->rcpt_count; i++) {
        const struct milter_rcpt_change *change = &m->rcpts[i];
        struct smtp_rcpt to;
        if (!read_rcpt(a, change, &to)) {
            if (change->add && !cant(f, change->milter, STR("it adds a recipient that is no address"), ret))
                return false;
        } else if (!change->add) {
            take_out(f, to.forward_path.whole);
        } else if (!add_rcpt(f, a, change, &to, ret)) {
            return false;
        }
    }
    /* Anew: forwards of those that are left may have been merged with what is gone. */
    a->envelope = (struct envelope){0};
    for (size_t i = 0; i < f->count; i++) {
        const struct tenant *tenant;
        if (!envelope_add(&a->envelope, a->settings->policy, &f->rcpts[i], a->arena, &tenant, ret))
            return false;
    }
    return true;
}

/* Taken, and thrown away, as the milter wants it. */
static struct outcome discarded(struct filter *f, const struct acceptance *a, const struct envelope *to,
                                struct str milter) {
    struct str why = str_printf(a->arena, "discarded by the milter %.*s", STR_FMT(milter));
    struct trace_event event = {.time = clock_wall_ms(), .event = TRACE_DROP, .reply = why};
    accept_trace_facts(a, &event);
    for (size_t i = 0; i < to->named_count; i++) {
        event.recipient = to->named[i].address;
        flow_trace(f->flow, &event);
    }
    milter_service_count(f->flow->milters, milter, MILTER_COUNT_DISCARDED);
    log_event(f->flow->log, LOG_INFO, "discarded", "trace_id", a->id.text, "from",
              str_c(a->arena, a->reverse_path), "why", str_c(a->arena, why), NULL);
    return (struct outcome){OUTCOME_MESSAGE,
                            OUTCOME_DONE,
                            250,
                            STR("2.0.0"),
                            str_printf(a->arena, "Accepted %s", a->id.text),
                            false};
}

static void count_changes(struct filter *f, const struct acceptance *a, struct str milters) {
    struct str name;
    log_event(f->flow->log, LOG_INFO, "changed by milters", "trace_id", a->id.text, "milters",
              str_c(a->arena, milters), NULL);
    while (str_cut(&milters, ',', &name))
        milter_service_count(f->flow->milters, str_trim(name), MILTER_COUNT_CHANGED);
}

/* True: it goes on. */
static bool carry_out(struct filter *f, struct acceptance *a, struct milter_message *m,
                      const struct milter_result *r, struct outcome *ret) {
    struct envelope before = a->envelope;
    if (r->fate == MILTER_REFUSES)
        *ret = answer(f, r);
    else if (r->fate == MILTER_DISCARDS)
        *ret = discarded(f, a, &before, r->milter);
    if (r->fate != MILTER_PASSES || (m->from_changed && !change_from(f, a, m, ret)) ||
        (m->rcpt_count && !change_rcpts(f, a, m, ret)))
        return false;
    if (!f->count) {
        *ret = discarded(f, a, &before, m->rcpts[m->rcpt_count - 1].milter);
        return false;
    }
    int error = m->header_changed || m->body ? rebuild(f->flow, a, m, true) : 0;
    if (error) {
        *ret = accept_content_refusal(a->content, error);
        return false;
    }
    if (m->changed_by.len)
        count_changes(f, a, m->changed_by);
    if (m->held_by.len) {
        struct str why = utf8_clean(a->arena, str_head(m->held_why, HELD_MAX));
        a->quarantine = str_printf(a->arena, "quarantined by the milter %.*s%s%.*s", STR_FMT(m->held_by),
                                   why.len ? ": " : "", STR_FMT(why));
        milter_service_count(f->flow->milters, m->held_by, MILTER_COUNT_QUARANTINED);
    }
    return true;
}

bool filter_message(struct filter *f, struct acceptance *a, struct outcome *ret) {
    struct milter_result r;
    if (!f)
        return true;
    struct milter_message m = rebuild_begin(a);
    milters_message(f->chain, &m, a->arena, &r);
    bool goes_on = carry_out(f, a, &m, &r, ret);
    milter_message_end(&m);
    return goes_on;
}

/* ---- a submission ---- */

bool filter_submission(struct filter *f, struct acceptance *a, struct outcome *ret) {
    struct milter_result r;
    struct milter_client client = {.hostname = STR("localhost")};
    if (!f)
        return true;
    f->view.a = f->message = a;
    ip_parse(STR("127.0.0.1"), &client.ip);
    milters_connect(f->chain, &client, a->arena, &r);
    *ret = answer(f, &r);
    if (ret->fate == OUTCOME_DONE) {
        milters_helo(f->chain, a->settings->node, a->arena, &r);
        *ret = answer(f, &r);
    }
    if (ret->fate == OUTCOME_DONE) {
        struct smtp_mail mail = {.reverse_path = address_split(a->reverse_path),
                                 .smtputf8 = a->flags & SPOOL_SMTPUTF8};
        *ret = filter_mail(f, a, &mail);
    }
    for (size_t i = 0; i < a->envelope.named_count && ret->fate == OUTCOME_DONE; i++) {
        struct envelope_rcpt rcpt = {.address = a->envelope.named[i].address, .now = a->arrival};
        *ret = filter_rcpt(f, &rcpt);
        filter_taken(f, &rcpt);
    }
    if (ret->fate == OUTCOME_DONE)
        *ret = filter_data(f);
    return ret->fate == OUTCOME_DONE && filter_message(f, a, ret);
}
