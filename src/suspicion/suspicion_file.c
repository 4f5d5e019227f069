/* The snapshot of what is known of senders. */
#include "base/clock.h"
#include "base/error.h"
#include "rt/fiber.h"
#include "rt/state_file.h"
#include "suspicion/suspicion_inside.h"

#include <stdio.h>

enum { STEP = 256 };
#define FILE_MOST (UINT64_C(16) << 30)

/* ---- Reading, at the start ---- */

void suspicion_read(struct suspicion *s, bool apply) {
    struct log *log = s->options.log;
    struct buf bytes __attribute__((cleanup(buf_free))) = {0};
    struct pattern_saved saved = {0};
    int64_t now = clock_wall_ms();
    char subjects[24], suspects[24], offset[24];
    size_t damage = 0;
    int error = state_file_read(s->path, FILE_MOST, &bytes);
    if (error == SLUICE_ENOTFOUND)
        return;
    if (!error)
        error = pattern_restore(s->pattern, buf_view(&bytes), now, &saved);
    if (!error && !saved.damaged && !surge_restore(s->surge, saved.rest, now, &damage)) {
        saved.damaged = true;
        saved.end += damage;
    }
    if (error) {
        log_event(log, LOG_ERROR, "the patterns of senders can't be read: they are learned anew", "file",
                  s->path, "error", error_text(error), NULL);
        return;
    }
    snprintf(subjects, sizeof subjects, "%llu", (unsigned long long)saved.subjects);
    snprintf(offset, sizeof offset, "%zu", saved.end);
    snprintf(suspects, sizeof suspects, "%llu", (unsigned long long)saved.suspects);
    log_event(log, saved.damaged ? LOG_ERROR : LOG_INFO,
              saved.damaged ? "the patterns of senders are damaged: what follows the damage is learned anew"
                            : "patterns of senders read",
              "file", s->path, "senders", subjects, "suspicious", suspects, "offset",
              saved.damaged ? offset : NULL, NULL);
    suspicion_show_all(s, apply);
}

struct str suspicion_left(const struct settings *settings, const struct sender_name *name,
                          struct arena *arena) {
    struct buf bytes __attribute__((cleanup(buf_free))) = {0};
    const struct pattern_rules *rules = &settings->policy->detection;
    int64_t now = clock_wall_ms();
    struct pattern *p = pattern_new(rules, 0, now);
    struct pattern_saved saved;
    struct str found = STR("");
    bool known =
        rules->apply &&
        state_file_read(str_printf(arena, "%s/patterns", settings->state).at, FILE_MOST, &bytes) == 0 &&
        pattern_restore(p, buf_view(&bytes), now, &saved) == 0;
    const struct {
        enum pattern_kind kind;
        struct str name;
        const char *whose;
    } whom[] = {{(enum pattern_kind)name->kind, name->whole, ""},
                {PATTERN_CONNECTOR, name->connector, "of the connector: "},
                {PATTERN_TENANT, name->tenant ? name->tenant->name : STR(""), "of the tenant: "}};
    for (size_t i = 0; i < sizeof whom / sizeof *whom && known && !found.len; i++) {
        const char *reason = pattern_suspicion(p, whom[i].kind, whom[i].name, now);
        if (reason)
            found = str_printf(arena, "%s%s", whom[i].whose, reason);
    }
    pattern_free(p);
    return found;
}

/* ---- Writing, a part with each turn of the loop ---- */

static void write_offloaded(void *arg) {
    struct suspicion *s = arg;
    int error = state_file_write(s->path, buf_view(&s->snapshot));
    if (error)
        log_event(s->options.log, LOG_ERROR, "the patterns of senders can't be written", "file", s->path,
                  "error", error_text(error), NULL);
}

static void write_it(void *arg) {
    struct suspicion *s = arg;
    offload(write_offloaded, s);
    buf_free(&s->snapshot);
    s->snapshot = (struct buf){0};
    s->saving = false;
}

static void save_part(void *arg) {
    struct suspicion *s = arg;
    if (pattern_save(s->pattern, &s->saved, STEP, clock_wall_ms(), &s->snapshot)) {
        worker_post(s->owner, save_part, s);
        return;
    }
    surge_save(s->surge, &s->snapshot);
    if (fiber_start(write_it, s) == 0)
        return;
    buf_free(&s->snapshot); /* the next one will do */
    s->snapshot = (struct buf){0};
    s->saving = false;
}

void suspicion_save(struct suspicion *s) {
    if (s->saving)
        return;
    s->saving = true;
    s->saved = 0;
    save_part(s);
}
