#include "api/object.h"
#include "api/request.h"
#include "trace/trace.h"

static const char *const no_parameters[] = {NULL};

/* Status */

/* On TCP, where nobody has to log in, no names: the worst may be a customer's domain. */
static void add_status(void *arg, const char *name, const char *text, int64_t number) {
    struct request *request = arg;
    if (!request->local && strcmp(name, "identity_worst") == 0)
        return;
    if (text)
        object_text(&request->out, name, str_of(text));
    else
        object_number(&request->out, name, number);
}

static void add_trace(struct trace *trace, struct buf *out) {
    struct trace_counts counts;
    if (!trace)
        return;
    trace_counts(trace, &counts);
    object_number(out, "trace_emitted", (int64_t)counts.emitted);
    object_number(out, "trace_backlog", (int64_t)counts.backlog);
    object_number(out, "trace_refused", (int64_t)counts.refused);
    object_number(out, "trace_failed_writes", (int64_t)counts.failed);
}

void state_status(struct request *request) {
    const struct api_backend *backend = api_backend_of(request->api);
    if (!request_knows_only(request, no_parameters))
        return;
    object_open(&request->out);
    if (backend->status)
        backend->status(backend->arg, add_status, request);
    add_trace(api_trace(request->api), &request->out);
    object_close(&request->out);
}

/* Pools and sources */

static void add_pool(void *arg, const struct api_pool *p) {
    object_open(arg);
    object_text(arg, "pool", p->name);
    object_text(arg, "site", p->site);
    object_text(arg, "class_tag", p->class_tag);
    object_text(arg, "carries", p->carries);
    object_text(arg, "spf", p->spf);
    object_number(arg, "sources", p->sources);
    object_number(arg, "usable", p->usable);
    object_number(arg, "waiting", p->waiting);
    object_number(arg, "held", p->held);
    object_number(arg, "sending", p->sending);
    object_number(arg, "delivered", p->delivered);
    object_number(arg, "failed", p->failed);
    object_close(arg);
}

static void add_source(void *arg, const struct api_source *s) {
    object_open(arg);
    object_ip(arg, "ip", &s->ip);
    object_text(arg, "pool", s->pool);
    object_text(arg, "ptr", s->ptr);
    object_text(arg, "ehlo", s->ehlo);
    object_text(arg, "state", s->state);
    object_text(arg, "why", s->why);
    object_number(arg, "listed", s->listed);
    object_time(arg, "until", s->until);
    object_time(arg, "last_used", s->last_used);
    object_number(arg, "connections", s->connections);
    object_number(arg, "delivered", s->delivered);
    object_number(arg, "failed", s->failed);
    object_close(arg);
}

void state_pools(struct request *request) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!request_knows_only(request, no_parameters))
        return;
    if (!backend->pools)
        request_fail(request, 501, "this daemon has no pools to show");
    else
        request_rows(request, backend->pools(backend->arg, add_pool, &request->out, &why), buf_view(&why));
}

void state_sources(struct request *request) {
    static const char *const names[] = {"pool", NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!request_knows_only(request, names))
        return;
    if (!backend->sources)
        request_fail(request, 501, "this daemon has no sources to show");
    else
        request_rows(request,
                     backend->sources(backend->arg, request_parameter(request, "pool"), add_source,
                                      &request->out, &why),
                     buf_view(&why));
}

/* Metrics: text format 0.0.4 of Prometheus. */

struct exposition {
    struct buf *out;
    const char *last; /* name: HELP and TYPE stand before the first of a name only */
};

static void add_label(struct buf *out, const struct api_metric *m) {
    buf_printf(out, "{%s=\"", m->label);
    for (size_t i = 0; i < m->label_value.len; i++) {
        char c = m->label_value.at[i];
        if (c == '"' || c == '\\')
            buf_char(out, '\\');
        if (c == '\n')
            buf_str(out, STR("\\n"));
        else
            buf_char(out, c);
    }
    buf_str(out, STR("\"}"));
}

static void add_metric(void *arg, const struct api_metric *m) {
    struct exposition *to = arg;
    if (!to->last || strcmp(to->last, m->name) != 0)
        buf_printf(to->out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                   m->counter ? "counter" : "gauge");
    to->last = m->name;
    buf_str(to->out, str_of(m->name));
    if (m->label)
        add_label(to->out, m);
    buf_printf(to->out, " %.15g\n", m->value);
}

void state_metrics(struct request *request) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct exposition to = {.out = &request->out};
    struct trace_counts counts;
    if (backend->metrics)
        backend->metrics(backend->arg, add_metric, &to);
    if (api_trace(request->api)) {
        trace_counts(api_trace(request->api), &counts);
        const struct api_metric metrics[] = {
            {"sluice_trace_events_total", "Events that the trace took.", true,
             .value = (double)counts.emitted},
            {"sluice_trace_refused_total", "Times the trace was too far behind to take an event.", true,
             .value = (double)counts.refused},
            {"sluice_trace_failed_writes_total", "Writes of the trace that failed and are tried again.", true,
             .value = (double)counts.failed},
            {"sluice_trace_backlog", "Events that wait to be written.", false,
             .value = (double)counts.backlog},
        };
        for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
            add_metric(&to, &metrics[i]);
    }
    request->type = "text/plain; version=0.0.4; charset=utf-8";
}

void state_health(struct request *request) {
    buf_str(&request->out, STR("ok\n"));
    request->type = "text/plain; charset=utf-8";
}
