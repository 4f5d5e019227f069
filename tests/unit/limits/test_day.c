/* A day of 100,000 senders in virtual time, through the real desk of limits, the patterns and the surges: who
 * is found, when, for which cause, and that nobody else is. The same day again with a restart and two power
 * losses in it, after which the journal of limits is what was synced and the patterns are a quarter of an
 * hour old, comes to the same.
 *
 * The scale: 100,000 senders of 200 tenants, of whom some 60,000 write on this day; 90,000 messages of theirs
 * over a curve of the day, a few senders with hundreds, most with one or two. That is a fifth of what so many
 * people send; the attacks and the innocent peaks have their real rates. */
#include "detection/pattern.h"
#include "detection/surge.h"
#include "limit_model.h"
#include "limits/limit_desk.h"
#include "spool/simdisk.h"

#include <stdio.h>

#define MIDNIGHT INT64_C(1789948800000) /* 2026-09-21, a Monday */
#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
enum { SENDERS = 100000, TENANTS = 200, MESSAGES = 90000, ANSWERS_MAX = 400000, NOTES_MAX = 1000 };

/* Something that was told. */
struct note {
    char name[100];
    enum sender_cause cause; /* CAUSE_NONE: a surge */
    enum pattern_action action;
    enum surge_cause surge;
    int64_t minute;
};

/* Receivers answer a minute after the message. */
struct answer {
    int64_t minute;
    const char *sender, *connector;
    unsigned tenant;
    enum reply_kind kind;
    uint32_t recipients;
    bool bad;
};

struct day {
    struct simdisk *disk;
    struct limit_desk *desk;
    struct pattern_rules rules;
    struct pattern *pattern;
    struct surge *surge;
    struct buf snapshot;
    struct arena *arena, *minute_arena;
    uint64_t chance;
    int64_t minute;
    struct answer *answers;
    size_t answer_count, answered;
    struct note notes[NOTES_MAX];
    size_t note_count;
    unsigned sent, refused_innocent, risky_innocent, refused;
    bool bumpy; /* with a restart and power losses */
};

struct mail {
    const char *sender, *connector;
    unsigned tenant;
    uint32_t recipients;
    const char *network;
    bool spam, guilty;
    uint32_t unknown, refusals; /* of the recipients */
    const struct str *domains;
    size_t domain_count;
};

static int64_t now_of(const struct day *d) { return MIDNIGHT + d->minute * MINUTE; }

/* ---- Notes ---- */

static struct note *note(struct day *d, struct str name) {
    assert_true(d->note_count < NOTES_MAX);
    struct note *n = &d->notes[d->note_count++];
    *n = (struct note){.minute = d->minute};
    snprintf(n->name, sizeof n->name, "%.*s", STR_FMT(name));
    return n;
}

/* As the daemon does it: restrictions go to the desk. */
static void take_findings(struct day *d, const struct pattern_findings *found) {
    for (size_t i = 0; i < found->count; i++) {
        const struct pattern_finding *f = &found->at[i];
        if (f->over)
            continue;
        struct note *n = note(d, f->name);
        n->cause = f->cause;
        n->action = f->action;
        if (f->action < PATTERN_RESTRICT_TODAY)
            continue;
        const struct sender_event event = {
            .cause = f->cause,
            .action = f->action == PATTERN_RESTRICT ? LIMIT_RESTRICT : LIMIT_RESTRICT_TODAY,
            .counts = f->counts,
            .reason = f->reason,
            .by = STR(""),
            .now = now_of(d),
        };
        limit_desk_exceed(d->desk, (enum sender_kind)f->kind, f->name, &event);
    }
}

/* ---- One message, and what becomes of it ---- */

static void put_answer(struct day *d, const struct mail *m, enum reply_kind kind, uint32_t count) {
    if (!count)
        return;
    assert_true(d->answer_count < ANSWERS_MAX);
    d->answers[d->answer_count++] =
        (struct answer){d->minute + 1, m->sender, m->connector, m->tenant, kind, count, m->spam};
}

static struct pattern_whose whose(struct day *d, const char *sender, const char *connector, unsigned tenant) {
    return (struct pattern_whose){str_of(sender), str_of(connector),
                                  str_printf(d->minute_arena, "tenant%u", tenant)};
}

static bool is_suspicious(const struct day *d, const struct pattern_whose *w) {
    return pattern_suspicion(d->pattern, PATTERN_USER, w->sender, now_of(d)) ||
           pattern_suspicion(d->pattern, PATTERN_CONNECTOR, w->connector, now_of(d)) ||
           pattern_suspicion(d->pattern, PATTERN_TENANT, w->tenant, now_of(d));
}

static void tell_patterns(struct day *d, const struct mail *m) {
    struct pattern_findings found = {.count = 0};
    struct pattern_message event = {
        .whose = whose(d, m->sender, m->connector, m->tenant),
        .bad = m->spam,
        .recipients = m->recipients,
        .external = m->recipients,
        .domains = m->domains,
        .domain_count = m->domain_count,
        .now = now_of(d),
    };
    assert_true(!m->network || ip_parse(str_of(m->network), &event.client));
    pattern_message(d->pattern, &event, d->minute_arena, &found);
    take_findings(d, &found);
}

static void send_mail(struct day *d, const struct mail *m) {
    static const struct sending_policy policy = {.per_minute = 60, .action = LIMIT_RESTRICT_TODAY};
    struct pattern_whose w = whose(d, m->sender, m->connector, m->tenant);
    struct limit_question q = {
        .tenant = w.tenant,
        .connector = w.connector,
        .sender = w.sender,
        .rules = limit_rules_of(&policy, 0, limit_tenant_external(1000, 1000)),
        .use = {m->recipients, 0},
        .now = now_of(d),
    };
    struct limit_answer a;
    limit_desk_ask(d->desk, &q, d->minute_arena, &a);
    d->refused += !a.ticket.open;
    d->refused_innocent += !a.ticket.open && !m->guilty;
    if (!a.ticket.open)
        return;
    assert_int_equal(limit_desk_turn(d->desk, &a.ticket, q.now), 0);
    limit_desk_settle(d->desk, &a.ticket, q.now, true);
    d->risky_innocent += !m->guilty && is_suspicious(d, &w);
    d->sent++;
    tell_patterns(d, m);
    put_answer(d, m, REPLY_UNKNOWN, m->unknown);
    put_answer(d, m, REPLY_SPAM, m->refusals);
    put_answer(d, m, REPLY_DELIVERED, m->recipients - m->unknown - m->refusals);
}

static void tell_surge(struct day *d, const struct surge_event *e) {
    struct surge_alert alert;
    if (!surge_event(d->surge, e, d->minute_arena, &alert))
        return;
    struct note *n = note(d, alert.subject.len ? alert.subject : alert.tenant);
    n->surge = alert.cause;
}

static void answer_all(struct day *d) {
    for (; d->answered < d->answer_count && d->answers[d->answered].minute <= d->minute; d->answered++) {
        const struct answer *a = &d->answers[d->answered];
        struct pattern_findings found = {.count = 0};
        struct pattern_answer event = {whose(d, a->sender, a->connector, a->tenant), a->kind, a->recipients,
                                       now_of(d)};
        pattern_answer(d->pattern, &event, d->minute_arena, &found);
        take_findings(d, &found);
        for (uint32_t i = 0; a->kind != REPLY_DELIVERED && i < a->recipients; i++)
            tell_surge(d, &(struct surge_event){.tenant = event.whose.tenant,
                                                .sender = event.whose.sender,
                                                .connector = event.whose.connector,
                                                .kind = a->kind,
                                                .bad = a->bad,
                                                .failing = pattern_failing(d->pattern, PATTERN_USER,
                                                                           event.whose.sender, now_of(d)),
                                                .now = now_of(d)});
    }
}

/* ---- The innocent ---- */

static const char *keep(struct day *d, struct str s) { return str_c(d->arena, s); }

/* A sender's name is made once it writes. */
static const char *name_of(struct day *d, uint64_t who) {
    return keep(d, str_printf(d->minute_arena, "user%llu@tenant%llu.example", (unsigned long long)who,
                              (unsigned long long)(who % TENANTS)));
}

/* Of the day's mail, in per mille: 40 an hour by night, 80 at ten. */
static unsigned weight(int64_t minute) {
    static const unsigned hours[24] = {8,  6,  5,  5,  6,  10, 20, 45, 80, 95, 95, 85,
                                       65, 70, 80, 75, 65, 50, 40, 30, 25, 20, 12, 8};
    return hours[minute / 60 % 24];
}

/* Each writes to a circle of 25 domains, seldom to another; from home, seldom from elsewhere. */
static void one_innocent(struct day *d, uint64_t who) {
    struct str domains[3];
    char home[40];
    struct mail m = {.sender = name_of(d, who),
                     .tenant = (unsigned)(who % TENANTS),
                     .recipients = 1 + (uint32_t)chance(&d->chance, 3),
                     .network = home,
                     .spam = chance(&d->chance, 1000) < 5,
                     .domains = domains};
    for (m.domain_count = 0; m.domain_count < m.recipients; m.domain_count++) {
        bool other = chance(&d->chance, 100) < 3;
        uint64_t domain = other ? chance(&d->chance, 1000000) : who * 7 % 5000 + chance(&d->chance, 25);
        domains[m.domain_count] = str_printf(d->minute_arena, "d%llu.example", (unsigned long long)domain);
    }
    uint64_t network = chance(&d->chance, 100) < 4 ? 60000 + chance(&d->chance, 5000) : who % 50000;
    snprintf(home, sizeof home, "10.%u.%u.7", (unsigned)(network / 256), (unsigned)(network % 256));
    m.unknown = chance(&d->chance, 100) < 1;
    m.refusals = !m.unknown && chance(&d->chance, 1000) < 2;
    send_mail(d, &m);
}

static void innocents(struct day *d) {
    uint64_t count = (uint64_t)MESSAGES * weight(d->minute) / 1000 / 60;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t a = chance(&d->chance, 1 << 20);
        one_innocent(d, (uint64_t)SENDERS * a / (1 << 20) * a / (1 << 20)); /* most from the first */
    }
}

/* A mailing: `per_message` recipients each, of whom parts don't exist, refuse it, or are at new domains. */
struct mailing {
    const char *sender;
    unsigned tenant;
    int64_t from, minutes;
    unsigned messages_a_minute, per_message;
    unsigned unknown_per_cent, refused_per_cent, spam_per_cent;
    unsigned circle;       /* of so many domains */
    const char *network;   /* NULL: the usual one; "many": each message another */
    bool every_day, never; /* never: it has no history */
    unsigned every;        /* minutes; 0: 1 */
};

static const struct mailing peaks[] = {
    {"news@tenant3.example", 3, 600, 20, 5, 50, 3, 1, 5, 2000, NULL, true},
    {"billing@tenant9.example", 9, 120, 30, 20, 1, 2, 0, 0, 400, NULL, true},
    /* For the first time: an invitation; a list that is old; a holiday abroad; thrice the usual. */
    {"invites@tenant5.example", 5, 660, 10, 1, 20, 4, 0, 0, 45, NULL, false},
    {"oldlist@tenant6.example", 6, 700, 5, 2, 20, 22, 1, 0, 40, NULL, false},
    {"traveller@tenant7.example", 7, 500, 40, 1, 1, 0, 0, 0, 10, "198.18.7.1", false},
    {"busy@tenant8.example", 8, 480, 60, 1, 2, 1, 0, 2, 30, NULL, false},
    /* The shop's great day: ten times the usual, to known customers' domains. */
    {"shop@tenant17.example", 17, 480, 600, 1, 5, 2, 1, 3, 300, NULL, false},
    /* A helpdesk after a move writes to all who ever asked: a quarter of them is gone. */
    {"helpdesk@tenant18.example", 18, 540, 60, 2, 2, 25, 1, 1, 60, NULL, false},
    /* On a train: each message from another network. */
    {"train@tenant19.example", 19, 420, 300, 1, 1, 0, 0, 0, 12, "many", false, false, 7},
    /* A new colleague writes to all whom he will work with. */
    {"colleague@tenant20.example", 20, 600, 30, 1, 5, 2, 0, 0, 20, NULL, false, true},
};

static void mailing_minute(struct day *d, const struct mailing *p, bool guilty, unsigned messages) {
    for (unsigned i = 0; i < messages; i++) {
        struct str domains[50];
        char network[40];
        bool many = p->network && strcmp(p->network, "many") == 0;
        snprintf(network, sizeof network, "198.19.%u.1", (unsigned)(d->minute * messages + i) % 50);
        if (p->network && !many)
            snprintf(network, sizeof network, "%s", p->network);
        struct mail m = {.sender = p->sender,
                         .tenant = p->tenant,
                         .recipients = p->per_message,
                         .network = p->network ? network : "10.77.1.1",
                         .spam = chance(&d->chance, 100) < p->spam_per_cent,
                         .guilty = guilty,
                         .domains = domains,
                         .domain_count = p->per_message};
        for (unsigned n = 0; n < p->per_message; n++) {
            uint64_t fate = chance(&d->chance, 100);
            m.unknown += fate < p->unknown_per_cent;
            m.refusals += fate >= p->unknown_per_cent && fate < p->unknown_per_cent + p->refused_per_cent;
            domains[n] = str_printf(d->minute_arena, "m%u-%llu.example", p->tenant,
                                    (unsigned long long)chance(&d->chance, p->circle));
        }
        send_mail(d, &m);
    }
}

static bool is_on(const struct day *d, const struct mailing *p) {
    return d->minute >= p->from && d->minute < p->from + p->minutes &&
           (!p->every || d->minute % p->every == 0);
}

/* ---- The guilty ---- */

enum { HACKED_AT = 541, QUIET_AT = 842, HARVEST_AT = 631, STORM_AT = 721, ROGUE_AT = 931 };
enum { MANY_AT = 361, NEVER_AT = 391, SLOW_AT = 1, LEAK_AT = 1201, LEAKED = 200 };

static const struct mailing attacks[] = {
    /* The scanner sees two thirds of it. */
    {"hacked@tenant11.example", 11, HACKED_AT, 200, 30, 10, 10, 5, 66, 100000, "203.0.113.9", false},
    /* The scanner sees nothing; receivers do. */
    {"quiet@tenant12.example", 12, QUIET_AT, 200, 10, 10, 5, 40, 0, 100000, "203.0.113.10", false},
    {"harvest@tenant13.example", 13, HARVEST_AT, 200, 3, 10, 80, 0, 0, 3, NULL, false},
    /* Through fifty networks, five recipients a message; nobody sees that it is spam. */
    {"manyhands@tenant14.example", 14, MANY_AT, 200, 5, 5, 3, 2, 0, 400, "many", false},
    /* An account that was never used. */
    {"neverused@tenant15.example", 15, NEVER_AT, 200, 5, 5, 10, 12, 10, 400, "203.0.113.11", false, true},
    /* Just below each threshold all day. */
    {"slowly@tenant16.example", 16, SLOW_AT, 1439, 1, 1, 10, 3, 25, 40, "203.0.113.12", false, false, 3},
};

/* A list of passwords: 200 accounts of one tenant at the same minute, two messages a minute each. */
static void leak(struct day *d) {
    for (unsigned i = 0; d->minute >= LEAK_AT && d->minute < LEAK_AT + 25 && i < LEAKED; i++) {
        const struct mailing one = {.sender =
                                        keep(d, str_printf(d->minute_arena, "leaked%u@tenant41.example", i)),
                                    .tenant = 41,
                                    .per_message = 5,
                                    .unknown_per_cent = 10,
                                    .refused_per_cent = 3,
                                    .spam_per_cent = 66,
                                    .circle = 100000,
                                    .network = "203.0.113.13"};
        mailing_minute(d, &one, true, 2);
    }
}

/* Somebody forges tenant 21's domain elsewhere: 40 bounces a minute, to addresses that never sent. */
static void storm(struct day *d) {
    for (unsigned i = 0; d->minute >= STORM_AT && d->minute < STORM_AT + 90 && i < 40; i++)
        tell_surge(d, &(struct surge_event){.tenant = STR("tenant21"),
                                            .incoming = true,
                                            .domain = STR("tenant21.example"),
                                            .now = now_of(d)});
}

/* A server behind a connector with reverse-paths of its own making. */
static void rogue(struct day *d) {
    for (unsigned i = 0; d->minute >= ROGUE_AT && d->minute < ROGUE_AT + 60 && i < 30; i++) {
        struct str domain =
            str_printf(d->minute_arena, "r%llu.example", (unsigned long long)chance(&d->chance, 9000));
        uint64_t who = chance(&d->chance, 400);
        struct mail m = {
            .sender = keep(d, str_printf(d->minute_arena, "connector/tenant31/erp/u%llu@tenant31.example",
                                         (unsigned long long)who)),
            .connector = "tenant31/erp",
            .tenant = 31,
            .recipients = 2,
            .spam = chance(&d->chance, 100) < 70,
            .guilty = true,
            .domains = &domain,
            .domain_count = 1};
        m.unknown = chance(&d->chance, 2) ? 1 : 0;
        send_mail(d, &m);
    }
}

/* ---- Opening and closing ---- */

static void open_all(struct day *d, int64_t now) {
    struct str why;
    struct limit_journal_report report;
    struct pattern_saved saved;
    size_t damage;
    const struct limit_desk_options options = {"/limits", simdisk_io(d->disk), SENDERS + 1000, now};
    assert_int_equal(limit_desk_open(&options, d->arena, &why, &report, &d->desk), 0);
    d->pattern = pattern_new(&d->rules, 7, now);
    d->surge = surge_new(&d->rules);
    if (!d->snapshot.len)
        return;
    assert_int_equal(pattern_restore(d->pattern, buf_view(&d->snapshot), now, &saved), 0);
    assert_false(saved.damaged);
    assert_true(surge_restore(d->surge, saved.rest, now, &damage));
}

static void close_all(struct day *d) {
    limit_desk_close(d->desk);
    pattern_free(d->pattern);
    surge_free(d->surge);
}

static void take_snapshot(struct day *d) {
    size_t at = 0;
    buf_clear(&d->snapshot);
    while (pattern_save(d->pattern, &at, 1024, now_of(d), &d->snapshot)) {
    }
    surge_save(d->surge, &d->snapshot);
}

static void power_loss(struct day *d) {
    struct simdisk *after = simdisk_crash(d->disk, NULL, d->chance);
    close_all(d);
    simdisk_free(d->disk);
    d->disk = after;
    open_all(d, now_of(d));
}

static void restart(struct day *d) {
    assert_int_equal(limit_store_flush(limit_desk_store(d->desk)), 0);
    take_snapshot(d);
    close_all(d);
    open_all(d, now_of(d));
}

/* Nine days before, only of the patterns: everybody wrote at some time, and the mailings went out. */
static void history(struct day *d) {
    for (d->minute = -9 * 1440; d->minute < 0; d->minute += 480) {
        for (uint64_t who = (uint64_t)(d->minute / 480 + 27); who < SENDERS && d->minute < -8 * 1440;
             who += 3) {
            struct mail m = {.sender = name_of(d, who), .tenant = (unsigned)(who % TENANTS), .recipients = 2};
            tell_patterns(d, &m);
            arena_reset(d->minute_arena);
        }
        for (size_t i = 0; i < COUNT(peaks) + COUNT(attacks); i++) {
            const struct mailing *p = i < COUNT(peaks) ? &peaks[i] : &attacks[i - COUNT(peaks)];
            struct mail m = {
                .sender = p->sender, .tenant = p->tenant, .recipients = 4, .network = "10.77.1.1"};
            struct str domains[600];
            if (p->never)
                continue;
            if (p->every_day && d->minute % 1440 == 0) {
                m.recipients = (uint32_t)p->minutes * p->messages_a_minute * p->per_message;
                m.domains = domains;
                for (; m.domain_count < COUNT(domains); m.domain_count++)
                    domains[m.domain_count] = str_printf(d->minute_arena, "m%u-%llu.example", p->tenant,
                                                         (unsigned long long)chance(&d->chance, p->circle));
            }
            tell_patterns(d, &m);
            arena_reset(d->minute_arena);
        }
    }
    d->minute = 0;
    assert_int_equal(d->note_count, 0);
}

static void one_minute(struct day *d) {
    innocents(d);
    for (size_t i = 0; i < COUNT(peaks); i++)
        if (is_on(d, &peaks[i]))
            mailing_minute(d, &peaks[i], false, peaks[i].messages_a_minute);
    for (size_t i = 0; i < COUNT(attacks); i++)
        if (is_on(d, &attacks[i]))
            mailing_minute(d, &attacks[i], true, attacks[i].messages_a_minute);
    storm(d);
    rogue(d);
    leak(d);
    answer_all(d);
    assert_int_equal(limit_store_flush(limit_desk_store(d->desk)), 0);
    bool power = d->minute == HARVEST_AT + 13 || d->minute == STORM_AT + 20;
    if (d->bumpy && d->minute == HACKED_AT + 1)
        restart(d);
    if (d->bumpy && power)
        power_loss(d);
    /* Of the snapshots each quarter of an hour only those that will be read. */
    if (d->bumpy && (d->minute == HARVEST_AT - 2 || d->minute == STORM_AT + 5))
        take_snapshot(d);
    arena_reset(d->minute_arena);
}

static struct day run_day(bool bumpy) {
    struct day d = {.disk = simdisk_new(),
                    .rules = pattern_rules_default(),
                    .arena = arena_new(1 << 20),
                    .minute_arena = arena_new(1 << 16),
                    .chance = 4,
                    .bumpy = bumpy};
    d.answers = xcalloc(ANSWERS_MAX, sizeof *d.answers);
    open_all(&d, MIDNIGHT - 9 * DAY);
    history(&d);
    for (; d.minute < 24 * 60; d.minute++)
        one_minute(&d);
    return d;
}

static void end_day(struct day *d) {
    close_all(d);
    simdisk_free(d->disk);
    buf_free(&d->snapshot);
    free(d->answers);
    arena_free(d->arena);
    arena_free(d->minute_arena);
}

/* ---- What must come of it ---- */

static const struct expectation {
    const char *name;
    enum sender_cause cause; /* CAUSE_NONE: a surge */
    enum pattern_action action;
    enum surge_cause surge;
    int64_t from, within; /* minutes */
} expectations[] = {
    {"hacked@tenant11.example", CAUSE_SPAM_SHARE, PATTERN_HIGH_RISK, 0, HACKED_AT, 1},
    {"hacked@tenant11.example", CAUSE_SPAM_SHARE, PATTERN_RESTRICT_TODAY, 0, HACKED_AT, 3},
    {"quiet@tenant12.example", CAUSE_NETWORK, PATTERN_HIGH_RISK, 0, QUIET_AT, 3},
    {"quiet@tenant12.example", CAUSE_REFUSALS, PATTERN_HIGH_RISK, 0, QUIET_AT, 3},
    {"harvest@tenant13.example", CAUSE_UNKNOWN_RECIPIENTS, PATTERN_HIGH_RISK, 0, HARVEST_AT, 3},
    {"harvest@tenant13.example", CAUSE_UNKNOWN_RECIPIENTS, PATTERN_RESTRICT_TODAY, 0, HARVEST_AT, 5},
    {"harvest@tenant13.example", CAUSE_NONE, 0, SURGE_HARVEST, HARVEST_AT, 5},
    {"tenant21.example", CAUSE_NONE, 0, SURGE_SPOOFING, STORM_AT, 3},
    {"tenant31/erp", CAUSE_SPAM_SHARE, PATTERN_HIGH_RISK, 0, ROGUE_AT, 3},
    {"tenant31/erp", CAUSE_NONE, 0, SURGE_SERVER, ROGUE_AT, 5},
    {"manyhands@tenant14.example", CAUSE_NETWORK, PATTERN_HIGH_RISK, 0, MANY_AT, 8},
    {"neverused@tenant15.example", CAUSE_DESTINATIONS, PATTERN_ALERT, 0, NEVER_AT, 5},
    {"neverused@tenant15.example", CAUSE_DESTINATIONS, PATTERN_HIGH_RISK, 0, NEVER_AT, 5},
    {"slowly@tenant16.example", CAUSE_NETWORK, PATTERN_HIGH_RISK, 0, SLOW_AT, 6 * 60},
    {"tenant41", CAUSE_SPAM_SHARE, PATTERN_ALERT, 0, LEAK_AT, 2},
    {"leaked0@tenant41.example", CAUSE_SPAM_SHARE, PATTERN_HIGH_RISK, 0, LEAK_AT, 12},
    {"leaked199@tenant41.example", CAUSE_SPAM_SHARE, PATTERN_HIGH_RISK, 0, LEAK_AT, 12},
};

static bool is_guilty(const char *name) {
    return strstr(name, "hacked") || strstr(name, "quiet") || strstr(name, "harvest") ||
           strstr(name, "tenant31") || strstr(name, "tenant21.") || strstr(name, "tenant14.") ||
           strstr(name, "tenant15.") || strstr(name, "tenant16.") || strstr(name, "tenant41");
}

static int64_t first_of(const struct day *d, const struct expectation *e) {
    for (size_t i = 0; i < d->note_count; i++) {
        const struct note *n = &d->notes[i];
        if (strcmp(n->name, e->name) == 0 && n->cause == e->cause && n->action == e->action &&
            n->surge == e->surge)
            return n->minute - e->from;
    }
    return -1;
}

static void check_day(const struct day *d) {
    for (size_t i = 0; i < COUNT(expectations); i++) {
        int64_t after = first_of(d, &expectations[i]);
        if (after < 0 || after > expectations[i].within)
            fail_msg("%s, expectation %zu: after %lld minutes", expectations[i].name, i, (long long)after);
    }
    for (size_t i = 0; i < d->note_count; i++)
        if (!is_guilty(d->notes[i].name) && (d->notes[i].action >= PATTERN_HIGH_RISK || d->notes[i].surge))
            fail_msg("%s: cause %d, action %d", d->notes[i].name, d->notes[i].cause, d->notes[i].action);
    assert_int_equal(d->refused_innocent, 0);
    assert_int_equal(d->risky_innocent, 0);
    /* Of the leaked accounts all are found and stopped, within the half hour. */
    unsigned suspicious = 0, restricted = 0;
    for (size_t i = 0; i < d->note_count; i++) {
        bool leaked = strstr(d->notes[i].name, "leaked") && d->notes[i].cause == CAUSE_SPAM_SHARE;
        suspicious += leaked && d->notes[i].action == PATTERN_HIGH_RISK;
        restricted += leaked && d->notes[i].action == PATTERN_RESTRICT_TODAY;
    }
    assert_int_equal(suspicious, LEAKED);
    assert_true(restricted >= LEAKED * 3 / 4);
    const struct sender_state *s;
    struct str name;
    for (size_t at = 0; sender_book_next(limit_desk_book(d->desk), &at, &name, &s);)
        if (sender_is_restricted(s, MIDNIGHT + DAY - 1))
            assert_true(is_guilty(str_c(d->arena, name)));
    assert_true(d->refused > 0);
}

static void report(const struct day *d) {
    struct pattern_stats stats;
    pattern_stats(d->pattern, &stats);
    print_message("%u messages of %u subjects, %u refused, snapshot %zu KiB\n", d->sent, stats.subjects,
                  d->refused, d->snapshot.len / 1024);
    for (size_t i = 0; i < d->note_count; i++) {
        const struct note *n = &d->notes[i];
        if (strstr(n->name, "leaked") && strcmp(n->name, "leaked0@tenant41.example") != 0)
            continue;
        print_message("%02lld:%02lld %s: %s, action %d\n", (long long)n->minute / 60,
                      (long long)n->minute % 60, n->name,
                      n->cause ? sender_cause_word(n->cause) : surge_cause_word(n->surge), n->action);
    }
}

static void test_day(void **unused) {
    (void)unused;
    struct day d = run_day(false), again = run_day(true);
    report(&d);
    check_day(&d);
    report(&again);
    check_day(&again);
    for (size_t i = 0; i < COUNT(expectations); i++) {
        int64_t a = first_of(&d, &expectations[i]), b = first_of(&again, &expectations[i]);
        assert_true(a - b <= 1 && b - a <= 1);
    }
    end_day(&d);
    end_day(&again);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_day)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
