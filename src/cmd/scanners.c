/* scanners.c - the scanners in `sluice status` and the metrics. */
#include "cmd/daemon.h"

#include "base/clock.h"
#include "scan/scan.h"

/* "scanner rspamd": "rspamd 127.0.0.1:11333 up, 12 messages, 0 failures, 35 ms each" */
void daemon_scanner_status(struct daemon *d, struct arena *arena,
                           void (*add)(void *, const char *, const char *, int64_t), void *to) {
    struct scan_health *list;
    size_t count;
    scan_service_health(d->flow.scan, arena, &list, &count);
    for (size_t i = 0; i < count; i++) {
        const struct scan_health *h = &list[i];
        char since[CLOCK_RFC3339_SIZE];
        struct str state = h->up ? STR("up")
                                 : str_printf(arena, "DOWN since %s (%.*s)", clock_rfc3339(h->since, since),
                                              STR_FMT(h->why));
        add(to, str_printf(arena, "scanner %.*s", STR_FMT(h->name)).at,
            str_printf(arena, "%.*s %.*s %.*s, %llu messages, %llu failures, %llu ms each", STR_FMT(h->kind),
                       STR_FMT(h->where), STR_FMT(state), (unsigned long long)h->requests,
                       (unsigned long long)h->failures,
                       (unsigned long long)(h->requests ? h->time_ms / h->requests : 0))
                .at,
            0);
    }
}

void daemon_scanner_metrics(struct daemon *d, struct arena *arena,
                            void (*add)(void *, const struct api_metric *), void *to) {
    struct scan_health *list;
    size_t count;
    scan_service_health(d->flow.scan, arena, &list, &count);
#define EACH(what, text, counter, value)                                                                     \
    for (size_t i = 0; i < count; i++)                                                                       \
        add(to, &(struct api_metric){"sluice_scanner_" what, text, counter, "scanner", list[i].name,         \
                                     (double)(value)});
    EACH("up", "1 while the scanner answers", false, list[i].up)
    EACH("requests_total", "messages given to the scanner", true, list[i].requests)
    EACH("failures_total", "messages that it gave no answer for", true, list[i].failures)
    EACH("seconds_total", "time that it took for all of them", true, (double)list[i].time_ms / 1000)
    EACH("spam_total", "messages that it judged spam", true, list[i].spam)
    EACH("malware_total", "messages in which it found malware", true, list[i].malware)
    EACH("connections_total", "connections made to it", true, list[i].connections)
#undef EACH
}
