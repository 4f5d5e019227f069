#include "limits/limit_desk.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>

#define HOUR INT64_C(3600000)
#define DAY INT64_C(86400000)

enum { UNDONE_MOST = 1024 };

/* Counted, but not sent: taken off again when somebody looks. The windows can't give anything back. */
struct undone {
    uint64_t key;
    int64_t at;
    struct limit_use use;
    char *tenant;
};

struct limit_desk {
    struct limit_kept kept;
    struct limit_store *store;
    struct undone undone[UNDONE_MOST]; /* the oldest first */
    size_t undone_count;
};

/* How precisely a tenant without a limit is counted. */
enum { NO_TENANT_LIMIT = 100000 };

int limit_desk_open(const struct limit_desk_options *options, struct arena *arena, struct str *ret_why,
                    struct limit_journal_report *ret_report, struct limit_desk **ret) {
    struct limit_desk *d = xcalloc(1, sizeof *d);
    d->kept = (struct limit_kept){limit_table_new(options->capacity), limit_tenants_new(), sender_book_new()};
    const struct limit_store_options store = {.dir = options->dir,
                                              .io = options->io,
                                              .kept = d->kept,
                                              .now = options->now,
                                              .read_only = options->read_only};
    int error = limit_store_open(&store, arena, ret_why, ret_report, &d->store);
    if (error)
        limit_desk_close(d);
    else
        *ret = d;
    return error;
}

struct limit_desk *limit_desk_close(struct limit_desk *d) {
    if (!d)
        return NULL;
    limit_store_close(d->store);
    limit_table_free(d->kept.senders);
    limit_tenants_free(d->kept.tenants);
    sender_book_free(d->kept.book);
    for (size_t i = 0; i < d->undone_count; i++)
        free(d->undone[i].tenant);
    free(d);
    return NULL;
}

static enum sender_cause cause_of(enum limit_name n) {
    switch (n) {
    case LIMIT_PER_DAY:
        return CAUSE_PER_DAY;
    case LIMIT_EXTERNAL_PER_HOUR:
        return CAUSE_EXTERNAL_PER_HOUR;
    case LIMIT_INTERNAL_PER_HOUR:
        return CAUSE_INTERNAL_PER_HOUR;
    case LIMIT_TENANT_EXTERNAL:
        return CAUSE_TENANT_EXTERNAL;
    default:
        return CAUSE_NONE;
    }
}

/* ---- What was not sent in the end ---- */

static void forget_undone(struct limit_desk *d, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(d->undone[i].tenant);
    d->undone_count -= count;
    memmove(d->undone, d->undone + count, d->undone_count * sizeof *d->undone);
}

void limit_desk_undo(struct limit_desk *d, const struct limit_ticket *t, int64_t now) {
    if (d->undone_count == UNDONE_MOST)
        forget_undone(d, 1);
    char *tenant = memcpy(xcalloc(1, t->tenant.len + 1), t->tenant.at, t->tenant.len);
    d->undone[d->undone_count++] = (struct undone){t->key, now, t->use, tenant};
}

/* A window that is over its limit no longer knows by how much: then nothing can be taken off. */
static bool take_off(uint32_t *used, uint32_t amount, uint32_t limit) {
    if (amount && *used > limit)
        return false;
    *used -= amount < *used ? amount : *used;
    return true;
}

/* False: too much was undone to know where the sender stands. */
static bool take_off_undone(const struct limit_desk *d, const struct limit_ticket *t, int64_t now,
                            struct limit_facts *facts) {
    uint32_t external[2] = {0}, internal[2] = {0}, tenant = 0; /* of a day, of an hour */
    for (size_t i = 0; i < d->undone_count; i++) {
        const struct undone *u = &d->undone[i];
        if (now - u->at >= DAY)
            continue;
        bool hour = now - u->at < HOUR, same = t->key && t->key == u->key;
        tenant += str_eq(t->tenant, str_of(u->tenant)) ? u->use.external : 0;
        external[0] += same ? u->use.external : 0;
        internal[0] += same ? u->use.internal : 0;
        external[1] += same && hour ? u->use.external : 0;
        internal[1] += same && hour ? u->use.internal : 0;
    }
    uint32_t *used = facts->sender.used;
    const uint32_t *limit = t->bounds.limit;
    return take_off(&facts->tenant_used, tenant, t->tenant_limit) &
           take_off(&used[LIMIT_RECIPIENTS_DAY], external[0] + internal[0], limit[LIMIT_RECIPIENTS_DAY]) &
           take_off(&used[LIMIT_EXTERNAL_HOUR], external[1], limit[LIMIT_EXTERNAL_HOUR]) &
           take_off(&used[LIMIT_INTERNAL_HOUR], internal[1], limit[LIMIT_INTERNAL_HOUR]);
}

static struct limit_decision unsure(void) {
    return (struct limit_decision){
        .step = LIMIT_REFUSE,
        .limit = LIMIT_NAMES,
        .refusal = {.scope = OUTCOME_MESSAGE,
                    .fate = OUTCOME_LATER,
                    .code = 451,
                    .enhanced = STR("4.3.0"),
                    .text = STR("What is sent can't be counted now, try again later")},
        .reason = STR("too many of its messages were counted and then not stored"),
    };
}

/* ---- Looking ---- */

/* The first of tenant, connector and sender that is restricted answers. Who is restricted as a user doesn't
 * send by a server or by the local socket instead. */
static bool is_restricted(const struct limit_desk *d, const struct limit_question *q, struct arena *arena,
                          struct limit_decision *ret) {
    const struct {
        enum sender_kind kind;
        struct str name;
    } whom[] = {{SENDER_TENANT, q->tenant},
                {SENDER_CONNECTOR, q->connector},
                {SENDER_USER, q->sender},
                {SENDER_USER, limit_sender_mailbox(q->sender)},
                {SENDER_USER, q->mailbox}};
    for (size_t i = 0; i < sizeof whom / sizeof *whom; i++) {
        const struct sender_state *s =
            whom[i].name.len ? sender_book_find(d->kept.book, whom[i].kind, whom[i].name) : NULL;
        char since[CLOCK_RFC3339_SIZE];
        if (sender_may_send(s, q->now, &ret->refusal))
            continue;
        ret->step = LIMIT_REFUSE;
        ret->limit = LIMIT_NAMES;
        ret->action = q->rules.action;
        ret->reason = str_printf(arena, "%.*s is restricted since %s: %s", STR_FMT(whom[i].name),
                                 clock_rfc3339(s->since, since),
                                 s->reason[0] ? s->reason : sender_cause_text(s->cause));
        return true;
    }
    return false;
}

/* Exempt and allowed senders get the rules with the action alert, once it is known which limit it is. */
static struct limit_decision decide(const struct limit_desk *d, const struct limit_question *q,
                                    const struct limit_facts *facts, struct arena *arena) {
    struct limit_decision decision = limit_decide(facts, arena);
    if (!decision.exceeded)
        return decision;
    const struct sender_state *s = sender_book_find(d->kept.book, SENDER_USER, q->sender);
    enum limit_action action = sender_action(s, cause_of(decision.limit), q->rules.action, q->now);
    if (action == decision.action)
        return decision;
    struct limit_rules rules = q->rules;
    struct limit_facts spared = *facts;
    rules.action = action;
    spared.rules = &rules;
    return limit_decide(&spared, arena);
}

void limit_desk_look(const struct limit_desk *d, const struct limit_question *q, struct arena *arena,
                     struct limit_answer *ret) {
    *ret = (struct limit_answer){
        .decision = {.step = LIMIT_PASS, .refusal.text = STR(""), .reason = STR("")},
        .facts = {.rules = &q->rules, .use = q->use, .now = q->now, .report = q->report},
    };
    if (q->report)
        return;
    uint64_t key = q->tenant_only ? 0 : limit_key(limit_store_seed(d->store), q->sender);
    ret->facts.tenant_only = q->tenant_only;
    ret->facts.sender.turn = q->now;
    if (key)
        limit_table_look(d->kept.senders, key, q->now, &q->rules.bounds, &ret->facts.sender);
    uint32_t tenant_limit = q->rules.tenant_external ? q->rules.tenant_external : NO_TENANT_LIMIT;
    ret->facts.tenant_used = limit_tenants_used(d->kept.tenants, q->tenant, q->now, tenant_limit);
    ret->ticket = (struct limit_ticket){
        .key = key,
        .tenant = q->tenant,
        .tenant_limit = tenant_limit,
        .bounds = q->rules.bounds,
        .use = q->use,
        .turn = ret->facts.sender.turn,
    };
    bool sure = !d->undone_count || take_off_undone(d, &ret->ticket, q->now, &ret->facts);
    if (!is_restricted(d, q, arena, &ret->decision))
        ret->decision = sure ? decide(d, q, &ret->facts, arena) : unsure();
}

/* ---- Asking ---- */

/* Behind a connector and at the local socket one can invent reverse-paths without end: the last quarter of
 * the places is for users, so that a flood of them stops nobody who logs in. */
static bool takes_their_places(const struct limit_desk *d, const struct limit_question *q, uint64_t key) {
    struct limit_table_stats stats;
    limit_table_stats(d->kept.senders, &stats);
    return limit_sender_mailbox(q->sender).len &&
           !limit_table_room(d->kept.senders, key, q->now, stats.capacity - stats.capacity / 4);
}

static int reserve_sender(struct limit_desk *d, const struct limit_question *q, struct limit_ticket *t) {
    if (!t->key)
        return 0;
    if (takes_their_places(d, q, t->key))
        return SLUICE_EFULL;
    return limit_table_reserve(d->kept.senders, t->key, q->now, &t->bounds, &t->use, NULL);
}

static void reserve(struct limit_desk *d, const struct limit_question *q, struct limit_answer *a) {
    struct limit_ticket *t = &a->ticket;
    int error = reserve_sender(d, q, t);
    if (error) {
        a->decision.step = LIMIT_REFUSE;
        a->decision.limit = LIMIT_PER_MINUTE;
        a->decision.refusal = limit_no_room(error);
        a->decision.reason = a->decision.refusal.text;
        a->decision.warned = 0;
        return;
    }
    limit_tenants_reserve(d->kept.tenants, t->tenant, t->use.external);
    t->open = true;
}

void limit_desk_ask(struct limit_desk *d, const struct limit_question *q, struct arena *arena,
                    struct limit_answer *ret) {
    limit_desk_look(d, q, arena, ret);
    const struct limit_decision *decision = &ret->decision;
    if (q->report)
        return;
    if (decision->step != LIMIT_REFUSE) {
        reserve(d, q, ret);
        return;
    }
    bool tenant = decision->limit == LIMIT_TENANT_EXTERNAL;
    if (!tenant && !decision->exceeded)
        return;
    const struct sender_event event = {
        .cause = cause_of(decision->limit),
        .action = tenant ? LIMIT_ALERT : q->rules.action,
        .counts = {.recipients = ret->facts.sender.used[LIMIT_RECIPIENTS_DAY]},
        .reason = decision->reason,
        .by = STR(""),
        .now = q->now,
    };
    ret->kind = tenant ? SENDER_TENANT : SENDER_USER;
    ret->cause = event.cause;
    ret->change = limit_desk_exceed(d, ret->kind, tenant ? q->tenant : q->sender, &event);
}

int limit_desk_turn(struct limit_desk *d, struct limit_ticket *t, int64_t now) {
    t->turn = now;
    return t->open && t->key ? limit_table_turn(d->kept.senders, t->key, now, &t->bounds, &t->turn) : 0;
}

void limit_desk_settle(struct limit_desk *d, const struct limit_ticket *t, int64_t now, bool committed) {
    if (t->key)
        limit_table_settle(d->kept.senders, t->key, now, &t->bounds, &t->use, committed);
    limit_tenants_settle(d->kept.tenants, t->tenant, now, t->tenant_limit, t->use.external, committed);
    if (!committed)
        return;
    if (t->key)
        limit_store_message(d->store, t->key, now, t->turn, &t->bounds, &t->use);
    if (t->use.external)
        limit_store_tenant(d->store, t->tenant, now, t->tenant_limit, t->use.external);
}

/* ---- Restrictions ---- */

/* Reverse-paths can be invented without end, and each may be over a limit with its first message. Beyond so
 * many they aren't remembered: each message over a limit is refused for itself. */
static bool is_one_too_many(const struct limit_desk *d, enum sender_kind kind, struct str name,
                            const struct sender_event *event) {
    return kind == SENDER_USER && event->cause != CAUSE_OPERATOR && limit_sender_mailbox(name).len &&
           sender_book_count(d->kept.book, kind) >= LIMIT_DESK_PATHS_MOST &&
           !sender_book_find(d->kept.book, kind, name);
}

enum sender_change limit_desk_exceed(struct limit_desk *d, enum sender_kind kind, struct str name,
                                     const struct sender_event *event) {
    if (is_one_too_many(d, kind, name, event))
        return SENDER_UNCHANGED;
    struct sender_state *s = sender_book_of(d->kept.book, kind, name);
    enum sender_change change = sender_exceed(s, event);
    if (change != SENDER_UNCHANGED)
        limit_store_restriction(d->store, name, s);
    return change;
}

bool limit_desk_release(struct limit_desk *d, enum sender_kind kind, struct str name, struct str by,
                        int64_t now) {
    if (!sender_book_find(d->kept.book, kind, name))
        return false;
    struct sender_state *s = sender_book_of(d->kept.book, kind, name);
    bool was = sender_release(s, by, now);
    if (was)
        limit_store_restriction(d->store, name, s);
    return was;
}

void limit_desk_allow(struct limit_desk *d, enum sender_kind kind, struct str name, int64_t until,
                      struct str by, int64_t now) {
    struct sender_state *s = sender_book_of(d->kept.book, kind, name);
    sender_allow(s, until, by, now);
    limit_store_restriction(d->store, name, s);
}

const struct sender_book *limit_desk_book(const struct limit_desk *d) { return d->kept.book; }

void limit_desk_tidy(struct limit_desk *d, int64_t now) {
    size_t old = 0;
    while (old < d->undone_count && now - d->undone[old].at >= DAY)
        old++;
    forget_undone(d, old);
    sender_book_tidy(d->kept.book, now);
}

struct limit_store *limit_desk_store(struct limit_desk *d) {
    return d->store;
}

void limit_desk_stats(const struct limit_desk *d, struct limit_table_stats *ret) {
    limit_table_stats(d->kept.senders, ret);
}
