#include "cmd/alerting.h"

#include "acceptance/notice.h"
#include "alert/alerts.h"
#include "alert/history.h"
#include "rt/fiber.h"

int alerting_open(struct daemon *d, struct str *ret_why) {
    d->notices = notices_open(&d->flow);
    d->trace_dir = str_c(d->arena, str_of(d->settings->trace_dir));
    struct alerts_options options = {
        .folder = d->settings->trace_dir,
        .retain_ms = d->settings->trace.retain_ms,
        .agent = "sluice/" SLUICE_VERSION,
        .log = d->log,
        .mail = notice_mail,
        .mail_arg = d->notices,
    };
    int error = alerts_open(&options, &d->settings->alerts, &d->flow.alerts);
    if (error)
        *ret_why = str_of(error_text(error));
    return error;
}

void alerting_stop(struct daemon *d) { alerts_stop_mail(d->flow.alerts); }

void alerting_close(struct daemon *d) {
    d->flow.alerts = alerts_free(d->flow.alerts);
    d->notices = notices_free(d->notices);
}

/* ---- what is asked ---- */

struct listing {
    struct daemon *daemon;
    const struct alert_filter *filter;
    void (*row)(void *, const struct alert_record *);
    void *to;
    int error;
};

static void list(void *arg) {
    struct listing *l = arg;
    int unwritten = alerts_flush(l->daemon->flow.alerts);
    l->error = alert_history(l->daemon->trace_dir, l->filter, l->row, l->to);
    if (l->error == SLUICE_ENOTFOUND && !unwritten) /* nothing was ever told */
        l->error = 0;
}

int alerting_list(void *arg, const struct alert_filter *filter,
                  void (*row)(void *, const struct alert_record *), void *to, struct buf *ret_why) {
    struct listing l = {arg, filter, row, to, 0};
    offload(list, &l);
    if (l.error)
        buf_printf(ret_why, "the history of alerts can't be read: %s", error_text(l.error));
    return l.error ? SLUICE_EIO : 0;
}

struct testing {
    struct daemon *daemon;
    void (*row)(void *, const struct alerts_said *);
    void *to;
};

static void test(void *arg) {
    struct testing *t = arg;
    alerts_test(t->daemon->flow.alerts, t->row, t->to);
}

static void test_mail(struct testing *t) {
    struct arena *arena = arena_new(0);
    struct alert_mail mail;
    struct trace_id id;
    if (alerts_test_mail(t->daemon->flow.alerts, arena, &mail)) {
        struct outcome result = notice_send(&t->daemon->flow, &mail, arena, &id);
        bool good = result.fate == OUTCOME_DONE;
        struct str to = mail.to[0];
        for (size_t i = 1; i < mail.to_count; i++)
            to = str_printf(arena, "%.*s, %.*s", STR_FMT(to), STR_FMT(mail.to[i]));
        t->row(t->to,
               &(struct alerts_said){str_printf(arena, "mail %.*s", STR_FMT(to)), good,
                                     good ? str_printf(arena, "accepted: sluice trace show %s", id.text)
                                          : outcome_line(arena, &result)});
    }
    arena_free(arena);
}

int alerting_test(void *arg, void (*row)(void *, const struct alerts_said *), void *to, struct buf *ret_why) {
    struct testing t = {arg, row, to};
    (void)ret_why;
    offload(test, &t);
    test_mail(&t);
    return 0;
}

void alerting_status(struct daemon *d, void (*add)(void *, const char *, const char *, int64_t), void *to) {
    struct alerts_counts counts;
    uint64_t open = 0;
    alerts_counts(d->flow.alerts, &counts);
    for (enum alert_kind kind = 0; kind < ALERT_KINDS; kind++)
        open += counts.open[kind];
    add(to, "alerts_open", NULL, (int64_t)open);
}

static void hook_metrics(struct daemon *d, void (*add)(void *, const struct api_metric *), void *to) {
    struct arena *arena = arena_new(0);
    struct alerts_hook_counts *hooks;
    size_t count = alerts_hooks(d->flow.alerts, arena, &hooks);
    static const char *const names[] = {
        "sluice_alert_webhook_calls_total", "sluice_alert_webhook_failures_total",
        "sluice_alert_webhook_given_up_total", "sluice_alert_webhook_waiting"};
    static const char *const helps[] = {"Calls that a webhook took.", "Calls that failed, each try counted.",
                                        "Calls that were given up.", "Calls that wait."};
    for (size_t n = 0; n < 4; n++)
        for (size_t i = 0; i < count; i++) {
            const uint64_t values[] = {hooks[i].sent, hooks[i].failed, hooks[i].given_up, hooks[i].waiting};
            add(to,
                &(struct api_metric){names[n], helps[n], n < 3, "webhook", hooks[i].name, (double)values[n]});
        }
    arena_free(arena);
}

void alerting_metrics(struct daemon *d, void (*add)(void *, const struct api_metric *), void *to) {
    struct alerts_counts counts;
    alerts_counts(d->flow.alerts, &counts);
    for (enum alert_kind kind = ALERT_NONE + 1; kind < ALERT_KINDS; kind++)
        add(to, &(struct api_metric){"sluice_alerts_total", "Times that an alert was raised.", true, "kind",
                                     alert_word(kind), (double)counts.raised[kind]});
    for (enum alert_kind kind = ALERT_NONE + 1; kind < ALERT_KINDS; kind++)
        add(to, &(struct api_metric){"sluice_alerts_open", "Alerts that have not ended.", false, "kind",
                                     alert_word(kind), (double)counts.open[kind]});
    const struct api_metric rest[] = {
        {"sluice_alerts_told_total", "Alerts, repeats and ends that were told.", true,
         .value = (double)counts.told},
        {"sluice_alerts_untold_total", "Tellings that a channel's number of an hour did not allow.", true,
         .value = (double)counts.untold},
        {"sluice_alerts_dropped_total", "Alerts that found no room at the desk.", true,
         .value = (double)counts.dropped},
        {"sluice_alert_mails_total", "Mails of alerts.", true, .value = (double)counts.mails},
    };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        add(to, &rest[i]);
    hook_metrics(d, add, to);
}
