/* milters.c - the milters in `sluice status` and the metrics. */
#include "cmd/daemon.h"

#include "base/clock.h"
#include "scan/milter_health.h"

/* "milter opendkim": "127.0.0.1:8891 up, 12 messages, 0 failures" */
void daemon_milter_status(struct daemon *d, const struct settings *s, struct arena *arena,
                          void (*add)(void *, const char *, const char *, int64_t), void *to) {
    for (size_t i = 0; i < s->milters.count; i++) {
        const struct milter_settings *m = &s->milters.at[i];
        struct milter_health h;
        char since[CLOCK_RFC3339_SIZE];
        milter_service_get(d->flow.milters, m->name, arena, &h);
        struct str state =
            h.up ? STR("up")
                 : str_printf(arena, "DOWN since %s (%.*s)", clock_rfc3339(h.since, since), STR_FMT(h.why));
        add(to, str_printf(arena, "milter %.*s", STR_FMT(m->name)).at,
            str_printf(arena, "%.*s %.*s, %llu messages, %llu failures", STR_FMT(m->endpoint.text),
                       STR_FMT(state), (unsigned long long)h.counts[MILTER_COUNT_MESSAGES],
                       (unsigned long long)h.counts[MILTER_COUNT_FAILURES])
                .at,
            0);
    }
}

void daemon_milter_metrics(struct daemon *d, const struct settings *s, struct arena *arena,
                           void (*add)(void *, const struct api_metric *), void *to) {
    static const struct {
        const char *name, *help;
    } counts[MILTER_COUNTS] = {
        [MILTER_COUNT_MESSAGES] = {"sluice_milter_messages_total", "messages that went through the milter"},
        [MILTER_COUNT_FAILURES] = {"sluice_milter_failures_total",
                                   "times that it could not be asked, or gave no proper answer"},
        [MILTER_COUNT_REFUSED] = {"sluice_milter_refused_total", "commands and messages that it refused"},
        [MILTER_COUNT_DISCARDED] = {"sluice_milter_discarded_total", "messages that it had thrown away"},
        [MILTER_COUNT_QUARANTINED] = {"sluice_milter_quarantined_total", "messages that it had held"},
        [MILTER_COUNT_CHANGED] = {"sluice_milter_changed_total", "messages that it changed"},
    };
    struct milter_health *list = arena_array(arena, struct milter_health, s->milters.count);
    for (size_t i = 0; i < s->milters.count; i++)
        milter_service_get(d->flow.milters, s->milters.at[i].name, arena, &list[i]);
    for (size_t i = 0; i < s->milters.count; i++)
        add(to, &(struct api_metric){"sluice_milter_up", "1 while the milter's last turn was no failure",
                                     false, "milter", list[i].name, list[i].up ? 1 : 0});
    for (int c = 0; c < MILTER_COUNTS; c++)
        for (size_t i = 0; i < s->milters.count; i++)
            add(to, &(struct api_metric){counts[c].name, counts[c].help, true, "milter", list[i].name,
                                         (double)list[i].counts[c]});
}
