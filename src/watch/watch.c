/* The watch from the daemon's start to its end. */
#include "watch/watch.h"
#include "alert/history.h"
#include "base/clock.h"
#include "base/map.h"
#include "identity/watch_memory.h"
#include "rt/state_file.h"
#include "seeded_bug.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    TURN_MOST_MS = 1000, /* a reload is seen in time */
    TURN_LEAST_MS = 5,
    CLOCK_BACK_MS = 10 * 1000,
    CLOCK_AHEAD_MS = 10 * 60 * 1000,
    SWEEP_MS = 60 * 1000, /* what ends by the clock */
    SAVE_MS = 10 * 60 * 1000,
    SAVE_AGAIN_MS = 10 * 1000,
};

/* ---- memory ---- */

static void recall_listing(struct watch *w, const struct watch_target *t, const struct watch_note *n) {
    for (size_t i = 0; t->listed_at && i < w->settings->blocklists.count; i++)
        if (str_eq_nocase(w->settings->blocklists.lists[i].zone, n->zone))
            blocklist_restore(w->lists, i, t->listed_at - 1, n->text, n->since, n->answered, clock_wall_ms());
}

static void recall(struct watch *w) {
    struct arena *arena = arena_new(0);
    const struct watch_note *notes = NULL;
    size_t count = 0;
    struct str why = STR("");
    char number[24];
    int error = watch_memory_load(arena, w->path, &why, &notes, &count);
    if (error && error != SLUICE_ENOTFOUND)
        log_event(w->flow->log, LOG_ERROR,
                  "what the watch over the source addresses knew can't be read: it asks anew", "file",
                  w->path, "why", str_c(arena, why), NULL);
#ifdef SLUICE_SEEDED_BUG_RESTART_WAKES
    count = 0;
#endif
    for (size_t i = 0; i < count; i++) {
        struct watch_target *t = watch_target(w, &notes[i].ip);
        if (t && notes[i].zone.len)
            recall_listing(w, t, &notes[i]);
        else if (t)
            gate_restore(w->gate, &t->ip, notes[i].text, notes[i].since, notes[i].answered, clock_wall_ms());
    }
    w->silent = true;
    for (size_t i = 0; i < w->count; i++)
        watch_tell(w, &w->targets[i]);
    w->silent = false;
    for (size_t i = 0; i < count; i++) { /* nothing is over because nothing is remembered */
        struct watch_target *t = watch_target(w, &notes[i].ip);
        if (t)
            watch_alert(w, t);
    }
    snprintf(number, sizeof number, "%zu", count);
    log_event(w->flow->log, LOG_INFO, "watch over the source addresses opened", "remembered", number, NULL);
    arena_free(arena);
}

/* What was open when the daemon stopped: it may end now, also where nobody asks any more. */
static void recall_alert(void *arg, const struct alert_record *r) {
    struct watch *w = arg;
    struct ip ip;
    struct watch_target *t = ip_parse(r->subject, &ip) ? watch_target(w, &ip) : NULL;
    bool listed = r->kind == ALERT_SOURCE_LISTED;
    enum watch_tells what = listed ? WATCH_LISTED : WATCH_UNCONFIRMED;
    if (str_eq(r->subject, STR(WATCH_SHARED_SUBJECT)))
        w->shared_alert[what] = true;
    else if (t && (listed ? t->listed_at > 0 : t->gated))
        w->own_alerts[what] += !t->alerts[what], t->alerts[what] = true;
    else
        alert_raise(w->flow->alerts, &(struct alert){.kind = r->kind,
                                                     .subject = r->subject,
                                                     .text = STR("It is no longer watched."),
                                                     .over = true});
}

static void recall_alerts(struct watch *w) {
    static const enum alert_kind kinds[] = {ALERT_SOURCE_LISTED, ALERT_SOURCE_UNCONFIRMED};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct alert_filter open = {.kind = kinds[i], .open = true, .limit = 2 * POOL_ADDRESSES_MAX};
        int error = alert_history(w->settings->trace_dir, &open, recall_alert, w);
        if (error && error != SLUICE_ENOTFOUND)
            log_event(w->flow->log, LOG_WARNING, "the history of alerts can't be read", "error",
                      error_text(error), NULL);
    }
}

/* What would rest an address. */
static size_t gather(struct watch *w, struct arena *arena, struct watch_note **ret) {
    size_t lists = w->settings->blocklists.count, count = 0, room = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < w->count; i++) {
            struct watch_target *t = &w->targets[i];
            struct gate_view view = gate_view(w->gate, &t->ip, clock_wall_ms());
            struct blocklist_entry entry;
            for (size_t l = 0; l < lists; l++) {
                if (!watch_listed(w, t, l, &entry))
                    continue;
                if (pass && count < room)
                    (*ret)[count] =
                        (struct watch_note){t->ip, w->settings->blocklists.lists[l].zone,
                                            str_copy(arena, entry.text), entry.since, entry.answered};
                count++;
            }
            if (view.belief != GATE_WRONG)
                continue;
            if (pass && count < room)
                (*ret)[count] = (struct watch_note){t->ip, STR(""), str_copy(arena, view.reason), view.since,
                                                    view.answered};
            count++;
        }
        if (!pass) {
            *ret = arena_array(arena, struct watch_note, count);
            room = count, count = 0;
        }
    }
    return count;
}

struct saving {
    const char *path;
    struct str text;
    int error;
};

static void save_offloaded(void *arg) {
    struct saving *s = arg;
    s->error = state_file_write(s->path, s->text);
}

static void save(struct watch *w) {
    struct arena *arena = arena_new(0);
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    struct watch_note *notes = NULL;
    size_t count = gather(w, arena, &notes);
    w->dirty = false;
    w->save_at = clock_wall_ms() + SAVE_MS;
    watch_memory_write(&text, notes, count);
    struct saving saving = {.path = w->path, .text = buf_view(&text)};
    offload(save_offloaded, &saving);
    if (saving.error) {
        log_event(w->flow->log, LOG_ERROR,
                  "what the watch over the source addresses knows can't be saved: a restart would forget it",
                  "file", w->path, "error", error_text(saving.error), NULL);
        w->dirty = true, w->save_failed = clock_wall_ms();
    }
    arena_free(arena);
}

static void save_when_due(struct watch *w) {
    int64_t now = clock_wall_ms();
    bool again = now - w->save_failed >= SAVE_AGAIN_MS || now < w->save_failed;
    bool listed = false;
    for (size_t i = 0; now >= w->save_at && !w->dirty && !listed && i < w->count; i++)
        listed = w->targets[i].reasons[0] || w->targets[i].reasons[1];
    if (again && (w->dirty || listed))
        save(w);
}

/* ---- history ---- */

enum { CHANGES_MOST = 4 << 20 };

static const char *history_path(struct watch *w, struct arena *arena) {
    return str_printf(arena, "%s/%s", w->settings->trace_dir, WATCH_HISTORY_FILE).at;
}

static void append_offloaded(void *arg) {
    struct saving *s = arg;
    s->error = watch_history_append(s->path, s->text);
}

/* In one piece; what can't be written stays for the next time, up to a bound. */
static void write_changes(struct watch *w) {
    int64_t now = clock_wall_ms();
    if (!w->changes.len || (now - w->save_failed < SAVE_AGAIN_MS && now >= w->save_failed))
        return;
    struct arena *arena = arena_new(0);
    struct buf lines __attribute__((cleanup(buf_free))) = w->changes;
    w->changes = (struct buf){0};
    struct saving saving = {.path = history_path(w, arena), .text = buf_view(&lines)};
    offload(append_offloaded, &saving);
    if (saving.error) {
        log_event(w->flow->log, LOG_ERROR, "the history of the source addresses can't be written", "file",
                  saving.path, "error", error_text(saving.error), NULL);
        w->save_failed = now;
        if (lines.len < CHANGES_MOST) {
            buf_str(&lines, buf_view(&w->changes));
            buf_clear(&w->changes);
            buf_str(&w->changes, buf_view(&lines));
        }
    }
    arena_free(arena);
}

/* ---- life ---- */

struct watch *watch_open(struct flow *flow, struct settings *s, struct arena *arena) {
    struct watch *w = xcalloc(1, sizeof *w);
    w->flow = flow;
    w->path = str_printf(arena, "%s/%s", s->state, WATCH_MEMORY_FILE).at;
    watch_adopt(w, s);
    if (watch_history_prune(history_path(w, arena), clock_wall_ms() - s->trace.retain_ms) != 0)
        log_event(flow->log, LOG_WARNING, "the history of the source addresses can't be read", NULL);
    recall_alerts(w);
    recall(w);
    return w;
}

/* A listing that its list no longer confirms, an unconfirmed name that nobody can ask for any more. */
static void sweep(struct watch *w, int64_t now) {
    if (now < w->sweep_at && w->sweep_at <= now + SWEEP_MS)
        return;
    w->sweep_at = now + SWEEP_MS;
    for (size_t i = 0; i < w->count; i++) {
        struct watch_target *t = &w->targets[i];
        if (!t->reasons[0] && !t->reasons[1] && !t->alerts[0] && !t->alerts[1] && !t->beyond[0] &&
            !t->beyond[1])
            continue;
        watch_tell(w, t);
        watch_alert(w, t);
    }
    watch_alert_shared(w);
}

void watch_sources(void *arg) {
    struct watch *w = arg;
    int error = 0;
    do {
        struct settings *s = flow_settings(w->flow);
        int64_t now = clock_wall_ms();
        if (w->now &&
            now > w->now + CLOCK_AHEAD_MS) /* set ahead: what seems to be over is asked about first */
            w->sweep_at = now + SWEEP_MS;
        if (s != w->settings || now < w->now - CLOCK_BACK_MS) /* what was due would not be for as long */
            watch_adopt(w, s);
        w->now = now;
        settings_unref(s);
        int64_t next = watch_ask(w);
        sweep(w, now);
        save_when_due(w);
        write_changes(w);
        int64_t wait = next - clock_wall_ms();
        wait = wait < TURN_LEAST_MS ? TURN_LEAST_MS : wait > TURN_MOST_MS ? TURN_MOST_MS : wait;
        error = waiters_wait(&w->news, clock_mono_ms() + wait);
    } while (error != SLUICE_ECANCELLED);
}

struct watch *watch_close(struct watch *w) {
    if (w) {
        w->save_failed = 0;
        write_changes(w);
        if (w->dirty)
            save(w);
        watch_forget(w);
    }
    free(w);
    return NULL;
}
