/* request.h - one HTTP request in its fiber, and the routes that answer it. */
#pragma once
#include "api/api.h"
#include "base/arena.h"
#include <event2/http.h>

struct request {
    struct api *api;
    struct evhttp_request *http;
    bool local;          /* came through the Unix socket */
    struct arena *arena; /* of this request */
    struct str id;       /* what stood in the place of ID in the path */
    struct parameter {
        struct str name, value;
    } * parameters;
    size_t parameter_count;
    struct str body;

    int status;               /* of the reply; 0: 200 */
    const char *type;         /* Content-Type; NULL: application/json */
    struct buf out;           /* its body */
    struct str next, warning; /* its headers Sluice-Next, Sluice-Warning */
};

enum { ROUTE_LOCAL = 1 /* only through the Unix socket */ };

struct route {
    const char *method;
    const char *path; /* "ID" as last part matches one segment */
    int flags;
    void (*run)(struct request *);
};

/* Finds the route and runs it; 404, 405 and 403 are answered here. */
void routes_run(struct request *, const char *method, struct str path);

/* The reply is {"error": text} with this status. */
void request_fail(struct request *, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The status that fits an error of a lower room; `why` (may be empty) is for people. */
void request_fail_with(struct request *, int error, struct str why);
/* The rows are in `out`, or there was an error. */
void request_rows(struct request *, int error, struct str why);
/* The parameter, or the empty view with at == NULL. */
struct str request_parameter(const struct request *, const char *name);
/* False, and the reply is 400, when a parameter is not in the list (ended by NULL). */
bool request_knows_only(struct request *, const char *const *names);

const struct api_backend *api_backend_of(const struct api *);
struct trace *api_trace(const struct api *);

/* The local user at the other end of the socket, by the kernel's word; empty when it hung up. */
struct str request_peer(struct request *);

void senders_list(struct request *);
void senders_show(struct request *);
void senders_restrict(struct request *);
void senders_release(struct request *);
void senders_allow(struct request *);
void trace_list(struct request *);
void trace_one(struct request *);
void alert_list(struct request *);
void alert_test(struct request *);
void queue_rows(struct request *);
void queue_one(struct request *);
void queue_retry(struct request *);
void queue_hold(struct request *);
void queue_release(struct request *);
void queue_cancel(struct request *);
void state_status(struct request *);
void state_pools(struct request *);
void state_sources(struct request *);
void source_one(struct request *);
void state_metrics(struct request *);
void state_health(struct request *);
void domain_list(struct request *);
void domain_add(struct request *);
void domain_verify(struct request *);
void identity_faults(struct request *);
void action_reload(struct request *);
void action_send(struct request *);
