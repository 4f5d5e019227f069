#include "flow/accept.h"

#include "base/clock.h"
#include "mail/build.h"
#include "mail/mime.h"
#include "rt/fiber.h"
#include "trace/trace.h"
#include <stdatomic.h>

enum { SUBJECT_MAX = 512, MESSAGE_ID_MAX = 500, TRACE_BACKLOG_MAX = 150 * 1000 };

/* ---- waiting for the spool ---- */

struct commit_wait {
    struct latch latch;
    int error;
    uint64_t message;
};

static void committed(void *arg, int error, uint64_t message) {
    struct commit_wait *wait = arg;
    wait->error = error;
    wait->message = message;
    latch_set(&wait->latch);
}

static void room_again(void *arg) { latch_set(arg); }

int accept_body_add(struct spool_body *body, struct str bytes) {
    int error;
    while ((error = spool_body_add(body, bytes.at, bytes.len)) == SLUICE_EBUSY) {
        struct latch latch;
        latch_init(&latch);
        spool_body_wait(body, room_again, &latch);
        latch_wait(&latch);
    }
    return error;
}

struct outcome accept_spool_refusal(int error) {
    switch (error) {
    case SLUICE_EFULL:
        return (struct outcome){
            OUTCOME_MESSAGE, OUTCOME_LATER, 452, STR("4.3.1"), STR("Insufficient system storage"), false};
    case SLUICE_ETOOBIG:
        return (struct outcome){OUTCOME_MESSAGE,
                                OUTCOME_NEVER,
                                552,
                                STR("5.3.4"),
                                STR("Message is larger than this system takes"),
                                false};
    default:
        return (struct outcome){OUTCOME_MESSAGE,
                                OUTCOME_LATER,
                                451,
                                STR("4.3.0"),
                                STR("The message could not be stored, try again later"),
                                false};
    }
}

/* ---- steps 4 and 5 ---- */

struct str accept_from_address(struct arena *arena, const struct header *header) {
    struct address_list list = {0};
    struct str value = header_value(arena, header, STR("From"));
    if (!value.at || (address_list_parse(arena, value, &list) != 0 && !list.count) || !list.count)
        return STR("");
    return list.items[0].address.whole;
}

static void gather_facts(const struct acceptance *a, struct classify_facts *facts) {
    const struct policy *policy = a->settings->policy;
    struct mime_facts mime;
    mime_facts_of(a->arena, &a->header, &mime);
    *facts = (struct classify_facts){
        .null_reverse_path = a->reverse_path.len == 0,
        .delivery_report = mime.delivery_report,
        .relayed = a->by.relayed,
        .aaaa = policy->aaaa,
    };
    if (!a->own_report)
        facts->verdict =
            verdict_of(a->arena, policy, a->by.connector, &a->header, a->gtube, &facts->verdict_why);
    classify_domains(a->arena, a->reverse_path, accept_from_address(a->arena, &a->header), facts);
}

int accept_classify(struct flow *flow, const struct acceptance *a, struct classify_facts *ret_facts,
                    struct decision *ret_decision, const struct pool **ret_pool,
                    struct outcome *ret_refusal) {
    gather_facts(a, ret_facts);
    int64_t deadline = clock_mono_ms() + a->settings->dns.timeout_ms;
    int error =
        classify_run(ret_facts, flow_here(flow)->resolver, deadline, a->arena, ret_decision, ret_refusal);
    if (error)
        return error;
    struct str own = a->by.tenant ? a->by.tenant->pools[ret_decision->class] : STR("");
    *ret_pool = pool_for_class(a->settings->pools, ret_decision->class, own, flow_random(flow));
    return 0;
}

/* ---- steps 6 and 7 ---- */

void accept_set_via(struct acceptance *a) {
    for (size_t i = 0; i < a->recipient_count; i++) {
        struct spool_recipient *r = &a->recipients[i];
        const struct connector *to =
            policy_deliver_of_domain(a->settings->policy, address_split(r->address).domain);
        if (!to)
            continue;
        bool bare_v6 = str_index(to->deliver_host, ':') >= 0 && !str_starts(to->deliver_host, STR("["));
        r->via = str_printf(a->arena, bare_v6 ? "[%.*s]:%u" : "%.*s:%u", STR_FMT(to->deliver_host),
                            to->deliver_port);
    }
}

void accept_complete(struct acceptance *a, struct buf *out, struct str domain, struct str from) {
    struct submission_lacks lacks = submission_lacks(&a->header);
    struct submission_facts facts = {
        .trace_id = trace_id_str(&a->id), .domain = domain, .from = from, .wall_ms = a->arrival};
    submission_complete(out, lacks, &facts);
    if (lacks.message_id)
        a->message_id = message_id_of(a->arena, facts.trace_id, domain);
}

static struct spool_message stored_form(struct acceptance *a, const struct spool_group *group,
                                        enum verdict verdict) {
    struct str message_id = header_value(a->arena, &a->header, STR("Message-ID"));
    message_id = str_head(message_id.len ? message_id : a->message_id, MESSAGE_ID_MAX);
    struct str subject = header_value(a->arena, &a->header, STR("Subject"));
    return (struct spool_message){
        .trace_id = trace_id_str(&a->id),
        .arrival = a->arrival,
        .tenant = a->by.tenant ? a->by.tenant->name : STR(""),
        .connector = a->by.connector ? a->by.connector->name : STR(""),
        .sender = accept_from_address(a->arena, &a->header),
        .return_path = a->reverse_path,
        .message_id = message_id,
        .subject = str_head(header_decode_text(a->arena, subject), SUBJECT_MAX),
        .helo = a->helo,
        .client_ip = a->client,
        .original_client_ip = a->client,
        .verdict = str_of(verdict_name(verdict)),
        .envid = a->envid,
        .ret = a->ret,
        .flags = a->flags,
        .groups = group,
        .group_count = 1,
    };
}

void accept_trace_facts(const struct acceptance *a, struct trace_event *event) {
    event->trace_id = a->id;
    event->tenant = a->by.tenant ? a->by.tenant->name : STR_NULL;
    event->connector = a->by.connector ? a->by.connector->name : STR_NULL;
    event->user = a->by.user.len ? a->by.user : STR_NULL;
    event->sender = event->return_path = a->reverse_path.len ? a->reverse_path : STR("<>");
    event->client_ip = event->original_client_ip = a->client;
    event->directionality = TRACE_DIRECTION_ORIGINATING;
    event->recipient_count = (int64_t)a->recipient_count;
    event->reference = a->references.len ? a->references : STR_NULL;
}

static void trace_received(struct flow *flow, const struct acceptance *a, const struct spool_message *m) {
    const struct spool_group *group = &m->groups[0];
    struct trace_event event = {
        .time = a->arrival,
        .event = TRACE_RECEIVE,
        .message_id = m->message_id.len ? m->message_id : STR_NULL,
        .class = TRACE_CLASS(group->mail_class),
        .rule = group->rule,
        .reason = group->reason,
        .pool = group->pool.len ? group->pool : STR_NULL,
        .verdict = m->verdict,
        .size = (int64_t)m->body_size,
        .subject = m->subject.len ? m->subject : STR_NULL,
    };
    accept_trace_facts(a, &event);
    for (size_t i = 0; i < a->recipient_count; i++) {
        event.recipient = a->recipients[i].address;
        flow_trace(flow, &event);
    }
    log_event(flow->log, LOG_INFO, "accepted", "trace_id", a->id.text, "class",
              mail_class_name(group->mail_class), "rule", str_c(a->arena, group->rule), "pool",
              str_c(a->arena, group->pool), "from", str_c(a->arena, a->reverse_path), NULL);
}

static int enqueue(struct flow *flow, const struct acceptance *a, const struct spool_group *group,
                   uint64_t message) {
    struct delivery_init *inits = arena_array(a->arena, struct delivery_init, a->recipient_count);
    for (size_t i = 0; i < a->recipient_count; i++)
        inits[i] = (struct delivery_init){
            .recipient = (uint32_t)i,
            .mail_class = group->mail_class,
            .pool = group->pool,
            .domain = address_split(a->recipients[i].address).domain,
            .via = a->recipients[i].via,
            .arrival = a->arrival,
        };
    return queue_put(flow->queue, message, inits, a->recipient_count);
}

/* What is accepted must be traceable: mail waits outside while the store has no room. */
static bool trace_is_behind(struct flow *flow) {
    struct trace_counts counts;
    trace_counts(flow->trace, &counts);
    return counts.backlog > TRACE_BACKLOG_MAX;
}

struct outcome accept_message(struct flow *flow, struct acceptance *a) {
    struct classify_facts facts;
    struct decision decision;
    const struct pool *pool = NULL;
    struct outcome refusal;
    if (trace_is_behind(flow)) {
        spool_body_abort(a->body);
        return (struct outcome){OUTCOME_MESSAGE,
                                OUTCOME_LATER,
                                451,
                                STR("4.3.1"),
                                STR("The trace store does not keep up, try again later"),
                                false};
    }
    if (accept_classify(flow, a, &facts, &decision, &pool, &refusal) != 0) {
        spool_body_abort(a->body);
        return refusal;
    }
    accept_set_via(a);
    struct spool_attribute report_of = {ACCEPT_REPORT_OF, a->references};
    struct spool_group group = {
        .attributes = &report_of,
        .attribute_count = a->own_report ? 1 : 0,
        .mail_class = decision.class,
        .pool = pool ? pool->name : STR(""),
        .rule = decision.rule,
        .reason = decision.reason,
        .reverse_path = a->reverse_path,
        .header_prefix = a->prefix,
        .recipients = a->recipients,
        .recipient_count = a->recipient_count,
    };
    struct spool_message message = stored_form(a, &group, facts.verdict);
    message.body_size = spool_body_size(a->body) + a->prefix.len;
    struct commit_wait wait = {0};
    latch_init(&wait.latch);
    spool_commit(flow->spool, &message, a->body, committed, &wait);
    latch_wait(&wait.latch);
    if (wait.error)
        return accept_spool_refusal(wait.error);
    trace_received(flow, a, &message);
    int error = enqueue(flow, a, &group, wait.message);
    if (error) /* it is durable: the next start queues it */
        log_event(flow->log, LOG_ERROR, "accepted, but the queue is full: it waits for a restart", "trace_id",
                  a->id.text, "error", error_text(error), NULL);
    FLOW_COUNT(flow, accepted, 1);
    FLOW_COUNT(flow, recipients, a->recipient_count);
    return (struct outcome){.scope = OUTCOME_MESSAGE,
                            .fate = OUTCOME_DONE,
                            .code = 250,
                            .enhanced = STR("2.0.0"),
                            .text = str_printf(a->arena, "Accepted %s", a->id.text)};
}
