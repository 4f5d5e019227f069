#include "acceptance/allowance.h"

#include "alert/alert.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/shell.h"
#include "mail/mime.h"
#include "policy/limit_policy.h"
#include "seeded_bug.h"
#include "suspicion/suspicion.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* ---- The question ---- */

static bool came_back(const struct envelope *e, const struct envelope_copy *copy) {
    for (size_t i = 0; i < e->named_count; i++)
        if (e->named[i].kind == RECIPIENT_RETURN && str_eq(e->named[i].address, copy->named))
            return true;
    return false;
}

static bool is_inside(const struct acceptance *a, const struct envelope_copy *copy) {
    struct str domain = address_split(copy->to.address).domain;
    return tenant_accepts(a->settings->policy, a->by.tenant, domain);
}

static struct limit_use use_of(const struct acceptance *a) {
    const struct envelope *e = &a->envelope;
    struct limit_use use = {0};
    for (size_t i = 0; i < e->copy_count; i++) {
        const struct envelope_copy *copy = &e->copies[i];
        if (copy->ended.fate != OUTCOME_DONE || came_back(e, copy))
            continue;
        if (is_inside(a, copy))
            use.internal++;
        else
            use.external++;
    }
    return use;
}

/* Made by a server of the tenant's; a user's program makes none. */
static bool is_report(const struct acceptance *a) {
    struct mime_facts mime;
    if (a->by.user.len || a->reverse_path.len)
        return false;
    mime_facts_of(a->arena, &a->content->header, &mime);
    return mime.delivery_report;
}

/* Without From a submission gets one of its own (accept_complete). */
static struct str author_of(const struct acceptance *a) {
    struct str from = accept_from_address(a->arena, &a->content->header);
    return from.len ? from : a->by.user.len ? a->by.user : a->reverse_path;
}

static struct str connector_name(struct arena *arena, const struct connector *c) {
    return c ? str_printf(arena, "%.*s/%.*s", STR_FMT(c->tenant->name), STR_FMT(c->name)) : STR("");
}

bool allowance_counts(const struct acceptance *a) {
    const struct connector *c = a->by.connector;
    return a->by.user.len || (c ? c->limits : a->by.tenant->policy_count > 0);
}

void allowance_question(const struct acceptance *a, struct limit_question *ret) {
    const struct policy *policy = a->settings->policy;
    const struct connector *connector = a->by.connector;
    *ret = (struct limit_question){.report = a->own_report || !a->by.tenant,
                                   .tenant = STR(""),
                                   .connector = STR(""),
                                   .sender = STR(""),
                                   .mailbox = STR("")};
    if (ret->report)
        return;
    ret->tenant = a->by.tenant->name;
    ret->use = use_of(a);
    ret->rules = limit_rules_for(a->by.tenant, author_of(a), a->arrival);
    if (a->outside) {
        ret->tenant_only = true;
        ret->report = !ret->use.external;
        return;
    }
    ret->connector = connector_name(a->arena, connector);
    ret->sender = limit_sender_name(a->arena, &a->by, a->reverse_path);
    ret->mailbox = limit_sender_written(a->arena, ret->sender, a->reverse_path);
    ret->tenant_only = !policy->limits.apply || !allowance_counts(a);
    if (!policy->limits.apply)
        ret->rules.tenant_external = 0;
    if (is_report(a)) {
        ret->tenant_only = true;
        ret->use = (struct limit_use){0};
    }
}

/* ---- The answer ---- */

static struct str near_advice(struct arena *arena, enum limit_name n, struct str who) {
    struct str word = shell_word(arena, who);
    if (n == LIMIT_TENANT_EXTERNAL)
        return str_printf(
            arena,
            "What is over it is refused. If that much is expected, look at the tenant's `licences` "
            "and `since`; else see who sends it: sluice sender list, sluice tenant show %.*s",
            STR_FMT(word));
    return str_printf(arena, "If that is expected, raise `%s`; else look: sluice sender show %.*s",
                      limit_option(n), STR_FMT(word));
}

static void raise_near(struct flow *flow, const struct allowance *w) {
    const struct limit_question *q = &w->question;
    struct arena *arena = arena_new(0);
    struct limit_facts after = w->answer.facts;
    for (int i = 0; i < LIMIT_COUNTERS; i++) {
        const uint32_t more[LIMIT_COUNTERS] = {[LIMIT_EXTERNAL_HOUR] = q->use.external,
                                               [LIMIT_INTERNAL_HOUR] = q->use.internal,
                                               [LIMIT_RECIPIENTS_DAY] = q->use.external + q->use.internal,
                                               [LIMIT_MESSAGES_MINUTE] = 1};
        after.sender.used[i] += more[i];
    }
    after.tenant_used += q->use.external;
    for (enum limit_name n = 0; n < LIMIT_NAMES; n++) {
        if (!(w->answer.decision.warned & 1u << n))
            continue;
        struct str who = n == LIMIT_TENANT_EXTERNAL ? q->tenant : q->sender;
        struct str policy = n == LIMIT_TENANT_EXTERNAL ? STR("by its licences and its age")
                            : q->rules.policy.len
                                ? str_printf(arena, "policy: %.*s", STR_FMT(q->rules.policy))
                                : STR("policy: the service's own limits");
        alert_raise(flow->alerts,
                    &(struct alert){
                        .kind = ALERT_LIMIT_NEAR,
                        .subject = str_printf(arena, "%.*s %s", STR_FMT(who), limit_option(n)),
                        .tenant = q->tenant,
                        .text = str_printf(arena, "%.*s has used %.*s (%.*s)", STR_FMT(who),
                                           STR_FMT(limit_standing_text(arena, &after, n)), STR_FMT(policy)),
                        .advice = near_advice(arena, n, who),
                        .now = q->now,
                    });
    }
    arena_free(arena);
}

/* Hours of its mail wait, and it goes on. Who tries again is told of again: the desk says it once. */
static void raise_backlog(struct flow *flow, const struct limit_question *q, struct str reply) {
    struct arena *arena = arena_new(0);
    alert_raise(
        flow->alerts,
        &(struct alert){
            .kind = ALERT_LIMIT_EXCEEDED,
            .subject = str_printf(arena, "%.*s %s", STR_FMT(q->sender), limit_option(LIMIT_PER_MINUTE)),
            .tenant = q->tenant,
            .text = str_printf(arena, "more mail of %.*s waits for its turn than can be kept: %.*s",
                               STR_FMT(q->sender), STR_FMT(reply)),
            .advice =
                str_printf(arena,
                           "Look: sluice sender show %.*s, sluice queue list. If it is "
                           "meant, raise `per-minute`; else: sluice sender restrict %.*s",
                           STR_FMT(shell_word(arena, q->sender)), STR_FMT(shell_word(arena, q->sender))),
            .now = q->now,
        });
    arena_free(arena);
}

static void hold_until(struct acceptance *a, const struct allowance *w, int64_t until) {
    char text[CLOCK_RFC3339_SIZE];
    a->hold_until = until;
    if (until)
        a->hold_why =
            str_printf(a->arena, "%.*s: released at %s", STR_FMT(limit_turn_why(&w->answer.facts, a->arena)),
                       clock_rfc3339(until, text));
}

/* Who may not send can still receive: of mail from outside the copies end that are forwarded out of the
 * tenant, when each recipient keeps another one. */
static bool receives_only(struct acceptance *a, const struct outcome *refusal) {
    struct envelope *e = &a->envelope;
    bool *stopped = arena_array(a->arena, bool, e->copy_count);
    for (size_t i = 0; i < e->copy_count; i++)
        stopped[i] = e->copies[i].ended.fate == OUTCOME_DONE && !is_inside(a, &e->copies[i]) &&
                     !came_back(e, &e->copies[i]);
    return a->outside && refusal->fate == OUTCOME_NEVER && envelope_end(e, stopped, refusal);
}

struct outcome allowance_ask(struct flow *flow, struct acceptance *a, struct allowance *ret) {
    struct limit_decision *decision = &ret->answer.decision;
    ret->counting = false;
    allowance_question(a, &ret->question);
    sending_ask(flow->sending, &ret->question, a->arena, &ret->answer);
    if (decision->step == LIMIT_REFUSE && receives_only(a, &decision->refusal)) {
        allowance_question(a, &ret->question);
        sending_ask(flow->sending, &ret->question, a->arena, &ret->answer);
    }
    if (decision->warned)
        raise_near(flow, ret);
#ifdef SLUICE_SEEDED_BUG_OVER_LIMIT_ACCEPTED
    if (decision->exceeded)
        return (struct outcome){.fate = OUTCOME_DONE};
#endif
    if (decision->step == LIMIT_REFUSE) {
        a->refused_why = decision->reason;
        if (decision->limit == LIMIT_PER_MINUTE && decision->refusal.code == 450)
            raise_backlog(flow, &ret->question, decision->refusal.text);
        return decision->refusal;
    }
    hold_until(a, ret, decision->step == LIMIT_HOLD ? decision->hold_until : 0);
    return (struct outcome){.fate = OUTCOME_DONE};
}

bool allowance_turn(struct flow *flow, struct acceptance *a, struct allowance *w,
                    struct outcome *ret_refusal) {
    int64_t until;
    int error = sending_turn(flow->sending, &w->answer.ticket, &until);
    if (!error) {
        hold_until(a, w, until);
        return true;
    }
    *ret_refusal = limit_no_room(error);
    a->refused_why = ret_refusal->text;
    if (error == SLUICE_ELIMIT)
        raise_backlog(flow, &w->question, ret_refusal->text);
    return false;
}

void allowance_count(struct flow *flow, struct allowance *w) {
    w->counting = true;
    sending_count_begin(flow->sending, &w->answer.ticket, &w->count);
}

void allowance_settle(struct flow *flow, const struct acceptance *a, struct allowance *w, bool committed) {
    int error = w->counting ? sending_count_end(&w->count, committed)
                            : sending_settle(flow->sending, &w->answer.ticket, committed);
    if (error) /* it is in the spool, so the client must hear 250; nothing more is taken until this works */
        log_event(flow->log, LOG_ERROR, "accepted, but its count is not on disk", "trace_id", a->id.text,
                  "error", error_text(error), NULL);
}

bool allowance_may_begin(struct flow *flow, struct acceptance *a, struct outcome *ret_refusal) {
    if (!a->by.tenant || a->outside)
        return true;
    struct sending_names names = {.tenant = a->by.tenant->name,
                                  .connector = connector_name(a->arena, a->by.connector),
                                  .sender = limit_sender_name(a->arena, &a->by, a->reverse_path)};
    names.mailbox = limit_sender_written(a->arena, names.sender, a->reverse_path);
    return sending_may(flow->sending, &names, a->arena, ret_refusal, &a->refused_why);
}

void allowance_copy(struct acceptance *a) {
    const struct sending_policy *p =
        a->by.tenant && !a->own_report ? limit_policy_for(a->by.tenant, author_of(a)) : NULL;
    struct envelope *e = &a->envelope;
    if (!p || !p->bcc_suspicious.len)
        return;
    for (size_t i = 0; i < e->copy_count; i++)
        if (str_eq_nocase(e->copies[i].to.address, p->bcc_suspicious))
            return;
    struct envelope_copy *copies = arena_array(a->arena, struct envelope_copy, e->copy_count + 1);
    if (e->copy_count)
        memcpy(copies, e->copies, e->copy_count * sizeof *copies);
    copies[e->copy_count++] = (struct envelope_copy){
        .to = {.address = p->bcc_suspicious, .notify = SPOOL_NOTIFY_NEVER},
        .named = p->bcc_suspicious,
    };
    e->copies = copies;
    e->copy_room = e->copy_count;
}

/* ---- Alerts ---- */

static const struct sending_policy *policy_of(const struct tenant *t, const struct sending_note *note) {
    for (size_t i = 0; t && i < t->policy_count; i++)
        if (note->policy.len && str_eq(t->policies[i].name, note->policy))
            return &t->policies[i];
    if (!t || note->kind != SENDER_USER)
        return NULL;
    ptrdiff_t slash = str_rindex(note->name, '/');
    return limit_policy_for(t, slash < 0 ? note->name : str_from_index(note->name, (size_t)slash + 1));
}

static enum alert_kind kind_of(const struct sending_note *note) {
    static const enum alert_kind restricted[] = {[SENDER_USER] = ALERT_SENDER_RESTRICTED,
                                                 [SENDER_CONNECTOR] = ALERT_CONNECTOR_SUSPICIOUS,
                                                 [SENDER_TENANT] = ALERT_TENANT_RESTRICTED};
    if (note->change == SENDER_RESTRICT)
        return restricted[note->kind];
    if (note->kind == SENDER_CONNECTOR)
        return ALERT_CONNECTOR_SUSPICIOUS;
    return note->event.cause >= CAUSE_PER_DAY && note->event.cause <= CAUSE_TENANT_EXTERNAL
               ? ALERT_LIMIT_EXCEEDED
               : ALERT_SUSPICIOUS_PATTERN;
}

/* A limit knows recipients only; detection knows the rest. */
static struct sender_counts counts_of(struct flow *flow, struct arena *arena,
                                      const struct sending_note *note) {
    struct sender_counts counts = note->event.counts, known;
    struct str reason;
    if (!counts.mail &&
        suspicion_counts(flow->suspicion, (enum pattern_kind)note->kind, note->name, arena, &known, &reason))
        counts = known;
    return counts;
}

static struct str told_text(struct flow *flow, struct arena *arena, const struct sending_note *note) {
    const struct sender_event *e = &note->event;
    struct sender_counts known = counts_of(flow, arena, note);
    struct str why = e->reason.len ? e->reason : str_of(sender_cause_text(e->cause));
    struct str by = e->by.len ? str_printf(arena, " by %.*s", STR_FMT(e->by)) : STR("");
    const char *what = note->change == SENDER_ALERT        ? "has exceeded a limit or a threshold"
                       : e->action == LIMIT_RESTRICT_TODAY ? "is restricted until the next UTC day"
                                                           : "is restricted until it is released";
    struct str counts = known.mail ? sender_counts_text(arena, &known) : STR("");
    return str_printf(arena, "%.*s %s%.*s: %.*s%s%.*s", STR_FMT(note->name), what, STR_FMT(by), STR_FMT(why),
                      counts.len ? ". " : "", STR_FMT(counts));
}

static struct str advice(struct arena *arena, const struct sending_note *note) {
    const char *word = note->kind == SENDER_TENANT ? "tenant" : "sender";
    struct str who = shell_word(arena, note->name);
    bool limit = note->event.cause >= CAUSE_PER_DAY && note->event.cause <= CAUSE_TENANT_EXTERNAL;
    if (note->change == SENDER_RESTRICT && note->kind != SENDER_USER)
        return str_printf(arena,
                          "Its mail is refused. Have its owner find what sends there, and stop it; then: "
                          "sluice %s release %.*s",
                          word, STR_FMT(who));
    if (note->change == SENDER_RESTRICT)
        return str_printf(
            arena,
            "Its mail is refused. Find out who sends in its name, have the password changed, then: "
            "sluice %s release %.*s",
            word, STR_FMT(who));
    return str_printf(arena, "%s Look: sluice %s show %.*s; to stop it: sluice %s restrict %.*s",
                      limit ? "What is over the limit is refused until there is room again; the rest goes on."
                            : "It goes on sending.",
                      word, STR_FMT(who), word, STR_FMT(who));
}

void allowance_tell(void *arg, const struct sending_note *note) {
    struct flow *flow = arg;
    struct settings *settings = flow_settings(flow);
    struct arena *arena = arena_new(0);
    const struct sending_policy *p = policy_of(policy_tenant(settings->policy, note->tenant), note);
    bool notify = p && note->change == SENDER_RESTRICT;
    bool today = note->change == SENDER_RESTRICT && note->event.action == LIMIT_RESTRICT_TODAY;
    alert_raise(flow->alerts, &(struct alert){
                                  .kind = kind_of(note),
                                  .subject = note->name,
                                  .tenant = note->tenant,
                                  .text = told_text(flow, arena, note),
                                  .advice = advice(arena, note),
                                  .also = notify ? p->notify : NULL,
                                  .also_count = notify ? p->notify_count : 0,
                                  .now = note->event.now,
                                  .until = today ? (note->event.now / DAY_MS + 1) * DAY_MS : 0,
                              });
    arena_free(arena);
    settings_unref(settings);
}

/* ---- Mail that waits for its turn ---- */

int64_t allowance_not_before(const struct spool_message *m) {
    struct str text = spool_attribute_get(m->attributes, m->attribute_count, ACCEPT_NOT_BEFORE);
    uint64_t at = 0;
    return text.len && str_to_u64(text, &at) && at < INT64_MAX ? (int64_t)at : 0;
}
