#include "limits/limit.h"
#include "base/error.h"
#include "limits/sender_fold.h"
#include "mail/address.h"
#include "policy/limit_policy.h"

#include <math.h>

static const struct {
    const char *option, *words;
} names[] = {
#define X(name, option, words) {option, words},
    LIMITS(X)
#undef X
};

const char *limit_option(enum limit_name n) { return names[n].option; }
const char *limit_words(enum limit_name n) { return names[n].words; }

static uint32_t or_default(uint32_t value, uint32_t most) { return value && value < most ? value : most; }

struct limit_rules limit_rules_of(const struct sending_policy *p, uint32_t per_message,
                                  uint32_t tenant_external) {
    static const struct sending_policy service = {.action = LIMIT_RESTRICT_TODAY};
    struct limit_rules rules = {.policy = p ? p->name : STR(""), .tenant_external = tenant_external};
    if (!p)
        p = &service;
    rules.bounds.limit[LIMIT_EXTERNAL_HOUR] = or_default(p->external_per_hour, SERVICE_PER_HOUR);
    rules.bounds.limit[LIMIT_INTERNAL_HOUR] = or_default(p->internal_per_hour, SERVICE_PER_HOUR);
    rules.bounds.limit[LIMIT_RECIPIENTS_DAY] = or_default(p->per_day, SERVICE_PER_DAY);
    /* An operator may let senders of a policy go faster than the service's default. */
    rules.bounds.limit[LIMIT_MESSAGES_MINUTE] =
        p->per_minute ? or_default(p->per_minute, LIMIT_LARGEST) : SERVICE_PER_MINUTE;
    rules.per_message = per_message ? per_message : SERVICE_PER_MESSAGE;
    rules.action = p->action;
    return rules;
}

uint32_t limit_tenant_external(uint32_t licences, int64_t age_days) {
    double all = 500 * pow(licences, 0.7) + 9500;
    double part = age_days < 30 ? all / 10 : age_days < 60 ? all / 4 : all;
    return part < UINT32_MAX ? (uint32_t)part : UINT32_MAX;
}

uint32_t limit_of_tenant(const struct tenant *t, int64_t now) {
    if (!t->licences)
        return 0;
    int64_t age = now - t->since;
    return limit_tenant_external(t->licences, age < 0 ? 0 : age / 86400000);
}

struct limit_rules limit_rules_for(const struct tenant *t, struct str from, int64_t now) {
    const struct sending_policy *p = limit_policy_for(t, from);
    return limit_rules_of(p, p ? p->per_message : 0, limit_of_tenant(t, now));
}

/* ---- What each limit compares ---- */

struct account {
    uint64_t used, asked, most; /* most 0: no such limit */
};

static struct account account_of(const struct limit_facts *f, enum limit_name n) {
    const struct limit_rules *r = f->rules;
    uint64_t all = (uint64_t)f->use.external + f->use.internal;
    switch (n) {
    case LIMIT_PER_MESSAGE:
        return (struct account){0, all, r->per_message};
    case LIMIT_TENANT_EXTERNAL:
        return (struct account){f->tenant_used, f->use.external, r->tenant_external};
    case LIMIT_PER_DAY:
        return (struct account){f->sender.used[LIMIT_RECIPIENTS_DAY], all,
                                r->bounds.limit[LIMIT_RECIPIENTS_DAY]};
    case LIMIT_EXTERNAL_PER_HOUR:
        return (struct account){f->sender.used[LIMIT_EXTERNAL_HOUR], f->use.external,
                                r->bounds.limit[LIMIT_EXTERNAL_HOUR]};
    case LIMIT_INTERNAL_PER_HOUR:
        return (struct account){f->sender.used[LIMIT_INTERNAL_HOUR], f->use.internal,
                                r->bounds.limit[LIMIT_INTERNAL_HOUR]};
    default:
        return (struct account){f->sender.used[LIMIT_MESSAGES_MINUTE], 1,
                                r->bounds.limit[LIMIT_MESSAGES_MINUTE]};
    }
}

static bool over(const struct account *a) { return a->most && a->asked && a->used + a->asked > a->most; }

/* This message takes it to 80 % or beyond; the ones after it don't say so again. */
static bool reaches_80(const struct account *a) {
    return a->most && a->used * 5 < a->most * 4 && (a->used + a->asked) * 5 >= a->most * 4;
}

/* ---- Replies ---- */

static struct outcome reply(int code, const char *enhanced, struct str text) {
    return (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = code < 500 ? OUTCOME_LATER : OUTCOME_NEVER,
        .code = code,
        .enhanced = str_of(enhanced),
        .text = text,
    };
}

static struct str counts_text(struct arena *arena, enum limit_name n, const struct account *a) {
    if (n == LIMIT_PER_MINUTE) /* its window may be that of a later minute: then what is used says little */
        return str_printf(arena, "%llu messages may leave in a minute, and as many are on their way",
                          (unsigned long long)a->most);
    return str_printf(arena, "%s: %llu used, %llu more asked for, the limit is %llu", limit_words(n),
                      (unsigned long long)a->used, (unsigned long long)a->asked, (unsigned long long)a->most);
}

static struct outcome refusal_of(struct arena *arena, enum limit_name n, const struct account *a,
                                 enum limit_action action) {
    if (n == LIMIT_PER_MESSAGE)
        return reply(550, "5.5.3",
                     str_printf(arena, "Too many recipients: %llu in one message, the limit is %llu",
                                (unsigned long long)a->asked, (unsigned long long)a->most));
    struct str counts = counts_text(arena, n, a);
    if (n == LIMIT_TENANT_EXTERNAL)
        return reply(550, "5.7.233", str_printf(arena, "Tenant recipient limit: %.*s", STR_FMT(counts)));
    if (action != LIMIT_ALERT)
        return reply(550, "5.1.8", STR("Access denied, bad outbound sender"));
    if (a->asked > a->most) /* it never fits */
        return reply(550, "5.5.3",
                     str_printf(arena, "Too many recipients: %llu in one message, the limit is %llu %s",
                                (unsigned long long)a->asked, (unsigned long long)a->most, limit_words(n)));
    return reply(450, "4.7.1", str_printf(arena, "Sending limit: %.*s, try again later", STR_FMT(counts)));
}

static void tell(struct limit_decision *d, const struct limit_facts *f, struct arena *arena,
                 enum limit_name n, const struct account *a) {
    struct str counts = counts_text(arena, n, a), policy = f->rules->policy;
    d->limit = n;
    d->used = (uint32_t)a->used;
    d->asked = (uint32_t)a->asked;
    d->most = (uint32_t)a->most;
    d->reason = policy.len && n != LIMIT_TENANT_EXTERNAL
                    ? str_printf(arena, "%.*s (policy \"%.*s\")", STR_FMT(counts), STR_FMT(policy))
                    : counts;
}

static struct limit_decision refuse(const struct limit_facts *f, struct arena *arena, enum limit_name n,
                                    const struct account *a) {
    struct limit_decision d = {.step = LIMIT_REFUSE, .action = f->rules->action};
    d.exceeded = n != LIMIT_PER_MESSAGE && n != LIMIT_TENANT_EXTERNAL;
    d.refusal = refusal_of(arena, n, a, d.action);
    tell(&d, f, arena, n, a);
    return d;
}

struct limit_decision limit_decide(const struct limit_facts *f, struct arena *arena) {
    struct limit_decision d = {.step = LIMIT_PASS, .refusal.text = STR(""), .reason = STR("")};
    if (f->report)
        return d;
    for (enum limit_name n = 0; n < LIMIT_PER_MINUTE; n++) {
        struct account a = account_of(f, n);
        if (f->tenant_only && n != LIMIT_TENANT_EXTERNAL)
            continue;
        if (over(&a))
            return refuse(f, arena, n, &a);
        if (n != LIMIT_PER_MESSAGE && reaches_80(&a))
            d.warned |= 1u << n;
    }
    struct account a = account_of(f, LIMIT_PER_MINUTE);
    if (!f->tenant_only && reaches_80(&a)) /* from here on mail will wait, for hours perhaps */
        d.warned |= 1u << LIMIT_PER_MINUTE;
    if (f->sender.turn > f->now && !f->tenant_only) {
        d.step = LIMIT_HOLD;
        d.hold_until = f->sender.turn;
        tell(&d, f, arena, LIMIT_PER_MINUTE, &a);
    }
    return d;
}

struct str limit_turn_why(const struct limit_facts *f, struct arena *arena) {
    struct limit_decision d = {0};
    struct account a = account_of(f, LIMIT_PER_MINUTE);
    tell(&d, f, arena, LIMIT_PER_MINUTE, &a);
    return d.reason;
}

void limit_account(const struct limit_facts *f, enum limit_name n, uint64_t *ret_used, uint64_t *ret_most) {
    struct account a = account_of(f, n);
    *ret_used = a.used;
    *ret_most = a.most;
}

struct str limit_standing_text(struct arena *arena, const struct limit_facts *f, enum limit_name n) {
    struct account a = account_of(f, n);
    if (!a.most)
        return str_printf(arena, "%llu %s, no limit", (unsigned long long)a.used, limit_words(n));
    return str_printf(arena, "%llu of %llu %s", (unsigned long long)a.used, (unsigned long long)a.most,
                      limit_words(n));
}

struct outcome limit_no_room(int error) {
    if (error == SLUICE_ELIMIT)
        return reply(450, "4.7.1", STR("Too many of your messages wait for their turn, try again later"));
    return reply(451, "4.3.2", STR("No more senders can be counted now, try again later"));
}

struct str limit_sender_name(struct arena *arena, const struct attribution *a, struct str reverse_path) {
    struct str path = reverse_path.len ? sender_fold(arena, reverse_path, NULL) : STR("<>");
    if (a->user.len)
        return str_lower(arena, a->user);
    if (!a->connector)
        return str_lower(arena,
                         str_printf(arena, "local/%.*s/%.*s", STR_FMT(a->tenant->name), STR_FMT(path)));
    return str_lower(arena, str_printf(arena, "connector/%.*s/%.*s/%.*s", STR_FMT(a->tenant->name),
                                       STR_FMT(a->connector->name), STR_FMT(path)));
}

struct str limit_sender_written(struct arena *arena, struct str sender, struct str reverse_path) {
    struct str folded = limit_sender_mailbox(sender);
    struct str written = folded.len && reverse_path.len ? address_mailbox(arena, reverse_path) : STR("");
    return str_eq_nocase(written, folded) ? STR("") : written;
}

struct str limit_sender_mailbox(struct str name) {
    int slashes = str_starts_nocase(name, STR("connector/")) ? 3
                  : str_starts_nocase(name, STR("local/"))   ? 2
                                                             : 0;
    ptrdiff_t slash = -1;
    for (struct str rest = name; slashes > 0 && (slash = str_index(rest, '/')) >= 0; slashes--)
        name = rest = str_from_index(rest, (size_t)slash + 1);
    return slash >= 0 && !slashes ? name : STR("");
}
