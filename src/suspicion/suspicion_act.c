/* What is done about findings. */
#include "alert/alert.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "base/shell.h"
#include "limits/sending.h"
#include "rt/fiber.h"
#include "suspicion/suspicion_inside.h"

#include <stdlib.h>

#define DAY_MS INT64_C(86400000)

/* ---- The views: each worker's own list of who is suspicious ---- */

struct view {
    int64_t until;
    char reason[];
};

struct showing {
    struct map *map;
    struct str key;
    struct view *view; /* NULL: no longer */
};

static void show_here(void *arg) {
    struct showing *show = arg;
    free(show->view ? map_put(show->map, show->key, show->view) : map_remove(show->map, show->key));
    free((char *)(uintptr_t)show->key.at);
    free(show);
}

static struct str key_of(struct arena *arena, enum pattern_kind kind, struct str name) {
    return str_printf(arena, "%c%.*s", '0' + (int)kind, STR_FMT(name));
}

static struct showing *showing_of(struct map *map, struct str key, struct str reason, int64_t until) {
    struct showing *show = xcalloc(1, sizeof *show);
    char *copy = xmalloc(key.len);
    memcpy(copy, key.at, key.len);
    show->map = map;
    show->key = str_from(copy, key.len);
    if (reason.len) {
        show->view = xcalloc(1, sizeof *show->view + reason.len + 1);
        show->view->until = until;
        memcpy(show->view->reason, reason.at, reason.len);
    }
    return show;
}

void suspicion_show(struct suspicion *s, enum pattern_kind kind, struct str name, struct str reason,
                    int64_t until) {
    struct arena *arena = arena_new(0);
    struct str key = key_of(arena, kind, name);
    struct rt *rt = s->options.rt;
    for (unsigned i = 0; i <= rt_count(rt); i++) {
        struct worker *worker = i < rt_count(rt) ? rt_worker(rt, i) : rt_api(rt);
        struct showing *show = showing_of(s->views[worker_index(worker)], key, reason, until);
        if (s->running)
            worker_post(worker, show_here, show);
        else
            show_here(show);
    }
    arena_free(arena);
}

void suspicion_show_all(struct suspicion *s, bool on) {
    struct pattern_suspect suspect;
    int64_t now = clock_wall_ms();
    for (size_t at = 0; pattern_next_suspect(s->pattern, &at, now, &suspect);)
        suspicion_show(s, suspect.kind, suspect.name, on ? str_of(suspect.reason) : STR(""), suspect.until);
}

struct map *suspicion_free_view(struct map *map) {
    struct str key;
    void *view;
    for (size_t at = 0; map_next(map, &at, &key, &view);)
        free(view);
    return map_free(map);
}

static const char *reason_here(struct suspicion *s, enum pattern_kind kind, struct str name, int64_t now,
                               struct arena *arena) {
    const struct map *map = s->views[worker_index(worker_self())];
    if (!name.len || !map_count(map))
        return NULL;
    const struct view *view = map_get(map, key_of(arena, kind, name));
    return view && now < view->until && view->until - now <= DAY_MS ? view->reason : NULL;
}

struct str suspicion_of_names(struct suspicion *s, struct str tenant, struct str connector, struct str sender,
                              int64_t now, struct arena *arena) {
    const struct {
        enum pattern_kind kind;
        struct str name;
        const char *whose;
    } whom[] = {
        {PATTERN_USER, sender, ""},
        {PATTERN_CONNECTOR, connector, "of the connector: "},
        {PATTERN_TENANT, tenant, "of the tenant: "},
    };
    for (size_t i = 0; i < sizeof whom / sizeof *whom && s; i++) {
        const char *reason = reason_here(s, whom[i].kind, whom[i].name, now, arena);
        if (reason)
            return str_printf(arena, "%s%s", whom[i].whose, reason);
    }
    return STR("");
}

/* ---- Restrictions ---- */

struct restriction {
    struct suspicion *suspicion;
    struct arena *arena;
    enum sender_kind kind;
    struct str name, tenant;
    struct sender_event event;
};

enum { AGAIN_MS = 1000 };

static void restrict_it(void *arg) {
    struct restriction *r = arg;
    sending_exceed(r->suspicion->options.sending, r->kind, r->name, r->tenant, &r->event);
    arena_free(r->arena);
}

/* Without room for a fiber it is tried again: it must not be lost. */
static void start_restriction(void *arg) {
    struct restriction *r = arg;
    int error = fiber_start(restrict_it, r);
    if (error == SLUICE_ECANCELLED)
        arena_free(r->arena);
    else if (error)
        worker_after(r->suspicion->owner, AGAIN_MS, start_restriction, r);
}

static void restrict_sender(struct suspicion *s, const struct pattern_finding *f, int64_t now) {
    struct arena *arena = arena_new(0);
    struct restriction *r = arena_new_of(arena, struct restriction);
    *r = (struct restriction){
        .suspicion = s,
        .arena = arena,
        .kind = (enum sender_kind)f->kind,
        .name = str_copy(arena, f->name),
        .tenant = str_copy(arena, f->tenant),
        .event = {.cause = f->cause,
                  .action = f->action == PATTERN_RESTRICT ? LIMIT_RESTRICT : LIMIT_RESTRICT_TODAY,
                  .counts = f->counts,
                  .reason = str_copy(arena, f->reason),
                  .by = STR(""),
                  .now = now},
    };
    start_restriction(r);
}

/* ---- Alerts ---- */

static enum alert_kind kind_of(enum pattern_kind kind) {
    return kind == PATTERN_FORWARD     ? ALERT_SUSPICIOUS_FORWARDING
           : kind == PATTERN_CONNECTOR ? ALERT_CONNECTOR_SUSPICIOUS
                                       : ALERT_SUSPICIOUS_PATTERN;
}

/* How to see its mail. */
static struct str mail_command(struct arena *arena, const struct pattern_finding *f) {
    struct str path = limit_sender_mailbox(f->name);
    if (f->kind != PATTERN_USER)
        return str_printf(arena, "sluice trace --tenant %.*s --since 1h",
                          STR_FMT(shell_word(arena, f->tenant)));
    return str_printf(arena, "sluice trace --sender %.*s --since 1h",
                      STR_FMT(shell_word(arena, path.len ? path : f->name)));
}

static struct str advice_of(struct arena *arena, const struct pattern_finding *f) {
    const char *word = f->kind == PATTERN_TENANT ? "tenant" : "sender";
    const char *cure = f->kind == PATTERN_USER     ? "have the password changed"
                       : f->kind == PATTERN_TENANT ? "find out who of it sends that: sluice sender list"
                                                   : "have its owner find what sends there";
    struct str who = shell_word(arena, f->name);
    if (f->kind == PATTERN_FORWARD)
        return str_printf(arena,
                          "Ask the owner of %.*s whether the forward is meant; if not, take it out and have "
                          "the password changed.",
                          STR_FMT(f->name));
    return str_printf(
        arena,
        "Look: sluice %s show %.*s, and its mail: %.*s. If its owner doesn't know of this mail, "
        "stop it: sluice %s restrict %.*s, and %s. If it is meant: sluice %s release %.*s",
        word, STR_FMT(who), STR_FMT(mail_command(arena, f)), word, STR_FMT(who), cure, word, STR_FMT(who));
}

static void alert_it(struct suspicion *s, const struct pattern_finding *f, int64_t now) {
    struct arena *arena = arena_new(0);
    const char *what = f->over                          ? "is no longer suspicious"
                       : f->action == PATTERN_HIGH_RISK ? "is suspicious, and its mail is high-risk"
                                                        : "shows a suspicious pattern";
    const char *sign = pattern_sign_word(f->sign);
    struct str text = str_printf(arena, "%.*s %s: %.*s", STR_FMT(f->name), what, STR_FMT(f->reason));
    if (!f->over)
        text = str_printf(arena, "%.*s. %.*s", STR_FMT(text), STR_FMT(sender_counts_text(arena, &f->counts)));
    log_event(s->options.log, f->over ? LOG_INFO : LOG_WARNING, f->over ? "suspicion ended" : "suspicious",
              "who", str_c(arena, f->name), "sign", sign, "class",
              f->action == PATTERN_HIGH_RISK ? "high-risk" : NULL, "why", str_c(arena, f->reason), NULL);
    alert_raise(s->options.alerts, &(struct alert){
                                       .kind = kind_of(f->kind),
                                       .subject = str_printf(arena, "%.*s %s", STR_FMT(f->name), sign),
                                       .tenant = f->tenant,
                                       .text = text,
                                       .advice = f->over ? STR("") : advice_of(arena, f),
                                       .over = f->over,
                                       .now = now,
                                   });
    arena_free(arena);
}

void suspicion_act(struct suspicion *s, const struct pattern_findings *found, int64_t now) {
    struct pattern_stats stats;
    for (size_t i = 0; i < found->count; i++) {
        const struct pattern_finding *f = &found->at[i];
        /* Before it is told: who reads of it in the log finds it in effect on every worker. */
        if (f->action == PATTERN_HIGH_RISK)
            suspicion_show(s, f->kind, f->name, f->over ? STR("") : f->reason, f->until);
        if (f->action >= PATTERN_RESTRICT_TODAY)
            restrict_sender(s, f, now);
        else
            alert_it(s, f, now);
    }
    pattern_stats(s->pattern, &stats);
    atomic_store_explicit(&s->subjects, stats.subjects, memory_order_relaxed);
    atomic_store_explicit(&s->suspects, stats.suspects, memory_order_relaxed);
    atomic_store_explicit(&s->found, stats.found, memory_order_relaxed);
}

void suspicion_tell_surge(struct suspicion *s, const struct surge_alert *a, int64_t now) {
    struct arena *arena = arena_new(0);
    struct str tenant = a->tenant.len ? a->tenant : STR("no tenant");
    log_event(s->options.log, a->over ? LOG_INFO : LOG_WARNING,
              a->over ? "surge of reports ended" : "surge of reports", "tenant", str_c(arena, tenant),
              "cause", surge_cause_word(a->cause), "subject", str_c(arena, a->subject), NULL);
    alert_raise(s->options.alerts,
                &(struct alert){
                    .kind = ALERT_NDR_SURGE,
                    .subject = str_printf(arena, "%.*s %s", STR_FMT(tenant), surge_cause_word(a->cause)),
                    .tenant = a->tenant,
                    .text = a->text,
                    .advice = a->over ? STR("") : a->advice,
                    .samples = a->over ? STR("") : a->samples,
                    .over = a->over,
                    .now = now,
                });
    arena_free(arena);
}
