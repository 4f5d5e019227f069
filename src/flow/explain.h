/* explain.h - what would happen to a message, step by step, without sending or storing anything. */
#pragma once
#include "flow/accept.h"

struct explain_request {
    struct str from;    /* reverse-path, wire form; empty: null */
    struct str to;      /* one recipient */
    struct ip client;   /* the connecting address; none: an authenticated user, or the local socket */
    struct str tenant;  /* empty: found by client or From; else it counts as its user's (and no client) */
    struct str message; /* header at least; CRLF or LF line ends */
};

struct explain_result {
    struct attribution by;
    struct outcome refusal; /* fate DONE: it would be accepted; else the reply */
    struct classify_facts facts;
    struct decision decision;
    const struct pool *pool;   /* that it could leave from (by weight one of `pools`); NULL: it would wait */
    const struct pool **pools; /* all of this site that carry the class and that the tenant uses */
    size_t pool_count;
    struct str via;      /* a connector's `deliver`; empty: by MX */
    struct route *route; /* NULL when refused before; route_unref it */
    struct route_target *targets;
    size_t target_count;
    unsigned families; /* FAMILY_ bits of the targets; 0: no route is known */
};

/* Could this address carry the message: has the route one of its family (or is not known)? */
bool explain_carries(const struct explain_result *, const struct source *);

/* From a fiber of a worker whose data is a struct flow_worker with settings and resolver; nothing else of the
 * flow is used. Everything in `arena` but the route. */
void explain(struct flow *, const struct settings *, const struct explain_request *, struct arena *,
             struct explain_result *ret);
