#include "api/object.h"
#include "api/request.h"

enum { ROWS_DEFAULT = 1000 };

static void add_row(void *arg, const struct api_queue_entry *e) {
    struct buf *out = arg;
    object_open(out);
    object_text(out, "trace_id", e->trace_id);
    object_text(out, "sender", e->sender.len ? e->sender : STR("<>"));
    object_text(out, "recipient", e->recipient);
    object_text(out, "tenant", e->tenant);
    object_text(out, "class", str_of(mail_class_name(e->class)));
    object_text(out, "rule", e->rule);
    object_text(out, "outbound_ip_pool_name", e->pool);
    object_text(out, "receiver", e->receiver);
    object_text(out, "state", e->state);
    object_text(out, "why", e->why);
    object_ip(out, "outbound_ip", &e->source);
    object_time(out, "arrived", e->arrived);
    object_time(out, "next", e->next);
    object_time(out, "expires", e->expires);
    object_number(out, "attempts", e->attempts);
    object_number(out, "size", e->size);
    object_close(out);
}

/* False: the reply is there. */
static bool read_filter(struct request *request, struct api_queue_filter *ret) {
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < request->parameter_count; i++) {
        const struct parameter *p = &request->parameters[i];
        int bad = api_queue_filter_set(ret, p->name, p->value, &why);
        if (bad == SLUICE_ENOTFOUND)
            request_fail(request, 400, "no such parameter: %.*s", STR_FMT(p->name));
        else if (bad)
            request_fail(request, 400, "%.*s: %s", STR_FMT(p->name), buf_c(&why));
        if (bad)
            return false;
    }
    return true;
}

static void list(struct request *request, const struct api_queue_filter *filter) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!backend->queue_list) {
        request_fail(request, 501, "this daemon has no queue to show");
        return;
    }
    int bad = backend->queue_list(backend->arg, filter, add_row, &request->out, &why);
    if (bad)
        request_fail_with(request, bad, buf_view(&why));
    else
        request->type = "application/x-ndjson";
}

void queue_rows(struct request *request) {
    struct api_queue_filter filter = {0};
    if (!read_filter(request, &filter))
        return;
    filter.all = true;
    if (!filter.limit)
        filter.limit = ROWS_DEFAULT;
    list(request, &filter);
}

void queue_one(struct request *request) {
    static const char *const none[] = {NULL};
    struct api_queue_filter filter = {.trace_id = request->id};
    if (!request_knows_only(request, none))
        return;
    list(request, &filter);
    if (!request->status && !request->out.len)
        request_fail(request, 404, "nothing of trace id %.*s waits", STR_FMT(request->id));
}

static void operate(struct request *request, enum api_verb verb) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct api_queue_filter filter = {0};
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    size_t changed = 0;
    if (!read_filter(request, &filter))
        return;
    if (api_queue_filter_empty(&filter) && !filter.all) {
        request_fail(request, 400,
                     "say which: id, sender, recipient, domain, pool, older, younger, held, or all");
        return;
    }
    if (!backend->queue_operate) {
        request_fail(request, 501, "this daemon has no queue to change");
        return;
    }
    int bad = backend->queue_operate(backend->arg, verb, &filter, &changed, &why);
    if (bad) {
        request_fail_with(request, bad, buf_view(&why));
        return;
    }
    object_open(&request->out);
    object_number(&request->out, "changed", (int64_t)changed);
    object_text(&request->out, "note", buf_view(&why));
    object_close(&request->out);
}

void queue_retry(struct request *request) { operate(request, API_RETRY); }
void queue_hold(struct request *request) { operate(request, API_HOLD); }
void queue_release(struct request *request) { operate(request, API_RELEASE); }
void queue_cancel(struct request *request) { operate(request, API_CANCEL); }
