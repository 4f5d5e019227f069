#include "api/object.h"
#include "api/request.h"
#include "base/clock.h"
#include "trace/text.h"

/* ---- rows ---- */

static void sender_members(struct buf *out, const struct api_sender *s) {
    object_text(out, "name", s->name);
    object_text(out, "kind", s->kind);
    object_text(out, "tenant", s->tenant);
    object_text(out, "state", s->state);
    object_text(out, "cause", s->cause);
    object_time(out, "since", s->since);
    object_time(out, "until", s->until);
    object_text(out, "by", s->by);
    object_text(out, "reason", s->reason);
    object_text(out, "allowed", s->allowed);
    object_text(out, "exempt", s->exempt);
    object_text(out, "alerted", s->alerted);
    object_text(out, "suspicion", s->suspicion);
    object_number(out, "spam_per_mille", s->spam_per_mille);
    object_number(out, "spam", s->spam);
    object_number(out, "mail", s->mail);
    object_number(out, "recipients", s->recipients);
    object_number(out, "unknown", s->unknown);
    object_number(out, "destinations", s->destinations);
    object_number(out, "refusals", s->refusals);
}

void api_sender_json(struct buf *out, const struct api_sender *s) {
    object_open(out);
    sender_members(out, s);
    object_close(out);
}

void api_standing_json(struct buf *out, const struct api_standing *s) {
    object_open(out);
    sender_members(out, &s->sender);
    object_text(out, "policy", s->policy);
    object_text(out, "counted", s->counted);
    object_text(out, "policy_why", s->policy_why);
    object_text(out, "action", s->action);
    buf_str(out, STR(",\"limits\":["));
    for (size_t i = 0; i < s->limit_count; i++) {
        const struct api_limit *l = &s->limits[i];
        buf_str(out, i ? STR(",{\"limit\":") : STR("{\"limit\":"));
        trace_json_string(out, l->limit);
        buf_str(out, STR(",\"counts\":"));
        trace_json_string(out, l->words);
        buf_printf(out, ",\"used\":%lld,\"most\":%lld}", (long long)l->used, (long long)l->most);
    }
    buf_char(out, ']');
    object_time(out, "next_leaves", s->turn);
    object_text(out, "verdict", s->verdict);
    object_text(out, "reply", s->reply);
    object_text(out, "verdict_reason", s->reason);
    object_close(out);
}

/* ---- routes ---- */

static void add_sender(void *to, const struct api_sender *s) { api_sender_json(to, s); }
static void add_standing(void *to, const struct api_standing *s) { api_standing_json(to, s); }

static bool wants_tenant(const struct request *request) {
    return str_eq(request_parameter(request, "kind"), STR("tenant"));
}

void senders_list(struct request *request) {
    static const char *const names[] = {"kind", "tenant", NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    if (!request_knows_only(request, names))
        return;
    if (!backend->senders) {
        request_fail(request, 501, "this daemon counts no senders");
        return;
    }
    int bad = backend->senders->list(backend->arg, wants_tenant(request),
                                     request_parameter(request, "tenant"), add_sender, &request->out, &why);
    request_rows(request, bad, buf_view(&why));
}

/* False: it is no number; the reply is 400. */
static bool read_number(struct request *request, const char *name, int64_t *ret) {
    struct str text = request_parameter(request, name);
    uint64_t number = 0;
    if (text.at && (!str_to_u64(text, &number) || number > UINT32_MAX)) {
        request_fail(request, 400, "%s: a number is wanted", name);
        return false;
    }
    *ret = (int64_t)number;
    return true;
}

void senders_show(struct request *request) {
    static const char *const names[] = {"name", "kind", "from", "external", "internal", NULL};
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct api_sender_query query = {.name = request_parameter(request, "name"),
                                     .tenant = wants_tenant(request),
                                     .from = request_parameter(request, "from")};
    if (!request_knows_only(request, names) || !read_number(request, "external", &query.external) ||
        !read_number(request, "internal", &query.internal))
        return;
    if (!query.name.len || !backend->senders) {
        request_fail(request, query.name.len ? 501 : 400,
                     query.name.len ? "this daemon counts no senders" : "name is wanted");
        return;
    }
    int bad = backend->senders->show(backend->arg, &query, add_standing, &request->out, &why);
    request_rows(request, bad, buf_view(&why));
}

static void change(struct request *request, enum api_sender_verb verb, const char *const *names,
                   int64_t until) {
    const struct api_backend *backend = api_backend_of(request->api);
    struct buf why __attribute__((cleanup(buf_free))) = {0};
    struct api_sender_change change = {.verb = verb,
                                       .name = request_parameter(request, "name"),
                                       .tenant = wants_tenant(request),
                                       .reason = request_parameter(request, "reason"),
                                       .until = until};
    if (!request_knows_only(request, names))
        return;
    if (!change.name.len) {
        request_fail(request, 400, "name is wanted");
        return;
    }
    if (!backend->senders) {
        request_fail(request, 501, "this daemon counts no senders");
        return;
    }
    change.by = request_peer(request);
    int bad = backend->senders->change(backend->arg, &change, add_sender, &request->out, &why);
    request_rows(request, bad, buf_view(&why));
}

void senders_restrict(struct request *request) {
    static const char *const names[] = {"name", "kind", "reason", NULL};
    change(request, API_SENDER_RESTRICT, names, 0);
}

void senders_release(struct request *request) {
    static const char *const names[] = {"name", "kind", NULL};
    change(request, API_SENDER_RELEASE, names, 0);
}

void senders_allow(struct request *request) {
    static const char *const names[] = {"name", "kind", "until", NULL};
    struct str text = request_parameter(request, "until");
    int64_t until = INT64_MAX, length;
    if (str_eq(text, STR("now")))
        until = 0;
    else if (text.len && config_parse_duration(text, &length))
        until = clock_wall_ms() + length;
    else if (text.len && !clock_parse_rfc3339(text, &until)) {
        request_fail(
            request, 400,
            "until: a time (2026-11-22T10:00:00Z), a date, a length of time (90min, 2d) or `now` is wanted");
        return;
    }
    change(request, API_SENDER_ALLOW, names, until);
}
