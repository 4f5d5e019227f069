/* What the watch asks of the DNS: each question in a fiber of its own, a few at a time. */
#include "base/clock.h"
#include "watch/watch.h"
#include <stdlib.h>

enum {
    ASKING_MOST = 16,
    ASK_MS = 20 * 1000,
    GATE_GAP_MS = 20, /* between two addresses, and as much again at random */
    GATE_SCAN = 4096, /* addresses looked at in one turn */
    LATER_MS = 60 * 1000,
};

struct asking {
    struct watch *watch;
    uint64_t generation;
    struct blocklist_question question; /* of the lists */
    struct ip ip;                       /* of the gate */
};

static bool start(struct watch *w, void (*fn)(void *), struct asking asking) {
    struct asking *copy = xmalloc(sizeof *copy);
    *copy = asking;
    copy->watch = w, copy->generation = w->generation;
    if (fiber_start(fn, copy) != 0) {
        free(copy);
        return false;
    }
    w->asking++;
    return true;
}

static void end(struct asking *a) {
    a->watch->asking--;
    waiters_wake_all(&a->watch->news);
    free(a);
}

static int64_t timeout_of(const struct watch *w) {
    int64_t timeout = w->settings->dns.timeout_ms;
    return timeout < ASK_MS ? timeout : ASK_MS;
}

static void look_up(struct watch *w, struct str name, enum dns_type type, struct arena *arena,
                    struct dns_answer *ret) {
    resolver_lookup(flow_here(w->flow)->resolver, name, type, clock_mono_ms() + timeout_of(w), arena, ret);
}

/* ---- blocklists ---- */

/* Whether a list is believed is logged when it changes. */
static void log_belief(struct watch *w, size_t list) {
    static const char *const texts[] = {[WATCH_SAID_BELIEVED] = "blocklist answers as it should",
                                        [WATCH_SAID_PARTLY] = "blocklist is believed of one family only",
                                        [WATCH_SAID_NOT] = "blocklist is not believed"};
    struct str why;
    bool believed = blocklist_believed(w->lists, list, &why);
    enum watch_said now = !believed ? WATCH_SAID_NOT : why.len ? WATCH_SAID_PARTLY : WATCH_SAID_BELIEVED;
    if ((!believed && str_eq(why, STR("not tried yet"))) || w->said[list] == now)
        return;
    struct arena *arena = arena_new(0);
    log_event(w->flow->log, believed ? LOG_INFO : LOG_WARNING, texts[now], "list",
              str_c(arena, w->settings->blocklists.lists[list].name), "why",
              why.len ? str_c(arena, why) : NULL, NULL);
    w->said[list] = (unsigned char)now;
    arena_free(arena);
}

/* The list's own words. The address rests already. */
static void explain(struct watch *w, const struct asking *a, struct str name, struct arena *arena) {
    struct dns_answer answer;
    look_up(w, name, DNS_TXT, arena, &answer);
    if (a->generation != w->generation || answer.status != DNS_RECORDS || !answer.count)
        return;
    blocklist_explain(w->lists, &a->question, answer.records[0].text);
    w->dirty = true;
    watch_tell(w, w->listed_targets[a->question.address]);
}

static void log_change(struct watch *w, const struct asking *a, enum blocklist_change change) {
    struct arena *arena = arena_new(0);
    const struct watch_target *t = w->listed_targets[a->question.address];
    char ip[IP_TEXT_SIZE];
    bool listed = change == BLOCKLIST_NOW_LISTED;
    struct str list = w->settings->blocklists.lists[a->question.list].name;
    struct blocklist_entry entry = {0};
    watch_listed(w, t, a->question.list, &entry);
    watch_change(w, &t->ip, listed ? WATCH_EVENT_LISTED : WATCH_EVENT_DELISTED, list, entry.text);
    log_event(w->flow->log, listed ? LOG_WARNING : LOG_INFO, listed ? "listed" : "delisted", "source",
              ip_text(&t->ip, ip), "pool", str_c(arena, t->pool->name), "list", str_c(arena, list), NULL);
    arena_free(arena);
}

/* It rests before anything else is asked; the history has the list's words, which come later. */
static void changed(struct watch *w, const struct asking *a, enum blocklist_change change, struct str name,
                    struct arena *arena) {
    struct watch_target *t = w->listed_targets[a->question.address];
    bool before = t->reasons[WATCH_LISTED] != NULL;
    w->dirty = true;
    w->silent = true;
    watch_tell(w, t);
    w->silent = false;
    if (change == BLOCKLIST_NOW_LISTED)
        explain(w, a, name, arena);
    if (a->generation != w->generation)
        return;
    log_change(w, a, change);
    watch_rested(w, t, WATCH_LISTED, before);
}

static void ask_list(void *arg) {
    struct asking *a = arg;
    struct watch *w = a->watch;
    struct arena *arena = arena_new(0);
    struct dns_answer answer;
    struct str name = blocklist_question_name(w->lists, &a->question, arena);
    look_up(w, name, DNS_A, arena, &answer);
    if (a->generation == w->generation) {
        enum blocklist_change change = blocklist_answer(w->lists, &a->question, &answer, clock_wall_ms());
        log_belief(w, a->question.list);
        if (change != BLOCKLIST_SAME)
            changed(w, a, change, name, arena);
    }
    if (a->generation == w->generation && a->question.step == BLOCKLIST_ASK)
        watch_alert(w, w->listed_targets[a->question.address]);
    arena_free(arena);
    end(a);
}

static int64_t ask_lists(struct watch *w, int64_t now) {
    struct blocklist_question question;
    int64_t when = now + LATER_MS;
    while (w->asking < ASKING_MOST && blocklist_next(w->lists, now, &question, &when))
        if (!start(w, ask_list, (struct asking){.question = question}))
            return now + LATER_MS;
    return w->asking < ASKING_MOST ? when : now + LATER_MS; /* woken by the next answer */
}

/* ---- the gate ---- */

static bool ask_witness(struct watch *w, bool v6, size_t which, struct arena *arena) {
    struct dns_answer answer;
    look_up(w, str_of(gate_witnesses[v6][which]), DNS_SOA, arena, &answer);
    return answer.status == DNS_RECORDS && answer.count && !answer.stale &&
           gate_witness(w->gate, v6, which, answer.ttl, clock_wall_ms());
}

/* After a denial: does the resolver work? Where the first record came from a cache, another one. */
static void ask_witnesses(struct watch *w, bool v6, struct arena *arena) {
    if (ask_witness(w, v6, 0, arena))
        return;
    w->witness = (w->witness + 1) % GATE_WITNESSES;
    if (w->witness && gate_witnesses[v6][w->witness])
        ask_witness(w, v6, w->witness, arena);
}

static void log_gate(struct watch *w, const struct watch_target *t) {
    struct arena *arena = arena_new(0);
    char ip[IP_TEXT_SIZE];
    struct gate_view view = gate_view(w->gate, &t->ip, clock_wall_ms());
    log_event(w->flow->log, view.usable ? LOG_INFO : LOG_WARNING, view.usable ? "confirmed" : "not confirmed",
              "source", ip_text(&t->ip, ip), "pool", str_c(arena, t->pool->name),
              view.usable ? "name" : "why", str_c(arena, view.usable ? view.name : view.reason), NULL);
    arena_free(arena);
}

static void ask_gate(void *arg) {
    struct asking *a = arg;
    struct watch *w = a->watch;
    struct arena *arena = arena_new(0);
    struct fcrdns found;
    fcrdns_ask(flow_here(w->flow)->resolver, &a->ip, timeout_of(w), arena, &found);
    if (found.stale)
        found.state = FCRDNS_UNASKED, found.why = STR("the DNS does not answer");
    struct watch_target *t = watch_target(w, &a->ip); /* NULL: a reload took it away */
    if (t && t->gated) {
        t->asking = false;
        if (gate_answer(w->gate, &a->ip, &found, clock_wall_ms())) {
            w->dirty = true;
            log_gate(w, t);
        }
        watch_tell(w, t);
        watch_alert(w, t);
    }
    if (found.state == FCRDNS_NO_PTR || found.state == FCRDNS_NOT_CONFIRMED)
        ask_witnesses(w, !ip_is_v4(&a->ip), arena);
    arena_free(arena);
    end(a);
}

/* One that nobody asked about yet, before those whose answers have ended: with many these never end. */
static struct watch_target *next_fresh(struct watch *w, int64_t now) {
    for (size_t i = 0; i < GATE_SCAN && w->fresh < w->count; i++) {
        struct watch_target *t = &w->targets[w->fresh++];
        struct gate_view view = gate_view(w->gate, &t->ip, now);
        if (t->gated && !t->asking && view.belief == GATE_UNKNOWN && !view.next_ask)
            return t;
    }
    return NULL;
}

/* One that is due; else when the first of those looked at is. */
static struct watch_target *next_gated(struct watch *w, int64_t now, int64_t *ret_when) {
    size_t most = w->count < GATE_SCAN ? w->count : GATE_SCAN;
    struct watch_target *fresh = next_fresh(w, now);
    *ret_when = now + (most < w->count ? 1000 : LATER_MS);
    if (fresh)
        return fresh;
    for (size_t i = 0; i < most; i++) {
        struct watch_target *t = &w->targets[w->cursor];
        w->cursor = (w->cursor + 1) % w->count;
        if (!t->gated || t->asking)
            continue;
        int64_t due = gate_view(w->gate, &t->ip, now).next_ask;
        if (due <= now)
            return t;
        if (due < *ret_when)
            *ret_when = due;
    }
    return NULL;
}

static int64_t ask_gated(struct watch *w, int64_t now) {
    int64_t when = w->gate_free_at;
    if (now < when)
        return when;
    struct watch_target *t = w->asking < ASKING_MOST ? next_gated(w, now, &when) : NULL;
    if (!t)
        return when > now ? when : now + LATER_MS;
    if (start(w, ask_gate, (struct asking){.ip = t->ip}))
        t->asking = true;
    w->gate_free_at = now + GATE_GAP_MS + (int64_t)(flow_random(w->flow) % GATE_GAP_MS);
    return w->gate_free_at;
}

int64_t watch_ask(struct watch *w) {
    int64_t now = clock_wall_ms(), lists = ask_lists(w, now), gate = ask_gated(w, now);
    return lists < gate ? lists : gate;
}
