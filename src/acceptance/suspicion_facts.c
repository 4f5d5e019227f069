#include "acceptance/suspicion_facts.h"
#include "acceptance/allowance.h"
#include "base/clock.h"
#include "mail/mime.h"
#include "suspicion/suspicion.h"

/* ---- What is told of a message ---- */

static struct pattern_whose whose_of(struct suspicion_note *note, const struct limit_question *q) {
    return (struct pattern_whose){str_copy(note->arena, q->sender), str_copy(note->arena, q->connector),
                                  str_copy(note->arena, q->tenant)};
}

/* Not those that came back by a rewritten address, and not those that nobody named (bcc-suspicious). */
static bool is_sent(const struct envelope *e, const struct envelope_copy *copy) {
    for (size_t i = 0; i < e->named_count; i++)
        if (str_eq(e->named[i].address, copy->named))
            return copy->ended.fate == OUTCOME_DONE && e->named[i].kind != RECIPIENT_RETURN;
    return false;
}

static void add_copies(struct suspicion_note *note, const struct acceptance *a) {
    const struct envelope *e = &a->envelope;
    struct pattern_message *m = &note->message;
    struct str *domains = arena_array(note->arena, struct str, e->copy_count + 1);
    struct str *forwards = arena_array(note->arena, struct str, e->copy_count + 1);
    for (size_t i = 0; i < e->copy_count; i++) {
        const struct envelope_copy *copy = &e->copies[i];
        struct str domain = address_split(copy->to.address).domain;
        if (!is_sent(e, copy))
            continue;
        m->recipients++;
        if (tenant_accepts(a->settings->policy, a->by.tenant, domain))
            continue;
        m->external++;
        domains[m->domain_count++] = str_copy(note->arena, domain);
        if (copy->forwarder.len)
            forwards[m->forward_count++] = str_copy(note->arena, copy->forwarder);
    }
    m->domains = domains;
    m->forwards = forwards;
}

static const struct pattern_actions *actions_of(const struct acceptance *a, const struct limit_question *q) {
    const struct tenant *t = a->by.tenant;
    for (size_t i = 0; i < t->policy_count; i++)
        if (str_eq(t->policies[i].name, q->rules.policy))
            return &t->policies[i].suspicion;
    return &a->settings->policy->detection.actions;
}

/* ---- Reports that come in ---- */

/* Under which names may this address of the tenant's have sent? */
static void add_senders(struct suspicion_note *note, const struct tenant *t, struct str address) {
    struct str *names = arena_array(note->arena, struct str, t->connector_count + 2);
    const struct attribution user = {.tenant = t, .user = address}, local = {.tenant = t};
    note->senders = names;
    names[note->sender_count++] = limit_sender_name(note->arena, &user, address);
    names[note->sender_count++] = limit_sender_name(note->arena, &local, address);
    for (size_t i = 0; i < t->connector_count; i++) {
        const struct attribution by = {.tenant = t, .connector = &t->connectors[i]};
        names[note->sender_count++] = limit_sender_name(note->arena, &by, address);
    }
}

/* Not those for the mails of alerts: they would make alerts of themselves. */
static void add_incoming(struct suspicion_note *note, const struct acceptance *a, const struct tenant *t,
                         struct str recipient, struct str reply) {
    const struct policy *policy = a->settings->policy;
    struct str alerts_from = a->settings->alerts.settings.from;
    const struct tenant *owner = policy_tenant_of_domain(policy, address_split(recipient).domain);
    struct str address = str_copy(note->arena, recipient);
    t = t ? t : owner;
    if (!t || address_same(recipient, alerts_from))
        return;
    note->reports = arena_new_of(note->arena, struct surge_event);
    note->report_count = 1;
    note->reports[0] = (struct surge_event){
        .tenant = str_copy(note->arena, t->name),
        .incoming = true,
        .domain = str_copy(note->arena, address_split(recipient).domain),
        .trace_id = str_copy(note->arena, trace_id_str(&a->id)),
        .recipient = address,
        .reply = str_copy(note->arena, reply),
        .now = clock_wall_ms(),
    };
    add_senders(note, t, address);
}

/* Mail with a null reverse-path, which is nobody's sending. One that returns to a rewritten address is for
 * mail that was forwarded here. */
static void note_incoming(struct flow *flow, const struct acceptance *a) {
    const struct envelope_named *to = a->envelope.named_count ? &a->envelope.named[0] : NULL;
    if (!to || to->kind == RECIPIENT_RETURN || to->kind == RECIPIENT_END)
        return;
    const struct tenant *t = policy_tenant_of_domain(a->settings->policy, address_split(to->address).domain);
    struct suspicion_note *note = t ? suspicion_note_new(flow->suspicion) : NULL;
    struct mime_facts mime;
    if (!note)
        return;
    mime_facts_of(a->arena, &a->content->header, &mime);
    note->auto_reply = !mime.delivery_report;
    add_incoming(note, a, t, to->address, STR("a report came in"));
    suspicion_note_post(note);
}

void suspicion_judged(struct flow *flow, const struct acceptance *a, const struct limit_question *q,
                      bool accepted) {
    bool bad = a->judged.verdict == VERDICT_SPAM || a->judged.verdict == VERDICT_MALWARE;
    if (!a->by.tenant || a->own_report || (!accepted && !bad))
        return;
    /* Without a reverse-path it may be an answer that comes in. What a user sends, or a server to the
     * outside, is sending all the same, unless it is a report. */
    if (!a->reverse_path.len && !a->by.user.len) {
        note_incoming(flow, a);
        if (a->outside || !q->use.external)
            return;
    }
    struct suspicion_note *note = suspicion_note_new(flow->suspicion);
    if (!note)
        return;
    note->message = (struct pattern_message){
        .whose = whose_of(note, q),
        .client = ip_is_none(&a->told_ip) ? a->client : a->told_ip,
        .bad = bad,
        .outside = a->outside,
        .only_told = !allowance_counts(a),
        .now = clock_wall_ms(),
    };
    struct pattern_actions *actions = arena_new_of(note->arena, struct pattern_actions);
    *actions = *actions_of(a, q);
    note->message.actions = actions;
    if (accepted)
        add_copies(note, a);
    suspicion_note_post(note);
}

void suspicion_refused_rcpt(struct flow *flow, const struct acceptance *a, struct str recipient,
                            const struct outcome *why) {
    bool unknown = why->code == 550 && str_eq(why->enhanced, STR("5.1.1"));
    struct suspicion_note *note = unknown ? suspicion_note_new(flow->suspicion) : NULL;
    if (!note)
        return;
    if (a->outside && !a->reverse_path.len) {
        add_incoming(note, a, NULL, recipient, outcome_line(note->arena, why));
    } else if (!a->outside && a->by.tenant) {
        const struct connector *c = a->by.connector;
        note->answers[note->answer_count++] = (struct pattern_answer){
            .whose = {limit_sender_name(note->arena, &a->by, a->reverse_path),
                      c ? str_printf(note->arena, "%.*s/%.*s", STR_FMT(a->by.tenant->name), STR_FMT(c->name))
                        : STR(""),
                      str_copy(note->arena, a->by.tenant->name)},
            .kind = REPLY_UNKNOWN,
            .recipients = 1,
            .now = clock_wall_ms(),
        };
    }
    suspicion_note_post(note);
}

/* ---- What is known of its sender ---- */

struct str suspicion_of(struct flow *flow, const struct acceptance *a) {
    struct suspicion *s = flow->suspicion;
    if (a->suspicion.len)
        return a->suspicion;
    if (!s || !worker_self() || !a->by.tenant || a->outside || a->own_report)
        return STR("");
    const struct connector *c = a->by.connector;
    struct str connector =
        c ? str_printf(a->arena, "%.*s/%.*s", STR_FMT(a->by.tenant->name), STR_FMT(c->name)) : STR("");
    return suspicion_of_names(s, a->by.tenant->name, connector,
                              limit_sender_name(a->arena, &a->by, a->reverse_path), a->arrival, a->arena);
}
