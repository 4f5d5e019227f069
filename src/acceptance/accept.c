#include "acceptance/accept.h"

#include "acceptance/allowance.h"
#include "acceptance/rebuild.h"
#include "acceptance/registered.h"
#include "acceptance/rewrite.h"
#include "acceptance/suspicion_facts.h"
#include "auth/align.h"
#include "auth/results.h"
#include "base/clock.h"
#include "base/error.h"
#include "mail/build.h"
#include "mail/mime.h"
#include "rt/fiber.h"
#include "seeded_bug.h"
#include "trace/trace.h"
#include <stdatomic.h>

enum { SUBJECT_MAX = 512, EXPANSION_MAX = 1000, MESSAGE_ID_MAX = 500, TRACE_BACKLOG_MAX = 150 * 1000 };

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

struct outcome accept_content_refusal(const struct content *content, int error) {
    if (content->header_too_long)
        return (struct outcome){OUTCOME_MESSAGE,
                                OUTCOME_NEVER,
                                552,
                                STR("5.3.4"),
                                STR("The header of the message is too long"),
                                false};
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

/* ---- step 3 ---- */

struct arrival_client accept_client(const struct acceptance *a) {
    return (struct arrival_client){a->original.ip, a->original.helo, a->reverse_path, a->settings->node};
}

static bool skips(const struct connector *c) { return c && (c->skip_last || c->skip_count); }

bool accept_verifies(const struct acceptance *a) {
    return a->outside || a->by.relayed || skips(a->by.connector);
}

/* A filter in front passes on what anybody gives it: then a reverse-path of the tenant's is no more than what
 * comes from outside says. */
static bool is_claim(const struct acceptance *a, bool told) {
#ifdef SLUICE_SEEDED_BUG_SKIPPED_STRANGER_IS_OWN
    return false;
#endif
    if (!skips(a->by.connector))
        return false;
    if (told && !a->original.walked_count)
        return !original_client_known(a->by.connector, &a->original.ip);
    return a->original.stranger;
}

void accept_verify(struct flow *flow, struct acceptance *a) {
    const struct content *content = a->content;
    bool told = !ip_is_none(&a->told_ip);
    original_client(a->by.connector, told ? &a->told_ip : &a->client, told ? a->told_helo : a->helo,
                    &content->original, a->arena, &a->original);
    if (a->told_why.len)
        a->original.why = str_printf(a->arena, "%.*s%s%.*s", STR_FMT(a->told_why),
                                     a->original.why.len ? "; " : "", STR_FMT(a->original.why));
    a->claimed = is_claim(a, told);
    if (!content->arrival || (!a->outside && !a->by.relayed && !a->claimed))
        return;
    struct arrival_client client = accept_client(a);
    arrival_end(content->arrival, &client, flow_here(flow)->resolver, clock_mono_ms() + ARRIVAL_DEADLINE_MS,
                &a->verified);
}

/* ---- steps 4 and 5 ---- */

struct str accept_from_address(struct arena *arena, const struct header *header) {
    struct address_list list = {0};
    struct str value = header_value(arena, header, STR("From"));
    if (!value.at || (address_list_parse(arena, value, &list) != 0 && !list.count) || !list.count)
        return STR("");
    return list.items[0].address.whole;
}

static void gather_facts(struct flow *flow, const struct acceptance *a, struct classify_facts *facts) {
    const struct policy *policy = a->settings->policy;
    const struct header *header = &a->content->header;
    struct mime_facts mime;
    mime_facts_of(a->arena, header, &mime);
    *facts = (struct classify_facts){
        .null_reverse_path = a->reverse_path.len == 0,
        .delivery_report = mime.delivery_report,
        .relayed = a->by.relayed,
        .from_outside = a->outside || a->claimed,
        .arrival = &a->verified,
        .relay_spf = policy->relay_spf,
        .relay_dkim = policy->relay_dkim,
        .aaaa = policy->aaaa,
    };
    facts->verdict = a->judged.verdict;
    facts->verdict_why = a->judged.why;
    facts->suspicion = suspicion_of(flow, a);
    facts->unscanned_is_risk = a->judged.unscanned_is_risk;
    classify_domains(a->arena, a->reverse_path, accept_from_address(a->arena, header), facts);
}

int accept_classify(struct flow *flow, const struct acceptance *a, struct classify_facts *ret_facts,
                    struct decision *ret_decision, const struct pool **ret_pool,
                    struct outcome *ret_refusal) {
    gather_facts(flow, a, ret_facts);
    int64_t deadline = clock_mono_ms() + a->settings->dns.timeout_ms;
    int error =
        classify_run(ret_facts, flow_here(flow)->resolver, deadline, a->arena, ret_decision, ret_refusal);
    if (error)
        return error;
    bool by_unscanned = ret_facts->verdict == VERDICT_UNSCANNED && ret_facts->unscanned_is_risk;
    if (a->judged.not_scanned.len && !by_unscanned)
        ret_decision->reason =
            str_printf(a->arena, "%.*s; %.*s", STR_FMT(ret_decision->reason), STR_FMT(a->judged.not_scanned));
    struct str own = a->by.tenant ? a->by.tenant->pools[ret_decision->class] : STR("");
    *ret_pool = pool_for_class(a->settings->pools, ret_decision->class, own, flow_random(flow));
    return 0;
}

/* ---- steps 6 and 7 ---- */

bool accept_signs(const struct settings *settings) {
    for (size_t i = 0; i < settings->policy->tenant_count; i++)
        if (settings->policy->tenants[i].signing_count)
            return true;
    return false;
}

void accept_complete(struct acceptance *a, struct buf *out, struct str domain, struct str from) {
    struct submission_lacks lacks = submission_lacks(&a->content->header);
    struct submission_facts facts = {
        .trace_id = trace_id_str(&a->id), .domain = domain, .from = from, .wall_ms = a->arrival};
    submission_complete(out, lacks, &facts);
    if (lacks.message_id)
        a->message_id = message_id_of(a->arena, facts.trace_id, domain);
}

static struct spool_message stored_form(const struct acceptance *a, const struct spool_group *groups,
                                        size_t count, enum verdict verdict) {
    const struct header *header = &a->content->header;
    struct str message_id = header_value(a->arena, header, STR("Message-ID"));
    message_id = str_head(message_id.len ? message_id : a->message_id, MESSAGE_ID_MAX);
    struct str subject = header_value(a->arena, header, STR("Subject"));
    return (struct spool_message){
        .trace_id = trace_id_str(&a->id),
        .arrival = a->arrival,
        .tenant = a->by.tenant ? a->by.tenant->name : STR(""),
        .connector = a->by.connector ? a->by.connector->name : STR(""),
        .sender = accept_from_address(a->arena, header),
        .return_path = a->reverse_path,
        .message_id = message_id,
        .subject = str_head(header_decode_text(a->arena, subject), SUBJECT_MAX),
        .helo = a->helo,
        .client_ip = a->client,
        .original_client_ip = a->original.ip,
        .verdict = str_of(verdict_name(verdict)),
        .envid = a->envid,
        .ret = a->ret,
        .flags = a->flags,
        .incoming = a->outside,
        .held = a->quarantine.len > 0,
        .groups = groups,
        .group_count = count,
    };
}

void accept_trace_facts(const struct acceptance *a, struct trace_event *event) {
    event->trace_id = a->id;
    event->tenant = a->by.tenant ? a->by.tenant->name : STR_NULL;
    event->connector = a->by.connector ? a->by.connector->name : STR_NULL;
    event->user = a->by.user.len ? a->by.user : a->local_user.len ? a->local_user : STR_NULL;
    event->sender = event->return_path = a->reverse_path.len ? a->reverse_path : STR("<>");
    event->client_ip = a->client;
    event->original_client_ip = ip_is_none(&a->original.ip) ? a->client : a->original.ip;
    event->original_client_reason = a->original.why.len ? a->original.why : STR_NULL;
    event->spf = results_spf_text(a->arena, &a->verified);
    event->dkim = results_dkim_text(a->arena, &a->verified);
    event->arc = results_arc_text(a->arena, &a->verified);
    event->score = a->judged.score;
    event->symbols = a->judged.symbols;
    event->directionality = a->outside ? TRACE_DIRECTION_INCOMING : TRACE_DIRECTION_ORIGINATING;
    event->recipient_count = (int64_t)envelope_leaving(&a->envelope);
    event->reference = a->references.len ? a->references : STR_NULL;
    if (a->refused_why.len)
        event->reason = a->refused_why;
}

void accept_refused(struct flow *flow, const struct acceptance *a, const struct outcome *why,
                    struct str recipient) {
    struct trace_event event = {.time = clock_wall_ms(),
                                .event = TRACE_REFUSE,
                                .recipient = recipient,
                                .reply = outcome_line(a->arena, why)};
    accept_trace_facts(a, &event);
    if (a->judged.verdict != VERDICT_CLEAN)
        event.verdict = str_of(verdict_name(a->judged.verdict));
    flow_trace(flow, &event);
    FLOW_COUNT(flow, refused, 1);
    log_event(flow->log, LOG_INFO, "refused", "trace_id", a->id.text, "from",
              str_c(a->arena, a->reverse_path), "to", recipient.len ? str_c(a->arena, recipient) : NULL,
              "reply", str_c(a->arena, event.reply), "why",
              a->refused_why.len ? str_c(a->arena, a->refused_why) : NULL, NULL);
}

/* "forwarded to a, b". */
static struct str expansion(const struct acceptance *a, const struct envelope_named *named) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    buf_str(&text, named->kind == RECIPIENT_RETURN ? STR("returned to ") : STR("forwarded to "));
    size_t before = text.len;
    for (size_t i = 0; i < a->envelope.copy_count; i++) {
        const struct envelope_copy *copy = &a->envelope.copies[i];
        if (!str_eq(copy->named, named->address))
            continue;
        buf_str(&text, text.len > before ? STR(", ") : STR(""));
        buf_str(&text, copy->to.address);
    }
    if (text.len == before)
        return STR("each address that it leads to has a copy already");
    return str_copy(a->arena, str_head(buf_view(&text), EXPANSION_MAX));
}

/* What became of the recipients that were named: a forward's is expanded, unless it keeps a copy itself. */
static void trace_expanded(struct flow *flow, const struct acceptance *a, struct trace_event event) {
    for (size_t i = 0; i < a->envelope.named_count; i++) {
        const struct envelope_named *named = &a->envelope.named[i];
        bool kept = named->kind == RECIPIENT_PLAIN;
        for (size_t j = 0; j < a->envelope.copy_count && !kept; j++)
            kept = str_eq(a->envelope.copies[j].to.address, named->address);
        if (kept)
            continue;
        event.recipient = named->address;
        event.status = TRACE_STATUS_EXPANDED;
        event.reply = expansion(a, named);
        flow_trace(flow, &event);
    }
}

/* Copies that don't leave: their way is forbidden, or ends here. Nobody is told: the sender named another
 * address, and that one was taken. */
static void trace_ended(struct flow *flow, const struct acceptance *a, struct trace_event event) {
    for (size_t i = 0; i < a->envelope.copy_count; i++) {
        const struct envelope_copy *copy = &a->envelope.copies[i];
        if (copy->ended.fate == OUTCOME_DONE)
            continue;
        event.event = TRACE_DROP;
        event.recipient = copy->to.address;
        event.reply = outcome_line(a->arena, &copy->ended);
        flow_trace(flow, &event);
        log_event(flow->log, LOG_INFO, "dropped", "trace_id", a->id.text, "to",
                  str_c(a->arena, copy->to.address), "why", str_c(a->arena, event.reply), NULL);
    }
}

static void trace_held(struct flow *flow, const struct acceptance *a, struct trace_event event) {
    if (!a->hold_until && !a->quarantine.len)
        return;
    event.event = TRACE_HOLD;
    event.reply = a->quarantine.len ? a->quarantine : a->hold_why;
    flow_trace(flow, &event);
}

static void trace_received(struct flow *flow, const struct acceptance *a, const struct spool_message *m,
                           const struct decision *decision) {
    struct trace_event event = {
        .time = a->arrival,
        .event = TRACE_RECEIVE,
        .message_id = m->message_id.len ? m->message_id : STR_NULL,
        .class = TRACE_CLASS(decision->class),
        .rule = decision->rule,
        .reason = decision->reason,
        .verdict = m->verdict,
        .size = (int64_t)m->body_size,
        .subject = m->subject.len ? m->subject : STR_NULL,
    };
    accept_trace_facts(a, &event);
    trace_expanded(flow, a, event);
    trace_ended(flow, a, event);
    for (size_t g = 0; g < m->group_count; g++) {
        const struct spool_group *group = &m->groups[g];
        event.pool = group->pool.len ? group->pool : STR_NULL;
        event.return_path = group->reverse_path.len ? group->reverse_path : STR("<>");
        for (size_t i = 0; i < group->recipient_count; i++) {
            event.recipient = group->recipients[i].address;
            flow_trace(flow, &event);
            trace_held(flow, a, event);
        }
    }
    log_event(flow->log, LOG_INFO, "accepted", "trace_id", a->id.text, "class",
              mail_class_name(decision->class), "rule", str_c(a->arena, decision->rule), "pool",
              m->group_count ? str_c(a->arena, m->groups[0].pool) : NULL, "from",
              str_c(a->arena, a->reverse_path), NULL);
}

static int enqueue(struct flow *flow, const struct acceptance *a, const struct spool_message *m,
                   uint64_t message) {
    size_t leaving = envelope_leaving(&a->envelope), at = 0;
    struct delivery_init *inits = arena_array(a->arena, struct delivery_init, leaving);
    for (size_t g = 0; g < m->group_count; g++)
        for (size_t i = 0; i < m->groups[g].recipient_count; i++, at++)
            inits[at] = (struct delivery_init){
                .group = (uint16_t)g,
                .recipient = (uint32_t)at,
                .mail_class = m->groups[g].mail_class,
                .pool = m->groups[g].pool,
                .domain = address_split(m->groups[g].recipients[i].address).domain,
                .via = m->groups[g].recipients[i].via,
                .arrival = a->arrival,
                .due = a->hold_until,
                .held = m->held,
            };
    return queue_put(flow->queue, message, inits, leaving);
}

/* What is accepted must be traceable: mail waits outside while the store has no room. */
static bool trace_is_behind(struct flow *flow) {
    struct trace_counts counts;
    trace_counts(flow->trace, &counts);
    return counts.backlog > TRACE_BACKLOG_MAX;
}

static struct outcome later(const char *enhanced, const char *text) {
    return (struct outcome){OUTCOME_MESSAGE, OUTCOME_LATER, 451, str_of(enhanced), str_of(text), false};
}

/* Step 7: on disk and in the queue. Without a copy that leaves there is nothing to keep. */
static int commit(struct flow *flow, const struct acceptance *a, struct spool_message *message,
                  const struct decision *decision) {
    struct commit_wait wait = {0};
    message->body_size = spool_body_size(a->content->body) + a->prefix.len;
    if (message->group_count) {
        latch_init(&wait.latch);
        allowance_count(flow, a->allowance);
        spool_commit(flow->spool, message, content_take(a->content), committed, &wait);
        latch_wait(&wait.latch);
        if (wait.error)
            return wait.error;
    }
    trace_received(flow, a, message, decision);
    if (message->group_count && enqueue(flow, a, message, wait.message) != 0) /* it is durable */
        log_event(flow->log, LOG_ERROR, "accepted, but the queue is full: it waits for a restart", "trace_id",
                  a->id.text, NULL);
    return 0;
}

/* What is kept with the message beside its envelope. */
static void add_attributes(struct acceptance *a, struct str submitter, struct spool_message *message) {
    enum { MOST = 5 };
    struct spool_attribute *list = arena_array(a->arena, struct spool_attribute, MOST);
    size_t count = 0;
    struct str unverified = arrival_unverified(&a->verified, a->reverse_path, a->arena);
    if (unverified.len)
        list[count++] = (struct spool_attribute){ACCEPT_NO_REPORT, unverified};
    if (a->hold_until) {
        struct str until = str_printf(a->arena, "%lld", (long long)a->hold_until);
        list[count++] = (struct spool_attribute){ACCEPT_NOT_BEFORE, until};
        list[count++] = (struct spool_attribute){ACCEPT_NOT_BEFORE_WHY, a->hold_why};
    }
    if (a->quarantine.len)
        list[count++] = (struct spool_attribute){ACCEPT_QUARANTINE, a->quarantine};
    if (submitter.len)
        list[count++] = (struct spool_attribute){ACCEPT_SUBMITTER, submitter};
    message->attributes = list;
    message->attribute_count = count;
}

/* What would be returned to its sender before its turn comes isn't taken. */
static bool expires_waiting(struct acceptance *a, const struct pool *pool, struct outcome *ret_refusal) {
    int64_t expire = pool && pool->expire > 0 ? pool->expire : a->settings->delivery.expire_ms;
    if (!a->hold_until || a->hold_until - a->arrival < expire)
        return false;
    *ret_refusal = limit_no_room(SLUICE_ELIMIT);
    a->refused_why = str_printf(a->arena, "%.*s, after it would expire", STR_FMT(a->hold_why));
    return true;
}

/* Steps 4 to 7 of what is within its limits. */
static struct outcome accept_allowed(struct flow *flow, struct acceptance *a, struct str submitter) {
    struct classify_facts facts;
    struct decision decision;
    const struct pool *pool = NULL;
    struct outcome refusal;
    struct spool_group *groups;
    size_t count;
    if (!judge(flow, a, &refusal) || !rebuild_as_scanned(flow, a, &refusal))
        return refusal;
    if (accept_classify(flow, a, &facts, &decision, &pool, &refusal) != 0)
        return refusal;
    if (expires_waiting(a, pool, &refusal))
        return refusal;
    if (facts.verdict == VERDICT_SPAM || facts.suspicion.len)
        allowance_copy(a);
    envelope_route(&a->envelope, a->settings->policy, a->arena);
    if (!registered_copies(flow, a, &decision, &refusal))
        return refusal;
    int error = rewrite_groups(a, &decision, pool, &groups, &count);
    if (error) {
        log_event(flow->log, LOG_ERROR, "a message can't be signed", "trace_id", a->id.text, "error",
                  error_text(error), NULL);
        return later("4.3.0", "The message could not be signed, try again later");
    }
    if (count && (!allowance_turn(flow, a, a->allowance, &refusal) || expires_waiting(a, pool, &refusal)))
        return refusal;
    struct spool_message message = stored_form(a, groups, count, facts.verdict);
    add_attributes(a, submitter, &message);
    error = commit(flow, a, &message, &decision);
    if (error)
        return accept_content_refusal(a->content, error);
    FLOW_COUNT(flow, accepted, 1);
    FLOW_COUNT(flow, recipients, envelope_leaving(&a->envelope));
    return (struct outcome){.scope = OUTCOME_MESSAGE,
                            .fate = OUTCOME_DONE,
                            .code = 250,
                            .enhanced = STR("2.0.0"),
                            .text = str_printf(a->arena, "Accepted %s", a->id.text)};
}

struct outcome accept_message(struct flow *flow, struct acceptance *a) {
    struct allowance allowance;
    if (trace_is_behind(flow))
        return later("4.3.1", "The trace store does not keep up, try again later");
    struct outcome result = allowance_ask(flow, a, &allowance);
    if (result.fate != OUTCOME_DONE)
        return result;
    a->allowance = &allowance;
    result = accept_allowed(flow, a, allowance.question.sender);
    if (result.fate != OUTCOME_LATER)
        suspicion_judged(flow, a, &allowance.question, result.fate == OUTCOME_DONE);
    allowance_settle(flow, a, &allowance, result.fate == OUTCOME_DONE);
    return result;
}
