#include "flow/settle.h"

#include "base/clock.h"
#include "flow/bounce.h"
#include "rt/fiber.h"
#include <stdio.h>

enum { REPORT_RETRY_MS = 5 * 60 * 1000, PARKED_DAYS = 365, DAY_MS = 24 * 3600 * 1000 };

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
              ip_text(&event->server_ip, to), "reply", str_c(arena, event->reply), NULL);
}

/* ---- one fate ---- */

static void settle_delivered(struct flow *flow, struct trace_event *event, uint64_t message,
                             uint32_t recipient) {
    struct spool_outcome fate = {
        .fate = SPOOL_DELIVERED, .time = event->time, .source = event->outbound_ip, .reply = event->reply};
    spool_outcome(flow->spool, message, recipient, &fate, NULL, NULL);
    flow_trace(flow, event);
    FLOW_COUNT(flow, delivered, 1);
}

static void settle_deferred(struct flow *flow, struct trace_event *event, struct delivery *d, int64_t due,
                            const struct outcome *why) {
    struct spool_outcome fate = {
        .fate = SPOOL_DEFERRED,
        .time = event->time,
        .attempts = (uint32_t)d->attempts + 1,
        .due = due,
        .source = event->outbound_ip,
        .reply = event->reply,
    };
    spool_outcome(flow->spool, d->message, d->recipient, &fate, NULL, NULL);
    flow_trace(flow, event);
    FLOW_COUNT(flow, deferred, 1);
#ifdef SLUICE_SEEDED_BUG_STICKY_FORGOTTEN
    queue_defer(flow->queue, d, due, NULL, why);
    return;
#endif
    queue_defer(flow->queue, d, due, &event->outbound_ip, why);
}

/* The failures of one attempt go into one report. When it can't be made durable, they are tried again
 * later instead: nobody would learn of them. */
static void settle_failed(struct flow *flow, const struct spool_message *m,
                          const struct settle_recipient *failed, size_t count,
                          const struct settle_where *where, struct arena *arena) {
    struct bounce_result report = {.why_not = arena_array(arena, struct str, count)};
#ifdef SLUICE_SEEDED_BUG_FAILURE_UNREPORTED
    int error = 0;
#else
    int error = bounce_send(flow, m, failed, count, where, arena, &report);
#endif
    for (size_t i = 0; i < count; i++) {
        struct delivery *d = failed[i].delivery;
        struct trace_event event = event_of(m, d, error ? TRACE_DEFER : TRACE_FAIL, where);
        event.pool = queue_delivery_pool(flow->queue, d);
        event.reply = outcome_line(arena, &failed[i].outcome);
        log_fate(flow, &event, arena);
        if (error) {
            settle_deferred(flow, &event, d, event.time + REPORT_RETRY_MS, &failed[i].outcome);
            continue;
        }
        struct spool_outcome fate = {
            .fate = SPOOL_FAILED, .time = event.time, .source = event.outbound_ip, .reply = event.reply};
        if (m->return_path.len == 0 && bounce_is_report(m))
            event.event = TRACE_DROP; /* a report that can't be delivered ends here */
        flow_trace(flow, &event);
        bounce_trace(flow, &report, i, &event);
        spool_outcome(flow->spool, d->message, d->recipient, &fate, NULL, NULL);
        FLOW_COUNT(flow, failed, 1);
        queue_finish(flow->queue, d);
    }
}

void settle(struct flow *flow, const struct spool_message *m, const struct settle_recipient *recipients,
            size_t count, const struct settle_where *where, struct arena *arena) {
    struct settle_recipient *failed = arena_array(arena, struct settle_recipient, count);
    size_t failures = 0;
    for (size_t i = 0; i < count; i++) {
        struct delivery *d = recipients[i].delivery;
        const struct outcome *o = &recipients[i].outcome;
        if (o->fate == OUTCOME_NEVER) {
            failed[failures++] = recipients[i];
            continue;
        }
        struct trace_event event = event_of(m, d, o->fate == OUTCOME_DONE ? TRACE_SEND : TRACE_DEFER, where);
        event.pool = queue_delivery_pool(flow->queue, d);
        event.reply = outcome_line(arena, o);
        log_fate(flow, &event, arena);
        if (o->fate == OUTCOME_LATER) {
            settle_deferred(flow, &event, d, queue_next_due(flow->queue, d), o);
            continue;
        }
        settle_delivered(flow, &event, d->message, d->recipient);
        queue_finish(flow->queue, d);
    }
    if (failures)
        settle_failed(flow, m, failed, failures, where, arena);
}

void settle_park(struct flow *flow, const struct spool_message *m, struct delivery *const *deliveries,
                 size_t count, struct str why, struct arena *arena) {
    for (size_t i = 0; i < count; i++) {
        struct delivery *d = deliveries[i];
        uint64_t message = d->message;
        uint32_t recipient = d->recipient;
        int32_t group = d->group;
        struct trace_event event = event_of(m, d, TRACE_HOLD, NULL);
        event.reply = str_printf(arena, "parked: %.*s", STR_FMT(why));
        event.pool = queue_delivery_pool(flow->queue, d);
        struct spool_outcome fate = {.fate = SPOOL_HELD, .time = event.time, .reply = event.reply};
        struct queue_row *rows;
        log_event(flow->log, LOG_ERROR, "ALARM: mail parked", "trace_id", event.trace_id.text, "why",
                  str_c(arena, why), NULL);
        FLOW_COUNT(flow, guard_alarms, 1);
        spool_outcome(flow->spool, message, recipient, &fate, NULL, NULL);
        flow_trace(flow, &event);
        /* Out of the session first (an operator's hold does not touch what a session has), then held. */
        queue_postpone(flow->queue, d, event.time + (int64_t)PARKED_DAYS * DAY_MS, NULL);
        queue_operate(flow->queue, QUEUE_HOLD, message, group, (int32_t)recipient, arena, &rows);
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
