#include "api/object.h"
#include "api/request.h"
#include <stdio.h>

static const struct route routes[] = {
    {"GET", "/v1/status", 0, state_status},
    {"GET", "/v1/pools", 0, state_pools},
    {"GET", "/v1/sources", 0, state_sources},
    {"GET", "/v1/sources/ID", 0, source_one},
    {"GET", "/v1/identity", ROUTE_LOCAL, identity_faults},
    {"GET", "/v1/domains", ROUTE_LOCAL, domain_list},
    {"POST", "/v1/domains/add", ROUTE_LOCAL, domain_add},
    {"POST", "/v1/domains/verify", ROUTE_LOCAL, domain_verify},
    {"GET", "/v1/trace", ROUTE_LOCAL, trace_list},
    {"GET", "/v1/trace/ID", ROUTE_LOCAL, trace_one},
    {"GET", "/v1/alerts", ROUTE_LOCAL, alert_list},
    {"POST", "/v1/alerts/test", ROUTE_LOCAL, alert_test},
    {"GET", "/v1/queue", ROUTE_LOCAL, queue_rows},
    {"POST", "/v1/queue/retry", ROUTE_LOCAL, queue_retry},
    {"POST", "/v1/queue/hold", ROUTE_LOCAL, queue_hold},
    {"POST", "/v1/queue/release", ROUTE_LOCAL, queue_release},
    {"POST", "/v1/queue/cancel", ROUTE_LOCAL, queue_cancel},
    {"GET", "/v1/queue/ID", ROUTE_LOCAL, queue_one},
    {"GET", "/v1/senders", ROUTE_LOCAL, senders_list},
    {"GET", "/v1/sender", ROUTE_LOCAL, senders_show},
    {"POST", "/v1/sender/restrict", ROUTE_LOCAL, senders_restrict},
    {"POST", "/v1/sender/release", ROUTE_LOCAL, senders_release},
    {"POST", "/v1/sender/allow", ROUTE_LOCAL, senders_allow},
    {"POST", "/v1/reload", ROUTE_LOCAL, action_reload},
    {"POST", "/v1/send", ROUTE_LOCAL, action_send},
    {"GET", "/metrics", 0, state_metrics},
    {"GET", "/healthz", 0, state_health},
};

static bool matches(const struct route *route, struct str path, struct str *ret_id) {
    struct str pattern = str_of(route->path);
    *ret_id = STR_NULL;
    if (!str_ends(pattern, STR("/ID")))
        return str_eq(pattern, path);
    struct str base = str_head(pattern, pattern.len - 2);
    if (!str_starts(path, base) || path.len == base.len)
        return false;
    *ret_id = str_from_index(path, base.len);
    return str_index(*ret_id, '/') < 0;
}

void routes_run(struct request *request, const char *method, struct str path) {
    bool exists = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *route = &routes[i];
        if (!matches(route, path, &request->id))
            continue;
        exists = true;
        if (strcmp(method, route->method) != 0)
            continue;
        if ((route->flags & ROUTE_LOCAL) && !request->local)
            request_fail(request, 403, "this is served on the Unix socket only: nothing authenticates here");
        else
            route->run(request);
        return;
    }
    if (exists)
        request_fail(request, 405, "%s is not for this path", method);
    else
        request_fail(request, 404, "no such path: %.*s", STR_FMT(str_head(path, 200)));
}

void request_fail(struct request *request, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct str text = str_vprintf(request->arena, format, args);
    va_end(args);
    request->status = status;
    request->type = NULL;
    buf_clear(&request->out);
    object_open(&request->out);
    object_text(&request->out, "error", text);
    object_close(&request->out);
}

void request_fail_with(struct request *request, int error, struct str why) {
    static const struct {
        int error, status;
    } statuses[] = {
        {SLUICE_ENOTFOUND, 404}, {SLUICE_EINVALID, 422}, {SLUICE_ESYNTAX, 400}, {SLUICE_EDENIED, 422},
        {SLUICE_ETOOBIG, 413},   {SLUICE_EEXISTS, 409},  {SLUICE_EBUSY, 503},   {SLUICE_EFULL, 503},
        {SLUICE_ELIMIT, 503},    {SLUICE_ETIMEOUT, 503}, {SLUICE_EIO, 503},     {SLUICE_ECANCELLED, 503},
    };
    int status = 500;
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].error == error)
            status = statuses[i].status;
    struct str text = why.len ? why : str_of(error_text(error));
    request_fail(request, status, "%.*s", STR_FMT(text));
}

void request_rows(struct request *request, int error, struct str why) {
    if (error)
        request_fail_with(request, error, why);
    else
        request->type = "application/x-ndjson";
}

struct str request_parameter(const struct request *request, const char *name) {
    for (size_t i = 0; i < request->parameter_count; i++)
        if (str_eq(request->parameters[i].name, str_of(name)))
            return request->parameters[i].value;
    return STR_NULL;
}

bool request_knows_only(struct request *request, const char *const *names) {
    for (size_t i = 0; i < request->parameter_count; i++) {
        bool known = false;
        for (size_t k = 0; names[k] && !known; k++)
            known = str_eq(request->parameters[i].name, str_of(names[k]));
        if (!known) {
            request_fail(request, 400, "no such parameter: %.*s", STR_FMT(request->parameters[i].name));
            return false;
        }
    }
    return true;
}
