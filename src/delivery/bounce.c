#include "delivery/bounce.h"

#include "acceptance/accept.h"
#include "base/clock.h"
#include "dsn/dsn.h"
#include "rt/fiber.h"
#include "seeded_bug.h"
#include <stdio.h>

bool bounce_is_report(const struct spool_message *m) {
    return spool_attribute_get(m->groups[0].attributes, m->groups[0].attribute_count, ACCEPT_REPORT_OF).len >
           0;
}

struct str bounce_forbidden(const struct spool_message *m) {
#ifdef SLUICE_SEEDED_BUG_BACKSCATTER
    (void)m;
    return STR("");
#else
    return spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_NO_REPORT);
#endif
}

/* ---- the original, as far as the report returns it ---- */

struct original_call {
    struct spool *spool;
    uint64_t message;
    struct buf *out;
    size_t limit;
    bool complete;
    int error;
};

static void read_original(void *arg) {
    struct original_call *call = arg;
    struct spool_reader *reader = NULL;
    call->error = spool_reader_open(call->spool, call->message, SPOOL_WAIT, &reader);
    if (call->error)
        return;
    call->complete = true;
    for (size_t got = 1; got && !call->error;) {
        if (call->out->len >= call->limit) {
            call->complete = spool_reader_size(reader) <= call->limit;
            break;
        }
        buf_reserve(call->out, 65536);
        call->error = spool_reader_next(reader, SPOOL_WAIT, call->out->at + call->out->len, 65536, &got);
        call->out->len += call->error ? 0 : got;
    }
    spool_reader_close(reader);
}

/* ---- who is told what ---- */

static size_t gather(const struct spool_message *m, const struct settle_recipient *failed, size_t count,
                     const struct settle_where *where, struct bounce_result *ret, struct dsn_recipient *out) {
    size_t due = 0;
    bool spam = !str_eq(m->verdict, STR("clean"));
    for (size_t i = 0; i < count; i++) {
        const struct spool_recipient *r = spool_recipient_at(m, failed[i].delivery->recipient, NULL);
        ret->why_not[i] = bounce_forbidden(m);
        if (ret->why_not[i].len)
            continue;
        struct dsn_question question = {
            .reverse_path = m->return_path, .notify = r->notify, .judged_spam = spam, .action = DSN_FAILED};
        if (!dsn_due(&question, &ret->why_not[i]))
            continue;
        ret->why_not[i] = STR("");
        out[due++] = (struct dsn_recipient){
            .final = r->address,
            .original = r->orcpt,
            .action = DSN_FAILED,
            .outcome = failed[i].outcome,
            .remote_mta = failed[i].outcome.remote ? where->server_name : STR(""),
            .last_attempt_ms = clock_wall_ms(),
        };
    }
    return due;
}

/* The report speaks for the domain that the sender belongs to, so that it aligns (m365.md 8.7). */
static struct str report_from(struct arena *arena, const struct settings *settings,
                              const struct tenant *tenant) {
    struct str domain = tenant && tenant->domain_count ? tenant->domains[0] : settings->node;
    return str_printf(arena, "postmaster@%.*s", STR_FMT(domain));
}

/* Where the report goes: the sender may be one of ours who forwards, or an address that we rewrote. What the
 * policy forbids to others it does not forbid to reports of their own mail. */
static void address_report(struct acceptance *a, struct str to) {
    struct envelope_rcpt rcpt = {.address = to, .notify = SPOOL_NOTIFY_NEVER, .now = a->arrival};
    const struct tenant *tenant;
    struct outcome refusal;
    if (envelope_add(&a->envelope, a->settings->policy, &rcpt, a->arena, &tenant, &refusal))
        return;
    a->envelope.copies = arena_new_of(a->arena, struct envelope_copy);
    a->envelope.copies[0] =
        (struct envelope_copy){.to = {.address = to, .notify = SPOOL_NOTIFY_NEVER}, .named = to};
    a->envelope.copy_count = a->envelope.copy_room = 1;
}

/* The report as a message to accept: signed as any mail of the tenant's. */
static int accept_report(struct flow *flow, struct settings *settings, const struct spool_message *m,
                         const struct tenant *tenant, struct str report, uint8_t flags, struct trace_id id,
                         struct arena *arena) {
    struct acceptance a = {
        .id = id,
        .arrival = clock_wall_ms(),
        .arena = arena,
        .settings = settings,
        .by = {.tenant = tenant},
        .own_report = true,
        .prefix = STR(""),
        .flags = flags,
        .references = m->trace_id,
    };
    struct content_settings content = {
        .authserv_id = settings->node, .digest = accept_signs(settings), .now = a.arrival};
    address_report(&a, m->return_path);
    a.content = content_new(flow, arena, &content);
    int error = content_add(a.content, report);
    if (!error)
        error = content_end(a.content);
    if (!error && accept_message(flow, &a).fate != OUTCOME_DONE)
        error = SLUICE_EBUSY;
    content_free(a.content);
    return error;
}

static int build(const struct settings *settings, const struct spool_message *m,
                 const struct delivery *failed, struct spool *spool, const struct tenant *tenant,
                 enum spool_ret returned, const struct dsn_recipient *recipients, size_t count,
                 struct trace_id *id, struct arena *arena, struct buf *out, uint8_t *ret_flags) {
    struct buf original __attribute__((cleanup(buf_free))) = {0};
    /* RET=HDRS and the default need only the start; RET=FULL the whole. */
    struct original_call call = {spool,     failed->message,
                                 &original, returned == SPOOL_RET_FULL ? SIZE_MAX : DSN_FULL_MAX + 1,
                                 false,     0};
    buf_str(&original, m->groups[failed->group].header_prefix); /* as it left: with what we added */
    offload(read_original, &call);
    if (call.error)
        buf_clear(&original); /* the sender must hear of it even when the body is damaged */
    struct dsn_facts facts = {
        .reporting_mta = settings->node,
        .trace_id = m->trace_id,
        .report_id = trace_id_str(id),
        .envid = m->envid,
        .from = report_from(arena, settings, tenant),
        .to = m->return_path,
        .arrival_ms = m->arrival,
        .wall_ms = clock_wall_ms(),
        .ret = (enum dsn_ret)returned,
        .original = buf_view(&original),
        .original_complete = !call.error && call.complete,
        .recipients = recipients,
        .recipient_count = count,
    };
    bool utf8 = false, eight = false;
    int error = dsn_build(&facts, out, &utf8, &eight);
    *ret_flags = (uint8_t)((utf8 ? SPOOL_SMTPUTF8 : 0) | (eight ? SPOOL_8BITMIME : 0));
    return error;
}

/* Builds and accepts it; one that is too big to store returns the header only. */
static int send_report(struct flow *flow, struct settings *settings, const struct spool_message *m,
                       const struct delivery *failed, const struct dsn_recipient *recipients, size_t count,
                       struct trace_id *id, struct arena *arena) {
    const struct tenant *tenant = m->tenant.len ? policy_tenant(settings->policy, m->tenant) : NULL;
    struct buf report __attribute__((cleanup(buf_free))) = {0};
    enum spool_ret returned = m->ret;
    for (;;) {
        uint8_t flags = 0;
        buf_clear(&report);
        int error = build(settings, m, failed, flow->spool, tenant, returned, recipients, count, id, arena,
                          &report, &flags);
        if (!error)
            error = accept_report(flow, settings, m, tenant, buf_view(&report), flags, *id, arena);
        if (error != SLUICE_ETOOBIG || returned == SPOOL_RET_HDRS)
            return error;
        returned = SPOOL_RET_HDRS;
    }
}

int bounce_send(struct flow *flow, const struct spool_message *m, const struct settle_recipient *failed,
                size_t count, const struct settle_where *where, struct arena *arena,
                struct bounce_result *ret) {
    *ret = (struct bounce_result){.why_not = arena_array(arena, struct str, count)};
    struct dsn_recipient *recipients = arena_array(arena, struct dsn_recipient, count);
    size_t due = gather(m, failed, count, where, ret, recipients);
    if (!due)
        return 0;
    struct settings *settings = flow_settings(flow);
    struct trace_id id = trace_id_new(clock_wall_ms());
    int error = send_report(flow, settings, m, failed[0].delivery, recipients, due, &id, arena);
    settings_unref(settings);
    if (error) {
        log_event(flow->log, LOG_ERROR, "a report could not be made; the failure waits for it", "trace_id",
                  str_c(arena, m->trace_id), "error", error_text(error), NULL);
        return error;
    }
    FLOW_COUNT(flow, reports, 1);
    ret->report = id;
    return 0;
}

void bounce_trace(struct flow *flow, const struct bounce_result *report, size_t at,
                  const struct trace_event *failed) {
    if (report->why_not[at].len || !report->report.text[0]) {
        char why[128];
        snprintf(why, sizeof why, "%.*s", STR_FMT(report->why_not[at]));
        log_event(flow->log, LOG_INFO, "no report", "trace_id", failed->trace_id.text, "why", why, NULL);
        return;
    }
    struct trace_event event = {
        .time = failed->time,
        .event = TRACE_DSN,
        .trace_id = failed->trace_id,
        .recipient = failed->recipient,
        .attempts = failed->attempts,
        .reference = trace_id_str(&report->report),
    };
    flow_trace(flow, &event);
}
