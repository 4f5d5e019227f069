#include "cmd/senders.h"

#include "base/clock.h"
#include "base/error.h"
#include "mail/address.h"
#include "policy/limit_policy.h"

/* ---- Who ---- */

static bool known(const struct senders *from, enum sender_kind kind, struct str name,
                  struct sender_state *ret) {
    if (from->sending)
        return sending_find(from->sending, kind, name, ret);
    const struct sender_state *state = sender_book_find(limit_desk_book(from->desk), kind, name);
    if (!state || sender_is_blank(state, from->now))
        return false;
    *ret = *state;
    return true;
}

int senders_find(const struct senders *from, struct str name, bool tenant, struct arena *arena,
                 struct senders_one *ret, struct buf *ret_why) {
    struct str why = STR("");
    *ret = (struct senders_one){0};
    bool real;
    if (tenant) {
        ret->name = (struct sender_name){.kind = SENDER_TENANT,
                                         .tenant = sender_name_tenant(from->policy, name),
                                         .connector = STR(""),
                                         .author = STR(""),
                                         .folded = STR(""),
                                         .whole = name};
        real = ret->name.tenant != NULL;
        if (real)
            ret->name.whole = ret->name.tenant->name;
        else
            why = str_printf(arena, "there is no tenant %.*s", STR_FMT(name));
    } else {
        real = sender_name_read(from->policy, name, arena, &ret->name, &why);
    }
    /* Who has left the configuration can still be looked at, and released. */
    bool found = known(from, ret->name.kind, ret->name.whole, &ret->state);
    if (real || found)
        return 0;
    buf_str(ret_why, why);
    return SLUICE_ENOTFOUND;
}

/* ---- Rows ---- */

static struct str causes_text(struct arena *arena, uint32_t bits) {
    struct str text = STR("");
    for (int cause = 1; cause < 32; cause++)
        if (bits & 1u << cause && sender_cause_word((enum sender_cause)cause))
            text = str_printf(arena, "%.*s%s%s", STR_FMT(text), text.len ? ", " : "",
                              sender_cause_word((enum sender_cause)cause));
    return text;
}

static struct str state_text(const struct sender_state *s, bool exempt, int64_t now) {
    if (sender_is_restricted(s, now))
        return s->restriction == SENDER_RESTRICTED ? STR("restricted") : STR("restricted today");
    if (now < s->allowed_until)
        return STR("allowed");
    return exempt ? STR("released") : now < s->alerted_until ? STR("alerted") : STR("free");
}

void senders_row(const struct senders *from, struct str name, struct str tenant, const struct sender_state *s,
                 struct arena *arena, struct api_sender *ret) {
    static const char *const kinds[] = {
        [SENDER_USER] = "sender", [SENDER_CONNECTOR] = "connector", [SENDER_TENANT] = "tenant"};
    const struct sender_counts *c = &s->counts;
    bool restricted = sender_is_restricted(s, from->now), exempt = from->now < s->exempt_until && s->exempt;
    bool allowed = from->now < s->allowed_until;
    char until[CLOCK_RFC3339_SIZE];
    *ret = (struct api_sender){
        .name = name,
        .kind = str_of(kinds[s->kind]),
        .tenant = tenant,
        .state = state_text(s, exempt, from->now),
        .cause = str_of(sender_cause_word(s->cause)),
        .reason = str_copy(arena, str_of(s->reason)),
        .by = str_copy(arena, str_of(s->by)),
        .exempt = exempt ? causes_text(arena, s->exempt) : STR(""),
        .alerted = from->now < s->alerted_until ? causes_text(arena, s->alerted) : STR(""),
        .allowed = !allowed ? STR("")
                   : s->allowed_until == SENDER_ALWAYS
                       ? STR("always")
                       : str_copy(arena, str_of(clock_rfc3339(s->allowed_until, until))),
        .since = restricted || exempt ? s->since : 0,
        .until = restricted ? s->until : 0,
        .spam_per_mille = c->mail ? (int64_t)((uint64_t)c->spam * 1000 / c->mail) : 0,
        .spam = c->spam,
        .mail = c->mail,
        .recipients = c->recipients,
        .unknown = c->unknown,
        .destinations = c->destinations,
        .refusals = c->refusals,
    };
}

/* ---- Standing ---- */

static void add_limits(struct api_standing *ret, const struct limit_facts *facts, bool tenant_only,
                       struct arena *arena) {
    struct api_limit *limits = arena_array(arena, struct api_limit, LIMIT_NAMES);
    for (enum limit_name n = 0; n < LIMIT_NAMES; n++) {
        uint64_t used, most;
        limit_account(facts, n, &used, &most);
        if (tenant_only && n != LIMIT_TENANT_EXTERNAL)
            continue;
        limits[ret->limit_count++] = (struct api_limit){
            .limit = str_of(limit_option(n)),
            .words = str_of(limit_words(n)),
            .used = (int64_t)used,
            .most = (int64_t)most,
        };
    }
    ret->limits = limits;
}

static const struct connector *connector_of(const struct sender_name *name) {
    ptrdiff_t slash = str_index(name->connector, '/');
    struct str plain = slash < 0 ? STR("") : str_from_index(name->connector, (size_t)slash + 1);
    for (size_t i = 0; name->tenant && i < name->tenant->connector_count; i++)
        if (str_eq(name->tenant->connectors[i].name, plain))
            return &name->tenant->connectors[i];
    return NULL;
}

/* What makes that only the tenant is counted; "": nothing. */
static struct str uncounted(const struct senders *from, const struct sender_name *name) {
    const struct connector *c = connector_of(name);
    if (!from->policy->limits.apply)
        return STR("limits { apply } is off: nothing is limited");
    if (c && !c->limits)
        return STR(
            "`limits` of the connector is off (or the tenant has no `policy`): its senders aren't counted");
    if (!c && str_starts(name->whole, STR("local/")) && !name->tenant->policy_count)
        return STR("the tenant has no `policy`: senders at the local socket aren't counted");
    return name->kind == SENDER_USER ? STR("") : STR("limits count senders one by one");
}

static void add_verdict(struct api_standing *ret, const struct limit_answer *a,
                        const struct api_sender_query *query, struct arena *arena) {
    static const char *const words[] = {
        [LIMIT_PASS] = "pass", [LIMIT_HOLD] = "hold", [LIMIT_REFUSE] = "refuse"};
    bool asked = query->external || query->internal;
    if (!asked && a->decision.step != LIMIT_REFUSE)
        return;
    ret->verdict = str_of(words[a->decision.step]);
    ret->reason = a->decision.reason;
    if (a->decision.step == LIMIT_REFUSE)
        ret->reply = outcome_line(arena, &a->decision.refusal);
}

int senders_standing(const struct senders *from, const struct api_sender_query *query, struct arena *arena,
                     struct api_standing *ret, struct buf *ret_why) {
    static const char *const actions[] = {
        [LIMIT_ALERT] = "alert", [LIMIT_RESTRICT_TODAY] = "restrict-today", [LIMIT_RESTRICT] = "restrict"};
    struct senders_one one;
    int error = senders_find(from, query->name, query->tenant, arena, &one, ret_why);
    if (error)
        return error;
    const struct tenant *t = one.name.tenant;
    one.state.kind = one.name.kind;
    *ret = (struct api_standing){.counted = one.name.folded,
                                 .policy = STR(""),
                                 .policy_why = STR(""),
                                 .action = STR(""),
                                 .verdict = STR(""),
                                 .reply = STR(""),
                                 .reason = STR("")};
    senders_row(from, one.name.whole, t ? t->name : STR(""), &one.state, arena, &ret->sender);
    if (!t)
        return 0;
    struct str author = query->from.len ? query->from : one.name.author;
    const struct sending_policy *p = limit_policy_for(t, author);
    struct str off = uncounted(from, &one.name);
    struct limit_question q = {
        .tenant = t->name,
        .connector = one.name.connector,
        .sender = one.name.kind == SENDER_USER ? one.name.whole : STR(""),
        .mailbox = limit_sender_written(arena, one.name.whole, one.name.author),
        .rules = limit_rules_for(t, author, from->now),
        .use = {(uint32_t)query->external, (uint32_t)query->internal},
        .tenant_only = off.len > 0,
        .now = from->now,
    };
    struct limit_answer answer;
    if (!from->policy->limits.apply)
        q.rules.tenant_external = 0;
    if (from->sending)
        sending_look(from->sending, &q, arena, &answer);
    else
        limit_desk_look(from->desk, &q, arena, &answer);
    if (one.name.kind == SENDER_USER) {
        ret->policy = q.rules.policy;
        ret->policy_why = off.len ? off : limit_policy_why(arena, t, p, author);
        ret->action = str_of(actions[q.rules.action]);
    }
    ret->turn = answer.facts.sender.turn > answer.facts.now ? answer.facts.sender.turn : 0;
    add_limits(ret, &answer.facts, off.len > 0, arena);
    add_verdict(ret, &answer, query, arena);
    return 0;
}
