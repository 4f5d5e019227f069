#include "flow/flow.h"

#include "base/clock.h"
#include "rt/fiber.h"
#include "trace/trace.h"
#include <stdlib.h>

enum { TRACE_LOOK_MS = 20, TRACE_WAIT_MS = 2000, TRACE_STUCK_MS = 10 * 1000, SOURCE_REASON_MAX = 200 };

struct flow_worker *flow_here(struct flow *flow) {
    (void)flow;
    return worker_data(worker_self());
}

struct settings *flow_settings(struct flow *flow) {
    return settings_ref(flow_here(flow)->settings);
}

/* xorshift64*: it spreads load, nothing more. */
uint64_t flow_random(struct flow *flow) {
    uint64_t *x = &flow_here(flow)->random;
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return *x * 0x2545f4914f6cdd1dULL;
}

/* Mail goes on when the trace does not: after one long wait in vain the next events don't wait. */
void flow_trace(struct flow *flow, struct trace_event *event) {
    struct flow_worker *here = flow_here(flow);
    int error = trace_emit(flow->trace, event);
    int64_t until = clock_mono_ms() + TRACE_WAIT_MS;
    while (error == SLUICE_EFULL && here->trace_stuck_until < clock_mono_ms() && fiber_self() &&
           fiber_sleep(TRACE_LOOK_MS) == 0) {
        error = trace_emit(flow->trace, event);
        if (error && clock_mono_ms() > until)
            here->trace_stuck_until = clock_mono_ms() + TRACE_STUCK_MS;
    }
    if (!error)
        return;
    FLOW_COUNT(flow, trace_lost, 1);
    log_event(flow->log, LOG_ERROR, "trace event lost", "trace_id", event->trace_id.text, "event",
              trace_kind_name(event->event), "error", error_text(error), NULL);
}

struct pick_call {
    struct flow *flow;
    const struct settings *settings;
    const struct pool *pool;
    unsigned families;
    struct str receiver;
    const struct ip *sticky;
    struct pick pick;
};

static void pick_on_owner(void *arg) {
    struct pick_call *call = arg;
    call->pick = pool_pick(call->settings->pools, call->pool, call->families, call->receiver, call->sticky,
                           clock_wall_ms(), flow_here(call->flow)->health);
}

struct pick flow_pick(struct flow *flow, const struct settings *settings, const struct pool *pool,
                      unsigned families, struct str receiver, const struct ip *sticky) {
    struct pick_call call = {flow, settings, pool, families, receiver, sticky, {0}};
    worker_call(rt_owner(flow->rt, STR("pool"), pool->name), pick_on_owner, &call);
    return call.pick;
}

struct source_note {
    struct flow *flow;
    struct ip ip;
    enum rest_cause cause;
    int64_t until; /* 0: count only, or wake */
    bool wakes;
    bool delivered;
    size_t reason_len;
    char reason[SOURCE_REASON_MAX];
};

static void note_on_owner(void *arg) {
    struct source_note *note = arg;
    struct pool_state *health = flow_here(note->flow)->health;
    if (note->wakes)
        source_wake(health, &note->ip, note->cause);
    else if (note->until)
        source_rest(health, &note->ip, note->cause, note->until, str_from(note->reason, note->reason_len));
    else
        source_count(health, &note->ip, clock_wall_ms(), note->delivered);
    free(note);
}

static void post_note_to(struct flow *flow, struct worker *worker, const struct source_note *note) {
    struct source_note *copy = xmalloc(sizeof *copy);
    *copy = *note;
    copy->flow = flow;
    worker_post(worker, note_on_owner, copy);
}

static void post_note(struct flow *flow, struct str pool, struct source_note note) {
    post_note_to(flow, rt_owner(flow->rt, STR("pool"), pool), &note);
}

void flow_source_rest(struct flow *flow, struct str pool, const struct ip *ip, enum rest_cause cause,
                      int64_t until, struct str reason) {
    struct source_note note = {.ip = *ip, .cause = cause, .until = until};
    note.reason_len = reason.len < sizeof note.reason ? reason.len : sizeof note.reason;
    memcpy(note.reason, reason.at, note.reason_len);
    post_note(flow, pool, note);
}

void flow_source_tell(struct flow *flow, const struct ip *ip, enum rest_cause cause, struct str reason) {
    struct source_note note = {.ip = *ip, .cause = cause, .until = REST_UNTIL_WOKEN, .wakes = !reason.len};
    reason = str_head(reason, sizeof note.reason);
    if (reason.len)
        memcpy(note.reason, reason.at, reason.len);
    note.reason_len = reason.len;
    for (unsigned i = 0; i < rt_count(flow->rt); i++)
        post_note_to(flow, rt_worker(flow->rt, i), &note);
}

bool flow_source_rests(struct flow *flow, struct str pool, const struct ip *ip) {
    struct flow_worker *here = flow_here(flow);
    const struct pool *found = pool_find(here->settings->pools, pool);
    return found && source_rests(here->health, found, ip, clock_wall_ms());
}

void flow_source_count(struct flow *flow, struct str pool, const struct ip *ip, bool delivered) {
    post_note(flow, pool, (struct source_note){.ip = *ip, .delivered = delivered});
}

struct queue_settings flow_queue_settings(const struct settings *s, struct arena *arena) {
    const struct pools *pools = s->pools;
    size_t own = 0;
    for (size_t i = 0; i < s->listener_count; i++)
        own += s->listeners[i].bind_count;
    struct own_endpoint *endpoints = arena_array(arena, struct own_endpoint, own);
    own = 0;
    for (size_t i = 0; i < s->listener_count; i++)
        for (size_t j = 0; j < s->listeners[i].bind_count; j++)
            endpoints[own++] =
                (struct own_endpoint){s->listeners[i].bind[j].ip, s->listeners[i].bind[j].port};
    struct pool_schedule *schedules = arena_array(arena, struct pool_schedule, pools->pool_count);
    for (size_t i = 0; i < pools->pool_count; i++)
        schedules[i] = (struct pool_schedule){pools->pools[i].name, pools->pools[i].first_retry,
                                              pools->pools[i].max_retry, pools->pools[i].expire};
    struct str *names = arena_array(arena, struct str, pools->site_count + 1);
    names[0] = s->node;
    for (size_t i = 0; i < pools->site_count; i++)
        names[i + 1] = pools->sites[i].ehlo;
    return (struct queue_settings){
        .delivery = s->delivery,
        .destinations = s->destinations,
        .schedules = schedules,
        .schedule_count = pools->pool_count,
        .own = endpoints,
        .own_count = own,
        .own_names = names,
        .own_name_count = pools->site_count + 1,
    };
}

int flow_resolver(const struct settings *s, struct worker *worker, struct arena *arena, struct str *ret_why,
                  struct resolver **ret) {
    struct dns_settings settings = {
        .servers = s->dns.servers,
        .server_count = s->dns.server_count,
        .zone_file = s->dns.zone_file,
        .trust_anchor = s->dns.trust_anchor,
        .serve_expired_s = (uint32_t)(s->dns.serve_expired_ms / 1000),
        .timeout_ms = s->dns.timeout_ms,
    };
    return resolver_new(worker, &settings, arena, ret_why, ret);
}
