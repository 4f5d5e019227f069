#include "api/request.h"
#include "base/clock.h"
#include "rt/fiber.h"
#include "trace/filter.h"

enum { SEARCH_MS = 20000 };

/* What an offload thread does for a request. */
struct search {
    struct trace *trace;
    struct trace_filter filter;
    struct str id;
    struct buf *out;
    struct trace_page page;
    int result;
};

static void add_row(void *arg, const struct trace_event *event) {
    struct buf *out = arg;
    trace_event_json(out, event);
    buf_char(out, '\n');
}

static void warn(struct trace_page *page) {
    static const char text[] = "the newest events can't be written at present and are missing";
    memcpy(page->warning, text, sizeof text);
}

/* What was emitted before the request is seen by it; where the store can't be written the old rows are given.
 */
static void list(void *arg) {
    struct search *search = arg;
    int unwritten = trace_flush(search->trace);
    search->result = trace_query(search->trace, &search->filter, add_row, search->out, &search->page);
    if (unwritten && !search->page.warning[0])
        warn(&search->page);
}

static void one(void *arg) {
    struct search *search = arg;
    int unwritten = trace_flush(search->trace);
    search->result = trace_show(search->trace, search->id, add_row, search->out);
    if (unwritten)
        warn(&search->page);
}

static bool has_trace(struct request *request) {
    if (!api_trace(request->api))
        request_fail(request, 501, "this daemon keeps no trace");
    return api_trace(request->api) != NULL;
}

void trace_list(struct request *request) {
    struct search search = {.trace = api_trace(request->api), .out = &request->out};
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!has_trace(request))
        return;
    for (size_t i = 0; i < request->parameter_count; i++) {
        const struct parameter *p = &request->parameters[i];
        int bad = trace_filter_set(&search.filter, p->name, p->value, clock_wall_ms(), &why);
        if (bad == SLUICE_ENOTFOUND)
            request_fail(request, 400, "no such parameter: %.*s", STR_FMT(p->name));
        else if (bad)
            request_fail(request, 400, "%.*s: %s", STR_FMT(p->name), buf_c(&why));
        if (bad)
            return;
    }
    search.filter.deadline = clock_mono_ms() + SEARCH_MS;
    offload(list, &search);
    request->next = str_copy(request->arena, str_of(search.page.next));
    request->warning = str_copy(request->arena, str_of(search.page.warning));
    if (search.result == SLUICE_ETIMEOUT)
        request_fail(request, 503, "the search took over %d s; give a time range (since, until)",
                     SEARCH_MS / 1000);
    else if (search.result == SLUICE_EINVALID)
        request_fail(request, 400, "after: not a cursor that this API gave out");
    else if (search.result)
        request_fail_with(request, search.result, STR_NULL);
    else
        request->type = "application/x-ndjson";
}

void trace_one(struct request *request) {
    struct search search = {.trace = api_trace(request->api), .out = &request->out, .id = request->id};
    static const char *const none[] = {NULL};
    if (!has_trace(request) || !request_knows_only(request, none))
        return;
    offload(one, &search);
    request->warning = str_copy(request->arena, str_of(search.page.warning));
    if (search.result == SLUICE_ENOTFOUND)
        request_fail(request, 404, "no message with trace id %.*s", STR_FMT(request->id));
    else if (search.result)
        request_fail_with(request, search.result, STR("the file of that day can't be read"));
    else
        request->type = "application/x-ndjson";
}
