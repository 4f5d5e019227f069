#include "suspicion/suspicion.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "rt/fiber.h"
#include "rt/state_file.h"
#include "suspicion/suspicion_inside.h"

#include <stdlib.h>
#include <sys/random.h>

enum { PENDING_MOST = 100000, TICK_MS = 60000, TICKS_A_SNAPSHOT = 15, SAMPLES_MOST = 50 };

/* ---- On the owner ---- */

/* By all the names under which the report's recipient may have sent. */
static uint32_t sent_by(struct suspicion *s, const struct suspicion_note *note, int64_t now) {
    uint64_t sent = 0;
    for (size_t i = 0; i < note->sender_count; i++)
        sent += pattern_sent(s->pattern, PATTERN_USER, note->senders[i], now);
    return sent < UINT32_MAX ? (uint32_t)sent : UINT32_MAX;
}

static void take_reports(struct suspicion *s, struct suspicion_note *note) {
    for (size_t i = 0; i < note->report_count; i++) {
        struct surge_event *e = &note->reports[i];
        struct surge_alert alert;
        if (e->incoming)
            e->sent = sent_by(s, note, e->now);
        if (e->incoming && e->sent && note->auto_reply)
            continue;
        if (!e->incoming)
            e->failing = pattern_failing(s->pattern, PATTERN_USER, e->sender, e->now);
        if (surge_event(s->surge, e, note->arena, &alert))
            suspicion_tell_surge(s, &alert, e->now);
    }
}

/* What it counts among those on their way: eight domains or reports cost as much as a note without any. */
static uint64_t weight_of(const struct suspicion_note *note) {
    return 1 + (note->message.domain_count + note->report_count) / 8;
}

static void take_note(void *arg) {
    struct suspicion_note *note = arg;
    struct suspicion *s = note->suspicion;
    struct pattern_findings found = {.count = 0};
    if (note->message.now)
        pattern_message(s->pattern, &note->message, note->arena, &found);
    for (size_t i = 0; i < note->answer_count; i++)
        pattern_answer(s->pattern, &note->answers[i], note->arena, &found);
    take_reports(s, note);
    suspicion_act(s, &found, clock_wall_ms());
    atomic_fetch_sub_explicit(&s->pending, weight_of(note), memory_order_relaxed);
    arena_free(note->arena);
}

struct suspicion_note *suspicion_note_new(struct suspicion *s) {
    if (!s)
        return NULL;
    if (atomic_fetch_add_explicit(&s->pending, 1, memory_order_relaxed) >= PENDING_MOST) {
        atomic_fetch_sub_explicit(&s->pending, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->lost, 1, memory_order_relaxed);
        return NULL;
    }
    struct arena *arena = arena_new(1024);
    struct suspicion_note *note = arena_new_of(arena, struct suspicion_note);
    note->suspicion = s;
    note->arena = arena;
    return note;
}

void suspicion_note_post(struct suspicion_note *note) {
    atomic_fetch_add_explicit(&note->suspicion->pending, weight_of(note) - 1, memory_order_relaxed);
    worker_post(note->suspicion->owner, take_note, note);
}

/* ---- Asking the owner ---- */

struct ask {
    struct suspicion *suspicion;
    enum pattern_kind kind;
    struct str name;
    int64_t until;
    struct arena *arena;
    struct sender_counts counts;
    struct str reason;
    bool found;
};

static void count_on_owner(void *arg) {
    struct ask *ask = arg;
    int64_t now = clock_wall_ms();
    const char *reason = pattern_suspicion(ask->suspicion->pattern, ask->kind, ask->name, now);
    ask->reason = str_copy(ask->arena, str_of(reason));
    ask->found = pattern_counts(ask->suspicion->pattern, ask->kind, ask->name, now, &ask->counts);
}

bool suspicion_counts(struct suspicion *s, enum pattern_kind kind, struct str name, struct arena *arena,
                      struct sender_counts *ret, struct str *ret_reason) {
    struct ask ask = {.suspicion = s, .kind = kind, .name = name, .arena = arena};
    *ret_reason = STR("");
    if (!s)
        return false;
    worker_call(ask.suspicion->owner, count_on_owner, &ask);
    *ret_reason = ask.reason;
    if (ask.found)
        *ret = ask.counts;
    return ask.found;
}

struct list {
    struct suspicion *suspicion;
    struct arena *arena;
    struct suspicion_entry *entries;
    size_t count;
};

static void list_on_owner(void *arg) {
    struct list *list = arg;
    struct pattern *p = list->suspicion->pattern;
    struct pattern_stats stats;
    struct pattern_suspect suspect;
    int64_t now = clock_wall_ms();
    pattern_stats(p, &stats);
    list->entries = arena_array(list->arena, struct suspicion_entry, stats.suspects);
    for (size_t at = 0; pattern_next_suspect(p, &at, now, &suspect);) {
        struct suspicion_entry *e = &list->entries[list->count++];
        *e = (struct suspicion_entry){
            .kind = suspect.kind,
            .name = str_copy(list->arena, suspect.name),
            .reason = str_copy(list->arena, str_of(suspect.reason)),
            .since = suspect.since,
            .until = suspect.until,
        };
        (void)pattern_counts(p, e->kind, e->name, now, &e->counts);
    }
}

size_t suspicion_list(struct suspicion *s, struct arena *arena, struct suspicion_entry **ret) {
    struct list list = {.suspicion = s, .arena = arena};
    if (s)
        worker_call(s->owner, list_on_owner, &list);
    *ret = list.entries;
    return list.count;
}

static void release_on_owner(void *arg) {
    struct ask *ask = arg;
    int64_t now = clock_wall_ms();
    struct pattern_findings over = {.count = 0};
    uint32_t found = pattern_release(ask->suspicion->pattern, ask->kind, ask->name,
                                     ask->until ? ask->until : now - now % 86400000 + 86400000, now);
    for (enum pattern_sign sign = 0; sign < SIGNS; sign++) {
        bool first = over.count == 0; /* it ends being high-risk, too */
        if (found & 1u << sign)
            over.at[over.count++] = (struct pattern_finding){
                .kind = ask->kind,
                .name = ask->name,
                .tenant = STR(""),
                .sign = sign,
                .action = first ? PATTERN_HIGH_RISK : PATTERN_ALERT,
                .over = true,
                .reason = STR("an operator says that it is fine"),
            };
    }
    ask->found = found != 0;
    suspicion_act(ask->suspicion, &over, now);
}

bool suspicion_release(struct suspicion *s, enum pattern_kind kind, struct str name, int64_t until) {
    struct ask ask = {.suspicion = s, .kind = kind, .name = name, .until = until};
    if (!s)
        return false;
    worker_call(ask.suspicion->owner, release_on_owner, &ask);
    return ask.found;
}

void suspicion_stats(const struct suspicion *s, struct suspicion_stats *ret) {
    *ret = (struct suspicion_stats){0};
    if (s)
        *ret = (struct suspicion_stats){s->subjects, s->suspects, s->found, s->lost};
}

/* ---- Open, tick, close ---- */

/* Suspicions whose day is over, some with each turn of the loop: many end at midnight. */
static void end_suspicions(void *arg) {
    struct suspicion *s = arg;
    struct arena *arena = arena_new(0);
    struct pattern_findings found = {.count = 0};
    int64_t now = clock_wall_ms();
    pattern_tidy(s->pattern, now, arena, &found);
    suspicion_act(s, &found, now);
    arena_free(arena);
    if (found.count == PATTERN_FINDINGS)
        worker_post(s->owner, end_suspicions, s);
}

static void tick(void *arg) {
    struct suspicion *s = arg;
    struct arena *arena = arena_new(0);
    struct surge_alert alert;
    int64_t now = clock_wall_ms();
    for (size_t at = 0; surge_next_over(s->surge, &at, now, arena, &alert);)
        suspicion_tell_surge(s, &alert, now);
    arena_free(arena);
    end_suspicions(s);
    if (++s->ticks % TICKS_A_SNAPSHOT == 0)
        suspicion_save(s);
    worker_after(s->owner, TICK_MS, tick, s);
}

struct suspicion *suspicion_open(const struct suspicion_options *o, const struct settings *settings) {
    struct suspicion *s = xcalloc(1, sizeof *s);
    const struct pattern_rules *rules = &settings->policy->detection;
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof seed, GRND_NONBLOCK);
    s->options = *o;
    s->owner = rt_owner(o->rt, STR("detection"), STR(""));
    s->pattern = pattern_new(rules, seed, clock_wall_ms());
    s->surge = surge_new(rules);
    s->view_count = rt_count(o->rt) + 1;
    s->views = xcalloc(s->view_count, sizeof(struct map *));
    for (unsigned i = 0; i < s->view_count; i++)
        s->views[i] = map_new(true);
    struct buf path = {0};
    buf_printf(&path, "%s/patterns", settings->state);
    s->path = buf_c(&path);
    suspicion_read(s, rules->apply);
    s->running = true;
    worker_after(s->owner, TICK_MS, tick, s);
    return s;
}

struct configuring {
    struct suspicion *suspicion;
    struct pattern_rules rules;
};

static void configure(void *arg) {
    struct configuring *c = arg;
    pattern_configure(c->suspicion->pattern, &c->rules);
    surge_configure(c->suspicion->surge, &c->rules);
    suspicion_show_all(c->suspicion, c->rules.apply);
    free(c);
}

void suspicion_reload(struct suspicion *s, const struct settings *next) {
    struct configuring *c = xcalloc(1, sizeof *c);
    c->suspicion = s;
    c->rules = next->policy->detection;
    worker_post(s->owner, configure, c);
}

struct suspicion *suspicion_close(struct suspicion *s) {
    struct buf bytes __attribute__((cleanup(buf_free))) = {0};
    size_t at = 0;
    if (!s)
        return NULL;
    while (pattern_save(s->pattern, &at, UINT32_MAX, clock_wall_ms(), &bytes)) {
    }
    surge_save(s->surge, &bytes);
    int error = state_file_write(s->path, buf_view(&bytes));
    if (error)
        log_event(s->options.log, LOG_ERROR, "the patterns of senders can't be written", "file", s->path,
                  "error", error_text(error), NULL);
    for (unsigned i = 0; i < s->view_count; i++)
        s->views[i] = suspicion_free_view(s->views[i]);
    free(s->views);
    free((char *)(uintptr_t)s->path);
    buf_free(&s->snapshot);
    pattern_free(s->pattern);
    surge_free(s->surge);
    free(s);
    return NULL;
}
