#include "alert/alerts.h"
#include "alert/history.h"
#include "api/object.h"
#include "api/request.h"
#include "base/clock.h"

static void add_row(void *arg, const struct alert_record *record) { alert_record_json(arg, record); }

static void add_said(void *arg, const struct alerts_said *s) {
    object_open(arg);
    object_text(arg, "channel", s->channel);
    object_text(arg, "result", s->good ? STR("ok") : STR("failed"));
    object_text(arg, "said", s->said);
    object_close(arg);
}

void alert_list(struct request *request) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct alert_filter filter = {0};
    if (!backend->alerts) {
        request_fail(request, 501, "this daemon keeps no alerts");
        return;
    }
    for (size_t i = 0; i < request->parameter_count; i++) {
        const struct parameter *p = &request->parameters[i];
        int bad = alert_filter_set(&filter, p->name, p->value, clock_wall_ms(), &why);
        if (bad == SLUICE_ENOTFOUND)
            request_fail(request, 400, "no such parameter: %.*s", STR_FMT(p->name));
        else if (bad)
            request_fail(request, 400, "%.*s: %s", STR_FMT(p->name), buf_c(&why));
        if (bad)
            return;
    }
    request_rows(request, backend->alerts(backend->arg, &filter, add_row, &request->out, &why),
                 buf_view(&why));
}

void alert_test(struct request *request) {
    static const char *const none[] = {NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!request_knows_only(request, none))
        return;
    if (!backend->alert_test)
        request_fail(request, 501, "this daemon keeps no alerts");
    else
        request_rows(request, backend->alert_test(backend->arg, add_said, &request->out, &why),
                     buf_view(&why));
}
