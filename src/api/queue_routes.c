#include "api/object.h"
#include "api/request.h"
#include "base/clock.h"
#include "rt/fiber.h"
#include "trace/trace.h"

enum { ROWS_DEFAULT = 1000, BATCH = 200, WHY_MS = 10000 };

static void write_row(struct buf *out, const struct api_queue_entry *e) {
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

/* Rows on their way out. Why a recipient waits is what its row in the trace says, asked for a batch at a time
 * on an offload thread, and after `deadline` no more. */
struct listing {
    struct request *request;
    struct arena *arena; /* of the batch */
    struct api_queue_entry entries[BATCH];
    size_t count;
    int64_t deadline; /* monotonic ms */
};

struct reply_of {
    struct arena *arena;
    struct api_queue_entry *entry;
};

static void take_reply(void *arg, const struct trace_event *event) {
    struct reply_of *to = arg;
    if (event->status == TRACE_STATUS_PENDING && str_eq(event->recipient, to->entry->recipient))
        to->entry->why = str_copy(to->arena, event->reply);
}

static void find_replies(void *arg) {
    struct listing *l = arg;
    for (size_t i = 0; i < l->count && clock_mono_ms() < l->deadline; i++) {
        struct api_queue_entry *e = &l->entries[i];
        struct trace_filter filter = {
            .trace_id = e->trace_id, .recipient = e->recipient, .deadline = l->deadline};
        struct trace_page page;
        if (!e->why.len && e->trace_id.len &&
            trace_query(api_trace(l->request->api), &filter, take_reply, &(struct reply_of){l->arena, e},
                        &page) != 0)
            return; /* the rows are told without it */
    }
}

static void end_batch(struct listing *l) {
    if (l->count && api_trace(l->request->api))
        offload(find_replies, l);
    for (size_t i = 0; i < l->count; i++)
        write_row(&l->request->out, &l->entries[i]);
    l->count = 0;
    arena_free(l->arena);
    l->arena = NULL;
}

static void add_row(void *arg, const struct api_queue_entry *from) {
    struct listing *l = arg;
    if (!l->arena)
        l->arena = arena_new(0);
    struct api_queue_entry *e = &l->entries[l->count++];
    *e = *from;
    struct str *const texts[] = {&e->trace_id, &e->sender,   &e->recipient, &e->tenant, &e->rule,
                                 &e->pool,     &e->receiver, &e->state,     &e->why};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        *texts[i] = str_copy(l->arena, *texts[i]);
    if (l->count == BATCH)
        end_batch(l);
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
    struct listing *listing = arena_new_of(request->arena, struct listing);
    listing->request = request;
    listing->deadline = clock_mono_ms() + WHY_MS;
    int bad = backend->queue_list(backend->arg, filter, add_row, listing, &why);
    end_batch(listing);
    request_rows(request, bad, buf_view(&why));
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
