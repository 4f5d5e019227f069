#include "delivery/settle.h"

#include "alert/alert.h"
#include "base/clock.h"
#include "delivery/bounce.h"
#include "delivery/suspicion_answers.h"
#include "identity/faults.h"
#include "mail/address.h"
#include "rt/fiber.h"
#include "seeded_bug.h"
#include <stdio.h>

enum { REPORT_RETRY_MS = 5 * 60 * 1000, KNOWN_FAULTS_MAX = 1000 };

/* ---- reading the envelope ---- */

struct read_call {
    struct spool *spool;
    uint64_t message;
    struct arena *arena;
    struct spool_message *ret;
    int error;
};

static void read_offloaded(void *arg) {
    struct read_call *call = arg;
    call->error = spool_read(call->spool, call->message, SPOOL_WAIT, call->arena, call->ret);
}

int settle_read(struct flow *flow, uint64_t message, struct arena *arena, struct spool_message *ret) {
    struct read_call call = {flow->spool, message, arena, ret, 0};
    call.error = spool_read(flow->spool, message, SPOOL_NOWAIT, arena, ret);
    if (call.error == SLUICE_EBUSY)
        offload(read_offloaded, &call);
    return call.error;
}

/* ---- the trace ---- */

static struct trace_event event_of(const struct spool_message *m, const struct delivery *d,
                                   enum trace_kind kind, const struct settle_where *where) {
    uint32_t group = 0;
    const struct spool_recipient *r = spool_recipient_at(m, d->recipient, &group);
    struct trace_event event = {
        .time = clock_wall_ms(),
        .event = kind,
        .recipient = r->address,
        .attempts = (int64_t)d->attempts + 1,
        .class = TRACE_CLASS(m->groups[group].mail_class),
        .rule = m->groups[group].rule,
    };
    memcpy(event.trace_id.text, m->trace_id.at, TRACE_ID_LEN);
    if (where) {
        event.outbound_ip = where->source;
        event.ehlo = where->ehlo.len ? where->ehlo : STR_NULL;
        event.server_ip = where->server;
        event.server_hostname = where->server_name.len ? where->server_name : STR_NULL;
        event.tls = where->tls ? str_of(where->tls) : STR_NULL;
    }
    return event;
}

static void log_fate(struct flow *flow, const struct trace_event *event, struct arena *arena) {
    char from[IP_TEXT_SIZE], to[IP_TEXT_SIZE];
    if (!log_wants(flow->log, LOG_INFO))
        return;
    log_event(flow->log, LOG_INFO,
              event->event == TRACE_SEND    ? "delivered"
              : event->event == TRACE_DEFER ? "deferred"
                                            : "failed",
              "trace_id", event->trace_id.text, "to", str_c(arena, event->recipient), "pool",
              str_c(arena, event->pool), "source", ip_text(&event->outbound_ip, from), "server",
              ip_text(&event->server_ip, to), "reply", str_c(arena, event->reply), "identity",
              event->identity.len ? str_c(arena, event->identity) : NULL, NULL);
}

/* A refusal for policy or authentication (RFC 3463 3.8), with what the last survey knew to be wrong with what
 * the receiver judges: the address, its EHLO name, the sender's domain. */
static struct str known_faults(struct flow *flow, const struct spool_message *m, const struct outcome *o,
                               const struct settle_where *where, struct arena *arena) {
    char ip[IP_TEXT_SIZE];
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    bool policy = o->enhanced.len > 3 && memcmp(o->enhanced.at + 1, ".7.", 3) == 0;
    if (o->fate == OUTCOME_DONE || !o->remote || !policy || !where)
        return STR_NULL;
    const struct str subjects[] = {
        str_of(ip_text(&where->source, ip)),
        where->ehlo,
        address_split(m->sender.len ? m->sender : m->return_path).domain,
    };
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        struct str about = faults_about(flow->faults, subjects[i], arena);
        if (about.len)
            buf_printf(&text, "%s%.*s: %.*s", text.len ? "; " : "", STR_FMT(subjects[i]), STR_FMT(about));
    }
    return text.len ? str_copy(arena, str_head(buf_view(&text), KNOWN_FAULTS_MAX)) : STR_NULL;
}

/* ---- one fate ---- */

/* An attempt's end, on its way to spool, trace and queue. */
struct ending {
    struct delivery *delivery;
    struct outcome outcome;
    struct trace_event event;
    struct spool_outcome fate;
};

static enum trace_kind kind_of(enum outcome_fate fate) {
    return fate == OUTCOME_DONE ? TRACE_SEND : fate == OUTCOME_LATER ? TRACE_DEFER : TRACE_FAIL;
}

static struct ending ending_of(struct flow *flow, const struct spool_message *m,
                               const struct settle_recipient *r, const struct settle_where *where,
                               struct arena *arena) {
    struct ending e = {.delivery = r->delivery, .outcome = r->outcome};
    e.event = event_of(m, r->delivery, kind_of(r->outcome.fate), where);
    e.event.pool = queue_delivery_pool(flow->queue, r->delivery);
    e.event.reply = outcome_line(arena, &r->outcome);
    e.event.identity = known_faults(flow, m, &r->outcome, where, arena);
    e.fate = (struct spool_outcome){.time = e.event.time,
                                    .attempts = (uint32_t)r->delivery->attempts + 1,
                                    .source = e.event.outbound_ip,
                                    .reply = e.event.reply};
    if (ip_is_none(&e.fate.source)) /* nothing was dialled: the next try keeps the address of the last
                                       (invariant 6) */
        e.fate.source = queue_delivery_source(flow->queue, r->delivery);
#ifdef SLUICE_SEEDED_BUG_STICKY_FORGOTTEN
    e.fate.source = (struct ip){0};
#endif
    return e;
}

static void defer(struct ending *e, int64_t due) {
    e->event.event = TRACE_DEFER;
    e->fate.fate = SPOOL_DEFERRED;
    e->fate.due = due;
}

/* A report that can't be delivered ends without another one, and so does mail of a sender who may be somebody
 * else. */
static void fail(const struct spool_message *m, struct ending *e, struct arena *arena) {
    struct str forbidden = bounce_forbidden(m);
    if ((m->return_path.len == 0 && bounce_is_report(m)) || forbidden.len)
        e->event.event = TRACE_DROP;
    if (forbidden.len)
        e->event.reply =
            str_printf(arena, "%.*s; no report: %.*s", STR_FMT(e->event.reply), STR_FMT(forbidden));
    e->fate.fate = SPOOL_FAILED;
}

/* The failures of one attempt go into one report. When it can't be made durable, they are tried again
 * later instead: nobody would learn of them. */
static void report_failures(struct flow *flow, const struct spool_message *m, struct ending *endings,
                            size_t count, const struct settle_where *where, struct arena *arena,
                            struct bounce_result *ret) {
    struct settle_recipient *failed = arena_array(arena, struct settle_recipient, count);
    for (size_t i = 0; i < count; i++)
        failed[i] = (struct settle_recipient){endings[i].delivery, endings[i].outcome};
    *ret = (struct bounce_result){.why_not = arena_array(arena, struct str, count)};
#ifdef SLUICE_SEEDED_BUG_FAILURE_UNREPORTED
    int error = 0;
#else
    int error = bounce_send(flow, m, failed, count, where, arena, ret);
#endif
    for (size_t i = 0; i < count; i++) {
        if (error)
            defer(&endings[i], endings[i].event.time + REPORT_RETRY_MS);
        else
            fail(m, &endings[i], arena);
    }
}

/* The spool knows before anybody else; what waits for the trace must not hold up the next recipient's record.
 */
static void record(struct flow *flow, struct ending *endings, size_t count) {
    for (size_t i = 0; i < count; i++)
        spool_outcome(flow->spool, endings[i].delivery->message, endings[i].delivery->recipient,
                      &endings[i].fate, NULL, NULL);
}

static void tell(struct flow *flow, struct ending *e, const struct bounce_result *report, size_t at,
                 struct arena *arena) {
    log_fate(flow, &e->event, arena);
    flow_trace(flow, &e->event);
    switch (e->fate.fate) {
    case SPOOL_DEFERRED:
        FLOW_COUNT(flow, deferred, 1);
        queue_defer(flow->queue, e->delivery, e->fate.due, &e->fate.source, &e->outcome);
        return;
    case SPOOL_FAILED:
        FLOW_COUNT(flow, failed, 1);
        bounce_trace(flow, report, at, &e->event);
        break;
    default:
        FLOW_COUNT(flow, delivered, 1);
        break;
    }
    queue_finish(flow->queue, e->delivery);
}

void settle(struct flow *flow, const struct spool_message *m, const struct settle_recipient *recipients,
            size_t count, const struct settle_where *where, struct arena *arena) {
    struct ending *endings = arena_array(arena, struct ending, count);
    struct bounce_result report;
    size_t failures = 0, others = count;
    for (size_t i = 0; i < count; i++) { /* failures in front */
        bool failed = recipients[i].outcome.fate == OUTCOME_NEVER;
        struct ending *e = failed ? &endings[failures++] : &endings[--others];
        *e = ending_of(flow, m, &recipients[i], where, arena);
        if (recipients[i].outcome.fate == OUTCOME_LATER)
            defer(e, queue_next_due(flow->queue, e->delivery));
        else if (!failed)
            e->fate.fate = SPOOL_DELIVERED;
    }
    record(flow, endings + failures, count - failures);
    if (failures) {
        report_failures(flow, m, endings, failures, where, arena, &report);
        record(flow, endings, failures);
    }
    suspicion_settled(flow, m, recipients, count, &where->server);
    for (size_t i = 0; i < count; i++)
        tell(flow, &endings[i], &report, i, arena);
}

void settle_wait(struct flow *flow, const struct spool_message *m, struct delivery *const *deliveries,
                 size_t count, int64_t due, const struct outcome *why, struct arena *arena) {
    for (size_t i = 0; i < count; i++) {
        struct trace_event event = event_of(m, deliveries[i], TRACE_DEFER, NULL);
        event.attempts = deliveries[i]->attempts;
        event.pool = queue_delivery_pool(flow->queue, deliveries[i]);
        event.reply = outcome_line(arena, why);
        log_event(flow->log, LOG_WARNING, "mail waits", "trace_id", event.trace_id.text, "to",
                  str_c(arena, event.recipient), "why", str_c(arena, why->text), NULL);
        flow_trace(flow, &event);
        queue_postpone(flow->queue, deliveries[i], due, why);
    }
}

static void hold(struct flow *flow, const struct spool_message *m, struct delivery *d, enum log_level level,
                 const char *line, struct str why, struct arena *arena) {
    struct trace_event event = event_of(m, d, TRACE_HOLD, NULL);
    event.reply = str_printf(arena, "parked: %.*s", STR_FMT(why));
    event.pool = queue_delivery_pool(flow->queue, d);
    struct spool_outcome fate = {.fate = SPOOL_HELD, .time = event.time, .reply = event.reply};
    log_event(flow->log, level, line, "trace_id", event.trace_id.text, "to", str_c(arena, event.recipient),
              "why", str_c(arena, why), NULL);
    spool_outcome(flow->spool, d->message, d->recipient, &fate, NULL, NULL);
    flow_trace(flow, &event);
    queue_park(flow->queue, d);
}

void settle_hold(struct flow *flow, const struct spool_message *m, struct delivery *const *deliveries,
                 size_t count, struct str why, struct arena *arena) {
    for (size_t i = 0; i < count; i++)
        hold(flow, m, deliveries[i], LOG_WARNING, "mail held", why, arena);
}

void settle_park(struct flow *flow, const struct spool_message *m, struct delivery *const *deliveries,
                 size_t count, struct str why, struct arena *arena) {
    for (size_t i = 0; i < count; i++) {
        struct str pool = queue_delivery_pool(flow->queue, deliveries[i]);
        alert_raise(
            flow->alerts,
            &(struct alert){
                .kind = ALERT_GUARD,
                .subject = str_printf(arena, "pool %.*s", STR_FMT(pool)),
                .text = str_printf(arena, "the guard parked mail of pool %.*s: %.*s", STR_FMT(pool),
                                   STR_FMT(why)),
                .advice = STR("Look at it: sluice queue list --held. When the pools are as they should "
                              "be: sluice queue release ID."),
                .samples = m->trace_id,
            });
        FLOW_COUNT(flow, guard_alarms, 1);
        hold(flow, m, deliveries[i], LOG_ERROR, "mail parked", why, arena);
    }
}

/* ---- what the queue itself ends ---- */

static void settle_all(struct flow *flow, struct delivery *const *deliveries, size_t count,
                       const struct outcome *o) {
    struct arena *arena = arena_new(0);
    struct spool_message m;
    int error = settle_read(flow, deliveries[0]->message, arena, &m);
    if (error) {
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)deliveries[0]->message);
        log_event(flow->log, LOG_ERROR, "the envelope of a message can't be read", "message", number, "error",
                  error_text(error), NULL);
        for (size_t i = 0; i < count; i++) {
            if (error == SLUICE_ENOTFOUND)
                queue_finish(flow->queue, deliveries[i]);
            else
                queue_postpone(flow->queue, deliveries[i], clock_wall_ms() + REPORT_RETRY_MS, o);
        }
    } else {
        struct settle_recipient *list = arena_array(arena, struct settle_recipient, count);
        for (size_t i = 0; i < count; i++)
            list[i] = (struct settle_recipient){deliveries[i], *o};
        settle(flow, &m, list, count, &(struct settle_where){0}, arena);
    }
    arena_free(arena);
}

void settle_unroutable(void *flow, struct delivery *const *deliveries, size_t count,
                       const struct outcome *why) {
    settle_all(flow, deliveries, count, why);
}

void settle_expired(void *arg, struct delivery *const *deliveries, size_t count, const struct outcome *last) {
    struct flow *flow = arg;
    struct arena *arena = arena_new(0);
    struct str line = last->fate == OUTCOME_DONE ? STR("no attempt was possible") : outcome_line(arena, last);
    struct outcome expired = {
        .scope = OUTCOME_RECIPIENT,
        .fate = OUTCOME_NEVER,
        .code = 550,
        .enhanced = STR("5.4.300"),
        .text = str_printf(arena, "The message expired; the last reason was: %.*s", STR_FMT(line)),
    };
    settle_all(flow, deliveries, count, &expired);
    arena_free(arena);
}
