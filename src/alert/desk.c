#include "alert/alerts.h"

#include <stdlib.h>

struct alerts {
    struct log *log;
};

struct alerts *alerts_open(struct log *log) {
    struct alerts *alerts = xcalloc(1, sizeof *alerts);
    alerts->log = log;
    return alerts;
}

struct alerts *alerts_free(struct alerts *alerts) {
    free(alerts);
    return NULL;
}

static const char *field(struct arena *arena, struct str s, size_t max) {
    return s.len ? str_c(arena, str_head(s, max)) : NULL;
}

void alert_raise(struct alerts *alerts, const struct alert *a) {
    static const enum log_level levels[] = {
        [ALERT_INFO] = LOG_INFO, [ALERT_WARNING] = LOG_WARNING, [ALERT_ALARM] = LOG_ERROR};
    if (!alerts || !alert_word(a->kind).len)
        return;
    enum alert_level level = a->over ? ALERT_INFO : alert_level(a->kind);
    struct arena *arena = arena_new(0);
    struct str event = str_printf(arena, "%s%.*s%s", level == ALERT_ALARM ? "ALARM: " : "",
                                  STR_FMT(alert_title(a->kind)), a->over ? ": over" : "");
    log_event(alerts->log, levels[level], event.at, "alert", str_c(arena, alert_word(a->kind)), "subject",
              field(arena, a->subject, ALERT_SUBJECT_MAX), "tenant",
              field(arena, a->tenant, ALERT_TENANT_MAX), "why", field(arena, a->text, ALERT_TEXT_MAX),
              "advice", field(arena, a->advice, ALERT_ADVICE_MAX), NULL);
    arena_free(arena);
}
