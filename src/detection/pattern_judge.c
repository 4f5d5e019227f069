/* What the counts of a subject come to, and who is suspicious. */
#include "detection/pattern_inside.h"
#include "seeded_bug.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_MS INT64_C(86400000)
/* Half of a threshold: a sign beside another one; below it, a sign is over. */
enum { TENANT_FACTOR = 10, CONNECTOR_FACTOR = 3, RESTRICT_FACTOR = 3, DESTINATION_GROWTH = 3 };

static const struct {
    enum pattern_count bad, all;
    const char *words;
} shares[SIGN_SHARES] = {
    [SIGN_SPAM] = {COUNT_BAD, COUNT_MAIL, "messages were judged spam"},
    [SIGN_UNKNOWN] = {COUNT_UNKNOWN, COUNT_ANSWERED, "recipients don't exist"},
    [SIGN_REFUSALS] = {COUNT_REFUSED, COUNT_ANSWERED, "recipients' servers refused the mail as spam"},
};
static const enum sender_cause causes[SIGNS] = {
#define X(name, option, cause, preset, doc) [SIGN_##name] = CAUSE_##cause,
    PATTERN_SIGNS(X)
#undef X
};

const char *pattern_sign_word(enum pattern_sign sign) {
    static const char *const options[] = {
#define X(name, option, cause, preset, doc) option,
        PATTERN_SIGNS(X)
#undef X
    };
    return options[sign] + strlen("on-");
}

/* What was seen of one sign. */
struct sight {
    bool half, seen, strong; /* strong: worth a restriction */
    enum pattern_window window;
};

static int64_t next_day(int64_t now) { return now - now % DAY_MS + DAY_MS; }

/* Three quarters of the bad ones are one sender's: that one is the finding. */
static bool is_one_sender(const struct pattern_case *c) {
    const struct pattern_record *r = c->record;
    uint64_t bad = (uint64_t)record_count(r, WINDOW_DAY, COUNT_BAD) +
                   record_count(r, WINDOW_DAY, COUNT_UNKNOWN) + record_count(r, WINDOW_DAY, COUNT_REFUSED);
    return c->kind != PATTERN_USER && 2 * (uint64_t)r->votes >= bad;
}

/* Three quarters of the refusals are one receiver's. */
static bool is_one_receiver(const struct pattern_case *c) {
    return c->kind == PATTERN_USER &&
           2 * (uint64_t)c->record->votes >= record_count(c->record, WINDOW_DAY, COUNT_REFUSED);
}

static struct sight see_share(const struct pattern_case *c, enum pattern_sign sign) {
    const struct pattern_share *rule = &c->pattern->rules.shares[sign];
    uint64_t least = (uint64_t)rule->least * (c->kind == PATTERN_TENANT      ? TENANT_FACTOR
                                              : c->kind == PATTERN_CONNECTOR ? CONNECTOR_FACTOR
                                                                             : 1);
    struct sight s = {0};
    if (c->kind == PATTERN_FORWARD || (c->kind == PATTERN_TENANT && sign != SIGN_SPAM))
        return s;
    for (enum pattern_window w = 0; w < PATTERN_WINDOWS; w++) {
        uint64_t bad = record_count(c->record, w, shares[sign].bad),
                 all = record_count(c->record, w, shares[sign].all);
        bool seen = bad >= least && bad * 1000 >= all * rule->share;
        if (seen && !s.seen)
            s.window = w;
        s.half = s.half || (bad * 2 >= least && bad * 2000 >= all * rule->share);
        s.seen = s.seen || seen;
        s.strong = s.strong || (rule->restrict_share && bad >= RESTRICT_FACTOR * least &&
                                bad * 1000 >= all * rule->restrict_share);
    }
    if (s.seen && is_one_sender(c))
        s.seen = s.strong = false;
    if (sign == SIGN_REFUSALS && is_one_receiver(c))
        s.strong = false;
    return s;
}

static bool has_history(const struct pattern_case *c) {
    return ((int64_t)c->record->first - (int64_t)c->pattern->born) * 1000 >= c->pattern->rules.learning_ms;
}

/* A forward has no time to learn: that one is new and carries much at once is what is looked for. But what
 * was there when history began is not. */
static bool judges_history(const struct pattern_case *c) {
    const struct pattern *p = c->pattern;
    if (c->kind == PATTERN_FORWARD)
        return ((int64_t)c->record->last - (int64_t)p->born) * 1000 >= p->rules.learning_ms;
    return record_learned(c->record, &p->rules);
}

/* Also of an account that never sent anything, as far as can be known. */
static bool judges_volume(const struct pattern_case *c) {
    bool never =
        c->kind == PATTERN_USER && c->logs_in && has_history(c) && c->pattern->used < c->pattern->capacity;
    return never || judges_history(c);
}

static bool is_many(uint64_t count, uint64_t least, uint64_t times, uint64_t usual) {
    return count >= least && count >= times * usual;
}

static struct sight see_growth(const struct pattern_case *c) {
    const struct pattern_rules *rules = &c->pattern->rules;
    const struct pattern_record *r = c->record;
    uint64_t hour = record_count(r, WINDOW_HOUR, COUNT_RECIPIENTS),
             day = record_count(r, WINDOW_DAY, COUNT_RECIPIENTS);
    struct sight s = {0};
    if (c->kind == PATTERN_TENANT || !judges_volume(c))
        return s;
    uint64_t usual_hour = r->usual[USUAL_HOUR], usual_day = r->usual[USUAL_DAY];
    bool in_hour = is_many(hour, rules->growth_hour, rules->growth, usual_hour);
    bool in_day = is_many(day, rules->growth_day, rules->growth, usual_day);
    /* Half of the number, a quarter of the factor: a midnight doubles what is usual. */
    bool half_hour = is_many(2 * hour, rules->growth_hour, rules->growth / 2, usual_hour);
    bool half_day = is_many(2 * day, rules->growth_day, rules->growth / 2, usual_day);
    s.seen = in_hour || in_day;
    s.half = s.seen || half_hour || half_day;
    s.window = in_hour || (!in_day && half_hour) ? WINDOW_HOUR : WINDOW_DAY;
    return s;
}

static struct sight see_destinations(const struct pattern_case *c) {
    uint64_t count = record_count(c->record, WINDOW_DAY, COUNT_DESTINATIONS),
             usual = c->record->usual[USUAL_DESTINATIONS];
    struct sight s = {.window = WINDOW_DAY};
    if (c->kind != PATTERN_USER || !judges_volume(c))
        return s;
    s.seen = is_many(count, c->pattern->rules.destinations, DESTINATION_GROWTH, usual);
    s.half = is_many(2 * count, c->pattern->rules.destinations, DESTINATION_GROWTH, usual);
    return s;
}

static struct sight see_network(const struct pattern_case *c) {
    uint64_t hour = record_count(c->record, WINDOW_HOUR, COUNT_ELSEWHERE),
             day = record_count(c->record, WINDOW_DAY, COUNT_ELSEWHERE), much = c->pattern->rules.network;
    struct sight s = {0};
    if (c->kind != PATTERN_USER || !judges_history(c))
        return s;
    s.seen = hour >= much;
    s.half = 2 * hour >= much || day >= much;
    s.window = 2 * hour >= much ? WINDOW_HOUR : WINDOW_DAY;
    return s;
}

/* Signs that each by itself an innocent sender shows, at the same time. Half of all three is who stays below
 * each threshold on purpose. */
static struct sight see_together(const struct pattern_case *c, const struct sight *s) {
    /* Not of unknown recipients: an old list is growth with these. */
    bool half = (s[SIGN_SPAM].half || s[SIGN_REFUSALS].half) && !is_one_sender(c);
    int signs = s[SIGN_NETWORK].seen + (s[SIGN_GROWTH].seen || s[SIGN_DESTINATIONS].seen) + half;
    int halves = s[SIGN_NETWORK].half + (s[SIGN_GROWTH].half || s[SIGN_DESTINATIONS].half) + half;
    return (struct sight){.seen = c->kind == PATTERN_USER && (signs >= 2 || halves >= 3),
                          .window = WINDOW_HOUR};
}

static void see(const struct pattern_case *c, struct sight *s) {
    for (enum pattern_sign sign = 0; sign < SIGN_SHARES; sign++)
        s[sign] = see_share(c, sign);
    s[SIGN_GROWTH] = see_growth(c);
    s[SIGN_DESTINATIONS] = see_destinations(c);
    s[SIGN_NETWORK] = see_network(c);
    s[SIGN_TOGETHER] = see_together(c, s);
}

/* ---- In words ---- */

static const char *span_of(enum pattern_window w) { return w == WINDOW_HOUR ? "last hour" : "last 24 hours"; }

static struct str share_words(const struct pattern_case *c, enum pattern_sign sign, enum pattern_window w) {
    uint64_t bad = record_count(c->record, w, shares[sign].bad),
             all = record_count(c->record, w, shares[sign].all);
    return str_printf(c->arena, "in the %s %llu of %llu %s (%llu per mille; the threshold is %u)", span_of(w),
                      (unsigned long long)bad, (unsigned long long)all, shares[sign].words,
                      (unsigned long long)(all ? bad * 1000 / all : 0), c->pattern->rules.shares[sign].share);
}

static struct str words_of(const struct pattern_case *c, enum pattern_sign sign, const struct sight *s) {
    const struct pattern_record *r = c->record;
    const struct pattern_rules *rules = &c->pattern->rules;
    enum pattern_window w = s[sign].window;
    switch (sign) {
    case SIGN_GROWTH:
        return str_printf(c->arena,
                          "%u recipients in the %s, where %u is the most that is usual (growth is %u times)",
                          record_count(r, w, COUNT_RECIPIENTS), span_of(w),
                          r->usual[w == WINDOW_HOUR ? USUAL_HOUR : USUAL_DAY], rules->growth);
    case SIGN_DESTINATIONS:
        return str_printf(
            c->arena,
            "%u domains in the last 24 hours that it never wrote to, where %u is usual (many is %u)",
            record_count(r, w, COUNT_DESTINATIONS), r->usual[USUAL_DESTINATIONS], rules->destinations);
    case SIGN_NETWORK:
        return str_printf(
            c->arena, "%u recipients in the %s from a network that it never sent from (much is %u an hour)",
            record_count(r, w, COUNT_ELSEWHERE), span_of(w), rules->network);
    default:
        return share_words(c, sign, w);
    }
}

static struct str reason_of(const struct pattern_case *c, enum pattern_sign sign, const struct sight *s) {
    if (sign != SIGN_TOGETHER)
        return words_of(c, sign, s);
    struct str text = STR("");
    for (enum pattern_sign i = 0; i < SIGN_TOGETHER; i++) {
        struct sight one = s[i];
        if (!one.seen && (!one.half || i == SIGN_UNKNOWN))
            continue;
        text = str_printf(c->arena, "%.*s%s%.*s", STR_FMT(text), text.len ? "; and " : "",
                          STR_FMT(words_of(c, i, s)));
    }
    return text;
}

/* No longer than a day: a clock that was ahead made no longer ones. */
static bool lasts(const struct suspect *s, int64_t now) { return now < s->until && s->until - now <= DAY_MS; }

/* ---- What happens ---- */

static enum pattern_action least(enum pattern_action a, enum pattern_action b) { return a < b ? a : b; }

static enum pattern_action action_of(const struct pattern_case *c, enum pattern_sign sign,
                                     const struct sight *s) {
    const struct pattern_rules *rules = &c->pattern->rules;
    enum pattern_action action = c->record->actions.of[sign];
    if (c->kind == PATTERN_FORWARD)
        return least(rules->actions.of[SIGN_GROWTH], PATTERN_ALERT);
    if (c->kind == PATTERN_CONNECTOR)
        return least(action, rules->connector);
    if (c->kind == PATTERN_TENANT)
        return least(rules->actions.of[sign], rules->tenant);
    if (action == PATTERN_HIGH_RISK && s->strong)
        action = PATTERN_RESTRICT_TODAY;
    bool exempt = c->record->last < c->record->exempt_until && (c->record->exempt & 1u << sign);
    return exempt ? least(action, PATTERN_ALERT) : action;
}

static struct pattern_finding *room(const struct pattern_case *c) {
    if (c->ret->count == PATTERN_FINDINGS)
        return NULL;
    struct pattern_finding *f = &c->ret->at[c->ret->count++];
    *f = (struct pattern_finding){.kind = c->kind, .name = c->name, .tenant = c->tenant};
    return f;
}

/* HIGH_RISK lasts, however often it is found. */
static bool suspect(const struct pattern_case *c, enum pattern_sign sign, struct str reason) {
    struct suspect s = {.kind = c->kind, .sign = sign, .since = c->now, .until = next_day(c->now)};
    if (pattern_suspect_count(c->pattern) >= SUSPECTS_MAX) /* those of yesterday make room */
        pattern_tidy(c->pattern, c->now, c->arena, c->ret);
    snprintf(s.reason, sizeof s.reason, "%.*s", STR_FMT(reason));
    return pattern_suspect_put(c->pattern, c->kind, c->name, &s) != NULL;
}

/* The strongest of them. */
static enum sender_cause cause_together(const struct sight *s) {
    return s[SIGN_NETWORK].seen        ? CAUSE_NETWORK
           : s[SIGN_GROWTH].seen       ? CAUSE_GROWTH
           : s[SIGN_DESTINATIONS].seen ? CAUSE_DESTINATIONS
                                       : CAUSE_NETWORK; /* half of all */
}

static void find_sign(const struct pattern_case *c, enum pattern_sign sign, const struct sight *s) {
    struct pattern_record *r = c->record;
    enum pattern_action action = action_of(c, sign, &s[sign]);
    bool restricts = action >= PATTERN_RESTRICT_TODAY;
    uint8_t bit = (uint8_t)(1u << sign), *told = restricts ? &r->told_restrict : &r->told;
    bool again = *told & bit;
    bool newly = action == PATTERN_HIGH_RISK && !map_get(c->pattern->suspects[c->kind], c->name);
    struct pattern_finding *f;
    if (action == PATTERN_OFF || (again && !newly) || !(f = room(c)))
        return;
    f->sign = sign;
    f->cause = sign == SIGN_TOGETHER ? cause_together(s) : causes[sign];
    f->action = action;
    f->counts = pattern_counts_of(r);
    f->reason = reason_of(c, sign, s);
    f->until = next_day(c->now);
    if (action == PATTERN_HIGH_RISK && !suspect(c, sign, f->reason))
        f->action = PATTERN_ALERT;
    *told |= bit;
    c->pattern->found++;
}

/* A suspicion ends with its day, and one of a share when that is below half of its threshold. */
static void find_end(const struct pattern_case *c, const struct sight *s) {
    const struct suspect *known = map_get(c->pattern->suspects[c->kind], c->name);
    if (!known)
        return;
    bool fell = known->sign < SIGN_SHARES && !s[known->sign].half;
    struct pattern_finding *f;
    if ((lasts(known, c->now) && !fell) || !(f = room(c)))
        return;
    f->sign = known->sign;
    f->cause = causes[known->sign];
    f->action = PATTERN_HIGH_RISK;
    f->over = true;
    f->reason = fell ? share_words(c, known->sign, WINDOW_HOUR) : STR("the day has ended");
    free(map_remove(c->pattern->suspects[c->kind], c->name));
}

/* What is told together isn't told one by one besides. */
static void take_together(const struct pattern_case *c, const struct sight *s) {
    struct pattern_record *r = c->record;
    if (!s[SIGN_TOGETHER].seen || r->actions.of[SIGN_TOGETHER] == PATTERN_OFF)
        return;
    for (enum pattern_sign sign = SIGN_GROWTH; sign < SIGN_TOGETHER; sign++)
        if (s[sign].seen && r->actions.of[sign] == PATTERN_ALERT)
            r->told |= (uint8_t)(1u << sign);
}

void pattern_judge(const struct pattern_case *c) {
    struct sight sights[SIGNS] = {0};
    if (!c->pattern->rules.apply)
        return;
    see(c, sights);
    find_end(c, sights);
    take_together(c, sights);
    for (enum pattern_sign sign = 0; sign < SIGNS; sign++)
        if (sights[sign].seen)
            find_sign(c, sign, sights);
}

/* ---- Suspects ---- */

size_t pattern_suspect_count(const struct pattern *p) {
    size_t count = 0;
    for (unsigned kind = 0; kind < PATTERN_KINDS; kind++)
        count += map_count(p->suspects[kind]);
    return count;
}

struct suspect *pattern_suspect_put(struct pattern *p, enum pattern_kind kind, struct str name,
                                    const struct suspect *suspect) {
    struct suspect *s = map_get(p->suspects[kind], name);
    if (!s) {
        if (pattern_suspect_count(p) >= SUSPECTS_MAX)
            return NULL;
        s = xcalloc(1, sizeof *s);
        map_put(p->suspects[kind], name, s);
    }
    *s = *suspect;
    return s;
}

const char *pattern_suspicion(const struct pattern *p, enum pattern_kind kind, struct str name, int64_t now) {
    const struct suspect *s = name.len ? map_get(p->suspects[kind], name) : NULL;
#ifdef SLUICE_SEEDED_BUG_SUSPICION_FORGOTTEN
    return NULL;
#endif
    return s && lasts(s, now) ? s->reason : NULL;
}

bool pattern_next_suspect(const struct pattern *p, size_t *at, int64_t now, struct pattern_suspect *ret) {
    /* The low two bits of the place are the kind. */
    for (unsigned kind = *at & 3; kind < PATTERN_KINDS; kind++) {
        size_t inner = (*at & 3) == kind ? *at >> 2 : 0;
        void *found;
        while (map_next(p->suspects[kind], &inner, &ret->name, &found)) {
            const struct suspect *s = found;
            *at = inner << 2 | kind;
            if (!lasts(s, now))
                continue;
            ret->kind = kind;
            ret->reason = s->reason;
            ret->since = s->since;
            ret->until = s->until;
            return true;
        }
        if (kind + 1 < PATTERN_KINDS)
            *at = kind + 1;
        else
            *at = inner << 2 | kind;
    }
    return false;
}

void pattern_tidy(struct pattern *p, int64_t now, struct arena *arena, struct pattern_findings *ret) {
    size_t before = ret->count;
    for (unsigned kind = 0; kind < PATTERN_KINDS; kind++) {
        struct str name;
        void *found;
        for (size_t at = 0;
             ret->count < PATTERN_FINDINGS && map_next(p->suspects[kind], &at, &name, &found);) {
            const struct suspect *s = found;
            if (lasts(s, now))
                continue;
            ret->at[ret->count++] = (struct pattern_finding){
                .kind = kind,
                .name = str_copy(arena, name),
                .tenant = STR(""),
                .sign = s->sign,
                .cause = causes[s->sign],
                .action = PATTERN_HIGH_RISK,
                .over = true,
                .reason = STR("the day has ended"),
            };
        }
    }
    for (size_t i = before; i < ret->count; i++) /* a map can't change while it is walked */
        free(map_remove(p->suspects[ret->at[i].kind], ret->at[i].name));
}

/* That growth was meant: the next one is measured by it. */
static void teach(struct pattern_record *r) {
    record_note_most(r);
    for (unsigned i = 0; i < USUALS; i++)
        r->usual[i] = r->usual[i] > r->most[i] ? r->usual[i] : r->most[i];
    record_knows_networks(r);
}

uint32_t pattern_release(struct pattern *p, enum pattern_kind kind, struct str name, int64_t until,
                         int64_t now) {
    enum { HISTORY = 1 << SIGN_GROWTH | 1 << SIGN_DESTINATIONS | 1 << SIGN_NETWORK };
    struct pattern_record *r = pattern_of(p, kind, name, pattern_seconds(now));
    struct suspect *s = map_remove(p->suspects[kind], name);
    uint32_t suspected = s && lasts(s, now) ? 1u << s->sign : 0, told = (uint32_t)r->told | r->told_restrict;
    bool said = r->last < r->exempt_until && !suspected;
    if (told && !(told & ~(uint32_t)HISTORY) && !r->told_restrict && !suspected)
        teach(r);
    r->exempt = UINT8_MAX;
    r->exempt_until = pattern_seconds(until);
    free(s);
    return said ? 0 : told | suspected;
}
