/* backend.c - what the API asks of the daemon: gathered from the owners, told in plain rows. */
#include "cmd/backend.h"
#include "cmd/alerting.h"
#include "watch/watch.h"
#include "watch/watch_domains.h"
#include "watch/watch_identity.h"

#include "acceptance/allowance.h"
#include "acceptance/judge.h"
#include "acceptance/registered.h"
#include "base/clock.h"
#include "delivery/carried.h"
#include "delivery/settle.h"
#include "intake/filter.h"
#include "intake/submission.h"
#include "mail/mime.h"
#include "mail/received.h"
#include "rt/fiber.h"
#include "trace/trace.h"

enum { PAGE = 500 };

static uint64_t counter_sum(struct daemon *d, size_t offset) {
    uint64_t sum = 0;
    for (unsigned i = 0; i <= rt_count(d->rt); i++)
        sum += *(_Atomic uint64_t *)(void *)((char *)&d->flow.workers[i].counters + offset);
    return sum;
}

/* ---- status and metrics ---- */

static void status(void *arg, void (*add)(void *, const char *, const char *, int64_t), void *to) {
    struct daemon *d = arg;
    struct arena *arena = arena_new(0);
    struct settings *s = flow_settings(&d->flow);
    struct queue_status queue;
    struct spool_stats spool;
    char started[CLOCK_RFC3339_SIZE];
    queue_status(d->flow.queue, arena, &queue);
    spool_stats(d->flow.spool, &spool);
    add(to, "version", SLUICE_VERSION, 0);
    add(to, "node", str_c(arena, s->node), 0);
    add(to, "site", str_c(arena, s->here), 0);
    add(to, "started", clock_rfc3339(d->started, started), 0);
    add(to, "state", d->flow.stopping ? "stopping" : "running", 0);
    add(to, "workers", NULL, (int64_t)rt_count(d->rt));
    add(to, "waiting", NULL, (int64_t)queue.waiting);
    add(to, "held", NULL, (int64_t)queue.held);
    add(to, "in_delivery", NULL, (int64_t)queue.away);
#define X(name, help) add(to, #name, NULL, (int64_t)counter_sum(d, offsetof(struct flow_counters, name)));
    FLOW_COUNTERS(X)
#undef X
    add(to, "spool_messages", NULL, (int64_t)spool.messages);
    add(to, "spool_bytes", NULL, (int64_t)spool.bytes);
    add(to, "spool_segments", NULL, (int64_t)spool.segments);
    add(to, "spool_commits", NULL, (int64_t)spool.commits);
    add(to, "spool_full", NULL, spool.full);
    add(to, "spool_failed_commits", NULL, (int64_t)spool.failed_commits);
    add(to, "spool_damages", NULL, (int64_t)spool.damages);
    daemon_senders_status(d, add, to);
    watch_domains_status(d->domains, arena, add, to);
    watch_identity_status(d->identity, arena, add, to);
    daemon_scanner_status(d, arena, add, to);
    daemon_milter_status(d, s, arena, add, to);
    alerting_status(d, add, to);
    watch_status(d->watch, add, to);
    settings_unref(s);
    arena_free(arena);
}

static void metrics(void *arg, void (*add)(void *, const struct api_metric *), void *to) {
    struct daemon *d = arg;
    struct arena *arena = arena_new(0);
    struct queue_status queue;
    struct spool_stats spool;
    queue_status(d->flow.queue, arena, &queue);
    spool_stats(d->flow.spool, &spool);
#define X(name, help)                                                                                        \
    add(to, &(struct api_metric){"sluice_" #name "_total", help, true, NULL, STR_NULL,                       \
                                 (double)counter_sum(d, offsetof(struct flow_counters, name))});
    FLOW_COUNTERS(X)
#undef X
    const struct api_metric gauges[] = {
        {"sluice_queue_recipients", "recipients that wait", false, "state", STR("waiting"),
         (double)queue.waiting},
        {"sluice_queue_recipients", "recipients that wait", false, "state", STR("held"), (double)queue.held},
        {"sluice_queue_recipients", "recipients that wait", false, "state", STR("in delivery"),
         (double)queue.away},
        {"sluice_spool_messages", "messages in the spool", false, NULL, STR_NULL, (double)spool.messages},
        {"sluice_spool_bytes", "bytes of the spool's segments", false, NULL, STR_NULL, (double)spool.bytes},
        {"sluice_spool_full", "1 while new mail gets 452 4.3.1", false, NULL, STR_NULL, spool.full ? 1 : 0},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        add(to, &gauges[i]);
    daemon_senders_metrics(d, add, to);
    watch_domains_metrics(d->domains, arena, add, to);
    watch_identity_metrics(d->identity, add, to);
    daemon_scanner_metrics(d, arena, add, to);
    struct settings *s = flow_settings(&d->flow);
    daemon_milter_metrics(d, s, arena, add, to);
    settings_unref(s);
    alerting_metrics(d, add, to);
    backend_pool_metrics(d, add, to);
    watch_metrics(d->watch, add, to);
    daemon_pattern_metrics(d, add, to);
    arena_free(arena);
}

/* ---- the queue ---- */

static const char *state_name(enum delivery_state state) {
    static const char *const names[] = {
        [DELIVERY_WAITING] = "waiting", [DELIVERY_HELD] = "held",       [DELIVERY_ROUTING] = "routing",
        [DELIVERY_READY] = "ready",     [DELIVERY_SENDING] = "sending",
    };
    return names[state];
}

/* How long mail of this pool is tried, ms. */
static int64_t expire_of(struct daemon *d, struct str pool_name) {
    const struct settings *s = flow_here(&d->flow)->settings;
    const struct pool *pool = pool_find(s->pools, pool_name);
    return pool && pool->expire > 0 ? pool->expire : s->delivery.expire_ms;
}

/* Of mail that has not had its turn yet. */
static struct str waits_why(const struct spool_message *m) {
    return allowance_not_before(m) > clock_wall_ms()
               ? spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_NOT_BEFORE_WHY)
               : STR("");
}

/* The domain's last words are about others. */
static struct str held_why(struct daemon *d, const struct queue_row *row, const struct spool_message *m,
                           struct arena *arena) {
    struct str why = spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_QUARANTINE);
    if (!why.len && !carried_may_leave(&d->flow, m, row->mail_class, arena, &why))
        return why;
    return why.len ? why : STR("the trace says why");
}

/* False: the message ended meanwhile. */
static bool entry_of(struct daemon *d, const struct queue_row *row, struct arena *arena,
                     struct api_queue_entry *ret) {
    struct spool_message m;
    int error = settle_read(&d->flow, row->message, arena, &m);
    if (error == SLUICE_ENOTFOUND)
        return false;
    if (error) { /* shown all the same, so that it can be cancelled */
        *ret = (struct api_queue_entry){.class = row->mail_class,
                                        .pool = row->pool,
                                        .receiver = row->domain,
                                        .state = str_of(state_name(row->state)),
                                        .why = str_of(error_text(error)),
                                        .arrived = row->arrival,
                                        .next = row->due,
                                        .attempts = row->attempts};
        return true;
    }
    uint32_t group = 0;
    const struct spool_recipient *r = spool_recipient_at(&m, row->recipient, &group);
    if (!r)
        return false;
    struct str turn = waits_why(&m);
    *ret = (struct api_queue_entry){
        .expires = row->arrival + expire_of(d, row->pool),
        .why = turn.len && !row->attempts ? turn : row->why, /* of the domain: may be about another's try */
        .trace_id = m.trace_id,
        .sender = m.groups[group].reverse_path,
        .recipient = r->address,
        .tenant = m.tenant,
        .class = row->mail_class,
        .rule = m.groups[group].rule,
        .pool = row->pool,
        .receiver = row->via.len ? row->via : row->domain,
        .state = str_of(state_name(row->state)),
        .source = row->source,
        .arrived = row->arrival,
        .next = row->due,
        .attempts = row->attempts,
        .size = (int64_t)m.body_size,
    };
    if (row->state == DELIVERY_HELD)
        ret->why = held_why(d, row, &m, arena);
    return true;
}

/* Walks the queue a page at a time; `each` returns false to stop. */
static void walk(struct daemon *d, const struct api_queue_filter *filter,
                 bool (*each)(void *to, const struct queue_row *, const struct api_queue_entry *), void *to) {
    struct queue_filter coarse = {
        .pool = filter->pool, .domain = filter->domain, .held_only = filter->held_only};
    int64_t now = clock_wall_ms();
    uint64_t cursor = 0;
    bool more = true;
    do {
        struct arena *arena = arena_new(0);
        struct queue_row *rows;
        size_t count = queue_list(d->flow.queue, &coarse, PAGE, &cursor, arena, &rows);
        for (size_t i = 0; i < count && more; i++) {
            struct api_queue_entry entry;
            if (entry_of(d, &rows[i], arena, &entry) && api_queue_match(filter, &entry, now))
                more = each(to, &rows[i], &entry);
        }
        arena_free(arena);
    } while (cursor && more);
}

struct listing {
    void (*row)(void *, const struct api_queue_entry *);
    void *to;
    size_t left; /* SIZE_MAX: no limit */
};

static bool list_one(void *arg, const struct queue_row *row, const struct api_queue_entry *entry) {
    struct listing *l = arg;
    (void)row;
    l->row(l->to, entry);
    return --l->left > 0;
}

static int queue_rows(void *arg, const struct api_queue_filter *filter,
                      void (*row)(void *, const struct api_queue_entry *), void *to, struct buf *ret_why) {
    struct listing l = {row, to, filter->limit ? filter->limit : SIZE_MAX};
    (void)ret_why;
    walk(arg, filter, list_one, &l);
    return 0;
}

struct operating {
    struct daemon *daemon;
    enum api_verb verb;
    bool one; /* a message is named by its id: then release means this one, whatever its sender may */
    size_t count, busy;
    size_t kept, turns, not_held; /* RELEASE: left alone, and why */
    struct buf *note;             /* of the first of them that says more */
};

/* What the operator did is durable and in the trace; a retry changes nothing but the time. */
static void record(struct operating *o, enum spool_fate fate, const struct queue_row *row,
                   const struct api_queue_entry *entry, struct str words) {
    static const enum trace_kind kinds[] = {[SPOOL_HELD] = TRACE_HOLD,
                                            [SPOOL_RELEASED] = TRACE_RELEASE,
                                            [SPOOL_LET_GO] = TRACE_RELEASE,
                                            [SPOOL_CANCELLED] = TRACE_CANCEL};
    int64_t now = clock_wall_ms();
    struct spool_outcome outcome = {.fate = fate, .time = now, .due = now, .reply = STR("by an operator")};
    struct trace_event event = {
        .time = now, .event = kinds[fate], .recipient = entry->recipient, .attempts = entry->attempts};
    if (words.len)
        event.reply = words;
    spool_outcome(o->daemon->flow.spool, row->message, row->recipient, &outcome, NULL, NULL);
    if (!trace_id_valid(entry->trace_id))
        return;
    memcpy(event.trace_id.text, entry->trace_id.at, TRACE_ID_LEN);
    flow_trace(&o->daemon->flow, &event);
}

static void note_once(struct operating *o, const char *format, struct str what) {
    if (!o->note->len)
        buf_printf(o->note, format, STR_FMT(what));
}

/* What the verb comes to for this one. False: it is left alone. *ret_words: for the trace, why that needed an
 * operator; "" : nothing special. */
static bool operation_for(struct operating *o, const struct queue_row *row, struct arena *arena,
                          enum queue_operation *ret, struct str *ret_words) {
    static const enum queue_operation operations[] = {[API_RETRY] = QUEUE_RETRY,
                                                      [API_HOLD] = QUEUE_HOLD,
                                                      [API_RELEASE] = QUEUE_RELEASE,
                                                      [API_CANCEL] = QUEUE_CANCEL};
    struct spool_message m;
    struct str why;
    *ret = operations[o->verb];
    *ret_words = STR("");
    if (o->verb == API_HOLD || o->verb == API_CANCEL ||
        settle_read(&o->daemon->flow, row->message, arena, &m) != 0)
        return true;
    bool held = row->state == DELIVERY_HELD;
    bool may = row->let_go || carried_may_leave(&o->daemon->flow, &m, row->mail_class, arena, &why);
    if (o->verb == API_RETRY) {
        if (!may && !held)
            note_once(o,
                      "what is tried may be held instead: %.*s; to let a message go all the same: sluice "
                      "queue release ID",
                      why);
        return true;
    }
    bool turn = row->state == DELIVERY_WAITING && !row->attempts && waits_why(&m).len;
    o->turns += turn && !o->one;
    o->not_held += !held && !turn;
    if (!held && !(turn && o->one))
        return false;
    if (o->one)
        *ret = QUEUE_LET_GO;
    if (may)
        return true;
    o->kept += !o->one;
    if (!o->one) {
        note_once(o, "%.*s: release the sender first (sluice sender release), or a message by its id", why);
        return false;
    }
    note_once(o, "%.*s; this message goes all the same", why);
    *ret_words = str_printf(arena, "by an operator, though %.*s", STR_FMT(why));
    return true;
}

static bool operate_one(void *arg, const struct queue_row *row, const struct api_queue_entry *entry) {
    static const enum spool_fate fates[] = {[QUEUE_HOLD] = SPOOL_HELD,
                                            [QUEUE_RELEASE] = SPOOL_RELEASED,
                                            [QUEUE_LET_GO] = SPOOL_LET_GO,
                                            [QUEUE_CANCEL] = SPOOL_CANCELLED};
    struct operating *o = arg;
    struct arena *arena = arena_new(0);
    struct queue_row *rows;
    enum queue_operation what;
    struct str words;
    size_t count = 0;
    if (operation_for(o, row, arena, &what, &words))
        count = queue_operate(o->daemon->flow.queue, what, row->message, row->group, (int32_t)row->recipient,
                              arena, &rows);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].busy) {
            o->busy++;
            continue;
        }
        if (what != QUEUE_RETRY)
            record(o, fates[what], &rows[i], entry, words);
        o->count++;
    }
    arena_free(arena);
    return true;
}

static void say(struct buf *out, const char *format, size_t count) {
    if (!count)
        return;
    buf_str(out, out->len ? STR("; ") : STR(""));
    buf_printf(out, format, count);
}

static int queue_change(void *arg, enum api_verb verb, const struct api_queue_filter *filter,
                        size_t *ret_count, struct buf *ret_why) {
    struct buf note __attribute__((cleanup(buf_free))) = {0};
    struct operating o = {.daemon = arg, .verb = verb, .one = filter->trace_id.len > 0, .note = &note};
    walk(arg, filter, operate_one, &o);
    *ret_count = o.count;
    say(ret_why, "%zu are being sent at this moment and were left alone", o.busy);
    say(ret_why, "%zu wait for their turn (per-minute): sluice queue release ID lets one go at once",
        o.turns);
    if (o.one)
        say(ret_why, "%zu not held: sluice queue retry ID tries what waits at once", o.not_held);
    say(ret_why, "%zu stay held", o.kept);
    if (note.len)
        buf_printf(ret_why, "%s%.*s", o.kept ? ": " : ret_why->len ? "; " : "", STR_FMT(buf_view(&note)));
    return 0;
}

/* ---- a message from the local socket ---- */

/* False: *ret is the refusal. */
static bool attribute_submission(struct flow *flow, struct acceptance *a, struct outcome *ret) {
    struct sender_facts facts = {.reverse_path = a->reverse_path};
    struct address_list from = {0};
    const struct header *header = &a->content->header;
    struct str value = header_value(a->arena, header, STR("From"));
    if (value.at && address_list_parse(a->arena, value, &from) == 0)
        facts.from = &from;
    return attribute(a->settings->policy, &facts, &a->by, ret) &&
           registered_check(flow, a->settings, &a->by, a->reverse_path, header, a->arena, ret,
                            &a->refused_why) &&
           envelope_check_loops(&a->envelope, header, a->arena, ret);
}

static struct outcome submit(struct daemon *d, struct acceptance *a, struct filter *filter) {
    struct outcome refusal;
    if (!attribute_submission(&d->flow, a, &refusal) || !filter_submission(filter, a, &refusal) ||
        (filter && !attribute_submission(&d->flow, a, &refusal)))
        return refusal;
    struct buf prefix __attribute__((cleanup(buf_free))) = {0};
    received_write(&prefix, &(struct received_facts){.by = a->settings->node,
                                                     .trace_id = trace_id_str(&a->id),
                                                     .wall_ms = a->arrival});
    struct str domain = address_split(a->reverse_path).domain;
    accept_complete(a, &prefix, domain.len ? domain : a->settings->node, a->reverse_path);
    a->prefix = str_copy(a->arena, buf_view(&prefix));
    return accept_message(&d->flow, a);
}

/* Its recipients, and its bytes on their way to the spool. */
static struct outcome read_submission(struct daemon *d, const struct api_submission *in, struct acceptance *a,
                                      const struct filter *filter) {
    struct outcome result = {.fate = OUTCOME_DONE};
    struct content_settings settings = {.authserv_id = a->settings->node,
                                        .digest = accept_signs(a->settings),
                                        .now = a->arrival,
                                        .scan = filter || judge_looks(a->settings)
                                                    ? judge_copy_place(&d->flow, a->settings, a->arena)
                                                    : NULL};
    const struct tenant *tenant;
    a->content = content_new(&d->flow, a->arena, &settings);
    for (size_t i = 0; i < in->recipient_count; i++) {
        struct envelope_rcpt rcpt = {.address = in->recipients[i], .now = a->arrival};
        if (!envelope_add(&a->envelope, a->settings->policy, &rcpt, a->arena, &tenant, &result))
            return result;
    }
    int error = content_add(a->content, in->message);
    if (!error && !str_ends(in->message, STR("\r\n"))) /* some who look at it wait for the end of the line */
        error = content_add(a->content, STR("\r\n"));
    if (!error)
        error = content_end(a->content);
    if (!error && submission_loops(a->content, &result))
        return result;
    return error ? accept_content_refusal(a->content, error) : result;
}

static int send_message(void *arg, const struct api_submission *in, struct trace_id *ret_id,
                        struct buf *ret_why) {
    struct daemon *d = arg;
    struct settings *s = flow_settings(&d->flow);
    struct acceptance a = {
        .arrival = clock_wall_ms(), .arena = arena_new(0), .settings = s, .reverse_path = in->sender};
    a.id = trace_id_new(a.arrival);
    a.local_user = in->user;
    bool utf8 = bytes_8bit(in->sender);
    for (size_t i = 0; i < in->recipient_count; i++)
        utf8 |= bytes_8bit(in->recipients[i]);
    if (bytes_8bit(in->message))
        a.flags = SPOOL_8BITMIME;
    if (utf8)
        a.flags |= SPOOL_SMTPUTF8;
    struct filter *filter = filter_new(&d->flow, s, STR(""));
    struct outcome result = {.fate = OUTCOME_DONE};
    if (submission_check(in->sender, in->recipients, in->recipient_count, in->message, &result))
        result = read_submission(d, in, &a, filter);
    if (result.fate == OUTCOME_DONE)
        result = submit(d, &a, filter);
    filter_end(filter);
    filter_free(filter);
    *ret_id = a.id;
    if (result.fate != OUTCOME_DONE) {
        buf_str(ret_why, outcome_line(a.arena, &result));
        for (size_t i = 0; i < in->recipient_count; i++)
            accept_refused(&d->flow, &a, &result, in->recipients[i]);
    }
    content_free(a.content);
    arena_free(a.arena);
    settings_unref(s);
    return result.fate == OUTCOME_DONE ? 0 : result.fate == OUTCOME_LATER ? SLUICE_EBUSY : SLUICE_EDENIED;
}

static int domain_rows(void *arg, void (*row)(void *, const struct api_domain *), void *to,
                       struct buf *ret_why) {
    return watch_domains_list(((struct daemon *)arg)->domains, row, to, ret_why);
}

static int domain_add(void *arg, struct str tenant, struct str domain,
                      void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why) {
    return watch_domains_add(((struct daemon *)arg)->domains, tenant, domain, row, to, ret_why);
}

static int domain_verify(void *arg, const struct str *domains, size_t count,
                         void (*row)(void *, const struct api_domain *), void *to, struct buf *ret_why) {
    return watch_domains_verify(((struct daemon *)arg)->domains, domains, count, row, to, ret_why);
}

static int identity_rows(void *arg, void (*row)(void *, const struct api_fault *), void *to,
                         struct buf *ret_why) {
    return watch_identity_rows(((struct daemon *)arg)->identity, row, to, ret_why);
}

static int reload_now(void *arg, struct buf *ret_why) { return daemon_reload(arg, ret_why); }

const struct api_backend daemon_backend = {
    .status = status,
    .queue_list = queue_rows,
    .queue_operate = queue_change,
    .pools = backend_pools,
    .sources = backend_sources,
    .source = backend_source,
    .reload = reload_now,
    .send = send_message,
    .senders = &daemon_senders,
    .metrics = metrics,
    .alerts = alerting_list,
    .alert_test = alerting_test,
    .domains = domain_rows,
    .domain_add = domain_add,
    .domain_verify = domain_verify,
    .identity = identity_rows,
};
