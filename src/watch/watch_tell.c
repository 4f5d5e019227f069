/* What the watch says: to the workers what rests and why, to people what happened. */
#include "alert/alert.h"
#include "base/clock.h"
#include "watch/watch.h"
#include <stdlib.h>

bool watch_listed(const struct watch *w, const struct watch_target *t, size_t list,
                  struct blocklist_entry *ret) {
    if (!t->listed_at || list >= w->settings->blocklists.count)
        return false;
    *ret = blocklist_entry(w->lists, list, t->listed_at - 1, clock_wall_ms());
    return ret->listed;
}

/* ---- the workers ---- */

static const enum rest_cause CAUSES[] = {
    [WATCH_LISTED] = REST_LISTED, [WATCH_UNCONFIRMED] = REST_UNCONFIRMED};
static const enum alert_kind KINDS[] = {
    [WATCH_LISTED] = ALERT_SOURCE_LISTED, [WATCH_UNCONFIRMED] = ALERT_SOURCE_UNCONFIRMED};

void watch_change(struct watch *w, const struct ip *ip, enum watch_event event, struct str by,
                  struct str text) {
    if (!w->silent)
        watch_history_line(&w->changes, &(struct watch_change){clock_wall_ms(), *ip, event, by, text});
}

void watch_rested(struct watch *w, const struct watch_target *t, enum watch_tells what, bool before) {
    bool heeded = what != WATCH_LISTED || !t->pool->stays_listed;
    struct str reason = str_of(t->reasons[what]);
    if (heeded && before != (reason.len > 0))
        watch_change(w, &t->ip, reason.len ? WATCH_EVENT_RESTS : WATCH_EVENT_USABLE,
                     str_of(rest_cause_text(CAUSES[what])), reason);
}

bool watch_out(const struct watch_target *t) {
    return t->reasons[WATCH_UNCONFIRMED] || (t->reasons[WATCH_LISTED] && !t->pool->stays_listed);
}

static void set(struct watch *w, struct watch_target *t, enum watch_tells what, struct str reason) {
    bool before = t->reasons[what] != NULL;
    size_t *out = &w->out[t->pool - w->settings->pools->pools];
    if (str_eq(reason, str_of(t->reasons[what])))
        return;
    flow_source_tell(w->flow, &t->ip, CAUSES[what], reason);
    *out -= watch_out(t);
    free(t->reasons[what]);
    t->reasons[what] = reason.len ? strndup(reason.at, reason.len) : NULL;
    *out += watch_out(t);
    watch_rested(w, t, what, before);
}

/* "listed by Spamhaus ZEN, SpamCop: their words" */
static struct str listed_reason(struct watch *w, const struct watch_target *t, struct arena *arena) {
    struct str names = STR(""), words = STR("");
    struct blocklist_entry entry;
    for (size_t i = 0; i < w->settings->blocklists.count; i++) {
        const struct blocklist *list = &w->settings->blocklists.lists[i];
        if (list->tells_only || !watch_listed(w, t, i, &entry))
            continue;
        names = str_printf(arena, "%.*s%s%.*s", STR_FMT(names), names.len ? ", " : "", STR_FMT(list->name));
        if (!words.len)
            words = str_copy(arena, entry.text);
    }
    if (!names.len)
        return STR("");
    return str_printf(arena, "listed by %.*s%s%.*s", STR_FMT(names), words.len ? ": " : "", STR_FMT(words));
}

void watch_tell(struct watch *w, struct watch_target *t) {
    struct arena *arena = arena_new(0);
    struct gate_view view = gate_view(w->gate, &t->ip, clock_wall_ms());
    bool rests = t->gated && !view.usable;
    set(w, t, WATCH_LISTED, listed_reason(w, t, arena));
    set(w, t, WATCH_UNCONFIRMED,
        rests ? str_printf(arena, "not forward-confirmed: %.*s", STR_FMT(view.reason)) : STR(""));
    arena_free(arena);
}

void watch_tell_again(struct watch *w, const struct watch_target *t) {
    for (int i = 0; i < 2; i++)
        if (t->reasons[i])
            flow_source_tell(w->flow, &t->ip, CAUSES[i], str_of(t->reasons[i]));
}

void watch_drop(struct watch *w, struct watch_target *t) {
    char ip[IP_TEXT_SIZE];
    for (int i = 0; i < 2; i++) {
        if (t->alerts[i])
            alert_raise(w->flow->alerts,
                        &(struct alert){.kind = KINDS[i],
                                        .subject = str_of(ip_text(&t->ip, ip)),
                                        .text = STR("The address is no longer one of this node."),
                                        .over = true});
        if (t->reasons[i]) /* in case it comes again */
            flow_source_tell(w->flow, &t->ip, CAUSES[i], STR(""));
        t->alerts[i] = false;
    }
}

/* ---- people ---- */

/* "It rests: mail of pool normal leaves from its 3 other addresses." */
static struct str effect(const struct watch *w, const struct watch_target *t, bool rests,
                         struct arena *arena) {
    size_t others = t->pool->source_count - w->out[t->pool - w->settings->pools->pools];
    if (!rests)
        return str_printf(arena, "Mail of pool %.*s goes on leaving from it.", STR_FMT(t->pool->name));
    if (!others)
        return str_printf(arena,
                          "It rests. No other address of pool %.*s is left: its mail waits until one is "
                          "usable again.",
                          STR_FMT(t->pool->name));
    return str_printf(arena, "It rests: mail of pool %.*s leaves from its %zu other address%s.",
                      STR_FMT(t->pool->name), others, others > 1 ? "es" : "");
}

/* So many addresses have an alert of their own: a reverse zone that is gone must neither bury other alerts
 * nor write a line for each of 65,536. */
enum { OWN_ALERTS_MOST = 100 };

static void raise(struct watch *w, struct watch_target *t, enum watch_tells what, const struct alert *alert) {
    bool open = t->alerts[what];
    bool beyond = !alert->over && !open && (t->beyond[what] || w->own_alerts[what] >= OWN_ALERTS_MOST);
    w->beyond[what] += (size_t)beyond - (size_t)t->beyond[what];
    t->beyond[what] = beyond;
    if (beyond || (alert->over && !open))
        return;
    alert_raise(w->flow->alerts, alert);
    w->own_alerts[what] += (size_t)!alert->over - (size_t)open;
    t->alerts[what] = !alert->over;
}

void watch_alert_shared(struct watch *w) {
    static const char *const states[] = {"on blocklists", "not forward-confirmed"};
    struct arena *arena = arena_new(0);
    for (int i = 0; i < 2; i++) {
        struct alert alert = {.kind = KINDS[i], .subject = STR(WATCH_SHARED_SUBJECT), .over = !w->beyond[i]};
        alert.text =
            alert.over
                ? str_printf(arena, "No more addresses than have alerts of their own are %s.", states[i])
                : str_printf(arena, "%zu more addresses are %s, beside %zu that have alerts of their own.",
                             w->beyond[i], states[i], w->own_alerts[i]);
        if (!alert.over)
            alert.advice = STR("Where so many are, look for one cause: a reverse zone that is gone or not "
                               "delegated, a network that is listed. sluice source lists them, sluice source "
                               "show IP says all of one.");
        if (!alert.over || w->shared_alert[i])
            alert_raise(w->flow->alerts, &alert);
        w->shared_alert[i] = !alert.over;
    }
    arena_free(arena);
}

/* A line each list: its name, since when, its words, where to go. */
static size_t listings(struct watch *w, const struct watch_target *t, struct arena *arena, struct buf *text,
                       struct buf *advice) {
    struct blocklist_entry entry;
    size_t count = 0;
    for (size_t i = 0; i < w->settings->blocklists.count; i++) {
        const struct blocklist *list = &w->settings->blocklists.lists[i];
        char since[CLOCK_RFC3339_SIZE];
        if (!watch_listed(w, t, i, &entry))
            continue;
        struct str removal = blocklist_removal(arena, list, &t->ip);
        buf_printf(text, "\n%.*s, since %.16s: %.*s", STR_FMT(list->name), clock_rfc3339(entry.since, since),
                   STR_FMT(entry.text));
        if (removal.len)
            buf_printf(advice, "\nAsk %.*s to remove it: %.*s", STR_FMT(list->name), STR_FMT(removal));
        count++;
    }
    return count;
}

/* Has each list that can been heard since the start? Until then an alert from before it stands. */
static bool heard_all(const struct watch *w, const struct watch_target *t) {
    for (size_t i = 0; t->listed_at && i < w->settings->blocklists.count; i++) {
        const struct blocklist *list = &w->settings->blocklists.lists[i];
        struct blocklist_entry entry = {0};
        struct str why;
        bool listed = watch_listed(w, t, i, &entry), asks = blocklist_covers(list, &t->ip);
        bool gone =
            !blocklist_believed_of(w->lists, i, t->listed_at - 1, &why) && !str_eq(why, STR("not tried yet"));
        if (asks && !listed && !entry.answered && !gone)
            return false;
    }
    return true;
}

static void alert_listed(struct watch *w, struct watch_target *t, struct arena *arena) {
    struct buf lines __attribute__((cleanup(buf_free))) = {0},
                     advice __attribute__((cleanup(buf_free))) = {0};
    char ip[IP_TEXT_SIZE];
    struct alert alert = {.kind = ALERT_SOURCE_LISTED, .subject = str_of(ip_text(&t->ip, ip))};
    size_t count = listings(w, t, arena, &lines, &advice);
    alert.over = !count;
    if (!count && !heard_all(w, t))
        return;
    if (count) {
        bool rests = t->reasons[WATCH_LISTED] && !t->pool->stays_listed;
        struct str what = effect(w, t, rests, arena);
        alert.text = str_printf(arena, "%s is on %zu blocklist%s. %.*s%.*s", ip, count, count > 1 ? "s" : "",
                                STR_FMT(what), STR_FMT(buf_view(&lines)));
        alert.advice = str_printf(arena,
                                  "Find and stop what was sent from it (sluice trace --outbound-ip %s), then "
                                  "ask for its removal; it is used again by itself once it is delisted.%.*s",
                                  ip, STR_FMT(buf_view(&advice)));
    } else {
        alert.text = str_printf(arena, "%s is on none of the blocklists any more.", ip);
    }
    raise(w, t, WATCH_LISTED, &alert);
}

static void alert_unconfirmed(struct watch *w, struct watch_target *t, struct arena *arena) {
    char ip[IP_TEXT_SIZE], since[CLOCK_RFC3339_SIZE];
    struct gate_view view = gate_view(w->gate, &t->ip, clock_wall_ms());
    struct alert alert = {.kind = ALERT_SOURCE_UNCONFIRMED, .subject = str_of(ip_text(&t->ip, ip))};
    alert.over = !t->reasons[WATCH_UNCONFIRMED];
    if (alert.over && t->gated && view.belief == GATE_UNKNOWN && !view.next_ask)
        return; /* not asked since the start */
    if (!alert.over) {
        struct str what = effect(w, t, true, arena);
        alert.text = str_printf(arena, "%s is not forward-confirmed since %.16s: %.*s. %.*s", ip,
                                clock_rfc3339(view.since, since), STR_FMT(view.reason), STR_FMT(what));
        alert.advice = str_printf(arena,
                                  "Receivers refuse addresses without forward-confirmed reverse DNS. sluice "
                                  "dns check says what to put where; it is used again by itself once %s and "
                                  "its name lead to each other.",
                                  ip);
    } else if (view.belief == GATE_RIGHT) {
        alert.text = str_printf(arena, "%s is confirmed as %.*s.", ip, STR_FMT(view.name));
    } else {
        alert.text = str_printf(arena, "Nothing is known any more against %s.", ip);
    }
    raise(w, t, WATCH_UNCONFIRMED, &alert);
}

void watch_alert(struct watch *w, struct watch_target *t) {
    struct arena *arena = arena_new(0);
    alert_listed(w, t, arena);
    if (t->alerts[WATCH_UNCONFIRMED] || t->beyond[WATCH_UNCONFIRMED] || t->reasons[WATCH_UNCONFIRMED])
        alert_unconfirmed(w, t, arena);
    arena_free(arena);
}
